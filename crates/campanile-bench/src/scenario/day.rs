//! A day of a SaaS: users come and go by the hour, notifications go to whoever they concern, connected or not.

use std::io;

use super::unicast::publish;
use super::{Numbers, own_channel, progress, until};
use crate::cli::DayArgs;
use crate::cost::Meter;
use crate::judge::Judge;
use crate::load::Load;
use crate::report::Report;
use crate::stamp::Stamp;
use crate::target::Target;

/// How busy each hour is, from midnight, in percent of the busiest.
const CURVE: [u32; 24] = [8, 6, 5, 5, 6, 10, 22, 45, 78, 96, 100, 97, 80, 84, 95, 98, 92, 76, 55, 42, 34, 27, 19, 12];

pub(super) fn run(args: &DayArgs, target: Target) -> io::Result<Report> {
    let mut load = Load::new(target, args.publishers)?;
    load.stay_alive();
    let mut judge = Judge::new(args.users, &load);
    let mut numbers = Numbers::new(args.users, &load);
    let mut is_here = vec![false; args.users];
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let (mut published, mut expected) = (0, 0);
    let meter = Meter::start(load.target.process)?;
    let total: u64 = CURVE.iter().map(|busy| u64::from(*busy)).sum();
    for (hour, busy) in CURVE.iter().enumerate() {
        change_shift(&mut load, &mut judge, &mut is_here, args.peak * *busy as usize / 100, &mut dice)?;
        let until_hour: u64 = CURVE[..=hour].iter().map(|busy| u64::from(*busy)).sum();
        let due = args.notifications * until_hour / total;
        while published < due {
            until(&mut load, &mut judge, |load, _| load.publishers.idle() > 0)?;
            let mut events = Vec::new();
            for _ in 0..args.batch.min(due - published) {
                let user = dice.below(args.users);
                // What goes to a user who is away is accepted and delivered to nobody, so it takes no number.
                let nobodys = Stamp { stream: 0, number: 0, sent_ns: 0 };
                events.push((user, if is_here[user] { numbers.stamp(user, &load)? } else { nobodys }));
                expected += u64::from(is_here[user]);
            }
            publish(&mut load, &events, args.bytes)?;
            published += events.len() as u64;
            if published % 1000 < args.batch {
                progress("notifications", published, args.notifications);
            }
        }
        until(&mut load, &mut judge, |_, judge| judge.books.delivered >= expected)?;
    }
    until(&mut load, &mut judge, |load, _| load.publishers.idle() == load.publishers.count())?;
    let cost = meter.stop()?;
    let mut report = Report::default();
    report.add_cost(cost, published);
    report.add("accepted", "notifications", published as f64);
    report.add("day", "seconds", cost.elapsed.as_secs_f64());
    report.add_books(&judge.books, expected);
    report.fail_if(!judge.closed.is_empty(), || format!("the server has closed {} connections", judge.closed.len()));
    Ok(report)
}

/// Lets some users go and others come, until so many are here. Nothing is under way meanwhile.
fn change_shift(
    load: &mut Load,
    judge: &mut Judge,
    is_here: &mut [bool],
    wanted: usize,
    dice: &mut Dice,
) -> io::Result<()> {
    /// Who leaves each hour even when no fewer are wanted, in percent.
    const TURNOVER: usize = 20;
    let mut here: Vec<usize> = (0..is_here.len()).filter(|user| is_here[*user]).collect();
    let stay = (here.len() * (100 - TURNOVER) / 100).min(wanted);
    while here.len() > stay {
        let user = here.swap_remove(dice.below(here.len()));
        load.fleet.end(user, true);
        is_here[user] = false;
    }
    let mut come = Vec::new();
    while here.len() + come.len() < wanted {
        let user = dice.below(is_here.len());
        if !std::mem::replace(&mut is_here[user], true) {
            come.push(user);
        }
    }
    load.connect_all(come.into_iter(), own_channel, &mut |_, client, what| judge.met(client, what))
}

/// The same sequence in every run, so that runs can be compared.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound.max(1) as u64).unwrap_or(0)
    }
}
