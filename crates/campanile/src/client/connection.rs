//! One connection to a server.
//!
//! Owns the opening (HTTP upgrade, then the protocol's greeting), framing, pings and subscriptions.
//! Never reconnects. The invariant: [`Connection::next`] may be dropped at any await and called
//! again; no byte is lost, because what was read and what is to be written live in the connection.
//! Next: `reconnect.rs` for what to do when it ends.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use campanile_protocol::websocket::{Incoming, Opcode, Received, Role, Rules, accept_key, encode_masked_into};
use campanile_protocol::{ChannelKind, Secret, SocketId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout, timeout_at};

use super::api::message;
use super::obstacle::Obstacle;
use super::transport::{self, Transport};
use super::visible;
use crate::target::Target;

/// How long the opening may take, from the first packet to the greeting.
const OPENING_TIMEOUT: Duration = Duration::from_secs(15);

/// How long an answer to our ping may take (pusher-js: `pongTimeout`).
const PONG_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a server may be silent if its greeting does not say (pusher-js: `activityTimeout`).
const ACTIVITY_TIMEOUT_DEFAULT: Duration = Duration::from_secs(120);

/// Bytes of the head of the answer to the upgrade.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Bytes of its body that are read where it is no upgrade, for the reason in it.
const REFUSAL_BYTES_MAX: usize = 1024;

/// Characters of that reason that are shown.
const REASON_CHARACTERS_MAX: usize = 200;

/// Headers of that answer.
const HEADERS_MAX: usize = 64;

/// Bytes of one message: presence snapshots of large rooms are the longest.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Bytes taken in one read, on the stack, so that an idle connection holds no buffer.
const READ_BYTES: usize = 8 * 1024;

const RULES: Rules = Rules { role: Role::Client, message_max: MESSAGE_BYTES_MAX };

/// An open connection, greeted by the server.
pub(crate) struct Connection {
    transport: Box<dyn Transport>,
    incoming: Incoming,
    received: VecDeque<Incident>,
    outgoing: Vec<u8>,
    ended: Option<Ended>,
    socket_id: SocketId,
    activity_timeout: Duration,
    heard: Instant,
    has_pinged: bool,
}

/// Something that a server said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Incident {
    /// The event's name.
    pub(crate) event: String,
    /// The channel, if it came on one.
    pub(crate) channel: Option<String>,
    /// The data: a string's content, or any other JSON as it was written; empty if there is none.
    pub(crate) data: String,
    /// The user who sent it, for client events on presence channels.
    pub(crate) user_id: Option<String>,
    /// Bytes of the whole message.
    pub(crate) bytes: usize,
}

/// Why a connection is no more, or never was.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum Ended {
    /// The server closed it.
    #[error("closed by the server{}", described(*.code, .reason))]
    Closed { code: Option<u16>, reason: String },
    /// The network did.
    #[error("{reason}")]
    Lost { reason: String, obstacle: Option<Obstacle> },
    /// An HTTP answer came in place of a WebSocket.
    #[error("the server refused the WebSocket with HTTP {status}{}", colon(.reason))]
    NotUpgraded { status: u16, reason: String },
    /// The server answered neither with events nor to a ping.
    #[error("the server has fallen silent")]
    Silent,
    /// The server does not speak WebSocket, or not properly.
    #[error("{0}")]
    Foreign(String),
}

impl Ended {
    /// The close code, if there was one.
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Closed { code, .. } => *code,
            _ => None,
        }
    }

    /// What to do something about, where that is known.
    pub(crate) fn obstacle(&self) -> Option<Obstacle> {
        match self {
            Self::Closed { code: Some(4001), .. } => Some(Obstacle::UnknownKey),
            Self::Closed { .. } | Self::Silent => None,
            Self::Lost { obstacle, .. } => *obstacle,
            Self::NotUpgraded { status, reason } => Obstacle::of_no_upgrade(*status, reason),
            Self::Foreign(_) => Some(Obstacle::NotPusher),
        }
    }

    fn lost(error: &io::Error) -> Self {
        Self::Lost { reason: error.to_string(), obstacle: Obstacle::of(error) }
    }

    fn lost_for(reason: impl Into<String>) -> Self {
        Self::Lost { reason: reason.into(), obstacle: None }
    }
}

