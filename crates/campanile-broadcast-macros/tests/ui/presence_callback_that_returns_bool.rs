use campanile_broadcast::{Channel, Channels};

#[derive(Channel)]
#[channel("presence-team.{id}")]
struct TeamChannel {
    id: i64,
}

fn main() {
    let _ = Channels::<(), ()>::new().presence(|_: (), _: TeamChannel, _: ()| async { true });
}
