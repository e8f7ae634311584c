//! Names that are valid once built: channels, events, users, sockets.
//!
//! Owns what may be in a name and how long it may be; never knows whether the thing exists. The invariant: a name is
//! parsed at the edge and not checked again. Read on in [`crate::frame`].

use std::fmt;
use std::sync::Arc;

use crate::channel_kind::{Access, ChannelKind};
use crate::limits::CHANNEL_NAME_LENGTH_HARD_MAX;

/// What a signed-in user's own channel begins with.
pub const USER_CHANNEL_PREFIX: &str = "#server-to-user-";

/// Why a name was refused, in words for whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Nothing was given.
    #[error("{what} is empty")]
    Empty {
        /// Which name.
        what: &'static str,
    },
    /// More bytes than the app allows.
    #[error("{what} is {length} bytes long, at most {max} are allowed")]
    TooLong {
        /// Which name.
        what: &'static str,
        /// Its length in bytes.
        length: usize,
        /// The limit.
        max: usize,
    },
    /// A character that such a name may not have.
    #[error("{what} has the character {found:?}; {allowed}")]
    Character {
        /// Which name.
        what: &'static str,
        /// The first offending character.
        found: char,
        /// What may stand in the name.
        allowed: &'static str,
    },
    /// A prefix that is kept for the service.
    #[error("{what} begins with {prefix:?}, which is reserved")]
    Reserved {
        /// Which name.
        what: &'static str,
        /// The reserved prefix.
        prefix: &'static str,
    },
    /// Not of the form `digits.digits`.
    #[error("socket_id must be two numbers joined by a dot, as in 1234.5678")]
    SocketId,
}

const CHANNEL_CHARACTERS: &str = "letters, digits and _ - = @ , . ; are allowed";

fn is_channel_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'=' | b'@' | b',' | b'.' | b';')
}

/// A channel's name and its kind.
///
/// Cheap to clone. Its characters need no escaping in JSON.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ChannelName {
    name: Arc<str>,
    kind: ChannelKind,
}

impl ChannelName {
    /// Parses a name as Pusher documents it: `[A-Za-z0-9_\-=@,.;]+`, or a user's own channel.
    pub fn parse(name: &str, length_max: usize) -> Result<Self, InvalidName> {
        const WHAT: &str = "channel name";
        let kind = ChannelKind::of(name);
        let rest = if kind.access == Access::User { &name[USER_CHANNEL_PREFIX.len()..] } else { name };
        if rest.is_empty() {
            return Err(InvalidName::Empty { what: WHAT });
        }
        // The user's own channel is ours to name; its length follows from the user id's.
        let max = if kind.access == Access::User { CHANNEL_NAME_LENGTH_HARD_MAX } else { length_max };
        if name.len() > max {
            return Err(InvalidName::TooLong { what: WHAT, length: name.len(), max });
        }
        if let Some(found) = rest.chars().find(|c| !c.is_ascii() || !is_channel_byte(*c as u8)) {
            return Err(InvalidName::Character { what: WHAT, found, allowed: CHANNEL_CHARACTERS });
        }
        Ok(Self { name: name.into(), kind })
    }

    /// The channel of the connections that are signed in as `user`.
    pub fn of_user(user: &UserId) -> Self {
        let name = format!("{USER_CHANNEL_PREFIX}{user}");
        Self { kind: ChannelKind::of(&name), name: name.into() }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// The name, shared.
    pub fn shared(&self) -> &Arc<str> {
        &self.name
    }

    /// What the prefix says.
    pub fn kind(&self) -> ChannelKind {
        self.kind
    }

    /// The user whose own channel this is.
    pub fn user(&self) -> Option<&str> {
        (self.kind.access == Access::User).then(|| &self.name[USER_CHANNEL_PREFIX.len()..])
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.name, f)
    }
}

/// The name of an event: any text, because Laravel publishes class names such as `App\Events\OrderShipped`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct EventName(Arc<str>);

/// What a client event's name begins with.
pub const CLIENT_EVENT_PREFIX: &str = "client-";
const RESERVED_EVENT_PREFIXES: [&str; 2] = ["pusher:", "pusher_internal:"];

