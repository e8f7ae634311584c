//! A push service and browsers of the tests' own: real sockets, and another implementation of the cryptography.

use std::time::UNIX_EPOCH;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::beyond::sealed::tests::Browser;
use crate::beyond::vapid::tests::claims;

/// A request as it came.
#[derive(Debug)]
pub(crate) struct Received {
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let line = self.head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}: ")))?;
        Some(&line[name.len() + 2..])
    }
}

/// A push service that takes one request and gives this answer; no answer at all if it is empty.
async fn service(answer: &'static str) -> (String, JoinHandle<Received>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/push/JzLQ3raZ", listener.local_addr().unwrap());
    let took = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        take(stream, answer).await
    });
    (endpoint, took)
}

/// A push service with a certificate of its own: its endpoint, what believes it, and what it is sent. Each request gets the
/// next answer.
pub(crate) async fn secure_service(answers: &'static [&'static str]) -> (String, Vec<u8>, UnboundedReceiver<Received>) {
    crypto::install_provider();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://localhost:{}/push/JzLQ3raZ", listener.local_addr().unwrap().port());
    let identity = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let roots = identity.cert.pem().into_bytes();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(identity.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![identity.cert.der().clone()], key.into()).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (tell, told) = unbounded_channel();
    tokio::spawn(async move {
        for answer in answers {
            let (stream, _) = listener.accept().await.unwrap();
            let received = take(acceptor.accept(stream).await.unwrap(), answer).await;
            let _ = tell.send(received);
        }
    });
    (endpoint, roots, told)
}

async fn take<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, answer: &str) -> Received {
    let mut bytes = Vec::new();
    let (head, end) = loop {
        stream.read_buf(&mut bytes).await.unwrap();
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break (String::from_utf8(bytes[..at].to_vec()).unwrap(), at + 4);
        }
    };
    let mut received = Received { head, body: Vec::new() };
    let length: usize = received.header("content-length").unwrap().parse().unwrap();
    while bytes.len() < end + length {
        stream.read_buf(&mut bytes).await.unwrap();
    }
    received.body = bytes[end..end + length].to_vec();
    stream.write_all(answer.as_bytes()).await.unwrap();
    if answer.is_empty() {
        // Until whoever waits has gone.
        let _ = stream.read_buf(&mut bytes).await;
    }
    let _ = stream.shutdown().await;
    received
}

fn web_push(reach: Reach) -> (WebPush, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let vapid = Arc::new(Vapid::keep_in(directory.path()).unwrap());
    let settings = Settings {
        contact: "mailto:ops@example.com".to_owned(),
        reach,
        urgency: Urgency::High,
        roots: None,
        timeout: Duration::from_secs(2),
    };
    (WebPush::new(vapid, settings).unwrap(), directory)
}

const PUSH: Push<'_> = Push { text: br#"{"title":"Hello"}"#, ttl: Duration::from_secs(3600), topic: "a-topic" };

/// In 2023.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

async fn push_to(answer: &'static str) -> Pushed {
    let (web_push, _directory) = web_push(Reach::Private);
    let (endpoint, took) = service(answer).await;
    let browser = Browser::new(5);
    let keys = BrowserKeys::parse(&browser.p256dh(), &browser.auth()).unwrap();
    let pushed = web_push.push(&endpoint, &keys, PUSH, now()).await;
    took.await.unwrap();
    pushed
}

#[tokio::test]
async fn a_push_service_hears_who_we_are_and_only_the_browser_what_we_say() {
    let (web_push, _directory) = web_push(Reach::Private);
    let (endpoint, took) = service("HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n").await;
    let browser = Browser::new(5);
    let keys = BrowserKeys::parse(&browser.p256dh(), &browser.auth()).unwrap();
    let pushed = web_push.push(&endpoint, &keys, PUSH, now()).await;
    assert_eq!(pushed, Pushed::Attempt(Attempt::Sent));
    let request = took.await.unwrap();
    assert!(request.head.starts_with("POST /push/JzLQ3raZ HTTP/1.1\r\n"), "{}", request.head);
    for (name, value) in [
        ("content-encoding", "aes128gcm"),
        ("content-type", "application/octet-stream"),
        ("ttl", "3600"),
        ("urgency", "high"),
        ("topic", "a-topic"),
    ] {
        assert_eq!(request.header(name), Some(value), "{name}");
    }
    let authorization = request.header("authorization").unwrap();
    assert!(authorization.ends_with(web_push.public_key()));
    let origin = endpoint.trim_end_matches("/push/JzLQ3raZ");
    let expected = serde_json::json!({"aud": origin, "exp": 1_700_043_200, "sub": "mailto:ops@example.com"});
    assert_eq!(claims(authorization), expected);
    assert_eq!(browser.open(&request.body).unwrap(), PUSH.text);
}

