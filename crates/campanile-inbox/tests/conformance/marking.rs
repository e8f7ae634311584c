//! What users do with their notifications.

use std::time::Duration;

use campanile_inbox::{Change, ChangesQuery, Draft, InboxError, Mark, PageQuery, Seen, Status, Stroke, Thing, Uuid};

use crate::promises;
use crate::stage::{APP, DAY, Kind, Stage, to};

promises![
    each_mark_moves_the_counts_by_what_it_changes_and_takes_one_rev,
    reading_all_is_one_change_and_what_comes_meanwhile_stays_unread,
    reading_all_of_one_category_leaves_the_others,
    marking_as_unread_below_the_floor_lasts_until_the_next_stroke,
    a_snoozed_one_is_hidden_and_comes_back_unread_and_unseen,
    archiving_what_is_read_leaves_what_is_not,
    seen_up_to_a_number_leaves_unread_alone,
    a_change_is_told_to_the_users_other_tabs,
];

async fn each_mark_moves_the_counts_by_what_it_changes_and_takes_one_rev(kind: Kind) {
    let mut stage = Stage::open(kind).await;
    let id = stage.deliver(to("7", "one")).await.id;
    let counts = async |mark| {
        let marked = stage.inbox.mark(APP, "7", id, mark).await.unwrap();
        let state = marked.state;
        (state.unread, state.unseen, state.rev, marked.notification)
    };
    let (unread, unseen, rev, seen) = counts(Mark::Seen).await;
    assert_eq!((unread, unseen, rev), (1, 0, 2));
    assert!(seen.seen_at.is_some() && seen.read_at.is_none());
    assert_eq!(counts(Mark::Seen).await.2, 2, "what changes nothing takes no rev");
    let (unread, _, rev, read) = counts(Mark::Read).await;
    assert_eq!((unread, rev, read.rev), (0, 3, 3));
    assert!(read.read_at.is_some());
    let (unread, unseen, rev, _) = counts(Mark::Unread).await;
    assert_eq!((unread, unseen, rev), (1, 0, 4), "it stays seen");
    let (unread, unseen, rev, archived) = counts(Mark::Archive).await;
    assert_eq!((unread, unseen, rev), (0, 0, 5), "what is put away does not count");
    assert!(archived.archived_at.is_some());
    let (unread, ..) = counts(Mark::Read).await;
    assert_eq!(unread, 0);
    let (.., archived) = counts(Mark::Unread).await;
    assert!(archived.archived_at.is_some(), "it stays archived");
    let (unread, _, rev, back) = counts(Mark::Unarchive).await;
    assert_eq!((unread, rev), (1, 8));
    assert!(back.archived_at.is_none() && back.read_at.is_none());
    for (user, id) in [("7", Uuid::now_v7()), ("8", id), ("nobody", id)] {
        let refused = stage.inbox.mark(APP, user, id, Mark::Read).await;
        assert!(matches!(refused, Err(InboxError::Unknown(Thing::Notification))), "{user}");
    }
    stage.reconciles().await;
}

async fn reading_all_is_one_change_and_what_comes_meanwhile_stays_unread(kind: Kind) {
    let mut stage = Stage::open(kind).await;
    for number in 0..30 {
        stage.accept(to("7", &number.to_string())).await;
    }
    stage.at_rest().await;
    let head = stage.state("7").await;
    assert_eq!(head.unread, 30);
    stage.deliver(to("7", "meanwhile")).await;
    let rows = stage.ask("SELECT count(*) FROM campanile_inbox_notifications WHERE unread = 1").await;
    let state = stage.inbox.read_all(APP, "7", head.seq, None, None).await.unwrap();
    assert_eq!((state.unread, state.unseen, state.rev), (1, 1, 32));
    let same = stage.ask("SELECT count(*) FROM campanile_inbox_notifications WHERE unread = 1").await;
    assert_eq!(rows, same, "no row was touched");
    let unread = PageQuery { status: Status::Unread, ..PageQuery::default() };
    let page = stage.page("7", unread).await;
    assert_eq!(page.notifications.iter().map(|n| n.title.as_str()).collect::<Vec<_>>(), ["meanwhile"]);
    let page = stage.page("7", PageQuery::default()).await;
    assert!(page.notifications[1..].iter().all(|n| n.read_at.is_some() && n.seen_at.is_some()));
    let since = ChangesQuery { since: 31, ..ChangesQuery::default() };
    let told = stage.inbox.changes_since(APP, "7", since).await.unwrap();
    assert_eq!(told.notifications.len(), 0);
    let floors: Vec<_> = told.floors.iter().map(|floor| (floor.mark, floor.up_to, floor.rev)).collect();
    assert_eq!(floors, [(Stroke::Read, 30, 32), (Stroke::Seen, 30, 32)]);
    let again = stage.inbox.read_all(APP, "7", head.seq, None, None).await.unwrap();
    assert_eq!(again.rev, 32, "what changes nothing takes no rev");
    // A number that a client made up marks nothing that is still to come.
    assert_eq!(stage.inbox.read_all(APP, "7", i64::MAX, None, None).await.unwrap().unread, 0);
    stage.deliver(to("7", "later")).await;
    assert_eq!(stage.state("7").await.unread, 1);
    assert_eq!(stage.inbox.read_all(APP, "7", -5, None, None).await.unwrap().unread, 1);
    stage.reconciles().await;
}

