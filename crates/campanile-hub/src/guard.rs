//! What stops a publisher that has gone wrong: duplicates, floods and loops.
//!
//! Owns what is known of the keys whose home this mind is: windows of what was published, token buckets with what waits
//! for them, breakers. Never reads an event: a request turns it into [`Claim`]s by its app's [`Rules`] and brings them here;
//! it reserves, publishes, and then settles. The invariants: what a request has reserved is committed or released, and
//! once it is released nothing is left of it, so that a repetition is no duplicate; whatever is remembered has its place in
//! [`room`], and what waits is counted, so both have a bound. Reading order: [`rules`] and [`pattern`] (which events are
//! concerned), [`claim`] (what is asked and answered), then `once.rs`, `bucket.rs`, `breaker.rs` (what is known of one key),
//! [`room`] (who is forgotten first) and [`alarm`].

pub mod alarm;
mod breaker;
mod bucket;
pub mod claim;
mod once;
pub mod pattern;
mod room;
pub mod rules;
#[cfg(test)]
mod tests;

use std::mem;

use crate::app::AppIndex;
use crate::guard::bucket::Taken;
use crate::letter::{AskId, ChannelKey, Publication};
use crate::seeded::{Map, Seed};
use crate::timers::{Alarm as Timer, Moment, Timers};

use alarm::Alarms;
use breaker::{Repeats, Surges};
use bucket::Bucket;
use once::Once;
use room::{Place, Room};

pub use alarm::{Alert, AlertKind};
pub use claim::{Claim, Fate, GuardKey, Verdict, Want};
pub use pattern::Pattern;
pub use rules::{Aim, BreakerRule, Cause, DedupeRule, LimitRule, OnExceed, Per, Rate, Rules, Scope, Subject};

/// What is known of one key.
#[derive(Debug, Clone)]
enum State {
    Once(Once),
    Bucket(Bucket),
    Repeats(Repeats),
    Surges(Box<Surges>),
}

impl State {
    /// Until when it says something; `None` while a request or an event waits for it, and it must stay.
    fn until(&self) -> Option<Moment> {
        match self {
            Self::Once(once) => once.until(),
            Self::Bucket(bucket) => bucket.until(),
            Self::Repeats(repeats) => Some(repeats.until()),
            Self::Surges(surges) => Some(surges.until()),
        }
    }
}

#[derive(Debug, Clone)]
struct Entry {
    state: State,
    /// None while it must stay.
    place: Option<Place>,
    /// When the first of what waits may go.
    timer: Option<Timer>,
}

/// What a request has of a key, until it settles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hold {
    Nothing,
    Key,
    Token,
    Counted,
    Slot { bytes: usize },
}

/// What an app's events that wait take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Load {
    events: usize,
    bytes: usize,
}

/// The keys whose home is one mind.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    entries: Map<GuardKey, Entry>,
    room: Room,
    /// By the request that has them, in the order of its claims.
    held: Map<AskId, Vec<(GuardKey, Hold)>>,
    waiting: Map<AppIndex, Load>,
    timers: Timers<GuardKey>,
    alarms: Alarms,
    /// What may go now.
    released: Vec<(ChannelKey, Publication)>,
}

impl Guard {
    /// Without any key. At most `keys_max` are remembered beside those that requests under way have.
    pub(crate) fn new(keys_max: usize, seed: u64) -> Self {
        Self {
            entries: Map::with_hasher(Seed(seed)),
            room: Room::new(keys_max, seed),
            held: Map::with_hasher(Seed(seed)),
            waiting: Map::with_hasher(Seed(seed)),
            timers: Timers::default(),
            alarms: Alarms::default(),
            released: Vec::new(),
        }
    }

    /// A request asks for what its events need: one verdict for each claim. What is granted is the request's, `id`, until
    /// it settles.
    pub(crate) fn weigh(&mut self, claims: &[Claim], rules: &Rules, id: AskId, now: Moment) -> Vec<Verdict> {
        self.expire(now);
        let (verdicts, holds): (Vec<Verdict>, Vec<(GuardKey, Hold)>) = claims
            .iter()
            .map(|claim| {
                let (verdict, hold) = self.claim(claim, rules, id, now);
                if let Some(kind) = AlertKind::of(&claim.want, verdict) {
                    self.alarms.count(claim, kind, rules.alert_after, now);
                }
                self.file(claim.key, now);
                (verdict, (claim.key, hold))
            })
            .unzip();
        if holds.iter().any(|(_, hold)| *hold != Hold::Nothing) {
            self.held.insert(id, holds);
        }
        if let Some(claim) = claims.first() {
            self.alarms.tell_forgotten(claim, now);
        }
        self.bound();
        verdicts
    }

