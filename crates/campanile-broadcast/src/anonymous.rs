//! Events without a type of their own, for what is said once.
//!
//! Owns nothing but what it is given. Never checks more than any event is checked for when it is sent. The invariant: it
//! goes by the same verbs as every other event.

use std::borrow::Cow;

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::channel::{ChannelList, InvalidChannel, Listed};
use crate::event::BroadcastEvent;

/// An event whose name, channels and payload are given where it is sent.
///
/// ```
/// use campanile_broadcast::{AnonymousEvent, Campanile, Channel};
/// use serde_json::json;
///
/// #[derive(Channel)] #[channel("private-orders.{order}")] struct OrderChannel { order: i64 }
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// # let campanile = Campanile::fake();
/// let event = AnonymousEvent::new("order.placed").on(&OrderChannel { order: 7 }).with(json!({ "total": 950 }));
/// campanile.broadcast(event).send().await?;
/// # campanile.assert_broadcast::<AnonymousEvent>(|_, channels| channels == ["private-orders.7"]);
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "it is not sent without `campanile.broadcast(..)` and a verb"]
pub struct AnonymousEvent {
    name: Cow<'static, str>,
    channels: Result<ChannelList, InvalidChannel>,
    data: Value,
}

impl AnonymousEvent {
    /// An event with this name, for nobody yet, with an empty payload.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Self {
        Self { name: name.into(), channels: Ok(ChannelList::new()), data: Value::Object(serde_json::Map::new()) }
    }

    /// To this channel, too. If it has no name, the verb says so.
    pub fn on(mut self, channel: &impl Listed) -> Self {
        if let Ok(channels) = &mut self.channels
            && let Err(invalid) = channel.add_to(channels)
        {
            self.channels = Err(invalid);
        }
        self
    }

    /// With this payload.
    pub fn with(mut self, data: Value) -> Self {
        self.data = data;
        self
    }
}

impl Serialize for AnonymousEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.data.serialize(serializer)
    }
}

impl BroadcastEvent for AnonymousEvent {
    fn name(&self) -> Cow<'_, str> {
        Cow::Borrowed(&self.name)
    }

    fn channels(&self) -> Result<ChannelList, InvalidChannel> {
        self.channels.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::SignedInUser;

    #[test]
    fn it_is_what_it_was_given() {
        let event = AnonymousEvent::new("said").on(&SignedInUser(7)).on(&SignedInUser(8)).with(serde_json::json!([1]));
        assert_eq!(serde_json::to_string(&event).unwrap(), "[1]");
        assert_eq!(event.name(), "said");
        assert_eq!(event.channels().unwrap().names().len(), 2);
        assert_eq!(serde_json::to_string(&AnonymousEvent::new("said")).unwrap(), "{}");
    }

    #[test]
    fn a_channel_without_a_name_is_not_forgotten_for_a_later_one() {
        let event = AnonymousEvent::new("said").on(&SignedInUser("a b")).on(&SignedInUser(8));
        assert!(event.channels().is_err());
    }
}
