//! What the guard's alerts become: one line in the log, one event for webhooks.
//!
//! Owns which alerts were told of late, and the count of all. Each mind knows only of its own keys, so what goes on at
//! several is told here once. Never decides that something is wrong. The invariant: however long a rule holds events up and
//! wherever, it is told once a minute at most. Read on in [`campanile_hub::guard::alarm`].

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use campanile_hub::guard::alarm::QUIET_SECS;
use campanile_hub::guard::{Alert, AlertKind};
use campanile_hub::{AppIndex, Notice, NoticeKind};
use parking_lot::Mutex;
use serde_json::json;

use crate::ledger::Warning;

/// Edges of alerts are none of any mind's: those have their worker's number there.
const EDGES: u64 = 0xffff << 48;

/// Why a part of a budget is told.
const BUDGET: &str = "budget";

type Cause = (AppIndex, AlertKind, Arc<str>);

/// The node's.
#[derive(Debug, Default)]
pub(crate) struct Alerts {
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    /// As many as there are rules.
    at: HashMap<Cause, Instant>,
    count: u64,
}

impl Alerts {
    /// What is to be told of an alert: nothing, if another mind's was told within a minute.
    pub(crate) fn admit(&self, alert: &Alert, app: &Arc<str>, now: Instant) -> Option<Notice> {
        let quiet = Duration::from_secs(QUIET_SECS);
        let mut told = self.told.lock();
        told.at.retain(|_, at| now.duration_since(*at) < quiet);
        let cause = (alert.app, alert.kind, Arc::clone(&alert.rule));
        if told.at.contains_key(&cause) {
            return None;
        }
        told.at.insert(cause, now);
        told.count += 1;
        let Alert { kind, rule, event, channel, count, .. } = alert.clone();
        let reason = kind.name();
        let data = json!({ "reason": reason, "rule": rule, "channel": channel.as_str(), "count": count }).to_string();
        let kind = NoticeKind::GuardAlert { reason, rule, event: Some(event), data: data.into() };
        Some(Notice { app: Arc::clone(app), kind, edge: EDGES | told.count })
    }

    /// What is to be told of a budget.
    pub(crate) fn of_budget(&self, warning: &Warning, app: &Arc<str>) -> Notice {
        let mut told = self.told.lock();
        told.count += 1;
        let Warning { rule, per, percent, messages, of } = warning;
        let (reason, per) = (BUDGET, per.name());
        let data = json!({
            "reason": reason, "rule": rule, "per": per, "percent": percent, "messages": messages, "of": of
        })
        .to_string();
        let kind = NoticeKind::GuardAlert { reason, rule: Arc::clone(rule), event: None, data: data.into() };
        Notice { app: Arc::clone(app), kind, edge: EDGES | told.count }
    }

    /// How many were told.
    pub(crate) fn count(&self) -> u64 {
        self.told.lock().count
    }
}

/// The line in the log.
pub(crate) fn log(alert: &Alert, app: &str) {
    let Alert { kind, rule, event, channel, count, .. } = alert;
    let (event, channel) = (event.as_str(), channel.as_str());
    match kind {
        AlertKind::Duplicates => {
            tracing::warn!(app, %rule, event, channel, count, "the guard drops duplicates: does a publisher loop?");
        }
        AlertKind::Exceeded => {
            tracing::warn!(app, %rule, event, channel, count, "the guard holds events up: more come than the rule lets pass");
        }
        AlertKind::Stopped => {
            tracing::error!(app, %rule, event, channel, "the guard has opened a breaker: events are dropped until it has cooled down");
        }
        AlertKind::Memory => tracing::warn!(
            app,
            count,
            "the guard forgets keys before their time: raise limits.guard_keys_max, or shorten windows"
        ),
    }
}

/// The same of a budget.
pub(crate) fn log_budget(warning: &Warning, app: &str) {
    let Warning { rule, per, percent, messages, of } = warning;
    let per = per.name();
    if *percent < 100 {
        tracing::warn!(app, %rule, per, percent, messages, of, "a budget is being used up");
    } else {
        tracing::error!(app, %rule, per, messages, of, "a budget is used up");
    }
}

#[cfg(test)]
mod tests {
    use campanile_protocol::{ChannelName, EventName};

    use super::*;

    fn alert(app: u32, rule: &str) -> Alert {
        Alert {
            app: AppIndex(app),
            kind: AlertKind::Duplicates,
            rule: rule.into(),
            event: EventName::parse("order.shipped", 200).unwrap(),
            channel: ChannelName::parse("orders", 164).unwrap(),
            count: 100,
        }
    }

    #[test]
    fn what_several_minds_see_is_told_once_a_minute_and_each_time_with_an_edge_of_its_own() {
        let (alerts, app, began) = (Alerts::default(), Arc::from("shop"), Instant::now());
        let mut edges = Vec::new();
        let mut told = |alert: &Alert, secs| {
            let notice = alerts.admit(alert, &app, began + Duration::from_secs(secs));
            edges.extend(notice.as_ref().map(|notice| notice.edge));
            notice.is_some()
        };
        assert!(told(&alert(0, "dedupe[0]"), 0));
        assert!(!told(&alert(0, "dedupe[0]"), 0) && !told(&alert(0, "dedupe[0]"), 59));
        assert!(told(&alert(0, "dedupe[1]"), 1) && told(&alert(1, "dedupe[0]"), 1));
        assert!(told(&alert(0, "dedupe[0]"), 60));
        edges.dedup();
        assert_eq!((edges.len(), alerts.count()), (4, 4));
    }
}
