//! Whatever a publisher sends: no panic, a trigger that exists is within its app's limits and becomes one whole frame,
//! and a refusal is short, however long what it refuses.

#![no_main]

use std::collections::{BTreeMap, HashSet};

use campanile_protocol::refusal::Refusal;
use campanile_protocol::signature::SignedQuery;
use campanile_protocol::trigger::{Batch, Trigger};
use campanile_protocol::{Access, Limits, ServerFrame};
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

const REFUSAL_BYTES_MAX: usize = 1024;

/// Small, so that short inputs reach every bound.
fn limits() -> Limits {
    Limits {
        channel_name_length_max: 32,
        event_name_length_max: 24,
        event_data_bytes_max: 48,
        channels_per_event_max: 3,
        batch_events_max: 2,
        ..Limits::default()
    }
}

fn is_within_limits(trigger: &Trigger, limits: &Limits) {
    let event = trigger.event.as_str();
    assert!(!event.is_empty() && event.len() <= limits.event_name_length_max);
    assert!(!event.starts_with("pusher:") && !event.starts_with("pusher_internal:"));

    let channels = &trigger.channels;
    assert!((1..=limits.channels_per_event_max).contains(&channels.len()));
    assert_eq!(channels.iter().collect::<HashSet<_>>().len(), channels.len(), "no channel twice");
    assert!(channels.len() == 1 || channels.iter().all(|channel| channel.kind().access != Access::Encrypted));

    assert!(trigger.data.decoded_len() <= limits.event_data_bytes_max);
    assert!(trigger.data.as_str().starts_with('"'), "strict clients take data as a string alone");
    if let Ok(decoded) = serde_json::from_str::<String>(trigger.data.as_str()) {
        assert_eq!(decoded.len(), trigger.data.decoded_len());
    }

    for channel in channels {
        assert!(channel.user().is_some() || channel.as_str().len() <= limits.channel_name_length_max);
        let frame = ServerFrame::Event { event, channel: channel.as_str(), data: &trigger.data, user_id: None };
        let json = frame.to_json();
        let values: BTreeMap<&str, &RawValue> = serde_json::from_slice(&json).expect("a frame is an object");
        assert_eq!(serde_json::from_str::<String>(values["event"].get()).ok().as_deref(), Some(event));
        assert_eq!(values["channel"].get(), format!("\"{channel}\""));
        assert_eq!(values["data"].get(), trigger.data.as_str(), "data is passed on as it came");
        assert_eq!(values.len(), 3);
    }
}

fn is_short(refusal: &Refusal) {
    let text = refusal.to_string();
    assert!(text.len() <= REFUSAL_BYTES_MAX, "{} bytes: {text}", text.len());
    assert!(matches!(refusal.status(), 400 | 413));
}

fuzz_target!(|input: (&str, &str)| {
    let (query, body) = input;
    let limits = limits();
    let query = SignedQuery::parse(query);
    match Trigger::parse(body, &query, &limits) {
        Ok(trigger) => is_within_limits(&trigger, &limits),
        Err(refusal) => is_short(&refusal),
    }
    match Trigger::parse_deprecated("orders", body, &query, &limits) {
        Ok(trigger) => {
            is_within_limits(&trigger, &limits);
            assert_eq!(trigger.data.decode(), body);
        }
        Err(refusal) => is_short(&refusal),
    }
    match Batch::parse(body, &limits) {
        Ok(batch) => {
            assert!((1..=limits.batch_events_max).contains(&batch.events.len()));
            for trigger in &batch.events {
                assert_eq!(trigger.channels.len(), 1);
                is_within_limits(trigger, &limits);
            }
        }
        Err(refusal) => is_short(&refusal),
    }
});
