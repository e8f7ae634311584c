//! The HTTP API, as a server SDK calls it.
//!
//! Owns signed requests over kept connections. Never judges a body: the server does, and says what is
//! wrong. The invariant: an error carries the server's own sentence and never a signature.
//! Next: `campanile_protocol::signature`.

use std::time::{Duration, SystemTime};

use campanile_protocol::Secret;
use campanile_protocol::signature::sign_request;
use campanile_protocol::trigger::OUTCOME_HEADER;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;

use super::obstacle::Obstacle;
use super::visible;
use crate::crypto;
use crate::target::Target;

/// How long a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes of a reply that are read; the longest answer of the API, of usage with names as long as they may be, is shorter.
const REPLY_BYTES_MAX: usize = 8 << 20;

/// Bytes of an error that are shown where it is not the API's JSON but, say, a proxy's page.
const ERROR_CHARACTERS_MAX: usize = 300;

/// The API of one app.
#[derive(Debug)]
pub(crate) struct Api {
    http: reqwest::Client,
    origin: String,
    base_path: String,
    key: String,
    secret: Secret,
}

/// What the server answered with 200.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The reply, usually `{}`.
    pub(crate) body: String,
    /// What has become of the events, where they were not simply all published.
    pub(crate) outcome: Option<String>,
}

/// Why a request had no effect that we know of.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// No answer.
    #[error("no answer from {origin}: {}", causes(.source))]
    Unanswered { origin: String, source: reqwest::Error },
    /// An answer that is no success.
    #[error("the server answered {status}: {message}")]
    Refused { status: u16, message: String },
    /// An answer longer than any that the API gives.
    #[error("the answer has more than {REPLY_BYTES_MAX} bytes: is it a Pusher Channels server?")]
    TooLong,
    /// A success that the API cannot have meant.
    #[error("the server answered {status} with a page")]
    Page { status: u16 },
}

impl ApiError {
    /// What to do something about, where that is known.
    pub(crate) fn obstacle(&self) -> Option<Obstacle> {
        match self {
            Self::Unanswered { source, .. } => Obstacle::of(source),
            Self::Refused { status, message } => Obstacle::of_refusal(*status, message),
            Self::TooLong | Self::Page { .. } => Some(Obstacle::NotPusher),
        }
    }
}

impl Api {
    /// Prepares requests; connects when the first is sent.
    pub(crate) fn new(target: &Target) -> Result<Self, ApiError> {
        crypto::install_provider();
        let scheme = if target.tls { "https" } else { "http" };
        let origin = format!("{scheme}://{}", target.authority());
        let http = reqwest::Client::builder().timeout(REQUEST_TIMEOUT).no_proxy().tcp_nodelay(true).build();
        Ok(Self {
            http: http.map_err(|source| ApiError::Unanswered { origin: origin.clone(), source })?,
            origin,
            base_path: format!("{}/apps/{}", target.path_prefix, target.app_id),
            key: target.key.clone(),
            secret: Secret::new(target.secret.expose()),
        })
    }

    /// Posts a body to a path below `/apps/ID`, such as `/events`.
    pub(crate) async fn post(&self, path: &str, body: String) -> Result<Answer, ApiError> {
        let path = format!("{}{path}", self.base_path);
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
        let query = sign_request(&self.key, &self.secret, "POST", &path, &[], body.as_bytes(), now);
        let url = format!("{}{path}?{query}", self.origin);
        self.exchange(self.http.post(url).header(CONTENT_TYPE, "application/json").body(body)).await
    }

    /// Asks a path below `/apps/ID`, such as `/usage`, with these parameters.
    pub(crate) async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Answer, ApiError> {
        let path = format!("{}{path}", self.base_path);
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
        let query = sign_request(&self.key, &self.secret, "GET", &path, parameters, &[], now);
        self.exchange(self.http.get(format!("{}{path}?{query}", self.origin))).await
    }

