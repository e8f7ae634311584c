//! Many clients in one thread.
//!
//! Owns their sockets, from the first packet to the last. Speaks raw frames: no task, no JSON parser and no buffer per
//! client, so that it costs less than the servers it measures. Never judges what arrives. The invariant: a client that
//! is not [`Stage::Ready`] has not been counted as subscribed. Read on in `publishers.rs`, `load.rs`.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::ops::ControlFlow;
use std::rc::Rc;

use campanile_protocol::websocket::{Incoming, Opcode, Received, Role, Rules, encode_masked_into};
use campanile_protocol::{ChannelKind, SocketId};
use memchr::memmem;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::poller::{Interest, Poller};
use crate::target::Target;

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
    /// Waits for so many `subscription_succeeded`.
    Subscribing(u32),
    Ready,
    /// Closed, with the server's code if it said one.
    Gone(Option<u16>),
}

#[derive(Debug)]
struct Client {
    stream: TcpStream,
    incoming: Incoming,
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
    /// A message that is not part of subscribing or of staying alive.
    Frame(&'a [u8]),
    Closed(Option<u16>),
}

/// Many clients.
#[derive(Debug)]
pub(crate) struct Fleet {
    clients: Vec<Option<Client>>,
    buffer: Vec<u8>,
    opening: usize,
    ready: usize,
}

impl Fleet {
    pub(crate) fn new() -> Self {
        Self { clients: Vec::new(), buffer: vec![0; READ_BYTES], opening: 0, ready: 0 }
    }

    /// Clients on their way to being subscribed.
    pub(crate) fn opening(&self) -> usize {
        self.opening
    }

