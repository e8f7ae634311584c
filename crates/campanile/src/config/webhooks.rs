//! `[[apps.webhooks]]`: whom to tell what happens.
//!
//! Owns an endpoint's address, its choice of events and the bounds of its queue. Never calls it. The
//! invariant: nothing an operator sets can replace a header that the signature or the framing
//! depends on. Next: `limits.rs` for the bounds.

use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use reqwest::Url;

use super::file::WebhookTable;
use super::limits::{
    Numbers, WEBHOOK_DEAD_LETTERS_MAX, WEBHOOK_QUEUE_BYTES_MAX, WEBHOOK_QUEUE_EVENTS_MAX, WEBHOOK_TIMEOUT_SECS, count,
    seconds,
};
use super::problem::Problems;
use super::secret::{REDACTED, REDACTED_REFUSAL};

/// One endpoint.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WebhookConfig {
    /// `http` or `https`, without user or password.
    pub url: Url,
    /// Which events, without repetition.
    pub events: Vec<WebhookEvent>,
    /// Only channels whose name begins so; empty means all.
    pub channel_prefix: String,
    /// Several events in one request?
    pub batch: bool,
    /// Add the socket id to events about members?
    pub socket_id: bool,
    /// For the endpoint to answer.
    pub timeout: Duration,
    /// Bytes that wait for the endpoint.
    pub queue_bytes_max: u64,
    /// Events that wait for the endpoint.
    pub queue_events_max: usize,
    /// Events kept after their delivery was given up.
    pub dead_letters_max: usize,
    /// To add to each request; the values are marked sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// What an endpoint can be told.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum WebhookEvent {
    /// A channel gained its first subscriber.
    ChannelOccupied,
    /// A channel lost its last subscriber.
    ChannelVacated,
    /// A user joined a presence channel.
    MemberAdded,
    /// A user left a presence channel.
    MemberRemoved,
    /// A subscriber sent a client event.
    ClientEvent,
    /// A cache channel had nothing to give.
    CacheMiss,
    /// The number of subscribers changed.
    SubscriptionCount,
    /// A connection was accepted; ours, and only on request.
    ConnectionOpened,
    /// A connection ended; ours, and only on request.
    ConnectionClosed,
    /// The guard holds up a publisher that seems to have gone wrong; ours, and only on request.
    GuardAlert,
    /// A user has not taken a notification; ours, and only on request.
    Notification,
}

impl WebhookEvent {
    /// Pusher's seven, which an endpoint gets unless it chooses.
    pub const DEFAULT: [Self; 7] = [
        Self::ChannelOccupied,
        Self::ChannelVacated,
        Self::MemberAdded,
        Self::MemberRemoved,
        Self::ClientEvent,
        Self::CacheMiss,
        Self::SubscriptionCount,
    ];

    /// All eleven.
    pub const ALL: [Self; 11] = [
        Self::ChannelOccupied,
        Self::ChannelVacated,
        Self::MemberAdded,
        Self::MemberRemoved,
        Self::ClientEvent,
        Self::CacheMiss,
        Self::SubscriptionCount,
        Self::ConnectionOpened,
        Self::ConnectionClosed,
        Self::GuardAlert,
        Self::Notification,
    ];

    /// The event's name in the file and on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ChannelOccupied => "channel_occupied",
            Self::ChannelVacated => "channel_vacated",
            Self::MemberAdded => "member_added",
            Self::MemberRemoved => "member_removed",
            Self::ClientEvent => "client_event",
            Self::CacheMiss => "cache_miss",
            Self::SubscriptionCount => "subscription_count",
            Self::ConnectionOpened => "connection_opened",
            Self::ConnectionClosed => "connection_closed",
            Self::GuardAlert => "guard_alert",
            Self::Notification => "notification",
        }
    }
}

/// Headers that are ours to set: identity, signature and framing.
const OWN_HEADERS: [&str; 8] = [
    "connection",
    "content-length",
    "content-type",
    "host",
    "te",
    "transfer-encoding",
    "x-pusher-key",
    "x-pusher-signature",
];

