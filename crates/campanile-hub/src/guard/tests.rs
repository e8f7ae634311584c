//! The guard as requests meet it, with their claims made by hand.

use std::collections::BTreeMap;

use bytes::Bytes;
use campanile_protocol::{ChannelName, EventName};

use super::claim::RepeatOf;
use super::*;
use crate::letter::WorkerId;

const WINDOW_SECS: u64 = 60;

fn id(number: u64) -> AskId {
    AskId { worker: WorkerId(0), number }
}

fn key(app: u32, name: &str) -> GuardKey {
    GuardKey::of(AppIndex(app), [name.as_bytes()])
}

fn claim(key: GuardKey, want: Want) -> Claim {
    let event = EventName::parse("e", 200).unwrap();
    Claim { key, want, rule: "rule".into(), event, channel: ChannelName::parse("c", 164).unwrap() }
}

fn once(name: &str) -> Claim {
    claim(key(0, name), Want::Once { window_secs: WINDOW_SECS })
}

fn token(on_exceed: OnExceed, lane: u8) -> Claim {
    let rate = Rate { events: 1, per_secs: 10, burst: 1 };
    claim(key(0, "bucket"), Want::Token { rate, on_exceed, bytes: 100, lane: [lane; 16] })
}

fn late(text: &'static str, lane: Option<u8>) -> Fate {
    let channel = ChannelKey { app: AppIndex(0), name: ChannelName::parse("c", 164).unwrap() };
    let publication = Publication {
        event: EventName::parse("e", 200).unwrap(),
        frame: Bytes::from_static(text.as_bytes()),
        except: None,
        remember: None,
        lasting: false,
        receipt: None,
    };
    Fate::Wait { channel, publication, lane: lane.map(|lane| [lane; 16]) }
}

/// A guard, and requests that come one after another.
struct Stage {
    guard: Guard,
    rules: Rules,
    requests: u64,
}

impl Stage {
    fn with_room_for(keys_max: usize) -> Self {
        Self { guard: Guard::new(keys_max, 7), rules: Rules::default(), requests: 1000 }
    }

    fn weigh(&mut self, claims: &[Claim], number: u64, now: u64) -> Vec<Verdict> {
        self.guard.weigh(claims, &self.rules, id(number), Moment(now))
    }

    fn settle<const N: usize>(&mut self, number: u64, fates: [Fate; N], now: u64) {
        self.guard.settle(id(number), fates.into(), Moment(now));
    }

    /// A whole request with one claim, which publishes if it may.
    fn publish(&mut self, claim: &Claim, now: u64) -> Verdict {
        self.requests += 1;
        let verdict = self.weigh(std::slice::from_ref(claim), self.requests, now)[0];
        self.settle(self.requests, [Fate::Commit], now);
        verdict
    }

    /// A whole request whose event waits if it must.
    fn send(&mut self, text: &'static str, on_exceed: OnExceed, lane: u8, now: u64) -> Verdict {
        self.requests += 1;
        let verdict = self.weigh(&[token(on_exceed, lane)], self.requests, now)[0];
        let fate = match verdict {
            Verdict::Deferred => late(text, None),
            Verdict::Collapsed => late(text, Some(lane)),
            _ => Fate::Commit,
        };
        self.settle(self.requests, [fate], now);
        verdict
    }

    fn released(&mut self, now: u64) -> Vec<String> {
        self.guard.due(Moment(now));
        let text = |(_, publication): (ChannelKey, Publication)| String::from_utf8(publication.frame.to_vec()).unwrap();
        self.guard.take_released().into_iter().map(text).collect()
    }

    fn is_empty(&self) -> bool {
        self.guard.len() == 0
            && self.guard.held.is_empty()
            && self.guard.waiting.is_empty()
            && self.guard.timers.len() == 0
            && self.guard.next_due().is_none()
    }
}

#[test]
fn the_first_is_published_and_the_rest_of_its_window_are_duplicates() {
    let mut stage = Stage::with_room_for(10);
    assert_eq!(stage.publish(&once("a"), 5), Verdict::Granted);
    assert_eq!(stage.publish(&once("a"), 5), Verdict::Duplicate);
    assert_eq!(stage.publish(&once("b"), 5), Verdict::Granted);
    assert_eq!(stage.publish(&claim(key(1, "a"), once("a").want), 5), Verdict::Granted, "another app's");
    let end = 5 + 1000 * WINDOW_SECS;
    assert_eq!(stage.publish(&once("a"), end - 1), Verdict::Duplicate, "and makes the window no longer");
    assert_eq!(stage.publish(&once("a"), end), Verdict::Granted);
    stage.guard.due(Moment(2 * end));
    assert!(stage.is_empty());
}

