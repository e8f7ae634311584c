//! What a user's pages are told, as events.
//!
//! Owns their names and their data. Never sends one. The invariant: each carries how the inbox stood at the commit that it
//! tells of, so that whoever hears them in another order keeps the one with the highest `rev`.

use std::sync::Arc;

use bytes::Bytes;
use campanile_hub::{Publication, Receipt};
use campanile_inbox::{Notification, State, Uuid};
use campanile_protocol::json::DataLiteral;
use campanile_protocol::{ChannelName, EventName, ServerFrame};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::config::LARAVEL_NOTIFICATION;

const UPDATED: &str = "inbox.updated";
const STATE: &str = "inbox.state";

/// An event of a user's inbox, for whichever channel or stream.
#[derive(Debug, Clone)]
pub(super) struct Event {
    name: &'static str,
    data: String,
    /// What is to be said once one of the user's connections has taken it.
    receipt: Option<Arc<Receipt>>,
}

#[derive(Serialize)]
struct Updated<'a> {
    #[serde(flatten)]
    state: &'a State,
    changed: &'a [Uuid],
    reset: bool,
}

impl Event {
    /// Something has arrived: what Laravel's clients take for a notification, with ours beside.
    pub(super) fn arrived(notification: &Notification, state: &State) -> Self {
        let mut data = match &notification.data {
            Value::Object(own) => own.clone(),
            _ => Map::new(),
        };
        let text = |text: &Option<String>| text.as_ref().map_or(Value::Null, |text| Value::from(text.as_str()));
        data.insert("id".to_owned(), notification.id.to_string().into());
        data.insert("type".to_owned(), notification.kind.as_str().into());
        data.insert("title".to_owned(), notification.title.as_str().into());
        data.insert("body".to_owned(), text(&notification.body));
        data.insert("action_url".to_owned(), text(&notification.action_url));
        let mut ours = serde_json::to_value(state).expect("numbers are JSON");
        ours["seq"] = notification.seq.into();
        ours["rev"] = notification.rev.into();
        ours["announcement"] = notification.announcement.into();
        // Whole, so that a page which has missed nothing need not ask for what it has just been told.
        ours["notification"] = serde_json::to_value(notification).expect("a notification is JSON");
        data.insert("_campanile".to_owned(), ours);
        Self { name: LARAVEL_NOTIFICATION, data: Value::Object(data).to_string(), receipt: None }
    }

    /// The same, for a notification that goes by mail, push or webhook unless this is said.
    #[must_use]
    pub(super) fn awaited(self, receipt: Receipt) -> Self {
        Self { receipt: Some(Arc::new(receipt)), ..self }
    }

    /// The inbox is otherwise than before.
    pub(super) fn updated(state: &State, changed: &[Uuid], reset: bool) -> Self {
        Self { name: UPDATED, data: written(&Updated { state, changed, reset }), receipt: None }
    }

    /// How the inbox stands, for whoever has just come.
    pub(super) fn state(state: &State) -> Self {
        Self { name: STATE, data: written(state), receipt: None }
    }

    /// The frame for a channel's subscribers.
    pub(super) fn frame(&self, channel: &ChannelName) -> Bytes {
        let data = DataLiteral::from_text(&self.data);
        ServerFrame::Event { event: self.name, channel: channel.as_str(), data: &data, user_id: None }.encode()
    }

    /// As it is published on a channel. It is not sent again to those who come back: they are told how the inbox stands.
    pub(super) fn publication(&self, channel: &ChannelName) -> Publication {
        let remember = channel.kind().cached.then(|| DataLiteral::from_text(&self.data));
        let event = EventName::parse(self.name, self.name.len()).expect("our names are not the protocol's");
        Publication {
            event,
            frame: self.frame(channel),
            except: None,
            remember,
            lasting: false,
            receipt: self.receipt.clone(),
        }
    }

    /// The same in a stream of server-sent events.
    pub(super) fn in_stream(&self) -> Bytes {
        // JSON has no line break outside its texts, and serde writes none between.
        format!("event: {}\ndata: {}\n\n", self.name, self.data).into()
    }
}

fn written(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("numbers, flags and ids are JSON")
}

#[cfg(test)]
pub(super) mod tests {
    use campanile_inbox::Timestamp;
    use serde_json::json;

    use super::*;

    pub(in crate::inbox) fn notification() -> Notification {
        let at = Timestamp::from_millis(0);
        Notification {
            id: Uuid::from_u128(1),
            seq: 4,
            rev: 7,
            announcement: false,
            kind: "comment.added".into(),
            category: None,
            title: "New \"comment\"".into(),
            body: None,
            action_url: Some("/documents/7".into()),
            actions: Vec::new(),
            data: json!({ "document": 7, "id": "not ours" }),
            subject: None,
            group: None,
            group_count: 1,
            created_at: at,
            updated_at: at,
            read_at: None,
            seen_at: None,
            archived_at: None,
            snoozed_until: None,
            expires_at: None,
        }
    }

    #[test]
    fn what_arrives_is_laravels_event_with_our_numbers_beside() {
        let state = State { unread: 3, unseen: 2, seq: 4, rev: 7, announced: 1 };
        let event = Event::arrived(&notification(), &state);
        assert_eq!(event.name, r"Illuminate\Notifications\Events\BroadcastNotificationCreated");
        let data: Value = serde_json::from_str(&event.data).unwrap();
        assert_eq!(
            data,
            json!({
                "document": 7, "id": "00000000-0000-0000-0000-000000000001", "type": "comment.added",
                "title": "New \"comment\"", "body": null, "action_url": "/documents/7",
                "_campanile": {
                    "unread": 3, "unseen": 2, "seq": 4, "rev": 7, "announced": 1, "announcement": false,
                    "notification": serde_json::to_value(notification()).unwrap(),
                },
            })
        );
    }

    #[test]
    fn each_event_is_one_in_a_stream_and_a_frame_on_a_channel() {
        let state = State { unread: 1, unseen: 1, seq: 1, rev: 1, announced: 0 };
        let event = Event::updated(&state, &[Uuid::from_u128(1)], false);
        let data = r#"{"unread":1,"unseen":1,"seq":1,"rev":1,"announced":0,"changed":["00000000-0000-0000-0000-000000000001"],"reset":false}"#;
        assert_eq!(event.in_stream(), format!("event: inbox.updated\ndata: {data}\n\n").as_bytes());
        let channel = ChannelName::parse("private-user.42", 164).unwrap();
        assert_eq!(event.publication(&channel).event.as_str(), "inbox.updated");
        let frame = String::from_utf8_lossy(&event.frame(&channel)).into_owned();
        assert!(frame.contains(r#""event":"inbox.updated","channel":"private-user.42""#), "{frame}");
        let state = String::from_utf8_lossy(&Event::state(&state).in_stream()).into_owned();
        assert_eq!(
            state,
            "event: inbox.state\ndata: {\"unread\":1,\"unseen\":1,\"seq\":1,\"rev\":1,\"announced\":0}\n\n"
        );
    }
}
