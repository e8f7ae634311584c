//! What the server does with each bad input: the client learns why, and the code decides what it does next.

use std::time::Duration;

use serde_json::{Value, json};

use crate::common::{Client, Frame, KEY, Opening, TestServer, start};

/// Connects with this query and expects a refusal.
fn refusal(server: &TestServer, opening: &Opening<'_>) -> u16 {
    Client::open(server, opening).refused()
}

#[test]
fn a_client_that_may_not_connect_is_told_by_error_and_close_never_by_1006() {
    let server = start(&[
        ("apps.1.id", "off"),
        ("apps.1.enabled", "false"),
        ("apps.1.keys.0.key", "key-off"),
        ("apps.1.keys.0.secret", "secret-of-another-app-0123456789"),
        ("apps.2.id", "fussy"),
        ("apps.2.allowed_origins.0", "https://shop.example"),
        ("apps.2.keys.0.key", "key-fussy"),
        ("apps.2.keys.0.secret", "secret-of-a-third-app-0123456789"),
    ]);
    let usual = Opening::default();
    for (key, query, headers, code) in [
        ("nobody", usual.query, "", 4001),
        ("", usual.query, "", 4001),
        ("key-off", usual.query, "", 4003),
        (KEY, "", "", 4008),
        (KEY, "client=js", "", 4008),
        (KEY, "protocol=3&version=8.4.0", "", 4007),
        (KEY, "protocol=8&version=8.4.0", "", 4007),
        (KEY, "protocol=seven&version=8.4.0", "", 4007),
        (KEY, "protocol=7&version=latest", "", 4006),
        ("key-fussy", usual.query, "Origin: https://evil.example\r\n", 4009),
    ] {
        assert_eq!(refusal(&server, &Opening { key, query, headers }), code, "{key} {query}");
    }
    for (key, query, headers) in [
        (KEY, "version=4.1.0", ""),
        (KEY, "protocol=5&client=java", ""),
        (KEY, "protocol=7&flash=false&unknown=1", "Origin: https://anything.example\r\n"),
        ("key-fussy", usual.query, "Origin: https://shop.example\r\n"),
    ] {
        Client::open(&server, &Opening { key, query, headers }).establish();
    }
}

#[test]
fn what_is_no_upgrade_is_answered_in_http() {
    let server = start(&[]);
    let head = Opening::default().head();
    for (request, status) in [
        (head.replace("Upgrade: websocket\r\n", ""), 426),
        (head.replace("Version: 13", "Version: 8"), 426),
        (head.replace("Connection: Upgrade\r\n", ""), 400),
        (head.replace("Sec-WebSocket-Key: ", "X-Key: "), 400),
        (head.replace("dGhl", "?"), 400),
        (head.replace("Host: test", "Host test"), 400),
        (head.replace("GET", "POST"), 404),
        ("GET /nowhere HTTP/1.1\r\nHost: test\r\n\r\n".to_owned(), 404),
    ] {
        assert_eq!(server.exchange(request.as_bytes()).status, status, "{request}");
    }
}

/// An error without a code, which leaves the connection open.
fn is_mild_error(event: &Value) -> bool {
    event["event"] == "pusher:error" && event["data"]["code"].is_null()
}

