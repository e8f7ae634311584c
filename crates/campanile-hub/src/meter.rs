//! Usage, in the units that Pusher bills, by what it was used for.
//!
//! Owns the counts since they were last taken. Never prices anything, and never knows an hour, a day or a month. The
//! invariants: each mind counts what it does itself, and nobody else does: a delivery where the connection lives, a client
//! event where it came from; and it counts once for each publication, however many connections get it. Pings, subscriptions
//! and what answers them are not counted. Read on in [`crate::hub`], which counts; what is taken from all minds is put
//! together outside.

use std::ops::AddAssign;

use campanile_protocol::json::DataLiteral;
use campanile_protocol::{Access, ChannelName, EventName};

use crate::app::{App, AppIndex};
use crate::histogram::Histogram;
use crate::seeded::{Map, Seed};

/// Rows of one app, and prefixes that are waited for, between two readings: publishers can name ever new events. What comes
/// beyond is counted as [`OTHER`].
pub const ROWS_MAX: usize = 1000;
/// What is counted together because there are too many names.
pub const OTHER: &str = "(other)";
/// The prefix and the event of requests to the HTTP API that publish nothing.
pub const API: &str = "(api)";
/// The prefix and the event of webhooks.
pub const WEBHOOKS: &str = "(webhooks)";
/// Data that is larger is not looked into.
pub const SAMPLE_BYTES_MAX: usize = 64 * 1024;
/// Nor is data that is smaller: it costs little.
pub const SAMPLE_BYTES_MIN: usize = 512;
/// What a connection subscribes to later than this after it was established, in milliseconds, it has not waited for: somebody
/// has opened another page.
pub const WAIT_MILLIS_MAX: u64 = 30_000;
/// An event whose data has so many percent of what it may have is near the limit.
pub const NEAR_PERCENT: usize = 90;

/// What Laravel puts before a model's name: no prefix by itself.
const LARAVEL_MODELS: &str = "App.Models.";
/// Rows that are found without a hash, because they were counted lately.
const RECENT: usize = 64;

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

/// What a channel's listeners are told: by its name and its unit each delivery is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// An event that somebody has published.
    Event(EventName),
    /// That a member has come.
    MemberAdded,
    /// That a member has gone.
    MemberRemoved,
    /// How many they are.
    SubscriptionCount,
    /// That a user whom they watch has come or gone.
    WatchlistEvents,
}

impl Told {
    /// The event's name on the wire.
    pub fn event(&self) -> &str {
        match self {
            Self::Event(event) => event.as_str(),
            Self::MemberAdded => "pusher_internal:member_added",
            Self::MemberRemoved => "pusher_internal:member_removed",
            Self::SubscriptionCount => SUBSCRIPTION_COUNT,
            Self::WatchlistEvents => "pusher_internal:watchlist_events",
        }
    }

    /// As what each delivery counts.
    pub fn unit(&self) -> Unit {
        match self {
            Self::MemberAdded | Self::MemberRemoved => Unit::PresenceDelivery,
            Self::Event(_) | Self::SubscriptionCount | Self::WatchlistEvents => Unit::Delivery,
        }
    }
}

/// The event by which subscribers are told how many they are.
pub const SUBSCRIPTION_COUNT: &str = "pusher_internal:subscription_count";

/// A channel's prefix: what it is counted by. The first of `listed` that its name begins with; or else its name up to the
/// first dot or dash behind its kind, so `private-user.42` is `private-user`. Laravel's `App.Models.` is no end, so
/// `private-App.Models.User.42` is `private-App.Models.User`.
pub fn prefix<'a>(channel: &'a ChannelName, listed: &[Box<str>]) -> &'a str {
    let name = channel.as_str();
    if let Some(listed) = listed.iter().find(|listed| name.starts_with(&***listed)) {
        return &name[..listed.len()];
    }
    let kind = channel.kind().prefix().len();
    if channel.kind().access == Access::User {
        return &name[..kind - 1];
    }
    let models = if name[kind..].starts_with(LARAVEL_MODELS) { LARAVEL_MODELS.len() } else { 0 };
    let end = name.as_bytes()[kind + models..].iter().position(|byte| matches!(byte, b'.' | b'-'));
    &name[..end.map_or(name.len(), |end| kind + models + end)]
}

