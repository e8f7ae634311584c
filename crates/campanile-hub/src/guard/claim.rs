//! What a request asks of a key's home, and what it hears.
//!
//! Owns the vocabulary and the making of a key. Never decides. The invariant: two claims have one key only if the same
//! rule, by what it says and not by where it stands, means the same by them; so a rule that a reload moves keeps what is
//! known.

use std::sync::Arc;

use campanile_protocol::{ChannelName, EventName};
use sha2::{Digest, Sha256};

use super::rules::{OnExceed, Rate};
use crate::app::AppIndex;
use crate::letter::{ChannelKey, Publication};

/// One thing that a rule knows something about: an order id on a channel, an event's name, a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GuardKey {
    /// The tenant: keys of two apps never meet.
    pub app: AppIndex,
    /// What it is, as a hash.
    pub digest: [u8; 16],
}

impl GuardKey {
    /// The key that these parts make together.
    pub fn of<'a>(app: AppIndex, parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Self { app, digest: digest(parts) }
    }
}

/// The first half of a SHA-256: nobody finds two texts with the same one.
pub(crate) fn digest<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in parts {
        // With its length before it, no part can be taken for a piece of its neighbour.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let whole: [u8; 32] = hash.finalize().into();
    let mut half = [0; 16];
    half.copy_from_slice(&whole[..16]);
    half
}

/// What an event that goes to a channel needs under one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Where it is known.
    pub key: GuardKey,
    /// What it is.
    pub want: Want,
    /// The rule's name, for alerts.
    pub rule: Arc<str>,
    /// The event's, for alerts.
    pub event: EventName,
    /// The channel, for alerts.
    pub channel: ChannelName,
}

/// What is needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Want {
    /// To be the first in a window.
    Once {
        /// How long it is, from when the first was published.
        window_secs: u64,
    },
    /// A token of a bucket.
    Token {
        /// How fast tokens come.
        rate: Rate,
        /// What becomes of the event if there is none.
        on_exceed: OnExceed,
        /// What it takes while it waits.
        bytes: usize,
        /// Events of one lane take each other's place where they are collapsed.
        lane: [u8; 16],
    },
    /// That the same has not come too often.
    Repeat(RepeatOf),
    /// That an event's name has not become much more frequent.
    Surge(SurgeOf),
}

/// How often the same body may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepeatOf {
    /// So many times.
    pub repeats: u32,
    /// Within so long.
    pub within_secs: u64,
    /// One more, and none passes for so long.
    pub cool_down_secs: u64,
}

/// How much more frequent than on average an event's name may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SurgeOf {
    /// So many times its average.
    pub times: u32,
    /// But always so many in ten seconds.
    pub floor: u32,
    /// One more, and none passes for so long.
    pub cool_down_secs: u64,
}

/// What a home says to a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Publish.
    Granted,
    /// Another request has the key and has not settled: ask again.
    InFlight,
    /// It was published before.
    Duplicate,
    /// It must wait: settle with [`Fate::Wait`].
    Deferred,
    /// It must wait, and takes the place of an earlier one in its lane: settle with [`Fate::Wait`].
    Collapsed,
    /// It is not published.
    Dropped,
    /// The request is to be refused.
    Refused {
        /// After how many seconds to try again.
        retry_after_secs: u64,
    },
}

impl Verdict {
    /// Whether the home keeps something for the request until it settles.
    pub fn is_held(self) -> bool {
        matches!(self, Self::Granted | Self::Deferred | Self::Collapsed)
    }
}

/// What has become of a claim when its request ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// The event was published.
    Commit,
    /// It was not: everything is as before.
    Release,
    /// Here it is, to wait.
    Wait {
        /// Where it goes.
        channel: ChannelKey,
        /// What.
        publication: Publication,
        /// See [`Want::Token`].
        lane: Option<[u8; 16]>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(parts: &[&str]) -> GuardKey {
        GuardKey::of(AppIndex(0), parts.iter().map(|part| part.as_bytes()))
    }

    #[test]
    fn other_parts_are_another_key_wherever_they_are_cut() {
        assert_eq!(key(&["ab", "c"]), key(&["ab", "c"]));
        for other in [&["a", "bc"][..], &["abc"], &["ab", "c", ""], &["", "ab", "c"], &["c", "ab"]] {
            assert_ne!(key(&["ab", "c"]), key(other), "{other:?}");
        }
        assert_ne!(key(&["ab"]), GuardKey { app: AppIndex(1), ..key(&["ab"]) });
    }
}
