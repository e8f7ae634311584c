//! What notifications ask of the server, and what is refused at the call. What the compiler refuses is tested in
//! `campanile-broadcast-macros`; what the server makes of it, in `live`.

use std::time::{Duration, SystemTime};

use campanile_broadcast::draft::{
    ACTIONS_MAX, BODY_BYTES_MAX, DATA_BYTES_MAX, DELAY_MAX, NAME_BYTES_MAX, RECIPIENTS_MAX, TITLE_BYTES_MAX,
    URL_BYTES_MAX,
};
use campanile_broadcast::{
    Audience, Campanile, Content, Draft, Everyone, Fake, InvalidNotification, Notification, NotificationKind,
    PublishError, Published, Recipient, To, Via,
};
use serde::Serialize;
use serde_json::json;

#[derive(Serialize, Notification)]
#[notification(
    kind = "comment.added",
    category = "comments",
    via = [Inbox, Broadcast, Mail],
    title = format!("{} has commented", self.author),
    body = self.excerpt,
    action_url = format!("/documents/{}", self.document_id),
    when = !self.is_draft,
    queue = "notifications",
    priority = 5,
    tries = 3,
    backoff = [Duration::from_secs(1)]
)]
struct Commented {
    document_id: i64,
    author: String,
    excerpt: String,
    #[serde(skip)]
    is_draft: bool,
}

fn commented() -> Commented {
    Commented { document_id: 7, author: "Ann".to_owned(), excerpt: "I like it".to_owned(), is_draft: false }
}

/// A notification of whatever it is told.
#[derive(Serialize)]
struct Said {
    content: &'static str,
    #[serde(skip)]
    to_read: Content,
    #[serde(skip)]
    via: Vec<Via>,
}

impl NotificationKind for Said {
    const KIND: &'static str = "said";
    const CATEGORY: Option<&'static str> = None;
    const VIA: &'static [Via] = &[Via::Inbox];
}

impl<R: ?Sized> Notification<R> for Said {
    fn to_inbox(&self, _: &R) -> Content {
        self.to_read.clone()
    }

    fn via(&self, _: &R) -> Vec<Via> {
        self.via.clone()
    }
}

fn said(to_read: Content) -> Said {
    Said { content: "", to_read, via: vec![Via::Inbox] }
}

/// A user who wants some things and reads one of two languages.
#[derive(Clone)]
struct User {
    id: i64,
    is_german: bool,
    wants_mail: bool,
}

impl Recipient for User {
    fn to(&self) -> To {
        To::user(self.id)
    }
}

#[derive(Serialize, Notification)]
#[notification(kind = "order.shipped", via = [Inbox, Mail])]
struct Shipped {
    order_id: i64,
    #[serde(skip)]
    by: i64,
}

impl Notification<User> for Shipped {
    fn to_inbox(&self, user: &User) -> Content {
        Content::new(if user.is_german { "Unterwegs" } else { "On its way" }).action("Track", "/orders/7")
    }

    fn via(&self, user: &User) -> Vec<Via> {
        if user.wants_mail { Self::VIA.to_vec() } else { vec![Via::Inbox] }
    }

    fn should_send(&self, user: &User) -> bool {
        user.id != self.by
    }
}

fn user(id: i64, is_german: bool, wants_mail: bool) -> User {
    User { id, is_german, wants_mail }
}

async fn refusal(sent: impl Future<Output = Result<Published, PublishError>>) -> InvalidNotification {
    match sent.await {
        Err(PublishError::Notification { source, .. }) => source,
        other => panic!("{other:?}"),
    }
}

fn json_of(fake: &Fake) -> serde_json::Value {
    let found = std::sync::Mutex::new(Vec::new());
    fake.assert_notified::<Commented>(|_, draft| {
        found.lock().expect("nobody panics here").push(serde_json::to_value(draft).expect("JSON"));
        true
    });
    found.into_inner().expect("nobody panics here").remove(0)
}

