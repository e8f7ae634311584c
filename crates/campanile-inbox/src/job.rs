//! Accepted notifications that are not stored yet.
//!
//! Owns how they are shown to operators. Never runs one. The invariant: a job leaves its table when all its recipients
//! have the notification, or when somebody cancels it. Read on in `courier.rs`.

use serde::Serialize;
use uuid::Uuid;

use crate::clock::Timestamp;

/// Which jobs are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// They will be stored when they are due.
    Waiting,
    /// They failed as often as they may.
    Dead,
}

/// An accepted notification that is not stored yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobRecord {
    /// Its number; newer jobs have higher ones.
    pub id: i64,
    /// The notification's id.
    pub notification: Uuid,
    /// As in `comment.added`.
    pub kind: String,
    /// The notification's key.
    pub key: Option<String>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it is due.
    pub due_at: Timestamp,
    /// How often it was tried.
    pub attempts: i64,
    /// What went wrong the last time.
    pub error: Option<String>,
    /// When it was given up.
    pub died_at: Option<Timestamp>,
}
