//! What people see of an app's usage: bars over time, tables, and what the month would cost.
//!
//! Owns the layout, for 80 columns. Never asks anything. The invariants: no line is longer than that; what others have named
//! cannot move the cursor; steps of time in which nothing was used are shown as such. Next: `mod.rs`.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use crossterm::style::Stylize;

use crate::bill::{Bill, PlanFit, amount, grouped};
use crate::client::visible;
use crate::journal::question::{Group, named_hours};
use crate::journal::report::{Authorization, Payload, Report, UsageRow};

/// Columns that are used.
const COLUMNS: usize = 80;
/// Cells of a bar over time.
const BAR_CELLS: usize = 36;
/// Cells of a bar that shows a share.
const SHARE_CELLS: usize = 10;
/// Rows of each table, where nobody asked for that table.
pub(super) const ROWS_OF_A_SUMMARY: usize = 8;
/// Steps of time that are shown: the last ones.
const STEPS_MAX: usize = 62;
/// Columns of a name in a table.
const NAME_COLUMNS: usize = 35;
/// Columns of a name in a table that has much else to say.
const SHORT_NAME_COLUMNS: usize = 26;

/// A page that is being put together.
pub(super) struct Page {
    text: String,
    has_colours: bool,
    messages: u64,
    month: Bill,
}

/// A name cut to these columns, from its middle: names differ at both ends.
fn fitted(name: &str, columns: usize) -> String {
    let name = visible(name);
    let length = name.chars().count();
    if length <= columns {
        return name;
    }
    let (head, tail) = (columns / 2 - 1, columns - columns / 2);
    let begin: String = name.chars().take(head).collect();
    let end: String = name.chars().skip(length - tail).collect();
    format!("{begin}…{end}")
}

/// A bar of eighths of cells; whatever is not nothing is seen.
fn bar(part: u64, whole: u64, cells: usize) -> String {
    const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
    if part == 0 || whole == 0 {
        return String::new();
    }
    let eighths = (u128::from(part.min(whole)) * cells as u128 * 8).div_ceil(u128::from(whole));
    let eighths = usize::try_from(eighths).unwrap_or(cells * 8).clamp(1, cells * 8);
    let mut bar = "█".repeat(eighths / 8);
    if eighths % 8 > 0 {
        bar.push(EIGHTHS[eighths % 8]);
    }
    bar
}

fn percent(part: u64, whole: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a percentage is told to a tenth")]
    let percent = part as f64 * 100.0 / whole.max(1) as f64;
    format!("{percent:.1} %")
}

fn bytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a size is told to a tenth")]
    let kib = bytes as f64 / 1024.0;
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..102_400 => format!("{kib:.1} KiB"),
        _ => format!("{kib:.0} KiB"),
    }
}

fn millis(millis: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a time is told to a tenth")]
    let secs = millis as f64 / 1000.0;
    if millis < 10_000 { format!("{millis} ms") } else { format!("{secs:.1} s") }
}

/// A step of time in few columns.
fn short(period: &str) -> String {
    match period.split_once('T') {
        Some((date, time)) => format!("{} {}", &date[date.len().min(5)..], &time[..time.len().min(5)]),
        None => period.to_owned(),
    }
}

/// All steps that the report covers, also those without a row.
fn steps(report: &Report) -> Vec<String> {
    let (Some(first), Some(last)) = (named_hours(&report.from), named_hours(&report.to)) else { return Vec::new() };
    let mut steps = Vec::new();
    let mut hour = first.start;
    while hour < last.end {
        steps.push(report.by.label(hour));
        hour = report.by.end(hour);
    }
    steps
}

impl Page {
    /// Begins with what was used over time.
    pub(super) fn new(authority: &str, report: &Report, has_colours: bool) -> Self {
        let messages = report.usage.iter().fold(0_u64, |sum, row| sum.saturating_add(row.messages));
        let mut page = Self { text: String::new(), has_colours, messages, month: report.month.clone() };
        let (app, from, to) = (visible(&report.app), short(&report.from), short(&report.to));
        page.line(&format!("Usage of app {app} at {authority}, {from} to {to} UTC"));
        page.over_time(report);
        page
    }

    fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    fn heading(&mut self, heading: &str) {
        let heading = if self.has_colours { heading.bold().to_string() } else { heading.to_owned() };
        self.line("");
        self.line(&heading);
    }

