//! What a client says, and what is done about it.
//!
//! Owns the way from a client's message to its answer or to a letter for the channel's home. Never knows what the home will
//! say: [`super::Hub::letter`] hears of that. The invariant: what reads a client's words cannot harm another client, because a
//! panic there ends that connection alone. Read on in [`crate::session`], which judges signatures and rates, and in
//! [`super::signin`].

use std::sync::Arc;

use campanile_protocol::frame::Subscribe;
use campanile_protocol::json::DataLiteral;
use campanile_protocol::name::CLIENT_EVENT_PREFIX;
use campanile_protocol::{Access, ChannelName, ClientFrame, CloseCode, EventName, ServerFrame, UserId};
use serde_json::value::RawValue;

use super::Hub;
use crate::app::App;
use crate::fanout::ConnectionId;
use crate::letter::{Audience, ChannelKey, Departure, Letter, Publication, Purpose};
use crate::meter::{Subject, Unit};
use crate::notice::NoticeKind;
use crate::session::{MOVES_PER_SEC, Unsubscribable};
use crate::timers::Moment;

impl Hub {
    /// A text message has come from the client.
    pub fn receive(&mut self, id: ConnectionId, text: &str, now: Moment) {
        self.heard(id, now);
        let Some(app) = self.app_of(id) else { return };
        let Ok(frame) = contained(|| ClientFrame::decode(text)) else { return self.broken(id) };
        match frame {
            Ok(ClientFrame::Ping) => self.direct(id, &ServerFrame::Pong),
            Ok(ClientFrame::Pong | ClientFrame::Unknown { .. }) => {}
            Ok(ClientFrame::Subscribe(subscribe)) => self.subscribe(id, &app, &subscribe, now),
            Ok(ClientFrame::Unsubscribe { channel }) => self.unsubscribe(id, &app, &channel, now),
            Ok(ClientFrame::Signin { auth, user_data }) => self.signin(id, &app, &auth, &user_data),
            Ok(ClientFrame::ClientEvent { event, channel, data }) => {
                self.client_event(id, &app, &event, &channel, data, now)
            }
            Err(malformed) => {
                self.error(id, None, &malformed.to_string(), None);
                if self.session(id).is_some_and(|session| session.count_garbage(now)) {
                    self.close(id, CloseCode::OverCapacity, "too many malformed messages");
                }
            }
        }
        self.run(now);
    }

    /// A message that is not text has come from the client: only text is spoken here.
    pub fn receive_binary(&mut self, id: ConnectionId, bytes: &[u8], now: Moment) {
        // Some clients send their JSON in binary messages.
        match std::str::from_utf8(bytes) {
            Ok(text) => self.receive(id, text, now),
            Err(_) => self.receive(id, "", now),
        }
    }

    fn subscribe(&mut self, id: ConnectionId, app: &App, subscribe: &Subscribe, now: Moment) {
        let Some(session) = self.session(id) else { return };
        let name = ChannelName::parse(&subscribe.channel, app.limits.channel_name_length_max)
            .map_err(|error| Unsubscribable { kind: "InvalidChannel", status: 400, message: error.to_string() });
        let Ok(admitted) = contained(|| {
            name.and_then(|name| session.authorize(app, &name, subscribe).map(|admission| (name, admission)))
        }) else {
            return self.broken(id);
        };
        let (name, admission) = match admitted {
            Ok(admitted) => admitted,
            Err(refused) => return self.refuse(id, &subscribe.channel, &refused),
        };
        let established = session.established;
        if name.kind().is_signed() {
            session.authorized = true;
        }
        let is_restless = session.is_restless(now);
        if name.kind().access == Access::User {
            return self.subscribe_own(id, name);
        }
        let key = ChannelKey { app: app.index, name };
        match self.fanout.seat(id, &key, Audience::Subscribers) {
            // The answer that is on its way acknowledges both.
            Some(seat) if !seat.joined => {}
            Some(seat) if key.name.kind().is_presence() => {
                if let Some(subscriber) = self.subscriber(id, seat.token) {
                    self.send(Letter::Resubscribe { key, subscriber });
                }
            }
            Some(_) => self.acknowledge(id, &key),
            None if is_restless => {
                let message =
                    format!("this connection leaves and enters channels too fast: at most {MOVES_PER_SEC} a second");
                self.refuse(id, key.name.as_str(), &Unsubscribable::limit(message));
            }
            None if self.fanout.subscriptions(id) >= app.limits.channels_per_connection_max => {
                let most = app.limits.channels_per_connection_max;
                let message = format!("this connection has as many channels as it may have ({most})");
                self.refuse(id, key.name.as_str(), &Unsubscribable::limit(message));
            }
            None => {
                if key.name.kind().is_signed() {
                    self.meter.wait(Subject::of(app, &key.name, ""), now.millis_since(established));
                }
                self.request(id, key, Audience::Subscribers, admission, Purpose::Subscribe);
            }
        }
    }