#[test]
fn malformed_messages_are_answered_and_the_twentieth_in_ten_seconds_closes() {
    let server = start(&[]);
    let mut client = Client::connect(&server);
    let garbage = ["", "{", "[]", "17", "null", "\"x\"", "{}", r#"{"data":{}}"#, r#"{"event":7}"#, "\u{0}"];
    for (number, text) in garbage.iter().cycle().take(19).enumerate() {
        client.text(text);
        let event = client.event();
        assert!(is_mild_error(&event), "{number}: {event}");
    }
    assert_eq!(client.sync(), [] as [Value; 0]);
    client.text("{");
    assert!(is_mild_error(&client.event()));
    assert_eq!(client.closed(), 4100);
    server.serves_others();
}

#[test]
fn unknown_events_and_keys_are_passed_over() {
    let server = start(&[]);
    let mut client = Client::connect(&server);
    for number in 0..100 {
        client.send(&json!({ "event": format!("pusher:unheard-of-{number}"), "data": { "x": [1] }, "later": 1 }));
        client.send(&json!({ "event": "pusher_internal:member_added", "channel": "presence-a", "data": "{}" }));
        client.send(&json!({ "event": "plain", "data": {} }));
    }
    assert_eq!(client.sync(), [] as [Value; 0]);
}

#[test]
fn pings_and_pongs_come_in_every_form_that_clients_send() {
    let server = start(&[]);
    let mut client = Client::connect(&server);
    for ping in [
        r#"{"event":"pusher:ping"}"#,
        r#"{"event":"pusher:ping","data":{}}"#,
        r#"{"event":"pusher:ping","data":""}"#,
        r#"{"event":"pusher:ping","data":null}"#,
    ] {
        client.text(ping);
        assert_eq!(client.next(), Frame::Text(r#"{"event":"pusher:pong","data":"{}"}"#.to_owned()), "{ping}");
    }
    client.text(r#"{"event":"pusher:pong","data":""}"#);
    client.frame(0x89, b"are you there");
    assert_eq!(client.next(), Frame::Pong(b"are you there".to_vec()));
    // Some clients send their JSON in binary messages.
    client.frame(0x82, br#"{"event":"pusher:ping","data":{}}"#);
    assert_eq!(client.event()["event"], "pusher:pong");
    client.frame(0x82, b"\xff\xfe");
    assert!(is_mild_error(&client.event()));
}

/// Expects the two frames that refuse a subscription, and returns the first one's data.
fn refused_subscription(client: &mut Client, channel: &str) -> Value {
    let (first, second) = (client.event(), client.event());
    assert_eq!(first["event"], "pusher:subscription_error", "{first}");
    assert_eq!(first["channel"], channel, "{first}");
    assert!(is_mild_error(&second), "{second}");
    assert_eq!(second["channel"], channel, "{second}");
    assert_eq!(first["data"]["error"], second["data"]["message"]);
    first["data"].clone()
}

#[test]
fn a_refused_subscription_is_told_twice_with_its_channel_and_never_closes() {
    let server = start(&[]);
    let mut client = Client::connect(&server);
    for channel in ["", "a b", "ä", "a:b", "#a", "private-ä", &"x".repeat(165)] {
        client.ask_for(json!({ "channel": channel }));
        let data = refused_subscription(&mut client, channel);
        assert_eq!((&data["type"], &data["status"]), (&json!("InvalidChannel"), &json!(400)), "{channel}");
    }
    let stranger = Client::connect(&server);
    let right = |channel: &str| client.signed(channel, None);
    let other = |channel: &str| stranger.signed(channel, None);
    for (subscription, channel, told) in [
        (json!({ "channel": "private-a" }), "private-a", "auth info required to subscribe to private-a"),
        (json!({ "channel": "private-a", "auth": "" }), "private-a", "auth info required"),
        (json!({ "channel": "private-a", "auth": "x" }), "private-a", "auth must be"),
        (json!({ "channel": "private-a", "auth": "other:0011" }), "private-a", "not an active key"),
        (other("private-a"), "private-a", "invalid signature"),
        (other("presence-a"), "presence-a", "invalid signature"),
        (right("presence-a"), "presence-a", "needs channel_data with a user_id"),
        (client.signed("presence-a", Some("[]")), "presence-a", "channel_data must be"),
        (client.signed("presence-a", Some(r#"{"user_id":""}"#)), "presence-a", "empty"),
        (client.signed("presence-a", Some(r#"{"user_id":true}"#)), "presence-a", "string or a number"),
        (json!({ "channel": "#server-to-user-7" }), "#server-to-user-7", "only for connections that are signed in"),
    ] {
        client.ask_for(subscription);
        let data = refused_subscription(&mut client, channel);
        assert_eq!(data["type"], "AuthError");
        let error = data["error"].as_str().expect("a sentence");
        assert!(error.contains(told), "{error}");
        let expected = crate::common::secret().sign(format!("{}:{channel}", client.socket_id).as_bytes());
        assert!(!error.contains(&expected), "an expected signature is never told");
    }
    // Nothing of that stands in the way of a correct request.
    client.subscribe("private-a");
}

#[test]
fn a_presence_channel_that_is_full_refuses_one_more_user_but_not_one_more_tab() {
    let server = start(&[("apps.0.presence_members_max", "2"), ("limits.presence_grace_secs", "0")]);
    let mut clients: Vec<Client> = (0..4).map(|_| Client::connect(&server)).collect();
    clients[0].join("presence-a", "1");
    clients[1].join("presence-a", "2");
    let asked = clients[2].signed("presence-a", Some(r#"{"user_id":"3"}"#));
    clients[2].ask_for(asked.clone());
    let data = refused_subscription(&mut clients[2], "presence-a");
    assert_eq!((&data["type"], &data["status"]), (&json!("LimitReached"), &json!(403)));
    assert_eq!(clients[3].join("presence-a", "2")["presence"]["count"], 2);
    clients.remove(0).vanish();
    let mut third = clients.remove(1);
    crate::common::until(|| {
        third.ask_for(asked.clone());
        let event = third.event();
        if event["event"] == "pusher_internal:subscription_succeeded" {
            return Ok(());
        }
        third.event();
        Err(event.to_string())
    });
}

#[test]
fn subscribing_again_is_acknowledged_and_told_to_nobody() {
    let server = start(&[]);
    let (mut ann, mut bo) = (Client::connect(&server), Client::connect(&server));
    ann.subscribe("a");
    ann.subscribe("a");
    ann.join("presence-a", "ann");
    bo.join("presence-a", "bo");
    assert_eq!(ann.event()["event"], "pusher_internal:member_added");
    assert_eq!(bo.join("presence-a", "bo")["presence"]["count"], 2);
    server.publish("a", "once", "{}");
    assert_eq!(ann.event()["event"], "once");
    assert_eq!(ann.sync(), [] as [Value; 0]);
}

#[test]
fn unsubscribing_from_what_was_never_subscribed_is_passed_over() {
    let server = start(&[]);
    let mut client = Client::connect(&server);
    for channel in ["a", "private-b", "", "a b", "#server-to-user-7"] {
        client.send(&json!({ "event": "pusher:unsubscribe", "data": { "channel": channel } }));
    }
    assert_eq!(client.sync(), [] as [Value; 0]);
    client.subscribe("a");
    client.send(&json!({ "event": "pusher:unsubscribe", "data": { "channel": "a" } }));
    client.sync();
    server.publish("a", "too-late", "{}");
    client.hears_nothing_for(Duration::from_millis(200));
}

#[test]
fn a_client_event_reaches_the_other_members_and_a_strangers_is_refused_without_a_close() {
    let server = start(&[]);
    let (mut ann, mut bo) = (Client::connect(&server), Client::connect(&server));
    let event = |channel: &str| json!({ "event": "client-x", "channel": channel, "data": { "a": 1 } });
    for channel in ["a", "private-a", "private-encrypted-a", "presence-a", "", "a b"] {
        bo.send(&event(channel));
        let error = bo.event();
        assert!(is_mild_error(&error), "{error}");
        assert_eq!(error["channel"], channel);
    }
    ann.subscribe("a");
    bo.subscribe("a");
    bo.send(&event("a"));
    assert!(is_mild_error(&bo.event()), "client events are not for public channels");
    ann.join("presence-a", "ann");
    bo.join("presence-a", "bo");
    ann.event();
    // A user id that the client claims is not passed on.
    bo.send(&json!({ "event": "client-x", "channel": "presence-a", "data": { "a": 1 }, "user_id": "ann" }));
    let expected = r#"{"event":"client-x","channel":"presence-a","data":{"a":1},"user_id":"bo"}"#;
    assert_eq!(ann.next(), Frame::Text(expected.to_owned()));
    assert_eq!(bo.sync(), [] as [Value; 0]);
}

#[test]
fn client_events_that_the_app_does_not_allow_are_refused_with_4301_once_a_second() {
    let server = start(&[("apps.0.client_events", "false")]);
    let mut client = Client::connect(&server);
    client.subscribe("private-a");
    for _ in 0..5 {
        client.send(&json!({ "event": "client-x", "channel": "private-a", "data": 1 }));
    }
    let told = client.sync();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((&told[0]["data"]["code"], &told[0]["channel"]), (&json!(4301), &json!("private-a")));
}

#[test]
fn a_wrong_sign_in_ends_the_connection_and_a_second_one_as_somebody_else_does_not() {
    let server = start(&[]);
    let mut client = Client::connect(&server);
    client.sign_in("7");
    client.sign_in("7");
    client.ask_to_sign_in(&json!({ "id": "8" }));
    assert!(is_mild_error(&client.event()));
    server.publish("#server-to-user-7", "still-seven", "{}");
    assert_eq!(client.event()["event"], "still-seven");

    for data in [
        json!({ "auth": format!("{KEY}:00"), "user_data": r#"{"id":"7"}"# }),
        json!({ "auth": "", "user_data": r#"{"id":"7"}"# }),
    ] {
        let mut liar = Client::connect(&server);
        liar.send(&json!({ "event": "pusher:signin", "data": data }));
        assert_eq!(liar.refused(), 4009);
    }
    for user_data in [json!({ "id": 7 }), json!({ "id": "" }), json!({}), json!([])] {
        let mut wrong = Client::connect(&server);
        wrong.ask_to_sign_in(&user_data);
        assert_eq!(wrong.refused(), 4009, "{user_data}");
    }
}

#[test]
fn sign_in_where_the_app_does_not_allow_it_is_an_error_and_no_close() {
    let server = start(&[("apps.0.user_authentication", "false"), ("apps.0.watchlists", "false")]);
    let mut client = Client::connect(&server);
    client.ask_to_sign_in(&json!({ "id": "7" }));
    assert!(is_mild_error(&client.event()));
    assert_eq!(client.sync(), [] as [Value; 0]);
}
