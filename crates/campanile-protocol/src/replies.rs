//! What the HTTP API answers.
//!
//! Owns the shapes of the replies. Never decides what is told: only what was asked for is filled in. The invariant: what
//! does not apply is left out, never `null` but for the cache of a channel that remembers nothing. Read on in
//! [`crate::attributes`] for what can be asked.

use serde::Serialize;
use serde::ser::Serializer;

use crate::name::ChannelName;

/// What a reply says of one channel: only what was asked for and applies to it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ChannelReply {
    /// Whether anybody subscribes; only where one channel was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub occupied: Option<bool>,
    /// Users in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_count: Option<usize>,
    /// Connections that are subscribed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_count: Option<usize>,
    /// What it remembers; `Some(None)`, written as `null`, is nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<Option<CacheReply>>,
}

/// What a cache channel remembers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CacheReply {
    /// The data of the last event.
    pub data: String,
    /// For how many more seconds.
    pub ttl: u64,
}

/// `{"channels":{"<name>":{..}}}`: to a trigger that asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChannelsReply {
    /// In this order.
    #[serde(serialize_with = "as_map")]
    pub channels: Vec<(ChannelName, ChannelReply)>,
}

fn as_map<S: Serializer>(channels: &[(ChannelName, ChannelReply)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(channels.iter().map(|(name, reply)| (name.as_str(), reply)))
}

/// The text of a [`ChannelsReply`] of any length, to `GET /channels`: written as the channels become known.
#[derive(Debug)]
pub struct ChannelsText {
    text: Vec<u8>,
    is_empty: bool,
}

const END: &[u8] = b"}}";

impl ChannelsText {
    /// The beginning.
    pub fn new() -> Self {
        Self { text: br#"{"channels":{"#.to_vec(), is_empty: true }
    }

    /// One channel more, which has not been told yet.
    pub fn push(&mut self, channel: &ChannelName, reply: &ChannelReply) {
        if !std::mem::take(&mut self.is_empty) {
            self.text.push(b',');
        }
        const INFALLIBLE: &str = "a name and counts are JSON, and a vector takes all of it";
        serde_json::to_writer(&mut self.text, channel.as_str()).expect(INFALLIBLE);
        self.text.push(b':');
        serde_json::to_writer(&mut self.text, reply).expect(INFALLIBLE);
    }

    /// How many bytes it would have, were this all.
    pub fn length(&self) -> usize {
        self.text.len() + END.len()
    }

    /// All of it.
    pub fn finish(mut self) -> Vec<u8> {
        self.text.extend_from_slice(END);
        self.text
    }
}

impl Default for ChannelsText {
    fn default() -> Self {
        Self::new()
    }
}

/// `{"batch":[{..},{}]}`: to a batch of which an event asked, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BatchReply {
    /// Empty objects for events that did not ask.
    pub batch: Vec<ChannelReply>,
}

/// `{"users":[{"id":".."}]}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UsersReply<'a> {
    /// Each user once.
    pub users: Vec<UserReply<'a>>,
}

/// A member of a presence channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UserReply<'a> {
    /// The user's id.
    pub id: &'a str,
}

/// `{"connections":3}`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ConnectionsReply {
    /// Connections of the app on this node.
    pub connections: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(reply: &impl Serialize) -> String {
        serde_json::to_string(reply).unwrap()
    }

    #[test]
    fn replies_have_the_documented_bytes() {
        let name = |name| ChannelName::parse(name, 164).unwrap();
        let counts = ChannelReply { user_count: Some(1), subscription_count: Some(2), ..ChannelReply::default() };
        let channels = ChannelsReply {
            channels: vec![(name("presence-x"), counts.clone()), (name("b"), ChannelReply::default())],
        };
        assert_eq!(json(&channels), r#"{"channels":{"presence-x":{"user_count":1,"subscription_count":2},"b":{}}}"#);
        for told in 0..=2 {
            let channels = ChannelsReply { channels: channels.channels[..told].to_vec() };
            let mut text = ChannelsText::new();
            for (channel, reply) in &channels.channels {
                text.push(channel, reply);
            }
            let length = text.length();
            let text = String::from_utf8(text.finish()).unwrap();
            assert_eq!((text.len(), text), (length, json(&channels)));
        }
        let batch = BatchReply { batch: vec![counts, ChannelReply::default()] };
        assert_eq!(json(&batch), r#"{"batch":[{"user_count":1,"subscription_count":2},{}]}"#);
        let cached = CacheReply { data: r#"{"a":1}"#.into(), ttl: 60 };
        let channel = ChannelReply { occupied: Some(true), cache: Some(Some(cached)), ..ChannelReply::default() };
        assert_eq!(json(&channel), r#"{"occupied":true,"cache":{"data":"{\"a\":1}","ttl":60}}"#);
        let empty = ChannelReply { occupied: Some(false), cache: Some(None), ..ChannelReply::default() };
        assert_eq!(json(&empty), r#"{"occupied":false,"cache":null}"#);
        let users = UsersReply { users: vec![UserReply { id: "1" }] };
        assert_eq!(json(&users), r#"{"users":[{"id":"1"}]}"#);
        assert_eq!(json(&ConnectionsReply { connections: 3 }), r#"{"connections":3}"#);
    }
}
