//! Webhooks as a whole: real files, a real receiver, short waits.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant as Clock;

use campanile_hub::NoticeKind;
use campanile_protocol::json::DataLiteral;
use campanile_protocol::webhook::WebhookBody;
use campanile_protocol::{ChannelName, Secret, SocketId, UserId};

use super::*;

const SECRET: &str = "receivers-secret";
const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough for anything that should not come to have come.
const QUIET: Duration = Duration::from_millis(250);
const FAST: Schedule = Schedule {
    gather: Duration::from_millis(20),
    retry_first: Duration::from_millis(20),
    retry_max: Duration::from_millis(80),
    give_up_after: Duration::from_millis(300),
    storage_retry: Duration::from_millis(20),
};

#[derive(Debug, Clone)]
struct Request {
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    at: Clock,
}

impl Request {
    fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }

    fn read(stream: &mut BufReader<TcpStream>) -> Option<Self> {
        let mut line = String::new();
        stream.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let path = line.split(' ').nth(1)?.to_owned();
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).ok()?;
            let Some((name, value)) = line.trim_end().split_once(": ") else { break };
            headers.push((name.to_owned(), value.to_owned()));
        }
        let mut request = Self { path, headers, body: Vec::new(), at: Clock::now() };
        request.body = vec![0; request.header("content-length").parse().ok()?];
        stream.read_exact(&mut request.body).ok()?;
        Some(request)
    }

    fn events(&self) -> Vec<String> {
        let body: WebhookBody = serde_json::from_slice(&self.body).unwrap();
        body.events.into_iter().map(|event| event.channel.unwrap_or(event.name)).collect()
    }
}

/// An application's server. It answers the next requests with these codes, then always with 200. Requests to `/hang`
/// get no answer.
#[derive(Debug, Clone)]
struct Receiver {
    address: std::net::SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    connections: Arc<AtomicU64>,
    failing: Arc<AtomicBool>,
    codes: Arc<Mutex<Vec<u16>>>,
}

impl Receiver {
    fn new(codes: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let receiver = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
            connections: Arc::default(),
            failing: Arc::default(),
            codes: Arc::new(Mutex::new(codes.iter().rev().copied().collect())),
        };
        let served = receiver.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                served.connections.fetch_add(1, Ordering::SeqCst);
                let served = served.clone();
                thread::spawn(move || served.serve(stream));
            }
        });
        receiver
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        while let Some(request) = Request::read(&mut reader) {
            let code = self.codes.lock().pop().unwrap_or(if self.failing.load(Ordering::SeqCst) { 503 } else { 200 });
            let hangs = request.path == "/hang";
            self.requests.lock().push(request);
            if hangs {
                // Until the client gives up and closes.
                let _ = reader.read(&mut [0]);
                return;
            }
            let answer = format!("HTTP/1.1 {code} X\r\nlocation: /elsewhere\r\ncontent-length: 2\r\n\r\nok");
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn requests(&self) -> Vec<Request> {
        self.requests.lock().clone()
    }

    fn events(&self) -> Vec<String> {
        self.requests().iter().flat_map(Request::events).collect()
    }

    fn wait_for_requests(&self, count: usize) -> Vec<Request> {
        until(|| self.requests().len() >= count);
        self.requests()
    }
}

fn until(done: impl Fn() -> bool) {
    let began = Clock::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "waited in vain");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A configuration with one app per list of webhooks: `shop`, `shop-1`, `shop-2` and so on.
fn config(state: &tempfile::TempDir, apps: &[&[String]]) -> Config {
    let mut text = format!("state_dir = {:?}\n", state.path().display().to_string());
    for (index, webhooks) in apps.iter().enumerate() {
        let suffix = if index == 0 { String::new() } else { format!("-{index}") };
        text.push_str(&format!(
            "[[apps]]\nid = \"shop{suffix}\"\nkeys = [{{ key = \"old{suffix}\", secret = \"old-secret\", enabled = false \
             }}, {{ key = \"key{suffix}\", secret = \"{SECRET}\" }}]\n"
        ));
        for webhook in *webhooks {
            text.push_str(&format!("[[apps.webhooks]]\n{webhook}\n"));
        }
    }
    let path = state.path().join("campanile.toml");
    fs::write(&path, text).unwrap();
    Config::load(Some(&path), std::iter::empty()).unwrap()
}

