//! How many connections each worker has in something.
//!
//! Owns the counts. Never knows which connections they are. The invariant: a worker that is listed has at least one,
//! so whoever is listed is to be told.

use crate::letter::WorkerId;

/// Connections by worker. Few workers: a list is smaller and faster than a map.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally(Vec<(WorkerId, u32)>);

impl Tally {
    pub(crate) fn add(&mut self, worker: WorkerId) {
        match self.0.iter_mut().find(|(known, _)| *known == worker) {
            Some((_, count)) => *count += 1,
            None => self.0.push((worker, 1)),
        }
    }

    pub(crate) fn remove(&mut self, worker: WorkerId) {
        if let Some(at) = self.0.iter().position(|(known, _)| *known == worker) {
            self.0[at].1 -= 1;
            if self.0[at].1 == 0 {
                self.0.swap_remove(at);
            }
        }
    }

    /// Forgets all of a worker's. False: it had none.
    pub(crate) fn forget(&mut self, worker: WorkerId) -> bool {
        let before = self.0.len();
        self.0.retain(|(known, _)| *known != worker);
        self.0.len() < before
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.iter().map(|(_, count)| *count as usize).sum()
    }

    pub(crate) fn workers(&self) -> impl Iterator<Item = WorkerId> {
        self.0.iter().map(|(worker, _)| *worker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_listed_as_long_as_it_has_one() {
        let mut tally = Tally::default();
        tally.add(WorkerId(1));
        tally.add(WorkerId(1));
        tally.add(WorkerId(2));
        tally.remove(WorkerId(1));
        assert_eq!((tally.count(), tally.workers().count()), (2, 2));
        tally.remove(WorkerId(1));
        assert_eq!(tally.workers().collect::<Vec<_>>(), [WorkerId(2)]);
    }

    #[test]
    fn what_is_not_there_cannot_be_removed() {
        let mut tally = Tally::default();
        tally.remove(WorkerId(1));
        assert!(tally.is_empty());
        assert!(!tally.forget(WorkerId(1)));
    }

    #[test]
    fn forgetting_a_worker_leaves_the_others() {
        let mut tally = Tally::default();
        tally.add(WorkerId(1));
        tally.add(WorkerId(1));
        tally.add(WorkerId(2));
        assert!(tally.forget(WorkerId(1)));
        assert_eq!((tally.count(), tally.is_empty()), (1, false));
    }
}
