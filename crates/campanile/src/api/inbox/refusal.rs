//! What the inbox's endpoints say when they refuse.
//!
//! Owns the one shape of all refusals, `{"error":"<code>","message":"<sentence>"}`, with `"path"` where one place of the
//! request is to blame, and every code with its status. Never holds a secret. The invariant: 4xx means that the same request
//! will be refused again, except for 409 and 429; 503 means that it may be repeated, and should be with its key.

use campanile_inbox::{InboxError, Mistake, State};
use campanile_protocol::signature::SignatureError;
use hyper::StatusCode;
use hyper::header::{ALLOW, CONNECTION, HeaderValue, RETRY_AFTER};
use serde::Serialize;

use super::super::error::ApiError;
use super::super::{Reply, json};
use crate::budget::Exhausted;
use crate::door::Busy;

/// Declares the codes: each with its status and what it means.
macro_rules! codes {
    ($($code:ident $word:literal $status:ident $about:literal;)*) => {
        /// For programs: why a request was refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(super) enum Code {
            $(#[doc = $about] $code,)*
        }

        impl Code {
            /// Each of them.
            pub(super) const ALL: &[Self] = &[$(Self::$code),*];

            /// As it stands in the answer.
            pub(super) fn word(self) -> &'static str {
                match self { $(Self::$code => $word,)* }
            }

            /// The answer's status.
            pub(super) fn status(self) -> StatusCode {
                match self { $(Self::$code => StatusCode::$status,)* }
            }

            /// What it means.
            pub(super) fn about(self) -> &'static str {
                match self { $(Self::$code => $about,)* }
            }
        }
    };
}

codes! {
    InvalidJson "invalid_json" BAD_REQUEST "the body is not JSON, or not UTF-8";
    UnknownField "unknown_field" BAD_REQUEST "the body has a field that there is not; the message names the nearest";
    WrongType "wrong_type" BAD_REQUEST "a field's value is not of its type";
    Missing "missing" BAD_REQUEST "a field or a parameter is missing, or empty";
    InvalidParameter "invalid_parameter" BAD_REQUEST "a parameter of the query, or a part of the path, is not what it must be";
    Invalid "invalid" BAD_REQUEST "a value breaks a rule of its own; in the place of this word stands a nearer one, as in too_long or bad_url";
    BodyBroken "body_broken" BAD_REQUEST "the body broke off, or did not come in time";
    InvalidSocketId "invalid_socket_id" BAD_REQUEST "socket_id is not one, or no such connection is here any more";
    Unsigned "unsigned" UNAUTHORIZED "the request has neither a signature nor a server token, or a wrong one";
    NoSession "no_session" UNAUTHORIZED "the request has no session's token, or a wrong one, or one that is over: open a session";
    SessionEnded "session_ended" UNAUTHORIZED "the session's connection is gone: open a session with the new one";
    InvalidAuth "invalid_auth" UNAUTHORIZED "what should prove the user does not; the message says why";
    AppDisabled "app_disabled" FORBIDDEN "the app is switched off";
    OriginRefused "origin_refused" FORBIDDEN "the app takes no requests from pages of this origin";
    NotIdentity "not_identity" FORBIDDEN "this channel's signature opens no inbox: it is not in the app's inbox.identity";
    NoWebPush "no_web_push" NOT_FOUND "nothing is pushed to browsers of this app's users; the message says what to configure";
    NoInbox "no_inbox" NOT_FOUND "there is no inbox here; the message says what to configure";
    UnknownApp "unknown_app" NOT_FOUND "there is no app with this id or key";
    UnknownNotification "unknown_notification" NOT_FOUND "this user has no such notification (any more)";
    UnknownKey "unknown_key" NOT_FOUND "no notification is known under this key (any more)";
    UnknownAudience "unknown_audience" NOT_FOUND "there is no such audience";
    UnknownCategory "unknown_category" NOT_FOUND "there is no such category";
    UnknownJob "unknown_job" NOT_FOUND "there is no such dead job";
    UnknownDelivery "unknown_delivery" NOT_FOUND "there is no such delivery (any more)";
    Method "method_not_allowed" METHOD_NOT_ALLOWED "this path takes other methods";
    Required "required" CONFLICT "the application does not let the user switch this off";
    TooOld "too_old" GONE "what has changed since then is not remembered any more; how the inbox stands is beside";
    BodyTooLarge "body_too_large" PAYLOAD_TOO_LARGE "the body has more bytes than the server reads";
    KeyReused "key_reused" UNPROCESSABLE_ENTITY "another notification was sent under this key";
    TooMany "too_many_requests" TOO_MANY_REQUESTS "the app asks more often than it may";
    StoreBroken "store_broken" INTERNAL_SERVER_ERROR "the store has gone wrong, which is nobody's mistake who asks; the log says how";
    TooManyStreams "too_many_streams" SERVICE_UNAVAILABLE "as many streams are open as may be";
    Full "full" SERVICE_UNAVAILABLE "as many connections are open as may be, on this node or of this app";
    Overloaded "busy" SERVICE_UNAVAILABLE "the server or its store has too much to do now";
    StoreAway "store_away" SERVICE_UNAVAILABLE "the store does not answer; whether it has done what was asked is not known";
}

