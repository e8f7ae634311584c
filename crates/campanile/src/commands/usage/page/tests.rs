//! The page: what it looks like, and that nothing is wider than a terminal.

use super::*;
use crate::bill::{Cost, Day};
use crate::journal::fields::FieldSize;
use crate::journal::question::By;
use crate::journal::report::UnitCounts;

fn bill() -> Bill {
    let plan = |plan: &str, price_cents, messages, per: &str, connections, exceeds: &[&str]| PlanFit {
        plan: plan.to_owned(),
        price_cents,
        currency: "USD".to_owned(),
        messages,
        per: per.to_owned(),
        connections,
        fits: exceeds.is_empty(),
        exceeds: exceeds.iter().map(|what| (*what).to_owned()).collect(),
    };
    Bill {
        month: "2026-11".to_owned(),
        messages: 1_450_000,
        projected_messages: 1_890_000,
        counted_since: Some("2026-11-01T00:00:00Z".to_owned()),
        largest_day: Some(Day { day: "2026-11-03".to_owned(), messages: 220_000 }),
        peak_connections: 340,
        would_cost: Some(Cost { plan: "Startup".to_owned(), price_cents: 4900, currency: "USD".to_owned() }),
        plans: vec![
            plan("Sandbox", 0, 200_000, "day", 100, &["messages", "connections"]),
            plan("Startup", 4900, 3_000_000, "month", 500, &[]),
        ],
        explanation:
            "2026-11 had 1,450,000 messages so far. If it goes on as since 2026-11-01T00:00:00Z, it will have \
                      1,890,000 at its end, with at most 340 connections at once: the plan Startup for USD 49 a month."
                .to_owned(),
    }
}

fn report(group: Option<Group>, usage: Vec<UsageRow>) -> Report {
    Report {
        app: "shop".to_owned(),
        from: "2026-11-24T12:00:00Z".to_owned(),
        to: "2026-11-24T17:00:00Z".to_owned(),
        by: By::Hour,
        group,
        kept_since: String::new(),
        usage,
        payloads: Vec::new(),
        authorizations: Vec::new(),
        month: bill(),
    }
}

fn row(hour: u64, messages: u64, peak: u64) -> UsageRow {
    UsageRow {
        period: format!("2026-11-24T{hour}:00:00Z"),
        messages,
        counts: Some(UnitCounts::default()),
        peak_connections: Some(peak),
        ..UsageRow::default()
    }
}

fn event(name: &str, messages: u64) -> UsageRow {
    UsageRow { messages, event: Some(name.to_owned()), ..UsageRow::default() }
}

fn over_time() -> Report {
    report(None, vec![row(14, 40_000, 120), row(15, 1, 1), row(17, 10_000, 340)])
}