fn colon(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

fn described(code: Option<u16>, reason: &str) -> String {
    match (code, reason) {
        (None, _) => " without a code".to_owned(),
        (Some(code), "") => format!(" with code {code}"),
        (Some(code), reason) => format!(" with code {code}: {reason}"),
    }
}

/// Who to be on a presence channel.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Member {
    /// The user's id.
    pub(crate) user_id: String,
    /// What other members see.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user_info: Option<Box<RawValue>>,
}

/// A message, as a server frames it.
#[derive(Deserialize)]
struct Message<'a> {
    event: String,
    channel: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    user_id: Option<&'a RawValue>,
}

impl Incident {
    fn decode(message: &str) -> Result<Self, Ended> {
        let Message { event, channel, data, user_id } = serde_json::from_str(message)
            .map_err(|error| Ended::Foreign(format!("the server sent what is no event: {error}")))?;
        Ok(Self {
            event,
            channel,
            data: data.map(text).unwrap_or_default(),
            user_id: user_id.map(text),
            bytes: message.len(),
        })
    }
}

impl Incident {
    /// What an error is about, as the server says it to a person, and its code if it has one.
    pub(crate) fn complaint(&self) -> String {
        let said = visible(&message(&self.data));
        match serde_json::from_str(&self.data) {
            Ok(Particulars { code: Some(code), .. }) => format!("{said} ({code})"),
            _ => said,
        }
    }
}

/// A string's content, or any other JSON as it was written.
fn text(value: &RawValue) -> String {
    serde_json::from_str(value.get()).unwrap_or_else(|_| value.get().to_owned())
}

/// What the greeting and errors carry.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Particulars {
    socket_id: String,
    activity_timeout: Option<u64>,
    code: Option<u16>,
    message: String,
}

impl Connection {
    /// Connects, from `source` if given, and waits for the greeting.
    pub(crate) async fn open(target: &Target, source: Option<IpAddr>) -> Result<Self, Ended> {
        let opening = async {
            let transport = transport::connect(target, source).await.map_err(|error| Ended::lost(&error))?;
            Self::over(transport, target).await
        };
        let too_long = |_| Ended::lost_for(format!("no greeting within {} s", OPENING_TIMEOUT.as_secs()));
        timeout(OPENING_TIMEOUT, opening).await.map_err(too_long)?
    }

    async fn over(mut transport: Box<dyn Transport>, target: &Target) -> Result<Self, Ended> {
        let key = STANDARD.encode(random::<16>()?);
        let request = upgrade_request(target, &key);
        transport.write_all(request.as_bytes()).await.map_err(|error| Ended::lost(&error))?;
        let mut early = read_head(&mut *transport, &key).await?;

        let mut connection = Self {
            transport,
            incoming: Incoming::default(),
            received: VecDeque::new(),
            outgoing: Vec::new(),
            ended: None,
            socket_id: SocketId { place: 0, secret: 0 },
            activity_timeout: ACTIVITY_TIMEOUT_DEFAULT,
            heard: Instant::now(),
            has_pinged: false,
        };
        connection.take(&mut early)?;
        let greeting = connection.next().await?;
        let particulars: Particulars = serde_json::from_str(&greeting.data).unwrap_or_default();
        match greeting.event.as_str() {
            "pusher:connection_established" => {
                connection.socket_id = SocketId::parse(&particulars.socket_id)
                    .map_err(|_| Ended::Foreign("the server's greeting has no socket id".to_owned()))?;
                if let Some(seconds) = particulars.activity_timeout.filter(|seconds| *seconds > 0) {
                    connection.activity_timeout = Duration::from_secs(seconds).min(ACTIVITY_TIMEOUT_DEFAULT);
                }
                Ok(connection)
            }
            "pusher:error" => Err(Ended::Closed { code: particulars.code, reason: visible(&particulars.message) }),
            other => Err(Ended::Foreign(format!("the server greeted with {other:?}"))),
        }
    }

