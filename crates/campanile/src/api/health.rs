//! What a load balancer or a person may ask without a signature.
//!
//! Owns `/`, `/live`, `/ready` and `/status`, also where no HTTP connection is free for the question. Never tells anything
//! of an app. The invariant: `/live` is green as long as the process answers, so nobody restarts a node that merely drains
//! or is full; `/ready` says whether it takes sockets.

use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use hyper::{Method, StatusCode};
use serde::Serialize;

use super::router::{self, Health, Route};
use super::{Reply, text};
use crate::inbox;
use crate::node::Node;
use crate::outcomes::OutcomeCounts;
use crate::upgrade::HEADERS_MAX;

#[derive(Serialize)]
struct Status {
    ready: bool,
    draining: bool,
    uptime_secs: u64,
    guard: Guard,
    /// Nothing where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    inbox: Option<inbox::Status>,
}

/// What it has held up since the start, of all apps.
#[derive(Serialize)]
struct Guard {
    outcomes: OutcomeCounts,
    alerts: u64,
}

/// What is said in answer.
struct Words {
    status: StatusCode,
    content_type: &'static str,
    body: Bytes,
}

/// Nobody may repeat an answer later.
const CACHING: &str = "no-store";

/// Answers a health question.
pub(super) fn answer(question: Health, node: &Node) -> Reply {
    let Words { status, content_type, body } = words(question, node);
    let mut reply = text(status, content_type, body);
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(CACHING));
    reply
}

/// The answer to a head that asks a health question, as the last on its connection. `None`: it asks something else.
pub(crate) fn answer_head(head: &[u8], node: &Node) -> Option<Bytes> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    request.parse(head).ok().filter(httparse::Status::is_complete)?;
    let path = request.path?.split('?').next()?;
    let route = router::find(path, &node.config().listen.path_prefix)?;
    let method =
        Method::from_bytes(request.method?.as_bytes()).ok().filter(|method| route.methods().contains(method))?;
    let Route::Health(question) = route else { return None };
    let Words { status, content_type, body } = words(question, node);
    let mut answer = format!(
        "HTTP/1.1 {status}\r\n{CONTENT_TYPE}: {content_type}\r\n{CACHE_CONTROL}: {CACHING}\r\n{CONTENT_LENGTH}: {}\r\n\
         {CONNECTION}: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    if method != Method::HEAD {
        answer.extend_from_slice(&body);
    }
    Some(answer.into())
}

fn words(question: Health, node: &Node) -> Words {
    let plain = |status, words: &'static str| Words {
        status,
        content_type: "text/plain; charset=utf-8",
        body: Bytes::from_static(words.as_bytes()),
    };
    match question {
        Health::Name => plain(StatusCode::OK, "campanile\n"),
        Health::Live => plain(StatusCode::OK, "live\n"),
        Health::Ready if node.is_ready() => plain(StatusCode::OK, "ready\n"),
        Health::Ready if node.is_leaving() => plain(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        Health::Ready => plain(StatusCode::SERVICE_UNAVAILABLE, "full\n"),
        Health::Status => {
            let uptime_secs = node.started().elapsed().as_secs();
            let guard = Guard { outcomes: node.outcomes(), alerts: node.alerts() };
            let inbox = node.store().map(|store| store.status());
            let status = Status { ready: node.is_ready(), draining: node.is_leaving(), uptime_secs, guard, inbox };
            let body = serde_json::to_vec(&status).expect("flags and numbers are JSON");
            Words { status: StatusCode::OK, content_type: "application/json", body: body.into() }
        }
    }
}
