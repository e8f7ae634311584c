//! Why the HTTP API refused a request.
//!
//! Owns the reasons and their words, for whoever publishes: what was wrong, where, and what to do. Never repeats more of a
//! stranger's text than helps to find it. The invariant: a refusal names the field to blame. Read on in [`crate::trigger`]
//! for the requests.

use std::fmt;

use crate::attributes::Attribute;
use crate::name::InvalidName;

/// Why a request was refused, and which of its fields is to blame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Its position in the batch.
    pub item: Option<usize>,
    /// The field, as the publisher wrote it.
    pub field: &'static str,
    /// The reason.
    pub reason: Reason,
}

/// The reasons for a [`Refusal`], in words for whoever publishes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Not JSON, or not the documented object.
    #[error("the body must be one JSON object: {0}")]
    Malformed(String),
    /// A field that every such request has.
    #[error("is missing")]
    Missing,
    /// Not the documented type.
    #[error("must be {expected}")]
    Type {
        /// What was expected.
        expected: &'static str,
    },
    /// A name that is none.
    #[error("{name:?} is refused: {why}")]
    Name {
        /// What was given, cut short where it is long.
        name: String,
        /// Why it is none.
        why: InvalidName,
    },
    /// A list without items.
    #[error("must not be empty")]
    Empty,
    /// A list with too many items.
    #[error("has {given} items, at most {max} are allowed; split the request")]
    TooMany {
        /// How many were given.
        given: usize,
        /// The limit.
        max: usize,
    },
    /// An encrypted event is encrypted for one channel.
    #[error("{channel:?} is end-to-end encrypted: its events are published to it alone, not with other channels")]
    EncryptedAmongOthers {
        /// The encrypted channel.
        channel: String,
    },
    /// The data is past the app's limit. The words up to the bracket are those that client libraries look for.
    #[error(
        "The data content of this event exceeds the allowed maximum ({max} bytes): event {event:?} on channel \
         {channel:?} has {size} bytes"
    )]
    TooLarge {
        /// The event.
        event: String,
        /// The first of its channels.
        channel: String,
        /// The decoded data, in bytes.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// An attribute that we do not know, or that this request cannot ask for.
    #[error("{name:?} is not an attribute of this request; known are {}", listed(.offered))]
    UnknownAttribute {
        /// What was asked for, cut short where it is long.
        name: String,
        /// What can be asked for.
        offered: &'static [Attribute],
    },
    /// An attribute that channels of this kind do not have.
    #[error(
        "channel {channel:?} has no {attribute}: only presence channels have user_count, only cache channels cache"
    )]
    AttributeDoesNotApply {
        /// The attribute.
        attribute: &'static str,
        /// The channel.
        channel: String,
    },
    /// `user_count` of channels that may have no users.
    #[error("user_count needs a filter_by_prefix that begins with presence-")]
    UserCountNeedsPresence,
    /// Members of a channel that has none.
    #[error("channel {channel:?} has no members: only presence channels do")]
    NotPresence {
        /// The channel.
        channel: String,
    },
}

impl Refusal {
    /// A refusal outside any batch.
    pub fn at(field: &'static str, reason: Reason) -> Self {
        Self { item: None, field, reason }
    }

    /// The HTTP status: 413 for data that is too large, else 400.
    pub fn status(&self) -> u16 {
        if matches!(self.reason, Reason::TooLarge { .. }) { 413 } else { 400 }
    }

    /// The field to blame, as in `channels` or `batch[2].data`.
    pub fn field(&self) -> String {
        match self.item {
            Some(item) => format!("batch[{item}].{}", self.field),
            None => self.field.to_owned(),
        }
    }

    /// A name that was refused.
    pub fn name(field: &'static str, name: &str, why: InvalidName) -> Self {
        Self::at(field, Reason::Name { name: clipped(name), why })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.reason, self.item) {
            // The documented sentence comes first, for those who compare its beginning.
            (Reason::TooLarge { .. }, Some(item)) => write!(f, "{}, at batch[{item}]", self.reason),
            (Reason::TooLarge { .. } | Reason::Malformed(_), _) => self.reason.fmt(f),
            _ => write!(f, "{}: {}", self.field(), self.reason),
        }
    }
}

impl std::error::Error for Refusal {}

/// A stranger's text, short enough to repeat.
pub(crate) fn clipped(text: &str) -> String {
    const CHARS_MAX: usize = 64;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn listed(attributes: &[Attribute]) -> String {
    attributes.iter().map(|attribute| attribute.name()).collect::<Vec<_>>().join(", ")
}
