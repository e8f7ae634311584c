//! Who on this worker gets what in this tick.
//!
//! Owns the worker's seats (a connection in a channel) and what has been gathered for each connection. Never decides
//! anything and never writes to a socket. The invariant: a connection gets what concerns it in the order in which it was
//! gathered, direct replies included, so nothing overtakes anything (I1, I2, I4).
//!
//! A connection that only one channel touched in this tick shares that channel's joined bytes with every subscriber at
//! the same point, those who have agreed on compression among themselves; any other gets segments of its own list.
//! Either way it is written once.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use campanile_protocol::UserId;
use campanile_protocol::websocket::Deflater;

use crate::letter::{Audience, ChannelKey};
use crate::seeded::{Map, Seed};
use crate::shared_frame::SharedFrame;

/// How many bytes of a channel's frames are copied together into one slice.
pub const JOINED_BYTES_MAX: usize = 64 * 1024;

/// A connection of this worker. The generation tells it from an earlier one in the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId {
    /// Its place.
    pub index: u32,
    /// How many connections had the place before.
    pub generation: u32,
}

/// A subscription at its worker.
#[derive(Debug, Clone)]
struct Seat {
    channel: u32,
    /// Where in the channel's listeners; [`PENDING`] until the home has granted it.
    place: u32,
    token: u64,
    /// Frames gathered before this are not for it.
    since: u64,
    user: Option<UserId>,
}

const PENDING: u32 = u32::MAX;

#[derive(Debug, Clone)]
struct LocalChannel {
    key: ChannelKey,
    audience: Audience,
    listeners: Vec<u32>,
    /// Seats, pending ones included: the channel is forgotten with the last.
    seats: u32,
    gathered: Vec<Segment>,
}

impl LocalChannel {
    /// Whether its seats are had because clients have asked for the channel by its name.
    fn is_asked_for(&self) -> bool {
        self.audience == Audience::Subscribers && self.key.name.user().is_none()
    }
}

#[derive(Debug, Clone)]
struct Segment {
    sequence: u64,
    frame: SharedFrame,
    except: Option<u32>,
}

impl Segment {
    /// The bytes for whoever has agreed on compression or has not.
    fn bytes(&self, compressed: bool, deflater: &mut Deflater) -> &Bytes {
        if compressed { self.frame.compressed(deflater) } else { &self.frame }
    }
}

/// A frame for one connection.
#[derive(Debug, Clone)]
struct Direct {
    sequence: u64,
    frame: Bytes,
    /// The channel that it is about: whoever leaves that channel does not get it any more.
    about: Option<u32>,
}

/// What one connection has on this worker.
#[derive(Debug, Clone, Default)]
struct Outgoing {
    generation: u32,
    open: bool,
    /// It takes publications compressed.
    compressed: bool,
    /// This tick's bytes differ from those of the channel's other listeners.
    apart: bool,
    /// Stands in the list of connections to write.
    listed: bool,
    touches: u32,
    /// The channel that touched it last.
    channel: u32,
    /// Sorted by channel: a connection may have thousands.
    seats: Vec<Seat>,
    /// How many of the seats the client has asked for.
    asked_for: usize,
    direct: Vec<Direct>,
}

impl Outgoing {
    /// Where the seat in this channel is, or where it would be.
    fn find(&self, channel: u32) -> Result<usize, usize> {
        self.seats.binary_search_by_key(&channel, |seat| seat.channel)
    }

    fn seat(&self, channel: u32) -> Option<&Seat> {
        self.find(channel).ok().map(|at| &self.seats[at])
    }

    fn seat_mut(&mut self, channel: u32) -> Option<&mut Seat> {
        self.find(channel).ok().map(|at| &mut self.seats[at])
    }
}

/// A seat as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeatView {
    /// Granted by the home.
    pub joined: bool,
    /// The member, on presence channels.
    pub user: Option<UserId>,
    /// The seat's token.
    pub token: u64,
}

