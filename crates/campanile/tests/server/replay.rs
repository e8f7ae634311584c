//! Clients who come back to channels that can send events again.

use serde_json::{Value, json};

use crate::common::{Client, TestServer, in_string, start, until};

const CHANNEL: &str = "private-replay.1";
const PATTERN: (&str, &str) = ("apps.0.replay_channels.0", "private-replay.*");

/// What comes up to a position with this number: events by their data, others by their names, and the position.
fn up_to(client: &mut Client, number: u64) -> (Vec<String>, String) {
    let mut heard = Vec::new();
    loop {
        let event = client.event();
        match event["event"].as_str() {
            Some("replay.position") => {
                let at = in_string(&event["data"])["at"].as_str().expect("a position").to_owned();
                if at.ends_with(&format!("-{number}")) {
                    return (heard, at);
                }
            }
            Some("e") => heard.push(event["data"].as_str().expect("text").to_owned()),
            _ => heard.push(event["event"].as_str().expect("a name").to_owned()),
        }
    }
}

fn since(client: &mut Client, channel: &str, data: &Value) {
    let subscription = client.signed(channel, Some(&data.to_string()));
    client.ask_for(subscription);
}

fn publish(server: &TestServer, numbers: std::ops::RangeInclusive<u32>) {
    for number in numbers {
        server.publish(CHANNEL, "e", &number.to_string());
    }
}

/// Comes back after this position, while the channel has come to that number, and says what is heard first.
fn comes_back(server: &TestServer, at: &str, number: u64) -> (Vec<String>, String) {
    let mut client = Client::connect(server);
    since(&mut client, CHANNEL, &json!({ "since": at }));
    client.subscribed(CHANNEL);
    up_to(&mut client, number)
}

#[test]
fn who_comes_back_is_sent_what_was_missed_and_then_what_is_new() {
    let server = start(&[PATTERN, ("workers", "2"), ("apps.0.client_events", "true")]);
    let mut client = Client::connect(&server);
    client.subscribe(CHANNEL);
    up_to(&mut client, 0);
    publish(&server, 1..=2);
    let (heard, at) = up_to(&mut client, 2);
    assert_eq!(heard, ["1", "2"]);
    let mut other = Client::connect(&server);
    other.subscribe(CHANNEL);
    assert_eq!(up_to(&mut other, 2).0, [] as [&str; 0]);
    client.vanish();
    publish(&server, 3..=4);
    // Whispers are not for those who come back, and move no position.
    other.send(&json!({ "event": "client-typing", "channel": CHANNEL, "data": {} }));
    up_to(&mut other, 4);
    let mut back = Client::connect(&server);
    since(&mut back, CHANNEL, &json!({ "since": at }));
    back.subscribed(CHANNEL);
    assert_eq!(up_to(&mut back, 4).0, ["3", "4"]);
    publish(&server, 5..=5);
    assert_eq!(up_to(&mut back, 5).0, ["5"]);
    // A second subscription changes nothing.
    since(&mut back, CHANNEL, &json!({ "since": at }));
    back.subscribed(CHANNEL);
    publish(&server, 6..=6);
    assert_eq!(up_to(&mut back, 6).0, ["6"]);
}

#[test]
fn who_was_left_out_of_an_event_is_told_its_position() {
    let server = start(&[PATTERN]);
    let mut client = Client::connect(&server);
    client.subscribe(CHANNEL);
    up_to(&mut client, 0);
    let body = json!({ "name": "e", "channel": CHANNEL, "data": "1", "socket_id": client.socket_id });
    assert_eq!(server.post("/apps/app/events", &body).status, 200);
    let (heard, at) = up_to(&mut client, 1);
    assert_eq!(heard, [] as [&str; 0]);
    assert_eq!(comes_back(&server, &at, 1).0, [] as [&str; 0]);
}

