//! Members come and go; whoever is there must hear of each exactly once.

use std::io;
use std::rc::Rc;

use super::{progress, until};
use crate::cli::PresenceArgs;
use crate::cost::Meter;
use crate::judge::Judge;
use crate::load::{Load, Plan};
use crate::report::Report;
use crate::target::Target;

pub(super) fn run(args: &PresenceArgs, target: Target) -> io::Result<Report> {
    let mut load = Load::new(target, 0)?;
    let clients = args.observers + args.visitors;
    let mut judge = Judge::new(clients, &load);
    let channels: Rc<[String]> = ["presence-room".to_owned()].into();
    let plan = |client: usize| Plan { channels: Rc::clone(&channels), member: Some(client as u64) };
    load.connect_all(0..args.observers, plan, &mut |_, client, what| judge.met(client, what))?;
    // Observer n has heard of every one that came after it.
    let observers = args.observers as u64;
    let mut added = observers * observers.saturating_sub(1) / 2;
    until(&mut load, &mut judge, |_, judge| judge.members_added >= added)?;
    let meter = Meter::start(load.target.process)?;
    let mut removed = 0;
    for visit in 0..args.visits {
        for visitor in args.observers..clients {
            load.connect_all(visitor..visitor + 1, plan, &mut |_, client, what| judge.met(client, what))?;
        }
        // Visitors hear of those who came after them, and observers of all.
        let visitors = args.visitors as u64;
        added += observers * visitors + visitors * visitors.saturating_sub(1) / 2;
        until(&mut load, &mut judge, |_, judge| judge.members_added >= added)?;
        for left in 0..visitors {
            load.fleet.end(args.observers + usize::try_from(left).unwrap_or(0), true);
            removed += observers + (visitors - left - 1);
            until(&mut load, &mut judge, |_, judge| judge.members_removed >= removed)?;
        }
        progress("visits", visit as u64 + 1, args.visits as u64);
    }
    let mut report = Report::default();
    report.add_cost(meter.stop()?, added + removed);
    report.fail_if(judge.members_added != added, || {
        format!("{} joins were heard of, {added} should have been", judge.members_added)
    });
    report.fail_if(judge.members_removed != removed, || {
        format!("{} departures were heard of, {removed} should have been", judge.members_removed)
    });
    Ok(report)
}