fn webhook(url: &str, more: &str) -> String {
    format!("url = {url:?}\n{more}")
}

fn start(config: &Config) -> Webhooks {
    Webhooks::start_on(config, 1, &config.state_dir, FAST).unwrap()
}

fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name, 200).unwrap()
}

fn notice(app: &str, kind: NoticeKind) -> Notice {
    static EDGE: AtomicU64 = AtomicU64::new(0);
    Notice { app: app.into(), kind, edge: EDGE.fetch_add(1, Ordering::SeqCst) }
}

fn occupied(app: &str, name: &str) -> Notice {
    notice(app, NoticeKind::ChannelOccupied { channel: channel(name) })
}

fn socket() -> SocketId {
    SocketId { place: 12, secret: 34 }
}

fn added(name: &str) -> Notice {
    let user_id = UserId::parse("7", 100).unwrap();
    notice("shop", NoticeKind::MemberAdded { channel: channel(name), user_id, socket_id: socket() })
}

fn block<T>(future: impl Future<Output = T>) -> T {
    runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn stop(webhooks: &Webhooks) {
    block(webhooks.flush_and_stop(PATIENCE));
}

fn fill(webhooks: &Webhooks) -> (u64, u64, u64) {
    let status = block(webhooks.endpoints()).unwrap().pop().unwrap();
    (status.pending_events, status.dead_letters, status.lost)
}

#[test]
fn a_request_is_signed_with_the_apps_first_active_key_and_carries_its_headers() {
    let (state, receiver) = (tempfile::tempdir().unwrap(), Receiver::new(&[]));
    let hook = webhook(&receiver.url("/hook?token=t"), "headers = { authorization = \"Bearer b\" }");
    let webhooks = start(&config(&state, &[&[hook]]));
    webhooks.notify(occupied("shop", "orders"));
    let request = receiver.wait_for_requests(1).remove(0);
    assert_eq!(request.path, "/hook?token=t");
    assert_eq!(request.header("x-pusher-key"), "key");
    assert!(Secret::new(SECRET).verify(&request.body, request.header("x-pusher-signature")));
    assert_eq!(request.header("content-type"), "application/json");
    assert_eq!(request.header("authorization"), "Bearer b");
    assert_eq!(request.header("user-agent"), concat!("campanile/", env!("CARGO_PKG_VERSION")));
    let body: WebhookBody = serde_json::from_slice(&request.body).unwrap();
    assert!(now_ms().abs_diff(body.time_ms) < 10_000);
    assert_eq!((body.events[0].name.as_str(), body.events[0].event_id.len()), ("channel_occupied", 32));
}

#[test]
fn an_event_is_sent_again_until_taken_with_the_same_body_and_then_never_more() {
    let (state, receiver) = (tempfile::tempdir().unwrap(), Receiver::new(&[500, 503, 404]));
    let webhooks = start(&config(&state, &[&[webhook(&receiver.url("/"), "")]]));
    webhooks.notify(occupied("shop", "orders"));
    let requests = receiver.wait_for_requests(4);
    thread::sleep(QUIET);
    assert_eq!(receiver.requests().len(), 4);
    assert!(requests.iter().all(|request| request.body == requests[0].body));
    // The third wait is at most four times the first, and at least half of that.
    assert!(requests[3].at - requests[2].at >= FAST.retry_first * 2);
    until(|| fill(&webhooks) == (0, 0, 0));
    assert_eq!(receiver.connections.load(Ordering::SeqCst), 1, "the connection is kept open");
}

#[test]
fn a_redirect_is_a_failure_and_is_not_followed() {
    let (state, receiver) = (tempfile::tempdir().unwrap(), Receiver::new(&[307]));
    let webhooks = start(&config(&state, &[&[webhook(&receiver.url("/"), "")]]));
    webhooks.notify(occupied("shop", "orders"));
    let requests = receiver.wait_for_requests(2);
    assert!(requests.iter().all(|request| request.path == "/"));
    stop(&webhooks);
}

#[test]
fn what_was_not_delivered_is_delivered_after_the_next_start() {
    let (state, receiver) = (tempfile::tempdir().unwrap(), Receiver::new(&[]));
    receiver.failing.store(true, Ordering::SeqCst);
    let config = config(&state, &[&[webhook(&receiver.url("/"), "")]]);
    let webhooks = start(&config);
    webhooks.notify(occupied("shop", "orders"));
    webhooks.notify(occupied("shop", "stock"));
    // Stopping commits what came a moment ago, and does not wait for an endpoint that fails.
    let began = Clock::now();
    stop(&webhooks);
    assert!(began.elapsed() < PATIENCE / 2);
    webhooks.notify(occupied("shop", "too-late"));
    receiver.failing.store(false, Ordering::SeqCst);
    let refused = receiver.requests().len();

    let webhooks = start(&config);
    let requests = receiver.wait_for_requests(refused + 1);
    assert_eq!(requests[refused].events(), ["orders", "stock"]);
    until(|| fill(&webhooks) == (0, 0, 0));
}

#[test]
fn what_was_committed_survives_an_end_without_a_stop() {
    let (state, receiver) = (tempfile::tempdir().unwrap(), Receiver::new(&[]));
    let config = config(&state, &[&[webhook(&receiver.url("/hang"), "")]]);
    let webhooks = start(&config);
    webhooks.notify(occupied("shop", "orders"));
    receiver.wait_for_requests(1);
    drop(webhooks);
    let webhooks = start(&config);
    assert_eq!(receiver.wait_for_requests(2)[1].events(), ["orders"]);
    drop(webhooks);
}

#[test]
fn stopping_delivers_what_waits() {
    let (state, receiver) = (tempfile::tempdir().unwrap(), Receiver::new(&[]));
    let webhooks = start(&config(&state, &[&[webhook(&receiver.url("/"), "batch = false")]]));
    for index in 0..20 {
        webhooks.notify(occupied("shop", &format!("c{index}")));
    }
    stop(&webhooks);
    assert_eq!(receiver.events(), (0..20).map(|index| format!("c{index}")).collect::<Vec<_>>());
}

#[test]
fn stopping_ends_at_its_deadline_though_an_endpoint_hangs() {
    let (state, receiver) = (tempfile::tempdir().unwrap(), Receiver::new(&[]));
    let webhooks = start(&config(&state, &[&[webhook(&receiver.url("/hang"), "")]]));
    webhooks.notify(occupied("shop", "orders"));
    receiver.wait_for_requests(1);
    let began = Clock::now();
    block(webhooks.flush_and_stop(Duration::from_millis(200)));
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(200) && took < PATIENCE / 2, "{took:?}");
}

