//! One worker's mind.
//!
//! Owns the sessions of the worker's connections, the seats they have, and the channels and keys whose home it is. Never does
//! I/O: inputs come by method, what must happen leaves through [`Hub::take_effects`] and [`Hub::fanout`]. The
//! invariant: a connection hears of a channel only between its home's grant and its own leave. Letters to itself go
//! through the same code as letters to others. Read on in `hub/client.rs` (what clients say), `hub/signin.rs`,
//! `hub/home.rs` (the channels that live here) and `hub/liveness.rs`, then in [`crate::channel`] and [`crate::session`].

#[cfg(test)]
mod bounds;
mod client;
mod home;
#[cfg(test)]
mod inboxes;
mod liveness;
mod receipts;
mod signin;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use campanile_protocol::{CloseCode, ServerFrame, SocketId, UserId};

use crate::app::{App, AppIndex, Apps};
use crate::census::Census;
use crate::channel::Channel;
use crate::effect::Effect;
use crate::fanout::{ConnectionId, Fanout, Left};
use crate::guard::{Guard, Rules};
use crate::idempotency::{RequestLimits, Requests};
use crate::letter::{Answer, Audience, ChannelKey, Departure, Homes, Letter, Purpose, Sequel, Subscriber, WorkerId};
use crate::memory::Memory;
use crate::meter::{self, Meter, Reading, Subject, Told};
use crate::notice::{Notice, NoticeKind};
use crate::occupied::Occupied;
use crate::rebirth::Waiting;
use crate::receipt::Receipts;
use crate::replay::Epochs;
use crate::seeded::{Map, Seed};
use crate::session::{Admission, Session, Unsubscribable};
use crate::shared_frame::SharedFrame;
use crate::timers::{Moment, Timers};

/// What a mind is told at birth.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its own number.
    pub worker: WorkerId,
    /// Where channels live.
    pub homes: Homes,
    /// How long a member who vanished is kept, in seconds.
    pub presence_grace_secs: u64,
    /// How long a ping may stay unanswered, in seconds.
    pub pong_timeout_secs: u64,
    /// Whether publications may be compressed, for connections that [`Fanout::compress`] names.
    pub compression: bool,
    /// What remembered events may take in this mind, in bytes: frames, data, names, and
    /// [`crate::memory::REMEMBERED_OVERHEAD_BYTES`] for each.
    pub remembered_bytes_max: usize,
    /// What events that can be sent again may take in this mind, in bytes: frames, [`crate::replay::REPLAYED_OVERHEAD_BYTES`]
    /// for each, and for each channel its name and [`crate::memory::REMEMBERED_OVERHEAD_BYTES`].
    pub rings_bytes_max: usize,
    /// What bounds the keys of requests that live here.
    pub requests: RequestLimits,
    /// What the guard may know something of in this mind, beside what requests under way have.
    pub guard_keys_max: usize,
}

impl Settings {
    /// Of a mind with small bounds, for a start from which some are set otherwise: the server sets every one.
    pub fn new(worker: WorkerId, homes: Homes) -> Self {
        Self {
            worker,
            homes,
            presence_grace_secs: 3,
            pong_timeout_secs: 30,
            compression: false,
            remembered_bytes_max: 1 << 20,
            rings_bytes_max: 1 << 20,
            requests: RequestLimits { window_secs: 600, keys_per_app_max: 10, bytes_max: 1 << 20 },
            guard_keys_max: 1000,
        }
    }
}

