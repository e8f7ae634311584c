//! What an app has used, as its owner asks for it: on the wire, over a restart, and over a kill.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{
    APP, Answer, Client, KEY, SECRET, TestServer, exchange, signed_request, start, until, with_header, within,
};

const USAGE: &str = "/apps/app/usage";
const EVENTS: &str = "/apps/app/events";

fn report(server: &TestServer, params: &[(&str, &str)]) -> Value {
    let answer = server.get(USAGE, params);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// Messages of each name, over all hours.
fn named(report: &Value, group: &str) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for row in report["usage"].as_array().expect("a list of rows") {
        let name = row[group].as_str().expect("each row has its name").to_owned();
        *sums.entry(name).or_default() += row["messages"].as_u64().expect("a number");
    }
    sums
}

fn grouped(server: &TestServer, group: &str) -> BTreeMap<String, u64> {
    named(&report(server, &[("group", group)]), group)
}

/// Waits until these have been counted; others may have been, too.
fn wait_for(server: &TestServer, group: &str, wanted: &[(&str, u64)]) -> BTreeMap<String, u64> {
    until(|| {
        let counted = grouped(server, group);
        let is_there = |(name, messages): &(&str, u64)| counted.get(*name) == Some(messages);
        if wanted.iter().all(is_there) { Ok(counted) } else { Err(format!("{counted:?}, not {wanted:?}")) }
    })
}

fn event(name: &str, channel: &str, data: &str) -> Value {
    json!({ "name": name, "channel": channel, "data": data })
}

#[test]
fn what_is_published_and_delivered_is_told_by_prefix_event_and_unit() {
    let server = start(&[]);
    let mut clients: Vec<Client> = (0..3).map(|_| Client::connect(&server)).collect();
    for client in &mut clients {
        client.subscribe("private-user.7");
        client.subscribe("orders");
    }
    // One call and three deliveries each, however many connections there are.
    server.publish("private-user.7", "order.shipped", "{}");
    server.publish("private-App.Models.User.7", "order.shipped", "{}");
    // A call for two channels is its first one's.
    let both = json!({ "name": "order.placed", "channels": ["orders", "private-user.7"], "data": "{}" });
    assert_eq!(server.post(EVENTS, &both).status, 200);
    // One that asks for counts is two; one that is repeated with its key is one more, and delivers nothing.
    let mut asks = event("order.asked", "orders", "{}");
    asks["info"] = json!("subscription_count");
    for _ in 0..2 {
        let request = with_header(&signed_request("POST", EVENTS, &[], &asks.to_string()), "Idempotency-Key", "one");
        assert_eq!(server.exchange(&request).status, 200);
    }
    // A batch is one call, for its first event.
    let batch = json!({ "batch": [event("batch.a", "orders", "{}"), event("batch.b", "orders", "{}")] });
    assert_eq!(server.post("/apps/app/batch_events", &batch).status, 200);
    // What is refused is a call for nothing.
    assert_eq!(server.post(EVENTS, &event("pusher:no", "orders", "{}")).status, 400);
    clients[0].send(&json!({ "event": "client-typing", "channel": "private-user.7", "data": {} }));

    let events = [
        ("order.shipped", 1 + 3 + 1),
        ("order.placed", 1 + 3 + 3),
        ("order.asked", 2 + 3),
        ("batch.a", 1 + 3),
        ("batch.b", 3),
        ("client-typing", 1 + 2),
    ];
    let counted = wait_for(&server, "event", &events);
    assert!(counted["(api)"] >= 2, "the repetition, the refusal and the questions: {counted:?}");
    let prefixes =
        [("private-user", 1 + 3 + 3 + 1 + 2), ("private-App.Models.User", 1), ("orders", 1 + 3 + 2 + 3 + 1 + 3 + 3)];
    wait_for(&server, "prefix", &prefixes);
    let units = wait_for(&server, "unit", &[("deliveries", 3 + 6 + 3 + 6 + 2), ("client_events", 1)]);
    assert_eq!(units.get("presence_deliveries"), None, "what was not used has no row");

    // All of it together is as much.
    let total: u64 =
        report(&server, &[])["usage"].as_array().unwrap().iter().map(|row| row["messages"].as_u64().unwrap()).sum();
    let month = report(&server, &[])["month"].clone();
    assert!(month["messages"].as_u64() >= Some(total), "{month}");
    assert_eq!(month["would_cost"]["plan"], "Sandbox");
    assert!(month["explanation"].as_str().unwrap().contains("the plan Sandbox for USD 0 a month"), "{month}");
}

