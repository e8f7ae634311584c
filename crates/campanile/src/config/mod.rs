//! The configuration as the server uses it: whole, valid and typed.
//!
//! Owns the order in which sources are applied: the defaults, the file, the names that Laravel teams
//! have, `CAMPANILE__*`. Never binds, writes or spawns; it reads the files that it is pointed to and
//! asks the machine for cores and descriptors. The invariant: a [`Config`] that exists is valid, and
//! one that is not is refused with everything that is wrong with it. Next: `file.rs` for what can be
//! written, `limits.rs` for every number, one file per subject for the rest.

mod allowed_origins;
mod apps;
mod beyond;
mod cgroup;
mod cors;
mod drain;
mod env;
mod explanation;
mod file;
mod guard;
mod inbox;
mod laravel;
pub mod limits;
mod listen;
mod log;
mod machine;
mod memory;
mod network;
mod plans;
mod problem;
mod secret;
mod sizes;
#[cfg(test)]
mod tests;
mod tls;
mod tree;
mod webhooks;
mod workers;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use allowed_origins::{AllowedOrigins, OriginPattern};
pub use apps::{AppConfig, AppKeyPair, AppLimits, DEVELOPMENT_ID, DEVELOPMENT_KEY, DEVELOPMENT_SECRET};
pub use beyond::{AppBeyond, AppMail, BeyondConfig, MailConfig, UNSUBSCRIBE_SECRET_LENGTH_MIN, WebPushConfig};
pub use cors::Cors;
pub use drain::Drain;
pub use explanation::Explanation;
pub use guard::{Budget, OnSpent, Period};
pub use inbox::{InboxConfig, InboxStore, LARAVEL_NOTIFICATION, STORE_FILE, ServerToken, Synchronous};
pub use listen::Listen;
pub use log::{Log, LogFormat, LogLevel};
pub use machine::{Machine, raise_descriptor_limit};
pub use network::Network;
pub use plans::{Plan, default_plans};
pub use problem::{ConfigError, Origin, Origins, Problem};
pub use secret::{REDACTED, Secret};
pub use tls::Tls;
pub use webhooks::{WebhookConfig, WebhookEvent};

use beyond::Provided;
use file::File;
pub use limits::NodeLimits;
use limits::{FILE_BYTES_MAX, Numbers, WORKERS, count};
use problem::Problems;
use sizes::Sizes;

/// Everything that the server was told, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Directory for what must survive a restart.
    pub state_dir: PathBuf,
    /// Threads that own sockets.
    pub workers: usize,
    /// Whether a tick's writes go through io_uring where the kernel allows it.
    pub io_uring: bool,
    /// Whether WebSocket clients that offer permessage-deflate get it.
    pub compression: bool,
    /// Where to accept connections.
    pub listen: Listen,
    /// Certificate and key; without them connections are plain.
    pub tls: Option<Tls>,
    /// Bounds of this node.
    pub limits: NodeLimits,
    /// How to leave.
    pub drain: Drain,
    /// What to log, and how.
    pub log: Log,
    /// Which web pages may call the HTTP API.
    pub cors: Cors,
    /// Where notifications are kept; nothing where there is no inbox.
    pub inbox: Option<InboxConfig>,
    /// How to reach users who are not there; nothing where there is no inbox.
    pub beyond: Option<BeyondConfig>,
    /// What a service would ask for.
    pub plans: Vec<Plan>,
    /// The tenants; at least one.
    pub apps: Vec<AppConfig>,
    /// What the operator should know though nothing is wrong: to be logged once at start.
    pub notes: Vec<String>,
}

/// This process's environment, for [`Config::load`].
///
/// What is not UTF-8 is replaced character by character, so that such a value of ours is refused
/// rather than overlooked.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os().map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
}

impl Config {
    /// Sockets that may be open at once: clients, publishers, and as many again as are only coming or going.
    #[must_use]
    pub fn sockets_max(&self) -> usize {
        let limits = &self.limits;
        limits.connections_max + self.workers * limits.http_connections_max + count(limits::DESCRIPTORS_RESERVED / 2)
    }

    /// Reads the file, if there is one, and the environment, on this machine.
    ///
    /// # Errors
    ///
    /// Tells everything that is wrong, each with its place and its remedy.
    pub fn load(path: Option<&Path>, environment: impl Iterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        Self::load_explained(path, environment, &Machine::here()).map(|(config, _)| config)
    }

