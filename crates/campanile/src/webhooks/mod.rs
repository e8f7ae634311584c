//! Webhooks: telling an application's servers what happens.
//!
//! Owns a thread with a runtime of its own, and on it one task, one intake and one file per endpoint. Never makes a
//! worker wait: [`Webhooks::notify`] pushes to a bounded list in memory. The invariant: no endpoint waits for another.
//! Reading order: [`endpoint`] (the two loops), [`settings`] (what is told), [`intake`], [`queue`] (the file),
//! [`share`] (of the room in both), [`schedule`], [`call`] (the request), [`alarms`].

mod alarms;
mod call;
mod endpoint;
mod intake;
mod queue;
mod schedule;
mod settings;
mod share;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use campanile_hub::{Apps, Notice, Reading};
use parking_lot::{Mutex, RwLock};
use reqwest::Client;
use sha2::{Digest, Sha256};
use tokio::runtime;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{error, info, warn};

use crate::config::Config;
use alarms::Alarms;
use endpoint::{Endpoint, Leave, now_ms};
use intake::Intake;
pub use queue::DeadLetter;
use queue::{Queue, QueueError, is_hollow};
use schedule::Schedule;
use settings::Settings;

/// Where the files are, in `state_dir`.
const DIRECTORY: &str = "webhooks";

/// The end of a file's name.
const EXTENSION: &str = "redb";

/// Threads that wait for disks; more files than that take turns.
const DISK_THREADS: usize = 8;

/// Dead letters that are read at a time.
const DEAD_LETTERS_PER_READ: usize = 1000;

/// Why webhooks cannot be sent, in words for the operator.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing to sign with.
    #[error("app {app:?} has a webhook and no enabled key to sign it with: enable a key, or remove the webhook")]
    NoKey {
        /// The app's id.
        app: String,
    },
    /// The key does not fit into the header that carries it.
    #[error("app {app:?} has a webhook, and its first enabled key has characters that no header may have")]
    KeyCharacters {
        /// The app's id.
        app: String,
    },
    /// No directory for the queues.
    #[error("cannot make the directory for webhook queues, {}: {source}", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A queue's file cannot be used.
    #[error("cannot use a webhook queue: {0}")]
    Queue(String),
    /// No HTTP client.
    #[error("cannot make the HTTP client for webhooks: {0}")]
    Client(String),
    /// No thread.
    #[error("cannot start the thread for webhooks: {0}")]
    Thread(io::Error),
}

impl From<QueueError> for Error {
    fn from(error: QueueError) -> Self {
        Self::Queue(error.to_string())
    }
}

/// One endpoint's state, for status and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointStatus {
    /// The app's id.
    pub app: Arc<str>,
    /// The endpoint, without its query.
    pub address: String,
    /// Events that wait.
    pub pending_events: u64,
    /// Their bytes.
    pub pending_bytes: u64,
    /// Events whose delivery was given up.
    pub dead_letters: u64,
    /// Events that not even the dead letters had room for, since the file was made.
    pub lost: u64,
    /// Events that this life of the server had no room for in memory, because the disk did not keep up.
    pub refused: u64,
}

/// What became of a notice that was to be on the disk before anything else happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deposit {
    /// It is in the file of an endpoint at least, be it among the dead letters.
    Taken,
    /// No endpoint wants it.
    Unwanted,
    /// It is in none, because of this.
    Refused(String),
}

/// What makes an endpoint this one. Two webhooks of an app may have one URL (and different filters): `nth` tells them
/// apart by their order in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct EndpointKey {
    app: String,
    url: String,
    nth: u32,
}

impl EndpointKey {
    /// The endpoint's file. Its name does not show the URL, which may carry a token.
    fn path(&self, directory: &Path) -> PathBuf {
        const BYTES: usize = 16;
        let mut hash = Sha256::new();
        for text in [&self.app, &self.url] {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        hash.update(self.nth.to_be_bytes());
        directory.join(hex::encode(&hash.finalize()[..BYTES])).with_extension(EXTENSION)
    }
}

#[derive(Debug)]
struct Running {
    endpoint: Arc<Endpoint>,
    leave: watch::Sender<Leave>,
    task: JoinHandle<()>,
}

type Routes = HashMap<Arc<str>, Vec<Arc<Endpoint>>>;

/// The endpoints of all apps, at work.
#[derive(Debug)]
pub struct Webhooks {
    incarnation: u64,
    directory: PathBuf,
    schedule: Schedule,
    routes: RwLock<Arc<Routes>>,
    running: tokio::sync::Mutex<HashMap<EndpointKey, Running>>,
    /// Requests made for each app since they were last taken, by whichever endpoints it has had.
    calls: Mutex<HashMap<Arc<str>, Arc<AtomicU64>>>,
    runtime: runtime::Handle,
    thread: Mutex<Option<(oneshot::Sender<()>, thread::JoinHandle<()>)>>,
}

impl Webhooks {
    /// Opens every endpoint's file and begins to deliver what earlier lives of the server have left there.
    ///
    /// # Errors
    ///
    /// When an endpoint could not be served: the start is to stop there.
    pub fn start(config: &Config, incarnation: u64, state_dir: &Path) -> Result<Self, Error> {
        Self::start_on(config, incarnation, state_dir, Schedule::default())
    }

