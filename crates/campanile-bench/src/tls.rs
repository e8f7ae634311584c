//! Connections that are encrypted.
//!
//! Owns the certificate that a measured server shows, and a client's socket with or without encryption. Never reads
//! frames. The invariant: only the certificate that was made here is trusted, so a plain or wrong server is an error
//! and not a figure.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Where a server's certificate is, in this folder.
pub(crate) fn cert_file(folder: &Path) -> PathBuf {
    folder.join("cert.pem")
}

/// Where its private key is.
pub(crate) fn key_file(folder: &Path) -> PathBuf {
    folder.join("key.pem")
}

/// Makes a certificate for 127.0.0.1 and its key, unless this folder has them.
pub(crate) fn make_certificate(folder: &Path) -> io::Result<()> {
    let (cert, key) = (cert_file(folder), key_file(folder));
    if cert.exists() && key.exists() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    let made = rcgen::generate_simple_self_signed([Ipv4Addr::LOCALHOST.to_string()]).map_err(io::Error::other)?;
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(key)?;
    file.write_all(made.signing_key.serialize_pem().as_bytes())?;
    fs::write(cert, made.cert.pem())
}

/// How clients speak to a server that shows this folder's certificate.
pub(crate) fn clients(folder: &Path) -> io::Result<Arc<ClientConfig>> {
    let cert = CertificateDer::from_pem_file(cert_file(folder)).map_err(io::Error::other)?;
    let mut trusted = RootCertStore::empty();
    trusted.add(cert).map_err(io::Error::other)?;
    let mut config = ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(trusted)
        .with_no_client_auth();
    // Everybody is new, as after a deployment.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// A client's socket.
#[derive(Debug)]
pub(crate) enum Link {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Link {
    pub(crate) fn new(socket: TcpStream, tls: Option<&Arc<ClientConfig>>) -> io::Result<Self> {
        let Some(config) = tls else { return Ok(Self::Plain(socket)) };
        let name = ServerName::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let connection = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        Ok(Self::Tls(Box::new(StreamOwned::new(connection, socket))))
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => &stream.sock,
        }
    }

    /// Whether a writable socket would get on with what is left to write here, or by the caller.
    pub(crate) fn waits_to_write(&self, caller_has_more: bool) -> bool {
        match self {
            Self::Plain(_) => caller_has_more,
            // While hands are shaken the next move is mostly the server's, whatever the caller has.
            Self::Tls(stream) => stream.conn.wants_write() || (caller_has_more && !stream.conn.is_handshaking()),
        }
    }
}

impl Read for Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Link {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener};
    use std::rc::Rc;
    use std::thread::JoinHandle;
    use std::time::Duration;

    use campanile_protocol::websocket::{Opcode, encode_into};
    use rustls::pki_types::PrivateKeyDer;
    use rustls::{ServerConfig, ServerConnection};

    use super::*;
    use crate::fleet::{Fleet, Met};
    use crate::poller::Poller;
    use crate::target::Target;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("campanile-bench-{name}-{}", std::process::id()));
        make_certificate(&folder).unwrap();
        folder
    }

    #[test]
    fn a_certificate_is_made_once_and_its_key_is_nobody_elses() {
        use std::os::unix::fs::PermissionsExt;

        let folder = folder("once");
        let made = fs::read(cert_file(&folder)).unwrap();
        make_certificate(&folder).unwrap();
        assert_eq!(fs::read(cert_file(&folder)).unwrap(), made);
        assert_eq!(fs::metadata(key_file(&folder)).unwrap().permissions().mode() & 0o777, 0o600);
        fs::remove_dir_all(folder).unwrap();
    }

    /// Shakes hands with one client, upgrades it, greets it and confirms its subscription.
    fn serve(certified: &Path) -> (SocketAddr, JoinHandle<io::Result<()>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let cert = CertificateDer::from_pem_file(cert_file(certified)).unwrap();
        let key = PrivateKeyDer::from_pem_file(key_file(certified)).unwrap();
        let config = ServerConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert], key)
            .unwrap();
        let serving = std::thread::spawn(move || {
            let (socket, _) = listener.accept()?;
            let connection = ServerConnection::new(Arc::new(config)).map_err(io::Error::other)?;
            let mut stream = StreamOwned::new(connection, socket);
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte)?;
                head.extend_from_slice(&byte);
            }
            let mut answer = b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec();
            let greeting =
                br#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"1.2\",\"activity_timeout\":120}"}"#;
            encode_into(&mut answer, Opcode::Text, greeting);
            encode_into(&mut answer, Opcode::Text, br#"{"event":"pusher_internal:subscription_succeeded"}"#);
            stream.write_all(&answer)?;
            // Until the client has gone.
            stream.read_to_end(&mut Vec::new()).map(drop)
        });
        (address, serving)
    }

    /// What a client that trusts one folder's certificate meets at a server that shows another's, or the same.
    fn meet(trusted: &Path, shown: &Path) -> &'static str {
        let (address, serving) = serve(shown);
        let mut target = Target::for_tests(address);
        target.tls = Some(clients(trusted).unwrap());
        let (poller, mut fleet, mut ready) = (Poller::new().unwrap(), Fleet::new(), Vec::new());
        fleet.connect(&poller, &target, 0, Rc::new(["news".to_owned()]), None).unwrap();
        let mut outcome = "nothing";
        for _ in 0..500 {
            poller.wait(Duration::from_millis(10), &mut ready).unwrap();
            for one in &ready {
                let mut met = |_, what: Met<'_>| match what {
                    Met::Subscribed => outcome = "subscribed",
                    Met::Closed(_) => outcome = "closed",
                    Met::Frame(_) => {}
                };
                fleet.progress(&poller, &target, 0, one.writable, &mut met).unwrap();
            }
            if outcome != "nothing" {
                break;
            }
        }
        drop(fleet);
        // It ends with the error of a client that has gone without a goodbye.
        let _ = serving.join().unwrap();
        outcome
    }

    #[test]
    fn clients_subscribe_behind_the_certificate_that_they_trust_and_behind_no_other() {
        let (ours, theirs) = (folder("ours"), folder("theirs"));
        assert_eq!(meet(&ours, &ours), "subscribed");
        assert_eq!(meet(&ours, &theirs), "closed");
        fs::remove_dir_all(ours).unwrap();
        fs::remove_dir_all(theirs).unwrap();
    }
}
