//! Days and months of UTC.
//!
//! Owns the arithmetic of the Gregorian calendar. Never reads a clock. The invariant: a later second is never in an earlier
//! day or month.

const DAY_SECS: u64 = 86_400;
const DAYS_FROM_MARCH_OF_YEAR_0: u64 = 719_468;
const DAYS_PER_400_YEARS: u64 = 146_097;

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
    let days = days + DAYS_FROM_MARCH_OF_YEAR_0;
    let (era, day_of_era) = (days / DAYS_PER_400_YEARS, days % DAYS_PER_400_YEARS);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// The day of a date, counted from 1970-01-01. None: there is no such day, or it was before 1970 or comes after 9999.
pub(crate) fn day_of(year: u64, month: u64, day: u64) -> Option<u64> {
    let months_from_march = (month + 9) % 12;
    let year_from_march = (year.checked_sub(u64::from(month <= 2))).filter(|year| (1969..=9999).contains(year))?;
    let (era, year_of_era) = (year_from_march / 400, year_from_march % 400);
    let day_of_year = (153 * months_from_march + 2) / 5 + day.checked_sub(1)?;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * DAYS_PER_400_YEARS + day_of_era).checked_sub(DAYS_FROM_MARCH_OF_YEAR_0)?;
    // Whatever is none, such as a 31st of June, comes out as another.
    (date(days) == (year, month, day)).then_some(days)
}

/// When the month began, in seconds since 1970.
pub(crate) fn start_of_month(secs: u64) -> u64 {
    let (_, _, day_of_month) = date(day(secs));
    (day(secs) + 1 - day_of_month) * DAY_SECS
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
            assert_eq!(day_of(year, of_year, day_of_month), Some(number));
            assert_eq!(start_of_month(secs + DAY_SECS - 1), secs - (day_of_month - 1) * DAY_SECS);
            for secs in [secs, secs + DAY_SECS - 1] {
                assert_eq!(month(secs), year * 12 + of_year - 1, "{year}-{of_year}-{day_of_month}");
            }
            if day_of_month == 1 && number > 0 {
                assert_eq!(end_of_month(secs - 1), secs);
            }
        }
    }

    #[test]
    fn what_is_no_date_is_no_day() {
        for (year, month, day) in
            [(2026, 2, 29), (2100, 2, 29), (2026, 6, 31), (2026, 0, 1), (2026, 13, 1), (2026, 1, 0), (2026, 1, 32)]
        {
            assert_eq!(day_of(year, month, day), None, "{year}-{month}-{day}");
        }
        assert_eq!((day_of(1969, 12, 31), day_of(0, 1, 1), day_of(u64::MAX, 1, 1)), (None, None, None));
        assert!(day_of(2024, 2, 29).is_some() && day_of(9999, 12, 31).is_some());
    }

    #[test]
    fn a_day_ends_with_its_last_second() {
        assert_eq!((end_of_day(0), end_of_day(DAY_SECS - 1), end_of_day(DAY_SECS)), (DAY_SECS, DAY_SECS, 2 * DAY_SECS));
        assert_eq!((day(DAY_SECS - 1), day(DAY_SECS)), (0, 1));
    }
}
