//! How events leave: signed requests to a Pusher Channels server.
//!
//! Owns what a publication becomes on the wire, when a request may be sent again, and the connections. Never sends a
//! request twice that may have had its effect, unless the server is said to know its `Idempotency-Key`. The invariant:
//! what is wrong with a publication is found before the first byte is sent. Read on in [`crate::campanile`].

use std::sync::Once;
use std::time::{Duration, Instant, SystemTime};

use campanile_protocol::limits::CHANNEL_NAME_LENGTH_HARD_MAX;
use campanile_protocol::name::InvalidName;
use campanile_protocol::signature::sign_request;
use campanile_protocol::{Access, ChannelName, EventName, Limits, SocketId};
use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::redirect::Policy;
use serde::{Deserialize, Serialize};

use crate::authorize::Signer;
use crate::channel::InvalidChannel;
use crate::draft::{Draft, InvalidNotification};
use crate::encryption::NoRandomness;
use crate::outbox::OutboxError;
use crate::outbox::job::QUEUE_NAME_LENGTH_MAX;
use crate::settings::{Settings, SettingsError};

/// Bytes of an answer that are read; an answer of the API is far shorter.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// Characters of an answer that is no JSON, such as a proxy's page, that an error repeats.
pub const ERROR_CHARACTERS_MAX: usize = 300;
/// How long a connection is kept that nothing is sent on: shorter than servers and proxies keep it, because a request
/// on a connection that was closed meanwhile may not be sent again.
pub const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The pause before the first retry; it doubles with each, and a random part of it is taken off.
pub const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// The pause where `Retry-After` is a date, which is not read.
const RETRY_AFTER_DATE: Duration = Duration::from_secs(1);

const IDEMPOTENCY_KEY: &str = "Idempotency-Key";

/// Why an event was not published, or may not have been.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A channel has no name.
    #[error(transparent)]
    Channel(#[from] InvalidChannel),
    /// The name of a channel is longer than the app allows.
    #[error("event {event:?}: {source}")]
    ChannelName {
        /// The event.
        event: String,
        /// What is wrong with the name.
        source: InvalidName,
    },
    /// The event's name is none.
    #[error("event {event:?}: {source}")]
    EventName {
        /// The event.
        event: String,
        /// What is wrong with the name.
        source: InvalidName,
    },
    /// serde could not.
    #[error("event {event:?} cannot be serialised: {source}")]
    Serialize {
        /// The event.
        event: String,
        /// Why.
        source: serde_json::Error,
    },
    /// Larger than the server takes.
    #[error("event {event:?} has {size} bytes of data, at most {max} are allowed: send what the page needs")]
    TooLarge {
        /// The event.
        event: String,
        /// The data's size as sent, encrypted where it is.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// An encrypted channel, and no key.
    #[error("event {event:?}: {channel:?} is encrypted, and the settings have no master key")]
    NoMasterKey {
        /// The event.
        event: String,
        /// The channel.
        channel: String,
    },
    /// No nonce or key could be drawn.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// The queue's name cannot be one.
    #[error(
        "event {event:?}: a queue has a name of 1 to {QUEUE_NAME_LENGTH_MAX} letters, digits, `-`, `_` and `.`, unlike {queue:?}"
    )]
    QueueName {
        /// The event.
        event: String,
        /// The name.
        queue: String,
    },
    /// Something is wrong with a notification.
    #[error("notification {kind:?}: {source}")]
    Notification {
        /// Its kind.
        kind: &'static str,
        /// What is wrong.
        source: InvalidNotification,
    },
    /// The outbox did not take it.
    #[error("event {event:?}: {source}")]
    Outbox {
        /// The event, or the first of a batch.
        event: String,
        /// Why.
        source: OutboxError,
    },
    /// The server did not take it, or not all of it.
    #[error("event {event:?}, after {accepted} of {requests} requests: {source}")]
    Undelivered {
        /// The event, or the first of a batch.
        event: String,
        /// Requests that the server accepted before.
        accepted: usize,
        /// Requests in all.
        requests: usize,
        /// Why.
        source: DeliveryError,
    },
}

