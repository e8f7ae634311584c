//! Repeated requests as a publisher meets them, with the minds of two workers behind two doors.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, VecDeque};
use std::future::poll_fn;
use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use campanile_hub::letter::{ChannelKey, Homes, Purpose, Subscriber};
use campanile_hub::{
    App, AppIndex, Apps, ConnectionId, Effect, Hub, Letter, Moment, RequestKey, RequestLimits, Settings, WorkerId,
};
use campanile_protocol::signature::SignedQuery;
use campanile_protocol::{ChannelName, Fingerprint, IdempotencyKey, SocketId};
use http_body_util::Full;
use hyper::Request;

use super::super::respond;
use super::super::tests::{Answered, CONFIG, app, signed};
use crate::config::{Config, Machine};
use crate::door::Door;
use crate::mailbox::{Envelope, Permits, Post};
use crate::node::Node;

const WORKERS: u16 = 2;
pub(in crate::api) const EVENTS: &str = "/apps/a/events";
const EVENT: &str = r#"{"name":"e","channel":"orders","data":"d"}"#;
const COUNTED: &str = r#"{"name":"e","channel":"orders","data":"d","info":"subscription_count"}"#;
const KEYS_MAX: usize = 2;

/// What the played workers have been told, and what they are to do.
#[derive(Debug, Default)]
struct Played {
    /// The channels of what was published.
    published: RefCell<Vec<String>>,
    /// Letters about keys.
    about_keys: Cell<usize>,
    /// Milliseconds.
    now: Cell<u64>,
    /// Nobody tells a channel's counts.
    keeps_counts: Cell<bool>,
    /// Nobody reads letters about keys that ask.
    keeps_keys: Cell<bool>,
}

#[derive(Clone)]
pub(in crate::api) struct Stage {
    doors: Vec<Rc<Door>>,
    permits: Vec<Permits>,
    pub(in crate::api) post: Post,
    pub(in crate::api) node: Arc<Node>,
    played: Rc<Played>,
}

fn mind(worker: WorkerId, node: &Node) -> Hub {
    let settings = Settings {
        requests: RequestLimits { window_secs: 600, keys_per_app_max: KEYS_MAX, bytes_max: 1 << 20 },
        ..Settings::new(worker, *node.homes())
    };
    Hub::new(settings, node.apps())
}

/// One worker, but for its sockets.
async fn work(worker: WorkerId, stage: Stage) {
    let (mut hub, mut letters, mut effects) = (mind(worker, &stage.node), VecDeque::new(), Vec::new());
    let Stage { doors, post, played, .. } = stage;
    loop {
        post.arrived(worker).notified().await;
        post.take(worker, &mut letters);
        for Envelope { letter, permit } in letters.drain(..) {
            match &letter {
                Letter::Publish { key, ask, .. } => {
                    played.published.borrow_mut().push(key.name.to_string());
                    if ask.is_some() && played.keeps_counts.get() {
                        continue;
                    }
                }
                Letter::Reserve { .. } if played.keeps_keys.get() => continue,
                Letter::Reserve { .. } | Letter::Commit { .. } | Letter::Release { .. } => {
                    played.about_keys.set(played.about_keys.get() + 1);
                }
                // Nobody is connected who could be let in.
                Letter::Granted { .. } => continue,
                _ => {}
            }
            hub.letter(letter, Moment(played.now.get()));
            hub.take_effects(&mut effects);
            for effect in effects.drain(..) {
                match effect {
                    Effect::Send { to, letter } => post.send(to, letter, permit.clone()),
                    Effect::Answer { id, answer } => doors[worker.0 as usize].answer(id, answer),
                    Effect::Close { .. }
                    | Effect::Notice(_)
                    | Effect::Alert(_)
                    | Effect::EnteredInbox { .. }
                    | Effect::Taken(_) => {}
                }
            }
        }
    }
}

fn run<F: Future>(test: impl FnOnce(Stage) -> F) -> F::Output {
    run_with(vec![app("a", true), app("b", true)], test)
}

