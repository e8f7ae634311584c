//! What the inbox's document says, held against the router and the codes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::bodies;
use super::description::document;
use super::refusal::Code;
use super::routes::{ENDPOINTS, find};

fn documented() -> BTreeSet<(String, String)> {
    let document = document();
    let paths = document["paths"].as_object().unwrap();
    paths
        .iter()
        .flat_map(|(path, methods)| {
            methods.as_object().unwrap().keys().map(|method| (path.clone(), method.to_ascii_uppercase()))
        })
        .collect()
}

#[test]
fn the_document_has_every_endpoint_of_the_router_and_no_other() {
    let routed: BTreeSet<(String, String)> =
        ENDPOINTS.iter().map(|endpoint| (endpoint.path.to_owned(), endpoint.method.to_string())).collect();
    assert_eq!(documented(), routed);
    for (path, method) in documented() {
        let found = find(&path.replace(['{', '}'], "")).unwrap();
        assert!(found.methods().iter().any(|known| known.as_str() == method), "{method} {path}");
    }
}

#[test]
fn the_document_refers_only_to_what_it_has() {
    fn references(value: &Value, into: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    into.insert(reference.clone());
                }
                fields.values().for_each(|value| references(value, into));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, into)),
            _ => {}
        }
    }
    let document = document();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    for reference in &found {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        assert!(found.contains(&format!("#/components/schemas/{name}")), "nothing answers {name}");
    }
}

#[test]
fn the_document_and_the_guide_have_every_code_with_its_status() {
    let document = document();
    let codes = &document["components"]["schemas"]["Refusal"]["x-codes"];
    assert_eq!(codes.as_object().unwrap().len(), Code::ALL.len());
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/inbox.md");
    let guide = fs::read_to_string(guide).unwrap();
    let rows: BTreeSet<&str> = guide.lines().filter(|line| line.starts_with("| `")).collect();
    for code in Code::ALL {
        assert_eq!(codes[code.word()], json!({ "status": code.status().as_u16(), "means": code.about() }));
        let row = format!("| `{}` | {} | {} |", code.word(), code.status().as_u16(), code.about());
        assert!(rows.contains(row.as_str()), "docs/inbox.md lacks this row:\n{row}");
    }
}

#[test]
fn the_guide_names_every_endpoint() {
    let guide = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/inbox.md")).unwrap();
    for endpoint in ENDPOINTS {
        let named = format!("`{} {}", endpoint.method, endpoint.path);
        assert!(guide.contains(&named), "docs/inbox.md lacks {named}");
    }
}

/// What is said of a body of this shape: a code, a place, a part of the sentence.
fn refused(shape: super::shape::Shape, body: &Value) -> (String, String, String) {
    let refused = super::read_body(body.to_string().as_bytes(), shape).unwrap_err();
    let reply = refused.into_reply();
    let told: Value = serde_json::from_slice(reply.body()).unwrap();
    let part = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
    (part("error"), part("path"), part("message"))
}

#[test]
fn a_body_that_is_not_as_described_is_refused_with_its_place() {
    let good = json!({
        "to": { "users": ["1", "2"] }, "kind": "k", "title": "t", "body": null, "data": { "any": [1] },
        "actions": [{ "label": "a", "url": "/a" }], "via": ["inbox", "mail"], "delay_secs": 60,
    });
    super::read_body(good.to_string().as_bytes(), bodies::NOTIFICATION).unwrap();
    let with = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body
    };
    for (body, code, path, message) in [
        (with("titel", "x".into()), "unknown_field", "/titel", "did you mean \"title\"?"),
        (with("title", 7.into()), "wrong_type", "/title", "must be a text"),
        (with("title", Value::Null), "wrong_type", "/title", "must be a text"),
        (with("delay_secs", (-1).into()), "wrong_type", "/delay_secs", "a whole number that is not negative"),
        (with("data", json!([])), "wrong_type", "/data", "must be an object"),
        (with("via", json!(["inbox", "sms"])), "wrong_type", "/via/1", "one of inbox, broadcast"),
        (with("to", json!({})), "missing", "/to", "exactly one of user, users, audience, all"),
        (with("to", json!({ "user": "1", "all": true })), "wrong_type", "/to", "exactly one of"),
        (with("to", json!({ "user": 42 })), "wrong_type", "/to/user", "must be a text"),
        (with("actions", json!([{ "label": "a" }])), "missing", "/actions/0/url", "url is missing: where it leads"),
        (with("subject", json!({ "typ": "a" })), "unknown_field", "/subject/typ", "did you mean \"type\"?"),
        (json!({ "to": { "user": "1" }, "kind": "k" }), "missing", "/title", "title is missing: one line"),
        (json!([]), "wrong_type", "", "the body must be an object"),
    ] {
        let told = refused(bodies::NOTIFICATION, &body);
        assert_eq!((told.0.as_str(), told.1.as_str()), (code, path), "{body}");
        assert!(told.2.contains(message), "{body}: {}", told.2);
    }
    let told = refused(bodies::PREFERENCE, &json!({ "category": "c", "channels": { "mial": true } }));
    assert_eq!((told.0.as_str(), told.1.as_str()), ("unknown_field", "/channels/mial"));
    super::read_body(
        br#"{"endpoint":"https://p","keys":{"p256dh":"a","auth":"b"},"expirationTime":null}"#,
        bodies::PUSH_SUBSCRIPTION,
    )
    .expect("browsers add more");
    assert_eq!(super::read_body(b"{", bodies::CONTACT).unwrap_err().into_reply().status(), 400);
    super::read_body(b"", bodies::CONTACT).expect("nothing is an empty object");
}
