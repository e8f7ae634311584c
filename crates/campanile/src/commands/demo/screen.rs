//! What the demo looks like.
//!
//! Owns the block that is drawn over itself on a terminal, the plain lines elsewhere, and how figures are written.
//! Never computes one. The invariant: without a terminal no escape code is written. Next: `mod.rs`.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use crossterm::style::{StyledContent, Stylize};
use crossterm::terminal::{BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate};
use crossterm::{cursor, queue};
use tokio::time::Instant;

use super::ledger::{Counts, Latency};

/// The block needs so much room; with less, plain lines are shown.
const COLUMNS_MIN: u16 = 60;
const ROWS_MIN: u16 = 14;

/// Columns that the block uses at most: longer bars say no more.
const COLUMNS_MAX: u16 = 100;

/// Cells of the progress bar.
const BAR_CELLS: usize = 32;

/// How the demo can be shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum View {
    /// One block, drawn over itself.
    Block {
        /// Columns of the terminal.
        columns: u16,
    },
    /// A line now and then.
    Lines,
}

impl View {
    /// What standard output allows.
    #[must_use]
    pub fn of_stdout() -> Self {
        match crossterm::terminal::size() {
            Ok((columns, rows)) if io::stdout().is_terminal() && columns >= COLUMNS_MIN && rows >= ROWS_MIN => {
                Self::Block { columns: columns.min(COLUMNS_MAX) }
            }
            _ => Self::Lines,
        }
    }
}

/// What the demo is doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    Connecting,
    Shipping,
    Settling,
    Up,
}

impl Phase {
    fn title(self) -> &'static str {
        match self {
            Self::Connecting => "Connecting users",
            Self::Shipping => "Shipping orders",
            Self::Settling => "Waiting for the last orders",
            Self::Up => "Up, one order a second; Ctrl-C ends",
        }
    }
}

/// One moment of the demo.
#[derive(Clone, Debug)]
pub(super) struct Figures {
    pub(super) phase: Phase,
    /// How much of the phase is done, from 0 to 1; none if it has no end.
    pub(super) progress: Option<f64>,
    pub(super) elapsed: Duration,
    pub(super) users: u32,
    pub(super) connected: usize,
    pub(super) reconnected: u64,
    pub(super) gone: usize,
    pub(super) counts: Counts,
    pub(super) latency: Option<Latency>,
    pub(super) orders_per_sec: f64,
    pub(super) bytes_per_sec: f64,
    pub(super) memory: Option<Memory>,
    pub(super) complaint: Option<String>,
}

/// What this process holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    pub(super) resident: u64,
    /// What was added since before the first user, divided by the users; none before there is one.
    pub(super) per_user: Option<u64>,
    /// Whether the server is part of this process, as the users always are.
    pub(super) has_server: bool,
}

/// How a piece of a line is set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Tone {
    Plain,
    Strong,
    Dim,
    Good,
    Bad,
}

/// A line of the block, in pieces.
type Line = Vec<(Tone, String)>;

/// The place where the demo is shown.
pub(super) struct Screen<'a, W> {
    out: &'a mut W,
    view: View,
    drawn: u16,
    last_line: Option<(Instant, Phase)>,
}

impl<'a, W: Write> Screen<'a, W> {
    pub(super) fn new(out: &'a mut W, view: View) -> Self {
        Self { out, view, drawn: 0, last_line: None }
    }

    /// Shows this moment, if it is time to.
    pub(super) fn show(&mut self, figures: &Figures) -> io::Result<()> {
        match self.view {
            View::Block { columns } => self.draw(&block(figures), columns),
            View::Lines => {
                // Once up, nothing much happens, and logs need not grow by it.
                let pause = Duration::from_secs(if figures.phase == Phase::Up { 10 } else { 1 });
                let is_due = self.last_line.is_none_or(|(at, phase)| phase != figures.phase || at.elapsed() >= pause);
                if is_due {
                    self.last_line = Some((Instant::now(), figures.phase));
                    writeln!(self.out, "{}", plain_line(figures))?;
                    self.out.flush()?;
                }
                Ok(())
            }
        }
    }

