//! Users in a presence channel, and how many connections each has.
//!
//! Owns who is a member. Never announces: its answers say what changed. The invariant: a user is one member however
//! many connections it has, and one who vanished is a member until the grace ends.

use std::collections::BTreeMap;
use std::sync::Arc;

use campanile_protocol::json::push_string;
use campanile_protocol::{SocketId, UserId};

use crate::letter::{Member, Subscriber, WorkerId};
use crate::tally::Tally;
use crate::timers::Moment;

#[derive(Debug)]
struct Entry {
    member: Arc<Member>,
    connections: Tally,
    /// The connection that joined last.
    latest: SocketId,
    /// The user vanished and is removed then, unless it returns.
    held_until: Option<Moment>,
}

/// A presence channel's members.
#[derive(Debug, Default)]
pub(crate) struct Members {
    entries: BTreeMap<UserId, Entry>,
    /// What the members take in the snapshot, which is bounded.
    bytes: usize,
    snapshot: Option<Arc<str>>,
    /// `member_removed` notices that wait, and which connection was the last.
    removals: BTreeMap<UserId, (Moment, SocketId)>,
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
            (entry.latest, entry.held_until) = (subscriber.socket_id, None);
            self.removals.remove(&member.id);
            return Ok(Joined::Again);
        }
        if self.entries.len() >= members_max {
            return Err(Full::Members);
        }
        let bytes = entry_bytes(&member);
        if AROUND_SNAPSHOT_BYTES + self.bytes + bytes > bytes_max {
            return Err(Full::Bytes);
        }
        self.bytes += bytes;
        self.snapshot = None;
        let notify = self.removals.remove(&member.id).is_none();
        let mut connections = Tally::default();
        connections.add(subscriber.worker);
        let entry = Entry { connections, latest: subscriber.socket_id, held_until: None, member };
        self.entries.insert(entry.member.id.clone(), entry);
        Ok(Joined::Added { notify })
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
        self.removals.insert(user.clone(), (notice, subscriber.socket_id));
        if held_until.is_some() {
            entry.held_until = held_until;
            return false;
        }
        self.remove(user);
        true
    }

    /// All connections of a worker have vanished; members who have no other are held.
    pub(crate) fn forget_worker(&mut self, worker: WorkerId, held_until: Moment, notice: Moment) {
        for (user, entry) in &mut self.entries {
            if entry.connections.forget(worker) && entry.connections.is_empty() {
                entry.held_until = Some(held_until);
                self.removals.insert(user.clone(), (notice, entry.latest));
            }
        }
    }

    fn remove(&mut self, user: &UserId) {
        if let Some(entry) = self.entries.remove(user) {
            self.bytes -= entry_bytes(&entry.member);
            self.snapshot = None;
        }
    }

    /// Members whose grace has ended; they are removed.
    pub(crate) fn expire(&mut self, now: Moment) -> Vec<UserId> {
        let ended = |entry: &Entry| entry.held_until.is_some_and(|until| until <= now);
        let expired: Vec<UserId> =
            self.entries.iter().filter(|(_, entry)| ended(entry)).map(|(user, _)| user.clone()).collect();
        for user in &expired {
            self.remove(user);
        }
        expired
    }

    /// Removals whose notice is due.
    pub(crate) fn take_removals(&mut self, now: Moment) -> Vec<(UserId, SocketId)> {
        let entries = &self.entries;
        let due = |user: &UserId, at: Moment| at <= now && !entries.contains_key(user);
        let due: Vec<(UserId, SocketId)> = self
            .removals
            .iter()
            .filter(|(user, (at, _))| due(user, *at))
            .map(|(user, (_, socket))| (user.clone(), *socket))
            .collect();
        for (user, _) in &due {
            self.removals.remove(user);
        }
        due
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
