//! The command line.
//!
//! Owns every argument and its help. Never runs anything.

use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::dialect::Dialect;

/// Measures servers that speak the Pusher Channels protocol.
///
/// A run fails, whatever its figures, if a delivery was lost, doubled or out of order. CPU time is what the scheduler
/// counted for all threads and children of the server, so the server must run on this machine for it to be shown.
#[derive(Debug, Parser)]
#[command(name = "campanile-bench", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run one scenario against a server that runs already
    Run(RunArgs),
    /// Start servers in turn, run one scenario against each for several rounds, and compare the medians
    #[command(after_long_help = COMPARE_EXAMPLES)]
    Compare(CompareArgs),
    /// Measure a bare TCP echo at a rate: what this machine takes before any server does anything
    Floor(FloorArgs),
    /// Make the certificate that a server of `run ... idle --tls` shows
    Certificate {
        /// Where cert.pem and key.pem are put, unless they are there
        folder: PathBuf,
    },
}

const COMPARE_EXAMPLES: &str = "\
Example:
  campanile-bench compare \\
    --peer campanile=peers/campanile/start.sh \\
    --peer soketi=peers/soketi/start.sh --rounds 5 --server-core 0 --load-core 1 \\
    --json fanout.json --plot fanout.svg fanout --subscribers 1000

Each command is run by sh with PORT in its environment, and listens on 127.0.0.1. The first peer is what the others are
compared with. Pinning server and load to one core each keeps them from taking turns on the same one.";

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The server's port on 127.0.0.1
    #[arg(long, default_value_t = 6001)]
    pub(crate) port: u16,
    /// Run this tool on this core only
    #[arg(long, value_name = "CORE")]
    pub(crate) load_core: Option<usize>,
    /// What the server speaks
    #[arg(long, value_enum, default_value_t)]
    pub(crate) dialect: Dialect,
    /// Print the figures as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) app: AppArgs,
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
}

#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// A server: its name and the command that runs it
    #[arg(long = "peer", value_name = "NAME=COMMAND", required = true, value_parser = peer)]
    pub(crate) peers: Vec<(String, String)>,
    /// What a server speaks that does not speak the Pusher protocol: pusher, socket.io or laravel-echo-server
    #[arg(long = "dialect", value_name = "NAME=DIALECT", value_parser = peer_dialect)]
    pub(crate) dialects: Vec<(String, Dialect)>,
    /// How many times each server is measured
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// The port for every server, one after another
    #[arg(long, default_value_t = 6101)]
    pub(crate) port: u16,
    /// Run each server on this core only
    #[arg(long, value_name = "CORE")]
    pub(crate) server_core: Option<usize>,
    /// Run this tool on this core only
    #[arg(long, value_name = "CORE")]
    pub(crate) load_core: Option<usize>,
    /// Write every run's figures here
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Draw a figure's medians and spreads here (SVG); of `article`, the CPU by number of users
    #[arg(long, value_name = "FILE")]
    pub(crate) plot: Option<PathBuf>,
    /// Which figure to draw
    #[arg(long, value_name = "FIGURE", default_value = "server_cpu", requires = "plot")]
    pub(crate) figure: String,
    /// The plot's title
    #[arg(long, value_name = "TEXT", requires = "plot")]
    pub(crate) title: Option<String>,
    #[command(flatten)]
    pub(crate) app: AppArgs,
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
}

#[derive(Debug, Args)]
pub(crate) struct FloorArgs {
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..1_000_000))]
    pub(crate) messages: u32,
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) per_second: u32,
    /// Bytes of each message
    #[arg(long, default_value_t = 1400, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=16_384))]
    pub(crate) bytes: usize,
    /// Run what answers on this core only
    #[arg(long, value_name = "CORE")]
    pub(crate) server_core: Option<usize>,
    /// Run what asks on this core only
    #[arg(long, value_name = "CORE")]
    pub(crate) load_core: Option<usize>,
}

fn peer(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, command)) if !name.is_empty() && !command.is_empty() => Ok((name.to_owned(), command.to_owned())),
        _ => Err("expected a name, = and a command, as in soketi=./start-soketi.sh".to_owned()),
    }
}

fn peer_dialect(text: &str) -> Result<(String, Dialect), String> {
    let (name, dialect) = text.split_once('=').ok_or("expected a server's name, = and a dialect")?;
    Ok((name.to_owned(), Dialect::from_str(dialect, false)?))
}

