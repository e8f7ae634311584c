//! One client's conversation.
//!
//! Owns what a connection has proved and how fast it may talk. Never knows other connections. The invariant: a
//! subscription or a sign-in passes only with a signature of an active key of the connection's own app.

use std::borrow::Cow;
use std::sync::Arc;

use campanile_protocol::frame::Subscribe;
use campanile_protocol::position::SINCE_BYTES_MAX;
use campanile_protocol::signature::{AuthToken, channel_string, user_string};
use campanile_protocol::{Access, ChannelName, Position, SocketId, UserId};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::app::{App, AppIndex};
use crate::letter::Member;
use crate::timers::Moment;

/// So many malformed messages within [`GARBAGE_WINDOW_SECS`] close a connection.
pub const GARBAGE_MAX: u8 = 20;
/// See [`GARBAGE_MAX`].
pub const GARBAGE_WINDOW_SECS: u64 = 10;

/// A connection may leave so many channels at once and enter others: a page that changes, or a few.
pub const MOVES_AT_ONCE_MAX: u32 = 100;
/// And so many a second after that. Each move may be told to all who are in the channel.
pub const MOVES_PER_SEC: u32 = 20;

/// A refusal of a subscription: it becomes `pusher:subscription_error` and `pusher:error`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unsubscribable {
    pub(crate) kind: &'static str,
    pub(crate) status: u16,
    pub(crate) message: String,
}

impl Unsubscribable {
    fn auth(message: String) -> Self {
        Self { kind: "AuthError", status: 401, message }
    }

    pub(crate) fn limit(message: String) -> Self {
        Self { kind: "LimitReached", status: 403, message }
    }
}

/// As whom somebody is let into a channel, and how far they have heard it.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    pub(crate) member: Option<Arc<Member>>,
    pub(crate) since: Option<Position>,
}

/// A user whose sign-in was accepted.
#[derive(Debug, Clone)]
pub(crate) struct SignedIn {
    pub(crate) id: UserId,
    pub(crate) info: Box<str>,
    pub(crate) user_data: Box<str>,
    pub(crate) watchlist: Vec<UserId>,
    /// The client asked for its own channel before its home had answered.
    pub(crate) wants_channel: bool,
    /// Watched users that are still being asked about, and what is known of the others.
    pub(crate) unanswered: usize,
    pub(crate) online: Vec<UserId>,
    pub(crate) offline: Vec<UserId>,
}

/// Our state for one connection.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) app: AppIndex,
    pub(crate) socket_id: SocketId,
    pub(crate) generation: u32,
    pub(crate) protocol: u8,
    pub(crate) closing: bool,
    /// When it was asked whether it is still there, unless it has answered.
    pub(crate) pinged_at: Option<Moment>,
    pub(crate) authorized: bool,
    pub(crate) established: Moment,
    pub(crate) heard: Moment,
    /// It has been written a notification whose receipt is awaited.
    pub(crate) awaited: bool,
    pub(crate) user: Option<Box<SignedIn>>,
    garbage: u8,
    garbage_since: Moment,
    /// Theoretical arrival of the next client event, in microseconds (GCRA).
    next_event_micros: u64,
    /// The same for channels that it has left.
    next_move_micros: u64,
    rejected_at: Option<Moment>,
}

impl Session {
    pub(crate) fn new(app: AppIndex, socket_id: SocketId, generation: u32, protocol: u8, now: Moment) -> Self {
        Self {
            app,
            socket_id,
            generation,
            protocol,
            closing: false,
            pinged_at: None,
            authorized: false,
            established: now,
            heard: now,
            awaited: false,
            user: None,
            garbage: 0,
            garbage_since: now,
            next_event_micros: 0,
            next_move_micros: 0,
            rejected_at: None,
        }
    }

    /// Counts a malformed message. True: that was one too many.
    pub(crate) fn count_garbage(&mut self, now: Moment) -> bool {
        if now.millis_since(self.garbage_since) >= GARBAGE_WINDOW_SECS * 1000 {
            (self.garbage, self.garbage_since) = (0, now);
        }
        self.garbage = self.garbage.saturating_add(1);
        self.garbage >= GARBAGE_MAX
    }

