//! What becomes of a request's events, and what a publisher meets where the minds of two workers stand behind.

use std::time::Duration;

use campanile_hub::guard::{Aim, DedupeRule, LimitRule, OnExceed, Per, Rate, Rules, Scope, Subject};
use campanile_hub::{AskId, Letter};
use campanile_protocol::limits::DEFAULT_LIMITS;
use campanile_protocol::signature::SignedQuery;
use campanile_protocol::trigger::OUTCOME_HEADER;

use super::super::idempotency::tests::{EVENTS, Stage, run_with, settle};
use super::super::tests::{self, Answered};
use super::*;

fn app(scope: Scope) -> App {
    let (rate, aim) = (Rate { events: 1, per_secs: 1, burst: 1 }, Aim::default());
    let once = DedupeRule { name: "d".into(), aim: aim.clone(), subject: Subject::Body, scope, window_secs: 60 };
    let rate = LimitRule { name: "l".into(), aim, per: Per::App, rate, on_exceed: OnExceed::Defer };
    App { guard: Rules { dedupe: vec![once], limits: vec![rate], ..Rules::default() }, ..App::new("a", "k", "s") }
}

fn trigger(channels: &str, data: &str) -> Trigger {
    let query = format!("name=e&channels={channels}&data={data}");
    Trigger::parse("", &SignedQuery::parse(&query), &DEFAULT_LIMITS).unwrap()
}

/// What becomes of the targets, where the homes say this to each claim that is first with a key, and to each token.
fn judged(triggers: &[Trigger], scope: Scope, first: &[Verdict], tokens: &[Verdict]) -> Option<Vec<Outcome>> {
    let (targets, claims) = targets(triggers, &app(scope));
    let (mut first, mut tokens) = (first.iter(), tokens.iter());
    let verdicts: Vec<Verdict> = claims
        .iter()
        .map(|claim| if matches!(claim.want, Want::Once { .. }) { first.next() } else { tokens.next() })
        .map(|verdict| *verdict.expect("there are as many verdicts as claims"))
        .collect();
    assert_eq!((first.next(), tokens.next()), (None, None), "there are as many claims as verdicts");
    judge(&targets, &claims, &verdicts).map(|(outcomes, _)| outcomes)
}

use Outcome::{Deferred, Dropped, Duplicate, Published};
use Verdict::Granted;

#[test]
fn the_same_event_twice_in_a_request_is_a_duplicate_of_what_has_become_of_the_first() {
    let twice = [trigger("a", "x"), trigger("a", "x"), trigger("b", "x")];
    let first = [Granted, Granted];
    let judged = |tokens: &[Verdict]| judged(&twice, Scope::Channel, &first, tokens);
    assert_eq!(judged(&[Granted, Granted, Granted]), Some(vec![Published, Duplicate, Published]));
    assert_eq!(judged(&[Verdict::Dropped, Granted, Granted]), Some(vec![Dropped, Dropped, Published]));
    assert_eq!(judged(&[Verdict::Deferred, Granted, Granted]), Some(vec![Deferred, Duplicate, Published]));
    let refused = Verdict::Refused { retry_after_secs: 1 };
    assert_eq!(judged(&[Granted, refused, Granted]), Some(vec![Published, Duplicate, Published]));
    assert_eq!(judged(&[Granted, Granted, refused]), None);
}

#[test]
fn an_event_for_several_channels_is_one_where_the_scope_is_the_app() {
    let event = [trigger("a,b", "x"), trigger("c", "x")];
    let judged = |first| judged(&event, Scope::App, &[first], &[Granted, Granted, Granted]);
    assert_eq!(judged(Granted), Some(vec![Published, Published, Duplicate]));
    assert_eq!(judged(Verdict::Duplicate), Some(vec![Duplicate, Duplicate, Duplicate]));
}

