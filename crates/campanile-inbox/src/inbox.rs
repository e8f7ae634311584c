//! The door: everything that can be asked of the store.
//!
//! Owns the calls and how they reach the store's own thread. Never blocks its caller's thread, and never runs SQL on it.
//! The invariant: every call is answered, if only with [`InboxError::Unavailable`]. Read on in `store/`.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use uuid::Uuid;

use crate::changes::{Changes, Queue};
use crate::clock::Timestamp;
use crate::courier;
use crate::delivery::{Contact, Delivery, DeliveryId, DeliveryRecord, PushSubscription, Settlement, Taken};
use crate::draft::{Accepted, Cancelled, Capture, Captured, Draft, check_category, check_name, check_user};
use crate::error::{AcceptError, InboxError, Mistake, OpenError};
use crate::job::{JobRecord, JobState};
use crate::mark::{Mark, Marked, Seen};
use crate::notification::{Notification, State};
use crate::page::{ChangesPage, ChangesQuery, Page, PageQuery};
use crate::preferences::{Category, NamedCategory, Preferences, Switches};
use crate::reports::{Depths, Erased, Export, Reconciled};
use crate::settings::{CHUNK_ROWS, IDS_MAX, Settings};
use crate::store::accept::{self, Proposal};
use crate::store::connection::Failure;
use crate::store::marks::{self, Stroke};
use crate::store::tx::Tx;
use crate::store::users::User;
use crate::store::{
    Call, Core, arrivals, audiences, backup, closed, deliveries, jobs, pages, people, preferences, sweeps,
};

/// The store of notifications. Cheap to clone; callable from any thread and any runtime.
#[derive(Debug, Clone)]
pub struct Inbox(Arc<Door>);

/// Between callers and the store's thread, which ends when this is gone.
#[derive(Debug)]
struct Door {
    settings: Arc<Settings>,
    calls: mpsc::UnboundedSender<Call>,
    writes: Arc<Semaphore>,
    reads: Arc<Semaphore>,
    queue: Arc<Queue>,
}

type Answer<T> = Result<T, InboxError>;

/// When it may be worth trying again, at the bound.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Members that one call gives, or asks about.
const MEMBERS_MAX: usize = 1000;
/// Records that one call gives.
const RECORDS_MAX: usize = 100;

impl Inbox {
    /// Opens the store, and brings its tables up to date if it may. The changes are for one reader.
    ///
    /// # Errors
    ///
    /// When a setting is out of its bounds, the database cannot be opened, or its tables are not of this version.
    pub async fn open(settings: Settings) -> Result<(Self, Changes), OpenError> {
        settings.check()?;
        let settings = Arc::new(settings);
        let (queue, changes) = Queue::new(settings.limits.changes, settings.limits.changes_users);
        let (calls, asked) = mpsc::unbounded_channel();
        let (opened, opening) = oneshot::channel();
        let (given, told) = (Arc::clone(&settings), Arc::clone(&queue));
        let thread = std::thread::Builder::new().name("inbox".to_owned());
        thread.spawn(move || store_thread(given, told, asked, opened)).map_err(OpenError::Thread)?;
        opening.await.unwrap_or_else(|_| Err(OpenError::Database("the inbox's thread has ended".to_owned())))?;
        let writes = Arc::new(Semaphore::new(settings.limits.writes_waiting));
        let reads = Arc::new(Semaphore::new(settings.limits.reads_waiting));
        Ok((Self(Arc::new(Door { settings, calls, writes, reads, queue })), changes))
    }

    /// Stores what was accepted, wakes what was snoozed, removes what has expired, until `stop` ends. One call for each
    /// process; several processes may share a Postgres database.
    pub async fn run(&self, stop: impl Future<Output = ()>) {
        let (stopper, stopped) = watch::channel(false);
        let (ended, end) = oneshot::channel::<()>();
        let call: Call = Box::new(move |core| {
            Box::pin(async move {
                courier::run(core, stopped).await;
                drop(ended);
            })
        });
        if self.0.calls.send(call).is_err() {
            return;
        }
        let mut end = std::pin::pin!(end);
        tokio::select! {
            () = stop => {}
            // The store was closed.
            _ = &mut end => return,
        }
        // It may have ended by itself.
        let _ = stopper.send(true);
        let _ = end.await;
    }

