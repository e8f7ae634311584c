//! Two tabs and a phone agree, whatever their user does with which of them.
//!
//! Owns a model of an inbox, as a plain list, and a phone that only knows what `changes_since` tells it. Never asks the
//! store how many are unread without counting by itself. The invariant: after each action the model, the tabs and the
//! store say the same, and after each look so does the phone.

use std::collections::BTreeMap;

use campanile_inbox::{
    Change, ChangesQuery, Draft, InboxError, Mark, Notification, Recipients, Seen, State, Status, Stroke, Uuid,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::stage::{Kind, Stage, to};

#[derive(Debug, Clone)]
enum Action {
    Arrives { category: u8, digest: bool },
    Announce { category: u8 },
    Mark { which: prop::sample::Index, mark: u8 },
    ReadAll { up_to: prop::sample::Index, category: Option<u8>, with_announcements: bool },
    SeenUpTo { up_to: prop::sample::Index, with_announcements: bool },
    SeenIds { which: Vec<prop::sample::Index> },
    ArchiveRead { up_to: prop::sample::Index },
    Retract { which: prop::sample::Index },
    PhoneLooks { limit: usize },
}

fn action() -> impl Strategy<Value = Action> {
    use prop::sample::Index;
    prop_oneof![
        6 => (0..3u8, any::<bool>()).prop_map(|(category, digest)| Action::Arrives { category, digest }),
        2 => (0..3u8).prop_map(|category| Action::Announce { category }),
        8 => (any::<Index>(), 0..6u8).prop_map(|(which, mark)| Action::Mark { which, mark }),
        3 => (any::<Index>(), prop::option::of(1..3u8), any::<bool>())
            .prop_map(|(up_to, category, with_announcements)| Action::ReadAll { up_to, category, with_announcements }),
        2 => (any::<Index>(), any::<bool>())
            .prop_map(|(up_to, with_announcements)| Action::SeenUpTo { up_to, with_announcements }),
        1 => prop::collection::vec(any::<Index>(), 0..4).prop_map(|which| Action::SeenIds { which }),
        1 => any::<Index>().prop_map(|up_to| Action::ArchiveRead { up_to }),
        1 => any::<Index>().prop_map(|which| Action::Retract { which }),
        2 => (1..5usize).prop_map(|limit| Action::PhoneLooks { limit }),
    ]
}

/// What the user would say of one notification.
#[derive(Debug, Clone)]
struct Believed {
    id: Uuid,
    /// What it can be taken back by; nothing if others were gathered into it.
    key: Option<String>,
    number: i64,
    is_announcement: bool,
    category: u8,
    digest: Option<String>,
    is_read: bool,
    is_seen: bool,
    is_archived: bool,
    is_snoozed: bool,
}

impl Believed {
    fn is_open(&self) -> bool {
        !self.is_archived && !self.is_snoozed
    }

    fn read(&mut self) {
        (self.is_read, self.is_seen) = (true, true);
        self.digest = None;
    }
}

fn category(category: u8) -> Option<String> {
    (category > 0).then(|| format!("c{category}"))
}

/// A device that is offline but when it looks.
#[derive(Default)]
struct Phone {
    rows: BTreeMap<Uuid, Notification>,
    rev: i64,
    announced: i64,
}

impl Phone {
    async fn look(&mut self, stage: &Stage, app: &str, limit: usize) {
        loop {
            let query = ChangesQuery { since: self.rev, announced: Some(self.announced), limit: Some(limit) };
            let page = match stage.inbox.changes_since(app, "7", query).await {
                Ok(page) => page,
                Err(InboxError::TooOld { .. }) => panic!("nothing was forgotten"),
                Err(error) => panic!("{error}"),
            };
            for floor in &page.floors {
                for row in self.rows.values_mut() {
                    let is_covered = row.announcement == floor.announcements
                        && row.seq <= floor.up_to
                        && row.rev < floor.rev
                        && (floor.category.is_none() || floor.category == row.category);
                    if is_covered {
                        row.seen_at.get_or_insert(floor.at);
                        if floor.mark == Stroke::Read {
                            row.read_at.get_or_insert(floor.at);
                        }
                    }
                }
            }
            for notification in page.notifications {
                self.rows.insert(notification.id, notification);
            }
            for id in page.gone {
                self.rows.remove(&id);
            }
            if let Some(next) = page.next {
                self.rev = next;
                continue;
            }
            (self.rev, self.announced) = (page.state.rev, page.state.announced);
            return;
        }
    }

    fn badge(&self) -> (i64, i64) {
        let open = || self.rows.values().filter(|row| row.archived_at.is_none() && row.snoozed_until.is_none());
        let unread = open().filter(|row| row.read_at.is_none()).count();
        let unseen = open().filter(|row| row.seen_at.is_none()).count();
        (i64::try_from(unread).unwrap(), i64::try_from(unseen).unwrap())
    }
}

struct World {
    app: String,
    believed: Vec<Believed>,
    phone: Phone,
    /// What the last change said, on each of the two tabs.
    tabs: State,
    keys: u64,
}

impl World {
    fn badge(&self) -> (i64, i64) {
        let open = || self.believed.iter().filter(|believed| believed.is_open());
        let unread = open().filter(|believed| !believed.is_read).count();
        let unseen = open().filter(|believed| !believed.is_seen).count();
        (i64::try_from(unread).unwrap(), i64::try_from(unseen).unwrap())
    }

    /// Hears what was told, as pages do that drop what is older than what they know.
    fn hear(&mut self, stage: &mut Stage) {
        while let Some(change) = stage.changes.try_next() {
            if let Change::Arrived { state, app, .. } | Change::Updated { state, app, .. } = change
                && app == self.app
                && state.rev >= self.tabs.rev
            {
                self.tabs = state;
            }
        }
    }

    async fn act(&mut self, stage: &mut Stage, action: &Action) {
        let app = self.app.clone();
        let state = stage.inbox.state(&app, "7").await.unwrap();
        match action {
            Action::Arrives { category: of, digest } => {
                self.keys += 1;
                let key = format!("k{}", self.keys);
                let group = digest.then(|| "group".to_owned());
                let draft =
                    Draft { key: Some(key.clone()), category: category(*of), digest: group.clone(), ..to("7", "t") };
                let id = stage.inbox.accept(&app, draft).await.unwrap().id();
                stage.at_rest().await;
                let gathers = |believed: &&mut Believed| digest & believed.digest.is_some();
                if let Some(gathering) = self.believed.iter_mut().find(gathers) {
                    gathering.is_seen = false;
                    gathering.key = None;
                } else {
                    let number = state.seq + 1;
                    self.believe(id, Some(key), number, false, *of, group);
                }
            }
            Action::Announce { category: of } => {
                self.keys += 1;
                let key = format!("k{}", self.keys);
                let draft = Draft {
                    key: Some(key.clone()),
                    category: category(*of),
                    ..Draft::new(Recipients::All(true), "news", "t")
                };
                let id = stage.inbox.accept(&app, draft).await.unwrap().id();
                stage.at_rest().await;
                self.believe(id, Some(key), state.announced + 1, true, *of, None);
            }
            Action::Mark { which, mark } => {
                if self.believed.is_empty() {
                    return;
                }
                let believed = which.get(&self.believed).id;
                let believed = self.believed.iter_mut().find(|other| other.id == believed).unwrap();
                let mark = match mark {
                    0 => Mark::Read,
                    1 => Mark::Unread,
                    2 => Mark::Seen,
                    3 => Mark::Archive,
                    4 => Mark::Unarchive,
                    _ => Mark::Snooze(stage.clock.now().plus(crate::stage::DAY)),
                };
                match mark {
                    Mark::Read => believed.read(),
                    Mark::Unread => believed.is_read = false,
                    Mark::Seen => believed.is_seen = true,
                    Mark::Archive => {
                        (believed.is_archived, believed.is_snoozed, believed.digest) = (true, false, None);
                    }
                    Mark::Unarchive => believed.is_archived = false,
                    Mark::Snooze(_) => {
                        (believed.is_archived, believed.is_snoozed, believed.digest) = (false, true, None);
                    }
                }
                let marked = stage.inbox.mark(&app, "7", believed.id, mark).await.unwrap();
                let shown = &marked.notification;
                let is = (shown.read_at.is_some(), shown.seen_at.is_some(), shown.archived_at.is_some());
                assert_eq!(is, (believed.is_read, believed.is_seen, believed.is_archived));
            }
            Action::ReadAll { up_to, category: of, with_announcements } => {
                let seq = i64::try_from(up_to.index(usize::try_from(state.seq).unwrap() + 1)).unwrap();
                let announced = i64::try_from(up_to.index(usize::try_from(state.announced).unwrap() + 1)).unwrap();
                let given = with_announcements.then_some(announced);
                let category = of.and_then(category);
                stage.inbox.read_all(&app, "7", seq, given, category.as_deref()).await.unwrap();
                for believed in self.up_to(seq, given) {
                    if of.is_none_or(|of| of == believed.category) {
                        believed.read();
                    }
                }
            }
            Action::SeenUpTo { up_to, with_announcements } => {
                let seq = i64::try_from(up_to.index(usize::try_from(state.seq).unwrap() + 1)).unwrap();
                let announced = i64::try_from(up_to.index(usize::try_from(state.announced).unwrap() + 1)).unwrap();
                let given = with_announcements.then_some(announced);
                stage.inbox.seen(&app, "7", Seen::UpTo { seq, announced: given }).await.unwrap();
                self.up_to(seq, given).for_each(|believed| believed.is_seen = true);
            }
            Action::SeenIds { which } => {
                if self.believed.is_empty() {
                    return;
                }
                let ids: Vec<Uuid> = which.iter().map(|which| which.get(&self.believed).id).collect();
                stage.inbox.seen(&app, "7", Seen::Ids(ids.clone())).await.unwrap();
                let seen = self.believed.iter_mut().filter(|believed| ids.contains(&believed.id));
                seen.for_each(|believed| believed.is_seen = true);
            }
            Action::ArchiveRead { up_to } => {
                let seq = i64::try_from(up_to.index(usize::try_from(state.seq).unwrap() + 1)).unwrap();
                stage.inbox.archive_read(&app, "7", seq).await.unwrap();
                for believed in self.up_to(seq, None) {
                    if believed.is_read && believed.is_open() {
                        believed.is_archived = true;
                    }
                }
            }
            Action::Retract { which } => {
                if self.believed.is_empty() {
                    return;
                }
                let at = which.index(self.believed.len());
                if let Some(key) = self.believed[at].key.clone() {
                    assert_eq!(stage.inbox.cancel(&app, &key).await.unwrap().retracted, 1);
                    self.believed.remove(at);
                }
            }
            Action::PhoneLooks { limit } => {
                self.phone.look(stage, &app, *limit).await;
                assert_eq!(self.phone.badge(), self.badge(), "the phone");
            }
        }
    }

    fn believe(
        &mut self,
        id: Uuid,
        key: Option<String>,
        number: i64,
        is_announcement: bool,
        category: u8,
        digest: Option<String>,
    ) {
        self.believed.push(Believed {
            id,
            key,
            number,
            is_announcement,
            category,
            digest,
            is_read: false,
            is_seen: false,
            is_archived: false,
            is_snoozed: false,
        });
    }

    fn up_to(&mut self, seq: i64, announced: Option<i64>) -> impl Iterator<Item = &mut Believed> {
        self.believed.iter_mut().filter(move |believed| {
            believed.number <= if believed.is_announcement { announced.unwrap_or(0) } else { seq }
        })
    }
}

/// Every sequence in an app of its own, in one store.
fn agree(kind: Kind, cases: u32) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let stage = std::cell::RefCell::new(runtime.block_on(Stage::open(kind)));
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let sequences = prop::collection::vec(action(), 1..40);
    let apps = std::cell::Cell::new(0);
    let outcome = runner.run(&sequences, |actions| {
        apps.set(apps.get() + 1);
        let mut world = World {
            app: format!("app{}", apps.get()),
            believed: Vec::new(),
            phone: Phone::default(),
            tabs: State::default(),
            keys: 0,
        };
        let mut stage = stage.borrow_mut();
        runtime.block_on(async {
            for action in &actions {
                world.act(&mut stage, action).await;
                let state = stage.inbox.state(&world.app, "7").await.unwrap();
                assert_eq!((state.unread, state.unseen), world.badge(), "the store, after {action:?}");
                world.hear(&mut stage);
                assert_eq!((world.tabs.seq, world.tabs.rev), (state.seq, state.rev), "the tabs, after {action:?}");
            }
            world.phone.look(&stage, &world.app, 3).await;
            assert_eq!(world.phone.badge(), world.badge(), "the phone, at the end");
            let query = campanile_inbox::PageQuery {
                status: Status::All,
                limit: Some(100),
                ..campanile_inbox::PageQuery::default()
            };
            let page = stage.inbox.page(&world.app, "7", query).await.unwrap();
            let shown: BTreeMap<Uuid, _> = page.notifications.iter().map(|n| (n.id, n)).collect();
            assert_eq!(shown.keys().collect::<Vec<_>>(), world.phone.rows.keys().collect::<Vec<_>>());
            for (id, row) in shown {
                let known = &world.phone.rows[&id];
                let marks = |n: &Notification| {
                    (n.read_at.is_some(), n.seen_at.is_some(), n.archived_at.is_some(), n.snoozed_until, n.group_count)
                };
                assert_eq!(marks(row), marks(known));
            }
        });
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    runtime.block_on(stage.into_inner().reconciles());
}

/// More of them with `CAMPANILE_INBOX_SEQUENCES=2000`.
fn sequences(usual: u32) -> u32 {
    std::env::var("CAMPANILE_INBOX_SEQUENCES").map_or(usual, |given| given.parse().expect("a number"))
}

#[test]
fn two_tabs_and_a_phone_agree_on_the_badge_in_sqlite() {
    agree(Kind::Sqlite, sequences(120));
}

#[test]
fn two_tabs_and_a_phone_agree_on_the_badge_in_postgres() {
    agree(Kind::Postgres, sequences(30));
}
