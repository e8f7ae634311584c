//! Who has taken a notification.
//!
//! Owns the moments at which that changes: an event is gathered, the tick is written, a client is heard. Never knows what
//! the kernel has taken of a write: the worker does, and says it by calling [`Hub::taken`]. The invariant: what leaves as
//! [`Effect::Taken`] was written whole, and its client has said something since. Read on in [`crate::receipt`].

use std::sync::Arc;

use super::Hub;
use crate::effect::Effect;
use crate::fanout::ConnectionId;
use crate::letter::{Audience, ChannelKey};
use crate::receipt::{Gathered, Receipt};

impl Hub {
    /// A connection that was awaited has been heard, and nothing of what it was sent before this tick waits to be written.
    pub fn taken(&mut self, id: ConnectionId) {
        let Some(session) = self.session(id) else { return };
        session.awaited = false;
        self.effects.extend(self.receipts.take(id.index).into_iter().map(Effect::Taken));
    }

    /// What the tick has gathered has been written, or waits to be: whoever is heard from now on has said it afterwards.
    pub fn written(&mut self) {
        if !self.receipts.has_gathered() {
            return;
        }
        for Gathered { connection, key, token, receipt } in self.receipts.take_gathered() {
            // Whoever has left in this tick was not written it, whether it has come back since or not.
            let seat = self.fanout.seat(connection, &key, Audience::Subscribers);
            if !seat.is_some_and(|seat| seat.joined && seat.token == token) {
                continue;
            }
            if self.receipts.await_from(connection.index, receipt)
                && let Some(session) = self.session(connection)
            {
                session.awaited = true;
            }
        }
    }

    /// A channel's listeners are about to be written an event of which its sender wants to know that it was taken.
    pub(super) fn gather_receipts(&mut self, key: &ChannelKey, receipt: &Arc<Receipt>) {
        for connection in self.fanout.listeners(key, Audience::Subscribers) {
            if let Some(seat) = self.fanout.seat(connection, key, Audience::Subscribers) {
                let (key, token, receipt) = (key.clone(), seat.token, Arc::clone(receipt));
                self.receipts.gather(Gathered { connection, key, token, receipt });
            }
        }
    }
}