/// What something is counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject<'a> {
    /// Whose it is.
    pub app: AppIndex,
    /// Of the channel; see [`prefix`].
    pub prefix: &'a str,
    /// The event's name.
    pub event: &'a str,
}

impl<'a> Subject<'a> {
    /// An event on a channel.
    pub fn of(app: &App, channel: &'a ChannelName, event: &'a str) -> Self {
        Self { app: app.index, prefix: prefix(channel, &app.usage_prefixes), event }
    }

    /// What belongs to no event: [`API`] or [`WEBHOOKS`].
    pub fn of_none(app: AppIndex, what: &'static str) -> Self {
        Self { app, prefix: what, event: what }
    }
}

/// How large an event's data was.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sizes {
    /// In bytes.
    pub bytes: Histogram,
    /// How many of them were near the limit; see [`NEAR_PERCENT`].
    pub near_limit: u64,
    /// The largest of them.
    pub largest: u64,
    /// The largest that may be looked into, to see what it is that takes so much.
    pub sample: Option<DataLiteral>,
}

impl Sizes {
    fn count(&mut self, data: &DataLiteral, limit: usize, may_look: bool) {
        let near = limit * NEAR_PERCENT / 100;
        // Decoding makes nothing longer: what is short as it is written need not be counted to the byte.
        let bytes = if data.as_str().len() < near { data.about_len() } else { data.decoded_len() };
        self.bytes.count(bytes as u64);
        self.near_limit += u64::from(bytes >= near);
        if bytes as u64 > self.largest {
            self.largest = bytes as u64;
            if may_look && (SAMPLE_BYTES_MIN..=SAMPLE_BYTES_MAX).contains(&bytes) {
                self.sample = Some(data.clone());
            }
        }
    }
}

/// An app's events of one name on channels of one prefix, counted together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Of the channels.
    pub prefix: Box<str>,
    /// The events' name.
    pub event: Box<str>,
    /// What they have used.
    pub usage: Usage,
    /// How large they were, where that was looked at: at whose door they came in.
    pub sizes: Option<Box<Sizes>>,
}

/// What one app has used since that was last taken, as one worker has seen it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// Whose it is.
    pub app: AppIndex,
    /// For what; no two are for the same.
    pub rows: Vec<Row>,
    /// By the channels' prefix: how long connections that subscribed had been there, in milliseconds. Mostly they wait for the
    /// application to authorize them.
    pub waits: Vec<(Box<str>, Histogram)>,
}

impl Reading {
    /// Of calls to webhooks alone, which have no worker.
    pub fn of_webhooks(app: AppIndex, calls: u64) -> Self {
        let usage = Usage::of(Unit::WebhookCall, calls);
        let rows = vec![Row { prefix: WEBHOOKS.into(), event: WEBHOOKS.into(), usage, sizes: None }];
        Self { app, rows, waits: Vec::new() }
    }

    /// All of it together.
    pub fn usage(&self) -> Usage {
        self.rows.iter().fold(Usage::default(), |mut sum, row| {
            sum += row.usage;
            sum
        })
    }
}

/// One app's part of a meter.
#[derive(Debug, Clone)]
struct Page {
    rows: Vec<Row>,
    /// Prefix and event, with a line break between.
    by_name: Map<Box<str>, u32>,
    /// Where rows stand that were counted lately, by [`slot`]. A wrong one is only a lost chance.
    recent: [u32; RECENT],
    waits: Map<Box<str>, Histogram>,
}

