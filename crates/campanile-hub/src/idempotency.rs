//! Which requests with a key of their own are under way, and what those that have published were answered.
//!
//! Owns the keys whose home this mind is. Never reads a body, and knows nothing of what was published: a request reserves
//! its key here, publishes, then commits its answer; one that ends without having published releases the key, so that
//! its repetition is no repetition. The invariant: a key under way is forgotten by nobody but by the request that has it,
//! and what an app has been answered is forgotten in the order of answering, when its window is over or room is needed. Where
//! all together take too much, the app that takes the most forgets first, so that one tenant cannot make another's requests
//! publish twice. Read on in [`crate::letter`] for how requests reach a key's home.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use campanile_protocol::{Fingerprint, IdempotencyKey};

use crate::app::AppIndex;
use crate::letter::AskId;
use crate::seeded::{Map, Seed};
use crate::timers::Moment;

/// What a key costs beside its own characters and its answer's body: its entry in the map with the room that the map
/// keeps, its places by age, and what the allocator adds to each.
pub const KEY_OVERHEAD_BYTES: usize = 512;

/// A key of an app's requests.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestKey {
    /// The tenant: keys of two apps never meet.
    pub app: AppIndex,
    /// What the publisher gave the request.
    pub key: IdempotencyKey,
}

/// What bounds the keys of one mind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// How long an answer is repeated, in seconds from when it was given.
    pub window_secs: u64,
    /// Keys of one app.
    pub keys_per_app_max: usize,
    /// What all keys may take: their characters, their answers' bodies, and [`KEY_OVERHEAD_BYTES`] for each.
    pub bytes_max: usize,
}

/// What a request that has published was answered, to be said again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FirstAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Bytes,
    /// What the guard has made of its events; nothing where all were published.
    pub outcome: Bytes,
}

impl FirstAnswer {
    fn len(&self) -> usize {
        self.body.len() + self.outcome.len()
    }
}

/// Why a key is not the request's that came with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unreserved {
    /// The same request was answered this.
    Repeat(FirstAnswer),
    /// The same request is under way.
    InFlight,
    /// Another request came with this key.
    Mismatch,
    /// So many requests with keys are under way that there is no room for one more.
    Full,
}

#[derive(Debug, Clone)]
enum State {
    /// Whose it is.
    InFlight(AskId),
    Answered {
        answer: FirstAnswer,
        until: Moment,
    },
}

#[derive(Debug, Clone)]
struct Entry {
    fingerprint: Fingerprint,
    state: State,
}

/// One app's part.
#[derive(Debug, Clone, Default)]
struct Share {
    in_flight: usize,
    /// The places of the answered ones in the order of answering.
    ages: BTreeSet<u64>,
    /// What all of them take.
    bytes: usize,
}

/// The keys whose home is one mind.
#[derive(Debug, Clone)]
pub(crate) struct Requests {
    limits: RequestLimits,
    keys: Map<RequestKey, Entry>,
    shares: Map<AppIndex, Share>,
    /// The answered ones, the oldest first.
    by_age: BTreeMap<u64, RequestKey>,
    answered: u64,
    bytes: usize,
    bytes_in_flight: usize,
}

fn cost(key: &RequestKey) -> usize {
    key.key.as_str().len() + KEY_OVERHEAD_BYTES
}

impl Requests {
    /// Without any key.
    pub(crate) fn new(limits: RequestLimits, seed: u64) -> Self {
        Self {
            limits,
            keys: Map::with_hasher(Seed(seed)),
            shares: Map::with_hasher(Seed(seed)),
            by_age: BTreeMap::new(),
            answered: 0,
            bytes: 0,
            bytes_in_flight: 0,
        }
    }

    /// A request comes with a key, which is then its own until it commits or releases it. `id` names the request.
    pub(crate) fn reserve(
        &mut self,
        key: RequestKey,
        fingerprint: Fingerprint,
        id: AskId,
        now: Moment,
    ) -> Result<(), Unreserved> {
        self.expire(now);
        match self.keys.get(&key) {
            Some(entry) if entry.fingerprint != fingerprint => Err(Unreserved::Mismatch),
            Some(Entry { state: State::InFlight(_), .. }) => Err(Unreserved::InFlight),
            Some(Entry { state: State::Answered { answer, .. }, .. }) => Err(Unreserved::Repeat(answer.clone())),
            None => self.admit(key, fingerprint, id),
        }
    }

