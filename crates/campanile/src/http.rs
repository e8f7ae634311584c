//! One worker's HTTP connections.
//!
//! Owns how many there are, how hyper serves each (HTTP/1.1, or HTTP/2 for whoever opens with its preface), and that
//! they leave at a drain. Never reads a request's meaning: [`crate::api`] does. The invariant: a connection counts from
//! its acceptance until its task ends, and every task ends: idle ones by a timeout, the others by their requests'.

use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::api;
use crate::config::NodeLimits;
use crate::config::limits::HTTP2_STREAMS_MAX;
use crate::door::Door;
use crate::forwarded::{self, Peer};
use crate::node::Descriptor;
use crate::upgrade::Version;
use crate::wire::Wire;

/// What hyper asks for at least.
const BUFFER_BYTES_MIN: usize = 8192;

/// The HTTP connections of a worker.
#[derive(Debug)]
pub(crate) struct Http {
    door: Rc<Door>,
    open: Rc<Cell<usize>>,
    leave: watch::Sender<bool>,
}

/// One connection in the count.
#[derive(Debug)]
pub(crate) struct Slot(Rc<Cell<usize>>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Http {
    pub(crate) fn new(door: Rc<Door>) -> Self {
        Self { door, open: Rc::default(), leave: watch::Sender::new(false) }
    }

    /// How many connections there are.
    pub(crate) fn open(&self) -> usize {
        self.open.get()
    }

    /// A place for one more, if there is one.
    pub(crate) fn reserve(&self, max: usize) -> Option<Slot> {
        let open = self.open.get();
        (open < max).then(|| {
            self.open.set(open + 1);
            Slot(Rc::clone(&self.open))
        })
    }

    /// From now on connections finish what they are at and close.
    pub(crate) fn leave(&self) {
        self.leave.send_replace(true);
    }

    /// Serves a connection whose first bytes have been read.
    pub(crate) fn serve(&self, wire: Wire, head: Vec<u8>, version: Version, held: (Slot, Descriptor)) {
        let (door, leave) = (Rc::clone(&self.door), self.leave.subscribe());
        tokio::task::spawn_local(async move {
            let _held = held;
            let peer = wire.peer();
            if let Err(error) = serve(wire, head, version, peer, door, leave).await {
                tracing::debug!(%peer, error = &*error, "an API connection ended");
            }
        });
    }
}

type Failure = Box<dyn std::error::Error>;

async fn serve(
    wire: Wire,
    head: Vec<u8>,
    version: Version,
    peer: Peer,
    door: Rc<Door>,
    leave: watch::Receiver<bool>,
) -> Result<(), Failure> {
    let limits = door.node().config().limits.clone();
    let io = TokioIo::new(wire.into_polled(head, limits.http_request_timeout)?);
    let activity = Rc::new(Activity::new());
    let service = service_fn(|request| {
        let (door, busy) = (Rc::clone(&door), activity.begin());
        async move {
            let answer = answer(request, peer, door).await;
            drop(busy);
            Ok::<_, Infallible>(answer)
        }
    });
    match version {
        Version::Http1 => {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(limits.http_idle_timeout)
                .max_header_size(limits.head_bytes_max)
                .max_buf_size(limits.head_bytes_max.max(BUFFER_BYTES_MIN))
                .serve_connection(io, service);
            // Idle connections are found by the timeout above.
            drive(connection, leave, std::future::pending(), &limits).await
        }
        Version::Http2 => {
            let connection = http2::Builder::new(ThisThread)
                .timer(TokioTimer::new())
                .max_concurrent_streams(HTTP2_STREAMS_MAX)
                .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
                .serve_connection(io, service);
            drive(connection, leave, activity.idle_for(limits.http_idle_timeout), &limits).await
        }
    }
}

/// Serves until the connection ends, or it is idle or we leave: then it may finish what it is at.
async fn drive<C>(
    connection: C,
    mut leave: watch::Receiver<bool>,
    idle: impl Future<Output = ()>,
    limits: &NodeLimits,
) -> Result<(), Failure>
where
    C: GracefulConnection,
    Failure: From<C::Error>,
{
    let mut connection = pin!(connection);
    tokio::select! {
        // The connection first: what has been read already is a request, even if we are leaving.
        biased;
        served = connection.as_mut() => return Ok(served?),
        _ = leave.wait_for(|leave| *leave) => {}
        () = idle => {}
    }
    connection.as_mut().graceful_shutdown();
    // A request may take its time to arrive, and again to be answered.
    match tokio::time::timeout(2 * limits.http_request_timeout, connection).await {
        Ok(served) => Ok(served?),
        Err(elapsed) => Err(elapsed.into()),
    }
}

async fn answer(request: Request<Incoming>, peer: Peer, door: Rc<Door>) -> Response<Full<Bytes>> {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return api::answer(request, door).await;
    }
    let values = request.headers().get_all(forwarded::HEADER).iter();
    let client = forwarded::client(peer, values.map(HeaderValue::as_bytes), &door.node().config().listen);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let answer = api::answer(request, door).await;
    // Never the query: it holds the signature.
    tracing::debug!(%client, %method, path, status = answer.status().as_u16(), "answered");
    answer
}

/// What a connection's requests are at, to find out when it is idle.
struct Activity {
    under_way: Cell<usize>,
    idle_since: Cell<Instant>,
}

struct Busy(Rc<Activity>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.under_way.set(self.0.under_way.get() - 1);
        self.0.idle_since.set(Instant::now());
    }
}

impl Activity {
    fn new() -> Self {
        Self { under_way: Cell::new(0), idle_since: Cell::new(Instant::now()) }
    }

    fn begin(self: &Rc<Self>) -> Busy {
        self.under_way.set(self.under_way.get() + 1);
        Busy(Rc::clone(self))
    }

    async fn idle_for(&self, timeout: Duration) {
        loop {
            let now = Instant::now();
            let due = if self.under_way.get() > 0 { now } else { self.idle_since.get() } + timeout;
            if due <= now {
                return;
            }
            tokio::time::sleep_until(due).await;
        }
    }
}

/// Runs an HTTP/2 connection's requests where its worker is.
#[derive(Clone, Copy, Debug)]
struct ThisThread;

impl<F: Future<Output: 'static> + 'static> Executor<F> for ThisThread {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
