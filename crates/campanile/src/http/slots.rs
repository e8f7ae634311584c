//! How many HTTP connections a worker has, and which of them may be spared.
//!
//! Owns the count and what each connection is at. Never closes one itself: whoever drives it is told by
//! [`Slot::evicted`] and [`Slot::idle_for`]. The invariant: there are never more slots than the bound, and a connection with a request under
//! way keeps its slot. Read on in [`crate::http`].

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// The connections of one worker.
#[derive(Debug, Default)]
pub(super) struct Slots {
    next: Cell<u64>,
    taken: RefCell<BTreeMap<u64, Rc<Activity>>>,
}

/// One connection in the count, until it is dropped or evicted.
#[derive(Debug)]
pub(crate) struct Slot {
    number: u64,
    slots: Rc<Slots>,
    activity: Rc<Activity>,
}

/// A request that is under way.
#[derive(Debug)]
pub(super) struct Busy(Rc<Activity>);

#[derive(Debug)]
struct Activity {
    under_way: Cell<usize>,
    idle_since: Cell<Instant>,
    /// Whether bytes have come since the last request began or ended. Shared with who reads them.
    have_come: Arc<AtomicBool>,
    /// When the next request's head was first seen to arrive.
    head_since: Cell<Option<Instant>>,
    evicted: Notify,
}

impl Slots {
    pub(super) fn taken(&self) -> usize {
        self.taken.borrow().len()
    }

    /// A slot for one more. Where all are taken, whoever has asked for nothing for longest makes room.
    pub(super) fn take(self: &Rc<Self>, max: usize) -> Option<Slot> {
        let mut taken = self.taken.borrow_mut();
        while taken.len() >= max {
            let idle = taken.iter().filter(|(_, activity)| activity.under_way.get() == 0);
            let (&longest, _) = idle.min_by_key(|(_, activity)| activity.idle_since.get())?;
            if let Some(activity) = taken.remove(&longest) {
                activity.evicted.notify_one();
            }
        }
        let (number, activity) = (self.next.get(), Rc::new(Activity::new()));
        self.next.set(number + 1);
        taken.insert(number, Rc::clone(&activity));
        Some(Slot { number, slots: Rc::clone(self), activity })
    }
}

impl Slot {
    /// Keeps the slot until what is returned is dropped.
    pub(super) fn begin(&self) -> Busy {
        self.activity.turn();
        self.activity.under_way.set(self.activity.under_way.get() + 1);
        Busy(Rc::clone(&self.activity))
    }

    /// To be set whenever bytes come.
    pub(super) fn have_come(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.activity.have_come)
    }

    /// Waits until the connection has asked for nothing for as long as `idle_timeout`, or has been asking for as long as
    /// `head_timeout`. To be polled whenever its bytes have been read, by the same task.
    pub(super) async fn idle_for(&self, idle_timeout: Duration, head_timeout: Duration) {
        let mut sleep = pin!(tokio::time::sleep(idle_timeout));
        poll_fn(|context| {
            loop {
                let now = Instant::now();
                let due = self.activity.due(now, idle_timeout, head_timeout);
                if due <= now {
                    return Poll::Ready(());
                }
                if sleep.is_elapsed() || due < sleep.deadline() {
                    sleep.as_mut().reset(due);
                }
                ready!(sleep.as_mut().poll(context));
            }
        })
        .await;
    }

    /// Waits until somebody else has got the slot.
    pub(super) async fn evicted(&self) {
        self.activity.evicted.notified().await;
    }
}

impl Activity {
    fn new() -> Self {
        Self {
            under_way: Cell::new(0),
            idle_since: Cell::new(Instant::now()),
            have_come: Arc::default(),
            head_since: Cell::new(None),
            evicted: Notify::new(),
        }
    }

    /// A request begins or ends: what came before was its own.
    fn turn(&self) {
        self.have_come.store(false, Ordering::Relaxed);
        self.head_since.set(None);
    }

