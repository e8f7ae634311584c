//! What every store promises, tried with each of them: memory, a SQLite file, a Postgres server.

use std::time::Duration;

use super::job::{JobOptions, NewJob, OnExceed, Posted, RATE_DEFER_MAX, Rate, Selection, Settlement};
use super::*;
use crate::publish::Plan;

#[path = "../../tests/support/postgres.rs"]
mod postgres;

const LONG: Duration = Duration::from_secs(3600);
/// Over after [`over`].
const SHORT: Duration = Duration::from_millis(40);

async fn over() {
    tokio::time::sleep(SHORT + Duration::from_millis(40)).await;
}

/// A store, and what must not be dropped before it.
struct Place {
    outbox: Outbox,
    _directory: Option<tempfile::TempDir>,
}

impl Place {
    async fn memory() -> Self {
        Self { outbox: Outbox::in_memory(1000), _directory: None }
    }

    async fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let pool = sqlx::SqlitePool::connect_with(durable_sqlite(directory.path().join("outbox.db"))).await.unwrap();
        Self { outbox: Outbox::sqlite(pool).await.unwrap(), _directory: Some(directory) }
    }

    async fn postgres() -> Self {
        Self { outbox: Outbox::postgres(postgres::pool().await).await.unwrap(), _directory: None }
    }

    async fn post(&self, name: &str, options: JobOptions) -> Posted {
        let posted = self.outbox.post_all(vec![job(name, options)]).await.unwrap();
        assert_eq!(posted.len(), 1);
        posted[0]
    }

    async fn post_plain(&self, names: &[&str]) {
        let jobs = names.iter().map(|name| job(name, JobOptions::new())).collect();
        assert_eq!(self.outbox.post_all(jobs).await.unwrap(), vec![Posted::Queued; names.len()]);
    }

    async fn claim_of(&self, queues: Option<&[String]>, limit: usize, lease: Duration) -> Vec<Claimed> {
        let token = i64::try_from(getrandom::u64().unwrap() >> 1).unwrap();
        self.outbox.claim(Claim { queues, limit, lease, token }).await.unwrap()
    }

    async fn claim(&self, limit: usize) -> Vec<Claimed> {
        self.claim_of(None, limit, LONG).await
    }

    /// The names of the jobs that can be claimed now.
    async fn claimed(&self) -> Vec<String> {
        self.claim(100).await.into_iter().map(|job| job.plan.key).collect()
    }

    async fn settle(&self, job: &Claimed, settlement: Settlement) {
        self.outbox.settle(&[(job.ticket, settlement)]).await.unwrap();
    }

    async fn bury(&self, names: &[&str]) {
        self.post_plain(names).await;
        for job in self.claim(100).await {
            self.settle(&job, Settlement::Dead { error: "refused".into(), accepted: 2 }).await;
        }
    }

    async fn figures(&self) -> QueueFigures {
        self.outbox.figures().await.unwrap().remove("default").unwrap_or_default()
    }
}

/// A job that is told from others by its key.
fn job(name: &str, options: JobOptions) -> NewJob {
    let plan = Plan { event: "said".into(), key: name.into(), requests: Vec::new() };
    NewJob { plan, options: options.scoped_to("said") }
}

fn again(after: Duration) -> Settlement {
    Settlement::Again { after, error: "away".into(), accepted: 1 }
}

async fn higher_priorities_come_first_and_then_who_came_first(place: Place) {
    place.post_plain(&["a", "b"]).await;
    place.post("high", JobOptions::new().priority(5)).await;
    place.post("low", JobOptions::new().priority(-5)).await;
    assert_eq!(place.claim(2).await.iter().map(|job| &*job.plan.key).collect::<Vec<_>>(), ["high", "a"]);
    assert_eq!(place.claimed().await, ["b", "low"]);
}

async fn a_job_is_given_out_as_it_was_written_down(place: Place) {
    let backoff = [Duration::from_millis(5), Duration::from_secs(7)];
    place.post("a", JobOptions::new().queue("high").tries(3).backoff(backoff)).await;
    let job = place.claim(1).await.pop().unwrap();
    assert_eq!((&*job.queue, &*job.plan.event, &*job.plan.key), ("high", "said", "a"));
    assert_eq!((job.attempts, job.tries, job.accepted, job.backoff), (1, 3, 0, backoff.to_vec()));
}

