//! Who may subscribe, for servers that ask the application.
//!
//! Owns the endpoint that such a server posts to, on 127.0.0.1, and says yes to everybody. Never opens a connection.
//! The invariant: every question is answered, and the client that it was about is named. Read on in `load.rs`.
//!
//! It answers at once, where an application would ask its session store first: what is measured is the server's share.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

use crate::poller::{Interest, Poller};

/// The listener's number; connections have those behind it.
pub(crate) const FIRST: u64 = 1 << 33;
const HEADERS_MAX: usize = 64;
const YES: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\ntrue";

/// The endpoint and the connections on which it is asked.
#[derive(Debug)]
pub(crate) struct Authorizer {
    listener: TcpListener,
    connections: Vec<Option<Connection>>,
    /// Places in `connections` that can be taken.
    free: Vec<usize>,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Authorizer {
    /// Listens on a port of 127.0.0.1.
    pub(crate) fn listen(poller: &Poller, port: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        poller.add(&listener, FIRST, Interest::Read)?;
        Ok(Self { listener, connections: Vec::new(), free: Vec::new() })
    }

    /// Does what can be done for the socket of this number; `admitted` gets each client that may subscribe.
    pub(crate) fn progress(
        &mut self,
        poller: &Poller,
        number: u64,
        buffer: &mut [u8],
        admitted: &mut impl FnMut(usize),
    ) -> io::Result<()> {
        let Some(place) = number.checked_sub(FIRST + 1) else { return self.accept(poller) };
        let place = usize::try_from(place).map_err(io::Error::other)?;
        let Some(connection) = self.connections.get_mut(place).and_then(Option::as_mut) else { return Ok(()) };
        if !connection.answer(buffer, admitted)? {
            self.connections[place] = None;
            self.free.push(place);
        }
        Ok(())
    }

    fn accept(&mut self, poller: &Poller) -> io::Result<()> {
        loop {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            let place = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            poller.add(&stream, FIRST + 1 + place as u64, Interest::Read)?;
            self.connections[place] = Some(Connection { stream, unread: Vec::new() });
        }
    }
}

impl Connection {
    /// Answers every question that is whole. False: the connection has ended.
    fn answer(&mut self, buffer: &mut [u8], admitted: &mut impl FnMut(usize)) -> io::Result<bool> {
        match self.stream.read(buffer) {
            Ok(0) => return Ok(false),
            Ok(length) => self.unread.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(_) => return Ok(false),
        }
        while let Some((length, client)) = question(&self.unread)? {
            self.unread.drain(..length);
            // A few bytes for one who waits for them: the kernel always has room.
            if self.stream.write_all(YES).is_err() {
                return Ok(false);
            }
            admitted(client);
        }
        Ok(true)
    }
}

/// The first question's length and the client that it is about, once it is whole.
fn question(bytes: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head) = request.parse(bytes).map_err(io::Error::other)? else { return Ok(None) };
    let number = |name: &str| -> Option<usize> {
        let header = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(header.value).ok()?.trim().parse().ok()
    };
    let length = head + number("content-length").unwrap_or(0);
    let Some(client) = number("x-client") else {
        return Err(io::Error::other("the server asks whether somebody may subscribe and does not say who"));
    };
    Ok((bytes.len() >= length).then_some((length, client)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const QUESTION: &str = "POST /auth HTTP/1.1\r\nX-Client: 17\r\nContent-Length: 24\r\n\r\nchannel_name=private-abcd";

    #[test]
    fn a_question_is_whole_with_its_last_byte_and_names_its_client() {
        let all = QUESTION.as_bytes();
        let whole = all.len() - 1;
        assert_eq!(question(&all[..whole]).unwrap(), Some((whole, 17)));
        assert_eq!(question(all).unwrap(), Some((whole, 17)));
        for cut in 0..whole {
            assert_eq!(question(&all[..cut]).unwrap(), None, "{cut}");
        }
    }

    #[test]
    fn a_question_about_nobody_is_an_error() {
        assert!(question(b"POST /auth HTTP/1.1\r\nContent-Length: 0\r\n\r\n").is_err());
    }

    #[test]
    fn whoever_asks_is_answered_on_every_connection() {
        let poller = Poller::new().unwrap();
        let mut authorizer = Authorizer::listen(&poller, 0).unwrap();
        let address = authorizer.listener.local_addr().unwrap();
        let mut admitted = Vec::new();
        let (mut ready, mut buffer) = (Vec::new(), vec![0; 4096]);
        for round in 1..=3 {
            let mut asking = TcpStream::connect(address).unwrap();
            asking.write_all(&QUESTION.as_bytes()[..QUESTION.len() - 1]).unwrap();
            for _ in 0..100 {
                poller.wait(Duration::from_millis(10), &mut ready).unwrap();
                for one in &ready {
                    authorizer.progress(&poller, one.number, &mut buffer, &mut |client| admitted.push(client)).unwrap();
                }
                if admitted.len() == round {
                    break;
                }
            }
            let length = asking.read(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], YES);
        }
        assert_eq!(admitted, [17, 17, 17]);
        assert!(authorizer.connections.len() < 3, "places are taken again");
    }
}
