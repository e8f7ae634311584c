//! A connection's bytes on their way to hyper and back.
//!
//! Owns what hyper does not tell: that a head has begun to arrive, and how many frames an HTTP/2 client sends. Never keeps
//! a byte. The invariant: a client that sends too many frames is read no further; it is told to go, and has bounded time
//! to. Read on in [`super::frames`] for the count, in [`super::slots`] for what becomes of a head that does not end.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::frames::{Frames, TooMany};
use crate::wire::Polled;

/// A connection that hyper serves.
#[derive(Debug)]
pub(super) struct Metered {
    polled: Polled,
    count: Count,
}

/// What is looked at.
#[derive(Debug)]
pub(super) enum Count {
    /// HTTP/1: whether anything has come.
    Bytes(Arc<AtomicBool>),
    /// HTTP/2.
    Frames(Frames),
    /// HTTP/2 from a client that has been cut off: what it must still be told.
    Goodbye(io::Cursor<Vec<u8>>),
}

impl Metered {
    pub(super) fn new(polled: Polled, count: Count) -> Self {
        Self { polled, count }
    }

    pub(super) fn into_polled(self) -> Polled {
        self.polled
    }

    fn is_cut_off(&self) -> bool {
        matches!(self.count, Count::Goodbye(_))
    }

    /// Counts what has been written.
    fn say(&mut self, slices: &[IoSlice<'_>], mut written: usize) {
        if let Count::Frames(frames) = &mut self.count {
            for slice in slices {
                let part = written.min(slice.len());
                frames.say(&slice[..part]);
                written -= part;
            }
        }
    }

    /// Tells the client, then waits until it has gone.
    fn poll_goodbye(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Count::Goodbye(goodbye) = &mut self.count {
            let position = goodbye.position();
            let rest = goodbye.get_ref().get(usize::try_from(position).unwrap_or(usize::MAX)..).unwrap_or_default();
            if rest.is_empty() {
                break;
            }
            let written = ready!(Pin::new(&mut self.polled).poll_write(cx, rest))?;
            goodbye.set_position(position + written as u64);
        }
        ready!(Pin::new(&mut self.polled).poll_flush(cx))?;
        Pin::new(&mut self.polled).poll_shutdown(cx)
    }
}

impl AsyncRead for Metered {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.is_cut_off() {
            let filled = into.filled().len();
            ready!(Pin::new(&mut this.polled).poll_read(cx, into))?;
            let came = &into.filled()[filled..];
            match &mut this.count {
                Count::Bytes(have_come) if !came.is_empty() => have_come.store(true, Ordering::Relaxed),
                Count::Frames(frames) => {
                    if let Err(TooMany) = frames.hear(came, Instant::now()) {
                        let goodbye = frames.goodbye().map(Vec::from).unwrap_or_default();
                        this.count = Count::Goodbye(io::Cursor::new(goodbye));
                        into.set_filled(filled);
                    }
                }
                Count::Bytes(_) | Count::Goodbye(_) => {}
            }
        }
        if this.is_cut_off() {
            ready!(this.poll_goodbye(cx))?;
            return Poll::Ready(Err(io::Error::other("the client sends more frames than it may")));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_cut_off() {
            // Nothing comes behind a goodbye.
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        let written = ready!(Pin::new(&mut this.polled).poll_write_vectored(cx, slices))?;
        this.say(slices, written);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.polled.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.is_cut_off() { Poll::Ready(Ok(())) } else { Pin::new(&mut this.polled).poll_flush(cx) }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_goodbye(cx)
    }
}
