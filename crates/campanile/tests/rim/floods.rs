//! HTTP/2 clients that send frames for their own sake, and one that only has much to do.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::client::within;
use crate::stage::{KEY, Stage, event, http, signed};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// The error ENHANCE_YOUR_CALM.
const CALM: u32 = 11;
/// Far more than the server takes.
const FLOOD: usize = 200_000;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The head of a signed-looking request whose body does not come.
fn unfinished(stream: u32) -> Vec<u8> {
    let path = format!("/apps/rim/events?auth_key={KEY}");
    let head = [&[0x83, 0x86, 0x01, 1, b'x', 0x04, u8::try_from(path.len()).unwrap()], path.as_bytes()].concat();
    frame(HEADERS, END_HEADERS, stream, &head)
}

async fn greet(stage: &Stage) -> TcpStream {
    let mut stream = stage.tcp().await;
    stream.set_nodelay(true).unwrap();
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.unwrap();
    stream
}

/// Sends for as long as the server takes it, and returns the error of its GOAWAY.
async fn flood(stage: &Stage, opening: Vec<u8>, frames: impl Iterator<Item = Vec<u8>> + Send) -> Option<u32> {
    let (mut reader, mut writer) = greet(stage).await.into_split();
    let hearing = async {
        let mut goodbye = None;
        loop {
            let heard = async {
                let mut head = [0; 9];
                reader.read_exact(&mut head).await?;
                let mut payload = vec![0; usize::from(head[1]) * 256 + usize::from(head[2])];
                reader.read_exact(&mut payload).await?;
                io::Result::Ok((head[3], payload))
            };
            match heard.await {
                Ok((GOAWAY, payload)) => goodbye = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap())),
                Ok(_) => {}
                Err(_) => return goodbye,
            }
        }
    };
    let sending = async {
        let mut sent = writer.write_all(&opening).await;
        let mut waiting = Vec::new();
        for frame in frames {
            if sent.is_err() {
                break;
            }
            waiting.extend_from_slice(&frame);
            if waiting.len() > 4096 {
                sent = writer.write_all(&waiting).await;
                waiting.clear();
            }
        }
        // The end is the server's to say.
        std::future::pending::<()>().await;
    };
    within(async {
        tokio::select! {
            goodbye = hearing => goodbye,
            () = sending => None,
        }
    })
    .await
}

#[tokio::test]
async fn whoever_sends_frames_that_ask_for_nothing_is_told_to_go() {
    let stage = Stage::open("[limits]\nhttp_request_timeout_secs = 60\n");
    let mut browser = stage.browser().await;
    let opened = unfinished(1);
    for (name, opening, flooding) in [
        ("PING", vec![], frame(PING, 0, 0, &[0; 8])),
        ("PING answers", vec![], frame(PING, 1, 0, &[0; 8])),
        ("SETTINGS", vec![], frame(SETTINGS, 0, 0, &[])),
        ("WINDOW_UPDATE of nothing", opened.clone(), frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("WINDOW_UPDATE of a stream", opened.clone(), frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])),
        ("PRIORITY", vec![], frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1])),
        ("unknown kinds", vec![], frame(200, 0, 0, &[])),
        ("empty DATA", opened.clone(), frame(DATA, 0, 1, &[])),
        ("DATA byte by byte", opened.clone(), frame(DATA, 0, 1, b"x")),
    ] {
        let goodbye = flood(&stage, opening, std::iter::repeat_n(flooding, FLOOD)).await;
        assert_eq!(goodbye, Some(CALM), "{name}");
    }
    let started = frame(HEADERS, 0, 1, &[0x82]);
    let goodbye = flood(&stage, started, std::iter::repeat_n(frame(CONTINUATION, 0, 1, &[]), FLOOD)).await;
    assert_eq!(goodbye, Some(CALM), "CONTINUATION");
    // Others are served meanwhile and after.
    assert!(browser.is_alive().await);
    stage.close().await;
}

#[tokio::test]
async fn whoever_takes_back_what_it_has_asked_for_is_told_to_go() {
    let stage = Stage::open("[limits]\nhttp_request_timeout_secs = 60\n");
    let taken_back = |number: u32| [unfinished(number), frame(RST_STREAM, 0, number, &[0, 0, 0, 8])].concat();
    let streams = (0..).map(|number| 2 * number + 1);
    // Together, before anybody has looked at them.
    let at_once = streams.clone().take(FLOOD).map(taken_back);
    assert_eq!(flood(&stage, vec![], at_once).await, Some(CALM));

    // One by one, each after the server has looked at it: the answered ping says so.
    let mut stream = greet(&stage).await;
    let mut goodbye = None;
    let ping = frame(PING, 0, 0, &[0; 8]);
    within(async {
        for number in streams.take(FLOOD) {
            // A write may meet the end before the GOAWAY has been read.
            let _ = stream.write_all(&[unfinished(number), ping.clone()].concat()).await;
            loop {
                let mut head = [0; 9];
                let Ok(_) = stream.read_exact(&mut head).await else { return };
                let mut payload = vec![0; usize::from(head[2])];
                let Ok(_) = stream.read_exact(&mut payload).await else { return };
                match head[3] {
                    PING => break,
                    GOAWAY => goodbye = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap())),
                    _ => {}
                }
            }
            let _ = stream.write_all(&frame(RST_STREAM, 0, number, &[0, 0, 0, 8])).await;
        }
    })
    .await;
    assert_eq!(goodbye, Some(CALM));
    stage.close().await;
}

