//! Whatever a client says: no panic, and what we answer with its own words is one whole frame that holds them unchanged.

#![no_main]

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use campanile_protocol::frame::Subscribe;
use campanile_protocol::json::DataLiteral;
use campanile_protocol::websocket::{Incoming, Received, Role, Rules};
use campanile_protocol::{ClientFrame, CloseCode, ServerFrame};
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;

/// The frame as its receiver sees it: a whole message on the socket, an object of JSON in it.
fn received(frame: &ServerFrame<'_>) -> String {
    let json = frame.to_json();
    let mut texts = Vec::new();
    let mut bytes = frame.encode().to_vec();
    let rules = Rules { role: Role::Client, message_max: json.len() };
    let ended = Incoming::default().receive(&mut bytes, rules, |received| {
        match received {
            Received::Text(text) => texts.push(text.to_owned()),
            other => panic!("sent a text and received {other:?}"),
        }
        ControlFlow::Continue(())
    });
    assert_eq!(ended.err(), None);
    assert_eq!(texts.len(), 1);
    let text = texts.remove(0);
    assert_eq!(text.as_bytes(), json);
    text
}

/// The values of a frame. They stay raw, for what a client may nest is deeper than a tree of values should be.
fn values(text: &str) -> BTreeMap<String, &RawValue> {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn string(value: &RawValue) -> String {
    serde_json::from_str(value.get()).expect("a string")
}

fn is_refused_in_its_own_words(channel: &str, words: &str) {
    let error =
        ServerFrame::Error { code: Some(CloseCode::ClientEventRejected), message: words, channel: Some(channel) };
    let text = received(&error);
    let frame = values(&text);
    assert_eq!(string(frame["channel"]), channel);
    assert_eq!(string(values(frame["data"].get())["message"]), words);

    let error = ServerFrame::SubscriptionError { channel, kind: "AuthError", error: words, status: 401 };
    let text = received(&error);
    let frame = values(&text);
    assert_eq!(string(frame["channel"]), channel);
    assert_eq!(string(values(frame["data"].get())["error"]), words);
}

fuzz_target!(|message: &str| {
    match ClientFrame::decode(message) {
        Ok(ClientFrame::Ping | ClientFrame::Pong) => {}
        Ok(ClientFrame::Subscribe(Subscribe { channel, auth, channel_data })) => {
            is_refused_in_its_own_words(&channel, channel_data.as_deref().unwrap_or(&auth));
            let text = received(&ServerFrame::MemberRemoved { channel: &channel, user_id: &auth });
            let data = string(values(&text)["data"]);
            assert_eq!(string(values(&data)["user_id"]), auth);
        }
        Ok(ClientFrame::Unsubscribe { channel }) => is_refused_in_its_own_words(&channel, "no"),
        Ok(ClientFrame::Signin { user_data, .. }) => {
            let text = received(&ServerFrame::SigninSuccess { user_data: &user_data });
            let data = string(values(&text)["data"]);
            assert_eq!(string(values(&data)["user_data"]), user_data);
        }
        Ok(ClientFrame::ClientEvent { event, channel, data }) => {
            let literal = DataLiteral::from_client(data);
            let text =
                received(&ServerFrame::Event { event: &event, channel: &channel, data: &literal, user_id: Some("7") });
            let frame = values(&text);
            assert_eq!(string(frame["event"]), event);
            assert_eq!(string(frame["channel"]), channel);
            assert_eq!(frame["data"].get(), data.get(), "a client's data goes on as it came");
            assert_eq!(string(frame["user_id"]), "7", "the sender is who we say");

            // As if a publisher had sent it: a string, of the length that the limit counts.
            let published = DataLiteral::from_published(data);
            if let Ok(decoded) = serde_json::from_str::<String>(published.as_str()) {
                assert_eq!(published.decoded_len(), decoded.len());
                assert_eq!(published.decode(), decoded);
            }
        }
        Ok(ClientFrame::Unknown { event }) => {
            assert!(!event.starts_with("client-"));
        }
        Err(malformed) => is_refused_in_its_own_words("orders", &malformed.to_string()),
    }
});
