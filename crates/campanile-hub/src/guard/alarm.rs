//! When somebody should be told, and when they have been.
//!
//! Owns the counts of what each rule has held up. Never tells anybody: alerts are taken out. The invariant: what goes on
//! and on is told once; it is over when a minute has passed without it. A mind knows only of its own keys, so whoever
//! gathers the alerts of several minds must do the same again.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use campanile_protocol::{ChannelName, EventName};

use super::claim::{Claim, Verdict, Want};
use crate::app::AppIndex;
use crate::timers::Moment;

/// What is counted together.
pub const COUNTED_WITHIN_SECS: u64 = 10;
/// For how long nothing may come before the next is told again.
pub const QUIET_SECS: u64 = 60;

/// Why there is an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlertKind {
    /// Many events were published before.
    Duplicates,
    /// Many events found no token.
    Exceeded,
    /// A breaker has opened.
    Stopped,
    /// There is no room for so many keys: windows are shorter than they were meant to be.
    Memory,
}

impl AlertKind {
    /// Of a verdict that holds an event up.
    pub fn of(want: &Want, verdict: Verdict) -> Option<Self> {
        match (want, verdict) {
            (Want::Once { .. }, Verdict::Duplicate) => Some(Self::Duplicates),
            (Want::Token { .. }, Verdict::Granted) => None,
            (Want::Token { .. }, _) => Some(Self::Exceeded),
            (Want::Repeat(_) | Want::Surge(_), Verdict::Dropped) => Some(Self::Stopped),
            _ => None,
        }
    }

    /// Its name for machines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Duplicates => "duplicates",
            Self::Exceeded => "exceeded",
            Self::Stopped => "stopped",
            Self::Memory => "memory",
        }
    }
}

/// What somebody should be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// Whose events they are.
    pub app: AppIndex,
    /// Why.
    pub kind: AlertKind,
    /// Which rule; nothing where it is none's.
    pub rule: Arc<str>,
    /// An event that it was about.
    pub event: EventName,
    /// A channel that it was about.
    pub channel: ChannelName,
    /// How many there were, in ten seconds at most.
    pub count: u64,
}

#[derive(Debug, Clone)]
struct Episode {
    since: Moment,
    count: u64,
    last: Moment,
    told: bool,
}

/// What goes on. There are no more episodes than apps have rules.
#[derive(Debug, Clone, Default)]
pub(super) struct Alarms {
    episodes: BTreeMap<(AppIndex, AlertKind, Arc<str>), Episode>,
    alerts: Vec<Alert>,
    /// Whose keys were forgotten too early, and nobody has been told.
    forgotten: BTreeMap<AppIndex, u64>,
}

impl Alarms {
    /// Counts an event that was held up; tells of it if it is the `after`th within [`COUNTED_WITHIN_SECS`].
    pub(super) fn count(&mut self, claim: &Claim, kind: AlertKind, after: u32, now: Moment) {
        let after = if matches!(kind, AlertKind::Stopped | AlertKind::Memory) { 1 } else { after };
        let app = claim.key.app;
        // Which rule's key was forgotten is chance.
        let rule = if kind == AlertKind::Memory { "".into() } else { Arc::clone(&claim.rule) };
        let new = Episode { since: now, count: 0, last: now, told: false };
        let episode = self.episodes.entry((app, kind, Arc::clone(&rule))).or_insert(new);
        if now >= episode.last.after_secs(QUIET_SECS) {
            episode.told = false;
        }
        if now >= episode.since.after_secs(COUNTED_WITHIN_SECS) {
            (episode.since, episode.count) = (now, 0);
        }
        episode.count += 1;
        episode.last = now;
        if !episode.told && episode.count >= u64::from(after) {
            episode.told = true;
            let (event, channel) = (claim.event.clone(), claim.channel.clone());
            self.alerts.push(Alert { app, kind, rule, event, channel, count: episode.count });
        }
    }

    /// A key of the app was forgotten before its time.
    pub(super) fn forgot(&mut self, app: AppIndex) {
        *self.forgotten.entry(app).or_default() += 1;
    }

    /// Tells of the keys of this claim's app that were forgotten.
    pub(super) fn tell_forgotten(&mut self, claim: &Claim, now: Moment) {
        for _ in 0..self.forgotten.remove(&claim.key.app).unwrap_or(0) {
            self.count(claim, AlertKind::Memory, 1, now);
        }
    }

    pub(super) fn take(&mut self) -> Vec<Alert> {
        mem::take(&mut self.alerts)
    }

    pub(super) fn forget(&mut self) {
        self.episodes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::GuardKey;

    fn claim(rule: &str) -> Claim {
        Claim {
            key: GuardKey { app: AppIndex(0), digest: [0; 16] },
            want: Want::Once { window_secs: 1 },
            rule: rule.into(),
            event: EventName::parse("e", 200).unwrap(),
            channel: ChannelName::parse("c", 164).unwrap(),
        }
    }

    fn told(alarms: &mut Alarms, rule: &str, now: u64) -> usize {
        alarms.count(&claim(rule), AlertKind::Duplicates, 3, Moment(now));
        alarms.take().len()
    }

    #[test]
    fn as_many_as_the_bound_within_ten_seconds_are_told_once_however_long_it_goes_on() {
        let mut alarms = Alarms::default();
        assert_eq!([0, 1].map(|now| told(&mut alarms, "r", now)), [0, 0]);
        assert_eq!(told(&mut alarms, "r", 9_999), 1);
        assert!((10_000..500_000).step_by(1000).all(|now| told(&mut alarms, "r", now) == 0));
        assert_eq!([600_000, 600_001, 600_002].map(|now| told(&mut alarms, "r", now)), [0, 0, 1]);
    }

    #[test]
    fn fewer_than_the_bound_within_ten_seconds_are_told_never() {
        let mut alarms = Alarms::default();
        assert!((0..1_000_000).step_by(5_000).all(|now| told(&mut alarms, "r", now) == 0));
    }

    #[test]
    fn each_rule_and_kind_has_an_alert_of_its_own_and_a_breaker_waits_for_no_number() {
        let mut alarms = Alarms::default();
        assert_eq!([0, 0, 0].map(|now| told(&mut alarms, "r", now)), [0, 0, 1]);
        assert_eq!([0, 0, 0].map(|now| told(&mut alarms, "s", now)), [0, 0, 1]);
        alarms.count(&claim("r"), AlertKind::Stopped, 3, Moment(0));
        let [Alert { kind: AlertKind::Stopped, count: 1, .. }] = alarms.take()[..] else { panic!("one is told") };
    }
}