    /// The id that the server gave to this connection.
    pub(crate) fn socket_id(&self) -> SocketId {
        self.socket_id
    }

    /// How long the server may be silent before it is asked whether it is there.
    #[cfg(test)]
    pub(crate) fn activity_timeout(&self) -> Duration {
        self.activity_timeout
    }

    /// Asks for a channel. Private and presence channels are signed here, as an application's backend would; whether
    /// it succeeded is told by an event.
    pub(crate) fn subscribe(
        &mut self,
        key: &str,
        secret: &Secret,
        channel: &str,
        member: Option<&Member>,
    ) -> Result<(), Ended> {
        #[derive(Serialize)]
        struct Subscribe<'a> {
            event: &'static str,
            data: Data<'a>,
        }
        #[derive(Serialize)]
        struct Data<'a> {
            channel: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            auth: Option<String>,
            #[serde(skip_serializing_if = "Option::is_none")]
            channel_data: Option<String>,
        }
        let kind = ChannelKind::of(channel);
        let channel_data = match member.filter(|_| kind.is_presence()) {
            Some(member) => Some(to_json(member)?),
            None => None,
        };
        let auth = kind
            .is_signed()
            .then(|| format!("{key}:{}", secret.sign_channel(self.socket_id, channel, channel_data.as_deref())));
        let message = to_json(&Subscribe { event: "pusher:subscribe", data: Data { channel, auth, channel_data } })?;
        self.queue(Opcode::Text, message.as_bytes())
    }

    /// The next thing that the server says.
    pub(crate) async fn next(&mut self) -> Result<Incident, Ended> {
        loop {
            if let Some(incident) = self.received.pop_front() {
                return Ok(incident);
            }
            let flushed = self.flush().await;
            if let Some(ended) = self.ended.clone() {
                // A server that has said goodbye need not take our answer to it.
                return Err(ended);
            }
            flushed?;
            let patience = if self.has_pinged { PONG_TIMEOUT } else { self.activity_timeout };
            match timeout_at(self.heard + patience, self.read()).await {
                Ok(outcome) => outcome?,
                Err(_) if self.has_pinged => return Err(Ended::Silent),
                Err(_) => {
                    self.has_pinged = true;
                    self.heard = Instant::now();
                    self.queue(Opcode::Text, br#"{"event":"pusher:ping","data":{}}"#)?;
                }
            }
        }
    }

    /// Says goodbye, if the network takes it at once.
    pub(crate) async fn close(mut self) {
        const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);
        let payload = campanile_protocol::websocket::close_payload(Some(1000), "");
        if self.queue(Opcode::Close, &payload).is_ok() {
            // The server sees the end of the stream in any case.
            let _ = timeout(FAREWELL_TIMEOUT, self.flush()).await;
        }
    }

    fn queue(&mut self, opcode: Opcode, payload: &[u8]) -> Result<(), Ended> {
        encode_masked_into(&mut self.outgoing, opcode, payload, random()?);
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), Ended> {
        while !self.outgoing.is_empty() {
            match self.transport.write(&self.outgoing).await {
                Ok(0) => return Err(Ended::lost_for("the connection takes no more bytes")),
                Ok(written) => drop(self.outgoing.drain(..written)),
                Err(error) => return Err(Ended::lost(&error)),
            }
        }
        // Capacity goes, too: thousands of idle connections each keep what they last wrote otherwise.
        self.outgoing = Vec::new();
        self.transport.flush().await.map_err(|error| Ended::lost(&error))
    }

    /// One read, and everything that it completes.
    async fn read(&mut self) -> Result<(), Ended> {
        poll_fn(|context| {
            let mut bytes = [0; READ_BYTES];
            let mut buffer = ReadBuf::new(&mut bytes);
            let outcome = ready!(Pin::new(&mut *self.transport).poll_read(context, &mut buffer));
            Poll::Ready(match outcome {
                Ok(()) if buffer.filled().is_empty() => Err(Ended::Closed { code: None, reason: String::new() }),
                Ok(()) => {
                    self.heard = Instant::now();
                    self.has_pinged = false;
                    self.take(buffer.filled_mut())
                }
                Err(error) => Err(Ended::lost(&error)),
            })
        })
        .await
    }

    fn take(&mut self, bytes: &mut [u8]) -> Result<(), Ended> {
        let mut incoming = std::mem::take(&mut self.incoming);
        let mut failure = None;
        let outcome = incoming.receive(bytes, RULES, |received| match self.accept(received) {
            Ok(()) => ControlFlow::Continue(()),
            Err(ended) => {
                failure = Some(ended);
                ControlFlow::Break(())
            }
        });
        self.incoming = incoming;
        match (failure, outcome) {
            (Some(ended), _) => Err(ended),
            (None, Err(violation)) => Err(Ended::Foreign(format!("the server sent a wrong frame: {violation:?}"))),
            (None, Ok(())) => Ok(()),
        }
    }

    fn accept(&mut self, received: Received<'_>) -> Result<(), Ended> {
        match received {
            Received::Text(message) => {
                let incident = Incident::decode(message)?;
                match incident.event.as_str() {
                    "pusher:ping" => self.queue(Opcode::Text, br#"{"event":"pusher:pong","data":{}}"#)?,
                    "pusher:pong" => {}
                    _ => self.received.push_back(incident),
                }
            }
            Received::Ping(payload) => self.queue(Opcode::Pong, payload)?,
            Received::Pong(_) => {}
            Received::Binary(_) => return Err(Ended::Foreign("the server sent a binary message".to_owned())),
            Received::Close(close) => {
                self.queue(Opcode::Close, &close.reply_payload())?;
                self.ended = Some(Ended::Closed { code: close.code, reason: visible(close.reason) });
            }
        }
        Ok(())
    }
}

