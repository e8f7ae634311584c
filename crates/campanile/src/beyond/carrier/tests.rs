//! The whole way from a stored notification to a browser: a real store with a clock that is set by hand, a push service of the
//! tests' own with a certificate of its own, and a browser that decrypts.

use std::fs;
use std::future::pending;

use campanile_hub::letter::Homes;
use campanile_hub::{App, AppIndex, Apps, Receipt};
use campanile_inbox::{
    Channel, Clock, Contact, DeliveryRecord, DeliveryState, Draft, PushKeys, PushSubscription, Recipients, Settings,
    StoreUrl, Timestamp, Uuid,
};
use tokio::sync::mpsc::UnboundedReceiver;

use super::*;
use crate::beyond::sealed::tests::Browser;
use crate::beyond::vapid::tests::claims;
use crate::beyond::ways::Ways;
use crate::beyond::web_push::tests::{Received, secure_service};
use crate::config::Config;

const APP: &str = "shop";
const PATIENCE: Duration = Duration::from_secs(20);
const UNTAKEN_AFTER: Duration = Duration::from_secs(180);
const CREATED: &str = "HTTP/1.1 201 Created\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const GONE: &str = "HTTP/1.1 410 Gone\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const BUSY: &str = "HTTP/1.1 429 Busy\r\nretry-after: 77\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

struct Stage {
    inbox: Inbox,
    clock: Clock,
    node: Arc<Node>,
    sent: UnboundedReceiver<Received>,
    endpoint: String,
    browser: Browser,
    _carrier: Running,
    _webhooks: Arc<Webhooks>,
    _state: tempfile::TempDir,
}

/// A store with user 42, whose browser's push service gives these answers, and a carrier at work.
async fn stage(answers: &'static [&'static str], more: &str) -> Stage {
    let state = tempfile::tempdir().unwrap();
    let (endpoint, roots, sent) = secure_service(answers).await;
    let roots_file = state.path().join("push.pem");
    fs::write(&roots_file, roots).unwrap();
    let file = state.path().join("campanile.toml");
    let text = format!(
        "state_dir = {:?}\n[inbox]\n{more}\n[inbox.web_push]\ncontact = 'mailto:ops@shop.example'\nprivate_endpoints = true\n\
         ca_file = {:?}\n[[apps]]\nid = '{APP}'\nkeys = [{{ key = 'k', secret = 's' }}]\n[apps.inbox]\n\
         channels = ['private-user.{{user}}']\n",
        state.path().display().to_string(),
        roots_file.display().to_string(),
    );
    fs::write(&file, text).unwrap();
    let config = Config::load(Some(&file), std::iter::empty()).unwrap();
    assert_eq!(config.beyond.as_ref().unwrap().untaken_after, UNTAKEN_AFTER);
    let clock = Clock::by_hand(Timestamp::parse("2026-01-02T03:04:05Z").unwrap());
    let mut settings = Settings::new(StoreUrl::Sqlite(state.path().join("inbox.db")));
    settings.clock = clock.clone();
    settings.web_push_delay = UNTAKEN_AFTER;
    let (inbox, mut changes) = Inbox::open(settings).await.unwrap();
    tokio::spawn(async move { while changes.next().await.is_some() {} });
    tokio::spawn({
        let inbox = inbox.clone();
        async move { inbox.run(pending()).await }
    });
    let ways = Ways::set_up(&config, state.path()).unwrap();
    let webhooks = Arc::new(Webhooks::start(&config, 1, state.path()).unwrap());
    let apps = Arc::new(Apps::new(vec![App::new(APP, "k", "s")], None));
    let node = Node::new(Arc::new(config), apps, Homes { seed: 1, workers: 1 });
    node.go_by(ways);
    let browser = Browser::new(5);
    let keys = PushKeys { p256dh: browser.p256dh(), auth: browser.auth() };
    inbox.add_push_subscription(APP, "42", PushSubscription { endpoint: endpoint.clone(), keys }).await.unwrap();
    let carrier = Running::start(inbox.clone(), Arc::clone(&webhooks), Arc::clone(&node)).unwrap();
    Stage { inbox, clock, node, sent, endpoint, browser, _carrier: carrier, _webhooks: webhooks, _state: state }
}

impl Stage {
    /// Sends a notification by these ways, and waits until it is stored.
    async fn notify(&self, title: &str, via: &[Channel]) -> Uuid {
        let draft =
            Draft { via: Some(via.to_vec()), ..Draft::new(Recipients::User("42".to_owned()), "comment.added", title) };
        let id = self.inbox.accept(APP, draft).await.unwrap().id();
        self.record_when(|records| records.iter().any(|record| record.notification == id)).await;
        id
    }

