//! The configuration's promises, each at its bound and one past it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::apps::EXAMPLE_SECRET_PREFIX;
use super::file::{File, Shape, Shaped};
use super::limits::{self, Limit, Unset};
use super::*;

const MACHINE: Machine = Machine { cores: 2, descriptors: 100_000, memory: 1 << 32 };

/// An app that nothing is wrong with.
const APP: &str = "[[apps]]\nid = 'shop'\nkeys = [{ key = 'k1', secret = 's1' }]\n";

fn explain(file: Option<&str>, variables: &[(&str, &str)]) -> Result<(Config, Explanation), ConfigError> {
    let directory = tempfile::tempdir().unwrap();
    let path = file.map(|text| {
        let path = directory.path().join("campanile.toml");
        fs::write(&path, text).unwrap();
        path
    });
    let variables: Vec<_> = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::load_explained(path.as_deref(), variables.into_iter(), &MACHINE)
}

fn load(file: Option<&str>, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    explain(file, variables).map(|(config, _)| config)
}

fn accept(file: &str) -> Config {
    load(Some(file), &[]).unwrap_or_else(|error| panic!("{file}\n{error}"))
}

/// The problems of a file, without the directory of the test.
fn refusals(file: &str) -> Vec<String> {
    refusals_with(Some(file), &[])
}

fn refusals_with(file: Option<&str>, variables: &[(&str, &str)]) -> Vec<String> {
    let error = load(file, variables).expect_err("accepted");
    error
        .problems()
        .iter()
        .map(|problem| {
            let text = problem.to_string();
            match text.split_once("campanile.toml:") {
                Some((_, rest)) => format!("line {rest}"),
                None => text,
            }
        })
        .collect()
}

fn assert_refused(file: &str, expected: &str) {
    let found = refusals(file);
    assert!(found.len() == 1 && found[0].contains(expected), "{file}\nexpected {expected:?}\nfound {found:#?}");
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

// Defaults.

#[test]
fn without_file_and_environment_there_is_a_development_app_on_loopback() {
    let config = load(None, &[]).unwrap();
    assert_eq!(config.listen.address, "127.0.0.1:6001".parse().unwrap());
    assert_eq!(config.state_dir, Path::new("./campanile-state"));
    assert_eq!(config.workers, 2);
    let [app] = config.apps.as_slice() else {
        panic!("{} apps", config.apps.len());
    };
    assert_eq!(app.id, "app-id");
    assert_eq!(app.keys[0].key, "app-key");
    assert_eq!(app.keys[0].secret.expose(), "app-secret");
    assert!(app.enabled && app.client_events && app.user_authentication);
    assert!(!app.watchlists && !app.subscription_counts);
}

#[test]
fn an_app_has_the_limits_of_pusher() {
    let config = accept(APP);
    let app = &config.apps[0];
    assert_eq!(app.name, "shop");
    assert!(!app.client_events);
    let limits = &app.limits;
    assert_eq!(limits.activity_timeout, Duration::from_secs(120));
    assert_eq!(limits.connections_max, None);
    assert_eq!(limits.backend_events_per_sec, None);
    assert_eq!(limits.client_events_per_sec, 10);
    assert_eq!(limits.channel_name_length_max, 164);
    assert_eq!(limits.event_name_length_max, 200);
    assert_eq!(limits.event_data_bytes_max, 10_240);
    assert_eq!(limits.client_event_bytes_max, 10_240);
    assert_eq!(limits.channels_per_event_max, 100);
    assert_eq!(limits.batch_events_max, 10);
    assert_eq!(limits.presence_members_max, 100);
    assert_eq!(limits.presence_member_bytes_max, 1024);
    assert_eq!(limits.presence_user_id_length_max, 128);
    assert_eq!(limits.cache_ttl, Duration::from_secs(1800));
    assert_eq!(limits.watchlist_max, 100);
}

#[test]
fn the_node_derives_what_depends_on_the_machine_and_the_apps() {
    let limits = accept(APP).limits;
    assert_eq!(limits.connections_max, 100_000 - 2 * 256 - 128);
    assert_eq!(limits.frame_bytes_max, 64 * 1024);
    assert_eq!(limits.send_queue_bytes_max, 1024 * 1024);
    assert_eq!(limits.http_body_bytes_max, 256 * 1024);

    let limits = accept(&format!("{APP}event_data_bytes_max = 1048576\nclient_event_bytes_max = 1048576\n")).limits;
    let largest = 2 * 1_048_576 + 4096;
    assert_eq!(limits.frame_bytes_max, largest);
    assert_eq!(limits.send_queue_bytes_max, largest);
    assert_eq!(limits.http_body_bytes_max, 10 * largest);
}

#[test]
fn development_keys_are_refused_on_any_address_but_loopback() {
    let known_key = "[[apps]]\nid = 'a'\nkeys = [{ key = 'app-key', secret = 'own' }]\n";
    let known_secret = "[[apps]]\nid = 'a'\nkeys = [{ key = 'own', secret = 'app-secret' }]\n";
    let spare_key = "[[apps]]\nid = 'a'\nenabled = false\nkeys = [{ key = 'own', secret = 'own' }, \
                     { key = 'app-key', secret = 'own', enabled = false }]\n";
    let example = "[[apps]]\nid = 'a'\nkeys = [{ key = 'own', secret = 'example-secret-1' }]\n";
    for app in ["", known_key, known_secret, spare_key, example] {
        for host in ["127.0.0.1", "127.9.9.9", "::1", "localhost", "::ffff:127.0.0.1"] {
            accept(&format!("listen.host = '{host}'\n{app}"));
        }
        for host in ["0.0.0.0", "::", "192.168.1.7", "203.0.113.9"] {
            let found = refusals(&format!("listen.host = '{host}'\n{app}"));
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].starts_with("line 1: listen.host: app"), "{found:?}");
            assert!(found[0].contains("`campanile keys new`"), "{found:?}");
        }
    }
    accept(&format!("listen.host = '0.0.0.0'\n{APP}"));
    let by_environment = refusals_with(None, &[("CAMPANILE__LISTEN__HOST", "0.0.0.0")]);
    assert!(by_environment[0].starts_with("CAMPANILE__LISTEN__HOST: listen.host:"));
}

// The file.

#[test]
fn an_unknown_key_is_refused_with_the_nearest_known_name() {
    for (text, expected) in [
        ("state_dri = 'x'", "line 1: state_dri: unknown setting; did you mean `state_dir`?"),
        (
            "\n[limits]\nhead_byte_max = 1",
            "line 3: limits.head_byte_max: unknown setting; did you mean `limits.head_bytes_max`?",
        ),
        (
            "[[apps]]\nid = 'a'\nkeys = [{ key = 'k', secert = 's' }]",
            "line 3: apps[0].keys[0].secert: unknown setting; did you mean \
             `apps[0].keys[0].secret`?",
        ),
        ("port = 7000", "line 1: port: unknown setting; did you mean `listen.port`?"),
        (
            "presence_members_max = 7",
            "line 1: presence_members_max: unknown setting; did you mean \
             `apps[0].presence_members_max`?",
        ),
        ("[listne]\nport = 7000", "line 1: listne: unknown setting; did you mean `listen`?"),
        ("[log]\ncolourful = true", "line 2: log.colourful: unknown setting; known here: level, format"),
    ] {
        assert_eq!(refusals(text), [expected]);
    }
}

#[test]
fn a_value_of_the_wrong_type_is_refused_without_being_quoted() {
    for (text, expected) in [
        ("[listen]\nport = 'high'", "line 2: listen.port: must be a whole number, not a string"),
        ("workers = 1.5", "line 1: workers: must be a whole number, not a number with a fraction"),
        ("workers = -1", "line 1: workers: must not be negative"),
        ("workers = 0xffffffffffffffff", "line 1: workers: the number is too large"),
        ("listen = 6001", "line 1: listen: must be a table, not a whole number"),
        ("[cors]\nallowed_origins = '*'", "line 2: cors.allowed_origins: must be an array, not a string"),
        (
            "[[apps]]\nid = 'a'\nkeys = [{ key = 'k', secret =\n31337 }]",
            "line 3: apps[0].keys[0].secret: must be a string, not a whole number",
        ),
        (
            "[[apps]]\nenabled = 'yes'\nid = 'a'\nkeys = [{ key = 'k', secret = 's' }]",
            "line 2: apps[0].enabled: must be true or false, not a string",
        ),
        ("apps = [1]", "line 1: apps[0]: must be a table, not a whole number"),
    ] {
        assert_eq!(refusals(text), [expected]);
    }
}

#[test]
fn a_syntax_error_has_its_line_and_does_not_quote_it() {
    let found = refusals("[[apps]]\nid = 'a'\nsecret = very-secret\n");
    assert!(found[0].starts_with("line 3: not valid TOML: "), "{found:?}");
    assert!(!found[0].contains("very-secret"), "{found:?}");
}

#[test]
fn all_problems_are_told_at_once_in_the_order_of_the_file() {
    let found = refusals_with(
        Some(&format!("{APP}channel_name_length_max = 201\n[log]\nlevel = 'loud'\n[listen]\nhost = 'here'\n")),
        &[("CAMPANILE__LISTEN__PORT", "65536")],
    );
    assert_eq!(found.len(), 4, "{found:#?}");
    assert!(found[0].starts_with("line 4: apps[0].channel_name_length_max: 201 is above"));
    assert!(found[1].starts_with("line 6: log.level: \"loud\" is not one of error, warn"));
    assert!(found[2].starts_with("line 8: listen.host: \"here\" is not an IP address"));
    assert!(found[3].starts_with("CAMPANILE__LISTEN__PORT: listen.port: 65536 is above"));
}

