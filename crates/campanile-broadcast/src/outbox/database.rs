//! The outbox in the application's own database.
//!
//! Owns what is written down when an event is posted, claimed and settled. Never holds a transaction while something is
//! sent. The invariant: a job leaves its table in the same transaction in which it is known to be delivered or given up.
//! Read on in [`super::sql`] for the statements and [`super::courier`] for who claims.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::outbox::OutboxError;
use crate::outbox::connection::{Connection, Dialect, Pool, Row, Value};
use crate::outbox::figures::QueueFigures;
use crate::outbox::job::{
    Claim, Claimed, DeadJob, NewJob, OnExceed, Posted, RATE_DEFER_MAX, Selection, Settlement, Ticket, duration, millis,
};
use crate::outbox::sql::{MIGRATIONS, Statements};
use crate::publish::Plan;

/// Keys, and dead letters, that one sweep removes.
pub const SWEEP_ROWS_MAX: i64 = 1000;
/// For how long dead letters are kept.
pub const DEAD_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

#[derive(Debug)]
pub(crate) struct Database {
    pool: Pool,
    sql: &'static Statements,
}

impl Database {
    /// Brings the tables up to date, where they are not.
    pub(crate) async fn open(pool: Pool) -> Result<Self, OutboxError> {
        let database = Self { sql: Statements::of(pool.dialect()), pool };
        if database.version().await != Some(known_version()) {
            database.migrate().await?;
        }
        Ok(database)
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.pool.dialect()
    }

    /// The version of the tables, if there are any.
    async fn version(&self) -> Option<i64> {
        let mut connection = self.pool.acquire().await.ok()?;
        let rows = connection.connection().fetch(self.sql.version, &[]).await.ok()?;
        rows.first()?.int(0).ok()
    }

    async fn migrate(&self) -> Result<(), OutboxError> {
        let mut transaction = self.pool.begin().await?;
        let mut connection = transaction.connection();
        if let Some(lock) = self.sql.lock_version {
            connection.execute(lock, &[]).await?;
        }
        connection.execute(self.sql.create_version, &[]).await?;
        let rows = connection.fetch(self.sql.version, &[]).await?;
        let found = rows.first().map_or(Ok(0), |row| row.int(0))?;
        let Some(missing) = usize::try_from(found).ok().and_then(|found| self.sql.migrations.get(found..)) else {
            return Err(OutboxError::NewerTables { found, known: known_version() });
        };
        for migration in missing {
            connection.script(migration).await?;
        }
        connection.execute(self.sql.set_version, &[Value::Int(known_version())]).await?;
        Ok(transaction.commit().await?)
    }

    /// Writes jobs down in a transaction of their own.
    pub(crate) async fn post_all(&self, jobs: &[NewJob]) -> Result<Vec<Posted>, OutboxError> {
        let mut transaction = self.pool.begin().await?;
        let posted = post_all(&mut transaction.connection(), jobs).await?;
        transaction.commit().await?;
        Ok(posted)
    }

    pub(crate) async fn claim(&self, claim: Claim<'_>) -> Result<Vec<Claimed>, OutboxError> {
        let queues = claim.queues.map(|queues| serde_json::json!(queues).to_string());
        let queues = Value::Maybe(queues.as_deref());
        let mut acquired = self.pool.acquire().await?;
        let mut connection = acquired.connection();
        if let Some(peek) = self.sql.peek
            && connection.fetch(peek, &[queues]).await?.is_empty()
        {
            return Ok(Vec::new());
        }
        let limit = i64::try_from(claim.limit).unwrap_or(i64::MAX);
        let values = [queues, Value::Int(millis(claim.lease)), Value::Int(claim.token), Value::Int(limit)];
        let rows = connection.fetch(self.sql.claim, &values).await?;
        drop(acquired);
        let (mut jobs, mut unreadable) = (Vec::new(), Vec::new());
        for row in &rows {
            match claimed(row, claim.token) {
                Ok(job) => jobs.push((-row.int(1)?, job)),
                Err(error) => {
                    let error = format!("the job cannot be read: {error}");
                    let ticket = Ticket { seq: row.int(0)?, lease: claim.token };
                    unreadable.push((ticket, Settlement::Dead { error, accepted: 0 }));
                }
            }
        }
        // Left where it is, it would be claimed for ever.
        if !unreadable.is_empty() {
            self.settle(&unreadable).await?;
        }
        // What a statement returns has no order.
        jobs.sort_unstable_by_key(|(priority, job)| (*priority, job.ticket.seq));
        Ok(jobs.into_iter().map(|(_, job)| job).collect())
    }

