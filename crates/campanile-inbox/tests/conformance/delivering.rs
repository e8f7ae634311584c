//! Deliveries beyond the socket.

use std::time::Duration;

use campanile_inbox::{
    Channel, Contact, Delivery, DeliveryState, Draft, InboxError, Mark, Settlement, Taken, Thing, Uuid,
};

use crate::promises;
use crate::stage::{APP, Kind, Stage, to};

promises![
    a_mail_waits_its_time_and_is_written_down_before_it_is_tried,
    what_fails_is_tried_again_and_what_is_given_up_is_not,
    what_was_being_tried_when_a_process_died_is_unknown_and_not_sent_again,
    what_the_user_has_seen_elsewhere_is_not_sent,
    a_digest_is_mailed_once_with_all_that_was_gathered,
    a_mail_without_an_inbox_has_its_words_all_the_same,
    two_who_claim_get_different_deliveries,
];

const MINUTE: Duration = Duration::from_secs(60);

fn mailed(user: &str, title: &str) -> Draft {
    Draft { via: Some(vec![Channel::Inbox, Channel::Mail]), ..to(user, title) }
}

async fn stage_with_address(kind: Kind) -> Stage {
    let stage = Stage::open(kind).await;
    let contact = Contact { email: Some("seven@example.com".into()), ..Contact::default() };
    stage.inbox.put_user(APP, "7", contact).await.unwrap();
    stage
}

async fn claim(stage: &Stage) -> Vec<Delivery> {
    stage.inbox.claim_deliveries(10).await.unwrap()
}

async fn record(stage: &Stage) -> (DeliveryState, Option<String>) {
    let record = stage.inbox.deliveries(APP, "7", None, 1).await.unwrap().remove(0);
    (record.state, record.reason)
}

async fn a_mail_waits_its_time_and_is_written_down_before_it_is_tried(kind: Kind) {
    let mut stage = stage_with_address(kind).await;
    let sent = stage.deliver(mailed("7", "t")).await;
    stage.clock.advance(10 * MINUTE - Duration::from_millis(1));
    assert!(claim(&stage).await.is_empty());
    stage.clock.advance(Duration::from_millis(1));
    let claimed = claim(&stage).await;
    let [delivery] = &claimed[..] else { panic!("{claimed:?}") };
    assert_eq!((delivery.app.as_str(), delivery.user.as_str(), delivery.channel), (APP, "7", Channel::Mail));
    assert_eq!(delivery.contact.email.as_deref(), Some("seven@example.com"));
    assert_eq!((delivery.notification.id, delivery.attempt), (sent.id, 1));
    assert_eq!(record(&stage).await.0, DeliveryState::Trying);
    assert!(claim(&stage).await.is_empty(), "nobody gets it twice");
    stage.inbox.settle_delivery(delivery.id, 1, Settlement::Sent).await.unwrap();
    assert_eq!(record(&stage).await.0, DeliveryState::Sent);
    let again = stage.inbox.settle_delivery(delivery.id, 1, Settlement::Sent).await;
    assert!(matches!(again, Err(InboxError::Unknown(Thing::Delivery))));
}

async fn what_fails_is_tried_again_and_what_is_given_up_is_not(kind: Kind) {
    let mut stage = stage_with_address(kind).await;
    stage.deliver(mailed("7", "t")).await;
    stage.clock.advance(10 * MINUTE);
    let first = claim(&stage).await.remove(0);
    let again = Settlement::Again { after: MINUTE, reason: "greylisted".into() };
    stage.inbox.settle_delivery(first.id, first.attempt, again).await.unwrap();
    assert_eq!(record(&stage).await, (DeliveryState::Waiting, Some("greylisted".into())));
    assert!(claim(&stage).await.is_empty());
    stage.clock.advance(MINUTE);
    let second = claim(&stage).await.remove(0);
    assert_eq!((second.id, second.attempt), (first.id, 2));
    let late = stage.inbox.settle_delivery(first.id, 1, Settlement::Sent).await;
    assert!(late.is_err(), "an earlier attempt changes nothing any more");
    let failed = Settlement::Failed { reason: "no such user".into() };
    stage.inbox.settle_delivery(second.id, 2, failed).await.unwrap();
    assert_eq!(record(&stage).await, (DeliveryState::Failed, Some("no such user".into())));
    stage.clock.advance(10 * MINUTE);
    assert!(claim(&stage).await.is_empty());
}

