//! The server and its command line.

mod api;
pub mod cli;
pub mod commands;
pub mod config;
mod door;
mod mailbox;
mod node;
