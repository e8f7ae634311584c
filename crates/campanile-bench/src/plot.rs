//! A picture of a comparison.
//!
//! Owns the two drawings: bars for one figure, and lines for a figure that was measured at several numbers of users.
//! Both show the median, and a thin line from the least to the most. Never measures. The invariant: axes begin at zero.
//! Read on in `svg.rs`.

use std::fs;
use std::io;
use std::path::Path;

use crate::compare::{Peer, Spread};
use crate::report::number;
use crate::scenario::at;
use crate::svg::{Anchor, Drawing, fill, stroke};

const WIDTH: f64 = 760.0;

/// Draws one figure of every server.
pub(crate) fn bars(path: &Path, title: &str, figure: &str, peers: &[Peer]) -> io::Result<()> {
    const TOP: f64 = 76.0;
    const LEFT: f64 = 170.0;
    const RIGHT: f64 = 110.0;
    const EACH: f64 = 48.0;
    const THICK: f64 = 30.0;
    let bars: Vec<(&str, Spread)> =
        peers.iter().filter_map(|peer| Some((peer.name.as_str(), peer.spread(figure)?))).collect();
    let unit = peers.iter().flat_map(|peer| &peer.runs).flat_map(|run| &run.figures).find(|one| one.name == figure);
    let Some(unit) = unit.map(|figure| figure.unit) else {
        return Err(io::Error::other(format!("no run has a figure {figure}")));
    };
    let mut drawing = Drawing::new(WIDTH, TOP + EACH * bars.len() as f64 + 12.0);
    heading(&mut drawing, title, unit);
    let most = bars.iter().map(|(_, spread)| spread.most).fold(f64::MIN_POSITIVE, f64::max);
    let x = |value: f64| LEFT + value / most * (WIDTH - LEFT - RIGHT);
    for (place, (name, spread)) in bars.iter().enumerate() {
        let top = TOP + EACH * place as f64;
        let middle = top + THICK / 2.0;
        let (least, median, most) = (x(spread.least), x(spread.median), x(spread.most));
        drawing.rect(&fill(place), (LEFT, top), ((median - LEFT).max(1.0), THICK));
        drawing.line("axis", 2.0, &[(least, middle), (most, middle)]);
        drawing.text("", 15.0, Anchor::End, (LEFT - 12.0, middle + 5.0), name);
        drawing.text("strong", 15.0, Anchor::Start, (most.max(median) + 10.0, middle + 5.0), &number(spread.median));
    }
    fs::write(path, drawing.finish(title))
}

/// Draws how much CPU each server takes at each number of users, and where it has dropped some.
pub(crate) fn lines(path: &Path, title: &str, note: &str, users: &[usize], peers: &[Peer]) -> io::Result<()> {
    let lines: Vec<Line<'_>> = peers.iter().enumerate().map(|(place, peer)| Line::of(place, peer, users)).collect();
    let most = lines.iter().flat_map(|line| &line.points).map(|point| point.cpu.most).fold(0.0, f64::max);
    if most == 0.0 {
        return Err(io::Error::other("no run has the CPU at a number of users: do the servers run on this machine?"));
    }
    let frame = Frame::around(users, most);
    let mut drawing = Drawing::new(WIDTH, Frame::HEIGHT);
    heading(&mut drawing, title, note);
    frame.draw(&mut drawing);
    // The first server is drawn last, on top of the others.
    for line in lines.iter().rev() {
        line.draw(&mut drawing, &frame);
    }
    label(&mut drawing, &frame, &lines);
    let dropped = lines.iter().flat_map(|line| &line.points).any(|point| point.dropped > 0.0);
    let legend = if dropped { "ring: connections were dropped, so many" } else { "no server dropped a connection" };
    let below = Frame::HEIGHT - 14.0;
    drawing.text("soft", 12.0, Anchor::End, (WIDTH - 16.0, below), legend);
    // A server that fell over has no line, and must not be missing in silence.
    let broken: Vec<&str> = peers.iter().filter(|peer| !peer.errors.is_empty()).map(|peer| &*peer.name).collect();
    if !broken.is_empty() {
        let text = format!("did not finish every run: {}", broken.join(", "));
        drawing.text("alarm strong", 12.0, Anchor::Start, (16.0, below), &text);
    }
    fs::write(path, drawing.finish(&format!("{title}. {note}")))
}

