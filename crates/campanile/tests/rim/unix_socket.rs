//! The Unix socket: the same server, without an address.

use tokio::net::UnixStream;

use crate::client::{Browser, ask};
use crate::stage::{Place, Stage, http, publish};

const SOCKET: &str = "workers = 3\n[listen]\nunix_socket = 'DIR/campanile.sock'\n";

#[tokio::test]
async fn clients_and_publishers_meet_at_the_socket_and_at_the_port() {
    let stage = Stage::open(SOCKET);
    let path = stage.place.path("campanile.sock");
    // More than there are workers, so that each gets some.
    let mut browsers = Vec::new();
    for _ in 0..7 {
        let mut browser = Browser::open(UnixStream::connect(&path).await.unwrap()).await;
        browser.subscribe("news").await;
        browsers.push(browser);
    }
    let mut outside = stage.browser().await;
    outside.subscribe("news").await;

    let http = http().unix_socket(path.as_path()).build().unwrap();
    publish(&http, "http://localhost", "news", "through the socket").await;
    for browser in &mut browsers {
        assert!(browser.text().await.contains("through the socket"));
        assert!(browser.is_alive().await);
    }
    assert!(outside.text().await.contains("through the socket"));
    stage.close().await;
    assert!(!path.exists(), "the file goes with the server");
}

#[tokio::test]
async fn the_socket_is_plain_where_the_port_speaks_tls() {
    let place = Place::new(&format!("{SOCKET}[tls]\ncert_file = 'DIR/cert.pem'\nkey_file = 'DIR/key.pem'\n"));
    place.renew_certificate();
    let stage = Stage::at(place);
    let stream = UnixStream::connect(stage.place.path("campanile.sock")).await.unwrap();
    let answer = ask(stream, "GET /live HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
    stage.close().await;
}

#[tokio::test]
async fn a_live_servers_socket_is_not_taken_over() {
    let stage = Stage::open(SOCKET);
    let path = stage.place.path("campanile.sock");
    let second = Place::new(&format!("workers = 1\n[listen]\nunix_socket = '{}'\n", path.display()));
    let error = second.start().map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("in use: a server answers there"), "{error}");
    Browser::open(UnixStream::connect(&path).await.unwrap()).await;
    let Stage { place: _first, server } = stage;
    server.drain().await.unwrap();
    assert!(!path.exists());
    // What a killed server leaves behind is replaced.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let stage = Stage::at(second);
    Browser::open(UnixStream::connect(&path).await.unwrap()).await;
    stage.close().await;
}
