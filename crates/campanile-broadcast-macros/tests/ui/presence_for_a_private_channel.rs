use campanile_broadcast::{Channel, Channels, Member};
use serde_json::Value;

#[derive(Channel)]
#[channel("private-team.{id}")]
struct TeamChannel {
    id: i64,
}

fn main() {
    let _ = Channels::<(), ()>::new().presence(|_: (), _: TeamChannel, _: ()| async { Member::new(1, Value::Null) });
}
