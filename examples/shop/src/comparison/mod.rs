//! The same shop kept up to date in both ways, measured.
//!
//! Owns the course of a comparison: simulated customers poll for a while, then listen for as long, while the same number
//! of orders is shipped. Never makes a figure up: requests and statements are counted where they happen, by
//! [`crate::traffic`], those of this page's own operator among them. The invariant: one comparison at a time, and it
//! ends. Read on in `crowd.rs`, then `browser.rs`.

mod browser;
mod crowd;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, interval_at, sleep, timeout};

use crate::app::App;
use crate::events::ComparisonProgressed;
use crate::store::orders;
use crate::traffic::Reading;
use crowd::{Crowd, Ledger, Way};

/// How often a polling page asks.
pub(crate) const POLL_EVERY: Duration = Duration::from_secs(5);
/// Simulated customers, and how many there are if nobody says.
pub(crate) const USERS_MAX: i64 = crate::store::SIMULATED_USERS;
/// Seconds for each of the ways. Shorter than a poll's interval and there is nothing to see.
pub(crate) const SECONDS_MIN: u64 = 6;
pub(crate) const SECONDS_MAX: u64 = 60;
pub(crate) const SECONDS_DEFAULT: u64 = 20;
/// How long all of the crowd may take to connect.
const CONNECTING_MAX: Duration = Duration::from_secs(60);
/// Of how many customers one has an order shipped.
const SHIPPED_ONE_OF: usize = 10;
/// How often a sample is taken.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// Whether a comparison is under way, and the last one that ended.
#[derive(Debug, Default)]
pub(crate) struct Comparing {
    pub(crate) is_running: bool,
    pub(crate) refusal: Option<String>,
    pub(crate) last: Option<Arc<Comparison>>,
}

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) users: i64,
    pub(crate) seconds: u64,
}

/// What was measured.
#[derive(Debug)]
pub(crate) struct Comparison {
    pub(crate) extent: Extent,
    pub(crate) polling: Measured,
    pub(crate) live: Measured,
    /// What it took to connect everybody, once.
    pub(crate) connecting: Reading,
    pub(crate) connecting_took: Duration,
}

/// One way of keeping up to date.
#[derive(Debug)]
pub(crate) struct Measured {
    /// For each second.
    pub(crate) seconds: Vec<Reading>,
    /// How long customers did not see that their order had left, in order.
    pub(crate) delays: Vec<Duration>,
    /// Orders whose owner had not seen it when time was up.
    pub(crate) unseen: usize,
    /// Requests and connections of the crowd that failed.
    pub(crate) failed: u64,
}

impl Measured {
    pub(crate) fn total(&self) -> Reading {
        self.seconds.iter().fold(Reading::default(), |sum, second| Reading {
            requests: sum.requests + second.requests,
            statements: sum.statements + second.statements,
        })
    }

    /// The delay that so many of a hundred did not exceed.
    pub(crate) fn delay(&self, percent: usize) -> Option<Duration> {
        let at = (self.delays.len() * percent).div_ceil(100).saturating_sub(1);
        self.delays.get(at).copied()
    }
}

/// Why a comparison came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ComparisonError {
    #[error(transparent)]
    Store(#[from] crate::store::StoreError),
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    #[error("a session cannot be begun: {0}")]
    Session(#[from] crate::pages::PageError),
    #[error("only {connected} of {users} customers could connect: {cause}")]
    Connecting { connected: usize, users: usize, cause: String },
}

/// Begins a comparison, unless one is under way.
pub(crate) fn begin(app: App, extent: Extent) -> bool {
    {
        let mut comparing = app.comparing.lock();
        if comparing.is_running {
            return false;
        }
        comparing.is_running = true;
        comparing.refusal = None;
    }
    tokio::spawn(async move {
        // Whatever becomes of it, the next one can begin.
        let running = Running(Arc::clone(&app.comparing));
        let compared = compare(&app, extent).await;
        {
            let mut comparing = app.comparing.lock();
            match compared {
                Ok(comparison) => comparing.last = Some(Arc::new(comparison)),
                Err(error) => {
                    tracing::error!(%error, "a comparison has failed");
                    comparing.refusal = Some(error.to_string());
                }
            }
        }
        drop(running);
        tell(&app, "Done", extent.seconds, extent.seconds, true).await;
    });
    true
}

struct Running(Arc<Mutex<Comparing>>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.lock().is_running = false;
    }
}

