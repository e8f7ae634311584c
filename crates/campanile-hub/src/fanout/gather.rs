//! What each connection must get in this tick, as one write.
//!
//! Owns the frames between their delivery and their write. Never asks who may hear them: that a seat is there says so. The
//! invariant: a connection's frames leave in the order of their sequence, each once.
//!
//! A connection that only one channel touched in this tick shares that channel's joined bytes with every subscriber at
//! the same point, those who have agreed on compression among themselves; any other gets segments of its own list.
//! Either way it is written once.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use campanile_protocol::websocket::Deflater;
use campanile_protocol::{Position, ServerFrame};

use super::{ConnectionId, Fanout, PENDING};
use crate::letter::{Audience, ChannelKey};
use crate::seeded::Map;
use crate::shared_frame::SharedFrame;

/// How many bytes of a channel's frames are copied together into one slice.
pub const JOINED_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug, Clone)]
pub(super) struct Segment {
    pub(super) sequence: u64,
    pub(super) frame: SharedFrame,
    pub(super) except: Option<u32>,
}

impl Segment {
    /// The bytes for whoever has agreed on compression or has not.
    fn bytes(&self, compressed: bool, deflater: &mut Deflater) -> &Bytes {
        if compressed { self.frame.compressed(deflater) } else { &self.frame }
    }
}

/// A frame for one connection.
#[derive(Debug, Clone)]
pub(super) struct Direct {
    pub(super) sequence: u64,
    pub(super) frame: Bytes,
    /// The channel that it is about: whoever leaves that channel does not get it any more.
    pub(super) about: Option<u32>,
}

/// One write: the slices, in order, are whole frames.
#[derive(Debug)]
pub struct Write<'a> {
    /// To whom.
    pub connection: ConnectionId,
    /// What.
    pub slices: &'a [Bytes],
}

impl Fanout {
    /// Gathers a frame for all of a channel's listeners but one. Returns how many there are, that one included.
    // Called from another file for every publication: without this it is no longer built into its caller.
    #[inline]
    pub fn deliver(
        &mut self,
        key: &ChannelKey,
        audience: Audience,
        frame: impl Into<SharedFrame>,
        except: Option<ConnectionId>,
    ) -> usize {
        let frame = frame.into();
        let Some(index) = self.lookup(key, audience) else { return 0 };
        let except = except.filter(|id| self.outgoing(*id).is_some()).map(|id| id.index);
        if let Some(except) = except {
            self.set_apart(except);
        }
        let listeners = self.channel(index).listeners.len();
        if listeners == 0 {
            return 0;
        }
        self.sequence += 1;
        self.gathered_bytes += frame.len();
        let sequence = self.sequence;
        let channel = self.channel(index);
        channel.gathered.push(Segment { sequence, frame, except });
        if channel.gathered.len() == 1 {
            self.touched.push(index);
        }
        listeners
    }

    /// The channel has come this far with what has been gathered for it: its listeners are told at the end of the tick.
    pub fn advance(&mut self, key: &ChannelKey, at: Position) {
        let Some(index) = self.lookup(key, Audience::Subscribers) else { return };
        let channel = self.channel(index);
        if !channel.gathered.is_empty() && channel.position.replace(Box::new(at)).is_none() {
            self.advanced.push(index);
        }
    }

    /// Puts each position behind all that it speaks of, for the one who was left out of it, too.
    fn tell_positions(&mut self) {
        for index in std::mem::take(&mut self.advanced) {
            let channel = self.channels[index as usize].as_mut().expect("a forgotten channel has no position to tell");
            let Some(at) = channel.position.take().map(|at| *at) else { continue };
            self.sequence += 1;
            let frame = ServerFrame::ReplayPosition { channel: channel.key.name.as_str(), at }.encode();
            channel.gathered.push(Segment { sequence: self.sequence, frame: frame.into(), except: None });
        }
    }

    /// Gathers a frame for one connection.
    pub fn direct(&mut self, id: ConnectionId, frame: Bytes) {
        self.gather_direct(id, frame, None);
    }

    /// Gathers a frame for one connection about a channel in which it has a seat.
    pub fn direct_about(&mut self, id: ConnectionId, key: &ChannelKey, frame: Bytes) {
        let about = self.lookup(key, Audience::Subscribers);
        self.gather_direct(id, frame, about);
    }

    fn gather_direct(&mut self, id: ConnectionId, frame: Bytes, about: Option<u32>) {
        self.sequence += 1;
        let (sequence, bytes) = (self.sequence, frame.len());
        let Some(outgoing) = self.outgoing(id) else { return };
        outgoing.direct.push(Direct { sequence, frame, about });
        let listed = std::mem::replace(&mut outgoing.listed, true);
        self.gathered_bytes += bytes;
        if !listed {
            self.listed.push(id.index);
        }
    }

