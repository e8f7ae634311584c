//! A connection as hyper reads and writes it.
//!
//! Owns the descriptor's registration with the runtime. Never copies what TLS has not: it calls the same session as a
//! worker's socket does. The invariant: a peer that takes nothing while it is written to is given up after a timeout,
//! so nobody holds a connection by not reading. Read on in [`crate::http`], which serves it and may give it back.

use std::io::{self, IoSlice, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Sleep;

use super::session::Session;
use super::{Inbound, Plain, Wire};

/// What is thrown away at once of what a peer still sends.
const DISCARDED_BYTES: usize = 4096;
/// What TLS is asked for at once: a record's worth.
const DECRYPTED_BYTES: usize = 16 * 1024;

/// A connection that has left its worker's epoll.
#[derive(Debug)]
pub(crate) struct Polled {
    stream: Stream,
    session: Option<Box<Session>>,
    read_already: io::Cursor<Vec<u8>>,
    stall_timeout: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    closing_timeout: Duration,
    closing: Option<Pin<Box<Sleep>>>,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Polled {
    pub(super) fn new(
        wire: Wire,
        read_already: Vec<u8>,
        stall_timeout: Duration,
        closing_timeout: Duration,
    ) -> io::Result<Self> {
        let stream = match wire.plain {
            Plain::Tcp(stream) => Stream::Tcp(TcpStream::from_std(stream)?),
            Plain::Unix(stream) => Stream::Unix(UnixStream::from_std(stream)?),
        };
        Ok(Self {
            stream,
            session: wire.session,
            read_already: io::Cursor::new(read_already),
            stall_timeout,
            stalled: None,
            closing_timeout,
            closing: None,
        })
    }

    /// Gives the connection back, and what has come of it beyond what hyper was asked for: what hyper has taken and not
    /// used, what it has not taken, and what TLS has decrypted, which no kernel would tell of.
    pub(crate) fn into_wire(self, taken: &[u8]) -> io::Result<(Wire, Vec<u8>)> {
        let plain = match self.stream {
            Stream::Tcp(stream) => Plain::Tcp(stream.into_std()?),
            Stream::Unix(stream) => Plain::Unix(stream.into_std()?),
        };
        let mut wire = Wire { plain, session: self.session };
        let mut rest = taken.to_vec();
        let position = usize::try_from(self.read_already.position()).unwrap_or(usize::MAX);
        rest.extend_from_slice(self.read_already.get_ref().get(position..).unwrap_or_default());
        while wire.has_plaintext() {
            let length = rest.len();
            rest.resize(length + DECRYPTED_BYTES, 0);
            let Inbound::Bytes(read) = wire.read(&mut rest[length..])? else {
                rest.truncate(length);
                break;
            };
            rest.truncate(length + read);
        }
        Ok((wire, rest))
    }

    /// Waits for room to write, and for no longer than the timeout since there last was some.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(ready) = self.stream.poll_write_ready(cx) {
            self.stalled = None;
            return Poll::Ready(ready);
        }
        let timeout = self.stall_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// Waits for the peer's end, up to the timeout, and throws away what still comes: closing over unread bytes, of a
    /// body that was refused for instance, would destroy the answer.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let timeout = self.closing_timeout;
        let closing = self.closing.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        if closing.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Ok(()));
        }
        loop {
            ready!(self.stream.poll_read_ready(cx))?;
            match self.stream.try_read(&mut [0; DISCARDED_BYTES]) {
                Ok(0) => return Poll::Ready(Ok(())),
                Err(error) if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                    // A reset is an end, too.
                    return Poll::Ready(Ok(()));
                }
                _ => {}
            }
        }
    }
}

impl AsyncRead for Polled {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let filled = into.filled().len();
        ready!(Pin::new(&mut this.read_already).poll_read(cx, into))?;
        if into.filled().len() > filled {
            return Poll::Ready(Ok(()));
        }
        let Some(session) = &mut this.session else {
            return match &mut this.stream {
                Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, into),
                Stream::Unix(stream) => Pin::new(stream).poll_read(cx, into),
            };
        };
        loop {
            let space = into.initialize_unfilled();
            match session.read(&mut &this.stream, space) {
                Ok(length) => {
                    into.advance(length);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(this.stream.poll_read_ready(cx))?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Polled {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        loop {
            let written = match &mut this.session {
                None => this.stream.try_write_vectored(slices),
                Some(session) => session.write(&mut &this.stream, slices),
            };
            match written {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(this.poll_room(cx))?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => {
                    this.stalled = None;
                    return Poll::Ready(written);
                }
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while let Some(session) = &mut this.session
            && !session.flush(&mut &this.stream)?
        {
            ready!(this.poll_room(cx))?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while let Some(session) = &mut this.session
            && !session.finish(&mut &this.stream)?
        {
            ready!(this.poll_room(cx))?;
        }
        if this.closing.is_none() {
            ready!(match &mut this.stream {
                Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
                Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            })?;
        }
        this.poll_gone(cx)
    }
}

impl Stream {
    fn try_read(&self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_read(into),
            Self::Unix(stream) => stream.try_read(into),
        }
    }

    fn try_write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write_vectored(slices),
            Self::Unix(stream) => stream.try_write_vectored(slices),
        }
    }

    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
        }
    }

    fn poll_write_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_write_ready(cx),
            Self::Unix(stream) => stream.poll_write_ready(cx),
        }
    }
}

/// Tries, and forgets the readiness that turned out not to be there.
impl Read for &Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.try_read(into)
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.try_write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
