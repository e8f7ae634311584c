//! `campanile completions`: a completion script for a shell.
//!
//! Owns nothing: the script is derived from the command line's own definition, so it cannot miss a
//! flag. Never installs it. Next: `cli.rs`.

use std::io::{self, Write};

use clap::CommandFactory;

use crate::cli::{Cli, CompletionsArgs};

/// Writes the script.
///
/// # Errors
///
/// When the output cannot be written.
pub fn run(args: &CompletionsArgs, out: &mut impl Write) -> io::Result<()> {
    // Into memory first: the generator panics where a pipe is closed early.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "campanile", &mut script);
    out.write_all(&script)
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;
    use clap_complete::Shell;

    use super::*;

    #[test]
    fn every_shell_learns_every_subcommand() {
        for shell in Shell::value_variants() {
            let mut out = Vec::new();
            run(&CompletionsArgs { shell: *shell }, &mut out).unwrap();
            let script = String::from_utf8(out).unwrap();
            for subcommand in Cli::command().get_subcommands() {
                let name = subcommand.get_name();
                assert!(script.contains(name), "{shell} does not complete {name}");
            }
        }
    }
}
