//! The application's own database, with an outbox in it.

use std::time::Duration;

use campanile_broadcast::outbox::durable_sqlite;
use campanile_broadcast::{Campanile, Outbox, PublishError, Published, Settings};
use sqlx::{PgPool, SqlitePool};
use tempfile::TempDir;

use crate::postgres;
use crate::stage::{Noted, Said, within};

/// One of the two.
#[derive(Debug)]
pub(crate) enum Database {
    Sqlite { pool: SqlitePool, _directory: TempDir },
    Postgres { pool: PgPool },
}

impl Database {
    pub(crate) async fn sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let pool = SqlitePool::connect_with(durable_sqlite(directory.path().join("shop.db"))).await.unwrap();
        Self::Sqlite { pool, _directory: directory }
    }

    pub(crate) async fn postgres() -> Self {
        Self::Postgres { pool: postgres::pool().await }
    }

    pub(crate) async fn outbox(&self) -> Outbox {
        let opened = match self {
            Self::Sqlite { pool, .. } => Outbox::sqlite(pool.clone()).await,
            Self::Postgres { pool } => Outbox::postgres(pool.clone()).await,
        };
        opened.unwrap()
    }

    pub(crate) async fn campanile(&self, settings: Settings) -> Campanile {
        Campanile::with_outbox(settings, self.outbox().await).unwrap()
    }

    /// Writes an event down in a transaction, which then commits or not.
    pub(crate) async fn write_down(
        &self,
        campanile: &Campanile,
        event: Said,
        commits: bool,
    ) -> Result<Published, PublishError> {
        match self {
            Self::Sqlite { pool, .. } => {
                let mut tx = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
                let published = campanile.broadcast(event).within(&mut tx).await;
                if commits { tx.commit().await } else { tx.rollback().await }.unwrap();
                published
            }
            Self::Postgres { pool } => {
                let mut tx = pool.begin().await.unwrap();
                let published = campanile.broadcast(event).within(&mut tx).await;
                if commits { tx.commit().await } else { tx.rollback().await }.unwrap();
                published
            }
        }
    }

    /// Writes a notification down in a transaction, which then commits or not.
    pub(crate) async fn notify(
        &self,
        campanile: &Campanile,
        user: &str,
        notification: Noted,
        commits: bool,
    ) -> Result<Published, PublishError> {
        match self {
            Self::Sqlite { pool, .. } => {
                let mut tx = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
                let published = campanile.notify(user, notification).within(&mut tx).await;
                if commits { tx.commit().await } else { tx.rollback().await }.unwrap();
                published
            }
            Self::Postgres { pool } => {
                let mut tx = pool.begin().await.unwrap();
                let published = campanile.notify(user, notification).within(&mut tx).await;
                if commits { tx.commit().await } else { tx.rollback().await }.unwrap();
                published
            }
        }
    }

    /// Does something to the tables that no program of ours would.
    pub(crate) async fn meddle(&self, sql: &'static str) {
        match self {
            Self::Sqlite { pool, .. } => drop(sqlx::query(sql).execute(pool).await.unwrap()),
            Self::Postgres { pool } => drop(sqlx::query(sql).execute(pool).await.unwrap()),
        }
    }
}

/// Waits until the outbox has so many dead letters and nothing else.
pub(crate) async fn dead(outbox: &Outbox, count: usize) {
    let dying = async {
        while outbox.dead(100).await.unwrap().len() != count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(dying).await;
}

/// Waits until nothing is left in the outbox.
pub(crate) async fn empty(outbox: &Outbox) {
    let emptying = async {
        loop {
            let figures = outbox.figures().await.unwrap();
            if figures.values().all(|queue| queue.ready + queue.leased + queue.waiting == 0) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(emptying).await;
}