    /// Clients that are subscribed.
    pub(crate) fn ready(&self) -> usize {
        self.ready
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
        if self.clients.len() <= number {
            self.clients.resize_with(number + 1, || None);
        }
        let incoming = Incoming::default();
        self.clients[number] = Some(Client {
            stream,
            incoming,
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
        client.send(text)?;
        client.wait_on(poller, number)
    }

    /// Lets a client read no more, or again.
    pub(crate) fn stall(&mut self, poller: &Poller, number: usize, stalled: bool) -> io::Result<()> {
        let Some(client) = self.clients.get_mut(number).and_then(Option::as_mut) else { return Ok(()) };
        client.is_stalled = stalled;
        client.wait_on(poller, number)
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
            let _ = client.stream.write(&frame);
        } else {
            let _ = socket2::SockRef::from(&client.stream).set_linger(Some(std::time::Duration::ZERO));
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
        client.read(&mut self.buffer, target, &mut |what| met(number, what));
        let is_ready = matches!(client.stage, Stage::Ready);
        self.opening -= usize::from(was_opening && !client.is_opening());
        self.ready += usize::from(is_ready && !was_ready);
        self.ready -= usize::from(was_ready && !is_ready);
        if let Stage::Gone(code) = client.stage {
            self.clients[number] = None;
            met(number, Met::Closed(code));
            return Ok(());
        }
        client.wait_on(poller, number)
    }
}

impl Client {
    fn is_opening(&self) -> bool {
        !matches!(self.stage, Stage::Ready | Stage::Gone(_))
    }

    /// Has the poller wait for what this client can go on with.
    fn wait_on(&mut self, poller: &Poller, number: usize) -> io::Result<()> {
        let has_to_write = matches!(self.stage, Stage::Connecting) || !self.unwritten.is_empty();
        let interest = match (self.is_stalled, has_to_write) {
            (true, _) => Interest::Nothing,
            (false, true) => Interest::ReadWrite,
            (false, false) => Interest::Read,
        };
        if interest != std::mem::replace(&mut self.interest, interest) {
            poller.change(&self.stream, number as u64, interest)?;
        }
        Ok(())
    }

    /// Does what a writable socket allows: the upgrade of one that has just connected, else what is left over.
    fn write(&mut self, target: &Target) -> io::Result<()> {
        if matches!(self.stage, Stage::Connecting) {
            return self.upgrade(target);
        }
        self.flush()
    }

    fn send(&mut self, text: &str) -> io::Result<()> {
        encode_masked_into(&mut self.unwritten, Opcode::Text, text.as_bytes(), [0x12, 0x34, 0x56, 0x78]);
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.unwritten.is_empty() {
            return Ok(());
        }
        match self.stream.write(&self.unwritten) {
            Ok(written) => {
                self.unwritten.drain(..written);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn upgrade(&mut self, target: &Target) -> io::Result<()> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        let request = format!(
            "GET /app/{}?protocol=7&client=campanile-bench&version=1.0 HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
            target.key, target.address
        );
        self.unwritten.extend_from_slice(request.as_bytes());
        self.stage = Stage::Upgrading(Vec::new());
        self.flush()
    }

    fn read(&mut self, buffer: &mut [u8], target: &Target, met: &mut impl FnMut(Met<'_>)) {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return self.gone(None),
                Ok(length) => {
                    self.take(&mut buffer[..length], target, met);
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

    fn take(&mut self, bytes: &mut [u8], target: &Target, met: &mut impl FnMut(Met<'_>)) {
        if let Stage::Upgrading(head) = &mut self.stage {
            head.extend_from_slice(bytes);
            let Some(end) = memmem::find(head, b"\r\n\r\n") else { return };
            if !head.starts_with(b"HTTP/1.1 101") {
                return self.gone(None);
            }
            let mut rest = head[end + 4..].to_vec();
            self.stage = Stage::Greeting;
            return self.take_frames(&mut rest, target, met);
        }
        self.take_frames(bytes, target, met);
    }

    fn take_frames(&mut self, bytes: &mut [u8], target: &Target, met: &mut impl FnMut(Met<'_>)) {
        let mut incoming = std::mem::take(&mut self.incoming);
        let outcome = incoming.receive(bytes, RULES, |received| {
            let outcome = match received {
                Received::Text(text) => self.take_text(text, target, met),
                Received::Ping(payload) => {
                    encode_masked_into(&mut self.unwritten, Opcode::Pong, payload, [9, 8, 7, 6]);
                    self.flush()
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
        });
        self.incoming = incoming;
        if outcome.is_err() || (self.incoming.is_closed() && !matches!(self.stage, Stage::Gone(_))) {
            self.gone(None);
        }
    }

    fn take_text(&mut self, text: &str, target: &Target, met: &mut impl FnMut(Met<'_>)) -> io::Result<()> {
        match &mut self.stage {
            Stage::Greeting => {
                let Some(id) = greeted(text) else { return Err(io::Error::other("the greeting has no socket id")) };
                self.stage = Stage::Subscribing(u32::try_from(self.channels.len()).unwrap_or(u32::MAX));
                for channel in Rc::clone(&self.channels).iter() {
                    let message = subscription(target, id, channel, self.member);
                    encode_masked_into(&mut self.unwritten, Opcode::Text, message.as_bytes(), [0x12, 0x34, 0x56, 0x78]);
                }
                self.flush()
            }
            Stage::Subscribing(missing) if text.contains("subscription_succeeded") => {
                *missing -= 1;
                if *missing == 0 {
                    self.stage = Stage::Ready;
                    met(Met::Subscribed);
                }
                Ok(())
            }
            _ if text.starts_with("{\"event\":\"pusher:ping\"") => self.send(r#"{"event":"pusher:pong","data":{}}"#),
            _ => {
                met(Met::Frame(text.as_bytes()));
                Ok(())
            }
        }
    }
}

fn greeted(text: &str) -> Option<SocketId> {
    const MARK: &str = "socket_id\\\":\\\"";
    let start = text.find(MARK)? + MARK.len();
    let id = text[start..].split('\\').next()?;
    SocketId::parse(id).ok()
}

/// The message that subscribes, signed where the channel's kind asks for it.
pub(crate) fn subscription(target: &Target, id: SocketId, channel: &str, member: Option<u64>) -> String {
    let kind = ChannelKind::of(channel);
    let member = member.filter(|_| kind.is_presence()).map(|member| format!("{{\"user_id\":\"{member}\"}}"));
    let mut data = format!("\"channel\":\"{channel}\"");
    if kind.is_signed() {
        let signature = target.secret.sign_channel(id, channel, member.as_deref());
        data.push_str(&format!(",\"auth\":\"{}:{signature}\"", target.key));
    }
    if let Some(member) = member {
        data.push_str(&format!(",\"channel_data\":\"{}\"", member.replace('"', "\\\"")));
    }
    format!("{{\"event\":\"pusher:subscribe\",\"data\":{{{data}}}}}")
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
