//! `[[apps]]`: the tenants.
//!
//! Owns each app's switches, keys and limits. Never looks a key up for a request. The invariant: an
//! id names one app and a key belongs to one app, in the whole configuration. Next: `webhooks.rs`.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::time::Duration;

use campanile_hub::Inboxes;
use campanile_hub::guard::Rules;

use super::allowed_origins::AllowedOrigins;
use super::beyond::{AppBeyond, Provided};
use super::file::{AppTable, KeyTable};
use super::guard::{self, Budget};
use super::inbox::{self, ServerToken};
use super::limits::{
    self, CHANNEL_NAME_LENGTH_HARD_MAX, CREDENTIAL_LENGTH_MAX, Numbers, SECRET_FILE_BYTES_MAX,
    USAGE_PREFIXES_LISTED_MAX, count, seconds,
};
use super::problem::Problems;
use super::secret::{REDACTED, REDACTED_REFUSAL, Secret};
use super::webhooks::WebhookConfig;

/// The id of the app that exists where nobody defines one.
pub const DEVELOPMENT_ID: &str = "app-id";

/// Its key: known to everybody, so refused on any address but loopback.
pub const DEVELOPMENT_KEY: &str = "app-key";

/// Its secret: known to everybody, so refused on any address but loopback.
pub const DEVELOPMENT_SECRET: &str = "app-secret";

/// What every secret in the shipped examples begins with; refused like the development one.
pub(super) const EXAMPLE_SECRET_PREFIX: &str = "example-secret";

/// One tenant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AppConfig {
    /// Names the app in `/apps/{id}`.
    pub id: String,
    /// For people.
    pub name: String,
    /// A disabled app refuses every connection with 4003.
    pub enabled: bool,
    /// Several may be active, so that a key can be replaced without a gap.
    pub keys: Vec<AppKeyPair>,
    /// May subscribers send `client-` events?
    pub client_events: bool,
    /// May connections sign in as a user?
    pub user_authentication: bool,
    /// Are signed-in users told when those they watch come and go?
    pub watchlists: bool,
    /// Are subscribers told how many they are?
    pub subscription_counts: bool,
    /// In which a connection must sign in or join a private or presence channel.
    pub authorized_connections_timeout: Option<Duration>,
    /// Which channels send clients who come back what they have missed: names, or beginnings that end with `*`.
    pub replay_channels: Vec<String>,
    /// Beginnings of channel names that are counted together, the longest first.
    pub usage_prefixes: Vec<String>,
    /// Whence browsers may connect.
    pub allowed_origins: AllowedOrigins,
    /// Its numbers.
    pub limits: AppLimits,
    /// Where to report what happens.
    pub webhooks: Vec<WebhookConfig>,
    /// What holds its publishers up when they go wrong.
    pub guard: Rules,
    /// How much it may use.
    pub budgets: Vec<Budget>,
    /// What its servers may identify themselves with instead of a signature.
    pub server_tokens: Vec<ServerToken>,
    /// Its users' inboxes.
    pub inbox: Option<Inboxes>,
    /// By which ways they are reached when they are not there.
    pub beyond: AppBeyond,
}

/// What clients and servers of an app identify themselves with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AppKeyPair {
    /// Public.
    pub key: String,
    /// Signs; never public.
    pub secret: Secret,
    /// A disabled key is refused like an unknown one.
    pub enabled: bool,
}

impl AppKeyPair {
    /// What of it everybody can read in this repository.
    fn published(&self) -> Option<&'static str> {
        let secret = self.secret.expose();
        if self.key == DEVELOPMENT_KEY {
            Some("the development key")
        } else if secret == DEVELOPMENT_SECRET {
            Some("the development secret")
        } else if secret.starts_with(EXAMPLE_SECRET_PREFIX) {
            Some("a secret from the examples")
        } else {
            None
        }
    }
}