    fn admit(&mut self, key: RequestKey, fingerprint: Fingerprint, id: AskId) -> Result<(), Unreserved> {
        let RequestLimits { keys_per_app_max, bytes_max, .. } = self.limits;
        let bytes = cost(&key);
        let share = self.shares.entry(key.app).or_default();
        // Whether there can be room is known before anything is forgotten for it.
        if share.in_flight >= keys_per_app_max || self.bytes_in_flight + bytes > bytes_max {
            self.drop_empty_share(key.app);
            return Err(Unreserved::Full);
        }
        share.in_flight += 1;
        let over = share.in_flight + share.ages.len() > keys_per_app_max;
        if let Some(oldest) = share.ages.first().copied().filter(|_| over) {
            self.forget(oldest);
        }
        self.bytes += bytes;
        self.bytes_in_flight += bytes;
        self.shares.entry(key.app).or_default().bytes += bytes;
        self.keys.insert(key, Entry { fingerprint, state: State::InFlight(id) });
        self.bound_bytes();
        Ok(())
    }

    /// The request that reserved the key has published, and is answered this.
    pub(crate) fn commit(&mut self, key: &RequestKey, id: AskId, answer: FirstAnswer, now: Moment) {
        let Some(entry) = self.keys.get_mut(key).filter(|entry| entry.is_of(id)) else { return };
        self.answered += 1;
        let age = self.answered;
        let body = answer.len();
        self.bytes += body;
        self.bytes_in_flight -= cost(key);
        entry.state = State::Answered { answer, until: now.after_secs(self.limits.window_secs) };
        let share = self.shares.get_mut(&key.app).expect("an app with a key under way has a share");
        share.in_flight -= 1;
        share.ages.insert(age);
        share.bytes += body;
        self.by_age.insert(age, key.clone());
        self.bound_bytes();
    }

    /// The request that reserved the key has ended without publishing.
    pub(crate) fn release(&mut self, key: &RequestKey, id: AskId) {
        if self.keys.get(key).is_none_or(|entry| !entry.is_of(id)) {
            return;
        }
        self.keys.remove(key);
        self.bytes -= cost(key);
        self.bytes_in_flight -= cost(key);
        let share = self.shares.get_mut(&key.app).expect("an app with a key under way has a share");
        share.in_flight -= 1;
        share.bytes -= cost(key);
        self.drop_empty_share(key.app);
    }

    /// Forgets the answers whose window is over.
    pub(crate) fn expire(&mut self, now: Moment) {
        while self.next_due().is_some_and(|due| due <= now)
            && let Some((&oldest, _)) = self.by_age.first_key_value()
        {
            self.forget(oldest);
        }
    }

    /// When the next answer's window is over.
    pub(crate) fn next_due(&self) -> Option<Moment> {
        let (_, key) = self.by_age.first_key_value()?;
        match self.keys.get(key)?.state {
            State::Answered { until, .. } => Some(until),
            State::InFlight(_) => None,
        }
    }

    fn bound_bytes(&mut self) {
        while self.bytes > self.limits.bytes_max {
            // Of two that take as much, the one whose answer is older.
            let answered = self.shares.values().filter_map(|share| Some((share.bytes, Reverse(*share.ages.first()?))));
            let Some((_, Reverse(oldest))) = answered.max() else { return };
            self.forget(oldest);
        }
    }

    fn forget(&mut self, age: u64) {
        let Some(key) = self.by_age.remove(&age) else { return };
        let mut bytes = cost(&key);
        if let Some(Entry { state: State::Answered { answer, .. }, .. }) = self.keys.remove(&key) {
            bytes += answer.len();
        }
        self.bytes -= bytes;
        if let Some(share) = self.shares.get_mut(&key.app) {
            share.ages.remove(&age);
            share.bytes -= bytes;
        }
        self.drop_empty_share(key.app);
    }