#[test]
fn unknown_settings_wrong_types_and_bad_values_are_told_in_one_run() {
    let found = refusals_with(
        Some(
            "[listen]\nprot = 7000\nhost = '0.0.0.0'\n\
             [limits]\nhead_bytes_max = 1\nframe_bytes_max = 'many'\n\
             [[apps]]\nidd = 'a'\nkeys = [{ key = 'k', secert = 's' }]\n\
             [[apps]]\nid = 'b'\nkeys = 1\ncolour = 'red'\n\
             [[apps]]\nenabled = 'yes'\n\
             [log]\nlevel = 'loud'\n",
        ),
        &[("CAMPANILE__WORKERS", "two"), ("CAMPANILE__TLS__CERT_FLE", "x"), ("CAMPANILE__DRAIN__WAVE_SECS", "601")],
    );
    let begins = [
        "line 2: listen.prot: unknown setting; did you mean `listen.port`?",
        "line 5: limits.head_bytes_max: 1 is below",
        "line 6: limits.frame_bytes_max: must be a whole number",
        "line 8: apps[0].idd: unknown setting; did you mean `apps[0].id`?",
        "line 9: apps[0].keys[0].secert: unknown setting; did you mean `apps[0].keys[0].secret`?",
        "line 12: apps[1].keys: must be an array",
        "line 13: apps[1].colour: unknown setting; known here: ",
        "line 14: apps[2]: id is missing",
        "line 14: apps[2]: has no keys",
        "line 15: apps[2].enabled: must be true or false",
        "line 17: log.level: \"loud\" is not one of",
        "CAMPANILE__DRAIN__WAVE_SECS: drain.wave_secs: 601 is above",
        "CAMPANILE__TLS__CERT_FLE: unknown setting; did you mean CAMPANILE__TLS__CERT_FILE?",
        "CAMPANILE__TLS__CERT_FLE: tls: key_file is missing",
        "CAMPANILE__WORKERS: must be a whole number",
    ];
    assert_eq!(found.len(), begins.len(), "{found:#?}");
    for (found, begin) in found.iter().zip(begins) {
        assert!(found.starts_with(begin), "{found}\nis not\n{begin}");
    }
}

#[test]
fn what_only_follows_from_another_problem_is_not_told() {
    for (text, expected) in [
        // The development app would stand in, and complain of the address.
        ("listen.host = '0.0.0.0'\n[[appps]]\nid = 'a'", "line 2: appps: unknown setting; did you mean `apps`?"),
        ("listen.host = '0.0.0.0'\napps = 'a'", "line 2: apps: must be an array, not a string"),
        // What it would have allowed is not known.
        (
            "[limits]\nhttp_body_bytes_max = 16384\n[[apps]]\nid = 'a'\nkeys = [{ key = 'k', secret = 's' }]\n\
             event_data_bytes_max = '1'",
            "line 6: apps[0].event_data_bytes_max: must be a whole number, not a string",
        ),
    ] {
        assert_eq!(refusals(text), [expected]);
    }
    // An item that is none keeps its place, so that the next has the number under which the file's reader finds it.
    let found = refusals("apps = [1, { id = 'b', keys = [{ key = 'k', secret = 's' }], enabled = 2 }]");
    assert_eq!(
        found,
        [
            "line 1: apps[0]: must be a table, not a whole number",
            "line 1: apps[1].enabled: must be true or false, not a whole number"
        ]
    );
}

#[test]
fn a_missing_file_is_told_with_a_way_to_make_one() {
    let error = Config::load_explained(Some(Path::new("/nowhere/c.toml")), std::iter::empty(), &MACHINE)
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("/nowhere/c.toml: cannot read it: "), "{error}");
    assert!(error.contains("`campanile keys new`"), "{error}");
}

#[test]
fn a_file_may_be_as_large_as_its_bound_and_no_larger() {
    let bound = usize::try_from(FILE_BYTES_MAX).unwrap();
    let comment = format!("#{}\n{APP}", "x".repeat(bound - APP.len() - 2));
    assert_eq!(comment.len(), bound);
    accept(&comment);
    let found = refusals(&format!("{comment}\n"));
    assert!(found[0].contains("has more than 16777216 bytes"), "{found:?}");
}

#[test]
fn bodies_and_answers_may_take_an_eighth_of_the_memory_and_always_one_of_each() {
    let bound = |memory| {
        let machine = Machine { memory, ..MACHINE };
        Config::load_explained(None, std::iter::empty(), &machine).unwrap().0.limits.http_bytes_max
    };
    assert_eq!(bound(1 << 32), 1 << 29);
    assert_eq!(bound(1 << 20), 2 * 2 * 256 * 1024);
}

#[test]
fn a_pipe_that_lies_there_is_not_waited_for_and_one_that_was_passed_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("c.toml");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    for path in [&path, directory.path()] {
        let error = Config::load_explained(Some(path), std::iter::empty(), &MACHINE).unwrap_err().to_string();
        assert!(error.ends_with("is no regular file: name one, or /dev/stdin"), "{error}");
    }
    // As the shell passes `<(...)`.
    let (reader, mut writer) = std::io::pipe().unwrap();
    std::io::Write::write_all(&mut writer, APP.as_bytes()).unwrap();
    drop(writer);
    let passed = Path::new("/proc/self/fd").join(std::os::fd::AsRawFd::as_raw_fd(&reader).to_string());
    let (config, _) = Config::load_explained(Some(&passed), std::iter::empty(), &MACHINE).unwrap();
    assert_eq!(config.apps[0].id, "shop");
    // By now it is empty, and that must not look like a file without apps.
    let error = Config::load_again(Some(&passed), std::iter::empty()).unwrap_err().to_string();
    assert!(error.contains("is no regular file, so it cannot be read again"), "{error}");
}

// The environment.

#[test]
fn the_environment_overrides_any_scalar() {
    let config = load(
        Some(&format!("{APP}[listen]\nport = 7000\n")),
        &[
            ("CAMPANILE__LISTEN__PORT", "7001"),
            ("CAMPANILE__STATE_DIR", "/var/lib/campanile"),
            ("CAMPANILE__LISTEN__TRUSTED_PROXIES__0", "10.0.0.0/8"),
            ("CAMPANILE__LISTEN__TRUSTED_PROXIES__1", "192.0.2.1"),
            ("CAMPANILE__TLS__CERT_FILE", "/dev/null"),
            ("CAMPANILE__TLS__KEY_FILE", "/dev/null"),
            ("CAMPANILE__LIMITS__PONG_TIMEOUT_SECS", "7"),
            ("CAMPANILE__LOG__FORMAT", "json"),
            ("CAMPANILE__APPS__0__CLIENT_EVENTS", "true"),
            ("CAMPANILE__APPS__0__KEYS__0__SECRET", "s2"),
            ("CAMPANILE__APPS__1__ID", "second"),
            ("CAMPANILE__APPS__1__KEYS__0__KEY", "k2"),
            ("CAMPANILE__APPS__1__KEYS__0__SECRET", "s2"),
            ("CAMPANILE__APPS__1__WEBHOOKS__0__URL", "http://127.0.0.1/a"),
            ("CAMPANILE__APPS__1__WEBHOOKS__0__HEADERS__X_API_KEY", "t"),
            ("CAMPANILE_CONFIG", "not one of these"),
            ("CAMPANILE", "nor this"),
        ],
    )
    .unwrap();
    assert_eq!(config.listen.address.port(), 7001);
    assert_eq!(config.state_dir, Path::new("/var/lib/campanile"));
    assert_eq!(config.listen.trusted_proxies.len(), 2);
    assert!(config.tls.is_some());
    assert_eq!(config.limits.pong_timeout, Duration::from_secs(7));
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.apps.len(), 2);
    assert!(config.apps[0].client_events);
    assert_eq!(config.apps[0].keys[0].key, "k1");
    assert_eq!(config.apps[0].keys[0].secret.expose(), "s2");
    assert_eq!(config.apps[1].id, "second");
    let (name, value) = &config.apps[1].webhooks[0].headers[0];
    assert_eq!((name.as_str(), value.as_bytes()), ("x-api-key", &b"t"[..]));
}

#[test]
fn the_environment_replaces_a_header_that_the_file_has() {
    let config = load(
        Some(&format!("{APP}webhooks = [{{ url = 'http://127.0.0.1/', headers = {{ X-Api_Key = 'old' }} }}]")),
        &[("CAMPANILE__APPS__0__WEBHOOKS__0__HEADERS__X_API_KEY", "new")],
    )
    .unwrap();
    let headers = &config.apps[0].webhooks[0].headers;
    assert_eq!(headers.len(), 1);
    assert_eq!(headers[0].1.as_bytes(), b"new");
}

#[test]
fn items_are_added_in_the_order_of_their_numbers() {
    let names: Vec<_> = (0..12).rev().map(|n| format!("CAMPANILE__CORS__ALLOWED_ORIGINS__{n}")).collect();
    let variables: Vec<_> = names.iter().map(|n| (n.as_str(), "example.com")).collect();
    let config = load(None, &variables).unwrap();
    assert!(config.cors.allowed_origins.contains("http://example.com"));
}

