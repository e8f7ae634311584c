//! Who gets what, in which order, and what is left of those who have gone.

use std::ops::ControlFlow;

use campanile_protocol::ChannelName;
use campanile_protocol::websocket::{self, Incoming, Inflater, Opcode, Received, Role, Rules};

use super::*;
use crate::app::AppIndex;
use crate::shared_frame::SharedFrame;

const SUBSCRIBERS: Audience = Audience::Subscribers;

fn key(name: &str) -> ChannelKey {
    ChannelKey { app: AppIndex(0), name: ChannelName::parse(name, 164).unwrap() }
}

fn id(index: u32) -> ConnectionId {
    ConnectionId { index, generation: 0 }
}

/// So many connections, all of them in channel `a`.
fn fanout(connections: u32) -> Fanout {
    let mut fanout = Fanout::default();
    for index in 0..connections {
        fanout.open(id(index));
        sit(&mut fanout, id(index), "a");
    }
    written(&mut fanout);
    fanout
}

fn sit(fanout: &mut Fanout, id: ConnectionId, name: &str) {
    fanout.reserve(id, key(name), SUBSCRIBERS, 1);
    assert!(fanout.join(id, &key(name), SUBSCRIBERS, 1, None));
}

fn deliver(fanout: &mut Fanout, name: &str, frame: &'static str) {
    fanout.deliver(&key(name), SUBSCRIBERS, Bytes::from_static(frame.as_bytes()), None);
}

fn written(fanout: &mut Fanout) -> Vec<(u32, String)> {
    let mut all = Vec::new();
    fanout.gather();
    while let Some(write) = fanout.next_write() {
        let text = String::from_utf8(write.slices.concat()).unwrap();
        all.push((write.connection.index, text));
    }
    all.sort();
    all
}

fn texts(all: &[(u32, &str)]) -> Vec<(u32, String)> {
    all.iter().map(|(index, text)| (*index, (*text).to_owned())).collect()
}

#[test]
fn subscribers_at_the_same_point_share_the_same_bytes() {
    let mut fanout = fanout(3);
    deliver(&mut fanout, "a", "one ");
    deliver(&mut fanout, "a", "two ");
    fanout.gather();
    let mut slices = Vec::new();
    while let Some(write) = fanout.next_write() {
        assert_eq!(write.slices.len(), 1);
        slices.push((write.slices[0].as_ptr(), write.slices[0].clone()));
    }
    assert_eq!(slices.len(), 3);
    assert!(slices.iter().all(|(at, bytes)| *at == slices[0].0 && &bytes[..] == b"one two "));
}

#[test]
fn frames_are_joined_up_to_the_bound_and_a_byte_past_it_begins_another_slice() {
    let mut fanout = fanout(1);
    for (second, slices) in [(JOINED_BYTES_MAX - 1, 1), (JOINED_BYTES_MAX, 2)] {
        fanout.deliver(&key("a"), SUBSCRIBERS, Bytes::from_static(b"x"), None);
        fanout.deliver(&key("a"), SUBSCRIBERS, Bytes::from(vec![b'y'; second]), None);
        assert_eq!(fanout.gathered_bytes(), second + 1);
        fanout.gather();
        let write = fanout.next_write().unwrap();
        assert_eq!(write.slices.len(), slices);
        assert_eq!(write.slices.concat().len(), second + 1);
        assert!(fanout.is_written());
    }
}

#[test]
fn direct_frames_and_deliveries_of_many_channels_keep_their_order() {
    let mut fanout = fanout(2);
    sit(&mut fanout, id(0), "b");
    deliver(&mut fanout, "a", "1 ");
    fanout.direct(id(0), Bytes::from_static(b"2 "));
    deliver(&mut fanout, "b", "3 ");
    deliver(&mut fanout, "a", "4 ");
    assert_eq!(written(&mut fanout), texts(&[(0, "1 2 3 4 "), (1, "1 4 ")]));
}

#[test]
fn whoever_joins_within_a_tick_gets_only_what_comes_after() {
    let mut fanout = fanout(1);
    fanout.open(id(1));
    fanout.reserve(id(1), key("a"), SUBSCRIBERS, 7);
    deliver(&mut fanout, "a", "before ");
    assert!(!fanout.join(id(1), &key("a"), SUBSCRIBERS, 6, None), "a stale answer");
    assert!(fanout.join(id(1), &key("a"), SUBSCRIBERS, 7, None));
    assert!(!fanout.join(id(1), &key("a"), SUBSCRIBERS, 7, None), "the same answer twice");
    deliver(&mut fanout, "a", "after ");
    assert_eq!(written(&mut fanout), texts(&[(0, "before after "), (1, "after ")]));
}

