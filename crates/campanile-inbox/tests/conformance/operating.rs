//! What operators do, and what goes wrong.

use std::time::Duration;

use campanile_inbox::{
    Change, Draft, Inbox, InboxError, JobState, Limits, OpenError, PageQuery, Settings, StoreUrl, Synchronous,
};

use crate::promises;
use crate::stage::{APP, Kind, SOON, Stage, to};

promises![
    the_reconciler_finds_a_wrong_count_puts_it_right_and_says_so,
    a_job_that_cannot_be_read_is_a_dead_job_and_holds_nobody_up,
    tables_are_made_only_if_they_may_be_and_newer_ones_are_refused,
    at_the_bound_a_caller_is_told_to_come_back,
    it_may_be_called_from_any_runtime,
    a_store_that_is_closed_says_so,
    what_was_answered_before_a_close_is_stored_and_told,
    a_setting_out_of_its_bounds_is_refused,
    the_second_start_finds_what_the_first_has_stored,
];

async fn the_reconciler_finds_a_wrong_count_puts_it_right_and_says_so(kind: Kind) {
    let mut stage = Stage::open(kind).await;
    for _ in 0..3 {
        stage.deliver(to("7", "t")).await;
    }
    stage.deliver(to("8", "t")).await;
    stage.reconciles().await;
    stage.meddle("UPDATE campanile_inbox_users SET unread = 9, unseen = 0 WHERE name = '7'").await;
    let report = stage.inbox.reconcile().await.unwrap();
    assert_eq!((report.users, report.wrong_count), (2, 1));
    assert_eq!(report.wrong, ["shop/7: unread 9 and is 3, unseen 0 and is 3"]);
    assert_eq!(stage.state("7").await.unread, 3);
    assert!(matches!(stage.told().await, Change::Updated { reset: true, .. }));
    stage.reconciles().await;
}

async fn a_job_that_cannot_be_read_is_a_dead_job_and_holds_nobody_up(kind: Kind) {
    let mut stage = Stage::open(kind).await;
    stage.accept(Draft { delay_secs: Some(1), ..to("7", "to be spoilt") }).await;
    assert_eq!(stage.meddle("UPDATE campanile_inbox_jobs SET draft = '{}'").await, 1);
    stage.accept(Draft { delay_secs: Some(1), ..to("7", "behind it") }).await;
    stage.clock.advance(Duration::from_secs(1));
    assert_eq!(stage.arrives().await.1.title, "behind it");
    stage.at_rest().await;
    let dead = stage.inbox.jobs(APP, JobState::Dead, None, 10).await.unwrap();
    assert_eq!(dead[0].kind, "unreadable");
    assert!(dead[0].error.as_ref().unwrap().contains("cannot be read"), "{dead:?}");
    stage.clock.advance(stage.settings.dead_jobs);
    let inbox = stage.inbox.clone();
    stage.comes_about(|| async { inbox.depths().await.unwrap().jobs_dead == 0 }).await;
}

async fn tables_are_made_only_if_they_may_be_and_newer_ones_are_refused(kind: Kind) {
    let directory = tempfile::tempdir().unwrap();
    let store = match kind {
        Kind::Sqlite => StoreUrl::Sqlite(directory.path().join("a.db")),
        Kind::Postgres => StoreUrl::Postgres(crate::stage::postgres_url().await),
    };
    let refusing = Settings { migrate: false, ..Settings::new(store.clone()) };
    let refused = Inbox::open(refusing.clone()).await.map(drop);
    match (kind, refused) {
        (Kind::Sqlite, Err(OpenError::File { file, .. })) => assert!(file.ends_with("a.db")),
        (Kind::Postgres, Err(error @ OpenError::OlderTables { found: 0, known: 1 })) => {
            assert!(error.to_string().contains("inbox.migrate = true"));
        }
        (_, other) => panic!("{other:?}"),
    }
    let (inbox, _changes) = Inbox::open(Settings::new(store.clone())).await.unwrap();
    inbox.close().await;
    let (inbox, _changes) = Inbox::open(refusing).await.unwrap();
    inbox.close().await;
    let stage = Stage::open(kind).await;
    stage.meddle("UPDATE campanile_inbox_version SET version = 99").await;
    let refused = Inbox::open(stage.settings.clone()).await.map(drop);
    assert!(matches!(refused, Err(OpenError::NewerTables { found: 99, known: 1 })), "{refused:?}");
}

