//! What the apps' limits mean for the node's: the largest thing that must fit.
//!
//! Owns the arithmetic that relates limits. Never refuses anything itself. The invariant: whatever
//! an app is allowed to send, the node can receive, and the other way round. Next: `limits.rs`,
//! which derives defaults from these sizes and refuses a setting below them.

use super::apps::AppConfig;
use super::limits::CHANNEL_NAME_LENGTH_HARD_MAX;

/// Room for names, ids and braces around the data of one event.
pub(super) const ENVELOPE_BYTES: u64 = 4096;

/// JSON inside a JSON string: a quote and a backslash take two bytes each.
const ESCAPED: u64 = 2;

/// The largest of something, and whose it is.
#[derive(Clone, Debug, Default)]
pub(super) struct Largest {
    pub(super) bytes: u64,
    pub(super) what: String,
}

impl Largest {
    fn offer(&mut self, bytes: u64, what: impl FnOnce() -> String) {
        if bytes > self.bytes {
            *self = Self { bytes, what: what() };
        }
    }
}

/// What the node must be able to hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Sizes {
    /// One message from a client.
    pub(super) from_client: Largest,
    /// One frame to a client.
    pub(super) to_client: Largest,
    /// One request to the HTTP API.
    pub(super) request: Largest,
}

impl Sizes {
    pub(super) fn of(apps: &[AppConfig]) -> Self {
        let mut sizes = Self::default();
        for app in apps {
            let (id, limits) = (&app.id, &app.limits);
            let enveloped = |data: usize| ESCAPED * data as u64 + ENVELOPE_BYTES;

            let client_event = enveloped(limits.client_event_bytes_max);
            sizes.from_client.offer(client_event, || format!("a client event of app {id:?} (client_event_bytes_max)"));
            let member = enveloped(limits.presence_member_bytes_max);
            sizes.from_client.offer(member, || format!("a member of app {id:?} (presence_member_bytes_max)"));
            // Each id of the list stands between two escaped quotes and takes a comma.
            let watched = limits.watchlist_max * (limits.presence_user_id_length_max + 5);
            let signin = member + watched as u64;
            sizes
                .from_client
                .offer(signin, || format!("a sign-in to app {id:?} (presence_member_bytes_max, watchlist_max)"));

            let event = enveloped(limits.event_data_bytes_max);
            sizes.to_client.offer(event, || format!("an event of app {id:?} (event_data_bytes_max)"));
            sizes.to_client.offer(client_event, || format!("a client event of app {id:?} (client_event_bytes_max)"));
            let snapshot = limits.presence_snapshot_bytes_max as u64;
            sizes
                .to_client
                .offer(snapshot, || format!("a presence channel of app {id:?} (presence_snapshot_bytes_max)"));

            if !app.replay_channels.is_empty() {
                // What was missed, and what comes in the same moment.
                let replay = limits.replay_bytes_max as u64 + event;
                sizes.to_client.offer(replay, || format!("a replay of app {id:?} (replay_bytes_max)"));
            }

            let batch = limits.batch_events_max as u64 * event;
            sizes.request.offer(batch, || format!("a batch to app {id:?} (batch_events_max, event_data_bytes_max)"));
            // Each name stands between quotes and takes a comma.
            let names = limits.channels_per_event_max as u64 * (CHANNEL_NAME_LENGTH_HARD_MAX + 3);
            sizes.request.offer(event + names, || {
                format!("an event to app {id:?} (channels_per_event_max, event_data_bytes_max)")
            });
        }
        sizes
    }
}
