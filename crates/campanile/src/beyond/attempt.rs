//! How an attempt to reach somebody ended.
//!
//! Owns the four ways, and the waits between attempts. Never sends anything and never sleeps. The invariant: only what has
//! certainly not arrived is tried again, because twice is worse than a line that says that nobody knows.

use std::time::Duration;

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// Whoever carries it on has taken it.
    Sent,
    /// It has certainly not been taken, and may be later.
    Again {
        /// What went wrong, for the operator.
        reason: String,
        /// For how long whoever refused it wants to be left alone.
        after: Option<Duration>,
    },
    /// It has not been taken and never will be.
    Failed {
        /// What went wrong.
        reason: String,
    },
    /// It may have been taken.
    Unknown {
        /// What went wrong.
        reason: String,
    },
}

/// The longest that somebody who refuses may make us wait. Who asks for more is asked again all the same.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(6 * 60 * 60);

/// When to try again, and when to give up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// After the first failure.
    pub first: Duration,
    /// After any failure.
    pub max: Duration,
    /// Attempts before it is given up.
    pub attempts_max: u32,
}

impl Backoff {
    /// What becomes of an attempt with this number, counted from one, that certainly failed: a wait, or nothing if it was the
    /// last. Four times as long each time, less a random part of at most a quarter; at least what was asked for.
    pub fn wait(self, attempt: u32, asked: Option<Duration>, random: u32) -> Option<Duration> {
        if attempt >= self.attempts_max {
            return None;
        }
        let longer = 4_u32.saturating_pow(attempt.saturating_sub(1));
        let wait = self.first.saturating_mul(longer).min(self.max);
        let wait = wait - wait.mul_f64(f64::from(random) / f64::from(u32::MAX) / 4.0);
        Some(wait.max(asked.unwrap_or_default().min(RETRY_AFTER_MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff =
        Backoff { first: Duration::from_secs(30), max: Duration::from_secs(3600), attempts_max: 6 };

    #[test]
    fn waits_grow_fourfold_up_to_the_longest_and_the_last_attempt_is_not_followed() {
        let waits: Vec<_> = (1..=6).map(|attempt| BACKOFF.wait(attempt, None, 0).map(|wait| wait.as_secs())).collect();
        assert_eq!(waits, [Some(30), Some(120), Some(480), Some(1920), Some(3600), None]);
        assert_eq!(BACKOFF.wait(u32::MAX, None, 0), None);
    }

    #[test]
    fn jitter_takes_at_most_a_quarter() {
        assert_eq!(BACKOFF.wait(2, None, u32::MAX), Some(Duration::from_secs(90)));
    }

    #[test]
    fn whoever_refuses_may_ask_for_a_longer_wait_but_not_for_days() {
        let asked = |secs| BACKOFF.wait(1, Some(Duration::from_secs(secs)), 0).unwrap().as_secs();
        assert_eq!((asked(10), asked(31), asked(6 * 3600), asked(6 * 3600 + 1)), (30, 31, 21_600, 21_600));
    }
}
