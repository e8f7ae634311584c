//! What a simulated customer's browser does on the network.
//!
//! Owns two connections' bytes: HTTP/1.1 with the shop, kept alive, and a WebSocket with the Campanile server. Never
//! does more of either protocol than these two servers need. The invariant: an answer that is too long, or is not what
//! was asked for, is an error. The frames are those of `campanile-protocol`.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;

use campanile_protocol::websocket::{Incoming, Opcode, Received, Role, Rules, encode_masked_into};
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::crowd::Live;

/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// Bytes of an event.
const EVENT_BYTES_MAX: usize = 64 * 1024;
/// Bytes that are read at once.
const READ_BYTES: usize = 4096;

/// Why a browser has stopped.
#[derive(Debug, thiserror::Error)]
pub(super) enum BrowserError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("the answer was {0}")]
    Status(String),
    #[error("the answer cannot be read")]
    Answer,
    #[error("the answer is not the expected JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the connection has ended: {0}")]
    Ended(String),
}

/// A connection with the shop.
pub(super) struct Browser {
    stream: TcpStream,
    host: SocketAddr,
    cookie: String,
    received: Vec<u8>,
}

impl Browser {
    pub(super) async fn open(shop: SocketAddr, cookie: &str) -> Result<Self, BrowserError> {
        let stream = TcpStream::connect(shop).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, host: shop, cookie: cookie.to_owned(), received: Vec::new() })
    }

    /// The orders that have left, as the orders page's script asks for them.
    pub(super) async fn shipped_orders(&mut self) -> Result<Vec<i64>, BrowserError> {
        #[derive(Deserialize)]
        struct Order {
            id: i64,
            status: String,
        }
        let body = self.ask("GET /orders.json", "", "").await?;
        let orders: Vec<Order> = serde_json::from_slice(&body)?;
        Ok(orders.into_iter().filter(|order| order.status == "shipped").map(|order| order.id).collect())
    }

    /// The signature for a subscription.
    pub(super) async fn authorize(
        &mut self,
        csrf_token: &str,
        socket_id: &str,
        channel: &str,
    ) -> Result<String, BrowserError> {
        #[derive(Deserialize)]
        struct Auth {
            auth: String,
        }
        let form = form_urlencoded::Serializer::new(String::new())
            .append_pair("socket_id", socket_id)
            .append_pair("channel_name", channel)
            .finish();
        let headers = format!("X-CSRF-Token: {csrf_token}\r\nContent-Type: application/x-www-form-urlencoded\r\n");
        let body = self.ask("POST /broadcasting/auth", &headers, &form).await?;
        Ok(serde_json::from_slice::<Auth>(&body)?.auth)
    }

    async fn ask(&mut self, what: &str, headers: &str, body: &str) -> Result<Vec<u8>, BrowserError> {
        let Self { host, cookie, .. } = self;
        let length = body.len();
        let request = format!(
            "{what} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
        );
        self.stream.write_all(request.as_bytes()).await?;
        let head = read_head(&mut self.stream, &mut self.received).await?;
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap_or_default();
        let length = lines.find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
        });
        let length = length.filter(|length| *length <= ANSWER_BYTES_MAX).ok_or(BrowserError::Answer)?;
        while self.received.len() < length {
            read_more(&mut self.stream, &mut self.received).await?;
        }
        let body = self.received.drain(..length).collect();
        match status.split(' ').nth(1) {
            Some("200") => Ok(body),
            _ => Err(BrowserError::Status(status.to_owned())),
        }
    }
}

/// A connection with the Campanile server.
pub(super) struct Listener {
    stream: TcpStream,
    incoming: Incoming,
    received: Vec<u8>,
    socket_id: String,
    messages: VecDeque<Message>,
}

/// A message of the Pusher protocol.
#[derive(Deserialize)]
struct Message {
    event: String,
    #[serde(default)]
    data: serde_json::Value,
}

impl Message {
    /// What stands in `data`, which is JSON in a string.
    fn data<T: for<'a> Deserialize<'a>>(&self) -> Result<T, BrowserError> {
        Ok(serde_json::from_str(self.data.as_str().unwrap_or_default())?)
    }
}