#[test]
fn members_and_cache_channels_come_back_too() {
    let server = start(&[("apps.0.replay_channels.0", "presence-*"), ("apps.0.replay_channels.1", "private-cache-*")]);
    let mut member = Client::connect(&server);
    member.join("presence-a", "7");
    let (_, at) = up_to(&mut member, 0);
    member.vanish();
    server.publish("presence-a", "e", "1");
    let mut back = Client::connect(&server);
    since(&mut back, "presence-a", &json!({ "user_id": "7", "since": at }));
    assert_eq!(back.subscribed("presence-a")["presence"]["count"], 1);
    assert_eq!(up_to(&mut back, 1).0, ["1"]);

    let mut first = Client::connect(&server);
    first.subscribe("private-cache-a");
    let (heard, at) = up_to(&mut first, 0);
    assert_eq!(heard, ["pusher:cache_miss"]);
    for data in ["1", "2"] {
        server.publish("private-cache-a", "e", data);
    }
    up_to(&mut first, 2);
    // Whoever is sent all has the remembered event in it; whoever begins anew is sent that alone.
    for (position, heard) in [(Some(at.as_str()), vec!["1", "2"]), (None, vec!["2"])] {
        let mut client = Client::connect(&server);
        since(&mut client, "private-cache-a", &json!({ "since": position }));
        client.subscribed("private-cache-a");
        assert_eq!(up_to(&mut client, 2).0, heard);
    }
}

#[test]
fn a_member_by_sign_in_comes_back_with_a_position_alone() {
    let server = start(&[("apps.0.replay_channels.0", "presence-*")]);
    let mut member = Client::connect(&server);
    member.sign_in("7");
    let subscription = member.signed("presence-a", None);
    member.ask_for(subscription);
    member.subscribed("presence-a");
    let (_, at) = up_to(&mut member, 0);
    member.vanish();
    server.publish("presence-a", "e", "1");
    let mut back = Client::connect(&server);
    back.sign_in("7");
    since(&mut back, "presence-a", &json!({ "since": at }));
    assert_eq!(back.subscribed("presence-a")["presence"]["ids"], json!(["7"]));
    assert_eq!(up_to(&mut back, 1).0, ["1"]);
    // Whoever is not signed in is nobody without a user_id.
    let mut nobody = Client::connect(&server);
    since(&mut nobody, "presence-a", &json!({ "since": at }));
    assert_eq!(nobody.event()["data"]["status"], 400);
}

#[test]
fn a_position_of_another_start_is_a_gap_and_one_that_is_none_is_refused() {
    let at = {
        let server = start(&[PATTERN]);
        let mut client = Client::connect(&server);
        client.subscribe(CHANNEL);
        publish(&server, 1..=1);
        up_to(&mut client, 1).1
    };
    let server = start(&[PATTERN]);
    publish(&server, 1..=1);
    assert_eq!(comes_back(&server, &at, 1).0, ["replay.gap"]);
    for data in [r#"{"since":"yesterday"}"#, r#"{"since":7}"#, "7"] {
        let mut client = Client::connect(&server);
        let subscription = client.signed(CHANNEL, Some(data));
        client.ask_for(subscription);
        let refused = client.event();
        assert_eq!((&refused["event"], &refused["data"]["status"]), (&json!("pusher:subscription_error"), &json!(400)));
        assert!(refused["data"]["error"].as_str().is_some_and(|text| text.contains("since")), "{refused}");
    }
    // What a client adds by itself is not signed.
    let mut client = Client::connect(&server);
    let mut subscription = client.signed(CHANNEL, None);
    subscription["channel_data"] = json!({ "since": at }).to_string().into();
    client.ask_for(subscription);
    assert_eq!(client.event()["data"]["status"], 401);
}

