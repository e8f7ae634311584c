//! What a fresh socket wants: a WebSocket under `<prefix>/app/<key>`, or the HTTP API.
//!
//! Owns the first request's head. Never serves the API itself: hyper does, with the bytes read so far. The invariant: a
//! refused client is accepted first and told by error frame and close, so that it does not see 1006 and retry for ever.

use std::io;
use std::net::TcpStream;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use campanile_hub::{App, Apps, handshake};
use campanile_protocol::CloseCode;
use campanile_protocol::signature::SignedQuery;
use campanile_protocol::websocket;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncReadExt, join};

use crate::door::Door;
use crate::node::{Node, Place};

/// What the first bytes are.
pub(crate) enum First {
    /// Not yet known.
    Incomplete,
    /// A request for the API.
    Http,
    /// Not acceptable as a WebSocket: an HTTP answer, then the end.
    Refused(Bytes),
    /// A WebSocket that has been accepted, with the bytes behind the head.
    WebSocket { request: Request, response: Bytes, rest: Vec<u8> },
}

/// Who asks for a WebSocket.
pub(crate) struct Request {
    key: String,
    query: String,
    origin: Option<String>,
}

/// A client that may connect.
pub(crate) struct Admitted {
    pub(crate) app: Arc<App>,
    pub(crate) protocol: u8,
    pub(crate) place: Place,
}

const HEADERS_MAX: usize = 64;

/// Looks at what has come so far.
pub(crate) fn read(head: &[u8], path_prefix: &str, head_bytes_max: usize) -> First {
    let start = format!("GET {path_prefix}/app/");
    if !head.starts_with(&start.as_bytes()[..start.len().min(head.len())]) {
        return First::Http;
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Partial) if head.len() < head_bytes_max => First::Incomplete,
        Ok(httparse::Status::Partial) => {
            refused(431, "Request Header Fields Too Large", "the request's head is too long", &[])
        }
        Err(error) => refused(400, "Bad Request", &format!("malformed request: {error}"), &[]),
        Ok(httparse::Status::Complete(length)) => {
            let target = request.path.unwrap_or_default();
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            let key = path[path_prefix.len() + "/app/".len()..].to_owned();
            let origin = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("origin"));
            let origin = origin.map(|header| String::from_utf8_lossy(header.value).into_owned());
            match websocket::upgrade(request.headers.iter().map(|header| (header.name, header.value))) {
                Err(error) => refused(error.status(), "Refused", &error.to_string(), error.headers()),
                Ok(accept) => First::WebSocket {
                    request: Request { key, query: query.to_owned(), origin },
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
    let extra: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = message.len();
    First::Refused(
        format!(
            "HTTP/1.1 {status} {phrase}\r\n{extra}Content-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {length}\r\nConnection: close\r\n\r\n{message}"
        )
        .into(),
    )
}

impl Request {
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

/// Serves the HTTP API on a socket whose first bytes have been read.
pub(crate) async fn serve_http(stream: TcpStream, head: Vec<u8>, door: Rc<Door>) {
    if let Err(error) = serve(stream, head, door).await {
        tracing::debug!(%error, "an API connection ended");
    }
}

async fn serve(stream: TcpStream, head: Vec<u8>, door: Rc<Door>) -> io::Result<()> {
    let limits = door.node().config().limits.clone();
    let (reader, writer) = tokio::net::TcpStream::from_std(stream)?.into_split();
    let io = TokioIo::new(join(io::Cursor::new(head).chain(reader), writer));
    let service = service_fn(move |request| {
        let door = Rc::clone(&door);
        async move { Ok::<_, std::convert::Infallible>(crate::api::answer(request, door).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.http_idle_timeout)
        .serve_connection(io, service);
    served.await.map_err(io::Error::other)
}
