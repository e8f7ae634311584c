//! Users in a presence channel, and how many connections each has.
//!
//! Owns who is a member. Never announces: its answers say what changed. The invariant: a user is one member however
//! many connections it has, and one who vanished is a member until the grace ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use campanile_protocol::json::push_string;
use campanile_protocol::{SocketId, UserId};

use crate::letter::{Member, Subscriber, WorkerId};
use crate::tally::Tally;
use crate::timers::Moment;

#[derive(Debug, Clone)]
struct Entry {
    member: Arc<Member>,
    connections: Tally,
    /// The connection that joined last.
    latest: SocketId,
    /// The user vanished and is removed then, unless it returns.
    held_until: Option<Moment>,
}

/// A `member_removed` notice that waits.
#[derive(Debug, Clone)]
struct Removal {
    due: Moment,
    /// The connection that was the user's last.
    socket_id: SocketId,
}

/// A presence channel's members.
#[derive(Debug, Clone, Default)]
pub(crate) struct Members {
    entries: BTreeMap<UserId, Entry>,
    /// What the members take in the snapshot, which is bounded.
    bytes: usize,
    snapshot: Option<Arc<str>>,
    removals: BTreeMap<UserId, Removal>,
    /// When to look at whom: the moments of held entries and of removals.
    due: BTreeSet<(Moment, UserId)>,
}

/// What a join changed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Joined {
    /// The user was a member already.
    Again,
    /// The user is new, and so is the notice, unless one of its removal was still waiting.
    Added {
        /// Whether webhooks should hear of it.
        notify: bool,
    },
}

/// Why a user cannot join.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Full {
    Members,
    Bytes,
}

/// What time has brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    /// Members whose grace has ended: they are no longer.
    pub(crate) expired: Vec<UserId>,
    /// Removals that webhooks should hear of now, and whose connection was the user's last.
    pub(crate) removed: Vec<(UserId, SocketId)>,
}

