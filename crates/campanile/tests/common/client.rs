//! A WebSocket client that sends exactly the bytes it is told to and shows every frame it gets.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use campanile_protocol::SocketId;
use serde_json::{Value, json};

use super::{KEY, SOON, TestServer, http, secret};

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) socket_id: String,
    pub(crate) activity_timeout: u64,
    received: Vec<u8>,
}

/// What comes from the server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Text(String),
    /// What a compressed text message carries.
    Compressed(Vec<u8>),
    Pong(Vec<u8>),
    Ping(Vec<u8>),
    Close(u16, String),
    /// The connection has ended, in good order or not.
    End,
}

/// How a connection begins.
#[derive(Debug, Clone)]
pub(crate) struct Opening<'a> {
    pub(crate) key: &'a str,
    pub(crate) query: &'a str,
    /// Complete header lines.
    pub(crate) headers: &'a str,
}

impl Default for Opening<'_> {
    fn default() -> Self {
        Self { key: KEY, query: "protocol=7&client=test&version=8.4.0", headers: "" }
    }
}

impl Opening<'_> {
    /// The request's head.
    pub(crate) fn head(&self) -> String {
        let Self { key, query, headers } = self;
        format!(
            "GET /app/{key}?{query} HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        )
    }
}

impl Client {
    /// Only the TCP connection.
    pub(crate) fn dial(server: &TestServer) -> Self {
        Self::at(server.address)
    }

    /// As [`Client::dial`], by address.
    pub(crate) fn at(address: SocketAddr) -> Self {
        let stream = http::dial(address);
        Self { stream, socket_id: String::new(), activity_timeout: 0, received: Vec::new() }
    }

    /// A client that has been upgraded, and has not read further.
    pub(crate) fn open(server: &TestServer, opening: &Opening<'_>) -> Self {
        let mut client = Self::dial(server);
        client.raw(opening.head().as_bytes());
        client.upgraded();
        client
    }

    /// Reads the answer to the upgrade.
    pub(crate) fn upgraded(&mut self) {
        let head = self.until_blank_line();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    }

    /// A client that has its socket id.
    pub(crate) fn connect(server: &TestServer) -> Self {
        let mut client = Self::open(server, &Opening::default());
        client.establish();
        client
    }

    /// Reads `connection_established`.
    pub(crate) fn establish(&mut self) {
        let event = self.event();
        assert_eq!(event["event"], "pusher:connection_established", "{event}");
        let data = in_string(&event["data"]);
        self.socket_id = data["socket_id"].as_str().expect("a socket id").to_owned();
        self.activity_timeout = data["activity_timeout"].as_u64().expect("an activity timeout");
    }

