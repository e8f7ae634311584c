//! What a user sees: notifications, and how many.
//!
//! Owns the shapes that leave the store. Never holds anything of the database. The invariant: a state is that of one
//! commit, so its numbers belong together. Read on in [`crate::draft`] for what comes in.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Timestamp;

/// How an inbox is at one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct State {
    /// Notifications and announcements that are not read, and neither archived nor snoozed.
    pub unread: i64,
    /// Those of which the user has not seen that they are there.
    pub unseen: i64,
    /// The newest notification's number.
    pub seq: i64,
    /// The newest change's number.
    pub rev: i64,
    /// The newest announcement's number.
    pub announced: i64,
}

/// A button.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Action {
    /// What is on it.
    pub label: String,
    /// Where it leads.
    pub url: String,
}

/// What a notification is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    /// As in `document`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Which one.
    pub id: String,
}

/// A stored notification, as its user sees it. Serialised, it is what browsers get.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Notification {
    /// The same for every recipient.
    pub id: Uuid,
    /// Its place in the user's inbox; of an announcement, among the app's announcements.
    pub seq: i64,
    /// The user's change that made it as it is; 0 for an announcement that the user has not touched.
    pub rev: i64,
    /// Whether it is one row for many.
    pub announcement: bool,
    /// As in `comment.added`.
    pub kind: String,
    /// What preferences are kept for.
    pub category: Option<String>,
    /// One line.
    pub title: String,
    /// More lines.
    pub body: Option<String>,
    /// Where a click leads.
    pub action_url: Option<String>,
    /// At most two buttons.
    pub actions: Vec<Action>,
    /// What the application wants to have with it: an object.
    pub data: serde_json::Value,
    /// What it is about.
    pub subject: Option<Subject>,
    /// The digest that it gathers.
    pub group: Option<String>,
    /// How many it stands for.
    pub group_count: i64,
    /// When it came.
    pub created_at: Timestamp,
    /// When another one was gathered into it, or when it came.
    pub updated_at: Timestamp,
    /// When it was read.
    pub read_at: Option<Timestamp>,
    /// When it was seen.
    pub seen_at: Option<Timestamp>,
    /// When it was archived.
    pub archived_at: Option<Timestamp>,
    /// Until when it is hidden.
    pub snoozed_until: Option<Timestamp>,
    /// When it will be gone.
    pub expires_at: Option<Timestamp>,
}
