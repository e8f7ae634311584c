//! Publishers that have gone wrong, on the wire: duplicates, floods, loops, and who is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{Answer, Client, SOON, TestServer, signed_request, start, until, with_header};

const LARAVEL: &str = r"Illuminate\Notifications\Events\BroadcastNotificationCreated";
const EVENTS: &str = "/apps/app/events";

/// One order is shipped once on a channel.
const ORDERS: [(&str, &str); 3] = [
    ("apps.0.guard.dedupe.0.event", "order.*"),
    ("apps.0.guard.dedupe.0.key", "/order_id"),
    ("apps.0.guard.dedupe.0.window_secs", "2"),
];

/// What has become of a request's events.
fn outcome(answer: &Answer) -> &str {
    answer.head.lines().find_map(|line| line.strip_prefix("x-campanile-outcome: ")).unwrap_or("")
}

fn event(name: &str, channel: &str, data: &str) -> Value {
    json!({ "name": name, "channel": channel, "data": data })
}

fn send(server: &TestServer, name: &str, channel: &str, data: &str) -> String {
    let answer = server.post(EVENTS, &event(name, channel, data));
    assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
    outcome(&answer).to_owned()
}

fn outcomes(server: &TestServer) -> Value {
    server.get("/apps/app/guard", &[]).json()["outcomes"].take()
}

/// The data of the next events.
fn heard<const N: usize>(client: &mut Client) -> [String; N] {
    std::array::from_fn(|_| client.event()["data"].as_str().expect("data is a string").to_owned())
}

