//! Notifications come in.

use std::collections::BTreeSet;
use std::time::Duration;

use campanile_inbox::{
    Accepted, Capture, Captured, Change, Draft, InboxError, JobState, Mark, PageQuery, Recipients, Thing, Uuid,
};

use crate::promises;
use crate::stage::{APP, DAY, Kind, Stage, to};

promises![
    what_is_accepted_is_numbered_without_gaps_counted_and_told,
    one_key_is_one_notification_however_many_publishers_race,
    a_key_that_was_used_for_something_else_is_refused_until_its_window_is_over,
    a_notification_for_many_is_a_row_for_each_in_chunks,
    a_delayed_one_waits_and_can_be_cancelled,
    one_that_was_stored_can_be_retracted_and_its_key_stays_taken,
    a_digest_gathers_while_it_is_unread,
    a_captured_one_is_stored_at_once_under_its_own_id_and_once,
    what_has_expired_or_is_too_old_is_gone_and_leaves_a_tombstone,
    a_job_that_was_stored_and_not_told_is_told_again_under_the_same_number,
    a_draft_that_is_wrong_is_refused_with_where_and_what_to_do,
    a_draft_is_read_and_a_notification_is_written_as_json_of_one_shape,
];

async fn what_is_accepted_is_numbered_without_gaps_counted_and_told(kind: Kind) {
    let mut stage = Stage::open(kind).await;
    let mut ids = Vec::new();
    for number in 1..=5 {
        ids.push(stage.accept(to("7", &format!("number {number}"))).await);
    }
    for (number, id) in (1..).zip(&ids) {
        let Change::Arrived { app, user, notification, state, captured, broadcast, beyond } = stage.told().await else {
            panic!("an arrival was to come");
        };
        assert_eq!((app.as_str(), user.as_str(), captured, broadcast, beyond), (APP, "7", false, true, false));
        assert_eq!((notification.seq, notification.id), (number, *id));
        assert!(state.seq >= number, "a row exists before anybody is told of it");
    }
    let state = stage.state("7").await;
    assert_eq!((state.unread, state.unseen, state.seq, state.rev), (5, 5, 5, 5));
    let page = stage.page("7", PageQuery::default()).await;
    assert_eq!(page.notifications.iter().map(|n| n.seq).collect::<Vec<_>>(), [5, 4, 3, 2, 1]);
    assert_eq!(page.notifications[0].title, "number 5");
    assert_eq!(stage.state("nobody").await, campanile_inbox::State::default());
    assert_eq!(stage.inbox.state("another app", "7").await.unwrap().unread, 0);
    stage.reconciles().await;
}

async fn one_key_is_one_notification_however_many_publishers_race(kind: Kind) {
    let stage = Stage::open(kind).await;
    let draft = Draft { key: Some("order:9".into()), ..to("7", "shipped") };
    let publishers = (0..50).map(|_| {
        let (inbox, draft) = (stage.inbox.clone(), draft.clone());
        tokio::spawn(async move { inbox.accept(APP, draft).await.unwrap() })
    });
    let mut ids = BTreeSet::new();
    let mut accepted = 0;
    for publisher in publishers.collect::<Vec<_>>() {
        let outcome = publisher.await.unwrap();
        ids.insert(outcome.id());
        accepted += usize::from(matches!(outcome, Accepted::Accepted { .. }));
    }
    assert_eq!((accepted, ids.len()), (1, 1));
    stage.at_rest().await;
    let state = stage.state("7").await;
    assert_eq!((state.unread, state.seq), (1, 1));
    let mut stage = stage;
    assert!(matches!(stage.told().await, Change::Arrived { .. }));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(stage.changes.try_next(), None, "one push");
}

async fn a_key_that_was_used_for_something_else_is_refused_until_its_window_is_over(kind: Kind) {
    let mut stage = Stage::open(kind).await;
    let draft = |title| Draft { key: Some("k".into()), ..to("7", title) };
    let first = stage.deliver(draft("one")).await;
    assert_eq!(stage.inbox.accept(APP, draft("one")).await.unwrap(), Accepted::Duplicate { id: first.id });
    let refused = stage.inbox.accept(APP, draft("two")).await;
    assert!(matches!(refused, Err(InboxError::KeyReused { id }) if id == first.id), "{refused:?}");
    assert!(matches!(stage.inbox.accept("other", draft("two")).await, Ok(Accepted::Accepted { .. })));
    stage.clock.advance(7 * DAY - Duration::from_millis(1));
    assert!(stage.inbox.accept(APP, draft("two")).await.is_err(), "one millisecond before the end of the window");
    stage.clock.advance(Duration::from_millis(1));
    assert!(matches!(stage.inbox.accept(APP, draft("two")).await, Ok(Accepted::Accepted { .. })));
}

