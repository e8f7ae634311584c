//! What a client wants: a WebSocket under `<prefix>/app/<key>`, or the HTTP API.
//!
//! Owns the first request's head, and what is answered to a request for a WebSocket, be it a connection's first
//! ([`read`]) or one that hyper has read ([`answer`]). Never serves the API itself: [`crate::http`] does, with the bytes
//! read so far. The invariant: a refused client is accepted first and told by error frame and close, so that it does not
//! see 1006 and retry for ever.

use std::sync::Arc;

use bytes::Bytes;
use campanile_hub::{App, Apps, handshake};
use campanile_protocol::CloseCode;
use campanile_protocol::signature::SignedQuery;
use campanile_protocol::websocket::{self, Deflation, UpgradeRefusal};
use hyper::body::Body;
use hyper::header::HeaderValue;
use hyper::{Method, Response, StatusCode};

use crate::config::Config;
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
#[derive(Debug)]
pub(crate) struct Request {
    key: String,
    query: String,
    origin: Option<String>,
    forwarded: Vec<Vec<u8>>,
    compression: Option<Deflation>,
}

/// By which settings requests are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules<'a> {
    pub(crate) path_prefix: &'a str,
    pub(crate) head_bytes_max: usize,
    /// Whether an offer of compression is taken.
    pub(crate) compression: bool,
}

impl<'a> Rules<'a> {
    pub(crate) fn of(config: &'a Config) -> Self {
        let Config { listen, limits, compression, .. } = config;
        Self { path_prefix: &listen.path_prefix, head_bytes_max: limits.head_bytes_max, compression: *compression }
    }
}

/// A client that may connect.
pub(crate) struct Admitted {
    pub(crate) app: Arc<App>,
    pub(crate) protocol: u8,
    pub(crate) place: Place,
}

/// Headers of a request that is not read by hyper.
pub(crate) const HEADERS_MAX: usize = 64;

/// The longest end of a line, and the line end after it that makes it blank.
const BLANK_LINE_BYTES: usize = 3;

/// What an HTTP/2 client sends first.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Looks at what has come so far, of which `seen` bytes have been looked at before.
pub(crate) fn read(head: &[u8], seen: usize, rules: Rules<'_>) -> First {
    let Rules { path_prefix, head_bytes_max, .. } = rules;
    if PREFACE.starts_with(&head[..head.len().min(PREFACE.len())]) {
        return if head.len() < PREFACE.len() { First::Incomplete } else { First::Http(Version::Http2) };
    }
    // Parsed when it begins, so that what is no request is told so, and when it may have ended: not at every byte.
    if seen > 0 && head.len() < head_bytes_max && !has_blank_line(&head[seen.saturating_sub(BLANK_LINE_BYTES - 1)..]) {
        return First::Incomplete;
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(head);
    let length = match parsed {
        Ok(httparse::Status::Partial) if head.len() < head_bytes_max => return First::Incomplete,
        Ok(httparse::Status::Complete(length)) if length <= head_bytes_max => Ok(length),
        Ok(_) => {
            return First::Refused(Reply::refusal(431, &[], "the request's head is too long".to_owned()).bytes());
        }
        Err(error) => Err(error),
    };
    // Of a request for the API only the length was judged: hyper says what else is wrong with it.
    if !head.starts_with(format!("GET {path_prefix}/app/").as_bytes()) {
        return First::Http(Version::Http1);
    }
    match length {
        Err(error) => First::Refused(Reply::refusal(400, &[], format!("malformed request: {error}")).bytes()),
        Ok(length) => {
            let target = request.path.unwrap_or_default();
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let headers: Vec<_> = request.headers.iter().map(|header| (header.name, header.value)).collect();
            let accepted = if request.version != Some(1) {
                Err(UpgradeRefusal::NotAnUpgrade.into())
            } else if headers.iter().any(announces_body) {
                Err(Reply::with_body())
            } else {
                accept(&path[path_prefix.len() + "/app/".len()..], query, &headers, rules)
            };
            match accepted {
                Err(refusal) => First::Refused(refusal.bytes()),
                Ok((request, accepted)) => {
                    First::WebSocket { request, response: accepted.bytes(), rest: head[length..].to_vec() }
                }
            }
        }
    }
}

/// Ends a head, whichever way its lines end.
fn has_blank_line(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| pair == b"\n\n") || bytes.windows(BLANK_LINE_BYTES).any(|line| line == b"\n\r\n")
}

/// The answer to a request that hyper has read, and who may now send frames; `None`: it is one for the API.
pub(crate) fn answer<B: Body>(
    request: &hyper::Request<B>,
    rules: Rules<'_>,
) -> Option<(Response<Bytes>, Option<Request>)> {
    let key = request.uri().path().strip_prefix(rules.path_prefix)?.strip_prefix("/app/")?;
    // HTTP/2 has no upgrades.
    if request.method() != Method::GET || request.version() > hyper::Version::HTTP_11 {
        return None;
    }
    let accepted = if request.version() < hyper::Version::HTTP_11 {
        Err(UpgradeRefusal::NotAnUpgrade.into())
    } else if !request.body().is_end_stream() {
        Err(Reply::with_body())
    } else {
        let headers: Vec<_> = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        accept(key, request.uri().query().unwrap_or_default(), &headers, rules)
    };
    Some(match accepted {
        Ok((request, accepted)) => (accepted.response(), Some(request)),
        Err(refusal) => (refusal.response(), None),
    })
}

/// Whether a header says that a body follows: whoever believes it would take frames for one.
fn announces_body((name, value): &(&str, &[u8])) -> bool {
    name.eq_ignore_ascii_case("transfer-encoding") || (name.eq_ignore_ascii_case("content-length") && *value != b"0")
}

