//! The crate against the real server, over real sockets.
//!
//! Owns the proof that what the other tests take for granted holds on the wire. Never fakes the server, except where it
//! must misbehave. The invariant: every test has a server, a port and files of its own. Read on in `stage.rs` for how a
//! test begins, then in `wire.rs`, `outbox.rs` and `inbox.rs`.

mod browser;
mod database;
mod ear;
mod inbox;
mod outbox;
mod passage;
#[path = "../support/postgres.rs"]
mod postgres;
mod stage;
mod wire;
