//! Which server our own commands talk to, and for which app they speak.
//!
//! Owns the order in which each value is looked up: the flag, `PUSHER_*`, `REVERB_*`, the file given
//! with `--config`, the development defaults. Never connects. The invariant: a secret goes with its
//! key, so a key that the file does not have never borrows the secret of another. Next: `client/`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use crate::cli::TargetArgs;
use crate::config::{self, AppConfig, AppKeyPair, Config, ConfigError, Machine, Secret};

/// A server, and an app on it.
#[derive(Clone, Debug)]
pub struct Target {
    /// Host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whether to connect with TLS.
    pub tls: bool,
    /// In front of `/app` and `/apps`: empty, or `/` and a name, without a slash at its end.
    pub path_prefix: String,
    /// The app's id.
    pub app_id: String,
    /// The app's key.
    pub key: String,
    /// The app's secret.
    pub secret: Secret,
    /// Where each of these was found, for who must correct one.
    pub sources: Sources,
}

/// Where each value of a [`Target`] was found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Sources {
    /// The host.
    pub host: Source,
    /// The port.
    pub port: Source,
    /// Whether to use TLS.
    pub tls: Source,
    /// The app's id.
    pub app_id: Source,
    /// The key.
    pub key: Source,
    /// The secret.
    pub secret: Source,
}

/// Where one value was found.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Source {
    /// On the command line, as this flag.
    Flag(&'static str),
    /// In the environment, under this name.
    Variable(&'static str),
    /// In the configuration file at this path, as the environment may have changed it.
    File(PathBuf),
    /// Nowhere: it is the development server's.
    #[default]
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Variable(name) => f.write_str(name),
            Self::File(path) => path.display().fmt(f),
            Self::Default => f.write_str("development default"),
        }
    }
}

/// Why no target can be made of what was said.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The file is not valid.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A port that is none.
    #[error("{name} must be a port, not {value:?}")]
    Port {
        /// The variable.
        name: &'static str,
        /// What it holds.
        value: String,
    },
    /// A scheme that is none.
    #[error("{name} must be http or https, not {value:?}")]
    Scheme {
        /// The variable.
        name: &'static str,
        /// What it holds.
        value: String,
    },
    /// The file has no such app.
    #[error("the file has no app with the id {0:?}: name one that it has with --app-id")]
    NoSuchApp(String),
    /// The file has several apps and nothing says which.
    #[error("the file has several apps: name one with --app-id ({})", .0.join(", "))]
    WhichApp(Vec<String>),
    /// The file has no secret for the key.
    #[error("the file has no secret for the key {0:?}: give it as PUSHER_APP_SECRET, or leave the key to the file")]
    NoSecret(String),
}