/// Why a request had no effect that is known.
#[derive(Debug, thiserror::Error)]
pub enum DeliveryError {
    /// No answer.
    #[error("no answer from {origin}: {}", innermost(.source))]
    Unanswered {
        /// The server.
        origin: String,
        /// Why, without the URL, which holds a signature.
        source: reqwest::Error,
    },
    /// An answer that is no success.
    #[error("the server answered {status}: {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The server's sentence.
        message: String,
        /// When to come back.
        retry_after: Option<Duration>,
    },
    /// An answer longer than any that the API gives.
    #[error("the answer has more than {ANSWER_BYTES_MAX} bytes: is it a Pusher Channels server?")]
    AnswerTooLong,
}

/// One event with all that is needed to send it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Publication {
    pub(crate) event: String,
    pub(crate) channels: Vec<ChannelName>,
    pub(crate) data: String,
    pub(crate) socket_id: Option<SocketId>,
}

/// Requests that are ready to be signed and sent, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The event, or the first of a batch.
    pub(crate) event: String,
    /// What the requests' `Idempotency-Key`s are made of.
    pub(crate) key: String,
    pub(crate) requests: Vec<Request>,
}

/// A request but for its signature, which is of the moment when it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Request {
    endpoint: Endpoint,
    body: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Endpoint {
    Events,
    BatchEvents,
    Notifications,
}

impl Endpoint {
    fn path(self) -> &'static str {
        match self {
            Self::Events => "/events",
            Self::BatchEvents => "/batch_events",
            Self::Notifications => "/notifications",
        }
    }

    /// Whether every server knows a request by its key, which a notification has in its body.
    fn is_idempotent(self) -> bool {
        self == Self::Notifications
    }

    /// Whether an answer with this status is a yes.
    fn accepts_with(self, status: StatusCode) -> bool {
        status == StatusCode::OK || (self == Self::Notifications && status == StatusCode::ACCEPTED)
    }
}

/// What the server said of what it has accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acceptance {
    New,
    /// It has had it before, all of it.
    Duplicate,
}

/// A delivery that ended before all requests were accepted.
#[derive(Debug)]
pub(crate) struct Undelivered {
    /// Requests that the server has accepted, at earlier attempts too.
    pub(crate) accepted: usize,
    pub(crate) source: DeliveryError,
}

#[derive(Serialize)]
struct Trigger<'a> {
    name: &'a str,
    channels: Vec<&'a str>,
    data: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    socket_id: Option<String>,
}

#[derive(Serialize)]
struct BatchItem<'a> {
    channel: &'a str,
    name: &'a str,
    data: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    socket_id: Option<String>,
}

#[derive(Serialize)]
struct Batch<'a> {
    batch: &'a [BatchItem<'a>],
}

impl Publication {
    /// Checks what can be checked without the server.
    pub(crate) fn check(&self, limits: &Limits) -> Result<(), PublishError> {
        EventName::parse(&self.event, limits.event_name_length_max)
            .map_err(|source| PublishError::EventName { event: self.event.clone(), source })?;
        for channel in &self.channels {
            ChannelName::parse(channel.as_str(), limits.channel_name_length_max.min(CHANNEL_NAME_LENGTH_HARD_MAX))
                .map_err(|source| PublishError::ChannelName { event: self.event.clone(), source })?;
        }
        self.check_size(self.data.len(), limits)
    }

    fn check_size(&self, size: usize, limits: &Limits) -> Result<(), PublishError> {
        let max = limits.event_data_bytes_max;
        if size > max { Err(PublishError::TooLarge { event: self.event.clone(), size, max }) } else { Ok(()) }
    }

    /// The data as one channel gets it.
    fn data_for(&self, channel: &ChannelName, signer: &Signer) -> Result<String, PublishError> {
        if channel.kind().access != Access::Encrypted {
            return Ok(self.data.clone());
        }
        let Some(master_key) = &signer.master_key else {
            let channel = channel.as_str().to_owned();
            return Err(PublishError::NoMasterKey { event: self.event.clone(), channel });
        };
        let sealed = master_key.seal(channel.as_str(), &self.data)?;
        self.check_size(sealed.len(), &signer.limits)?;
        Ok(sealed)
    }

    fn batch_items(&self, only: Option<Access>, signer: &Signer) -> Result<Vec<BatchItem<'_>>, PublishError> {
        let channels = self.channels.iter().filter(|name| only.is_none_or(|access| name.kind().access == access));
        channels
            .map(|channel| {
                let data = self.data_for(channel, signer)?;
                Ok(BatchItem {
                    channel: channel.as_str(),
                    name: &self.event,
                    data,
                    socket_id: self.socket_id.map(|id| id.to_string()),
                })
            })
            .collect()
    }
}