    /// The same while a server is running: from what can be read as often as one likes, not from a pipe that is empty by
    /// now, which would say that there are no apps.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn load_again(
        path: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        if let Some(path) = path.filter(|path| !is_regular(path)) {
            let mut problems = Problems::new(path.display().to_string());
            problems.in_file(0, "", "is no regular file, so it cannot be read again: put one there, or restart");
            problems.settle()?;
        }
        Self::load(path, environment)
    }

    /// As [`Config::load`], for a given machine, and with an account of where each value came from.
    ///
    /// # Errors
    ///
    /// As [`Config::load`].
    pub fn load_explained(
        path: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        machine: &Machine,
    ) -> Result<(Self, Explanation), ConfigError> {
        let name = path.map_or_else(String::new, |path| path.display().to_string());
        let mut problems = Problems::new(name);
        let text = match path.map(read_file).transpose() {
            Ok(text) => text.unwrap_or_default(),
            Err(reason) => {
                problems.in_file(0, "", reason);
                String::new()
            }
        };
        problems.settle()?;

        // Form first. What is found there is told together with the values that are wrong, less those that only seem
        // so because of it.
        let variables: Vec<_> = environment.collect();
        let document = tree::from_document(&text, &mut problems);
        let is_toml = document.is_some();
        let mut tree = document.unwrap_or_default();
        let notes = laravel::overlay(&mut tree, &variables, &mut problems);
        env::overlay(&mut tree, &variables, &mut problems);
        if !is_toml {
            problems.settle()?;
        }
        let mut file = match File::deserialize(tree) {
            Ok(file) => file,
            Err(error) => {
                problems.in_file(0, "", error.to_string());
                problems.settle()?;
                File::default()
            }
        };

        let config = Self::read(&mut file, machine, notes, &mut problems);
        problems.settle()?;
        let explanation = Explanation::new(file, problems.origins, config.notes.clone());
        Ok((config, explanation))
    }

    /// Judges what was written and fills in what was not, in the file's own form too, so that it
    /// can be shown.
    fn read(file: &mut File, machine: &Machine, mut notes: Vec<String>, problems: &mut Problems) -> Self {
        let state_dir = file.state_dir.get_or_insert_with(|| "./campanile-state".to_owned()).clone();
        if state_dir.is_empty() {
            problems.at("state_dir", "must not be empty: name a directory");
        }
        let workers = Numbers { path: "", problems }.read_derived(&WORKERS, &mut file.workers, machine.cores as u64);
        let workers = count(workers);
        let io_uring = *file.io_uring.get_or_insert(true);
        let compression = *file.compression.get_or_insert(false);
        let listen = Listen::read(&mut file.listen, problems);
        let mut is_loopback = listen.address.ip().to_canonical().is_loopback();
        if file.apps.is_empty() {
            // Stands in for apps that could not be read, too, and is then no reason to complain of the address.
            is_loopback |= problems.has_any();
            file.apps.push(apps::development());
        }
        let inbox = InboxConfig::read(file.inbox.as_mut(), Path::new(&state_dir), problems);
        let apps = apps::read(&mut file.apps, is_loopback, Provided::by(file.inbox.as_ref()), problems);
        notes.extend(inbox::notes(inbox.as_ref(), &apps));
        let sizes = Sizes::of(&apps);
        let limits = NodeLimits::read(&mut file.limits, workers, machine, &sizes, problems);
        let beyond = file.inbox.as_mut().map(|table| BeyondConfig::read(table, &apps, limits.pong_timeout, problems));
        notes.extend(beyond.iter().flat_map(|beyond| beyond.notes(&apps)));
        Self {
            state_dir: PathBuf::from(state_dir),
            workers,
            io_uring,
            compression,
            listen,
            tls: Tls::read(file.tls.as_ref(), problems),
            limits,
            drain: Drain::read(&mut file.drain, problems),
            log: Log::read(&mut file.log, problems),
            cors: Cors::read(&file.cors, problems),
            inbox,
            beyond,
            plans: plans::read(&mut file.plans, problems),
            apps,
            notes,
        }
    }
}

/// Whether whatever is there is a file as one writes it. What cannot be looked at is for the reading to complain of.
fn is_regular(path: &Path) -> bool {
    fs::metadata(path).map_or(true, |there| there.is_file())
}

/// Whether the process was given it open, by a shell for instance.
fn is_inherited(path: &Path) -> bool {
    path == Path::new("/dev/stdin") || path.starts_with("/dev/fd") || path.starts_with("/proc/self/fd")
}

fn read_file(path: &Path) -> Result<String, String> {
    // Nobody may ever write to a pipe that merely lies there.
    if !is_inherited(path) && !is_regular(path) {
        return Err("is no regular file: name one, or /dev/stdin".to_owned());
    }
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot read it: {error}; `campanile keys new` prints a file to start from"))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("has more than {FILE_BYTES_MAX} bytes: is it the right file?"));
    }
    String::from_utf8(bytes).map_err(|_| "is not UTF-8: save it as UTF-8".to_owned())
}