impl Target {
    /// Looks every value up.
    ///
    /// # Errors
    ///
    /// When a variable or the file is not valid, or the file leaves open which app is meant.
    pub fn find(args: &TargetArgs, environment: impl Iterator<Item = (String, String)>) -> Result<Self, TargetError> {
        let (ours, theirs): (Vec<_>, Vec<_>) = environment.partition(|(name, _)| name.starts_with("CAMPANILE"));
        let variables = Variables(theirs);
        let config = match &args.file.config {
            Some(path) => {
                // The machine that publishes need not be one that could serve this file.
                let machine = Machine { cores: 1, descriptors: u64::MAX, memory: 1 << 32 };
                Some(Config::load_explained(Some(path), ours.into_iter(), &machine)?.0)
            }
            None => None,
        };

        let app_id = flag(&args.app_id, "--app-id").or_else(|| variables.get(["PUSHER_APP_ID", "REVERB_APP_ID"]));
        let key = flag(&args.key, "--key").or_else(|| variables.get(["PUSHER_APP_KEY", "REVERB_APP_KEY"]));
        let secret =
            flag(&args.secret, "--secret").or_else(|| variables.get(["PUSHER_APP_SECRET", "REVERB_APP_SECRET"]));
        let file = args.file.config.as_deref().zip(config.as_ref());
        let Identity { app_id, key, secret } = match (app_id, key, secret, file) {
            (Some(app_id), Some(key), Some(secret), _) => Identity { app_id, key, secret },
            (app_id, key, secret, Some((path, config))) => from_file(path, config, app_id, key, secret)?,
            (app_id, key, secret, None) => Identity {
                app_id: app_id.unwrap_or_else(|| Found::by_default(config::DEVELOPMENT_ID)),
                key: key.unwrap_or_else(|| Found::by_default(config::DEVELOPMENT_KEY)),
                secret: secret.unwrap_or_else(|| Found::by_default(config::DEVELOPMENT_SECRET)),
            },
        };

        let listen = file.map(|(path, config)| (path, &config.listen));
        let host = flag(&args.host, "--host")
            .or_else(|| variables.get(["PUSHER_HOST", "REVERB_HOST"]))
            .or_else(|| listen.map(|(path, listen)| Found::in_file(path, reachable(listen.address.ip()).to_string())))
            .unwrap_or_else(|| Found::by_default(&Ipv4Addr::LOCALHOST.to_string()));
        let port = match args.port {
            Some(port) => Some(Found { value: port, source: Source::Flag("--port") }),
            None => variables.port()?,
        };
        let port = port
            .or_else(|| listen.map(|(path, listen)| Found::in_file(path, listen.address.port())))
            .unwrap_or(Found { value: DEVELOPMENT_PORT, source: Source::Default });
        let tls = match (args.tls, variables.is_https()?) {
            (true, _) => Some(Found { value: true, source: Source::Flag("--tls") }),
            (false, in_environment) => in_environment,
        };
        let tls = tls
            .or_else(|| file.map(|(path, config)| Found::in_file(path, config.tls.is_some())))
            .unwrap_or(Found { value: false, source: Source::Default });
        let path_prefix = match &args.path_prefix {
            Some(path) => normal_prefix(path),
            None => listen.map_or_else(String::new, |(_, listen)| listen.path_prefix.clone()),
        };
        Ok(Self {
            host: host.value.trim_matches(['[', ']']).to_owned(),
            port: port.value,
            tls: tls.value,
            path_prefix,
            app_id: app_id.value,
            key: key.value,
            secret: Secret::new(secret.value),
            sources: Sources {
                host: host.source,
                port: port.source,
                tls: tls.source,
                app_id: app_id.source,
                key: key.source,
                secret: secret.source,
            },
        })
    }

    /// Host and port as they stand in a URL: IPv6 addresses in brackets.
    #[must_use]
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// Where the server was looked for and as whom, each value with its source. The secret itself is not among them.
    #[must_use]
    pub fn account(&self) -> String {
        let Sources { host, port, app_id, key, secret, .. } = &self.sources;
        format!(
            "server: {self} (host: {host}; port: {port})\n  as: app {} ({app_id}), key {} ({key}), secret ({secret})",
            self.app_id, self.key
        )
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "wss" } else { "ws" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path_prefix)
    }
}

/// Where the server listens unless it is told otherwise.
pub(crate) const DEVELOPMENT_PORT: u16 = 6001;

/// A value, and where it was found.
struct Found<T> {
    value: T,
    source: Source,
}

impl<T> Found<T> {
    fn in_file(path: &Path, value: T) -> Self {
        Self { value, source: Source::File(path.to_owned()) }
    }
}

impl Found<String> {
    fn by_default(value: &str) -> Self {
        Self { value: value.to_owned(), source: Source::Default }
    }
}

/// As whom to speak.
struct Identity {
    app_id: Found<String>,
    key: Found<String>,
    secret: Found<String>,
}

fn flag(value: &Option<String>, name: &'static str) -> Option<Found<String>> {
    value.clone().map(|value| Found { value, source: Source::Flag(name) })
}

/// What the file says of an app, where nothing before it did.
fn from_file(
    path: &Path,
    config: &Config,
    app_id: Option<Found<String>>,
    key: Option<Found<String>>,
    secret: Option<Found<String>>,
) -> Result<Identity, TargetError> {
    let app = match (&app_id, &key, config.apps.as_slice()) {
        (Some(id), ..) => {
            config.apps.iter().find(|app| app.id == id.value).ok_or_else(|| TargetError::NoSuchApp(id.value.clone()))?
        }
        (None, _, [only]) => only,
        (None, key, apps) => {
            let has_key =
                |app: &&AppConfig| key.as_ref().is_some_and(|key| app.keys.iter().any(|pair| pair.key == key.value));
            apps.iter()
                .find(has_key)
                .ok_or_else(|| TargetError::WhichApp(apps.iter().map(|app| app.id.clone()).collect()))?
        }
    };
    let is_meant = |pair: &&AppKeyPair| key.as_ref().map_or(pair.enabled, |key| pair.key == key.value);
    let pair = app.keys.iter().find(is_meant);
    let named = key.as_ref().map(|key| key.value.clone()).unwrap_or_default();
    let app_id = app_id.unwrap_or_else(|| Found::in_file(path, app.id.clone()));
    let key = key.or_else(|| pair.map(|pair| Found::in_file(path, pair.key.clone())));
    let secret = secret.or_else(|| pair.map(|pair| Found::in_file(path, pair.secret.expose().to_owned())));
    match (key, secret) {
        (Some(key), Some(secret)) => Ok(Identity { app_id, key, secret }),
        _ => Err(TargetError::NoSecret(named)),
    }
}

