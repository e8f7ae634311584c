//! The binary as it is run, in the ways in which it goes wrong: `trigger` and `listen` by a newcomer, `serve` by an operator.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::client::within;
use crate::stage::{KEY, Place, SECRET, Stage};

const TLS: &str = "[tls]\ncert_file = 'DIR/cert.pem'\nkey_file = 'DIR/key.pem'\n";

/// Runs a command of the binary's against `address`, with nothing but these flags and variables.
async fn run(command: &str, address: SocketAddr, flags: &str, variables: &[(&str, &str)]) -> Output {
    let what = match command {
        "trigger" => "--channel private-a --event e --data {}",
        _ => "private-a --seconds 1",
    };
    let mut process = Command::new(env!("CARGO_BIN_EXE_campanile"));
    process
        .arg(command)
        .args(what.split(' '))
        .args(flags.split_whitespace())
        .args(["--port", &address.port().to_string()])
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::null());
    within(tokio::task::spawn_blocking(move || process.output())).await.unwrap().unwrap()
}

/// What both commands say; both must fail.
async fn complaints(address: SocketAddr, flags: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let mut complaints = Vec::new();
    for command in ["trigger", "listen"] {
        let output = run(command, address, flags, variables).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{command}: {said}");
        complaints.push(said);
    }
    complaints
}

const APP: [(&str, &str); 3] = [("PUSHER_APP_ID", "rim"), ("PUSHER_APP_KEY", KEY), ("PUSHER_APP_SECRET", SECRET)];

#[tokio::test]
async fn tls_on_one_side_alone_is_told_with_what_to_change() {
    let plain = Stage::open("");
    for said in complaints(plain.address(), "--tls", &APP).await {
        assert!(said.contains("does not speak TLS") && said.contains("leave out --tls"), "{said}");
    }
    plain.close().await;
    let place = Place::new(TLS);
    place.renew_certificate();
    let secure = Stage::at(place);
    for said in complaints(secure.address(), "", &APP).await {
        assert!(said.contains("400") && said.contains("speaks TLS: add --tls"), "{said}");
    }
    secure.close().await;
}

#[tokio::test]
async fn a_certificate_that_signed_itself_is_trusted_once_it_is_named() {
    let place = Place::new(TLS);
    place.renew_certificate();
    let other = Place::new("");
    other.renew_certificate();
    let stage = Stage::at(place);
    let with = |path: &std::path::Path| {
        let mut variables = APP.map(|(name, value)| (name, value.to_owned())).to_vec();
        variables.push(("SSL_CERT_FILE", path.display().to_string()));
        variables
    };
    let stranger = with(&other.path("cert.pem"));
    let stranger: Vec<_> = stranger.iter().map(|(name, value)| (*name, value.as_str())).collect();
    for said in complaints(stage.address(), "--tls", &stranger).await {
        assert!(said.contains("signed by itself") && said.contains("SSL_CERT_FILE=/path/to/cert.pem"), "{said}");
    }
    let absent = with(&other.path("absent.pem"));
    let absent: Vec<_> = absent.iter().map(|(name, value)| (*name, value.as_str())).collect();
    for said in complaints(stage.address(), "--tls", &absent).await {
        assert!(said.contains("SSL_CERT_FILE and SSL_CERT_DIR name none"), "{said}");
    }
    let named = with(&stage.place.path("cert.pem"));
    let named: Vec<_> = named.iter().map(|(name, value)| (*name, value.as_str())).collect();
    for command in ["trigger", "listen"] {
        let output = run(command, stage.address(), "--tls", &named).await;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    stage.close().await;
}

#[tokio::test]
async fn wrong_credentials_are_told_with_where_they_came_from() {
    let stage = Stage::open("");
    for said in complaints(stage.address(), "--secret not-it", &APP).await {
        assert!(said.contains("app rim (PUSHER_APP_ID), key rim-key (PUSHER_APP_KEY), secret (--secret)"), "{said}");
        assert!(said.contains("the server has another secret for the key \"rim-key\""), "{said}");
        assert!(!said.contains("not-it"), "{said}");
    }
    for said in complaints(stage.address(), "--key not-it", &APP).await {
        assert!(said.contains("key not-it (--key)"), "{said}");
        assert!(said.contains("the server has no active key \"not-it\""), "{said}");
    }
    let [trigger, listen] = complaints(stage.address(), "", &[]).await.try_into().unwrap();
    assert!(trigger.contains("the server has no app \"app-id\" (the id is from: development default)"), "{trigger}");
    assert!(listen.contains("(the key is from: development default)"), "{listen}");
    stage.close().await;
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_told_once() {
    // Bound and dropped again, so that nobody listens there.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for said in complaints(address, "", &APP).await {
        assert_eq!(said.matches("Connection refused").count(), 1, "{said}");
        assert!(said.contains("is the server running there?") && said.contains("port: --port"), "{said}");
    }
}

/// A server in a process of its own, which ends with the test.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_reload_that_hangs_keeps_nobody_from_ending_the_server() {
    let place = Place::new("");
    // What it writes there.
    drop(place.config());
    let (file, pipe) = (place.path("campanile.toml"), place.path("pipe"));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let server = Command::new(env!("CARGO_BIN_EXE_campanile"))
        .args(["serve", "--config"])
        .arg(&file)
        .env_clear()
        .envs([("CAMPANILE__LISTEN__PORT", "0"), ("CAMPANILE__DRAIN__WAVE_SECS", "0"), ("CAMPANILE__WORKERS", "1")])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut server = Serving(server.unwrap());
    let pid = Pid::from_child(&server.0);
    let mut stdout = BufReader::new(server.0.stdout.take().unwrap());
    let mut log = BufReader::new(server.0.stderr.take().unwrap());
    // Whoever waits too long for this ends the server, and with it the waiting.
    let operating = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();

        // A pipe in the file's place is refused.
        let kept = file.with_extension("kept");
        std::fs::rename(&file, &kept).unwrap();
        std::fs::rename(&pipe, &file).unwrap();
        kill_process(pid, Signal::HUP).unwrap();
        while !line.contains("nothing has been reloaded") {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "it goes on");
        }
        assert!(line.contains("is no regular file, so it cannot be read again"), "{line}");

        // One that a secret is read from is waited for, as a file system that hangs would be.
        std::fs::rename(&file, &pipe).unwrap();
        let with_pipe = std::fs::read_to_string(&kept).unwrap();
        let secret_file = format!("secret_file = '{}'", pipe.display());
        std::fs::write(&file, with_pipe.replace(&format!("secret = '{SECRET}'"), &secret_file)).unwrap();
        kill_process(pid, Signal::HUP).unwrap();
        std::thread::sleep(Duration::from_millis(500));
        kill_process(pid, Signal::TERM).unwrap();
        let mut rest = String::new();
        log.read_to_string(&mut rest).unwrap();
        rest
    });
    let log = within(operating).await.unwrap();
    let status = server.0.wait().unwrap();
    assert!(status.success() && log.contains("draining") && !log.contains("reloaded"), "{status}: {log}");
}
