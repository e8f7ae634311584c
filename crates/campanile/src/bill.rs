//! What a month would cost at a service that bills messages and connections.
//!
//! Owns the projection to the month's end and the choice among the plans of the configuration. Never knows what a service
//! really asks for: the table says. The invariant: what is projected says from what, and is never less than what was used.
//! Read on in [`crate::config::Plan`].

use std::collections::BTreeMap;
use std::ops::Range;

use campanile_hub::Usage;
use serde::{Deserialize, Serialize};

use crate::calendar;
use crate::config::{Period, Plan};
use crate::journal::HOUR_SECS;
use crate::journal::question::By;

/// A month, as far as it has come, and what it would cost.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bill {
    /// As in `2026-11`.
    pub(crate) month: String,
    /// So far.
    pub(crate) messages: u64,
    /// By its end, if it goes on as in the hours since `counted_since`.
    pub(crate) projected_messages: u64,
    /// The first hour of the month in which anything was counted.
    pub(crate) counted_since: Option<String>,
    /// So far.
    pub(crate) largest_day: Option<Day>,
    /// So far.
    pub(crate) peak_connections: u64,
    /// The cheapest plan that it would fit; none if it fits none.
    pub(crate) would_cost: Option<Cost>,
    /// The whole table, and what does not fit.
    pub(crate) plans: Vec<PlanFit>,
    /// The same in a sentence.
    pub(crate) explanation: String,
}

/// A day's messages.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Day {
    pub(crate) day: String,
    pub(crate) messages: u64,
}

/// What a plan costs a month.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cost {
    pub(crate) plan: String,
    pub(crate) price_cents: u64,
    pub(crate) currency: String,
}

/// Whether the month fits a plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlanFit {
    pub(crate) plan: String,
    pub(crate) price_cents: u64,
    pub(crate) currency: String,
    pub(crate) messages: u64,
    /// In a `day` or a `month`.
    pub(crate) per: String,
    pub(crate) connections: u64,
    pub(crate) fits: bool,
    /// `messages`, `connections` or both.
    pub(crate) exceeds: Vec<String>,
}

/// The hours of the month that this moment is in.
pub(crate) fn month_of(now_secs: u64) -> Range<u64> {
    let now = now_secs / HOUR_SECS;
    By::Month.start(now)..By::Month.end(now)
}

/// What the present month would cost. `hours` has what was used in each of its hours, and the most connections at once.
pub(crate) fn of_month(hours: &BTreeMap<u64, (Usage, u64)>, now_secs: u64, plans: &[Plan]) -> Bill {
    let month = By::Month.label(now_secs / HOUR_SECS);
    let messages = hours.values().fold(0_u64, |sum, (usage, _)| sum.saturating_add(usage.messages()));
    let first = hours.keys().next().copied();
    let projected_messages = first.map_or(0, |first| projected(messages, first, now_secs));
    let mut days: BTreeMap<u64, u64> = BTreeMap::new();
    for (hour, (usage, _)) in hours {
        let day = days.entry(hour / 24).or_default();
        *day = day.saturating_add(usage.messages());
    }
    // Of several that are as large, the first.
    let largest = days.into_iter().rev().max_by_key(|(_, messages)| *messages).filter(|(_, messages)| *messages > 0);
    let peak_connections = hours.values().map(|(_, peak)| *peak).max().unwrap_or_default();
    let fits: Vec<PlanFit> = plans
        .iter()
        .map(|plan| {
            let used = match plan.per {
                Period::Day => largest.map_or(0, |(_, messages)| messages),
                Period::Month => projected_messages,
            };
            let exceeds = [("messages", used > plan.messages), ("connections", peak_connections > plan.connections)];
            let exceeds: Vec<String> =
                exceeds.into_iter().filter(|(_, does)| *does).map(|(what, _)| what.to_owned()).collect();
            PlanFit {
                plan: plan.name.clone(),
                price_cents: plan.price_cents,
                currency: plan.currency.clone(),
                messages: plan.messages,
                per: plan.per.name().to_owned(),
                connections: plan.connections,
                fits: exceeds.is_empty(),
                exceeds,
            }
        })
        .collect();
    // The first of those that cost as much.
    let cheapest = fits.iter().filter(|fit| fit.fits).min_by_key(|fit| fit.price_cents);
    let would_cost = cheapest.map(|fit| Cost {
        plan: fit.plan.clone(),
        price_cents: fit.price_cents,
        currency: fit.currency.clone(),
    });
    let mut bill = Bill {
        month,
        messages,
        projected_messages,
        counted_since: first.map(|first| By::Hour.label(first)),
        largest_day: largest.map(|(day, messages)| Day { day: By::Day.label(day * 24), messages }),
        peak_connections,
        would_cost,
        plans: fits,
        explanation: String::new(),
    };
    bill.explanation = bill.explained();
    bill
}

