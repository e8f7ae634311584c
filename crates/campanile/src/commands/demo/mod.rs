//! `campanile demo`: a crowd of users, their orders, and what became of every one.
//!
//! Owns the course of events: start a server, connect, ship, settle, stay up. Past the start it knows that server only
//! by its address, as any client would. The invariant: every figure is measured here and now, and a bad one is shown.
//! Next: `crowd.rs` for the users, `ledger.rs` for the books, `screen.rs` for the looks.

mod crowd;
mod invitation;
mod ledger;
mod orders;
mod room;
mod screen;

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, interval, sleep, sleep_until};

pub use screen::View;

use super::invocation::invocation;
use crate::cli::{DemoArgs, TargetArgs};
use crate::client::Api;
use crate::config::{self, Config, Machine};
use crate::server::Server;
use crate::target::Target;
use crowd::Crowd;
use ledger::Counts;
use room::Room;
use screen::{Figures, Memory, Phase, Screen};

/// How long users may take to connect, all together.
const CONNECTING_MAX: Duration = Duration::from_secs(60);

/// How long orders are shipped at full rate.
const SHIPPING: Duration = Duration::from_secs(10);

/// How long the last orders may take. Longer than [`ledger::LOST_AFTER`], so that each is judged.
const SETTLING_MAX: Duration = Duration::from_secs(6);

/// How long the end waits for what is still under way.
const FAREWELL_WAIT_MAX: Duration = Duration::from_millis(500);

/// Orders per second, for each user and for all.
const ORDERS_PER_USER_PER_SEC: u32 = 2;
const ORDERS_PER_SEC_MIN: u32 = 50;
const ORDERS_PER_SEC_MAX: u32 = 2000;

/// How often the screen is drawn.
const FRAME: Duration = Duration::from_millis(100);

/// What rates are averaged over.
const RATE_WINDOW: Duration = Duration::from_secs(1);

/// Starts a server on loopback, whose state ends with it, and shows it.
///
/// # Errors
///
/// When the output cannot be written or the system refuses what a server needs.
pub fn run(args: &DemoArgs, out: &mut impl Write, err: &mut impl Write) -> io::Result<ExitCode> {
    // The room is counted in what this allows; where the kernel refuses, connecting will tell.
    let _ = config::raise_descriptor_limit();
    let Some(room) = Room::on(&Machine::here(), args.users) else {
        let descriptors = Machine::here().descriptors;
        writeln!(
            err,
            "error: this process may have {descriptors} files open, too few for even one user: ulimit -n 1024"
        )?;
        return Ok(ExitCode::FAILURE);
    };
    let state = tempfile::Builder::new().prefix("campanile-demo-").tempdir()?;
    let settings = [
        ("CAMPANILE__LISTEN__PORT", args.port.to_string()),
        ("CAMPANILE__STATE_DIR", state.path().display().to_string()),
        ("CAMPANILE__DRAIN__WAVE_SECS", "0".to_owned()),
        ("CAMPANILE__WORKERS", room.workers.to_string()),
        ("CAMPANILE__LIMITS__HTTP_CONNECTIONS_MAX", room.http_connections_max.to_string()),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value));
    let started = Config::load(None, settings.into_iter()).map_err(|error| error.to_string());
    let server = match started.and_then(|config| Server::start(config).map_err(|error| error.to_string())) {
        Ok(server) => server,
        Err(reason) => {
            writeln!(err, "error: {reason}")?;
            return Ok(ExitCode::FAILURE);
        }
    };
    let here = TargetArgs { port: Some(server.local_addr().port()), ..TargetArgs::default() };
    let target = Target::find(&here, std::iter::empty()).expect("an address on loopback and the development keys");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if room.users < args.users {
        writeln!(
            out,
            "\n  {} and not {}: this process may have {} files open (ulimit -Hn),\n  and each user takes two",
            screen::counted(room.users.into(), "user"),
            args.users,
            Machine::here().descriptors
        )?;
    }
    let args = DemoArgs { users: room.users, ..args.clone() };
    let shown = runtime.block_on(run_against(&target, &args, true, View::of_stdout(), out));
    runtime.block_on(server.drain())?;
    shown
}

