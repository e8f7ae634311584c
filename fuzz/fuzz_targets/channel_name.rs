//! Whatever text is called a name: a channel name that exists is within its limit, has a channel's characters and no
//! others, and says the same when it is parsed again. The same for users and sockets.

#![no_main]

use campanile_protocol::limits::CHANNEL_NAME_LENGTH_HARD_MAX;
use campanile_protocol::name::USER_CHANNEL_PREFIX;
use campanile_protocol::{Access, ChannelName, ServerFrame, SocketId, UserId};
use libfuzzer_sys::fuzz_target;

/// Written apart from the parser, so that the two can disagree.
fn has_only_channel_characters(text: &str) -> bool {
    text.chars().all(|c| matches!(c, 'A'..='Z' | 'a'..='z' | '0'..='9' | '_' | '-' | '=' | '@' | ',' | '.' | ';'))
}

fn is_legal(name: &str, length_max: usize) -> bool {
    let (rest, max) = match name.strip_prefix(USER_CHANNEL_PREFIX) {
        Some(user) => (user, CHANNEL_NAME_LENGTH_HARD_MAX),
        None => (name, length_max),
    };
    !rest.is_empty() && name.len() <= max && has_only_channel_characters(rest)
}

fuzz_target!(|input: (u8, &str)| {
    let (length_max, name) = input;
    let length_max = usize::from(length_max);

    let parsed = ChannelName::parse(name, length_max);
    assert_eq!(parsed.is_ok(), is_legal(name, length_max), "{parsed:?}");
    if let Ok(channel) = parsed {
        assert_eq!(channel.as_str(), name);
        assert_eq!(ChannelName::parse(channel.as_str(), length_max), Ok(channel.clone()));
        assert_eq!(channel.user().is_some(), channel.kind().access == Access::User);
        let json = ServerFrame::CacheMiss { channel: channel.as_str() }.to_json();
        let expected = format!(r#"{{"event":"pusher:cache_miss","channel":"{name}","data":"{{}}"}}"#);
        assert_eq!(json, expected.as_bytes(), "a channel name needs no escaping");
    }

    if let Ok(user) = UserId::parse_signed_in(name, 128) {
        let channel = ChannelName::of_user(&user);
        assert_eq!(channel.user(), Some(user.as_str()));
        assert_eq!(ChannelName::parse(channel.as_str(), length_max), Ok(channel));
    }

    if let Ok(socket) = SocketId::parse(name) {
        assert_eq!(SocketId::parse(&socket.to_string()), Ok(socket));
    }
});
