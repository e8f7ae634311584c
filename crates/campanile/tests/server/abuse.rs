//! Bad intent: each attack meets a live server, which must stay quick for everybody else.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{Client, Frame, Opening, SOON, frame, read_answer, signed_request, start, until};

#[test]
fn random_first_bytes_harm_nobody() {
    let server = start(&[("limits.head_timeout_secs", "1")]);
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let mut waiting = Vec::new();
    for round in 0..300 {
        let length = usize::try_from(random() % 2000).expect("small") + 1;
        let mut bytes: Vec<u8> = (0..length).map(|_| random().to_le_bytes()[0]).collect();
        // A third begins like a client, a third like an upgraded one.
        match round % 3 {
            0 => bytes.splice(0..0, *b"GET /app/").for_each(drop),
            1 => bytes.splice(0..0, Opening::default().head().bytes()).for_each(drop),
            _ => {}
        }
        let mut client = Client::dial(&server);
        client.raw(&bytes);
        waiting.push(client);
    }
    server.serves_others();
    let began = Instant::now();
    for client in waiting {
        // What was half a frame is waited for until the client has gone; nothing else is.
        drop(client);
    }
    assert!(began.elapsed() < SOON);
    server.wait_for_connections(0);
}

#[test]
fn half_open_connections_are_closed_and_nobody_waits_for_them() {
    let server = start(&[("limits.head_timeout_secs", "1")]);
    let mut silent: Vec<Client> = (0..500).map(|_| Client::dial(&server)).collect();
    server.serves_others();
    for client in &mut silent {
        client.ends();
    }
    server.serves_others();
}

#[test]
fn an_upgrade_and_its_first_frames_may_come_in_one_packet_or_byte_by_byte() {
    let server = start(&[]);
    let subscribe = json!({ "event": "pusher:subscribe", "data": { "channel": "a" } }).to_string();
    let bytes = [Opening::default().head().as_bytes(), &frame(0x81, subscribe.as_bytes())].concat();
    let mut at_once = Client::dial(&server);
    at_once.raw(&bytes);
    let mut bytewise = Client::dial(&server);
    for byte in &bytes {
        bytewise.raw(&[*byte]);
    }
    for client in [&mut at_once, &mut bytewise] {
        client.upgraded();
        client.establish();
        client.subscribed("a");
    }
}

