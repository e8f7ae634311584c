//! How many instructions the pure parts of a delivery take.
//!
//! Owns the comparison with the counts that the repository keeps. Never measures time, which other processes share: a
//! count is the same on a busy machine. The invariant: a part without a kept count, or a kept count without a part,
//! fails as well as one that has grown. `campanile-hub`'s example `pure_parts` does the work.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use crate::steps::{cargo, output, run as run_command, target_directory};

/// Where the counts are kept, one part a line.
const KEPT: &str = "crates/campanile-hub/examples/pure_parts.instructions";
/// A count may differ by this much from the one that is kept. Another compiler accounts for a few percent.
const TOLERANCE_PERCENT: u64 = 8;
/// The parts, and how often each is repeated: the difference to not at all is what they cost.
const PARTS: [(&str, u64); 8] = [
    ("websocket_frame_in", 200),
    ("client_frame_decode", 200),
    ("event_frame_encode", 200),
    ("request_signature", 100),
    ("trigger_parse", 100),
    ("batch_of_10_parse", 20),
    ("fanout_to_1000", 20),
    ("unicast_to_10", 50),
];

/// The step. With `UPDATE_INSTRUCTIONS` in the environment it keeps what it has counted.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    output(Command::new("valgrind").arg("--version"))
        .map_err(|_| "valgrind is missing, which counts instructions: apt-get install valgrind".to_owned())?;
    run_command(cargo(root).args([
        "build",
        "--locked",
        "--release",
        "--package",
        "campanile-hub",
        "--example",
        "pure_parts",
    ]))?;
    let example = target_directory(root)?.join("release/examples/pure_parts");
    let mut counted = BTreeMap::new();
    for (part, repetitions) in PARTS {
        let once = count(&example, part, 0)?;
        let often = count(&example, part, repetitions)?;
        counted.insert(part.to_owned(), often.saturating_sub(once) / repetitions);
    }
    let path = root.join(KEPT);
    if std::env::var_os("UPDATE_INSTRUCTIONS").is_some() {
        return std::fs::write(&path, written(&counted)).map_err(|error| format!("{KEPT}: {error}"));
    }
    let kept = std::fs::read_to_string(&path).map_err(|error| format!("{KEPT}: {error}"))?;
    let differences = compare(&read(&kept)?, &counted);
    for (part, instructions) in &counted {
        println!("{part:<22} {instructions:>9} instructions");
    }
    if differences.is_empty() { Ok(()) } else { Err(differences.join("; ")) }
}

fn count(example: &Path, part: &str, repetitions: u64) -> Result<u64, String> {
    let report = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(example)
        .args([part, &repetitions.to_string()])
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let text = String::from_utf8_lossy(&report.stderr);
    if !report.status.success() {
        return Err(format!("{part} under valgrind ended with {}: {text}", report.status));
    }
    collected(&text).ok_or_else(|| format!("valgrind has counted nothing for {part}: {text}"))
}

fn collected(report: &str) -> Option<u64> {
    report.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())
}

fn read(kept: &str) -> Result<BTreeMap<String, u64>, String> {
    let line = |line: &str| {
        let (part, count) = line.split_once(' ')?;
        Some((part.to_owned(), count.trim().parse().ok()?))
    };
    kept.lines().map(|text| line(text).ok_or_else(|| format!("{KEPT}: {text:?} is no part and count"))).collect()
}

fn written(counted: &BTreeMap<String, u64>) -> String {
    counted.iter().fold(String::new(), |mut text, (part, count)| {
        let _ = writeln!(text, "{part} {count}");
        text
    })
}

fn compare(kept: &BTreeMap<String, u64>, counted: &BTreeMap<String, u64>) -> Vec<String> {
    const REMEDY: &str = "if that is meant, UPDATE_INSTRUCTIONS=1 cargo xtask ci --only instructions keeps it";
    let mut differences = Vec::new();
    for (part, now) in counted {
        match kept.get(part) {
            None => differences.push(format!("no count of {part} is kept: {REMEDY}")),
            Some(before) if now.abs_diff(*before) * 100 > before * TOLERANCE_PERCENT => {
                differences.push(format!("{part} takes {now} instructions, and {before} are kept: {REMEDY}"));
            }
            Some(_) => {}
        }
    }
    differences.extend(
        kept.keys().filter(|part| !counted.contains_key(*part)).map(|part| format!("{part} is kept, and is no part")),
    );
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pairs: &[(&str, u64)]) -> BTreeMap<String, u64> {
        pairs.iter().map(|(part, count)| ((*part).to_owned(), *count)).collect()
    }

    #[test]
    fn a_count_may_differ_by_the_tolerance_and_no_more() {
        let kept = counts(&[("a", 1000)]);
        for (now, differences) in [(1080, 0), (920, 0), (1081, 1), (919, 1)] {
            assert_eq!(compare(&kept, &counts(&[("a", now)])).len(), differences, "{now}");
        }
    }

    #[test]
    fn a_part_and_its_count_belong_together() {
        assert_eq!(compare(&counts(&[("a", 1)]), &counts(&[("b", 1)])).len(), 2);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let counted = counts(&[("a", 1), ("b", 22)]);
        assert_eq!(read(&written(&counted)).unwrap(), counted);
        assert!(read("a").is_err());
    }

    #[test]
    fn the_count_is_found_in_the_report() {
        assert_eq!(collected("==1== Events    : Ir\n==1== Collected : 61730\n"), Some(61730));
        assert_eq!(collected("nothing"), None);
    }
}
