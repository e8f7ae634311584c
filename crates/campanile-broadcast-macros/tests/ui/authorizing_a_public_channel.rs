use campanile_broadcast::{Channel, Channels};

#[derive(Channel)]
#[channel("orders.{id}")]
struct OrderChannel {
    id: i64,
}

fn main() {
    let _ = Channels::<(), ()>::new().private(|_: (), _: OrderChannel, _: ()| async { true });
}
