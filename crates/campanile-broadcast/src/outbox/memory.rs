//! The outbox of an application that needs no promise over a restart.
//!
//! Owns jobs in memory, up to a bound. Never reads a clock: it is given the time. The invariant: it answers as
//! [`super::database`] does, so that a test with this one is a test of the application. Read on in [`super::courier`].

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::outbox::figures::QueueFigures;
use crate::outbox::job::{
    Claim, Claimed, DeadJob, JobOptions, NewJob, OnExceed, Posted, RATE_DEFER_MAX, Selection, Settlement, Ticket,
    duration, millis,
};
use crate::publish::Plan;

/// Dead letters that are kept in memory; the oldest gives way.
pub const DEAD_IN_MEMORY_MAX: usize = 1000;

/// The job does not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

#[derive(Debug)]
pub(crate) struct Memory {
    max: usize,
    jobs: BTreeMap<i64, Job>,
    /// Every job, in the order in which they are claimed.
    line: BTreeSet<(Reverse<i32>, i64)>,
    /// The jobs of each key whose order is kept.
    orders: HashMap<String, BTreeSet<i64>>,
    /// The job of each key that is still debounced.
    debounced: HashMap<String, i64>,
    /// Until when a key is taken, or the account of a rate is ahead.
    keys: HashMap<String, i64>,
    dead: BTreeMap<i64, Dead>,
    next_seq: i64,
}

#[derive(Debug)]
struct Job {
    plan: Plan,
    options: JobOptions,
    created_at: i64,
    /// When it was first to be attempted.
    due_at: i64,
    /// When it may be claimed: after its delay, its pause, or the lease of whoever has it.
    available_at: i64,
    debounce_until: i64,
    lease: Option<i64>,
    attempts: u32,
    accepted: usize,
    error: Option<String>,
}

#[derive(Debug)]
struct Dead {
    job: Job,
    died_at: i64,
}

