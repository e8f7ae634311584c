//! One row for many.

use std::time::Duration;

use campanile_inbox::{
    Change, ChangesQuery, Draft, InboxError, JobState, Mark, PageQuery, Recipients, Seen, Status, Thing,
};

use crate::promises;
use crate::stage::{APP, DAY, Kind, Stage, to};

promises![
    what_everybody_gets_is_one_row_and_a_state_only_where_it_is_touched,
    a_small_audience_gets_rows_and_a_large_one_an_announcement,
    who_joins_an_audience_later_is_not_shown_what_was_announced_before,
    an_announcement_that_is_taken_back_is_gone_for_who_comes_back,
    too_many_announcements_are_a_dead_job_that_can_be_retried,
    an_announcement_of_a_category_heeds_the_users_choice,
    an_announcement_can_be_snoozed_and_expires,
];

fn to_all(title: &str) -> Draft {
    Draft::new(Recipients::All(true), "news", title)
}

async fn what_everybody_gets_is_one_row_and_a_state_only_where_it_is_touched(kind: Kind) {
    let mut stage = Stage::open(kind).await;
    stage.deliver(to("7", "own")).await;
    let id = stage.accept(to_all("news")).await;
    let Change::Announced { app, audience: None, notification } = stage.told().await else {
        panic!("an announcement was to be told");
    };
    assert_eq!((app.as_str(), notification.id, notification.seq), (APP, id, 1));
    let state = stage.state("7").await;
    assert_eq!((state.unread, state.unseen, state.seq, state.rev, state.announced), (2, 2, 1, 1, 1));
    // Somebody who has never been seen has it, too.
    assert_eq!(stage.state("stranger").await.unread, 1);
    assert_eq!(stage.page("stranger", PageQuery::default()).await.notifications[0].id, id);
    assert_eq!(stage.inbox.notification(APP, "stranger", id).await.unwrap().title, "news");
    let touched = "SELECT count(*) FROM campanile_inbox_announcement_states";
    assert_eq!(stage.ask(touched).await, 0);
    let marked = stage.inbox.mark(APP, "stranger", id, Mark::Read).await.unwrap();
    assert_eq!((marked.state.unread, marked.state.unseen, marked.state.rev), (0, 0, 1));
    assert_eq!(stage.ask(touched).await, 1);
    // At a stroke none is touched.
    let state = stage.inbox.read_all(APP, "7", 1, Some(1), None).await.unwrap();
    assert_eq!((state.unread, state.unseen), (0, 0));
    assert_eq!(stage.ask(touched).await, 1);
    assert!(stage.inbox.notification(APP, "7", id).await.unwrap().read_at.is_some());
    let marked = stage.inbox.mark(APP, "7", id, Mark::Unread).await.unwrap();
    assert_eq!((marked.state.unread, marked.state.unseen), (1, 0));
    let unread = PageQuery { status: Status::Unread, ..PageQuery::default() };
    assert_eq!(stage.page("7", unread.clone()).await.notifications.len(), 1);
    assert_eq!(stage.inbox.read_all(APP, "7", 1, Some(1), None).await.unwrap().unread, 0);
    assert!(stage.page("7", unread).await.notifications.is_empty());
    stage.deliver(to_all("more")).await;
    assert_eq!(stage.state("7").await.unread, 1);
    let state = stage.inbox.seen(APP, "7", Seen::UpTo { seq: 0, announced: Some(2) }).await.unwrap();
    assert_eq!((state.unread, state.unseen), (1, 0));
    let state = stage.inbox.read_all(APP, "7", 0, None, None).await.unwrap();
    assert_eq!(state.unread, 1, "without its number no announcement is touched");
    assert_eq!(stage.inbox.state("another app", "7").await.unwrap().unread, 0);
}

