//! What has become of an app's events, counted.
//!
//! Owns the counts since the start. Never decides. The invariant: an event on one channel is counted once, by what its
//! publisher was told; those that no rule concerns are not counted at all.

use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// What has become of an event on a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Published,
    Duplicate,
    Deferred,
    Collapsed,
    Dropped,
    Refused,
}

impl Outcome {
    /// The word for publishers.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Duplicate => "duplicate",
            Self::Deferred => "deferred",
            Self::Collapsed => "collapsed",
            Self::Dropped => "dropped",
            Self::Refused => "refused",
        }
    }
}

/// One app's.
#[derive(Debug, Default)]
pub(crate) struct Outcomes([AtomicU64; 6]);

impl Outcomes {
    pub(crate) fn count(&self, outcome: Outcome) {
        self.0[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> OutcomeCounts {
        let [published, duplicate, deferred, collapsed, dropped, refused] =
            [0, 1, 2, 3, 4, 5].map(|index: usize| self.0[index].load(Ordering::Relaxed));
        OutcomeCounts { published, duplicate, deferred, collapsed, dropped, refused }
    }
}

/// Counts at a moment. Events that wait are counted once, when they begin to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(crate) struct OutcomeCounts {
    pub(crate) published: u64,
    pub(crate) duplicate: u64,
    pub(crate) deferred: u64,
    pub(crate) collapsed: u64,
    pub(crate) dropped: u64,
    pub(crate) refused: u64,
}

impl AddAssign for OutcomeCounts {
    fn add_assign(&mut self, other: Self) {
        self.published += other.published;
        self.duplicate += other.duplicate;
        self.deferred += other.deferred;
        self.collapsed += other.collapsed;
        self.dropped += other.dropped;
        self.refused += other.refused;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_is_counted_under_its_own_name() {
        let outcomes = Outcomes::default();
        let all = [
            Outcome::Published,
            Outcome::Duplicate,
            Outcome::Deferred,
            Outcome::Collapsed,
            Outcome::Dropped,
            Outcome::Refused,
        ];
        for (times, outcome) in (1..).zip(all) {
            (0..times).for_each(|_| outcomes.count(outcome));
        }
        let json = serde_json::to_value(outcomes.counts()).unwrap();
        for (times, outcome) in (1..).zip(all) {
            assert_eq!(json[outcome.word()], times, "{outcome:?}");
        }
    }
}
