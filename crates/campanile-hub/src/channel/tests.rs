//! What a channel tells, to whom and when.

use campanile_protocol::{ChannelName, EventName, Limits, SocketId};

use super::*;
use crate::app::{AppIndex, Features, NoticeSet};
use crate::fanout::ConnectionId;

/// A channel, its app and what it has asked for.
struct Bench {
    key: ChannelKey,
    app: App,
    channel: Channel,
    memory: Memory,
    rings: Memory,
    epochs: Epochs,
    effects: Vec<Effect>,
    edges: u64,
}

impl Bench {
    fn new(name: &str) -> Self {
        let key = ChannelKey { app: AppIndex(0), name: ChannelName::parse(name, 164).unwrap() };
        let notices = (0..NoticeKind::NAMES.len()).fold(NoticeSet::default(), |set, bit| set.with(bit as u8));
        let app = App {
            features: Features { subscription_counts: true, ..Features::default() },
            limits: Limits { cache_ttl_secs: 60, ..Limits::default() },
            notices,
            ..App::new("1", "key", "secret")
        };
        let (channel, memory) = (Channel::default(), Memory::default());
        Self {
            key,
            app,
            channel,
            memory,
            rings: Memory::default(),
            epochs: Epochs { seed: 0, drawn: 0 },
            effects: Vec::new(),
            edges: 0,
        }
    }

    fn at<T>(&mut self, millis: u64, work: impl FnOnce(&mut Channel, &ChannelKey, &mut Outbound<'_>) -> T) -> T {
        let mut out = Outbound {
            app: &self.app,
            now: Moment(millis),
            presence_grace_secs: 10,
            compression: false,
            effects: &mut self.effects,
            edges: &mut self.edges,
            memory: &mut self.memory,
            rings: &mut self.rings,
            epochs: &mut self.epochs,
        };
        work(&mut self.channel, &self.key, &mut out)
    }

    fn subscribe(&mut self, millis: u64, worker: u16, user: Option<&str>) {
        let user = user.map(|id| Arc::new(Member { id: UserId::parse(id, 128).unwrap(), info: "{}".into() }));
        self.at(millis, |channel, key, out| {
            channel.subscribe(key, subscriber(worker), user, None, Purpose::Subscribe, out);
        });
    }

    fn unsubscribe(&mut self, millis: u64, worker: u16, user: Option<&str>, departure: Departure) {
        let user = user.map(|id| UserId::parse(id, 128).unwrap());
        self.at(millis, |channel, key, out| {
            channel.unsubscribe(key, subscriber(worker), user.as_ref(), &Purpose::Subscribe, departure, out);
        });
    }

    fn publish(&mut self, millis: u64, data: &str) {
        let data = DataLiteral::from_text(data);
        let publication = Publication {
            event: EventName::parse("told", 200).unwrap(),
            frame: Bytes::from_static(b"frame"),
            except: None,
            remember: Some(data),
            lasting: true,
            receipt: None,
        };
        self.at(millis, |channel, key, out| channel.publish(key, publication, out));
    }

    fn look(&mut self, millis: u64) -> Vec<&'static str> {
        self.effects.clear();
        self.at(millis, |channel, key, out| channel.look(key, out));
        self.notices()
    }

    fn notices(&mut self) -> Vec<&'static str> {
        let told = self.effects.drain(..).filter_map(|effect| match effect {
            Effect::Notice(notice) => Some(notice.kind.name()),
            _ => None,
        });
        told.filter(|name| *name != "subscription_count").collect()
    }

    /// To how many workers frames have gone since the last look.
    fn delivered(&mut self) -> Vec<u16> {
        let delivered = self.effects.drain(..).filter_map(|effect| match effect {
            Effect::Send { to, letter: Letter::Deliver { .. } } => Some(to.0),
            _ => None,
        });
        delivered.collect()
    }
}

fn subscriber(worker: u16) -> Subscriber {
    Subscriber {
        worker: WorkerId(worker),
        connection: ConnectionId { index: 0, generation: 0 },
        token: 0,
        socket_id: SocketId { place: 0, secret: 0 },
    }
}

#[test]
fn a_worker_hears_once_however_many_subscribers_it_has_and_no_more_after_its_last() {
    let mut bench = Bench::new("presence-a");
    for worker in [1, 2, 1] {
        bench.subscribe(0, worker, Some("u"));
    }
    bench.effects.clear();
    bench.publish(0, "x");
    assert_eq!(bench.delivered(), [1, 2]);
    bench.unsubscribe(0, 1, Some("u"), Departure::Left);
    bench.publish(0, "x");
    assert_eq!(bench.delivered(), [1, 2]);
    bench.unsubscribe(0, 1, Some("u"), Departure::Left);
    bench.effects.clear();
    bench.publish(0, "x");
    assert_eq!(bench.delivered(), [2]);
}

#[test]
fn a_channel_is_vacated_three_seconds_after_its_last_subscriber() {
    let mut bench = Bench::new("a");
    bench.subscribe(0, 1, None);
    assert_eq!(bench.notices(), ["channel_occupied"]);
    bench.unsubscribe(0, 1, None, Departure::Vanished);
    assert_eq!(bench.channel.next_due(), Some(Moment(NOTICE_GRACE_SECS * 1000)));
    assert!(bench.look(2999).is_empty() && !bench.channel.is_idle());
    assert_eq!(bench.look(3000), ["channel_vacated"]);
    assert!(bench.channel.is_idle() && bench.channel.next_due().is_none());
}

