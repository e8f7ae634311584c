//! People who come and go, on channels that can send events again, drawn from a seed.
//!
//! Owns a small world: minds, the letters between them, and what each person has heard. Never looks into a mind. What must
//! hold: what somebody hears of a channel is the channel's order without a hole and without anything twice, over however
//! many connections, unless they were told of a gap; and a position means the same events to everybody. The order is that in
//! which publications came to the home.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use campanile_hub::hub::PLACE_INDEX_BITS;
use campanile_hub::letter::{ChannelKey, Departure, Homes};
use campanile_hub::{
    App, AppIndex, Apps, ConnectionId, Effect, Features, Hub, Letter, Moment, Publication, Replay, Settings, WorkerId,
};
use campanile_protocol::json::DataLiteral;
use campanile_protocol::{ChannelName, EventName, Secret, ServerFrame, SocketId};
use serde_json::Value;

use crate::dice::Dice;
use crate::world::split;

const CHANNELS: [&str; 3] = ["private-replay-a", "private-replay-b", "presence-replay-c"];
const PEOPLE: usize = 5;
const EVENTS_MAX: usize = 4;
const SECS: u64 = 30;
const SEEDS: u64 = 3000;

/// What somebody knows of one channel.
#[derive(Debug, Clone, Default)]
struct Track {
    /// The last position that they were told.
    since: Option<String>,
    /// What they have heard since they knew nothing, by its place in the channel's order.
    heard: Vec<usize>,
    /// Where they began to hear.
    anchor: Option<String>,
    /// What a connection of theirs was left out of.
    excluded: BTreeSet<usize>,
}

impl Track {
    fn begin_anew(&mut self) {
        *self = Self { excluded: std::mem::take(&mut self.excluded), ..Self::default() };
    }
}

#[derive(Debug, Clone)]
struct Connection {
    worker: usize,
    id: ConnectionId,
    socket_id: SocketId,
    /// Channels that have been asked for and not given up.
    wanted: BTreeSet<usize>,
}

#[derive(Debug, Clone, Default)]
struct Person {
    tracks: [Track; CHANNELS.len()],
    connection: Option<Connection>,
}

#[derive(Debug, Default)]
struct Shown {
    replayed: usize,
    gaps: usize,
    lost: usize,
}

struct World {
    hubs: Vec<Hub>,
    homes: Homes,
    apps: Arc<Apps>,
    posts: BTreeMap<(usize, usize), VecDeque<Letter>>,
    people: Vec<Person>,
    generations: Vec<Vec<u32>>,
    /// Of each channel: the events in the order in which its home has taken them.
    order: [Vec<usize>; CHANNELS.len()],
    /// What each position means.
    meaning: BTreeMap<(usize, String), usize>,
    published: usize,
    now: u64,
    shown: Shown,
}

fn settings(worker: usize, homes: Homes) -> Settings {
    Settings::new(WorkerId(worker as u16), homes)
}

fn app() -> App {
    App {
        features: Features { client_events: true, ..Features::default() },
        replay: Replay {
            channels: vec!["private-replay-*".into(), "presence-replay-*".into()],
            events_max: EVENTS_MAX,
            bytes_max: 1 << 20,
            secs: SECS,
        },
        ..App::new("1", "key", "secret")
    }
}

fn key(channel: usize) -> ChannelKey {
    ChannelKey { app: AppIndex(0), name: ChannelName::parse(CHANNELS[channel], 164).expect("valid") }
}

impl World {
    fn new(workers: usize, seed: u64) -> Self {
        let homes = Homes { seed, workers: workers as u16 };
        let apps = Arc::new(Apps::new(vec![app()], None));
        Self {
            hubs: (0..workers).map(|worker| Hub::new(settings(worker, homes), Arc::clone(&apps))).collect(),
            homes,
            apps,
            posts: BTreeMap::new(),
            people: vec![Person::default(); PEOPLE],
            generations: vec![vec![0; PEOPLE]; workers],
            order: Default::default(),
            meaning: BTreeMap::new(),
            published: 0,
            now: 1000,
            shown: Shown::default(),
        }
    }

    fn moment(&self) -> Moment {
        Moment(self.now)
    }

