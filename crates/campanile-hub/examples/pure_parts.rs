//! What the pure parts of a delivery cost.
//!
//! Without arguments: the time of each part. With `PART REPETITIONS`: does that part so often and nothing else, so that an
//! instruction counter can be run over it (`cargo xtask ci --only instructions`).

use std::hint::black_box;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use campanile_hub::letter::Homes;
use campanile_hub::{App, AppIndex, Apps, ConnectionId, Hub, Letter, Moment, Publication, Settings, WorkerId};
use campanile_protocol::json::DataLiteral;
use campanile_protocol::signature::{SignedQuery, sign_request};
use campanile_protocol::trigger::{Batch, Trigger};
use campanile_protocol::websocket::{Incoming, Opcode, Role, Rules, encode_masked_into};
use campanile_protocol::{ChannelName, ClientFrame, EventName, Limits, Secret, ServerFrame, SocketId};

/// A part: its name, and what makes it. Making it costs as much however often it is repeated.
type Part = (&'static str, fn() -> Box<dyn FnMut()>);

const PARTS: [Part; 8] = [
    ("websocket_frame_in", websocket_frame_in),
    ("client_frame_decode", client_frame_decode),
    ("event_frame_encode", event_frame_encode),
    ("request_signature", request_signature),
    ("trigger_parse", trigger_parse),
    ("batch_of_10_parse", batch_of_10_parse),
    ("fanout_to_1000", fanout_to_1000),
    ("unicast_to_10", unicast_to_10),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => {
            for (name, make) in PARTS {
                report(name, make());
            }
        }
        [part, repetitions] => {
            let make = PARTS.iter().find(|(name, _)| name == part).map(|(_, make)| make);
            let (Some(make), Ok(repetitions)) = (make, repetitions.parse::<u32>()) else {
                return usage();
            };
            let mut work = make();
            for _ in 0..repetitions {
                work();
            }
        }
        _ => usage(),
    }
}

#[expect(clippy::print_stdout, reason = "it is what the example is for")]
fn usage() {
    let names: Vec<&str> = PARTS.iter().map(|(name, _)| *name).collect();
    println!("usage: pure_parts [PART REPETITIONS], where PART is one of {}", names.join(", "));
    std::process::exit(2);
}

/// The median of some rounds.
#[expect(clippy::print_stdout, reason = "it is what the example is for")]
fn report(name: &str, mut work: impl FnMut()) {
    const ROUNDS: usize = 21;
    const ROUND: Duration = Duration::from_millis(20);
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let (start, mut done) = (Instant::now(), 0_u32);
            while start.elapsed() < ROUND {
                work();
                done += 1;
            }
            start.elapsed().as_secs_f64() * 1e9 / f64::from(done)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    println!("{name:<22} {:>10.0} ns", rounds[ROUNDS / 2]);
}

