//! What happens when a mind is lost.
//!
//! A panic in the midst of a mind's work leaves it in a state that nobody can vouch for, so it is thrown away. Owns the
//! way back: the new mind starts empty, the other workers say again what they have at its channels, and letters wait
//! until all have. Never repairs a state; remembered events, rings, requests' keys and what the guard knew are forgotten with it. The invariant:
//! nothing that an earlier life was asked or told changes what a later one counts. Members and watched users are known
//! to clients as a list and its changes, which nobody can continue, so connections that have such a list from the lost
//! home are sent away to begin anew.

use std::collections::BTreeMap;
use std::sync::Arc;

use campanile_protocol::{CloseCode, Position};

use crate::app::Apps;
use crate::effect::Effect;
use crate::fanout::{ConnectionId, SeatView};
use crate::hub::{Hub, Settings};
use crate::letter::{Audience, ChannelKey, Letter, Purpose, WorkerId};
use crate::timers::Moment;

/// What a new mind must know of the one that it replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Legacy {
    /// How many minds were lost before.
    pub(crate) life: u64,
    /// Tokens up to this are of earlier lives.
    pub(crate) token: u64,
    /// Numbers of notices up to this have been given.
    pub(crate) edges: u64,
    /// So many epochs have been drawn.
    pub(crate) epochs: u64,
}

/// How far another worker has come in saying what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// Whatever comes from it was meant for an earlier life, and will be said again where it still holds.
    Nothing,
    /// It has begun.
    Beginning,
}

/// Letters that came before all other workers had said what they have.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waiting {
    life: u64,
    others: BTreeMap<WorkerId, Heard>,
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

fn is_restoring(letter: &Letter) -> bool {
    matches!(letter, Letter::Subscribe { purpose: Purpose::Restore, .. })
}

impl Waiting {
    /// How many letters wait.
    pub(crate) fn len(&self) -> usize {
        self.letters.len()
    }

    /// Keeps a letter for later, hands it back if nothing is waited for, or drops what was meant for an earlier life.
    fn keep(&mut self, letter: Letter) -> Option<Letter> {
        let about_channels = !matches!(
            letter,
            Letter::MindLost { .. } | Letter::Announcing { .. } | Letter::Announced { .. } | Letter::Reload { .. }
        );
        if self.others.is_empty() || !about_channels {
            return Some(letter);
        }
        let sender = subscriber_of(&letter).and_then(|worker| self.others.get(&worker));
        if sender != Some(&Heard::Nothing) {
            self.letters.push(letter);
        }
        None
    }
}

impl Hub {
    /// What must be carried over from this mind, whatever state it is in.
    pub fn legacy(&self) -> Legacy {
        Legacy { life: self.waiting.life + 1, token: self.next_token, edges: self.edges, epochs: self.epochs.drawn }
    }

    /// A mind in place of one that was lost, without any connection. It has told the other workers.
    pub fn reborn(settings: Settings, apps: Arc<Apps>, legacy: Legacy) -> Self {
        let (worker, life) = (settings.worker, legacy.life);
        let others = (0..settings.homes.workers).map(WorkerId).filter(|other| *other != worker);
        let others: BTreeMap<WorkerId, Heard> = others.map(|other| (other, Heard::Nothing)).collect();
        let mut hub = Self::new(settings, apps);
        (hub.next_token, hub.token_floor, hub.edges) = (legacy.token, legacy.token, legacy.edges);
        hub.epochs.drawn = legacy.epochs;
        hub.effects.extend(others.keys().map(|to| Effect::Send { to: *to, letter: Letter::MindLost { worker, life } }));
        (hub.waiting.life, hub.waiting.others) = (life, others);
        hub
    }

    /// Whether letters may be waiting in here: for what the other workers have yet to say, or for a reload.
    pub fn may_keep_letters(&self) -> bool {
        self.is_waiting() || !self.early.is_empty()
    }

    /// Whether the other workers have not yet all said what they have.
    fn is_waiting(&self) -> bool {
        !self.waiting.others.is_empty()
    }

