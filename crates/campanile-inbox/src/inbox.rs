//! The door: everything that can be asked of the store.
//!
//! Owns the calls and how they reach the store's own thread. Never blocks its caller's thread, and never runs SQL on it.
//! The invariant: every call is answered, if only with [`InboxError::Unavailable`]. Read on in [`crate::store`].

use std::path::Path;

use uuid::Uuid;

use crate::changes::Changes;
use crate::clock::{Clock, Timestamp};
use crate::delivery::{Contact, Delivery, DeliveryId, DeliveryRecord, PushSubscription, Settlement, Taken};
use crate::draft::{Accepted, Cancelled, Capture, Captured, Draft};
use crate::error::{AcceptError, InboxError, OpenError};
use crate::job::{JobRecord, JobState};
use crate::mark::{Mark, Marked, Seen};
use crate::notification::{Notification, State};
use crate::page::{ChangesPage, ChangesQuery, Page, PageQuery};
use crate::preferences::{Category, NamedCategory, Preferences, Switches};
use crate::reports::{Depths, Erased, Export, Reconciled};
use crate::settings::Settings;

/// The store of notifications. Cheap to clone; callable from any thread and any runtime.
#[derive(Debug, Clone)]
pub struct Inbox {
    clock: Clock,
}

type Answer<T> = Result<T, InboxError>;

impl Inbox {
    /// Opens the store, and brings its tables up to date if it may. The changes are for one reader.
    ///
    /// # Errors
    ///
    /// When a setting is out of its bounds, the database cannot be opened, or its tables are not of this version.
    pub async fn open(settings: Settings) -> Result<(Self, Changes), OpenError> {
        unimplemented!()
    }

