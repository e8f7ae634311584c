//! A browser: the smallest client that hears what a channel is told.

use std::net::SocketAddr;

use campanile_protocol::{Secret, SocketId};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::stage::{KEY, SECRET, within};

/// One connection.
pub(crate) struct Browser {
    stream: TcpStream,
    pub(crate) socket_id: SocketId,
}

impl Browser {
    /// Upgrades, and reads `connection_established`.
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let head = format!(
            "GET /app/{KEY}?protocol=7 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(within(stream.read_u8()).await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        let mut browser = Self { stream, socket_id: SocketId::parse("1.1").unwrap() };
        let established = in_string(&browser.frame().await["data"]);
        browser.socket_id = SocketId::parse(established["socket_id"].as_str().unwrap()).unwrap();
        browser
    }

    /// Subscribes, with the application's signature where the channel needs one.
    pub(crate) async fn subscribe(&mut self, channel: &str) {
        let mut data = json!({ "channel": channel });
        if channel.starts_with("private-") {
            let signature = Secret::new(SECRET).sign_channel(self.socket_id, channel, None);
            data["auth"] = format!("{KEY}:{signature}").into();
        }
        self.send(&json!({ "event": "pusher:subscribe", "data": data })).await;
        let answer = self.frame().await;
        assert_eq!(answer["event"], "pusher_internal:subscription_succeeded", "{answer}");
    }

    /// The next frame: an event, with its data as text.
    pub(crate) async fn frame(&mut self) -> Value {
        within(async {
            let first = self.stream.read_u8().await.unwrap();
            let length = match self.stream.read_u8().await.unwrap() {
                126 => u64::from(self.stream.read_u16().await.unwrap()),
                127 => self.stream.read_u64().await.unwrap(),
                short => u64::from(short),
            };
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            self.stream.read_exact(&mut payload).await.unwrap();
            assert_eq!(first, 0x81, "a text was expected: {}", String::from_utf8_lossy(&payload));
            serde_json::from_slice(&payload).unwrap()
        })
        .await
    }

    /// The number in the next event, which must be [`Said`](crate::stage::Said).
    pub(crate) async fn number(&mut self) -> u64 {
        let frame = self.frame().await;
        assert_eq!(frame["event"], "said", "{frame}");
        in_string(&frame["data"])["number"].as_u64().unwrap()
    }

    /// Asserts that everything has been heard: what was sent before the question would come before its answer.
    pub(crate) async fn heard_all(&mut self) {
        self.send(&json!({ "event": "pusher:ping", "data": {} })).await;
        let answer = self.frame().await;
        assert_eq!(answer["event"], "pusher:pong", "{answer}");
    }

    async fn send(&mut self, event: &Value) {
        let payload = event.to_string();
        let mut frame = vec![0x81];
        match u16::try_from(payload.len()).unwrap() {
            short @ 0..=125 => frame.push(0x80 | u8::try_from(short).unwrap()),
            long => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&long.to_be_bytes());
            }
        }
        // A mask of zeros is a mask.
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(payload.as_bytes());
        self.stream.write_all(&frame).await.unwrap();
    }
}

/// The JSON in a string of JSON.
pub(crate) fn in_string(data: &Value) -> Value {
    serde_json::from_str(data.as_str().expect("data is a string")).unwrap()
}
