//! A store to test, on a clock that is set by hand.
//!
//! Owns the database, the courier and what was told. Never looks into tables but where a test says so. The invariant: each
//! stage has a database of its own, real and on a disk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use campanile_inbox::{
    Accepted, Change, Changes, Clock, Draft, Inbox, Page, PageQuery, Recipients, Settings, State, StoreUrl, Timestamp,
    Uuid,
};
use tokio::sync::Notify;

use crate::postgres;

/// Longer than anything takes.
pub(crate) const SOON: Duration = Duration::from_secs(30);
pub(crate) const APP: &str = "shop";
pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

pub(crate) struct Stage {
    pub(crate) inbox: Inbox,
    pub(crate) changes: Changes,
    pub(crate) clock: Clock,
    pub(crate) settings: Settings,
    stop: Arc<Notify>,
    _directory: tempfile::TempDir,
}

impl Stage {
    pub(crate) async fn open(kind: Kind) -> Self {
        Self::with(kind, |_| {}).await
    }

    pub(crate) async fn with(kind: Kind, adapt: impl FnOnce(&mut Settings)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = match kind {
            Kind::Sqlite => StoreUrl::Sqlite(directory.path().join("campanile.db")),
            Kind::Postgres => StoreUrl::Postgres(postgres_url().await),
        };
        let clock = Clock::by_hand(Timestamp::parse("2026-01-02T03:04:05Z").unwrap());
        let mut settings = Settings { clock: clock.clone(), ..Settings::new(store) };
        adapt(&mut settings);
        let (inbox, changes) = Inbox::open(settings.clone()).await.unwrap();
        let stop = Arc::new(Notify::new());
        let stage = Self { inbox, changes, clock, settings, stop, _directory: directory };
        stage.run(&stage.inbox);
        stage
    }

    pub(crate) fn run(&self, inbox: &Inbox) {
        let (inbox, stop) = (inbox.clone(), Arc::clone(&self.stop));
        tokio::spawn(async move { inbox.run(stop.notified()).await });
    }

    /// The next change, which must come.
    pub(crate) async fn told(&mut self) -> Change {
        tokio::time::timeout(SOON, self.changes.next()).await.expect("a change was to come").expect("it is open")
    }

    /// The next arrival, whatever else is told before.
    pub(crate) async fn arrives(&mut self) -> (String, campanile_inbox::Notification, State) {
        loop {
            if let Change::Arrived { user, notification, state, .. } = self.told().await {
                return (user, *notification, state);
            }
        }
    }

    pub(crate) async fn accept(&self, draft: Draft) -> Uuid {
        match self.inbox.accept(APP, draft).await.unwrap() {
            Accepted::Accepted { id } => id,
            Accepted::Duplicate { .. } => panic!("it was not sent before"),
        }
    }

    /// Accepts it and waits until it is there.
    pub(crate) async fn deliver(&mut self, draft: Draft) -> campanile_inbox::Notification {
        let id = self.accept(draft).await;
        loop {
            match self.told().await {
                Change::Arrived { notification, .. } | Change::Announced { notification, .. }
                    if notification.id == id =>
                {
                    return *notification;
                }
                _ => {}
            }
        }
    }

    /// Waits until nothing that was accepted is still to be stored.
    pub(crate) async fn at_rest(&self) {
        let began = Instant::now();
        loop {
            let depths = self.inbox.depths().await.unwrap();
            if depths.jobs_due == 0 {
                return;
            }
            assert!(began.elapsed() < SOON, "{depths:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn state(&self, user: &str) -> State {
        self.inbox.state(APP, user).await.unwrap()
    }

    pub(crate) async fn page(&self, user: &str, query: PageQuery) -> Page {
        self.inbox.page(APP, user, query).await.unwrap()
    }

    pub(crate) async fn all(&self, user: &str) -> Vec<campanile_inbox::Notification> {
        let mut query = PageQuery { status: campanile_inbox::Status::All, limit: Some(100), ..PageQuery::default() };
        let mut all = Vec::new();
        loop {
            let page = self.page(user, query.clone()).await;
            all.extend(page.notifications);
            query.before = page.next;
            if query.before.is_none() {
                return all;
            }
        }
    }

    /// Proves every count by the rows.
    pub(crate) async fn reconciles(&self) {
        let report = self.inbox.reconcile().await.unwrap();
        assert_eq!(report.wrong, Vec::<String>::new());
    }

    /// Waits until something that the courier does by itself has come about.
    pub(crate) async fn comes_about<F: Future<Output = bool>>(&self, is_so: impl Fn() -> F) {
        let began = Instant::now();
        while !is_so().await {
            assert!(began.elapsed() < SOON, "it has not come about");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Does something to the tables that no call does.
    pub(crate) async fn meddle(&self, sql: &str) -> u64 {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        match &self.settings.store {
            StoreUrl::Sqlite(file) => {
                let pool = sqlx::SqlitePool::connect(&format!("sqlite:{}", file.display())).await.unwrap();
                sqlx::query(sql).execute(&pool).await.unwrap().rows_affected()
            }
            StoreUrl::Postgres(url) => {
                let pool = sqlx::PgPool::connect(url).await.unwrap();
                sqlx::query(sql).execute(&pool).await.unwrap().rows_affected()
            }
        }
    }

    /// Asks the tables what no call tells.
    pub(crate) async fn ask(&self, sql: &str) -> i64 {
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        match &self.settings.store {
            StoreUrl::Sqlite(file) => {
                let pool = sqlx::SqlitePool::connect(&format!("sqlite:{}", file.display())).await.unwrap();
                sqlx::query_scalar(sql).fetch_one(&pool).await.unwrap()
            }
            StoreUrl::Postgres(url) => {
                let pool = sqlx::PgPool::connect(url).await.unwrap();
                sqlx::query_scalar(sql).fetch_one(&pool).await.unwrap()
            }
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.notify_waiters();
    }
}

/// The address of a new, empty schema.
pub(crate) async fn postgres_url() -> String {
    let pool = postgres::pool().await;
    let schema: String = sqlx::query_scalar("SELECT current_schema()::text").fetch_one(&pool).await.unwrap();
    url_of(postgres::socket_directory(), &schema)
}

pub(crate) fn url_of(directory: &std::path::Path, schema: &str) -> String {
    let host = directory.display().to_string().replace('/', "%2F");
    format!("postgres://postgres@{host}/postgres?options[search_path]={schema}")
}

pub(crate) fn to(user: &str, title: &str) -> Draft {
    Draft::new(Recipients::User(user.to_owned()), "comment.added", title)
}
