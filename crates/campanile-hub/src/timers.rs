//! What must be looked at again later.
//!
//! Owns a queue of moments. Never reads a clock. The invariant: whoever waits has one entry, which may come too early
//! but never too late. An entry is only a reason to look; whoever looks decides from its own state whether anything is
//! due, so a deadline that moves away costs nothing. Read on in [`crate::hub`].

use std::collections::BTreeMap;

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

    /// When the second that it lies in is over.
    #[must_use]
    pub fn next_second(self) -> Self {
        Self((self.0 / 1000 + 1).saturating_mul(1000))
    }

    /// How long ago `earlier` was, in milliseconds.
    pub fn millis_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The entry of one who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Alarm {
    at: Moment,
    /// Of two for the same moment, the one that was set first comes first.
    number: u64,
}

/// Entries by the moment at which to look at them. Whoever waits keeps its [`Alarm`].
#[derive(Debug, Clone)]
pub(crate) struct Timers<T> {
    entries: BTreeMap<Alarm, T>,
    number: u64,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self { entries: BTreeMap::new(), number: 0 }
    }
}

impl<T> Timers<T> {
    /// Makes `alarm` come at this moment, or leaves it where it comes earlier.
    pub(crate) fn no_later_than(&mut self, at: Moment, alarm: &mut Option<Alarm>, what: impl FnOnce() -> T) {
        if alarm.is_some_and(|alarm| alarm.at <= at) {
            return;
        }
        self.cancel(alarm);
        self.number += 1;
        let set = Alarm { at, number: self.number };
        self.entries.insert(set, what());
        *alarm = Some(set);
    }

    /// Takes the entry out.
    pub(crate) fn cancel(&mut self, alarm: &mut Option<Alarm>) {
        if let Some(alarm) = alarm.take() {
            self.entries.remove(&alarm);
        }
    }

    /// When to look next.
    pub(crate) fn next(&self) -> Option<Moment> {
        self.entries.first_key_value().map(|(alarm, _)| alarm.at)
    }

    /// Takes out the earliest entry whose time has come.
    pub(crate) fn pop(&mut self, now: Moment) -> Option<T> {
        if self.next()? > now {
            return None;
        }
        self.entries.pop_first().map(|(_, what)| what)
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_comes_at_its_moment_and_not_before() {
        let mut timers = Timers::default();
        timers.no_later_than(Moment(1000), &mut None, || "a");
        assert_eq!(timers.next(), Some(Moment(1000)));
        assert_eq!(timers.pop(Moment(999)), None);
        assert_eq!(timers.pop(Moment(1000)), Some("a"));
        assert_eq!((timers.next(), timers.len()), (None, 0));
    }

    #[test]
    fn of_two_for_the_same_moment_the_first_set_comes_first() {
        let mut timers = Timers::default();
        for name in ["b", "a", "c"] {
            timers.no_later_than(Moment(5), &mut None, || name);
        }
        let order: Vec<_> = std::iter::from_fn(|| timers.pop(Moment(5))).collect();
        assert_eq!(order, ["b", "a", "c"]);
    }

    #[test]
    fn whoever_waits_has_one_entry_however_often_its_deadline_moves() {
        let (mut timers, mut alarm) = (Timers::default(), None);
        for at in (1..=1000).chain((1..=1000).rev()) {
            timers.no_later_than(Moment(at), &mut alarm, || ());
            assert_eq!((timers.len(), timers.next()), (1, Some(Moment(1))));
        }
        timers.cancel(&mut alarm);
        assert_eq!((timers.len(), alarm), (0, None));
    }

    #[test]
    fn a_deadline_that_moves_nearer_moves_its_entry() {
        let (mut timers, mut alarm) = (Timers::default(), None);
        timers.no_later_than(Moment(9), &mut alarm, || ());
        timers.no_later_than(Moment(4), &mut alarm, || ());
        assert_eq!((timers.len(), timers.next()), (1, Some(Moment(4))));
    }

    #[test]
    fn moments_saturate_at_the_end_of_time() {
        assert_eq!(Moment(u64::MAX).after_secs(1), Moment(u64::MAX));
        assert_eq!(Moment(1).after_secs(u64::MAX), Moment(u64::MAX));
        assert_eq!(Moment(1).millis_since(Moment(2)), 0);
    }
}
