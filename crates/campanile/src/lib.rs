//! The server and its command line.

mod alerts;
mod api;
mod bill;
mod budget;
mod calendar;
mod clerk;
pub mod cli;
mod client;
pub mod commands;
pub mod config;
mod crypto;
mod door;
mod forwarded;
mod http;
mod journal;
mod ledger;
mod mailbox;
mod node;
mod outcomes;
mod send_queue;
mod server;
mod socket;
mod state_dir;
pub mod target;
mod tls;
mod unix_socket;
mod upgrade;
mod uring;
pub mod webhooks;
mod wire;
mod worker;

pub use ledger::LedgerError;
pub use server::{RunningServer, Server, StartError};
pub use state_dir::{StateDir, StateDirError};
pub use tls::TlsError;
pub use unix_socket::UnixSocketError;