    /// Writes text that stays, above whatever is drawn next.
    pub(super) fn print(&mut self, text: &str) -> io::Result<()> {
        self.drawn = 0;
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }

    fn draw(&mut self, lines: &[Line], columns: u16) -> io::Result<()> {
        queue!(self.out, BeginSynchronizedUpdate)?;
        if self.drawn > 0 {
            queue!(self.out, cursor::MoveToPreviousLine(self.drawn))?;
        }
        for line in lines {
            for (tone, text) in fitted(line, usize::from(columns) - 1) {
                write!(self.out, "{}", toned(tone, text))?;
            }
            queue!(self.out, Clear(ClearType::UntilNewLine))?;
            writeln!(self.out)?;
        }
        queue!(self.out, Clear(ClearType::FromCursorDown), EndSynchronizedUpdate)?;
        self.drawn = u16::try_from(lines.len()).unwrap_or(u16::MAX);
        self.out.flush()
    }
}

fn toned(tone: Tone, text: String) -> StyledContent<String> {
    match tone {
        Tone::Plain => text.reset(),
        Tone::Strong => text.bold(),
        Tone::Dim => text.dim(),
        Tone::Good => text.green(),
        Tone::Bad => text.red().bold(),
    }
}

/// The pieces that fit into so many columns: a line that wrapped would be drawn over in the wrong place.
fn fitted(line: &Line, columns: usize) -> Line {
    let mut room = columns;
    line.iter()
        .map(|(tone, text)| {
            let piece: String = text.chars().take(room).collect();
            room -= piece.chars().count();
            (*tone, piece)
        })
        .collect()
}

fn block(figures: &Figures) -> Vec<Line> {
    let plain = |text: String| (Tone::Plain, text);
    let dim = |text: String| (Tone::Dim, text);
    let label = |text: &str| (Tone::Dim, format!("  {text:<10}"));
    let bad_unless_0 = |count: u64, what: &str| {
        let tone = if count == 0 { Tone::Good } else { Tone::Bad };
        (tone, format!("   {} {what}", grouped(count)))
    };
    let Counts { shipped, delivered, lost, duplicated, misdelivered, refused, bytes, .. } = figures.counts;

    let mut head = vec![(Tone::Strong, format!("  {}", figures.phase.title()))];
    if let Some(progress) = figures.progress {
        head.push((Tone::Good, format!("   {}", bar(progress))));
        head.push(plain(format!(" {:>3.0} %", progress * 100.0)));
    }
    head.push(dim(format!("   {}", clock(figures.elapsed))));

    let mut users = vec![
        label("users"),
        plain(format!("{} of {} connected", grouped(figures.connected as u64), grouped(figures.users.into()))),
    ];
    if figures.reconnected > 0 {
        users.push((Tone::Bad, format!("   {} reconnected", grouped(figures.reconnected))));
    }
    if figures.gone > 0 {
        users.push((Tone::Bad, format!("   {} turned away", grouped(figures.gone as u64))));
    }
    let mut outcome = vec![label(""), bad_unless_0(lost, "lost"), bad_unless_0(duplicated, "duplicated")];
    outcome[1].1 = outcome[1].1.trim_start().to_owned();
    for (count, what) in [(misdelivered, "at the wrong user"), (refused, "refused")] {
        if count > 0 {
            outcome.push(bad_unless_0(count, what));
        }
    }
    let orders = plain(format!("{} shipped   {} delivered", grouped(shipped), grouped(delivered)));
    let latency = match figures.latency {
        Some(latency) => {
            plain(format!("p50 {}   p99 {}   max {}", micros(latency.p50), micros(latency.p99), micros(latency.max)))
        }
        None => dim("-".to_owned()),
    };
    let mut lines = vec![
        vec![],
        head,
        vec![],
        users,
        vec![label("orders"), orders],
        outcome,
        vec![label("latency"), latency],
        vec![label(""), dim("from the HTTP request to the user's socket".to_owned())],
        vec![
            label("rate"),
            plain(format!(
                "{}/s   {}/s   {} in all",
                counted(figures.orders_per_sec.round() as u64, "order"),
                size(figures.bytes_per_sec as u64),
                size(bytes)
            )),
        ],
    ];
    if let Some(memory) = figures.memory {
        let per_user = memory.per_user.map_or_else(String::new, |bytes| format!("   {} per user", size(bytes)));
        lines.push(vec![label("memory"), plain(format!("{} resident{per_user}", size(memory.resident)))]);
        lines.push(vec![label(""), dim(memory.explanation().to_owned())]);
    }
    if let Some(complaint) = &figures.complaint {
        lines.push(vec![label("trouble"), (Tone::Bad, complaint.replace(char::is_control, " "))]);
    }
    lines.push(vec![]);
    lines
}

