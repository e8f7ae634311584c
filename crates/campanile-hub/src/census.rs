//! How much a mind holds.
//!
//! Owns nothing: each number is read off the map that it counts, so it cannot drift. The invariant: when every
//! connection has gone and every deadline has passed, all are 0. Read on in [`crate::hub`].

/// What one mind holds at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Census {
    /// Connections with a session.
    pub sessions: usize,
    /// Places of connections in channels, pending ones and those of watchers included.
    pub seats: usize,
    /// Channels in which this worker's connections have a place.
    pub local_channels: usize,
    /// Channels whose home this mind is.
    pub channels: usize,
    /// Those of them that are listed as occupied.
    pub occupied: usize,
    /// Channels with a deadline.
    pub timers: usize,
    /// Cache channels that remember an event.
    pub remembered: usize,
    /// What they remember, as it counts against the bound.
    pub remembered_bytes: usize,
    /// Channels that can send events again.
    pub replaying: usize,
    /// What these events take, as it counts against the bound.
    pub replay_bytes: usize,
    /// Keys of requests that are under way, or whose answers may be repeated.
    pub request_keys: usize,
    /// What they take, as it counts against the bound.
    pub request_key_bytes: usize,
    /// What the guard knows something of: orders, channels, users, names of events.
    pub guard_keys: usize,
    /// Events that the guard holds back.
    pub waiting_events: usize,
    /// Letters that wait for a reload, or for what other workers say to a mind that was lost.
    pub waiting_letters: usize,
    /// Notifications of which connections are awaited to say that they have taken them.
    pub receipts: usize,
}