async fn compare(app: &App, extent: Extent) -> Result<Comparison, ComparisonError> {
    let crowd = Crowd::gather(app, extent.users).await?;
    tell(app, "Polling", 0, extent.seconds, false).await;
    let asking = crowd.send_out(Way::Polling);
    let (seconds, ledger) = measure(app, extent, &crowd, "Polling").await?;
    let polling = settled(seconds, &ledger, asking.failed());
    asking.end().await;

    tell(app, "Connecting", 0, extent.seconds, false).await;
    let (before, began) = (app.traffic.read(), Instant::now());
    let listening = crowd.send_out(Way::Live);
    // Whoever has not connected by then is counted below.
    let _ = timeout(CONNECTING_MAX, listening.all_ready()).await;
    let (connected, users) = (listening.ready(), crowd.len());
    if connected < users {
        let cause = listening.cause().unwrap_or_else(|| "it took too long".to_owned());
        return Err(ComparisonError::Connecting { connected, users, cause });
    }
    let (connecting, connecting_took) = (app.traffic.read().since(before), began.elapsed());
    let (seconds, ledger) = measure(app, extent, &crowd, "Live").await?;
    let live = settled(seconds, &ledger, listening.failed());
    listening.end().await;
    crowd.go_home(app).await?;
    Ok(Comparison { extent, polling, live, connecting, connecting_took })
}

/// Ships orders, takes a sample every second, and ends when time is up.
async fn measure(
    app: &App,
    extent: Extent,
    crowd: &Crowd,
    doing: &'static str,
) -> Result<(Vec<Reading>, Arc<Ledger>), ComparisonError> {
    let placed = orders::place_for_simulated(&app.db, extent.users).await?;
    let shipped: Vec<i64> = placed.iter().step_by(SHIPPED_ONE_OF).map(|(order, _)| *order).collect();
    let ledger = crowd.open_ledger();
    let shipping = tokio::spawn(ship(app.clone(), shipped, Duration::from_secs(extent.seconds), Arc::clone(&ledger)));
    let mut seconds = Vec::new();
    let mut before = app.traffic.read();
    let mut tick = interval_at(Instant::now() + SAMPLE_EVERY, SAMPLE_EVERY);
    for second in 1..=extent.seconds {
        tick.tick().await;
        let now = app.traffic.read();
        seconds.push(now.since(before));
        before = now;
        tell(app, doing, second, extent.seconds, false).await;
    }
    shipping.abort();
    crowd.close_ledger();
    Ok((seconds, ledger))
}

/// Ships orders evenly, so early that even a poll will see the last of them.
async fn ship(app: App, orders: Vec<i64>, during: Duration, ledger: Arc<Ledger>) {
    let Ok(count) = u32::try_from(orders.len()) else { return };
    let pause = during.saturating_sub(POLL_EVERY) / count.max(1);
    for order in orders {
        ledger.shipped(order);
        if let Err(error) = orders::ship(&app.db, &app.campanile, order).await {
            tracing::error!(%error, order, "an order was not shipped");
        }
        sleep(pause).await;
    }
}

fn settled(seconds: Vec<Reading>, ledger: &Ledger, failed: u64) -> Measured {
    let (delays, unseen) = ledger.settle();
    Measured { seconds, delays, unseen, failed }
}

/// Tells the operators' pages. One that is not told has missed nothing but a moving bar.
async fn tell(app: &App, doing: &'static str, second: u64, of: u64, ended: bool) {
    app.campanile.broadcast(ComparisonProgressed { doing, second, of, ended }).rescue().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_delays() {
        let measured = |delays: &[u64]| Measured {
            seconds: Vec::new(),
            delays: delays.iter().map(|ms| Duration::from_millis(*ms)).collect(),
            unseen: 0,
            failed: 0,
        };
        assert_eq!(measured(&[]).delay(50), None);
        assert_eq!(measured(&[1]).delay(99), Some(Duration::from_millis(1)));
        assert_eq!(measured(&[1, 2, 3, 4]).delay(50), Some(Duration::from_millis(2)));
        assert_eq!(measured(&[1, 2, 3, 4]).delay(99), Some(Duration::from_millis(4)));
    }
}