#[test]
fn an_endpoint_that_hangs_delays_no_other() {
    let (state, receiver) = (tempfile::tempdir().unwrap(), Receiver::new(&[]));
    let hanging = webhook(&receiver.url("/hang"), "");
    let well = |path: &str| webhook(&receiver.url(path), "");
    let webhooks = start(&config(&state, &[&[hanging, well("/same-app")], &[well("/other-app")]]));
    webhooks.notify(occupied("shop", "a"));
    until(|| receiver.requests().iter().any(|request| request.path == "/hang"));
    webhooks.notify(occupied("shop", "b"));
    webhooks.notify(occupied("shop-1", "c"));
    let events_at = |path: &str| -> Vec<String> {
        receiver.requests().iter().filter(|request| request.path == path).flat_map(Request::events).collect()
    };
    until(|| events_at("/same-app") == ["a", "b"] && events_at("/other-app") == ["c"]);
    assert_eq!(events_at("/hang"), ["a"]);
    drop(webhooks);
}

#[test]
fn an_answer_that_takes_longer_than_the_timeout_is_a_failure() {
    let (state, receiver) = (tempfile::tempdir().unwrap(), Receiver::new(&[]));
    let webhooks = start(&config(&state, &[&[webhook(&receiver.url("/hang"), "timeout_secs = 1")]]));
    webhooks.notify(occupied("shop", "orders"));
    // One timeout is longer than a batch is tried for.
    until(|| fill(&webhooks) == (0, 1, 0));
    stop(&webhooks);
    let archive = &Archive::open_all(&config(&state, &[&[webhook(&receiver.url("/hang"), "")]]), None).unwrap()[0];
    archive
        .dead_letters(|letter| {
            assert_eq!(letter.error, "no answer within 1 s");
            Ok::<(), Error>(())
        })
        .unwrap();
}