impl WebhookConfig {
    pub(super) fn read(table: &mut WebhookTable, path: &str, problems: &mut Problems) -> Option<Self> {
        let url = url(table, path, problems);
        let events = events(table, path, problems);
        let headers = headers(table, path, problems);
        let mut numbers = Numbers { path, problems };
        let timeout = numbers.read(&WEBHOOK_TIMEOUT_SECS, &mut table.timeout_secs);
        let queue_bytes_max = numbers.read(&WEBHOOK_QUEUE_BYTES_MAX, &mut table.queue_bytes_max);
        let queue_events_max = numbers.read(&WEBHOOK_QUEUE_EVENTS_MAX, &mut table.queue_events_max);
        let dead_letters_max = numbers.read(&WEBHOOK_DEAD_LETTERS_MAX, &mut table.dead_letters_max);
        Some(Self {
            url: url?,
            events,
            channel_prefix: table.channel_prefix.get_or_insert_default().clone(),
            batch: *table.batch.get_or_insert(true),
            socket_id: *table.socket_id.get_or_insert(false),
            timeout: seconds(timeout),
            queue_bytes_max,
            queue_events_max: count(queue_events_max),
            dead_letters_max: count(dead_letters_max),
            headers,
        })
    }
}

fn url(table: &WebhookTable, path: &str, problems: &mut Problems) -> Option<Url> {
    let Some(written) = &table.url else {
        problems.missing(path, "url", "url is missing: set where to send the events");
        return None;
    };
    let at = format!("{path}.url");
    // The text itself is not quoted: it may carry a token.
    match Url::parse(written) {
        _ if written.contains(REDACTED) => {
            problems.at(&at, REDACTED_REFUSAL);
            None
        }
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            let text = format!("must begin with http:// or https://, not {}:", url.scheme());
            problems.at(&at, text);
            None
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            problems.at(&at, "must not hold a user or password: set an authorization header in headers");
            None
        }
        Ok(url) => Some(url),
        Err(reason) => {
            problems.at(&at, format!("is not a URL ({reason}): write it as in https://example.com/webhooks"));
            None
        }
    }
}

fn events(table: &mut WebhookTable, path: &str, problems: &mut Problems) -> Vec<WebhookEvent> {
    let written =
        table.events.get_or_insert_with(|| WebhookEvent::DEFAULT.map(|event| event.as_str().to_owned()).to_vec());
    if written.is_empty() {
        problems.at(
            &format!("{path}.events"),
            "is empty: name an event, leave the setting out for Pusher's seven, or remove the \
             webhook",
        );
    }
    let mut events = Vec::new();
    for (index, name) in written.iter().enumerate() {
        let at = format!("{path}.events[{index}]");
        match WebhookEvent::ALL.into_iter().find(|e| e.as_str() == name) {
            Some(event) if events.contains(&event) => {
                problems.at(&at, format!("{name:?} is named twice"));
            }
            Some(event) => events.push(event),
            None => {
                let nearest = WebhookEvent::ALL
                    .into_iter()
                    .map(WebhookEvent::as_str)
                    .min_by_key(|known| strsim::damerau_levenshtein(name, known))
                    .unwrap_or_default();
                problems.at(&at, format!("unknown event {name:?}; did you mean {nearest:?}?"));
            }
        }
    }
    events
}

fn headers(table: &WebhookTable, path: &str, problems: &mut Problems) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::new();
    for (name, value) in table.headers.iter().flatten() {
        let at = format!("{path}.headers.{name}");
        let Ok(header) = HeaderName::from_bytes(name.as_bytes()) else {
            problems.at(&at, "is not a header name");
            continue;
        };
        if OWN_HEADERS.contains(&header.as_str()) {
            problems.at(&at, "is set by the server: remove it");
            continue;
        }
        if value.expose() == REDACTED {
            problems.at(&at, REDACTED_REFUSAL);
            continue;
        }
        let Ok(mut value) = HeaderValue::from_str(value.expose()) else {
            problems.at(&at, "has characters that no header may have");
            continue;
        };
        value.set_sensitive(true);
        headers.push((header, value));
    }
    headers
}
