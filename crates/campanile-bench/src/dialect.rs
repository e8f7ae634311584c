//! How each family of servers is spoken to.
//!
//! Owns the words: the path of the upgrade, the greeting, the subscription, what keeps a connection alive. Never holds
//! a connection's state (`fleet.rs` does) and parses no JSON. The invariant: a client does no more work in one dialect
//! than in another, so that servers are compared and not their clients. Read on in `authorizer.rs`.
//!
//! Socket.IO is spoken over its WebSocket transport at once, as clients do that are told to: a digit for Engine.IO's
//! packet (0 open, 2 ping, 3 pong, 4 message), in a message one for Socket.IO's (0 connect, 2 event, 3 ack), then JSON.

use std::io;
use std::time::Duration;

use campanile_protocol::ChannelKind;
use clap::ValueEnum;

use crate::target::Target;

/// What a server speaks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(crate) enum Dialect {
    /// The Pusher Channels protocol
    #[default]
    Pusher,
    /// Socket.IO 4, with the events of this tool's own recipe (peers/socket.io)
    #[value(name = "socket.io")]
    SocketIo,
    /// Socket.IO 2, with laravel-echo-server's events; it asks this tool, on the next port, who may subscribe
    LaravelEchoServer,
}

/// What a text of a server's greeting asks for.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Greeting<'a> {
    /// More is to come, after this answer if there is one.
    Unfinished(Option<&'static str>),
    /// The connection is known by this id.
    Whole(&'a str),
}

/// What clients send, unasked, so that the server knows they are there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heartbeat {
    pub(crate) every: Duration,
    pub(crate) text: &'static str,
}

impl Dialect {
    /// What is asked for with the upgrade.
    pub(crate) fn path(self, key: &str) -> String {
        match self {
            Self::Pusher => format!("/app/{key}?protocol=7&client=campanile-bench&version=1.0"),
            Self::SocketIo => "/socket.io/?EIO=4&transport=websocket".to_owned(),
            Self::LaravelEchoServer => "/socket.io/?EIO=3&transport=websocket".to_owned(),
        }
    }

    /// Reads a text that came before the connection was known by an id.
    pub(crate) fn greet(self, text: &str) -> io::Result<Greeting<'_>> {
        let greeting = match self {
            Self::Pusher => between(text, "socket_id\\\":\\\"", '\\').map(Greeting::Whole),
            Self::SocketIo if text.starts_with('0') => Some(Greeting::Unfinished(Some("40"))),
            Self::SocketIo => between(text, "40{\"sid\":\"", '"').map(Greeting::Whole),
            Self::LaravelEchoServer if text.starts_with('0') => Some(Greeting::Unfinished(None)),
            // The id came before, but nothing is signed with it.
            Self::LaravelEchoServer => text.starts_with("40").then_some(Greeting::Whole("")),
        };
        greeting.ok_or_else(|| io::Error::other(format!("this is no greeting: {text}")))
    }

    /// The message with which client `number` subscribes, signed where the channel's kind asks for it.
    pub(crate) fn subscription(
        self,
        target: &Target,
        number: usize,
        id: &str,
        channel: &str,
        member: Option<u64>,
    ) -> String {
        match self {
            Self::Pusher => pusher_subscription(target, id, channel, member),
            Self::SocketIo => {
                let signature = target.secret.sign(format!("{id}:{channel}").as_bytes());
                format!("420[\"subscribe\",\"{channel}\",\"{}:{signature}\"]", target.key)
            }
            // The headers reach the endpoint that is asked, so it can tell who has been admitted.
            Self::LaravelEchoServer => {
                format!(
                    "42[\"subscribe\",{{\"channel\":\"{channel}\",\"auth\":{{\"headers\":{{\"X-Client\":\"{number}\"}}}}}}]"
                )
            }
        }
    }

    /// Whether a client hears, or this tool's authorizer does, that a subscription to this channel has succeeded.
    pub(crate) fn is_confirmed(self, channel: &str) -> bool {
        self != Self::LaravelEchoServer || ChannelKind::of(channel).is_signed()
    }

    /// Whether this text says that a subscription has succeeded.
    pub(crate) fn is_confirmation(self, text: &str) -> bool {
        match self {
            Self::Pusher => text.contains("subscription_succeeded"),
            Self::SocketIo => text.starts_with("430["),
            Self::LaravelEchoServer => false,
        }
    }

    /// Whether the server asks an endpoint of the application who may subscribe.
    pub(crate) fn asks_the_application(self) -> bool {
        self == Self::LaravelEchoServer
    }

    /// What to answer to a text that asks whether somebody is there.
    pub(crate) fn answer(self, text: &str) -> Option<&'static str> {
        match self {
            Self::Pusher => {
                text.starts_with("{\"event\":\"pusher:ping\"").then_some(r#"{"event":"pusher:pong","data":{}}"#)
            }
            Self::SocketIo => (text == "2").then_some("3"),
            Self::LaravelEchoServer => None,
        }
    }

    /// What clients send though nobody has asked, well before the server's patience ends.
    pub(crate) fn heartbeat(self) -> Option<Heartbeat> {
        match self {
            // Of the 120 s that servers ask for when nothing else is configured.
            Self::Pusher => {
                Some(Heartbeat { every: Duration::from_secs(100), text: r#"{"event":"pusher:ping","data":{}}"# })
            }
            // Here the server asks.
            Self::SocketIo => None,
            Self::LaravelEchoServer => Some(Heartbeat { every: Duration::from_secs(25), text: "2" }),
        }
    }
}

fn between<'a>(text: &'a str, mark: &str, end: char) -> Option<&'a str> {
    let start = text.find(mark)? + mark.len();
    text[start..].split_once(end).map(|(id, _)| id)
}

