//! The rim of a running server: TLS, the Unix socket, HTTP/2, bounds on connections, the lock, the drain, our own commands.
//!
//! Each test starts a server in this process, on a port of its own, and speaks to it as a stranger would.

mod client;
mod command_line;
mod drain;
mod floods;
mod http;
mod log;
mod reload;
mod stage;
mod state_dir;
mod tls;
mod unix_socket;
mod upgrade;
