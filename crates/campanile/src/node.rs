//! What all workers of the process share.
//!
//! Owns the current apps, the quotas, the certificate and whether this node takes connections. Never holds a channel, a member or a
//! socket. The invariant: a [`Place`] is released by being dropped, so a count cannot leak.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use campanile_hub::letter::Homes;
use campanile_hub::{App, Apps};
use campanile_protocol::CloseCode;
use parking_lot::{Mutex, RwLock};
use rustls::ServerConfig;
use tokio::sync::Notify;

use crate::config::{AllowedOrigins, Config};

/// So many lost minds within [`MINDS_LOST_WITHIN`] end the process.
const MINDS_LOST_MAX: usize = 3;
/// See [`MINDS_LOST_MAX`].
const MINDS_LOST_WITHIN: Duration = Duration::from_secs(60);

/// What one app has beside what the mind knows of it.
#[derive(Debug, Default)]
pub(crate) struct Tenant {
    connections: AtomicUsize,
    /// Theoretical arrival time of the next backend event, in nanoseconds since the node's start (GCRA).
    next_event_nanos: AtomicU64,
}

/// The settings of an app that belong to the rim.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rim {
    pub(crate) connections_max: Option<usize>,
    pub(crate) backend_events_per_sec: Option<u32>,
    pub(crate) allowed_origins: AllowedOrigins,
}

/// The process.
#[derive(Debug)]
pub(crate) struct Node {
    config: RwLock<Arc<Config>>,
    apps: RwLock<Arc<Apps>>,
    rims: RwLock<HashMap<Arc<str>, Arc<Rim>>>,
    tenants: Mutex<HashMap<Arc<str>, Arc<Tenant>>>,
    homes: Homes,
    connections: Arc<Tenant>,
    sockets: Arc<AtomicUsize>,
    started: Instant,
    leaving: AtomicBool,
    draining: AtomicBool,
    /// When minds were lost, as long ago as matters.
    minds_lost: Mutex<Vec<Instant>>,
    failed: Notify,
    tls: RwLock<Option<Arc<ServerConfig>>>,
}

/// A connection's place in its app's and its node's count.
#[derive(Debug)]
pub(crate) struct Place {
    node: Arc<Tenant>,
    app: Arc<Tenant>,
}

/// An accepted socket's share of the process's descriptors, be it a client's, a publisher's or nobody's yet.
#[derive(Debug)]
#[cfg_attr(test, derive(Default))]
pub(crate) struct Descriptor(Arc<AtomicUsize>);

impl Drop for Descriptor {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.node.connections.fetch_sub(1, Ordering::AcqRel);
        self.app.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

fn reserve(count: &AtomicUsize, max: usize) -> bool {
    count.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| (now < max).then_some(now + 1)).is_ok()
}

impl Node {
    pub(crate) fn new(config: Arc<Config>, apps: Arc<Apps>, homes: Homes) -> Arc<Self> {
        let rims = rims(&config);
        Arc::new(Self {
            config: RwLock::new(config),
            apps: RwLock::new(apps),
            rims: RwLock::new(rims),
            tenants: Mutex::default(),
            homes,
            connections: Arc::default(),
            sockets: Arc::default(),
            started: Instant::now(),
            leaving: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            minds_lost: Mutex::default(),
            failed: Notify::new(),
            tls: RwLock::default(),
        })
    }

