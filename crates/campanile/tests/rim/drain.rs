//! Leaving: whoever is served is served to the end, and the end comes.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::client::{Frame, answer, rest, within};
use crate::stage::{SOON, Stage, event, signed};

const LIVE: &str = "GET /live HTTP/1.1\r\nHost: x\r\n\r\n";

/// A publisher that has sent its request but for the last bytes of the body, which are returned.
async fn half_a_request(stage: &Stage) -> (TcpStream, String) {
    let body = event("news", "to the end");
    let path = signed("POST", "/apps/rim/events", &body);
    let (begun, missing) = body.split_at(body.len() / 2);
    let mut stream = stage.tcp().await;
    let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{begun}", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    (stream, missing.to_owned())
}

async fn kept_alive(stage: &Stage) -> TcpStream {
    let mut stream = stage.tcp().await;
    stream.write_all(LIVE.as_bytes()).await.unwrap();
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200 "));
    stream
}

#[tokio::test]
async fn a_request_under_way_is_answered_and_idle_connections_are_closed() {
    let stage = Stage::open("workers = 1\n");
    let idle = kept_alive(&stage).await;
    let (mut busy, missing) = half_a_request(&stage).await;
    // The server must have seen the head, or there is nothing under way.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let drain = tokio::spawn(stage.server.drain());
    assert_eq!(rest(idle).await, "");
    assert!(!drain.is_finished());
    busy.write_all(missing.as_bytes()).await.unwrap();
    let answer = rest(busy).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("\r\nconnection: close\r\n"), "{answer}");
    within(drain).await.unwrap().unwrap();
}

#[tokio::test]
async fn it_ends_though_somebody_never_does() {
    let stage = Stage::open(
        "[limits]\nhttp_request_timeout_secs = 2\nhttp_idle_timeout_secs = 600\nclosing_timeout_secs = 1\n",
    );
    let mut browser = stage.browser().await;
    let (endless, _) = half_a_request(&stage).await;
    let mut headless = stage.tcp().await;
    headless.write_all(b"POST /apps").await.unwrap();
    let silent = stage.tcp().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let before = Instant::now();
    tokio::time::timeout(SOON, stage.server.drain()).await.unwrap().unwrap();
    // No longer than the times that bound it, and the rounds in which they are looked at.
    assert!(before.elapsed() < Duration::from_secs(5), "{:?}", before.elapsed());
    assert_eq!(browser.frame().await, Frame::Close(4200));
    drop((endless, headless, silent));
}
