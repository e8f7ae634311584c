//! `[inbox]` and `[apps.inbox]`: where notifications are kept, and how each app's users reach theirs.
//!
//! Owns the way from the file to [`InboxConfig`], [`Inboxes`] and [`ServerToken`]s. Never opens a store. The invariants: an
//! app has an inbox only where the node has a store; every pattern names its user on a channel that the application signs.
//! Next: `limits.rs` for the bounds.

use std::path::{Path, PathBuf};
use std::time::Duration;

use campanile_hub::guard::Pattern;
use campanile_hub::{Capture, Inboxes, OnStoreError};
use campanile_protocol::json::Pointer;

use super::apps::{self, AppConfig};
use super::file::{AppInboxTable, CaptureTable, InboxTable, ServerTokenTable};
use super::limits::{self, Numbers, SERVER_TOKEN_LENGTH_MAX, SERVER_TOKEN_LENGTH_MIN, count};
use super::problem::Problems;
use super::secret::{REDACTED, REDACTED_REFUSAL, Secret};

/// The SQLite file's name in `state_dir`.
pub const STORE_FILE: &str = "campanile.db";

/// What Laravel calls the event that it broadcasts a notification with.
pub const LARAVEL_NOTIFICATION: &str = r"Illuminate\Notifications\Events\BroadcastNotificationCreated";

const SECONDS_PER_DAY: u64 = 86_400;

/// Where notifications are kept, and for how long.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InboxConfig {
    /// Where they are kept.
    pub store: InboxStore,
    /// Whether a start changes the tables of an older version.
    pub migrate: bool,
    /// How long a notification is kept.
    pub retention: Duration,
    /// How long it is remembered that one has gone.
    pub tombstones: Duration,
    /// How long a notification's key is remembered.
    pub keys: Duration,
    /// How long it is remembered what was sent beyond the socket.
    pub deliveries: Duration,
    /// How long a notification is kept that could not be stored.
    pub dead_jobs: Duration,
    /// Connections to the database.
    pub connections: u32,
    /// Calls that may wait to write.
    pub writes_waiting_max: usize,
    /// Calls that may wait to read.
    pub reads_waiting_max: usize,
    /// Browsers that may be fed over HTTP.
    pub streams_max: usize,
}

/// Where notifications are kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum InboxStore {
    /// A file in `state_dir`.
    Sqlite {
        /// Which.
        file: PathBuf,
        /// When a change counts as written.
        synchronous: Synchronous,
    },
    /// A server.
    Postgres {
        /// With a password, perhaps.
        url: Secret,
    },
}

/// When a change counts as written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Synchronous {
    /// When it is on the disk.
    Full,
    /// When the system has it: a loss of power may take the last ones.
    Normal,
}

/// What an application's servers may identify themselves with instead of a signature.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerToken(pub Secret);

impl InboxConfig {
    pub(super) fn read(table: Option<&mut InboxTable>, state_dir: &Path, problems: &mut Problems) -> Option<Self> {
        let table = table?;
        let store = store(table, state_dir, problems);
        let mut numbers = Numbers { path: "inbox", problems };
        let mut days = |limit, written| Duration::from_secs(numbers.read(limit, written) * SECONDS_PER_DAY);
        let retention = days(&limits::INBOX_RETENTION_DAYS, &mut table.retention_days);
        let tombstones = days(&limits::INBOX_TOMBSTONE_DAYS, &mut table.tombstone_days);
        let keys = days(&limits::INBOX_KEY_DAYS, &mut table.key_days);
        let deliveries = days(&limits::INBOX_DELIVERY_DAYS, &mut table.delivery_days);
        let dead_jobs = days(&limits::INBOX_DEAD_JOB_DAYS, &mut table.dead_job_days);
        Some(Self {
            migrate: *table.migrate.get_or_insert(true),
            retention,
            tombstones,
            keys,
            deliveries,
            dead_jobs,
            connections: u32::try_from(numbers.read(&limits::INBOX_CONNECTIONS, &mut table.connections)).unwrap_or(1),
            writes_waiting_max: count(numbers.read(&limits::INBOX_WRITES_WAITING_MAX, &mut table.writes_waiting_max)),
            reads_waiting_max: count(numbers.read(&limits::INBOX_READS_WAITING_MAX, &mut table.reads_waiting_max)),
            streams_max: count(numbers.read(&limits::INBOX_STREAMS_MAX, &mut table.streams_max)),
            store: store?,
        })
    }
}