    fn drop_empty_share(&mut self, app: AppIndex) {
        if self.shares.get(&app).is_some_and(|share| share.in_flight == 0 && share.ages.is_empty()) {
            self.shares.remove(&app);
        }
    }

    /// How many keys are known.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// What they take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Entry {
    fn is_of(&self, id: AskId) -> bool {
        matches!(self.state, State::InFlight(of) if of == id)
    }
}

#[cfg(test)]
mod tests {
    use campanile_protocol::signature::SignedQuery;

    use super::*;
    use crate::letter::WorkerId;

    const WINDOW_SECS: u64 = 600;
    const LIMITS: RequestLimits = RequestLimits { window_secs: WINDOW_SECS, keys_per_app_max: 3, bytes_max: 1 << 20 };

    fn key_of(app: u32, key: &str) -> RequestKey {
        RequestKey { app: AppIndex(app), key: IdempotencyKey::parse(key.as_bytes()).unwrap() }
    }

    fn key(key: &str) -> RequestKey {
        key_of(0, key)
    }

    fn asks(body: &str) -> Fingerprint {
        Fingerprint::of("/apps/1/events", &SignedQuery::parse(""), body.as_bytes())
    }

    fn id(number: u64) -> AskId {
        AskId { worker: WorkerId(0), number }
    }

    fn answer(body: &'static str) -> FirstAnswer {
        FirstAnswer { status: 200, body: Bytes::from_static(body.as_bytes()), outcome: Bytes::new() }
    }

    fn requests(limits: RequestLimits) -> Requests {
        Requests::new(limits, 7)
    }

    /// Reserves a key and commits `{}` for it at once.
    fn publish(requests: &mut Requests, key: &RequestKey, now: Moment) {
        assert_eq!(requests.reserve(key.clone(), asks("a"), id(1), now), Ok(()), "{key:?}");
        requests.commit(key, id(1), answer("{}"), now);
    }

    /// What a further request with the key is told, without leaving a trace where it is fresh.
    fn told(requests: &mut Requests, key: &RequestKey, now: Moment) -> Result<(), Unreserved> {
        let told = requests.reserve(key.clone(), asks("a"), id(99), now);
        requests.release(key, id(99));
        told
    }

    #[test]
    fn where_all_take_too_much_the_app_that_takes_the_most_forgets_and_no_other() {
        let large = "x".repeat(1000);
        let mut requests = requests(RequestLimits { keys_per_app_max: 100, bytes_max: 10_000, ..LIMITS });
        publish(&mut requests, &key_of(1, "theirs"), Moment(0));
        for number in 0..50 {
            let key = key_of(2, &format!("k{number}"));
            assert_eq!(requests.reserve(key.clone(), asks("a"), id(1), Moment(1)), Ok(()));
            let answer =
                FirstAnswer { status: 200, body: Bytes::from(large.clone().into_bytes()), outcome: Bytes::new() };
            requests.commit(&key, id(1), answer, Moment(1));
            assert!(requests.bytes() <= 10_000);
        }
        assert_eq!(told(&mut requests, &key_of(1, "theirs"), Moment(2)), Err(Unreserved::Repeat(answer("{}"))));
        assert_eq!(told(&mut requests, &key_of(2, "k0"), Moment(2)), Ok(()));
        assert!(matches!(told(&mut requests, &key_of(2, "k49"), Moment(2)), Err(Unreserved::Repeat(_))));
        requests.expire(Moment(1).after_secs(WINDOW_SECS));
        assert_eq!((requests.len(), requests.bytes(), requests.shares.len()), (0, 0, 0));
    }

    #[test]
    fn the_same_request_is_answered_the_same_again_and_another_with_its_key_is_refused() {
        let mut requests = requests(LIMITS);
        let told_first =
            FirstAnswer { status: 202, body: Bytes::from_static(b"first"), outcome: Bytes::from_static(b"deferred") };
        assert_eq!(requests.reserve(key("k"), asks("a"), id(1), Moment(0)), Ok(()));
        requests.commit(&key("k"), id(1), told_first.clone(), Moment(0));
        for number in 2..5 {
            assert_eq!(
                requests.reserve(key("k"), asks("a"), id(number), Moment(0)),
                Err(Unreserved::Repeat(told_first.clone()))
            );
        }
        assert_eq!(requests.reserve(key("k"), asks("b"), id(5), Moment(0)), Err(Unreserved::Mismatch));
        assert_eq!(requests.reserve(key("K"), asks("a"), id(6), Moment(0)), Ok(()));
    }

