//! A drawing that reads well on light and on dark pages.
//!
//! Owns the SVG text: shapes, words and the two sets of colours. Never knows what is drawn (`plot.rs` does). The
//! invariant: the drawing brings its own background, so that its words are legible wherever it is shown.

use std::fmt::Write as _;

/// The reader's system decides between the two; a page cannot.
const STYLE: &str = "\
text{font-family:system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;fill:var(--ink)}\
.soft{fill:var(--soft)}.alarm{fill:var(--alarm)}.title{font-weight:600}.strong{font-weight:600}\
.paper{fill:var(--paper)}.grid{stroke:var(--grid)}.axis{stroke:var(--soft)}.warn{stroke:var(--alarm)}\
.f0{fill:var(--c0)}.f1{fill:var(--c1)}.f2{fill:var(--c2)}.f3{fill:var(--c3)}.f4{fill:var(--c4)}\
.s0{stroke:var(--c0)}.s1{stroke:var(--c1)}.s2{stroke:var(--c2)}.s3{stroke:var(--c3)}.s4{stroke:var(--c4)}\
svg{--paper:#fff;--ink:#1f2933;--soft:#5f6c7b;--grid:#e4e8ec;--alarm:#c62828;\
--c0:#00796b;--c1:#5c6bc0;--c2:#c77700;--c3:#8e4a9e;--c4:#78909c}\
@media(prefers-color-scheme:dark){svg{--paper:#0d1117;--ink:#e6edf3;--soft:#9aa7b4;--grid:#232b35;--alarm:#ff7b72;\
--c0:#2dd4bf;--c1:#9fa8ff;--c2:#f0b34a;--c3:#d59be6;--c4:#90a4ae}}";

/// How many servers have a colour of their own; further ones share the last.
const COLOURS: usize = 5;

/// The class that fills with a server's colour.
pub(crate) fn fill(place: usize) -> String {
    format!("f{}", place.min(COLOURS - 1))
}

/// The class that strokes with a server's colour.
pub(crate) fn stroke(place: usize) -> String {
    format!("s{}", place.min(COLOURS - 1))
}

/// Where a text begins or ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// What has been drawn so far.
#[derive(Debug)]
pub(crate) struct Drawing {
    width: f64,
    height: f64,
    body: String,
}

impl Drawing {
    pub(crate) fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    pub(crate) fn rect(&mut self, class: &str, (x, y): (f64, f64), (width, height): (f64, f64)) {
        self.put(&format!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"2\"/>"
        ));
    }

    pub(crate) fn line(&mut self, class: &str, stroke_width: f64, points: &[(f64, f64)]) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        self.put(&format!(
            "<polyline class=\"{class}\" fill=\"none\" stroke-width=\"{stroke_width}\" stroke-linejoin=\"round\" \
             stroke-linecap=\"round\" points=\"{}\"/>",
            points.join(" ")
        ));
    }

    pub(crate) fn dot(&mut self, class: &str, (x, y): (f64, f64), radius: f64) {
        self.put(&format!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\"/>"));
    }

    pub(crate) fn ring(&mut self, class: &str, (x, y): (f64, f64), radius: f64) {
        self.put(&format!(
            "<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"none\" stroke-width=\"2.5\"/>"
        ));
    }

    /// A line of text; `y` is its baseline.
    pub(crate) fn text(&mut self, class: &str, size: f64, anchor: Anchor, (x, y): (f64, f64), text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        self.put(&format!(
            "<text class=\"{class}\" font-size=\"{size}\" text-anchor=\"{anchor}\" x=\"{x:.1}\" y=\"{y:.1}\">{}</text>",
            escape(text)
        ));
    }

    fn put(&mut self, element: &str) {
        self.body.push_str(element);
        self.body.push('\n');
    }

    /// The whole file. What it shows is also said to those who cannot see it.
    pub(crate) fn finish(self, description: &str) -> String {
        let Self { width, height, body } = self;
        let mut out = String::new();
        let _ = write!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" role=\"img\">\n<title>{}</title>\n<style>{STYLE}</style>\n\
             <rect class=\"paper\" width=\"{width}\" height=\"{height}\" rx=\"8\"/>\n{body}</svg>\n",
            escape(description)
        );
        out
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_cannot_become_markup() {
        let mut drawing = Drawing::new(10.0, 10.0);
        drawing.text("soft", 12.0, Anchor::Start, (0.0, 0.0), "a<b & \"c\"");
        let svg = drawing.finish("</title>");
        assert!(svg.contains(">a&lt;b &amp; &quot;c&quot;</text>"), "{svg}");
        assert!(svg.contains("<title>&lt;/title&gt;</title>"), "{svg}");
    }

    #[test]
    fn every_colour_that_a_class_uses_is_known_in_both_sets() {
        let (light, dark) = STYLE.split_once("@media").unwrap();
        for used in light.split("var(").skip(1).filter_map(|rest| rest.split(')').next()) {
            assert!(light.contains(&format!("{used}:#")) && dark.contains(&format!("{used}:#")), "{used}");
        }
        for place in [0, COLOURS - 1, COLOURS] {
            assert!(light.contains(&format!(".{}{{", fill(place))) && light.contains(&format!(".{}{{", stroke(place))));
        }
    }
}