#[test]
fn what_breaks_framing_closes_that_connection_with_the_right_code_and_no_other() {
    let server = start(&[]);
    let mut bystander = Client::connect(&server);
    let masked = |first: u8, length: u8| vec![first, 0x80 | length, 1, 2, 3, 4];
    for (what, bytes, code) in [
        ("not masked", vec![0x81, 0x02, b'{', b'}'], 1002),
        ("reserved bit 1", masked(0xc1, 0), 1002),
        ("reserved bit 2", masked(0xa1, 0), 1002),
        ("reserved bit 3", masked(0x91, 0), 1002),
        ("unknown opcode", masked(0x83, 0), 1002),
        ("unknown control opcode", masked(0x8b, 0), 1002),
        ("fragmented ping", masked(0x09, 0), 1002),
        ("long ping", vec![0x89, 0xfe, 0, 126], 1002),
        ("nothing to continue", masked(0x80, 0), 1002),
        ("new message within a message", [masked(0x01, 0), masked(0x81, 0)].concat(), 1002),
        ("length not minimal", vec![0x81, 0xfe, 0, 5], 1002),
        ("text that is not UTF-8", frame(0x81, b"\xc3\x28"), 1007),
        ("text cut within a character", frame(0x81, "{\"event\":\"ä".as_bytes().split_last().expect("bytes").1), 1007),
        ("fragment that is not UTF-8", frame(0x01, b"\xff"), 1007),
        ("close reason that is not UTF-8", frame(0x88, b"\x03\xe8\xff"), 1007),
        ("close code cut", frame(0x88, b"\x03"), 1002),
        ("close code that may not travel", frame(0x88, &1006_u16.to_be_bytes()), 1002),
    ] {
        let mut client = Client::connect(&server);
        // What came before is answered first.
        client.text(r#"{"event":"pusher:ping"}"#);
        client.raw(&bytes);
        assert_eq!(client.event()["event"], "pusher:pong", "{what}");
        assert_eq!(client.closed(), code, "{what}");
        assert_eq!(client.next(), Frame::End, "{what}");
    }
    for payload in [&b""[..], &1000_u16.to_be_bytes(), b"\x0f\xa0bye"] {
        let mut client = Client::connect(&server);
        client.frame(0x88, payload);
        let code = if payload.is_empty() { 1000 } else { u16::from_be_bytes([payload[0], payload[1]]) };
        assert_eq!(client.closed(), code);
        assert_eq!(client.next(), Frame::End);
    }
    assert_eq!(bystander.sync(), [] as [Value; 0]);
    drop(bystander);
    server.wait_for_connections(0);
}

#[test]
fn fragments_interleaved_with_control_frames_make_one_message() {
    let server = start(&[]);
    let mut client = Client::connect(&server);
    let text = json!({ "event": "pusher:subscribe", "data": { "channel": "a" }, "note": "zwölf € 😀" }).to_string();
    let bytes = text.as_bytes();
    let last = bytes.len() - 1;
    for (number, byte) in bytes.iter().enumerate() {
        let first = u8::from(number == 0) | if number == last { 0x80 } else { 0 };
        client.frame(first, &[*byte]);
        client.frame(0x89, &number.to_be_bytes());
    }
    let mut pongs = 0_usize;
    loop {
        match client.next() {
            Frame::Pong(payload) => {
                assert_eq!(payload, pongs.to_be_bytes());
                pongs += 1;
            }
            Frame::Text(text) => {
                assert!(text.contains("subscription_succeeded"), "{text}");
                assert!(pongs >= last, "the message was whole after {pongs} pongs");
                break;
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn json_however_deep_or_large_is_answered_and_costs_nobody_else() {
    let server = start(&[("limits.frame_bytes_max", "4194304"), ("apps.0.client_event_bytes_max", "1048576")]);
    let mut client = Client::connect(&server);
    client.subscribe("private-a");
    let mut other = Client::connect(&server);
    other.subscribe("private-a");
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(10_000), close.repeat(10_000));
    let (arrays, objects) = (deep("[", "]"), deep("{\"a\":", "}").replace(":}", ":1}"));
    for text in [
        arrays.clone(),
        objects.clone(),
        "[".repeat(10_000),
        format!(r#"{{"event":"pusher:subscribe","data":{arrays}}}"#),
        format!(r#"{{"event":{objects},"data":{{}}}}"#),
        format!(r#"{{"event":"pusher:subscribe","data":{{"channel":{arrays}}}}}"#),
        format!("{}1{}", "{\"event\":".repeat(5000), "}".repeat(5000)),
    ] {
        client.text(&text);
        assert_eq!(client.event()["event"], "pusher:error");
    }
    // Where any JSON may stand, depth is no fault, and what nobody reads is nobody's concern.
    for data in [&arrays, &objects] {
        client.text(&format!(r#"{{"event":"client-x","channel":"private-a","data":{data}}}"#));
        let Frame::Text(text) = other.next() else { panic!("an event was expected") };
        assert!(text.contains(data.as_str()));
        client.text(&format!(r#"{{"event":"pusher:ping","data":{data},"more":{data}}}"#));
        assert_eq!(client.event()["event"], "pusher:pong");
    }
    let huge = format!(r#"{{"event":"pusher:ping","data":[{}1]}}"#, "1,".repeat(2_000_000));
    client.text(&huge);
    server.serves_others();
    assert_eq!(client.event()["event"], "pusher:pong");
    // A publisher may send the same.
    for data in [&arrays, &objects] {
        let body = format!(r#"{{"name":"e","channel":"deep","data":{data}}}"#);
        let answer = server.exchange(&signed_request("POST", "/apps/app/events", &[], &body));
        assert!([200, 413].contains(&answer.status), "{answer:?}");
        let body = format!(r#"{{"batch":{data}}}"#);
        let answer = server.exchange(&signed_request("POST", "/apps/app/batch_events", &[], &body));
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.body.len() < 300, "{answer:?}");
    }
    for data in [&arrays, &objects] {
        let mut member = Client::connect(&server);
        let channel_data = format!(r#"{{"user_id":"1","user_info":{data}}}"#);
        let subscription = member.signed("presence-a", Some(&channel_data));
        member.ask_for(subscription);
        assert_eq!(member.event()["data"]["type"], "LimitReached");
    }
    server.serves_others();
}

#[test]
fn thousands_of_subscribes_in_one_burst_are_answered_each_and_bounded() {
    let server = start(&[]);
    let mut client = Client::connect(&server);
    let mut burst = Vec::new();
    for number in 0..3000 {
        let subscribe = json!({ "event": "pusher:subscribe", "data": { "channel": format!("a{number}") } });
        burst.extend(frame(0x81, subscribe.to_string().as_bytes()));
    }
    let mut writer = client.stream.try_clone().expect("a descriptor");
    let writing = std::thread::spawn(move || writer.write_all(&burst));
    let (mut succeeded, mut refused) = (0, 0);
    while succeeded + refused < 3000 {
        let event = client.event();
        match event["event"].as_str() {
            Some("pusher_internal:subscription_succeeded") => succeeded += 1,
            Some("pusher:subscription_error") => refused += 1,
            Some("pusher:error") => {}
            _ => panic!("{event}"),
        }
    }
    assert_eq!((succeeded, refused), (1000, 2000));
    writing.join().expect("the writer ends").expect("the server takes it all");
    server.serves_others();
    // Not the bystander's own, which may take a moment to be vacated.
    let channels = server.get("/apps/app/channels", &[("filter_by_prefix", "a")]).json();
    assert_eq!(channels["channels"].as_object().map(|channels| channels.len()), Some(1000));
    client.vanish();
    until(|| {
        let channels = server.get("/apps/app/channels", &[]).body;
        if channels == r#"{"channels":{}}"# { Ok(()) } else { Err(format!("{} bytes of channels", channels.len())) }
    });
}

#[test]
fn a_client_that_asks_without_reading_is_closed_before_it_fills_the_memory() {
    let server = start(&[("limits.send_queue_bytes_max", "65536"), ("apps.0.presence_snapshot_bytes_max", "4096")]);
    let mut client = Client::connect(&server);
    let pings = frame(0x81, br#"{"event":"pusher:ping"}"#).repeat(2000);
    // Some megabytes of pongs fit into the kernel's buffers; past those and the queue, nothing more is accepted.
    let began = Instant::now();
    let mut sent = 0;
    client.stream.set_write_timeout(Some(SOON)).expect("a socket option");
    while client.stream.write_all(&pings).is_ok() {
        sent += 2000;
        assert!(began.elapsed() < 4 * SOON, "{sent} pings were taken from a client that reads nothing");
    }
    server.wait_for_connections(0);
    server.serves_others();
}

#[test]
fn a_subscriber_that_never_reads_is_closed_with_4100_and_nobody_else_loses_an_event() {
    // Together more than the kernel holds for one connection.
    const EVENTS: usize = 300;
    const BYTES: usize = 100_000;
    let server = start(&[
        ("limits.send_queue_bytes_max", "262144"),
        ("limits.closing_timeout_secs", "60"),
        ("apps.0.presence_snapshot_bytes_max", "4096"),
        ("apps.0.event_data_bytes_max", "100000"),
    ]);
    let subscribed = || {
        let mut client = Client::connect(&server);
        client.subscribe("crowded");
        client
    };
    let mut victims: Vec<Client> = (0..4).map(|_| subscribed()).collect();
    let mut readers: Vec<Client> = (0..4).map(|_| subscribed()).collect();
    let mut publisher = server.dial();
    for number in 0..EVENTS {
        let body = json!({ "name": format!("e{number}"), "channel": "crowded", "data": "x".repeat(BYTES) });
        publisher.write_all(&signed_request("POST", "/apps/app/events", &[], &body.to_string())).unwrap();
        assert_eq!(read_answer(&mut publisher).expect("an answer").status, 200);
        for reader in &mut readers {
            assert_eq!(reader.event()["event"], format!("e{number}"), "each event comes once and in order");
        }
    }
    for mut reader in readers {
        assert_eq!(reader.sync(), [] as [Value; 0]);
    }
    server.wait_for_connections(0);
    for victim in &mut victims {
        let mut got = 0;
        let code = loop {
            match victim.next() {
                Frame::Text(text) => {
                    assert!(text.starts_with(&format!(r#"{{"event":"e{got}","#)), "a hole before {}", &text[..30]);
                    got += 1;
                }
                Frame::Close(code, _) => break code,
                other => panic!("{other:?} after {got} events"),
            }
        };
        assert_eq!(code, 4100);
        assert!(got > 0 && got < EVENTS, "{got}");
    }
}

#[test]
fn slow_readers_together_take_no_more_than_they_may() {
    const BYTES: usize = 100_000;
    const ONE: &str = "1048576";
    // Publishes to those who read nothing until the first of them is closed, or `events_max` are out.
    let publish = |all: &str, events_max: usize| {
        let server = start(&[
            ("workers", "1"),
            ("limits.send_queue_bytes_max", ONE),
            ("limits.send_queues_bytes_max", all),
            ("limits.closing_timeout_secs", "60"),
            ("apps.0.event_data_bytes_max", "100000"),
        ]);
        let _slow: Vec<Client> = (0..6)
            .map(|_| {
                let mut client = Client::connect(&server);
                client.subscribe("crowded");
                client
            })
            .collect();
        let mut reader = Client::connect(&server);
        reader.subscribe("crowded");
        let mut publisher = server.dial();
        let mut events = 0;
        while events < events_max && server.connections() == 7 {
            let body = json!({ "name": format!("e{events}"), "channel": "crowded", "data": "x".repeat(BYTES) });
            publisher.write_all(&signed_request("POST", "/apps/app/events", &[], &body.to_string())).unwrap();
            assert_eq!(read_answer(&mut publisher).expect("an answer").status, 200);
            assert_eq!(reader.event()["event"], format!("e{events}"));
            events += 1;
        }
        (events, server.connections())
    };
    let (events, open) = publish(ONE, 1000);
    assert!((1..7).contains(&open), "some who do not read are closed, and the one who does stays: {open}");
    // Where all together may have more, each for itself is still within its own bound.
    assert_eq!(publish("1073741824", events), (events, 7));
}

#[test]
fn slow_readers_who_are_closed_and_still_read_nothing_hold_no_more_than_all_may() {
    // What each may have begun to read stays in its queue when it is closed: together more than the bound.
    const SLOW: u64 = 40;
    const BYTES: usize = 100_000;
    let server = start(&[
        ("workers", "1"),
        ("limits.send_queue_bytes_max", "1048576"),
        ("limits.send_queues_bytes_max", "1048576"),
        ("limits.closing_timeout_secs", "60"),
        ("apps.0.event_data_bytes_max", "100000"),
    ]);
    let subscribed = || {
        let mut client = Client::connect(&server);
        client.subscribe("crowded");
        client
    };
    let slow: Vec<Client> = (0..SLOW).map(|_| subscribed()).collect();
    let mut reader = subscribed();
    let mut publisher = server.dial();
    while server.connections() > 1 {
        let body = json!({ "name": "e", "channel": "crowded", "data": "x".repeat(BYTES) });
        publisher.write_all(&signed_request("POST", "/apps/app/events", &[], &body.to_string())).unwrap();
        assert_eq!(read_answer(&mut publisher).expect("an answer").status, 200);
        assert_eq!(reader.event()["event"], "e");
    }
    let (mut told, mut dropped) = (0, 0);
    for mut client in slow {
        // From here on it reads, to the end: the close frame, or a stream that has ended within an event.
        let mut bytes = Vec::new();
        client.stream.set_read_timeout(Some(SOON)).expect("a socket option");
        let _ = client.stream.read_to_end(&mut bytes);
        let frame = bytes.windows(4).rposition(|window| window[0] == 0x88 && window[2..] == 4100_u16.to_be_bytes());
        match frame.filter(|at| bytes.len() - at < 130) {
            Some(_) => told += 1,
            None => dropped += 1,
        }
    }
    assert!(told > 0 && dropped > 0, "{told} were told, {dropped} dropped");
    assert_eq!(told + dropped, SLOW);
    assert_eq!(reader.sync(), [] as [Value; 0]);
}

#[test]
fn sockets_that_are_reset_within_a_fan_out_disturb_nobody() {
    let server = start(&[("limits.presence_grace_secs", "0")]);
    let mut readers: Vec<Client> = (0..20).map(|_| Client::connect(&server)).collect();
    for reader in &mut readers {
        reader.subscribe("crowded");
    }
    let stop = std::sync::atomic::AtomicBool::new(false);
    let published = std::thread::scope(|scope| {
        let publishing = scope.spawn(|| {
            let mut publisher = server.dial();
            let mut number = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let body = json!({ "name": format!("e{number}"), "channel": "crowded", "data": "x".repeat(1000) });
                publisher.write_all(&signed_request("POST", "/apps/app/events", &[], &body.to_string())).unwrap();
                assert_eq!(read_answer(&mut publisher).expect("an answer").status, 200);
                number += 1;
            }
            number
        });
        let reading: Vec<_> = readers
            .iter_mut()
            .map(|reader| {
                scope.spawn(|| {
                    for number in 0.. {
                        let event = reader.event();
                        if event["event"] == "last" {
                            return number;
                        }
                        assert_eq!(event["event"], format!("e{number}"));
                    }
                    0
                })
            })
            .collect();
        for _ in 0..300 {
            let mut victim = Client::connect(&server);
            victim.subscribe("crowded");
            victim.vanish();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let published = publishing.join().expect("the publisher ends");
        server.publish("crowded", "last", "");
        for reader in reading {
            assert_eq!(reader.join().expect("the reader ends"), published);
        }
        published
    });
    assert!(published > 0);
    drop(readers);
    server.wait_for_connections(0);
}

#[test]
fn a_publisher_that_hangs_up_within_a_request_disturbs_nobody() {
    let server = start(&[]);
    let body = json!({ "name": "e", "channel": "c", "data": "d", "info": "subscription_count" }).to_string();
    let request = signed_request("POST", "/apps/app/events", &[], &body);
    for cut in (1..request.len()).step_by(7) {
        let mut publisher = server.dial();
        publisher.write_all(&request[..cut]).unwrap();
        if cut % 2 == 0 {
            publisher.shutdown(Shutdown::Write).unwrap();
        }
    }
    for _ in 0..100 {
        let mut publisher = server.dial();
        publisher.write_all(&request).unwrap();
    }
    server.serves_others();
}

#[test]
fn a_drain_ends_though_clients_keep_knocking() {
    let server = start(&[("limits.closing_timeout_secs", "1")]);
    let probe = server.probe();
    let _stubborn: Vec<Client> = (0..50).map(|_| Client::connect(&server)).collect();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let knocking: Vec<_> = (0..4)
        .map(|_| {
            let stop = std::sync::Arc::clone(&stop);
            std::thread::spawn(move || {
                let mut left = Vec::new();
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    match std::net::TcpStream::connect_timeout(&probe.address(), Duration::from_millis(200)) {
                        Ok(mut stream) => {
                            let _ = stream.write_all(Opening::default().head().as_bytes());
                            left.push(stream);
                        }
                        Err(_) => std::thread::sleep(Duration::from_millis(10)),
                    }
                    std::thread::sleep(Duration::from_millis(2));
                }
            })
        })
        .collect();
    let took = server.drain();
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for knocking in knocking {
        knocking.join().expect("a client ends");
    }
    assert!(took < 2 * SOON, "{took:?}");
}

/// A server in a process of its own, which may open few descriptors.
struct Cramped {
    process: std::process::Child,
    address: std::net::SocketAddr,
    _state: tempfile::TempDir,
}

impl Drop for Cramped {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Cramped {
    fn start(descriptors: usize) -> Self {
        let state = tempfile::tempdir().expect("a directory can be made");
        let mut process = std::process::Command::new("sh")
            .args(["-c", &format!("ulimit -n {descriptors}; exec \"$0\" serve"), env!("CARGO_BIN_EXE_campanile")])
            .env("CAMPANILE__STATE_DIR", state.path())
            .env("CAMPANILE__WORKERS", "1")
            .env("CAMPANILE__LISTEN__PORT", "0")
            .env("CAMPANILE__LIMITS__HTTP_CONNECTIONS_MAX", "1")
            .env("CAMPANILE__LIMITS__HEAD_TIMEOUT_SECS", "4")
            .env("CAMPANILE__LOG__LEVEL", "error")
            .stdout(std::process::Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("it is piped");
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).expect("the server says where");
        let address = line.split("http://").nth(1).and_then(|rest| rest.split_whitespace().next());
        let address = address.and_then(|address| address.parse().ok()).expect("an address");
        Self { process, address, _state: state }
    }

    /// Processor time that it has used, in clock ticks of 10 ms.
    fn ticks(&self) -> u64 {
        let path = format!("/proc/{}/stat", self.process.id());
        let stat = std::fs::read_to_string(path).expect("the process runs");
        let fields: Vec<&str> = stat.rsplit(')').next().expect("fields").split_whitespace().collect();
        [11, 12].iter().map(|field| fields[*field].parse::<u64>().expect("a number")).sum()
    }

    fn client(&self) -> Client {
        let head = Opening { key: campanile::config::DEVELOPMENT_KEY, ..Opening::default() }.head();
        let mut client = Client::at(self.address);
        client.raw(head.as_bytes());
        client.upgraded();
        client.establish();
        client
    }

    fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.process.id())).expect("the process runs").count()
    }
}

/// Sockets that a [`Cramped`] server may have: what clients and publishers may, and half of the reserve.
const fn sockets_of(descriptors: usize) -> usize {
    descriptors - 128 + 64
}

#[test]
fn half_open_sockets_take_no_more_descriptors_than_are_theirs_and_the_oldest_make_room() {
    const DESCRIPTORS: usize = 300;
    const LATE: usize = 50;
    let server = Cramped::start(DESCRIPTORS);
    let mut client = server.client();
    let before = server.descriptors();
    // Beside the client's.
    let room = sockets_of(DESCRIPTORS) - 1;
    let mut half_open: Vec<Client> = (0..room).map(|_| Client::at(server.address)).collect();
    let opened = || server.descriptors() - before;
    until(|| if opened() == room { Ok(()) } else { Err(format!("{} sockets", opened())) });
    // As many as may be, and all of them stay; for each of these one of those goes, the oldest first.
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(opened(), room);
    half_open.extend((0..LATE).map(|_| Client::at(server.address)));
    for gone in &mut half_open[..LATE] {
        gone.ends();
    }
    assert_eq!(opened(), room);
    // Those who are left are served when they say what they want, and only the next oldest are missing.
    let head = Opening { key: campanile::config::DEVELOPMENT_KEY, ..Opening::default() }.head();
    for kept in [LATE, LATE + 1, room, room + LATE - 1] {
        half_open[kept].raw(head.as_bytes());
        half_open[kept].upgraded();
        half_open[kept].establish();
    }
    // Whoever is served is not what makes room, and a full house costs no time.
    let (ticks, began) = (server.ticks(), Instant::now());
    while began.elapsed() < Duration::from_secs(1) {
        assert_eq!(client.sync(), [] as [Value; 0]);
        std::thread::sleep(Duration::from_millis(50));
    }
    let used = server.ticks() - ticks;
    assert!(used < 50, "it turned in circles for {used} ticks of 10 ms within a second");
    drop(half_open);
    server.client();
}

#[test]
fn ten_thousand_half_open_sockets_lock_nobody_out() {
    const DESCRIPTORS: usize = 300;
    let server = Cramped::start(DESCRIPTORS);
    let mut client = server.client();
    let mut half_open = std::collections::VecDeque::new();
    let mut slowest = Duration::ZERO;
    for number in 0..10_000 {
        // An end of a head, a beginning of a handshake, nothing at all.
        let mut stranger = Client::at(server.address);
        stranger.raw([&b"GET /app/x HTTP/1.1\r\n"[..], b"\x16\x03\x01", b""][number % 3]);
        half_open.push_back(stranger);
        if half_open.len() > 500 {
            half_open.pop_front();
        }
        if number % 500 == 499 {
            let began = Instant::now();
            let mut newcomer = server.client();
            assert_eq!(newcomer.sync(), [] as [Value; 0]);
            slowest = slowest.max(began.elapsed());
        }
    }
    // Less than half of what a head may take, which is when room would come by itself.
    assert!(slowest < Duration::from_secs(2), "a newcomer waited for {slowest:?}");
    assert_eq!(client.sync(), [] as [Value; 0]);
}

#[test]
fn whoever_has_been_told_the_end_makes_room_as_well_and_whoever_is_served_does_not() {
    const DESCRIPTORS: usize = 300;
    let server = Cramped::start(DESCRIPTORS);
    // Its body does not come yet.
    let mut publisher = Client::at(server.address);
    let (id, key) = (campanile::config::DEVELOPMENT_ID, campanile::config::DEVELOPMENT_KEY);
    let head = format!("POST /apps/{id}/events?auth_key={key} HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n");
    publisher.raw(head.as_bytes());
    let mut clients: Vec<Client> = (0..20).map(|_| server.client()).collect();
    // Refused, and they do not go.
    let refused: Vec<Client> = (0..sockets_of(DESCRIPTORS) + 50)
        .map(|_| {
            let mut refused = Client::at(server.address);
            refused.raw(b"GET /app/x HTTP/1.1\r\n\r\n");
            refused
        })
        .collect();
    let began = Instant::now();
    let mut newcomer = server.client();
    assert_eq!(newcomer.sync(), [] as [Value; 0]);
    // Long before the refused would have had to go.
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    for client in &mut clients {
        assert_eq!(client.sync(), [] as [Value; 0]);
    }
    publisher.raw(b"body");
    assert_eq!(read_answer(&mut publisher.stream).expect("an answer").status, 401);
    drop(refused);
}

#[test]
fn with_few_permits_everybody_is_served_in_turn() {
    let server = start(&[("limits.permits_per_worker", "16"), ("workers", "3")]);
    let mut clients: Vec<Client> = (0..100).map(|_| Client::connect(&server)).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        let burst: Vec<u8> = (0..50)
            .flat_map(|channel| {
                let channel = format!("a{number}-{channel}");
                let subscribe = json!({ "event": "pusher:subscribe", "data": { "channel": channel } });
                frame(0x81, subscribe.to_string().as_bytes())
            })
            .collect();
        client.raw(&burst);
    }
    for client in &mut clients {
        for _ in 0..50 {
            assert_eq!(client.event()["event"], "pusher_internal:subscription_succeeded");
        }
        assert_eq!(client.sync(), [] as [Value; 0]);
    }
    server.serves_others();
}