/// Where to connect to reach a listener on this address: "every address" is none to connect to.
fn reachable(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    }
}

/// The spellings `ws`, `/ws` and `/ws/` mean the same.
fn normal_prefix(path: &str) -> String {
    match path.trim_matches('/') {
        "" => String::new(),
        inner => format!("/{inner}"),
    }
}

/// The names that Laravel teams already have.
struct Variables(Vec<(String, String)>);

impl Variables {
    /// The first of these that is set. An empty value is what a `.env` file has for "not used".
    fn first(&self, names: [&'static str; 2]) -> Option<(&'static str, &str)> {
        names.into_iter().find_map(|name| {
            let (_, value) = self.0.iter().find(|(known, value)| known == name && !value.is_empty())?;
            Some((name, value.as_str()))
        })
    }

    fn get(&self, names: [&'static str; 2]) -> Option<Found<String>> {
        self.first(names).map(|(name, value)| Found { value: value.to_owned(), source: Source::Variable(name) })
    }

    fn port(&self) -> Result<Option<Found<u16>>, TargetError> {
        let Some((name, value)) = self.first(["PUSHER_PORT", "REVERB_PORT"]) else {
            return Ok(None);
        };
        match value.trim().parse() {
            Ok(port) => Ok(Some(Found { value: port, source: Source::Variable(name) })),
            Err(_) => Err(TargetError::Port { name, value: value.to_owned() }),
        }
    }

    fn is_https(&self) -> Result<Option<Found<bool>>, TargetError> {
        match self.first(["PUSHER_SCHEME", "REVERB_SCHEME"]) {
            None => Ok(None),
            Some((name, "https")) => Ok(Some(Found { value: true, source: Source::Variable(name) })),
            Some((name, "http")) => Ok(Some(Found { value: false, source: Source::Variable(name) })),
            Some((name, value)) => Err(TargetError::Scheme { name, value: value.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::cli::ConfigArgs;

    const ONE_APP: &str = "[listen]\nhost = '0.0.0.0'\nport = 7000\npath_prefix = '/ws'\n\
        [[apps]]\nid = 'shop'\nkeys = [{ key = 'k1', secret = 'file-secret-1' }, { key = 'k2', secret = 'file-secret-2' }]\n";
    const TWO_APPS: &str = "[[apps]]\nid = 'a'\nkeys = [{ key = 'ka', secret = 'file-secret-a' }]\n\
        [[apps]]\nid = 'b'\nkeys = [{ key = 'kb', secret = 'file-secret-b' }]\n";

    fn find(args: TargetArgs, file: Option<&str>, variables: &[(&str, &str)]) -> Result<Target, TargetError> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("campanile.toml");
        let config = file.map(|text| {
            std::fs::write(&path, text).unwrap();
            Path::new(&path).to_owned()
        });
        let args = TargetArgs { file: ConfigArgs { config }, ..args };
        Target::find(&args, variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
    }

    fn app(target: &Target) -> (&str, &str, &str) {
        (&target.app_id, &target.key, target.secret.expose())
    }

    #[test]
    fn with_nothing_said_it_is_the_development_server() {
        let target = find(TargetArgs::default(), None, &[]).unwrap();
        assert_eq!(target.to_string(), "ws://127.0.0.1:6001");
        assert_eq!(app(&target), ("app-id", "app-key", "app-secret"));
    }

    #[test]
    fn each_value_is_taken_from_the_first_place_that_has_it() {
        let pusher = [("PUSHER_HOST", "p.example"), ("PUSHER_PORT", "1"), ("PUSHER_SCHEME", "https")];
        let reverb = [("REVERB_HOST", "r.example"), ("REVERB_PORT", "2"), ("REVERB_SCHEME", "http")];
        let both = [pusher, reverb].concat();

        let file = find(TargetArgs::default(), Some(ONE_APP), &[]).unwrap();
        assert_eq!(file.to_string(), "ws://127.0.0.1:7000/ws");
        let family = find(TargetArgs::default(), Some(ONE_APP), &reverb).unwrap();
        assert_eq!(family.to_string(), "ws://r.example:2/ws");
        let first = find(TargetArgs::default(), Some(ONE_APP), &both).unwrap();
        assert_eq!(first.to_string(), "wss://p.example:1/ws");
        let flags = TargetArgs {
            host: Some("::1".to_owned()),
            port: Some(3),
            path_prefix: Some("live/".to_owned()),
            ..TargetArgs::default()
        };
        let flags = find(flags, Some(ONE_APP), &both).unwrap();
        assert_eq!(flags.to_string(), "wss://[::1]:3/live");
    }

    #[test]
    fn an_empty_variable_counts_as_absent() {
        let target = find(TargetArgs::default(), None, &[("PUSHER_HOST", ""), ("REVERB_HOST", "r.example")]).unwrap();
        assert_eq!(target.host, "r.example");
    }

    #[test]
    fn a_secret_goes_with_its_key() {
        let with_key = |key: &str| TargetArgs { key: Some(key.to_owned()), ..TargetArgs::default() };
        let target = find(TargetArgs::default(), Some(ONE_APP), &[]).unwrap();
        assert_eq!(app(&target), ("shop", "k1", "file-secret-1"));
        let target = find(with_key("k2"), Some(ONE_APP), &[]).unwrap();
        assert_eq!(app(&target), ("shop", "k2", "file-secret-2"));
        assert!(matches!(find(with_key("k3"), Some(ONE_APP), &[]), Err(TargetError::NoSecret(key)) if key == "k3"));
    }

    #[test]
    fn of_several_apps_one_must_be_named_by_id_or_by_key() {
        let named = |id: &str| TargetArgs { app_id: Some(id.to_owned()), ..TargetArgs::default() };
        let error = find(TargetArgs::default(), Some(TWO_APPS), &[]).unwrap_err();
        assert_eq!(error.to_string(), "the file has several apps: name one with --app-id (a, b)");
        let target = find(named("b"), Some(TWO_APPS), &[]).unwrap();
        assert_eq!(app(&target), ("b", "kb", "file-secret-b"));
        let target = find(TargetArgs::default(), Some(TWO_APPS), &[("PUSHER_APP_KEY", "kb")]).unwrap();
        assert_eq!(app(&target), ("b", "kb", "file-secret-b"));
        assert!(matches!(find(named("c"), Some(TWO_APPS), &[]), Err(TargetError::NoSuchApp(_))));
    }

    #[test]
    fn a_port_and_a_scheme_that_are_none_are_refused() {
        assert_eq!(
            find(TargetArgs::default(), None, &[("PUSHER_PORT", "65536")]).unwrap_err().to_string(),
            "PUSHER_PORT must be a port, not \"65536\""
        );
        assert_eq!(find(TargetArgs::default(), None, &[("PUSHER_PORT", "65535")]).unwrap().port, 65_535);
        assert_eq!(
            find(TargetArgs::default(), None, &[("REVERB_SCHEME", "wss")]).unwrap_err().to_string(),
            "REVERB_SCHEME must be http or https, not \"wss\""
        );
    }

    #[test]
    fn a_target_is_printed_without_its_secret() {
        let target = find(TargetArgs::default(), None, &[]).unwrap();
        assert!(!format!("{target:?}").contains("app-secret"));
        assert!(!target.account().contains("app-secret"));
    }

    #[test]
    fn the_account_names_the_source_of_each_value() {
        let target = find(TargetArgs::default(), None, &[]).unwrap();
        assert_eq!(
            target.account(),
            "server: ws://127.0.0.1:6001 (host: development default; port: development default)\n  as: app app-id \
             (development default), key app-key (development default), secret (development default)"
        );
        let args = TargetArgs { port: Some(3), key: Some("k2".to_owned()), ..TargetArgs::default() };
        let target = find(args, Some(ONE_APP), &[("PUSHER_HOST", "p.example"), ("REVERB_SCHEME", "https")]).unwrap();
        let Sources { host, port, tls, app_id, key, secret } = &target.sources;
        assert_eq!((host, port), (&Source::Variable("PUSHER_HOST"), &Source::Flag("--port")));
        assert_eq!((tls, key), (&Source::Variable("REVERB_SCHEME"), &Source::Flag("--key")));
        for source in [app_id, secret] {
            assert!(matches!(source, Source::File(path) if path.ends_with("campanile.toml")), "{source}");
        }
    }
}