#[test]
fn what_was_not_published_is_no_duplicate_when_it_comes_again() {
    let mut stage = Stage::with_room_for(10);
    assert_eq!(stage.weigh(&[once("a")], 1, 0), [Verdict::Granted]);
    assert_eq!(stage.weigh(&[once("a")], 2, 0), [Verdict::InFlight]);
    stage.settle(2, [Fate::Commit], 0);
    assert_eq!(stage.weigh(&[once("a")], 3, 1_000_000), [Verdict::InFlight], "however long it takes");
    stage.settle(1, [Fate::Release], 0);
    assert!(stage.is_empty());
    assert_eq!(stage.weigh(&[once("a")], 4, 0), [Verdict::Granted]);
    stage.settle(1, [Fate::Commit], 0);
    // Fewer fates than claims: the rest are released.
    stage.settle(4, [], 0);
    assert!(stage.is_empty());
}

#[test]
fn a_request_keeps_what_it_was_granted_though_another_of_its_claims_was_not() {
    let mut stage = Stage::with_room_for(10);
    stage.publish(&once("a"), 0);
    let both = [once("a"), once("b"), token(OnExceed::Drop, 0)];
    assert_eq!(stage.weigh(&both, 1, 0), [Verdict::Duplicate, Verdict::Granted, Verdict::Granted]);
    assert_eq!(stage.weigh(&[token(OnExceed::Drop, 0)], 2, 0), [Verdict::Dropped]);
    stage.settle(1, [Fate::Release, Fate::Release, Fate::Release], 0);
    assert_eq!(stage.weigh(&[once("b"), token(OnExceed::Drop, 0)], 3, 0), [Verdict::Granted, Verdict::Granted]);
}

#[test]
fn as_many_keys_are_remembered_as_may_be_and_for_one_more_the_app_with_most_loses_the_one_that_ends_first() {
    let mut stage = Stage::with_room_for(3);
    let other = claim(key(1, "other"), Want::Once { window_secs: 1 });
    assert_eq!(stage.publish(&other, 0), Verdict::Granted);
    for (number, name) in ["a", "b"].into_iter().enumerate() {
        assert_eq!(stage.publish(&once(name), number as u64), Verdict::Granted);
    }
    assert_eq!((stage.publish(&once("a"), 2), stage.guard.len()), (Verdict::Duplicate, 3));
    assert_eq!((stage.publish(&once("c"), 2), stage.guard.len()), (Verdict::Granted, 3));
    // The other app's would have ended first, but it has fewer.
    assert_eq!(stage.publish(&other, 2), Verdict::Duplicate);
    assert_eq!(stage.publish(&once("b"), 2), Verdict::Duplicate);
    assert_eq!(stage.publish(&once("a"), 2), Verdict::Granted, "its window is over too early, and that is told");
    let alerts = stage.guard.take_alerts();
    assert_eq!(
        alerts.iter().map(|alert| (alert.kind, alert.app)).collect::<Vec<_>>(),
        [(AlertKind::Memory, AppIndex(0))]
    );
}

#[test]
fn keys_of_requests_under_way_are_not_forgotten_however_many_there_are() {
    let mut stage = Stage::with_room_for(1);
    let claims: Vec<Claim> = (0..10).map(|number| once(&number.to_string())).collect();
    assert_eq!(stage.weigh(&claims, 1, 0), [Verdict::Granted; 10]);
    assert_eq!(stage.weigh(&claims, 2, 0), [Verdict::InFlight; 10]);
    stage.guard.settle(id(1), vec![Fate::Commit; 10], Moment(0));
    assert_eq!(stage.guard.len(), 1);
}

#[test]
fn what_finds_no_token_is_dropped_or_refused_and_a_token_not_used_is_there_again() {
    let mut stage = Stage::with_room_for(10);
    assert_eq!(stage.send("a", OnExceed::Drop, 0, 0), Verdict::Granted);
    assert_eq!(stage.send("b", OnExceed::Drop, 0, 9_999), Verdict::Dropped);
    assert_eq!(stage.send("c", OnExceed::Refuse, 0, 5_000), Verdict::Refused { retry_after_secs: 5 });
    assert_eq!(stage.weigh(&[token(OnExceed::Drop, 0)], 1, 10_000), [Verdict::Granted]);
    stage.settle(1, [Fate::Release], 10_000);
    assert_eq!(stage.send("d", OnExceed::Drop, 0, 10_000), Verdict::Granted);
    assert_eq!(stage.released(19_999), [""; 0]);
    assert_eq!(stage.guard.len(), 1);
    stage.guard.due(Moment(20_000));
    assert!(stage.is_empty(), "a full bucket says nothing");
}

