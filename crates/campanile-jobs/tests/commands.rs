//! The program as an operator uses it, on the file of an application.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use campanile_broadcast::outbox::durable_sqlite;
use campanile_broadcast::sqlx::SqlitePool;
use campanile_broadcast::{Broadcast, Campanile, Channel, Outbox, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[derive(Channel)]
#[channel("news")]
struct News;

#[derive(serde::Serialize, Broadcast)]
#[broadcast(name = "told", on = [News])]
struct Told;

/// A server that refuses everything, in words that are orders to a terminal.
async fn refusing() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut asked = [0; 4096];
            let _ = client.read(&mut asked).await;
            let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 8\r\n\r\nno\x1b[2J!!").await;
        }
    });
    origin
}

/// An application whose events have all been given up.
async fn given_up(file: &Path, queues: &[&'static str]) {
    let outbox = Outbox::sqlite(SqlitePool::connect_with(durable_sqlite(file)).await.unwrap()).await.unwrap();
    let settings = Settings::new(refusing().await, "app", "key", "secret");
    let campanile = Campanile::with_outbox(settings, outbox.clone()).unwrap();
    for queue in queues {
        campanile.broadcast(Told).on_queue(*queue).send().await.unwrap();
    }
    let courier = campanile.courier().start();
    while outbox.dead(100).await.unwrap().len() < queues.len() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    courier.stop(Duration::from_secs(10)).await;
}

fn jobs(file: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_campanile-jobs"));
    command.env("DATABASE_URL", format!("sqlite:{}", file.display())).args(arguments).output().unwrap()
}

fn said(file: &Path, arguments: &[&str]) -> String {
    let output = jobs(file, arguments);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn refused(file: &Path, arguments: &[&str]) -> String {
    let output = jobs(file, arguments);
    assert!(!output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test]
async fn dead_letters_are_listed_retried_and_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let file = &directory.path().join("shop.db");
    given_up(file, &["high", "low", "low"]).await;

    let list = said(file, &["dead"]);
    assert_eq!(list.lines().count(), 4, "{list}");
    assert!(
        list.contains("told") && list.contains("the server answered 400: no [2J!!") && !list.contains('\x1b'),
        "{list}"
    );
    assert_eq!(said(file, &["dead", "--limit", "1"]).lines().count(), 2);

    let number = list.lines().find(|line| line.contains("high")).unwrap().split_whitespace().next().unwrap();
    assert_eq!(said(file, &["retry", number]), "1 to be delivered again\n");
    assert_eq!(said(file, &["forget", "--queue", "low"]), "2 forgotten\n");
    let queues = said(file, &["queues"]);
    let high: Vec<&str> = queues.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!(high[..2], ["high", "1"], "{queues}");
    assert!(refused(file, &["retry", "--all"]).contains("no such dead letter"));
}

#[test]
fn what_is_meant_must_be_said_and_be_there() {
    let directory = tempfile::tempdir().unwrap();
    let missing = &directory.path().join("missing.db");
    assert!(refused(missing, &["forget"]).contains("--all"));
    assert!(refused(missing, &["forget", "7", "--all"]).contains("cannot be used with"));
    assert!(refused(missing, &["queues"]).contains("unable to open database file"));
    assert!(!missing.exists());
    assert!(refused(missing, &["--database", "mysql://a", "queues"]).contains("begins with sqlite: or postgres:"));
}