    fn coloured(&self, bar: &str) -> String {
        if self.has_colours { bar.cyan().to_string() } else { bar.to_owned() }
    }

    fn over_time(&mut self, report: &Report) {
        let word = format!("{:?}", report.by).to_lowercase();
        self.heading(&format!("{word:<13}{:<BAR_CELLS$} {:>15} {:>13}", "", "messages", "connections"));
        let rows: HashMap<&str, &UsageRow> = report.usage.iter().map(|row| (row.period.as_str(), row)).collect();
        let all = steps(report);
        let shown = &all[all.len().saturating_sub(STEPS_MAX)..];
        let is_idle = |step: &&String| !rows.contains_key(step.as_str());
        let (before, used) = shown.split_at(shown.iter().take_while(is_idle).count());
        let after = used.len() - used.iter().rev().take_while(is_idle).count();
        let (used, after) = used.split_at(after);
        if shown.len() < all.len() {
            let (left, step) = (grouped((all.len() - shown.len()) as u64), &word);
            self.line(&format!("the first {left} {step}s are not shown; --csv has them"));
        }
        self.idle(before);
        let most = rows.values().map(|row| row.messages).max().unwrap_or_default();
        for step in used {
            let row = rows.get(step.as_str());
            let messages = row.map_or(0, |row| row.messages);
            let peak = row.and_then(|row| row.peak_connections).unwrap_or_default();
            let bar = bar(messages, most, BAR_CELLS);
            let space = " ".repeat(BAR_CELLS - bar.chars().count());
            let (bar, step) = (self.coloured(&bar), short(step));
            self.line(&format!("{step:<13}{bar}{space} {:>15} {:>13}", grouped(messages), grouped(peak)));
        }
        self.idle(after);
        let peak = report.usage.iter().filter_map(|row| row.peak_connections).max().unwrap_or_default();
        self.line(&format!("{:<13}{:<BAR_CELLS$} {:>15} {:>13}", "all", "", grouped(self.messages), grouped(peak)));
    }

    /// Steps at an end in which nothing was used.
    fn idle(&mut self, steps: &[String]) {
        if let [first, .., last] = steps {
            self.line(&format!("{} to {}: nothing", short(first), short(last)));
        } else if let [only] = steps {
            self.line(&format!("{}: nothing", short(only)));
        }
    }

    /// Goes on with what that was for.
    pub(super) fn add(&mut self, report: &Report, rows_max: usize) {
        let Some(group) = report.group else { return };
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for row in &report.usage {
            let name = row.prefix.as_ref().or(row.event.as_ref()).or(row.unit.as_ref());
            let sum = sums.entry(name.map_or("", String::as_str)).or_default();
            *sum = sum.saturating_add(row.messages);
        }
        let mut sums: Vec<(&str, u64)> = sums.into_iter().collect();
        sums.sort_by_key(|(_, messages)| std::cmp::Reverse(*messages));
        match group {
            Group::Unit => self.units(&sums),
            Group::Event => self.events(&sums, &report.payloads, rows_max),
            Group::Prefix => self.prefixes(&sums, &report.authorizations, rows_max),
        }
    }

    /// What a table says where it has no rows, or not all.
    fn rest(&mut self, group: Group, rows: usize, rows_max: usize) {
        if rows == 0 {
            self.line("nothing");
        } else if rows > rows_max {
            self.line(&format!("and {} more; --group {group} has them", grouped((rows - rows_max) as u64)));
        }
    }

    fn share(&self, messages: u64) -> String {
        let bar = bar(messages, self.messages, SHARE_CELLS);
        let space = " ".repeat(SHARE_CELLS - bar.chars().count());
        format!("{:>7} {}{space}", percent(messages, self.messages), self.coloured(&bar))
    }

    fn units(&mut self, sums: &[(&str, u64)]) {
        self.heading(&format!("{:<NAME_COLUMNS$} {:>13}", "unit", "messages"));
        for (unit, messages) in sums {
            let (unit, share) = (visible(&unit.replace('_', " ")), self.share(*messages));
            self.line(format!("{unit:<NAME_COLUMNS$} {:>13}  {share}", grouped(*messages)).trim_end());
        }
        self.rest(Group::Unit, sums.len(), usize::MAX);
    }

