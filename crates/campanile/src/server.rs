//! Starting and stopping the server.
//!
//! Owns the threads of the workers. Never serves anybody itself. The invariant: what cannot be set up stops the start
//! (I14). Tests and embedders use this door as the binary does.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::{io, thread};

use campanile_hub::letter::Homes;
use campanile_hub::{App, AppIndex, Apps, Credential, Features, NoticeKind, NoticeSet, Replay, WorkerId};
use campanile_protocol::{Limits, Secret};
use socket2::{Domain, Protocol, Socket, Type};

use crate::beyond::carrier::Running;
use crate::beyond::ways::{Ways, WaysError};
use crate::clerk::{Clerk, ClerkError};
use crate::config::{AppConfig, Config};
use crate::inbox::{Opened, StoreError};
use crate::ledger::LedgerError;
use crate::mailbox::Post;
use crate::neighbour;
use crate::node::Node;
use crate::state_dir::{StateDir, StateDirError};
use crate::tls::{self, TlsError};
use crate::unix_socket::{self, SocketFile, UnixSocketError};
use crate::webhooks::Webhooks;
use crate::worker::{Listeners, Worker};

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be had.
    #[error("cannot listen on {address}: {source}; {advice}")]
    Listen {
        /// Which address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
        /// Who is there, and what to do.
        advice: String,
    },
    /// The Unix socket cannot be had.
    #[error(transparent)]
    UnixSocket(#[from] UnixSocketError),
    /// Certificate and key cannot be used.
    #[error("[tls]: {0}")]
    Tls(#[from] TlsError),
    /// The directory for what must survive cannot be had.
    #[error(transparent)]
    StateDir(#[from] StateDirError),
    /// What apps have used before cannot be had.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The store of notifications cannot be had.
    #[error("[inbox]: {0}")]
    Store(#[from] StoreError),
    /// A way to users who are not there cannot be set up.
    #[error(transparent)]
    Beyond(#[from] WaysError),
    /// What they have used hour by hour cannot be had.
    #[error(transparent)]
    Clerk(#[from] ClerkError),
    /// A webhook's queue cannot be had.
    #[error("cannot set up webhooks: {0}")]
    Webhooks(#[from] crate::webhooks::Error),
    /// The system refused something else.
    #[error("cannot start: {0}")]
    Io(#[from] io::Error),
}

/// Starts servers.
#[derive(Debug)]
pub struct Server;

/// A server that runs until it is stopped.
#[derive(Debug)]
pub struct RunningServer {
    address: SocketAddr,
    node: Arc<Node>,
    post: Post,
    workers: Vec<JoinHandle<io::Result<()>>>,
    webhooks: Arc<Webhooks>,
    clerk: Clerk,
    store: Option<Opened>,
    carrier: Option<Running>,
    _socket_file: Option<SocketFile>,
    /// Last, so that it is given back when nobody works in the directory any more.
    _state_dir: StateDir,
}

impl Server {
    /// Locks `state_dir`, binds, then starts one worker per configured core.
    pub fn start(config: Config) -> Result<RunningServer, StartError> {
        let state_dir = StateDir::lock(&config.state_dir)?;
        let tls = config.tls.as_ref().map(tls::load).transpose()?;
        let address = config.listen.address;
        let failed = |source| StartError::Listen { address, advice: neighbour::advice(address, &source), source };
        // Without SO_REUSEPORT first: a second server would otherwise silently take half of the clients.
        let probe = TcpListener::bind(address).map_err(failed)?;
        let address = probe.local_addr()?;
        drop(probe);
        let workers = u16::try_from(config.workers).expect("the configuration allows no more than 256");
        let backlog = i32::try_from(config.listen.backlog).unwrap_or(i32::MAX);
        let listeners: Vec<TcpListener> =
            (0..workers).map(|_| listener(address, backlog)).collect::<Result<_, _>>().map_err(failed)?;
        let unix = config.listen.unix_socket.as_deref().map(|path| unix_socket::bind(path, backlog)).transpose()?;
        let (mut unix, socket_file) = unix.unzip();
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let (seed, incarnation) = random.split_at(8);
        let number = |bytes: &[u8]| u64::from_ne_bytes(bytes.try_into().expect("half of sixteen bytes"));
        let webhooks = Webhooks::start(&config, number(incarnation), &config.state_dir)?;
        let webhooks = Arc::new(webhooks);
        let ways = Ways::set_up(&config, &config.state_dir)?;
        let apps = Arc::new(Apps::new(config.apps.iter().map(app).collect(), None));
        let homes = Homes { seed: number(seed), workers };
        let state = config.state_dir.clone();
        let node = Node::new(Arc::new(config), apps, homes);
        node.go_by(ways);
        node.ledger().open(&state)?;
        node.look_at_all_budgets(&webhooks);
        let hours_of = Arc::clone(&node);
        let hours_max = move || hours_of.config().limits.usage_hours_max;
        let clerk = Clerk::hire(Arc::clone(node.ledger()), Arc::clone(node.journal()), &state, hours_max)?;
        if let Some(tls) = tls {
            node.present(tls);
        }
        let post = Post::new(workers);
        let store = Opened::open(&node.config(), &node, &post, number(incarnation))?;
        if let Some(opened) = &store {
            node.keep_in(Arc::clone(&opened.store));
        }
        let carrier = store
            .as_ref()
            .map(|opened| Running::start(opened.store.inbox().clone(), Arc::clone(&webhooks), Arc::clone(&node)))
            .transpose()?;
        let (tell, told) = mpsc::channel();
        let mut threads = Vec::new();
        for (number_of, tcp) in listeners.into_iter().enumerate() {
            let listeners = Listeners { tcp, unix: unix.take() };
            let id = WorkerId(u16::try_from(number_of).expect("at most 1024 workers"));
            let (node, post, incarnation) = (Arc::clone(&node), post.clone(), number(incarnation));
            let (webhooks, tell) = (Arc::clone(&webhooks), tell.clone());
            let thread = thread::Builder::new().name(format!("worker-{}", id.0)).spawn(move || {
                let _alarm = Alarm(Arc::clone(&node));
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                let local = tokio::task::LocalSet::new();
                local.block_on(&runtime, async move {
                    let worker = Worker::new(id, node, post, listeners, incarnation, webhooks)?;
                    // Whoever started us waits for this, and sees if it does not come.
                    let _ = tell.send(());
                    worker.run().await
                })
            })?;
            threads.push(thread);
        }
        drop(tell);
        if told.iter().take(threads.len()).count() < threads.len() {
            node.drain();
            return Err(StartError::Io(join(threads).err().unwrap_or_else(|| io::Error::other("a worker has ended"))));
        }
        let tls = node.tls().is_some();
        state_dir.serves_on(address);
        tracing::info!(%address, tls, workers, "listening");
        Ok(RunningServer {
            address,
            node,
            post,
            workers: threads,
            webhooks,
            clerk,
            store,
            carrier,
            _socket_file: socket_file,
            _state_dir: state_dir,
        })
    }
}

/// Reports a worker that ends while nobody has told it to: the others would wait for it for ever.
struct Alarm(Arc<Node>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if !self.0.is_draining() {
            self.0.fail();
        }
    }
}

/// Waits for every worker, and tells what the first that failed has said.
fn join(workers: Vec<JoinHandle<io::Result<()>>>) -> io::Result<()> {
    let joined = workers.into_iter().map(|worker| {
        worker.join().unwrap_or_else(|_| Err(io::Error::other("a worker has panicked where nothing contains it")))
    });
    // All of them first: one that has failed does not keep the others from being waited for.
    let ends: Vec<io::Result<()>> = joined.collect();
    ends.into_iter().collect()
}

fn listener(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}

impl RunningServer {
    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Whether the address speaks TLS.
    pub fn has_tls(&self) -> bool {
        self.node.tls().is_some()
    }

    /// Takes new apps, limits and certificates without dropping a socket. Where to listen does not change, nor whether
    /// that is encrypted. After an error, everything is as it was.
    pub async fn reload(&self, config: Config) -> Result<(), StartError> {
        let tls = match (&config.tls, self.has_tls()) {
            (Some(files), true) => {
                let files = files.clone();
                // A file system that hangs must not keep the caller from hearing a signal.
                let loaded = tokio::task::spawn_blocking(move || tls::load(&files)).await;
                Some(loaded.map_err(io::Error::other)??)
            }
            (None, false) => None,
            (Some(_), false) => {
                tracing::error!("[tls] is new: it takes a restart, until then nothing is encrypted");
                None
            }
            (None, true) => {
                tracing::warn!("[tls] is gone: it takes a restart, until then the certificate is as before");
                None
            }
        };
        let ways = {
            let config = config.clone();
            tokio::task::spawn_blocking(move || Ways::set_up(&config, &config.state_dir))
                .await
                .map_err(io::Error::other)??
        };
        self.webhooks.reload(&config).await?;
        self.node.go_by(ways);
        if let Some(tls) = tls {
            self.node.present(tls);
        }
        let apps = Arc::new(Apps::new(config.apps.iter().map(app).collect(), Some(&self.node.apps())));
        let config = Arc::new(config);
        let before = self.node.config();
        self.node.reload(Arc::clone(&config), Arc::clone(&apps));
        self.node.look_at_all_budgets(&self.webhooks);
        if before.inbox != config.inbox {
            tracing::error!("[inbox] has changed: it takes a restart, until then notifications are kept as before");
        }
        let changes = Changes::between(&before.apps, &config.apps);
        let kept = apps_that_stay(&config, &apps).map(|app| self.node.connections_of(app)).sum::<usize>();
        self.post.broadcast(&campanile_hub::Letter::Reload { apps });
        tracing::info!(
            apps_added = changes.added,
            apps_removed = changes.removed,
            apps_changed = changes.changed,
            connections_kept = kept,
            "reloaded"
        );
        Ok(())
    }

    /// Waits until the server cannot go on: three workers have lost their minds within a minute, or one has ended. Whoever
    /// runs it should drain it and start it anew.
    pub async fn failed(&self) {
        self.node.failed().await;
    }

    /// Reports not ready, tells clients in waves to go elsewhere and waits until they have, but for no longer than the
    /// configuration's times together.
    pub async fn drain(self) -> io::Result<()> {
        self.node.leave();
        tokio::time::sleep(self.node.config().drain.ready_delay).await;
        self.node.drain();
        if let Some(opened) = &self.store {
            opened.store.streams.close();
        }
        let workers = self.workers;
        let joined = tokio::task::spawn_blocking(move || join(workers));
        let joined = joined.await.map_err(io::Error::other)?;
        // Before the store and the webhooks, which it needs to the end.
        if let Some(carrier) = self.carrier {
            tokio::task::spawn_blocking(move || carrier.finish()).await.map_err(io::Error::other)?;
        }
        if let Some(opened) = self.store {
            tokio::task::spawn_blocking(move || opened.finish()).await.map_err(io::Error::other)??;
        }
        self.webhooks.flush_and_stop(self.node.config().drain.webhooks_flush).await;
        // The calls of the flush, which no worker is left to hand over.
        self.node.account(self.webhooks.take_readings(&self.node.apps()), &self.webhooks);
        let written = tokio::task::spawn_blocking(move || self.clerk.finish());
        written.await.map_err(io::Error::other)??;
        joined
    }
}

/// What a reload has done to the apps.
#[derive(Debug, PartialEq, Eq)]
struct Changes {
    added: usize,
    removed: usize,
    changed: usize,
}

impl Changes {
    fn between(before: &[AppConfig], after: &[AppConfig]) -> Self {
        let before: HashMap<&str, &AppConfig> = before.iter().map(|app| (app.id.as_str(), app)).collect();
        let stayed: Vec<bool> =
            after.iter().filter_map(|app| before.get(app.id.as_str()).map(|known| *known == app)).collect();
        Self {
            added: after.len() - stayed.len(),
            removed: before.len() - stayed.len(),
            changed: stayed.iter().filter(|is_same| !**is_same).count(),
        }
    }
}

/// The apps whose connections a reload keeps.
fn apps_that_stay<'a>(config: &'a Config, apps: &'a Apps) -> impl Iterator<Item = &'a App> {
    config.apps.iter().filter(|app| app.enabled).filter_map(|app| apps.by_id(&app.id)).map(Arc::as_ref)
}

/// What the mind knows of an app.
fn app(config: &AppConfig) -> App {
    let limits = &config.limits;
    let secs = |duration: std::time::Duration| u32::try_from(duration.as_secs()).unwrap_or(u32::MAX);
    let credential = |pair: &crate::config::AppKeyPair| Credential {
        key: pair.key.as_str().into(),
        secret: Secret::new(pair.secret.expose()),
    };
    App {
        id: config.id.as_str().into(),
        index: AppIndex(0),
        enabled: config.enabled,
        credentials: config.keys.iter().filter(|pair| pair.enabled).map(credential).collect(),
        replay: Replay {
            channels: config.replay_channels.iter().map(|pattern| pattern.as_str().into()).collect(),
            events_max: limits.replay_events_max,
            bytes_max: limits.replay_bytes_max,
            secs: limits.replay.as_secs(),
        },
        usage_prefixes: config.usage_prefixes.iter().map(|listed| listed.as_str().into()).collect(),
        features: Features {
            client_events: config.client_events,
            user_authentication: config.user_authentication,
            watchlists: config.watchlists,
            subscription_counts: config.subscription_counts,
        },
        limits: Limits {
            channel_name_length_max: limits.channel_name_length_max,
            event_name_length_max: limits.event_name_length_max,
            event_data_bytes_max: limits.event_data_bytes_max,
            client_event_bytes_max: limits.client_event_bytes_max,
            client_events_per_sec: limits.client_events_per_sec,
            channels_per_event_max: limits.channels_per_event_max,
            batch_events_max: limits.batch_events_max,
            presence_members_max: limits.presence_members_max,
            presence_member_bytes_max: limits.presence_member_bytes_max,
            user_id_length_max: limits.presence_user_id_length_max,
            presence_snapshot_bytes_max: limits.presence_snapshot_bytes_max,
            cache_ttl_secs: limits.cache_ttl.as_secs(),
            watchlist_max: limits.watchlist_max,
            channels_per_connection_max: limits.channels_per_connection_max,
        },
        activity_timeout_secs: secs(limits.activity_timeout),
        authorized_connections_timeout_secs: config.authorized_connections_timeout.map(secs),
        notices: notices(config),
        guard: config.guard.clone(),
        inbox: config.inbox.clone().map(Arc::new),
    }
}

fn notices(config: &AppConfig) -> NoticeSet {
    let wanted = config.webhooks.iter().flat_map(|webhook| &webhook.events);
    wanted.fold(NoticeSet::default(), |set, event| {
        let bit = NoticeKind::NAMES.iter().position(|name| *name == event.as_str());
        bit.and_then(|bit| u8::try_from(bit).ok()).map_or(set, |bit| set.with(bit))
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_kernel_holds_as_many_connections_as_the_backlog() {
        let listener = listener("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        let address = listener.local_addr().unwrap();
        let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(300));
        // Linux holds one more than it was asked to.
        let waiting: Vec<TcpStream> = (0..3).map(|_| connect().unwrap()).collect();
        assert_eq!(connect().unwrap_err().kind(), io::ErrorKind::TimedOut);
        for _ in &waiting {
            listener.accept().unwrap();
        }
        connect().unwrap();
    }
}
