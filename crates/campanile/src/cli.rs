//! The command line: every subcommand, every flag, and the help that explains them.
//!
//! Reads nothing and decides nothing: each subcommand's arguments are a plain struct for the module
//! of the same name in `commands/`. Keep in mind that a flag beats the environment, which beats the
//! file. Next: `commands/` for what each one does, `config/` for the file that most of them read.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// What a shell user sees first.
const LONG_ABOUT: &str = "\
A Pusher Channels server in one binary: laravel-echo, pusher-js and every Pusher server SDK work \
with no change but host, port and keys.

Without a subcommand it serves. Without a configuration file it serves one development app \
(id app-id, key app-key, secret app-secret) on 127.0.0.1:6001, and refuses to do so on any \
address but loopback.";

/// Examples that take a newcomer from nothing to a running server.
const EXAMPLES: &str = "\
Examples:
  campanile                               the development app on 127.0.0.1:6001
  campanile demo                          watch it work: a server and 300 users
  campanile keys new > campanile.toml     make the keys for an app of your own
  campanile check -c campanile.toml       see what the server would run with
  campanile serve -c campanile.toml       serve it

  campanile listen orders                 print what arrives on a channel
  campanile trigger --channel orders --event shipped --data '{\"id\":7}'

Environment:
  CAMPANILE_CONFIG           the configuration file, unless --config is given
  CAMPANILE__LISTEN__PORT    overrides listen.port; so for every setting
  PUSHER_APP_ID/KEY/SECRET   the app, by names that Laravel teams already have
  REVERB_APP_ID/KEY/SECRET   the same of Reverb; also REVERB_SERVER_HOST, _PORT
  NO_COLOR                   set to anything: no colours on a terminal";

/// Columns of the help: what every terminal has. The examples are set by hand to fit.
const COLUMNS: usize = 80;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "campanile",
    version,
    about = "Live notifications you run yourself: a Pusher Channels server in one binary",
    long_about = LONG_ABOUT,
    after_long_help = EXAMPLES,
    after_help = "`campanile --help` has examples; `campanile help <COMMAND>` explains one command.",
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = false,
    term_width = COLUMNS
)]
pub struct Cli {
    /// The subcommand; none means `serve`.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// What `serve` takes, so that `campanile --config F` needs no subcommand.
    #[command(flatten)]
    pub serve: ServeArgs,
}

impl Cli {
    /// The command to run: the one named, or `serve`.
    #[must_use]
    pub fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Serve(self.serve))
    }
}

/// What can be asked of the binary.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server (what happens without a subcommand)
    #[command(after_long_help = SERVE_EXAMPLES)]
    Serve(ServeArgs),

    /// Run a server and a crowd of users, and show what happens
    #[command(after_long_help = DEMO_EXAMPLES)]
    Demo(DemoArgs),

    /// Print the configuration that the server would run with
    #[command(after_long_help = CHECK_EXAMPLES)]
    Check(CheckArgs),

    /// Make application keys
    Keys(KeysArgs),

    /// Publish an event through the HTTP API
    #[command(after_long_help = TRIGGER_EXAMPLES)]
    Trigger(TriggerArgs),

    /// Show what an app has used, and what that would cost elsewhere
    #[command(after_long_help = USAGE_EXAMPLES)]
    Usage(UsageArgs),

    /// Subscribe to channels and print what arrives
    #[command(after_long_help = LISTEN_EXAMPLES)]
    Listen(ListenArgs),

    /// List the webhook events that no endpoint took, or retry them
    #[command(after_long_help = WEBHOOKS_EXAMPLES)]
    Webhooks(WebhooksArgs),

    /// Make the inbox's tables, or bring them up to date
    #[command(after_long_help = MIGRATE_EXAMPLES)]
    Migrate(MigrateArgs),

    /// Copy the inbox into a file, while the server runs or while it is stopped
    #[command(after_long_help = BACKUP_EXAMPLES)]
    Backup(BackupArgs),

    /// Print a completion script for your shell
    #[command(after_long_help = COMPLETIONS_EXAMPLES)]
    Completions(CompletionsArgs),
}

