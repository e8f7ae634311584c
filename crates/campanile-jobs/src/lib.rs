//! The outbox on the command line.
//!
//! Owns the words of the commands and of what they print. Never delivers anything: a courier does. The invariant: what
//! changes something says how much it has changed. An application that uses clap can have these commands as its own:
//!
//! ```
//! use campanile_jobs::JobsCommand;
//! use clap::Parser;
//!
//! #[derive(Parser)]
//! enum Command {
//!     Serve,
//!     #[command(subcommand)]
//!     Jobs(JobsCommand),
//! }
//!
//! # async fn run(outbox: campanile_broadcast::Outbox) -> Result<(), campanile_jobs::JobsError> {
//! if let Command::Jobs(command) = Command::parse_from(["shop", "jobs", "dead"]) {
//!     command.run(&outbox, &mut std::io::stdout()).await?;
//! }
//! # Ok(()) }
//! ```

use std::io::{self, Write};
use std::time::Duration;

use campanile_broadcast::Outbox;
use campanile_broadcast::outbox::{OutboxError, Selection};
use clap::{Args, Subcommand};

/// Dead letters that are listed, unless another number is given.
pub const DEAD_LISTED_DEFAULT: usize = 50;

/// What to do with an outbox's jobs.
#[derive(Debug, Clone, Subcommand)]
pub enum JobsCommand {
    /// Shows what each queue holds
    Queues,
    /// Lists the dead letters, the latest first
    Dead {
        /// How many at most
        #[arg(long, default_value_t = DEAD_LISTED_DEFAULT)]
        limit: usize,
    },
    /// Makes dead letters jobs again, with all their tries
    Retry(Which),
    /// Forgets dead letters
    Forget(Which),
}

/// Which dead letters are meant.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// The one with this number
    number: Option<i64>,
    /// All of this queue
    #[arg(long)]
    queue: Option<String>,
    /// All
    #[arg(long)]
    all: bool,
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum JobsError {
    /// The outbox could not.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// Nothing was meant.
    #[error("there is no such dead letter")]
    Nothing,
    /// The output is gone.
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
}

impl JobsCommand {
    /// Carries it out, and prints what there is to say.
    ///
    /// # Errors
    ///
    /// When the outbox fails, when `retry` or `forget` finds nothing, or when the output is gone.
    pub async fn run(self, outbox: &Outbox, out: &mut (impl Write + Send)) -> Result<(), JobsError> {
        match self {
            Self::Queues => queues(outbox, out).await,
            Self::Dead { limit } => dead(outbox, limit, out).await,
            Self::Retry(which) => {
                let retried = found(outbox.retry(&which.selection()).await?)?;
                Ok(writeln!(out, "{retried} to be delivered again")?)
            }
            Self::Forget(which) => {
                let forgotten = found(outbox.forget(&which.selection()).await?)?;
                Ok(writeln!(out, "{forgotten} forgotten")?)
            }
        }
    }
}

impl Which {
    fn selection(self) -> Selection {
        match (self.number, self.queue) {
            (Some(number), _) => Selection::One(number),
            (None, Some(queue)) => Selection::Queue(queue),
            (None, None) => Selection::All,
        }
    }
}

fn found(count: u64) -> Result<u64, JobsError> {
    if count == 0 { Err(JobsError::Nothing) } else { Ok(count) }
}

async fn queues(outbox: &Outbox, out: &mut impl Write) -> Result<(), JobsError> {
    let queues = outbox.figures().await?;
    writeln!(
        out,
        "{:<20} {:>8} {:>8} {:>8} {:>8} {:>8} {:>8}",
        "QUEUE", "READY", "LEASED", "WAITING", "RETRYING", "DEAD", "OLDEST"
    )?;
    for (queue, figures) in queues {
        let oldest = figures.oldest.map(seconds).unwrap_or_default();
        writeln!(
            out,
            "{queue:<20} {:>8} {:>8} {:>8} {:>8} {:>8} {oldest:>8}",
            figures.ready, figures.leased, figures.waiting, figures.retrying, figures.dead
        )?;
    }
    Ok(())
}

async fn dead(outbox: &Outbox, limit: usize, out: &mut impl Write) -> Result<(), JobsError> {
    let letters = outbox.dead(limit).await?;
    writeln!(out, "{:>8} {:<20} {:<30} {:>8} {:>8}  ERROR", "NUMBER", "QUEUE", "EVENT", "ATTEMPTS", "AGO")?;
    for letter in letters {
        // An error is whatever a server said, and a terminal takes some of it for orders.
        let error: String = letter.error.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let (number, attempts, ago) = (letter.number, letter.attempts, seconds(letter.dead_for));
        writeln!(out, "{number:>8} {:<20} {:<30} {attempts:>8} {ago:>8}  {error}", letter.queue, letter.event)?;
    }
    Ok(())
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs())
}
