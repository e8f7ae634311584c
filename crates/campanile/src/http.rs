//! One worker's HTTP connections.
//!
//! Owns how hyper serves each (HTTP/1.1, or HTTP/2 for whoever opens with its preface), that they leave at a drain, and
//! that one of HTTP/1.1 may become a WebSocket: then it goes back to the worker. Never reads a request's meaning:
//! [`crate::api`] does, and [`crate::upgrade`]. The invariant: a connection counts from its acceptance until its task
//! ends, and every task ends: idle ones by a timeout, the others by their requests'. Read on in [`slots`] for the count,
//! in [`answers`] for how long it may leave what it is told, in [`frames`] for what an HTTP/2 client may send.

mod answers;
mod body;
mod frames;
mod metered;
mod slots;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::api::{self, Content};
use crate::config::NodeLimits;
use crate::config::limits::{HTTP2_ERRORS_MAX, HTTP2_RESETS_MAX, HTTP2_STREAMS_MAX};
use crate::door::Door;
use crate::forwarded::{self, Peer};
use crate::node::Descriptor;
use crate::upgrade::{self, Version};
use crate::wire::Wire;
use answers::Answers;
use body::Body;
use frames::Frames;
use metered::{Count, Metered};
use slots::{Busy, Slots};

pub(crate) use slots::Slot;

/// What hyper asks for at least.
const BUFFER_BYTES_MIN: usize = 8192;
const NOT_TAKEN: &str = "the client does not take what it has asked for";

/// The HTTP connections of a worker.
#[derive(Debug)]
pub(crate) struct Http {
    door: Rc<Door>,
    slots: Rc<Slots>,
    upgrades: Rc<Upgrades>,
    leave: watch::Sender<bool>,
}

/// A connection that has been answered 101: from here on its bytes are frames.
#[derive(Debug)]
pub(crate) struct Upgraded {
    pub(crate) wire: Wire,
    pub(crate) request: upgrade::Request,
    /// What came behind the request.
    pub(crate) rest: Vec<u8>,
    pub(crate) descriptor: Descriptor,
    /// So that it counts until its worker has it, and there are no more of them than slots.
    pub(crate) slot: Rc<Slot>,
}

/// Those that wait for their worker.
#[derive(Debug, Default)]
struct Upgrades {
    waiting: RefCell<VecDeque<Upgraded>>,
    arrived: Notify,
}

impl Http {
    pub(crate) fn new(door: Rc<Door>) -> Self {
        Self { door, slots: Rc::default(), upgrades: Rc::default(), leave: watch::Sender::new(false) }
    }

    /// How many connections there are.
    pub(crate) fn open(&self) -> usize {
        self.slots.taken()
    }

    /// A place for one more, if there is one or can be made.
    pub(crate) fn reserve(&self, max: usize) -> Option<Slot> {
        self.slots.take(max)
    }

    /// From now on connections finish what they are at and close.
    pub(crate) fn leave(&self) {
        self.leave.send_replace(true);
    }

    /// The next connection that has become a WebSocket.
    pub(crate) fn next_upgraded(&self) -> Option<Upgraded> {
        self.upgrades.waiting.borrow_mut().pop_front()
    }

    /// Waits until there may be one.
    pub(crate) async fn upgraded(&self) {
        self.upgrades.arrived.notified().await;
    }

    /// Serves a connection whose first bytes have been read.
    pub(crate) fn serve(&self, wire: Wire, head: Vec<u8>, version: Version, slot: Slot, descriptor: Descriptor) {
        let conversation = Rc::new(Conversation {
            peer: wire.peer(),
            version,
            door: Rc::clone(&self.door),
            slot: Rc::new(slot),
            answers: Answers::default(),
            farewell: Notify::new(),
            hang_up: Arc::default(),
            switch: Cell::default(),
        });
        let (leave, upgrades) = (self.leave.subscribe(), Rc::clone(&self.upgrades));
        tokio::task::spawn_local(async move {
            match conversation.serve(wire, head, leave).await {
                Ok(None) => {}
                Ok(Some((wire, request, rest))) => {
                    let slot = Rc::clone(&conversation.slot);
                    upgrades.waiting.borrow_mut().push_back(Upgraded { wire, request, rest, descriptor, slot });
                    upgrades.arrived.notify_one();
                }
                Err(error) => {
                    let peer = conversation.peer;
                    tracing::debug!(%peer, error = &*error, "an API connection ended");
                }
            }
        });
    }
}

type Failure = Box<dyn std::error::Error>;

/// One connection's requests.
struct Conversation {
    peer: Peer,
    version: Version,
    door: Rc<Door>,
    slot: Rc<Slot>,
    /// Those that its client has not taken.
    answers: Answers,
    /// The connection has had its last request.
    farewell: Notify,
    /// A stream on it is over, because its reader does not take what it is fed.
    hang_up: Arc<Notify>,
    switch: Cell<Option<Switch>>,
}

/// An upgrade that has been promised. Until it is done, the connection is not idle.
struct Switch {
    request: upgrade::Request,
    done: OnUpgrade,
    _busy: Busy,
}

