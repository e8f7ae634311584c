//! One endpoint's events on disk: those that wait, and those whose delivery was given up.
//!
//! Owns the file, the order and the bounds. Never sends, waits or logs. What anybody can cause finds room only
//! in half of it ([`super::share`]). The invariant: an event is in the file, once,
//! from its commit until it is removed, and everything a commit changes it changes at once. After an I/O error the
//! file is closed and opened again at the next use, because the store refuses to go on with a file it has doubts about.
//! All functions block on the disk. Read on in [`super::endpoint`], which calls them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition, TableError};

use super::share::Share;

/// Memory for pages of one file. Files are small and read from the front.
const CACHE_BYTES: usize = 1024 * 1024;

/// How long removals may stay undurable: after a crash, what was delivered in that time is delivered again.
const REMOVALS_UNDURABLE_MAX: Duration = Duration::from_millis(200);

/// Number -> when it happened (milliseconds since 1970), the event's JSON.
const PENDING: TableDefinition<'_, u64, (u64, &[u8])> = TableDefinition::new("pending");
/// Number -> when it happened, when it was given up, the last error, the event's JSON.
const DEAD: TableDefinition<'_, u64, (u64, u64, &str, &[u8])> = TableDefinition::new("dead");
/// Counters that must agree with the tables or outlive them.
const COUNTERS: TableDefinition<'_, &str, u64> = TableDefinition::new("counters");

const NEXT_NUMBER: &str = "next_number";
const PENDING_BYTES: &str = "pending_bytes";
const LOST: &str = "lost";

/// Why an event that found no room was given up.
pub(super) const FULL: &str = "the endpoint's queue was full";

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum QueueError {
    /// Somebody else has it.
    #[error("{} is in use: another campanile serves with this state_dir", .0.display())]
    InUse(PathBuf),
    /// What is there cannot be read as a queue.
    #[error(
        "cannot open {}: {source}: put back a copy of the file, or move it away to begin with an empty queue",
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

/// Whether a file is there and has nothing in it, not even an empty queue: a start that was broken off left it so, or a
/// full disk.
pub(super) fn is_hollow(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.len() == 0)
}

/// How much may wait, and how much is kept after giving up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) events_max: u64,
    pub(super) bytes_max: u64,
    pub(super) dead_letters_max: u64,
}

/// An event on its way into the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) time_ms: u64,
    pub(super) json: Vec<u8>,
}

/// An event in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) number: u64,
    pub(super) event: Event,
}

/// An event whose delivery was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its number in the endpoint's file.
    pub number: u64,
    /// When it happened, in milliseconds since 1970.
    pub time_ms: u64,
    /// When it was given up.
    pub given_up_ms: u64,
    /// What the last attempt ended with.
    pub error: String,
    /// The event's JSON.
    pub json: Vec<u8>,
}

/// Where the events of one commit have gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Placed {
    pub(super) pending: u64,
    pub(super) dead: u64,
    pub(super) lost: u64,
}

/// How full the file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Fill {
    pub(super) pending_events: u64,
    pub(super) pending_bytes: u64,
    pub(super) dead_letters: u64,
    /// Events that not even the dead-letter list had room for, since the file was made.
    pub(super) lost: u64,
}

#[derive(Debug)]
struct Store {
    database: Option<Database>,
    durable_at: Instant,
}

/// The file.
#[derive(Debug)]
pub(super) struct Queue {
    path: PathBuf,
    store: Mutex<Store>,
}

impl Queue {
    /// Opens the file, or makes it.
    pub(super) fn open(path: &Path) -> Result<Self, QueueError> {
        let store = Mutex::new(Store { database: None, durable_at: Instant::now() });
        let queue = Self { path: path.to_owned(), store };
        queue.with(|store| {
            // Tables exist from here on, so that readers need not ask. All three are made by one commit.
            match store.database().begin_read()?.open_table(COUNTERS) {
                Ok(_) => return Ok(()),
                Err(TableError::TableDoesNotExist(_)) => {}
                Err(error) => return Err(error.into()),
            }
            let transaction = store.database().begin_write()?;
            transaction.open_table(PENDING)?;
            transaction.open_table(DEAD)?;
            transaction.open_table(COUNTERS)?;
            Ok(transaction.commit()?)
        })?;
        Ok(queue)
    }