/// As many messages an hour as since `first`, until the month ends. What was counted for less than an hour counts as an hour's:
/// a minute says little about a month.
fn projected(messages: u64, first: u64, now_secs: u64) -> u64 {
    let (begin, end) = (first * HOUR_SECS, calendar::end_of_month(now_secs));
    let counted = u128::from(now_secs.saturating_sub(begin).max(HOUR_SECS));
    let left = u128::from(end.saturating_sub(now_secs.max(begin)));
    let more = u128::from(messages) * left / counted;
    u64::try_from(u128::from(messages) + more).unwrap_or(u64::MAX)
}

impl Bill {
    fn explained(&self) -> String {
        let Some(since) = &self.counted_since else {
            return format!("Nothing was counted in {} yet.", self.month);
        };
        let paced = format!(
            "{} had {} so far. If it goes on as since {since}, it will have {} at its end, with at most {} at once",
            self.month,
            several(self.messages, "message"),
            grouped(self.projected_messages),
            several(self.peak_connections, "connection"),
        );
        match &self.would_cost {
            Some(cost) => format!("{paced}: the plan {} for {} a month.", cost.plan, cost.amount()),
            None if self.plans.is_empty() => format!("{paced}. The configuration has no plans."),
            None => format!("{paced}: more than any of the plans has."),
        }
    }
}

impl Cost {
    /// As in `USD 49` or `EUR 9.90`.
    pub(crate) fn amount(&self) -> String {
        amount(self.price_cents, &self.currency)
    }
}

/// A price for people.
pub(crate) fn amount(cents: u64, currency: &str) -> String {
    match (cents / 100, cents % 100) {
        (whole, 0) => format!("{currency} {}", grouped(whole)),
        (whole, cents) => format!("{currency} {}.{cents:02}", grouped(whole)),
    }
}

fn several(number: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// A number with a comma at each thousand.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut told = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            told.push(',');
        }
        told.push(digit);
    }
    told
}

#[cfg(test)]
mod tests {
    use campanile_hub::Unit;

    use super::*;
    use crate::config::default_plans;

    /// 2026-11-24, 16:00.
    const NOW: u64 = 1_795_536_000;

    fn hours(used: &[(u64, u64, u64)]) -> BTreeMap<u64, (Usage, u64)> {
        used.iter().map(|(hour, messages, peak)| (*hour, (Usage::of(Unit::Delivery, *messages), *peak))).collect()
    }

    /// The first hour of November.
    fn november() -> u64 {
        month_of(NOW).start
    }

    fn plan_of(bill: &Bill) -> Option<&str> {
        bill.would_cost.as_ref().map(|cost| cost.plan.as_str())
    }

