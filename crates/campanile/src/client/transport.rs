//! Bytes to and from a server, with TLS or without.
//!
//! Owns TCP, and TLS with the platform's certificates. Never speaks HTTP or WebSocket. The invariant: a
//! server that cannot prove its name is refused; there is no switch to trust it anyway.
//! Next: `connection.rs`.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio_rustls::TlsConnector;

use crate::crypto;
use crate::target::Target;

/// What a connection reads from and writes to.
pub(super) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// Connects, from `source` if given.
pub(super) async fn connect(target: &Target, source: Option<IpAddr>) -> io::Result<Box<dyn Transport>> {
    let stream = connect_tcp(target, source).await?;
    // Frames are whole messages, so nothing is gained by waiting for more.
    stream.set_nodelay(true)?;
    if !target.tls {
        return Ok(Box::new(stream));
    }
    let name = ServerName::try_from(target.host.clone()).map_err(io::Error::other)?;
    Ok(Box::new(TlsConnector::from(tls_config()?).connect(name, stream).await?))
}

async fn connect_tcp(target: &Target, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in lookup_host((target.host.as_str(), target.port)).await? {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if let Some(source) = source.filter(|source| source.is_ipv4() == address.is_ipv4()) {
            socket.bind((source, 0).into())?;
        }
        match socket.connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn tls_config() -> io::Result<Arc<ClientConfig>> {
    crypto::install_provider();
    let builder = ClientConfig::builder().with_platform_verifier().map_err(io::Error::other)?;
    Ok(Arc::new(builder.with_no_client_auth()))
}
