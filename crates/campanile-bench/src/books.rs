//! What arrived, and what did not.
//!
//! Owns the judgement of every delivery: each client expects the numbers of each publisher in order, each once.
//! Never sends anything. The invariant: a run whose books are not clean has failed, whatever its speed.

use hdrhistogram::Histogram;

use crate::stamp::Stamp;

/// Deliveries by lane, and how long each took.
#[derive(Debug)]
pub(crate) struct Books {
    /// One for each client and publisher.
    lanes: Vec<Lane>,
    publishers: usize,
    latency_ns: Histogram<u64>,
    pub(crate) delivered: u64,
    pub(crate) duplicated: u64,
    pub(crate) reordered: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Lane {
    next: u64,
    /// Numbers that were skipped and have not come since.
    missing: u64,
}

const LATENCY_MAX_NS: u64 = 60_000_000_000;

impl Books {
    pub(crate) fn new(clients: usize, publishers: usize) -> Self {
        let latency_ns = Histogram::new_with_bounds(1_000, LATENCY_MAX_NS, 3).expect("constant bounds that are valid");
        let lanes = vec![Lane::default(); clients * publishers];
        Self { lanes, publishers, latency_ns, delivered: 0, duplicated: 0, reordered: 0 }
    }

    pub(crate) fn arrive(&mut self, client: usize, stamp: Stamp, now_ns: u64) {
        let lane = &mut self.lanes[client * self.publishers + usize::from(stamp.stream)];
        self.latency_ns.saturating_record(now_ns.saturating_sub(stamp.sent_ns));
        if stamp.number >= lane.next {
            lane.missing += stamp.number - lane.next;
            lane.next = stamp.number + 1;
            self.delivered += 1;
        } else if lane.missing > 0 {
            lane.missing -= 1;
            self.reordered += 1;
            self.delivered += 1;
        } else {
            self.duplicated += 1;
        }
    }

    /// How many of `expected` deliveries have not come.
    pub(crate) fn lost(&self, expected: u64) -> u64 {
        expected.saturating_sub(self.delivered)
    }

    /// Forgets how long deliveries took until now: they were for warming up.
    pub(crate) fn restart_latency(&mut self) {
        self.latency_ns.reset();
    }

    pub(crate) fn latency_us(&self, quantile: f64) -> f64 {
        self.latency_ns.value_at_quantile(quantile) as f64 / 1_000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn books(numbers: &[u64]) -> Books {
        let mut books = Books::new(1, 1);
        for number in numbers {
            books.arrive(0, Stamp { stream: 0, number: *number, sent_ns: 0 }, 1_000);
        }
        books
    }

    fn figures(numbers: &[u64], expected: u64) -> (u64, u64, u64) {
        let books = books(numbers);
        (books.lost(expected), books.duplicated, books.reordered)
    }

    #[test]
    fn every_number_once_and_in_order_is_clean() {
        assert_eq!(figures(&[0, 1, 2], 3), (0, 0, 0));
    }

    #[test]
    fn what_never_came_is_lost_wherever_it_was() {
        assert_eq!(figures(&[0, 2], 3), (1, 0, 0));
        assert_eq!(figures(&[0, 1], 3), (1, 0, 0));
        assert_eq!(figures(&[], 3), (3, 0, 0));
    }

    #[test]
    fn what_comes_twice_is_a_duplicate_and_what_comes_late_is_out_of_order() {
        assert_eq!(figures(&[0, 0, 1], 2), (0, 1, 0));
        assert_eq!(figures(&[1, 0, 2], 3), (0, 0, 1));
    }

    #[test]
    fn publishers_have_no_order_among_them() {
        let mut books = Books::new(1, 2);
        for (stream, number) in [(1, 0), (0, 0), (1, 1), (0, 1)] {
            books.arrive(0, Stamp { stream, number, sent_ns: 0 }, 1_000);
        }
        assert_eq!((books.delivered, books.lost(4), books.reordered), (4, 0, 0));
    }
}
