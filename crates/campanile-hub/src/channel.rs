//! What a channel's home knows of it.
//!
//! Owns the channel's truth: who listens (by worker), its members, what it remembers, which notices wait. Never writes
//! to a socket: it pushes letters and notices into an [`Outbound`]. The invariant: `subscription_succeeded` and every
//! later frame of the channel go to a worker through the same queue, in the order in which they were decided (I1, I2).

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use campanile_protocol::json::DataLiteral;
use campanile_protocol::{Position, ServerFrame, SocketId, UserId};

use crate::app::App;
use crate::effect::Effect;
use crate::letter::{
    Audience, ChannelInfo, ChannelKey, Departure, Letter, Member, Publication, Purpose, Sequel, Subscriber, WorkerId,
};
use crate::members::{Due, Full, Joined, Members};
use crate::memory::{Age, Memory};
use crate::meter::Told;
use crate::notice::{Notice, NoticeKind};
use crate::replay::{Epochs, Gap, Ring};
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
/// However few they are, so many changes are announced within one second, and the last of the others after it: whoever
/// comes and goes without end is told to the others, but not without end.
pub const COUNTS_PER_SEC_MAX: u8 = 100;

#[derive(Debug, Clone)]
struct Remembered {
    frame: Bytes,
    data: DataLiteral,
    until: Moment,
    age: Age,
}

/// What must be sent first to somebody who comes back.
#[derive(Debug, Default)]
struct Missed {
    frames: Vec<Bytes>,
    /// Nothing is missing between what was heard before and what comes next.
    is_all: bool,
}

