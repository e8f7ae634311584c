//! What only the crate itself can see: how the databases find what they are asked for, and what becomes of a lost writer.

use std::time::Duration;

use sqlx::Row as _;

use crate::draft::{Draft, Recipients};
use crate::error::InboxError;
use crate::page::Status;
use crate::settings::{Settings, StoreUrl};
use crate::store::sql::Dialect;
use crate::store::{pages, users};
use crate::{Inbox, PageQuery};

async fn plan(file: &std::path::Path, sql: &str) -> Vec<String> {
    let pool = sqlx::SqlitePool::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    let explained = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
    let rows = sqlx::query(explained).fetch_all(&pool).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>("detail")).collect()
}

#[tokio::test]
async fn neither_a_state_nor_a_page_scans_a_table() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("a.db");
    let (inbox, _changes) = Inbox::open(Settings::new(StoreUrl::Sqlite(file.clone()))).await.unwrap();
    let state = plan(&file, users::find_statement().of(Dialect::Sqlite)).await;
    assert!(
        !state.iter().any(|step| step.contains("campanile_inbox_notifications") || step.starts_with("SCAN")),
        "{state:#?}"
    );
    assert!(
        !state.iter().any(|step| step.contains(" n ") || step == "SCAN n"),
        "no notification is looked at: {state:#?}"
    );
    for status in [Status::Open, Status::Unread, Status::Archived, Status::Snoozed, Status::All] {
        for has_category in [false, true] {
            let page = plan(&file, pages::page_statement(status, has_category).of(Dialect::Sqlite)).await;
            assert!(page[0].starts_with("SEARCH n USING"), "{status:?} {has_category}: {page:#?}");
            let is_sorted = !page.iter().any(|step| step.contains("TEMP B-TREE"));
            assert!(is_sorted, "{status:?} {has_category}: {page:#?}");
        }
    }
    let open = plan(&file, pages::page_statement(Status::Open, false).of(Dialect::Sqlite)).await;
    assert!(open[0].contains("campanile_inbox_open"), "{open:#?}");
    let unread = plan(&file, pages::page_statement(Status::Unread, false).of(Dialect::Sqlite)).await;
    assert!(unread[0].contains("campanile_inbox_unread"), "{unread:#?}");
    for (is_unread, index) in [(true, "campanile_inbox_unread"), (false, "campanile_inbox_unseen")] {
        let count = plan(&file, users::count_statement(is_unread).of(Dialect::Sqlite)).await;
        assert!(!count.iter().any(|step| step.starts_with("SCAN n")), "{count:#?}");
        let covering = format!("USING COVERING INDEX {index}");
        assert!(count.iter().any(|step| step.contains(&covering)), "{count:#?}");
    }
    inbox.close().await;
}

#[tokio::test]
async fn an_operation_that_goes_wrong_harms_no_other_and_a_lost_writer_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings::new(StoreUrl::Sqlite(directory.path().join("a.db")));
    let (inbox, _changes) = Inbox::open(settings).await.unwrap();
    let draft = |n: u32| Draft { key: Some(n.to_string()), ..Draft::new(Recipients::User("7".into()), "k", "t") };
    let calls: Vec<_> = (0..40)
        .map(|number| {
            let inbox = inbox.clone();
            tokio::spawn(async move {
                match number % 10 {
                    9 => inbox.panic_in_an_operation().await.map(|()| None),
                    _ => inbox.accept("a", draft(number)).await.map(Some),
                }
            })
        })
        .collect();
    let mut outcomes = Vec::new();
    for call in calls {
        outcomes.push(call.await.unwrap());
    }
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 36);
    assert!(outcomes.iter().flat_map(Result::as_ref).all(Option::is_some));
    let broken = |outcome: &&Result<_, InboxError>| matches!(outcome, Err(InboxError::Broken { reason }) if reason.contains("planted"));
    assert_eq!(outcomes.iter().filter(broken).count(), 4);
    assert_eq!(inbox.depths().await.unwrap().writers_replaced, 0);

    // The writer itself is lost, with what it has taken.
    let lost = tokio::time::timeout(Duration::from_secs(10), inbox.lose_the_writer()).await.expect("nobody hangs");
    assert!(matches!(lost, Err(InboxError::Unavailable { .. })), "{lost:?}");
    inbox.accept("a", draft(1000)).await.unwrap();
    assert_eq!(inbox.depths().await.unwrap().writers_replaced, 1);
    assert_eq!(inbox.page("a", "7", PageQuery::default()).await.unwrap().notifications.len(), 0);
    assert_eq!(inbox.depths().await.unwrap().jobs_due, 37);
}

#[tokio::test]
async fn a_store_whose_file_has_gone_says_so_and_can_be_closed() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings::new(StoreUrl::Sqlite(directory.path().join("inside/a.db")));
    std::fs::create_dir(directory.path().join("inside")).unwrap();
    let (inbox, _changes) = Inbox::open(settings).await.unwrap();
    // The writer is lost, and there is no directory any more in which another one could open the file.
    std::fs::remove_dir_all(directory.path().join("inside")).unwrap();
    drop(inbox.lose_the_writer().await);
    let draft = Draft::new(Recipients::User("7".into()), "k", "t");
    let refused = inbox.accept("a", draft).await;
    assert!(matches!(refused, Err(InboxError::Unavailable { .. })), "{refused:?}");
    tokio::time::timeout(Duration::from_secs(10), inbox.close()).await.expect("it ends");
}
