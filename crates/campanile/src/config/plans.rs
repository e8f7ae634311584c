//! `[[plans]]`: what a service would ask for, to tell what a month would cost there.
//!
//! Owns the price table and its default. Never counts anything, and never holds anybody up: a budget does that. The
//! invariant: no two plans have the same name, and every price has a currency. Next: [`crate::bill`], which chooses.

use super::file::PlanTable;
use super::guard::{PERIODS, Period, chosen};
use super::limits::{self, Numbers, PLAN_NAME_LENGTH_MAX};
use super::problem::Problems;

/// What a plan includes, and its price.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    /// For people.
    pub name: String,
    /// A month, in hundredths of the currency.
    pub price_cents: u64,
    /// As in `USD`.
    pub currency: String,
    /// Messages that are included.
    pub messages: u64,
    /// In how long.
    pub per: Period,
    /// Connections at once.
    pub connections: u64,
}

/// The table where the file has none: as one team was told by Pusher, when it looked for something else.
#[must_use]
pub fn default_plans() -> Vec<Plan> {
    let plan = |name: &str, price_cents, messages, per, connections| Plan {
        name: name.to_owned(),
        price_cents,
        currency: "USD".to_owned(),
        messages,
        per,
        connections,
    };
    vec![plan("Sandbox", 0, 200_000, Period::Day, 100), plan("Startup", 4900, 3_000_000, Period::Month, 500)]
}

/// Reads the table. What is not written there is filled in, in the file's own form too.
pub(super) fn read(tables: &mut Vec<PlanTable>, problems: &mut Problems) -> Vec<Plan> {
    if tables.is_empty() {
        let plans = default_plans();
        tables.extend(plans.iter().map(|plan| PlanTable {
            name: Some(plan.name.clone()),
            price_cents: Some(plan.price_cents),
            currency: Some(plan.currency.clone()),
            messages: Some(plan.messages),
            per: Some(plan.per.name().to_owned()),
            connections: Some(plan.connections),
        }));
        return plans;
    }
    let mut plans: Vec<Plan> = Vec::new();
    for (index, table) in tables.iter_mut().enumerate() {
        let path = format!("plans[{index}]");
        let Some(plan) = read_one(table, &path, problems) else { continue };
        if plans.iter().any(|known| known.name == plan.name) {
            problems.at(&format!("{path}.name"), format!("there is a plan {:?} already: names must differ", plan.name));
        }
        plans.push(plan);
    }
    plans
}

fn read_one(table: &mut PlanTable, path: &str, problems: &mut Problems) -> Option<Plan> {
    let name = text(table.name.as_ref(), path, "name", "needs a name: what the plan is called", problems);
    let currency = table.currency.get_or_insert_with(|| "USD".to_owned()).clone();
    let currency = text(Some(&currency), path, "currency", "", problems);
    let per = chosen(table.per.get_or_insert_with(|| "month".to_owned()), PERIODS, path, "per", problems);
    let mut numbers = Numbers { path, problems };
    let mut required = |limit, written: Option<u64>, name, text| {
        if written.is_none() {
            numbers.problems.missing(path, name, text);
        }
        numbers.read_optional(limit, written)
    };
    let price_cents = required(
        &limits::PLAN_PRICE_CENTS,
        table.price_cents,
        "price_cents",
        "needs price_cents: a month's price in hundredths",
    );
    let messages =
        required(&limits::PLAN_MESSAGES, table.messages, "messages", "needs messages: how many are included");
    let connections = required(
        &limits::PLAN_CONNECTIONS,
        table.connections,
        "connections",
        "needs connections: how many there may be at once",
    );
    Some(Plan {
        name: name?,
        price_cents: price_cents?,
        currency: currency?,
        messages: messages?,
        per: per?,
        connections: connections?,
    })
}

/// A text that is shown on a line of its own.
fn text(
    written: Option<&String>,
    path: &str,
    name: &str,
    missing: &'static str,
    problems: &mut Problems,
) -> Option<String> {
    let Some(text) = written else {
        problems.missing(path, name, missing);
        return None;
    };
    let at = format!("{path}.{name}");
    if text.trim().is_empty() {
        problems.at(&at, "must not be empty");
    } else if text.chars().count() > PLAN_NAME_LENGTH_MAX {
        problems.at(&at, format!("has more than {PLAN_NAME_LENGTH_MAX} characters"));
    } else if text.chars().any(char::is_control) {
        problems.at(&at, "has control characters, such as a line break");
    } else {
        return Some(text.clone());
    }
    None
}
