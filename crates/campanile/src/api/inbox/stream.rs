//! An inbox fed over HTTP: `GET /inbox/stream`.
//!
//! Owns the request and the body of its answer, which ends when nobody opens a session for it in time, when its reader is
//! slower than its inbox, or at a drain. Never says whose inbox it is: a session does. The invariant: a stream counts as a
//! connection of its app, and a worker's streams leave publishers half of its HTTP connections. Read on in
//! [`crate::inbox`] for who is fed.

use std::cell::Cell;
use std::fmt;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};
use serde_json::json;
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep_until};

use super::super::Content;
use super::super::router::{self, Route};
use super::browser::app_of_key;
use super::query::Query;
use super::refusal::{Code, Refused};
use super::routes::{Call, Found};
use super::{no_store, origin, store_of};
use crate::config::limits::INBOX_SESSION_WAIT;
use crate::door::Door;
use crate::inbox::{OpenStream, TooManyStreams};

/// How often a silent stream says that it is there: proxies close what is silent for a minute.
const PING_EVERY: Duration = Duration::from_secs(25);
const PING: Bytes = Bytes::from_static(b": ping\n\n");
const NOBODY: Bytes = Bytes::from_static(b": no session was opened with this socket id in time\n\n");

/// A stream's body.
pub(crate) struct Feed {
    stream: OpenStream,
    /// What is said first.
    hello: Option<Bytes>,
    session_until: Instant,
    timer: Pin<Box<Sleep>>,
    ping_at: Instant,
    is_over: bool,
    _share: Share,
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("stream", &self.stream).finish_non_exhaustive()
    }
}

/// One of a worker's streams.
#[derive(Debug)]
struct Share(Rc<Cell<usize>>);

impl Drop for Share {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Whether this asks for a stream.
pub(in crate::api) fn asks<B>(request: &Request<B>, prefix: &str) -> Option<Found> {
    if request.method() != Method::GET {
        return None;
    }
    let Some(Route::Inbox(found)) = router::find(request.uri().path(), prefix) else { return None };
    let is_stream = found.endpoint(request.method()).is_some_and(|endpoint| endpoint.call == Call::Stream);
    is_stream.then_some(found)
}

/// Opens a stream, or says why not.
pub(in crate::api) fn open(head: &Parts, found: &Found, door: &Rc<Door>, hang_up: Arc<Notify>) -> Response<Content> {
    let origin = origin::of(&head.headers);
    let reply = match begin(head, found, door, hang_up) {
        Ok(feed) => {
            let mut reply = Response::new(Content::Feed(Box::new(feed)));
            let headers = reply.headers_mut();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            // nginx gathers what it is not told to pass on.
            headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
            reply
        }
        Err(refused) => no_store(refused.into_reply()).map(Content::Whole),
    };
    origin::mark(reply, origin, &head.method, door.node())
}

fn begin(head: &Parts, found: &Found, door: &Rc<Door>, hang_up: Arc<Notify>) -> Result<Feed, Refused> {
    super::store(door)?;
    let endpoint = found.endpoint(&head.method).expect("it has just been found");
    let query = Query::read(head.uri.query(), endpoint)?;
    let key = query.get("app_key").ok_or_else(|| {
        Refused::new(Code::Missing, "app_key is missing: it is the app's key, which is public").at("app_key")
    })?;
    let app = app_of_key(key, door)?;
    let store = store_of(door, &app)?;
    origin::check(&head.headers, &app, door.node())?;
    let too_many = || {
        Refused::new(Code::TooManyStreams, "as many streams are open as may be: use a WebSocket, or come back later")
    };
    let streams = door.streams();
    if door.node().is_leaving() || streams.get() >= door.node().config().limits.http_connections_max / 2 {
        return Err(too_many());
    }
    let place = door.node().reserve(&app).map_err(|_| {
        Refused::new(Code::Full, "as many connections are open as may be, on this node or of this app: come back later")
    })?;
    let stream = store.streams.open(&app, place, hang_up).map_err(|TooManyStreams| too_many())?;
    streams.set(streams.get() + 1);
    Ok(Feed::new(stream, Share(streams)))
}

impl Feed {
    fn new(stream: OpenStream, share: Share) -> Self {
        let now = Instant::now();
        let connected = json!({ "socket_id": stream.socket_id.to_string() });
        Self {
            stream,
            hello: Some(format!("event: connected\ndata: {connected}\n\n").into()),
            session_until: now + INBOX_SESSION_WAIT,
            timer: Box::pin(sleep_until(now + PING_EVERY)),
            ping_at: now + PING_EVERY,
            is_over: false,
            _share: share,
        }
    }

