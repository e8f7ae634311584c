//! `campanile migrate` and `campanile backup`: what an operator does with the store of notifications.
//!
//! Owns what is printed. Never serves, and never stores a notification. The invariants: tables in `state_dir` are changed
//! only under its lock, so never beneath a server; a backup takes no lock and needs none, because a reader does not keep the
//! server from writing. Next: `inbox/` for the store.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use campanile_inbox::Inbox;

use crate::cli::{BackupArgs, MigrateArgs};
use crate::config::{Config, InboxConfig, InboxStore};
use crate::inbox::settings;
use crate::state_dir::StateDir;

/// Makes the store's tables, or brings them up to date.
///
/// # Errors
///
/// When the output cannot be written.
pub async fn migrate(
    args: &MigrateArgs,
    environment: impl Iterator<Item = (String, String)>,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<ExitCode> {
    let done = async {
        let (config, inbox) = configured(args.file.config.as_deref(), environment)?;
        // A database that several may share has locks of its own.
        let _lock = match &inbox.store {
            InboxStore::Sqlite { .. } => Some(StateDir::lock(&config.state_dir).map_err(|error| error.to_string())?),
            InboxStore::Postgres { .. } => None,
        };
        let mut settings = settings(&inbox, config.limits.http_request_timeout);
        settings.migrate = true;
        let (store, _changes) = Inbox::open(settings).await.map_err(|error| error.to_string())?;
        store.close().await;
        Ok::<(), String>(())
    };
    match done.await {
        Ok(()) => writeln!(out, "the inbox's tables are up to date").map(|()| ExitCode::SUCCESS),
        Err(reason) => failed(&reason, err),
    }
}

/// Copies the store into a file, while the server goes on or while it is stopped.
///
/// # Errors
///
/// When the output cannot be written.
pub async fn backup(
    args: &BackupArgs,
    environment: impl Iterator<Item = (String, String)>,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<ExitCode> {
    let done = async {
        let (config, inbox) = configured(args.file.config.as_deref(), environment)?;
        match &inbox.store {
            InboxStore::Sqlite { file, .. } if !file.exists() => {
                return Err(format!("there is no {}: no server has kept notifications there", file.display()));
            }
            InboxStore::Sqlite { .. } => {}
            InboxStore::Postgres { .. } => {
                return Err("notifications are kept in Postgres: back that up with pg_dump".to_owned());
            }
        }
        let mut settings = settings(&inbox, config.limits.http_request_timeout);
        // Beneath a server nothing may be changed.
        settings.migrate = false;
        settings.limits.connections = 1;
        let (store, _changes) = Inbox::open(settings).await.map_err(|error| error.to_string())?;
        let copied = store.backup(&args.to).await.map_err(|error| error.to_string());
        store.close().await;
        copied
    };
    match done.await {
        Ok(()) => writeln!(out, "{} is a copy of the inbox as it was a moment ago", args.to.display())
            .map(|()| ExitCode::SUCCESS),
        Err(reason) => failed(&reason, err),
    }
}

fn configured(
    path: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<(Config, InboxConfig), String> {
    let config = Config::load(path, environment).map_err(|error| error.to_string())?;
    match config.inbox.clone() {
        Some(inbox) => Ok((config, inbox)),
        None => Err("the configuration has no [inbox], so there is no store".to_owned()),
    }
}

fn failed(reason: &str, err: &mut impl Write) -> io::Result<ExitCode> {
    writeln!(err, "{reason}")?;
    Ok(ExitCode::FAILURE)
}
