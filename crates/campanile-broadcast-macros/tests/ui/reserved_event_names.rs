use campanile_broadcast::{Broadcast, Channel};
use serde::Serialize;

#[derive(Channel)]
#[channel("news")]
struct News;

#[derive(Serialize, Broadcast)]
#[broadcast(name = "pusher:ping", on = [News])]
struct Ping;

#[derive(Serialize, Broadcast)]
#[broadcast(name = "client-typing", on = [News])]
struct Typing;

fn main() {}
