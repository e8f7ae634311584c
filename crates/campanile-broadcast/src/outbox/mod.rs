//! Events that are written down before they are sent, so that they can wait, and be sent again.
//!
//! Owns where they wait: in memory, or in the application's own database, where they commit with the change that they
//! tell of. Never sends anything: couriers do. The invariant: once it is written down, an event leaves the outbox only
//! when the server has accepted it, or for the dead letters. Reading order: [`job`], then [`memory`] and `database.rs`
//! with `sql.rs` and `connection.rs`, then [`courier`] and [`figures`].
//!
//! An event is delivered at least once. The server that knows its `Idempotency-Key` publishes it once, within ten minutes
//! and as long as it is not restarted itself; whoever must know beyond that finds the key in the event, with
//! [`Settings::stamped`](crate::Settings::stamped).

#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub mod connection;
#[cfg(all(test, feature = "postgres", feature = "sqlite"))]
mod contract;
pub mod courier;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub mod database;
pub mod figures;
pub mod job;
pub mod memory;
#[cfg(feature = "axum")]
mod page;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod sql;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use connection::OutboxTransaction;
pub use courier::{Courier, RunningCourier};
pub use figures::QueueFigures;
pub use job::{DeadJob, JobOptions, OnExceed, Rate, Selection};

#[cfg(any(feature = "postgres", feature = "sqlite"))]
use connection::{Connection, Pool};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
use database::Database;
use figures::Deeds;
use job::{Claim, Claimed, NewJob, Posted, Settlement, Ticket, millis};
use memory::{Full, Memory};

/// Why an outbox did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// As many events wait in memory as may.
    #[error("the outbox in memory is full: {max} events wait already")]
    Full {
        /// The limit.
        max: usize,
    },
    /// The database failed.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    #[error("the outbox's database: {0}")]
    Database(#[from] sqlx::Error),
    /// A newer version of this crate has changed the tables.
    #[error("the outbox's tables are of version {found}, and this program knows {known}: a newer one has been here")]
    NewerTables {
        /// The version of the tables.
        found: i64,
        /// The newest version that is known.
        known: i64,
    },
    /// `.within(&mut tx)`, and no courier would ever look there.
    #[error("the transaction is of another database than the outbox, where no courier would find the event")]
    OtherDatabase,
}

/// Where events wait. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Outbox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: Store,
    deeds: Deeds,
    /// Something may have been posted.
    hint: Notify,
    /// Something was settled.
    settled: Notify,
    /// Whether a courier serves the memory of its own accord.
    is_served: AtomicBool,
}

#[derive(Debug)]
enum Store {
    Memory {
        jobs: Box<Mutex<Memory>>,
        began: Instant,
    },
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    Database(Database),
}

impl Outbox {
    /// In memory, for at most `max` events: nothing is promised beyond the end of the process.
    pub fn in_memory(max: usize) -> Self {
        Self::with(Store::Memory { jobs: Box::new(Mutex::new(Memory::new(max))), began: Instant::now() })
    }