impl Plan {
    /// One event: as few requests as its channels need. Encrypted channels have data of their own each.
    pub(crate) fn of_one(publication: &Publication, key: String, signer: &Signer) -> Result<Self, PublishError> {
        publication.check(&signer.limits)?;
        let is_encrypted = |name: &&ChannelName| name.kind().access == Access::Encrypted;
        let plain: Vec<&str> =
            publication.channels.iter().filter(|name| !is_encrypted(name)).map(ChannelName::as_str).collect();
        let triggers = plain.chunks(signer.limits.channels_per_event_max.max(1)).map(|channels| {
            let trigger = Trigger {
                name: &publication.event,
                channels: channels.to_vec(),
                data: &publication.data,
                socket_id: publication.socket_id.map(|id| id.to_string()),
            };
            Request { endpoint: Endpoint::Events, body: json(&trigger) }
        });
        let mut requests: Vec<Request> = triggers.collect();
        let sealed = publication.batch_items(Some(Access::Encrypted), signer)?;
        requests.extend(batches(&sealed, &signer.limits));
        Ok(Self { event: publication.event.clone(), key, requests })
    }

    /// Several events, each channel of each an item of its own.
    pub(crate) fn of_many(publications: &[&Publication], key: String, signer: &Signer) -> Result<Self, PublishError> {
        let mut items = Vec::new();
        for publication in publications {
            publication.check(&signer.limits)?;
            items.extend(publication.batch_items(None, signer)?);
        }
        let event = publications.first().map_or_else(String::new, |publication| publication.event.clone());
        Ok(Self { event, key, requests: batches(&items, &signer.limits).collect() })
    }

    /// Notifications, each with a key in its body.
    pub(crate) fn of_drafts(kind: &str, key: String, drafts: &[&Draft]) -> Self {
        let request = |draft: &&Draft| Request { endpoint: Endpoint::Notifications, body: json(draft) };
        Self { event: kind.to_owned(), key, requests: drafts.iter().map(request).collect() }
    }

    /// The key of the request at this position.
    fn idempotency_key(&self, at: usize) -> String {
        if self.requests.len() == 1 { self.key.clone() } else { format!("{}-{at}", self.key) }
    }

    /// What a caller is told who waited for the delivery.
    pub(crate) fn undelivered(&self, Undelivered { accepted, source }: Undelivered) -> PublishError {
        PublishError::Undelivered { event: self.event.clone(), accepted, requests: self.requests.len(), source }
    }
}

fn batches<'a>(items: &'a [BatchItem<'a>], limits: &Limits) -> impl Iterator<Item = Request> + use<'a> {
    let batches = items.chunks(limits.batch_events_max.max(1));
    batches.map(|batch| Request { endpoint: Endpoint::BatchEvents, body: json(&Batch { batch }) })
}

fn json(body: &impl Serialize) -> String {
    serde_json::to_string(body).expect("strings and lists of strings can always be serialised")
}

/// 128 random bits, so that no two events share a key by chance.
pub(crate) fn random_key() -> Result<String, PublishError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(hex::encode(bytes))
}

/// The HTTP client of one app.
#[derive(Debug)]
pub(crate) struct Server {
    http: reqwest::Client,
    origin: String,
    base_path: String,
    retry: Retry,
}

