//! Which events of a request the guard lets pass.
//!
//! Owns the way from a request's triggers to what becomes of each on each of its channels, and the header that says so. Never
//! knows a key: its home does, and [`Visit`] asks it. The invariants: nothing of this happens where no rule concerns an
//! event; nothing is published before every claim of the request is answered, and what was reserved is settled right after,
//! or released however else the request ends. Read on in [`campanile_hub::guard`].

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use campanile_hub::guard::{Claim, Fate, GuardKey, Verdict, Want};
use campanile_hub::letter::ChannelKey;
use campanile_hub::{App, Publication};
use campanile_protocol::ChannelName;
use campanile_protocol::trigger::Trigger;
use hyper::StatusCode;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::error::ApiError;
use super::signed_request::SignedRequest;
use super::{Reply, json};
use crate::config::OnSpent;
use crate::door::{Busy, Visit, Weighed};
use crate::ledger::{self, Standing};
use crate::mailbox::Permit;
use crate::outcomes::{Outcome, OutcomeCounts};

/// How long to wait for another request to settle what this one wants, the first time and at most. They take as long as
/// their letters are under way.
const PAUSE: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(50);

#[derive(Serialize)]
struct GuardReply {
    outcomes: OutcomeCounts,
    budgets: Vec<Standing>,
}

/// `GET /apps/{id}/guard`
pub(super) fn show(request: &SignedRequest<'_>, visit: Visit<'_>) -> Reply {
    let (app, node) = (&request.app, visit.door().node());
    let budgets = node.ledger().standings(&app.id, &node.rim(app).budgets, ledger::now_secs());
    json(StatusCode::OK, &GuardReply { outcomes: node.outcomes_of(app), budgets })
}

/// What becomes of a request's events, on each of their channels, in order.
#[derive(Debug)]
pub(super) enum Passage<'a> {
    /// No rule concerns any of them: all are published.
    Free,
    /// A budget is spent: none is.
    Closed {
        /// How many they are.
        targets: usize,
    },
    /// Each by itself.
    Judged(Box<Judged<'a>>),
}

/// What rules have made of them.
#[derive(Debug)]
pub(super) struct Judged<'a> {
    targets: Vec<Target>,
    outcomes: Vec<Outcome>,
    /// Which claim an event waits for.
    waits: Vec<Option<usize>>,
    claims: Vec<Claim>,
    weighed: Weighed<'a>,
}

/// An event on a channel.
#[derive(Debug)]
struct Target {
    trigger: usize,
    /// Its own, and those that it shares with the same event on another channel.
    claims: Vec<usize>,
    /// The target of another event of the request that is the same.
    repeats: Option<usize>,
}

/// Asks for all that the events of a request need.
pub(super) async fn pass<'a>(
    triggers: &[Trigger],
    app: &App,
    visit: Visit<'a>,
    permit: &Permit,
) -> Result<Passage<'a>, ApiError> {
    let node = visit.door().node();
    if let Some((on_spent, retry_after_secs)) = node.spent(app) {
        let targets = triggers.iter().map(|trigger| trigger.channels.len()).sum();
        if on_spent == OnSpent::Refuse {
            node.count_outcomes(app, std::iter::repeat_n(Outcome::Refused, targets));
            return Err(ApiError::Spent { retry_after_secs });
        }
        return Ok(Passage::Closed { targets });
    }
    if !triggers.iter().any(|trigger| app.guard.concern(&trigger.event)) {
        return Ok(Passage::Free);
    }
    let (targets, claims) = targets(triggers, app);
    if claims.is_empty() {
        return Ok(Passage::Free);
    }
    let weighed = weigh(&claims, app, visit, permit).await?;
    let Some((outcomes, waits)) = judge(&targets, &claims, weighed.verdicts()) else {
        let retry_after_secs = retry_after(weighed.verdicts());
        node.count_outcomes(app, targets.iter().map(|_| Outcome::Refused));
        return Err(ApiError::HeldUp { retry_after_secs });
    };
    Ok(Passage::Judged(Box::new(Judged { targets, outcomes, waits, claims, weighed })))
}

fn targets(triggers: &[Trigger], app: &App) -> (Vec<Target>, Vec<Claim>) {
    let (mut targets, mut claims): (Vec<Target>, Vec<Claim>) = Default::default();
    // Who wants to be the first with a key, and which claim that is.
    let mut firsts: HashMap<GuardKey, (usize, usize)> = HashMap::new();
    for (trigger, event) in triggers.iter().enumerate() {
        let weighing = app.guard.weigh(app.index, &event.event, &event.data);
        for channel in &event.channels {
            let (at, mut target) = (targets.len(), Target { trigger, claims: Vec::new(), repeats: None });
            for claim in weighing.claims(channel) {
                if let Want::Once { .. } = claim.want {
                    match firsts.get(&claim.key) {
                        Some((first, shared)) if targets_trigger(&targets, *first) == trigger => {
                            target.claims.push(*shared);
                            continue;
                        }
                        Some((first, _)) => {
                            target.repeats.get_or_insert(*first);
                            continue;
                        }
                        None => {
                            firsts.insert(claim.key, (at, claims.len()));
                        }
                    }
                }
                target.claims.push(claims.len());
                claims.push(claim);
            }
            targets.push(target);
        }
    }
    (targets, claims)
}

fn targets_trigger(targets: &[Target], index: usize) -> usize {
    targets[index].trigger
}