/// The same with these apps.
pub(in crate::api) fn run_with<F: Future>(apps: Vec<App>, test: impl FnOnce(Stage) -> F) -> F::Output {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(CONFIG.as_bytes()).unwrap();
    let machine = Machine { cores: 1, ..Machine::here() };
    let (mut config, _) = Config::load_explained(Some(file.path()), std::iter::empty(), &machine).unwrap();
    config.limits.http_request_timeout = Duration::from_millis(200);
    let apps = Apps::new(apps, None);
    let node = Node::new(Arc::new(config), Arc::new(apps), Homes { seed: 1, workers: WORKERS });
    let post = Post::new(WORKERS);
    // With one permit each, a request that wanted a second would wait in vain.
    let permits: Vec<Permits> = (0..WORKERS).map(|_| Permits::new(1)).collect();
    let workers = || (0..WORKERS).map(WorkerId);
    let doors = workers()
        .zip(&permits)
        .map(|(worker, permits)| Door::new(worker, Arc::clone(&node), post.clone(), permits.clone()));
    let stage = Stage { doors: doors.collect(), permits, post, node, played: Rc::default() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let played: Vec<_> = workers().map(|worker| tokio::task::spawn_local(work(worker, stage.clone()))).collect();
        let output = test(stage.clone()).await;
        settle().await;
        assert!(stage.permits.iter().all(Permits::is_free), "all work is done");
        played.iter().for_each(tokio::task::JoinHandle::abort);
        output
    })
}

/// Lets the workers read all that they have.
pub(in crate::api) async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

fn keyed(mut request: Request<Full<Bytes>>, key: &str) -> Request<Full<Bytes>> {
    request.headers_mut().append("idempotency-key", key.parse().unwrap());
    request
}

impl Stage {
    pub(in crate::api) async fn send(&self, request: Request<Full<Bytes>>) -> Answered {
        let answered = Answered::read(respond(request, &self.doors[0]).await);
        settle().await;
        answered
    }

    /// A request of app `a`.
    async fn post(&self, path: &str, key: &str, body: &str) -> Answered {
        self.send(keyed(signed("a", "POST", path, &[], body), key)).await
    }

    /// Begins a request and waits until it has published; it then waits for counts that do not come.
    async fn under_way(&self, key: &str) -> tokio::task::JoinHandle<Answered> {
        let before = self.published();
        self.played.keeps_counts.set(true);
        let request = keyed(signed("a", "POST", EVENTS, &[], COUNTED), key);
        // At the other door, so that this one's permit is free.
        let stage = self.clone();
        let begun = tokio::task::spawn_local(async move { Answered::read(respond(request, &stage.doors[1]).await) });
        while self.published() == before {
            tokio::task::yield_now().await;
        }
        begun
    }

    pub(in crate::api) fn published(&self) -> usize {
        self.played.published.borrow().len()
    }

    fn home(&self, key: &str) -> WorkerId {
        let key = IdempotencyKey::parse(key.as_bytes()).unwrap();
        self.node.homes().of_key(&RequestKey { app: AppIndex(0), key })
    }
}

fn is_replayed(answer: &Answered) -> bool {
    answer.header("idempotent-replayed") == Some("true")
}

#[test]
fn a_repeated_request_publishes_once_wherever_its_keys_home_is_and_whichever_worker_takes_it() {
    run(async |stage| {
        let mut homes = BTreeSet::new();
        for (number, key) in ["k1", "k2", "k3", "k4", "k5", "k6"].into_iter().enumerate() {
            homes.insert(stage.home(key));
            let [first, second, third] = [0, 1, 0].map(|door| {
                let request = keyed(signed("a", "POST", EVENTS, &[], EVENT), key);
                respond(request, &stage.doors[door])
            });
            let first = Answered::read(first.await);
            first.is(200, "{}");
            assert!(!is_replayed(&first), "{key}");
            for repeated in [Answered::read(second.await), Answered::read(third.await)] {
                repeated.is(200, "{}");
                assert_eq!(repeated.header("content-type"), Some("application/json"));
                assert!(is_replayed(&repeated), "{key}");
            }
            settle().await;
            assert_eq!(stage.published(), number + 1, "{key}");
        }
        assert_eq!(homes.len(), usize::from(WORKERS), "both workers are the home of some key");
    });
}

