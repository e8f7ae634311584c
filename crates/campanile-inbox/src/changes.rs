//! Committed changes, on their way to whoever pushes them.
//!
//! Owns the queue between the two. Never waits for its reader, so no commit does. The invariant: for each commit there is
//! a change that is still to be taken, its own or one that stands for it. Read on in the server's `inbox/`.

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
pub struct Changes {
    queue: std::sync::Arc<parking_lot::Mutex<()>>,
}

impl Changes {
    /// The next one; none when the store is closed and everything was taken.
    pub async fn next(&mut self) -> Option<Change> {
        let _ = &self.queue;
        unimplemented!()
    }

    /// The next one if it is there already.
    pub fn try_next(&mut self) -> Option<Change> {
        unimplemented!()
    }
}