/// As whom to publish and subscribe.
#[derive(Debug, Args)]
#[command(next_help_heading = "App")]
pub(crate) struct AppArgs {
    #[arg(long, default_value = "app-id", value_name = "ID")]
    pub(crate) app_id: String,
    #[arg(long, default_value = "app-key")]
    pub(crate) key: String,
    #[arg(long, default_value = "app-secret")]
    pub(crate) secret: String,
}

/// What is measured.
#[derive(Debug, Subcommand)]
pub(crate) enum Scenario {
    /// What a connection costs that does nothing: memory and CPU of the server for each, and how fast they connect
    Idle(IdleArgs),
    /// What a delivery costs when all subscribe to one channel: server CPU and latency for each
    Fanout(FanoutArgs),
    /// What a notification to one user costs, from its signed request on: server CPU and latency for each
    Unicast(UnicastArgs),
    /// What a client event costs between two clients of a private channel, without the HTTP API
    ClientEvents(ClientEventsArgs),
    /// What coming and going costs in a presence channel; whoever is there must hear of each exactly once
    Presence(PresenceArgs),
    /// What subscribers who never read cost the others: latency with and without them, and the server's memory
    Slow(SlowArgs),
    /// How long it takes until all who were cut off are back, and what latency those have meanwhile who stayed
    Storm(StormArgs),
    /// What a publisher that repeats one event as fast as it can costs the others: one must arrive, and their latency hold
    Loop(LoopArgs),
    /// How CPU, latency and memory grow with users (5,000, 8,000, 10,000), at ten times a SaaS's rate of notifications
    Article(ArticleArgs),
    /// How many seconds a SaaS's day takes: 50,000 users, 2,000,000 notifications, as fast as it goes
    Day(DayArgs),
}

impl Scenario {
    /// The folder of the certificate that the server shows, if clients encrypt.
    pub(crate) fn tls(&self) -> Option<&Path> {
        match self {
            Self::Idle(args) => args.tls.as_deref(),
            _ => None,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct IdleArgs {
    #[arg(long, default_value_t = 15_000)]
    pub(crate) connections: usize,
    /// How long they do nothing
    #[arg(long, default_value_t = 10)]
    pub(crate) seconds: u64,
    /// Encrypt; the server shows cert.pem of this folder. `compare` makes it and sets TLS_CERT_FILE and TLS_KEY_FILE
    #[arg(long, value_name = "FOLDER")]
    pub(crate) tls: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct FanoutArgs {
    #[arg(long, default_value_t = 1000)]
    pub(crate) subscribers: usize,
    /// Bytes of each event's data
    #[arg(long, default_value_t = 1200)]
    pub(crate) bytes: usize,
    #[arg(long, default_value_t = 640)]
    pub(crate) publications: u64,
    /// So many publications at once; the next come when all have arrived
    #[arg(long, default_value_t = 1)]
    pub(crate) in_flight: usize,
    /// Publish at this rate instead, whether or not the last has arrived
    #[arg(long, value_name = "N", conflicts_with = "in_flight")]
    pub(crate) per_second: Option<u32>,
    /// Offer permessage-deflate, and give up on a server that does not take it
    #[arg(long)]
    pub(crate) compress: bool,
}

#[derive(Debug, Args)]
pub(crate) struct UnicastArgs {
    #[arg(long, default_value_t = 1000)]
    pub(crate) users: usize,
    /// Bytes of each event's data
    #[arg(long, default_value_t = 1200)]
    pub(crate) bytes: usize,
    #[arg(long, default_value_t = 60_000)]
    pub(crate) notifications: u64,
    /// Keep-alive connections that publish, each waiting for its answer
    #[arg(long, default_value_t = 8)]
    pub(crate) publishers: usize,
    /// Notifications in one request
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10))]
    pub(crate) batch: u64,
    /// Publish at this rate instead of as fast as it goes
    #[arg(long, value_name = "N")]
    pub(crate) per_second: Option<u32>,
    /// Spin instead of sleeping, so that no latency is this tool's waking up; needs a core of its own
    #[arg(long, requires = "per_second")]
    pub(crate) spin: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ClientEventsArgs {
    /// Private channels, each with two clients
    #[arg(long, default_value_t = 500)]
    pub(crate) pairs: usize,
    #[arg(long, default_value_t = 200)]
    pub(crate) bytes: usize,
    /// Events that each pair's first client sends
    #[arg(long, default_value_t = 100)]
    pub(crate) events: u64,
}

#[derive(Debug, Args)]
pub(crate) struct PresenceArgs {
    /// Members who are there all the time
    #[arg(long, default_value_t = 100)]
    pub(crate) observers: usize,
    /// Members who come and go
    #[arg(long, default_value_t = 50)]
    pub(crate) visitors: usize,
    /// How often each comes and goes
    #[arg(long, default_value_t = 20)]
    pub(crate) visits: usize,
}

#[derive(Debug, Args)]
pub(crate) struct SlowArgs {
    #[arg(long, default_value_t = 1000)]
    pub(crate) subscribers: usize,
    /// How many of them never read, in percent
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=90))]
    pub(crate) stalled_percent: u64,
    #[arg(long, default_value_t = 8192)]
    pub(crate) bytes: usize,
    #[arg(long, default_value_t = 50)]
    pub(crate) per_second: u32,
    /// How often both are measured, one after the other: all read, and some do not
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) pairs: u32,
    /// How long each half of a pair takes: long enough to fill the kernel's buffers, about 4.5 MB a connection, first
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,
}

