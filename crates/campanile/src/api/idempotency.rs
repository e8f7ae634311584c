//! A request that publishes does so once, however often it is repeated with the same `Idempotency-Key`.
//!
//! Owns what the header means to a publisher. Never knows a key itself: the key's home does, and [`Visit`] asks it. The
//! invariants: without the header nothing of this happens; with it, a request that has published is never released, even
//! if nobody waits for its answer any more, and one that has not always is. Read on in [`campanile_hub::idempotency`].

use bytes::Bytes;
use campanile_hub::{App, FirstAnswer, Unreserved};
use campanile_protocol::IdempotencyKey;
use campanile_protocol::idempotency::{KEY_HEADER, REPLAYED_HEADER};
use campanile_protocol::trigger::OUTCOME_HEADER;
use hyper::header::HeaderValue;
use hyper::{HeaderMap, Response, StatusCode};
use serde::Serialize;

use super::error::ApiError;
use super::signed_request::SignedRequest;
use super::{Reply, text};
use crate::door::{Reservation, Visit};
use crate::mailbox::Permit;

/// A publishing request's turn: what it may hold already when it begins.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    visit: Visit<'a>,
    /// Taken to reserve the key; the publications are part of the same work.
    permit: Option<Permit>,
    reservation: Option<Reservation<'a>>,
}

/// Answers a request that publishes: as `publish` says, or as it was answered before.
pub(super) async fn once<'a>(
    request: &SignedRequest<'_>,
    visit: Visit<'a>,
    publish: impl AsyncFnOnce(&mut Turn<'a>) -> Result<FirstAnswer, ApiError>,
) -> Result<Reply, ApiError> {
    let mut turn = Turn { visit, permit: None, reservation: None };
    if let Some(key) = key(request.headers())?
        && let Some(answer) = turn.reserve(key, request).await?
    {
        let mut reply = reply(answer);
        reply.headers_mut().insert(REPLAYED_HEADER, HeaderValue::from_static("true"));
        return Ok(reply);
    }
    let answer = publish(&mut turn).await?;
    turn.publishes(|| answer.clone());
    Ok(reply(answer))
}

impl Turn<'_> {
    /// Takes a permit, then counts the events: those that found no room are not held against the app's rate.
    pub(super) async fn enter(&mut self, app: &App, events: usize) -> Result<Permit, ApiError> {
        let permit = match self.permit.take() {
            Some(permit) => permit,
            None => self.visit.enter().await?,
        };
        let events = u32::try_from(events).unwrap_or(u32::MAX);
        match self.visit.door().node().admit_events(app, events) {
            Ok(()) => Ok(permit),
            Err(retry_after_secs) => Err(ApiError::TooManyEvents { retry_after_secs }),
        }
    }

    /// To be called before anything is waited for with events on their way: if nobody waits for the answer then, its
    /// repetitions get this one.
    pub(super) fn publishes(&mut self, answer: impl FnOnce() -> FirstAnswer) {
        if let Some(reservation) = &mut self.reservation {
            reservation.publishes(answer());
        }
    }
}

impl<'a> Turn<'a> {
    /// Makes the key this turn's, or returns what the request was answered before.
    async fn reserve(
        &mut self,
        key: IdempotencyKey,
        request: &SignedRequest<'_>,
    ) -> Result<Option<FirstAnswer>, ApiError> {
        let permit = self.visit.enter().await?;
        match self.visit.reserve(&request.app, key, request.fingerprint(), &permit).await? {
            Ok(reservation) => {
                (self.permit, self.reservation) = (Some(permit), Some(reservation));
                Ok(None)
            }
            Err(Unreserved::Repeat(answer)) => Ok(Some(answer)),
            Err(Unreserved::InFlight) => Err(ApiError::KeyInFlight),
            Err(Unreserved::Mismatch) => Err(ApiError::KeyMismatch),
            Err(Unreserved::Full) => Err(ApiError::TooManyKeys),
        }
    }
}

fn key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, ApiError> {
    let mut values = headers.get_all(KEY_HEADER).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => Ok(Some(IdempotencyKey::parse(value.as_bytes())?)),
        // Which of them is meant nobody can tell.
        (Some(_), Some(_)) => Err(ApiError::TwoKeys),
    }
}

/// What a publisher is told.
pub(super) fn told(value: &impl Serialize) -> FirstAnswer {
    let body = serde_json::to_vec(value).expect("replies are maps with string keys, which JSON can hold");
    // Kept for long, maybe: without room to grow.
    FirstAnswer { status: StatusCode::OK.as_u16(), body: body.into_boxed_slice().into(), outcome: Bytes::new() }
}

/// The answer of whoever has nothing to tell.
pub(super) fn told_nothing() -> FirstAnswer {
    FirstAnswer { status: StatusCode::OK.as_u16(), body: Bytes::from_static(b"{}"), outcome: Bytes::new() }
}

fn reply(FirstAnswer { status, body, outcome }: FirstAnswer) -> Reply {
    let status = StatusCode::from_u16(status).expect("it was made of one");
    let mut reply = if body.is_empty() {
        let mut reply = Response::default();
        *reply.status_mut() = status;
        reply
    } else {
        text(status, "application/json", body)
    };
    if !outcome.is_empty() {
        let outcome = HeaderValue::from_maybe_shared(outcome).expect("it is made of words");
        reply.headers_mut().insert(OUTCOME_HEADER, outcome);
    }
    reply
}

#[cfg(test)]
pub(super) mod tests;
