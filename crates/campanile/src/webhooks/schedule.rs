//! When things happen to an endpoint's events: how long to gather, when to try again, when to give up.
//!
//! Owns the durations. Never sleeps and never draws randomness: a random number goes in, a delay comes out. The
//! invariant: a batch is tried for at least [`Schedule::give_up_after`]. Read on in [`super::endpoint`].

use std::time::Duration;

/// The durations of one endpoint's work. They are the same for all endpoints; tests have shorter ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Schedule {
    /// From the first event to the commit of all that came meanwhile: what a crash can lose.
    pub(super) gather: Duration,
    /// The longest wait after a first failure.
    pub(super) retry_first: Duration,
    /// The longest wait after any failure.
    pub(super) retry_max: Duration,
    /// A batch that has been tried for this long becomes dead letters at its next failure.
    pub(super) give_up_after: Duration,
    /// Between attempts to use a file that cannot be written or read.
    pub(super) storage_retry: Duration,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            gather: Duration::from_millis(200),
            retry_first: Duration::from_secs(1),
            retry_max: Duration::from_secs(60),
            give_up_after: Duration::from_secs(300),
            storage_retry: Duration::from_secs(1),
        }
    }
}

impl Schedule {
    /// How long to wait after this many failures of a batch: twice as long each time, less a random part of at most
    /// half, so that servers that failed together do not come back together.
    pub(super) fn retry_after(&self, failures: u32, random: u32) -> Duration {
        let doublings = 2_u32.saturating_pow(failures.saturating_sub(1));
        let longest = self.retry_first.saturating_mul(doublings).min(self.retry_max);
        longest - longest.mul_f64(f64::from(random) / f64::from(u32::MAX) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_one_second_to_a_minute() {
        let waits: Vec<u64> = (1..=9).map(|failures| Schedule::default().retry_after(failures, 0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(Schedule::default().retry_after(u32::MAX, 0), Duration::from_secs(60));
    }

    #[test]
    fn jitter_takes_at_most_half_of_a_wait() {
        let schedule = Schedule::default();
        assert_eq!(schedule.retry_after(3, u32::MAX), Duration::from_secs(2));
        let middle = schedule.retry_after(3, u32::MAX / 2);
        assert!(middle > Duration::from_secs(2) && middle < Duration::from_secs(4), "{middle:?}");
    }

    #[test]
    fn a_batch_is_tried_for_at_least_five_minutes() {
        assert!(Schedule::default().give_up_after >= Duration::from_secs(300));
    }
}