#[test]
fn what_is_deferred_comes_in_order_one_with_each_token_and_nobody_overtakes_it() {
    let mut stage = Stage::with_room_for(10);
    assert_eq!(stage.send("a", OnExceed::Defer, 0, 0), Verdict::Granted);
    for text in ["b", "c", "d"] {
        assert_eq!(stage.send(text, OnExceed::Defer, 0, 1), Verdict::Deferred);
    }
    assert_eq!((stage.guard.waiting(), stage.guard.next_due()), (3, Some(Moment(10_000))));
    assert_eq!(stage.released(9_999), [""; 0]);
    assert_eq!(stage.released(10_000), ["b"]);
    assert_eq!(stage.send("e", OnExceed::Defer, 0, 20_000), Verdict::Deferred, "c comes first");
    assert_eq!(stage.released(20_000), ["c"]);
    // Whoever looks late finds that no more tokens have come than the burst.
    assert_eq!(stage.released(1_000_000), ["d"]);
    assert_eq!(stage.released(1_010_000), ["e"]);
    stage.guard.due(Moment(1_020_000));
    assert!(stage.is_empty());
}

#[test]
fn as_many_events_wait_as_may_and_one_more_is_dropped() {
    let mut stage = Stage::with_room_for(10);
    (stage.rules.waiting_events_max, stage.rules.waiting_bytes_max) = (2, 1000);
    stage.send("a", OnExceed::Defer, 0, 0);
    assert_eq!(stage.send("b", OnExceed::Defer, 0, 0), Verdict::Deferred);
    // Promised is as good as waiting.
    assert_eq!(stage.weigh(&[token(OnExceed::Defer, 0)], 1, 0), [Verdict::Deferred]);
    assert_eq!(stage.send("d", OnExceed::Defer, 0, 0), Verdict::Dropped);
    stage.settle(1, [Fate::Release], 0);
    assert_eq!(stage.send("e", OnExceed::Defer, 0, 0), Verdict::Deferred);
    assert_eq!(stage.send("f", OnExceed::Defer, 0, 0), Verdict::Dropped);
    assert_eq!(stage.released(10_000), ["b"]);
    assert_eq!(stage.send("g", OnExceed::Defer, 0, 10_000), Verdict::Deferred);
}

#[test]
fn as_many_bytes_wait_as_may_and_one_more_is_dropped() {
    let mut stage = Stage::with_room_for(10);
    (stage.rules.waiting_events_max, stage.rules.waiting_bytes_max) = (10, 200);
    stage.send("a", OnExceed::Defer, 0, 0);
    assert_eq!(stage.send("b", OnExceed::Defer, 0, 0), Verdict::Deferred);
    assert_eq!(stage.send("c", OnExceed::Defer, 0, 0), Verdict::Deferred);
    assert_eq!(stage.send("d", OnExceed::Defer, 0, 0), Verdict::Dropped);
    stage.rules.waiting_bytes_max = 299;
    assert_eq!(stage.send("d", OnExceed::Defer, 0, 0), Verdict::Dropped);
    stage.rules.waiting_bytes_max = 300;
    assert_eq!(stage.send("d", OnExceed::Defer, 0, 0), Verdict::Deferred);
}

#[test]
fn of_what_is_collapsed_the_last_of_each_lane_comes_in_the_place_of_the_first() {
    let mut stage = Stage::with_room_for(10);
    (stage.rules.waiting_events_max, stage.rules.waiting_bytes_max) = (2, 200);
    assert_eq!(stage.send("a", OnExceed::Collapse, 1, 0), Verdict::Granted);
    for (text, lane) in [("b1", 1), ("b2", 2), ("c1", 1), ("d1", 1), ("c2", 2)] {
        assert_eq!(stage.send(text, OnExceed::Collapse, lane, 1), Verdict::Collapsed, "{text}");
    }
    assert_eq!(stage.guard.waiting(), 2);
    assert_eq!(stage.send("x", OnExceed::Collapse, 3, 1), Verdict::Dropped, "there is no room for a third");
    assert_eq!(stage.released(10_000), ["d1"]);
    assert_eq!(stage.released(20_000), ["c2"]);
    stage.guard.due(Moment(30_000));
    assert!(stage.is_empty());
}

