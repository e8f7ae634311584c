//! What can be asked of the journal.
//!
//! Owns the way from a query's words to a [`Question`]: which hours, in which steps, by what. Never answers. The invariants:
//! a question that exists covers at least one hour; `from` and `to` name hours, days or months, and both are part of it. Read
//! on in [`super::report`].

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::HOUR_SECS;
use crate::calendar;
use crate::config::{Config, Plan};

/// In which steps of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum By {
    Hour,
    Day,
    Month,
}

/// What is told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Group {
    Prefix,
    Event,
    Unit,
}

/// As what it is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Csv,
}

const BYS: &[(&str, By)] = &[("hour", By::Hour), ("day", By::Day), ("month", By::Month)];
const GROUPS: &[(&str, Group)] = &[("prefix", Group::Prefix), ("event", Group::Event), ("unit", Group::Unit)];
const FORMATS: &[(&str, Format)] = &[("json", Format::Json), ("csv", Format::Csv)];
/// What may be asked with.
const PARAMETERS: [&str; 5] = ["from", "to", "by", "group", "format"];

/// How many steps there are where nobody says from when.
const STEPS: [(By, u64); 3] = [(By::Hour, 24), (By::Day, 30), (By::Month, 12)];

/// A parameter that says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unasked {
    #[error("{name} must be {expected}, not {value:?}")]
    Word { name: &'static str, expected: String, value: String },
    #[error(
        "{name} must name an hour, a day or a month of UTC, as in 2026-11-24T16, 2026-11-24 or 2026-11, not {value:?}"
    )]
    Time { name: &'static str, value: String },
    #[error("from ({from}) is later than to ({to})")]
    Reversed { from: String, to: String },
    #[error("{name:?} is unknown; what can be asked with is from, to, by, group and format")]
    Unknown { name: String },
}

impl Unasked {
    /// The parameter that is to blame.
    pub(crate) fn parameter(&self) -> String {
        match self {
            Self::Word { name, .. } | Self::Time { name, .. } => (*name).to_owned(),
            Self::Reversed { .. } => "from".to_owned(),
            Self::Unknown { name } => name.clone(),
        }
    }
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unanswered {
    #[error("the answer would have more than {most} rows: ask for less time, or by day or month")]
    TooManyRows { most: usize },
    #[error("the time has more than {most} rows to add up: ask for less time, or without group")]
    TooManyToRead { most: usize },
    #[error("what was used cannot be read now; the log says why")]
    Unreadable,
}

/// A question about one app's usage.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub(crate) app: Arc<str>,
    /// Hours since 1970.
    pub(crate) hours: Range<u64>,
    pub(crate) by: By,
    pub(crate) group: Option<Group>,
    pub(crate) format: Format,
    /// In seconds since 1970.
    pub(crate) now_secs: u64,
    pub(crate) plans: Vec<Plan>,
    /// Since which hour usage is kept.
    pub(crate) kept_since: u64,
}

impl Question {
    /// Reads what was asked.
    pub(crate) fn read<'a>(
        app: &Arc<str>,
        parameters: impl Iterator<Item = (&'a str, &'a str)> + Clone,
        config: &Config,
        now_secs: u64,
    ) -> Result<Self, Unasked> {
        for (name, _) in parameters.clone() {
            if !PARAMETERS.contains(&name) {
                return Err(Unasked::Unknown { name: name.to_owned() });
            }
        }
        let value = |name: &str| {
            let mut parameters = parameters.clone();
            parameters.find_map(|(known, value)| (known == name && !value.is_empty()).then_some(value))
        };
        let by = value("by").map_or(Ok(By::Hour), |word| chosen("by", word, BYS))?;
        let group = value("group").map(|word| chosen("group", word, GROUPS)).transpose()?;
        let format = value("format").map_or(Ok(Format::Json), |word| chosen("format", word, FORMATS))?;
        let now = now_secs / HOUR_SECS;
        let time = |name: &'static str, value: &str| {
            named_hours(value).ok_or_else(|| Unasked::Time { name, value: value.to_owned() })
        };
        let to = value("to").map(|value| time("to", value)).transpose()?.map_or(now, |to| to.end - 1);
        let from = match value("from") {
            Some(value) => time("from", value)?.start,
            None => by.back_from(to),
        };
        if from > to {
            let shown = |name, hour| value(name).map_or_else(|| By::Hour.label(hour), str::to_owned);
            return Err(Unasked::Reversed { from: shown("from", from), to: shown("to", to) });
        }
        let hours = by.start(from)..by.end(to);
        let kept_since = now.saturating_sub(config.limits.usage_hours_max);
        let (app, plans) = (Arc::clone(app), config.plans.clone());
        Ok(Self { app, hours, by, group, format, now_secs, plans, kept_since })
    }
}