fn store(table: &mut InboxTable, state_dir: &Path, problems: &mut Problems) -> Option<InboxStore> {
    let (at, url) = match (&table.url, &table.url_file) {
        (Some(_), Some(_)) => {
            problems.at("inbox", "has both url and url_file: remove one");
            return None;
        }
        (Some(url), None) => ("inbox.url", url.clone()),
        (None, Some(file)) => match apps::read_secret_file(file) {
            Ok(url) => ("inbox.url_file", url),
            Err(reason) => {
                problems.at("inbox.url_file", reason);
                return None;
            }
        },
        (None, None) => {
            let word = table.synchronous.get_or_insert_with(|| "full".to_owned());
            let synchronous = match word.as_str() {
                "full" => Synchronous::Full,
                "normal" => Synchronous::Normal,
                other => {
                    problems.at("inbox.synchronous", format!("{other:?} is unknown: write \"full\" or \"normal\""));
                    return None;
                }
            };
            return Some(InboxStore::Sqlite { file: state_dir.join(STORE_FILE), synchronous });
        }
    };
    if table.synchronous.is_some() {
        problems.at("inbox.synchronous", "is for SQLite: Postgres has synchronous_commit, a setting of its own");
        return None;
    }
    let text = url.expose();
    if text == REDACTED {
        problems.at(at, REDACTED_REFUSAL);
        return None;
    }
    if !["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme)) {
        problems
            .at(at, "must begin with postgres://; leave url out to keep notifications in a SQLite file in state_dir");
        return None;
    }
    Some(InboxStore::Postgres { url })
}

/// Reads an app's inboxes.
pub(super) fn read_app(
    table: Option<&mut AppInboxTable>,
    path: &str,
    has_store: bool,
    problems: &mut Problems,
) -> Option<Inboxes> {
    let (table, path) = (table?, format!("{path}.inbox"));
    if !has_store {
        problems.at(&path, "needs a store: write [inbox], an empty table will do, before the apps");
        return None;
    }
    let mut patterns = |written: &[String], name: &str| -> Vec<Pattern> {
        let read = |(index, text): (usize, &String)| signed_pattern(text, &format!("{path}.{name}[{index}]"), problems);
        written.iter().enumerate().filter_map(read).collect()
    };
    let channels = patterns(&table.channels, "channels");
    let identity = patterns(&table.identity, "identity");
    let captures: Vec<Capture> = table
        .capture
        .iter_mut()
        .enumerate()
        .filter_map(|(index, table)| capture(table, &format!("{path}.capture[{index}]"), problems))
        .collect();
    if table.channels.is_empty() {
        let text = "needs channels, where each user's inbox is pushed, as in [\"private-App.Models.User.{user}\"]";
        problems.missing(&path, "channels", text);
        return None;
    }
    Some(Inboxes { channels, identity, captures })
}

/// A channel that names its user, that only those enter whom the application lets in, and whose events we can write.
fn signed_pattern(text: &str, at: &str, problems: &mut Problems) -> Option<Pattern> {
    let pattern = match Pattern::parse(text) {
        Ok(pattern) => pattern,
        Err(reason) => {
            problems.at(at, reason.to_string());
            return None;
        }
    };
    let refused = if !pattern.has_user() {
        "names no user: write {user} where the channel's name has the user's id"
    } else if text.starts_with("private-encrypted-") {
        "is an encrypted channel: only the application can write there"
    } else if !text.starts_with("private-") && !text.starts_with("presence-") {
        "must begin with private- or presence-: anybody may subscribe to a public channel"
    } else {
        return Some(pattern);
    };
    problems.at(at, format!("{text:?} {refused}"));
    None
}

