//! The whole server in this process: real sockets, raw frames.
//!
//! Owns what only the running server can show. Never repeats what a lower layer proves. The invariant: no assertion on
//! time is tighter than a busy machine keeps. Read on in `limits.rs` for where each limit is tested, in `reactions.rs`
//! for bad input, in `guard.rs` for publishers that have gone wrong, in `inbox.rs` for what is kept, in `beyond.rs` for users who are not there, in `abuse.rs` for bad intent, in `compression.rs` for clients that offer it, in `replay.rs` for those
//! who come back and in `crowds.rs` for many at once.

mod abuse;
mod beyond;
#[path = "../common/mod.rs"]
mod common;
mod compression;
mod crowds;
mod guard;
mod inbox;
mod limits;
#[path = "../../../campanile-broadcast/tests/support/postgres.rs"]
mod postgres;
mod reactions;
mod replay;
mod usage;
