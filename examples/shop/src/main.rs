//! The shop: live orders, documents and team boards, and the polling that they replace.
//!
//! Owns the command line and the order in which things start and stop. Never answers a request. The invariant: whatever
//! cannot be had is one sentence on standard error, before anything is served. Reading order: [`channels`],
//! [`events`] and [`notifications`], then [`store::orders`], [`app`], [`session`] and [`pages`]; [`comparison`] is for the figures alone.

mod app;
mod attempts;
mod channels;
mod comparison;
mod events;
mod front_end;
mod live_server;
mod notifications;
mod pages;
mod session;
mod store;
mod traffic;

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use campanile_broadcast::{Campanile, Timings};
use clap::Parser;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use app::App;
use front_end::FrontEnd;
use live_server::LiveServer;
use store::Place;
use traffic::Traffic;

/// Where this example lies.
const HOME: &str = env!("CARGO_MANIFEST_DIR");
/// How long deliveries under way may take when the shop ends.
const COURIER_PATIENCE: Duration = Duration::from_secs(5);
/// What is logged, unless `RUST_LOG` says otherwise.
const LOG_DEFAULT: &str = "warn,shop=info";

/// A shop with live orders, documents and boards. It runs a Campanile server of its own, unless PUSHER_HOST, PUSHER_PORT,
/// PUSHER_SCHEME, PUSHER_APP_ID, PUSHER_APP_KEY and PUSHER_APP_SECRET name another.
#[derive(Debug, Parser)]
#[command(name = "shop")]
struct Arguments {
    /// The port of the shop; 0 takes one that is free
    #[arg(long, default_value_t = 3000)]
    port: u16,
    /// The port of the shop's own Campanile server; 0 takes one that is free
    #[arg(long, default_value_t = 6001)]
    live_port: u16,
    /// The database: postgres://user@host/shop, or sqlite:FILE [default: a SQLite file in the directory of --data]
    #[arg(long, value_name = "URL", env = "DATABASE_URL", hide_env_values = true)]
    database: Option<String>,
    /// The SQLite database, unless --database names another, and the state of the server
    #[arg(long, value_name = "DIRECTORY", default_value_os_t = Path::new(HOME).join("data"))]
    data: PathBuf,
    /// The server that PUSHER_HOST names keeps inboxes, and private-user.{user} opens them: pages have a bell
    #[arg(long)]
    inbox: bool,
    /// Leave what is in the outbox to another process
    #[arg(long)]
    without_courier: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let traffic = Traffic::default();
    let log = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOG_DEFAULT));
    tracing_subscriber::registry()
        .with(tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_filter(log))
        .with(traffic.statements())
        .init();
    match run(Arguments::parse(), traffic).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments, traffic: Traffic) -> Result<(), Box<dyn Error>> {
    let front_end = FrontEnd::ready(&Path::new(HOME).join("front-end"))?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, arguments.port));
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| format!("cannot listen on {address}: {error}; --port takes another"))?;
    std::fs::create_dir_all(&arguments.data)?;
    let place = match &arguments.database {
        Some(url) => Place::parse(url)?,
        None => Place::file(&arguments.data.join("shop.sqlite")),
    };
    let db = store::open(place).await?;
    // A thousand simulated users have four sockets each; where the kernel allows fewer, the comparison says so.
    let _ = campanile::config::raise_descriptor_limit();

    let (server, live, settings) = match LiveServer::from_env(arguments.inbox)? {
        Some((live, settings)) => (None, live, settings),
        None => {
            let server = live_server::start(arguments.live_port, &arguments.data.join("campanile"))
                .map_err(|error| format!("{error}; --live-port takes another"))?;
            let (live, settings) = LiveServer::here(&server)?;
            (Some(server), live, settings)
        }
    };
    let campanile = Campanile::with_outbox(settings, db.outbox().await?)?;
    let courier = (!arguments.without_courier).then(|| campanile.courier().start());

    let address = listener.local_addr()?;
    let app = App {
        db,
        campanile,
        authorizations: channels::remembered(),
        attempts: Arc::default(),
        live: Arc::new(live),
        front_end: Arc::new(front_end),
        timings: Timings::default(),
        traffic,
        comparing: Arc::default(),
        address,
    };
    welcome(&app);
    let service = app::router(app).into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(told_to_end()?).await?;
    if let Some(courier) = courier {
        courier.stop(COURIER_PATIENCE).await;
    }
    if let Some(server) = server {
        server.drain().await?;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "where to go and as whom is what this program has to say")]
fn welcome(app: &App) {
    println!("The shop is open at http://{}", app.address);
    println!("Live events come from {}:{}", app.live.host, app.live.port);
    println!("Everything is kept in {}", app.db);
    println!("Sign in as {}, or others; the password is {}", store::DEMO_USERS[0].email, store::DEMO_PASSWORD);
}

/// Ends when Ctrl-C is pressed or the process is asked to end.
fn told_to_end() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