/// A granted seat that has been given up, so that its home can be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// The channel.
    pub key: ChannelKey,
    /// Subscriber or watcher.
    pub audience: Audience,
    /// The member, on presence channels.
    pub user: Option<UserId>,
    /// The seat's token.
    pub token: u64,
}

/// One write: the slices, in order, are whole frames.
#[derive(Debug)]
pub struct Write<'a> {
    /// To whom.
    pub connection: ConnectionId,
    /// What.
    pub slices: &'a [Bytes],
}

/// One worker's side of all subscriptions.
#[derive(Debug, Clone, Default)]
pub struct Fanout {
    channels: Vec<Option<LocalChannel>>,
    free: Vec<u32>,
    subscribers: Map<ChannelKey, u32>,
    watchers: Map<ChannelKey, u32>,
    connections: Vec<Outgoing>,
    sequence: u64,
    gathered_bytes: usize,
    touched: Vec<u32>,
    listed: Vec<u32>,
    slices: Vec<Bytes>,
    writes: Vec<(ConnectionId, Range<usize>)>,
    cursor: usize,
    deflater: Deflater,
}

impl Fanout {
    /// Without any connection; its maps are hashed with the seed.
    pub fn new(seed: u64) -> Self {
        let map = || Map::with_hasher(Seed(seed));
        Self { subscribers: map(), watchers: map(), ..Self::default() }
    }

    /// Begins a connection.
    pub fn open(&mut self, id: ConnectionId) {
        let index = id.index as usize;
        if self.connections.len() <= index {
            self.connections.resize_with(index + 1, Outgoing::default);
        }
        self.connections[index] = Outgoing { generation: id.generation, open: true, ..Outgoing::default() };
    }

    /// From now on this connection gets publications compressed, as it has agreed to. What is for it alone stays plain:
    /// compressing pays where many share it.
    pub fn compress(&mut self, id: ConnectionId) {
        if let Some(outgoing) = self.outgoing(id) {
            outgoing.compressed = true;
        }
    }

    /// Ends a connection and gives up its seats. Pending ones are undone when their answer comes.
    pub fn close(&mut self, id: ConnectionId) -> Vec<Left> {
        let mut left = Vec::new();
        while let Some(seat) = self.outgoing(id).and_then(|outgoing| outgoing.seats.pop()) {
            left.extend(self.give_up(&seat));
        }
        if let Some(outgoing) = self.outgoing(id) {
            *outgoing = Outgoing { generation: id.generation, ..Outgoing::default() };
        }
        left
    }

    fn outgoing(&mut self, id: ConnectionId) -> Option<&mut Outgoing> {
        let outgoing = self.connections.get_mut(id.index as usize)?;
        (outgoing.open && outgoing.generation == id.generation).then_some(outgoing)
    }

    fn lookup(&self, key: &ChannelKey, audience: Audience) -> Option<u32> {
        match audience {
            Audience::Subscribers => self.subscribers.get(key).copied(),
            Audience::Watchers => self.watchers.get(key).copied(),
        }
    }

    fn channel(&mut self, index: u32) -> &mut LocalChannel {
        self.channels[index as usize].as_mut().expect("a seat's channel exists as long as the seat")
    }

    /// The connection's seat in a channel.
    pub fn seat(&self, id: ConnectionId, key: &ChannelKey, audience: Audience) -> Option<SeatView> {
        let channel = self.lookup(key, audience)?;
        let outgoing = self.connections.get(id.index as usize)?;
        let seat = outgoing.seat(channel)?;
        (outgoing.open && outgoing.generation == id.generation).then(|| SeatView {
            joined: seat.place != PENDING,
            user: seat.user.clone(),
            token: seat.token,
        })
    }

    /// How many channels the client has asked for, pending ones included: neither those it watches nor its user's own.
    pub fn subscriptions(&self, id: ConnectionId) -> usize {
        self.connections.get(id.index as usize).map_or(0, |outgoing| outgoing.asked_for)
    }

