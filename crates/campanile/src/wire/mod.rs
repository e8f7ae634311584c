//! A connected descriptor and the TLS that may lie over it.
//!
//! Owns both, so that nobody else asks whether bytes are encrypted. Never waits: everything returns when the kernel has
//! no more to give or to take. The invariant: what [`Wire::write`] has taken goes out in order, though TLS may hold up
//! to 64 KiB of it back, which [`Wire::unsent`] counts. Read on in [`session`] for TLS, in [`polled`] for what hyper
//! reads and writes, in [`crate::socket`] for the queue on top.

mod polled;
mod session;

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::RecvFlags;
use rustls::ServerConfig;

use crate::forwarded::Peer;
pub(crate) use polled::Polled;
use session::Session;

/// What a read has brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Inbound {
    /// So many bytes; call again if [`Wire::has_plaintext`].
    Bytes(usize),
    /// Nothing now.
    Nothing,
    /// The peer will send no more.
    End,
    /// Unencrypted HTTP where TLS was expected.
    PlainHttp,
}

/// A descriptor as the kernel gave it.
#[derive(Debug)]
enum Plain {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// One connection's bytes in both directions.
#[derive(Debug)]
pub(crate) struct Wire {
    plain: Plain,
    session: Option<Box<Session>>,
}

impl Wire {
    /// A TCP connection, with TLS if there is a certificate.
    pub(crate) fn tcp(stream: TcpStream, tls: Option<Arc<ServerConfig>>) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let session = tls.map(Session::new).transpose()?.map(Box::new);
        Ok(Self { plain: Plain::Tcp(stream), session })
    }

    /// A Unix socket's connection: it does not leave the machine, so it is never encrypted.
    pub(crate) fn unix(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { plain: Plain::Unix(stream), session: None })
    }

    /// Who is at the other end.
    pub(crate) fn peer(&self) -> Peer {
        match &self.plain {
            Plain::Tcp(stream) => stream.peer_addr().map_or(Peer::Unknown, |address| Peer::Address(address.ip())),
            Plain::Unix(_) => Peer::Unix,
        }
    }

    /// Reads what has come.
    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<Inbound> {
        let read = match &mut self.session {
            None => self.plain.read(into),
            Some(session) => {
                if session.has_heard_nothing() {
                    let mut first = [0];
                    match rustix::net::recv(&self.plain, &mut first, RecvFlags::PEEK) {
                        // No TLS record begins with a letter, every HTTP request does.
                        Ok((1, _)) if first[0].is_ascii_uppercase() => return Ok(Inbound::PlainHttp),
                        Ok(_) => {}
                        Err(error) => return nothing_or(error.into()),
                    }
                }
                session.read(&mut self.plain, into)
            }
        };
        match read {
            Ok(0) => Ok(Inbound::End),
            Ok(length) => Ok(Inbound::Bytes(length)),
            Err(error) => nothing_or(error),
        }
    }

    /// Whether bytes have been decrypted that nobody has read: the kernel will not tell of them.
    pub(crate) fn has_plaintext(&mut self) -> bool {
        self.session.as_mut().is_some_and(|session| session.has_plaintext())
    }

    /// Takes bytes to be sent: what it can of them, at least one. [`io::ErrorKind::WouldBlock`] if none.
    pub(crate) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match &mut self.session {
            None => match slices {
                [only] => self.plain.write(only),
                several => self.plain.write_vectored(several),
            },
            Some(session) => session.write(&mut self.plain, slices),
        }
    }

    /// The descriptor, if bytes may be written to it as they are.
    pub(crate) fn unencrypted(&self) -> Option<BorrowedFd<'_>> {
        self.session.is_none().then(|| self.as_fd())
    }

    /// Whether another write may take more although the last one did not take everything.
    pub(crate) fn takes_more(&self) -> bool {
        self.session.as_ref().is_some_and(|session| !session.has_unsent())
    }

    /// Sends what TLS holds back, as far as the kernel takes it.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match &mut self.session {
            None => Ok(()),
            Some(session) => session.flush(&mut self.plain).map(|_| ()),
        }
    }

    /// Whether TLS holds something back.
    pub(crate) fn has_unsent(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.has_unsent())
    }

    /// How many bytes TLS holds back.
    pub(crate) fn unsent(&mut self) -> usize {
        self.session.as_mut().map_or(0, |session| session.unsent())
    }

    /// Tells the peer that no more will come, unless something is still unsent: then call again when it is not.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        if let Some(session) = &mut self.session
            && !session.finish(&mut self.plain)?
        {
            return Ok(());
        }
        match &self.plain {
            Plain::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Plain::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }

    /// Gives up on TLS, for a peer that does not speak it.
    pub(crate) fn speak_plain(&mut self) {
        self.session = None;
    }

    /// The same connection for hyper. Bytes that were read already come first; a peer that takes nothing for as long as
    /// `stall_timeout` while it is written to is given up; one that has been told the end has `closing_timeout` to go.
    pub(crate) fn into_polled(
        self,
        read_already: Vec<u8>,
        stall_timeout: Duration,
        closing_timeout: Duration,
    ) -> io::Result<Polled> {
        Polled::new(self, read_already, stall_timeout, closing_timeout)
    }
}

