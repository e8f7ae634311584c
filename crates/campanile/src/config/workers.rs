//! How many cores this process may use.
//!
//! Owns the reading of CPU affinity and of the cgroup's quota, both versions. Never fails: what
//! cannot be read does not limit. The invariant: at least one. Next: `machine.rs`, which asks.

use std::fs;
use std::path::Path;

use super::cgroup;

/// The cores that affinity and quota leave to this process, at least one.
#[must_use]
pub(super) fn available() -> usize {
    let affinity = rustix::thread::sched_getaffinity(None).map_or(1, |cpus| usize::try_from(cpus.count()).unwrap_or(1));
    let (root, membership) = cgroup::here();
    share(affinity, quota(root, &membership))
}

/// A quota is rounded down: with one and a half cores, a second worker would be stopped by the
/// kernel in the middle of its tick, and its users with it.
fn share(affinity: usize, quota: Option<Quota>) -> usize {
    let cores = quota.map_or(affinity, |quota| quota.cores().min(affinity));
    cores.max(1)
}

/// Microseconds of CPU per period.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Quota {
    micros: u64,
    period: u64,
}

impl Quota {
    fn cores(self) -> usize {
        usize::try_from(self.micros / self.period.max(1)).unwrap_or(usize::MAX)
    }
}

/// The tightest quota on the way from this process's group to the root.
fn quota(root: &Path, membership: &str) -> Option<Quota> {
    cgroup::readings(root, membership, "cpu", read_v2, read_v1).into_iter().min_by_key(|quota| quota.cores())
}

/// `cpu.max` holds the quota, or `max`, and the period.
fn read_v2(group: &Path) -> Option<Quota> {
    let text = fs::read_to_string(group.join("cpu.max")).ok()?;
    let (micros, period) = text.trim().split_once(' ')?;
    Some(Quota { micros: micros.parse().ok()?, period: period.parse().ok()? })
}

/// Two files; a quota of -1, which does not parse, means none.
fn read_v1(group: &Path) -> Option<Quota> {
    let number = |name| fs::read_to_string(group.join(name)).ok()?.trim().parse().ok();
    Some(Quota { micros: number("cpu.cfs_quota_us")?, period: number("cpu.cfs_period_us")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quota_of(files: &[(&str, &str)], membership: &str) -> Option<usize> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        quota(root.path(), membership).map(Quota::cores)
    }

    #[test]
    fn a_process_has_at_least_one_core() {
        assert!(available() >= 1);
        let quota = |micros| Some(Quota { micros, period: 100_000 });
        for (affinity, quota, workers) in [
            (4, None, 4),
            (4, quota(200_000), 2),
            (4, quota(199_999), 1),
            (4, quota(50_000), 1),
            (2, quota(800_000), 2),
            (0, None, 1),
        ] {
            assert_eq!(share(affinity, quota), workers, "{affinity} {quota:?}");
        }
    }

    #[test]
    fn the_tightest_group_on_the_way_up_counts() {
        assert_eq!(
            quota_of(
                &[
                    ("a/cpu.max", "200000 100000\n"),
                    ("a/b/cpu.max", "max 100000\n"),
                    ("a/b/c/cpu.max", "300000 100000\n"),
                    ("other/cpu.max", "100000 100000\n"),
                ],
                "0::/a/b/c\n",
            ),
            Some(2)
        );
    }

    #[test]
    fn the_first_version_is_read_too() {
        let files = [
            ("cpu/docker/x/cpu.cfs_quota_us", "300000\n"),
            ("cpu/docker/x/cpu.cfs_period_us", "100000\n"),
            ("cpu/cpu.cfs_quota_us", "-1\n"),
            ("cpu/cpu.cfs_period_us", "100000\n"),
        ];
        let membership = "5:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n";
        assert_eq!(quota_of(&files, membership), Some(3));
    }

    #[test]
    fn what_cannot_be_read_does_not_limit() {
        assert_eq!(quota_of(&[], "0::/\n"), None);
        assert_eq!(quota_of(&[("cpu.max", "max 100000")], "0::/\n"), None);
        assert_eq!(quota_of(&[("cpu.max", "garbage")], "garbage"), None);
    }
}
