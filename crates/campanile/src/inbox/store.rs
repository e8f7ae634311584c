//! The store, opened, and the thread that tells of what is committed there.
//!
//! Owns both from the server's start to the end of its drain, and how the store is. Never runs a query itself, and never
//! makes a worker wait: what a worker asks it awaits beside its other work. The invariant: what was committed before a
//! drain's end has been told to whoever is still there. Read on in `pushes.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use std::{io, sync::mpsc};

use campanile_hub::letter::{ChannelKey, Subscriber};
use campanile_inbox::{Inbox, InboxError, OpenError, Settings, State, StoreUrl, Synchronous};
use campanile_protocol::SocketId;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio::{runtime, task};

use super::announcements::{Announcements, Lister};
use super::events::Event;
use super::fences::Fences;
use super::pushes::Pushes;
use super::session::Sessions;
use super::state_on_entry::Entries;
use super::streams::Streams;
use crate::config::{Config, InboxConfig, InboxStore, Synchronous as Configured};
use crate::mailbox::Post;
use crate::node::Node;

/// How long a drain waits for the last changes to be told.
const FLUSH_MAX: Duration = Duration::from_secs(5);
/// For how long after a failure the store counts as degraded, if nothing has succeeded since.
const DEGRADED_FOR: Duration = Duration::from_secs(60);

/// Why there is no store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be opened.
    #[error("{0}; without [inbox] the server starts without it")]
    Open(#[from] OpenError),
    /// The system refuses what its thread needs.
    #[error("cannot start the inbox's thread: {0}")]
    Thread(#[from] io::Error),
}

/// What is asked of the store, and how it is.
#[derive(Debug)]
pub(crate) struct Store {
    inbox: Inbox,
    pub(crate) sessions: Sessions,
    pub(crate) streams: Streams,
    pub(crate) fences: Fences,
    pub(crate) lister: Lister,
    entries: Entries,
    figures: Figures,
}

/// What has happened since the start.
#[derive(Debug, Default)]
struct Figures {
    failures: AtomicU64,
    states_unsent: AtomicU64,
    uncaptured: AtomicU64,
    last_failure: Mutex<Option<Instant>>,
}

/// How the store is.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    store: &'static str,
    /// Inboxes that are fed over HTTP.
    streams: usize,
    /// Calls that failed.
    failures: u64,
    /// Those who entered an inbox's channel and were not told how it stands.
    states_unsent: u64,
    /// Events that a capture rule names and that left no row.
    uncaptured: u64,
}

/// The store's thread, until the drain's end.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) store: Arc<Store>,
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

/// What the store is opened with.
pub(crate) fn settings(config: &InboxConfig, request_timeout: Duration) -> Settings {
    let (url, synchronous) = match &config.store {
        InboxStore::Sqlite { file, synchronous } => {
            let synchronous = match synchronous {
                Configured::Full => Synchronous::Full,
                Configured::Normal => Synchronous::Normal,
            };
            (StoreUrl::Sqlite(file.clone()), synchronous)
        }
        InboxStore::Postgres { url } => (StoreUrl::Postgres(url.expose().to_owned()), Synchronous::Full),
    };
    let mut settings = Settings::new(url);
    settings.synchronous = synchronous;
    settings.migrate = config.migrate;
    settings.retention = config.retention;
    settings.tombstones = config.tombstones;
    settings.keys = config.keys;
    settings.deliveries = config.deliveries;
    settings.dead_jobs = config.dead_jobs;
    settings.limits.connections = config.connections;
    settings.limits.writes_waiting = config.writes_waiting_max;
    settings.limits.reads_waiting = config.reads_waiting_max;
    // So that whoever asks hears what the store says before their own time is over.
    settings.limits.call_timeout = request_timeout * 4 / 5;
    settings
}