/// The numbers of one app; `docs/limits.md` explains each.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AppLimits {
    /// Silence after which either side pings.
    pub activity_timeout: Duration,
    /// Connections on this node.
    pub connections_max: Option<usize>,
    /// Events that the app's servers may publish per second.
    pub backend_events_per_sec: Option<u32>,
    /// Client events that one connection may send per second.
    pub client_events_per_sec: u32,
    /// Characters of a channel's name.
    pub channel_name_length_max: usize,
    /// Characters of an event's name.
    pub event_name_length_max: usize,
    /// Bytes of a published event's data.
    pub event_data_bytes_max: usize,
    /// Bytes of a client event's data.
    pub client_event_bytes_max: usize,
    /// Channels that one event may be published to.
    pub channels_per_event_max: usize,
    /// Events of one batch.
    pub batch_events_max: usize,
    /// Users in one presence channel.
    pub presence_members_max: usize,
    /// Bytes of what a presence channel knows of one user.
    pub presence_member_bytes_max: usize,
    /// Characters of a user's id.
    pub presence_user_id_length_max: usize,
    /// Bytes of the list that a new member receives.
    pub presence_snapshot_bytes_max: usize,
    /// How long a cache channel remembers its last event.
    pub cache_ttl: Duration,
    /// Events that a channel with replay keeps.
    pub replay_events_max: usize,
    /// Bytes of these events.
    pub replay_bytes_max: usize,
    /// How long they are kept.
    pub replay: Duration,
    /// Users that one user may watch.
    pub watchlist_max: usize,
    /// Channels that one connection may subscribe to.
    pub channels_per_connection_max: usize,
}

/// The app of a server that was told nothing: for trying things out on this machine.
pub(super) fn development() -> AppTable {
    AppTable {
        id: Some(DEVELOPMENT_ID.to_owned()),
        name: Some("Development".to_owned()),
        client_events: Some(true),
        keys: vec![KeyTable {
            key: Some(DEVELOPMENT_KEY.to_owned()),
            secret: Some(Secret::new(DEVELOPMENT_SECRET.to_owned())),
            ..KeyTable::default()
        }],
        ..AppTable::default()
    }
}

/// Reads all apps and refuses what they would share.
pub(super) fn read(
    tables: &mut [AppTable],
    is_loopback: bool,
    provided: Provided,
    problems: &mut Problems,
) -> Vec<AppConfig> {
    let mut ids = HashMap::new();
    let mut keys = HashMap::new();
    let mut apps = Vec::new();
    for (index, table) in tables.iter_mut().enumerate() {
        let path = format!("apps[{index}]");
        let Some(app) = AppConfig::read(table, &path, provided, problems) else {
            continue;
        };
        let at = format!("{path}.id");
        if let Some(first) = ids.insert(app.id.clone(), at.clone()) {
            let text = format!("app {:?} is already defined by {first}: ids must differ", app.id);
            problems.at(&at, text);
        }
        for (index, pair) in app.keys.iter().enumerate() {
            let at = format!("{path}.keys[{index}]");
            if let Some(first) = keys.insert(pair.key.clone(), format!("{at}.key")) {
                let text =
                    format!("key {:?} is already used by {first}: make another with `campanile keys new`", pair.key);
                problems.at(&format!("{at}.key"), text);
            }
            if let Some(known) = pair.published()
                && !is_loopback
            {
                problems.at(
                    "listen.host",
                    format!(
                        "app {:?} uses {known}, which everybody knows, so the server would be open \
                         to anyone who can reach it: make keys of your own with `campanile keys \
                         new`, or listen on 127.0.0.1",
                        app.id
                    ),
                );
            }
        }
        let is_published = |token: &ServerToken| token.0.expose().starts_with(EXAMPLE_SECRET_PREFIX);
        if !is_loopback && app.server_tokens.iter().any(is_published) {
            let text = format!(
                "app {:?} uses a server token from the examples, which everybody knows: make one of your own, or listen \
                 on 127.0.0.1",
                app.id
            );
            problems.at("listen.host", text);
        }
        apps.push(app);
    }
    apps
}

