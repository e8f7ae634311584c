//! What a request may ask of a channel: its `info`.
//!
//! Owns the names of the attributes and which kind of channel has which. Never knows a value. The invariant: [`Attributes`]
//! holds only what the request it was parsed for may name. Read on in [`crate::replies`] for where the values stand.

use crate::channel_kind::ChannelKind;
use crate::name::ChannelName;
use crate::refusal::{Reason, Refusal, clipped};

/// What may be asked of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attribute {
    /// Users in a presence channel.
    UserCount,
    /// Connections that are subscribed.
    SubscriptionCount,
    /// What a cache channel remembers.
    Cache,
}

impl Attribute {
    /// What can be told of a channel that was just published to, and of many channels at once.
    pub const COUNTS: &[Self] = &[Self::UserCount, Self::SubscriptionCount];
    /// What can be told of one channel.
    pub const ALL: &[Self] = &[Self::UserCount, Self::SubscriptionCount, Self::Cache];

    /// Its name in `info`.
    pub fn name(self) -> &'static str {
        match self {
            Self::UserCount => "user_count",
            Self::SubscriptionCount => "subscription_count",
            Self::Cache => "cache",
        }
    }

    /// Whether channels of this kind have it.
    pub fn applies_to(self, kind: ChannelKind) -> bool {
        match self {
            Self::UserCount => kind.is_presence(),
            Self::SubscriptionCount => true,
            Self::Cache => kind.cached,
        }
    }

    fn bit(self) -> u8 {
        match self {
            Self::UserCount => 1,
            Self::SubscriptionCount => 2,
            Self::Cache => 4,
        }
    }
}

/// The attributes that a request's `info` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes(u8);

impl Attributes {
    /// Parses a comma-separated list, of which each must be one of `offered`. Empty items are passed over.
    pub fn parse(info: &str, offered: &'static [Attribute]) -> Result<Self, Refusal> {
        let mut named = Self::default();
        for name in info.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match offered.iter().find(|attribute| attribute.name() == name) {
                Some(attribute) => named.0 |= attribute.bit(),
                None => return Err(Refusal::at("info", Reason::UnknownAttribute { name: clipped(name), offered })),
            }
        }
        Ok(named)
    }

    /// Whether it is named.
    pub fn has(self, attribute: Attribute) -> bool {
        self.0 & attribute.bit() != 0
    }

    /// Whether none is named.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Refuses what channels of this kind do not have.
    pub fn check(self, channel: &ChannelName) -> Result<(), Refusal> {
        let foreign = |attribute: &&Attribute| self.has(**attribute) && !attribute.applies_to(channel.kind());
        match Attribute::ALL.iter().find(foreign) {
            Some(attribute) => Err(Refusal::at(
                "info",
                Reason::AttributeDoesNotApply { attribute: attribute.name(), channel: channel.as_str().into() },
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_apply_to_the_channels_that_have_them() {
        for (channel, info, applies) in [
            ("presence-a", "user_count,subscription_count", true),
            ("a", "subscription_count", true),
            ("a", "user_count", false),
            ("a", "cache", false),
            ("cache-a", "cache", true),
            ("presence-cache-a", "cache, user_count,", true),
        ] {
            let attributes = Attributes::parse(info, Attribute::ALL).unwrap();
            let channel = ChannelName::parse(channel, 164).unwrap();
            assert_eq!(attributes.check(&channel).is_ok(), applies, "{channel} {info}");
        }
        assert!(Attributes::parse("cache", Attribute::COUNTS).is_err());
    }
}