const SERVE_EXAMPLES: &str = "\
Examples:
  campanile serve --config /etc/campanile/campanile.toml
  CAMPANILE__LISTEN__PORT=7000 campanile serve
  PUSHER_APP_ID=1 PUSHER_APP_KEY=k PUSHER_APP_SECRET=s campanile serve

Signals: SIGTERM or SIGINT drains and leaves, a second one leaves at once;
SIGHUP reads the file again (apps, limits, certificate; where to listen needs a
restart).";

const DEMO_EXAMPLES: &str = "\
Examples:
  campanile demo                             300 users, until Ctrl-C
  campanile demo --users 2000 --seconds 30   a larger crowd, for half a minute

The demo binds loopback only and keeps its state in a temporary directory. Each
user takes two open files: `ulimit -n` bounds how many there can be.";

const CHECK_EXAMPLES: &str = "\
Examples:
  campanile check --config campanile.toml    the effective configuration, or
                                             exit code 1 and every problem found
  campanile check                            the development defaults, as TOML

Each value that is not the default is followed by where it came from. No port is
bound.";

const TRIGGER_EXAMPLES: &str = "\
Examples:
  campanile trigger --channel orders --event shipped --data '{\"id\":7}'
  campanile trigger --channel a --channel b --event hello < body.json
  campanile trigger --channel private-a --event e --data '{}' --socket-id 12.34
  campanile trigger --channel '#server-to-user-7' --event ping --data '{}'
  campanile trigger --batch-file batch.json
  campanile trigger -c campanile.toml --app-id shop \\
    --channel orders --event e --data '{}'

Where the server is and who asks are taken, each value by itself, from the first
of: the flag; PUSHER_* or REVERB_* in the environment; the file given with
--config; the development defaults.

A server's certificate must be signed by an authority that the system trusts.
For one that signs itself: SSL_CERT_FILE=cert.pem campanile trigger --tls ..";

const USAGE_EXAMPLES: &str = "\
Examples:
  campanile usage                            the last 24 hours
  campanile usage --by day                   the last 30 days
  campanile usage --from 2026-11 --to 2026-11 --by day --group event
  campanile usage --by month --csv > usage.csv
  campanile usage --json | jq .month.would_cost

Messages are counted as Pusher bills them. Times are of UTC; --from and --to name
an hour (2026-11-24T16), a day or a month, and both are part of it.

Where the server is and who asks are taken as for `campanile trigger`.";

const LISTEN_EXAMPLES: &str = "\
Examples:
  campanile listen orders stock              two public channels
  campanile listen private-orders            signed, as your backend would
  campanile listen presence-room --user-id 7 --user-info '{\"name\":\"Ann\"}'
  campanile listen orders --json --count 1   one event as JSON, then exit

Where the server is and who asks are found as for `campanile trigger`, and so is
whom to trust with --tls.";

const WEBHOOKS_EXAMPLES: &str = "\
Examples:
  campanile webhooks dead --config campanile.toml
  campanile webhooks retry --config campanile.toml --app-id shop

Both read state_dir directly, so they need the server to be stopped; what is put
back is delivered after its next start.";

const MIGRATE_EXAMPLES: &str = "\
Examples:
  campanile migrate --config campanile.toml

Only needed with inbox.migrate = false; otherwise every start does this. With
SQLite the server must be stopped.";

const BACKUP_EXAMPLES: &str = "\
Examples:
  campanile backup --config campanile.toml /backups/inbox-monday.db

The file must not be there yet. To restore: stop the server, put the copy in the
place of campanile.db in state_dir, remove campanile.db-wal and campanile.db-shm,
start the server. Notifications in Postgres are backed up with pg_dump.";

const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  campanile completions bash > /etc/bash_completion.d/campanile
  campanile completions zsh  > ~/.zfunc/_campanile
  campanile completions fish > ~/.config/fish/completions/campanile.fish";

/// Which file to read.
#[derive(Args, Clone, Debug, Default)]
pub struct ConfigArgs {
    /// The configuration file; without it, the environment and development defaults
    #[arg(long, short, value_name = "FILE", env = "CAMPANILE_CONFIG")]
    pub config: Option<PathBuf>,
}