#[test]
fn a_batch_that_nobody_takes_becomes_dead_letters_and_can_be_sent_again() {
    let (state, receiver) = (tempfile::tempdir().unwrap(), Receiver::new(&[]));
    receiver.failing.store(true, Ordering::SeqCst);
    let webhooks = start(&config(&state, &[&[webhook(&receiver.url("/"), "")]]));
    webhooks.notify(occupied("shop", "orders"));
    until(|| fill(&webhooks) == (0, 1, 0));
    let requests = receiver.requests();
    let tried = requests[requests.len() - 1].at - requests[0].at;
    assert!(tried >= FAST.give_up_after - FAST.retry_first, "{tried:?}");

    receiver.failing.store(false, Ordering::SeqCst);
    assert_eq!(block(webhooks.retry_dead_letters("shop")).unwrap(), 1);
    assert_eq!(block(webhooks.retry_dead_letters("another")).unwrap(), 0);
    let sent_again = receiver.wait_for_requests(requests.len() + 1);
    assert_eq!(sent_again[requests.len()].body, requests[0].body);
    until(|| fill(&webhooks) == (0, 0, 0));
}

#[test]
fn past_the_queue_come_the_dead_letters_and_past_them_a_count() {
    let (state, receiver) = (tempfile::tempdir().unwrap(), Receiver::new(&[]));
    let bounds = "queue_events_max = 2\ndead_letters_max = 3";
    let webhooks = start(&config(&state, &[&[webhook(&receiver.url("/hang"), bounds)]]));
    for index in 0..5 {
        webhooks.notify(occupied("shop", &format!("private-c{index}")));
    }
    until(|| fill(&webhooks) == (2, 3, 0));
    webhooks.notify(occupied("shop", "private-c5"));
    until(|| fill(&webhooks) == (2, 3, 1));
    drop(webhooks);
}

#[test]
fn a_stranger_who_invents_channels_leaves_room_for_what_the_application_has_signed() {
    let (state, receiver) = (tempfile::tempdir().unwrap(), Receiver::new(&[]));
    let bounds = "queue_events_max = 4\ndead_letters_max = 2";
    let webhooks = start(&config(&state, &[&[webhook(&receiver.url("/hang"), bounds)]]));
    for index in 0..100 {
        webhooks.notify(occupied("shop", &format!("invented-{index}")));
    }
    until(|| fill(&webhooks) == (2, 1, 97));
    webhooks.notify(added("presence-room"));
    webhooks.notify(added("presence-room"));
    until(|| fill(&webhooks) == (4, 1, 97));
    webhooks.notify(added("presence-room"));
    until(|| fill(&webhooks) == (4, 2, 97));
    drop(webhooks);
}

