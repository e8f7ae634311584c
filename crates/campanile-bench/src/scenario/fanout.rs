//! Every publication goes to all subscribers of one channel.

use std::io;

use super::{Numbers, Pace, WARM_UP, all_in, progress, until};
use crate::cli::FanoutArgs;
use crate::cost::Meter;
use crate::judge::Judge;
use crate::load::Load;
use crate::report::Report;
use crate::stamp::data;
use crate::target::Target;

const CHANNEL: &str = "news";

pub(super) fn run(args: &FanoutArgs, mut target: Target) -> io::Result<Report> {
    target.compress = args.compress;
    let in_flight = if args.per_second.is_some() { 64 } else { args.in_flight };
    let mut load = Load::new(target, in_flight)?;
    let mut judge = Judge::new(args.subscribers, &load);
    load.connect_all(0..args.subscribers, all_in(CHANNEL), &mut |_, client, what| judge.met(client, what))?;
    let subscribers = args.subscribers as u64;
    let warm_up = (args.publications as f64 * WARM_UP).ceil() as u64;
    let all = args.publications + warm_up;
    let mut numbers = Numbers::new(1, &load);
    let mut meter = None;
    let mut pace = args.per_second.map(Pace::per_second);
    let mut published = 0;
    while published < all {
        if meter.is_none() && published >= warm_up {
            until(&mut load, &mut judge, |_, judge| judge.books.delivered >= published * subscribers)?;
            judge.books.restart_latency();
            meter = Some((Meter::start(load.target.process)?, load.fleet.received(), published));
        }
        match &mut pace {
            Some(pace) => {
                pace.wait(&mut load, &mut judge)?;
                publish(&mut load, &mut numbers, args.bytes)?;
                published += 1;
            }
            None => {
                let burst = (all - published).min(in_flight as u64);
                for _ in 0..burst {
                    publish(&mut load, &mut numbers, args.bytes)?;
                }
                published += burst;
                until(&mut load, &mut judge, |load, judge| {
                    judge.books.delivered >= published * subscribers
                        && load.publishers.idle() == load.publishers.count()
                })?;
            }
        }
        progress("published", published, all);
    }
    until(&mut load, &mut judge, |_, judge| judge.books.delivered >= published * subscribers)?;
    let mut report = Report::default();
    if let Some((meter, received, since)) = meter {
        let deliveries = (published - since) * subscribers;
        report.add_cost(meter.stop()?, deliveries);
        report.add("wire", "bytes each", (load.fleet.received() - received) as f64 / deliveries as f64);
    }
    report.add_books(&judge.books, published * subscribers);
    report.fail_if(!judge.closed.is_empty(), || format!("the server has closed {} connections", judge.closed.len()));
    Ok(report)
}

fn publish(load: &mut Load, numbers: &mut Numbers, bytes: usize) -> io::Result<()> {
    let data = data(numbers.stamp(0, load)?, bytes);
    load.post("events", &format!("{{\"name\":\"told\",\"channel\":\"{CHANNEL}\",\"data\":{data}}}"))
}
