//! SQLite or Postgres.
//!
//! Owns which of the two it is, and whatever has to differ. Never holds a statement of the shop's: their text is the same
//! for both, with `$1` for the first value. The invariant: of two transactions from [`Db::begin`] that are alone at the same
//! [`Place`], one sees all or nothing of what the other does; on SQLite, of any two. Read on in [`super::orders`] for how the statements are run.

use std::fmt::{Display, Formatter, Result as FmtResult};
use std::path::Path;
use std::str::FromStr;

use campanile_broadcast::outbox::durable_sqlite;
use campanile_broadcast::{Outbox, OutboxError};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{ConnectOptions, Connection, PgPool, Postgres, Sqlite, SqlitePool, Transaction};

use super::StoreError;

pub(super) static SQLITE_MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");
pub(super) static POSTGRES_MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// Connections to the database. SQLite has one writer, and readers that do not wait for it.
const CONNECTIONS_MAX: u32 = 8;

/// The same thing of either database.
#[derive(Debug, Clone)]
pub(crate) enum Either<S, P> {
    Sqlite(S),
    Postgres(P),
}

/// The database. Cheap to clone.
pub(crate) type Db = Either<SqlitePool, PgPool>;
/// A transaction, to be given to `.within(..)`, too.
pub(crate) type Tx = Either<Transaction<'static, Sqlite>, Transaction<'static, Postgres>>;
/// Where the database is.
pub(crate) type Place = Either<SqliteConnectOptions, PgConnectOptions>;

/// Runs the same code with whichever it is: the compiler checks it for both.
macro_rules! either {
    ($either:expr, |$inner:ident| $body:expr) => {
        match $either {
            $crate::store::Either::Sqlite($inner) => $body,
            $crate::store::Either::Postgres($inner) => $body,
        }
    };
}
pub(crate) use either;

impl Place {
    /// A SQLite file, which is made where it is missing.
    pub(crate) fn file(path: &Path) -> Self {
        Self::Sqlite(durable_sqlite(path))
    }

    /// What a URL says: `sqlite:shop.db` or `postgres://user@host/shop`.
    pub(crate) fn parse(url: &str) -> Result<Self, StoreError> {
        match url.split_once(':') {
            Some(("sqlite", _)) => Ok(Self::file(SqliteConnectOptions::from_str(url)?.get_filename())),
            Some(("postgres" | "postgresql", _)) => Ok(Self::Postgres(PgConnectOptions::from_str(url)?)),
            // It is not shown: there may be a password in it.
            _ => Err(StoreError::Url),
        }
    }
}

impl Db {
    /// Connects, and brings the tables up to date.
    pub(super) async fn connect(place: Place) -> Result<Self, StoreError> {
        let db = match place {
            Place::Sqlite(options) => {
                Self::Sqlite(SqlitePoolOptions::new().max_connections(CONNECTIONS_MAX).connect_with(options).await?)
            }
            Place::Postgres(options) => {
                // One by itself first: a pool tries for half a minute, and then does not say why it was in vain.
                options.connect().await?.close().await?;
                Self::Postgres(PgPoolOptions::new().max_connections(CONNECTIONS_MAX).connect_with(options).await?)
            }
        };
        db.migrate().await?;
        Ok(db)
    }

    pub(super) async fn migrate(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(pool) => SQLITE_MIGRATIONS.run(pool).await?,
            Self::Postgres(pool) => POSTGRES_MIGRATIONS.run(pool).await?,
        }
        Ok(())
    }

    /// A transaction that means to write. SQLite is told so at once: one that begins as a reader and turns to writing
    /// later fails if another has written meanwhile.
    pub(crate) async fn begin(&self) -> sqlx::Result<Tx> {
        Ok(match self {
            Self::Sqlite(pool) => Tx::Sqlite(pool.begin_with("BEGIN IMMEDIATE").await?),
            Self::Postgres(pool) => Tx::Postgres(pool.begin().await?),
        })
    }

    /// The outbox, in tables of its own beside the shop's.
    pub(crate) async fn outbox(&self) -> Result<Outbox, OutboxError> {
        match self {
            Self::Sqlite(pool) => Outbox::sqlite(pool.clone()).await,
            Self::Postgres(pool) => Outbox::postgres(pool.clone()).await,
        }
    }
}

/// Where it is, without a password.
impl Display for Db {
    fn fmt(&self, f: &mut Formatter<'_>) -> FmtResult {
        match self {
            Self::Sqlite(pool) => write!(f, "the file {}", pool.connect_options().get_filename().display()),
            Self::Postgres(pool) => {
                let options = pool.connect_options();
                write!(f, "Postgres, database {:?}", options.get_database().unwrap_or(options.get_username()))
            }
        }
    }
}

impl Tx {
    /// Waits until no other transaction is at work on this, and keeps others waiting until it ends. SQLite does so for
    /// every transaction that writes.
    pub(crate) async fn alone_at(&mut self, what: &str) -> sqlx::Result<()> {
        if let Self::Postgres(tx) = self {
            let lock = sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))");
            lock.bind(what).execute(&mut **tx).await?;
        }
        Ok(())
    }

    pub(crate) async fn commit(self) -> sqlx::Result<()> {
        either!(self, |tx| tx.commit().await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_which_database_it_is_and_one_that_does_not_is_not_repeated() {
        for (url, file) in [("sqlite:shop.db", "shop.db"), ("sqlite:///var/lib/shop.db", "/var/lib/shop.db")] {
            let Ok(Place::Sqlite(options)) = Place::parse(url) else { panic!("{url} is a file") };
            assert_eq!(options.get_filename(), Path::new(file));
        }
        for url in ["postgres://shop:secret@db.internal/shop", "postgresql://db.internal/shop"] {
            let Ok(Place::Postgres(options)) = Place::parse(url) else { panic!("{url} is a server") };
            assert_eq!((options.get_host(), options.get_database()), ("db.internal", Some("shop")));
        }
        for url in ["mysql://shop:secret@db.internal/shop", "shop:secret@db.internal", "shop.db", ""] {
            let refusal = Place::parse(url).expect_err("it is neither").to_string();
            assert!(!refusal.contains("secret") && refusal.contains("postgres:"), "{refusal}");
        }
    }
}