#[test]
fn a_duplicate_takes_no_token_and_what_is_dropped_does_not_wait() {
    let event = [trigger("a", "x")];
    let judged = |first, token| judged(&event, Scope::Channel, &[first], &[token]);
    for token in [Granted, Verdict::Dropped, Verdict::Deferred, Verdict::Refused { retry_after_secs: 1 }] {
        assert_eq!(judged(Verdict::Duplicate, token), Some(vec![Duplicate]));
    }
    assert_eq!(judged(Granted, Verdict::Collapsed), Some(vec![Outcome::Collapsed]));
}

#[test]
fn an_event_that_no_rule_concerns_has_no_claims() {
    let (targets, claims) = targets(&[trigger("a,b", "x")], &App::new("a", "k", "s"));
    assert_eq!((targets.len(), claims.len()), (2, 0));
}

/// An app whose events come once on a channel, by their whole data.
fn stage<F: Future>(test: impl FnOnce(Stage) -> F) -> F::Output {
    let guard = app(Scope::Channel).guard;
    let guard = Rules { limits: Vec::new(), ..guard };
    run_with(vec![App { guard, ..tests::app("a", true) }], test)
}

const EVENT: &str = r#"{"name":"e","channel":"orders","data":"d"}"#;

impl Stage {
    async fn publish(&self) -> Answered {
        self.send(tests::signed("a", "POST", EVENTS, &[], EVENT)).await
    }

    /// Plays another request that has the event's key and does not end.
    async fn another_has_it(&self) -> AskId {
        let data = campanile_protocol::json::DataLiteral::from_text("d");
        let event = campanile_protocol::EventName::parse("e", 200).unwrap();
        let apps = self.node.apps();
        let app = apps.by_id("a").unwrap();
        let claims = app.guard.weigh(app.index, &event, &data).claims(&ChannelName::parse("orders", 164).unwrap());
        let home = self.node.homes().of_guard_key(&claims[0].key);
        // A number that no request of these tests comes to.
        let id = AskId { worker: home, number: 1 << 40 };
        self.post.send(home, Letter::Weigh { app: app.index, claims, id }, None);
        settle().await;
        id
    }
}

#[test]
fn an_event_that_another_request_has_is_waited_for_as_long_as_a_request_may_take() {
    stage(async |stage| {
        let other = stage.another_has_it().await;
        let answer = stage.publish().await;
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, Some("1")));
        assert_eq!(stage.published(), 0);
        // The other one publishes while this one waits.
        let settled = async {
            sleep(Duration::from_millis(20)).await;
            let fates = vec![Fate::Commit];
            stage.post.send(other.worker, Letter::Settle { id: other, fates }, None);
        };
        let (answer, ()) = tokio::join!(stage.publish(), settled);
        answer.is(200, "{}");
        assert_eq!(answer.header(OUTCOME_HEADER), Some("duplicate"));
        assert_eq!(stage.published(), 0);
    });
}

#[test]
fn an_event_whose_other_request_has_failed_is_published_and_no_duplicate() {
    stage(async |stage| {
        let other = stage.another_has_it().await;
        let settled = async {
            sleep(Duration::from_millis(20)).await;
            let fates = vec![Fate::Release];
            stage.post.send(other.worker, Letter::Settle { id: other, fates }, None);
        };
        let (answer, ()) = tokio::join!(stage.publish(), settled);
        answer.is(200, "{}");
        assert_eq!((answer.header(OUTCOME_HEADER), stage.published()), (None, 1));
        assert_eq!(stage.publish().await.header(OUTCOME_HEADER), Some("duplicate"));
    });
}

#[test]
fn a_publisher_that_goes_away_before_it_has_published_leaves_nothing_behind() {
    stage(async |stage| {
        let other = stage.another_has_it().await;
        let gone = tokio::time::timeout(Duration::from_millis(30), stage.publish()).await;
        assert!(gone.is_err(), "it still waits");
        stage.post.send(other.worker, Letter::Settle { id: other, fates: Vec::new() }, None);
        settle().await;
        let answer = stage.publish().await;
        answer.is(200, "{}");
        assert_eq!((answer.header(OUTCOME_HEADER), stage.published()), (None, 1));
    });
}
