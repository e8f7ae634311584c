//! `[apps.guard]`: what holds an app's publishers up when they go wrong.
//!
//! Owns the way from the file to [`Rules`] and [`Budget`]s. Never weighs an event. The invariant: a rule that exists can be
//! followed: its patterns and its pointer are well formed, and it has one subject, one cause. Next: `limits.rs` for the
//! bounds.

use std::fmt::Write;
use std::sync::Arc;

use campanile_hub::guard::claim::{RepeatOf, SurgeOf};
use campanile_hub::guard::{
    Aim, BreakerRule, Cause, DedupeRule, LimitRule, OnExceed, Pattern, Per, Rate, Rules, Scope, Subject,
};
use campanile_protocol::json::Pointer;

use super::file::{BreakerTable, BudgetTable, DedupeTable, GuardTable, RateTable};
use super::limits::{self, Numbers, count};
use super::problem::Problems;

/// The only thing that is hashed.
const BODY: &str = "body";

const SCOPES: &[(&str, Scope)] = &[("channel", Scope::Channel), ("app", Scope::App)];
const PERS: &[(&str, Per)] =
    &[("event", Per::Event), ("channel", Per::Channel), ("user", Per::User), ("app", Per::App)];
const ON_EXCEED: &[(&str, OnExceed)] = &[
    ("drop", OnExceed::Drop),
    ("defer", OnExceed::Defer),
    ("collapse", OnExceed::Collapse),
    ("refuse", OnExceed::Refuse),
];

pub(super) const PERIODS: &[(&str, Period)] = &[("day", Period::Day), ("month", Period::Month)];
const ON_SPENT: &[(&str, OnSpent)] = &[("warn", OnSpent::Warn), ("drop", OnSpent::Drop), ("refuse", OnSpent::Refuse)];

/// How much an app may use.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Budget {
    /// Its name in alerts.
    pub name: Arc<str>,
    /// In how long.
    pub per: Period,
    /// So many messages.
    pub messages: u64,
    /// What happens when they are used up.
    pub on_exceed: OnSpent,
}

/// What a budget is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Period {
    /// A day of UTC.
    Day,
    /// A month of UTC.
    Month,
}

impl Period {
    /// Its name in the file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
        }
    }
}

/// What happens when a budget is used up, the sharpest last.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub enum OnSpent {
    /// It is told, and nothing else.
    Warn,
    /// Events are not published, and their publishers are told so.
    Drop,
    /// Requests that publish are refused.
    Refuse,
}

/// Reads an app's budgets.
pub(super) fn read_budgets(table: &mut GuardTable, path: &str, problems: &mut Problems) -> Vec<Budget> {
    let mut budgets: Vec<Budget> = Vec::new();
    for (index, table) in table.budgets.iter_mut().enumerate() {
        let name = format!("budgets[{index}]");
        let Some(budget) = budget(table, &name, path, problems) else { continue };
        if let Some(first) = budgets.iter().find(|first| first.per == budget.per) {
            let text = format!("{} is for a {} already: one is enough", first.name, budget.per.name());
            problems.at(&format!("{path}.{name}.per"), text);
        }
        budgets.push(budget);
    }
    budgets
}

fn budget(table: &mut BudgetTable, name: &str, guard: &str, problems: &mut Problems) -> Option<Budget> {
    let path = format!("{guard}.{name}");
    let per = match &table.per {
        Some(per) => chosen(per, PERIODS, &path, "per", problems),
        None => {
            problems.missing(&path, "per", "needs per = \"day\" or \"month\"");
            None
        }
    };
    let on_exceed =
        chosen(table.on_exceed.get_or_insert_with(|| "warn".to_owned()), ON_SPENT, &path, "on_exceed", problems);
    let mut numbers = Numbers { path: &path, problems };
    let messages = match table.messages {
        Some(_) => numbers.read_optional(&limits::GUARD_MESSAGES, table.messages),
        None => {
            numbers.problems.missing(&path, "messages", "needs messages: how many may be used");
            None
        }
    };
    Some(Budget { name: name.into(), per: per?, messages: messages?, on_exceed: on_exceed? })
}