#[test]
fn an_endpoint_hears_of_the_events_and_channels_it_chose_and_of_its_own_app() {
    let (state, receiver) = (tempfile::tempdir().unwrap(), Receiver::new(&[]));
    let choice = "events = [\"channel_occupied\", \"connection_opened\"]\nchannel_prefix = \"private-\"";
    let webhooks = start(&config(&state, &[&[webhook(&receiver.url("/"), choice)], &[]]));
    webhooks.notify(occupied("shop", "public"));
    webhooks.notify(notice("shop", NoticeKind::ChannelVacated { channel: channel("private-vacated") }));
    webhooks.notify(occupied("shop-1", "private-of-another"));
    webhooks.notify(occupied("nobody", "private-of-nobody"));
    webhooks.notify(occupied("shop", "private-orders"));
    webhooks.notify(notice("shop", NoticeKind::ConnectionClosed { socket_id: socket() }));
    webhooks.notify(notice("shop", NoticeKind::ConnectionOpened { socket_id: socket() }));
    stop(&webhooks);
    assert_eq!(receiver.events(), ["private-orders", "connection_opened"]);
}

#[test]
fn two_webhooks_with_one_address_and_different_filters_both_hear_theirs() {
    let (state, receiver) = (tempfile::tempdir().unwrap(), Receiver::new(&[]));
    let of = |prefix: &str| webhook(&receiver.url("/"), &format!("channel_prefix = {prefix:?}"));
    let webhooks = start(&config(&state, &[&[of("a-"), of("b-")]]));
    webhooks.notify(occupied("shop", "a-1"));
    webhooks.notify(occupied("shop", "b-1"));
    stop(&webhooks);
    let mut events = receiver.events();
    events.sort();
    assert_eq!(events, ["a-1", "b-1"]);
}

#[test]
fn a_batch_has_at_most_fifty_events() {
    let (state, receiver) = (tempfile::tempdir().unwrap(), Receiver::new(&[]));
    let webhooks = start(&config(&state, &[&[webhook(&receiver.url("/"), "")]]));
    for index in 0..101 {
        webhooks.notify(occupied("shop", &format!("c{index}")));
    }
    stop(&webhooks);
    let sizes: Vec<usize> = receiver.requests().iter().map(|request| request.events().len()).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 101);
    assert!(sizes.iter().all(|size| *size <= endpoint::BATCH_EVENTS_MAX), "{sizes:?}");
    assert!(sizes.contains(&endpoint::BATCH_EVENTS_MAX), "{sizes:?}");
}

#[test]
fn a_batch_has_at_most_64_kilobytes() {
    let (state, receiver) = (tempfile::tempdir().unwrap(), Receiver::new(&[]));
    let webhooks = start(&config(&state, &[&[webhook(&receiver.url("/"), "")]]));
    for _ in 0..20 {
        webhooks.notify(client_event(DataLiteral::from_text(&"x".repeat(9_000)), None));
    }
    stop(&webhooks);
    let sizes: Vec<usize> = receiver.requests().iter().map(|request| request.body.len()).collect();
    assert!(sizes.iter().all(|size| *size <= endpoint::BATCH_BYTES_MAX), "{sizes:?}");
    assert!(sizes.iter().any(|size| *size > endpoint::BATCH_BYTES_MAX - 10_000), "{sizes:?}");
    assert_eq!(receiver.events().len(), 20);
}

#[test]
fn without_batching_each_request_has_one_event_in_order() {
    let (state, receiver) = (tempfile::tempdir().unwrap(), Receiver::new(&[]));
    let webhooks = start(&config(&state, &[&[webhook(&receiver.url("/"), "batch = false")]]));
    for name in ["a", "b", "c"] {
        webhooks.notify(occupied("shop", name));
    }
    let requests = receiver.wait_for_requests(3);
    let events: Vec<_> = requests.iter().map(Request::events).collect();
    assert_eq!(events, [["a"], ["b"], ["c"]]);
}

fn client_event(data: DataLiteral, user: Option<&str>) -> Notice {
    let kind = NoticeKind::ClientEvent {
        channel: channel("presence-room"),
        event: "client-typing".into(),
        data,
        socket_id: socket(),
        user_id: user.map(|user| UserId::parse(user, 100).unwrap()),
    };
    Notice { app: "shop".into(), kind, edge: 9 }
}

