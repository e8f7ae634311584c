//! One core: sockets in, mind, sockets out.
//!
//! Owns its listener, its sockets, its mind and their timers; it alone writes to its sockets. Never locks anything for
//! longer than it takes to move letters, never waits for another worker. The invariant: one tick gathers, then each
//! connection is written once. Read on in `accept.rs`, `read.rs` and `write.rs` for the parts of a tick, in
//! [`crate::socket`] and `campanile_hub::hub`.

use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use campanile_hub::letter::Departure;
use campanile_hub::{ConnectionId, Effect, Hub, Letter, Moment, RequestLimits, Settings, WorkerId};
use campanile_protocol::CloseCode;
use campanile_protocol::websocket::Inflater;
use rustix::event::epoll;
use tokio::io::unix::AsyncFd;

use crate::config::Config;
use crate::door::Door;
use crate::http::Http;
use crate::mailbox::{Arrival, Envelope, Kept, Permit, Permits, Post};
use crate::node::Node;
use crate::send_queue::Backlog;
use crate::socket::{Socket, Stage};
use crate::uring::{self, Ring};
use crate::webhooks::Webhooks;
use crate::wire::Wire;
use line::Line;

mod accept;
mod line;
mod read;
#[cfg(test)]
mod tests;
mod write;

/// A tick takes at most so many events from the kernel.
const EVENTS_MAX: usize = 512;
/// The buffer that all sockets of a worker are read into.
const READ_BYTES: usize = 64 * 1024;
/// After so many writes other work of the worker gets its turn.
const WRITES_BEFORE_YIELD: usize = uring::BATCH_MAX;
/// How often connections are looked after.
const SWEEP_EVERY: Duration = Duration::from_millis(500);
/// The numbers under which the listeners stand in epoll.
const TCP_LISTENER: u64 = u64::MAX;
const UNIX_LISTENER: u64 = u64::MAX - 1;

/// Where a worker's connections come from.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) tcp: TcpListener,
    /// The node's Unix socket, at the first worker alone, which hands its connections round.
    pub(crate) unix: Option<UnixListener>,
}

fn settings(worker: WorkerId, node: &Node) -> Settings {
    let config = node.config();
    let limits = &config.limits;
    // Each worker is the home of an even share.
    let workers = config.workers.max(1);
    Settings {
        worker,
        homes: *node.homes(),
        presence_grace_secs: limits.presence_grace.as_secs(),
        pong_timeout_secs: limits.pong_timeout.as_secs(),
        compression: config.compression,
        remembered_bytes_max: limits.remembered_bytes_max / workers,
        rings_bytes_max: limits.replays_bytes_max / workers,
        requests: RequestLimits {
            window_secs: limits.idempotency_window.as_secs(),
            keys_per_app_max: limits.idempotency_keys_per_app_max.div_ceil(workers),
            bytes_max: limits.idempotency_bytes_max / workers,
        },
        guard_keys_max: limits.guard_keys_max.div_ceil(workers),
    }
}

/// The worker's ring, where it is wanted and the kernel gives one.
fn ring(config: &Config) -> Option<Ring> {
    let ring = config.io_uring.then(Ring::new)?;
    ring.inspect_err(|error| tracing::debug!(%error, "no io_uring here: each socket is written to by itself")).ok()
}

/// One core's loop.
pub(crate) struct Worker {
    id: WorkerId,
    node: Arc<Node>,
    /// The node's, as of the last reload that this worker has heard of.
    config: Arc<Config>,
    hub: Hub,
    door: Rc<Door>,
    post: Post,
    permits: Permits,
    kept: Kept,
    http: Http,
    /// Until a drain has begun.
    listeners: Option<Listeners>,
    /// Who gets the next connection of the Unix socket.
    next_worker: u16,
    epoll: AsyncFd<OwnedFd>,
    sockets: Vec<Option<Socket>>,
    /// What waits in all their send queues.
    backlog: Backlog,
    free: Vec<u32>,
    generations: Vec<u32>,
    /// Those whose first request is still arriving.
    coming: Line,
    /// Those who have been told the end.
    going: Line,
    closes: VecDeque<(ConnectionId, u16, Box<str>)>,
    letters: VecDeque<Envelope>,
    /// That another has lost its mind, while this one hears of it.
    loss: Option<Letter>,
    effects: Vec<Effect>,
    buffer: Vec<u8>,
    inflater: Inflater,
    socket_id_place: u64,
    next_sweep: Instant,
    draining: Option<Instant>,
    webhooks: Arc<Webhooks>,
    ring: Option<Ring>,
    /// The listeners are not looked at until the next sweep, because there is no room for another socket.
    pauses: bool,
    /// The connection whose bytes are being read, while that concerns nothing that others share.
    reading: Option<u32>,
}