impl AppConfig {
    fn read(table: &mut AppTable, path: &str, provided: Provided, problems: &mut Problems) -> Option<Self> {
        let id = table.id.clone();
        match &id {
            Some(id) => check_name(id, &format!("{path}.id"), problems),
            None => problems.missing(path, "id", "id is missing: it names the app in /apps/{id}"),
        }
        let name = table.name.get_or_insert_with(|| id.clone().unwrap_or_default()).clone();
        let keys = read_keys(table, path, problems);
        let user_authentication = *table.user_authentication.get_or_insert(true);
        let watchlists = *table.watchlists.get_or_insert(false);
        if watchlists && !user_authentication {
            problems.at(
                &format!("{path}.watchlists"),
                "needs user_authentication: a watchlist arrives when a user signs in",
            );
        }
        for (index, pattern) in table.replay_channels.iter().enumerate() {
            if let Err(reason) = check_replay_pattern(pattern) {
                problems.at(&format!("{path}.replay_channels[{index}]"), format!("{pattern:?} {reason}"));
            }
        }
        let mut usage_prefixes = table.usage_prefixes.clone();
        check_usage_prefixes(&usage_prefixes, &format!("{path}.usage_prefixes"), problems);
        // The longest is meant where several fit.
        usage_prefixes.sort_by_key(|listed| std::cmp::Reverse(listed.len()));
        let webhooks = table
            .webhooks
            .iter_mut()
            .enumerate()
            .filter_map(|(index, table)| WebhookConfig::read(table, &format!("{path}.webhooks[{index}]"), problems))
            .collect();
        let authorized_connections_timeout = Numbers { path, problems }
            .read_optional(&limits::APP_AUTHORIZED_TIMEOUT_SECS, table.authorized_connections_timeout_secs)
            .map(seconds);
        Some(Self {
            enabled: *table.enabled.get_or_insert(true),
            client_events: *table.client_events.get_or_insert(false),
            user_authentication,
            watchlists,
            subscription_counts: *table.subscription_counts.get_or_insert(false),
            authorized_connections_timeout,
            replay_channels: table.replay_channels.clone(),
            usage_prefixes,
            allowed_origins: AllowedOrigins::read(&table.allowed_origins, &format!("{path}.allowed_origins"), problems),
            limits: AppLimits::read(table, path, problems),
            webhooks,
            server_tokens: inbox::read_tokens(&table.server_tokens, path, problems),
            beyond: AppBeyond::read(table.inbox.as_ref(), path, provided, problems),
            inbox: inbox::read_app(table.inbox.as_mut(), path, provided.store, problems),
            budgets: guard::read_budgets(&mut table.guard, &format!("{path}.guard"), problems),
            guard: guard::read(&mut table.guard, &format!("{path}.guard"), problems),
            id: id?,
            name,
            keys,
        })
    }
}

fn check_usage_prefixes(listed: &[String], path: &str, problems: &mut Problems) {
    if listed.len() > USAGE_PREFIXES_LISTED_MAX {
        let text = format!("has {} beginnings, and {USAGE_PREFIXES_LISTED_MAX} are the most", listed.len());
        problems.at(path, text);
    }
    for (index, beginning) in listed.iter().enumerate() {
        let at = format!("{path}[{index}]");
        if beginning.is_empty() {
            problems.at(&at, "is empty: it would be the beginning of every channel's name");
        } else if beginning.contains('*') {
            problems.at(&at, format!("{beginning:?} has a *: write the beginning of channels' names alone"));
        } else if beginning.len() as u64 > CHANNEL_NAME_LENGTH_HARD_MAX {
            problems
                .at(&at, format!("has more than {CHANNEL_NAME_LENGTH_HARD_MAX} characters, as no channel's name has"));
        }
    }
}

