//! A picture of a comparison.
//!
//! Owns the drawing: one bar per server, its median, and a line from the least to the most that was measured. The
//! invariant: bars begin at zero.

use std::io;
use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::compare::{Peer, Spread};
use crate::report::number;

const WIDTH: u32 = 760;
const BAR: u32 = 52;
const TOP: i32 = 56;
const LEFT: i32 = 170;
const RIGHT: i32 = 110;
const INK: RGBColor = RGBColor(38, 50, 56);
const OURS: RGBColor = RGBColor(0, 121, 107);
const OTHERS: RGBColor = RGBColor(144, 164, 174);

/// Draws one figure of every server.
pub(crate) fn bars(path: &Path, title: &str, figure: &str, peers: &[Peer]) -> io::Result<()> {
    let bars: Vec<(&str, Spread)> =
        peers.iter().filter_map(|peer| Some((peer.name.as_str(), peer.spread(figure)?))).collect();
    let unit = peers.iter().flat_map(|peer| &peer.runs).flat_map(|run| &run.figures).find(|one| one.name == figure);
    let Some(unit) = unit.map(|figure| figure.unit) else {
        return Err(io::Error::other(format!("no run has a figure {figure}")));
    };
    draw(path, title, unit, &bars).map_err(|error| io::Error::other(error.to_string()))
}

fn draw(path: &Path, title: &str, unit: &str, bars: &[(&str, Spread)]) -> Result<(), Box<dyn std::error::Error>> {
    let height = TOP.unsigned_abs() + BAR * u32::try_from(bars.len())? + 16;
    let area = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
    area.fill(&WHITE)?;
    let text = |size: i32| ("sans-serif", size).into_font().color(&INK);
    area.draw_text(title, &text(18), (16, 12))?;
    area.draw_text(unit, &text(13), (16, 34))?;
    let most = bars.iter().map(|(_, spread)| spread.most).fold(f64::MIN_POSITIVE, f64::max);
    let room = f64::from(i32::try_from(WIDTH)? - LEFT - RIGHT);
    let x = |value: f64| LEFT + (value / most * room).round() as i32;
    for (place, (name, spread)) in bars.iter().enumerate() {
        let top = TOP + i32::try_from(BAR)? * i32::try_from(place)?;
        let (bottom, middle) = (top + 34, top + 17);
        let colour = if place == 0 { OURS } else { OTHERS };
        area.draw(&Rectangle::new([(LEFT, top), (x(spread.median).max(LEFT + 1), bottom)], colour.filled()))?;
        let thin = INK.stroke_width(2);
        area.draw(&PathElement::new(vec![(x(spread.least), middle), (x(spread.most), middle)], thin))?;
        let name_style = text(15).pos(Pos::new(HPos::Right, VPos::Center));
        area.draw_text(name, &name_style, (LEFT - 10, middle))?;
        let value_style = text(15).pos(Pos::new(HPos::Left, VPos::Center));
        area.draw_text(&number(spread.median), &value_style, (x(spread.most).max(x(spread.median)) + 10, middle))?;
    }
    area.present()?;
    Ok(())
}
