//! The server and its command line.

pub mod cli;
pub mod commands;
pub mod config;
pub mod webhooks;
