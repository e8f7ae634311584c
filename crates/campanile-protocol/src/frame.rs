//! Every event on the socket, in two enums.
//!
//! Owns what clients may say ([`ClientFrame`]) and what we say ([`ServerFrame`]), with their exact shapes. Never holds
//! policy: whether a frame is allowed is the session's. The invariant: a decoded frame is well formed, and unknown keys
//! are ignored, so that a sender cannot smuggle a `user_id`. The bytes around a frame are [`crate::websocket`]'s.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::close::CloseCode;
use crate::json::{DataLiteral, decode_object, push_string};
use crate::name::{CLIENT_EVENT_PREFIX, SocketId};
use crate::position::Position;
use crate::websocket;

/// What a client says.
#[derive(Debug)]
pub enum ClientFrame<'a> {
    /// `pusher:ping`
    Ping,
    /// `pusher:pong`
    Pong,
    /// `pusher:subscribe`
    Subscribe(Subscribe),
    /// `pusher:unsubscribe`
    Unsubscribe {
        /// The channel's name, not yet parsed.
        channel: String,
    },
    /// `pusher:signin`
    Signin {
        /// `KEY:SIGNATURE`
        auth: String,
        /// The user, as the JSON text that was signed.
        user_data: String,
    },
    /// `client-*`
    ClientEvent {
        /// The event's name.
        event: Cow<'a, str>,
        /// The channel's name, not yet parsed.
        channel: Cow<'a, str>,
        /// The data as sent, `null` where there is none.
        data: &'a RawValue,
    },
    /// Any other event; ignored, as the protocol asks.
    Unknown {
        /// The event's name.
        event: Cow<'a, str>,
    },
}

/// The data of `pusher:subscribe`.
#[derive(Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// The channel's name, not yet parsed.
    pub channel: String,
    /// `KEY:SIGNATURE`; clients send an empty one for public channels.
    pub auth: String,
    /// The member, or other data that was signed, as exact text.
    pub channel_data: Option<String>,
}

/// Why a text is not a frame, in words for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not JSON, or not an object.
    #[error("invalid message: expected one JSON object with an event")]
    NotAnObject,
    /// No `event`, or not a string.
    #[error("invalid message: event is missing or not a string")]
    NoEvent,
    /// The data of a command lacks something or has another type.
    #[error("invalid message: {event} needs data with {needs}")]
    Data {
        /// The event.
        event: &'static str,
        /// What its data must have.
        needs: &'static str,
    },
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    event: Option<&'a RawValue>,
    #[serde(borrow, default)]
    channel: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

/// The fields that commands have in their data, each a string.
#[derive(Deserialize)]
struct Fields {
    #[serde(default)]
    channel: Option<String>,
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    channel_data: Option<String>,
    #[serde(default)]
    user_data: Option<String>,
}

/// A string that is borrowed from the frame unless it has escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn text<'a>(value: Option<&'a RawValue>) -> Option<Cow<'a, str>> {
    serde_json::from_str::<Text<'a>>(value?.get()).ok().map(|text| text.0)
}

impl<'a> ClientFrame<'a> {
    /// Decodes one text message.
    pub fn decode(message: &'a str) -> Result<Self, Malformed> {
        // An array of fields would satisfy serde, but not the protocol.
        if !message.trim_start().starts_with('{') {
            return Err(Malformed::NotAnObject);
        }
        let envelope: Envelope<'a> = serde_json::from_str(message).map_err(|_| Malformed::NotAnObject)?;
        let event = text(envelope.event).ok_or(Malformed::NoEvent)?;
        let fields = || envelope.data.and_then(decode_object::<Fields>);
        match event.as_ref() {
            "pusher:ping" => Ok(Self::Ping),
            "pusher:pong" => Ok(Self::Pong),
            "pusher:subscribe" => match fields() {
                Some(Fields { channel: Some(channel), auth, channel_data, .. }) => {
                    Ok(Self::Subscribe(Subscribe { channel, auth: auth.unwrap_or_default(), channel_data }))
                }
                _ => Err(Malformed::Data {
                    event: "pusher:subscribe",
                    needs: "a channel (and, if not public, auth), all strings",
                }),
            },
            "pusher:unsubscribe" => match fields() {
                Some(Fields { channel: Some(channel), .. }) => Ok(Self::Unsubscribe { channel }),
                _ => Err(Malformed::Data { event: "pusher:unsubscribe", needs: "a channel" }),
            },
            "pusher:signin" => match fields() {
                Some(Fields { auth: Some(auth), user_data: Some(user_data), .. }) => {
                    Ok(Self::Signin { auth, user_data })
                }
                _ => Err(Malformed::Data { event: "pusher:signin", needs: "auth and user_data, both strings" }),
            },
            client if client.starts_with(CLIENT_EVENT_PREFIX) => match text(envelope.channel) {
                Some(channel) => {
                    let data = envelope.data.unwrap_or(RawValue::NULL);
                    Ok(Self::ClientEvent { event, channel, data })
                }
                None => Err(Malformed::Data { event: "client event", needs: "a channel beside it" }),
            },
            _ => Ok(Self::Unknown { event }),
        }
    }
}

