//! Workers, mailboxes and clients, moved step by step.
//!
//! Owns the minds under test and the letters between them. Never decides which step comes next: [`crate::run`] and
//! [`crate::interleavings`] do. The invariant: letters from one sender to one worker arrive in the order in which they
//! were sent, and nothing else is promised; every frame, close and notice is compared with the model as it appears.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;

use campanile_hub::hub::PLACE_INDEX_BITS;
use campanile_hub::letter::{self, ChannelKey, Departure, Homes};
use campanile_hub::{
    Answer, App, AppIndex, Apps, Ask, AskId, Census, ConnectionId, Effect, Features, Hub, Letter, Moment, Notice,
    NoticeKind, NoticeSet, Publication, Settings, WorkerId,
};
use campanile_protocol::json::DataLiteral;
use campanile_protocol::websocket::{self, Opcode};
use campanile_protocol::{ChannelName, EventName, Limits, Secret, SocketId};
use serde_json::Value;

use crate::faults::{Fault, Faults};
use crate::model::{self, CACHE_MILLIS, CHANNELS_MAX, GRACE_MILLIS, MEMBERS_MAX, Model, Purpose, Seat, SeatId, Stage};

pub(crate) const ACTIVITY_MILLIS: u64 = 120_000;
pub(crate) const PONG_MILLIS: u64 = 30_000;
/// The app that comes and goes with reloads; app 0 stays.
pub(crate) const GUEST: u32 = 1;

fn app(index: u32, enabled: bool) -> App {
    let every_kind = (0..NoticeKind::NAMES.len() as u8).fold(NoticeSet::default(), |set, bit| set.with(bit));
    App {
        index: AppIndex(index),
        enabled,
        features: Features {
            client_events: true,
            user_authentication: true,
            watchlists: true,
            subscription_counts: true,
        },
        limits: Limits {
            presence_members_max: MEMBERS_MAX,
            channels_per_connection_max: CHANNELS_MAX,
            cache_ttl_secs: CACHE_MILLIS / 1000,
            client_events_per_sec: 1_000_000,
            ..Limits::default()
        },
        activity_timeout_secs: (ACTIVITY_MILLIS / 1000) as u32,
        notices: if index == GUEST { NoticeSet::default() } else { every_kind },
        ..App::new(&index.to_string(), "key", "secret")
    }
}

/// A letter under way, as it was sent and as the minds will see it: a fault makes the two differ.
#[derive(Debug, Clone)]
pub(crate) struct Envelope {
    pub(crate) sent: Letter,
    pub(crate) arrives: Vec<Letter>,
    /// Meant for a mind that was lost before it came, and said again.
    void: bool,
}

/// What a mind will do when it has heard all others.
#[derive(Debug, Clone)]
enum Waiting {
    Letter(Letter),
    /// A request of its own connection to a channel of its own.
    Request(SeatId),
}

/// What a mind says to itself while it does what has waited.
#[derive(Debug, Clone, Copy)]
enum Own {
    Request(SeatId),
    Answer(SeatId),
    Undo(SeatId),
}

/// How a guest app can be found by a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guest {
    Welcome,
    Disabled,
    Removed,
}

#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) worker: usize,
    pub(crate) id: ConnectionId,
    pub(crate) app: u32,
    pub(crate) socket_id: SocketId,
    pub(crate) open: bool,
    /// The mind has asked to close it: it is read no more.
    pub(crate) closing: bool,
    pub(crate) user: Option<(String, Vec<String>)>,
    wants_own_channel: bool,
    established: bool,
    signed_in: bool,
    pongs: usize,
    pings: usize,
    heard: u64,
    pinged_at: Option<u64>,
    look_at: u64,
    /// Frames about no channel that it joined: errors.
    loose: Vec<String>,
    /// What it has received.
    pub(crate) received: usize,
}

/// A copy goes on from the same point.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) hubs: Vec<Hub>,
    pub(crate) clients: Vec<Client>,
    pub(crate) model: Model,
    pub(crate) now: u64,
    pub(crate) transcript: String,
    /// Nothing is written down.
    pub(crate) quiet: bool,
    /// The first rule that was broken.
    pub(crate) violation: Option<String>,
    pub(crate) faults: Faults,
    homes: Homes,
    apps: Arc<Apps>,
    /// By sender and receiver; the API is a sender of its own.
    posts: BTreeMap<(usize, usize), VecDeque<Envelope>>,
    /// What each worker knows of the guest.
    guests: Vec<Guest>,
    generations_known: Vec<u64>,
    has_met_guest: Vec<bool>,
    /// The first set of apps that had the guest.
    guest_since: Option<u64>,
    early: Vec<Vec<Letter>>,
    undoing: bool,
    /// A mind does what has waited for it.
    catching_up: bool,
    /// Whom a mind in place of a lost one still has to hear, what waits until then, and what is due to itself.
    unheard: Vec<BTreeSet<usize>>,
    lives: Vec<u64>,
    waiting: Vec<Vec<Waiting>>,
    own: VecDeque<Own>,
    places: Vec<Vec<u32>>,
    generations: Vec<Vec<u32>>,
    tokens: BTreeMap<(usize, u64), SeatId>,
    unsent: VecDeque<SeatId>,
    client_events: VecDeque<String>,
    closes: Vec<Vec<usize>>,
    terminated: BTreeSet<usize>,
    /// Who knows what a lost home has known, and must begin anew.
    sent_away: BTreeSet<usize>,
    connections_told: BTreeSet<String>,
    published: u64,
    asked: u64,
}

/// The worker whose subscription a letter is about.
fn subscriber_of(letter: &Letter) -> Option<usize> {
    match letter {
        Letter::Subscribe { subscriber, .. }
        | Letter::Resubscribe { subscriber, .. }
        | Letter::Unsubscribe { subscriber, .. } => Some(usize::from(subscriber.worker.0)),
        _ => None,
    }
}

fn guest_in(apps: &Apps) -> Guest {
    match apps.get(AppIndex(GUEST)) {
        Some(app) if app.enabled => Guest::Welcome,
        Some(_) => Guest::Disabled,
        None => Guest::Removed,
    }
}

fn settings(worker: usize, homes: Homes) -> Settings {
    Settings {
        presence_grace_secs: GRACE_MILLIS / 1000,
        pong_timeout_secs: PONG_MILLIS / 1000,
        remembered_bytes_max: 1 << 30,
        ..Settings::new(WorkerId(worker as u16), homes)
    }
}

fn text(frame: &[u8]) -> &[u8] {
    let header = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    &frame[header..]
}

