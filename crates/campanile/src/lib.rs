//! The server and its command line.

mod api;
pub mod cli;
mod client;
pub mod commands;
pub mod config;
mod crypto;
mod door;
mod mailbox;
mod node;
mod server;
mod socket;
pub mod target;
mod upgrade;
pub mod webhooks;
mod worker;

pub use server::{RunningServer, Server, StartError};
