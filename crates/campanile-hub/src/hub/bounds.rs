//! What a mind holds stays within its bounds, and nothing is held for those who have gone.

use campanile_protocol::json::DataLiteral;
use campanile_protocol::signature::SignedQuery;
use campanile_protocol::{ChannelName, EventName, Fingerprint, IdempotencyKey, Limits};

use super::*;
use crate::app::NoticeSet;
use crate::app::{AppIndex, Features};
use crate::idempotency::{FirstAnswer, RequestKey, Unreserved};
use crate::letter::{Ask, AskId, Publication};
use crate::memory::REMEMBERED_OVERHEAD_BYTES;
use crate::meter::Unit;
use crate::session::{MOVES_AT_ONCE_MAX, MOVES_PER_SEC};

const ID: ConnectionId = ConnectionId { index: 0, generation: 0 };
const SOCKET: SocketId = SocketId { place: 0, secret: 1 };

fn app(id: &str) -> App {
    let features = Features { user_authentication: true, watchlists: true, ..Features::default() };
    App { features, ..App::new(id, "key", "secret") }
}

fn hub(workers: u16, remembered_bytes_max: usize) -> Hub {
    let settings = Settings {
        presence_grace_secs: 5,
        remembered_bytes_max,
        rings_bytes_max: remembered_bytes_max,
        ..Settings::new(WorkerId(0), Homes { seed: 0, workers })
    };
    Hub::new(settings, Arc::new(Apps::new(vec![app("1")], None)))
}

fn connected() -> Hub {
    let mut hub = hub(1, 1 << 20);
    let app = Arc::clone(hub.apps().get(AppIndex(0)).unwrap());
    hub.connect(ID, &app, SOCKET, 7, Moment(0));
    hub
}

fn key(name: &str) -> ChannelKey {
    ChannelKey { app: AppIndex(0), name: ChannelName::parse(name, 164).unwrap() }
}

fn told() -> EventName {
    EventName::parse("told", 200).unwrap()
}

fn publish(hub: &mut Hub, name: &str, data: &str, now: Moment) {
    let publication = Publication {
        event: told(),
        frame: Bytes::new(),
        except: None,
        remember: Some(DataLiteral::from_text(data)),
        lasting: true,
        receipt: None,
    };
    hub.letter(Letter::Publish { key: key(name), publication, ask: None }, now);
}

fn remembers(hub: &mut Hub, name: &str) -> bool {
    matches!(hub.look_up(&Ask::Channel(key(name)), Moment(0)), Answer::Channel(info) if info.remembered.is_some())
}

