//! One accepted socket and its outgoing bytes.
//!
//! Owns the descriptor, the queue of what the kernel would not take yet, and what of a request or frame has come so far.
//! Bounded: a reader slower than its channels is closed with 4100, never served a stream with holes (I5). Knows nothing of
//! channels. Filled and drained by the worker that owns it; read on in [`crate::send_queue`].

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;

use bytes::Bytes;
use campanile_hub::{ConnectionId, Moment};
use campanile_protocol::CloseCode;
use campanile_protocol::websocket::{self, Incoming};

use crate::node::{Descriptor, Place};
use crate::send_queue::{Backlog, SendQueue};
use crate::uring::Sent;
use crate::wire::Wire;

/// How many slices one `writev` takes.
const SLICES_MAX: usize = 16;

/// What a socket is at.
#[derive(Debug)]
pub(crate) enum Stage {
    /// Its first request is still arriving.
    Head(Vec<u8>),
    /// A client's connection, which may speak compressed if that was agreed on; the place is released with it.
    Open { incoming: Incoming, compression: bool, _place: Place },
    /// A close frame has been queued; what still comes is thrown away.
    Closing,
}

/// Outgoing bytes went past the bound.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooSlow;

/// One accepted socket.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) id: ConnectionId,
    pub(crate) wire: Wire,
    pub(crate) stage: Stage,
    /// When to look after it next.
    pub(crate) look_at: Moment,
    pub(crate) watches_writable: bool,
    pub(crate) descriptor: Descriptor,
    queue: SendQueue,
}

impl Socket {
    pub(crate) fn new(
        id: ConnectionId,
        wire: Wire,
        descriptor: Descriptor,
        backlog: &Backlog,
        look_at: Moment,
    ) -> Self {
        let (stage, queue) = (Stage::Head(Vec::new()), SendQueue::new(backlog.clone()));
        Self { id, wire, stage, look_at, watches_writable: false, descriptor, queue }
    }

