//! The whole load: clients, publishers and the books, moved on together.
//!
//! Owns the loop. Never decides what to send (scenarios do). The invariant: [`Load::step`] does all that is ready and
//! returns, so a scenario is a plain sequence of steps.

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::authorizer::{self, Authorizer};
use crate::complaint;
use crate::fleet::{Fleet, Met};
use crate::poller::{Poller, Ready};
use crate::publishers::{self, Publishers};
use crate::target::Target;

/// How many clients connect at the same time.
const OPENING_MAX: usize = 256;

/// Everything that runs in this process against one server.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) target: Target,
    pub(crate) fleet: Fleet,
    pub(crate) publishers: Publishers,
    authorizer: Option<Authorizer>,
    /// Whether clients send heartbeats.
    stays_alive: bool,
    /// Whether it looks again and again instead of sleeping until something is ready.
    spins: bool,
    poller: Poller,
    ready: Vec<Ready>,
    buffer: Vec<u8>,
    start: Instant,
}

/// What a client is to be.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) channels: Rc<[String]>,
    /// The user id on presence channels.
    pub(crate) member: Option<u64>,
}

impl Load {
    pub(crate) fn new(target: Target, publishers: usize) -> io::Result<Self> {
        let poller = Poller::new()?;
        let publishers = Publishers::connect(&poller, &target, publishers)?;
        let authorizer = match target.dialect.asks_the_application() {
            true => Some(Authorizer::listen(&poller, target.address.port() + 1)?),
            false => None,
        };
        Ok(Self {
            target,
            fleet: Fleet::new(),
            publishers,
            authorizer,
            stays_alive: false,
            spins: false,
            poller,
            ready: Vec::new(),
            buffer: vec![0; 64 * 1024],
            start: Instant::now(),
        })
    }

    /// Has clients send what keeps them connected for longer than servers wait for those who say nothing.
    pub(crate) fn stay_alive(&mut self) {
        self.stays_alive = true;
    }

    /// Has the load look for what is ready without ever sleeping: what it measures then holds none of its own waking up.
    pub(crate) fn spin(&mut self) {
        self.spins = true;
    }

    /// When the clock of all stamps was at zero.
    pub(crate) fn start(&self) -> Instant {
        self.start
    }

