//! The journal: what is added, written, forgotten and told, with a clock that the test sets.

use std::ops::Range;

use campanile_hub::meter::{API, OTHER, WEBHOOKS};
use campanile_hub::{AppIndex, Meter, Reading, Subject, Unit};
use campanile_protocol::json::DataLiteral;

use super::question::{By, Format, Group};
use super::report::{Report, UsageRow};
use super::store::Store;
use super::*;
use crate::config::default_plans;
use crate::config::limits::{USAGE_QUESTIONS_MAX, USAGE_ROWS_TOLD_MAX};

/// 2026-11-24, 16:00.
const NOW: u64 = 1_795_536_000;
const BOUNDS: Bounds = Bounds { prefixes_max: 100, events_max: 100 };

fn delivered(rows: &[(&str, &str, u64)]) -> Reading {
    let mut meter = Meter::new(1);
    for (prefix, event, count) in rows {
        meter.count(Subject { app: AppIndex(0), prefix, event }, Unit::Delivery, *count);
    }
    meter.take().remove(0)
}

fn published(event: &str, data: &str, limit: usize) -> Reading {
    let mut meter = Meter::new(1);
    let subject = Subject { app: AppIndex(0), prefix: "orders", event };
    meter.count(subject, Unit::ApiCall, 1);
    meter.size(subject, &DataLiteral::from_text(data), limit, true);
    meter.take().remove(0)
}

/// A journal with its file, as the clerk has both.
struct Desk {
    directory: tempfile::TempDir,
    journal: Journal,
    store: Store,
    flush: u64,
}

impl Desk {
    fn new() -> Self {
        Self::at(tempfile::tempdir().unwrap(), NOW)
    }

    fn at(directory: tempfile::TempDir, now: u64) -> Self {
        let (store, opened) = Store::open(directory.path(), now / HOUR_SECS).unwrap();
        let journal = Journal::default();
        journal.unwritten.lock().names.clone_from(&opened.names);
        Self { directory, journal, store, flush: opened.flush }
    }

    /// Another life, in which what was not written is lost.
    fn reborn(self, now: u64) -> Self {
        let Self { directory, store, .. } = self;
        drop(store);
        Self::at(directory, now)
    }

    fn add(&self, reading: Reading, now: u64) {
        self.journal.add("shop", reading, now, BOUNDS);
    }

    fn flush(&mut self) -> Flush {
        self.flush += 1;
        let flush = Flush { id: self.flush, hours: self.journal.take().0 };
        self.store.write(&flush).unwrap();
        flush
    }

    fn report(&mut self, by: By, group: Option<Group>, hours: Range<u64>, now_secs: u64) -> Report {
        self.answer(by, group, hours, now_secs).unwrap()
    }

    fn answer(&mut self, by: By, group: Option<Group>, hours: Range<u64>, now_secs: u64) -> Result<Report, Unanswered> {
        let question = Question {
            app: "shop".into(),
            hours,
            by,
            group,
            format: Format::Json,
            now_secs,
            plans: default_plans(),
            kept_since: 0,
        };
        report::answer(&question, &mut self.store, &self.journal.unwritten("shop"))
    }

    /// Of the hour of `NOW` alone: names and messages.
    fn told(&mut self, group: Group) -> Vec<(String, u64)> {
        let hour = NOW / HOUR_SECS;
        named(&self.report(By::Hour, Some(group), hour..hour + 1, NOW).usage)
    }
}

fn named(rows: &[UsageRow]) -> Vec<(String, u64)> {
    let name = |row: &UsageRow| row.prefix.clone().or(row.event.clone()).or(row.unit.clone()).unwrap_or_default();
    rows.iter().map(|row| (name(row), row.messages)).collect()
}

fn pairs(rows: &[(&str, u64)]) -> Vec<(String, u64)> {
    rows.iter().map(|(name, messages)| ((*name).to_owned(), *messages)).collect()
}