async fn a_notification_for_many_is_a_row_for_each_in_chunks(kind: Kind) {
    let mut stage = Stage::open(kind).await;
    // Twice as many as a chunk, and one twice.
    let mut users: Vec<String> = (0..1000).map(|number| format!("u{number:04}")).collect();
    users[999] = "u0000".into();
    let id = stage.accept(Draft::new(Recipients::Users(users.clone()), "k", "for many")).await;
    let mut reached = BTreeSet::new();
    while reached.len() < 999 {
        let (user, notification, _) = stage.arrives().await;
        assert_eq!((notification.id, notification.seq), (id, 1));
        assert!(reached.insert(user), "each is told once");
    }
    stage.at_rest().await;
    assert_eq!(stage.state("u0000").await.unread, 1);
    users.push("one more".into());
    let refused = stage.inbox.accept(APP, Draft::new(Recipients::Users(users), "k", "past the bound")).await;
    let Err(InboxError::Invalid(mistake)) = refused else { panic!("{refused:?}") };
    assert_eq!((mistake.code, mistake.path.as_str()), ("too_many", "/to/users"));
}

async fn a_delayed_one_waits_and_can_be_cancelled(kind: Kind) {
    let mut stage = Stage::open(kind).await;
    let draft = |key: &str| Draft { key: Some(key.into()), delay_secs: Some(3600), ..to("7", key) };
    stage.accept(draft("kept")).await;
    stage.accept(draft("cancelled")).await;
    let waiting = stage.inbox.jobs(APP, JobState::Waiting, None, 10).await.unwrap();
    assert_eq!(waiting.iter().map(|job| job.key.as_deref().unwrap()).collect::<Vec<_>>(), ["cancelled", "kept"]);
    let cancelled = stage.inbox.cancel(APP, "cancelled").await.unwrap();
    assert_eq!((cancelled.cancelled, cancelled.retracted), (1, 0));
    let again = stage.inbox.cancel(APP, "cancelled").await.unwrap();
    assert_eq!((again.cancelled, again.retracted), (0, 0));
    assert!(matches!(stage.inbox.cancel(APP, "never").await, Err(InboxError::Unknown(Thing::Key))));
    stage.clock.advance(Duration::from_millis(3_599_999));
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(stage.state("7").await.seq, 0, "it is not due yet");
    stage.clock.advance(Duration::from_millis(1));
    let (_, notification, _) = stage.arrives().await;
    assert_eq!(notification.title, "kept");
    stage.at_rest().await;
    assert_eq!(stage.state("7").await.seq, 1);
}

async fn one_that_was_stored_can_be_retracted_and_its_key_stays_taken(kind: Kind) {
    let mut stage = Stage::open(kind).await;
    let draft = Draft {
        key: Some("k".into()),
        ..Draft::new(Recipients::Users(vec!["1".into(), "2".into()]), "k", "a mistake")
    };
    let sent = stage.deliver(draft.clone()).await;
    stage.at_rest().await;
    stage.inbox.mark(APP, "2", sent.id, Mark::Read).await.unwrap();
    let before = stage.state("1").await;
    let taken_back = stage.inbox.cancel(APP, "k").await.unwrap();
    assert_eq!((taken_back.cancelled, taken_back.retracted), (0, 2));
    for user in ["1", "2"] {
        let state = stage.state(user).await;
        assert_eq!((state.unread, state.unseen, state.seq), (0, 0, 1));
        assert!(stage.all(user).await.is_empty());
        let since = campanile_inbox::ChangesQuery { since: before.rev, ..Default::default() };
        let told = stage.inbox.changes_since(APP, user, since).await.unwrap();
        assert_eq!(told.gone, [sent.id]);
    }
    assert_eq!(stage.inbox.accept(APP, draft).await.unwrap(), Accepted::Duplicate { id: sent.id });
    stage.reconciles().await;
}