#[test]
fn only_the_channels_that_are_named_have_replay() {
    let server = start(&[PATTERN]);
    for channel in ["private-other", "public"] {
        let mut client = Client::connect(&server);
        client.subscribe(channel);
        server.publish(channel, "e", "1");
        assert_eq!(client.event()["event"], "e");
        assert_eq!(client.sync(), [] as [Value; 0]);
    }
    // There the data is the application's own.
    let mut client = Client::connect(&server);
    since(&mut client, "private-other", &json!({ "since": "yesterday" }));
    client.subscribed("private-other");
}

#[test]
fn as_many_events_are_sent_again_as_are_kept_and_one_more_is_a_gap() {
    let server = start(&[PATTERN, ("apps.0.replay_events_max", "3")]);
    let mut client = Client::connect(&server);
    client.subscribe(CHANNEL);
    let (_, at) = up_to(&mut client, 0);
    client.vanish();
    publish(&server, 1..=3);
    assert_eq!(comes_back(&server, &at, 3).0, ["1", "2", "3"]);
    publish(&server, 4..=4);
    assert_eq!(comes_back(&server, &at, 4).0, ["replay.gap"]);
}

#[test]
fn as_many_bytes_are_sent_again_as_are_kept_and_a_few_more_are_a_gap() {
    let server = start(&[PATTERN, ("apps.0.replay_bytes_max", "4096")]);
    let mut client = Client::connect(&server);
    client.subscribe(CHANNEL);
    let (_, at) = up_to(&mut client, 0);
    client.vanish();
    let large = |length: usize| server.publish(CHANNEL, "e", &"x".repeat(length));
    // Each counts its frame and 128 bytes: names and braces are less than a hundred.
    large(1800);
    large(1800);
    assert_eq!(comes_back(&server, &at, 2).0.len(), 2);
    large(100);
    assert_eq!(comes_back(&server, &at, 3).0, ["replay.gap"]);
}

#[test]
fn an_event_is_sent_again_for_its_time_and_no_longer() {
    let server = start(&[PATTERN, ("apps.0.replay_secs", "1")]);
    let mut stays = Client::connect(&server);
    stays.subscribe(CHANNEL);
    let (_, at) = up_to(&mut stays, 0);
    let started = std::time::Instant::now();
    publish(&server, 1..=1);
    let (heard, _) = comes_back(&server, &at, 1);
    assert!(started.elapsed().as_secs() >= 1 || heard == ["1"], "{heard:?}");
    until(|| {
        let (heard, _) = comes_back(&server, &at, 1);
        if heard == ["replay.gap"] { Ok(()) } else { Err(format!("{heard:?}")) }
    });
    assert!(started.elapsed().as_millis() > 800);
}

#[test]
fn all_channels_together_keep_no_more_than_the_bound_and_the_oldest_forgets() {
    let server = start(&[
        PATTERN,
        ("workers", "1"),
        ("limits.replays_bytes_max", "1048576"),
        ("apps.0.replay_bytes_max", "524288"),
        ("apps.0.event_data_bytes_max", "262144"),
    ]);
    let channels = ["private-replay.a", "private-replay.b", "private-replay.c"];
    let mut client = Client::connect(&server);
    let positions: Vec<String> = channels
        .iter()
        .map(|channel| {
            client.subscribe(channel);
            up_to(&mut client, 0).1
        })
        .collect();
    client.vanish();
    let fill = |channel: &str| {
        server.publish(channel, "e", &"x".repeat(200_000));
        server.publish(channel, "e", &"x".repeat(200_000));
    };
    let missed = |at: usize| {
        let mut client = Client::connect(&server);
        since(&mut client, channels[at], &json!({ "since": positions[at] }));
        client.subscribed(channels[at]);
        let first = client.event();
        first["event"].as_str().expect("a name").to_owned()
    };
    fill(channels[0]);
    fill(channels[1]);
    assert_eq!((missed(0).as_str(), missed(1).as_str()), ("e", "e"));
    fill(channels[2]);
    assert_eq!((missed(0).as_str(), missed(1).as_str(), missed(2).as_str()), ("replay.gap", "e", "e"));
}
