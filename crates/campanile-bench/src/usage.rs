//! What a process costs.
//!
//! Owns the reading of /proc: the CPU time of all threads and children of a process, and its memory. Never estimates:
//! what cannot be read is an error. The invariant: CPU time is what the scheduler counted, in nanoseconds.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::time::Duration;

/// A process and what it has started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Process(pub(crate) u32);

/// Memory in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// Pages that are in memory, shared ones included.
    pub(crate) resident: u64,
    /// The same, each shared page divided among those who share it.
    pub(crate) proportional: u64,
}

impl Process {
    pub(crate) fn own() -> Self {
        Self(std::process::id())
    }

    /// The process that listens on a port of this machine.
    pub(crate) fn listening_on(port: u16) -> io::Result<Option<Self>> {
        let mut inodes = Vec::new();
        for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
            inodes.extend(fs::read_to_string(table)?.lines().filter_map(|line| listener_inode(line, port)));
        }
        for entry in fs::read_dir("/proc")?.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            // Processes of others, and those that end meanwhile, cannot be looked into.
            let Ok(descriptors) = fs::read_dir(entry.path().join("fd")) else { continue };
            for descriptor in descriptors.flatten() {
                let Ok(link) = fs::read_link(descriptor.path()) else { continue };
                if inodes.iter().any(|inode| link.as_os_str() == format!("socket:[{inode}]").as_str()) {
                    return Ok(Some(Self(pid)));
                }
            }
        }
        Ok(None)
    }

    fn family(self) -> io::Result<Vec<u32>> {
        let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
        for entry in fs::read_dir("/proc")?.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
            if let Some(parent) = parent(&stat) {
                children.entry(parent).or_default().push(pid);
            }
        }
        let mut family = vec![self.0];
        let mut at = 0;
        while let Some(pid) = family.get(at) {
            family.extend(children.remove(pid).unwrap_or_default());
            at += 1;
        }
        Ok(family)
    }

    /// CPU time of all threads that are alive, in this process and its descendants.
    pub(crate) fn cpu(self) -> io::Result<Duration> {
        Ok(self.family()?.into_iter().map(cpu_of_one).sum())
    }

    /// The same without descendants: a server that this tool has started is no cost of the tool.
    pub(crate) fn cpu_alone(self) -> Duration {
        cpu_of_one(self.0)
    }

    pub(crate) fn memory(self) -> io::Result<Memory> {
        let mut memory = Memory::default();
        for pid in self.family()? {
            let Ok(text) = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else { continue };
            memory.resident += kilobytes(&text, "Rss:") * 1024;
            memory.proportional += kilobytes(&text, "Pss:") * 1024;
        }
        Ok(memory)
    }
}

/// A process that ends meanwhile costs nothing more.
fn cpu_of_one(pid: u32) -> Duration {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Duration::ZERO };
    let stats = threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("schedstat")).ok());
    let nanos = stats.filter_map(|stat| stat.split(' ').next()?.parse::<u64>().ok());
    Duration::from_nanos(nanos.sum())
}

fn listener_inode(line: &str, port: u16) -> Option<u64> {
    const LISTENING: &str = "0A";
    let fields: Vec<&str> = line.split_whitespace().collect();
    let local = fields.get(1)?.rsplit(':').next()?;
    let is_it = u16::from_str_radix(local, 16) == Ok(port) && *fields.get(3)? == LISTENING;
    is_it.then(|| fields.get(9)?.parse().ok())?
}

fn parent(stat: &str) -> Option<u32> {
    // The name is in brackets and may hold anything, brackets included.
    stat.rsplit(") ").next()?.split(' ').nth(1)?.parse().ok()
}

fn kilobytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_costs_something_and_is_found_by_its_port() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let found = Process::listening_on(listener.local_addr().unwrap().port()).unwrap().unwrap();
        assert_eq!(found.0, std::process::id());
        assert!(found.cpu().unwrap() > Duration::ZERO);
        let memory = found.memory().unwrap();
        assert!(memory.resident >= memory.proportional && memory.proportional > 0);
    }

    #[test]
    fn a_parent_is_found_behind_any_name() {
        assert_eq!(parent("12 (a b) c) S 7 1 1"), Some(7));
    }

    #[test]
    fn only_a_listener_on_the_port_counts() {
        let line = "   0: 0100007F:1771 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 123 1";
        assert_eq!(listener_inode(line, 6001), Some(123));
        assert_eq!(listener_inode(line, 6002), None);
        assert_eq!(listener_inode(&line.replace(" 0A ", " 01 "), 6001), None);
    }
}
