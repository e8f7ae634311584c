//! Who writes down what apps use, and answers what they have used.
//!
//! Owns one thread, the only one that touches `usage.json` and `usage.redb`. Never counts. The invariants: no worker waits for
//! a disk, a question that finds too many before it is refused; what could not be written is kept and written the next time.
//! Read on in [`crate::ledger`] for budgets and in [`crate::journal`] for the hours.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{io, mem};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::config::limits::USAGE_QUESTIONS_MAX;
use crate::journal::question::{Question, Unanswered};
use crate::journal::store::{JournalError, Store};
use crate::journal::{Flush, HOUR_SECS, Journal, report};
use crate::ledger::{self, Ledger};

/// How often the files are written, if anything has changed. With the time that workers take to hand over, and the disk, a
/// kill loses no more than five seconds.
const FLUSH_EVERY: Duration = Duration::from_secs(4);

/// Why there is no clerk.
#[derive(Debug, thiserror::Error)]
pub enum ClerkError {
    /// The journal cannot be had.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// No thread.
    #[error("cannot start the thread that writes usage: {0}")]
    Thread(io::Error),
}

/// What the clerk is asked to do.
#[derive(Debug)]
pub(crate) enum Errand {
    /// To answer a question; nobody minds if whoever asked has gone.
    Answer { question: Box<Question>, answer: oneshot::Sender<Result<Bytes, Unanswered>> },
    /// To write what is left, and to end.
    Finish,
}

/// The thread, as its employer knows it.
#[derive(Debug)]
pub(crate) struct Clerk {
    errands: SyncSender<Errand>,
    thread: JoinHandle<io::Result<()>>,
}

impl Clerk {
    /// Opens the journal's file and begins. `hours_max` says how many hours are kept, each time it is asked.
    pub(crate) fn hire(
        ledger: Arc<Ledger>,
        journal: Arc<Journal>,
        state_dir: &Path,
        hours_max: impl Fn() -> u64 + Send + 'static,
    ) -> Result<Self, ClerkError> {
        let (store, opened) = Store::open(state_dir, ledger::now_secs() / HOUR_SECS)?;
        let (errands, inbox) = mpsc::sync_channel(USAGE_QUESTIONS_MAX);
        journal.resume(&opened, errands.clone());
        let desk = Desk { store, flush: opened.flush, owed: None, journal, has_failed: false };
        let work = move || work(&ledger, desk, &inbox, hours_max);
        let thread = thread::Builder::new().name("usage".to_owned()).spawn(work).map_err(ClerkError::Thread)?;
        Ok(Self { errands, thread })
    }

    /// Writes what is left. Nobody counts any more.
    pub(crate) fn finish(self) -> io::Result<()> {
        // If there is nobody to hear it, the thread has panicked, as the next line says.
        let _ = self.errands.send(Errand::Finish);
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that writes usage has panicked")))
    }
}

fn work(ledger: &Ledger, mut desk: Desk, inbox: &Receiver<Errand>, hours_max: impl Fn() -> u64) -> io::Result<()> {
    let mut next_flush = Instant::now() + FLUSH_EVERY;
    let (mut has_failed, mut tidied) = (false, 0);
    loop {
        match inbox.recv_timeout(next_flush.saturating_duration_since(Instant::now())) {
            Ok(Errand::Answer { question, answer }) => {
                let _ = answer.send(desk.answer(&question));
                // Whoever asks without end must not keep anything from being written.
                if Instant::now() < next_flush {
                    continue;
                }
            }
            Ok(Errand::Finish) | Err(RecvTimeoutError::Disconnected) => {
                let written = ledger.flush();
                return written.and(desk.flush().map_err(io::Error::other));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
        next_flush = Instant::now() + FLUSH_EVERY;
        match ledger.flush() {
            Ok(()) => has_failed = false,
            Err(error) => {
                if !mem::replace(&mut has_failed, true) {
                    tracing::error!(%error, "cannot write down what apps use: after a restart budgets begin from what was written last");
                }
            }
        }
        desk.flush_and_tell();
        let hour = ledger::now_secs() / HOUR_SECS;
        if mem::replace(&mut tidied, hour) != hour {
            desk.tidy(hour.saturating_sub(hours_max()));
        }
    }
}

/// What lies before the clerk.
#[derive(Debug)]
struct Desk {
    store: Store,
    journal: Arc<Journal>,
    /// The id of the last flush that was put together.
    flush: u64,
    /// One that failed, and may be in the file nevertheless.
    owed: Option<Flush>,
    has_failed: bool,
}

impl Desk {
    /// Writes what is owed, then what has come since.
    fn flush(&mut self) -> Result<(), JournalError> {
        if let Some(owed) = &self.owed {
            self.store.write(owed)?;
            self.owed = None;
        }
        let (hours, forgotten) = self.journal.take();
        if forgotten > 0 {
            tracing::error!(hours = forgotten, "usage could not be written for so long that some of it is lost");
        }
        if hours.is_empty() {
            return Ok(());
        }
        self.flush += 1;
        let flush = Flush { id: self.flush, hours };
        let written = self.store.write(&flush);
        if written.is_err() {
            self.owed = Some(flush);
        }
        written
    }

    fn flush_and_tell(&mut self) {
        match self.flush() {
            Ok(()) => self.has_failed = false,
            Err(error) => {
                if !mem::replace(&mut self.has_failed, true) {
                    tracing::error!(%error, "cannot write down what apps use hour by hour: it is kept in memory and tried again");
                }
            }
        }
    }

    fn answer(&mut self, question: &Question) -> Result<Bytes, Unanswered> {
        let mut unwritten = self.journal.unwritten(&question.app);
        if let Some(owed) = &self.owed {
            // What has been written after all is not to be counted twice.
            let last = self.store.last_flush().map_err(|error| {
                tracing::error!(%error, "cannot read what apps have used");
                Unanswered::Unreadable
            })?;
            if last < owed.id {
                let of_app = owed.hours.iter().filter(|((app, _), _)| **app == *question.app);
                unwritten.extend(of_app.map(|((_, hour), of_hour)| (*hour, of_hour.clone())));
            }
        }
        let report = report::answer(question, &mut self.store, &unwritten)?;
        Ok(report.written(question.format).into())
    }

    /// Forgets the hours before this one.
    fn tidy(&mut self, first: u64) {
        match self.store.forget_before(first) {
            Ok(0) => {}
            Ok(rows) => tracing::debug!(rows, "forgot usage that is older than usage_hours_max"),
            Err(error) => tracing::error!(%error, "cannot forget old usage: it is tried again in an hour"),
        }
    }
}

#[cfg(test)]
mod tests;
