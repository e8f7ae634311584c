//! Seeded simulation of workers against a model.
//!
//! `CAMPANILE_SIMULATION_SEEDS=100000` runs so many seeds, `CAMPANILE_SIMULATION_SEED=7` runs one and prints all that
//! happened, `CAMPANILE_SIMULATION_LENGTH=7` tries longer interleavings. Read [`model`] for what must hold, [`world`] for how it is watched, [`run`] for what is drawn from a seed,
//! [`interleavings`] for what is tried exhaustively, [`faults`] for what is planted to show that it would be seen.

mod dice;
mod faults;
mod interleavings;
mod model;
mod replay;
mod run;
mod world;

use std::panic::catch_unwind;

use faults::Fault;
use run::run;

/// So many seeds where the environment does not say otherwise.
const SEEDS: u64 = 2000;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn tail(transcript: &str) -> String {
    let lines: Vec<&str> = transcript.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

#[test]
fn every_promise_is_kept_for_every_seed() {
    let seeds = match number("CAMPANILE_SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("CAMPANILE_SIMULATION_SEEDS").unwrap_or(SEEDS),
    };
    let alone = seeds.end - seeds.start == 1;
    let mut frames = 0;
    for seed in seeds.clone() {
        let Ok(outcome) = catch_unwind(|| run(seed, None)) else {
            panic!("seed {seed} panicked: CAMPANILE_SIMULATION_SEED={seed} runs it alone");
        };
        if let Some(rule) = outcome.violation {
            let happened = if alone { outcome.transcript } else { tail(&outcome.transcript) };
            panic!("{happened}\nseed {seed}: {rule}\nCAMPANILE_SIMULATION_SEED={seed} prints all of it");
        }
        frames += outcome.frames;
    }
    assert!(alone || frames as u64 > 10 * (seeds.end - seeds.start), "the runs are too quiet: {frames} frames");
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    for seed in 0..50 {
        assert_eq!(run(seed, None).transcript, run(seed, None).transcript, "seed {seed}");
    }
    assert_ne!(run(1, None).transcript, run(2, None).transcript);
}

#[test]
fn every_planted_fault_is_seen() {
    const SEEN: u32 = 4;
    for fault in Fault::ALL {
        let (mut struck, mut seen) = (0, 0);
        for seed in 0..2000 {
            let outcome = catch_unwind(|| run(seed, Some((fault, seed as usize % 3))));
            // A mind that stumbles over the fault has seen it, too.
            let (strikes, sees) = outcome.map_or((true, true), |run| (run.struck, run.violation.is_some()));
            struck += u32::from(strikes);
            seen += u32::from(strikes && sees);
            if seen == SEEN {
                break;
            }
        }
        assert!(seen == SEEN, "{fault:?} struck {struck} times and was seen {seen} times");
    }
}
