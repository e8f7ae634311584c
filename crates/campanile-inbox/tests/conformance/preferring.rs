//! What users want, and what is known of them.

use campanile_inbox::{
    Accepted, Category, Change, Channel, Contact, DeliveryState, Draft, InboxError, PushKeys, PushSubscription,
    Recipients, Switches, Thing,
};

use crate::promises;
use crate::stage::{APP, Kind, Stage, to};

promises![
    what_a_user_does_not_want_is_suppressed_and_why_is_kept,
    what_is_required_cannot_be_switched_off,
    categories_are_bounded_and_checked,
    an_erased_user_is_gone_and_what_waits_for_them_as_well,
    an_export_has_everything,
    browsers_are_bounded_and_belong_to_one_user,
];

fn category(label: &str) -> Category {
    Category { label: label.into(), ..Category::default() }
}

async fn what_a_user_does_not_want_is_suppressed_and_why_is_kept(kind: Kind) {
    let mut stage = Stage::open(kind).await;
    stage.inbox.put_category(APP, "comments", category("Comments")).await.unwrap();
    let set = async |user, channel, on| {
        stage.inbox.set_preference(APP, user, "comments", Switches::from([(channel, on)])).await.unwrap()
    };
    set("quiet", Channel::Inbox, false).await;
    set("calm", Channel::Broadcast, false).await;
    set("loud", Channel::Mail, true).await;
    let users = ["calm", "loud", "quiet"].map(str::to_owned).to_vec();
    let via = Some(vec![Channel::Inbox, Channel::Broadcast, Channel::Mail]);
    let draft = Draft { category: Some("comments".into()), via, ..Draft::new(Recipients::Users(users), "k", "t") };
    stage.accept(draft).await;
    stage.at_rest().await;
    let mut told = Vec::new();
    for _ in 0..2 {
        let Change::Arrived { user, broadcast, .. } = stage.told().await else { panic!("an arrival was to come") };
        told.push((user, broadcast));
    }
    assert_eq!(told, [("calm".to_owned(), false), ("loud".to_owned(), true)]);
    assert_eq!(stage.state("quiet").await.seq, 0);
    let records = async |user| {
        let records = stage.inbox.deliveries(APP, user, None, 10).await.unwrap();
        let mut records: Vec<_> = records
            .into_iter()
            .inspect(|record| assert_eq!(record.state, DeliveryState::Suppressed))
            .map(|record| (record.channel, record.reason.unwrap()))
            .collect();
        records.sort();
        records
    };
    let because = |channel, reason: &str| (channel, reason.to_owned());
    assert_eq!(
        records("quiet").await,
        [
            because(Channel::Inbox, "preference"),
            because(Channel::Broadcast, "not_in_inbox"),
            because(Channel::Mail, "no_address")
        ]
    );
    assert_eq!(
        records("calm").await,
        [because(Channel::Broadcast, "preference"), because(Channel::Mail, "no_address")]
    );
    assert_eq!(records("loud").await, [because(Channel::Mail, "no_address")]);
}

async fn what_is_required_cannot_be_switched_off(kind: Kind) {
    let mut stage = Stage::open(kind).await;
    let strict = Category { required: vec![Channel::Inbox], ..category("Security") };
    stage.inbox.put_category(APP, "security", category("Security")).await.unwrap();
    let off = Switches::from([(Channel::Inbox, false), (Channel::Mail, false)]);
    stage.inbox.set_preference(APP, "7", "security", off.clone()).await.unwrap();
    stage.inbox.put_category(APP, "security", strict).await.unwrap();
    let refused = stage.inbox.set_preference(APP, "7", "security", off).await;
    assert!(matches!(refused, Err(InboxError::Required { channel: Channel::Inbox, .. })), "{refused:?}");
    let wanted = stage.inbox.preferences(APP, "7").await.unwrap();
    let wanted = &wanted.categories[0];
    assert_eq!((wanted.category.as_str(), wanted.label.as_str()), ("security", "Security"));
    assert_eq!((wanted.channels[&Channel::Inbox], wanted.channels[&Channel::Mail]), (true, false));
    assert_eq!(wanted.required, [Channel::Inbox]);
    let sent = stage.deliver(Draft { category: Some("security".into()), ..to("7", "t") }).await;
    assert_eq!(sent.seq, 1, "what was chosen before is not heeded any more");
    let unknown = stage.inbox.set_preference(APP, "7", "other", Switches::new()).await;
    assert!(matches!(unknown, Err(InboxError::Unknown(Thing::Category))));
}

async fn categories_are_bounded_and_checked(kind: Kind) {
    let stage = Stage::with(kind, |settings| settings.limits.categories = 2).await;
    stage.inbox.put_category(APP, "b", category("B")).await.unwrap();
    stage.inbox.put_category(APP, "a", category("A")).await.unwrap();
    stage.inbox.put_category(APP, "a", category("A again")).await.unwrap();
    let refused = stage.inbox.put_category(APP, "c", category("C")).await;
    assert!(matches!(refused, Err(InboxError::Invalid(mistake)) if mistake.code == "too_many"));
    let all = stage.inbox.categories(APP).await.unwrap();
    let all: Vec<_> = all.iter().map(|named| (named.category.as_str(), named.terms.label.as_str())).collect();
    assert_eq!(all, [("a", "A again"), ("b", "B")]);
    let both =
        Category { default: Switches::from([(Channel::Mail, false)]), required: vec![Channel::Mail], ..category("x") };
    let refused = stage.inbox.put_category(APP, "a", both).await;
    assert!(matches!(refused, Err(InboxError::Invalid(mistake)) if mistake.path == "/default/mail"));
}

