//! Who publishes: keep-alive connections to the HTTP API.
//!
//! Owns the requests and their answers, one at a time per connection. Never waits. The invariant: an answer that is not
//! 200 is an error of the run, never a slow success.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{SystemTime, UNIX_EPOCH};

use campanile_protocol::signature::sign_request;

use crate::complaint;
use crate::poller::{Interest, Poller};
use crate::target::Target;

/// Sockets of publishers have numbers from here on.
pub(crate) const FIRST: u64 = 1 << 32;
const HEADERS_MAX: usize = 64;

#[derive(Debug)]
struct Publisher {
    stream: TcpStream,
    answer: Vec<u8>,
    unwritten: Vec<u8>,
    is_busy: bool,
}

/// What comes after an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Answer {
    /// The next request, on the same connection.
    Kept,
    /// The server closes.
    AndClose,
}

#[derive(Debug)]
pub(crate) struct Publishers {
    all: Vec<Publisher>,
    idle: Vec<usize>,
    pub(crate) answered: u64,
}

impl Publishers {
    pub(crate) fn connect(poller: &Poller, target: &Target, count: usize) -> io::Result<Self> {
        let all = (0..count).map(|number| Publisher::connect(poller, target, number)).collect::<io::Result<_>>()?;
        Ok(Self { all, idle: (0..count).rev().collect(), answered: 0 })
    }

    /// How many connections could take a request.
    pub(crate) fn idle(&self) -> usize {
        self.idle.len()
    }

    /// Whose connection the next request will take.
    pub(crate) fn next(&self) -> io::Result<usize> {
        self.idle.last().copied().ok_or_else(|| io::Error::other("every publisher waits for an answer"))
    }

    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    /// Posts to `/apps/<id>/<endpoint>` on a connection that is idle.
    pub(crate) fn post(&mut self, poller: &Poller, target: &Target, endpoint: &str, body: &str) -> io::Result<()> {
        let number = self.next()?;
        self.idle.pop();
        let path = format!("/apps/{}/{endpoint}", target.app_id);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?.as_secs();
        let query = sign_request(&target.key, &target.secret, "POST", &path, &[], body.as_bytes(), now);
        let publisher = &mut self.all[number];
        publisher.is_busy = true;
        publisher.unwritten = format!(
            "POST {path}?{query} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            target.address,
            body.len()
        )
        .into_bytes();
        if !publisher.flush()? {
            poller.change(&publisher.stream, FIRST + number as u64, Interest::ReadWrite)?;
        }
        Ok(())
    }

    /// Does what can be done for a publisher whose socket is ready.
    pub(crate) fn progress(
        &mut self,
        poller: &Poller,
        target: &Target,
        number: usize,
        writable: bool,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        let publisher = &mut self.all[number];
        if writable && publisher.flush()? {
            poller.change(&publisher.stream, FIRST + number as u64, Interest::Read)?;
        }
        match publisher.stream.read(buffer) {
            Ok(0) if publisher.is_busy => {
                return Err(io::Error::other("the server has closed a publisher's connection instead of answering"));
            }
            // Servers close what is idle for long; a publisher connects again, as an SDK does.
            Ok(0) => {
                *publisher = Publisher::connect(poller, target, number)?;
                return Ok(());
            }
            Ok(length) => publisher.answer.extend_from_slice(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
        if publisher.is_busy
            && let Some(answer) = publisher.answered()?
        {
            publisher.is_busy = false;
            publisher.answer.clear();
            if answer == Answer::AndClose {
                *publisher = Publisher::connect(poller, target, number)?;
            }
            self.answered += 1;
            self.idle.push(number);
        }
        Ok(())
    }
}

impl Publisher {
    fn connect(poller: &Poller, target: &Target, number: usize) -> io::Result<Self> {
        let stream = TcpStream::connect(target.address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        poller.add(&stream, FIRST + number as u64, Interest::Read)?;
        Ok(Self { stream, answer: Vec::new(), unwritten: Vec::new(), is_busy: false })
    }

    /// Writes what the kernel takes. True: that was all.
    fn flush(&mut self) -> io::Result<bool> {
        match self.stream.write(&self.unwritten) {
            Ok(written) => {
                self.unwritten.drain(..written);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(self.unwritten.is_empty())
    }

    /// The answer, once it is whole.
    fn answered(&self) -> io::Result<Option<Answer>> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let Ok(httparse::Status::Complete(head)) = response.parse(&self.answer) else { return Ok(None) };
        let header = |name: &str| {
            let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            header.and_then(|header| std::str::from_utf8(header.value).ok()).map(str::trim)
        };
        let length = header("content-length").and_then(|length| length.parse::<usize>().ok());
        let whole = match length {
            Some(length) => self.answer.len() >= head + length,
            // Some servers answer in chunks; an empty chunk ends them.
            None => self.answer.ends_with(b"0\r\n\r\n"),
        };
        if whole && response.code != Some(200) {
            return Err(complaint::unpublished(response.code, &self.answer[head..]));
        }
        let closes = header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        Ok(whole.then_some(if closes { Answer::AndClose } else { Answer::Kept }))
    }
}