    /// Counts a client event against the rate. False: too fast.
    pub(crate) fn admit_event(&mut self, per_sec: u32, now: Moment) -> bool {
        let now = now.0.saturating_mul(1000);
        let cost = 1_000_000 / u64::from(per_sec.max(1));
        let after = self.next_event_micros.max(now) + cost;
        let admitted = after <= now + cost * u64::from(per_sec.max(1));
        if admitted {
            self.next_event_micros = after;
        }
        admitted
    }

    /// Counts a channel that the client has left. It may leave as it likes; what it can lose is to enter.
    pub(crate) fn count_move(&mut self, now: Moment) {
        let cost = 1_000_000 / u64::from(MOVES_PER_SEC);
        self.next_move_micros = self.next_move_micros.max(now.0.saturating_mul(1000)) + cost;
    }

    /// Whether it has left so many channels that it may not enter one now.
    pub(crate) fn is_restless(&self, now: Moment) -> bool {
        let room = 1_000_000 / u64::from(MOVES_PER_SEC) * u64::from(MOVES_AT_ONCE_MAX);
        self.next_move_micros > now.0.saturating_mul(1000) + room
    }

    /// At most one rejection a second is told.
    pub(crate) fn may_tell_rejection(&mut self, now: Moment) -> bool {
        let may = self.rejected_at.is_none_or(|at| now.millis_since(at) >= 1000);
        if may {
            self.rejected_at = Some(now);
        }
        may
    }

    /// Verifies a subscription, and finds the member on presence channels and the position where events can be sent again.
    pub(crate) fn authorize(
        &self,
        app: &App,
        channel: &ChannelName,
        subscribe: &Subscribe,
    ) -> Result<Admission, Unsubscribable> {
        if channel.kind().access == Access::User {
            let own = self.user.as_ref().is_some_and(|user| Some(user.id.as_str()) == channel.user());
            let message = || format!("{channel} is only for connections that are signed in as that user");
            return if own { Ok(Admission::default()) } else { Err(Unsubscribable::auth(message())) };
        }
        if !channel.kind().is_signed() {
            return Ok(Admission::default());
        }
        let channel_data = subscribe.channel_data.as_deref();
        if subscribe.auth.is_empty() {
            return Err(Unsubscribable::auth(format!("auth info required to subscribe to {channel}")));
        }
        let has_replay = app.replay.covers(channel);
        if let Some(data) = channel_data {
            check_member_bytes(app, data, if has_replay { SINCE_BYTES_MAX } else { 0 })?;
        }
        let string = channel_string(self.socket_id, channel.as_str(), channel_data);
        verify(app, &subscribe.auth, &string).map_err(Unsubscribable::auth)?;
        let since = channel_data.filter(|_| has_replay).map_or(Ok(None), since)?;
        if let (Some(data), None) = (channel_data, since) {
            check_member_bytes(app, data, 0)?;
        }
        if !channel.kind().is_presence() {
            return Ok(Admission { member: None, since });
        }
        // Whoever is signed in may come back with a position alone.
        let of_member = channel_data.filter(|data| self.user.is_none() || since.is_none() || names_user(data));
        let member = match (of_member, &self.user) {
            (Some(data), _) => member(app, data)?,
            (None, Some(user)) => signed_in_member(app, user)?,
            (None, None) => {
                return Err(Unsubscribable::auth(format!(
                    "{channel} needs channel_data with a user_id, or a connection that is signed in"
                )));
            }
        };
        Ok(Admission { member: Some(member), since })
    }
}

/// As much of what a client sent as helps to find its mistake, and no more: a refusal is sent twice and escaped twice.
fn shown(text: &str) -> Cow<'_, str> {
    const CHARS_MAX: usize = 300;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

