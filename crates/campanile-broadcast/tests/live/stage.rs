//! A server of its own for each test, and an application's view of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use campanile::config::Config;
use campanile::{RunningServer, Server};
use campanile_broadcast::{Broadcast, Campanile, Channel, Notification, Settings};
use serde::Serialize;
use serde_json::Value;
use tempfile::TempDir;

use crate::browser::Browser;

pub(crate) const APP: &str = "app";
pub(crate) const KEY: &str = "key-of-the-app";
pub(crate) const SECRET: &str = "secret-of-the-app-0123456789";
/// Of a server of the application, which looks into inboxes.
const TOKEN: &str = "token-of-the-app-0123456789-0123456789";
/// Longer than anything here takes.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A channel that anybody may subscribe to.
#[derive(Channel)]
#[channel("room.{name}")]
pub(crate) struct Room {
    pub(crate) name: String,
}

/// An event with a number, to be told from others.
#[derive(Debug, Serialize, Broadcast)]
#[broadcast(name = "said", on = [Room { name: self.room.clone() }])]
pub(crate) struct Said {
    pub(crate) number: u64,
    #[serde(skip)]
    pub(crate) room: String,
}

/// The event with this number.
pub(crate) fn said(room: &str, number: u64) -> Said {
    Said { number, room: room.to_owned() }
}

/// A notification with a number, to be told from others.
#[derive(Debug, Serialize, Notification)]
#[notification(kind = "noted", title = format!("Number {}", self.number))]
pub(crate) struct Noted {
    pub(crate) number: u64,
}

/// The notification with this number.
pub(crate) fn noted(number: u64) -> Noted {
    Noted { number }
}

/// Settings for the app, wherever its server is.
pub(crate) fn settings(origin: impl Into<String>) -> Settings {
    Settings::new(origin, APP, KEY, SECRET)
}

/// A running server.
pub(crate) struct Stage {
    directory: TempDir,
    server: RunningServer,
}

impl Stage {
    pub(crate) fn open() -> Self {
        Self::with(tempfile::tempdir().unwrap(), &[])
    }

    /// A server that speaks TLS with a certificate that its own authority has signed: see [`Stage::ca_file`].
    pub(crate) fn open_with_tls() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let authority = authority();
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf =
            rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        std::fs::write(path("ca.pem"), authority.pem()).unwrap();
        std::fs::write(path("cert.pem"), leaf.pem()).unwrap();
        std::fs::write(path("key.pem"), key.serialize_pem()).unwrap();
        let (cert, key) = (path("cert.pem").display().to_string(), path("key.pem").display().to_string());
        Self::with(directory, &[("TLS__CERT_FILE", &cert), ("TLS__KEY_FILE", &key)])
    }

    /// A server with inboxes, on SQLite, that are pushed to `private-user.{user}`.
    pub(crate) fn with_inbox() -> Self {
        let settings = [
            ("INBOX__SYNCHRONOUS", "full"),
            ("APPS__0__INBOX__CHANNELS__0", "private-user.{user}"),
            ("APPS__0__SERVER_TOKENS__0__TOKEN", TOKEN),
        ];
        Self::with(tempfile::tempdir().unwrap(), &settings)
    }

    /// Asks the app's server API, which must do it.
    pub(crate) async fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let request = reqwest::Client::new()
            .request(method.parse().unwrap(), format!("{}/apps/{APP}{path}", self.origin()))
            .bearer_auth(TOKEN)
            .body(if body.is_null() { String::new() } else { body.to_string() });
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// A user's inbox, all of it, the newest first.
    pub(crate) async fn inbox(&self, user: &str) -> Vec<Value> {
        let mut rows = Vec::new();
        let mut before = String::new();
        loop {
            let page = self.call("GET", &format!("/users/{user}/inbox?limit=100{before}"), &Value::Null).await;
            rows.extend(page["notifications"].as_array().unwrap().iter().cloned());
            let Some(next) = page["next"].as_str() else { return rows };
            before = format!("&before={next}");
        }
    }

    fn with(directory: TempDir, settings: &[(&str, &str)]) -> Self {
        let state = directory.path().join("state").display().to_string();
        let base = [
            ("STATE_DIR", &*state),
            ("WORKERS", "1"),
            ("LISTEN__PORT", "0"),
            ("DRAIN__WAVE_SECS", "0"),
            ("APPS__0__ID", APP),
            ("APPS__0__KEYS__0__KEY", KEY),
            ("APPS__0__KEYS__0__SECRET", SECRET),
        ];
        let variables = base.iter().chain(settings);
        let variables: BTreeMap<String, String> =
            variables.map(|(name, value)| (format!("CAMPANILE__{name}"), (*value).to_owned())).collect();
        let server = Server::start(Config::load(None, variables.into_iter()).unwrap()).unwrap();
        Self { directory, server }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    pub(crate) fn origin(&self) -> String {
        format!("{}://{}", if self.server.has_tls() { "https" } else { "http" }, self.address())
    }

    pub(crate) fn settings(&self) -> Settings {
        settings(self.origin())
    }

    pub(crate) fn campanile(&self) -> Campanile {
        Campanile::new(self.settings()).unwrap()
    }

    /// Vouches for the server's certificate.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.directory.path().join("ca.pem")
    }

    /// A browser in these rooms.
    pub(crate) async fn browser_in(&self, rooms: &[&str]) -> Browser {
        let mut browser = Browser::open(self.address()).await;
        for room in rooms {
            browser.subscribe(&format!("room.{room}")).await;
        }
        browser
    }
}

/// An authority that nobody knows yet.
pub(crate) fn authority() -> rcgen::CertifiedIssuer<'static, rcgen::KeyPair> {
    let mut params = rcgen::CertificateParams::new([]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap()
}

/// Waits, but not for ever.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future).await.expect("it happens in time")
}