    /// What waits for it, in bytes.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.queue.bytes()
    }

    /// Whether the kernel still owes us room.
    pub(crate) fn has_queued(&self) -> bool {
        !self.queue.is_empty() || self.wire.has_unsent()
    }

    /// Writes what it can and keeps the rest, up to the bound.
    pub(crate) fn write(&mut self, slices: &[Bytes], queue_bytes_max: usize) -> io::Result<Result<(), TooSlow>> {
        let written = if self.queue.is_empty() { self.write_now(slices)? } else { 0 };
        self.keep(slices, written, queue_bytes_max)
    }

    /// Where the bytes of a write can go at once, without passing through here.
    pub(crate) fn direct(&self) -> Option<BorrowedFd<'_>> {
        self.wire.unencrypted().filter(|_| self.queue.is_empty())
    }

    /// As [`Socket::write`], for what has been written to [`Socket::direct`].
    pub(crate) fn sent(
        &mut self,
        slices: &[Bytes],
        sent: Sent,
        queue_bytes_max: usize,
    ) -> io::Result<Result<(), TooSlow>> {
        let written = match sent {
            Ok(written) => written,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => 0,
            Err(error) => return Err(error),
        };
        self.keep(slices, written, queue_bytes_max)
    }

    /// Keeps what has not been written.
    fn keep(
        &mut self,
        slices: &[Bytes],
        mut written: usize,
        queue_bytes_max: usize,
    ) -> io::Result<Result<(), TooSlow>> {
        for slice in slices {
            if written >= slice.len() {
                written -= slice.len();
                continue;
            }
            let rest = slice.slice(written..);
            written = 0;
            self.queue.push(rest);
        }
        if !self.queue.is_empty() && self.wire.takes_more() {
            self.flush()?;
        }
        let is_too_slow = !self.queue.is_empty() && self.queue.bytes() + self.wire.unsent() > queue_bytes_max;
        Ok(if is_too_slow { Err(TooSlow) } else { Ok(()) })
    }

    fn write_now(&mut self, slices: &[Bytes]) -> io::Result<usize> {
        let mut total = 0;
        for part in slices.chunks(SLICES_MAX) {
            let wanted: usize = part.iter().map(Bytes::len).sum();
            let mut list = [IoSlice::new(&[]); SLICES_MAX];
            for (entry, slice) in list.iter_mut().zip(part) {
                *entry = IoSlice::new(slice);
            }
            match self.wire.write(&list[..part.len()]) {
                Ok(written) => {
                    total += written;
                    if written < wanted {
                        break;
                    }
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(total)
    }

    /// Writes what is queued, as far as the kernel takes it.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.wire.flush()?;
        while !self.queue.is_empty() {
            let mut list = [IoSlice::new(&[]); SLICES_MAX];
            for (entry, slice) in list.iter_mut().zip(self.queue.iter()) {
                *entry = IoSlice::new(slice);
            }
            match self.wire.write(&list[..self.queue.len().min(SLICES_MAX)]) {
                Ok(written) => self.queue.forget(written),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Queues a close frame behind what must still be sent and expects nothing more.
    pub(crate) fn close(&mut self, code: u16, reason: &str, look_at: Moment) -> io::Result<()> {
        // Even a slow reader may find the frame behind what the kernel has already begun to take: slices are whole
        // frames, so the first can be finished and the others dropped.
        if self.queue.len() > 1 && code == CloseCode::OverCapacity.number() {
            self.queue.keep_first();
        }
        self.stage = Stage::Closing;
        self.look_at = look_at;
        self.write(&[websocket::close(code, reason)], usize::MAX).map(|_| ())
    }

    /// Sends a last answer and expects nothing more; what still comes is thrown away, so that the answer is not lost to
    /// a reset.
    pub(crate) fn dismiss(&mut self, answer: Bytes, look_at: Moment) -> io::Result<()> {
        self.stage = Stage::Closing;
        self.look_at = look_at;
        self.write(&[answer], usize::MAX).map(|_| ())
    }

    /// Tells the peer of a closing socket that no more will come, once everything is sent.
    pub(crate) fn finish(&mut self) {
        if matches!(self.stage, Stage::Closing) && !self.has_queued() {
            // One that cannot be told is gone, which reading finds out.
            let _ = self.wire.finish();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::send_queue::{SLICE_OVERHEAD_BYTES, cost};

    fn accept(listener: &TcpListener) -> Socket {
        let wire = Wire::tcp(listener.accept().unwrap().0, None).unwrap();
        let id = ConnectionId { index: 0, generation: 0 };
        Socket::new(id, wire, Descriptor::default(), &Backlog::default(), Moment::default())
    }

    #[test]
    fn as_many_bytes_wait_as_the_bound_and_no_more() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // It never reads.
        let _peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut socket = accept(&listener);
        let block = Bytes::from(vec![0; 64 * 1024]);
        while !socket.has_queued() {
            assert_eq!(socket.write(std::slice::from_ref(&block), usize::MAX).unwrap(), Ok(()));
        }
        let waiting = socket.queued_bytes();
        let room = Bytes::from(vec![0; 1000]);
        assert_eq!(socket.write(&[room], waiting + 1000 + SLICE_OVERHEAD_BYTES).unwrap(), Ok(()));
        let past = socket.write(&[Bytes::from_static(b"x")], waiting + 1000 + 2 * SLICE_OVERHEAD_BYTES).unwrap();
        assert_eq!(past, Err(TooSlow));
        // What the peer may already have begun to read is finished, the rest is not sent at all.
        socket.close(CloseCode::OverCapacity.number(), "", Moment::default()).unwrap();
        assert!(socket.queued_bytes() <= waiting + 16 + SLICE_OVERHEAD_BYTES, "{} of {waiting}", socket.queued_bytes());
    }

    #[test]
    fn small_slices_count_as_what_they_take() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut socket = accept(&listener);
        let block = Bytes::from(vec![0; 64 * 1024]);
        while !socket.has_queued() {
            socket.write(std::slice::from_ref(&block), usize::MAX).unwrap().unwrap();
        }
        let before = socket.queue.len();
        let bound = socket.queued_bytes() + 100 * cost(&Bytes::from_static(b"x"));
        while socket.write(&[Bytes::from_static(b"x")], bound).unwrap() == Ok(()) {}
        assert_eq!(socket.queue.len() - before, 101);
        peer.set_read_timeout(Some(std::time::Duration::from_millis(20))).unwrap();
        while socket.has_queued() {
            // Whatever has come by then, so that there is room for more.
            let _ = io::Read::read(&mut peer, &mut vec![0; 1 << 20]);
            socket.flush().unwrap();
        }
        assert_eq!(socket.queued_bytes(), 0);
    }
}
