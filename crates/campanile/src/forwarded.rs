//! Where a client really is, behind proxies.
//!
//! Owns the reading of `X-Forwarded-For`. Never believes a header that a stranger could have written. The invariant:
//! the address is the rightmost that no trusted proxy has, because everything to the left of it is the client's own
//! claim. Read on in [`crate::config::Listen`] for whom to trust.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::config::Listen;

/// The header's name, as it is compared.
pub(crate) const HEADER: &str = "x-forwarded-for";

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A machine.
    Address(IpAddr),
    /// A process on this machine, through the Unix socket.
    Unix,
    /// Gone before it could be asked.
    Unknown,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.to_canonical().fmt(f),
            Self::Unix => f.write_str("unix"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// The client of a request that came from `peer` with these values of the header, in their order.
pub(crate) fn client<'a>(peer: Peer, values: impl DoubleEndedIterator<Item = &'a [u8]>, listen: &Listen) -> Peer {
    let is_trusted = |peer: Peer| match peer {
        Peer::Address(address) => listen.trusted_proxies.iter().any(|network| network.contains(address)),
        Peer::Unix => listen.trusts_unix_socket,
        Peer::Unknown => false,
    };
    let mut nearest = peer;
    for entry in values.rev().flat_map(|value| value.rsplit(|byte| *byte == b',')) {
        if !is_trusted(nearest) {
            break;
        }
        // What is no address ends the chain: who wrote it is the last that is known.
        let Some(address) = address(entry) else { break };
        nearest = Peer::Address(address);
    }
    nearest
}

/// Takes `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` and `[2001:db8::1]:80`.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Machine};

    fn listen(trusted: &str) -> Listen {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("campanile.toml");
        std::fs::write(&path, format!("listen.trusted_proxies = {trusted}\n")).unwrap();
        let machine = Machine { cores: 1, descriptors: 10_000, memory: 1 << 32 };
        Config::load_explained(Some(&path), std::iter::empty(), &machine).unwrap().0.listen
    }

    fn peer(text: &str) -> Peer {
        text.parse().map_or(Peer::Unix, Peer::Address)
    }

    #[test]
    fn the_client_is_the_rightmost_address_that_no_trusted_proxy_has() {
        let some = listen("['10.0.0.0/8', '2001:db8::/32']");
        let nobody = listen("[]");
        let unix = listen("['unix', '10.0.0.0/8']");
        let everybody = listen("['0.0.0.0/0', '::/0', 'unix']");
        for (listen, from, values, client_is) in [
            // Without trust the header says nothing.
            (&nobody, "10.0.0.1", &["198.51.100.7"][..], "10.0.0.1"),
            (&some, "192.0.2.9", &["198.51.100.7"], "192.0.2.9"),
            (&some, "unix", &["198.51.100.7"], "unix"),
            // A trusted proxy tells, and what it was told itself is a claim.
            (&some, "10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            (&some, "10.0.0.1", &["1.1.1.1, 198.51.100.7"], "198.51.100.7"),
            (&some, "10.0.0.1", &["1.1.1.1, 198.51.100.7, 10.0.0.2"], "198.51.100.7"),
            (&some, "::ffff:10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            (&some, "2001:db8::1", &["2001:db9::7"], "2001:db9::7"),
            (&unix, "unix", &["198.51.100.7,10.0.0.2"], "198.51.100.7"),
            // Several headers are one list.
            (&some, "10.0.0.1", &["1.1.1.1", "198.51.100.7, 10.0.0.3", "10.0.0.2"], "198.51.100.7"),
            // All trusted: the first of them.
            (&some, "10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            (&everybody, "192.0.2.9", &["203.0.113.1, 198.51.100.7"], "203.0.113.1"),
            // Spellings.
            (&some, "10.0.0.1", &["198.51.100.7:4711"], "198.51.100.7"),
            (&some, "10.0.0.1", &["[2001:db9::7]:4711"], "2001:db9::7"),
            (&some, "10.0.0.1", &["[2001:db9::7]"], "2001:db9::7"),
            (&some, "10.0.0.1", &["\t198.51.100.7 "], "198.51.100.7"),
            // What is no address ends the chain.
            (&some, "10.0.0.1", &["198.51.100.7, unknown"], "10.0.0.1"),
            (&some, "10.0.0.1", &["198.51.100.7, _hidden, 10.0.0.2"], "10.0.0.2"),
            (&some, "10.0.0.1", &["198.51.100.7,"], "10.0.0.1"),
            (&some, "10.0.0.1", &[""], "10.0.0.1"),
            (&some, "10.0.0.1", &[], "10.0.0.1"),
        ] {
            let found = client(peer(from), values.iter().map(|value| value.as_bytes()), listen);
            assert_eq!(found, peer(client_is), "{from} {values:?}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_end_the_chain() {
        let listen = listen("['10.0.0.0/8']");
        let values: [&[u8]; 1] = [b"198.51.100.7, \xff"];
        assert_eq!(client(peer("10.0.0.1"), values.into_iter(), &listen), peer("10.0.0.1"));
        assert_eq!(client(Peer::Unknown, values.into_iter(), &listen), Peer::Unknown);
    }

    #[test]
    fn a_peer_is_shown_as_its_address() {
        for (peer, text) in [(peer("::ffff:192.0.2.1"), "192.0.2.1"), (Peer::Unix, "unix"), (Peer::Unknown, "unknown")]
        {
            assert_eq!(peer.to_string(), text);
        }
    }
}
