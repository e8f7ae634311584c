//! Planted panics: what each costs, and what it does not.

use std::cell::Cell;
use std::time::Duration;

use campanile_hub::Letter;
use campanile_protocol::Secret;
use campanile_protocol::websocket::Received;
use tokio::time::timeout;

use crate::client::{Api, Connection, Ended, Incident};
use crate::config::{Config, DEVELOPMENT_KEY, DEVELOPMENT_SECRET};
use crate::target::Target;
use crate::{RunningServer, Server};

/// Whoever publishes to it makes the mind of its home panic.
const IN_MIND: &str = "panic-in-mind";
/// Each worker that is the home of one of these panics when it next hears that another has lost its mind.
const AT_LOSS: &str = "panic-at-loss";
/// Whoever says it makes the reading of its own bytes panic.
const IN_READING: &str = "panic-in-reading";

/// Printing where a debug build has panicked can take long on a busy machine.
const SOON: Duration = Duration::from_secs(60);

thread_local! {
    static AT_A_LOSS: Cell<bool> = const { Cell::new(false) };
}

pub(super) fn panic_at(letter: &Letter) {
    if let Letter::Publish { key, .. } = letter {
        assert!(!key.name.as_str().starts_with(IN_MIND), "planted in a mind");
        if key.name.as_str().starts_with(AT_LOSS) {
            AT_A_LOSS.set(true);
        }
    }
    if let Letter::MindLost { .. } = letter {
        assert!(!AT_A_LOSS.take(), "planted in hearing of a loss");
    }
}

pub(super) fn panic_reading(received: &Received<'_>) {
    if let Received::Text(text) = received {
        assert!(!text.contains(IN_READING), "planted in reading");
    }
}

struct Stage {
    server: RunningServer,
    target: Target,
    _state: tempfile::TempDir,
}

impl Stage {
    fn open(workers: u16) -> Self {
        let state = tempfile::tempdir().unwrap();
        let settings = [
            ("CAMPANILE__LISTEN__PORT", "0".to_owned()),
            ("CAMPANILE__STATE_DIR", state.path().display().to_string()),
            ("CAMPANILE__WORKERS", workers.to_string()),
            ("CAMPANILE__DRAIN__WAVE_SECS", "0".to_owned()),
        ];
        let settings = settings.map(|(name, value)| (name.to_owned(), value));
        let server = Server::start(Config::load(None, settings.into_iter()).unwrap()).unwrap();
        let here =
            crate::cli::TargetArgs { port: Some(server.local_addr().port()), ..crate::cli::TargetArgs::default() };
        let target = Target::find(&here, std::iter::empty()).unwrap();
        Self { server, target, _state: state }
    }

    async fn connect(&self, channels: &[&str]) -> Connection {
        let mut connection = Connection::open(&self.target, None).await.unwrap();
        for channel in channels {
            subscribe(&mut connection, channel);
            until(&mut connection, "pusher_internal:subscription_succeeded").await.unwrap();
        }
        connection
    }