/// A plain string at the top of a frame.
fn field<'a>(frame: &'a str, name: &str) -> Option<&'a str> {
    let (_, value) = frame.split_once(&format!(r#""{name}":""#))?;
    value.split('"').next()
}

/// The frames in a write's bytes.
pub(crate) fn split(mut bytes: &[u8]) -> Vec<Option<String>> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let length = match bytes[1] {
            126 => 4 + usize::from(u16::from_be_bytes([bytes[2], bytes[3]])),
            length => 2 + usize::from(length),
        };
        let (frame, rest) = bytes.split_at(length);
        let is_text = frame[0] == 0x81;
        frames.push(is_text.then(|| String::from_utf8(text(frame).to_vec()).expect("frames are text")));
        bytes = rest;
    }
    frames
}

impl World {
    pub(crate) fn new(workers: usize, seed: u64) -> Self {
        let homes = Homes { seed, workers: workers as u16 };
        let apps = Arc::new(Apps::new(vec![app(0, true)], None));
        let hub = |worker: usize| Hub::new(settings(worker, homes), Arc::clone(&apps));
        Self {
            hubs: (0..workers).map(hub).collect(),
            clients: Vec::new(),
            model: Model::default(),
            now: 1000,
            transcript: String::new(),
            quiet: false,
            violation: None,
            faults: Faults::default(),
            homes,
            apps,
            posts: BTreeMap::new(),
            guests: vec![Guest::Removed; workers],
            generations_known: vec![0; workers],
            has_met_guest: vec![false; workers],
            guest_since: None,
            early: vec![Vec::new(); workers],
            undoing: false,
            catching_up: false,
            unheard: vec![BTreeSet::new(); workers],
            lives: vec![0; workers],
            waiting: vec![Vec::new(); workers],
            own: VecDeque::new(),
            places: vec![Vec::new(); workers],
            generations: vec![Vec::new(); workers],
            tokens: BTreeMap::new(),
            unsent: VecDeque::new(),
            client_events: VecDeque::new(),
            closes: vec![Vec::new(); workers],
            terminated: BTreeSet::new(),
            sent_away: BTreeSet::new(),
            connections_told: BTreeSet::new(),
            published: 0,
            asked: 0,
        }
    }

    fn fail(&mut self, rule: impl Into<String>) {
        self.violation.get_or_insert(rule.into());
    }

    fn note(&mut self, line: std::fmt::Arguments<'_>) {
        if self.quiet {
            return;
        }
        let now = self.now;
        writeln!(self.transcript, "{now} {line}").expect("memory takes all");
    }

    fn moment(&self) -> Moment {
        Moment(self.now)
    }

    fn key_of(&self, key: &str) -> ChannelKey {
        let (app, name) = key.split_once('/').expect("a key has an app");
        let name = ChannelName::parse(name, 164).expect("the simulation's names are valid");
        ChannelKey { app: AppIndex(app.parse().expect("an app has a number")), name }
    }

    pub(crate) fn home(&self, key: &str) -> usize {
        usize::from(self.homes.of(&self.key_of(key)).0)
    }

    fn is_local(&self, client: usize, key: &str) -> bool {
        self.home(key) == self.clients[client].worker
    }

    // What clients do.

    /// A client connects to a worker that lets it in.
    pub(crate) fn connect(&mut self, worker: usize, app: u32) -> Option<usize> {
        let app = Arc::clone(self.hubs[worker].apps().get(AppIndex(app)).filter(|app| app.enabled)?);
        let index = self.places[worker].pop().unwrap_or_else(|| {
            self.generations[worker].push(0);
            self.generations[worker].len() as u32 - 1
        });
        let id = ConnectionId { index, generation: self.generations[worker][index as usize] };
        let client = self.clients.len();
        let place = (worker as u64) << PLACE_INDEX_BITS | u64::from(index);
        let socket_id = SocketId { place, secret: client as u64 + 1 };
        self.clients.push(Client {
            worker,
            id,
            app: app.index.0,
            socket_id,
            open: true,
            closing: false,
            user: None,
            wants_own_channel: false,
            established: false,
            signed_in: false,
            pongs: 0,
            pings: 0,
            heard: self.now,
            pinged_at: None,
            look_at: self.now + 1000,
            loose: Vec::new(),
            received: 0,
        });
        self.note(format_args!("c{client} connects to w{worker} as {socket_id} of app {}", app.index.0));
        let now = self.moment();
        self.hubs[worker].connect(id, &app, socket_id, 7, now);
        self.settle(worker);
        Some(client)
    }

    fn says(&mut self, client: usize, frame: &str) {
        self.note(format_args!("c{client} < {frame}"));
        let (worker, id) = (self.clients[client].worker, self.clients[client].id);
        (self.clients[client].heard, self.clients[client].pinged_at) = (self.now, None);
        let now = self.moment();
        self.hubs[worker].receive(id, frame, now);
        self.settle(worker);
    }

