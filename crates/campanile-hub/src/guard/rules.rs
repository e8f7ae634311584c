//! Which events an app's rules concern, and what each needs.
//!
//! Owns the rules as they are used, and the way from an event to its claims. Never knows what a key's home knows. The
//! invariant: an event that no rule concerns costs the comparison of its name, and only one that a rule looks into is
//! read.

use std::sync::Arc;

use campanile_protocol::json::{DataLiteral, Pointer};
use campanile_protocol::{ChannelName, EventName};

use super::claim::{Claim, GuardKey, RepeatOf, SurgeOf, Want, digest};
use super::pattern::Pattern;
use crate::app::AppIndex;

/// What an event that waits costs beside its data and names.
pub const LATE_OVERHEAD_BYTES: usize = 512;

/// Laravel's event for a notification that is broadcast; its data has the notification's UUID.
pub const LARAVEL_NOTIFICATION: &str = r"Illuminate\Notifications\Events\BroadcastNotificationCreated";
/// How long that UUID is remembered, in seconds.
pub const LARAVEL_NOTIFICATION_WINDOW_SECS: u64 = 600;

/// An app's rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// An alert goes out when a rule has held up so many events within ten seconds.
    pub alert_after: u32,
    /// Events of the app that may wait in one mind.
    pub waiting_events_max: usize,
    /// What they may take.
    pub waiting_bytes_max: usize,
    /// Against duplicates.
    pub dedupe: Vec<DedupeRule>,
    /// Against floods.
    pub limits: Vec<LimitRule>,
    /// Against loops.
    pub breakers: Vec<BreakerRule>,
}

impl Default for Rules {
    /// None.
    fn default() -> Self {
        Self {
            alert_after: 100,
            waiting_events_max: 1000,
            waiting_bytes_max: 4 << 20,
            dedupe: Vec::new(),
            limits: Vec::new(),
            breakers: Vec::new(),
        }
    }
}

/// What a rule is about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Aim {
    /// Events of these names; all if there is none.
    pub event: Option<Pattern>,
    /// On these channels; on all if there is none.
    pub channel: Option<Pattern>,
}

impl Aim {
    fn has_event(&self, event: &str) -> bool {
        self.event.as_ref().is_none_or(|pattern| pattern.matches(event))
    }

    fn has_channel(&self, channel: &str) -> bool {
        self.channel.as_ref().is_none_or(|pattern| pattern.matches(channel))
    }

    /// What makes two rules the same, whatever their numbers are.
    fn parts(&self) -> [&[u8]; 2] {
        [bytes(&self.event), bytes(&self.channel)]
    }
}

fn bytes(pattern: &Option<Pattern>) -> &[u8] {
    pattern.as_ref().map_or(&[], |pattern| pattern.as_str().as_bytes())
}

/// What must be the same for an event to be a duplicate, besides its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// What stands there in its data. Events without it are never duplicates.
    At(Pointer),
    /// All of its data, byte for byte.
    Body,
}

/// Where it must have been published before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// On the same channel.
    Channel,
    /// Anywhere in the app.
    App,
}

/// An event that was published before is not published again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DedupeRule {
    /// Its name in alerts.
    pub name: Arc<str>,
    /// Which events.
    pub aim: Aim,
    /// What tells them apart.
    pub subject: Subject,
    /// Where.
    pub scope: Scope,
    /// For how long.
    pub window_secs: u64,
}

impl DedupeRule {
    /// The one that there is unless it is switched off: Laravel gives each notification a UUID.
    pub fn of_laravel_notifications() -> Self {
        Self {
            name: "laravel_notifications".into(),
            aim: Aim {
                event: Some(Pattern::parse(LARAVEL_NOTIFICATION).expect("the name of a class is a pattern")),
                channel: None,
            },
            subject: Subject::At(Pointer::parse("/id").expect("that is a pointer")),
            scope: Scope::Channel,
            window_secs: LARAVEL_NOTIFICATION_WINDOW_SECS,
        }
    }
}

/// How fast tokens come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// So many.
    pub events: u32,
    /// In so long.
    pub per_secs: u32,
    /// And so many at once, after a silence.
    pub burst: u32,
}