#[test]
fn presence_counts_and_watchlists_are_told_by_their_events() {
    let server = start(&[("apps.0.subscription_counts", "true")]);
    let mut clients: Vec<Client> = (0..3).map(|_| Client::connect(&server)).collect();
    for (index, client) in clients.iter_mut().enumerate() {
        client.join("presence-team.1", &index.to_string());
        client.subscribe("news");
    }
    let events = [("pusher_internal:member_added", 1 + 2), ("pusher_internal:subscription_count", 1 + 2 + 3)];
    wait_for(&server, "event", &events);
    wait_for(&server, "prefix", &[("presence-team", 3), ("news", 6)]);
}

#[test]
fn connections_are_told_by_their_peak() {
    let server = start(&[]);
    let peak = || {
        let rows = report(&server, &[]);
        let rows = rows["usage"].as_array().expect("rows").clone();
        rows.iter().filter_map(|row| row["peak_connections"].as_u64()).max().unwrap_or_default()
    };
    let clients: Vec<Client> = (0..5).map(|_| Client::connect(&server)).collect();
    drop(clients);
    server.wait_for_connections(0);
    let _one = Client::connect(&server);
    until(|| if peak() == 5 { Ok(()) } else { Err(format!("{}", peak())) });
    thread::sleep(Duration::from_millis(1200));
    assert_eq!(peak(), 5, "it stays the hour's, though one alone is there");
}

#[test]
fn how_large_events_are_and_why_and_how_long_clients_wait_is_told() {
    let server = start(&[]);
    let data = |bytes: usize| json!({ "order": { "note": "n".repeat(bytes) }, "id": 7 }).to_string();
    for bytes in [100, 1000, 9500] {
        server.publish("orders", "order.placed", &data(bytes));
    }
    server.post(EVENTS, &event("secret", "private-encrypted-a", &data(5000)));
    let report_of_events = until(|| {
        let report = report(&server, &[("group", "event")]);
        let payloads = report["payloads"].as_array().cloned().unwrap_or_default();
        if payloads.len() == 2 && payloads[0]["events"] == 3 { Ok(payloads) } else { Err(format!("{payloads:?}")) }
    });
    let placed = &report_of_events[0];
    assert_eq!((&placed["event"], &placed["near_limit"]), (&json!("order.placed"), &json!(1)));
    assert_eq!(placed["largest_bytes"], data(9500).len());
    assert_eq!(placed["near_limit_percent"], 33.3);
    assert_eq!(placed["largest_fields"][0], json!({ "path": "/order/note", "bytes": 9502 }));
    let secret = &report_of_events[1];
    assert_eq!((&secret["event"], &secret["largest_fields"]), (&json!("secret"), &Value::Null));

    let mut client = Client::connect(&server);
    thread::sleep(Duration::from_millis(300));
    client.subscribe("private-user.1");
    client.subscribe("orders");
    let waits = until(|| {
        let report = report(&server, &[("group", "prefix")]);
        let waits = report["authorizations"].as_array().cloned().unwrap_or_default();
        if waits.is_empty() { Err(report.to_string()) } else { Ok(waits) }
    });
    let [wait] = &waits[..] else { panic!("only what is authorized: {waits:?}") };
    assert_eq!((&wait["prefix"], &wait["subscriptions"]), (&json!("private-user"), &json!(1)));
    assert!(wait["p50_ms"].as_u64() >= Some(300), "{wait}");
}

