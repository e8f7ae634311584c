//! `campanile-jobs`: the outbox of any application, by the URL of its database.

use std::process::ExitCode;
use std::str::FromStr;

use campanile_broadcast::Outbox;
use campanile_jobs::JobsCommand;
use clap::Parser;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{PgPool, SqlitePool};

/// Shows what waits in an application's outbox, and retries or forgets what was given up.
#[derive(Debug, Parser)]
#[command(name = "campanile-jobs", version)]
struct Command {
    /// The application's database: `sqlite:shop.db` or `postgres://user@host/shop`
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    database: String,
    #[command(subcommand)]
    command: JobsCommand,
}

#[tokio::main]
#[expect(clippy::print_stderr, reason = "it is a program for people")]
async fn main() -> ExitCode {
    match run(Command::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("campanile-jobs: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(Command { database, command }: Command) -> Result<(), Box<dyn std::error::Error>> {
    let outbox = match database.split_once(':') {
        // A file that is not there is a mistake, and is not made.
        Some(("sqlite", _)) => {
            Outbox::sqlite(SqlitePool::connect_with(SqliteConnectOptions::from_str(&database)?).await?).await?
        }
        Some(("postgres" | "postgresql", _)) => Outbox::postgres(PgPool::connect(&database).await?).await?,
        _ => return Err("the database's URL begins with sqlite: or postgres:".into()),
    };
    Ok(command.run(&outbox, &mut std::io::stdout()).await?)
}