    /// Ends the store's thread when what was asked before is answered. Later calls are refused as unavailable.
    pub async fn close(&self) {
        let (ended, end) = oneshot::channel::<()>();
        let call: Call = Box::new(move |core| {
            Box::pin(async move {
                core.close().await;
                drop(ended);
            })
        });
        if self.0.calls.send(call).is_ok() {
            // Either way it has ended.
            let _ = end.await;
        }
    }

    /// Writes a notification down, to be stored for its recipients by [`run`](Self::run).
    ///
    /// # Errors
    ///
    /// When the draft is wrong, its key was used for another one, or the store cannot do it now.
    pub async fn accept(&self, app: &str, draft: Draft) -> Result<Accepted, AcceptError> {
        draft.check(&self.0.settings.limits, self.now())?;
        let proposal = Proposal::new(app, draft);
        self.write(async move |tx: &mut Tx| accept::accept(tx, &proposal).await).await
    }

    /// Stores, at once and under its own id, a notification whose event is on its way already.
    ///
    /// # Errors
    ///
    /// When it is wrong, or the store cannot do it now.
    pub async fn capture(&self, app: &str, captured: Captured) -> Answer<Capture> {
        captured.check(&self.0.settings.limits)?;
        let app = app.to_owned();
        self.write(async move |tx: &mut Tx| arrivals::capture(tx, &app, &captured).await).await
    }

    /// Cancels a notification that waits, or removes it from every inbox that it has reached.
    ///
    /// # Errors
    ///
    /// When the key is not known (any more), or the store cannot do it now.
    pub async fn cancel(&self, app: &str, key: &str) -> Answer<Cancelled> {
        let (app, key) = (app.to_owned(), key.to_owned());
        self.write(async move |tx: &mut Tx| accept::cancel(tx, &app, &key).await).await
    }

    /// How an inbox is. One that nobody has written to is empty.
    ///
    /// # Errors
    ///
    /// When the store cannot do it now.
    pub async fn state(&self, app: &str, user: &str) -> Answer<State> {
        let (app, user) = (app.to_owned(), user.to_owned());
        self.read(async move |tx: &mut Tx| Ok(User::look_up(tx, &app, &user).await?.state())).await
    }

    /// What of an inbox is shown at once, newest first.
    ///
    /// # Errors
    ///
    /// When the limit is out of its bounds, or the store cannot do it now.
    pub async fn page(&self, app: &str, user: &str, query: PageQuery) -> Answer<Page> {
        let (app, user) = (app.to_owned(), user.to_owned());
        self.read(async move |tx: &mut Tx| pages::page(tx, &app, &user, &query).await).await
    }

    /// What has changed in an inbox, oldest change first.
    ///
    /// # Errors
    ///
    /// [`InboxError::TooOld`] when what was removed since is not remembered any more, or `since` is of another life of
    /// this inbox; when the limit is out of its bounds; when the store cannot do it now.
    pub async fn changes_since(&self, app: &str, user: &str, query: ChangesQuery) -> Answer<ChangesPage> {
        let (app, user) = (app.to_owned(), user.to_owned());
        self.read(async move |tx: &mut Tx| pages::changes_since(tx, &app, &user, query).await).await
    }

    /// One notification.
    ///
    /// # Errors
    ///
    /// When the user has no such notification, or the store cannot do it now.
    pub async fn notification(&self, app: &str, user: &str, id: Uuid) -> Answer<Notification> {
        let (app, user) = (app.to_owned(), user.to_owned());
        self.read(async move |tx: &mut Tx| pages::notification(tx, &app, &user, id).await).await
    }

    /// Marks one notification.
    ///
    /// # Errors
    ///
    /// When the user has no such notification, the snooze is in the past or too far, or the store cannot do it now.
    pub async fn mark(&self, app: &str, user: &str, id: Uuid, mark: Mark) -> Answer<Marked> {
        let (app, user) = (app.to_owned(), user.to_owned());
        self.write(async move |tx: &mut Tx| marks::mark(tx, &app, &user, id, mark).await).await
    }

