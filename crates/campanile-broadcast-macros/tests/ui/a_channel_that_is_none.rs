use campanile_broadcast::Broadcast;
use serde::Serialize;

struct News;

#[derive(Serialize, Broadcast)]
#[broadcast(on = [News])]
struct Published;

fn main() {}