#[test]
fn names_have_rows_up_to_their_bounds_and_the_app_chooses_its_prefixes() {
    let server = start(&[
        ("limits.usage_prefixes_max", "2"),
        ("limits.usage_events_max", "2"),
        ("apps.0.usage_prefixes.0", "shop.eu."),
    ]);
    let published = [("shop.eu.1", "a"), ("shop.us.1", "b"), ("other", "a"), ("shop.eu.2", "c"), ("another", "d")];
    for (so_many, (channel, name)) in (1..).zip(published) {
        server.publish(channel, name, "{}");
        // Whoever comes first has a row, and two workers may hand over at the same time.
        until(|| {
            let counted = grouped(&server, "prefix");
            let of_events: u64 = counted.iter().filter(|(name, _)| *name != "(api)").map(|(_, count)| count).sum();
            if of_events == so_many { Ok(()) } else { Err(format!("{counted:?}")) }
        });
    }
    wait_for(&server, "prefix", &[("shop.eu.", 2), ("shop", 1), ("(other)", 2)]);
    wait_for(&server, "event", &[("a", 2), ("b", 1), ("(other)", 2)]);
}

#[test]
fn a_spreadsheet_gets_its_own_form() {
    let server = start(&[]);
    server.publish("orders", "with, a comma and \"quotes\"", "{}");
    wait_for(&server, "event", &[("with, a comma and \"quotes\"", 1)]);
    let answer = server.get(USAGE, &[("group", "event"), ("by", "month"), ("format", "csv")]);
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("content-type: text/csv; charset=utf-8"), "{}", answer.head);
    let lines: Vec<&str> = answer.body.split("\r\n").collect();
    assert_eq!(lines[0], "period,event,messages,api_calls,client_events,deliveries,presence_deliveries,webhook_calls");
    assert!(lines.iter().any(|line| line.ends_with(",\"with, a comma and \"\"quotes\"\"\",1,1,0,0,0,0")), "{lines:?}");
}

#[test]
fn a_question_that_cannot_be_meant_is_refused_with_what_can_and_one_without_a_signature_too() {
    let server = start(&[]);
    for (name, value, told) in [
        ("by", "week", "by must be hour, day or month, not \"week\""),
        ("group", "channel", "group must be prefix, event or unit, not \"channel\""),
        ("format", "xml", "format must be json or csv, not \"xml\""),
        ("until", "2026", "\"until\" is unknown; what can be asked with is from, to, by, group and format"),
    ] {
        let answer = server.get(USAGE, &[(name, value)]);
        assert_eq!((answer.status, answer.json()), (400, json!({ "error": told, "field": name })));
    }
    let answer = server.get(USAGE, &[("from", "yesterday")]);
    assert_eq!(answer.status, 400);
    assert!(answer.body.contains("must name an hour, a day or a month of UTC"), "{}", answer.body);
    let unsigned = format!("GET {USAGE} HTTP/1.1\r\nHost: test\r\n\r\n");
    assert_eq!(server.exchange(unsigned.as_bytes()).status, 401);
    assert_eq!(server.post(USAGE, &json!({})).status, 405);
}

#[test]
fn a_restart_goes_on_from_what_was_used() {
    let server = start(&[]);
    let mut client = Client::connect(&server);
    client.subscribe("private-user.7");
    (0..20).for_each(|_| server.publish("private-user.7", "tick", "{}"));
    let server = server.restart(&[]);
    assert_eq!(grouped(&server, "event")["tick"], 40, "a drain writes all of it");
    server.publish("private-user.7", "tick", "{}");
    wait_for(&server, "event", &[("tick", 41)]);
    wait_for(&server, "prefix", &[("private-user", 41)]);
}

#[test]
fn a_journal_that_cannot_be_read_stops_the_start() {
    let server = start(&[]);
    let refused = server.restart_on(&[], "usage.redb", "no journal").expect_err("usage would begin anew").to_string();
    assert!(refused.contains("usage.redb") && refused.contains("move it away"), "{refused}");
}