    /// The newest delivery, as soon as that is so.
    async fn record_when(&self, is_so: impl Fn(&[DeliveryRecord]) -> bool) -> DeliveryRecord {
        let began = tokio::time::Instant::now();
        loop {
            let records = self.inbox.deliveries(APP, "42", None, 10).await.unwrap();
            if is_so(&records) {
                return records[0].clone();
            }
            assert!(began.elapsed() < PATIENCE, "{records:#?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn in_state(&self, state: DeliveryState) -> DeliveryRecord {
        self.record_when(|records| records.first().is_some_and(|record| record.state == state)).await
    }
}

#[tokio::test]
async fn what_nobody_has_taken_in_its_time_is_pushed_and_only_the_browser_can_read_it() {
    let mut stage = stage(&[CREATED], "").await;
    stage.notify("Hello", &[Channel::Inbox, Channel::WebPush]).await;
    stage.clock.advance(UNTAKEN_AFTER - Duration::from_millis(1));
    sleep(2 * EVERY).await;
    assert!(stage.sent.try_recv().is_err(), "it is not time");
    assert_eq!(stage.in_state(DeliveryState::Waiting).await.attempts, 0);
    stage.clock.advance(Duration::from_millis(1));
    let request = timeout(PATIENCE, stage.sent.recv()).await.unwrap().unwrap();
    let message: serde_json::Value = serde_json::from_slice(&stage.browser.open(&request.body).unwrap()).unwrap();
    assert_eq!((&message["title"], &message["seq"]), (&"Hello".into(), &1.into()));
    let claims = claims(request.header("authorization").unwrap());
    assert_eq!(claims["sub"], "mailto:ops@shop.example");
    assert!(stage.endpoint.starts_with(claims["aud"].as_str().unwrap()));
    assert_eq!(request.header("ttl"), Some("86400"));
    assert_eq!(stage.in_state(DeliveryState::Sent).await.attempts, 1);
}

#[tokio::test]
async fn what_a_connection_has_taken_is_not_pushed() {
    let mut stage = stage(&[CREATED], "").await;
    let id = stage.notify("Hello", &[Channel::Inbox, Channel::WebPush]).await;
    let receipt = Receipt { app: AppIndex(0), user: "42".into(), notification: id.as_u128() };
    stage.node.takings().note(Arc::new(receipt));
    // In one round the taking is written down before it is looked for what is due.
    stage.clock.advance(UNTAKEN_AFTER);
    stage.in_state(DeliveryState::Taken).await;
    assert!(stage.sent.try_recv().is_err());
}

#[tokio::test]
async fn a_browser_that_has_gone_is_forgotten() {
    let stage = stage(&[GONE], "").await;
    stage.notify("Hello", &[Channel::Inbox, Channel::WebPush]).await;
    stage.clock.advance(UNTAKEN_AFTER);
    let failed = stage.in_state(DeliveryState::Failed).await;
    assert_eq!(failed.reason.as_deref(), Some("the browser has gone: the push service answered 410"));
    assert!(stage.inbox.push_subscriptions(APP, "42").await.unwrap().is_empty());
    // The next has nobody to go to, which the store knows by itself.
    stage.notify("Again", &[Channel::Inbox, Channel::WebPush]).await;
    assert_eq!(stage.in_state(DeliveryState::Suppressed).await.reason.as_deref(), Some("no_subscription"));
}

#[tokio::test]
async fn what_is_refused_for_now_is_tried_as_often_as_may_be_and_then_given_up() {
    let mut stage = stage(&[BUSY, BUSY, CREATED], "attempts_max = 2").await;
    stage.notify("Hello", &[Channel::Inbox, Channel::WebPush]).await;
    stage.clock.advance(UNTAKEN_AFTER);
    let again =
        stage.record_when(|records| records[0].state == DeliveryState::Waiting && records[0].attempts == 1).await;
    assert_eq!(again.reason.as_deref(), Some("the push service answered 429"));
    // What the push service has asked for, which is longer than the first wait.
    assert_eq!(again.due_at, Some(stage.clock.now().plus(Duration::from_secs(77))));
    stage.clock.advance(Duration::from_secs(77));
    let given_up = stage.in_state(DeliveryState::Failed).await;
    let reason = "given up after 2 attempts: the push service answered 429";
    assert_eq!((given_up.attempts, given_up.reason.as_deref()), (2, Some(reason)));
    for _ in 0..2 {
        stage.sent.recv().await.unwrap();
    }
    stage.clock.advance(Duration::from_secs(24 * 3600));
    sleep(2 * EVERY).await;
    assert!(stage.sent.try_recv().is_err());
}

#[tokio::test]
async fn a_way_that_is_not_set_up_is_no_failure() {
    let stage = stage(&[], "").await;
    let contact = Contact { email: Some("ada@example.com".to_owned()), ..Contact::default() };
    stage.inbox.put_user(APP, "42", contact).await.unwrap();
    for (channel, reason) in [
        (Channel::Mail, "no mail is sent: there is no [inbox.mail]"),
        (Channel::Webhook, "no webhook of the app names the event notification"),
    ] {
        stage.notify("Hello", &[channel]).await;
        stage.clock.advance(UNTAKEN_AFTER);
        assert_eq!(stage.in_state(DeliveryState::Suppressed).await.reason.as_deref(), Some(reason));
    }
}

#[test]
fn the_store_is_told_how_each_attempt_ended() {
    let backoff = Backoff { first: Duration::from_secs(30), max: Duration::from_secs(60), attempts_max: 2 };
    let reason = || "because".to_owned();
    let told = |outcome, attempt| settlement(outcome, backoff, attempt, 0);
    let again = || Outcome::Tried(Attempt::Again { reason: reason(), after: None });
    assert_eq!(told(Outcome::Tried(Attempt::Sent), 1), Settlement::Sent);
    assert_eq!(told(again(), 1), Settlement::Again { after: Duration::from_secs(30), reason: reason() });
    let given_up = "given up after 2 attempts: because".to_owned();
    assert_eq!(told(again(), 2), Settlement::Failed { reason: given_up });
    let unknown = Outcome::Tried(Attempt::Unknown { reason: reason() });
    assert_eq!(told(unknown, 1), Settlement::Unknown { reason: reason() });
    let suppressed = Outcome::Suppressed { reason: reason() };
    assert_eq!(told(suppressed, 1), Settlement::Suppressed { reason: reason() });
}