fn to_json(value: &impl Serialize) -> Result<String, Ended> {
    serde_json::to_string(value).map_err(|error| Ended::Foreign(error.to_string()))
}

fn random<const N: usize>() -> Result<[u8; N], Ended> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| Ended::lost_for(format!("no random numbers: {error}")))?;
    Ok(bytes)
}

fn upgrade_request(target: &Target, key: &str) -> String {
    format!(
        "GET {}/app/{}?protocol=7&client=campanile&version={} HTTP/1.1\r\n\
         Host: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n",
        target.path_prefix,
        target.key,
        env!("CARGO_PKG_VERSION"),
        target.authority(),
    )
}

/// Reads the answer to the upgrade, and gives what has come of the first frames after it.
async fn read_head(transport: &mut dyn Transport, key: &str) -> Result<Vec<u8>, Ended> {
    /// Every TLS record of the version that an alert is sent in begins with these.
    const TLS_ALERT: &[u8] = &[21, 3];
    let mut head = Vec::with_capacity(512);
    loop {
        if head.len() >= HEAD_BYTES_MAX {
            return Err(Ended::Foreign(format!("the answer's head has more than {HEAD_BYTES_MAX} bytes")));
        }
        let room = (HEAD_BYTES_MAX - head.len()) as u64;
        let count = (&mut *transport).take(room).read_buf(&mut head).await.map_err(|error| Ended::lost(&error))?;
        if count == 0 {
            let reason = "the server hung up before it answered".to_owned();
            return Err(Ended::Lost { reason, obstacle: Some(Obstacle::HungUp) });
        }
        if head.starts_with(TLS_ALERT) {
            let reason = "the server answered in TLS".to_owned();
            return Err(Ended::Lost { reason, obstacle: Some(Obstacle::WantsTls) });
        }
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let status = response
            .parse(&head)
            .map_err(|error| Ended::Foreign(format!("the server does not speak HTTP/1.1: {error}")))?;
        if let httparse::Status::Complete(size) = status {
            let header = |name: &str| {
                let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
                std::str::from_utf8(header.value).ok()
            };
            return match response.code {
                Some(101) if header("Sec-WebSocket-Accept") == Some(accept_key(key).as_str()) => {
                    Ok(head.split_off(size))
                }
                Some(101) => Err(Ended::Foreign("the server answered some other WebSocket's key".to_owned())),
                Some(status) => {
                    let length = header("Content-Length").and_then(|length| length.trim().parse().ok()).unwrap_or(0);
                    let phrase = response.reason.unwrap_or_default().to_owned();
                    let said = read_refusal(transport, head.split_off(size), length).await;
                    Err(Ended::NotUpgraded { status, reason: if said.is_empty() { phrase } else { said } })
                }
                None => Err(Ended::Foreign("the server answered without a status".to_owned())),
            };
        }
    }
}