impl Members {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.entries.is_empty() && self.removals.is_empty()
    }

    pub(crate) fn ids(&self) -> Vec<UserId> {
        self.entries.keys().cloned().collect()
    }

    pub(crate) fn join(
        &mut self,
        member: Arc<Member>,
        subscriber: Subscriber,
        members_max: usize,
        bytes_max: usize,
    ) -> Result<Joined, Full> {
        if let Some(entry) = self.entries.get_mut(&member.id) {
            entry.connections.add(subscriber.worker);
            entry.latest = subscriber.socket_id;
            let held_until = entry.held_until.take();
            self.stop_waiting(&member.id, held_until);
            return Ok(Joined::Again);
        }
        if self.entries.len() >= members_max {
            return Err(Full::Members);
        }
        let bytes = self.bytes + entry_bytes(&member);
        if AROUND_SNAPSHOT_BYTES + bytes > bytes_max {
            return Err(Full::Bytes);
        }
        self.bytes = bytes;
        self.snapshot = None;
        let notify = !self.stop_waiting(&member.id, None);
        let mut connections = Tally::default();
        connections.add(subscriber.worker);
        let entry = Entry { connections, latest: subscriber.socket_id, held_until: None, member };
        self.entries.insert(entry.member.id.clone(), entry);
        Ok(Joined::Added { notify })
    }

    /// The user is back. True: the notice of its removal was still waiting.
    fn stop_waiting(&mut self, user: &UserId, held_until: Option<Moment>) -> bool {
        let removal = self.removals.remove(user);
        for at in held_until.into_iter().chain(removal.as_ref().map(|removal| removal.due)) {
            self.due.remove(&(at, user.clone()));
        }
        removal.is_some()
    }

    /// One of the user's connections has gone. True: the member is removed now.
    pub(crate) fn leave(
        &mut self,
        user: &UserId,
        subscriber: Subscriber,
        held_until: Option<Moment>,
        notice: Moment,
    ) -> bool {
        let Some(entry) = self.entries.get_mut(user) else { return false };
        entry.connections.remove(subscriber.worker);
        if !entry.connections.is_empty() {
            return false;
        }
        entry.held_until = held_until;
        self.wait(user, subscriber.socket_id, held_until, notice);
        if held_until.is_none() {
            self.remove(user);
        }
        held_until.is_none()
    }

    /// All connections of a worker have vanished; members who have no other are held.
    pub(crate) fn forget_worker(&mut self, worker: WorkerId, held_until: Moment, notice: Moment) {
        let mut vanished = Vec::new();
        for (user, entry) in &mut self.entries {
            if entry.connections.forget(worker) && entry.connections.is_empty() {
                entry.held_until = Some(held_until);
                vanished.push((user.clone(), entry.latest));
            }
        }
        for (user, latest) in vanished {
            self.wait(&user, latest, Some(held_until), notice);
        }
    }

    /// The notice of the user's removal waits, and so does the removal itself if the user is held.
    fn wait(&mut self, user: &UserId, socket_id: SocketId, held_until: Option<Moment>, notice: Moment) {
        self.removals.insert(user.clone(), Removal { due: notice, socket_id });
        self.due.extend(held_until.into_iter().chain([notice]).map(|at| (at, user.clone())));
    }

    fn remove(&mut self, user: &UserId) {
        if let Some(entry) = self.entries.remove(user) {
            self.bytes -= entry_bytes(&entry.member);
            self.snapshot = None;
        }
    }

    /// When something will be due.
    pub(crate) fn next_due(&self) -> Option<Moment> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Does what has become due. A removal's notice is never due before the end of the grace.
    pub(crate) fn take_due(&mut self, now: Moment) -> Due {
        let mut happened = Due::default();
        while self.next_due().is_some_and(|at| at <= now) {
            let Some((_, user)) = self.due.pop_first() else { break };
            if self.entries.get(&user).is_some_and(|entry| entry.held_until.is_some_and(|until| until <= now)) {
                self.remove(&user);
                happened.expired.push(user.clone());
            }
            if self.removals.get(&user).is_some_and(|removal| removal.due <= now)
                && let Some(removal) = self.removals.remove(&user)
            {
                happened.removed.push((user, removal.socket_id));
            }
        }
        happened
    }

    /// The JSON that `subscription_succeeded` carries.
    pub(crate) fn snapshot(&mut self) -> Arc<str> {
        let entries = &self.entries;
        Arc::clone(self.snapshot.get_or_insert_with(|| encode(entries)))
    }
}

/// What `subscription_succeeded` takes beside the members: names, the channel's among them, brackets and the count.
const AROUND_SNAPSHOT_BYTES: usize = 512;

/// What a member takes in `subscription_succeeded`, where the list is JSON in a string: twice the id, in `ids` and in
/// `hash`, the info, a colon and two commas.
fn entry_bytes(member: &Member) -> usize {
    let mut id = Vec::new();
    push_string(&mut id, member.id.as_str());
    2 * in_string_bytes(&id) + in_string_bytes(member.info.as_bytes()) + 3
}

/// How long JSON is once it stands in a string: quotes, backslashes and line breaks are escaped.
fn in_string_bytes(json: &[u8]) -> usize {
    json.len() + json.iter().filter(|byte| matches!(byte, b'"' | b'\\' | b'\n' | b'\r' | b'\t')).count()
}

