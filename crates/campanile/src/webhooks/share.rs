//! How much of an endpoint's room an event may fill.
//!
//! Owns the line between what takes a signature of the application and what anybody can cause who has the app key, which
//! is public: to occupy and to vacate public channels, to miss their remembered events, to connect. Counts are with those, be
//! the channel signed for or not: one signature is enough to change them as often as one likes, and the next tells it all.
//! What the guard holds up was published by the application itself, and so were notifications.
//! Never counts what waits. The invariant: half of the room stays for events that took a signature, however fast a stranger
//! invents names. Read on in [`super::intake`] and [`super::queue`], which have the room.

use std::borrow::Cow;

use campanile_hub::NoticeKind;
use campanile_protocol::ChannelName;
use serde::Deserialize;

/// How much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// Anybody can cause the event.
    Half,
    /// The application has signed for it.
    All,
}

impl Share {
    /// Of a notice.
    pub(super) fn of_notice(kind: &NoticeKind) -> Self {
        match kind {
            NoticeKind::GuardAlert { .. } | NoticeKind::Notification { .. } => Self::All,
            NoticeKind::SubscriptionCount { .. } => Self::Half,
            _ => Self::of_channel(kind.channel()),
        }
    }

    /// Of an event as it is in the file.
    pub(super) fn of_event(json: &[u8]) -> Self {
        #[derive(Deserialize)]
        struct Event<'a> {
            #[serde(borrow, default)]
            name: Option<Cow<'a, str>>,
            #[serde(borrow, default)]
            channel: Option<Cow<'a, str>>,
        }
        // What cannot be read is none of ours, and nothing that a stranger can bring about.
        let Ok(event) = serde_json::from_slice::<Event<'_>>(json) else { return Self::All };
        match event.name.as_deref() {
            Some(NoticeKind::GUARD_ALERT | NoticeKind::NOTIFICATION) => return Self::All,
            Some("subscription_count") => return Self::Half,
            _ => {}
        }
        Self::of_channel(event.channel.and_then(|name| ChannelName::parse(&name, usize::MAX).ok()).as_ref())
    }

    fn of_channel(channel: Option<&ChannelName>) -> Self {
        if channel.is_some_and(|channel| channel.kind().is_signed()) { Self::All } else { Self::Half }
    }

    /// So much of this. Where there is room for one at all, there is for anybody's.
    pub(super) fn part(self, max: u64) -> u64 {
        match self {
            Self::Half => max.div_ceil(2),
            Self::All => max,
        }
    }
}

#[cfg(test)]
mod tests {
    use campanile_protocol::{EventName, SocketId};

    use super::*;

    #[test]
    fn what_takes_a_signature_may_fill_all_and_what_anybody_can_cause_half() {
        let occupied = |name: &str| NoticeKind::ChannelOccupied { channel: ChannelName::parse(name, 200).unwrap() };
        for (name, share) in [
            ("orders", Share::Half),
            ("cache-orders", Share::Half),
            ("private-orders", Share::All),
            ("private-encrypted-orders", Share::All),
            ("presence-cache-orders", Share::All),
        ] {
            assert_eq!(Share::of_notice(&occupied(name)), share, "{name}");
            let json = format!(r#"{{"name":"channel_occupied","channel":"{name}"}}"#);
            assert_eq!(Share::of_event(json.as_bytes()), share, "{name}");
        }
        let counted =
            NoticeKind::SubscriptionCount { channel: ChannelName::parse("private-a", 200).unwrap(), count: 1 };
        assert_eq!(Share::of_notice(&counted), Share::Half);
        let json = br#"{"name":"subscription_count","channel":"private-a","subscription_count":1}"#;
        assert_eq!(Share::of_event(json), Share::Half);
        let opened = NoticeKind::ConnectionOpened { socket_id: SocketId { place: 1, secret: 2 } };
        assert_eq!(Share::of_notice(&opened), Share::Half);
        assert_eq!(Share::of_event(br#"{"name":"connection_opened","socket_id":"1.2"}"#), Share::Half);
        let alert = NoticeKind::GuardAlert {
            reason: "duplicates",
            rule: "dedupe[0]".into(),
            event: Some(EventName::parse("order.shipped", 200).unwrap()),
            data: "{}".into(),
        };
        assert_eq!(Share::of_notice(&alert), Share::All);
        let json = format!(r#"{{"name":"{}","event":"order.shipped"}}"#, alert.name());
        assert_eq!(Share::of_event(json.as_bytes()), Share::All);
        let notification = NoticeKind::Notification { user: "42".into(), data: "{}".into() };
        assert_eq!(Share::of_notice(&notification), Share::All);
        let json = format!(r#"{{"name":"{}","user_id":"42"}}"#, notification.name());
        assert_eq!(Share::of_event(json.as_bytes()), Share::All);
    }

    #[test]
    fn half_of_an_odd_number_is_the_larger() {
        let halves = [0, 1, 2, 3, 100].map(|max| Share::Half.part(max));
        assert_eq!((halves, Share::All.part(3)), ([0, 1, 1, 2, 50], 3));
    }
}