fn accept(key: &str, query: &str, headers: &[(&str, &[u8])], rules: Rules<'_>) -> Result<(Request, Reply), Reply> {
    let accept = websocket::upgrade(headers.iter().copied())?;
    let compression = if rules.compression { Deflation::agree(headers.iter().copied())? } else { None };
    let named = |name: &'static str| headers.iter().filter(move |header| header.0.eq_ignore_ascii_case(name));
    let request = Request {
        key: key.to_owned(),
        query: query.to_owned(),
        origin: origin(named("origin").map(|header| header.1)),
        forwarded: named(forwarded::HEADER).map(|header| header.1.to_vec()).collect(),
        compression,
    };
    Ok((request, Reply::switching(accept, compression)))
}

/// The page that asks. A browser names one; of several none is believed, so together they are no origin at all.
fn origin<'a>(headers: impl Iterator<Item = &'a [u8]>) -> Option<String> {
    let origins: Vec<_> = headers.map(String::from_utf8_lossy).collect();
    (!origins.is_empty()).then(|| origins.join(", "))
}

/// An answer in HTTP/1, whoever writes it.
struct Reply {
    status: StatusCode,
    headers: Vec<(&'static str, String)>,
    body: String,
}

impl Reply {
    fn switching(accept: String, compression: Option<Deflation>) -> Self {
        let mut headers = vec![
            ("Upgrade", "websocket".to_owned()),
            ("Connection", "Upgrade".to_owned()),
            ("Sec-WebSocket-Accept", accept),
        ];
        headers.extend(compression.map(|agreed| ("Sec-WebSocket-Extensions", agreed.to_string())));
        Self { status: StatusCode::SWITCHING_PROTOCOLS, headers, body: String::new() }
    }

    fn with_body() -> Self {
        Self::refusal(400, &[], "a request for a WebSocket has no body".to_owned())
    }

    /// Says why and closes.
    fn refusal(status: u16, headers: &[(&'static str, &str)], body: String) -> Self {
        let mut headers: Vec<_> = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        match headers.iter_mut().find(|header| header.0 == "Connection") {
            Some((_, options)) => options.push_str(", close"),
            None => headers.push(("Connection", "close".to_owned())),
        }
        headers.push(("Content-Type", "text/plain; charset=utf-8".to_owned()));
        Self { status: StatusCode::from_u16(status).expect("all statuses here have three digits"), headers, body }
    }

    fn bytes(&self) -> Bytes {
        let phrase = self.status.canonical_reason().unwrap_or_default();
        let mut text = format!("HTTP/1.1 {} {phrase}\r\n", self.status.as_str());
        for (name, value) in &self.headers {
            text.extend([name, ": ", value, "\r\n"]);
        }
        if !self.body.is_empty() {
            text.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        text.extend(["\r\n", &self.body]);
        text.into()
    }

    fn response(self) -> Response<Bytes> {
        let mut response = Response::new(self.body.into());
        *response.status_mut() = self.status;
        for (name, value) in self.headers {
            // Values are words of ours and base64, so none is left out.
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().append(name, value);
            }
        }
        response
    }
}

impl From<UpgradeRefusal> for Reply {
    fn from(refusal: UpgradeRefusal) -> Self {
        Self::refusal(refusal.status(), refusal.headers(), refusal.to_string())
    }
}

/// What a client hears that speaks plain HTTP where TLS is expected.
pub(crate) fn wants_tls() -> Bytes {
    Reply::refusal(400, &[], "this port speaks TLS: use https or wss".to_owned()).bytes()
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
    /// Whether the client has been told that messages may be compressed.
    pub(crate) fn has_compression(&self) -> bool {
        self.compression.is_some()
    }

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

    const RULES: Rules<'_> = Rules { path_prefix: "", head_bytes_max: 1024, compression: true };

    #[test]
    fn the_preface_of_http_2_is_waited_for_and_nothing_else_that_is_no_websocket() {
        for length in 1..PREFACE.len() {
            assert!(matches!(read(&PREFACE[..length], length - 1, RULES), First::Incomplete), "{length}");
        }
        assert!(matches!(read(PREFACE, 0, RULES), First::Http(Version::Http2)));
        for head in ["PRI * HTTP/1.1\r\n\r\n", "PUT / HTTP/1.1\r\n\r\n", "GET /apps HTTP/1.1\r\n\r\n", "\0"] {
            assert!(matches!(read(head.as_bytes(), 0, RULES), First::Http(Version::Http1)), "{head}");
        }
    }

    #[test]
    fn however_a_head_is_cut_it_is_complete_with_its_last_byte() {
        for end in ["\r\n", "\n"] {
            let lines = ["GET /app/key HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade"];
            let lines =
                lines.into_iter().chain(["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="]);
            let head = lines.chain([""]).map(|line| line.to_owned() + end).collect::<String>();
            for size in [1, 2, 3, 7, head.len()] {
                for seen in (0..head.len()).step_by(size) {
                    let come = (seen + size).min(head.len());
                    let first = read(&head.as_bytes()[..come], seen, RULES);
                    let is_complete = matches!(first, First::WebSocket { .. });
                    assert_eq!(is_complete, come == head.len(), "{size} {come}");
                    assert!(is_complete || matches!(first, First::Incomplete));
                }
            }
        }
    }

    #[test]
    fn a_head_without_an_end_is_refused_at_the_bound_and_waited_for_before() {
        let head = "GET /app/key HTTP/1.1\r\nX: ".to_owned() + &"x".repeat(1024);
        assert!(matches!(read(&head.as_bytes()[..1023], 1022, RULES), First::Incomplete));
        assert!(matches!(read(&head.as_bytes()[..1024], 1023, RULES), First::Refused(_)));
    }
}