#[test]
fn a_page_shows_when_for_what_and_what_it_would_cost() {
    let mut page = Page::new("127.0.0.1:6001", &over_time(), false);
    let unit = |name: &str, messages| UsageRow { messages, unit: Some(name.to_owned()), ..UsageRow::default() };
    page.add(&report(Some(Group::Unit), vec![unit("deliveries", 45_001), unit("api_calls", 5000)]), 8);
    let mut events =
        report(Some(Group::Event), vec![event("order.shipped", 49_000), event("(api)", 1), event("tick", 1000)]);
    events.payloads.push(Payload {
        event: "order.shipped".to_owned(),
        events: 5000,
        p50_bytes: 1300,
        p99_bytes: 8100,
        largest_bytes: 9800,
        near_limit: 20,
        near_limit_percent: 0.4,
        looked_into_bytes: Some(9800),
        largest_fields: vec![FieldSize { path: "/order/items/*/description".to_owned(), bytes: 7000 }],
    });
    page.add(&events, 2);
    let prefix = UsageRow { messages: 50_001, prefix: Some("private-user".to_owned()), ..UsageRow::default() };
    let mut prefixes = report(Some(Group::Prefix), vec![prefix]);
    let authorization =
        Authorization { prefix: "private-user".to_owned(), subscriptions: 900, p50_ms: 120, p99_ms: 12_345 };
    prefixes.authorizations.push(authorization);
    page.add(&prefixes, 8);
    let expected = "\
Usage of app shop at 127.0.0.1:6001, 11-24 12:00 to 11-24 17:00 UTC

hour                                                     messages   connections
11-24 12:00 to 11-24 13:00: nothing
11-24 14:00  ████████████████████████████████████          40,000           120
11-24 15:00  ▏                                                  1             1
11-24 16:00                                                     0             0
11-24 17:00  █████████                                     10,000           340
all                                                        50,001           340

unit                                     messages
deliveries                                 45,001   90.0 % █████████▏
api calls                                   5,000   10.0 % █

event                             messages    median     99 %  largest    near
order.shipped                       49,000   1.3 KiB  7.9 KiB  9.6 KiB   0.4 %
    /order/items/*/description of 6.8 KiB
tick                                 1,000
and 1 more; --group event has them

Sizes are of the data. Near: with nine tenths of what it may have, or more.

channel prefix                         messages   subscribed    median      99 %
private-user                             50,001          900    120 ms    12.3 s

Times are from connecting to subscribing: the application's authorization.

2026-11 would cost
  Sandbox               USD 0  200,000 messages a day, 100 connections
    too few messages and connections
→ Startup              USD 49  3,000,000 messages a month, 500 connections

2026-11 had 1,450,000 messages so far. If it goes on as since
2026-11-01T00:00:00Z, it will have 1,890,000 at its end, with at most 340
connections at once: the plan Startup for USD 49 a month.
";
    let shown = page.finish();
    assert_eq!(shown, expected, "\n{shown}");
    assert!(shown.lines().all(|line| line.chars().count() <= COLUMNS));
}

#[test]
fn ends_at_which_nothing_was_used_are_one_line_each() {
    let over = |usage: Vec<UsageRow>| {
        let shown = Page::new("a", &report(None, usage), false).finish();
        let lines: Vec<String> = shown.lines().skip(3).take_while(|line| !line.starts_with("all")).map(short).collect();
        fn short(line: &str) -> String {
            line.split_once("  ").map_or(line, |(step, _)| step).to_owned()
        }
        lines
    };
    let all_idle = ["11-24 12:00 to 11-24 17:00: nothing"];
    assert_eq!(over(Vec::new()), all_idle);
    let middle = ["11-24 12:00 to 11-24 13:00: nothing", "11-24 14:00", "11-24 15:00 to 11-24 17:00: nothing"];
    assert_eq!(over(vec![row(14, 1, 1)]), middle);
    let first = ["11-24 12:00", "11-24 13:00 to 11-24 17:00: nothing"];
    assert_eq!(over(vec![row(12, 1, 1)]), first);
    let next_to_last = ["11-24 12:00 to 11-24 15:00: nothing", "11-24 16:00", "11-24 17:00: nothing"];
    assert_eq!(over(vec![row(16, 1, 1)]), next_to_last);
}

#[test]
fn nothing_is_wider_than_a_terminal_however_large_and_long() {
    let mut usage = over_time();
    usage.usage[0].messages = 99_999_999_999;
    usage.usage[0].peak_connections = Some(1_000_000_000);
    let mut page = Page::new("[2001:db8::1234]:65535", &usage, false);
    let long = "x".repeat(200);
    let mut events = report(Some(Group::Event), vec![event(&long, 99_999_999_999)]);
    events.payloads.push(Payload {
        event: long.clone(),
        p50_bytes: 1 << 20,
        p99_bytes: 1 << 20,
        largest_bytes: 1 << 20,
        near_limit_percent: 100.0,
        largest_fields: vec![FieldSize { path: format!("/{long}"), bytes: 1 << 20 }],
        ..Payload::default()
    });
    page.add(&events, 8);
    for line in page.finish().lines().skip(1) {
        assert!(line.chars().count() <= COLUMNS, "{} columns: {line}", line.chars().count());
    }
}

#[test]
fn what_others_have_named_cannot_move_the_cursor() {
    let mut page = Page::new("127.0.0.1:6001", &over_time(), false);
    page.add(&report(Some(Group::Event), vec![event("\u{1b}[2Jx\u{202e}\n", 1)]), 8);
    let shown = page.finish();
    assert!(!shown.contains(['\u{1b}', '\u{202e}']), "{shown:?}");
}

#[test]
fn colours_are_there_only_where_they_are_wanted() {
    let page = |has_colours| Page::new("127.0.0.1:6001", &over_time(), has_colours).finish();
    assert!(page(true).contains('\u{1b}') && !page(false).contains('\u{1b}'));
}

#[test]
fn a_bar_is_as_long_as_its_part_and_never_nothing_for_something() {
    for (part, whole, expected) in [
        (0, 10, ""),
        (10, 10, "████"),
        (5, 10, "██"),
        (1, 1_000_000, "▏"),
        (11, 10, "████"),
        (3, 0, ""),
        (9, 16, "██▎"),
    ] {
        assert_eq!(bar(part, whole, 4), expected, "{part} of {whole}");
    }
    assert_eq!(bar(u64::MAX, u64::MAX, 4), "████");
}

#[test]
fn as_many_steps_are_shown_as_fit_and_the_first_are_told_of() {
    let mut usage = over_time();
    usage.from = "2026-11-22T04:00:00Z".to_owned();
    usage.to = "2026-11-24T17:00:00Z".to_owned();
    assert_eq!(steps(&usage).len(), STEPS_MAX);
    assert!(!Page::new("a", &usage, false).finish().contains("not shown"));
    usage.from = "2026-11-22T03:00:00Z".to_owned();
    let shown = Page::new("a", &usage, false).finish();
    assert!(shown.contains("the first 1 hours are not shown; --csv has them"), "{shown}");
}
