//! One way to speak to SQLite and to Postgres.
//!
//! Owns the difference between the two at the level of values and rows. Never holds SQL of its own. The invariant: what
//! is done within an application's transaction commits or not with it, and nothing else is done on its connection. Read
//! on in [`super::sql`].

#[cfg(feature = "postgres")]
use sqlx::PgConnection;
#[cfg(feature = "sqlite")]
use sqlx::SqliteConnection;
use sqlx::{Error, Row as _};

/// A transaction of the application in which an event can be written down: `&mut` sqlx's for SQLite or Postgres.
///
/// With SQLite begin it with `db.begin_with("BEGIN IMMEDIATE")`: a transaction that begins as a reader and then writes
/// fails if anybody else has written meanwhile.
///
/// Where the transaction is a `&mut Transaction` already, `&mut *tx` lends it on, as sqlx's own methods need it, too.
///
/// A pool, or a connection outside a transaction, is refused by the compiler:
///
/// ```compile_fail,E0277
/// # use campanile_broadcast::{Broadcast, Campanile, Channel, sqlx::SqlitePool};
/// # #[derive(Channel)] #[channel("news")] struct News;
/// # #[derive(serde::Serialize, Broadcast)] #[broadcast(on = [News])] struct Published;
/// # async fn publish(campanile: Campanile, db: SqlitePool) {
/// campanile.broadcast(Published).within(&db).await;
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "an event is written down within a transaction of sqlx, not within `{Self}`",
    label = "expected `&mut tx`, of a `sqlx::Transaction<'_, Sqlite>` or `sqlx::Transaction<'_, Postgres>`",
    note = "begin one with `db.begin_with(\"BEGIN IMMEDIATE\").await?` (SQLite) or `db.begin().await?` (Postgres), and pass `&mut tx`",
    note = "where there is no transaction, `.send().await` writes the event down by itself"
)]
pub trait OutboxTransaction: sealed::Sealed + Send {
    /// The connection.
    #[doc(hidden)]
    fn connection(&mut self) -> Connection<'_>;
}

mod sealed {
    pub trait Sealed {}
}

#[cfg(feature = "sqlite")]
impl sealed::Sealed for &mut sqlx::Transaction<'_, sqlx::Sqlite> {}

#[cfg(feature = "sqlite")]
impl OutboxTransaction for &mut sqlx::Transaction<'_, sqlx::Sqlite> {
    fn connection(&mut self) -> Connection<'_> {
        Connection(Any::Sqlite(self))
    }
}

#[cfg(feature = "postgres")]
impl sealed::Sealed for &mut sqlx::Transaction<'_, sqlx::Postgres> {}

#[cfg(feature = "postgres")]
impl OutboxTransaction for &mut sqlx::Transaction<'_, sqlx::Postgres> {
    fn connection(&mut self) -> Connection<'_> {
        Connection(Any::Postgres(self))
    }
}

/// Which database it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    #[cfg(feature = "sqlite")]
    Sqlite,
    #[cfg(feature = "postgres")]
    Postgres,
}

/// A connection to one of the two.
#[derive(Debug)]
pub struct Connection<'c>(Any<'c>);

#[derive(Debug)]
enum Any<'c> {
    #[cfg(feature = "sqlite")]
    Sqlite(&'c mut SqliteConnection),
    #[cfg(feature = "postgres")]
    Postgres(&'c mut PgConnection),
}

/// What a statement is given.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'v> {
    Int(i64),
    Text(&'v str),
    Maybe(Option<&'v str>),
    MaybeInt(Option<i64>),
}

/// What a statement gives.
#[derive(Debug)]
pub(crate) enum Row {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::sqlite::SqliteRow),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::postgres::PgRow),
}

macro_rules! get {
    ($row:expr, $at:expr) => {
        match $row {
            #[cfg(feature = "sqlite")]
            Row::Sqlite(row) => row.try_get($at),
            #[cfg(feature = "postgres")]
            Row::Postgres(row) => row.try_get($at),
        }
    };
}

impl Row {
    pub(crate) fn int(&self, at: usize) -> Result<i64, Error> {
        get!(self, at)
    }

    pub(crate) fn maybe_int(&self, at: usize) -> Result<Option<i64>, Error> {
        get!(self, at)
    }

    pub(crate) fn text(&self, at: usize) -> Result<String, Error> {
        get!(self, at)
    }
}

