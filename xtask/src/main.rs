//! The repository's own chores: `cargo xtask ci` is the test command.
//!
//! Owns which checks there are and in which order they run; what each one does is in [`steps`]. Never passes over a
//! check in silence: one that cannot be run has failed, and says what to install. The invariant: the exit code is 0 only
//! if every step that was asked for has passed. Read on in [`steps`].

#![expect(clippy::print_stdout, reason = "what a chore prints is its purpose")]

mod dependencies;
mod fuzz;
mod instructions;
mod licence;
#[cfg(test)]
mod prose;
mod steps;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use steps::{STEPS, Step};

const USAGE: &str = "\
usage: cargo xtask ci [--only STEP]... [--list]

Runs every check in order and goes on after one has failed, so that one run shows all there is to mend.
  --only STEP   only this step; may be repeated
  --list        print the steps and leave";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match Request::parse(&arguments) {
        Ok(Request::List) => {
            for step in &STEPS {
                println!("{:<13} {}", step.name, step.promise);
            }
            ExitCode::SUCCESS
        }
        Ok(Request::Run(steps)) => run(&steps),
        Err(refusal) => {
            println!("{refusal}\n\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

enum Request {
    List,
    Run(Vec<&'static Step>),
}

impl Request {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut arguments = arguments.iter().map(String::as_str);
        match arguments.next() {
            Some("ci") => {}
            Some(other) => return Err(format!("{other} is not a chore")),
            None => return Err("which chore?".to_owned()),
        }
        let mut only = Vec::new();
        let mut list = false;
        while let Some(argument) = arguments.next() {
            match argument {
                "--list" => list = true,
                "--only" => only.push(arguments.next().ok_or("--only needs the name of a step")?),
                other => return Err(format!("{other} is not an option")),
            }
        }
        if list {
            return Ok(Self::List);
        }
        if let Some(unknown) = only.iter().find(|name| STEPS.iter().all(|step| step.name != **name)) {
            return Err(format!("{unknown} is not a step; --list shows them"));
        }
        // In the order of the list, whatever the order of the arguments.
        Ok(Self::Run(STEPS.iter().filter(|step| only.is_empty() || only.contains(&step.name)).collect()))
    }
}

struct Outcome {
    step: &'static Step,
    took: Duration,
    result: Result<(), String>,
}

fn run(steps: &[&'static Step]) -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask/ lies in the repository");
    let mut outcomes = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        println!("\n== {}/{} {}: {}", index + 1, steps.len(), step.name, step.promise);
        let began = Instant::now();
        let result = (step.run)(root);
        let took = began.elapsed();
        match &result {
            Ok(()) => println!("== {} passed in {:.1} s", step.name, took.as_secs_f64()),
            Err(reason) => println!("== {} FAILED after {:.1} s: {reason}", step.name, took.as_secs_f64()),
        }
        outcomes.push(Outcome { step, took, result });
    }
    println!();
    for Outcome { step, took, result } in &outcomes {
        let seconds = took.as_secs_f64();
        match result {
            Ok(()) => println!("{:<13} {seconds:>7.1} s  passed", step.name),
            Err(reason) => println!("{:<13} {seconds:>7.1} s  FAILED: {reason}", step.name),
        }
    }
    let total: Duration = outcomes.iter().map(|outcome| outcome.took).sum();
    println!("{:<13} {:>7.1} s", "total", total.as_secs_f64());
    let failed = outcomes.iter().filter(|outcome| outcome.result.is_err()).count();
    println!("\n{} passed, {failed} failed", outcomes.len() - failed);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(line: &str) -> Result<Vec<&'static str>, String> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        match Request::parse(&arguments)? {
            Request::Run(steps) => Ok(steps.iter().map(|step| step.name).collect()),
            Request::List => Ok(vec!["--list"]),
        }
    }

    #[test]
    fn every_step_runs_unless_some_are_named() {
        assert_eq!(chosen("ci").unwrap().len(), STEPS.len());
        assert_eq!(chosen("ci --only test --only fmt"), Ok(vec!["fmt", "test"]));
        assert_eq!(chosen("ci --list"), Ok(vec!["--list"]));
    }

    #[test]
    fn what_is_not_understood_runs_nothing() {
        for line in ["", "cd", "ci --only", "ci --only tests", "ci test", "ci --fast"] {
            assert!(chosen(line).is_err(), "{line}");
        }
    }
}
