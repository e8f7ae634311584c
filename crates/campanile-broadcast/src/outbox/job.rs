//! What waits in an outbox: an event that is ready to be sent, and what was asked for it.
//!
//! Owns the options and their limits. Never stores or sends. The invariant: what is sent at the tenth attempt is, byte
//! for byte, what would have been sent at the first, so that a server which knows the job's key publishes it once. Read
//! on in [`super::memory`] and [`super::database`].

use std::borrow::Cow;
use std::fmt::Display;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::publish::Plan;

/// The queue of jobs that name none.
pub const QUEUE_DEFAULT: &str = "default";
/// Characters of a queue's name: letters, digits, `-`, `_` and `.`.
pub const QUEUE_NAME_LENGTH_MAX: usize = 64;
/// How often a job is attempted before it is a dead letter. A server that is away or busy costs no attempt.
pub const TRIES_DEFAULT: u32 = 10;
/// The pauses between attempts; the last one is that of all further attempts.
pub const BACKOFF_DEFAULT: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(120),
    Duration::from_secs(600),
];
/// Pauses that a job may have of its own; further ones are left out.
pub const BACKOFF_STEPS_MAX: usize = 32;
/// For how long an event is unique whose derive says `unique` and not `unique_for`.
pub const UNIQUE_FOR_DEFAULT: Duration = Duration::from_secs(60);
/// Bytes of a key; in place of a longer one stands its hash.
pub const KEY_LENGTH_MAX: usize = 200;
/// How far ahead a rate limit may put a job off; what would come later is dropped.
pub const RATE_DEFER_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Characters of an error that are kept with a job.
pub const ERROR_CHARACTERS_MAX: usize = 500;

/// What is asked for a job beside being delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobOptions {
    pub(crate) queue: Cow<'static, str>,
    pub(crate) priority: i32,
    pub(crate) delay: Duration,
    pub(crate) tries: u32,
    pub(crate) backoff: Cow<'static, [Duration]>,
    pub(crate) order: Option<String>,
    pub(crate) unique: Option<Unique>,
    pub(crate) debounce: Option<Debounce>,
    pub(crate) rate: Option<RateLimit>,
}

/// At most one job of a key within a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unique {
    pub(crate) key: String,
    pub(crate) window: Duration,
}

/// The last of many jobs of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Debounce {
    pub(crate) key: String,
    pub(crate) wait: Duration,
    pub(crate) max: Duration,
}

/// So many jobs of a key in so much time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RateLimit {
    pub(crate) key: String,
    pub(crate) rate: Rate,
    pub(crate) on_exceed: OnExceed,
}

/// How many events in how much time. As many as that may come at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: u32,
    period: Duration,
}

impl Rate {
    /// So many in this time; at least one.
    pub fn new(count: u32, period: Duration) -> Self {
        Self { count: count.max(1), period }
    }

    /// So many in a second.
    pub fn per_second(count: u32) -> Self {
        Self::new(count, Duration::from_secs(1))
    }

    /// So many in a minute.
    pub fn per_minute(count: u32) -> Self {
        Self::new(count, Duration::from_secs(60))
    }

    /// So many in an hour.
    pub fn per_hour(count: u32) -> Self {
        Self::new(count, Duration::from_secs(60 * 60))
    }

    /// The time from one to the next where they come evenly, in milliseconds.
    pub(crate) fn interval_ms(self) -> i64 {
        (millis(self.period) / i64::from(self.count)).max(1)
    }

    /// How far the account of a key may run ahead of the clock, in milliseconds: the generic cell rate algorithm.
    pub(crate) fn tolerance_ms(self) -> i64 {
        self.interval_ms() * i64::from(self.count - 1)
    }
}

/// What becomes of an event beyond its rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExceed {
    /// It is not sent.
    Drop,
    /// It is sent as soon as the rate allows; if that is further ahead than [`RATE_DEFER_MAX`], it is dropped.
    Defer,
}

impl Default for JobOptions {
    fn default() -> Self {
        Self {
            queue: Cow::Borrowed(QUEUE_DEFAULT),
            priority: 0,
            delay: Duration::ZERO,
            tries: TRIES_DEFAULT,
            backoff: Cow::Borrowed(&BACKOFF_DEFAULT),
            order: None,
            unique: None,
            debounce: None,
            rate: None,
        }
    }
}

impl JobOptions {
    /// Nothing beside being delivered.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// In this queue, which couriers may be told to serve apart from others.
    #[must_use]
    pub fn queue(mut self, queue: impl Into<Cow<'static, str>>) -> Self {
        self.queue = queue.into();
        self
    }

