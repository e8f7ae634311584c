//! Who on this worker gets what in this tick.
//!
//! Owns the worker's seats (a connection in a channel) and what has been gathered for each connection. Never decides
//! anything and never writes to a socket. The invariant: a connection gets what concerns it in the order in which it was
//! gathered, direct replies included, so nothing overtakes anything (I1, I2, I4). Seats are here; read on in
//! `fanout/gather.rs` for the way from a delivery to a write.

mod gather;
#[cfg(test)]
mod tests;

use std::ops::Range;

use bytes::Bytes;
use campanile_protocol::websocket::Deflater;
use campanile_protocol::{Position, UserId};

use crate::letter::{Audience, ChannelKey};
use crate::seeded::{Map, Seed};
use gather::{Direct, Segment};
pub use gather::{JOINED_BYTES_MAX, Write};

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
    /// How far the channel has come with what has been gathered, where its events can be sent again. Boxed, because most
    /// channels never have one.
    position: Option<Box<Position>>,
}

impl LocalChannel {
    /// Whether its seats are had because clients have asked for the channel by its name.
    fn is_asked_for(&self) -> bool {
        self.audience == Audience::Subscribers && self.key.name.user().is_none()
    }
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
    /// Channels with a position to tell.
    advanced: Vec<u32>,
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
        let local = LocalChannel {
            key: key.clone(),
            audience,
            listeners: Vec::new(),
            seats: 0,
            gathered: Vec::new(),
            position: None,
        };
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
            self.advanced.retain(|advanced| *advanced != seat.channel);
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
}
