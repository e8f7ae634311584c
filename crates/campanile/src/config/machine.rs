//! What the machine gives to this process: cores, file descriptors and memory.
//!
//! Owns the questions whose answers become defaults. Never changes a setting of the operator's.
//! The invariant: everything else in the configuration comes from the file and the environment, so
//! a test that gives a `Machine` depends on nothing around it. Next: `workers.rs` for the cores,
//! `memory.rs` for the memory.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{memory, workers};

/// The machine, as far as defaults depend on it.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Cores that this process may use.
    pub cores: usize,
    /// Files that this process may have open, once [`raise_descriptor_limit`] was called.
    pub descriptors: u64,
    /// Bytes of memory that this process may use.
    pub memory: u64,
}

impl Machine {
    /// This machine.
    #[must_use]
    pub fn here() -> Self {
        Self {
            cores: workers::available(),
            descriptors: getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX),
            memory: memory::available(),
        }
    }
}

/// Raises the soft limit on open files to the hard one, which is what `limits.connections_max` is
/// checked against. For the server to call before it binds.
///
/// # Errors
///
/// When the kernel refuses; then a start with the checked configuration is not safe.
pub fn raise_descriptor_limit() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return Ok(());
    }
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raising_the_descriptor_limit_gives_what_the_machine_promised() {
        raise_descriptor_limit().unwrap();
        let current = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        assert_eq!(current, Machine::here().descriptors);
    }
}
