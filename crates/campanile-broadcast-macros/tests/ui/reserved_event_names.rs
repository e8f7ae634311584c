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

#[derive(Serialize, Broadcast)]
#[broadcast(name = "nowhere")]
struct Nowhere;

#[derive(Serialize, Broadcast)]
#[broadcast(on = News)]
struct WithoutBrackets;

#[derive(Serialize, Broadcast)]
#[broadcast(on = [News], chanels = 1)]
struct Misspelt;

fn main() {}
