//! Which channels are users' inboxes, and which events become rows there.
//!
//! Owns an app's patterns and what they say of a channel or a user. Never stores or pushes a notification. The invariant: an
//! app without an inbox has no [`Inboxes`] at all, so that whoever has none pays for none. Read on in [`crate::effect`] for
//! what happens when somebody enters such a channel.

use campanile_protocol::ChannelName;
use campanile_protocol::json::Pointer;

use crate::guard::Pattern;

/// An app's inboxes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inboxes {
    /// Where each user's inbox is pushed: each names its user.
    pub channels: Vec<Pattern>,
    /// Whose signature shows that a browser acts for a user: each names its user.
    pub identity: Vec<Pattern>,
    /// Which events become rows.
    pub captures: Vec<Capture>,
}

/// Events that are notifications: on their way to the channel they become rows in the user's inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// On which channels; it names the user.
    pub channel: Pattern,
    /// Which events.
    pub event: Pattern,
    /// Where in the data the notification's id is, a UUID.
    pub id: Pointer,
    /// Where its kind is.
    pub kind: Option<Pointer>,
    /// Where its category is.
    pub category: Option<Pointer>,
    /// Where its title is.
    pub title: Option<Pointer>,
    /// Where its text is.
    pub body: Option<Pointer>,
    /// Where the address is that it leads to.
    pub action_url: Option<Pointer>,
    /// What happens where the row cannot be written.
    pub on_store_error: OnStoreError,
}

/// What becomes of an event whose row cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnStoreError {
    /// Its publisher is refused, and may try again.
    Refuse,
    /// It is pushed nevertheless, and its publisher is told that it left no row.
    Push,
}

impl Inboxes {
    /// The user whose inbox is pushed on this channel.
    pub fn user<'n>(&self, channel: &'n ChannelName) -> Option<&'n str> {
        first_user(&self.channels, channel.as_str())
    }

    /// The user for whom whoever has this channel's signature may act.
    pub fn identified<'n>(&self, channel: &'n str) -> Option<&'n str> {
        first_user(&self.identity, channel)
    }

    /// The channels on which a user's inbox is pushed. A name that no channel can have is none.
    pub fn channels_of(&self, user: &str, length_max: usize) -> Vec<ChannelName> {
        let names = self.channels.iter().filter_map(|pattern| pattern.with_user(user));
        let mut channels: Vec<ChannelName> =
            names.filter_map(|name| ChannelName::parse(&name, length_max).ok()).collect();
        channels.dedup();
        channels
    }

    /// What makes a row of this event, and whose.
    pub fn capture<'n>(&self, event: &str, channel: &'n ChannelName) -> Option<(&Capture, &'n str)> {
        self.captures.iter().find_map(|capture| {
            let user = capture.channel.user(channel.as_str())?;
            capture.event.matches(event).then_some((capture, user))
        })
    }
}

fn first_user<'n>(patterns: &[Pattern], channel: &'n str) -> Option<&'n str> {
    patterns.iter().find_map(|pattern| pattern.user(channel))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    fn channel(name: &str) -> ChannelName {
        ChannelName::parse(name, 164).unwrap()
    }

    fn inboxes() -> Inboxes {
        let capture = |event: &str| Capture {
            channel: pattern("private-App.Models.User.{user}"),
            event: pattern(event),
            id: Pointer::parse("/id").unwrap(),
            kind: None,
            category: None,
            title: None,
            body: None,
            action_url: None,
            on_store_error: OnStoreError::Refuse,
        };
        Inboxes {
            channels: vec![pattern("private-user.{user}"), pattern("presence-{user}-devices")],
            identity: vec![pattern("private-user.{user}")],
            captures: vec![capture("first"), capture("*")],
        }
    }

    #[test]
    fn a_channel_tells_its_user_and_a_user_has_their_channels() {
        let inboxes = inboxes();
        assert_eq!(inboxes.user(&channel("private-user.42")), Some("42"));
        assert_eq!(inboxes.user(&channel("presence-42-devices")), Some("42"));
        assert_eq!(inboxes.user(&channel("private-team.42")), None);
        assert_eq!(inboxes.identified("private-user.42"), Some("42"));
        assert_eq!(inboxes.identified("presence-42-devices"), None);
        let names: Vec<String> =
            inboxes.channels_of("42", 164).iter().map(|channel| channel.as_str().to_owned()).collect();
        assert_eq!(names, ["private-user.42", "presence-42-devices"]);
    }

    #[test]
    fn a_user_whose_channel_would_be_no_channel_has_none() {
        assert!(inboxes().channels_of("a b", 164).is_empty());
        assert_eq!(inboxes().channels_of("42", 15).len(), 1, "the other name is too long");
    }

    #[test]
    fn the_first_rule_that_means_an_event_on_its_channel_captures_it() {
        let inboxes = inboxes();
        let name = channel("private-App.Models.User.42");
        let (capture, user) = inboxes.capture("first", &name).unwrap();
        assert_eq!((capture.event.as_str(), user), ("first", "42"));
        assert_eq!(inboxes.capture("second", &name).unwrap().0.event.as_str(), "*");
        assert!(inboxes.capture("first", &channel("private-user.42")).is_none());
    }
}