    /// Writes down how attempts ended. A ticket whose lease has run out meanwhile changes nothing.
    pub(crate) async fn settle(&self, settlements: &[(Ticket, Settlement)]) -> Result<(), OutboxError> {
        let mut transaction = self.pool.begin().await?;
        let mut connection = transaction.connection();
        for (ticket, settlement) in settlements {
            let (seq, lease) = (Value::Int(ticket.seq), Value::Int(ticket.lease));
            match settlement {
                Settlement::Delivered => connection.execute(self.sql.delivered, &[seq, lease]).await?,
                Settlement::Again { after, error, accepted } => {
                    let values = [Value::Int(millis(*after)), Value::Int(0), count(*accepted), Value::Text(error)];
                    connection.execute(self.sql.again, &[&[seq, lease], &values[..]].concat()).await?
                }
                Settlement::Returned { after, error, accepted } => {
                    let error = Value::Maybe(error.as_deref());
                    let values = [Value::Int(millis(*after)), Value::Int(1), count(*accepted), error];
                    connection.execute(self.sql.again, &[&[seq, lease], &values[..]].concat()).await?
                }
                Settlement::Dead { error, accepted } => {
                    connection.execute(self.sql.bury, &[seq, lease, count(*accepted), Value::Text(error)]).await?;
                    connection.execute(self.sql.delivered, &[seq, lease]).await?
                }
            };
        }
        Ok(transaction.commit().await?)
    }

    pub(crate) async fn figures(&self) -> Result<BTreeMap<String, QueueFigures>, OutboxError> {
        let mut acquired = self.pool.acquire().await?;
        let mut connection = acquired.connection();
        let mut queues = BTreeMap::<String, QueueFigures>::new();
        for row in connection.fetch(self.sql.depths, &[]).await? {
            let count = |at| row.int(at).map(|count| u64::try_from(count).unwrap_or(0));
            let figures = queues.entry(row.text(0)?).or_default();
            figures.ready = count(1)?;
            figures.leased = count(2)?;
            figures.waiting = count(3)?;
            figures.retrying = count(4)?;
            figures.oldest = row.maybe_int(5)?.map(duration);
        }
        for row in connection.fetch(self.sql.dead_depths, &[]).await? {
            queues.entry(row.text(0)?).or_default().dead = u64::try_from(row.int(1)?).unwrap_or(0);
        }
        Ok(queues)
    }

    pub(crate) async fn dead(&self, limit: usize) -> Result<Vec<DeadJob>, OutboxError> {
        let mut acquired = self.pool.acquire().await?;
        let rows = acquired.connection().fetch(self.sql.dead, &[count(limit)]).await?;
        let dead = |row: &Row| {
            Ok(DeadJob {
                number: row.int(0)?,
                queue: row.text(1)?,
                event: row.text(2)?,
                key: row.text(3)?,
                attempts: u32::try_from(row.int(4)?).unwrap_or(u32::MAX),
                error: row.text(5)?,
                age: duration(row.int(6)?),
                dead_for: duration(row.int(7)?),
            })
        };
        rows.iter().map(dead).collect()
    }

    /// Makes dead letters jobs again.
    pub(crate) async fn retry(&self, selection: &Selection) -> Result<u64, OutboxError> {
        let mut transaction = self.pool.begin().await?;
        let mut connection = transaction.connection();
        let retried = connection.execute(self.sql.retry, &meant(selection)).await?;
        connection.execute(self.sql.forget, &meant(selection)).await?;
        transaction.commit().await?;
        Ok(retried)
    }

    pub(crate) async fn forget(&self, selection: &Selection) -> Result<u64, OutboxError> {
        let mut acquired = self.pool.acquire().await?;
        Ok(acquired.connection().execute(self.sql.forget, &meant(selection)).await?)
    }

    /// Removes keys whose window is over, and dead letters that nobody has asked for in a long time.
    pub(crate) async fn sweep(&self) -> Result<(), OutboxError> {
        let mut acquired = self.pool.acquire().await?;
        let mut connection = acquired.connection();
        connection.execute(self.sql.sweep_keys, &[Value::Int(SWEEP_ROWS_MAX)]).await?;
        let values = [Value::Int(SWEEP_ROWS_MAX), Value::Int(millis(DEAD_KEPT))];
        connection.execute(self.sql.sweep_dead, &values).await?;
        Ok(())
    }
}