/// Asks until no other request has what this one wants.
async fn weigh<'a>(claims: &[Claim], app: &App, visit: Visit<'a>, permit: &Permit) -> Result<Weighed<'a>, Busy> {
    let mut pause = PAUSE;
    loop {
        let weighed = visit.weigh(app, claims, permit).await?;
        if !weighed.verdicts().contains(&Verdict::InFlight) {
            return Ok(weighed);
        }
        // Nobody may wait with something in hand that the other waits for.
        drop(weighed);
        if Instant::now() + pause >= visit.until() {
            return Err(Busy);
        }
        sleep(pause).await;
        pause = PAUSE_MAX.min(pause * 2);
    }
}

/// What becomes of each target, and which claim it waits for; `None` if the request is to be refused.
fn judge(targets: &[Target], claims: &[Claim], verdicts: &[Verdict]) -> Option<(Vec<Outcome>, Vec<Option<usize>>)> {
    let mut outcomes: Vec<Outcome> = Vec::with_capacity(targets.len());
    let mut waits = Vec::with_capacity(targets.len());
    for target in targets {
        let own = || target.claims.iter().map(|claim| (*claim, verdicts[*claim]));
        let has = |verdict| own().any(|(_, found)| found == verdict);
        let waiting = own().find_map(|(claim, verdict)| match verdict {
            Verdict::Deferred => Some((claim, Outcome::Deferred)),
            Verdict::Collapsed => Some((claim, Outcome::Collapsed)),
            _ => None,
        });
        let repeated = target.repeats.map(|first| outcomes[first]);
        let (outcome, wait) = match (repeated, waiting) {
            // What was not published here is none the second time either.
            (Some(Outcome::Dropped), _) => (Outcome::Dropped, None),
            (Some(_), _) => (Outcome::Duplicate, None),
            _ if has(Verdict::Duplicate) => (Outcome::Duplicate, None),
            _ if own().any(|(_, verdict)| matches!(verdict, Verdict::Refused { .. })) => return None,
            _ if has(Verdict::Dropped) => (Outcome::Dropped, None),
            (None, Some((claim, outcome))) => (outcome, Some(claim)),
            (None, None) => (Outcome::Published, None),
        };
        outcomes.push(outcome);
        waits.push(wait);
    }
    debug_assert_eq!(claims.len(), verdicts.len(), "each claim has a verdict");
    Some((outcomes, waits))
}

fn retry_after(verdicts: &[Verdict]) -> u64 {
    let refused = verdicts.iter().filter_map(|verdict| match verdict {
        Verdict::Refused { retry_after_secs } => Some(*retry_after_secs),
        _ => None,
    });
    refused.max().unwrap_or(1)
}

impl Passage<'_> {
    /// Whether the event is to be published on the channel with this number among all of the request's.
    pub(super) fn publishes(&self, target: usize) -> bool {
        self.outcome(target) == Outcome::Published
    }

    /// Whether the event is on its way to the channel with this number, now or later.
    pub(super) fn keeps(&self, target: usize) -> bool {
        matches!(self.outcome(target), Outcome::Published | Outcome::Deferred | Outcome::Collapsed)
    }

    /// What becomes of the event on the channel with this number.
    pub(super) fn outcome(&self, target: usize) -> Outcome {
        match self {
            Self::Free => Outcome::Published,
            Self::Closed { .. } => Outcome::Dropped,
            Self::Judged(judged) => judged.outcomes[target],
        }
    }

    /// What the header says: nothing if all was published, one word if all became the same, or a word for each channel of
    /// each event.
    pub(super) fn told(&self) -> Bytes {
        let outcomes = match self {
            Self::Free => return Bytes::new(),
            Self::Closed { .. } => return Bytes::from_static(Outcome::Dropped.word().as_bytes()),
            Self::Judged(judged) => &judged.outcomes,
        };
        match outcomes.first() {
            Some(first) if outcomes.iter().all(|outcome| outcome == first) => match first {
                Outcome::Published => Bytes::new(),
                same => Bytes::from_static(same.word().as_bytes()),
            },
            _ => {
                let words: Vec<&str> = outcomes.iter().map(|outcome| outcome.word()).collect();
                words.join(", ").into()
            }
        }
    }

    /// The events that pass are published, and those that wait are handed over: settles with the homes.
    pub(super) fn settle(
        self,
        app: &App,
        visit: Visit<'_>,
        triggers: &[Trigger],
        publication: impl Fn(&Trigger, &ChannelName) -> Publication,
    ) {
        let node = visit.door().node();
        let Judged { targets, outcomes, waits, claims, mut weighed } = match self {
            Self::Free => return,
            Self::Closed { targets } => {
                return node.count_outcomes(app, std::iter::repeat_n(Outcome::Dropped, targets));
            }
            Self::Judged(judged) => *judged,
        };
        node.count_outcomes(app, outcomes.iter().copied());
        let channels = triggers.iter().flat_map(|trigger| &trigger.channels);
        for (((target, outcome), wait), channel) in targets.iter().zip(&outcomes).zip(&waits).zip(channels) {
            if !matches!(outcome, Outcome::Published | Outcome::Deferred | Outcome::Collapsed) {
                continue;
            }
            for claim in &target.claims {
                match (&claims[*claim].want, wait) {
                    (Want::Token { lane, .. }, Some(wait)) if wait == claim => {
                        let lane = (*outcome == Outcome::Collapsed).then_some(*lane);
                        let publication = publication(&triggers[target.trigger], channel);
                        let channel = ChannelKey { app: app.index, name: channel.clone() };
                        weighed.fate(*claim, Fate::Wait { channel, publication, lane });
                    }
                    // An event that waits for one rule's token takes none of another's.
                    (Want::Token { .. }, Some(_)) => {}
                    _ => weighed.fate(*claim, Fate::Commit),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