    /// The configuration as of the last start or reload.
    pub(crate) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read())
    }

    /// The apps as of the last start or reload.
    pub(crate) fn apps(&self) -> Arc<Apps> {
        Arc::clone(&self.apps.read())
    }

    /// Which worker is a channel's home.
    pub(crate) fn homes(&self) -> &Homes {
        &self.homes
    }

    /// Takes a new set of apps and limits.
    pub(crate) fn reload(&self, config: Arc<Config>, apps: Arc<Apps>) {
        *self.rims.write() = rims(&config);
        *self.config.write() = config;
        *self.apps.write() = apps;
    }

    /// An app's settings at the rim.
    pub(crate) fn rim(&self, app: &App) -> Arc<Rim> {
        self.rims.read().get(&app.id).cloned().unwrap_or_default()
    }

    fn tenant(&self, app: &App) -> Arc<Tenant> {
        Arc::clone(self.tenants.lock().entry(Arc::clone(&app.id)).or_default())
    }

    /// Reserves a place for one more connection, or says which quota is full.
    pub(crate) fn reserve(&self, app: &App) -> Result<Place, CloseCode> {
        if !reserve(&self.connections.connections, self.config().limits.connections_max) {
            return Err(CloseCode::OverCapacity);
        }
        let tenant = self.tenant(app);
        if !reserve(&tenant.connections, self.rim(app).connections_max.unwrap_or(usize::MAX)) {
            self.connections.connections.fetch_sub(1, Ordering::AcqRel);
            return Err(CloseCode::OverQuota);
        }
        Ok(Place { node: Arc::clone(&self.connections), app: tenant })
    }

    /// Reserves a descriptor for one more socket. Files and webhooks keep theirs, however many sockets are half open.
    pub(crate) fn take_descriptor(&self) -> Option<Descriptor> {
        let max = self.config().sockets_max();
        reserve(&self.sockets, max).then(|| Descriptor(Arc::clone(&self.sockets)))
    }

    /// How many connections an app has.
    pub(crate) fn connections_of(&self, app: &App) -> usize {
        self.tenant(app).connections.load(Ordering::Acquire)
    }

    /// How many connections the node has.
    pub(crate) fn connections(&self) -> usize {
        self.connections.connections.load(Ordering::Acquire)
    }

    /// Counts backend events against the app's rate. Past it: after how many seconds to try again.
    pub(crate) fn admit_events(&self, app: &App, events: u32) -> Result<(), u64> {
        const NANOS: u64 = 1_000_000_000;
        let Some(rate) = self.rim(app).backend_events_per_sec else { return Ok(()) };
        let rate = u64::from(rate.max(1));
        let now = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let cost = u64::from(events).saturating_mul(NANOS) / rate;
        let admitted = self.tenant(app).next_event_nanos.fetch_update(Ordering::AcqRel, Ordering::Acquire, |next| {
            // A second's worth may come at once; one batch always may when nothing came before it.
            let after = next.max(now).saturating_add(cost);
            (next <= now || after <= now + NANOS).then_some(after)
        });
        admitted.map(|_| ()).map_err(|next| (next - now).div_ceil(NANOS).max(1))
    }

    /// The certificate that new connections are served with; none where they are not encrypted.
    pub(crate) fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.tls.read().clone()
    }

    /// Serves new connections with this certificate from now on.
    pub(crate) fn present(&self, tls: Arc<ServerConfig>) {
        *self.tls.write() = Some(tls);
    }

    /// Whether load balancers should send connections here.
    pub(crate) fn is_ready(&self) -> bool {
        !self.is_leaving() && self.connections() < self.config().limits.connections_max
    }

    /// From now on this node says that it is not ready, and still takes connections: a load balancer needs a moment.
    pub(crate) fn leave(&self) {
        self.leaving.store(true, Ordering::Release);
    }

    /// Whether this node is about to go.
    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Acquire)
    }

    /// From now on this node takes no new connections.
    pub(crate) fn drain(&self) {
        self.leave();
        self.draining.store(true, Ordering::Release);
    }

    /// Whether a drain has begun.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// A worker has lost its mind. One that keeps happening is no accident: it ends the process.
    pub(crate) fn lose_mind(&self) {
        let mut lost = self.minds_lost.lock();
        lost.retain(|at| at.elapsed() < MINDS_LOST_WITHIN);
        lost.push(Instant::now());
        if lost.len() >= MINDS_LOST_MAX {
            self.fail();
        }
    }

    /// The process should end because of its own faults.
    pub(crate) fn fail(&self) {
        self.failed.notify_one();
    }

    /// Waits until the process should end because of its own faults.
    pub(crate) async fn failed(&self) {
        self.failed.notified().await;
    }

    /// Since when the node runs.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }
}

fn rims(config: &Config) -> HashMap<Arc<str>, Arc<Rim>> {
    config
        .apps
        .iter()
        .map(|app| {
            let rim = Rim {
                connections_max: app.limits.connections_max,
                backend_events_per_sec: app.limits.backend_events_per_sec,
                allowed_origins: app.allowed_origins.clone(),
            };
            (Arc::from(app.id.as_str()), Arc::new(rim))
        })
        .collect()
}