/// `campanile serve`.
#[derive(Args, Clone, Debug, Default)]
pub struct ServeArgs {
    /// Which file to read.
    #[command(flatten)]
    pub file: ConfigArgs,
}

/// `campanile demo`.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// How many users to connect
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=50_000))]
    pub users: u32,

    /// Stop after this many seconds (without it: at Ctrl-C)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub seconds: Option<u64>,

    /// The loopback port to serve on (0 takes a free one)
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub port: u16,
}

/// `campanile check`.
#[derive(Args, Clone, Debug, Default)]
pub struct CheckArgs {
    /// Which file to read.
    #[command(flatten)]
    pub file: ConfigArgs,
}

/// `campanile migrate`.
#[derive(Args, Clone, Debug, Default)]
pub struct MigrateArgs {
    /// Which file to read.
    #[command(flatten)]
    pub file: ConfigArgs,
}

/// `campanile backup`.
#[derive(Args, Clone, Debug)]
pub struct BackupArgs {
    /// Which file to read.
    #[command(flatten)]
    pub file: ConfigArgs,

    /// The file to write, which must not exist
    #[arg(value_name = "FILE")]
    pub to: PathBuf,
}

/// `campanile keys`.
#[derive(Args, Clone, Debug)]
pub struct KeysArgs {
    /// What to do with keys.
    #[command(subcommand)]
    pub command: KeysCommand,
}

/// What can be done with keys.
#[derive(Clone, Debug, Subcommand)]
pub enum KeysCommand {
    /// Make a key and a secret: TOML for the file, lines for Laravel's .env
    #[command(after_long_help = KEYS_EXAMPLES)]
    New(KeysNewArgs),
}

const KEYS_EXAMPLES: &str = "\
Examples:
  campanile keys new > campanile.toml        a file that `serve` takes as it is
  campanile keys new --app-id shop           an app with a name of your own
  campanile keys new --count 3               three apps at once
  campanile keys new --format env >> .env    the lines for a Laravel application

The key is public (20 hex digits), the secret is not (40 hex digits). Both come
from the operating system's random numbers and are printed once, kept nowhere.";

/// `campanile keys new`.
#[derive(Args, Clone, Debug)]
pub struct KeysNewArgs {
    /// The app's id (without it: a random number); with --count, -2, -3 ... are appended
    #[arg(long, value_name = "ID")]
    pub app_id: Option<String>,

    /// How many apps to make
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub count: u16,

    /// What to print
    #[arg(long, value_enum, default_value_t)]
    pub format: KeysFormat,
}

/// What `campanile keys new` prints.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum KeysFormat {
    /// A table for the configuration file, with the .env lines as comments
    #[default]
    Toml,
    /// Only the lines for the .env of a Laravel application
    Env,
}

/// Where a running server is and which app to speak for: shared by `trigger` and `listen`.
///
/// Every value is optional here; the order in which they are looked up elsewhere is told in the
/// long help of both commands.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Server and app")]
pub struct TargetArgs {
    /// Which file to read.
    #[command(flatten)]
    pub file: ConfigArgs,

    /// The server's host name or address [else: PUSHER_HOST, REVERB_HOST, the file, 127.0.0.1]
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,

    /// The server's port [else: PUSHER_PORT, REVERB_PORT, the file, 6001]
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,

    /// Connect with TLS [else: PUSHER_SCHEME or REVERB_SCHEME is https, the file sets tls]
    #[arg(long)]
    pub tls: bool,

    /// The path in front of /app and /apps, where a proxy or `listen.path_prefix` adds one
    #[arg(long, value_name = "PATH")]
    pub path_prefix: Option<String>,

    /// The app's id [else: PUSHER_APP_ID, REVERB_APP_ID, the file's only app, app-id]
    #[arg(long, value_name = "ID")]
    pub app_id: Option<String>,

    /// The app's key [else: PUSHER_APP_KEY, REVERB_APP_KEY, the file, app-key]
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,

