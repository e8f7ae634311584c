//! Which changes become webhooks.
//!
//! Owns the kinds of notice. Never calls anybody: the server's webhooks do. The invariant: an edge has one number, so
//! a notice that is delivered twice can be recognised by its event id.

use std::sync::Arc;

use campanile_protocol::json::DataLiteral;
use campanile_protocol::{ChannelName, EventName, SocketId, UserId};

/// Something that an application's webhook may want to hear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The app's id.
    pub app: Arc<str>,
    /// What happened.
    pub kind: NoticeKind,
    /// A number that no other notice of this process has.
    pub edge: u64,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoticeKind {
    /// A channel gained its first subscriber.
    ChannelOccupied {
        /// The channel.
        channel: ChannelName,
    },
    /// A channel lost its last subscriber and did not regain one within the grace.
    ChannelVacated {
        /// The channel.
        channel: ChannelName,
    },
    /// A user's first connection joined.
    MemberAdded {
        /// The channel.
        channel: ChannelName,
        /// The member.
        user_id: UserId,
        /// The connection that made it so.
        socket_id: SocketId,
    },
    /// A user's last connection left and none returned within the grace.
    MemberRemoved {
        /// The channel.
        channel: ChannelName,
        /// The member.
        user_id: UserId,
        /// The connection that was the last.
        socket_id: SocketId,
    },
    /// A client sent an event.
    ClientEvent {
        /// The channel.
        channel: ChannelName,
        /// The event's name.
        event: Arc<str>,
        /// Its data as sent.
        data: DataLiteral,
        /// The sender.
        socket_id: SocketId,
        /// The sending member, on presence channels.
        user_id: Option<UserId>,
    },
    /// Somebody subscribed to a cache channel that remembers nothing.
    CacheMiss {
        /// The channel.
        channel: ChannelName,
    },
    /// The number of subscribers changed.
    SubscriptionCount {
        /// The channel.
        channel: ChannelName,
        /// Connections that are subscribed.
        count: usize,
    },
    /// A connection was established.
    ConnectionOpened {
        /// Its id.
        socket_id: SocketId,
    },
    /// A connection ended.
    ConnectionClosed {
        /// Its id.
        socket_id: SocketId,
    },
    /// The guard holds up a publisher that seems to have gone wrong.
    GuardAlert {
        /// Why: the name of an [`crate::guard::AlertKind`], or another.
        reason: &'static str,
        /// Which rule; empty where it is none's.
        rule: Arc<str>,
        /// An event that it was about. The notice is not about its channel: no filter by channel hides it.
        event: Option<EventName>,
        /// All of it, as JSON.
        data: Arc<str>,
    },
    /// A user has not taken a notification.
    Notification {
        /// Whose it is.
        user: Arc<str>,
        /// All of it, as JSON.
        data: Arc<str>,
    },
}

impl NoticeKind {
    /// The event's name in a webhook, by the number of its kind.
    pub const NAMES: [&'static str; 11] = [
        "channel_occupied",
        "channel_vacated",
        "member_added",
        "member_removed",
        "client_event",
        "cache_miss",
        "subscription_count",
        "connection_opened",
        "connection_closed",
        Self::GUARD_ALERT,
        Self::NOTIFICATION,
    ];

    pub(crate) const OCCUPIED: u8 = 0;
    pub(crate) const VACATED: u8 = 1;

    /// The name of an alert.
    pub const GUARD_ALERT: &'static str = "guard_alert";

    /// The name of a notification that was not taken.
    pub const NOTIFICATION: &'static str = "notification";

    /// The number of this kind: its place in [`NoticeKind::NAMES`].
    pub fn bit(&self) -> u8 {
        match self {
            Self::ChannelOccupied { .. } => Self::OCCUPIED,
            Self::ChannelVacated { .. } => Self::VACATED,
            Self::MemberAdded { .. } => 2,
            Self::MemberRemoved { .. } => 3,
            Self::ClientEvent { .. } => 4,
            Self::CacheMiss { .. } => 5,
            Self::SubscriptionCount { .. } => 6,
            Self::ConnectionOpened { .. } => 7,
            Self::ConnectionClosed { .. } => 8,
            Self::GuardAlert { .. } => 9,
            Self::Notification { .. } => 10,
        }
    }

    /// The event's name in a webhook.
    pub fn name(&self) -> &'static str {
        Self::NAMES[self.bit() as usize]
    }

    /// The channel that the notice is about.
    pub fn channel(&self) -> Option<&ChannelName> {
        match self {
            Self::ChannelOccupied { channel }
            | Self::ChannelVacated { channel }
            | Self::MemberAdded { channel, .. }
            | Self::MemberRemoved { channel, .. }
            | Self::ClientEvent { channel, .. }
            | Self::CacheMiss { channel }
            | Self::SubscriptionCount { channel, .. } => Some(channel),
            Self::ConnectionOpened { .. }
            | Self::ConnectionClosed { .. }
            | Self::GuardAlert { .. }
            | Self::Notification { .. } => None,
        }
    }
}