async fn a_digest_gathers_while_it_is_unread(kind: Kind) {
    let mut stage = Stage::open(kind).await;
    let draft = |title: &str| Draft { digest: Some("doc:7".into()), ..to("7", title) };
    let first = stage.deliver(draft("one comment")).await;
    stage.inbox.seen(APP, "7", campanile_inbox::Seen::Ids(vec![first.id])).await.unwrap();
    stage.accept(Draft { key: Some("second".into()), ..draft("two comments") }).await;
    let (_, gathered, _) = stage.arrives().await;
    assert_eq!((gathered.id, gathered.seq, gathered.group_count), (first.id, 1, 2));
    assert_eq!((gathered.title.as_str(), gathered.group.as_deref()), ("two comments", Some("doc:7")));
    stage.at_rest().await;
    let state = stage.state("7").await;
    assert_eq!((state.unread, state.unseen, state.seq), (1, 1, 1), "it is unseen again, and one row");
    // Another user's group, and another group, are others.
    stage.deliver(Draft { digest: Some("doc:7".into()), ..to("8", "elsewhere") }).await;
    stage.deliver(Draft { digest: Some("doc:8".into()), ..to("7", "another") }).await;
    assert_eq!(stage.state("7").await.unread, 2);
    // One of those gathered is taken back.
    let taken_back = stage.inbox.cancel(APP, "second").await.unwrap();
    assert_eq!((taken_back.cancelled, taken_back.retracted), (0, 1));
    assert_eq!(stage.inbox.notification(APP, "7", first.id).await.unwrap().group_count, 1);
    // Read, by itself or at a stroke, it gathers no more.
    stage.inbox.mark(APP, "7", first.id, Mark::Read).await.unwrap();
    let second = stage.deliver(draft("three")).await;
    assert_ne!(second.id, first.id);
    let head = stage.state("7").await.seq;
    stage.inbox.read_all(APP, "7", head, None, None).await.unwrap();
    let third = stage.deliver(draft("four")).await;
    assert_eq!((third.group_count, third.seq), (1, head + 1));
    assert_eq!(stage.state("7").await.unread, 1);
    // Nor when it is marked as unread again.
    let head = stage.state("7").await.seq;
    stage.inbox.read_all(APP, "7", head, None, None).await.unwrap();
    stage.inbox.mark(APP, "7", third.id, Mark::Unread).await.unwrap();
    assert_ne!(stage.deliver(draft("five")).await.id, third.id);
    assert_eq!(stage.state("7").await.unread, 2);
    stage.at_rest().await;
    stage.reconciles().await;
}

fn captured(id: Uuid) -> Captured {
    Captured {
        user: "42".into(),
        id,
        kind: "App\\Notifications\\InvoicePaid".into(),
        category: None,
        title: "Invoice paid".into(),
        body: None,
        action_url: Some("/invoices/1".into()),
        data: serde_json::json!({ "invoice": 1 }).as_object().cloned().unwrap(),
    }
}

async fn a_captured_one_is_stored_at_once_under_its_own_id_and_once(kind: Kind) {
    let mut stage = Stage::open(kind).await;
    let id = Uuid::now_v7();
    let Capture::Stored { seq: 1, state } = stage.inbox.capture(APP, captured(id)).await.unwrap() else {
        panic!("it is new");
    };
    assert_eq!((state.unread, state.rev), (1, 1));
    let Change::Arrived { notification, captured: true, .. } = stage.told().await else {
        panic!("it was captured");
    };
    assert_eq!((notification.id, &notification.data["invoice"]), (id, &serde_json::json!(1)));
    assert_eq!(stage.inbox.capture(APP, captured(id)).await.unwrap(), Capture::Duplicate);
    assert_eq!(stage.state("42").await.unread, 1);
    assert_eq!(stage.changes.try_next(), None);
}

