//! Many clients in one thread.
//!
//! Owns their sockets, from the first packet to the last. Speaks raw frames: no task, no JSON parser and no buffer per
//! client, so that it costs less than the servers it measures. Never judges what arrives. The invariant: a client that
//! is not [`Stage::Ready`] has not been counted as subscribed. Read on in `dialect.rs`, `publishers.rs`, `load.rs`.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Instant;

use campanile_protocol::websocket::{Incoming, Inflater, Opcode, Received, Role, Rules, encode_masked_into};
use memchr::memmem;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::dialect::{Dialect, Greeting};
use crate::poller::{Interest, Poller};
use crate::target::Target;
use crate::tls::Link;

const RULES: Rules = Rules { role: Role::Client, message_max: 16 << 20 };
const READ_BYTES: usize = 256 * 1024;
/// Clients come from 127.0.0.2 to 127.0.0.9, so that there are ports enough for all.
const SOURCES: u32 = 8;

/// What a client is at.
#[derive(Debug)]
enum Stage {
    Connecting,
    /// Waits for the answer to its upgrade.
    Upgrading(Vec<u8>),
    Greeting,
    /// Waits for so many subscriptions to be confirmed.
    Subscribing(usize),
    Ready,
    /// Closed, with the server's code if it said one.
    Gone(Option<u16>),
}

#[derive(Debug)]
struct Client {
    number: usize,
    dialect: Dialect,
    link: Link,
    incoming: Incoming,
    /// The server may send compressed messages.
    is_compressed: bool,
    stage: Stage,
    channels: Rc<[String]>,
    member: Option<u64>,
    unwritten: Vec<u8>,
    /// Reads nothing for now.
    is_stalled: bool,
    /// What the poller waits for.
    interest: Interest,
}

/// What a client has met.
#[derive(Debug)]
pub(crate) enum Met<'a> {
    Subscribed,
    /// A message that is not part of subscribing or of staying alive, or what came in place of one.
    Frame(&'a [u8]),
    Closed(Option<u16>),
}

/// Many clients.
#[derive(Debug)]
pub(crate) struct Fleet {
    clients: Vec<Option<Client>>,
    reader: Reader,
    opening: usize,
    ready: usize,
    beat: Beat,
}

/// What all clients read with.
#[derive(Debug)]
struct Reader {
    buffer: Vec<u8>,
    inflater: Inflater,
    /// Bytes that have come, to all clients together.
    received: u64,
}

/// How far the sending of heartbeats has come: everybody's turn comes once in a round.
#[derive(Debug)]
struct Beat {
    round_start: Instant,
    /// The client whose turn is next.
    next: usize,
}

impl Fleet {
    pub(crate) fn new() -> Self {
        let beat = Beat { round_start: Instant::now(), next: 0 };
        let reader = Reader { buffer: vec![0; READ_BYTES], inflater: Inflater::default(), received: 0 };
        Self { clients: Vec::new(), reader, opening: 0, ready: 0, beat }
    }

    /// Clients on their way to being subscribed.
    pub(crate) fn opening(&self) -> usize {
        self.opening
    }

    /// Bytes that the server has sent to all clients, without what TLS adds.
    pub(crate) fn received(&self) -> u64 {
        self.reader.received
    }

    /// Clients that are subscribed.
    pub(crate) fn ready(&self) -> usize {
        self.ready
    }

    /// Whether client `number` is subscribed.
    pub(crate) fn is_ready(&self, number: usize) -> bool {
        self.clients.get(number).and_then(Option::as_ref).is_some_and(|client| matches!(client.stage, Stage::Ready))
    }

