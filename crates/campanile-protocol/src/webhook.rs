//! The body of a webhook.
//!
//! Owns the shape of an event and of the envelope around it, and the id by which a receiver recognises a repetition.
//! Never signs and never sends. The invariant: an event is encoded once, so that what waits in a queue and what is
//! delivered, however often, are the same bytes. Read on in [`crate::signature`] for what signs the body.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// One event of a webhook. Which fields there are depends on `name`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookEvent {
    /// What happened: `channel_occupied`, `member_added` and so on.
    pub name: String,
    /// Where; connections opening and closing are in no channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
    /// The member, on presence channels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The name of a client event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// The data of a client event: always a string, as server SDKs expect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket_id: Option<String>,
    /// Connections that are subscribed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscription_count: Option<usize>,
    /// The same whenever this event is delivered again.
    pub event_id: String,
}

impl WebhookEvent {
    /// The event as it stands in the envelope.
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers are always JSON")
    }
}

/// A whole body, as a receiver reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookBody {
    /// When the latest of the events happened, in milliseconds since 1970.
    pub time_ms: u64,
    /// What happened, in order.
    pub events: Vec<WebhookEvent>,
}

/// More than the envelope adds to its events: the names, the braces and the digits of the time.
pub const ENVELOPE_BYTES_MAX: usize = 48;

/// Puts encoded events into their envelope.
pub fn encode_body<'a>(time_ms: u64, events: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut body = format!(r#"{{"time_ms":{time_ms},"events":["#).into_bytes();
    for (index, event) in events.into_iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(event);
    }
    body.extend_from_slice(b"]}");
    body
}

/// What makes an event this one and no other.
#[derive(Debug, Clone, Copy)]
pub struct EventIdentity<'a> {
    /// The app's id.
    pub app: &'a str,
    /// The channel, or nothing.
    pub channel: &'a str,
    /// The event's name.
    pub name: &'a str,
    /// Whom or what it is about: a member, a connection, a client event's name, a count.
    pub subject: &'a str,
    /// Which life of the server it happened in.
    pub incarnation: u64,
    /// Its number in that life.
    pub edge: u64,
}

impl EventIdentity<'_> {
    /// The id: 32 hexadecimal digits.
    pub fn event_id(&self) -> String {
        const BYTES: usize = 16;
        let mut hash = Sha256::new();
        // Each text is preceded by its length, so that no two identities are the same bytes.
        for text in [self.app, self.channel, self.name, self.subject] {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        hash.update(self.incarnation.to_be_bytes());
        hash.update(self.edge.to_be_bytes());
        hex::encode(&hash.finalize()[..BYTES])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str) -> WebhookEvent {
        WebhookEvent {
            name: name.to_owned(),
            channel: Some("presence-room".to_owned()),
            user_id: None,
            event: None,
            data: None,
            socket_id: None,
            subscription_count: None,
            event_id: "e1".to_owned(),
        }
    }

    fn text(event: &WebhookEvent) -> String {
        String::from_utf8(event.encode()).unwrap()
    }

    #[test]
    fn each_kind_of_event_has_its_documented_fields_and_no_others() {
        assert_eq!(
            text(&event("channel_occupied")),
            r#"{"name":"channel_occupied","channel":"presence-room","event_id":"e1"}"#
        );
        assert_eq!(
            text(&WebhookEvent { user_id: Some("7".to_owned()), ..event("member_added") }),
            r#"{"name":"member_added","channel":"presence-room","user_id":"7","event_id":"e1"}"#
        );
        assert_eq!(
            text(&WebhookEvent { subscription_count: Some(0), ..event("subscription_count") }),
            r#"{"name":"subscription_count","channel":"presence-room","subscription_count":0,"event_id":"e1"}"#
        );
        assert_eq!(
            text(&WebhookEvent { channel: None, socket_id: Some("1.2".to_owned()), ..event("connection_opened") }),
            r#"{"name":"connection_opened","socket_id":"1.2","event_id":"e1"}"#
        );
        let client_event = WebhookEvent {
            user_id: Some("7".to_owned()),
            event: Some("client-typing".to_owned()),
            data: Some(r#"{"on":true}"#.to_owned()),
            socket_id: Some("1.2".to_owned()),
            ..event("client_event")
        };
        assert_eq!(
            text(&client_event),
            concat!(
                r#"{"name":"client_event","channel":"presence-room","user_id":"7","event":"client-typing","#,
                r#""data":"{\"on\":true}","socket_id":"1.2","event_id":"e1"}"#
            )
        );
    }

    #[test]
    fn a_body_is_the_time_and_the_events_in_order() {
        let events = [event("channel_occupied").encode(), event("channel_vacated").encode()];
        let body = encode_body(1_327_078_148_132, events.iter().map(Vec::as_slice));
        assert_eq!(
            String::from_utf8(body.clone()).unwrap(),
            concat!(
                r#"{"time_ms":1327078148132,"events":["#,
                r#"{"name":"channel_occupied","channel":"presence-room","event_id":"e1"},"#,
                r#"{"name":"channel_vacated","channel":"presence-room","event_id":"e1"}]}"#
            )
        );
        let read: WebhookBody = serde_json::from_slice(&body).unwrap();
        assert_eq!(read.events, [event("channel_occupied"), event("channel_vacated")]);
        assert_eq!(serde_json::to_vec(&read).unwrap(), body);
    }

    #[test]
    fn the_envelope_never_adds_more_than_it_may() {
        assert!(encode_body(u64::MAX, []).len() <= ENVELOPE_BYTES_MAX);
    }

    #[test]
    fn an_event_keeps_its_id_and_shares_it_with_no_other() {
        let identity =
            EventIdentity { app: "a", channel: "c", name: "member_added", subject: "7", incarnation: 1, edge: 2 };
        let id = identity.event_id();
        assert_eq!(id, identity.event_id());
        assert_eq!(id.len(), 32);
        for other in [
            EventIdentity { app: "b", ..identity },
            EventIdentity { app: "ac", channel: "", ..identity },
            EventIdentity { name: "member_removed", ..identity },
            EventIdentity { subject: "8", ..identity },
            EventIdentity { incarnation: 2, ..identity },
            EventIdentity { edge: 3, ..identity },
        ] {
            assert_ne!(other.event_id(), id, "{other:?}");
        }
    }
}