    fn start_on(config: &Config, incarnation: u64, state_dir: &Path, schedule: Schedule) -> Result<Self, Error> {
        let directory = state_dir.join(DIRECTORY);
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(DISK_THREADS)
            .build()
            .map_err(Error::Thread)?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("webhooks".to_owned())
            .spawn(move || {
                // The sender going away is the order to stop, like a message.
                let _ = runtime.block_on(stopped);
            })
            .map_err(Error::Thread)?;
        let webhooks = Self {
            incarnation,
            directory,
            schedule,
            routes: RwLock::default(),
            calls: Mutex::default(),
            running: tokio::sync::Mutex::default(),
            runtime: handle,
            thread: Mutex::new(Some((stop, thread))),
        };
        {
            let mut running = webhooks.running.try_lock().expect("nobody else has these webhooks yet");
            webhooks.bring_up(&mut running, wanted(config)?)?;
            webhooks.route(&running);
            warn_of_strangers(&webhooks.directory, &running);
        }
        Ok(webhooks)
    }

    /// Tells the endpoints that want it. Never waits: what finds no room is counted and logged.
    pub fn notify(&self, notice: Notice) {
        let routes = Arc::clone(&self.routes.read());
        let Some(endpoints) = routes.get(&notice.app) else { return };
        let (now, notice) = (now_ms(), Arc::new(notice));
        for endpoint in endpoints.iter().filter(|endpoint| endpoint.settings().wants(&notice.kind)) {
            endpoint.notify(now, &notice);
        }
    }

    /// Puts a notice into the file of each endpoint that wants it, and waits until it is on the disk there: for what is
    /// written down elsewhere as handed over, and must not be lost in between.
    pub async fn deposit(&self, notice: Notice) -> Deposit {
        let endpoints = self.routes.read().get(&notice.app).cloned().unwrap_or_default();
        let (notice, incarnation) = (Arc::new(notice), self.incarnation);
        let wanting: Vec<_> =
            endpoints.into_iter().filter(|endpoint| endpoint.settings().wants(&notice.kind)).collect();
        if wanting.is_empty() {
            return Deposit::Unwanted;
        }
        let done = self.on_disk(move || {
            let mut refused = None;
            let mut has_taken = false;
            for endpoint in wanting {
                let settings = endpoint.settings();
                let event = queue::Event { time_ms: now_ms(), json: settings.event(&notice, incarnation).encode() };
                match endpoint.queue.append(&[event], settings.bounds(), now_ms()) {
                    Ok(placed) => {
                        has_taken |= placed.lost == 0;
                        endpoint.alarms.add(&settings, placed, "the queue is full");
                        endpoint.committed.notify_one();
                    }
                    Err(error) => refused = Some(error.to_string()),
                }
            }
            let full = "the endpoint's queue and its dead letters are full";
            Ok(if has_taken { Deposit::Taken } else { Deposit::Refused(refused.unwrap_or_else(|| full.to_owned())) })
        });
        done.await.unwrap_or_else(|error| Deposit::Refused(error.to_string()))
    }

    /// Takes the calls that were made since this was last called.
    pub(crate) fn take_readings(&self, apps: &Apps) -> Vec<Reading> {
        let used = self.calls.lock();
        let used = used.iter().filter_map(|(app, calls)| {
            let calls = Some(calls.swap(0, Ordering::Relaxed)).filter(|calls| *calls > 0)?;
            Some(Reading::of_webhooks(apps.by_id(app)?.index, calls))
        });
        used.collect()
    }