    /// Nanoseconds since the start.
    pub(crate) fn now_ns(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Waits for at most `timeout` and does what is ready.
    pub(crate) fn step(&mut self, timeout: Duration, met: &mut impl FnMut(usize, Met<'_>)) -> io::Result<()> {
        let mut ready = std::mem::take(&mut self.ready);
        self.poller.wait(if self.spins { Duration::ZERO } else { timeout }, &mut ready)?;
        for Ready { number, writable, .. } in &ready {
            if let Some(authorizer) = &mut self.authorizer
                && *number >= authorizer::FIRST
            {
                let mut admit = |client| self.fleet.admit(client, met);
                authorizer.progress(&self.poller, *number, &mut self.buffer, &mut admit)?;
            } else if let Some(publisher) = number.checked_sub(publishers::FIRST) {
                let publisher = usize::try_from(publisher).map_err(io::Error::other)?;
                self.publishers.progress(&self.poller, &self.target, publisher, *writable, &mut self.buffer)?;
            } else {
                let client = usize::try_from(*number).map_err(io::Error::other)?;
                self.fleet.progress(&self.poller, &self.target, client, *writable, met)?;
            }
        }
        self.ready = ready;
        if self.stays_alive {
            self.fleet.keep_alive(&self.poller, self.target.dialect, Instant::now())?;
        }
        Ok(())
    }

    /// Begins to connect a client.
    pub(crate) fn connect(&mut self, number: usize, plan: Plan) -> io::Result<()> {
        self.fleet.connect(&self.poller, &self.target, number, plan.channels, plan.member)
    }

    /// Connects these clients, some at a time, until all are subscribed; `met` gets what else arrives meanwhile.
    pub(crate) fn connect_all(
        &mut self,
        numbers: impl ExactSizeIterator<Item = usize>,
        plan: impl Fn(usize) -> Plan,
        met: &mut impl FnMut(&mut Progress, usize, Met<'_>),
    ) -> io::Result<()> {
        let Progress { wanted, subscribed, closed, said } = self.connect_some(numbers, plan, met)?;
        if closed > 0 {
            return Err(complaint::error(&format!("the server has closed {closed} connections"), said.as_deref()));
        }
        if subscribed < wanted {
            let what = format!("only {subscribed} of {wanted} clients are subscribed");
            return Err(complaint::error(&what, said.as_deref()));
        }
        Ok(())
    }

    /// The same for servers that may fail: returns when each is subscribed or closed, or when none gets on any more.
    pub(crate) fn connect_some(
        &mut self,
        numbers: impl ExactSizeIterator<Item = usize>,
        plan: impl Fn(usize) -> Plan,
        met: &mut impl FnMut(&mut Progress, usize, Met<'_>),
    ) -> io::Result<Progress> {
        let mut progress = Progress { wanted: numbers.len(), subscribed: 0, closed: 0, said: None };
        let mut numbers = numbers.fuse();
        let mut deadline = Instant::now() + STUCK_AFTER;
        loop {
            while self.fleet.opening() < OPENING_MAX
                && let Some(number) = numbers.next()
            {
                self.connect(number, plan(number))?;
            }
            let before = progress.subscribed;
            if self.fleet.opening() == 0 || Instant::now() > deadline {
                break;
            }
            self.step(Duration::from_millis(100), &mut |number, what| {
                match what {
                    Met::Subscribed => progress.subscribed += 1,
                    Met::Closed(_) => progress.closed += 1,
                    Met::Frame(frame) if progress.said.is_none() => progress.said = complaint::read(frame),
                    Met::Frame(_) => {}
                }
                met(&mut progress, number, what);
            })?;
            if progress.subscribed > before {
                deadline = Instant::now() + STUCK_AFTER;
            }
        }
        self.let_admitted_join(met, &mut progress)?;
        Ok(progress)
    }

    /// A server that asks the application tells nobody when it has acted on the answer.
    fn let_admitted_join(
        &mut self,
        met: &mut impl FnMut(&mut Progress, usize, Met<'_>),
        progress: &mut Progress,
    ) -> io::Result<()> {
        let end = Instant::now() + JOIN_AFTER_ANSWER;
        while self.authorizer.is_some()
            && let Some(left) = end.checked_duration_since(Instant::now())
        {
            self.step(left, &mut |number, what| met(progress, number, what))?;
        }
        Ok(())
    }

    /// Publishes on a connection that is idle.
    pub(crate) fn post(&mut self, endpoint: &str, body: &str) -> io::Result<()> {
        self.publishers.post(&self.poller, &self.target, endpoint, body)
    }

    /// Sends a text message from a client.
    pub(crate) fn send(&mut self, number: usize, text: &str) -> io::Result<()> {
        self.fleet.send(&self.poller, number, text)
    }

    /// Lets a client read no more, or again.
    pub(crate) fn stall(&mut self, number: usize, stalled: bool) -> io::Result<()> {
        self.fleet.stall(&self.poller, number, stalled)
    }
}

/// How long a server that was told who may subscribe gets to act on it.
const JOIN_AFTER_ANSWER: Duration = Duration::from_millis(200);

/// After so long without any progress a run is given up.
pub(crate) const STUCK_AFTER: Duration = Duration::from_secs(15);

/// How far connecting has come.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) wanted: usize,
    pub(crate) subscribed: usize,
    pub(crate) closed: usize,
    /// The first that the server has said against a client.
    pub(crate) said: Option<String>,
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn a_run_that_nobody_lets_in_says_what_the_server_has_said() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let page = thread::spawn(move || {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 2048]).unwrap();
                stream.write_all(b"HTTP/1.0 404 Not Found\r\n\r\n<html>").unwrap();
            }
        });
        let mut load = Load::new(Target::for_tests(address), 0).unwrap();
        let plan = |_| Plan { channels: ["private-a".to_owned()].into(), member: None };
        let error = load.connect_all(0..2, plan, &mut |_, _, _| {}).unwrap_err().to_string();
        let said =
            "the server has closed 2 connections; the server said first: no WebSocket, but HTTP/1.0 404 Not Found";
        assert!(error.starts_with(said) && error.contains("--app-id"), "{error}");
        page.join().unwrap();
    }
}
