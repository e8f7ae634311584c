//! What a channel's home knows of it.
//!
//! Owns the channel's truth: who listens (by worker), its members, what it remembers, which notices wait. Never writes
//! to a socket: it pushes letters and notices into an [`Outbound`]. The invariant: `subscription_succeeded` and every
//! later frame of the channel go to a worker through the same queue, in the order in which they were decided (I1, I2).

use std::sync::Arc;

use bytes::Bytes;
use campanile_protocol::json::DataLiteral;
use campanile_protocol::{ServerFrame, UserId};

use crate::app::App;
use crate::effect::Effect;
use crate::letter::{
    Audience, ChannelInfo, ChannelKey, Departure, Letter, Member, Publication, Purpose, Subscriber, WorkerId,
};
use crate::members::{Due, Full, Joined, Members};
use crate::memory::{Age, Memory};
use crate::notice::{Notice, NoticeKind};
use crate::shared_frame::SharedFrame;
use crate::tally::Tally;
use crate::timers::{Alarm, Moment};

/// How long `channel_vacated` and `member_removed` webhooks wait for a return, in seconds.
pub const NOTICE_GRACE_SECS: u64 = 3;
/// Subscribers who miss a remembered event within so many seconds of the first are one `cache_miss` webhook.
pub const CACHE_MISS_ONCE_IN_SECS: u64 = 3;
/// Up to so many subscribers each change of their number is announced at once.
pub const COUNT_AT_ONCE_MAX: usize = 100;
/// Above that, at most once in so many seconds.
pub const COUNT_EVERY_SECS: u64 = 5;

#[derive(Debug, Clone)]
struct Remembered {
    frame: Bytes,
    data: DataLiteral,
    until: Moment,
    age: Age,
}

/// Where a channel puts what must happen.
#[derive(Debug)]
pub(crate) struct Outbound<'a> {
    pub(crate) app: &'a App,
    pub(crate) now: Moment,
    pub(crate) presence_grace_secs: u64,
    /// Whether somebody may want frames compressed.
    pub(crate) compression: bool,
    pub(crate) effects: &'a mut Vec<Effect>,
    pub(crate) edges: &'a mut u64,
    pub(crate) memory: &'a mut Memory,
}

impl Outbound<'_> {
    fn send(&mut self, to: WorkerId, letter: Letter) {
        self.effects.push(Effect::Send { to, letter });
    }

    fn notify(&mut self, kind: NoticeKind) {
        if self.app.notices.has(&kind) {
            *self.edges += 1;
            self.effects.push(Effect::Notice(Notice { app: Arc::clone(&self.app.id), kind, edge: *self.edges }));
        }
    }

    /// A frame for many.
    fn share(&self, frame: &Bytes) -> SharedFrame {
        if self.compression { SharedFrame::compressible(frame.clone()) } else { frame.clone().into() }
    }

    fn notice_due(&self) -> Moment {
        self.now.after_secs(NOTICE_GRACE_SECS)
    }
}

/// One channel at its home.
#[derive(Debug, Clone, Default)]
pub(crate) struct Channel {
    subscribers: Tally,
    watchers: Tally,
    members: Option<Box<Members>>,
    remembered: Option<Box<Remembered>>,
    vacated_due: Option<Moment>,
    count_due: Option<Moment>,
    counted_at: Option<Moment>,
    missed_at: Option<Moment>,
    /// A signed-in user who vanished counts as online until then.
    offline_due: Option<Moment>,
    /// When this channel will be looked at.
    pub(crate) alarm: Option<Alarm>,
}

impl Channel {
    /// Whether nothing would be lost by forgetting it.
    pub(crate) fn is_idle(&self) -> bool {
        self.subscribers.is_empty()
            && self.watchers.is_empty()
            && self.members.as_ref().is_none_or(|members| members.is_idle())
            && self.remembered.is_none()
            && self.vacated_due.is_none()
            && self.count_due.is_none()
            && self.offline_due.is_none()
    }

    /// When something will be due.
    pub(crate) fn next_due(&self) -> Option<Moment> {
        let members = self.members.as_ref().and_then(|members| members.next_due());
        let remembered = self.remembered.as_ref().map(|remembered| remembered.until);
        // `channel_vacated` waits for the last member, who has a moment of its own.
        let vacated = self.vacated_due.filter(|_| members.is_none());
        [vacated, self.count_due, self.offline_due, members, remembered].into_iter().flatten().min()
    }