/// What we say. Each variant's documentation names the event on the wire.
#[derive(Debug)]
pub enum ServerFrame<'a> {
    /// `pusher:connection_established`
    ConnectionEstablished {
        /// The connection's public id.
        socket_id: SocketId,
        /// After how much silence the client should ping, in seconds; never 0.
        activity_timeout_secs: u32,
    },
    /// `pusher:error`
    Error {
        /// `null` where the connection goes on and no code fits.
        code: Option<CloseCode>,
        /// Words for the developer.
        message: &'a str,
        /// The channel that the error is about.
        channel: Option<&'a str>,
    },
    /// `pusher:ping`
    Ping,
    /// `pusher:pong`
    Pong,
    /// `pusher_internal:subscription_succeeded`
    SubscriptionSucceeded {
        /// The channel.
        channel: &'a str,
        /// What presence channels add: the JSON of `{"presence":{..}}`.
        snapshot: Option<&'a str>,
    },
    /// `pusher:subscription_error`
    SubscriptionError {
        /// The channel as the client named it.
        channel: &'a str,
        /// `AuthError`, `LimitReached` or `InvalidChannel`.
        kind: &'a str,
        /// Words for the developer.
        error: &'a str,
        /// The HTTP status that would fit.
        status: u16,
    },
    /// `pusher_internal:member_added`
    MemberAdded {
        /// The channel.
        channel: &'a str,
        /// The member.
        user_id: &'a str,
        /// The JSON of its `user_info`.
        user_info: &'a str,
    },
    /// `pusher_internal:member_removed`
    MemberRemoved {
        /// The channel.
        channel: &'a str,
        /// The member.
        user_id: &'a str,
    },
    /// `pusher_internal:subscription_count`
    SubscriptionCount {
        /// The channel.
        channel: &'a str,
        /// Connections that are subscribed.
        count: usize,
    },
    /// `pusher:cache_miss`
    CacheMiss {
        /// The channel.
        channel: &'a str,
    },
    /// `replay.position`, ours
    ReplayPosition {
        /// The channel.
        channel: &'a str,
        /// What has been sent up to here.
        at: Position,
    },
    /// `replay.gap`, ours
    ReplayGap {
        /// The channel.
        channel: &'a str,
        /// The oldest event that could still be sent again.
        oldest: Position,
        /// The newest there was.
        newest: Position,
    },
    /// `pusher:signin_success`
    SigninSuccess {
        /// The user as signed.
        user_data: &'a str,
    },
    /// `pusher_internal:watchlist_events`
    WatchlistEvents {
        /// Users that are, or have come, online.
        online: &'a [&'a str],
        /// Users that are, or have gone, offline.
        offline: &'a [&'a str],
    },
    /// An application's event, or a client's.
    Event {
        /// The event's name.
        event: &'a str,
        /// The channel.
        channel: &'a str,
        /// The data, as it goes out.
        data: &'a DataLiteral,
        /// The sender, for client events on presence channels.
        user_id: Option<&'a str>,
    },
}

/// A frame of the protocol inside its WebSocket frame: the bytes that every receiver gets alike.
pub type EncodedFrame = Bytes;