    /// Marks notifications as seen. Ids that are not there are passed over.
    ///
    /// # Errors
    ///
    /// When there are too many ids, or the store cannot do it now.
    pub async fn seen(&self, app: &str, user: &str, seen: Seen) -> Answer<State> {
        let (app, user) = (app.to_owned(), user.to_owned());
        match seen {
            Seen::Ids(ids) => {
                at_most("/ids", ids.len(), IDS_MAX)?;
                self.write(async move |tx: &mut Tx| marks::seen_ids(tx, &app, &user, &ids).await).await
            }
            Seen::UpTo { seq, announced } => {
                let stroke = Stroke { is_read: false, up_to_seq: seq, up_to_announced: announced, category: None };
                self.write(async move |tx: &mut Tx| marks::at_a_stroke(tx, &app, &user, &stroke).await).await
            }
        }
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
        let (app, user) = (app.to_owned(), user.to_owned());
        let stroke = Stroke { is_read: true, up_to_seq, up_to_announced, category: category.map(ToOwned::to_owned) };
        self.write(async move |tx: &mut Tx| marks::at_a_stroke(tx, &app, &user, &stroke).await).await
    }

    /// Archives what is read and not newer than that. Announcements stay.
    ///
    /// # Errors
    ///
    /// When the store cannot do it now.
    pub async fn archive_read(&self, app: &str, user: &str, up_to_seq: i64) -> Answer<State> {
        loop {
            let (app, user) = (app.to_owned(), user.to_owned());
            let archive = async move |tx: &mut Tx| marks::archive_read(tx, &app, &user, up_to_seq).await;
            let (state, has_more) = self.write(archive).await?;
            if !has_more {
                return Ok(state);
            }
        }
    }

    /// What a user wants, for each category of the app.
    ///
    /// # Errors
    ///
    /// When the store cannot do it now.
    pub async fn preferences(&self, app: &str, user: &str) -> Answer<Preferences> {
        let (app, user) = (app.to_owned(), user.to_owned());
        self.read(async move |tx: &mut Tx| preferences::look_up(tx, &app, &user).await).await
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
        check_user(&self.0.settings.limits, "/user", user)?;
        let (app, user, category) = (app.to_owned(), user.to_owned(), category.to_owned());
        let set = async move |tx: &mut Tx| preferences::set(tx, &app, &user, &category, &channels).await;
        self.write(set).await
    }

    /// Makes a category, or changes it.
    ///
    /// # Errors
    ///
    /// When it is wrong, there are too many, or the store cannot do it now.
    pub async fn put_category(&self, app: &str, name: &str, category: Category) -> Answer<()> {
        check_category(&self.0.settings.limits, name, &category)?;
        let (app, name) = (app.to_owned(), name.to_owned());
        self.write(async move |tx: &mut Tx| preferences::put_category(tx, &app, &name, &category).await).await
    }

    /// The app's categories, by name.
    ///
    /// # Errors
    ///
    /// When the store cannot do it now.
    pub async fn categories(&self, app: &str) -> Answer<Vec<NamedCategory>> {
        let app = app.to_owned();
        self.read(async move |tx: &mut Tx| preferences::categories(tx, &app).await).await
    }

    /// Says how to reach a user: all of it, so what is not given is forgotten.
    ///
    /// # Errors
    ///
    /// When it is wrong, or the store cannot do it now.
    pub async fn put_user(&self, app: &str, user: &str, contact: Contact) -> Answer<()> {
        let limits = &self.0.settings.limits;
        check_user(limits, "/user", user)?;
        for (path, text) in [("/email", &contact.email), ("/locale", &contact.locale), ("/tz", &contact.tz)] {
            if let Some(text) = text {
                check_name(limits, path, text)?;
            }
        }
        if contact.email.as_ref().is_some_and(|email| !is_address(email)) {
            let message = "not an address for mail: write it as in user@example.com";
            return Err(Mistake::new("bad_email", "/email", message).into());
        }
        let (app, user) = (app.to_owned(), user.to_owned());
        self.write(async move |tx: &mut Tx| people::put(tx, &app, &user, &contact).await).await
    }

