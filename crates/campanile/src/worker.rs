//! One core: sockets in, mind, sockets out.
//!
//! Owns its listener, its sockets, its mind and their timers; it alone writes to its sockets. Never locks anything for
//! longer than it takes to move letters, never waits for another worker. The invariant: one tick gathers, then each
//! connection is written once. Read on in [`crate::socket`], [`crate::upgrade`] and `campanile_hub::hub`.

use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use campanile_hub::letter::Departure;
use campanile_hub::{ConnectionId, Effect, Hub, Letter, Moment, Settings, WorkerId};
use campanile_protocol::CloseCode;
use campanile_protocol::websocket::{self, Opcode, Received, Role, Rules};
use rustix::event::epoll;
use tokio::io::unix::AsyncFd;

use crate::config::Config;
use crate::door::Door;
use crate::http::{Http, Upgraded};
use crate::mailbox::{Arrival, Envelope, Permit, Permits, Post};
use crate::node::{Descriptor, Node};
use crate::socket::{Socket, Stage};
use crate::upgrade::{self, First, Version};
use crate::uring::{self, Ring, Sent};
use crate::webhooks::Webhooks;
use crate::wire::{Inbound, Wire};

#[cfg(test)]
mod tests;

/// A tick takes at most so many events from the kernel.
const EVENTS_MAX: usize = 512;
/// The buffer that all sockets of a worker are read into.
const READ_BYTES: usize = 64 * 1024;
/// After so many writes other work of the worker gets its turn.
const WRITES_BEFORE_YIELD: usize = uring::BATCH_MAX;
/// How often connections are looked after.
const SWEEP_EVERY: Duration = Duration::from_millis(500);
/// A listener accepts at most so many connections in a tick.
const ACCEPTS_MAX: usize = 64;
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
    Settings {
        worker,
        homes: *node.homes(),
        presence_grace_secs: limits.presence_grace.as_secs(),
        pong_timeout_secs: limits.pong_timeout.as_secs(),
        remembered_bytes_max: limits.remembered_bytes_max / config.workers.max(1),
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
    http: Http,
    /// Until a drain has begun.
    listeners: Option<Listeners>,
    /// Who gets the next connection of the Unix socket.
    next_worker: u16,
    epoll: AsyncFd<OwnedFd>,
    sockets: Vec<Option<Socket>>,
    free: Vec<u32>,
    generations: Vec<u32>,
    closes: VecDeque<(ConnectionId, u16, Box<str>)>,
    letters: VecDeque<Envelope>,
    effects: Vec<Effect>,
    buffer: Vec<u8>,
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
        Ok(Self {
            hub: Hub::new(settings(id, &node), node.apps()),
            http: Http::new(Rc::clone(&door)),
            door,
            permits,
            listeners: Some(listeners),
            next_worker: 0,
            epoll: register(epoll)?,
            sockets: Vec::new(),
            free: Vec::new(),
            generations: Vec::new(),
            closes: VecDeque::new(),
            letters: VecDeque::new(),
            effects: Vec::new(),
            buffer: vec![0; READ_BYTES],
            // 28 bits of the start, 10 of the worker, 26 of the connection's place.
            socket_id_place: (incarnation & 0xfff_ffff) << 36 | u64::from(id.0) << campanile_hub::hub::PLACE_INDEX_BITS,
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
            self.contain(Self::close);
            if self.is_drained() {
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
            #[cfg(test)]
            tests::panic_at(&letter);
            if let Letter::Reload { .. } = letter {
                self.config = self.node.config();
            }
            self.hub.letter(letter, now);
            self.settle(permit.as_ref());
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
        for effect in effects.drain(..) {
            match effect {
                Effect::Send { to, letter } => self.post.send(to, letter, permit.cloned()),
                Effect::Close { connection, code, reason } => {
                    self.closes.push_back((connection, code.number(), reason))
                }
                Effect::Answer { id, answer } => self.door.answer(id, answer),
                Effect::Notice(notice) => self.webhooks.notify(notice),
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

    fn accept(&mut self) {
        for _ in 0..ACCEPTS_MAX {
            let Some((stream, descriptor)) = self.accepted(|listeners| Some(listeners.tcp.accept())) else { break };
            self.take_in(Wire::tcp(stream, self.node.tls()), descriptor);
        }
        for _ in 0..ACCEPTS_MAX {
            let accepted = self.accepted(|listeners| listeners.unix.as_ref().map(UnixListener::accept));
            let Some((stream, descriptor)) = accepted else { break };
            let arrival = Arrival { stream, descriptor };
            self.next_worker = (self.next_worker + 1) % self.post.workers();
            let to = WorkerId(self.next_worker);
            // At a drain the others may have ended already.
            let is_mine = to == self.id || self.node.is_draining();
            let kept = if is_mine { Err(arrival) } else { self.post.hand_over(to, arrival) };
            if let Err(Arrival { stream, descriptor }) = kept {
                self.take_in(Wire::unix(stream), descriptor);
            }
        }
    }

    /// One connection and its descriptor. Where there is no room, the listeners rest until the next sweep: trying again
    /// at once would only turn in circles.
    fn accepted<S, A>(
        &mut self,
        accept: impl FnOnce(&Listeners) -> Option<io::Result<(S, A)>>,
    ) -> Option<(S, Descriptor)> {
        let listeners = self.listeners.as_ref()?;
        let Some(descriptor) = self.node.take_descriptor() else {
            self.watch_listeners(false);
            return None;
        };
        match accept(listeners)? {
            Ok((stream, _)) => Some((stream, descriptor)),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionAborted) => None,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                self.watch_listeners(false);
                None
            }
        }
    }

    fn watch_listeners(&mut self, wanted: bool) {
        let Some(listeners) = &self.listeners else { return };
        let flags = if wanted { epoll::EventFlags::IN } else { epoll::EventFlags::empty() };
        let epoll = self.epoll.get_ref();
        // If a listener cannot be silenced, it is looked at more often than need be.
        let mut done = epoll::modify(epoll, &listeners.tcp, epoll::EventData::new_u64(TCP_LISTENER), flags);
        if let Some(unix) = &listeners.unix {
            done = done.and(epoll::modify(epoll, unix, epoll::EventData::new_u64(UNIX_LISTENER), flags));
        }
        self.pauses = done.is_ok() && !wanted;
    }

    /// Takes back the connections that have become WebSockets after other requests.
    fn take_upgraded(&mut self) {
        while self.permits.is_free()
            && let Some(Upgraded { wire, request, rest, descriptor, slot }) = self.http.next_upgraded()
        {
            drop(slot);
            if let Some(index) = self.take_in(Ok(wire), descriptor) {
                self.enter(index, &request, rest);
            }
        }
    }

    /// Begins to listen to a connection. One that cannot be set up is closed, which tells its peer.
    fn take_in(&mut self, wire: io::Result<Wire>, descriptor: Descriptor) -> Option<u32> {
        let wire = wire.ok()?;
        let index = self.free.pop().unwrap_or_else(|| {
            self.sockets.push(None);
            self.generations.push(0);
            u32::try_from(self.sockets.len() - 1).expect("sockets are numbered in 32 bits")
        });
        let data = epoll::EventData::new_u64(index.into());
        if epoll::add(self.epoll.get_ref(), &wire, data, epoll::EventFlags::IN).is_err() {
            self.free.push(index);
            return None;
        }
        let id = ConnectionId { index, generation: self.generations[index as usize] };
        let timeout = self.config.limits.head_timeout.as_secs();
        self.sockets[index as usize] = Some(Socket::new(id, wire, descriptor, self.now().after_secs(timeout)));
        Some(index)
    }

    fn read(&mut self, index: u32) {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(READ_BYTES, 0);
        let stage = self.sockets[index as usize].as_ref().map(|socket| &socket.stage);
        // The kernel keeps what waits, and tells of it again.
        if matches!(stage, Some(Stage::Open { .. })) && !self.permits.is_free() {
            self.buffer = buffer;
            return;
        }
        // Once, or until TLS has nothing left that the kernel does not know of.
        while let Some(socket) = self.sockets[index as usize].as_mut() {
            self.reading = Some(index);
            let inbound = socket.wire.read(&mut buffer);
            self.reading = None;
            match inbound {
                Ok(Inbound::Bytes(length)) => self.take_bytes(index, &mut buffer[..length]),
                Ok(Inbound::Nothing) => {}
                Ok(Inbound::PlainHttp) => {
                    socket.wire.speak_plain();
                    self.refuse(index, upgrade::wants_tls());
                }
                Ok(Inbound::End) | Err(_) => self.drop_socket(index, Departure::Vanished),
            }
            if !self.sockets[index as usize].as_mut().is_some_and(|socket| socket.wire.has_plaintext()) {
                break;
            }
        }
        // Shaking hands writes, too.
        if self.sockets[index as usize].as_ref().is_some_and(|socket| socket.wire.has_unsent()) {
            self.watch_writable(index, true);
        }
        self.buffer = buffer;
    }

    fn take_bytes(&mut self, index: u32, bytes: &mut [u8]) {
        let Some(socket) = self.sockets[index as usize].as_mut() else { return };
        match &mut socket.stage {
            Stage::Closing => {}
            Stage::Head(head) => {
                head.extend_from_slice(bytes);
                self.take_head(index);
            }
            Stage::Open { .. } => self.take_frames(index, bytes),
        }
    }

    fn take_frames(&mut self, index: u32, bytes: &mut [u8]) {
        let now = self.now();
        let Some(socket) = self.sockets[index as usize].as_mut() else { return };
        let Stage::Open { incoming, .. } = &mut socket.stage else { return };
        let (id, hub, reading) = (socket.id, &mut self.hub, &mut self.reading);
        let rules = Rules { role: Role::Server, message_max: self.config.limits.frame_bytes_max };
        let mut closed = None;
        hub.heard(id, now);
        let permit = self.permits.take();
        *reading = Some(index);
        let outcome = incoming.receive(bytes, rules, |received| {
            #[cfg(test)]
            tests::panic_reading(&received);
            *reading = None;
            match received {
                Received::Text(text) => hub.receive(id, text, now),
                Received::Binary(bytes) => hub.receive_binary(id, bytes, now),
                Received::Ping(payload) => hub.fanout().direct(id, websocket::encode(Opcode::Pong, payload)),
                Received::Pong(_) => {}
                Received::Close(close) => closed = Some(close.code.unwrap_or(CloseCode::Normal.number())),
            }
            *reading = Some(index);
            ControlFlow::Continue(())
        });
        *reading = None;
        self.settle(permit.as_ref());
        if let Err(violation) = outcome {
            self.closes.push_back((id, violation.close_code(), violation.to_string().into()));
        } else if let Some(code) = closed {
            self.hub.disconnect(id, Departure::Left, now);
            self.settle(permit.as_ref());
            self.closes.push_back((id, code, "".into()));
        }
    }

    fn take_head(&mut self, index: u32) {
        let Some(socket) = self.sockets[index as usize].as_mut() else { return };
        let Stage::Head(head) = &socket.stage else { return };
        match upgrade::read(head, &self.config.listen.path_prefix, self.config.limits.head_bytes_max) {
            First::Incomplete => {}
            First::Http(version) => self.hand_to_http(index, version),
            First::Refused(response) => self.refuse(index, response),
            First::WebSocket { request, response, rest } => self.open(index, &request, response, rest),
        }
    }

    fn open(&mut self, index: u32, request: &upgrade::Request, response: Bytes, rest: Vec<u8>) {
        let Some(socket) = self.sockets[index as usize].as_mut() else { return };
        if socket.write(&[response], usize::MAX).is_err() {
            return self.drop_socket(index, Departure::Vanished);
        }
        self.enter(index, request, rest);
    }

    /// Lets in a client that has been answered 101, or tells it why not.
    fn enter(&mut self, index: u32, request: &upgrade::Request, mut rest: Vec<u8>) {
        let now = self.now();
        let admitted = request.admit(&self.node, self.hub.apps());
        let Some(socket) = self.sockets[index as usize].as_mut() else { return };
        let id = socket.id;
        if tracing::enabled!(tracing::Level::DEBUG) {
            let client = request.client(socket.wire.peer(), &self.node);
            match &admitted {
                Ok(admitted) => tracing::debug!(%client, app = %admitted.app.id, "connected"),
                Err(refusal) => {
                    let code = refusal.code.number();
                    tracing::debug!(%client, code, reason = %refusal.message, "refused");
                }
            }
        }
        match admitted {
            Ok(admitted) => {
                let mut secret = [0; 8];
                if getrandom::fill(&mut secret).is_err() {
                    return self.drop_socket(index, Departure::Vanished);
                }
                let socket_id = campanile_protocol::SocketId {
                    place: self.socket_id_place | u64::from(index),
                    secret: u64::from_ne_bytes(secret) >> 1,
                };
                socket.stage = Stage::Open { incoming: websocket::Incoming::default(), _place: admitted.place };
                socket.look_at = now.after_secs(1);
                self.hub.connect(id, &admitted.app, socket_id, admitted.protocol, now);
                self.settle(None);
                if !rest.is_empty() {
                    self.take_frames(index, &mut rest);
                }
            }
            Err(refusal) => {
                let (code, message) = (Some(refusal.code), &*refusal.message);
                let error = campanile_protocol::ServerFrame::Error { code, message, channel: None }.encode();
                let _ = socket.write(&[error], usize::MAX);
                self.closes.push_back((id, refusal.code.number(), refusal.message));
            }
        }
    }

    /// Answers in HTTP and waits until the peer has read that: closing over unread bytes would destroy the answer.
    fn refuse(&mut self, index: u32, response: Bytes) {
        let look_at = self.now().after_secs(self.config.limits.closing_timeout.as_secs());
        let Some(socket) = self.sockets[index as usize].as_mut() else { return };
        if socket.dismiss(response, look_at).is_err() {
            return self.drop_socket(index, Departure::Vanished);
        }
        self.finish(index);
    }

    fn hand_to_http(&mut self, index: u32, version: Version) {
        let Some(slot) = self.http.reserve(self.config.limits.http_connections_max) else {
            return self.refuse(index, upgrade::full(version));
        };
        let Some(socket) = self.sockets[index as usize].take() else { return };
        self.release(index);
        let Stage::Head(head) = socket.stage else { return };
        // A descriptor that epoll no longer knows is no loss here.
        let _ = epoll::delete(self.epoll.get_ref(), &socket.wire);
        self.http.serve(socket.wire, head, version, slot, socket.descriptor);
    }

    /// Ends a closing socket's stream, now or once all is sent.
    fn finish(&mut self, index: u32) {
        let Some(socket) = self.sockets[index as usize].as_mut() else { return };
        socket.finish();
        let has_queued = socket.has_queued();
        self.watch_writable(index, has_queued);
    }

    fn flush(&mut self, index: u32) {
        let Some(socket) = self.sockets[index as usize].as_mut() else { return };
        if socket.flush().is_err() {
            return self.drop_socket(index, Departure::Vanished);
        }
        self.finish(index);
    }

    fn watch_writable(&mut self, index: u32, wanted: bool) {
        let Some(socket) = self.sockets[index as usize].as_mut() else { return };
        if std::mem::replace(&mut socket.watches_writable, wanted) != wanted {
            let flags = if wanted { epoll::EventFlags::IN | epoll::EventFlags::OUT } else { epoll::EventFlags::IN };
            let data = epoll::EventData::new_u64(index.into());
            if epoll::modify(self.epoll.get_ref(), &socket.wire, data, flags).is_err() {
                self.drop_socket(index, Departure::Vanished);
            }
        }
    }

    /// Tries the next writes in one system call, and tells of each what became of it; nothing of those that must go
    /// through their socket one by one.
    fn send_together(&mut self) -> impl Iterator<Item = Option<Sent>> + use<> {
        let mut direct = [false; WRITES_BEFORE_YIELD];
        let mut sent = Vec::new();
        if let Some(mut ring) = self.ring.take() {
            let fanout = &*self.hub.fanout();
            let mut sends: Vec<uring::Send<'_>> = Vec::new();
            for (write, is_direct) in fanout.upcoming().zip(&mut direct) {
                let socket = self.sockets[write.connection.index as usize].as_ref();
                let socket = socket.filter(|socket| socket.id == write.connection);
                if let (Some(descriptor), [only]) = (socket.and_then(Socket::direct), write.slices) {
                    sends.push((descriptor, only));
                    *is_direct = true;
                }
            }
            if sends.len() < uring::BATCH_MIN {
                direct = [false; WRITES_BEFORE_YIELD];
                self.ring = Some(ring);
            } else {
                match ring.send(&sends, &mut sent) {
                    Ok(()) => self.ring = Some(ring),
                    Err(error) => tracing::warn!(%error, "io_uring has failed: from now on this worker does without"),
                }
            }
        }
        let mut sent = sent.into_iter();
        direct.into_iter().map(move |is_direct| if is_direct { sent.next() } else { None })
    }

    /// Writes some of what the tick has gathered, each connection once. True: there may be more.
    fn write(&mut self) -> bool {
        let queue_bytes_max = self.config.limits.send_queue_bytes_max;
        let mut sent = self.send_together();
        for _ in 0..WRITES_BEFORE_YIELD {
            let sent = sent.next().flatten();
            let Some(write) = self.hub.fanout().next_write() else { return false };
            let id = write.connection;
            let Some(socket) = self.sockets[id.index as usize].as_mut().filter(|socket| socket.id == id) else {
                continue;
            };
            let written = match sent {
                Some(sent) => socket.sent(write.slices, sent, queue_bytes_max),
                None => socket.write(write.slices, queue_bytes_max),
            };
            match written {
                Ok(Ok(())) if socket.has_queued() => self.watch_writable(id.index, true),
                Ok(Ok(())) => {}
                Ok(Err(_)) => {
                    let code = CloseCode::OverCapacity.number();
                    self.closes.push_back((id, code, "reads more slowly than its channels".into()));
                }
                Err(_) => self.drop_socket(id.index, Departure::Vanished),
            }
        }
        true
    }

    /// Closes what must be closed.
    fn close(&mut self) {
        let now = self.now();
        let linger = self.config.limits.closing_timeout.as_secs();
        while let Some((id, code, reason)) = self.closes.pop_front() {
            self.hub.disconnect(id, Departure::Vanished, now);
            self.settle(None);
            let socket = self.sockets[id.index as usize].as_mut().filter(|socket| socket.id == id);
            let Some(socket) = socket.filter(|socket| !matches!(socket.stage, Stage::Closing)) else { continue };
            if socket.close(code, &reason, now.after_secs(linger)).is_err() {
                self.drop_socket(id.index, Departure::Vanished);
            } else {
                // The peer reads to the end, answers and closes; until then its bytes are thrown away.
                self.finish(id.index);
            }
        }
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
        self.drain(now);
    }

    /// Takes no more connections, then closes this sweep's share of those there are, so that they return in waves.
    fn drain(&mut self, now: Moment) {
        if !self.node.is_draining() {
            return;
        }
        if self.listeners.is_some() {
            // Whoever waits in the kernel already is told where to go, and not reset; then nobody new comes.
            self.accept();
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
        self.hub.due(now);
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