    /// A signed-in user's own channel: the connection is in it since it signed in.
    fn subscribe_own(&mut self, id: ConnectionId, name: ChannelName) {
        let Some(session) = self.session(id) else { return };
        let key = ChannelKey { app: session.app, name };
        if self.fanout.seat(id, &key, Audience::Subscribers).is_some_and(|seat| seat.joined) {
            self.acknowledge(id, &key);
        } else if let Some(user) = self.session(id).and_then(|session| session.user.as_mut()) {
            user.wants_channel = true;
        }
    }

    /// Says again that the client is in a channel that has no members.
    pub(super) fn acknowledge(&mut self, id: ConnectionId, key: &ChannelKey) {
        let succeeded = ServerFrame::SubscriptionSucceeded { channel: key.name.as_str(), snapshot: None };
        self.fanout.direct_about(id, key, succeeded.encode());
    }

    fn unsubscribe(&mut self, id: ConnectionId, app: &App, channel: &str, now: Moment) {
        let Ok(name) = ChannelName::parse(channel, app.limits.channel_name_length_max) else { return };
        // A signed-in user stays reachable: the channel is the sign-in's, not the client's.
        if name.kind().access == Access::User {
            return;
        }
        let key = ChannelKey { app: app.index, name };
        let is_in = self.fanout.seat(id, &key, Audience::Subscribers).is_some();
        let Some(session) = self.session(id).filter(|_| is_in) else { return };
        session.count_move(now);
        let socket_id = session.socket_id;
        if let Some(left) = self.fanout.leave(id, &key, Audience::Subscribers) {
            self.depart(left, id, socket_id, Departure::Left, None);
        }
    }

    fn client_event(&mut self, id: ConnectionId, app: &App, event: &str, channel: &str, data: &RawValue, now: Moment) {
        let limits = &app.limits;
        let rejected = Some(CloseCode::ClientEventRejected);
        let spent = self.spent.contains(&app.index);
        let Some(session) = self.session(id) else { return };
        let socket_id = session.socket_id;
        if !app.features.client_events {
            if session.may_tell_rejection(now) {
                self.error(id, rejected, "client events are not enabled for this app", Some(channel));
            }
            return;
        }
        let parsed = ChannelName::parse(channel, limits.channel_name_length_max);
        let Some(name) = parsed.ok().filter(|name| name.kind().takes_client_events()) else {
            return self.error(id, None, "client events are only for private and presence channels", Some(channel));
        };
        let key = ChannelKey { app: app.index, name };
        let Some(seat) = self.fanout.seat(id, &key, Audience::Subscribers).filter(|seat| seat.joined) else {
            let message = format!("client event rejected: this connection is not subscribed to {}", key.name);
            return self.error(id, None, &message, Some(channel));
        };
        let Some(session) = self.session(id) else { return };
        if !session.admit_event(limits.client_events_per_sec, now) {
            if session.may_tell_rejection(now) {
                let message = format!("client events are limited to {} a second", limits.client_events_per_sec);
                self.error(id, rejected, &message, Some(channel));
            }
            return;
        }
        let named = EventName::parse(event, limits.event_name_length_max);
        let name = match named {
            Ok(_) if event.len() == CLIENT_EVENT_PREFIX.len() => {
                return self.error(id, rejected, "the event has no name after client-", Some(channel));
            }
            Ok(name) => name,
            Err(error) => return self.error(id, rejected, &error.to_string(), Some(channel)),
        };
        let data = DataLiteral::from_client(data);
        if data.as_str().len() > limits.client_event_bytes_max {
            let (length, max) = (data.as_str().len(), limits.client_event_bytes_max);
            let message = format!("the client event's data is {length} bytes long, at most {max} are allowed");
            return self.error(id, rejected, &message, Some(channel));
        }
        if spent {
            if self.session(id).is_some_and(|session| session.may_tell_rejection(now)) {
                self.error(id, rejected, "this app has used up its messages", Some(channel));
            }
            return;
        }
        self.meter.count(Subject::of(app, &key.name, name.as_str()), Unit::ClientEvent, 1);
        let user_id = seat.user.as_ref().map(UserId::as_str);
        let frame = ServerFrame::Event { event, channel: key.name.as_str(), data: &data, user_id }.encode();
        let event: Arc<str> = name.as_str().into();
        let publication =
            Publication { event: name, frame, except: Some(socket_id), remember: None, lasting: false, receipt: None };
        let channel = key.name.clone();
        self.send(Letter::Publish { key, publication, ask: None });
        self.notify(app, NoticeKind::ClientEvent { channel, event, data, socket_id, user_id: seat.user });
    }

