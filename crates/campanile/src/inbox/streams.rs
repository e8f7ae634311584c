//! Inboxes that are fed over HTTP, where a browser has no WebSocket.
//!
//! Owns who is fed, with a socket id of the ordinary form, which no worker's connection has. Never writes to a socket: each
//! stream is an HTTP answer whose end here is a queue of a few events. The invariants: whoever does not take what they are
//! fed is closed, never served with a hole; a stream counts as a connection of its app until it is dropped. Read on in
//! `crate::api` for the request.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use campanile_hub::AppIndex;
use campanile_hub::hub::{PLACE_WORKER_MAX, first_place};
use campanile_hub::{App, WorkerId};
use campanile_protocol::SocketId;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::config::limits::INBOX_STREAM_EVENTS_MAX;
use crate::node::Place;

/// No more of them may be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooManyStreams;

/// All streams of the process.
#[derive(Debug, Clone)]
pub(crate) struct Streams(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    max: usize,
    first_place: u64,
    next: AtomicU64,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    streams: HashMap<SocketId, Stream>,
    by_user: HashMap<(AppIndex, String), Vec<SocketId>>,
    /// Nobody is let in any more.
    closed: bool,
}

#[derive(Debug)]
struct Stream {
    app: AppIndex,
    user: Option<String>,
    events: Sender<Bytes>,
    has_session: Arc<AtomicBool>,
    /// Told when the stream is over because nobody takes what it is fed.
    hang_up: Arc<Notify>,
    _place: Place,
}

/// One stream, at the end that writes it.
#[derive(Debug)]
pub(crate) struct OpenStream {
    pub(crate) socket_id: SocketId,
    pub(crate) events: Receiver<Bytes>,
    /// Whether somebody has said whose inbox this is.
    pub(crate) has_session: Arc<AtomicBool>,
    streams: Streams,
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.streams.0.open.lock().remove(self.socket_id);
    }
}

impl Open {
    fn remove(&mut self, socket_id: SocketId) {
        let Some(stream) = self.streams.remove(&socket_id) else { return };
        if let Some(user) = stream.user {
            self.forget(&(stream.app, user), socket_id);
        }
    }

    /// The user is fed there no more.
    fn forget(&mut self, key: &(AppIndex, String), socket_id: SocketId) {
        let Some(ids) = self.by_user.get_mut(key) else { return };
        ids.retain(|id| *id != socket_id);
        if ids.is_empty() {
            self.by_user.remove(key);
        }
    }
}

impl Streams {
    pub(crate) fn new(max: usize, incarnation: u64) -> Self {
        Self(Arc::new(Shared {
            max,
            // No worker has this number.
            first_place: first_place(incarnation, WorkerId(PLACE_WORKER_MAX)),
            next: AtomicU64::new(0),
            open: Mutex::default(),
        }))
    }

    /// Opens one, for nobody yet.
    pub(crate) fn open(&self, app: &App, place: Place, hang_up: Arc<Notify>) -> Result<OpenStream, TooManyStreams> {
        const PLACES: u64 = 1 << campanile_hub::hub::PLACE_INDEX_BITS;
        let mut secret = [0; 8];
        getrandom::fill(&mut secret).map_err(|_| TooManyStreams)?;
        let number = self.0.next.fetch_add(1, Ordering::Relaxed) % PLACES;
        let socket_id = SocketId { place: self.0.first_place | number, secret: u64::from_ne_bytes(secret) >> 1 };
        let (sender, events) = mpsc::channel(INBOX_STREAM_EVENTS_MAX);
        let has_session = Arc::new(AtomicBool::new(false));
        let mut open = self.0.open.lock();
        if open.closed || open.streams.len() >= self.0.max {
            return Err(TooManyStreams);
        }
        let stream = Stream {
            app: app.index,
            user: None,
            events: sender,
            has_session: Arc::clone(&has_session),
            hang_up,
            _place: place,
        };
        open.streams.insert(socket_id, stream);
        Ok(OpenStream { socket_id, events, has_session, streams: self.clone() })
    }

    /// The app of the stream with this socket id.
    pub(crate) fn app_of(&self, socket_id: SocketId) -> Option<AppIndex> {
        self.0.open.lock().streams.get(&socket_id).map(|stream| stream.app)
    }

    /// From now on this stream is fed what happens in the user's inbox.
    pub(crate) fn bind(&self, socket_id: SocketId, user: &str) {
        let mut open = self.0.open.lock();
        let Some(stream) = open.streams.get_mut(&socket_id) else { return };
        let key = (stream.app, user.to_owned());
        let before = stream.user.replace(user.to_owned());
        stream.has_session.store(true, Ordering::Release);
        if let Some(before) = before.filter(|before| *before != key.1) {
            open.forget(&(key.0, before), socket_id);
        }
        let ids = open.by_user.entry(key).or_default();
        if !ids.contains(&socket_id) {
            ids.push(socket_id);
        }
    }

    /// Feeds one stream.
    pub(super) fn feed_one(&self, socket_id: SocketId, event: Bytes) {
        let mut open = self.0.open.lock();
        let is_full = open.streams.get(&socket_id).is_some_and(|stream| stream.events.try_send(event).is_err());
        if is_full {
            hang_up(&mut open, socket_id);
        }
    }

    /// Feeds every stream of a user.
    pub(super) fn feed(&self, app: AppIndex, user: &str, event: &Bytes) {
        let mut open = self.0.open.lock();
        // Nearly nobody has any.
        if open.by_user.is_empty() {
            return;
        }
        let Some(ids) = open.by_user.get(&(app, user.to_owned())) else { return };
        let full: Vec<SocketId> = ids
            .iter()
            .filter(|id| open.streams.get(id).is_some_and(|stream| stream.events.try_send(event.clone()).is_err()))
            .copied()
            .collect();
        for socket_id in full {
            hang_up(&mut open, socket_id);
        }
    }

