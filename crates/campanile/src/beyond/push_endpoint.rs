//! Where a push may be sent to.
//!
//! Owns the rule for addresses that browsers give us, and the look-up of their names. Never sends anything. The invariant:
//! whoever registers an address cannot make this server talk to its own network: not by a number, not by a name, not by a name
//! that says something else later, because what is connected to is what was checked (I23). Read on in [`super::web_push`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Characters of an endpoint; the longest in use have some 600.
pub const ENDPOINT_LENGTH_MAX: usize = 2048;

/// Which addresses are talked to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// The internet's, over https.
    #[default]
    Public,
    /// Those of private networks as well, and plain http on this machine.
    Private,
}

/// Checks an endpoint. Where it has a name, the name's addresses are checked when it is looked up.
///
/// # Errors
///
/// What is wrong with it, in a sentence.
pub fn check(endpoint: &str, reach: Reach) -> Result<Url, String> {
    if endpoint.len() > ENDPOINT_LENGTH_MAX {
        return Err(format!("has {} bytes, and {ENDPOINT_LENGTH_MAX} are the most", endpoint.len()));
    }
    let url = Url::parse(endpoint).map_err(|error| format!("is no address ({error})"))?;
    let Some(host) = url.host_str() else { return Err("names no host".to_owned()) };
    // Numbers in any notation have become an address of the usual form by now.
    let literal: Option<IpAddr> = host.trim_start_matches('[').trim_end_matches(']').parse().ok();
    let is_here = literal.is_some_and(|address| address.is_loopback()) || host == "localhost";
    match url.scheme() {
        "https" => {}
        "http" if is_here && reach == Reach::Private => {}
        _ => return Err("must begin with https://".to_owned()),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user or password".to_owned());
    }
    match literal {
        Some(address) if reach == Reach::Public && !is_public(address) => Err(private(address)),
        _ => Ok(url),
    }
}

fn private(address: IpAddr) -> String {
    format!("leads to {address}, which is no address of the internet")
}

/// Looks names up, and keeps addresses that may not be talked to from whoever asks.
#[derive(Debug, Clone, Copy)]
pub(super) struct CheckedNames(pub(super) Reach);

impl Resolve for CheckedNames {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            Ok(Box::new(keep(found, reach)?.into_iter()) as Addrs)
        })
    }
}

fn keep(found: impl Iterator<Item = SocketAddr>, reach: Reach) -> Result<Vec<SocketAddr>, String> {
    let (kept, others): (Vec<_>, Vec<_>) =
        found.partition(|address| reach == Reach::Private || is_public(address.ip()));
    match (kept.first(), others.first()) {
        (None, Some(other)) => Err(private(other.ip())),
        _ => Ok(kept),
    }
}

/// Whether an address is one of the internet's, by the registries of special-purpose addresses.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !matches!(
        (a, b, c),
        (0 | 10 | 127, ..)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (192, 168, _)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
            | (224.., ..)
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let [a, b, c, d, e, f, g, h] = segments;
    let embedded = |high: u16, low: u16| {
        let [[a, b], [c, d]] = [high, low].map(u16::to_be_bytes);
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match (a, b) {
        // NAT64 leads to the address in its end.
        (0x64, 0xff9b) if [c, d, e, f] == [0; 4] => embedded(g, h),
        // 2001::/23 is for protocols, Teredo among them; the others are documentation and 6to4.
        (0x2001, 0..=0x1ff | 0xdb8) | (0x2002, _) | (0x3fff, 0..=0xfff) => false,
        (0x2000..=0x3fff, _) => true,
        // Among them ::1, the addresses that are IPv4's, and those of links and sites.
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn push_services_are_reached_over_https_and_by_nothing_else() {
        let ok = ["https://fcm.googleapis.com/fcm/send/abc", "https://web.push.apple.com/Q", "https://9.9.9.9/x"];
        for endpoint in ok {
            assert!(check(endpoint, Reach::Public).is_ok(), "{endpoint}");
        }
        for (endpoint, why) in [
            ("http://push.example.com/x", "must begin with https://"),
            ("http://127.0.0.1/x", "must begin with https://"),
            ("ftp://push.example.com/x", "must begin with https://"),
            ("https://user@push.example.com/", "user or password"),
            ("https://user:word@push.example.com/", "user or password"),
            ("push", "is no address"),
            ("data:text/plain,x", "names no host"),
            ("https://127.0.0.1/x", "leads to 127.0.0.1"),
            ("https://2130706433/x", "leads to 127.0.0.1"),
            ("https://0x7f.1/x", "leads to 127.0.0.1"),
            ("https://[::1]/x", "leads to ::1"),
            ("https://[::ffff:10.0.0.1]/x", "no address of the internet"),
            ("https://169.254.169.254/latest/meta-data", "leads to 169.254.169.254"),
        ] {
            let refused = check(endpoint, Reach::Public).unwrap_err();
            assert!(refused.contains(why), "{endpoint}: {refused}");
        }
    }

    #[test]
    fn an_endpoint_may_have_as_many_bytes_as_the_bound() {
        let start = "https://push.example.com/";
        let of = |length: usize| format!("{start}{}", "x".repeat(length - start.len()));
        assert!(check(&of(ENDPOINT_LENGTH_MAX), Reach::Public).is_ok());
        let refused = check(&of(ENDPOINT_LENGTH_MAX + 1), Reach::Public).unwrap_err();
        assert_eq!(refused, "has 2049 bytes, and 2048 are the most");
    }

    #[test]
    fn where_private_addresses_are_allowed_plain_http_is_for_this_machine_alone() {
        for endpoint in ["http://127.0.0.1:1/x", "http://localhost:1/x", "http://[::1]:1/x", "https://10.0.0.1/x"] {
            assert!(check(endpoint, Reach::Private).is_ok(), "{endpoint}");
        }
        assert!(check("http://10.0.0.1/x", Reach::Private).is_err());
    }

    #[test]
    fn a_name_that_leads_inside_is_not_followed() {
        let address = |text: &str| SocketAddr::new(text.parse().unwrap(), 0);
        let inside = ["10.0.0.1", "::1"].map(address);
        let refused = keep(inside.into_iter(), Reach::Public).unwrap_err();
        assert_eq!(refused, "leads to 10.0.0.1, which is no address of the internet");
        assert_eq!(keep(inside.into_iter(), Reach::Private).unwrap(), inside);
        let mixed = ["127.0.0.1", "9.9.9.9"].map(address);
        assert_eq!(keep(mixed.into_iter(), Reach::Public).unwrap(), [address("9.9.9.9")]);
    }

    #[test]
    fn the_addresses_of_private_networks_are_told_from_the_internets() {
        for inside in [
            "0.0.0.0",
            "10.255.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "127.0.0.1",
            "169.254.0.1",
            "172.16.0.0",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.0.1",
            "198.18.0.0",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:8.8.8.8",
            "::8.8.8.8",
            "fe80::1",
            "fc00::1",
            "fdff::1",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "3fff::1",
        ] {
            assert!(!is_public(inside.parse().unwrap()), "{inside}");
        }
        for outside in [
            "9.9.9.9",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.1",
            "198.17.0.1",
            "198.20.0.0",
            "223.255.255.255",
            "2620:fe::fe",
            "2a00:1450::1",
            "64:ff9b::808:808",
        ] {
            assert!(is_public(outside.parse().unwrap()), "{outside}");
        }
    }
}
