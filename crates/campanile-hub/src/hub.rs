//! One worker's mind.
//!
//! Owns the sessions of the worker's connections, the seats they have, and the channels and keys whose home it is. Never does
//! I/O: inputs come by method, what must happen leaves through [`Hub::take_effects`] and [`Hub::fanout`]. The
//! invariant: a connection hears of a channel only between its home's grant and its own leave. Letters to itself go
//! through the same code as letters to others. Read on in [`crate::channel`] and [`crate::session`].

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use campanile_protocol::frame::Subscribe;
use campanile_protocol::json::DataLiteral;
use campanile_protocol::name::CLIENT_EVENT_PREFIX;
use campanile_protocol::websocket::{self, Opcode};
use campanile_protocol::{Access, ChannelName, ClientFrame, CloseCode, EventName, ServerFrame, SocketId, UserId};
use serde_json::value::RawValue;

use crate::app::{App, Apps};
use crate::census::Census;
use crate::channel::{Channel, Outbound};
use crate::effect::Effect;
use crate::fanout::{ConnectionId, Fanout, Left};
use crate::idempotency::{Guard, GuardLimits};
use crate::letter::{
    Answer, Ask, Audience, ChannelKey, Departure, Homes, Letter, Publication, Purpose, Subscriber, WorkerId,
};
use crate::memory::Memory;
use crate::notice::{Notice, NoticeKind};
use crate::occupied::Occupied;
use crate::rebirth::Waiting;
use crate::seeded::{Map, Seed};
use crate::session::{Passed, Session, Unsubscribable, authenticate};
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
    /// What bounds the keys of requests that live here.
    pub guard: GuardLimits,
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
    guard: Guard,
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
            guard: Guard::new(settings.guard, seed),
            settings,
            apps,
            sessions: Vec::new(),
            fanout: Fanout::new(seed),
            channels: Map::with_hasher(Seed(seed)),
            occupied: Occupied::default(),
            memory: Memory::default(),
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
            guard_keys: self.guard.len(),
            guard_bytes: self.guard.bytes(),
            waiting_letters: self.early.len() + self.waiting.len(),
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
        for left in self.fanout.close(id) {
            self.depart(left, id, session.socket_id, departure, session.user.as_ref().map(|user| &user.id));
        }
        if let Some(app) = self.apps.get(session.app).cloned() {
            self.notify(&app, NoticeKind::ConnectionClosed { socket_id: session.socket_id });
        }
        self.run(now);
    }

    /// Anything at all has come from the client.
    pub fn heard(&mut self, id: ConnectionId, now: Moment) {
        if let Some(session) = self.session(id) {
            (session.heard, session.pinged_at) = (now, None);
        }
    }

    /// A text message has come from the client.
    pub fn receive(&mut self, id: ConnectionId, text: &str, now: Moment) {
        self.heard(id, now);
        let Some(app) = self.app_of(id) else { return };
        let Ok(frame) = contained(|| ClientFrame::decode(text)) else { return self.broken(id) };
        match frame {
            Ok(ClientFrame::Ping) => self.direct(id, &ServerFrame::Pong),
            Ok(ClientFrame::Pong | ClientFrame::Unknown { .. }) => {}
            Ok(ClientFrame::Subscribe(subscribe)) => self.subscribe(id, &app, &subscribe),
            Ok(ClientFrame::Unsubscribe { channel }) => self.unsubscribe(id, &app, &channel),
            Ok(ClientFrame::Signin { auth, user_data }) => self.signin(id, &app, &auth, &user_data),
            Ok(ClientFrame::ClientEvent { event, channel, data }) => {
                self.client_event(id, &app, &event, &channel, data, now)
            }
            Err(malformed) => {
                self.error(id, None, &malformed.to_string(), None);
                if self.session(id).is_some_and(|session| session.count_garbage(now)) {
                    self.close(id, CloseCode::OverCapacity, "too many malformed messages");
                }
            }
        }
        self.run(now);
    }

    /// A message that is not text has come from the client: only text is spoken here.
    pub fn receive_binary(&mut self, id: ConnectionId, bytes: &[u8], now: Moment) {
        // Some clients send their JSON in binary messages.
        match std::str::from_utf8(bytes) {
            Ok(text) => self.receive(id, text, now),
            Err(_) => self.receive(id, "", now),
        }
    }

    fn subscribe(&mut self, id: ConnectionId, app: &App, subscribe: &Subscribe) {
        let Some(session) = self.session(id) else { return };
        let name = ChannelName::parse(&subscribe.channel, app.limits.channel_name_length_max)
            .map_err(|error| Unsubscribable { kind: "InvalidChannel", status: 400, message: error.to_string() });
        let Ok(admitted) =
            contained(|| name.and_then(|name| session.authorize(app, &name, subscribe).map(|member| (name, member))))
        else {
            return self.broken(id);
        };
        let (name, member) = match admitted {
            Ok(admitted) => admitted,
            Err(refused) => return self.refuse(id, &subscribe.channel, &refused),
        };
        if name.kind().is_signed() {
            session.authorized = true;
        }
        if name.kind().access == Access::User {
            return self.subscribe_own(id, name);
        }
        let key = ChannelKey { app: app.index, name };
        match self.fanout.seat(id, &key, Audience::Subscribers) {
            // The answer that is on its way acknowledges both.
            Some(seat) if !seat.joined => {}
            Some(seat) if key.name.kind().is_presence() => {
                if let Some(subscriber) = self.subscriber(id, seat.token) {
                    self.send(Letter::Resubscribe { key, subscriber });
                }
            }
            Some(_) => self.acknowledge(id, &key),
            None if self.fanout.subscriptions(id) >= app.limits.channels_per_connection_max => {
                let most = app.limits.channels_per_connection_max;
                let message = format!("this connection has as many channels as it may have ({most})");
                self.refuse(id, key.name.as_str(), &Unsubscribable::limit(message));
            }
            None => self.request(id, key, Audience::Subscribers, member, Purpose::Subscribe),
        }
    }

    /// A signed-in user's own channel: the connection is in it since it signed in.
    fn subscribe_own(&mut self, id: ConnectionId, name: ChannelName) {
        let Some(session) = self.session(id) else { return };
        let key = ChannelKey { app: session.app, name };
        if self.fanout.seat(id, &key, Audience::Subscribers).is_some_and(|seat| seat.joined) {
            self.acknowledge(id, &key);
        } else if let Some(user) = self.session(id).and_then(|session| session.user.as_mut()) {
            user.wants_channel = true;
        }
    }

    /// Says again that the client is in a channel that has no members.
    fn acknowledge(&mut self, id: ConnectionId, key: &ChannelKey) {
        let succeeded = ServerFrame::SubscriptionSucceeded { channel: key.name.as_str(), snapshot: None };
        self.fanout.direct_about(id, key, succeeded.encode());
    }

    fn request(
        &mut self,
        id: ConnectionId,
        key: ChannelKey,
        audience: Audience,
        member: Option<Arc<crate::letter::Member>>,
        purpose: Purpose,
    ) {
        self.next_token += 1;
        let token = self.next_token;
        if let Some(subscriber) = self.subscriber(id, token) {
            self.fanout.reserve(id, key.clone(), audience, token);
            self.send(Letter::Subscribe { key, subscriber, member, purpose });
        }
    }

    pub(crate) fn subscriber(&mut self, connection: ConnectionId, token: u64) -> Option<Subscriber> {
        let socket_id = self.session(connection)?.socket_id;
        Some(Subscriber { worker: self.settings.worker, connection, token, socket_id })
    }

    fn unsubscribe(&mut self, id: ConnectionId, app: &App, channel: &str) {
        let Ok(name) = ChannelName::parse(channel, app.limits.channel_name_length_max) else { return };
        // A signed-in user stays reachable: the channel is the sign-in's, not the client's.
        if name.kind().access == Access::User {
            return;
        }
        let key = ChannelKey { app: app.index, name };
        let socket_id = self.session(id).map(|session| session.socket_id);
        if let (Some(left), Some(socket_id)) = (self.fanout.leave(id, &key, Audience::Subscribers), socket_id) {
            self.depart(left, id, socket_id, Departure::Left, None);
        }
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

    fn signin(&mut self, id: ConnectionId, app: &App, auth: &str, user_data: &str) {
        let Some(session) = self.session(id) else { return };
        if !app.features.user_authentication {
            return self.error(id, None, "user authentication is not enabled for this app", None);
        }
        let socket_id = session.socket_id;
        let Ok(passed) = contained(|| authenticate(app, socket_id, auth, user_data)) else { return self.broken(id) };
        let Passed { user, cut } = match passed {
            Ok(passed) => passed,
            Err(message) => return self.end(id, CloseCode::Unauthorized, &message),
        };
        match &session.user {
            Some(known) if known.id == user.id => {
                let user_data = known.user_data.clone();
                let key = ChannelKey { app: app.index, name: ChannelName::of_user(&user.id) };
                // The answer that is on its way acknowledges both.
                if self.fanout.seat(id, &key, Audience::Subscribers).is_some_and(|seat| seat.joined) {
                    self.direct(id, &ServerFrame::SigninSuccess { user_data: &user_data });
                }
                return;
            }
            Some(known) => {
                let message = format!("the connection is signed in as {:?} already", known.id);
                return self.error(id, None, &message, None);
            }
            None => {}
        }
        session.authorized = true;
        let key = ChannelKey { app: app.index, name: ChannelName::of_user(&user.id) };
        session.user = Some(Box::new(user));
        if cut {
            let message =
                format!("the watchlist is too long: its first {} users are watched", app.limits.watchlist_max);
            self.error(id, Some(CloseCode::WatchlistTooLong), &message, None);
        }
        self.request(id, key, Audience::Subscribers, None, Purpose::Signin);
    }

    fn signed_in(&mut self, id: ConnectionId) {
        let Some(session) = self.session(id) else { return };
        let app = session.app;
        let Some(user) = session.user.as_mut() else { return };
        let user_data = user.user_data.clone();
        let own = ChannelKey { app, name: ChannelName::of_user(&user.id) };
        let wants_channel = user.wants_channel;
        let watchlist = std::mem::take(&mut user.watchlist);
        user.unanswered = watchlist.len();
        self.direct(id, &ServerFrame::SigninSuccess { user_data: &user_data });
        if wants_channel {
            self.acknowledge(id, &own);
        }
        for watched in watchlist {
            let key = ChannelKey { app, name: ChannelName::of_user(&watched) };
            self.request(id, key, Audience::Watchers, None, Purpose::Watch);
        }
    }

    /// The state of one more watched user is known; with the last, the client is told of all.
    fn watched(&mut self, id: ConnectionId, key: &ChannelKey, online: bool) {
        let Some(user) = self.session(id).and_then(|session| session.user.as_mut()) else { return };
        if let Some(Ok(watched)) = key.name.user().map(|watched| UserId::parse(watched, usize::MAX)) {
            if online { user.online.push(watched) } else { user.offline.push(watched) }
        }
        user.unanswered -= 1;
        if user.unanswered == 0 {
            self.tell_watched(id);
        }
    }

    fn tell_watched(&mut self, id: ConnectionId) {
        let Some(user) = self.session(id).and_then(|session| session.user.as_mut()) else { return };
        let (online, offline) = (std::mem::take(&mut user.online), std::mem::take(&mut user.offline));
        if !online.is_empty() || !offline.is_empty() {
            let online: Vec<&str> = online.iter().map(UserId::as_str).collect();
            let offline: Vec<&str> = offline.iter().map(UserId::as_str).collect();
            self.direct(id, &ServerFrame::WatchlistEvents { online: &online, offline: &offline });
        }
    }

    fn client_event(&mut self, id: ConnectionId, app: &App, event: &str, channel: &str, data: &RawValue, now: Moment) {
        let limits = &app.limits;
        let rejected = Some(CloseCode::ClientEventRejected);
        let Some(session) = self.session(id) else { return };
        let socket_id = session.socket_id;
        if !app.features.client_events {
            if session.may_tell_rejection(now) {
                self.error(id, rejected, "client events are not enabled for this app", Some(channel));
            }
            return;
        }
        let parsed = ChannelName::parse(channel, limits.channel_name_length_max);
        let Some(name) = parsed.ok().filter(|name| name.kind().takes_client_events()) else {
            return self.error(id, None, "client events are only for private and presence channels", Some(channel));
        };
        let key = ChannelKey { app: app.index, name };
        let Some(seat) = self.fanout.seat(id, &key, Audience::Subscribers).filter(|seat| seat.joined) else {
            let message = format!("client event rejected: this connection is not subscribed to {}", key.name);
            return self.error(id, None, &message, Some(channel));
        };
        let Some(session) = self.session(id) else { return };
        if !session.admit_event(limits.client_events_per_sec, now) {
            if session.may_tell_rejection(now) {
                let message = format!("client events are limited to {} a second", limits.client_events_per_sec);
                self.error(id, rejected, &message, Some(channel));
            }
            return;
        }
        let named = EventName::parse(event, limits.event_name_length_max);
        let event: Arc<str> = match named {
            Ok(_) if event.len() == CLIENT_EVENT_PREFIX.len() => {
                return self.error(id, rejected, "the event has no name after client-", Some(channel));
            }
            Ok(name) => name.as_str().into(),
            Err(error) => return self.error(id, rejected, &error.to_string(), Some(channel)),
        };
        let data = DataLiteral::from_client(data);
        if data.as_str().len() > limits.client_event_bytes_max {
            let (length, max) = (data.as_str().len(), limits.client_event_bytes_max);
            let message = format!("the client event's data is {length} bytes long, at most {max} are allowed");
            return self.error(id, rejected, &message, Some(channel));
        }
        let user_id = seat.user.as_ref().map(UserId::as_str);
        let frame = ServerFrame::Event { event: &event, channel: key.name.as_str(), data: &data, user_id }.encode();
        let publication = Publication { frame, except: Some(socket_id), remember: None };
        let channel = key.name.clone();
        self.send(Letter::Publish { key, publication, ask: None });
        self.notify(app, NoticeKind::ClientEvent { channel, event, data, socket_id, user_id: seat.user });
    }

    /// Something that concerns this client alone has panicked: so it is this client that pays.
    fn broken(&mut self, id: ConnectionId) {
        self.end(
            id,
            CloseCode::OverCapacity,
            "the server has failed at what this client sent: that is the server's fault",
        );
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
                self.at_home(&key, now, |channel, _| channel.restore(subscriber.worker));
            }
            Letter::Subscribe { key, subscriber, member, purpose } => {
                self.at_home(&key, now, |channel, out| channel.subscribe(&key, subscriber, member, purpose, out));
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
                let reserved = self.guard.reserve(key, fingerprint, id, now);
                self.answer(id, Answer::Reserved(reserved));
            }
            Letter::Commit { key, id, answer } => self.guard.commit(&key, id, answer, now),
            Letter::Release { key, id } => self.guard.release(&key, id),
            Letter::Terminate { key } => self.at_home(&key, now, |channel, out| channel.terminate(&key, out)),
            Letter::Granted { key, subscriber, user, purpose, frames, online } => {
                self.granted(&key, subscriber, user, purpose, frames, online);
            }
            Letter::Restated { key, subscriber, frame } => {
                let seat = self.fanout.seat(subscriber.connection, &key, Audience::Subscribers);
                if seat.is_some_and(|seat| seat.joined && seat.token == subscriber.token) {
                    self.fanout.direct_about(subscriber.connection, &key, frame);
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
            Letter::Deliver { key, frame, except, to } => self.deliver(&key, frame, except, to),
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

    /// Works on a channel that lives here, and forgets it when nothing would be lost.
    pub(crate) fn at_home(
        &mut self,
        key: &ChannelKey,
        now: Moment,
        work: impl FnOnce(&mut Channel, &mut Outbound<'_>),
    ) {
        let Some(app) = self.apps.known(key.app).cloned() else { return };
        let mut effects = Vec::new();
        let mut out = Outbound {
            app: &app,
            now,
            presence_grace_secs: self.settings.presence_grace_secs,
            compression: self.settings.compression,
            effects: &mut effects,
            edges: &mut self.edges,
            memory: &mut self.memory,
        };
        let channel = match self.channels.get_mut(key) {
            Some(channel) => channel,
            None => self.channels.entry(key.clone()).or_default(),
        };
        let was_occupied = channel.is_occupied();
        work(channel, &mut out);
        if channel.is_occupied() != was_occupied {
            self.occupied.set(key, !was_occupied);
        }
        if let Some(at) = channel.next_due() {
            self.timers.no_later_than(at, &mut channel.alarm, || key.clone());
        }
        self.forget_idle(key);
        for effect in effects {
            match effect {
                Effect::Send { to, letter } if to == self.settings.worker => self.own.push_back(letter),
                other => self.effects.push(other),
            }
        }
    }

    fn forget_idle(&mut self, key: &ChannelKey) {
        if let Some(channel) = self.channels.get_mut(key).filter(|channel| channel.is_idle()) {
            self.timers.cancel(&mut channel.alarm);
            self.channels.remove(key);
        }
    }

    /// Forgets the oldest remembered events past the bound: their channels answer `cache_miss`.
    fn bound_memory(&mut self) {
        while let Some(oldest) = self.memory.oldest_past(self.settings.remembered_bytes_max).cloned() {
            let channel = self.channels.get_mut(&oldest).expect("a channel that remembers is not forgotten");
            channel.forget(&oldest, &mut self.memory);
            self.forget_idle(&oldest);
        }
    }

    fn answer(&mut self, id: crate::letter::AskId, answer: Answer) {
        if id.worker == self.settings.worker {
            self.effects.push(Effect::Answer { id, answer });
        } else {
            self.effects.push(Effect::Send { to: id.worker, letter: Letter::Answer { id, answer } });
        }
    }

    fn look_up(&self, ask: &Ask, now: Moment) -> Answer {
        match ask {
            Ask::Channel(key) => Answer::Channel(self.channels.get(key).map(|c| c.info(now)).unwrap_or_default()),
            Ask::Members(key) => Answer::Members(self.channels.get(key).map(Channel::member_ids).unwrap_or_default()),
            Ask::Channels { app, prefix, after, most } => {
                let names = self.occupied.after(*app, prefix, after.as_ref()).take(*most);
                let counted = |name: &ChannelName| {
                    let key = ChannelKey { app: *app, name: name.clone() };
                    let counts = self.channels.get(&key).map(Channel::counts).unwrap_or_default();
                    (key.name, counts)
                };
                Answer::Channels(names.map(counted).collect())
            }
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
            }
            Purpose::Signin => self.signed_in(id),
            Purpose::Restore => {}
            Purpose::Watch => self.watched(id, key, online),
        }
    }

    fn deliver(&mut self, key: &ChannelKey, frame: SharedFrame, except: Option<SocketId>, to: Audience) {
        if to == Audience::Watchers {
            // Whoever is still collecting hears first what it has, so that this change comes after it.
            for connection in self.fanout.listeners(key, to) {
                if self.session(connection).and_then(|s| s.user.as_ref()).is_some_and(|user| user.unanswered > 0) {
                    self.tell_watched(connection);
                }
            }
        }
        let except = except.and_then(|socket_id| self.find(socket_id));
        self.fanout.deliver(key, to, frame, except);
    }

    /// The connection with this public id, if it is one of ours: the place in it says which it would be.
    fn find(&self, socket_id: SocketId) -> Option<ConnectionId> {
        let index = place_index(socket_id);
        let session = self.sessions.get(index as usize)?.as_ref()?;
        (session.socket_id == socket_id).then_some(ConnectionId { index, generation: session.generation })
    }

    fn reload(&mut self, apps: Arc<Apps>) {
        // A mind in place of a lost one may have begun with what letters of before do not know yet.
        if apps.generation() < self.apps.generation() {
            return;
        }
        self.apps = apps;
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
        [self.timers.next(), self.guard.next_due()].into_iter().flatten().min()
    }

    /// Does what has become due at the channels and keys that live here.
    pub fn due(&mut self, now: Moment) {
        self.guard.expire(now);
        while let Some(key) = self.timers.pop(now) {
            self.at_home(&key, now, |channel, out| {
                channel.alarm = None;
                channel.look(&key, out);
            });
        }
        self.run(now);
    }

    /// Looks after one connection's liveness; returns when to look again.
    pub fn check(&mut self, id: ConnectionId, now: Moment) -> Option<Moment> {
        let app = self.app_of(id)?;
        let pong_timeout = self.settings.pong_timeout_secs;
        let session = self.session(id)?;
        let authorized_by = app
            .authorized_connections_timeout_secs
            .filter(|_| !session.authorized)
            .map(|secs| session.established.after_secs(secs.into()));
        if authorized_by.is_some_and(|by| by <= now) {
            self.end(id, CloseCode::Unauthorized, "the connection was not authorized in time");
            return None;
        }
        let next = match session.pinged_at {
            Some(pinged_at) => pinged_at.after_secs(pong_timeout),
            None => session.heard.after_secs(app.activity_timeout_secs.into()),
        };
        let next = if next > now {
            next
        } else if session.pinged_at.is_some() {
            self.end(id, CloseCode::PongTimeout, "no pong was received in time");
            return None;
        } else {
            session.pinged_at = Some(now);
            // Version 4 knows no `pusher:ping`; the WebSocket's own is answered by every client.
            let frame =
                if session.protocol < 5 { websocket::encode(Opcode::Ping, b"") } else { ServerFrame::Ping.encode() };
            self.fanout.direct(id, frame);
            now.after_secs(pong_timeout)
        };
        Some(authorized_by.map_or(next, |by| by.min(next)))
    }
}

/// Does what reads a client's words and touches nothing that others share; tells if it has panicked.
fn contained<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    let work = || {
        #[cfg(test)]
        tests::panic_if_planted();
        work()
    };
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).map_err(|_| Panicked)
}

