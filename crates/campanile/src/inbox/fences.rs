//! Captured events that have a row already and are still on their way to their channel.
//!
//! Owns who waits for whom: what a row has changed is told after the event that made it. Never holds an event. The
//! invariant: whatever becomes of a request, its fence falls. Read on in `pushes.rs`, which waits, and in
//! [`crate::api`], which raises them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use uuid::Uuid;

/// What an event that hangs between its row and its channel may keep back.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// All fences of the process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fences(Arc<Mutex<HashMap<Uuid, Raised>>>);

#[derive(Debug, Default)]
struct Raised {
    /// Requests that bring the same notification.
    by: usize,
    fallen: Arc<Notify>,
}

/// Stands until it is dropped.
#[derive(Debug)]
pub(crate) struct Fence {
    fences: Fences,
    id: Uuid,
}

impl Fences {
    /// Keeps what this notification changes from being told.
    pub(crate) fn raise(&self, id: Uuid) -> Fence {
        self.0.lock().entry(id).or_default().by += 1;
        Fence { fences: self.clone(), id }
    }

    /// Waits until no fence stands before this notification, but not for long.
    pub(crate) async fn pass(&self, id: Uuid) {
        let fallen = self.0.lock().get(&id).map(|raised| Arc::clone(&raised.fallen));
        let Some(fallen) = fallen else { return };
        let notified = fallen.notified();
        // It may have fallen between the two.
        if self.0.lock().contains_key(&id) {
            let _late = tokio::time::timeout(WAIT_MAX, notified).await;
        }
    }
}

impl Drop for Fence {
    fn drop(&mut self) {
        let mut fences = self.fences.0.lock();
        let Some(raised) = fences.get_mut(&self.id) else { return };
        raised.by -= 1;
        if raised.by == 0 {
            raised.fallen.notify_waiters();
            fences.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_comes_to_a_fence_waits_until_it_falls_and_no_longer_than_the_bound() {
        let (fences, id) = (Fences::default(), Uuid::from_u128(7));
        fences.pass(id).await;
        let (first, second) = (fences.raise(id), fences.raise(id));
        let passing = tokio::spawn({
            let fences = fences.clone();
            async move { fences.pass(id).await }
        });
        tokio::task::yield_now().await;
        drop(first);
        tokio::task::yield_now().await;
        assert!(!passing.is_finished(), "another request brings the same");
        drop(second);
        passing.await.unwrap();
        assert!(fences.0.lock().is_empty());

        let _stands = fences.raise(id);
        let began = tokio::time::Instant::now();
        fences.pass(id).await;
        assert!(began.elapsed() >= WAIT_MAX);
    }
}
