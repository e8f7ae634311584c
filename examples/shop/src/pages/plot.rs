//! Figures as SVG, in the page's own colours.

use maud::{Markup, html};

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 28.0;
/// Parts into which the upward axis is divided.
const STEPS: u64 = 4;

/// A line of a plot: a value for each second.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub(super) class: &'static str,
    pub(super) values: &'a [u64],
}

/// Lines over seconds.
pub(super) fn lines(label: &str, lines: &[Line<'_>]) -> Markup {
    let seconds = lines.iter().map(|line| line.values.len()).max().unwrap_or(0);
    let highest = lines.iter().flat_map(|line| line.values).copied().max().unwrap_or(0);
    let top = rounded_up(highest);
    let x = |second: usize| LEFT + (WIDTH - LEFT - RIGHT) * fraction(second as u64, seconds.saturating_sub(1) as u64);
    let y = |value: u64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * fraction(value, top);
    let points = |values: &[u64]| {
        let points = values.iter().enumerate().map(|(second, value)| format!("{:.1},{:.1}", x(second), y(*value)));
        points.collect::<Vec<_>>().join(" ")
    };
    let every = if seconds > 30 { 10 } else { 5 };
    html! {
        svg.plot viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(label) {
            @for step in 0..=STEPS {
                @let value = top * step / STEPS;
                line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(y(value)) y2=(y(value)) {}
                text.tick x=(LEFT - 8.0) y=(y(value) + 4.0) text-anchor="end" { (value) }
            }
            @for second in (0..seconds).filter(|second| (second + 1) % every == 0 || *second == 0) {
                text.tick x=(x(second)) y=(HEIGHT - 8.0) text-anchor="middle" { (second + 1) " s" }
            }
            @for line in lines {
                polyline class={ "line " (line.class) } points=(points(line.values)) {}
            }
        }
    }
}

/// A small histogram.
pub(super) fn bars(counts: &[u64]) -> Markup {
    let highest = counts.iter().copied().max().unwrap_or(0);
    html! {
        svg.bars viewBox={ "0 0 " (counts.len() * 10) " 28" } aria-hidden="true" {
            @for (at, count) in counts.iter().enumerate() {
                // One among thousands is still to be seen.
                @let height = if *count == 0 { 1.0 } else { 3.0 + 24.0 * fraction(*count, highest) };
                rect.empty[*count == 0] x=(at * 10) width="8" y=(28.0 - height) height=(height) rx="1" {}
            }
        }
    }
}

fn fraction(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// The next number that divides into round steps.
fn rounded_up(value: u64) -> u64 {
    const ROUND: [u64; 10] = [10, 12, 15, 20, 25, 30, 40, 50, 60, 80];
    let step = value.div_ceil(STEPS).max(1);
    if step < ROUND[0] {
        return STEPS * step;
    }
    let mut unit = 1;
    loop {
        if let Some(round) = ROUND.iter().find(|round| *round * unit >= step) {
            return STEPS * round * unit;
        }
        unit *= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_axis_ends_at_a_round_number_that_holds_the_highest_value() {
        for (value, top) in
            [(0, 4), (4, 4), (5, 8), (40, 40), (41, 48), (201, 240), (480, 480), (481, 600), (3201, 4000)]
        {
            assert_eq!(rounded_up(value), top, "{value}");
        }
    }
}
