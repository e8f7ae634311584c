//! What the inbox's endpoints are, for machines: an OpenAPI document, served at `/openapi.json`.
//!
//! Owns the schemas of the answers. Never lists an endpoint or a body by itself: [`routes`](super::routes) has them all. The
//! invariant: the document has every endpoint of the router and no other, and every code that a refusal can have.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use bytes::Bytes;
use hyper::StatusCode;
use serde_json::{Map, Value, json};

use super::super::{Reply, text};
use super::bodies::CHANNELS;
use super::refusal::Code;
use super::routes::{Call, ENDPOINTS, Endpoint};

static DOCUMENT: LazyLock<Bytes> =
    LazyLock::new(|| serde_json::to_vec_pretty(&document()).expect("texts and numbers are JSON").into());

/// The document.
pub(super) fn reply() -> Reply {
    text(StatusCode::OK, "application/json", DOCUMENT.clone())
}

pub(super) fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for endpoint in ENDPOINTS {
        let path = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        path[endpoint.method.as_str().to_ascii_lowercase()] = operation(endpoint);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Campanile's inbox",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Notifications that are kept: for an application's servers (/apps) and for its users' browsers (/inbox).",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "signature": {
                    "type": "apiKey", "in": "query", "name": "auth_signature",
                    "description": "Signed as Pusher's HTTP API: auth_key, auth_timestamp, auth_version, auth_signature and, with a body, body_md5.",
                },
                "server_token": { "type": "http", "scheme": "bearer", "description": "One of the app's server_tokens." },
                "session": { "type": "http", "scheme": "bearer", "description": "The token of POST /inbox/session." },
            },
            "schemas": schemas(),
        },
    })
}

fn operation(endpoint: &Endpoint) -> Value {
    let in_path = endpoint.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path =
        in_path.map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
    let in_query = endpoint.query.iter().map(|(name, about)| {
        json!({ "name": name, "in": "query", "required": false, "description": about, "schema": { "type": "string" } })
    });
    let (status, answer) = endpoint.answer;
    let content_type = match endpoint.call {
        Call::Stream => "text/event-stream",
        Call::Unsubscribe => "text/html",
        Call::Server(_) | Call::Browser(_) | Call::OpenSession | Call::Description => "application/json",
    };
    let schema = json!({ "$ref": format!("#/components/schemas/{answer}") });
    let mut responses = Map::new();
    responses.insert(
        status.to_string(),
        json!({ "description": endpoint.about, "content": { content_type: { "schema": schema } } }),
    );
    if answer == "Accepted" {
        let again = "The same was sent before under this key.";
        responses.insert(
            "200".to_owned(),
            json!({ "description": again, "content": { content_type: { "schema": schema } } }),
        );
    }
    let refused = json!({ "$ref": "#/components/schemas/Refusal" });
    responses.insert(
        "default".to_owned(),
        json!({ "description": "Refused; the status is the code's.", "content": { "application/json": { "schema": refused } } }),
    );
    let security = match endpoint.call {
        Call::Server(_) => json!([{ "signature": [] }, { "server_token": [] }]),
        Call::Browser(_) => json!([{ "session": [] }]),
        Call::OpenSession | Call::Unsubscribe | Call::Stream | Call::Description => json!([]),
    };
    let mut operation = json!({
        "summary": endpoint.about,
        "parameters": in_path.chain(in_query).collect::<Vec<_>>(),
        "responses": responses,
        "security": security,
    });
    if let Some(shape) = endpoint.body {
        operation["requestBody"] =
            json!({ "required": true, "content": { "application/json": { "schema": shape.schema() } } });
    }
    operation
}

