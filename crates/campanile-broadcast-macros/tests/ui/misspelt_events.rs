use campanile_broadcast::{Broadcast, Channel};
use serde::Serialize;

#[derive(Channel)]
#[channel("news")]
struct News;

#[derive(Serialize, Broadcast)]
#[broadcast(name = "published")]
struct WithoutChannels;

#[derive(Serialize, Broadcast)]
#[broadcast(on = News)]
struct WithoutBrackets;

#[derive(Serialize, Broadcast)]
#[broadcast(on = [News], qeue = "high")]
struct Misspelt;

#[derive(Serialize, Broadcast)]
#[broadcast(on = [News], queue = "very high")]
struct QueueWithASpace;

#[derive(Serialize, Broadcast)]
#[broadcast(on = [News], unique_for = std::time::Duration::from_secs(60))]
struct UniqueByNothing;

#[derive(Serialize, Broadcast)]
#[broadcast(on = [News], tries = 5, tries = 6)]
struct SaidTwice;

fn main() {}
