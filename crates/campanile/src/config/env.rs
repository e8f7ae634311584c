//! The environment, written over the file by one rule.
//!
//! `CAMPANILE__LISTEN__PORT` is `listen.port` and `CAMPANILE__APPS__0__ID` is `apps[0].id`: the path
//! in capitals, its parts joined by two underscores. Owns that rule; never knows a setting by name.
//! The invariant: a name that begins with the prefix either sets something or is refused, so a typo
//! cannot pass in silence. Next: `laravel.rs` for the names of others.

use toml::{Table, Value};

use super::file::{Field, File, Shape, Shaped};
use super::problem::Problems;
use super::tree::{blank, join, nearest};

/// What every name of ours begins with.
pub(super) const PREFIX: &str = "CAMPANILE__";

/// Between the parts of a name.
const SEPARATOR: &str = "__";

/// Writes every variable of ours into the tree.
pub(super) fn overlay(tree: &mut Table, variables: &[(String, String)], problems: &mut Problems) {
    let mut ours: Vec<_> =
        variables.iter().filter_map(|(name, value)| Some((parts(name.strip_prefix(PREFIX)?), name, value))).collect();
    for (name, _) in variables {
        if let Some(meant) = with_one_underscore(name) {
            problems.at(name, format!("the parts of a name are joined by two underscores: did you mean {meant}?"));
        }
    }
    // By index, so that `APPS__1` finds what `APPS__0` has added.
    ours.sort();
    let mut root = Value::Table(std::mem::take(tree));
    for (parts, name, value) in ours {
        let setting = Setting { name, value };
        setting.place(&mut root, File::SHAPE, "", &parts, problems);
    }
    if let Value::Table(root) = root {
        *tree = root;
    }
}

/// One part of a name; numbers come in numeric order.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Part<'a> {
    Index(usize),
    Name(&'a str),
}

fn parts(name: &str) -> Vec<Part<'_>> {
    name.split(SEPARATOR).map(|part| part.parse().map_or(Part::Name(part), Part::Index)).collect()
}

/// What was meant by a name that would set something if its parts were joined as they should be.
fn with_one_underscore(name: &str) -> Option<String> {
    let rest = name.strip_prefix("CAMPANILE_").filter(|rest| !rest.starts_with('_'))?;
    let Shape::Table(fields) = File::SHAPE else { return None };
    fields.iter().find_map(|field| {
        let field = field.name.to_uppercase();
        match rest.strip_prefix(field.as_str())? {
            "" => Some(format!("{PREFIX}{field}")),
            inner => Some(format!("{PREFIX}{field}{SEPARATOR}{}", inner.strip_prefix('_')?.trim_start_matches('_'))),
        }
    })
}

/// A path as its environment variable.
pub(super) fn variable(path: &str) -> String {
    let path = path.replace('[', ".").replace(']', "");
    format!("{PREFIX}{}", path.to_uppercase().replace('.', SEPARATOR))
}

struct Setting<'a> {
    name: &'a str,
    value: &'a str,
}