/// Clients prove how far they have heard by what the application signs, so the channel must be one that it signs; and on
/// an encrypted one they would take a position for ciphertext.
fn check_replay_pattern(pattern: &str) -> Result<(), &'static str> {
    let beginning = pattern.strip_suffix('*').unwrap_or(pattern);
    if beginning.contains('*') {
        Err("may have one *, at its end")
    } else if beginning.starts_with("private-encrypted-") {
        Err("is an encrypted channel: clients take whatever comes there for ciphertext, so it cannot have replay")
    } else if !beginning.starts_with("private-") && !beginning.starts_with("presence-") {
        Err(
            "must begin with private- or presence-: clients prove how far they have heard by the application's signature",
        )
    } else {
        Ok(())
    }
}

fn read_keys(table: &mut AppTable, path: &str, problems: &mut Problems) -> Vec<AppKeyPair> {
    if table.keys.is_empty() {
        let text = "has no keys: add keys = [{ key = \"...\", secret = \"...\" }], from `campanile keys new`";
        problems.missing(path, "keys", text);
    }
    let mut pairs = Vec::new();
    for (index, table) in table.keys.iter_mut().enumerate() {
        let path = format!("{path}.keys[{index}]");
        match &table.key {
            Some(key) => check_name(key, &format!("{path}.key"), problems),
            None => problems.missing(&path, "key", "key is missing: make a pair with `campanile keys new`"),
        }
        let secret = read_secret(table, &path, problems);
        let enabled = *table.enabled.get_or_insert(true);
        if let (Some(key), Some(secret)) = (table.key.clone(), secret) {
            pairs.push(AppKeyPair { key, secret, enabled });
        }
    }
    pairs
}

/// Ids and keys stand in URLs and before the colon of a signature, so their characters are plain.
fn check_name(name: &str, path: &str, problems: &mut Problems) {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    if name.is_empty() {
        problems.at(path, "must not be empty");
    } else if name.len() > CREDENTIAL_LENGTH_MAX {
        let text = format!("has {} characters, and {CREDENTIAL_LENGTH_MAX} are the most", name.len());
        problems.at(path, text);
    } else if !name.bytes().all(is_plain) || name.bytes().all(|b| b == b'.') {
        problems.at(path, format!("{name:?} may only have letters, digits, -, . and _: it stands in URLs"));
    }
}

fn read_secret(table: &KeyTable, path: &str, problems: &mut Problems) -> Option<Secret> {
    let (at, secret) = match (&table.secret, &table.secret_file) {
        (Some(secret), None) => (format!("{path}.secret"), secret.clone()),
        (None, Some(file)) => {
            let at = format!("{path}.secret_file");
            match read_secret_file(file) {
                Ok(secret) => (at, secret),
                Err(reason) => {
                    problems.at(&at, reason);
                    return None;
                }
            }
        }
        (Some(_), Some(_)) => {
            problems.at(path, "has both secret and secret_file: remove one");
            return None;
        }
        (None, None) => {
            if !problems.is_spoiled(&format!("{path}.secret_file")) {
                let text = "has no secret: set secret or secret_file; `campanile keys new` makes one";
                problems.missing(path, "secret", text);
            }
            return None;
        }
    };
    let length = secret.expose().chars().count();
    if length == 0 {
        problems.at(&at, "is empty: anyone could sign");
        return None;
    }
    if secret.expose() == REDACTED {
        problems.at(&at, REDACTED_REFUSAL);
        return None;
    }
    if length > CREDENTIAL_LENGTH_MAX {
        problems.at(&at, format!("has {length} characters, and {CREDENTIAL_LENGTH_MAX} are the most"));
        return None;
    }
    if secret.expose().chars().any(char::is_control) {
        problems.at(&at, "has control characters, such as a line break: is it the right text?");
        return None;
    }
    Some(secret)
}

/// The file's text without the line break that editors and `echo` leave at its end.
pub(super) fn read_secret_file(path: &str) -> Result<Secret, String> {
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(SECRET_FILE_BYTES_MAX + 1).read_to_string(&mut text))
        .map_err(|error| format!("cannot read {path}: {error}"))?;
    if text.len() as u64 > SECRET_FILE_BYTES_MAX {
        return Err(format!("{path} has more than {SECRET_FILE_BYTES_MAX} bytes: is it the right file?"));
    }
    Ok(Secret::new(text.trim_end_matches(['\n', '\r']).to_owned()))
}

