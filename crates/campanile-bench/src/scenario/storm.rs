//! Everybody is cut off and reconnects, while some stay and listen.

use std::io;
use std::time::{Duration, Instant};

use super::{Numbers, own_channel, progress, until};
use crate::cli::StormArgs;
use crate::cost::Meter;
use crate::judge::Judge;
use crate::load::{Load, Plan};
use crate::report::Report;
use crate::stamp::data;
use crate::target::Target;

const CHANNEL: &str = "alerts";
const OPENING_MAX: usize = 256;

pub(super) fn run(args: &StormArgs, target: Target) -> io::Result<Report> {
    let (established, all) = (args.established, args.established + args.connections);
    let plan = |client: usize| -> Plan {
        if client < established {
            Plan { channels: [CHANNEL.to_owned()].into(), member: None }
        } else {
            own_channel(client)
        }
    };
    let mut load = Load::new(target, 16)?;
    let mut judge = Judge::new(all, &load);
    load.connect_all(0..all, plan, &mut |so_far, client, what| {
        progress("subscribed", so_far.subscribed as u64, so_far.wanted as u64);
        judge.met(client, what);
    })?;

    let meter = Meter::start(load.target.process)?;
    for client in established..all {
        load.fleet.end(client, false);
    }
    let mut numbers = Numbers::new(1, &load);
    let every = Duration::from_secs(1) / args.per_second.max(1);
    let (start, mut published, mut next) = (Instant::now(), 0_u64, established);
    let stuck = start + Duration::from_secs(60);
    while load.fleet.ready() < all {
        while next < all && load.fleet.opening() < OPENING_MAX {
            load.connect(next, plan(next))?;
            next += 1;
        }
        let due = start + every * u32::try_from(published).unwrap_or(u32::MAX);
        if Instant::now() >= due && load.publishers.idle() > 0 {
            let data = data(numbers.stamp(0, &load)?, 1200);
            load.post("events", &format!("{{\"name\":\"told\",\"channel\":\"{CHANNEL}\",\"data\":{data}}}"))?;
            published += 1;
        }
        load.step(Duration::from_millis(1), &mut |client, what| judge.met(client, what))?;
        progress("reconnected", load.fleet.ready() as u64, all as u64);
        if Instant::now() > stuck {
            return Err(io::Error::other(format!("only {} of {all} clients are back after 60 s", load.fleet.ready())));
        }
    }
    let expected = published * established as u64;
    let cost = meter.stop()?;
    until(&mut load, &mut judge, |_, judge| judge.books.delivered >= expected)?;
    let mut report = Report::default();
    report.add_cost(cost, args.connections as u64);
    report.add("storm", "seconds", cost.elapsed.as_secs_f64());
    report.add_books(&judge.books, expected);
    Ok(report)
}