#[test]
fn what_was_used_is_told_by_prefix_and_by_event_before_it_is_written_and_after() {
    let mut desk = Desk::new();
    desk.add(delivered(&[("orders", "shipped", 10), ("orders", "paid", 5), ("private-user", "shipped", 3)]), NOW);
    desk.add(Reading::of_webhooks(AppIndex(0), 2), NOW);
    let prefixes = pairs(&[(WEBHOOKS, 2), ("orders", 15), ("private-user", 3)]);
    let events = pairs(&[(WEBHOOKS, 2), ("paid", 5), ("shipped", 13)]);
    let units = pairs(&[("deliveries", 18), ("webhook_calls", 2)]);
    for _ in 0..2 {
        assert_eq!(desk.told(Group::Prefix), prefixes);
        assert_eq!(desk.told(Group::Event), events);
        assert_eq!(desk.told(Group::Unit), units);
        desk.flush();
    }
    // Half of it is written, half is not.
    desk.add(delivered(&[("orders", "shipped", 1)]), NOW);
    assert_eq!(desk.told(Group::Prefix), pairs(&[(WEBHOOKS, 2), ("orders", 16), ("private-user", 3)]));
    let hour = NOW / HOUR_SECS;
    let all = desk.report(By::Hour, None, hour..hour + 1, NOW);
    assert_eq!(all.usage.len(), 1);
    assert_eq!((all.usage[0].messages, all.usage[0].counts.unwrap().deliveries), (21, 19));
    assert_eq!(all.month.messages, 21, "what is asked in one way adds up to what is asked in another");
    let nobody = desk.journal.unwritten("other");
    assert_eq!(nobody, []);
}

#[test]
fn a_flush_that_is_tried_again_is_there_once() {
    let mut desk = Desk::new();
    desk.add(delivered(&[("orders", "shipped", 10)]), NOW);
    let flush = desk.flush();
    desk.store.write(&flush).unwrap();
    assert_eq!(desk.told(Group::Event), pairs(&[("shipped", 10)]));
    assert_eq!(desk.store.last_flush().unwrap(), flush.id);
    let mut desk = desk.reborn(NOW);
    assert_eq!(desk.flush, flush.id);
    desk.store.write(&flush).unwrap();
    assert_eq!(desk.told(Group::Event), pairs(&[("shipped", 10)]));
}

#[test]
fn another_life_goes_on_from_what_was_written_with_the_names_that_have_rows() {
    let mut desk = Desk::new();
    desk.add(delivered(&[("a", "x", 1), ("b", "y", 2)]), NOW);
    desk.journal.peak("shop", 7, NOW);
    desk.flush();
    desk.add(delivered(&[("c", "z", 3)]), NOW);
    let mut desk = desk.reborn(NOW + 60);
    assert_eq!(desk.told(Group::Prefix), pairs(&[("a", 1), ("b", 2)]));
    let few = Bounds { prefixes_max: 2, events_max: 3 };
    desk.journal.add("shop", delivered(&[("c", "z", 3), ("a", "y", 4), ("b", "v", 5)]), NOW + 60, few);
    desk.flush();
    assert_eq!(desk.told(Group::Prefix), pairs(&[(OTHER, 3), ("a", 5), ("b", 7)]));
    assert_eq!(desk.told(Group::Event), pairs(&[(OTHER, 5), ("x", 1), ("y", 6), ("z", 3)]));
    desk.journal.peak("shop", 7, NOW + 60);
    assert!(desk.journal.take().0.is_empty(), "a peak that is known is not written again");
}

#[test]
fn names_at_the_bound_have_rows_and_one_past_it_is_counted_with_all_others() {
    let mut desk = Desk::new();
    let few = Bounds { prefixes_max: 2, events_max: 2 };
    for (prefix, event) in [("a", "x"), ("b", "y"), ("c", "x"), ("a", "z"), ("c", "z"), (API, API)] {
        desk.journal.add("shop", delivered(&[(prefix, event, 1)]), NOW, few);
    }
    assert_eq!(desk.told(Group::Prefix), pairs(&[(API, 1), (OTHER, 2), ("a", 2), ("b", 1)]));
    assert_eq!(desk.told(Group::Event), pairs(&[(API, 1), (OTHER, 2), ("x", 2), ("y", 1)]));
    desk.journal.add("shop", delivered(&[("c", "z", 1)]), NOW + HOUR_SECS, few);
    let next = NOW / HOUR_SECS + 1;
    let report = desk.report(By::Hour, Some(Group::Prefix), next..next + 1, NOW + HOUR_SECS);
    assert_eq!(named(&report.usage), pairs(&[("c", 1)]), "a new hour begins with no names");
}

