//! What of an inbox is shown at once.
//!
//! Owns filters, cursors and pages. Never asks the database. The invariant: a cursor is where the page before has ended,
//! so what comes in between changes no page that is still to come. Read on in `store/`.

use std::fmt;

use serde::Serialize;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::error::Mistake;
use crate::notification::{Notification, State};

/// Which notifications are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Status {
    /// What is neither archived nor snoozed.
    #[default]
    Open,
    /// Of those, what is not read.
    Unread,
    /// What is archived.
    Archived,
    /// What is hidden for a while.
    Snoozed,
    /// Everything.
    All,
}

impl Status {
    /// The one that is written so.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "open" => Self::Open,
            "unread" => Self::Unread,
            "archived" => Self::Archived,
            "snoozed" => Self::Snoozed,
            "all" => Self::All,
            _ => return None,
        })
    }
}

/// Where a page has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cursor {
    /// Notifications below this number are still to come.
    pub(crate) seq: i64,
    /// Announcements below this one.
    pub(crate) announced: i64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.seq, self.announced)
    }
}

impl Serialize for Cursor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Cursor {
    /// Reads what [`Display`](fmt::Display) wrote.
    ///
    /// # Errors
    ///
    /// When it did not.
    pub fn parse(text: &str) -> Result<Self, Mistake> {
        let wrong = || Mistake::new("bad_cursor", "/before", "not a cursor: pass on `next` of the page before");
        let (seq, announced) = text.split_once('-').ok_or_else(wrong)?;
        let number = |text: &str| text.parse().ok().filter(|number| *number >= 0).ok_or_else(wrong);
        Ok(Self { seq: number(seq)?, announced: number(announced)? })
    }
}

/// What of an inbox is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PageQuery {
    /// Where the page before has ended; the newest if there was none.
    pub before: Option<Cursor>,
    /// Which are meant.
    pub status: Status,
    /// Of which category.
    pub category: Option<String>,
    /// How many, 1 to [`PAGE_MAX`](crate::settings::PAGE_MAX); 20 if nothing is said.
    pub limit: Option<usize>,
}

/// What of an inbox has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChangesQuery {
    /// The last change that is known.
    pub since: i64,
    /// The last announcement that is known. Without it, no new announcement is told. They come with the last page, beside
    /// its limit; more than [`PAGE_MAX`](crate::settings::PAGE_MAX) are too many, and [`TooOld`](crate::InboxError::TooOld).
    pub announced: Option<i64>,
    /// How many, as for a page.
    pub limit: Option<usize>,
}

/// Newest first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Page {
    /// What was asked for.
    pub notifications: Vec<Notification>,
    /// Where to go on, if there is more.
    pub next: Option<Cursor>,
    /// Nothing here, so that both kinds of page read alike.
    pub gone: Vec<Uuid>,
    /// How the inbox is.
    #[serde(flatten)]
    pub state: State,
}

/// What is marked at a stroke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stroke {
    /// They are read, and so they are seen.
    Read,
    /// They are seen.
    Seen,
}

/// Up to where something is marked, at a stroke. What has a higher `rev` than the floor was changed since, and is as it
/// says itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Floor {
    /// What they are.
    pub mark: Stroke,
    /// Whether it is announcements that are marked, or the user's own.
    pub announcements: bool,
    /// Of which category; of all if there is none.
    pub category: Option<String>,
    /// Those up to this number.
    pub up_to: i64,
    /// When.
    pub at: Timestamp,
    /// Which change it was.
    pub rev: i64,
}

/// Oldest change first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChangesPage {
    /// What came or is otherwise than before.
    pub notifications: Vec<Notification>,
    /// The `since` to go on from, if there is more.
    pub next: Option<i64>,
    /// What was removed.
    pub gone: Vec<Uuid>,
    /// What was marked at a stroke.
    pub floors: Vec<Floor>,
    /// How the inbox is.
    #[serde(flatten)]
    pub state: State,
}