impl Opened {
    /// Opens the store that is configured, if one is, and starts to tell of what is committed there.
    pub(crate) fn open(
        config: &Config,
        node: &Arc<Node>,
        post: &Post,
        incarnation: u64,
    ) -> Result<Option<Self>, StoreError> {
        let Some(inbox) = &config.inbox else { return Ok(None) };
        let mut settings = settings(inbox, config.limits.http_request_timeout);
        if let Some(beyond) = &config.beyond {
            settings.mail_delay = beyond.untaken_after;
            settings.web_push_delay = beyond.untaken_after;
            settings.webhook_delay = beyond.untaken_after;
        }
        let streams = Streams::new(inbox.streams_max, incarnation);
        let sessions = Sessions::new().map_err(io::Error::other)?;
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = watch::channel(false);
        let (node, post) = (Arc::clone(node), post.clone());
        let thread = thread::Builder::new().name("inbox-pushes".to_owned()).spawn(move || {
            let runtime = match runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => {
                    let _gone = tell.send(Err(StoreError::Thread(error)));
                    return;
                }
            };
            runtime.block_on(async move {
                let (inbox, changes) = match Inbox::open(settings).await {
                    Ok(opened) => opened,
                    Err(error) => {
                        let _gone = tell.send(Err(error.into()));
                        return;
                    }
                };
                let pushes = Pushes::new(Arc::clone(&node), post);
                let announcements = Announcements::default();
                let (entries, entered) = Entries::new();
                let store = Arc::new(Store {
                    inbox: inbox.clone(),
                    sessions,
                    streams,
                    fences: Fences::default(),
                    lister: Lister::new(),
                    entries,
                    figures: Figures::default(),
                });
                let _gone = tell.send(Ok(Arc::clone(&store)));
                let (mut ends, mut ended) = (stopped.clone(), stopped);
                let courier = task::spawn({
                    let inbox = inbox.clone();
                    async move {
                        inbox
                            .run(async move {
                                let _closed = ends.wait_for(|stop| *stop).await;
                            })
                            .await;
                    }
                });
                let announcing = task::spawn(Arc::clone(&announcements.0).run(Arc::clone(&store), pushes.clone()));
                let entering = task::spawn(entered.run(Arc::clone(&store), pushes.clone()));
                let telling = task::spawn(pushes.run(changes, Arc::clone(&store), announcements.0));
                let _closed = ended.wait_for(|stop| *stop).await;
                // Nothing is written after the courier has ended and the store is closed; then the changes end, too.
                let flush = async {
                    let _ended = courier.await;
                    inbox.close().await;
                    let _ended = telling.await;
                };
                if tokio::time::timeout(FLUSH_MAX, flush).await.is_err() {
                    tracing::warn!(
                        "the inbox's store does not end in time: what it has accepted is told after the next start"
                    );
                }
                announcing.abort();
                entering.abort();
            });
        })?;
        let store = told.recv().map_err(|_| io::Error::other("it has panicked"))??;
        Ok(Some(Self { store, stop, thread }))
    }

    /// Ends the store when the last worker has gone: what waits to be stored is stored by the next start.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.stop.send_replace(true);
        self.thread.join().map_err(|_| io::Error::other("the inbox's thread has panicked"))
    }
}

impl Store {
    /// What can be asked of the store itself.
    pub(crate) fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// Counts how a call has ended.
    pub(crate) fn note<T>(&self, answer: Result<T, InboxError>) -> Result<T, InboxError> {
        match &answer {
            Err(InboxError::Unavailable { reason }) => {
                self.figures.failures.fetch_add(1, Ordering::Relaxed);
                let mut last = self.figures.last_failure.lock();
                if last.is_none() {
                    tracing::error!(%reason, "the inbox's store does not answer: what needs it is refused until it does");
                }
                *last = Some(Instant::now());
            }
            // Whoever is told to come back has not been told that it works.
            Err(InboxError::Busy { .. }) => {}
            Ok(_) | Err(_) => {
                if self.figures.failures.load(Ordering::Relaxed) > 0
                    && self.figures.last_failure.lock().take().is_some()
                {
                    tracing::info!("the inbox's store answers again");
                }
            }
        }
        answer
    }

    /// Counts a call that nobody could wait for any longer.
    pub(crate) fn note_late(&self) {
        let late: Result<(), _> = Err(InboxError::Unavailable { reason: "it does not answer in time".to_owned() });
        let _counted = self.note(late);
    }

    /// Whether the store has failed, and nothing has succeeded since.
    fn degraded(&self) -> bool {
        self.figures.last_failure.lock().is_some_and(|at| at.elapsed() < DEGRADED_FOR)
    }

    /// Has somebody told how the inbox stands whose channel they have entered, if there is room for that.
    pub(crate) fn tell_state(&self, key: ChannelKey, user: Box<str>, subscriber: Subscriber) {
        if !self.entries.push(key, user, subscriber) {
            self.count_unsent_state();
        }
    }

    /// Tells a stream how its user's inbox stands. Nothing happens if it is a connection of a worker's.
    pub(crate) fn greet(&self, socket_id: SocketId, state: &State) {
        self.streams.feed_one(socket_id, Event::state(state).in_stream());
    }

    /// One that entered was not told.
    pub(super) fn count_unsent_state(&self) {
        self.figures.states_unsent.fetch_add(1, Ordering::Relaxed);
    }

    /// An event was pushed without its row.
    pub(crate) fn count_uncaptured(&self) {
        self.figures.uncaptured.fetch_add(1, Ordering::Relaxed);
    }

    /// How the store is, for whoever looks after the node. Not what the database has said: anybody may ask.
    pub(crate) fn status(&self) -> Status {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Status {
            store: if self.degraded() { "degraded" } else { "ok" },
            streams: self.streams.len(),
            failures: read(&self.figures.failures),
            states_unsent: read(&self.figures.states_unsent),
            uncaptured: read(&self.figures.uncaptured),
        }
    }
}