fn capture(table: &mut CaptureTable, path: &str, problems: &mut Problems) -> Option<Capture> {
    let channel = match &table.channel {
        Some(channel) => signed_pattern(channel, &format!("{path}.channel"), problems),
        None => {
            let text = "needs channel, as in \"private-App.Models.User.{user}\"";
            problems.missing(path, "channel", text);
            None
        }
    };
    let event = table.event.get_or_insert_with(|| LARAVEL_NOTIFICATION.to_owned());
    let event = match Pattern::parse(event) {
        Ok(pattern) if pattern.has_user() => {
            problems.at(&format!("{path}.event"), "names no user: {user} is for channels");
            None
        }
        Ok(pattern) => Some(pattern),
        Err(reason) => {
            problems.at(&format!("{path}.event"), reason.to_string());
            None
        }
    };
    table.id.get_or_insert_with(|| "/id".to_owned());
    table.kind.get_or_insert_with(|| "/type".to_owned());
    let mut pointer = |written: &Option<String>, name: &str| -> Option<Option<Pointer>> {
        let Some(text) = written else { return Some(None) };
        let pointer = Pointer::parse(text);
        if pointer.is_none() {
            let text = format!("{text:?} is no JSON pointer: write it as in \"/id\" or \"/order/id\"");
            problems.at(&format!("{path}.{name}"), text);
        }
        pointer.map(Some)
    };
    let (id, kind) = (pointer(&table.id, "id"), pointer(&table.kind, "kind"));
    let (category, title) = (pointer(&table.category, "category"), pointer(&table.title, "title"));
    let (body, action_url) = (pointer(&table.body, "body"), pointer(&table.action_url, "action_url"));
    let on_store_error = match table.on_store_error.get_or_insert_with(|| "refuse".to_owned()).as_str() {
        "refuse" => Some(OnStoreError::Refuse),
        "push" => Some(OnStoreError::Push),
        other => {
            let text = format!("{other:?} is unknown: write \"refuse\" or \"push\"");
            problems.at(&format!("{path}.on_store_error"), text);
            None
        }
    };
    Some(Capture {
        channel: channel?,
        event: event?,
        id: id??,
        kind: kind?,
        category: category?,
        title: title?,
        body: body?,
        action_url: action_url?,
        on_store_error: on_store_error?,
    })
}

/// Reads what an app's servers may identify themselves with.
pub(super) fn read_tokens(tables: &[ServerTokenTable], path: &str, problems: &mut Problems) -> Vec<ServerToken> {
    let mut tokens: Vec<ServerToken> = Vec::new();
    for (index, table) in tables.iter().enumerate() {
        let path = format!("{path}.server_tokens[{index}]");
        let Some(token) = read_token(table, &path, problems) else { continue };
        if tokens.contains(&token) {
            problems.at(&path, "is there already: each server token once");
            continue;
        }
        tokens.push(token);
    }
    tokens
}

fn read_token(table: &ServerTokenTable, path: &str, problems: &mut Problems) -> Option<ServerToken> {
    let (at, token) = match (&table.token, &table.token_file) {
        (Some(token), None) => (format!("{path}.token"), token.clone()),
        (None, Some(file)) => match apps::read_secret_file(file) {
            Ok(token) => (format!("{path}.token_file"), token),
            Err(reason) => {
                problems.at(&format!("{path}.token_file"), reason);
                return None;
            }
        },
        (Some(_), Some(_)) => {
            problems.at(path, "has both token and token_file: remove one");
            return None;
        }
        (None, None) => {
            problems.missing(path, "token", "has no token: set token or token_file");
            return None;
        }
    };
    let text = token.expose();
    let length = text.len();
    let refused = if text == REDACTED {
        REDACTED_REFUSAL.to_owned()
    } else if length < SERVER_TOKEN_LENGTH_MIN {
        format!(
            "has {length} characters, and {SERVER_TOKEN_LENGTH_MIN} are the least: whoever guesses it acts for every \
             user; take random ones, as from `openssl rand -hex 32`"
        )
    } else if length > SERVER_TOKEN_LENGTH_MAX {
        format!("has {length} characters, and {SERVER_TOKEN_LENGTH_MAX} are the most")
    } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        "has characters that no header may carry: use visible ASCII".to_owned()
    } else {
        return Some(ServerToken(token));
    };
    problems.at(&at, refused);
    None
}

/// What the operator should know of it though nothing is wrong.
pub(super) fn notes(store: Option<&InboxConfig>, apps: &[AppConfig]) -> Vec<String> {
    let mut notes = Vec::new();
    if store.is_some() && apps.iter().all(|app| app.inbox.is_none()) {
        notes.push("[inbox] is there, but no app has an [apps.inbox]: nobody uses it".to_owned());
    }
    for app in apps {
        let Some(inbox) = app.inbox.as_ref().filter(|inbox| !inbox.identity.is_empty()) else { continue };
        let patterns: Vec<&str> = inbox.identity.iter().map(Pattern::as_str).collect();
        notes.push(format!(
            "app {:?}: whoever the application lets subscribe to {} may read and mark that user's inbox",
            app.id,
            patterns.join(", ")
        ));
    }
    notes
}