fn schemas() -> Value {
    let text = json!({ "type": "string" });
    let text_or_null = json!({ "type": ["string", "null"] });
    let moment = json!({ "type": "string", "format": "date-time" });
    let moment_or_null = json!({ "type": ["string", "null"], "format": "date-time" });
    let number = json!({ "type": "integer" });
    let flag = json!({ "type": "boolean" });
    let id = json!({ "type": "string", "format": "uuid" });
    let object = |properties: Value| {
        let required: Vec<&String> = properties.as_object().into_iter().flat_map(Map::keys).collect();
        json!({ "type": "object", "required": required, "properties": properties })
    };
    let list = |item: Value| json!({ "type": "array", "items": item });
    let of = |name: &str| json!({ "$ref": format!("#/components/schemas/{name}") });
    let state = json!({ "unread": number, "unseen": number, "seq": number, "rev": number, "announced": number });
    let with_state = |more: Value| {
        let mut properties = state.clone();
        if let (Some(properties), Some(more)) = (properties.as_object_mut(), more.as_object()) {
            properties.extend(more.clone());
        }
        object(properties)
    };
    let switches = json!({ "type": "object", "propertyNames": { "enum": CHANNELS }, "additionalProperties": flag });
    let channels = list(json!({ "type": "string", "enum": CHANNELS }));
    let words: Vec<&str> = Code::ALL.iter().map(|code| code.word()).collect();
    let codes: Map<String, Value> = Code::ALL
        .iter()
        .map(|code| (code.word().to_owned(), json!({ "status": code.status().as_u16(), "means": code.about() })))
        .collect();
    let statuses: BTreeSet<u16> = Code::ALL.iter().map(|code| code.status().as_u16()).collect();
    let floors = list(json!({ "type": "object" }));
    json!({
        "State": object(state.clone()),
        "Notification": object(json!({
            "id": id, "seq": number, "rev": number, "announcement": flag, "kind": text, "category": text_or_null,
            "title": text, "body": text_or_null, "action_url": text_or_null,
            "actions": list(object(json!({ "label": text, "url": text }))), "data": { "type": "object" },
            "subject": { "oneOf": [{ "type": "null" }, object(json!({ "type": text, "id": text }))] },
            "group": text_or_null, "group_count": number, "created_at": moment, "updated_at": moment,
            "read_at": moment_or_null, "seen_at": moment_or_null, "archived_at": moment_or_null,
            "snoozed_until": moment_or_null, "expires_at": moment_or_null,
        })),
        "Page": {
            "allOf": [
                with_state(json!({
                    "notifications": list(of("Notification")),
                    "next": { "type": ["string", "integer", "null"] },
                    "gone": list(id.clone()),
                })),
                { "properties": { "floors": floors } },
            ],
        },
        "Marked": with_state(json!({ "notification": of("Notification") })),
        "Preferences": with_state(json!({
            "categories": list(object(json!({ "category": text, "label": text, "channels": switches, "required": channels }))),
        })),
        "Session": with_state(json!({ "token": text, "expires_in": number, "user": text, "app": text, "channels": list(text.clone()) })),
        "PushKey": object(json!({ "public_key": text })),
        "WebPage": { "type": "string", "description": "A page for people, in HTML, whatever the status." },
        "Removed": object(json!({ "removed": flag })),
        "Accepted": object(json!({ "id": id, "outcome": { "type": "string", "enum": ["accepted", "duplicate"] } })),
        "Cancelled": object(json!({ "cancelled": number, "retracted": number })),
        "Members": object(json!({ "members": number })),
        "Categories": object(json!({
            "categories": list(object(json!({ "category": text, "label": text, "default": switches, "required": channels }))),
        })),
        "Jobs": object(json!({
            "next": { "type": ["integer", "null"] },
            "jobs": list(object(json!({
                "id": number, "notification": id, "kind": text, "key": text_or_null, "created_at": moment,
                "due_at": moment, "attempts": number, "error": text_or_null, "died_at": moment_or_null,
            }))),
        })),
        "Delivery": object(json!({
            "id": number, "notification": id, "kind": text, "channel": text, "state": text, "reason": text_or_null,
            "attempts": number, "created_at": moment, "updated_at": moment, "due_at": moment_or_null,
        })),
        "Deliveries": object(json!({ "next": { "type": ["integer", "null"] }, "deliveries": list(of("Delivery")) })),
        "Erased": object(json!({
            "known": flag, "notifications": number, "deliveries": number, "push_subscriptions": number,
            "audiences": number, "waiting": number,
        })),
        "Export": object(json!({
            "app": text, "user": text, "exported_at": moment, "contact": { "type": "object" }, "state": of("State"),
            "notifications": list(of("Notification")), "preferences": { "type": "object" },
            "audiences": list(text), "deliveries": list(of("Delivery")), "push_subscriptions": list(json!({ "type": "object" })),
        })),
        "Events": { "type": "string", "description": "Server-sent events: connected, inbox.state, inbox.updated and Illuminate\\Notifications\\Events\\BroadcastNotificationCreated." },
        "Description": { "type": "object" },
        "Nothing": object(json!({})),
        "Refusal": {
            "type": "object", "required": ["error", "message"],
            "properties": {
                "error": { "type": "string", "description": "One of these codes, or, with status 400, a nearer word than `invalid`.", "examples": words },
                "message": { "type": "string", "description": "A sentence: what was wrong and what to do." },
                "path": { "type": "string", "description": "Where in the request, as a JSON pointer or a parameter's name." },
            },
            "x-codes": codes, "x-statuses": statuses,
        },
    })
}