async fn at_the_bound_a_caller_is_told_to_come_back(kind: Kind) {
    let stage = Stage::with(kind, |settings| {
        settings.limits.writes_waiting = 2;
        settings.limits.reads_waiting = 2;
    })
    .await;
    // Only the first poll of each asks for its place, so two have one and the third has none.
    let mut calls: Vec<_> = (0..3).map(|n| Box::pin(stage.inbox.accept(APP, to("7", &n.to_string())))).collect();
    let mut outcomes = Vec::new();
    for call in &mut calls {
        outcomes.push(std::future::poll_fn(|context| std::task::Poll::Ready(call.as_mut().poll(context))).await);
    }
    let std::task::Poll::Ready(Err(InboxError::Busy { retry_after })) = &outcomes[2] else { panic!("{outcomes:?}") };
    assert!(!retry_after.is_zero());
    for (call, outcome) in calls.into_iter().zip(outcomes).take(2) {
        if outcome.is_pending() {
            call.await.unwrap();
        }
    }
    stage.inbox.accept(APP, to("7", "afterwards")).await.unwrap();
    let mut looks: Vec<_> = (0..3).map(|_| Box::pin(stage.inbox.state(APP, "7"))).collect();
    let mut refused = 0;
    for look in &mut looks {
        let outcome = std::future::poll_fn(|context| std::task::Poll::Ready(look.as_mut().poll(context))).await;
        refused += usize::from(matches!(outcome, std::task::Poll::Ready(Err(InboxError::Busy { .. }))));
    }
    assert_eq!(refused, 1);
}

async fn it_may_be_called_from_any_runtime(kind: Kind) {
    let stage = Stage::open(kind).await;
    let threads = (0..4).map(|thread| {
        let inbox = stage.inbox.clone();
        std::thread::spawn(move || {
            // One that has neither timers nor sockets.
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                for number in 0..10 {
                    inbox.accept(APP, to("7", &format!("{thread}.{number}"))).await.unwrap();
                }
                inbox.state(APP, "7").await.unwrap()
            })
        })
    });
    for thread in threads.collect::<Vec<_>>() {
        thread.join().unwrap();
    }
    stage.at_rest().await;
    assert_eq!(stage.state("7").await.unread, 40);
}

async fn a_store_that_is_closed_says_so(kind: Kind) {
    let mut stage = Stage::open(kind).await;
    stage.deliver(to("7", "t")).await;
    tokio::time::timeout(SOON, stage.inbox.close()).await.unwrap();
    assert!(matches!(stage.inbox.state(APP, "7").await, Err(InboxError::Unavailable { .. })));
    assert!(matches!(stage.inbox.accept(APP, to("7", "t")).await, Err(InboxError::Unavailable { .. })));
    let ended = async { while stage.changes.next().await.is_some() {} };
    tokio::time::timeout(SOON, ended).await.expect("the changes end");
}