    fn due(&self, now: Instant, idle_timeout: Duration, head_timeout: Duration) -> Instant {
        if self.under_way.get() > 0 {
            return now + idle_timeout;
        }
        if self.head_since.get().is_none() && self.have_come.load(Ordering::Relaxed) {
            self.head_since.set(Some(now));
        }
        self.head_since.get().map_or(self.idle_since.get() + idle_timeout, |since| since + head_timeout)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.slots.taken.borrow_mut().remove(&self.number);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.under_way.set(self.0.under_way.get() - 1);
        self.0.idle_since.set(Instant::now());
        self.0.turn();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn is_evicted(slot: &Slot) -> bool {
        let mut evicted = pin!(slot.evicted());
        poll_fn(|context| Poll::Ready(evicted.as_mut().poll(context).is_ready())).await
    }

    #[tokio::test]
    async fn the_longest_idle_makes_room_at_the_bound_and_nobody_below_it() {
        let slots = Rc::new(Slots::default());
        let (first, second) = (slots.take(3).unwrap(), slots.take(3).unwrap());
        tokio::time::sleep(Duration::from_millis(2)).await;
        drop(first.begin());
        let third = slots.take(3).unwrap();
        for slot in [&first, &second, &third] {
            assert!(!is_evicted(slot).await);
        }
        let fourth = slots.take(3).unwrap();
        assert_eq!(slots.taken(), 3);
        assert!(is_evicted(&second).await);
        for slot in [&first, &third, &fourth] {
            assert!(!is_evicted(slot).await);
        }
        // Whoever was evicted has no slot to give back.
        drop(second);
        assert_eq!(slots.taken(), 3);
        drop(fourth);
        assert_eq!(slots.taken(), 2);
    }

    #[tokio::test]
    async fn who_has_a_request_under_way_is_not_evicted() {
        let slots = Rc::new(Slots::default());
        let (first, second) = (slots.take(2).unwrap(), slots.take(2).unwrap());
        let (one, two, three) = (first.begin(), first.begin(), second.begin());
        assert!(slots.take(2).is_none());
        drop((one, three));
        let _third = slots.take(2).unwrap();
        assert!(!is_evicted(&first).await && is_evicted(&second).await);
        assert!(slots.take(1).is_none());
        drop(two);
    }

    #[test]
    fn an_idle_time_runs_until_bytes_come_and_then_a_heads_time() {
        const IDLE: Duration = Duration::from_secs(60);
        const HEAD: Duration = Duration::from_secs(10);
        let slot = Rc::new(Slots::default()).take(1).unwrap();
        let due = |now| slot.activity.due(now, IDLE, HEAD);
        let began = slot.activity.idle_since.get();
        let later = |secs| began + Duration::from_secs(secs);
        assert_eq!(due(later(50)), later(60));
        slot.have_come().store(true, Ordering::Relaxed);
        assert_eq!(due(later(55)), later(65));
        // One byte more is no new head.
        slot.have_come().store(true, Ordering::Relaxed);
        assert_eq!(due(later(64)), later(65));
        // What comes while a request is under way belongs to that.
        let busy = slot.begin();
        slot.have_come().store(true, Ordering::Relaxed);
        assert_eq!(due(later(1000)), later(1060));
        drop(busy);
        let ended = slot.activity.idle_since.get();
        assert_eq!(due(ended + HEAD), ended + IDLE);
    }

    #[tokio::test]
    async fn an_idle_wait_ends_at_a_late_head() {
        let slot = Rc::new(Slots::default()).take(1).unwrap();
        let mut idle = pin!(slot.idle_for(Duration::from_secs(3600), Duration::from_millis(20)));
        let is_over = poll_fn(|context| Poll::Ready(idle.as_mut().poll(context).is_ready())).await;
        slot.have_come().store(true, Ordering::Relaxed);
        assert!(!is_over);
        tokio::time::timeout(Duration::from_secs(10), idle).await.unwrap();
    }

    #[tokio::test]
    async fn a_lower_bound_is_reached_with_the_next_connection() {
        let slots = Rc::new(Slots::default());
        let many: Vec<Slot> = (0..5).map(|_| slots.take(5).unwrap()).collect();
        let _one_more = slots.take(2).unwrap();
        assert_eq!(slots.taken(), 2);
        drop(many);
    }
}