/// When the number of subscribers was announced, and will be.
#[derive(Debug, Clone, Default)]
struct Counting {
    due: Option<Moment>,
    at: Option<Moment>,
    /// How often in the second of `at`.
    times: u8,
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
    /// What the rings of all channels take.
    pub(crate) rings: &'a mut Memory,
    /// Draws an epoch that no other ring has had.
    pub(crate) epochs: &'a mut Epochs,
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
    /// Where it was ever announced: most apps do not, and have many channels.
    counting: Option<Box<Counting>>,
    missed_at: Option<Moment>,
    /// A signed-in user who vanished counts as online until then.
    offline_due: Option<Moment>,
    /// What it can send again.
    ring: Option<Box<Ring>>,
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
            && self.ring.is_none()
            && self.vacated_due.is_none()
            && self.count_due().is_none()
            && self.offline_due.is_none()
    }

    fn count_due(&self) -> Option<Moment> {
        self.counting.as_ref()?.due
    }

    /// When something will be due.
    pub(crate) fn next_due(&self) -> Option<Moment> {
        let members = self.members.as_ref().and_then(|members| members.next_due());
        let remembered = self.remembered.as_ref().map(|remembered| remembered.until);
        // `channel_vacated` waits for the last member, who has a moment of its own.
        let vacated = self.vacated_due.filter(|_| members.is_none());
        let ring = self.ring.as_ref().and_then(|ring| ring.next_due(self.subscribers.is_empty()));
        [vacated, self.count_due(), self.offline_due, members, remembered, ring].into_iter().flatten().min()
    }

    fn deliver(
        &self,
        key: &ChannelKey,
        frame: &Bytes,
        except: Option<SocketId>,
        sequel: Option<Sequel>,
        told: Told,
        out: &mut Outbound<'_>,
    ) {
        let frame = out.share(frame);
        for worker in self.subscribers.workers() {
            let (key, frame, sequel, told) = (key.clone(), frame.clone(), sequel.clone(), told.clone());
            out.send(worker, Letter::Deliver { key, frame, except, to: Audience::Subscribers, sequel, told });
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
        since: Option<Position>,
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
            let missed = self.missed(key, since, out);
            // Whoever has been sent all has the remembered event, too.
            if key.name.kind().cached && !missed.is_all {
                frames.push(self.remembered_or_miss(key, out));
            }
            frames.extend(missed.frames);
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
                    self.deliver(key, &frame, None, None, Told::MemberAdded, out);
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
            let (to, told) = (Audience::Watchers, Told::WatchlistEvents);
            out.send(worker, Letter::Deliver { key, frame, except: None, to, sequel: None, told });
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

    /// The ring, where the app wants one: its first use makes it, and each keeps it for as long as the app says.
    fn use_ring(&mut self, key: &ChannelKey, out: &mut Outbound<'_>) -> Option<&mut Ring> {
        let replay = &out.app.replay;
        if !replay.covers(&key.name) {
            // A reload may have taken it away.
            self.forget_ring(key, out.rings);
            return None;
        }
        let make = || Box::new(Ring::new(out.epochs.draw(), out.rings.remember(key, 0, None)));
        let ring = self.ring.get_or_insert_with(make);
        ring.touch(replay, out.now);
        ring.expire(out.now);
        Some(ring)
    }

    /// What somebody who has heard the channel up to `since` must be sent before anything new.
    fn missed(&mut self, key: &ChannelKey, since: Option<Position>, out: &mut Outbound<'_>) -> Missed {
        let Some(ring) = self.use_ring(key, out) else { return Missed::default() };
        let channel = key.name.as_str();
        let mut missed = Missed::default();
        if let Some(since) = since {
            match ring.after(since) {
                Ok(frames) => {
                    missed.frames.extend(frames.cloned());
                    missed.is_all = true;
                }
                Err(Gap) => missed.frames.push(ring.gap(channel)),
            }
        }
        missed.frames.push(ServerFrame::ReplayPosition { channel, at: ring.position() }.encode());
        missed
    }

    fn count_changed(&mut self, key: &ChannelKey, out: &mut Outbound<'_>) {
        if !out.app.features.subscription_counts || !key.name.kind().counts_subscriptions() {
            return;
        }
        let counting = self.counting.get_or_insert_default();
        let due = counting.at.map(|at| {
            if self.subscribers.count() > COUNT_AT_ONCE_MAX {
                at.after_secs(COUNT_EVERY_SECS)
            } else if counting.times >= COUNTS_PER_SEC_MAX {
                at.next_second()
            } else {
                at
            }
        });
        counting.due = due.filter(|due| *due > out.now);
        if counting.due.is_none() {
            self.announce_count(key, out);
        }
    }

    fn announce_count(&mut self, key: &ChannelKey, out: &mut Outbound<'_>) {
        let count = self.subscribers.count();
        let counting = self.counting.get_or_insert_default();
        let is_same_second = counting.at.is_some_and(|at| out.now < at.next_second());
        counting.times = if is_same_second { counting.times.saturating_add(1) } else { 1 };
        counting.at = Some(out.now);
        let frame = ServerFrame::SubscriptionCount { channel: key.name.as_str(), count }.encode();
        self.deliver(key, &frame, None, None, Told::SubscriptionCount, out);
        out.notify(NoticeKind::SubscriptionCount { channel: key.name.clone(), count });
    }

    pub(crate) fn resubscribe(&mut self, key: &ChannelKey, subscriber: Subscriber, out: &mut Outbound<'_>) {
        let frame = self.succeeded(key);
        out.send(subscriber.worker, Letter::Restated { key: key.clone(), subscriber, frames: vec![frame] });
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
        if let Some(ring) = &mut self.ring {
            ring.touch(&out.app.replay, out.now);
        }
        match (key.name.user(), returns_until) {
            (Some(user), None) => self.tell_watchers(key, user, false, out),
            (Some(_), Some(until)) => self.offline_due = Some(until),
            // Where nobody is told, nothing waits: names cost nothing to invent.
            (None, _) => self.vacated_due = out.app.notices.has_occupancy().then(|| out.notice_due()),
        }
    }

    /// A subscription that an earlier life of this home had granted: its client knows, and so do webhooks.
    /// Their number is told with the next change. What the earlier life has not sent, nobody can send again.
    pub(crate) fn restore(&mut self, key: &ChannelKey, subscriber: Subscriber, out: &mut Outbound<'_>) {
        self.subscribers.add(subscriber.worker);
        if let Some(ring) = self.use_ring(key, out) {
            let channel = key.name.as_str();
            let position = ServerFrame::ReplayPosition { channel, at: ring.position() }.encode();
            let frames = vec![ring.gap(channel), position];
            out.send(subscriber.worker, Letter::Restated { key: key.clone(), subscriber, frames });
        }
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
        self.deliver(key, &frame, None, None, Told::MemberRemoved, out);
    }

    pub(crate) fn publish(&mut self, key: &ChannelKey, publication: Publication, out: &mut Outbound<'_>) {
        let Publication { event, frame, except, remember, lasting, receipt } = publication;
        let at = if lasting { self.record(key, &frame, out) } else { None };
        let sequel = at.map(Sequel::Position).or(receipt.map(Sequel::Receipt));
        self.deliver(key, &frame, except, sequel, Told::Event(event), out);
        if let Some(data) = remember {
            let until = out.now.after_secs(out.app.limits.cache_ttl_secs);
            let before = self.remembered.take().map(|remembered| remembered.age);
            let age = out.memory.remember(key, frame.len() + data.as_str().len(), before);
            self.remembered = Some(Box::new(Remembered { frame, data, until, age }));
        }
    }

    /// Keeps an event for those who come back. Says how far the channel has come.
    fn record(&mut self, key: &ChannelKey, frame: &Bytes, out: &mut Outbound<'_>) -> Option<Position> {
        let (replay, now) = (&out.app.replay, out.now);
        let ring = self.use_ring(key, out)?;
        ring.push(frame.clone(), replay, now);
        ring.age = out.rings.remember(key, ring.bytes(), Some(ring.age));
        Some(ring.position())
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
        let count_due = self.counting.as_mut().and_then(|counting| counting.due.take_if(|due| *due <= now));
        if count_due.is_some() && out.app.features.subscription_counts {
            self.announce_count(key, out);
        }
        if self.remembered.as_ref().is_some_and(|remembered| remembered.until <= now) {
            self.forget(key, out.memory);
        }
        if let Some(ring) = &mut self.ring {
            if self.subscribers.is_empty() && ring.is_over(now) {
                return self.forget_ring(key, out.rings);
            }
            ring.expire(now);
            // It is no younger for having forgotten: its place stays, what it takes is less.
            out.rings.shrink(key, ring.age, ring.bytes());
        }
    }

    /// Forgets what could be sent again: whoever comes back is told of a gap.
    pub(crate) fn forget_ring(&mut self, key: &ChannelKey, rings: &mut Memory) {
        if let Some(ring) = self.ring.take() {
            rings.forget(key, ring.age);
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
