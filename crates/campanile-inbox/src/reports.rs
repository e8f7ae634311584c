//! What operators and auditors are told.
//!
//! Owns the shapes. Never holds a secret. The invariant: what is counted is counted in the database, not along the way.

use serde::Serialize;

use crate::clock::Timestamp;
use crate::delivery::{Contact, DeliveryRecord, PushSubscription};
use crate::notification::{Notification, State};
use crate::preferences::Switches;

/// How much waits, and how much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Depths {
    /// Jobs that are due and not stored.
    pub jobs_due: u64,
    /// How long the oldest of them has been due.
    pub oldest_due_ms: u64,
    /// Jobs whose time is still to come.
    pub jobs_delayed: u64,
    /// Jobs that were given up.
    pub jobs_dead: u64,
    /// Deliveries beyond the socket that wait.
    pub deliveries_waiting: u64,
    /// Deliveries that are being tried.
    pub deliveries_trying: u64,
    /// Calls that wait to write.
    pub writes_waiting: u64,
    /// Changes that wait to be told.
    pub changes_waiting: u64,
    /// Operations that were committed since the start.
    pub committed: u64,
    /// Commits that they shared.
    pub commits: u64,
    /// How often the writer was replaced since the start.
    pub writers_replaced: u64,
}

/// What was removed with a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Erased {
    /// Whether anything was known of them.
    pub known: bool,
    /// Notifications.
    pub notifications: u64,
    /// Records of deliveries.
    pub deliveries: u64,
    /// Browsers.
    pub push_subscriptions: u64,
    /// Audiences that they were members of.
    pub audiences: u64,
    /// Notifications that waited for them.
    pub waiting: u64,
}

/// Everything about a user.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Export {
    /// Whose app.
    pub app: String,
    /// Who.
    pub user: String,
    /// When it was asked for.
    pub exported_at: Timestamp,
    /// How to reach them.
    pub contact: Contact,
    /// How their inbox is.
    pub state: State,
    /// All of it, newest first, what is archived and snoozed included.
    pub notifications: Vec<Notification>,
    /// What they have chosen, by category.
    pub preferences: std::collections::BTreeMap<String, Switches>,
    /// Audiences that they are members of.
    pub audiences: Vec<String>,
    /// What was sent to them, newest first.
    pub deliveries: Vec<DeliveryRecord>,
    /// Their browsers.
    pub push_subscriptions: Vec<PushSubscription>,
}

/// What the counts were, beside the rows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Reconciled {
    /// Users that were looked at.
    pub users: u64,
    /// Those whose counts were wrong, at most 100 of them, each as `app/user: what it was and is`.
    pub wrong: Vec<String>,
    /// How many those are.
    pub wrong_count: u64,
}
