//! What a team went through that ran its own server: more and more users on private channels, one server, one core.
//!
//! 2,000,000 notifications a day are 23 a second on average; a launch, or nine o'clock, is ten times that.

use std::io;
use std::ops::Range;
use std::time::{Duration, Instant};

use super::unicast::publish;
use super::{Numbers, Pace, STEP, own_channel, progress, rest};
use crate::cli::ArticleArgs;
use crate::cost::{Meter, memory};
use crate::judge::Judge;
use crate::load::Load;
use crate::report::Report;
use crate::target::Target;

/// How long a server gets to come to rest when the last user has come.
const SETTLE: Duration = Duration::from_secs(3);
/// How long a delivery may take before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(5);
/// Keep-alive connections that publish: enough that none has to wait for another's answer.
const PUBLISHERS: usize = 32;

/// A figure's name at a number of users.
pub(crate) fn at(figure: &str, users: usize) -> String {
    format!("{figure}_at_{users}")
}

pub(super) fn run(args: &ArticleArgs, target: Target) -> io::Result<Report> {
    if !args.users.is_sorted() {
        return Err(io::Error::other("the numbers of users have to grow"));
    }
    let most = args.users.last().copied().unwrap_or(0);
    let mut load = Load::new(target, PUBLISHERS)?;
    load.stay_alive();
    let mut stage = Stage {
        judge: Judge::new(most, &load),
        numbers: Numbers::new(most, &load),
        load,
        expected: 0,
        report: Report::default(),
    };
    let mut here = 0;
    for users in &args.users {
        stage.arrive(here..*users)?;
        here = *users;
        rest(&mut stage.load, &mut stage.judge, SETTLE)?;
        stage.measure(*users, args)?;
    }
    let Stage { judge, expected, mut report, .. } = stage;
    report.fail_on(&judge.books, expected);
    Ok(report)
}

#[derive(Debug)]
struct Stage {
    load: Load,
    judge: Judge,
    numbers: Numbers,
    /// Deliveries to those who were subscribed when it was published.
    expected: u64,
    report: Report,
}

impl Stage {
    /// More users come. Whom the server does not admit gives up.
    fn arrive(&mut self, users: Range<usize>) -> io::Result<()> {
        let Self { load, judge, .. } = self;
        load.connect_some(users.clone(), own_channel, &mut |so_far, client, what| {
            progress("subscribed", so_far.subscribed as u64, so_far.wanted as u64);
            judge.met(client, what);
        })?;
        for user in users {
            if !load.fleet.is_ready(user) {
                load.fleet.end(user, false);
            }
        }
        Ok(())
    }

    /// Publishes at the rate that was asked for, to one user after another, and says what it has cost.
    fn measure(&mut self, users: usize, args: &ArticleArgs) -> io::Result<()> {
        let Self { load, judge, numbers, .. } = self;
        judge.books.restart_latency();
        let meter = Meter::start(load.target.process)?;
        let publications = u64::from(args.per_second) * args.seconds;
        let mut pace = Pace::per_second(args.per_second);
        for published in 0..publications {
            pace.wait(load, judge)?;
            // Not neighbours: consecutive notifications concern users that have nothing in common.
            let user = usize::try_from(published * 7919).unwrap_or(0) % users;
            // Who has been dropped is counted once, not with every notification.
            if load.fleet.is_ready(user) {
                let stamp = numbers.stamp(user, load)?;
                publish(load, &[(user, stamp)], args.bytes)?;
                self.expected += 1;
            }
            progress("published", published + 1, publications);
        }
        let patience = Instant::now() + PATIENCE;
        while judge.books.delivered < self.expected && Instant::now() < patience {
            load.step(STEP, &mut |client, what| judge.met(client, what))?;
        }
        let cost = meter.stop()?;
        let dropped = (0..users).filter(|user| !load.fleet.is_ready(*user)).count();
        let report = &mut self.report;
        if let Some(server) = cost.server {
            let load = 100.0 * server.as_secs_f64() / cost.elapsed.as_secs_f64();
            report.add(at("cpu", users), "% of a core", load);
        }
        report.add(at("latency_p50", users), "us", judge.books.latency_us(0.5));
        report.add(at("latency_p99", users), "us", judge.books.latency_us(0.99));
        report.add(at("dropped", users), "connections", dropped as f64);
        if let Some(memory) = memory(load.target.process)? {
            report.add(at("resident", users), "MB", memory.resident as f64 / 1e6);
        }
        report.fail_if(dropped > 0, || format!("{dropped} of {users} users were dropped or never admitted"));
        Ok(())
    }
}