#[test]
fn a_breaker_counts_what_was_published_and_opens_with_one_alert() {
    let mut stage = Stage::with_room_for(10);
    let repeat = claim(key(0, "body"), Want::Repeat(RepeatOf { repeats: 3, within_secs: 10, cool_down_secs: 60 }));
    for number in 0..10 {
        assert_eq!(stage.weigh(std::slice::from_ref(&repeat), number, 0), [Verdict::Granted]);
        stage.settle(number, [Fate::Release], 0);
    }
    assert!((0..3).all(|_| stage.publish(&repeat, 0) == Verdict::Granted));
    assert!((0..1000).all(|now| stage.publish(&repeat, now) == Verdict::Dropped));
    let [Alert { kind: AlertKind::Stopped, count: 1, .. }] = stage.guard.take_alerts()[..] else { panic!("one alert") };
    assert_eq!(stage.guard.next_due(), Some(Moment(60_000)));
    stage.guard.due(Moment(60_000));
    assert!(stage.is_empty());
    assert_eq!(stage.publish(&repeat, 60_000), Verdict::Granted);
}

#[test]
fn a_loop_of_duplicates_is_told_once_and_an_honest_repetition_never() {
    let mut stage = Stage::with_room_for(10);
    stage.publish(&once("a"), 0);
    for _ in 0..99 {
        stage.publish(&once("a"), 0);
    }
    assert_eq!(stage.guard.take_alerts(), []);
    for _ in 0..50_000 {
        assert_eq!(stage.publish(&once("a"), 1), Verdict::Duplicate);
    }
    let alerts = stage.guard.take_alerts();
    let [Alert { kind: AlertKind::Duplicates, count: 100, rule, .. }] = &alerts[..] else { panic!("{alerts:?}") };
    assert_eq!(&**rule, "rule");
}

/// Numbers from a seed.
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// A request that has not ended: its number, the keys that it wants, and what it heard of its token.
type UnderWay = (u64, Vec<(String, Verdict)>, Verdict);

/// Any order of requests, ends and time, with a model beside it: when each key was last published, which requests have
/// it, and what waits.
#[test]
fn whatever_comes_no_window_sees_two_no_failure_makes_a_duplicate_and_nothing_is_left() {
    for seed in 0..300 {
        let mut dice = Dice(seed);
        let mut stage = Stage::with_room_for(1000);
        let (mut now, mut number) = (0, 0);
        let mut published: BTreeMap<String, u64> = BTreeMap::new();
        let mut under_way: Vec<UnderWay> = Vec::new();
        let (mut sent, mut heard) = (0, 0);
        for _ in 0..400 {
            match dice.throw(10) {
                0..=4 => {
                    number += 1;
                    let names: Vec<String> =
                        (0..=dice.throw(2)).map(|place| format!("{place}-{}", dice.throw(4))).collect();
                    let mut claims: Vec<Claim> = names.iter().map(|name| once(name)).collect();
                    claims.push(token(OnExceed::Defer, 0));
                    let verdicts = stage.weigh(&claims, number, now);
                    for (name, verdict) in names.iter().zip(&verdicts) {
                        let is_seen = published.get(name).is_some_and(|at| now < at + 1000 * WINDOW_SECS);
                        let is_held = under_way.iter().any(|(_, held, _)| {
                            held.iter().any(|(held, verdict)| held == name && *verdict == Verdict::Granted)
                        });
                        let expected = match (is_held, is_seen) {
                            (true, _) => Verdict::InFlight,
                            (false, true) => Verdict::Duplicate,
                            (false, false) => Verdict::Granted,
                        };
                        assert_eq!(*verdict, expected, "seed {seed}: {name} at {now}");
                    }
                    let token = verdicts[names.len()];
                    under_way.push((number, names.into_iter().zip(verdicts).collect(), token));
                }
                5..=7 if !under_way.is_empty() => {
                    let (number, names, token) = under_way.swap_remove(dice.throw(under_way.len() as u64) as usize);
                    let is_published =
                        dice.throw(3) > 0 && names.iter().all(|(_, verdict)| *verdict == Verdict::Granted);
                    let mut fates = vec![if is_published { Fate::Commit } else { Fate::Release }; names.len() + 1];
                    if is_published {
                        published.extend(names.into_iter().map(|(name, _)| (name, now)));
                        if token == Verdict::Deferred {
                            sent += 1;
                            fates.pop();
                            fates.push(late("x", None));
                        }
                    }
                    stage.guard.settle(id(number), fates, Moment(now));
                }
                _ => {
                    now += dice.throw(30_000);
                    heard += stage.released(now).len();
                }
            }
        }
        for (number, ..) in under_way {
            stage.guard.settle(id(number), Vec::new(), Moment(now));
        }
        while let Some(due) = stage.guard.next_due() {
            now = now.max(due.0);
            heard += stage.released(now).len();
        }
        assert!(stage.is_empty(), "seed {seed}");
        assert_eq!(heard, sent, "seed {seed}: what waits comes, and comes once");
    }
}