/// 1.2 KB of JSON in a JSON string, as an SDK sends it.
fn data() -> String {
    let lines = r#"{\"sku\":\"A-1047\",\"name\":\"Desk lamp\",\"qty\":2},"#.repeat(24);
    format!(r#""{{\"lines\":[{lines}{{}}]}}""#)
}

fn app() -> App {
    App::new("app", "key", "secret")
}

fn websocket_frame_in() -> Box<dyn FnMut()> {
    let mut frame = Vec::new();
    encode_masked_into(&mut frame, Opcode::Text, data().as_bytes(), [1, 2, 3, 4]);
    let rules = Rules { role: Role::Server, message_max: 64 * 1024 };
    let (mut incoming, mut bytes) = (Incoming::default(), frame.clone());
    Box::new(move || {
        bytes.copy_from_slice(&frame);
        let received = incoming.receive(&mut bytes, rules, |received| {
            black_box(received);
            ControlFlow::Continue(())
        });
        black_box(received).expect("the frame is valid");
    })
}

fn client_frame_decode() -> Box<dyn FnMut()> {
    let text = r#"{"event":"pusher:subscribe","data":{"channel":"private-user.7","auth":"key:0123456789abcdef"}}"#;
    Box::new(move || {
        black_box(ClientFrame::decode(black_box(text))).expect("the frame is valid");
    })
}

fn event_frame_encode() -> Box<dyn FnMut()> {
    let data = DataLiteral::from_text(&data());
    Box::new(move || {
        let frame = ServerFrame::Event { event: "told", channel: "private-user.7", data: &data, user_id: None };
        black_box(black_box(frame).encode());
    })
}

fn body() -> String {
    format!(r#"{{"name":"told","channel":"private-user.7","data":{}}}"#, data())
}

fn request_signature() -> Box<dyn FnMut()> {
    const NOW: u64 = 1_700_000_000;
    let (secret, body) = (Secret::new("secret"), body());
    let query = sign_request("key", &secret, "POST", "/apps/app/events", &[], body.as_bytes(), NOW);
    Box::new(move || {
        let query = SignedQuery::parse(black_box(&query));
        query.verify(&secret, "POST", "/apps/app/events", NOW).expect("the signature is right");
        query.verify_body(body.as_bytes()).expect("the body is the one that was signed");
    })
}

fn trigger_parse() -> Box<dyn FnMut()> {
    let (body, limits) = (body(), Limits::default());
    Box::new(move || {
        let query = SignedQuery::parse("");
        black_box(Trigger::parse(black_box(&body), &query, &limits)).expect("the body is valid");
    })
}

fn batch_of_10_parse() -> Box<dyn FnMut()> {
    let (body, limits) = (format!(r#"{{"batch":[{}]}}"#, [body().as_str(); 10].join(",")), Limits::default());
    Box::new(move || {
        black_box(Batch::parse(black_box(&body), &limits)).expect("the body is valid");
    })
}

/// A mind whose connections all subscribe to the channels that `channel` gives them.
fn mind(connections: u32, channel: impl Fn(u32) -> String) -> Hub {
    let settings = Settings::new(WorkerId(0), Homes { seed: 0, workers: 1 });
    let apps = Arc::new(Apps::new(vec![app()], None));
    let mut hub = Hub::new(settings, Arc::clone(&apps));
    let app = Arc::clone(apps.get(AppIndex(0)).expect("it has just been made"));
    for index in 0..connections {
        let id = ConnectionId { index, generation: 0 };
        hub.connect(id, &app, SocketId { place: u64::from(index), secret: 1 }, 7, Moment(0));
        let subscribe = format!(r#"{{"event":"pusher:subscribe","data":{{"channel":"{}"}}}}"#, channel(index));
        hub.receive(id, &subscribe, Moment(0));
    }
    assert_eq!(taken(&mut hub), connections as usize);
    hub
}

/// How many connections the tick has something for.
fn taken(hub: &mut Hub) -> usize {
    hub.fanout().gather();
    let mut writes = 0;
    while let Some(write) = hub.fanout().next_write() {
        black_box(write.slices);
        writes += 1;
    }
    writes
}

fn publish(hub: &mut Hub, channel: &ChannelName, event: &EventName, frame: &campanile_protocol::EncodedFrame) {
    let key = campanile_hub::letter::ChannelKey { app: AppIndex(0), name: channel.clone() };
    let (event, frame) = (event.clone(), frame.clone());
    let publication = Publication { event, frame, except: None, remember: None, lasting: true, receipt: None };
    hub.letter(Letter::Publish { key, publication, ask: None }, Moment(1));
}

fn name(channel: &str) -> ChannelName {
    ChannelName::parse(channel, 200).expect("the name is valid")
}

fn told() -> EventName {
    EventName::parse("told", 200).expect("the name is valid")
}

fn frame(channel: &str) -> campanile_protocol::EncodedFrame {
    let data = DataLiteral::from_text(&data());
    ServerFrame::Event { event: "told", channel, data: &data, user_id: None }.encode()
}

fn fanout_to_1000() -> Box<dyn FnMut()> {
    let mut hub = mind(1000, |_| "news".to_owned());
    let (channel, event, frame) = (name("news"), told(), frame("news"));
    Box::new(move || {
        publish(&mut hub, &channel, &event, &frame);
        assert_eq!(taken(&mut hub), 1000);
    })
}

fn unicast_to_10() -> Box<dyn FnMut()> {
    let mut hub = mind(1000, |index| format!("user.{index}"));
    let channels: Vec<ChannelName> = (0..10).map(|number| name(&format!("user.{}", number * 97))).collect();
    let (event, frame) = (told(), frame("user.0"));
    Box::new(move || {
        for channel in &channels {
            publish(&mut hub, channel, &event, &frame);
        }
        assert_eq!(taken(&mut hub), 10);
    })
}
