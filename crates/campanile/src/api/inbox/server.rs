//! The inbox for an application's servers.
//!
//! Owns how a server proves who it is, by a signature or by a token of the app, and what it may ask. Never acts for a
//! browser. The invariant: nothing of a body is read by a stranger's request: a signature names the app's key, and a token
//! is compared, in constant time, before any of it is held. Read on in `campanile_inbox` for what each call does.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use campanile_hub::App;
use campanile_inbox::{Accepted, Category, Contact, DeliveryId, Draft, JobState};
use hyper::StatusCode;
use hyper::body::Body;
use hyper::header::AUTHORIZATION;
use hyper::http::request::Parts;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::error::ApiError;
use super::super::signed_request::SignedRequest;
use super::super::{Reply, json as answer_json};
use super::query::Query;
use super::refusal::{Code, Refused};
use super::routes::{Endpoint, ServerCall};
use super::{ask, json, meant, read, read_body, store_of};
use crate::config::ServerToken;
use crate::door::{Door, Visit};

const BEARER: &str = "Bearer ";

/// A request of an application's server, proved.
#[derive(Debug)]
pub(super) struct ServerRequest<'a> {
    app: Arc<App>,
    head: &'a Parts,
    parts: &'a [String],
    body: Bytes,
}

/// Proves who asks, and reads the body.
pub(super) async fn receive<'a, B>(
    head: &'a Parts,
    body: B,
    parts: &'a [String],
    door: &Door,
) -> Result<ServerRequest<'a>, Refused>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (id, parts) = parts.split_first().expect("every path for servers names the app");
    let Some(token) = bearer(head) else {
        let is_signed = head.uri.query().is_some_and(|query| query.contains("auth_"));
        if !is_signed && door.apps().by_id(id).is_some() {
            let message = "sign the request as for /apps/{id}/events, or send Authorization: Bearer with one of the app's server_tokens";
            return Err(Refused::new(Code::Unsigned, message));
        }
        let request = SignedRequest::receive(head, body, id, door).await?;
        let (app, body) = request.into_app_and_body();
        return Ok(ServerRequest { app, head, parts, body });
    };
    let app = door.apps().by_id(id).cloned().ok_or(ApiError::UnknownApp)?;
    if !is_token(token, &door.node().rim(&app).server_tokens) {
        let message =
            "this is no server token of the app of this path: it is one of apps.server_tokens in the configuration";
        return Err(Refused::new(Code::Unsigned, message));
    }
    if !app.enabled {
        return Err(ApiError::Disabled.into());
    }
    let body = read(body, door).await?;
    Ok(ServerRequest { app, head, parts, body })
}

/// What stands behind `Authorization: Bearer`.
pub(super) fn bearer(head: &Parts) -> Option<&str> {
    let value = head.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_at_checked(BEARER.len())?;
    scheme.eq_ignore_ascii_case(BEARER).then_some(token.trim())
}

/// Compares with every token, each in the same time however much of it is right.
fn is_token(given: &str, tokens: &[ServerToken]) -> bool {
    let digest = |text: &str| Sha256::digest(text.as_bytes());
    let given = digest(given);
    let is_same = |token: &ServerToken| {
        let known = digest(token.0.expose());
        given.iter().zip(known.iter()).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    };
    tokens.iter().fold(false, |found, token| found | is_same(token))
}