    fn deliver(
        &self,
        key: &ChannelKey,
        frame: &Bytes,
        except: Option<campanile_protocol::SocketId>,
        out: &mut Outbound<'_>,
    ) {
        let frame = out.share(frame);
        for worker in self.subscribers.workers() {
            let (key, frame) = (key.clone(), frame.clone());
            out.send(worker, Letter::Deliver { key, frame, except, to: Audience::Subscribers });
        }
    }

    fn succeeded(&mut self, key: &ChannelKey) -> Bytes {
        let snapshot = self.members.as_mut().map(|members| members.snapshot());
        ServerFrame::SubscriptionSucceeded { channel: key.name.as_str(), snapshot: snapshot.as_deref() }.encode()
    }

    pub(crate) fn subscribe(
        &mut self,
        key: &ChannelKey,
        subscriber: Subscriber,
        member: Option<Arc<Member>>,
        purpose: Purpose,
        out: &mut Outbound<'_>,
    ) {
        if purpose == Purpose::Watch {
            self.watchers.add(subscriber.worker);
            let online = !self.subscribers.is_empty() || self.offline_due.is_some();
            let key = key.clone();
            let granted = Letter::Granted { key, subscriber, user: None, purpose, frames: Vec::new(), online };
            return out.send(subscriber.worker, granted);
        }
        let user = member.as_ref().map(|member| member.id.clone());
        let joined = match member.map(|member| self.join_member(key, subscriber, member, out)).transpose() {
            Ok(joined) => joined,
            Err(reason) => {
                let (key, reason) = (key.clone(), reason.into());
                return out.send(subscriber.worker, Letter::Refused { key, subscriber, reason });
            }
        };
        let was_empty = self.subscribers.is_empty();
        self.subscribers.add(subscriber.worker);
        if was_empty {
            self.occupied(key, out);
        }
        if let (Some(Joined::Added { notify: true }), Some(user_id)) = (joined, user.clone()) {
            let (channel, socket_id) = (key.name.clone(), subscriber.socket_id);
            out.notify(NoticeKind::MemberAdded { channel, user_id, socket_id });
        }
        let mut frames = Vec::new();
        if purpose == Purpose::Subscribe {
            frames.push(self.succeeded(key));
            if key.name.kind().cached {
                frames.push(self.remembered_or_miss(key, out));
            }
        }
        out.send(
            subscriber.worker,
            Letter::Granted { key: key.clone(), subscriber, user, purpose, frames, online: true },
        );
        self.count_changed(key, out);
    }

    fn join_member(
        &mut self,
        key: &ChannelKey,
        subscriber: Subscriber,
        member: Arc<Member>,
        out: &mut Outbound<'_>,
    ) -> Result<Joined, String> {
        let limits = &out.app.limits;
        let (members_max, bytes_max) = (limits.presence_members_max, limits.presence_snapshot_bytes_max);
        let members = self.members.get_or_insert_default();
        match members.join(Arc::clone(&member), subscriber, members_max, bytes_max) {
            Ok(joined) => {
                if let Joined::Added { .. } = joined {
                    let (channel, user_id) = (key.name.as_str(), member.id.as_str());
                    let frame = ServerFrame::MemberAdded { channel, user_id, user_info: &member.info }.encode();
                    self.deliver(key, &frame, None, out);
                }
                Ok(joined)
            }
            Err(Full::Members) => {
                Err(format!("channel {} has {} members, as many as it may have", key.name, members.len()))
            }
            Err(Full::Bytes) => {
                Err(format!("the members of channel {} would take more than {bytes_max} bytes to list", key.name))
            }
        }
    }

    fn occupied(&mut self, key: &ChannelKey, out: &mut Outbound<'_>) {
        if let Some(user) = key.name.user() {
            if self.offline_due.take().is_none() {
                self.tell_watchers(key, user, true, out);
            }
        } else if self.vacated_due.take().is_none() {
            out.notify(NoticeKind::ChannelOccupied { channel: key.name.clone() });
        }
    }

    fn tell_watchers(&self, key: &ChannelKey, user: &str, online: bool, out: &mut Outbound<'_>) {
        let user = [user];
        let (online, offline) = if online { (&user[..], &[][..]) } else { (&[][..], &user[..]) };
        let frame = ServerFrame::WatchlistEvents { online, offline }.encode();
        let frame = out.share(&frame);
        for worker in self.watchers.workers() {
            let (key, frame) = (key.clone(), frame.clone());
            out.send(worker, Letter::Deliver { key, frame, except: None, to: Audience::Watchers });
        }
    }