    /// Serves the endpoints of another configuration from now on. What waits for an endpoint that is gone stays in its
    /// file, in case it comes back.
    ///
    /// # Errors
    ///
    /// As [`Webhooks::start`]; then nothing has changed.
    pub async fn reload(&self, config: &Config) -> Result<(), Error> {
        let wanted = wanted(config)?;
        let mut running = self.running.lock().await;
        let keys: Vec<EndpointKey> = wanted.iter().map(|(key, _)| key.clone()).collect();
        self.bring_up(&mut running, wanted)?;
        let gone: Vec<Running> = running.extract_if(|key, _| !keys.contains(key)).map(|(_, gone)| gone).collect();
        self.route(&running);
        leave(gone, Instant::now()).await;
        Ok(())
    }

    /// Takes no more notices, commits those taken, and delivers until everything is delivered, an endpoint fails, or
    /// `within` has passed. What is left is delivered after the next start.
    pub async fn flush_and_stop(&self, within: Duration) {
        *self.routes.write() = Arc::default();
        let running = std::mem::take(&mut *self.running.lock().await);
        leave(running.into_values().collect(), Instant::now() + within).await;
        self.stop();
    }

    /// How each endpoint fares, in no particular order.
    ///
    /// # Errors
    ///
    /// When a file cannot be read.
    pub async fn endpoints(&self) -> Result<Vec<EndpointStatus>, Error> {
        let endpoints: Vec<Arc<Endpoint>> =
            self.running.lock().await.values().map(|running| Arc::clone(&running.endpoint)).collect();
        self.on_disk(move || {
            endpoints
                .iter()
                .map(|endpoint| status(&endpoint.settings(), &endpoint.queue, endpoint.intake.refused_ever()))
                .collect()
        })
        .await
    }

    /// Puts an app's dead letters back into their queues, as far as there is room. Returns how many.
    ///
    /// # Errors
    ///
    /// When a file cannot be written.
    pub async fn retry_dead_letters(&self, app: &str) -> Result<u64, Error> {
        let endpoints = self.routes.read().get(app).cloned().unwrap_or_default();
        self.on_disk(move || {
            let mut revived = 0;
            for endpoint in endpoints {
                revived += endpoint.queue.revive(endpoint.settings().bounds())?;
                endpoint.committed.notify_one();
            }
            Ok(revived)
        })
        .await
    }

    /// Runs `work` on one of the threads that may wait for disks.
    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let done = self.runtime.spawn_blocking(work).await;
        done.map_err(|_| Error::Queue("webhooks have stopped".to_owned()))?
    }

    /// Gives endpoints that run their new settings, and starts the others. On an error, none of both.
    fn bring_up(
        &self,
        running: &mut HashMap<EndpointKey, Running>,
        wanted: Vec<(EndpointKey, Settings)>,
    ) -> Result<(), Error> {
        let (known, new): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|(key, _)| running.contains_key(key));
        let mut opened = Vec::with_capacity(new.len());
        if !new.is_empty() {
            let client = match running.values().next() {
                Some(other) => other.endpoint.client.clone(),
                None => call::client()?,
            };
            make_directory(&self.directory)?;
            for (key, settings) in new {
                let path = key.path(&self.directory);
                if is_hollow(&path) {
                    warn!(path = %path.display(), app = key.app, "a webhook's queue is an empty file: what waited in it, if anything did, is lost");
                }
                let queue = Queue::open(&path)?;
                opened.push((key, self.endpoint(settings, queue, client.clone())));
            }
        }
        for (key, settings) in known {
            if let Some(known) = running.get(&key) {
                *known.endpoint.settings.write() = Arc::new(settings);
            }
        }
        for (key, endpoint) in opened {
            let (leave, leaving) = watch::channel(None);
            let task = self.runtime.spawn(Arc::clone(&endpoint).run(leaving));
            running.insert(key, Running { endpoint, leave, task });
        }
        Ok(())
    }

    fn endpoint(&self, settings: Settings, queue: Queue, client: Client) -> Arc<Endpoint> {
        let calls = Arc::clone(self.calls.lock().entry(Arc::clone(&settings.app)).or_default());
        Arc::new(Endpoint {
            settings: RwLock::new(Arc::new(settings)),
            queue: Arc::new(queue),
            schedule: self.schedule,
            incarnation: self.incarnation,
            client,
            intake: Intake::default(),
            calls,
            committed: Notify::new(),
            alarms: Alarms::default(),
        })
    }

    fn route(&self, running: &HashMap<EndpointKey, Running>) {
        let mut routes = Routes::new();
        for Running { endpoint, .. } in running.values() {
            routes.entry(Arc::clone(&endpoint.settings().app)).or_default().push(Arc::clone(endpoint));
        }
        *self.routes.write() = Arc::new(routes);
    }

    fn stop(&self) {
        let thread = self.thread.lock().take();
        if let Some((stop, thread)) = thread {
            drop(stop);
            if thread.join().is_err() {
                error!("the webhooks thread has panicked");
            }
        }
    }
}

