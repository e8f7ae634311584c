//! `[cors]`: which web pages may call the HTTP API.
//!
//! Owns the list. Never answers a request. The default is nobody: every call to the API is signed
//! with the app's secret, and a page that can sign has given the secret away; pusher-js needs no
//! such permission, since it only opens WebSockets. A tool that runs in a browser on purpose names
//! its origin here. The invariant: permission to read an answer never replaces the signature. Next:
//! `allowed_origins.rs`.

use super::allowed_origins::AllowedOrigins;
use super::file::CorsTable;
use super::problem::Problems;

/// Who may call the HTTP API from a browser.
#[derive(Clone, Debug, Default)]
pub struct Cors {
    /// Empty means that no cross-origin headers are sent at all.
    pub allowed_origins: AllowedOrigins,
}

impl Cors {
    pub(super) fn read(table: &CorsTable, problems: &mut Problems) -> Self {
        Self { allowed_origins: AllowedOrigins::read(&table.allowed_origins, "cors.allowed_origins", problems) }
    }
}
