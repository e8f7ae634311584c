//! The bodies and replies of the HTTP API.