    /// Takes a pending seat. The caller has seen that there is none yet.
    pub fn reserve(&mut self, id: ConnectionId, key: ChannelKey, audience: Audience, token: u64) {
        let channel = self.lookup(&key, audience).unwrap_or_else(|| self.add_channel(key, audience));
        let asked_for = self.channel(channel).is_asked_for();
        if let Some(outgoing) = self.outgoing(id) {
            let (Ok(at) | Err(at)) = outgoing.find(channel);
            outgoing.seats.insert(at, Seat { channel, place: PENDING, token, since: 0, user: None });
            outgoing.asked_for += usize::from(asked_for);
            self.channel(channel).seats += 1;
        }
    }

    fn add_channel(&mut self, key: ChannelKey, audience: Audience) -> u32 {
        let local = LocalChannel { key: key.clone(), audience, listeners: Vec::new(), seats: 0, gathered: Vec::new() };
        let index = self.free.pop().unwrap_or_else(|| {
            self.channels.push(None);
            u32::try_from(self.channels.len() - 1).expect("a worker has fewer than four billion channels")
        });
        self.channels[index as usize] = Some(local);
        match audience {
            Audience::Subscribers => self.subscribers.insert(key, index),
            Audience::Watchers => self.watchers.insert(key, index),
        };
        index
    }

    /// Turns the pending seat with this token into a granted one. False: the answer is stale.
    pub fn join(
        &mut self,
        id: ConnectionId,
        key: &ChannelKey,
        audience: Audience,
        token: u64,
        user: Option<UserId>,
    ) -> bool {
        let Some(channel) = self.lookup(key, audience) else { return false };
        let since = self.sequence;
        let place = u32::try_from(self.channel(channel).listeners.len()).expect("a worker has fewer connections");
        let Some(outgoing) = self.outgoing(id) else { return false };
        let pending = |seat: &&mut Seat| seat.token == token && seat.place == PENDING;
        let Some(seat) = outgoing.seat_mut(channel).filter(pending) else { return false };
        (seat.place, seat.since, seat.user) = (place, since, user);
        self.set_apart(id.index);
        self.channel(channel).listeners.push(id.index);
        true
    }

    /// Gives up a seat. `None`: there was none, or the home has not granted it yet.
    pub fn leave(&mut self, id: ConnectionId, key: &ChannelKey, audience: Audience) -> Option<Left> {
        let channel = self.lookup(key, audience)?;
        let asked_for = self.channel(channel).is_asked_for();
        let outgoing = self.outgoing(id)?;
        let seat = outgoing.seats.remove(outgoing.find(channel).ok()?);
        outgoing.asked_for -= usize::from(asked_for);
        // What it would have heard in this tick is not for it either, direct or not (I1).
        outgoing.direct.retain(|direct| direct.about != Some(channel));
        self.give_up(&seat)
    }

    /// A granted seat on a presence channel is no member's any more.
    pub(crate) fn forget_member(&mut self, id: ConnectionId, key: &ChannelKey) {
        let Some(channel) = self.lookup(key, Audience::Subscribers) else { return };
        if let Some(seat) = self.outgoing(id).and_then(|outgoing| outgoing.seat_mut(channel)) {
            seat.user = None;
        }
    }

    fn give_up(&mut self, seat: &Seat) -> Option<Left> {
        let channel = self.channel(seat.channel);
        channel.seats -= 1;
        let left = (seat.place != PENDING).then(|| Left {
            key: channel.key.clone(),
            audience: channel.audience,
            user: seat.user.clone(),
            token: seat.token,
        });
        let (last, key, audience) = (channel.seats == 0, channel.key.clone(), channel.audience);
        if left.is_some() {
            channel.listeners.swap_remove(seat.place as usize);
            let moved = channel.listeners.get(seat.place as usize).copied();
            if let Some(moved) = moved
                && let Some(moved) = self.connections[moved as usize].seat_mut(seat.channel)
            {
                moved.place = seat.place;
            }
        }
        if last {
            self.channels[seat.channel as usize] = None;
            self.free.push(seat.channel);
            self.touched.retain(|touched| *touched != seat.channel);
            match audience {
                Audience::Subscribers => self.subscribers.remove(&key),
                Audience::Watchers => self.watchers.remove(&key),
            };
        }
        left
    }

