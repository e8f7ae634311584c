//! The shop's tables.
//!
//! Owns every statement but those of sessions. Never knows of pages. The invariant: what changes a row that somebody may
//! be looking at writes its event down in the same transaction. Read on in [`orders`], then [`documents`] and [`teams`];
//! `database.rs` is what makes the same statements run on SQLite and on Postgres.

mod database;
pub(crate) mod documents;
pub(crate) mod orders;
#[cfg(test)]
#[path = "../../../../crates/campanile-broadcast/tests/support/postgres.rs"]
mod postgres;
mod seed;
pub(crate) mod teams;

use campanile_broadcast::{OutboxError, PublishError};
use sqlx::migrate::MigrateError;

pub(crate) use database::{Db, Either, Place, Tx, either};
pub(crate) use seed::{DEMO_PASSWORD, DEMO_USERS, SIMULATED_USERS};

/// Why something was not stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    #[error("the database's URL begins with postgres: or sqlite:")]
    Url,
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
/// When it cannot be opened or is not ours.
pub(crate) async fn open(place: Place) -> Result<Db, StoreError> {
    let db = Db::connect(place).await?;
    seed::fill(&db).await?;
    Ok(db)
}

#[cfg(test)]
mod tests {
    use sqlx::sqlite::SqlitePoolOptions;

    use super::*;

    /// A database in memory with tables and nothing in them. One connection, because each would have its own.
    pub(crate) async fn sqlite() -> Db {
        let db = Db::Sqlite(SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap());
        db.migrate().await.unwrap();
        db
    }

    /// The same tables in a schema of their own, on a server that ends with the tests.
    pub(crate) async fn postgres() -> Db {
        let db = Db::Postgres(postgres::pool().await);
        db.migrate().await.unwrap();
        db
    }

    /// Makes each promise a test on SQLite and one on Postgres.
    macro_rules! on_both {
        ($($promise:ident)*) => {
            mod on_sqlite {
                $(#[tokio::test] async fn $promise() { super::$promise($crate::store::tests::sqlite().await).await; })*
            }
            mod on_postgres {
                $(#[tokio::test] async fn $promise() { super::$promise($crate::store::tests::postgres().await).await; })*
            }
        };
    }
    pub(crate) use on_both;

    on_both! {
        a_new_database_is_filled_and_one_that_has_users_is_left_alone
        two_who_fill_a_new_database_at_once_fill_it_once
    }

    async fn users(db: &Db) -> i64 {
        either!(db, |db| sqlx::query_scalar("SELECT count(*) FROM users").fetch_one(db).await).unwrap()
    }

    fn all_users() -> i64 {
        i64::try_from(DEMO_USERS.len()).unwrap() + SIMULATED_USERS
    }

    async fn a_new_database_is_filled_and_one_that_has_users_is_left_alone(db: Db) {
        for _ in 0..2 {
            seed::fill(&db).await.unwrap();
            assert_eq!(users(&db).await, all_users());
        }
        // What the front end and its tests count on: the first order of a demo user who has several left long ago.
        let orders = orders::of_user(&db, 1).await.unwrap();
        assert_eq!(orders.last().unwrap().tracking_number.as_deref(), Some("FP00000001"));
        assert!(orders.last().unwrap().placed_at < orders[0].placed_at);
    }

    async fn two_who_fill_a_new_database_at_once_fill_it_once(db: Db) {
        let (one, other) = tokio::join!(seed::fill(&db), seed::fill(&db));
        assert!(one.is_ok() && other.is_ok(), "{one:?}, {other:?}");
        assert_eq!(users(&db).await, all_users());
    }
}
