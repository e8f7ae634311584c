//! What all workers of the process share.
//!
//! Owns the current apps, the quotas, the certificate and whether this node takes connections. Never holds a channel, a member or a
//! socket. The invariant: a [`Place`] is released by being dropped, so a count cannot leak.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use campanile_hub::guard::Alert;
use campanile_hub::letter::Homes;
use campanile_hub::{App, AppIndex, Apps, Reading};
use campanile_protocol::CloseCode;
use parking_lot::{Mutex, RwLock};
use rustls::ServerConfig;
use tokio::sync::Notify;

use crate::alerts::{self, Alerts};
use crate::beyond::takings::Takings;
use crate::beyond::ways::Ways;
use crate::config::{AllowedOrigins, Budget, Config, OnSpent, ServerToken};
use crate::inbox::Store;
use crate::journal::{Bounds, Journal};
use crate::ledger::{self, Ledger, Spent};
use crate::outcomes::{Outcome, OutcomeCounts, Outcomes};
use crate::webhooks::Webhooks;

/// So many lost minds within [`MINDS_LOST_WITHIN`] end the process.
const MINDS_LOST_MAX: usize = 3;
/// See [`MINDS_LOST_MAX`].
const MINDS_LOST_WITHIN: Duration = Duration::from_secs(60);

/// What one app has of this node at present.
#[derive(Debug, Default)]
struct Tenancy {
    connections: Arc<AtomicUsize>,
    /// The most at once since that was last accounted.
    peak: AtomicUsize,
    /// Theoretical arrival time of the next backend event, in nanoseconds since the node's start (GCRA).
    next_event_nanos: AtomicU64,
    /// Of events that a rule of the guard concerns.
    outcomes: Outcomes,
    /// Until when a budget is spent, in seconds since 1970, and whether requests are refused meanwhile.
    spent_until: AtomicU64,
    refuses: AtomicBool,
}

impl Tenancy {
    /// Whether there is a budget that is spent, and for how many more seconds.
    fn spent(&self) -> Option<(OnSpent, u64)> {
        // Nearly always there is none, and no clock is asked.
        let until = Some(self.spent_until.load(Ordering::Acquire)).filter(|until| *until > 0)?;
        let left = until.checked_sub(ledger::now_secs()).filter(|left| *left > 0)?;
        let on_spent = if self.refuses.load(Ordering::Acquire) { OnSpent::Refuse } else { OnSpent::Drop };
        Some((on_spent, left))
    }

    fn spend(&self, spent: Option<Spent>) {
        self.refuses.store(spent.is_some_and(|spent| spent.on_spent == OnSpent::Refuse), Ordering::Release);
        self.spent_until.store(spent.map_or(0, |spent| spent.until), Ordering::Release);
    }
}

/// The settings of an app that belong to the rim.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rim {
    pub(crate) connections_max: Option<usize>,
    pub(crate) backend_events_per_sec: Option<u32>,
    pub(crate) allowed_origins: AllowedOrigins,
    pub(crate) budgets: Vec<Budget>,
    pub(crate) server_tokens: Vec<ServerToken>,
}

/// What one app has beside what the mind knows of it.
#[derive(Debug, Clone, Default)]
struct Tenant {
    rim: Arc<Rim>,
    /// Outlives reloads, even one that takes the app away.
    tenancy: Arc<Tenancy>,
}

/// What a reload replaces, all at once.
#[derive(Debug)]
struct Current {
    config: Arc<Config>,
    apps: Arc<Apps>,
    /// By [`campanile_hub::AppIndex`].
    tenants: Vec<Tenant>,
}

impl Current {
    fn new(config: Arc<Config>, apps: Arc<Apps>, before: &[Tenant]) -> Self {
        let mut tenants: Vec<Tenant> =
            before.iter().map(|tenant| Tenant { tenancy: Arc::clone(&tenant.tenancy), ..Tenant::default() }).collect();
        let places = apps.iter().map(|app| app.index.0 as usize + 1).max().unwrap_or_default();
        tenants.resize_with(places.max(before.len()), Tenant::default);
        for configured in &config.apps {
            let Some(app) = apps.by_id(&configured.id) else { continue };
            tenants[app.index.0 as usize].rim = Arc::new(Rim {
                connections_max: configured.limits.connections_max,
                backend_events_per_sec: configured.limits.backend_events_per_sec,
                allowed_origins: configured.allowed_origins.clone(),
                budgets: configured.budgets.clone(),
                server_tokens: configured.server_tokens.clone(),
            });
        }
        Self { config, apps, tenants }
    }
}