async fn what_has_expired_or_is_too_old_is_gone_and_leaves_a_tombstone(kind: Kind) {
    let mut stage = Stage::open(kind).await;
    let soon = stage.clock.now().plus(DAY);
    let short = stage.deliver(Draft { expires_at: Some(soon), ..to("7", "today only") }).await;
    let long = stage.deliver(to("7", "for long")).await;
    let rev = stage.state("7").await.rev;
    stage.clock.advance(DAY);
    let inbox = stage.inbox.clone();
    stage.comes_about(|| async { inbox.state(APP, "7").await.unwrap().unread == 1 }).await;
    let since = campanile_inbox::ChangesQuery { since: rev, ..Default::default() };
    assert_eq!(stage.inbox.changes_since(APP, "7", since).await.unwrap().gone, [short.id]);
    stage.clock.advance(89 * DAY);
    stage.comes_about(|| async { inbox.state(APP, "7").await.unwrap().unread == 0 }).await;
    let told = stage.inbox.changes_since(APP, "7", since).await;
    // The first tombstone has been forgotten meanwhile, and that is said.
    stage.comes_about(|| async { inbox.changes_since(APP, "7", since).await.is_err() }).await;
    assert!(matches!(told, Ok(_) | Err(InboxError::TooOld { .. })));
    let Err(InboxError::TooOld { state }) = inbox.changes_since(APP, "7", since).await else {
        panic!("what has gone is not known any more");
    };
    let fresh = campanile_inbox::ChangesQuery { since: state.rev - 1, ..Default::default() };
    assert_eq!(inbox.changes_since(APP, "7", fresh).await.unwrap().gone, [long.id]);
    assert_eq!((state.unread, state.unseen, state.seq), (0, 0, 2));
    // One that has expired before it was due is not stored, and support can see why.
    let at = stage.clock.now().plus(2 * DAY);
    let draft = Draft { deliver_at: Some(stage.clock.now().plus(DAY)), expires_at: Some(at), ..to("7", "too late") };
    stage.accept(draft).await;
    stage.clock.advance(3 * DAY);
    stage.comes_about(|| async { !inbox.deliveries(APP, "7", None, 10).await.unwrap().is_empty() }).await;
    let records = inbox.deliveries(APP, "7", None, 10).await.unwrap();
    assert!(records.iter().all(|record| record.reason.as_deref() == Some("expired")), "{records:?}");
    assert_eq!(stage.state("7").await.seq, 2);
}

async fn a_job_that_was_stored_and_not_told_is_told_again_under_the_same_number(kind: Kind) {
    let mut stage = Stage::open(kind).await;
    let sent = stage.deliver(Draft { digest: Some("g".into()), ..to("7", "once") }).await;
    stage.at_rest().await;
    let rev = stage.state("7").await.rev;
    // As it would be after a crash between the commit and the end of the job.
    let draft = serde_json::to_string(&Draft { digest: Some("g".into()), ..to("7", "once") }).unwrap();
    stage
        .meddle(&format!(
            "INSERT INTO campanile_inbox_jobs (app, id, draft, accepted_at, due_at, available_at) \
             VALUES ('{APP}', '{}', '{draft}', 0, 0, 0)",
            sent.id
        ))
        .await;
    let (_, again, state) = stage.arrives().await;
    assert_eq!((again.id, again.seq, again.group_count), (sent.id, sent.seq, 1));
    assert_eq!((state.unread, state.seq, state.rev), (1, 1, rev));
}

async fn a_draft_that_is_wrong_is_refused_with_where_and_what_to_do(kind: Kind) {
    let stage = Stage::open(kind).await;
    let limits = &stage.settings.limits;
    let long = |bytes: usize| "x".repeat(bytes);
    let at_the_bound = Draft {
        body: Some(long(limits.body_bytes)),
        category: Some(long(limits.name_bytes)),
        action_url: Some(format!("/{}", long(limits.url_bytes - 1))),
        data: serde_json::json!({ "a": long(limits.data_bytes - 8) }).as_object().cloned(),
        ..Draft::new(Recipients::User(long(limits.name_bytes)), "k", long(limits.title_bytes))
    };
    stage.accept(at_the_bound.clone()).await;
    let mut wrong = vec![
        (Draft { title: long(limits.title_bytes + 1), ..at_the_bound.clone() }, "/title"),
        (Draft { body: Some(long(limits.body_bytes + 1)), ..at_the_bound.clone() }, "/body"),
        (Draft { category: Some(long(limits.name_bytes + 1)), ..at_the_bound.clone() }, "/category"),
        (Draft { action_url: Some(format!("/{}", long(limits.url_bytes))), ..at_the_bound.clone() }, "/action_url"),
        (
            Draft {
                data: serde_json::json!({ "a": long(limits.data_bytes - 7) }).as_object().cloned(),
                ..at_the_bound.clone()
            },
            "/data",
        ),
        (Draft { to: Recipients::User(long(limits.name_bytes + 1)), ..at_the_bound.clone() }, "/to/user"),
        (Draft { title: " ".into(), ..to("7", "t") }, "/title"),
        (Draft { title: "a\0b".into(), ..to("7", "t") }, "/title"),
        (Draft { to: Recipients::Users(Vec::new()), ..to("7", "t") }, "/to/users"),
        (Draft { to: Recipients::All(false), ..to("7", "t") }, "/to/all"),
        (Draft { action_url: Some("javascript:alert(1)".into()), ..to("7", "t") }, "/action_url"),
        (Draft { action_url: Some("//evil.example".into()), ..to("7", "t") }, "/action_url"),
        (Draft { delay_secs: Some(366 * 86400 + 1), ..to("7", "t") }, "/delay_secs"),
        (Draft { expires_at: Some(stage.clock.now()), ..to("7", "t") }, "/expires_at"),
        (Draft { via: Some(Vec::new()), ..to("7", "t") }, "/via"),
        (Draft { via: Some(vec![campanile_inbox::Channel::Broadcast]), ..to("7", "t") }, "/via"),
    ];
    let action = |label: &str| campanile_inbox::Action { label: label.into(), url: "/".into() };
    wrong.push((Draft { actions: vec![action("1"), action("2"), action("3")], ..to("7", "t") }, "/actions"));
    for (draft, path) in wrong {
        let refused = stage.inbox.accept(APP, draft).await;
        let Err(InboxError::Invalid(mistake)) = refused else { panic!("{path}: {refused:?}") };
        assert_eq!(mistake.path, path, "{mistake}");
        assert!(mistake.message.len() > 10);
    }
    let unknown = Draft { to: Recipients::Audience("nobody".into()), ..to("7", "t") };
    assert!(matches!(stage.inbox.accept(APP, unknown).await, Err(InboxError::Unknown(Thing::Audience))));
}

