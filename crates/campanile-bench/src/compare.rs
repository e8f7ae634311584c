//! Servers side by side.
//!
//! Owns the order of runs (every server once per round, so that a noisy minute hurts all alike) and what is made of
//! them: medians, spreads, ratios. The invariant: a server that lost something is shown as failed, not as fast.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io;
use std::path::Path;

use serde::Serialize;

use crate::cli::{CompareArgs, Scenario};
use crate::plot;
use crate::report::{Report, number};
use crate::scenario;
use crate::target::{Started, Target, pin};
use crate::tls;

/// All runs of one server.
#[derive(Debug, Serialize)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) command: String,
    pub(crate) runs: Vec<Report>,
    /// Runs that did not come to an end, and why.
    pub(crate) errors: Vec<String>,
}

/// A figure over all rounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// Of values in any order; none of none.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) };
        Some(Self { median, least, most })
    }
}

impl Peer {
    /// What the figure was over all runs that have it.
    pub(crate) fn spread(&self, figure: &str) -> Option<Spread> {
        let figures = self.runs.iter().flat_map(|run| &run.figures).filter(|one| one.name == figure);
        Spread::of(figures.map(|one| one.value).collect())
    }

    fn has_failed(&self) -> bool {
        !self.errors.is_empty() || self.runs.iter().any(|run| !run.failures.is_empty())
    }
}

/// Runs every server in every round.
pub(crate) fn run(args: &CompareArgs) -> io::Result<Vec<Peer>> {
    if let Some((name, _)) = args.dialects.iter().find(|(name, _)| args.peers.iter().all(|(peer, _)| peer != name)) {
        return Err(io::Error::other(format!("there is no --peer {name} to go with its --dialect")));
    }
    let mut peers: Vec<Peer> = args
        .peers
        .iter()
        .map(|(name, command)| Peer {
            name: name.clone(),
            command: command.clone(),
            runs: Vec::new(),
            errors: Vec::new(),
        })
        .collect();
    for round in 1..=args.rounds {
        for peer in &mut peers {
            eprint_line(&format!("round {round} of {}: {}", args.rounds, peer.name))?;
            match measure(args, peer) {
                Ok(report) => peer.runs.push(report),
                Err(error) => peer.errors.push(error.to_string()),
            }
        }
    }
    Ok(peers)
}

fn eprint_line(line: &str) -> io::Result<()> {
    use std::io::Write as _;
    writeln!(io::stderr(), "{line}")
}

fn measure(args: &CompareArgs, peer: &Peer) -> io::Result<Report> {
    let dialect = args.dialects.iter().find(|(name, _)| *name == peer.name).map(|(_, dialect)| *dialect);
    let tls = args.scenario.tls();
    if let Some(folder) = tls {
        tls::make_certificate(folder)?;
    }
    let started = Started::run(&peer.command, args.port, args.server_core, tls).map_err(io::Error::other)?;
    pin(args.load_core)?;
    let target = Target::at(args.port, &args.app, dialect.unwrap_or_default())?;
    let report = scenario::run(&args.scenario, target);
    drop(started);
    report
}

/// A table of medians; in brackets the ratio to the first server.
pub(crate) fn table(peers: &[Peer]) -> String {
    let mut units: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for figure in peers.iter().flat_map(|peer| &peer.runs).flat_map(|run| &run.figures) {
        let place = units.len();
        units.entry(&figure.name).or_insert((place, figure.unit));
    }
    let mut figures: Vec<(&str, (usize, &str))> = units.into_iter().collect();
    figures.sort_by_key(|(_, (place, _))| *place);
    let mut out = String::new();
    let _ = write!(out, "{:<20}", "");
    for peer in peers {
        let _ = write!(out, "{:>34}", peer.name);
    }
    out.push('\n');
    for (name, (_, unit)) in figures {
        let _ = write!(out, "{name:<20}");
        let first = peers[0].spread(name);
        for peer in peers {
            let cell = match (peer.spread(name), first) {
                (Some(spread), Some(first)) if first.median > 0.0 => format!(
                    "{} [{}..{}] ({}x)",
                    number(spread.median),
                    number(spread.least),
                    number(spread.most),
                    number(spread.median / first.median)
                ),
                (Some(spread), _) => number(spread.median),
                (None, _) => "-".to_owned(),
            };
            let _ = write!(out, "{cell:>34}");
        }
        let _ = writeln!(out, "  {unit}");
    }
    for (peer, verdict) in peers.iter().flat_map(|peer| peer.runs.iter().map(move |run| (peer, &run.verdicts))) {
        for verdict in verdict {
            let _ = writeln!(out, "PASSED: {}: {verdict}", peer.name);
        }
    }
    for peer in peers.iter().filter(|peer| peer.has_failed()) {
        let failures = peer.runs.iter().flat_map(|run| &run.failures).chain(&peer.errors);
        for failure in failures {
            let _ = writeln!(out, "FAILED: {}: {failure}", peer.name);
        }
    }
    out
}

/// Runs the comparison and writes what was asked for. True: no server has failed.
pub(crate) fn compare(args: &CompareArgs, out: &mut impl io::Write) -> io::Result<bool> {
    let peers = run(args)?;
    write!(out, "{}", table(&peers))?;
    if let Some(path) = &args.json {
        serde_json::to_writer_pretty(File::create(path)?, &peers)?;
    }
    if let Some(path) = &args.plot {
        draw(path, args, &peers)?;
    }
    Ok(!peers.iter().any(Peer::has_failed))
}

fn draw(path: &Path, args: &CompareArgs, peers: &[Peer]) -> io::Result<()> {
    let title = args.title.as_deref();
    let Scenario::Article(article) = &args.scenario else {
        return plot::bars(path, title.unwrap_or(&args.figure), &args.figure, peers);
    };
    let title = title.unwrap_or("CPU that a server takes for users on private channels");
    let rounds = if args.rounds == 1 { "one round".to_owned() } else { format!("median of {} rounds", args.rounds) };
    let note = format!("percent of one core, at {} notifications a second; {rounds}", article.per_second);
    plot::lines(path, title, &note, &article.users, peers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(name: &str, values: &[f64]) -> Peer {
        let run = |value: &f64| {
            let mut report = Report::default();
            report.add("server_cpu", "us each", *value);
            report
        };
        let (name, command) = (name.to_owned(), String::new());
        Peer { name, command, runs: values.iter().map(run).collect(), errors: Vec::new() }
    }

    #[test]
    fn the_median_is_in_the_middle_and_the_spread_is_all() {
        let spread = peer("a", &[3.0, 1.0, 2.0]).spread("server_cpu").unwrap();
        assert_eq!((spread.median, spread.least, spread.most), (2.0, 1.0, 3.0));
        assert_eq!(peer("a", &[1.0, 2.0]).spread("server_cpu").unwrap().median, 1.5);
        assert!(peer("a", &[]).spread("server_cpu").is_none());
    }

    #[test]
    fn the_table_shows_ratios_and_failures() {
        let mut slow = peer("slow", &[4.0]);
        slow.errors.push("it fell over".to_owned());
        let table = table(&[peer("quick", &[2.0]), slow]);
        assert!(table.contains("(2.00x)"), "{table}");
        assert!(table.contains("FAILED: slow: it fell over"), "{table}");
    }
}