    fn claim(&mut self, claim: &Claim, rules: &Rules, id: AskId, now: Moment) -> (Verdict, Hold) {
        let state = self.entries.get_mut(&claim.key).map(|entry| &mut entry.state);
        match (&claim.want, state) {
            (Want::Once { .. }, Some(State::Once(once))) => (once.again(), Hold::Nothing),
            (Want::Once { window_secs }, _) => {
                self.put(claim.key, State::Once(Once::held(id, *window_secs)));
                (Verdict::Granted, Hold::Key)
            }
            (Want::Token { .. }, Some(State::Bucket(_))) => self.take(claim, rules, now),
            (Want::Token { rate, .. }, _) => {
                self.put(claim.key, State::Bucket(Bucket::full(*rate)));
                self.take(claim, rules, now)
            }
            (Want::Repeat(of), Some(State::Repeats(repeats))) => counted(repeats.count(of, now)),
            (Want::Repeat(of), _) => {
                let mut repeats = Repeats::new(now);
                let verdict = repeats.count(of, now);
                self.put(claim.key, State::Repeats(repeats));
                counted(verdict)
            }
            (Want::Surge(of), Some(State::Surges(surges))) => counted(surges.count(of, now)),
            (Want::Surge(of), _) => {
                let mut surges = Surges::new(now);
                let verdict = surges.count(of, now);
                self.put(claim.key, State::Surges(Box::new(surges)));
                counted(verdict)
            }
        }
    }

    fn take(&mut self, claim: &Claim, rules: &Rules, now: Moment) -> (Verdict, Hold) {
        let Want::Token { rate, on_exceed, bytes, lane } = claim.want else { return (Verdict::Granted, Hold::Nothing) };
        let Some(State::Bucket(bucket)) = self.entries.get_mut(&claim.key).map(|entry| &mut entry.state) else {
            return (Verdict::Granted, Hold::Nothing);
        };
        let wait_secs = match bucket.take(rate, now) {
            Taken::Token => return (Verdict::Granted, Hold::Token),
            Taken::Nothing { wait_secs } => wait_secs,
        };
        let load = self.waiting.entry(claim.key.app).or_default();
        let (verdict, replaced) = match on_exceed {
            OnExceed::Drop => (Verdict::Dropped, None),
            OnExceed::Refuse => (Verdict::Refused { retry_after_secs: wait_secs }, None),
            OnExceed::Defer => (Verdict::Deferred, None),
            OnExceed::Collapse => (Verdict::Collapsed, bucket.bytes_in(lane)),
        };
        // Whoever takes another's place needs no more room than that one frees.
        let (events, freed) = replaced.map_or((load.events + 1, 0), |bytes| (load.events, bytes));
        let has_room = events <= rules.waiting_events_max && load.bytes - freed + bytes <= rules.waiting_bytes_max;
        match verdict {
            Verdict::Deferred | Verdict::Collapsed if has_room => {
                load.events += 1;
                load.bytes += bytes;
                bucket.promise();
                (verdict, Hold::Slot { bytes })
            }
            Verdict::Deferred | Verdict::Collapsed => {
                self.forget_light(claim.key.app);
                (Verdict::Dropped, Hold::Nothing)
            }
            _ => {
                self.forget_light(claim.key.app);
                (verdict, Hold::Nothing)
            }
        }
    }

    /// The request has ended: one fate for each of its claims, in their order.
    pub(crate) fn settle(&mut self, id: AskId, fates: Vec<Fate>, now: Moment) {
        let Some(holds) = self.held.remove(&id) else { return };
        let fates = fates.into_iter().chain(std::iter::repeat_with(|| Fate::Release));
        for ((key, hold), fate) in holds.into_iter().zip(fates) {
            self.settle_one(key, hold, fate, id, now);
            self.file(key, now);
        }
        self.bound();
    }