/// One worker's mind. It is a value: a copy goes on from the same point, which is how every order of events is tried.
#[derive(Debug, Clone)]
pub struct Hub {
    pub(crate) settings: Settings,
    apps: Arc<Apps>,
    sessions: Vec<Option<Session>>,
    pub(crate) fanout: Fanout,
    pub(crate) channels: Map<ChannelKey, Channel>,
    occupied: Occupied,
    memory: Memory,
    rings: Memory,
    pub(crate) epochs: Epochs,
    pub(crate) receipts: Receipts,
    requests: Requests,
    guard: Guard,
    meter: Meter,
    /// Apps that have no messages left, whose clients may send none.
    spent: Vec<AppIndex>,
    timers: Timers<ChannelKey>,
    pub(crate) effects: Vec<Effect>,
    own: VecDeque<Letter>,
    /// Letters about apps that only the reload on its way will bring.
    pub(crate) early: Vec<Letter>,
    pub(crate) next_token: u64,
    /// Tokens up to this were given by earlier lives of this mind.
    pub(crate) token_floor: u64,
    pub(crate) edges: u64,
    pub(crate) waiting: Waiting,
}

impl Hub {
    /// A mind with no connections.
    pub fn new(settings: Settings, apps: Arc<Apps>) -> Self {
        // Edge numbers of different workers must differ: the worker is in the upper bits.
        let edges = u64::from(settings.worker.0) << 48;
        let seed = settings.homes.seed;
        Self {
            requests: Requests::new(settings.requests, seed),
            guard: Guard::new(settings.guard_keys_max, seed),
            meter: Meter::new(seed),
            spent: Vec::new(),
            settings,
            apps,
            sessions: Vec::new(),
            fanout: Fanout::new(seed),
            channels: Map::with_hasher(Seed(seed)),
            occupied: Occupied::default(),
            memory: Memory::default(),
            rings: Memory::default(),
            epochs: Epochs { seed, drawn: edges },
            receipts: Receipts::new(seed),
            timers: Timers::default(),
            effects: Vec::new(),
            own: VecDeque::new(),
            early: Vec::new(),
            next_token: 0,
            token_floor: 0,
            edges,
            waiting: Waiting::default(),
        }
    }

    /// What each connection must get.
    pub fn fanout(&mut self) -> &mut Fanout {
        &mut self.fanout
    }

    /// Publications may be compressed from now on, or no more.
    pub fn set_compression(&mut self, compression: bool) {
        self.settings.compression = compression;
    }

    /// Takes what has been counted since this was last called.
    pub fn take_readings(&mut self) -> Vec<Reading> {
        self.meter.take()
    }

    /// These apps, and no others, have no messages left.
    pub fn set_spent(&mut self, apps: Vec<AppIndex>) {
        self.spent = apps;
    }

    /// Moves out what must happen.
    pub fn take_effects(&mut self, into: &mut Vec<Effect>) {
        into.append(&mut self.effects);
    }

    /// The connections that have a session.
    pub fn connections(&self) -> impl Iterator<Item = ConnectionId> {
        self.sessions.iter().enumerate().filter_map(|(index, session)| {
            let generation = session.as_ref()?.generation;
            Some(ConnectionId { index: u32::try_from(index).ok()?, generation })
        })
    }

    /// How much this mind holds.
    pub fn census(&self) -> Census {
        Census {
            sessions: self.sessions.iter().flatten().count(),
            seats: self.fanout.seat_count(),
            local_channels: self.fanout.channel_count(),
            channels: self.channels.len(),
            occupied: self.occupied.len(),
            timers: self.timers.len(),
            remembered: self.memory.len(),
            remembered_bytes: self.memory.bytes(),
            replaying: self.rings.len(),
            replay_bytes: self.rings.bytes(),
            request_keys: self.requests.len(),
            request_key_bytes: self.requests.bytes(),
            guard_keys: self.guard.len(),
            waiting_events: self.guard.waiting(),
            waiting_letters: self.early.len() + self.waiting.len(),
            receipts: self.receipts.len(),
        }
    }

    /// The apps that this mind knows: whoever is admitted by them is understood.
    pub fn apps(&self) -> &Arc<Apps> {
        &self.apps
    }

    fn session(&mut self, id: ConnectionId) -> Option<&mut Session> {
        self.sessions.get_mut(id.index as usize)?.as_mut().filter(|session| session.generation == id.generation)
    }

