//! One push to one browser (RFC 8030).
//!
//! Owns the client, the request and the verdict. Never retries, never follows a redirect, never reads more of an answer than
//! it tells the operator. The invariant: only an address that [`push_endpoint`] allows is talked to, and what goes there
//! is sealed. Read on in [`super::vapid`] and [`super::sealed`].

use std::error::Error as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Certificate, Client, StatusCode, redirect};

use super::attempt::Attempt;
use super::push_endpoint::{self, CheckedNames, Reach};
use super::sealed::{self, BrowserKeys};
use super::vapid::Vapid;
use crate::crypto;

const USER_AGENT: &str = concat!("campanile/", env!("CARGO_PKG_VERSION"));

/// Connections kept open to one push service; there are a handful of these.
const IDLE_CONNECTIONS_PER_HOST: usize = 8;

/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 4096;

/// Characters of an answer that are told.
const ANSWER_CHARS_TOLD: usize = 200;

/// The longest that a push service may be asked to keep a message.
pub const TTL_MAX: Duration = Duration::from_secs(28 * 24 * 60 * 60);

/// How soon the device is to be woken (RFC 8030, section 5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Urgency {
    /// When it is on power and on Wi-Fi.
    VeryLow,
    /// When one of both.
    Low,
    /// On neither.
    #[default]
    Normal,
    /// Even with a low battery.
    High,
}

impl Urgency {
    /// Each of them.
    pub const ALL: [Self; 4] = [Self::VeryLow, Self::Low, Self::Normal, Self::High];

    /// As it is written in the header, and in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::VeryLow => "very-low",
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }
}

/// How to push.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whom a push service may write to: `mailto:` or `https:`.
    pub contact: String,
    /// Which addresses are talked to.
    pub reach: Reach,
    /// How soon devices are woken.
    pub urgency: Urgency,
    /// Certificates that are believed besides the system's, in PEM.
    pub roots: Option<Vec<u8>>,
    /// For a push service to answer.
    pub timeout: Duration,
}

/// What is pushed.
#[derive(Debug, Clone, Copy)]
pub struct Push<'a> {
    /// What the browser gets.
    pub text: &'a [u8],
    /// How long the push service keeps it for a browser that is away.
    pub ttl: Duration,
    /// Replaces what waits under the same topic: at most 32 characters of base64url.
    pub topic: &'a str,
}

/// What became of a push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    /// The subscription is of no use any more: to be forgotten.
    Gone {
        /// What the service said.
        reason: String,
    },
    /// Otherwise.
    Attempt(Attempt),
}

/// Pushes.
#[derive(Debug, Clone)]
pub struct WebPush {
    client: Client,
    vapid: Arc<Vapid>,
    settings: Settings,
}

impl WebPush {
    /// Makes the client.
    ///
    /// # Errors
    ///
    /// When the system's certificates cannot be had, in words for the operator.
    pub fn new(vapid: Arc<Vapid>, settings: Settings) -> Result<Self, String> {
        crypto::install_provider();
        let roots = settings.roots.as_deref().map_or_else(|| Ok(Vec::new()), Certificate::from_pem_bundle);
        let client = Client::builder()
            .tls_certs_merge(roots.map_err(|error| told(&error))?)
            .user_agent(USER_AGENT)
            .redirect(redirect::Policy::none())
            .pool_max_idle_per_host(IDLE_CONNECTIONS_PER_HOST)
            // A proxy would look names up for itself, and nobody would check what they lead to.
            .no_proxy()
            .dns_resolver(CheckedNames(settings.reach))
            // Shorter than the whole, so that "nobody was reached" is told apart from "nobody answered".
            .connect_timeout(settings.timeout / 2)
            .build()
            .map_err(|error| told(&error))?;
        Ok(Self { client, vapid, settings })
    }

    /// What browsers subscribe for.
    pub fn public_key(&self) -> &str {
        self.vapid.public_key()
    }

    /// Which addresses are talked to.
    pub fn reach(&self) -> Reach {
        self.settings.reach
    }

    /// Pushes once.
    pub async fn push(&self, endpoint: &str, keys: &BrowserKeys, push: Push<'_>, now: SystemTime) -> Pushed {
        // Settings may have become stricter since the browser came.
        let url = match push_endpoint::check(endpoint, self.settings.reach) {
            Ok(url) => url,
            Err(reason) => return Pushed::Gone { reason: format!("the endpoint {reason}") },
        };
        let sealed = match sealed::seal(keys, push.text) {
            Ok(sealed) => sealed,
            Err(error @ sealed::SealError::Keys) => return Pushed::Gone { reason: error.to_string() },
            Err(error) => return Pushed::Attempt(Attempt::Failed { reason: error.to_string() }),
        };
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let authorization = match self.vapid.authorization(&url, &self.settings.contact, since.as_secs()) {
            Ok(authorization) => authorization,
            Err(reason) => return Pushed::Attempt(Attempt::Again { reason, after: None }),
        };
        let request = self
            .client
            .post(url)
            .header(AUTHORIZATION, authorization)
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_ENCODING, "aes128gcm")
            .header("ttl", push.ttl.min(TTL_MAX).as_secs())
            .header("urgency", self.settings.urgency.name())
            .header("topic", push.topic)
            .timeout(self.settings.timeout)
            .body(sealed);
        match request.send().await {
            Ok(mut answer) => {
                let (status, after) = (answer.status(), retry_after(answer.headers(), now));
                let mut body = Vec::new();
                // The verdict is the status; an answer that breaks off later changes nothing.
                while let Ok(Some(chunk)) = answer.chunk().await {
                    body.extend_from_slice(&chunk[..chunk.len().min(ANSWER_BYTES_MAX - body.len())]);
                    if body.len() == ANSWER_BYTES_MAX {
                        break;
                    }
                }
                verdict(status, after, &body)
            }
            Err(error) if error.is_connect() || error.is_builder() => {
                let reason = format!("cannot reach the push service: {}", told(&error.without_url()));
                Pushed::Attempt(Attempt::Again { reason, after: None })
            }
            Err(error) => {
                let reason = if error.is_timeout() {
                    format!("the push service has not answered within {} s", self.settings.timeout.as_secs())
                } else {
                    told(&error.without_url())
                };
                Pushed::Attempt(Attempt::Unknown { reason })
            }
        }
    }
}

fn verdict(status: StatusCode, after: Option<Duration>, body: &[u8]) -> Pushed {
    if status.is_success() {
        return Pushed::Attempt(Attempt::Sent);
    }
    let said: String = String::from_utf8_lossy(body)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(ANSWER_CHARS_TOLD)
        .collect();
    let said = said.trim();
    let mut reason = format!("the push service answered {}", status.as_u16());
    if !said.is_empty() {
        reason = format!("{reason}: {said}");
    }
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => Pushed::Gone { reason },
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => {
            Pushed::Attempt(Attempt::Again { reason, after })
        }
        status if status.is_server_error() => Pushed::Attempt(Attempt::Again { reason, after }),
        _ => Pushed::Attempt(Attempt::Failed { reason }),
    }
}

/// Seconds, or a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(secs) = text.parse() {
        return Some(Duration::from_secs(secs));
    }
    Some(httpdate::parse_http_date(text).ok()?.duration_since(now).unwrap_or_default())
}

/// An error with its causes, which the client's own text leaves out.
fn told(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
pub(crate) mod tests;
