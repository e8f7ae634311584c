//! What a worker does with bytes that have come.
//!
//! Owns the way from a socket to the mind: head, upgrade or HTTP, frames. Never writes but for the answer to an upgrade.
//! The invariant: a client is read only while a permit is free, whatever it has said has one, and `reading` names it for as long as a panic would
//! concern nobody else.

use std::ops::ControlFlow;

use bytes::Bytes;
use campanile_hub::letter::Departure;
use campanile_protocol::CloseCode;
use campanile_protocol::websocket::{self, Opcode, Received, Role, Rules, close_code};
use rustix::event::epoll;

#[cfg(test)]
use super::tests;
use super::{READ_BYTES, Worker};
use crate::api;
use crate::config::limits::INFLATED_BYTES_PER_READ_MAX;
use crate::socket::{Socket, Stage};
use crate::upgrade::{self, First, Version};
use crate::wire::Inbound;

impl Worker {
    pub(super) fn read(&mut self, index: u32) {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(READ_BYTES, 0);
        let stage = self.sockets[index as usize].as_ref().map(|socket| &socket.stage);
        // The kernel keeps what waits, and tells of it again.
        if matches!(stage, Some(Stage::Open { .. })) && !self.permits.is_free() {
            self.buffer = buffer;
            return;
        }
        // Once, or until TLS has nothing left that the kernel does not know of.
        while let Some(socket) = self.sockets[index as usize].as_mut() {
            self.reading = Some(index);
            let inbound = socket.wire.read(&mut buffer);
            self.reading = None;
            match inbound {
                Ok(Inbound::Bytes(length)) => self.take_bytes(index, &mut buffer[..length]),
                Ok(Inbound::Nothing) => {}
                Ok(Inbound::PlainHttp) => {
                    socket.wire.speak_plain();
                    self.refuse(index, upgrade::wants_tls());
                }
                Ok(Inbound::End) | Err(_) => self.drop_socket(index, Departure::Vanished),
            }
            if !self.sockets[index as usize].as_mut().is_some_and(|socket| socket.wire.has_plaintext()) {
                break;
            }
        }
        // Shaking hands writes, too.
        if self.sockets[index as usize].as_ref().is_some_and(|socket| socket.wire.has_unsent()) {
            self.watch_writable(index, true);
        }
        self.buffer = buffer;
    }

    pub(super) fn take_bytes(&mut self, index: u32, bytes: &mut [u8]) {
        let Some(socket) = self.sockets[index as usize].as_mut() else { return };
        match &mut socket.stage {
            Stage::Closing => {}
            Stage::Head(head) => {
                let seen = head.len();
                head.extend_from_slice(bytes);
                self.take_head(index, seen);
            }
            Stage::Open { .. } => self.take_frames(index, bytes),
        }
    }

