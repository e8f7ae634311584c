//! A copy of a SQLite database, while it is written to.
//!
//! Owns the copy until it is whole. Never leaves a half one under the name that was asked for. The invariant: the copy is
//! of one moment.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::error::{InboxError, Mistake};
use crate::store::Core;
use crate::store::connection;

pub(crate) async fn back_up(core: &Rc<Core>, to: &Path) -> Result<(), InboxError> {
    let Some(options) = &core.sqlite else {
        let message = "this inbox is in Postgres: back it up with pg_dump, which does this for the whole database";
        return Err(Mistake::new("postgres", "/to", message).into());
    };
    if to.exists() {
        let message = format!("{} exists: give the name of a new file", to.display());
        return Err(Mistake::new("exists", "/to", message).into());
    }
    let half = half_of(to);
    let unavailable = |reason: String| InboxError::Unavailable { reason };
    let wrong = |error: std::io::Error| unavailable(format!("{}: {error}", half.display()));
    let Some(name) = half.to_str() else {
        return Err(Mistake::new("bad_name", "/to", "the file's name is not UTF-8: give it another one").into());
    };
    // One of an earlier attempt that was cut short.
    if half.exists() {
        std::fs::remove_file(&half).map_err(wrong)?;
    }
    // A connection of its own: the copy takes its time, and neither pages nor writes wait for it.
    let opened = connection::sqlite(&options.clone().create_if_missing(false)).await;
    let mut connection = opened.map_err(|error| unavailable(connection::reason(&error)))?;
    let copied = connection.copy_to(name).await;
    connection.discard().await;
    if let Err(error) = copied {
        // What is there is of no use; whether it can be removed does not change what has to be said.
        let _ = std::fs::remove_file(&half);
        return Err(unavailable(connection::reason(&error)));
    }
    let on_disk = || {
        std::fs::File::open(&half)?.sync_all()?;
        std::fs::rename(&half, to)?;
        let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::File::open(directory)?.sync_all()
    };
    on_disk().map_err(wrong)
}

fn half_of(to: &Path) -> PathBuf {
    let mut name = to.as_os_str().to_owned();
    name.push(".partial");
    name.into()
}
