//! Whoever enters the channel of an inbox is made known, and hears how it stands only while in it.

use super::*;
use crate::guard::Pattern;
use crate::inbox::Inboxes;
use crate::letter::{Ask, AskId};

const ID: ConnectionId = ConnectionId { index: 0, generation: 0 };
const SOCKET: SocketId = SocketId { place: 0, secret: 1 };
const NOW: Moment = Moment(0);

fn hub() -> Hub {
    let channels = vec![Pattern::parse("private-user.{user}").unwrap()];
    let inbox = Some(Arc::new(Inboxes { channels, ..Inboxes::default() }));
    let apps = Apps::new(vec![App { inbox, ..App::new("1", "key", "secret") }, App::new("2", "k2", "s2")], None);
    let mut hub = Hub::new(Settings::new(WorkerId(0), Homes { seed: 0, workers: 1 }), Arc::new(apps));
    let app = Arc::clone(hub.apps().get(AppIndex(0)).unwrap());
    hub.connect(ID, &app, SOCKET, 7, NOW);
    hub
}

fn subscribe(hub: &mut Hub, channel: &str) {
    let app = Arc::clone(hub.apps().get(AppIndex(0)).unwrap());
    let auth = app.secret("key").unwrap().sign_channel(SOCKET, channel, None);
    hub.receive(
        ID,
        &format!(r#"{{"event":"pusher:subscribe","data":{{"channel":"{channel}","auth":"key:{auth}"}}}}"#),
        NOW,
    );
}

/// Who has entered whose inbox.
fn entered(hub: &mut Hub) -> Vec<(ChannelKey, Box<str>, Subscriber)> {
    let mut effects = Vec::new();
    hub.take_effects(&mut effects);
    let entered = effects.into_iter().filter_map(|effect| match effect {
        Effect::EnteredInbox { key, user, subscriber } => Some((key, user, subscriber)),
        _ => None,
    });
    entered.collect()
}

fn written(hub: &mut Hub) -> String {
    hub.fanout().gather();
    let mut all = Vec::new();
    while let Some(write) = hub.fanout().next_write() {
        all.extend(write.slices.iter().flat_map(|slice| slice.to_vec()));
    }
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn who_enters_an_inbox_is_made_known_once_and_who_enters_another_channel_is_not() {
    let mut hub = hub();
    subscribe(&mut hub, "private-team.42");
    assert!(entered(&mut hub).is_empty());
    subscribe(&mut hub, "private-user.42");
    let known = entered(&mut hub);
    assert_eq!(known.len(), 1);
    let (key, user, subscriber) = &known[0];
    assert_eq!((key.name.as_str(), &**user, subscriber.connection), ("private-user.42", "42", ID));
    // A second subscription is acknowledged, and nobody has entered.
    subscribe(&mut hub, "private-user.42");
    assert!(entered(&mut hub).is_empty());
}

#[test]
fn how_an_inbox_stands_comes_after_its_subscription_and_never_after_its_end() {
    let mut hub = hub();
    subscribe(&mut hub, "private-user.42");
    let (key, _, subscriber) = entered(&mut hub).remove(0);
    let state = |key: &ChannelKey| {
        let frames = vec![Bytes::from_static(b"the state")];
        Letter::Restated { key: key.clone(), subscriber, frames }
    };
    // In the same tick, before anything was written.
    hub.letter(state(&key), NOW);
    let text = written(&mut hub);
    let [succeeded, told] = ["subscription_succeeded", "the state"].map(|part| text.find(part));
    assert!(succeeded.unwrap() < told.unwrap(), "{text}");

    hub.receive(ID, r#"{"event":"pusher:unsubscribe","data":{"channel":"private-user.42"}}"#, NOW);
    hub.letter(state(&key), NOW);
    assert_eq!(written(&mut hub), "");
    // What was asked for the subscription before is not this one's.
    subscribe(&mut hub, "private-user.42");
    hub.letter(state(&key), NOW);
    assert!(!written(&mut hub).contains("the state"));
}

#[test]
fn a_socket_id_is_of_the_connection_that_has_it_until_that_is_closed() {
    let mut hub = hub();
    let ask = |hub: &mut Hub, socket_id| {
        let id = AskId { worker: WorkerId(0), number: 1 };
        hub.letter(Letter::Ask { ask: Ask::Connection(socket_id), id }, NOW);
        let mut effects = Vec::new();
        hub.take_effects(&mut effects);
        effects.into_iter().find_map(|effect| match effect {
            Effect::Answer { answer: Answer::Connection(app), .. } => Some(app),
            _ => None,
        })
    };
    assert_eq!(ask(&mut hub, SOCKET), Some(Some(AppIndex(0))));
    assert_eq!(ask(&mut hub, SocketId { secret: 2, ..SOCKET }), Some(None), "the secret half differs");
    assert_eq!(ask(&mut hub, SocketId { place: 7, ..SOCKET }), Some(None), "nobody is there");
    hub.close(ID, CloseCode::Reconnect, "");
    assert_eq!(ask(&mut hub, SOCKET), Some(None), "it is about to be closed");
    hub.disconnect(ID, Departure::Left, NOW);
    assert_eq!(ask(&mut hub, SOCKET), Some(None));
}

#[test]
fn an_app_without_inboxes_has_none_after_a_reload() {
    let mut hub = hub();
    let without = Arc::new(Apps::new(vec![App::new("1", "key", "secret")], Some(hub.apps())));
    hub.letter(Letter::Reload { apps: without }, NOW);
    subscribe(&mut hub, "private-user.42");
    assert!(entered(&mut hub).is_empty());
}
