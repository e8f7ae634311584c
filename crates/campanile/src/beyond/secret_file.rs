//! A secret of the server's own that survives restarts.
//!
//! Owns its file in `state_dir`. Never replaces one that is there: what was signed with it would be worth nothing any more.
//! The invariant: the file is whole or absent, and for this user alone.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// More than any secret has.
const BYTES_MAX: u64 = 16 * 1024;

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretFileError {
    /// The file cannot be read or written.
    #[error("cannot keep a secret in {}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What is in the file; if there is none, what `make` makes is put there first.
pub(super) fn read_or_make(path: &Path, make: impl FnOnce() -> io::Result<String>) -> Result<String, SecretFileError> {
    let failed = |source| SecretFileError::Io { path: path.to_owned(), source };
    match File::open(path) {
        Ok(file) => {
            let mut text = String::new();
            file.take(BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
            return Ok(text);
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
    }
    let text = make().map_err(failed)?;
    let new = path.with_extension("new");
    let write = || {
        // What an interrupted start has left may have other rights.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = File::options().create_new(true).write(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        path.parent().map_or(Ok(()), |parent| File::open(parent)?.sync_all())
    };
    write().map_err(failed)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_secret_is_made_once_for_this_user_alone_and_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.key");
        fs::write(path.with_extension("new"), "half of").unwrap();
        assert_eq!(read_or_make(&path, || Ok("first".to_owned())).unwrap(), "first");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(read_or_make(&path, || panic!("there is one")).unwrap(), "first");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_told_and_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.key");
        fs::create_dir(&path).unwrap();
        let refused = read_or_make(&path, || panic!("there is something")).unwrap_err().to_string();
        assert!(refused.starts_with("cannot keep a secret in") && refused.contains("a.key"), "{refused}");
    }
}
