//! What breaks a loop: the same body too often, or a name much more often than it used to be.
//!
//! Owns the counts behind one key. Never tells anybody: [`super::alarm`] does. The invariant: a breaker that is open lets
//! nothing pass and counts nothing, and closes by time alone.

use super::claim::{RepeatOf, SurgeOf, Verdict};
use crate::timers::Moment;

/// How often the same body came.
#[derive(Debug, Clone)]
pub(super) struct Repeats {
    count: u32,
    since: Moment,
    /// When what was counted is of no interest any more.
    until: Moment,
    open_until: Moment,
}

impl Repeats {
    pub(super) fn new(now: Moment) -> Self {
        Self { count: 0, since: now, until: now, open_until: now }
    }

    /// Counts one more, or stops it.
    pub(super) fn count(&mut self, of: &RepeatOf, now: Moment) -> Verdict {
        if now < self.open_until {
            return Verdict::Dropped;
        }
        if now >= self.since.after_secs(of.within_secs) || self.until <= self.open_until {
            (self.count, self.since) = (0, now);
        }
        self.until = self.since.after_secs(of.within_secs);
        if self.count >= of.repeats {
            self.open_until = now.after_secs(of.cool_down_secs);
            self.until = self.open_until;
            return Verdict::Dropped;
        }
        self.count += 1;
        Verdict::Granted
    }

    /// One that was counted was not published.
    pub(super) fn give_back(&mut self) {
        self.count = self.count.saturating_sub(1);
    }

    pub(super) fn until(&self) -> Moment {
        self.until
    }
}

/// Of the five minutes, in slots.
const SLOTS: usize = 30;
/// A slot.
const SLOT_SECS: u64 = 10;

/// How often an event's name came, in slots of ten seconds over five minutes.
#[derive(Debug, Clone)]
pub(super) struct Surges {
    /// By the number of the slot, modulo their count; one of them is the present one.
    counts: [u32; SLOTS + 1],
    first_slot: u64,
    slot: u64,
    open_until: Moment,
}

fn slot_of(now: Moment) -> u64 {
    now.0 / (SLOT_SECS * 1000)
}

fn place_of(slot: u64) -> usize {
    usize::try_from(slot % (SLOTS as u64 + 1)).unwrap_or(0)
}

impl Surges {
    pub(super) fn new(now: Moment) -> Self {
        let slot = slot_of(now);
        Self { counts: [0; SLOTS + 1], first_slot: slot, slot, open_until: now }
    }

    /// Counts one more, or stops it.
    pub(super) fn count(&mut self, of: &SurgeOf, now: Moment) -> Verdict {
        if now < self.open_until {
            return Verdict::Dropped;
        }
        self.turn_to(slot_of(now));
        let present = place_of(self.slot);
        if self.counts[present] >= self.most(of) {
            self.open_until = now.after_secs(of.cool_down_secs);
            return Verdict::Dropped;
        }
        self.counts[present] = self.counts[present].saturating_add(1);
        Verdict::Granted
    }

    /// So many may come in the present slot: so many times the average of those before it, as far as there were any.
    fn most(&self, of: &SurgeOf) -> u32 {
        let slots = (self.slot - self.first_slot).min(SLOTS as u64);
        let before: u64 = (1..=slots).map(|back| u64::from(self.counts[place_of(self.slot - back)])).sum();
        let times_average = (before * u64::from(of.times)).checked_div(slots).unwrap_or(0);
        u32::try_from(times_average).unwrap_or(u32::MAX).max(of.floor)
    }

    fn turn_to(&mut self, slot: u64) {
        for passed in (self.slot + 1..=slot).take(SLOTS + 1) {
            self.counts[place_of(passed)] = 0;
        }
        if slot > self.slot + SLOTS as u64 {
            // After a silence of more than five minutes it is as new.
            self.counts = [0; SLOTS + 1];
            self.first_slot = slot;
        }
        self.slot = self.slot.max(slot);
    }