    /// Runs `work` on the open file, and closes the file if that fails.
    fn with<T>(&self, work: impl FnOnce(&mut Store) -> Result<T, redb::Error>) -> Result<T, QueueError> {
        let mut store = self.store.lock();
        if store.database.is_none() {
            let database = Database::builder().set_cache_size(CACHE_BYTES).create(&self.path);
            store.database = Some(database.map_err(|error| self.not_opened(error.into()))?);
        }
        work(&mut store).map_err(|error| {
            store.database = None;
            self.failed(error)
        })
    }

    fn not_opened(&self, source: redb::Error) -> QueueError {
        match source {
            redb::Error::DatabaseAlreadyOpen => QueueError::InUse(self.path.clone()),
            source => QueueError::Open { path: self.path.clone(), source: Box::new(source) },
        }
    }

    fn failed(&self, source: redb::Error) -> QueueError {
        QueueError::Store { path: self.path.clone(), source: Box::new(source) }
    }

    /// Commits events, durably. Those past a bound, the newest, become dead letters, and past that bound are counted.
    pub(super) fn append(&self, events: &[Event], bounds: Bounds, now_ms: u64) -> Result<Placed, QueueError> {
        self.with(|store| {
            let mut placed = Placed::default();
            let transaction = store.database().begin_write()?;
            {
                let mut pending = transaction.open_table(PENDING)?;
                let mut dead = transaction.open_table(DEAD)?;
                let mut counters = transaction.open_table(COUNTERS)?;
                let mut number = counter(&counters, NEXT_NUMBER)?;
                let mut bytes = counter(&counters, PENDING_BYTES)?;
                let (mut waiting, mut given_up) = (pending.len()?, dead.len()?);
                for event in events {
                    let length = event.json.len() as u64;
                    let share = Share::of_event(&event.json);
                    if waiting < share.part(bounds.events_max) && bytes + length <= share.part(bounds.bytes_max) {
                        pending.insert(number, (event.time_ms, event.json.as_slice()))?;
                        waiting += 1;
                        bytes += length;
                        placed.pending += 1;
                    } else if given_up < share.part(bounds.dead_letters_max) {
                        dead.insert(number, (event.time_ms, now_ms, FULL, event.json.as_slice()))?;
                        given_up += 1;
                        placed.dead += 1;
                    } else {
                        placed.lost += 1;
                    }
                    number += 1;
                }
                let lost = counter(&counters, LOST)? + placed.lost;
                counters.insert(NEXT_NUMBER, number)?;
                counters.insert(PENDING_BYTES, bytes)?;
                counters.insert(LOST, lost)?;
            }
            transaction.commit()?;
            store.durable_at = Instant::now();
            Ok(placed)
        })
    }

    /// The oldest events: as many as fit both bounds, but at least one if any waits. Each counts a comma's byte too.
    pub(super) fn front(&self, events_max: usize, bytes_max: usize) -> Result<Vec<Pending>, QueueError> {
        self.with(|store| {
            let table = store.database().begin_read()?.open_table(PENDING)?;
            let mut batch = Vec::new();
            let mut bytes = 0;
            for entry in table.iter()?.take(events_max) {
                let (number, value) = entry?;
                let (time_ms, json) = value.value();
                bytes += json.len() + 1;
                if bytes > bytes_max && !batch.is_empty() {
                    break;
                }
                batch.push(Pending { number: number.value(), event: Event { time_ms, json: json.to_vec() } });
            }
            Ok(batch)
        })
    }

