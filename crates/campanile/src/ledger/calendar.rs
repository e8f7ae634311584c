//! Days and months of UTC.
//!
//! Owns the arithmetic of the Gregorian calendar (Howard Hinnant's `civil_from_days`). Never reads a clock. The invariant:
//! a later second is never in an earlier day or month.

const DAY_SECS: u64 = 86_400;
/// From the first of March of the year 0 to 1970.
const DAYS_BEFORE_1970: i64 = 719_468;
const DAYS_PER_ERA: i64 = 146_097;

/// Days since 1970.
pub(super) fn day(secs: u64) -> i64 {
    i64::try_from(secs / DAY_SECS).unwrap_or(i64::MAX)
}

/// Months since the year 0.
pub(super) fn month(secs: u64) -> i64 {
    let days = day(secs).saturating_add(DAYS_BEFORE_1970);
    let (era, day_of_era) = (days.div_euclid(DAYS_PER_ERA), days.rem_euclid(DAYS_PER_ERA));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Of a year that begins in March.
    let month = (5 * day_of_year + 2) / 153;
    (era * 400 + year_of_era) * 12 + month + 2
}

/// When the day ends, in seconds since 1970.
pub(super) fn end_of_day(secs: u64) -> u64 {
    (secs / DAY_SECS + 1).saturating_mul(DAY_SECS)
}

/// When the month ends, in seconds since 1970.
pub(super) fn end_of_month(secs: u64) -> u64 {
    let this = month(secs);
    let mut end = end_of_day(secs);
    while month(end) == this {
        end += DAY_SECS;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seconds at the beginning of a day, counted by walking.
    fn days() -> impl Iterator<Item = (i64, i64, i64)> {
        let length = |year: i64, month| match month {
            2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        (1970..2120)
            .flat_map(|year| (1..=12).map(move |month| (year, month)))
            .flat_map(move |(year, month)| (1..=length(year, month)).map(move |day| (year, month, day)))
    }

    #[test]
    fn every_day_of_a_hundred_and_fifty_years_is_in_its_month() {
        for (number, (year, of_year, day_of_month)) in (0..).zip(days()) {
            let secs = number * DAY_SECS;
            for secs in [secs, secs + DAY_SECS - 1] {
                assert_eq!(month(secs), year * 12 + of_year - 1, "{year}-{of_year}-{day_of_month}");
            }
            if day_of_month == 1 && number > 0 {
                assert_eq!(end_of_month(secs - 1), secs);
            }
        }
    }

    #[test]
    fn a_day_ends_with_its_last_second() {
        assert_eq!((end_of_day(0), end_of_day(DAY_SECS - 1), end_of_day(DAY_SECS)), (DAY_SECS, DAY_SECS, 2 * DAY_SECS));
        assert_eq!((day(DAY_SECS - 1), day(DAY_SECS)), (0, 1));
    }
}