async fn a_small_audience_gets_rows_and_a_large_one_an_announcement(kind: Kind) {
    let mut stage = Stage::with(kind, |settings| settings.limits.recipients = 3).await;
    let names = |range: std::ops::Range<u32>| range.map(|n| format!("u{n}")).collect::<Vec<_>>();
    assert_eq!(stage.inbox.edit_audience(APP, "team", names(0..3), Vec::new()).await.unwrap(), 3);
    let draft = || Draft::new(Recipients::Audience("team".into()), "news", "for the team");
    let sent = stage.deliver(draft()).await;
    assert!(!sent.announcement, "at the bound each gets a row");
    stage.at_rest().await;
    assert_eq!(stage.inbox.edit_audience(APP, "team", names(2..5), names(0..1)).await.unwrap(), 4);
    let sent = stage.deliver(draft()).await;
    assert!(sent.announcement, "past it there is one for all");
    assert_eq!(stage.state("u4").await.unread, 1);
    assert_eq!(stage.state("u2").await.unread, 2);
    assert_eq!(stage.state("u0").await.unread, 1, "who has left has what came before");
    assert_eq!(stage.state("stranger").await.unread, 0);
    let refused = stage.inbox.mark(APP, "stranger", sent.id, Mark::Read).await;
    assert!(matches!(refused, Err(InboxError::Unknown(Thing::Notification))));
    let members = stage.inbox.audience_members(APP, "team", None, 2).await.unwrap();
    assert_eq!(members, ["u1", "u2"]);
    assert_eq!(stage.inbox.audience_members(APP, "team", Some("u2"), 10).await.unwrap(), ["u3", "u4"]);
    let among = stage.inbox.members_among(APP, "team", vec!["u4".into(), "x".into()]).await.unwrap();
    assert_eq!(among, ["u4"]);
}

async fn who_joins_an_audience_later_is_not_shown_what_was_announced_before(kind: Kind) {
    let mut stage = Stage::with(kind, |settings| settings.limits.recipients = 1).await;
    let edit = async |add: &[&str], remove: &[&str]| {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        stage.inbox.edit_audience(APP, "team", owned(add), owned(remove)).await.unwrap()
    };
    edit(&["1", "2"], &[]).await;
    let id = stage.accept(Draft::new(Recipients::Audience("team".into()), "news", "old")).await;
    stage.at_rest().await;
    let Change::Announced { audience, notification, .. } = stage.changes.next().await.unwrap() else {
        panic!("it is large");
    };
    assert_eq!((audience.as_deref(), notification.id), (Some("team"), id));
    stage.inbox.edit_audience(APP, "team", vec!["3".into()], Vec::new()).await.unwrap();
    assert_eq!(stage.state("3").await.unread, 0);
    stage.deliver(Draft::new(Recipients::Audience("team".into()), "news", "new")).await;
    assert_eq!(stage.state("3").await.unread, 1);
    assert_eq!(stage.state("1").await.unread, 2);
}

async fn an_announcement_that_is_taken_back_is_gone_for_who_comes_back(kind: Kind) {
    let mut stage = Stage::open(kind).await;
    let sent = stage.deliver(Draft { key: Some("k".into()), ..to_all("a mistake") }).await;
    stage.at_rest().await;
    stage.inbox.mark(APP, "7", sent.id, Mark::Archive).await.unwrap();
    let taken_back = stage.inbox.cancel(APP, "k").await.unwrap();
    assert_eq!((taken_back.cancelled, taken_back.retracted), (0, 1));
    while stage.told().await != (Change::Reset { app: APP.into() }) {}
    assert!(stage.all("7").await.is_empty() && stage.all("stranger").await.is_empty());
    assert_eq!(stage.state("stranger").await.unread, 0);
    let query = ChangesQuery { since: 1, announced: Some(1), limit: None };
    assert_eq!(stage.inbox.changes_since(APP, "7", query).await.unwrap().gone, [sent.id]);
    stage.clock.advance(31 * DAY);
    let inbox = stage.inbox.clone();
    stage.comes_about(|| async { inbox.changes_since(APP, "7", query).await.is_err() }).await;
    assert!(matches!(inbox.changes_since(APP, "7", query).await, Err(InboxError::TooOld { .. })));
}

