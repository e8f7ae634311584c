//! The checks, in order: quick ones first.
//!
//! Owns what each step runs and what it needs. Never decides what a failure means: it returns one sentence. The
//! invariant: every command is given `--locked` where it has it, so that what is tested is what `Cargo.lock` says. Read
//! on in [`crate::dependencies`], [`crate::fuzz`] and [`crate::instructions`], the steps that are more than a command.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::{dependencies, fuzz, instructions};

/// One check.
pub(crate) struct Step {
    pub(crate) name: &'static str,
    /// What holds once it has passed.
    pub(crate) promise: &'static str,
    pub(crate) run: fn(root: &Path) -> Result<(), String>,
}

pub(crate) const STEPS: [Step; 9] = [
    Step { name: "fmt", promise: "every file is formatted", run: fmt },
    Step {
        name: "dependencies",
        promise: "licences, sources and crates are those of deny.toml",
        run: dependencies::check,
    },
    Step { name: "clippy", promise: "no warning, of the compiler or of clippy", run: clippy },
    Step { name: "test", promise: "every test passes", run: test },
    Step { name: "doc", promise: "the documentation builds, and every link in it leads somewhere", run: doc },
    Step {
        name: "clients",
        promise: "the browser's inbox keeps its size and its types, and agrees with the binary in Chromium",
        run: clients,
    },
    Step { name: "e2e", promise: "real client libraries and a browser agree with the binary", run: e2e },
    Step { name: "fuzz", promise: "each target withstands ten seconds of hostile bytes", run: fuzz::run },
    Step {
        name: "instructions",
        promise: "the pure parts of a delivery take no more instructions than before",
        run: instructions::run,
    },
];