    fn settle_one(&mut self, key: GuardKey, hold: Hold, fate: Fate, id: AskId, now: Moment) {
        // Where the mind was told of no such key, or has forgotten it since, there is nothing to settle.
        let Some(entry) = self.entries.get_mut(&key) else { return };
        match (hold, &mut entry.state, fate) {
            (Hold::Key, State::Once(once), Fate::Commit) => once.commit(id, now),
            (Hold::Key, State::Once(once), _) if once.is_held_by(id) => self.remove(key),
            (Hold::Token, State::Bucket(bucket), Fate::Release) => bucket.give_back(),
            (Hold::Counted, State::Repeats(repeats), Fate::Release) => repeats.give_back(),
            (Hold::Counted, State::Surges(surges), Fate::Release) => surges.give_back(now),
            (Hold::Slot { bytes }, State::Bucket(bucket), Fate::Wait { channel, publication, lane }) => {
                let freed = bucket.wait(bucket::Late { channel, publication, lane, bytes });
                self.unload(key.app, freed.map_or(0, |_| 1), freed.unwrap_or(0));
            }
            (Hold::Slot { bytes }, State::Bucket(bucket), _) => {
                bucket.break_promise();
                self.unload(key.app, 1, bytes);
            }
            _ => {}
        }
    }

    fn unload(&mut self, app: AppIndex, events: usize, bytes: usize) {
        if let Some(load) = self.waiting.get_mut(&app) {
            load.events -= events;
            load.bytes -= bytes;
        }
        self.forget_light(app);
    }

    fn forget_light(&mut self, app: AppIndex) {
        if self.waiting.get(&app) == Some(&Load::default()) {
            self.waiting.remove(&app);
        }
    }

    /// Does what time has brought: lets go what has waited for its token, forgets what says nothing any more.
    pub(crate) fn due(&mut self, now: Moment) {
        while let Some(key) = self.timers.pop(now) {
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.timer = None;
            }
            while let Some(State::Bucket(bucket)) = self.entries.get_mut(&key).map(|entry| &mut entry.state) {
                let Some(late) = bucket.next_late(now) else { break };
                self.unload(key.app, 1, late.bytes);
                self.released.push((late.channel, late.publication));
            }
            self.file(key, now);
        }
        self.expire(now);
    }

    /// When [`Guard::due`] has something to do next.
    pub(crate) fn next_due(&self) -> Option<Moment> {
        [self.room.next_due(), self.timers.next()].into_iter().flatten().min()
    }

    /// Moves out the events whose time has come.
    pub(crate) fn take_released(&mut self) -> Vec<(ChannelKey, Publication)> {
        mem::take(&mut self.released)
    }

    /// Moves out what somebody should be told.
    pub(crate) fn take_alerts(&mut self) -> Vec<Alert> {
        self.alarms.take()
    }

    /// The rules have changed: what they were called need not be what they are called now.
    pub(crate) fn forget_alarms(&mut self) {
        self.alarms.forget();
    }

    fn put(&mut self, key: GuardKey, state: State) {
        // What kind of rule it is stands in the key, so nothing of another kind is replaced.
        self.entries.insert(key, Entry { state, place: None, timer: None });
    }

    fn remove(&mut self, key: GuardKey) {
        if let Some(mut entry) = self.entries.remove(&key) {
            self.timers.cancel(&mut entry.timer);
            self.room.leave(key, entry.place);
        }
    }

    /// Gives a key its place among those that may be forgotten, and its time.
    fn file(&mut self, key: GuardKey, now: Moment) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        if let State::Bucket(bucket) = &entry.state
            && let Some(at) = bucket.next_token()
        {
            self.timers.no_later_than(at.max(now), &mut entry.timer, || key);
        }
        let until = entry.state.until();
        if until.is_some_and(|until| until <= now) {
            return self.remove(key);
        }
        self.room.leave(key, entry.place.take());
        entry.place = until.map(|until| self.room.enter(key, until));
    }

    fn expire(&mut self, now: Moment) {
        while let Some(key) = self.room.expired(now) {
            self.remove(key);
        }
    }

    /// Forgets what would be forgotten soonest where there are too many.
    fn bound(&mut self) {
        while let Some(key) = self.room.one_too_many() {
            self.remove(key);
            self.alarms.forgot(key.app);
        }
    }

    /// How many keys are known.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many events wait, or are promised to.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.values().map(|load| load.events).sum()
    }
}

fn counted(verdict: Verdict) -> (Verdict, Hold) {
    (verdict, if verdict == Verdict::Granted { Hold::Counted } else { Hold::Nothing })
}
