//! Events as types: a name, channels, a payload.
//!
//! Owns what an event says of itself. Never sends it. The invariant: the payload is what serde makes of the event, so
//! a field that must not leave the application is `#[serde(skip)]`. Read on in [`crate::campanile`].

use std::borrow::Cow;

use serde::Serialize;

use crate::channel::{ChannelList, InvalidChannel};
use crate::outbox::JobOptions;

/// Something that happened, which browsers should hear of. Derive it with [`Broadcast`](macro@crate::Broadcast), or
/// implement it where channels or names are computed.
pub trait BroadcastEvent: Serialize {
    /// What browsers bind to.
    fn name(&self) -> Cow<'_, str>;

    /// Where it goes.
    ///
    /// # Errors
    ///
    /// When a channel has no name.
    fn channels(&self) -> Result<ChannelList, InvalidChannel>;

    /// Whether it is sent at all; asked once, before anything else.
    fn should_send(&self) -> bool {
        true
    }

    /// What is asked for the event in an outbox; a verb may be told otherwise.
    fn job(&self) -> JobOptions {
        JobOptions::new()
    }
}

/// An event whose name is that of its type: what the derive makes. Only of such can the front end have the types.
pub trait NamedEvent {
    /// What browsers bind to.
    const NAME: &'static str;
}