    /// Forgets what was delivered.
    pub(super) fn remove(&self, batch: &[Pending]) -> Result<(), QueueError> {
        self.with(|store| {
            let mut transaction = store.database().begin_write()?;
            let is_empty = {
                let mut pending = transaction.open_table(PENDING)?;
                let mut counters = transaction.open_table(COUNTERS)?;
                take_out(&mut pending, &mut counters, batch)?;
                pending.is_empty()?
            };
            let is_durable = is_empty || store.durable_at.elapsed() >= REMOVALS_UNDURABLE_MAX;
            if is_durable {
                store.durable_at = Instant::now();
            } else {
                transaction.set_durability(Durability::None)?;
            }
            Ok(transaction.commit()?)
        })
    }

    /// Gives up on a batch, durably: to the dead letters, and past their bound counted.
    pub(super) fn bury(
        &self,
        batch: &[Pending],
        error: &str,
        dead_letters_max: u64,
        now_ms: u64,
    ) -> Result<Placed, QueueError> {
        self.with(|store| {
            let mut placed = Placed::default();
            let transaction = store.database().begin_write()?;
            {
                let mut pending = transaction.open_table(PENDING)?;
                let mut dead = transaction.open_table(DEAD)?;
                let mut counters = transaction.open_table(COUNTERS)?;
                take_out(&mut pending, &mut counters, batch)?;
                let mut given_up = dead.len()?;
                for Pending { number, event } in batch {
                    if given_up < Share::of_event(&event.json).part(dead_letters_max) {
                        dead.insert(number, (event.time_ms, now_ms, error, event.json.as_slice()))?;
                        given_up += 1;
                        placed.dead += 1;
                    } else {
                        placed.lost += 1;
                    }
                }
                let lost = counter(&counters, LOST)? + placed.lost;
                counters.insert(LOST, lost)?;
            }
            transaction.commit()?;
            store.durable_at = Instant::now();
            Ok(placed)
        })
    }

    /// Dead letters in the order of their numbers, from the one after `after`.
    pub(super) fn dead_letters(&self, after: Option<u64>, max: usize) -> Result<Vec<DeadLetter>, QueueError> {
        let first = after.map_or(0, |number| number.saturating_add(1));
        self.with(|store| {
            let table = store.database().begin_read()?.open_table(DEAD)?;
            let mut letters = Vec::new();
            for entry in table.range(first..)?.take(max) {
                let (number, value) = entry?;
                let (time_ms, given_up_ms, error, json) = value.value();
                letters.push(DeadLetter {
                    number: number.value(),
                    time_ms,
                    given_up_ms,
                    error: error.to_owned(),
                    json: json.to_vec(),
                });
            }
            Ok(letters)
        })
    }

    /// Puts dead letters back, the oldest first, behind what waits, until the queue is full. Returns how many.
    pub(super) fn revive(&self, bounds: Bounds) -> Result<u64, QueueError> {
        self.with(|store| {
            let mut revived = 0;
            let transaction = store.database().begin_write()?;
            {
                let mut pending = transaction.open_table(PENDING)?;
                let mut dead = transaction.open_table(DEAD)?;
                let mut counters = transaction.open_table(COUNTERS)?;
                let mut number = counter(&counters, NEXT_NUMBER)?;
                let mut bytes = counter(&counters, PENDING_BYTES)?;
                let mut waiting = pending.len()?;
                while let Some(Pending { number: buried, event }) = oldest(&dead)? {
                    let length = event.json.len() as u64;
                    if waiting >= bounds.events_max || bytes + length > bounds.bytes_max {
                        break;
                    }
                    dead.remove(buried)?;
                    pending.insert(number, (event.time_ms, event.json.as_slice()))?;
                    number += 1;
                    waiting += 1;
                    bytes += length;
                    revived += 1;
                }
                counters.insert(NEXT_NUMBER, number)?;
                counters.insert(PENDING_BYTES, bytes)?;
            }
            transaction.commit()?;
            store.durable_at = Instant::now();
            Ok(revived)
        })
    }

