//! One core: sockets in, mind, sockets out.
//!
//! Owns its listener, its sockets, its mind and their timers; it alone writes to its sockets. Never locks anything for
//! longer than it takes to move letters, never waits for another worker. The invariant: one tick gathers, then each
//! connection is written once. Read on in [`crate::socket`], [`crate::upgrade`] and `campanile_hub::hub`.

use std::io::{self, Read};
use std::net::{Shutdown, TcpListener};
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use campanile_hub::letter::Departure;
use campanile_hub::{ConnectionId, Effect, Hub, Moment, Settings, WorkerId};
use campanile_protocol::CloseCode;
use campanile_protocol::websocket::{self, Opcode, Received, Role, Rules};
use rustix::event::epoll;
use tokio::io::unix::AsyncFd;

use crate::door::Door;
use crate::mailbox::{Envelope, Permit, Permits, Post};
use crate::node::Node;
use crate::socket::{Socket, Stage};
use crate::upgrade::{self, First};
use crate::webhooks::Webhooks;

/// A tick takes at most so many events from the kernel.
const EVENTS_MAX: usize = 512;
/// The buffer that all sockets of a worker are read into.
const READ_BYTES: usize = 64 * 1024;
/// After so many writes other work of the worker gets its turn.
const WRITES_BEFORE_YIELD: usize = 1024;
/// How often connections are looked after.
const SWEEP_EVERY: Duration = Duration::from_millis(500);
/// The number under which the listener stands in epoll.
const LISTENER: u64 = u64::MAX;

/// One core's loop.
pub(crate) struct Worker {
    id: WorkerId,
    node: Arc<Node>,
    hub: Hub,
    door: Rc<Door>,
    post: Post,
    permits: Permits,
    listener: TcpListener,
    epoll: AsyncFd<OwnedFd>,
    sockets: Vec<Option<Socket>>,
    free: Vec<u32>,
    generations: Vec<u32>,
    closes: Vec<(ConnectionId, u16, Box<str>)>,
    letters: Vec<Envelope>,
    effects: Vec<Effect>,
    buffer: Vec<u8>,
    socket_id_place: u64,
    next_sweep: Instant,
    draining: Option<Instant>,
    webhooks: Arc<Webhooks>,
}

#[expect(unsafe_code, reason = "tokio asks its callers to promise that the descriptor stays open")]
fn register(epoll: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open, always the same descriptor, and closed only by the `AsyncFd` that owns it from here.
    unsafe { AsyncFd::register(epoll) }.map_err(|error| error.into_parts().1)
}

impl Worker {
    pub(crate) fn new(
        id: WorkerId,
        node: Arc<Node>,
        post: Post,
        listener: TcpListener,
        incarnation: u64,
        webhooks: Arc<Webhooks>,
    ) -> io::Result<Self> {
        let config = node.config();
        let limits = &config.limits;
        let permits = Permits::new(limits.permits_per_worker);
        let settings = Settings {
            worker: id,
            homes: *node.homes(),
            presence_grace_secs: limits.presence_grace.as_secs(),
            pong_timeout_secs: limits.pong_timeout.as_secs(),
            remembered_bytes_max: limits.remembered_bytes_max / config.workers.max(1),
        };
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        let door = Door::new(id, Arc::clone(&node), post.clone(), permits.clone(), limits.http_request_timeout);
        Ok(Self {
            hub: Hub::new(settings, node.apps()),
            door,
            permits,
            listener,
            epoll: register(epoll)?,
            sockets: Vec::new(),
            free: Vec::new(),
            generations: Vec::new(),
            closes: Vec::new(),
            letters: Vec::new(),
            effects: Vec::new(),
            buffer: vec![0; READ_BYTES],
            // 28 bits of the start, 10 of the worker, 26 of the connection's place.
            socket_id_place: (incarnation & 0xfff_ffff) << 36 | u64::from(id.0) << campanile_hub::hub::PLACE_INDEX_BITS,
            next_sweep: Instant::now(),
            draining: None,
            webhooks,
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
            self.take_letters();
            let more = self.permits.is_free() && self.take_events()?;
            self.look_after();
            self.write().await;
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
                ready = self.epoll.readable(), if !starved => ready?.clear_ready(),
                () = tokio::time::sleep(wait) => {}
            }
            // Requests on this worker get their turn after every tick, however busy it is.
            tokio::task::yield_now().await;
        }
    }

