#![deny(unused_must_use)]

use campanile_broadcast::{Broadcast, Campanile, Channel};
use serde::Serialize;

#[derive(Channel)]
#[channel("news")]
struct News;

#[derive(Serialize, Broadcast)]
#[broadcast(on = [News])]
struct Published;

fn main() {
    Campanile::fake().broadcast(Published);
}
