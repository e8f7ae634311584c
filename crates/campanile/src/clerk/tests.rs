//! The clerk's desk: what is owed after a disk that fails.

use campanile_hub::{AppIndex, Meter, Subject, Unit};

use super::*;
use crate::config::default_plans;
use crate::journal::Bounds;
use crate::journal::question::{By, Format};

const NOW: u64 = 1_795_536_000;

fn desk(directory: &Path) -> Desk {
    let (store, opened) = Store::open(directory, NOW / HOUR_SECS).unwrap();
    Desk { store, flush: opened.flush, owed: None, journal: Arc::default(), has_failed: false }
}

fn use_some(desk: &Desk, count: u64) {
    let mut meter = Meter::new(1);
    meter.count(Subject { app: AppIndex(0), prefix: "a", event: "x" }, Unit::Delivery, count);
    let bounds = Bounds { prefixes_max: 10, events_max: 10 };
    desk.journal.add("shop", meter.take().remove(0), NOW, bounds);
}

fn used(desk: &mut Desk) -> String {
    let hour = NOW / HOUR_SECS;
    let question = Question {
        app: "shop".into(),
        hours: hour..hour + 1,
        by: By::Day,
        group: None,
        format: Format::Csv,
        now_secs: NOW,
        plans: default_plans(),
        kept_since: 0,
    };
    let csv = String::from_utf8(desk.answer(&question).unwrap().to_vec()).unwrap();
    csv.lines().nth(1).and_then(|line| line.split(',').nth(1)).unwrap_or_default().to_owned()
}

#[test]
fn what_could_not_be_written_is_told_kept_and_written_once_the_next_time() {
    let directory = tempfile::tempdir().unwrap();
    let mut desk = desk(directory.path());
    use_some(&desk, 1);
    desk.flush().unwrap();
    // A flush that fails is owed, and is told all the while; here, because it is in the file under the same id.
    use_some(&desk, 10);
    let hours = desk.journal.take().0;
    desk.flush += 1;
    desk.owed = Some(Flush { id: desk.flush, hours });
    use_some(&desk, 100);
    assert_eq!(used(&mut desk), "111");
    // It was written after all, and only nobody heard of it.
    let owed = desk.owed.clone().unwrap();
    desk.store.write(&owed).unwrap();
    assert_eq!(used(&mut desk), "111");
    desk.flush().unwrap();
    assert_eq!((used(&mut desk), desk.owed.clone()), ("111".to_owned(), None));
    drop(desk);
    let mut desk = self::desk(directory.path());
    assert_eq!(used(&mut desk), "111");
}

#[test]
fn a_desk_without_its_file_keeps_what_it_owes_and_goes_on_when_there_is_one() {
    let directory = tempfile::tempdir().unwrap();
    let state = directory.path().join("state");
    std::fs::create_dir(&state).unwrap();
    let mut desk = desk(&state);
    use_some(&desk, 1);
    // The store closes its file after an error; it is not there any more when it is opened again.
    desk.store = Store::broken(&directory.path().join("nowhere"));
    assert!(desk.flush().is_err() && desk.owed.is_some());
    use_some(&desk, 10);
    assert!(desk.flush().is_err());
    desk.store = Store::open(&state, NOW / HOUR_SECS).unwrap().0;
    desk.flush().unwrap();
    assert_eq!(used(&mut desk), "11");
}

#[test]
fn a_clerk_answers_writes_what_is_left_and_ends() {
    let directory = tempfile::tempdir().unwrap();
    let (ledger, journal): (Arc<Ledger>, Arc<Journal>) = Default::default();
    let clerk = Clerk::hire(ledger, Arc::clone(&journal), directory.path(), || 24).unwrap();
    let mut meter = Meter::new(1);
    meter.count(Subject { app: AppIndex(0), prefix: "a", event: "x" }, Unit::Delivery, 7);
    journal.add("shop", meter.take().remove(0), NOW, Bounds { prefixes_max: 10, events_max: 10 });
    clerk.finish().unwrap();
    assert_eq!(used(&mut desk(directory.path())), "7");
}
