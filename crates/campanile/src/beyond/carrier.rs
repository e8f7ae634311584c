//! Carries what nobody has taken on a socket.
//!
//! Owns the round: write down what was taken, claim what is due, try it, settle it. Never decides who wants what, nor when
//! it is due: the store does. The invariant: each attempt was claimed, and with that recorded as being tried, before it is
//! made; a claim that is never settled is one of which nobody knows, and is not made again (I22). Read on in [`super::ways`].

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use campanile_inbox::{Delivery, Inbox, InboxError, Settlement, Taken};
use tokio::runtime;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::{error, warn};

use super::attempt::{Attempt, Backoff};
use super::ways::Outcome;
use crate::node::Node;
use crate::webhooks::Webhooks;

/// How often it is looked for what is due.
const EVERY: Duration = Duration::from_secs(1);
/// Attempts that are made at once.
const ATTEMPTS_AT_ONCE_MAX: usize = 32;
/// Ids that one call to the store names.
const IDS_AT_ONCE: usize = campanile_inbox::settings::IDS_MAX;
/// How often a settlement is tried that the store does not take.
const SETTLE_TRIES: u32 = 5;
/// Between two of them.
const SETTLE_RETRY: Duration = Duration::from_secs(1);
/// How long attempts that are under way may take when the server leaves.
const LEAVE_WITHIN: Duration = Duration::from_secs(10);
/// The longest time between two lines about the same trouble with the store.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// What a carrier needs of the server.
#[derive(Debug)]
struct Carrier {
    inbox: Inbox,
    webhooks: Arc<Webhooks>,
    node: Arc<Node>,
}

/// A carrier at work on a thread of its own.
#[derive(Debug)]
pub(crate) struct Running {
    stop: watch::Sender<bool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Running {
    /// Begins. It goes by the ways that the node has at each moment.
    pub(crate) fn start(inbox: Inbox, webhooks: Arc<Webhooks>, node: Arc<Node>) -> io::Result<Self> {
        let carrier = Arc::new(Carrier { inbox, webhooks, node });
        let (stop, stopped) = watch::channel(false);
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let thread =
            thread::Builder::new().name("beyond".to_owned()).spawn(move || runtime.block_on(carrier.run(stopped)))?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Claims nothing more, and waits for what is under way, but not for long. Blocks.
    pub(crate) fn finish(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stop.send_replace(true);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            error!("the thread for ways beyond the socket has panicked");
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

impl Carrier {
    async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let room = Arc::new(Semaphore::new(ATTEMPTS_AT_ONCE_MAX));
        let mut attempts = JoinSet::new();
        let mut complaints = Complaints::default();
        loop {
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                Some(ended) = attempts.join_next(), if !attempts.is_empty() => {
                    // What has panicked is not settled: nobody knows.
                    if ended.is_err() {
                        error!("an attempt beyond the socket has panicked");
                    }
                    continue;
                }
                _ = ticks.tick() => {}
            }
            // As long as there is more than there was room for.
            loop {
                if let Err(error) = self.write_down_takings().await {
                    complaints.tell("what was taken cannot be written down", &error);
                }
                let free = room.available_permits();
                let claimed = match self.inbox.claim_deliveries(free).await {
                    Ok(claimed) => claimed,
                    Err(error) => {
                        complaints.tell("what is due cannot be claimed", &error);
                        break;
                    }
                };
                let is_all = claimed.len() < free;
                for delivery in claimed {
                    let permit = Arc::clone(&room).try_acquire_owned().ok();
                    let carrier = Arc::clone(&self);
                    attempts.spawn(async move {
                        carrier.carry(delivery).await;
                        drop(permit);
                    });
                }
                if is_all || *stop.borrow() {
                    break;
                }
                if room.available_permits() == 0 && attempts.join_next().await.is_some_and(|ended| ended.is_err()) {
                    error!("an attempt beyond the socket has panicked");
                }
            }
        }
        let all = async { while attempts.join_next().await.is_some() {} };
        if timeout(LEAVE_WITHIN, all).await.is_err() {
            warn!(
                attempts = attempts.len(),
                "attempts beyond the socket are broken off: nobody will know how they ended"
            );
        }
        // Whoever reads it before the next start is not sent a mail.
        if let Err(error) = self.write_down_takings().await {
            warn!(%error, "what was taken last cannot be written down");
        }
    }

    /// What was taken on sockets since the last round is not needed any more.
    async fn write_down_takings(&self) -> Result<(), InboxError> {
        let mut failed = Ok(());
        for ((app, user), ids) in self.node.takings().take() {
            let Some(app) = self.node.apps().get(app).cloned() else { continue };
            for ids in ids.chunks(IDS_AT_ONCE) {
                let written = self.inbox.taken(&app.id, &user, Taken::Ids(ids.to_vec())).await;
                if let Err(error) = written {
                    ids.iter().for_each(|id| self.node.takings().note_again(app.index, &user, *id));
                    failed = Err(error);
                }
            }
        }
        failed
    }

    /// Tries what was claimed, and says how it ended.
    async fn carry(&self, delivery: Delivery) {
        let ways = self.node.ways();
        let outcome = ways.try_once(&delivery, &self.inbox, &self.webhooks).await;
        let backoff = ways.backoff();
        let random = getrandom::u32().unwrap_or_default();
        let settlement = settlement(outcome, backoff, u32::try_from(delivery.attempt).unwrap_or(u32::MAX), random);
        for _ in 0..SETTLE_TRIES {
            match self.inbox.settle_delivery(delivery.id, delivery.attempt, settlement.clone()).await {
                Ok(()) => return,
                Err(error @ (InboxError::Busy { .. } | InboxError::Unavailable { .. })) => {
                    warn!(delivery = delivery.id.0, %error, "cannot write how a delivery ended: trying again");
                }
                Err(error) => {
                    return warn!(delivery = delivery.id.0, %error, "a delivery ended too late to be written down");
                }
            }
            sleep(SETTLE_RETRY).await;
        }
        error!(delivery = delivery.id.0, "how a delivery ended cannot be written down: it will be shown as unknown");
    }
}

/// What the store is told.
fn settlement(outcome: Outcome, backoff: Backoff, attempt: u32, random: u32) -> Settlement {
    match outcome {
        Outcome::Suppressed { reason } => Settlement::Suppressed { reason },
        Outcome::Tried(Attempt::Sent) => Settlement::Sent,
        Outcome::Tried(Attempt::Failed { reason }) => Settlement::Failed { reason },
        Outcome::Tried(Attempt::Unknown { reason }) => Settlement::Unknown { reason },
        Outcome::Tried(Attempt::Again { reason, after }) => match backoff.wait(attempt, after, random) {
            Some(after) => Settlement::Again { after, reason },
            None => Settlement::Failed { reason: format!("given up after {attempt} attempts: {reason}") },
        },
    }
}

/// Says the same only now and then.
#[derive(Debug, Default)]
struct Complaints(Option<tokio::time::Instant>);

impl Complaints {
    fn tell(&mut self, what: &str, error: &InboxError) {
        let now = tokio::time::Instant::now();
        if self.0.is_none_or(|told| now.duration_since(told) >= TELL_EVERY) {
            self.0 = Some(now);
            warn!(%error, "{what}: trying again");
        }
    }
}

#[cfg(test)]
mod tests;
