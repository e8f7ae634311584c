//! What the cache channels of one mind remember together, and what its channels with replay do.
//!
//! Owns their order by age and the bytes that they take. Never holds an event: each channel keeps its own. Where all
//! together take too much, the app that takes the most forgets first, so that one tenant cannot make another forget. The
//! invariant: a channel counts once, from when it remembers until it forgets, and whatever it costs beside its bytes
//! counts too, so that neither empty events nor many names grow past the bound. Read on in [`crate::channel`].

use std::collections::BTreeMap;

use crate::app::AppIndex;
use crate::letter::ChannelKey;

/// What a remembered event costs beside the bytes of its frame, its data and its channel's name: the channel itself,
/// its entries in the maps of channels, ages and timers, and what the allocator adds to each.
pub const REMEMBERED_OVERHEAD_BYTES: usize = 768;

/// The place of a channel among those that remember.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Age(u64);

/// Who remembers, by app, the oldest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    shares: BTreeMap<AppIndex, Share>,
    /// What all of them take.
    bytes: usize,
    number: u64,
}

/// What one app's channels remember.
#[derive(Debug, Clone, Default)]
struct Share {
    by_age: BTreeMap<Age, (ChannelKey, usize)>,
    bytes: usize,
}

impl Memory {
    /// The channel remembers an event of so many bytes, and no longer the one that it had.
    pub(crate) fn remember(&mut self, key: &ChannelKey, bytes: usize, before: Option<Age>) -> Age {
        if let Some(before) = before {
            self.forget(key, before);
        }
        self.number += 1;
        let (age, bytes) = (Age(self.number), bytes + key.name.as_str().len() + REMEMBERED_OVERHEAD_BYTES);
        let share = self.shares.entry(key.app).or_default();
        share.by_age.insert(age, (key.clone(), bytes));
        share.bytes += bytes;
        self.bytes += bytes;
        age
    }

    /// The channel remembers less than it did, at the same place.
    pub(crate) fn shrink(&mut self, key: &ChannelKey, age: Age, bytes: usize) {
        let Some(share) = self.shares.get_mut(&key.app) else { return };
        if let Some((_, before)) = share.by_age.get_mut(&age) {
            let now = bytes + key.name.as_str().len() + REMEMBERED_OVERHEAD_BYTES;
            share.bytes = share.bytes - *before + now;
            self.bytes = self.bytes - *before + now;
            *before = now;
        }
    }

    /// The channel remembers nothing any more.
    pub(crate) fn forget(&mut self, key: &ChannelKey, age: Age) {
        let Some(share) = self.shares.get_mut(&key.app) else { return };
        if let Some((_, bytes)) = share.by_age.remove(&age) {
            share.bytes -= bytes;
            self.bytes -= bytes;
        }
        if share.by_age.is_empty() {
            self.shares.remove(&key.app);
        }
    }

    /// The channel that must forget because all together take more than this.
    pub(crate) fn oldest_past(&self, bytes_max: usize) -> Option<&ChannelKey> {
        if self.bytes() <= bytes_max {
            return None;
        }
        let heaviest = self.shares.values().max_by_key(|share| share.bytes)?;
        heaviest.by_age.first_key_value().map(|(_, (key, _))| key)
    }

    /// How many channels remember.
    pub(crate) fn len(&self) -> usize {
        self.shares.values().map(|share| share.by_age.len()).sum()
    }

    /// What they take.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use campanile_protocol::ChannelName;

    use super::*;

    fn key(name: &str) -> ChannelKey {
        ChannelKey { app: AppIndex(0), name: ChannelName::parse(name, 164).unwrap() }
    }

    const EMPTY: usize = "cache-a".len() + REMEMBERED_OVERHEAD_BYTES;

    #[test]
    fn an_empty_event_counts_with_its_name_and_overhead() {
        let mut memory = Memory::default();
        memory.remember(&key("cache-a"), 0, None);
        assert_eq!((memory.len(), memory.bytes()), (1, EMPTY));
    }

    #[test]
    fn at_the_bound_nobody_must_forget_and_one_byte_past_it_the_oldest_must() {
        let mut memory = Memory::default();
        memory.remember(&key("cache-a"), 0, None);
        memory.remember(&key("cache-b"), 10, None);
        assert_eq!(memory.oldest_past(2 * EMPTY + 10), None);
        assert_eq!(memory.oldest_past(2 * EMPTY + 9), Some(&key("cache-a")));
    }

    #[test]
    fn the_app_that_remembers_most_forgets_first() {
        let mut memory = Memory::default();
        memory.remember(&key("cache-a"), 10, None);
        let other = |name| ChannelKey { app: AppIndex(1), ..key(name) };
        memory.remember(&other("cache-b"), 5, None);
        memory.remember(&other("cache-c"), 6, None);
        assert_eq!(memory.oldest_past(0), Some(&other("cache-b")));
    }

    #[test]
    fn a_channel_counts_once_and_is_young_again_with_each_event() {
        let mut memory = Memory::default();
        let a = memory.remember(&key("cache-a"), 1, None);
        memory.remember(&key("cache-b"), 1, None);
        let a = memory.remember(&key("cache-a"), 5, Some(a));
        assert_eq!((memory.len(), memory.bytes()), (2, 2 * EMPTY + 6));
        assert_eq!(memory.oldest_past(0), Some(&key("cache-b")));
        memory.forget(&key("cache-a"), a);
        memory.forget(&key("cache-a"), a);
        assert_eq!((memory.len(), memory.bytes()), (1, EMPTY + 1));
    }
}
