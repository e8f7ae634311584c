//! What may enter the build: licences, sources and crates.
//!
//! Owns the comparison of `cargo metadata` with `deny.toml`, whose form is cargo-deny's, so that either can check it.
//! Never looks at crates for other platforms than this one. The invariant: a crate that says nothing about its licence
//! is refused. Read on in [`crate::licence`].

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::licence;
use crate::steps::{cargo, output};

/// What cargo calls the public registry.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

#[derive(Deserialize)]
struct Rules {
    licenses: Licences,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licences {
    allow: Vec<String>,
    #[serde(default)]
    exceptions: Vec<Exception>,
}

#[derive(Deserialize)]
struct Exception {
    #[serde(rename = "crate")]
    name: String,
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

/// The step: the workspace and the fuzz targets.
pub(crate) fn check(root: &Path) -> Result<(), String> {
    let rules = std::fs::read_to_string(root.join("deny.toml")).map_err(|error| format!("deny.toml: {error}"))?;
    let rules: Rules = toml::from_str(&rules).map_err(|error| format!("deny.toml: {error}"))?;
    let host = host(root)?;
    let mut refused = 0;
    for manifest in ["Cargo.toml", "fuzz/Cargo.toml"] {
        let json =
            output(cargo(root).args(["metadata", "--locked", "--format-version", "1", "--filter-platform"]).args([
                host.as_str(),
                "--manifest-path",
                manifest,
            ]))?;
        let metadata: Metadata = serde_json::from_str(&json).map_err(|error| format!("cargo metadata: {error}"))?;
        println!("{manifest}: {} packages", metadata.packages.len());
        for (name, versions) in duplicates(&metadata.packages) {
            println!("note: {name} is built {} times: {}", versions.len(), versions.join(", "));
        }
        for package in &metadata.packages {
            for objection in objections(package, &rules) {
                println!("{} {}: {objection}", package.name, package.version);
                refused += 1;
            }
        }
    }
    if refused == 0 { Ok(()) } else { Err(format!("{refused} objections to dependencies")) }
}

/// The platform that we are on, as rustc names it.
pub(crate) fn host(root: &Path) -> Result<String, String> {
    let version = output(std::process::Command::new("rustc").current_dir(root).arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc -vV names no host".to_owned())
}

fn objections(package: &Package, rules: &Rules) -> Vec<String> {
    let mut objections = Vec::new();
    if let Some(ban) = rules.bans.deny.iter().find(|ban| ban.name == package.name) {
        objections.push(format!("banned: {}", ban.reason));
    }
    if let Some(source) = package.source.as_deref().filter(|source| *source != REGISTRY) {
        objections.push(format!("comes from {source}, which is not the public registry"));
    }
    let is_allowed = |licence: &str| {
        let excepted = rules.licenses.exceptions.iter().filter(|exception| exception.name == package.name);
        excepted
            .map(|exception| &exception.allow)
            .chain([&rules.licenses.allow])
            .flatten()
            .any(|known| known == licence)
    };
    match package.license.as_deref() {
        None => objections.push("says nothing about its licence".to_owned()),
        Some(expression) if licence::is_met(expression, is_allowed) => {}
        Some(expression) => objections.push(format!("{expression} is not among the allowed licences")),
    }
    objections
}

fn duplicates(packages: &[Package]) -> BTreeMap<&str, Vec<&str>> {
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        versions.entry(&package.name).or_default().push(&package.version);
    }
    versions.retain(|_, versions| versions.len() > 1);
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules() -> Rules {
        toml::from_str(
            r#"
            [licenses]
            allow = ["MIT"]
            exceptions = [{ crate = "fuzzer", allow = ["NCSA"] }]
            [bans]
            deny = [{ crate = "openssl", reason = "TLS is rustls alone" }]
            "#,
        )
        .unwrap()
    }

    fn objections_to(name: &str, license: Option<&str>, source: Option<&str>) -> Vec<String> {
        let package = Package {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            license: license.map(str::to_owned),
            source: source.map(str::to_owned),
        };
        objections(&package, &rules())
    }

    #[test]
    fn a_crate_with_an_allowed_licence_from_the_registry_or_from_here_is_welcome() {
        assert!(objections_to("a", Some("MIT OR Apache-2.0"), Some(REGISTRY)).is_empty());
        assert!(objections_to("campanile", Some("MIT"), None).is_empty());
        assert!(objections_to("fuzzer", Some("MIT AND NCSA"), Some(REGISTRY)).is_empty());
    }

    #[test]
    fn every_objection_is_told() {
        assert_eq!(objections_to("openssl", None, Some("git+https://example.com/a")).len(), 3);
        assert_eq!(objections_to("a", Some("AGPL-3.0"), Some(REGISTRY)).len(), 1);
        assert_eq!(objections_to("other", Some("MIT AND NCSA"), Some(REGISTRY)).len(), 1);
        assert_eq!(objections_to("a", None, None).len(), 1);
    }
}
