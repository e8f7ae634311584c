//! JSON as this protocol has it: `data` is a string that holds JSON.
//!
//! Owns the double encoding, which no other module knows. Never decodes a publisher's data: the literal that came in
//! goes out, and [`DataLiteral::at`] alone looks into it. The invariant: [`DataLiteral`] is one valid JSON value, encoded
//! once. Read on in [`crate::frame`].

use std::collections::HashMap;

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

/// Appends `text` as a JSON string.
pub fn push_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("writing a string to memory cannot fail");
}

/// An event's `data` as it stands in the outgoing frame: a JSON literal, nearly always a string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataLiteral(Box<str>);

impl DataLiteral {
    /// From a publisher's JSON value. A string passes through untouched; anything else is encoded into a string once,
    /// because strict clients accept nothing else.
    pub fn from_published(value: &RawValue) -> Self {
        if value.get().starts_with('"') { Self(value.get().into()) } else { Self::from_text(value.get()) }
    }

    /// From the raw text of the data.
    pub fn from_text(text: &str) -> Self {
        let mut literal = Vec::with_capacity(text.len() + text.len() / 4 + 2);
        push_string(&mut literal, text);
        Self(String::from_utf8(literal).expect("JSON of UTF-8 is UTF-8").into())
    }

    /// From a client event's data: passed on as it came, an object as an object.
    pub fn from_client(value: &RawValue) -> Self {
        Self(value.get().into())
    }

    /// The literal.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How many bytes the data has once the receiver has decoded the string: what the limit counts.
    pub fn decoded_len(&self) -> usize {
        decoded_len(&self.0)
    }

    /// About the same, counted faster: too few by one for each escaped backslash, too many by up to four for each `\u`.
    pub fn about_len(&self) -> usize {
        let bytes = self.0.as_bytes();
        if bytes.first() != Some(&b'"') {
            return bytes.len();
        }
        let escapes = bytes.iter().filter(|byte| **byte == b'\\').count();
        bytes.len().saturating_sub(2 + escapes)
    }

    /// The data as the receiver sees it: the string's text, or the JSON of anything else.
    pub fn decode(&self) -> String {
        serde_json::from_str::<String>(&self.0).unwrap_or_else(|_| self.0.as_ref().to_owned())
    }

    /// What the data, read as JSON, has at this place: a string in one spelling, whichever it came in, and anything else as
    /// it is written. `None`: it is no JSON, has nothing there, or `null`.
    pub fn at(&self, pointer: &Pointer) -> Option<String> {
        let text = self.decode();
        let mut value: &RawValue = serde_json::from_str(&text).ok()?;
        for token in &pointer.tokens {
            value = match value.get().as_bytes().first()? {
                b'{' => serde_json::from_str::<HashMap<String, &RawValue>>(value.get()).ok()?.remove(&**token)?,
                b'[' => {
                    let index: usize = token.parse().ok().filter(|_| token.len() == 1 || !token.starts_with('0'))?;
                    serde_json::from_str::<Vec<&RawValue>>(value.get()).ok()?.get(index).copied()?
                }
                _ => return None,
            };
        }
        match value.get() {
            "null" => None,
            json if json.starts_with('"') => {
                let decoded: String = serde_json::from_str(json).ok()?;
                let mut literal = Vec::with_capacity(decoded.len() + 2);
                push_string(&mut literal, &decoded);
                String::from_utf8(literal).ok()
            }
            json => Some(json.to_owned()),
        }
    }
}

/// A place in a JSON value (RFC 6901): `/order/id`, in which `~1` stands for a slash and `~0` for a tilde. Never the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    text: Box<str>,
    tokens: Vec<Box<str>>,
}