impl Server {
    /// Prepares requests; connects when the first is sent.
    pub(crate) fn new(settings: &Settings) -> Result<Self, SettingsError> {
        settings.check_app()?;
        let (origin, prefix) = settings.checked_url()?;
        install_provider();
        // A signed request is for one server: no proxy that the environment names, no redirect.
        let mut http = reqwest::Client::builder()
            .connect_timeout(settings.timeouts.connect)
            .pool_idle_timeout(KEEP_ALIVE)
            .redirect(Policy::none())
            .no_proxy()
            .tcp_nodelay(true);
        if let Some(path) = &settings.ca_file {
            let refused =
                |source: Box<dyn std::error::Error + Send + Sync>| SettingsError::CaFile { path: path.clone(), source };
            let pem = std::fs::read(path).map_err(|error| refused(error.into()))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| refused(error.into()))?;
            if certificates.is_empty() {
                return Err(refused("has no certificate".into()));
            }
            http = http.tls_certs_only(certificates);
        }
        Ok(Self {
            http: http.build().map_err(SettingsError::Client)?,
            origin,
            base_path: format!("{prefix}/apps/{}", settings.app_id),
            retry: Retry { times: settings.retries, idempotent_server: settings.idempotent_server },
        })
    }

    /// Sends a plan's requests one after the other, but for the first `accepted`, all of them within `patience`.
    pub(crate) async fn deliver(
        &self,
        plan: &Plan,
        accepted: usize,
        signer: &Signer,
        patience: Duration,
    ) -> Result<Acceptance, Undelivered> {
        let deadline = Instant::now() + patience;
        let mut acceptance = Acceptance::Duplicate;
        for (at, request) in plan.requests.iter().enumerate().skip(accepted) {
            let sent = self.send(request, &plan.idempotency_key(at), signer, deadline).await;
            if sent.map_err(|source| Undelivered { accepted: at, source })? == Acceptance::New {
                acceptance = Acceptance::New;
            }
        }
        Ok(acceptance)
    }

    async fn send(
        &self,
        request: &Request,
        key: &str,
        signer: &Signer,
        deadline: Instant,
    ) -> Result<Acceptance, DeliveryError> {
        let mut retries = 0;
        let idempotent_server = self.retry.idempotent_server || request.endpoint.is_idempotent();
        let retry = Retry { idempotent_server, ..self.retry };
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let error = match self.attempt(request, key, signer, left).await {
                Ok(acceptance) => return Ok(acceptance),
                Err(error) => error,
            };
            let Some(pause) = retry.pause(Failure::of(&error), retries, random_fraction()) else {
                return Err(error);
            };
            if Instant::now() + pause >= deadline {
                return Err(error);
            }
            tracing::debug!(%error, ?pause, "a publication is sent again");
            tokio::time::sleep(pause).await;
            retries += 1;
        }
    }

    async fn attempt(
        &self,
        request: &Request,
        key: &str,
        signer: &Signer,
        timeout: Duration,
    ) -> Result<Acceptance, DeliveryError> {
        let path = format!("{}{}", self.base_path, request.endpoint.path());
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().as_secs();
        let query = sign_request(&signer.key, &signer.secret, "POST", &path, &[], request.body.as_bytes(), now);
        let unanswered = |error: reqwest::Error| DeliveryError::Unanswered {
            origin: self.origin.clone(),
            source: error.without_url(),
        };
        let mut post = self
            .http
            .post(format!("{}{path}?{query}", self.origin))
            .timeout(timeout)
            .header(CONTENT_TYPE, "application/json")
            .body(request.body.clone());
        // The key of a notification may have characters that no header takes.
        if !request.endpoint.is_idempotent() {
            post = post.header(IDEMPOTENCY_KEY, key);
        }
        let mut response = post.send().await.map_err(unanswered)?;
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unanswered)? {
            if answer.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(DeliveryError::AnswerTooLong);
            }
            answer.extend_from_slice(&chunk);
        }
        let answer = String::from_utf8_lossy(&answer);
        // Some servers refuse with 200, and only the body tells.
        match request.endpoint.accepts_with(response.status()) && !is_refusal(&answer) {
            true if request.endpoint == Endpoint::Notifications && is_known(&answer) => Ok(Acceptance::Duplicate),
            true => Ok(Acceptance::New),
            false => Err(DeliveryError::Refused {
                status: response.status().as_u16(),
                message: sentence(answer.trim()),
                retry_after: response.headers().get(RETRY_AFTER).map(|value| retry_after(value.to_str().ok())),
            }),
        }
    }
}

/// Makes ring what rustls uses where nothing else is named: the HTTP client is built without a default.
fn install_provider() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // Refused where the application has chosen one already, which then serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

/// What an outbox makes of a delivery that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prospect {
    /// The server is away or busy: it is no fault of this event, so it waits until the server is back.
    Away {
        /// When the server said that it would be.
        retry_after: Option<Duration>,
    },
    /// Another attempt may succeed.
    Again,
    /// The server will never take it.
    Never,
}

impl DeliveryError {
    pub(crate) fn prospect(&self) -> Prospect {
        match (Failure::of(self), self) {
            (Failure::NotSent, _) => Prospect::Away { retry_after: None },
            (Failure::Busy { retry_after }, _) => Prospect::Away { retry_after: Some(retry_after) },
            (_, Self::Refused { status: 400 | 405 | 410 | 413 | 415 | 422, .. }) => Prospect::Never,
            _ => Prospect::Again,
        }
    }
}

