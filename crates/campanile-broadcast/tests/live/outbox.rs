//! From a transaction to a browser: what is written down is delivered, and what is not is not.

use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use campanile_broadcast::outbox::Selection;
use campanile_broadcast::outbox::courier::AWAY_PAUSE_MIN;
use campanile_broadcast::{Broadcast, Campanile, Channel, MasterKey, Outbox, OutboxError, PublishError, Published};
use serde::Serialize;
use serde_json::Value;
use tokio::net::TcpListener;
use tower::ServiceExt;

use crate::database::{Database, dead, empty};
use crate::ear::{Ear, Heard};
use crate::stage::{Room, SOON, Said, Stage, said, settings};

const SHORT: Duration = Duration::from_millis(20);

/// Not the settings of every attempt, but those of one.
fn once(origin: &str) -> campanile_broadcast::Settings {
    settings(origin).retries(0)
}

fn numbers(heard: &[Heard]) -> Vec<u64> {
    heard.iter().map(Heard::number).collect()
}

async fn what_commits_is_heard_and_what_does_not_is_not(database: Database) {
    let stage = Stage::open();
    let mut browser = stage.browser_in(&["a"]).await;
    let campanile = database.campanile(stage.settings()).await;
    let courier = campanile.courier().start();
    for number in 0..20 {
        let published = database.write_down(&campanile, said("a", number), number % 2 == 0).await.unwrap();
        assert_eq!(published, Published::Queued);
        if number % 2 == 0 {
            assert_eq!(browser.number().await, number);
        }
    }
    empty(campanile.outbox()).await;
    browser.heard_all().await;
    courier.stop(SOON).await;
}

async fn an_event_is_heard_soon_after_its_commit(database: Database) {
    let (ear, origin) = Ear::listen().await;
    let campanile = database.campanile(settings(&origin)).await;
    // Without a hint it would not look again for as long as a minute.
    let courier = campanile.courier().poll(Duration::from_secs(60)).start();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let began = Instant::now();
    database.write_down(&campanile, said("a", 1), true).await.unwrap();
    ear.hears(1).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    courier.stop(SOON).await;
}

async fn a_server_that_is_away_costs_no_try(database: Database) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let campanile = database.campanile(once(&format!("http://{address}"))).await;
    let courier = campanile.courier().start();
    campanile.broadcast(said("a", 1)).tries(1).send().await.unwrap();
    // It has been attempted at least once when the first pause is half over.
    tokio::time::sleep(AWAY_PAUSE_MIN / 2).await;
    let figures = campanile.outbox().figures().await.unwrap();
    assert_eq!((figures["default"].failed, figures["default"].dead), (1, 0));
    let ear = Ear::at(TcpListener::bind(address).await.unwrap());
    assert_eq!(numbers(&ear.hears(1).await), [1]);
    empty(campanile.outbox()).await;
    courier.stop(SOON).await;
}

#[derive(Channel)]
#[channel("private-encrypted-salary.{id}")]
struct Salary {
    id: i64,
}

#[derive(Serialize, Broadcast)]
#[broadcast(on = [Salary { id: 7 }])]
struct Raised;

async fn every_attempt_sends_the_same_bytes_under_the_same_key(database: Database) {
    let (ear, origin) = Ear::listen().await;
    for status in [500, 502, 401] {
        ear.answer(status);
    }
    let key = MasterKey::from_base64(&STANDARD.encode([7; 32])).unwrap();
    let campanile = database.campanile(once(&origin).master_key(key)).await;
    let courier = campanile.courier().start();
    campanile.broadcast(Raised).backoff([SHORT]).send().await.unwrap();
    let heard = ear.hears(4).await;
    assert!(heard.iter().all(|heard| *heard == heard_first(&heard.key, &ear)), "{heard:?}");
    empty(campanile.outbox()).await;
    assert_eq!(ear.heard().len(), 4);
    courier.stop(SOON).await;
}

fn heard_first(key: &str, ear: &Ear) -> Heard {
    let first = ear.heard().remove(0);
    assert_eq!(first.key, key);
    first
}

async fn after_its_tries_an_event_is_a_dead_letter_and_a_retry_delivers_it(database: Database) {
    let (ear, origin) = Ear::listen().await;
    for _ in 0..3 {
        ear.answer(500);
    }
    let campanile = database.campanile(once(&origin)).await;
    let courier = campanile.courier().start();
    campanile.broadcast(said("a", 1)).tries(3).backoff([SHORT]).send().await.unwrap();
    dead(campanile.outbox(), 1).await;
    let letter = campanile.outbox().dead(1).await.unwrap().remove(0);
    assert_eq!((letter.attempts, &*letter.event), (3, "said"));
    assert!(letter.error.contains("500"), "{letter:?}");
    assert_eq!(campanile.outbox().retry(&Selection::One(letter.number)).await.unwrap(), 1);
    assert_eq!(numbers(&ear.hears(4).await), [1; 4]);
    empty(campanile.outbox()).await;
    dead(campanile.outbox(), 0).await;
    courier.stop(SOON).await;
}

