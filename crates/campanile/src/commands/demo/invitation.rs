//! What to do next with the server that the demo runs.
//!
//! Owns the lines to paste: Laravel's `.env`, Echo, and our own commands. Never shows a secret but the published one
//! of the development app. The invariant: with that app, every line works as it stands. Next: `mod.rs`.

use crate::config;
use crate::target::Target;

/// The lines, for this server and app; `campanile` is what a shell calls this binary by.
pub(super) fn invitation(target: &Target, campanile: &str) -> String {
    let secret = match target.secret.expose() {
        known if known == config::DEVELOPMENT_SECRET => known,
        _ => "...the app's secret...",
    };
    let scheme = if target.tls { "https" } else { "http" };
    let (host, port, key, app_id) = (&target.host, target.port, &target.key, &target.app_id);
    // What is a default of our commands is left out, so that the lines stay short.
    let mut flags = format!("--port {port}");
    for (flag, value, default) in [
        ("--host", host.as_str(), "127.0.0.1"),
        ("--app-id", app_id, config::DEVELOPMENT_ID),
        ("--key", key, config::DEVELOPMENT_KEY),
    ] {
        if value != default {
            flags.push_str(&format!(" {flag} {value}"));
        }
    }
    if target.tls {
        flags.push_str(" --tls");
    }
    let mut ws_path = String::new();
    if !target.path_prefix.is_empty() {
        flags.push_str(&format!(" --path-prefix {}", target.path_prefix));
        ws_path = format!("wsPath: '{}', ", target.path_prefix);
    }
    format!(
        "  Use it from Laravel, in .env:

    BROADCAST_CONNECTION=pusher
    PUSHER_APP_ID={app_id}
    PUSHER_APP_KEY={key}
    PUSHER_APP_SECRET={secret}
    PUSHER_HOST={host}
    PUSHER_PORT={port}
    PUSHER_SCHEME={scheme}
    PUSHER_APP_CLUSTER=mt1

  and in the browser (pusher-js wants a cluster; it means nothing here):

    new Echo({{ broadcaster: 'pusher', key: '{key}', cluster: 'mt1',
      wsHost: '{host}', wsPort: {port}, wssPort: {port}, {ws_path}
      forceTLS: {tls}, enabledTransports: ['ws', 'wss'] }})

  Or from two more terminals:

    {campanile} listen private-user.1 {flags}
    {campanile} trigger {flags} \\
      --channel private-user.1 --event hello --data '{{\"id\":7}}'

",
        tls = target.tls,
    )
    .replace(", \n", ",\n")
}

/// What to try when the demo, and its server with it, has ended.
pub(super) fn next_steps(campanile: &str) -> String {
    format!(
        "  Its server has ended with it. Next:

    {campanile} serve      one that stays, on 127.0.0.1:{port}
    {campanile} keys new   an app of your own
    {campanile} help       everything else

",
        port = crate::target::DEVELOPMENT_PORT
    )
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command, TargetArgs};

    fn target() -> Target {
        Target::find(&TargetArgs { port: Some(40_123), ..TargetArgs::default() }, std::iter::empty()).unwrap()
    }

    #[test]
    fn the_commands_are_understood_and_mean_this_server() {
        let elsewhere = Target {
            host: "bells.example".to_owned(),
            tls: true,
            path_prefix: "/ws".to_owned(),
            app_id: "shop".to_owned(),
            key: "k1".to_owned(),
            ..target()
        };
        for target in [target(), elsewhere] {
            let text = invitation(&target, "target/release/campanile").replace("\\\n", "");
            let commands: Vec<_> =
                text.lines().filter(|line| line.starts_with("    target/release/campanile ")).collect();
            assert_eq!(commands.len(), 2);
            for line in commands {
                let words = line.split_whitespace().map(|word| word.trim_matches('\''));
                let args = match Cli::try_parse_from(words).unwrap().into_command() {
                    Command::Listen(args) => args.target,
                    Command::Trigger(args) => args.target,
                    other => panic!("{other:?}"),
                };
                let found = Target::find(&args, std::iter::empty()).unwrap();
                assert_eq!(found.to_string(), target.to_string());
                assert_eq!((&found.app_id, &found.key), (&target.app_id, &target.key));
            }
        }
    }

    #[test]
    fn what_to_try_next_is_understood() {
        let text = next_steps("target/release/campanile");
        let commands: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("    ")).collect();
        assert_eq!(commands.len(), 3);
        for line in commands {
            let (command, explanation) = line.split_once("   ").unwrap();
            assert!(line.chars().count() < 76 && !explanation.is_empty(), "{line}");
            match Cli::try_parse_from(command.split_whitespace()) {
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), clap::error::ErrorKind::DisplayHelp, "{error}"),
            }
        }
    }

    #[test]
    fn the_environment_is_what_laravel_reads() {
        let text = invitation(&target(), "campanile");
        for line in [
            "BROADCAST_CONNECTION=pusher",
            "PUSHER_APP_ID=app-id",
            "PUSHER_APP_KEY=app-key",
            "PUSHER_APP_SECRET=app-secret",
            "PUSHER_HOST=127.0.0.1",
            "PUSHER_PORT=40123",
            "PUSHER_SCHEME=http",
            "PUSHER_APP_CLUSTER=mt1",
        ] {
            assert!(text.contains(&format!("\n    {line}\n")), "{text}");
        }
        assert!(text.starts_with("  Use"), "{text}");
    }

    #[test]
    fn a_secret_of_ones_own_is_not_shown() {
        let own = Target { secret: config::Secret::new("s3cr3t".to_owned()), ..target() };
        assert!(!invitation(&own, "campanile").contains("s3cr3t"));
    }
}