async fn reading_all_of_one_category_leaves_the_others(kind: Kind) {
    let mut stage = Stage::open(kind).await;
    for number in 0..3 {
        stage.deliver(Draft { category: Some("comments".into()), ..to("7", &number.to_string()) }).await;
        stage.deliver(Draft { category: Some("orders".into()), ..to("7", &number.to_string()) }).await;
        stage.deliver(to("7", "of none")).await;
    }
    let state = stage.inbox.read_all(APP, "7", 9, None, Some("comments")).await.unwrap();
    assert_eq!((state.unread, state.unseen, state.rev), (6, 6, 10));
    let of = |category: &str, status| PageQuery { status, category: Some(category.to_owned()), ..PageQuery::default() };
    assert_eq!(stage.page("7", of("comments", Status::Unread)).await.notifications.len(), 0);
    assert_eq!(stage.page("7", of("comments", Status::Open)).await.notifications.len(), 3);
    assert_eq!(stage.page("7", of("orders", Status::Unread)).await.notifications.len(), 3);
    stage.deliver(Draft { category: Some("comments".into()), ..to("7", "new") }).await;
    assert_eq!(stage.state("7").await.unread, 7);
    let since = ChangesQuery { since: 9, ..ChangesQuery::default() };
    let told = stage.inbox.changes_since(APP, "7", since).await.unwrap();
    assert_eq!(told.floors[0].category.as_deref(), Some("comments"));
    assert_eq!(told.notifications.len(), 1);
    stage.reconciles().await;
}

async fn marking_as_unread_below_the_floor_lasts_until_the_next_stroke(kind: Kind) {
    let mut stage = Stage::open(kind).await;
    let id = stage.deliver(to("7", "kept")).await.id;
    stage.deliver(to("7", "other")).await;
    stage.inbox.read_all(APP, "7", 2, None, None).await.unwrap();
    let marked = stage.inbox.mark(APP, "7", id, Mark::Unread).await.unwrap();
    assert_eq!((marked.state.unread, marked.state.unseen), (1, 0));
    assert!(marked.notification.read_at.is_none() && marked.notification.seen_at.is_some());
    let unread = PageQuery { status: Status::Unread, ..PageQuery::default() };
    assert_eq!(stage.page("7", unread.clone()).await.notifications[0].id, id);
    let archived = stage.inbox.mark(APP, "7", id, Mark::Archive).await.unwrap();
    assert_eq!(archived.state.unread, 0);
    assert_eq!(stage.inbox.mark(APP, "7", id, Mark::Unarchive).await.unwrap().state.unread, 1);
    stage.reconciles().await;
    assert_eq!(stage.inbox.read_all(APP, "7", 2, None, None).await.unwrap().unread, 0);
    assert!(stage.page("7", unread).await.notifications.is_empty());
    stage.reconciles().await;
}

