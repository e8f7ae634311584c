//! The tables, and how they come from one version to the next.
//!
//! Owns the migrations. Never touches tables of a newer program. The invariant: a migration is done in one transaction,
//! or not at all.

use crate::error::OpenError;
use crate::store::connection::{Connection, values};
use crate::store::sql::{Dialect, Statement, sql};

/// What brings the tables from each version to the next. Only ever appended to.
static MIGRATIONS: [Statement; 1] = [Statement::new(include_str!("migrations/0001.sql"))];

pub(crate) enum SchemaError {
    Database(sqlx::Error),
    Tables(OpenError),
}

impl From<sqlx::Error> for SchemaError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl SchemaError {
    pub(crate) fn into_open(self, wrong: impl FnOnce(&sqlx::Error) -> OpenError) -> OpenError {
        match self {
            Self::Database(error) => wrong(&error),
            Self::Tables(error) => error,
        }
    }
}

pub(crate) async fn bring_up_to_date(connection: &mut Connection, may_migrate: bool) -> Result<(), SchemaError> {
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let found = version(connection).await?;
    if found == known {
        return Ok(());
    }
    if found > known {
        return Err(SchemaError::Tables(OpenError::NewerTables { found, known }));
    }
    if !may_migrate {
        return Err(SchemaError::Tables(OpenError::OlderTables { found, known }));
    }
    let dialect = connection.dialect();
    connection.script(if dialect == Dialect::Sqlite { sql!("BEGIN IMMEDIATE") } else { sql!("BEGIN") }).await?;
    let migrated = migrate(connection, known).await;
    let end = if migrated.is_ok() { sql!("COMMIT") } else { sql!("ROLLBACK") };
    let ended = connection.script(end).await;
    migrated?;
    Ok(ended?)
}

async fn version(connection: &mut Connection) -> Result<i64, sqlx::Error> {
    let exists = match connection.dialect() {
        Dialect::Sqlite => sql!("SELECT count(*) FROM sqlite_schema WHERE name = 'campanile_inbox_version'"),
        Dialect::Postgres => sql!(
            "SELECT count(*) FROM pg_tables WHERE tablename = 'campanile_inbox_version' \
             AND schemaname = current_schema()"
        ),
    };
    if first(connection, exists).await? == 0 {
        return Ok(0);
    }
    first(connection, sql!("SELECT version FROM campanile_inbox_version WHERE one = 1")).await
}

async fn migrate(connection: &mut Connection, known: i64) -> Result<(), SchemaError> {
    if connection.dialect() == Dialect::Postgres {
        // Two servers may start at one time. The number is ours alone: the first letters of our name, and the inbox's.
        connection.fetch(sql!("SELECT 1 FROM (SELECT pg_advisory_xact_lock(7161132800905)) AS locked"), &[]).await?;
    }
    // Another server may have been here since we looked.
    let found = version(connection).await?;
    if found > known {
        return Err(SchemaError::Tables(OpenError::NewerTables { found, known }));
    }
    connection
        .script(sql!(
            "CREATE TABLE IF NOT EXISTS campanile_inbox_version (one BIGINT PRIMARY KEY, version BIGINT NOT NULL)"
        ))
        .await?;
    for migration in &MIGRATIONS[usize::try_from(found).unwrap_or(0)..] {
        connection.script(migration).await?;
    }
    let set = sql!(
        "INSERT INTO campanile_inbox_version (one, version) VALUES (1, $1) \
         ON CONFLICT (one) DO UPDATE SET version = excluded.version"
    );
    connection.execute(set, values![known]).await?;
    Ok(())
}

async fn first(connection: &mut Connection, sql: &Statement) -> Result<i64, sqlx::Error> {
    let rows = connection.fetch(sql, &[]).await?;
    rows.first().map_or(Ok(0), |row| row.int(0))
}