/// When a request may be sent again.
#[derive(Debug, Clone, Copy)]
struct Retry {
    times: u32,
    idempotent_server: bool,
}

/// What is known of a request that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    /// No byte of it was sent.
    NotSent,
    /// The server said that it did not take it, and when to come back.
    Busy { retry_after: Duration },
    /// It may have had its effect.
    Unknown,
    /// It was refused for what it is.
    Refused,
}

impl Failure {
    fn of(error: &DeliveryError) -> Self {
        match error {
            DeliveryError::Unanswered { source, .. } if source.is_connect() => Self::NotSent,
            DeliveryError::Unanswered { .. } => Self::Unknown,
            DeliveryError::Refused { status: 429 | 503, retry_after: Some(retry_after), .. } => {
                Self::Busy { retry_after: *retry_after }
            }
            DeliveryError::Refused { status: 429 | 500.., .. } => Self::Unknown,
            DeliveryError::Refused { .. } | DeliveryError::AnswerTooLong => Self::Refused,
        }
    }
}

impl Retry {
    /// How long to wait before the next attempt, after so many; `fraction` is a random number from 0 to 1.
    fn pause(self, failure: Failure, retries: u32, fraction: f64) -> Option<Duration> {
        if retries >= self.times {
            return None;
        }
        let longest = RETRY_PAUSE * 2_u32.saturating_pow(retries.min(16));
        match failure {
            Failure::NotSent => Some(longest.mul_f64(1.0 - fraction / 2.0)),
            Failure::Unknown if self.idempotent_server => Some(longest.mul_f64(1.0 - fraction / 2.0)),
            // Never sooner than the server said, and not all at once.
            Failure::Busy { retry_after } => Some(retry_after + longest.mul_f64(fraction)),
            Failure::Unknown | Failure::Refused => None,
        }
    }
}

/// From 0 to 1. Without randomness there is no jitter, which is not worth an error.
pub(crate) fn random_fraction() -> f64 {
    getrandom::u32().map_or(0.0, |random| f64::from(random) / f64::from(u32::MAX))
}

fn retry_after(value: Option<&str>) -> Duration {
    value.and_then(|value| value.trim().parse().ok()).map_or(RETRY_AFTER_DATE, Duration::from_secs)
}

/// Whether an answer says that something is wrong: no answer of the API has a top-level `error` otherwise.
fn is_refusal(answer: &str) -> bool {
    #[derive(Deserialize)]
    struct Refusal {
        error: Option<String>,
    }
    serde_json::from_str::<Refusal>(answer).is_ok_and(|answer| answer.error.is_some())
}

/// Whether an answer says of a notification that it is known.
fn is_known(answer: &str) -> bool {
    #[derive(Deserialize)]
    struct Said {
        outcome: String,
    }
    serde_json::from_str::<Said>(answer).is_ok_and(|said| said.outcome == "duplicate")
}

/// What the server says is wrong: the sentence in its JSON, or the text as it stands.
fn sentence(answer: &str) -> String {
    #[derive(Deserialize)]
    struct Said {
        error: Option<String>,
        message: Option<String>,
        path: Option<String>,
    }
    match serde_json::from_str::<Said>(answer) {
        // Of a notification: a code for programs, a sentence, and where it is wrong.
        Ok(Said { error: Some(code), message: Some(message), path }) => {
            path.map_or_else(|| format!("{message} ({code})"), |path| format!("{path}: {message} ({code})"))
        }
        Ok(Said { error: Some(sentence), .. } | Said { message: Some(sentence), .. }) => sentence,
        _ if answer.is_empty() => "without a word".to_owned(),
        _ => answer.chars().take(ERROR_CHARACTERS_MAX).collect(),
    }
}

