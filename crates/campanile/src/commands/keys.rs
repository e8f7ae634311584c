//! `campanile keys new`: ids, keys and secrets.
//!
//! Owns their making and the form in which they are handed over. Never stores one. The invariant:
//! everything random comes from the operating system, and a failure there is told, not papered over.
//! Next: `config/apps.rs`, which reads them.

use std::collections::HashSet;
use std::io::{self, Write};

use crate::cli::{KeysFormat, KeysNewArgs};

/// Bytes of a key; twice as many hex digits.
const KEY_BYTES: usize = 10;

/// Bytes of a secret; twice as many hex digits.
const SECRET_BYTES: usize = 20;

/// Ids are numbers of six digits, as SDKs in other languages expect them to look.
const IDS: std::ops::Range<u32> = 100_000..1_000_000;

/// Makes the keys and prints them.
///
/// # Errors
///
/// When the random number generator fails, the id is not one, or the output cannot be written.
pub fn run(args: &KeysNewArgs, out: &mut impl Write) -> io::Result<()> {
    let apps = ids(args)?.into_iter().map(NewApp::generate).collect::<io::Result<Vec<_>>>()?;
    for (index, app) in apps.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        match args.format {
            KeysFormat::Toml => app.write_toml(out)?,
            KeysFormat::Env => app.write_env(out, "")?,
        }
    }
    Ok(())
}

/// The ids to use: random and different, or the one given and its successors.
fn ids(args: &KeysNewArgs) -> io::Result<Vec<String>> {
    let Some(first) = &args.app_id else {
        let mut seen = HashSet::new();
        while seen.len() < usize::from(args.count) {
            // Not uniform to the last bit, which an id need not be.
            let number = u32::from_le_bytes(random()?) % (IDS.end - IDS.start) + IDS.start;
            seen.insert(number);
        }
        return Ok(seen.into_iter().map(|id| id.to_string()).collect());
    };
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
    if first.is_empty() || !first.bytes().all(is_plain) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "an app id may only have letters, digits, -, . and _: it stands in URLs",
        ));
    }
    Ok((1..=args.count)
        .map(|number| match number {
            1 => first.clone(),
            number => format!("{first}-{number}"),
        })
        .collect())
}

fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(format!("no random numbers: {error}")))?;
    Ok(bytes)
}

struct NewApp {
    id: String,
    key: String,
    secret: String,
}

impl NewApp {
    fn generate(id: String) -> io::Result<Self> {
        Ok(Self { id, key: hex::encode(random::<KEY_BYTES>()?), secret: hex::encode(random::<SECRET_BYTES>()?) })
    }

    /// A table for the file, with the application's side as comments, so that the output as a whole
    /// is a file that `serve` takes.
    fn write_toml(&self, out: &mut impl Write) -> io::Result<()> {
        let Self { id, key, secret } = self;
        writeln!(out, "[[apps]]")?;
        writeln!(out, "id = \"{id}\"")?;
        writeln!(out, "keys = [{{ key = \"{key}\", secret = \"{secret}\" }}]")?;
        writeln!(out)?;
        writeln!(out, "# For the .env of a Laravel application:")?;
        self.write_env(out, "# ")
    }

    /// Host and port are where `serve` listens unless it is told otherwise. The cluster means
    /// nothing to us; laravel-echo asks for one.
    fn write_env(&self, out: &mut impl Write, before: &str) -> io::Result<()> {
        for (name, value) in [
            ("BROADCAST_CONNECTION", "pusher"),
            ("PUSHER_APP_ID", &self.id),
            ("PUSHER_APP_KEY", &self.key),
            ("PUSHER_APP_SECRET", &self.secret),
            ("PUSHER_HOST", "127.0.0.1"),
            ("PUSHER_PORT", "6001"),
            ("PUSHER_SCHEME", "http"),
            ("PUSHER_APP_CLUSTER", "mt1"),
            ("VITE_PUSHER_APP_KEY", "\"${PUSHER_APP_KEY}\""),
            ("VITE_PUSHER_HOST", "\"${PUSHER_HOST}\""),
            ("VITE_PUSHER_PORT", "\"${PUSHER_PORT}\""),
            ("VITE_PUSHER_SCHEME", "\"${PUSHER_SCHEME}\""),
            ("VITE_PUSHER_APP_CLUSTER", "\"${PUSHER_APP_CLUSTER}\""),
        ] {
            writeln!(out, "{before}{name}={value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn keys(app_id: Option<&str>, count: u16, format: KeysFormat) -> String {
        let args = KeysNewArgs { app_id: app_id.map(str::to_owned), count, format };
        let mut out = Vec::new();
        run(&args, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_is_printed_is_a_file_that_the_server_takes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("campanile.toml");
        std::fs::write(&path, keys(None, 1000, KeysFormat::Toml)).unwrap();
        let config = Config::load(Some(&path), std::iter::empty()).unwrap();
        assert_eq!(config.apps.len(), 1000);
        for app in &config.apps {
            let [pair] = app.keys.as_slice() else {
                panic!("{} keys", app.keys.len());
            };
            let is_hex = |text: &str| text.bytes().all(|b| b"0123456789abcdef".contains(&b));
            assert!(pair.key.len() == 20 && is_hex(&pair.key));
            assert!(pair.secret.expose().len() == 40 && is_hex(pair.secret.expose()));
            assert_eq!(app.id.len(), 6);
        }
    }

    #[test]
    fn several_apps_of_one_name_are_numbered() {
        let text = keys(Some("shop"), 3, KeysFormat::Toml);
        for id in ["shop", "shop-2", "shop-3"] {
            assert!(text.contains(&format!("id = \"{id}\"\n")), "{text}");
        }
        let args = KeysNewArgs { app_id: Some("a/b".to_owned()), count: 1, format: KeysFormat::Toml };
        assert!(run(&args, &mut Vec::new()).is_err());
    }

    #[test]
    fn the_environment_lines_define_the_same_app() {
        let environment: Vec<_> = keys(Some("shop"), 1, KeysFormat::Env)
            .lines()
            .map(|line| {
                let (name, value) = line.split_once('=').unwrap();
                (name.to_owned(), value.to_owned())
            })
            .collect();
        let config = Config::load(None, environment.into_iter()).unwrap();
        assert_eq!(config.apps[0].id, "shop");
        assert_eq!(config.apps[0].keys[0].secret.expose().len(), 40);
    }

    #[test]
    fn the_readme_shows_what_is_printed_and_uses_no_other_name() {
        const README: &str = include_str!("../../../../README.md");
        let (_, block) = README.split_once("```ini\n").unwrap();
        let (block, echo) = block.split_once("```").unwrap();
        let names = |text: &str| -> Vec<String> {
            text.lines().map(|line| line.split('=').next().unwrap_or_default().to_owned()).collect()
        };
        let printed = names(&keys(None, 1, KeysFormat::Env));
        assert_eq!(names(block), printed);
        let used = echo.split("import.meta.env.").skip(1);
        let used: Vec<_> = used.map(|rest| rest.split(|c: char| !c.is_ascii_uppercase() && c != '_').next()).collect();
        assert!(used.len() > 4, "{used:?}");
        for name in used.into_iter().flatten() {
            assert!(printed.iter().any(|known| known == name), "{name}");
        }
    }
}
