//! The journal's file in `state_dir`.
//!
//! Owns the tables, and the way of a flush into them. Never counts, and never reads a clock. The invariants: a flush is there
//! whole or not at all, and once: its id is written with it, so one that was tried again is told from a new one. After an
//! I/O error the file is closed and opened again at the next use, because the store refuses to go on with a file it has
//! doubts about. All functions block on the disk. Read on in [`crate::clerk`], which calls them.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use campanile_hub::{Histogram, Sizes, Unit, Usage};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};

use super::fields::{self, LargestFields};
use super::names::Names;
use super::{Bounds, Flush, merge_sizes};

/// The file.
pub(crate) const FILE: &str = "usage.redb";
/// Memory for pages of the file.
const CACHE_BYTES: usize = 8 * 1024 * 1024;

/// As many as there are units, in their order.
type Counts = (u64, u64, u64, u64, u64);

/// App, hour, prefix, event -> what was used.
const ROWS: TableDefinition<'_, (&str, u64, &str, &str), Counts> = TableDefinition::new("rows");
/// App, hour -> what was used, and the most connections at once.
const HOURS: TableDefinition<'_, (&str, u64), (Counts, u64)> = TableDefinition::new("hours");
/// App, hour, and an event or a prefix.
type Named = (&'static str, u64, &'static str);

/// App, hour, event -> near the limit, the largest, a histogram.
const SIZES: TableDefinition<'_, Named, (u64, u64, &[u8])> = TableDefinition::new("sizes");
/// App, hour, event -> JSON of [`LargestFields`].
const FIELDS: TableDefinition<'_, Named, &[u8]> = TableDefinition::new("fields");
/// App, hour, prefix -> a histogram of milliseconds.
const WAITS: TableDefinition<'_, Named, &[u8]> = TableDefinition::new("waits");
/// The id of the last flush.
const FLUSHES: TableDefinition<'_, &str, u64> = TableDefinition::new("flushes");
const LAST: &str = "last";

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// What is there cannot be read as a journal.
    #[error(
        "cannot open {}: {source}: put back a copy of the file, or move it away for usage to be counted anew (budgets are in \
         usage.json)",
        path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Box<redb::Error>,
    },
    /// The disk or the file.
    #[error("{}: {source}", path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Box<redb::Error>,
    },
}

/// What the file had when it was opened.
#[derive(Debug, Default)]
pub(crate) struct Opened {
    /// The id of the last flush.
    pub(crate) flush: u64,
    /// The names that have rows in this hour.
    pub(crate) names: BTreeMap<Box<str>, Names>,
}

/// The file.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    database: Option<Database>,
}

/// What is read of an hour that was written.
pub(crate) trait Reader {
    /// All of an hour.
    fn hour(&mut self, _hour: u64, _usage: Usage, _peak: u64) {}
    /// A row of it.
    fn row(&mut self, _hour: u64, _prefix: &str, _event: &str, _usage: Usage) {}
    /// How large an event was.
    fn sizes(&mut self, _event: &str, _sizes: Sizes) {}
    /// What made it large.
    fn fields(&mut self, _event: &str, _fields: LargestFields) {}
    /// How long clients waited.
    fn waits(&mut self, _prefix: &str, _waits: Histogram) {}
}

fn to_counts(usage: Usage) -> Counts {
    let [calls, client_events, deliveries, presence, webhooks] = Unit::ALL.map(|unit| usage.get(unit));
    (calls, client_events, deliveries, presence, webhooks)
}

fn to_usage((calls, client_events, deliveries, presence, webhooks): Counts) -> Usage {
    let mut usage = Usage::default();
    let counts = [calls, client_events, deliveries, presence, webhooks];
    Unit::ALL.into_iter().zip(counts).for_each(|(unit, count)| usage.count(unit, count));
    usage
}

fn plus(one: Counts, other: Usage) -> Counts {
    let mut sum = to_usage(one);
    sum += other;
    to_counts(sum)
}

/// Nine bytes for each part: its number, and its count with the last byte first.
fn to_bytes(histogram: &Histogram) -> Vec<u8> {
    histogram.parts().flat_map(|(part, count)| [part].into_iter().chain(count.to_le_bytes())).collect()
}

fn to_histogram(bytes: &[u8]) -> Histogram {
    let part = |entry: &[u8]| Some((*entry.first()?, u64::from_le_bytes(entry.get(1..9)?.try_into().ok()?)));
    Histogram::from_parts(bytes.chunks(9).filter_map(part))
}

fn damaged(what: impl std::fmt::Display) -> redb::Error {
    redb::Error::Io(io::Error::new(io::ErrorKind::InvalidData, what.to_string()))
}