fn nothing_or(error: io::Error) -> io::Result<Inbound> {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(Inbound::Nothing),
        _ => Err(error),
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.plain.as_fd()
    }
}

impl AsFd for Plain {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Read for Plain {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(into),
            Self::Unix(stream) => stream.read(into),
        }
    }
}

impl Write for Plain {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write_vectored(slices),
            Self::Unix(stream) => stream.write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;
    use crate::config::Tls;

    /// What rustls holds back at most, and what TLS adds to it.
    const HELD_BACK_MAX: usize = 64 * 1024;
    const OVERHEAD: usize = HELD_BACK_MAX / 16;

    /// Both ends of a connection that have shaken hands.
    fn shaken() -> (Wire, TcpStream, ClientConnection) {
        let directory = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let tls = Tls { cert_file: directory.path().join("cert.pem"), key_file: directory.path().join("key.pem") };
        std::fs::write(&tls.cert_file, made.cert.pem()).unwrap();
        std::fs::write(&tls.key_file, made.signing_key.serialize_pem()).unwrap();
        let config = crate::tls::load(&tls).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).unwrap();
        let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = ClientConnection::new(Arc::new(client), name).unwrap();

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut wire = Wire::tcp(listener.accept().unwrap().0, Some(config)).unwrap();
        let shaking = thread::spawn(move || {
            client.complete_io(&mut peer).unwrap();
            client.writer().write_all(b"hello").unwrap();
            client.complete_io(&mut peer).unwrap();
            (peer, client)
        });
        let mut heard = [0; 100];
        while wire.read(&mut heard).unwrap() != Inbound::Bytes(5) {}
        let (peer, client) = shaking.join().unwrap();
        (wire, peer, client)
    }

    #[test]
    fn tls_holds_back_as_many_bytes_as_the_bound_and_no_more() {
        let (mut wire, mut peer, mut client) = shaken();
        assert_eq!((wire.unsent(), wire.has_unsent(), wire.takes_more()), (0, false, true));
        let block = vec![7; 1_000_000];
        let mut taken = 0;
        // The peer does not read.
        let refused = loop {
            match wire.write(&[IoSlice::new(&block)]) {
                Ok(length) => taken += length,
                Err(error) => break error,
            }
        };
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock);
        let bound = HELD_BACK_MAX - 1..=HELD_BACK_MAX + OVERHEAD;
        assert!(bound.contains(&wire.unsent()), "{}", wire.unsent());
        assert!(wire.has_unsent() && !wire.takes_more());

        // What was taken arrives, all of it.
        let reading = thread::spawn(move || {
            let mut read = 0;
            while read < taken {
                client.read_tls(&mut peer).unwrap();
                client.process_new_packets().unwrap();
                let mut some = vec![0; 64 * 1024];
                if let Ok(length) = client.reader().read(&mut some) {
                    assert!(some[..length].iter().all(|byte| *byte == 7));
                    read += length;
                }
            }
            read
        });
        while wire.has_unsent() {
            wire.flush().unwrap();
        }
        assert_eq!(reading.join().unwrap(), taken);
    }
}
