//! A server of its own for each test.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use campanile::config::Config;
use campanile::{RunningServer, Server, StartError};
use campanile_protocol::Secret;
use campanile_protocol::signature::sign_request;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::client::{Browser, Certificate};

pub(crate) const KEY: &str = "rim-key";
pub(crate) const SECRET: &str = "rim-secret-0123456789";

/// Longer than anything here takes.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A directory with a configuration, a certificate and whatever the server keeps.
pub(crate) struct Place {
    directory: TempDir,
    pub(crate) settings: String,
}

impl Place {
    /// `settings` are TOML, without `[[apps]]`; `DIR` stands for the directory.
    pub(crate) fn new(settings: &str) -> Self {
        Self { directory: tempfile::tempdir().unwrap(), settings: settings.to_owned() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Puts a new certificate where `[tls]` expects it.
    pub(crate) fn renew_certificate(&self) -> Certificate {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(self.path("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(self.path("key.pem"), made.signing_key.serialize_pem()).unwrap();
        made.cert.der().clone()
    }

    pub(crate) fn config(&self) -> Config {
        let directory = self.directory.path().display().to_string();
        let text = format!(
            "state_dir = '{directory}/state'\n{}\n\
             [[apps]]\nid = 'rim'\nkeys = [{{ key = '{KEY}', secret = '{SECRET}' }}]\nevent_data_bytes_max = 1048576\n",
            self.settings.replace("DIR", &directory)
        );
        let file = self.path("campanile.toml");
        std::fs::write(&file, text).unwrap();
        // Most clients here just stay where they are, and no test is to wait for them.
        let unless_set = [("wave_secs", "DRAIN", "0"), ("closing_timeout_secs", "LIMITS", "1")];
        let unless_set = unless_set.into_iter().filter(|(name, ..)| !self.settings.contains(name));
        let environment = unless_set
            .map(|(name, table, value)| (format!("CAMPANILE__{table}__{}", name.to_uppercase()), value.to_owned()))
            .chain([("CAMPANILE__LISTEN__PORT".to_owned(), "0".to_owned())]);
        Config::load(Some(&file), environment).unwrap()
    }

    pub(crate) fn start(&self) -> Result<RunningServer, StartError> {
        Server::start(self.config())
    }
}

/// A running server.
pub(crate) struct Stage {
    pub(crate) place: Place,
    pub(crate) server: RunningServer,
}

impl Stage {
    pub(crate) fn open(settings: &str) -> Self {
        Self::at(Place::new(settings))
    }

    pub(crate) fn at(place: Place) -> Self {
        let server = place.start().unwrap();
        Self { place, server }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    pub(crate) async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.address()).await.unwrap()
    }

    pub(crate) async fn browser(&self) -> Browser<TcpStream> {
        Browser::open(self.tcp().await).await
    }

    /// A client of another app than ours.
    pub(crate) async fn browser_of(&self, key: &str) -> Browser<TcpStream> {
        Browser::open_with(key, self.tcp().await).await
    }

    pub(crate) async fn reload(&self) -> Result<(), StartError> {
        self.server.reload(self.place.config()).await
    }

    /// Drains, which must not take for ever.
    pub(crate) async fn close(self) {
        tokio::time::timeout(SOON, self.server.drain()).await.unwrap().unwrap();
    }
}

/// An HTTP client, to be told what else it should do.
pub(crate) fn http() -> reqwest::ClientBuilder {
    // Only the first call does something.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy()
}

/// The path and query of a signed request.
pub(crate) fn signed(method: &str, path: &str, body: &str) -> String {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let query = sign_request(KEY, &Secret::new(SECRET), method, path, &[], body.as_bytes(), now);
    format!("{path}?{query}")
}

/// The body of a trigger.
pub(crate) fn event(channel: &str, data: &str) -> String {
    format!(r#"{{"name":"told","channel":"{channel}","data":"{data}"}}"#)
}

/// Publishes through any HTTP client and expects success.
pub(crate) async fn publish(http: &reqwest::Client, origin: &str, channel: &str, data: &str) -> reqwest::Response {
    let body = event(channel, data);
    let url = format!("{origin}{}", signed("POST", "/apps/rim/events", &body));
    let answer = http.post(url).body(body).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer
}
