//! What the cache channels of one mind remember together.
//!
//! Owns their order by age and the bytes that they take. Never holds an event: each channel keeps its own. The
//! invariant: a channel counts once, from when it remembers until it forgets, and whatever it costs beside its bytes
//! counts too, so that neither empty events nor many names grow past the bound. Read on in [`crate::channel`].

use std::collections::BTreeMap;

use crate::letter::ChannelKey;

/// What a remembered event costs beside the bytes of its frame, its data and its channel's name: the channel itself,
/// its entries in the maps of channels, ages and timers, and what the allocator adds to each.
pub const REMEMBERED_OVERHEAD_BYTES: usize = 768;

/// The place of a channel among those that remember.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Age(u64);

/// Who remembers, the oldest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    by_age: BTreeMap<Age, (ChannelKey, usize)>,
    bytes: usize,
    number: u64,
}

impl Memory {
    /// The channel remembers an event of so many bytes, and no longer the one that it had.
    pub(crate) fn remember(&mut self, key: &ChannelKey, bytes: usize, before: Option<Age>) -> Age {
        if let Some(before) = before {
            self.forget(before);
        }
        self.number += 1;
        let (age, bytes) = (Age(self.number), bytes + key.name.as_str().len() + REMEMBERED_OVERHEAD_BYTES);
        self.by_age.insert(age, (key.clone(), bytes));
        self.bytes += bytes;
        age
    }

    /// The channel remembers nothing any more.
    pub(crate) fn forget(&mut self, age: Age) {
        if let Some((_, bytes)) = self.by_age.remove(&age) {
            self.bytes -= bytes;
        }
    }

    /// The channel that must forget because all together take more than this.
    pub(crate) fn oldest_past(&self, bytes_max: usize) -> Option<&ChannelKey> {
        if self.bytes <= bytes_max {
            return None;
        }
        self.by_age.first_key_value().map(|(_, (key, _))| key)
    }

    /// How many channels remember.
    pub(crate) fn len(&self) -> usize {
        self.by_age.len()
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
    use crate::app::AppIndex;

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
    fn a_channel_counts_once_and_is_young_again_with_each_event() {
        let mut memory = Memory::default();
        let a = memory.remember(&key("cache-a"), 1, None);
        memory.remember(&key("cache-b"), 1, None);
        let a = memory.remember(&key("cache-a"), 5, Some(a));
        assert_eq!((memory.len(), memory.bytes()), (2, 2 * EMPTY + 6));
        assert_eq!(memory.oldest_past(0), Some(&key("cache-b")));
        memory.forget(a);
        memory.forget(a);
        assert_eq!((memory.len(), memory.bytes()), (1, EMPTY + 1));
    }
}