    /// One that was counted was not published.
    pub(super) fn give_back(&mut self, now: Moment) {
        if slot_of(now) == self.slot {
            let present = place_of(self.slot);
            self.counts[present] = self.counts[present].saturating_sub(1);
        }
    }

    pub(super) fn until(&self) -> Moment {
        let silent = Moment((self.slot + SLOTS as u64 + 1).saturating_mul(SLOT_SECS * 1000));
        silent.max(self.open_until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPEAT: RepeatOf = RepeatOf { repeats: 3, within_secs: 10, cool_down_secs: 60 };
    const SURGE: SurgeOf = SurgeOf { times: 10, floor: 20, cool_down_secs: 60 };

    fn granted(repeats: &mut Repeats, now: u64) -> bool {
        repeats.count(&REPEAT, Moment(now)) == Verdict::Granted
    }

    fn passed(surges: &mut Surges, now: u64, tries: usize) -> usize {
        (0..tries).filter(|_| surges.count(&SURGE, Moment(now)) == Verdict::Granted).count()
    }

    #[test]
    fn the_same_may_come_as_often_as_the_bound_and_one_more_opens_the_breaker_until_it_has_cooled_down() {
        let mut repeats = Repeats::new(Moment(0));
        assert!((0..3).all(|now| granted(&mut repeats, now)));
        assert!(!granted(&mut repeats, 9_000));
        assert!(!granted(&mut repeats, 10_000), "the window is over and the breaker still open");
        assert!(!granted(&mut repeats, 68_999));
        assert_eq!(repeats.until(), Moment(69_000));
        assert!((69_000..69_003).all(|now| granted(&mut repeats, now)));
        assert!(!granted(&mut repeats, 69_003), "it goes on, and is stopped again");
    }

    #[test]
    fn what_comes_slowly_enough_is_never_stopped() {
        let mut repeats = Repeats::new(Moment(0));
        assert!((0..100).all(|number| granted(&mut repeats, number * 3_334)));
    }

    #[test]
    fn what_was_not_published_is_not_counted() {
        let mut repeats = Repeats::new(Moment(0));
        for now in 0..100 {
            assert!(granted(&mut repeats, now));
            repeats.give_back();
        }
    }

    #[test]
    fn a_new_name_may_come_as_often_as_the_floor_and_no_more() {
        let mut surges = Surges::new(Moment(0));
        assert_eq!(passed(&mut surges, 0, 100), 20);
        assert_eq!(passed(&mut surges, 59_999, 100), 0);
        assert!(passed(&mut surges, 60_000, 100) >= 20);
    }

    #[test]
    fn a_name_may_come_ten_times_as_often_as_on_average_and_one_more_is_stopped() {
        let mut surges = Surges::new(Moment(0));
        for slot in 0..100 {
            assert_eq!(passed(&mut surges, slot * 10_000, 7), 7);
        }
        assert_eq!(passed(&mut surges, 1_000_000, 100), 70);
        assert_eq!(passed(&mut surges, 1_009_999, 100), 0);
    }

    #[test]
    fn after_five_minutes_of_silence_a_name_is_as_new() {
        let mut surges = Surges::new(Moment(0));
        for slot in 0..40 {
            passed(&mut surges, slot * 10_000, 10);
        }
        assert_eq!(surges.until(), Moment(700_000));
        assert_eq!(passed(&mut surges, 700_000, 100), 20);
    }

    #[test]
    fn an_open_breaker_keeps_its_key_until_it_has_cooled_down() {
        let long = SurgeOf { cool_down_secs: 3600, ..SURGE };
        let mut surges = Surges::new(Moment(0));
        assert_eq!((0..30).filter(|_| surges.count(&long, Moment(0)) == Verdict::Granted).count(), 20);
        assert_eq!(surges.until(), Moment(3_600_000));
    }
}
