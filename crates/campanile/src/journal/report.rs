//! The answer to a question: what an app has used.
//!
//! Owns how hours are added up, and the two forms of the answer, JSON and CSV. Never reads the clock. The invariants: what is
//! asked in one way adds up to what is asked in another; an answer has a bounded number of rows; what was not used has none.
//! Read on in [`crate::bill`] for what it would cost.

use std::collections::BTreeMap;

use campanile_hub::{Histogram, Sizes, Unit, Usage};
use serde::{Deserialize, Serialize};

use super::fields::{self, FieldSize, LargestFields};
use super::question::{By, Format, Group, Question, Unanswered};
use super::store::{Reader, Store};
use super::{Hour, merge_sizes};
use crate::bill::{self, Bill};
use crate::config::limits::{USAGE_ROWS_READ_MAX, USAGE_ROWS_TOLD_MAX};

/// What an app has used, as `GET /apps/{id}/usage` tells it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) app: String,
    /// The first step, and the last.
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) by: By,
    pub(crate) group: Option<Group>,
    /// What was used before this hour is forgotten.
    pub(crate) kept_since: String,
    /// In the order of time, then of names.
    pub(crate) usage: Vec<UsageRow>,
    /// How large events were, in all of the time; where the group is `event`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) payloads: Vec<Payload>,
    /// How long clients waited to be authorized, in all of the time; where the group is `prefix`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) authorizations: Vec<Authorization>,
    /// What the present month would cost.
    pub(crate) month: Bill,
}

/// What was used in one step of time, of one thing where they are told apart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UsageRow {
    pub(crate) period: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prefix: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) event: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) unit: Option<String>,
    pub(crate) messages: u64,
    #[serde(flatten)]
    pub(crate) counts: Option<UnitCounts>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) peak_connections: Option<u64>,
}

/// How many of each unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UnitCounts {
    pub(crate) api_calls: u64,
    pub(crate) client_events: u64,
    pub(crate) deliveries: u64,
    pub(crate) presence_deliveries: u64,
    pub(crate) webhook_calls: u64,
}

impl From<Usage> for UnitCounts {
    fn from(usage: Usage) -> Self {
        let [api_calls, client_events, deliveries, presence_deliveries, webhook_calls] =
            Unit::ALL.map(|unit| usage.get(unit));
        Self { api_calls, client_events, deliveries, presence_deliveries, webhook_calls }
    }
}

/// How large an event's data was.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Payload {
    pub(crate) event: String,
    /// How often it was published.
    pub(crate) events: u64,
    pub(crate) p50_bytes: u64,
    pub(crate) p99_bytes: u64,
    pub(crate) largest_bytes: u64,
    /// How many had nine tenths of what the app allows, or more.
    pub(crate) near_limit: u64,
    /// How many percent of all that is.
    pub(crate) near_limit_percent: f64,
    /// Of the largest that was looked into: what it consists of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) looked_into_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) largest_fields: Vec<FieldSize>,
}

/// How long clients waited to be authorized.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Authorization {
    pub(crate) prefix: String,
    pub(crate) subscriptions: u64,
    pub(crate) p50_ms: u64,
    pub(crate) p99_ms: u64,
}

/// What has been added up.
struct Sum<'a> {
    question: &'a Question,
    /// By step and name.
    rows: BTreeMap<(u64, Box<str>), Usage>,
    peaks: BTreeMap<u64, u64>,
    sizes: BTreeMap<Box<str>, Sizes>,
    fields: BTreeMap<Box<str>, LargestFields>,
    waits: BTreeMap<Box<str>, Histogram>,
}

impl Sum<'_> {
    fn add(&mut self, hour: u64, name: &str, usage: Usage) {
        if usage != Usage::default() {
            *self.rows.entry((self.question.by.start(hour), name.into())).or_default() += usage;
        }
    }
}

impl Reader for Sum<'_> {
    fn hour(&mut self, hour: u64, usage: Usage, peak: u64) {
        // An hour in which nothing was used and somebody was connected has a row, too.
        *self.rows.entry((self.question.by.start(hour), "".into())).or_default() += usage;
        let known = self.peaks.entry(self.question.by.start(hour)).or_default();
        *known = peak.max(*known);
    }

    fn row(&mut self, hour: u64, prefix: &str, event: &str, usage: Usage) {
        match self.question.group {
            Some(Group::Prefix) => self.add(hour, prefix, usage),
            Some(Group::Event) => self.add(hour, event, usage),
            Some(Group::Unit) | None => {}
        }
    }

    fn sizes(&mut self, event: &str, sizes: Sizes) {
        merge_sizes(self.sizes.entry(event.into()).or_default(), Sizes { sample: None, ..sizes });
    }

    fn fields(&mut self, event: &str, fields: LargestFields) {
        let known = self.fields.entry(event.into()).or_default();
        if fields.bytes > known.bytes {
            *known = fields;
        }
    }

    fn waits(&mut self, prefix: &str, waits: Histogram) {
        self.waits.entry(prefix.into()).or_default().merge(&waits);
    }
}

