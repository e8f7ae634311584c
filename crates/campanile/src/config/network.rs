//! A range of IP addresses, as in `10.0.0.0/8`.
//!
//! Owns reading and matching. Never resolves a name. The invariant: an IPv4 address is the same
//! address when it arrives mapped into IPv6, as it does on a dual-stack socket. Next: `listen.rs`.

use std::net::IpAddr;

/// Addresses that share their first bits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

impl Network {
    /// Reads `address/bits`, or one address.
    ///
    /// # Errors
    ///
    /// When it is neither, or when bits after the prefix are set: then one of the two is a mistake.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| "not an IP network: write it as in 10.0.0.0/8".to_owned())?;
        let width = width(address);
        let prefix_bits = match bits {
            None => width,
            Some(bits) => bits
                .parse()
                .ok()
                .filter(|bits| *bits <= width)
                .ok_or_else(|| format!("the prefix must be 0 to {width} bits"))?,
        };
        let network = Self { address, prefix_bits };
        if number(address) & !network.mask() != 0 {
            return Err(format!("bits are set after the first {prefix_bits}: is it {address}/{width}?"));
        }
        Ok(network)
    }

    /// Is the address in the range?
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        width(address) == width(self.address) && number(address) & self.mask() == number(self.address)
    }

    fn mask(&self) -> u128 {
        let free = u32::from(width(self.address) - self.prefix_bits);
        u128::MAX.checked_shl(free).unwrap_or(0)
    }
}

fn width(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_the_addresses_that_share_its_prefix() {
        for (network, address, holds) in [
            ("10.0.0.0/8", "10.255.255.255", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.8", false),
            ("192.0.2.6/31", "192.0.2.7", true),
            ("0.0.0.0/0", "203.0.113.1", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "2001:db8::1", true),
            ("::1", "::1", true),
        ] {
            let parsed = Network::parse(network).unwrap();
            assert_eq!(parsed.contains(address.parse().unwrap()), holds, "{network} {address}");
        }
    }

    #[test]
    fn a_prefix_may_be_as_long_as_the_address_and_no_longer() {
        for text in ["192.0.2.7/32", "2001:db8::/128", "0.0.0.0/0"] {
            assert!(Network::parse(text).is_ok(), "{text}");
        }
        for text in ["192.0.2.7/33", "2001:db8::/129", "10.0.0.1/8", "proxy", "10.0.0.0/", "10/8", ""] {
            assert!(Network::parse(text).is_err(), "{text}");
        }
    }
}