#[test]
fn what_is_repeated_is_the_first_answer_though_counts_have_changed_since() {
    run(async |stage| {
        let batch = format!(r#"{{"batch":[{EVENT},{COUNTED}]}}"#);
        let told =
            [r#"{"channels":{"orders":{"subscription_count":0}}}"#, r#"{"batch":[{},{"subscription_count":0}]}"#];
        stage.post(EVENTS, "one", COUNTED).await.is(200, told[0]);
        stage.post("/apps/a/batch_events", "all", &batch).await.is(200, told[1]);
        let key = ChannelKey { app: AppIndex(0), name: ChannelName::parse("orders", 164).unwrap() };
        let connection = ConnectionId { index: 0, generation: 0 };
        let socket_id = SocketId { place: 0, secret: 1 };
        let subscriber = Subscriber { worker: WorkerId(0), connection, token: 1, socket_id };
        let subscribe =
            Letter::Subscribe { key: key.clone(), subscriber, member: None, since: None, purpose: Purpose::Subscribe };
        stage.post.send(stage.node.homes().of(&key), subscribe, None);
        for _ in 0..2 {
            let repeated = stage.post(EVENTS, "one", COUNTED).await;
            repeated.is(200, told[0]);
            assert!(is_replayed(&repeated));
            let repeated = stage.post("/apps/a/batch_events", "all", &batch).await;
            repeated.is(200, told[1]);
            assert!(is_replayed(&repeated));
        }
        assert_eq!(stage.published(), 3);
        let unkeyed = stage.send(signed("a", "POST", EVENTS, &[], COUNTED)).await;
        unkeyed.is(200, r#"{"channels":{"orders":{"subscription_count":1}}}"#);
    });
}

#[test]
fn the_deprecated_route_repeats_its_empty_202() {
    run(async |stage| {
        let path = "/apps/a/channels/orders/events";
        let ask = |name| keyed(signed("a", "POST", path, &[("name", name)], "{}"), "k");
        let first = stage.send(ask("e")).await;
        first.is(202, "");
        let repeated = stage.send(ask("e")).await;
        repeated.is(202, "");
        assert_eq!((first.header("content-type"), repeated.header("content-type")), (None, None));
        assert!(!is_replayed(&first) && is_replayed(&repeated));
        assert_eq!(stage.send(ask("f")).await.status, 422, "what stands in the query is asked for, too");
        assert_eq!(stage.published(), 1);
    });
}

#[test]
fn a_key_that_comes_with_another_request_is_refused() {
    run(async |stage| {
        stage.post(EVENTS, "k", EVENT).await.is(200, "{}");
        let message = r#"{"error":"another request came with this Idempotency-Key; give each its own"}"#;
        stage.post(EVENTS, "k", &EVENT.replace("\"d\"", "\"e\"")).await.is(422, message);
        stage.post("/apps/a/batch_events", "k", EVENT).await.is(422, message);
        assert_eq!(stage.published(), 1);
        assert!(is_replayed(&stage.post(EVENTS, "k", EVENT).await), "the first is still known");
    });
}

#[test]
fn what_is_no_key_is_refused_and_nothing_is_published() {
    run(async |stage| {
        let message = r#"{"error":"Idempotency-Key must be 1 to 255 visible ASCII characters"}"#;
        for key in ["", " ", "a b", "a\tb", &"k".repeat(256)] {
            stage.post(EVENTS, key, EVENT).await.is(400, message);
        }
        let bytes = hyper::header::HeaderValue::from_bytes(&[b'k', 0xfc]).unwrap();
        let mut request = signed("a", "POST", EVENTS, &[], EVENT);
        request.headers_mut().append("idempotency-key", bytes);
        stage.send(request).await.is(400, message);
        let twice = keyed(keyed(signed("a", "POST", EVENTS, &[], EVENT), "k"), "k");
        stage.send(twice).await.is(400, r#"{"error":"Idempotency-Key must be given once"}"#);
        assert_eq!((stage.published(), stage.played.about_keys.get()), (0, 0));
        stage.post(EVENTS, &"k".repeat(255), EVENT).await.is(200, "{}");
    });
}

#[test]
fn while_the_first_is_under_way_its_repetition_is_told_to_wait() {
    run(async |stage| {
        let first = stage.under_way("k").await;
        let meanwhile = stage.post(EVENTS, "k", COUNTED).await;
        meanwhile.is(409, r#"{"error":"the request with this Idempotency-Key is still under way; try again"}"#);
        assert_eq!(meanwhile.header("retry-after"), Some("1"));
        assert_eq!(stage.post(EVENTS, "k", EVENT).await.status, 422);
        let first = first.await.unwrap();
        first.is(200, r#"{"channels":{"orders":{}}}"#);
        let after = stage.post(EVENTS, "k", COUNTED).await;
        after.is(200, &first.body);
        assert!(is_replayed(&after));
        assert_eq!(stage.published(), 1);
    });
}

#[test]
fn a_request_that_is_gone_before_it_has_published_leaves_its_key_as_new() {
    run(async |stage| {
        let mut gone = Box::pin(stage.post(EVENTS, "k", EVENT));
        let waits = poll_fn(|context| Poll::Ready(gone.as_mut().poll(context).is_pending())).await;
        assert!(waits, "it waits for the key's home");
        drop(gone);
        settle().await;
        assert_eq!((stage.published(), stage.played.about_keys.get()), (0, 2), "reserved, and released");
        let again = stage.post(EVENTS, "k", &EVENT.replace("\"d\"", "\"e\"")).await;
        again.is(200, "{}");
        assert!(!is_replayed(&again));
    });
}

#[test]
fn a_request_that_is_gone_after_it_has_published_is_not_published_again() {
    run(async |stage| {
        let first = stage.under_way("k").await;
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        stage.played.keeps_counts.set(false);
        let again = stage.post(EVENTS, "k", COUNTED).await;
        again.is(200, r#"{"channels":{"orders":{}}}"#);
        assert!(is_replayed(&again));
        assert_eq!(stage.published(), 1);
    });
}

#[test]
fn a_request_that_panics_before_it_has_published_leaves_its_key_as_new() {
    run(async |stage| {
        let unlucky = stage.clone();
        let panicked = tokio::task::spawn_local(async move {
            let request = keyed(signed("a", "POST", EVENTS, &[], EVENT), "k");
            let (head, body) = request.into_parts();
            let door = &unlucky.doors[0];
            let request = super::SignedRequest::receive(&head, body, "a", door).await.unwrap();
            super::once(&request, door.visit(), async |_| panic!("planted in a request")).await
        });
        assert!(panicked.await.unwrap_err().is_panic());
        let again = stage.post(EVENTS, "k", EVENT).await;
        again.is(200, "{}");
        assert!(!is_replayed(&again));
    });
}

#[test]
fn a_refused_request_may_be_corrected_and_keep_its_key() {
    run(async |stage| {
        assert_eq!(stage.post(EVENTS, "k", "{}").await.status, 400);
        let corrected = stage.post(EVENTS, "k", EVENT).await;
        corrected.is(200, "{}");
        assert!(!is_replayed(&corrected));
    });
}

#[test]
fn a_repetition_is_not_held_against_the_apps_rate_and_one_that_was_is_no_repetition() {
    run(async |stage| {
        let batch = format!(r#"{{"batch":[{EVENT},{EVENT}]}}"#);
        let ask = |key| keyed(signed("b", "POST", "/apps/b/batch_events", &[], &batch), key);
        // The app may publish two events a second.
        stage.send(ask("k")).await.is(200, "{}");
        for _ in 0..5 {
            let repeated = stage.send(ask("k")).await;
            repeated.is(200, "{}");
            assert!(is_replayed(&repeated));
        }
        for _ in 0..2 {
            assert_eq!(stage.send(ask("other")).await.status, 429);
        }
        assert_eq!(stage.published(), 2);
    });
}

#[test]
fn keys_of_different_apps_never_meet() {
    run(async |stage| {
        for (signer, path) in [("a", "/apps/a/events"), ("b", "/apps/b/events")] {
            let answer = stage.send(keyed(signed(signer, "POST", path, &[], EVENT), "k")).await;
            answer.is(200, "{}");
            assert!(!is_replayed(&answer));
        }
        assert_eq!(stage.published(), 2);
    });
}

#[test]
fn after_its_window_a_key_is_new() {
    run(async |stage| {
        stage.post(EVENTS, "k", EVENT).await.is(200, "{}");
        settle().await;
        for (now, replayed) in [(599_999, true), (600_000, false)] {
            stage.played.now.set(now);
            let answer = stage.post(EVENTS, "k", EVENT).await;
            answer.is(200, "{}");
            assert_eq!(is_replayed(&answer), replayed, "{now}");
        }
        assert_eq!(stage.published(), 2);
    });
}

#[test]
fn where_all_of_an_apps_keys_are_under_way_one_more_is_told_to_wait() {
    run(async |stage| {
        // As many requests as an app may have at one home, each with a permit of its own.
        let keys: Vec<String> =
            (0..).map(|number| format!("k{number}")).filter(|key| stage.home(key) == WorkerId(0)).take(3).collect();
        let [first, second, third] = &keys[..] else { unreachable!("three were taken") };
        let begun = stage.under_way(first).await;
        assert_eq!(KEYS_MAX, 2);
        let fingerprint = Fingerprint::of("", &SignedQuery::parse(""), b"");
        let permit = Permits::new(1).take().unwrap();
        let app = stage.node.apps().by_id("a").cloned().unwrap();
        let key = IdempotencyKey::parse(second.as_bytes()).unwrap();
        let reservation = stage.doors[0].visit().reserve(&app, key, fingerprint, &permit).await.unwrap().unwrap();
        let refused = stage.post(EVENTS, third, EVENT).await;
        refused.is(503, r#"{"error":"too many requests with an Idempotency-Key are under way; try again"}"#);
        assert_eq!((refused.header("retry-after"), stage.published()), (Some("1"), 1));
        stage.send(signed("a", "POST", EVENTS, &[], EVENT)).await.is(200, "{}");
        drop(reservation);
        stage.post(EVENTS, third, EVENT).await.is(200, "{}");
        begun.await.unwrap().is(200, r#"{"channels":{"orders":{}}}"#);
    });
}

#[test]
fn a_home_that_does_not_answer_is_given_up_and_nothing_is_published() {
    run(async |stage| {
        stage.played.keeps_keys.set(true);
        let answer = stage.post(EVENTS, "k", EVENT).await;
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, Some("1")));
        assert_eq!((stage.published(), stage.doors[0].asks_waiting()), (0, 0));
        stage.played.keeps_keys.set(false);
        let again = stage.post(EVENTS, "k", EVENT).await;
        again.is(200, "{}");
        assert!(!is_replayed(&again));
    });
}

#[test]
fn without_the_header_nobody_is_asked_about_keys() {
    run(async |stage| {
        for path in [EVENTS, "/apps/a/channels/orders/events?name=e"] {
            let (path, params): (&str, &[(&str, &str)]) =
                path.split_once('?').map_or((path, &[]), |(path, _)| (path, &[("name", "e")]));
            assert!(stage.send(signed("a", "POST", path, params, EVENT)).await.status.is_success());
        }
        settle().await;
        assert_eq!((stage.published(), stage.played.about_keys.get()), (2, 0));
    });
}

#[test]
fn a_page_may_read_that_an_answer_is_repeated() {
    run(async |stage| {
        let from = || {
            let mut request = keyed(signed("a", "POST", EVENTS, &[], EVENT), "k");
            request.headers_mut().append("origin", "https://console.example".parse().unwrap());
            request
        };
        assert_eq!(stage.send(from()).await.header("access-control-expose-headers"), None);
        assert_eq!(stage.send(from()).await.header("access-control-expose-headers"), Some("idempotent-replayed"));
    });
}