    async fn publish(&self, channel: &str) {
        let body = format!(r#"{{"name":"told","channel":"{channel}","data":"{{}}"}}"#);
        Api::new(&self.target).unwrap().post("/events", body).await.unwrap();
    }

    /// Publishes, and expects every one of the connections to hear it.
    async fn reaches(&self, channel: &str, connections: &mut [Connection]) {
        self.publish(channel).await;
        for connection in connections {
            let heard = until(connection, "told").await.unwrap();
            assert_eq!(heard.channel.as_deref(), Some(channel));
        }
    }
}

fn worker_of(connection: &Connection) -> u64 {
    connection.socket_id().place >> campanile_hub::hub::PLACE_INDEX_BITS & 0x3ff
}

fn subscribe(connection: &mut Connection, channel: &str) {
    let secret = Secret::new(DEVELOPMENT_SECRET);
    connection.subscribe(DEVELOPMENT_KEY, &secret, channel, None).unwrap();
}

async fn until(connection: &mut Connection, event: &str) -> Result<Incident, Ended> {
    let waiting = async {
        loop {
            let incident = connection.next().await?;
            if incident.event == event {
                return Ok(incident);
            }
        }
    };
    timeout(SOON, waiting).await.expect("it comes soon")
}

async fn close_code(connection: &mut Connection) -> Option<u16> {
    until(connection, "nothing that is ever sent").await.unwrap_err().code()
}

#[tokio::test]
async fn a_panic_in_reading_costs_that_connection_alone() {
    let stage = Stage::open(1);
    let mut bystander = stage.connect(&["news"]).await;
    let mut unlucky = stage.connect(&["news"]).await;
    subscribe(&mut unlucky, IN_READING);
    assert_eq!(close_code(&mut unlucky).await, Some(4100));
    stage.reaches("news", std::slice::from_mut(&mut bystander)).await;
    drop((bystander, unlucky));
    stage.server.drain().await.unwrap();
}

#[tokio::test]
async fn a_panic_in_a_mind_sends_its_clients_away_and_everybody_else_still_hears_everything() {
    let names: Vec<String> = (0..12).map(|number| format!("news-{number}")).collect();
    let channels: Vec<&str> = names.iter().map(String::as_str).collect();
    let stage = Stage::open(2);
    let mut connections = Vec::new();
    // The kernel deals them out: until each worker has some.
    while (0..2).any(|worker| connections.iter().filter(|one| worker_of(one) == worker).count() < 3) {
        assert!(connections.len() < 100, "the kernel gives all connections to one worker");
        connections.push(stage.connect(&channels).await);
    }
    stage.publish(IN_MIND).await;
    // Whoever answers a ping lives on the worker that has kept its mind.
    let (mut kept, mut lost) = (Vec::new(), Vec::new());
    for mut connection in connections {
        subscribe(&mut connection, "are-you-there");
        match until(&mut connection, "pusher_internal:subscription_succeeded").await {
            Ok(_) => kept.push(connection),
            Err(ended) => {
                assert_eq!(ended.code(), Some(4200));
                lost.push(worker_of(&connection));
            }
        }
    }
    assert!(lost.len() >= 3 && lost.iter().all(|worker| *worker == lost[0]), "{lost:?}");
    assert!(kept.iter().all(|connection| worker_of(connection) != lost[0]));
    kept.push(stage.connect(&channels).await);
    for channel in channels {
        stage.reaches(channel, &mut kept).await;
    }
    drop(kept);
    stage.server.drain().await.unwrap();
}

#[tokio::test]
async fn a_mind_that_is_lost_over_anothers_loss_leaves_nobody_waiting() {
    let stage = Stage::open(2);
    // Names enough for each worker to be the home of some.
    for number in 0..20 {
        stage.publish(&format!("{AT_LOSS}-{number}")).await;
    }
    let mut witness = stage.connect(&["news"]).await;
    stage.publish(IN_MIND).await;
    assert_eq!(close_code(&mut witness).await, Some(4200));
    let names: Vec<String> = (0..12).map(|number| format!("news-{number}")).collect();
    let channels: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut connections = [stage.connect(&channels).await, stage.connect(&channels).await];
    for channel in channels {
        stage.reaches(channel, &mut connections).await;
    }
    drop(connections);
    stage.server.drain().await.unwrap();
}

#[tokio::test]
async fn three_lost_minds_within_a_minute_are_reported_and_two_are_not() {
    let stage = Stage::open(1);
    for _ in 0..2 {
        let mut connection = stage.connect(&["news"]).await;
        stage.publish(IN_MIND).await;
        assert_eq!(close_code(&mut connection).await, Some(4200));
    }
    assert!(timeout(Duration::from_millis(200), stage.server.failed()).await.is_err());
    let mut connection = stage.connect(&["news"]).await;
    stage.publish(IN_MIND).await;
    assert_eq!(close_code(&mut connection).await, Some(4200));
    timeout(SOON, stage.server.failed()).await.expect("the third is one too many");
    drop(connection);
    stage.server.drain().await.unwrap();
}
