//! What a channel's prefix says about it.
//!
//! Owns the seven prefixes; never looks at anything but the name. The invariant: a prefix counts only with its
//! dash, longest first, so `presenceful` is a public channel. Read on in [`crate::name`].

/// Who may subscribe to a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Anybody.
    Public,
    /// Whoever brings the application's signature.
    Private,
    /// As private; the payload is encrypted end to end and opaque to the server.
    Encrypted,
    /// As private, and subscribers are known to each other as members.
    Presence,
    /// `#server-to-user-<id>`: the connections that are signed in as that user.
    User,
}

/// A channel's kind, parsed once from its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChannelKind {
    /// Who may subscribe.
    pub access: Access,
    /// Whether the last published event is remembered for newcomers.
    pub cached: bool,
}

/// Every prefix and what it means; a longer prefix stands before those that it begins with.
const PREFIXES: [(&str, ChannelKind); 8] = [
    ("private-encrypted-cache-", ChannelKind::new(Access::Encrypted, true)),
    ("private-encrypted-", ChannelKind::new(Access::Encrypted, false)),
    ("private-cache-", ChannelKind::new(Access::Private, true)),
    ("private-", ChannelKind::new(Access::Private, false)),
    ("presence-cache-", ChannelKind::new(Access::Presence, true)),
    ("presence-", ChannelKind::new(Access::Presence, false)),
    ("cache-", ChannelKind::new(Access::Public, true)),
    (crate::name::USER_CHANNEL_PREFIX, ChannelKind::new(Access::User, false)),
];

impl ChannelKind {
    const fn new(access: Access, cached: bool) -> Self {
        Self { access, cached }
    }

    /// The kind of the channel with this name.
    pub fn of(name: &str) -> Self {
        PREFIXES
            .iter()
            .find(|(prefix, _)| name.starts_with(prefix))
            .map_or(Self::new(Access::Public, false), |(_, kind)| *kind)
    }

    /// The prefix that says so; empty where there is none.
    pub fn prefix(self) -> &'static str {
        match (self.access, self.cached) {
            (Access::Public, false) => "",
            (Access::Public, true) => "cache-",
            (Access::Private, false) => "private-",
            (Access::Private, true) => "private-cache-",
            (Access::Encrypted, false) => "private-encrypted-",
            (Access::Encrypted, true) => "private-encrypted-cache-",
            (Access::Presence, false) => "presence-",
            (Access::Presence, true) => "presence-cache-",
            (Access::User, _) => crate::name::USER_CHANNEL_PREFIX,
        }
    }

    /// Whether a subscription needs the application's signature.
    pub fn is_signed(self) -> bool {
        matches!(self.access, Access::Private | Access::Encrypted | Access::Presence)
    }

    /// Whether subscribers are members with a user id.
    pub fn is_presence(self) -> bool {
        self.access == Access::Presence
    }

    /// Whether subscribers may send `client-*` events to each other.
    pub fn takes_client_events(self) -> bool {
        matches!(self.access, Access::Private | Access::Presence)
    }

    /// Whether the number of subscribers may be announced. Presence channels have members instead; user channels are
    /// the server's own.
    pub fn counts_subscriptions(self) -> bool {
        !matches!(self.access, Access::Presence | Access::User)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kinds_prefix_is_the_one_that_says_so() {
        for (prefix, kind) in PREFIXES {
            assert_eq!(kind.prefix(), prefix);
        }
        assert_eq!(ChannelKind::of("orders").prefix(), "");
    }

    #[test]
    fn a_prefix_counts_only_with_its_dash_and_longest_first() {
        for (name, access, cached) in [
            ("orders", Access::Public, false),
            ("cache-orders", Access::Public, true),
            ("cacheorders", Access::Public, false),
            ("private-orders", Access::Private, false),
            ("privateer", Access::Public, false),
            ("private-cache-orders", Access::Private, true),
            ("private-cached", Access::Private, false),
            ("private-encrypted-orders", Access::Encrypted, false),
            ("private-encrypted-cache-orders", Access::Encrypted, true),
            ("private-encryptedorders", Access::Private, false),
            ("presence-room", Access::Presence, false),
            ("presence-cache-room", Access::Presence, true),
            ("presenceful", Access::Public, false),
            ("#server-to-user-7", Access::User, false),
        ] {
            assert_eq!(ChannelKind::of(name), ChannelKind::new(access, cached), "{name}");
        }
    }
}
