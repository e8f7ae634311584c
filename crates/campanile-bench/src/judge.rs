//! What becomes of everything that clients meet during a scenario.
//!
//! Owns the books and the list of connections that the server has closed. The invariant: nothing that a client meets is
//! ignored, but for frames that are no publications.

use std::time::Instant;

use memchr::memmem;

use crate::books::Books;
use crate::fleet::Met;
use crate::load::Load;
use crate::stamp::Reader;

#[derive(Debug)]
pub(crate) struct Judge {
    pub(crate) books: Books,
    /// Clients that the server has closed, with its code.
    pub(crate) closed: Vec<(usize, Option<u16>)>,
    /// Frames of each kind that presence scenarios count.
    pub(crate) members_added: u64,
    pub(crate) members_removed: u64,
    reader: Reader,
    start: Instant,
}

impl Judge {
    /// For so many clients of this load, whose clock it shares.
    pub(crate) fn new(clients: usize, load: &Load) -> Self {
        let start = load.start();
        let books = Books::new(clients, load.publishers.count().max(1));
        Self { books, closed: Vec::new(), members_added: 0, members_removed: 0, reader: Reader::new(), start }
    }

    pub(crate) fn met(&mut self, client: usize, what: Met<'_>) {
        match what {
            Met::Frame(frame) => match self.reader.find(frame) {
                Some(stamp) => {
                    let now_ns = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
                    self.books.arrive(client, stamp, now_ns);
                }
                None if memmem::find(frame, b"pusher_internal:member_added").is_some() => self.members_added += 1,
                None if memmem::find(frame, b"pusher_internal:member_removed").is_some() => self.members_removed += 1,
                None => {}
            },
            Met::Closed(code) => self.closed.push((client, code)),
            Met::Subscribed => {}
        }
    }
}
