//! How often values of which size came.
//!
//! Owns the counts of values that are put together because they hardly differ: four parts for each doubling, so what is read
//! from it is at most a quarter too large, and small numbers are exact. Never keeps a value. The invariant: there are at most
//! [`PARTS_MAX`] parts, whatever comes. Used by [`crate::meter`].

use std::collections::BTreeMap;

/// What is larger counts as this.
const LARGEST: u64 = (1 << 40) - 1;
/// Parts that a histogram may have.
pub const PARTS_MAX: usize = 8 + 4 * 37;
/// Below this each number has a part of its own.
const EXACT: u64 = 8;

/// Counts of values by their size.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Histogram(BTreeMap<u8, u64>);

fn part(value: u64) -> u8 {
    let value = value.min(LARGEST);
    if value < EXACT {
        return u8::try_from(value).expect("it is less than eight");
    }
    let doubling = u64::from(value.ilog2());
    let quarter = value >> (doubling - 2) & 3;
    u8::try_from(EXACT + (doubling - 3) * 4 + quarter).expect("there are fewer parts than a byte has values")
}

/// The largest value of a part.
fn upper(part: u8) -> u64 {
    let part = u64::from(part);
    if part < EXACT {
        return part;
    }
    let (doubling, quarter) = ((part - EXACT) / 4 + 3, (part - EXACT) % 4);
    ((quarter + 5) << (doubling - 2)) - 1
}

impl Histogram {
    /// One more value.
    pub fn count(&mut self, value: u64) {
        self.add(part(value), 1);
    }

    fn add(&mut self, part: u8, count: u64) {
        let sum = self.0.entry(part).or_default();
        *sum = sum.saturating_add(count);
    }

    /// All that another has counted, too.
    pub fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|(part, count)| self.add(*part, *count));
    }

    /// How many values there were.
    pub fn total(&self) -> u64 {
        self.0.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// What so many percent of the values are not larger than; 0 if there were none.
    pub fn percentile(&self, percent: u8) -> u64 {
        let wanted = (u128::from(self.total()) * u128::from(percent)).div_ceil(100).max(1);
        let mut seen = 0_u128;
        for (part, count) in &self.0 {
            seen += u128::from(*count);
            if seen >= wanted {
                return upper(*part);
            }
        }
        0
    }

    /// The parts that have values: the number of each, and how many.
    pub fn parts(&self) -> impl Iterator<Item = (u8, u64)> + '_ {
        self.0.iter().map(|(part, count)| (*part, *count))
    }

    /// A histogram of parts that were told before. Parts that there are not are left out.
    pub fn from_parts(parts: impl IntoIterator<Item = (u8, u64)>) -> Self {
        let mut histogram = Self::default();
        let parts = parts.into_iter().filter(|(part, count)| usize::from(*part) < PARTS_MAX && *count > 0);
        parts.for_each(|(part, count)| histogram.add(part, count));
        histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_lies_in_its_part_and_a_part_is_at_most_a_quarter_wide() {
        let mut before = None;
        for value in (0..10_000).chain((14..40).map(|bits| 1 << bits)).chain([LARGEST]) {
            let part = part(value);
            assert!(usize::from(part) < PARTS_MAX);
            assert!(value <= upper(part), "{value}");
            assert!(value < EXACT || upper(part) - value <= value / 4, "{value} is told as {}", upper(part));
            if let Some(before) = before.replace(part) {
                assert!(part >= before, "{value}");
            }
        }
        assert_eq!(part(u64::MAX), part(LARGEST));
        assert_eq!(usize::from(part(LARGEST)), PARTS_MAX - 1);
        assert_eq!(upper(part(LARGEST)), LARGEST);
    }

    #[test]
    fn percentiles_are_those_of_the_values_to_a_quarter() {
        let mut histogram = Histogram::default();
        assert_eq!((histogram.percentile(50), histogram.total()), (0, 0));
        (1..=1000).for_each(|value| histogram.count(value));
        assert_eq!(histogram.total(), 1000);
        for (percent, exact) in [(1, 10), (50, 500), (99, 990), (100, 1000)] {
            let told = histogram.percentile(percent);
            assert!(told >= exact && told <= exact + exact / 4, "p{percent} is {told}, not {exact}");
        }
        let mut one = Histogram::default();
        one.count(7);
        assert_eq!((one.percentile(0), one.percentile(50), one.percentile(99)), (7, 7, 7));
    }

    #[test]
    fn what_was_told_in_parts_comes_back_and_adds_up() {
        let mut histogram = Histogram::default();
        [1, 1, 900, u64::MAX].into_iter().for_each(|value| histogram.count(value));
        let back = Histogram::from_parts(histogram.parts());
        assert_eq!(back, histogram);
        histogram.merge(&back);
        assert_eq!(histogram.total(), 8);
        assert_eq!(Histogram::from_parts([(u8::MAX, 1), (3, 0)]), Histogram::default());
        let mut full = Histogram::from_parts([(3, u64::MAX)]);
        full.count(3);
        assert_eq!(full.total(), u64::MAX);
    }
}
