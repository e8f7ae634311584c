//! Days and months of UTC.
//!
//! Owns the arithmetic of the Gregorian calendar. Never reads a clock. The invariant: a later second is never in an earlier
//! day or month.

const DAY_SECS: u64 = 86_400;

/// Days since 1970.
pub(crate) fn day(secs: u64) -> u64 {
    secs / DAY_SECS
}

/// Months since the year 0.
pub(crate) fn month(secs: u64) -> u64 {
    let (year, month, _) = date(day(secs));
    year * 12 + month - 1
}

/// Year, month and day of a day counted from 1970-01-01. Years are counted from March, so that a leap day is a year's
/// last.
pub(crate) fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_FROM_MARCH_OF_YEAR_0: u64 = 719_468;
    const DAYS_PER_400_YEARS: u64 = 146_097;
    let days = days + DAYS_FROM_MARCH_OF_YEAR_0;
    let (era, day_of_era) = (days / DAYS_PER_400_YEARS, days % DAYS_PER_400_YEARS);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// When the day ends, in seconds since 1970.
pub(crate) fn end_of_day(secs: u64) -> u64 {
    (secs / DAY_SECS + 1).saturating_mul(DAY_SECS)
}

/// When the month ends, in seconds since 1970.
pub(crate) fn end_of_month(secs: u64) -> u64 {
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
    fn days() -> impl Iterator<Item = (u64, u64, u64)> {
        let length = |year: u64, month| match month {
            2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
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
            assert_eq!(date(number), (year, of_year, day_of_month));
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