async fn a_job_is_one_couriers_until_its_lease_runs_out_and_then_anothers(place: Place) {
    place.post_plain(&["a"]).await;
    let first = place.claim_of(None, 1, SHORT).await.pop().unwrap();
    over().await;
    let second = place.claim(1).await.pop().unwrap();
    assert_eq!((second.attempts, &second.plan), (2, &first.plan));
    assert!(place.claimed().await.is_empty());
    // Whoever comes late changes nothing, whatever it says.
    place.settle(&first, again(Duration::ZERO)).await;
    place.settle(&first, Settlement::Delivered).await;
    place.settle(&first, Settlement::Dead { error: "late".into(), accepted: 0 }).await;
    let figures = place.figures().await;
    assert_eq!((figures.leased, figures.dead), (1, 0));
    place.settle(&second, Settlement::Delivered).await;
    assert_eq!(place.figures().await, QueueFigures::default());
}

async fn jobs_of_one_key_come_one_after_the_other(place: Place) {
    for name in ["a1", "a2", "a3"] {
        place.post(name, JobOptions::new().ordered_by("a")).await;
    }
    place.post("b1", JobOptions::new().ordered_by("b").priority(-1)).await;
    let claimed = place.claim(100).await;
    assert_eq!(claimed.iter().map(|job| &*job.plan.key).collect::<Vec<_>>(), ["a1", "b1"]);
    // One that failed stays the first of its key, and one that is given up does not.
    place.settle(&claimed[0], again(Duration::ZERO)).await;
    let first = place.claim(100).await;
    assert_eq!(first.iter().map(|job| &*job.plan.key).collect::<Vec<_>>(), ["a1"]);
    place.settle(&first[0], Settlement::Dead { error: "refused".into(), accepted: 0 }).await;
    let second = place.claim(100).await;
    assert_eq!(second.iter().map(|job| &*job.plan.key).collect::<Vec<_>>(), ["a2"]);
    place.settle(&second[0], Settlement::Delivered).await;
    assert_eq!(place.claimed().await, ["a3"]);
}

async fn a_job_waits_for_its_delay(place: Place) {
    place.post("later", JobOptions::new().delay(LONG)).await;
    place.post("soon", JobOptions::new().delay(SHORT)).await;
    over().await;
    assert_eq!(place.claimed().await, ["soon"]);
}

async fn an_attempt_that_failed_counts_and_one_that_was_given_back_does_not(place: Place) {
    place.post_plain(&["a"]).await;
    let job = place.claim(1).await.pop().unwrap();
    let returned = Settlement::Returned { after: Duration::ZERO, error: None, accepted: 3 };
    place.settle(&job, returned).await;
    let job = place.claim(1).await.pop().unwrap();
    assert_eq!((job.attempts, job.accepted), (1, 3));
    place.settle(&job, again(Duration::ZERO)).await;
    let job = place.claim(1).await.pop().unwrap();
    assert_eq!((job.attempts, job.accepted), (2, 1));
    place.settle(&job, again(LONG)).await;
    assert!(place.claimed().await.is_empty());
    let figures = place.figures().await;
    assert_eq!((figures.waiting, figures.retrying), (1, 1));
}

async fn dead_letters_are_told_of_retried_and_forgotten(place: Place) {
    place.bury(&["a", "b", "c"]).await;
    let dead = place.outbox.dead(2).await.unwrap();
    assert_eq!(dead.iter().map(|dead| &*dead.key).collect::<Vec<_>>(), ["c", "b"]);
    assert_eq!((&*dead[0].error, &*dead[0].event, dead[0].attempts), ("refused", "said", 1));
    assert_eq!(place.figures().await.dead, 3);

    assert_eq!(place.outbox.retry(&Selection::One(dead[1].number)).await.unwrap(), 1);
    let retried = place.claim(100).await;
    assert_eq!(
        retried.iter().map(|job| (&*job.plan.key, job.attempts, job.accepted)).collect::<Vec<_>>(),
        [("b", 1, 2)]
    );
    assert_eq!(place.outbox.forget(&Selection::Queue("other".into())).await.unwrap(), 0);
    assert_eq!(place.outbox.forget(&Selection::One(dead[0].number)).await.unwrap(), 1);
    assert_eq!(place.outbox.retry(&Selection::Queue("default".into())).await.unwrap(), 1);
    assert_eq!(place.claimed().await, ["a"]);
    assert_eq!(place.outbox.forget(&Selection::All).await.unwrap(), 0);
}