fn encode(entries: &BTreeMap<UserId, Entry>) -> Arc<str> {
    let mut out = format!(r#"{{"presence":{{"count":{},"ids":["#, entries.len()).into_bytes();
    for (at, user) in entries.keys().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push_string(&mut out, user.as_str());
    }
    out.extend_from_slice(br#"],"hash":{"#);
    for (at, (user, entry)) in entries.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        push_string(&mut out, user.as_str());
        out.push(b':');
        out.extend_from_slice(entry.member.info.as_bytes());
    }
    out.extend_from_slice(b"}}}");
    String::from_utf8(out).expect("ids and infos are text").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fanout::ConnectionId;

    const SOCKET: SocketId = SocketId { place: 1, secret: 1 };
    const SUBSCRIBER: Subscriber = Subscriber {
        worker: WorkerId(0),
        connection: ConnectionId { index: 0, generation: 0 },
        token: 1,
        socket_id: SOCKET,
    };
    const ANY: usize = usize::MAX;

    fn user(id: &str) -> UserId {
        UserId::parse(id, 128).unwrap()
    }

    fn member(id: &str) -> Arc<Member> {
        Arc::new(Member { id: user(id), info: r#"{"name":"x"}"#.into() })
    }

    /// Leaves for good at `now`, as the channel asks it to.
    fn leave(members: &mut Members, id: &str, now: u64) -> bool {
        members.leave(&user(id), SUBSCRIBER, None, Moment(now + 3000))
    }

    fn vanish(members: &mut Members, id: &str, until: u64) -> bool {
        members.leave(&user(id), SUBSCRIBER, Some(Moment(until)), Moment(until))
    }

    #[test]
    fn a_channel_holds_as_many_members_as_it_may_and_not_one_more() {
        let mut members = Members::default();
        for id in ["1", "2"] {
            assert_eq!(members.join(member(id), SUBSCRIBER, 2, ANY), Ok(Joined::Added { notify: true }));
        }
        assert_eq!(members.join(member("3"), SUBSCRIBER, 2, ANY), Err(Full::Members));
        assert_eq!(members.join(member("2"), SUBSCRIBER, 2, ANY), Ok(Joined::Again));
        assert!(!leave(&mut members, "2", 0));
        assert!(leave(&mut members, "2", 0));
        assert_eq!(members.join(member("3"), SUBSCRIBER, 2, ANY), Ok(Joined::Added { notify: true }));
    }

    /// What the list takes in `subscription_succeeded`, where it stands in a string.
    fn listed_bytes(members: &mut Members) -> usize {
        let mut text = Vec::new();
        push_string(&mut text, &members.snapshot());
        text.len()
    }

    #[test]
    fn what_each_member_takes_is_counted_to_the_byte() {
        let mut members = Members::default();
        members.join(member("a"), SUBSCRIBER, ANY, ANY).unwrap();
        members.join(member("b"), SUBSCRIBER, ANY, ANY).unwrap();
        for id in ["1", "a quote \" and a backslash \\", "ünïcödé"] {
            let before = listed_bytes(&mut members);
            members.join(member(id), SUBSCRIBER, ANY, ANY).unwrap();
            assert_eq!(listed_bytes(&mut members), before + entry_bytes(&member(id)), "{id}");
            assert!(listed_bytes(&mut members) <= AROUND_SNAPSHOT_BYTES / 2 + members.bytes);
        }
    }

    #[test]
    fn the_list_may_be_as_long_as_the_limit_to_the_byte_and_whoever_leaves_gives_room_back() {
        let (mut members, all) = (Members::default(), AROUND_SNAPSHOT_BYTES + 3 * entry_bytes(&member("1")));
        members.join(member("1"), SUBSCRIBER, ANY, all).unwrap();
        members.join(member("2"), SUBSCRIBER, ANY, all).unwrap();
        assert_eq!(members.join(member("3"), SUBSCRIBER, ANY, all - 1), Err(Full::Bytes));
        assert_eq!(members.join(member("3"), SUBSCRIBER, ANY, all), Ok(Joined::Added { notify: true }));
        assert_eq!(members.join(member("4"), SUBSCRIBER, ANY, all), Err(Full::Bytes));
        assert!(leave(&mut members, "2", 0));
        assert_eq!(members.join(member("4"), SUBSCRIBER, ANY, all), Ok(Joined::Added { notify: true }));
    }

    #[test]
    fn members_of_a_lost_worker_are_held_and_those_who_have_another_are_not() {
        let elsewhere = Subscriber { worker: WorkerId(1), ..SUBSCRIBER };
        let mut members = Members::default();
        members.join(member("1"), SUBSCRIBER, ANY, ANY).unwrap();
        members.join(member("2"), SUBSCRIBER, ANY, ANY).unwrap();
        members.join(member("2"), elsewhere, ANY, ANY).unwrap();
        members.forget_worker(WorkerId(0), Moment(3000), Moment(3000));
        assert_eq!((members.ids().len(), members.next_due()), (2, Some(Moment(3000))));
        let due = members.take_due(Moment(3000));
        assert_eq!(due, Due { expired: vec![user("1")], removed: vec![(user("1"), SOCKET)] });
        assert_eq!((members.ids(), members.next_due()), (vec![user("2")], None));
    }

    #[test]
    fn one_who_vanished_is_a_member_until_the_grace_ends_and_no_longer() {
        let mut members = Members::default();
        members.join(member("1"), SUBSCRIBER, ANY, ANY).unwrap();
        assert!(!vanish(&mut members, "1", 3000));
        assert_eq!((members.next_due(), members.len()), (Some(Moment(3000)), 1));
        assert_eq!(members.take_due(Moment(2999)), Due::default());
        let due = members.take_due(Moment(3000));
        assert_eq!(due, Due { expired: vec![user("1")], removed: vec![(user("1"), SOCKET)] });
        assert_eq!((members.next_due(), members.is_idle()), (None, true));
    }

    #[test]
    fn one_who_returns_within_the_grace_has_never_left() {
        let mut members = Members::default();
        members.join(member("1"), SUBSCRIBER, ANY, ANY).unwrap();
        vanish(&mut members, "1", 3000);
        assert_eq!(members.join(member("1"), SUBSCRIBER, 1, ANY), Ok(Joined::Again));
        assert_eq!((members.next_due(), members.take_due(Moment(9000))), (None, Due::default()));
        assert_eq!(members.ids(), [user("1")]);
    }

    #[test]
    fn each_of_several_who_vanished_is_removed_at_its_own_moment() {
        let mut members = Members::default();
        for (id, until) in [("1", 5000), ("2", 4000), ("3", 6000)] {
            members.join(member(id), SUBSCRIBER, ANY, ANY).unwrap();
            vanish(&mut members, id, until);
        }
        let expired = |members: &mut Members, now| members.take_due(Moment(now)).expired;
        assert_eq!(expired(&mut members, 4500), [user("2")]);
        assert_eq!(expired(&mut members, 6000), [user("1"), user("3")]);
    }

    #[test]
    fn a_notice_of_removal_waits_and_a_return_within_the_wait_is_no_news() {
        let mut members = Members::default();
        members.join(member("1"), SUBSCRIBER, ANY, ANY).unwrap();
        assert!(leave(&mut members, "1", 0));
        assert_eq!((members.len(), members.is_idle()), (0, false));
        assert_eq!(members.take_due(Moment(2999)), Due::default());
        assert_eq!(members.join(member("1"), SUBSCRIBER, ANY, ANY), Ok(Joined::Added { notify: false }));
        assert_eq!(members.take_due(Moment(9000)), Due::default());
        assert!(leave(&mut members, "1", 9000));
        assert_eq!(members.take_due(Moment(12_000)).removed, [(user("1"), SOCKET)]);
        assert_eq!(members.join(member("1"), SUBSCRIBER, ANY, ANY), Ok(Joined::Added { notify: true }));
    }

    #[test]
    fn however_often_a_user_comes_and_goes_at_most_two_moments_wait() {
        let mut members = Members::default();
        for now in 0..1000 {
            members.join(member("1"), SUBSCRIBER, ANY, ANY).unwrap();
            members.leave(&user("1"), SUBSCRIBER, Some(Moment(now + 3000)), Moment(now + 4000));
            assert_eq!(members.due.len(), 2);
        }
    }
}