/// The reason in a refusal's body: what has come of it, and what follows up to its length and the bound.
async fn read_refusal(transport: &mut dyn Transport, mut body: Vec<u8>, length: usize) -> String {
    let length = length.min(REFUSAL_BYTES_MAX);
    while body.len() < length {
        let room = (length - body.len()) as u64;
        match (&mut *transport).take(room).read_buf(&mut body).await {
            // The refusal stands, whether or not all of its reason comes.
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
    }
    body.truncate(REFUSAL_BYTES_MAX);
    let text = String::from_utf8_lossy(&body);
    if text.trim().is_empty() {
        return String::new();
    }
    let message = message(text.trim());
    let first = message.lines().next().unwrap_or_default();
    first.chars().filter(|character| !character.is_control()).take(REASON_CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use campanile_protocol::websocket::{encode, upgrade};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::config;
    use crate::target::Sources;

    const GREETING: &[u8] =
        br#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.2\",\"activity_timeout\":30}"}"#;

    fn target(port: u16) -> Target {
        Target {
            host: "127.0.0.1".to_owned(),
            port,
            tls: false,
            path_prefix: "/ws".to_owned(),
            app_id: "app-id".to_owned(),
            key: "app-key".to_owned(),
            secret: config::Secret::new("app-secret".to_owned()),
            sources: Sources::default(),
        }
    }

    /// The other end: answers one upgrade, sends `frames` in the same packet, and gives what else arrives as text.
    struct Peer {
        stream: TcpStream,
        incoming: Incoming,
        request: String,
    }

    async fn greeted(frames: &[u8]) -> (Result<Connection, Ended>, Peer) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = target(listener.local_addr().unwrap().port());
        tokio::join!(Connection::open(&target, None), Peer::accept(&listener, frames))
    }

    impl Peer {
        async fn accept(listener: &TcpListener, frames: &[u8]) -> Self {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                stream.read_buf(&mut head).await.unwrap();
            }
            let mut headers = [httparse::EMPTY_HEADER; 16];
            let mut request = httparse::Request::new(&mut headers);
            request.parse(&head).unwrap();
            let fields = request.headers.iter().map(|header| (header.name, header.value));
            let accept = upgrade(fields).unwrap();
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                 sec-websocket-accept: {accept}\r\n\r\n"
            );
            stream.write_all(&[answer.as_bytes(), frames].concat()).await.unwrap();
            Self { stream, incoming: Incoming::default(), request: String::from_utf8(head).unwrap() }
        }

        async fn send(&mut self, opcode: Opcode, payload: &[u8]) {
            self.stream.write_all(&encode(opcode, payload)).await.unwrap();
        }

        /// The next frame, read by a server's rules, which refuse what is not masked.
        async fn receive(&mut self) -> String {
            let mut seen = String::new();
            while seen.is_empty() {
                let mut bytes = Vec::with_capacity(4096);
                assert_ne!(self.stream.read_buf(&mut bytes).await.unwrap(), 0, "the client hung up");
                let rules = Rules { role: Role::Server, message_max: 4096 };
                let mut sink = |received: Received<'_>| {
                    seen.push_str(&match received {
                        Received::Text(text) => text.to_owned(),
                        other => format!("{other:?}"),
                    });
                    ControlFlow::Continue(())
                };
                self.incoming.receive(&mut bytes, rules, &mut sink).unwrap();
            }
            seen
        }
    }

    #[tokio::test]
    async fn a_greeting_in_the_packet_of_the_upgrade_opens_the_connection() {
        let (connection, peer) = greeted(&encode(Opcode::Text, GREETING)).await;
        let connection = connection.unwrap();
        assert_eq!(connection.socket_id().to_string(), "1.2");
        assert_eq!(connection.activity_timeout(), Duration::from_secs(30));
        assert!(peer.request.starts_with("GET /ws/app/app-key?protocol=7&"), "{}", peer.request);
    }

    #[tokio::test]
    async fn what_the_client_sends_is_masked_and_signed() {
        let (connection, mut peer) = greeted(&encode(Opcode::Text, GREETING)).await;
        let mut connection = connection.unwrap();
        let secret = Secret::new("app-secret");
        connection.subscribe("app-key", &secret, "private-a", None).unwrap();
        let asked = async {
            tokio::select! {
                said = peer.receive() => said,
                heard = connection.next() => panic!("{heard:?}"),
            }
        };
        let signature = secret.sign_channel(SocketId { place: 1, secret: 2 }, "private-a", None);
        assert_eq!(
            asked.await,
            format!(r#"{{"event":"pusher:subscribe","data":{{"channel":"private-a","auth":"app-key:{signature}"}}}}"#)
        );
    }

    #[tokio::test]
    async fn a_member_describes_itself_in_what_it_signs() {
        let (connection, mut peer) = greeted(&encode(Opcode::Text, GREETING)).await;
        let mut connection = connection.unwrap();
        let info = RawValue::from_string(r#"{"name":"Ann"}"#.to_owned()).unwrap();
        let member = Member { user_id: "7".to_owned(), user_info: Some(info) };
        let secret = Secret::new("app-secret");
        connection.subscribe("app-key", &secret, "presence-a", Some(&member)).unwrap();
        connection.flush().await.unwrap();
        let channel_data = r#"{"user_id":"7","user_info":{"name":"Ann"}}"#;
        let signature = secret.sign_channel(connection.socket_id(), "presence-a", Some(channel_data));
        let asked = peer.receive().await;
        assert!(asked.contains(&signature), "{asked}");
        assert!(asked.contains(&serde_json::to_string(channel_data).unwrap()), "{asked}");
    }

    #[tokio::test]
    async fn pings_of_both_kinds_are_answered_and_never_shown() {
        let (connection, mut peer) = greeted(&encode(Opcode::Text, GREETING)).await;
        let mut connection = connection.unwrap();
        let both = [encode(Opcode::Ping, b"42"), encode(Opcode::Text, br#"{"event":"pusher:ping","data":{}}"#)];
        peer.stream.write_all(&both.concat()).await.unwrap();
        peer.send(Opcode::Text, br#"{"event":"e","channel":"a","data":"{\"id\":7}"}"#).await;
        let shown = connection.next().await.unwrap();
        assert_eq!(
            (shown.event.as_str(), shown.channel.as_deref(), shown.data.as_str()),
            ("e", Some("a"), r#"{"id":7}"#)
        );
        connection.flush().await.unwrap();
        let mut answers = String::new();
        while !answers.contains("pong\"") {
            answers.push_str(&peer.receive().await);
        }
        assert_eq!(answers, r#"Pong([52, 50]){"event":"pusher:pong","data":{}}"#);
    }

    #[tokio::test]
    async fn a_close_is_told_with_its_code_after_everything_that_came_before() {
        let (connection, mut peer) = greeted(&encode(Opcode::Text, GREETING)).await;
        let mut connection = connection.unwrap();
        peer.send(Opcode::Text, br#"{"event":"last"}"#).await;
        peer.stream.write_all(&campanile_protocol::websocket::close(4200, "moving")).await.unwrap();
        assert_eq!(connection.next().await.unwrap().event, "last");
        let ended = connection.next().await.unwrap_err();
        assert_eq!(ended.code(), Some(4200));
        assert_eq!(ended.to_string(), "closed by the server with code 4200: moving");
    }

    #[tokio::test]
    async fn a_refusal_instead_of_a_greeting_keeps_its_code() {
        let refusal = br#"{"event":"pusher:error","data":{"code":4001,"message":"no such app"}}"#;
        let (connection, _peer) = greeted(&encode(Opcode::Text, refusal)).await;
        let ended = connection.err().unwrap();
        assert_eq!(ended, Ended::Closed { code: Some(4001), reason: "no such app".to_owned() });
    }

    #[tokio::test]
    async fn a_wrong_frame_or_no_event_ends_the_connection() {
        for (frame, told) in [
            (&b"\x81\x80abcd"[..], "wrong frame"),
            (&encode(Opcode::Text, b"[1]")[..], "no event"),
            (&encode(Opcode::Binary, b"x")[..], "binary"),
        ] {
            let (connection, mut peer) = greeted(&encode(Opcode::Text, GREETING)).await;
            let mut connection = connection.unwrap();
            peer.stream.write_all(frame).await.unwrap();
            let ended = connection.next().await.unwrap_err();
            assert!(matches!(&ended, Ended::Foreign(text) if text.contains(told)), "{ended:?}");
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_no_upgrade_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = target(listener.local_addr().unwrap().port());
        let answer = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::with_capacity(4096);
            stream.read_buf(&mut request).await.unwrap();
            stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            stream
        };
        let (connection, _stream) = tokio::join!(Connection::open(&target, None), answer);
        assert_eq!(connection.err().unwrap().to_string(), "the server refused the WebSocket with HTTP 404: Not Found");
    }

    /// What a client makes of a server that answers its first bytes with these, and hangs up.
    async fn answered(answer: &[u8]) -> Ended {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = target(listener.local_addr().unwrap().port());
        let answer = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.read_buf(&mut Vec::with_capacity(4096)).await.unwrap();
            stream.write_all(answer).await.unwrap();
        };
        tokio::join!(Connection::open(&target, None), answer).0.err().unwrap()
    }

    #[tokio::test]
    async fn a_port_of_another_kind_is_told_by_what_it_answers() {
        let page = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 58\r\n\r\nClient sent an HTTP request to an HTTPS server.\nand so on.";
        for (answer, obstacle, told) in [
            (&page[..], Obstacle::WantsTls, "HTTP 400: Client sent an HTTP request to an HTTPS server."),
            (b"\x15\x03\x01\x00\x02\x02\x46", Obstacle::WantsTls, "answered in TLS"),
            (b"", Obstacle::HungUp, "hung up before it answered"),
            (b"SSH-2.0-OpenSSH_9.2\r\n", Obstacle::NotPusher, "does not speak HTTP/1.1"),
            (b"HTTP/1.1 200 OK\r\n\r\n<html>", Obstacle::NotPusher, "HTTP 200: with a page"),
        ] {
            let ended = answered(answer).await;
            assert_eq!(ended.obstacle(), Some(obstacle), "{ended}");
            assert!(ended.to_string().contains(told), "{ended}");
        }
    }

    #[tokio::test]
    async fn a_long_reason_is_cut_at_the_bound() {
        for (length, shown) in
            [(REASON_CHARACTERS_MAX, REASON_CHARACTERS_MAX), (REASON_CHARACTERS_MAX + 1, REASON_CHARACTERS_MAX)]
        {
            let answer = format!("HTTP/1.1 400 No\r\ncontent-length: {length}\r\n\r\n{}", "x".repeat(length));
            let Ended::NotUpgraded { status: 400, reason } = answered(answer.as_bytes()).await else {
                panic!("an upgrade");
            };
            assert_eq!(reason.len(), shown);
        }
        let endless =
            [b"HTTP/1.1 400 No\r\ncontent-length: 999999\r\n\r\n", " ".repeat(REFUSAL_BYTES_MAX).as_bytes(), b"x"]
                .concat();
        assert_eq!(answered(&endless).await, Ended::NotUpgraded { status: 400, reason: "No".to_owned() });
    }
}