async fn what_the_server_will_never_take_is_a_dead_letter_at_once(database: Database) {
    let (ear, origin) = Ear::listen().await;
    ear.answer(413);
    let campanile = database.campanile(settings(&origin)).await;
    let courier = campanile.courier().start();
    campanile.broadcast(said("a", 1)).send().await.unwrap();
    dead(campanile.outbox(), 1).await;
    assert_eq!(ear.heard().len(), 1);
    let figures = campanile.outbox().figures().await.unwrap();
    assert_eq!((figures["default"].given_up, figures["default"].dead), (1, 1));
    courier.stop(SOON).await;
}

#[derive(Serialize, Broadcast)]
#[broadcast(name = "said", on = [(0..250).map(|at| Room { name: at.to_string() }).collect::<Vec<_>>()])]
struct ToMany {
    number: u64,
}

async fn what_the_server_has_accepted_of_an_event_is_not_sent_again(database: Database) {
    let (ear, origin) = Ear::listen().await;
    for status in [200, 500, 200, 200] {
        ear.answer(status);
    }
    let campanile = database.campanile(once(&origin)).await;
    let courier = campanile.courier().start();
    campanile.broadcast(ToMany { number: 1 }).backoff([SHORT]).idempotency_key("k").send().await.unwrap();
    let heard = ear.hears(4).await;
    assert_eq!(heard.iter().map(|heard| &*heard.key).collect::<Vec<_>>(), ["k-0", "k-1", "k-1", "k-2"]);
    assert_eq!(heard[3].body["channels"].as_array().unwrap().len(), 50);
    empty(campanile.outbox()).await;
    courier.stop(SOON).await;
}

async fn events_of_one_key_are_heard_in_their_order_whatever_fails(database: Database) {
    let (ear, origin) = Ear::listen().await;
    for status in [500, 200, 500, 500] {
        ear.answer(status);
    }
    let campanile = database.campanile(once(&origin)).await;
    for number in 0..10 {
        campanile.broadcast(said("a", number)).ordered_by("a").backoff([SHORT]).send().await.unwrap();
    }
    let couriers = [campanile.courier().start(), campanile.courier().start()];
    let mut heard = numbers(&ear.hears(13).await);
    heard.dedup();
    assert_eq!(heard, Vec::from_iter(0..10));
    for courier in couriers {
        courier.stop(SOON).await;
    }
}

async fn a_courier_that_stops_ends_what_it_has_begun_and_claims_nothing_more(database: Database) {
    let (ear, origin) = Ear::listen().await;
    ear.answer_after(200, Duration::from_millis(300));
    let campanile = database.campanile(settings(&origin)).await;
    let courier = campanile.courier().concurrency(1).start();
    campanile.batch().event(said("a", 1)).event(said("a", 2)).send().await.unwrap();
    ear.hears(1).await;
    courier.stop(SOON).await;
    assert_eq!(numbers(&ear.heard()), [1]);
    let figures = campanile.outbox().figures().await.unwrap();
    assert_eq!((figures["default"].ready, figures["default"].leased), (1, 0));
}

async fn a_courier_out_of_patience_gives_back_what_another_then_delivers_at_once(database: Database) {
    let (ear, origin) = Ear::listen().await;
    ear.answer_after(200, SOON);
    let campanile = database.campanile(settings(&origin)).await;
    let courier = campanile.courier().start();
    campanile.broadcast(said("a", 1)).tries(1).send().await.unwrap();
    ear.hears(1).await;
    courier.stop(Duration::ZERO).await;
    let courier = campanile.courier().start();
    let heard = ear.hears(2).await;
    assert_eq!(heard[0], heard[1]);
    empty(campanile.outbox()).await;
    courier.stop(SOON).await;
}