impl Listener {
    /// Connects, and waits until the server has said which socket this is.
    pub(super) async fn connect(live: &Live) -> Result<Self, BrowserError> {
        #[derive(Deserialize)]
        struct Established {
            socket_id: String,
        }
        let mut stream = TcpStream::connect((live.host.as_str(), live.port)).await?;
        stream.set_nodelay(true)?;
        let Live { host, port, key } = live;
        // The key proves nothing to a client that trusts its own machine, so it is the one of RFC 6455.
        let request = format!(
            "GET /app/{key}?protocol=7&client=shop&version=1 HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await?;
        let mut received = Vec::new();
        let head = read_head(&mut stream, &mut received).await?;
        if !head.starts_with("HTTP/1.1 101") {
            return Err(BrowserError::Status(head.lines().next().unwrap_or_default().to_owned()));
        }
        let mut listener = Self {
            stream,
            incoming: Incoming::default(),
            received,
            socket_id: String::new(),
            messages: VecDeque::new(),
        };
        let established: Established = listener.next("pusher:connection_established").await?.data()?;
        listener.socket_id = established.socket_id;
        Ok(listener)
    }

    pub(super) fn socket_id(&self) -> &str {
        &self.socket_id
    }

    /// Subscribes, and waits until the server has agreed.
    pub(super) async fn subscribe(&mut self, channel: &str, auth: &str) -> Result<(), BrowserError> {
        let message = json!({ "event": "pusher:subscribe", "data": { "channel": channel, "auth": auth } });
        self.send(Opcode::Text, message.to_string().as_bytes()).await?;
        self.next("pusher_internal:subscription_succeeded").await.map(|_| ())
    }

    /// Waits until an order has left.
    pub(super) async fn shipped_order(&mut self) -> Result<i64, BrowserError> {
        #[derive(Deserialize)]
        struct Shipped {
            order_id: i64,
        }
        let shipped: Shipped = self.next("order.shipped").await?.data()?;
        Ok(shipped.order_id)
    }

    /// The next event of this name. Others are passed over, but for pings, which are answered.
    async fn next(&mut self, event: &str) -> Result<Message, BrowserError> {
        loop {
            while let Some(message) = self.messages.pop_front() {
                match message.event.as_str() {
                    name if name == event => return Ok(message),
                    "pusher:ping" => self.send(Opcode::Text, br#"{"event":"pusher:pong","data":{}}"#).await?,
                    "pusher:error" => return Err(BrowserError::Ended(message.data.to_string())),
                    _ => {}
                }
            }
            self.receive().await?;
        }
    }

    async fn receive(&mut self) -> Result<(), BrowserError> {
        if self.received.is_empty() {
            read_more(&mut self.stream, &mut self.received).await?;
        }
        let mut bytes = std::mem::take(&mut self.received);
        let (mut texts, mut pings) = (Vec::new(), Vec::new());
        let rules = Rules { role: Role::Client, message_max: EVENT_BYTES_MAX };
        let read = self.incoming.receive(&mut bytes, rules, |received| {
            match received {
                Received::Text(text) => texts.push(serde_json::from_str(text)),
                Received::Ping(payload) => pings.push(payload.to_vec()),
                _ => {}
            }
            ControlFlow::Continue(())
        });
        for ping in pings {
            self.send(Opcode::Pong, &ping).await?;
        }
        for text in texts {
            self.messages.push_back(text?);
        }
        if read.is_err() || (self.incoming.is_closed() && self.messages.is_empty()) {
            return Err(BrowserError::Ended("the server has closed it".to_owned()));
        }
        Ok(())
    }

    async fn send(&mut self, opcode: Opcode, payload: &[u8]) -> Result<(), BrowserError> {
        let mut frame = Vec::new();
        // A mask protects proxies that this connection does not have.
        encode_masked_into(&mut frame, opcode, payload, [1, 2, 3, 4]);
        Ok(self.stream.write_all(&frame).await?)
    }
}

/// Reads to the end of a head, and leaves what follows it.
async fn read_head(stream: &mut TcpStream, received: &mut Vec<u8>) -> Result<String, BrowserError> {
    const END: &[u8] = b"\r\n\r\n";
    loop {
        if let Some(at) = received.windows(END.len()).position(|window| window == END) {
            let head: Vec<u8> = received.drain(..at + END.len()).collect();
            return String::from_utf8(head).map_err(|_| BrowserError::Answer);
        }
        if received.len() > ANSWER_BYTES_MAX {
            return Err(BrowserError::Answer);
        }
        read_more(stream, received).await?;
    }
}

async fn read_more(stream: &mut TcpStream, received: &mut Vec<u8>) -> Result<(), BrowserError> {
    received.reserve(READ_BYTES);
    match stream.read_buf(received).await? {
        0 => Err(BrowserError::Ended("the server has closed it".to_owned())),
        _ => Ok(()),
    }
}
