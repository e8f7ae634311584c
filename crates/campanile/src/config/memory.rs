//! How much memory this process may use.
//!
//! Owns the reading of the machine's size and of the cgroup's limit, both versions. Never fails: what cannot be read
//! does not limit. Next: `machine.rs`, which asks.

use std::fs;
use std::path::Path;

use super::cgroup;

/// The bytes that machine and cgroup leave to this process.
pub(super) fn available() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text)).unwrap_or(u64::MAX);
    let (root, membership) = cgroup::here();
    limit(root, &membership).map_or(machine, |limit| limit.min(machine))
}

/// `MemTotal`, which the kernel writes in KiB.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
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
    fn the_machines_size_is_read_and_what_cannot_be_read_does_not_limit() {
        assert_eq!(total("MemTotal:       24608968 kB\nMemFree: 1 kB\n"), Some(24_608_968 * 1024));
        assert_eq!(total("MemTotal: much\n"), None);
        let root = tempfile::tempdir().unwrap();
        assert_eq!(limit(root.path(), "0::/\n"), None);
        assert!(available() > 0);
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
