//! How connections come to a worker.
//!
//! Owns accepting, and the registration of each connection with the worker's epoll. Never reads a byte (`read.rs` does).
//! The invariant: no connection is accepted without a descriptor that is its own; where there is none, the listeners
//! rest until the next sweep.

use std::io;
use std::os::unix::net::UnixListener;

use campanile_hub::{ConnectionId, WorkerId};
use rustix::event::epoll;

use super::{Listeners, TCP_LISTENER, UNIX_LISTENER, Worker};
use crate::http::Upgraded;
use crate::mailbox::Arrival;
use crate::node::Descriptor;
use crate::socket::Socket;
use crate::wire::Wire;

/// A listener accepts at most so many connections in a tick.
const ACCEPTS_MAX: usize = 64;

impl Worker {
    /// Takes some of those who wait. True: there may be more.
    pub(super) fn accept(&mut self) -> bool {
        let (mut tcp, mut unix) = (0, 0);
        while tcp < ACCEPTS_MAX
            && let Some((stream, descriptor)) = self.accepted(|listeners| Some(listeners.tcp.accept()))
        {
            tcp += 1;
            self.take_in(Wire::tcp(stream, self.node.tls()), descriptor);
        }
        while unix < ACCEPTS_MAX
            && let Some((stream, descriptor)) =
                self.accepted(|listeners| listeners.unix.as_ref().map(UnixListener::accept))
        {
            unix += 1;
            let arrival = Arrival { stream, descriptor };
            self.next_worker = (self.next_worker + 1) % self.post.workers();
            let to = WorkerId(self.next_worker);
            // At a drain the others may have ended already.
            let is_mine = to == self.id || self.node.is_draining();
            let kept = if is_mine { Err(arrival) } else { self.post.hand_over(to, arrival) };
            if let Err(Arrival { stream, descriptor }) = kept {
                self.take_in(Wire::unix(stream), descriptor);
            }
        }
        tcp == ACCEPTS_MAX || unix == ACCEPTS_MAX
    }

    /// One connection and its descriptor. Where there is no room, the listeners rest until the next sweep: trying again
    /// at once would only turn in circles.
    pub(super) fn accepted<S, A>(
        &mut self,
        accept: impl FnOnce(&Listeners) -> Option<io::Result<(S, A)>>,
    ) -> Option<(S, Descriptor)> {
        let listeners = self.listeners.as_ref()?;
        let Some(descriptor) = self.node.take_descriptor() else {
            self.watch_listeners(false);
            return None;
        };
        match accept(listeners)? {
            Ok((stream, _)) => Some((stream, descriptor)),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionAborted) => None,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                self.watch_listeners(false);
                None
            }
        }
    }

    pub(super) fn watch_listeners(&mut self, wanted: bool) {
        let Some(listeners) = &self.listeners else { return };
        let flags = if wanted { epoll::EventFlags::IN } else { epoll::EventFlags::empty() };
        let epoll = self.epoll.get_ref();
        // If a listener cannot be silenced, it is looked at more often than need be; if not watched, tried again later.
        let mut done = epoll::modify(epoll, &listeners.tcp, epoll::EventData::new_u64(TCP_LISTENER), flags);
        if let Some(unix) = &listeners.unix {
            done = done.and(epoll::modify(epoll, unix, epoll::EventData::new_u64(UNIX_LISTENER), flags));
        }
        self.pauses = !wanted || done.is_err();
    }

    /// Takes back the connections that have become WebSockets after other requests.
    pub(super) fn take_upgraded(&mut self) {
        while self.permits.is_free()
            && let Some(Upgraded { wire, request, rest, descriptor, slot }) = self.http.next_upgraded()
        {
            drop(slot);
            if let Some(index) = self.take_in(Ok(wire), descriptor) {
                self.enter(index, &request, rest);
            }
        }
    }

    /// Begins to listen to a connection. One that cannot be set up is closed, which tells its peer.
    pub(super) fn take_in(&mut self, wire: io::Result<Wire>, descriptor: Descriptor) -> Option<u32> {
        let wire = wire.ok()?;
        let index = self.free.pop().unwrap_or_else(|| {
            self.sockets.push(None);
            self.generations.push(0);
            u32::try_from(self.sockets.len() - 1).expect("sockets are numbered in 32 bits")
        });
        let data = epoll::EventData::new_u64(index.into());
        if epoll::add(self.epoll.get_ref(), &wire, data, epoll::EventFlags::IN).is_err() {
            self.free.push(index);
            return None;
        }
        let id = ConnectionId { index, generation: self.generations[index as usize] };
        let timeout = self.config.limits.head_timeout.as_secs();
        let look_at = self.now().after_secs(timeout);
        self.sockets[index as usize] = Some(Socket::new(id, wire, descriptor, &self.backlog, look_at));
        Some(index)
    }
}
