//! The API as a publisher meets it: signed requests in, answers and letters out. A worker's mind is played by a table.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::future::poll_fn;
use std::io::Write;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use campanile_hub::letter::Homes;
use campanile_hub::{Answer, App, Apps, Ask, ChannelInfo, Letter, WorkerId};
use campanile_protocol::json::DataLiteral;
use campanile_protocol::signature::sign_request;
use campanile_protocol::{ChannelName, Secret, SocketId, UserId};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame};
use hyper::{Request, StatusCode};
use tokio::time::Sleep;

use super::respond;
use crate::budget::Share;
use crate::config::limits::CHANNELS_AT_ONCE;
use crate::config::{Config, Machine};
use crate::door::Door;
use crate::mailbox::{Permits, Post};
use crate::node::Node;

pub(super) const CONFIG: &str = r#"
[listen]
path_prefix = "/ws"

[limits]
http_body_bytes_max = 250000
http_bytes_max = 1048576

[cors]
allowed_origins = ["https://console.example"]

[[apps]]
id = "a"
keys = [{ key = "key-a", secret = "secret-of-app-a-0123456789" }]

[[apps]]
id = "b"
keys = [{ key = "key-b", secret = "secret-of-app-b-0123456789" }]
backend_events_per_sec = 2

[[apps]]
id = "off"
enabled = false
keys = [{ key = "key-off", secret = "secret-of-app-off-0123456789" }]
"#;

/// What the played worker has received.
type Seen = Rc<RefCell<Vec<Letter>>>;

struct Fixture {
    door: Rc<Door>,
    node: Arc<Node>,
    seen: Seen,
    permits: Permits,
}

#[derive(Debug)]
pub(super) struct Answered {
    pub(super) status: StatusCode,
    headers: hyper::HeaderMap,
    pub(super) body: String,
}

