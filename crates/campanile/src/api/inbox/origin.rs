//! Which web pages may call the inbox.
//!
//! Owns the cross-origin headers of the browser's endpoints, by each app's `allowed_origins`. Never lets a page in by
//! itself: a session does. The invariant: an origin is named only if an app that has an inbox takes connections from there.

use campanile_hub::App;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, HeaderValue, ORIGIN, VARY,
};
use hyper::{HeaderMap, Method, Response};

use super::refusal::{Code, Refused};
use crate::node::Node;

/// The page's origin, as its browser says.
pub(super) fn of(headers: &HeaderMap) -> Option<HeaderValue> {
    headers.get(ORIGIN).cloned()
}

/// Refuses a page that the app does not know.
pub(super) fn check(headers: &HeaderMap, app: &App, node: &Node) -> Result<(), Refused> {
    let origin = headers.get(ORIGIN).map(|origin| origin.to_str().unwrap_or("null"));
    if node.rim(app).allowed_origins.allow(origin) {
        return Ok(());
    }
    let message = "this app takes no requests from pages of this origin: add it to the app's allowed_origins";
    Err(Refused::new(Code::OriginRefused, message))
}

/// Marks an answer for the browser, and for caches between. Before a session nobody knows whose page it is: then an origin
/// may read that it is refused if any app with an inbox knows it.
pub(super) fn mark<B>(
    mut reply: Response<B>,
    origin: Option<HeaderValue>,
    method: &Method,
    node: &Node,
) -> Response<B> {
    reply.headers_mut().insert(VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = origin else { return reply };
    let Ok(text) = origin.to_str() else { return reply };
    let apps = node.apps();
    let mut with_inbox = apps.iter().filter(|app| app.enabled && app.inbox.is_some());
    if with_inbox.any(|app| node.rim(app).allowed_origins.allow(Some(text))) {
        let headers = reply.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Retry-After"));
        if *method == Method::OPTIONS {
            let methods = headers.get(ALLOW).cloned();
            methods.into_iter().for_each(|methods| drop(headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods)));
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Authorization, Content-Type"));
            headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        }
    }
    reply
}
