//! A WebSocket on a connection that has carried requests before: proxies keep connections and use them for either.

use rustls::ALL_VERSIONS;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::client::{Browser, Frame, answer, ask, encrypt, head, masked, trusting, upgrade, within};
use crate::stage::{KEY, Place, Stage, event, signed};

const LIVE: &str = "GET /live HTTP/1.1\r\nHost: x\r\n\r\n";

/// Asks something of the API and keeps the connection.
async fn used<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) -> S {
    stream.write_all(LIVE.as_bytes()).await.unwrap();
    let live = answer(&mut stream).await;
    assert!(live.starts_with("HTTP/1.1 200 ") && live.ends_with("live\n"), "{live}");
    stream
}

async fn connections(stage: &Stage) -> String {
    let path = signed("GET", "/apps/rim/connections", "");
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    ask(stage.tcp().await, &request).await.rsplit("\r\n\r\n").next().unwrap().to_owned()
}

/// Publishes on a plain connection of its own.
async fn publish(stream: impl AsyncRead + AsyncWrite + Unpin, channel: &str, data: &str) {
    let body = event(channel, data);
    let path = signed("POST", "/apps/rim/events", &body);
    let length = body.len();
    let request =
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
    let told = ask(stream, &request).await;
    assert!(told.starts_with("HTTP/1.1 200 "), "{told}");
}

#[tokio::test]
async fn a_kept_connection_becomes_a_websocket_that_subscribes_and_hears() {
    let stage = Stage::open("");
    let mut browser = Browser::open(used(used(stage.tcp().await).await).await).await;
    browser.subscribe("news").await;
    publish(stage.tcp().await, "news", "on a used connection").await;
    assert!(browser.text().await.contains("on a used connection"));
    assert!(browser.is_alive().await);
    browser.send(8, &1000_u16.to_be_bytes()).await;
    assert_eq!(browser.frame().await, Frame::Close(1000));
    stage.close().await;
}

#[tokio::test]
async fn the_same_over_tls() {
    let place = Place::new("[tls]\ncert_file = 'DIR/cert.pem'\nkey_file = 'DIR/key.pem'\n");
    let certificate = place.renew_certificate();
    let stage = Stage::at(place);
    let secure = async || encrypt(stage.tcp().await, trusting(&certificate, ALL_VERSIONS)).await.unwrap();
    let mut browser = Browser::open(used(secure().await).await).await;
    browser.subscribe("news").await;
    publish(secure().await, "news", "on a used connection").await;
    assert!(browser.text().await.contains("on a used connection"));

    // More than the head's reader takes at once, in the same records as the head: what TLS has decrypted is not lost.
    const PINGS: usize = 500;
    let mut stream = used(secure().await).await;
    let mut all = upgrade(KEY, "").into_bytes();
    for number in 0..PINGS {
        all.extend(masked(9, format!("{number:0>100}").as_bytes()));
    }
    stream.write_all(&all).await.unwrap();
    assert!(head(&mut stream).await.starts_with("HTTP/1.1 101 "));
    let mut browser = Browser { stream };
    let mut pongs = 0;
    while pongs < PINGS {
        match browser.frame().await {
            Frame::Pong(payload) => {
                assert_eq!(payload, format!("{pongs:0>100}").into_bytes());
                pongs += 1;
            }
            Frame::Text(text) => assert!(text.contains("connection_established"), "{text}"),
            other => panic!("{other:?}"),
        }
    }
    assert!(browser.is_alive().await);
    drop(browser);
    stage.close().await;
}

#[tokio::test]
async fn the_same_at_the_unix_socket_whichever_worker_has_it() {
    let stage = Stage::open("workers = 3\n[listen]\nunix_socket = 'DIR/campanile.sock'\n");
    let path = stage.place.path("campanile.sock");
    let mut browsers = Vec::new();
    for _ in 0..4 {
        let mut browser = Browser::open(used(UnixStream::connect(&path).await.unwrap()).await).await;
        browser.subscribe("news").await;
        browsers.push(browser);
    }
    publish(UnixStream::connect(&path).await.unwrap(), "news", "on a used connection").await;
    for browser in &mut browsers {
        assert!(browser.text().await.contains("on a used connection"));
    }
    stage.close().await;
}

