//! How long authorizations take, and how they end.
//!
//! Owns one histogram for each authorization. Never decides what is an authorization: the authorizer
//! does. The invariant: every authorization that began is counted once, however it ended; one that was remembered has not
//! begun. A deploy makes every browser authorize every channel again, so these figures say whether the application can take
//! one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The upper bounds of the buckets; what took longer than the last is in one more.
pub const BUCKETS: [Duration; 12] = [
    Duration::from_millis(1),
    Duration::from_micros(2500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2500),
    Duration::from_secs(5),
];

/// How an authorization ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The user may.
    Allowed,
    /// The user may not.
    Denied,
    /// It had no answer, so the next one was asked.
    Passed,
    /// It returned an error.
    Failed,
    /// It panicked, or took too long.
    Broken,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 5] = [Self::Allowed, Self::Denied, Self::Passed, Self::Failed, Self::Broken];
}

/// The histograms of all authorizations of one [`Channels`](crate::Channels). Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Timings(Arc<Mutex<Vec<Arc<Histogram>>>>);

/// One authorization's figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// Its pattern, or `#user` for the authentication of users.
    pub pattern: &'static str,
    /// How many took no longer than each of [`BUCKETS`] but longer than the one before, and how many took longer still.
    pub buckets: [u64; BUCKETS.len() + 1],
    /// The time of all together.
    pub total: Duration,
    /// How many ended in each way, in the order of [`Outcome::ALL`].
    pub outcomes: [u64; Outcome::ALL.len()],
    /// How many were answered from an [`AuthorizationCache`](crate::AuthorizationCache), without asking: they took no time,
    /// and are in none of the other figures.
    pub remembered: u64,
}

impl Timing {
    /// How many times it was asked.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// How many ended in this way.
    pub fn ended(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }
}

impl Timings {
    /// The figures at this moment, in the order in which the authorizations were registered.
    pub fn snapshot(&self) -> Vec<Timing> {
        self.0.lock().iter().map(|histogram| histogram.snapshot()).collect()
    }

    pub(crate) fn add(&self, pattern: &'static str) -> Arc<Histogram> {
        let histogram = Arc::new(Histogram { pattern, ..Histogram::default() });
        self.0.lock().push(Arc::clone(&histogram));
        histogram
    }
}

#[derive(Debug, Default)]
pub(crate) struct Histogram {
    pattern: &'static str,
    buckets: [AtomicU64; BUCKETS.len() + 1],
    total_micros: AtomicU64,
    outcomes: [AtomicU64; Outcome::ALL.len()],
    remembered: AtomicU64,
}

impl Histogram {
    /// Begins a measurement.
    pub(crate) fn begin(&self) -> Measurement<'_> {
        Measurement { histogram: self, began: Instant::now(), outcome: Outcome::Broken }
    }

    /// Counts an answer that was known.
    pub(crate) fn remembered(&self) {
        self.remembered.fetch_add(1, Relaxed);
    }

    fn record(&self, took: Duration, outcome: Outcome) {
        let bucket = BUCKETS.iter().position(|bound| took <= *bound).unwrap_or(BUCKETS.len());
        self.buckets[bucket].fetch_add(1, Relaxed);
        self.total_micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
        self.outcomes[outcome as usize].fetch_add(1, Relaxed);
    }

    fn snapshot(&self) -> Timing {
        Timing {
            pattern: self.pattern,
            buckets: std::array::from_fn(|at| self.buckets[at].load(Relaxed)),
            total: Duration::from_micros(self.total_micros.load(Relaxed)),
            outcomes: std::array::from_fn(|at| self.outcomes[at].load(Relaxed)),
            remembered: self.remembered.load(Relaxed),
        }
    }
}

/// One authorization under way. Dropped without an outcome, by a panic or a timeout, it counts as broken.
#[derive(Debug)]
pub(crate) struct Measurement<'a> {
    histogram: &'a Histogram,
    began: Instant,
    outcome: Outcome,
}

impl Measurement<'_> {
    pub(crate) fn end(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Measurement<'_> {
    fn drop(&mut self) {
        self.histogram.record(self.began.elapsed(), self.outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_at_a_bound_is_within_it_and_one_past_it_in_the_next() {
        let timings = Timings::default();
        let histogram = timings.add("orders.{order}");
        histogram.record(BUCKETS[0], Outcome::Allowed);
        histogram.record(BUCKETS[0] + Duration::from_nanos(1), Outcome::Denied);
        histogram.record(BUCKETS[BUCKETS.len() - 1] + Duration::from_nanos(1), Outcome::Allowed);
        let [timing] = timings.snapshot().try_into().unwrap();
        assert_eq!((timing.buckets[0], timing.buckets[1], timing.buckets[BUCKETS.len()]), (1, 1, 1));
        assert_eq!((timing.count(), timing.ended(Outcome::Allowed), timing.ended(Outcome::Denied)), (3, 2, 1));
    }

    #[test]
    fn what_is_dropped_without_an_outcome_counts_as_broken() {
        let timings = Timings::default();
        let histogram = timings.add("orders.{order}");
        drop(histogram.begin());
        histogram.begin().end(Outcome::Passed);
        let timing = &timings.snapshot()[0];
        assert_eq!((timing.ended(Outcome::Broken), timing.ended(Outcome::Passed), timing.count()), (1, 1, 2));
    }
}
