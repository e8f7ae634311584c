//! The simulated customers.
//!
//! Owns their sessions, their tasks and the ledger of what they saw when. Never talks to the shop but over the network.
//! The invariant: when whoever sent them out lets go of them, all of them stop. Read on in `browser.rs`.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at};

use super::browser::{Browser, BrowserError, Listener};
use super::{ComparisonError, POLL_EVERY};
use crate::app::App;
use crate::session::NewSession;
use crate::store::either;

/// Customers that connect at the same time.
const CONNECTING_AT_ONCE_MAX: usize = 64;

/// How a customer keeps up to date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Polling,
    Live,
}

/// One customer: their id, their cookie and their token.
#[derive(Debug)]
struct Customer {
    id: i64,
    cookie: String,
    csrf_token: String,
}

/// All customers of a comparison.
pub(super) struct Crowd {
    customers: Vec<Arc<Customer>>,
    shop: SocketAddr,
    live: Live,
    ledger: Arc<Mutex<Option<Arc<Ledger>>>>,
}

/// Where the customers listen.
#[derive(Debug, Clone)]
pub(super) struct Live {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) key: String,
}

/// When orders left, and when their owners saw it.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    waiting: HashMap<i64, Instant>,
    delays: Vec<Duration>,
}

impl Ledger {
    pub(super) fn shipped(&self, order: i64) {
        self.0.lock().waiting.insert(order, Instant::now());
    }

    /// An owner has seen that this order has left. Only the first time counts.
    fn seen(&self, order: i64) {
        let mut entries = self.0.lock();
        if let Some(shipped) = entries.waiting.remove(&order) {
            entries.delays.push(shipped.elapsed());
        }
    }

    /// The delays in order, and how many orders nobody saw leave.
    pub(super) fn settle(&self) -> (Vec<Duration>, usize) {
        let mut entries = self.0.lock();
        entries.delays.sort_unstable();
        (entries.delays.clone(), entries.waiting.len())
    }
}

impl Crowd {
    /// Gives each customer a session, as if they had signed in.
    pub(super) async fn gather(app: &App, users: i64) -> Result<Self, ComparisonError> {
        let mut tx = app.db.begin().await?;
        let sql = "SELECT id FROM users WHERE password_hash IS NULL ORDER BY id LIMIT $1";
        let ids: Vec<i64> = either!(&mut tx, |tx| sqlx::query_scalar(sql).bind(users).fetch_all(&mut **tx).await?);
        let mut customers = Vec::with_capacity(ids.len());
        for id in ids {
            let session = NewSession::begin(&mut tx, Some(id)).await?;
            customers.push(Arc::new(Customer { id, cookie: session.cookie(), csrf_token: session.csrf_token }));
        }
        tx.commit().await?;
        let live = Live { host: app.live.host.clone(), port: app.live.port, key: app.live.key.clone() };
        Ok(Self { customers, shop: app.address, live, ledger: Arc::default() })
    }

    pub(super) fn len(&self) -> usize {
        self.customers.len()
    }

    /// From now on, what customers see is written down.
    pub(super) fn open_ledger(&self) -> Arc<Ledger> {
        let ledger = Arc::new(Ledger::default());
        *self.ledger.lock() = Some(Arc::clone(&ledger));
        ledger
    }

    pub(super) fn close_ledger(&self) {
        *self.ledger.lock() = None;
    }

    /// Lets all of them begin.
    pub(super) fn send_out(&self, way: Way) -> Outing {
        let state = Arc::new(State::default());
        let connecting = Arc::new(Semaphore::new(CONNECTING_AT_ONCE_MAX));
        let mut tasks = JoinSet::new();
        for (number, customer) in (0_u32..).zip(&self.customers) {
            let errand = Errand {
                customer: Arc::clone(customer),
                shop: self.shop,
                live: self.live.clone(),
                ledger: Arc::clone(&self.ledger),
                state: Arc::clone(&state),
            };
            let connecting = Arc::clone(&connecting);
            // Spread over the interval, as pages are that were opened at different times.
            let first = POLL_EVERY * number / u32::try_from(self.customers.len()).unwrap_or(u32::MAX);
            tasks.spawn(async move {
                let ended = match way {
                    Way::Polling => errand.poll(first).await,
                    Way::Live => errand.listen(&connecting).await,
                };
                if let Err(error) = ended {
                    errand.state.failed.fetch_add(1, Relaxed);
                    errand.state.cause.lock().get_or_insert(error.to_string());
                    errand.state.changed.notify_waiters();
                }
            });
        }
        Outing { state, customers: self.customers.len(), tasks }
    }

