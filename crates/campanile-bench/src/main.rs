//! Load and comparison tool; it has no scenarios yet.

use clap::Parser;

/// What the tool is asked to do.
#[derive(Debug, Parser)]
#[command(name = "campanile-bench", version, about)]
struct Arguments {}

fn main() {
    Arguments::parse();
}