    /// Before those of a lower priority; 0 if nothing is said.
    #[must_use]
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// Not before this time has passed.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// A dead letter after so many attempts; at least one.
    #[must_use]
    pub fn tries(mut self, tries: u32) -> Self {
        self.tries = tries.max(1);
        self
    }

    /// The pause after each failed attempt, the last of them after all further ones.
    #[must_use]
    pub fn backoff(mut self, pauses: impl IntoIterator<Item = Duration>) -> Self {
        self.backoff = pauses.into_iter().take(BACKOFF_STEPS_MAX).collect();
        self
    }

    /// Not before all jobs of the same key that were written down earlier have been delivered, or given up.
    #[must_use]
    pub fn ordered_by(mut self, key: impl Display) -> Self {
        self.order = Some(bounded(key.to_string()));
        self
    }

    /// Only if no event of this name and key was written down within the window before.
    #[must_use]
    pub fn unique_for(mut self, key: impl Display, window: Duration) -> Self {
        self.unique = Some(Unique { key: key.to_string(), window });
        self
    }

    /// Once none of this name and key has come for `wait`, but no later than `max` after the first: only the last is
    /// sent.
    #[must_use]
    pub fn debounce(mut self, key: impl Display, wait: Duration, max: Duration) -> Self {
        self.debounce = Some(Debounce { key: key.to_string(), wait, max: max.max(wait) });
        self
    }

    /// No more of this key than the rate; a key is shared by all events that name it.
    #[must_use]
    pub fn rate_limit(mut self, key: impl Display, rate: Rate, on_exceed: OnExceed) -> Self {
        self.rate = Some(RateLimit { key: key.to_string(), rate, on_exceed });
        self
    }

    /// Keys of events by their name, so that two kinds of event can use the same.
    pub(crate) fn scoped_to(mut self, event: &str) -> Self {
        if let Some(unique) = &mut self.unique {
            unique.key = bounded(format!("unique:{event}:{}", unique.key));
        }
        if let Some(debounce) = &mut self.debounce {
            debounce.key = bounded(format!("{event}:{}", debounce.key));
        }
        if let Some(rate) = &mut self.rate {
            rate.key = bounded(format!("rate:{}", rate.key));
        }
        self
    }

    /// Whether the queue has a name that figures and commands can show as it is.
    pub(crate) fn has_valid_queue(&self) -> bool {
        is_queue_name(&self.queue)
    }
}

/// Whether this is the name of a queue.
pub(crate) fn is_queue_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=QUEUE_NAME_LENGTH_MAX).contains(&name.len()) && name.bytes().all(allowed)
}

fn bounded(key: String) -> String {
    match key.len() > KEY_LENGTH_MAX {
        true => format!("sha256:{}", hex::encode(Sha256::digest(&key))),
        false => key,
    }
}

/// A job that is about to be written down.
#[derive(Debug)]
pub(crate) struct NewJob {
    pub(crate) plan: Plan,
    pub(crate) options: JobOptions,
}

/// What became of a job that was to be written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Posted {
    /// It waits.
    Queued,
    /// It waits in the place of an earlier one.
    Replaced,
    /// There was one like it.
    Duplicate,
    /// Beyond its rate.
    Dropped,
}

/// A job that one courier alone may deliver, until its lease has run out.
#[derive(Debug)]
pub(crate) struct Claimed {
    pub(crate) ticket: Ticket,
    pub(crate) queue: String,
    pub(crate) plan: Plan,
    /// Requests that the server has accepted at earlier attempts.
    pub(crate) accepted: usize,
    /// This attempt among them.
    pub(crate) attempts: u32,
    pub(crate) tries: u32,
    pub(crate) backoff: Vec<Duration>,
}

/// A job and the lease under which it was claimed: without the lease, the job is somebody else's by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) seq: i64,
    pub(crate) lease: i64,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Settlement {
    /// The server has accepted all of it.
    Delivered,
    /// To be attempted again after a pause.
    Again { after: Duration, error: String, accepted: usize },
    /// It did not come to an attempt that counts: again after a pause, and with one attempt more left.
    Returned { after: Duration, error: Option<String>, accepted: usize },
    /// Given up.
    Dead { error: String, accepted: usize },
}

/// What a courier wants to claim.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Claim<'a> {
    /// None: every queue.
    pub(crate) queues: Option<&'a [String]>,
    pub(crate) limit: usize,
    pub(crate) lease: Duration,
    /// Drawn anew for each claim.
    pub(crate) token: i64,
}