async fn what_was_being_tried_when_a_process_died_is_unknown_and_not_sent_again(kind: Kind) {
    let mut stage = stage_with_address(kind).await;
    stage.deliver(mailed("7", "t")).await;
    stage.clock.advance(10 * MINUTE);
    let claimed = claim(&stage).await.remove(0);
    stage.clock.advance(stage.settings.delivery_lease);
    let inbox = stage.inbox.clone();
    stage
        .comes_about(|| async { inbox.deliveries(APP, "7", None, 1).await.unwrap()[0].state == DeliveryState::Unknown })
        .await;
    stage.clock.advance(10 * MINUTE);
    assert!(claim(&stage).await.is_empty());
    let late = stage.inbox.settle_delivery(claimed.id, claimed.attempt, Settlement::Sent).await;
    assert!(matches!(late, Err(InboxError::Unknown(Thing::Delivery))));
}

async fn what_the_user_has_seen_elsewhere_is_not_sent(kind: Kind) {
    let mut stage = stage_with_address(kind).await;
    let mut ids = Vec::new();
    for number in 0..6 {
        ids.push(stage.deliver(mailed("7", &number.to_string())).await.id);
    }
    stage.inbox.mark(APP, "7", ids[0], Mark::Read).await.unwrap();
    stage.inbox.mark(APP, "7", ids[1], Mark::Archive).await.unwrap();
    let gone = Taken::Ids(vec![ids[2], Uuid::now_v7()]);
    assert_eq!(stage.inbox.taken(APP, "7", gone).await.unwrap(), 1);
    assert_eq!(stage.inbox.taken(APP, "7", Taken::UpToSeq(4)).await.unwrap(), 1);
    assert_eq!(stage.inbox.taken(APP, "nobody", Taken::UpToSeq(9)).await.unwrap(), 0);
    stage.clock.advance(10 * MINUTE);
    let claimed = claim(&stage).await;
    assert_eq!(claimed.iter().map(|d| d.notification.id).collect::<Vec<_>>(), [ids[4], ids[5]]);
    assert!(stage.inbox.taken(APP, "7", Taken::Ids(vec![ids[0]; 101])).await.is_err());
}

async fn a_digest_is_mailed_once_with_all_that_was_gathered(kind: Kind) {
    let mut stage = stage_with_address(kind).await;
    for title in ["one", "two", "three"] {
        stage.accept(Draft { digest: Some("d".into()), ..mailed("7", title) }).await;
        stage.at_rest().await;
    }
    stage.clock.advance(10 * MINUTE);
    let claimed = claim(&stage).await;
    assert_eq!(claimed.len(), 1);
    assert_eq!((claimed[0].notification.title.as_str(), claimed[0].notification.group_count), ("three", 3));
    assert!(stage.told().await != stage.told().await, "each is told");
}

async fn a_mail_without_an_inbox_has_its_words_all_the_same(kind: Kind) {
    let stage = stage_with_address(kind).await;
    let draft = Draft { via: Some(vec![Channel::Mail]), key: Some("k".into()), ..to("7", "only by mail") };
    stage.accept(draft.clone()).await;
    stage.accept(Draft { key: Some("back".into()), ..draft }).await;
    stage.at_rest().await;
    assert_eq!(stage.state("7").await.seq, 0);
    stage.inbox.cancel(APP, "back").await.unwrap();
    stage.clock.advance(10 * MINUTE);
    let claimed = claim(&stage).await;
    assert_eq!(claimed.len(), 1, "the other one was taken back");
    assert_eq!((claimed[0].notification.title.as_str(), claimed[0].notification.seq), ("only by mail", 0));
}

async fn two_who_claim_get_different_deliveries(kind: Kind) {
    let stage = stage_with_address(kind).await;
    for number in 0..40 {
        stage.accept(mailed("7", &number.to_string())).await;
    }
    stage.at_rest().await;
    stage.clock.advance(10 * MINUTE);
    let claims = (0..8).map(|_| {
        let inbox = stage.inbox.clone();
        tokio::spawn(async move { inbox.claim_deliveries(7).await.unwrap() })
    });
    let mut ids = Vec::new();
    for claim in claims.collect::<Vec<_>>() {
        let claimed = claim.await.unwrap();
        assert!(claimed.len() <= 7);
        ids.extend(claimed.into_iter().map(|delivery| delivery.id));
    }
    while let [_, ..] = &claim(&stage).await.into_iter().map(|d| ids.push(d.id)).collect::<Vec<_>>()[..] {}
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), count), (40, 40));
}