#[test]
fn a_channel_is_not_vacated_while_a_member_may_return_however_its_last_subscriber_left() {
    let mut bench = Bench::new("presence-a");
    bench.subscribe(0, 1, Some("vanishes"));
    bench.subscribe(0, 1, Some("leaves"));
    bench.unsubscribe(0, 1, Some("vanishes"), Departure::Vanished);
    bench.unsubscribe(1000, 1, Some("leaves"), Departure::Left);
    assert_eq!(bench.channel.next_due(), Some(Moment(4000)));
    assert_eq!(bench.look(4000), ["member_removed"]);
    assert_eq!(bench.channel.next_due(), Some(Moment(10_000)));
    assert!(bench.look(9999).is_empty());
    assert_eq!(bench.look(10_000), ["member_removed", "channel_vacated"]);
    assert!(bench.channel.is_idle() && bench.channel.next_due().is_none());
}

#[test]
fn each_of_several_moments_that_wait_is_looked_at() {
    let mut bench = Bench::new("presence-cache-a");
    bench.publish(0, "x");
    for (at, user) in [(0, "1"), (1000, "2"), (2000, "3")] {
        bench.subscribe(at, 1, Some(user));
        bench.unsubscribe(at, 1, Some(user), Departure::Vanished);
    }
    let mut looks = Vec::new();
    while let Some(due) = bench.channel.next_due() {
        let told = bench.look(due.0);
        looks.push((due.0, told.len()));
    }
    assert_eq!(looks, [(10_000, 1), (11_000, 1), (12_000, 2), (60_000, 0)]);
    assert!(bench.channel.is_idle());
}

#[test]
fn an_event_is_remembered_for_its_time_and_no_longer() {
    let mut bench = Bench::new("cache-a");
    bench.publish(0, "old");
    bench.publish(30_000, "new");
    let remembered =
        |bench: &Bench, at| bench.channel.info(Moment(at)).remembered.map(|(data, ttl)| (data.decode(), ttl));
    assert_eq!(remembered(&bench, 89_999), Some(("new".to_owned(), 1)));
    assert_eq!(remembered(&bench, 90_000), None);
    assert_eq!((bench.memory.len(), bench.channel.next_due()), (1, Some(Moment(90_000))));
    bench.look(60_000);
    assert_eq!(bench.memory.len(), 1);
    bench.look(90_000);
    assert_eq!((bench.memory.len(), bench.memory.bytes(), bench.channel.is_idle()), (0, 0, true));
}

#[test]
fn misses_within_three_seconds_are_told_once() {
    let mut bench = Bench::new("cache-a");
    for (at, told) in [(0, true), (2999, false), (3000, true), (5999, false), (6000, true)] {
        bench.notices();
        bench.subscribe(at, 1, None);
        assert_eq!(bench.notices().contains(&"cache_miss"), told, "{at}");
    }
}

#[test]
fn up_to_a_hundred_every_count_is_announced_and_the_next_waits() {
    let mut bench = Bench::new("a");
    for _ in 0..COUNT_AT_ONCE_MAX {
        bench.effects.clear();
        bench.subscribe(0, 1, None);
        assert_eq!((bench.delivered().len(), bench.channel.next_due()), (1, None));
    }
    bench.subscribe(1, 1, None);
    let due = COUNT_EVERY_SECS * 1000;
    assert_eq!((bench.delivered().len(), bench.channel.next_due()), (0, Some(Moment(due))));
    bench.at(due - 1, |channel, key, out| channel.look(key, out));
    assert_eq!(bench.delivered().len(), 0);
    bench.at(due, |channel, key, out| channel.look(key, out));
    assert_eq!((bench.delivered().len(), bench.channel.next_due()), (1, None));
}

#[test]
fn as_many_changes_are_announced_in_a_second_as_may_be_and_the_last_of_the_others_after_it() {
    let mut bench = Bench::new("a");
    let mut announced = 0;
    for _ in 0..usize::from(COUNTS_PER_SEC_MAX) {
        bench.subscribe(1500, 1, None);
        bench.unsubscribe(1500, 1, None, Departure::Left);
        announced += bench.delivered().len();
    }
    // Where nobody is left there is nobody to tell, but that counts, too.
    assert_eq!(announced, usize::from(COUNTS_PER_SEC_MAX) / 2);
    bench.subscribe(1999, 1, None);
    assert_eq!((bench.delivered().len(), bench.channel.next_due()), (0, Some(Moment(2000))));
    bench.at(2000, |channel, key, out| channel.look(key, out));
    assert_eq!(bench.delivered().len(), 1);
    bench.subscribe(2000, 1, None);
    assert_eq!(bench.delivered().len(), 1);
}

#[test]
fn a_channel_that_nobody_is_told_of_is_forgotten_with_its_last_subscriber() {
    let mut bench = Bench::new("a");
    bench.app.notices = NoticeSet::default();
    bench.subscribe(0, 1, None);
    bench.unsubscribe(0, 1, None, Departure::Vanished);
    assert!(bench.channel.is_idle() && bench.channel.next_due().is_none());
}

#[test]
fn a_count_that_waits_is_not_announced_once_a_reload_has_switched_counts_off() {
    let mut bench = Bench::new("a");
    for _ in 0..=COUNT_AT_ONCE_MAX {
        bench.subscribe(1, 1, None);
    }
    let due = bench.channel.next_due().unwrap();
    bench.app.features.subscription_counts = false;
    bench.effects.clear();
    bench.at(due.0, |channel, key, out| channel.look(key, out));
    assert_eq!((bench.effects.len(), bench.channel.next_due()), (0, None));
}