    fn remembered_or_miss(&mut self, key: &ChannelKey, out: &mut Outbound<'_>) -> Bytes {
        match self.remembered.as_ref().filter(|remembered| remembered.until > out.now) {
            Some(remembered) => remembered.frame.clone(),
            None => {
                let told = self.missed_at.is_some_and(|at| out.now < at.after_secs(CACHE_MISS_ONCE_IN_SECS));
                if !told {
                    self.missed_at = Some(out.now);
                    out.notify(NoticeKind::CacheMiss { channel: key.name.clone() });
                }
                ServerFrame::CacheMiss { channel: key.name.as_str() }.encode()
            }
        }
    }

    fn count_changed(&mut self, key: &ChannelKey, out: &mut Outbound<'_>) {
        if !out.app.features.subscription_counts || !key.name.kind().counts_subscriptions() {
            return;
        }
        let waits = self.subscribers.count() > COUNT_AT_ONCE_MAX;
        self.count_due = self.counted_at.map(|at| at.after_secs(COUNT_EVERY_SECS)).filter(|at| waits && *at > out.now);
        if self.count_due.is_none() {
            self.announce_count(key, out);
        }
    }

    fn announce_count(&mut self, key: &ChannelKey, out: &mut Outbound<'_>) {
        let count = self.subscribers.count();
        self.counted_at = Some(out.now);
        let frame = ServerFrame::SubscriptionCount { channel: key.name.as_str(), count }.encode();
        self.deliver(key, &frame, None, out);
        out.notify(NoticeKind::SubscriptionCount { channel: key.name.clone(), count });
    }

    pub(crate) fn resubscribe(&mut self, key: &ChannelKey, subscriber: Subscriber, out: &mut Outbound<'_>) {
        let frame = self.succeeded(key);
        out.send(subscriber.worker, Letter::Restated { key: key.clone(), subscriber, frame });
    }

    pub(crate) fn unsubscribe(
        &mut self,
        key: &ChannelKey,
        subscriber: Subscriber,
        user: Option<&UserId>,
        purpose: &Purpose,
        departure: Departure,
        out: &mut Outbound<'_>,
    ) {
        if *purpose == Purpose::Watch {
            return self.watchers.remove(subscriber.worker);
        }
        self.subscribers.remove(subscriber.worker);
        let returns_until = match departure {
            Departure::Left => None,
            Departure::Vanished => Some(out.now.after_secs(out.presence_grace_secs)),
        };
        if let (Some(user), Some(members)) = (user, &mut self.members) {
            let notice = out.notice_due().max(returns_until.unwrap_or_default());
            if members.leave(user, subscriber, returns_until, notice) {
                self.announce_removal(key, user, out);
            }
        }
        if self.subscribers.is_empty() {
            self.deserted(key, returns_until, out);
        }
        self.count_changed(key, out);
    }

    /// The last subscriber has gone.
    fn deserted(&mut self, key: &ChannelKey, returns_until: Option<Moment>, out: &mut Outbound<'_>) {
        match (key.name.user(), returns_until) {
            (Some(user), None) => self.tell_watchers(key, user, false, out),
            (Some(_), Some(until)) => self.offline_due = Some(until),
            (None, _) => self.vacated_due = Some(out.notice_due()),
        }
    }

    /// A subscription that an earlier life of this home had granted: its client knows, and so do webhooks.
    /// Their number is told with the next change.
    pub(crate) fn restore(&mut self, worker: WorkerId) {
        self.subscribers.add(worker);
    }

    /// A worker has lost its connections: all that it had here have vanished.
    pub(crate) fn forget_worker(&mut self, key: &ChannelKey, worker: WorkerId, out: &mut Outbound<'_>) {
        self.watchers.forget(worker);
        if !self.subscribers.forget(worker) {
            return;
        }
        let returns_until = out.now.after_secs(out.presence_grace_secs);
        if let Some(members) = &mut self.members {
            let notice = out.notice_due().max(returns_until);
            members.forget_worker(worker, returns_until, notice);
        }
        if self.subscribers.is_empty() {
            self.deserted(key, Some(returns_until), out);
        }
        self.count_changed(key, out);
    }

