//! What each subcommand does, one file each.
//!
//! Owns nothing itself. A command never parses arguments (`cli.rs` did) and never ends the process:
//! it writes to what it is given and returns an exit code. Next: the file with the subcommand's name.

pub mod check;
pub mod completions;
pub mod demo;
mod invocation;
pub mod keys;
pub mod listen;
pub mod serve;
pub mod store;
pub mod trigger;
pub mod usage;
pub mod webhooks;
