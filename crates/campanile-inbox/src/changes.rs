//! Committed changes, on their way to whoever pushes them.
//!
//! Owns the queue between the two. Never waits for its reader, so no commit does. The invariant: for each commit there is
//! a change that is still to be taken, its own or one that stands for it. Read on in the server's `inbox/`.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::notification::{Notification, State};

/// Something that was committed.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A notification came into an inbox.
    Arrived {
        /// Whose app.
        app: String,
        /// Whose inbox.
        user: String,
        /// What.
        notification: Box<Notification>,
        /// How the inbox is since.
        state: State,
        /// Whether its event is on its way already, because it was captured from there.
        captured: bool,
        /// Whether the user wants it pushed. If not, only the counts are.
        broadcast: bool,
        /// Whether something waits to be sent beyond the socket, unless the user takes it there.
        beyond: bool,
    },
    /// An inbox is otherwise than before.
    Updated {
        /// Whose app.
        app: String,
        /// Whose inbox.
        user: String,
        /// How it is since.
        state: State,
        /// What is otherwise, at most [`IDS_MAX`](crate::settings::IDS_MAX).
        changed: Vec<Uuid>,
        /// Whether more is otherwise than these.
        reset: bool,
    },
    /// There is something for everybody, or for an audience.
    Announced {
        /// Whose app.
        app: String,
        /// To whom, if not to everybody.
        audience: Option<String>,
        /// What.
        notification: Box<Notification>,
    },
    /// Every inbox of the app may be otherwise than before: an announcement was taken back, or nobody took changes for so
    /// long that it is not known any more whose they were.
    Reset {
        /// Whose app.
        app: String,
    },
}

/// Committed changes, for one reader.
#[derive(Debug)]
pub struct Changes(Arc<Queue>);

impl Changes {
    /// The next one; none when the store is closed and everything was taken.
    pub async fn next(&mut self) -> Option<Change> {
        loop {
            let told = self.0.told.notified();
            let mut told = std::pin::pin!(told);
            told.as_mut().enable();
            if let Some(change) = self.0.waiting.lock().take() {
                return Some(change);
            }
            if self.0.waiting.lock().is_closed {
                return None;
            }
            told.await;
        }
    }

    /// The next one if it is there already.
    pub fn try_next(&mut self) -> Option<Change> {
        self.0.waiting.lock().take()
    }
}

/// What waits between commits and their reader.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    told: Notify,
}

#[derive(Debug)]
struct Waiting {
    changes: VecDeque<(u64, Change)>,
    changes_max: usize,
    /// What stands for more changes than there was room for: by user, in the order in which they began to be too many.
    resets: VecDeque<(u64, String, String)>,
    states: HashMap<(String, String), State>,
    users_max: usize,
    /// Apps whose users are too many to be told apart.
    apps: VecDeque<(u64, String)>,
    /// The number of the last change.
    last: u64,
    is_closed: bool,
}

impl Queue {
    pub(crate) fn new(changes_max: usize, users_max: usize) -> (Arc<Self>, Changes) {
        let waiting = Waiting {
            changes: VecDeque::new(),
            changes_max,
            resets: VecDeque::new(),
            states: HashMap::new(),
            users_max,
            apps: VecDeque::new(),
            last: 0,
            is_closed: false,
        };
        let queue = Arc::new(Self { waiting: Mutex::new(waiting), told: Notify::new() });
        (Arc::clone(&queue), Changes(queue))
    }

    /// Takes what one commit has changed, in the order of the commits.
    pub(crate) fn tell(&self, changes: Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        let mut waiting = self.waiting.lock();
        for change in changes {
            waiting.add(change);
        }
        drop(waiting);
        self.told.notify_one();
    }

    pub(crate) fn close(&self) {
        self.waiting.lock().is_closed = true;
        self.told.notify_one();
    }

    pub(crate) fn len(&self) -> usize {
        let waiting = self.waiting.lock();
        waiting.changes.len() + waiting.resets.len() + waiting.apps.len()
    }
}

impl Waiting {
    fn add(&mut self, change: Change) {
        self.last += 1;
        let last = self.last;
        let (app, user, state) = match &change {
            Change::Arrived { app, user, state, .. } | Change::Updated { app, user, state, .. } => {
                (app, Some(user), *state)
            }
            Change::Announced { app, .. } | Change::Reset { app } => (app, None, State::default()),
        };
        // One that waits for the whole app, or for this user, stands for this change as well.
        if self.apps.iter().any(|(_, waiting)| waiting == app) {
            return;
        }
        if let Some(user) = user
            && !self.states.is_empty()
            && let Some(waiting) = self.states.get_mut(&(app.clone(), user.clone()))
        {
            if state.rev >= waiting.rev {
                *waiting = state;
            }
            return;
        }
        if self.changes.len() < self.changes_max {
            self.changes.push_back((last, change));
            return;
        }
        match user {
            Some(user) if self.states.len() < self.users_max => {
                self.resets.push_back((last, app.clone(), user.clone()));
                self.states.insert((app.clone(), user.clone()), state);
            }
            _ => self.apps.push_back((last, app.clone())),
        }
    }

    /// The oldest of the three.
    fn take(&mut self) -> Option<Change> {
        let change = self.changes.front().map_or(u64::MAX, |(number, _)| *number);
        let reset = self.resets.front().map_or(u64::MAX, |(number, ..)| *number);
        let app = self.apps.front().map_or(u64::MAX, |(number, _)| *number);
        if change < reset && change < app {
            return self.changes.pop_front().map(|(_, change)| change);
        }
        if reset < app {
            let (_, app, user) = self.resets.pop_front()?;
            let state = self.states.remove(&(app.clone(), user.clone()))?;
            return Some(Change::Updated { app, user, state, changed: Vec::new(), reset: true });
        }
        self.apps.pop_front().map(|(_, app)| Change::Reset { app })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn updated(app: &str, user: &str, rev: i64) -> Change {
        let state = State { rev, ..State::default() };
        Change::Updated { app: app.into(), user: user.into(), state, changed: Vec::new(), reset: false }
    }

    fn reset(app: &str, user: &str, rev: i64) -> Change {
        let state = State { rev, ..State::default() };
        Change::Updated { app: app.into(), user: user.into(), state, changed: Vec::new(), reset: true }
    }

    #[tokio::test]
    async fn at_the_bound_there_is_one_change_for_each_user_and_past_the_next_one_for_each_app() {
        let (queue, mut changes) = Queue::new(2, 1);
        queue.tell(vec![updated("a", "1", 1), updated("a", "1", 2)]);
        assert_eq!(queue.len(), 2, "at the bound each is its own");
        queue.tell(vec![updated("a", "1", 3), updated("a", "1", 4), updated("a", "2", 1), updated("a", "3", 1)]);
        assert_eq!(queue.len(), 4);
        queue.tell(vec![updated("a", "2", 2)]);
        assert_eq!(changes.next().await, Some(updated("a", "1", 1)));
        queue.tell(vec![updated("b", "9", 1)]);
        let expected =
            [updated("a", "1", 2), reset("a", "1", 4), Change::Reset { app: "a".into() }, updated("b", "9", 1)];
        for change in expected {
            assert_eq!(changes.next().await, Some(change));
        }
        assert_eq!(changes.try_next(), None);
        queue.close();
        assert_eq!(changes.next().await, None);
    }
}
