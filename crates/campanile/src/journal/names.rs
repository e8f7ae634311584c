//! Which names have rows of their own in an app's hour.
//!
//! Owns the names of the latest hour, its peak, and how large the events were that have been looked into. Never counts. The
//! invariants: there are no more names than the bounds, and those that strangers choose take at most half of them. A new hour
//! begins with none. Used by [`super::Journal`].

use std::collections::{BTreeMap, BTreeSet};

use campanile_hub::meter::{API, OTHER, SUBSCRIPTION_COUNT, WEBHOOKS};
use campanile_protocol::channel_kind::{Access, ChannelKind};
use campanile_protocol::name::CLIENT_EVENT_PREFIX;

use super::Bounds;

/// The names of one app in one hour.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Names {
    hour: u64,
    prefixes: Admitted,
    events: Admitted,
    /// The most connections at once that are known.
    peak: u64,
    /// Of which size each event was that was looked into.
    looked: BTreeMap<Box<str>, u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Admitted {
    names: BTreeSet<Box<str>>,
    of_strangers: usize,
}

impl Admitted {
    fn admit(&mut self, name: Box<str>, max: usize, is_strangers: bool) -> Box<str> {
        if [OTHER, API, WEBHOOKS].contains(&&*name) || self.names.contains(&name) {
            return name;
        }
        if self.names.len() >= max || is_strangers && self.of_strangers >= max / 2 {
            return OTHER.into();
        }
        self.of_strangers += usize::from(is_strangers);
        self.names.insert(name.clone());
        name
    }
}

/// Clients name their own events.
fn is_strangers_event(event: &str) -> bool {
    event.starts_with(CLIENT_EVENT_PREFIX)
}

/// Anybody may subscribe to a public channel that does not exist, and is told that one subscribes.
fn is_strangers_prefix(prefix: &str, event: &str) -> bool {
    let kind = ChannelKind::of(prefix);
    event == SUBSCRIPTION_COUNT && !kind.is_signed() && kind.access != Access::User
}

impl Names {
    /// Of an hour in which nothing has been named.
    pub(crate) fn of(hour: u64) -> Self {
        Self { hour, ..Self::default() }
    }

    /// A clock that was set back begins no hour anew.
    pub(super) fn turn_to(&mut self, hour: u64) {
        if hour > self.hour {
            *self = Self::of(hour);
        }
    }

    /// The names by which a row is counted.
    pub(crate) fn admit(&mut self, prefix: Box<str>, event: Box<str>, bounds: Bounds) -> (Box<str>, Box<str>) {
        let of_strangers = (is_strangers_prefix(&prefix, &event), is_strangers_event(&event));
        (
            self.prefixes.admit(prefix, bounds.prefixes_max, of_strangers.0),
            self.events.admit(event, bounds.events_max, of_strangers.1),
        )
    }

    /// The name of a prefix that the application has signed for.
    pub(super) fn admit_prefix(&mut self, prefix: Box<str>, bounds: Bounds) -> Box<str> {
        self.prefixes.admit(prefix, bounds.prefixes_max, false)
    }

    /// Whether there were more connections than ever in the hour. From then on, that many are known.
    pub(crate) fn is_peak(&mut self, connections: u64) -> bool {
        let is_peak = connections > self.peak;
        self.peak = self.peak.max(connections);
        is_peak
    }

    /// Whether no event of the name that was looked into in this hour was as large. From then on, one was.
    pub(super) fn is_larger(&mut self, event: &str, bytes: u64) -> bool {
        match self.looked.get_mut(event) {
            Some(largest) if *largest >= bytes => false,
            Some(largest) => {
                *largest = bytes;
                true
            }
            None => {
                self.looked.insert(event.into(), bytes);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { prefixes_max: 4, events_max: 6 };

    fn admitted(names: &mut Names, prefix: &str, event: &str) -> (String, String) {
        let (prefix, event) = names.admit(prefix.into(), event.into(), BOUNDS);
        (prefix.into(), event.into())
    }

    #[test]
    fn as_many_names_as_the_bounds_have_rows_and_all_others_are_one_until_the_hour_is_over() {
        let mut names = Names::of(7);
        for number in 0..6 {
            let (prefix, event) = (format!("p{}", number % 4), format!("e{number}"));
            assert_eq!(admitted(&mut names, &prefix, &event), (prefix, event));
        }
        assert_eq!(admitted(&mut names, "p4", "e5"), (OTHER.into(), "e5".into()));
        assert_eq!(admitted(&mut names, "p3", "e6"), ("p3".into(), OTHER.into()));
        assert_eq!(admitted(&mut names, API, API), (API.into(), API.into()), "what is ours needs no room");
        names.turn_to(6);
        assert_eq!(admitted(&mut names, "p4", "e0"), (OTHER.into(), "e0".into()), "a clock that is set back");
        names.turn_to(8);
        assert_eq!(admitted(&mut names, "p4", "e6"), ("p4".into(), "e6".into()));
    }

    #[test]
    fn strangers_names_take_half_of_the_room_and_no_more() {
        let mut names = Names::of(0);
        for number in 0..10 {
            let told = admitted(&mut names, &format!("junk{number}"), SUBSCRIPTION_COUNT).0;
            assert_eq!(told == OTHER, number >= 2, "{told}");
            let told = admitted(&mut names, "private-chat", &format!("client-{number}")).1;
            assert_eq!(told == OTHER, number >= 3, "{told}");
        }
        assert_eq!(admitted(&mut names, "orders", "order.shipped"), ("orders".into(), "order.shipped".into()));
        assert_eq!(admitted(&mut names, "private-chat", SUBSCRIPTION_COUNT).0, "private-chat");
    }

    #[test]
    fn a_peak_is_told_when_it_is_one() {
        let mut names = Names::of(0);
        assert_eq!([0, 3, 3, 2, 4].map(|connections| names.is_peak(connections)), [false, true, false, false, true]);
        names.turn_to(1);
        assert!(names.is_peak(1));
    }
}
