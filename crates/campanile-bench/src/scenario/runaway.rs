//! A publisher loops: the same event again and again, as fast as it can. What that costs everybody else.
//!
//! The event is Laravel's for a notification, which the server tells apart by its id unless that is switched off, so it
//! needs no rule of its own. One must be delivered and the rest counted, the others must hardly notice, and somebody must
//! be told while it goes on.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use campanile_protocol::signature::sign_request;
use memchr::memmem;
use serde_json::Value;

use super::tolerance::Tolerance;
use super::unicast::publish;
use super::{Numbers, Pace, own_channel, progress, rest, until, user_channel};
use crate::cli::LoopArgs;
use crate::cost::Meter;
use crate::fleet::Met;
use crate::judge::Judge;
use crate::load::Load;
use crate::report::{Report, number};
use crate::target::Target;

const EVENT: &str = r"Illuminate\\Notifications\\Events\\BroadcastNotificationCreated";
/// Part of the event's data and of nothing else.
const MARK: &[u8] = b"Runaway";
/// How much longer than without the loop the others may wait: so many times, or so much.
const TOLERANCE: Tolerance = Tolerance { times: 1.5, us: 1_000.0 };
/// Until when somebody must have been told.
const ALERT_WITHIN: Duration = Duration::from_secs(2);
/// Connections that the loop leaves to those who publish to the others.
const RESERVED: usize = 8;
const ASK_EVERY: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn run(args: &LoopArgs, target: Target) -> io::Result<Report> {
    let before = Counts::of(&target)?;
    let mut load = Load::new(target, args.publishers + RESERVED)?;
    load.stay_alive();
    // The last one listens to what the loop publishes.
    let listener = args.users;
    let mut stage = Stage {
        judge: Judge::new(args.users + 1, &load),
        numbers: Numbers::new(args.users + 1, &load),
        load,
        heard: 0,
        listener,
        expected: 0,
    };
    let Stage { load, judge, .. } = &mut stage;
    load.connect_all(0..listener + 1, own_channel, &mut |_, client, what| judge.met(client, what))?;
    rest(load, judge, Duration::from_secs(1))?;
    let alone = stage.calm(args)?;
    let watch = Watch::begin(stage.load.target.address, before.alerts)?;
    let began = Instant::now();
    let meter = Meter::start(stage.load.target.process)?;
    let beside = stage.beside(args)?;
    let (cost, took) = (meter.stop()?, began.elapsed());
    let told = watch.end()?;
    let after = Counts::of(&stage.load.target)?;

    let mut report = Report::default();
    let duplicates = after.duplicates - before.duplicates;
    report.add_cost(cost, args.events);
    report.add("looped", "events", args.events as f64);
    report.add("looped_rate", "per second", args.events as f64 / took.as_secs_f64());
    report.add("alone_p50", "us", alone.0);
    report.add("alone_p99", "us", alone.1);
    report.add("beside_p50", "us", beside.0);
    report.add("beside_p99", "us", beside.1);
    let (ratio, excess) = (beside.1 / alone.1.max(1.0), beside.1 - alone.1);
    report.add("p99_ratio", "times", ratio);
    if let Some(told) = told {
        report.add("alert", "ms after the first event", (told - began).as_secs_f64() * 1e3);
    }
    let heard = stage.heard;
    report.judge(heard == 1, format!("{heard} of {} identical events delivered (exactly 1)", args.events));
    report
        .judge(duplicates == args.events - 1, format!("{duplicates} duplicates counted (exactly {})", args.events - 1));
    report.judge(
        TOLERANCE.allows(ratio, excess),
        format!(
            "the others' p99 is {} times what it is without the loop, {} us more (at most {} times or {} us)",
            number(ratio),
            number(excess),
            TOLERANCE.times,
            TOLERANCE.us
        ),
    );
    let in_time = told.is_some_and(|told| told - began <= ALERT_WITHIN);
    report.judge(in_time, format!("an alert within {} s", ALERT_WITHIN.as_secs()));
    report.fail_on(&stage.judge.books, stage.expected);
    Ok(report)
}

struct Stage {
    load: Load,
    judge: Judge,
    numbers: Numbers,
    listener: usize,
    /// Events of the loop that were delivered.
    heard: u64,
    /// Deliveries to the others.
    expected: u64,
}

impl Stage {
    /// Publishes to the others at their rate, and nothing else: p50 and p99.
    fn calm(&mut self, args: &LoopArgs) -> io::Result<(f64, f64)> {
        self.judge.books.restart_latency();
        let mut pace = Pace::per_second(args.per_second);
        for published in 0..u64::from(args.per_second) * args.seconds {
            pace.wait(&mut self.load, &mut self.judge)?;
            self.publish(published, args)?;
        }
        self.latencies()
    }

