//! What the derives make of structs. What they say of mistakes is tested in `campanile-broadcast-macros`.

use campanile_broadcast::{Broadcast, BroadcastEvent, Channel, SignedInUser};
use serde::Serialize;

#[derive(Channel)]
#[channel("private-orders.{order}.items.{item}")]
struct ItemChannel {
    item: String,
    order: i64,
}

#[derive(Channel)]
#[channel("news")]
struct News;

#[derive(Channel)]
#[channel("presence-cache-room-{id}")]
struct Room {
    id: u32,
}

#[derive(Serialize, Broadcast)]
#[broadcast(
    name = "item.packed",
    on = [ItemChannel { order: self.order, item: self.item.clone() }, self.room.map(|id| Room { id }), News, SignedInUser(self.order)],
    when = self.order > 0
)]
struct ItemPacked {
    order: i64,
    item: String,
    #[serde(skip)]
    room: Option<u32>,
}

#[derive(Serialize, Broadcast)]
#[broadcast(on = [News])]
struct Published {
    headline: &'static str,
}

fn names(event: &impl BroadcastEvent) -> Vec<String> {
    let channels = event.channels().expect("these channels have names");
    channels.names().iter().map(ToString::to_string).collect()
}

#[test]
fn a_name_has_its_fields_where_the_pattern_says_whatever_their_order_in_the_struct() {
    let channel = ItemChannel { order: 7, item: "a-1".to_owned() };
    assert_eq!(channel.name().expect("a name").as_str(), "private-orders.7.items.a-1");
    assert_eq!(News.name().expect("a name").as_str(), "news");
    assert_eq!(Room { id: 3 }.name().expect("a name").as_str(), "presence-cache-room-3");
}

#[test]
fn an_event_goes_to_every_channel_that_it_lists() {
    let mut event = ItemPacked { order: 7, item: "a".to_owned(), room: Some(3) };
    let all = ["private-orders.7.items.a", "presence-cache-room-3", "news", "#server-to-user-7"];
    assert_eq!(names(&event), all);
    event.room = None;
    assert_eq!(names(&event), [all[0], all[2], all[3]]);
    event.item = "a.b".to_owned();
    assert!(event.channels().is_err());
}

#[test]
fn an_event_says_its_name_its_payload_and_whether_it_is_sent() {
    let event = ItemPacked { order: 7, item: "a".to_owned(), room: Some(3) };
    assert_eq!(event.name(), "item.packed");
    assert_eq!(serde_json::to_string(&event).expect("JSON"), r#"{"order":7,"item":"a"}"#);
    assert!(event.should_send());
    assert!(!ItemPacked { order: 0, ..event }.should_send());
}

#[test]
fn without_a_name_an_event_has_that_of_its_type() {
    let event = Published { headline: "bells" };
    assert_eq!((event.name().as_ref(), event.headline, event.should_send()), ("Published", "bells", true));
}
