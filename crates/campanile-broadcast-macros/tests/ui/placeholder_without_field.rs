use campanile_broadcast::Channel;

#[derive(Channel)]
#[channel("private-orders.{order}")]
struct OrderChannel {
    id: i64,
}

fn main() {}