#[test]
fn an_unknown_variable_of_ours_is_refused_with_the_nearest_name() {
    for (name, value, expected) in [
        ("CAMPANILE__LISTEN__PROT", "1", "unknown setting; did you mean CAMPANILE__LISTEN__PORT?"),
        ("CAMPANILE__PORT", "1", "unknown setting; did you mean CAMPANILE__LISTEN__PORT?"),
        ("CAMPANILE__LISTEN__port", "1", "unknown setting; did you mean CAMPANILE__LISTEN__PORT?"),
        (
            "CAMPANILE__LOG__COLOURFUL",
            "1",
            "unknown setting; known here: CAMPANILE__LOG__LEVEL, CAMPANILE__LOG__FORMAT",
        ),
        ("CAMPANILE__LISTEN__PORT", "high", "must be a whole number, not \"high\""),
        ("CAMPANILE__LISTEN__PORT", "-1", "must be a whole number, not \"-1\""),
        ("CAMPANILE__LISTEN__PORT", "", "must be a whole number, not \"\""),
        ("CAMPANILE__LISTEN__PORT", "9223372036854775808", "the number is too large"),
        ("CAMPANILE__APPS__0__ENABLED", "yes", "must be true or false, not \"yes\""),
        ("CAMPANILE__LISTEN", "x", "`listen` is a table: set one of its settings"),
        (
            "CAMPANILE__CORS__ALLOWED_ORIGINS",
            "*",
            "`cors.allowed_origins` is an array: set its items one by one, as in \
             CAMPANILE__CORS__ALLOWED_ORIGINS__0",
        ),
        ("CAMPANILE__LISTEN__PORT__0", "1", "`listen.port` is a single value: its name is CAMPANILE__LISTEN__PORT"),
        ("CAMPANILE__APPS__2__ID", "x", "`apps` has one item so far, so the next one is CAMPANILE__APPS__1"),
        ("CAMPANILE__APPS__ID", "x", "`apps` is an array: set its items one by one, as in CAMPANILE__APPS__0"),
        ("CAMPANILE__", "x", "unknown setting; known here: CAMPANILE__STATE_DIR, "),
        ("CAMPANILE__0", "x", "unknown setting; known here: CAMPANILE__STATE_DIR, "),
    ] {
        let found = refusals_with(Some(APP), &[(name, value)]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(&format!("{name}: {expected}")), "{found:?}");
    }
}

// Laravel's names.

const PUSHER: [(&str, &str); 3] = [("PUSHER_APP_ID", "7"), ("PUSHER_APP_KEY", "lk"), ("PUSHER_APP_SECRET", "ls")];

const REVERB: [(&str, &str); 3] = [("REVERB_APP_ID", "7"), ("REVERB_APP_KEY", "lk"), ("REVERB_APP_SECRET", "ls")];

#[test]
fn either_family_of_laravel_names_defines_an_app() {
    let unused = ("REVERB_APP_KEY", "");
    let both = [PUSHER, REVERB].concat();
    for variables in [&PUSHER[..], &REVERB, &both, &[&PUSHER[..], &[unused]].concat()] {
        let config = load(None, variables).unwrap();
        assert_eq!(config.apps.len(), 1);
        assert_eq!(config.apps[0].id, "7");
        assert_eq!(config.apps[0].keys[0].key, "lk");
        assert_eq!(config.apps[0].keys[0].secret.expose(), "ls");
        assert!(!config.apps[0].client_events);
        assert!(config.notes.is_empty());
    }
    let and_ours = [&PUSHER[..], &[("CAMPANILE__APPS__0__CLIENT_EVENTS", "true")]].concat();
    assert!(load(None, &and_ours).unwrap().apps[0].client_events);
}

#[test]
fn families_that_differ_are_refused() {
    for (index, name) in ["ID", "KEY", "SECRET"].into_iter().enumerate() {
        let mut reverb = REVERB;
        reverb[index].1 = "other";
        let found = refusals_with(None, &[PUSHER, reverb].concat());
        assert_eq!(
            found,
            [format!(
                "PUSHER_APP_{name}: differs from REVERB_APP_{name}: unset one family, or make them \
                 agree"
            )]
        );
    }
}

#[test]
fn half_a_family_is_refused() {
    let found = refusals_with(None, &PUSHER[..2]);
    assert_eq!(found, ["PUSHER_APP_SECRET: not set, though others of PUSHER_APP_* are: set all three or none"]);
}

#[test]
fn the_apps_of_the_file_stand_against_laravel_names_and_a_note_says_so() {
    let config = load(Some(APP), &[&PUSHER[..], &REVERB[..1]].concat()).unwrap();
    assert_eq!(config.apps[0].id, "shop");
    assert_eq!(config.notes, ["PUSHER_APP_* and REVERB_APP_* ignored: the file defines its own apps"]);
}

#[test]
fn reverb_says_where_to_listen_unless_the_file_or_our_own_names_do() {
    let server = [("REVERB_SERVER_HOST", "::1"), ("REVERB_SERVER_PORT", "8080")];
    let config = load(None, &server).unwrap();
    assert_eq!(config.listen.address, "[::1]:8080".parse().unwrap());

    let config = load(Some("[listen]\nport = 7000\n"), &server).unwrap();
    assert_eq!(config.listen.address, "[::1]:7000".parse().unwrap());
    assert_eq!(config.notes, ["REVERB_SERVER_PORT ignored: the file sets listen.port"]);

    let ours = [&server[..], &[("CAMPANILE__LISTEN__PORT", "7001")]].concat();
    assert_eq!(load(None, &ours).unwrap().listen.address.port(), 7001);

    for port in ["65536", "http"] {
        let found = refusals_with(None, &[("REVERB_SERVER_PORT", port)]);
        assert_eq!(found, [format!("REVERB_SERVER_PORT: must be a port, not {port:?}")]);
    }
}

#[test]
fn where_publishers_connect_is_not_where_the_server_listens() {
    let config = load(
        None,
        &[
            ("PUSHER_HOST", "203.0.113.1"),
            ("PUSHER_PORT", "443"),
            ("REVERB_HOST", "203.0.113.2"),
            ("REVERB_PORT", "444"),
        ],
    )
    .unwrap();
    assert_eq!(config.listen.address, "127.0.0.1:6001".parse().unwrap());
}

// Apps, keys and secrets.

#[test]
fn ids_and_keys_are_used_once_in_the_whole_configuration() {
    let second = "[[apps]]\nid = 'other'\nkeys = [{ key = 'k2', secret = 's1' }]\n";
    assert_eq!(accept(&format!("{APP}{second}")).apps.len(), 2);
    assert_refused(
        &format!("{APP}{}", second.replace("other", "shop")),
        "line 5: apps[1].id: app \"shop\" is already defined by apps[0].id: ids must differ",
    );
    assert_refused(
        &format!("{APP}{}", second.replace("k2", "k1")),
        "line 6: apps[1].keys[0].key: key \"k1\" is already used by apps[0].keys[0].key",
    );
    assert_refused(
        "[[apps]]\nid = 'a'\nkeys = [{ key = 'k', secret = 's' }, { key = 'k', secret = 't', \
         enabled = false }]\n",
        "line 3: apps[0].keys[1].key: key \"k\" is already used by apps[0].keys[0].key",
    );
}

#[test]
fn an_app_needs_an_id_and_a_key_with_a_secret() {
    for (app, expected) in [
        ("keys = [{ key = 'k', secret = 's' }]", "apps[0]: id is missing"),
        ("id = 'a'", "apps[0]: has no keys"),
        ("id = 'a'\nkeys = []", "apps[0]: has no keys"),
        ("id = 'a'\nkeys = [{ secret = 's' }]", "apps[0].keys[0]: key is missing"),
        ("id = 'a'\nkeys = [{ key = 'k' }]", "apps[0].keys[0]: has no secret"),
        (
            "id = 'a'\nkeys = [{ key = 'k', secret = 's', secret_file = 'f' }]",
            "apps[0].keys[0]: has both secret and secret_file: remove one",
        ),
        (
            "id = 'a'\nkeys = [{ key = 'k', secret = '[redacted]' }]",
            "apps[0].keys[0].secret: is the mark that `campanile check` prints",
        ),
        ("id = 'a'\nkeys = [{ key = 'k', secret = '' }]", "apps[0].keys[0].secret: is empty"),
        ("id = 'a'\nkeys = [{ key = 'k', secret = \"a\\nb\" }]", "apps[0].keys[0].secret: has control characters"),
        (
            "id = 'a'\nwatchlists = true\nuser_authentication = false\nkeys = [{ key = 'k', secret \
             = 's' }]",
            "apps[0].watchlists: needs user_authentication",
        ),
    ] {
        assert_refused(&format!("[[apps]]\n{app}\n"), expected);
    }
}

#[test]
fn an_id_and_a_key_may_stand_in_a_url() {
    let app = |id: &str, key: &str| format!("[[apps]]\nid = '{id}'\nkeys = [{{ key = '{key}', secret = 's' }}]\n");
    let longest = "x".repeat(200);
    for name in ["1", "a-b_c.D", longest.as_str()] {
        accept(&app(name, "k"));
        accept(&app("a", name));
    }
    let too_long = "x".repeat(201);
    for (name, expected) in [
        ("", "must not be empty"),
        ("a/b", "it stands in URLs"),
        ("a:b", "it stands in URLs"),
        ("a b", "it stands in URLs"),
        ("é", "it stands in URLs"),
        ("..", "it stands in URLs"),
        (too_long.as_str(), "has 201 characters, and 200 are the most"),
    ] {
        assert_refused(&app(name, "k"), expected);
        assert_refused(&app("a", name), expected);
    }
}

