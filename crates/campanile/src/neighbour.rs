//! Who has the address that we wanted.
//!
//! Owns the words for a port that cannot be had, and one question to whoever listens there. Never decides anything: the
//! start is refused already. The invariant: asking takes no longer than [`PATIENCE`], and nothing that the other end
//! says is repeated. Next: `server.rs`, which refuses.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long the other end may take, to connect and to answer.
const PATIENCE: Duration = Duration::from_millis(500);

/// Bytes of its answer that are read.
const ANSWER_BYTES_MAX: usize = 2048;

/// What listens somewhere.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Neighbour {
    Campanile,
    /// Something else that speaks HTTP.
    Http,
    /// Something that says nothing we know, or nothing in time.
    Unknown,
}

/// What to do about an address that cannot be listened on.
pub(crate) fn advice(address: SocketAddr, error: &io::Error) -> String {
    let port = address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let who = match ask(address) {
                Neighbour::Campanile => "another campanile is there".to_owned(),
                Neighbour::Http => {
                    format!("another HTTP server is there (`ss -ltnp sport = :{port}` as root names it)")
                }
                Neighbour::Unknown => format!("another program is there (`ss -ltnp sport = :{port}` as root names it)"),
            };
            format!(
                "{who}: stop that one, or give this server another port (CAMPANILE__LISTEN__PORT, listen.port in its \
                 file, or --port of a demo)"
            )
        }
        io::ErrorKind::PermissionDenied => format!(
            "a port below 1024 takes a right (CAP_NET_BIND_SERVICE) that this process has not: give it that right, or \
             a port such as 6001 behind a proxy that has {port}"
        ),
        io::ErrorKind::AddrNotAvailable => {
            "this machine has no such address: listen.host is one of its own, or 0.0.0.0 for all".to_owned()
        }
        _ => {
            "listen.host and listen.port, or CAMPANILE__LISTEN__HOST and CAMPANILE__LISTEN__PORT, say where".to_owned()
        }
    }
}

fn ask(address: SocketAddr) -> Neighbour {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    // Whatever does not answer is unknown.
    answer(SocketAddr::new(ip, address.port())).map_or(Neighbour::Unknown, |answer| read(&answer))
}

/// What it says to a plain `GET /`.
fn answer(address: SocketAddr) -> io::Result<Vec<u8>> {
    let deadline = Instant::now() + PATIENCE;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    let mut chunk = [0; ANSWER_BYTES_MAX];
    while answer.len() < ANSWER_BYTES_MAX {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&chunk[..count]),
            // What has come until now may be enough.
            Err(_) => break,
        }
    }
    Ok(answer)
}

fn read(answer: &[u8]) -> Neighbour {
    let answer = String::from_utf8_lossy(answer);
    match answer.split_once("\r\n\r\n") {
        _ if !answer.starts_with("HTTP/1.") => Neighbour::Unknown,
        // By its name, or by what it says where it speaks TLS alone.
        Some((_, body)) if body == "campanile\n" || body.contains("this port speaks TLS: use https or wss") => {
            Neighbour::Campanile
        }
        _ => Neighbour::Http,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// What is said of a port where this is answered to whoever connects, or where nobody answers.
    fn said_of(answer: Option<&'static str>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let served = answer.map(|answer| {
            let listener = listener.try_clone().unwrap();
            thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 1024]).unwrap();
                stream.write_all(answer.as_bytes()).unwrap();
            })
        });
        let error = TcpListener::bind(address).unwrap_err();
        let begun = Instant::now();
        let said = advice(address, &error);
        assert!(begun.elapsed() < 3 * PATIENCE);
        if let Some(served) = served {
            served.join().unwrap();
        }
        said
    }

    #[test]
    fn another_server_is_named_for_what_it_is() {
        let page = "HTTP/1.1 200 OK\r\nServer: \u{1b}[2J\r\n\r\n<html>";
        for (answer, named) in [
            (Some("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\ncampanile\n"), "another campanile is there: "),
            (
                Some("HTTP/1.1 400 Bad Request\r\n\r\nthis port speaks TLS: use https or wss"),
                "another campanile is there: ",
            ),
            (Some(page), "another HTTP server is there (`ss"),
            (Some("SSH-2.0-other\r\n"), "another program is there (`ss"),
            (None, "another program is there (`ss"),
        ] {
            let said = said_of(answer);
            assert!(said.starts_with(named), "{answer:?}: {said}");
            assert!(said.contains("CAMPANILE__LISTEN__PORT") && !said.contains('\u{1b}'), "{said}");
        }
    }

    #[test]
    fn other_refusals_of_the_system_have_their_own_advice() {
        let address = "192.0.2.1:443".parse().unwrap();
        for (kind, part) in [
            (io::ErrorKind::PermissionDenied, "CAP_NET_BIND_SERVICE"),
            (io::ErrorKind::AddrNotAvailable, "no such address"),
            (io::ErrorKind::Other, "listen.host"),
        ] {
            assert!(advice(address, &kind.into()).contains(part), "{kind}");
        }
    }
}
