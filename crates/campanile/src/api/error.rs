//! What the HTTP API says when it refuses.
//!
//! Owns the one shape of all refusals, `{"error":"<sentence>"}`, with `"field":"<name>"` where one field is to blame;
//! and their statuses. Never holds a secret or an expected signature. The invariant: 4xx means that the same request
//! will be refused again, except for 408, 409 and 429; 503 means that nothing was published and it may be repeated.

use campanile_protocol::idempotency::InvalidKey;
use campanile_protocol::refusal::Refusal;
use campanile_protocol::signature::SignatureError;
use hyper::StatusCode;
use hyper::header::{ALLOW, CONNECTION, HeaderValue, RETRY_AFTER};
use serde::Serialize;

use super::{Reply, json};
use crate::budget::Exhausted;
use crate::door::Busy;
use crate::journal::question::{Unanswered, Unasked};

/// Why a request was refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    #[error("there is no such path: the API's paths begin with /apps/<app id>/")]
    NoSuchPath,
    #[error("this path takes {allowed}")]
    Method { allowed: String },
    #[error("there is no app with the id of this path")]
    UnknownApp,
    #[error("this app is disabled")]
    Disabled,
    #[error(transparent)]
    Signature(#[from] SignatureError),
    #[error("auth_key is not an active key of the app of this path")]
    UnknownKey,
    #[error("the body is larger than the {max} bytes that this server reads")]
    BodyTooLarge { max: usize },
    #[error("the body did not arrive within {secs} s")]
    BodyTooSlow { secs: u64 },
    #[error("the body broke off")]
    BodyBroken,
    #[error("the body is not UTF-8")]
    NotUtf8,
    #[error("{0}")]
    Refused(#[from] Refusal),
    #[error("this app publishes more events per second than it may; try again in {retry_after_secs} s")]
    TooManyEvents { retry_after_secs: u64 },
    #[error(
        "this app publishes more of these events than a limit of its guard lets pass; try again in {retry_after_secs} s"
    )]
    HeldUp { retry_after_secs: u64 },
    #[error("this app has used up a budget of messages; there are new ones in {retry_after_secs} s")]
    Spent { retry_after_secs: u64 },
    #[error(transparent)]
    Unasked(#[from] Unasked),
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    #[error(transparent)]
    Key(#[from] InvalidKey),
    #[error("Idempotency-Key must be given once")]
    TwoKeys,
    #[error("the request with this Idempotency-Key is still under way; try again")]
    KeyInFlight,
    #[error("another request came with this Idempotency-Key; give each its own")]
    KeyMismatch,
    #[error("too many requests with an Idempotency-Key are under way; try again")]
    TooManyKeys,
    #[error("the server holds as many bytes of requests and answers as it may; try again")]
    TooManyBytes,
    #[error("the inbox's store has not taken the row of this event, so it was not published; try again")]
    NotStored { retry_after_secs: u64 },
    #[error("the server has no room for the request now; try again")]
    Busy,
}

impl From<Busy> for ApiError {
    fn from(_: Busy) -> Self {
        Self::Busy
    }
}

impl From<Exhausted> for ApiError {
    fn from(_: Exhausted) -> Self {
        Self::TooManyBytes
    }
}

#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            Self::NoSuchPath | Self::UnknownApp => StatusCode::NOT_FOUND,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Disabled => StatusCode::FORBIDDEN,
            Self::Signature(_) | Self::UnknownKey => StatusCode::UNAUTHORIZED,
            Self::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTooSlow { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::Refused(refusal) if refusal.status() == 413 => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyBroken
            | Self::NotUtf8
            | Self::Refused(_)
            | Self::Unasked(_)
            | Self::Unanswered(Unanswered::TooManyRows { .. } | Unanswered::TooManyToRead { .. })
            | Self::Key(_)
            | Self::TwoKeys => StatusCode::BAD_REQUEST,
            Self::TooManyEvents { .. } | Self::HeldUp { .. } | Self::Spent { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::KeyInFlight => StatusCode::CONFLICT,
            Self::KeyMismatch => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Busy
            | Self::TooManyBytes
            | Self::TooManyKeys
            | Self::NotStored { .. }
            | Self::Unanswered(Unanswered::Unreadable) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The answer.
    pub(super) fn into_reply(self) -> Reply {
        let field = match &self {
            Self::Refused(refusal) => Some(refusal.field()),
            Self::Unasked(unasked) => Some(unasked.parameter()),
            _ => None,
        };
        let mut reply = json(self.status(), &Body { error: &self.to_string(), field });
        let headers = reply.headers_mut();
        match self {
            Self::Method { allowed } => {
                // Method names are ASCII, so this always holds.
                if let Ok(allowed) = HeaderValue::from_str(&allowed) {
                    headers.insert(ALLOW, allowed);
                }
            }
            Self::TooManyEvents { retry_after_secs }
            | Self::NotStored { retry_after_secs }
            | Self::HeldUp { retry_after_secs }
            | Self::Spent { retry_after_secs } => {
                headers.insert(RETRY_AFTER, retry_after_secs.into());
            }
            Self::Busy | Self::KeyInFlight | Self::TooManyKeys | Self::Unanswered(Unanswered::Unreadable) => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Self::TooManyBytes => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            // What is left of the body would be taken for the next request.
            Self::BodyTooLarge { .. } | Self::BodyTooSlow { .. } | Self::BodyBroken => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        reply
    }
}

#[cfg(test)]
mod tests {
    use campanile_protocol::refusal::Reason;

    use super::*;

    fn shown(error: ApiError) -> (u16, String) {
        let reply = error.into_reply();
        let status = reply.status().as_u16();
        (status, String::from_utf8(reply.into_body().to_vec()).unwrap())
    }

    #[test]
    fn every_refusal_is_one_object_with_a_sentence_and_maybe_a_field() {
        for (error, status, body) in [
            (ApiError::UnknownApp, 404, r#"{"error":"there is no app with the id of this path"}"#),
            (ApiError::Method { allowed: "POST".into() }, 405, r#"{"error":"this path takes POST"}"#),
            (ApiError::Disabled, 403, r#"{"error":"this app is disabled"}"#),
            (ApiError::UnknownKey, 401, r#"{"error":"auth_key is not an active key of the app of this path"}"#),
            (SignatureError::Version.into(), 401, r#"{"error":"auth_version must be 1.0"}"#),
            (
                ApiError::BodyTooLarge { max: 7 },
                413,
                r#"{"error":"the body is larger than the 7 bytes that this server reads"}"#,
            ),
            (ApiError::BodyTooSlow { secs: 10 }, 408, r#"{"error":"the body did not arrive within 10 s"}"#),
            (ApiError::NotUtf8, 400, r#"{"error":"the body is not UTF-8"}"#),
            (Refusal::at("name", Reason::Missing).into(), 400, r#"{"error":"name: is missing","field":"name"}"#),
            (InvalidKey.into(), 400, r#"{"error":"Idempotency-Key must be 1 to 255 visible ASCII characters"}"#),
            (
                ApiError::KeyInFlight,
                409,
                r#"{"error":"the request with this Idempotency-Key is still under way; try again"}"#,
            ),
            (
                ApiError::KeyMismatch,
                422,
                r#"{"error":"another request came with this Idempotency-Key; give each its own"}"#,
            ),
            (
                ApiError::TooManyKeys,
                503,
                r#"{"error":"too many requests with an Idempotency-Key are under way; try again"}"#,
            ),
            (
                Exhausted.into(),
                503,
                r#"{"error":"the server holds as many bytes of requests and answers as it may; try again"}"#,
            ),
            (Busy.into(), 503, r#"{"error":"the server has no room for the request now; try again"}"#),
        ] {
            assert_eq!(shown(error), (status, body.to_owned()));
        }
    }

    #[test]
    fn what_may_be_repeated_says_when_and_what_is_left_unread_closes() {
        let header = |error: ApiError, name| {
            error.into_reply().headers().get(name).map(|value| value.to_str().unwrap().to_owned())
        };
        for error in [ApiError::Busy, ApiError::TooManyBytes, ApiError::KeyInFlight, ApiError::TooManyKeys] {
            assert_eq!(header(error, RETRY_AFTER).as_deref(), Some("1"));
        }
        let retry_after_secs = 3;
        for error in [
            ApiError::TooManyEvents { retry_after_secs },
            ApiError::HeldUp { retry_after_secs },
            ApiError::Spent { retry_after_secs },
            ApiError::NotStored { retry_after_secs },
        ] {
            let is_of_the_store = matches!(error, ApiError::NotStored { .. });
            assert_eq!(error.status(), if is_of_the_store { 503 } else { 429 });
            assert_eq!(header(error, RETRY_AFTER).as_deref(), Some("3"));
        }
        for error in [ApiError::BodyTooLarge { max: 1 }, ApiError::TooManyBytes] {
            assert_eq!(header(error, CONNECTION).as_deref(), Some("close"));
        }
        assert_eq!(header(ApiError::Method { allowed: "GET, HEAD".into() }, ALLOW).as_deref(), Some("GET, HEAD"));
    }
}
