//! Which sockets are ready.
//!
//! Owns one epoll instance. Never reads or writes. The invariant: a socket is known by the number it was added with.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

const EVENTS_MAX: usize = 1024;

/// A socket that something can be done with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    pub(crate) number: u64,
    pub(crate) writable: bool,
}

#[derive(Debug)]
pub(crate) struct Poller(OwnedFd);

/// What to wait for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Interest {
    Read,
    ReadWrite,
    Nothing,
}

impl Interest {
    fn flags(self) -> EventFlags {
        match self {
            Self::Read => EventFlags::IN,
            Self::ReadWrite => EventFlags::IN | EventFlags::OUT,
            Self::Nothing => EventFlags::empty(),
        }
    }
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(CreateFlags::CLOEXEC)?))
    }

    pub(crate) fn add(&self, socket: impl AsFd, number: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.0, socket, EventData::new_u64(number), interest.flags())?)
    }

    pub(crate) fn change(&self, socket: impl AsFd, number: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.0, socket, EventData::new_u64(number), interest.flags())?)
    }

    /// Waits for at most this long.
    pub(crate) fn wait(&self, timeout: Duration, into: &mut Vec<Ready>) -> io::Result<()> {
        into.clear();
        let mut events: Vec<epoll::Event> = Vec::with_capacity(EVENTS_MAX);
        let timeout = rustix::event::Timespec::try_from(timeout).map_err(io::Error::other)?;
        match epoll::wait(&self.0, rustix::buffer::spare_capacity(&mut events), Some(&timeout)) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
        into.extend(events.into_iter().map(|event| {
            let (flags, data) = (event.flags, event.data);
            Ready { number: data.u64(), writable: flags.contains(EventFlags::OUT) }
        }));
        Ok(())
    }
}
