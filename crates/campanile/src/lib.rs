//! The server and its command line.

mod api;
pub mod cli;
pub mod commands;
pub mod config;
mod door;
mod mailbox;
mod node;
mod server;
mod socket;
mod upgrade;
mod worker;

pub use server::{RunningServer, Server, StartError};
pub mod webhooks;