#[test]
fn whoever_leaves_within_a_tick_gets_nothing_more_of_the_channel() {
    let mut fanout = fanout(2);
    deliver(&mut fanout, "a", "a ");
    fanout.direct_about(id(1), &key("a"), Bytes::from_static(b"about a "));
    fanout.direct(id(1), Bytes::from_static(b"pong "));
    assert!(fanout.leave(id(1), &key("a"), SUBSCRIBERS).is_some());
    deliver(&mut fanout, "a", "b ");
    assert_eq!(written(&mut fanout), texts(&[(0, "a b "), (1, "pong ")]));
}

#[test]
fn the_last_to_leave_takes_the_channel_and_its_frames_with_it() {
    let mut fanout = fanout(1);
    deliver(&mut fanout, "a", "a ");
    assert!(fanout.leave(id(0), &key("a"), SUBSCRIBERS).is_some());
    sit(&mut fanout, id(0), "b");
    assert_eq!(written(&mut fanout), []);
    assert_eq!((fanout.seat_count(), fanout.channel_count()), (1, 1));
}

#[test]
fn the_excluded_connection_gets_all_but_its_own() {
    let mut fanout = fanout(2);
    fanout.deliver(&key("a"), SUBSCRIBERS, Bytes::from_static(b"its own "), Some(id(0)));
    deliver(&mut fanout, "a", "another ");
    assert_eq!(written(&mut fanout), texts(&[(0, "another "), (1, "its own another ")]));
    fanout.deliver(&key("a"), SUBSCRIBERS, Bytes::from_static(b"its own"), Some(id(1)));
    assert_eq!(written(&mut fanout), texts(&[(0, "its own")]));
}

#[test]
fn a_place_taken_over_inherits_nothing() {
    let mut fanout = fanout(1);
    deliver(&mut fanout, "a", "old");
    fanout.direct(id(0), Bytes::from_static(b"old"));
    assert_eq!(fanout.close(id(0)).len(), 1);
    let next = ConnectionId { index: 0, generation: 1 };
    fanout.open(next);
    sit(&mut fanout, next, "a");
    fanout.direct(id(0), Bytes::from_static(b"to the old"));
    fanout.direct(next, Bytes::from_static(b"new"));
    assert_eq!(fanout.seat(id(0), &key("a"), SUBSCRIBERS), None);
    assert_eq!(fanout.leave(id(0), &key("a"), SUBSCRIBERS), None);
    assert_eq!(written(&mut fanout), texts(&[(0, "new")]));
}

#[test]
fn a_pending_seat_hears_nothing_and_is_given_up_without_a_word_to_the_home() {
    let mut fanout = fanout(1);
    fanout.open(id(1));
    fanout.reserve(id(1), key("b"), SUBSCRIBERS, 1);
    deliver(&mut fanout, "b", "b");
    assert_eq!((written(&mut fanout), fanout.gathered_bytes()), (vec![], 0));
    assert_eq!((fanout.subscriptions(id(1)), fanout.channel_count()), (1, 2));
    assert_eq!(fanout.leave(id(1), &key("b"), SUBSCRIBERS), None);
    assert_eq!((fanout.subscriptions(id(1)), fanout.channel_count()), (0, 1));
}

#[test]
fn what_counts_as_a_subscription_is_what_the_client_asked_for() {
    let mut fanout = fanout(1);
    sit(&mut fanout, id(0), "#server-to-user-1");
    fanout.reserve(id(0), key("#server-to-user-2"), Audience::Watchers, 1);
    assert_eq!((fanout.subscriptions(id(0)), fanout.seat_count()), (1, 3));
}

