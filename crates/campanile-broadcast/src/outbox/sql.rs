//! The tables and every statement, for both databases.
//!
//! Owns SQL, in the words that both understand, with `{..}` where they differ. Never interpolates a value. The invariant:
//! a claim is one statement, and two couriers at one time never get the same job by it. Read on in [`super::database`].
//!
//! A job is due when `available_at` has passed, whatever it waited for: its delay, the pause after a failure, or the end
//! of a lease whose courier died. So nothing has to look for the dead.

use std::sync::LazyLock;

use crate::outbox::connection::Dialect;

/// What brings the tables from each version to the next. Only ever appended to.
pub(crate) const MIGRATIONS: [&str; 1] = [r"
CREATE TABLE campanile_outbox_jobs (
    seq {serial},
    key TEXT NOT NULL,
    queue TEXT NOT NULL,
    priority BIGINT NOT NULL,
    event TEXT NOT NULL,
    requests TEXT NOT NULL,
    accepted BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL,
    available_at BIGINT NOT NULL,
    lease BIGINT,
    attempts BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    backoff TEXT NOT NULL,
    order_key TEXT,
    debounce_key TEXT UNIQUE,
    debounce_until BIGINT,
    replaced BIGINT NOT NULL DEFAULT 0,
    error TEXT
);
CREATE INDEX campanile_outbox_line ON campanile_outbox_jobs (priority DESC, seq, available_at);
CREATE INDEX campanile_outbox_order ON campanile_outbox_jobs (order_key, seq) WHERE order_key IS NOT NULL;
CREATE TABLE campanile_outbox_dead (
    seq BIGINT PRIMARY KEY,
    key TEXT NOT NULL,
    queue TEXT NOT NULL,
    priority BIGINT NOT NULL,
    event TEXT NOT NULL,
    requests TEXT NOT NULL,
    accepted BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    died_at BIGINT NOT NULL,
    attempts BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    backoff TEXT NOT NULL,
    order_key TEXT,
    error TEXT NOT NULL
);
CREATE TABLE campanile_outbox_keys (key TEXT PRIMARY KEY, until BIGINT NOT NULL);
"];

/// The statements of one database.
#[derive(Debug)]
pub(crate) struct Statements {
    pub(crate) migrations: [&'static str; MIGRATIONS.len()],
    pub(crate) create_version: &'static str,
    pub(crate) lock_version: Option<&'static str>,
    pub(crate) version: &'static str,
    pub(crate) set_version: &'static str,
    pub(crate) take_key: &'static str,
    pub(crate) give_key_back: &'static str,
    pub(crate) count_rate: &'static str,
    pub(crate) post: &'static str,
    pub(crate) debounce: &'static str,
    /// What is asked before a claim where a claim in vain would cost something.
    pub(crate) peek: Option<&'static str>,
    pub(crate) claim: &'static str,
    pub(crate) delivered: &'static str,
    pub(crate) again: &'static str,
    pub(crate) bury: &'static str,
    pub(crate) depths: &'static str,
    pub(crate) dead_depths: &'static str,
    pub(crate) dead: &'static str,
    pub(crate) retry: &'static str,
    pub(crate) forget: &'static str,
    pub(crate) sweep_keys: &'static str,
    pub(crate) sweep_dead: &'static str,
}

impl Statements {
    pub(crate) fn of(dialect: Dialect) -> &'static Self {
        match dialect {
            #[cfg(feature = "sqlite")]
            Dialect::Sqlite => {
                static SQLITE: LazyLock<Statements> = LazyLock::new(|| Statements::new(&SQLITE_WORDS));
                &SQLITE
            }
            #[cfg(feature = "postgres")]
            Dialect::Postgres => {
                static POSTGRES: LazyLock<Statements> = LazyLock::new(|| Statements::new(&POSTGRES_WORDS));
                &POSTGRES
            }
        }
    }
}

/// What stands for each `{..}`.
type Words = [(&'static str, &'static str); 6];

/// The databases' own clocks: couriers on several machines need agree on no other.
#[cfg(feature = "sqlite")]
const SQLITE_WORDS: Words = [
    ("{serial}", "INTEGER PRIMARY KEY AUTOINCREMENT"),
    ("{now}", "CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER)"),
    ("{greatest}", "max"),
    ("{least}", "min"),
    ("{skip locked}", ""),
    ("{list $1}", "(SELECT value FROM json_each($1))"),
];
#[cfg(feature = "postgres")]
const POSTGRES_WORDS: Words = [
    ("{serial}", "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY"),
    ("{now}", "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)"),
    ("{greatest}", "greatest"),
    ("{least}", "least"),
    ("{skip locked}", "FOR UPDATE SKIP LOCKED"),
    ("{list $1}", "(SELECT json_array_elements_text(CAST($1 AS JSON)))"),
];

impl Statements {
    fn new(words: &Words) -> Self {
        // Once for each database and process, so what is leaked is bounded.
        let said = |sql: &str| -> &'static str {
            let sql = words.iter().fold(sql.to_owned(), |sql, (word, meaning)| sql.replace(word, meaning));
            sql.leak()
        };
        let is_postgres = words.iter().any(|(_, meaning)| meaning.contains("SKIP LOCKED"));
        Self {
            migrations: MIGRATIONS.map(said),
            create_version: said(
                "CREATE TABLE IF NOT EXISTS campanile_outbox_version (one BIGINT PRIMARY KEY, version BIGINT NOT NULL)",
            ),
            // SQLite's transaction is exclusive already. The number is ours alone: the first letters of our name.
            lock_version: is_postgres.then_some("SELECT pg_advisory_xact_lock(7161132800519)"),
            version: said("SELECT version FROM campanile_outbox_version WHERE one = 1"),
            set_version: said(
                "INSERT INTO campanile_outbox_version (one, version) VALUES (1, $1) \
                 ON CONFLICT (one) DO UPDATE SET version = excluded.version",
            ),
            take_key: said(
                "INSERT INTO campanile_outbox_keys (key, until) VALUES ($1, {now} + $2) \
                 ON CONFLICT (key) DO UPDATE SET until = excluded.until WHERE campanile_outbox_keys.until <= {now}",
            ),
            give_key_back: said("DELETE FROM campanile_outbox_keys WHERE key = $1"),
            // $2 is the interval from one event to the next, $3 how far the account may be ahead of the clock.
            count_rate: said(
                "INSERT INTO campanile_outbox_keys AS account (key, until) VALUES ($1, {now} + $2) \
                 ON CONFLICT (key) DO UPDATE SET until = {greatest}(account.until, {now}) + $2 \
                 WHERE account.until - {now} <= $3 RETURNING until - $2 - {now}",
            ),
            // $9 is how long to wait.
            post: said(
                "INSERT INTO campanile_outbox_jobs (key, queue, priority, event, requests, tries, backoff, order_key, \
                 accepted, attempts, created_at, due_at, available_at) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, 0, {now}, {now} + $9, {now} + $9)",
            ),
            // $11 is how long to wait at most. What is claimed has no key any more, so it is never replaced.
            debounce: said(
                "INSERT INTO campanile_outbox_jobs AS waiting (key, queue, priority, event, requests, tries, backoff, \
                 order_key, debounce_key, accepted, attempts, created_at, due_at, available_at, debounce_until) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $10, 0, 0, {now}, {now} + $9, {now} + $9, {now} + $11) \
                 ON CONFLICT (debounce_key) DO UPDATE SET key = excluded.key, requests = excluded.requests, \
                 due_at = {least}(excluded.available_at, waiting.debounce_until), \
                 available_at = {least}(excluded.available_at, waiting.debounce_until), \
                 replaced = waiting.replaced + 1 RETURNING replaced",
            ),
            // SQLite locks the file for an update even if it finds nothing, and the application needs that lock.
            peek: (!is_postgres).then(|| {
                said(
                    "SELECT 1 FROM campanile_outbox_jobs WHERE available_at <= {now} \
                 AND (CAST($1 AS TEXT) IS NULL OR queue IN {list $1}) LIMIT 1",
                )
            }),
            // Who comes first of its key is seen without a lock: whoever holds it has written that down already.
            claim: said(
                "WITH due AS MATERIALIZED (SELECT seq FROM campanile_outbox_jobs AS job \
                 WHERE available_at <= {now} AND (CAST($1 AS TEXT) IS NULL OR queue IN {list $1}) \
                 AND (order_key IS NULL OR NOT EXISTS (SELECT 1 FROM campanile_outbox_jobs AS earlier \
                 WHERE earlier.order_key = job.order_key AND earlier.seq < job.seq)) \
                 ORDER BY priority DESC, seq LIMIT $4 {skip locked}) \
                 UPDATE campanile_outbox_jobs SET available_at = {now} + $2, lease = $3, attempts = attempts + 1, \
                 debounce_key = NULL WHERE seq IN (SELECT seq FROM due) \
                 RETURNING seq, priority, key, queue, event, requests, accepted, attempts, tries, backoff",
            ),
            delivered: said("DELETE FROM campanile_outbox_jobs WHERE seq = $1 AND lease = $2"),
            // $4 is what the attempt counts.
            again: said(
                "UPDATE campanile_outbox_jobs SET lease = NULL, available_at = {now} + $3, attempts = attempts - $4, \
                 accepted = $5, error = coalesce($6, error) WHERE seq = $1 AND lease = $2",
            ),
            bury: said(
                "INSERT INTO campanile_outbox_dead (seq, key, queue, priority, event, requests, accepted, created_at, \
                 died_at, attempts, tries, backoff, order_key, error) \
                 SELECT seq, key, queue, priority, event, requests, $3, created_at, {now}, attempts, tries, backoff, \
                 order_key, $4 FROM campanile_outbox_jobs WHERE seq = $1 AND lease = $2",
            ),
            depths: said(
                "SELECT queue, \
                 CAST(sum(CASE WHEN available_at <= {now} THEN 1 ELSE 0 END) AS BIGINT), \
                 CAST(sum(CASE WHEN available_at > {now} AND lease IS NOT NULL THEN 1 ELSE 0 END) AS BIGINT), \
                 CAST(sum(CASE WHEN available_at > {now} AND lease IS NULL THEN 1 ELSE 0 END) AS BIGINT), \
                 CAST(sum(CASE WHEN attempts > 0 AND lease IS NULL THEN 1 ELSE 0 END) AS BIGINT), \
                 {now} - min(CASE WHEN due_at <= {now} THEN due_at END) \
                 FROM campanile_outbox_jobs GROUP BY queue",
            ),
            dead_depths: said("SELECT queue, count(*) FROM campanile_outbox_dead GROUP BY queue"),
            dead: said(
                "SELECT seq, queue, event, key, attempts, error, {now} - created_at, {now} - died_at \
                 FROM campanile_outbox_dead ORDER BY seq DESC LIMIT $1",
            ),
            // Which are meant: $1 is the number or null, $2 the queue or null. A retried job gets a new number: it goes to
            // the end of its line.
            retry: said(
                "INSERT INTO campanile_outbox_jobs (key, queue, priority, event, requests, tries, backoff, order_key, \
                 accepted, attempts, created_at, due_at, available_at, error) \
                 SELECT key, queue, priority, event, requests, tries, backoff, order_key, accepted, 0, created_at, \
                 {now}, {now}, error FROM campanile_outbox_dead \
                 WHERE (CAST($1 AS BIGINT) IS NULL OR seq = $1) AND (CAST($2 AS TEXT) IS NULL OR queue = $2) ORDER BY seq",
            ),
            forget: said(
                "DELETE FROM campanile_outbox_dead \
                 WHERE (CAST($1 AS BIGINT) IS NULL OR seq = $1) AND (CAST($2 AS TEXT) IS NULL OR queue = $2)",
            ),
            sweep_keys: said(
                "DELETE FROM campanile_outbox_keys WHERE key IN \
                 (SELECT key FROM campanile_outbox_keys WHERE until <= {now} LIMIT $1 {skip locked})",
            ),
            sweep_dead: said(
                "DELETE FROM campanile_outbox_dead WHERE seq IN \
                 (SELECT seq FROM campanile_outbox_dead WHERE died_at <= {now} - $2 ORDER BY seq LIMIT $1)",
            ),
        }
    }
}