/// Why a request was refused.
#[derive(Debug)]
pub(super) struct Refused(Box<Details>);

#[derive(Debug)]
struct Details {
    code: Code,
    /// A nearer word than the code's, of the store's own.
    word: Option<&'static str>,
    message: String,
    path: Option<String>,
    retry_after_secs: Option<u64>,
    /// How the inbox stands, where that helps to go on.
    state: Option<State>,
    /// What is left of the body would be taken for the next request.
    closes: bool,
    allowed: Option<String>,
}

#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    state: Option<State>,
}

impl Refused {
    /// With a sentence: what was wrong and what to do.
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        let retry_after_secs = matches!(code.status(), StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
        Self(Box::new(Details {
            code,
            word: None,
            message: message.into(),
            path: None,
            retry_after_secs: retry_after_secs.then_some(1),
            state: None,
            closes: false,
            allowed: None,
        }))
    }

    /// The same with more to it.
    fn with(mut self, change: impl FnOnce(&mut Details)) -> Self {
        change(&mut self.0);
        self
    }

    /// The same, where one place is to blame.
    #[must_use]
    pub(super) fn at(self, path: impl Into<String>) -> Self {
        self.with(|details| details.path = Some(path.into()))
    }

    /// Another method is wanted.
    pub(super) fn method(allowed: String) -> Self {
        let message = format!("this path takes {allowed}");
        Self::new(Code::Method, message).with(|details| details.allowed = Some(allowed))
    }

