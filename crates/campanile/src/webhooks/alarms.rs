//! How often an endpoint's losses are told.
//!
//! Owns the counts since the last line in the log. Never loses one: what is not told at once is told with the next line,
//! or when the endpoint stops. The invariant: a crowd that fills a queue, be it a stranger's, fills no log.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{error, warn};

use super::queue::Placed;
use super::settings::Settings;

/// The least time between two lines about the same endpoint.
const EVERY: Duration = Duration::from_secs(60);

/// One endpoint's.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    untold: Mutex<Untold>,
}

#[derive(Debug, Default)]
struct Untold {
    dead: u64,
    lost: u64,
    told_at: Option<Instant>,
}

impl Untold {
    /// Adds to the counts, and moves them out if it is time to tell them.
    fn add(&mut self, placed: Placed, now: Instant) -> (u64, u64) {
        self.dead += placed.dead;
        self.lost += placed.lost;
        let is_time = self.told_at.is_none_or(|at| now.duration_since(at) >= EVERY);
        if (self.dead, self.lost) == (0, 0) || !is_time {
            return (0, 0);
        }
        self.told_at = Some(now);
        (std::mem::take(&mut self.dead), std::mem::take(&mut self.lost))
    }
}

impl Alarms {
    /// Counts what had no room.
    pub(super) fn add(&self, settings: &Settings, placed: Placed, why: &str) {
        let (dead, lost) = self.untold.lock().add(placed, Instant::now());
        tell(settings, dead, lost, why);
    }

    /// Tells what is left to tell.
    pub(super) fn finish(&self, settings: &Settings) {
        let Untold { dead, lost, .. } = std::mem::take(&mut *self.untold.lock());
        tell(settings, dead, lost, "since the last such line");
    }
}

fn tell(settings: &Settings, dead: u64, lost: u64, why: &str) {
    let (app, endpoint) = (&settings.app, settings.address());
    if dead > 0 {
        warn!(%app, endpoint, events = dead, why, "webhook events are dead letters now: see `campanile webhooks dead`");
    }
    if lost > 0 {
        error!(%app, endpoint, events = lost, why, "webhook events are lost");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_loss_is_told_at_once_and_the_next_ones_together_once_a_minute() {
        let (mut untold, began) = (Untold::default(), Instant::now());
        let placed = |dead, lost| Placed { pending: 5, dead, lost };
        let after = |secs| began + Duration::from_secs(secs);
        assert_eq!(untold.add(placed(0, 0), began), (0, 0));
        assert_eq!(untold.add(placed(3, 0), began), (3, 0));
        assert_eq!(untold.add(placed(4, 1), after(1)), (0, 0));
        assert_eq!(untold.add(placed(5, 0), after(59)), (0, 0));
        assert_eq!(untold.add(placed(0, 0), after(60)), (9, 1));
        assert_eq!(untold.add(placed(1, 0), after(119)), (0, 0));
        assert_eq!(untold.add(placed(0, 1), after(120)), (1, 1));
    }
}
