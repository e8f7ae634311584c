//! What became of every order.
//!
//! Owns the books: shipped, delivered, lost, duplicated, and how long each took. Never estimates. The invariant:
//! an order is lost as soon as the server has had it for [`LOST_AFTER`] and its user has not; if it comes later
//! after all, it is delivered, and its latency says how late. Next: `screen.rs`, which shows the books.

use std::collections::VecDeque;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::time::Instant;

use super::orders::Order;

/// When an order that the server accepted and nobody got counts as lost.
pub(super) const LOST_AFTER: Duration = Duration::from_secs(5);

/// Longer latencies are recorded as this one: a minute.
const LATENCY_US_MAX: u64 = 60_000_000;

/// One order's fate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    OnItsWay,
    Delivered,
    Lost,
}

/// The books.
#[derive(Debug)]
pub(super) struct Ledger {
    fates: Vec<Fate>,
    /// Accepted orders that are not yet old enough to be judged, oldest first.
    unjudged: VecDeque<(Instant, u64)>,
    counts: Counts,
    latency: Histogram<u64>,
}

/// The sums.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Counts {
    /// Orders that the server accepted.
    pub(super) shipped: u64,
    /// Orders that arrived, each counted once.
    pub(super) delivered: u64,
    /// Orders that were accepted and did not arrive.
    pub(super) lost: u64,
    /// Arrivals beyond an order's first.
    pub(super) duplicated: u64,
    /// Arrivals at somebody else.
    pub(super) misdelivered: u64,
    /// Orders whose request failed.
    pub(super) refused: u64,
    /// Orders that were accepted, did not arrive yet and are not yet lost.
    pub(super) under_way: u64,
    /// Bytes of messages that brought orders.
    pub(super) bytes: u64,
}

impl Counts {
    /// Whether every order reached its user, once.
    pub(super) fn are_clean(&self) -> bool {
        self.lost == 0 && self.duplicated == 0 && self.misdelivered == 0 && self.refused == 0
    }
}

/// From the beginning of an HTTP request to the arrival at the user's socket, in microseconds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Latency {
    pub(super) p50: u64,
    pub(super) p99: u64,
    pub(super) max: u64,
}

impl Ledger {
    pub(super) fn new() -> Self {
        let latency = Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("bounds and precision are lawful");
        Self { fates: Vec::new(), unjudged: VecDeque::new(), counts: Counts::default(), latency }
    }

    /// The number of the next order.
    pub(super) fn open(&mut self) -> u64 {
        self.fates.push(Fate::OnItsWay);
        self.fates.len() as u64 - 1
    }

    /// The server has taken these over.
    pub(super) fn accept(&mut self, orders: &[Order], now: Instant) {
        self.counts.shipped += orders.len() as u64;
        self.unjudged.extend(orders.iter().map(|order| (now, order.seq)));
    }

    /// The server has not, as far as we know.
    pub(super) fn refuse(&mut self, orders: &[Order]) {
        self.counts.refused += orders.len() as u64;
    }

    /// An order came to `user`, so long after the demo's beginning.
    pub(super) fn arrive(&mut self, order: Order, user: u32, since_start: Duration, bytes: usize) {
        self.counts.bytes += bytes as u64;
        if order.user != user {
            self.counts.misdelivered += 1;
            return;
        }
        let Some(fate) = usize::try_from(order.seq).ok().and_then(|seq| self.fates.get_mut(seq)) else {
            // No order of ours has this number: somebody else published it.
            return;
        };
        match std::mem::replace(fate, Fate::Delivered) {
            Fate::Delivered => {
                self.counts.duplicated += 1;
                return;
            }
            Fate::Lost => self.counts.lost -= 1,
            Fate::OnItsWay => {}
        }
        self.counts.delivered += 1;
        let now_us = u64::try_from(since_start.as_micros()).unwrap_or(u64::MAX);
        self.latency.saturating_record(now_us.saturating_sub(order.sent_us).max(1));
    }

