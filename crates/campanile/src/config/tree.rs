//! A TOML document, checked against the shapes that `file.rs` declares.
//!
//! Owns the search for unknown keys and wrong types, with the line of each. Never judges a value of
//! the right type. The invariant: the tree that comes out has only declared keys, each of its
//! declared type, so what follows needs no further check of form. Next: `env.rs` writes into the
//! same tree.

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::file::{Field, File, Shape, Shaped};
use super::problem::{Origin, Problems};

/// Reads the document into a tree; whatever does not fit is left out and told to `problems`. No tree comes of what is
/// no TOML.
pub(super) fn from_document(text: &str, problems: &mut Problems) -> Option<Table> {
    let mut tree = Table::new();
    let lines = Lines::of(text);
    match DeTable::parse(text) {
        Ok(document) => {
            if let Shape::Table(fields) = File::SHAPE {
                Reader { lines, problems }.table(document.get_ref(), fields, "", &mut tree);
            }
            Some(tree)
        }
        // Only the message: the error's own display quotes the line, which may hold a secret.
        Err(error) => {
            let line = error.span().map_or(0, |span| lines.number(span.start));
            problems.in_file(line, "", format!("not valid TOML: {}", error.message()));
            None
        }
    }
}

/// The empty value of a shape, for what the file does not mention.
pub(super) fn blank(shape: Shape) -> Value {
    match shape {
        Shape::Text => Value::String(String::new()),
        Shape::Integer => Value::Integer(0),
        Shape::Boolean => Value::Boolean(false),
        Shape::List(_) => Value::Array(Vec::new()),
        Shape::Map | Shape::Table(_) => Value::Table(Table::new()),
    }
}

/// The path of `name` inside the table at `path`.
pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Where each line of a text begins.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self(breaks.map(|(position, _)| position + 1).collect())
    }

    /// The line of a position, counted from one.
    fn number(&self, position: usize) -> usize {
        1 + self.0.partition_point(|start| *start <= position)
    }
}

struct Reader<'a> {
    lines: Lines,
    problems: &'a mut Problems,
}

impl Reader<'_> {
    fn table(&mut self, document: &DeTable<'_>, fields: &'static [Field], path: &str, into: &mut Table) {
        for (key, value) in document {
            let name: &str = key.get_ref();
            let line = self.lines.number(key.span().start);
            let at = join(path, name);
            let Some(field) = fields.iter().find(|field| field.name == name) else {
                let meant = nearest(name, path, fields);
                let text = format!("unknown setting; {}", suggestion(meant.as_deref(), fields));
                self.problems.in_file(line, &at, text);
                if let Some(meant) = meant {
                    self.problems.spoil(&meant);
                }
                continue;
            };
            self.problems.origins.record(&at, Origin::File { line });
            if let Some(value) = self.value(value, field.shape, &at, line) {
                into.insert(name.to_owned(), value);
            }
        }
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, shape: Shape, at: &str, line: usize) -> Option<Value> {
        match (shape, value.get_ref()) {
            (Shape::Text, DeValue::String(text)) => Some(Value::String(text.to_string())),
            (Shape::Boolean, DeValue::Boolean(answer)) => Some(Value::Boolean(*answer)),
            (Shape::Integer, DeValue::Integer(digits)) => match i64::from_str_radix(digits.as_str(), digits.radix()) {
                Ok(number) if number >= 0 => Some(Value::Integer(number)),
                Ok(_) => self.refuse(at, line, "must not be negative"),
                Err(_) => self.refuse(at, line, "the number is too large"),
            },
            (Shape::List(item), DeValue::Array(values)) => {
                let mut list = Vec::new();
                for (index, value) in values.iter().enumerate() {
                    let at = format!("{at}[{index}]");
                    let line = self.lines.number(value.span().start);
                    self.problems.origins.record(&at, Origin::File { line });
                    // What is refused leaves a gap, so that the items after it keep their numbers.
                    list.push(self.value(value, *item, &at, line).unwrap_or_else(|| blank(*item)));
                }
                Some(Value::Array(list))
            }
            (Shape::Map, DeValue::Table(values)) => {
                let mut map = Table::new();
                for (key, value) in values {
                    let at = join(at, key.get_ref());
                    let line = self.lines.number(key.span().start);
                    self.problems.origins.record(&at, Origin::File { line });
                    if let Some(value) = self.value(value, Shape::Text, &at, line) {
                        map.insert(key.get_ref().to_string(), value);
                    }
                }
                Some(Value::Table(map))
            }
            (Shape::Table(fields), DeValue::Table(values)) => {
                let mut table = Table::new();
                self.table(values, fields, at, &mut table);
                Some(Value::Table(table))
            }
            (shape, other) => {
                let text = format!("must be {}, not {}", shape.noun(), found(other));
                self.refuse(at, line, &text)
            }
        }
    }

    fn refuse(&mut self, at: &str, line: usize, text: &str) -> Option<Value> {
        self.problems.in_file(line, at, text);
        self.problems.spoil(at);
        None
    }
}

/// What a value of the wrong type is, without quoting it: it may be a secret.
fn found(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

/// What to say of an unknown name: what it was probably meant to be, or what is known here.
fn suggestion(meant: Option<&str>, siblings: &[Field]) -> String {
    match meant {
        Some(known) => format!("did you mean `{known}`?"),
        None => {
            let known: Vec<_> = siblings.iter().map(|field| field.name).collect();
            format!("known here: {}", known.join(", "))
        }
    }
}

/// The full path of the nearest known setting: a sibling, else a setting of exactly that name elsewhere.
pub(super) fn nearest(name: &str, path: &str, siblings: &[Field]) -> Option<String> {
    let name = name.to_lowercase();
    let sibling = siblings.iter().map(|field| (strsim::damerau_levenshtein(&name, field.name), field.name)).min();
    // A name that is exactly right somewhere else is a better guess than one that is nearly right.
    let mut elsewhere = Vec::new();
    if !matches!(sibling, Some((0, _))) {
        collect_named(&name, File::SHAPE, "", &mut elsewhere);
    }
    let allowed = (name.len() / 3).max(1);
    elsewhere
        .into_iter()
        .next()
        .or_else(|| sibling.filter(|(distance, _)| *distance <= allowed).map(|(_, known)| join(path, known)))
}

/// The paths of all settings called `name`.
fn collect_named(name: &str, shape: Shape, path: &str, into: &mut Vec<String>) {
    match shape {
        Shape::Table(fields) => {
            for field in fields {
                let at = join(path, field.name);
                if field.name == name {
                    into.push(at.clone());
                }
                collect_named(name, field.shape, &at, into);
            }
        }
        Shape::List(item @ Shape::Table(_)) => {
            collect_named(name, *item, &format!("{path}[0]"), into);
        }
        Shape::Text | Shape::Integer | Shape::Boolean | Shape::List(_) | Shape::Map => {}
    }
}