async fn a_draft_is_read_and_a_notification_is_written_as_json_of_one_shape(kind: Kind) {
    let mut stage = Stage::open(kind).await;
    let draft = serde_json::json!({
        "to": { "user": "7" }, "kind": "comment.added", "category": "comments", "title": "New comment",
        "body": "Looks good", "action_url": "/documents/7", "actions": [{ "label": "Open", "url": "/documents/7" }],
        "data": { "document": 7 }, "subject": { "type": "document", "id": "7" }, "digest": "document:7", "key": "k",
        "delay_secs": 0, "expires_at": "2026-02-02T03:04:05Z", "via": ["inbox", "broadcast"],
    });
    let parsed: Draft = serde_json::from_value(draft.clone()).unwrap();
    assert_eq!(serde_json::from_str::<Draft>(&serde_json::to_string(&parsed).unwrap()).unwrap(), parsed);
    let sent = stage.deliver(parsed).await;
    let expected = serde_json::json!({
        "id": sent.id, "seq": 1, "rev": 1, "announcement": false, "kind": "comment.added", "category": "comments",
        "title": "New comment", "body": "Looks good", "action_url": "/documents/7",
        "actions": [{ "label": "Open", "url": "/documents/7" }], "data": { "document": 7 },
        "subject": { "type": "document", "id": "7" }, "group": "document:7", "group_count": 1,
        "created_at": "2026-01-02T03:04:05.000Z", "updated_at": "2026-01-02T03:04:05.000Z", "read_at": null,
        "seen_at": null, "archived_at": null, "snoozed_until": null, "expires_at": "2026-02-02T03:04:05.000Z",
    });
    assert_eq!(serde_json::to_value(&sent).unwrap(), expected);
    let page = serde_json::to_value(stage.page("7", PageQuery::default()).await).unwrap();
    assert_eq!(page["notifications"][0], expected);
    let rest = (&page["next"], &page["gone"], &page["unread"], &page["announced"]);
    assert_eq!(rest, (&serde_json::json!(null), &serde_json::json!([]), &serde_json::json!(1), &serde_json::json!(0)));
    for (to, is_right) in [
        (serde_json::json!({ "users": ["7"] }), true),
        (serde_json::json!({ "audience": "team" }), true),
        (serde_json::json!({ "all": true }), true),
        (serde_json::json!({ "everybody": true }), false),
        (serde_json::json!({ "user": "7", "all": true }), false),
    ] {
        let mut draft = draft.clone();
        draft["to"] = to.clone();
        assert_eq!(serde_json::from_value::<Draft>(draft).is_ok(), is_right, "{to}");
    }
    let mut unknown = draft;
    unknown["titel"] = serde_json::json!("t");
    assert!(serde_json::from_value::<Draft>(unknown).unwrap_err().to_string().contains("titel"));
}
