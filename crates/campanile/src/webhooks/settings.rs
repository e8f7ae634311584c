//! What one endpoint wants to be told, and in which words.
//!
//! Owns the choice of events and the way from a [`Notice`] to the JSON that is stored and sent. Never does I/O. The
//! invariant: what an endpoint did not ask for reaches neither its memory nor its file. Read on in
//! [`campanile_protocol::webhook`] for the shape, [`super::call`] for the request.

use std::sync::Arc;

use campanile_hub::{Notice, NoticeKind, NoticeSet};
use campanile_protocol::Secret;
use campanile_protocol::webhook::{EventIdentity, WebhookEvent};
use reqwest::header::HeaderValue;

use super::Error;
use super::queue::Bounds;
use crate::config::{AppConfig, WebhookConfig};

/// One endpoint of one app, as configured now.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) app: Arc<str>,
    /// The app's first active key: the one that signs.
    pub(super) key: HeaderValue,
    pub(super) secret: Secret,
    pub(super) webhook: WebhookConfig,
    events: NoticeSet,
}

impl Settings {
    /// Reads what concerns the endpoint. An app without an active key cannot sign.
    pub(super) fn new(app: &AppConfig, webhook: &WebhookConfig) -> Result<Self, Error> {
        let pair = app.keys.iter().find(|pair| pair.enabled);
        let pair = pair.ok_or_else(|| Error::NoKey { app: app.id.clone() })?;
        let key = HeaderValue::from_str(&pair.key).map_err(|_| Error::KeyCharacters { app: app.id.clone() })?;
        let mut events = NoticeSet::default();
        for (bit, name) in (0..).zip(NoticeKind::NAMES) {
            if webhook.events.iter().any(|event| event.as_str() == name) {
                events = events.with(bit);
            }
        }
        Ok(Self {
            app: app.id.as_str().into(),
            key,
            secret: Secret::new(pair.secret.expose()),
            webhook: webhook.clone(),
            events,
        })
    }

    /// Whether the endpoint is to hear of this. The prefix chooses among channels; connections are in none.
    pub(super) fn wants(&self, kind: &NoticeKind) -> bool {
        self.events.has(kind)
            && kind.channel().is_none_or(|channel| channel.as_str().starts_with(&self.webhook.channel_prefix))
    }

    /// The bounds of its file.
    pub(super) fn bounds(&self) -> Bounds {
        Bounds {
            events_max: self.webhook.queue_events_max as u64,
            bytes_max: self.webhook.queue_bytes_max,
            dead_letters_max: self.webhook.dead_letters_max as u64,
        }
    }

    /// The endpoint's address without its query, which may carry a token.
    pub(super) fn address(&self) -> String {
        let mut url = self.webhook.url.clone();
        url.set_query(None);
        url.set_fragment(None);
        url.into()
    }

    /// The event that tells this endpoint of the notice.
    pub(super) fn event(&self, notice: &Notice, incarnation: u64) -> WebhookEvent {
        let kind = &notice.kind;
        let channel = kind.channel().map(|channel| channel.as_str().to_owned());
        let mut event = WebhookEvent {
            name: kind.name().to_owned(),
            channel,
            user_id: None,
            event: None,
            data: None,
            socket_id: None,
            subscription_count: None,
            event_id: String::new(),
        };
        let subject = match kind {
            NoticeKind::ChannelOccupied { .. } | NoticeKind::ChannelVacated { .. } | NoticeKind::CacheMiss { .. } => {
                String::new()
            }
            NoticeKind::MemberAdded { user_id, socket_id, .. }
            | NoticeKind::MemberRemoved { user_id, socket_id, .. } => {
                event.user_id = Some(user_id.as_str().to_owned());
                event.socket_id = self.webhook.socket_id.then(|| socket_id.to_string());
                user_id.as_str().to_owned()
            }
            NoticeKind::ClientEvent { event: name, data, socket_id, user_id, .. } => {
                event.user_id = user_id.as_ref().map(|user| user.as_str().to_owned());
                event.event = Some(name.as_ref().to_owned());
                event.data = Some(data.decode());
                event.socket_id = Some(socket_id.to_string());
                name.as_ref().to_owned()
            }
            NoticeKind::SubscriptionCount { count, .. } => {
                event.subscription_count = Some(*count);
                count.to_string()
            }
            NoticeKind::ConnectionOpened { socket_id } | NoticeKind::ConnectionClosed { socket_id } => {
                event.socket_id = Some(socket_id.to_string());
                socket_id.to_string()
            }
            NoticeKind::GuardAlert { reason, rule, event: name, data } => {
                event.event = name.as_ref().map(|name| name.as_str().to_owned());
                event.data = Some(data.as_ref().to_owned());
                format!("{reason} {rule}")
            }
            NoticeKind::Notification { user, data } => {
                event.user_id = Some(user.as_ref().to_owned());
                event.data = Some(data.as_ref().to_owned());
                user.as_ref().to_owned()
            }
        };
        // Its edge is the store's number of the delivery, which outlives us: tried again after a restart, it is the same event.
        let is_stored = matches!(kind, NoticeKind::Notification { .. });
        event.event_id = EventIdentity {
            app: &notice.app,
            channel: event.channel.as_deref().unwrap_or_default(),
            name: &event.name,
            subject: &subject,
            incarnation: if is_stored { 0 } else { incarnation },
            edge: notice.edge,
        }
        .event_id();
        event
    }
}