    /// The app's secret; other users of this machine can see a command line, so prefer the
    /// environment [else: PUSHER_APP_SECRET, REVERB_APP_SECRET, the file, app-secret]
    #[arg(long, value_name = "SECRET")]
    pub secret: Option<String>,
}

/// `campanile trigger`.
#[derive(Args, Clone, Debug, Default)]
pub struct TriggerArgs {
    /// A channel to publish to; repeat it for several
    #[arg(long = "channel", value_name = "CHANNEL", required_unless_present = "batch_file")]
    pub channels: Vec<String>,

    /// The event's name
    #[arg(long, value_name = "NAME", required_unless_present = "batch_file")]
    pub event: Option<String>,

    /// The event's data, JSON as a rule, sent exactly as written (without it: read from standard input)
    #[arg(long, value_name = "TEXT")]
    pub data: Option<String>,

    /// The connection that must not receive the event
    #[arg(long, value_name = "SOCKET_ID")]
    pub socket_id: Option<String>,

    /// Channel attributes to ask for in the reply: user_count, subscription_count
    #[arg(long, value_name = "ATTRIBUTES", value_delimiter = ',')]
    pub info: Vec<String>,

    /// Publish a batch: a JSON file that holds {"batch":[{"channel":..,"name":..,"data":..}]} or
    /// only the array; - reads standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["channels", "event", "data", "socket_id", "info"])]
    pub batch_file: Option<PathBuf>,

    /// Where to publish, and as whom.
    #[command(flatten)]
    pub target: TargetArgs,
}

/// `campanile usage`.
#[derive(Args, Clone, Debug, Default)]
pub struct UsageArgs {
    /// The first hour, day or month (without it: as many as fit a screen)
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,

    /// The last one (without it: the present hour)
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,

    /// In which steps of time
    #[arg(long, value_enum, default_value_t)]
    pub by: UsageStep,

    /// What to tell apart (without it: a summary of events and prefixes)
    #[arg(long, value_enum)]
    pub group: Option<UsageGroup>,

    /// Print the server's answer, as one line of JSON
    #[arg(long)]
    pub json: bool,

    /// Print comma-separated values, for a spreadsheet
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,

    /// Whom to ask, and as whom.
    #[command(flatten)]
    pub target: TargetArgs,
}

/// Steps of time.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum UsageStep {
    /// Each hour
    #[default]
    Hour,
    /// Each day of UTC
    Day,
    /// Each month of UTC
    Month,
}

/// What usage can be told apart by.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum UsageGroup {
    /// Channel prefixes, as in `private-user`
    Prefix,
    /// Event names
    Event,
    /// API calls, client events, deliveries, presence deliveries, webhook calls
    Unit,
}

/// `campanile listen`.
#[derive(Args, Clone, Debug, Default)]
pub struct ListenArgs {
    /// The channels to subscribe to; private and presence channels are signed with the secret
    #[arg(value_name = "CHANNEL", required = true)]
    pub channels: Vec<String>,

    /// Who to be on presence channels
    #[arg(long, value_name = "ID")]
    pub user_id: Option<String>,

    /// What other members see of that user: a JSON object
    #[arg(long, value_name = "JSON", requires = "user_id")]
    pub user_info: Option<String>,

    /// Print each event as one line of JSON
    #[arg(long)]
    pub json: bool,

    /// Exit after this many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,

    /// Exit after this many seconds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub seconds: Option<u64>,

    /// Where to listen, and as whom.
    #[command(flatten)]
    pub target: TargetArgs,
}

/// `campanile webhooks`.
#[derive(Args, Clone, Debug)]
pub struct WebhooksArgs {
    /// What to do with dead letters.
    #[command(subcommand)]
    pub command: WebhooksCommand,
}

/// What can be done with dead letters.
#[derive(Clone, Debug, Subcommand)]
pub enum WebhooksCommand {
    /// Print each event that was given up, as a line of JSON
    Dead(WebhooksTargetArgs),
    /// Put those events back into their queues, oldest first, while there is room
    Retry(WebhooksTargetArgs),
}

/// Whose webhooks.
#[derive(Args, Clone, Debug, Default)]
pub struct WebhooksTargetArgs {
    /// Which file to read.
    #[command(flatten)]
    pub file: ConfigArgs,

