//! Who is forgotten first.
//!
//! Owns the order of the keys by when they would be forgotten anyhow, and how many each app has. Never knows what is known
//! of a key. Where there are too many, the app that has the most loses the one that would go soonest, so that one tenant
//! cannot shorten another's windows. The invariant: a key that may be forgotten stands here once.

use std::collections::{BTreeMap, BTreeSet};

use super::claim::GuardKey;
use crate::app::AppIndex;
use crate::seeded::{Map, Seed};
use crate::timers::Moment;

/// Where a key stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    until: Moment,
    number: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Room {
    keys_max: usize,
    by_end: BTreeMap<Place, GuardKey>,
    shares: Map<AppIndex, BTreeSet<Place>>,
    number: u64,
}

impl Room {
    pub(super) fn new(keys_max: usize, seed: u64) -> Self {
        Self { keys_max, by_end: BTreeMap::new(), shares: Map::with_hasher(Seed(seed)), number: 0 }
    }

    pub(super) fn enter(&mut self, key: GuardKey, until: Moment) -> Place {
        self.number += 1;
        let place = Place { until, number: self.number };
        self.by_end.insert(place, key);
        self.shares.entry(key.app).or_default().insert(place);
        place
    }

    pub(super) fn leave(&mut self, key: GuardKey, place: Option<Place>) {
        let Some(place) = place else { return };
        self.by_end.remove(&place);
        if let Some(share) = self.shares.get_mut(&key.app) {
            share.remove(&place);
            if share.is_empty() {
                self.shares.remove(&key.app);
            }
        }
    }

    /// The next end.
    pub(super) fn next_due(&self) -> Option<Moment> {
        self.by_end.first_key_value().map(|(place, _)| place.until)
    }

    /// One whose end has come; it still stands here.
    pub(super) fn expired(&self, now: Moment) -> Option<GuardKey> {
        self.by_end.first_key_value().filter(|(place, _)| place.until <= now).map(|(_, key)| *key)
    }

    /// The one to forget because there are too many; it still stands here.
    pub(super) fn one_too_many(&self) -> Option<GuardKey> {
        if self.by_end.len() <= self.keys_max {
            return None;
        }
        // Of equals the first, so that a simulation can be repeated.
        let heaviest = self.shares.iter().max_by_key(|(app, share)| (share.len(), std::cmp::Reverse(**app)))?.1;
        self.by_end.get(heaviest.first()?).copied()
    }
}