impl Memory {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max: max.max(1),
            jobs: BTreeMap::new(),
            line: BTreeSet::new(),
            orders: HashMap::new(),
            debounced: HashMap::new(),
            keys: HashMap::new(),
            dead: BTreeMap::new(),
            next_seq: 1,
        }
    }

    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// As many jobs as the bound, or all or none of them.
    pub(crate) fn post_all(&mut self, jobs: Vec<NewJob>, now: i64) -> Result<Vec<Posted>, Full> {
        if self.jobs.len() + jobs.len() > self.max {
            return Err(Full);
        }
        let keyed = |job: &NewJob| job.options.unique.is_some() || job.options.rate.is_some();
        if self.keys.len() + 2 * jobs.iter().filter(|job| keyed(job)).count() > 2 * self.max {
            self.keys.retain(|_, until| *until > now);
            if self.keys.len() >= 2 * self.max {
                return Err(Full);
            }
        }
        Ok(jobs.into_iter().map(|job| self.post(job, now)).collect())
    }

    fn post(&mut self, job: NewJob, now: i64) -> Posted {
        let NewJob { plan, options } = job;
        if let Some(unique) = &options.unique {
            if self.keys.get(&unique.key).is_some_and(|until| *until > now) {
                return Posted::Duplicate;
            }
            self.keys.insert(unique.key.clone(), now + millis(unique.window));
        }
        let mut earliest = now + millis(options.delay);
        if let Some(limit) = &options.rate {
            let (interval, tolerance) = (limit.rate.interval_ms(), limit.rate.tolerance_ms());
            let account = self.keys.get(&limit.key).copied().unwrap_or(now).max(now);
            let patience = if limit.on_exceed == OnExceed::Defer { millis(RATE_DEFER_MAX) } else { 0 };
            if account - now > tolerance + patience {
                if let Some(unique) = &options.unique {
                    self.keys.remove(&unique.key);
                }
                return Posted::Dropped;
            }
            self.keys.insert(limit.key.clone(), account + interval);
            earliest = earliest.max(account - tolerance);
        }
        let mut debounce_until = 0;
        if let Some(debounce) = &options.debounce {
            let latest = earliest + millis(debounce.max);
            earliest += millis(debounce.wait);
            debounce_until = latest;
            let waiting = self.debounced.get(&debounce.key).and_then(|seq| self.jobs.get_mut(seq));
            if let Some(waiting) = waiting {
                waiting.plan = plan;
                waiting.available_at = earliest.min(waiting.debounce_until);
                waiting.due_at = waiting.available_at;
                return Posted::Replaced;
            }
        }
        let job = Job {
            plan,
            options,
            created_at: now,
            due_at: earliest,
            available_at: earliest,
            debounce_until,
            lease: None,
            attempts: 0,
            accepted: 0,
            error: None,
        };
        self.insert(job);
        Posted::Queued
    }

    fn insert(&mut self, job: Job) {
        let seq = self.next_seq;
        self.next_seq += 1;
        self.line.insert((Reverse(job.options.priority), seq));
        if let Some(key) = &job.options.order {
            self.orders.entry(key.clone()).or_default().insert(seq);
        }
        if let Some(debounce) = &job.options.debounce {
            self.debounced.insert(debounce.key.clone(), seq);
        }
        self.jobs.insert(seq, job);
    }

    fn remove(&mut self, seq: i64) -> Option<Job> {
        let job = self.jobs.remove(&seq)?;
        self.line.remove(&(Reverse(job.options.priority), seq));
        if let Some(key) = &job.options.order
            && let Some(line) = self.orders.get_mut(key)
        {
            line.remove(&seq);
            if line.is_empty() {
                self.orders.remove(key);
            }
        }
        if let Some(debounce) = &job.options.debounce
            && self.debounced.get(&debounce.key) == Some(&seq)
        {
            self.debounced.remove(&debounce.key);
        }
        Some(job)
    }

    pub(crate) fn claim(&mut self, claim: Claim<'_>, now: i64) -> Vec<Claimed> {
        let line = self.line.iter().map(|(_, seq)| *seq);
        let due: Vec<i64> = line.filter(|seq| self.is_due(*seq, claim.queues, now)).take(claim.limit).collect();
        due.into_iter().filter_map(|seq| self.lease(seq, claim, now)).collect()
    }

    fn is_due(&self, seq: i64, queues: Option<&[String]>, now: i64) -> bool {
        let job = &self.jobs[&seq];
        let is_served = queues.is_none_or(|queues| queues.iter().any(|queue| *queue == job.options.queue));
        let is_first = job.options.order.as_ref().is_none_or(|key| self.orders[key].first() == Some(&seq));
        job.available_at <= now && is_served && is_first
    }

    fn lease(&mut self, seq: i64, claim: Claim<'_>, now: i64) -> Option<Claimed> {
        let job = self.jobs.get_mut(&seq)?;
        job.available_at = now + millis(claim.lease);
        job.lease = Some(claim.token);
        job.attempts += 1;
        if let Some(debounce) = job.options.debounce.take() {
            self.debounced.remove(&debounce.key);
        }
        Some(Claimed {
            ticket: Ticket { seq, lease: claim.token },
            queue: job.options.queue.clone().into_owned(),
            plan: job.plan.clone(),
            accepted: job.accepted,
            attempts: job.attempts,
            tries: job.options.tries,
            backoff: job.options.backoff.to_vec(),
        })
    }

    pub(crate) fn settle(&mut self, settlements: &[(Ticket, Settlement)], now: i64) {
        for (ticket, settlement) in settlements {
            let Some(job) = self.jobs.get_mut(&ticket.seq).filter(|job| job.lease == Some(ticket.lease)) else {
                continue;
            };
            match settlement {
                Settlement::Delivered => drop(self.remove(ticket.seq)),
                Settlement::Again { after, error, accepted } => {
                    job.give_back(now + millis(*after), *accepted);
                    job.error = Some(error.clone());
                }
                Settlement::Returned { after, error, accepted } => {
                    job.give_back(now + millis(*after), *accepted);
                    job.attempts -= 1;
                    job.error = error.clone().or(job.error.take());
                }
                Settlement::Dead { error, accepted } => {
                    job.give_back(now, *accepted);
                    job.error = Some(error.clone());
                    if let Some(job) = self.remove(ticket.seq) {
                        self.dead.insert(ticket.seq, Dead { job, died_at: now });
                    }
                }
            }
        }
        while self.dead.len() > DEAD_IN_MEMORY_MAX {
            self.dead.pop_first();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.jobs.len()
    }

    /// Whether somebody has a job, or could have one at once.
    pub(crate) fn is_busy(&self, now: i64) -> bool {
        self.jobs.iter().any(|(seq, job)| job.lease.is_some() || self.is_due(*seq, None, now))
    }

    pub(crate) fn figures(&self, now: i64) -> BTreeMap<String, QueueFigures> {
        let mut queues = BTreeMap::<String, QueueFigures>::new();
        for job in self.jobs.values() {
            let figures = queues.entry(job.options.queue.clone().into_owned()).or_default();
            match (job.lease.is_some(), job.available_at <= now) {
                (true, false) => figures.leased += 1,
                (_, true) => figures.ready += 1,
                (false, false) => figures.waiting += 1,
            }
            figures.retrying += u64::from(job.attempts > 0 && job.lease.is_none());
            if job.due_at <= now {
                figures.oldest = figures.oldest.max(Some(duration(now - job.due_at)));
            }
        }
        for dead in self.dead.values() {
            queues.entry(dead.job.options.queue.clone().into_owned()).or_default().dead += 1;
        }
        queues
    }

    pub(crate) fn dead(&self, limit: usize, now: i64) -> Vec<DeadJob> {
        let letters = self.dead.iter().rev().take(limit);
        letters
            .map(|(number, Dead { job, died_at })| DeadJob {
                number: *number,
                queue: job.options.queue.clone().into_owned(),
                event: job.plan.event.clone(),
                key: job.plan.key.clone(),
                attempts: job.attempts,
                error: job.error.clone().unwrap_or_default(),
                age: duration(now - job.created_at),
                dead_for: duration(now - died_at),
            })
            .collect()
    }

    /// Makes dead letters jobs again, as far as they fit.
    pub(crate) fn retry(&mut self, selection: &Selection, now: i64) -> u64 {
        let mut retried = 0;
        for number in self.selected(selection) {
            if self.jobs.len() >= self.max {
                break;
            }
            if let Some(Dead { mut job, .. }) = self.dead.remove(&number) {
                job.attempts = 0;
                job.available_at = now;
                self.insert(job);
                retried += 1;
            }
        }
        retried
    }

    pub(crate) fn forget(&mut self, selection: &Selection) -> u64 {
        let selected = self.selected(selection);
        selected.iter().filter(|number| self.dead.remove(number).is_some()).count() as u64
    }

    fn selected(&self, selection: &Selection) -> Vec<i64> {
        let is_meant = |number: &i64, dead: &Dead| match selection {
            Selection::One(wanted) => number == wanted,
            Selection::Queue(queue) => dead.job.options.queue == *queue,
            Selection::All => true,
        };
        self.dead.iter().filter(|(number, dead)| is_meant(number, dead)).map(|(number, _)| *number).collect()
    }
}