/// The binary in a process of its own, so that it can be killed.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(state: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_campanile"))
            .arg("serve")
            .env_clear()
            .env("CAMPANILE__STATE_DIR", state)
            .env("CAMPANILE__LISTEN__PORT", "0")
            .env("CAMPANILE__WORKERS", "2")
            .env("CAMPANILE__APPS__0__ID", APP)
            .env("CAMPANILE__APPS__0__KEYS__0__KEY", KEY)
            .env("CAMPANILE__APPS__0__KEYS__0__SECRET", SECRET)
            .env("CAMPANILE__LOG__LEVEL", "error")
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("it is a pipe")).read_line(&mut line).expect("it says where");
        let address = line.split_once("http://").and_then(|(_, rest)| rest.split(' ').next()?.parse().ok());
        Self { child, address: address.expect("an address") }
    }

    fn ask(&self, method: &str, path: &str, params: &[(&str, &str)], body: &str) -> Answer {
        let answer = exchange(self.address, &signed_request(method, path, params, body));
        assert_eq!(answer.status, 200, "{answer:?}");
        answer
    }

    fn publish(&self, name: &str) {
        self.ask("POST", EVENTS, &[], &event(name, "orders", "{}").to_string());
    }

    fn used(&self) -> BTreeMap<String, u64> {
        named(&self.ask("GET", USAGE, &[("group", "event")], "").json(), "event")
    }

    /// Without a word, as the kernel does.
    fn kill(self) {
        drop(self);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it ends");
    }
}

#[test]
fn a_kill_loses_what_was_used_in_its_last_five_seconds_and_no_more() {
    let state = tempfile::tempdir().expect("a directory can be made");
    let process = Process::start(state.path());
    // Ten a second for eight seconds; the kill comes in the middle of that.
    let mut times = Vec::new();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(8) {
        process.publish("tick");
        times.push(Instant::now());
        thread::sleep(Duration::from_millis(100));
    }
    let killed = Instant::now();
    process.kill();
    let process = Process::start(state.path());
    let kept = process.used().get("tick").copied().unwrap_or_default();
    let old = times.iter().filter(|at| killed - **at >= Duration::from_secs(5)).count() as u64;
    assert!(old >= 20, "the machine is too slow to tell");
    assert!((old..=times.len() as u64).contains(&kept), "{kept} are there of {} of which {old} are old", times.len());
    process.publish("tick");
    within(Duration::from_secs(10), || {
        let now = process.used()["tick"];
        if now == kept + 1 { Ok(()) } else { Err(format!("{now}, not one more than {kept}")) }
    });
    process.kill();
}

fn campanile(arguments: &[&str], address: SocketAddr) -> Output {
    Command::new(env!("CARGO_BIN_EXE_campanile"))
        .args(["usage", "--app-id", APP, "--key", KEY])
        .args(arguments)
        .args(["--port", &address.port().to_string()])
        .env_clear()
        .env("PUSHER_APP_SECRET", SECRET)
        .output()
        .expect("the binary runs")
}

#[test]
fn the_command_shows_a_page_of_eighty_columns_or_the_servers_answer_as_it_is() {
    let server = start(&[]);
    server.publish("private-user.7", r"Illuminate\Notifications\Events\BroadcastNotificationCreated", "{}");
    server.publish("orders", "evil\u{1b}[2Jname", "{}");
    wait_for(&server, "prefix", &[("private-user", 1), ("orders", 1)]);
    let said = |arguments: &[&str]| {
        let output = campanile(arguments, server.address);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let page = said(&[]);
    assert!(page.lines().all(|line| line.chars().count() <= 80), "{page}");
    assert!(!page.contains('\u{1b}'), "nobody can move the cursor, and a pipe gets no colours: {page:?}");
    for words in ["Usage of app app", "private-user", "orders", "Illuminate\\N…cationCreated", "Sandbox", "█"] {
        assert!(page.contains(words), "{words} in\n{page}");
    }
    let json: Value = serde_json::from_str(&said(&["--json", "--group", "prefix"])).expect("JSON");
    assert_eq!(json["group"], "prefix");
    assert!(said(&["--csv"]).starts_with("period,messages,"));
    let output = campanile(&["--from", "soon"], server.address);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("from must name an hour, a day or a month"), "{told}");
}
