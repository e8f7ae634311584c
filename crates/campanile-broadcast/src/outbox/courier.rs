//! Who delivers what waits in an outbox.
//!
//! Owns the round of a courier: claim, deliver, settle. Never delivers within a transaction, and never believes that a job
//! is still its own once the lease has run out. The invariant: whenever a courier dies, its jobs are somebody else's when
//! their lease runs out, so at no moment is an event held by memory alone. Read on in [`super::database`].

use std::collections::HashMap;
use std::future::pending;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::campanile::Campanile;
use crate::outbox::Outbox;
use crate::outbox::job::{Claim, Claimed, Settlement, Ticket, pause_after, shortened};
use crate::publish::{Prospect, Undelivered, random_fraction};

/// Jobs that a courier delivers at one time, unless it is told otherwise.
pub const CONCURRENCY_DEFAULT: usize = 16;
/// Jobs that a courier may be told to deliver at one time.
pub const CONCURRENCY_MAX: usize = 1024;
/// The shortest lease; it is at least twice the time that a delivery may take.
pub const LEASE_MIN: Duration = Duration::from_secs(60);
/// How long a courier waits at most before it looks again, unless it is told otherwise.
pub const POLL_DEFAULT: Duration = Duration::from_millis(200);
/// How soon it looks after this process has written something down; then after twice that, and so on.
pub const POLL_EAGER: Duration = Duration::from_millis(5);
/// The pause when the server, or the database, is away; it doubles each time.
pub const AWAY_PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest such pause.
pub const AWAY_PAUSE_MAX: Duration = Duration::from_secs(30);
/// How long a delivery that has ended waits for others, to be written down together with them.
pub const SETTLE_WAIT: Duration = Duration::from_millis(2);
/// How often the outbox is swept.
pub const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Delivers what waits in a [`Campanile`]'s outbox. There may be several, in several processes.
///
/// ```no_run
/// # use campanile_broadcast::{Campanile, Outbox, Settings, outbox::durable_sqlite, sqlx::SqlitePool};
/// # use std::time::Duration;
/// # async fn run(settings: Settings, db: SqlitePool) -> Result<(), Box<dyn std::error::Error>> {
/// let campanile = Campanile::with_outbox(settings, Outbox::sqlite(db).await?)?;
/// let courier = campanile.courier().start();
/// // .. the application, until it is told to end ..
/// courier.stop(Duration::from_secs(10)).await;
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "nothing is delivered without `.start()`"]
pub struct Courier {
    campanile: Campanile,
    queues: Option<Vec<String>>,
    concurrency: usize,
    poll: Duration,
    lease: Duration,
}

impl Courier {
    pub(crate) fn new(campanile: Campanile) -> Self {
        let lease = LEASE_MIN.max(campanile.background_timeout() * 2);
        Self { campanile, queues: None, concurrency: CONCURRENCY_DEFAULT, poll: POLL_DEFAULT, lease }
    }

    /// Serves these queues only; without it, all.
    pub fn queues<Q: Into<String>>(mut self, queues: impl IntoIterator<Item = Q>) -> Self {
        self.queues = Some(queues.into_iter().map(Into::into).collect());
        self
    }

    /// Delivers so many jobs at one time, at least one and at most [`CONCURRENCY_MAX`].
    pub fn concurrency(mut self, jobs: usize) -> Self {
        self.concurrency = jobs.clamp(1, CONCURRENCY_MAX);
        self
    }

    /// Looks at least so often for jobs that another process has written down.
    pub fn poll(mut self, every: Duration) -> Self {
        self.poll = every.max(POLL_EAGER);
        self
    }

    /// For how long a job is this courier's: if the courier dies, others wait so long. No shorter than a delivery may
    /// take.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease.max(self.campanile.background_timeout());
        self
    }

    /// Begins.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn start(self) -> RunningCourier {
        let (stop, stopped) = watch::channel(None);
        let task = tokio::spawn(Round::new(self).run(stopped, Ending::WhenStopped));
        RunningCourier { stop, task: Some(task) }
    }

    /// Serves an outbox in memory until nothing is left in it.
    pub(crate) fn serve_memory(self) {
        tokio::spawn(async move {
            let outbox = self.campanile.outbox().clone();
            let (_stop, stopped) = watch::channel(None);
            // Where the runtime ends before this does, the next event finds that nobody serves it.
            let _served = ServedMemory(outbox.clone());
            Round::new(self).run(stopped, Ending::WhenEmpty).await;
        });
    }
}

