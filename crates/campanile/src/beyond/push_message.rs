//! What a push says, within what a push may hold.
//!
//! Owns the shape that the application's service worker gets, the topic and the time to live. Never encrypts and never sends.
//! The invariant: whatever a notification says, its message fits, and its id and title are in it. Read on in
//! [`super::sealed`] and [`super::web_push`].

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use campanile_inbox::{Notification, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::sealed::TEXT_BYTES_MAX;

/// 24 bytes are 32 characters of base64url, the most that a topic may have.
const TOPIC_BYTES: usize = 24;

/// The message for a service worker, as JSON. What does not fit is left out in this order: `data`, `actions`, the end of
/// `body`, `action_url`, the end of `title`.
pub fn text(notification: &Notification) -> Vec<u8> {
    let mut message = json!({
        "id": notification.id,
        "seq": notification.seq,
        "kind": notification.kind,
        "category": notification.category,
        "title": notification.title,
        "body": notification.body,
        "action_url": notification.action_url,
        "actions": notification.actions,
        "data": notification.data,
        "group": notification.group,
        "group_count": notification.group_count,
        "created_at": notification.created_at,
    });
    for name in ["data", "actions"] {
        if length(&message) > TEXT_BYTES_MAX {
            message[name] = Value::Null;
        }
    }
    cut(&mut message, "body");
    for name in ["action_url", "group", "category"] {
        if length(&message) > TEXT_BYTES_MAX {
            message[name] = Value::Null;
        }
    }
    cut(&mut message, "title");
    cut(&mut message, "kind");
    message.to_string().into_bytes()
}

fn length(message: &Value) -> usize {
    message.to_string().len()
}

/// Takes as much from the end of a text as is too much, however its characters are written in JSON.
fn cut(message: &mut Value, name: &str) {
    let Some(whole) = message[name].as_str().map(str::to_owned) else { return };
    if length(message) <= TEXT_BYTES_MAX {
        return;
    }
    let ends: Vec<usize> = whole.char_indices().map(|(at, _)| at).collect();
    // The longest beginning that fits, found by halving.
    let fits = ends.partition_point(|end| {
        message[name] = format!("{}…", &whole[..*end]).into();
        length(message) <= TEXT_BYTES_MAX
    });
    message[name] = match fits {
        0 => Value::Null,
        fits => format!("{}…", &whole[..ends[fits - 1]]).into(),
    };
}

/// What the push service replaces while it waits: an earlier attempt at the same notification, or an earlier state of the same
/// digest. A hash, because the service reads it.
pub fn topic(app: &str, user: &str, notification: &Notification) -> String {
    let mut hash = Sha256::new();
    let id = notification.id.to_string();
    for text in [app, user, notification.group.as_deref().unwrap_or(&id)] {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    }
    URL_SAFE_NO_PAD.encode(&hash.finalize()[..TOPIC_BYTES])
}

/// For how long the push service keeps it: until it expires, but no longer than that.
pub fn ttl(notification: &Notification, longest: Duration, now: Timestamp) -> Duration {
    notification.expires_at.map_or(longest, |expires| expires.since(now).min(longest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beyond::templates::tests::notification;

    fn message(notification: &Notification) -> Value {
        let text = text(notification);
        assert!(text.len() <= TEXT_BYTES_MAX, "{}", text.len());
        serde_json::from_slice(&text).unwrap()
    }

    #[test]
    fn a_service_worker_gets_what_it_shows_and_where_a_click_leads() {
        let message = message(&notification("Hello"));
        let expected = json!({
            "id": "00000000-0000-0000-0000-000000000007", "seq": 42, "kind": "comment.added", "category": "comments",
            "title": "Hello", "body": "Ada: \"<b>Looks</b> good\"", "action_url": "/documents/7", "actions": [],
            "data": {"author": "Ada"}, "group": null, "group_count": 1, "created_at": "2026-01-02T03:04:05.678Z",
        });
        assert_eq!(message, expected);
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_the_rest_stays() {
        let mut large = notification("Hello");
        large.data = json!({"much": "x".repeat(TEXT_BYTES_MAX)});
        let without_data = message(&large);
        assert_eq!((&without_data["data"], &without_data["title"]), (&Value::Null, &json!("Hello")));
        assert_eq!(without_data["body"], json!(large.body));

        // Two bytes in UTF-8 and as many in JSON; and six in JSON, of one.
        for character in ["ü", "\u{1}"] {
            large.body = Some(character.repeat(4000));
            let cut = message(&large);
            let body = cut["body"].as_str().unwrap();
            assert!(body.ends_with(&format!("{character}…")), "{body}");
            assert!(text(&large).len() > TEXT_BYTES_MAX - 10, "no more was taken than had to be");
        }
        large.title = "\u{1}".repeat(512);
        large.kind = "\u{1}".repeat(200);
        large.action_url = Some("/".repeat(2048));
        assert_eq!(message(&large)["id"], "00000000-0000-0000-0000-000000000007");
    }

    #[test]
    fn a_text_that_just_fits_stays_and_one_byte_more_costs_the_data() {
        let mut fits = notification("Hello");
        fits.body = None;
        fits.data = json!("");
        let room = TEXT_BYTES_MAX - text(&fits).len();
        fits.data = json!("x".repeat(room));
        assert_eq!((text(&fits).len(), &message(&fits)["data"]), (TEXT_BYTES_MAX, &fits.data));
        fits.data = json!("x".repeat(room + 1));
        assert_eq!(message(&fits)["data"], Value::Null);
    }

    #[test]
    fn a_topic_is_one_notifications_or_one_digests_and_tells_nothing() {
        let one = notification("Hello");
        let mut digest = notification("Hello");
        digest.group = Some("comments:7".to_owned());
        let topics =
            [topic("a", "42", &one), topic("a", "43", &one), topic("b", "42", &one), topic("a", "42", &digest)];
        for (at, topic) in topics.iter().enumerate() {
            assert_eq!(topic.len(), 32);
            assert!(!topics[..at].contains(topic));
        }
        assert_eq!(topics[0], topic("a", "42", &notification("Other words")));
    }

    #[test]
    fn a_push_waits_no_longer_than_its_notification_is_of_use() {
        let (now, day) = (Timestamp::from_millis(1_000_000), Duration::from_secs(86_400));
        let mut expiring = notification("Hello");
        assert_eq!(ttl(&expiring, day, now), day);
        expiring.expires_at = Some(now.plus(Duration::from_secs(60)));
        assert_eq!(ttl(&expiring, day, now), Duration::from_secs(60));
        expiring.expires_at = Some(now.minus(Duration::from_secs(60)));
        assert_eq!(ttl(&expiring, day, now), Duration::ZERO);
    }
}
