//! What a user does with a notification, and what it does to the counts.
//!
//! Owns the states of one notification, as plain values. Never touches the database. The invariant: for every mark, the
//! counts move by exactly what the notification's own standing has changed. Read on in `store/marks.rs`.

use uuid::Uuid;

use crate::clock::Timestamp;
use crate::notification::{Notification, State};

/// What a user does with a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mark {
    /// Reads it, which is seeing it as well.
    Read,
    /// Wants to come back to it. It stays seen, and archived if it was.
    Unread,
    /// Sees that it is there.
    Seen,
    /// Puts it away.
    Archive,
    /// Gets it back.
    Unarchive,
    /// Hides it until then; it comes back unread and unseen.
    Snooze(Timestamp),
}

/// A notification after a mark.
#[derive(Debug, Clone, PartialEq)]
pub struct Marked {
    /// How it is.
    pub notification: Notification,
    /// How the inbox is.
    pub state: State,
}

/// Which notifications a user has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// These.
    Ids(Vec<Uuid>),
    /// All up to this number, and all announcements up to that one.
    UpTo {
        /// The newest notification that the user was shown.
        seq: i64,
        /// The newest announcement.
        announced: Option<i64>,
    },
}
