//! How often somebody may try to sign in.
//!
//! Owns an allowance for each e-mail and one for each address on the network, in memory that is bounded. Never looks at a
//! password. The invariant: an attempt is counted before its password is looked at, so that guesses which come at the same
//! time count, too. Read on in [`crate::pages`].
//!
//! Whoever guesses at an e-mail keeps its owner from signing in meanwhile. An application that has e-mail offers the owner
//! another way then.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

/// Guesses at one e-mail.
const EMAIL_RATE: Rate = Rate { at_once: 5, one_every: Duration::from_secs(30) };
/// Guesses from one address, behind which may be an office.
const ADDRESS_RATE: Rate = Rate { at_once: 30, one_every: Duration::from_secs(2) };
/// E-mails, and addresses, that are remembered. A key has less than 100 bytes.
const KEYS_MAX: usize = 10_000;

/// So many at once, and then one from time to time.
#[derive(Debug, Clone, Copy)]
struct Rate {
    at_once: u32,
    one_every: Duration,
}

/// The allowances of everybody who has tried lately.
#[derive(Debug)]
pub(crate) struct Attempts {
    by_email: Mutex<Allowances<[u8; 32]>>,
    by_address: Mutex<Allowances<IpAddr>>,
}

/// One that was counted.
#[derive(Debug)]
#[must_use = "one that succeeds is given back"]
pub(crate) struct Attempt {
    email: [u8; 32],
    address: IpAddr,
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            by_email: Mutex::new(Allowances::new(EMAIL_RATE, KEYS_MAX)),
            by_address: Mutex::new(Allowances::new(ADDRESS_RATE, KEYS_MAX)),
        }
    }
}

impl Attempts {
    /// Counts an attempt, or says how long to wait.
    pub(crate) fn take(&self, email: &str, address: IpAddr, now: Instant) -> Result<Attempt, Duration> {
        // Of one length, however long somebody's e-mail is.
        let email = Sha256::digest(email.trim().to_lowercase()).into();
        let address = network(address);
        self.by_address.lock().take(address, now)?;
        self.by_email.lock().take(email, now)?;
        Ok(Attempt { email, address })
    }

    /// It was no guess.
    pub(crate) fn give_back(&self, attempt: &Attempt) {
        self.by_email.lock().give_back(&attempt.email);
        self.by_address.lock().give_back(&attempt.address);
    }
}

/// What one guest of the network holds: with IPv6 that is a whole /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

#[derive(Debug)]
struct Allowances<K> {
    rate: Rate,
    keys_max: usize,
    /// When each will have its whole allowance again. Who is not here has it.
    whole_at: HashMap<K, Instant>,
}

impl<K: Clone + Eq + Hash> Allowances<K> {
    fn new(rate: Rate, keys_max: usize) -> Self {
        Self { rate, keys_max, whole_at: HashMap::new() }
    }

    fn take(&mut self, key: K, now: Instant) -> Result<(), Duration> {
        let Rate { at_once, one_every } = self.rate;
        let whole_at = self.whole_at.get(&key).map_or(now, |at| *at.max(&now)) + one_every;
        let wait = whole_at.saturating_duration_since(now + one_every * at_once);
        if !wait.is_zero() {
            return Err(wait);
        }
        if !self.whole_at.contains_key(&key) {
            self.make_room(now);
        }
        self.whole_at.insert(key, whole_at);
        Ok(())
    }

    fn give_back(&mut self, key: &K) {
        if let Some(at) = self.whole_at.get_mut(key) {
            *at = at.checked_sub(self.rate.one_every).unwrap_or(*at);
        }
    }

    /// Where all places are taken, whoever has used the least gives way: a crowd of new names never frees an old offender.
    fn make_room(&mut self, now: Instant) {
        if self.whole_at.len() < self.keys_max {
            return;
        }
        self.whole_at.retain(|_, at| *at > now);
        if self.whole_at.len() >= self.keys_max
            && let Some(least) = self.whole_at.iter().min_by_key(|(_, at)| **at).map(|(key, _)| key.clone())
        {
            self.whole_at.remove(&least);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn an_email_has_so_many_guesses_and_one_more_must_wait_for_its_time() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for _ in 0..EMAIL_RATE.at_once {
            let _ = attempts.take("ada@shop.test", HOME, now).unwrap();
        }
        assert_eq!(attempts.take(" Ada@Shop.test", HOME, now).unwrap_err(), EMAIL_RATE.one_every);
        assert!(attempts.take("ben@shop.test", HOME, now).is_ok(), "another e-mail has its own");
        let just_before = now + EMAIL_RATE.one_every - Duration::from_nanos(1);
        assert_eq!(attempts.take("ada@shop.test", HOME, just_before).unwrap_err(), Duration::from_nanos(1));
        assert!(attempts.take("ada@shop.test", HOME, now + EMAIL_RATE.one_every).is_ok());
        assert!(attempts.take("ada@shop.test", HOME, now + EMAIL_RATE.one_every).is_err());
    }

    #[test]
    fn an_address_has_so_many_guesses_at_whatever_emails() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for guess in 0..ADDRESS_RATE.at_once {
            let _ = attempts.take(&guess.to_string(), HOME, now).unwrap();
        }
        assert_eq!(attempts.take("one more", HOME, now).unwrap_err(), ADDRESS_RATE.one_every);
        assert!(attempts.take("one more", "192.0.2.1".parse().unwrap(), now).is_ok());
    }

    #[test]
    fn who_signs_in_has_used_nothing() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for _ in 0..=ADDRESS_RATE.at_once {
            let attempt = attempts.take("ada@shop.test", HOME, now).unwrap();
            attempts.give_back(&attempt);
        }
    }

    #[test]
    fn a_network_of_ipv6_is_one_address_and_a_mapped_one_is_what_it_stands_for() {
        let same = |one: &str, other: &str| network(one.parse().unwrap()) == network(other.parse().unwrap());
        assert!(same("2001:db8::1", "2001:db8::ffff:0:0:2"));
        assert!(!same("2001:db8::1", "2001:db8:0:1::1"));
        assert!(same("::ffff:192.0.2.1", "192.0.2.1"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
    }

    #[test]
    fn as_many_are_remembered_as_the_bound_and_past_it_who_has_used_the_least_gives_way() {
        let now = Instant::now();
        let mut allowances = Allowances::new(Rate { at_once: 2, one_every: Duration::from_secs(1) }, 3);
        for key in [1, 1, 2, 3, 3] {
            allowances.take(key, now).unwrap();
        }
        assert_eq!(allowances.whole_at.len(), 3);
        allowances.take(4, now).unwrap();
        assert_eq!(allowances.whole_at.len(), 3);
        assert!(allowances.take(1, now).is_err() && allowances.take(3, now).is_err(), "they have used the most");
        // What is over makes room by itself.
        allowances.take(5, now + Duration::from_secs(2)).unwrap();
        assert_eq!(allowances.whole_at.len(), 1);
    }
}
