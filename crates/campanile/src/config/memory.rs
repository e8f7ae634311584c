//! How much memory this process may use.
//!
//! Owns the reading of the machine's size and of the cgroup's limit, both versions. Never fails: a cgroup that cannot be read
//! does not limit. The machine is asked by a system call, because a hardened service sees no `/proc/meminfo`. Next: `machine.rs`, which asks.

use std::fs;
use std::path::Path;

use super::cgroup;

/// The bytes that machine and cgroup leave to this process.
pub(super) fn available() -> u64 {
    let machine = machine();
    let (root, membership) = cgroup::here();
    limit(root, &membership).map_or(machine, |limit| limit.min(machine))
}

fn machine() -> u64 {
    let told = rustix::system::sysinfo();
    u64::from(told.mem_unit).saturating_mul(told.totalram)
}

/// The tightest limit on the way from this process's group to the root. `max`, which does not parse, means none; the
/// first version has a number for that, which is larger than any machine.
fn limit(root: &Path, membership: &str) -> Option<u64> {
    cgroup::readings(root, membership, "memory", read_v2, read_v1).into_iter().min()
}

fn read_v2(group: &Path) -> Option<u64> {
    number(&group.join("memory.max"))
}

fn read_v1(group: &Path) -> Option<u64> {
    number(&group.join("memory.limit_in_bytes"))
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_size_is_the_kernels_and_a_cgroup_that_cannot_be_read_does_not_limit() {
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap();
        let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
        assert_eq!(machine() / 1024, total.unwrap().parse::<u64>().unwrap());
        let root = tempfile::tempdir().unwrap();
        assert_eq!(limit(root.path(), "0::/\n"), None);
        assert!((1..=machine()).contains(&available()));
    }

    #[test]
    fn the_tightest_limit_of_both_versions_counts() {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("a/memory.max", "1000\n"),
            ("a/b/memory.max", "max\n"),
            ("memory/a/memory.limit_in_bytes", "900\n"),
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        assert_eq!(limit(root.path(), "0::/a/b\n"), Some(1000));
        assert_eq!(limit(root.path(), "5:memory:/a\n0::/a/b\n"), Some(900));
    }
}