async fn a_snoozed_one_is_hidden_and_comes_back_unread_and_unseen(kind: Kind) {
    let mut stage = Stage::open(kind).await;
    let id = stage.deliver(to("7", "later")).await.id;
    stage.inbox.mark(APP, "7", id, Mark::Read).await.unwrap();
    let now = stage.clock.now();
    let a_year = Duration::from_secs(366 * 24 * 60 * 60);
    for until in [now, now.plus(a_year + Duration::from_millis(1))] {
        let refused = stage.inbox.mark(APP, "7", id, Mark::Snooze(until)).await;
        assert!(matches!(refused, Err(InboxError::Invalid(_))), "{until}");
    }
    stage.inbox.mark(APP, "7", id, Mark::Snooze(now.plus(a_year))).await.unwrap();
    let snoozed = stage.inbox.mark(APP, "7", id, Mark::Snooze(now.plus(DAY))).await.unwrap();
    assert_eq!(snoozed.notification.snoozed_until, Some(now.plus(DAY)));
    assert!(stage.page("7", PageQuery::default()).await.notifications.is_empty());
    let of = PageQuery { status: Status::Snoozed, ..PageQuery::default() };
    assert_eq!(stage.page("7", of).await.notifications.len(), 1);
    stage.clock.advance(DAY);
    let inbox = stage.inbox.clone();
    stage.comes_about(|| async { inbox.state(APP, "7").await.unwrap().unread == 1 }).await;
    let state = stage.state("7").await;
    assert_eq!((state.unseen, state.seq), (1, 1));
    let back = stage.inbox.notification(APP, "7", id).await.unwrap();
    assert_eq!((back.read_at, back.seen_at, back.snoozed_until), (None, None, None));
    assert_eq!(back.rev, state.rev);
    stage.reconciles().await;
}

async fn archiving_what_is_read_leaves_what_is_not(kind: Kind) {
    let mut stage = Stage::open(kind).await;
    // One more than a chunk, so that there are two.
    for number in 0..501 {
        stage.accept(to("7", &number.to_string())).await;
    }
    stage.at_rest().await;
    stage.inbox.read_all(APP, "7", 501, None, None).await.unwrap();
    let unread = stage.deliver(to("7", "unread")).await.id;
    let read = stage.deliver(to("7", "read, and newer than meant")).await.id;
    stage.inbox.mark(APP, "7", read, Mark::Read).await.unwrap();
    let state = stage.inbox.archive_read(APP, "7", 502).await.unwrap();
    assert_eq!((state.unread, state.rev), (1, 501 + 1 + 2 + 1 + 501));
    let open = stage.page("7", PageQuery::default()).await;
    assert_eq!(open.notifications.iter().map(|n| n.id).collect::<Vec<_>>(), [read, unread]);
    stage.reconciles().await;
}

async fn seen_up_to_a_number_leaves_unread_alone(kind: Kind) {
    let mut stage = Stage::open(kind).await;
    let mut ids = Vec::new();
    for number in 0..4 {
        ids.push(stage.deliver(to("7", &number.to_string())).await.id);
    }
    let state = stage.inbox.seen(APP, "7", Seen::Ids(vec![ids[3], Uuid::now_v7()])).await.unwrap();
    assert_eq!((state.unread, state.unseen), (4, 3));
    let state = stage.inbox.seen(APP, "7", Seen::UpTo { seq: 2, announced: None }).await.unwrap();
    assert_eq!((state.unread, state.unseen), (4, 1));
    let at_the_bound = Seen::Ids(vec![ids[2]; 100]);
    assert_eq!(stage.inbox.seen(APP, "7", at_the_bound).await.unwrap().unseen, 0);
    let refused = stage.inbox.seen(APP, "7", Seen::Ids(vec![ids[2]; 101])).await;
    assert!(matches!(refused, Err(InboxError::Invalid(mistake)) if mistake.path == "/ids"));
    stage.reconciles().await;
}

async fn a_change_is_told_to_the_users_other_tabs(kind: Kind) {
    let mut stage = Stage::open(kind).await;
    let id = stage.deliver(to("7", "one")).await.id;
    let marked = stage.inbox.mark(APP, "7", id, Mark::Read).await.unwrap();
    let told = stage.told().await;
    let expected =
        Change::Updated { app: APP.into(), user: "7".into(), state: marked.state, changed: vec![id], reset: false };
    assert_eq!(told, expected);
    stage.deliver(to("7", "two")).await;
    let state = stage.inbox.read_all(APP, "7", 2, None, None).await.unwrap();
    let told = stage.told().await;
    let expected = Change::Updated { app: APP.into(), user: "7".into(), state, changed: Vec::new(), reset: true };
    assert_eq!(told, expected);
}
