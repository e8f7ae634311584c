//! Clients send events to each other, without the HTTP API.

use std::io;

use super::{WARM_UP, progress, until};
use crate::cli::ClientEventsArgs;
use crate::cost::Meter;
use crate::judge::Judge;
use crate::load::{Load, Plan};
use crate::report::Report;
use crate::stamp::{Stamp, data};
use crate::target::Target;

fn channel(pair: usize) -> String {
    format!("private-pair.{pair}")
}

pub(super) fn run(args: &ClientEventsArgs, target: Target) -> io::Result<Report> {
    let mut load = Load::new(target, 0)?;
    let clients = 2 * args.pairs;
    let mut judge = Judge::new(clients, &load);
    let plan = |client: usize| Plan { channels: [channel(client / 2)].into(), member: None };
    load.connect_all(0..clients, plan, &mut |_, client, what| judge.met(client, what))?;
    let warm_up = (args.events as f64 * WARM_UP).ceil() as u64;
    let (all, pairs) = (args.events + warm_up, args.pairs as u64);
    let mut meter = None;
    for number in 0..all {
        if number == warm_up {
            judge.books.restart_latency();
            meter = Some(Meter::start(load.target.process)?);
        }
        for pair in 0..args.pairs {
            let data = data(Stamp { stream: 0, number, sent_ns: load.now_ns() }, args.bytes);
            let channel = channel(pair);
            let event = format!("{{\"event\":\"client-said\",\"channel\":\"{channel}\",\"data\":{data}}}");
            load.send(2 * pair, &event)?;
        }
        until(&mut load, &mut judge, |_, judge| judge.books.delivered >= (number + 1) * pairs)?;
        progress("sent", (number + 1) * pairs, all * pairs);
    }
    let mut report = Report::default();
    if let Some(meter) = meter {
        report.add_cost(meter.stop()?, args.events * pairs);
    }
    report.add_books(&judge.books, all * pairs);
    report.fail_if(!judge.closed.is_empty(), || format!("the server has closed {} connections", judge.closed.len()));
    Ok(report)
}
