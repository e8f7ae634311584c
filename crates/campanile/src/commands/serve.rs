//! `campanile serve`: runs the server until it is told to go.
//!
//! Owns signals and logging. Never binds anything itself. The invariant: SIGTERM and SIGINT drain and then end with
//! success, a second one ends at once; SIGHUP reads apps, limits and certificates again and changes nothing when the file
//! is wrong; a server that keeps failing is drained and ends with an error.

use std::io::{self, IsTerminal as _, Write as _};
use std::process::ExitCode;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::ServeArgs;
use crate::config::{self, Config, LogFormat};
use crate::server::Server;

/// Runs the command.
pub fn run(args: &ServeArgs) -> io::Result<ExitCode> {
    let path = args.file.config.as_deref();
    let config = match Config::load(path, config::environment()) {
        Ok(config) => config,
        Err(error) => return fail(&error),
    };
    let filter = tracing_subscriber::EnvFilter::new(config.log.level.as_str());
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
    let _entered = runtime.enter();
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
        loop {
            tokio::select! {
                () = received(&mut terminate) => return ExitCode::SUCCESS,
                () = received(&mut interrupt) => return ExitCode::SUCCESS,
                () = server.failed() => {
                    tracing::error!("the server has failed too often, or one of its workers has ended: it ends, so that it can be started anew");
                    return ExitCode::FAILURE;
                }
                () = received(&mut hangup) => match Config::load(path, config::environment()) {
                    Ok(config) => {
                        if let Err(error) = server.reload(config).await {
                            tracing::error!(%error, "nothing has been reloaded");
                        }
                    }
                    Err(error) => tracing::error!(%error, "the configuration is wrong: nothing has been reloaded"),
                },
            }
        }
    });
    sd_notify::notify(&[sd_notify::NotifyState::Stopping])?;
    tracing::info!("draining");
    runtime.block_on(async {
        tokio::select! {
            drained = server.drain() => drained.map(|()| code),
            () = received(&mut terminate) => std::process::exit(1),
            () = received(&mut interrupt) => std::process::exit(1),
        }
    })
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
