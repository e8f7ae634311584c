//! The scripts and styles of the pages.
//!
//! Owns when they are built, and under which names they lie. Never changes a source. The invariant: the application does
//! not start with a front end older than its sources, unless Node is missing and says so. Read on in `front-end/src`.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use serde::Deserialize;

/// The oldest Node that Vite runs on.
const NODE_MIN: (u32, u32) = (20, 19);
/// Where the bell's sources lie, in the repository.
const BELL: &str = "clients/inbox/src";
/// What Vite calls the file that leads to all others.
const ENTRY: &str = "src/main.ts";

/// The built front end.
#[derive(Debug)]
pub(crate) struct FrontEnd {
    pub(crate) directory: PathBuf,
    /// Paths below the directory.
    pub(crate) script: String,
    pub(crate) styles: Vec<String>,
}

/// Why there is no front end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrontEndError {
    #[error(
        "the front end is not built, and {0}: install Node {major}.{minor} or newer with npm (https://nodejs.org), then \
         run this again",
        major = NODE_MIN.0,
        minor = NODE_MIN.1
    )]
    NoNode(String),
    #[error("`{command}` in {} ended with {status}", directory.display())]
    Failed { command: &'static str, directory: PathBuf, status: String },
    #[error("the front end's files: {0}")]
    Io(#[from] io::Error),
    #[error("the front end's manifest cannot be read: {0}")]
    Manifest(#[from] serde_json::Error),
    #[error("the front end's manifest does not name {ENTRY}")]
    NoEntry,
}

#[derive(Deserialize)]
struct Entry {
    file: String,
    #[serde(default)]
    css: Vec<String>,
}

impl FrontEnd {
    /// Builds what lies in `sources` if that is newer than what was built.
    ///
    /// # Errors
    ///
    /// When it is not built and cannot be.
    pub(crate) fn ready(sources: &Path) -> Result<Self, FrontEndError> {
        let directory = sources.join("dist");
        let manifest = directory.join(".vite/manifest.json");
        let built = manifest.metadata().and_then(|metadata| metadata.modified()).ok();
        if built.is_none_or(|built| changed(sources).is_ok_and(|changed| changed > built)) {
            match node() {
                Ok(()) => build(sources)?,
                Err(reason) if built.is_none() => return Err(FrontEndError::NoNode(reason)),
                Err(reason) => tracing::warn!("the front end is older than its sources, but {reason}"),
            }
        }
        let mut entries: std::collections::BTreeMap<String, Entry> = serde_json::from_slice(&std::fs::read(manifest)?)?;
        let entry = entries.remove(ENTRY).ok_or(FrontEndError::NoEntry)?;
        Ok(Self { directory, script: entry.file, styles: entry.css })
    }
}

/// When the front end last changed, or the bell in it, which is built with it.
fn changed(sources: &Path) -> io::Result<SystemTime> {
    let bell = sources.ancestors().map(|directory| directory.join(BELL)).find(|directory| directory.is_dir());
    Ok(bell.map_or(Ok(SystemTime::UNIX_EPOCH), |bell| newest(&bell))?.max(newest(sources)?))
}

/// When a file below a directory last changed.
fn newest(sources: &Path) -> io::Result<SystemTime> {
    let mut newest = SystemTime::UNIX_EPOCH;
    for entry in std::fs::read_dir(sources)? {
        let entry = entry?;
        let is_ours = !matches!(entry.file_name().to_str(), Some("dist" | "node_modules"));
        if !is_ours {
            continue;
        }
        let metadata = entry.metadata()?;
        let changed = if metadata.is_dir() { self::newest(&entry.path())? } else { metadata.modified()? };
        newest = newest.max(changed);
    }
    Ok(newest)
}

/// Whether Node is here, or what is wrong.
fn node() -> Result<(), String> {
    let version = Command::new("node").arg("--version").stdin(Stdio::null()).output();
    let version = version.map_err(|_| "Node is missing".to_owned())?;
    let version = String::from_utf8_lossy(&version.stdout).trim().to_owned();
    if !is_new_enough(&version) {
        return Err(format!("Node is {version}"));
    }
    match Command::new("npm").arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        _ => Err("npm is missing".to_owned()),
    }
}

fn is_new_enough(version: &str) -> bool {
    let mut numbers = version.trim_start_matches('v').split('.').map_while(|number| number.parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= NODE_MIN
}

fn build(sources: &Path) -> Result<(), FrontEndError> {
    // One lockfile at the root of the repository serves the front end and the end-to-end tests.
    let root = sources.ancestors().find(|directory| directory.join("package-lock.json").is_file()).unwrap_or(sources);
    let installed = root.join("node_modules/.package-lock.json");
    let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    if modified(&installed) <= modified(&root.join("package-lock.json")) {
        tracing::info!("installing the front end's libraries: npm ci");
        run("npm ci", Command::new("npm").arg("ci"), root)?;
        // npm may leave its own time on the file.
        std::fs::File::open(&installed)?.set_modified(SystemTime::now())?;
    }
    tracing::info!("building the front end: npm run build");
    run("npm run build", Command::new("npm").args(["run", "build"]), sources)
}

fn run(name: &'static str, command: &mut Command, directory: &Path) -> Result<(), FrontEndError> {
    let status = command.current_dir(directory).stdin(Stdio::null()).status()?;
    if status.success() {
        return Ok(());
    }
    Err(FrontEndError::Failed { command: name, directory: directory.to_owned(), status: status.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_at_the_bound_is_new_enough_and_one_before_it_is_not() {
        for (version, expected) in
            [("v20.19.0", true), ("v20.18.9", false), ("v22.0.1", true), ("v18.20.0", false), ("", false)]
        {
            assert_eq!(is_new_enough(version), expected, "{version}");
        }
    }
}