    pub(crate) fn subscribe(&mut self, client: usize, name: &str, user: Option<&str>) {
        let (app, socket_id) = (self.clients[client].app, self.clients[client].socket_id);
        let key = format!("{app}/{name}");
        let secret = Secret::new("secret");
        let channel_data = user.map(|user| format!(r#"{{"user_id":"{user}","user_info":{{"tab":{client}}}}}"#));
        let auth = if name.starts_with("private-") || model::is_presence(&key) {
            format!("key:{}", secret.sign_channel(socket_id, name, channel_data.as_deref()))
        } else {
            String::new()
        };
        let data = channel_data.map_or(String::new(), |data| format!(r#","channel_data":{}"#, model::quoted(&data)));
        let frame = format!(r#"{{"event":"pusher:subscribe","data":{{"auth":"{auth}","channel":"{name}"{data}}}}}"#);
        if !self.clients[client].closing {
            self.expect_subscribe(client, &key, user);
        }
        self.says(client, &frame);
    }

    fn expect_subscribe(&mut self, client: usize, key: &str, user: Option<&str>) {
        if let Some(owner) = model::user_of(key) {
            return self.expect_own_channel(client, key, owner);
        }
        match self.model.seat(client, key, false) {
            Some(seat) if self.model.seats[seat].stage == Stage::Pending => {}
            Some(seat) if model::is_presence(key) => {
                if self.is_local(client, key) {
                    self.model.home_resubscribe(seat);
                }
            }
            Some(seat) => self.model.seats[seat].acknowledgements += 1,
            None if self.model.subscriptions(client) == CHANNELS_MAX => {
                let message = format!("this connection has as many channels as it may have ({CHANNELS_MAX})");
                self.clients[client].loose.extend(model::refusal("LimitReached", 403, &message, key));
            }
            None => {
                let seat = self.model.request(client, key, Purpose::Subscribe, user);
                self.request(seat);
            }
        }
    }

    fn expect_own_channel(&mut self, client: usize, key: &str, owner: &str) {
        if self.clients[client].user.as_ref().is_none_or(|(user, _)| user != owner) {
            let message = format!("{} is only for connections that are signed in as that user", model::name(key));
            self.clients[client].loose.extend(model::refusal("AuthError", 401, &message, key));
        } else if let Some(seat) = self.model.seat(client, key, false) {
            if self.model.seats[seat].stage == Stage::Joined {
                self.model.seats[seat].acknowledgements += 1;
            } else {
                self.clients[client].wants_own_channel = true;
            }
        }
    }

    /// A request that its own worker decides has been decided when the client has spoken; any other is under way.
    fn request(&mut self, seat: SeatId) {
        let (client, key) = (self.model.seats[seat].client, self.model.seats[seat].key.clone());
        if self.is_local(client, &key) {
            let worker = self.clients[client].worker;
            if self.catching_up {
                self.own.push_back(Own::Request(seat));
            } else if self.unheard[worker].is_empty() {
                self.home_subscribe(seat);
                self.answered(seat);
            } else {
                self.waiting[worker].push(Waiting::Request(seat));
            }
        } else {
            self.unsent.push_back(seat);
        }
    }

    fn home_subscribe(&mut self, seat: SeatId) {
        let client = self.model.seats[seat].client;
        let success = (self.model.seats[seat].purpose == Purpose::Signin).then(|| {
            let (user, watchlist) = self.clients[client].user.as_ref().expect("it signs in");
            model::signin_success(&model::user_data(user, watchlist))
        });
        self.model.home_subscribe(seat, success, self.now);
    }

    /// The home's answer has reached the connection's worker.
    fn answered(&mut self, seat: SeatId) {
        if self.model.seats[seat].stage == Stage::Gone {
            return;
        }
        let client = self.model.seats[seat].client;
        if self.model.seats[seat].refused {
            self.model.seats[seat].stage = Stage::Gone;
            let frames = std::mem::take(&mut self.model.seats[seat].expected);
            return self.clients[client].loose.extend(frames);
        }
        self.model.seats[seat].stage = Stage::Joined;
        if self.model.seats[seat].purpose == Purpose::Signin {
            if self.clients[client].wants_own_channel {
                self.model.seats[seat].acknowledgements += 1;
            }
            let (_, watchlist) = self.clients[client].user.clone().expect("it has signed in");
            for watched in BTreeSet::from_iter(watchlist) {
                let key = format!("{}/#server-to-user-{watched}", self.clients[client].app);
                let seat = self.model.request(client, &key, Purpose::Watch, None);
                self.request(seat);
            }
        }
    }

    pub(crate) fn unsubscribe(&mut self, client: usize, name: &str) {
        let key = format!("{}/{name}", self.clients[client].app);
        if !self.clients[client].closing
            && let Some(seat) = self.model.seat(client, &key, false)
            && self.model.seats[seat].purpose == Purpose::Subscribe
        {
            self.leave(seat, false);
        }
        self.says(client, &format!(r#"{{"event":"pusher:unsubscribe","data":{{"channel":"{name}"}}}}"#));
    }

    fn leave(&mut self, seat: SeatId, vanished: bool) {
        let (client, key) = (self.model.seats[seat].client, self.model.seats[seat].key.clone());
        let stage = std::mem::replace(&mut self.model.seats[seat].stage, Stage::Gone);
        if stage == Stage::Joined && self.is_local(client, &key) {
            self.model.home_unsubscribe(seat, vanished, self.now);
        }
    }

    pub(crate) fn client_event(&mut self, client: usize, name: &str) {
        self.published += 1;
        let (app, number) = (self.clients[client].app, self.published);
        let key = format!("{app}/{name}");
        if !self.clients[client].closing {
            match self.model.seat(client, &key, false).filter(|seat| self.model.seats[*seat].stage == Stage::Joined) {
                Some(seat) => {
                    let user = self.model.seats[seat].user.clone();
                    let user = user.map_or(String::new(), |user| format!(r#","user_id":"{user}""#));
                    let frame = format!(r#"{{"event":"client-x","channel":"{name}","data":{{"n":{number}}}{user}}}"#);
                    if self.is_local(client, &key) {
                        self.model.home_publish(&key, &frame, None, Some(client), self.now);
                    }
                    if app != GUEST {
                        self.client_events.push_back(format!(r#"{{"n":{number}}}"#));
                    }
                }
                None => {
                    let message = format!("client event rejected: this connection is not subscribed to {name}");
                    self.clients[client].loose.push(model::error(None, &message, Some(name)));
                }
            }
        }
        self.says(client, &format!(r#"{{"event":"client-x","channel":"{name}","data":{{"n":{number}}}}}"#));
    }

    pub(crate) fn sign_in(&mut self, client: usize, user: &str, watchlist: &[String]) {
        let data = model::user_data(user, watchlist);
        let signature = Secret::new("secret").sign_user(self.clients[client].socket_id, &data);
        let frame = format!(
            r#"{{"event":"pusher:signin","data":{{"auth":"key:{signature}","user_data":{}}}}}"#,
            model::quoted(&data)
        );
        if !self.clients[client].closing {
            let key = format!("{}/#server-to-user-{user}", self.clients[client].app);
            match self.clients[client].user.clone() {
                None => {
                    self.clients[client].user = Some((user.to_owned(), watchlist.to_vec()));
                    let seat = self.model.request(client, &key, Purpose::Signin, None);
                    self.request(seat);
                }
                Some((known, watchlist)) if known == user => {
                    let seat = self.model.seat(client, &key, false).expect("it is signed in or about to be");
                    if self.model.seats[seat].stage == Stage::Joined {
                        let again = model::signin_success(&model::user_data(user, &watchlist));
                        self.clients[client].loose.push(again);
                    }
                }
                Some((known, _)) => {
                    let message = format!("the connection is signed in as {known:?} already");
                    self.clients[client].loose.push(model::error(None, &message, None));
                }
            }
        }
        self.says(client, &frame);
    }

    pub(crate) fn ping(&mut self, client: usize) {
        if !self.clients[client].closing {
            self.clients[client].pongs += 1;
        }
        self.says(client, r#"{"event":"pusher:ping","data":{}}"#);
    }

    /// The connection ends, by its client or because it vanished.
    pub(crate) fn disconnect(&mut self, client: usize, vanished: bool) {
        if !std::mem::replace(&mut self.clients[client].open, false) {
            return;
        }
        self.note(format_args!("c{client} {}", if vanished { "vanishes" } else { "closes" }));
        for seat in 0..self.model.seats.len() {
            if self.model.seats[seat].client == client && self.model.seats[seat].stage != Stage::Gone {
                self.leave(seat, vanished);
            }
        }
        let (worker, id) = (self.clients[client].worker, self.clients[client].id);
        self.clients[client].loose.clear();
        let departure = if vanished { Departure::Vanished } else { Departure::Left };
        let now = self.moment();
        self.hubs[worker].disconnect(id, departure, now);
        self.generations[worker][id.index as usize] += 1;
        self.places[worker].push(id.index);
        self.settle(worker);
    }

    // What the API does.

    fn post(&mut self, from: usize, to: usize, letter: Letter) {
        let queue = self.posts.entry((from, to)).or_default();
        queue.push_back(Envelope { arrives: vec![letter.clone()], sent: letter, void: false });
        self.faults.tamper(queue, self.undoing);
    }

    fn api(&mut self, key: &ChannelKey, letter: Letter) {
        let (api, home) = (self.hubs.len(), usize::from(self.homes.of(key).0));
        self.post(api, home, letter);
    }

    pub(crate) fn publish(&mut self, key: &str, except: Option<usize>) {
        self.published += 1;
        let data = format!("note {}", self.published);
        let frame = websocket::encode(Opcode::Text, model::event("note", key, &data).as_bytes());
        let except = except.map(|client| self.clients[client].socket_id);
        let remember = model::name(key).contains("cache-").then(|| DataLiteral::from_text(&data));
        let key = self.key_of(key);
        self.note(format_args!("api publishes {data} to {}, not to {except:?}", key.name));
        let event = EventName::parse("note", 200).expect("the name is valid");
        let publication = Publication { event, frame, except, remember, lasting: true, receipt: None };
        self.api(&key, Letter::Publish { key: key.clone(), publication, ask: None });
    }

    pub(crate) fn terminate(&mut self, key: &str) {
        self.note(format_args!("api terminates {key}"));
        let key = self.key_of(key);
        self.api(&key, Letter::Terminate { key: key.clone() });
    }

    /// The apps change: the news is on its way to each worker.
    pub(crate) fn reload(&mut self, guest: Guest) {
        self.note(format_args!("reload: the guest is {guest:?}"));
        let mut all = vec![app(0, true)];
        if guest != Guest::Removed {
            all.push(app(GUEST, guest == Guest::Welcome));
        }
        self.apps = Arc::new(Apps::new(all, Some(&self.apps)));
        if guest != Guest::Removed {
            self.guest_since.get_or_insert(self.apps.generation());
        }
        for worker in 0..self.hubs.len() {
            self.post(self.hubs.len(), worker, Letter::Reload { apps: Arc::clone(&self.apps) });
        }
    }

    /// Compares what a home says of a channel with the model.
    pub(crate) fn ask(&mut self, key: &str) {
        let (home, channel) = (self.home(key), self.key_of(key));
        if !self.unheard[home].is_empty() {
            return;
        }
        let state = self.answer(home, Ask::Channel(channel.clone()));
        let members = self.answer(home, Ask::Members(channel));
        let (Answer::Channel(info), Answer::Members(members)) = (state, members) else {
            return self.fail(format!("a question about {key} got another's answer"));
        };
        let remembered = self.model.remembered(key, self.now);
        let remembered = remembered.map(|(_, data, until)| (data, (until - self.now).div_ceil(1000)));
        let expected = (self.model.subscribers(key), self.model.members(key), remembered);
        let found = info.remembered.map(|(data, ttl)| (data.decode(), ttl));
        let ids: Vec<String> = members.iter().map(|id| id.as_str().to_owned()).collect();
        if (info.occupied, info.user_count) != (info.subscription_count > 0, ids.len()) {
            self.fail(format!("counts of {key} disagree: {:?}", (info.occupied, info.user_count, &ids)));
        }
        let found = (info.subscription_count, ids, found);
        if found != expected {
            self.fail(format!("the home of {key} has {found:?}, the model {expected:?}"));
        }
    }

    /// Compares which channels a worker says are occupied with the model, two by two.
    pub(crate) fn ask_channels(&mut self, worker: usize) {
        if !self.unheard[worker].is_empty() {
            return;
        }
        const MOST: usize = 2;
        let mut found = Vec::new();
        loop {
            let after = found.last().map(|(name, _): &(ChannelName, _)| name.clone());
            let ask = Ask::Channels { app: AppIndex(0), prefix: "p".into(), after, most: MOST };
            let Answer::Channels(slice) = self.answer(worker, ask) else {
                return self.fail("a question about channels got another's answer");
            };
            let is_last = slice.len() < MOST;
            found.extend(slice);
            if is_last {
                break;
            }
        }
        let found: Vec<(String, usize)> =
            found.into_iter().map(|(name, info)| (format!("0/{name}"), info.subscription_count)).collect();
        let here = |key: &&String| key.starts_with("0/p") && self.home(key) == worker;
        let expected = self.model.channels.iter().filter(|(key, channel)| here(key) && !channel.subscribers.is_empty());
        let expected: Vec<(String, usize)> =
            expected.map(|(key, channel)| (key.clone(), channel.subscribers.len())).collect();
        if found != expected {
            self.fail(format!("w{worker} lists {found:?}, the model {expected:?}"));
        }
    }

    fn answer(&mut self, worker: usize, ask: Ask) -> Answer {
        self.asked += 1;
        let id = AskId { worker: WorkerId(worker as u16), number: self.asked };
        let now = self.moment();
        self.hubs[worker].letter(Letter::Ask { ask, id }, now);
        let mut effects = Vec::new();
        self.hubs[worker].take_effects(&mut effects);
        match effects.pop() {
            Some(Effect::Answer { id: of, answer }) if of == id && effects.is_empty() => answer,
            other => panic!("a question has one answer: {other:?}, {effects:?}"),
        }
    }

    // What time does.

    pub(crate) fn pass(&mut self, millis: u64) {
        self.now += millis;
    }

    /// A worker looks at what is due.
    pub(crate) fn look(&mut self, worker: usize) {
        let now = self.moment();
        if self.hubs[worker].next_due().is_some_and(|due| due <= now) {
            let here: BTreeSet<String> =
                self.model.channels.keys().filter(|key| self.home(key) == worker).cloned().collect();
            self.model.home_due(self.now, |key| here.contains(key));
            self.hubs[worker].due(now);
            self.settle(worker);
        }
    }

    /// A worker looks after the liveness of its connections.
    pub(crate) fn sweep(&mut self, worker: usize) {
        let now = self.moment();
        for client in 0..self.clients.len() {
            let Client { id, open, look_at, .. } = self.clients[client];
            if open && self.clients[client].worker == worker && look_at <= self.now {
                let silent = self.now >= self.clients[client].heard + ACTIVITY_MILLIS;
                if silent && !self.clients[client].closing && self.clients[client].pinged_at.is_none() {
                    self.clients[client].pinged_at = Some(self.now);
                    self.clients[client].pings += 1;
                }
                let next = self.hubs[worker].check(id, now).unwrap_or(now.after_secs(1));
                self.clients[client].look_at = next.0;
            }
        }
        self.settle(worker);
    }

    // What the workers do with each other.

    /// The pairs that have a letter under way.
    pub(crate) fn under_way(&self) -> Vec<(usize, usize)> {
        self.posts.iter().filter(|(_, queue)| !queue.is_empty()).map(|(pair, _)| *pair).collect()
    }

    pub(crate) fn is_under_way(&self, pair: (usize, usize)) -> bool {
        self.posts.get(&pair).is_some_and(|queue| !queue.is_empty())
    }

    /// Delivers the oldest letter from one sender to one worker.
    pub(crate) fn deliver(&mut self, (from, to): (usize, usize)) {
        let Some(Envelope { sent, arrives, void }) = self.posts.get_mut(&(from, to)).and_then(VecDeque::pop_front)
        else {
            return;
        };
        if !void {
            self.arrived(to, &sent);
        }
        if let Letter::Granted { subscriber, .. } = &sent {
            let seat = self.tokens.get(&(usize::from(subscriber.worker.0), subscriber.token));
            self.undoing = seat.is_some_and(|seat| self.model.seats[*seat].stage == Stage::Gone);
        }
        for letter in arrives {
            let now = self.moment();
            self.hubs[to].letter(letter, now);
            self.settle(to);
        }
        (self.undoing, self.catching_up) = (false, false);
        let left: Vec<usize> = self
            .sent_away
            .iter()
            .copied()
            .filter(|client| {
                let client = &self.clients[*client];
                client.open && !client.closing
            })
            .collect();
        if !left.is_empty() {
            self.fail(format!("{left:?} were not sent away"));
        }
        let read_on = |client: &Client| client.open && !client.closing && client.worker == to && client.app == GUEST;
        if self.guests[to] != Guest::Welcome && self.clients.iter().any(read_on) {
            self.fail(format!("w{to} still reads clients of an app that is {:?}", self.guests[to]));
        }
    }

    fn seat_of(&self, subscriber: &letter::Subscriber) -> SeatId {
        self.tokens[&(usize::from(subscriber.worker.0), subscriber.token)]
    }

    fn client_of(&self, socket_id: Option<SocketId>) -> Option<usize> {
        self.clients.iter().position(|client| Some(client.socket_id) == socket_id)
    }

    /// Tells the model what has arrived where.
    fn arrived(&mut self, to: usize, letter: &Letter) {
        match letter {
            Letter::MindLost { worker, .. } => return self.mind_lost(to, usize::from(worker.0)),
            Letter::Announced { worker, life } if *life == self.lives[to] => {
                return self.heard_all_of(to, usize::from(worker.0));
            }
            Letter::Announcing { .. } | Letter::Announced { .. } => return,
            Letter::Reload { .. } => {}
            _ if !self.unheard[to].is_empty() => return self.waiting[to].push(Waiting::Letter(letter.clone())),
            _ => {}
        }
        if !self.has_met_guest[to] && letter.to_home_of().is_some_and(|key| key.app == AppIndex(GUEST)) {
            // The mind keeps it until the reload has come; so does the model.
            return self.early[to].push(letter.clone());
        }
        match letter {
            Letter::Subscribe { subscriber, purpose: letter::Purpose::Restore, .. } => {
                self.model.home_restore(self.seat_of(subscriber));
            }
            Letter::Subscribe { subscriber, .. } => self.home_subscribe(self.seat_of(subscriber)),
            Letter::Resubscribe { subscriber, .. } => self.model.home_resubscribe(self.seat_of(subscriber)),
            Letter::Unsubscribe { subscriber, departure, .. } => {
                let (seat, vanished) = (self.seat_of(subscriber), *departure == Departure::Vanished);
                if !self.model.home_unsubscribe(seat, vanished, self.now) {
                    self.fail("the end of a subscription that its home never had");
                }
            }
            Letter::Publish { key, publication, .. } => {
                let frame = String::from_utf8(text(&publication.frame).to_vec()).expect("frames are text");
                let data = publication.remember.as_ref().map(DataLiteral::decode);
                let except = self.client_of(publication.except);
                let key = format!("{}/{}", key.app.0, key.name);
                self.model.home_publish(&key, &frame, data.as_deref(), except, self.now);
            }
            Letter::Terminate { key } => {
                let key = format!("{}/{}", key.app.0, key.name);
                let signed_in = self.model.channels.get(&key).into_iter().flat_map(|channel| &channel.subscribers);
                self.terminated.extend(signed_in.map(|seat| self.model.seats[*seat].client));
            }
            Letter::Granted { subscriber, .. } | Letter::Refused { subscriber, .. } => {
                self.answered(self.seat_of(subscriber));
            }
            Letter::Reload { apps } if apps.generation() < self.generations_known[to] => {}
            Letter::Reload { apps } => {
                self.generations_known[to] = apps.generation();
                self.guests[to] = guest_in(apps);
                self.has_met_guest[to] |= self.guest_since.is_some_and(|since| apps.generation() >= since);
                if self.has_met_guest[to] {
                    for letter in std::mem::take(&mut self.early[to]) {
                        self.arrived(to, &letter);
                    }
                }
            }
            Letter::Reserve { .. }
            | Letter::Commit { .. }
            | Letter::Release { .. }
            | Letter::Weigh { .. }
            | Letter::Settle { .. }
            | Letter::Restated { .. }
            | Letter::Deliver { .. }
            | Letter::Disconnect { .. }
            | Letter::Answer { .. }
            | Letter::Ask { .. }
            | Letter::MindLost { .. }
            | Letter::Announcing { .. }
            | Letter::Announced { .. } => {}
        }
    }

    /// Takes what a mind asks of the world.
    fn settle(&mut self, worker: usize) {
        let mut effects = Vec::new();
        self.hubs[worker].take_effects(&mut effects);
        for effect in effects {
            match effect {
                Effect::Send { to, letter } => {
                    self.sent(worker, &letter);
                    self.post(worker, usize::from(to.0), letter);
                }
                Effect::Close { connection, code, reason } => self.close(worker, connection, code.number(), &reason),
                Effect::Notice(notice) => {
                    for _ in 0..self.faults.notices(&notice) {
                        self.notice(&notice);
                    }
                }
                Effect::Answer { .. } => self.fail("an answer that nobody has asked for"),
                Effect::EnteredInbox { .. } => self.fail("an inbox though no app has any"),
                Effect::Taken(_) => self.fail("a receipt though no app has inboxes"),
                Effect::Alert(_) => self.fail("an alert though no app has rules"),
            }
        }
        if !self.unsent.is_empty() {
            self.fail("a request has been sent to no home");
        }
        if !self.client_events.is_empty() {
            self.fail("notices: a client event was not told");
        }
        let counts = std::mem::take(&mut self.model.counts);
        if counts.values().any(|counts| !counts.is_empty()) {
            self.fail(format!("notices: these counts were not told: {counts:?}"));
        }
    }

    fn sent(&mut self, worker: usize, letter: &Letter) {
        if let Letter::Subscribe { key, subscriber, purpose, .. } = letter {
            if let Some(seat) = self.tokens.get(&(worker, subscriber.token)) {
                let again = match self.model.seats[*seat].stage {
                    Stage::Pending => *purpose != letter::Purpose::Restore,
                    Stage::Joined => *purpose == letter::Purpose::Restore,
                    Stage::Gone => false,
                };
                if !again {
                    self.fail(format!("{purpose:?} is said again of a seat that is not as it says"));
                }
                return;
            }
            let Some(seat) = self.unsent.pop_front() else {
                return self.fail("a subscription that no client has asked for");
            };
            let client = &self.clients[self.model.seats[seat].client];
            let key = format!("{}/{}", key.app.0, key.name);
            if (client.worker, client.id, &self.model.seats[seat].key) != (worker, subscriber.connection, &key) {
                self.fail(format!("a subscription to {key} by another than its client"));
            }
            self.tokens.insert((worker, subscriber.token), seat);
        }
    }

    fn close(&mut self, worker: usize, connection: ConnectionId, code: u16, reason: &str) {
        let found =
            self.clients.iter().position(|client| client.open && (client.worker, client.id) == (worker, connection));
        let Some(client) = found else { return self.fail("a close of nobody") };
        self.note(format_args!("c{client} must close {code} {reason}"));
        let Client { app, pinged_at, closing, .. } = self.clients[client];
        let guest = self.guests[worker];
        let lawful = match code {
            4001 => app == GUEST && guest == Guest::Removed,
            4003 => app == GUEST && guest == Guest::Disabled,
            4009 => self.terminated.contains(&client),
            4200 => self.sent_away.contains(&client),
            4201 => pinged_at.is_some_and(|at| self.now >= at + PONG_MILLIS),
            _ => false,
        };
        if closing || !lawful {
            self.fail(format!("c{client} is closed with {code} without a reason"));
        }
        self.clients[client].closing = true;
        if code != 4200 {
            self.clients[client].loose.push(model::error(Some(code), reason, None));
        }
        self.closes[worker].push(client);
    }

    fn notice(&mut self, notice: &Notice) {
        let (kind, key) = (notice.kind.name(), notice.kind.channel().map(|name| format!("{}/{name}", notice.app)));
        self.note(format_args!("notice {} {kind} {key:?}", notice.edge));
        let (key, now) = (key.unwrap_or_default(), self.now);
        if self.catching_up && !key.is_empty() {
            // Much happens at once; the model has seen the end of it before the mind tells of the beginning.
            self.model.forget_told(&key);
        }
        let told = match &notice.kind {
            NoticeKind::ConnectionOpened { socket_id } => {
                let opened = self.connections_told.insert(socket_id.to_string());
                opened.then_some(()).ok_or_else(|| "notices: a connection opened twice".to_owned())
            }
            NoticeKind::ConnectionClosed { socket_id } => {
                let closed = self.connections_told.remove(&socket_id.to_string());
                closed.then_some(()).ok_or_else(|| "notices: a connection closed twice".to_owned())
            }
            NoticeKind::ClientEvent { data, .. } => {
                let expected = self.client_events.pop_front();
                let same = expected.as_deref() == Some(data.as_str());
                same.then_some(()).ok_or_else(|| "notices: a client event out of order".to_owned())
            }
            NoticeKind::SubscriptionCount { count, .. } => {
                let next = self.model.counts.get_mut(&key).and_then(VecDeque::pop_front);
                (next == Some(*count))
                    .then_some(())
                    .ok_or_else(|| format!("notices: {key} has {count} subscribers, expected {next:?}"))
            }
            NoticeKind::MemberAdded { user_id, .. } | NoticeKind::MemberRemoved { user_id, .. } => {
                self.model.notice(kind, &key, Some(user_id.as_str()), now)
            }
            _ => self.model.notice(kind, &key, None, now),
        };
        if let Err(rule) = told {
            self.fail(rule);
        }
    }

    // What a worker that loses its mind costs.

    /// A worker throws its mind away: its connections are closed, and what it knew as a home is gone.
    pub(crate) fn lose_mind(&mut self, worker: usize) {
        self.note(format_args!("w{worker} loses its mind"));
        for client in 0..self.clients.len() {
            if self.clients[client].worker == worker && std::mem::replace(&mut self.clients[client].open, false) {
                let Client { id, socket_id, .. } = self.clients[client];
                self.connections_told.remove(&socket_id.to_string());
                self.generations[worker][id.index as usize] += 1;
                self.places[worker].push(id.index);
                for seat in self.model.seats.iter_mut().filter(|seat| seat.client == client) {
                    seat.stage = Stage::Gone;
                }
            }
        }
        self.closes[worker].clear();
        let here: BTreeSet<String> =
            self.model.channels.keys().filter(|key| self.home(key) == worker).cloned().collect();
        self.model.home_lost(|key| here.contains(key));
        self.lives[worker] += 1;
        self.unheard[worker] = (0..self.hubs.len()).filter(|other| *other != worker).collect();
        self.waiting[worker].clear();
        self.early[worker].clear();
        self.guests[worker] = guest_in(&self.apps);
        self.generations_known[worker] = self.apps.generation();
        self.has_met_guest[worker] = self.guest_since.is_some();
        let legacy = self.hubs[worker].legacy();
        self.hubs[worker] = Hub::reborn(settings(worker, self.homes), Arc::clone(&self.apps), legacy);
        self.settle(worker);
    }

    /// A worker hears that another has lost its mind.
    fn mind_lost(&mut self, here: usize, lost: usize) {
        let api = self.hubs.len();
        let gone: BTreeSet<SeatId> = (0..self.model.seats.len())
            .filter(|seat| {
                let client = &self.clients[self.model.seats[*seat].client];
                client.worker == lost && !client.open
            })
            .collect();
        let keys: Vec<String> = self.model.channels.keys().filter(|key| self.home(key) == here).cloned().collect();
        for key in keys {
            self.model.home_forget(&gone, &key, self.now);
            for seat in
                self.model.seats.iter_mut().filter(|seat| seat.key == key && self.clients[seat.client].worker == lost)
            {
                seat.at_home &= self.clients[seat.client].open;
            }
        }
        let homes = self.homes;
        self.waiting[here].retain(|waiting| match waiting {
            Waiting::Letter(letter) => {
                let answered = letter.from_home_of().is_some_and(|key| usize::from(homes.of(key).0) == lost);
                !answered && subscriber_of(letter) != Some(lost)
            }
            Waiting::Request(_) => true,
        });
        self.early[here].retain(|letter| subscriber_of(letter) != Some(lost));
        for seat in 0..self.model.seats.len() {
            let Seat { client, key, stage, purpose, .. } = &self.model.seats[seat];
            let (client, presence, watch) = (*client, model::is_presence(key), *purpose == Purpose::Watch);
            if self.clients[client].worker == here && *stage == Stage::Pending && self.home(key) == lost {
                // Whatever it was granted has not come, and will be granted anew.
                self.model.seats[seat].expected.clear();
                self.model.seats[seat].states.clear();
                self.model.seats[seat].refused = false;
            }
            let Seat { key, stage, .. } = &self.model.seats[seat];
            let mine = self.clients[client].worker == here && self.clients[client].open && *stage != Stage::Gone;
            if mine && self.home(key) == lost && (presence || watch) {
                self.sent_away.insert(client);
                if watch || *stage == Stage::Pending {
                    self.model.seats[seat].stage = Stage::Gone;
                }
                self.model.seats[seat].user = None;
            }
        }
        // What was said before is void: it will be said again.
        debug_assert!(lost != api);
        if let Some(queue) = self.posts.get_mut(&(here, lost)) {
            for envelope in queue.iter_mut().filter(|envelope| subscriber_of(&envelope.sent).is_some()) {
                envelope.void = true;
            }
        }
        let void =
            |waiting: &Waiting| matches!(waiting, Waiting::Letter(letter) if subscriber_of(letter) == Some(here));
        self.waiting[lost].retain(|waiting| !void(waiting));
    }

    /// A mind in place of a lost one has heard all that one other worker has.
    fn heard_all_of(&mut self, here: usize, other: usize) {
        self.unheard[here].remove(&other);
        if !self.unheard[here].is_empty() {
            return;
        }
        self.catching_up = true;
        // Those who are in already come first.
        let waiting = std::mem::take(&mut self.waiting[here]);
        let (restoring, others): (Vec<Waiting>, Vec<Waiting>) = waiting.into_iter().partition(|waiting| {
            matches!(waiting, Waiting::Letter(Letter::Subscribe { purpose: letter::Purpose::Restore, .. }))
        });
        for waiting in restoring.into_iter().chain(others) {
            match waiting {
                Waiting::Letter(letter) => self.arrived(here, &letter),
                Waiting::Request(seat) => {
                    self.home_subscribe(seat);
                    self.own.push_back(Own::Answer(seat));
                }
            }
        }
        // What the mind says to itself meanwhile comes after all that has waited.
        while let Some(own) = self.own.pop_front() {
            match own {
                Own::Request(seat) => {
                    self.home_subscribe(seat);
                    self.own.push_back(Own::Answer(seat));
                }
                Own::Answer(seat) if self.model.seats[seat].stage == Stage::Gone => {
                    if self.model.seats[seat].at_home {
                        self.own.push_back(Own::Undo(seat));
                    }
                }
                Own::Answer(seat) => self.answered(seat),
                Own::Undo(seat) => {
                    self.model.home_unsubscribe(seat, false, self.now);
                }
            }
        }
    }

    // What clients hear.

    /// A worker ends its tick: each connection is written once, then what must be closed is closed.
    ///
    /// False: there was nothing to write and nobody to close.
    pub(crate) fn flush(&mut self, worker: usize) -> bool {
        let mut writes = Vec::new();
        self.hubs[worker].fanout().gather();
        while let Some(write) = self.hubs[worker].fanout().next_write() {
            writes.push((write.connection, write.slices.concat()));
        }
        let mut written = BTreeSet::new();
        for (connection, bytes) in writes {
            if !written.insert(connection) {
                self.fail("I4: a connection is written twice in a tick");
            }
            let mine = |client: &Client| client.open && (client.worker, client.id) == (worker, connection);
            let Some(client) = self.clients.iter().position(mine) else {
                self.fail("a write to nobody");
                continue;
            };
            for frame in split(&bytes) {
                match frame {
                    Some(frame) => self.hears(client, &frame),
                    None => self.fail("a frame that is not text"),
                }
            }
        }
        for client in 0..self.clients.len() {
            let Client { worker: of, open, .. } = self.clients[client];
            if open && of == worker {
                let Client { loose, pongs, pings, .. } = &self.clients[client];
                if !loose.is_empty() || *pongs + *pings > 0 {
                    self.fail(format!("I4: c{client} must still hear {loose:?}, {pongs} pongs, {pings} pings"));
                }
            }
        }
        let unanswered = self.model.seats.iter().position(|seat| {
            seat.stage == Stage::Joined && seat.acknowledgements > 0 && self.clients[seat.client].worker == worker
        });
        if let Some(seat) = unanswered {
            self.fail(format!("seat {seat} was not acknowledged"));
        }
        let closes = std::mem::take(&mut self.closes[worker]);
        let moved = !(written.is_empty() && closes.is_empty());
        for client in closes {
            self.disconnect(client, true);
        }
        moved
    }

    fn hears(&mut self, client: usize, frame: &str) {
        self.note(format_args!("c{client} > {frame}"));
        self.clients[client].received += 1;
        // Every frame is compared as a whole in the end; here it is only seen what it is about.
        let event = field(frame, "event").unwrap_or_default();
        if event == "pusher:connection_established" {
            if std::mem::replace(&mut self.clients[client].established, true) {
                self.fail(format!("c{client} is established twice"));
            }
            return;
        }
        if !self.clients[client].established {
            return self.fail(format!("c{client} hears {event} before it is established"));
        }
        if event == "pusher:signin_success" {
            return self.hears_of_signin(client, frame);
        }
        if let Some(at) = self.clients[client].loose.iter().position(|loose| loose == frame) {
            self.clients[client].loose.remove(at);
            return;
        }
        match event {
            "pusher:pong" if self.clients[client].pongs > 0 => self.clients[client].pongs -= 1,
            "pusher:ping" if self.clients[client].pings > 0 => self.clients[client].pings -= 1,
            "pusher_internal:watchlist_events" => self.hears_of_watched(client, frame),
            _ => match field(frame, "channel") {
                Some(name) => {
                    let key = format!("{}/{name}", self.clients[client].app);
                    if model::user_of(&key).is_some() && !self.clients[client].signed_in {
                        self.fail(format!("c{client} hears its user's channel before signin_success"));
                    }
                    self.hears_of(client, &key, frame);
                }
                None => self.fail(format!("c{client} hears what nobody has said: {frame}")),
            },
        }
    }

    /// The first is the answer of the user's home; a later one answers a repeated request.
    fn hears_of_signin(&mut self, client: usize, frame: &str) {
        let repeated = self.clients[client].loose.iter().position(|loose| loose == frame);
        match repeated.filter(|_| self.clients[client].signed_in) {
            Some(at) => {
                self.clients[client].loose.remove(at);
            }
            None => {
                let (user, _) = self.clients[client].user.clone().unwrap_or_default();
                let key = format!("{}/#server-to-user-{user}", self.clients[client].app);
                self.clients[client].signed_in = true;
                self.hears_of(client, &key, frame);
            }
        }
    }

    /// A frame about a channel: it must be the next that the model has for this connection's seat.
    fn hears_of(&mut self, client: usize, key: &str, frame: &str) {
        let seat = self.model.seat(client, key, false).filter(|seat| self.model.seats[*seat].stage == Stage::Joined);
        let Some(seat) = seat else {
            return self.fail(format!("I1: c{client} is not in {key} and hears {frame}"));
        };
        let seat = &mut self.model.seats[seat];
        if seat.expected.front().is_some_and(|next| next == frame) {
            seat.expected.pop_front();
        } else if seat.acknowledgements > 0 && frame == model::succeeded(key) {
            seat.acknowledgements -= 1;
        } else {
            let rule = format!("I2: c{client} hears {frame}, next is {:?}", seat.expected.front());
            self.fail(rule);
        }
    }

    fn hears_of_watched(&mut self, client: usize, frame: &str) {
        if !self.clients[client].signed_in {
            return self.fail(format!("c{client} hears of watched users before signin_success"));
        }
        if self.sent_away.contains(&client) {
            // It may still hear what it had collected of users whose home is lost.
            return;
        }
        let frame: Value = serde_json::from_str(frame).expect("a frame is JSON");
        let data = frame["data"].as_str().expect("data is a string");
        let value: Value = serde_json::from_str(data).expect("data is JSON in a string");
        let app = self.clients[client].app;
        for event in value["events"].as_array().into_iter().flatten() {
            let online = event["name"] == "online";
            for user in event["user_ids"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                let key = format!("{app}/#server-to-user-{user}");
                let next =
                    self.model.seat(client, &key, true).and_then(|seat| self.model.seats[seat].states.pop_front());
                if next != Some(online) {
                    self.fail(format!("c{client} hears that {user} is online: {online}, next is {next:?}"));
                }
            }
        }
    }

    // The end.

    /// Delivers everything and lets every worker write, until nothing moves.
    pub(crate) fn come_to_rest(&mut self) {
        loop {
            while let Some(pair) = self.under_way().first().copied() {
                self.deliver(pair);
            }
            let mut moved = false;
            for worker in 0..self.hubs.len() {
                self.look(worker);
                moved |= self.flush(worker);
            }
            if (self.under_way().is_empty() && !moved) || self.violation.is_some() {
                return;
            }
        }
    }

    /// Everything has come to rest: nothing is owed to anybody, and what the homes hold is what the clients want.
    pub(crate) fn check_rest(&mut self) {
        for seat in 0..self.model.seats.len() {
            let Seat { client, key, stage, at_home, expected, states, .. } = &self.model.seats[seat];
            let wanted = *stage == Stage::Joined;
            let rule = if *stage == Stage::Pending {
                format!("c{client} never got an answer for {key}")
            } else if wanted != *at_home {
                format!("c{client} in {key}: {wanted}, at its home: {at_home}")
            } else if wanted && !(expected.is_empty() && states.is_empty()) {
                format!("lost on the way to c{client}: {expected:?} {states:?}")
            } else {
                continue;
            };
            return self.fail(rule);
        }
        let terminated: Vec<usize> =
            self.terminated.iter().copied().filter(|client| self.clients[*client].open).collect();
        if !terminated.is_empty() {
            self.fail(format!("{terminated:?} were not terminated"));
        }
        for key in self.model.channels.keys().cloned().collect::<Vec<_>>() {
            self.ask(&key);
        }
        for worker in 0..self.hubs.len() {
            self.ask_channels(worker);
        }
    }

    /// Everybody has left and every deadline has passed: nothing remains.
    pub(crate) fn check_empty(&mut self) {
        if let Err(rule) = self.model.told() {
            self.fail(rule);
        }
        if !self.connections_told.is_empty() {
            self.fail("notices: a connection was opened and never closed");
        }
        for worker in 0..self.hubs.len() {
            let census = self.hubs[worker].census();
            if census != Census::default() {
                self.fail(format!("w{worker} leaks: {census:?}"));
            }
        }
    }

    pub(crate) fn check_told(&mut self) {
        if let Err(rule) = self.model.told() {
            self.fail(rule);
        }
    }

    /// The clients that are still read.
    pub(crate) fn open(&self) -> Vec<usize> {
        (0..self.clients.len()).filter(|client| self.clients[*client].open).collect()
    }

    /// Whether the guest was ever configured, so that the API can have taken an event for it.
    pub(crate) fn knows_guest(&self) -> bool {
        self.apps.get(AppIndex(GUEST)).is_some()
    }

    pub(crate) fn plant(&mut self, fault: Fault, after: usize) {
        self.faults.plant(fault, after);
    }
}