/// Ends with the courier that serves the memory.
struct ServedMemory(Outbox);

impl Drop for ServedMemory {
    fn drop(&mut self) {
        self.0.0.is_served.store(false, SeqCst);
    }
}

/// A courier at work. Dropped, it claims nothing more, and ends when its deliveries have.
#[derive(Debug)]
#[must_use = "a courier ends when this is dropped"]
pub struct RunningCourier {
    stop: watch::Sender<Option<Instant>>,
    task: Option<JoinHandle<()>>,
}

impl RunningCourier {
    /// Claims nothing more, waits for the deliveries under way, at most so long, and gives back what has not ended by
    /// then: other couriers need not wait for its lease.
    pub async fn stop(mut self, patience: Duration) {
        self.stop.send_replace(Some(Instant::now() + patience));
        if let Some(task) = self.task.take()
            && let Err(error) = task.await
        {
            tracing::error!(%error, "a courier ended badly; its jobs are delivered when their lease has run out");
        }
    }
}

impl Drop for RunningCourier {
    fn drop(&mut self) {
        if self.task.is_some() {
            self.stop.send_replace(Some(Instant::now() + LEASE_MIN));
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    WhenStopped,
    WhenEmpty,
}

/// A courier's state.
struct Round {
    courier: Courier,
    outbox: Outbox,
    deliveries: JoinSet<Result<(), Undelivered>>,
    held: HashMap<Id, Claimed>,
    /// What the database has not been told yet. While there is any, nothing is claimed, so there is never much.
    unsettled: Vec<(Ticket, Settlement)>,
    pace: Pace,
    next_sweep: Instant,
}

impl Round {
    fn new(courier: Courier) -> Self {
        Self {
            outbox: courier.campanile.outbox().clone(),
            pace: Pace::new(courier.poll),
            courier,
            deliveries: JoinSet::new(),
            held: HashMap::new(),
            unsettled: Vec::new(),
            next_sweep: Instant::now(),
        }
    }

    async fn run(mut self, mut stopped: watch::Receiver<Option<Instant>>, ending: Ending) {
        let outbox = self.outbox.clone();
        loop {
            let hint = outbox.0.hint.notified();
            let deadline = *stopped.borrow_and_update();
            if !self.unsettled.is_empty() && self.pace.is_due() {
                self.settle().await;
            }
            if deadline.is_none() {
                self.fill().await;
                self.sweep().await;
            } else if self.deliveries.is_empty() {
                break;
            }
            if ending == Ending::WhenEmpty && self.has_nothing_left() {
                break;
            }
            let waits_for_pace = self.has_room() || !self.unsettled.is_empty();
            let next_look = if waits_for_pace { self.pace.next.min(self.next_sweep) } else { self.next_sweep };
            tokio::select! {
                Some(ended) = self.deliveries.join_next_with_id() => self.collect(ended).await,
                () = sleep_until(next_look), if deadline.is_none() => {}
                () = hint, if deadline.is_none() => self.pace.hurry(),
                Ok(()) = stopped.changed() => {}
                () = at(deadline) => break,
            }
        }
        self.give_back().await;
    }

    /// Claims as many jobs as there is room for, and begins to deliver them.
    async fn fill(&mut self) {
        if !self.has_room() || !self.unsettled.is_empty() || !self.pace.is_due() {
            return;
        }
        let room = self.courier.concurrency - self.deliveries.len();
        let Ok(random) = getrandom::u64() else { return self.pace.away("the system gives no randomness") };
        let token = i64::try_from(random >> 1).unwrap_or_default();
        let queues = self.courier.queues.as_deref();
        match self.outbox.claim(Claim { queues, limit: room, lease: self.courier.lease, token }).await {
            Ok(claimed) => {
                self.pace.looked(claimed.len() == room);
                for job in claimed {
                    self.deliver(job);
                }
            }
            Err(error) => self.pace.away(&error),
        }
    }

    /// Several jobs are claimed at a time, because each claim is a statement.
    fn has_room(&self) -> bool {
        (self.courier.concurrency - self.deliveries.len()) * 2 >= self.courier.concurrency
    }

    fn deliver(&mut self, job: Claimed) {
        let (campanile, plan, accepted) = (self.courier.campanile.clone(), job.plan.clone(), job.accepted);
        let delivery = self.deliveries.spawn(async move {
            let patience = campanile.background_timeout();
            campanile.deliver(&plan, accepted, patience).await.map(drop)
        });
        self.held.insert(delivery.id(), job);
    }

    /// Takes what has ended, and what ends within a moment, and writes it down.
    async fn collect(&mut self, first: Ended) {
        self.end(first);
        if !self.deliveries.is_empty() {
            sleep(SETTLE_WAIT).await;
        }
        while let Some(next) = self.deliveries.try_join_next_with_id() {
            self.end(next);
        }
        self.settle().await;
    }

    fn end(&mut self, ended: Ended) {
        let (id, result) = match ended {
            Ok((id, result)) => (id, Some(result)),
            Err(error) => (error.id(), None),
        };
        let Some(job) = self.held.remove(&id) else { return };
        let settlement = self.settlement(&job, result);
        self.unsettled.push((job.ticket, settlement));
    }

    fn settlement(&mut self, job: &Claimed, result: Option<Result<(), Undelivered>>) -> Settlement {
        let deeds = &self.outbox.0.deeds;
        let (event, queue) = (&*job.plan.event, &*job.queue);
        let (accepted, error, prospect) = match result {
            Some(Ok(())) => {
                self.pace.back();
                deeds.delivered(queue);
                return Settlement::Delivered;
            }
            Some(Err(Undelivered { accepted, source })) => {
                (accepted, shortened(&source.to_string()), source.prospect())
            }
            None => (job.accepted, "the delivery panicked".to_owned(), Prospect::Again),
        };
        match prospect {
            Prospect::Away { retry_after } => {
                deeds.failed(queue);
                let after = self.pace.away_for(retry_after, &error);
                Settlement::Returned { after, error: Some(error), accepted }
            }
            Prospect::Again if job.attempts < job.tries => {
                deeds.failed(queue);
                let pause = pause_after(&job.backoff, job.attempts);
                let after = pause + pause.mul_f64(random_fraction() / 4.0);
                tracing::warn!(event, queue, error, attempt = job.attempts, ?after, "an event is attempted again");
                Settlement::Again { after, error, accepted }
            }
            Prospect::Again | Prospect::Never => {
                deeds.given_up(queue);
                let number = job.ticket.seq;
                tracing::error!(event, queue, error, attempts = job.attempts, number, "an event is a dead letter");
                Settlement::Dead { error, accepted }
            }
        }
    }

    async fn settle(&mut self) {
        match self.outbox.settle(&self.unsettled).await {
            Ok(()) => self.unsettled.clear(),
            // Delivered or not: what the database does not learn in time is delivered once more.
            Err(error) => self.pace.away(&error),
        }
    }

    /// Ends what has not ended: its jobs are free at once, and this attempt does not count.
    async fn give_back(&mut self) {
        self.deliveries.abort_all();
        while let Some(ended) = self.deliveries.join_next_with_id().await {
            match ended {
                Err(error) if error.is_cancelled() => {
                    if let Some(job) = self.held.remove(&error.id()) {
                        let returned =
                            Settlement::Returned { after: Duration::ZERO, error: None, accepted: job.accepted };
                        self.unsettled.push((job.ticket, returned));
                    }
                }
                ended => self.end(ended),
            }
        }
        if self.unsettled.is_empty() {
            return;
        }
        match timeout(AWAY_PAUSE_MIN, self.outbox.settle(&self.unsettled)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "jobs are not given back, and wait for their lease to run out"),
            Err(_) => tracing::warn!("jobs are not given back in time, and wait for their lease to run out"),
        }
    }

    async fn sweep(&mut self) {
        if Instant::now() < self.next_sweep {
            return;
        }
        self.next_sweep = Instant::now() + SWEEP_EVERY;
        if let Err(error) = self.outbox.sweep().await {
            tracing::warn!(%error, "the outbox was not swept");
        }
    }

    /// Whether the memory is empty, and nobody has relied meanwhile on this courier to serve it.
    fn has_nothing_left(&self) -> bool {
        if !self.deliveries.is_empty() || self.outbox.in_memory_len() > 0 {
            return false;
        }
        self.outbox.0.is_served.store(false, SeqCst);
        // What was posted before this line was left to us.
        self.outbox.in_memory_len() == 0 || !self.outbox.wants_courier()
    }
}

type Ended = Result<(Id, Result<(), Undelivered>), JoinError>;

async fn at(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

/// When to look for jobs.
#[derive(Debug)]
struct Pace {
    poll: Duration,
    wait: Duration,
    next: Instant,
    away: u32,
    away_until: Option<Instant>,
}

impl Pace {
    fn new(poll: Duration) -> Self {
        Self { poll, wait: POLL_EAGER, next: Instant::now(), away: 0, away_until: None }
    }

    fn is_due(&self) -> bool {
        Instant::now() >= self.next
    }

    /// Somebody has written something down, and may have committed it.
    fn hurry(&mut self) {
        self.wait = POLL_EAGER;
        if self.away_until.is_none_or(|until| Instant::now() >= until) {
            self.next = self.next.min(Instant::now() + POLL_EAGER);
        }
    }

    /// After a claim: where there may be more, at once.
    fn looked(&mut self, may_have_more: bool) {
        if may_have_more {
            self.wait = POLL_EAGER;
            self.next = Instant::now();
        } else {
            self.next = Instant::now() + self.wait;
            self.wait = (self.wait * 2).min(self.poll);
        }
    }

    /// The server has answered.
    fn back(&mut self) {
        self.away = 0;
        self.away_until = None;
    }

    fn away(&mut self, error: &(impl std::fmt::Display + ?Sized)) {
        self.away_for(None, error);
    }

    /// How long to wait for a server that is away: all jobs of one round find the same pause.
    fn away_for(&mut self, retry_after: Option<Duration>, error: &(impl std::fmt::Display + ?Sized)) -> Duration {
        let now = Instant::now();
        if let Some(until) = self.away_until.filter(|until| *until > now) {
            return until - now;
        }
        let longest = AWAY_PAUSE_MIN.saturating_mul(2_u32.saturating_pow(self.away)).min(AWAY_PAUSE_MAX);
        let pause = retry_after.unwrap_or_default().max(longest.mul_f64(1.0 - random_fraction() / 2.0));
        tracing::warn!(%error, ?pause, "a courier waits");
        self.away = self.away.saturating_add(1);
        self.away_until = Some(now + pause);
        self.next = now + pause;
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_looks_soon_after_a_hint_and_ever_more_rarely_when_there_is_nothing() {
        let mut pace = Pace::new(POLL_DEFAULT);
        let mut waits = Vec::new();
        for _ in 0..8 {
            pace.looked(false);
            waits.push((pace.next - Instant::now()).as_millis());
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 200, 200]);
        pace.hurry();
        assert_eq!(pace.next - Instant::now(), POLL_EAGER);
        pace.looked(true);
        assert!(pace.is_due());
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_away_is_left_alone_for_ever_longer_up_to_the_bound() {
        let mut pace = Pace::new(POLL_DEFAULT);
        let mut longest = AWAY_PAUSE_MIN;
        for _ in 0..8 {
            let pause = pace.away_for(None, "away");
            assert!(pause <= longest && pause >= longest / 2, "{pause:?} of {longest:?}");
            assert_eq!(pace.away_for(None, "away"), pause, "the second job of a round");
            pace.hurry();
            assert!(!pace.is_due(), "a hint does not bring a server back");
            tokio::time::advance(pause).await;
            assert!(pace.is_due());
            longest = (longest * 2).min(AWAY_PAUSE_MAX);
        }
        pace.back();
        assert!(pace.away_for(None, "away") <= AWAY_PAUSE_MIN);
        pace.back();
        assert_eq!(pace.away_for(Some(Duration::from_secs(99)), "busy"), Duration::from_secs(99));
    }
}