struct Panicked;

/// Bits of [`SocketId::place`] that say which place among the worker's connections it is.
pub const PLACE_INDEX_BITS: u32 = 26;

fn place_index(socket_id: SocketId) -> u32 {
    u32::try_from(socket_id.place & ((1 << PLACE_INDEX_BITS) - 1)).expect("26 bits fit")
}

#[cfg(test)]
mod bounds;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::{AppIndex, Features};

    thread_local! {
        static PLANTED: Cell<bool> = const { Cell::new(false) };
    }

    pub(super) fn panic_if_planted() {
        assert!(!PLANTED.take(), "planted in a session");
    }

    fn app() -> App {
        let features = Features { client_events: true, user_authentication: true, ..Features::default() };
        App { features, ..App::new("a", "k", "s") }
    }

    fn written(hub: &mut Hub, to: ConnectionId) -> String {
        hub.fanout().gather();
        let mut all = Vec::new();
        while let Some(write) = hub.fanout().next_write() {
            if write.connection == to {
                all.extend(write.slices.iter().flat_map(|slice| slice.to_vec()));
            }
        }
        String::from_utf8_lossy(&all).into_owned()
    }

    #[test]
    fn a_panic_in_a_session_ends_that_connection_and_no_other() {
        let settings = Settings {
            worker: WorkerId(0),
            homes: Homes { seed: 0, workers: 1 },
            presence_grace_secs: 3,
            pong_timeout_secs: 30,
            compression: false,
            remembered_bytes_max: 1024,
            guard: GuardLimits { window_secs: 600, keys_per_app_max: 10, bytes_max: 1 << 20 },
        };
        let apps = Arc::new(Apps::new(vec![app()], None));
        let now = Moment(0);
        let texts = [
            r#"{"event":"pusher:ping"}"#,
            r#"{"event":"pusher:subscribe","data":{"channel":"private-a","auth":"k:00"}}"#,
            r#"{"event":"pusher:signin","data":{"auth":"k:00","user_data":"{}"}}"#,
        ];
        for text in texts {
            let mut hub = Hub::new(settings.clone(), Arc::clone(&apps));
            let app = Arc::clone(apps.get(AppIndex(0)).expect("it has just been made"));
            let (unlucky, other) = (ConnectionId { index: 0, generation: 0 }, ConnectionId { index: 1, generation: 0 });
            for (id, place) in [(unlucky, 0), (other, 1)] {
                hub.connect(id, &app, SocketId { place, secret: 7 }, 7, now);
            }
            PLANTED.set(true);
            hub.receive(unlucky, text, now);
            hub.receive(other, r#"{"event":"pusher:ping"}"#, now);
            let mut effects = Vec::new();
            hub.take_effects(&mut effects);
            let [Effect::Close { connection, code: CloseCode::OverCapacity, .. }] = &effects[..] else {
                panic!("{text}: {effects:?}");
            };
            assert_eq!(*connection, unlucky);
            assert!(written(&mut hub, other).contains("pusher:pong"));
        }
    }
}
