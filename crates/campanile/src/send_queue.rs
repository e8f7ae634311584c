//! What the kernel would not take yet of one connection's bytes, and how much that is for all of a worker's.
//!
//! Owns the slices and the two sums. Never writes, and never decides whom to close: [`crate::socket`] holds one queue to
//! its bound, [`crate::worker`] all of them to theirs. The invariant: the sum of all is what the queues that exist hold,
//! so a queue that is dropped, for whatever reason, gives back its part.

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;

/// What a queued slice takes beside its bytes: its place in the queue, and the allocation that it shares or owns.
pub(crate) const SLICE_OVERHEAD_BYTES: usize = 96;

/// What a slice counts. One that several connections share counts for each: it is held until the last has it.
pub(crate) fn cost(slice: &Bytes) -> usize {
    slice.len() + SLICE_OVERHEAD_BYTES
}

/// What waits for all connections of a worker.
#[derive(Debug, Clone, Default)]
pub(crate) struct Backlog(Rc<Cell<usize>>);

impl Backlog {
    /// In bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.0.get()
    }

    fn add(&self, bytes: usize) {
        self.0.set(self.0.get() + bytes);
    }

    fn take(&self, bytes: usize) {
        self.0.set(self.0.get() - bytes);
    }
}

/// What waits for one connection, in whole frames but for the first.
#[derive(Debug)]
pub(crate) struct SendQueue {
    slices: VecDeque<Bytes>,
    bytes: usize,
    all: Backlog,
}

impl SendQueue {
    pub(crate) fn new(all: Backlog) -> Self {
        Self { slices: VecDeque::new(), bytes: 0, all }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.slices.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.slices.len()
    }

    /// What it counts.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.slices.iter()
    }

    pub(crate) fn push(&mut self, slice: Bytes) {
        self.bytes += cost(&slice);
        self.all.add(cost(&slice));
        self.slices.push_back(slice);
    }

    /// So many bytes have been written.
    pub(crate) fn forget(&mut self, mut written: usize) {
        let before = self.bytes;
        while let Some(front) = self.slices.front_mut() {
            if written < front.len() {
                *front = front.slice(written..);
                self.bytes -= written;
                break;
            }
            written -= front.len();
            self.bytes -= cost(front);
            self.slices.pop_front();
        }
        if self.slices.is_empty() {
            // The room of a long queue is not kept for a short one.
            self.slices = VecDeque::new();
        }
        self.all.take(before - self.bytes);
    }

    /// Drops all but the first slice, which may have been written in part.
    pub(crate) fn keep_first(&mut self) {
        let before = self.bytes;
        self.slices.truncate(1);
        self.bytes = self.slices.front().map_or(0, cost);
        self.all.take(before - self.bytes);
    }
}

impl Drop for SendQueue {
    fn drop(&mut self) {
        self.all.take(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_queues_together_are_what_each_of_them_holds() {
        let all = Backlog::default();
        let (mut first, mut second) = (SendQueue::new(all.clone()), SendQueue::new(all.clone()));
        for length in [10, 20, 30] {
            first.push(Bytes::from(vec![0; length]));
            second.push(Bytes::from(vec![0; 10 * length]));
        }
        assert_eq!(all.bytes(), 660 + 6 * SLICE_OVERHEAD_BYTES);
        first.forget(15);
        assert_eq!((first.bytes(), first.len()), (45 + 2 * SLICE_OVERHEAD_BYTES, 2));
        second.keep_first();
        assert_eq!(all.bytes(), 45 + 100 + 3 * SLICE_OVERHEAD_BYTES);
        drop(second);
        first.forget(45);
        assert!(first.is_empty() && all.bytes() == 0 && first.slices.capacity() == 0);
    }
}