    /// Begins to connect client `number`, which subscribes to these channels.
    pub(crate) fn connect(
        &mut self,
        poller: &Poller,
        target: &Target,
        number: usize,
        channels: Rc<[String]>,
        member: Option<u64>,
    ) -> io::Result<()> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
        let source = u8::try_from(u32::try_from(number).unwrap_or(0) % SOURCES).expect("below eight") + 2;
        socket.set_tcp_nodelay(true)?;
        socket.bind(&SockAddr::from(SocketAddr::from((Ipv4Addr::new(127, 0, 0, source), 0))))?;
        match socket.connect(&SockAddr::from(target.address)) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
            Err(error) => return Err(error),
        }
        let stream: TcpStream = socket.into();
        poller.add(&stream, number as u64, Interest::ReadWrite)?;
        let link = Link::new(stream, target.tls.as_ref())?;
        if self.clients.len() <= number {
            self.clients.resize_with(number + 1, || None);
        }
        let incoming = Incoming::default();
        self.clients[number] = Some(Client {
            number,
            dialect: target.dialect,
            link,
            incoming,
            is_compressed: false,
            stage: Stage::Connecting,
            channels,
            member,
            unwritten: Vec::new(),
            is_stalled: false,
            interest: Interest::ReadWrite,
        });
        self.opening += 1;
        Ok(())
    }

    /// Sends a text message; what the kernel does not take yet goes when the socket is writable.
    pub(crate) fn send(&mut self, poller: &Poller, number: usize, text: &str) -> io::Result<()> {
        let Some(client) = self.clients.get_mut(number).and_then(Option::as_mut) else { return Ok(()) };
        client.send(text);
        client.wait_on(poller)
    }

    /// Sends the heartbeats that are due: each client's once in the dialect's interval, evenly spread over it.
    pub(crate) fn keep_alive(&mut self, poller: &Poller, dialect: Dialect, now: Instant) -> io::Result<()> {
        let Some(heartbeat) = dialect.heartbeat() else { return Ok(()) };
        let round = now.saturating_duration_since(self.beat.round_start).as_secs_f64() / heartbeat.every.as_secs_f64();
        let due = ((round * self.clients.len() as f64) as usize).min(self.clients.len());
        for number in self.beat.next..due {
            if self.is_ready(number) {
                self.send(poller, number, heartbeat.text)?;
            }
        }
        self.beat.next = due.max(self.beat.next);
        if round >= 1.0 {
            self.beat = Beat { round_start: now, next: 0 };
        }
        Ok(())
    }

    /// The application has admitted client `number` to one of its channels.
    pub(crate) fn admit(&mut self, number: usize, met: &mut impl FnMut(usize, Met<'_>)) {
        let Some(client) = self.clients.get_mut(number).and_then(Option::as_mut) else { return };
        if !matches!(client.stage, Stage::Subscribing(_)) {
            return;
        }
        client.confirmed(&mut |what| met(number, what));
        if matches!(client.stage, Stage::Ready) {
            self.opening -= 1;
            self.ready += 1;
        }
    }

    /// Lets a client read no more, or again.
    pub(crate) fn stall(&mut self, poller: &Poller, number: usize, stalled: bool) -> io::Result<()> {
        let Some(client) = self.clients.get_mut(number).and_then(Option::as_mut) else { return Ok(()) };
        client.is_stalled = stalled;
        client.wait_on(poller)
    }

    /// Ends a client, with a close frame or with a reset as when its machine has lost power.
    pub(crate) fn end(&mut self, number: usize, politely: bool) {
        let Some(mut client) = self.clients.get_mut(number).and_then(Option::take) else { return };
        match client.stage {
            Stage::Ready => self.ready -= 1,
            Stage::Gone(_) => {}
            _ => self.opening -= 1,
        }
        if politely {
            let mut frame = Vec::new();
            let payload = campanile_protocol::websocket::close_payload(Some(1000), "");
            encode_masked_into(&mut frame, Opcode::Close, &payload, [1, 2, 3, 4]);
            // Whoever cannot take a goodbye sees the end of the stream.
            let _ = client.link.write(&frame);
        } else {
            let _ = socket2::SockRef::from(client.link.socket()).set_linger(Some(std::time::Duration::ZERO));
        }
    }

    /// Does what can be done for a client whose socket is ready.
    pub(crate) fn progress(
        &mut self,
        poller: &Poller,
        target: &Target,
        number: usize,
        writable: bool,
        met: &mut impl FnMut(usize, Met<'_>),
    ) -> io::Result<()> {
        let Some(client) = self.clients.get_mut(number).and_then(Option::as_mut) else { return Ok(()) };
        let was_opening = client.is_opening();
        let was_ready = matches!(client.stage, Stage::Ready);
        if writable {
            client.write(target)?;
        }
        client.read(&mut self.reader, target, &mut |what| met(number, what));
        let is_ready = matches!(client.stage, Stage::Ready);
        self.opening -= usize::from(was_opening && !client.is_opening());
        self.ready += usize::from(is_ready && !was_ready);
        self.ready -= usize::from(was_ready && !is_ready);
        if let Stage::Gone(code) = client.stage {
            self.clients[number] = None;
            met(number, Met::Closed(code));
            return Ok(());
        }
        client.wait_on(poller)
    }
}

impl Client {
    fn is_opening(&self) -> bool {
        !matches!(self.stage, Stage::Ready | Stage::Gone(_))
    }

    /// Has the poller wait for what this client can go on with.
    fn wait_on(&mut self, poller: &Poller) -> io::Result<()> {
        let has_to_write =
            matches!(self.stage, Stage::Connecting) || self.link.waits_to_write(!self.unwritten.is_empty());
        let interest = match (self.is_stalled, has_to_write) {
            (true, _) => Interest::Nothing,
            (false, true) => Interest::ReadWrite,
            (false, false) => Interest::Read,
        };
        if interest != std::mem::replace(&mut self.interest, interest) {
            poller.change(self.link.socket(), self.number as u64, interest)?;
        }
        Ok(())
    }

    /// Does what a writable socket allows: the upgrade of one that has just connected, else what is left over.
    fn write(&mut self, target: &Target) -> io::Result<()> {
        if matches!(self.stage, Stage::Connecting) {
            return self.upgrade(target);
        }
        self.flush();
        Ok(())
    }

    fn send(&mut self, text: &str) {
        self.queue(text);
        self.flush();
    }

    fn queue(&mut self, text: &str) {
        encode_masked_into(&mut self.unwritten, Opcode::Text, text.as_bytes(), [0x12, 0x34, 0x56, 0x78]);
    }

    fn flush(&mut self) {
        if !self.link.waits_to_write(!self.unwritten.is_empty()) {
            return;
        }
        // Of nothing, it still writes what a link has kept.
        match self.link.write(&self.unwritten) {
            Ok(written) => {
                self.unwritten.drain(..written);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // The server has closed; reading finds out, with the code if there is one.
            Err(_) => self.unwritten.clear(),
        }
    }

    fn upgrade(&mut self, target: &Target) -> io::Result<()> {
        if let Some(error) = self.link.socket().take_error()? {
            return Err(error);
        }
        let offer = if target.compress { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" };
        let request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{offer}\r\n",
            self.dialect.path(&target.key),
            target.address
        );
        self.unwritten.extend_from_slice(request.as_bytes());
        self.stage = Stage::Upgrading(Vec::new());
        self.flush();
        Ok(())
    }

    fn read(&mut self, reader: &mut Reader, target: &Target, met: &mut impl FnMut(Met<'_>)) {
        let Reader { buffer, inflater, received } = reader;
        loop {
            match self.link.read(buffer) {
                Ok(0) => return self.gone(None),
                Ok(length) => {
                    *received += length as u64;
                    self.take(&mut buffer[..length], inflater, target, met);
                    if length < buffer.len() || matches!(self.stage, Stage::Gone(_)) {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return self.gone(None),
            }
        }
    }

    fn gone(&mut self, code: Option<u16>) {
        self.stage = Stage::Gone(code);
    }

    fn take(&mut self, bytes: &mut [u8], inflater: &mut Inflater, target: &Target, met: &mut impl FnMut(Met<'_>)) {
        if let Stage::Upgrading(head) = &mut self.stage {
            head.extend_from_slice(bytes);
            let Some(end) = memmem::find(head, b"\r\n\r\n") else { return };
            if !head.starts_with(b"HTTP/1.1 101") {
                met(Met::Frame(head));
                return self.gone(None);
            }
            self.is_compressed = memmem::find(&head[..end], b"permessage-deflate").is_some();
            if self.is_compressed != target.compress {
                return self.gone(None);
            }
            let mut rest = head[end + 4..].to_vec();
            self.stage = Stage::Greeting;
            return self.take_frames(&mut rest, inflater, target, met);
        }
        self.take_frames(bytes, inflater, target, met);
    }

    fn take_frames(
        &mut self,
        bytes: &mut [u8],
        inflater: &mut Inflater,
        target: &Target,
        met: &mut impl FnMut(Met<'_>),
    ) {
        let (mut incoming, is_compressed) = (std::mem::take(&mut self.incoming), self.is_compressed);
        let sink = |received: Received<'_>| {
            let outcome = match received {
                Received::Text(text) => self.take_text(text, target, met),
                Received::Ping(payload) => {
                    encode_masked_into(&mut self.unwritten, Opcode::Pong, payload, [9, 8, 7, 6]);
                    self.flush();
                    Ok(())
                }
                Received::Close(close) => {
                    self.gone(close.code);
                    return ControlFlow::Break(());
                }
                Received::Binary(_) | Received::Pong(_) => Ok(()),
            };
            match outcome {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        };
        let outcome = if is_compressed {
            incoming.receive_compressed(bytes, RULES, inflater, sink)
        } else {
            incoming.receive(bytes, RULES, sink)
        };
        self.incoming = incoming;
        if outcome.is_err() || (self.incoming.is_closed() && !matches!(self.stage, Stage::Gone(_))) {
            self.gone(None);
        }
    }

    fn take_text(&mut self, text: &str, target: &Target, met: &mut impl FnMut(Met<'_>)) -> io::Result<()> {
        match self.stage {
            Stage::Greeting => match self.dialect.greet(text).inspect_err(|_| met(Met::Frame(text.as_bytes())))? {
                Greeting::Unfinished(answer) => {
                    if let Some(answer) = answer {
                        self.send(answer);
                    }
                }
                Greeting::Whole(id) => self.subscribe(target, id, met),
            },
            Stage::Subscribing(_) if self.dialect.is_confirmation(text) => self.confirmed(met),
            _ => match self.dialect.answer(text) {
                Some(answer) => self.send(answer),
                None => met(Met::Frame(text.as_bytes())),
            },
        }
        Ok(())
    }

    fn subscribe(&mut self, target: &Target, id: &str, met: &mut impl FnMut(Met<'_>)) {
        let channels = Rc::clone(&self.channels);
        for channel in channels.iter() {
            self.queue(&self.dialect.subscription(target, self.number, id, channel, self.member));
        }
        self.flush();
        let confirmed = channels.iter().filter(|channel| self.dialect.is_confirmed(channel)).count();
        self.stage = Stage::Subscribing(confirmed);
        if confirmed == 0 {
            self.ready(met);
        }
    }

    /// One more of its subscriptions has succeeded.
    fn confirmed(&mut self, met: &mut impl FnMut(Met<'_>)) {
        let Stage::Subscribing(missing) = &mut self.stage else { return };
        *missing -= 1;
        if *missing == 0 {
            self.ready(met);
        }
    }

    fn ready(&mut self, met: &mut impl FnMut(Met<'_>)) {
        self.stage = Stage::Ready;
        met(Met::Subscribed);
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::{Duration, Instant};

    use super::*;

    /// More than two kernels' socket buffers hold.
    const MESSAGES: usize = 256;
    const MESSAGE_BYTES: usize = 64 * 1024;

    #[test]
    fn what_the_kernel_refuses_goes_when_the_socket_is_writable() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = Target::for_tests(listener.local_addr().unwrap());
        let (poller, mut fleet) = (Poller::new().unwrap(), Fleet::new());
        fleet.connect(&poller, &target, 0, Rc::new([]), None).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        let mut ready = Vec::new();
        let mut step = |fleet: &mut Fleet| {
            poller.wait(Duration::from_millis(10), &mut ready).unwrap();
            for one in &ready {
                fleet.progress(&poller, &target, 0, one.writable, &mut |_, _| {}).unwrap();
            }
        };
        step(&mut fleet);
        let mut head = vec![0; 4096];
        let head_bytes = server.read(&mut head).unwrap();
        assert!(head[..head_bytes].ends_with(b"\r\n\r\n"));

        let message = "m".repeat(MESSAGE_BYTES);
        for _ in 0..MESSAGES {
            fleet.send(&poller, 0, &message).unwrap();
        }
        assert!(!fleet.clients[0].as_ref().unwrap().unwritten.is_empty(), "the kernel has taken everything");

        let reading = std::thread::spawn(move || {
            let (mut buffer, mut total) = (vec![0; 1 << 20], 0);
            while total < MESSAGES * MESSAGE_BYTES {
                total += server.read(&mut buffer).unwrap();
            }
            server
        });
        let deadline = Instant::now() + Duration::from_secs(20);
        while !reading.is_finished() && Instant::now() < deadline {
            step(&mut fleet);
        }
        assert!(fleet.clients[0].as_ref().unwrap().unwritten.is_empty());
        assert_eq!(fleet.clients[0].as_ref().unwrap().interest, Interest::Read);
        drop(reading.join().unwrap());
    }
}