#[test]
fn a_secret_may_come_from_a_file_without_its_last_line_break() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    let file = format!("[[apps]]\nid = 'a'\nkeys = [{{ key = 'k', secret_file = '{}' }}]\n", path.display());
    let longest = "x".repeat(200);
    for (text, secret) in
        [("s1", "s1"), ("s1\n", "s1"), ("s1\r\n", "s1"), (" s1 \n", " s1 "), (longest.as_str(), longest.as_str())]
    {
        fs::write(&path, text).unwrap();
        assert_eq!(accept(&file).apps[0].keys[0].secret.expose(), secret);
    }
    for (text, expected) in [
        (String::new(), "apps[0].keys[0].secret_file: is empty"),
        ("\n".to_owned(), "apps[0].keys[0].secret_file: is empty"),
        ("s1\ns2\n".to_owned(), "has control characters"),
        ("x".repeat(201), "has 201 characters, and 200 are the most"),
        (format!("s{}", "\n".repeat(4096)), "has more than 4096 bytes: is it the right file?"),
    ] {
        fs::write(&path, text).unwrap();
        assert_refused(&file, expected);
    }
    fs::write(&path, format!("s{}", "\n".repeat(4095))).unwrap();
    accept(&file);
    fs::remove_file(&path).unwrap();
    assert_refused(&file, "apps[0].keys[0].secret_file: cannot read ");
}

#[test]
fn no_secret_is_shown_by_debug_or_by_a_problem() {
    let file = "[[apps]]\nid = 'a'\nkeys = [{ key = 'k', secret = 'hush' }]\n\
                webhooks = [{ url = 'http://127.0.0.1/', headers = { authorization = 'hush' } }]\n";
    let (config, explanation) = explain(Some(file), &[]).unwrap();
    assert!(!format!("{config:?}{explanation:?}").contains("hush"));
    assert!(!explanation.to_toml().unwrap().contains("hush"));

    let found = refusals(&format!(
        "{file}{}",
        "[[apps]]\nid = 'a'\nkeys = [{ key = 'k', secret = \"hush\\u0007\", secret_file = 'x' }]"
    ));
    assert!(!found.concat().contains("hush"), "{found:?}");
}

// The guard.

#[test]
fn the_guards_rules_are_read_as_they_are_written() {
    use campanile_hub::guard::claim::{RepeatOf, SurgeOf};
    use campanile_hub::guard::{Cause, OnExceed, Per, Rate, Scope};

    let plain = accept(APP).apps[0].guard.clone();
    assert_eq!(plain.dedupe, [campanile_hub::guard::DedupeRule::of_laravel_notifications()]);
    assert_eq!((plain.limits.len(), plain.breakers.len(), plain.alert_after), (0, 0, 100));

    let file = format!(
        "{APP}[apps.guard]\nlaravel_notifications = false\nalert_after = 7\n\
         [[apps.guard.dedupe]]\nevent = 'order.*'\nkey = '/order_id'\n\
         [[apps.guard.dedupe]]\nchannel = 'private-*'\nhash = 'body'\nscope = 'app'\nwindow_secs = 5\n\
         [[apps.guard.limits]]\nchannel = 'private-user.{{user}}'\nper = 'user'\nevents = 3\nper_secs = 60\n\
         [[apps.guard.limits]]\nper = 'app'\nevents = 3\nburst = 9\non_exceed = 'collapse'\n\
         [[apps.guard.breakers]]\nrepeats = 50\n\
         [[apps.guard.breakers]]\nevent = 'tick'\ntimes = 10\nfloor = 5\ncool_down_secs = 9\n\
         [[apps.guard.budgets]]\nper = 'day'\nmessages = 200000\n\
         [[apps.guard.budgets]]\nper = 'month'\nmessages = 3000000\non_exceed = 'refuse'\n"
    );
    let budget = |name: &str, per, messages, on_exceed| Budget { name: name.into(), per, messages, on_exceed };
    assert_eq!(
        accept(&file).apps[0].budgets,
        [
            budget("budgets[0]", Period::Day, 200_000, OnSpent::Warn),
            budget("budgets[1]", Period::Month, 3_000_000, OnSpent::Refuse),
        ]
    );
    let guard = &accept(&file).apps[0].guard;
    assert_eq!(guard.alert_after, 7);
    let [order, body] = &guard.dedupe[..] else { panic!("{guard:?}") };
    assert_eq!((&*order.name, order.scope, order.window_secs), ("dedupe[0]", Scope::Channel, 60));
    assert_eq!((&*body.name, body.scope, body.window_secs), ("dedupe[1]", Scope::App, 5));
    let [user, app] = &guard.limits[..] else { panic!("{guard:?}") };
    assert_eq!((user.per, user.on_exceed), (Per::User, OnExceed::Drop));
    assert_eq!(user.rate, Rate { events: 3, per_secs: 60, burst: 3 });
    assert_eq!((app.per, app.on_exceed), (Per::App, OnExceed::Collapse));
    assert_eq!(app.rate, Rate { events: 3, per_secs: 1, burst: 9 });
    let [repeat, surge] = &guard.breakers[..] else { panic!("{guard:?}") };
    assert_eq!(repeat.cause, Cause::Repeat(RepeatOf { repeats: 50, within_secs: 10, cool_down_secs: 60 }));
    assert_eq!(surge.cause, Cause::Surge(SurgeOf { times: 10, floor: 5, cool_down_secs: 9 }));

    let (_, explanation) = explain(Some(&file), &[]).unwrap();
    let shown = explanation.to_toml().unwrap();
    for line in
        ["window_secs = 60", "burst = 3  # derived: events", "within_secs = 10", "key = \"/order_id\"  # file, line"]
    {
        assert!(shown.contains(line), "{line} in\n{shown}");
    }
}

#[test]
fn a_rule_that_cannot_be_followed_is_refused_with_what_to_do() {
    for (table, rule, expected) in [
        ("dedupe", "", "dedupe[0]: needs key = \"/pointer/into/data\", or hash = \"body\""),
        ("dedupe", "key = 'order_id'", "dedupe[0].key: \"order_id\" is no JSON pointer"),
        ("dedupe", "key = ''", "dedupe[0].key: \"\" is no JSON pointer"),
        ("dedupe", "key = '/a'\nhash = 'body'", "dedupe[0]: has both key and hash"),
        ("dedupe", "hash = 'data'", "dedupe[0].hash: \"data\" is unknown"),
        ("dedupe", "key = '/a'\nscope = 'chanel'", "dedupe[0].scope: \"chanel\" is unknown; did you mean \"channel\"?"),
        ("dedupe", "key = '/a'\nevent = 'a*b*'", "dedupe[0].event: may have one * or one {user}"),
        ("dedupe", "key = '/a'\nevent = '{user}'", "dedupe[0].event: names no user"),
        ("dedupe", "key = '/a'\nchannel = ''", "dedupe[0].channel: must not be empty"),
        ("dedupe", "key = '/a'\nwindow = 60", "dedupe[0].window: unknown setting"),
        ("limits", "events = 1", "limits[0]: needs per = \"event\""),
        ("limits", "per = 'app'", "limits[0]: needs events"),
        (
            "limits",
            "per = 'user'\nevents = 1\nchannel = 'private-*'",
            "limits[0].channel: must say where the user's id is",
        ),
        ("limits", "per = 'app'\nevents = 1\non_exceed = 'delay'", "limits[0].on_exceed: \"delay\" is unknown"),
        ("breakers", "", "breakers[0]: needs repeats"),
        ("breakers", "repeats = 1\ntimes = 2", "breakers[0]: has both repeats and times"),
        ("breakers", "repeats = 1\nfloor = 2", "breakers[0].floor: goes with times"),
        ("breakers", "times = 2\nwithin_secs = 2", "breakers[0].within_secs: goes with repeats"),
        ("budgets", "messages = 1", "budgets[0]: needs per = \"day\" or \"month\""),
        ("budgets", "per = 'week'\nmessages = 1", "budgets[0].per: \"week\" is unknown"),
        ("budgets", "per = 'day'", "budgets[0]: needs messages"),
        ("budgets", "per = 'day'\nmessages = 1\non_exceed = 'defer'", "budgets[0].on_exceed: \"defer\" is unknown"),
        (
            "budgets",
            "per = 'day'\nmessages = 1\n[[apps.guard.budgets]]\nper = 'day'\nmessages = 2",
            "budgets[1].per: budgets[0] is for a day already",
        ),
    ] {
        assert_refused(&format!("{APP}[[apps.guard.{table}]]\n{rule}\n"), &format!("apps[0].guard.{expected}"));
    }
    assert_refused(&format!("{APP}[apps.guard]\nalert_afer = 1\n"), "did you mean `apps[0].guard.alert_after`?");
}

// What it would cost.

#[test]
fn the_price_table_is_the_files_own_or_two_plans_that_are_known() {
    let [sandbox, startup] = &accept(APP).plans[..] else { panic!("two plans") };
    assert_eq!((sandbox.name.as_str(), sandbox.price_cents, sandbox.per), ("Sandbox", 0, Period::Day));
    assert_eq!((sandbox.messages, sandbox.connections), (200_000, 100));
    assert_eq!((startup.name.as_str(), startup.price_cents, startup.per), ("Startup", 4900, Period::Month));
    assert_eq!((startup.messages, startup.connections, startup.currency.as_str()), (3_000_000, 500, "USD"));

    let plan = "[[plans]]\nname = 'Ours'\nprice_cents = 990\nmessages = 5\nconnections = 3\n";
    let [ours] = &accept(&format!("{plan}currency = 'EUR'\n{APP}")).plans[..] else { panic!("one plan") };
    assert_eq!((ours.name.as_str(), ours.currency.as_str(), ours.per), ("Ours", "EUR", Period::Month));
    let (_, explanation) = explain(Some(&format!("{plan}{APP}")), &[]).unwrap();
    let shown = explanation.to_toml().unwrap();
    assert!(shown.contains("currency = \"USD\"") && shown.contains("per = \"month\""), "{shown}");

    for (written, expected) in [
        ("name = 'a'\nmessages = 1\nconnections = 1", "plans[0]: needs price_cents"),
        ("price_cents = 1\nmessages = 1\nconnections = 1", "plans[0]: needs a name"),
        ("name = 'a'\nprice_cents = 1\nconnections = 1", "plans[0]: needs messages"),
        ("name = 'a'\nprice_cents = 1\nmessages = 1", "plans[0]: needs connections"),
        ("name = ' '\nprice_cents = 1\nmessages = 1\nconnections = 1", "plans[0].name: must not be empty"),
        (
            "name = 'a'\nprice_cents = 1\nmessages = 1\nconnections = 1\nper = 'year'",
            "plans[0].per: \"year\" is unknown",
        ),
        (
            "name = 'a'\nprice_cents = 1\nmessages = 1\nconnections = 1\ncurrency = \"\\n\"",
            "plans[0].currency: must not be empty",
        ),
        ("name = 'a'\nprice_cents = 1\nmessages = 1\nconnections = 1\nprice = 1", "plans[0].price: unknown setting"),
    ] {
        assert_refused(&format!("[[plans]]\n{written}\n{APP}"), expected);
    }
    assert_refused(&format!("{plan}{plan}{APP}"), "plans[1].name: there is a plan \"Ours\" already");
    let name = |length: usize| format!("{}{APP}", plan.replace("Ours", &"n".repeat(length)));
    assert_eq!(accept(&name(100)).plans.len(), 1);
    assert_refused(&name(101), "plans[0].name: has more than 100 characters");
}