#[test]
fn a_connection_takes_ten_thousand_seats_and_gives_them_up_in_any_order() {
    const CHANNELS: usize = 10_000;
    let began = std::time::Instant::now();
    let mut fanout = fanout(1);
    let keys: Vec<ChannelKey> = (0..CHANNELS).map(|number| key(&number.to_string())).collect();
    for (number, key) in keys.iter().enumerate() {
        assert_eq!(fanout.seat(id(0), key, SUBSCRIBERS), None);
        assert_eq!(fanout.subscriptions(id(0)), number + 1);
        fanout.reserve(id(0), key.clone(), SUBSCRIBERS, 1);
        assert!(fanout.join(id(0), key, SUBSCRIBERS, 1, None));
    }
    // Every third, from the front, so that all the others move; and places that are free again are taken again.
    for key in keys.iter().step_by(3) {
        assert!(fanout.leave(id(0), key, SUBSCRIBERS).is_some());
    }
    for key in keys.iter().step_by(3) {
        sit(&mut fanout, id(0), key.name.as_str());
    }
    assert_eq!((fanout.subscriptions(id(0)), fanout.seat_count()), (CHANNELS + 1, CHANNELS + 1));
    fanout.deliver(&keys[3], SUBSCRIBERS, Bytes::from_static(b"x"), None);
    assert_eq!(written(&mut fanout), texts(&[(0, "x")]));
    // Looking each up among all the others takes seconds, this a few hundredths of one.
    assert!(began.elapsed() < std::time::Duration::from_secs(1), "{:?}", began.elapsed());
}

/// What a connection has been written, inflated.
fn heard(slices: &[Bytes]) -> String {
    let mut heard = String::new();
    let rules = Rules { role: Role::Client, message_max: 1 << 20 };
    let mut bytes = slices.concat();
    let ended = Incoming::default().receive_compressed(&mut bytes, rules, &mut Inflater::default(), |received| {
        let Received::Text(text) = received else { panic!("{received:?} is no text") };
        heard.push_str(text);
        ControlFlow::Continue(())
    });
    assert_eq!(ended, Ok(()));
    heard
}

fn text(text: &str) -> Bytes {
    websocket::encode(Opcode::Text, text.as_bytes())
}

#[test]
fn whoever_has_agreed_on_compression_hears_the_same_in_fewer_bytes_that_all_of_them_share() {
    let (long, longer) = ("long ".repeat(200), "longer ".repeat(200));
    let mut fanout = fanout(5);
    for index in [1, 3, 4] {
        fanout.compress(id(index));
    }
    sit(&mut fanout, id(4), "b");
    written(&mut fanout);
    for frame in [&long, "short ", &longer] {
        fanout.deliver(&key("a"), SUBSCRIBERS, SharedFrame::compressible(text(frame)), None);
    }
    fanout.deliver(&key("b"), SUBSCRIBERS, SharedFrame::compressible(text(&long)), None);
    fanout.direct(id(4), text("its own"));
    fanout.gather();
    let mut slices: Vec<Vec<Bytes>> = vec![Vec::new(); 5];
    while let Some(write) = fanout.next_write() {
        slices[write.connection.index as usize] = write.slices.to_vec();
    }
    for slices in &slices[..4] {
        assert_eq!(heard(slices), format!("{long}short {longer}"));
    }
    assert_eq!(heard(&slices[4]), format!("{long}short {longer}{long}its own"));
    let bytes = |index: usize| slices[index].iter().map(Bytes::len).sum::<usize>();
    assert_eq!((bytes(0), bytes(1)), (bytes(2), bytes(3)));
    assert!(bytes(1) * 10 < bytes(0), "{} {}", bytes(1), bytes(0));
    for (one, other) in [(0, 2), (1, 3)] {
        assert_eq!(slices[one][0].as_ptr(), slices[other][0].as_ptr());
    }
}

#[test]
fn a_connection_that_has_not_agreed_gets_what_was_published_and_so_does_its_successor() {
    let mut fanout = fanout(1);
    fanout.compress(id(0));
    fanout.close(id(0));
    let next = ConnectionId { index: 0, generation: 1 };
    fanout.open(next);
    fanout.compress(id(0));
    sit(&mut fanout, next, "a");
    written(&mut fanout);
    let frame = text(&"long ".repeat(200));
    fanout.deliver(&key("a"), SUBSCRIBERS, SharedFrame::compressible(frame.clone()), None);
    fanout.gather();
    assert_eq!(fanout.next_write().unwrap().slices, [frame]);
}

#[test]
fn after_any_order_of_leaving_those_who_stay_are_reached() {
    for leaver in 0..4 {
        let mut fanout = fanout(4);
        fanout.leave(id(leaver), &key("a"), SUBSCRIBERS);
        fanout.leave(id((leaver + 1) % 4), &key("a"), SUBSCRIBERS);
        deliver(&mut fanout, "a", "x");
        let reached: Vec<u32> = written(&mut fanout).into_iter().map(|(index, _)| index).collect();
        let mut stay = [(leaver + 2) % 4, (leaver + 3) % 4];
        stay.sort_unstable();
        assert_eq!(reached, stay);
    }
}
