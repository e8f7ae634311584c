//! One table of the limits on what clients and publishers may send.
//!
//! Owns the defaults, which are Pusher's, and the hard bounds; the configuration may set each limit per app between
//! them. Never enforces: whoever parses a value takes the limit as an argument. The invariant: relations between
//! limits hold at compile time for the defaults and at start for the rest. `docs/limits.md` is the table in words.

/// The longest channel name that any app may allow, in bytes. Older SDKs cap at 200.
pub const CHANNEL_NAME_LENGTH_HARD_MAX: usize = 200;
/// The largest payload of one event that any app may allow, in bytes.
pub const EVENT_DATA_BYTES_HARD_MAX: usize = 1024 * 1024;
/// The most members that any app may allow in a presence channel.
pub const PRESENCE_MEMBERS_HARD_MAX: usize = 10_000;
/// How far a request's `auth_timestamp` may be from our clock, in seconds.
pub const AUTH_TIMESTAMP_WINDOW_SECS: u64 = 600;

/// The limits of one app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a channel's name, prefix included.
    pub channel_name_length_max: usize,
    /// Bytes of an event's name.
    pub event_name_length_max: usize,
    /// Bytes of a published event's data, decoded.
    pub event_data_bytes_max: usize,
    /// Bytes of a client event's data as sent.
    pub client_event_bytes_max: usize,
    /// Client events per second and connection; also the burst.
    pub client_events_per_sec: u32,
    /// Channels in one trigger.
    pub channels_per_event_max: usize,
    /// Events in one batch.
    pub batch_events_max: usize,
    /// Users in one presence channel.
    pub presence_members_max: usize,
    /// Bytes of one member's `channel_data`.
    pub presence_member_bytes_max: usize,
    /// Characters of a user id.
    pub user_id_length_max: usize,
    /// Bytes of a presence channel's snapshot, as in `subscription_succeeded`.
    pub presence_snapshot_bytes_max: usize,
    /// How long a cache channel remembers its last event, in seconds.
    pub cache_ttl_secs: u64,
    /// Users on one watchlist.
    pub watchlist_max: usize,
    /// Channels of one connection.
    pub channels_per_connection_max: usize,
}

/// Pusher's limits.
pub const DEFAULT_LIMITS: Limits = Limits {
    channel_name_length_max: 164,
    event_name_length_max: 200,
    event_data_bytes_max: 10_240,
    client_event_bytes_max: 10_240,
    client_events_per_sec: 10,
    channels_per_event_max: 100,
    batch_events_max: 10,
    presence_members_max: 100,
    presence_member_bytes_max: 1024,
    user_id_length_max: 128,
    presence_snapshot_bytes_max: 1024 * 1024,
    cache_ttl_secs: 1800,
    watchlist_max: 100,
    channels_per_connection_max: 1000,
};

const _: () = {
    assert!(DEFAULT_LIMITS.channel_name_length_max <= CHANNEL_NAME_LENGTH_HARD_MAX);
    assert!(DEFAULT_LIMITS.event_data_bytes_max <= EVENT_DATA_BYTES_HARD_MAX);
    assert!(DEFAULT_LIMITS.client_event_bytes_max <= EVENT_DATA_BYTES_HARD_MAX);
    assert!(DEFAULT_LIMITS.presence_members_max <= PRESENCE_MEMBERS_HARD_MAX);
    // A full channel of members of the largest size still has a snapshot within its limit.
    assert!(
        DEFAULT_LIMITS.presence_members_max * DEFAULT_LIMITS.presence_member_bytes_max
            <= DEFAULT_LIMITS.presence_snapshot_bytes_max
    );
    // A user's own channel has a valid name.
    assert!(crate::name::USER_CHANNEL_PREFIX.len() + DEFAULT_LIMITS.user_id_length_max <= CHANNEL_NAME_LENGTH_HARD_MAX);
};

impl Default for Limits {
    fn default() -> Self {
        DEFAULT_LIMITS
    }
}
