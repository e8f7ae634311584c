//! Which cryptography TLS uses in this process.
//!
//! Owns the choice, which is ring, for every client and listener here. Never configures TLS itself.
//! The invariant: whoever builds a TLS configuration calls [`install_provider`] first, because the
//! libraries are built without a default and panic without one. Next: `client/transport.rs`.

use std::sync::Once;

/// Makes ring what rustls uses where nothing else is named. Only the first call does something.
pub(crate) fn install_provider() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // Refused where the embedding process has chosen one already, which then serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_there_however_often_it_is_asked_for() {
        install_provider();
        install_provider();
        assert!(rustls::crypto::CryptoProvider::get_default().is_some());
    }
}