    fn settle(&mut self, worker: usize) {
        let mut effects = Vec::new();
        self.hubs[worker].take_effects(&mut effects);
        for effect in effects {
            match effect {
                Effect::Send { to, letter } => {
                    self.posts.entry((worker, usize::from(to.0))).or_default().push_back(letter)
                }
                Effect::Close { connection, .. } => {
                    let mine = |person: &Person| {
                        person.connection.as_ref().is_some_and(|c| (c.worker, c.id) == (worker, connection))
                    };
                    if let Some(person) = self.people.iter().position(mine) {
                        self.flush(worker);
                        self.disconnect(person, Departure::Vanished);
                    }
                }
                Effect::Answer { .. }
                | Effect::Notice(_)
                | Effect::Alert(_)
                | Effect::EnteredInbox { .. }
                | Effect::Taken(_) => {}
            }
        }
    }

    fn connect(&mut self, person: usize, worker: usize) {
        let generation = self.generations[worker][person];
        let id = ConnectionId { index: person as u32, generation };
        let place = (worker as u64) << PLACE_INDEX_BITS | person as u64;
        let socket_id = SocketId { place, secret: u64::from(generation) + 1 };
        let app = Arc::clone(self.apps.get(AppIndex(0)).expect("it is there"));
        let now = self.moment();
        self.hubs[worker].connect(id, &app, socket_id, 7, now);
        self.settle(worker);
        self.people[person].connection = Some(Connection { worker, id, socket_id, wanted: BTreeSet::new() });
    }

    fn disconnect(&mut self, person: usize, departure: Departure) {
        let Some(Connection { worker, id, .. }) = self.people[person].connection.take() else { return };
        self.generations[worker][person] += 1;
        let now = self.moment();
        self.hubs[worker].disconnect(id, departure, now);
        self.settle(worker);
    }

    fn says(&mut self, person: usize, frame: &Value) {
        let Some(Connection { worker, id, .. }) = self.people[person].connection.clone() else { return };
        let now = self.moment();
        self.hubs[worker].receive(id, &frame.to_string(), now);
        self.settle(worker);
    }

    /// Subscribes with the last position, as a client does that has kept it.
    fn subscribe(&mut self, person: usize, channel: usize, forgets: bool) {
        let Person { tracks, connection: Some(connection) } = &mut self.people[person] else { return };
        if !connection.wanted.insert(channel) {
            return;
        }
        let track = &mut tracks[channel];
        if forgets || track.since.is_none() {
            track.begin_anew();
        }
        let since = track.since.clone();
        let mut data = serde_json::Map::new();
        if CHANNELS[channel].starts_with("presence-") {
            data.insert("user_id".to_owned(), format!("u{person}").into());
        }
        if let Some(since) = since {
            data.insert("since".to_owned(), since.into());
        }
        let data = (!data.is_empty()).then(|| Value::from(data).to_string());
        let name = CHANNELS[channel];
        let signature = Secret::new("secret").sign_channel(connection.socket_id, name, data.as_deref());
        let auth = format!("key:{signature}");
        self.says(
            person,
            &serde_json::json!({
                "event": "pusher:subscribe",
                "data": { "channel": name, "auth": auth, "channel_data": data },
            }),
        );
    }

    fn unsubscribe(&mut self, person: usize, channel: usize) {
        // What has come is read first: a client that leaves has the position that it was told.
        let Some(worker) = self.people[person].connection.as_ref().map(|connection| connection.worker) else { return };
        self.flush(worker);
        if let Some(connection) = &mut self.people[person].connection {
            connection.wanted.remove(&channel);
        }
        self.says(
            person,
            &serde_json::json!({ "event": "pusher:unsubscribe", "data": { "channel": CHANNELS[channel] } }),
        );
    }

    fn whisper(&mut self, person: usize, channel: usize) {
        let frame = serde_json::json!({ "event": "client-typing", "channel": CHANNELS[channel], "data": {} });
        self.says(person, &frame);
    }

    /// A worker's HTTP API takes a publication.
    fn publish(&mut self, worker: usize, channel: usize, but: Option<usize>) {
        let event = self.published;
        self.published += 1;
        let except = but.and_then(|person| {
            let connection = self.people[person].connection.as_ref()?;
            let socket_id = connection.socket_id;
            self.people[person].tracks[channel].excluded.insert(event);
            Some(socket_id)
        });
        let data = DataLiteral::from_text(&event.to_string());
        let frame = ServerFrame::Event { event: "e", channel: CHANNELS[channel], data: &data, user_id: None }.encode();
        let event = EventName::parse("e", 200).expect("the name is valid");
        let publication = Publication { event, frame, except, remember: None, lasting: true, receipt: None };
        let letter = Letter::Publish { key: key(channel), publication, ask: None };
        let home = usize::from(self.homes.of(&key(channel)).0);
        self.posts.entry((worker, home)).or_default().push_back(letter);
    }

