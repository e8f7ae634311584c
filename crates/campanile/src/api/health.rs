//! What a load balancer or a person may ask without a signature.
//!
//! Owns `/`, `/live`, `/ready` and `/status`. Never tells anything of an app. The invariant: `/live` is green as long as
//! the process answers, so nobody restarts a node that merely drains or is full; `/ready` says whether it takes sockets.

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderValue};
use serde::Serialize;

use super::router::Health;
use super::{Reply, json, text};
use crate::node::Node;

#[derive(Serialize)]
struct Status {
    ready: bool,
    draining: bool,
    uptime_secs: u64,
}

/// Answers a health question.
pub(super) fn answer(question: Health, node: &Node) -> Reply {
    const PLAIN: &str = "text/plain; charset=utf-8";
    let mut reply = match question {
        Health::Name => text(StatusCode::OK, PLAIN, "campanile\n"),
        Health::Live => text(StatusCode::OK, PLAIN, "live\n"),
        Health::Ready if node.is_ready() => text(StatusCode::OK, PLAIN, "ready\n"),
        Health::Ready if node.is_leaving() => text(StatusCode::SERVICE_UNAVAILABLE, PLAIN, "draining\n"),
        Health::Ready => text(StatusCode::SERVICE_UNAVAILABLE, PLAIN, "full\n"),
        Health::Status => {
            let uptime_secs = node.started().elapsed().as_secs();
            json(StatusCode::OK, &Status { ready: node.is_ready(), draining: node.is_leaving(), uptime_secs })
        }
    };
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}