#[tokio::test]
async fn what_was_asked_for_is_what_the_server_reads() {
    let fake = Campanile::fake();
    let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(4_070_908_800);
    // Too far ahead for a server, and so for us: it is only looked at.
    let refused = fake.notify(42, commented()).expires_at(moment).send().await;
    assert!(matches!(refused, Err(PublishError::Notification { kind: "comment.added", .. })), "{refused:?}");
    fake.assert_nothing_sent();

    let sent = fake
        .notify(42, commented())
        .about("document", 7)
        .key("comment:9")
        .digest_by("document:7")
        .delay(Duration::from_millis(1500))
        .send()
        .await;
    assert!(matches!(sent, Ok(Published::Queued)));
    assert_eq!(
        json_of(&fake),
        json!({
            "to": { "user": "42" },
            "kind": "comment.added",
            "category": "comments",
            "title": "Ann has commented",
            "body": "I like it",
            "action_url": "/documents/7",
            "data": { "document_id": 7, "author": "Ann", "excerpt": "I like it" },
            "subject": { "type": "document", "id": "7" },
            "key": "comment:9",
            "delay_secs": 2,
            "digest": "document:7",
            "via": ["inbox", "broadcast", "mail"],
        })
    );
}

#[tokio::test]
async fn without_a_key_each_has_one_of_its_own() {
    let fake = Campanile::fake();
    for _ in 0..2 {
        fake.notify(42, commented()).now().await.expect("it is only recorded");
    }
    let keys = std::sync::Mutex::new(std::collections::BTreeSet::new());
    fake.assert_notified::<Commented>(|_, draft| keys.lock().expect("nobody panics here").insert(draft.key.clone()));
    let keys = keys.into_inner().expect("nobody panics here");
    assert!(keys.len() == 2 && keys.iter().all(|key| key.len() == 32), "{keys:?}");
}

#[tokio::test]
async fn recipients_who_read_the_same_share_a_request_and_others_have_their_own_key() {
    let fake = Campanile::fake();
    let team = vec![
        user(1, false, true),
        user(2, true, false),
        user(3, false, true),
        user(4, false, false),
        user(3, false, true),
        user(9, true, true),
    ];
    let sent = fake.notify_each(team, Shipped { order_id: 7, by: 9 }).key("order:7").send().await;
    assert!(matches!(sent, Ok(Published::Queued)));
    fake.assert_notified_times::<Shipped>(3);
    let of = |to: To, title: &str, ways: usize| {
        fake.assert_notified::<Shipped>(|shipped, draft| {
            shipped.order_id == 7
                && draft.to == to
                && draft.title == title
                && draft.via.len() == ways
                && draft.key.starts_with("order:7:")
        });
    };
    of(To::Users(vec!["1".into(), "3".into()]), "On its way", 2);
    of(To::user(2), "Unterwegs", 1);
    of(To::user(4), "On its way", 1);
}

#[tokio::test]
async fn whoever_is_told_the_same_shares_the_callers_key() {
    let fake = Campanile::fake();
    fake.notify_each(["1", "2"], commented()).key("k").rescue().await;
    fake.assert_notified::<Commented>(|_, draft| {
        draft.to == To::Users(vec!["1".into(), "2".into()]) && draft.key == "k"
    });
    fake.assert_notified_times::<Commented>(1);
}

#[tokio::test]
async fn audiences_and_everyone_are_told_as_such() {
    let fake = Campanile::fake();
    fake.notify(Audience("beta"), commented()).rescue().await;
    fake.assert_notified::<Commented>(|_, draft| draft.to == To::Audience("beta".into()));
    fake.notify(Everyone, said(Content::new("Closed on Monday"))).rescue().await;
    fake.assert_notified::<Said>(|_, draft| draft.to == To::Everyone);
}

#[tokio::test]
async fn whoever_is_not_to_be_told_or_by_no_way_is_not_told() {
    let fake = Campanile::fake();
    let draft = Commented { is_draft: true, ..commented() };
    assert!(matches!(fake.notify(1, draft).send().await, Ok(Published::Suppressed)));
    let by_no_way = Said { via: Vec::new(), ..said(Content::new("Hello")) };
    assert!(matches!(fake.notify(1, by_no_way).now().await, Ok(Published::Suppressed)));
    let nobody = fake.notify_each(Vec::<i64>::new(), commented()).send().await;
    assert!(matches!(nobody, Ok(Published::Suppressed)));
    fake.assert_not_notified::<Commented>();
    fake.assert_nothing_sent();
}