/// Writes jobs down on this connection, whose transaction is somebody else's.
pub(crate) async fn post_all(connection: &mut Connection<'_>, jobs: &[NewJob]) -> Result<Vec<Posted>, OutboxError> {
    let mut posted = Vec::with_capacity(jobs.len());
    for job in jobs {
        posted.push(post(connection, job).await?);
    }
    Ok(posted)
}

async fn post(connection: &mut Connection<'_>, job: &NewJob) -> Result<Posted, OutboxError> {
    let NewJob { plan, options } = job;
    let sql = Statements::of(connection.dialect());
    if let Some(unique) = &options.unique {
        let values = [Value::Text(&unique.key), Value::Int(millis(unique.window))];
        if connection.execute(sql.take_key, &values).await? == 0 {
            return Ok(Posted::Duplicate);
        }
    }
    let mut wait = millis(options.delay);
    if let Some(limit) = &options.rate {
        let tolerance = limit.rate.tolerance_ms();
        let patience = if limit.on_exceed == OnExceed::Defer { millis(RATE_DEFER_MAX) } else { 0 };
        let interval = Value::Int(limit.rate.interval_ms());
        let rows = connection
            .fetch(sql.count_rate, &[Value::Text(&limit.key), interval, Value::Int(tolerance + patience)])
            .await?;
        let Some(row) = rows.first() else {
            if let Some(unique) = &options.unique {
                connection.execute(sql.give_key_back, &[Value::Text(&unique.key)]).await?;
            }
            return Ok(Posted::Dropped);
        };
        wait = wait.max(row.int(0)? - tolerance);
    }
    let requests = serde_json::to_string(&plan.requests).expect("strings can always be serialised");
    let backoff: Vec<i64> = options.backoff.iter().copied().map(millis).collect();
    let backoff = serde_json::json!(backoff).to_string();
    let debounced = options.debounce.as_ref().map_or(0, |debounce| millis(debounce.wait));
    let values = [
        Value::Text(&plan.key),
        Value::Text(&options.queue),
        Value::Int(options.priority.into()),
        Value::Text(&plan.event),
        Value::Text(&requests),
        Value::Int(options.tries.into()),
        Value::Text(&backoff),
        Value::Maybe(options.order.as_deref()),
        Value::Int(wait + debounced),
    ];
    let Some(debounce) = &options.debounce else {
        connection.execute(sql.post, &values).await?;
        return Ok(Posted::Queued);
    };
    let more = [Value::Text(&debounce.key), Value::Int(wait + millis(debounce.max))];
    let rows = connection.fetch(sql.debounce, &[&values[..], &more[..]].concat()).await?;
    let is_first = rows.first().map_or(Ok(true), |row| row.int(0).map(|replaced| replaced == 0))?;
    Ok(if is_first { Posted::Queued } else { Posted::Replaced })
}

fn claimed(row: &Row, token: i64) -> Result<Claimed, Box<dyn std::error::Error + Send + Sync>> {
    let number = |at| row.int(at).map(|number| u32::try_from(number).unwrap_or(0));
    let backoff: Vec<i64> = serde_json::from_str(&row.text(9)?)?;
    Ok(Claimed {
        ticket: Ticket { seq: row.int(0)?, lease: token },
        queue: row.text(3)?,
        plan: Plan { key: row.text(2)?, event: row.text(4)?, requests: serde_json::from_str(&row.text(5)?)? },
        accepted: usize::try_from(row.int(6)?).unwrap_or(0),
        attempts: number(7)?,
        tries: number(8)?,
        backoff: backoff.into_iter().map(duration).collect(),
    })
}

fn meant(selection: &Selection) -> [Value<'_>; 2] {
    match selection {
        Selection::One(number) => [Value::MaybeInt(Some(*number)), Value::Maybe(None)],
        Selection::Queue(queue) => [Value::MaybeInt(None), Value::Maybe(Some(queue))],
        Selection::All => [Value::MaybeInt(None), Value::Maybe(None)],
    }
}

fn count(count: usize) -> Value<'static> {
    Value::Int(i64::try_from(count).unwrap_or(i64::MAX))
}

fn known_version() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}
