//! HTTP at the rim: versions, bounds, idleness, and who is told to be the client.

use std::io;
use std::time::{Duration, Instant, SystemTime};

use campanile_protocol::Secret;
use campanile_protocol::signature::sign_request;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::client::{Browser, answer, ask, rest, upgrade, within};
use crate::log;
use crate::stage::{KEY, SECRET, Stage, event, http, publish, signed};

const LIVE: &str = "GET /live HTTP/1.1\r\nHost: x\r\n\r\n";
const CHANNELS: &str = "GET /apps/rim/channels HTTP/1.1\r\nHost: x\r\n\r\n";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const EMPTY_SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";

#[tokio::test]
async fn http_2_is_spoken_with_whoever_opens_with_its_preface() {
    let stage = Stage::open("");
    let mut browser = stage.browser().await;
    browser.subscribe("news").await;
    let http = http().http2_prior_knowledge().build().unwrap();
    let origin = format!("http://{}", stage.address());
    for number in 0..3 {
        let answer = publish(&http, &origin, "news", &format!("number {number}")).await;
        assert_eq!(answer.version(), reqwest::Version::HTTP_2);
        assert!(browser.text().await.contains(&format!("number {number}")));
    }
    // Many at once on one connection, as the bound on streams allows.
    let many = (0..100).map(|_| http.get(format!("{origin}/live")).send());
    for answer in many.map(tokio::spawn).collect::<Vec<_>>() {
        assert_eq!(answer.await.unwrap().unwrap().status(), 200);
    }
    stage.close().await;
}