    pub(super) fn take_frames(&mut self, index: u32, bytes: &mut [u8]) {
        let now = self.now();
        let Some(socket) = self.sockets[index as usize].as_mut() else { return };
        if self.hub.heard(socket.id, now) && !socket.has_queued() {
            self.hub.taken(socket.id);
        }
        let Stage::Open { incoming, compression, .. } = &mut socket.stage else { return };
        let (id, hub, reading) = (socket.id, &mut self.hub, &mut self.reading);
        let rules = Rules { role: Role::Server, message_max: self.config.limits.frame_bytes_max };
        let inflated_max = rules.message_max + INFLATED_BYTES_PER_READ_MAX;
        let (mut inflated, mut closed) = (0, None);
        // On credit, at worst: what TLS has decrypted and what came behind a head is nowhere but here. No socket is read
        // until that is paid back, so it is what one tick can read.
        let permit = self.permits.take_on_credit();
        *reading = Some(index);
        let sink = |received: Received<'_>| {
            #[cfg(test)]
            tests::panic_reading(&received);
            *reading = None;
            inflated += match received {
                Received::Text(text) => text.len(),
                Received::Binary(bytes) => bytes.len(),
                Received::Ping(_) | Received::Pong(_) | Received::Close(_) => 0,
            };
            // Plain messages never get there: a read has no more bytes than the buffer.
            if inflated > inflated_max {
                return ControlFlow::Break(());
            }
            match received {
                Received::Text(text) => hub.receive(id, text, now),
                Received::Binary(bytes) => hub.receive_binary(id, bytes, now),
                Received::Ping(payload) => hub.fanout().direct(id, websocket::encode(Opcode::Pong, payload)),
                Received::Pong(_) => {}
                Received::Close(close) => closed = Some(close.code.unwrap_or(CloseCode::Normal.number())),
            }
            *reading = Some(index);
            ControlFlow::Continue(())
        };
        let outcome = if *compression {
            incoming.receive_compressed(bytes, rules, &mut self.inflater, sink)
        } else {
            incoming.receive(bytes, rules, sink)
        };
        self.reading = None;
        self.settle(Some(&permit));
        if let Err(violation) = outcome {
            self.closes.push_back((id, violation.close_code(), violation.to_string().into()));
        } else if inflated > inflated_max {
            self.closes.push_back((id, close_code::TOO_BIG, "the messages are too big together".into()));
        } else if let Some(code) = closed {
            self.hub.disconnect(id, Departure::Left, now);
            self.settle(Some(&permit));
            self.closes.push_back((id, code, "".into()));
        }
    }

    pub(super) fn take_head(&mut self, index: u32, seen: usize) {
        let Some(socket) = self.sockets[index as usize].as_mut() else { return };
        let Stage::Head(head) = &socket.stage else { return };
        match upgrade::read(head, seen, upgrade::Rules::of(&self.config)) {
            First::Incomplete => {}
            First::Http(version) => self.hand_to_http(index, version),
            First::Refused(response) => self.refuse(index, response),
            First::WebSocket { request, response, rest } => self.open(index, &request, response, rest),
        }
    }

    pub(super) fn open(&mut self, index: u32, request: &upgrade::Request, response: Bytes, rest: Vec<u8>) {
        let Some(socket) = self.sockets[index as usize].as_mut() else { return };
        if socket.write(&[response], usize::MAX).is_err() {
            return self.drop_socket(index, Departure::Vanished);
        }
        self.enter(index, request, rest);
    }

    /// Lets in a client that has been answered 101, or tells it why not.
    pub(super) fn enter(&mut self, index: u32, request: &upgrade::Request, mut rest: Vec<u8>) {
        let now = self.now();
        let admitted = request.admit(&self.node, self.hub.apps());
        let Some(socket) = self.sockets[index as usize].as_mut() else { return };
        let id = socket.id;
        if tracing::enabled!(tracing::Level::DEBUG) {
            let client = request.client(socket.wire.peer(), &self.node);
            match &admitted {
                Ok(admitted) => tracing::debug!(%client, app = %admitted.app.id, "connected"),
                Err(refusal) => {
                    let code = refusal.code.number();
                    tracing::debug!(%client, code, reason = %refusal.message, "refused");
                }
            }
        }
        match admitted {
            Ok(admitted) => {
                let mut secret = [0; 8];
                if getrandom::fill(&mut secret).is_err() {
                    return self.drop_socket(index, Departure::Vanished);
                }
                let socket_id = campanile_protocol::SocketId {
                    place: self.socket_id_place | u64::from(index),
                    secret: u64::from_ne_bytes(secret) >> 1,
                };
                let (incoming, compression) = (websocket::Incoming::default(), request.has_compression());
                socket.stage = Stage::Open { incoming, compression, _place: admitted.place };
                socket.look_at = now.after_secs(1);
                self.hub.connect(id, &admitted.app, socket_id, admitted.protocol, now);
                if compression {
                    self.hub.fanout().compress(id);
                }
                self.settle(None);
                if !rest.is_empty() {
                    self.take_frames(index, &mut rest);
                }
            }
            Err(refusal) => {
                let (code, message) = (Some(refusal.code), &*refusal.message);
                let error = campanile_protocol::ServerFrame::Error { code, message, channel: None }.encode();
                let _ = socket.write(&[error], usize::MAX);
                self.closes.push_back((id, refusal.code.number(), refusal.message));
            }
        }
    }

    /// Answers in HTTP and waits until the peer has read that: closing over unread bytes would destroy the answer.
    pub(super) fn refuse(&mut self, index: u32, response: Bytes) {
        let look_at = self.now().after_secs(self.config.limits.closing_timeout.as_secs());
        let Some(socket) = self.sockets[index as usize].as_mut() else { return };
        let id = socket.id;
        if socket.dismiss(response, look_at).is_err() {
            return self.drop_socket(index, Departure::Vanished);
        }
        self.let_go(id);
        self.finish(index);
    }

    pub(super) fn hand_to_http(&mut self, index: u32, version: Version) {
        let Some(slot) = self.http.reserve(self.config.limits.http_connections_max) else {
            let Some(Socket { stage: Stage::Head(head), .. }) = &self.sockets[index as usize] else { return };
            // A node must not look dead because many use it.
            let answer = api::answer_head(head, &self.node).unwrap_or_else(|| upgrade::full(version));
            return self.refuse(index, answer);
        };
        let Some(socket) = self.sockets[index as usize].take() else { return };
        self.release(index);
        let Stage::Head(head) = socket.stage else { return };
        // A descriptor that epoll no longer knows is no loss here.
        let _ = epoll::delete(self.epoll.get_ref(), &socket.wire);
        self.http.serve(socket.wire, head, version, slot, socket.descriptor);
    }
}
