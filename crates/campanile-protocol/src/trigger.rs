//! The events that a publisher's requests carry.
//!
//! Owns how a request is read: [`Trigger`], [`Batch`]. Never publishes, and never asks whether a channel exists. The
//! invariant: a trigger that exists is within its app's limits, so whoever publishes it checks nothing. Read on in
//! [`crate::signature`] for what must have been proved before a body is read, in [`crate::refusal`] for what is wrong with
//! one, in [`crate::attributes`] and [`crate::replies`] for the answer, and in [`crate::json`] for what happens to `data`.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::attributes::{Attribute, Attributes};
use crate::channel_kind::Access;
use crate::json::DataLiteral;
use crate::limits::Limits;
use crate::name::{ChannelName, EventName, SocketId};
use crate::refusal::{Reason, Refusal};
use crate::signature::SignedQuery;

/// The header of an answer to a request whose events were not simply all published, in lower case: what has become of
/// them.
pub const OUTCOME_HEADER: &str = "x-campanile-outcome";

/// One event for one or more channels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// The event's name.
    pub event: EventName,
    /// Where it goes: at least one channel, none twice.
    pub channels: Vec<ChannelName>,
    /// What it carries.
    pub data: DataLiteral,
    /// The connection that does not get it.
    pub socket_id: Option<SocketId>,
    /// What the publisher wants to know of each channel.
    pub info: Attributes,
}

/// Several events, each for one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// At least one; the replies stand in the same order.
    pub events: Vec<Trigger>,
}

/// A string that is borrowed from the body unless it has escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// An event as it is written: each field is looked at on its own, so that a refusal can name it.
#[derive(Deserialize, Default)]
struct Written<'a> {
    #[serde(borrow, default)]
    name: Option<&'a RawValue>,
    #[serde(borrow, default)]
    channel: Option<&'a RawValue>,
    #[serde(borrow, default)]
    channels: Option<&'a RawValue>,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    socket_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    info: Option<&'a RawValue>,
}

/// A batch that is as it should be, read in one pass over the body. Anything else is read as [`WrittenBatch`], more
/// slowly, so that a refusal can say where it is wrong.
#[derive(Deserialize)]
struct WellWrittenBatch<'a> {
    #[serde(borrow)]
    batch: Vec<WrittenObject<'a>>,
}

/// [`Written`], from an object alone: serde would take an array of its fields as well.
struct WrittenObject<'a>(Written<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for WrittenObject<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = WrittenObject<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                Written::deserialize(MapAccessDeserializer::new(map)).map(WrittenObject)
            }
        }

        deserializer.deserialize_map(Object)
    }
}

#[derive(Deserialize)]
struct WrittenBatch<'a> {
    #[serde(borrow, default)]
    batch: Option<&'a RawValue>,
}

/// Reads an object. An array of its fields would satisfy serde, but not the API.
fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, Refusal> {
    let malformed = |why: String| Refusal::at("body", Reason::Malformed(why));
    if !json.trim_start().starts_with('{') {
        return Err(malformed("it does not begin with {".to_owned()));
    }
    serde_json::from_str(json).map_err(|error| malformed(error.to_string()))
}

/// A field that must be a string, from the body or else from the query.
fn text<'a>(
    field: &'static str,
    body: Option<&'a RawValue>,
    query: Option<&'a str>,
) -> Result<Option<Cow<'a, str>>, Refusal> {
    match body {
        None => Ok(query.map(Cow::Borrowed)),
        Some(value) => match serde_json::from_str::<Text<'a>>(value.get()) {
            Ok(text) => Ok(Some(text.0)),
            Err(_) => Err(Refusal::at(field, Reason::Type { expected: "a string" })),
        },
    }
}

