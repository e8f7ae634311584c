//! Publishing: `POST /events`, `POST /batch_events` and the deprecated `POST /channels/{name}/events`.
//!
//! Owns how a trigger becomes publications and what its publisher is told. Never counts subscribers itself. The
//! invariant: all of a request is valid before any of it is published, and once it is, the answer is a success, because
//! a publisher that repeats a request without a key delivers everything twice. Read on in `idempotency.rs` for keys.

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
use super::idempotency::{Turn, told, told_nothing};
use super::signed_request::SignedRequest;
use crate::door::Visit;
use crate::mailbox::Permit;

/// `POST /apps/{id}/events`
pub(super) async fn publish(
    request: &SignedRequest<'_>,
    turn: &mut Turn<'_>,
    visit: Visit<'_>,
) -> Result<FirstAnswer, ApiError> {
    let trigger = Trigger::parse(request.text()?, &request.query, &request.app.limits)?;
    let permit = turn.enter(&request.app, 1).await?;
    if trigger.info.is_empty() {
        send(&trigger, &request.app, visit, &permit);
        return Ok(told_nothing());
    }
    let answer = |replies: Vec<ChannelReply>| {
        told(&ChannelsReply { channels: trigger.channels.iter().cloned().zip(replies).collect() })
    };
    turn.publishes(|| answer(without_counts(std::slice::from_ref(&trigger))));
    Ok(answer(send_and_ask(std::slice::from_ref(&trigger), &request.app, visit, &permit).await))
}

/// `POST /apps/{id}/batch_events`
pub(super) async fn publish_batch(
    request: &SignedRequest<'_>,
    turn: &mut Turn<'_>,
    visit: Visit<'_>,
) -> Result<FirstAnswer, ApiError> {
    let Batch { events } = Batch::parse(request.text()?, &request.app.limits)?;
    let permit = turn.enter(&request.app, events.len()).await?;
    if events.iter().all(|event| event.info.is_empty()) {
        for event in &events {
            send(event, &request.app, visit, &permit);
        }
        return Ok(told_nothing());
    }
    turn.publishes(|| told(&BatchReply { batch: without_counts(&events) }));
    Ok(told(&BatchReply { batch: send_and_ask(&events, &request.app, visit, &permit).await }))
}

/// `POST /apps/{id}/channels/{name}/events`
pub(super) async fn publish_deprecated(
    channel: &str,
    request: &SignedRequest<'_>,
    turn: &mut Turn<'_>,
    visit: Visit<'_>,
) -> Result<FirstAnswer, ApiError> {
    let trigger = Trigger::parse_deprecated(channel, request.text()?, &request.query, &request.app.limits)?;
    let permit = turn.enter(&request.app, 1).await?;
    send(&trigger, &request.app, visit, &permit);
    Ok(FirstAnswer { status: StatusCode::ACCEPTED.as_u16(), body: Bytes::new() })
}

/// What [`send_and_ask`] returns if no state comes in time.
fn without_counts(triggers: &[Trigger]) -> Vec<ChannelReply> {
    triggers.iter().flat_map(|trigger| &trigger.channels).map(|_| ChannelReply::default()).collect()
}

fn send(trigger: &Trigger, app: &App, visit: Visit<'_>, permit: &Permit) {
    for channel in &trigger.channels {
        visit.publish(app, channel.clone(), publication(trigger, channel), permit);
    }
}

/// Publishes everything at once, then waits for the channels' states; one reply per channel, in order.
///
/// A state that does not come in time is left out: by then the event is in its home's mailbox.
async fn send_and_ask(triggers: &[Trigger], app: &App, visit: Visit<'_>, permit: &Permit) -> Vec<ChannelReply> {
    let targets = triggers.iter().flat_map(|trigger| trigger.channels.iter().map(move |channel| (trigger, channel)));
    let publications = targets.map(|(trigger, channel)| async move {
        let publication = publication(trigger, channel);
        if trigger.info.is_empty() {
            visit.publish(app, channel.clone(), publication, permit);
            return ChannelReply::default();
        }
        let state = visit.publish_and_ask(app, channel.clone(), publication, permit).await;
        state.map_or_else(|_| ChannelReply::default(), |state| counts(channel, &state, trigger.info))
    });
    join(publications.map(|publication| Box::pin(publication) as Pin<Box<dyn Future<Output = _>>>).collect()).await
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
    Publication { frame, except: trigger.socket_id, remember, lasting: true }
}

/// Waits for all. Each is first polled in order before any is waited for; there are few enough to poll all again.
async fn join<T>(mut futures: Vec<Pin<Box<dyn Future<Output = T> + '_>>>) -> Vec<T> {
    let mut outputs: Vec<Option<T>> = futures.iter().map(|_| None).collect();
    poll_fn(|context| {
        for (future, output) in futures.iter_mut().zip(&mut outputs) {
            if output.is_none()
                && let Poll::Ready(value) = future.as_mut().poll(context)
            {
                *output = Some(value);
            }
        }
        if outputs.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outputs.into_iter().flatten().collect()
}