    /// Removes everything about a user, what waits for them included.
    ///
    /// # Errors
    ///
    /// When the store cannot do it now.
    pub async fn erase_user(&self, app: &str, user: &str) -> Answer<Erased> {
        let (app, user) = (app.to_owned(), user.to_owned());
        self.write(async move |tx: &mut Tx| people::erase(tx, &app, &user).await).await
    }

    /// Everything about a user.
    ///
    /// # Errors
    ///
    /// When the store cannot do it now.
    pub async fn export_user(&self, app: &str, user: &str) -> Answer<Export> {
        let (app, user) = (app.to_owned(), user.to_owned());
        self.read(async move |tx: &mut Tx| people::export(tx, &app, &user).await).await
    }

    /// Adds members, then removes members, and says how many there are. The audience is made where there is none.
    ///
    /// # Errors
    ///
    /// When a name is wrong, there are too many, or the store cannot do it now.
    pub async fn edit_audience(&self, app: &str, audience: &str, add: Vec<String>, remove: Vec<String>) -> Answer<u64> {
        let limits = &self.0.settings.limits;
        check_name(limits, "/audience", audience)?;
        for (path, names) in [("/add", &add), ("/remove", &remove)] {
            at_most(path, names.len(), limits.audience_edit)?;
            for (at, name) in names.iter().enumerate() {
                check_user(limits, &format!("{path}/{at}"), name)?;
            }
        }
        let (app, audience) = (app.to_owned(), audience.to_owned());
        self.write(async move |tx: &mut Tx| audiences::edit(tx, &app, &audience, &add, &remove).await).await
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
        let limit = pages::limit_of(Some(limit), MEMBERS_MAX)?;
        let (app, audience, after) = (app.to_owned(), audience.to_owned(), after.map(ToOwned::to_owned));
        let look = async move |tx: &mut Tx| audiences::members(tx, &app, &audience, after.as_deref(), limit).await;
        self.read(look).await
    }

    /// Which of these users are members of an audience.
    ///
    /// # Errors
    ///
    /// When the store cannot do it now.
    pub async fn members_among(&self, app: &str, audience: &str, users: Vec<String>) -> Answer<Vec<String>> {
        at_most("/users", users.len(), MEMBERS_MAX)?;
        let (app, audience) = (app.to_owned(), audience.to_owned());
        self.read(async move |tx: &mut Tx| audiences::among(tx, &app, &audience, &users).await).await
    }

    /// Jobs that wait or are dead, newest first, those with numbers below `before`.
    ///
    /// # Errors
    ///
    /// When the limit is out of its bounds, or the store cannot do it now.
    pub async fn jobs(&self, app: &str, state: JobState, before: Option<i64>, limit: usize) -> Answer<Vec<JobRecord>> {
        let limit = pages::limit_of(Some(limit), RECORDS_MAX)?;
        let app = app.to_owned();
        self.read(async move |tx: &mut Tx| jobs::records(tx, &app, state, before, limit).await).await
    }

    /// Lets a dead job be tried again, with all its tries.
    ///
    /// # Errors
    ///
    /// When there is no such dead job, or the store cannot do it now.
    pub async fn retry_job(&self, app: &str, id: i64) -> Answer<()> {
        let app = app.to_owned();
        self.write(async move |tx: &mut Tx| jobs::retry(tx, &app, id).await).await
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
        let limit = pages::limit_of(Some(limit), RECORDS_MAX)?;
        let (app, user) = (app.to_owned(), user.to_owned());
        self.read(async move |tx: &mut Tx| deliveries::records(tx, &app, &user, before, limit).await).await
    }

    /// The user has got these otherwise: what still waits to be sent beyond the socket is not needed any more.
    ///
    /// # Errors
    ///
    /// When there are too many ids, or the store cannot do it now.
    pub async fn taken(&self, app: &str, user: &str, taken: Taken) -> Answer<u64> {
        if let Taken::Ids(ids) = &taken {
            at_most("/ids", ids.len(), IDS_MAX)?;
        }
        let (app, user) = (app.to_owned(), user.to_owned());
        self.write(async move |tx: &mut Tx| deliveries::taken(tx, &app, &user, &taken).await).await
    }