impl Trigger {
    /// Reads the body of `POST /events`. A parameter that the body lacks may stand in the query; `channels` is split at
    /// commas there, so a channel whose name has a comma must be named in the body or as `channel`.
    ///
    /// # Errors
    ///
    /// Names the first field that is missing or past its limit.
    pub fn parse(body: &str, query: &SignedQuery<'_>, limits: &Limits) -> Result<Self, Refusal> {
        let written = if body.trim().is_empty() { Written::default() } else { object::<Written<'_>>(body)? };
        let event = event_name(text("name", written.name, query.get("name"))?, limits)?;
        let names: Vec<_> = match written.channels {
            Some(list) => serde_json::from_str::<Vec<Text<'_>>>(list.get())
                .map_err(|_| Refusal::at("channels", Reason::Type { expected: "a list of strings" }))?
                .into_iter()
                .map(|name| name.0)
                .collect(),
            None => match text("channel", written.channel, query.get("channel"))? {
                Some(name) => return Self::on_one(event, &name, &written, Some(query), limits),
                None => query
                    .get("channels")
                    .ok_or(Refusal::at("channels", Reason::Missing))?
                    .split(',')
                    .map(Cow::Borrowed)
                    .collect(),
            },
        };
        let channels = channels(&names, limits)?;
        Self::complete(event, channels, &written, Some(query), limits)
    }

    /// Reads the deprecated `POST /channels/{name}/events`, whose body is the data itself.
    ///
    /// # Errors
    ///
    /// As [`Trigger::parse`].
    pub fn parse_deprecated(
        channel: &str,
        body: &str,
        query: &SignedQuery<'_>,
        limits: &Limits,
    ) -> Result<Self, Refusal> {
        let event = event_name(query.get("name").map(Cow::Borrowed), limits)?;
        let channel = channel_name(channel, limits)?;
        let data = DataLiteral::from_text(body);
        check_data(&data, &event, &channel, limits)?;
        let socket_id = socket_id(query.get("socket_id"))?;
        Ok(Self { event, channels: vec![channel], data, socket_id, info: Attributes::default() })
    }

    fn on_one(
        event: EventName,
        channel: &str,
        written: &Written<'_>,
        query: Option<&SignedQuery<'_>>,
        limits: &Limits,
    ) -> Result<Self, Refusal> {
        Self::complete(event, vec![channel_name(channel, limits)?], written, query, limits)
    }

    fn complete(
        event: EventName,
        channels: Vec<ChannelName>,
        written: &Written<'_>,
        query: Option<&SignedQuery<'_>>,
        limits: &Limits,
    ) -> Result<Self, Refusal> {
        let in_query = |name| query.and_then(|query| query.get(name));
        let data = match (written.data, in_query("data")) {
            (Some(value), _) => DataLiteral::from_published(value),
            (None, Some(text)) => DataLiteral::from_text(text),
            (None, None) => return Err(Refusal::at("data", Reason::Missing)),
        };
        check_data(&data, &event, &channels[0], limits)?;
        let socket_id = socket_id(text("socket_id", written.socket_id, in_query("socket_id"))?.as_deref())?;
        let info = text("info", written.info, in_query("info"))?;
        let info = Attributes::parse(info.as_deref().unwrap_or_default(), Attribute::COUNTS)?;
        Ok(Self { event, channels, data, socket_id, info })
    }
}

impl Batch {
    /// Reads the body of `POST /batch_events`.
    ///
    /// # Errors
    ///
    /// Names the first item and field that is missing or past its limit; nothing of the batch is to be published then.
    pub fn parse(body: &str, limits: &Limits) -> Result<Self, Refusal> {
        let in_place =
            |item, event: Result<Trigger, Refusal>| event.map_err(|refusal| Refusal { item: Some(item), ..refusal });
        if let Ok(WellWrittenBatch { batch }) = object(body) {
            check_count("batch", batch.len(), limits.batch_events_max)?;
            let events = batch.iter().enumerate().map(|(item, event)| in_place(item, Self::event(&event.0, limits)));
            return Ok(Self { events: events.collect::<Result<_, _>>()? });
        }
        let batch = object::<WrittenBatch<'_>>(body)?.batch.ok_or(Refusal::at("batch", Reason::Missing))?;
        let batch: Vec<&RawValue> = serde_json::from_str(batch.get())
            .map_err(|_| Refusal::at("batch", Reason::Type { expected: "a list of events" }))?;
        check_count("batch", batch.len(), limits.batch_events_max)?;
        let events = batch.into_iter().enumerate().map(|(item, event)| {
            in_place(item, object::<Written<'_>>(event.get()).and_then(|written| Self::event(&written, limits)))
        });
        Ok(Self { events: events.collect::<Result<_, _>>()? })
    }

    fn event(written: &Written<'_>, limits: &Limits) -> Result<Trigger, Refusal> {
        let event = event_name(text("name", written.name, None)?, limits)?;
        let channel = text("channel", written.channel, None)?.ok_or(Refusal::at("channel", Reason::Missing))?;
        Trigger::on_one(event, &channel, written, None, limits)
    }
}

fn event_name(name: Option<Cow<'_, str>>, limits: &Limits) -> Result<EventName, Refusal> {
    let name = name.ok_or(Refusal::at("name", Reason::Missing))?;
    EventName::parse(&name, limits.event_name_length_max).map_err(|why| Refusal::name("name", &name, why))
}

/// Parses a channel's name where a request names one.
///
/// # Errors
///
/// Says which name is refused and why.
pub fn channel_name(name: &str, limits: &Limits) -> Result<ChannelName, Refusal> {
    ChannelName::parse(name, limits.channel_name_length_max).map_err(|why| Refusal::name("channel", name, why))
}

fn channels(names: &[Cow<'_, str>], limits: &Limits) -> Result<Vec<ChannelName>, Refusal> {
    check_count("channels", names.len(), limits.channels_per_event_max)?;
    let mut seen = HashSet::with_capacity(names.len());
    let mut channels = Vec::with_capacity(names.len());
    for name in names {
        if seen.insert(name.as_ref()) {
            let channel = ChannelName::parse(name, limits.channel_name_length_max);
            channels.push(channel.map_err(|why| Refusal::name("channels", name, why))?);
        }
    }
    match channels.iter().find(|channel| channel.kind().access == Access::Encrypted) {
        Some(encrypted) if channels.len() > 1 => {
            let channel = encrypted.as_str().to_owned();
            Err(Refusal::at("channels", Reason::EncryptedAmongOthers { channel }))
        }
        _ => Ok(channels),
    }
}

fn check_count(field: &'static str, given: usize, max: usize) -> Result<(), Refusal> {
    match given {
        0 => Err(Refusal::at(field, Reason::Empty)),
        given if given > max => Err(Refusal::at(field, Reason::TooMany { given, max })),
        _ => Ok(()),
    }
}

fn check_data(data: &DataLiteral, event: &EventName, channel: &ChannelName, limits: &Limits) -> Result<(), Refusal> {
    let max = limits.event_data_bytes_max;
    // Decoding makes nothing longer, so what is short enough as written need not be counted.
    if data.as_str().len() <= max {
        return Ok(());
    }
    let size = data.decoded_len();
    if size > max {
        let (event, channel) = (event.as_str().to_owned(), channel.as_str().to_owned());
        return Err(Refusal::at("data", Reason::TooLarge { event, channel, size, max }));
    }
    Ok(())
}

/// Server libraries send an empty `socket_id` where the request they answer had none.
fn socket_id(id: Option<&str>) -> Result<Option<SocketId>, Refusal> {
    match id {
        None | Some("") => Ok(None),
        Some(id) => SocketId::parse(id).map(Some).map_err(|why| Refusal::name("socket_id", id, why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::DEFAULT_LIMITS;

    fn parse(body: &str) -> Result<Trigger, Refusal> {
        with_query(body, "")
    }

    fn with_query(body: &str, query: &str) -> Result<Trigger, Refusal> {
        Trigger::parse(body, &SignedQuery::parse(query), &DEFAULT_LIMITS)
    }

    fn names(trigger: &Trigger) -> Vec<&str> {
        trigger.channels.iter().map(ChannelName::as_str).collect()
    }

    fn batch(body: &str) -> Result<Batch, Refusal> {
        Batch::parse(body, &DEFAULT_LIMITS)
    }

    #[test]
    fn what_server_libraries_send_is_read() {
        let body = r#"{"name":"foo","channels":["project-3","project-4"],"data":"{\"some\":\"data\"}","socket_id":"1.2","info":"user_count,subscription_count"}"#;
        let trigger = parse(body).unwrap();
        assert_eq!(trigger.event.as_str(), "foo");
        assert_eq!(names(&trigger), ["project-3", "project-4"]);
        assert_eq!(trigger.data.as_str(), r#""{\"some\":\"data\"}""#);
        assert_eq!(trigger.socket_id, Some(SocketId { place: 1, secret: 2 }));
        assert!(trigger.info.has(Attribute::UserCount) && trigger.info.has(Attribute::SubscriptionCount));
        let single = parse(r#"{"name":"App\\Events\\Sent","channel":"\u0061","data":"","socket_id":null}"#).unwrap();
        assert_eq!((single.event.as_str(), names(&single)), ("App\\Events\\Sent", vec!["a"]));
        assert_eq!((single.data.as_str(), single.socket_id), (r#""""#, None));
        assert!(single.info.is_empty());
    }

    #[test]
    fn data_that_is_not_a_string_is_encoded_into_one_once() {
        let trigger = parse(r#"{"name":"e","channel":"c","data":{"a":"b"}}"#).unwrap();
        assert_eq!(trigger.data.as_str(), r#""{\"a\":\"b\"}""#);
    }

    #[test]
    fn parameters_may_stand_in_the_query_and_the_body_goes_first() {
        let query = "channels[]=a&channels[]=b&name=e&data=hi&socket_id=3.4&info=subscription_count";
        let trigger = with_query("", query).unwrap();
        assert_eq!((names(&trigger), trigger.event.as_str(), trigger.data.as_str()), (vec!["a", "b"], "e", "\"hi\""));
        assert_eq!(trigger.socket_id, Some(SocketId { place: 3, secret: 4 }));
        assert!(trigger.info.has(Attribute::SubscriptionCount));
        let trigger = with_query(r#"{"name":"x","channels":["c"],"data":"d"}"#, query).unwrap();
        assert_eq!((names(&trigger), trigger.event.as_str(), trigger.data.as_str()), (vec!["c"], "x", "\"d\""));
        assert_eq!(names(&with_query("", "channel=a,b&name=e&data=").unwrap()), ["a,b"]);
    }

    #[test]
    fn a_channel_named_twice_gets_the_event_once() {
        let trigger = parse(r#"{"name":"e","channels":["b","a","b"],"data":"d"}"#).unwrap();
        assert_eq!(names(&trigger), ["b", "a"]);
    }

    #[test]
    fn a_refusal_names_the_field() {
        for (body, status, text) in [
            ("[]", 400, "the body must be one JSON object: it does not begin with {"),
            (r#"{"channel":"c","data":"d"}"#, 400, "name: is missing"),
            (r#"{"name":7,"channel":"c","data":"d"}"#, 400, "name: must be a string"),
            (r#"{"name":"","channel":"c","data":"d"}"#, 400, "name: \"\" is refused: event name is empty"),
            (
                r#"{"name":"pusher:ping","channel":"c","data":"d"}"#,
                400,
                "name: \"pusher:ping\" is refused: event name begins with \"pusher:\", which is reserved",
            ),
            (r#"{"name":"e","data":"d"}"#, 400, "channels: is missing"),
            (r#"{"name":"e","channels":[],"data":"d"}"#, 400, "channels: must not be empty"),
            (r#"{"name":"e","channels":"c","data":"d"}"#, 400, "channels: must be a list of strings"),
            (
                r#"{"name":"e","channels":["c","a b"],"data":"d"}"#,
                400,
                "channels: \"a b\" is refused: channel name has the character ' '; letters, digits and _ - = @ , . ; are allowed",
            ),
            (r#"{"name":"e","channel":"c"}"#, 400, "data: is missing"),
            (r#"{"name":"e","channel":"c","data":null}"#, 400, "data: is missing"),
            (
                r#"{"name":"e","channel":"c","data":"","socket_id":"x"}"#,
                400,
                "socket_id: \"x\" is refused: socket_id must be two numbers joined by a dot, as in 1234.5678",
            ),
            (
                r#"{"name":"e","channel":"c","data":"","info":"user_count,age"}"#,
                400,
                "info: \"age\" is not an attribute of this request; known are user_count, subscription_count",
            ),
        ] {
            let refusal = parse(body).unwrap_err();
            assert_eq!((refusal.status(), refusal.to_string().as_str()), (status, text), "{body}");
        }
        let refusal = batch(r#"{"batch":[{"name":"e","channel":"c","data":""},{"name":"e","data":""}]}"#).unwrap_err();
        assert_eq!(
            (refusal.field().as_str(), refusal.to_string()),
            ("batch[1].channel", "batch[1].channel: is missing".into())
        );
        assert_eq!(batch("{}").unwrap_err().to_string(), "batch: is missing");
        assert_eq!(batch(r#"{"batch":[]}"#).unwrap_err().to_string(), "batch: must not be empty");
        assert_eq!(batch(r#"{"batch":{"0":1}}"#).unwrap_err().to_string(), "batch: must be a list of events");
    }

    #[test]
    fn text_that_is_not_json_is_refused_and_what_is_repeated_is_short() {
        assert!(matches!(parse("{\"name\":").unwrap_err().reason, Reason::Malformed(_)));
        assert!(matches!(parse(r#"{"name":"a","name":"b"}"#).unwrap_err().reason, Reason::Malformed(_)));
        let text = format!("\"{}\"", "é".repeat(6000));
        for body in [
            text.clone(),
            format!("{{{text}:1}}"),
            format!("{{{text}}}"),
            format!(r#"{{"name":{text},"channel":"c","data":""}}"#),
            format!(r#"{{"name":{{{text}:1}},"channel":"c","data":""}}"#),
            format!(r#"{{"name":"e","channel":{text},"data":""}}"#),
            format!(r#"{{"name":"e","channels":{text},"data":""}}"#),
            format!(r#"{{"name":"e","channels":[{text}],"data":""}}"#),
            format!(r#"{{"name":"e","channel":"c","data":{text},"x":{text}}}"#),
            format!(r#"{{"name":"e","channel":"c","data":"","socket_id":{text}}}"#),
            format!(r#"{{"name":"e","channel":"c","data":"","info":{text}}}"#),
        ] {
            let told = |refusal: Refusal| assert!(refusal.to_string().chars().count() < 300, "{refusal}");
            told(parse(&body).unwrap_err());
            told(batch(&format!(r#"{{"batch":{body}}}"#)).unwrap_err());
            told(batch(&format!(r#"{{"batch":[{body}]}}"#)).unwrap_err());
        }
    }

    #[test]
    fn data_may_be_as_large_as_the_limit_and_no_larger() {
        let body = |size: usize| format!(r#"{{"name":"e","channels":["a","b"],"data":"\n{}"}}"#, "x".repeat(size - 1));
        assert_eq!(parse(&body(10_240)).unwrap().data.decoded_len(), 10_240);
        let refusal = parse(&body(10_241)).unwrap_err();
        assert_eq!((refusal.status(), refusal.field()), (413, "data".to_owned()));
        assert_eq!(
            refusal.to_string(),
            "The data content of this event exceeds the allowed maximum (10240 bytes): event \"e\" on channel \"a\" has 10241 bytes"
        );
        let item = body(10_241).replace(r#""channels":["a","b"]"#, r#""channel":"a""#);
        let refusal = batch(&format!(r#"{{"batch":[{item}]}}"#)).unwrap_err();
        assert!(refusal.to_string().ends_with("has 10241 bytes, at batch[0]"), "{refusal}");
        assert_eq!(refusal.status(), 413);
    }

    #[test]
    fn an_event_may_have_as_many_channels_as_the_limit_and_no_more() {
        let body = |count: usize| {
            let channels: Vec<String> = (0..count).map(|number| format!("\"c{number}\"")).collect();
            format!(r#"{{"name":"e","channels":[{}],"data":""}}"#, channels.join(","))
        };
        assert_eq!(parse(&body(100)).unwrap().channels.len(), 100);
        assert_eq!(parse(&body(101)).unwrap_err().reason, Reason::TooMany { given: 101, max: 100 });
    }

    #[test]
    fn a_batch_may_have_as_many_events_as_the_limit_and_no_more() {
        let body = |count: usize| {
            let event = r#"{"name":"e","channel":"c","data":"d"}"#;
            format!(r#"{{"batch":[{}]}}"#, vec![event; count].join(","))
        };
        assert_eq!(batch(&body(10)).unwrap().events.len(), 10);
        assert_eq!(batch(&body(11)).unwrap_err().reason, Reason::TooMany { given: 11, max: 10 });
    }

    #[test]
    fn names_may_be_as_long_as_the_limit_and_no_longer() {
        let body = |event: usize, channel: usize| {
            format!(r#"{{"name":"{}","channel":"{}","data":""}}"#, "e".repeat(event), "c".repeat(channel))
        };
        assert!(parse(&body(200, 164)).is_ok());
        assert_eq!(parse(&body(201, 164)).unwrap_err().field(), "name");
        assert_eq!(parse(&body(200, 165)).unwrap_err().field(), "channel");
    }

    #[test]
    fn an_encrypted_channel_stands_alone() {
        let body = |channels: &str| format!(r#"{{"name":"e","channels":[{channels}],"data":"d"}}"#);
        assert!(parse(&body(r#""private-encrypted-a","private-encrypted-a""#)).is_ok());
        let refusal = parse(&body(r#""a","private-encrypted-a""#)).unwrap_err();
        assert_eq!(refusal.reason, Reason::EncryptedAmongOthers { channel: "private-encrypted-a".into() });
    }

    #[test]
    fn the_deprecated_body_is_the_data_itself() {
        let deprecated =
            |body: &str, query| Trigger::parse_deprecated("c", body, &SignedQuery::parse(query), &DEFAULT_LIMITS);
        let trigger = deprecated(r#"{"a":1}"#, "name=e&socket_id=1.2").unwrap();
        assert_eq!((names(&trigger), trigger.data.as_str()), (vec!["c"], r#""{\"a\":1}""#));
        assert_eq!(trigger.socket_id, Some(SocketId { place: 1, secret: 2 }));
        assert_eq!(deprecated("", "").unwrap_err().to_string(), "name: is missing");
        assert!(deprecated(&"x".repeat(10_240), "name=e").is_ok());
        assert_eq!(deprecated(&"x".repeat(10_241), "name=e").unwrap_err().status(), 413);
    }
}
