//! Tokens that come at a rate, and the events that wait for them.
//!
//! Owns one bucket, as the one moment at which it will be full again (GCRA): a full bucket says nothing and need not be
//! kept. Never counts what all buckets hold back together: [`super::Guard`] does. The invariant: while anything waits, or
//! is promised to, nobody overtakes it.

use std::collections::VecDeque;

use super::rules::Rate;
use crate::letter::{ChannelKey, Publication};
use crate::timers::Moment;

const NANOS_PER_MILLI: u64 = 1_000_000;

/// An event that waits.
#[derive(Debug, Clone)]
pub(super) struct Late {
    pub(super) channel: ChannelKey,
    pub(super) publication: Publication,
    /// Another with the same takes its place.
    pub(super) lane: Option<[u8; 16]>,
    pub(super) bytes: usize,
}

/// What was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    Token,
    Nothing { wait_secs: u64 },
}

/// One bucket.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    rate: Rate,
    /// When it is full, in nanoseconds of [`Moment`]'s count.
    full_at: u64,
    waiting: VecDeque<Late>,
    /// Events that will wait as soon as their request settles.
    promised: usize,
}

impl Bucket {
    pub(super) fn full(rate: Rate) -> Self {
        Self { rate, full_at: 0, waiting: VecDeque::new(), promised: 0 }
    }

    /// Takes a token. The rate is as configured now.
    pub(super) fn take(&mut self, rate: Rate, now: Moment) -> Taken {
        self.rate = rate;
        if self.waiting.is_empty() && self.promised == 0 && self.take_one(now) {
            return Taken::Token;
        }
        Taken::Nothing { wait_secs: self.token_at().millis_since(now).div_ceil(1000).max(1) }
    }

    fn take_one(&mut self, now: Moment) -> bool {
        let is_there = self.token_at() <= now;
        if is_there {
            self.full_at = self.full_at.max(nanos(now)).saturating_add(self.rate.interval_nanos());
        }
        is_there
    }

    /// The first moment at which there is a token.
    fn token_at(&self) -> Moment {
        let all_but_one = self.rate.interval_nanos().saturating_mul(u64::from(self.rate.burst.max(1)) - 1);
        Moment(self.full_at.saturating_sub(all_but_one).div_ceil(NANOS_PER_MILLI))
    }

    /// Puts a token back that was not used.
    pub(super) fn give_back(&mut self) {
        self.full_at = self.full_at.saturating_sub(self.rate.interval_nanos());
    }

    /// An event will wait.
    pub(super) fn promise(&mut self) {
        self.promised += 1;
    }

    /// It will not.
    pub(super) fn break_promise(&mut self) {
        self.promised -= 1;
    }

    /// What the event that waits in this lane takes.
    pub(super) fn bytes_in(&self, lane: [u8; 16]) -> Option<usize> {
        self.waiting.iter().find(|late| late.lane == Some(lane)).map(|late| late.bytes)
    }

    /// A promised event waits from now on, in place of the one that waits in its lane; returns the bytes of that one.
    pub(super) fn wait(&mut self, late: Late) -> Option<usize> {
        self.promised -= 1;
        let in_lane = self.waiting.iter_mut().find(|earlier| late.lane.is_some() && earlier.lane == late.lane);
        match in_lane {
            Some(earlier) => Some(std::mem::replace(earlier, late).bytes),
            None => {
                self.waiting.push_back(late);
                None
            }
        }
    }

    /// The first that waits, if there is a token for it.
    pub(super) fn next_late(&mut self, now: Moment) -> Option<Late> {
        if self.waiting.is_empty() || !self.take_one(now) {
            return None;
        }
        self.waiting.pop_front()
    }

    /// When the first that waits may go.
    pub(super) fn next_token(&self) -> Option<Moment> {
        (!self.waiting.is_empty()).then(|| self.token_at())
    }

    pub(super) fn until(&self) -> Option<Moment> {
        let must_stay = !self.waiting.is_empty() || self.promised > 0;
        (!must_stay).then(|| Moment(self.full_at.div_ceil(NANOS_PER_MILLI)))
    }
}

fn nanos(moment: Moment) -> u64 {
    moment.0.saturating_mul(NANOS_PER_MILLI)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bucket: &mut Bucket, rate: Rate, now: u64) -> bool {
        bucket.take(rate, Moment(now)) == Taken::Token
    }

    #[test]
    fn a_burst_may_come_at_once_and_then_one_with_each_token() {
        let rate = Rate { events: 2, per_secs: 1, burst: 3 };
        let mut bucket = Bucket::full(rate);
        for _ in 0..3 {
            assert!(taken(&mut bucket, rate, 10_000));
        }
        assert_eq!(bucket.take(rate, Moment(10_000)), Taken::Nothing { wait_secs: 1 });
        assert!(!taken(&mut bucket, rate, 10_499));
        assert!(taken(&mut bucket, rate, 10_500) && !taken(&mut bucket, rate, 10_500));
        assert_eq!(bucket.until(), Some(Moment(12_000)));
        for _ in 0..3 {
            assert!(taken(&mut bucket, rate, 12_000));
        }
        assert!(!taken(&mut bucket, rate, 12_000));
    }

    #[test]
    fn a_token_that_was_given_back_is_there_again() {
        let rate = Rate { events: 1, per_secs: 60, burst: 1 };
        let mut bucket = Bucket::full(rate);
        assert!(taken(&mut bucket, rate, 0) && !taken(&mut bucket, rate, 59_999));
        assert_eq!(bucket.take(rate, Moment(1)), Taken::Nothing { wait_secs: 60 });
        bucket.give_back();
        assert!(taken(&mut bucket, rate, 1) && !taken(&mut bucket, rate, 60_000));
        assert!(taken(&mut bucket, rate, 60_001));
    }

    #[test]
    fn many_a_second_come_at_their_rate_though_time_has_but_milliseconds() {
        let rate = Rate { events: 3000, per_secs: 1, burst: 1 };
        let mut bucket = Bucket::full(rate);
        let taken: usize = (0..1000).map(|now| (0..10).filter(|_| taken(&mut bucket, rate, now)).count()).sum();
        assert!((999..=3000).contains(&taken), "{taken}");
        let rate = Rate { burst: 3000, ..rate };
        let mut bucket = Bucket::full(rate);
        let taken: usize = (0..10_000).map(|now| (0..10).filter(|_| self::taken(&mut bucket, rate, now)).count()).sum();
        assert!((32_990..=33_000).contains(&taken), "{taken}");
    }

    #[test]
    fn the_largest_numbers_overflow_nothing() {
        let rate = Rate { events: 1, per_secs: u32::MAX, burst: u32::MAX };
        let mut bucket = Bucket::full(rate);
        assert!(taken(&mut bucket, rate, u64::MAX) && taken(&mut bucket, rate, 0));
        bucket.give_back();
        let rate = Rate { events: 0, per_secs: 0, burst: 0 };
        assert!(taken(&mut Bucket::full(rate), rate, 5));
    }
}
