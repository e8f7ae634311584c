//! Some subscribers never read: what that costs the others, in time, and the server, in memory.

use std::io;
use std::time::Duration;

use super::{Numbers, Pace, all_in, progress, until};
use crate::cli::SlowArgs;
use crate::cost::memory;
use crate::judge::Judge;
use crate::load::Load;
use crate::report::Report;
use crate::stamp::data;
use crate::target::Target;

/// The code with which a server closes whoever reads too slowly.
const OVER_CAPACITY: u16 = 4100;

pub(super) fn run(args: &SlowArgs, target: Target) -> io::Result<Report> {
    let publications = u64::from(args.per_second) * args.seconds;
    let stalled = args.subscribers * usize::try_from(args.stalled_percent).unwrap_or(0) / 100;
    let healthy = args.subscribers - stalled;
    let mut load = Load::new(target, 64)?;
    let mut report = Report::default();

    let mut all_read = Judge::new(args.subscribers, &load);
    load.connect_all(0..args.subscribers, all_in("first"), &mut |_, client, what| all_read.met(client, what))?;
    publish(&mut load, &mut all_read, "first", publications, args)?;
    let expected = publications * args.subscribers as u64;
    until(&mut load, &mut all_read, |_, judge| judge.books.delivered >= expected)?;
    report.add("all_read_p50", "us", all_read.books.latency_us(0.5));
    report.add("all_read_p99", "us", all_read.books.latency_us(0.99));
    let before = memory(load.target.process)?;

    let mut some_stall = Judge::new(2 * args.subscribers, &load);
    // Others, so that the first half's numbers are not expected of them; those who stall come first.
    for client in 0..args.subscribers {
        load.fleet.end(client, true);
    }
    load.connect_all(args.subscribers..2 * args.subscribers, all_in("second"), &mut |_, client, what| {
        some_stall.met(client, what)
    })?;
    let (stalling, reading) = (args.subscribers..args.subscribers + stalled, healthy as u64);
    for client in stalling.clone() {
        load.stall(client, true)?;
    }
    publish(&mut load, &mut some_stall, "second", publications, args)?;
    until(&mut load, &mut some_stall, |_, judge| judge.books.delivered >= publications * reading)?;
    if let (Some(before), Some(after)) = (before, memory(load.target.process)?) {
        let grown = after.resident.saturating_sub(before.resident) as f64;
        report.add("memory_grown", "bytes for each that stalls", grown / stalled.max(1) as f64);
    }
    report.add_books(&some_stall.books, publications * reading);
    let of_healthy = some_stall.closed.iter().filter(|(client, _)| !stalling.contains(client)).count();
    report.fail_if(of_healthy > 0, || format!("the server has closed {of_healthy} connections that did read"));

    // What the server has said to those who did not listen.
    for client in stalling {
        load.stall(client, false)?;
    }
    for _ in 0..50 {
        load.step(Duration::from_millis(100), &mut |client, what| some_stall.met(client, what))?;
        if some_stall.closed.len() == stalled {
            break;
        }
    }
    let told = some_stall.closed.iter().filter(|(_, code)| *code == Some(OVER_CAPACITY)).count();
    report.add("closed", "of those that stalled", some_stall.closed.len() as f64);
    report.add("closed_with_4100", "of those that stalled", told as f64);
    Ok(report)
}

fn publish(load: &mut Load, judge: &mut Judge, channel: &str, count: u64, args: &SlowArgs) -> io::Result<()> {
    let mut pace = Pace::per_second(args.per_second);
    let mut numbers = Numbers::new(1, load);
    for number in 0..count {
        pace.wait(load, judge)?;
        let data = data(numbers.stamp(0, load)?, args.bytes);
        load.post("events", &format!("{{\"name\":\"told\",\"channel\":\"{channel}\",\"data\":{data}}}"))?;
        progress(channel, number + 1, count);
    }
    Ok(())
}