impl AppLimits {
    fn read(table: &mut AppTable, path: &str, problems: &mut Problems) -> Self {
        let mut numbers = Numbers { path, problems };
        let per_second = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let limits = Self {
            activity_timeout: seconds(
                numbers.read(&limits::APP_ACTIVITY_TIMEOUT_SECS, &mut table.activity_timeout_secs),
            ),
            connections_max: numbers.read_optional(&limits::APP_CONNECTIONS_MAX, table.connections_max).map(count),
            backend_events_per_sec: numbers
                .read_optional(&limits::APP_BACKEND_EVENTS_PER_SEC, table.backend_events_per_sec)
                .map(per_second),
            client_events_per_sec: per_second(
                numbers.read(&limits::APP_CLIENT_EVENTS_PER_SEC, &mut table.client_events_per_sec),
            ),
            channel_name_length_max: count(
                numbers.read(&limits::APP_CHANNEL_NAME_LENGTH_MAX, &mut table.channel_name_length_max),
            ),
            event_name_length_max: count(
                numbers.read(&limits::APP_EVENT_NAME_LENGTH_MAX, &mut table.event_name_length_max),
            ),
            event_data_bytes_max: count(
                numbers.read(&limits::APP_EVENT_DATA_BYTES_MAX, &mut table.event_data_bytes_max),
            ),
            client_event_bytes_max: count(
                numbers.read(&limits::APP_CLIENT_EVENT_BYTES_MAX, &mut table.client_event_bytes_max),
            ),
            channels_per_event_max: count(
                numbers.read(&limits::APP_CHANNELS_PER_EVENT_MAX, &mut table.channels_per_event_max),
            ),
            batch_events_max: count(numbers.read(&limits::APP_BATCH_EVENTS_MAX, &mut table.batch_events_max)),
            presence_members_max: count(
                numbers.read(&limits::APP_PRESENCE_MEMBERS_MAX, &mut table.presence_members_max),
            ),
            presence_member_bytes_max: count(
                numbers.read(&limits::APP_PRESENCE_MEMBER_BYTES_MAX, &mut table.presence_member_bytes_max),
            ),
            presence_user_id_length_max: count(
                numbers.read(&limits::APP_PRESENCE_USER_ID_LENGTH_MAX, &mut table.presence_user_id_length_max),
            ),
            presence_snapshot_bytes_max: count(
                numbers.read(&limits::APP_PRESENCE_SNAPSHOT_BYTES_MAX, &mut table.presence_snapshot_bytes_max),
            ),
            cache_ttl: seconds(numbers.read(&limits::APP_CACHE_TTL_SECS, &mut table.cache_ttl_secs)),
            replay_events_max: count(numbers.read(&limits::APP_REPLAY_EVENTS_MAX, &mut table.replay_events_max)),
            replay_bytes_max: count(numbers.read(&limits::APP_REPLAY_BYTES_MAX, &mut table.replay_bytes_max)),
            replay: seconds(numbers.read(&limits::APP_REPLAY_SECS, &mut table.replay_secs)),
            watchlist_max: count(numbers.read(&limits::APP_WATCHLIST_MAX, &mut table.watchlist_max)),
            channels_per_connection_max: count(
                numbers.read(&limits::APP_CHANNELS_PER_CONNECTION_MAX, &mut table.channels_per_connection_max),
            ),
        };
        if limits.presence_snapshot_bytes_max < limits.presence_member_bytes_max {
            numbers.problems.at(
                &format!("{path}.presence_snapshot_bytes_max"),
                format!(
                    "{} does not hold one member of presence_member_bytes_max, {}",
                    limits.presence_snapshot_bytes_max, limits.presence_member_bytes_max
                ),
            );
        }
        limits
    }
}
