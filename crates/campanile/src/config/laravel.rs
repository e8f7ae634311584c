//! The environment names that Laravel teams already have.
//!
//! Owns `PUSHER_APP_*`, `REVERB_APP_*` and `REVERB_SERVER_*` as the server reads them. Never reads
//! `PUSHER_HOST` or `REVERB_HOST`: those say where publishers connect. The invariant: they fill what
//! the file leaves open and never override it, and two families that disagree are refused rather
//! than ranked. Next: `mod.rs` for the order in which sources are applied.

use toml::{Table, Value};

use super::problem::{Origin, Problems};

/// The two families, each with an id, a key and a secret.
const FAMILIES: [&str; 2] = ["PUSHER", "REVERB"];

/// The three names of a family, and what each sets in an app.
const PARTS: [(&str, &str); 3] =
    [("APP_ID", "apps[0].id"), ("APP_KEY", "apps[0].keys[0].key"), ("APP_SECRET", "apps[0].keys[0].secret")];

/// Fills the tree's gaps from the variables; returns notes on what was ignored.
pub(super) fn overlay(tree: &mut Table, variables: &[(String, String)], problems: &mut Problems) -> Vec<String> {
    let mut notes = Vec::new();
    // An empty value is what a .env file has for "not used".
    let get = |name: &str| {
        variables.iter().find(|(known, value)| known == name && !value.is_empty()).map(|(_, value)| value.as_str())
    };
    let families: Vec<_> =
        FAMILIES.iter().map(|family| PARTS.map(|(part, _)| get(&format!("{family}_{part}")))).collect();
    let named: Vec<_> = FAMILIES
        .iter()
        .zip(&families)
        .filter(|(_, values)| values.iter().any(Option::is_some))
        .map(|(family, _)| format!("{family}_APP_*"))
        .collect();
    if !named.is_empty() {
        if has_apps(tree) {
            notes.push(format!("{} ignored: the file defines its own apps", named.join(" and ")));
        } else {
            define_app(tree, &families, problems);
        }
    }
    listen(tree, get, problems, &mut notes);
    notes
}

fn has_apps(tree: &Table) -> bool {
    matches!(tree.get("apps"), Some(Value::Array(apps)) if !apps.is_empty())
}

/// One app from the family that is set, or from both where they agree.
fn define_app(tree: &mut Table, families: &[[Option<&str>; 3]], problems: &mut Problems) {
    let mut chosen: [Option<&str>; 3] = [None; 3];
    for (index, (part, path)) in PARTS.into_iter().enumerate() {
        let set: Vec<_> = FAMILIES
            .iter()
            .zip(families)
            .filter_map(|(family, values)| Some((format!("{family}_{part}"), values[index]?)))
            .collect();
        match set.as_slice() {
            [(first, a), (second, b)] if a != b => {
                problems.in_environment(first, format!("differs from {second}: unset one family, or make them agree"))
            }
            [(name, value), ..] => {
                problems.origins.record(path, Origin::Environment(name.clone()));
                chosen[index] = Some(value);
            }
            [] => {}
        }
    }
    for (family, values) in FAMILIES.iter().zip(families) {
        if values.iter().all(Option::is_none) {
            continue;
        }
        for ((part, _), value) in PARTS.into_iter().zip(values) {
            if value.is_none() {
                problems.in_environment(
                    &format!("{family}_{part}"),
                    format!("not set, though others of {family}_APP_* are: set all three or none"),
                );
            }
        }
    }
    let [Some(id), Some(key), Some(secret)] = chosen else {
        return;
    };
    let mut pair = Table::new();
    pair.insert("key".to_owned(), Value::String(key.to_owned()));
    pair.insert("secret".to_owned(), Value::String(secret.to_owned()));
    let mut app = Table::new();
    app.insert("id".to_owned(), Value::String(id.to_owned()));
    app.insert("keys".to_owned(), Value::Array(vec![Value::Table(pair)]));
    tree.insert("apps".to_owned(), Value::Array(vec![Value::Table(app)]));
}

/// `REVERB_SERVER_HOST` and `REVERB_SERVER_PORT`, where the file does not say.
fn listen<'a>(
    tree: &mut Table,
    get: impl Fn(&str) -> Option<&'a str>,
    problems: &mut Problems,
    notes: &mut Vec<String>,
) {
    for (name, field) in [("REVERB_SERVER_HOST", "host"), ("REVERB_SERVER_PORT", "port")] {
        let Some(written) = get(name) else {
            continue;
        };
        let table = tree.entry("listen").or_insert_with(|| Value::Table(Table::new()));
        let Value::Table(table) = table else {
            continue;
        };
        if table.contains_key(field) {
            notes.push(format!("{name} ignored: the file sets listen.{field}"));
            continue;
        }
        let value = match field {
            "host" => Value::String(written.to_owned()),
            _ => match written.trim().parse::<u16>() {
                Ok(port) => Value::Integer(i64::from(port)),
                Err(_) => {
                    problems.in_environment(name, format!("must be a port, not {written:?}"));
                    continue;
                }
            },
        };
        problems.origins.record(&format!("listen.{field}"), Origin::Environment(name.to_owned()));
        table.insert(field.to_owned(), value);
    }
}
