//! One way to speak to SQLite and to Postgres, within a transaction.
//!
//! Owns the difference between the two at the level of values, rows and failures. Never holds SQL about notifications.
//! The invariant: a connection whose transaction has not ended well is never used again. Read on in [`super::sql`].

use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{ConnectOptions as _, Connection as _, Postgres, Row as _, Sqlite, SqliteConnection};

use crate::error::InboxError;
use crate::store::sql::{Dialect, Statement};

/// Why something was not done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It may not be done, and nothing was written.
    Refused(InboxError),
    /// The database did not do it.
    Database(sqlx::Error),
    /// What is stored cannot be understood, or the program has gone wrong.
    Broken(String),
}

impl From<InboxError> for Failure {
    fn from(error: InboxError) -> Self {
        Self::Refused(error)
    }
}

impl From<crate::error::Mistake> for Failure {
    fn from(mistake: crate::error::Mistake) -> Self {
        Self::Refused(mistake.into())
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Broken(format!("what is stored cannot be read: {error}"))
    }
}

impl Failure {
    /// Whether the database is away, full or read-only, so that nothing else would be done by it, either.
    pub(crate) fn is_of_the_database(&self) -> bool {
        let Self::Database(error) = self else { return false };
        let Some(code) = error.as_database_error().and_then(|error| error.code()) else {
            return !matches!(error, sqlx::Error::ColumnDecode { .. } | sqlx::Error::ColumnNotFound(_));
        };
        // Postgres' codes have five characters. SQLite's: busy, locked, out of memory, read-only, interrupted, I/O,
        // corrupt, full, cannot open, no database.
        if code.len() < 5 {
            return code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5..=11 | 13 | 14 | 26));
        }
        // Connection, resources, the operator, the system; a transaction that was lost; one that only reads.
        ["08", "53", "57", "58", "40"].iter().any(|class| code.starts_with(class)) || code == "25006"
    }

    /// Whether the same again may be done: two transactions have met.
    pub(crate) fn is_a_collision(&self) -> bool {
        let Self::Database(error) = self else { return false };
        error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "40001" || code == "40P01")
    }

    /// What a caller is told.
    pub(crate) fn told(&self) -> InboxError {
        match self {
            Self::Refused(error) => error.clone(),
            Self::Database(error) if self.is_of_the_database() => InboxError::Unavailable { reason: reason(error) },
            Self::Database(error) => InboxError::Broken { reason: reason(error) },
            Self::Broken(reason) => InboxError::Broken { reason: reason.clone() },
        }
    }
}

/// What went wrong, for an operator; what to do is known for what is common.
pub(crate) fn reason(error: &sqlx::Error) -> String {
    let what_to_do = match error.as_database_error().and_then(|error| error.code()).as_deref() {
        Some("13") => ": the disk is full, or the file is at its limit; make room, and it goes on by itself",
        Some("8" | "264" | "520" | "776" | "1032" | "1544") => ": give the server the right to write there",
        Some("778" | "266" | "522" | "1034" | "1290") => ": the disk does not take or give what it should; look there",
        Some("25006") => ": this Postgres only reads, as a standby does; give the address of the primary",
        _ => "",
    };
    let error = match error {
        sqlx::Error::PoolTimedOut => "no connection could be had in time".to_owned(),
        error => error.to_string(),
    };
    format!("{error}{what_to_do}")
}

/// What a statement is given.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value<'v> {
    Int(i64),
    Text(&'v str),
    MaybeInt(Option<i64>),
    MaybeText(Option<&'v str>),
}

impl From<i64> for Value<'_> {
    fn from(int: i64) -> Self {
        Self::Int(int)
    }
}

impl From<crate::Timestamp> for Value<'_> {
    fn from(moment: crate::Timestamp) -> Self {
        Self::Int(moment.millis())
    }
}

impl From<Option<crate::Timestamp>> for Value<'_> {
    fn from(moment: Option<crate::Timestamp>) -> Self {
        Self::MaybeInt(moment.map(crate::Timestamp::millis))
    }
}

impl From<Option<i64>> for Value<'_> {
    fn from(int: Option<i64>) -> Self {
        Self::MaybeInt(int)
    }
}

impl<'v> From<&'v str> for Value<'v> {
    fn from(text: &'v str) -> Self {
        Self::Text(text)
    }
}

impl<'v> From<&'v String> for Value<'v> {
    fn from(text: &'v String) -> Self {
        Self::Text(text)
    }
}

impl<'v> From<Option<&'v str>> for Value<'v> {
    fn from(text: Option<&'v str>) -> Self {
        Self::MaybeText(text)
    }
}

/// The values of one statement, in order.
macro_rules! values {
    ($($value:expr),* $(,)?) => { &[$($crate::store::connection::Value::from($value)),*] };
}
pub(crate) use values;

/// What a statement gives.
#[derive(Debug)]
pub(crate) enum Row {
    Sqlite(sqlx::sqlite::SqliteRow),
    Postgres(sqlx::postgres::PgRow),
}

macro_rules! get {
    ($row:expr, $at:expr) => {
        match $row {
            Row::Sqlite(row) => row.try_get($at),
            Row::Postgres(row) => row.try_get($at),
        }
    };
}