impl Store {
    /// Opens the file, or makes it. `hour` is the present one.
    pub(crate) fn open(state_dir: &Path, hour: u64) -> Result<(Self, Opened), JournalError> {
        let mut store = Self { path: state_dir.join(FILE), database: None };
        let opened = store.with(|database| {
            match database.begin_read()?.open_table(FLUSHES) {
                Ok(_) => {}
                // Tables exist from here on, so that readers need not ask.
                Err(TableError::TableDoesNotExist(_)) => {
                    let transaction = database.begin_write()?;
                    transaction.open_table(ROWS)?;
                    transaction.open_table(HOURS)?;
                    transaction.open_table(SIZES)?;
                    transaction.open_table(FIELDS)?;
                    transaction.open_table(WAITS)?;
                    transaction.open_table(FLUSHES)?;
                    transaction.commit()?;
                }
                Err(error) => return Err(error.into()),
            }
            read_opened(database, hour)
        })?;
        Ok((store, opened))
    }

    /// One whose file cannot be opened.
    #[cfg(test)]
    pub(crate) fn broken(directory: &Path) -> Self {
        Self { path: directory.join(FILE), database: None }
    }

    /// Runs `work` on the open file, and closes the file if that fails.
    fn with<T>(&mut self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, JournalError> {
        let database = match self.database.take() {
            Some(database) => database,
            None => Database::builder()
                .set_cache_size(CACHE_BYTES)
                .create(&self.path)
                .map_err(|error| JournalError::Open { path: self.path.clone(), source: Box::new(error.into()) })?,
        };
        match work(&database) {
            Ok(done) => {
                self.database = Some(database);
                Ok(done)
            }
            Err(source) => Err(JournalError::Store { path: self.path.clone(), source: Box::new(source) }),
        }
    }

    /// Writes a flush, durably, unless it has been written before.
    pub(crate) fn write(&mut self, flush: &Flush) -> Result<(), JournalError> {
        self.with(|database| {
            let transaction = database.begin_write()?;
            {
                let mut flushes = transaction.open_table(FLUSHES)?;
                // The last try may have succeeded without our having heard of it.
                if last(&flushes)? >= flush.id {
                    return Ok(());
                }
                flushes.insert(LAST, flush.id)?;
                let mut rows = transaction.open_table(ROWS)?;
                let mut hours = transaction.open_table(HOURS)?;
                let mut sizes = transaction.open_table(SIZES)?;
                let mut fields = transaction.open_table(FIELDS)?;
                let mut waits = transaction.open_table(WAITS)?;
                for ((app, hour), of_hour) in &flush.hours {
                    let (counts, peak) = hours.get((&**app, *hour))?.map(|of_hour| of_hour.value()).unwrap_or_default();
                    let of_all = (plus(counts, of_hour.usage()), peak.max(of_hour.peak));
                    hours.insert((&**app, *hour), of_all)?;
                    for ((prefix, event), usage) in &of_hour.rows {
                        let key = (&**app, *hour, &**prefix, &**event);
                        let counts = rows.get(key)?.map(|row| row.value()).unwrap_or_default();
                        rows.insert(key, plus(counts, *usage))?;
                    }
                    for (event, more) in &of_hour.sizes {
                        let key = (&**app, *hour, &**event);
                        let mut sum = sizes.get(key)?.map(|sizes| to_sizes(sizes.value())).unwrap_or_default();
                        merge_sizes(&mut sum, more.clone());
                        sizes.insert(key, (sum.near_limit, sum.largest, to_bytes(&sum.bytes).as_slice()))?;
                        let Some(sample) = &more.sample else { continue };
                        let largest = fields::largest(&sample.decode());
                        let known = fields.get(key)?.map(|known| to_fields(known.value())).transpose()?;
                        if known.is_none_or(|known| known.bytes < largest.bytes) {
                            fields.insert(key, serde_json::to_vec(&largest).map_err(damaged)?.as_slice())?;
                        }
                    }
                    for (prefix, more) in &of_hour.waits {
                        let key = (&**app, *hour, &**prefix);
                        let mut sum = waits.get(key)?.map(|waits| to_histogram(waits.value())).unwrap_or_default();
                        sum.merge(more);
                        waits.insert(key, to_bytes(&sum).as_slice())?;
                    }
                }
            }
            Ok(transaction.commit()?)
        })
    }

    /// The id of the last flush that is in the file.
    pub(crate) fn last_flush(&mut self) -> Result<u64, JournalError> {
        self.with(|database| last(&database.begin_read()?.open_table(FLUSHES)?))
    }

    /// Forgets all hours before this one. Returns how many rows that were.
    pub(crate) fn forget_before(&mut self, first: u64) -> Result<u64, JournalError> {
        self.with(|database| {
            let mut forgotten = 0;
            let transaction = database.begin_write()?;
            {
                transaction.open_table(HOURS)?.retain(|(_, hour), _| hour >= first)?;
                transaction.open_table(ROWS)?.retain(|(_, hour, _, _), _| {
                    forgotten += u64::from(hour < first);
                    hour >= first
                })?;
                transaction.open_table(SIZES)?.retain(|(_, hour, _), _| hour >= first)?;
                transaction.open_table(FIELDS)?.retain(|(_, hour, _), _| hour >= first)?;
                transaction.open_table(WAITS)?.retain(|(_, hour, _), _| hour >= first)?;
            }
            transaction.commit()?;
            Ok(forgotten)
        })
    }

    /// Reads an app's hours from the first to before the last: their sums.
    pub(crate) fn hours(
        &mut self,
        app: &str,
        hours: std::ops::Range<u64>,
        reader: &mut impl Reader,
    ) -> Result<(), JournalError> {
        self.with(|database| {
            let table = database.begin_read()?.open_table(HOURS)?;
            for entry in table.range((app, hours.start)..(app, hours.end))? {
                let (key, value) = entry?;
                let (counts, peak) = value.value();
                reader.hour(key.value().1, to_usage(counts), peak);
            }
            Ok(())
        })
    }

    /// The same by row. False: there were more than `rows_max`, and the rest is not read.
    pub(crate) fn rows(
        &mut self,
        app: &str,
        hours: std::ops::Range<u64>,
        rows_max: usize,
        reader: &mut impl Reader,
    ) -> Result<bool, JournalError> {
        self.with(|database| {
            let table = database.begin_read()?.open_table(ROWS)?;
            let entries = table.range((app, hours.start, "", "")..(app, hours.end, "", ""))?;
            for (at, entry) in entries.enumerate() {
                if at >= rows_max {
                    return Ok(false);
                }
                let (key, counts) = entry?;
                let (_, hour, prefix, event) = key.value();
                reader.row(hour, prefix, event, to_usage(counts.value()));
            }
            Ok(true)
        })
    }

    /// How large events were, and what made them so.
    pub(crate) fn sizes(
        &mut self,
        app: &str,
        hours: std::ops::Range<u64>,
        reader: &mut impl Reader,
    ) -> Result<(), JournalError> {
        self.with(|database| {
            let transaction = database.begin_read()?;
            for entry in transaction.open_table(SIZES)?.range((app, hours.start, "")..(app, hours.end, ""))? {
                let (key, value) = entry?;
                reader.sizes(key.value().2, to_sizes(value.value()));
            }
            for entry in transaction.open_table(FIELDS)?.range((app, hours.start, "")..(app, hours.end, ""))? {
                let (key, value) = entry?;
                reader.fields(key.value().2, to_fields(value.value())?);
            }
            Ok(())
        })
    }

    /// How long clients waited.
    pub(crate) fn waits(
        &mut self,
        app: &str,
        hours: std::ops::Range<u64>,
        reader: &mut impl Reader,
    ) -> Result<(), JournalError> {
        self.with(|database| {
            let table = database.begin_read()?.open_table(WAITS)?;
            for entry in table.range((app, hours.start, "")..(app, hours.end, ""))? {
                let (key, value) = entry?;
                reader.waits(key.value().2, to_histogram(value.value()));
            }
            Ok(())
        })
    }
}

fn last(flushes: &impl ReadableTable<&'static str, u64>) -> Result<u64, redb::Error> {
    Ok(flushes.get(LAST)?.map_or(0, |id| id.value()))
}

fn to_sizes((near_limit, largest, bytes): (u64, u64, &[u8])) -> Sizes {
    Sizes { bytes: to_histogram(bytes), near_limit, largest, sample: None }
}

fn to_fields(json: &[u8]) -> Result<LargestFields, redb::Error> {
    serde_json::from_slice(json).map_err(damaged)
}

/// Who has rows in this hour keeps them, whatever the bounds are now.
fn read_opened(database: &Database, hour: u64) -> Result<Opened, redb::Error> {
    let transaction = database.begin_read()?;
    let mut opened = Opened { flush: last(&transaction.open_table(FLUSHES)?)?, names: BTreeMap::new() };
    let any = Bounds { prefixes_max: usize::MAX, events_max: usize::MAX };
    // One look at each app, of which there are few, not at each hour.
    let (hours, rows) = (transaction.open_table(HOURS)?, transaction.open_table(ROWS)?);
    let mut next = hours.first()?.map(|(key, _)| key.value().0.to_owned());
    while let Some(app) = next {
        let names = opened.names.entry(app.as_str().into()).or_insert_with(|| Names::of(hour));
        if let Some(of_hour) = hours.get((app.as_str(), hour))? {
            names.is_peak(of_hour.value().1);
        }
        for entry in rows.range((app.as_str(), hour, "", "")..(app.as_str(), hour + 1, "", ""))? {
            let (key, _) = entry?;
            let (_, _, prefix, event) = key.value();
            names.admit(prefix.into(), event.into(), any);
        }
        let mut rest = hours.range((app.as_str(), u64::MAX)..)?;
        next = rest.next().transpose()?.map(|(key, _)| key.value().0.to_owned());
    }
    Ok(opened)
}
