//! A connection's bytes on their way to hyper and back.
//!
//! Owns what hyper does not tell: that a head has begun to arrive. Never keeps a byte. The invariant: no read is left out.
//! Read on in [`super::slots`] for what becomes of a head that does not end.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::wire::Polled;

/// A connection that hyper serves.
#[derive(Debug)]
pub(super) struct Metered {
    polled: Polled,
    have_come: Arc<AtomicBool>,
}

impl Metered {
    pub(super) fn new(polled: Polled, have_come: Arc<AtomicBool>) -> Self {
        Self { polled, have_come }
    }

    pub(super) fn into_polled(self) -> Polled {
        self.polled
    }
}

impl AsyncRead for Metered {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let filled = into.filled().len();
        ready!(Pin::new(&mut this.polled).poll_read(cx, into))?;
        if into.filled().len() > filled {
            this.have_come.store(true, Ordering::Relaxed);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().polled).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().polled).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.polled.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().polled).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().polled).poll_shutdown(cx)
    }
}