#[derive(Debug, Args)]
pub(crate) struct StormArgs {
    /// Clients that are cut off
    #[arg(long, default_value_t = 15_000)]
    pub(crate) connections: usize,
    /// Clients that stay
    #[arg(long, default_value_t = 100)]
    pub(crate) established: usize,
    /// Publications a second to those who stay
    #[arg(long, default_value_t = 100)]
    pub(crate) per_second: u32,
}

#[derive(Debug, Args)]
pub(crate) struct LoopArgs {
    /// How often it is sent
    #[arg(long, default_value_t = 500_000, value_parser = clap::value_parser!(u64).range(2..))]
    pub(crate) events: u64,
    /// Keep-alive connections of the publisher that loops
    #[arg(long, default_value_t = 16, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1024))]
    pub(crate) publishers: usize,
    /// Users with other channels
    #[arg(long, default_value_t = 100, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub(crate) users: usize,
    /// Notifications a second to them
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) per_second: u32,
    /// How long that is measured before the loop begins
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,
    /// Bytes of each of their events' data
    #[arg(long, default_value_t = 1200)]
    pub(crate) bytes: usize,
}

#[derive(Debug, Args)]
pub(crate) struct ArticleArgs {
    /// How many users are connected, one number after another, each larger than the last
    #[arg(long, value_delimiter = ',', value_name = "N,N...", default_values_t = [5_000, 8_000, 10_000])]
    #[arg(value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub(crate) users: Vec<usize>,
    /// Notifications a second; 2,000,000 a day are 23 on average
    #[arg(long, default_value_t = 230)]
    pub(crate) per_second: u32,
    /// How long each number of users is measured
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) seconds: u64,
    /// Bytes of each event's data
    #[arg(long, default_value_t = 1200)]
    pub(crate) bytes: usize,
}

#[derive(Debug, Args)]
pub(crate) struct DayArgs {
    #[arg(long, default_value_t = 50_000)]
    pub(crate) users: usize,
    /// Users who are connected at the busiest hour
    #[arg(long, default_value_t = 15_000)]
    pub(crate) peak: usize,
    #[arg(long, default_value_t = 2_000_000)]
    pub(crate) notifications: u64,
    #[arg(long, default_value_t = 1200)]
    pub(crate) bytes: usize,
    #[arg(long, default_value_t = 8)]
    pub(crate) publishers: usize,
    /// Notifications in one request
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10))]
    pub(crate) batch: u64,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_peer_is_a_name_and_a_command() {
        assert_eq!(peer("a=b --c=d"), Ok(("a".to_owned(), "b --c=d".to_owned())));
        for wrong in ["a", "=b", "a="] {
            assert!(peer(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_dialect_is_named_for_a_server() {
        assert_eq!(peer_dialect("a=socket.io"), Ok(("a".to_owned(), Dialect::SocketIo)));
        for wrong in ["a", "a=", "a=mqtt"] {
            assert!(peer_dialect(wrong).is_err(), "{wrong}");
        }
    }
}