macro_rules! bound {
    ($sql:expr, $values:expr) => {
        $values.iter().fold(sqlx::query($sql), |query, value| match *value {
            Value::Int(int) => query.bind(int),
            Value::Text(text) => query.bind(text),
            Value::Maybe(text) => query.bind(text),
            Value::MaybeInt(int) => query.bind(int),
        })
    };
}

impl Connection<'_> {
    pub(crate) fn dialect(&self) -> Dialect {
        match &self.0 {
            #[cfg(feature = "sqlite")]
            Any::Sqlite(_) => Dialect::Sqlite,
            #[cfg(feature = "postgres")]
            Any::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Rows.
    pub(crate) async fn fetch(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<Vec<Row>, Error> {
        match &mut self.0 {
            #[cfg(feature = "sqlite")]
            Any::Sqlite(connection) => {
                let rows = bound!(sql, values).fetch_all(&mut **connection).await?;
                Ok(rows.into_iter().map(Row::Sqlite).collect())
            }
            #[cfg(feature = "postgres")]
            Any::Postgres(connection) => {
                let rows = bound!(sql, values).fetch_all(&mut **connection).await?;
                Ok(rows.into_iter().map(Row::Postgres).collect())
            }
        }
    }

    /// How many rows it has changed.
    pub(crate) async fn execute(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<u64, Error> {
        match &mut self.0 {
            #[cfg(feature = "sqlite")]
            Any::Sqlite(connection) => Ok(bound!(sql, values).execute(&mut **connection).await?.rows_affected()),
            #[cfg(feature = "postgres")]
            Any::Postgres(connection) => Ok(bound!(sql, values).execute(&mut **connection).await?.rows_affected()),
        }
    }

    /// Several statements without values.
    pub(crate) async fn script(&mut self, sql: &'static str) -> Result<(), Error> {
        match &mut self.0 {
            #[cfg(feature = "sqlite")]
            Any::Sqlite(connection) => sqlx::raw_sql(sql).execute(&mut **connection).await.map(drop),
            #[cfg(feature = "postgres")]
            Any::Postgres(connection) => sqlx::raw_sql(sql).execute(&mut **connection).await.map(drop),
        }
    }
}

/// The application's connections, which the outbox shares.
#[derive(Debug, Clone)]
pub(crate) enum Pool {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::SqlitePool),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::PgPool),
}

/// A transaction of the outbox itself.
#[derive(Debug)]
pub(crate) enum Transaction {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::Transaction<'static, sqlx::Sqlite>),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
}

impl Pool {
    /// Begins a transaction that writes.
    pub(crate) async fn begin(&self) -> Result<Transaction, Error> {
        match self {
            // A transaction that turns from reading to writing would fail at once, whatever the busy timeout is.
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool) => pool.begin_with("BEGIN IMMEDIATE").await.map(Transaction::Sqlite),
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => pool.begin().await.map(Transaction::Postgres),
        }
    }

    /// A connection for single statements.
    pub(crate) async fn acquire(&self) -> Result<Acquired, Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(pool) => pool.acquire().await.map(Acquired::Sqlite),
            #[cfg(feature = "postgres")]
            Self::Postgres(pool) => pool.acquire().await.map(Acquired::Postgres),
        }
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => Dialect::Sqlite,
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => Dialect::Postgres,
        }
    }
}

impl Transaction {
    pub(crate) fn connection(&mut self) -> Connection<'_> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(transaction) => Connection(Any::Sqlite(transaction)),
            #[cfg(feature = "postgres")]
            Self::Postgres(transaction) => Connection(Any::Postgres(transaction)),
        }
    }

    pub(crate) async fn commit(self) -> Result<(), Error> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(transaction) => transaction.commit().await,
            #[cfg(feature = "postgres")]
            Self::Postgres(transaction) => transaction.commit().await,
        }
    }
}

/// A connection out of the pool.
#[derive(Debug)]
pub(crate) enum Acquired {
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::pool::PoolConnection<sqlx::Sqlite>),
    #[cfg(feature = "postgres")]
    Postgres(sqlx::pool::PoolConnection<sqlx::Postgres>),
}

impl Acquired {
    pub(crate) fn connection(&mut self) -> Connection<'_> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(connection) => Connection(Any::Sqlite(connection)),
            #[cfg(feature = "postgres")]
            Self::Postgres(connection) => Connection(Any::Postgres(connection)),
        }
    }
}