impl Answered {
    /// An answer.
    pub(super) fn read(reply: super::Reply) -> Self {
        let (head, body) = reply.into_parts();
        Self { status: head.status, headers: head.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(super) fn is(&self, status: u16, body: &str) {
        assert_eq!((self.status.as_u16(), self.body.as_str()), (status, body));
    }
}

pub(super) fn app(id: &str, enabled: bool) -> App {
    App { enabled, ..App::new(id, &format!("key-{id}"), &secret_of(id)) }
}

fn secret_of(app: &str) -> String {
    format!("secret-of-app-{app}-0123456789")
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// What the played mind knows.
fn state(channel: &str) -> ChannelInfo {
    let states = HashMap::from([
        ("presence-room", ChannelInfo { occupied: true, subscription_count: 3, user_count: 2, remembered: None }),
        ("orders", ChannelInfo { occupied: true, subscription_count: 5, user_count: 0, remembered: None }),
        (
            "cache-price",
            ChannelInfo { remembered: Some((DataLiteral::from_text(r#"{"eur":7}"#), 60)), ..ChannelInfo::default() },
        ),
    ]);
    states.get(channel).cloned().unwrap_or_default()
}

/// More channels than a mind lists at once: two full slices, and nothing after them.
const CROWD: std::ops::Range<usize> = 0..2 * CHANNELS_AT_ONCE;

fn answer_to(ask: &Ask) -> Answer {
    match ask {
        Ask::Channel(key) => Answer::Channel(state(key.name.as_str())),
        Ask::Connection(_) => Answer::Connection(None),
        Ask::Members(_) => Answer::Members(vec![UserId::parse("1", 128).unwrap(), UserId::parse("2", 128).unwrap()]),
        Ask::Channels { prefix, after, most, .. } => {
            let mut occupied = match &**prefix {
                "crowd-" => CROWD.map(|number| format!("crowd-{number:05}")).collect(),
                _ => vec!["orders".to_owned(), "presence-room".to_owned()],
            };
            let after = after.as_ref().map_or("", |name| name.as_str());
            occupied.retain(|name| name.starts_with(&**prefix) && name.as_str() > after);
            occupied.truncate(*most);
            let told = occupied.iter().map(|name| (ChannelName::parse(name, 164).unwrap(), state(name)));
            Answer::Channels(told.collect())
        }
    }
}

/// Runs a test beside a worker that plays the mind; `is_silent` plays one that never answers.
fn run<F: Future>(is_silent: bool, test: impl FnOnce(Fixture) -> F) -> F::Output {
    run_with(1, Duration::from_millis(50), is_silent, test)
}

/// The same with more permits than one and more patience.
fn run_with<F: Future>(
    permits: usize,
    patience: Duration,
    is_silent: bool,
    test: impl FnOnce(Fixture) -> F,
) -> F::Output {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(CONFIG.as_bytes()).unwrap();
    let machine = Machine { cores: 1, ..Machine::here() };
    let (mut config, _) = Config::load_explained(Some(file.path()), std::iter::empty(), &machine).unwrap();
    config.limits.http_request_timeout = patience;
    let apps = Apps::new(vec![app("a", true), app("b", true), app("off", false)], None);
    let node = Node::new(Arc::new(config), Arc::new(apps), Homes { seed: 1, workers: 1 });
    let (post, permits) = (Post::new(1), Permits::new(permits));
    let door = Door::new(WorkerId(0), Arc::clone(&node), post.clone(), permits.clone());
    let seen = Seen::default();
    let worker = {
        let (door, seen) = (Rc::clone(&door), Rc::clone(&seen));
        async move {
            let mut letters = VecDeque::new();
            loop {
                post.arrived(WorkerId(0)).notified().await;
                post.take(WorkerId(0), &mut letters);
                for envelope in letters.drain(..) {
                    match &envelope.letter {
                        _ if is_silent => {}
                        Letter::Ask { ask, id } => door.answer(*id, answer_to(ask)),
                        Letter::Publish { key, ask: Some(id), .. } => {
                            door.answer(*id, Answer::Channel(state(key.name.as_str())));
                        }
                        _ => {}
                    }
                    seen.borrow_mut().push(envelope.letter);
                }
            }
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let worker = tokio::task::spawn_local(worker);
        let output = test(Fixture { door, node, seen, permits }).await;
        worker.abort();
        output
    })
}

impl Fixture {
    async fn send<B>(&self, request: Request<B>) -> Answered
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let answered = Answered::read(respond(request, &self.door).await);
        tokio::task::yield_now().await;
        answered
    }

    async fn unsigned(&self, method: &str, path: &str) -> Answered {
        self.send(Request::builder().method(method).uri(path).body(Full::<Bytes>::default()).unwrap()).await
    }

    /// Signed with the key of app `signer`.
    async fn signed(&self, signer: &str, method: &str, path: &str, params: &[(&str, &str)], body: &str) -> Answered {
        self.send(signed(signer, method, path, params, body)).await
    }

    async fn get(&self, path: &str, params: &[(&str, &str)]) -> Answered {
        self.signed("a", "GET", path, params, "").await
    }

    async fn post(&self, path: &str, body: &str) -> Answered {
        self.signed("a", "POST", path, &[], body).await
    }

    /// What was published: channel, frame's JSON, excluded socket, remembered data.
    fn published(&self) -> Vec<(String, String, Option<SocketId>, Option<String>)> {
        let seen = self.seen.borrow();
        let publications = seen.iter().filter_map(|letter| match letter {
            Letter::Publish { key, publication, .. } => {
                let json = publication.frame.iter().position(|byte| *byte == b'{').unwrap();
                let json = String::from_utf8(publication.frame[json..].to_vec()).unwrap();
                let remembered = publication.remember.as_ref().map(DataLiteral::decode);
                Some((key.name.to_string(), json, publication.except, remembered))
            }
            _ => None,
        });
        publications.collect()
    }
}

pub(super) fn signed(
    signer: &str,
    method: &str,
    path: &str,
    params: &[(&str, &str)],
    body: &str,
) -> Request<Full<Bytes>> {
    let key = format!("key-{signer}");
    let query = sign_request(&key, &Secret::new(&secret_of(signer)), method, path, params, body.as_bytes(), now());
    let uri = format!("{path}?{query}");
    Request::builder().method(method).uri(uri).body(Full::new(Bytes::from(body.to_owned()))).unwrap()
}

const EVENT: &str = r#"{"name":"e","channel":"orders","data":"d"}"#;

#[test]
fn an_event_reaches_the_home_of_each_channel_once() {
    run(false, async |api| {
        let body = r#"{"name":"e","channels":["orders","cache-price","orders"],"data":"{\"x\":1}","socket_id":"1.2"}"#;
        api.post("/apps/a/events", body).await.is(200, "{}");
        let socket = Some(SocketId { place: 1, secret: 2 });
        let frame = |channel| format!(r#"{{"event":"e","channel":"{channel}","data":"{{\"x\":1}}"}}"#);
        assert_eq!(
            api.published(),
            [
                ("orders".to_owned(), frame("orders"), socket, None),
                ("cache-price".to_owned(), frame("cache-price"), socket, Some(r#"{"x":1}"#.to_owned())),
            ]
        );
    });
}

#[test]
fn a_publisher_that_asks_is_told_what_each_channel_has() {
    run(false, async |api| {
        let body =
            r#"{"name":"e","channels":["presence-room","orders"],"data":"d","info":"user_count,subscription_count"}"#;
        api.post("/apps/a/events", body).await.is(
            200,
            r#"{"channels":{"presence-room":{"user_count":2,"subscription_count":3},"orders":{"subscription_count":5}}}"#,
        );
        let body = r#"{"batch":[{"name":"e","channel":"orders","data":"d"},{"name":"e","channel":"orders","data":"d","info":"subscription_count"}]}"#;
        api.post("/apps/a/batch_events", body).await.is(200, r#"{"batch":[{},{"subscription_count":5}]}"#);
        assert_eq!(api.published().len(), 4);
        let body = format!(r#"{{"batch":[{EVENT}]}}"#);
        api.post("/apps/a/batch_events", &body).await.is(200, "{}");
    });
}

#[test]
fn a_published_event_is_a_success_even_if_nobody_tells_the_counts() {
    run(true, async |api| {
        let body = r#"{"name":"e","channel":"orders","data":"d","info":"subscription_count"}"#;
        api.post("/apps/a/events", body).await.is(200, r#"{"channels":{"orders":{}}}"#);
    });
}

#[test]
fn a_refused_batch_publishes_nothing() {
    run(false, async |api| {
        let body = format!(r#"{{"batch":[{EVENT},{{"name":"e","channel":"a b","data":"d"}}]}}"#);
        let answer = api.post("/apps/a/batch_events", &body).await;
        assert_eq!(answer.status, 400);
        assert!(answer.body.ends_with(r#""field":"batch[1].channel"}"#), "{}", answer.body);
        assert_eq!(api.published(), []);
    });
}

#[test]
fn many_channels_are_listed_a_slice_at_a_time_and_events_go_between() {
    run_with(16, Duration::from_secs(10), false, async |api| {
        let is_listed = Cell::new(false);
        let listing = async {
            let answer = api.get("/apps/a/channels", &[("filter_by_prefix", "crowd-")]).await;
            is_listed.set(true);
            answer
        };
        let publishing = async {
            while !is_listed.get() {
                api.post("/apps/a/events", EVENT).await.is(200, "{}");
            }
        };
        let (listed, ()) = tokio::join!(listing, publishing);
        let names = CROWD.map(|number| format!(r#""crowd-{number:05}":{{}}"#));
        listed.is(200, &format!(r#"{{"channels":{{{}}}}}"#, names.collect::<Vec<_>>().join(",")));

        let seen = api.seen.borrow();
        let is_ask = |letter: &&Letter| matches!(letter, Letter::Ask { ask: Ask::Channels { .. }, .. });
        let asks: Vec<usize> = (0..seen.len()).filter(|index| is_ask(&&seen[*index])).collect();
        let [first, second, third] = asks[..] else { panic!("{asks:?}") };
        for (from, to) in [(first, second), (second, third)] {
            assert!(seen[from..to].iter().any(|letter| matches!(letter, Letter::Publish { .. })), "{seen:?}");
        }
    });
}

#[test]
fn the_deprecated_paths_still_answer() {
    run(false, async |api| {
        let path = "/apps/a/channels/orders/events";
        api.signed("a", "POST", path, &[("name", "e")], r#"{"x":1}"#).await.is(202, "");
        assert_eq!(api.published()[0].1, r#"{"event":"e","channel":"orders","data":"{\"x\":1}"}"#);
        api.get("/apps/a/channels/orders/stats", &[]).await.is(200, r#"{"occupied":true}"#);
    });
}

#[test]
fn channels_tell_what_was_asked_and_applies() {
    run(false, async |api| {
        for (path, params, status, body) in [
            ("/apps/a/channels", &[][..], 200, r#"{"channels":{"orders":{},"presence-room":{}}}"#),
            (
                "/apps/a/channels",
                &[("filter_by_prefix", "presence-"), ("info", "user_count")],
                200,
                r#"{"channels":{"presence-room":{"user_count":2}}}"#,
            ),
            (
                "/apps/a/channels",
                &[("info", "user_count")],
                400,
                r#"{"error":"info: user_count needs a filter_by_prefix that begins with presence-","field":"info"}"#,
            ),
            (
                "/apps/a/channels",
                &[("info", "cache")],
                400,
                r#"{"error":"info: \"cache\" is not an attribute of this request; known are user_count, subscription_count","field":"info"}"#,
            ),
            (
                "/ws/apps/a/channels/presence-room",
                &[("info", "user_count,subscription_count")],
                200,
                r#"{"occupied":true,"user_count":2,"subscription_count":3}"#,
            ),
            ("/apps/a/channels/nobody", &[], 200, r#"{"occupied":false}"#),
            (
                "/apps/a/channels/cache-price",
                &[("info", "cache")],
                200,
                r#"{"occupied":false,"cache":{"data":"{\"eur\":7}","ttl":60}}"#,
            ),
            ("/apps/a/channels/cache-other", &[("info", "cache")], 200, r#"{"occupied":false,"cache":null}"#),
            ("/apps/a/channels/presence-room/users", &[], 200, r#"{"users":[{"id":"1"},{"id":"2"}]}"#),
            (
                "/apps/a/channels/orders/users",
                &[],
                400,
                r#"{"error":"channel: channel \"orders\" has no members: only presence channels do","field":"channel"}"#,
            ),
            ("/apps/a/connections", &[], 200, r#"{"connections":0}"#),
        ] {
            api.get(path, params).await.is(status, body);
        }
        for (channel, info) in [("orders", "user_count"), ("orders", "cache"), ("orders", "age"), ("a%20b", "")] {
            let answer = api.get(&format!("/apps/a/channels/{channel}"), &[("info", info)]).await;
            assert_eq!(answer.status, 400, "{channel} {info}");
        }
    });
}

#[test]
fn terminating_a_user_reaches_the_users_home() {
    run(false, async |api| {
        api.post("/apps/a/users/u%40x/terminate_connections", "{}").await.is(200, "{}");
        let reached = match &api.seen.borrow()[..] {
            [Letter::Terminate { key }] => key.name.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(reached, "#server-to-user-u@x");
        let answer = api.post("/apps/a/users/a%20b/terminate_connections", "").await;
        assert_eq!(answer.status, 400);
        assert!(answer.body.ends_with(r#""field":"user_id"}"#), "{}", answer.body);
    });
}

#[test]
fn who_cannot_sign_for_the_app_of_the_path_gets_nowhere() {
    run(false, async |api| {
        assert_eq!(api.signed("b", "POST", "/apps/a/events", &[], EVENT).await.status, 401);
        assert_eq!(api.signed("a", "POST", "/apps/nobody/events", &[], EVENT).await.status, 404);
        assert_eq!(api.signed("off", "POST", "/apps/off/events", &[], EVENT).await.status, 403);
        // Whether an app is disabled is told to those who can sign for it alone.
        assert_eq!(api.unsigned("GET", "/apps/off/channels?auth_key=key-off").await.status, 401);
        assert_eq!(api.unsigned("GET", "/apps/a/channels").await.status, 401);
        let uri = signed("a", "POST", "/apps/a/events", &[], EVENT).uri().to_string();
        let other = EVENT.replace("orders", "others");
        let tampered = Request::post(uri).body(Full::new(Bytes::from(other))).unwrap();
        assert_eq!(api.send(tampered).await.status, 401);
        // Signed without the prefix that stands in the path.
        let uri = format!("/ws{}", signed("a", "GET", "/apps/a/channels", &[], "").uri());
        assert_eq!(api.unsigned("GET", &uri).await.status, 401);
        // The signature comes before the body's faults.
        let uri = signed("a", "POST", "/apps/a/events", &[], "{}").uri().to_string();
        let broken = Request::post(uri).body(Full::new(Bytes::from_static(b"\xff"))).unwrap();
        assert_eq!(api.send(broken).await.status, 401);
        assert_eq!(api.published(), []);
    });
}

#[test]
fn unknown_paths_and_methods_are_told_apart() {
    run(false, async |api| {
        assert_eq!(api.unsigned("GET", "/apps/a/nothing").await.status, 404);
        let answer = api.unsigned("GET", "/apps/a/events").await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, Some("POST")));
        let answer = api.unsigned("DELETE", "/live").await;
        assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, Some("GET, HEAD")));
    });
}

#[test]
fn a_body_may_be_as_large_as_the_limit_and_no_larger() {
    run(false, async |api| {
        let max = 250_000;
        // Padding around the JSON is legal, and signed like the rest.
        let body = format!("{EVENT}{}", " ".repeat(max - EVENT.len()));
        api.post("/apps/a/events", &body).await.is(200, "{}");
        let answer = api.post("/apps/a/events", &format!("{body} ")).await;
        assert_eq!((answer.status.as_u16(), answer.header("connection")), (413, Some("close")));
        // The same without an announced length.
        let request = signed("a", "POST", "/apps/a/events", &[], &format!("{body} "));
        let chunked = request.map(|body| body.map_frame(|frame| frame).boxed());
        assert_eq!(api.send(chunked.map(Unannounced)).await.status, 413);
        let large = EVENT.replace("\"d\"", &format!("\"{}\"", "x".repeat(10_241)));
        let answer = api.post("/apps/a/events", &large).await;
        assert_eq!(answer.status, 413);
        assert!(answer.body.contains("exceeds the allowed maximum (10240 bytes)"), "{}", answer.body);
        assert_eq!(api.published().len(), 1);
    });
}

/// Of `http_bytes_max`.
const HTTP_BYTES_MAX: usize = 1_048_576;

impl Fixture {
    /// What other requests hold.
    fn others(&self, bytes: usize) -> Share {
        let mut others = self.door.share();
        others.grow_to(bytes, HTTP_BYTES_MAX).unwrap();
        others
    }
}

#[test]
fn bodies_and_answers_take_as_many_bytes_as_they_may_and_one_more_is_told_to_wait() {
    run_with(16, Duration::from_secs(10), false, async |api| {
        let is_refused = |answer: &Answered| {
            let headers = ["retry-after", "connection"].map(|name| answer.header(name));
            (answer.status.as_u16(), headers) == (503, [Some("1"), Some("close")])
        };
        let unannounced = || signed("a", "POST", "/apps/a/events", &[], EVENT).map(Unannounced);
        let others = api.others(HTTP_BYTES_MAX - EVENT.len());
        api.post("/apps/a/events", EVENT).await.is(200, "{}");
        api.send(unannounced()).await.is(200, "{}");
        drop(others);
        let others = api.others(HTTP_BYTES_MAX - EVENT.len() + 1);
        assert!(is_refused(&api.post("/apps/a/events", EVENT).await));
        assert!(is_refused(&api.send(unannounced()).await));
        assert_eq!(api.published().len(), 2);
        drop(others);
        for (path, params) in [
            ("/apps/a/channels", &[("filter_by_prefix", "crowd-")][..]),
            ("/apps/a/channels/cache-price", &[("info", "cache")]),
            ("/apps/a/channels/presence-room/users", &[]),
            ("/apps/a/connections", &[]),
        ] {
            let length = api.get(path, params).await.body.len();
            let others = api.others(HTTP_BYTES_MAX - length);
            assert_eq!(api.get(path, params).await.status, 200, "{path}");
            drop(others);
            let others = api.others(HTTP_BYTES_MAX - length + 1);
            assert!(is_refused(&api.get(path, params).await), "{path}");
            // A balancer hears that we live nevertheless.
            api.unsigned("GET", "/live").await.is(200, "live\n");
            drop(others);
        }
    });
}

#[test]
fn an_answer_that_nobody_has_taken_is_held_and_what_was_published_is_answered_without_room() {
    run(false, async |api| {
        let untaken = respond(signed("a", "GET", "/apps/a/connections", &[], ""), &api.door).await;
        let others = api.others(HTTP_BYTES_MAX - untaken.body().len());
        assert!(api.door.share().grow_to(1, HTTP_BYTES_MAX).is_err());
        drop(untaken);
        assert!(api.door.share().grow_to(1, HTTP_BYTES_MAX).is_ok());
        drop(others);
        // Room for the body, and none for the answer besides.
        let asking = EVENT.replace('}', r#","info":"subscription_count"}"#);
        let _others = api.others(HTTP_BYTES_MAX - asking.len());
        api.post("/apps/a/events", &asking).await.is(200, r#"{"channels":{"orders":{"subscription_count":5}}}"#);
    });
}

/// A body that does not tell its length.
struct Unannounced<B>(B);

impl<B: Body<Data = Bytes> + Unpin> Body for Unannounced<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.0).poll_frame(context)
    }
}

/// A body that never comes.
struct Never;

impl Body for Never {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Pending
    }
}

#[test]
fn a_body_that_never_comes_is_not_waited_for() {
    run(false, async |api| {
        let answer = api.send(signed("a", "POST", "/apps/a/events", &[], EVENT).map(|_| Never)).await;
        assert_eq!((answer.status.as_u16(), answer.header("connection")), (408, Some("close")));
    });
}

#[test]
fn an_event_counts_once_against_its_apps_rate_however_many_its_channels_are() {
    run(false, async |api| {
        let event = r#"{"name":"e","channels":["one","two","three"],"data":"d"}"#;
        for status in [200, 200, 429] {
            let answer = api.signed("b", "POST", "/apps/b/events", &[], event).await;
            assert_eq!(answer.status, status);
        }
        assert_eq!(api.published().len(), 6);
    });
}

#[test]
fn an_app_may_publish_at_its_rate_and_not_faster() {
    run(false, async |api| {
        let batch = format!(r#"{{"batch":[{EVENT},{EVENT}]}}"#);
        api.signed("b", "POST", "/apps/b/batch_events", &[], &batch).await.is(200, "{}");
        let answer = api.signed("b", "POST", "/apps/b/events", &[], EVENT).await;
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (429, Some("1")));
        api.post("/apps/a/events", EVENT).await.is(200, "{}");
    });
}

#[test]
fn without_room_nothing_is_published_and_the_request_may_be_repeated() {
    run(false, async |api| {
        let taken = api.permits.take();
        let answer = api.post("/apps/a/events", EVENT).await;
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, Some("1")));
        assert_eq!(api.published(), []);
        drop(taken);
        api.post("/apps/a/events", EVENT).await.is(200, "{}");
    });
}

#[test]
fn questions_that_no_worker_answers_in_time_are_given_up_and_may_be_repeated() {
    run(true, async |api| {
        for path in ["/apps/a/channels", "/apps/a/channels/orders", "/apps/a/channels/presence-room/users"] {
            let answer = api.get(path, &[]).await;
            assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, Some("1")), "{path}");
            assert_eq!(api.door.asks_waiting(), 0, "{path}");
        }
    });
}

#[test]
fn a_reload_changes_how_long_room_is_waited_for() {
    run(false, async |api| {
        let _taken = api.permits.take();
        let mut config = Config::clone(&api.node.config());
        config.limits.http_request_timeout = Duration::from_millis(500);
        api.node.reload(Arc::new(config), api.node.apps());
        let before = Instant::now();
        assert_eq!(api.post("/apps/a/events", EVENT).await.status, 503);
        assert!(before.elapsed() >= Duration::from_millis(500), "{:?}", before.elapsed());
    });
}

/// A body that comes after a while.
struct Late(Pin<Box<Sleep>>, Option<Bytes>);

impl Body for Late {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Self(pause, body) = self.get_mut();
        pause.as_mut().poll(context).map(|()| body.take().map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[test]
fn the_body_and_the_room_have_one_deadline_together() {
    run(false, async |api| {
        let _taken = api.permits.take();
        let mut config = Config::clone(&api.node.config());
        config.limits.http_request_timeout = Duration::from_millis(500);
        api.node.reload(Arc::new(config), api.node.apps());
        let before = Instant::now();
        let late =
            Late(Box::pin(tokio::time::sleep(Duration::from_millis(400))), Some(Bytes::from_static(EVENT.as_bytes())));
        let (head, _) = signed("a", "POST", "/apps/a/events", &[], EVENT).into_parts();
        assert_eq!(api.send(Request::from_parts(head, late)).await.status, 503);
        assert!((500..800).contains(&before.elapsed().as_millis()), "{:?}", before.elapsed());
    });
}

#[test]
fn a_request_whose_client_has_gone_leaves_nothing_waiting() {
    run(true, async |api| {
        for request in [
            signed("a", "GET", "/apps/a/channels", &[], ""),
            signed("a", "GET", "/apps/a/channels/orders", &[], ""),
            signed("a", "POST", "/apps/a/events", &[], &EVENT.replace('}', r#","info":"subscription_count"}"#)),
        ] {
            let mut gone = Box::pin(api.send(request));
            let waits = poll_fn(|context| Poll::Ready(gone.as_mut().poll(context).is_pending())).await;
            assert!(waits && api.door.asks_waiting() > 0);
            drop(gone);
            assert_eq!(api.door.asks_waiting(), 0);
            // The worker takes the letter, and with it the only permit comes back.
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn health_needs_no_signature_and_a_draining_node_is_live_but_not_ready() {
    run(false, async |api| {
        api.unsigned("GET", "/").await.is(200, "campanile\n");
        api.unsigned("GET", "/ws/ready").await.is(200, "ready\n");
        assert_eq!(api.unsigned("HEAD", "/live").await.status, 200);
        api.node.drain();
        api.unsigned("GET", "/live").await.is(200, "live\n");
        api.unsigned("GET", "/ready").await.is(503, "draining\n");
        api.unsigned("GET", "/status").await.is(
            200,
            concat!(
                r#"{"ready":false,"draining":true,"uptime_secs":0,"guard":{"outcomes":{"published":0,"duplicate":0,"#,
                r#""deferred":0,"collapsed":0,"dropped":0,"refused":0},"alerts":0}}"#
            ),
        );
    });
}

#[test]
fn only_a_configured_origin_may_read_the_answers() {
    run(false, async |api| {
        let from = |method: &str, path: &str, origin: &str| {
            Request::builder().method(method).uri(path).header("origin", origin).body(Full::<Bytes>::default()).unwrap()
        };
        let preflight = api.send(from("OPTIONS", "/apps/a/events", "https://console.example")).await;
        assert_eq!(preflight.status, 204);
        assert_eq!(preflight.header("access-control-allow-origin"), Some("https://console.example"));
        assert_eq!(preflight.header("access-control-allow-methods"), Some("POST"));
        let headers = preflight.header("access-control-allow-headers");
        assert_eq!(headers, Some("Content-Type, Idempotency-Key, X-Pusher-Library"));
        assert_eq!(preflight.header("vary"), Some("Origin"));
        // A refusal can be read, too.
        let refused = api.send(from("GET", "/apps/a/channels", "https://console.example")).await;
        assert_eq!(refused.header("access-control-allow-origin"), Some("https://console.example"));
        let stranger = api.send(from("OPTIONS", "/apps/a/events", "https://console.example.evil")).await;
        assert_eq!(stranger.header("access-control-allow-origin"), None);
        assert_eq!(stranger.header("access-control-allow-methods"), None);
        assert_eq!(stranger.header("allow"), Some("POST"));
    });
}
