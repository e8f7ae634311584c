//! A client of the Pusher Channels protocol, for our own commands.
//!
//! Owns one connection at a time, the signatures that an application's backend would make, and the
//! signed requests of the HTTP API. Never retries by itself: [`after_close`] says what a client does
//! next, and the command does it. The invariant: it trusts no frame, so whatever a server sends is an
//! event or an [`Ended`], never a panic. Next: `connection.rs`, `api.rs`; `transport.rs` for TLS,
//! `obstacle.rs` for what to say when it does not work, `visible.rs` for what others have written.

mod api;
mod connection;
mod obstacle;
mod reconnect;
mod transport;
mod visible;

pub(crate) use api::{Api, ApiError};
pub(crate) use connection::{Connection, Ended, Incident, Member};
pub(crate) use obstacle::{Obstacle, explained};
pub(crate) use reconnect::{Next, after_close};
pub(crate) use visible::visible;
