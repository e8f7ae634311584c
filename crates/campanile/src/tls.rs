//! The server's certificate and how it speaks TLS.
//!
//! Owns reading the two files and the choice of versions (1.2 and 1.3) and protocols (HTTP/2 and HTTP/1.1). Never keeps
//! a private key in text, and never shows one. The invariant: a key that does not belong to its certificate is refused
//! here, before anybody is served with it. Read on in [`crate::wire`] for a connection's part.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config::Tls;
use crate::config::limits::TLS_FILE_BYTES_MAX;
use crate::crypto;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{}: {what}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong, and what is expected.
        what: String,
    },
    /// The two files do not go together.
    #[error("the key in {} is not the key of the certificate in {}: {source}", key.display(), certificate.display())]
    Pair {
        /// `tls.key_file`.
        key: PathBuf,
        /// `tls.cert_file`.
        certificate: PathBuf,
        /// What the library said.
        source: rustls::Error,
    },
    /// The system has no randomness for tickets.
    #[error("cannot set up TLS: {0}")]
    Setup(rustls::Error),
}

/// Reads certificate and key.
pub(crate) fn load(tls: &Tls) -> Result<Arc<ServerConfig>, TlsError> {
    crypto::install_provider();
    let content = |path: &Path, what: String| TlsError::Content { path: path.to_owned(), what };
    let chain = CertificateDer::pem_slice_iter(&read(&tls.cert_file)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| content(&tls.cert_file, format!("not a PEM file of certificates: {error}")))?;
    if chain.is_empty() {
        return Err(content(&tls.cert_file, "holds no certificate: a PEM file is expected".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(&read(&tls.key_file)?)
        .map_err(|error| content(&tls.key_file, format!("holds no private key in PEM: {error}")))?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|source| TlsError::Pair { key: tls.key_file.clone(), certificate: tls.cert_file.clone(), source })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Clients that come back in waves resume with a ticket of their own, and we remember nothing of them.
    config.ticketer = rustls::crypto::ring::Ticketer::new().map_err(TlsError::Setup)?;
    Ok(Arc::new(config))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(TLS_FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|source| TlsError::Read { path: path.to_owned(), source })?;
    if bytes.len() as u64 > TLS_FILE_BYTES_MAX {
        let what = format!("larger than {TLS_FILE_BYTES_MAX} bytes: is it a PEM file?");
        return Err(TlsError::Content { path: path.to_owned(), what });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Files {
        directory: tempfile::TempDir,
        tls: Tls,
    }

    fn files() -> (Files, rcgen::CertifiedKey<rcgen::KeyPair>) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let (cert_file, key_file) = (directory.path().join("cert.pem"), directory.path().join("key.pem"));
        std::fs::write(&cert_file, made.cert.pem()).unwrap();
        std::fs::write(&key_file, made.signing_key.serialize_pem()).unwrap();
        (Files { directory, tls: Tls { cert_file, key_file } }, made)
    }

    #[test]
    fn a_certificate_and_its_key_are_taken() {
        let (files, _) = files();
        let config = load(&files.tls).unwrap();
        assert_eq!(config.alpn_protocols, [b"h2".to_vec(), b"http/1.1".to_vec()]);
        assert!(files.directory.path().exists());
    }

    #[test]
    fn each_wrong_file_is_named_with_what_is_wrong() {
        let (files, made) = files();
        let (_, other) = self::files();
        let Tls { cert_file, key_file } = &files.tls;
        let cases: [(&Path, &str, &str); 5] = [
            (cert_file, "", "holds no certificate"),
            (cert_file, "-----BEGIN CERTIFICATE-----\n", "not a PEM file of certificates"),
            (key_file, "", "holds no private key"),
            (key_file, &made.cert.pem(), "holds no private key"),
            (key_file, &other.signing_key.serialize_pem(), "is not the key of the certificate"),
        ];
        for (path, text, expected) in cases {
            let before = std::fs::read(path).unwrap();
            std::fs::write(path, text).unwrap();
            let error = load(&files.tls).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains(&path.display().to_string()), "{error}");
            std::fs::write(path, before).unwrap();
        }
        std::fs::remove_file(key_file).unwrap();
        let error = load(&files.tls).unwrap_err().to_string();
        assert!(error.contains("cannot read") && error.contains("key.pem"), "{error}");
    }

    #[test]
    fn a_file_may_be_as_large_as_its_bound_and_no_larger() {
        let (files, made) = files();
        for (length, is_taken) in [(TLS_FILE_BYTES_MAX, true), (TLS_FILE_BYTES_MAX + 1, false)] {
            let mut text = made.cert.pem();
            text.push_str(&"\n".repeat(usize::try_from(length).unwrap() - text.len()));
            std::fs::write(&files.tls.cert_file, text).unwrap();
            assert_eq!(load(&files.tls).is_ok(), is_taken, "{length}");
        }
    }
}
