//! Processes that are killed, and what is heard all the same.
//!
//! Owns the proof that an event which committed is delivered, whatever dies, and that one which did not is not; and that a
//! notification of either is in its inbox once, or not at all. Never
//! kills with anything but SIGKILL. The invariant: the orders in the database are the truth, because each was written in
//! the transaction of its event.
//!
//! This program is its own harness: called as `shop` or `courier` it is the process that will be killed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use campanile_broadcast::outbox::durable_sqlite;
use campanile_broadcast::{Campanile, Outbox, Settings, Timeouts};
use parking_lot::Mutex;
use sqlx::{PgPool, SqlitePool};

use crate::browser::Browser;
use crate::ear::Ear;
use crate::stage::{SOON, Stage, noted, said, settings};

#[allow(dead_code, reason = "it is shared with tests that look closer")]
#[path = "../live/browser.rs"]
mod browser;
#[allow(dead_code, reason = "it is shared with tests that look closer")]
#[path = "../live/ear.rs"]
mod ear;
#[allow(dead_code, reason = "it is shared with tests that make one schema for each")]
#[path = "../support/postgres.rs"]
mod postgres;
#[allow(dead_code, reason = "it is shared with tests that speak TLS")]
#[path = "../live/stage.rs"]
mod stage;

/// How often the shop is killed.
const KILLS: u32 = 6;
/// The shop lives at least and at most so long.
const LIFE: (Duration, Duration) = (Duration::from_millis(150), Duration::from_millis(700));
/// Transactions of the shop at one time.
const CLERKS: usize = 4;
/// Of so many transactions one is rolled back.
const ROLLED_BACK: u64 = 3;
/// For how long a dead courier's jobs are nobody else's.
const LEASE: Duration = Duration::from_millis(1500);
/// Who is notified of each order.
const OWNER: &str = "7";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["shop", database, origin, first] => runtime.block_on(shop(database, origin, first.parse().unwrap())),
        ["courier", database, origin] => runtime.block_on(courier(database, origin)),
        _ => runtime.block_on(tests(&arguments)),
    }
}

/// Runs each test whose name has one of the filters in it.
#[expect(clippy::print_stdout, reason = "a harness says what it has found")]
async fn tests(arguments: &[String]) -> ExitCode {
    let filters: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let mut passed = 0;
    for kind in ["sqlite", "postgres"] {
        for (name, is_load) in [("a_shop_that_is_killed_again_and_again", true), ("a_courier_that_is_killed", false)] {
            let name = format!("{kind}::{name}");
            if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter.as_str())) {
                continue;
            }
            let database = Database::new(kind).await;
            // A failure is a panic, which ends the program with another code than success.
            if is_load {
                killed_shop(&database).await
            } else {
                killed_courier(&database).await
            }
            println!("test {name} ... ok");
            passed += 1;
        }
    }
    println!("\ntest result: ok. {passed} passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
    ExitCode::SUCCESS
}