    #[test]
    fn while_a_request_is_under_way_its_repetition_waits_and_another_request_is_refused() {
        let mut requests = requests(LIMITS);
        assert_eq!(requests.reserve(key("k"), asks("a"), id(1), Moment(0)), Ok(()));
        // However long it takes.
        let late = Moment(0).after_secs(10 * WINDOW_SECS);
        assert_eq!(requests.reserve(key("k"), asks("a"), id(2), late), Err(Unreserved::InFlight));
        assert_eq!(requests.reserve(key("k"), asks("b"), id(3), late), Err(Unreserved::Mismatch));
        assert_eq!(requests.next_due(), None);
    }

    #[test]
    fn a_request_that_has_published_nothing_leaves_its_key_as_new() {
        let mut requests = requests(LIMITS);
        assert_eq!(requests.reserve(key("k"), asks("a"), id(1), Moment(0)), Ok(()));
        requests.release(&key("k"), id(1));
        assert_eq!((requests.len(), requests.bytes(), requests.shares.len()), (0, 0, 0));
        assert_eq!(requests.reserve(key("k"), asks("b"), id(2), Moment(0)), Ok(()));
    }

    #[test]
    fn only_the_request_that_has_a_key_commits_or_releases_it() {
        let mut requests = requests(LIMITS);
        assert_eq!(requests.reserve(key("k"), asks("a"), id(1), Moment(0)), Ok(()));
        requests.release(&key("k"), id(2));
        requests.commit(&key("k"), AskId { worker: WorkerId(1), number: 1 }, answer("no"), Moment(0));
        assert_eq!(requests.reserve(key("k"), asks("a"), id(3), Moment(0)), Err(Unreserved::InFlight));
        requests.commit(&key("k"), id(1), answer("yes"), Moment(0));
        requests.release(&key("k"), id(1));
        requests.commit(&key("k"), id(1), answer("no"), Moment(0));
        assert_eq!(told(&mut requests, &key("k"), Moment(0)), Err(Unreserved::Repeat(answer("yes"))));
        requests.commit(&key("unknown"), id(1), answer("no"), Moment(0));
        assert_eq!(requests.len(), 1);
    }

    #[test]
    fn an_answer_is_repeated_within_its_window_and_no_longer() {
        let mut requests = requests(LIMITS);
        publish(&mut requests, &key("k"), Moment(5));
        let end = Moment(5).after_secs(WINDOW_SECS);
        assert_eq!(requests.next_due(), Some(end));
        assert_eq!(told(&mut requests, &key("k"), Moment(end.0 - 1)), Err(Unreserved::Repeat(answer("{}"))));
        assert_eq!(told(&mut requests, &key("k"), end), Ok(()));
        assert_eq!((requests.len(), requests.bytes(), requests.next_due()), (0, 0, None));
    }

    #[test]
    fn a_repetition_does_not_make_the_window_longer() {
        let mut requests = requests(LIMITS);
        publish(&mut requests, &key("k"), Moment(0));
        let end = Moment(0).after_secs(WINDOW_SECS);
        assert_eq!(told(&mut requests, &key("k"), Moment(end.0 - 1)), Err(Unreserved::Repeat(answer("{}"))));
        requests.expire(end);
        assert_eq!(requests.len(), 0);
    }