#[test]
fn an_app_may_list_as_many_prefixes_as_the_bound_and_no_more_and_the_longest_is_meant() {
    let listed = |prefixes: &[&str]| format!("{APP}usage_prefixes = {prefixes:?}\n");
    let app = accept(&listed(&["private-shop.", "private-shop.eu."])).apps.remove(0);
    assert_eq!(app.usage_prefixes, ["private-shop.eu.", "private-shop."]);
    let many = vec!["a"; limits::USAGE_PREFIXES_LISTED_MAX];
    assert_eq!(accept(&listed(&many)).apps[0].usage_prefixes.len(), limits::USAGE_PREFIXES_LISTED_MAX);
    assert_refused(&listed(&[&many[..], &["a"]].concat()), "apps[0].usage_prefixes: has 33 beginnings");
    for (prefix, expected) in
        [("", "is empty"), ("private-*", "\"private-*\" has a *"), (&*"p".repeat(201), "has more than 200 characters")]
    {
        assert_refused(&listed(&[prefix]), &format!("apps[0].usage_prefixes[0]: {expected}"));
    }
}

// Numbers.

/// A file that sets one limit, and the path that problems name.
fn setting(limit: &Limit, number: u64) -> (String, String) {
    let line = format!("{} = {number}\n", limit.name);
    match limit.table {
        "" => (format!("{line}{APP}"), limit.name.to_owned()),
        "apps" => (format!("{APP}{line}"), format!("apps[0].{}", limit.name)),
        "plans" => (format!("[[plans]]\n{line}{APP}"), format!("plans[0].{}", limit.name)),
        "apps.webhooks" => (
            format!("{APP}[[apps.webhooks]]\nurl = 'http://127.0.0.1/'\n{line}"),
            format!("apps[0].webhooks[0].{}", limit.name),
        ),
        "apps.guard" => (format!("{APP}[apps.guard]\n{line}"), format!("apps[0].guard.{}", limit.name)),
        table if table.starts_with("apps.guard.") => {
            // What goes with another number is looked at with that one.
            let other = match limit.name {
                "within_secs" => "repeats = 1\n",
                "floor" => "times = 2\n",
                _ => "",
            };
            let list = table.trim_start_matches("apps.guard.");
            (format!("{APP}[[{table}]]\n{other}{line}"), format!("apps[0].guard.{list}[0].{}", limit.name))
        }
        table => (format!("[{table}]\n{line}{APP}"), format!("{table}.{}", limit.name)),
    }
}

#[test]
fn every_number_is_accepted_at_its_bounds_and_refused_one_past_them() {
    for limit in limits::LIMITS {
        let (min, max) = (*limit.range.start(), *limit.range.end());
        let out_of_range = |number: u64| {
            let (file, path) = setting(limit, number);
            match load(Some(&file), &[]) {
                Ok(_) => false,
                Err(error) => error.problems().iter().map(Problem::to_string).any(|text| {
                    text.contains(&format!(": {path}: {number} is below the least allowed, {min}"))
                        || text.contains(&format!(": {path}: {number} is above the most allowed, {max}"))
                }),
            }
        };
        assert!(!out_of_range(min), "{} refuses its least", limit.name);
        assert!(!out_of_range(max), "{} refuses its most", limit.name);
        assert!(out_of_range(max + 1), "{} accepts {}", limit.name, max + 1);
        assert!(out_of_range(i64::MAX as u64), "{}", limit.name);
        if let Some(below) = min.checked_sub(1) {
            assert!(out_of_range(below), "{} accepts {below}", limit.name);
        }
        if let Unset::Default(number) = limit.unset {
            assert!(limit.range.contains(&number), "{}", limit.name);
        }
    }
}

#[test]
fn every_number_of_the_file_has_one_row_in_the_table_of_limits() {
    fn collect(shape: Shape, table: &str, into: &mut BTreeMap<(String, String), usize>) {
        match shape {
            Shape::Table(fields) => {
                for field in fields {
                    if let Shape::Integer = field.shape {
                        into.insert((table.to_owned(), field.name.to_owned()), 0);
                    }
                    collect(field.shape, &tree::join(table, field.name), into);
                }
            }
            Shape::List(item) => collect(*item, table, into),
            Shape::Text | Shape::Integer | Shape::Boolean | Shape::Map => {}
        }
    }
    let mut rows = BTreeMap::new();
    collect(File::SHAPE, "", &mut rows);
    for limit in limits::LIMITS {
        *rows
            .get_mut(&(limit.table.to_owned(), limit.name.to_owned()))
            .unwrap_or_else(|| panic!("{}.{} is not in the file", limit.table, limit.name)) += 1;
    }
    for (name, count) in rows {
        assert_eq!(count, 1, "{name:?}");
    }
}

#[test]
fn what_an_app_allows_must_fit_the_node() {
    for (app, name, needed) in [
        ("client_event_bytes_max = 100000", "frame_bytes_max", 2 * 100_000 + 4096),
        ("presence_member_bytes_max = 65536\nwatchlist_max = 1000", "frame_bytes_max", 2 * 65_536 + 4096 + 1000 * 133),
        ("event_data_bytes_max = 1048576", "send_queue_bytes_max", 2 * 1_048_576 + 4096),
        ("presence_snapshot_bytes_max = 16777216", "send_queue_bytes_max", 16_777_216),
        (
            "replay_channels = ['private-*']\nreplay_bytes_max = 16777216",
            "send_queue_bytes_max",
            16_777_216 + 2 * 10_240 + 4096,
        ),
        ("batch_events_max = 1000", "http_body_bytes_max", 1000 * (2 * 10_240 + 4096)),
        ("batch_events_max = 1\nchannels_per_event_max = 1000", "http_body_bytes_max", 2 * 10_240 + 4096 + 1000 * 203),
    ] {
        let file = |bytes: u64| format!("{APP}{app}\n[limits]\n{name} = {bytes}\n");
        accept(&file(needed));
        let found = refusals(&file(needed - 1));
        assert_eq!(found.len(), 1, "{found:?}");
        let expected = format!("limits.{name}: {} is too small", needed - 1);
        assert!(found[0].contains(&expected), "{found:?}");
        assert!(found[0].contains(&needed.to_string()), "{found:?}");
    }
}

#[test]
fn channels_with_replay_are_those_that_can_be_signed_and_read() {
    let file = |pattern: &str| format!("{APP}replay_channels = ['{pattern}']\n");
    for pattern in ["private-user.7", "private-*", "presence-team.*", "private-cache-*"] {
        assert_eq!(accept(&file(pattern)).apps[0].replay_channels, [pattern]);
    }
    for (pattern, reason) in [
        ("orders", "must begin with private- or presence-"),
        ("*", "must begin with private- or presence-"),
        ("private", "must begin with private- or presence-"),
        ("private-*.7", "may have one *, at its end"),
        ("private-encrypted-*", "is an encrypted channel"),
    ] {
        assert_refused(&file(pattern), &format!("apps[0].replay_channels[0]: {pattern:?} {reason}"));
    }
}

#[test]
fn without_an_inbox_table_there_is_no_inbox() {
    let config = accept(APP);
    assert_eq!((config.inbox, config.apps[0].inbox.clone()), (None, None));
    assert_refused(
        &format!("{APP}[apps.inbox]\nchannels = ['private-user.{{user}}']\n"),
        "apps[0].inbox: needs a store: write [inbox]",
    );
}

/// A file with a store and what stands in the app.
fn inbox(app: &str) -> String {
    format!("[inbox]\n{APP}{app}")
}

#[test]
fn an_inbox_is_kept_in_state_dir_unless_a_database_is_named() {
    let user = "[apps.inbox]\nchannels = ['private-user.{user}']\n";
    let config = accept(&inbox(user));
    let store = config.inbox.unwrap();
    let sqlite = |synchronous| InboxStore::Sqlite { file: "./campanile-state/campanile.db".into(), synchronous };
    assert_eq!(store.store, sqlite(Synchronous::Full));
    assert_eq!(store.retention, Duration::from_secs(90 * 86_400));
    assert_eq!(config.apps[0].inbox.as_ref().unwrap().channels[0].as_str(), "private-user.{user}");
    let normal = accept("[inbox]\nsynchronous = 'normal'\n").inbox.unwrap();
    assert_eq!(normal.store, sqlite(Synchronous::Normal));
    let postgres = accept("[inbox]\nurl = 'postgres://u:hush@h/d'\n").inbox.unwrap();
    assert_eq!(postgres.store, InboxStore::Postgres { url: Secret::new("postgres://u:hush@h/d".to_owned()) });
    assert!(!format!("{postgres:?}").contains("hush"));
    for (table, why) in [
        ("url = 'postgres://h/d'\nurl_file = '/dev/null'", "inbox: has both url and url_file: remove one"),
        ("url = 'mysql://h/d'", "inbox.url: must begin with postgres://"),
        ("url = 'postgres://h/d'\nsynchronous = 'full'", "inbox.synchronous: is for SQLite"),
        ("synchronous = 'sometimes'", "inbox.synchronous: \"sometimes\" is unknown"),
        ("url_file = '/does/not/exist'", "inbox.url_file: cannot read /does/not/exist"),
        ("retention_day = 1", "inbox.retention_day: unknown setting; did you mean `inbox.retention_days`"),
    ] {
        let found = refusals(&format!("[inbox]\n{table}\n"));
        assert!(found.iter().any(|text| text.contains(why)), "{table}: {found:#?}");
    }
}

