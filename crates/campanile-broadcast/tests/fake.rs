//! The test double, as an application's tests use it.

use campanile_broadcast::{Broadcast, Campanile, Channel, PublishError, Published, SocketId};
use serde::Serialize;

#[derive(Channel)]
#[channel("private-user.{id}")]
struct UserChannel {
    id: i64,
}

#[derive(Serialize, Broadcast)]
#[broadcast(name = "order.shipped", on = [UserChannel { id: self.user }], when = self.visible)]
struct OrderShipped {
    order: i64,
    #[serde(skip)]
    user: i64,
    #[serde(skip)]
    visible: bool,
}

#[derive(Serialize, Broadcast)]
#[broadcast(on = [None::<UserChannel>])]
struct ToNobody;

#[derive(Serialize, Broadcast)]
#[broadcast(on = [UserChannel { id: 1 }])]
struct Large {
    text: String,
}

fn shipped(order: i64, visible: bool) -> OrderShipped {
    OrderShipped { order, user: 7, visible }
}

#[tokio::test]
async fn what_was_broadcast_is_found_by_its_type_its_fields_and_its_channels() {
    let fake = Campanile::fake();
    let socket = campanile_protocol::SocketId::parse("1.2").expect("a socket id");
    let campanile = fake.campanile();
    let sent = campanile.broadcast(shipped(42, true)).to_others(socket).now().await;
    assert!(matches!(sent, Ok(Published::Sent)));
    fake.assert_broadcast::<OrderShipped>(|event, channels| event.order == 42 && channels == ["private-user.7"]);
    fake.assert_broadcast_to_others::<OrderShipped>(socket);
    fake.assert_broadcast_times::<OrderShipped>(1);
    fake.assert_not_broadcast::<ToNobody>();
}

#[tokio::test]
async fn every_verb_is_recorded() {
    let fake = Campanile::fake();
    assert!(matches!(fake.broadcast(shipped(1, true)).send().await, Ok(Published::Queued)));
    fake.broadcast(shipped(2, true)).rescue().await;
    let batch = fake.batch().event(shipped(3, true)).event(shipped(4, false)).to_others(SocketId::NONE);
    assert!(matches!(batch.now().await, Ok(Published::Sent)));
    fake.assert_broadcast_times::<OrderShipped>(3);
}

#[tokio::test]
async fn what_does_not_want_to_be_sent_or_has_nowhere_to_go_is_suppressed() {
    let fake = Campanile::fake();
    assert!(matches!(fake.broadcast(shipped(1, false)).now().await, Ok(Published::Suppressed)));
    assert!(matches!(fake.broadcast(ToNobody).send().await, Ok(Published::Suppressed)));
    assert!(matches!(fake.batch().event(ToNobody).now().await, Ok(Published::Suppressed)));
    fake.assert_nothing_sent();
}

#[tokio::test]
async fn what_a_server_would_refuse_is_refused_and_not_recorded() {
    let fake = Campanile::fake();
    let large = || Large { text: "x".repeat(10_241) };
    assert!(matches!(fake.broadcast(large()).now().await, Err(PublishError::TooLarge { .. })));
    let batch = fake.batch().event(shipped(1, true)).event(large()).now().await;
    assert!(matches!(batch, Err(PublishError::TooLarge { .. })));
    fake.assert_nothing_sent();
}

#[tokio::test]
#[should_panic = "no fake::OrderShipped was broadcast as expected, of 1 that were"]
async fn an_assertion_that_does_not_hold_fails() {
    let fake = Campanile::fake();
    fake.broadcast(shipped(1, true)).rescue().await;
    fake.assert_broadcast::<OrderShipped>(|event, _| event.order == 2);
}
