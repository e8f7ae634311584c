//! How many users fit into the files that this process may have open.
//!
//! Owns the sums. Never asks the kernel: it is given the machine. The invariant: a demo of a [`Room`] never runs out of
//! descriptors, so nobody is turned away for want of one. Next: `config/machine.rs` for the limit,
//! `config/limits.rs` for what a server keeps back.

use crate::config::Machine;
use crate::config::limits::DESCRIPTORS_RESERVED;

/// What users and server have in common: a socket at each end.
const DESCRIPTORS_PER_USER: u64 = 2;

/// What is neither a user's nor a request's: listeners, pollers, rings, files, the terminal.
const DESCRIPTORS_ELSEWHERE: u64 = 64;

/// From so many on, nothing need be spared.
const AMPLE_DESCRIPTORS: u64 = 4096;

/// Requests under way at a time, with descriptors in plenty and without; each takes one at either end.
const REQUESTS_MAX: usize = 64;
const REQUESTS_MAX_SPARED: usize = 8;

/// What a worker's share of HTTP connections is by default, and where they are spared: all requests may meet one worker,
/// and those that are ending count, too.
const HTTP_CONNECTIONS_MAX: u64 = 256;
const HTTP_CONNECTIONS_MAX_SPARED: u64 = 2 * REQUESTS_MAX_SPARED as u64;

/// Workers where descriptors are spared, and otherwise descriptors for each, since each worker keeps some back.
const WORKERS_MAX_SPARED: u64 = 2;
const DESCRIPTORS_PER_WORKER: u64 = 4 * HTTP_CONNECTIONS_MAX;

/// What the demo can run with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Room {
    /// As many as were asked for, or fewer.
    pub(super) users: u32,
    /// The server's workers.
    pub(super) workers: u64,
    /// HTTP connections of each.
    pub(super) http_connections_max: u64,
}

impl Room {
    /// The room for so many users on this machine; none if there is none for even one.
    pub(super) fn on(machine: &Machine, users: u32) -> Option<Self> {
        let spares = machine.descriptors < AMPLE_DESCRIPTORS;
        let (workers_max, http_connections_max) = match spares {
            true => (WORKERS_MAX_SPARED, HTTP_CONNECTIONS_MAX_SPARED),
            false => (machine.descriptors / DESCRIPTORS_PER_WORKER, HTTP_CONNECTIONS_MAX),
        };
        let workers = (machine.cores as u64).min(workers_max);
        let kept_back = workers.saturating_mul(http_connections_max).saturating_add(DESCRIPTORS_RESERVED);
        let for_requests = 2 * requests_max(machine.descriptors) as u64;
        let by_server = machine.descriptors.saturating_sub(kept_back);
        let by_kernel = machine.descriptors.saturating_sub(DESCRIPTORS_ELSEWHERE + for_requests) / DESCRIPTORS_PER_USER;
        let most = by_server.min(by_kernel);
        let users = u32::try_from(most).map_or(users, |most| users.min(most));
        (users > 0).then_some(Self { users, workers, http_connections_max })
    }
}

/// Requests that may be under way at a time where a process may have so many descriptors.
pub(super) fn requests_max(descriptors: u64) -> usize {
    if descriptors < AMPLE_DESCRIPTORS { REQUESTS_MAX_SPARED } else { REQUESTS_MAX }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn users(descriptors: u64, cores: usize) -> Option<u32> {
        Room::on(&Machine { cores, descriptors, memory: 1 << 32 }, 50_000).map(|room| room.users)
    }

    #[test]
    fn users_are_as_many_as_there_are_descriptors_for() {
        assert_eq!(Room::on(&Machine { cores: 2, descriptors: 1024, memory: 1 << 32 }, 300).unwrap().users, 300);
        assert_eq!(users(256, 2), Some(88));
        // A smaller machine keeps less back, a larger one no more.
        assert_eq!(users(200, 1), Some(56));
        assert_eq!(users(256, 64), Some(88));
        assert_eq!((users(160, 2), users(161, 2)), (None, Some(1)));
        assert_eq!(users(4095, 2), Some(2007));
        assert_eq!(users(u64::MAX, 64), Some(50_000));
        assert_eq!(users(20_000, 256), Some(9904));
    }

    #[test]
    fn the_server_takes_what_the_room_says() {
        for (descriptors, cores) in [(161, 4), (256, 4), (1024, 4), (4095, 4), (4096, 64), (20_000, 256)] {
            let machine = Machine { cores, descriptors, memory: 1 << 32 };
            let room = Room::on(&machine, 50_000).unwrap();
            let settings = [
                ("CAMPANILE__WORKERS", room.workers.to_string()),
                ("CAMPANILE__LIMITS__HTTP_CONNECTIONS_MAX", room.http_connections_max.to_string()),
            ];
            let settings = settings.map(|(name, value)| (name.to_owned(), value));
            let (config, _) = Config::load_explained(None, settings.into_iter(), &machine).unwrap();
            assert!(config.limits.connections_max >= room.users as usize, "{room:?}");
        }
    }
}
