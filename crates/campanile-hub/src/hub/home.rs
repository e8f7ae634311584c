//! What is asked of the channels that live here.
//!
//! Owns their coming and going: a channel is made by the first letter about it and forgotten when nothing would be lost.
//! Never reads what a client has said. The invariant: what is remembered stays within its bound after every publication.
//! Read on in [`crate::channel`].

use campanile_protocol::ChannelName;

use super::Hub;
use crate::channel::{Channel, Outbound};
use crate::effect::Effect;
use crate::letter::{Answer, Ask, ChannelKey};
use crate::timers::Moment;

impl Hub {
    /// Works on a channel that lives here, and forgets it when nothing would be lost.
    pub(crate) fn at_home(
        &mut self,
        key: &ChannelKey,
        now: Moment,
        work: impl FnOnce(&mut Channel, &mut Outbound<'_>),
    ) {
        let Some(app) = self.apps.known(key.app).cloned() else { return };
        let mut effects = Vec::new();
        let mut out = Outbound {
            app: &app,
            now,
            presence_grace_secs: self.settings.presence_grace_secs,
            compression: self.settings.compression,
            effects: &mut effects,
            edges: &mut self.edges,
            memory: &mut self.memory,
            rings: &mut self.rings,
            epochs: &mut self.epochs,
        };
        let channel = match self.channels.get_mut(key) {
            Some(channel) => channel,
            None => self.channels.entry(key.clone()).or_default(),
        };
        let was_occupied = channel.is_occupied();
        work(channel, &mut out);
        if channel.is_occupied() != was_occupied {
            self.occupied.set(key, !was_occupied);
        }
        if let Some(at) = channel.next_due() {
            self.timers.no_later_than(at, &mut channel.alarm, || key.clone());
        }
        self.forget_idle(key);
        for effect in effects {
            match effect {
                Effect::Send { to, letter } if to == self.settings.worker => self.own.push_back(letter),
                other => self.effects.push(other),
            }
        }
    }

    fn forget_idle(&mut self, key: &ChannelKey) {
        if let Some(channel) = self.channels.get_mut(key).filter(|channel| channel.is_idle()) {
            self.timers.cancel(&mut channel.alarm);
            self.channels.remove(key);
        }
    }

    /// Forgets the oldest remembered events past the bound: their channels answer `cache_miss`.
    pub(super) fn bound_memory(&mut self) {
        while let Some(oldest) = self.memory.oldest_past(self.settings.remembered_bytes_max).cloned() {
            let channel = self.channels.get_mut(&oldest).expect("a channel that remembers is not forgotten");
            channel.forget(&oldest, &mut self.memory);
            self.forget_idle(&oldest);
        }
    }

    /// Forgets the rings of the channels that were published to longest ago, past the bound: whoever comes back to them is
    /// told of a gap.
    pub(super) fn bound_rings(&mut self) {
        while let Some(oldest) = self.rings.oldest_past(self.settings.rings_bytes_max).cloned() {
            let channel = self.channels.get_mut(&oldest).expect("a channel with a ring is not forgotten");
            channel.forget_ring(&oldest, &mut self.rings);
            self.forget_idle(&oldest);
        }
    }

    pub(super) fn look_up(&self, ask: &Ask, now: Moment) -> Answer {
        match ask {
            Ask::Channel(key) => Answer::Channel(self.channels.get(key).map(|c| c.info(now)).unwrap_or_default()),
            Ask::Members(key) => Answer::Members(self.channels.get(key).map(Channel::member_ids).unwrap_or_default()),
            Ask::Connection(socket_id) => Answer::Connection(self.app_of_socket(*socket_id)),
            Ask::Channels { app, prefix, after, most } => {
                let names = self.occupied.after(*app, prefix, after.as_ref()).take(*most);
                let counted = |name: &ChannelName| {
                    let key = ChannelKey { app: *app, name: name.clone() };
                    let counts = self.channels.get(&key).map(Channel::counts).unwrap_or_default();
                    (key.name, counts)
                };
                Answer::Channels(names.map(counted).collect())
            }
        }
    }
}