fn heading(drawing: &mut Drawing, title: &str, note: &str) {
    drawing.text("title", 18.0, Anchor::Start, (16.0, 30.0), title);
    drawing.text("soft", 13.0, Anchor::Start, (16.0, 52.0), note);
}

/// What one server has taken at one number of users.
#[derive(Debug)]
struct Point {
    users: usize,
    cpu: Spread,
    dropped: f64,
}

#[derive(Debug)]
struct Line<'a> {
    place: usize,
    name: &'a str,
    points: Vec<Point>,
}

impl<'a> Line<'a> {
    fn of(place: usize, peer: &'a Peer, users: &[usize]) -> Self {
        let point = |users: &usize| {
            let dropped = peer.spread(&at("dropped", *users)).map_or(0.0, |spread| spread.most);
            Some(Point { users: *users, cpu: peer.spread(&at("cpu", *users))?, dropped })
        };
        Self { place, name: &peer.name, points: users.iter().filter_map(point).collect() }
    }

    fn draw(&self, drawing: &mut Drawing, frame: &Frame) {
        let (fill, stroke) = (fill(self.place), stroke(self.place));
        let at = |point: &Point, cpu: f64| (frame.x(point.users), frame.y(cpu));
        let line: Vec<(f64, f64)> = self.points.iter().map(|point| at(point, point.cpu.median)).collect();
        drawing.line(&stroke, if self.place == 0 { 3.5 } else { 2.5 }, &line);
        for point in &self.points {
            drawing.line(&stroke, 1.5, &[at(point, point.cpu.least), at(point, point.cpu.most)]);
            let middle = at(point, point.cpu.median);
            drawing.dot(&fill, middle, 4.5);
            if point.dropped > 0.0 {
                drawing.ring("warn", middle, 9.0);
                let text = format!("{:.0} dropped", point.dropped);
                drawing.text("alarm strong", 12.0, Anchor::Middle, (middle.0, middle.1 - 16.0), &text);
            }
        }
    }
}