    #[test]
    fn a_month_goes_on_as_since_it_was_counted() {
        let first = november();
        let begin = first * HOUR_SECS;
        assert_eq!(By::Hour.label(first), "2026-11-01T00:00:00Z");
        // A third of the month has passed.
        let bill = of_month(&hours(&[(first, 600, 3), (first + 200, 400, 7)]), begin + 10 * 86_400, &default_plans());
        assert_eq!((bill.messages, bill.projected_messages, bill.peak_connections), (1000, 3000, 7));
        // Counted since the tenth alone.
        let bill = of_month(&hours(&[(first + 240, 1000, 0)]), begin + 20 * 86_400, &default_plans());
        assert_eq!(bill.projected_messages, 2000);
        assert_eq!(bill.counted_since.as_deref(), Some("2026-11-11T00:00:00Z"));
        // A minute's use is taken for an hour's.
        let bill = of_month(&hours(&[(first, 10, 0)]), begin + 60, &default_plans());
        assert_eq!(bill.projected_messages, 10 + 10 * (30 * 86_400 - 60) / 3600);
        // At its last second there is nothing left to come.
        let bill = of_month(&hours(&[(first, 10, 0)]), begin + 30 * 86_400 - 1, &default_plans());
        assert_eq!(bill.projected_messages, 10);
        let bill = of_month(&hours(&[(first, u64::MAX, 0)]), begin + 86_400, &default_plans());
        assert_eq!(bill.projected_messages, u64::MAX);
    }

    #[test]
    fn each_plan_is_taken_up_to_its_bounds_and_not_beyond() {
        let (first, last) = (november(), month_of(NOW).end * HOUR_SECS - 1);
        let bill = |used: &[(u64, u64, u64)]| of_month(&hours(used), last, &default_plans());
        assert_eq!(plan_of(&bill(&[(first, 200_000, 100), (first + 24, 200_000, 100)])), Some("Sandbox"));
        let over = bill(&[(first, 100_000, 100), (first + 23, 100_001, 100)]);
        assert_eq!(plan_of(&over), Some("Startup"));
        assert_eq!(over.plans[0].exceeds, ["messages"]);
        assert_eq!(plan_of(&bill(&[(first, 10, 101)])), Some("Startup"));
        // Its last second brings one more.
        assert_eq!(plan_of(&bill(&[(first, 2_999_999, 500)])), Some("Startup"));
        let none = bill(&[(first, 3_000_000, 501)]);
        assert_eq!(plan_of(&none), None);
        assert_eq!(none.plans[1].exceeds, ["messages", "connections"]);
        assert!(none.explanation.ends_with("more than any of the plans has."), "{}", none.explanation);
        let explained = over.explanation;
        assert!(explained.ends_with("the plan Startup for USD 49 a month."), "{explained}");
        assert_eq!(over.largest_day, Some(Day { day: "2026-11-01".to_owned(), messages: 200_001 }));
    }

    #[test]
    fn a_month_without_use_costs_what_the_first_plan_costs_and_says_that_nothing_was_counted() {
        let bill = of_month(&BTreeMap::new(), NOW, &default_plans());
        assert_eq!((plan_of(&bill), bill.projected_messages, &bill.largest_day), (Some("Sandbox"), 0, &None));
        assert_eq!(bill.explanation, "Nothing was counted in 2026-11 yet.");
        let bill = of_month(&hours(&[(november(), 1, 1)]), NOW, &[]);
        assert!(bill.explanation.ends_with("The configuration has no plans."), "{}", bill.explanation);
    }

    #[test]
    fn numbers_are_told_as_people_write_them() {
        let told: Vec<String> = [0, 999, 1000, 200_000, 1_234_567].map(grouped).into();
        assert_eq!(told, ["0", "999", "1,000", "200,000", "1,234,567"]);
        assert_eq!((amount(4900, "USD"), amount(990, "EUR")), ("USD 49".to_owned(), "EUR 9.90".to_owned()));
        assert_eq!((amount(0, "USD"), amount(123_405, "USD")), ("USD 0".to_owned(), "USD 1,234.05".to_owned()));
    }
}
