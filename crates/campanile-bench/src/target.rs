//! Which server is measured.
//!
//! Owns its address, its app, and its process if this tool has started it. Never measures. The invariant: a server that
//! was started here is ended here.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use campanile_protocol::Secret;
use rustix::process::{Pid, Signal, kill_process_group};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::cli::AppArgs;
use crate::complaint;
use crate::dialect::Dialect;
use crate::tls;
use crate::usage::Process;

/// How long a server may take to listen.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a server may take to end after SIGTERM; then it is killed.
const END_TIMEOUT: Duration = Duration::from_secs(3);

/// Where to connect and as whom.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) app_id: String,
    pub(crate) key: String,
    pub(crate) secret: Secret,
    pub(crate) dialect: Dialect,
    /// How clients encrypt, if they do.
    pub(crate) tls: Option<Arc<rustls::ClientConfig>>,
    /// Whether clients ask for compression.
    pub(crate) compress: bool,
    pub(crate) process: Option<Process>,
}

impl Target {
    /// A server that runs already. Its cost is measured if it runs on this machine.
    pub(crate) fn at(port: u16, app: &AppArgs, dialect: Dialect) -> io::Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        // Before anything is measured, and with words that say what to do.
        TcpStream::connect(address).map_err(|error| complaint::unreachable(address, &error))?;
        Ok(Self {
            address,
            app_id: app.app_id.clone(),
            key: app.key.clone(),
            secret: Secret::new(&app.secret),
            dialect,
            tls: None,
            compress: false,
            process: Process::listening_on(port)?,
        })
    }

    #[cfg(test)]
    pub(crate) fn for_tests(address: SocketAddr) -> Self {
        let (app_id, key) = ("app-id".to_owned(), "app-key".to_owned());
        let (secret, dialect) = (Secret::new("app-secret"), Dialect::Pusher);
        Self { address, app_id, key, secret, dialect, tls: None, compress: false, process: None }
    }
}

/// A server that was started here.
#[derive(Debug)]
pub(crate) struct Started {
    child: Child,
}

/// Why a server could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("cannot run {command:?}: {source}")]
    Run { command: String, source: io::Error },
    #[error("{command:?} ended before it listened on port {port}: {status}")]
    Ended { command: String, port: u16, status: std::process::ExitStatus },
    #[error("{command:?} does not listen on port {port} after {} s", READY_TIMEOUT.as_secs())]
    Silent { command: String, port: u16 },
    #[error("port {port} is taken already")]
    Taken { port: u16 },
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Started {
    /// Runs a shell command with `PORT` in its environment, on one core if that is asked for, until it listens. With a
    /// folder for TLS, the environment also says where its certificate and its key are.
    pub(crate) fn run(command: &str, port: u16, core: Option<usize>, tls: Option<&Path>) -> Result<Self, StartError> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpStream::connect(address).is_ok() {
            return Err(StartError::Taken { port });
        }
        let before = rustix::thread::sched_getaffinity(None).map_err(io::Error::from)?;
        // A child inherits what its parent may run on.
        pin(core)?;
        let child = Command::new("sh")
            .args(["-c", &format!("exec {command}")])
            .env("PORT", port.to_string())
            .envs(tls.map(|folder| ("TLS_CERT_FILE", tls::cert_file(folder))))
            .envs(tls.map(|folder| ("TLS_KEY_FILE", tls::key_file(folder))))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .process_group(0)
            .spawn();
        sched_setaffinity(None, &before).map_err(io::Error::from)?;
        let child = child.map_err(|source| StartError::Run { command: command.to_owned(), source })?;
        let mut started = Self { child };
        let deadline = Instant::now() + READY_TIMEOUT;
        while TcpStream::connect(address).is_err() {
            let command = command.to_owned();
            if let Some(status) = started.child.try_wait()? {
                return Err(StartError::Ended { command, port, status });
            }
            if Instant::now() > deadline {
                return Err(StartError::Silent { command, port });
            }
            sleep(Duration::from_millis(50));
        }
        Ok(started)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // Whoever has ended already cannot be told to.
        let tell = |signal| group.map(|group| kill_process_group(group, signal));
        let _ = tell(Signal::TERM);
        let deadline = Instant::now() + END_TIMEOUT;
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            sleep(Duration::from_millis(20));
        }
        let _ = tell(Signal::KILL);
        let _ = self.child.wait();
    }
}

/// Lets this process run on one core only.
pub(crate) fn pin(core: Option<usize>) -> io::Result<()> {
    let Some(core) = core else { return Ok(()) };
    let mut cores = CpuSet::new();
    cores.set(core);
    sched_setaffinity(None, &cores).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_started_found_and_ended() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let command = "python3 -c 'import os,http.server as s; s.HTTPServer((\"127.0.0.1\",int(os.environ[\"PORT\"])),\
                       s.SimpleHTTPRequestHandler).serve_forever()' 2>/dev/null";
        let started = Started::run(command, port, None, None).unwrap();
        assert!(Process::listening_on(port).unwrap().is_some());
        assert!(matches!(Started::run(command, port, None, None), Err(StartError::Taken { .. })));
        drop(started);
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    }

    #[test]
    fn a_server_that_is_not_there_is_told_with_where_it_was_looked_for() {
        // Bound and dropped again, so that nobody listens there.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let app = AppArgs { app_id: "a".to_owned(), key: "k".to_owned(), secret: "s".to_owned() };
        let error = Target::at(port, &app, Dialect::Pusher).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot connect to 127.0.0.1:{port}: ")), "{error}");
        assert!(error.contains("is the server running? --port"), "{error}");
    }

    #[test]
    fn a_command_that_fails_is_told_from_one_that_is_slow() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        assert!(matches!(Started::run("false", port, None, None), Err(StartError::Ended { .. })));
    }
}