impl Drop for Webhooks {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The endpoints of a configuration. A disabled app has none: nothing happens in it.
fn wanted(config: &Config) -> Result<Vec<(EndpointKey, Settings)>, Error> {
    let mut wanted: Vec<(EndpointKey, Settings)> = Vec::new();
    for app in config.apps.iter().filter(|app| app.enabled) {
        let mut seen: HashMap<&str, u32> = HashMap::new();
        for webhook in &app.webhooks {
            let nth = seen.entry(webhook.url.as_str()).or_default();
            let key = EndpointKey { app: app.id.clone(), url: webhook.url.as_str().to_owned(), nth: *nth };
            *nth += 1;
            wanted.push((key, Settings::new(app, webhook)?));
        }
    }
    Ok(wanted)
}

/// Makes the directory, for this user alone: events carry what users have sent.
fn make_directory(path: &Path) -> Result<(), Error> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| Error::Directory { path: path.to_owned(), source })
}

/// Tells of files that no endpoint uses any more; they may hold events.
fn warn_of_strangers(directory: &Path, running: &HashMap<EndpointKey, Running>) {
    let known: Vec<PathBuf> = running.keys().map(|key| key.path(directory)).collect();
    // A directory that is not there holds no files; one that cannot be read has been found out above.
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION) && !known.contains(&path) {
            warn!(path = %path.display(), "a queue of a webhook that is no longer configured: delete it, or configure the webhook again");
        }
    }
}

async fn leave(running: Vec<Running>, deadline: Instant) {
    for endpoint in &running {
        endpoint.leave.send_replace(Some(deadline));
    }
    for Running { endpoint, task, .. } in running {
        let settings = endpoint.settings();
        if task.await.is_err() {
            error!(app = %settings.app, endpoint = settings.address(), "a webhook's task has panicked");
        } else {
            info!(app = %settings.app, endpoint = settings.address(), "webhook stopped");
        }
    }
}

fn status(settings: &Settings, queue: &Queue, refused: u64) -> Result<EndpointStatus, Error> {
    let fill = queue.fill()?;
    Ok(EndpointStatus {
        app: Arc::clone(&settings.app),
        address: settings.address(),
        pending_events: fill.pending_events,
        pending_bytes: fill.pending_bytes,
        dead_letters: fill.dead_letters,
        lost: fill.lost,
        refused,
    })
}

/// The queue of a configured endpoint while no server runs: for the command line.
#[derive(Debug)]
pub struct Archive {
    settings: Settings,
    queue: Queue,
}

impl Archive {
    /// Opens the files that the configuration's endpoints have in `state_dir`, of one app or of all.
    ///
    /// # Errors
    ///
    /// When a server uses them, or they cannot be read.
    pub fn open_all(config: &Config, app: Option<&str>) -> Result<Vec<Self>, Error> {
        let directory = config.state_dir.join(DIRECTORY);
        let mut archives = Vec::new();
        for (key, settings) in wanted(config)? {
            let path = key.path(&directory);
            if app.is_none_or(|app| app == key.app) && path.exists() {
                archives.push(Self { settings, queue: Queue::open(&path)? });
            }
        }
        Ok(archives)
    }

    /// How full it is, and whose it is.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn status(&self) -> Result<EndpointStatus, Error> {
        status(&self.settings, &self.queue, 0)
    }

    /// Calls `see` with each dead letter, the oldest first.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or what `see` returns.
    pub fn dead_letters<E: From<Error>>(&self, mut see: impl FnMut(&DeadLetter) -> Result<(), E>) -> Result<(), E> {
        let mut last = None;
        loop {
            let letters = self.queue.dead_letters(last, DEAD_LETTERS_PER_READ).map_err(Error::from)?;
            let Some(letter) = letters.last() else { return Ok(()) };
            last = Some(letter.number);
            letters.iter().try_for_each(&mut see)?;
        }
    }

    /// Puts the dead letters back into the queue, as far as there is room. Returns how many.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn retry(&self) -> Result<u64, Error> {
        Ok(self.queue.revive(self.settings.bounds())?)
    }
}
