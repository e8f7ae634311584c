//! How an outbox fares, for people and for Prometheus.
//!
//! Owns the figures of each queue and their text. Never asks the store by itself. The invariant: what waits and what is
//! dead is counted where it is stored, whoever put it there; only what this process has delivered and failed is counted
//! in memory. Read on in `page.rs`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use parking_lot::Mutex;

/// Queues whose deliveries are counted each by itself; those of further ones are counted as [`OTHER_QUEUES`].
pub const QUEUES_COUNTED_MAX: usize = 256;
/// What further queues are counted as.
pub const OTHER_QUEUES: &str = "other";

/// One queue at this moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QueueFigures {
    /// Jobs that a courier could have at once.
    pub ready: u64,
    /// Jobs that a courier has.
    pub leased: u64,
    /// Jobs that wait for their delay or the pause after a failure.
    pub waiting: u64,
    /// Those of the ready and the waiting that have failed before.
    pub retrying: u64,
    /// Dead letters.
    pub dead: u64,
    /// For how long the oldest job has been due; its delay does not count.
    pub oldest: Option<Duration>,
    /// Deliveries by this process since its start.
    pub delivered: u64,
    /// Attempts of this process that failed.
    pub failed: u64,
    /// Jobs that this process gave up.
    pub given_up: u64,
}

/// What this process has done.
#[derive(Debug, Default)]
pub(crate) struct Deeds(Mutex<BTreeMap<String, Deed>>);

#[derive(Debug, Clone, Copy, Default)]
struct Deed {
    delivered: u64,
    failed: u64,
    given_up: u64,
}

impl Deeds {
    pub(crate) fn delivered(&self, queue: &str) {
        self.count(queue, |deed| deed.delivered += 1);
    }

    pub(crate) fn failed(&self, queue: &str) {
        self.count(queue, |deed| deed.failed += 1);
    }

    pub(crate) fn given_up(&self, queue: &str) {
        self.count(queue, |deed| {
            deed.failed += 1;
            deed.given_up += 1;
        });
    }

    fn count(&self, queue: &str, count: impl FnOnce(&mut Deed)) {
        let mut deeds = self.0.lock();
        let is_counted = deeds.len() < QUEUES_COUNTED_MAX || deeds.contains_key(queue);
        count(deeds.entry(if is_counted { queue } else { OTHER_QUEUES }.to_owned()).or_default());
    }

    /// Adds them to what the store says.
    pub(crate) fn add_to(&self, queues: &mut BTreeMap<String, QueueFigures>) {
        for (queue, deed) in &*self.0.lock() {
            let figures = queues.entry(queue.clone()).or_default();
            figures.delivered = deed.delivered;
            figures.failed = deed.failed;
            figures.given_up = deed.given_up;
        }
    }
}

/// The figures in Prometheus' text format. A queue's name needs no escape.
pub fn prometheus(queues: &BTreeMap<String, QueueFigures>) -> String {
    type Get = fn(&QueueFigures) -> u64;
    let states: [(&str, Get); 3] = [
        ("ready", |figures| figures.ready),
        ("leased", |figures| figures.leased),
        ("waiting", |figures| figures.waiting),
    ];
    let outcomes: [(&str, Get); 2] = [("delivered", |figures| figures.delivered), ("failed", |figures| figures.failed)];
    let mut text = String::new();
    let mut family = |name: &str, kind: &str, help: &str, samples: Vec<(String, f64)>| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for (labels, value) in samples {
            let _ = writeln!(text, "{name}{{{labels}}} {value}");
        }
    };
    let each = |get: &dyn Fn(&QueueFigures) -> Option<f64>| -> Vec<(String, f64)> {
        queues.iter().filter_map(|(queue, figures)| Some((format!("queue=\"{queue}\""), get(figures)?))).collect()
    };
    let labelled = |label: &str, gets: &[(&str, Get)]| -> Vec<(String, f64)> {
        let of_queue = |(queue, figures): (&String, &QueueFigures)| {
            let sample =
                |(value, get): &(&str, Get)| (format!("queue=\"{queue}\",{label}=\"{value}\""), get(figures) as f64);
            gets.iter().map(sample).collect::<Vec<_>>()
        };
        queues.iter().flat_map(of_queue).collect()
    };
    family("campanile_outbox_jobs", "gauge", "Jobs in the outbox.", labelled("state", &states));
    family(
        "campanile_outbox_retrying_jobs",
        "gauge",
        "Jobs that have failed before.",
        each(&|f| Some(f.retrying as f64)),
    );
    family("campanile_outbox_dead_jobs", "gauge", "Dead letters.", each(&|f| Some(f.dead as f64)));
    let oldest = each(&|figures| Some(figures.oldest.unwrap_or_default().as_secs_f64()));
    family("campanile_outbox_oldest_seconds", "gauge", "For how long the oldest job has been due.", oldest);
    family("campanile_outbox_attempts_total", "counter", "Attempts of this process.", labelled("outcome", &outcomes));
    family(
        "campanile_outbox_given_up_total",
        "counter",
        "Jobs that this process gave up.",
        each(&|f| Some(f.given_up as f64)),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_text_that_prometheus_reads() {
        let deeds = Deeds::default();
        deeds.delivered("high");
        deeds.given_up("high");
        let oldest = Some(Duration::from_millis(1500));
        let mut queues =
            BTreeMap::from([("high".to_owned(), QueueFigures { ready: 3, oldest, ..QueueFigures::default() })]);
        deeds.add_to(&mut queues);
        let text = prometheus(&queues);
        for line in [
            "# TYPE campanile_outbox_jobs gauge",
            r#"campanile_outbox_jobs{queue="high",state="ready"} 3"#,
            r#"campanile_outbox_oldest_seconds{queue="high"} 1.5"#,
            r#"campanile_outbox_attempts_total{queue="high",outcome="failed"} 1"#,
            r#"campanile_outbox_given_up_total{queue="high"} 1"#,
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn queues_are_counted_up_to_the_bound_and_further_ones_together() {
        let deeds = Deeds::default();
        for queue in 0..=QUEUES_COUNTED_MAX {
            deeds.delivered(&queue.to_string());
        }
        deeds.delivered("0");
        let mut queues = BTreeMap::new();
        deeds.add_to(&mut queues);
        assert_eq!(queues.len(), QUEUES_COUNTED_MAX + 1);
        assert_eq!((queues["0"].delivered, queues[OTHER_QUEUES].delivered), (2, 1));
    }
}
