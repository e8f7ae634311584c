//! The binary: reads the command line and hands over to [`campanile::commands`].

use std::future::Future;
use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use campanile::cli::{Cli, Command, KeysCommand};
use campanile::{commands, config};
use clap::Parser;

fn main() -> io::Result<ExitCode> {
    // Not locked: commands that run for long share both with whatever else the process has to say.
    let (out, err) = (&mut io::stdout(), &mut io::stderr());
    let environment = config::environment();
    match Cli::parse().into_command() {
        Command::Serve(args) => commands::serve::run(&args),
        Command::Demo(args) => commands::demo::run(&args, out, err),
        Command::Check(args) => commands::check::run(&args, environment, out, err),
        Command::Keys(args) => match args.command {
            KeysCommand::New(args) => match commands::keys::run(&args, out) {
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                    writeln!(err, "error: --app-id: {error}")?;
                    Ok(ExitCode::FAILURE)
                }
                outcome => outcome.map(|()| ExitCode::SUCCESS),
            },
        },
        Command::Trigger(args) => {
            let (input, is_terminal) = (&mut io::stdin().lock(), io::stdin().is_terminal());
            finished(commands::trigger::run(&args, environment, input, is_terminal, out, err))
        }
        Command::Usage(args) => {
            let has_colours =
                io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
            finished(commands::usage::run(&args, environment, has_colours, out, err))
        }
        Command::Listen(args) => finished(commands::listen::run(&args, environment, out, err)),
        Command::Webhooks(args) => commands::webhooks::run(&args, environment, out, err),
        Command::Migrate(args) => finished(commands::store::migrate(&args, environment, out, err)),
        Command::Backup(args) => finished(commands::store::backup(&args, environment, out, err)),
        Command::Completions(args) => commands::completions::run(&args, out).map(|()| ExitCode::SUCCESS),
    }
}

fn finished(command: impl Future<Output = io::Result<ExitCode>>) -> io::Result<ExitCode> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(command)
}