#[tokio::test]
async fn a_preface_may_come_byte_by_byte() {
    let stage = Stage::open("");
    let mut stream = stage.tcp().await;
    stream.set_nodelay(true).unwrap();
    for byte in [PREFACE, EMPTY_SETTINGS].concat() {
        stream.write_all(&[byte]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // The server's own settings come first, and they bound a connection's streams.
    let mut head = [0; 9];
    within(stream.read_exact(&mut head)).await.unwrap();
    assert_eq!(head[3], 4, "a SETTINGS frame");
    let mut settings = vec![0; usize::from(head[2])];
    within(stream.read_exact(&mut settings)).await.unwrap();
    let streams_max = settings.chunks(6).find(|setting| setting[..2] == [0, 3]).expect("a bound on streams");
    assert_eq!(streams_max[2..], 100_u32.to_be_bytes());
    drop(stream);
    stage.close().await;
}

#[tokio::test]
async fn as_many_requests_share_a_connection_as_may_and_no_more() {
    const STREAMS_MAX: u32 = 100;
    let stage = Stage::open("[limits]\nhttp_request_timeout_secs = 2\n");
    let mut stream = stage.tcp().await;
    let mut opening = [PREFACE, EMPTY_SETTINGS].concat();
    // Each waits for a body that does not come.
    let path = format!("/apps/rim/events?auth_key={KEY}");
    let mut head = vec![0x83, 0x86, 0x01, 1, b'x', 0x04, u8::try_from(path.len()).unwrap()];
    head.extend_from_slice(path.as_bytes());
    for number in 0..=STREAMS_MAX {
        let length = u8::try_from(head.len()).unwrap();
        opening.extend_from_slice(&[0, 0, length, 1, 4]);
        opening.extend_from_slice(&(2 * number + 1).to_be_bytes());
        opening.extend_from_slice(&head);
    }
    stream.write_all(&opening).await.unwrap();
    let (mut refused, mut answered) = (Vec::new(), 0);
    while answered < STREAMS_MAX {
        let mut head = [0; 9];
        within(stream.read_exact(&mut head)).await.unwrap();
        let number = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; usize::from(head[1]) * 256 + usize::from(head[2])];
        within(stream.read_exact(&mut payload)).await.unwrap();
        match head[3] {
            // HEADERS: the body was too late.
            1 => answered += 1,
            // RST_STREAM, as REFUSED_STREAM: the client may repeat it.
            3 if payload == 7_u32.to_be_bytes() => {
                assert_eq!(answered, 0, "refused at once");
                refused.push(number);
            }
            _ => {}
        }
    }
    assert_eq!(refused, [2 * STREAMS_MAX + 1]);
    drop(stream);
    stage.close().await;
}

/// A request whose body does not come yet.
fn waiting() -> String {
    let path = signed("POST", "/apps/rim/events", "body");
    format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n")
}

#[tokio::test]
async fn as_many_http_connections_as_the_bound_says_and_one_more_is_refused() {
    let stage = Stage::open("workers = 1\n[limits]\nhttp_connections_max = 2\n");
    let (mut first, mut second) = (stage.tcp().await, stage.tcp().await);
    for stream in [&mut first, &mut second] {
        stream.write_all((LIVE.to_owned() + &waiting()).as_bytes()).await.unwrap();
        assert!(answer(stream).await.starts_with("HTTP/1.1 200 "));
    }
    let refused = ask(stage.tcp().await, CHANNELS).await;
    assert!(refused.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{refused}");
    assert!(refused.contains("\r\nRetry-After: 1\r\n") && refused.contains("\r\nConnection: close\r\n"), "{refused}");

    // HTTP/2 hears it in its own words: GOAWAY, last stream 0, ENHANCE_YOUR_CALM.
    let mut stream = stage.tcp().await;
    stream.write_all(&[PREFACE, EMPTY_SETTINGS].concat()).await.unwrap();
    let mut heard = Vec::new();
    within(stream.read_to_end(&mut heard)).await.unwrap();
    assert_eq!(heard, [EMPTY_SETTINGS, b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0b"].concat());

    // WebSockets have a bound of their own.
    assert!(stage.browser().await.is_alive().await);

    // Those who are in are served on, and one who leaves makes room.
    first.write_all(b"body").await.unwrap();
    assert!(answer(&mut first).await.starts_with("HTTP/1.1 400 "));
    drop(second);
    within(async {
        while ask(stage.tcp().await, CHANNELS).await.starts_with("HTTP/1.1 503 ") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    stage.close().await;
}

#[tokio::test]
async fn probes_are_answered_when_all_http_connections_are_busy() {
    let stage = Stage::open("workers = 1\n[limits]\nhttp_connections_max = 1\n[listen]\npath_prefix = '/ws'\n");
    let mut busy = stage.tcp().await;
    busy.write_all((LIVE.to_owned() + &waiting()).as_bytes()).await.unwrap();
    assert!(answer(&mut busy).await.starts_with("HTTP/1.1 200 "));
    for (question, status, body) in [
        ("GET /live", "200 OK", "live\n"),
        ("GET /ready", "200 OK", "ready\n"),
        ("GET /ws/ready?from=balancer", "200 OK", "ready\n"),
        ("HEAD /live", "200 OK", ""),
        ("GET /", "200 OK", "campanile\n"),
        ("POST /live", "503 Service Unavailable", "try again\"}"),
        ("GET /lively", "503 Service Unavailable", "try again\"}"),
        ("GET /apps/rim/channels", "503 Service Unavailable", "try again\"}"),
    ] {
        let heard = ask(stage.tcp().await, &format!("{question} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        let (head, said) = heard.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{question}: {head}");
        assert!(head.to_ascii_lowercase().contains("\r\nconnection: close"), "{question}: {head}");
        assert!(if body.is_empty() { said.is_empty() } else { said.ends_with(body) }, "{question}: {said}");
    }
    // They are said in the same words as ever.
    let status = ask(stage.tcp().await, "GET /status HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(status.contains("\r\ncache-control: no-store\r\n") && status.contains("\"ready\":true"), "{status}");
    busy.write_all(b"body").await.unwrap();
    assert!(answer(&mut busy).await.starts_with("HTTP/1.1 400 "));
    stage.close().await;
}

#[tokio::test]
async fn whoever_has_been_idle_for_longest_makes_room_at_the_bound() {
    let stage = Stage::open("workers = 1\n[limits]\nhttp_connections_max = 3\n");
    let (mut busy, mut used, mut http2) = (stage.tcp().await, stage.tcp().await, stage.tcp().await);
    busy.write_all((LIVE.to_owned() + &waiting()).as_bytes()).await.unwrap();
    assert!(answer(&mut busy).await.starts_with("HTTP/1.1 200 "));
    http2.write_all(&[PREFACE, EMPTY_SETTINGS].concat()).await.unwrap();
    let mut settings = [0; 9];
    within(http2.read_exact(&mut settings)).await.unwrap();
    let live = async |stream: &mut TcpStream| {
        stream.write_all(LIVE.as_bytes()).await.unwrap();
        assert!(answer(stream).await.starts_with("HTTP/1.1 200 "));
    };
    live(&mut used).await;
    let mut newcomer = stage.tcp().await;
    live(&mut newcomer).await;
    // HTTP/2 hears a GOAWAY without an error, and the end.
    let mut heard = Vec::new();
    within(http2.read_to_end(&mut heard)).await.unwrap();
    assert!(heard.windows(5).any(|frame| frame[3..5] == [7, 0]), "{heard:?}");

    live(&mut used).await;
    let mut another = stage.tcp().await;
    live(&mut another).await;
    assert_eq!(rest(newcomer).await, "");
    for stream in [&mut used, &mut another] {
        live(stream).await;
    }
    busy.write_all(b"body").await.unwrap();
    assert!(answer(&mut busy).await.starts_with("HTTP/1.1 400 "));
    stage.close().await;
}

#[tokio::test]
async fn who_has_not_proved_who_they_are_gets_an_answer_and_no_second_request() {
    let stage = Stage::open("");
    for (request, status) in [
        ("GET /apps/rim/channels", 401),
        ("GET /apps/rim/channels?auth_key=unknown", 401),
        ("GET /apps/nobody/channels", 404),
        ("GET /nothing", 404),
    ] {
        let refused = ask(stage.tcp().await, &format!("{request} HTTP/1.1\r\nHost: x\r\n\r\n{LIVE}")).await;
        assert!(refused.starts_with(&format!("HTTP/1.1 {status} ")), "{refused}");
        assert!(refused.contains("\r\nconnection: close\r\n") && !refused.contains("200 OK"), "{refused}");
    }
    // Whoever has, and is wrong otherwise, may go on.
    let mut stream = stage.tcp().await;
    let path = signed("POST", "/apps/rim/events", "{}");
    let wrong = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{{}}{LIVE}");
    stream.write_all(wrong.as_bytes()).await.unwrap();
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 400 "));
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 200 "));
    stage.close().await;
}

#[tokio::test]
async fn over_http_2_a_stranger_is_answered_and_told_to_go() {
    let stage = Stage::open("");
    let mut stream = stage.tcp().await;
    // GET http x:/nope, its headers complete and its stream ended.
    let head = b"\x82\x86\x01\x01x\x04\x05/nope";
    let length = u8::try_from(head.len()).unwrap();
    let opening = [PREFACE, EMPTY_SETTINGS, &[0, 0, length, 1, 5, 0, 0, 0, 1], head].concat();
    stream.write_all(&opening).await.unwrap();
    let (mut answered, mut last_streams) = (false, Vec::new());
    // To the end: it comes once the client has answered the ping that tells that it knows.
    while let Ok(kind) = within(async {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let mut payload = vec![0; usize::from(head[1]) * 256 + usize::from(head[2])];
        stream.read_exact(&mut payload).await?;
        match head[3] {
            1 => answered = true,
            6 if head[4] == 0 => {
                stream.write_all(&[&[0, 0, 8, 6, 1, 0, 0, 0, 0], &payload[..]].concat()).await?;
            }
            7 => {
                assert_eq!(payload[4..8], [0; 4], "no error");
                last_streams.push(u32::from_be_bytes(payload[..4].try_into().unwrap()));
            }
            _ => {}
        }
        io::Result::Ok(head[3])
    })
    .await
    {
        assert!(kind < 10);
    }
    assert!(answered);
    assert_eq!(last_streams, [(1 << 31) - 1, 1]);
    stage.close().await;
}

#[tokio::test]
async fn a_refusal_arrives_although_its_body_was_not_read_and_its_sender_has_bounded_time() {
    let stage = Stage::open("[limits]\nclosing_timeout_secs = 1\n");
    let mut stream = stage.tcp().await;
    let head = "POST /apps/rim/events?auth_key=unknown HTTP/1.1\r\nHost: x\r\nContent-Length: 250000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    // The answer is there and not yet read; what is sent meanwhile must not destroy it.
    tokio::time::sleep(Duration::from_millis(100)).await;
    for _ in 0..25 {
        stream.write_all(&[b'x'; 10_000]).await.unwrap();
    }
    let refused = answer(&mut stream).await;
    assert!(refused.starts_with("HTTP/1.1 401 "), "{refused}");
    let before = Instant::now();
    let error = within(async {
        loop {
            if let Err(error) = stream.write_all(b"x").await {
                return error;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert!(matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe), "{error}");
    assert!((Duration::from_millis(500)..Duration::from_secs(5)).contains(&before.elapsed()), "{:?}", before.elapsed());
    stage.close().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_either_version() {
    let stage = Stage::open("[limits]\nhttp_idle_timeout_secs = 1\nhttp_request_timeout_secs = 1\n");
    let (mut one, mut two) = (stage.tcp().await, stage.tcp().await);
    one.write_all(LIVE.as_bytes()).await.unwrap();
    assert!(answer(&mut one).await.starts_with("HTTP/1.1 200 "));
    two.write_all(&[PREFACE, EMPTY_SETTINGS].concat()).await.unwrap();
    let before = Instant::now();
    // The other end of the second never answers anything, so its goodbye is cut short.
    let mut heard = Vec::new();
    tokio::join!(async { assert_eq!(rest(one).await, "") }, async {
        // A reset is an end, too.
        let _ = within(two.read_to_end(&mut heard)).await;
    });
    assert!(before.elapsed() >= Duration::from_millis(900), "{:?}", before.elapsed());
    let goaway = heard.windows(5).any(|frame| frame[3..5] == [7, 0]);
    assert!(goaway, "{heard:?}");
    stage.close().await;
}

#[tokio::test]
async fn a_later_head_has_as_long_as_the_first_from_its_first_byte_on() {
    let stage = Stage::open("[limits]\nhead_timeout_secs = 1\nhttp_idle_timeout_secs = 60\n");
    let mut stream = stage.tcp().await;
    let live = async |stream: &mut TcpStream| assert!(answer(stream).await.starts_with("HTTP/1.1 200 "));
    stream.write_all(LIVE.as_bytes()).await.unwrap();
    live(&mut stream).await;
    // Silence is measured by the idle timeout alone, and a head in parts is in time as long as its end is.
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let (begin, end) = LIVE.split_at(10);
    stream.write_all(begin.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    stream.write_all(end.as_bytes()).await.unwrap();
    live(&mut stream).await;
    // One that drips on past it is not.
    let before = Instant::now();
    let (mut reader, mut writer) = stream.into_split();
    let dripping = async {
        // Until the server no longer listens.
        while writer.write_all(b"GET /live?").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let mut heard = Vec::new();
    let (_, read) = within(async { tokio::join!(dripping, reader.read_to_end(&mut heard)) }).await;
    assert!(heard.is_empty() && read.is_ok_and(|length| length == 0));
    assert!((Duration::from_millis(950)..Duration::from_secs(5)).contains(&before.elapsed()), "{:?}", before.elapsed());
    stage.close().await;
}

#[tokio::test]
async fn whoever_asks_and_never_listens_is_given_up() {
    let stage = Stage::open("workers = 1\n[limits]\nhttp_request_timeout_secs = 1\n");
    let socket = TcpSocket::new_v4().unwrap();
    // So that the answers soon find no room.
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(stage.address()).await.unwrap();
    let questions = LIVE.repeat(1000);
    let error = within(async {
        loop {
            if let Err(error) = stream.write_all(questions.as_bytes()).await {
                return error;
            }
        }
    })
    .await;
    assert!(matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe), "{error}");
    stage.close().await;
}

#[tokio::test]
async fn over_http_2_too_whoever_asks_and_never_listens_is_given_up() {
    let stage = Stage::open("workers = 1\n[limits]\nhttp_request_timeout_secs = 1\n");
    // SETTINGS_INITIAL_WINDOW_SIZE: nothing of an answer may be sent, or so little that some of it stays behind.
    for window in [0, 1] {
        let mut stream = stage.tcp().await;
        let settings = [&[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0][..], &[window]].concat();
        // GET http x:/live, complete.
        let question = b"\0\0\x0c\x01\x05\0\0\0\x01\x82\x86\x01\x01x\x04\x05/live";
        let before = Instant::now();
        stream.write_all(&[PREFACE, &settings, question].concat()).await.unwrap();
        let mut heard = Vec::new();
        // A reset is an end, too.
        let _ = within(stream.read_to_end(&mut heard)).await;
        assert!(heard.windows(5).any(|frame| frame[3..5] == [1, 4]), "it is answered: {heard:?}");
        let after = before.elapsed();
        assert!((Duration::from_millis(900)..Duration::from_secs(5)).contains(&after), "window {window}: {after:?}");
    }
    stage.close().await;
}

#[tokio::test]
async fn answers_that_nobody_takes_have_one_bound_for_all_connections_and_bodies_count_with_them() {
    // An answer of more than half of the bound.
    const DATA: usize = 600_000;
    let stage = Stage::open("workers = 1\n[limits]\nhttp_bytes_max = 1048576\nhttp_request_timeout_secs = 60\n");
    let origin = format!("http://{}", stage.address());
    publish(&http().build().unwrap(), &origin, "cache-x", &"x".repeat(DATA)).await;
    let path = "/apps/rim/channels/cache-x";
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let query = sign_request(KEY, &Secret::new(SECRET), "GET", path, &[("info", "cache")], b"", now);
    let question = format!("{path}?{query}");

    let mut leaving = stage.tcp().await;
    // Nothing of an answer may be sent.
    let settings = b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0";
    // The path's length as HPACK has it past 127.
    let long = u8::try_from(question.len() - 127).unwrap();
    assert!(long < 128);
    let head = [b"\x82\x86\x01\x01x\x04\x7f", &[long][..], question.as_bytes()].concat();
    let length = u16::try_from(head.len()).unwrap().to_be_bytes();
    let request = [&[0, length[0], length[1], 1, 5, 0, 0, 0, 1], &head[..]].concat();
    leaving.write_all(&[PREFACE, settings, &request].concat()).await.unwrap();
    within(async {
        // HEADERS: it has been answered.
        let mut kind = 0;
        while kind != 1 {
            let mut head = [0; 9];
            leaving.read_exact(&mut head).await.unwrap();
            leaving.read_exact(&mut vec![0; usize::from(head[2])]).await.unwrap();
            kind = head[3];
        }
    })
    .await;

    let asked = async || {
        ask(stage.tcp().await, &format!("GET {question} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await
    };
    let refused = asked().await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("\r\nretry-after: 1\r\n"), "{refused}");
    let body = event("news", &"x".repeat(DATA));
    let target = signed("POST", "/apps/rim/events", &body);
    let request = format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let refused = ask(stage.tcp().await, &request).await;
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("requests and answers"), "{refused}");
    // What is small finds room, and what is left makes room once its client has gone.
    publish(&http().build().unwrap(), &origin, "news", "x").await;
    drop(leaving);
    within(async {
        while asked().await.starts_with("HTTP/1.1 503 ") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(asked().await.starts_with("HTTP/1.1 200 "));
    stage.close().await;
}

#[tokio::test]
async fn the_log_names_the_client_that_a_trusted_proxy_names() {
    log::watch();
    let stage = Stage::open("[listen]\ntrusted_proxies = ['127.0.0.0/8']\n");
    let forwarded = "X-Forwarded-For: 192.0.2.66, 198.51.100.77\r\n";
    let (mut browser, _) = Browser::upgrade(KEY, stage.tcp().await, forwarded).await;
    assert!(browser.text().await.contains("connection_established"));
    let body = event("news", "x");
    let path = signed("POST", "/apps/rim/events", &body);
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{forwarded}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = ask(stage.tcp().await, &request).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let unknown = ask(stage.tcp().await, &upgrade("nobody", "X-Forwarded-For: 198.51.100.78\r\n")).await;
    assert!(unknown.contains("4001"));
    stage.close().await;
    let log = log::so_far();
    for line in [
        "connected client=198.51.100.77 app=rim",
        "answered client=198.51.100.77 method=POST path=\"/apps/rim/events\" status=200",
        "refused client=198.51.100.78 code=4001",
    ] {
        assert!(log.contains(line), "{line}\n{log}");
    }
    assert!(!log.contains("auth_signature") && !log.contains("192.0.2.66"), "{log}");
}