fn told(more: &str, notice: &Notice) -> String {
    let state = tempfile::tempdir().unwrap();
    let config = config(&state, &[&[webhook("http://127.0.0.1:1/", more)]]);
    let settings = Settings::new(&config.apps[0], &config.apps[0].webhooks[0]).unwrap();
    let mut event = settings.event(notice, 1);
    assert_eq!(event, settings.event(notice, 1));
    assert_ne!(event.event_id, settings.event(notice, 2).event_id, "another life, another event");
    event.event_id = "id".to_owned();
    String::from_utf8(event.encode()).unwrap()
}

#[test]
fn a_members_socket_is_told_only_on_request() {
    let name = r#"{"name":"member_added","channel":"presence-room","user_id":"7","#;
    assert_eq!(told("", &added("presence-room")), format!(r#"{name}"event_id":"id"}}"#));
    let with_socket = told("socket_id = true", &added("presence-room"));
    assert_eq!(with_socket, format!(r#"{name}"socket_id":"12.34","event_id":"id"}}"#));
}

#[test]
fn a_client_events_data_is_a_string_however_it_was_sent() {
    let expected = concat!(
        r#"{"name":"client_event","channel":"presence-room","user_id":"7","event":"client-typing","#,
        r#""data":"{\"on\":true}","socket_id":"12.34","event_id":"id"}"#
    );
    let object = serde_json::from_str(r#"{"on":true}"#).unwrap();
    assert_eq!(told("", &client_event(DataLiteral::from_client(object), Some("7"))), expected);
    assert_eq!(told("", &client_event(DataLiteral::from_text(r#"{"on":true}"#), Some("7"))), expected);
}

#[test]
fn a_reload_adds_changes_and_removes_endpoints_and_keeps_what_waits_for_them() {
    let (state, receiver) = (tempfile::tempdir().unwrap(), Receiver::new(&[]));
    let (first, second) = (webhook(&receiver.url("/hang"), ""), webhook(&receiver.url("/second"), ""));
    let webhooks = start(&config(&state, &[&[]]));
    webhooks.notify(occupied("shop", "unheard"));
    block(webhooks.reload(&config(&state, &[std::slice::from_ref(&first)]))).unwrap();
    webhooks.notify(occupied("shop", "kept"));
    receiver.wait_for_requests(1);

    block(webhooks.reload(&config(&state, &[&[second]]))).unwrap();
    webhooks.notify(occupied("shop", "for-the-second"));
    assert_eq!(receiver.wait_for_requests(2)[1].events(), ["for-the-second"]);

    let filtered = webhook(&receiver.url("/second"), "channel_prefix = \"x-\"");
    block(webhooks.reload(&config(&state, &[&[first, filtered]]))).unwrap();
    assert_eq!(receiver.wait_for_requests(3)[2].events(), ["kept"]);
    webhooks.notify(occupied("shop", "y-1"));
    webhooks.notify(occupied("shop", "x-1"));
    until(|| receiver.events().contains(&"x-1".to_owned()));
    let at_second = receiver.requests().into_iter().filter(|request| request.path == "/second");
    assert_eq!(at_second.flat_map(|request| request.events()).collect::<Vec<_>>(), ["for-the-second", "x-1"]);
    drop(webhooks);
}

#[test]
fn a_queue_that_cannot_be_used_stops_the_start() {
    let (state, receiver) = (tempfile::tempdir().unwrap(), Receiver::new(&[]));
    let config = config(&state, &[&[webhook(&receiver.url("/?token=t"), "")]]);
    let webhooks = start(&config);
    let refused = Webhooks::start_on(&config, 1, &config.state_dir, FAST).unwrap_err().to_string();
    assert!(refused.contains("another campanile serves with this state_dir"), "{refused}");
    assert!(!refused.contains("token"), "{refused}");
    drop(webhooks);

    fs::remove_dir_all(state.path().join(DIRECTORY)).unwrap();
    fs::write(state.path().join(DIRECTORY), "in the way").unwrap();
    let refused = Webhooks::start_on(&config, 1, &config.state_dir, FAST).unwrap_err();
    assert!(matches!(refused, Error::Directory { .. }), "{refused}");
}

#[test]
fn an_app_that_cannot_sign_stops_the_start_unless_it_is_disabled() {
    let (state, receiver) = (tempfile::tempdir().unwrap(), Receiver::new(&[]));
    let mut config = config(&state, &[&[webhook(&receiver.url("/"), "")]]);
    config.apps[0].keys.retain(|pair| !pair.enabled);
    let refused = Webhooks::start_on(&config, 1, &config.state_dir, FAST).unwrap_err();
    assert!(matches!(refused, Error::NoKey { .. }), "{refused}");
    config.apps[0].enabled = false;
    start(&config);
}

#[test]
fn without_webhooks_nothing_is_made_on_disk() {
    let state = tempfile::tempdir().unwrap();
    let webhooks = start(&config(&state, &[&[]]));
    webhooks.notify(occupied("shop", "orders"));
    stop(&webhooks);
    assert!(!state.path().join(DIRECTORY).exists());
}

fn notification(app: &str, delivery: u64) -> Notice {
    let kind = NoticeKind::Notification { user: "42".into(), data: r#"{"title":"Hello"}"#.into() };
    Notice { edge: delivery, ..notice(app, kind) }
}

#[test]
fn a_notification_is_on_the_disk_before_it_counts_as_handed_over_and_is_the_same_event_in_another_life() {
    let receiver = Receiver::new(&[]);
    receiver.failing.store(true, Ordering::SeqCst);
    let state = tempfile::tempdir().unwrap();
    let wants = webhook(&receiver.url("/a"), "events = ['notification']");
    let config = config(&state, &[&[wants]]);
    let webhooks = start(&config);
    assert_eq!(block(webhooks.deposit(notification("shop", 7))), Deposit::Taken);
    assert_eq!(fill(&webhooks).0, 1, "no commit is waited for");
    // As a kill would leave it.
    drop(webhooks);
    receiver.failing.store(false, Ordering::SeqCst);
    let webhooks = Webhooks::start_on(&config, 99, state.path(), FAST).unwrap();
    assert_eq!(block(webhooks.deposit(notification("shop", 7))), Deposit::Taken);
    stop(&webhooks);
    let bodies: Vec<WebhookBody> = {
        let requests = receiver.requests.lock();
        requests.iter().map(|request| serde_json::from_slice(&request.body).unwrap()).collect()
    };
    let events: Vec<_> = bodies.into_iter().flat_map(|body| body.events).collect();
    let first = &events[0];
    assert_eq!((&*first.name, first.user_id.as_deref()), ("notification", Some("42")));
    assert_eq!(first.data.as_deref(), Some(r#"{"title":"Hello"}"#));
    assert!(events.len() > 1 && events.iter().all(|event| event == first), "{events:?}");
}

#[test]
fn a_notification_that_no_endpoint_wants_and_one_that_has_no_room_are_told_apart() {
    let receiver = Receiver::new(&[]);
    let state = tempfile::tempdir().unwrap();
    let tight = "events = ['notification']\nqueue_events_max = 1\ndead_letters_max = 1";
    let webhooks =
        start(&config(&state, &[&[webhook(&receiver.url("/a"), "")], &[webhook(&receiver.url("/hang"), tight)]]));
    assert_eq!(block(webhooks.deposit(notification("shop", 1))), Deposit::Unwanted);
    assert_eq!(block(webhooks.deposit(notification("nobody", 1))), Deposit::Unwanted);
    for delivery in [1, 2] {
        assert_eq!(block(webhooks.deposit(notification("shop-1", delivery))), Deposit::Taken);
    }
    let Deposit::Refused(reason) = block(webhooks.deposit(notification("shop-1", 3))) else { panic!() };
    assert_eq!(reason, "the endpoint's queue and its dead letters are full");
    drop(webhooks);
}