impl Row {
    pub(crate) fn int(&self, at: usize) -> Result<i64, sqlx::Error> {
        get!(self, at)
    }

    pub(crate) fn maybe_int(&self, at: usize) -> Result<Option<i64>, sqlx::Error> {
        get!(self, at)
    }

    pub(crate) fn text(&self, at: usize) -> Result<String, sqlx::Error> {
        get!(self, at)
    }

    pub(crate) fn maybe_text(&self, at: usize) -> Result<Option<String>, sqlx::Error> {
        get!(self, at)
    }

    pub(crate) fn moment(&self, at: usize) -> Result<crate::Timestamp, sqlx::Error> {
        self.int(at).map(crate::Timestamp::from_millis)
    }

    pub(crate) fn maybe_moment(&self, at: usize) -> Result<Option<crate::Timestamp>, sqlx::Error> {
        Ok(self.maybe_int(at)?.map(crate::Timestamp::from_millis))
    }
}

/// A connection that is ours.
#[derive(Debug)]
pub(crate) enum Connection {
    /// The one that writes.
    Sqlite(SqliteConnection),
    SqliteReader(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

macro_rules! bound {
    ($sql:expr, $values:expr) => {
        $values.iter().fold(sqlx::query($sql), |query, value| match *value {
            Value::Int(int) => query.bind(int),
            Value::Text(text) => query.bind(text),
            Value::MaybeInt(int) => query.bind(int),
            Value::MaybeText(text) => query.bind(text),
        })
    };
}

/// A statement that takes longer has been lost with its connection.
const STATEMENT_MAX: Duration = Duration::from_secs(60);
/// How long the copy of a database may take.
const COPY_MAX: Duration = Duration::from_secs(6 * 60 * 60);

impl Connection {
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) | Self::SqliteReader(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    pub(crate) async fn fetch(&mut self, sql: &Statement, values: &[Value<'_>]) -> Result<Vec<Row>, sqlx::Error> {
        let text = sql.of(self.dialect());
        in_time(async {
            match self {
                Self::Sqlite(connection) => {
                    let rows = bound!(text, values).fetch_all(connection).await?;
                    Ok(rows.into_iter().map(Row::Sqlite).collect())
                }
                Self::SqliteReader(connection) => {
                    let rows = bound!(text, values).fetch_all(&mut **connection).await?;
                    Ok(rows.into_iter().map(Row::Sqlite).collect())
                }
                Self::Postgres(connection) => {
                    let rows = bound!(text, values).fetch_all(&mut **connection).await?;
                    Ok(rows.into_iter().map(Row::Postgres).collect())
                }
            }
        })
        .await
    }

    pub(crate) async fn execute(&mut self, sql: &Statement, values: &[Value<'_>]) -> Result<u64, sqlx::Error> {
        let text = sql.of(self.dialect());
        in_time(async {
            match self {
                Self::Sqlite(connection) => Ok(bound!(text, values).execute(connection).await?.rows_affected()),
                Self::SqliteReader(connection) => {
                    Ok(bound!(text, values).execute(&mut **connection).await?.rows_affected())
                }
                Self::Postgres(connection) => {
                    Ok(bound!(text, values).execute(&mut **connection).await?.rows_affected())
                }
            }
        })
        .await
    }

    /// Copies a SQLite database, which takes its time.
    pub(crate) async fn copy_to(&mut self, file: &str) -> Result<(), sqlx::Error> {
        let Self::Sqlite(connection) = self else {
            return Err(sqlx::Error::Configuration("only SQLite is copied".into()));
        };
        let copy = sqlx::query("VACUUM INTO $1").bind(file).execute(connection);
        tokio::time::timeout(COPY_MAX, copy).await.unwrap_or_else(|_| Err(lost())).map(drop)
    }

    /// Several statements without values.
    pub(crate) async fn script(&mut self, sql: &Statement) -> Result<(), sqlx::Error> {
        let text = sql.of(self.dialect());
        in_time(async {
            match self {
                Self::Sqlite(connection) => sqlx::raw_sql(text).execute(connection).await.map(drop),
                Self::SqliteReader(connection) => sqlx::raw_sql(text).execute(&mut **connection).await.map(drop),
                Self::Postgres(connection) => sqlx::raw_sql(text).execute(&mut **connection).await.map(drop),
            }
        })
        .await
    }

    /// Ends it, whatever it was doing.
    pub(crate) async fn discard(self) {
        match self {
            // It is of no use any more, so how it ends does not matter.
            Self::Sqlite(connection) => drop(tokio::time::timeout(STATEMENT_MAX, connection.close()).await),
            Self::SqliteReader(connection) => drop(connection.detach()),
            Self::Postgres(connection) => drop(connection.detach()),
        }
    }
}

async fn in_time<T>(statement: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    tokio::time::timeout(STATEMENT_MAX, statement).await.unwrap_or_else(|_| Err(lost()))
}

fn lost() -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "a statement was lost"))
}

/// Opens the connection that writes.
pub(crate) async fn sqlite(options: &sqlx::sqlite::SqliteConnectOptions) -> Result<Connection, sqlx::Error> {
    options.connect().await.map(Connection::Sqlite)
}