    fn deliver(&mut self, from: usize, to: usize) {
        let Some(letter) = self.posts.get_mut(&(from, to)).and_then(VecDeque::pop_front) else { return };
        // Whispers have no place in the order.
        if let Letter::Publish { key, publication: publication @ Publication { lasting: true, .. }, .. } = &letter {
            let channel = CHANNELS.iter().position(|name| *name == key.name.as_str()).expect("one of ours");
            let text = split(&publication.frame).remove(0).expect("text");
            self.order[channel].push(event_of(&serde_json::from_str(&text).expect("JSON")));
        }
        let now = self.moment();
        self.hubs[to].letter(letter, now);
        self.settle(to);
    }

    fn flush(&mut self, worker: usize) {
        let mut writes = Vec::new();
        self.hubs[worker].fanout().gather();
        while let Some(write) = self.hubs[worker].fanout().next_write() {
            writes.push((write.connection, write.slices.concat()));
        }
        for (id, bytes) in writes {
            let mine = |person: &Person| person.connection.as_ref().is_some_and(|c| (c.worker, c.id) == (worker, id));
            let Some(person) = self.people.iter().position(mine) else { continue };
            for frame in split(&bytes) {
                let frame: Value = serde_json::from_str(&frame.expect("text")).expect("JSON");
                self.hears(person, &frame);
            }
        }
    }

    fn hears(&mut self, person: usize, frame: &Value) {
        let Some(channel) = CHANNELS.iter().position(|name| frame["channel"] == *name) else { return };
        let data = || serde_json::from_str::<Value>(frame["data"].as_str().expect("a string")).expect("JSON");
        let order = &self.order[channel];
        let track = &mut self.people[person].tracks[channel];
        match frame["event"].as_str() {
            Some("e") => {
                let event = event_of(frame);
                let place =
                    order.iter().position(|known| *known == event).expect("nothing comes before its home took it");
                if let Some(last) = track.heard.last().copied() {
                    assert!(place > last, "p{person} hears {event} on {} twice or too late", CHANNELS[channel]);
                    let hole: Vec<usize> =
                        order[last + 1..place].iter().copied().filter(|e| !track.excluded.contains(e)).collect();
                    assert!(hole.is_empty(), "p{person} has never heard {hole:?} on {}", CHANNELS[channel]);
                } else if let Some(began) =
                    track.anchor.as_ref().and_then(|at| self.meaning.get(&(channel, at.clone())))
                {
                    let hole: Vec<usize> =
                        order[*began..place].iter().copied().filter(|e| !track.excluded.contains(e)).collect();
                    assert!(hole.is_empty(), "p{person} began before {hole:?} and has not heard it");
                }
                track.heard.push(place);
                self.shown.replayed += usize::from(track.since.is_some());
            }
            Some("replay.gap") => {
                track.begin_anew();
                self.shown.gaps += 1;
            }
            Some("replay.position") => {
                let at = data()["at"].as_str().expect("a position").to_owned();
                if let Some(last) = track.heard.last() {
                    let left_out =
                        |place: &usize| order.get(*place).is_some_and(|event| track.excluded.contains(event));
                    let farthest = (last + 1..).find(|place| !left_out(place)).expect("the order has an end");
                    // Whoever was left out of what came next cannot say how far the position has come.
                    let known = match self.meaning.get(&(channel, at.clone())) {
                        Some(known) => *known,
                        None if farthest == last + 1 => *self.meaning.entry((channel, at.clone())).or_insert(farthest),
                        None => farthest,
                    };
                    assert!((last + 1..=farthest).contains(&known), "{at} means {known} and {}", last + 1);
                } else {
                    track.anchor.get_or_insert_with(|| at.clone());
                }
                track.since = Some(at);
            }
            _ => {}
        }
    }

    fn lose_mind(&mut self, worker: usize) {
        for person in 0..self.people.len() {
            if self.people[person].connection.as_ref().is_some_and(|connection| connection.worker == worker) {
                self.people[person].connection = None;
                self.generations[worker][person] += 1;
            }
        }
        let legacy = self.hubs[worker].legacy();
        self.hubs[worker] = Hub::reborn(settings(worker, self.homes), Arc::clone(&self.apps), legacy);
        self.settle(worker);
        self.shown.lost += 1;
    }