/// The process.
#[derive(Debug)]
pub(crate) struct Node {
    current: RwLock<Current>,
    homes: Homes,
    connections: Arc<AtomicUsize>,
    sockets: Arc<AtomicUsize>,
    started: Instant,
    leaving: AtomicBool,
    draining: AtomicBool,
    /// When minds were lost, as long ago as matters.
    minds_lost: Mutex<Vec<Instant>>,
    failed: Notify,
    tls: RwLock<Option<Arc<ServerConfig>>>,
    alerts: Alerts,
    takings: Takings,
    ways: RwLock<Arc<Ways>>,
    /// Held by the worker that looks at budgets.
    judging: Mutex<()>,
    ledger: Arc<Ledger>,
    store: OnceLock<Arc<Store>>,
    journal: Arc<Journal>,
}

/// A connection's place in its app's and its node's count.
#[derive(Debug)]
pub(crate) struct Place {
    node: Arc<AtomicUsize>,
    app: Arc<AtomicUsize>,
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
        self.node.fetch_sub(1, Ordering::AcqRel);
        self.app.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Takes one more, if that is not too many, and says how many there are then.
fn reserve(count: &AtomicUsize, max: usize) -> Option<usize> {
    let before = count.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| (now < max).then_some(now + 1));
    before.ok().map(|before| before + 1)
}

impl Node {
    pub(crate) fn new(config: Arc<Config>, apps: Arc<Apps>, homes: Homes) -> Arc<Self> {
        Arc::new(Self {
            current: RwLock::new(Current::new(config, apps, &[])),
            homes,
            connections: Arc::default(),
            sockets: Arc::default(),
            started: Instant::now(),
            leaving: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            minds_lost: Mutex::default(),
            failed: Notify::new(),
            tls: RwLock::default(),
            alerts: Alerts::default(),
            takings: Takings::default(),
            ways: RwLock::default(),
            judging: Mutex::default(),
            ledger: Arc::default(),
            store: OnceLock::new(),
            journal: Arc::default(),
        })
    }