/// Each line's name and last value, to its right, no two on top of each other.
fn label(drawing: &mut Drawing, frame: &Frame, lines: &[Line<'_>]) {
    const APART: f64 = 38.0;
    let mut last: Vec<(&Line<'_>, &Point)> =
        lines.iter().filter_map(|line| Some((line, line.points.last()?))).collect();
    last.sort_by(|(_, one), (_, other)| one.cpu.median.total_cmp(&other.cpu.median));
    // Two lines of text, in the middle of which is the point.
    let mut below = frame.y(0.0) + APART - 16.0;
    for (line, point) in last {
        let y = (frame.y(point.cpu.median) - 2.0).min(below - APART);
        below = y;
        let x = WIDTH - Frame::RIGHT + 18.0;
        drawing.text(&format!("strong {}", fill(line.place)), 14.0, Anchor::Start, (x, y), line.name);
        drawing.text("soft", 13.0, Anchor::Start, (x, y + 16.0), &format!("{} %", number(point.cpu.median)));
    }
}

/// The axes.
#[derive(Debug)]
struct Frame {
    users: Vec<usize>,
    /// The highest line of the grid, in percent of a core.
    top: f64,
    /// The distance between two lines of the grid.
    step: f64,
}

impl Frame {
    const HEIGHT: f64 = 420.0;
    const ABOVE: f64 = 84.0;
    const BELOW: f64 = 66.0;
    const LEFT: f64 = 64.0;
    const RIGHT: f64 = 190.0;

    fn around(users: &[usize], most: f64) -> Self {
        let step = round_step(most / 5.0);
        Self { users: users.to_vec(), top: (most / step).ceil() * step, step }
    }

    fn x(&self, users: usize) -> f64 {
        // Room on both sides, and distances that are true.
        const MARGIN: f64 = 0.06;
        let (first, last) = (self.users[0] as f64, self.users[self.users.len() - 1] as f64);
        let along = if last > first { (users as f64 - first) / (last - first) } else { 0.5 };
        Self::LEFT + (MARGIN + along * (1.0 - 2.0 * MARGIN)) * (WIDTH - Self::LEFT - Self::RIGHT)
    }

    fn y(&self, cpu: f64) -> f64 {
        let room = Self::HEIGHT - Self::ABOVE - Self::BELOW;
        Self::ABOVE + room * (1.0 - cpu / self.top)
    }

    fn draw(&self, drawing: &mut Drawing) {
        let (left, right) = (Self::LEFT, WIDTH - Self::RIGHT);
        for count in 0..=(self.top / self.step).round() as u32 {
            let value = f64::from(count) * self.step;
            let y = self.y(value);
            drawing.line(if count == 0 { "axis" } else { "grid" }, 1.0, &[(left, y), (right, y)]);
            // As many decimals as the step has.
            let decimals = usize::from(self.step < 1.0);
            drawing.text("soft", 12.0, Anchor::End, (left - 8.0, y + 4.0), &format!("{value:.decimals$} %"));
        }
        for users in &self.users {
            let text = format!("{} users", thousands(*users));
            drawing.text("soft", 12.0, Anchor::Middle, (self.x(*users), self.y(0.0) + 22.0), &text);
        }
    }
}

/// The next of 1, 2, 5, 10, 20, 50... (and 0.1, 0.2...) that is not below.
fn round_step(value: f64) -> f64 {
    let power = 10_f64.powf(value.max(f64::MIN_POSITIVE).log10().floor());
    let step = [1.0, 2.0, 5.0].into_iter().map(|step| step * power).find(|step| *step >= value);
    step.unwrap_or(10.0 * power)
}

fn thousands(value: usize) -> String {
    let digits = value.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Report;

    fn peer(name: &str, cpu: [f64; 2], dropped: f64) -> Peer {
        let mut run = Report::default();
        run.add(at("cpu", 5_000), "% of a core", cpu[0]);
        run.add(at("cpu", 10_000), "% of a core", cpu[1]);
        run.add(at("dropped", 10_000), "connections", dropped);
        Peer { name: name.to_owned(), command: String::new(), runs: vec![run], errors: Vec::new() }
    }

    fn drawn(peers: &[Peer]) -> String {
        let file =
            std::env::temp_dir().join(format!("campanile-bench-plot-{}-{}.svg", std::process::id(), peers.len()));
        lines(&file, "CPU", "by users", &[5_000, 10_000], peers).unwrap();
        let svg = fs::read_to_string(&file).unwrap();
        fs::remove_file(file).unwrap();
        svg
    }

    #[test]
    fn dropped_connections_are_marked_and_their_absence_is_said() {
        let clean = drawn(&[peer("ours", [1.0, 2.0], 0.0)]);
        assert!(clean.contains("no server dropped a connection") && !clean.contains("class=\"warn\""), "{clean}");
        let marked = drawn(&[peer("ours", [1.0, 2.0], 0.0), peer("theirs", [40.0, 80.0], 123.0)]);
        assert!(marked.contains("123 dropped") && marked.contains("class=\"warn\""), "{marked}");
    }

    #[test]
    fn a_server_that_did_not_finish_is_named() {
        let mut broken = peer("theirs", [1.0, 2.0], 0.0);
        (broken.runs, broken.errors) = (Vec::new(), vec!["it fell over".to_owned()]);
        let svg = drawn(&[peer("a", [1.0, 1.0], 0.0), peer("b", [1.0, 1.0], 0.0), broken]);
        assert!(svg.contains("did not finish every run: theirs"), "{svg}");
    }

    #[test]
    fn labels_do_not_cover_each_other() {
        let peers: Vec<Peer> = ["a", "b", "c", "d"].map(|name| peer(name, [1.0, 1.0], 0.0)).into();
        let svg = drawn(&peers);
        let labels = svg.lines().filter(|line| line.contains("class=\"strong f"));
        let mut heights: Vec<f64> = labels
            .map(|line| line.split(" y=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
            .collect();
        heights.sort_by(f64::total_cmp);
        assert_eq!(heights.len(), 4);
        assert!(heights.windows(2).all(|two| two[1] - two[0] >= 30.0), "{heights:?}");
    }

    #[test]
    fn steps_are_round() {
        for (value, step) in [(0.03, 0.05), (0.9, 1.0), (1.1, 2.0), (4.0, 5.0), (5.0, 5.0), (7.0, 10.0), (16.0, 20.0)] {
            assert!((round_step(value) - step).abs() < 1e-9, "{value}");
        }
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([999, 1000, 15_000, 1_234_567].map(thousands), ["999", "1,000", "15,000", "1,234,567"]);
    }
}
