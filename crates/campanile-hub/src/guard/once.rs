//! What was published, for a window.
//!
//! Owns whether a key is a request's or was seen. Never knows what was published. The invariant: a window begins when the
//! first has been published, and nothing that comes after makes it longer.

use super::claim::Verdict;
use crate::letter::AskId;
use crate::timers::Moment;

/// One key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Once {
    /// A request has it.
    Held { id: AskId, window_secs: u64 },
    /// It was published.
    Seen { until: Moment },
}

impl Once {
    pub(super) fn held(id: AskId, window_secs: u64) -> Self {
        Self::Held { id, window_secs }
    }

    /// What a further request hears.
    pub(super) fn again(&self) -> Verdict {
        match self {
            Self::Held { .. } => Verdict::InFlight,
            Self::Seen { .. } => Verdict::Duplicate,
        }
    }

    pub(super) fn is_held_by(&self, request: AskId) -> bool {
        matches!(self, Self::Held { id, .. } if *id == request)
    }

    /// The request that has it has published.
    pub(super) fn commit(&mut self, request: AskId, now: Moment) {
        if let Self::Held { id, window_secs } = self
            && *id == request
        {
            *self = Self::Seen { until: now.after_secs(*window_secs) };
        }
    }

    pub(super) fn until(&self) -> Option<Moment> {
        match self {
            Self::Held { .. } => None,
            Self::Seen { until } => Some(*until),
        }
    }
}