fn fmt(root: &Path) -> Result<(), String> {
    run(cargo(root).args(["fmt", "--all", "--check"]))?;
    run(cargo(root).args(["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]))
}

fn clippy(root: &Path) -> Result<(), String> {
    run(cargo(root).args(["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    // A workspace of its own, so that a change in ours can break it unseen until it is fuzzed.
    run(cargo(root)
        .args(["clippy", "--locked", "--manifest-path", "fuzz/Cargo.toml", "--bins"])
        .arg("--target-dir")
        .arg(target_directory(root)?.join("fuzz-check"))
        .args(["--", "-D", "warnings"]))
}

fn test(root: &Path) -> Result<(), String> {
    run(cargo(root).args(["test", "--locked", "--workspace"]))
}

fn doc(root: &Path) -> Result<(), String> {
    // Who reads it works on the code: private modules are shown, so links to them lead somewhere.
    run(cargo(root).env("RUSTDOCFLAGS", "-Dwarnings -Arustdoc::private-intra-doc-links").args([
        "doc",
        "--locked",
        "--workspace",
        "--no-deps",
        "--document-private-items",
    ]))
}

/// What the shop's bundler needs; the client libraries are content with less.
const NODE_MIN: (u32, u32) = (20, 19);

fn clients(root: &Path) -> Result<(), String> {
    let chromium = node_and_chromium()?;
    run(cargo(root).args(["build", "--locked", "--package", "campanile"]))?;
    run(&mut Command::new(root.join("e2e/install.sh")))?;
    for script in ["test", "test:server"] {
        run(Command::new("npm")
            .args(["run", "--silent", script, "--workspace", "campanile-inbox"])
            .current_dir(root)
            .env("CAMPANILE_BIN", target_directory(root)?.join("debug/campanile"))
            .env("CHROMIUM", &chromium))?;
    }
    Ok(())
}

/// Where the browser is, if everything that tests in JavaScript need is there.
fn node_and_chromium() -> Result<PathBuf, String> {
    let node = output(Command::new("node").arg("--version")).map_err(|_| needs_node("node is missing"))?;
    if node_version(&node).is_none_or(|version| version < NODE_MIN) {
        return Err(needs_node(&format!("node is {}", node.trim())));
    }
    output(Command::new("npm").arg("--version")).map_err(|_| needs_node("npm is missing"))?;
    let chromium = std::env::var_os("CHROMIUM").map_or_else(|| PathBuf::from("/usr/bin/chromium"), PathBuf::from);
    if !chromium.is_file() {
        return Err(format!(
            "{} is missing: apt-get install chromium, or name the browser in CHROMIUM",
            chromium.display()
        ));
    }
    Ok(chromium)
}

fn e2e(root: &Path) -> Result<(), String> {
    let chromium = node_and_chromium()?;
    output(Command::new("python3").args(["-c", "import venv, ensurepip"]))
        .map_err(|_| "python3 with venv is missing: apt-get install python3-venv".to_owned())?;
    if !has_postgres() {
        return Err("Postgres is missing: apt-get install postgresql, or put its initdb on the PATH".to_owned());
    }
    run(cargo(root).args(["build", "--locked", "--package", "campanile"]))?;
    run(cargo(root).args(["build", "--locked", "--package", "campanile-broadcast", "--example", "application"]))?;
    run(cargo(root).args(["build", "--locked", "--package", "shop"]))?;
    let built = target_directory(root)?.join("debug");
    run(Command::new(root.join("e2e/run.sh"))
        .current_dir(root)
        .env("CAMPANILE_BIN", built.join("campanile"))
        .env("APPLICATION_BIN", built.join("examples/application"))
        .env("SHOP_BIN", built.join("shop"))
        .env("CHROMIUM", chromium))
}

/// Whether a cluster can be made: Debian keeps the program off the search path.
fn has_postgres() -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let of_debian = versions.map(|version| version.path().join("bin"));
    std::env::split_paths(&path).chain(of_debian).any(|directory| directory.join("initdb").is_file())
}

fn needs_node(found: &str) -> String {
    let (major, minor) = NODE_MIN;
    format!("{found}: the clients and the end-to-end tests need Node {major}.{minor} or newer with npm")
}

/// Major and minor of what `node --version` prints.
fn node_version(printed: &str) -> Option<(u32, u32)> {
    let mut numbers = printed.trim().strip_prefix('v')?.split('.').map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// The cargo that runs us, in the repository.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root);
    cargo
}

/// Where builds go, as cargo is configured here.
pub(crate) fn target_directory(root: &Path) -> Result<PathBuf, String> {
    #[derive(serde::Deserialize)]
    struct Metadata {
        target_directory: PathBuf,
    }
    let json = output(cargo(root).args(["metadata", "--locked", "--no-deps", "--format-version", "1"]))?;
    let metadata: Metadata = serde_json::from_str(&json).map_err(|error| format!("cargo metadata: {error}"))?;
    Ok(metadata.target_directory)
}

/// Runs a command whose output is for people to read.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let line = line(command);
    println!("$ {line}");
    let status = command.status().map_err(|error| cannot_start(&line, &error))?;
    if status.success() { Ok(()) } else { Err(format!("`{line}` ended with {status}")) }
}

/// Runs a command for what it prints.
pub(crate) fn output(command: &mut Command) -> Result<String, String> {
    let line = line(command);
    let output =
        command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().map_err(|error| cannot_start(&line, &error))?;
    if !output.status.success() {
        return Err(format!("`{line}` ended with {}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("`{line}` printed what is not text"))
}

fn cannot_start(line: &str, error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => format!("`{line}`: no such program"),
        _ => format!("`{line}`: {error}"),
    }
}

fn line(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut line = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&argument.to_string_lossy());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_version_is_compared_by_its_numbers() {
        for (printed, is_enough) in [("v20.19.0\n", true), ("v20.9.1", false), ("v22.0.0", true), ("v9.99.0", false)] {
            assert_eq!(node_version(printed).is_some_and(|version| version >= NODE_MIN), is_enough, "{printed}");
        }
        assert_eq!(node_version("20"), None);
    }

    #[test]
    fn a_command_that_fails_or_is_missing_is_a_failure() {
        assert_eq!(run(&mut Command::new("true")), Ok(()));
        assert!(run(&mut Command::new("false")).unwrap_err().contains("exit status: 1"));
        assert!(run(&mut Command::new("no-such-program")).unwrap_err().contains("no such program"));
        assert!(output(&mut Command::new("false")).is_err());
    }
}
