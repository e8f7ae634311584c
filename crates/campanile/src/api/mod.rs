//! The HTTP API: how an application's servers publish and ask.
//!
//! Owns the endpoints, in the order in which a request meets them: [`router`] finds the route, [`signed_request`] proves
//! who asks, then `events.rs`, `channels.rs`, `users.rs` or `usage.rs` does what was asked, and [`error`] words what was refused.
//! `idempotency.rs` lets a request publish once, `guard.rs` holds up what its app's rules stop; `health.rs` and `cors.rs` stand beside. Never touches a socket or a mind:
//! [`Visit`] does. The invariant: nothing of an app is read or changed before its signature is verified, and nothing of a
//! body is parsed. Read on in [`campanile_protocol::trigger`] for the bodies.

mod channels;
mod cors;
mod error;
mod events;
mod guard;
mod health;
mod idempotency;
pub(crate) mod inbox;
mod router;
mod signed_request;
#[cfg(test)]
mod tests;
mod usage;
mod users;

use std::error::Error;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use tokio::sync::Notify;

use crate::door::{Door, Visit};
use error::ApiError;
pub(crate) use health::answer_head;
use idempotency::once;
pub(crate) use inbox::Proved;
use inbox::stream;
pub(crate) use inbox::stream::Feed;
use router::{Resource, Route};
use signed_request::SignedRequest;

type Reply = Response<Bytes>;

/// What an answer has in it.
#[derive(Debug)]
pub(crate) enum Content {
    /// All of it.
    Whole(Bytes),
    /// What will come.
    Feed(Box<Feed>),
}

/// Answers one request. Whatever is wrong with it becomes an answer, too. `hang_up` is told when a stream is over whose
/// reader does not take what it is fed.
pub(crate) async fn answer(request: Request<Incoming>, door: Rc<Door>, hang_up: &Arc<Notify>) -> Response<Content> {
    if let Some(found) = stream::asks(&request, &door.node().config().listen.path_prefix) {
        return stream::open(&request.into_parts().0, &found, &door, Arc::clone(hang_up));
    }
    respond(request, &door).await.map(Content::Whole)
}

/// The same for any body, so that tests need no connection.
async fn respond<B>(request: Request<B>, door: &Door) -> Reply
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (config, visit) = (door.node().config(), door.visit());
    let Some(route) = router::find(request.uri().path(), &config.listen.path_prefix) else {
        return ApiError::NoSuchPath.into_reply();
    };
    if let Route::Inbox(found) = &route {
        return inbox::respond(request, found, visit).await;
    }
    let origin = cors::allowed(&config.cors, request.headers());
    let reply = if request.method() == Method::OPTIONS {
        options(&route.methods(), origin.is_some())
    } else if !route.methods().contains(request.method()) {
        ApiError::Method { allowed: router::listed(&route.methods()) }.into_reply()
    } else {
        match route {
            Route::Inbox(_) => unreachable!("the inbox has answered above"),
            Route::Health(question) => health::answer(question, door.node()),
            Route::App { id, resource } => {
                serve(request, &id, resource, visit).await.unwrap_or_else(ApiError::into_reply)
            }
        }
    };
    cors::mark(reply, &config.cors, origin)
}

async fn serve<B>(request: Request<B>, app_id: &str, resource: Resource, visit: Visit<'_>) -> Result<Reply, ApiError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (head, body) = request.into_parts();
    let received = SignedRequest::receive(&head, body, app_id, visit.door());
    let received = tokio::time::timeout_at(visit.until(), received).await;
    let secs = visit.door().node().config().limits.http_request_timeout.as_secs();
    let request = received.unwrap_or(Err(ApiError::BodyTooSlow { secs }))?;
    let call = visit.door().call(request.app.index);
    let reply = match resource {
        Resource::Events => {
            once(&request, visit, async |turn| events::publish(&request, turn, visit, &call).await).await?
        }
        Resource::BatchEvents => {
            once(&request, visit, async |turn| events::publish_batch(&request, turn, visit, &call).await).await?
        }
        Resource::ChannelEvents(channel) => {
            once(&request, visit, async |turn| events::publish_deprecated(&channel, &request, turn, visit, &call).await)
                .await?
        }
        Resource::TerminateConnections(user) => users::terminate_connections(&user, &request, visit).await?,
        // It has taken its room already.
        Resource::Channels => return channels::list(&request, visit).await,
        Resource::Channel(channel) => return held(channels::show(&channel, &request, visit).await?, visit.door()),
        Resource::ChannelUsers(channel) => {
            return held(channels::users(&channel, &request, visit).await?, visit.door());
        }
        Resource::Connections => return held(users::connections(&request, visit)?, visit.door()),
        Resource::Guard => return held(guard::show(&request, visit), visit.door()),
        Resource::Usage => return held(usage::show(&request, visit).await?, visit.door()),
    };
    // It has been done: whoever were told to try again would do it twice.
    Ok(reply.map(|body| visit.door().share().keep(body)))
}

/// Counts an answer until its client has taken it, if there is room.
fn held(reply: Reply, door: &Door) -> Result<Reply, ApiError> {
    let mut share = door.share();
    share.grow_to(reply.body().len(), door.http_bytes_max())?;
    Ok(reply.map(|body| share.keep(body)))
}

fn options(methods: &[Method], is_cross_origin: bool) -> Reply {
    let mut reply = Response::new(Bytes::new());
    *reply.status_mut() = StatusCode::NO_CONTENT;
    let allowed = router::listed(methods);
    // Method names are ASCII, so the fallback is never taken.
    let allowed = HeaderValue::from_str(&allowed).unwrap_or(HeaderValue::from_static("GET"));
    if is_cross_origin {
        cors::preflight(reply.headers_mut(), allowed.clone());
    }
    reply.headers_mut().insert(ALLOW, allowed);
    reply
}

fn json(status: StatusCode, value: &impl Serialize) -> Reply {
    let body = serde_json::to_vec(value).expect("replies are maps with string keys, which JSON can hold");
    text(status, "application/json", body)
}

/// The answer of whoever has nothing to tell.
fn nothing() -> Reply {
    text(StatusCode::OK, "application/json", "{}")
}

fn text(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(body.into());
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}