impl Memory {
    fn explanation(self) -> &'static str {
        match self.has_server {
            true => "this process: the server and both ends of every connection",
            false => "this process: the simulated users alone, the server is another one",
        }
    }
}

fn plain_line(figures: &Figures) -> String {
    let counts = figures.counts;
    let mut line = format!(
        "{} {}: {}/{} users, {} shipped, {} delivered, {} lost, {} duplicated",
        clock(figures.elapsed),
        figures.phase.title(),
        figures.connected,
        figures.users,
        counts.shipped,
        counts.delivered,
        counts.lost,
        counts.duplicated
    );
    for (count, what) in [
        (counts.misdelivered, "at the wrong user"),
        (counts.refused, "refused"),
        (figures.reconnected, "reconnected"),
        (figures.gone as u64, "turned away"),
    ] {
        if count > 0 {
            line.push_str(&format!(", {count} {what}"));
        }
    }
    if let Some(latency) = figures.latency {
        line.push_str(&format!(", p50 {}, p99 {}", micros(latency.p50), micros(latency.p99)));
    }
    line.push_str(&format!(", {:.0} orders/s", figures.orders_per_sec));
    if let Some(memory) = figures.memory {
        line.push_str(&format!(", {} resident", size(memory.resident)));
    }
    if let Some(complaint) = &figures.complaint {
        line.push_str(&format!(" ({})", complaint.replace(char::is_control, " ")));
    }
    line
}

/// What to say of the whole once the traffic is over.
pub(super) fn summary(figures: &Figures, shipping: Duration) -> String {
    let counts = figures.counts;
    let mut text = format!(
        "  {} to {} in {:.1} s:{}.\n",
        counted(counts.shipped, "order"),
        counted(figures.connected as u64, "user"),
        shipping.as_secs_f64(),
        outcome(counts)
    );
    if counts.shipped == 0 {
        return text;
    }
    if let Some(latency) = figures.latency {
        text.push_str(&format!(
            "  Half within {}, 99 of 100 within {}, from request to user's socket.\n",
            micros(latency.p50),
            micros(latency.p99)
        ));
    }
    text
}

/// The totals, for the last lines of all. Begins a line of its own, behind whatever a terminal shows of Ctrl-C.
pub(super) fn farewell(figures: &Figures) -> String {
    let counts = figures.counts;
    format!(
        "\n  Ended after {}, with {} in all:{}.\n",
        clock(figures.elapsed),
        counted(counts.shipped, "order"),
        outcome(counts)
    )
}

/// What became of the orders, to be written behind a colon; if anything went wrong, on a line of its own.
fn outcome(counts: Counts) -> String {
    if counts.shipped == 0 {
        return " nothing was shipped".to_owned();
    }
    if counts.are_clean() && counts.under_way == 0 {
        return " every one arrived, once".to_owned();
    }
    let mut text = format!("\n  {} delivered", grouped(counts.delivered));
    for (count, what) in [
        (counts.lost, "lost"),
        (counts.duplicated, "duplicated"),
        (counts.misdelivered, "at the wrong user"),
        (counts.refused, "refused"),
        (counts.under_way, "still under way"),
    ] {
        if count > 0 {
            text.push_str(&format!(", {} {what}", grouped(count)));
        }
    }
    text
}