    fn announce_removal(&self, key: &ChannelKey, user: &UserId, out: &mut Outbound<'_>) {
        let frame = ServerFrame::MemberRemoved { channel: key.name.as_str(), user_id: user.as_str() }.encode();
        self.deliver(key, &frame, None, out);
    }

    pub(crate) fn publish(&mut self, key: &ChannelKey, publication: Publication, out: &mut Outbound<'_>) {
        let Publication { frame, except, remember } = publication;
        self.deliver(key, &frame, except, out);
        if let Some(data) = remember {
            let until = out.now.after_secs(out.app.limits.cache_ttl_secs);
            let before = self.remembered.take().map(|remembered| remembered.age);
            let age = out.memory.remember(key, frame.len() + data.as_str().len(), before);
            self.remembered = Some(Box::new(Remembered { frame, data, until, age }));
        }
    }

    pub(crate) fn terminate(&self, key: &ChannelKey, out: &mut Outbound<'_>) {
        for worker in self.subscribers.workers() {
            out.send(worker, Letter::Disconnect { key: key.clone() });
        }
    }

    /// Does what has become due.
    pub(crate) fn look(&mut self, key: &ChannelKey, out: &mut Outbound<'_>) {
        let now = out.now;
        if let Some(members) = &mut self.members {
            let Due { expired, removed } = members.take_due(now);
            for user in &expired {
                self.announce_removal(key, user, out);
            }
            for (user_id, socket_id) in removed {
                out.notify(NoticeKind::MemberRemoved { channel: key.name.clone(), user_id, socket_id });
            }
        }
        let has_members = self.members.as_ref().is_some_and(|members| !members.is_idle());
        if self.vacated_due.take_if(|due| *due <= now && !has_members).is_some() {
            out.notify(NoticeKind::ChannelVacated { channel: key.name.clone() });
        }
        if self.offline_due.take_if(|due| *due <= now).is_some()
            && let Some(user) = key.name.user()
        {
            self.tell_watchers(key, user, false, out);
        }
        // A reload may have switched counts off while this one waited.
        if self.count_due.take_if(|due| *due <= now).is_some() && out.app.features.subscription_counts {
            self.announce_count(key, out);
        }
        if self.remembered.as_ref().is_some_and(|remembered| remembered.until <= now) {
            self.forget(key, out.memory);
        }
    }

    /// Forgets the remembered event.
    pub(crate) fn forget(&mut self, key: &ChannelKey, memory: &mut Memory) {
        if let Some(remembered) = self.remembered.take() {
            memory.forget(key, remembered.age);
        }
    }

    pub(crate) fn is_occupied(&self) -> bool {
        !self.subscribers.is_empty()
    }

    pub(crate) fn info(&self, now: Moment) -> ChannelInfo {
        let remembered = self.remembered.as_ref().filter(|remembered| remembered.until > now);
        let remembered = remembered.map(|r| (r.data.clone(), r.until.millis_since(now).div_ceil(1000)));
        ChannelInfo { remembered, ..self.counts() }
    }

    /// As [`Channel::info`], without what is remembered: copies nothing.
    pub(crate) fn counts(&self) -> ChannelInfo {
        ChannelInfo {
            occupied: self.is_occupied(),
            subscription_count: self.subscribers.count(),
            user_count: self.members.as_ref().map_or(0, |members| members.len()),
            remembered: None,
        }
    }

    pub(crate) fn member_ids(&self) -> Vec<UserId> {
        self.members.as_ref().map(|members| members.ids()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use campanile_protocol::{ChannelName, Limits, SocketId};

    use super::*;
    use crate::app::{AppIndex, Features, NoticeSet};
    use crate::fanout::ConnectionId;

    /// A channel, its app and what it has asked for.
    struct Bench {
        key: ChannelKey,
        app: App,
        channel: Channel,
        memory: Memory,
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
            Self { key, app, channel, memory, effects: Vec::new(), edges: 0 }
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
            };
            work(&mut self.channel, &self.key, &mut out)
        }

        fn subscribe(&mut self, millis: u64, worker: u16, user: Option<&str>) {
            let user = user.map(|id| Arc::new(Member { id: UserId::parse(id, 128).unwrap(), info: "{}".into() }));
            self.at(millis, |channel, key, out| {
                channel.subscribe(key, subscriber(worker), user, Purpose::Subscribe, out);
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
            let publication = Publication { frame: Bytes::from_static(b"frame"), except: None, remember: Some(data) };
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
}
