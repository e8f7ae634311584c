//! The shop's tables.
//!
//! Owns every statement but those of sessions. Never knows of pages. The invariant: what changes a row that somebody may
//! be looking at writes its event down in the same transaction. Read on in [`orders`], then [`documents`] and [`teams`].

pub(crate) mod documents;
pub(crate) mod orders;
mod seed;
pub(crate) mod teams;

use std::path::Path;

use campanile_broadcast::outbox::durable_sqlite;
use campanile_broadcast::{OutboxError, PublishError};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::SqlitePoolOptions;
use sqlx::{Sqlite, SqlitePool, Transaction};

pub(crate) use seed::{DEMO_PASSWORD, DEMO_USERS, SIMULATED_USERS};

static MIGRATIONS: Migrator = sqlx::migrate!();

/// Connections to the file: SQLite has one writer, and readers that do not wait for it.
const CONNECTIONS_MAX: u32 = 8;

/// Why something was not stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    #[error("the database's tables: {0}")]
    Migration(#[from] MigrateError),
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    #[error(transparent)]
    Event(#[from] PublishError),
    #[error("a password cannot be hashed: {0}")]
    Password(#[from] argon2::password_hash::Error),
}

/// Opens the database, brings its tables up to date, and fills a new one.
///
/// # Errors
///
/// When the file cannot be opened or is not ours.
pub(crate) async fn open(file: &Path) -> Result<SqlitePool, StoreError> {
    let db = SqlitePoolOptions::new().max_connections(CONNECTIONS_MAX).connect_with(durable_sqlite(file)).await?;
    MIGRATIONS.run(&db).await?;
    seed::fill(&db).await?;
    Ok(db)
}

/// A transaction that means to write. One that only turns to writing later fails at once if another has written.
pub(crate) async fn begin(db: &SqlitePool) -> sqlx::Result<Transaction<'static, Sqlite>> {
    db.begin_with("BEGIN IMMEDIATE").await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A database in memory with tables and nothing in them. One connection, because each would have its own.
    pub(crate) async fn empty() -> SqlitePool {
        let db = SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap();
        MIGRATIONS.run(&db).await.unwrap();
        db
    }

    #[tokio::test]
    async fn a_new_database_is_filled_and_one_that_has_users_is_left_alone() {
        let db = empty().await;
        let users = || sqlx::query_scalar::<_, i64>("SELECT count(*) FROM users").fetch_one(&db);
        seed::fill(&db).await.unwrap();
        let expected = i64::try_from(DEMO_USERS.len()).unwrap() + SIMULATED_USERS;
        assert_eq!(users().await.unwrap(), expected);
        seed::fill(&db).await.unwrap();
        assert_eq!(users().await.unwrap(), expected);
    }
}