/// Whether a GOAWAY is heard before the answer to a ping.
async fn is_told_to_go(stage: &Stage, frames: &[u8]) -> bool {
    let mut stream = stage.tcp().await;
    let ping = frame(PING, 0, 0, &[0; 8]);
    // In one packet, so that all of it is read before anything of it is served.
    stream.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[]), frames, &ping].concat()).await.unwrap();
    within(async {
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.unwrap();
            stream.read_exact(&mut vec![0; usize::from(head[2])]).await.unwrap();
            if matches!(head[3], PING | GOAWAY) {
                return head[3] == GOAWAY;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_client_may_take_back_as_many_requests_unseen_as_the_bound_and_no_more() {
    let stage = Stage::open("");
    let taken_back = |many: u32| -> Vec<u8> {
        let numbers = (0..many).map(|number| 2 * number + 1);
        numbers.flat_map(|id| [unfinished(id), frame(RST_STREAM, 0, id, &[0, 0, 0, 8])].concat()).collect()
    };
    assert!(!is_told_to_go(&stage, &taken_back(20)).await);
    assert!(is_told_to_go(&stage, &taken_back(21)).await);
    stage.close().await;
}

#[tokio::test]
async fn a_client_may_break_the_rules_on_as_many_streams_as_the_bound_and_no_more() {
    let stage = Stage::open("");
    // Without a path.
    let wrong = |many: u32| -> Vec<u8> {
        let numbers = (0..many).map(|number| 2 * number + 1);
        numbers.flat_map(|id| frame(HEADERS, END_HEADERS | END_STREAM, id, b"\x82\x86\x01\x01x")).collect()
    };
    assert!(!is_told_to_go(&stage, &wrong(1024)).await);
    assert!(is_told_to_go(&stage, &wrong(1025)).await);
    stage.close().await;
}

#[tokio::test]
async fn a_busy_publisher_may_go_on_for_as_long_as_it_is_answered() {
    const REQUESTS: usize = 6000;
    const AT_ONCE: usize = 50;
    let stage = Stage::open("workers = 1\n");
    // One connection for all: whoever is cut off loses requests.
    let http = http().http2_prior_knowledge().pool_max_idle_per_host(1).build().unwrap();
    let origin = format!("http://{}", stage.address());
    let publishing = (0..AT_ONCE).map(|_| {
        let (http, origin) = (http.clone(), origin.clone());
        tokio::spawn(async move {
            for number in 0..REQUESTS / AT_ONCE {
                let body = event("news", &number.to_string());
                let url = format!("{origin}{}", signed("POST", "/apps/rim/events", &body));
                let answer = http.post(url).body(body).send().await.unwrap();
                assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, "{}"));
            }
        })
    });
    for publisher in publishing.collect::<Vec<_>>() {
        publisher.await.unwrap();
    }
    stage.close().await;
}

#[tokio::test]
async fn a_client_that_says_much_about_each_answer_may_as_long_as_it_is_answered() {
    // Three frames more for each request than it needs: together far more than may come at once.
    const REQUESTS: u32 = 10_000;
    const AT_ONCE: u32 = 50;
    let stage = Stage::open("workers = 1\n");
    let mut stream = greet(&stage).await;
    // GET http x:/live, complete.
    let head = b"\x82\x86\x01\x01x\x04\x05/live";
    let update = frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 5]);
    let besides = [update.clone(), update, frame(PING, 0, 0, &[0; 8])].concat();
    let numbers: Vec<u32> = (0..REQUESTS).collect();
    within(async {
        for numbers in numbers.chunks(AT_ONCE as usize) {
            let request = |number: &u32| {
                [frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, head), besides.clone()].concat()
            };
            stream.write_all(&numbers.iter().map(request).collect::<Vec<_>>().concat()).await.unwrap();
            let mut answered = 0;
            while answered < numbers.len() {
                let mut head = [0; 9];
                stream.read_exact(&mut head).await.unwrap();
                let mut payload = vec![0; usize::from(head[2])];
                stream.read_exact(&mut payload).await.unwrap();
                assert_ne!(head[3], GOAWAY, "before {numbers:?}");
                answered += usize::from(head[3] == DATA && head[4] & END_STREAM != 0);
            }
        }
    })
    .await;
    stage.close().await;
}