fn chosen<T: Copy>(name: &'static str, word: &str, known: &[(&str, T)]) -> Result<T, Unasked> {
    let found = known.iter().find(|(known, _)| *known == word);
    found.map(|(_, meaning)| *meaning).ok_or_else(|| {
        let words: Vec<&str> = known.iter().map(|(known, _)| *known).collect();
        let (last, first) = words.split_last().expect("there is something to choose from");
        Unasked::Word { name, expected: format!("{} or {last}", first.join(", ")), value: word.to_owned() }
    })
}

/// The hours that a text names: one, those of a day, or those of a month.
pub(crate) fn named_hours(text: &str) -> Option<Range<u64>> {
    let (date, time) = text.split_once('T').map_or((text, None), |(date, time)| (date, Some(time)));
    let mut parts = date.splitn(3, '-').map(|part| number(part, if part.len() == 4 { 4 } else { 2 }));
    let (year, month) = (parts.next()??, parts.next()??);
    let Some(day) = parts.next() else {
        let first = calendar::day_of(year, month, 1).filter(|_| time.is_none())?;
        return Some(By::Month.start(first * 24)..By::Month.end(first * 24));
    };
    let day = calendar::day_of(year, month, day?)?;
    let Some(time) = time else { return Some(day * 24..(day + 1) * 24) };
    let hour = time.strip_suffix('Z').unwrap_or(time);
    let hour = ["", ":00", ":00:00"].into_iter().find_map(|rest| number(hour.strip_suffix(rest)?, 2));
    let hour = day * 24 + hour.filter(|hour| *hour < 24)?;
    Some(hour..hour + 1)
}

fn number(text: &str, digits: usize) -> Option<u64> {
    (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

impl By {
    /// The first hour of the step that this hour is in.
    pub(crate) fn start(self, hour: u64) -> u64 {
        match self {
            Self::Hour => hour,
            Self::Day => hour / 24 * 24,
            Self::Month => calendar::start_of_month(hour * HOUR_SECS) / HOUR_SECS,
        }
    }

    /// The first hour after it.
    pub(crate) fn end(self, hour: u64) -> u64 {
        match self {
            Self::Hour => hour + 1,
            Self::Day => (hour / 24 + 1) * 24,
            Self::Month => calendar::end_of_month(hour * HOUR_SECS) / HOUR_SECS,
        }
    }

    /// Where to begin so that there are as many steps as one likes to see, this one included.
    fn back_from(self, hour: u64) -> u64 {
        let steps = STEPS.into_iter().find(|(by, _)| *by == self).map_or(1, |(_, steps)| steps);
        (1..steps).fold(self.start(hour), |start, _| self.start(start.saturating_sub(1)))
    }

    /// What the step that this hour is in is called.
    pub(crate) fn label(self, hour: u64) -> String {
        let (year, month, day) = calendar::date(hour / 24);
        match self {
            Self::Hour => format!("{year:04}-{month:02}-{day:02}T{:02}:00:00Z", hour % 24),
            Self::Day => format!("{year:04}-{month:02}-{day:02}"),
            Self::Month => format!("{year:04}-{month:02}"),
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = GROUPS.iter().find(|(_, group)| group == self).map_or("", |(word, _)| word);
        f.write_str(word)
    }
}