    /// Stores what was accepted, wakes what was snoozed, removes what has expired, until `stop` ends. One call for each
    /// process; several processes may share a Postgres database.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        unimplemented!()
    }

    /// Ends the store's thread when what was asked before is answered. Later calls are refused as unavailable.
    pub async fn close(&self) {
        unimplemented!()
    }

    /// Writes a notification down, to be stored for its recipients by [`run`](Self::run).
    ///
    /// # Errors
    ///
    /// When the draft is wrong, its key was used for another one, or the store cannot do it now.
    pub async fn accept(&self, app: &str, draft: Draft) -> Result<Accepted, AcceptError> {
        unimplemented!()
    }

    /// Stores, at once and under its own id, a notification whose event is on its way already.
    ///
    /// # Errors
    ///
    /// When it is wrong, or the store cannot do it now.
    pub async fn capture(&self, app: &str, captured: Captured) -> Answer<Capture> {
        unimplemented!()
    }

    /// Cancels a notification that waits, or removes it from every inbox that it has reached.
    ///
    /// # Errors
    ///
    /// When the key is not known (any more), or the store cannot do it now.
    pub async fn cancel(&self, app: &str, key: &str) -> Answer<Cancelled> {
        unimplemented!()
    }

    /// How an inbox is. One that nobody has written to is empty.
    ///
    /// # Errors
    ///
    /// When the store cannot do it now.
    pub async fn state(&self, app: &str, user: &str) -> Answer<State> {
        unimplemented!()
    }

    /// What of an inbox is shown at once, newest first.
    ///
    /// # Errors
    ///
    /// When the limit is out of its bounds, or the store cannot do it now.
    pub async fn page(&self, app: &str, user: &str, query: PageQuery) -> Answer<Page> {
        unimplemented!()
    }

    /// What has changed in an inbox, oldest change first.
    ///
    /// # Errors
    ///
    /// [`InboxError::TooOld`] when what was removed since is not remembered any more, or `since` is of another life of
    /// this inbox; when the limit is out of its bounds; when the store cannot do it now.
    pub async fn changes_since(&self, app: &str, user: &str, query: ChangesQuery) -> Answer<ChangesPage> {
        unimplemented!()
    }

    /// One notification.
    ///
    /// # Errors
    ///
    /// When the user has no such notification, or the store cannot do it now.
    pub async fn notification(&self, app: &str, user: &str, id: Uuid) -> Answer<Notification> {
        unimplemented!()
    }

    /// Marks one notification.
    ///
    /// # Errors
    ///
    /// When the user has no such notification, the snooze is in the past or too far, or the store cannot do it now.
    pub async fn mark(&self, app: &str, user: &str, id: Uuid, mark: Mark) -> Answer<Marked> {
        unimplemented!()
    }

    /// Marks notifications as seen. Ids that are not there are passed over.
    ///
    /// # Errors
    ///
    /// When there are too many ids, or the store cannot do it now.
    pub async fn seen(&self, app: &str, user: &str, seen: Seen) -> Answer<State> {
        unimplemented!()
    }

    /// Marks as read, at a stroke, what is not newer than these, of one category or of all. Without `up_to_announced`
    /// no announcement is touched.
    ///
    /// # Errors
    ///
    /// When the store cannot do it now.
    pub async fn read_all(
        &self,
        app: &str,
        user: &str,
        up_to_seq: i64,
        up_to_announced: Option<i64>,
        category: Option<&str>,
    ) -> Answer<State> {
        unimplemented!()
    }

    /// Archives what is read and not newer than that. Announcements stay.
    ///
    /// # Errors
    ///
    /// When the store cannot do it now.
    pub async fn archive_read(&self, app: &str, user: &str, up_to_seq: i64) -> Answer<State> {
        unimplemented!()
    }

    /// What a user wants, for each category of the app.
    ///
    /// # Errors
    ///
    /// When the store cannot do it now.
    pub async fn preferences(&self, app: &str, user: &str) -> Answer<Preferences> {
        unimplemented!()
    }

    /// Changes what a user wants of one category; ways that are not named stay.
    ///
    /// # Errors
    ///
    /// [`InboxError::Required`] when the application does not let the user choose; when there is no such category; when
    /// the store cannot do it now.
    pub async fn set_preference(
        &self,
        app: &str,
        user: &str,
        category: &str,
        channels: Switches,
    ) -> Answer<Preferences> {
        unimplemented!()
    }

    /// Makes a category, or changes it.
    ///
    /// # Errors
    ///
    /// When it is wrong, there are too many, or the store cannot do it now.
    pub async fn put_category(&self, app: &str, name: &str, category: Category) -> Answer<()> {
        unimplemented!()
    }

    /// The app's categories, by name.
    ///
    /// # Errors
    ///
    /// When the store cannot do it now.
    pub async fn categories(&self, app: &str) -> Answer<Vec<NamedCategory>> {
        unimplemented!()
    }

    /// Says how to reach a user: all of it, so what is not given is forgotten.
    ///
    /// # Errors
    ///
    /// When it is wrong, or the store cannot do it now.
    pub async fn put_user(&self, app: &str, user: &str, contact: Contact) -> Answer<()> {
        unimplemented!()
    }

    /// Removes everything about a user, what waits for them included.
    ///
    /// # Errors
    ///
    /// When the store cannot do it now.
    pub async fn erase_user(&self, app: &str, user: &str) -> Answer<Erased> {
        unimplemented!()
    }

    /// Everything about a user.
    ///
    /// # Errors
    ///
    /// When the store cannot do it now.
    pub async fn export_user(&self, app: &str, user: &str) -> Answer<Export> {
        unimplemented!()
    }

    /// Adds members, then removes members, and says how many there are. The audience is made where there is none.
    ///
    /// # Errors
    ///
    /// When a name is wrong, there are too many, or the store cannot do it now.
    pub async fn edit_audience(&self, app: &str, audience: &str, add: Vec<String>, remove: Vec<String>) -> Answer<u64> {
        unimplemented!()
    }

    /// Members of an audience, by name, after `after`; at most `limit` (1 to 1000): to whom an announcement to it is
    /// pushed.
    ///
    /// # Errors
    ///
    /// When the store cannot do it now.
    pub async fn audience_members(
        &self,
        app: &str,
        audience: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Answer<Vec<String>> {
        unimplemented!()
    }

    /// Which of these users are members of an audience.
    ///
    /// # Errors
    ///
    /// When the store cannot do it now.
    pub async fn members_among(&self, app: &str, audience: &str, users: Vec<String>) -> Answer<Vec<String>> {
        unimplemented!()
    }

    /// Jobs that wait or are dead, newest first, those with numbers below `before`.
    ///
    /// # Errors
    ///
    /// When the limit is out of its bounds, or the store cannot do it now.
    pub async fn jobs(&self, app: &str, state: JobState, before: Option<i64>, limit: usize) -> Answer<Vec<JobRecord>> {
        unimplemented!()
    }

    /// Lets a dead job be tried again, with all its tries.
    ///
    /// # Errors
    ///
    /// When there is no such dead job, or the store cannot do it now.
    pub async fn retry_job(&self, app: &str, id: i64) -> Answer<()> {
        unimplemented!()
    }

    /// What was sent to a user, suppressed and why, failed, or is unknown: newest first, those with numbers below
    /// `before`.
    ///
    /// # Errors
    ///
    /// When the limit is out of its bounds, or the store cannot do it now.
    pub async fn deliveries(
        &self,
        app: &str,
        user: &str,
        before: Option<DeliveryId>,
        limit: usize,
    ) -> Answer<Vec<DeliveryRecord>> {
        unimplemented!()
    }

    /// The user has got these otherwise: what still waits to be sent beyond the socket is not needed any more.
    ///
    /// # Errors
    ///
    /// When there are too many ids, or the store cannot do it now.
    pub async fn taken(&self, app: &str, user: &str, taken: Taken) -> Answer<u64> {
        unimplemented!()
    }

    /// Takes what is to be sent now, at most `max`. Each is written down as being tried: whoever dies now leaves it
    /// unknown, and nobody sends it again.
    ///
    /// # Errors
    ///
    /// When the store cannot do it now.
    pub async fn claim_deliveries(&self, max: usize) -> Answer<Vec<Delivery>> {
        unimplemented!()
    }

    /// Says how an attempt ended.
    ///
    /// # Errors
    ///
    /// When that attempt is not being tried (any more), or the store cannot do it now.
    pub async fn settle_delivery(&self, id: DeliveryId, attempt: i64, settlement: Settlement) -> Answer<()> {
        unimplemented!()
    }

    /// A user's browsers.
    ///
    /// # Errors
    ///
    /// When the store cannot do it now.
    pub async fn push_subscriptions(&self, app: &str, user: &str) -> Answer<Vec<PushSubscription>> {
        unimplemented!()
    }

    /// Adds a browser, or changes it. One that was another user's is this one's from now on.
    ///
    /// # Errors
    ///
    /// When it is wrong, or the store cannot do it now.
    pub async fn add_push_subscription(&self, app: &str, user: &str, subscription: PushSubscription) -> Answer<()> {
        unimplemented!()
    }

    /// Removes a browser, and says whether it was there.
    ///
    /// # Errors
    ///
    /// When the store cannot do it now.
    pub async fn remove_push_subscription(&self, app: &str, user: &str, endpoint: &str) -> Answer<bool> {
        unimplemented!()
    }

    /// Writes a consistent copy of a SQLite database to a new file, while everything goes on.
    ///
    /// # Errors
    ///
    /// When the file exists, or the store is Postgres, whose own `pg_dump` does this; when the store cannot do it now.
    pub async fn backup(&self, to: &Path) -> Answer<()> {
        unimplemented!()
    }

    /// Proves the counts of every user against the rows, and puts right what is wrong.
    ///
    /// # Errors
    ///
    /// When the store cannot do it now.
    pub async fn reconcile(&self) -> Answer<Reconciled> {
        unimplemented!()
    }

    /// How much waits and how much is kept, asked of the database.
    ///
    /// # Errors
    ///
    /// When the store cannot do it now.
    pub async fn depths(&self) -> Answer<Depths> {
        unimplemented!()
    }

    /// What time the store says it is.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}
