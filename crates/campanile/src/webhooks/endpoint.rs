//! The work for one endpoint: commit what comes, deliver what waits.
//!
//! Owns the two loops and nothing that another endpoint could wait for: each has its own file, its own intake and its
//! own calls. Never delivers what is not committed. The invariant: an event leaves the file only for a 2xx or for the
//! dead letters. An event may be delivered twice (a crash, an answer that was lost), which its `event_id` tells.
//! Read on in [`super::queue`], [`super::call`] and [`super::schedule`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use campanile_hub::Notice;
use campanile_protocol::webhook::{ENVELOPE_BYTES_MAX, encode_body};
use parking_lot::RwLock;
use reqwest::Client;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{error, info, warn};

use super::alarms::Alarms;
use super::call::call;
use super::intake::{Arrival, Intake};
use super::queue::{Event, Pending, Placed, Queue, QueueError};
use super::schedule::Schedule;
use super::settings::Settings;

/// Events of one request, where the endpoint takes several.
pub(super) const BATCH_EVENTS_MAX: usize = 50;

/// Bytes of one request's body, unless a single event has more.
pub(super) const BATCH_BYTES_MAX: usize = 64 * 1024;

/// By when an endpoint's task is to have left; `None` while it is to stay.
pub(super) type Leave = Option<Instant>;

/// One endpoint.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) settings: RwLock<Arc<Settings>>,
    pub(super) queue: Arc<Queue>,
    pub(super) schedule: Schedule,
    pub(super) incarnation: u64,
    pub(super) client: Client,
    pub(super) intake: Intake,
    /// Its app's, since they were last taken.
    pub(super) calls: Arc<AtomicU64>,
    /// Something was committed.
    pub(super) committed: Notify,
    pub(super) alarms: Alarms,
}

/// How the attempts for a batch ended.
enum Outcome {
    Delivered,
    GivenUp {
        error: String,
    },
    /// The task is to leave and the endpoint does not answer well: the batch stays for the next start.
    Left,
}