/// A file with a store and what stands there, and an app with an inbox and what stands there.
fn beyond(store: &str, app: &str) -> String {
    format!("[inbox]\n{store}{APP}[apps.inbox]\nchannels = ['private-user.{{user}}']\n{app}")
}

const MAIL: &str = "[inbox.mail]\nhost = 'localhost'\nfrom = 'The shop <hello@shop.example>'\n";

#[test]
fn a_notification_waits_for_longer_than_a_silent_client_is_believed_to_be_there() {
    let waits = |store: &str, app: &str| accept(&beyond(store, app)).beyond.unwrap().untaken_after.as_secs();
    assert_eq!(waits("", ""), 180, "120 for the ping, 30 for its answer, and as much again");
    assert_eq!(waits("untaken_after_secs = 151\n", ""), 151);
    let why = "inbox.untaken_after_secs: must be more than 150: a client that is silent is asked after \
               activity_timeout_secs (120) and has limits.pong_timeout_secs (30) to answer";
    assert_refused(&beyond("untaken_after_secs = 150\n", ""), why);
    let patient = "[[apps]]\nid = 'b'\nactivity_timeout_secs = 300\nkeys = [{ key = 'kb', secret = 'sb' }]\n";
    assert_eq!(waits("", patient), 180, "who has no inbox is not waited for");
    let patient = format!("{patient}[apps.inbox]\nchannels = ['private-user.{{user}}']\n");
    assert_eq!(waits("", &patient), 360);
    assert!(accept(APP).beyond.is_none());
}

#[test]
fn mail_goes_encrypted_unless_the_relay_is_here_or_it_was_asked_for() {
    let mail =
        |more: &str| accept(&beyond(&format!("{MAIL}{more}"), "[apps.inbox.mail]\n")).beyond.unwrap().mail.unwrap();
    let unset = mail("");
    assert_eq!((unset.security.name(), unset.port, unset.credentials), ("starttls", 587, None));
    assert_eq!(mail("security = 'tls'\n").port, 465);
    assert_eq!(mail("security = 'none'\n").port, 25);
    let elsewhere = MAIL.replace("localhost", "smtp.example.com");
    let in_clear = format!("{elsewhere}security = 'none'\n");
    assert_refused(&beyond(&in_clear, ""), "inbox.mail.security: \"none\" is for a relay on this machine");
    let asked = beyond(&format!("{in_clear}unencrypted = true\n"), "");
    let (_, explanation) = explain(Some(&asked), &[]).unwrap();
    let text = explanation.to_toml().unwrap();
    assert!(text.contains("# note: inbox.mail: mails go to smtp.example.com in clear"), "{text}");
    for (more, why) in [
        ("security = 'ssl'\n", "inbox.mail.security: \"ssl\" is not one of starttls, tls, none"),
        ("username = 'u'\n", "inbox.mail: has username and no password"),
        ("password = 'p'\n", "inbox.mail: has a password and no username"),
        ("username = 'u'\npassword = 'p'\npassword_file = '/dev/null'\n", "and in password_file as well: remove one"),
        ("reply_to = 'nobody'\n", "inbox.mail.reply_to: is no mail address"),
        ("ca_file = '/does/not/exist'\n", "inbox.mail.ca_file: cannot read /does/not/exist"),
        ("unsubscribe_secret = 'short'\n", "inbox.mail.unsubscribe_secret: is short: 32 characters are the least"),
    ] {
        assert_refused(&beyond(&format!("{MAIL}{more}"), ""), why);
    }
    let least = "s".repeat(UNSUBSCRIBE_SECRET_LENGTH_MIN);
    assert!(mail(&format!("unsubscribe_secret = '{least}'\n")).unsubscribe_secret.is_some());
    assert_refused(&beyond("[inbox.mail]\nfrom = 'a@b.example'\n", ""), "inbox.mail: needs host");
    assert_refused(&beyond("[inbox.mail]\nhost = 'h'\n", ""), "inbox.mail: needs from");
    assert_refused(&beyond("", "[apps.inbox.mail]\n"), "apps[0].inbox.mail: needs a relay: write [inbox.mail]");
}

#[test]
fn a_relays_password_is_shown_by_nobody() {
    let file = beyond(&format!("{MAIL}username = 'u'\npassword = 'hushhush'\n"), "[apps.inbox.mail]\n");
    let (config, explanation) = explain(Some(&file), &[]).unwrap();
    assert!(!explanation.to_toml().unwrap().contains("hushhush"));
    assert!(!format!("{config:?}").contains("hushhush"));
}

#[test]
fn mails_say_of_their_app_what_it_wants_and_without_a_way_out_that_is_told() {
    let own = "[apps.inbox.mail]\nfrom = 'App <app@shop.example>'\nlink_base = 'https://shop.example/x/'\n";
    let file = beyond(&format!("public_url = 'https://live.shop.example'\n{MAIL}"), own);
    let (config, explanation) = explain(Some(&file), &[]).unwrap();
    let mail = config.apps[0].beyond.mail.clone().unwrap();
    assert_eq!(
        (mail.from.unwrap().to_string(), mail.link_base.as_deref()),
        ("App <app@shop.example>".into(), Some("https://shop.example/x"))
    );
    assert!(!explanation.to_toml().unwrap().contains("no link to end them"));
    let (_, explanation) = explain(Some(&beyond(MAIL, own)), &[]).unwrap();
    assert!(explanation.to_toml().unwrap().contains("mails have no link to end them"));
    let (_, explanation) = explain(Some(&beyond(MAIL, "")), &[]).unwrap();
    assert!(explanation.to_toml().unwrap().contains("no app has an [apps.inbox.mail]: nobody gets one"));
    for (url, why) in [
        ("live.shop.example", "is no address"),
        ("ftp://live.shop.example", "must begin with https:// or http://"),
        ("https://live.shop.example/?a", "must end with its path"),
        ("https://u:p@live.shop.example/", "must not hold a user or password"),
    ] {
        assert_refused(&beyond(&format!("public_url = '{url}'\n"), ""), &format!("inbox.public_url: {why}"));
    }
}

#[test]
fn pushes_need_a_contact_and_keys_that_belong_together() {
    let push = |more: &str| format!("[inbox.web_push]\ncontact = 'mailto:ops@shop.example'\n{more}");
    let config = accept(&beyond(&push(""), ""));
    assert!(config.apps[0].beyond.web_push);
    let web_push = config.beyond.unwrap().web_push.unwrap();
    assert_eq!((web_push.urgency.name(), web_push.ttl.as_secs(), web_push.keys), ("normal", 86_400, None));
    assert!(!accept(&beyond(&push(""), "web_push = false\n")).apps[0].beyond.web_push);
    for (file, why) in [
        (beyond("[inbox.web_push]\n", ""), "inbox.web_push: needs contact"),
        (
            beyond("[inbox.web_push]\ncontact = 'ops'\n", ""),
            "inbox.web_push.contact: must begin with mailto: or https:",
        ),
        (beyond(&push("urgency = 'now'\n"), ""), "\"now\" is not one of very-low, low, normal, high"),
        (beyond(&push("public_key = 'x'\n"), ""), "inbox.web_push: has public_key and no private_key"),
        (beyond(&push("private_key = 'x'\n"), ""), "inbox.web_push: has a private key and no public_key"),
        (beyond(&push("public_key = 'x'\nprivate_key = 'y'\n"), ""), "not a pair of VAPID keys"),
        (beyond("", "web_push = true\n"), "apps[0].inbox.web_push: needs [inbox.web_push]"),
    ] {
        assert_refused(&file, why);
    }
    let (_, explanation) = explain(Some(&beyond(&push("private_endpoints = true\n"), "")), &[]).unwrap();
    assert!(explanation.to_toml().unwrap().contains("send requests into its own network"));
}

#[test]
fn inboxes_are_on_channels_that_name_a_user_and_that_the_application_signs() {
    for (channel, why) in [
        ("private-user.7", "names no user: write {user}"),
        ("private-*", "names no user"),
        ("user.{user}", "must begin with private- or presence-"),
        ("#server-to-user-{user}", "must begin with private- or presence-"),
        ("private-encrypted-{user}", "is an encrypted channel"),
        ("private-{user}-{user}", "may have one * or one {user}, and no more"),
    ] {
        for (table, at) in [
            (format!("channels = ['{channel}']\n"), "channels[0]"),
            (format!("channels = ['private-{{user}}']\nidentity = ['{channel}']\n"), "identity[0]"),
            (
                format!("channels = ['private-{{user}}']\n[[apps.inbox.capture]]\nchannel = '{channel}'\n"),
                "capture[0].channel",
            ),
        ] {
            let found = refusals(&inbox(&format!("[apps.inbox]\n{table}")));
            let is_told =
                found.iter().any(|text| text.contains(&format!("apps[0].inbox.{at}: ")) && text.contains(why));
            assert!(is_told, "{table}: {found:#?}");
        }
    }
    assert_refused(&inbox("[apps.inbox]\n"), "apps[0].inbox: needs channels");
}