    /// Something that concerns this client alone has panicked: so it is this client that pays.
    pub(super) fn broken(&mut self, id: ConnectionId) {
        self.end(
            id,
            CloseCode::OverCapacity,
            "the server has failed at what this client sent: that is the server's fault",
        );
    }
}

/// Does what reads a client's words and touches nothing that others share; tells if it has panicked.
pub(super) fn contained<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    let work = || {
        #[cfg(test)]
        tests::panic_if_planted();
        work()
    };
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).map_err(|_| Panicked)
}

pub(super) struct Panicked;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use campanile_protocol::SocketId;

    use super::*;
    use crate::hub::Settings;
    use crate::letter::Homes;
    use crate::{AppIndex, Apps, Effect, Features, WorkerId};

    thread_local! {
        static PLANTED: Cell<bool> = const { Cell::new(false) };
    }

    pub(super) fn panic_if_planted() {
        assert!(!PLANTED.take(), "planted in a session");
    }

    fn app() -> App {
        let features = Features { client_events: true, user_authentication: true, ..Features::default() };
        App { features, ..App::new("a", "k", "s") }
    }

    fn written(hub: &mut Hub, to: ConnectionId) -> String {
        hub.fanout().gather();
        let mut all = Vec::new();
        while let Some(write) = hub.fanout().next_write() {
            if write.connection == to {
                all.extend(write.slices.iter().flat_map(|slice| slice.to_vec()));
            }
        }
        String::from_utf8_lossy(&all).into_owned()
    }

    #[test]
    fn a_panic_in_a_session_ends_that_connection_and_no_other() {
        let settings = Settings::new(WorkerId(0), Homes { seed: 0, workers: 1 });
        let apps = Arc::new(Apps::new(vec![app()], None));
        let now = Moment(0);
        let texts = [
            r#"{"event":"pusher:ping"}"#,
            r#"{"event":"pusher:subscribe","data":{"channel":"private-a","auth":"k:00"}}"#,
            r#"{"event":"pusher:signin","data":{"auth":"k:00","user_data":"{}"}}"#,
        ];
        for text in texts {
            let mut hub = Hub::new(settings.clone(), Arc::clone(&apps));
            let app = Arc::clone(apps.get(AppIndex(0)).expect("it has just been made"));
            let (unlucky, other) = (ConnectionId { index: 0, generation: 0 }, ConnectionId { index: 1, generation: 0 });
            for (id, place) in [(unlucky, 0), (other, 1)] {
                hub.connect(id, &app, SocketId { place, secret: 7 }, 7, now);
            }
            PLANTED.set(true);
            hub.receive(unlucky, text, now);
            hub.receive(other, r#"{"event":"pusher:ping"}"#, now);
            let mut effects = Vec::new();
            hub.take_effects(&mut effects);
            let [Effect::Close { connection, code: CloseCode::OverCapacity, .. }] = &effects[..] else {
                panic!("{text}: {effects:?}");
            };
            assert_eq!(*connection, unlucky);
            assert!(written(&mut hub, other).contains("pusher:pong"));
        }
    }
}