    /// The configuration as of the last start or reload.
    pub(crate) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.current.read().config)
    }

    /// The apps as of the last start or reload.
    pub(crate) fn apps(&self) -> Arc<Apps> {
        Arc::clone(&self.current.read().apps)
    }

    /// Which worker is a channel's home.
    pub(crate) fn homes(&self) -> &Homes {
        &self.homes
    }

    /// Takes a new set of apps and limits.
    pub(crate) fn reload(&self, config: Arc<Config>, apps: Arc<Apps>) {
        let mut current = self.current.write();
        *current = Current::new(config, apps, &current.tenants);
    }

    /// An app's settings at the rim.
    pub(crate) fn rim(&self, app: &App) -> Arc<Rim> {
        self.tenant(app).rim
    }

    fn tenant(&self, app: &App) -> Tenant {
        let current = self.current.read();
        current.tenants.get(app.index.0 as usize).cloned().expect("every app has its place in the newest set")
    }

    /// Reserves a place for one more connection, or says which quota is full.
    pub(crate) fn reserve(&self, app: &App) -> Result<Place, CloseCode> {
        reserve(&self.connections, self.config().limits.connections_max).ok_or(CloseCode::OverCapacity)?;
        let Tenant { rim, tenancy } = self.tenant(app);
        let Some(connections) = reserve(&tenancy.connections, rim.connections_max.unwrap_or(usize::MAX)) else {
            self.connections.fetch_sub(1, Ordering::AcqRel);
            return Err(CloseCode::OverQuota);
        };
        tenancy.peak.fetch_max(connections, Ordering::AcqRel);
        Ok(Place { node: Arc::clone(&self.connections), app: Arc::clone(&tenancy.connections) })
    }

    /// Reserves a descriptor for one more socket. Files and webhooks keep theirs, however many sockets are half open.
    pub(crate) fn take_descriptor(&self) -> Option<Descriptor> {
        let max = self.config().sockets_max();
        reserve(&self.sockets, max).map(|_| Descriptor(Arc::clone(&self.sockets)))
    }

    /// How many connections an app has.
    pub(crate) fn connections_of(&self, app: &App) -> usize {
        self.tenant(app).tenancy.connections.load(Ordering::Acquire)
    }

    /// How many connections the node has.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Acquire)
    }

    /// Counts backend events against the app's rate. Past it: after how many seconds to try again.
    pub(crate) fn admit_events(&self, app: &App, events: u32) -> Result<(), u64> {
        const NANOS: u64 = 1_000_000_000;
        let Tenant { rim, tenancy } = self.tenant(app);
        let Some(rate) = rim.backend_events_per_sec else { return Ok(()) };
        let rate = u64::from(rate.max(1));
        let now = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let cost = u64::from(events).saturating_mul(NANOS) / rate;
        let admitted = tenancy.next_event_nanos.fetch_update(Ordering::AcqRel, Ordering::Acquire, |next| {
            // A second's worth may come at once; one batch always may when nothing came before it.
            let after = next.max(now).saturating_add(cost);
            (next <= now || after <= now + NANOS).then_some(after)
        });
        admitted.map(|_| ()).map_err(|next| (next - now).div_ceil(NANOS).max(1))
    }

    /// Counts what has become of an event on a channel.
    pub(crate) fn count_outcomes(&self, app: &App, outcomes: impl IntoIterator<Item = Outcome>) {
        let tenancy = self.tenant(app).tenancy;
        outcomes.into_iter().for_each(|outcome| tenancy.outcomes.count(outcome));
    }

    /// What has become of an app's events that a rule concerned.
    pub(crate) fn outcomes_of(&self, app: &App) -> OutcomeCounts {
        self.tenant(app).tenancy.outcomes.counts()
    }

    /// The same of all apps.
    pub(crate) fn outcomes(&self) -> OutcomeCounts {
        let mut all = OutcomeCounts::default();
        self.current.read().tenants.iter().for_each(|tenant| all += tenant.tenancy.outcomes.counts());
        all
    }

    /// Notifications that connections have taken.
    pub(crate) fn takings(&self) -> &Takings {
        &self.takings
    }

    /// By which ways users are reached who are not there.
    pub(crate) fn ways(&self) -> Arc<Ways> {
        Arc::clone(&self.ways.read())
    }

    /// Goes by these from now on. What is under way ends as it began.
    pub(crate) fn go_by(&self, ways: Ways) {
        *self.ways.write() = Arc::new(ways);
    }

    /// How many alerts were told.
    pub(crate) fn alerts(&self) -> u64 {
        self.alerts.count()
    }

    /// The accounts of what apps have used.
    pub(crate) fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// Where notifications are kept, if they are.
    pub(crate) fn store(&self) -> Option<&Arc<Store>> {
        self.store.get()
    }

    /// Notifications are kept here for as long as the process lives.
    pub(crate) fn keep_in(&self, store: Arc<Store>) {
        let is_first = self.store.set(store).is_ok();
        debug_assert!(is_first, "a node has one store");
    }

    /// What apps have used, hour by hour.
    pub(crate) fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// Writes down what apps have used, and looks whether that was too much.
    pub(crate) fn account(&self, readings: Vec<Reading>, webhooks: &Webhooks) {
        if readings.is_empty() {
            return;
        }
        let (apps, config, now) = (self.apps(), self.config(), ledger::now_secs());
        let limits = &config.limits;
        let bounds = Bounds { prefixes_max: limits.usage_prefixes_max, events_max: limits.usage_events_max };
        for reading in readings {
            // Nobody asks any more what an app has used that a reload has taken away.
            let Some(app) = apps.get(reading.app) else { continue };
            self.ledger.add(&app.id, &reading.usage(), now);
            self.journal.add(&app.id, reading, now, bounds);
            self.look_at_budgets(app, now, webhooks);
        }
    }

    /// Writes down how many connections apps had at once.
    pub(crate) fn account_peaks(&self) {
        let (apps, now) = (self.apps(), ledger::now_secs());
        for app in apps.iter() {
            let tenancy = self.tenant(app).tenancy;
            // The next peak is at least as many as there are now.
            let peak = tenancy.peak.swap(tenancy.connections.load(Ordering::Acquire), Ordering::AcqRel);
            self.journal.peak(&app.id, peak as u64, now);
        }
    }

    /// Looks at all budgets, as after a start and a reload.
    pub(crate) fn look_at_all_budgets(&self, webhooks: &Webhooks) {
        let now = ledger::now_secs();
        self.apps().iter().for_each(|app| self.look_at_budgets(app, now, webhooks));
    }

    fn look_at_budgets(&self, app: &App, now: u64, webhooks: &Webhooks) {
        let Tenant { rim, tenancy } = self.tenant(app);
        // One worker at a time, or one that has judged before would open what another has just closed.
        let judging = self.judging.lock();
        let (spent, warnings) = self.ledger.judge(&app.id, &rim.budgets, now);
        tenancy.spend(spent);
        drop(judging);
        for warning in warnings {
            alerts::log_budget(&warning, &app.id);
            webhooks.notify(self.alerts.of_budget(&warning, &app.id));
        }
    }

    /// Whether an app has a budget that is spent, what then becomes of its events, and for how many more seconds.
    pub(crate) fn spent(&self, app: &App) -> Option<(OnSpent, u64)> {
        self.current.read().tenants.get(app.index.0 as usize)?.tenancy.spent()
    }

    /// The apps that have one.
    pub(crate) fn all_spent(&self) -> Vec<AppIndex> {
        let current = self.current.read();
        let spent = |(index, tenant): (u32, &Tenant)| tenant.tenancy.spent().map(|_| AppIndex(index));
        (0..).zip(&current.tenants).filter_map(spent).collect()
    }

    /// Tells of an alert, unless that has been done.
    pub(crate) fn raise(&self, alert: &Alert, webhooks: &Webhooks) {
        let apps = self.apps();
        // Nobody is left to tell of an app that a reload has taken away.
        let Some(app) = apps.get(alert.app) else { return };
        if let Some(notice) = self.alerts.admit(alert, &app.id, Instant::now()) {
            alerts::log(alert, &app.id);
            webhooks.notify(notice);
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Machine;

    fn configured(apps: &str) -> Arc<Config> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), apps).unwrap();
        let machine = Machine { cores: 1, ..Machine::here() };
        Arc::new(Config::load_explained(Some(file.path()), std::iter::empty(), &machine).unwrap().0)
    }

    fn table(id: &str) -> String {
        let pair = r#"key = "key", secret = "a-secret-of-32-characters-at-least""#;
        format!("[[apps]]\nid = {id:?}\nconnections_max = 1\nkeys = [{{ {pair} }}]\n")
    }

    fn reload(node: &Node, config: &Arc<Config>, ids: &[&str]) {
        let apps = ids.iter().map(|id| App::new(id, "key", "secret")).collect();
        node.reload(Arc::clone(config), Arc::new(Apps::new(apps, Some(&node.apps()))));
    }

    #[test]
    fn connections_count_over_reloads_even_if_their_app_goes_and_returns() {
        let apps = Apps::new(vec![App::new("a", "key", "secret")], None);
        let [first, second] = ["a", "b"].map(|id| configured(&table(id)));
        let node = Node::new(Arc::clone(&first), Arc::new(apps), Homes { seed: 1, workers: 1 });
        let a = Arc::clone(node.apps().by_id("a").unwrap());
        let place = node.reserve(&a).unwrap();
        assert_eq!(node.reserve(&a).unwrap_err(), CloseCode::OverQuota);

        reload(&node, &second, &["b"]);
        let b = Arc::clone(node.apps().by_id("b").unwrap());
        assert_eq!((node.connections_of(&a), node.connections_of(&b), node.connections()), (1, 0, 1));
        assert_eq!((node.rim(&a).connections_max, node.rim(&b).connections_max), (None, Some(1)));

        reload(&node, &first, &["a"]);
        assert_eq!((node.connections_of(&a), node.rim(&b).connections_max), (1, None));
        assert_eq!(node.reserve(&a).unwrap_err(), CloseCode::OverQuota);
        drop(place);
        assert_eq!((node.connections_of(&a), node.connections()), (0, 0));
        assert!(node.reserve(&a).is_ok());
    }
}