#[test]
fn a_capture_rule_is_laravels_unless_it_says_otherwise() {
    let rule = |written: &str| {
        inbox(&format!(
            "[apps.inbox]\nchannels = ['private-u.{{user}}']\n[[apps.inbox.capture]]\nchannel = 'private-u.{{user}}'\n{written}\n"
        ))
    };
    let config = accept(&rule(""));
    let capture = &config.apps[0].inbox.as_ref().unwrap().captures[0];
    assert_eq!(capture.event.as_str(), LARAVEL_NOTIFICATION);
    let kind = capture.kind.as_ref().map(campanile_protocol::json::Pointer::as_str);
    assert_eq!((capture.id.as_str(), kind), ("/id", Some("/type")));
    assert_eq!((&capture.title, capture.on_store_error), (&None, campanile_hub::OnStoreError::Refuse));
    for (written, why) in [
        ("id = 'id'", "capture[0].id: \"id\" is no JSON pointer"),
        ("event = 'x.{user}'", "capture[0].event: names no user"),
        ("on_store_error = 'hope'", "capture[0].on_store_error: \"hope\" is unknown"),
        ("on_store_eror = 'push'", "capture[0].on_store_error`"),
    ] {
        let found = refusals(&rule(written));
        assert!(found.iter().any(|text| text.contains(why)), "{written}: {found:#?}");
    }
    assert_refused(
        &inbox("[apps.inbox]\nchannels = ['private-{user}']\n[[apps.inbox.capture]]\n"),
        "capture[0]: needs channel",
    );
}

#[test]
fn whoever_may_subscribe_acts_as_the_user_only_where_that_was_asked_for_and_then_it_is_told() {
    let (_, explanation) =
        explain(Some(&inbox("[apps.inbox]\nchannels = ['private-{user}']\nidentity = ['private-{user}']\n")), &[])
            .unwrap();
    let text = explanation.to_toml().unwrap();
    assert!(
        text.contains("# note: app \"shop\": whoever the application lets subscribe to private-{user} may read"),
        "{text}"
    );
    let (config, explanation) = explain(Some("[inbox]\n"), &[]).unwrap();
    assert!(config.apps[0].inbox.is_none());
    assert!(explanation.to_toml().unwrap().contains("no app has an [apps.inbox]"));
}

#[test]
fn a_server_token_is_long_and_stands_once() {
    let token = |written: &str| format!("{APP}[[apps.server_tokens]]\n{written}\n");
    let (short, least) = ("t".repeat(31), "t".repeat(32));
    assert_eq!(accept(&token(&format!("token = '{least}'"))).apps[0].server_tokens.len(), 1);
    assert_eq!(accept(&token(&format!("token = '{}'", "t".repeat(512)))).apps[0].server_tokens.len(), 1);
    for (written, why) in [
        (format!("token = '{short}'"), "has 31 characters, and 32 are the least"),
        (format!("token = '{}'", "t".repeat(513)), "has 513 characters, and 512 are the most"),
        (format!("token = '{least} x'"), "no header may carry"),
        (format!("token = '{least}'\ntoken_file = '/dev/null'"), "has both token and token_file"),
        (String::new(), "has no token"),
        (format!("token = '{least}'\n[[apps.server_tokens]]\ntoken = '{least}'"), "is there already"),
        ("token = '[redacted]'".to_owned(), "is the mark that `campanile check` prints"),
    ] {
        assert_refused(&token(&written), why);
    }
    let public =
        format!("[listen]\nhost = '0.0.0.0'\n{}", token("token = 'example-secret-of-a-server-token-that-all-know'"));
    assert_refused(&public, "a server token from the examples");
    let (_, explanation) = explain(Some(&token(&format!("token = '{least}'"))), &[]).unwrap();
    assert!(!explanation.to_toml().unwrap().contains(&least));
}

#[test]
fn the_query_of_a_webhooks_url_is_not_shown_and_what_is_shown_is_no_url() {
    let file = |url: &str| format!("{APP}[[apps.webhooks]]\nurl = '{url}'\n");
    let (config, explanation) = explain(Some(&file("https://h.example/hook?token=t0psecret")), &[]).unwrap();
    assert_eq!(config.apps[0].webhooks[0].url.query(), Some("token=t0psecret"));
    let shown = explanation.to_toml().unwrap();
    assert!(shown.contains(r#"url = "https://h.example/hook?[redacted]""#) && !shown.contains("t0psecret"), "{shown}");
    assert_eq!(refusals(&file("https://h.example/hook?[redacted]")).len(), 1);
}

#[test]
fn apps_that_no_body_can_hold_are_refused() {
    assert_refused(
        &format!("{APP}event_data_bytes_max = 1048576\nbatch_events_max = 1000\n"),
        "limits.http_body_bytes_max: 268435456 is too small: a batch to app \"shop\" \
         (batch_events_max, event_data_bytes_max) may take 2101248000 bytes",
    );
}

#[test]
fn a_snapshot_holds_at_least_one_member() {
    let file =
        |snapshot: u64| format!("{APP}presence_member_bytes_max = 8192\npresence_snapshot_bytes_max = {snapshot}\n");
    accept(&file(8192));
    assert_refused(&file(8191), "does not hold one member");
}

#[test]
fn connections_must_fit_the_open_files() {
    let available = MACHINE.descriptors - 2 * 256 - 128;
    let file = |connections: u64| format!("[limits]\nconnections_max = {connections}\n{APP}");
    accept(&file(available));
    assert_refused(&file(available + 1), "need 100001 open files, and this process may have 100000");

    let too_few = Machine { cores: 1, descriptors: 256 + 128, memory: 1 << 32 };
    let error = Config::load_explained(None, std::iter::empty(), &too_few).unwrap_err();
    assert!(error.to_string().contains("LimitNOFILE"), "{error}");
    let enough = Machine { descriptors: 256 + 128 + 1, ..too_few };
    let (config, _) = Config::load_explained(None, std::iter::empty(), &enough).unwrap();
    assert_eq!(config.limits.connections_max, 1);
    let unlimited = Machine { descriptors: u64::MAX, ..too_few };
    let (config, _) = Config::load_explained(None, std::iter::empty(), &unlimited).unwrap();
    assert_eq!(config.limits.connections_max, 1_000_000);
}

// The other subjects.

#[test]
fn a_path_prefix_is_written_in_several_ways_and_read_in_one() {
    for (written, read) in [("", ""), ("/", ""), ("ws", "/ws"), ("/ws", "/ws"), ("/ws/", "/ws"), ("/a/b-c", "/a/b-c")] {
        let config = accept(&format!("listen.path_prefix = '{written}'\n{APP}"));
        assert_eq!(config.listen.path_prefix, read, "{written:?}");
    }
    for written in ["/a//b", "/a b", "/a?b", "/a%20b", "/../b", "/."] {
        assert_refused(&format!("listen.path_prefix = '{written}'\n{APP}"), "is not a plain path");
    }
}

#[test]
fn the_path_of_a_unix_socket_must_fit_the_address() {
    let file = |length: usize| format!("listen.unix_socket = '{}'\n{APP}", "s".repeat(length));
    for length in [1, 107] {
        assert!(accept(&file(length)).listen.unix_socket.is_some());
    }
    for length in [0, 108] {
        assert_refused(&file(length), "listen.unix_socket: a socket's path has 1 to 107 bytes");
    }
}

#[test]
fn a_trusted_proxy_is_a_network() {
    let config = accept(&format!("listen.trusted_proxies = ['10.0.0.0/8']\n{APP}"));
    assert!(config.listen.trusted_proxies[0].contains("10.1.2.3".parse().unwrap()));
    assert!(!config.listen.trusts_unix_socket);
    let config = accept(&format!("listen.trusted_proxies = ['unix']\n{APP}"));
    assert!(config.listen.trusts_unix_socket && config.listen.trusted_proxies.is_empty());
    assert_refused(
        &format!("listen.trusted_proxies = ['10.0.0.0/8', 'proxy']\n{APP}"),
        "line 1: listen.trusted_proxies[1]: \"proxy\": not an IP network",
    );
}

#[test]
fn tls_takes_both_files_and_both_must_open() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("f.pem");
    fs::write(&file, "").unwrap();
    let file = file.display();
    let tls = accept(&format!("[tls]\ncert_file = '{file}'\nkey_file = '{file}'\n{APP}")).tls;
    assert!(tls.is_some());
    assert_refused(&format!("[tls]\ncert_file = '{file}'\n{APP}"), "line 1: tls: key_file is missing");
    assert_refused(&format!("[tls]\nkey_file = '{file}'\n{APP}"), "line 1: tls: cert_file is missing");
    assert_refused(
        &format!("[tls]\ncert_file = '{file}'\nkey_file = '{file}.no'\n{APP}"),
        "line 3: tls.key_file: cannot read",
    );
}

#[test]
fn origins_are_read_as_patterns() {
    let config = accept(&format!("{APP}allowed_origins = ['https://*.example.com']\n"));
    let origins = &config.apps[0].allowed_origins;
    assert!(origins.allow(Some("https://www.example.com")));
    assert!(!origins.allow(Some("https://example.net")));
    assert_refused(
        &format!("{APP}allowed_origins = ['https://example.com/shop']\n"),
        "line 4: apps[0].allowed_origins[0]: \"https://example.com/shop\": an origin has no path",
    );
    // Nobody, unless somebody is named.
    assert!(!config.cors.allowed_origins.contains("https://www.example.com"));
}

fn webhook(settings: &str) -> String {
    format!("{APP}[[apps.webhooks]]\n{settings}\n")
}

#[test]
fn a_webhook_gets_the_seven_events_of_pusher_and_more_on_request() {
    let config = accept(&webhook("url = 'https://example.com/hooks?t=1'"));
    let endpoint = &config.apps[0].webhooks[0];
    assert_eq!(endpoint.events, WebhookEvent::DEFAULT);
    assert!(endpoint.batch && !endpoint.socket_id);
    assert_eq!(endpoint.timeout, Duration::from_secs(10));

    let config = accept(&webhook("url = 'http://127.0.0.1'\nevents = ['connection_opened', 'connection_closed']"));
    assert_eq!(config.apps[0].webhooks[0].events, [WebhookEvent::ConnectionOpened, WebhookEvent::ConnectionClosed]);
}

#[test]
fn a_webhook_that_cannot_be_called_is_refused() {
    for (settings, expected) in [
        ("batch = true", "line 4: apps[0].webhooks[0]: url is missing"),
        ("url = '/hooks'", "line 5: apps[0].webhooks[0].url: is not a URL"),
        ("url = 'ftp://example.com'", "must begin with http:// or https://, not ftp:"),
        ("url = 'file:///etc/passwd'", "must begin with http:// or https://, not file:"),
        ("url = 'https://u:p@example.com'", "must not hold a user or password"),
        ("url = 'http://a'\nevents = []", "apps[0].webhooks[0].events: is empty"),
        (
            "url = 'http://a'\nevents = ['member_aded']",
            "line 6: apps[0].webhooks[0].events[0]: unknown event \"member_aded\"; did you mean \
             \"member_added\"?",
        ),
        ("url = 'http://a'\nevents = ['cache_miss', 'cache_miss']", "\"cache_miss\" is named twice"),
        ("url = 'http://a'\nheaders = { 'a b' = 'x' }", "apps[0].webhooks[0].headers.a b: is not a header name"),
        (
            "url = 'http://a'\nheaders = { x-a = '[redacted]' }",
            "headers.x-a: is the mark that `campanile check` prints",
        ),
        (
            "url = 'http://a'\nheaders = { X-Pusher-Signature = 'x' }",
            "headers.X-Pusher-Signature: is set by the server",
        ),
        ("url = 'http://a'\nheaders = { x-a = \"b\\nc\" }", "headers.x-a: has characters that no header may have"),
    ] {
        assert_refused(&webhook(settings), expected);
    }
}

// What is shown.

#[test]
fn each_value_that_is_not_the_default_says_where_it_came_from() {
    let (_, explanation) = explain(
        Some(&format!("[listen]\nport = 7000\n{APP}webhooks = [{{ url = 'http://a', batch = false }}]\n")),
        &[
            ("CAMPANILE__LOG__LEVEL", "debug"),
            ("CAMPANILE__APPS__0__KEYS__0__SECRET", "s2"),
            ("CAMPANILE__APPS__1__ID", "second"),
            ("CAMPANILE__APPS__1__KEYS__0__KEY", "k2"),
            ("CAMPANILE__APPS__1__KEYS__0__SECRET", "s2"),
            ("CAMPANILE__CORS__ALLOWED_ORIGINS__0", "example.com"),
            ("REVERB_SERVER_PORT", "1"),
        ],
    )
    .unwrap();
    let text = explanation.to_toml().unwrap();
    for line in [
        "# note: REVERB_SERVER_PORT ignored: the file sets listen.port",
        "workers = 2  # derived: CPU affinity and cgroup quota",
        "port = 7000  # file, line 2",
        "host = \"127.0.0.1\"",
        "level = \"debug\"  # environment, CAMPANILE__LOG__LEVEL",
        "allowed_origins = [\"example.com\"]  # environment, CAMPANILE__CORS__ALLOWED_ORIGINS__0",
        "id = \"shop\"  # file, line 4",
        "secret = \"[redacted]\"  # environment, CAMPANILE__APPS__0__KEYS__0__SECRET",
        "batch = false  # file, line 6",
        "id = \"second\"  # environment, CAMPANILE__APPS__1__ID",
        "key = \"k2\"  # environment, CAMPANILE__APPS__1__KEYS__0__KEY",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}\nin\n{text}");
    }
}