async fn killed_shop(database: &Database) {
    let stage = Stage::with_inbox();
    let mut browser = stage.browser_in(&["orders"]).await;
    let heard = Arc::new(Mutex::new(Vec::new()));
    let listening = tokio::spawn(listen(Arc::clone(&heard), stage.browser_in(&["orders"]).await));
    let outbox = database.outbox().await;
    database.execute("CREATE TABLE orders (number BIGINT PRIMARY KEY)").await;

    for round in 0..KILLS {
        let first = u64::from(round) * 1_000_000;
        let shop = Process::start(&["shop", &database.to_string(), &stage.origin(), &first.to_string()]);
        tokio::time::sleep(between(LIFE)).await;
        shop.kill();
    }
    let campanile = Campanile::with_outbox(patient(stage.origin()), outbox.clone()).unwrap();
    let courier = campanile.courier().lease(LEASE).start();
    let committed = database.orders().await;
    assert!(committed.len() > 20, "only {} orders: the shop has hardly worked", committed.len());
    let began = Instant::now();
    while !is_empty(&outbox).await {
        assert!(began.elapsed() < SOON, "{:?}", outbox.figures().await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    courier.stop(SOON).await;
    let everything = async {
        while heard.lock().len() < committed.len() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    // Too few is told below, with numbers.
    let _ = tokio::time::timeout(Duration::from_secs(5), everything).await;
    listening.abort();

    let mut numbers = heard.lock().clone();
    numbers.sort_unstable();
    let distinct: BTreeSet<u64> = numbers.iter().copied().collect();
    let lost: Vec<_> = committed.difference(&distinct).collect();
    let invented: Vec<_> = distinct.difference(&committed).collect();
    assert!(lost.is_empty() && invented.is_empty(), "lost: {lost:?}; never committed, and heard: {invented:?}");
    assert_eq!(numbers.len(), distinct.len(), "the server knows the keys, so each is heard once");
    assert!(outbox.dead(1).await.unwrap().is_empty());

    // What was accepted is stored soon.
    let mut stored = Vec::new();
    let began = Instant::now();
    while stored.len() < committed.len() && began.elapsed() < SOON {
        tokio::time::sleep(Duration::from_millis(10)).await;
        stored = stage.inbox(OWNER).await.iter().map(|row| row["data"]["number"].as_u64().unwrap()).collect();
    }
    stored.sort_unstable();
    assert_eq!(stored, Vec::from_iter(committed.iter().copied()), "each is in the inbox once");
    // The other browser is there to be one: it hears the same, from the first on.
    assert!(committed.contains(&browser.number().await));
}

async fn killed_courier(database: &Database) {
    let (ear, origin) = Ear::listen().await;
    // Whoever claims the job waits for an answer that does not come in its lifetime.
    ear.answer_after(200, SOON);
    let campanile = Campanile::with_outbox(patient(&origin), database.outbox().await).unwrap();
    let processes = [0, 1].map(|_| Process::start(&["courier", &database.to_string(), &origin]));
    campanile.broadcast(said("orders", 7)).send().await.unwrap();
    let claimed_at = Instant::now();
    ear.hears(1).await;
    tokio::time::sleep(LEASE / 3).await;
    assert_eq!(ear.heard().len(), 1, "two couriers have one job at one time");
    let mut processes = processes.into_iter();
    // It is not known which of them has it, so each is killed, and one begins anew between the two.
    processes.next().unwrap().kill();
    let _heir = Process::start(&["courier", &database.to_string(), &origin]);
    processes.next().unwrap().kill();
    let heard = ear.hears(2).await;
    assert!(claimed_at.elapsed() >= LEASE, "{:?}", claimed_at.elapsed());
    assert_eq!((heard[0].number(), &heard[0]), (7, &heard[1]));
    let began = Instant::now();
    while !is_empty(campanile.outbox()).await {
        assert!(began.elapsed() < SOON);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(ear.heard().len(), 2);
}

/// The application: writes orders and their events down as fast as it can, and delivers them.
async fn shop(database: &str, origin: &str, first: u64) -> ExitCode {
    let database = Arc::new(Database::parse(database).await);
    let campanile = Campanile::with_outbox(patient(origin), database.outbox().await).unwrap();
    let _courier = campanile.courier().lease(LEASE).start();
    let next = Arc::new(AtomicU64::new(first));
    for _ in 0..CLERKS {
        let (database, campanile, next) = (Arc::clone(&database), campanile.clone(), Arc::clone(&next));
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, SeqCst);
                database.order(&campanile, number, !number.is_multiple_of(ROLLED_BACK)).await;
            }
        });
    }
    tokio::time::sleep(SOON).await;
    ExitCode::FAILURE
}

/// Nothing but a courier.
async fn courier(database: &str, origin: &str) -> ExitCode {
    let database = Database::parse(database).await;
    let campanile = Campanile::with_outbox(patient(origin), database.outbox().await).unwrap();
    let _courier = campanile.courier().lease(LEASE).start();
    tokio::time::sleep(3 * SOON).await;
    ExitCode::FAILURE
}

async fn listen(heard: Arc<Mutex<Vec<u64>>>, mut browser: Browser) {
    loop {
        let number = browser.number().await;
        heard.lock().push(number);
    }
}

async fn is_empty(outbox: &Outbox) -> bool {
    let figures = outbox.figures().await.unwrap();
    figures.values().all(|queue| queue.ready + queue.leased + queue.waiting == 0)
}

/// A delivery ends well within the lease.
fn patient(origin: impl Into<String>) -> Settings {
    let timeouts = Timeouts { background: LEASE, ..Timeouts::default() };
    settings(origin).timeouts(timeouts).idempotent_server()
}

fn between((least, most): (Duration, Duration)) -> Duration {
    let fraction = f64::from(getrandom::u32().unwrap()) / f64::from(u32::MAX);
    least + (most - least).mul_f64(fraction)
}