    /// In a SQLite database, through the application's own pool. Makes its tables, or brings them up to date.
    ///
    /// The file is put into WAL mode. See [`durable_sqlite`] for how to open it.
    ///
    /// # Errors
    ///
    /// When the database fails, or its tables are newer than this program.
    #[cfg(feature = "sqlite")]
    pub async fn sqlite(pool: sqlx::SqlitePool) -> Result<Self, OutboxError> {
        sqlx::query("PRAGMA journal_mode = WAL").execute(&pool).await?;
        let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&pool).await?;
        if synchronous < SYNCHRONOUS_FULL {
            tracing::warn!("SQLite is not synchronous = FULL: an event that was committed may be lost in a power cut");
        }
        Ok(Self::with(Store::Database(Database::open(Pool::Sqlite(pool)).await?)))
    }

    /// In a Postgres database, through the application's own pool. Makes its tables, or brings them up to date.
    ///
    /// # Errors
    ///
    /// When the database fails, or its tables are newer than this program.
    #[cfg(feature = "postgres")]
    pub async fn postgres(pool: sqlx::PgPool) -> Result<Self, OutboxError> {
        Ok(Self::with(Store::Database(Database::open(Pool::Postgres(pool)).await?)))
    }

    fn with(store: Store) -> Self {
        Self(Arc::new(Shared {
            store,
            deeds: Deeds::default(),
            hint: Notify::new(),
            settled: Notify::new(),
            is_served: AtomicBool::new(false),
        }))
    }

    /// What each queue holds.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn figures(&self) -> Result<BTreeMap<String, QueueFigures>, OutboxError> {
        let mut queues = match &self.0.store {
            Store::Memory { jobs, began } => jobs.lock().figures(clock(*began)),
            #[cfg(any(feature = "postgres", feature = "sqlite"))]
            Store::Database(database) => database.figures().await?,
        };
        self.0.deeds.add_to(&mut queues);
        Ok(queues)
    }

    /// The latest dead letters, at most `limit`.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn dead(&self, limit: usize) -> Result<Vec<DeadJob>, OutboxError> {
        match &self.0.store {
            Store::Memory { jobs, began } => Ok(jobs.lock().dead(limit, clock(*began))),
            #[cfg(any(feature = "postgres", feature = "sqlite"))]
            Store::Database(database) => database.dead(limit).await,
        }
    }

    /// Makes dead letters jobs again, with all their tries, and says how many. A job in memory is retried only while a
    /// courier runs.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn retry(&self, selection: &Selection) -> Result<u64, OutboxError> {
        let retried = match &self.0.store {
            Store::Memory { jobs, began } => jobs.lock().retry(selection, clock(*began)),
            #[cfg(any(feature = "postgres", feature = "sqlite"))]
            Store::Database(database) => database.retry(selection).await?,
        };
        self.0.hint.notify_waiters();
        Ok(retried)
    }

    /// Forgets dead letters, and says how many.
    ///
    /// # Errors
    ///
    /// When the database fails.
    pub async fn forget(&self, selection: &Selection) -> Result<u64, OutboxError> {
        match &self.0.store {
            Store::Memory { jobs, .. } => Ok(jobs.lock().forget(selection)),
            #[cfg(any(feature = "postgres", feature = "sqlite"))]
            Store::Database(database) => database.forget(selection).await,
        }
    }

    /// Writes jobs down, all or none.
    pub(crate) async fn post_all(&self, new: Vec<NewJob>) -> Result<Vec<Posted>, OutboxError> {
        let posted = match &self.0.store {
            Store::Memory { jobs, began } => {
                let mut jobs = jobs.lock();
                jobs.post_all(new, clock(*began)).map_err(|Full| OutboxError::Full { max: jobs.max() })?
            }
            #[cfg(any(feature = "postgres", feature = "sqlite"))]
            Store::Database(database) => database.post_all(&new).await?,
        };
        self.0.hint.notify_waiters();
        Ok(posted)
    }

    /// Writes jobs down in the application's own transaction.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) async fn post_within(
        &self,
        connection: &mut Connection<'_>,
        new: &[NewJob],
    ) -> Result<Vec<Posted>, OutboxError> {
        match &self.0.store {
            Store::Database(database) if database.dialect() == connection.dialect() => {}
            _ => return Err(OutboxError::OtherDatabase),
        }
        let posted = database::post_all(connection, new).await?;
        // The commit is still to come, and is not told of: a courier looks soon, and again and again.
        self.0.hint.notify_waiters();
        Ok(posted)
    }

    async fn claim(&self, claim: Claim<'_>) -> Result<Vec<Claimed>, OutboxError> {
        match &self.0.store {
            Store::Memory { jobs, began } => Ok(jobs.lock().claim(claim, clock(*began))),
            #[cfg(any(feature = "postgres", feature = "sqlite"))]
            Store::Database(database) => database.claim(claim).await,
        }
    }

    async fn settle(&self, settlements: &[(Ticket, Settlement)]) -> Result<(), OutboxError> {
        match &self.0.store {
            Store::Memory { jobs, began } => jobs.lock().settle(settlements, clock(*began)),
            #[cfg(any(feature = "postgres", feature = "sqlite"))]
            Store::Database(database) => database.settle(settlements).await?,
        }
        self.0.settled.notify_waiters();
        Ok(())
    }

    async fn sweep(&self) -> Result<(), OutboxError> {
        match &self.0.store {
            // It makes room when it needs some.
            Store::Memory { .. } => Ok(()),
            #[cfg(any(feature = "postgres", feature = "sqlite"))]
            Store::Database(database) => database.sweep().await,
        }
    }

    /// Whether a courier is to be started, because something waits in memory that nobody serves.
    pub(crate) fn wants_courier(&self) -> bool {
        matches!(self.0.store, Store::Memory { .. }) && !self.0.is_served.swap(true, SeqCst)
    }

    /// Jobs in memory, which end with the process.
    fn in_memory_len(&self) -> usize {
        match &self.0.store {
            Store::Memory { jobs, .. } => jobs.lock().len(),
            #[cfg(any(feature = "postgres", feature = "sqlite"))]
            Store::Database(_) => 0,
        }
    }

    /// Waits until nothing in memory is on its way, and says how many events are left, for a later attempt.
    pub(crate) async fn flush(&self, patience: Duration) -> usize {
        let (jobs, began) = match &self.0.store {
            Store::Memory { jobs, began } => (jobs, *began),
            #[cfg(any(feature = "postgres", feature = "sqlite"))]
            Store::Database(_) => return 0,
        };
        let quiet = async {
            loop {
                let settled = self.0.settled.notified();
                if !jobs.lock().is_busy(clock(began)) {
                    return;
                }
                settled.await;
            }
        };
        // Whatever is not done by then is counted.
        let _ = tokio::time::timeout(patience, quiet).await;
        self.in_memory_len()
    }
}

/// `PRAGMA synchronous` where each commit is on the disk before it is one.
#[cfg(feature = "sqlite")]
const SYNCHRONOUS_FULL: i64 = 2;
/// How long a writer waits for another one.
#[cfg(feature = "sqlite")]
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// How to open a SQLite file that holds an outbox: WAL, a commit that is on the disk (`synchronous = FULL`), and writers
/// that wait for each other for [`BUSY_TIMEOUT`]. The file is made where it is missing.
///
/// ```
/// # async fn open() -> Result<(), Box<dyn std::error::Error>> {
/// use campanile_broadcast::outbox::{Outbox, durable_sqlite};
/// use campanile_broadcast::sqlx::SqlitePool;
///
/// let db = SqlitePool::connect_with(durable_sqlite("shop.db")).await?;
/// let outbox = Outbox::sqlite(db.clone()).await?;
/// # Ok(()) }
/// ```
#[cfg(feature = "sqlite")]
pub fn durable_sqlite(file: impl AsRef<std::path::Path>) -> sqlx::sqlite::SqliteConnectOptions {
    sqlx::sqlite::SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
        .synchronous(sqlx::sqlite::SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true)
}

/// Milliseconds since an outbox in memory began: no setting of a clock disturbs it.
fn clock(began: Instant) -> i64 {
    millis(began.elapsed())
}
