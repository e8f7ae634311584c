//! Publishing: `POST /events`, `POST /batch_events` and the deprecated `POST /channels/{name}/events`.
//!
//! Owns how a trigger becomes publications and what its publisher is told. Never counts subscribers itself. The
//! invariant: all of a request is valid before any of it is published, and once it is, the answer is a success, because
//! a publisher that repeats a request without a key delivers everything twice. Read on in `idempotency.rs` for keys, in
//! `guard.rs` for what is valid and still held up.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use campanile_hub::{App, FirstAnswer, Publication};
use campanile_protocol::replies::{BatchReply, ChannelReply, ChannelsReply};
use campanile_protocol::trigger::{Batch, Trigger};
use campanile_protocol::{ChannelName, EncodedFrame, ServerFrame};
use hyper::StatusCode;

use super::channels::counts;
use super::error::ApiError;
use super::guard::{self, Passage};
use super::idempotency::{Turn, told, told_nothing};
use super::inbox::capture;
use super::signed_request::SignedRequest;
use crate::door::{Call, Visit};
use crate::mailbox::Permit;

/// `POST /apps/{id}/events`
pub(super) async fn publish(
    request: &SignedRequest<'_>,
    turn: &mut Turn<'_>,
    visit: Visit<'_>,
    call: &Call<'_>,
) -> Result<FirstAnswer, ApiError> {
    let trigger = Trigger::parse(request.text()?, &request.query, &request.app.limits)?;
    let triggers = std::slice::from_ref(&trigger);
    call.publishes(triggers, &request.app);
    let permit = turn.enter(&request.app, 1).await?;
    let passage = guard::pass(triggers, &request.app, visit, &permit).await?;
    let rows = capture::write(triggers, &passage, &request.app, visit).await?;
    let outcome = rows.told(&passage, triggers);
    if trigger.info.is_empty() {
        send(triggers, &request.app, visit, &permit, passage);
        return Ok(FirstAnswer { outcome, ..told_nothing() });
    }
    let answer = |replies: Vec<ChannelReply>| FirstAnswer {
        outcome: outcome.clone(),
        ..told(&ChannelsReply { channels: trigger.channels.iter().cloned().zip(replies).collect() })
    };
    call.asks_too();
    turn.publishes(|| answer(without_counts(triggers)));
    Ok(answer(send_and_ask(triggers, &request.app, visit, &permit, passage).await))
}

/// `POST /apps/{id}/batch_events`
pub(super) async fn publish_batch(
    request: &SignedRequest<'_>,
    turn: &mut Turn<'_>,
    visit: Visit<'_>,
    call: &Call<'_>,
) -> Result<FirstAnswer, ApiError> {
    let Batch { events } = Batch::parse(request.text()?, &request.app.limits)?;
    call.publishes(&events, &request.app);
    let permit = turn.enter(&request.app, events.len()).await?;
    let passage = guard::pass(&events, &request.app, visit, &permit).await?;
    let rows = capture::write(&events, &passage, &request.app, visit).await?;
    let outcome = rows.told(&passage, &events);
    if events.iter().all(|event| event.info.is_empty()) {
        send(&events, &request.app, visit, &permit, passage);
        return Ok(FirstAnswer { outcome, ..told_nothing() });
    }
    let answer = |batch| FirstAnswer { outcome: outcome.clone(), ..told(&BatchReply { batch }) };
    call.asks_too();
    turn.publishes(|| answer(without_counts(&events)));
    Ok(answer(send_and_ask(&events, &request.app, visit, &permit, passage).await))
}

