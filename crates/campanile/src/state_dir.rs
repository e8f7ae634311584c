//! The directory that holds what must survive a restart.
//!
//! Owns the lock on it. Never reads or writes what lies there. The invariant: whoever holds a [`StateDir`] is the only
//! process that works in the directory, and the kernel gives the lock back even if that process is killed.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The file in the directory that is locked; it stays empty.
const LOCK_FILE: &str = "lock";

/// Why the directory cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// Another process works there.
    #[error(
        "state_dir {} is in use by another campanile: each server needs a state_dir of its own, and a command that \
         reads it needs the server to be stopped",
        .0.display()
    )]
    InUse(PathBuf),
    /// The system refuses.
    #[error("cannot use state_dir {}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A directory that is ours until this is dropped.
#[derive(Debug)]
pub struct StateDir {
    _lock: File,
}

impl StateDir {
    /// Makes the directory if it is missing, for this user alone, and locks it.
    ///
    /// # Errors
    ///
    /// When another process has it, or it cannot be made or written.
    pub fn lock(path: &Path) -> Result<Self, StateDirError> {
        let failed = |source| StateDirError::Io { path: path.to_owned(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join(LOCK_FILE))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StateDirError::InUse(path.to_owned())),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_has_one_owner_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("made/for/us");
        let held = StateDir::lock(&path).unwrap();
        let refused = StateDir::lock(&path).unwrap_err().to_string();
        assert!(refused.contains("is in use by another campanile"), "{refused}");
        assert!(refused.contains(&path.display().to_string()), "{refused}");
        drop(held);
        StateDir::lock(&path).unwrap();
    }

    #[test]
    fn a_file_in_its_place_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, "").unwrap();
        let refused = StateDir::lock(&path).unwrap_err().to_string();
        assert!(refused.starts_with("cannot use state_dir"), "{refused}");
    }
}