    /// Takes what is to be sent now, at most `max`. Each is written down as being tried: whoever dies now leaves it
    /// unknown, and nobody sends it again.
    ///
    /// # Errors
    ///
    /// When the store cannot do it now.
    pub async fn claim_deliveries(&self, max: usize) -> Answer<Vec<Delivery>> {
        let max = max.min(CHUNK_ROWS);
        self.write(async move |tx: &mut Tx| deliveries::claim(tx, max).await).await
    }

    /// Says how an attempt ended.
    ///
    /// # Errors
    ///
    /// When that attempt is not being tried (any more), or the store cannot do it now.
    pub async fn settle_delivery(&self, id: DeliveryId, attempt: i64, settlement: Settlement) -> Answer<()> {
        self.write(async move |tx: &mut Tx| deliveries::settle(tx, id, attempt, &settlement).await).await
    }

    /// A user's browsers.
    ///
    /// # Errors
    ///
    /// When the store cannot do it now.
    pub async fn push_subscriptions(&self, app: &str, user: &str) -> Answer<Vec<PushSubscription>> {
        let (app, user) = (app.to_owned(), user.to_owned());
        let look = async move |tx: &mut Tx| {
            let user = User::look_up(tx, &app, &user).await?;
            deliveries::push_subscriptions(tx, user.id).await
        };
        self.read(look).await
    }

    /// Adds a browser, or changes it. One that was another user's is this one's from now on.
    ///
    /// # Errors
    ///
    /// When it is wrong, or the store cannot do it now.
    pub async fn add_push_subscription(&self, app: &str, user: &str, subscription: PushSubscription) -> Answer<()> {
        check_user(&self.0.settings.limits, "/user", user)?;
        let (app, user) = (app.to_owned(), user.to_owned());
        let add = async move |tx: &mut Tx| deliveries::add_push_subscription(tx, &app, &user, &subscription).await;
        self.write(add).await
    }

    /// Removes a browser, and says whether it was there.
    ///
    /// # Errors
    ///
    /// When the store cannot do it now.
    pub async fn remove_push_subscription(&self, app: &str, user: &str, endpoint: &str) -> Answer<bool> {
        let (app, user, endpoint) = (app.to_owned(), user.to_owned(), endpoint.to_owned());
        let remove = async move |tx: &mut Tx| deliveries::remove_push_subscription(tx, &app, &user, &endpoint).await;
        self.write(remove).await
    }

    /// Writes a consistent copy of a SQLite database to a new file, while everything goes on.
    ///
    /// # Errors
    ///
    /// When the file exists, or the store is Postgres, whose own `pg_dump` does this; when the store cannot do it now.
    pub async fn backup(&self, to: &Path) -> Answer<()> {
        let to = to.to_owned();
        self.ask(&self.0.reads, async move |core| backup::back_up(&core, &to).await).await
    }

    /// Proves the counts of every user against the rows, and puts right what is wrong.
    ///
    /// # Errors
    ///
    /// When the store cannot do it now.
    pub async fn reconcile(&self) -> Answer<Reconciled> {
        let mut report = Reconciled::default();
        let mut after = 0;
        loop {
            let users = self.read(async move |tx: &mut Tx| sweeps::users_after(tx, after).await).await?;
            let Some((last, ..)) = users.last() else { return Ok(report) };
            after = *last;
            for (_, app, user) in users {
                let given = report.clone();
                let prove = async move |tx: &mut Tx| {
                    let mut report = given.clone();
                    sweeps::reconcile(tx, &app, &user, &mut report).await?;
                    Ok(report)
                };
                report = self.write(prove).await?;
            }
        }
    }

    /// How much waits and how much is kept, asked of the database.
    ///
    /// # Errors
    ///
    /// When the store cannot do it now.
    pub async fn depths(&self) -> Answer<Depths> {
        let look = async move |tx: &mut Tx| {
            let mut depths = Depths::default();
            jobs::depths(tx, &mut depths).await?;
            let (waiting, trying) = deliveries::depths(tx).await?;
            depths.deliveries_waiting = u64::try_from(waiting).unwrap_or(0);
            depths.deliveries_trying = u64::try_from(trying).unwrap_or(0);
            Ok(depths)
        };
        let mut depths = self.read(look).await?;
        let figures = self.ask(&self.0.reads, async move |core| Ok(*core.figures.borrow())).await?;
        depths.writes_waiting = (self.0.settings.limits.writes_waiting - self.0.writes.available_permits()) as u64;
        depths.changes_waiting = self.0.queue.len() as u64;
        depths.committed = figures.committed;
        depths.commits = figures.commits;
        depths.writers_replaced = figures.writers_replaced;
        Ok(depths)
    }

