//! What the documentation points to is there.
//!
//! Owns nothing but tests: they run with all others. Never judges words. The invariant: a link to a file, a path in
//! ARCHITECTURE.md and a test that docs/protocol.md names as evidence all exist. Read on in `CONTRIBUTING.md`.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is around this crate")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Every page, by its path from the root.
fn pages() -> Vec<PathBuf> {
    let folders = ["", "docs", "docs/decisions", "e2e", "fuzz", "clients/inbox"].map(|folder| root().join(folder));
    let entries = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let pages: Vec<_> =
        entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension() == Some("md".as_ref())).collect();
    assert!(pages.len() > 10);
    pages
}

/// What stands between backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// An anchor as the usual hosts make it of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || "-_ ".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_link_leads_to_a_file_and_every_anchor_to_a_heading() {
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split([')', '\n']).next()) {
            if target.contains("://") {
                continue;
            }
            let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            assert!(file.exists(), "{} links to {target}", page.display());
            let is_there = || {
                fs::read_to_string(&file).unwrap().lines().any(|line| line.starts_with('#') && anchor(line) == fragment)
            };
            assert!(fragment.is_empty() || is_there(), "{} links to {target}", page.display());
        }
    }
}

#[test]
fn every_path_of_the_architecture_is_there() {
    let text = read("ARCHITECTURE.md");
    let mut seen = 0;
    for path in quoted(&text).filter(|text| text.ends_with(".rs") && !text.contains(' ')) {
        let full = match path.split_once('/') {
            _ if path.starts_with("crates/") => path.to_owned(),
            Some((name @ ("broadcast" | "hub" | "protocol"), rest)) => format!("crates/campanile-{name}/src/{rest}"),
            _ => format!("crates/campanile/src/{path}"),
        };
        assert!(root().join(&full).is_file(), "{path} is not {full}");
        seen += 1;
    }
    assert!(seen > 20, "{seen} paths");
}

#[test]
fn every_test_that_the_protocol_cites_is_there() {
    let text = read("docs/protocol.md");
    let mut seen = 0;
    for line in text.lines().filter(|line| line.starts_with("*Evidence.*")) {
        let mut source = String::new();
        for cited in quoted(line) {
            // `file: test`, and further tests of the same file by their names alone.
            let (file, test) = match cited.split_once(": ") {
                Some((file, test)) if is_file(file) => (Some(file), test),
                _ if is_file(cited) => (Some(cited), ""),
                _ => (None, cited),
            };
            if let Some(file) = file {
                let places = [
                    root().join(file),
                    root().join("crates").join(file),
                    root().join("crates/campanile/src/api").join(file),
                    root().join("crates/campanile/src/webhooks").join(file),
                ];
                let place = places.iter().find(|place| place.is_file());
                source = fs::read_to_string(place.unwrap_or_else(|| panic!("{file} is cited and not there"))).unwrap();
            }
            // An ellipsis in a name stands for what differs from case to case.
            for part in test.split('…') {
                assert!(source.contains(part.trim()), "{cited} is cited and not there");
            }
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen} citations");
}

fn is_file(text: &str) -> bool {
    [".rs", ".js"].iter().any(|ending| text.ends_with(ending)) && !text.contains(' ')
}