#[expect(unsafe_code, reason = "tokio asks its callers to promise that the descriptor stays open")]
fn register(epoll: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open, always the same descriptor, and closed only by the `AsyncFd` that owns it from here.
    unsafe { AsyncFd::register(epoll) }.map_err(|error| error.into_parts().1)
}

fn watch(epoll: &OwnedFd, listeners: &Listeners) -> io::Result<()> {
    epoll::add(epoll, &listeners.tcp, epoll::EventData::new_u64(TCP_LISTENER), epoll::EventFlags::IN)?;
    if let Some(unix) = &listeners.unix {
        epoll::add(epoll, unix, epoll::EventData::new_u64(UNIX_LISTENER), epoll::EventFlags::IN)?;
    }
    Ok(())
}

impl Worker {
    pub(crate) fn new(
        id: WorkerId,
        node: Arc<Node>,
        post: Post,
        listeners: Listeners,
        incarnation: u64,
        webhooks: Arc<Webhooks>,
    ) -> io::Result<Self> {
        let config = node.config();
        let limits = &config.limits;
        let permits = Permits::new(limits.permits_per_worker);
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        watch(&epoll, &listeners)?;
        let door = Door::new(id, Arc::clone(&node), post.clone(), permits.clone());
        if let Some(store) = node.store() {
            store.lister.serve(Rc::clone(&door));
        }
        Ok(Self {
            hub: Hub::new(settings(id, &node), node.apps()),
            http: Http::new(Rc::clone(&door)),
            door,
            permits,
            kept: Kept::default(),
            listeners: Some(listeners),
            next_worker: 0,
            epoll: register(epoll)?,
            sockets: Vec::new(),
            backlog: Backlog::default(),
            free: Vec::new(),
            generations: Vec::new(),
            coming: Line::default(),
            going: Line::default(),
            closes: VecDeque::new(),
            letters: VecDeque::new(),
            loss: None,
            effects: Vec::new(),
            buffer: vec![0; READ_BYTES],
            inflater: Inflater::default(),
            socket_id_place: campanile_hub::hub::first_place(incarnation, id),
            next_sweep: Instant::now(),
            draining: None,
            webhooks,
            pauses: false,
            ring: ring(&config),
            reading: None,
            config,
            id,
            node,
            post,
        })
    }

    fn now(&self) -> Moment {
        let millis = self.node.started().elapsed().as_millis();
        Moment(u64::try_from(millis).unwrap_or(u64::MAX))
    }

    /// Runs until a drain has emptied it.
    pub(crate) async fn run(mut self) -> io::Result<()> {
        let arrived = self.post.arrived(self.id);
        loop {
            self.contain(Self::take_letters);
            self.contain(Self::take_upgraded);
            let more = self.permits.is_free() && self.contain(Self::take_events).transpose()?.unwrap_or(true);
            self.contain(Self::look_after);
            self.contain(|worker| worker.hub.fanout().gather());
            while self.contain(Self::write).unwrap_or(true) {
                tokio::task::yield_now().await;
            }
            self.contain(|worker| worker.hub.written());
            self.contain(Self::relieve);
            self.contain(Self::close);
            if self.is_drained() {
                self.contain(Self::account);
                return Ok(());
            }
            // The runtime tells of our epoll's descriptor only when something new arrives there: empty it before waiting.
            if more {
                tokio::task::yield_now().await;
                continue;
            }
            let due = self.hub.next_due().map_or(u64::MAX, |due| due.millis_since(self.now()));
            let sweep = self.next_sweep.saturating_duration_since(Instant::now());
            let wait = sweep.min(Duration::from_millis(due));
            let starved = !self.permits.is_free();
            tokio::select! {
                biased;
                () = arrived.notified() => {}
                () = self.permits.returned(), if starved => {}
                () = self.http.upgraded(), if !starved => {}
                ready = self.epoll.readable(), if !starved => ready?.clear_ready(),
                () = tokio::time::sleep(wait) => {}
            }
            // Requests on this worker get their turn after every tick, however busy it is.
            tokio::task::yield_now().await;
        }
    }