    /// How full the file is.
    pub(super) fn fill(&self) -> Result<Fill, QueueError> {
        self.with(|store| {
            let transaction = store.database().begin_read()?;
            let counters = transaction.open_table(COUNTERS)?;
            Ok(Fill {
                pending_events: transaction.open_table(PENDING)?.len()?,
                pending_bytes: counter(&counters, PENDING_BYTES)?,
                dead_letters: transaction.open_table(DEAD)?.len()?,
                lost: counter(&counters, LOST)?,
            })
        })
    }
}

impl Store {
    fn database(&self) -> &Database {
        self.database.as_ref().expect("`Queue::with` has opened it")
    }
}

fn counter(counters: &impl ReadableTable<&'static str, u64>, name: &str) -> Result<u64, redb::Error> {
    Ok(counters.get(name)?.map_or(0, |value| value.value()))
}

fn oldest(
    dead: &impl ReadableTable<u64, (u64, u64, &'static str, &'static [u8])>,
) -> Result<Option<Pending>, redb::Error> {
    Ok(dead.first()?.map(|(number, value)| {
        let (time_ms, _, _, json) = value.value();
        Pending { number: number.value(), event: Event { time_ms, json: json.to_vec() } }
    }))
}

fn take_out(
    pending: &mut redb::Table<'_, u64, (u64, &'static [u8])>,
    counters: &mut redb::Table<'_, &'static str, u64>,
    batch: &[Pending],
) -> Result<(), redb::Error> {
    let mut bytes = counter(counters, PENDING_BYTES)?;
    for entry in batch {
        if pending.remove(entry.number)?.is_some() {
            bytes = bytes.saturating_sub(entry.event.json.len() as u64);
        }
    }
    counters.insert(PENDING_BYTES, bytes)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOMY: Bounds = Bounds { events_max: 1000, bytes_max: 1_000_000, dead_letters_max: 1000 };

    fn event(json: &str) -> Event {
        Event { time_ms: 5, json: json.as_bytes().to_vec() }
    }

    fn events(texts: &[&str]) -> Vec<Event> {
        texts.iter().map(|text| event(text)).collect()
    }

    fn texts(batch: &[Pending]) -> Vec<&str> {
        batch.iter().map(|entry| std::str::from_utf8(&entry.event.json).unwrap()).collect()
    }

    fn dead(queue: &Queue) -> Vec<(String, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let letters = queue.dead_letters(None, 1000).unwrap();
        letters.iter().map(|letter| (text(&letter.json), letter.error.clone())).collect()
    }

    fn fresh() -> (tempfile::TempDir, Queue) {
        let directory = tempfile::tempdir().unwrap();
        let queue = Queue::open(&directory.path().join("q.redb")).unwrap();
        (directory, queue)
    }

    #[test]
    fn events_come_out_in_order_and_stay_until_removed_even_over_a_restart() {
        let (directory, queue) = fresh();
        queue.append(&events(&["a", "b", "c"]), ROOMY, 0).unwrap();
        let first = queue.front(2, 1000).unwrap();
        assert_eq!(texts(&first), ["a", "b"]);
        assert_eq!(first[0].event.time_ms, 5);
        queue.remove(&first).unwrap();
        drop(queue);

        let queue = Queue::open(&directory.path().join("q.redb")).unwrap();
        assert_eq!(texts(&queue.front(9, 1000).unwrap()), ["c"]);
        queue.append(&events(&["d"]), ROOMY, 0).unwrap();
        assert_eq!(texts(&queue.front(9, 1000).unwrap()), ["c", "d"]);
        let fill = Fill { pending_events: 2, pending_bytes: 2, dead_letters: 0, lost: 0 };
        assert_eq!(queue.fill().unwrap(), fill);
    }

    #[test]
    fn an_empty_file_becomes_a_queue_and_a_damaged_one_is_refused_and_left_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("q.redb");
        assert!(!is_hollow(&path));
        std::fs::write(&path, "").unwrap();
        assert!(is_hollow(&path));
        drop(Queue::open(&path).unwrap());
        assert!(!is_hollow(&path));
        for damaged in [b"x".repeat(10), b"not a queue".repeat(10_000), std::fs::read(&path).unwrap()[..5000].to_vec()]
        {
            std::fs::write(&path, &damaged).unwrap();
            let refused = Queue::open(&path).unwrap_err().to_string();
            assert!(refused.contains("move it away") && refused.contains("q.redb"), "{refused}");
            assert_eq!(std::fs::read(&path).unwrap(), damaged);
        }
    }

    #[test]
    fn the_queue_takes_as_many_events_as_its_bound_and_buries_the_next() {
        let (_directory, queue) = fresh();
        let bounds = Bounds { events_max: 2, ..ROOMY };
        let placed = queue.append(&events(&["a", "b", "c"]), bounds, 7).unwrap();
        assert_eq!(placed, Placed { pending: 2, dead: 1, lost: 0 });
        assert_eq!(texts(&queue.front(9, 1000).unwrap()), ["a", "b"]);
        assert_eq!(dead(&queue), [("c".to_owned(), FULL.to_owned())]);
        assert_eq!(queue.dead_letters(None, 1).unwrap()[0].given_up_ms, 7);
    }

    #[test]
    fn the_queue_takes_as_many_bytes_as_its_bound_and_buries_the_next() {
        let (_directory, queue) = fresh();
        let bounds = Bounds { bytes_max: 5, ..ROOMY };
        let placed = queue.append(&events(&["abc", "de", "f"]), bounds, 0).unwrap();
        assert_eq!(placed, Placed { pending: 2, dead: 1, lost: 0 });
        queue.remove(&queue.front(1, 1000).unwrap()).unwrap();
        assert_eq!(queue.append(&events(&["ghi", "j"]), bounds, 0).unwrap(), Placed { pending: 1, dead: 1, lost: 0 });
    }

    #[test]
    fn what_anybody_can_cause_finds_room_in_half_of_the_queue_and_of_the_dead_letters() {
        const PUBLIC: &str = r#"{"channel":"c"}"#;
        const SIGNED: &str = r#"{"channel":"private-c"}"#;
        let bounds = Bounds { events_max: 4, dead_letters_max: 4, ..ROOMY };
        let (_directory, queue) = fresh();
        let placed = queue.append(&events(&[PUBLIC; 5]), bounds, 0).unwrap();
        assert_eq!(placed, Placed { pending: 2, dead: 2, lost: 1 });
        let placed = queue.append(&events(&[SIGNED; 5]), bounds, 0).unwrap();
        assert_eq!(placed, Placed { pending: 2, dead: 2, lost: 1 });
        assert_eq!(queue.append(&events(&[PUBLIC]), bounds, 0).unwrap().lost, 1);

        let (_directory, queue) = fresh();
        let bounds = Bounds { bytes_max: 4 * PUBLIC.len() as u64, ..ROOMY };
        let placed = queue.append(&events(&[PUBLIC, PUBLIC, PUBLIC, SIGNED]), bounds, 0).unwrap();
        assert_eq!(placed, Placed { pending: 3, dead: 1, lost: 0 });

        let (_directory, queue) = fresh();
        queue.append(&events(&[PUBLIC, PUBLIC, PUBLIC, SIGNED, SIGNED]), ROOMY, 0).unwrap();
        let placed = queue.bury(&queue.front(9, 1000).unwrap(), "answered 500", 3, 0).unwrap();
        assert_eq!(placed, Placed { pending: 0, dead: 3, lost: 2 });
        assert_eq!(dead(&queue).iter().filter(|(json, _)| json == PUBLIC).count(), 2);
    }

    #[test]
    fn the_dead_letters_are_as_many_as_their_bound_and_the_next_is_counted() {
        let (_directory, queue) = fresh();
        let bounds = Bounds { events_max: 1, dead_letters_max: 2, ..ROOMY };
        let placed = queue.append(&events(&["a", "b", "c", "d"]), bounds, 0).unwrap();
        assert_eq!(placed, Placed { pending: 1, dead: 2, lost: 1 });
        let batch = queue.front(9, 1000).unwrap();
        let placed = queue.bury(&batch, "answered 500", 2, 0).unwrap();
        assert_eq!(placed, Placed { pending: 0, dead: 0, lost: 1 });
        let fill = Fill { pending_events: 0, pending_bytes: 0, dead_letters: 2, lost: 2 };
        assert_eq!(queue.fill().unwrap(), fill);
    }

    #[test]
    fn a_buried_batch_keeps_its_error_and_can_be_revived_behind_what_waits() {
        let (_directory, queue) = fresh();
        queue.append(&events(&["a", "b"]), ROOMY, 0).unwrap();
        queue.bury(&queue.front(9, 1000).unwrap(), "answered 500", 9, 0).unwrap();
        queue.append(&events(&["c"]), ROOMY, 0).unwrap();
        let error = "answered 500".to_owned();
        assert_eq!(dead(&queue), [("a".to_owned(), error.clone()), ("b".to_owned(), error.clone())]);
        assert_eq!(queue.dead_letters(Some(0), 9).unwrap().len(), 1);

        assert_eq!(queue.revive(Bounds { events_max: 2, ..ROOMY }).unwrap(), 1);
        assert_eq!(texts(&queue.front(9, 1000).unwrap()), ["c", "a"]);
        assert_eq!(dead(&queue), [("b".to_owned(), error)]);
        assert_eq!(queue.revive(ROOMY).unwrap(), 1);
        assert_eq!(texts(&queue.front(9, 1000).unwrap()), ["c", "a", "b"]);
        assert_eq!(queue.fill().unwrap().pending_bytes, 3);
    }

    #[test]
    fn a_batch_fills_its_bytes_and_no_more_but_is_never_empty() {
        let (_directory, queue) = fresh();
        queue.append(&events(&["abc", "def", "ghi"]), ROOMY, 0).unwrap();
        assert_eq!(texts(&queue.front(9, 8).unwrap()), ["abc", "def"]);
        assert_eq!(texts(&queue.front(9, 7).unwrap()), ["abc"]);
        assert_eq!(texts(&queue.front(9, 1).unwrap()), ["abc"]);
        assert_eq!(texts(&queue.front(1, 100).unwrap()), ["abc"]);
    }

    #[test]
    fn what_is_on_disk_after_a_commit_is_enough_to_go_on_from() {
        let (directory, queue) = fresh();
        queue.append(&events(&["a", "b"]), ROOMY, 0).unwrap();
        queue.remove(&queue.front(1, 1000).unwrap()).unwrap();
        queue.append(&events(&["c"]), ROOMY, 0).unwrap();
        // The file as a crash would leave it: in use, never closed.
        let crashed = directory.path().join("crashed.redb");
        std::fs::copy(directory.path().join("q.redb"), &crashed).unwrap();
        queue.append(&events(&["d"]), ROOMY, 0).unwrap();

        let recovered = Queue::open(&crashed).unwrap();
        assert_eq!(texts(&recovered.front(9, 1000).unwrap()), ["b", "c"]);
        let fill = Fill { pending_events: 2, pending_bytes: 2, dead_letters: 0, lost: 0 };
        assert_eq!(recovered.fill().unwrap(), fill);
    }

    #[test]
    fn a_file_has_one_owner_at_a_time() {
        let (directory, queue) = fresh();
        let path = directory.path().join("q.redb");
        assert!(matches!(Queue::open(&path), Err(QueueError::InUse(_))));
        drop(queue);
        assert!(Queue::open(&path).is_ok());
    }
}