/// The present month, hour by hour.
#[derive(Default)]
struct Month(BTreeMap<u64, (Usage, u64)>);

impl Reader for Month {
    fn hour(&mut self, hour: u64, usage: Usage, peak: u64) {
        let (sum, known) = self.0.entry(hour).or_default();
        *sum += usage;
        *known = peak.max(*known);
    }
}

/// Hours that are not in the file yet.
pub(crate) fn read_unwritten(unwritten: &[(u64, Hour)], hours: &std::ops::Range<u64>, reader: &mut impl Reader) {
    for (hour, of_hour) in unwritten.iter().filter(|(hour, _)| hours.contains(hour)) {
        reader.hour(*hour, of_hour.usage(), of_hour.peak);
        of_hour.rows.iter().for_each(|((prefix, event), usage)| reader.row(*hour, prefix, event, *usage));
        for (event, sizes) in &of_hour.sizes {
            if let Some(sample) = &sizes.sample {
                reader.fields(event, fields::largest(&sample.decode()));
            }
            reader.sizes(event, sizes.clone());
        }
        of_hour.waits.iter().for_each(|(prefix, waits)| reader.waits(prefix, waits.clone()));
    }
}

/// Answers from the file and from what is not written yet.
pub(crate) fn answer(question: &Question, store: &mut Store, unwritten: &[(u64, Hour)]) -> Result<Report, Unanswered> {
    let unreadable = |error: super::store::JournalError| {
        tracing::error!(%error, "cannot read what apps have used");
        Unanswered::Unreadable
    };
    let (app, hours) = (&*question.app, &question.hours);
    let mut sum = Sum {
        question,
        rows: BTreeMap::new(),
        peaks: BTreeMap::new(),
        sizes: BTreeMap::new(),
        fields: BTreeMap::new(),
        waits: BTreeMap::new(),
    };
    let mut has_all = true;
    match question.group {
        None | Some(Group::Unit) => store.hours(app, hours.clone(), &mut sum).map_err(unreadable)?,
        Some(Group::Prefix) => {
            has_all = store.rows(app, hours.clone(), USAGE_ROWS_READ_MAX, &mut sum).map_err(unreadable)?;
            store.waits(app, hours.clone(), &mut sum).map_err(unreadable)?;
        }
        Some(Group::Event) => {
            has_all = store.rows(app, hours.clone(), USAGE_ROWS_READ_MAX, &mut sum).map_err(unreadable)?;
            store.sizes(app, hours.clone(), &mut sum).map_err(unreadable)?;
        }
    }
    if !has_all {
        return Err(Unanswered::TooManyToRead { most: USAGE_ROWS_READ_MAX });
    }
    read_unwritten(unwritten, hours, &mut sum);
    let mut month = Month::default();
    let present = bill::month_of(question.now_secs);
    store.hours(app, present.clone(), &mut month).map_err(unreadable)?;
    read_unwritten(unwritten, &present, &mut month);
    let usage = rows(&sum);
    if usage.len() > USAGE_ROWS_TOLD_MAX {
        return Err(Unanswered::TooManyRows { most: USAGE_ROWS_TOLD_MAX });
    }
    Ok(Report {
        app: app.to_owned(),
        from: question.by.label(hours.start),
        to: question.by.label(hours.end - 1),
        by: question.by,
        group: question.group,
        kept_since: By::Hour.label(question.kept_since),
        usage,
        payloads: if question.group == Some(Group::Event) { payloads(&sum) } else { Vec::new() },
        authorizations: if question.group == Some(Group::Prefix) { authorizations(&sum) } else { Vec::new() },
        month: bill::of_month(&month.0, question.now_secs, &question.plans),
    })
}

fn rows(sum: &Sum<'_>) -> Vec<UsageRow> {
    let question = sum.question;
    let label = |period| question.by.label(period);
    // Hours are added up without a name, rows with one.
    let is_of_hours = matches!(question.group, None | Some(Group::Unit));
    let rows = sum.rows.iter().filter(|((_, name), _)| name.is_empty() == is_of_hours);
    match question.group {
        None => rows
            .map(|((period, _), usage)| UsageRow {
                period: label(*period),
                messages: usage.messages(),
                counts: Some((*usage).into()),
                peak_connections: Some(sum.peaks.get(period).copied().unwrap_or_default()),
                ..UsageRow::default()
            })
            .collect(),
        Some(Group::Unit) => rows
            .flat_map(|((period, _), usage)| {
                let of_unit = move |unit: &Unit| UsageRow {
                    period: label(*period),
                    unit: Some(unit.name().to_owned()),
                    messages: usage.get(*unit),
                    ..UsageRow::default()
                };
                Unit::ALL.into_iter().filter(|unit| usage.get(*unit) > 0).map(move |unit| of_unit(&unit))
            })
            .collect(),
        Some(group) => rows
            .map(|((period, name), usage)| {
                let name = Some(name.to_string());
                let (prefix, event) = if group == Group::Prefix { (name, None) } else { (None, name) };
                let (period, messages, counts) = (label(*period), usage.messages(), Some((*usage).into()));
                UsageRow { period, prefix, event, messages, counts, ..UsageRow::default() }
            })
            .collect(),
    }
}

