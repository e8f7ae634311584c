//! Clients that offer permessage-deflate, and those beside them that do not.

use std::ops::ControlFlow;

use campanile::config::limits;
use campanile_protocol::websocket::{
    DEFLATED_PAYLOAD_BYTES_MIN, Deflater, Incoming, Inflater, Opcode, Received, Role, Rules, encode, header,
};
use serde_json::{Value, json};

use crate::common::{Client, Frame, Opening, TestServer, frame, start};

const ON: (&str, &str) = ("compression", "true");

/// What Chromium offers.
const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";
const AGREED: &str =
    "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n";

const COMPRESSED_TEXT: u8 = 0xc1;

/// Upgrades with these header lines, and gives the head of the answer.
fn open(server: &TestServer, headers: &str) -> (Client, String) {
    let mut client = Client::dial(server);
    client.raw(Opening { headers, ..Opening::default() }.head().as_bytes());
    let head = client.until_blank_line();
    (client, head)
}

/// A client that has agreed on compression.
fn connect(server: &TestServer) -> Client {
    let (mut client, head) = open(server, OFFER);
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains(AGREED), "{head}");
    client.establish();
    client
}

/// The text of the next message, and whether it came compressed.
fn next(client: &mut Client) -> (String, bool) {
    match client.next() {
        Frame::Text(text) => (text, false),
        Frame::Compressed(payload) => (inflated(&payload), true),
        other => panic!("a message was expected, not {other:?}"),
    }
}

fn inflated(payload: &[u8]) -> String {
    let (mut first, size) = header(Opcode::Text, payload.len());
    first[0] |= 0x40;
    let mut bytes = [&first[..size], payload].concat();
    let mut text = String::new();
    let rules = Rules { role: Role::Client, message_max: 1 << 20 };
    let ended = Incoming::default().receive_compressed(&mut bytes, rules, &mut Inflater::default(), |received| {
        let Received::Text(heard) = received else { panic!("{received:?}") };
        text.push_str(heard);
        ControlFlow::Continue(())
    });
    assert_eq!(ended, Ok(()));
    text
}

/// What a client's compressed message carries; too short a text goes into a block without compression.
fn deflated(text: &str) -> Vec<u8> {
    if let Some(frame) = Deflater::default().frame(&encode(Opcode::Text, text.as_bytes())) {
        let header = if frame[1] == 127 {
            10
        } else if frame[1] == 126 {
            4
        } else {
            2
        };
        return frame[header..].to_vec();
    }
    let length = u16::try_from(text.len()).unwrap();
    [&[0], &length.to_le_bytes()[..], &(!length).to_le_bytes(), text.as_bytes(), &[0]].concat()
}