    /// Only this app's
    #[arg(long, value_name = "ID")]
    pub app_id: Option<String>,
}

/// `campanile completions`.
#[derive(Args, Clone, Debug)]
pub struct CompletionsArgs {
    /// The shell to write for
    pub shell: clap_complete::Shell,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn command(line: &str) -> Command {
        Cli::try_parse_from(line.split(' ')).unwrap().into_command()
    }

    fn refusal(line: &str) -> String {
        Cli::try_parse_from(line.split(' ')).unwrap_err().to_string()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn lines_that_are_set_by_hand_are_not_broken() {
        for text in [
            EXAMPLES,
            SERVE_EXAMPLES,
            DEMO_EXAMPLES,
            CHECK_EXAMPLES,
            KEYS_EXAMPLES,
            TRIGGER_EXAMPLES,
            LISTEN_EXAMPLES,
            WEBHOOKS_EXAMPLES,
            COMPLETIONS_EXAMPLES,
        ] {
            for line in text.lines() {
                assert!(line.chars().count() <= COLUMNS, "{line}");
            }
        }
    }

    #[test]
    fn no_line_of_the_help_is_wider_than_a_terminal() {
        fn check(command: &mut clap::Command) {
            for help in [command.render_help(), command.render_long_help()] {
                for line in help.to_string().lines() {
                    assert!(line.chars().count() <= COLUMNS, "{}: {line}", command.get_name());
                }
            }
            command.get_subcommands_mut().for_each(check);
        }
        let mut command = Cli::command();
        command.build();
        check(&mut command);
    }

    #[test]
    fn no_subcommand_serves() {
        assert!(matches!(command("campanile"), Command::Serve(_)));
        for line in ["campanile --config a.toml", "campanile serve --config a.toml"] {
            let Command::Serve(args) = command(line) else {
                panic!("{line} does not serve");
            };
            assert_eq!(args.file.config, Some(PathBuf::from("a.toml")));
        }
    }

    #[test]
    fn a_trigger_takes_several_channels() {
        let Command::Trigger(args) =
            command("campanile trigger --channel a --channel b --event e --info user_count,cache")
        else {
            panic!("not a trigger");
        };
        assert_eq!(args.channels, ["a", "b"]);
        assert_eq!(args.info, ["user_count", "cache"]);
    }

    #[test]
    fn a_trigger_is_one_event_or_a_batch_and_never_both() {
        assert!(matches!(command("campanile trigger --batch-file b.json"), Command::Trigger(_)));
        assert!(refusal("campanile trigger --batch-file b.json --channel a --event e").contains("cannot be used with"));
        assert!(refusal("campanile trigger --channel a").contains("--event"));
        assert!(refusal("campanile trigger --event e").contains("--channel"));
    }

    #[test]
    fn listening_needs_a_channel_and_a_user_for_its_description() {
        assert!(refusal("campanile listen").contains("CHANNEL"));
        assert!(refusal("campanile listen presence-a --user-info {}").contains("--user-id"));
    }

    #[test]
    fn the_demo_is_bounded() {
        let Command::Demo(args) = command("campanile demo") else {
            panic!("not the demo");
        };
        assert_eq!((args.users, args.seconds, args.port), (300, None, 0));
        assert!(Cli::try_parse_from(["campanile", "demo", "--users", "50000"]).is_ok());
        assert!(refusal("campanile demo --users 50001").contains("50001"));
        assert!(refusal("campanile demo --users 0").contains("0 is not in"));
    }

    #[test]
    fn the_help_teaches_by_example() {
        let help = Cli::command().render_long_help().to_string();
        assert!(help.contains("campanile keys new"));
        assert!(help.contains("CAMPANILE__LISTEN__PORT"));
        for subcommand in Cli::command().get_subcommands_mut() {
            let examples = match subcommand.get_name() {
                "keys" => subcommand.find_subcommand_mut("new").unwrap().render_long_help(),
                _ => subcommand.render_long_help(),
            };
            assert!(examples.to_string().contains("Examples:"), "{} has no examples", subcommand.get_name());
        }
    }
}
