#![deny(unused_must_use)]

use campanile_broadcast::{Campanile, Notification};
use serde::Serialize;

#[derive(Serialize, Notification)]
#[notification(kind = "comment.added", title = "Ann has commented")]
struct Commented;

fn main() {
    Campanile::fake().notify(42, Commented).about("document", 7);
}