    /// How many seats there are, pending ones included.
    pub fn seat_count(&self) -> usize {
        self.connections.iter().map(|outgoing| outgoing.seats.len()).sum()
    }

    /// How many channels have a seat, counted once for subscribers and once for watchers.
    pub fn channel_count(&self) -> usize {
        self.subscribers.len() + self.watchers.len()
    }

    /// The connections in a channel.
    pub fn listeners(&self, key: &ChannelKey, audience: Audience) -> Vec<ConnectionId> {
        let Some(channel) = self.lookup(key, audience).and_then(|index| self.channels[index as usize].as_ref()) else {
            return Vec::new();
        };
        let id = |index: &u32| ConnectionId { index: *index, generation: self.connections[*index as usize].generation };
        channel.listeners.iter().map(id).collect()
    }

    /// Every seat: whose it is, in which channel, and how it stands.
    pub(crate) fn seats(&self) -> impl Iterator<Item = (ConnectionId, &ChannelKey, Audience, SeatView)> {
        let open = self.connections.iter().enumerate().filter(|(_, outgoing)| outgoing.open);
        open.flat_map(move |(index, outgoing)| {
            let index = u32::try_from(index).expect("connections are numbered in 32 bits");
            let id = ConnectionId { index, generation: outgoing.generation };
            outgoing.seats.iter().filter_map(move |seat| {
                let channel = self.channels[seat.channel as usize].as_ref()?;
                let (joined, user, token) = (seat.place != PENDING, seat.user.clone(), seat.token);
                Some((id, &channel.key, channel.audience, SeatView { joined, user, token }))
            })
        })
    }

    /// Gathers a frame for all of a channel's listeners but one.
    pub fn deliver(
        &mut self,
        key: &ChannelKey,
        audience: Audience,
        frame: impl Into<SharedFrame>,
        except: Option<ConnectionId>,
    ) {
        let frame = frame.into();
        let Some(index) = self.lookup(key, audience) else { return };
        let except = except.filter(|id| self.outgoing(*id).is_some()).map(|id| id.index);
        if let Some(except) = except {
            self.set_apart(except);
        }
        if self.channel(index).listeners.is_empty() {
            return;
        }
        self.sequence += 1;
        self.gathered_bytes += frame.len();
        let sequence = self.sequence;
        let channel = self.channel(index);
        channel.gathered.push(Segment { sequence, frame, except });
        if channel.gathered.len() == 1 {
            self.touched.push(index);
        }
    }