impl Conversation {
    /// Serves until the connection ends or becomes a WebSocket.
    async fn serve(
        self: &Rc<Self>,
        wire: Wire,
        head: Vec<u8>,
        leave: watch::Receiver<bool>,
    ) -> Result<Option<(Wire, upgrade::Request, Vec<u8>)>, Failure> {
        let limits = self.door.node().config().limits.clone();
        let polled = wire.into_polled(head, limits.http_request_timeout, limits.closing_timeout)?;
        let service = service_fn(|request| {
            let (conversation, busy) = (Rc::clone(self), self.slot.begin());
            async move { Ok::<_, Infallible>(conversation.answer(request, busy).await) }
        });
        let idle = self.slot.idle_for(limits.http_idle_timeout, limits.head_timeout);
        match self.version {
            Version::Http1 => {
                let io = TokioIo::new(Metered::new(polled, Count::Bytes(self.slot.have_come())));
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    // `idle` tells a head that is late from one that has not begun.
                    .header_read_timeout(None)
                    .max_header_size(limits.head_bytes_max)
                    .max_buf_size(limits.head_bytes_max.max(BUFFER_BYTES_MIN))
                    .serve_connection(io, service)
                    .with_upgrades();
                self.drive(connection, http1::UpgradeableConnection::graceful_shutdown, leave, idle, &limits).await?;
            }
            Version::Http2 => {
                let frames = Frames::new(upgrade::PREFACE.len(), Instant::now());
                let io = TokioIo::new(Metered::new(polled, Count::Frames(frames)));
                let connection = http2::Builder::new(ThisThread)
                    .timer(TokioTimer::new())
                    .max_concurrent_streams(HTTP2_STREAMS_MAX)
                    .max_pending_accept_reset_streams(HTTP2_RESETS_MAX)
                    .max_local_error_reset_streams(HTTP2_ERRORS_MAX)
                    .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
                    .serve_connection(io, service);
                self.drive(connection, http2::Connection::graceful_shutdown, leave, idle, &limits).await?;
            }
        }
        let Some(Switch { request, done, .. }) = self.switch.take() else { return Ok(None) };
        let parts = done.await?.downcast::<TokioIo<Metered>>().map_err(|_| "hyper has given back another stream")?;
        let (wire, rest) = parts.io.into_inner().into_polled().into_wire(&parts.read_buf)?;
        Ok(Some((wire, request, rest)))
    }

    /// Serves until the connection ends, or it is idle or we leave: then it may finish what it is at.
    async fn drive<C>(
        &self,
        connection: C,
        finish: impl FnOnce(Pin<&mut C>),
        mut leave: watch::Receiver<bool>,
        idle: impl Future<Output = ()>,
        limits: &NodeLimits,
    ) -> Result<(), Failure>
    where
        C: Future<Output = hyper::Result<()>>,
    {
        let mut connection = pin!(connection);
        let mut overdue = pin!(self.answers.overdue(limits.http_request_timeout));
        // What has been read already is a request, even if we are leaving or nobody has more room.
        let arriving = self.slot.begin();
        if let Poll::Ready(served) = once(connection.as_mut()).await {
            return Ok(served?);
        }
        drop(arriving);
        tokio::select! {
            biased;
            served = connection.as_mut() => return Ok(served?),
            _ = leave.wait_for(|leave| *leave) => {}
            () = self.farewell.notified() => {}
            () = idle => {}
            () = overdue.as_mut() => return Err(NOT_TAKEN.into()),
            () = self.hang_up.notified() => return Err(NOT_TAKEN.into()),
            () = self.slot.evicted() => {
                finish(connection.as_mut());
                // Somebody else has the slot: what can be said without waiting is said.
                let _ = once(connection).await;
                return Ok(());
            }
        }
        finish(connection.as_mut());
        tokio::select! {
            // A request may take its time to arrive, and again to be answered.
            served = tokio::time::timeout(2 * limits.http_request_timeout, connection) => Ok(served??),
            () = overdue => Err(NOT_TAKEN.into()),
            () = self.hang_up.notified() => Err(NOT_TAKEN.into()),
            () = self.slot.evicted() => Ok(()),
        }
    }

    async fn answer(&self, request: Request<Incoming>, busy: Busy) -> Response<Body> {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return self.respond(request, busy).await;
        }
        let values = request.headers().get_all(forwarded::HEADER).iter();
        let listen = &self.door.node().config().listen;
        let client = forwarded::client(self.peer, values.map(HeaderValue::as_bytes), listen);
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let answer = self.respond(request, busy).await;
        // Never the query: it holds the signature.
        tracing::debug!(%client, %method, path, status = answer.status().as_u16(), "answered");
        answer
    }

    async fn respond(&self, mut request: Request<Incoming>, busy: Busy) -> Response<Body> {
        if let Some((answer, accepted)) = upgrade::answer(&request, upgrade::Rules::of(&self.door.node().config())) {
            if let Some(accepted) = accepted {
                let done = hyper::upgrade::on(&mut request);
                self.switch.set(Some(Switch { request: accepted, done, _busy: busy }));
            }
            return answer.map(|body| Body::Whole(self.answers.begin(body)));
        }
        let mut answer = api::answer(request, Rc::clone(&self.door), &self.hang_up).await;
        // Whoever has not proved who they are has no claim to a slot.
        let is_stranger = answer.extensions().get::<api::Proved>().is_none();
        if let StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND = answer.status()
            && is_stranger
        {
            match self.version {
                Version::Http1 => {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Version::Http2 => self.farewell.notify_one(),
            }
        }
        answer.map(|content| match content {
            Content::Whole(body) => {
                drop(busy);
                Body::Whole(self.answers.begin(body))
            }
            Content::Feed(feed) => Body::feed(feed, busy),
        })
    }
}

async fn once<F: Future>(mut future: Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await
}

/// Runs an HTTP/2 connection's requests where its worker is.
#[derive(Clone, Copy, Debug)]
struct ThisThread;

impl<F: Future<Output: 'static> + 'static> Executor<F> for ThisThread {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
