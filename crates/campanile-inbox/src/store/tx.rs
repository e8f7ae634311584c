//! A transaction, and what its commit will tell.
//!
//! Owns the connection while it lasts. Never tells anything before the commit. The invariant: one moment holds for all
//! that a transaction does. Read on in [`super::writer`] for who begins and ends it.

use std::sync::Arc;

use uuid::Uuid;

use crate::changes::Change;
use crate::clock::Timestamp;
use crate::notification::State;
use crate::settings::{IDS_MAX, Settings};
use crate::store::connection::{Connection, Row, Value};
use crate::store::sql::{Dialect, Statement, sql};

/// A transaction that has begun.
#[derive(Debug)]
pub(crate) struct Tx {
    connection: Connection,
    pub(crate) now: Timestamp,
    pub(crate) settings: Arc<Settings>,
    /// What is told when it has committed.
    pub(crate) changes: Vec<Change>,
    /// Whether a courier has something to do once it has committed.
    pub(crate) has_work: bool,
    #[cfg(test)]
    pub(crate) loses_writer: bool,
    /// How many statements have changed something.
    writes: u64,
}

impl Tx {
    pub(crate) fn new(connection: Connection, settings: &Arc<Settings>) -> Self {
        let now = settings.clock.now();
        Self {
            connection,
            now,
            settings: Arc::clone(settings),
            changes: Vec::new(),
            has_work: false,
            #[cfg(test)]
            loses_writer: false,
            writes: 0,
        }
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.connection.dialect()
    }

    pub(crate) async fn fetch(&mut self, sql: &Statement, values: &[Value<'_>]) -> Result<Vec<Row>, sqlx::Error> {
        self.connection.fetch(sql, values).await
    }

    /// The first row.
    pub(crate) async fn row(&mut self, sql: &Statement, values: &[Value<'_>]) -> Result<Option<Row>, sqlx::Error> {
        Ok(self.connection.fetch(sql, values).await?.into_iter().next())
    }

    /// The first row's first number; nothing if there is none.
    pub(crate) async fn number(&mut self, sql: &Statement, values: &[Value<'_>]) -> Result<i64, sqlx::Error> {
        let row = self.row(sql, values).await?;
        Ok(row.map(|row| row.maybe_int(0)).transpose()?.flatten().unwrap_or(0))
    }

    /// Changes something, and says how many rows.
    pub(crate) async fn execute(&mut self, sql: &Statement, values: &[Value<'_>]) -> Result<u64, sqlx::Error> {
        let changed = self.connection.execute(sql, values).await?;
        self.writes += changed;
        Ok(changed)
    }

    /// Changes something, and gives what it returns.
    pub(crate) async fn changing(&mut self, sql: &Statement, values: &[Value<'_>]) -> Result<Vec<Row>, sqlx::Error> {
        let rows = self.connection.fetch(sql, values).await?;
        self.writes += rows.len() as u64;
        Ok(rows)
    }

    pub(crate) fn writes(&self) -> u64 {
        self.writes
    }

    pub(crate) async fn begin(&mut self, is_read: bool) -> Result<(), sqlx::Error> {
        let begin = match (self.dialect(), is_read) {
            // One that turns from reading to writing would fail at once, whatever the busy timeout is.
            (Dialect::Sqlite, false) => sql!("BEGIN IMMEDIATE"),
            (Dialect::Sqlite, true) => sql!("BEGIN"),
            (Dialect::Postgres, false) => sql!("BEGIN"),
            (Dialect::Postgres, true) => sql!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
        };
        self.connection.script(begin).await
    }

    pub(crate) async fn commit(&mut self) -> Result<(), sqlx::Error> {
        self.connection.script(sql!("COMMIT")).await
    }

    /// Undoes everything, and forgets what it would have told.
    pub(crate) async fn roll_back(&mut self) -> Result<(), sqlx::Error> {
        self.changes.clear();
        self.has_work = false;
        self.writes = 0;
        self.connection.script(sql!("ROLLBACK")).await
    }

    /// Gives the connection back, for the next transaction.
    pub(crate) fn into_connection(self) -> Connection {
        self.connection
    }

    /// Tells that a user's inbox is otherwise than before.
    pub(crate) fn updated(&mut self, app: &str, user: &str, state: State, mut changed: Vec<Uuid>, reset: bool) {
        let reset = reset || changed.len() > IDS_MAX;
        changed.truncate(IDS_MAX);
        self.changes.push(Change::Updated { app: app.to_owned(), user: user.to_owned(), state, changed, reset });
    }
}