    /// This tick's bytes of this connection are its own.
    fn set_apart(&mut self, index: u32) {
        let outgoing = &mut self.connections[index as usize];
        outgoing.apart = true;
        // Listed even if it gets nothing, so that the next tick begins anew.
        if !std::mem::replace(&mut outgoing.listed, true) {
            self.listed.push(index);
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

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use campanile_protocol::ChannelName;
    use campanile_protocol::websocket::{self, Incoming, Inflater, Opcode, Received, Role, Rules};

    use super::*;
    use crate::app::AppIndex;

    const SUBSCRIBERS: Audience = Audience::Subscribers;

    fn key(name: &str) -> ChannelKey {
        ChannelKey { app: AppIndex(0), name: ChannelName::parse(name, 164).unwrap() }
    }

    fn id(index: u32) -> ConnectionId {
        ConnectionId { index, generation: 0 }
    }

    /// So many connections, all of them in channel `a`.
    fn fanout(connections: u32) -> Fanout {
        let mut fanout = Fanout::default();
        for index in 0..connections {
            fanout.open(id(index));
            sit(&mut fanout, id(index), "a");
        }
        written(&mut fanout);
        fanout
    }

    fn sit(fanout: &mut Fanout, id: ConnectionId, name: &str) {
        fanout.reserve(id, key(name), SUBSCRIBERS, 1);
        assert!(fanout.join(id, &key(name), SUBSCRIBERS, 1, None));
    }

    fn deliver(fanout: &mut Fanout, name: &str, frame: &'static str) {
        fanout.deliver(&key(name), SUBSCRIBERS, Bytes::from_static(frame.as_bytes()), None);
    }

    fn written(fanout: &mut Fanout) -> Vec<(u32, String)> {
        let mut all = Vec::new();
        fanout.gather();
        while let Some(write) = fanout.next_write() {
            let text = String::from_utf8(write.slices.concat()).unwrap();
            all.push((write.connection.index, text));
        }
        all.sort();
        all
    }

    fn texts(all: &[(u32, &str)]) -> Vec<(u32, String)> {
        all.iter().map(|(index, text)| (*index, (*text).to_owned())).collect()
    }

    #[test]
    fn subscribers_at_the_same_point_share_the_same_bytes() {
        let mut fanout = fanout(3);
        deliver(&mut fanout, "a", "one ");
        deliver(&mut fanout, "a", "two ");
        fanout.gather();
        let mut slices = Vec::new();
        while let Some(write) = fanout.next_write() {
            assert_eq!(write.slices.len(), 1);
            slices.push((write.slices[0].as_ptr(), write.slices[0].clone()));
        }
        assert_eq!(slices.len(), 3);
        assert!(slices.iter().all(|(at, bytes)| *at == slices[0].0 && &bytes[..] == b"one two "));
    }

    #[test]
    fn frames_are_joined_up_to_the_bound_and_a_byte_past_it_begins_another_slice() {
        let mut fanout = fanout(1);
        for (second, slices) in [(JOINED_BYTES_MAX - 1, 1), (JOINED_BYTES_MAX, 2)] {
            fanout.deliver(&key("a"), SUBSCRIBERS, Bytes::from_static(b"x"), None);
            fanout.deliver(&key("a"), SUBSCRIBERS, Bytes::from(vec![b'y'; second]), None);
            assert_eq!(fanout.gathered_bytes(), second + 1);
            fanout.gather();
            let write = fanout.next_write().unwrap();
            assert_eq!(write.slices.len(), slices);
            assert_eq!(write.slices.concat().len(), second + 1);
            assert!(fanout.is_written());
        }
    }

    #[test]
    fn direct_frames_and_deliveries_of_many_channels_keep_their_order() {
        let mut fanout = fanout(2);
        sit(&mut fanout, id(0), "b");
        deliver(&mut fanout, "a", "1 ");
        fanout.direct(id(0), Bytes::from_static(b"2 "));
        deliver(&mut fanout, "b", "3 ");
        deliver(&mut fanout, "a", "4 ");
        assert_eq!(written(&mut fanout), texts(&[(0, "1 2 3 4 "), (1, "1 4 ")]));
    }

    #[test]
    fn whoever_joins_within_a_tick_gets_only_what_comes_after() {
        let mut fanout = fanout(1);
        fanout.open(id(1));
        fanout.reserve(id(1), key("a"), SUBSCRIBERS, 7);
        deliver(&mut fanout, "a", "before ");
        assert!(!fanout.join(id(1), &key("a"), SUBSCRIBERS, 6, None), "a stale answer");
        assert!(fanout.join(id(1), &key("a"), SUBSCRIBERS, 7, None));
        assert!(!fanout.join(id(1), &key("a"), SUBSCRIBERS, 7, None), "the same answer twice");
        deliver(&mut fanout, "a", "after ");
        assert_eq!(written(&mut fanout), texts(&[(0, "before after "), (1, "after ")]));
    }

    #[test]
    fn whoever_leaves_within_a_tick_gets_nothing_more_of_the_channel() {
        let mut fanout = fanout(2);
        deliver(&mut fanout, "a", "a ");
        fanout.direct_about(id(1), &key("a"), Bytes::from_static(b"about a "));
        fanout.direct(id(1), Bytes::from_static(b"pong "));
        assert!(fanout.leave(id(1), &key("a"), SUBSCRIBERS).is_some());
        deliver(&mut fanout, "a", "b ");
        assert_eq!(written(&mut fanout), texts(&[(0, "a b "), (1, "pong ")]));
    }

    #[test]
    fn the_last_to_leave_takes_the_channel_and_its_frames_with_it() {
        let mut fanout = fanout(1);
        deliver(&mut fanout, "a", "a ");
        assert!(fanout.leave(id(0), &key("a"), SUBSCRIBERS).is_some());
        sit(&mut fanout, id(0), "b");
        assert_eq!(written(&mut fanout), []);
        assert_eq!((fanout.seat_count(), fanout.channel_count()), (1, 1));
    }

    #[test]
    fn the_excluded_connection_gets_all_but_its_own() {
        let mut fanout = fanout(2);
        fanout.deliver(&key("a"), SUBSCRIBERS, Bytes::from_static(b"its own "), Some(id(0)));
        deliver(&mut fanout, "a", "another ");
        assert_eq!(written(&mut fanout), texts(&[(0, "another "), (1, "its own another ")]));
        fanout.deliver(&key("a"), SUBSCRIBERS, Bytes::from_static(b"its own"), Some(id(1)));
        assert_eq!(written(&mut fanout), texts(&[(0, "its own")]));
    }

    #[test]
    fn a_place_taken_over_inherits_nothing() {
        let mut fanout = fanout(1);
        deliver(&mut fanout, "a", "old");
        fanout.direct(id(0), Bytes::from_static(b"old"));
        assert_eq!(fanout.close(id(0)).len(), 1);
        let next = ConnectionId { index: 0, generation: 1 };
        fanout.open(next);
        sit(&mut fanout, next, "a");
        fanout.direct(id(0), Bytes::from_static(b"to the old"));
        fanout.direct(next, Bytes::from_static(b"new"));
        assert_eq!(fanout.seat(id(0), &key("a"), SUBSCRIBERS), None);
        assert_eq!(fanout.leave(id(0), &key("a"), SUBSCRIBERS), None);
        assert_eq!(written(&mut fanout), texts(&[(0, "new")]));
    }

    #[test]
    fn a_pending_seat_hears_nothing_and_is_given_up_without_a_word_to_the_home() {
        let mut fanout = fanout(1);
        fanout.open(id(1));
        fanout.reserve(id(1), key("b"), SUBSCRIBERS, 1);
        deliver(&mut fanout, "b", "b");
        assert_eq!((written(&mut fanout), fanout.gathered_bytes()), (vec![], 0));
        assert_eq!((fanout.subscriptions(id(1)), fanout.channel_count()), (1, 2));
        assert_eq!(fanout.leave(id(1), &key("b"), SUBSCRIBERS), None);
        assert_eq!((fanout.subscriptions(id(1)), fanout.channel_count()), (0, 1));
    }

    #[test]
    fn what_counts_as_a_subscription_is_what_the_client_asked_for() {
        let mut fanout = fanout(1);
        sit(&mut fanout, id(0), "#server-to-user-1");
        fanout.reserve(id(0), key("#server-to-user-2"), Audience::Watchers, 1);
        assert_eq!((fanout.subscriptions(id(0)), fanout.seat_count()), (1, 3));
    }

    #[test]
    fn a_connection_takes_ten_thousand_seats_and_gives_them_up_in_any_order() {
        const CHANNELS: usize = 10_000;
        let began = std::time::Instant::now();
        let mut fanout = fanout(1);
        let keys: Vec<ChannelKey> = (0..CHANNELS).map(|number| key(&number.to_string())).collect();
        for (number, key) in keys.iter().enumerate() {
            assert_eq!(fanout.seat(id(0), key, SUBSCRIBERS), None);
            assert_eq!(fanout.subscriptions(id(0)), number + 1);
            fanout.reserve(id(0), key.clone(), SUBSCRIBERS, 1);
            assert!(fanout.join(id(0), key, SUBSCRIBERS, 1, None));
        }
        // Every third, from the front, so that all the others move; and places that are free again are taken again.
        for key in keys.iter().step_by(3) {
            assert!(fanout.leave(id(0), key, SUBSCRIBERS).is_some());
        }
        for key in keys.iter().step_by(3) {
            sit(&mut fanout, id(0), key.name.as_str());
        }
        assert_eq!((fanout.subscriptions(id(0)), fanout.seat_count()), (CHANNELS + 1, CHANNELS + 1));
        fanout.deliver(&keys[3], SUBSCRIBERS, Bytes::from_static(b"x"), None);
        assert_eq!(written(&mut fanout), texts(&[(0, "x")]));
        // Looking each up among all the others takes seconds, this a few hundredths of one.
        assert!(began.elapsed() < std::time::Duration::from_secs(1), "{:?}", began.elapsed());
    }

    /// What a connection has been written, inflated.
    fn heard(slices: &[Bytes]) -> String {
        let mut heard = String::new();
        let rules = Rules { role: Role::Client, message_max: 1 << 20 };
        let mut bytes = slices.concat();
        let ended = Incoming::default().receive_compressed(&mut bytes, rules, &mut Inflater::default(), |received| {
            let Received::Text(text) = received else { panic!("{received:?} is no text") };
            heard.push_str(text);
            ControlFlow::Continue(())
        });
        assert_eq!(ended, Ok(()));
        heard
    }

    fn text(text: &str) -> Bytes {
        websocket::encode(Opcode::Text, text.as_bytes())
    }

    #[test]
    fn whoever_has_agreed_on_compression_hears_the_same_in_fewer_bytes_that_all_of_them_share() {
        let (long, longer) = ("long ".repeat(200), "longer ".repeat(200));
        let mut fanout = fanout(5);
        for index in [1, 3, 4] {
            fanout.compress(id(index));
        }
        sit(&mut fanout, id(4), "b");
        written(&mut fanout);
        for frame in [&long, "short ", &longer] {
            fanout.deliver(&key("a"), SUBSCRIBERS, SharedFrame::compressible(text(frame)), None);
        }
        fanout.deliver(&key("b"), SUBSCRIBERS, SharedFrame::compressible(text(&long)), None);
        fanout.direct(id(4), text("its own"));
        fanout.gather();
        let mut slices: Vec<Vec<Bytes>> = vec![Vec::new(); 5];
        while let Some(write) = fanout.next_write() {
            slices[write.connection.index as usize] = write.slices.to_vec();
        }
        for slices in &slices[..4] {
            assert_eq!(heard(slices), format!("{long}short {longer}"));
        }
        assert_eq!(heard(&slices[4]), format!("{long}short {longer}{long}its own"));
        let bytes = |index: usize| slices[index].iter().map(Bytes::len).sum::<usize>();
        assert_eq!((bytes(0), bytes(1)), (bytes(2), bytes(3)));
        assert!(bytes(1) * 10 < bytes(0), "{} {}", bytes(1), bytes(0));
        for (one, other) in [(0, 2), (1, 3)] {
            assert_eq!(slices[one][0].as_ptr(), slices[other][0].as_ptr());
        }
    }

    #[test]
    fn a_connection_that_has_not_agreed_gets_what_was_published_and_so_does_its_successor() {
        let mut fanout = fanout(1);
        fanout.compress(id(0));
        fanout.close(id(0));
        let next = ConnectionId { index: 0, generation: 1 };
        fanout.open(next);
        fanout.compress(id(0));
        sit(&mut fanout, next, "a");
        written(&mut fanout);
        let frame = text(&"long ".repeat(200));
        fanout.deliver(&key("a"), SUBSCRIBERS, SharedFrame::compressible(frame.clone()), None);
        fanout.gather();
        assert_eq!(fanout.next_write().unwrap().slices, [frame]);
    }

    #[test]
    fn after_any_order_of_leaving_those_who_stay_are_reached() {
        for leaver in 0..4 {
            let mut fanout = fanout(4);
            fanout.leave(id(leaver), &key("a"), SUBSCRIBERS);
            fanout.leave(id((leaver + 1) % 4), &key("a"), SUBSCRIBERS);
            deliver(&mut fanout, "a", "x");
            let reached: Vec<u32> = written(&mut fanout).into_iter().map(|(index, _)| index).collect();
            let mut stay = [(leaver + 2) % 4, (leaver + 3) % 4];
            stay.sort_unstable();
            assert_eq!(reached, stay);
        }
    }
}
