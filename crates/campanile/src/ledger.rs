//! What each app has used, by day and by month, over restarts.
//!
//! Owns the accounts, and their file in `state_dir`. Never counts by itself: workers bring what their minds and doors have
//! counted, twice a second. The invariant: what is in the file was used; what was used in the last five seconds before a kill
//! may be missing there. Days and months are UTC's. Read on in [`campanile_hub::meter`] for what is
//! counted, and in [`crate::config::Budget`] for what may be used.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use campanile_hub::Usage;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::calendar;
use crate::config::{Budget, OnSpent, Period};

/// The file in `state_dir`.
const FILE: &str = "usage.json";
/// Told on the way: percent of a budget.
const WARN_AT: [u8; 3] = [50, 80, 100];

/// Why the accounts cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds something else.
    #[error(
        "{} is damaged ({reason}), so budgets cannot go on from it: restore it, or remove it for budgets to begin at 0",
        path.display()
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// The file as it is written.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Written {
    /// How often it was written.
    flush: u64,
    apps: BTreeMap<String, Account>,
}

/// What one app has used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Account {
    day: Part,
    month: Part,
}

/// What it has used in one period.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Part {
    /// Which day or month: days since 1970, months since the year 0.
    number: u64,
    #[serde(flatten, with = "by_name")]
    usage: Usage,
    /// Up to how many percent of a budget were told.
    #[serde(default)]
    told: u8,
}

impl Part {
    fn turn_to(&mut self, number: u64) {
        // A clock that was set back does not give anybody a budget twice.
        if number > self.number {
            *self = Self { number, ..Self::default() };
        }
    }
}

/// Usage as a table: how many of each unit, by its name.
mod by_name {
    use std::collections::BTreeMap;

    use campanile_hub::{Unit, Usage};
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(usage: &Usage, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(Unit::ALL.map(|unit| (unit.name(), usage.get(unit))))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Usage, D::Error> {
        let counts = BTreeMap::<String, u64>::deserialize(from)?;
        let mut usage = Usage::default();
        Unit::ALL.into_iter().for_each(|unit| usage.count(unit, counts.get(unit.name()).copied().unwrap_or(0)));
        Ok(usage)
    }
}

/// A budget that is spent, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spent {
    pub(crate) on_spent: OnSpent,
    /// In seconds since 1970.
    pub(crate) until: u64,
}

/// A part of a budget that was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Warning {
    pub(crate) rule: Arc<str>,
    pub(crate) per: Period,
    pub(crate) percent: u8,
    pub(crate) messages: u64,
    pub(crate) of: u64,
}

/// How a budget stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Standing {
    rule: Arc<str>,
    per: &'static str,
    messages: u64,
    of: u64,
}

#[derive(Debug, Default)]
struct Books {
    written: Written,
    has_changed: bool,
}

/// The accounts of all apps.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    books: Mutex<Books>,
    /// None until it is opened: then nothing is kept.
    path: OnceLock<PathBuf>,
}

/// Now, in seconds since 1970.
pub(crate) fn now_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn number(per: Period, now_secs: u64) -> u64 {
    match per {
        Period::Day => calendar::day(now_secs),
        Period::Month => calendar::month(now_secs),
    }
}

fn end(per: Period, now_secs: u64) -> u64 {
    match per {
        Period::Day => calendar::end_of_day(now_secs),
        Period::Month => calendar::end_of_month(now_secs),
    }
}

impl Account {
    fn part(&mut self, per: Period, now_secs: u64) -> &mut Part {
        let part = match per {
            Period::Day => &mut self.day,
            Period::Month => &mut self.month,
        };
        part.turn_to(number(per, now_secs));
        part
    }
}

