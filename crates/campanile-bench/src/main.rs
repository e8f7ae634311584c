//! Load and comparison tool for servers that speak the Pusher Channels protocol.
//!
//! Shares only the protocol with the server, so that it can measure others. Reading order: `cli.rs`, `scenario/`,
//! `load.rs` (the loop), `fleet.rs`, `dialect.rs` and `publishers.rs`; `books.rs` for what makes a run count; `compare.rs`.

mod authorizer;
mod books;
mod cli;
mod compare;
mod complaint;
mod cost;
mod dialect;
mod fleet;
mod floor;
mod judge;
mod load;
mod plot;
mod poller;
mod publishers;
mod report;
mod scenario;
mod stamp;
mod svg;
mod target;
mod tls;
mod usage;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command, RunArgs};
use target::{Target, pin};

fn main() -> ExitCode {
    let mut out = io::stdout();
    let outcome = match Cli::parse().command {
        Command::Run(args) => run(&args, &mut out),
        Command::Compare(args) => compare::compare(&args, &mut out),
        Command::Floor(args) => floor::run(&args).and_then(|report| {
            write!(out, "{report}")?;
            Ok(true)
        }),
        Command::Certificate { folder } => tls::make_certificate(&folder).map(|()| true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nobody to tell that nobody can be told.
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one scenario. True: nothing was lost.
fn run(args: &RunArgs, out: &mut impl Write) -> io::Result<bool> {
    pin(args.load_core)?;
    let report = scenario::run(&args.scenario, Target::at(args.port, &args.app, args.dialect)?)?;
    if args.json {
        serde_json::to_writer_pretty(&mut *out, &report)?;
        writeln!(out)?;
    } else {
        write!(out, "{report}")?;
    }
    Ok(report.failures.is_empty())
}
