//! Clients that connect, subscribe to a private channel each, and do nothing.

use std::io;
use std::time::Duration;

use super::{own_channel, progress, rest};
use crate::cli::IdleArgs;
use crate::cost::{Meter, memory};
use crate::judge::Judge;
use crate::load::Load;
use crate::report::Report;
use crate::target::Target;
use crate::tls;

/// How long memory is given to settle before it is read.
const SETTLE: Duration = Duration::from_secs(2);

pub(super) fn run(args: &IdleArgs, mut target: Target) -> io::Result<Report> {
    target.tls = args.tls.as_deref().map(tls::clients).transpose()?;
    let mut load = Load::new(target, 0)?;
    let mut judge = Judge::new(args.connections + WARM, &load);
    // A first few, so that what a server sets up once is not counted as theirs.
    load.connect_all(0..WARM, own_channel, &mut |_, client, what| judge.met(client, what))?;
    rest(&mut load, &mut judge, SETTLE)?;
    let before = memory(load.target.process)?;
    let meter = Meter::start(load.target.process)?;
    load.connect_all(WARM..WARM + args.connections, own_channel, &mut |so_far, client, what| {
        progress("subscribed", so_far.subscribed as u64, so_far.wanted as u64);
        judge.met(client, what);
    })?;
    let mut report = Report::default();
    report.add_cost(meter.stop()?, args.connections as u64);
    rest(&mut load, &mut judge, SETTLE)?;
    if let (Some(before), Some(after)) = (before, memory(load.target.process)?) {
        let each = |before: u64, after: u64| after.saturating_sub(before) as f64 / args.connections as f64;
        report.add("resident", "bytes each", each(before.resident, after.resident));
        report.add("proportional", "bytes each", each(before.proportional, after.proportional));
    }
    let meter = Meter::start(load.target.process)?;
    rest(&mut load, &mut judge, Duration::from_secs(args.seconds))?;
    let idle = meter.stop()?;
    if let Some(server) = idle.server {
        let each = server.as_secs_f64() * 1e6 / idle.elapsed.as_secs_f64() / args.connections as f64;
        report.add("idle_cpu", "us each a second", each);
    }
    report.fail_if(!judge.closed.is_empty(), || format!("the server has closed {} connections", judge.closed.len()));
    Ok(report)
}

const WARM: usize = 100;