/// Now, in milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Endpoint {
    /// The settings as of the last start or reload.
    pub(super) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.settings.read())
    }

    /// Takes a notice that the endpoint wants. Called by workers: never waits for the disk or the network.
    pub(super) fn notify(&self, time_ms: u64, notice: &Arc<Notice>) {
        // One that is refused is counted, and told with the next commit.
        self.intake.push(Arrival { time_ms, notice: Arc::clone(notice) });
    }

    /// Works until it is told to leave: commits the rest, then delivers until the deadline.
    pub(super) async fn run(self: Arc<Self>, leave: watch::Receiver<Leave>) {
        let (committed_all, leave_delivery) = watch::channel(None);
        let commit = async {
            let deadline = self.commit_what_comes(leave).await;
            committed_all.send_replace(Some(deadline));
        };
        tokio::join!(commit, self.deliver_until_left(leave_delivery));
        self.alarms.finish(&self.settings());
    }

    async fn commit_what_comes(&self, mut leave: watch::Receiver<Leave>) -> Instant {
        loop {
            let deadline = tokio::select! {
                () = self.intake.filled() => tokio::select! {
                    () = sleep(self.schedule.gather) => None,
                    () = self.intake.half_full() => None,
                    deadline = left(&mut leave) => Some(deadline),
                },
                deadline = left(&mut leave) => Some(deadline),
            };
            self.commit(self.intake.take(), &mut leave).await;
            if let Some(deadline) = deadline {
                return deadline;
            }
        }
    }

    /// Commits, again and again if the disk fails. On leaving there is one attempt only.
    async fn commit(&self, arrivals: Vec<Arrival>, leave: &mut watch::Receiver<Leave>) {
        let settings = self.settings();
        let refused = Placed { lost: self.intake.take_refused(), ..Placed::default() };
        self.alarms.add(&settings, refused, "the disk did not keep up");
        if arrivals.is_empty() {
            return;
        }
        let events: Arc<Vec<Event>> = Arc::new(
            arrivals
                .iter()
                .map(|Arrival { time_ms, notice }| Event {
                    time_ms: *time_ms,
                    json: settings.event(notice, self.incarnation).encode(),
                })
                .collect(),
        );
        loop {
            let (batch, bounds) = (Arc::clone(&events), settings.bounds());
            match self.on_disk(move |queue| queue.append(&batch, bounds, now_ms())).await {
                Ok(placed) => {
                    self.alarms.add(&settings, placed, "the queue is full");
                    self.committed.notify_one();
                    return;
                }
                Err(failure) if leave.borrow().is_some() => {
                    error!(app = %settings.app, endpoint = settings.address(), events = events.len(), %failure, "webhook events are lost: they cannot be stored");
                    return;
                }
                Err(failure) => {
                    error!(app = %settings.app, endpoint = settings.address(), events = events.len(), %failure, "cannot store webhook events: trying again");
                }
            }
            tokio::select! {
                () = sleep(self.schedule.storage_retry) => {}
                _ = left(leave) => {}
            }
        }
    }

    async fn deliver_until_left(&self, mut leave: watch::Receiver<Leave>) {
        let deadline = leave.clone();
        tokio::select! {
            () = self.deliver(&mut leave) => {}
            () = passed(deadline) => {}
        }
    }

    /// Delivers, oldest first, one request at a time. Ends when it is to leave and nothing waits or a request fails.
    async fn deliver(&self, leave: &mut watch::Receiver<Leave>) {
        loop {
            let settings = self.settings();
            let events_max = if settings.webhook.batch { BATCH_EVENTS_MAX } else { 1 };
            let front = move |queue: &Queue| queue.front(events_max, BATCH_BYTES_MAX - ENVELOPE_BYTES_MAX);
            let batch = match self.on_disk(front).await {
                Ok(batch) => Arc::new(batch),
                Err(failure) => {
                    error!(app = %settings.app, endpoint = settings.address(), %failure, "cannot read queued webhook events");
                    if leave.borrow().is_some() {
                        return;
                    }
                    sleep(self.schedule.storage_retry).await;
                    continue;
                }
            };
            if batch.is_empty() {
                if leave.borrow().is_some() {
                    return;
                }
                tokio::select! {
                    () = self.committed.notified() => {}
                    _ = left(leave) => {}
                }
                continue;
            }
            match self.attempt(&batch, leave).await {
                Outcome::Delivered => self.settle(move |queue| queue.remove(&batch).map(|()| Placed::default())).await,
                Outcome::GivenUp { error } => {
                    let dead_letters_max = settings.bounds().dead_letters_max;
                    self.settle(move |queue| queue.bury(&batch, &error, dead_letters_max, now_ms())).await;
                }
                Outcome::Left => return,
            }
        }
    }

    /// Sends a batch until it is taken, time is up, or the task is to leave.
    async fn attempt(&self, batch: &[Pending], leave: &mut watch::Receiver<Leave>) -> Outcome {
        let time_ms = batch.iter().map(|entry| entry.event.time_ms).max().unwrap_or_default();
        let body = encode_body(time_ms, batch.iter().map(|entry| entry.event.json.as_slice()));
        let began = Instant::now();
        let mut failures = 0;
        loop {
            // A reload may have brought another key or header since the last attempt.
            let settings = self.settings();
            self.calls.fetch_add(1, Ordering::Relaxed);
            let Err(error) = call(&self.client, &settings, body.clone()).await else {
                if failures > 0 {
                    info!(app = %settings.app, endpoint = settings.address(), failures, "webhook endpoint is well again");
                }
                return Outcome::Delivered;
            };
            failures += 1;
            if began.elapsed() >= self.schedule.give_up_after {
                return Outcome::GivenUp { error };
            }
            if leave.borrow().is_some() {
                return Outcome::Left;
            }
            // Without randomness the wait is only longer.
            let wait = self.schedule.retry_after(failures, getrandom::u32().unwrap_or_default());
            warn!(app = %settings.app, endpoint = settings.address(), failures, error, wait_ms = wait.as_millis(), "webhook not delivered: trying again");
            tokio::select! {
                () = sleep(wait) => {}
                _ = left(leave) => {}
            }
        }
    }

    /// Writes down what became of a batch, again and again if the disk fails: to go on would deliver it again.
    async fn settle(&self, write: impl Fn(&Queue) -> Result<Placed, QueueError> + Clone + Send + 'static) {
        loop {
            let settings = self.settings();
            match self.on_disk(write.clone()).await {
                Ok(placed) => return self.alarms.add(&settings, placed, "the endpoint did not take them"),
                Err(failure) => {
                    error!(app = %settings.app, endpoint = settings.address(), %failure, "cannot write what became of webhook events: trying again");
                }
            }
            sleep(self.schedule.storage_retry).await;
        }
    }

    /// Runs `work` where waiting for the disk makes no other endpoint wait.
    pub(super) async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Queue) -> Result<T, QueueError> + Send + 'static,
    ) -> Result<T, QueueError> {
        let queue = Arc::clone(&self.queue);
        match tokio::task::spawn_blocking(move || work(&queue)).await.map_err(tokio::task::JoinError::try_into_panic) {
            Ok(done) => done,
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            // Only the end of the runtime cancels blocking work, and that ends this task too.
            Err(Err(_cancelled)) => std::future::pending().await,
        }
    }
}

/// Waits for the order to leave. Its sender going away is one, for now.
async fn left(leave: &mut watch::Receiver<Leave>) -> Instant {
    match leave.wait_for(Option::is_some).await {
        Ok(deadline) => deadline.unwrap_or_else(Instant::now),
        Err(_) => Instant::now(),
    }
}

async fn passed(mut leave: watch::Receiver<Leave>) {
    let deadline = left(&mut leave).await;
    sleep_until(deadline).await;
}