    async fn exchange(&self, request: reqwest::RequestBuilder) -> Result<Answer, ApiError> {
        // The URL holds the signature, so it is kept out of every error.
        let unanswered =
            |error: reqwest::Error| ApiError::Unanswered { origin: self.origin.clone(), source: error.without_url() };
        let mut response = request.send().await.map_err(unanswered)?;
        let outcome = response.headers().get(OUTCOME_HEADER).and_then(|outcome| outcome.to_str().ok());
        let outcome = outcome.map(str::to_owned);
        let mut reply = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unanswered)? {
            if reply.len() + chunk.len() > REPLY_BYTES_MAX {
                return Err(ApiError::TooLong);
            }
            reply.extend_from_slice(&chunk);
        }
        let reply = String::from_utf8_lossy(&reply).trim().to_owned();
        let status = response.status();
        // Some servers refuse with 200, and only the body tells.
        match status.is_success() && !is_refusal(&reply) {
            true if reply.starts_with('<') => Err(ApiError::Page { status: status.as_u16() }),
            true => Ok(Answer { body: reply, outcome }),
            false => Err(ApiError::Refused { status: status.as_u16(), message: visible(&message(&reply)) }),
        }
    }
}

/// Whether a reply says that something is wrong: no reply of the API has a top-level `error` otherwise.
fn is_refusal(reply: &str) -> bool {
    #[derive(Deserialize)]
    struct Refusal {
        error: Option<String>,
    }
    serde_json::from_str::<Refusal>(reply).is_ok_and(|reply| reply.error.is_some())
}

/// What the server says is wrong: the sentence in its JSON, the title of a page, or the text as it stands.
pub(super) fn message(reply: &str) -> String {
    #[derive(Deserialize)]
    struct Reply {
        #[serde(alias = "message")]
        error: String,
    }
    match serde_json::from_str::<Reply>(reply) {
        Ok(reply) => reply.error,
        Err(_) if reply.is_empty() => "without a word".to_owned(),
        Err(_) if reply.starts_with('<') => title(reply).unwrap_or("with a page").to_owned(),
        Err(_) => reply.chars().take(ERROR_CHARACTERS_MAX).collect(),
    }
}

/// The title of a page, if it fits into a line.
fn title(page: &str) -> Option<&str> {
    let (_, rest) = page.split_once("<title>")?;
    let (title, _) = rest.split_once("</title>")?;
    (!title.is_empty() && title.len() <= ERROR_CHARACTERS_MAX && !title.contains(char::is_control)).then_some(title)
}

/// The innermost cause, which names what the operating system said.
fn causes(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_the_servers_own_sentence() {
        assert_eq!(message(r#"{"error":"no such key","code":401}"#), "no such key");
        assert_eq!(message(r#"{"message":"too long"}"#), "too long");
        assert_eq!(message("Not found"), "Not found");
        assert_eq!(message(""), "without a word");
        assert_eq!(message("<html><head><title>502 Bad Gateway</title></head>"), "502 Bad Gateway");
        for page in ["<html>", "<title></title>", "<title>\u{1b}[2J</title>"] {
            assert_eq!(message(page), "with a page");
        }
        let long = format!("<title>{}</title>", "x".repeat(ERROR_CHARACTERS_MAX));
        assert_eq!(message(&long).len(), ERROR_CHARACTERS_MAX);
        assert_eq!(message(&long.replace("</", "x</")), "with a page");
    }

    #[test]
    fn a_refusal_is_known_by_its_body_too() {
        assert!(is_refusal(r#"{"error":"no such key","code":401}"#));
        for success in ["", "{}", "ok", r#"{"channels":{"error":{}}}"#, r#"{"batch":[{}]}"#] {
            assert!(!is_refusal(success), "{success}");
        }
    }

    #[test]
    fn a_page_in_place_of_an_error_is_cut_at_the_bound() {
        let page = "é".repeat(ERROR_CHARACTERS_MAX);
        assert_eq!(message(&page), page);
        assert_eq!(message(&format!("{page}x")), page);
    }
}