fn verify(app: &App, auth: &str, string: &str) -> Result<(), String> {
    let Some(token) = AuthToken::parse(auth) else {
        return Err("auth must be the app key, a colon and the signature".to_owned());
    };
    let Some(secret) = app.secret(token.key) else {
        let key = shown(token.key);
        return Err(format!("auth is signed with the key {key:?}, which is not an active key of this app"));
    };
    if secret.verify(string.as_bytes(), token.signature) {
        Ok(())
    } else {
        let (string, signature) = (shown(string), shown(token.signature));
        Err(format!("invalid signature: expected HMAC SHA256 hex digest of {string:?}, but got {signature:?}"))
    }
}

#[derive(Deserialize)]
struct ChannelData<'a> {
    #[serde(borrow)]
    user_id: &'a RawValue,
    #[serde(borrow, default)]
    user_info: Option<&'a RawValue>,
}

/// `room` is for what is no part of the member.
fn check_member_bytes(app: &App, data: &str, room: usize) -> Result<(), Unsubscribable> {
    let (length, max) = (data.len(), app.limits.presence_member_bytes_max);
    if length <= max + room {
        return Ok(());
    }
    Err(Unsubscribable::limit(format!("channel_data is {length} bytes long, at most {max} are allowed")))
}

#[derive(Deserialize)]
struct Since<'a> {
    #[serde(borrow, default)]
    since: Option<Cow<'a, str>>,
}

/// How far the client has heard the channel, as the application has signed it. Other words are the application's own.
fn since(data: &str) -> Result<Option<Position>, Unsubscribable> {
    let invalid = |message: String| Unsubscribable { kind: "AuthError", status: 400, message };
    let parsed: Since<'_> = serde_json::from_str(data)
        .map_err(|error| invalid(format!("channel_data must be a JSON object, its since a string: {error}")))?;
    let position = |text: Cow<'_, str>| {
        text.parse().map_err(|error| invalid(format!("since in channel_data is {:?}: {error}", shown(&text))))
    };
    parsed.since.filter(|text| !text.is_empty()).map(position).transpose()
}

/// Whether the data is a member's.
fn names_user(data: &str) -> bool {
    serde_json::from_str::<ChannelData<'_>>(data).is_ok()
}

fn member(app: &App, data: &str) -> Result<Arc<Member>, Unsubscribable> {
    let limits = &app.limits;
    let invalid = |message: String| Unsubscribable { kind: "AuthError", status: 400, message };
    let parsed: ChannelData<'_> = serde_json::from_str(data)
        .map_err(|error| invalid(format!("channel_data must be a JSON object with a user_id: {error}")))?;
    let text = parsed.user_id.get();
    let id = match text.as_bytes().first() {
        Some(b'"') => serde_json::from_str::<String>(text).unwrap_or_default(),
        Some(b'0'..=b'9' | b'-') => text.to_owned(),
        _ => return Err(invalid("user_id must be a string or a number".to_owned())),
    };
    let id = UserId::parse(&id, limits.user_id_length_max).map_err(|error| invalid(error.to_string()))?;
    Ok(Arc::new(Member { id, info: parsed.user_info.map_or("{}", RawValue::get).into() }))
}

/// A member's data comes from the sign-in, and is bounded as if it were `channel_data`.
fn signed_in_member(app: &App, user: &SignedIn) -> Result<Arc<Member>, Unsubscribable> {
    let (bytes, max) = (user.id.as_str().len() + user.info.len(), app.limits.presence_member_bytes_max);
    if bytes > max {
        return Err(Unsubscribable::limit(format!(
            "the signed-in user's id and user_info are {bytes} bytes long, at most {max} are allowed for a member"
        )));
    }
    Ok(Arc::new(Member { id: user.id.clone(), info: user.info.clone() }))
}

#[derive(Deserialize)]
struct UserData<'a> {
    id: String,
    #[serde(borrow, default)]
    user_info: Option<&'a RawValue>,
    #[serde(default)]
    watchlist: Option<Vec<String>>,
}

/// A sign-in that has passed, and whether its watchlist was cut.
pub(crate) struct Passed {
    pub(crate) user: SignedIn,
    pub(crate) cut: bool,
}

