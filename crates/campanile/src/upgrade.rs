//! What a fresh socket wants: a WebSocket under `<prefix>/app/<key>`, or the HTTP API.
//!
//! Owns the first request's head. Never serves the API itself: [`crate::http`] does, with the bytes read so far. The invariant: a
//! refused client is accepted first and told by error frame and close, so that it does not see 1006 and retry for ever.

use std::sync::Arc;

use bytes::Bytes;
use campanile_hub::{App, Apps, handshake};
use campanile_protocol::CloseCode;
use campanile_protocol::signature::SignedQuery;
use campanile_protocol::websocket;

use crate::forwarded::{self, Peer};
use crate::node::{Node, Place};

/// What the first bytes are.
pub(crate) enum First {
    /// Not yet known.
    Incomplete,
    /// A request for the API.
    Http(Version),
    /// Not acceptable as a WebSocket: an HTTP answer, then the end.
    Refused(Bytes),
    /// A WebSocket that has been accepted, with the bytes behind the head.
    WebSocket { request: Request, response: Bytes, rest: Vec<u8> },
}

/// Which HTTP a client of the API speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Http1,
    Http2,
}

/// Who asks for a WebSocket.
pub(crate) struct Request {
    key: String,
    query: String,
    origin: Option<String>,
    forwarded: Vec<Vec<u8>>,
}

/// A client that may connect.
pub(crate) struct Admitted {
    pub(crate) app: Arc<App>,
    pub(crate) protocol: u8,
    pub(crate) place: Place,
}

const HEADERS_MAX: usize = 64;

/// What an HTTP/2 client sends first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Looks at what has come so far.
pub(crate) fn read(head: &[u8], path_prefix: &str, head_bytes_max: usize) -> First {
    if PREFACE.starts_with(&head[..head.len().min(PREFACE.len())]) {
        return if head.len() < PREFACE.len() { First::Incomplete } else { First::Http(Version::Http2) };
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(head);
    let length = match parsed {
        Ok(httparse::Status::Partial) if head.len() < head_bytes_max => return First::Incomplete,
        Ok(httparse::Status::Complete(length)) if length <= head_bytes_max => Ok(length),
        Ok(_) => {
            return refused(431, "Request Header Fields Too Large", "the request's head is too long", &[]);
        }
        Err(error) => Err(error),
    };
    // Of a request for the API only the length was judged: hyper says what else is wrong with it.
    if !head.starts_with(format!("GET {path_prefix}/app/").as_bytes()) {
        return First::Http(Version::Http1);
    }
    match length {
        Err(error) => refused(400, "Bad Request", &format!("malformed request: {error}"), &[]),
        Ok(length) => {
            let target = request.path.unwrap_or_default();
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let key = path[path_prefix.len() + "/app/".len()..].to_owned();
            let origin = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("origin"));
            let origin = origin.map(|header| String::from_utf8_lossy(header.value).into_owned());
            let forwarded = request.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(forwarded::HEADER));
            let forwarded = forwarded.map(|header| header.value.to_vec()).collect();
            match websocket::upgrade(request.headers.iter().map(|header| (header.name, header.value))) {
                Err(error) => refused(error.status(), "Refused", &error.to_string(), error.headers()),
                Ok(accept) => First::WebSocket {
                    request: Request { key, query: query.to_owned(), origin, forwarded },
                    response: format!(
                        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Accept: {accept}\r\n\r\n"
                    )
                    .into(),
                    rest: head[length..].to_vec(),
                },
            }
        }
    }
}

fn refused(status: u16, phrase: &str, message: &str, headers: &[(&str, &str)]) -> First {
    First::Refused(refusal(status, phrase, message, headers))
}

fn refusal(status: u16, phrase: &str, message: &str, headers: &[(&str, &str)]) -> Bytes {
    let extra: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = message.len();
    format!(
        "HTTP/1.1 {status} {phrase}\r\n{extra}Content-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{message}"
    )
    .into()
}

/// What a client hears that speaks plain HTTP where TLS is expected.
pub(crate) fn wants_tls() -> Bytes {
    refusal(400, "Bad Request", "this port speaks TLS: use https or wss", &[])
}

/// What a client of the API hears when there are as many as there may be.
pub(crate) fn full(version: Version) -> Bytes {
    match version {
        Version::Http1 => {
            let body = r#"{"error":"the server has as many HTTP connections as it may have; try again"}"#;
            let length = body.len();
            format!(
                "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\n\
                 Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
            )
            .into()
        }
        // Our settings, all defaults, then GOAWAY: no stream was looked at, and the reason is ENHANCE_YOUR_CALM. A client
        // may so repeat its requests elsewhere, whatever they are.
        Version::Http2 => Bytes::from_static(
            b"\0\0\0\x04\0\0\0\0\0\
              \0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0b",
        ),
    }
}

impl Request {
    /// Where the client is, as far as that is known.
    pub(crate) fn client(&self, peer: Peer, node: &Node) -> Peer {
        forwarded::client(peer, self.forwarded.iter().map(Vec::as_slice), &node.config().listen)
    }

    /// Every check before a session exists. `apps` are those of the mind that will have the session, so that it knows
    /// whom it has admitted even while a reload is on its way.
    pub(crate) fn admit(&self, node: &Node, apps: &Apps) -> Result<Admitted, handshake::Refusal> {
        let query = SignedQuery::parse(&self.query);
        let protocol = handshake::protocol(query.get("protocol"), query.get("version"))?;
        let app = handshake::app(apps, &self.key)?;
        if node.is_draining() {
            return Err(handshake::Refusal::new(CloseCode::Reconnect, "the server is going away"));
        }
        if !node.rim(app).allowed_origins.allow(self.origin.as_deref()) {
            return Err(handshake::Refusal::new(CloseCode::Unauthorized, "this origin is not allowed for the app"));
        }
        let place = node.reserve(app).map_err(|code| {
            let full = if code == CloseCode::OverQuota { "the app" } else { "the server" };
            handshake::Refusal::new(code, format!("{full} has as many connections as it may have"))
        })?;
        Ok(Admitted { app: Arc::clone(app), protocol, place })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preface_of_http_2_is_waited_for_and_nothing_else_that_is_no_websocket() {
        for length in 1..PREFACE.len() {
            assert!(matches!(read(&PREFACE[..length], "", 1024), First::Incomplete), "{length}");
        }
        assert!(matches!(read(PREFACE, "", 1024), First::Http(Version::Http2)));
        for head in ["PRI * HTTP/1.1\r\n\r\n", "PUT / HTTP/1.1\r\n\r\n", "GET /apps HTTP/1.1\r\n\r\n", "\0"] {
            assert!(matches!(read(head.as_bytes(), "", 1024), First::Http(Version::Http1)), "{head}");
        }
    }
}
