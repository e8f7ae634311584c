//! What must hold, written as plainly as possible: who is in which channel, and what each must hear.
//!
//! Owns the truth as the clients' acts and the order of arrival at the homes make it. Never looks into a mind. The
//! invariant: each seat has the list of frames that it must still get, written at the moment of the home's decision.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub(crate) const GRACE_MILLIS: u64 = 5000;
pub(crate) const NOTICE_MILLIS: u64 = 3000;
pub(crate) const CACHE_MILLIS: u64 = 20_000;
pub(crate) const MEMBERS_MAX: usize = 2;
pub(crate) const CHANNELS_MAX: usize = 4;

pub(crate) type SeatId = usize;

/// A channel of an app: `0/private-a`.
pub(crate) type Key = String;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Subscribe,
    Signin,
    Watch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Pending,
    Joined,
    Gone,
}

/// One connection's place in one channel, from its request to its end.
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    pub(crate) client: usize,
    pub(crate) key: Key,
    pub(crate) purpose: Purpose,
    pub(crate) user: Option<String>,
    /// As the connection's worker sees it.
    pub(crate) stage: Stage,
    /// As the home sees it.
    pub(crate) at_home: bool,
    /// What the connection must still hear of the channel, in order.
    pub(crate) expected: VecDeque<String>,
    /// What a watcher must still hear of its user: online or not.
    pub(crate) states: VecDeque<bool>,
    /// Repeated requests that are acknowledged at once.
    pub(crate) acknowledgements: usize,
    /// The home has refused it.
    pub(crate) refused: bool,
}

#[derive(Debug, Clone, Default)]
struct MemberRecord {
    seats: BTreeSet<SeatId>,
    held_until: Option<u64>,
    info: usize,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct ChannelRecord {
    pub(crate) subscribers: BTreeSet<SeatId>,
    watchers: BTreeSet<SeatId>,
    members: BTreeMap<String, MemberRecord>,
    remembered: Option<(String, String, u64)>,
    offline_at: Option<u64>,
    empty_since: u64,
    absent_since: BTreeMap<String, u64>,
    told_occupied: bool,
    told_members: BTreeSet<String>,
    told_miss: Option<u64>,
    /// Its home was lost: what webhooks were told before may be told again or never be taken back.
    unknown: bool,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    pub(crate) seats: Vec<Seat>,
    pub(crate) channels: BTreeMap<Key, ChannelRecord>,
    /// The numbers that webhooks must still be told of each channel, in order.
    pub(crate) counts: BTreeMap<Key, VecDeque<usize>>,
}

/// The name without the app.
pub(crate) fn name(key: &str) -> &str {
    key.split_once('/').map_or(key, |(_, name)| name)
}

pub(crate) fn is_presence(key: &str) -> bool {
    name(key).starts_with("presence-")
}

fn is_cached(key: &str) -> bool {
    name(key).contains("cache-")
}

pub(crate) fn user_of(key: &str) -> Option<&str> {
    name(key).strip_prefix("#server-to-user-")
}

/// A JSON string that holds this text.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("text is JSON")
}