    fn app_of(&mut self, id: ConnectionId) -> Option<Arc<App>> {
        let app = self.session(id).filter(|session| !session.closing)?.app;
        self.apps.get(app).cloned()
    }

    /// A client has connected and passed the handshake.
    pub fn connect(&mut self, id: ConnectionId, app: &App, socket_id: SocketId, protocol: u8, now: Moment) {
        let index = id.index as usize;
        if self.sessions.len() <= index {
            self.sessions.resize_with(index + 1, || None);
        }
        self.sessions[index] = Some(Session::new(app.index, socket_id, id.generation, protocol, now));
        self.fanout.open(id);
        let activity_timeout_secs = app.activity_timeout_secs;
        self.direct(id, &ServerFrame::ConnectionEstablished { socket_id, activity_timeout_secs });
        self.notify(app, NoticeKind::ConnectionOpened { socket_id });
    }

    /// A connection has ended.
    pub fn disconnect(&mut self, id: ConnectionId, departure: Departure, now: Moment) {
        if self.session(id).is_none() {
            return;
        }
        let session = self.sessions[id.index as usize].take().expect("it has just been found");
        if session.awaited {
            self.receipts.take(id.index);
        }
        for left in self.fanout.close(id) {
            self.depart(left, id, session.socket_id, departure, session.user.as_ref().map(|user| &user.id));
        }
        if let Some(app) = self.apps.get(session.app).cloned() {
            self.notify(&app, NoticeKind::ConnectionClosed { socket_id: session.socket_id });
        }
        self.run(now);
    }

    fn request(
        &mut self,
        id: ConnectionId,
        key: ChannelKey,
        audience: Audience,
        admission: Admission,
        purpose: Purpose,
    ) {
        self.next_token += 1;
        let token = self.next_token;
        if let Some(subscriber) = self.subscriber(id, token) {
            self.fanout.reserve(id, key.clone(), audience, token);
            let Admission { member, since } = admission;
            self.send(Letter::Subscribe { key, subscriber, member, since, purpose });
        }
    }

    pub(crate) fn subscriber(&mut self, connection: ConnectionId, token: u64) -> Option<Subscriber> {
        let socket_id = self.session(connection)?.socket_id;
        Some(Subscriber { worker: self.settings.worker, connection, token, socket_id })
    }

    fn depart(
        &mut self,
        left: Left,
        connection: ConnectionId,
        socket_id: SocketId,
        departure: Departure,
        signed_in: Option<&UserId>,
    ) {
        let purpose = match left.audience {
            Audience::Watchers => Purpose::Watch,
            Audience::Subscribers if signed_in.is_some() && left.key.name.user().is_some() => Purpose::Signin,
            Audience::Subscribers => Purpose::Subscribe,
        };
        let subscriber = Subscriber { worker: self.settings.worker, connection, token: left.token, socket_id };
        self.send(Letter::Unsubscribe { key: left.key, subscriber, user: left.user, purpose, departure });
    }

    fn direct(&mut self, id: ConnectionId, frame: &ServerFrame<'_>) {
        self.fanout.direct(id, frame.encode());
    }

    fn error(&mut self, id: ConnectionId, code: Option<CloseCode>, message: &str, channel: Option<&str>) {
        self.direct(id, &ServerFrame::Error { code, message, channel });
    }

    fn refuse(&mut self, id: ConnectionId, channel: &str, refused: &Unsubscribable) {
        let Unsubscribable { kind, status, message } = refused;
        self.direct(id, &ServerFrame::SubscriptionError { channel, kind, error: message, status: *status });
        self.error(id, None, message, Some(channel));
    }

    /// Ends a connection with an error frame and a close.
    fn end(&mut self, id: ConnectionId, code: CloseCode, message: &str) {
        if self.session(id).is_some_and(|session| !session.closing) {
            self.error(id, Some(code), message, None);
            self.close(id, code, message);
        }
    }

