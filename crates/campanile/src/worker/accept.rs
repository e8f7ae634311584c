//! How connections come to a worker.
//!
//! Owns accepting, and the registration of each connection with the worker's epoll. Never reads a byte (`read.rs` does).
//! The invariant: no connection is accepted without a descriptor that is its own; where there is none, whoever has been
//! half open for longest makes room, and never one who is being served.

use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;

use campanile_hub::letter::Departure;
use campanile_hub::{ConnectionId, WorkerId};
use rustix::event::{PollFd, PollFlags, Timespec, epoll};

use super::{Listeners, TCP_LISTENER, UNIX_LISTENER, Worker};
use crate::http::Upgraded;
use crate::mailbox::Arrival;
use crate::node::Descriptor;
use crate::socket::{Socket, Stage};
use crate::wire::Wire;

/// A listener accepts at most so many connections in a tick.
const ACCEPTS_MAX: usize = 64;

impl Worker {
    /// Takes some of those who wait. True: there may be more.
    pub(super) fn accept(&mut self) -> bool {
        let (mut tcp, mut unix) = (0, 0);
        while tcp < ACCEPTS_MAX
            && let Some((stream, descriptor)) = self.accepted(|listeners| Some(&listeners.tcp), TcpListener::accept)
        {
            tcp += 1;
            self.take_in(Wire::tcp(stream, self.node.tls()), descriptor);
        }
        while unix < ACCEPTS_MAX
            && let Some((stream, descriptor)) = self.accepted(|listeners| listeners.unix.as_ref(), UnixListener::accept)
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

    /// One connection and its descriptor. Where there is no room and none can be made, the listeners rest until the next
    /// sweep: trying again at once would only turn in circles.
    pub(super) fn accepted<L: AsFd, S, A>(
        &mut self,
        listener: impl Fn(&Listeners) -> Option<&L>,
        accept: impl FnOnce(&L) -> io::Result<(S, A)>,
    ) -> Option<(S, Descriptor)> {
        let descriptor = loop {
            if let Some(descriptor) = self.node.take_descriptor() {
                break descriptor;
            }
            // Nobody is closed for nobody.
            if !is_awaited(listener(self.listeners.as_ref()?)?) {
                return None;
            }
            if !self.make_room() {
                self.watch_listeners(false);
                return None;
            }
        };
        match accept(listener(self.listeners.as_ref()?)?) {
            Ok((stream, _)) => Some((stream, descriptor)),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionAborted) => None,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                self.watch_listeners(false);
                None
            }
        }
    }

    /// Closes whoever has been half open for longest, be it in a handshake or in a head, or else whoever was told the end
    /// longest ago and has only not gone yet. False: there is none.
    fn make_room(&mut self) -> bool {
        let sockets = &self.sockets;
        let is_coming = |id| is_at(sockets, id, |socket| matches!(socket.stage, Stage::Head(_)));
        let has_heard_all =
            |id| is_at(sockets, id, |socket| matches!(socket.stage, Stage::Closing) && !socket.has_queued());
        let Some(spared) = self.coming.first(is_coming).or_else(|| self.going.first(has_heard_all)) else {
            return false;
        };
        tracing::debug!(connection = spared.index, "closed to make room: there are as many sockets as there may be");
        self.drop_socket(spared.index, Departure::Vanished);
        true
    }

    /// A socket has been told the end.
    pub(super) fn let_go(&mut self, id: ConnectionId) {
        let sockets = &self.sockets;
        self.going.join(id, |id| is_at(sockets, id, |socket| matches!(socket.stage, Stage::Closing)));
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
        let sockets = &self.sockets;
        self.coming.join(id, |id| is_at(sockets, id, |socket| matches!(socket.stage, Stage::Head(_))));
        Some(index)
    }
}

/// Whether a connection's socket is still there, and at that.
fn is_at(sockets: &[Option<Socket>], id: ConnectionId, stage: impl Fn(&Socket) -> bool) -> bool {
    sockets[id.index as usize].as_ref().is_some_and(|socket| socket.id == id && stage(socket))
}

/// Whether somebody waits to be accepted. If the kernel does not say, accepting will.
fn is_awaited(listener: &impl AsFd) -> bool {
    let mut listener = [PollFd::new(listener, PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    rustix::event::poll(&mut listener, Some(&at_once)).map_or(true, |ready| ready > 0)
}