#[tokio::test]
#[should_panic = "no notifications::Commented was sent as expected, of 1 that were"]
async fn an_assertion_that_does_not_hold_fails() {
    let fake = Campanile::fake();
    fake.notify(1, commented()).rescue().await;
    fake.assert_notified::<Commented>(|comment, _| comment.document_id == 8);
}

#[tokio::test]
#[should_panic = "these were notified of: [\"comment.added\"]"]
async fn a_notification_is_something_that_was_sent() {
    let fake = Campanile::fake();
    fake.notify(1, commented()).rescue().await;
    fake.assert_nothing_sent();
}

#[tokio::test]
async fn as_many_recipients_as_the_bound_are_told_and_one_more_is_an_error() {
    let fake = Campanile::fake();
    fake.notify_each(0..1000_i64, commented()).now().await.expect("as many as there may be");
    fake.assert_notified::<Commented>(
        |_, draft| matches!(&draft.to, To::Users(users) if users.len() == RECIPIENTS_MAX),
    );
    let refused = refusal(fake.notify_each(0..1001_i64, commented()).now()).await;
    assert_eq!(refused, InvalidNotification::TooManyRecipients { count: 1001 });
    assert!(refused.to_string().contains("make them an audience"));
}

/// A text at one place of a content.
type Written = fn(&str) -> Content;

#[tokio::test]
async fn every_text_is_taken_at_its_bound_and_refused_past_it() {
    let fake = Campanile::fake();
    let long = |count: usize| "x".repeat(count);
    let contents: [(Written, usize); 5] = [
        (|text| Content::new(text), TITLE_BYTES_MAX),
        (|text| Content::new("Title").body(text), BODY_BYTES_MAX),
        (|text| Content::new("Title").action_url(format!("/{}", &text[1..])), URL_BYTES_MAX),
        (|text| Content::new("Title").action(text, "/"), NAME_BYTES_MAX),
        (|text| Content::new("Title").action("Label", format!("/{}", &text[1..])), URL_BYTES_MAX),
    ];
    for (content, max) in contents {
        fake.notify(1, said(content(&long(max)))).now().await.expect("at the bound");
        let refused = refusal(fake.notify(1, said(content(&long(max + 1)))).now()).await;
        assert!(
            matches!(refused, InvalidNotification::TooLong { size, max: bound, .. } if size == max + 1 && bound == max),
            "{refused:?}"
        );
    }
    let plain = || said(Content::new("Title"));
    let name = long(NAME_BYTES_MAX);
    let at_the_bound = fake.notify(name.clone(), plain()).about(&name, &name).key(&name).digest_by(&name).now().await;
    assert!(matches!(at_the_bound, Ok(Published::Sent)), "{at_the_bound:?}");
    let name = long(NAME_BYTES_MAX + 1);
    for refused in [
        refusal(fake.notify(name.clone(), plain()).now()).await,
        refusal(fake.notify(1, plain()).about(&name, 1).now()).await,
        refusal(fake.notify(1, plain()).about("document", &name).now()).await,
        refusal(fake.notify(1, plain()).key(&name).now()).await,
        refusal(fake.notify(1, plain()).digest_by(&name).now()).await,
        refusal(fake.notify(Audience(&name), plain()).now()).await,
    ] {
        assert!(matches!(refused, InvalidNotification::TooLong { max: NAME_BYTES_MAX, .. }), "{refused:?}");
    }

    // `{"content":""}` takes 14 bytes.
    let data = |count: usize| Said { content: long(count).leak(), ..plain() };
    fake.notify(1, data(DATA_BYTES_MAX - 14)).now().await.expect("at the bound");
    let refused = refusal(fake.notify(1, data(DATA_BYTES_MAX - 13)).now()).await;
    assert_eq!(refused, InvalidNotification::TooLong { field: "data", size: DATA_BYTES_MAX + 1, max: DATA_BYTES_MAX });
}