impl Job {
    fn give_back(&mut self, available_at: i64, accepted: usize) {
        self.lease = None;
        self.available_at = available_at;
        self.accepted = accepted;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::outbox::job::Rate;

    fn job(number: usize, options: JobOptions) -> NewJob {
        let plan = Plan { event: "said".into(), key: number.to_string(), requests: Vec::new() };
        NewJob { plan, options: options.scoped_to("said") }
    }

    fn fill(memory: &mut Memory, count: usize) {
        for number in 0..count {
            assert_eq!(memory.post_all(vec![job(number, JobOptions::new())], 0), Ok(vec![Posted::Queued]));
        }
    }

    #[test]
    fn the_bound_is_reached_and_not_passed() {
        let mut memory = Memory::new(3);
        fill(&mut memory, 3);
        assert_eq!(memory.post_all(vec![job(3, JobOptions::new())], 0), Err(Full));
        let claim = Claim { queues: None, limit: 1, lease: Duration::from_secs(60), token: 1 };
        let claimed = memory.claim(claim, 0);
        assert_eq!(memory.post_all(vec![job(3, JobOptions::new())], 0), Err(Full), "it may come back");
        memory.settle(&[(claimed[0].ticket, Settlement::Delivered)], 0);
        assert!(memory.post_all(vec![job(3, JobOptions::new())], 0).is_ok());
    }

    #[test]
    fn several_fit_or_none_of_them() {
        let mut memory = Memory::new(3);
        fill(&mut memory, 2);
        let two = || vec![job(8, JobOptions::new()), job(9, JobOptions::new())];
        assert_eq!(memory.post_all(two(), 0), Err(Full));
        assert_eq!(memory.figures(0)["default"].ready, 2);
    }

    #[test]
    fn keys_are_bounded_and_those_that_are_over_make_room() {
        let mut memory = Memory::new(2);
        let keyed = |key: usize| {
            let rate = Rate::new(1, Duration::from_millis(10));
            let options = JobOptions::new().unique_for(key, Duration::from_millis(10));
            job(key, options.rate_limit(key, rate, OnExceed::Drop))
        };
        let claim = Claim { queues: None, limit: 9, lease: Duration::from_secs(60), token: 1 };
        for key in 0..2 {
            assert_eq!(memory.post_all(vec![keyed(key)], 0), Ok(vec![Posted::Queued]));
        }
        let delivered: Vec<_> =
            memory.claim(claim, 0).iter().map(|claimed| (claimed.ticket, Settlement::Delivered)).collect();
        memory.settle(&delivered, 0);
        assert_eq!(memory.post_all(vec![keyed(2)], 9), Err(Full));
        assert_eq!(memory.post_all(vec![keyed(2)], 10), Ok(vec![Posted::Queued]));
    }

    #[test]
    fn the_oldest_dead_letter_gives_way_past_the_bound() {
        let mut memory = Memory::new(DEAD_IN_MEMORY_MAX + 1);
        fill(&mut memory, DEAD_IN_MEMORY_MAX + 1);
        let claim = Claim { queues: None, limit: usize::MAX, lease: Duration::from_secs(60), token: 1 };
        let dead = || Settlement::Dead { error: "no".into(), accepted: 0 };
        let settlements: Vec<_> = memory.claim(claim, 0).iter().map(|claimed| (claimed.ticket, dead())).collect();
        memory.settle(&settlements[..DEAD_IN_MEMORY_MAX], 0);
        assert_eq!(memory.dead(usize::MAX, 0).len(), DEAD_IN_MEMORY_MAX);
        memory.settle(&settlements[DEAD_IN_MEMORY_MAX..], 0);
        let kept = memory.dead(usize::MAX, 0);
        assert_eq!((kept.len(), kept.last().map(|dead| dead.number)), (DEAD_IN_MEMORY_MAX, Some(2)));
    }
}