    pub(crate) fn close(&mut self, connection: ConnectionId, code: CloseCode, reason: &str) {
        if let Some(session) = self.session(connection).filter(|session| !session.closing) {
            session.closing = true;
            self.effects.push(Effect::Close { connection, code, reason: reason.into() });
        }
    }

    fn notify(&mut self, app: &App, kind: NoticeKind) {
        if app.notices.has(&kind) {
            self.edges += 1;
            self.effects.push(Effect::Notice(Notice { app: Arc::clone(&app.id), kind, edge: self.edges }));
        }
    }

    /// Sends a letter to its channel's home.
    fn send(&mut self, letter: Letter) {
        let home = letter.to_home_of().map_or(self.settings.worker, |key| self.settings.homes.of(key));
        if home == self.settings.worker {
            self.own.push_back(letter);
        } else {
            self.effects.push(Effect::Send { to: home, letter });
        }
    }

    /// A letter has come from a worker.
    pub fn letter(&mut self, letter: Letter, now: Moment) {
        self.sort(letter, now);
        self.run(now);
    }

    /// Handles what this mind has sent to itself.
    fn run(&mut self, now: Moment) {
        while let Some(letter) = self.own.pop_front() {
            self.sort(letter, now);
        }
    }

    pub(crate) fn handle(&mut self, letter: Letter, now: Moment) {
        // A reload reaches the workers one after the other, and the first may already send on behalf of a new app.
        if letter.to_home_of().is_some_and(|key| self.apps.known(key.app).is_none()) {
            return self.early.push(letter);
        }
        match letter {
            Letter::Subscribe { key, subscriber, purpose: Purpose::Restore, .. } => {
                self.at_home(&key, now, |channel, out| channel.restore(&key, subscriber, out));
                self.bound_rings();
            }
            Letter::Subscribe { key, subscriber, member, since, purpose } => {
                self.at_home(&key, now, |channel, out| {
                    channel.subscribe(&key, subscriber, member, since, purpose, out);
                });
                self.bound_rings();
            }
            Letter::Resubscribe { key, subscriber } => {
                self.at_home(&key, now, |channel, out| channel.resubscribe(&key, subscriber, out));
            }
            Letter::Unsubscribe { key, subscriber, user, purpose, departure } => {
                self.at_home(&key, now, |channel, out| {
                    channel.unsubscribe(&key, subscriber, user.as_ref(), &purpose, departure, out);
                })
            }
            Letter::Publish { key, publication, ask } => {
                self.at_home(&key, now, |channel, out| channel.publish(&key, publication, out));
                self.bound_memory();
                self.bound_rings();
                if let Some(id) = ask {
                    let info = self.channels.get(&key).map(|channel| channel.info(now)).unwrap_or_default();
                    self.answer(id, Answer::Channel(info));
                }
            }
            Letter::Ask { ask, id } => {
                let answer = self.look_up(&ask, now);
                self.answer(id, answer);
            }
            Letter::Reserve { key, fingerprint, id } => {
                let reserved = self.requests.reserve(key, fingerprint, id, now);
                self.answer(id, Answer::Reserved(reserved));
            }
            Letter::Commit { key, id, answer } => self.requests.commit(&key, id, answer, now),
            Letter::Release { key, id } => self.requests.release(&key, id),
            Letter::Weigh { app, claims, id } => {
                let none = Rules::default();
                let rules = self.apps.known(app).map_or(&none, |app| &app.guard);
                let verdicts = self.guard.weigh(&claims, rules, id, now);
                self.effects.extend(self.guard.take_alerts().into_iter().map(Effect::Alert));
                self.answer(id, Answer::Weighed(verdicts));
            }
            Letter::Settle { id, fates } => self.guard.settle(id, fates, now),
            Letter::Terminate { key } => self.at_home(&key, now, |channel, out| channel.terminate(&key, out)),
            Letter::Granted { key, subscriber, user, purpose, frames, online } => {
                self.granted(&key, subscriber, user, purpose, frames, online);
            }
            Letter::Restated { key, subscriber, frames } => {
                let seat = self.fanout.seat(subscriber.connection, &key, Audience::Subscribers);
                if seat.is_some_and(|seat| seat.joined && seat.token == subscriber.token) {
                    for frame in frames {
                        self.fanout.direct_about(subscriber.connection, &key, frame);
                    }
                }
            }
            Letter::Refused { key, subscriber, reason } => {
                let seat = self.fanout.seat(subscriber.connection, &key, Audience::Subscribers);
                if seat.is_some_and(|seat| !seat.joined && seat.token == subscriber.token) {
                    self.fanout.leave(subscriber.connection, &key, Audience::Subscribers);
                    let refused = Unsubscribable::limit(reason.into());
                    self.refuse(subscriber.connection, key.name.as_str(), &refused);
                }
            }
            Letter::Deliver { key, frame, except, to, sequel, told } => {
                self.deliver(&key, frame, except, to, &told);
                match sequel {
                    None => {}
                    Some(Sequel::Position(at)) => self.fanout.advance(&key, at),
                    Some(Sequel::Receipt(receipt)) => self.gather_receipts(&key, &receipt),
                }
            }
            Letter::Disconnect { key } => {
                for connection in self.fanout.listeners(&key, Audience::Subscribers) {
                    self.end(connection, CloseCode::Unauthorized, "the application has ended this user's connections");
                }
            }
            Letter::Answer { id, answer } => self.effects.push(Effect::Answer { id, answer }),
            Letter::Reload { apps } => self.reload(apps),
            Letter::MindLost { worker, life } => self.mind_lost(worker, life, now),
            Letter::Announcing { worker, life } => self.announcing(worker, life),
            Letter::Announced { worker, life } => self.announced(worker, life, now),
        }
    }