/// Where to look first. Names that share a slot cost a hash, and no more.
fn slot(prefix: &str, event: &str) -> usize {
    let last = event.as_bytes().last().copied().unwrap_or_default();
    (prefix.len() + event.len() * 5 + usize::from(last)) % RECENT
}

impl Page {
    fn new(seed: Seed) -> Self {
        let (by_name, waits) = (Map::with_hasher(seed), Map::with_hasher(seed));
        Self { rows: Vec::new(), by_name, recent: [0; RECENT], waits }
    }

    fn row(&mut self, name: &mut String, prefix: &str, event: &str) -> &mut Row {
        let slot = slot(prefix, event);
        let recent = self.recent[slot];
        let is_it = |row: &Row| *row.event == *event && *row.prefix == *prefix;
        if self.rows.get(recent as usize).is_some_and(is_it) {
            return &mut self.rows[recent as usize];
        }
        let at = self.find(name, prefix, event);
        self.recent[slot] = at;
        &mut self.rows[at as usize]
    }

    fn find(&mut self, name: &mut String, prefix: &str, event: &str) -> u32 {
        name.clear();
        name.extend([prefix, "\n", event]);
        match self.by_name.get(name.as_str()) {
            Some(at) => *at,
            // The last place is for all the others.
            None if self.rows.len() >= ROWS_MAX - 1 && (prefix, event) != (OTHER, OTHER) => {
                self.find(name, OTHER, OTHER)
            }
            None => {
                let at = u32::try_from(self.rows.len()).expect("there are fewer than its bound");
                self.by_name.insert(name.as_str().into(), at);
                let usage = Usage::default();
                self.rows.push(Row { prefix: prefix.into(), event: event.into(), usage, sizes: None });
                at
            }
        }
    }
}

/// The usage of all apps since it was last taken, as one worker has seen it.
#[derive(Debug, Clone)]
pub struct Meter {
    seed: Seed,
    /// By [`AppIndex`].
    pages: Vec<Option<Box<Page>>>,
    /// Room to put a row's name together.
    name: String,
}

impl Meter {
    /// One that has counted nothing; its maps are hashed with the seed.
    pub fn new(seed: u64) -> Self {
        Self { seed: Seed(seed), pages: Vec::new(), name: String::new() }
    }

    fn page(&mut self, app: AppIndex) -> (&mut Page, &mut String) {
        let index = app.0 as usize;
        if self.pages.len() <= index {
            self.pages.resize(index + 1, None);
        }
        let seed = self.seed;
        (self.pages[index].get_or_insert_with(|| Box::new(Page::new(seed))), &mut self.name)
    }

    /// That many more.
    pub fn count(&mut self, subject: Subject<'_>, unit: Unit, count: u64) {
        let (page, name) = self.page(subject.app);
        page.row(name, subject.prefix, subject.event).usage.count(unit, count);
    }

    /// One more event of that size, where data may have `limit` bytes. It is looked into later, unless that is forbidden.
    pub fn size(&mut self, subject: Subject<'_>, data: &DataLiteral, limit: usize, may_look: bool) {
        let (page, name) = self.page(subject.app);
        let sizes = &mut page.row(name, subject.prefix, subject.event).sizes;
        sizes.get_or_insert_default().count(data, limit, may_look);
    }

    /// A connection has subscribed, so many milliseconds after it was established.
    pub fn wait(&mut self, subject: Subject<'_>, millis: u64) {
        if millis > WAIT_MILLIS_MAX {
            return;
        }
        let waits = &mut self.page(subject.app).0.waits;
        if let Some(wait) = waits.get_mut(subject.prefix) {
            return wait.count(millis);
        }
        let prefix = if waits.len() < ROWS_MAX - 1 { subject.prefix } else { OTHER };
        waits.entry(prefix.into()).or_default().count(millis);
    }