async fn of_one_key_there_is_one_job_within_the_window(place: Place) {
    let unique = |window| JobOptions::new().unique_for(7, window);
    assert_eq!(place.post("a", unique(LONG)).await, Posted::Queued);
    assert_eq!(place.post("b", unique(LONG)).await, Posted::Duplicate);
    let other = NewJob { options: unique(LONG).scoped_to("other"), ..job("c", JobOptions::new()) };
    assert_eq!(place.outbox.post_all(vec![other]).await.unwrap(), [Posted::Queued]);
    // Delivered or not: it is the window that counts.
    assert_eq!(place.claimed().await, ["a", "c"]);
    assert_eq!(place.post("d", unique(LONG)).await, Posted::Duplicate);

    let short = |name| job(name, JobOptions::new().unique_for("short", SHORT));
    assert_eq!(place.outbox.post_all(vec![short("e")]).await.unwrap(), [Posted::Queued]);
    over().await;
    assert_eq!(place.outbox.post_all(vec![short("f")]).await.unwrap(), [Posted::Queued]);
}

async fn of_many_jobs_of_a_key_the_last_is_sent_once_it_is_quiet(place: Place) {
    let debounced = |wait| JobOptions::new().debounce(7, wait, LONG);
    assert_eq!(place.post("a", debounced(LONG)).await, Posted::Queued);
    assert_eq!(place.post("b", debounced(LONG)).await, Posted::Replaced);
    assert!(place.claimed().await.is_empty());
    assert_eq!(place.post("c", debounced(SHORT)).await, Posted::Replaced);
    over().await;
    assert_eq!(place.claimed().await, ["c"]);
    // What a courier has is not replaced any more.
    assert_eq!(place.post("d", debounced(LONG)).await, Posted::Queued);
    assert_eq!(place.figures().await.waiting, 1);
}

async fn one_that_is_never_quiet_is_sent_at_the_latest_moment(place: Place) {
    let debounced = |max| JobOptions::new().debounce(7, SHORT, max);
    assert_eq!(place.post("a", debounced(SHORT)).await, Posted::Queued);
    let restless = JobOptions::new().debounce(7, LONG, LONG);
    assert_eq!(place.post("b", restless).await, Posted::Replaced);
    over().await;
    assert_eq!(place.claimed().await, ["b"]);
}

async fn what_exceeds_a_rate_is_dropped_or_put_off(place: Place) {
    let limited = |on_exceed| JobOptions::new().rate_limit(7, Rate::per_hour(2), on_exceed);
    assert_eq!(place.post("a", limited(OnExceed::Drop)).await, Posted::Queued);
    assert_eq!(place.post("b", limited(OnExceed::Drop)).await, Posted::Queued);
    assert_eq!(place.post("c", limited(OnExceed::Drop)).await, Posted::Dropped);
    assert_eq!(place.post("d", limited(OnExceed::Defer)).await, Posted::Queued);
    assert_eq!(place.claimed().await, ["a", "b"]);
    assert_eq!(place.figures().await.waiting, 1);

    let short = || JobOptions::new().rate_limit("short", Rate::new(1, SHORT), OnExceed::Drop);
    assert_eq!(place.post("e", short()).await, Posted::Queued);
    over().await;
    assert_eq!(place.post("f", short()).await, Posted::Queued);
    assert_eq!(place.claimed().await, ["e", "f"]);
}

async fn nothing_is_put_off_further_than_the_bound(place: Place) {
    let limited = || JobOptions::new().rate_limit(7, Rate::new(1, RATE_DEFER_MAX), OnExceed::Defer);
    assert_eq!(place.post("now", limited()).await, Posted::Queued);
    assert_eq!(place.post("at the bound", limited()).await, Posted::Queued);
    assert_eq!(place.post("past it", limited()).await, Posted::Dropped);
    assert_eq!(place.claimed().await, ["now"]);
}

