//! A short run of every fuzz target.
//!
//! Owns how the targets are built and for how long each runs. Never needs a nightly compiler or cargo-fuzz: libFuzzer's
//! coverage is asked for by flags that the stable compiler has, and the sanitizers that it lacks look for faults of
//! `unsafe` code, which the workspace denies itself. The invariant: a target that exists is run. Read on in
//! `fuzz/README.md`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use crate::dependencies::host;
use crate::steps::{cargo, output, run as run_command, target_directory};

const SECONDS_PER_TARGET: u32 = 10;

/// What cargo-fuzz gives the compiler, less its sanitizer.
const FLAGS: &str = "--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// The step.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    output(Command::new("c++").arg("--version"))
        .map_err(|_| "c++ is missing, which compiles libFuzzer: apt-get install g++".to_owned())?;
    let targets = targets(root)?;
    let host = host(root)?;
    let builds = target_directory(root)?.join("fuzz");
    // With a target, the flags are for the fuzzed code alone and not for build scripts.
    run_command(
        cargo(root)
            .env("RUSTFLAGS", FLAGS)
            .args(["build", "--locked", "--release", "--bins", "--manifest-path", "fuzz/Cargo.toml", "--target", &host])
            .arg("--target-dir")
            .arg(&builds),
    )?;
    let mut broken = Vec::new();
    for target in &targets {
        let corpus = Path::new("fuzz/corpus").join(target);
        let seeds = Path::new("fuzz/seeds").join(target);
        let artifacts = Path::new("fuzz/artifacts").join(target);
        for folder in [&corpus, &artifacts] {
            std::fs::create_dir_all(root.join(folder)).map_err(|error| format!("{}: {error}", folder.display()))?;
        }
        let mut fuzzer = Command::new(builds.join(&host).join("release").join(target));
        fuzzer.current_dir(root).args([
            &format!("-max_total_time={SECONDS_PER_TARGET}"),
            "-max_len=4096",
            "-timeout=5",
            "-verbosity=0",
            "-print_final_stats=1",
            &format!("-artifact_prefix={}/", artifacts.display()),
        ]);
        fuzzer.arg(&corpus);
        if root.join(&seeds).is_dir() {
            fuzzer.arg(&seeds);
        }
        if let Err(reason) = run_command(&mut fuzzer) {
            println!("{reason}; the input is in {}", artifacts.display());
            broken.push(target.as_str());
        }
    }
    if broken.is_empty() { Ok(()) } else { Err(format!("{} broke its promise", broken.join(", "))) }
}

/// The targets, which are the files in `fuzz_targets/` and the binaries of the manifest alike.
fn targets(root: &Path) -> Result<BTreeSet<String>, String> {
    #[derive(Deserialize)]
    struct Manifest {
        bin: Vec<Binary>,
    }
    #[derive(Deserialize)]
    struct Binary {
        name: String,
    }
    let manifest =
        std::fs::read_to_string(root.join("fuzz/Cargo.toml")).map_err(|error| format!("fuzz/Cargo.toml: {error}"))?;
    let manifest: Manifest = toml::from_str(&manifest).map_err(|error| format!("fuzz/Cargo.toml: {error}"))?;
    let named: BTreeSet<String> = manifest.bin.into_iter().map(|binary| binary.name).collect();

    let folder = root.join("fuzz/fuzz_targets");
    let entries = std::fs::read_dir(&folder).map_err(|error| format!("fuzz/fuzz_targets: {error}"))?;
    let mut written = BTreeSet::new();
    for entry in entries {
        let path = entry.map_err(|error| format!("fuzz/fuzz_targets: {error}"))?.path();
        written.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    match named.symmetric_difference(&written).next() {
        None => Ok(named),
        Some(odd) => Err(format!("{odd} is only one of a file in fuzz/fuzz_targets and a [[bin]] in fuzz/Cargo.toml")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_both_written_and_named() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        assert!(targets(root).unwrap().contains("client_frame"));
    }
}