    fn answer(&mut self, id: crate::letter::AskId, answer: Answer) {
        if id.worker == self.settings.worker {
            self.effects.push(Effect::Answer { id, answer });
        } else {
            self.effects.push(Effect::Send { to: id.worker, letter: Letter::Answer { id, answer } });
        }
    }

    fn granted(
        &mut self,
        key: &ChannelKey,
        subscriber: Subscriber,
        user: Option<UserId>,
        purpose: Purpose,
        frames: Vec<Bytes>,
        online: bool,
    ) {
        let id = subscriber.connection;
        if subscriber.token <= self.token_floor {
            return;
        }
        let audience = if purpose == Purpose::Watch { Audience::Watchers } else { Audience::Subscribers };
        if !self.fanout.join(id, key, audience, subscriber.token, user.clone()) {
            // The client has left meanwhile: undo what the home has just done.
            let (key, departure) = (key.clone(), Departure::Left);
            return self.send(Letter::Unsubscribe { key, subscriber, user, purpose, departure });
        }
        match purpose {
            Purpose::Subscribe => {
                for frame in frames {
                    self.fanout.direct_about(id, key, frame);
                }
                self.enter_inbox(key, subscriber);
            }
            Purpose::Signin => self.signed_in(id),
            Purpose::Restore => {}
            Purpose::Watch => self.watched(id, key, online),
        }
    }

    fn deliver(&mut self, key: &ChannelKey, frame: SharedFrame, except: Option<SocketId>, to: Audience, told: &Told) {
        if to == Audience::Watchers {
            // Whoever is still collecting hears first what it has, so that this change comes after it.
            for connection in self.fanout.listeners(key, to) {
                if self.session(connection).and_then(|s| s.user.as_ref()).is_some_and(|user| user.unanswered > 0) {
                    self.tell_watched(connection);
                }
            }
        }
        let except = except.and_then(|socket_id| self.find(socket_id));
        let spared = except.is_some_and(|id| self.fanout.seat(id, key, to).is_some_and(|seat| seat.joined));
        let listeners = self.fanout.deliver(key, to, frame, except);
        let count = listeners as u64 - u64::from(spared);
        if count > 0 {
            let prefixes = self.apps.known(key.app).map_or(&[][..], |app| &app.usage_prefixes);
            let subject = Subject { app: key.app, prefix: meter::prefix(&key.name, prefixes), event: told.event() };
            self.meter.count(subject, told.unit(), count);
        }
    }

