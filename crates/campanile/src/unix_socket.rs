//! The Unix socket that `listen.unix_socket` names.
//!
//! Owns the socket's file, from the bind to the end of the server. Never accepts: the first worker does, and hands
//! descriptors round. The invariant: nobody else's file is removed, be it a live server's socket or something else
//! altogether.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

/// Why the socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum UnixSocketError {
    /// Somebody answers there.
    #[error("listen.unix_socket {} is in use: a server answers there", .0.display())]
    InUse(PathBuf),
    /// What is there is something else, which we do not remove.
    #[error("listen.unix_socket {} is there already and is not a socket: name another path", .0.display())]
    NotASocket(PathBuf),
    /// The system refuses.
    #[error("cannot listen on listen.unix_socket {}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The socket's file, removed when this is dropped.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

/// Binds; a file that a dead server left behind is replaced.
pub(crate) fn bind(path: &Path, backlog: i32) -> Result<(UnixListener, SocketFile), UnixSocketError> {
    let failed = |source| UnixSocketError::Io { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(UnixSocketError::NotASocket(path.to_owned()));
        }
        Ok(_) => match socket().and_then(|probe| probe.connect(&SockAddr::unix(path)?)) {
            Ok(()) => return Err(UnixSocketError::InUse(path.to_owned())),
            // It is alive, and so busy that its queue is full.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(UnixSocketError::InUse(path.to_owned()));
            }
            // Nobody listens: the only answer that proves that the file is left over.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path).map_err(failed)?,
            Err(error) => return Err(failed(error)),
        },
    }
    let socket = socket().map_err(failed)?;
    let address = SockAddr::unix(path).map_err(failed)?;
    socket.bind(&address).map_err(failed)?;
    let identity = identity(path).map_err(failed)?;
    let file = SocketFile { path: path.to_owned(), identity };
    socket.listen(backlog).map_err(failed)?;
    Ok((socket.into(), file))
}

fn socket() -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot remove the Unix socket");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::os::unix::net::UnixStream;

    fn refusal(path: &Path) -> String {
        bind(path, 1).map(|_| ()).unwrap_err().to_string()
    }

    #[test]
    fn a_dead_servers_file_is_replaced_and_ours_is_removed_at_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let (listener, file) = bind(&path, 1).unwrap();
        UnixStream::connect(&path).unwrap();
        drop((listener, file));
        assert!(!path.exists());
    }

    #[test]
    fn a_live_servers_file_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let _alive = UnixListener::bind(&path).unwrap();
        assert!(refusal(&path).contains("in use: a server answers there"));
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_live_servers_file_is_refused_even_when_its_queue_is_full() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let (_listener, _file) = bind(&path, 0).unwrap();
        let _waiting = UnixStream::connect(&path).unwrap();
        assert!(refusal(&path).contains("in use: a server answers there"));
    }

    #[test]
    fn what_is_not_a_socket_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("notes");
        fs::write(&path, "keep me").unwrap();
        assert!(refusal(&path).contains("is not a socket"));
        assert_eq!(fs::read(&path).unwrap(), b"keep me");
        assert!(refusal(&directory.path().join("missing/s")).contains("cannot listen on"));
    }

    #[test]
    fn a_file_that_somebody_else_has_put_in_our_place_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let (_listener, file) = bind(&path, 1).unwrap();
        // A new file beside it first, so that it cannot have our file's number.
        let theirs = directory.path().join("theirs");
        let _alive = UnixListener::bind(&theirs).unwrap();
        fs::rename(&theirs, &path).unwrap();
        drop(file);
        assert!(path.exists());
    }
}