    #[test]
    fn an_app_has_as_many_keys_as_it_may_and_the_oldest_answered_is_forgotten_for_one_more() {
        let mut requests = requests(LIMITS);
        for name in ["a", "b", "c"] {
            publish(&mut requests, &key(name), Moment(0));
        }
        assert_eq!(requests.len(), 3);
        for name in ["a", "b", "c"] {
            assert_eq!(told(&mut requests, &key(name), Moment(0)), Err(Unreserved::Repeat(answer("{}"))), "{name}");
        }
        publish(&mut requests, &key("d"), Moment(0));
        assert_eq!(requests.len(), 3);
        for name in ["b", "c", "d"] {
            assert_eq!(told(&mut requests, &key(name), Moment(0)), Err(Unreserved::Repeat(answer("{}"))), "{name}");
        }
        // Another app's keys have nothing to do with it.
        publish(&mut requests, &key_of(1, "b"), Moment(0));
        assert_eq!(told(&mut requests, &key("b"), Moment(0)), Err(Unreserved::Repeat(answer("{}"))));
        assert_eq!(requests.len(), 4);
    }

    #[test]
    fn a_key_under_way_is_never_forgotten_and_where_all_are_one_more_has_no_room() {
        let mut requests = requests(LIMITS);
        for (number, name) in ["a", "b"].into_iter().enumerate() {
            assert_eq!(requests.reserve(key(name), asks("a"), id(number as u64), Moment(0)), Ok(()));
        }
        publish(&mut requests, &key("c"), Moment(0));
        assert_eq!(requests.reserve(key("d"), asks("a"), id(3), Moment(0)), Ok(()));
        assert_eq!(requests.len(), 3, "the answered one has made room");
        assert_eq!(requests.reserve(key("e"), asks("a"), id(4), Moment(0)), Err(Unreserved::Full));
        assert_eq!(requests.reserve(key("a"), asks("a"), id(4), Moment(0)), Err(Unreserved::InFlight));
        assert_eq!(requests.reserve(key_of(1, "e"), asks("a"), id(4), Moment(0)), Ok(()));
        requests.release(&key("b"), id(1));
        assert_eq!(requests.reserve(key("e"), asks("a"), id(5), Moment(0)), Ok(()));
    }

    #[test]
    fn all_keys_take_as_many_bytes_as_they_may_and_one_more_makes_the_oldest_forgotten() {
        let each = 1 + 2 + KEY_OVERHEAD_BYTES;
        let mut limits = RequestLimits { keys_per_app_max: 100, bytes_max: 3 * each, ..LIMITS };
        for (spare, remembered) in [(0, true), (1, false)] {
            limits.bytes_max = 3 * each - spare;
            let mut requests = requests(limits);
            for app in 0..3 {
                publish(&mut requests, &key_of(app, "k"), Moment(0));
            }
            assert_eq!(requests.bytes() == 3 * each, remembered);
            assert_eq!(requests.keys.contains_key(&key_of(0, "k")), remembered);
            assert!(requests.keys.contains_key(&key_of(2, "k")));
        }
    }

    #[test]
    fn keys_under_way_take_as_many_bytes_as_all_may_and_no_more() {
        let each = 1 + KEY_OVERHEAD_BYTES;
        let mut requests = requests(RequestLimits { keys_per_app_max: 100, bytes_max: 2 * each, ..LIMITS });
        publish(&mut requests, &key_of(3, "z"), Moment(0));
        for app in 0..2 {
            assert_eq!(requests.reserve(key_of(app, "k"), asks("a"), id(app.into()), Moment(0)), Ok(()));
        }
        assert_eq!((requests.len(), requests.bytes()), (2, 2 * each));
        assert_eq!(requests.reserve(key_of(2, "k"), asks("a"), id(2), Moment(0)), Err(Unreserved::Full));
        assert_eq!(requests.shares.len(), 2, "whoever was refused leaves nothing behind");
        // An answer that finds no room is not kept, and the other key stays under way.
        requests.commit(&key_of(0, "k"), id(0), answer("{}"), Moment(0));
        assert_eq!((requests.len(), requests.bytes()), (1, each));
        assert_eq!(requests.reserve(key_of(1, "k"), asks("a"), id(3), Moment(0)), Err(Unreserved::InFlight));
        requests.release(&key_of(1, "k"), id(1));
        assert_eq!((requests.len(), requests.bytes(), requests.bytes_in_flight, requests.shares.len()), (0, 0, 0, 0));
    }
}
