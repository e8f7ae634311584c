//! What a run has found.
//!
//! Owns figures, their units and the reasons for which a run has failed. The invariant: a figure has one name in every
//! scenario, so that runs can be compared.

use std::borrow::Cow;
use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use serde::Serialize;

use crate::books::Books;
use crate::cost::Cost;

/// One figure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: Cow<'static, str>,
    pub(crate) unit: &'static str,
    pub(crate) value: f64,
}

/// One run of one scenario.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) figures: Vec<Figure>,
    /// What was asked of the run and was so.
    pub(crate) verdicts: Vec<String>,
    /// Why the run does not count; none if it does.
    pub(crate) failures: Vec<String>,
}

impl Report {
    pub(crate) fn add(&mut self, name: impl Into<Cow<'static, str>>, unit: &'static str, value: f64) {
        self.figures.push(Figure { name: name.into(), unit, value });
    }

    pub(crate) fn fail_if(&mut self, failed: bool, reason: impl FnOnce() -> String) {
        if failed {
            self.failures.push(reason());
        }
    }

    /// Says whether what was asked of the run is so; the run fails if it is not.
    pub(crate) fn judge(&mut self, passed: bool, verdict: String) {
        if passed { self.verdicts.push(verdict) } else { self.failures.push(verdict) }
    }

    /// The cost of each of `count` things that were done.
    pub(crate) fn add_cost(&mut self, cost: Cost, count: u64) {
        let each = |total: Duration| total.as_secs_f64() * 1e6 / (count.max(1) as f64);
        if let Some(server) = cost.server {
            self.add("server_cpu", "us each", each(server));
            self.add("server_load", "% of a core", 100.0 * server.as_secs_f64() / cost.elapsed.as_secs_f64());
        }
        self.add("tool_cpu", "us each", each(cost.own));
        self.add("rate", "per second", count as f64 / cost.elapsed.as_secs_f64());
    }

    /// What the books say of `expected` deliveries.
    pub(crate) fn add_books(&mut self, books: &Books, expected: u64) {
        self.add("delivered", "deliveries", books.delivered as f64);
        self.add("latency_p50", "us", books.latency_us(0.5));
        self.add("latency_p99", "us", books.latency_us(0.99));
        self.add("latency_max", "us", books.latency_us(1.0));
        self.fail_on(books, expected);
    }

    /// Fails the run if the books are not clean.
    pub(crate) fn fail_on(&mut self, books: &Books, expected: u64) {
        for (count, what) in
            [(books.lost(expected), "lost"), (books.duplicated, "duplicated"), (books.reordered, "out of order")]
        {
            self.fail_if(count > 0, || format!("{count} of {expected} deliveries were {what}"));
        }
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for Figure { name, unit, value } in &self.figures {
            writeln!(f, "  {name:<28} {:>14}  {unit}", number(*value))?;
        }
        for verdict in &self.verdicts {
            writeln!(f, "  PASSED: {verdict}")?;
        }
        for failure in &self.failures {
            writeln!(f, "  FAILED: {failure}")?;
        }
        Ok(())
    }
}

/// A number as people read it: three figures that say something.
pub(crate) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 1000.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_show_what_matters() {
        for (value, text) in [(0.0, "0"), (0.1234, "0.123"), (1.234, "1.23"), (12.34, "12.3"), (12345.6, "12346")] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_lost_delivery_fails_the_run() {
        let mut report = Report::default();
        report.add_books(&Books::new(1, 1), 1);
        assert_eq!(report.failures, ["1 of 1 deliveries were lost"]);
    }
}
