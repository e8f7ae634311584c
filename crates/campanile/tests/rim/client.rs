//! The smallest clients that can tell right from wrong: a WebSocket by hand, HTTP as text, TLS that trusts one
//! certificate.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::stage::{KEY, SOON};

pub(crate) type Certificate = CertificateDer<'static>;

/// Speaks TLS and trusts this certificate alone.
pub(crate) fn trusting(certificate: &Certificate, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    config.with_root_certificates(roots).with_no_client_auth()
}

/// Shakes hands over `stream`.
pub(crate) async fn encrypt(stream: TcpStream, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("127.0.0.1").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// What a WebSocket received.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Text(String),
    Pong(Vec<u8>),
    Close(u16),
}

/// A WebSocket client.
pub(crate) struct Browser<S> {
    pub(crate) stream: S,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Browser<S> {
    /// Upgrades, and reads `connection_established`.
    pub(crate) async fn open(stream: S) -> Self {
        Self::open_with(KEY, stream).await
    }

    /// The same with another key.
    pub(crate) async fn open_with(key: &str, stream: S) -> Self {
        let (mut browser, head) = Self::upgrade(key, stream, "").await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        let first = browser.text().await;
        assert!(first.contains("pusher:connection_established"), "{first}");
        browser
    }

    /// Upgrades, with further headers, and returns the answer's head.
    pub(crate) async fn upgrade(key: &str, mut stream: S, headers: &str) -> (Self, String) {
        stream.write_all(upgrade(key, headers).as_bytes()).await.unwrap();
        let head = head(&mut stream).await;
        (Self { stream }, head)
    }

    /// The code of the close frame, whatever is said before it.
    pub(crate) async fn close_code(&mut self) -> u16 {
        loop {
            if let Frame::Close(code) = self.frame().await {
                return code;
            }
        }
    }

    pub(crate) async fn send(&mut self, opcode: u8, payload: &[u8]) {
        self.stream.write_all(&masked(opcode, payload)).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    pub(crate) async fn subscribe(&mut self, channel: &str) {
        self.send(1, format!(r#"{{"event":"pusher:subscribe","data":{{"channel":"{channel}"}}}}"#).as_bytes()).await;
        let answer = self.text().await;
        assert!(answer.contains("pusher_internal:subscription_succeeded"), "{answer}");
    }

    /// Asks for a sign of life, and gets it.
    pub(crate) async fn is_alive(&mut self) -> bool {
        self.send(9, b"still there?").await;
        self.frame().await == Frame::Pong(b"still there?".to_vec())
    }

    pub(crate) async fn frame(&mut self) -> Frame {
        within(async {
            let opcode = self.stream.read_u8().await.unwrap();
            let length = match self.stream.read_u8().await.unwrap() {
                126 => u64::from(self.stream.read_u16().await.unwrap()),
                127 => self.stream.read_u64().await.unwrap(),
                short => u64::from(short),
            };
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            self.stream.read_exact(&mut payload).await.unwrap();
            match opcode {
                0x81 => Frame::Text(String::from_utf8(payload).unwrap()),
                0x8a => Frame::Pong(payload),
                0x88 => Frame::Close(u16::from_be_bytes([payload[0], payload[1]])),
                other => panic!("opcode {other:x}"),
            }
        })
        .await
    }

    pub(crate) async fn text(&mut self) -> String {
        match self.frame().await {
            Frame::Text(text) => text,
            other => panic!("{other:?} instead of text"),
        }
    }
}

/// The request for a WebSocket.
pub(crate) fn upgrade(key: &str, headers: &str) -> String {
    format!(
        "GET /app/{key}?protocol=7 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
    )
}

/// A client's frame. A mask of zeros is a mask.
pub(crate) fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match u16::try_from(payload.len()).unwrap() {
        short @ 0..=125 => frame.push(0x80 | u8::try_from(short).unwrap()),
        long => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&long.to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(payload);
    frame
}

/// Sends a request as it stands and reads to the end of the stream.
pub(crate) async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    rest(stream).await
}

/// Reads to the end of the stream, which must be a clean one.
pub(crate) async fn rest(mut stream: impl AsyncRead + Unpin) -> String {
    let mut all = Vec::new();
    within(stream.read_to_end(&mut all)).await.unwrap();
    String::from_utf8_lossy(&all).into_owned()
}

/// Reads up to the end of one answer's head.
pub(crate) async fn head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(within(stream.read_u8()).await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// Reads one answer with a `content-length`, and leaves the connection open.
pub(crate) async fn answer(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let head = head(stream).await;
    let length =
        head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    within(stream.read_exact(&mut body)).await.unwrap();
    head + std::str::from_utf8(&body).unwrap()
}

/// Waits, but not for ever.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future).await.expect("an answer in time")
}