#[tokio::test]
async fn what_no_server_takes_is_an_error_that_says_what_to_do() {
    let fake = Campanile::fake();
    let say = |content| fake.notify(1, said(content)).now();
    assert_eq!(refusal(say(Content::new(" "))).await, InvalidNotification::Empty { field: "title" });
    for url in ["javascript:alert(1)", "//elsewhere", "/a b", "orders/7", ""] {
        let refused = refusal(say(Content::new("Title").action_url(url))).await;
        assert_eq!(refused, InvalidNotification::NotALink { field: "action_url" }, "{url}");
    }
    let buttons = |count| (0..count).fold(Content::new("Title"), |content, at| content.action(at, "/"));
    say(buttons(ACTIONS_MAX)).await.expect("at the bound");
    assert_eq!(refusal(say(buttons(ACTIONS_MAX + 1))).await, InvalidNotification::TooManyActions { count: 3 });
    let zero = Said { content: "\0", ..said(Content::new("Title")) };
    let refused = refusal(fake.notify(1, zero).now()).await;
    assert_eq!(refused, InvalidNotification::ControlCharacter { field: "data" });
    let key = refusal(fake.notify(1, commented()).key("a\nb").now()).await;
    assert_eq!(key, InvalidNotification::ControlCharacter { field: "key" });

    let by = |via: &[Via]| Said { via: via.to_vec(), ..said(Content::new("Title")) };
    let refused = refusal(fake.notify(1, by(&[Via::Broadcast, Via::Mail])).now()).await;
    assert_eq!(refused, InvalidNotification::BroadcastAlone);
    let refused = refusal(fake.notify(Everyone, by(&[Via::Inbox, Via::Mail])).now()).await;
    assert_eq!(refused, InvalidNotification::ViaForEveryone { via: Via::Mail });
    let refused = refusal(fake.notify(Everyone, by(&[Via::Inbox])).digest_by("g").now()).await;
    assert_eq!(refused, InvalidNotification::DigestForEveryone);

    fake.notify(1, by(&[Via::Inbox])).delay(DELAY_MAX).now().await.expect("at the bound");
    let refused = refusal(fake.notify(1, by(&[Via::Inbox])).delay(DELAY_MAX + Duration::from_secs(1)).now()).await;
    assert_eq!(refused, InvalidNotification::TooFarAhead { field: "delay", max: DELAY_MAX });
    let queue = fake.notify(1, commented()).on_queue("no such name").send().await;
    assert!(matches!(queue, Err(PublishError::QueueName { .. })), "{queue:?}");
}

#[derive(Serialize)]
struct Numbers(u8, u8);

impl NotificationKind for Numbers {
    const KIND: &'static str = "numbers";
    const CATEGORY: Option<&'static str> = None;
    const VIA: &'static [Via] = &[Via::Inbox];
}

impl Notification<i64> for Numbers {
    fn to_inbox(&self, _: &i64) -> Content {
        Content::new("Numbers")
    }
}

#[derive(Serialize, Notification)]
#[notification(kind = "closed", title = "Closed on Monday")]
struct Closed;

#[tokio::test]
async fn fields_are_an_object_or_there_are_none() {
    let fake = Campanile::fake();
    assert_eq!(refusal(fake.notify(1_i64, Numbers(1, 2)).now()).await, InvalidNotification::NotAnObject);
    fake.notify(1, Closed).now().await.expect("it has no fields");
    fake.assert_notified::<Closed>(|_, draft: &Draft| {
        draft.data.is_empty() && draft.via == [Via::Inbox, Via::Broadcast]
    });
}

#[test]
fn our_limits_are_the_servers() {
    let limits = campanile_inbox::Limits::default();
    assert_eq!(RECIPIENTS_MAX, limits.recipients);
    assert_eq!(
        [TITLE_BYTES_MAX, BODY_BYTES_MAX, DATA_BYTES_MAX, URL_BYTES_MAX, NAME_BYTES_MAX],
        [limits.title_bytes, limits.body_bytes, limits.data_bytes, limits.url_bytes, limits.name_bytes]
    );
}