async fn couriers_that_race_deliver_each_event_once(database: Database) {
    let stage = Stage::open();
    let mut browser = stage.browser_in(&["a"]).await;
    let (one, other) = (database.campanile(stage.settings()).await, database.campanile(stage.settings()).await);
    let couriers = [one.courier().start(), other.courier().start(), other.courier().start()];
    for number in 0..150 {
        one.broadcast(said("a", number)).send().await.unwrap();
    }
    let mut heard = Vec::new();
    for _ in 0..150 {
        heard.push(browser.number().await);
    }
    heard.sort_unstable();
    assert_eq!(heard, Vec::from_iter(0..150));
    empty(one.outbox()).await;
    browser.heard_all().await;
    // Where one program's couriers were always faster, the other's know of no queue.
    let delivered = async |campanile: &Campanile| {
        campanile.outbox().figures().await.unwrap().get("default").map_or(0, |queue| queue.delivered)
    };
    assert_eq!(delivered(&one).await + delivered(&other).await, 150);
    for courier in couriers {
        courier.stop(SOON).await;
    }
}

async fn several_programs_may_open_one_outbox_at_one_time(database: Database) {
    let opening = || async { database.outbox().await };
    tokio::join!(opening(), opening(), opening(), opening());
    database.meddle("UPDATE campanile_outbox_version SET version = version + 1").await;
    let refused = match &database {
        Database::Sqlite { pool, .. } => Outbox::sqlite(pool.clone()).await,
        Database::Postgres { pool } => Outbox::postgres(pool.clone()).await,
    };
    assert!(matches!(refused, Err(OutboxError::NewerTables { found: 2, known: 1 })), "{refused:?}");
}

async fn a_job_that_cannot_be_read_is_a_dead_letter_and_holds_nobody_up(database: Database) {
    let (ear, origin) = Ear::listen().await;
    let campanile = database.campanile(settings(&origin)).await;
    campanile.broadcast(said("a", 1)).send().await.unwrap();
    database.meddle("UPDATE campanile_outbox_jobs SET requests = 'spoilt'").await;
    campanile.broadcast(said("a", 2)).send().await.unwrap();
    let courier = campanile.courier().start();
    assert_eq!(numbers(&ear.hears(1).await), [2]);
    dead(campanile.outbox(), 1).await;
    let letter = campanile.outbox().dead(1).await.unwrap().remove(0);
    assert!(letter.error.contains("cannot be read"), "{letter:?}");
    courier.stop(SOON).await;
}

async fn operators_see_a_page_and_prometheus_its_figures(database: Database) {
    let (ear, origin) = Ear::listen().await;
    ear.answer(400);
    let campanile = database.campanile(settings(&origin)).await;
    campanile.broadcast(said("a", 1)).on_queue("slow").delay(SOON).send().await.unwrap();
    campanile.broadcast(said("a", 2)).on_queue("quick").send().await.unwrap();
    let courier = campanile.courier().start();
    dead(campanile.outbox(), 1).await;
    courier.stop(SOON).await;
    let router: Router = Router::new().nest("/outbox", campanile.outbox().routes());
    let get = async |path: &str| {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
    };
    let (page, metrics) = (get("/outbox").await, get("/outbox/metrics").await);
    assert!(page.contains("<th scope=row>slow") && page.contains("the server answered 400"), "{page}");
    assert_eq!(page.matches("bad\">1").count(), 1, "only the dead letter is bad: {page}");
    for line in [
        r#"campanile_outbox_jobs{queue="slow",state="waiting"} 1"#,
        r#"campanile_outbox_dead_jobs{queue="quick"} 1"#,
        r#"campanile_outbox_given_up_total{queue="quick"} 1"#,
    ] {
        assert!(metrics.lines().any(|known| known == line), "{line} is not in\n{metrics}");
    }
}

