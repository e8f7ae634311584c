//! What happens when a mind is lost.
//!
//! A panic in the midst of a mind's work leaves it in a state that nobody can vouch for, so it is thrown away. Owns the
//! way back: the new mind starts empty, the other workers say again what they have at its channels, and letters wait
//! until all have. Never repairs a state. The invariant: nothing that an earlier life was asked or told changes what a
//! later one counts. Members and watched users are known to clients as a list and its changes, which nobody can
//! continue, so connections that have such a list from the lost home are sent away to begin anew.

use std::collections::BTreeSet;
use std::sync::Arc;

use campanile_protocol::CloseCode;

use crate::app::Apps;
use crate::effect::Effect;
use crate::fanout::{ConnectionId, SeatView};
use crate::hub::{Hub, Settings};
use crate::letter::{Audience, ChannelKey, Letter, Purpose, Subscriber, WorkerId};
use crate::timers::Moment;

/// What a new mind must know of the one that it replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Legacy {
    /// Tokens up to this are of earlier lives.
    pub(crate) token: u64,
    /// Numbers of notices up to this have been given.
    pub(crate) edges: u64,
}

/// Letters that came before all other workers had said what they have.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waiting {
    unheard: BTreeSet<WorkerId>,
    letters: Vec<Letter>,
}

/// The worker whose subscription a letter is about.
fn subscriber_of(letter: &Letter) -> Option<WorkerId> {
    match letter {
        Letter::Subscribe { subscriber, .. }
        | Letter::Resubscribe { subscriber, .. }
        | Letter::Unsubscribe { subscriber, .. } => Some(subscriber.worker),
        _ => None,
    }
}

impl Waiting {
    /// How many letters wait.
    pub(crate) fn len(&self) -> usize {
        self.letters.len()
    }

    /// Keeps a letter for later, hands it back if nothing is waited for, or drops what an announcement will say again.
    fn keep(&mut self, letter: Letter) -> Option<Letter> {
        if self.unheard.is_empty() || matches!(letter, Letter::MindLost { .. } | Letter::Announced { .. }) {
            return Some(letter);
        }
        // What a worker asked before it announced is part of the announcement.
        let announced_later = |worker| self.unheard.contains(&worker) && !is_restoring(&letter);
        if !subscriber_of(&letter).is_some_and(announced_later) {
            self.letters.push(letter);
        }
        None
    }
}

fn is_restoring(letter: &Letter) -> bool {
    matches!(letter, Letter::Subscribe { purpose: Purpose::Restore, .. })
}

impl Hub {
    /// What must be carried over from this mind, whatever state it is in.
    pub fn legacy(&self) -> Legacy {
        Legacy { token: self.next_token, edges: self.edges }
    }

    /// A mind in place of one that was lost, without any connection. It has told the other workers.
    pub fn reborn(settings: Settings, apps: Arc<Apps>, legacy: Legacy) -> Self {
        let worker = settings.worker;
        let others: BTreeSet<WorkerId> = (0..settings.homes.workers).map(WorkerId).filter(|w| *w != worker).collect();
        let mut hub = Self::new(settings, apps);
        (hub.next_token, hub.token_floor, hub.edges) = (legacy.token, legacy.token, legacy.edges);
        hub.effects.extend(others.iter().map(|to| Effect::Send { to: *to, letter: Letter::MindLost { worker } }));
        hub.waiting.unheard = others;
        hub
    }

    /// Whether the other workers have not yet all said what they have.
    pub fn is_waiting(&self) -> bool {
        !self.waiting.unheard.is_empty()
    }

    /// Handles a letter, unless it must wait.
    pub(crate) fn sort(&mut self, letter: Letter, now: Moment) {
        if let Some(letter) = self.waiting.keep(letter) {
            self.handle(letter, now);
        }
    }

    /// Another worker has said all that it has here.
    pub(crate) fn announced(&mut self, worker: WorkerId, now: Moment) {
        self.waiting.unheard.remove(&worker);
        if self.waiting.unheard.is_empty() {
            for letter in std::mem::take(&mut self.waiting.letters) {
                self.handle(letter, now);
            }
        }
    }

    /// Another worker has lost its mind: forget its connections, say what we have at its channels.
    pub(crate) fn mind_lost(&mut self, lost: WorkerId, now: Moment) {
        for letters in [&mut self.waiting.letters, &mut self.early] {
            letters.retain(|letter| subscriber_of(letter) != Some(lost));
        }
        let keys: Vec<ChannelKey> = self.channels.keys().cloned().collect();
        for key in keys {
            self.at_home(&key, now, |channel, out| channel.forget_worker(&key, lost, out));
        }
        let homes = self.settings.homes;
        let there: Vec<(ConnectionId, ChannelKey, Audience, SeatView)> = self
            .fanout
            .seats()
            .filter(|(_, key, _, _)| homes.of(key) == lost)
            .map(|(id, key, audience, seat)| (id, key.clone(), audience, seat))
            .collect();
        for (id, key, audience, seat) in there {
            if audience == Audience::Watchers || key.name.kind().is_presence() {
                self.close(id, CloseCode::Reconnect, "the server has lost what this client knows: connect again");
            } else if let Some(subscriber) = self.subscriber(id, seat.token) {
                let purpose = match (seat.joined, key.name.user()) {
                    (true, _) => Purpose::Restore,
                    (false, Some(_)) => Purpose::Signin,
                    (false, None) => Purpose::Subscribe,
                };
                self.say_again(lost, key, subscriber, purpose);
            }
        }
        let announced = Letter::Announced { worker: self.settings.worker };
        self.effects.push(Effect::Send { to: lost, letter: announced });
    }

    fn say_again(&mut self, to: WorkerId, key: ChannelKey, subscriber: Subscriber, purpose: Purpose) {
        let letter = Letter::Subscribe { key, subscriber, member: None, purpose };
        self.effects.push(Effect::Send { to, letter });
    }
}
