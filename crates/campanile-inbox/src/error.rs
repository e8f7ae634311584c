//! Why the inbox did not do what it was asked.
//!
//! Owns the words for it: for each error, whose mistake it is and what to do. Never shows a value that a notification
//! holds, nor the database's address. The invariant: what the store cannot do now ([`InboxError::Unavailable`],
//! [`InboxError::Busy`]) is never taken for bad input, nor the other way round.

use std::path::PathBuf;
use std::time::Duration;

use uuid::Uuid;

use crate::notification::State;
use crate::preferences::Channel;

/// What was wrong with something that was given to us, where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Mistake {
    /// For programs: `too_long`, `missing` ..
    pub code: &'static str,
    /// For people: a sentence.
    pub message: String,
    /// Where in the body, as a JSON pointer.
    pub path: String,
}

impl Mistake {
    pub(crate) fn new(code: &'static str, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), path: path.into() }
    }
}

/// Something that was named, and that there is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thing {
    /// A notification of this user.
    Notification,
    /// A notification key.
    Key,
    /// An audience.
    Audience,
    /// A category.
    Category,
    /// A dead job.
    Job,
    /// A delivery that is being tried.
    Delivery,
}

impl Thing {
    /// For programs, as in `unknown_key`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Notification => "unknown_notification",
            Self::Key => "unknown_key",
            Self::Audience => "unknown_audience",
            Self::Category => "unknown_category",
            Self::Job => "unknown_job",
            Self::Delivery => "unknown_delivery",
        }
    }
}

/// Why the inbox did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum InboxError {
    /// What was given is not right, and will not be.
    #[error(transparent)]
    Invalid(#[from] Mistake),
    /// There is no such thing.
    #[error("{}", match .0 {
        Thing::Notification => "this user has no such notification: it was never theirs, or it was retracted, or it has expired",
        Thing::Key => "no notification was sent under this key, or it was too long ago to be remembered",
        Thing::Audience => "there is no such audience: PUT its members first",
        Thing::Category => "there is no such category: PUT it first",
        Thing::Job => "there is no such dead job",
        Thing::Delivery => "no such delivery is being tried: its lease has run out, or it was settled already",
    })]
    Unknown(Thing),
    /// Another notification was sent under the same key.
    #[error("the key was used for another notification ({id}): give each its own, or send the same body again")]
    KeyReused {
        /// The first one's id.
        id: Uuid,
    },
    /// The application requires this channel for that category.
    #[error("{channel} cannot be switched off for category {category}: the application requires it")]
    Required {
        /// Which category.
        category: String,
        /// Which channel.
        channel: Channel,
    },
    /// What was removed since then is not remembered any more.
    #[error("what has changed since then is not remembered any more: read the newest page and go on from its rev")]
    TooOld {
        /// How things are now.
        state: State,
    },
    /// As many calls wait as may.
    #[error("too much waits to be stored: try again in {} ms", retry_after.as_millis())]
    Busy {
        /// When it may be worth trying again.
        retry_after: Duration,
    },
    /// What is stored cannot be understood, or the program has gone wrong. Trying again will not help.
    #[error("the inbox has gone wrong, which is not the caller's mistake: {reason}")]
    Broken {
        /// What was found.
        reason: String,
    },
    /// The database is away, full, or read-only. Whether what was asked was done is not known.
    #[error("the inbox's database cannot do it now: {reason}")]
    Unavailable {
        /// What it said.
        reason: String,
    },
}

/// Why a notification was not accepted.
pub type AcceptError = InboxError;

/// Why an inbox could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A setting is out of its bounds.
    #[error("inbox.{name} is {value}: it must be {bounds}")]
    Setting {
        /// Its name in the configuration.
        name: &'static str,
        /// What it is.
        value: String,
        /// What it may be.
        bounds: String,
    },
    /// The database's address cannot be read. It is not shown, as it may bear a password.
    #[error("inbox.url is not the address of a Postgres database: {0}")]
    Url(String),
    /// The database cannot be opened.
    #[error("the inbox's database cannot be opened: {0}")]
    Database(String),
    /// The SQLite file cannot be opened.
    #[error("the inbox's database {} cannot be opened: {reason}", file.display())]
    File {
        /// Which file.
        file: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// The tables are older than this program, and it may not change them.
    #[error(
        "the inbox's tables are of version {found}, and this program needs {known}: start once with inbox.migrate = true"
    )]
    OlderTables {
        /// The tables' version.
        found: i64,
        /// The one that is needed.
        known: i64,
    },
    /// A newer program has changed the tables.
    #[error("the inbox's tables are of version {found}, and this program knows {known}: a newer one has been here")]
    NewerTables {
        /// The tables' version.
        found: i64,
        /// The newest one that is known.
        known: i64,
    },
    /// The operating system gave no thread.
    #[error("the inbox's thread cannot be started: {0}")]
    Thread(#[source] std::io::Error),
}