pub(crate) fn event(event: &str, key: &str, data: &str) -> String {
    format!(r#"{{"event":"{event}","channel":"{}","data":{}}}"#, name(key), quoted(data))
}

pub(crate) fn succeeded(key: &str) -> String {
    event("pusher_internal:subscription_succeeded", key, "{}")
}

pub(crate) fn error(code: Option<u16>, message: &str, channel: Option<&str>) -> String {
    let code = code.map_or("null".to_owned(), |code| code.to_string());
    let channel = channel.map_or(String::new(), |channel| format!(r#","channel":"{channel}""#));
    format!(r#"{{"event":"pusher:error","data":{{"code":{code},"message":{}}}{channel}}}"#, quoted(message))
}

/// The two frames of a refused subscription.
pub(crate) fn refusal(kind: &str, status: u16, message: &str, key: &str) -> [String; 2] {
    let (channel, text) = (name(key), quoted(message));
    let refused = format!(
        r#"{{"event":"pusher:subscription_error","channel":"{channel}","data":{{"type":"{kind}","error":{text},"status":{status}}}}}"#
    );
    [refused, error(None, message, Some(channel))]
}

pub(crate) fn user_data(user: &str, watchlist: &[String]) -> String {
    format!(r#"{{"id":"{user}","user_info":{{}},"watchlist":{}}}"#, serde_json::to_string(watchlist).expect("strings"))
}

pub(crate) fn signin_success(user_data: &str) -> String {
    let data = format!(r#"{{"user_data":{}}}"#, quoted(user_data));
    format!(r#"{{"event":"pusher:signin_success","data":{}}}"#, quoted(&data))
}

impl Model {
    /// A connection asks for a channel.
    pub(crate) fn request(&mut self, client: usize, key: &str, purpose: Purpose, user: Option<&str>) -> SeatId {
        self.seats.push(Seat {
            client,
            key: key.to_owned(),
            purpose,
            user: user.map(str::to_owned),
            stage: Stage::Pending,
            at_home: false,
            expected: VecDeque::new(),
            states: VecDeque::new(),
            acknowledgements: 0,
            refused: false,
        });
        self.seats.len() - 1
    }

    /// The connection's seat in a channel, unless it has left.
    pub(crate) fn seat(&self, client: usize, key: &str, watching: bool) -> Option<SeatId> {
        let mine = |seat: &Seat| {
            seat.client == client
                && seat.key == key
                && (seat.purpose == Purpose::Watch) == watching
                && seat.stage != Stage::Gone
        };
        self.seats.iter().rposition(mine)
    }

    /// The channels that the client has asked for and not left.
    pub(crate) fn subscriptions(&self, client: usize) -> usize {
        let mine =
            |seat: &&Seat| seat.client == client && seat.purpose == Purpose::Subscribe && seat.stage != Stage::Gone;
        self.seats.iter().filter(mine).count()
    }

    fn tell(&mut self, key: &str, frame: &str, except: Option<usize>) {
        for seat in self.channels[key].subscribers.clone() {
            if except != Some(self.seats[seat].client) {
                self.seats[seat].expected.push_back(frame.to_owned());
            }
        }
    }

    fn tell_watchers(&mut self, key: &str, online: bool) {
        for seat in self.channels[key].watchers.clone() {
            self.seats[seat].states.push_back(online);
        }
    }

    fn snapshot(&self, key: &str) -> String {
        let members = &self.channels[key].members;
        let ids: Vec<String> = members.keys().map(|id| quoted(id)).collect();
        let hash: Vec<String> =
            members.iter().map(|(id, member)| format!(r#"{}:{{"tab":{}}}"#, quoted(id), member.info)).collect();
        format!(
            r#"{{"presence":{{"count":{},"ids":[{}],"hash":{{{}}}}}}}"#,
            members.len(),
            ids.join(","),
            hash.join(",")
        )
    }

    fn acknowledgement(&self, key: &str) -> String {
        let data = if is_presence(key) { self.snapshot(key) } else { "{}".to_owned() };
        event("pusher_internal:subscription_succeeded", key, &data)
    }

    /// The home takes a subscription. `user_data` is the sign-in's, if it is one.
    pub(crate) fn home_subscribe(&mut self, seat: SeatId, success: Option<String>, now: u64) {
        let (key, purpose, client) = (self.seats[seat].key.clone(), self.seats[seat].purpose, self.seats[seat].client);
        let user = self.seats[seat].user.clone();
        let channel = self.channels.entry(key.clone()).or_default();
        self.seats[seat].at_home = true;
        if purpose == Purpose::Watch {
            channel.watchers.insert(seat);
            let online = !channel.subscribers.is_empty() || channel.offline_at.is_some();
            self.seats[seat].states.push_back(online);
            return;
        }
        if let Some(user) = user {
            if let Some(member) = channel.members.get_mut(&user) {
                member.seats.insert(seat);
                member.held_until = None;
            } else if channel.members.len() == MEMBERS_MAX {
                let message = format!("channel {} has {MEMBERS_MAX} members, as many as it may have", name(&key));
                (self.seats[seat].refused, self.seats[seat].at_home) = (true, false);
                self.seats[seat].expected.extend(refusal("LimitReached", 403, &message, &key));
                return;
            } else {
                let record = MemberRecord { seats: BTreeSet::from([seat]), held_until: None, info: client };
                channel.members.insert(user.clone(), record);
                let data = format!(r#"{{"user_id":"{user}","user_info":{{"tab":{client}}}}}"#);
                self.tell(&key, &event("pusher_internal:member_added", &key, &data), None);
            }
        }
        let channel = self.channels.get_mut(&key).expect("it has just been used");
        let was_empty = channel.subscribers.is_empty();
        channel.subscribers.insert(seat);
        let back = channel.offline_at.take().is_some();
        if user_of(&key).is_some() && was_empty && !back {
            self.tell_watchers(&key, true);
        }
        let first = success.unwrap_or_else(|| self.acknowledgement(&key));
        self.seats[seat].expected.push_back(first);
        if purpose == Purpose::Subscribe && is_cached(&key) {
            let remembered = self.remembered(&key, now).map(|(frame, ..)| frame);
            let second = remembered.unwrap_or_else(|| event("pusher:cache_miss", &key, "{}"));
            self.seats[seat].expected.push_back(second);
        }
        self.count_changed(&key);
    }

    fn count_changed(&mut self, key: &str) {
        if !is_presence(key) && user_of(key).is_none() {
            let count = self.channels[key].subscribers.len();
            if key.starts_with("0/") {
                self.counts.entry(key.to_owned()).or_default().push_back(count);
            }
            let data = format!(r#"{{"subscription_count":{count}}}"#);
            self.tell(key, &event("pusher_internal:subscription_count", key, &data), None);
        }
    }

    /// The home is asked for the state again.
    pub(crate) fn home_resubscribe(&mut self, seat: SeatId) {
        let again = self.acknowledgement(&self.seats[seat].key);
        self.seats[seat].expected.push_back(again);
    }

    /// The home takes the end of a subscription. False: there was none.
    pub(crate) fn home_unsubscribe(&mut self, seat: SeatId, vanished: bool, now: u64) -> bool {
        let key = self.seats[seat].key.clone();
        if !std::mem::replace(&mut self.seats[seat].at_home, false) {
            return false;
        }
        let user = self.seats[seat].user.clone();
        let channel = self.channels.get_mut(&key).expect("a seat at home has a channel");
        if channel.watchers.remove(&seat) {
            return true;
        }
        channel.subscribers.remove(&seat);
        let empty = channel.subscribers.is_empty();
        if empty {
            channel.empty_since = now;
        }
        if let Some(user) = user {
            let member = channel.members.get_mut(&user).expect("a subscriber is a member");
            member.seats.remove(&seat);
            if member.seats.is_empty() {
                channel.absent_since.insert(user.clone(), now);
                if vanished {
                    member.held_until = Some(now + GRACE_MILLIS);
                } else {
                    channel.members.remove(&user);
                    self.tell_removed(&key, &user);
                }
            }
        }
        if user_of(&key).is_some() && empty {
            if vanished {
                self.channels.get_mut(&key).expect("it is there").offline_at = Some(now + GRACE_MILLIS);
            } else {
                self.tell_watchers(&key, false);
            }
        }
        self.count_changed(&key);
        true
    }

    fn tell_removed(&mut self, key: &str, user: &str) {
        let data = format!(r#"{{"user_id":"{user}"}}"#);
        self.tell(key, &event("pusher_internal:member_removed", key, &data), None);
    }

    /// A worker has lost its mind: the homes that `is_there` names know nothing any more.
    pub(crate) fn home_lost(&mut self, is_there: impl Fn(&str) -> bool) {
        for (key, channel) in self.channels.iter_mut().filter(|(key, _)| is_there(key)) {
            *channel = ChannelRecord { unknown: true, ..ChannelRecord::default() };
            for seat in self.seats.iter_mut().filter(|seat| seat.key == *key) {
                seat.at_home = false;
            }
        }
    }

    /// A home hears that all these connections have vanished at once.
    pub(crate) fn home_forget(&mut self, gone: &BTreeSet<SeatId>, key: &str, now: u64) {
        let Some(channel) = self.channels.get_mut(key) else { return };
        channel.watchers.retain(|seat| !gone.contains(seat));
        let before = channel.subscribers.len();
        channel.subscribers.retain(|seat| !gone.contains(seat));
        if channel.subscribers.len() == before {
            return;
        }
        let empty = channel.subscribers.is_empty();
        if empty {
            channel.empty_since = now;
        }
        for (user, member) in &mut channel.members {
            let had = member.seats.len();
            member.seats.retain(|seat| !gone.contains(seat));
            if member.seats.len() < had && member.seats.is_empty() {
                member.held_until = Some(now + GRACE_MILLIS);
                channel.absent_since.insert(user.clone(), now);
            }
        }
        if user_of(key).is_some() && empty {
            channel.offline_at = Some(now + GRACE_MILLIS);
        }
        self.count_changed(key);
    }

    /// A home that has lost its mind hears of a subscription that it had granted.
    pub(crate) fn home_restore(&mut self, seat: SeatId) {
        let key = self.seats[seat].key.clone();
        self.seats[seat].at_home = true;
        self.channels.entry(key).or_default().subscribers.insert(seat);
    }

    /// The home takes an event.
    pub(crate) fn home_publish(&mut self, key: &str, frame: &str, data: Option<&str>, except: Option<usize>, now: u64) {
        self.channels.entry(key.to_owned()).or_default();
        self.tell(key, frame, except);
        if let (true, Some(data)) = (is_cached(key), data) {
            let until = now + CACHE_MILLIS;
            self.channels.get_mut(key).expect("it is there").remembered =
                Some((frame.to_owned(), data.to_owned(), until));
        }
    }

    /// The homes that `is_here` names have looked at what is due.
    pub(crate) fn home_due(&mut self, now: u64, is_here: impl Fn(&str) -> bool) {
        let keys: Vec<Key> = self.channels.keys().filter(|key| is_here(key)).cloned().collect();
        for key in keys {
            let channel = self.channels.get_mut(&key).expect("it is there");
            let ended = |member: &MemberRecord| member.held_until.filter(|until| *until <= now);
            let mut expired: Vec<(u64, String)> =
                channel.members.iter().filter_map(|(user, member)| Some((ended(member)?, user.clone()))).collect();
            expired.sort();
            let offline = channel.offline_at.take_if(|at| *at <= now).is_some();
            for (_, user) in expired {
                self.channels.get_mut(&key).expect("it is there").members.remove(&user);
                self.tell_removed(&key, &user);
            }
            if offline {
                self.tell_watchers(&key, false);
            }
        }
    }

    pub(crate) fn remembered(&self, key: &str, now: u64) -> Option<(String, String, u64)> {
        self.channels.get(key)?.remembered.clone().filter(|(_, _, until)| *until > now)
    }

    pub(crate) fn subscribers(&self, key: &str) -> usize {
        self.channels.get(key).map_or(0, |channel| channel.subscribers.len())
    }

    pub(crate) fn members(&self, key: &str) -> Vec<String> {
        self.channels.get(key).map_or(Vec::new(), |channel| channel.members.keys().cloned().collect())
    }

    /// Webhooks cannot be expected to know this channel's state.
    pub(crate) fn forget_told(&mut self, key: &str) {
        self.channels.entry(key.to_owned()).or_default().unknown = true;
    }

    /// A webhook would hear this. An error says which rule it breaks.
    pub(crate) fn notice(&mut self, kind: &str, key: &str, user: Option<&str>, now: u64) -> Result<(), String> {
        let channel = self.channels.entry(key.to_owned()).or_default();
        if channel.unknown {
            return Ok(());
        }
        let user = user.unwrap_or_default().to_owned();
        let rule = match kind {
            "channel_occupied" if std::mem::replace(&mut channel.told_occupied, true) => "occupied twice",
            "channel_occupied" if channel.subscribers.is_empty() => "occupied, but nobody subscribes",
            "channel_vacated" if !std::mem::replace(&mut channel.told_occupied, false) => "vacated twice",
            "channel_vacated" if !channel.subscribers.is_empty() => "vacated, but somebody subscribes",
            "channel_vacated" if now < channel.empty_since + NOTICE_MILLIS => "vacated without the wait",
            "channel_vacated" if !channel.told_members.is_empty() => "vacated before its last member was removed",
            "member_added" if !channel.told_members.insert(user.clone()) => "a member added twice",
            "member_added" if !channel.members.contains_key(&user) => "a member added who is none",
            "member_added" if !channel.told_occupied => "a member added before the channel was occupied",
            "member_removed" if !channel.told_members.remove(&user) => "a member removed twice",
            "member_removed" if channel.members.contains_key(&user) => "a member removed who still is one",
            "member_removed" if channel.absent_since.get(&user).is_none_or(|at| now < at + NOTICE_MILLIS) => {
                "a member removed without the wait"
            }
            "cache_miss" if channel.told_miss.replace(now).is_some_and(|at| now < at + NOTICE_MILLIS) => {
                "a cache miss told twice"
            }
            _ => return Ok(()),
        };
        Err(format!("notices: {key}: {rule} {user}"))
    }

    /// What webhooks believe after everything has come to rest must be what is.
    pub(crate) fn told(&self) -> Result<(), String> {
        for (key, channel) in self.channels.iter().filter(|(_, channel)| !channel.unknown) {
            if user_of(key).is_none()
                && key.starts_with("0/")
                && channel.told_occupied == channel.subscribers.is_empty()
            {
                return Err(format!(
                    "notices: {key} has {} subscribers and webhooks believe otherwise",
                    channel.subscribers.len()
                ));
            }
            if key.starts_with("0/") && channel.told_members.iter().ne(channel.members.keys()) {
                return Err(format!("notices: webhooks believe that {:?} are in {key}", channel.told_members));
            }
        }
        Ok(())
    }
}