#[test]
fn hours_add_up_to_days_and_months_and_a_month_turns_with_its_last_second() {
    let mut desk = Desk::new();
    let end = crate::calendar::end_of_month(NOW);
    for (now, messages, peak) in [(NOW, 1, 5), (NOW + HOUR_SECS, 2, 3), (end - 1, 4, 4), (end, 8, 2)] {
        desk.add(delivered(&[("a", "x", messages)]), now);
        desk.journal.peak("shop", peak, now);
        desk.flush();
    }
    let all = By::Month.start(NOW / HOUR_SECS)..end / HOUR_SECS + 1;
    let shown = |desk: &mut Desk, by: By| -> Vec<(String, u64, Option<u64>)> {
        let report = desk.report(by, None, all.clone(), end);
        report.usage.into_iter().map(|row| (row.period, row.messages, row.peak_connections)).collect()
    };
    let expected = |rows: &[(&str, u64, u64)]| -> Vec<(String, u64, Option<u64>)> {
        rows.iter().map(|(period, messages, peak)| ((*period).to_owned(), *messages, Some(*peak))).collect()
    };
    let hours = [
        ("2026-11-24T16:00:00Z", 1, 5),
        ("2026-11-24T17:00:00Z", 2, 3),
        ("2026-11-30T23:00:00Z", 4, 4),
        ("2026-12-01T00:00:00Z", 8, 2),
    ];
    assert_eq!(shown(&mut desk, By::Hour), expected(&hours));
    let days = [("2026-11-24", 3, 5), ("2026-11-30", 4, 4), ("2026-12-01", 8, 2)];
    assert_eq!(shown(&mut desk, By::Day), expected(&days));
    assert_eq!(shown(&mut desk, By::Month), expected(&[("2026-11", 7, 5), ("2026-12", 8, 2)]));
    // What a month costs begins anew.
    let bill = |desk: &mut Desk, now| desk.report(By::Month, None, 0..1, now).month;
    let november = bill(&mut desk, end - 1);
    assert_eq!((november.month.as_str(), november.messages, november.peak_connections), ("2026-11", 7, 5));
    let december = bill(&mut desk, end);
    assert_eq!((december.month.as_str(), december.messages, december.peak_connections), ("2026-12", 8, 2));
}

#[test]
fn connections_are_told_by_their_peak_even_in_an_hour_without_a_message() {
    let mut desk = Desk::new();
    [3, 9, 4].into_iter().for_each(|peak| desk.journal.peak("shop", peak, NOW));
    let hour = NOW / HOUR_SECS;
    for _ in 0..2 {
        let usage = desk.report(By::Hour, None, hour..hour + 1, NOW).usage;
        assert_eq!(usage.iter().map(|row| (row.messages, row.peak_connections)).collect::<Vec<_>>(), [(0, Some(9))]);
        desk.flush();
    }
}

