//! `[drain]`: how the server leaves.
//!
//! Owns three durations. Never waits for any of them. The invariant: they follow one another, and requests
//! under way have `limits.http_request_timeout_secs` after the second, so the longest stop is the sum of these
//! four, which the service's own stop timeout must exceed. Next: `log.rs`.

use std::time::Duration;

use super::file::DrainTable;
use super::limits::{DRAIN_READY_DELAY_SECS, DRAIN_WAVE_SECS, DRAIN_WEBHOOKS_FLUSH_SECS, Numbers, seconds};
use super::problem::Problems;

/// How to leave, in this order.
#[derive(Clone, Debug)]
pub struct Drain {
    /// Between reporting not ready and refusing connections.
    pub ready_delay: Duration,
    /// Over which clients are told to reconnect elsewhere.
    pub wave: Duration,
    /// To deliver the webhooks that are still queued.
    pub webhooks_flush: Duration,
}

impl Drain {
    pub(super) fn read(table: &mut DrainTable, problems: &mut Problems) -> Self {
        let mut numbers = Numbers { path: "drain", problems };
        Self {
            ready_delay: seconds(numbers.read(&DRAIN_READY_DELAY_SECS, &mut table.ready_delay_secs)),
            wave: seconds(numbers.read(&DRAIN_WAVE_SECS, &mut table.wave_secs)),
            webhooks_flush: seconds(numbers.read(&DRAIN_WEBHOOKS_FLUSH_SECS, &mut table.webhooks_flush_secs)),
        }
    }
}