    /// Ends the sessions.
    pub(super) async fn go_home(self, app: &App) -> sqlx::Result<()> {
        let sql = "DELETE FROM sessions WHERE user_id IN (SELECT id FROM users WHERE password_hash IS NULL)";
        either!(&app.db, |db| sqlx::query(sql).execute(db).await.map(|_| ()))
    }
}

#[derive(Debug, Default)]
struct State {
    ready: AtomicUsize,
    failed: AtomicU64,
    cause: Mutex<Option<String>>,
    changed: Notify,
}

/// Customers who are out. Dropped, all of them stop.
pub(super) struct Outing {
    state: Arc<State>,
    customers: usize,
    tasks: JoinSet<()>,
}

impl Outing {
    /// Stops all of them, and waits until they have: what comes next must not be counted with what they did.
    pub(super) async fn end(mut self) {
        self.tasks.shutdown().await;
    }

    /// How many listen.
    pub(super) fn ready(&self) -> usize {
        self.state.ready.load(Relaxed)
    }

    pub(super) fn failed(&self) -> u64 {
        self.state.failed.load(Relaxed)
    }

    /// Why the first that failed has failed.
    pub(super) fn cause(&self) -> Option<String> {
        self.state.cause.lock().clone()
    }

    /// Waits until each of them listens or has failed.
    pub(super) async fn all_ready(&self) {
        loop {
            let changed = self.state.changed.notified();
            let failed = usize::try_from(self.failed()).unwrap_or(usize::MAX);
            if self.ready().saturating_add(failed) >= self.customers {
                return;
            }
            changed.await;
        }
    }
}

/// What one customer needs on their way.
struct Errand {
    customer: Arc<Customer>,
    shop: SocketAddr,
    live: Live,
    ledger: Arc<Mutex<Option<Arc<Ledger>>>>,
    state: Arc<State>,
}

impl Errand {
    /// Asks for the orders, again and again.
    async fn poll(&self, first: Duration) -> Result<(), BrowserError> {
        let mut tick = interval_at(Instant::now() + first, POLL_EVERY);
        let mut browser = None;
        loop {
            tick.tick().await;
            let browser = match &mut browser {
                Some(browser) => browser,
                none => none.insert(Browser::open(self.shop, &self.customer.cookie).await?),
            };
            for order in browser.shipped_orders().await? {
                self.saw(order);
            }
        }
    }

    /// Connects, asks for authorization, subscribes, and listens.
    async fn listen(&self, connecting: &Semaphore) -> Result<(), BrowserError> {
        let mut listener = {
            let Ok(_permit) = connecting.acquire().await else { return Ok(()) };
            let mut listener = Listener::connect(&self.live).await?;
            let mut browser = Browser::open(self.shop, &self.customer.cookie).await?;
            let channel = format!("private-user.{}", self.customer.id);
            let auth = browser.authorize(&self.customer.csrf_token, listener.socket_id(), &channel).await?;
            listener.subscribe(&channel, &auth).await?;
            listener
        };
        self.state.ready.fetch_add(1, Relaxed);
        self.state.changed.notify_waiters();
        loop {
            self.saw(listener.shipped_order().await?);
        }
    }

    fn saw(&self, order: i64) {
        if let Some(ledger) = &*self.ledger.lock() {
            ledger.seen(order);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_seen_once_and_one_that_was_not_shipped_never() {
        let ledger = Ledger::default();
        ledger.shipped(1);
        ledger.shipped(2);
        ledger.seen(1);
        ledger.seen(1);
        ledger.seen(3);
        let (delays, unseen) = ledger.settle();
        assert_eq!((delays.len(), unseen), (1, 1));
    }
}
