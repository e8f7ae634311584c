//! The directory that holds what must survive a restart.
//!
//! Owns the lock on it, and the line in the lock's file that says who has it. Never reads or writes what else lies there.
//! The invariant: whoever holds a [`StateDir`] is the only process that works in the directory, and the kernel gives the
//! lock back even if that process is killed; what the file says is for people and never decides.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The file in the directory that is locked.
const LOCK_FILE: &str = "lock";

/// Bytes of it that are read.
const OWNER_BYTES_MAX: u64 = 200;

/// Why the directory cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum StateDirError {
    /// Another process works there.
    #[error(
        "state_dir {} is in use by another campanile{}: stop that one, or give this server a directory of its own \
         (CAMPANILE__STATE_DIR, or state_dir in its file); a command that reads it needs the server to be stopped",
        path.display(),
        owner.as_ref().map_or_else(String::new, |owner| format!(" ({owner})"))
    )]
    InUse {
        /// Which.
        path: PathBuf,
        /// Who has it, if that can be read.
        owner: Option<String>,
    },
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
    lock: File,
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
            .read(true)
            .write(true)
            .mode(0o600)
            .open(path.join(LOCK_FILE))
            .map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {
                let held = Self { lock };
                held.sign("");
                Ok(held)
            }
            Err(TryLockError::WouldBlock) => Err(StateDirError::InUse { path: path.to_owned(), owner: owner(&lock) }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Lets whoever is refused know where the server listens that has the directory.
    pub(crate) fn serves_on(&self, address: SocketAddr) {
        self.sign(&format!(", which listens on {address}"));
    }

    fn sign(&self, what: &str) {
        let line = format!("process {}{what}\n", std::process::id());
        // On a full disk the line is missing, and the lock holds all the same.
        let _ = self.lock.set_len(0).and_then(|()| self.lock.write_all_at(line.as_bytes(), 0));
    }
}

/// What the holder of the lock has written of itself, as far as a terminal may be shown it.
fn owner(mut lock: &File) -> Option<String> {
    let mut line = String::new();
    lock.by_ref().take(OWNER_BYTES_MAX).read_to_string(&mut line).ok()?;
    let line = line.trim();
    (!line.is_empty() && !line.contains(char::is_control)).then(|| line.to_owned())
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
        let own = format!("is in use by another campanile (process {}): stop that one", std::process::id());
        assert!(refused.contains(&own), "{refused}");
        assert!(refused.contains(&path.display().to_string()), "{refused}");
        held.serves_on("127.0.0.1:6001".parse().unwrap());
        let refused = StateDir::lock(&path).unwrap_err().to_string();
        assert!(refused.contains(", which listens on 127.0.0.1:6001): stop that one"), "{refused}");
        drop(held);
        let again = StateDir::lock(&path).unwrap();
        let refused = StateDir::lock(&path).unwrap_err().to_string();
        assert!(!refused.contains("6001"), "{refused}");
        drop(again);
    }

    #[test]
    fn what_the_lock_says_is_shown_only_if_it_is_a_line() {
        let directory = tempfile::tempdir().unwrap();
        let held = StateDir::lock(directory.path()).unwrap();
        for (written, shown) in [("", ""), ("\u{1b}[2J", ""), ("a\nb", ""), ("process 7\n", " (process 7)")] {
            fs::write(directory.path().join(LOCK_FILE), written).unwrap();
            let refused = StateDir::lock(directory.path()).unwrap_err().to_string();
            assert!(refused.contains(&format!("another campanile{shown}: stop")), "{refused}");
        }
        let long = "x".repeat(OWNER_BYTES_MAX as usize);
        fs::write(directory.path().join(LOCK_FILE), format!("{long}x")).unwrap();
        let refused = StateDir::lock(directory.path()).unwrap_err().to_string();
        assert!(refused.contains(&format!("({long})")), "{refused}");
        drop(held);
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
