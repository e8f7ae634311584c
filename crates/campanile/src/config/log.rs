//! `[log]`: what is written about the server's life, and how.
//!
//! Owns level and format. Never logs. The invariant: both are one of a closed list, and anything
//! else is refused with that list. Next: `cors.rs`.

use std::fmt::Debug;

use super::file::LogTable;
use super::problem::Problems;

/// What to log, and how.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Log {
    /// The least severe event that is written.
    pub level: LogLevel,
    /// For people or for machines.
    pub format: LogFormat,
}

/// How severe an event is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogLevel {
    /// Something failed and was not mended.
    Error,
    /// Something is degraded.
    Warn,
    /// The server's own life.
    Info,
    /// What clients do wrong.
    Debug,
    /// Everything.
    Trace,
}

/// How an event is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object per line.
    Json,
}

const LEVELS: &[(&str, LogLevel)] = &[
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
    ("trace", LogLevel::Trace),
];

const FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];

impl LogLevel {
    /// The level's name in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

impl Log {
    pub(super) fn read(table: &mut LogTable, problems: &mut Problems) -> Self {
        Self {
            level: one_of(LEVELS, "info", "log.level", &mut table.level, problems).unwrap_or(LogLevel::Info),
            format: one_of(FORMATS, "text", "log.format", &mut table.format, problems).unwrap_or(LogFormat::Text),
        }
    }
}

/// Looks a name up in a closed list; an unknown one is refused with the list.
fn one_of<T: Copy + Debug>(
    known: &[(&str, T)],
    unset: &str,
    path: &str,
    written: &mut Option<String>,
    problems: &mut Problems,
) -> Option<T> {
    let name = written.get_or_insert_with(|| unset.to_owned());
    let found = known.iter().find(|(known, _)| known == name);
    if found.is_none() {
        let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
        problems.at(path, format!("{name:?} is not one of {}", names.join(", ")));
    }
    found.map(|(_, value)| *value)
}