    /// This tick's bytes of this connection are its own.
    pub(super) fn set_apart(&mut self, index: u32) {
        let outgoing = &mut self.connections[index as usize];
        outgoing.apart = true;
        // Listed even if it gets nothing, so that the next tick begins anew.
        if !std::mem::replace(&mut outgoing.listed, true) {
            self.listed.push(index);
        }
    }

    /// How many bytes have been gathered since the last [`Fanout::gather`], each publication counted once.
    pub fn gathered_bytes(&self) -> usize {
        self.gathered_bytes
    }

    /// Whether everything that was gathered has been handed out.
    pub fn is_written(&self) -> bool {
        self.cursor >= self.writes.len()
    }

    /// Turns what the tick has gathered into one write per connection. The last tick's writes have been taken.
    pub fn gather(&mut self) {
        debug_assert!(self.is_written(), "a tick's writes are taken before the next is gathered");
        self.slices.clear();
        self.writes.clear();
        self.cursor = 0;
        self.gathered_bytes = 0;
        self.tell_positions();
        for index in &self.touched {
            let channel = self.channels[*index as usize].as_ref().expect("a forgotten channel is no longer touched");
            for listener in &channel.listeners {
                let outgoing = &mut self.connections[*listener as usize];
                outgoing.touches += 1;
                outgoing.channel = *index;
                if !std::mem::replace(&mut outgoing.listed, true) {
                    self.listed.push(*listener);
                }
            }
        }
        let mut joined: [Map<u32, Range<usize>>; 2] = Default::default();
        let mut own: Vec<(u64, Bytes)> = Vec::new();
        for connection in &self.listed {
            let outgoing = &mut self.connections[*connection as usize];
            let (compressed, deflater) = (outgoing.compressed, &mut self.deflater);
            let range = if outgoing.touches == 1 && outgoing.direct.is_empty() && !outgoing.apart {
                let channel = &self.channels[outgoing.channel as usize];
                let gathered = &channel.as_ref().expect("it has just been touched").gathered;
                joined[usize::from(compressed)]
                    .entry(outgoing.channel)
                    .or_insert_with(|| join(gathered, compressed, deflater, &mut self.slices))
                    .clone()
            } else {
                own.extend(outgoing.direct.drain(..).map(|direct| (direct.sequence, direct.frame)));
                if outgoing.touches > 0 {
                    for seat in outgoing.seats.iter().filter(|seat| seat.place != PENDING) {
                        let channel = self.channels[seat.channel as usize].as_ref().expect("a seat's channel exists");
                        let mine =
                            |segment: &&Segment| segment.sequence > seat.since && segment.except != Some(*connection);
                        let mine = channel.gathered.iter().filter(mine);
                        own.extend(mine.map(|s| (s.sequence, s.bytes(compressed, deflater).clone())));
                    }
                }
                own.sort_unstable_by_key(|(sequence, _)| *sequence);
                let start = self.slices.len();
                self.slices.extend(own.drain(..).map(|(_, frame)| frame));
                start..self.slices.len()
            };
            (outgoing.touches, outgoing.apart, outgoing.listed) = (0, false, false);
            if !range.is_empty() {
                let id = ConnectionId { index: *connection, generation: outgoing.generation };
                self.writes.push((id, range));
            }
        }
        self.listed.clear();
        for index in self.touched.drain(..) {
            if let Some(channel) = &mut self.channels[index as usize] {
                channel.gathered.clear();
            }
        }
    }

    /// The writes of this tick that have not been taken, in order.
    pub fn upcoming(&self) -> impl Iterator<Item = Write<'_>> {
        let writes = self.writes.get(self.cursor..).unwrap_or_default();
        writes.iter().map(|(connection, range)| Write { connection: *connection, slices: &self.slices[range.clone()] })
    }

    /// The next write of this tick.
    pub fn next_write(&mut self) -> Option<Write<'_>> {
        let (connection, range) = self.writes.get(self.cursor)?;
        self.cursor += 1;
        Some(Write { connection: *connection, slices: &self.slices[range.clone()] })
    }
}

/// Copies a channel's frames together, [`JOINED_BYTES_MAX`] at a time. A single frame is shared as it is.
fn join(gathered: &[Segment], compressed: bool, deflater: &mut Deflater, slices: &mut Vec<Bytes>) -> Range<usize> {
    let start = slices.len();
    if let [only] = gathered {
        slices.push(only.bytes(compressed, deflater).clone());
        return start..slices.len();
    }
    let total: usize = gathered.iter().map(|segment| segment.bytes(compressed, deflater).len()).sum();
    let mut joined = BytesMut::with_capacity(total.min(JOINED_BYTES_MAX));
    for segment in gathered {
        let frame = segment.bytes(compressed, deflater);
        if !joined.is_empty() && joined.len() + frame.len() > JOINED_BYTES_MAX {
            slices.push(joined.split().freeze());
        }
        joined.extend_from_slice(frame);
    }
    slices.push(joined.freeze());
    start..slices.len()
}