#[test]
fn an_order_is_shipped_once_in_its_window_and_again_after_it() {
    let server = start(&ORDERS);
    let mut client = Client::connect(&server);
    client.subscribe("orders");
    let began = Instant::now();
    assert_eq!(send(&server, "order.shipped", "orders", r#"{"order_id":5,"try":1}"#), "");
    for attempt in 2..5 {
        let data = format!(r#"{{"order_id":5,"try":{attempt}}}"#);
        assert_eq!(send(&server, "order.shipped", "orders", &data), "duplicate");
    }
    assert_eq!(send(&server, "order.shipped", "orders", r#"{"order_id":6,"try":1}"#), "");
    assert_eq!(send(&server, "order.shipped", "elsewhere", r#"{"order_id":5,"try":5}"#), "");
    assert_eq!(send(&server, "order.paid", "orders", r#"{"order_id":5,"try":6}"#), "");
    // What no rule concerns may come as often as it likes.
    assert_eq!(send(&server, "other", "orders", r#"{"order_id":5}"#), "");
    assert_eq!(send(&server, "other", "orders", r#"{"order_id":5}"#), "");
    let heard = heard::<5>(&mut client);
    assert_eq!(heard[..3], [r#"{"order_id":5,"try":1}"#, r#"{"order_id":6,"try":1}"#, r#"{"order_id":5,"try":6}"#]);
    let counts = outcomes(&server);
    assert_eq!((&counts["published"], &counts["duplicate"]), (&json!(4), &json!(3)));
    thread::sleep((began + Duration::from_millis(2100)).saturating_duration_since(Instant::now()));
    assert_eq!(send(&server, "order.shipped", "orders", r#"{"order_id":5,"try":7}"#), "");
    assert_eq!(client.event()["data"], r#"{"order_id":5,"try":7}"#);
}

#[test]
fn laravels_notifications_come_once_with_no_rule_of_anybodys_unless_that_is_switched_off() {
    let notification = |id: &str| format!(r#"{{"invoice":7,"id":"{id}","type":"App\\Notifications\\Paid"}}"#);
    let channel = "private-App.Models.User.1";
    let server = start(&[]);
    let mut client = Client::connect(&server);
    client.subscribe(channel);
    assert_eq!(send(&server, LARAVEL, channel, &notification("a")), "");
    assert_eq!(send(&server, LARAVEL, channel, &notification("a")), "duplicate");
    assert_eq!(send(&server, LARAVEL, channel, &notification("b")), "");
    assert_eq!(heard::<2>(&mut client), [notification("a"), notification("b")]);
    assert_eq!(client.sync(), [] as [Value; 0]);

    let server = start(&[("apps.0.guard.laravel_notifications", "false")]);
    assert_eq!(send(&server, LARAVEL, channel, &notification("a")), "");
    assert_eq!(send(&server, LARAVEL, channel, &notification("a")), "");
    assert_eq!(outcomes(&server)["published"], 0, "what no rule concerns is not counted");
}

#[test]
fn each_event_of_a_batch_and_each_channel_of_an_event_is_judged_alone() {
    let server = start(&ORDERS);
    let batch = |orders: &[u32]| {
        let events: Vec<Value> = orders
            .iter()
            .map(|order| event("order.shipped", "orders", &format!(r#"{{"order_id":{order}}}"#)))
            .collect();
        let answer = server.post("/apps/app/batch_events", &json!({ "batch": events }));
        assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
        outcome(&answer).to_owned()
    };
    assert_eq!(batch(&[1, 2]), "");
    assert_eq!(batch(&[2, 3, 3, 1]), "duplicate, published, duplicate, duplicate");
    assert_eq!(batch(&[1, 2]), "duplicate");
    let to = |channels: &[&str]| {
        let body = json!({ "name": "order.shipped", "channels": channels, "data": r#"{"order_id":9}"# });
        outcome(&server.post(EVENTS, &body)).to_owned()
    };
    assert_eq!(to(&["a", "b"]), "");
    assert_eq!(to(&["c", "b", "a"]), "published, duplicate, duplicate");
}

#[test]
fn with_the_scope_of_the_app_an_event_for_several_channels_is_one_and_comes_nowhere_again() {
    let [event, key, window] = ORDERS;
    let server = start(&[event, key, window, ("apps.0.guard.dedupe.0.scope", "app")]);
    let to = |channels: &[&str]| {
        let body = json!({ "name": "order.shipped", "channels": channels, "data": r#"{"order_id":9}"# });
        outcome(&server.post(EVENTS, &body)).to_owned()
    };
    assert_eq!(to(&["a", "b"]), "");
    assert_eq!(to(&["c"]), "duplicate");
    assert_eq!(to(&["a", "b"]), "duplicate");
}

#[test]
fn a_duplicate_is_told_what_its_channel_has_and_is_repeated_as_it_was_told() {
    let server = start(&ORDERS);
    let mut client = Client::connect(&server);
    client.subscribe("orders");
    let body = json!({
        "name": "order.shipped", "channel": "orders", "data": r#"{"order_id":5}"#, "info": "subscription_count",
    })
    .to_string();
    let ask =
        |key: &str| server.exchange(&with_header(&signed_request("POST", EVENTS, &[], &body), "Idempotency-Key", key));
    let counted = r#"{"channels":{"orders":{"subscription_count":1}}}"#;
    for (key, told) in [("first", ""), ("second", "duplicate"), ("first", ""), ("second", "duplicate")] {
        let answer = ask(key);
        assert_eq!((answer.status, answer.body.as_str(), outcome(&answer)), (200, counted, told), "{key}");
    }
    assert_eq!(outcomes(&server)["duplicate"], 1, "a repetition is answered without being judged again");
    let answer = server.exchange(&signed_request(
        "POST",
        "/apps/app/channels/orders/events",
        &[("name", "order.shipped")],
        r#"{"order_id":5}"#,
    ));
    assert_eq!((answer.status, outcome(&answer)), (202, "duplicate"));
}

#[test]
fn what_was_refused_is_no_duplicate_when_it_comes_again() {
    let [event, key, window] = ORDERS;
    let server = start(&[
        event,
        key,
        window,
        ("apps.0.guard.limits.0.event", "order.*"),
        ("apps.0.guard.limits.0.per", "app"),
        ("apps.0.guard.limits.0.events", "1"),
        ("apps.0.guard.limits.0.on_exceed", "refuse"),
    ]);
    let mut client = Client::connect(&server);
    client.subscribe("orders");
    let post = |order: &str| server.post(EVENTS, &self::event("order.shipped", "orders", order));
    assert_eq!(post(r#"{"order_id":1}"#).status, 200);
    let refused = post(r#"{"order_id":2}"#);
    assert_eq!(refused.status, 429);
    assert!(refused.head.contains("retry-after: 1"), "{}", refused.head);
    assert!(refused.body.contains("a limit of its guard"), "{}", refused.body);
    let accepted = until(|| match post(r#"{"order_id":2}"#) {
        answer if answer.status == 200 => Ok(answer),
        answer => Err(answer.body),
    });
    assert_eq!(outcome(&accepted), "");
    assert_eq!(heard::<2>(&mut client), [r#"{"order_id":1}"#, r#"{"order_id":2}"#]);
    assert!(outcomes(&server)["refused"].as_u64() >= Some(1));
}

fn limited(on_exceed: &str) -> TestServer {
    start(&[
        ("apps.0.guard.limits.0.event", "tick"),
        ("apps.0.guard.limits.0.per", "channel"),
        ("apps.0.guard.limits.0.events", "2"),
        ("apps.0.guard.limits.0.per_secs", "2"),
        ("apps.0.guard.limits.0.on_exceed", on_exceed),
        ("apps.0.guard.waiting_events_max", "3"),
    ])
}

#[test]
fn as_many_events_pass_as_the_limit_and_one_more_is_dropped() {
    let server = limited("drop");
    let mut client = Client::connect(&server);
    client.subscribe("a");
    assert_eq!(["1", "2", "3"].map(|data| send(&server, "tick", "a", data)), ["", "", "dropped"]);
    assert_eq!(["1", "2", "3"].map(|data| send(&server, "tick", "b", data)), ["", "", "dropped"]);
    assert_eq!(send(&server, "tock", "a", "4"), "");
    assert_eq!(heard::<3>(&mut client), ["1", "2", "4"]);
    assert_eq!(outcomes(&server)["dropped"], 2);
}

#[test]
fn what_is_deferred_comes_later_in_order_and_past_the_bound_it_is_dropped() {
    let server = limited("defer");
    let mut client = Client::connect(&server);
    client.subscribe("a");
    let began = Instant::now();
    let told = ["1", "2", "3", "4", "5", "6"].map(|data| send(&server, "tick", "a", data));
    assert_eq!(told, ["", "", "deferred", "deferred", "deferred", "dropped"]);
    assert_eq!(heard::<5>(&mut client), ["1", "2", "3", "4", "5"]);
    assert!(began.elapsed() >= Duration::from_millis(2500), "one a second: {:?}", began.elapsed());
    client.hears_nothing_for(Duration::from_millis(1500));
}

#[test]
fn of_what_is_collapsed_the_last_comes() {
    let server = limited("collapse");
    let mut client = Client::connect(&server);
    client.subscribe("a");
    let told = ["1", "2", "3", "4", "5"].map(|data| send(&server, "tick", "a", data));
    assert_eq!(told, ["", "", "collapsed", "collapsed", "collapsed"]);
    assert_eq!(heard::<3>(&mut client), ["1", "2", "5"]);
    client.hears_nothing_for(Duration::from_millis(1500));
}

#[test]
fn a_reload_keeps_the_windows_and_follows_the_new_rules() {
    let [event, key, _] = ORDERS;
    let window = ("apps.0.guard.dedupe.0.window_secs", "60");
    let server = start(&[event, key, window]);
    assert_eq!(send(&server, "order.shipped", "orders", r#"{"order_id":5}"#), "");
    server.reload(&[event, key, ("apps.0.guard.dedupe.0.window_secs", "30")]);
    assert_eq!(send(&server, "order.shipped", "orders", r#"{"order_id":5}"#), "duplicate");
    server.reload(&[]);
    assert_eq!(send(&server, "order.shipped", "orders", r#"{"order_id":5}"#), "");
    // Who was not asked meanwhile still knows.
    server.reload(&[event, key, window]);
    assert_eq!(send(&server, "order.shipped", "orders", r#"{"order_id":5}"#), "duplicate");
}

#[test]
fn clients_events_are_not_weighed() {
    let server = start(&[("apps.0.guard.dedupe.0.hash", "body")]);
    let [mut one, mut other] = [Client::connect(&server), Client::connect(&server)];
    one.subscribe("private-chat");
    other.subscribe("private-chat");
    for _ in 0..2 {
        one.send(&json!({ "event": "client-typing", "channel": "private-chat", "data": { "on": true } }));
        assert_eq!(other.event()["event"], "client-typing");
    }
}

/// An endpoint that is told everything: what it was told, and when.
fn endpoint() -> (String, Receiver<(Value, Instant)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let url = format!("http://{}/", listener.local_addr().expect("it has an address"));
    let (tell, told) = channel();
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let tell = tell.clone();
            thread::spawn(move || {
                let mut reader = BufReader::new(stream);
                while let Some(body) = next_body(&mut reader) {
                    let body: Value = serde_json::from_slice(&body).expect("webhooks are JSON");
                    for event in body["events"].as_array().expect("a list of events") {
                        // Nobody listens any more when the test has ended.
                        let _ = tell.send((event.clone(), Instant::now()));
                    }
                }
            });
        }
    });
    (url, told)
}

fn next_body(reader: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").ok()?;
    Some(body)
}

#[test]
fn a_breaker_opens_at_the_bound_and_tells_once() {
    let (url, told) = endpoint();
    let server = start(&[
        ("apps.0.webhooks.0.url", &url),
        ("apps.0.webhooks.0.events.0", "guard_alert"),
        ("apps.0.guard.breakers.0.event", "tick"),
        ("apps.0.guard.breakers.0.repeats", "3"),
        ("apps.0.guard.breakers.0.cool_down_secs", "2"),
    ]);
    let began = Instant::now();
    let told_publisher = ["x", "x", "x", "x", "y", "x"].map(|data| send(&server, "tick", "a", data));
    assert_eq!(told_publisher, ["", "", "", "dropped", "", "dropped"]);
    let (alert, at) = told.recv_timeout(SOON).expect("somebody is told");
    assert!(at - began < Duration::from_secs(2), "{:?}", at - began);
    assert_eq!((&alert["name"], &alert["event"]), (&json!("guard_alert"), &json!("tick")));
    let data: Value = serde_json::from_str(alert["data"].as_str().expect("always a string")).expect("JSON");
    assert_eq!(data, json!({ "reason": "stopped", "rule": "breakers[0]", "channel": "a", "count": 1 }));
    assert_eq!(alert["event_id"].as_str().map(str::len), Some(32));
    thread::sleep((began + Duration::from_millis(2500)).saturating_duration_since(Instant::now()));
    assert_eq!(["x", "x", "x", "x"].map(|data| send(&server, "tick", "a", data)), ["", "", "", "dropped"]);
    assert!(told.recv_timeout(Duration::from_millis(500)).is_err(), "it goes on, and nobody is told again");
}

#[test]
fn a_name_that_comes_more_often_than_the_floor_is_stopped() {
    let server = start(&[
        ("apps.0.guard.breakers.0.event", "tick"),
        ("apps.0.guard.breakers.0.times", "10"),
        ("apps.0.guard.breakers.0.floor", "5"),
    ]);
    let told: Vec<String> = (0..10).map(|number| send(&server, "tick", "a", &number.to_string())).collect();
    assert_eq!(told[..5], [""; 5]);
    assert!(told[5..].iter().filter(|told| *told == "dropped").count() >= 4, "{told:?}");
    assert_eq!(send(&server, "tock", "a", "x"), "");
}

fn budgeted<'a>(messages: &'a str, on_exceed: &'a str, url: &'a str) -> [(&'a str, &'a str); 5] {
    [
        ("apps.0.webhooks.0.url", url),
        ("apps.0.webhooks.0.events.0", "guard_alert"),
        ("apps.0.guard.budgets.0.per", "month"),
        ("apps.0.guard.budgets.0.messages", messages),
        ("apps.0.guard.budgets.0.on_exceed", on_exceed),
    ]
}

/// How many messages the app has used, as its budget counts.
fn used(server: &TestServer) -> u64 {
    server.get("/apps/app/guard", &[]).json()["budgets"][0]["messages"].as_u64().expect("a number of messages")
}

#[test]
fn a_budget_counts_as_pusher_bills_warns_on_the_way_and_at_its_end_drops_over_a_restart() {
    let (url, told) = endpoint();
    let server = start(&budgeted("1000", "drop", &url));
    let mut clients = [Client::connect(&server), Client::connect(&server)];
    clients.iter_mut().for_each(|client| {
        client.subscribe("private-a");
    });
    // One request and two deliveries each.
    for (events, percent) in [(170, 50), (100, 80), (70, 100)] {
        for _ in 0..events {
            let told = send(&server, "tick", "private-a", "x");
            // Workers look twice a second.
            assert!(told.is_empty() || (percent == 100 && told == "dropped"), "{told} on the way to {percent} %");
        }
        let (alert, _) = told.recv_timeout(SOON).expect("each part is told");
        let data: Value = serde_json::from_str(alert["data"].as_str().expect("always a string")).expect("JSON");
        assert_eq!((&data["reason"], &data["rule"]), (&json!("budget"), &json!("budgets[0]")));
        assert_eq!((&data["percent"], &data["of"], &data["per"]), (&json!(percent), &json!(1000), &json!("month")));
        assert_eq!(alert.get("event"), None);
    }
    assert_eq!(send(&server, "tick", "private-a", "x"), "dropped");
    let spent = used(&server);
    // Besides: the alerts' calls.
    assert!((1000..1030).contains(&spent), "{spent}");
    // Clients have nothing to say either.
    let [_, other] = &mut clients;
    other.sync();
    until(|| {
        other.send(&json!({ "event": "client-typing", "channel": "private-a", "data": {} }));
        let heard = other.sync();
        let refusal = heard.iter().find(|event| event["event"] == "pusher:error");
        refusal.map(|refusal| assert_eq!(refusal["data"]["code"], 4301)).ok_or(format!("{heard:?}"))
    });
    drop(clients);

    let server = server.restart(&budgeted("1000", "refuse", &url));
    assert!(used(&server) >= spent);
    let refused = server.post(EVENTS, &event("tick", "private-a", "x"));
    assert_eq!(refused.status, 429, "{refused:?}");
    assert!(refused.head.contains("retry-after: ") && refused.body.contains("used up a budget"), "{refused:?}");
    assert!(told.recv_timeout(Duration::from_millis(800)).is_err(), "what was told is not told again");
    // Whoever raises the budget goes on.
    server.reload(&budgeted("1000000", "refuse", &url));
    assert_eq!(send(&server, "tick", "private-a", "x"), "");
    server.reload(&budgeted("1000", "warn", &url));
    assert_eq!(send(&server, "tick", "private-a", "x"), "");
}

#[test]
fn a_request_is_a_message_and_one_that_asks_for_counts_is_two() {
    const A_SWEEP: Duration = Duration::from_millis(800);
    let server = start(&budgeted("1000000", "warn", "http://127.0.0.1:9/"));
    let mut messages = Vec::new();
    for info in [None, Some("subscription_count")] {
        thread::sleep(A_SWEEP);
        let before = used(&server);
        let mut body = event("tick", "nobody-is-here", "x");
        body["info"] = info.into();
        assert_eq!(server.post(EVENTS, &body).status, 200);
        thread::sleep(A_SWEEP);
        // The first question counts, too, and the second is not yet counted.
        messages.push(used(&server) - before - 1);
    }
    assert_eq!(messages, [1, 2]);
}

#[test]
fn usage_that_cannot_be_read_stops_the_start() {
    let server = start(&[]);
    let refused = server.restart_on(&[], "usage.json", "{").expect_err("the start is refused");
    assert!(refused.to_string().contains("usage.json is damaged"), "{refused}");
}

/// The publisher of the loop: connections that send the same request again and again.
fn repeat(server: &TestServer, connections: usize, each: usize) -> usize {
    const AT_ONCE: usize = 20;
    let data = r#"{"id":"c1b6a0aa-0000-4000-8000-000000000000","type":"App\\Notifications\\Shipped"}"#;
    let body = event(LARAVEL, "private-App.Models.User.1", data).to_string();
    let request = signed_request("POST", EVENTS, &[], &body);
    thread::scope(|scope| {
        let publishers: Vec<_> = (0..connections)
            .map(|_| {
                scope.spawn(|| {
                    let mut stream = server.dial();
                    let mut duplicates = 0;
                    for _ in 0..each / AT_ONCE {
                        for _ in 0..AT_ONCE {
                            stream.write_all(&request).expect("the server reads");
                        }
                        for _ in 0..AT_ONCE {
                            let answer = read_one(&mut stream);
                            assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
                            duplicates += usize::from(outcome(&answer) == "duplicate");
                        }
                    }
                    duplicates
                })
            })
            .collect();
        publishers.into_iter().map(|publisher| publisher.join().expect("a publisher ends well")).sum()
    })
}

/// Reads no byte of the answer after it.
fn read_one(stream: &mut TcpStream) -> Answer {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).expect("an answer");
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("heads are ASCII");
    let header =
        |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).map(str::to_owned);
    let length = header("content-length").map_or(0, |length| length.parse().expect("a length"));
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    Answer { status, body: String::from_utf8(body).expect("UTF-8"), head }
}

/// What the inspiring team paid for 500,000 times. `campanile-bench run loop` does all of them.
#[test]
fn of_a_loop_one_event_is_delivered_the_rest_are_counted_and_somebody_is_told_in_time() {
    const CONNECTIONS: usize = 8;
    const EACH: usize = 1000;
    let (url, told) = endpoint();
    let server = start(&[("apps.0.webhooks.0.url", &url), ("apps.0.webhooks.0.events.0", "guard_alert")]);
    let mut client = Client::connect(&server);
    client.subscribe("private-App.Models.User.1");
    let began = Instant::now();
    let duplicates = thread::scope(|scope| {
        let looping = scope.spawn(|| repeat(&server, CONNECTIONS, EACH));
        server.serves_others();
        looping.join().expect("the loop ends")
    });
    assert_eq!(duplicates, CONNECTIONS * EACH - 1);
    assert_eq!(client.event()["event"], LARAVEL);
    assert_eq!(client.sync(), [] as [Value; 0], "one is delivered");
    let counts = outcomes(&server);
    assert_eq!((&counts["published"], &counts["duplicate"]), (&json!(1), &json!(CONNECTIONS * EACH - 1)));
    let (alert, at) = told.recv_timeout(SOON).expect("somebody is told");
    assert!(at - began < Duration::from_secs(2), "an alert is out within two seconds, not {:?}", at - began);
    let data: Value = serde_json::from_str(alert["data"].as_str().expect("always a string")).expect("JSON");
    assert_eq!((&data["reason"], &data["rule"]), (&json!("duplicates"), &json!("laravel_notifications")));
    assert!(told.recv_timeout(Duration::from_millis(500)).is_err(), "and once");
    let status = server.exchange(b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n").json();
    assert_eq!(status["guard"]["alerts"], 1);
    assert_eq!(status["guard"]["outcomes"], outcomes(&server));
}
