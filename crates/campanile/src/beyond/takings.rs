//! Notifications that were taken on a socket, on their way to the store.
//!
//! Owns the list between the workers, which see it, and the courier, which writes it down before it looks for what is still
//! to be sent. Never waits for the store. The invariant: at the bound a taking is forgotten, and its user gets a mail that
//! they did not need; never the other way round. Read on in [`campanile_hub::receipt`].

use std::collections::BTreeMap;
use std::sync::Arc;

use campanile_hub::{AppIndex, Receipt};
use campanile_inbox::Uuid;
use parking_lot::Mutex;

/// Takings that may wait for the courier; it comes once a second.
pub const TAKINGS_MAX: usize = 100_000;

/// What was taken and is not written down yet.
#[derive(Debug, Default)]
pub struct Takings(Mutex<Vec<Arc<Receipt>>>);

impl Takings {
    /// A connection has taken this.
    pub fn note(&self, receipt: Arc<Receipt>) {
        let mut waiting = self.0.lock();
        if waiting.len() < TAKINGS_MAX {
            waiting.push(receipt);
        }
    }

    /// What could not be written down is to be tried again.
    pub fn note_again(&self, app: AppIndex, user: &str, notification: Uuid) {
        self.note(Arc::new(Receipt { app, user: user.into(), notification: notification.as_u128() }));
    }

    /// What has been taken since this was last called, by user.
    pub fn take(&self) -> BTreeMap<(AppIndex, Box<str>), Vec<Uuid>> {
        let receipts = std::mem::take(&mut *self.0.lock());
        let mut by_user: BTreeMap<_, Vec<Uuid>> = BTreeMap::new();
        for receipt in receipts {
            let ids = by_user.entry((receipt.app, receipt.user.clone())).or_default();
            let id = Uuid::from_u128(receipt.notification);
            // Two tabs are two connections.
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        by_user
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(user: &str, notification: u128) -> Arc<Receipt> {
        Arc::new(Receipt { app: AppIndex(0), user: user.into(), notification })
    }

    #[test]
    fn what_was_taken_is_told_once_for_each_user_and_notification() {
        let takings = Takings::default();
        for (user, notification) in [("7", 1), ("8", 1), ("7", 2), ("7", 1)] {
            takings.note(receipt(user, notification));
        }
        let ids = |ids: &[u128]| ids.iter().copied().map(Uuid::from_u128).collect::<Vec<_>>();
        let expected = [(AppIndex(0), "7", ids(&[1, 2])), (AppIndex(0), "8", ids(&[1]))];
        let taken: Vec<_> = takings.take().into_iter().collect();
        assert_eq!(taken.len(), 2);
        for (((app, user), ids), expected) in taken.iter().zip(&expected) {
            assert_eq!((*app, &**user, ids), (expected.0, expected.1, &expected.2));
        }
        assert!(takings.take().is_empty());
    }

    #[test]
    fn as_many_wait_as_the_bound_and_the_next_is_forgotten() {
        let takings = Takings::default();
        for number in 0..=TAKINGS_MAX as u128 {
            takings.note(receipt(&(number % 1000).to_string(), number / 1000));
        }
        assert_eq!(takings.take().values().map(Vec::len).sum::<usize>(), TAKINGS_MAX);
    }
}