#[test]
fn what_is_shown_is_a_configuration_that_means_the_same() {
    let everything = fs::read_to_string(root().join("examples/everything.toml")).unwrap();
    for file in ["", APP, &everything] {
        let (_, explanation) = explain(Some(file), &[]).unwrap();
        let shown = explanation.to_toml().unwrap();
        let completed = shown.replace(REDACTED, "own");
        let (_, again) = explain(Some(&completed), &[]).unwrap();
        let plain = |text: &str| -> Vec<String> {
            text.lines().map(|line| line.split("  # ").next().unwrap_or_default().to_owned()).collect()
        };
        assert_eq!(plain(&again.to_toml().unwrap()), plain(&shown));
    }
}

#[test]
fn a_secret_file_is_shown_by_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    fs::write(&path, "hush\n").unwrap();
    let (_, explanation) = explain(
        Some(&format!("[[apps]]\nid = 'a'\nkeys = [{{ key = 'k', secret_file = '{}' }}]\n", path.display())),
        &[],
    )
    .unwrap();
    let text = explanation.to_toml().unwrap();
    assert!(text.contains(&format!("secret_file = \"{}\"", path.display())), "{text}");
    assert!(!text.contains("secret = "), "{text}");
}

// What is shipped.

#[test]
fn the_example_to_start_from_is_valid() {
    let (config, _) =
        Config::load_explained(Some(&root().join("campanile.example.toml")), std::iter::empty(), &MACHINE).unwrap();
    assert_eq!(config.apps.len(), 1);
    let pair = &config.apps[0].keys[0];
    assert_ne!(pair.key, DEVELOPMENT_KEY);
    assert!(pair.secret.expose().starts_with(EXAMPLE_SECRET_PREFIX));
}

#[test]
fn the_example_of_everything_has_everything_on() {
    let path = root().join("examples/everything.toml");
    let (config, _) = Config::load_explained(Some(&path), std::iter::empty(), &MACHINE).unwrap();
    assert!(config.listen.address.ip().is_loopback());
    let app = |id: &str| config.apps.iter().find(|app| app.id == id).unwrap();

    let everything = app("everything");
    assert!(everything.client_events && everything.user_authentication);
    assert!(everything.watchlists && everything.subscription_counts);
    assert_eq!(everything.limits.activity_timeout, Duration::from_secs(20));
    let [endpoint] = everything.webhooks.as_slice() else {
        panic!("{} webhooks", everything.webhooks.len());
    };
    assert_eq!(endpoint.url.as_str(), "http://127.0.0.1:9009/webhooks");
    assert_eq!(endpoint.events, WebhookEvent::ALL);
    let guard = &everything.guard;
    assert_eq!((guard.dedupe.len(), guard.limits.len(), guard.breakers.len()), (3, 4, 2));
    assert_eq!(everything.budgets.iter().map(|budget| budget.per).collect::<Vec<_>>(), [Period::Day, Period::Month]);
    assert!(everything.budgets.iter().all(|budget| budget.messages >= 200_000));
    // A test suite that knows nothing of the guard must not meet it.
    let event = |name: &str| campanile_protocol::EventName::parse(name, 200).unwrap();
    for name in ["my-event", "client-typing", "order.shipped", r"App\Events\OrderShipped"] {
        assert!(!guard.concern(&event(name)), "{name}");
    }

    assert_eq!(app("quota").limits.connections_max, Some(5));
    assert!(!app("disabled").enabled);
    assert!(!app("origins").allowed_origins.allow(Some("https://evil.test")));
    assert!(app("second").enabled);
    for pair in config.apps.iter().flat_map(|app| &app.keys) {
        assert_ne!(pair.key, DEVELOPMENT_KEY);
        assert!(pair.secret.expose().starts_with(EXAMPLE_SECRET_PREFIX));
    }
    // Every setting is there, be it commented out.
    fn names(shape: Shape, into: &mut Vec<&'static str>) {
        match shape {
            Shape::Table(fields) => {
                for field in fields {
                    into.push(field.name);
                    names(field.shape, into);
                }
            }
            Shape::List(item) => names(*item, into),
            Shape::Text | Shape::Integer | Shape::Boolean | Shape::Map => {}
        }
    }
    let text = fs::read_to_string(path).unwrap();
    let mut known = Vec::new();
    names(File::SHAPE, &mut known);
    for name in known {
        assert!(text.contains(name), "{name} is not in the example");
    }
}

#[test]
fn the_example_for_raw_speed_has_no_limit_in_the_way() {
    let (config, _) =
        Config::load_explained(Some(&root().join("examples/raw-speed.toml")), std::iter::empty(), &MACHINE).unwrap();
    assert_eq!(config.listen.address, "127.0.0.1:6001".parse().unwrap());
    let app = &config.apps[0];
    assert_eq!(app.id, DEVELOPMENT_ID);
    assert_eq!(app.keys[0].key, DEVELOPMENT_KEY);
    assert_eq!(app.keys[0].secret.expose(), DEVELOPMENT_SECRET);
    assert!(app.client_events);
    assert_eq!(app.limits.event_data_bytes_max, 1_048_576);
    assert_eq!(app.limits.backend_events_per_sec, None);
}

/// To write the page anew: `UPDATE_DOCS=1 cargo test -p campanile limits_page`.
#[test]
fn the_limits_page_is_the_table_that_the_server_uses() {
    let path = root().join("docs/limits.md");
    let expected = limits::to_markdown();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "docs/limits.md differs from the table: UPDATE_DOCS=1 cargo test -p campanile limits_page"
    );
}
