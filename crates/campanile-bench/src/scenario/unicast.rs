//! Every publication goes to one user's private channel.

use std::io;

use super::{Numbers, Pace, WARM_UP, own_channel, progress, until, user_channel};
use crate::cli::UnicastArgs;
use crate::cost::Meter;
use crate::judge::Judge;
use crate::load::Load;
use crate::report::Report;
use crate::stamp::{Stamp, data};
use crate::target::Target;

pub(super) fn run(args: &UnicastArgs, target: Target) -> io::Result<Report> {
    let mut load = Load::new(target, args.publishers)?;
    if args.spin {
        load.spin();
    }
    let mut judge = Judge::new(args.users, &load);
    load.connect_all(0..args.users, own_channel, &mut |_, client, what| judge.met(client, what))?;
    let warm_up = (args.notifications as f64 * WARM_UP).ceil() as u64;
    let all = args.notifications + warm_up;
    let mut numbers = Numbers::new(args.users, &load);
    let mut meter = None;
    let mut pace = args.per_second.map(Pace::per_second);
    let mut published = 0;
    while published < all {
        if meter.is_none() && published >= warm_up {
            until(&mut load, &mut judge, |_, judge| judge.books.delivered >= published)?;
            judge.books.restart_latency();
            meter = Some((Meter::start(load.target.process)?, published));
        }
        match &mut pace {
            Some(pace) => pace.wait(&mut load, &mut judge)?,
            None => until(&mut load, &mut judge, |load, _| load.publishers.idle() > 0)?,
        }
        // Not neighbours: consecutive notifications concern users that have nothing in common.
        let users = (published..published + args.batch).map(|at| usize::try_from(at * 7919).unwrap_or(0) % args.users);
        let events: Vec<(usize, Stamp)> =
            users.map(|user| Ok((user, numbers.stamp(user, &load)?))).collect::<io::Result<_>>()?;
        publish(&mut load, &events, args.bytes)?;
        published += args.batch;
        progress("published", published, all);
    }
    until(&mut load, &mut judge, |_, judge| judge.books.delivered >= published)?;
    let mut report = Report::default();
    if let Some((meter, since)) = meter {
        report.add_cost(meter.stop()?, published - since);
    }
    report.add_books(&judge.books, published);
    report.fail_if(!judge.closed.is_empty(), || format!("the server has closed {} connections", judge.closed.len()));
    Ok(report)
}

/// Publishes to each of these users, in one request.
pub(super) fn publish(load: &mut Load, events: &[(usize, Stamp)], bytes: usize) -> io::Result<()> {
    let event = |(user, stamp): (usize, Stamp)| {
        let data = data(stamp, bytes);
        format!("{{\"name\":\"told\",\"channel\":\"{}\",\"data\":{data}}}", user_channel(user))
    };
    match events {
        [only] => load.post("events", &event(*only)),
        events => {
            let events: Vec<String> = events.iter().map(|one| event(*one)).collect();
            load.post("batch_events", &format!("{{\"batch\":[{}]}}", events.join(",")))
        }
    }
}