    /// The answer.
    pub(super) fn into_reply(self) -> Reply {
        let Details { code, word, message, path, retry_after_secs, state, closes, allowed } = *self.0;
        let error = word.unwrap_or(code.word());
        let body = Body { error, message: &message, path: path.as_deref(), state };
        let mut reply = json(code.status(), &body);
        let headers = reply.headers_mut();
        if let Some(secs) = retry_after_secs {
            headers.insert(RETRY_AFTER, secs.into());
        }
        if closes {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        // Method names are ASCII, so this always holds.
        if let Some(Ok(allowed)) = allowed.as_deref().map(HeaderValue::from_str) {
            headers.insert(ALLOW, allowed);
        }
        reply
    }
}

impl From<Busy> for Refused {
    fn from(_: Busy) -> Self {
        Self::new(Code::Overloaded, "the server has no room for the request now: try again")
    }
}

impl From<Exhausted> for Refused {
    fn from(_: Exhausted) -> Self {
        let message = "the server holds as many bytes of requests and answers as it may: try again";
        Self::new(Code::Overloaded, message).with(|details| details.closes = true)
    }
}

impl From<Mistake> for Refused {
    fn from(Mistake { code, message, path }: Mistake) -> Self {
        Self::new(Code::Invalid, message).at(path).with(|details| details.word = Some(code))
    }
}

impl From<SignatureError> for Refused {
    fn from(error: SignatureError) -> Self {
        Self::new(Code::Unsigned, error.to_string())
    }
}

impl From<InboxError> for Refused {
    fn from(error: InboxError) -> Self {
        use campanile_inbox::Thing;
        let message = error.to_string();
        match error {
            InboxError::Invalid(mistake) => mistake.into(),
            InboxError::Unknown(thing) => {
                let code = match thing {
                    Thing::Notification => Code::UnknownNotification,
                    Thing::Key => Code::UnknownKey,
                    Thing::Audience => Code::UnknownAudience,
                    Thing::Category => Code::UnknownCategory,
                    Thing::Job => Code::UnknownJob,
                    Thing::Delivery => Code::UnknownDelivery,
                };
                Self::new(code, message)
            }
            InboxError::KeyReused { .. } => Self::new(Code::KeyReused, message).at("/key"),
            InboxError::Required { channel, .. } => {
                Self::new(Code::Required, message).at(format!("/channels/{channel}"))
            }
            InboxError::TooOld { state } => {
                Self::new(Code::TooOld, message).with(|details| details.state = Some(state))
            }
            InboxError::Busy { retry_after } => {
                let secs = retry_after.as_secs().max(1);
                Self::new(Code::Overloaded, message).with(|details| details.retry_after_secs = Some(secs))
            }
            InboxError::Broken { reason } => {
                tracing::error!(%reason, "the inbox has gone wrong");
                Self::new(
                    Code::StoreBroken,
                    "the inbox has gone wrong, which is not your mistake: the server's log says how",
                )
            }
            // What the database has said is for the operator, who finds it in the log.
            InboxError::Unavailable { .. } => Self::new(
                Code::StoreAway,
                "the inbox's store does not answer now: try again, with the same key if there is one",
            ),
        }
    }
}

/// What the parts that all endpoints share have refused, in this API's words.
impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        let message = error.to_string();
        let retry_after = match error {
            ApiError::TooManyEvents { retry_after_secs } => Some(retry_after_secs),
            _ => None,
        };
        let code = match error {
            ApiError::UnknownApp => Code::UnknownApp,
            ApiError::Disabled => Code::AppDisabled,
            ApiError::Signature(_) | ApiError::UnknownKey => Code::Unsigned,
            ApiError::BodyTooLarge { .. } => Code::BodyTooLarge,
            ApiError::BodyTooSlow { .. } | ApiError::BodyBroken => Code::BodyBroken,
            ApiError::NotUtf8 => Code::InvalidJson,
            ApiError::TooManyEvents { .. } => Code::TooMany,
            _ => Code::Overloaded,
        };
        let closes = matches!(code, Code::BodyTooLarge | Code::BodyBroken);
        Self::new(code, message).with(|details| {
            details.closes = closes;
            details.retry_after_secs = retry_after.or(details.retry_after_secs);
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn shown(refused: Refused) -> (u16, String) {
        let reply = refused.into_reply();
        (reply.status().as_u16(), String::from_utf8(reply.into_body().to_vec()).unwrap())
    }

    #[test]
    fn a_refusal_has_a_code_a_sentence_and_maybe_a_place() {
        let refused = Refused::new(Code::Missing, "title is missing: it is what the user reads first").at("/title");
        let body =
            r#"{"error":"missing","message":"title is missing: it is what the user reads first","path":"/title"}"#;
        assert_eq!(shown(refused), (400, body.to_owned()));
        let state = State { unread: 1, unseen: 0, seq: 9, rev: 12, announced: 0 };
        let (status, body) = shown(InboxError::TooOld { state }.into());
        assert!(status == 410 && body.ends_with(r#""unread":1,"unseen":0,"seq":9,"rev":12,"announced":0}"#), "{body}");
    }

    #[test]
    fn what_the_database_has_said_is_not_told_to_strangers() {
        let (status, body) = shown(InboxError::Unavailable { reason: "password of admin".into() }.into());
        assert_eq!(status, 503);
        assert!(!body.contains("admin"), "{body}");
    }

    #[test]
    fn codes_differ_and_what_may_be_repeated_says_when() {
        let words: HashSet<&str> = Code::ALL.iter().map(|code| code.word()).collect();
        assert_eq!(words.len(), Code::ALL.len());
        for code in Code::ALL {
            let reply = Refused::new(*code, "why").into_reply();
            let repeats = matches!(code.status().as_u16(), 429 | 503);
            assert_eq!(reply.headers().contains_key(RETRY_AFTER), repeats, "{code:?}");
            assert!(!code.about().is_empty());
        }
    }
}