impl Rate {
    /// Between two tokens.
    pub(super) fn interval_nanos(&self) -> u64 {
        u64::from(self.per_secs.max(1)) * 1_000_000_000 / u64::from(self.events.max(1))
    }
}

/// Who has a bucket of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Per {
    /// Each event's name.
    Event,
    /// Each channel.
    Channel,
    /// Each user: of a user's own channel, and of channels whose name has them by the rule's pattern.
    User,
    /// Nobody: there is one for all.
    App,
}

impl Per {
    fn name(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Channel => "channel",
            Self::User => "user",
            Self::App => "app",
        }
    }
}

/// What becomes of an event for which there is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExceed {
    /// It is not published.
    Drop,
    /// It waits for a token.
    Defer,
    /// It waits, and the next of its name on its channel takes its place.
    Collapse,
    /// Its request is refused.
    Refuse,
}

/// Events come no faster than this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitRule {
    /// Its name in alerts.
    pub name: Arc<str>,
    /// Which events.
    pub aim: Aim,
    /// Who has a bucket.
    pub per: Per,
    /// How fast.
    pub rate: Rate,
    /// And if they do.
    pub on_exceed: OnExceed,
}

/// What opens a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The same body on a channel again and again.
    Repeat(RepeatOf),
    /// A name much more frequent than on average.
    Surge(SurgeOf),
}

/// A loop is broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BreakerRule {
    /// Its name in alerts.
    pub name: Arc<str>,
    /// Which events.
    pub aim: Aim,
    /// By what.
    pub cause: Cause,
}

impl Rules {
    /// Whether any rule may concern an event of this name: if not, there is nothing to ask anybody.
    pub fn concern(&self, event: &EventName) -> bool {
        let event = event.as_str();
        self.dedupe.iter().any(|rule| rule.aim.has_event(event))
            || self.limits.iter().any(|rule| rule.aim.has_event(event))
            || self.breakers.iter().any(|rule| rule.aim.has_event(event))
    }

    /// Looks into an event, once for all of its channels.
    pub fn weigh<'a>(&'a self, app: AppIndex, event: &'a EventName, data: &'a DataLiteral) -> Weighing<'a> {
        let is_meant = |aim: &Aim| aim.has_event(event.as_str());
        let body = || digest([data.as_str().as_bytes()]);
        let dedupe = self.dedupe.iter().filter(|rule| is_meant(&rule.aim)).filter_map(|rule| {
            let subject = match &rule.subject {
                Subject::Body => body(),
                Subject::At(pointer) => digest([data.at(pointer)?.as_bytes()]),
            };
            Some((rule, subject))
        });
        let breakers = self.breakers.iter().filter(|rule| is_meant(&rule.aim)).map(|rule| {
            let body = matches!(rule.cause, Cause::Repeat(_)).then(body).unwrap_or_default();
            (rule, body)
        });
        Weighing {
            app,
            event,
            data,
            dedupe: dedupe.collect(),
            limits: self.limits.iter().filter(|rule| is_meant(&rule.aim)).collect(),
            breakers: breakers.collect(),
        }
    }
}

