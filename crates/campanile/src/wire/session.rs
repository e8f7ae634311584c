//! TLS over one connection.
//!
//! Owns the keys and what is encrypted but not sent, at most rustls' 64 KiB. Never owns the descriptor: each call is
//! given what to read from and write to, so that the same session serves a worker's socket and hyper. The invariant:
//! whatever a peer sends is at worst an error of its own connection. Read on in [`crate::tls`] for the certificate.

use std::fmt;
use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection};

/// One connection's TLS.
pub(super) struct Session {
    connection: ServerConnection,
    has_heard: bool,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("version", &self.connection.protocol_version()).finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn new(config: Arc<ServerConfig>) -> io::Result<Self> {
        let connection = ServerConnection::new(config).map_err(io::Error::other)?;
        Ok(Self { connection, has_heard: false })
    }

    /// Whether the peer has sent nothing yet.
    pub(super) fn has_heard_nothing(&self) -> bool {
        !self.has_heard
    }

    /// Reads what can be decrypted, shaking hands on the way. 0 is the end.
    pub(super) fn read(&mut self, socket: &mut (impl Read + Write), into: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.connection.reader().read(into) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Gone without a goodbye, as browsers do. Whole frames and requests are recognised by their length, so a
                // truncated stream is not mistaken for one that has ended.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                read => return read,
            }
            self.connection.read_tls(socket)?;
            self.has_heard = true;
            if let Err(error) = self.connection.process_new_packets() {
                // The alert that tells the peer why; one that is gone already does not need it.
                let _ = self.flush(socket);
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
            self.flush(socket)?;
        }
    }

    pub(super) fn has_plaintext(&mut self) -> bool {
        self.connection.process_new_packets().is_ok_and(|state| state.plaintext_bytes_to_read() > 0)
    }

    /// Encrypts what there is room for, at least one byte, and sends what the kernel takes.
    pub(super) fn write(&mut self, socket: &mut impl Write, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let taken = self.connection.writer().write_vectored(slices)?;
        self.flush(socket)?;
        if taken == 0 && slices.iter().any(|slice| !slice.is_empty()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(taken)
    }

    /// Sends what is encrypted. False: the kernel did not take all of it.
    pub(super) fn flush(&mut self, socket: &mut impl Write) -> io::Result<bool> {
        while self.connection.wants_write() {
            match self.connection.write_tls(socket) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    pub(super) fn has_unsent(&self) -> bool {
        self.connection.wants_write()
    }

    pub(super) fn unsent(&mut self) -> usize {
        self.connection.process_new_packets().map_or(0, |state| state.tls_bytes_to_write())
    }

    /// Says that no more will come, once however often it is called. False: not all of it is sent yet.
    pub(super) fn finish(&mut self, socket: &mut impl Write) -> io::Result<bool> {
        self.connection.send_close_notify();
        self.flush(socket)
    }
}