    /// The next piece; nothing when it is over.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if let Some(hello) = self.hello.take() {
            return Poll::Ready(Some(hello));
        }
        if let Poll::Ready(event) = self.stream.events.poll_recv(context) {
            self.is_over = event.is_none();
            return Poll::Ready(event);
        }
        loop {
            let now = Instant::now();
            let waits = !self.stream.has_session.load(Ordering::Acquire);
            if waits && now >= self.session_until {
                self.is_over = true;
                return Poll::Ready(Some(NOBODY));
            }
            if now >= self.ping_at {
                self.ping_at = now + PING_EVERY;
                return Poll::Ready(Some(PING));
            }
            let due = if waits { self.ping_at.min(self.session_until) } else { self.ping_at };
            if self.timer.deadline() != due || self.timer.is_elapsed() {
                self.timer.as_mut().reset(due);
            }
            if pin!(&mut self.timer).poll(context).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use campanile_hub::letter::Homes;
    use campanile_hub::{App, Apps};

    use super::*;
    use crate::config::{Config, Machine};
    use crate::inbox::Streams;
    use crate::node::Node;

    fn feed() -> (Feed, Streams) {
        let machine = Machine { cores: 1, ..Machine::here() };
        let config = Config::load_explained(None, std::iter::empty(), &machine).unwrap().0;
        let apps = Apps::new(vec![App::new("app-id", "key", "secret")], None);
        let app = Arc::clone(apps.by_id("app-id").unwrap());
        let node = Node::new(Arc::new(config), Arc::new(apps), Homes { seed: 1, workers: 1 });
        let streams = Streams::new(1, 7);
        let stream = streams.open(&app, node.reserve(&app).unwrap(), Arc::default()).unwrap();
        (Feed::new(stream, Share(Rc::new(Cell::new(1)))), streams)
    }

    async fn next(feed: &mut Feed) -> Option<Bytes> {
        poll_fn(|context| feed.poll_next(context)).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_waits_for_its_session_and_no_longer_than_the_bound() {
        let (mut feed, _streams) = feed();
        let began = Instant::now();
        assert!(next(&mut feed).await.unwrap().starts_with(b"event: connected\n"));
        assert_eq!(next(&mut feed).await.unwrap(), PING);
        assert_eq!(next(&mut feed).await.unwrap(), NOBODY);
        assert_eq!(began.elapsed().as_secs(), INBOX_SESSION_WAIT.as_secs());
        assert_eq!(next(&mut feed).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_with_a_session_goes_on_and_says_that_it_is_there() {
        let (mut feed, streams) = feed();
        next(&mut feed).await.unwrap();
        tokio::time::advance(INBOX_SESSION_WAIT - Duration::from_secs(1)).await;
        assert_eq!(next(&mut feed).await.unwrap(), PING);
        streams.bind(feed.stream.socket_id, "42");
        let began = Instant::now();
        for _ in 0..3 {
            assert_eq!(next(&mut feed).await.unwrap(), PING);
        }
        assert_eq!(began.elapsed().as_secs(), 3 * PING_EVERY.as_secs());
        streams.close();
        assert_eq!(next(&mut feed).await, None, "a drain ends it");
    }
}