impl Ledger {
    /// Goes on from the file, if there is one.
    pub(crate) fn open(&self, state_dir: &Path) -> Result<(), LedgerError> {
        let path = state_dir.join(FILE);
        match fs::read(&path) {
            Ok(bytes) => {
                let written: Written = serde_json::from_slice(&bytes)
                    .map_err(|error| LedgerError::Damaged { path: path.clone(), reason: error.to_string() })?;
                tracing::info!(path = %path.display(), flush = written.flush, apps = written.apps.len(), "budgets go on from what was used before");
                self.books.lock().written = written;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(LedgerError::Read { path, source }),
        }
        self.path.get_or_init(|| path);
        Ok(())
    }

    /// An app has used more.
    pub(crate) fn add(&self, app: &str, usage: &Usage, now_secs: u64) {
        let mut books = self.books.lock();
        books.has_changed = true;
        let account = match books.written.apps.get_mut(app) {
            Some(account) => account,
            None => books.written.apps.entry(app.to_owned()).or_default(),
        };
        for per in [Period::Day, Period::Month] {
            account.part(per, now_secs).usage += *usage;
        }
    }

    /// How an app stands: which budget is spent, the one with the sharpest consequence; and what is to be told, each part
    /// once in its period.
    pub(crate) fn judge(&self, app: &str, budgets: &[Budget], now_secs: u64) -> (Option<Spent>, Vec<Warning>) {
        let (mut spent, mut warnings): (Option<Spent>, Vec<Warning>) = (None, Vec::new());
        let mut books = self.books.lock();
        let Books { written, has_changed } = &mut *books;
        let Some(account) = written.apps.get_mut(app) else { return (spent, warnings) };
        for budget in budgets {
            let part = account.part(budget.per, now_secs);
            let messages = part.usage.messages();
            let reached = |percent: u8| u128::from(messages) * 100 >= u128::from(budget.messages) * u128::from(percent);
            let percent = WARN_AT.into_iter().rfind(|percent| reached(*percent)).unwrap_or(0);
            if percent > part.told {
                let (rule, of) = (Arc::clone(&budget.name), budget.messages);
                warnings.push(Warning { rule, per: budget.per, percent, messages, of });
            }
            // Less than was told before: the budget has grown.
            *has_changed |= percent != part.told;
            part.told = percent;
            if messages >= budget.messages && budget.on_exceed > spent.map_or(OnSpent::Warn, |spent| spent.on_spent) {
                spent = Some(Spent { on_spent: budget.on_exceed, until: end(budget.per, now_secs) });
            }
        }
        (spent, warnings)
    }

    /// How an app's budgets stand.
    pub(crate) fn standings(&self, app: &str, budgets: &[Budget], now_secs: u64) -> Vec<Standing> {
        let mut account = self.books.lock().written.apps.get(app).cloned().unwrap_or_default();
        let standing = |budget: &Budget| Standing {
            rule: Arc::clone(&budget.name),
            per: budget.per.name(),
            messages: account.part(budget.per, now_secs).usage.messages(),
            of: budget.messages,
        };
        budgets.iter().map(standing).collect()
    }

    /// Writes the file, if anything has changed since it was last written.
    pub(crate) fn flush(&self) -> io::Result<()> {
        let Some(path) = self.path.get() else { return Ok(()) };
        let bytes = {
            let mut books = self.books.lock();
            if !books.has_changed {
                return Ok(());
            }
            books.has_changed = false;
            books.written.flush += 1;
            serde_json::to_vec(&books.written).map_err(io::Error::other)?
        };
        let done = replace(path, &bytes);
        if done.is_err() {
            self.books.lock().has_changed = true;
        }
        done
    }
}

/// Either the old file is there or the new one, whole.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("json.new");
    let mut file = File::options().create(true).truncate(true).write(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use campanile_hub::Unit;

    use super::*;

    /// 2026-11-24, 16:00.
    const NOW: u64 = 1_795_536_000;
    const DAY: u64 = 86_400;

    fn budget(per: Period, messages: u64, on_exceed: OnSpent) -> Budget {
        Budget { name: "budgets[0]".into(), per, messages, on_exceed }
    }

    fn used(ledger: &Ledger, count: u64, now: u64) {
        ledger.add("shop", &Usage::of(Unit::Delivery, count), now);
    }

    fn told(ledger: &Ledger, budget: &Budget, now: u64) -> Vec<u8> {
        let (_, warnings) = ledger.judge("shop", std::slice::from_ref(budget), now);
        warnings.iter().map(|warning| warning.percent).collect()
    }

    fn is_spent(ledger: &Ledger, budget: &Budget, now: u64) -> bool {
        ledger.judge("shop", std::slice::from_ref(budget), now).0.is_some()
    }

    #[test]
    fn as_many_messages_as_the_budget_are_left_alone_but_for_the_last_and_a_new_day_begins_at_nothing() {
        let (ledger, budget) = (Ledger::default(), budget(Period::Day, 100, OnSpent::Drop));
        used(&ledger, 99, NOW);
        assert!(!is_spent(&ledger, &budget, NOW));
        used(&ledger, 1, NOW);
        let until = NOW - NOW % DAY + DAY;
        let spent = Some(Spent { on_spent: OnSpent::Drop, until });
        assert_eq!(ledger.judge("shop", std::slice::from_ref(&budget), NOW).0, spent);
        assert!(is_spent(&ledger, &budget, until - 1) && !is_spent(&ledger, &budget, until));
        used(&ledger, 99, until);
        assert!(!is_spent(&ledger, &budget, until));
        assert!(!is_spent(&ledger, &budget, NOW), "a clock that is set back begins no new day");
    }

    #[test]
    fn every_unit_is_a_message() {
        let (ledger, budget) = (Ledger::default(), budget(Period::Month, 15, OnSpent::Refuse));
        for (count, unit) in (1..).zip(Unit::ALL) {
            ledger.add("shop", &Usage::of(unit, count), NOW);
        }
        assert!(is_spent(&ledger, &budget, NOW));
        let standings = ledger.standings("shop", std::slice::from_ref(&budget), NOW);
        let json = serde_json::to_string(&standings).unwrap();
        assert_eq!(json, r#"[{"rule":"budgets[0]","per":"month","messages":15,"of":15}]"#);
        assert_eq!(ledger.standings("other", &[budget], NOW)[0].messages, 0);
    }

    #[test]
    fn each_part_of_a_budget_is_told_once_in_its_period_at_its_bound_and_not_before() {
        let (ledger, budget) = (Ledger::default(), budget(Period::Day, 1000, OnSpent::Warn));
        let mut heard = Vec::new();
        for _ in 0..1100 {
            used(&ledger, 1, NOW);
            heard.extend(
                told(&ledger, &budget, NOW)
                    .into_iter()
                    .map(|percent| (percent, ledger.standings("shop", std::slice::from_ref(&budget), NOW)[0].messages)),
            );
        }
        assert_eq!(heard, [(50, 500), (80, 800), (100, 1000)]);
        assert!(!is_spent(&ledger, &budget, NOW), "a warning holds nothing up");
        used(&ledger, 2000, NOW + DAY);
        assert_eq!(told(&ledger, &budget, NOW + DAY), [100], "what is passed at once is told once");
        let larger = Budget { messages: 3000, ..budget };
        assert!(told(&ledger, &larger, NOW + DAY).is_empty());
        used(&ledger, 400, NOW + DAY);
        assert_eq!(told(&ledger, &larger, NOW + DAY), [80]);
    }

    #[test]
    fn of_several_budgets_the_sharpest_holds() {
        let ledger = Ledger::default();
        let budgets = [
            budget(Period::Day, 5, OnSpent::Refuse),
            budget(Period::Month, 5, OnSpent::Drop),
            budget(Period::Month, 5, OnSpent::Warn),
        ];
        used(&ledger, 5, NOW);
        let (spent, _) = ledger.judge("shop", &budgets, NOW);
        assert_eq!(spent.map(|spent| spent.on_spent), Some(OnSpent::Refuse));
        let (spent, _) = ledger.judge("shop", &budgets, NOW + DAY);
        assert_eq!(spent.map(|spent| spent.on_spent), Some(OnSpent::Drop));
    }

    #[test]
    fn another_life_goes_on_from_what_was_written_and_tells_nothing_twice() {
        let directory = tempfile::tempdir().unwrap();
        let budget = budget(Period::Month, 100, OnSpent::Drop);
        let open = || {
            let ledger = Ledger::default();
            ledger.open(directory.path()).unwrap();
            ledger
        };
        let ledger = open();
        ledger.flush().unwrap();
        assert!(!directory.path().join(FILE).exists(), "there is nothing to write");
        used(&ledger, 60, NOW);
        assert_eq!(told(&ledger, &budget, NOW), [50]);
        ledger.flush().unwrap();
        used(&ledger, 30, NOW);

        let ledger = open();
        assert_eq!(ledger.standings("shop", std::slice::from_ref(&budget), NOW)[0].messages, 60);
        assert!(told(&ledger, &budget, NOW).is_empty());
        used(&ledger, 40, NOW);
        assert_eq!(told(&ledger, &budget, NOW), [100]);
        ledger.flush().unwrap();
        assert!(is_spent(&open(), &budget, NOW));
        assert!(!is_spent(&open(), &budget, NOW + 31 * DAY));
    }

    #[test]
    fn a_damaged_file_stops_the_start() {
        let directory = tempfile::tempdir().unwrap();
        for text in ["", "{", "[]", r#"{"flush":1,"apps":{"shop":{}}}"#] {
            fs::write(directory.path().join(FILE), text).unwrap();
            let refused = Ledger::default().open(directory.path()).unwrap_err().to_string();
            assert!(refused.contains("usage.json is damaged"), "{refused}");
        }
    }

    #[test]
    fn what_could_not_be_written_is_written_the_next_time() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::default();
        let path = directory.path().join("state");
        fs::create_dir(&path).unwrap();
        ledger.open(&path).unwrap();
        used(&ledger, 7, NOW);
        fs::remove_dir(&path).unwrap();
        assert!(ledger.flush().is_err());
        fs::create_dir(&path).unwrap();
        ledger.flush().unwrap();
        assert!(path.join(FILE).exists());
    }
}