    /// What time the store says it is.
    pub fn now(&self) -> Timestamp {
        self.0.settings.clock.now()
    }

    /// Does something in a transaction that writes.
    async fn write<T, F>(&self, operation: F) -> Answer<T>
    where
        T: Send + 'static,
        F: AsyncFn(&mut Tx) -> Result<T, Failure> + Send + 'static,
    {
        self.ask(&self.0.writes, async move |core| core.write(operation).await).await
    }

    /// Looks something up.
    async fn read<T, F>(&self, look: F) -> Answer<T>
    where
        T: Send + 'static,
        F: AsyncFn(&mut Tx) -> Result<T, Failure> + Send + 'static,
    {
        self.ask(&self.0.reads, async move |core| core.read(look).await).await
    }

    /// Has something done on the store's thread, if not too much waits there already.
    async fn ask<T, F>(&self, places: &Arc<Semaphore>, ask: F) -> Answer<T>
    where
        T: Send + 'static,
        F: AsyncFnOnce(Rc<Core>) -> Answer<T> + Send + 'static,
    {
        let busy = |_| InboxError::Busy { retry_after: RETRY_AFTER };
        let place = Arc::clone(places).try_acquire_owned().map_err(busy)?;
        let (reply, answer) = oneshot::channel();
        let call: Call = Box::new(move |core| {
            Box::pin(async move {
                let answer = ask(core).await;
                drop(place);
                // Whoever has gone does not want to know.
                let _ = reply.send(answer);
            })
        });
        self.0.calls.send(call).map_err(|_| closed())?;
        answer.await.map_err(|_| closed())?
    }

    /// Goes wrong within an operation, as a bug would.
    #[cfg(test)]
    pub(crate) async fn panic_in_an_operation(&self) -> Answer<()> {
        self.write(async move |tx: &mut Tx| {
            if tx.writes() == u64::MAX {
                return Ok(());
            }
            panic!("planted")
        })
        .await
    }

    /// Goes wrong where no operation is to blame: in the writer, after the commit.
    #[cfg(test)]
    pub(crate) async fn lose_the_writer(&self) -> Answer<()> {
        self.write(async move |tx: &mut Tx| {
            tx.loses_writer = true;
            Ok(())
        })
        .await
    }
}

fn at_most(path: &str, count: usize, most: usize) -> Result<(), Mistake> {
    if count <= most {
        return Ok(());
    }
    let message = format!("{count} are given, and {most} is the most for one call: make several");
    Err(Mistake::new("too_many", path, message))
}

/// Whether mail could be addressed so. Whether anybody gets it, only mail can tell.
fn is_address(email: &str) -> bool {
    email.split_once('@').is_some_and(|(name, host)| {
        !name.is_empty() && host.contains('.') && !host.contains('@') && !email.contains(char::is_whitespace)
    })
}

/// The store's thread, from the opening of the database until nobody can ask for anything any more.
fn store_thread(
    settings: Arc<Settings>,
    queue: Arc<Queue>,
    mut asked: mpsc::UnboundedReceiver<Call>,
    opened: oneshot::Sender<Result<(), OpenError>>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            // Whoever opened it has gone.
            let _ = opened.send(Err(OpenError::Thread(error)));
            return;
        }
    };
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async move {
        let core = match Core::open(settings, Arc::clone(&queue)).await {
            Ok(core) => core,
            Err(error) => {
                let _ = opened.send(Err(error));
                return;
            }
        };
        if opened.send(Ok(())).is_err() {
            return;
        }
        while let Some(call) = asked.recv().await {
            tokio::task::spawn_local(call(Rc::clone(&core)));
        }
        core.close().await;
    });
    // What was still asked when the last door closed is answered.
    runtime.block_on(local);
}