/// The innermost cause, which names what the operating system said.
fn innermost(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    use campanile_protocol::Secret;
    use serde_json::Value;

    use super::*;
    use crate::encryption::MasterKey;

    fn signer() -> Signer {
        Signer {
            key: "key".into(),
            secret: Secret::new("secret"),
            master_key: Some(MasterKey::from_base64("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap()),
            limits: Limits::default(),
        }
    }

    fn publication(channels: impl IntoIterator<Item = String>) -> Publication {
        let channels = channels.into_iter().map(|name| ChannelName::parse(&name, 164).unwrap()).collect();
        Publication { event: "order.shipped".into(), channels, data: r#"{"a":1}"#.into(), socket_id: None }
    }

    fn body(request: &Request) -> Value {
        serde_json::from_str(&request.body).unwrap()
    }

    #[test]
    fn a_hundred_channels_are_one_request_and_one_more_is_a_second() {
        let channels = |count| (0..count).map(|at| format!("orders.{at}"));
        let hundred = Plan::of_one(&publication(channels(100)), "k".into(), &signer()).unwrap();
        assert_eq!(hundred.requests.len(), 1);
        assert_eq!(hundred.idempotency_key(0), "k");
        let more = Plan::of_one(&publication(channels(101)), "k".into(), &signer()).unwrap();
        let sizes: Vec<usize> =
            more.requests.iter().map(|request| body(request)["channels"].as_array().unwrap().len()).collect();
        assert_eq!(sizes, [100, 1]);
        assert_eq!((more.idempotency_key(0), more.idempotency_key(1)), ("k-0".into(), "k-1".into()));
    }

    #[test]
    fn ten_events_are_one_batch_and_one_more_is_a_second() {
        let one = publication(["a".to_owned()]);
        let batches = |count| Plan::of_many(&vec![&one; count], "k".into(), &signer()).unwrap().requests;
        assert_eq!(batches(10).len(), 1);
        let eleven = batches(11);
        assert_eq!(body(&eleven[0])["batch"].as_array().unwrap().len(), 10);
        assert_eq!(body(&eleven[1])["batch"].as_array().unwrap().len(), 1);
    }

    #[test]
    fn encrypted_channels_are_encrypted_each_for_itself_and_never_in_the_clear() {
        let names = ["orders", "private-encrypted-a", "private-encrypted-b"].map(str::to_owned);
        let plan = Plan::of_one(&publication(names), "k".into(), &signer()).unwrap();
        let [plain, sealed] = &plan.requests[..] else { panic!("{plan:?}") };
        assert_eq!(body(plain)["channels"], serde_json::json!(["orders"]));
        assert_eq!((plain.endpoint.path(), sealed.endpoint.path()), ("/events", "/batch_events"));
        let sealed = body(sealed);
        for item in sealed["batch"].as_array().unwrap() {
            let data: Value = serde_json::from_str(item["data"].as_str().unwrap()).unwrap();
            assert!(data["nonce"].is_string() && data["ciphertext"].is_string(), "{data}");
        }
        let without = Signer { master_key: None, ..signer() };
        let refused = Plan::of_one(&publication(["private-encrypted-a".to_owned()]), "k".into(), &without);
        assert!(matches!(refused, Err(PublishError::NoMasterKey { .. })));
    }

    #[test]
    fn data_may_be_as_large_as_the_limit_and_the_error_names_event_and_size() {
        let mut event = publication(["orders".to_owned()]);
        event.data = "x".repeat(10_240);
        assert!(Plan::of_one(&event, "k".into(), &signer()).is_ok());
        event.data.push('x');
        let error = Plan::of_one(&event, "k".into(), &signer()).unwrap_err().to_string();
        assert!(error.contains("order.shipped") && error.contains("10241") && error.contains("10240"), "{error}");
    }

    #[test]
    fn encryption_counts_towards_the_limit() {
        let mut event = publication(["private-encrypted-orders".to_owned()]);
        let fits = |event: &Publication| Plan::of_one(event, "k".into(), &signer()).is_ok();
        // The nonce and the JSON take 60 bytes and leave 10,180 digits of base64 for 7,635 bytes, 16 of which are the seal.
        event.data = "x".repeat(7619);
        assert!(fits(&event));
        event.data.push('x');
        assert!(!fits(&event));
    }

    #[test]
    fn the_excluded_socket_and_the_events_name_are_in_every_request() {
        let mut event = publication(["a".to_owned(), "private-encrypted-a".to_owned()]);
        event.socket_id = SocketId::parse("1.2").ok();
        let plan = Plan::of_one(&event, "k".into(), &signer()).unwrap();
        assert_eq!(body(&plan.requests[0])["socket_id"], "1.2");
        assert_eq!(body(&plan.requests[1])["batch"][0]["socket_id"], "1.2");
        event.event = "pusher:ping".into();
        assert!(matches!(Plan::of_one(&event, "k".into(), &signer()), Err(PublishError::EventName { .. })));
    }

    #[test]
    fn only_what_had_no_effect_is_sent_again_unless_the_server_knows_idempotency_keys() {
        let stock = Retry { times: 2, idempotent_server: false };
        let ours = Retry { idempotent_server: true, ..stock };
        assert!(stock.pause(Failure::NotSent, 1, 0.5).is_some());
        assert!(stock.pause(Failure::NotSent, 2, 0.5).is_none());
        assert!(stock.pause(Failure::Unknown, 0, 0.5).is_none());
        assert!(ours.pause(Failure::Unknown, 0, 0.5).is_some());
        assert!(ours.pause(Failure::Refused, 0, 0.5).is_none());
        let busy = Failure::Busy { retry_after: Duration::from_secs(3) };
        assert_eq!(stock.pause(busy, 0, 0.0), Some(Duration::from_secs(3)));
        assert!(stock.pause(busy, 0, 1.0) > Some(Duration::from_secs(3)));
    }

    #[test]
    fn an_answer_says_whether_it_may_be_asked_again() {
        let refused =
            |status, retry_after| Failure::of(&DeliveryError::Refused { status, message: String::new(), retry_after });
        let second = Some(Duration::from_secs(1));
        assert_eq!(refused(503, second), Failure::Busy { retry_after: Duration::from_secs(1) });
        assert_eq!(refused(429, second), Failure::Busy { retry_after: Duration::from_secs(1) });
        assert_eq!(refused(503, None), Failure::Unknown);
        assert_eq!(refused(502, second), Failure::Unknown);
        for status in [200, 302, 400, 401, 403, 413] {
            assert_eq!(refused(status, second), Failure::Refused, "{status}");
        }
        assert_eq!(retry_after(Some("7")), Duration::from_secs(7));
        assert_eq!(retry_after(Some("Wed, 21 Oct 2026 07:28:00 GMT")), RETRY_AFTER_DATE);
    }

    #[test]
    fn an_outbox_waits_for_a_server_that_is_away_and_gives_up_what_no_server_takes() {
        let prospect =
            |status, retry_after| DeliveryError::Refused { status, message: String::new(), retry_after }.prospect();
        let retry_after = Some(Duration::from_secs(1));
        assert_eq!(prospect(503, retry_after), Prospect::Away { retry_after });
        for status in [401, 403, 404, 409, 429, 500, 503] {
            assert_eq!(prospect(status, None), Prospect::Again, "{status}");
        }
        for status in [400, 405, 410, 413, 415, 422] {
            assert_eq!(prospect(status, retry_after), Prospect::Never, "{status}");
        }
        assert_eq!(DeliveryError::AnswerTooLong.prospect(), Prospect::Again);
    }

    #[test]
    fn pauses_grow_and_differ() {
        let retry = Retry { times: 9, idempotent_server: false };
        let pause = |retries, fraction| retry.pause(Failure::NotSent, retries, fraction).unwrap();
        assert_eq!((pause(0, 0.0), pause(3, 0.0)), (RETRY_PAUSE, RETRY_PAUSE * 8));
        assert_eq!(pause(0, 1.0), RETRY_PAUSE / 2);
    }

    #[test]
    fn an_error_is_the_servers_own_sentence_and_a_page_is_cut_at_the_bound() {
        assert_eq!(sentence(r#"{"error":"no such key","code":401}"#), "no such key");
        assert_eq!(sentence(r#"{"message":"too long"}"#), "too long");
        let notified = r#"{"error":"key_reused","message":"another was sent under it","path":"/key"}"#;
        assert_eq!(sentence(notified), "/key: another was sent under it (key_reused)");
        assert_eq!(sentence(""), "without a word");
        let page = "é".repeat(ERROR_CHARACTERS_MAX);
        assert_eq!(sentence(&page), page);
        assert_eq!(sentence(&format!("{page}x")), page);
        assert!(is_known(r#"{"id":"0","outcome":"duplicate"}"#) && !is_known(r#"{"id":"0","outcome":"accepted"}"#));
        assert!(is_refusal(r#"{"error":"no"}"#) && !is_refusal("{}") && !is_refusal(r#"{"batch":[{}]}"#));
    }
}