    /// Judges what is old enough, and gives the sums.
    pub(super) fn counts(&mut self, now: Instant) -> Counts {
        while let Some((accepted, seq)) = self.unjudged.front().copied() {
            let fate = &mut self.fates[seq as usize];
            if *fate == Fate::OnItsWay {
                if now.duration_since(accepted) < LOST_AFTER {
                    break;
                }
                *fate = Fate::Lost;
                self.counts.lost += 1;
            }
            self.unjudged.pop_front();
        }
        let is_under_way = |(_, seq): &&(Instant, u64)| self.fates[*seq as usize] == Fate::OnItsWay;
        Counts { under_way: self.unjudged.iter().filter(is_under_way).count() as u64, ..self.counts }
    }

    /// Whether nothing is on its way any more. For after [`counts`](Self::counts).
    pub(super) fn is_settled(&self) -> bool {
        self.unjudged.is_empty()
    }

    /// How long deliveries took, once there is one.
    pub(super) fn latency(&self) -> Option<Latency> {
        (!self.latency.is_empty()).then(|| Latency {
            p50: self.latency.value_at_quantile(0.5),
            p99: self.latency.value_at_quantile(0.99),
            max: self.latency.max(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped(ledger: &mut Ledger, count: u64, now: Instant) -> Vec<Order> {
        let orders: Vec<_> = (0..count).map(|_| Order::new(ledger.open(), 1, Duration::ZERO)).collect();
        ledger.accept(&orders, now);
        orders
    }

    #[test]
    fn an_order_is_lost_at_the_bound_and_not_before() {
        let (mut ledger, now) = (Ledger::new(), Instant::now());
        shipped(&mut ledger, 1, now);
        let before = ledger.counts(now + LOST_AFTER - Duration::from_nanos(1));
        assert_eq!((before.lost, before.under_way, ledger.is_settled()), (0, 1, false));
        let after = ledger.counts(now + LOST_AFTER);
        assert_eq!((after.lost, after.under_way), (1, 0));
        assert!(ledger.is_settled());
    }

    #[test]
    fn a_late_order_is_delivered_after_all() {
        let (mut ledger, now) = (Ledger::new(), Instant::now());
        let orders = shipped(&mut ledger, 1, now);
        assert_eq!(ledger.counts(now + LOST_AFTER).lost, 1);
        ledger.arrive(orders[0], 1, Duration::from_secs(6), 1200);
        let counts = ledger.counts(now + LOST_AFTER);
        assert_eq!((counts.lost, counts.delivered, counts.duplicated), (0, 1, 0));
        assert!(ledger.latency().unwrap().max >= 6_000_000);
    }

    #[test]
    fn a_second_arrival_is_a_duplicate_and_one_elsewhere_is_misdelivered() {
        let (mut ledger, now) = (Ledger::new(), Instant::now());
        let orders = shipped(&mut ledger, 1, now);
        for user in [1, 1, 2] {
            ledger.arrive(orders[0], user, Duration::from_millis(1), 10);
        }
        let counts = ledger.counts(now);
        assert_eq!((counts.delivered, counts.duplicated, counts.misdelivered), (1, 1, 1));
        assert!(!counts.are_clean());
    }

    #[test]
    fn an_arrival_before_the_servers_answer_is_delivered_too() {
        let (mut ledger, now) = (Ledger::new(), Instant::now());
        let order = Order::new(ledger.open(), 1, Duration::ZERO);
        ledger.arrive(order, 1, Duration::from_micros(250), 10);
        ledger.accept(&[order], now);
        let counts = ledger.counts(now);
        assert_eq!((counts.shipped, counts.delivered, ledger.is_settled()), (1, 1, true));
        assert_eq!(ledger.latency().unwrap(), Latency { p50: 250, p99: 250, max: 250 });
        assert!(counts.are_clean());
    }

    #[test]
    fn a_number_that_was_never_given_out_changes_nothing() {
        let mut ledger = Ledger::new();
        ledger.arrive(Order::new(9, 1, Duration::ZERO), 1, Duration::ZERO, 0);
        assert_eq!(ledger.counts(Instant::now()), Counts::default());
    }
}