    /// The same while the loop runs.
    fn beside(&mut self, args: &LoopArgs) -> io::Result<(f64, f64)> {
        self.judge.books.restart_latency();
        let every = Duration::from_secs(1) / args.per_second;
        let (mut due, mut published, mut looped) = (Instant::now(), 0, 0);
        let body = body(self.listener);
        let answered = self.load.publishers.answered;
        while looped < args.events {
            if Instant::now() >= due && self.load.publishers.idle() > 0 {
                due += every;
                self.publish(published, args)?;
                published += 1;
            }
            while looped < args.events && self.load.publishers.idle() > RESERVED {
                self.load.post("events", &body)?;
                looped += 1;
            }
            let wait = due.saturating_duration_since(Instant::now());
            self.step(wait.max(Duration::from_micros(50)))?;
            if looped.is_multiple_of(1000) {
                progress("looped", looped, args.events);
            }
        }
        let deadline = Instant::now() + PATIENCE;
        while self.load.publishers.answered < answered + looped + published && Instant::now() < deadline {
            self.step(Duration::from_millis(10))?;
        }
        self.latencies()
    }

    /// To one of the others.
    fn publish(&mut self, number: u64, args: &LoopArgs) -> io::Result<()> {
        let user = usize::try_from(number * 7919).unwrap_or(0) % args.users;
        let stamp = self.numbers.stamp(user, &self.load)?;
        self.expected += 1;
        publish(&mut self.load, &[(user, stamp)], args.bytes)
    }

    fn step(&mut self, timeout: Duration) -> io::Result<()> {
        let Self { load, judge, heard, listener, .. } = self;
        load.step(timeout, &mut |client, what| match what {
            Met::Frame(frame) if client == *listener && memmem::find(frame, MARK).is_some() => *heard += 1,
            what => judge.met(client, what),
        })
    }

    fn latencies(&mut self) -> io::Result<(f64, f64)> {
        let expected = self.expected;
        until(&mut self.load, &mut self.judge, |_, judge| judge.books.delivered >= expected)?;
        Ok((self.judge.books.latency_us(0.5), self.judge.books.latency_us(0.99)))
    }
}

fn body(listener: usize) -> String {
    let id = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    format!(
        r#"{{"name":"{EVENT}","channel":"{}","data":"{{\"id\":\"{id}\",\"type\":\"App\\\\Notifications\\\\Runaway\"}}"}}"#,
        user_channel(listener)
    )
}

/// What the server has counted.
#[derive(Clone, Copy, Debug)]
struct Counts {
    duplicates: u64,
    alerts: u64,
}

impl Counts {
    fn of(target: &Target) -> io::Result<Self> {
        let path = format!("/apps/{}/guard", target.app_id);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?.as_secs();
        let query = sign_request(&target.key, &target.secret, "GET", &path, &[], b"", now);
        let outcomes = get(target.address, &format!("{path}?{query}"))?;
        Ok(Self { duplicates: count(&outcomes["outcomes"]["duplicate"])?, alerts: alerts(target.address)? })
    }
}

fn alerts(address: SocketAddr) -> io::Result<u64> {
    count(&get(address, "/status")?["guard"]["alerts"])
}

fn count(value: &Value) -> io::Result<u64> {
    value.as_u64().ok_or_else(|| io::Error::other("this scenario needs a server with a guard"))
}

fn get(address: SocketAddr, path: &str) -> io::Result<Value> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let at = memmem::find(&answer, b"\r\n\r\n").ok_or_else(|| io::Error::other("an answer without an end"))?;
    serde_json::from_slice(&answer[at + 4..]).map_err(io::Error::other)
}

/// Asks again and again whether somebody has been told, on a thread of its own.
struct Watch {
    thread: thread::JoinHandle<io::Result<Option<Instant>>>,
    is_over: Arc<AtomicBool>,
}

impl Watch {
    fn begin(address: SocketAddr, before: u64) -> io::Result<Self> {
        let is_over = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&is_over);
        let ask = move || {
            while !over.load(Ordering::Acquire) {
                if alerts(address)? > before {
                    return Ok(Some(Instant::now()));
                }
                thread::sleep(ASK_EVERY);
            }
            Ok(None)
        };
        Ok(Self { thread: thread::Builder::new().name("watch".to_owned()).spawn(ask)?, is_over })
    }

    /// When it was, if it was.
    fn end(self) -> io::Result<Option<Instant>> {
        self.is_over.store(true, Ordering::Release);
        self.thread.join().map_err(|_| io::Error::other("the thread that watches has panicked"))?
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_loops_is_laravels_event_with_an_id_in_its_data() {
        let body: Value = serde_json::from_str(&body(7)).unwrap();
        assert_eq!(body["name"], r"Illuminate\Notifications\Events\BroadcastNotificationCreated");
        let data: Value = serde_json::from_str(body["data"].as_str().unwrap()).unwrap();
        assert!(data["id"].is_string() && data["type"].as_str().unwrap().contains("Runaway"));
    }
}
