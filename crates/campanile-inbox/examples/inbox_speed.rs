//! How fast a SQLite inbox accepts and stores, and how fast it shows a page of 100,000.
//!
//! `cargo run --release -p campanile-inbox --example inbox_speed -- [directory]`

use std::path::PathBuf;
use std::time::{Duration, Instant};

use campanile_inbox::{Change, Draft, Inbox, PageQuery, Recipients, Settings, StoreUrl};

const EVENTS: u32 = 20_000;
const PUBLISHERS: u32 = 256;
const ROWS: i64 = 100_000;
const PAGES: u32 = 500;

#[expect(clippy::print_stdout, reason = "that is what it is for")]
fn main() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let scratch = tempfile::tempdir().expect("a directory");
    let directory = std::env::args().nth(1).map_or_else(|| scratch.path().to_owned(), PathBuf::from);
    runtime.block_on(async {
        let (inbox, mut changes) =
            Inbox::open(Settings::new(StoreUrl::Sqlite(directory.join("speed.db")))).await.expect("it opens");
        let courier = inbox.clone();
        tokio::spawn(async move { courier.run(std::future::pending()).await });

        let began = Instant::now();
        for publisher in 0..PUBLISHERS {
            let inbox = inbox.clone();
            tokio::spawn(async move {
                for number in (publisher..EVENTS).step_by(PUBLISHERS as usize) {
                    let user = (number % 1000).to_string();
                    let draft = Draft {
                        key: Some(format!("key:{number}")),
                        body: Some("Your order has left our warehouse and will be with you tomorrow".to_owned()),
                        ..Draft::new(Recipients::User(user), "order.shipped", format!("Order {number}"))
                    };
                    inbox.accept("shop", draft).await.expect("it accepts");
                }
            });
        }
        let mut stored = 0;
        while stored < EVENTS {
            if let Some(Change::Arrived { .. }) = changes.next().await {
                stored += 1;
            }
        }
        let took = began.elapsed();
        let depths = inbox.depths().await.expect("it counts");
        println!(
            "synchronous = full, {PUBLISHERS} publishers, {EVENTS} events, a key, a job, a counter and a row each:"
        );
        println!("  {:.0} accepted and stored in a second", f64::from(EVENTS) / took.as_secs_f64());
        println!("  {} operations in {} commits", depths.committed, depths.commits);

        let reading = tokio::spawn(async move { while changes.next().await.is_some() {} });
        let users: Vec<String> = vec!["many".to_owned()];
        let mut waiting = Vec::new();
        for number in 0..ROWS {
            let inbox = inbox.clone();
            let to = Recipients::Users(users.clone());
            waiting.push(tokio::spawn(async move {
                inbox.accept("shop", Draft::new(to, "k", number.to_string())).await.expect("it accepts");
            }));
            if waiting.len() == 2000 {
                for waiting in waiting.drain(..) {
                    waiting.await.expect("it is accepted");
                }
            }
        }
        while inbox.state("shop", "many").await.expect("it answers").seq < ROWS {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let began = Instant::now();
        let mut query = PageQuery::default();
        for _ in 0..PAGES {
            let page = inbox.page("shop", "many", query.clone()).await.expect("it shows");
            assert_eq!(page.notifications.len(), 20);
            query.before = page.next;
        }
        println!("a page of 20 of {ROWS} rows: {:.2} ms", began.elapsed().as_secs_f64() * 1000.0 / f64::from(PAGES));
        let began = Instant::now();
        for _ in 0..PAGES {
            inbox.state("shop", "many").await.expect("it answers");
        }
        println!("a state: {:.2} ms", began.elapsed().as_secs_f64() * 1000.0 / f64::from(PAGES));
        let began = Instant::now();
        inbox.read_all("shop", "many", ROWS, None, None).await.expect("it marks");
        println!("reading all of them: {:.2} ms", began.elapsed().as_secs_f64() * 1000.0);
        reading.abort();
    });
}