    /// The connection with this public id, if it is one of ours: the place in it says which it would be.
    fn find(&self, socket_id: SocketId) -> Option<ConnectionId> {
        let index = place_index(socket_id);
        let session = self.sessions.get(index as usize)?.as_ref()?;
        (session.socket_id == socket_id).then_some(ConnectionId { index, generation: session.generation })
    }

    /// Whose app a socket id is, if it is one of our connections'.
    fn app_of_socket(&self, socket_id: SocketId) -> Option<AppIndex> {
        let index = self.find(socket_id)?.index;
        self.sessions[index as usize].as_ref().filter(|session| !session.closing).map(|session| session.app)
    }

    /// Whoever has entered the channel of an inbox should hear how that stands.
    fn enter_inbox(&mut self, key: &ChannelKey, subscriber: Subscriber) {
        let Some(inbox) = self.apps.get(key.app).and_then(|app| app.inbox.as_ref()) else { return };
        if let Some(user) = inbox.user(&key.name) {
            self.effects.push(Effect::EnteredInbox { key: key.clone(), user: user.into(), subscriber });
        }
    }

    fn reload(&mut self, apps: Arc<Apps>) {
        // A mind in place of a lost one may have begun with what letters of before do not know yet.
        if apps.generation() < self.apps.generation() {
            return;
        }
        self.apps = apps;
        self.guard.forget_alarms();
        self.own.extend(self.early.drain(..));
        let ids: Vec<ConnectionId> = self.connections().collect();
        for id in ids {
            let Some(app) = self.session(id).map(|session| session.app) else { continue };
            match self.apps.get(app) {
                Some(app) if app.enabled => {}
                Some(_) => self.end(id, CloseCode::AppDisabled, "the app is disabled"),
                None => self.end(id, CloseCode::UnknownApp, "the app has been removed"),
            }
        }
    }

    /// When [`Hub::due`] must be called next.
    pub fn next_due(&self) -> Option<Moment> {
        [self.timers.next(), self.requests.next_due(), self.guard.next_due()].into_iter().flatten().min()
    }

    /// Does what has become due at the channels and keys that live here.
    pub fn due(&mut self, now: Moment) {
        self.requests.expire(now);
        self.guard.due(now);
        for (key, publication) in self.guard.take_released() {
            self.send(Letter::Publish { key, publication, ask: None });
        }
        while let Some(key) = self.timers.pop(now) {
            self.at_home(&key, now, |channel, out| {
                channel.alarm = None;
                channel.look(&key, out);
            });
        }
        self.run(now);
    }
}

/// Bits of [`SocketId::place`] that say which place among the worker's connections it is.
pub const PLACE_INDEX_BITS: u32 = 26;

/// The greatest number of a worker that a place has room for.
pub const PLACE_WORKER_MAX: u16 = (1 << 10) - 1;

/// The first of a worker's places: 28 bits of the start, 10 of the worker, 26 of the place among its connections.
pub fn first_place(incarnation: u64, worker: WorkerId) -> u64 {
    (incarnation & 0xfff_ffff) << (PLACE_INDEX_BITS + 10) | u64::from(worker.0) << PLACE_INDEX_BITS
}

fn place_index(socket_id: SocketId) -> u32 {
    u32::try_from(socket_id.place & ((1 << PLACE_INDEX_BITS) - 1)).expect("26 bits fit")
}
