//! The effective configuration, shown to the operator.
//!
//! Owns its form: the file's own, complete, with a comment after each value that is not a fixed
//! default. Never shows a secret, since the types that hold one do not serialise it. The invariant:
//! what is printed is itself a valid configuration file. Next: `commands/check.rs`, which prints it.

use std::collections::HashMap;
use std::fmt::Write;

use super::file::File;
use super::problem::{Origin, Origins};
use super::secret::REDACTED;
use super::tree::join;

/// What holds, and why.
#[derive(Debug)]
pub struct Explanation {
    file: File,
    origins: Origins,
    notes: Vec<String>,
}

impl Explanation {
    pub(super) fn new(mut file: File, origins: Origins, notes: Vec<String>) -> Self {
        // A secret that came from a file is shown as that file's name alone.
        for key in file.apps.iter_mut().flat_map(|app| &mut app.keys) {
            if key.secret_file.is_some() {
                key.secret = None;
            }
        }
        for token in file.apps.iter_mut().flat_map(|app| &mut app.server_tokens) {
            if token.token_file.is_some() {
                token.token = None;
            }
        }
        // A query may be a token; what stands before it says which endpoint is meant.
        for url in file.apps.iter_mut().flat_map(|app| &mut app.webhooks).filter_map(|webhook| webhook.url.as_mut()) {
            if let Some((address, _)) = url.split_once('?') {
                *url = format!("{address}?{REDACTED}");
            }
        }
        Self { file, origins, notes }
    }

    /// The whole configuration as TOML, secrets redacted.
    ///
    /// # Errors
    ///
    /// When a value cannot be written as TOML, which none of the file's types can bring about.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        let mut annotated = String::new();
        for note in &self.notes {
            let _infallible = writeln!(annotated, "# note: {note}");
        }
        let plain = toml::to_string(&self.file)?;
        let mut place = Place::default();
        for line in plain.lines() {
            annotated.push_str(line);
            if let Some(path) = place.read(line)
                && let Some(origin) = self.origin_of(&path)
            {
                let _infallible = match origin {
                    Origin::File { line } => write!(annotated, "  # file, line {line}"),
                    Origin::Environment(name) => write!(annotated, "  # environment, {name}"),
                    Origin::Derived(how) => write!(annotated, "  # derived: {how}"),
                };
            }
            annotated.push('\n');
        }
        Ok(annotated)
    }

    /// A list is where its first item is, if the environment made it item by item.
    fn origin_of(&self, path: &str) -> Option<&Origin> {
        let first_item = || self.origins.of(&format!("{path}[0]"));
        self.origins.of(path).or_else(first_item)
    }
}

/// Where in the printed document a line stands.
#[derive(Default)]
struct Place {
    table: String,
    items: HashMap<String, usize>,
}

impl Place {
    /// The path of the value on this line, if there is one.
    fn read(&mut self, line: &str) -> Option<String> {
        if let Some(name) = line.strip_prefix("[[").and_then(|l| l.strip_suffix("]]")) {
            let list = self.indexed(name);
            let index = self.items.entry(list.clone()).or_insert(0);
            self.table = format!("{list}[{index}]");
            *index += 1;
            return None;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            self.table = self.indexed(name);
            return None;
        }
        let (name, _) = line.split_once(" = ")?;
        Some(join(&self.table, name.trim_matches('"')))
    }

    /// A header's path, where a list of tables on the way means its latest item.
    fn indexed(&self, name: &str) -> String {
        let mut path = String::new();
        let mut parts = name.split('.').peekable();
        while let Some(part) = parts.next() {
            path = join(&path, part);
            if parts.peek().is_some()
                && let Some(next) = self.items.get(&path)
            {
                path = format!("{path}[{}]", next - 1);
            }
        }
        path
    }
}