    fn events(&mut self, sums: &[(&str, u64)], payloads: &[Payload], rows_max: usize) {
        let (name, messages) = ("event", "messages");
        let sizes = format!("{:>8} {:>8} {:>8} {:>7}", "median", "99 %", "largest", "near");
        self.heading(&format!("{name:<SHORT_NAME_COLUMNS$} {messages:>15}  {sizes}"));
        let payloads: HashMap<&str, &Payload> =
            payloads.iter().map(|payload| (payload.event.as_str(), payload)).collect();
        for (event, messages) in sums.iter().take(rows_max) {
            let name = fitted(event, SHORT_NAME_COLUMNS);
            let mut line = format!("{name:<SHORT_NAME_COLUMNS$} {:>15}", grouped(*messages));
            let payload = payloads.get(event);
            if let Some(payload) = payload {
                let sizes = [payload.p50_bytes, payload.p99_bytes, payload.largest_bytes].map(bytes);
                let near = format!("{:.1} %", payload.near_limit_percent);
                let _infallible = write!(line, "  {:>8} {:>8} {:>8} {near:>7}", sizes[0], sizes[1], sizes[2]);
            }
            self.line(&line);
            for field in payload.iter().flat_map(|payload| &payload.largest_fields).take(3) {
                let size = bytes(field.bytes);
                self.line(&format!("    {} of {size}", fitted(&field.path, COLUMNS - 20)));
            }
        }
        self.rest(Group::Event, sums.len(), rows_max);
        if !payloads.is_empty() {
            self.line("");
            self.line("Sizes are of the data. Near: with nine tenths of what it may have, or more.");
        }
    }

    fn prefixes(&mut self, sums: &[(&str, u64)], authorizations: &[Authorization], rows_max: usize) {
        let (name, messages) = ("channel prefix", "messages");
        let waits = format!("{:>11} {:>9} {:>9}", "subscribed", "median", "99 %");
        self.heading(&format!("{name:<NAME_COLUMNS$} {messages:>11}  {waits}"));
        let waits: HashMap<&str, &Authorization> =
            authorizations.iter().map(|authorization| (authorization.prefix.as_str(), authorization)).collect();
        for (prefix, messages) in sums.iter().take(rows_max) {
            let name = fitted(prefix, NAME_COLUMNS);
            let mut line = format!("{name:<NAME_COLUMNS$} {:>11}", grouped(*messages));
            if let Some(wait) = waits.get(prefix) {
                let (subscribed, p50, p99) = (grouped(wait.subscriptions), millis(wait.p50_ms), millis(wait.p99_ms));
                let _infallible = write!(line, "  {subscribed:>11} {p50:>9} {p99:>9}");
            }
            self.line(&line);
        }
        self.rest(Group::Prefix, sums.len(), rows_max);
        if !waits.is_empty() {
            self.line("");
            self.line("Times are from connecting to subscribing: the application's authorization.");
        }
    }

    /// Ends with what the month would cost.
    pub(super) fn finish(mut self) -> String {
        let month = std::mem::take(&mut self.month);
        self.heading(&format!("{} would cost", month.month));
        for plan in &month.plans {
            self.plan(plan, month.would_cost.as_ref().is_some_and(|cost| cost.plan == plan.plan));
        }
        self.line("");
        for line in wrapped(&visible(&month.explanation)) {
            self.line(&line);
        }
        self.text
    }

    fn plan(&mut self, plan: &PlanFit, is_chosen: bool) {
        let price = amount(plan.price_cents, &visible(&plan.currency));
        let (mark, name) = (if is_chosen { "→" } else { " " }, fitted(&plan.plan, 16));
        let includes = format!("{} messages a {}", grouped(plan.messages), plan.per);
        let connections = format!("{} connections", grouped(plan.connections));
        let line = format!("{mark} {name:<16} {price:>10}  {includes}, {connections}");
        let line = line.chars().take(COLUMNS).collect::<String>();
        let line = if is_chosen && self.has_colours { line.bold().to_string() } else { line };
        self.line(&line);
        if !plan.fits {
            self.line(&format!("    too few {}", visible(&plan.exceeds.join(" and "))));
        }
    }
}

/// Broken at blanks.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last_mut().expect("there is one from the beginning");
        if last.is_empty() {
            last.push_str(word);
        } else if last.chars().count() + 1 + word.chars().count() <= COLUMNS {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests;
