//! Which web pages may read the API's answers.
//!
//! Owns the cross-origin headers. Never refuses a request: a browser does, where a header is missing. The invariant: an
//! origin is named only if the configuration allows it, and without such a configuration nothing is said at all.

use campanile_protocol::idempotency::REPLAYED_HEADER;
use hyper::HeaderMap;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HeaderValue, ORIGIN, VARY,
};

use super::Reply;
use crate::config::Cors;

/// The request's origin, if pages from there may read the answer.
pub(super) fn allowed(cors: &Cors, headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(ORIGIN)?;
    cors.allowed_origins.contains(origin.to_str().ok()?).then(|| origin.clone())
}

/// Marks an answer for the browser, and for caches between.
pub(super) fn mark(mut reply: Reply, cors: &Cors, origin: Option<HeaderValue>) -> Reply {
    if !cors.allowed_origins.is_empty() {
        reply.headers_mut().insert(VARY, HeaderValue::from_static("Origin"));
    }
    if let Some(origin) = origin {
        let headers = reply.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if headers.contains_key(REPLAYED_HEADER) {
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(REPLAYED_HEADER));
        }
    }
    reply
}

/// What a page may send.
pub(super) fn preflight(headers: &mut HeaderMap, methods: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("Content-Type, Idempotency-Key, X-Pusher-Library"),
    );
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
}