async fn what_is_dropped_does_not_keep_its_unique_key(place: Place) {
    let limit = |rate| JobOptions::new().unique_for(7, LONG).rate_limit("r", rate, OnExceed::Drop);
    assert_eq!(
        place.post("a", JobOptions::new().rate_limit("r", Rate::per_hour(1), OnExceed::Drop)).await,
        Posted::Queued
    );
    assert_eq!(place.post("b", limit(Rate::per_hour(1))).await, Posted::Dropped);
    assert_eq!(place.post("c", JobOptions::new().unique_for(7, LONG)).await, Posted::Queued);
}

async fn a_courier_is_given_jobs_of_its_queues_alone(place: Place) {
    place.post("high", JobOptions::new().queue("high")).await;
    place.post("low", JobOptions::new().queue("low")).await;
    place.post_plain(&["plain"]).await;
    let queues = ["low".to_owned(), "default".to_owned()];
    let claimed = place.claim_of(Some(&queues), 100, LONG).await;
    assert_eq!(claimed.iter().map(|job| &*job.plan.key).collect::<Vec<_>>(), ["low", "plain"]);
    assert!(place.claim_of(Some(&["none".to_owned()]), 100, LONG).await.is_empty());
    assert_eq!(place.claimed().await, ["high"]);
}

async fn figures_count_what_waits_for_what(place: Place) {
    place.post("later", JobOptions::new().delay(LONG)).await;
    assert_eq!(place.figures().await.oldest, None);
    place.post_plain(&["a", "b", "c"]).await;
    let claimed = place.claim(2).await;
    place.settle(&claimed[0], again(LONG)).await;
    over().await;
    let QueueFigures { ready, leased, waiting, retrying, dead, oldest, .. } = place.figures().await;
    assert_eq!((ready, leased, waiting, retrying, dead), (1, 1, 2, 1, 0));
    assert!(oldest.unwrap() >= SHORT && oldest.unwrap() < LONG, "{oldest:?}");
    assert!(place.outbox.figures().await.unwrap().keys().eq(["default"]));
}

async fn two_who_claim_at_once_never_get_the_same_job(place: Place) {
    let names: Vec<String> = (0..60).map(|number| number.to_string()).collect();
    place.post_plain(&names.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let greedy = async || {
        let mut got = Vec::new();
        loop {
            match place.claim(3).await {
                claimed if claimed.is_empty() => return got,
                claimed => got.extend(claimed.into_iter().map(|job| job.plan.key.parse::<u32>().unwrap())),
            }
        }
    };
    let (one, other, third) = tokio::join!(greedy(), greedy(), greedy());
    let mut all = [one, other, third].concat();
    all.sort_unstable();
    assert_eq!(all, Vec::from_iter(0..60));
}

macro_rules! on_every_store {
    ($($promise:ident)*) => {
        mod memory { $(#[tokio::test] async fn $promise() { super::$promise(super::Place::memory().await).await; })* }
        mod sqlite { $(#[tokio::test] async fn $promise() { super::$promise(super::Place::sqlite().await).await; })* }
        mod on_postgres {
            $(#[tokio::test] async fn $promise() { super::$promise(super::Place::postgres().await).await; })*
        }
    };
}

on_every_store! {
    higher_priorities_come_first_and_then_who_came_first
    a_job_is_given_out_as_it_was_written_down
    a_job_is_one_couriers_until_its_lease_runs_out_and_then_anothers
    jobs_of_one_key_come_one_after_the_other
    a_job_waits_for_its_delay
    an_attempt_that_failed_counts_and_one_that_was_given_back_does_not
    dead_letters_are_told_of_retried_and_forgotten
    of_one_key_there_is_one_job_within_the_window
    of_many_jobs_of_a_key_the_last_is_sent_once_it_is_quiet
    one_that_is_never_quiet_is_sent_at_the_latest_moment
    what_exceeds_a_rate_is_dropped_or_put_off
    nothing_is_put_off_further_than_the_bound
    what_is_dropped_does_not_keep_its_unique_key
    a_courier_is_given_jobs_of_its_queues_alone
    figures_count_what_waits_for_what
    two_who_claim_at_once_never_get_the_same_job
}
