use campanile_broadcast::{Broadcast, Channel};
use serde::Serialize;

#[derive(Channel)]
#[channel("private-user.{id}")]
struct UserChannel {
    id: i64,
}

#[derive(Serialize, Broadcast)]
#[broadcast(on = [UserChannel { id: self.user_id }])]
struct OrderShipped {
    user_id: String,
}

fn main() {}
