//! A whole server in this process, and clients that see the wire as it is.
//!
//! Owns the set-up that every test begins with. Never judges: the tests do. The invariant: each server has a port, a
//! state directory and an app of its own, so tests run side by side. Read on in `client.rs` for sockets and in `http.rs`
//! for the API.

mod client;
mod http;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use campanile::config::Config;
use campanile::{RunningServer, Server, StartError};
use campanile_protocol::Secret;

pub(crate) use client::{Client, Frame, Opening, frame, in_string};
pub(crate) use http::{Answer, exchange, read_answer, signed_request, with_header};

/// The app that every server has.
pub(crate) const APP: &str = "app";
/// Its key.
pub(crate) const KEY: &str = "key-of-the-app";
/// Its secret.
pub(crate) const SECRET: &str = "secret-of-the-app-0123456789";
/// How long anything may take that is expected to happen at once, on a machine that is busy with other tests.
pub(crate) const SOON: Duration = Duration::from_secs(5);

/// A server that runs until it is drained or the process ends.
pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    running: RunningServer,
    state: tempfile::TempDir,
}

/// Starts a server with two workers, an app that may do everything, and these settings besides: `limits.head_bytes_max`
/// as in the file, or `apps.0.connections_max` for the app's.
pub(crate) fn start(settings: &[(&str, &str)]) -> TestServer {
    let state = tempfile::tempdir().expect("a directory can be made");
    let running = Server::start(config(&state, settings)).expect("the server starts");
    TestServer { address: running.local_addr(), running, state }
}

fn config(state: &tempfile::TempDir, settings: &[(&str, &str)]) -> Config {
    let state = state.path().to_str().expect("temporary directories are UTF-8 here");
    let base = [
        ("state_dir", state),
        ("workers", "2"),
        ("listen.port", "0"),
        ("drain.wave_secs", "0"),
        ("apps.0.id", APP),
        ("apps.0.keys.0.key", KEY),
        ("apps.0.keys.0.secret", SECRET),
        ("apps.0.client_events", "true"),
        ("apps.0.user_authentication", "true"),
        ("apps.0.watchlists", "true"),
    ];
    let mut variables = std::collections::BTreeMap::new();
    for (name, value) in base.iter().chain(settings) {
        variables.insert(format!("CAMPANILE__{}", name.replace('.', "__").to_uppercase()), (*value).to_owned());
    }
    Config::load(None, variables.into_iter()).expect("the configuration is right")
}

impl TestServer {
    /// Tries to start a second server where this one listens.
    pub(crate) fn start_another_on_the_same_port(&self) -> Result<RunningServer, StartError> {
        let port = self.address.port().to_string();
        let state = tempfile::tempdir().expect("a directory can be made");
        Server::start(config(&state, &[("listen.port", &port)]))
    }

    /// Where to ask when the server itself has been given away.
    pub(crate) fn probe(&self) -> Probe {
        Probe(self.address)
    }

    /// Gives the server other settings while it runs.
    pub(crate) fn reload(&self, settings: &[(&str, &str)]) {
        block_on(self.running.reload(config(&self.state, settings))).expect("a reload succeeds");
    }

    /// Tries to give the server other settings while it runs; why it does not take them.
    pub(crate) fn reload_refused(&self, settings: &[(&str, &str)]) -> String {
        block_on(self.running.reload(config(&self.state, settings))).expect_err("the reload is refused").to_string()
    }

    /// Drains the server and starts another in its place, with these settings.
    pub(crate) fn restart(self, settings: &[(&str, &str)]) -> Self {
        let Self { running, state, .. } = self;
        block_on(running.drain()).expect("a drain succeeds");
        let running = Server::start(config(&state, settings)).expect("the server starts again");
        Self { address: running.local_addr(), running, state }
    }

    /// The same, and does something with the state directory between.
    pub(crate) fn restart_with(self, settings: &[(&str, &str)], between: impl FnOnce(&std::path::Path)) -> Self {
        let Self { running, state, .. } = self;
        block_on(running.drain()).expect("a drain succeeds");
        between(state.path());
        let running = Server::start(config(&state, settings)).expect("the server starts again");
        Self { address: running.local_addr(), running, state }
    }

    /// Where it keeps what must survive a restart.
    pub(crate) fn state_dir(&self) -> &std::path::Path {
        self.state.path()
    }

    /// Drains the server and tries to start another, where this file of the state directory has this text.
    pub(crate) fn restart_on(
        self,
        settings: &[(&str, &str)],
        file: &str,
        text: &str,
    ) -> Result<RunningServer, StartError> {
        let Self { running, state, .. } = self;
        block_on(running.drain()).expect("a drain succeeds");
        std::fs::write(state.path().join(file), text).expect("the directory is writable");
        Server::start(config(&state, settings))
    }

    /// Drains the server, and says how long that took.
    pub(crate) fn drain(self) -> Duration {
        let began = Instant::now();
        block_on(self.running.drain()).expect("a drain succeeds");
        began.elapsed()
    }

    /// How many connections the app has.
    pub(crate) fn connections(&self) -> u64 {
        self.get("/apps/app/connections", &[]).json()["connections"].as_u64().expect("a number of connections")
    }

    /// Waits until the app has so many connections.
    pub(crate) fn wait_for_connections(&self, wanted: u64) {
        until(|| {
            let connections = self.connections();
            (connections == wanted).then_some(()).ok_or(format!("{connections} connections, not {wanted}"))
        });
    }

    /// Proves that a stranger is served quickly: connects, subscribes, and gets an event that is published.
    pub(crate) fn serves_others(&self) {
        let began = Instant::now();
        let mut client = Client::connect(self);
        client.subscribe("bystander");
        self.publish("bystander", "seen", "{}");
        assert_eq!(client.event()["event"], "seen");
        assert!(began.elapsed() < SOON, "serving a bystander took {:?}", began.elapsed());
    }
}

/// The address of a server that another thread drains.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Probe(SocketAddr);

impl Probe {
    /// Where the server listens.
    pub(crate) fn address(self) -> SocketAddr {
        self.0
    }

    /// An unsigned question.
    pub(crate) fn get(self, path: &str) -> Answer {
        exchange(self.0, format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes())
    }

    /// Tries to connect a client; an error says with which code it was closed.
    pub(crate) fn connects(self) -> Result<Client, u16> {
        let mut client = Client::at(self.0);
        client.raw(Opening::default().head().as_bytes());
        client.upgraded();
        match client.next() {
            Frame::Text(text) if text.contains("connection_established") => Ok(client),
            Frame::Text(_) => Err(client.closed()),
            other => panic!("{other:?}"),
        }
    }
}

/// The secret of the app.
pub(crate) fn secret() -> Secret {
    Secret::new(SECRET)
}

/// Waits for something that must come true soon; what it is now is told if it does not.
pub(crate) fn until<T>(check: impl FnMut() -> Result<T, String>) -> T {
    within(2 * SOON, check)
}

/// As [`until`], with another patience.
pub(crate) fn within<T>(patience: Duration, mut check: impl FnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        match check() {
            Ok(value) => return value,
            Err(state) => assert!(Instant::now() < deadline, "still, after {patience:?}: {state}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}