    /// Takes what there is.
    pub fn take(&mut self) -> Vec<Reading> {
        let mut taken = Vec::new();
        for (index, page) in (0..).zip(&mut self.pages) {
            if let Some(page) = page.take() {
                // In an order that does not depend on the hash.
                let mut waits: Vec<_> = page.waits.into_iter().collect();
                waits.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
                taken.push(Reading { app: AppIndex(index), rows: page.rows, waits });
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject<'a>(app: u32, prefix: &'a str, event: &'a str) -> Subject<'a> {
        Subject { app: AppIndex(app), prefix, event }
    }

    fn shown(reading: &Reading) -> Vec<(&str, &str, u64)> {
        reading.rows.iter().map(|row| (&*row.prefix, &*row.event, row.usage.messages())).collect()
    }

    #[test]
    fn each_apps_usage_is_its_own_by_prefix_and_event_and_taken_once() {
        let mut meter = Meter::new(1);
        meter.count(subject(2, "private-user", "order.shipped"), Unit::Delivery, 1000);
        meter.count(subject(0, API, API), Unit::ApiCall, 2);
        meter.count(subject(2, "private-user", "order.shipped"), Unit::ApiCall, 1);
        meter.count(subject(2, "private-user", "order.skipped"), Unit::Delivery, 5);
        meter.count(subject(2, "private-team", "order.shipped"), Unit::Delivery, 7);
        let taken = meter.take();
        assert_eq!(taken.iter().map(|reading| reading.app.0).collect::<Vec<_>>(), [0, 2]);
        assert_eq!(shown(&taken[0]), [(API, API, 2)]);
        let rows = [
            ("private-user", "order.shipped", 1001),
            ("private-user", "order.skipped", 5),
            ("private-team", "order.shipped", 7),
        ];
        assert_eq!(shown(&taken[1]), rows);
        let usage = taken[1].usage();
        assert_eq!((usage.get(Unit::Delivery), usage.get(Unit::ApiCall), usage.messages()), (1012, 1, 1013));
        assert_eq!(meter.take(), []);
    }

    #[test]
    fn names_that_share_a_slot_are_told_apart() {
        let mut meter = Meter::new(1);
        for _ in 0..3 {
            for (prefix, event) in [("a", "bx"), ("b", "cx"), ("ab", "\nx"), ("a\nb", "x")] {
                meter.count(subject(0, prefix, event), Unit::Delivery, 1);
            }
        }
        let taken = meter.take();
        // A line break stands in no channel's name, so a name with one is no other's.
        assert_eq!(shown(&taken[0])[..2], [("a", "bx", 3), ("b", "cx", 3)]);
        assert_eq!(taken[0].usage().messages(), 12);
        assert_eq!(slot("a", "bx"), slot("b", "cx"));
    }

    #[test]
    fn as_many_rows_as_the_bound_have_their_names_and_all_beyond_are_one() {
        let mut meter = Meter::new(1);
        for number in 0..ROWS_MAX - 1 {
            meter.count(subject(0, "a", &number.to_string()), Unit::Delivery, 1);
            meter.wait(subject(0, &number.to_string(), ""), 7);
        }
        let taken = meter.take().remove(0);
        assert_eq!((taken.rows.len(), taken.waits.len()), (ROWS_MAX - 1, ROWS_MAX - 1));
        assert!(taken.rows.iter().all(|row| &*row.event != OTHER));
        for number in 0..ROWS_MAX + 10 {
            meter.count(subject(0, "a", &number.to_string()), Unit::Delivery, 1);
            meter.wait(subject(0, &number.to_string(), ""), 7);
        }
        let taken = meter.take().remove(0);
        assert_eq!((taken.rows.len(), taken.waits.len()), (ROWS_MAX, ROWS_MAX));
        assert_eq!(shown(&taken)[ROWS_MAX - 1], (OTHER, OTHER, 11));
        let others = taken.waits.iter().find(|(prefix, _)| &**prefix == OTHER).map(|(_, waits)| waits.total());
        assert_eq!(others, Some(11));
    }

    #[test]
    fn a_channels_prefix_is_its_name_up_to_the_first_dot_or_dash_behind_its_kind() {
        for (name, expected) in [
            ("orders", "orders"),
            ("orders.42", "orders"),
            ("room-7.b", "room"),
            ("private-user.42", "private-user"),
            ("private-orders", "private-orders"),
            ("presence-chat-room-7", "presence-chat"),
            ("private-encrypted-cache-a.b", "private-encrypted-cache-a"),
            ("private-cache-news", "private-cache-news"),
            ("cache-a-b", "cache-a"),
            ("private-App.Models.User.42", "private-App.Models.User"),
            ("App.Models.Order-7", "App.Models.Order"),
            ("private-App.Events", "private-App"),
            ("#server-to-user-42", "#server-to-user"),
            ("private-.a", "private-"),
        ] {
            let name = ChannelName::parse(name, 200).unwrap();
            assert_eq!(prefix(&name, &[]), expected, "{name}");
        }
        let listed = ["private-shop.eu.".into(), "private-shop.".into()];
        for (name, expected) in [
            ("private-shop.eu.7", "private-shop.eu."),
            ("private-shop.us.7", "private-shop."),
            ("private-shopping.7", "private-shopping"),
        ] {
            let name = ChannelName::parse(name, 200).unwrap();
            assert_eq!(prefix(&name, &listed), expected, "{name}");
        }
    }

    #[test]
    fn an_event_is_near_the_limit_from_nine_tenths_on_and_the_largest_is_kept_to_be_looked_into() {
        let mut meter = Meter::new(1);
        let mut size = |bytes: usize, may_look| {
            let data = DataLiteral::from_text(&"x".repeat(bytes));
            meter.size(subject(0, "a", "e"), &data, 10_240, may_look);
        };
        [SAMPLE_BYTES_MIN - 1, 9215, 9216, 600].into_iter().for_each(|bytes| size(bytes, true));
        let sizes = meter.take().remove(0).rows.remove(0).sizes.unwrap();
        assert_eq!((sizes.bytes.total(), sizes.near_limit, sizes.largest), (4, 1, 9216));
        assert_eq!(sizes.sample.map(|data| data.decoded_len()), Some(9216));

        let sample = |bytes: usize, may_look| {
            let mut meter = Meter::new(1);
            let data = DataLiteral::from_text(&"x".repeat(bytes));
            meter.size(subject(0, "a", "e"), &data, 1 << 20, may_look);
            meter.take().remove(0).rows.remove(0).sizes.unwrap().sample.is_some()
        };
        assert!(!sample(SAMPLE_BYTES_MIN - 1, true) && sample(SAMPLE_BYTES_MIN, true));
        assert!(sample(SAMPLE_BYTES_MAX, true) && !sample(SAMPLE_BYTES_MAX + 1, true));
        assert!(!sample(SAMPLE_BYTES_MIN, false));
    }

    #[test]
    fn whoever_subscribes_late_has_not_waited() {
        let mut meter = Meter::new(1);
        for millis in [0, 250, WAIT_MILLIS_MAX, WAIT_MILLIS_MAX + 1] {
            meter.wait(subject(0, "private-user", ""), millis);
        }
        let taken = meter.take().remove(0);
        assert_eq!(
            taken.waits.iter().map(|(prefix, waits)| (&**prefix, waits.total())).collect::<Vec<_>>(),
            [("private-user", 3)]
        );
    }

    #[test]
    fn the_largest_counts_stay_the_largest() {
        let mut usage = Usage::of(Unit::Delivery, u64::MAX);
        usage += Usage::of(Unit::Delivery, 1);
        usage.count(Unit::ApiCall, 1);
        assert_eq!((usage.get(Unit::Delivery), usage.messages()), (u64::MAX, u64::MAX));
    }
}
