//! The HTTP API as a publisher uses it, over plain sockets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{SystemTime, UNIX_EPOCH};

use campanile_protocol::signature::sign_request;
use serde_json::{Value, json};

use super::{KEY, SOON, TestServer, secret};

/// What the server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The body's JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl TestServer {
    /// Publishes, and expects success.
    pub(crate) fn publish(&self, channel: &str, event: &str, data: &str) {
        let answer = self.post("/apps/app/events", &json!({ "name": event, "channel": channel, "data": data }));
        assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
    }

    /// A signed `POST`.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        self.request("POST", path, &[], &body.to_string())
    }

    /// A signed `GET`.
    pub(crate) fn get(&self, path: &str, params: &[(&str, &str)]) -> Answer {
        self.request("GET", path, params, "")
    }

    fn request(&self, method: &str, path: &str, params: &[(&str, &str)], body: &str) -> Answer {
        self.exchange(&signed_request(method, path, params, body))
    }

    /// Sends these bytes on a connection of their own and reads one answer.
    pub(crate) fn exchange(&self, request: &[u8]) -> Answer {
        exchange(self.address, request)
    }

    /// A plain connection.
    pub(crate) fn dial(&self) -> TcpStream {
        dial(self.address)
    }
}

/// A plain connection.
pub(super) fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, SOON).expect("the server accepts");
    stream.set_nodelay(true).expect("a socket option");
    stream.set_read_timeout(Some(2 * SOON)).expect("a socket option");
    stream
}

/// Sends these bytes on a connection of their own and reads one answer.
pub(crate) fn exchange(address: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = dial(address);
    // A server that refuses early may have stopped reading.
    let _ = stream.write_all(request);
    read_answer(&mut stream).expect("the server answers")
}

/// The bytes of a request that is signed for the app.
pub(crate) fn signed_request(method: &str, path: &str, params: &[(&str, &str)], body: &str) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is past 1970").as_secs();
    let query = sign_request(KEY, &secret(), method, path, params, body.as_bytes(), now);
    let length = body.len();
    format!("{method} {path}?{query} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

/// The same with a header more.
pub(crate) fn with_header(request: &[u8], name: &str, value: &str) -> Vec<u8> {
    let end = request.windows(2).position(|window| window == b"\r\n").expect("a request has a first line") + 2;
    [&request[..end], format!("{name}: {value}\r\n").as_bytes(), &request[end..]].concat()
}

/// Reads one answer; `None` where the connection ends first.
pub(crate) fn read_answer(stream: &mut TcpStream) -> Option<Answer> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8(bytes[..end].to_vec()).expect("heads are ASCII");
            let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
            let header = |name: &str| {
                let mut lines = head.lines().filter_map(|line| line.split_once(": "));
                lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
            };
            let length = header("content-length").map_or(0, |length| length.parse().expect("a length"));
            if bytes.len() >= end + 4 + length {
                let body = String::from_utf8(bytes[end + 4..end + 4 + length].to_vec()).expect("answers are UTF-8");
                return Some(Answer { status, head, body });
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(length) => bytes.extend_from_slice(&buffer[..length]),
        }
    }
}
