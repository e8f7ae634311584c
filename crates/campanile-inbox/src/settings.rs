//! Where notifications are kept, for how long, and how many.
//!
//! Owns every bound of the inbox. Never reads a file or the environment. The invariant: a store that is open has settings
//! that were checked. Read on in [`crate::inbox`].

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::clock::Clock;
use crate::error::OpenError;

/// Where notifications are kept.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// In this file, which no other program writes to.
    Sqlite(PathBuf),
    /// In a Postgres database, which several servers may share: `postgres://user:password@host/database`.
    Postgres(String),
}

impl fmt::Debug for StoreUrl {
    /// The address of a database may bear a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(file) => f.debug_tuple("Sqlite").field(file).finish(),
            Self::Postgres(_) => f.write_str("Postgres([redacted])"),
        }
    }
}

/// When SQLite hands what was committed to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Synchronous {
    /// Before a commit is answered: nothing that was accepted is lost in a power cut.
    #[default]
    Full,
    /// Later: a power cut may take the last commits with it, a crash of the program does not.
    Normal,
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Where notifications are kept, for how long, and how many.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where.
    pub store: StoreUrl,
    /// For SQLite alone.
    pub synchronous: Synchronous,
    /// Whether tables are made and brought up to date.
    pub migrate: bool,
    /// Who says what time it is.
    pub clock: Clock,
    /// For how long a notification is kept.
    pub retention: Duration,
    /// For how long it is remembered that one was removed.
    pub tombstones: Duration,
    /// For how long a notification key is remembered, and a notification can be retracted by it.
    pub keys: Duration,
    /// For how long it is remembered what was sent, suppressed, or failed.
    pub deliveries: Duration,
    /// For how long dead jobs are kept.
    pub dead_jobs: Duration,
    /// How long a mail waits for its notification to be seen elsewhere.
    pub mail_delay: Duration,
    /// How long a push to a browser that may be closed waits for the same.
    pub web_push_delay: Duration,
    /// How long a request to the application waits for the same.
    pub webhook_delay: Duration,
    /// How long a delivery may be tried. Later it is not known how it ended.
    pub delivery_lease: Duration,
    /// How often a job is tried.
    pub job_tries: u32,
    /// What each text, list and queue may hold.
    pub limits: Limits,
}

impl Settings {
    /// Everything but the place as it is by default.
    pub fn new(store: StoreUrl) -> Self {
        Self {
            store,
            synchronous: Synchronous::Full,
            migrate: true,
            clock: Clock::system(),
            retention: 90 * DAY,
            tombstones: 30 * DAY,
            keys: 7 * DAY,
            deliveries: 30 * DAY,
            dead_jobs: 30 * DAY,
            mail_delay: Duration::from_secs(10 * 60),
            web_push_delay: Duration::from_secs(30),
            webhook_delay: Duration::ZERO,
            delivery_lease: Duration::from_secs(120),
            job_tries: 5,
            limits: Limits::default(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let durations = [
            ("retention_days", self.retention),
            ("tombstone_days", self.tombstones),
            ("key_days", self.keys),
            ("delivery_days", self.deliveries),
            ("dead_job_days", self.dead_jobs),
            ("delivery_lease_secs", self.delivery_lease),
            ("call_timeout_secs", self.limits.call_timeout),
        ];
        for (name, value) in durations {
            if value.is_zero() || value > KEPT_MAX {
                let bounds = format!("more than nothing, and at most {} days", KEPT_MAX.as_secs() / DAY.as_secs());
                return Err(OpenError::Setting { name, value: format!("{value:?}"), bounds });
            }
        }
        let limits = &self.limits;
        let counts = [
            ("job_tries", self.job_tries as usize, 100),
            ("recipients_max", limits.recipients, 1000),
            ("audience_edit_max", limits.audience_edit, 10_000),
            ("title_bytes_max", limits.title_bytes, 64 * 1024),
            ("body_bytes_max", limits.body_bytes, 1024 * 1024),
            ("data_bytes_max", limits.data_bytes, 1024 * 1024),
            ("url_bytes_max", limits.url_bytes, 64 * 1024),
            ("name_bytes_max", limits.name_bytes, 1024),
            ("writes_waiting_max", limits.writes_waiting, 1_000_000),
            ("reads_waiting_max", limits.reads_waiting, 1_000_000),
            ("changes_max", limits.changes, 1_000_000),
            ("changes_users_max", limits.changes_users, 10_000_000),
            ("announcements_max", limits.announcements, 10_000),
            ("categories_max", limits.categories, 10_000),
            ("push_subscriptions_max", limits.push_subscriptions, 100),
            ("connections", limits.connections as usize, 1000),
        ];
        for (name, value, most) in counts {
            if value == 0 || value > most {
                return Err(OpenError::Setting { name, value: value.to_string(), bounds: format!("1 to {most}") });
            }
        }
        Ok(())
    }
}

/// The longest that anything may be kept: what is beyond is a mistake in a unit.
pub const KEPT_MAX: Duration = Duration::from_secs(3660 * 24 * 60 * 60);
/// How far ahead something may be planned: a delay, a snooze, an expiry.
pub const PLANNED_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);
/// Notifications on one page.
pub const PAGE_MAX: usize = 100;
/// Ids that are marked by one call.
pub const IDS_MAX: usize = 100;
/// Recipients, expired rows, archived rows that one transaction touches.
pub const CHUNK_ROWS: usize = 500;
/// Operations that share one commit.
pub const GROUP_COMMIT_MAX: usize = 256;
/// How long the first of them waits for others.
pub const GROUP_COMMIT_WAIT: Duration = Duration::from_millis(2);

/// What each text, list and queue may hold.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Users that one notification may name. More are an audience.
    pub recipients: usize,
    /// Members that one call may add, and remove.
    pub audience_edit: usize,
    /// A title's bytes.
    pub title_bytes: usize,
    /// A body's bytes.
    pub body_bytes: usize,
    /// The bytes of `data`, as JSON.
    pub data_bytes: usize,
    /// A link's bytes.
    pub url_bytes: usize,
    /// The bytes of an id, a kind, a category, a key, an audience's name, a label.
    pub name_bytes: usize,
    /// Calls that wait to write. At the bound: [`Busy`](crate::InboxError::Busy).
    pub writes_waiting: usize,
    /// Calls that wait to read. At the bound: [`Busy`](crate::InboxError::Busy).
    pub reads_waiting: usize,
    /// Changes that wait to be told. At the bound, one for each user.
    pub changes: usize,
    /// Users for whom a change waits beyond that bound. At this one, one for each app.
    pub changes_users: usize,
    /// Announcements of one app that are shown. At the bound the next one is a dead job.
    pub announcements: usize,
    /// Categories of one app.
    pub categories: usize,
    /// Browsers of one user. At the bound the oldest is forgotten.
    pub push_subscriptions: usize,
    /// Connections to the database; with SQLite, those that read.
    pub connections: u32,
    /// How long a call waits for its answer. Then: [`Unavailable`](crate::InboxError::Unavailable).
    pub call_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            recipients: 1000,
            audience_edit: 1000,
            title_bytes: 512,
            body_bytes: 4096,
            data_bytes: 8192,
            url_bytes: 2048,
            name_bytes: 200,
            writes_waiting: 10_000,
            reads_waiting: 1000,
            changes: 10_000,
            changes_users: 100_000,
            announcements: 1000,
            categories: 200,
            push_subscriptions: 10,
            connections: 8,
            call_timeout: Duration::from_secs(15),
        }
    }
}