/// Does what was asked.
pub(super) async fn answer(
    request: &ServerRequest<'_>,
    call: ServerCall,
    endpoint: &Endpoint,
    visit: Visit<'_>,
) -> Result<Reply, Refused> {
    let app = &request.app;
    // Counted when it ends, however it does.
    let _call = visit.door().call(app.index);
    let (store, id) = (store_of(visit.door(), app)?, &*app.id);
    let inbox = store.inbox();
    let query = Query::read(request.head.uri.query(), endpoint)?;
    let body = || endpoint.body.map_or(Ok(Value::Null), |shape| read_body(&request.body, shape));
    let part = |index: usize| request.parts.get(index).map_or("", String::as_str);
    match call {
        ServerCall::Notify => {
            let draft: Draft = meant(body()?)?;
            // It costs what an event does, and one tenant's loop must not take the time of the others here either.
            let admitted = visit.door().node().admit_events(app, 1);
            admitted.map_err(|retry_after_secs| ApiError::TooManyEvents { retry_after_secs })?;
            let accepted = ask(store, visit, inbox.accept(id, draft)).await?;
            let status = match accepted {
                Accepted::Accepted { .. } => StatusCode::ACCEPTED,
                Accepted::Duplicate { .. } => StatusCode::OK,
            };
            Ok(answer_json(status, &accepted))
        }
        ServerCall::Cancel => Ok(json(&ask(store, visit, inbox.cancel(id, part(0))).await?)),
        ServerCall::PutUser => {
            let contact: Contact = meant(body()?)?;
            ask(store, visit, inbox.put_user(id, part(0), contact)).await?;
            Ok(json(&json!({})))
        }
        ServerCall::EraseUser => {
            let erased = ask(store, visit, inbox.erase_user(id, part(0))).await?;
            // Somebody may have to show later that this was done; whom it was done to is what was erased.
            tracing::info!(app = id, notifications = erased.notifications, "a user was erased");
            Ok(json(&erased))
        }
        ServerCall::UserInbox => Ok(json(&ask(store, visit, inbox.page(id, part(0), query.page()?)).await?)),
        ServerCall::ExportUser => Ok(json(&ask(store, visit, inbox.export_user(id, part(0))).await?)),
        ServerCall::UserDeliveries => {
            let (before, limit) = (query.number("before")?.map(DeliveryId), query.limit()?.unwrap_or(LIMIT));
            let records = ask(store, visit, inbox.deliveries(id, part(0), before, limit)).await?;
            let next = records.last().filter(|_| records.len() == limit).map(|record| record.id);
            Ok(json(&json!({ "deliveries": records, "next": next })))
        }
        ServerCall::EditAudience => {
            let body = body()?;
            let names = |field: &str| meant::<Option<Vec<String>>>(body[field].clone()).map(Option::unwrap_or_default);
            let members = ask(store, visit, inbox.edit_audience(id, part(0), names("add")?, names("remove")?)).await?;
            Ok(json(&json!({ "members": members })))
        }
        ServerCall::PutCategory => {
            let mut body = body()?;
            // What may be left out may be null as well.
            if let Some(fields) = body.as_object_mut() {
                fields.retain(|_, value| !value.is_null());
            }
            let category: Category = meant(body)?;
            ask(store, visit, inbox.put_category(id, part(0), category)).await?;
            Ok(json(&json!({})))
        }
        ServerCall::Categories => Ok(json(&json!({ "categories": ask(store, visit, inbox.categories(id)).await? }))),
        ServerCall::Jobs => {
            let state = match query.get("state") {
                Some("dead") => JobState::Dead,
                Some("waiting") => JobState::Waiting,
                _ => return Err(Refused::new(Code::InvalidParameter, "state must be dead or waiting").at("state")),
            };
            let (before, limit) = (query.number("before")?, query.limit()?.unwrap_or(LIMIT));
            let jobs = ask(store, visit, inbox.jobs(id, state, before, limit)).await?;
            let next = jobs.last().filter(|_| jobs.len() == limit).map(|job| job.id);
            Ok(json(&json!({ "jobs": jobs, "next": next })))
        }
        ServerCall::RetryJob => {
            let job = part(0)
                .parse()
                .map_err(|_| Refused::new(Code::InvalidParameter, "a job's id is a number").at("job"))?;
            ask(store, visit, inbox.retry_job(id, job)).await?;
            Ok(json(&json!({})))
        }
    }
}

/// How many are listed where nothing is said.
const LIMIT: usize = 20;
