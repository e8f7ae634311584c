//! Where this process's control groups stand in the file system, both versions.
//!
//! Owns the walk from its own group to the root. Never reads a group's files: whoever asks brings the reading. The
//! invariant: a limit of any group on the way holds, so all are asked. Read on in `workers.rs` and `memory.rs`.

use std::fs;
use std::path::Path;

/// The mount, and the groups of this process as the kernel tells them.
pub(super) fn here() -> (&'static Path, String) {
    (Path::new("/sys/fs/cgroup"), fs::read_to_string("/proc/self/cgroup").unwrap_or_default())
}

/// What each group on the way to the root says of a controller.
pub(super) fn readings<T>(
    root: &Path,
    membership: &str,
    controller: &str,
    read_v2: fn(&Path) -> Option<T>,
    read_v1: fn(&Path) -> Option<T>,
) -> Vec<T> {
    let mut readings = Vec::new();
    for line in membership.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { continue };
        if controllers.is_empty() {
            readings.extend(above(root, group, read_v2));
        } else if controllers.split(',').any(|one| one == controller) {
            readings.extend(above(&root.join(controller), group, read_v1));
            readings.extend(above(&root.join(controllers), group, read_v1));
        }
    }
    readings
}

fn above<T>(mount: &Path, group: &str, read: fn(&Path) -> Option<T>) -> Vec<T> {
    let group = Path::new(group.trim_start_matches('/'));
    group.ancestors().filter_map(|group| read(&mount.join(group))).collect()
}