impl EventName {
    /// Parses the name of an event that an application publishes. `pusher:` and `pusher_internal:` are the service's.
    pub fn parse(name: &str, length_max: usize) -> Result<Self, InvalidName> {
        const WHAT: &str = "event name";
        if name.is_empty() {
            return Err(InvalidName::Empty { what: WHAT });
        }
        if name.len() > length_max {
            return Err(InvalidName::TooLong { what: WHAT, length: name.len(), max: length_max });
        }
        if let Some(prefix) = RESERVED_EVENT_PREFIXES.into_iter().find(|prefix| name.starts_with(prefix)) {
            return Err(InvalidName::Reserved { what: WHAT, prefix });
        }
        Ok(Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id of a user, as the application knows them.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserId(Arc<str>);

impl UserId {
    /// Parses the id of a presence member: any text without control characters.
    pub fn parse(id: &str, length_max: usize) -> Result<Self, InvalidName> {
        const WHAT: &str = "user id";
        if id.is_empty() {
            return Err(InvalidName::Empty { what: WHAT });
        }
        if id.chars().count() > length_max {
            return Err(InvalidName::TooLong { what: WHAT, length: id.len(), max: length_max });
        }
        if let Some(found) = id.chars().find(|c| c.is_control()) {
            return Err(InvalidName::Character { what: WHAT, found, allowed: "control characters are not allowed" });
        }
        Ok(Self(id.into()))
    }

    /// Parses the id of a user who signs in: it names the channel `#server-to-user-<id>`, so it has a channel's characters.
    pub fn parse_signed_in(id: &str, length_max: usize) -> Result<Self, InvalidName> {
        let user = Self::parse(id, length_max)?;
        match id.chars().find(|c| !c.is_ascii() || !is_channel_byte(*c as u8)) {
            Some(found) => Err(InvalidName::Character { what: "user id", found, allowed: CHANNEL_CHARACTERS }),
            None => Ok(user),
        }
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// A connection's public id, `<digits>.<digits>`: where it lives, and 63 random bits that nobody can guess.
///
/// Server SDKs insist on that form, so it is ours too. Any value of the form is a legal id in a request; one that no
/// connection has excludes nobody.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SocketId {
    /// Where the connection lives.
    pub place: u64,
    /// What makes the id unguessable.
    pub secret: u64,
}

impl SocketId {
    /// Parses the textual form. Numbers that no connection of ours can have become an id that matches none.
    pub fn parse(id: &str) -> Result<Self, InvalidName> {
        const LENGTH_MAX: usize = 64;
        let (place, secret) = id.split_once('.').ok_or(InvalidName::SocketId)?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if id.len() > LENGTH_MAX || !digits(place) || !digits(secret) {
            return Err(InvalidName::SocketId);
        }
        // `01.2` is legal to send but is not the id `1.2`; all ones is an id that is never given out.
        let canonical = |text: &str| text.len() == 1 || !text.starts_with('0');
        let number = |text: &str| text.parse().ok().filter(|_| canonical(text)).unwrap_or(u64::MAX);
        Ok(Self { place: number(place), secret: number(secret) })
    }
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.place, self.secret)
    }
}

impl fmt::Debug for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_name_may_have_every_documented_character_and_no_other() {
        let legal = "private-Aa0_-=@,.;";
        assert_eq!(ChannelName::parse(legal, 164).unwrap().as_str(), legal);
        for illegal in ["a b", "a:b", "a/b", "a#b", "#a", "ä", "a\n", "a\"b", "a\\b", "a+b", "#server-to-user-ä"] {
            assert!(matches!(ChannelName::parse(illegal, 164), Err(InvalidName::Character { .. })), "{illegal}");
        }
        assert_eq!(ChannelName::parse("", 164), Err(InvalidName::Empty { what: "channel name" }));
        assert_eq!(ChannelName::parse("#server-to-user-", 164), Err(InvalidName::Empty { what: "channel name" }));
    }

    #[test]
    fn a_channel_name_may_be_as_long_as_the_limit_and_no_longer() {
        assert!(ChannelName::parse(&"a".repeat(164), 164).is_ok());
        let refused = ChannelName::parse(&"a".repeat(165), 164);
        assert_eq!(refused, Err(InvalidName::TooLong { what: "channel name", length: 165, max: 164 }));
    }

    #[test]
    fn the_channel_of_the_longest_user_id_has_a_valid_name() {
        let user = UserId::parse_signed_in(&"u".repeat(128), 128).unwrap();
        let channel = ChannelName::of_user(&user);
        assert_eq!(ChannelName::parse(channel.as_str(), 20).unwrap(), channel);
        assert_eq!(channel.user(), Some(user.as_str()));
    }

    #[test]
    fn an_event_may_have_the_name_of_a_php_class_but_not_a_reserved_one() {
        assert!(EventName::parse("App\\Events\\OrderShipped", 200).is_ok());
        assert!(EventName::parse("übung: ✓", 200).is_ok());
        assert!(EventName::parse(&"e".repeat(200), 200).is_ok());
        assert!(matches!(EventName::parse(&"e".repeat(201), 200), Err(InvalidName::TooLong { .. })));
        for reserved in ["pusher:ping", "pusher_internal:member_added"] {
            assert!(matches!(EventName::parse(reserved, 200), Err(InvalidName::Reserved { .. })), "{reserved}");
        }
        assert!(matches!(EventName::parse("", 200), Err(InvalidName::Empty { .. })));
    }

    #[test]
    fn a_user_id_is_bounded_in_characters_and_a_signed_in_one_has_those_of_a_channel() {
        assert!(UserId::parse(&"ü".repeat(128), 128).is_ok());
        assert!(UserId::parse(&"ü".repeat(129), 128).is_err());
        assert!(UserId::parse("", 128).is_err());
        assert!(UserId::parse("a\u{0}", 128).is_err());
        assert!(UserId::parse("user 7", 128).is_ok());
        assert!(UserId::parse_signed_in("user 7", 128).is_err());
        assert!(UserId::parse_signed_in("user-7@example.com", 128).is_ok());
    }

    #[test]
    fn a_socket_id_is_two_numbers_and_only_its_own_text_names_it() {
        let id = SocketId::parse("200557.5043858").unwrap();
        assert_eq!(id, SocketId { place: 200_557, secret: 5_043_858 });
        assert_eq!(id.to_string(), "200557.5043858");
        for invalid in ["", "1", "1.", ".1", "1.2.3", "1.2\n", " 1.2", "a.b", "1,2", "+1.2", "-1.2"] {
            assert_eq!(SocketId::parse(invalid), Err(InvalidName::SocketId), "{invalid:?}");
        }
        assert_ne!(SocketId::parse("0200557.5043858").unwrap(), id);
        assert!(SocketId::parse("99999999999999999999999.1").is_ok());
        assert!(SocketId::parse(&format!("1.{}", "9".repeat(63))).is_err());
    }
}
