//! The simulated users, and the backend that ships their orders.
//!
//! Owns one task per user, each on its own private channel, and the requests that publish. Never shows anything. The
//! invariant: a user behaves as a browser would, down to what it does after a close. Next: `client/`, `ledger.rs`.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use campanile_protocol::Secret;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::ledger::Ledger;
use super::orders::{self, Order};
use super::room;
use crate::client::{Api, Connection, Ended, Next, after_close};
use crate::config::Machine;
use crate::target::Target;

/// Connections that are being opened at a time.
const OPENINGS_MAX: usize = 64;

/// Connections from one loopback address: the kernel has some 28,000 ports for each.
const USERS_PER_SOURCE: u32 = 20_000;

/// Orders in a batch: what a server takes by default.
const BATCH_ORDERS: usize = 10;

/// How often the backend looks what is due.
const PACE: Duration = Duration::from_millis(5);

/// Everybody in the demo.
pub(super) struct Crowd {
    shared: Arc<Shared>,
    /// Dropping it ends them.
    users: JoinSet<()>,
}

/// What users and backend have in common.
pub(super) struct Shared {
    target: Target,
    secret: Secret,
    begun: Instant,
    openings: Semaphore,
    /// Requests that are under way at a time.
    requests_max: usize,
    connected: AtomicUsize,
    reconnected: AtomicU64,
    /// Users who will not try again.
    gone: AtomicUsize,
    complaint: Mutex<Option<String>>,
    /// Orders' books.
    pub(super) ledger: Mutex<Ledger>,
}

impl Crowd {
    /// Lets the users in.
    pub(super) fn gather(target: &Target, users: u32, begun: Instant) -> Self {
        let shared = Arc::new(Shared {
            target: target.clone(),
            secret: Secret::new(target.secret.expose()),
            begun,
            openings: Semaphore::new(OPENINGS_MAX),
            requests_max: room::requests_max(Machine::here().descriptors),
            connected: AtomicUsize::new(0),
            reconnected: AtomicU64::new(0),
            gone: AtomicUsize::new(0),
            complaint: Mutex::new(None),
            ledger: Mutex::new(Ledger::new()),
        });
        let mut tasks = JoinSet::new();
        for user in 1..=users {
            tasks.spawn(Arc::clone(&shared).live(user));
        }
        Self { shared, users: tasks }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// How many users there are, connected or not.
    pub(super) fn len(&self) -> usize {
        self.users.len()
    }
}

impl Shared {
    pub(super) fn connected(&self) -> usize {
        self.connected.load(Ordering::Relaxed)
    }

    pub(super) fn reconnected(&self) -> u64 {
        self.reconnected.load(Ordering::Relaxed)
    }

    pub(super) fn gone(&self) -> usize {
        self.gone.load(Ordering::Relaxed)
    }

    /// The last thing that went wrong.
    pub(super) fn complaint(&self) -> Option<String> {
        self.complaint.lock().clone()
    }

    fn complain(&self, complaint: String) {
        *self.complaint.lock() = Some(complaint);
    }

    /// One user, until the demo ends or the server has no place for them.
    async fn live(self: Arc<Self>, user: u32) {
        let mut was_here = false;
        loop {
            let (ended, was_established) = match self.enter(user).await {
                Ok(connection) => {
                    if std::mem::replace(&mut was_here, true) {
                        self.reconnected.fetch_add(1, Ordering::Relaxed);
                    }
                    self.connected.fetch_add(1, Ordering::Relaxed);
                    let ended = self.receive(user, connection).await;
                    self.connected.fetch_sub(1, Ordering::Relaxed);
                    (ended, true)
                }
                Err(ended) => (ended, false),
            };
            self.complain(format!("user {user}: {ended}"));
            match after_close(ended.code(), was_established) {
                Next::GiveUp => break,
                Next::ConnectAfter(delay) => sleep(delay).await,
            }
        }
        self.gone.fetch_add(1, Ordering::Relaxed);
    }

