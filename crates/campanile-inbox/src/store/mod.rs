//! The store's own thread: its connections, and how a call becomes a transaction.
//!
//! Owns the databases' connections. Never decides anything about a notification: the operations in here's files do. The
//! invariant: nothing of this runs on a caller's thread. Reading order: [`sql`], [`connection`], [`tx`], [`writer`], then
//! [`users`] and [`rows`], on which the operations are built: [`arrivals`], [`marks`], [`announcements`], [`pages`], ..

pub(crate) mod accept;
pub(crate) mod announcements;
pub(crate) mod arrivals;
pub(crate) mod audiences;
pub(crate) mod backup;
pub(crate) mod connection;
pub(crate) mod deliveries;
pub(crate) mod jobs;
pub(crate) mod marks;
pub(crate) mod pages;
pub(crate) mod people;
pub(crate) mod preferences;
pub(crate) mod rows;
pub(crate) mod schema;
pub(crate) mod sql;
pub(crate) mod sweeps;
#[cfg(test)]
mod tests;
pub(crate) mod tx;
pub(crate) mod users;
pub(crate) mod writer;

use std::cell::RefCell;
use std::rc::Rc;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::changes::Queue;
use crate::error::{InboxError, OpenError};
use crate::settings::{Settings, StoreUrl, Synchronous};
use crate::store::connection::{Connection, Failure};
use crate::store::tx::Tx;
use crate::store::writer::{Local, Operation};

/// How long a call waits for a connection.
const ACQUIRE_MAX: Duration = Duration::from_secs(5);
/// How long SQLite waits for another program that has locked the file.
const BUSY_MAX: Duration = Duration::from_secs(5);
/// How often two transactions of Postgres may meet.
const COLLISIONS_MAX: u32 = 10;

/// What was counted since the start.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Figures {
    pub(crate) committed: u64,
    pub(crate) commits: u64,
    pub(crate) writers_replaced: u64,
}

#[derive(Debug)]
enum Pool {
    /// Those that read.
    Sqlite(sqlx::SqlitePool),
    Postgres(sqlx::PgPool),
}

/// Everything on the store's thread.
pub(crate) struct Core {
    pub(crate) settings: Arc<Settings>,
    pool: Pool,
    /// How the writer's connection is opened.
    pub(crate) sqlite: Option<SqliteConnectOptions>,
    /// Where the writer's operations wait; they are bounded at the door.
    writer: RefCell<Option<mpsc::UnboundedSender<Box<dyn Operation>>>>,
    supervisor: RefCell<Option<JoinHandle<()>>>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) figures: RefCell<Figures>,
    /// A courier has something to do.
    pub(crate) work: Notify,
}

impl std::fmt::Debug for Core {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Something that the store's thread is asked to do.
pub(crate) type Call = Box<dyn FnOnce(Rc<Core>) -> Local<'static, ()> + Send>;

impl Core {
    /// Opens the database and brings its tables up to date, if it may.
    pub(crate) async fn open(settings: Arc<Settings>, queue: Arc<Queue>) -> Result<Rc<Self>, OpenError> {
        let (pool, sqlite) = match &settings.store {
            StoreUrl::Sqlite(file) => {
                let wrong =
                    |error: &sqlx::Error| OpenError::File { file: file.clone(), reason: connection::reason(error) };
                let synchronous = match settings.synchronous {
                    Synchronous::Full => SqliteSynchronous::Full,
                    Synchronous::Normal => SqliteSynchronous::Normal,
                };
                let options = SqliteConnectOptions::new()
                    .filename(file)
                    .create_if_missing(settings.migrate)
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(synchronous)
                    .busy_timeout(BUSY_MAX)
                    .statement_cache_capacity(200)
                    .pragma("journal_size_limit", "67108864")
                    .foreign_keys(false);
                let mut writer = connection::sqlite(&options).await.map_err(|error| wrong(&error))?;
                schema::bring_up_to_date(&mut writer, settings.migrate)
                    .await
                    .map_err(|error| error.into_open(wrong))?;
                writer.discard().await;
                let pool = SqlitePoolOptions::new()
                    .max_connections(settings.limits.connections)
                    .acquire_timeout(ACQUIRE_MAX)
                    .connect_lazy_with(options.clone().create_if_missing(false).read_only(true));
                (Pool::Sqlite(pool), Some(options))
            }
            StoreUrl::Postgres(url) => {
                let options = PgConnectOptions::from_str(url).map_err(|error| OpenError::Url(error.to_string()))?;
                let options = options.options([
                    ("statement_timeout", "30s"),
                    ("idle_in_transaction_session_timeout", "60s"),
                    ("synchronous_commit", "on"),
                ]);
                let pool = PgPoolOptions::new()
                    .max_connections(settings.limits.connections)
                    .acquire_timeout(ACQUIRE_MAX)
                    .connect_lazy_with(options.application_name("campanile-inbox"));
                let wrong = |error: &sqlx::Error| OpenError::Database(connection::reason(error));
                let mut first = Connection::Postgres(pool.acquire().await.map_err(|error| wrong(&error))?);
                schema::bring_up_to_date(&mut first, settings.migrate).await.map_err(|error| error.into_open(wrong))?;
                (Pool::Postgres(pool), None)
            }
        };
        let core = Rc::new(Self {
            settings,
            pool,
            sqlite,
            writer: RefCell::new(None),
            supervisor: RefCell::new(None),
            queue,
            figures: RefCell::default(),
            work: Notify::new(),
        });
        if core.sqlite.is_some() {
            let (sender, receiver) = mpsc::unbounded_channel();
            *core.writer.borrow_mut() = Some(sender);
            let supervisor = tokio::task::spawn_local(writer::supervise(Rc::clone(&core), receiver));
            *core.supervisor.borrow_mut() = Some(supervisor);
            // What this file's last process held when it died is nobody's any more.
            let released = core.write(async |tx: &mut Tx| sweeps::release(tx).await).await;
            released.map_err(|error| OpenError::Database(error.to_string()))?;
        }
        Ok(core)
    }

