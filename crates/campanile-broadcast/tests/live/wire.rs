//! Publishing over sockets: connections, certificates, what is sent again and what is not, and how long all of it takes.

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use campanile_broadcast::{
    Broadcast, Campanile, Channel, DeliveryError, MasterKey, PublishError, Published, SettingsError, Timeouts,
};
use crypto_secretbox::aead::Aead;
use crypto_secretbox::{KeyInit, XSalsa20Poly1305};
use serde::Serialize;
use tokio::net::TcpListener;

use crate::browser::{Browser, in_string};
use crate::passage::{Passage, scripted};
use crate::stage::{Room, SOON, Stage, authority, said, settings};

const BUSY: &str =
    "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const BROKEN: &str = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const ACCEPTED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
const BREAKS_OFF: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{";

fn impatient(connect: Duration, now: Duration) -> Timeouts {
    Timeouts { connect, now, ..Timeouts::default() }
}

fn cause(result: Result<Published, PublishError>) -> DeliveryError {
    match result {
        Err(PublishError::Undelivered { source, .. }) => source,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn events_arrive_in_order_over_one_connection() {
    let stage = Stage::open();
    let mut browser = stage.browser_in(&["a"]).await;
    let passage = Passage::to(stage.address()).await;
    let campanile = Campanile::new(settings(passage.origin())).unwrap();
    for number in 0..20 {
        assert_eq!(campanile.broadcast(said("a", number)).now().await.unwrap(), Published::Sent);
    }
    for number in 0..20 {
        assert_eq!(browser.number().await, number);
    }
    assert_eq!((passage.connections(), passage.requests()), (1, 20));
}

#[tokio::test]
async fn events_in_the_background_have_all_left_after_a_flush() {
    let stage = Stage::open();
    let mut browser = stage.browser_in(&["a"]).await;
    let campanile = stage.campanile();
    for number in 0..50 {
        assert_eq!(campanile.broadcast(said("a", number)).send().await.unwrap(), Published::Queued);
    }
    assert_eq!(campanile.flush(SOON).await, 0);
    let mut heard = Vec::new();
    for _ in 0..50 {
        heard.push(browser.number().await);
    }
    heard.sort_unstable();
    assert_eq!(heard, Vec::from_iter(0..50));
    browser.heard_all().await;
}

#[tokio::test]
async fn only_a_server_whose_certificate_is_vouched_for_is_told_anything() {
    let stage = Stage::open_with_tls();
    let trusting = Campanile::new(stage.settings().ca_file(stage.ca_file())).unwrap();
    assert_eq!(trusting.broadcast(said("a", 1)).now().await.unwrap(), Published::Sent);

    // By default the system's authorities vouch, which know nothing of the one that was made a moment ago.
    let refused = cause(stage.campanile().broadcast(said("a", 2)).now().await).to_string();
    assert!(refused.contains("certificate"), "{refused}");

    let other = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(other.path(), authority().pem()).unwrap();
    let distrusting = Campanile::new(stage.settings().ca_file(other.path())).unwrap();
    let refused = cause(distrusting.broadcast(said("a", 3)).now().await).to_string();
    assert!(refused.contains("certificate"), "{refused}");
}

#[tokio::test]
async fn a_ca_file_without_a_certificate_stops_the_start() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let refused = Campanile::new(settings("https://127.0.0.1").ca_file(file.path()));
    assert!(matches!(refused, Err(SettingsError::CaFile { .. })), "{refused:?}");
}

#[tokio::test]
async fn plain_http_to_another_machine_is_refused_at_the_start_unless_allowed() {
    let elsewhere = || settings("http://192.0.2.1:6001");
    assert!(matches!(Campanile::new(elsewhere()), Err(SettingsError::PlainHttp { .. })));
    assert!(Campanile::new(elsewhere().allow_plain_http()).is_ok());
}

#[tokio::test]
async fn an_answer_that_is_lost_is_asked_for_again_where_the_server_knows_the_key_and_the_event_is_heard_once() {
    let stage = Stage::open();
    let mut browser = stage.browser_in(&["a"]).await;
    let passage = Passage::to(stage.address()).await;
    passage.lose_answers(2);
    let campanile = Campanile::new(settings(passage.origin()).idempotent_server()).unwrap();
    assert_eq!(campanile.broadcast(said("a", 1)).now().await.unwrap(), Published::Sent);
    assert_eq!(passage.requests(), 3);
    assert_eq!(browser.number().await, 1);
    browser.heard_all().await;
}

#[tokio::test]
async fn an_answer_that_is_lost_is_an_error_where_a_second_request_might_publish_again() {
    let stage = Stage::open();
    let mut browser = stage.browser_in(&["a"]).await;
    let passage = Passage::to(stage.address()).await;
    passage.lose_answers(1);
    let campanile = Campanile::new(settings(passage.origin())).unwrap();
    let lost = cause(campanile.broadcast(said("a", 1)).now().await);
    assert!(matches!(lost, DeliveryError::Unanswered { .. }), "{lost}");
    assert_eq!(passage.requests(), 1);
    assert_eq!(browser.number().await, 1);
    browser.heard_all().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_is_tried_again_and_an_error_names_it_in_the_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let campanile = Campanile::new(settings(format!("http://{address}")).retries(2)).unwrap();
    let began = Instant::now();
    let error = campanile.broadcast(said("a", 1)).now().await.unwrap_err().to_string();
    assert!(error.contains("said") && error.contains(&address.to_string()), "{error}");
    // Two pauses, of 100 and 200 ms, each less up to a half.
    assert!(began.elapsed() >= Duration::from_millis(150), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_server_that_says_when_to_come_back_is_asked_again_then() {
    let (origin, requests) = scripted(vec![BUSY, ACCEPTED]).await;
    let began = Instant::now();
    let campanile = Campanile::new(settings(origin)).unwrap();
    assert_eq!(campanile.broadcast(said("a", 1)).now().await.unwrap(), Published::Sent);
    assert_eq!(requests.load(SeqCst), 2);
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_server_that_fails_or_breaks_off_is_not_asked_again_unless_it_knows_the_key() {
    for failure in [BROKEN, BREAKS_OFF] {
        let (origin, requests) = scripted(vec![failure, ACCEPTED]).await;
        let campanile = Campanile::new(settings(&origin)).unwrap();
        assert!(campanile.broadcast(said("a", 1)).now().await.is_err());
        assert_eq!(requests.load(SeqCst), 1);

        let (origin, requests) = scripted(vec![failure, ACCEPTED]).await;
        let campanile = Campanile::new(settings(origin).idempotent_server()).unwrap();
        assert_eq!(campanile.broadcast(said("a", 1)).now().await.unwrap(), Published::Sent);
        assert_eq!(requests.load(SeqCst), 2);
    }
}

#[tokio::test]
async fn the_same_key_publishes_once_and_not_something_else() {
    let stage = Stage::open();
    let mut browser = stage.browser_in(&["a"]).await;
    let campanile = stage.campanile();
    for _ in 0..2 {
        let sent = campanile.broadcast(said("a", 1)).idempotency_key("order-1").now().await;
        assert_eq!(sent.unwrap(), Published::Sent);
    }
    let other = cause(campanile.broadcast(said("a", 2)).idempotency_key("order-1").now().await);
    assert!(matches!(other, DeliveryError::Refused { status: 422, .. }), "{other}");
    assert_eq!(browser.number().await, 1);
    browser.heard_all().await;
}

#[tokio::test]
async fn a_connection_that_does_not_come_about_is_given_up_in_time() {
    // Takes the connection and never says a word of TLS.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("https://{}", listener.local_addr().unwrap());
    let ca = Stage::open_with_tls();
    let timeouts = impatient(Duration::from_millis(200), Duration::from_secs(10));
    let campanile = Campanile::new(settings(origin).ca_file(ca.ca_file()).timeouts(timeouts).retries(0)).unwrap();
    let began = Instant::now();
    assert!(matches!(cause(campanile.broadcast(said("a", 1)).now().await), DeliveryError::Unanswered { .. }));
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(200) && took < Timeouts::default().connect, "{took:?}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_given_up_in_time_retries_included() {
    let (origin, requests) = scripted(vec![]).await;
    let timeouts = impatient(Duration::from_secs(2), Duration::from_millis(300));
    let campanile = Campanile::new(settings(origin).timeouts(timeouts).idempotent_server()).unwrap();
    let began = Instant::now();
    assert!(matches!(cause(campanile.broadcast(said("a", 1)).now().await), DeliveryError::Unanswered { .. }));
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(300) && took < Timeouts::default().now, "{took:?}");
    assert_eq!(requests.load(SeqCst), 1);
}

#[derive(Serialize, Broadcast)]
#[broadcast(name = "said", on = [rooms(self.rooms)])]
struct ToMany {
    number: u64,
    #[serde(skip)]
    rooms: usize,
}

fn rooms(count: usize) -> Vec<Room> {
    (0..count).map(|at| Room { name: at.to_string() }).collect()
}

#[tokio::test]
async fn more_than_a_hundred_channels_are_reached_by_several_requests() {
    let stage = Stage::open();
    let mut browser = stage.browser_in(&["0", "99", "100"]).await;
    let passage = Passage::to(stage.address()).await;
    let campanile = Campanile::new(settings(passage.origin())).unwrap();
    assert_eq!(campanile.broadcast(ToMany { number: 1, rooms: 101 }).now().await.unwrap(), Published::Sent);
    assert_eq!(passage.requests(), 2);
    for _ in 0..3 {
        assert_eq!(browser.number().await, 1);
    }
    browser.heard_all().await;
}

#[derive(Serialize, Broadcast)]
#[broadcast(name = "report.ready", on = [Room { name: "a".to_owned() }])]
struct Report {
    text: String,
}

#[tokio::test]
async fn an_event_over_the_limit_is_an_error_that_names_it_and_nothing_is_sent() {
    let stage = Stage::open();
    let mut browser = stage.browser_in(&["a"]).await;
    let campanile = stage.campanile();
    // `{"text":""}` takes 11 of the 10,240 bytes.
    let fits = Report { text: "x".repeat(10_229) };
    assert_eq!(campanile.broadcast(fits).now().await.unwrap(), Published::Sent);
    assert_eq!(browser.frame().await["event"], "report.ready");
    let error = campanile.broadcast(Report { text: "x".repeat(10_230) }).send().await.unwrap_err().to_string();
    assert!(error.contains("report.ready") && error.contains("10241"), "{error}");
    browser.heard_all().await;
}

#[derive(Channel)]
#[channel("private-encrypted-salary.{id}")]
struct Salary {
    id: i64,
}

#[derive(Serialize, Broadcast)]
#[broadcast(name = "raised", on = [Salary { id: 7 }])]
struct Raised {
    amount: &'static str,
}

#[tokio::test]
async fn the_server_carries_what_only_the_channels_secret_opens() {
    const CHANNEL: &str = "private-encrypted-salary.7";
    let key = MasterKey::from_base64(&STANDARD.encode([7; 32])).unwrap();
    let stage = Stage::open();
    let mut browser = Browser::open(stage.address()).await;
    browser.subscribe(CHANNEL).await;
    let campanile = Campanile::new(stage.settings().master_key(key.clone())).unwrap();
    campanile.broadcast(Raised { amount: "much" }).now().await.unwrap();

    let frame = browser.frame().await;
    assert!(!frame.to_string().contains("much"), "{frame}");
    let sealed = in_string(&frame["data"]);
    let bytes = |name: &str| STANDARD.decode(sealed[name].as_str().unwrap()).unwrap();
    let secret: [u8; 32] = STANDARD.decode(key.shared_secret(CHANNEL)).unwrap().try_into().unwrap();
    let nonce: [u8; 24] = bytes("nonce").try_into().unwrap();
    let opened = XSalsa20Poly1305::new(&secret.into()).decrypt(&nonce.into(), &*bytes("ciphertext")).unwrap();
    assert_eq!(opened, br#"{"amount":"much"}"#);
}

#[tokio::test]
async fn whoever_caused_an_event_is_not_told_of_it() {
    let stage = Stage::open();
    let (mut author, mut reader) = (stage.browser_in(&["a"]).await, stage.browser_in(&["a"]).await);
    let campanile = stage.campanile();
    campanile.broadcast(said("a", 1)).to_others(author.socket_id).now().await.unwrap();
    let batch = campanile.batch().event(said("a", 2)).event(said("a", 3)).to_others(author.socket_id);
    assert_eq!(batch.now().await.unwrap(), Published::Sent);
    for number in 1..=3 {
        assert_eq!(reader.number().await, number);
    }
    author.heard_all().await;
}