/// Reads an app's rules.
pub(super) fn read(table: &mut GuardTable, path: &str, problems: &mut Problems) -> Rules {
    let mut numbers = Numbers { path, problems };
    let alert_after = number(numbers.read(&limits::GUARD_ALERT_AFTER, &mut table.alert_after));
    let waiting_events_max = count(numbers.read(&limits::GUARD_WAITING_EVENTS_MAX, &mut table.waiting_events_max));
    let waiting_bytes_max = count(numbers.read(&limits::GUARD_WAITING_BYTES_MAX, &mut table.waiting_bytes_max));
    let mut rules = Rules { alert_after, waiting_events_max, waiting_bytes_max, ..Rules::default() };
    if *table.laravel_notifications.get_or_insert(true) {
        rules.dedupe.push(DedupeRule::of_laravel_notifications());
    }
    for (index, table) in table.dedupe.iter_mut().enumerate() {
        rules.dedupe.extend(dedupe(table, &format!("dedupe[{index}]"), path, problems));
    }
    for (index, table) in table.limits.iter_mut().enumerate() {
        rules.limits.extend(limit(table, &format!("limits[{index}]"), path, problems));
    }
    for (index, table) in table.breakers.iter_mut().enumerate() {
        rules.breakers.extend(breaker(table, &format!("breakers[{index}]"), path, problems));
    }
    rules
}

fn dedupe(table: &mut DedupeTable, name: &str, guard: &str, problems: &mut Problems) -> Option<DedupeRule> {
    let path = format!("{guard}.{name}");
    let aim = aim(table.event.as_deref(), table.channel.as_deref(), &path, problems);
    let subject = subject(table, &path, problems);
    let scope = chosen(table.scope.get_or_insert_with(|| "channel".to_owned()), SCOPES, &path, "scope", problems);
    let mut numbers = Numbers { path: &path, problems };
    let window_secs = numbers.read(&limits::GUARD_WINDOW_SECS, &mut table.window_secs);
    Some(DedupeRule { name: name.into(), aim: aim?, subject: subject?, scope: scope?, window_secs })
}

fn subject(table: &DedupeTable, path: &str, problems: &mut Problems) -> Option<Subject> {
    match (&table.key, &table.hash) {
        (Some(key), None) => {
            let pointer = Pointer::parse(key);
            if pointer.is_none() {
                let text = format!("{key:?} is no JSON pointer into the event's data: write it as in \"/order_id\"");
                problems.at(&format!("{path}.key"), text);
            }
            pointer.map(Subject::At)
        }
        (None, Some(hash)) if hash == BODY => Some(Subject::Body),
        (None, Some(hash)) => {
            problems.at(&format!("{path}.hash"), format!("{hash:?} is unknown: {BODY:?} is all that can be hashed"));
            None
        }
        (Some(_), Some(_)) => {
            problems.at(path, "has both key and hash: remove one");
            None
        }
        (None, None) => {
            problems.missing(path, "key", "needs key = \"/pointer/into/data\", or hash = \"body\"");
            None
        }
    }
}

fn limit(table: &mut RateTable, name: &str, guard: &str, problems: &mut Problems) -> Option<LimitRule> {
    let path = format!("{guard}.{name}");
    let aim = aim(table.event.as_deref(), table.channel.as_deref(), &path, problems);
    let per = match &table.per {
        Some(per) => chosen(per, PERS, &path, "per", problems),
        None => {
            problems.missing(&path, "per", "needs per = \"event\", \"channel\", \"user\" or \"app\": who has a bucket");
            None
        }
    };
    if let (Some(Per::User), Some(Aim { channel: Some(channel), .. })) = (per, &aim)
        && !channel.has_user()
    {
        let text = "must say where the user's id is, as in \"private-App.Models.User.{user}\"; leave it out for users' \
                    own channels alone";
        problems.at(&format!("{path}.channel"), text);
    }
    let on_exceed =
        chosen(table.on_exceed.get_or_insert_with(|| "drop".to_owned()), ON_EXCEED, &path, "on_exceed", problems);
    let mut numbers = Numbers { path: &path, problems };
    let events = match table.events {
        Some(_) => numbers.read_optional(&limits::GUARD_EVENTS, table.events),
        None => {
            numbers.problems.missing(&path, "events", "needs events: how many may pass in per_secs");
            None
        }
    };
    let per_secs = numbers.read(&limits::GUARD_PER_SECS, &mut table.per_secs);
    let burst = numbers.read_derived(&limits::GUARD_BURST, &mut table.burst, events.unwrap_or(1));
    let rate = Rate { events: number(events?), per_secs: number(per_secs), burst: number(burst) };
    Some(LimitRule { name: name.into(), aim: aim?, per: per?, rate, on_exceed: on_exceed? })
}

