//! The inbox over HTTP: for an application's servers, and for its users' browsers.
//!
//! Owns the endpoints, in the order in which a request meets them: [`routes`] finds one, [`server`] proves an application's
//! server and [`browser`] a user's session, which [`opening`] gives; [`shape`] and [`bodies`] read what came, [`refusal`]
//! words what is refused, [`description`] describes all of it. [`capture`] makes rows of events on their way, [`stream`]
//! feeds browsers without WebSockets, [`unsubscribe`] is the page behind a mail's link. Never touches the database: [`crate::inbox::Store`] does. The invariant: nothing of an
//! inbox is read or changed before somebody has proved that they may.

mod bodies;
mod browser;
pub(super) mod capture;
mod description;
mod opening;
mod origin;
mod query;
mod refusal;
pub(super) mod routes;
mod server;
mod shape;
pub(super) mod stream;
#[cfg(test)]
mod tests;
mod unsubscribe;

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use campanile_hub::App;
use hyper::body::Body;
use hyper::header::{CACHE_CONTROL, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, StatusCode};
use serde::Serialize;
use serde_json::Value;

use super::Reply;
use super::error::ApiError;
use super::router::listed;
use super::signed_request::{read, read_at_most};
use crate::config::limits::INBOX_BROWSER_BODY_BYTES_MAX;
use crate::door::{Door, Visit};
use crate::inbox::Store;
use refusal::{Code, Refused};
use routes::{Call, Found};
use shape::Shape;

/// Marks the answer to somebody who has proved who they are: a refusal is then no reason to close their connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Proved;

/// Answers one request, but for a stream.
pub(super) async fn respond<B>(request: Request<B>, found: &Found, visit: Visit<'_>) -> Reply
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (head, body) = request.into_parts();
    let origin = origin::of(&head.headers);
    let reply = if head.method == Method::OPTIONS {
        super::options(&found.methods(), false)
    } else {
        answer(&head, body, found, visit).await
    };
    let reply = no_store(reply);
    if found.is_for_browsers() { origin::mark(reply, origin, &head.method, visit.door().node()) } else { reply }
}

async fn answer<B>(head: &Parts, body: B, found: &Found, visit: Visit<'_>) -> Reply
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let Some(endpoint) = found.endpoint(&head.method) else {
        return Refused::method(listed(&found.methods())).into_reply();
    };
    let answered = match endpoint.call {
        Call::Server(call) => {
            let received = within(visit, server::receive(head, body, &found.parts, visit.door())).await;
            match received {
                Ok(request) => {
                    let answered = server::answer(&request, call, endpoint, visit).await;
                    return proved(answered, &head.method, visit.door());
                }
                Err(refused) => Err(refused),
            }
        }
        Call::Browser(call) => match browser::session(head, visit).await {
            Ok(session) => {
                let answered = browser::answer(&session, head, body, call, endpoint, &found.parts, visit).await;
                return proved(answered, &head.method, visit.door());
            }
            Err(refused) => Err(refused),
        },
        Call::OpenSession => opening::open(head, body, endpoint, visit).await,
        Call::Unsubscribe => Ok(unsubscribe::answer(head, body, visit).await),
        Call::Description => Ok(description::reply()),
        // It is answered before it comes here.
        Call::Stream => Err(Refused::new(Code::Overloaded, "a stream is not answered here")),
    };
    held(answered, &head.method, visit.door()).unwrap_or_else(Refused::into_reply)
}

/// The answer to somebody who has proved who they are, whatever it is.
fn proved(answered: Result<Reply, Refused>, method: &Method, door: &Door) -> Reply {
    let mut reply = held(answered, method, door).unwrap_or_else(Refused::into_reply);
    reply.extensions_mut().insert(Proved);
    reply
}

/// Counts an answer until its client has taken it, if there is room; or even if there is none, where something has been
/// done: whoever were told to try again would do it twice.
fn held(answered: Result<Reply, Refused>, method: &Method, door: &Door) -> Result<Reply, Refused> {
    let reply = answered?;
    let mut share = door.share();
    if *method == Method::GET {
        share.grow_to(reply.body().len(), door.http_bytes_max())?;
    }
    Ok(reply.map(|body| share.keep(body)))
}

/// An inbox is nobody else's to keep.
fn no_store(mut reply: Reply) -> Reply {
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}

/// Does something within the request's time.
async fn within<T>(visit: Visit<'_>, work: impl Future<Output = Result<T, Refused>>) -> Result<T, Refused> {
    let done = tokio::time::timeout_at(visit.until(), work).await;
    done.unwrap_or_else(|_| Err(Refused::new(Code::Overloaded, "the request was not done within its time: try again")))
}

/// Asks the store within the request's time, and counts how that has ended.
async fn ask<T>(
    store: &Store,
    visit: Visit<'_>,
    question: impl Future<Output = Result<T, campanile_inbox::InboxError>>,
) -> Result<T, Refused> {
    match tokio::time::timeout_at(visit.until(), question).await {
        Ok(answer) => store.note(answer).map_err(Refused::from),
        Err(_) => {
            store.note_late();
            Err(Refused::new(
                Code::StoreAway,
                "the inbox's store did not answer in time: try again, with the same key if there is one",
            ))
        }
    }
}

/// The store, or what to configure.
fn store_of<'a>(door: &'a Door, app: &App) -> Result<&'a Arc<Store>, Refused> {
    let Some(store) = store(door)? else { unreachable!("it is told what to configure") };
    if app.inbox.is_none() {
        let message = "this app has no inbox: give it an [apps.inbox] with channels in the server's configuration";
        return Err(Refused::new(Code::NoInbox, message));
    }
    Ok(store)
}

fn store(door: &Door) -> Result<Option<&Arc<Store>>, Refused> {
    match door.node().store() {
        Some(store) => Ok(Some(store)),
        None => {
            let message = "this server has no inbox: write [inbox], an empty table will do, and [apps.inbox] with channels in its configuration, and restart it";
            Err(Refused::new(Code::NoInbox, message))
        }
    }
}

/// Reads a body of this shape. None at all is an empty object.
fn read_body(bytes: &[u8], shape: Shape) -> Result<Value, Refused> {
    let value: Value = if bytes.is_empty() {
        Value::Object(serde_json::Map::new())
    } else {
        serde_json::from_slice(bytes)
            .map_err(|error| Refused::new(Code::InvalidJson, format!("the body is not JSON: {error}")))?
    };
    shape.check(&value, "")?;
    Ok(value)
}

/// Reads a browser's body: there are as many browsers as there are strangers.
async fn receive<B>(body: B, visit: Visit<'_>) -> Result<Bytes, Refused>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let read = read_at_most(body, INBOX_BROWSER_BODY_BYTES_MAX, visit.door());
    within(visit, async { read.await.map_err(|error: ApiError| error.into()) }).await
}

fn json(value: &impl Serialize) -> Reply {
    super::json(StatusCode::OK, value)
}

/// What a value of the right shape means. It can only be a moment that is none.
fn meant<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, Refused> {
    serde_json::from_value(value).map_err(|error| Refused::new(Code::WrongType, error.to_string()))
}
