//! The bytes of HTTP requests and answers that one worker holds.
//!
//! Owns the count. Never holds a byte itself, and never waits: whoever finds no room is told to try again. The invariant:
//! a share is counted until what it was taken for is gone, so all shares together are within the bound, unless there is but
//! one, which may be as large as what is legal, or what has happened already must be told. Read on in [`crate::api`].

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

/// What one worker's requests and answers take together.
#[derive(Debug, Default)]
pub(crate) struct Budget(Arc<AtomicUsize>);

/// What one of them takes. Given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    held: Arc<AtomicUsize>,
    bytes: usize,
}

/// There is no room.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Exhausted;

/// Bytes, and the share that they take.
struct Kept {
    bytes: Bytes,
    _share: Share,
}

impl Budget {
    /// A share of nothing yet.
    pub(crate) fn share(&self) -> Share {
        Share { held: Arc::clone(&self.0), bytes: 0 }
    }
}

impl Share {
    /// Takes as much more as makes it `bytes`, if all shares are then within `max` or there is no other.
    pub(crate) fn grow_to(&mut self, bytes: usize, max: usize) -> Result<(), Exhausted> {
        // Only the worker's own thread takes; that bytes are given back elsewhere can but make room.
        let others = self.held.load(Ordering::Relaxed) - self.bytes;
        if others > 0 && others.saturating_add(bytes) > max {
            return Err(Exhausted);
        }
        self.count(bytes);
        Ok(())
    }

    /// Counts until the last of these bytes is dropped, even if there is no room.
    pub(crate) fn keep(mut self, bytes: impl Into<Bytes>) -> Bytes {
        let bytes = bytes.into();
        if bytes.is_empty() {
            return bytes;
        }
        self.count(bytes.len());
        Bytes::from_owner(Kept { bytes, _share: self })
    }

    fn count(&mut self, bytes: usize) {
        if let Some(more) = bytes.checked_sub(self.bytes) {
            self.held.fetch_add(more, Ordering::Relaxed);
            self.bytes = bytes;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl AsRef<[u8]> for Kept {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_take_as_much_as_the_bound_and_one_byte_more_is_refused() {
        let budget = Budget::default();
        let (mut one, mut other) = (budget.share(), budget.share());
        one.grow_to(60, 100).unwrap();
        assert_eq!(other.grow_to(41, 100), Err(Exhausted));
        other.grow_to(40, 100).unwrap();
        assert_eq!(one.grow_to(61, 100), Err(Exhausted));
        // What it has it keeps, and never gives back by asking for less.
        one.grow_to(10, 100).unwrap();
        assert_eq!(budget.0.load(Ordering::Relaxed), 100);
        drop(other);
        one.grow_to(1000, 100).unwrap();
        assert_eq!(budget.share().grow_to(1, 100), Err(Exhausted));
        drop(one);
        assert_eq!(budget.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_is_kept_counts_until_its_last_piece_is_gone() {
        let budget = Budget::default();
        let held = || budget.0.load(Ordering::Relaxed);
        let mut share = budget.share();
        share.grow_to(10, 100).unwrap();
        let mut bytes = share.keep(vec![b'x'; 200]);
        assert_eq!(held(), 200);
        let piece = bytes.split_to(1);
        drop(bytes);
        assert_eq!((held(), &*piece), (200, &b"x"[..]));
        drop(piece);
        assert_eq!(held(), 0);
        assert!(budget.share().keep(Bytes::new()).is_empty());
        assert_eq!(held(), 0);
    }
}