    fn pass(&mut self, millis: u64) {
        self.now += millis;
        let now = self.moment();
        for worker in 0..self.hubs.len() {
            if self.hubs[worker].next_due().is_some_and(|due| due <= now) {
                self.hubs[worker].due(now);
                self.settle(worker);
            }
        }
    }

    fn come_to_rest(&mut self) {
        while let Some((from, to)) = self.posts.iter().find(|(_, post)| !post.is_empty()).map(|(pair, _)| *pair) {
            self.deliver(from, to);
        }
        for worker in 0..self.hubs.len() {
            self.flush(worker);
        }
    }
}

fn event_of(frame: &Value) -> usize {
    frame["data"].as_str().expect("a string").parse().expect("the simulation numbers its events")
}

fn run(seed: u64) -> Shown {
    let mut dice = Dice::new(seed);
    let workers = dice.pick(&[1, 2, 3]);
    let mut world = World::new(workers, seed);
    let minds_are_lost = dice.percent(30);
    for _ in 0..60 + dice.below(150) {
        let (person, channel, worker) = (dice.below(PEOPLE), dice.below(CHANNELS.len()), dice.below(workers));
        match dice.below(100) {
            0..18 if world.people[person].connection.is_none() => world.connect(person, worker),
            0..18 => world.subscribe(person, channel, dice.percent(5)),
            18..30 => world.subscribe(person, channel, false),
            30..36 => {
                // Whoever vanishes may not have read what was written last.
                if dice.percent(50) {
                    world.flush(worker);
                }
                world.disconnect(person, dice.pick(&[Departure::Left, Departure::Vanished]));
            }
            36..40 => world.unsubscribe(person, channel),
            40..58 => world.publish(worker, channel, dice.percent(20).then_some(person)),
            58..61 => world.whisper(person, channel),
            61..63 if minds_are_lost => world.lose_mind(worker),
            63..66 => world.pass(dice.pick(&[1, 1000, 5000, 12_000, 31_000])),
            66..78 => world.flush(worker),
            _ => {
                let pairs: Vec<(usize, usize)> =
                    world.posts.iter().filter(|(_, post)| !post.is_empty()).map(|(pair, _)| *pair).collect();
                if !pairs.is_empty() {
                    let (from, to) = dice.pick(&pairs);
                    world.deliver(from, to);
                }
            }
        }
    }
    world.come_to_rest();
    // One more event on each channel: whoever is there hears it, and so has no hole behind them.
    for channel in 0..CHANNELS.len() {
        world.publish(0, channel, None);
    }
    world.come_to_rest();
    for (channel, name) in CHANNELS.iter().enumerate() {
        for (number, person) in world.people.iter().enumerate() {
            if person.connection.as_ref().is_some_and(|connection| connection.wanted.contains(&channel)) {
                let last = person.tracks[channel].heard.last().copied();
                assert_eq!(last, Some(world.order[channel].len() - 1), "p{number} on {name}");
            }
        }
    }
    // When everybody has gone and the time is over, nothing is kept.
    for person in 0..PEOPLE {
        world.disconnect(person, Departure::Left);
    }
    world.come_to_rest();
    for _ in 0..4 {
        world.pass(SECS * 1000);
        world.come_to_rest();
    }
    for hub in &world.hubs {
        let census = hub.census();
        assert_eq!((census.channels, census.replaying, census.replay_bytes, census.timers), (0, 0, 0, 0));
    }
    world.shown
}

#[test]
fn whoever_comes_back_hears_all_in_order_once_or_is_told_of_a_gap() {
    let seeds = match crate::number("CAMPANILE_SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..crate::number("CAMPANILE_SIMULATION_SEEDS").unwrap_or(SEEDS),
    };
    let alone = seeds.end - seeds.start == 1;
    let mut all = Shown::default();
    for seed in seeds {
        let shown = std::panic::catch_unwind(|| run(seed));
        let Ok(Shown { replayed, gaps, lost }) = shown else {
            panic!("seed {seed} has failed: CAMPANILE_SIMULATION_SEED={seed} runs it alone");
        };
        all = Shown { replayed: all.replayed + replayed, gaps: all.gaps + gaps, lost: all.lost + lost };
    }
    assert!(alone || (all.replayed > 1000 && all.gaps > 1000 && all.lost > 100), "the runs are too quiet: {all:?}");
}