    fn take_letters(&mut self) {
        let now = self.now();
        let mut letters = std::mem::take(&mut self.letters);
        self.post.take(self.id, &mut letters);
        for Envelope { letter, permit } in letters.drain(..) {
            self.hub.letter(letter, now);
            self.settle(permit.as_ref());
        }
        self.letters = letters;
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
                Effect::Close { connection, code, reason } => self.closes.push((connection, code.number(), reason)),
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
            if number == LISTENER {
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
        for _ in 0..64 {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    if stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true)).is_err() {
                        continue;
                    }
                    let index = self.free.pop().unwrap_or_else(|| {
                        self.sockets.push(None);
                        self.generations.push(0);
                        u32::try_from(self.sockets.len() - 1).expect("sockets are numbered in 32 bits")
                    });
                    let data = epoll::EventData::new_u64(index.into());
                    if epoll::add(self.epoll.get_ref(), &stream, data, epoll::EventFlags::IN).is_err() {
                        self.free.push(index);
                        continue;
                    }
                    let id = ConnectionId { index, generation: self.generations[index as usize] };
                    let timeout = self.node.config().limits.head_timeout.as_secs();
                    self.sockets[index as usize] = Some(Socket::new(id, stream, self.now().after_secs(timeout)));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    return;
                }
            }
        }
    }

    fn read(&mut self, index: u32) {
        let mut buffer = std::mem::take(&mut self.buffer);
        let Some(socket) = self.sockets[index as usize].as_mut() else {
            self.buffer = buffer;
            return;
        };
        match socket.stream.read(&mut buffer) {
            Ok(0) => self.drop_socket(index, Departure::Vanished),
            Ok(length) => self.take_bytes(index, &mut buffer[..length]),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => self.drop_socket(index, Departure::Vanished),
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
        let (now, config) = (self.now(), self.node.config());
        let Some(socket) = self.sockets[index as usize].as_mut() else { return };
        let Stage::Open { incoming, .. } = &mut socket.stage else { return };
        let (id, hub) = (socket.id, &mut self.hub);
        let rules = Rules { role: Role::Server, message_max: config.limits.frame_bytes_max };
        let mut closed = None;
        hub.heard(id, now);
        let permit = self.permits.take();
        let outcome = incoming.receive(bytes, rules, |received| {
            match received {
                Received::Text(text) => hub.receive(id, text, now),
                Received::Binary(bytes) => hub.receive_binary(id, bytes, now),
                Received::Ping(payload) => hub.fanout().direct(id, websocket::encode(Opcode::Pong, payload)),
                Received::Pong(_) => {}
                Received::Close(close) => closed = Some(close.code.unwrap_or(CloseCode::Normal.number())),
            }
            ControlFlow::Continue(())
        });
        self.settle(permit.as_ref());
        if let Err(violation) = outcome {
            self.closes.push((id, violation.close_code(), violation.to_string().into()));
        } else if let Some(code) = closed {
            self.hub.disconnect(id, Departure::Left, now);
            self.settle(permit.as_ref());
            self.closes.push((id, code, "".into()));
        }
    }

    fn take_head(&mut self, index: u32) {
        let config = self.node.config();
        let Some(socket) = self.sockets[index as usize].as_mut() else { return };
        let Stage::Head(head) = &socket.stage else { return };
        match upgrade::read(head, &config.listen.path_prefix, config.limits.head_bytes_max) {
            First::Incomplete => {}
            First::Http => self.hand_to_http(index),
            First::Refused(response) => {
                // Small enough for a fresh socket's buffer; whoever cannot take it is gone.
                let _ = socket.write(&[response], usize::MAX);
                self.drop_socket(index, Departure::Vanished);
            }
            First::WebSocket { request, response, rest } => self.open(index, &request, response, rest),
        }
    }

    fn open(&mut self, index: u32, request: &upgrade::Request, response: Bytes, mut rest: Vec<u8>) {
        let now = self.now();
        let admitted = request.admit(&self.node, self.hub.apps());
        let Some(socket) = self.sockets[index as usize].as_mut() else { return };
        let id = socket.id;
        if socket.write(&[response], usize::MAX).is_err() {
            return self.drop_socket(index, Departure::Vanished);
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
                self.closes.push((id, refusal.code.number(), refusal.message));
            }
        }
    }

    fn hand_to_http(&mut self, index: u32) {
        let Some(socket) = self.sockets[index as usize].take() else { return };
        self.release(index);
        let Stage::Head(head) = socket.stage else { return };
        // A descriptor that epoll no longer knows is no loss here.
        let _ = epoll::delete(self.epoll.get_ref(), &socket.stream);
        tokio::task::spawn_local(upgrade::serve_http(socket.stream, head, Rc::clone(&self.door)));
    }

    fn flush(&mut self, index: u32) {
        let Some(socket) = self.sockets[index as usize].as_mut() else { return };
        if socket.flush().is_err() {
            return self.drop_socket(index, Departure::Vanished);
        }
        if !socket.has_queued() {
            self.watch_writable(index, false);
        }
    }

    fn watch_writable(&mut self, index: u32, wanted: bool) {
        let Some(socket) = self.sockets[index as usize].as_mut() else { return };
        if std::mem::replace(&mut socket.watches_writable, wanted) != wanted {
            let flags = if wanted { epoll::EventFlags::IN | epoll::EventFlags::OUT } else { epoll::EventFlags::IN };
            let data = epoll::EventData::new_u64(index.into());
            if epoll::modify(self.epoll.get_ref(), &socket.stream, data, flags).is_err() {
                self.drop_socket(index, Departure::Vanished);
            }
        }
    }

    /// Writes what the tick has gathered, each connection once, then closes what must be closed.
    async fn write(&mut self) {
        let queue_bytes_max = self.node.config().limits.send_queue_bytes_max;
        self.hub.fanout().gather();
        let mut writes = 0;
        while let Some(write) = self.hub.fanout().next_write() {
            let id = write.connection;
            let Some(socket) = self.sockets[id.index as usize].as_mut().filter(|socket| socket.id == id) else {
                continue;
            };
            match socket.write(write.slices, queue_bytes_max) {
                Ok(Ok(())) if socket.has_queued() => self.watch_writable(id.index, true),
                Ok(Ok(())) => {}
                Ok(Err(_)) => {
                    self.closes.push((
                        id,
                        CloseCode::OverCapacity.number(),
                        "reads more slowly than its channels".into(),
                    ));
                }
                Err(_) => self.drop_socket(id.index, Departure::Vanished),
            }
            writes += 1;
            if writes % WRITES_BEFORE_YIELD == 0 {
                tokio::task::yield_now().await;
            }
        }
        let now = self.now();
        let linger = self.node.config().limits.closing_timeout.as_secs();
        for (id, code, reason) in std::mem::take(&mut self.closes) {
            self.hub.disconnect(id, Departure::Vanished, now);
            self.settle(None);
            let socket = self.sockets[id.index as usize].as_mut().filter(|socket| socket.id == id);
            let Some(socket) = socket.filter(|socket| !matches!(socket.stage, Stage::Closing)) else { continue };
            if socket.close(code, &reason, now.after_secs(linger)).is_err() {
                self.drop_socket(id.index, Departure::Vanished);
            } else if socket.has_queued() {
                self.watch_writable(id.index, true);
            } else {
                // The peer reads to the end, answers and closes; until then its bytes are thrown away.
                let _ = socket.stream.shutdown(Shutdown::Write);
            }
        }
    }

    /// Looks after the sockets whose time has come.
    fn look_after(&mut self) {
        if Instant::now() < self.next_sweep {
            return;
        }
        self.next_sweep = Instant::now() + SWEEP_EVERY;
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

    /// Closes this sweep's share of the connections, so that they return in waves.
    fn drain(&mut self, now: Moment) {
        if !self.node.is_draining() {
            return;
        }
        let wave = self.node.config().drain.wave;
        let until = *self.draining.get_or_insert_with(|| Instant::now() + wave);
        let sweeps = until.saturating_duration_since(Instant::now()).as_millis() / SWEEP_EVERY.as_millis() + 1;
        let open: Vec<ConnectionId> = self.hub.connections().collect();
        let share = open.len().div_ceil(usize::try_from(sweeps).unwrap_or(1));
        for id in open.into_iter().take(share) {
            self.closes.push((id, CloseCode::Reconnect.number(), "the server is going away".into()));
        }
        self.hub.due(now);
    }

    fn is_drained(&self) -> bool {
        self.draining.is_some() && self.sockets.iter().flatten().all(|socket| matches!(socket.stage, Stage::Head(_)))
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