async fn too_many_announcements_are_a_dead_job_that_can_be_retried(kind: Kind) {
    let mut stage = Stage::with(kind, |settings| settings.limits.announcements = 2).await;
    stage.deliver(Draft { key: Some("first".into()), ..to_all("1") }).await;
    stage.deliver(to_all("2")).await;
    stage.accept(to_all("one too many")).await;
    let inbox = stage.inbox.clone();
    stage.comes_about(|| async { inbox.depths().await.unwrap().jobs_dead == 1 }).await;
    let dead = inbox.jobs(APP, JobState::Dead, None, 10).await.unwrap();
    assert!(dead[0].error.as_ref().unwrap().contains("2 announcements"), "{dead:?}");
    assert!(inbox.jobs(APP, JobState::Waiting, None, 10).await.unwrap().is_empty());
    assert!(matches!(inbox.retry_job(APP, dead[0].id + 1).await, Err(InboxError::Unknown(Thing::Job))));
    assert!(matches!(inbox.retry_job("other", dead[0].id).await, Err(InboxError::Unknown(Thing::Job))));
    inbox.cancel(APP, "first").await.unwrap();
    inbox.retry_job(APP, dead[0].id).await.unwrap();
    stage.comes_about(|| async { inbox.state(APP, "7").await.unwrap().unread == 2 }).await;
    stage.at_rest().await;
    assert!(inbox.jobs(APP, JobState::Dead, None, 10).await.unwrap().is_empty());
}

async fn an_announcement_of_a_category_heeds_the_users_choice(kind: Kind) {
    use campanile_inbox::{Category, Channel, Switches};
    let mut stage = Stage::open(kind).await;
    let quiet =
        Category { label: "Offers".into(), default: Switches::from([(Channel::Inbox, false)]), ..Category::default() };
    stage.inbox.put_category(APP, "offers", quiet).await.unwrap();
    let off = Category { label: "News".into(), ..Category::default() };
    stage.inbox.put_category(APP, "news", off).await.unwrap();
    stage.inbox.set_preference(APP, "7", "news", Switches::from([(Channel::Inbox, false)])).await.unwrap();
    stage.inbox.set_preference(APP, "8", "offers", Switches::from([(Channel::Inbox, true)])).await.unwrap();
    stage.deliver(Draft { category: Some("news".into()), ..to_all("n") }).await;
    stage.deliver(Draft { category: Some("offers".into()), ..to_all("o") }).await;
    let titles = async |user| stage.all(user).await.into_iter().map(|n| n.title).collect::<Vec<_>>();
    assert_eq!((titles("7").await, stage.state("7").await.unread), (Vec::new(), 0));
    assert_eq!((titles("8").await, stage.state("8").await.unread), (vec!["o".to_owned(), "n".to_owned()], 2));
    assert_eq!((titles("stranger").await, stage.state("stranger").await.unread), (vec!["n".to_owned()], 1));
    let state = stage.inbox.read_all(APP, "8", 0, Some(2), Some("news")).await.unwrap();
    assert_eq!(state.unread, 1);
}

async fn an_announcement_can_be_snoozed_and_expires(kind: Kind) {
    let mut stage = Stage::open(kind).await;
    let until = stage.clock.now().plus(2 * DAY);
    let sent = stage.deliver(Draft { expires_at: Some(until), ..to_all("for two days") }).await;
    let snoozed = Mark::Snooze(stage.clock.now().plus(DAY));
    assert_eq!(stage.inbox.mark(APP, "7", sent.id, snoozed).await.unwrap().state.unread, 0);
    stage.clock.advance(DAY);
    let inbox = stage.inbox.clone();
    stage.comes_about(|| async { inbox.state(APP, "7").await.unwrap().unread == 1 }).await;
    assert_eq!(stage.state("7").await.unseen, 1);
    stage.clock.advance(DAY - Duration::from_millis(1));
    assert_eq!(stage.state("stranger").await.unread, 1);
    stage.clock.advance(Duration::from_millis(1));
    assert_eq!((stage.state("7").await.unread, stage.state("stranger").await.unread), (0, 0));
    stage.comes_about(|| async { inbox.state(APP, "7").await.unwrap().announced == 2 }).await;
    let query = ChangesQuery { since: 0, announced: Some(1), limit: None };
    assert_eq!(stage.inbox.changes_since(APP, "8", query).await.unwrap().gone, [sent.id]);
}