/// Verifies a sign-in.
pub(crate) fn authenticate(app: &App, socket_id: SocketId, auth: &str, user_data: &str) -> Result<Passed, String> {
    verify(app, auth, &user_string(socket_id, user_data))?;
    let parsed: UserData<'_> = serde_json::from_str(user_data)
        .map_err(|error| format!("user_data must be a JSON object with a string id: {error}"))?;
    let id_max = app.limits.user_id_length_max;
    let id = UserId::parse_signed_in(&parsed.id, id_max).map_err(|error| error.to_string())?;
    let listed = if app.features.watchlists { parsed.watchlist.unwrap_or_default() } else { Vec::new() };
    let cut = listed.len() > app.limits.watchlist_max;
    let mut watchlist: Vec<UserId> = listed
        .iter()
        .take(app.limits.watchlist_max)
        .filter_map(|watched| UserId::parse_signed_in(watched, id_max).ok())
        .collect();
    watchlist.sort();
    watchlist.dedup();
    let user = SignedIn {
        id,
        info: parsed.user_info.map_or("{}", RawValue::get).into(),
        user_data: user_data.into(),
        watchlist,
        wants_channel: false,
        unanswered: 0,
        online: Vec::new(),
        offline: Vec::new(),
    };
    Ok(Passed { user, cut })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session::new(AppIndex(0), SocketId { place: 1, secret: 1 }, 0, 7, Moment(0))
    }

    #[test]
    fn a_second_takes_as_many_client_events_as_the_limit_says_and_not_one_more() {
        for per_sec in [1, 3, 10, 1000] {
            let mut session = session();
            let admitted = (0..2 * per_sec).filter(|_| session.admit_event(per_sec, Moment(5000))).count();
            assert_eq!(admitted, per_sec as usize);
        }
    }

    #[test]
    fn room_for_client_events_comes_back_evenly() {
        let mut session = session();
        while session.admit_event(10, Moment(0)) {}
        assert!(!session.admit_event(10, Moment(99)));
        assert!(session.admit_event(10, Moment(100)));
        assert!(!session.admit_event(10, Moment(100)));
        let over_a_minute = (1..=60_000).filter(|millis| session.admit_event(10, Moment(100 + millis))).count();
        assert_eq!(over_a_minute, 600);
    }

    #[test]
    fn silence_is_not_saved_up_for_more_client_events_than_the_limit() {
        let mut session = session();
        assert!(session.admit_event(10, Moment(0)));
        let later = (0..100).filter(|_| session.admit_event(10, Moment(3_600_000))).count();
        assert_eq!(later, 10);
    }

    #[test]
    fn the_twentieth_malformed_message_of_ten_seconds_is_one_too_many() {
        let mut session = session();
        let garbage = u64::from(GARBAGE_MAX);
        assert!((1..garbage).all(|at| !session.count_garbage(Moment(at))));
        assert!(session.count_garbage(Moment(GARBAGE_WINDOW_SECS * 1000 - 1)));
    }

    #[test]
    fn malformed_messages_of_the_last_window_do_not_count() {
        let mut session = session();
        let garbage = u64::from(GARBAGE_MAX);
        assert!((1..garbage).all(|at| !session.count_garbage(Moment(at))));
        assert!((1..garbage).all(|at| !session.count_garbage(Moment(GARBAGE_WINDOW_SECS * 1000 + at))));
        assert!(session.count_garbage(Moment(GARBAGE_WINDOW_SECS * 1000 + garbage)));
    }

    #[test]
    fn a_connection_leaves_as_many_channels_at_once_as_it_may_and_a_few_a_second_after_that() {
        let mut session = session();
        let now = Moment(5000);
        for _ in 0..MOVES_AT_ONCE_MAX {
            assert!(!session.is_restless(now));
            session.count_move(now);
        }
        assert!(!session.is_restless(now));
        session.count_move(now);
        assert!(session.is_restless(now));
        assert!(session.is_restless(Moment(5049)) && !session.is_restless(Moment(5050)));
    }

    #[test]
    fn one_rejection_a_second_is_told() {
        let mut session = session();
        let told: Vec<u64> = (0..3000).filter(|millis| session.may_tell_rejection(Moment(*millis))).collect();
        assert_eq!(told, [0, 1000, 2000]);
    }
}