#[tokio::test]
async fn frames_in_the_packet_of_the_upgrade_and_requests_before_it_are_all_answered() {
    let stage = Stage::open("");
    let mut stream = stage.tcp().await;
    let subscribe = masked(1, br#"{"event":"pusher:subscribe","data":{"channel":"early"}}"#);
    let half = masked(9, b"in two halves");
    let packet = [LIVE.as_bytes(), LIVE.as_bytes(), upgrade(KEY, "").as_bytes(), &subscribe, &half[..5]].concat();
    stream.write_all(&packet).await.unwrap();
    for _ in 0..2 {
        assert!(answer(&mut stream).await.ends_with("live\n"));
    }
    let switched = head(&mut stream).await;
    assert!(switched.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{switched}");
    let lower = switched.to_ascii_lowercase();
    for line in ["upgrade: websocket", "connection: upgrade", "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="] {
        assert_eq!(lower.lines().filter(|known| *known == line).count(), 1, "{line}: {switched}");
    }
    let mut browser = Browser { stream };
    assert!(browser.text().await.contains("connection_established"));
    assert!(browser.text().await.contains("subscription_succeeded"));
    browser.stream.write_all(&half[5..]).await.unwrap();
    assert_eq!(browser.frame().await, Frame::Pong(b"in two halves".to_vec()));
    stage.close().await;
}

#[tokio::test]
async fn who_is_refused_hears_it_as_a_frame_here_too() {
    let stage = Stage::open("");
    let mut stream = used(stage.tcp().await).await;
    stream.write_all(upgrade("nobody", "").as_bytes()).await.unwrap();
    assert!(head(&mut stream).await.starts_with("HTTP/1.1 101 "));
    let mut browser = Browser { stream };
    assert!(browser.text().await.contains("4001"));
    assert_eq!(browser.frame().await, Frame::Close(4001));
    stage.close().await;
}

#[tokio::test]
async fn what_is_no_websocket_gets_the_same_answer_on_a_new_and_on_a_kept_connection() {
    let stage = Stage::open("");
    let plain = format!("GET /app/{KEY} HTTP/1.1\r\nHost: x\r\n\r\n");
    let old = plain.replace("\r\n\r\n", "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n");
    let lost = plain.replace("\r\n\r\n", "\r\nUpgrade: websocket\r\n\r\n");
    for (request, status) in [(&plain, "426"), (&old, "426"), (&lost, "400")] {
        let mut sorted = Vec::new();
        for stream in [stage.tcp().await, used(stage.tcp().await).await] {
            let refused = ask(stream, request).await;
            assert!(refused.starts_with(&format!("HTTP/1.1 {status} ")), "{refused}");
            let mut lines: Vec<String> = refused
                .split("\r\n")
                .map(|line| {
                    line.split_once(": ")
                        .map_or(line.to_owned(), |(name, value)| format!("{}: {value}", name.to_ascii_lowercase()))
                })
                .filter(|line| !line.starts_with("date: "))
                .collect();
            lines.sort();
            let connection: Vec<_> = lines.iter().filter(|line| line.starts_with("connection: ")).collect();
            let expected = if status == "426" { "connection: Upgrade, close" } else { "connection: close" };
            assert_eq!(connection, [expected]);
            sorted.push(lines);
        }
        assert_eq!(sorted[0], sorted[1]);
    }
    // HTTP/1.0 has no upgrades, and a body has no place in front of frames.
    let http10 = upgrade(KEY, "").replace("HTTP/1.1", "HTTP/1.0");
    let refused = ask(used(stage.tcp().await).await, &http10).await;
    assert!(refused.starts_with("HTTP/1.0 426 "), "{refused}");
    let refused = ask(used(stage.tcp().await).await, &(upgrade(KEY, "Content-Length: 4\r\n") + "body")).await;
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
    stage.close().await;
}

#[tokio::test]
async fn its_place_and_its_http_slot_are_counted_as_long_as_they_are_used_and_no_longer() {
    let stage = Stage::open("workers = 1\n[limits]\nconnections_max = 1\nhttp_connections_max = 1\n");
    for _ in 0..3 {
        let mut browser = Browser::open(used(stage.tcp().await).await).await;
        // The one HTTP slot is free again, the one place is not.
        assert_eq!(connections(&stage).await, r#"{"connections":1}"#);
        let mut stream = used(stage.tcp().await).await;
        stream.write_all(upgrade(KEY, "").as_bytes()).await.unwrap();
        assert!(head(&mut stream).await.starts_with("HTTP/1.1 101 "));
        let mut second = Browser { stream };
        assert!(second.text().await.contains("4100"));
        assert_eq!(second.frame().await, Frame::Close(4100));
        assert!(browser.is_alive().await);
        drop((browser, second));
        within(async {
            while connections(&stage).await != r#"{"connections":0}"# {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        })
        .await;
    }
    stage.close().await;
}

#[tokio::test]
async fn a_drain_finds_those_who_came_this_way() {
    let stage = Stage::open("");
    let mut browser = Browser::open(used(stage.tcp().await).await).await;
    let closing = tokio::spawn(async move { browser.frame().await });
    stage.close().await;
    assert_eq!(closing.await.unwrap(), Frame::Close(4200));
}
