//! What each app has used, hour by hour: by channel prefix and event name, over restarts.
//!
//! Owns what has been counted since the last flush, and which names have rows of their own. Never decides whether an app may
//! use more: the [ledger](crate::ledger) does. The invariants: what is in the file was used; each flush is there once, however
//! often it was tried; an hour of an app has no more rows than its names allow. Read on in [`store`] for the file, in
//! [`names`] for who gets a row, in [`question`] and [`report`] for what can be asked, in [`fields`] for what makes events
//! large, and in [`crate::clerk`], who writes and answers.

pub(crate) mod fields;
pub(crate) mod names;
pub(crate) mod question;
pub(crate) mod report;
pub(crate) mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::mpsc::SyncSender;

use campanile_hub::meter::OTHER;
use campanile_hub::{Histogram, Reading, Sizes, Usage};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::clerk::Errand;
use crate::config::limits::{USAGE_HOURS_UNWRITTEN_MAX, USAGE_SAMPLES_MAX};
use crate::door::Busy;
use names::Names;
use question::{Question, Unanswered};
use store::Opened;

/// Seconds of an hour.
pub(crate) const HOUR_SECS: u64 = 3600;

/// How many names have rows of their own in an app's hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    pub(crate) prefixes_max: usize,
    pub(crate) events_max: usize,
}

/// What an app has used in an hour.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Hour {
    /// By prefix and event.
    pub(crate) rows: BTreeMap<(Box<str>, Box<str>), Usage>,
    /// The most connections that there were at once; 0 if that is not known to be more than was written.
    pub(crate) peak: u64,
    /// By event.
    pub(crate) sizes: BTreeMap<Box<str>, Sizes>,
    /// By prefix.
    pub(crate) waits: BTreeMap<Box<str>, Histogram>,
}

impl Hour {
    /// All rows together.
    pub(crate) fn usage(&self) -> Usage {
        self.rows.values().fold(Usage::default(), |mut sum, usage| {
            sum += *usage;
            sum
        })
    }
}

/// Adds up what was counted of the same event.
pub(crate) fn merge_sizes(sum: &mut Sizes, more: Sizes) {
    sum.bytes.merge(&more.bytes);
    sum.near_limit = sum.near_limit.saturating_add(more.near_limit);
    if more.largest > sum.largest {
        (sum.largest, sum.sample) = (more.largest, more.sample);
    }
}

/// What is to be written at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flush {
    /// It is one more than that of the flush before.
    pub(crate) id: u64,
    /// By app and hour.
    pub(crate) hours: BTreeMap<(Box<str>, u64), Hour>,
}

#[derive(Debug, Default)]
struct Unwritten {
    hours: BTreeMap<(Box<str>, u64), Hour>,
    /// Events that wait to be looked into.
    samples: usize,
    /// Of each app's latest hour.
    names: BTreeMap<Box<str>, Names>,
    /// Hours that were forgotten because nothing could be written for so long.
    forgotten: u64,
}

/// What has been counted and is not written yet.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    unwritten: Mutex<Unwritten>,
    /// None until a clerk is there.
    clerk: OnceLock<SyncSender<Errand>>,
}

impl Journal {
    /// Goes on from what the file had.
    pub(crate) fn resume(&self, opened: &Opened, clerk: SyncSender<Errand>) {
        self.unwritten.lock().names.clone_from(&opened.names);
        self.clerk.get_or_init(|| clerk);
    }

    /// An app has used more.
    pub(crate) fn add(&self, app: &str, reading: Reading, now_secs: u64, bounds: Bounds) {
        let mut unwritten = self.unwritten.lock();
        let Unwritten { hours, samples, names, .. } = &mut *unwritten;
        let hour = now_secs / HOUR_SECS;
        let names = open(names, app, hour);
        let of_hour = hours.entry((app.into(), hour)).or_default();
        for row in reading.rows {
            let (prefix, event) = names.admit(row.prefix, row.event, bounds);
            if let Some(mut sizes) = row.sizes {
                let sum = of_hour.sizes.entry(event.clone()).or_default();
                let has_sample = sum.sample.is_some();
                // Unless a larger one of the same event has been looked into, or enough others wait already.
                let has_room = &*event != OTHER && (has_sample || *samples < USAGE_SAMPLES_MAX);
                sizes.sample = sizes.sample.filter(|_| has_room && names.is_larger(&event, sizes.largest));
                merge_sizes(sum, *sizes);
                *samples = *samples + usize::from(sum.sample.is_some()) - usize::from(has_sample);
            }
            *of_hour.rows.entry((prefix, event)).or_default() += row.usage;
        }
        for (prefix, waits) in reading.waits {
            let prefix = names.admit_prefix(prefix, bounds);
            of_hour.waits.entry(prefix).or_default().merge(&waits);
        }
        unwritten.forget_hours();
    }

    /// An app has had so many connections at once.
    pub(crate) fn peak(&self, app: &str, connections: u64, now_secs: u64) {
        let mut unwritten = self.unwritten.lock();
        let hour = now_secs / HOUR_SECS;
        if open(&mut unwritten.names, app, hour).is_peak(connections) {
            let of_hour = unwritten.hours.entry((app.into(), hour)).or_default();
            of_hour.peak = of_hour.peak.max(connections);
            unwritten.forget_hours();
        }
    }

    /// Takes what there is to write; none if there is nothing. And how many hours were forgotten before.
    pub(crate) fn take(&self) -> (BTreeMap<(Box<str>, u64), Hour>, u64) {
        let mut unwritten = self.unwritten.lock();
        unwritten.samples = 0;
        (std::mem::take(&mut unwritten.hours), std::mem::take(&mut unwritten.forgotten))
    }

    /// What is not written yet of an app.
    pub(crate) fn unwritten(&self, app: &str) -> Vec<(u64, Hour)> {
        let unwritten = self.unwritten.lock();
        let of_app = unwritten.hours.range((app.into(), 0)..=(app.into(), u64::MAX));
        of_app.map(|((_, hour), of_hour)| (*hour, of_hour.clone())).collect()
    }

    /// Asks the clerk. The answer is a finished body.
    pub(crate) fn ask(&self, question: Question) -> Result<oneshot::Receiver<Result<bytes::Bytes, Unanswered>>, Busy> {
        let (answer, answered) = oneshot::channel();
        let clerk = self.clerk.get().ok_or(Busy)?;
        // Where as many wait as may, whoever asks is to try again.
        clerk.try_send(Errand::Answer { question: Box::new(question), answer }).map_err(|_| Busy)?;
        Ok(answered)
    }
}

impl Unwritten {
    /// A disk that takes nothing must not fill the memory.
    fn forget_hours(&mut self) {
        while self.hours.len() > USAGE_HOURS_UNWRITTEN_MAX {
            let oldest = self.hours.keys().min_by_key(|(_, hour)| *hour).cloned();
            let forgotten = oldest.and_then(|oldest| self.hours.remove(&oldest));
            let samples = forgotten.iter().flat_map(|hour| hour.sizes.values()).filter(|sizes| sizes.sample.is_some());
            self.samples -= samples.count();
            self.forgotten += 1;
        }
    }
}

/// The names of an app's hour.
fn open<'a>(names: &'a mut BTreeMap<Box<str>, Names>, app: &str, hour: u64) -> &'a mut Names {
    // The app's name is made anew for a new app alone.
    if !names.contains_key(app) {
        names.insert(app.into(), Names::of(hour));
    }
    let names = names.get_mut(app).expect("it has just been looked for");
    names.turn_to(hour);
    names
}
