//! Usage, in the units that Pusher bills.
//!
//! Owns the counts since they were last taken. Never prices anything, and never knows a day or a month. The invariant: each
//! mind counts what it does itself, and nobody else does: a delivery where the connection lives, a client event where it
//! came from. Pings, subscriptions and what answers them are not counted. Read on in [`crate::hub`], which counts; what is
//! taken from all minds is put together outside.

use std::ops::AddAssign;

use crate::app::AppIndex;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A request to the HTTP API; one that publishes and asks for counts is two.
    ApiCall,
    /// An event that a client has sent.
    ClientEvent,
    /// An event for one connection.
    Delivery,
    /// `member_added` or `member_removed` for one connection.
    PresenceDelivery,
    /// A request to a webhook's endpoint.
    WebhookCall,
}

impl Unit {
    /// All of them, in their order.
    pub const ALL: [Self; 5] =
        [Self::ApiCall, Self::ClientEvent, Self::Delivery, Self::PresenceDelivery, Self::WebhookCall];

    /// Its name for machines.
    pub fn name(self) -> &'static str {
        match self {
            Self::ApiCall => "api_calls",
            Self::ClientEvent => "client_events",
            Self::Delivery => "deliveries",
            Self::PresenceDelivery => "presence_deliveries",
            Self::WebhookCall => "webhook_calls",
        }
    }
}

/// So many of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage([u64; Unit::ALL.len()]);

impl Usage {
    /// That many of one.
    pub fn of(unit: Unit, count: u64) -> Self {
        let mut usage = Self::default();
        usage.count(unit, count);
        usage
    }

    /// That many more.
    pub fn count(&mut self, unit: Unit, count: u64) {
        self.0[unit as usize] = self.0[unit as usize].saturating_add(count);
    }

    /// How many of one.
    pub fn get(&self, unit: Unit) -> u64 {
        self.0[unit as usize]
    }

    /// All together: each is one message on Pusher's bill.
    pub fn messages(&self) -> u64 {
        self.0.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        for unit in Unit::ALL {
            self.count(unit, other.get(unit));
        }
    }
}

/// The usage of all apps since it was last taken, as one worker has seen it.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    /// By [`AppIndex`].
    apps: Vec<Usage>,
}

impl Meter {
    /// That many more of an app's.
    pub fn count(&mut self, app: AppIndex, unit: Unit, count: u64) {
        let index = app.0 as usize;
        if self.apps.len() <= index {
            self.apps.resize(index + 1, Usage::default());
        }
        self.apps[index].count(unit, count);
    }

    /// Takes what there is.
    pub fn take(&mut self) -> Vec<(AppIndex, Usage)> {
        let mut taken = Vec::new();
        for (index, usage) in (0..).zip(&mut self.apps) {
            if *usage != Usage::default() {
                taken.push((AppIndex(index), std::mem::take(usage)));
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_apps_usage_is_its_own_and_taken_once() {
        let mut meter = Meter::default();
        meter.count(AppIndex(2), Unit::Delivery, 1000);
        meter.count(AppIndex(0), Unit::ApiCall, 2);
        meter.count(AppIndex(2), Unit::ApiCall, 1);
        let mut second = Usage::of(Unit::Delivery, 1000);
        second += Usage::of(Unit::ApiCall, 1);
        assert_eq!(second.messages(), 1001);
        assert_eq!(meter.take(), [(AppIndex(0), Usage::of(Unit::ApiCall, 2)), (AppIndex(2), second)]);
        assert_eq!(meter.take(), []);
    }

    #[test]
    fn the_largest_counts_stay_the_largest() {
        let mut usage = Usage::of(Unit::Delivery, u64::MAX);
        usage += Usage::of(Unit::Delivery, 1);
        usage.count(Unit::ApiCall, 1);
        assert_eq!((usage.get(Unit::Delivery), usage.messages()), (u64::MAX, u64::MAX));
    }
}
