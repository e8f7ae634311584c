//! `campanile webhooks`: the events whose delivery was given up, and another chance for them.
//!
//! Owns what is printed. Never sends anything, and never touches a file that a server uses: the lock on
//! `state_dir` refuses it. The invariant: secrets and the queries of addresses are not printed. Next: `webhooks/` for the queues.

use std::io::{self, Write};
use std::process::ExitCode;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::cli::{WebhooksArgs, WebhooksCommand, WebhooksTargetArgs};
use crate::config::{AppConfig, Config};
use crate::state_dir::StateDir;
use crate::webhooks::{Archive, Error};

/// One line of `campanile webhooks dead`.
#[derive(Serialize)]
struct Line<'a> {
    app: &'a str,
    endpoint: &'a str,
    time_ms: u64,
    given_up_ms: u64,
    error: &'a str,
    event: &'a RawValue,
}

/// Why a command ends early: with words for the operator, or because nobody reads the output.
#[derive(Debug)]
enum Failure {
    Webhooks(Error),
    Output(io::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Webhooks(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Lists dead letters, or puts them back.
///
/// # Errors
///
/// When the output cannot be written.
pub fn run(
    args: &WebhooksArgs,
    environment: impl Iterator<Item = (String, String)>,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<ExitCode> {
    let (WebhooksCommand::Dead(target) | WebhooksCommand::Retry(target)) = &args.command;
    let config = match Config::load(target.file.config.as_deref(), environment) {
        Ok(config) => config,
        Err(error) => {
            writeln!(err, "{error}")?;
            return Ok(ExitCode::FAILURE);
        }
    };
    if let Some(app) = &target.app_id
        && !config.apps.iter().any(|known| known.id == *app)
    {
        writeln!(err, "the configuration has no app {app:?}")?;
        return Ok(ExitCode::FAILURE);
    }
    // What a server has never used holds nothing, and is not made here: it would belong to whoever runs this command.
    let lock = config.state_dir.exists().then(|| StateDir::lock(&config.state_dir)).transpose();
    let _held = match lock {
        Ok(held) => held,
        Err(error) => {
            writeln!(err, "{error}")?;
            return Ok(ExitCode::FAILURE);
        }
    };
    let done = match args.command {
        WebhooksCommand::Dead(_) => list(&config, target, out, err),
        WebhooksCommand::Retry(_) => retry(&config, target, out),
    };
    match done {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(Failure::Output(error)) => Err(error),
        Err(Failure::Webhooks(error)) => {
            writeln!(err, "{error}")?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// One line for each on standard output; if there is none, a word of that on standard error, which no program reads.
fn list(
    config: &Config,
    target: &WebhooksTargetArgs,
    out: &mut impl Write,
    err: &mut impl Write,
) -> Result<(), Failure> {
    let mut listed = 0_u64;
    for archive in Archive::open_all(config, target.app_id.as_deref())? {
        let status = archive.status()?;
        archive.dead_letters(|letter| {
            let event = serde_json::from_slice(&letter.json).map_err(io::Error::other)?;
            let line = Line {
                app: &status.app,
                endpoint: &status.address,
                time_ms: letter.time_ms,
                given_up_ms: letter.given_up_ms,
                error: &letter.error,
                event,
            };
            serde_json::to_writer(&mut *out, &line).map_err(io::Error::from)?;
            listed += 1;
            out.write_all(b"\n").map_err(Failure::from)
        })?;
    }
    if listed == 0 {
        let state_dir = config.state_dir.display();
        let is_asked = |app: &&AppConfig| target.app_id.as_ref().is_none_or(|id| app.id == *id);
        let has_webhooks = config.apps.iter().filter(is_asked).any(|app| !app.webhooks.is_empty());
        match (has_webhooks, config.state_dir.exists()) {
            (false, _) => writeln!(err, "no webhooks are configured, so there are no dead letters")?,
            (true, false) => writeln!(err, "no dead letters: no server has used {state_dir} yet")?,
            (true, true) => writeln!(err, "no dead letters in {state_dir}")?,
        }
    }
    Ok(())
}

fn retry(config: &Config, target: &WebhooksTargetArgs, out: &mut impl Write) -> Result<(), Failure> {
    let mut revived = 0;
    for archive in Archive::open_all(config, target.app_id.as_deref())? {
        let events = archive.retry()?;
        let status = archive.status()?;
        revived += events;
        if events > 0 {
            writeln!(out, "{}: {events} events wait again for {}", status.app, status.address)?;
        }
        if status.dead_letters > 0 {
            writeln!(out, "{}: {} found no room in the queue and stay dead letters", status.app, status.dead_letters)?;
        }
    }
    let what_next = if revived > 0 { "; the server delivers them after its next start" } else { "" };
    writeln!(out, "{revived} events put back{what_next}")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ConfigArgs;

    use std::net::TcpListener;
    use std::path::{Path, PathBuf};
    use std::time::Duration;

    use campanile_hub::{Notice, NoticeKind};
    use campanile_protocol::ChannelName;

    use crate::webhooks::Webhooks;

    fn configure(directory: &Path, bounds: &str) -> PathBuf {
        // Bound and never served: calls hang, so events stay where they are.
        let path = directory.join("campanile.toml");
        let text = format!(
            "state_dir = {:?}\n[[apps]]\nid = 'shop'\nkeys = [{{ key = 'k1', secret = 'very-secret' }}]\n\
             [[apps.webhooks]]\n{bounds}\n",
            directory.join("state").display().to_string()
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    fn run_on(
        path: &Path,
        app: Option<&str>,
        command: fn(WebhooksTargetArgs) -> WebhooksCommand,
    ) -> (ExitCode, String) {
        let file = ConfigArgs { config: Some(path.to_owned()) };
        let args = WebhooksArgs { command: command(WebhooksTargetArgs { file, app_id: app.map(str::to_owned) }) };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = run(&args, std::iter::empty(), &mut out, &mut err).unwrap();
        out.append(&mut err);
        (code, String::from_utf8(out).unwrap())
    }

    fn stop(webhooks: &Webhooks) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(webhooks.flush_and_stop(Duration::ZERO));
    }

    #[test]
    fn dead_letters_are_listed_and_put_back_while_no_server_runs() {
        let directory = tempfile::tempdir().unwrap();
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("url = 'http://{}/hook?token=t'", silent.local_addr().unwrap());
        let path = configure(directory.path(), &format!("{url}\nqueue_events_max = 1"));
        let config = Config::load(Some(&path), std::iter::empty()).unwrap();
        let (code, text) = run_on(&path, None, WebhooksCommand::Dead);
        assert_eq!(code, ExitCode::SUCCESS);
        assert!(text.starts_with("no dead letters: no server has used "), "{text}");

        let webhooks = Webhooks::start(&config, 1, &config.state_dir).unwrap();
        for (edge, name) in (0..).zip(["waits", "dead"]) {
            let channel = ChannelName::parse(name, 100).unwrap();
            webhooks.notify(Notice { app: "shop".into(), kind: NoticeKind::ChannelOccupied { channel }, edge });
        }
        let (code, text) = run_on(&path, None, WebhooksCommand::Dead);
        assert_eq!(code, ExitCode::FAILURE);
        assert!(text.contains("another campanile serves with this state_dir"), "{text}");
        stop(&webhooks);

        let serving = StateDir::lock(&config.state_dir).unwrap();
        for command in [WebhooksCommand::Dead, WebhooksCommand::Retry] {
            let (code, text) = run_on(&path, None, command);
            assert_eq!(code, ExitCode::FAILURE);
            assert!(text.contains("needs the server to be stopped"), "{text}");
        }
        drop(serving);

        let (code, text) = run_on(&path, Some("shop"), WebhooksCommand::Dead);
        assert_eq!(code, ExitCode::SUCCESS);
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&line["app"], &line["event"]["channel"]), (&"shop".into(), &"dead".into()));
        assert_eq!(line["error"], "the endpoint's queue was full");
        assert!(!text.contains("token") && !text.contains("very-secret"), "{text}");

        let (_, text) = run_on(&path, None, WebhooksCommand::Retry);
        assert!(text.contains("1 found no room in the queue and stay dead letters\n0 events put back"), "{text}");
        let path = configure(directory.path(), &format!("{url}\nqueue_events_max = 2"));
        let (code, text) = run_on(&path, None, WebhooksCommand::Retry);
        assert_eq!(code, ExitCode::SUCCESS);
        assert!(text.contains("1 events put back; the server delivers them after its next start"), "{text}");
        let (code, text) = run_on(&path, None, WebhooksCommand::Dead);
        assert_eq!((code, text), (ExitCode::SUCCESS, format!("no dead letters in {}\n", config.state_dir.display())));
    }

    #[test]
    fn that_there_are_no_dead_letters_is_said_beside_the_json() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("campanile.toml");
        std::fs::write(&path, "[[apps]]\nid = 'shop'\nkeys = [{ key = 'k1', secret = 'very-secret' }]\n").unwrap();
        let file = ConfigArgs { config: Some(path) };
        let args = WebhooksArgs { command: WebhooksCommand::Dead(WebhooksTargetArgs { file, app_id: None }) };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(run(&args, std::iter::empty(), &mut out, &mut err).unwrap(), ExitCode::SUCCESS);
        assert_eq!(out, b"");
        assert_eq!(err, b"no webhooks are configured, so there are no dead letters\n");
    }

    #[test]
    fn an_unknown_app_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = configure(directory.path(), "url = 'http://127.0.0.1:1/'");
        let (code, text) = run_on(&path, Some("shopp"), WebhooksCommand::Dead);
        assert_eq!((code, text.as_str()), (ExitCode::FAILURE, "the configuration has no app \"shopp\"\n"));
    }
}