/// Shows the server at `target`, until `--seconds` are over or Ctrl-C is pressed. `has_server` tells whether that
/// server runs in this process, whose memory is shown.
///
/// # Errors
///
/// When the output cannot be written. That an order was lost is an exit code.
pub async fn run_against(
    target: &Target,
    args: &DemoArgs,
    has_server: bool,
    view: View,
    out: &mut impl Write,
) -> io::Result<ExitCode> {
    // If the kernel refuses, the users that find none complain.
    let _ = config::raise_descriptor_limit();
    let api = match Api::new(target) {
        Ok(api) => Arc::new(api),
        Err(error) => {
            writeln!(out, "error: {error}")?;
            return Ok(ExitCode::FAILURE);
        }
    };
    let mut screen = Screen::new(out, view);
    let users = screen::counted(args.users.into(), "user");
    screen.print(&format!("\n  Campanile at {target}, app {}, and {users}\n", target.app_id))?;
    let mut stage = Stage::new(target, args, has_server, api, screen);
    let outcome = tokio::select! {
        outcome = stage.play() => outcome,
        _ = tokio::signal::ctrl_c() => Ok(()),
    };
    let outcome = match outcome {
        Ok(()) => stage.say_goodbye().await,
        Err(error) => Err(error),
    };
    match outcome {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(stage.verdict()),
    }
}

/// Orders per second for so many users.
fn orders_per_sec(users: u32) -> u32 {
    users.saturating_mul(ORDERS_PER_USER_PER_SEC).clamp(ORDERS_PER_SEC_MIN, ORDERS_PER_SEC_MAX)
}

struct Stage<'a, W> {
    target: &'a Target,
    users: u32,
    begun: Instant,
    /// When everything ends, if `--seconds` says so.
    end: Option<Instant>,
    api: Arc<Api>,
    crowd: Crowd,
    has_server: bool,
    resident_before: Option<u64>,
    past: VecDeque<(Instant, Counts)>,
    screen: Screen<'a, W>,
}

impl<'a, W: Write> Stage<'a, W> {
    fn new(target: &'a Target, args: &DemoArgs, has_server: bool, api: Arc<Api>, screen: Screen<'a, W>) -> Self {
        let begun = Instant::now();
        let resident_before = resident();
        Self {
            target,
            users: args.users,
            begun,
            end: args.seconds.map(|seconds| begun + Duration::from_secs(seconds)),
            api,
            crowd: Crowd::gather(target, args.users, begun),
            has_server,
            resident_before,
            past: VecDeque::new(),
            screen,
        }
    }

    async fn play(&mut self) -> io::Result<()> {
        self.connect().await?;
        if self.crowd.shared().connected() == 0 {
            return self
                .screen
                .print("  No user could connect: is the server there, and are id, key and secret right?\n");
        }
        let shipping = self.ship().await?;
        self.settle().await?;
        let figures = self.figures(Phase::Settling, None);
        self.screen.print(&screen::summary(&figures, shipping))?;
        if self.end.is_some_and(|end| Instant::now() >= end) {
            return Ok(());
        }
        self.screen.print("\n")?;
        self.screen.print(&invitation::invitation(self.target, &invocation()))?;
        self.stay_up().await
    }

    /// Waits until everybody is connected or turned away.
    async fn connect(&mut self) -> io::Result<()> {
        let deadline = self.by(CONNECTING_MAX);
        let mut frames = interval(FRAME);
        loop {
            frames.tick().await;
            let shared = self.crowd.shared();
            let (connected, gone) = (shared.connected(), shared.gone());
            let progress = (connected + gone) as f64 / f64::from(self.users);
            self.show(Phase::Connecting, Some(progress))?;
            if connected + gone >= self.users as usize || Instant::now() >= deadline {
                return Ok(());
            }
        }
    }

    /// Ships at full rate; tells for how long.
    async fn ship(&mut self) -> io::Result<Duration> {
        let (begun, deadline) = (Instant::now(), self.by(SHIPPING));
        let duration = deadline.saturating_duration_since(begun);
        let shared = Arc::clone(self.crowd.shared());
        let api = Arc::clone(&self.api);
        let mut shipping = std::pin::pin!(shared.ship(&api, self.users, orders_per_sec(self.users), duration));
        let mut frames = interval(FRAME);
        loop {
            tokio::select! {
                () = &mut shipping => return Ok(begun.elapsed()),
                _ = frames.tick() => {
                    let progress = begun.elapsed().as_secs_f64() / duration.as_secs_f64().max(f64::EPSILON);
                    self.show(Phase::Shipping, Some(progress.min(1.0)))?;
                }
            }
        }
    }

    /// Waits until every order has arrived or is lost.
    async fn settle(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + SETTLING_MAX;
        let mut frames = interval(FRAME);
        loop {
            frames.tick().await;
            self.show(Phase::Settling, None)?;
            if self.crowd.shared().ledger.lock().is_settled() || Instant::now() >= deadline {
                return Ok(());
            }
        }
    }