fn breaker(table: &mut BreakerTable, name: &str, guard: &str, problems: &mut Problems) -> Option<BreakerRule> {
    let path = format!("{guard}.{name}");
    let aim = aim(table.event.as_deref(), table.channel.as_deref(), &path, problems);
    let mut numbers = Numbers { path: &path, problems };
    let cool_down_secs = numbers.read(&limits::GUARD_COOL_DOWN_SECS, &mut table.cool_down_secs);
    let repeats = numbers.read_optional(&limits::GUARD_REPEATS, table.repeats);
    let times = numbers.read_optional(&limits::GUARD_TIMES, table.times);
    let cause = match (repeats, times) {
        (Some(repeats), None) => {
            let within_secs = numbers.read(&limits::GUARD_WITHIN_SECS, &mut table.within_secs);
            stray(table.floor, "floor", "times", &path, problems);
            Some(Cause::Repeat(RepeatOf { repeats: number(repeats), within_secs, cool_down_secs }))
        }
        (None, Some(times)) => {
            let floor = numbers.read(&limits::GUARD_FLOOR, &mut table.floor);
            stray(table.within_secs, "within_secs", "repeats", &path, problems);
            Some(Cause::Surge(SurgeOf { times: number(times), floor: number(floor), cool_down_secs }))
        }
        (Some(_), Some(_)) => {
            problems.at(&path, "has both repeats and times: write two breakers");
            None
        }
        (None, None) => {
            problems.missing(&path, "repeats", "needs repeats, for the same body, or times, for an event's frequency");
            None
        }
    };
    Some(BreakerRule { name: name.into(), aim: aim?, cause: cause? })
}

/// A number that means nothing without another.
fn stray(written: Option<u64>, name: &str, of: &str, path: &str, problems: &mut Problems) {
    if written.is_some() {
        problems.at(&format!("{path}.{name}"), format!("goes with {of}, which is not set"));
    }
}

fn aim(event: Option<&str>, channel: Option<&str>, path: &str, problems: &mut Problems) -> Option<Aim> {
    let mut pattern = |written: Option<&str>, name: &str| match written.map(Pattern::parse) {
        None => Some(None),
        Some(Ok(pattern)) => Some(Some(pattern)),
        Some(Err(reason)) => {
            problems.at(&format!("{path}.{name}"), reason.to_string());
            None
        }
    };
    let (event, channel) = (pattern(event, "event"), pattern(channel, "channel"));
    if let Some(Some(event)) = &event
        && event.has_user()
    {
        problems.at(&format!("{path}.event"), "names no user: {user} is for channels");
    }
    Some(Aim { event: event?, channel: channel? })
}

/// What a word stands for.
pub(super) fn chosen<T: Copy>(
    word: &str,
    known: &[(&str, T)],
    path: &str,
    name: &str,
    problems: &mut Problems,
) -> Option<T> {
    let found = known.iter().find(|(known, _)| *known == word).map(|(_, meaning)| *meaning);
    if found.is_none() {
        let nearest =
            known.iter().map(|(known, _)| *known).min_by_key(|known| strsim::damerau_levenshtein(word, known));
        let mut text = format!("{word:?} is unknown; did you mean {:?}? Known:", nearest.unwrap_or_default());
        for (index, (known, _)) in known.iter().enumerate() {
            let _infallible = write!(text, "{} {known}", if index > 0 { "," } else { "" });
        }
        problems.at(&format!("{path}.{name}"), text);
    }
    found
}

fn number(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