impl Pointer {
    /// Reads a pointer; `None` if it does not begin with a slash or has a tilde that stands for nothing.
    pub fn parse(text: &str) -> Option<Self> {
        let token = |token: &str| {
            let is_token = token.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
            is_token.then(|| token.replace("~1", "/").replace("~0", "~").into_boxed_str())
        };
        let tokens = text.strip_prefix('/')?.split('/').map(token).collect::<Option<_>>()?;
        Some(Self { text: text.into(), tokens })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// The decoded length of a JSON literal, without decoding it: strings lose their quotes and escapes.
fn decoded_len(literal: &str) -> usize {
    let Some(inner) = literal.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return literal.len();
    };
    let bytes = inner.as_bytes();
    let mut length = bytes.len();
    let mut at = 0;
    while let Some(offset) = bytes[at..].iter().position(|byte| *byte == b'\\') {
        at += offset;
        if bytes.get(at + 1) != Some(&b'u') {
            length -= 1;
            at += 2;
        } else {
            let unit = |at: usize| inner.get(at + 2..at + 6).and_then(|hex| u32::from_str_radix(hex, 16).ok());
            let (escape, decoded) = match unit(at) {
                Some(0xd800..=0xdbff) if bytes.get(at + 6..at + 8) == Some(b"\\u") => (12, 4),
                Some(unit) => (6, char::from_u32(unit).map_or(3, char::len_utf8)),
                None => (6, 1),
            };
            length -= escape - decoded;
            at += escape;
        }
        if at >= bytes.len() {
            break;
        }
    }
    length
}

/// An object that a client may send as JSON or, as some do, as a string that holds JSON.
pub(crate) fn decode_object<T: DeserializeOwned>(value: &RawValue) -> Option<T> {
    let json = value.get();
    let unescaped = json.starts_with('"').then(|| serde_json::from_str::<String>(json)).transpose().ok()?;
    let object = unescaped.as_deref().unwrap_or(json);
    object.trim_start().starts_with('{').then(|| serde_json::from_str(object).ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn published(json: &str) -> DataLiteral {
        DataLiteral::from_published(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn a_string_passes_through_untouched_and_all_else_is_encoded_once() {
        let string = r#""{\"a\":\u00e9}""#;
        assert_eq!(published(string).as_str(), string);
        assert_eq!(published(r#"{"a": [1]}"#).as_str(), r#""{\"a\": [1]}""#);
        assert_eq!(published("17").as_str(), r#""17""#);
        assert_eq!(published(r#""""#).as_str(), r#""""#);
    }

    #[test]
    fn the_limit_counts_what_the_receiver_decodes() {
        for (json, length) in [
            (r#""""#, 0),
            (r#""abc""#, 3),
            (r#""\"\\\n\/""#, 4),
            (r#""\u0041""#, 1),
            (r#""\u00e9""#, 2),
            (r#""\u20ac""#, 3),
            (r#""\ud83d\ude00""#, 4),
            (r#""😀é""#, 6),
            (r#"{"a":1}"#, 7),
        ] {
            assert_eq!(published(json).decoded_len(), length, "{json}");
        }
    }

    #[test]
    fn counted_fast_data_is_as_long_but_for_a_few_escapes() {
        for (json, about) in [
            ("\"\"", 0),
            (r#""abc""#, 3),
            (r#""{\"a\":\"b\"}""#, 9),
            (r#""\\""#, 0),
            (r#""\u00e9""#, 5),
            (r#""\u0041""#, 5),
        ] {
            assert_eq!(published(json).about_len(), about, "{json}");
        }
        assert_eq!(DataLiteral::from_client(serde_json::from_str(r#"{"a":1}"#).unwrap()).about_len(), 7);
    }

    #[test]
    fn a_pointer_finds_what_stands_in_its_place_in_whichever_spelling_it_came() {
        let data =
            r#"{"id":"\u0061\"", "n": 1.50, "o":{"k": [1 ,2]}, "a/b~":[{"x":true}], "none":null, "":"e", "id2":"a"}"#;
        for (pointer, found) in [
            ("/id", Some(r#""a\"""#)),
            ("/n", Some("1.50")),
            ("/o", Some(r#"{"k": [1 ,2]}"#)),
            ("/o/k/1", Some("2")),
            ("/a~1b~0/0/x", Some("true")),
            ("/", Some(r#""e""#)),
            ("/none", None),
            ("/o/k/2", None),
            ("/o/k/01", None),
            ("/o/k/x", None),
            ("/id/0", None),
            ("/missing", None),
        ] {
            let pointer = Pointer::parse(pointer).unwrap();
            for data in [DataLiteral::from_text(data), DataLiteral::from_client(serde_json::from_str(data).unwrap())] {
                assert_eq!(data.at(&pointer).as_deref(), found, "{}", pointer.as_str());
            }
            assert_eq!(DataLiteral::from_text("no JSON").at(&pointer), None);
        }
        for text in ["", "id", "/a~", "/~2", "/~01~x", "/~~01"] {
            assert_eq!(Pointer::parse(text), None, "{text}");
        }
        assert_eq!(Pointer::parse("/~01").unwrap().tokens, ["~1".into()]);
    }

    proptest! {
        #[test]
        fn decoded_length_is_that_of_the_text(text in "\\PC*") {
            let literal = DataLiteral::from_text(&text);
            prop_assert_eq!(literal.decoded_len(), text.len());
            prop_assert_eq!(literal.decode(), text);
        }
    }
}