fn pusher_subscription(target: &Target, id: &str, channel: &str, member: Option<u64>) -> String {
    let kind = ChannelKind::of(channel);
    let member = member.filter(|_| kind.is_presence()).map(|member| format!("{{\"user_id\":\"{member}\"}}"));
    let mut data = format!("\"channel\":\"{channel}\"");
    if kind.is_signed() {
        let signature = match &member {
            Some(member) => target.secret.sign(format!("{id}:{channel}:{member}").as_bytes()),
            None => target.secret.sign(format!("{id}:{channel}").as_bytes()),
        };
        data.push_str(&format!(",\"auth\":\"{}:{signature}\"", target.key));
    }
    if let Some(member) = member {
        data.push_str(&format!(",\"channel_data\":\"{}\"", member.replace('"', "\\\"")));
    }
    format!("{{\"event\":\"pusher:subscribe\",\"data\":{{{data}}}}}")
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use campanile_protocol::SocketId;

    use super::*;

    fn target() -> Target {
        Target::for_tests(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)))
    }

    #[test]
    fn each_dialect_knows_its_greeting() {
        let greet = |dialect: Dialect, text| dialect.greet(text).unwrap();
        let established =
            r#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.2\",\"activity_timeout\":120}"}"#;
        assert_eq!(greet(Dialect::Pusher, established), Greeting::Whole("1.2"));
        let open = r#"0{"sid":"engine","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}"#;
        assert_eq!(greet(Dialect::SocketIo, open), Greeting::Unfinished(Some("40")));
        assert_eq!(greet(Dialect::SocketIo, r#"40{"sid":"socket"}"#), Greeting::Whole("socket"));
        assert_eq!(greet(Dialect::LaravelEchoServer, open), Greeting::Unfinished(None));
        assert_eq!(greet(Dialect::LaravelEchoServer, "40"), Greeting::Whole(""));
    }

    #[test]
    fn what_is_no_greeting_is_an_error_in_every_dialect() {
        for dialect in Dialect::value_variants() {
            for text in ["", "44{\"message\":\"no\"}", r#"{"event":"pusher:error","data":{"code":4001}}"#] {
                assert!(dialect.greet(text).is_err(), "{dialect:?}: {text}");
            }
        }
    }

    #[test]
    fn a_pusher_subscription_is_signed_as_an_application_signs_it() {
        let target = target();
        let id = SocketId::parse("1.2").unwrap();
        let signature = target.secret.sign_channel(id, "private-a", None);
        assert_eq!(
            Dialect::Pusher.subscription(&target, 0, "1.2", "private-a", None),
            format!(
                "{{\"event\":\"pusher:subscribe\",\"data\":{{\"channel\":\"private-a\",\"auth\":\"app-key:{signature}\"}}}}"
            )
        );
        let signature = target.secret.sign_channel(id, "presence-a", Some("{\"user_id\":\"7\"}"));
        let message = Dialect::Pusher.subscription(&target, 0, "1.2", "presence-a", Some(7));
        assert!(message.contains(&signature) && message.contains("\"{\\\"user_id\\\":\\\"7\\\"}\""), "{message}");
        assert_eq!(
            Dialect::Pusher.subscription(&target, 0, "1.2", "news", None),
            r#"{"event":"pusher:subscribe","data":{"channel":"news"}}"#
        );
    }

    #[test]
    fn a_socket_io_subscription_is_an_event_whose_json_is_whole() {
        for (dialect, packet) in [(Dialect::SocketIo, "420"), (Dialect::LaravelEchoServer, "42")] {
            let message = dialect.subscription(&target(), 17, "id", "private-a", None);
            let event: serde_json::Value = serde_json::from_str(message.strip_prefix(packet).unwrap()).unwrap();
            assert_eq!(event[0], "subscribe");
        }
        let message = Dialect::LaravelEchoServer.subscription(&target(), 17, "", "private-a", None);
        let event: serde_json::Value = serde_json::from_str(&message[2..]).unwrap();
        assert_eq!(
            (&event[1]["channel"], &event[1]["auth"]["headers"]["X-Client"]),
            (&"private-a".into(), &"17".into())
        );
    }

    #[test]
    fn whoever_is_asked_answers_and_whoever_is_not_speaks_first() {
        assert_eq!(Dialect::SocketIo.answer("2"), Some("3"));
        assert_eq!(Dialect::SocketIo.answer("2probe"), None);
        let ping = r#"{"event":"pusher:ping","data":{}}"#;
        assert_eq!(Dialect::Pusher.answer(ping), Some(r#"{"event":"pusher:pong","data":{}}"#));
        for dialect in Dialect::value_variants() {
            assert!(dialect.heartbeat().is_some() || dialect.answer("2").is_some(), "{dialect:?}");
        }
    }
}