impl ServerFrame<'_> {
    /// The bytes to send, WebSocket header included.
    pub fn encode(&self) -> EncodedFrame {
        websocket::encode(websocket::Opcode::Text, &self.to_json())
    }

    /// The JSON text.
    pub fn to_json(&self) -> Vec<u8> {
        match self {
            Self::ConnectionEstablished { socket_id, activity_timeout_secs } => {
                Object::event("pusher:connection_established")
                    .string(
                        "data",
                        &format!(r#"{{"socket_id":"{socket_id}","activity_timeout":{activity_timeout_secs}}}"#),
                    )
                    .finish()
            }
            Self::Error { code, message, channel } => {
                let code = code.map_or_else(|| "null".to_owned(), |code| code.number().to_string());
                let data = Object::new().raw("code", &code).string("message", message).finish();
                Object::event("pusher:error").raw_bytes("data", &data).optional("channel", *channel).finish()
            }
            Self::Ping => Object::event("pusher:ping").string("data", "{}").finish(),
            Self::Pong => Object::event("pusher:pong").string("data", "{}").finish(),
            Self::SubscriptionSucceeded { channel, snapshot } => {
                Object::on("pusher_internal:subscription_succeeded", channel)
                    .string("data", snapshot.unwrap_or("{}"))
                    .finish()
            }
            Self::SubscriptionError { channel, kind, error, status } => {
                let data = Object::new()
                    .string("type", kind)
                    .string("error", error)
                    .raw("status", &status.to_string())
                    .finish();
                Object::on("pusher:subscription_error", channel).raw_bytes("data", &data).finish()
            }
            Self::MemberAdded { channel, user_id, user_info } => {
                let data = Object::new().string("user_id", user_id).raw("user_info", user_info).finish();
                Object::on("pusher_internal:member_added", channel).json_in_string("data", &data).finish()
            }
            Self::MemberRemoved { channel, user_id } => {
                let data = Object::new().string("user_id", user_id).finish();
                Object::on("pusher_internal:member_removed", channel).json_in_string("data", &data).finish()
            }
            Self::SubscriptionCount { channel, count } => Object::on("pusher_internal:subscription_count", channel)
                .string("data", &format!(r#"{{"subscription_count":{count}}}"#))
                .finish(),
            Self::CacheMiss { channel } => Object::on("pusher:cache_miss", channel).string("data", "{}").finish(),
            Self::ReplayPosition { channel, at } => {
                Object::on("replay.position", channel).string("data", &format!(r#"{{"at":"{at}"}}"#)).finish()
            }
            Self::ReplayGap { channel, oldest, newest } => Object::on("replay.gap", channel)
                .string("data", &format!(r#"{{"oldest":"{oldest}","newest":"{newest}"}}"#))
                .finish(),
            Self::SigninSuccess { user_data } => {
                let data = Object::new().string("user_data", user_data).finish();
                Object::event("pusher:signin_success").json_in_string("data", &data).finish()
            }
            Self::WatchlistEvents { online, offline } => {
                let data = watchlist_data(online, offline);
                Object::event("pusher_internal:watchlist_events").json_in_string("data", &data).finish()
            }
            Self::Event { event, channel, data, user_id } => {
                // The frame that there are most of: it is made without growing.
                let room =
                    event.len() + channel.len() + data.as_str().len() + user_id.map_or(0, str::len) + EVENT_BYTES;
                Object::with_room(room)
                    .string("event", event)
                    .string("channel", channel)
                    .raw("data", data.as_str())
                    .optional("user_id", *user_id)
                    .finish()
            }
        }
    }
}

/// What an event's frame has beside names and data, where nothing in the names is escaped.
const EVENT_BYTES: usize = r#"{"event":"","channel":"","data":,"user_id":""}"#.len();

fn watchlist_data(online: &[&str], offline: &[&str]) -> Vec<u8> {
    let mut events = Vec::from(*b"[");
    for (name, users) in [("online", online), ("offline", offline)] {
        if !users.is_empty() {
            if events.len() > 1 {
                events.push(b',');
            }
            let ids = serde_json::to_vec(users).expect("a list of strings is JSON");
            events.extend(Object::new().string("name", name).raw_bytes("user_ids", &ids).finish());
        }
    }
    events.push(b']');
    Object::new().raw_bytes("events", &events).finish()
}

/// Writes a JSON object in the order of the calls, which is the order that Pusher's documentation shows.
struct Object(Vec<u8>);

impl Object {
    fn new() -> Self {
        Self(Vec::from(*b"{"))
    }

    fn with_room(bytes: usize) -> Self {
        let mut json = Vec::with_capacity(bytes);
        json.push(b'{');
        Self(json)
    }

    fn event(event: &str) -> Self {
        Self::new().string("event", event)
    }

    fn on(event: &str, channel: &str) -> Self {
        Self::event(event).string("channel", channel)
    }

    fn key(&mut self, key: &str) {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        self.0.push(b'"');
        self.0.extend_from_slice(key.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    fn string(mut self, key: &str, value: &str) -> Self {
        self.key(key);
        push_string(&mut self.0, value);
        self
    }

    fn optional(self, key: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.string(key, value),
            None => self,
        }
    }

    fn raw(self, key: &str, json: &str) -> Self {
        self.raw_bytes(key, json.as_bytes())
    }

    fn raw_bytes(mut self, key: &str, json: &[u8]) -> Self {
        self.0.reserve(key.len() + json.len() + 32);
        self.key(key);
        self.0.extend_from_slice(json);
        self
    }

    fn json_in_string(self, key: &str, json: &[u8]) -> Self {
        let text = std::str::from_utf8(json).expect("an object is written from strings");
        self.string(key, text)
    }

    fn finish(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(frame: &ServerFrame<'_>) -> String {
        String::from_utf8(frame.to_json()).unwrap()
    }

    #[test]
    fn frames_have_the_documented_bytes() {
        let data = DataLiteral::from_text(r#"{"id":5}"#);
        let typing = DataLiteral::from_client(serde_json::from_str(r#"{"on":true}"#).unwrap());
        for (frame, expected) in [
            (
                ServerFrame::ConnectionEstablished {
                    socket_id: SocketId { place: 123_456, secret: 7_890_123 },
                    activity_timeout_secs: 120,
                },
                r#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"123456.7890123\",\"activity_timeout\":120}"}"#,
            ),
            (
                ServerFrame::SubscriptionSucceeded { channel: "my-channel", snapshot: None },
                r#"{"event":"pusher_internal:subscription_succeeded","channel":"my-channel","data":"{}"}"#,
            ),
            (
                ServerFrame::MemberAdded { channel: "presence-a", user_id: "9", user_info: r#"{"name":"Cy"}"# },
                r#"{"event":"pusher_internal:member_added","channel":"presence-a","data":"{\"user_id\":\"9\",\"user_info\":{\"name\":\"Cy\"}}"}"#,
            ),
            (
                ServerFrame::MemberRemoved { channel: "presence-a", user_id: "9" },
                r#"{"event":"pusher_internal:member_removed","channel":"presence-a","data":"{\"user_id\":\"9\"}"}"#,
            ),
            (
                ServerFrame::SubscriptionCount { channel: "my-channel", count: 42 },
                r#"{"event":"pusher_internal:subscription_count","channel":"my-channel","data":"{\"subscription_count\":42}"}"#,
            ),
            (
                ServerFrame::Event { event: "client-typing", channel: "presence-a", data: &typing, user_id: Some("7") },
                r#"{"event":"client-typing","channel":"presence-a","data":{"on":true},"user_id":"7"}"#,
            ),
            (
                ServerFrame::Event {
                    event: "App\\Events\\OrderShipped",
                    channel: "private-a",
                    data: &data,
                    user_id: None,
                },
                r#"{"event":"App\\Events\\OrderShipped","channel":"private-a","data":"{\"id\":5}"}"#,
            ),
            (
                ServerFrame::CacheMiss { channel: "cache-a" },
                r#"{"event":"pusher:cache_miss","channel":"cache-a","data":"{}"}"#,
            ),
            (ServerFrame::Pong, r#"{"event":"pusher:pong","data":"{}"}"#),
            (ServerFrame::Ping, r#"{"event":"pusher:ping","data":"{}"}"#),
            (
                ServerFrame::SigninSuccess { user_data: r#"{"id":"7"}"# },
                r#"{"event":"pusher:signin_success","data":"{\"user_data\":\"{\\\"id\\\":\\\"7\\\"}\"}"}"#,
            ),
            (
                ServerFrame::WatchlistEvents { online: &["8"], offline: &["10"] },
                r#"{"event":"pusher_internal:watchlist_events","data":"{\"events\":[{\"name\":\"online\",\"user_ids\":[\"8\"]},{\"name\":\"offline\",\"user_ids\":[\"10\"]}]}"}"#,
            ),
            (
                ServerFrame::Error {
                    code: Some(CloseCode::ClientEventRejected),
                    message: "no",
                    channel: Some("presence-a"),
                },
                r#"{"event":"pusher:error","data":{"code":4301,"message":"no"},"channel":"presence-a"}"#,
            ),
            (
                ServerFrame::Error { code: None, message: "no", channel: None },
                r#"{"event":"pusher:error","data":{"code":null,"message":"no"}}"#,
            ),
            (
                ServerFrame::SubscriptionError { channel: "private-a", kind: "AuthError", error: "no", status: 401 },
                r#"{"event":"pusher:subscription_error","channel":"private-a","data":{"type":"AuthError","error":"no","status":401}}"#,
            ),
        ] {
            assert_eq!(json(&frame), expected);
        }
    }

    #[test]
    fn commands_of_every_client_in_the_wild_decode() {
        let subscribe = |message| match ClientFrame::decode(message) {
            Ok(ClientFrame::Subscribe(subscribe)) => subscribe,
            other => panic!("{message}: {other:?}"),
        };
        let plain = subscribe(r#"{"event":"pusher:subscribe","data":{"auth":"","channel":"my-channel"}}"#);
        assert_eq!(plain, Subscribe { channel: "my-channel".into(), auth: String::new(), channel_data: None });
        let encoded = subscribe(
            r#"{"event":"pusher:subscribe","data":"{\"channel\":\"presence-a\",\"auth\":\"k:s\",\"channel_data\":\"{\\\"user_id\\\":\\\"7\\\"}\"}"}"#,
        );
        assert_eq!(encoded.channel_data.as_deref(), Some(r#"{"user_id":"7"}"#));
        let null = subscribe(r#"{"event":"pusher:subscribe","data":{"channel":"a","auth":null,"channel_data":null}}"#);
        assert_eq!(null, Subscribe { channel: "a".into(), auth: String::new(), channel_data: None });
        for ping in [
            r#"{"event":"pusher:ping"}"#,
            r#"{"event":"pusher:ping","data":""}"#,
            r#"{"event":"pusher:ping","data":null}"#,
            r#" {"event":"pusher:ping","data":{},"unknown":[1,2]} "#,
        ] {
            assert!(matches!(ClientFrame::decode(ping), Ok(ClientFrame::Ping)), "{ping}");
        }
    }

    #[test]
    fn a_client_event_keeps_its_data_as_sent_and_nothing_else() {
        let sent = r#"{"event":"client-typing","channel":"presence-a","data":{"on": true},"user_id":"forged"}"#;
        let Ok(ClientFrame::ClientEvent { event, channel, data }) = ClientFrame::decode(sent) else {
            panic!("not a client event")
        };
        assert_eq!((event.as_ref(), channel.as_ref(), data.get()), ("client-typing", "presence-a", r#"{"on": true}"#));
        let Ok(ClientFrame::ClientEvent { data, .. }) =
            ClientFrame::decode(r#"{"event":"client-x","channel":"private-a"}"#)
        else {
            panic!("not a client event")
        };
        assert_eq!(data.get(), "null");
    }

    #[test]
    fn what_is_not_a_frame_says_why() {
        for text in ["", "x", "[]", "null", "17", r#"["pusher:ping"]"#, r#"{"event":"pusher:ping""#] {
            assert_eq!(ClientFrame::decode(text).unwrap_err(), Malformed::NotAnObject, "{text}");
        }
        for text in ["{}", r#"{"event":7}"#, r#"{"event":null}"#, r#"{"event":{"a":1}}"#] {
            assert_eq!(ClientFrame::decode(text).unwrap_err(), Malformed::NoEvent, "{text}");
        }
        for data in
            ["", r#","data":"""#, r#","data":null"#, r#","data":[]"#, r#","data":{"channel":7}"#, r#","data":{}"#]
        {
            let text = format!(r#"{{"event":"pusher:subscribe"{data}}}"#);
            assert!(matches!(ClientFrame::decode(&text), Err(Malformed::Data { .. })), "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_passed_over_without_recursion() {
        let deep = format!(r#"{{"event":"pusher:ping","data":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(matches!(ClientFrame::decode(&deep), Ok(ClientFrame::Ping)));
        let deep = deep.replace("pusher:ping", "pusher:subscribe");
        assert!(matches!(ClientFrame::decode(&deep), Err(Malformed::Data { .. })));
    }
}
