#![deny(unused_must_use)]

use campanile_broadcast::Campanile;

fn main() {
    let campanile = Campanile::fake().campanile();
    campanile.courier();
    campanile.courier().start();
}