/// `1 user`, `300 users`
pub(super) fn counted(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

/// `████░░░░`
fn bar(progress: f64) -> String {
    let full = (progress.clamp(0.0, 1.0) * BAR_CELLS as f64).floor() as usize;
    format!("{}{}", "█".repeat(full), "░".repeat(BAR_CELLS - full))
}

/// `12 345 678`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// `0.41 ms`, `12.3 ms`, `1.20 s`
fn micros(micros: u64) -> String {
    let ms = micros as f64 / 1000.0;
    match micros {
        0..10_000 => format!("{ms:.2} ms"),
        10_000..1_000_000 => format!("{ms:.1} ms"),
        _ => format!("{:.2} s", ms / 1000.0),
    }
}

/// `900 B`, `1.4 kB`, `12.0 MB`: powers of 1000, as network rates are counted.
fn size(bytes: u64) -> String {
    let count = bytes as f64;
    match bytes {
        0..1000 => format!("{bytes} B"),
        1000..1_000_000 => format!("{:.1} kB", count / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", count / 1e6),
        _ => format!("{:.1} GB", count / 1e9),
    }
}

/// `0:07`, `12:30`, `1:00:00`
fn clock(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
pub(super) fn example() -> Figures {
    Figures {
        phase: Phase::Shipping,
        progress: Some(0.5),
        elapsed: Duration::from_secs(7),
        users: 300,
        connected: 300,
        reconnected: 0,
        gone: 0,
        counts: Counts { shipped: 3010, delivered: 3000, under_way: 10, bytes: 4_200_000, ..Counts::default() },
        latency: Some(Latency { p50: 410, p99: 1320, max: 12_300 }),
        orders_per_sec: 600.4,
        bytes_per_sec: 840_000.0,
        memory: Some(Memory { resident: 48_200_000, per_user: Some(63_000), has_server: true }),
        complaint: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(figures: &Figures) -> String {
        let lines = block(figures).into_iter();
        let lines = lines.map(|line| line.into_iter().map(|(_, text)| text).collect::<String>());
        lines.map(|line| line.trim_end().to_owned() + "\n").collect()
    }

    #[test]
    fn the_block_says_everything_that_was_measured() {
        assert_eq!(
            text(&example()),
            "
  Shipping orders   ████████████████░░░░░░░░░░░░░░░░  50 %   0:07

  users     300 of 300 connected
  orders    3 010 shipped   3 000 delivered
            0 lost   0 duplicated
  latency   p50 0.41 ms   p99 1.32 ms   max 12.3 ms
            from the HTTP request to the user's socket
  rate      600 orders/s   840.0 kB/s   4.2 MB in all
  memory    48.2 MB resident   63.0 kB per user
            this process: the server and both ends of every connection

"
        );
    }

    #[test]
    fn what_went_wrong_is_shown_and_only_then() {
        let mut figures = example();
        figures.counts.refused = 2;
        figures.counts.misdelivered = 1;
        figures.reconnected = 3;
        figures.gone = 4;
        figures.complaint = Some("the server answered 429:\u{1b}[2J slow down".to_owned());
        let shown = text(&figures);
        for part in ["2 refused", "1 at the wrong user", "3 reconnected", "4 turned away", "429: [2J slow down"] {
            assert!(shown.contains(part), "{shown}");
            assert!(!text(&example()).contains(part));
        }
        assert!(!shown.contains('\u{1b}'));
    }

    #[test]
    fn memory_is_never_called_the_servers_when_the_server_is_elsewhere() {
        let mut figures = example();
        figures.memory = Some(Memory { resident: 1, per_user: None, has_server: false });
        assert!(text(&figures).contains("the simulated users alone"));
    }

    #[test]
    fn a_line_fits_at_the_bound_and_is_cut_one_past_it() {
        let line = vec![(Tone::Plain, "ab".to_owned()), (Tone::Bad, "█d".to_owned())];
        assert_eq!(fitted(&line, 4), line);
        assert_eq!(fitted(&line, 3), [(Tone::Plain, "ab".to_owned()), (Tone::Bad, "█".to_owned())]);
    }

    #[test]
    fn without_a_terminal_there_is_no_escape_code() {
        let mut out = Vec::new();
        let mut screen = Screen::new(&mut out, View::Lines);
        screen.show(&example()).unwrap();
        screen.show(&example()).unwrap();
        let shown = String::from_utf8(out).unwrap();
        assert_eq!(
            shown,
            "0:07 Shipping orders: 300/300 users, 3010 shipped, 3000 delivered, 0 lost, 0 duplicated, \
             p50 0.41 ms, p99 1.32 ms, 600 orders/s, 48.2 MB resident\n"
        );
    }

    #[test]
    fn the_block_is_drawn_over_itself() {
        let mut out = Vec::new();
        let mut screen = Screen::new(&mut out, View::Block { columns: 80 });
        screen.show(&example()).unwrap();
        screen.show(&example()).unwrap();
        let shown = String::from_utf8(out).unwrap();
        let lines = block(&example()).len();
        assert_eq!(shown.matches(&format!("\u{1b}[{lines}F")).count(), 1);
    }

    #[test]
    fn the_summary_claims_no_more_than_the_books() {
        let mut figures = example();
        let told = |figures: &Figures| summary(figures, Duration::from_secs(10));
        assert!(!told(&figures).contains("every one arrived"), "ten are still on their way");
        (figures.counts.delivered, figures.counts.under_way) = (figures.counts.shipped, 0);
        assert!(told(&figures).starts_with("  3 010 orders to 300 users in 10.0 s: every one arrived, once.\n"));
        figures.counts.duplicated = 1;
        assert!(told(&figures).contains("10.0 s:\n  3 010 delivered, 1 duplicated.\n"));
        figures.counts = Counts::default();
        assert!(told(&figures).contains("nothing was shipped"));
    }

    #[test]
    fn the_last_lines_have_the_totals_and_fit_into_eighty_columns() {
        let mut figures = example();
        assert_eq!(
            farewell(&figures),
            "\n  Ended after 0:07, with 3 010 orders in all:\n  3 000 delivered, 10 still under way.\n"
        );
        (figures.counts.delivered, figures.counts.under_way) = (figures.counts.shipped, 0);
        assert_eq!(farewell(&figures), "\n  Ended after 0:07, with 3 010 orders in all: every one arrived, once.\n");
        let many = 999_999;
        figures.counts =
            Counts { shipped: 2 * many, delivered: many, lost: many, duplicated: many, ..Counts::default() };
        figures.elapsed = Duration::from_secs(100 * 3600);
        let text = farewell(&figures);
        assert!(text.lines().all(|line| line.chars().count() < 80), "{text}");
        figures.counts = Counts::default();
        assert!(farewell(&figures).contains("nothing was shipped"));
    }

    #[test]
    fn figures_are_written_for_people() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1 000", "1 234 567"]);
        assert_eq!(
            [9, 9999, 10_000, 999_999, 1_000_000].map(micros),
            ["0.01 ms", "10.00 ms", "10.0 ms", "1000.0 ms", "1.00 s"]
        );
        assert_eq!([999, 1000, 1_500_000, 2_000_000_000].map(size), ["999 B", "1.0 kB", "1.5 MB", "2.0 GB"]);
        assert_eq!([7, 750, 3600].map(|seconds| clock(Duration::from_secs(seconds))), ["0:07", "12:30", "1:00:00"]);
        assert_eq!(bar(0.0), "░".repeat(BAR_CELLS));
        assert_eq!(bar(1.5), "█".repeat(BAR_CELLS));
    }
}
