//! `campanile serve`: runs the server until it is told to go.
//!
//! Owns signals and logging. Never binds anything itself. The invariant: SIGTERM and SIGINT drain and then end with
//! success, a second one ends at once; SIGHUP reads apps, limits and certificates again and changes nothing when the file
//! is wrong, nor keeps a signal waiting when it hangs; a server that keeps failing is drained and ends with an error.

use std::convert::Infallible;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::ServeArgs;
use crate::config::{self, Config, LogFormat, LogLevel};
use crate::server::{RunningServer, Server};

/// Runs the command.
pub fn run(args: &ServeArgs) -> io::Result<ExitCode> {
    let path = args.file.config.as_deref();
    let config = match Config::load(path, config::environment()) {
        Ok(config) => config,
        Err(error) => return fail(&error),
    };
    let filter = tracing_subscriber::EnvFilter::new(directives(config.log.level));
    let has_colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(has_colours);
    match config.log.format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(place, message, "a panic: this is a fault of Campanile, please report it");
    }));
    for note in &config.notes {
        tracing::info!("{note}");
    }
    config::raise_descriptor_limit()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let apps = apps(&config);
    let server = match Server::start(config) {
        Ok(server) => server,
        Err(error) => return fail(&error),
    };
    let address = server.local_addr();
    let s = if server.has_tls() { "s" } else { "" };
    writeln!(io::stdout(), "campanile listens on http{s}://{address} and ws{s}://{address}/app/<key>; {apps}")?;
    // Outside systemd both notifications do nothing.
    sd_notify::notify(&[sd_notify::NotifyState::Ready])?;
    let code = runtime.block_on(async {
        tokio::select! {
            () = received(&mut terminate) => ExitCode::SUCCESS,
            () = received(&mut interrupt) => ExitCode::SUCCESS,
            () = server.failed() => {
                tracing::error!("the server has failed too often, or one of its workers has ended: it ends, so that it can be started anew");
                ExitCode::FAILURE
            }
            never = reload_whenever(&mut hangup, &server, path) => match never {},
        }
    });
    sd_notify::notify(&[sd_notify::NotifyState::Stopping])?;
    tracing::info!("draining");
    let ended = runtime.block_on(async {
        tokio::select! {
            drained = server.drain() => drained.map(|()| code),
            () = received(&mut terminate) => std::process::exit(1),
            () = received(&mut interrupt) => std::process::exit(1),
        }
    });
    drop(entered);
    // Without waiting for a file that is still being read for a reload.
    runtime.shutdown_background();
    ended
}

/// Reloads at each signal; those that come during a reload are answered with one more.
async fn reload_whenever(hangup: &mut Signal, server: &RunningServer, path: Option<&Path>) -> Infallible {
    loop {
        received(hangup).await;
        let path = path.map(Path::to_owned);
        let load = move || Config::load_again(path.as_deref(), config::environment());
        match tokio::task::spawn_blocking(load).await {
            Ok(Ok(config)) => {
                if let Err(error) = server.reload(config).await {
                    tracing::error!(%error, "nothing has been reloaded");
                }
            }
            Ok(Err(error)) => tracing::error!(%error, "the configuration is wrong: nothing has been reloaded"),
            Err(error) => tracing::error!(%error, "the configuration was not read: nothing has been reloaded"),
        }
    }
}

/// What is written at a level. The libraries warn of what clients do, a line for each, so below debug only their errors are
/// heard.
fn directives(level: LogLevel) -> String {
    match level {
        LogLevel::Error | LogLevel::Warn | LogLevel::Info => format!("error,campanile={}", level.as_str()),
        LogLevel::Debug | LogLevel::Trace => level.as_str().to_owned(),
    }
}

/// Which apps there are; the development one is named for what it is, since it is served when none was configured.
fn apps(config: &Config) -> String {
    let name = |app: &config::AppConfig| match app.id.as_str() {
        config::DEVELOPMENT_ID => format!("{} (the development app, whose key and secret everybody knows)", app.id),
        id => id.to_owned(),
    };
    format!("apps: {}", config.apps.iter().map(name).collect::<Vec<_>>().join(", "))
}

async fn received(signal: &mut Signal) {
    if signal.recv().await.is_none() {
        std::future::pending::<()>().await;
    }
}

fn fail(error: &dyn std::error::Error) -> io::Result<ExitCode> {
    writeln!(io::stderr(), "error: {error}")?;
    Ok(ExitCode::FAILURE)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What of one event of each kind is written at a level.
    fn written(level: LogLevel) -> String {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::new(directives(level)))
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: "h2::proto::streams::recv", "h2 warns");
            tracing::error!(target: "rustls::conn", "rustls fails");
            tracing::warn!(target: "campanile_hub::mind", "the hub warns");
            tracing::info!(target: "campanile::server", "listening");
            tracing::debug!(target: "campanile::http", "answered");
        });
        let lines = log.0.lock().unwrap();
        String::from_utf8(lines.clone()).unwrap()
    }

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_clients_do_to_a_library_is_no_warning_of_ours() {
        let told = ["h2 warns", "rustls fails", "the hub warns", "listening", "answered"];
        for (level, expected) in [
            (LogLevel::Error, [false, true, false, false, false]),
            (LogLevel::Warn, [false, true, true, false, false]),
            (LogLevel::Info, [false, true, true, true, false]),
            (LogLevel::Debug, [true; 5]),
            (LogLevel::Trace, [true; 5]),
        ] {
            let log = written(level);
            assert_eq!(told.map(|line| log.contains(line)), expected, "{level:?}: {log}");
        }
    }
}