/// `POST /apps/{id}/channels/{name}/events`
pub(super) async fn publish_deprecated(
    channel: &str,
    request: &SignedRequest<'_>,
    turn: &mut Turn<'_>,
    visit: Visit<'_>,
    call: &Call<'_>,
) -> Result<FirstAnswer, ApiError> {
    let trigger = Trigger::parse_deprecated(channel, request.text()?, &request.query, &request.app.limits)?;
    let triggers = std::slice::from_ref(&trigger);
    call.publishes(triggers, &request.app);
    let permit = turn.enter(&request.app, 1).await?;
    let passage = guard::pass(triggers, &request.app, visit, &permit).await?;
    let rows = capture::write(triggers, &passage, &request.app, visit).await?;
    let outcome = rows.told(&passage, triggers);
    send(triggers, &request.app, visit, &permit, passage);
    Ok(FirstAnswer { status: StatusCode::ACCEPTED.as_u16(), body: Bytes::new(), outcome })
}

/// What [`send_and_ask`] returns if no state comes in time.
fn without_counts(triggers: &[Trigger]) -> Vec<ChannelReply> {
    triggers.iter().flat_map(|trigger| &trigger.channels).map(|_| ChannelReply::default()).collect()
}

/// Each event with each of its channels, in order.
pub(super) fn targets(triggers: &[Trigger]) -> impl Iterator<Item = (&Trigger, &ChannelName)> {
    triggers.iter().flat_map(|trigger| trigger.channels.iter().map(move |channel| (trigger, channel)))
}

fn send(triggers: &[Trigger], app: &App, visit: Visit<'_>, permit: &Permit, passage: Passage<'_>) {
    for (index, (trigger, channel)) in targets(triggers).enumerate() {
        if passage.publishes(index) {
            visit.publish(app, channel.clone(), publication(trigger, channel), permit);
        }
    }
    passage.settle(app, visit, triggers, publication);
}

/// Publishes everything at once, then waits for the channels' states; one reply per channel, in order.
///
/// A state that does not come in time is left out: by then the event is in its home's mailbox.
async fn send_and_ask(
    triggers: &[Trigger],
    app: &App,
    visit: Visit<'_>,
    permit: &Permit,
    passage: Passage<'_>,
) -> Vec<ChannelReply> {
    let publications = targets(triggers).enumerate().map(|(index, (trigger, channel))| {
        let passes = passage.publishes(index);
        async move {
            let state = match (passes, trigger.info.is_empty()) {
                (true, true) => {
                    visit.publish(app, channel.clone(), publication(trigger, channel), permit);
                    return ChannelReply::default();
                }
                (true, false) => {
                    visit.publish_and_ask(app, channel.clone(), publication(trigger, channel), permit).await
                }
                (false, true) => return ChannelReply::default(),
                (false, false) => visit.ask_with(app, channel.clone(), permit).await,
            };
            state.map_or_else(|_| ChannelReply::default(), |state| counts(channel, &state, trigger.info))
        }
    });
    let publications =
        publications.map(|publication| Box::pin(publication) as Pin<Box<dyn Future<Output = _>>>).collect();
    join(publications, || passage.settle(app, visit, triggers, publication)).await
}

fn publication(trigger: &Trigger, channel: &ChannelName) -> Publication {
    let frame: EncodedFrame = ServerFrame::Event {
        event: trigger.event.as_str(),
        channel: channel.as_str(),
        data: &trigger.data,
        user_id: None,
    }
    .encode();
    let remember = channel.kind().cached.then(|| trigger.data.clone());
    Publication {
        event: trigger.event.clone(),
        frame,
        except: trigger.socket_id,
        remember,
        lasting: true,
        receipt: None,
    }
}

/// Waits for all. Each is first polled in order, and then `begun` is called, before any is waited for; there are few
/// enough to poll all again.
pub(super) async fn join<T>(mut futures: Vec<Pin<Box<dyn Future<Output = T> + '_>>>, begun: impl FnOnce()) -> Vec<T> {
    let mut outputs: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    let mut begun = Some(begun);
    poll_fn(|context| {
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let Poll::Ready(value) = future.as_mut().poll(context)
            {
                *output = Some(value);
            }
        }
        if let Some(begun) = begun.take() {
            begun();
        }
        if outputs.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outputs.into_iter().flatten().collect()
}