    /// Does something in a transaction that writes.
    pub(crate) async fn write<T, F>(self: &Rc<Self>, operation: F) -> Result<T, InboxError>
    where
        T: 'static,
        F: AsyncFn(&mut Tx) -> Result<T, Failure> + 'static,
    {
        let (operation, answer) = writer::operation(operation);
        let sender = self.writer.borrow().clone();
        match (sender, &self.pool) {
            (Some(sender), _) => drop(sender.send(operation)),
            (None, Pool::Postgres(_)) => {
                let core = Rc::clone(self);
                // Whoever waits may go; the transaction is ended all the same.
                tokio::task::spawn_local(async move { core.write_to_postgres(operation).await });
            }
            (None, Pool::Sqlite(_)) => return Err(closed()),
        }
        self.in_time(answer).await
    }

    async fn in_time<T>(&self, answer: oneshot::Receiver<Result<T, InboxError>>) -> Result<T, InboxError> {
        match tokio::time::timeout(self.settings.limits.call_timeout, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(InboxError::Unavailable { reason: "the writer was lost before it answered".to_owned() }),
            Err(_) => Err(InboxError::Unavailable {
                reason: format!("no answer within {} s", self.settings.limits.call_timeout.as_secs_f32()),
            }),
        }
    }

    async fn write_to_postgres(self: Rc<Self>, mut operation: Box<dyn Operation>) {
        let mut collisions = 0;
        let failure = loop {
            match self.attempt(operation.as_mut()).await {
                Ok(()) => break None,
                Err(failure) if failure.is_a_collision() && collisions < COLLISIONS_MAX => {
                    collisions += 1;
                    tokio::time::sleep(Duration::from_millis(u64::from(collisions))).await;
                }
                Err(failure) => break Some(failure.told()),
            }
        };
        let mut figures = self.figures.borrow_mut();
        figures.committed += 1;
        figures.commits += 1;
        drop(figures);
        operation.answer(failure);
    }

    async fn attempt(&self, operation: &mut dyn Operation) -> Result<(), Failure> {
        let mut tx = Tx::new(self.acquire().await?, &self.settings);
        let done = async {
            tx.begin(false).await?;
            match writer::contained(operation.run(&mut tx)).await {
                Ok(done) => done?,
                Err(panic) => return Err(Failure::Broken(format!("the program has gone wrong: {panic}"))),
            }
            tx.commit().await.map_err(Failure::from)
        }
        .await;
        match done {
            Ok(()) => {
                if tx.has_work {
                    self.work.notify_one();
                }
                self.queue.tell(std::mem::take(&mut tx.changes));
                Ok(())
            }
            Err(failure) => {
                if tx.roll_back().await.is_err() {
                    tx.into_connection().discard().await;
                }
                Err(failure)
            }
        }
    }

    async fn acquire(&self) -> Result<Connection, sqlx::Error> {
        match &self.pool {
            Pool::Sqlite(pool) => pool.acquire().await.map(Connection::SqliteReader),
            Pool::Postgres(pool) => pool.acquire().await.map(Connection::Postgres),
        }
    }

    /// Looks something up, in one snapshot.
    pub(crate) async fn read<T, F>(self: &Rc<Self>, look: F) -> Result<T, InboxError>
    where
        T: 'static,
        F: AsyncFn(&mut Tx) -> Result<T, Failure> + 'static,
    {
        let core = Rc::clone(self);
        let (reply, answer) = oneshot::channel();
        tokio::task::spawn_local(async move {
            // Whoever has gone does not want to know.
            let _ = reply.send(core.look(look).await.map_err(|failure| failure.told()));
        });
        self.in_time(answer).await
    }

    async fn look<T>(&self, look: impl AsyncFn(&mut Tx) -> Result<T, Failure>) -> Result<T, Failure> {
        let mut tx = Tx::new(self.acquire().await?, &self.settings);
        let found = match tx.begin(true).await {
            Ok(()) => writer::contained(look(&mut tx)).await,
            Err(error) => Ok(Err(error.into())),
        };
        if tx.roll_back().await.is_err() {
            tx.into_connection().discard().await;
        }
        found.unwrap_or_else(|panic| Err(Failure::Broken(format!("the program has gone wrong: {panic}"))))
    }

    /// Ends what is to be written, and closes every connection.
    pub(crate) async fn close(&self) {
        // The writer ends when it has answered what waits.
        drop(self.writer.borrow_mut().take());
        let supervisor = self.supervisor.borrow_mut().take();
        if let Some(supervisor) = supervisor {
            // It contains every panic of its own, and nobody aborts it.
            let _ = supervisor.await;
        }
        match &self.pool {
            Pool::Sqlite(pool) => pool.close().await,
            Pool::Postgres(pool) => pool.close().await,
        }
        self.queue.close();
    }
}

pub(crate) fn closed() -> InboxError {
    InboxError::Unavailable { reason: "the inbox is closed".to_owned() }
}