impl Setting<'_> {
    fn place(&self, at: &mut Value, shape: Shape, path: &str, parts: &[Part<'_>], problems: &mut Problems) {
        problems.origins.record_environment(path, self.name, parts.is_empty());
        match (shape, at, parts) {
            (Shape::Table(fields), Value::Table(table), [Part::Name(part), rest @ ..]) => {
                match fields.iter().find(|f| f.name.to_uppercase() == *part) {
                    Some(field) => {
                        let slot = table.entry(field.name).or_insert_with(|| blank(field.shape));
                        self.place(slot, field.shape, &join(path, field.name), rest, problems);
                    }
                    None => self.unknown(part, path, fields, problems),
                }
            }
            (Shape::List(item), Value::Array(list), [Part::Index(index), rest @ ..]) => {
                if *index > list.len() {
                    let text = format!(
                        "`{path}` has {} so far, so the next one is {}",
                        match list.len() {
                            0 => "nothing in it".to_owned(),
                            1 => "one item".to_owned(),
                            several => format!("{several} items"),
                        },
                        variable(&format!("{path}[{}]", list.len()))
                    );
                    problems.in_environment(self.name, text);
                    return;
                }
                if *index == list.len() {
                    list.push(blank(*item));
                }
                let path = format!("{path}[{index}]");
                self.place(&mut list[*index], *item, &path, rest, problems);
            }
            (Shape::Map, Value::Table(map), [Part::Name(part)]) => {
                // No shell sets a name with a hyphen, so the underscore stands for it.
                let known = map.keys().find(|key| key.to_uppercase().replace('-', "_") == *part).cloned();
                let key = known.unwrap_or_else(|| part.to_lowercase().replace('_', "-"));
                problems.origins.record_environment(&join(path, &key), self.name, true);
                map.insert(key, Value::String(self.value.to_owned()));
            }
            (Shape::Text | Shape::Integer | Shape::Boolean, at, []) => match scalar(shape, self.value) {
                Ok(value) => *at = value,
                Err(reason) => {
                    problems.in_environment(self.name, reason);
                    problems.spoil(path);
                }
            },
            (Shape::List(_), _, _) => problems.in_environment(
                self.name,
                format!("`{path}` is an array: set its items one by one, as in {}", variable(&format!("{path}[0]"))),
            ),
            (Shape::Table(fields), _, [Part::Index(index), ..]) => {
                self.unknown(&index.to_string(), path, fields, problems);
            }
            (Shape::Table(_) | Shape::Map, _, _) => {
                problems.in_environment(self.name, format!("`{path}` is a table: set one of its settings"))
            }
            (Shape::Text | Shape::Integer | Shape::Boolean, _, _) => problems
                .in_environment(self.name, format!("`{path}` is a single value: its name is {}", variable(path))),
        }
    }

    fn unknown(&self, part: &str, path: &str, fields: &[Field], problems: &mut Problems) {
        let text = match nearest(part, path, fields) {
            Some(known) => {
                problems.spoil(&known);
                format!("unknown setting; did you mean {}?", variable(&known))
            }
            None => {
                let known: Vec<_> = fields.iter().map(|f| variable(&join(path, f.name))).collect();
                format!("unknown setting; known here: {}", known.join(", "))
            }
        };
        problems.in_environment(self.name, text);
    }
}

/// A variable's text as a value of the shape; only numbers and answers are quoted in a refusal, since
/// any other text may be a secret.
fn scalar(shape: Shape, text: &str) -> Result<Value, String> {
    match shape {
        Shape::Integer => {
            let number: u64 = text.trim().parse().map_err(|_| format!("must be a whole number, not {text:?}"))?;
            i64::try_from(number).map(Value::Integer).map_err(|_| "the number is too large".to_owned())
        }
        Shape::Boolean => {
            text.trim().parse().map(Value::Boolean).map_err(|_| format!("must be true or false, not {text:?}"))
        }
        Shape::Text | Shape::List(_) | Shape::Map | Shape::Table(_) => Ok(Value::String(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_one_underscore_for_two_is_told_from_names_of_others() {
        for (name, meant) in [
            ("CAMPANILE_LISTEN_PORT", Some("CAMPANILE__LISTEN__PORT")),
            ("CAMPANILE_LISTEN__PORT", Some("CAMPANILE__LISTEN__PORT")),
            ("CAMPANILE_STATE_DIR", Some("CAMPANILE__STATE_DIR")),
            ("CAMPANILE_WORKERS", Some("CAMPANILE__WORKERS")),
            ("CAMPANILE_CONFIG", None),
            ("CAMPANILE_BIN", None),
            ("CAMPANILE__LISTEN__PORT", None),
            ("OTHER_LISTEN_PORT", None),
        ] {
            assert_eq!(with_one_underscore(name).as_deref(), meant, "{name}");
        }
    }
}
