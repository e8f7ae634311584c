//! What a worker does with what a tick has gathered.
//!
//! Owns writing, what the kernel has not taken, and closing. Never decides what is written. The invariant: each
//! connection is written once in a tick, and nothing is taken for sent that the kernel has not taken.

use std::cmp::Reverse;

use campanile_hub::ConnectionId;
use campanile_hub::letter::Departure;
use campanile_protocol::CloseCode;
use rustix::event::epoll;

use super::{WRITES_BEFORE_YIELD, Worker};
use crate::socket::{Socket, Stage};
use crate::uring::{self, Sent};

impl Worker {
    /// Ends a closing socket's stream, now or once all is sent.
    pub(super) fn finish(&mut self, index: u32) {
        let Some(socket) = self.sockets[index as usize].as_mut() else { return };
        socket.finish();
        let has_queued = socket.has_queued();
        self.watch_writable(index, has_queued);
    }

    pub(super) fn flush(&mut self, index: u32) {
        let Some(socket) = self.sockets[index as usize].as_mut() else { return };
        if socket.flush().is_err() {
            return self.drop_socket(index, Departure::Vanished);
        }
        self.finish(index);
    }

    pub(super) fn watch_writable(&mut self, index: u32, wanted: bool) {
        let Some(socket) = self.sockets[index as usize].as_mut() else { return };
        if std::mem::replace(&mut socket.watches_writable, wanted) != wanted {
            let flags = if wanted { epoll::EventFlags::IN | epoll::EventFlags::OUT } else { epoll::EventFlags::IN };
            let data = epoll::EventData::new_u64(index.into());
            if epoll::modify(self.epoll.get_ref(), &socket.wire, data, flags).is_err() {
                self.drop_socket(index, Departure::Vanished);
            }
        }
    }

    /// Tries the next writes in one system call, and tells of each what became of it; nothing of those that must go
    /// through their socket one by one.
    pub(super) fn send_together(&mut self) -> impl Iterator<Item = Option<Sent>> + use<> {
        let mut direct = [false; WRITES_BEFORE_YIELD];
        let mut sent = Vec::new();
        if let Some(ring) = self.ring.take() {
            let fanout = &*self.hub.fanout();
            let mut sends: Vec<uring::Send<'_>> = Vec::new();
            for (write, is_direct) in fanout.upcoming().zip(&mut direct) {
                let socket = self.sockets[write.connection.index as usize].as_ref();
                let socket = socket.filter(|socket| socket.id == write.connection);
                if let (Some(descriptor), [only]) = (socket.and_then(Socket::direct), write.slices) {
                    sends.push((descriptor, only));
                    *is_direct = true;
                }
            }
            if sends.len() < uring::BATCH_MIN {
                direct = [false; WRITES_BEFORE_YIELD];
                self.ring = Some(ring);
            } else {
                match ring.send(&sends, &mut sent) {
                    Ok(ring) => self.ring = Some(ring),
                    Err(error) => tracing::warn!(%error, "io_uring has failed: from now on this worker does without"),
                }
            }
        }
        let mut sent = sent.into_iter();
        direct.into_iter().map(move |is_direct| if is_direct { sent.next() } else { None })
    }

    /// Writes some of what the tick has gathered, each connection once. True: there may be more.
    pub(super) fn write(&mut self) -> bool {
        let queue_bytes_max = self.config.limits.send_queue_bytes_max;
        let mut sent = self.send_together();
        for _ in 0..WRITES_BEFORE_YIELD {
            let sent = sent.next().flatten();
            let Some(write) = self.hub.fanout().next_write() else { return false };
            let id = write.connection;
            let Some(socket) = self.sockets[id.index as usize].as_mut().filter(|socket| socket.id == id) else {
                continue;
            };
            let written = match sent {
                Some(sent) => socket.sent(write.slices, sent, queue_bytes_max),
                None => socket.write(write.slices, queue_bytes_max),
            };
            match written {
                Ok(Ok(())) if socket.has_queued() => self.watch_writable(id.index, true),
                Ok(Ok(())) => {}
                Ok(Err(_)) => {
                    let code = CloseCode::OverCapacity.number();
                    self.closes.push_back((id, code, "reads more slowly than its channels".into()));
                }
                Err(_) => self.drop_socket(id.index, Departure::Vanished),
            }
        }
        true
    }

    /// Holds all send queues together to their bound: those who wait for most are closed, until a tenth of it is free, so
    /// that this is not done again at once. One that is closing already, and still takes nothing, is dropped.
    pub(super) fn relieve(&mut self) {
        let max = self.config.limits.send_queues_bytes_max / self.config.workers.max(1);
        if self.backlog.bytes() <= max {
            return;
        }
        let queued = self.sockets.iter().flatten().map(|socket| (socket.queued_bytes(), socket.id));
        let mut queued: Vec<(usize, ConnectionId)> = queued.filter(|(bytes, _)| *bytes > 0).collect();
        queued.sort_unstable_by_key(|(bytes, _)| Reverse(*bytes));
        let (mut excess, mut closed) = (self.backlog.bytes() - (max - max / 10), 0_usize);
        for (bytes, id) in queued {
            if excess == 0 {
                break;
            }
            (excess, closed) = (excess.saturating_sub(bytes), closed + 1);
            let socket = self.sockets[id.index as usize].as_ref();
            if socket.is_some_and(|socket| matches!(socket.stage, Stage::Open { .. })) {
                let code = CloseCode::OverCapacity.number();
                self.closes.push_back((id, code, "reads more slowly than its channels, and too many do".into()));
            } else {
                self.drop_socket(id.index, Departure::Vanished);
            }
        }
        tracing::warn!(
            closed,
            "the send queues of all connections have reached limits.send_queues_bytes_max: those who wait for most are closed"
        );
    }

    /// Closes what must be closed.
    pub(super) fn close(&mut self) {
        let now = self.now();
        let linger = self.config.limits.closing_timeout.as_secs();
        while let Some((id, code, reason)) = self.closes.pop_front() {
            self.hub.disconnect(id, Departure::Vanished, now);
            self.settle(None);
            let socket = self.sockets[id.index as usize].as_mut().filter(|socket| socket.id == id);
            let Some(socket) = socket.filter(|socket| !matches!(socket.stage, Stage::Closing)) else { continue };
            if socket.close(code, &reason, now.after_secs(linger)).is_err() {
                self.drop_socket(id.index, Departure::Vanished);
            } else {
                // The peer reads to the end, answers and closes; until then its bytes are thrown away.
                self.let_go(id);
                self.finish(id.index);
            }
        }
    }
}
