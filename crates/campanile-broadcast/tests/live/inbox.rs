//! From a transaction to an inbox: what is written down is in it once, whatever is lost on the way.

use std::time::{Duration, SystemTime};

use campanile_broadcast::draft::{BODY_BYTES_MAX, DATA_BYTES_MAX, NAME_BYTES_MAX, TITLE_BYTES_MAX, URL_BYTES_MAX};
use campanile_broadcast::{
    Audience, Campanile, Content, DeliveryError, Everyone, Notification, NotificationKind, PublishError, Published, Via,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::database::{Database, dead, empty};
use crate::ear::Ear;
use crate::passage::Passage;
use crate::stage::{SOON, Stage, noted, settings, within};

const SHORT: Duration = Duration::from_millis(20);

/// The `number` of each notification in a user's inbox, the oldest first.
async fn numbers(stage: &Stage, user: &str) -> Vec<u64> {
    let mut numbers: Vec<u64> =
        stage.inbox(user).await.iter().map(|row| row["data"]["number"].as_u64().unwrap()).collect();
    numbers.reverse();
    numbers
}

/// Waits until a user has so many, and returns them, the newest first.
async fn arrived(stage: &Stage, user: &str, count: usize) -> Vec<Value> {
    within(async {
        loop {
            let inbox = stage.inbox(user).await;
            if inbox.len() >= count {
                return inbox;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

async fn what_commits_is_in_the_inbox_and_what_does_not_is_not(database: Database) {
    let stage = Stage::with_inbox();
    let campanile = database.campanile(stage.settings()).await;
    let courier = campanile.courier().start();
    for number in 0..10 {
        let published = database.notify(&campanile, "7", noted(number), number % 2 == 0).await.unwrap();
        assert_eq!(published, Published::Queued);
    }
    empty(campanile.outbox()).await;
    arrived(&stage, "7", 5).await;
    let mut found = numbers(&stage, "7").await;
    found.sort_unstable();
    assert_eq!(found, [0, 2, 4, 6, 8]);
    courier.stop(SOON).await;
}

async fn an_answer_that_is_lost_makes_no_second_row(database: Database) {
    let stage = Stage::with_inbox();
    let passage = Passage::to(stage.address()).await;
    // More than one attempt has retries: the outbox comes again, too.
    passage.lose_answers(6);
    let campanile = database.campanile(settings(passage.origin())).await;
    let courier = campanile.courier().start();
    campanile.notify("7", noted(1)).backoff([SHORT]).send().await.unwrap();
    campanile.notify("7", noted(2)).backoff([SHORT]).send().await.unwrap();
    empty(campanile.outbox()).await;
    arrived(&stage, "7", 2).await;
    let mut found = numbers(&stage, "7").await;
    found.sort_unstable();
    assert_eq!(found, [1, 2]);
    assert!(passage.requests() >= 8, "{}", passage.requests());
    assert_eq!(campanile.outbox().dead(9).await.unwrap(), []);
    courier.stop(SOON).await;
}

async fn what_the_server_will_never_take_is_a_dead_letter_at_once(database: Database) {
    let stage = Stage::with_inbox();
    let campanile = database.campanile(stage.settings()).await;
    let courier = campanile.courier().start();
    assert_eq!(campanile.notify("7", noted(1)).key("k").now().await.unwrap(), Published::Sent);
    campanile.notify("7", noted(2)).key("k").send().await.unwrap();
    dead(campanile.outbox(), 1).await;
    let letter = campanile.outbox().dead(1).await.unwrap().remove(0);
    assert_eq!((letter.attempts, &*letter.event, &*letter.key), (1, "noted", "k"));
    assert!(letter.error.contains("422") && letter.error.contains("key_reused"), "{letter:?}");
    courier.stop(SOON).await;

    for status in [400, 405, 413] {
        let (ear, origin) = Ear::listen().await;
        ear.answer(status);
        let campanile = database.campanile(settings(&origin)).await;
        let courier = campanile.courier().start();
        campanile.outbox().forget(&campanile_broadcast::outbox::Selection::All).await.unwrap();
        campanile.notify("7", noted(1)).send().await.unwrap();
        dead(campanile.outbox(), 1).await;
        assert_eq!(ear.heard().len(), 1, "{status}");
        courier.stop(SOON).await;
    }
}

async fn a_server_that_is_busy_costs_no_try_and_every_attempt_is_the_same(database: Database) {
    let (ear, origin) = Ear::listen().await;
    for status in [500, 502, 404, 202] {
        ear.answer(status);
    }
    let campanile = database.campanile(settings(&origin).retries(0)).await;
    let courier = campanile.courier().start();
    campanile.notify("7", noted(1)).about("document", 7).backoff([SHORT]).send().await.unwrap();
    let heard = ear.hears(4).await;
    assert!(heard.iter().all(|one| *one == heard[0]) && heard[0].key.len() == 32, "{heard:?}");
    empty(campanile.outbox()).await;
    assert_eq!(ear.heard().len(), 4);
    courier.stop(SOON).await;
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
    what_commits_is_in_the_inbox_and_what_does_not_is_not
    an_answer_that_is_lost_makes_no_second_row
    what_the_server_will_never_take_is_a_dead_letter_at_once
    a_server_that_is_busy_costs_no_try_and_every_attempt_is_the_same
}

#[derive(Serialize, Notification)]
#[notification(kind = "comment.added", category = "comments", via = [Inbox, Broadcast, Mail])]
struct Commented {
    document_id: i64,
}

impl<R: ?Sized> Notification<R> for Commented {
    fn to_inbox(&self, _: &R) -> Content {
        Content::new("Ann has commented")
            .body("I like it")
            .action_url("/documents/7")
            .action("Answer", "/documents/7#a")
    }
}

#[tokio::test]
async fn a_row_is_what_the_notification_says() {
    let stage = Stage::with_inbox();
    let soon = SystemTime::now() + Duration::from_secs(3600);
    let campanile = stage.campanile();
    let comment = campanile.notify(7, Commented { document_id: 7 }).about("document", 7).expires_at(soon);
    assert_eq!(comment.now().await.unwrap(), Published::Sent);
    let row = arrived(&stage, "7", 1).await.remove(0);
    let shown = json!({
        "kind": row["kind"], "category": row["category"], "title": row["title"], "body": row["body"],
        "action_url": row["action_url"], "actions": row["actions"], "data": row["data"], "subject": row["subject"],
    });
    assert_eq!(
        shown,
        json!({
            "kind": "comment.added", "category": "comments", "title": "Ann has commented", "body": "I like it",
            "action_url": "/documents/7", "actions": [{ "label": "Answer", "url": "/documents/7#a" }],
            "data": { "document_id": 7 }, "subject": { "type": "document", "id": "7" },
        })
    );
    assert!(row["expires_at"].is_string(), "{row}");
}

#[tokio::test]
async fn it_is_pushed_to_the_users_open_pages() {
    let stage = Stage::with_inbox();
    let mut browser = Browser::open(stage.address()).await;
    browser.subscribe("private-user.7").await;
    assert_eq!(browser.frame().await["event"], "inbox.state");
    stage.campanile().notify(7, noted(1)).now().await.unwrap();
    let pushed = browser.frame().await;
    assert_eq!(pushed["event"], "Illuminate\\Notifications\\Events\\BroadcastNotificationCreated");
    let data: Value = serde_json::from_str(pushed["data"].as_str().unwrap()).unwrap();
    assert_eq!((&data["type"], &data["number"], &data["title"]), (&json!("noted"), &json!(1), &json!("Number 1")));
}

#[tokio::test]
async fn the_same_key_is_one_notification_and_other_words_under_it_are_refused() {
    let stage = Stage::with_inbox();
    let campanile = stage.campanile();
    assert_eq!(campanile.notify(7, noted(1)).key("ü:1").now().await.unwrap(), Published::Sent);
    assert_eq!(campanile.notify(7, noted(1)).key("ü:1").now().await.unwrap(), Published::Duplicate);
    let refused = campanile.notify(7, noted(2)).key("ü:1").now().await;
    let Err(PublishError::Undelivered { source: DeliveryError::Refused { status: 422, message, .. }, .. }) = refused
    else {
        panic!("{refused:?}");
    };
    assert!(message.contains("key_reused"), "{message}");
    arrived(&stage, "7", 1).await;
    assert_eq!(numbers(&stage, "7").await, [1]);
}

/// What a user reads who is told by their id.
#[derive(Serialize)]
struct ByName;

impl NotificationKind for ByName {
    const KIND: &'static str = "by.name";
    const CATEGORY: Option<&'static str> = None;
    const VIA: &'static [Via] = &[Via::Inbox];
}

impl Notification<&str> for ByName {
    fn to_inbox(&self, user: &&str) -> Content {
        Content::new(format!("Dear {user}"))
    }
}

#[tokio::test]
async fn many_an_audience_and_everyone_are_told() {
    let stage = Stage::with_inbox();
    let campanile = stage.campanile();
    stage.call("PUT", "/audiences/beta/members", &json!({ "add": ["8", "9"] })).await;
    campanile.notify_each(["7", "8"], ByName).key("names").now().await.unwrap();
    campanile.notify(Audience("beta"), noted(2)).now().await.unwrap();
    campanile.notify(Everyone, noted(3)).now().await.unwrap();
    for (user, count, titles) in [
        ("7", 2, &["Dear 7", "Number 3"][..]),
        ("8", 3, &["Dear 8", "Number 2", "Number 3"]),
        ("9", 2, &["Number 2", "Number 3"]),
        ("10", 1, &["Number 3"]),
    ] {
        let mut found: Vec<String> =
            arrived(&stage, user, count).await.iter().map(|row| row["title"].as_str().unwrap().to_owned()).collect();
        found.sort_unstable();
        assert_eq!(found, titles, "{user}");
    }
}

#[tokio::test]
async fn a_group_is_gathered_into_one_row_and_a_delay_is_waited_for() {
    let stage = Stage::with_inbox();
    let campanile = stage.campanile();
    for number in 1..=3 {
        campanile.notify(7, noted(number)).digest_by("g").now().await.unwrap();
        // A digest gathers what is stored already.
        within(async {
            while stage.inbox("7").await.first().is_none_or(|row| row["group_count"] != number) {
                tokio::time::sleep(SHORT).await;
            }
        })
        .await;
    }
    assert_eq!(stage.inbox("7").await.len(), 1);

    let began = std::time::Instant::now();
    campanile.notify(8, noted(1)).delay(Duration::from_millis(300)).now().await.unwrap();
    arrived(&stage, "8", 1).await;
    assert!(began.elapsed() >= Duration::from_millis(900), "a part of a second is a whole one: {:?}", began.elapsed());
}

#[tokio::test]
async fn where_no_inbox_is_kept_nothing_is_sent_if_that_is_said_and_tried_again_if_not() {
    let stage = Stage::open();
    let campanile = Campanile::new(stage.settings().without_inbox()).unwrap();
    assert_eq!(campanile.notify(7, noted(1)).now().await.unwrap(), Published::Suppressed);
    assert_eq!(campanile.notify(7, noted(1)).send().await.unwrap(), Published::Suppressed);
    let refused = stage.campanile().notify(7, noted(1)).now().await.unwrap_err().to_string();
    assert!(refused.contains("404") && refused.contains("no_inbox"), "{refused}");
}

/// A notification of whatever it is told.
#[derive(Serialize)]
struct Long {
    text: String,
    #[serde(skip)]
    content: Content,
}

impl NotificationKind for Long {
    const KIND: &'static str = "long";
    const CATEGORY: Option<&'static str> = None;
    const VIA: &'static [Via] = &[Via::Inbox];
}

impl<R: ?Sized> Notification<R> for Long {
    fn to_inbox(&self, _: &R) -> Content {
        self.content.clone()
    }
}

#[tokio::test]
async fn what_passes_our_limits_passes_the_servers() {
    let stage = Stage::with_inbox();
    let long = |count: usize| "x".repeat(count);
    let (url, name) = (format!("/{}", long(URL_BYTES_MAX - 1)), long(NAME_BYTES_MAX));
    let content = Content::new(long(TITLE_BYTES_MAX)).body(long(BODY_BYTES_MAX)).action_url(&url);
    let content = content.action(&name, &url).action(&name, &url);
    // `{"text":""}` takes 11 bytes.
    let longest = Long { text: long(DATA_BYTES_MAX - 11), content };
    let users: Vec<String> = (0..1000).map(|at| format!("{at:0>200}")).collect();
    let campanile: Campanile = stage.campanile();
    let sent = campanile.notify_each(users, longest).about(&name, &name).key(&name).digest_by(&name).now().await;
    assert_eq!(sent.unwrap(), Published::Sent);
    arrived(&stage, &format!("{:0>200}", 999), 1).await;
}