fn subscribe(hub: &mut Hub, name: &str, now: Moment) {
    hub.receive(ID, &format!(r#"{{"event":"pusher:subscribe","data":{{"channel":"{name}"}}}}"#), now);
}

fn unsubscribe(hub: &mut Hub, name: &str, now: Moment) {
    hub.receive(ID, &format!(r#"{{"event":"pusher:unsubscribe","data":{{"channel":"{name}"}}}}"#), now);
}

#[test]
fn what_is_remembered_stays_within_its_bytes_even_if_every_event_is_empty() {
    // The literal of no data is two quotes.
    let each = "cache-00000".len() + 2 + REMEMBERED_OVERHEAD_BYTES;
    let mut hub = hub(1, 100 * each);
    for number in 0..100 {
        publish(&mut hub, &format!("cache-{number:05}"), "", Moment(0));
    }
    assert_eq!((hub.census().remembered, hub.census().remembered_bytes), (100, 100 * each));
    assert!(remembers(&mut hub, "cache-00000"));
    for number in 100..10_000 {
        publish(&mut hub, &format!("cache-{number:05}"), "", Moment(0));
    }
    assert!(!remembers(&mut hub, "cache-09899") && remembers(&mut hub, "cache-09900"));
    let Census { channels, timers, remembered, remembered_bytes, .. } = hub.census();
    assert_eq!((channels, timers, remembered, remembered_bytes), (100, 100, 100, 100 * each));
}

#[test]
fn a_channel_that_is_published_to_again_and_again_counts_once() {
    let mut hub = hub(1, 1 << 20);
    for now in 0..10_000 {
        publish(&mut hub, "cache-a", "x", Moment(now));
    }
    let Census { channels, timers, remembered, .. } = hub.census();
    assert_eq!((channels, timers, remembered), (1, 1, 1));
    let ttl = Limits::default().cache_ttl_secs * 1000;
    hub.due(Moment(ttl));
    assert_eq!(hub.census().remembered, 1, "the first event's time is not the last's");
    assert_eq!(hub.next_due(), Some(Moment(9999 + ttl)));
    hub.due(Moment(9999 + ttl));
    assert_eq!(hub.census(), Census::default());
}

#[test]
fn an_event_that_is_larger_than_all_may_be_is_not_remembered() {
    let mut hub = hub(1, REMEMBERED_OVERHEAD_BYTES);
    publish(&mut hub, "cache-a", "x", Moment(0));
    assert_eq!(hub.census(), Census::default());
}

#[test]
fn a_channel_that_is_left_and_taken_again_without_end_has_one_timer() {
    let mut hub = connected();
    let told = App { notices: NoticeSet::default().with(NoticeKind::VACATED), ..app("1") };
    hub.apps = Arc::new(Apps::new(vec![told], Some(&hub.apps.clone())));
    // As fast as one connection may.
    let between = 1000 / u64::from(MOVES_PER_SEC);
    for now in (0..10_000).map(|time| Moment(time * between)) {
        subscribe(&mut hub, "public", now);
        unsubscribe(&mut hub, "public", now);
        hub.fanout().gather();
        while hub.fanout().next_write().is_some() {}
    }
    let Census { channels, timers, seats, local_channels, .. } = hub.census();
    assert_eq!((channels, timers, seats, local_channels), (1, 1, 0, 0));
    hub.due(Moment(10_000 * between + 60_000));
    assert_eq!(hub.census(), Census { sessions: 1, ..Census::default() });
}

#[test]
fn a_connection_that_leaves_too_many_channels_enters_no_more_until_it_has_rested() {
    let mut hub = connected();
    for _ in 0..=MOVES_AT_ONCE_MAX {
        subscribe(&mut hub, "public", Moment(0));
        unsubscribe(&mut hub, "public", Moment(0));
    }
    // To leave what it is not in costs nothing.
    unsubscribe(&mut hub, "public", Moment(0));
    subscribe(&mut hub, "public", Moment(49));
    assert_eq!(hub.census().seats, 0);
    subscribe(&mut hub, "public", Moment(50));
    assert_eq!(hub.census().seats, 1);
    hub.fanout().gather();
    let text = String::from_utf8_lossy(&hub.fanout().next_write().unwrap().slices.concat()).into_owned();
    assert_eq!(text.matches(r#""type":"LimitReached""#).count(), 1, "{text}");
}

#[test]
fn a_connection_has_as_many_channels_as_it_may_and_pending_ones_count() {
    // With two workers about half of the channels live elsewhere, and nobody there answers.
    let mut hub = hub(2, 1 << 20);
    let app = Arc::clone(hub.apps().get(AppIndex(0)).unwrap());
    hub.connect(ID, &app, SOCKET, 7, Moment(0));
    let most = app.limits.channels_per_connection_max;
    for number in 0..most {
        subscribe(&mut hub, &format!("channel-{number}"), Moment(0));
    }
    let mut effects = Vec::new();
    hub.take_effects(&mut effects);
    assert!(effects.len() > most / 4 && effects.len() < most);
    assert_eq!(hub.census().seats, most);
    subscribe(&mut hub, "one-more", Moment(0));
    assert_eq!(hub.census().seats, most);
    unsubscribe(&mut hub, "channel-0", Moment(0));
    subscribe(&mut hub, "one-more", Moment(0));
    assert_eq!(hub.census().seats, most);
    assert!(hub.fanout.seat(ID, &key("one-more"), Audience::Subscribers).is_some());
}

#[test]
fn a_ping_that_went_out_late_leaves_the_whole_time_for_its_pong() {
    let mut hub = connected();
    assert_eq!(hub.check(ID, Moment(151_000)), Some(Moment(181_000)));
    assert_eq!(hub.check(ID, Moment(180_999)), Some(Moment(181_000)));
    assert_eq!(hub.check(ID, Moment(181_000)), None);
}

#[test]
fn a_second_end_of_a_connection_says_nothing_more() {
    let mut hub = connected();
    for _ in 0..2 {
        hub.letter(Letter::Reload { apps: Arc::new(Apps::new(vec![], Some(&hub.apps.clone()))) }, Moment(0));
    }
    let mut effects = Vec::new();
    hub.take_effects(&mut effects);
    assert_eq!(effects.iter().filter(|effect| matches!(effect, Effect::Close { .. })).count(), 1);
    hub.fanout().gather();
    let write = hub.fanout().next_write().unwrap();
    let text = String::from_utf8_lossy(&write.slices.concat()).into_owned();
    assert_eq!(text.matches("pusher:error").count(), 1);
}

#[test]
fn a_letter_about_an_app_that_a_reload_is_bringing_waits_for_it() {
    let mut hub = hub(2, 1 << 20);
    let apps = Arc::new(Apps::new(vec![app("1"), app("2")], Some(&hub.apps.clone())));
    let mut at_home = (0..).map(|number| ChannelKey { app: AppIndex(1), ..key(&format!("c{number}")) });
    let key = at_home.find(|key| hub.settings.homes.of(key) == WorkerId(0)).unwrap();
    let subscriber = Subscriber { worker: WorkerId(1), connection: ID, token: 1, socket_id: SOCKET };
    let purpose = Purpose::Subscribe;
    hub.letter(Letter::Subscribe { key, subscriber, member: None, since: None, purpose }, Moment(0));
    assert_eq!((hub.census().waiting_letters, hub.census().channels), (1, 0));
    assert!(hub.may_keep_letters());
    hub.letter(Letter::Reload { apps }, Moment(0));
    assert_eq!((hub.census().waiting_letters, hub.census().channels), (0, 1));
    assert!(!hub.may_keep_letters());
    let mut effects = Vec::new();
    hub.take_effects(&mut effects);
    assert!(matches!(&effects[..], [Effect::Send { to: WorkerId(1), letter: Letter::Granted { .. } }]));
}

#[test]
fn a_removed_apps_channels_end_with_their_connections_and_it_keeps_no_secret() {
    let mut hub = connected();
    subscribe(&mut hub, "public", Moment(0));
    let apps = Arc::new(Apps::new(vec![], Some(&hub.apps.clone())));
    assert!(apps.get(AppIndex(0)).is_none() && apps.by_key("key").is_none() && apps.by_id("1").is_none());
    assert!(apps.known(AppIndex(0)).unwrap().credentials.is_empty());
    assert_eq!(apps.iter().count(), 0);
    hub.letter(Letter::Reload { apps: Arc::clone(&apps) }, Moment(0));
    assert_eq!(hub.census().channels, 1);
    hub.disconnect(ID, Departure::Vanished, Moment(0));
    hub.due(Moment(5000));
    assert_eq!(hub.census(), Census::default());
    let again = Apps::new(vec![app("1")], Some(&apps));
    assert_eq!(again.by_id("1").map(|app| app.index), Some(AppIndex(0)));
}

fn request_key(app: u32) -> RequestKey {
    RequestKey { app: AppIndex(app), key: IdempotencyKey::parse(b"key").unwrap() }
}

/// What the asking worker hears.
fn reserve(hub: &mut Hub, key: RequestKey, id: AskId, now: Moment) -> Result<(), Unreserved> {
    let fingerprint = Fingerprint::of("/", &SignedQuery::parse(""), b"");
    hub.letter(Letter::Reserve { key, fingerprint, id }, now);
    let mut effects = Vec::new();
    hub.take_effects(&mut effects);
    match effects.pop() {
        Some(Effect::Answer { id: answered, answer: Answer::Reserved(reserved) }) if answered == id => reserved,
        Some(Effect::Send { to, letter: Letter::Answer { id: answered, answer: Answer::Reserved(reserved) } })
            if answered == id && to == id.worker =>
        {
            reserved
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_key_is_known_to_all_workers_until_its_window_is_over_and_nothing_is_left_of_it() {
    let mut hub = hub(2, 1 << 20);
    let [here, there] = [WorkerId(0), WorkerId(1)].map(|worker| AskId { worker, number: 7 });
    assert_eq!(reserve(&mut hub, request_key(0), there, Moment(0)), Ok(()));
    assert_eq!(reserve(&mut hub, request_key(0), here, Moment(0)), Err(Unreserved::InFlight));
    assert_eq!(reserve(&mut hub, request_key(1), here, Moment(0)), Ok(()), "another app's");
    hub.letter(Letter::Release { key: request_key(1), id: here }, Moment(0));
    let answer = FirstAnswer { status: 200, body: Bytes::from_static(b"{}"), outcome: Bytes::new() };
    hub.letter(Letter::Commit { key: request_key(0), id: there, answer: answer.clone() }, Moment(1000));
    assert_eq!(reserve(&mut hub, request_key(0), here, Moment(600_999)), Err(Unreserved::Repeat(answer)));
    assert_eq!((hub.census().request_keys, hub.next_due()), (1, Some(Moment(601_000))));
    // Without any further request, too.
    hub.due(Moment(601_000));
    assert_eq!((hub.census(), hub.next_due()), (Census::default(), None));
}

#[test]
fn a_mind_in_place_of_a_lost_one_knows_no_keys_and_ends_none_of_before() {
    let mut lost = hub(1, 1 << 20);
    let id = AskId { worker: WorkerId(0), number: 7 };
    assert_eq!(reserve(&mut lost, request_key(0), id, Moment(0)), Ok(()));
    let mut hub = Hub::reborn(lost.settings.clone(), lost.apps.clone(), lost.legacy());
    let again = AskId { number: 8, ..id };
    assert_eq!(reserve(&mut hub, request_key(0), again, Moment(0)), Ok(()));
    let answer = FirstAnswer { status: 200, body: Bytes::new(), outcome: Bytes::new() };
    hub.letter(Letter::Commit { key: request_key(0), id, answer }, Moment(0));
    hub.letter(Letter::Release { key: request_key(0), id }, Moment(0));
    assert_eq!(reserve(&mut hub, request_key(0), id, Moment(0)), Err(Unreserved::InFlight));
}

/// What the app has used since this was last asked.
fn used(hub: &mut Hub) -> [u64; 5] {
    let taken = hub.take_readings();
    assert!(taken.iter().all(|reading| reading.app == AppIndex(0)));
    Unit::ALL.map(|unit| taken.iter().map(|reading| reading.usage().get(unit)).sum())
}

#[test]
fn what_connections_are_sent_and_clients_send_is_counted_as_it_is_billed() {
    let mut hub = hub(1, 1 << 20);
    let features = Features { client_events: true, ..Features::default() };
    let app = App { features, ..app("1") };
    hub.letter(Letter::Reload { apps: Arc::new(Apps::new(vec![app], Some(&hub.apps.clone()))) }, Moment(0));
    let app = Arc::clone(hub.apps().get(AppIndex(0)).unwrap());
    let id = |index| ConnectionId { index, generation: 0 };
    for index in 0..3 {
        let socket = SocketId { place: u64::from(index), secret: 1 };
        hub.connect(id(index), &app, socket, 7, Moment(0));
        for name in ["presence-a", "private-a"] {
            let data = format!(r#"{{"user_id":"{index}"}}"#);
            let data = (name == "presence-a").then_some(data);
            let auth = app.credentials[0].secret.sign_channel(socket, name, data.as_deref());
            let data = data.map_or(String::new(), |data| format!(r#","channel_data":{data:?}"#));
            let text =
                format!(r#"{{"event":"pusher:subscribe","data":{{"channel":"{name}","auth":"key:{auth}"{data}}}}}"#);
            hub.receive(id(index), &text, Moment(0));
        }
    }
    // Subscriptions and their answers cost nothing; the second and the third member were told to those before them.
    assert_eq!(used(&mut hub), [0, 0, 0, 1 + 2, 0]);
    publish(&mut hub, "private-a", "x", Moment(0));
    publish(&mut hub, "nobody", "x", Moment(0));
    assert_eq!(used(&mut hub), [0, 0, 3, 0, 0]);
    // Whoever is left out is not sent it; a stranger is left out in vain.
    for (except, deliveries) in [(0, 2), (9, 3)] {
        let except = Some(SocketId { place: except, secret: 1 });
        let publication =
            Publication { event: told(), frame: Bytes::new(), except, remember: None, lasting: false, receipt: None };
        hub.letter(Letter::Publish { key: key("private-a"), publication, ask: None }, Moment(0));
        assert_eq!(used(&mut hub), [0, 0, deliveries, 0, 0]);
    }
    let typing = r#"{"event":"client-typing","channel":"private-a","data":{}}"#;
    hub.receive(id(1), typing, Moment(0));
    assert_eq!(used(&mut hub), [0, 1, 2, 0, 0]);
    hub.receive(id(1), r#"{"event":"pusher:ping","data":{}}"#, Moment(0));
    assert_eq!(used(&mut hub), [0; 5]);
    hub.set_spent(vec![AppIndex(0)]);
    hub.receive(id(1), typing, Moment(0));
    assert_eq!(used(&mut hub), [0; 5], "an app without messages has none for its clients");
    hub.set_spent(Vec::new());
    hub.receive(id(1), typing, Moment(0));
    assert_eq!(used(&mut hub), [0, 1, 2, 0, 0]);
    hub.disconnect(id(2), Departure::Left, Moment(0));
    assert_eq!(used(&mut hub), [0, 0, 0, 2, 0]);
}
