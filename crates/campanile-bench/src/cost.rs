//! What a stretch of a run has cost.
//!
//! Owns the two readings, before and after, of the server's and of this tool's CPU time. The invariant: what is not
//! known (a server on another machine) is absent, not zero.

use std::io;
use std::time::{Duration, Instant};

use crate::usage::{Memory, Process};

/// The readings at the beginning of a stretch.
#[derive(Debug)]
pub(crate) struct Meter {
    server: Option<(Process, Duration)>,
    own: Duration,
    start: Instant,
}

/// What the stretch has cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) server: Option<Duration>,
    pub(crate) own: Duration,
    pub(crate) elapsed: Duration,
}

impl Meter {
    pub(crate) fn start(server: Option<Process>) -> io::Result<Self> {
        let server = server.map(|process| Ok::<_, io::Error>((process, process.cpu()?))).transpose()?;
        Ok(Self { server, own: Process::own().cpu_alone(), start: Instant::now() })
    }

    pub(crate) fn stop(self) -> io::Result<Cost> {
        let elapsed = self.start.elapsed();
        let server = self.server.map(|(process, before)| Ok::<_, io::Error>(process.cpu()?.saturating_sub(before)));
        Ok(Cost { server: server.transpose()?, own: Process::own().cpu_alone().saturating_sub(self.own), elapsed })
    }
}

/// The server's memory now, if it runs here.
pub(crate) fn memory(server: Option<Process>) -> io::Result<Option<Memory>> {
    server.map(Process::memory).transpose()
}