macro_rules! in_both_databases {
    ($($promise:ident)*) => {
        mod sqlite {
            use crate::database::Database;
            $(#[tokio::test] async fn $promise() { super::$promise(Database::sqlite().await).await; })*
        }
        mod postgres {
            use crate::database::Database;
            $(#[tokio::test] async fn $promise() { super::$promise(Database::postgres().await).await; })*
        }
    };
}

in_both_databases! {
    what_commits_is_heard_and_what_does_not_is_not
    an_event_is_heard_soon_after_its_commit
    a_server_that_is_away_costs_no_try
    every_attempt_sends_the_same_bytes_under_the_same_key
    after_its_tries_an_event_is_a_dead_letter_and_a_retry_delivers_it
    what_the_server_will_never_take_is_a_dead_letter_at_once
    what_the_server_has_accepted_of_an_event_is_not_sent_again
    events_of_one_key_are_heard_in_their_order_whatever_fails
    a_courier_that_stops_ends_what_it_has_begun_and_claims_nothing_more
    a_courier_out_of_patience_gives_back_what_another_then_delivers_at_once
    couriers_that_race_deliver_each_event_once
    several_programs_may_open_one_outbox_at_one_time
    a_job_that_cannot_be_read_is_a_dead_letter_and_holds_nobody_up
    operators_see_a_page_and_prometheus_its_figures
}

#[tokio::test]
async fn an_outbox_in_memory_says_when_it_is_full_and_a_flush_what_is_left() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let campanile = Campanile::new(once(&format!("http://{address}")).events_in_memory_max(2)).unwrap();
    for number in 0..2 {
        assert_eq!(campanile.broadcast(said("a", number)).send().await.unwrap(), Published::Queued);
    }
    let full = campanile.broadcast(said("a", 2)).send().await;
    assert!(matches!(&full, Err(PublishError::Outbox { source: OutboxError::Full { max: 2 }, .. })), "{full:?}");
    assert_eq!(campanile.flush(Duration::from_millis(100)).await, 2);
    let ear = Ear::at(TcpListener::bind(address).await.unwrap());
    let mut heard = numbers(&ear.hears(2).await);
    heard.sort_unstable();
    assert_eq!(heard, [0, 1]);
    assert_eq!(campanile.flush(SOON).await, 0);
    // The courier has gone home meanwhile, or is about to; the next event finds one.
    campanile.broadcast(said("a", 3)).send().await.unwrap();
    assert_eq!(numbers(&ear.hears(3).await)[2], 3);
}

#[tokio::test]
async fn an_event_is_not_written_down_where_no_courier_would_find_it() {
    let (sqlite, postgres) = (Database::sqlite().await, Database::postgres().await);
    let elsewhere = |result: Result<Published, PublishError>| {
        assert!(matches!(result, Err(PublishError::Outbox { source: OutboxError::OtherDatabase, .. })), "{result:?}");
    };
    let in_memory = Campanile::new(settings("http://127.0.0.1:1")).unwrap();
    elsewhere(sqlite.write_down(&in_memory, said("a", 1), true).await);
    let in_postgres = postgres.campanile(settings("http://127.0.0.1:1")).await;
    elsewhere(sqlite.write_down(&in_postgres, said("a", 1), true).await);
}

#[derive(Serialize, Broadcast)]
#[broadcast(
    name = "order.shipped",
    on = [Room { name: "a".to_owned() }],
    queue = "broadcasts",
    priority = 5,
    delay = Duration::from_secs(3600),
    tries = 5,
    backoff = [SHORT],
    order = self.order_id,
    unique = self.order_id,
    unique_for = Duration::from_secs(60)
)]
struct OrderShipped {
    order_id: i64,
}

#[tokio::test]
async fn what_a_derive_asks_for_is_asked_and_a_verb_may_ask_otherwise() {
    let (ear, origin) = Ear::listen().await;
    let database = Database::sqlite().await;
    let campanile = database.campanile(settings(&origin)).await;
    let courier = campanile.courier().start();
    let shipped = || campanile.broadcast(OrderShipped { order_id: 7 });
    assert_eq!(shipped().send().await.unwrap(), Published::Queued);
    assert_eq!(shipped().send().await.unwrap(), Published::Duplicate);
    let figures = campanile.outbox().figures().await.unwrap();
    assert_eq!(figures["broadcasts"].waiting, 1);
    shipped().unique_for("other", SHORT).ordered_by("other").delay(Duration::ZERO).send().await.unwrap();
    ear.hears(1).await;
    courier.stop(SOON).await;
    let refused = shipped().on_queue("no such name").send().await;
    assert!(matches!(refused, Err(PublishError::QueueName { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_stamped_event_bears_its_key() {
    let (ear, origin) = Ear::listen().await;
    let campanile = Campanile::new(settings(&origin).stamped()).unwrap();
    campanile.broadcast(said("a", 1)).now().await.unwrap();
    campanile.broadcast(said("a", 2)).idempotency_key("k").send().await.unwrap();
    for heard in ear.hears(2).await {
        let data: Value = serde_json::from_str(heard.body["data"].as_str().unwrap()).unwrap();
        assert_eq!(data["_id"], heard.key);
    }
}

#[tokio::test]
async fn a_request_may_write_down_and_a_task_may_send() {
    let database = Database::sqlite().await;
    let (ear, origin) = Ear::listen().await;
    let campanile = database.campanile(settings(&origin)).await;
    let courier = campanile.courier().start();
    // What axum and `tokio::spawn` ask of a future.
    let task = tokio::spawn(async move {
        database.write_down(&campanile, said("a", 1), true).await.unwrap();
        campanile.batch().event::<Said>(said("a", 2)).send().await.unwrap();
        database
    });
    let _database = task.await.unwrap();
    ear.hears(2).await;
    courier.stop(SOON).await;
}
