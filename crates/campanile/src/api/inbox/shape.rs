//! What a body may hold: the check and the description, from the same lines.
//!
//! Owns the shapes, the search for unknown fields and wrong types, and their JSON Schema. Never judges a value of the right
//! type: the store does. The invariant: what the OpenAPI document says of a body is what is checked. Read on in
//! `bodies.rs` for the shapes themselves.

use serde_json::{Map, Value, json};

use super::refusal::{Code, Refused};

/// What may stand at one place of a body.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    Text,
    /// A moment, as RFC 3339 has it.
    Moment,
    /// A whole number that is not negative.
    Number,
    Boolean,
    /// An object with whatever the application wants.
    Anything,
    /// An object whose values are flags, and whose keys are these words.
    Switches(&'static [&'static str]),
    /// One of these words.
    Word(&'static [&'static str]),
    List(&'static Shape),
    /// An object with these fields and no others.
    Table(&'static [Field]),
    /// As a table, with exactly one of its fields.
    OneOf(&'static [Field]),
    /// As a table, in which further fields are passed over.
    Open(&'static [Field]),
}

/// One field of a table.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) shape: Shape,
    pub(super) is_required: bool,
    pub(super) about: &'static str,
}

/// A field that may be left out.
pub(super) const fn may(name: &'static str, shape: Shape, about: &'static str) -> Field {
    Field { name, shape, is_required: false, about }
}

/// A field that must be there.
pub(super) const fn must(name: &'static str, shape: Shape, about: &'static str) -> Field {
    Field { name, shape, is_required: true, about }
}

impl Shape {
    fn noun(self) -> String {
        match self {
            Self::Text => "a text".to_owned(),
            Self::Moment => "a moment, as in 2026-01-02T03:04:05Z".to_owned(),
            Self::Number => "a whole number that is not negative".to_owned(),
            Self::Boolean => "true or false".to_owned(),
            Self::List(_) => "an array".to_owned(),
            Self::Word(words) => format!("one of {}", words.join(", ")),
            Self::Anything | Self::Switches(_) | Self::Table(_) | Self::OneOf(_) | Self::Open(_) => {
                "an object".to_owned()
            }
        }
    }

    /// Finds the first field that there is not, that is missing, or whose value is of another type.
    pub(super) fn check(self, value: &Value, path: &str) -> Result<(), Refused> {
        let wrong = || {
            let at = if path.is_empty() { "the body" } else { path };
            Refused::new(Code::WrongType, format!("{at} must be {}", self.noun())).at(path)
        };
        match self {
            Self::Text | Self::Moment => value.as_str().map(drop).ok_or_else(wrong),
            Self::Number => value.as_i64().filter(|number| *number >= 0).map(drop).ok_or_else(wrong),
            Self::Boolean => value.as_bool().map(drop).ok_or_else(wrong),
            Self::Anything => value.as_object().map(drop).ok_or_else(wrong),
            Self::Word(words) => {
                let word = value.as_str().ok_or_else(wrong)?;
                if words.contains(&word) { Ok(()) } else { Err(wrong()) }
            }
            Self::List(item) => {
                let items = value.as_array().ok_or_else(wrong)?;
                items.iter().enumerate().try_for_each(|(index, value)| item.check(value, &format!("{path}/{index}")))
            }
            Self::Switches(words) => {
                let switches = value.as_object().ok_or_else(wrong)?;
                switches.iter().try_for_each(|(word, value)| {
                    let at = format!("{path}/{word}");
                    if words.contains(&word.as_str()) {
                        Self::Boolean.check(value, &at)
                    } else {
                        Err(unknown(word, words.iter().copied(), &at))
                    }
                })
            }
            Self::Table(fields) => table(value.as_object().ok_or_else(wrong)?, fields, path, false),
            Self::Open(fields) => table(value.as_object().ok_or_else(wrong)?, fields, path, true),
            Self::OneOf(fields) => {
                let object = value.as_object().ok_or_else(wrong)?;
                table(object, fields, path, false)?;
                if object.len() == 1 {
                    return Ok(());
                }
                let names: Vec<&str> = fields.iter().map(|field| field.name).collect();
                let text = format!("{path} must have exactly one of {}", names.join(", "));
                Err(Refused::new(if object.is_empty() { Code::Missing } else { Code::WrongType }, text).at(path))
            }
        }
    }

    /// The same as JSON Schema.
    pub(super) fn schema(self) -> Value {
        match self {
            Self::Text => json!({ "type": "string" }),
            Self::Moment => json!({ "type": "string", "format": "date-time" }),
            Self::Number => json!({ "type": "integer", "minimum": 0 }),
            Self::Boolean => json!({ "type": "boolean" }),
            Self::Anything => json!({ "type": "object" }),
            Self::Word(words) => json!({ "type": "string", "enum": words }),
            Self::List(item) => json!({ "type": "array", "items": item.schema() }),
            Self::Switches(words) => {
                let properties: Map<String, Value> =
                    words.iter().map(|word| ((*word).to_owned(), Self::Boolean.schema())).collect();
                json!({ "type": "object", "properties": properties, "additionalProperties": false })
            }
            Self::Table(fields) => object(fields, false),
            Self::Open(fields) => object(fields, true),
            Self::OneOf(fields) => {
                let mut schema = object(fields, false);
                schema["minProperties"] = 1.into();
                schema["maxProperties"] = 1.into();
                schema
            }
        }
    }
}

fn table(object: &Map<String, Value>, fields: &[Field], path: &str, is_open: bool) -> Result<(), Refused> {
    for (name, value) in object {
        let at = format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
        match fields.iter().find(|field| field.name == name) {
            // What may be left out may be null as well.
            Some(field) if value.is_null() && !field.is_required => {}
            Some(field) => field.shape.check(value, &at)?,
            None if is_open => {}
            None => return Err(unknown(name, fields.iter().map(|field| field.name), &at)),
        }
    }
    match fields.iter().find(|field| field.is_required && !object.contains_key(field.name)) {
        Some(field) => {
            let at = format!("{path}/{}", field.name);
            Err(Refused::new(Code::Missing, format!("{} is missing: {}", field.name, field.about)).at(at))
        }
        None => Ok(()),
    }
}

fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>, at: &str) -> Refused {
    let known: Vec<&str> = known.collect();
    let nearest = known.iter().min_by_key(|known| strsim::damerau_levenshtein(name, known));
    let nearest = nearest.map_or_else(String::new, |nearest| format!("; did you mean {nearest:?}?"));
    // A name may be as long as a body, and one that does not print.
    let name: String = name.chars().take(64).collect();
    Refused::new(Code::UnknownField, format!("{name:?} is no field here{nearest} Known: {}", known.join(", "))).at(at)
}

fn object(fields: &[Field], is_open: bool) -> Value {
    let described = |field: &Field| {
        let mut schema = field.shape.schema();
        schema["description"] = field.about.into();
        (field.name.to_owned(), schema)
    };
    let properties: Map<String, Value> = fields.iter().map(described).collect();
    let required: Vec<&str> = fields.iter().filter(|field| field.is_required).map(|field| field.name).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": is_open })
}