/// This program in another role. It dies with its test, one way or another.
struct Process(Child);

impl Process {
    fn start(arguments: &[&str]) -> Self {
        let program = std::env::current_exe().unwrap();
        let child = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        Self(child.unwrap())
    }

    /// Must find it alive.
    fn kill(mut self) {
        assert_eq!(self.0.try_wait().unwrap(), None, "it ended before it was killed");
        self.0.kill().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended, or is about to.
        let _ = self.0.kill();
        self.0.wait().unwrap();
    }
}

/// A database with a name by which another process finds it.
enum Database {
    Sqlite { pool: SqlitePool, file: PathBuf, _directory: Option<tempfile::TempDir> },
    Postgres { pool: PgPool, directory: PathBuf, schema: String },
}

impl std::fmt::Display for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite { file, .. } => write!(f, "sqlite|{}", file.display()),
            Self::Postgres { directory, schema, .. } => write!(f, "postgres|{}|{schema}", directory.display()),
        }
    }
}

impl Database {
    async fn new(kind: &str) -> Self {
        if kind == "sqlite" {
            let directory = tempfile::tempdir().unwrap();
            let file = directory.path().join("shop.db");
            let pool = SqlitePool::connect_with(durable_sqlite(&file)).await.unwrap();
            return Self::Sqlite { pool, file, _directory: Some(directory) };
        }
        let pool = postgres::pool().await;
        let schema: String = sqlx::query_scalar("SELECT current_schema()::text").fetch_one(&pool).await.unwrap();
        Self::Postgres { pool, directory: postgres::socket_directory().to_owned(), schema }
    }

    async fn parse(text: &str) -> Self {
        match text.split('|').collect::<Vec<_>>()[..] {
            ["sqlite", file] => {
                let pool = SqlitePool::connect_with(durable_sqlite(file)).await.unwrap();
                Self::Sqlite { pool, file: file.into(), _directory: None }
            }
            ["postgres", directory, schema] => {
                let pool = postgres::pool_of(Path::new(directory), schema).await;
                Self::Postgres { pool, directory: directory.into(), schema: schema.to_owned() }
            }
            _ => panic!("{text:?} names no database"),
        }
    }

    async fn outbox(&self) -> Outbox {
        let opened = match self {
            Self::Sqlite { pool, .. } => Outbox::sqlite(pool.clone()).await,
            Self::Postgres { pool, .. } => Outbox::postgres(pool.clone()).await,
        };
        opened.unwrap()
    }

    async fn execute(&self, sql: &'static str) {
        match self {
            Self::Sqlite { pool, .. } => drop(sqlx::query(sql).execute(pool).await.unwrap()),
            Self::Postgres { pool, .. } => drop(sqlx::query(sql).execute(pool).await.unwrap()),
        }
    }

    /// An order, its event and its notification, all or none.
    async fn order(&self, campanile: &Campanile, number: u64, commits: bool) {
        const INSERT: &str = "INSERT INTO orders (number) VALUES ($1)";
        let (event, row) = (campanile.broadcast(said("orders", number)), i64::try_from(number).unwrap());
        let notification = campanile.notify(OWNER, noted(number)).about("order", number).key(format!("order:{number}"));
        match self {
            Self::Sqlite { pool, .. } => {
                let mut tx = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
                sqlx::query(INSERT).bind(row).execute(&mut *tx).await.unwrap();
                event.within(&mut tx).await.unwrap();
                notification.within(&mut tx).await.unwrap();
                if commits { tx.commit().await } else { tx.rollback().await }.unwrap();
            }
            Self::Postgres { pool, .. } => {
                let mut tx = pool.begin().await.unwrap();
                sqlx::query(INSERT).bind(row).execute(&mut *tx).await.unwrap();
                event.within(&mut tx).await.unwrap();
                notification.within(&mut tx).await.unwrap();
                if commits { tx.commit().await } else { tx.rollback().await }.unwrap();
            }
        }
    }

    async fn orders(&self) -> BTreeSet<u64> {
        const SELECT: &str = "SELECT number FROM orders";
        let rows: Vec<i64> = match self {
            Self::Sqlite { pool, .. } => sqlx::query_scalar(SELECT).fetch_all(pool).await.unwrap(),
            Self::Postgres { pool, .. } => sqlx::query_scalar(SELECT).fetch_all(pool).await.unwrap(),
        };
        rows.into_iter().map(|number| u64::try_from(number).unwrap()).collect()
    }
}
