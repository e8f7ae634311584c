//! What is wrong with a configuration, told to the operator.
//!
//! Owns where each value came from and the list of problems found. Never shows a secret: a problem
//! quotes numbers and names, not text that was written for one. The invariant: every problem says
//! where it is, what is wrong and what to do. Next: `tree.rs`, which finds the first kind of
//! problem, and the files per subject, which find the second.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Where a value came from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Origin {
    /// The file, at this line.
    File {
        /// Counted from one.
        line: usize,
    },
    /// This environment variable.
    Environment(String),
    /// Computed, with a word on how.
    Derived(&'static str),
}

/// Where every value that is not a fixed default came from, by its path.
#[derive(Clone, Debug, Default)]
pub struct Origins(BTreeMap<String, Origin>);

impl Origins {
    pub(super) fn record(&mut self, path: &str, origin: Origin) {
        self.0.insert(path.to_owned(), origin);
    }

    /// A variable sets a value, and creates the tables around it where the file has none.
    pub(super) fn record_environment(&mut self, path: &str, variable: &str, is_value: bool) {
        if is_value || !self.0.contains_key(path) {
            self.record(path, Origin::Environment(variable.to_owned()));
        }
    }

    /// Where the value at `path` came from; nothing for a fixed default.
    #[must_use]
    pub fn of(&self, path: &str) -> Option<&Origin> {
        self.0.get(path)
    }

    /// The origin of the value, or of the nearest table around it that has one.
    fn around(&self, path: &str) -> Option<&Origin> {
        let mut path = path;
        loop {
            match self.0.get(path) {
                Some(Origin::Derived(_)) | None => {}
                Some(origin) => return Some(origin),
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }
}

/// One thing that is wrong: where, and what to do about it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    place: Place,
    path: String,
    text: String,
}

/// Orders problems as the operator meets them: the file from its top, then the environment.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Place {
    File(String, usize),
    Environment(String),
    Nowhere,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File(name, 0) => write!(f, "{name}: ")?,
            Place::File(name, line) => write!(f, "{name}:{line}: ")?,
            Place::Environment(name) => write!(f, "{name}: ")?,
            Place::Nowhere => {}
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.text)
    }
}

/// Problems as they are found, and what is needed to say where they are.
#[derive(Debug)]
pub(super) struct Problems {
    file_name: String,
    pub(super) origins: Origins,
    found: Vec<Problem>,
    /// Paths whose values were refused for their form, or stand under a misspelt name: whatever seems wrong with what is
    /// read there follows from that.
    spoiled: BTreeSet<String>,
}

impl Problems {
    pub(super) fn new(file_name: String) -> Self {
        Self { file_name, origins: Origins::default(), found: Vec::new(), spoiled: BTreeSet::new() }
    }

    /// Nothing more is told of the value at `path`, because what stands there is not what was written.
    pub(super) fn spoil(&mut self, path: &str) {
        self.spoiled.insert(path.to_owned());
    }

    /// Whether the value at `path`, or a table around it, is not what was written.
    pub(super) fn is_spoiled(&self, path: &str) -> bool {
        let around = path.match_indices(['.', '[']).map(|(end, _)| &path[..end]);
        self.spoiled.contains(path) || around.into_iter().any(|path| self.spoiled.contains(path))
    }

    /// Whether anything at all is not what was written, so that relations between values prove nothing.
    pub(super) fn is_any_spoiled(&self) -> bool {
        !self.spoiled.is_empty()
    }

    /// A problem with the value at `path`, placed where the value was written.
    pub(super) fn at(&mut self, path: &str, text: impl Into<String>) {
        if self.is_spoiled(path) {
            return;
        }
        let place = match self.origins.around(path) {
            Some(Origin::File { line }) => Place::File(self.file_name.clone(), *line),
            Some(Origin::Environment(name)) => Place::Environment(name.clone()),
            Some(Origin::Derived(_)) | None => Place::Nowhere,
        };
        self.found.push(Problem { place, path: path.to_owned(), text: text.into() });
    }

    /// A problem with the table at `path`, which lacks something.
    pub(super) fn missing(&mut self, path: &str, name: &str, text: impl Into<String>) {
        if !self.is_spoiled(&format!("{path}.{name}")) {
            self.at(path, text);
        }
    }

    /// A problem in the file; line 0 where no line is known.
    pub(super) fn in_file(&mut self, line: usize, path: &str, text: impl Into<String>) {
        self.found.push(Problem {
            place: Place::File(self.file_name.clone(), line),
            path: path.to_owned(),
            text: text.into(),
        });
    }

    /// A problem with an environment variable.
    pub(super) fn in_environment(&mut self, name: &str, text: impl Into<String>) {
        self.found.push(Problem { place: Place::Environment(name.to_owned()), path: String::new(), text: text.into() });
    }

    /// Whether anything was found so far.
    pub(super) fn has_any(&self) -> bool {
        !self.found.is_empty()
    }

    /// Nothing if nothing was found; otherwise the error that tells all of it.
    pub(super) fn settle(&mut self) -> Result<(), ConfigError> {
        if self.found.is_empty() {
            return Ok(());
        }
        let mut problems = std::mem::take(&mut self.found);
        problems.sort_by(|a, b| a.place.cmp(&b.place));
        problems.dedup();
        Err(ConfigError { problems })
    }
}

/// The configuration cannot be used; says everything that was found wrong with it.
#[derive(Debug)]
pub struct ConfigError {
    problems: Vec<Problem>,
}

impl ConfigError {
    /// Each problem, the file's first, in the order of its lines.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [only] => write!(f, "{only}"),
            several => {
                write!(f, "the configuration has {} problems:", several.len())?;
                several.iter().try_for_each(|one| write!(f, "\n  {one}"))
            }
        }
    }
}