#[test]
fn sizes_are_told_with_what_the_largest_consists_of_and_no_value_of_it() {
    let mut desk = Desk::new();
    for note in [600, 5000, 700] {
        let data = format!(r#"{{"id":7,"order":{{"note":"{}"}}}}"#, "n".repeat(note));
        desk.add(published("shipped", &data, 5100), NOW);
    }
    let hour = NOW / HOUR_SECS;
    for _ in 0..2 {
        let report = desk.report(By::Hour, Some(Group::Event), hour..hour + 1, NOW);
        let [payload] = &report.payloads[..] else { panic!("{:?}", report.payloads) };
        let largest = 5000 + r#"{"id":7,"order":{"note":""}}"#.len() as u64;
        assert_eq!((payload.events, payload.largest_bytes, payload.near_limit), (3, largest, 1));
        assert!((payload.near_limit_percent - 33.3).abs() < f64::EPSILON);
        assert!(payload.p50_bytes >= 728 && payload.p50_bytes < 1024, "{payload:?}");
        assert_eq!(payload.p99_bytes, largest, "no percentile is above the largest");
        assert_eq!(payload.looked_into_bytes, Some(largest));
        let fields: Vec<(&str, u64)> =
            payload.largest_fields.iter().map(|field| (field.path.as_str(), field.bytes)).collect();
        assert_eq!(fields, [("/order/note", 5002), ("/id", 1)]);
        assert!(!serde_json::to_string(&report).unwrap().contains("nnn"));
        desk.flush();
    }
    // A smaller one of another life takes no larger one's place.
    let mut desk = desk.reborn(NOW);
    desk.add(published("shipped", &format!(r#"{{"small":"{}"}}"#, "s".repeat(800)), 5100), NOW);
    desk.flush();
    let report = desk.report(By::Hour, Some(Group::Event), hour..hour + 1, NOW);
    assert_eq!((report.payloads[0].events, report.payloads[0].largest_fields[0].bytes), (4, 5002));
}

#[test]
fn as_many_events_wait_to_be_looked_into_as_the_bound_and_no_more() {
    let mut desk = Desk::new();
    let data = format!(r#"{{"note":"{}"}}"#, "n".repeat(600));
    for number in 0..=USAGE_SAMPLES_MAX {
        desk.add(published(&format!("e{number:03}"), &data, 10_240), NOW);
    }
    let looked = |desk: &mut Desk| {
        let hour = NOW / HOUR_SECS;
        let report = desk.report(By::Hour, Some(Group::Event), hour..hour + 1, NOW);
        report.payloads.iter().filter(|payload| payload.looked_into_bytes.is_some()).count()
    };
    assert_eq!(looked(&mut desk), USAGE_SAMPLES_MAX);
    desk.flush();
    // Then there is room again, for the one that found none.
    desk.add(published(&format!("e{USAGE_SAMPLES_MAX:03}"), &data, 10_240), NOW);
    desk.flush();
    assert_eq!(looked(&mut desk), USAGE_SAMPLES_MAX + 1);
}

#[test]
fn waits_are_told_by_prefix() {
    let mut desk = Desk::new();
    for _ in 0..2 {
        let mut meter = Meter::new(1);
        for millis in [100, 120, 110, 4000] {
            meter.wait(Subject { app: AppIndex(0), prefix: "private-user", event: "" }, millis);
        }
        desk.add(meter.take().remove(0), NOW);
        desk.flush();
    }
    let hour = NOW / HOUR_SECS;
    let report = desk.report(By::Hour, Some(Group::Prefix), hour..hour + 1, NOW);
    let [waits] = &report.authorizations[..] else { panic!("{:?}", report.authorizations) };
    assert_eq!((waits.prefix.as_str(), waits.subscriptions), ("private-user", 8));
    assert!((110..=140).contains(&waits.p50_ms) && (4000..=5000).contains(&waits.p99_ms), "{waits:?}");
    assert_eq!(report.usage, [], "nobody has used anything");
}

#[test]
fn hours_that_are_too_old_are_forgotten_and_the_first_that_is_not_is_kept() {
    let mut desk = Desk::new();
    let hour = NOW / HOUR_SECS;
    for back in 0..3 {
        desk.add(delivered(&[("a", "x", 1), ("b", "x", 1)]), NOW - back * HOUR_SECS);
        desk.add(published("y", &"d".repeat(600), 10_240), NOW - back * HOUR_SECS);
        desk.flush();
    }
    assert_eq!(desk.store.forget_before(hour - 1).unwrap(), 3);
    let report = desk.report(By::Hour, Some(Group::Event), hour - 2..hour + 1, NOW);
    let periods: std::collections::BTreeSet<&str> = report.usage.iter().map(|row| row.period.as_str()).collect();
    assert_eq!(periods.into_iter().collect::<Vec<_>>(), ["2026-11-24T15:00:00Z", "2026-11-24T16:00:00Z"]);
    assert_eq!(report.payloads[0].events, 2);
    assert_eq!(desk.store.forget_before(hour - 1).unwrap(), 0);
}

#[test]
fn an_answer_has_as_many_rows_as_the_bound_and_one_more_is_refused() {
    let mut desk = Desk::new();
    let many = Bounds { prefixes_max: 10, events_max: usize::MAX };
    let (mut left, mut hour) = (USAGE_ROWS_TOLD_MAX, 0);
    while left > 0 {
        let rows: Vec<String> = (0..left.min(900)).map(|number| number.to_string()).collect();
        let rows: Vec<(&str, &str, u64)> = rows.iter().map(|event| ("a", event.as_str(), 1)).collect();
        desk.journal.add("shop", delivered(&rows), hour * HOUR_SECS, many);
        (left, hour) = (left - rows.len(), hour + 1);
    }
    let told = desk.answer(By::Hour, Some(Group::Event), 0..hour, NOW).unwrap();
    assert_eq!(told.usage.len(), USAGE_ROWS_TOLD_MAX);
    desk.journal.add("shop", delivered(&[("a", "one more", 1)]), (hour - 1) * HOUR_SECS, many);
    let refused = desk.answer(By::Hour, Some(Group::Event), 0..hour, NOW).unwrap_err();
    assert_eq!(refused, Unanswered::TooManyRows { most: USAGE_ROWS_TOLD_MAX });
    assert!(desk.answer(By::Day, Some(Group::Event), 0..hour, NOW).is_ok());
}

#[test]
fn so_many_rows_are_added_up_as_may_be_and_no_more() {
    let mut desk = Desk::new();
    desk.add(delivered(&[("a", "x", 1), ("b", "x", 1), ("c", "x", 1)]), NOW);
    desk.flush();
    struct Rows(usize);
    impl store::Reader for Rows {
        fn row(&mut self, _: u64, _: &str, _: &str, _: Usage) {
            self.0 += 1;
        }
    }
    let hour = NOW / HOUR_SECS;
    for (most, has_all, seen) in [(3, true, 3), (2, false, 2)] {
        let mut rows = Rows(0);
        assert_eq!(desk.store.rows("shop", hour..hour + 1, most, &mut rows).unwrap(), has_all);
        assert_eq!(rows.0, seen);
    }
}

#[test]
fn a_disk_that_takes_nothing_costs_the_oldest_hours_past_the_bound_and_is_told_of() {
    let desk = Desk::new();
    for hour in 0..=USAGE_HOURS_UNWRITTEN_MAX as u64 {
        desk.add(delivered(&[("a", "x", 1)]), hour * HOUR_SECS);
        let kept = desk.journal.unwritten("shop");
        assert_eq!(kept.len() as u64, (hour + 1).min(USAGE_HOURS_UNWRITTEN_MAX as u64));
    }
    let (hours, forgotten) = desk.journal.take();
    assert_eq!((hours.len(), forgotten), (USAGE_HOURS_UNWRITTEN_MAX, 1));
    assert!(!hours.contains_key(&("shop".into(), 0)));
}

#[test]
fn as_many_questions_wait_as_may_and_one_more_is_told_to_come_again() {
    let (clerk, inbox) = std::sync::mpsc::sync_channel(USAGE_QUESTIONS_MAX);
    let desk = Desk::new();
    let question = || Question {
        app: "shop".into(),
        hours: 0..1,
        by: By::Hour,
        group: None,
        format: Format::Json,
        now_secs: NOW,
        plans: Vec::new(),
        kept_since: 0,
    };
    assert_eq!(desk.journal.ask(question()).unwrap_err(), Busy, "nobody is there yet");
    desk.journal.resume(&Opened::default(), clerk);
    let waiting: Vec<_> = (0..USAGE_QUESTIONS_MAX).map(|_| desk.journal.ask(question()).unwrap()).collect();
    assert_eq!(desk.journal.ask(question()).unwrap_err(), Busy);
    assert!(inbox.try_recv().is_ok());
    assert!(desk.journal.ask(question()).is_ok());
    drop(waiting);
}

#[test]
fn a_csv_has_a_line_of_names_and_quotes_what_would_end_a_cell() {
    let mut desk = Desk::new();
    desk.add(delivered(&[("orders", "a,\"b\"", 3), ("private-user", "=1", 2)]), NOW);
    desk.journal.peak("shop", 4, NOW);
    let hour = NOW / HOUR_SECS;
    let mut csv = |group| desk.report(By::Day, group, hour..hour + 1, NOW).to_csv();
    assert_eq!(
        csv(Some(Group::Event)),
        "period,event,messages,api_calls,client_events,deliveries,presence_deliveries,webhook_calls\r\n\
         2026-11-24,'=1,2,0,0,2,0,0\r\n\
         2026-11-24,\"a,\"\"b\"\"\",3,0,0,3,0,0\r\n"
    );
    assert_eq!(
        csv(None),
        "period,messages,api_calls,client_events,deliveries,presence_deliveries,webhook_calls,peak_connections\r\n\
         2026-11-24,5,0,0,5,0,0,4\r\n"
    );
    assert_eq!(csv(Some(Group::Unit)), "period,unit,messages\r\n2026-11-24,deliveries,5\r\n");
}

#[test]
fn a_file_that_is_no_journal_stops_the_start_and_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join(store::FILE), "no journal").unwrap();
    let refused = Store::open(directory.path(), 0).unwrap_err().to_string();
    assert!(refused.contains("usage.redb") && refused.contains("move it away"), "{refused}");
}

/// What a query means.
mod asked {
    use super::*;
    use crate::config::Config;

    fn read(parameters: &[(&str, &str)]) -> Result<Question, question::Unasked> {
        let config = Config::load(None, std::iter::empty()).unwrap();
        Question::read(&"shop".into(), parameters.iter().copied(), &config, NOW + 59)
    }

    fn hours(parameters: &[(&str, &str)]) -> (String, String) {
        let question = read(parameters).unwrap();
        (By::Hour.label(question.hours.start), By::Hour.label(question.hours.end - 1))
    }

    fn from_to(from: &str, to: &str) -> (String, String) {
        (format!("{from}:00:00Z"), format!("{to}:00:00Z"))
    }

    #[test]
    fn without_words_it_is_the_last_day_and_each_step_of_time_has_its_own_past() {
        assert_eq!(hours(&[]), from_to("2026-11-23T17", "2026-11-24T16"));
        assert_eq!(hours(&[("by", "day")]), from_to("2026-10-26T00", "2026-11-24T23"));
        assert_eq!(hours(&[("by", "month")]), from_to("2025-12-01T00", "2026-11-30T23"));
        let question = read(&[]).unwrap();
        assert_eq!((question.by, question.group, question.format), (By::Hour, None, Format::Json));
        assert_eq!(question.kept_since, NOW / HOUR_SECS - 1488);
        let parameters = [("group", "event"), ("format", "csv"), ("from", "")];
        let question = read(&parameters).unwrap();
        assert_eq!((question.group, question.format), (Some(Group::Event), Format::Csv));
    }

    #[test]
    fn from_and_to_name_an_hour_a_day_or_a_month_and_are_part_of_it() {
        for (from, to, first, last) in [
            ("2026-11-24T16", "2026-11-24T16", "2026-11-24T16", "2026-11-24T16"),
            ("2026-11-24T15:00Z", "2026-11-24T16:00:00Z", "2026-11-24T15", "2026-11-24T16"),
            ("2026-11-23", "2026-11-23", "2026-11-23T00", "2026-11-23T23"),
            ("2026-11", "2026-11", "2026-11-01T00", "2026-11-30T23"),
            ("2024-02", "2024-02-29", "2024-02-01T00", "2024-02-29T23"),
        ] {
            assert_eq!(hours(&[("from", from), ("to", to)]), from_to(first, last), "{from} {to}");
        }
        // Whole steps are told.
        let days = hours(&[("from", "2026-11-23T15"), ("to", "2026-11-24T16"), ("by", "day")]);
        assert_eq!(days, from_to("2026-11-23T00", "2026-11-24T23"));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_can() {
        for (name, value, told) in [
            ("by", "week", "by must be hour, day or month, not \"week\""),
            ("group", "Event", "group must be prefix, event or unit, not \"Event\""),
            ("format", "xml", "format must be json or csv, not \"xml\""),
            ("since", "x", "\"since\" is unknown; what can be asked with is from, to, by, group and format"),
        ] {
            assert_eq!(read(&[(name, value)]).unwrap_err().to_string(), told);
        }
        for value in [
            "yesterday",
            "2026",
            "2026-13",
            "2026-02-30",
            "2026-11-24T24",
            "2026-11-24T16:30",
            "2026-11T16",
            "26-11-24",
            "2026-1-1",
            "2026-11-24T",
            "2026-11-24 16",
            "1969-12-31",
            "2026-11-24T16+01:00",
        ] {
            let refused = read(&[("to", value)]).unwrap_err();
            assert_eq!(refused.parameter(), "to");
            let told = refused.to_string();
            assert!(told.starts_with("to must name an hour, a day or a month of UTC, as in 2026-11-24T16"), "{told}");
        }
        let refused = read(&[("from", "2026-11-25"), ("to", "2026-11-24")]).unwrap_err();
        assert_eq!(refused.to_string(), "from (2026-11-25) is later than to (2026-11-24)");
        let refused = read(&[("from", "2026-12")]).unwrap_err();
        assert_eq!(refused.to_string(), "from (2026-12) is later than to (2026-11-24T16:00:00Z)");
    }
}