async fn an_erased_user_is_gone_and_what_waits_for_them_as_well(kind: Kind) {
    let mut stage = Stage::open(kind).await;
    let contact = Contact { email: Some("a@b.example".into()), ..Contact::default() };
    stage.inbox.put_user(APP, "7", contact).await.unwrap();
    stage.inbox.put_category(APP, "c", category("C")).await.unwrap();
    stage.inbox.set_preference(APP, "7", "c", Switches::from([(Channel::Mail, true)])).await.unwrap();
    stage.inbox.edit_audience(APP, "team", vec!["7".into(), "8".into()], Vec::new()).await.unwrap();
    let via = Some(vec![Channel::Inbox, Channel::Mail]);
    stage.deliver(Draft { via, digest: Some("d".into()), ..to("7", "t") }).await;
    stage.at_rest().await;
    let later = |to| Draft { delay_secs: Some(60), ..Draft::new(to, "k", "later") };
    stage.accept(later(Recipients::User("7".into()))).await;
    stage.accept(later(Recipients::Users(vec!["7".into(), "8".into()]))).await;
    let erased = stage.inbox.erase_user(APP, "7").await.unwrap();
    let found = (erased.known, erased.notifications, erased.deliveries, erased.audiences, erased.waiting);
    assert_eq!(found, (true, 1, 1, 1, 2));
    stage.clock.advance(std::time::Duration::from_secs(60));
    assert_eq!(stage.arrives().await.0, "8");
    stage.at_rest().await;
    assert_eq!(stage.state("7").await, campanile_inbox::State::default());
    assert_eq!(stage.inbox.members_among(APP, "team", vec!["7".into(), "8".into()]).await.unwrap(), ["8"]);
    for table in ["users", "notifications", "deliveries", "preferences", "digested", "tombstones", "floors", "members"]
    {
        let (column, value) = match table {
            "users" | "members" => ("name", "'7'".to_owned()),
            _ => ("user_id", "1".to_owned()),
        };
        let left = format!("SELECT count(*) FROM campanile_inbox_{table} WHERE {column} = {value}");
        assert_eq!(stage.ask(&left).await, 0, "{table}");
    }
    assert!(!stage.inbox.erase_user(APP, "7").await.unwrap().known);
}

async fn an_export_has_everything(kind: Kind) {
    let mut stage = Stage::open(kind).await;
    let contact = Contact { email: Some("a@b.example".into()), locale: Some("de-AT".into()), tz: None };
    stage.inbox.put_user(APP, "7", contact.clone()).await.unwrap();
    for wrong in ["a", "a@b", "@b.c", "a b@c.d"] {
        let contact = Contact { email: Some(wrong.into()), ..Contact::default() };
        assert!(stage.inbox.put_user(APP, "7", contact).await.is_err(), "{wrong}");
    }
    stage.inbox.edit_audience(APP, "team", vec!["7".into()], Vec::new()).await.unwrap();
    let sent = stage.deliver(Draft { via: Some(vec![Channel::Inbox, Channel::Mail]), ..to("7", "t") }).await;
    stage.inbox.mark(APP, "7", sent.id, campanile_inbox::Mark::Archive).await.unwrap();
    let export = stage.inbox.export_user(APP, "7").await.unwrap();
    assert_eq!((export.contact, export.audiences), (contact, vec!["team".to_owned()]));
    assert_eq!((export.notifications[0].id, export.deliveries[0].state), (sent.id, DeliveryState::Taken));
}

async fn browsers_are_bounded_and_belong_to_one_user(kind: Kind) {
    let stage = Stage::with(kind, |settings| settings.limits.push_subscriptions = 2).await;
    let browser = |number: u32| PushSubscription {
        endpoint: format!("https://push.example/{number}"),
        keys: PushKeys { p256dh: "BPub_-key".into(), auth: "secret".into() },
    };
    let of = async |user| {
        let all = stage.inbox.push_subscriptions(APP, user).await.unwrap();
        all.into_iter().map(|browser| browser.endpoint.chars().last().unwrap()).collect::<String>()
    };
    for number in 1..=3 {
        stage.inbox.add_push_subscription(APP, "7", browser(number)).await.unwrap();
        stage.clock.advance(std::time::Duration::from_secs(1));
    }
    assert_eq!(of("7").await, "23", "the oldest has made room");
    stage.inbox.add_push_subscription(APP, "8", browser(3)).await.unwrap();
    assert_eq!((of("7").await, of("8").await), ("2".to_owned(), "3".to_owned()));
    assert!(!stage.inbox.remove_push_subscription(APP, "7", &browser(3).endpoint).await.unwrap());
    assert!(stage.inbox.remove_push_subscription(APP, "8", &browser(3).endpoint).await.unwrap());
    let insecure = PushSubscription { endpoint: "http://push.example/1".into(), ..browser(1) };
    assert!(matches!(
        stage.inbox.add_push_subscription(APP, "7", insecure).await,
        Err(InboxError::Invalid(mistake)) if mistake.path == "/endpoint"
    ));
    assert!(matches!(stage.inbox.accept(APP, to("7", "t")).await, Ok(Accepted::Accepted { .. })));
}