    /// Handles a letter, unless it must wait.
    pub(crate) fn sort(&mut self, letter: Letter, now: Moment) {
        if let Some(letter) = self.waiting.keep(letter) {
            self.handle(letter, now);
        }
    }

    /// Another worker begins to say all that it has here. What it says to an earlier life is not for this one.
    pub(crate) fn announcing(&mut self, worker: WorkerId, life: u64) {
        if life == self.waiting.life
            && let Some(heard) = self.waiting.others.get_mut(&worker)
        {
            *heard = Heard::Beginning;
        }
    }

    /// Another worker has said all that it has here.
    pub(crate) fn announced(&mut self, worker: WorkerId, life: u64, now: Moment) {
        if life == self.waiting.life && self.waiting.others.remove(&worker).is_some() && !self.is_waiting() {
            // Those who are in already come first: they hear all that was published meanwhile, and are no news.
            let letters = std::mem::take(&mut self.waiting.letters);
            let (restoring, others): (Vec<Letter>, Vec<Letter>) = letters.into_iter().partition(is_restoring);
            for letter in restoring.into_iter().chain(others) {
                self.handle(letter, now);
            }
        }
    }

    /// Another worker has lost its mind: forget its connections, say what we have at its channels.
    pub(crate) fn mind_lost(&mut self, lost: WorkerId, life: u64, now: Moment) {
        let homes = self.settings.homes;
        for letters in [&mut self.waiting.letters, &mut self.early] {
            // Nor does what it granted before, and this mind has not yet heard, hold any more.
            letters.retain(|letter| {
                let answered = letter.from_home_of().is_some_and(|key| homes.of(key) == lost);
                !answered && subscriber_of(letter) != Some(lost)
            });
        }
        let mut keys: Vec<ChannelKey> = self.channels.keys().cloned().collect();
        // In an order that is the same in every life, so that a simulation can be repeated.
        keys.sort_by(|a, b| (a.app.0, a.name.as_str()).cmp(&(b.app.0, b.name.as_str())));
        for key in keys {
            self.at_home(&key, now, |channel, out| channel.forget_worker(&key, lost, out));
        }
        let there: Vec<(ConnectionId, ChannelKey, Audience, SeatView)> = self
            .fanout
            .seats()
            .filter(|(_, key, _, _)| homes.of(key) == lost)
            .map(|(id, key, audience, seat)| (id, key.clone(), audience, seat))
            .collect();
        let worker = self.settings.worker;
        self.effects.push(Effect::Send { to: lost, letter: Letter::Announcing { worker, life } });
        for (id, key, audience, seat) in there {
            self.say_again(lost, id, key, audience, &seat);
        }
        self.effects.push(Effect::Send { to: lost, letter: Letter::Announced { worker, life } });
    }

    /// Says one seat again. Those who have a list that nobody can continue are sent away: a watcher's seat ends here, a
    /// member's is a subscription without a member until the connection is closed, so that nothing is counted twice.
    fn say_again(&mut self, to: WorkerId, id: ConnectionId, key: ChannelKey, audience: Audience, seat: &SeatView) {
        let is_presence = key.name.kind().is_presence();
        if audience == Audience::Watchers || is_presence {
            self.close(id, CloseCode::Reconnect, "the server has lost what this client knows: connect again");
            if audience == Audience::Watchers || !seat.joined {
                // A home that knows of no seat is not told that it has ended.
                self.fanout.leave(id, &key, audience);
                return;
            }
            self.fanout.forget_member(id, &key);
        }
        let purpose = match (seat.joined, key.name.user()) {
            (true, _) => Purpose::Restore,
            (false, Some(_)) => Purpose::Signin,
            (false, None) => Purpose::Subscribe,
        };
        if let Some(subscriber) = self.subscriber(id, seat.token) {
            // How far it had heard was said to the lost mind alone.
            let since = (purpose == Purpose::Subscribe).then_some(Position::UNKNOWN);
            let letter = Letter::Subscribe { key, subscriber, member: None, since, purpose };
            self.effects.push(Effect::Send { to, letter });
        }
    }
}
