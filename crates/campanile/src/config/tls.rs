//! `[tls]`: certificate and key.
//!
//! Owns which files, and that they can be opened. Never parses them. The invariant: both or neither.
//! Next: `limits.rs`.

use std::fs::File;
use std::path::PathBuf;

use super::file::TlsTable;
use super::problem::Problems;

/// Certificate and key, both in PEM files.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The certificate and its chain.
    pub cert_file: PathBuf,
    /// The private key.
    pub key_file: PathBuf,
}

impl Tls {
    pub(super) fn read(table: Option<&TlsTable>, problems: &mut Problems) -> Option<Self> {
        let table = table?;
        let mut path = |name: &str, written: &Option<String>| {
            let Some(written) = written else {
                problems.missing(
                    "tls",
                    name,
                    format!("{name} is missing: set both cert_file and key_file, or neither"),
                );
                return None;
            };
            if let Err(error) = File::open(written) {
                problems.at(&format!("tls.{name}"), format!("cannot read {written}: {error}"));
            }
            Some(PathBuf::from(written))
        };
        let cert_file = path("cert_file", &table.cert_file);
        let key_file = path("key_file", &table.key_file);
        Some(Self { cert_file: cert_file?, key_file: key_file? })
    }
}