#[tokio::test]
async fn a_subscription_that_the_service_does_not_know_any_more_is_gone() {
    for answer in
        ["HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"]
    {
        assert!(matches!(push_to(answer).await, Pushed::Gone { .. }), "{answer}");
    }
}

#[tokio::test]
async fn a_service_that_is_busy_is_asked_again_when_it_says() {
    for (answer, secs) in [
        ("HTTP/1.1 429 Too Many Requests\r\nretry-after: 77\r\ncontent-length: 0\r\n\r\n", Some(77)),
        // 1,700,000,000 is 22:13:20 of that day.
        ("HTTP/1.1 503 No\r\nretry-after: Tue, 14 Nov 2023 22:14:20 GMT\r\ncontent-length: 0\r\n\r\n", Some(60)),
        ("HTTP/1.1 503 No\r\nretry-after: Tue, 14 Nov 2023 22:00:00 GMT\r\ncontent-length: 0\r\n\r\n", Some(0)),
        ("HTTP/1.1 500 No\r\nretry-after: soon\r\ncontent-length: 0\r\n\r\n", None),
    ] {
        let Pushed::Attempt(Attempt::Again { after, .. }) = push_to(answer).await else { panic!("{answer}") };
        assert_eq!(after, secs.map(Duration::from_secs), "{answer}");
    }
}

#[tokio::test]
async fn what_the_service_refuses_for_good_is_not_tried_again_and_its_words_are_told() {
    let pushed = push_to("HTTP/1.1 403 Forbidden\r\ncontent-length: 13\r\n\r\nwrong\nVAPID!!").await;
    let reason = "the push service answered 403: wrong VAPID!!".to_owned();
    assert_eq!(pushed, Pushed::Attempt(Attempt::Failed { reason }));
    let moved = push_to("HTTP/1.1 301 Moved\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n").await;
    assert!(matches!(moved, Pushed::Attempt(Attempt::Failed { .. })), "{moved:?}");
}

#[tokio::test]
async fn nobody_knows_what_became_of_a_push_that_was_not_answered() {
    let pushed = push_to("").await;
    let reason = "the push service has not answered within 2 s".to_owned();
    assert_eq!(pushed, Pushed::Attempt(Attempt::Unknown { reason }));
}

#[tokio::test]
async fn a_service_that_is_not_there_has_certainly_not_taken_it() {
    let (web_push, _directory) = web_push(Reach::Private);
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let browser = Browser::new(5);
    let keys = BrowserKeys::parse(&browser.p256dh(), &browser.auth()).unwrap();
    let pushed = web_push.push(&format!("http://{closed}/"), &keys, PUSH, now()).await;
    let Pushed::Attempt(Attempt::Again { reason, after: None }) = pushed else { panic!("{pushed:?}") };
    assert!(reason.starts_with("cannot reach the push service"), "{reason}");
}

#[tokio::test]
async fn a_name_that_leads_to_this_machine_is_not_connected_to() {
    let (web_push, _directory) = web_push(Reach::Public);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let browser = Browser::new(5);
    let keys = BrowserKeys::parse(&browser.p256dh(), &browser.auth()).unwrap();
    let pushed = web_push.push(&format!("https://localhost:{port}/"), &keys, PUSH, now()).await;
    let Pushed::Attempt(Attempt::Again { reason, .. }) = pushed else { panic!("{pushed:?}") };
    assert!(reason.contains("no address of the internet"), "{reason}");
    let nobody = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(nobody.is_err());
}

#[tokio::test]
async fn an_address_that_is_not_allowed_any_more_and_keys_that_are_none_are_gone() {
    let (web_push, _directory) = web_push(Reach::Public);
    let browser = Browser::new(5);
    let keys = BrowserKeys::parse(&browser.p256dh(), &browser.auth()).unwrap();
    let Pushed::Gone { reason } = web_push.push("https://10.0.0.1/", &keys, PUSH, now()).await else { panic!() };
    assert_eq!(reason, "the endpoint leads to 10.0.0.1, which is no address of the internet");
}
