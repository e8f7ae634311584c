//! What is measured: one file each.
//!
//! Owns what scenarios share: waiting for what has been published, and pace. Never knows a server's name. The
//! invariant: a scenario ends with a report or an error, and never with figures of a run that got stuck.

mod article;
mod client_events;
mod day;
mod fanout;
mod idle;
mod presence;
mod runaway;
mod slow;
mod storm;
mod tolerance;
mod unicast;

use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::cli::Scenario;
use crate::dialect::Dialect;
use crate::judge::Judge;
use crate::load::{Load, Plan, STUCK_AFTER};
use crate::report::Report;
use crate::stamp::Stamp;
use crate::target::Target;

pub(crate) use article::at;

/// Runs a scenario.
pub(crate) fn run(scenario: &Scenario, target: Target) -> io::Result<Report> {
    let needs_pusher = matches!(scenario, Scenario::ClientEvents(_) | Scenario::Presence(_) | Scenario::Loop(_));
    if needs_pusher && target.dialect != Dialect::Pusher {
        return Err(io::Error::other("this scenario needs a server that speaks the Pusher protocol"));
    }
    match scenario {
        Scenario::Article(args) => article::run(args, target),
        Scenario::Idle(args) => idle::run(args, target),
        Scenario::Fanout(args) => fanout::run(args, target),
        Scenario::Unicast(args) => unicast::run(args, target),
        Scenario::ClientEvents(args) => client_events::run(args, target),
        Scenario::Presence(args) => presence::run(args, target),
        Scenario::Slow(args) => slow::run(args, target),
        Scenario::Storm(args) => storm::run(args, target),
        Scenario::Loop(args) => runaway::run(args, target),
        Scenario::Day(args) => day::run(args, target),
    }
}

/// The part of a run that only warms the server up, so that buffers, caches and compilers have settled.
const WARM_UP: f64 = 0.1;

const STEP: Duration = Duration::from_millis(100);

/// Clients that all subscribe to one channel.
fn all_in(channel: &str) -> impl Fn(usize) -> Plan {
    let channels: Rc<[String]> = [channel.to_owned()].into();
    move |_| Plan { channels: Rc::clone(&channels), member: None }
}

/// Clients that each subscribe to a private channel of their own.
fn own_channel(number: usize) -> Plan {
    Plan { channels: [user_channel(number)].into(), member: None }
}

fn user_channel(user: usize) -> String {
    format!("private-user.{user}")
}

/// Moves the load on until something is so; an error if nothing arrives any more before it is.
fn until(load: &mut Load, judge: &mut Judge, done: impl Fn(&Load, &Judge) -> bool) -> io::Result<()> {
    let (mut seen, mut deadline) = (u64::MAX, Instant::now() + STUCK_AFTER);
    while !done(load, judge) {
        load.step(STEP, &mut |client, what| judge.met(client, what))?;
        let now = judge.books.delivered + load.publishers.answered + judge.members_added + judge.members_removed;
        if now != seen {
            (seen, deadline) = (now, Instant::now() + STUCK_AFTER);
        } else if Instant::now() > deadline {
            return Err(io::Error::other(format!(
                "nothing has arrived for {} s; {} deliveries until then",
                STUCK_AFTER.as_secs(),
                judge.books.delivered
            )));
        }
    }
    Ok(())
}

/// Moves the load on for so long.
fn rest(load: &mut Load, judge: &mut Judge, how_long: Duration) -> io::Result<()> {
    let end = Instant::now() + how_long;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        load.step(left.min(STEP), &mut |client, what| judge.met(client, what))?;
    }
    Ok(())
}

/// How many publications each publisher has sent to each receiver.
#[derive(Debug)]
struct Numbers {
    next: Vec<u64>,
    publishers: usize,
}

impl Numbers {
    fn new(receivers: usize, load: &Load) -> Self {
        let publishers = load.publishers.count().max(1);
        Self { next: vec![0; receivers * publishers], publishers }
    }

    /// The stamp of the next publication to this receiver, on the connection that the next request will take.
    fn stamp(&mut self, receiver: usize, load: &Load) -> io::Result<Stamp> {
        let publisher = load.publishers.next()?;
        let next = &mut self.next[receiver * self.publishers + publisher];
        *next += 1;
        let stream = u16::try_from(publisher).map_err(io::Error::other)?;
        Ok(Stamp { stream, number: *next - 1, sent_ns: load.now_ns() })
    }
}

/// Publications at a steady rate.
#[derive(Debug)]
struct Pace {
    start: Instant,
    every: Duration,
    sent: u32,
}

impl Pace {
    fn per_second(rate: u32) -> Self {
        Self { start: Instant::now(), every: Duration::from_secs(1) / rate.max(1), sent: 0 }
    }

    /// Moves the load on until the next publication is due.
    fn wait(&mut self, load: &mut Load, judge: &mut Judge) -> io::Result<()> {
        let due = self.start + self.every * self.sent;
        self.sent += 1;
        loop {
            let wait = due.saturating_duration_since(Instant::now());
            if wait.is_zero() && load.publishers.idle() > 0 {
                return Ok(());
            }
            load.step(wait.max(Duration::from_micros(50)).min(STEP), &mut |client, what| judge.met(client, what))?;
        }
    }
}

/// What says how far a run has come, on a terminal.
fn progress(what: &str, done: u64, all: u64) {
    use std::io::{IsTerminal, Write};
    let mut err = io::stderr();
    if err.is_terminal() {
        // Whoever cannot see the progress misses nothing of the result.
        let _ = write!(err, "\r\x1b[K  {what}: {done} of {all}");
        if done >= all {
            let _ = write!(err, "\r\x1b[K");
        }
        let _ = err.flush();
    }
}
