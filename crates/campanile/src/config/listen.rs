//! `[listen]`: where connections are accepted.
//!
//! Owns the address, the path prefix and whom to believe about a client's address. Never binds. The
//! invariant: the address is an IP address, so nothing is resolved at start. Next: `tls.rs`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::file::ListenTable;
use super::limits::{BACKLOG, Numbers, PORT, UNIX_SOCKET_PATH_BYTES_MAX};
use super::network::Network;
use super::problem::Problems;

/// What `trusted_proxies` calls those who come through the Unix socket.
const UNIX: &str = "unix";

/// Where to accept connections.
#[derive(Clone, Debug)]
pub struct Listen {
    /// Address and port; port 0 takes a free one.
    pub address: SocketAddr,
    /// In front of `/app` and `/apps`: empty, or `/` and a name, without a slash at its end.
    pub path_prefix: String,
    /// A Unix socket to accept on, too.
    pub unix_socket: Option<PathBuf>,
    /// Networks whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// Whether it is believed from whoever connects to the Unix socket.
    pub trusts_unix_socket: bool,
    /// Connections that the kernel holds until they are accepted.
    pub backlog: u32,
}

impl Listen {
    pub(super) fn read(table: &mut ListenTable, problems: &mut Problems) -> Self {
        let host = table.host.get_or_insert_with(|| "127.0.0.1".to_owned());
        let ip = match host.as_str() {
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            text => text.parse().unwrap_or_else(|_| {
                problems.at(
                    "listen.host",
                    format!(
                        "{text:?} is not an IP address: write 127.0.0.1 for this machine only, \
                         0.0.0.0 or :: for every address"
                    ),
                );
                IpAddr::V4(Ipv4Addr::LOCALHOST)
            }),
        };
        let mut numbers = Numbers { path: "listen", problems };
        let port = numbers.read(&PORT, &mut table.port);
        let backlog = numbers.read(&BACKLOG, &mut table.backlog);
        let mut trusted_proxies = Vec::new();
        let mut trusts_unix_socket = false;
        for (index, text) in table.trusted_proxies.iter().enumerate() {
            match Network::parse(text) {
                _ if text == UNIX => trusts_unix_socket = true,
                Ok(network) => trusted_proxies.push(network),
                Err(reason) => problems.at(&format!("listen.trusted_proxies[{index}]"), format!("{text:?}: {reason}")),
            }
        }
        if let Some(path) = &table.unix_socket
            && (path.is_empty() || path.len() > UNIX_SOCKET_PATH_BYTES_MAX)
        {
            problems.at("listen.unix_socket", format!("a socket's path has 1 to {UNIX_SOCKET_PATH_BYTES_MAX} bytes"));
        }
        Self {
            // Out of range was told above; any port will do for a configuration that is refused.
            address: SocketAddr::new(ip, u16::try_from(port).unwrap_or_default()),
            path_prefix: path_prefix(table, problems),
            unix_socket: table.unix_socket.as_ref().map(PathBuf::from),
            trusted_proxies,
            trusts_unix_socket,
            backlog: u32::try_from(backlog).unwrap_or(u32::MAX),
        }
    }
}

/// Accepts the spellings `ws`, `/ws` and `/ws/` and settles on one.
fn path_prefix(table: &mut ListenTable, problems: &mut Problems) -> String {
    let written = table.path_prefix.get_or_insert_default();
    let inner = written.trim_matches('/');
    let is_plain = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b))
    };
    if inner.is_empty() {
        written.clear();
    } else if inner.split('/').all(is_plain) {
        *written = format!("/{inner}");
    } else {
        let text = format!("{written:?} is not a plain path: use letters, digits and -._~ between slashes, as in /ws");
        problems.at("listen.path_prefix", text);
    }
    table.path_prefix.clone().unwrap_or_default()
}
