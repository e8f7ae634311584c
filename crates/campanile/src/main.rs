//! The binary: reads the command line and hands over to [`campanile::commands`].

use std::io::{self, Write as _};
use std::process::ExitCode;

use campanile::cli::{Cli, Command, KeysCommand};
use campanile::{commands, config};
use clap::Parser;

fn main() -> io::Result<ExitCode> {
    let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
    match Cli::parse().into_command() {
        Command::Check(args) => commands::check::run(&args, config::environment(), &mut out, &mut err),
        Command::Keys(args) => match args.command {
            KeysCommand::New(args) => commands::keys::run(&args, &mut out).map(|()| ExitCode::SUCCESS),
        },
        Command::Serve(args) => {
            drop((out, err));
            commands::serve::run(&args)
        }
        Command::Demo(_) | Command::Trigger(_) | Command::Listen(_) => {
            writeln!(err, "error: this version does not have this command yet")?;
            Ok(ExitCode::FAILURE)
        }
        Command::Webhooks(args) => commands::webhooks::run(&args, config::environment(), &mut out, &mut err),
        Command::Completions(args) => commands::completions::run(&args, &mut out).map(|()| ExitCode::SUCCESS),
    }
}
