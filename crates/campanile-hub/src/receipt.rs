//! Whether a connection has taken what it was sent.
//!
//! Owns which connections are awaited to say something after a notification. Never asks a client for anything: whatever it
//! says next is the sign, be it an answer to a ping. The invariant: a receipt is taken only by a connection that was sent the
//! event in an earlier tick, to the last byte, and that has been heard since. Whoever is awaited costs a flag in its session;
//! whoever is not pays nothing. Read on in [`crate::hub`], where deliveries come and connections are heard.

use std::sync::Arc;

use crate::app::AppIndex;
use crate::fanout::ConnectionId;
use crate::letter::ChannelKey;
use crate::seeded::{Map, Seed};

/// Receipts that one connection may be awaited for. Of what comes beyond, nobody learns that it was taken.
pub const RECEIPTS_PER_CONNECTION_MAX: usize = 64;
/// Receipts that one mind may await, as above.
pub const RECEIPTS_MAX: usize = 100_000;

/// What is to be said once a user's connection has taken an event.
#[derive(Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Whose app.
    pub app: AppIndex,
    /// Whose inbox.
    pub user: Box<str>,
    /// Which notification: a UUID.
    pub notification: u128,
}

/// An event that was gathered in this tick.
#[derive(Debug, Clone)]
pub(crate) struct Gathered {
    pub(crate) connection: ConnectionId,
    pub(crate) key: ChannelKey,
    /// The seat's, which tells it from a later one in the same channel.
    pub(crate) token: u64,
    pub(crate) receipt: Arc<Receipt>,
}

/// What one mind awaits.
#[derive(Debug, Clone, Default)]
pub(crate) struct Receipts {
    gathered: Vec<Gathered>,
    awaited: Map<u32, Vec<Arc<Receipt>>>,
    count: usize,
}

impl Receipts {
    pub(crate) fn new(seed: u64) -> Self {
        Self { awaited: Map::with_hasher(Seed(seed)), ..Self::default() }
    }

    /// This event is on its way to a connection.
    pub(crate) fn gather(&mut self, gathered: Gathered) {
        if self.count + self.gathered.len() < RECEIPTS_MAX {
            self.gathered.push(gathered);
        }
    }

    /// What was gathered in this tick.
    pub(crate) fn take_gathered(&mut self) -> Vec<Gathered> {
        std::mem::take(&mut self.gathered)
    }

    pub(crate) fn has_gathered(&self) -> bool {
        !self.gathered.is_empty()
    }

    /// The connection has been written this. Whether it is awaited from now on.
    pub(crate) fn await_from(&mut self, connection: u32, receipt: Arc<Receipt>) -> bool {
        let awaited = self.awaited.entry(connection).or_default();
        let has_room = awaited.len() < RECEIPTS_PER_CONNECTION_MAX;
        if has_room {
            awaited.push(receipt);
            self.count += 1;
        }
        has_room
    }

    /// The connection is not awaited any more: it has been heard, or has gone. What it was awaited for.
    pub(crate) fn take(&mut self, connection: u32) -> Vec<Arc<Receipt>> {
        let taken = self.awaited.remove(&connection).unwrap_or_default();
        self.count -= taken.len();
        taken
    }

    /// How many are awaited, those of this tick included.
    pub(crate) fn len(&self) -> usize {
        self.count + self.gathered.len()
    }
}

#[cfg(test)]
mod tests;
