//! Pages and changes.

use campanile_inbox::{ChangesQuery, Cursor, Draft, InboxError, Mark, PageQuery, Recipients, Status};

use crate::promises;
use crate::stage::{APP, Kind, Stage, to};

promises![
    pages_join_without_a_gap_or_a_repetition_whatever_comes_in_between,
    changes_come_in_their_order_in_pages_of_any_size,
    a_since_of_another_life_is_too_old,
    a_limit_is_one_to_a_hundred,
    who_has_missed_more_than_a_hundred_announcements_reads_the_newest_page,
];

async fn pages_join_without_a_gap_or_a_repetition_whatever_comes_in_between(kind: Kind) {
    let mut stage = Stage::open(kind).await;
    let mut expected = Vec::new();
    for number in 0..25 {
        let draft = match number % 5 {
            4 => Draft::new(Recipients::All(true), "news", format!("announcement {number}")),
            _ => to("7", &format!("own {number}")),
        };
        expected.push(stage.deliver(draft).await.title);
        stage.clock.advance(std::time::Duration::from_secs(1));
    }
    expected.reverse();
    for limit in [1, 3, 7, 24, 25, 100] {
        let mut query = PageQuery { limit: Some(limit), ..PageQuery::default() };
        let mut titles = Vec::new();
        loop {
            let page = stage.page("7", query.clone()).await;
            assert!(page.notifications.len() <= limit && !page.notifications.is_empty());
            titles.extend(page.notifications.into_iter().map(|n| n.title));
            let Some(next) = page.next else { break };
            query.before = Some(Cursor::parse(&next.to_string()).unwrap());
            // It changes no page that is still to come.
            stage.deliver(to("7", "between")).await;
        }
        titles.retain(|title| title != "between");
        assert_eq!(titles, expected, "in pages of {limit}");
    }
    for text in ["", "7", "a-b", "-1-2", "1--2", "1-2-3"] {
        assert!(Cursor::parse(text).is_err(), "{text:?}");
    }
}

async fn changes_come_in_their_order_in_pages_of_any_size(kind: Kind) {
    let mut stage = Stage::open(kind).await;
    let mut ids = Vec::new();
    for number in 0..6 {
        let key = Some(format!("k{number}"));
        ids.push(stage.deliver(Draft { key, ..to("7", &number.to_string()) }).await.id);
    }
    let announced = stage.deliver(Draft::new(Recipients::All(true), "news", "for all")).await.id;
    stage.at_rest().await;
    let before = stage.state("7").await;
    stage.inbox.mark(APP, "7", ids[4], Mark::Read).await.unwrap();
    stage.inbox.cancel(APP, "k1").await.unwrap();
    stage.inbox.mark(APP, "7", announced, Mark::Archive).await.unwrap();
    stage.inbox.mark(APP, "7", ids[0], Mark::Seen).await.unwrap();
    let second = stage.deliver(Draft::new(Recipients::All(true), "news", "more")).await.id;
    for limit in [1, 2, 3, 100] {
        let mut since = before.rev;
        let (mut changed, mut gone) = (Vec::new(), Vec::new());
        loop {
            let query = ChangesQuery { since, announced: Some(before.announced), limit: Some(limit) };
            let page = stage.inbox.changes_since(APP, "7", query).await.unwrap();
            changed.extend(page.notifications.iter().map(|n| n.id));
            gone.extend(page.gone);
            let Some(next) = page.next else { break };
            since = next;
        }
        assert_eq!((changed, gone), (vec![ids[4], announced, ids[0], second], vec![ids[1]]), "in pages of {limit}");
    }
    let nothing = ChangesQuery { since: before.rev + 4, announced: Some(2), limit: None };
    let page = stage.inbox.changes_since(APP, "7", nothing).await.unwrap();
    assert_eq!((page.notifications.len(), page.gone.len(), page.next), (0, 0, None));
}

async fn a_since_of_another_life_is_too_old(kind: Kind) {
    let mut stage = Stage::open(kind).await;
    stage.deliver(to("7", "one")).await;
    for (since, announced, is_known) in
        [(0, None, true), (1, None, true), (2, None, false), (1, Some(0), true), (1, Some(1), false)]
    {
        let query = ChangesQuery { since, announced, limit: None };
        let told = stage.inbox.changes_since(APP, "7", query).await;
        match told {
            Ok(_) => assert!(is_known, "{query:?}"),
            Err(InboxError::TooOld { state }) => assert_eq!((is_known, state.rev), (false, 1), "{query:?}"),
            Err(error) => panic!("{error}"),
        }
    }
    stage.inbox.erase_user(APP, "7").await.unwrap();
    let query = ChangesQuery { since: 1, ..ChangesQuery::default() };
    assert!(matches!(stage.inbox.changes_since(APP, "7", query).await, Err(InboxError::TooOld { .. })));
}

async fn a_limit_is_one_to_a_hundred(kind: Kind) {
    let stage = Stage::open(kind).await;
    for (limit, is_right) in [(0, false), (1, true), (100, true), (101, false)] {
        for status in [Status::Open, Status::Unread, Status::Archived, Status::Snoozed, Status::All] {
            for category in [None, Some("c".to_owned())] {
                let query = PageQuery { limit: Some(limit), status, category, ..PageQuery::default() };
                assert_eq!(stage.inbox.page(APP, "7", query).await.is_ok(), is_right, "{limit}");
            }
        }
        let query = ChangesQuery { limit: Some(limit), ..ChangesQuery::default() };
        assert_eq!(stage.inbox.changes_since(APP, "7", query).await.is_ok(), is_right, "{limit}");
    }
}

async fn who_has_missed_more_than_a_hundred_announcements_reads_the_newest_page(kind: Kind) {
    let stage = Stage::open(kind).await;
    for number in 0..101 {
        stage.accept(Draft::new(Recipients::All(true), "news", number.to_string())).await;
    }
    stage.at_rest().await;
    let since = async |announced| {
        let query = ChangesQuery { since: 0, announced: Some(announced), limit: Some(5) };
        stage.inbox.changes_since(APP, "7", query).await
    };
    assert_eq!(since(1).await.unwrap().notifications.len(), 100);
    assert!(matches!(since(0).await, Err(InboxError::TooOld { state }) if state.announced == 101));
}