    /// The users of an app who are fed.
    pub(super) fn users(&self, app: AppIndex) -> Vec<String> {
        let open = self.0.open.lock();
        open.by_user.keys().filter(|(index, _)| *index == app).map(|(_, user)| user.clone()).collect()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.open.lock().streams.len()
    }

    /// Ends all of them, and lets nobody in any more.
    pub(crate) fn close(&self) {
        let mut open = self.0.open.lock();
        open.closed = true;
        open.streams.clear();
        open.by_user.clear();
    }
}

/// Ends a stream whose reader is slower than its inbox.
fn hang_up(open: &mut Open, socket_id: SocketId) {
    if let Some(stream) = open.streams.get(&socket_id) {
        stream.hang_up.notify_one();
    }
    open.remove(socket_id);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use campanile_hub::Apps;
    use campanile_hub::letter::Homes;

    use super::*;
    use crate::config::{Config, Machine};
    use crate::node::Node;

    /// Streams, the app that they are of, and the node whose places they take.
    fn stage(max: usize) -> (Streams, App, Arc<Node>) {
        let machine = Machine { cores: 1, ..Machine::here() };
        let config = Config::load_explained(None, std::iter::empty(), &machine).unwrap().0;
        let apps = Apps::new(vec![App::new("app-id", "key", "secret")], None);
        let app = App::clone(apps.by_id("app-id").unwrap());
        let node = Node::new(Arc::new(config), Arc::new(apps), Homes { seed: 1, workers: 1 });
        (Streams::new(max, 7), app, node)
    }

    fn open(streams: &Streams, app: &App, node: &Node) -> Result<OpenStream, TooManyStreams> {
        streams.open(app, node.reserve(app).unwrap(), Arc::default())
    }

    #[tokio::test]
    async fn a_reader_has_as_many_events_as_may_wait_and_with_one_more_it_is_closed() {
        let (streams, app, node) = stage(1);
        let hang_up = Arc::<Notify>::default();
        let mut stream = streams.open(&app, node.reserve(&app).unwrap(), Arc::clone(&hang_up)).unwrap();
        streams.bind(stream.socket_id, "42");
        let event = Bytes::from_static(b"event");
        for _ in 0..INBOX_STREAM_EVENTS_MAX {
            streams.feed(app.index, "42", &event);
        }
        assert_eq!((streams.len(), node.connections()), (1, 1));
        streams.feed(app.index, "42", &event);
        assert_eq!((streams.len(), node.connections()), (0, 0), "its place is free at once");
        tokio::time::timeout(Duration::from_secs(5), hang_up.notified()).await.expect("its connection is told");
        let mut heard = 0;
        while stream.events.recv().await.is_some() {
            heard += 1;
        }
        assert_eq!(heard, INBOX_STREAM_EVENTS_MAX, "what it was given it has, and then it ends");
    }

    #[test]
    fn as_many_streams_are_open_as_may_be_and_each_has_an_id_that_no_worker_has() {
        let (streams, app, node) = stage(2);
        let first = open(&streams, &app, &node).unwrap();
        let second = open(&streams, &app, &node).unwrap();
        assert_eq!(open(&streams, &app, &node).unwrap_err(), TooManyStreams);
        assert_eq!(node.connections(), 2);
        assert_ne!(first.socket_id, second.socket_id);
        let worker = first.socket_id.place >> campanile_hub::hub::PLACE_INDEX_BITS & u64::from(PLACE_WORKER_MAX);
        assert_eq!(worker, u64::from(PLACE_WORKER_MAX));
        assert_eq!(streams.app_of(first.socket_id), Some(app.index));
        drop(first);
        assert!(open(&streams, &app, &node).is_ok());
    }

    #[test]
    fn a_stream_is_fed_for_its_user_alone_and_for_nobody_once_it_is_gone() {
        let (streams, app, node) = stage(9);
        let (mut ann, mut bo) = (open(&streams, &app, &node).unwrap(), open(&streams, &app, &node).unwrap());
        let event = |text: &'static str| Bytes::from_static(text.as_bytes());
        streams.feed(app.index, "ann", &event("for nobody yet"));
        streams.bind(ann.socket_id, "ann");
        streams.bind(bo.socket_id, "bo");
        streams.feed(app.index, "ann", &event("1"));
        streams.feed(AppIndex(9), "ann", &event("another app's"));
        assert_eq!(ann.events.try_recv().unwrap(), "1");
        assert!(ann.events.try_recv().is_err() && bo.events.try_recv().is_err());
        // Another session on the same stream: whoever it was before is fed there no more.
        streams.bind(ann.socket_id, "cleo");
        streams.feed(app.index, "ann", &event("2"));
        streams.feed(app.index, "cleo", &event("3"));
        assert_eq!(ann.events.try_recv().unwrap(), "3");
        let mut users = streams.users(app.index);
        users.sort();
        assert_eq!(users, ["bo", "cleo"]);
        drop((ann, bo));
        assert!(streams.users(app.index).is_empty() && streams.0.open.lock().by_user.is_empty());
    }

    #[test]
    fn whoever_is_closed_is_not_let_in_again() {
        let (streams, app, node) = stage(9);
        let mut stream = open(&streams, &app, &node).unwrap();
        streams.close();
        assert!(matches!(stream.events.try_recv(), Err(mpsc::error::TryRecvError::Disconnected)));
        assert!(open(&streams, &app, &node).is_err());
        assert_eq!(node.connections(), 0);
    }
}