    /// Does a part of the tick. A panic costs the connection whose bytes brought it, or else this worker's mind.
    fn contain<T>(&mut self, part: impl FnOnce(&mut Self) -> T) -> Option<T> {
        match catch_unwind(AssertUnwindSafe(|| part(self))) {
            Ok(done) => Some(done),
            Err(_) => {
                match self.reading.take() {
                    Some(index) => self.fail_connection(index),
                    None => self.start_afresh(),
                }
                None
            }
        }
    }

    /// Reading a client's bytes has panicked: nobody else is concerned.
    fn fail_connection(&mut self, index: u32) {
        let Some(socket) = &self.sockets[index as usize] else { return };
        tracing::error!(connection = index, "reading a client's bytes has panicked: its connection is closed");
        self.closes.push_back((socket.id, CloseCode::OverCapacity.number(), "the server has failed".into()));
    }

    /// The mind is in a state that nobody can vouch for: throw it away, send its clients away, begin anew.
    fn start_afresh(&mut self) {
        self.node.lose_mind();
        tracing::error!(worker = self.id.0, "the worker's mind has panicked: its clients are told to connect again");
        self.hub = Hub::reborn(settings(self.id, &self.node), self.node.apps(), self.hub.legacy());
        self.effects.clear();
        self.kept.clear();
        self.letters.extend(self.loss.take().map(|letter| Envelope { letter, permit: None }));
        self.settle(None);
        self.closes.clear();
        for socket in self.sockets.iter().flatten().filter(|socket| matches!(socket.stage, Stage::Open { .. })) {
            self.closes.push_back((
                socket.id,
                CloseCode::Reconnect.number(),
                "the server has failed: connect again".into(),
            ));
        }
    }

    fn take_letters(&mut self) {
        let now = self.now();
        if self.letters.is_empty() {
            for Arrival { stream, descriptor } in self.post.take(self.id, &mut self.letters) {
                self.take_in(Wire::unix(stream), descriptor);
            }
        }
        // One at a time: a panic costs the letter that brought it and no other.
        while let Some(Envelope { letter, permit }) = self.letters.pop_front() {
            if let Letter::Reload { .. } = letter {
                self.config = self.node.config();
                self.hub.set_compression(self.config.compression);
            }
            // Whoever has lost its mind waits for what every other has to say: so the next of ours must say it.
            self.loss = matches!(letter, Letter::MindLost { .. }).then(|| letter.clone());
            #[cfg(test)]
            tests::panic_at(&letter);
            self.hub.letter(letter, now);
            self.settle(permit.as_ref());
            self.loss = None;
        }
        if self.hub.next_due().is_some_and(|due| due <= now) {
            self.hub.due(now);
            self.settle(None);
        }
    }

    /// Does what the mind has asked for.
    fn settle(&mut self, permit: Option<&Permit>) {
        let mut effects = std::mem::take(&mut self.effects);
        self.hub.take_effects(&mut effects);
        let permit = if self.hub.may_keep_letters() {
            self.kept.keep(permit);
            permit.cloned()
        } else {
            self.kept.release(permit)
        };
        for effect in effects.drain(..) {
            match effect {
                Effect::Send { to, letter } => self.post.send(to, letter, permit.clone()),
                Effect::Close { connection, code, reason } => {
                    self.closes.push_back((connection, code.number(), reason))
                }
                Effect::Answer { id, answer } => self.door.answer(id, answer),
                Effect::Notice(notice) => self.webhooks.notify(notice),
                Effect::Alert(alert) => self.node.raise(&alert, &self.webhooks),
                Effect::EnteredInbox { key, user, subscriber } => {
                    if let Some(store) = self.node.store() {
                        store.tell_state(key, user, subscriber);
                    }
                }
                Effect::Taken(receipt) => self.node.takings().note(receipt),
            }
        }
        self.effects = effects;
    }