/// An event that rules may concern.
#[derive(Debug)]
pub struct Weighing<'a> {
    app: AppIndex,
    event: &'a EventName,
    data: &'a DataLiteral,
    dedupe: Vec<(&'a DedupeRule, [u8; 16])>,
    limits: Vec<&'a LimitRule>,
    breakers: Vec<(&'a BreakerRule, [u8; 16])>,
}

impl Weighing<'_> {
    /// What the event needs on a channel, in the order of the rules: against duplicates, floods, loops.
    pub fn claims(&self, channel: &ChannelName) -> Vec<Claim> {
        let mut claims = Vec::new();
        let mut claim = |parts: &[&[u8]], want, rule: &Arc<str>| {
            claims.push(Claim {
                key: GuardKey::of(self.app, parts.iter().copied()),
                want,
                rule: Arc::clone(rule),
                event: self.event.clone(),
                channel: channel.clone(),
            });
        };
        let (event, name) = (self.event.as_str(), channel.as_str());
        for (rule, subject) in self.dedupe.iter().filter(|(rule, _)| rule.aim.has_channel(name)) {
            let [of_event, of_channel] = rule.aim.parts();
            let by: &[u8] = match &rule.subject {
                Subject::Body => b"",
                Subject::At(pointer) => pointer.as_str().as_bytes(),
            };
            let place = if rule.scope == Scope::Channel { name } else { "" };
            let parts = [b"once", of_event, of_channel, by, event.as_bytes(), subject, place.as_bytes()];
            claim(&parts, Want::Once { window_secs: rule.window_secs }, &rule.name);
        }
        for rule in &self.limits {
            let Some(who) = self.who(rule, channel) else { continue };
            let [of_event, of_channel] = rule.aim.parts();
            let parts = [b"limit", of_event, of_channel, rule.per.name().as_bytes(), who.as_bytes()];
            let copies = if channel.kind().cached { 2 } else { 1 };
            let want = Want::Token {
                rate: rule.rate,
                on_exceed: rule.on_exceed,
                bytes: copies * self.data.as_str().len() + event.len() + 2 * name.len() + LATE_OVERHEAD_BYTES,
                lane: digest([event.as_bytes(), name.as_bytes()]),
            };
            claim(&parts, want, &rule.name);
        }
        for (rule, body) in self.breakers.iter().filter(|(rule, _)| rule.aim.has_channel(name)) {
            let [of_event, of_channel] = rule.aim.parts();
            match rule.cause {
                Cause::Repeat(of) => {
                    let parts = [b"repeat", of_event, of_channel, event.as_bytes(), body, name.as_bytes()];
                    claim(&parts, Want::Repeat(of), &rule.name);
                }
                Cause::Surge(of) => {
                    let parts = [b"surge", of_event, of_channel, event.as_bytes()];
                    claim(&parts, Want::Surge(of), &rule.name);
                }
            }
        }
        claims
    }

    /// Whose bucket it is; `None` where the rule does not mean the channel.
    fn who<'n>(&'n self, rule: &LimitRule, channel: &'n ChannelName) -> Option<&'n str> {
        let name = channel.as_str();
        if rule.per == Per::User {
            return channel.user().or_else(|| rule.aim.channel.as_ref()?.user(name));
        }
        rule.aim.has_channel(name).then_some(match rule.per {
            Per::Event => self.event.as_str(),
            Per::Channel => name,
            Per::User | Per::App => "",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aim(event: &str, channel: &str) -> Aim {
        let pattern = |text: &str| (!text.is_empty()).then(|| Pattern::parse(text).unwrap());
        Aim { event: pattern(event), channel: pattern(channel) }
    }

    fn dedupe(event: &str, channel: &str, subject: Subject, scope: Scope) -> Rules {
        let rule = DedupeRule { name: "d".into(), aim: aim(event, channel), subject, scope, window_secs: 60 };
        Rules { dedupe: vec![rule], ..Rules::default() }
    }

    fn limit(channel: &str, per: Per) -> Rules {
        let rate = Rate { events: 1, per_secs: 1, burst: 1 };
        let rule = LimitRule { name: "l".into(), aim: aim("", channel), per, rate, on_exceed: OnExceed::Drop };
        Rules { limits: vec![rule], ..Rules::default() }
    }

    fn at(pointer: &str) -> Subject {
        Subject::At(Pointer::parse(pointer).unwrap())
    }

    fn keys(rules: &Rules, event: &str, channel: &str, data: &str) -> Vec<GuardKey> {
        let (event, data) = (EventName::parse(event, 200).unwrap(), DataLiteral::from_text(data));
        let channel = ChannelName::parse(channel, 164).unwrap();
        let claims = rules.weigh(AppIndex(0), &event, &data).claims(&channel);
        claims.into_iter().map(|claim| claim.key).collect()
    }

    #[test]
    fn an_event_is_the_same_by_what_the_pointer_finds_on_the_same_channel_or_anywhere() {
        let rules = dedupe("order.*", "", at("/order_id"), Scope::Channel);
        let first = keys(&rules, "order.shipped", "a", r#"{"order_id":5,"at":1}"#);
        assert_eq!(first.len(), 1);
        assert_eq!(first, keys(&rules, "order.shipped", "a", r#"{"at":2, "order_id" : 5}"#));
        for (event, channel, data) in [
            ("order.paid", "a", r#"{"order_id":5}"#),
            ("order.shipped", "b", r#"{"order_id":5}"#),
            ("order.shipped", "a", r#"{"order_id":"5"}"#),
            ("order.shipped", "a", r#"{"order_id":6}"#),
        ] {
            assert_ne!(first, keys(&rules, event, channel, data), "{event} {channel} {data}");
        }
        for data in [r#"{"at":1}"#, "{}", r#"{"order_id":null}"#, "[1]", "no JSON", "", "5"] {
            assert_eq!(keys(&rules, "order.shipped", "a", data), [], "{data}");
        }
        assert_eq!(keys(&rules, "shipped", "a", r#"{"order_id":5}"#), []);
        let rules = dedupe("order.*", "", at("/order_id"), Scope::App);
        let anywhere = |channel| keys(&rules, "order.shipped", channel, r#"{"order_id":5}"#);
        assert_eq!(anywhere("a"), anywhere("b"));
    }

    #[test]
    fn an_event_is_the_same_by_all_of_its_bytes() {
        let rules = dedupe("", "private-*", Subject::Body, Scope::Channel);
        let first = keys(&rules, "e", "private-a", r#"{"a":1}"#);
        assert_eq!(first, keys(&rules, "e", "private-a", r#"{"a":1}"#));
        assert_ne!(first, keys(&rules, "e", "private-a", r#"{"a": 1}"#));
        assert_eq!(keys(&rules, "e", "a", r#"{"a":1}"#), []);
    }

    #[test]
    fn laravels_notifications_are_told_apart_by_their_uuid() {
        let rules = Rules { dedupe: vec![DedupeRule::of_laravel_notifications()], ..Rules::default() };
        let name = |name: &str| EventName::parse(name, 200).unwrap();
        assert!(rules.concern(&name(LARAVEL_NOTIFICATION)) && !rules.concern(&name("order.shipped")));
        let of = |id: &str| {
            let data = format!(r#"{{"invoice":1,"id":"{id}","type":"App\\Notifications\\Paid"}}"#);
            keys(&rules, LARAVEL_NOTIFICATION, "private-App.Models.User.1", &data)
        };
        assert_eq!((of("a").len(), of("a")), (1, of("a")));
        assert_ne!(of("a"), of("b"));
    }

    #[test]
    fn a_bucket_is_an_events_a_channels_a_users_or_the_apps() {
        let key = |rules: &Rules, event, channel| keys(rules, event, channel, "");
        let rules = limit("", Per::Event);
        assert_eq!(key(&rules, "e", "a"), key(&rules, "e", "b"));
        assert_ne!(key(&rules, "e", "a"), key(&rules, "f", "a"));
        let rules = limit("", Per::Channel);
        assert_eq!(key(&rules, "e", "a"), key(&rules, "f", "a"));
        assert_ne!(key(&rules, "e", "a"), key(&rules, "e", "b"));
        let rules = limit("", Per::App);
        assert_eq!(key(&rules, "e", "a"), key(&rules, "f", "b"));
        let rules = limit("private-user.{user}", Per::User);
        assert_eq!(key(&rules, "e", "private-user.7"), key(&rules, "f", "#server-to-user-7"));
        assert_ne!(key(&rules, "e", "private-user.7"), key(&rules, "e", "private-user.8"));
        assert_eq!(key(&rules, "e", "private-team.7"), []);
        let rules = limit("", Per::User);
        assert_eq!((key(&rules, "e", "#server-to-user-7").len(), key(&rules, "e", "private-user.7").len()), (1, 0));
    }

    #[test]
    fn a_rule_is_the_same_wherever_it_stands_and_whatever_its_numbers_are() {
        let one = dedupe("e", "", Subject::Body, Scope::Channel);
        let mut two = one.clone();
        two.dedupe[0].window_secs = 7;
        two.dedupe[0].name = "another".into();
        assert_eq!(keys(&one, "e", "a", "x"), keys(&two, "e", "a", "x"));
        assert_ne!(
            keys(&one, "e", "a", "x"),
            keys(&dedupe("*", "", Subject::Body, Scope::Channel), "e", "a", "x"),
            "another rule knows nothing of what this one has seen"
        );
    }
}
