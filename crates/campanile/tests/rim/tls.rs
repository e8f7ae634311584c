//! TLS on the server's own port.

use std::time::{Duration, Instant};

use rustls::version::{TLS12, TLS13};
use rustls::{ALL_VERSIONS, ClientConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::client::{Browser, Certificate, Frame, ask, encrypt, masked, rest, trusting, within};
use crate::stage::{Place, Stage, http, publish};

const TLS: &str = "[tls]\ncert_file = 'DIR/cert.pem'\nkey_file = 'DIR/key.pem'\n";

fn open(settings: &str) -> (Stage, Certificate) {
    let place = Place::new(&format!("{TLS}{settings}"));
    let certificate = place.renew_certificate();
    (Stage::at(place), certificate)
}

async fn secure(stage: &Stage, certificate: &Certificate) -> TlsStream<TcpStream> {
    encrypt(stage.tcp().await, trusting(certificate, ALL_VERSIONS)).await.unwrap()
}

fn https(config: ClientConfig) -> reqwest::Client {
    http().tls_backend_preconfigured(config).build().unwrap()
}

fn shown(stream: &TlsStream<TcpStream>) -> &[u8] {
    &stream.get_ref().1.peer_certificates().unwrap()[0]
}

#[tokio::test]
async fn a_client_hears_over_tls_what_is_published_over_tls() {
    let (stage, certificate) = open("");
    let origin = format!("https://{}", stage.address());
    for (version, alpn) in [(&TLS12, "http/1.1"), (&TLS13, "http/1.1"), (&TLS12, "h2"), (&TLS13, "h2")] {
        let stream = encrypt(stage.tcp().await, trusting(&certificate, &[version])).await.unwrap();
        assert_eq!(stream.get_ref().1.protocol_version(), Some(version.version));
        let mut browser = Browser::open(stream).await;
        browser.subscribe("news").await;

        let mut config = trusting(&certificate, &[version]);
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        let answer = publish(&https(config), &origin, "news", alpn).await;
        let expected = if alpn == "h2" { reqwest::Version::HTTP_2 } else { reqwest::Version::HTTP_11 };
        assert_eq!(answer.version(), expected);
        let heard = browser.text().await;
        assert!(heard.contains(alpn) && heard.contains("told"), "{heard}");
    }
    stage.close().await;
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections_and_old_ones_live_on() {
    let (stage, first) = open("");
    let stream = secure(&stage, &first).await;
    assert_eq!(shown(&stream), &first[..]);
    let mut old = Browser::open(stream).await;

    let second = stage.place.renew_certificate();
    stage.reload().await.unwrap();
    let stream = secure(&stage, &second).await;
    assert_eq!(shown(&stream), &second[..]);
    assert!(Browser::open(stream).await.is_alive().await);
    assert!(old.is_alive().await);

    // A file that is wrong changes nothing.
    std::fs::write(stage.place.path("cert.pem"), "not a certificate").unwrap();
    stage.reload().await.unwrap_err();
    assert_eq!(shown(&secure(&stage, &second).await), &second[..]);
    assert!(old.is_alive().await);
    stage.close().await;
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_stops_the_start() {
    let place = Place::new(TLS);
    place.renew_certificate();
    let other = Place::new(TLS);
    other.renew_certificate();
    std::fs::copy(other.path("key.pem"), place.path("key.pem")).unwrap();
    let error = place.start().map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("[tls]") && error.contains("is not the key of the certificate"), "{error}");
    assert!(error.contains("key.pem") && error.contains("cert.pem"), "{error}");
    // Nothing of that start is left behind.
    place.renew_certificate();
    Stage::at(place).close().await;
}

#[tokio::test]
async fn plain_http_is_told_to_speak_tls() {
    let (stage, certificate) = open("");
    let answer = ask(stage.tcp().await, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
    assert!(answer.ends_with("this port speaks TLS: use https or wss"), "{answer}");
    assert!(Browser::open(secure(&stage, &certificate).await).await.is_alive().await);
    stage.close().await;
}

#[tokio::test]
async fn garbage_ends_its_own_connection_and_no_other() {
    let (stage, certificate) = open("");
    let mut browser = Browser::open(secure(&stage, &certificate).await).await;
    for garbage in [&b"\0\0\0\0\0\0\0\0"[..], b"\x16\x03\x01\xff\xff\0\0\0\0\0\0", &[0xff; 20_000]] {
        let mut stream = stage.tcp().await;
        // Too long for the server to care, it may have closed before the end.
        let _ = stream.write_all(garbage).await;
        let mut answer = Vec::new();
        // An alert, or a reset; the end in any case.
        let _ = within(stream.read_to_end(&mut answer)).await;
    }
    assert!(browser.is_alive().await);
    stage.close().await;
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_closed() {
    let (stage, _) = open("[limits]\nhead_timeout_secs = 1\n");
    let before = Instant::now();
    let (silent, mut halfway) = (stage.tcp().await, stage.tcp().await);
    halfway.write_all(b"\x16\x03\x01").await.unwrap();
    assert_eq!(rest(silent).await, "");
    assert_eq!(rest(halfway).await, "");
    assert!((Duration::from_secs(1)..Duration::from_secs(5)).contains(&before.elapsed()), "{:?}", before.elapsed());
    stage.close().await;
}

#[tokio::test]
async fn a_closed_connection_ends_with_tls_own_goodbye() {
    let (stage, certificate) = open("");
    let mut browser = Browser::open(secure(&stage, &certificate).await).await;
    browser.send(8, &1000_u16.to_be_bytes()).await;
    assert_eq!(browser.frame().await, Frame::Close(1000));
    // A stream that ends without close_notify is an error to this client.
    assert_eq!(rest(browser.stream).await, "");
    // The same for whoever is refused before there is a WebSocket, and for the API.
    for request in ["GET /app/x HTTP/1.1\r\nHost: x\r\n\r\n", "GET /live HTTP/1.0\r\n\r\n"] {
        let answer = ask(secure(&stage, &certificate).await, request).await;
        assert!(answer.starts_with("HTTP/1."), "{answer}");
    }
    stage.close().await;
}

#[tokio::test]
async fn many_frames_in_one_write_are_all_answered() {
    const PINGS: usize = 3000;
    let (stage, certificate) = open("");
    let mut browser = Browser::open(secure(&stage, &certificate).await).await;
    // Several times what the server reads at once, in as few records as TLS allows.
    let pings: Vec<u8> = (0..PINGS).flat_map(|number| masked(9, format!("{number:0>100}").as_bytes())).collect();
    assert!(pings.len() > 4 * 64 * 1024);
    let (reader, mut writer) = tokio::io::split(browser.stream);
    let writing = tokio::spawn(async move { writer.write_all(&pings).await.map(|()| writer) });
    let mut reading = Browser { stream: tokio::io::join(reader, tokio::io::sink()) };
    for number in 0..PINGS {
        assert_eq!(reading.frame().await, Frame::Pong(format!("{number:0>100}").into_bytes()));
    }
    let writer = writing.await.unwrap().unwrap();
    browser = Browser { stream: reading.stream.into_inner().0.unsplit(writer) };
    assert!(browser.is_alive().await);
    stage.close().await;
}

#[tokio::test]
async fn an_event_larger_than_all_buffers_arrives_whole() {
    let (stage, certificate) = open("");
    let mut browser = Browser::open(secure(&stage, &certificate).await).await;
    browser.subscribe("large").await;
    let http = https(trusting(&certificate, ALL_VERSIONS));
    let origin = format!("https://{}", stage.address());
    let data = "x".repeat(1024 * 1024);
    for _ in 0..3 {
        publish(&http, &origin, "large", &data).await;
        let heard = browser.text().await;
        assert!(heard.contains(&data), "{} bytes", heard.len());
    }
    stage.close().await;
}

#[tokio::test]
async fn a_reader_that_is_too_slow_is_closed_with_4100() {
    let (stage, certificate) = open("[limits]\nclosing_timeout_secs = 15\n");
    let mut browser = Browser::open(secure(&stage, &certificate).await).await;
    browser.subscribe("fast").await;
    let http = https(trusting(&certificate, ALL_VERSIONS));
    let origin = format!("https://{}", stage.address());
    let data = "x".repeat(1024 * 1024);
    // More than the send queue and the kernel's buffers on both sides hold together.
    for _ in 0..24 {
        publish(&http, &origin, "fast", &data).await;
    }
    let mut whole = 0;
    loop {
        match browser.frame().await {
            Frame::Text(text) => {
                assert!(text.contains(&data));
                whole += 1;
            }
            Frame::Close(code) => {
                assert_eq!(code, 4100);
                break;
            }
            Frame::Pong(_) => unreachable!("nobody asked"),
        }
    }
    assert!(whole < 24, "{whole}");
    drop(browser);
    stage.close().await;
}