    /// Sends these bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the connection takes bytes");
    }

    /// Sends one masked frame. `first` is the whole first byte: fin, reserved bits and opcode.
    pub(crate) fn frame(&mut self, first: u8, payload: &[u8]) {
        let frame = frame(first, payload);
        self.raw(&frame);
    }

    /// Sends a text message.
    pub(crate) fn text(&mut self, text: &str) {
        self.frame(0x81, text.as_bytes());
    }

    /// Sends an event.
    pub(crate) fn send(&mut self, event: &Value) {
        self.text(&event.to_string());
    }

    /// What the server says of a request to subscribe.
    pub(crate) fn ask_for(&mut self, subscription: Value) {
        self.send(&json!({ "event": "pusher:subscribe", "data": subscription }));
    }

    /// Subscribes, signed where the channel needs it; returns the data of `subscription_succeeded`.
    pub(crate) fn subscribe(&mut self, channel: &str) -> Value {
        let data =
            if channel.starts_with("private-") { self.signed(channel, None) } else { json!({"channel": channel}) };
        self.ask_for(data);
        self.subscribed(channel)
    }

    /// Joins a presence channel as this user.
    pub(crate) fn join(&mut self, channel: &str, user: &str) -> Value {
        let data = self.signed(channel, Some(&json!({"user_id": user}).to_string()));
        self.ask_for(data);
        self.subscribed(channel)
    }

    /// Reads `subscription_succeeded`.
    pub(crate) fn subscribed(&mut self, channel: &str) -> Value {
        let event = self.event();
        assert_eq!(event["event"], "pusher_internal:subscription_succeeded", "{event}");
        assert_eq!(event["channel"], channel);
        in_string(&event["data"])
    }

    /// What a client sends to subscribe with a signature.
    pub(crate) fn signed(&self, channel: &str, channel_data: Option<&str>) -> Value {
        let auth = secret().sign_channel(self.id(), channel, channel_data);
        let mut data = json!({ "channel": channel, "auth": format!("{KEY}:{auth}") });
        if let Some(channel_data) = channel_data {
            data["channel_data"] = channel_data.into();
        }
        data
    }

    /// Asks to sign in.
    pub(crate) fn ask_to_sign_in(&mut self, user_data: &Value) {
        let user_data = user_data.to_string();
        let auth = format!("{KEY}:{}", secret().sign_user(self.id(), &user_data));
        self.send(&json!({ "event": "pusher:signin", "data": { "auth": auth, "user_data": user_data } }));
    }

    /// Signs in as this user.
    pub(crate) fn sign_in(&mut self, user: &str) {
        self.ask_to_sign_in(&json!({ "id": user }));
        assert_eq!(self.event()["event"], "pusher:signin_success");
    }

    fn id(&self) -> SocketId {
        SocketId::parse(&self.socket_id).expect("the server's socket id")
    }

    /// A round trip: everything that was sent before has been worked on, everything before the pong is returned.
    pub(crate) fn sync(&mut self) -> Vec<Value> {
        self.text(r#"{"event":"pusher:ping","data":{}}"#);
        let mut before = Vec::new();
        loop {
            let event = self.event();
            if event["event"] == "pusher:pong" {
                return before;
            }
            before.push(event);
        }
    }

    /// The next frame must be an event.
    pub(crate) fn event(&mut self) -> Value {
        match self.next() {
            Frame::Text(text) => serde_json::from_str(&text).expect("the server sends JSON"),
            other => panic!("an event was expected, not {other:?}"),
        }
    }

    /// The next frame must be a close.
    pub(crate) fn closed(&mut self) -> u16 {
        match self.next() {
            Frame::Close(code, _) => code,
            other => panic!("a close was expected, not {other:?}"),
        }
    }

    /// The next two frames must be an error and a close with the same code.
    pub(crate) fn refused(&mut self) -> u16 {
        let event = self.event();
        assert_eq!(event["event"], "pusher:error", "{event}");
        let code = event["data"]["code"].as_u64();
        assert_eq!(code, Some(self.closed().into()), "{event}");
        u16::try_from(code.unwrap_or_default()).expect("a close code")
    }

    /// The next frame.
    pub(crate) fn next(&mut self) -> Frame {
        loop {
            if let Some((frame, size)) = parse(&self.received) {
                self.received.drain(..size);
                return frame;
            }
            match self.fill() {
                Ok(0) => {
                    assert!(self.received.is_empty(), "the connection ended within a frame");
                    return Frame::End;
                }
                Ok(_) => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("nothing has come for {:?}", 2 * SOON)
                }
                Err(_) => return Frame::End,
            }
        }
    }

    /// Asserts that nothing comes for a while.
    pub(crate) fn hears_nothing_for(&mut self, time: Duration) {
        assert_eq!(self.received, b"");
        self.stream.set_read_timeout(Some(time)).expect("a socket option");
        let heard = self.fill();
        self.stream.set_read_timeout(Some(2 * SOON)).expect("a socket option");
        assert!(heard.is_err(), "{:?}", String::from_utf8_lossy(&self.received));
    }

    /// Waits until the server has ended the connection, and says how long that took.
    pub(crate) fn ends(&mut self) -> Duration {
        let began = Instant::now();
        while self.next() != Frame::End {}
        began.elapsed()
    }

    /// Whether the connection still takes bytes; the server's reset shows only at the second write.
    pub(crate) fn is_reset(&mut self) -> bool {
        self.stream.write_all(&frame(0x8a, b"")).is_err()
    }

    fn fill(&mut self) -> std::io::Result<usize> {
        let mut bytes = [0; 16 * 1024];
        let length = self.stream.read(&mut bytes)?;
        self.received.extend_from_slice(&bytes[..length]);
        Ok(length)
    }

    /// Reads an HTTP head.
    pub(crate) fn until_blank_line(&mut self) -> String {
        loop {
            if let Some(end) = self.received.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = self.received.drain(..end + 4).collect();
                return String::from_utf8(head).expect("heads are ASCII");
            }
            assert_ne!(self.fill().expect("a head comes"), 0, "the connection ended within the head");
        }
    }

    /// Ends the connection without a goodbye, as a machine that loses its network and then its patience.
    pub(crate) fn vanish(self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(Duration::ZERO)).expect("a socket option");
    }
}

/// Parses the string that `data` is.
pub(crate) fn in_string(data: &Value) -> Value {
    serde_json::from_str(data.as_str().expect("data is a string")).expect("data holds JSON")
}

/// One masked frame.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    let mask = [0x12, 0x34, 0x56, 0x78];
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let (length, head) = match second {
        126 => (u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?).into(), 4),
        127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?), 10),
        length => (length.into(), 2),
    };
    let end = head + usize::try_from(length).expect("frames fit");
    let payload = bytes.get(head..end)?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("the server sends UTF-8");
    let frame = match first {
        0x81 => Frame::Text(text(payload)),
        0xc1 => Frame::Compressed(payload.to_vec()),
        0x88 if payload.is_empty() => Frame::Close(1005, String::new()),
        0x88 => Frame::Close(u16::from_be_bytes([payload[0], payload[1]]), text(&payload[2..])),
        0x89 => Frame::Ping(payload.to_vec()),
        0x8a => Frame::Pong(payload.to_vec()),
        other => panic!("the server sent a frame that begins with {other:#x}"),
    };
    Some((frame, end))
}
