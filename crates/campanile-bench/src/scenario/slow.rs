//! Some subscribers never read: what that costs the others, in time, and the server, in memory.
//!
//! A noisy second would decide a single comparison, so both halves are measured several times, in turns and in both
//! orders, and the medians are compared.

use std::io;
use std::time::{Duration, Instant};

use super::tolerance::Tolerance;
use super::{Numbers, Pace, STEP, all_in, progress, rest, until};
use crate::cli::SlowArgs;
use crate::compare::Spread;
use crate::cost::memory;
use crate::judge::Judge;
use crate::load::Load;
use crate::report::{Report, number};
use crate::stamp::data;
use crate::target::Target;

/// The code with which a server closes whoever reads too slowly.
const OVER_CAPACITY: u16 = 4100;
/// How much longer than without them the healthy may wait when some stall: so many times, or so much.
const TOLERANCE: Tolerance = Tolerance { times: 1.2, us: 2_000.0 };
/// How long those who stalled are given to find out that they were closed.
const FAREWELL: Duration = Duration::from_secs(5);
/// Between two halves, so that the server has cleaned up after one before the next.
const PAUSE: Duration = Duration::from_secs(1);

/// What one half has shown.
#[derive(Clone, Copy, Debug, Default)]
struct Half {
    p50: f64,
    p99: f64,
    /// Bytes of the server's memory.
    grown: Option<f64>,
    /// Of those that stalled.
    closed: usize,
    closed_with_code: usize,
}

pub(super) fn run(args: &SlowArgs, target: Target) -> io::Result<Report> {
    let stalled = (args.subscribers * usize::try_from(args.stalled_percent).unwrap_or(0)).div_ceil(100);
    let mut load = Load::new(target, 64)?;
    load.stay_alive();
    let mut report = Report::default();
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for pair in 0..args.pairs {
        // Whatever the first half of a pair has over the second, both kinds have it in turn.
        let order = if pair % 2 == 0 { [0, stalled] } else { [stalled, 0] };
        for stalling in order {
            let what = format!("pair-{}-of-{}-{stalling}-stalled", pair + 1, args.pairs);
            let half = measure(&mut load, args, &what, stalling, &mut report)?;
            if stalling == 0 { without.push(half) } else { with.push(half) }
        }
    }
    report.add("all_read_p50", "us", median(without.iter().map(|half| half.p50)));
    report.add("all_read_p99", "us", median(without.iter().map(|half| half.p99)));
    report.add("some_stall_p50", "us", median(with.iter().map(|half| half.p50)));
    report.add("some_stall_p99", "us", median(with.iter().map(|half| half.p99)));
    let pairs = || with.iter().zip(&without);
    let ratio = median(pairs().map(|(with, without)| with.p99 / without.p99.max(1.0)));
    let excess = median(pairs().map(|(with, without)| with.p99 - without.p99));
    report.add("p99_ratio", "times", ratio);
    report.add("p99_excess", "us", excess);
    if let Some(grown) = with.iter().filter_map(|half| half.grown).max_by(f64::total_cmp) {
        report.add("memory_grown", "bytes for each that stalls", grown / stalled.max(1) as f64);
    }
    report.add("closed", "of those that stalled", with.iter().map(|half| half.closed).sum::<usize>() as f64);
    let told: usize = with.iter().map(|half| half.closed_with_code).sum();
    report.add("closed_with_4100", "of those that stalled", told as f64);
    report.judge(
        TOLERANCE.allows(ratio, excess),
        format!(
            "with {stalled} of {} stalled the p99 of the others is {} times what it is without, {} us more (median of {} \
             pairs; at most {} times or {} us)",
            args.subscribers,
            number(ratio),
            number(excess),
            args.pairs,
            TOLERANCE.times,
            TOLERANCE.us
        ),
    );
    Ok(report)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    Spread::of(values.collect()).map_or(0.0, |spread| spread.median)
}

/// One half: everybody subscribes to a channel that is new, the first few stop reading, and the others' deliveries are
/// timed.
fn measure(load: &mut Load, args: &SlowArgs, channel: &str, stalled: usize, report: &mut Report) -> io::Result<Half> {
    let publications = u64::from(args.per_second) * args.seconds;
    let expected = publications * (args.subscribers - stalled) as u64;
    let mut judge = Judge::new(args.subscribers, load);
    load.connect_all(0..args.subscribers, all_in(channel), &mut |_, client, what| judge.met(client, what))?;
    for client in 0..stalled {
        load.stall(client, true)?;
    }
    let before = memory(load.target.process)?;
    publish(load, &mut judge, channel, publications, args)?;
    until(load, &mut judge, |_, judge| judge.books.delivered >= expected)?;
    let grown = before.zip(memory(load.target.process)?);
    let mut half = Half {
        p50: judge.books.latency_us(0.5),
        p99: judge.books.latency_us(0.99),
        grown: grown.map(|(before, after)| after.resident.saturating_sub(before.resident) as f64),
        ..Half::default()
    };
    report.fail_on(&judge.books, expected);
    let healthy = judge.closed.iter().filter(|(client, _)| *client >= stalled).count();
    report.fail_if(healthy > 0, || format!("the server has closed {healthy} connections that did read"));

    // What the server has said to those who did not listen.
    for client in 0..stalled {
        load.stall(client, false)?;
    }
    let farewell = Instant::now() + FAREWELL;
    while judge.closed.len() < stalled && Instant::now() < farewell {
        load.step(STEP, &mut |client, what| judge.met(client, what))?;
    }
    half.closed = judge.closed.iter().filter(|(client, _)| *client < stalled).count();
    half.closed_with_code = judge.closed.iter().filter(|(_, code)| *code == Some(OVER_CAPACITY)).count();
    for client in 0..args.subscribers {
        load.fleet.end(client, true);
    }
    rest(load, &mut judge, PAUSE)?;
    Ok(half)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_noisy_pair_decides_nothing() {
        assert_eq!(median([1.0, 1.1, 0.9, 1.0, 50.0, 1.0, 1.05].into_iter()), 1.0);
    }
}