    /// Takes what the kernel has, up to a tick's worth. False: there was nothing.
    fn take_events(&mut self) -> io::Result<bool> {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS_MAX);
        loop {
            let timeout = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
            match epoll::wait(self.epoll.get_ref(), rustix::buffer::spare_capacity(&mut events), Some(&timeout)) {
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let any = !events.is_empty();
        for event in events {
            let epoll::Event { flags, data } = event;
            let number = data.u64();
            if number >= UNIX_LISTENER {
                self.accept();
                continue;
            }
            let index = u32::try_from(number).expect("sockets are numbered in 32 bits");
            if flags.contains(epoll::EventFlags::OUT) {
                self.flush(index);
            }
            if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR) {
                self.read(index);
            }
        }
        Ok(any)
    }

    /// Looks after the sockets whose time has come.
    fn look_after(&mut self) {
        if Instant::now() < self.next_sweep {
            return;
        }
        self.next_sweep = Instant::now() + SWEEP_EVERY;
        if self.pauses {
            self.watch_listeners(true);
        }
        let now = self.now();
        for index in 0..u32::try_from(self.sockets.len()).expect("sockets are numbered in 32 bits") {
            let Some(socket) = self.sockets[index as usize].as_mut().filter(|socket| socket.look_at <= now) else {
                continue;
            };
            match socket.stage {
                Stage::Head(_) | Stage::Closing => self.drop_socket(index, Departure::Vanished),
                Stage::Open { .. } => {
                    let id = socket.id;
                    let next = self.hub.check(id, now).unwrap_or(now.after_secs(1));
                    if let Some(socket) = self.sockets[index as usize].as_mut() {
                        socket.look_at = next;
                    }
                }
            }
        }
        self.settle(None);
        self.account();
        self.drain();
    }

    /// Hands over what apps have used here, and hears which of them have used too much.
    fn account(&mut self) {
        let mut used = self.hub.take_readings();
        used.extend(self.door.take_readings());
        // One of them speaks for the endpoints, which have no worker.
        if self.id == WorkerId(0) {
            used.extend(self.webhooks.take_readings(self.hub.apps()));
            self.node.account_peaks();
        }
        self.node.account(used, &self.webhooks);
        self.hub.set_spent(self.node.all_spent());
    }

    /// Takes no more connections, then closes this sweep's share of those there are, so that they return in waves.
    fn drain(&mut self) {
        if !self.node.is_draining() {
            return;
        }
        if self.listeners.is_some() {
            // Whoever waits in the kernel already is told where to go, and not reset; then nobody new comes.
            while self.accept() {}
            self.listeners = None;
            // The first are told at the next sweep, when the other workers have stopped listening as well: a client that
            // is told to come back does so at once, and must not find us.
            return;
        }
        let wave = self.config.drain.wave;
        let until = *self.draining.get_or_insert_with(|| Instant::now() + wave);
        self.http.leave();
        let sweeps = until.saturating_duration_since(Instant::now()).as_millis() / SWEEP_EVERY.as_millis() + 1;
        let open: Vec<ConnectionId> = self.hub.connections().collect();
        let share = open.len().div_ceil(usize::try_from(sweeps).unwrap_or(1));
        for id in open.into_iter().take(share) {
            self.closes.push_back((id, CloseCode::Reconnect.number(), "the server is going away".into()));
        }
    }

    /// Everybody has gone; or has been told to, and had time to. Those who keep knocking are not waited for.
    fn is_drained(&self) -> bool {
        let Some(until) = self.draining else { return false };
        let limits = &self.config.limits;
        let late = until.elapsed();
        let have_clients_left = late > limits.closing_timeout + 2 * SWEEP_EVERY
            || self.sockets.iter().flatten().all(|socket| matches!(socket.stage, Stage::Head(_)));
        have_clients_left && (self.http.open() == 0 || late > limits.http_request_timeout + SWEEP_EVERY)
    }

    fn release(&mut self, index: u32) {
        self.generations[index as usize] = self.generations[index as usize].wrapping_add(1);
        self.free.push(index);
    }

    fn drop_socket(&mut self, index: u32, departure: Departure) {
        let Some(socket) = self.sockets[index as usize].take() else { return };
        self.release(index);
        self.hub.disconnect(socket.id, departure, self.now());
        self.settle(None);
    }
}
