use bytes::Bytes;
use campanile_protocol::{ChannelName, EventName, SocketId};

use super::*;
use crate::app::{App, Apps};
use crate::effect::Effect;
use crate::hub::{Hub, Settings};
use crate::letter::{Departure, Homes, Letter, Publication, WorkerId};
use crate::timers::Moment;

const ID: ConnectionId = ConnectionId { index: 0, generation: 0 };
const OTHER: ConnectionId = ConnectionId { index: 1, generation: 0 };
const NOW: Moment = Moment(0);

/// A mind with two connections, the first in channel `inbox`.
fn hub() -> Hub {
    let settings = Settings::new(WorkerId(0), Homes { seed: 0, workers: 1 });
    let mut hub = Hub::new(settings, Arc::new(Apps::new(vec![App::new("1", "key", "secret")], None)));
    let app = Arc::clone(hub.apps().get(AppIndex(0)).unwrap());
    for id in [ID, OTHER] {
        let socket_id = SocketId { place: u64::from(id.index), secret: 1 };
        hub.connect(id, &app, socket_id, 7, NOW);
    }
    say(&mut hub, ID, "subscribe");
    tick(&mut hub);
    hub
}

fn say(hub: &mut Hub, id: ConnectionId, verb: &str) {
    hub.receive(id, &format!(r#"{{"event":"pusher:{verb}","data":{{"channel":"inbox"}}}}"#), NOW);
}

fn receipt(notification: u128) -> Arc<Receipt> {
    Arc::new(Receipt { app: AppIndex(0), user: "42".into(), notification })
}

fn notify(hub: &mut Hub, notification: u128) {
    let receipt = Some(receipt(notification));
    let publication = Publication {
        event: told(),
        frame: Bytes::from_static(b"frame"),
        except: None,
        remember: None,
        lasting: false,
        receipt,
    };
    let key = ChannelKey { app: AppIndex(0), name: ChannelName::parse("inbox", 164).unwrap() };
    hub.letter(Letter::Publish { key, publication, ask: None }, NOW);
}

fn told() -> EventName {
    EventName::parse("told", 200).unwrap()
}

/// Writes what was gathered.
fn tick(hub: &mut Hub) {
    hub.fanout().gather();
    while hub.fanout().next_write().is_some() {}
    hub.written();
}

/// A byte comes from a connection of which all that it was sent has been written. What has been taken with that.
fn hear(hub: &mut Hub, id: ConnectionId) -> Vec<u128> {
    if hub.heard(id, NOW) {
        hub.taken(id);
    }
    let mut effects = Vec::new();
    hub.take_effects(&mut effects);
    let taken = effects.into_iter().filter_map(|effect| match effect {
        Effect::Taken(receipt) => Some(receipt.notification),
        _ => None,
    });
    taken.collect()
}

#[test]
fn a_notification_is_taken_by_the_first_thing_that_its_connection_says_afterwards() {
    let mut hub = hub();
    notify(&mut hub, 7);
    assert_eq!(hear(&mut hub, ID), [], "what is said before the write proves nothing");
    tick(&mut hub);
    assert_eq!(hear(&mut hub, OTHER), [], "nor what somebody else says");
    assert_eq!(hear(&mut hub, ID), [7]);
    assert_eq!((hear(&mut hub, ID), hub.census().receipts), (vec![], 0));
}

#[test]
fn as_long_as_something_waits_to_be_written_nothing_is_taken() {
    let mut hub = hub();
    notify(&mut hub, 7);
    tick(&mut hub);
    // The worker sees that its queue is not empty, and does not call `taken`.
    assert!(hub.heard(ID, NOW) && hub.heard(ID, NOW));
    notify(&mut hub, 8);
    tick(&mut hub);
    assert_eq!(hear(&mut hub, ID), [7, 8]);
}

#[test]
fn whoever_left_before_the_write_has_not_taken_it_even_if_they_have_come_back() {
    let mut hub = hub();
    notify(&mut hub, 7);
    say(&mut hub, ID, "unsubscribe");
    say(&mut hub, ID, "subscribe");
    tick(&mut hub);
    assert_eq!((hear(&mut hub, ID), hub.census().receipts), (vec![], 0));
    notify(&mut hub, 8);
    tick(&mut hub);
    say(&mut hub, ID, "unsubscribe");
    assert_eq!(hear(&mut hub, ID), [8], "who leaves afterwards has");
}

#[test]
fn whoever_comes_after_it_has_not_taken_it() {
    let mut hub = hub();
    notify(&mut hub, 7);
    say(&mut hub, OTHER, "subscribe");
    tick(&mut hub);
    assert_eq!((hear(&mut hub, OTHER), hear(&mut hub, ID)), (vec![], vec![7]));
}

#[test]
fn a_connection_that_ends_is_not_awaited_and_its_place_begins_anew() {
    let mut hub = hub();
    notify(&mut hub, 7);
    tick(&mut hub);
    notify(&mut hub, 8);
    hub.disconnect(ID, Departure::Vanished, NOW);
    assert_eq!(hub.census().receipts, 1);
    let again = ConnectionId { generation: 1, ..ID };
    let app = Arc::clone(hub.apps().get(AppIndex(0)).unwrap());
    hub.connect(again, &app, SocketId { place: 0, secret: 2 }, 7, NOW);
    say(&mut hub, again, "subscribe");
    tick(&mut hub);
    assert_eq!((hear(&mut hub, again), hub.census().receipts), (vec![], 0));
}

#[test]
fn an_event_without_receipt_awaits_nobody() {
    let mut hub = hub();
    let key = ChannelKey { app: AppIndex(0), name: ChannelName::parse("inbox", 164).unwrap() };
    let publication =
        Publication { event: told(), frame: Bytes::new(), except: None, remember: None, lasting: true, receipt: None };
    hub.letter(Letter::Publish { key, publication, ask: None }, NOW);
    tick(&mut hub);
    assert!(!hub.heard(ID, NOW));
}

#[test]
fn a_connection_is_awaited_for_as_many_as_the_bound() {
    let mut hub = hub();
    for number in 0..=RECEIPTS_PER_CONNECTION_MAX as u128 {
        notify(&mut hub, number);
    }
    tick(&mut hub);
    assert_eq!(hub.census().receipts, RECEIPTS_PER_CONNECTION_MAX);
    let all_but_the_last: Vec<u128> = (0..RECEIPTS_PER_CONNECTION_MAX as u128).collect();
    assert_eq!(hear(&mut hub, ID), all_but_the_last);
}

#[test]
fn a_mind_awaits_as_many_as_the_bound() {
    let mut receipts = Receipts::new(0);
    for number in 0..=RECEIPTS_MAX {
        let key = ChannelKey { app: AppIndex(0), name: ChannelName::parse("inbox", 164).unwrap() };
        let connection = ConnectionId { index: u32::try_from(number).unwrap(), generation: 0 };
        receipts.gather(Gathered { connection, key, token: 0, receipt: receipt(0) });
    }
    assert_eq!(receipts.len(), RECEIPTS_MAX);
}
