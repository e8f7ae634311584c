//! What makes an event large: the fields of its data, and how many bytes each takes.
//!
//! Owns the way from an event's data to the names of its largest fields. Never keeps a value, nor a name that may be one. The
//! invariant: what it looks at is bounded in bytes by the sample, and here in depth and in number. Used by
//! [`super::store`], off the path of any delivery.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::config::limits::{FIELDS_DEPTH_MAX, FIELDS_LOOKED_AT_MAX, FIELDS_TOLD_MAX};

/// What stands for a name that may be a value, and for every place of an array.
const ANY: &str = "*";
/// Characters of a name that is no value.
const NAME_CHARACTERS_MAX: usize = 40;
/// Digits that a name may have: one with more is a number, a date or an id.
const NAME_DIGITS_MAX: usize = 4;

/// A field, or all that stand at the same place of an array's elements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FieldSize {
    /// As in `/items/*/description`.
    pub(crate) path: String,
    /// Of the JSON of its values.
    pub(crate) bytes: u64,
}

/// The largest event of a name that was looked into.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LargestFields {
    /// Of all its data.
    pub(crate) bytes: u64,
    /// The largest first.
    pub(crate) fields: Vec<FieldSize>,
}

/// The largest fields of data, the largest first; none if it is no JSON object or array.
pub(crate) fn largest(data: &str) -> LargestFields {
    let mut walk = Walk { sums: BTreeMap::new(), left: FIELDS_LOOKED_AT_MAX };
    if let Ok(value) = serde_json::from_str::<&RawValue>(data) {
        walk.visit(&mut String::new(), value, 0);
    }
    // The whole is no field.
    walk.sums.remove("");
    let mut fields: Vec<FieldSize> =
        walk.sums.into_iter().map(|(path, bytes)| FieldSize { path, bytes: bytes as u64 }).collect();
    fields.sort_by(|one, other| other.bytes.cmp(&one.bytes).then_with(|| one.path.cmp(&other.path)));
    fields.truncate(FIELDS_TOLD_MAX);
    LargestFields { bytes: data.len() as u64, fields }
}

struct Walk {
    sums: BTreeMap<String, usize>,
    left: usize,
}

impl Walk {
    fn visit(&mut self, path: &mut String, value: &RawValue, depth: usize) {
        let json = value.get();
        let may_look = depth < FIELDS_DEPTH_MAX && self.left > 0;
        let is_looked_into = may_look
            && match json.as_bytes().first() {
                Some(b'{') => self.visit_object(path, json, depth),
                Some(b'[') => self.visit_array(path, json, depth),
                _ => false,
            };
        if !is_looked_into {
            *self.sums.entry(path.clone()).or_default() += json.len();
        }
    }

    fn visit_object(&mut self, path: &mut String, json: &str, depth: usize) -> bool {
        let Ok(fields) = serde_json::from_str::<BTreeMap<String, &RawValue>>(json) else { return false };
        fields.iter().for_each(|(name, value)| self.step(path, told(name), value, depth));
        !fields.is_empty()
    }

    fn visit_array(&mut self, path: &mut String, json: &str, depth: usize) -> bool {
        let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(json) else { return false };
        elements.iter().for_each(|value| self.step(path, ANY, value, depth));
        !elements.is_empty()
    }

    fn step(&mut self, path: &mut String, name: &str, value: &RawValue, depth: usize) {
        self.left = self.left.saturating_sub(1);
        let before = path.len();
        path.push('/');
        path.push_str(name);
        self.visit(path, value, depth + 1);
        path.truncate(before);
    }
}

/// A field's name, unless it may be a value: the keys of a map are users, dates or whatever else.
fn told(name: &str) -> &str {
    let is_name = name.chars().next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_' || first == '$')
        && name.len() <= NAME_CHARACTERS_MAX
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'$'))
        && name.bytes().filter(u8::is_ascii_digit).count() <= NAME_DIGITS_MAX;
    if is_name { name } else { ANY }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(data: &str) -> Vec<(String, u64)> {
        largest(data).fields.into_iter().map(|field| (field.path, field.bytes)).collect()
    }

    fn expected(fields: &[(&str, u64)]) -> Vec<(String, u64)> {
        fields.iter().map(|(path, bytes)| ((*path).to_owned(), *bytes)).collect()
    }

    #[test]
    fn the_largest_fields_come_first_and_those_of_an_arrays_elements_are_one() {
        let data = r#"{"id":7,"order":{"note":"0123456789","items":[{"text":"abc","n":1},{"text":"defg","n":22}]}}"#;
        let fields = [("/order/note", 12), ("/order/items/*/text", 5 + 6), ("/order/items/*/n", 3), ("/id", 1)];
        assert_eq!(shown(data), expected(&fields));
        assert_eq!(largest(data).bytes, data.len() as u64);
    }

    #[test]
    fn no_value_is_told_not_even_one_that_is_a_key() {
        let secrets = [
            "ada@example.com",
            "550e8400-e29b-41d4-a716-446655440000",
            "a50e8400-e29b-41d4-a716-446655440000",
            "42",
            "2026-11-24",
            "two words",
            "é",
            "",
            "an-identifier-that-is-longer-than-forty-characters",
        ];
        let fields: Vec<String> = secrets.iter().map(|key| format!("{key:?}:\"the value of a key\"")).collect();
        let data = format!(r#"{{"by_user":{{{}}},"of":"a secret text"}}"#, fields.join(","));
        let each = "\"the value of a key\"".len() as u64;
        assert_eq!(shown(&data), expected(&[("/by_user/*", each * secrets.len() as u64), ("/of", 15)]));
        assert_eq!(shown(r#"{"line_1":"a","order2id":"b","$ref":"c"}"#).len(), 3);
    }

    #[test]
    fn depth_and_number_have_bounds_past_which_what_is_left_is_one() {
        let nested = r#"{"a":{"b":{"c":{"d":{"e":1}}}}}"#;
        assert_eq!(shown(nested), expected(&[("/a/b/c/d", 7)]));
        let within = r#"{"a":{"b":{"c":{"d":1}}}}"#;
        assert_eq!(shown(within), expected(&[("/a/b/c/d", 1)]));
        // Each element and its field are two.
        let elements = |count: usize| format!("[{}]", vec![r#"{"a":1}"#; count].join(","));
        assert_eq!(shown(&elements(FIELDS_LOOKED_AT_MAX / 2)), expected(&[("/*/a", FIELDS_LOOKED_AT_MAX as u64 / 2)]));
        assert_eq!(
            shown(&elements(FIELDS_LOOKED_AT_MAX / 2 + 1)),
            expected(&[("/*/a", FIELDS_LOOKED_AT_MAX as u64 / 2), ("/*", 7)])
        );
        assert_eq!(
            shown(&format!("{{{}}}", (0..9).map(|n| format!("\"f{n}\":1")).collect::<Vec<_>>().join(","))).len(),
            FIELDS_TOLD_MAX
        );
    }

    #[test]
    fn what_has_no_fields_tells_none() {
        for data in ["", "no JSON", "7", "\"text\"", "{}", "[]", "{", "null"] {
            assert_eq!(shown(data), [], "{data}");
        }
    }
}