    /// Connects and subscribes to the user's own channel.
    async fn enter(&self, user: u32) -> Result<Connection, Ended> {
        // Nobody closes the semaphore, so this is always a permit.
        let _permit = self.openings.acquire().await;
        let mut connection = Connection::open(&self.target, source(&self.target, user)).await?;
        connection.subscribe(&self.target.key, &self.secret, &orders::channel(user), None)?;
        loop {
            let incident = connection.next().await?;
            match incident.event.as_str() {
                "pusher_internal:subscription_succeeded" => return Ok(connection),
                "pusher:subscription_error" | "pusher:error" => {
                    return Err(Ended::Foreign(format!("the subscription was refused: {}", incident.data)));
                }
                _ => {}
            }
        }
    }

    async fn receive(&self, user: u32, mut connection: Connection) -> Ended {
        loop {
            match connection.next().await {
                Ok(incident) if incident.event == orders::EVENT => {
                    let now = self.begun.elapsed();
                    if let Some(order) = Order::read(&incident.data) {
                        self.ledger.lock().arrive(order, user, now, incident.bytes);
                    }
                }
                Ok(_) => {}
                Err(ended) => return ended,
            }
        }
    }

    /// Ships `per_sec` orders for so long, half of them one by one and half in batches.
    pub(super) async fn ship(self: &Arc<Self>, api: &Arc<Api>, users: u32, per_sec: u32, duration: Duration) {
        let (begun, mut shipped) = (Instant::now(), 0_u64);
        let mut requests = JoinSet::new();
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while begun.elapsed() < duration {
            pace.tick().await;
            let due = (begun.elapsed().min(duration).as_secs_f64() * f64::from(per_sec)) as u64;
            while shipped < due {
                let round = shipped % (2 * BATCH_ORDERS as u64);
                let count = if round < BATCH_ORDERS as u64 { 1 } else { BATCH_ORDERS };
                shipped += count as u64;
                while requests.len() >= self.requests_max {
                    requests.join_next().await;
                }
                requests.spawn(Arc::clone(self).publish(Arc::clone(api), users, count));
            }
        }
        while requests.join_next().await.is_some() {}
    }

    /// One request with so many orders, each for the next user in turn.
    pub(super) async fn publish(self: Arc<Self>, api: Arc<Api>, users: u32, count: usize) {
        let sent = self.begun.elapsed();
        let orders: Vec<_> = {
            let mut ledger = self.ledger.lock();
            let numbers = std::iter::repeat_with(|| ledger.open()).take(count);
            numbers.map(|seq| Order::new(seq, (seq % u64::from(users)) as u32 + 1, sent)).collect()
        };
        let (path, body) = orders::request(&orders);
        match api.post(path, body).await {
            Ok(_) => self.ledger.lock().accept(&orders, Instant::now()),
            Err(error) => {
                self.ledger.lock().refuse(&orders);
                self.complain(error.to_string());
            }
        }
    }
}

/// Where a user connects from: large crowds on loopback need several addresses, for want of ports.
fn source(target: &Target, user: u32) -> Option<IpAddr> {
    let host: Ipv4Addr = target.host.parse().ok()?;
    let further = (user - 1) / USERS_PER_SOURCE;
    (host.is_loopback() && further > 0).then(|| Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + further).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::TargetArgs;

    #[test]
    fn users_beyond_one_addresss_ports_come_from_the_next() {
        let target = Target::find(&TargetArgs::default(), std::iter::empty()).unwrap();
        assert_eq!(source(&target, USERS_PER_SOURCE), None);
        let next = Some(IpAddr::from([127, 0, 0, 2]));
        assert_eq!(source(&target, USERS_PER_SOURCE + 1), next);
        assert_eq!(source(&target, 2 * USERS_PER_SOURCE), next);
        assert_eq!(source(&target, 50_000), Some(IpAddr::from([127, 0, 0, 3])));
        let elsewhere = Target { host: "192.0.2.1".to_owned(), ..target };
        assert_eq!(source(&elsewhere, 50_000), None);
    }
}