#[test]
fn an_offer_is_left_unanswered_unless_compression_is_on() {
    let server = start(&[]);
    for headers in ["", OFFER, "Sec-WebSocket-Extensions: ;\r\n"] {
        let (mut client, head) = open(&server, headers);
        assert!(head.starts_with("HTTP/1.1 101 ") && !head.contains("Extensions"), "{head}");
        client.establish();
    }
    let (mut client, _) = open(&server, OFFER);
    client.establish();
    client.frame(COMPRESSED_TEXT, &deflated(r#"{"event":"pusher:ping","data":{}}"#));
    assert_eq!(client.closed(), 1002);
}

#[test]
fn compression_is_agreed_on_with_whoever_offers_it_and_with_nobody_else() {
    let server = start(&[ON]);
    drop(connect(&server));
    for headers in ["", "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=8\r\n"] {
        let (mut client, head) = open(&server, headers);
        assert!(head.starts_with("HTTP/1.1 101 ") && !head.contains("Extensions"), "{head}");
        client.establish();
        client.frame(COMPRESSED_TEXT, &deflated(r#"{"event":"pusher:ping","data":{}}"#));
        assert_eq!(client.closed(), 1002);
    }
    let (_, head) = open(&server, "Sec-WebSocket-Extensions: permessage-deflate;\r\n");
    assert!(head.starts_with("HTTP/1.1 400 "), "{head}");
    // On a connection that has carried a request before, too.
    let mut client = Client::dial(&server);
    client.raw(b"GET /live HTTP/1.1\r\nHost: test\r\n\r\n");
    assert!(client.until_blank_line().starts_with("HTTP/1.1 200 "));
    client.raw(Opening { headers: OFFER, ..Opening::default() }.head().as_bytes());
    let head = client.until_blank_line().to_lowercase();
    assert!(head.contains(&AGREED.to_lowercase()), "{head}");
}

#[test]
fn subscribers_hear_the_same_whether_they_have_agreed_or_not() {
    let server = start(&[ON, ("apps.0.subscription_counts", "true")]);
    let (channel, long) = ("presence-room", "a long text, ".repeat(100));
    let mut members = [connect(&server), connect(&server), Client::connect(&server), Client::connect(&server)];
    for (index, client) in members.iter_mut().enumerate() {
        let data = client.signed(channel, Some(&json!({ "user_id": index.to_string() }).to_string()));
        client.ask_for(data);
        while !next(client).0.contains("subscription_succeeded") {}
    }
    let mut author = Client::connect(&server);
    let described = json!({ "user_id": "author", "user_info": { "about": "x".repeat(800) } }).to_string();
    let data = author.signed(channel, Some(&described));
    author.ask_for(data);
    author.subscribed(channel);
    author.send(&json!({ "event": "client-said", "channel": channel, "data": { "said": long } }));
    author.sync();
    server.publish(channel, "long", &long);
    server.publish(channel, "short", "{}");
    author.send(&json!({ "event": "pusher:unsubscribe", "data": { "channel": channel } }));
    author.sync();
    server.publish(channel, "last", "{}");

    let mut heard = members.map(|mut client| {
        let mut heard: Vec<(String, bool)> = Vec::new();
        while !heard.last().is_some_and(|(text, _)| text.contains("\"last\"")) {
            let (text, compressed) = next(&mut client);
            assert!(!compressed || text.len() >= DEFLATED_PAYLOAD_BYTES_MIN);
            // Those who were there earlier have heard the others come.
            let is_about_the_author = text.contains("author") || !text.contains("member_added");
            if is_about_the_author {
                heard.push((text, compressed));
            }
        }
        heard
    });
    let plain: Vec<(String, bool)> = heard[3].clone();
    assert!(plain.iter().all(|(_, compressed)| !compressed));
    let long_ones = plain.iter().filter(|(text, _)| text.len() >= DEFLATED_PAYLOAD_BYTES_MIN).count();
    assert_eq!(long_ones, 3, "a member, a client event, an event: {plain:?}");
    assert_eq!(heard[2], plain);
    for compressed in &mut heard[..2] {
        assert_eq!(compressed.iter().filter(|(_, compressed)| *compressed).count(), long_ones);
        compressed.iter_mut().for_each(|(_, compressed)| *compressed = false);
        assert_eq!(*compressed, plain);
    }
}

#[test]
fn whoever_watches_and_whoever_is_told_alone_hears_everything_too() {
    let server = start(&[ON]);
    let mut client = connect(&server);
    let watched: Vec<String> = (0..60).map(|index| format!("user-{index:0>20}")).collect();
    client.ask_to_sign_in(&json!({ "id": "me", "watchlist": watched }));
    assert_eq!(event(&mut client)["event"], "pusher:signin_success");
    assert_eq!(event(&mut client)["event"], "pusher_internal:watchlist_events");
    server.publish("#server-to-user-me", "told", &"x".repeat(2000));
    let (text, compressed) = next(&mut client);
    assert!(text.contains("\"told\"") && compressed);
    // What a cache channel remembers goes to its subscriber alone.
    server.publish("cache-news", "remembered", &"y".repeat(2000));
    client.ask_for(json!({ "channel": "cache-news" }));
    assert_eq!(event(&mut client)["event"], "pusher_internal:subscription_succeeded");
    assert_eq!(event(&mut client)["data"], "y".repeat(2000));
    client.ask_for(json!({ "channel": "no such channel!" }));
    assert_eq!(event(&mut client)["event"], "pusher:subscription_error");
}

fn event(client: &mut Client) -> Value {
    serde_json::from_str(&next(client).0).unwrap()
}

#[test]
fn a_client_may_speak_compressed_in_one_frame_or_several() {
    let server = start(&[ON]);
    let (mut speaker, mut listener) = (connect(&server), Client::connect(&server));
    listener.subscribe("private-talk");
    let subscribe = json!({ "event": "pusher:subscribe", "data": speaker.signed("private-talk", None) });
    speaker.frame(COMPRESSED_TEXT, &deflated(&subscribe.to_string()));
    speaker.subscribed("private-talk");
    let text = "said ".repeat(1000);
    let said = deflated(&json!({ "event": "client-said", "channel": "private-talk", "data": text }).to_string());
    let (first, second) = said.split_at(said.len() / 2);
    speaker.frame(0x41, first);
    speaker.frame(0x80, second);
    assert_eq!(listener.event()["data"], text);
    speaker.frame(COMPRESSED_TEXT, b"\xff");
    assert_eq!(speaker.closed(), 1007);
}

#[test]
fn a_message_that_inflates_past_the_limit_is_closed_as_one_that_is_sent_so() {
    const MAX: usize = 70_000;
    let server = start(&[ON, ("limits.frame_bytes_max", &MAX.to_string())]);
    let text = |length: usize| {
        let around = json!({ "event": "pusher:ping", "data": "" }).to_string().len();
        json!({ "event": "pusher:ping", "data": "x".repeat(length - around) }).to_string()
    };
    let mut client = connect(&server);
    client.frame(COMPRESSED_TEXT, &deflated(&text(MAX)));
    assert_eq!(client.event()["event"], "pusher:pong");
    client.frame(COMPRESSED_TEXT, &deflated(&text(MAX + 1)));
    assert_eq!(client.closed(), 1009);
    let mut plain = connect(&server);
    plain.text(&text(MAX + 1));
    assert_eq!(plain.closed(), 1009);
    // A bomb, with somebody beside it.
    let mut bystander = connect(&server);
    bystander.subscribe("news");
    let mut bomb = connect(&server);
    bomb.frame(COMPRESSED_TEXT, &deflated(&text(60 << 20)));
    assert_eq!(bomb.closed(), 1009);
    server.publish("news", "seen", "{}");
    assert_eq!(event(&mut bystander)["event"], "seen");
}

#[test]
fn the_messages_of_one_read_may_inflate_to_as_much_as_the_bound_and_no_more() {
    const MAX: usize = 64 * 1024;
    let server = start(&[ON, ("limits.frame_bytes_max", &MAX.to_string())]);
    let bound = MAX + limits::INFLATED_BYTES_PER_READ_MAX;
    let ping = |length: usize| {
        let around = json!({ "event": "pusher:ping", "data": "" }).to_string().len();
        json!({ "event": "pusher:ping", "data": "x".repeat(length - around) }).to_string()
    };
    let largest = frame(COMPRESSED_TEXT, &deflated(&ping(MAX)));
    let all = largest.repeat(bound / MAX);
    let mut client = connect(&server);
    client.raw(&all);
    for _ in 0..bound / MAX {
        assert_eq!(client.event()["event"], "pusher:pong");
    }
    client.raw(&[&all[..], &frame(0x81, ping(100).as_bytes())].concat());
    let mut pongs = 0;
    let code = loop {
        match client.next() {
            Frame::Text(text) if text.contains("pusher:pong") => pongs += 1,
            Frame::Close(code, _) => break code,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((pongs, code), (bound / MAX, 1009));
    server.serves_others();
}