    /// One order a second, so that there is something to see.
    async fn stay_up(&mut self) -> io::Result<()> {
        let mut frames = interval(FRAME);
        let mut orders = interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                _ = frames.tick() => self.show(Phase::Up, None)?,
                _ = orders.tick() => {
                    let shared = Arc::clone(self.crowd.shared());
                    // Bounded by the request's own time-out, at one a second.
                    drop(tokio::spawn(shared.publish(Arc::clone(&self.api), self.users, 1)));
                }
                () = until(self.end) => return Ok(()),
            }
        }
    }

    /// The last lines, however it has ended.
    async fn say_goodbye(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + FAREWELL_WAIT_MAX;
        let mut figures = self.figures(Phase::Up, None);
        while figures.counts.under_way > 0 && Instant::now() < deadline {
            sleep(FRAME).await;
            figures = self.figures(Phase::Up, None);
        }
        self.screen.print(&screen::farewell(&figures))?;
        match self.has_server {
            true => self.screen.print(&invitation::next_steps(&invocation())),
            false => Ok(()),
        }
    }

    /// So long from now, or the end if that is sooner.
    fn by(&self, duration: Duration) -> Instant {
        let then = Instant::now() + duration;
        self.end.map_or(then, |end| end.min(then))
    }

    fn show(&mut self, phase: Phase, progress: Option<f64>) -> io::Result<()> {
        let figures = self.figures(phase, progress);
        self.screen.show(&figures)
    }

    fn figures(&mut self, phase: Phase, progress: Option<f64>) -> Figures {
        let now = Instant::now();
        let shared = Arc::clone(self.crowd.shared());
        let (counts, latency) = {
            let mut ledger = shared.ledger.lock();
            (ledger.counts(now), ledger.latency())
        };
        let (orders_per_sec, bytes_per_sec) = self.rates(now, counts);
        let connected = shared.connected();
        Figures {
            phase,
            progress,
            elapsed: self.begun.elapsed(),
            users: self.users,
            connected,
            reconnected: shared.reconnected(),
            gone: shared.gone(),
            counts,
            latency,
            orders_per_sec,
            bytes_per_sec,
            memory: resident().map(|resident| Memory {
                resident,
                per_user: self
                    .resident_before
                    .map(|before| resident.saturating_sub(before))
                    .and_then(|added| added.checked_div(connected as u64)),
                has_server: self.has_server,
            }),
            complaint: shared.complaint(),
        }
    }

    /// Deliveries and bytes per second, over the last [`RATE_WINDOW`].
    fn rates(&mut self, now: Instant, counts: Counts) -> (f64, f64) {
        self.past.push_back((now, counts));
        while self.past.get(1).is_some_and(|(then, _)| now.duration_since(*then) >= RATE_WINDOW) {
            self.past.pop_front();
        }
        let (then, before) = self.past.front().copied().unwrap_or((now, counts));
        let seconds = now.duration_since(then).as_secs_f64().max(FRAME.as_secs_f64());
        let per_sec = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
        (per_sec(counts.delivered, before.delivered), per_sec(counts.bytes, before.bytes))
    }

    /// Whether the server kept what the demo promises.
    fn verdict(&self) -> ExitCode {
        let shared = self.crowd.shared();
        let counts = shared.ledger.lock().counts(Instant::now());
        match counts.are_clean() && shared.gone() == 0 && shared.connected() == self.crowd.len() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        }
    }
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => std::future::pending().await,
    }
}

/// Bytes of memory that this process has in use, where the system tells.
fn resident() -> Option<u64> {
    resident_in(&fs::read_to_string("/proc/self/status").ok()?)
}

fn resident_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn larger_crowds_get_more_orders_up_to_the_bound() {
        assert_eq!([1, 25, 26, 300, 1000, 1001, 50_000].map(orders_per_sec), [50, 50, 52, 600, 2000, 2000, 2000]);
    }

    #[test]
    fn resident_memory_is_read_as_the_kernel_writes_it() {
        assert_eq!(resident_in("Name:\tx\nVmRSS:\t    1234 kB\nThreads:\t1\n"), Some(1234 * 1024));
        assert_eq!(resident_in("Name:\tx\n"), None);
        assert_eq!(resident_in("VmRSS:\tmany kB\n"), None);
    }

    #[tokio::test]
    async fn without_a_server_it_says_so_and_fails() {
        // Bound and dropped again, so that nobody listens there.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let target =
            Target::find(&TargetArgs { port: Some(port), ..TargetArgs::default() }, std::iter::empty()).unwrap();
        let args = DemoArgs { users: 2, seconds: Some(1), port: 0 };
        let mut out = Vec::new();
        let code = run_against(&target, &args, false, View::Lines, &mut out).await.unwrap();
        let out = String::from_utf8(out).unwrap();
        assert_eq!(code, ExitCode::FAILURE);
        assert!(out.contains("0/2 users") && out.contains("No user could connect"), "{out}");
    }
}
