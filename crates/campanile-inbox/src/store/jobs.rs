//! Jobs, as operators see them.
//!
//! Owns the listing and the second chance. Never stores a notification. The invariant: a dead job is kept, with its
//! reason, until it is retried or too old.

use crate::draft::Draft;
use crate::error::{InboxError, Thing};
use crate::job::{JobRecord, JobState};
use crate::reports::Depths;
use crate::store::connection::{Failure, values};
use crate::store::rows::id_of;
use crate::store::sql::sql;
use crate::store::tx::Tx;

pub(crate) async fn records(
    tx: &mut Tx,
    app: &str,
    state: JobState,
    before: Option<i64>,
    limit: usize,
) -> Result<Vec<JobRecord>, Failure> {
    // The second clause is the one of the index.
    let which = match state {
        JobState::Waiting => sql!(
            "SELECT number, id, draft, accepted_at, due_at, attempts, error, died_at FROM campanile_inbox_jobs \
             WHERE app = $1 AND died_at IS NULL AND number < $2 ORDER BY number DESC LIMIT $3"
        ),
        JobState::Dead => sql!(
            "SELECT number, id, draft, accepted_at, due_at, attempts, error, died_at FROM campanile_inbox_jobs \
             WHERE app = $1 AND died_at IS NOT NULL AND number < $2 ORDER BY number DESC LIMIT $3"
        ),
    };
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut records = Vec::new();
    for row in tx.fetch(which, values![app, before.unwrap_or(i64::MAX), limit]).await? {
        // One that cannot be read is dead, and must be seen all the same.
        let draft = serde_json::from_str::<Draft>(&row.text(2)?).ok();
        records.push(JobRecord {
            id: row.int(0)?,
            notification: id_of(&row.text(1)?)?,
            kind: draft.as_ref().map_or_else(|| "unreadable".to_owned(), |draft| draft.kind.clone()),
            key: draft.and_then(|draft| draft.key),
            created_at: row.moment(3)?,
            due_at: row.moment(4)?,
            attempts: row.int(5)?,
            error: row.maybe_text(6)?,
            died_at: row.maybe_moment(7)?,
        });
    }
    Ok(records)
}

pub(crate) async fn retry(tx: &mut Tx, app: &str, number: i64) -> Result<(), Failure> {
    let now = tx.now;
    let retry = sql!(
        "UPDATE campanile_inbox_jobs SET died_at = NULL, attempts = 0, available_at = $3, leased = 0 \
         WHERE app = $1 AND number = $2 AND died_at IS NOT NULL"
    );
    if tx.execute(retry, values![app, number, now]).await? == 0 {
        return Err(InboxError::Unknown(Thing::Job).into());
    }
    tx.has_work = true;
    Ok(())
}

/// An attempt failed by itself, not because of the database.
pub(crate) async fn fail(tx: &mut Tx, number: i64, error: &str) -> Result<(), Failure> {
    let now = tx.now;
    let attempts = sql!("SELECT attempts + 1 FROM campanile_inbox_jobs WHERE number = $1 {for update}");
    let attempts = tx.number(attempts, values![number]).await?;
    let is_dead = attempts >= i64::from(tx.settings.job_tries);
    // 1 s, 4 s, 9 s ..
    let pause = std::time::Duration::from_secs(u64::try_from(attempts * attempts).unwrap_or(1));
    let fail = sql!(
        "UPDATE campanile_inbox_jobs SET attempts = $2, error = $3, available_at = $4, leased = 0, died_at = $5 \
         WHERE number = $1"
    );
    let died_at = is_dead.then_some(now);
    tx.execute(fail, values![number, attempts, error, now.plus(pause), died_at]).await?;
    Ok(())
}

/// It cannot be stored, however often it is tried.
pub(crate) async fn bury(tx: &mut Tx, number: i64, error: &str) -> Result<(), Failure> {
    let now = tx.now;
    let bury = sql!(
        "UPDATE campanile_inbox_jobs SET attempts = attempts + 1, error = $2, leased = 0, died_at = $3 \
         WHERE number = $1"
    );
    tx.execute(bury, values![number, error, now]).await?;
    Ok(())
}

pub(crate) async fn depths(tx: &mut Tx, depths: &mut Depths) -> Result<(), Failure> {
    let now = tx.now;
    let counts = sql!(
        "SELECT coalesce(CAST(sum(CASE WHEN died_at IS NULL AND due_at <= $1 THEN 1 ELSE 0 END) AS BIGINT), 0), \
         coalesce(CAST(sum(CASE WHEN died_at IS NULL AND due_at > $1 THEN 1 ELSE 0 END) AS BIGINT), 0), \
         coalesce(CAST(sum(CASE WHEN died_at IS NOT NULL THEN 1 ELSE 0 END) AS BIGINT), 0), \
         min(CASE WHEN died_at IS NULL AND due_at <= $1 THEN due_at END) FROM campanile_inbox_jobs"
    );
    if let Some(row) = tx.row(counts, values![now]).await? {
        let count = |at| row.int(at).map(|count| u64::try_from(count).unwrap_or(0));
        depths.jobs_due = count(0)?;
        depths.jobs_delayed = count(1)?;
        depths.jobs_dead = count(2)?;
        let since = row.maybe_moment(3)?.map_or(0, |due| now.since(due).as_millis());
        depths.oldest_due_ms = u64::try_from(since).unwrap_or(u64::MAX);
    }
    Ok(())
}