fn payloads(sum: &Sum<'_>) -> Vec<Payload> {
    let of_event = |event: &str, sizes: &Sizes| {
        let events = sizes.bytes.total();
        let fields = sum.fields.get(event);
        // A histogram's part reaches beyond the largest that is in it.
        let percentile = |percent| sizes.bytes.percentile(percent).min(sizes.largest);
        #[expect(clippy::cast_precision_loss, reason = "a percentage is told to a tenth")]
        let percent = (sizes.near_limit as f64 * 1000.0 / (events.max(1)) as f64).round() / 10.0;
        Payload {
            event: event.to_owned(),
            events,
            p50_bytes: percentile(50),
            p99_bytes: percentile(99),
            largest_bytes: sizes.largest,
            near_limit: sizes.near_limit,
            near_limit_percent: percent,
            looked_into_bytes: fields.map(|fields| fields.bytes),
            largest_fields: fields.map(|fields| fields.fields.clone()).unwrap_or_default(),
        }
    };
    sum.sizes.iter().map(|(event, sizes)| of_event(event, sizes)).collect()
}

fn authorizations(sum: &Sum<'_>) -> Vec<Authorization> {
    let of_prefix = |prefix: &str, waits: &Histogram| Authorization {
        prefix: prefix.to_owned(),
        subscriptions: waits.total(),
        p50_ms: waits.percentile(50),
        p99_ms: waits.percentile(99),
    };
    sum.waits.iter().map(|(prefix, waits)| of_prefix(prefix, waits)).collect()
}

impl Report {
    /// As it was asked for.
    pub(crate) fn written(&self, format: Format) -> Vec<u8> {
        match format {
            Format::Json => serde_json::to_vec(self).expect("reports are maps with string keys, which JSON can hold"),
            Format::Csv => self.to_csv().into_bytes(),
        }
    }

    /// The usage alone, as RFC 4180 has it: a line of names, then a line for each row.
    pub(crate) fn to_csv(&self) -> String {
        let units = Unit::ALL.map(Unit::name);
        let mut columns = vec!["period".to_owned()];
        columns.extend(self.group.map(|group| group.to_string()));
        columns.push("messages".to_owned());
        if self.group != Some(Group::Unit) {
            columns.extend(units.map(str::to_owned));
        }
        if self.group.is_none() {
            columns.push("peak_connections".to_owned());
        }
        let mut csv = line(&columns);
        for row in &self.usage {
            let name = row.prefix.as_ref().or(row.event.as_ref()).or(row.unit.as_ref());
            let mut cells = vec![row.period.clone()];
            cells.extend(name.cloned());
            cells.push(row.messages.to_string());
            if let Some(counts) = row.counts {
                let UnitCounts { api_calls, client_events, deliveries, presence_deliveries, webhook_calls } = counts;
                let counts = [api_calls, client_events, deliveries, presence_deliveries, webhook_calls];
                cells.extend(counts.map(|count| count.to_string()));
            }
            cells.extend(row.peak_connections.map(|peak| peak.to_string()));
            csv.push_str(&line(&cells));
        }
        csv
    }
}

fn line(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|cell| escaped(cell)).collect();
    format!("{}\r\n", cells.join(","))
}

/// A cell with anything that would end it is quoted. A spreadsheet takes what begins with one of these for a formula, and
/// clients name events; so such a text gets an apostrophe, which spreadsheets do not show.
fn escaped(cell: &str) -> String {
    let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let cell = if is_formula { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains([',', '"', '\r', '\n']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_cell_is_quoted_and_what_would_be_a_formula_is_none() {
        for (cell, told) in [
            ("order.shipped", "order.shipped"),
            (r"App\Events\Shipped", r"App\Events\Shipped"),
            ("a,b", "\"a,b\""),
            ("say \"hi\"", "\"say \"\"hi\"\"\""),
            ("two\nlines", "\"two\nlines\""),
            ("=1+1", "'=1+1"),
            ("@sum(a,b)", "\"'@sum(a,b)\""),
            ("-1", "'-1"),
            ("", ""),
            ("#server-to-user", "#server-to-user"),
        ] {
            assert_eq!(escaped(cell), told);
        }
    }
}