/// A job that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadJob {
    /// Its number, by which it is retried or forgotten.
    pub number: i64,
    /// The queue that it was in.
    pub queue: String,
    /// The event's name.
    pub event: String,
    /// The `Idempotency-Key` under which it was sent.
    pub key: String,
    /// How often it was attempted.
    pub attempts: u32,
    /// What the last attempt failed for.
    pub error: String,
    /// How long ago it was written down.
    pub age: Duration,
    /// How long ago it was given up.
    pub dead_for: Duration,
}

/// Which dead jobs are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// The one with this number.
    One(i64),
    /// All of a queue.
    Queue(String),
    /// All.
    All,
}

/// Milliseconds, as the stores count time.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX / 4).min(i64::MAX / 4)
}

/// The way back; what is negative, as after a clock was set back, is nothing.
pub(crate) fn duration(millis: i64) -> Duration {
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// The pause after so many failed attempts.
pub(crate) fn pause_after(backoff: &[Duration], attempts: u32) -> Duration {
    let at = usize::try_from(attempts.saturating_sub(1)).unwrap_or(usize::MAX);
    backoff.get(at).or(backoff.last()).copied().unwrap_or_default()
}

/// The part of an error that is kept.
pub(crate) fn shortened(error: &str) -> String {
    error.chars().take(ERROR_CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_pause_is_that_of_all_further_attempts() {
        let backoff = [Duration::from_secs(1), Duration::from_secs(5)];
        let pauses: Vec<u64> = (1..=4).map(|attempts| pause_after(&backoff, attempts).as_secs()).collect();
        assert_eq!(pauses, [1, 5, 5, 5]);
        assert_eq!(pause_after(&[], 1), Duration::ZERO);
    }

    #[test]
    fn a_job_has_as_many_pauses_as_the_bound_and_no_more() {
        let pauses = |count| JobOptions::new().backoff(vec![Duration::from_secs(1); count]).backoff.len();
        assert_eq!(pauses(BACKOFF_STEPS_MAX), BACKOFF_STEPS_MAX);
        assert_eq!(pauses(BACKOFF_STEPS_MAX + 1), BACKOFF_STEPS_MAX);
    }

    #[test]
    fn a_key_is_kept_up_to_the_bound_and_hashed_past_it() {
        let kept = |length| JobOptions::new().ordered_by("k".repeat(length)).order;
        assert_eq!(kept(KEY_LENGTH_MAX), Some("k".repeat(KEY_LENGTH_MAX)));
        let hashed = kept(KEY_LENGTH_MAX + 1).unwrap_or_default();
        assert!(hashed.starts_with("sha256:") && hashed.len() < KEY_LENGTH_MAX, "{hashed}");
        assert_ne!(kept(KEY_LENGTH_MAX + 1), kept(KEY_LENGTH_MAX + 2));
    }

    #[test]
    fn a_queues_name_has_plain_characters_and_a_bound() {
        assert!(is_queue_name("high") && is_queue_name("a-b_c.d9") && is_queue_name(&"q".repeat(64)));
        for other in ["", "a b", "a\"", "größe", &"q".repeat(65)] {
            assert!(!is_queue_name(other), "{other:?}");
        }
    }

    #[test]
    fn keys_of_different_events_are_different_and_rates_are_shared() {
        let options = || {
            let hour = Duration::from_secs(3600);
            JobOptions::new().unique_for(7, hour).debounce(7, hour, hour).rate_limit(
                7,
                Rate::per_hour(1),
                OnExceed::Drop,
            )
        };
        let (one, other) = (options().scoped_to("a"), options().scoped_to("b"));
        assert_ne!(one.unique, other.unique);
        assert_ne!(one.debounce, other.debounce);
        assert_eq!(one.rate, other.rate);
    }

    #[test]
    fn an_error_is_kept_up_to_the_bound() {
        let error = "é".repeat(ERROR_CHARACTERS_MAX);
        assert_eq!(shortened(&error), error);
        assert_eq!(shortened(&format!("{error}x")), error);
    }

    #[test]
    fn times_that_no_clock_reaches_are_bounded() {
        assert!(millis(Duration::MAX) > 0 && millis(Duration::MAX).checked_add(millis(Duration::MAX)).is_some());
        assert_eq!(duration(-5), Duration::ZERO);
        let rate = Rate::new(0, Duration::ZERO);
        assert_eq!((rate.interval_ms(), rate.tolerance_ms()), (1, 0));
    }
}
