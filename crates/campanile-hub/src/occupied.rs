//! The names of a home's occupied channels, in order.
//!
//! Owns an index that is told of each first and last subscriber, so that a question about all channels can be answered a
//! slice at a time: no map of a hundred thousand is walked while deliveries wait. Never knows a channel's state. The
//! invariant: a name is in it exactly while its channel, which is no user's own, has a subscriber. Read on in
//! [`crate::hub`], which asks it.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use campanile_protocol::{Access, ChannelName};

use crate::app::AppIndex;
use crate::letter::ChannelKey;

/// The names, for each app.
#[derive(Debug, Clone, Default)]
pub(crate) struct Occupied {
    apps: BTreeMap<AppIndex, BTreeSet<ByName>>,
}

/// A name that is compared as its text is.
#[derive(Debug, Clone)]
struct ByName(ChannelName);

impl Occupied {
    /// A channel has got its first subscriber, or lost its last.
    pub(crate) fn set(&mut self, key: &ChannelKey, is_occupied: bool) {
        if key.name.kind().access == Access::User {
            return;
        }
        if is_occupied {
            self.apps.entry(key.app).or_default().insert(ByName(key.name.clone()));
        } else if let Some(names) = self.apps.get_mut(&key.app) {
            names.remove(key.name.as_str());
            if names.is_empty() {
                self.apps.remove(&key.app);
            }
        }
    }

    /// Those of an app that begin with `prefix` and come after a name, in order.
    pub(crate) fn after<'a>(
        &'a self,
        app: AppIndex,
        prefix: &'a str,
        after: Option<&'a ChannelName>,
    ) -> impl Iterator<Item = &'a ChannelName> {
        let start = after.map_or(Bound::Included(prefix), |after| Bound::Excluded(after.as_str()));
        let names =
            self.apps.get(&app).into_iter().flat_map(move |names| names.range::<str, _>((start, Bound::Unbounded)));
        names.map(|ByName(name)| name).take_while(move |name| name.as_str().starts_with(prefix))
    }

    /// How many names there are.
    pub(crate) fn len(&self) -> usize {
        self.apps.values().map(BTreeSet::len).sum()
    }
}

impl Borrow<str> for ByName {
    fn borrow(&self) -> &str {
        self.0.as_str()
    }
}

impl Ord for ByName {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.as_str().cmp(other.0.as_str())
    }
}

impl PartialOrd for ByName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for ByName {}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(app: u32, name: &str) -> ChannelKey {
        ChannelKey { app: AppIndex(app), name: ChannelName::parse(name, 164).unwrap() }
    }

    #[test]
    fn names_come_in_order_of_one_app_and_from_a_prefix_and_a_name_on() {
        let mut occupied = Occupied::default();
        for name in ["b", "a1", "a", "a-2", "presence-a", "A"] {
            occupied.set(&key(0, name), true);
        }
        occupied.set(&key(1, "a3"), true);
        occupied.set(&key(0, "#server-to-user-7"), true);
        let told = |prefix: &str, after: Option<&str>| -> Vec<String> {
            let after = after.map(|after| key(0, after).name);
            occupied.after(AppIndex(0), prefix, after.as_ref()).map(|name| name.as_str().to_owned()).collect()
        };
        assert_eq!(told("", None), ["A", "a", "a-2", "a1", "b", "presence-a"]);
        assert_eq!(told("a", None), ["a", "a-2", "a1"]);
        assert_eq!(told("a", Some("a")), ["a-2", "a1"]);
        // One that has gone since still says where to go on.
        assert_eq!(told("a", Some("a0")), ["a1"]);
        assert_eq!(told("a", Some("a1")), [] as [String; 0]);
        assert_eq!(told("c", None), [] as [String; 0]);
    }

    #[test]
    fn nothing_is_left_of_those_who_have_gone() {
        let mut occupied = Occupied::default();
        for name in ["b", "a"] {
            occupied.set(&key(0, name), true);
        }
        assert_eq!(occupied.len(), 2);
        for name in ["a", "b", "never-there"] {
            occupied.set(&key(0, name), false);
            occupied.set(&key(7, name), false);
        }
        assert_eq!((occupied.len(), occupied.apps.len()), (0, 0));
    }
}
