//! What must be looked at again later.
//!
//! Owns a queue of moments. Never reads a clock. The invariant: an entry is only a reason to look; whoever looks
//! decides from its own state whether anything is due, so nothing has to be cancelled.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A point in time, in milliseconds since the process's own zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct Moment(pub u64);

impl Moment {
    /// This much later.
    #[must_use]
    pub fn after_millis(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// This much later.
    #[must_use]
    pub fn after_secs(self, secs: u64) -> Self {
        self.after_millis(secs.saturating_mul(1000))
    }

    /// How long ago `earlier` was, in milliseconds.
    pub fn millis_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Entries by the moment at which to look at them.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    heap: BinaryHeap<Reverse<Entry<T>>>,
    number: u64,
}

#[derive(Debug)]
struct Entry<T> {
    at: Moment,
    number: u64,
    what: T,
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), number: 0 }
    }
}

impl<T> Timers<T> {
    /// Look at this then.
    pub(crate) fn at(&mut self, at: Moment, what: T) {
        self.number += 1;
        self.heap.push(Reverse(Entry { at, number: self.number, what }));
    }

    /// When to look next.
    pub(crate) fn next(&self) -> Option<Moment> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }

    /// The earliest entry whose time has come.
    pub(crate) fn pop(&mut self, now: Moment) -> Option<T> {
        (self.next()? <= now).then(|| self.heap.pop().map(|Reverse(entry)| entry.what))?
    }
}