async fn what_was_answered_before_a_close_is_stored_and_told(kind: Kind) {
    let mut stage = Stage::open(kind).await;
    let calls: Vec<_> = (0..200)
        .map(|number| {
            let inbox = stage.inbox.clone();
            let captured = campanile_inbox::Captured {
                user: (number % 7).to_string(),
                id: campanile_inbox::Uuid::now_v7(),
                kind: "k".into(),
                category: None,
                title: "t".into(),
                body: None,
                action_url: None,
                data: serde_json::Map::new(),
            };
            tokio::spawn(async move { inbox.capture(APP, captured).await })
        })
        .collect();
    tokio::time::timeout(SOON, stage.inbox.close()).await.unwrap();
    let mut stored = 0;
    for call in calls {
        match call.await.unwrap() {
            Ok(_) => stored += 1,
            Err(InboxError::Unavailable { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    let mut told = 0;
    while let Some(change) = stage.changes.next().await {
        told += i64::from(matches!(change, Change::Arrived { .. }));
    }
    let (inbox, _changes) = Inbox::open(stage.settings.clone()).await.unwrap();
    let mut there = 0;
    for user in 0..7 {
        there += inbox.state(APP, &user.to_string()).await.unwrap().seq;
    }
    assert_eq!(told, there, "what is there was told");
    assert!(stored <= there, "{stored} were answered and {there} are there");
}

async fn a_setting_out_of_its_bounds_is_refused(kind: Kind) {
    let store = match kind {
        Kind::Sqlite => StoreUrl::Sqlite("/nowhere/at/all/campanile.db".into()),
        Kind::Postgres => StoreUrl::Postgres("postgres://user:s3cret@127.0.0.1:1/none".into()),
    };
    let settings = || Settings::new(store.clone());
    for wrong in [
        Settings { retention: Duration::ZERO, ..settings() },
        Settings { limits: Limits { recipients: 1001, ..Limits::default() }, ..settings() },
        Settings { limits: Limits { writes_waiting: 0, ..Limits::default() }, ..settings() },
    ] {
        let refused = Inbox::open(wrong).await.map(drop);
        assert!(matches!(refused, Err(OpenError::Setting { .. })), "{refused:?}");
    }
    let error = Inbox::open(Settings { synchronous: Synchronous::Normal, ..settings() }).await.map(drop).unwrap_err();
    assert!(matches!(error, OpenError::File { .. } | OpenError::Database(_)), "{error:?}");
    assert!(!format!("{error} {error:?} {:?}", settings()).contains("s3cret"));
    let unreadable = Settings { store: StoreUrl::Postgres("not an address s3cret".into()), ..settings() };
    let error = Inbox::open(unreadable).await.map(drop).unwrap_err();
    assert!(matches!(error, OpenError::Url(_)) && !error.to_string().contains("s3cret"), "{error}");
}

async fn the_second_start_finds_what_the_first_has_stored(kind: Kind) {
    let mut stage = Stage::open(kind).await;
    let sent = stage.deliver(to("7", "t")).await;
    stage.inbox.close().await;
    let (inbox, _changes) = Inbox::open(stage.settings.clone()).await.unwrap();
    let page = inbox.page(APP, "7", PageQuery::default()).await.unwrap();
    assert_eq!(page.notifications, [sent]);
}

#[tokio::test]
async fn sqlite_is_copied_while_it_is_written_to() {
    let mut stage = Stage::open(Kind::Sqlite).await;
    for number in 0..20 {
        stage.deliver(to("7", &number.to_string())).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("copy.db");
    let writing = {
        let inbox = stage.inbox.clone();
        tokio::spawn(async move {
            for number in 0..200 {
                inbox.accept(APP, to("7", &number.to_string())).await.unwrap();
            }
        })
    };
    stage.inbox.backup(&copy).await.unwrap();
    writing.await.unwrap();
    let refused = stage.inbox.backup(&copy).await;
    assert!(matches!(refused, Err(InboxError::Invalid(mistake)) if mistake.code == "exists"));
    let nowhere = stage.inbox.backup(std::path::Path::new("/nowhere/copy.db")).await;
    assert!(matches!(nowhere, Err(InboxError::Unavailable { .. })), "{nowhere:?}");
    let settings = Settings { store: StoreUrl::Sqlite(copy), ..stage.settings.clone() };
    let (copied, _changes) = Inbox::open(settings).await.unwrap();
    assert!(copied.state(APP, "7").await.unwrap().unread >= 20);
    let report = copied.reconcile().await.unwrap();
    assert_eq!(report.wrong_count, 0, "it is of one moment");
}

#[tokio::test]
async fn postgres_is_backed_up_by_its_own_tools() {
    let stage = Stage::open(Kind::Postgres).await;
    let refused = stage.inbox.backup(std::path::Path::new("/tmp/never")).await;
    assert!(matches!(refused, Err(InboxError::Invalid(mistake)) if mistake.message.contains("pg_dump")));
}

#[tokio::test]
async fn two_couriers_on_one_postgres_store_each_notification_once() {
    let stage = Stage::open(Kind::Postgres).await;
    let (second, mut second_changes) = Inbox::open(stage.settings.clone()).await.unwrap();
    stage.run(&second);
    let users: Vec<String> = (0..20).map(|n| format!("u{n}")).collect();
    for number in 0..60 {
        let inbox = if number % 2 == 0 { &stage.inbox } else { &second };
        let to = campanile_inbox::Recipients::Users(users.clone());
        let draft = Draft { key: Some(number.to_string()), ..Draft::new(to, "k", number.to_string()) };
        inbox.accept(APP, draft).await.unwrap();
    }
    stage.at_rest().await;
    for user in &users {
        let state = stage.state(user).await;
        assert_eq!((state.unread, state.seq), (60, 60));
        let mut seqs: Vec<i64> = stage.all(user).await.iter().map(|n| n.seq).collect();
        seqs.reverse();
        assert_eq!(seqs, (1..=60).collect::<Vec<_>>(), "numbered without gaps");
    }
    stage.reconciles().await;
    assert!(second_changes.try_next().is_some(), "both have worked");
}

#[tokio::test]
async fn several_servers_may_make_the_tables_at_one_time() {
    let url = crate::stage::postgres_url().await;
    let servers = (0..6).map(|_| tokio::spawn(Inbox::open(Settings::new(StoreUrl::Postgres(url.clone())))));
    for server in servers.collect::<Vec<_>>() {
        let (inbox, _changes) = server.await.unwrap().unwrap();
        assert_eq!(inbox.state(APP, "7").await.unwrap().unread, 0);
        inbox.close().await;
    }
}

#[tokio::test]
async fn a_file_that_somebody_else_has_locked_is_told_and_it_goes_on() {
    let mut stage = Stage::open(Kind::Sqlite).await;
    stage.deliver(to("7", "before")).await;
    stage.at_rest().await;
    let StoreUrl::Sqlite(file) = &stage.settings.store else { unreachable!("it was asked for") };
    let other = sqlx::SqlitePool::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    let lock = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let refused = stage.inbox.accept(APP, to("7", "meanwhile")).await;
    let Err(InboxError::Unavailable { reason }) = &refused else { panic!("{refused:?}") };
    assert!(reason.contains("locked"), "{reason}");
    assert_eq!(stage.state("7").await.unread, 1, "what is there can be read");
    lock.rollback().await.unwrap();
    let began = std::time::Instant::now();
    while let Err(error) = stage.inbox.accept(APP, to("7", "after")).await {
        assert!(began.elapsed() < SOON, "{error}");
    }
    assert_eq!(stage.arrives().await.1.title, "after");
}
