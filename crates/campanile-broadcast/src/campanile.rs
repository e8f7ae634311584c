//! The application's door: what it calls when something has happened.
//!
//! Owns the verbs. Never keeps an event by itself: one that is not sent at once is in the [`Outbox`]. The invariant:
//! whatever is wrong with an event is the caller's error, at the call, before anything is sent or written down. Read on in
//! [`crate::outbox`] and [`crate::publish`].

use std::any::Any;
use std::borrow::Cow;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use campanile_protocol::Secret;

use crate::authorize::{Authorizer, AuthorizerError, Channels, Signer};
use crate::event::BroadcastEvent;
use crate::fake::{Fake, Recorder};
use crate::notify::Noted;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
use crate::outbox::OutboxTransaction;
use crate::outbox::job::{JobOptions, NewJob, OnExceed, Posted, Rate};
use crate::outbox::{Courier, Outbox};
use crate::publish::{Acceptance, Plan, Publication, PublishError, Server, Undelivered, random_key};
use crate::settings::{EVENTS_IN_MEMORY_MAX_DEFAULT, Settings, SettingsError, Timeouts};
use crate::socket_id::SocketId;

/// What the key of an event is called in its data: see [`Settings::stamped`].
pub const STAMP: &str = "_id";

/// One app on one server. Cheap to clone; an application has one in its state.
#[derive(Debug, Clone)]
pub struct Campanile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    way: Way,
    signer: Signer,
    timeouts: Timeouts,
    outbox: Outbox,
    is_stamped: bool,
    has_inbox: bool,
}

/// How events leave.
#[derive(Debug)]
enum Way {
    Server(Server),
    Recorder(Recorder),
}

/// What became of an event that is not an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// The server has accepted it.
    Sent,
    /// It is in the outbox.
    Queued,
    /// It is in the outbox, in the place of an earlier one of its key: see [`JobOptions::debounce`].
    Replaced,
    /// It is left out, because there was one of its key within the window: see [`JobOptions::unique_for`]. Of a
    /// notification that is sent at once: the server has had it before.
    Duplicate,
    /// It is left out, because it exceeds the rate of its key: see [`JobOptions::rate_limit`].
    Dropped,
    /// It did not want to be sent, or has no channel.
    Suppressed,
}

impl From<Posted> for Published {
    fn from(posted: Posted) -> Self {
        match posted {
            Posted::Queued => Self::Queued,
            Posted::Replaced => Self::Replaced,
            Posted::Duplicate => Self::Duplicate,
            Posted::Dropped => Self::Dropped,
        }
    }
}

/// An event that was made ready, with itself for whoever records it.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) publication: Publication,
    pub(crate) options: JobOptions,
    pub(crate) event: Box<dyn Any + Send + Sync>,
    key: String,
}

impl Campanile {
    /// Prepares the client, with an outbox in memory. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// When the settings are refused.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        let outbox = Outbox::in_memory(settings.events_in_memory_max);
        Self::with_outbox(settings, outbox)
    }

    /// Prepares the client, with an outbox in the application's database. A [`Courier`] delivers what is in it.
    ///
    /// # Errors
    ///
    /// When the settings are refused.
    pub fn with_outbox(settings: Settings, outbox: Outbox) -> Result<Self, SettingsError> {
        let server = Server::new(&settings)?;
        let signer = Signer {
            secret: Secret::new(&settings.secret),
            key: settings.key,
            master_key: settings.master_key,
            limits: settings.limits,
        };
        let (way, timeouts, is_stamped) = (Way::Server(server), settings.timeouts, settings.stamped);
        let has_inbox = settings.has_inbox;
        Ok(Self(Arc::new(Inner { way, signer, timeouts, outbox, is_stamped, has_inbox })))
    }

    /// For tests: records events, sends nothing, and asserts.
    pub fn fake() -> Fake {
        Fake::new()
    }

    pub(crate) fn recording(recorder: Recorder, signer: Signer) -> Self {
        let outbox = Outbox::in_memory(EVENTS_IN_MEMORY_MAX_DEFAULT);
        let way = Way::Recorder(recorder);
        let (timeouts, is_stamped, has_inbox) = (Timeouts::default(), false, true);
        Self(Arc::new(Inner { way, signer, timeouts, outbox, is_stamped, has_inbox }))
    }

    /// Begins to tell browsers of an event; a verb sends it.
    pub fn broadcast<E: BroadcastEvent + Send + Sync + 'static>(&self, event: E) -> Broadcasting<'_, E> {
        let options = event.job();
        Broadcasting { campanile: self, event, options, socket_id: SocketId::NONE, idempotency_key: None }
    }

    /// Begins to tell browsers of several events with as few requests as there can be.
    pub fn batch(&self) -> Batch<'_> {
        Batch { campanile: self, events: Vec::new(), refused: None, socket_id: SocketId::NONE, idempotency_key: None }
    }

    /// Where events wait.
    pub fn outbox(&self) -> &Outbox {
        &self.0.outbox
    }

    /// Who delivers what is in the outbox: start one, in this process or in another. An outbox in memory is served without.
    pub fn courier(&self) -> Courier {
        Courier::new(self.clone())
    }

    /// The authorizations, with this app's keys. [`Campanile::routes`] makes axum's routes of them.
    ///
    /// # Errors
    ///
    /// When an encrypted channel is authorized and the settings have no master key.
    pub fn authorizer<U, S>(&self, channels: Channels<U, S>) -> Result<Authorizer<U, S>, AuthorizerError>
    where
        U: Clone + Send + Sync + 'static,
        S: Clone + Send + Sync + 'static,
    {
        Authorizer::new(channels, self.0.signer.clone())
    }

    /// Waits until nothing in memory is on its way, but no longer than `patience`: for the end of an application whose
    /// outbox is in memory. Says how many events are lost if the application ends now.
    pub async fn flush(&self, patience: Duration) -> usize {
        self.0.outbox.flush(patience).await
    }

    pub(crate) fn background_timeout(&self) -> Duration {
        self.0.timeouts.background
    }

    /// Sends what the server has not accepted yet.
    pub(crate) async fn deliver(
        &self,
        plan: &Plan,
        accepted: usize,
        patience: Duration,
    ) -> Result<Acceptance, Undelivered> {
        match &self.0.way {
            Way::Server(server) => server.deliver(plan, accepted, &self.0.signer, patience).await,
            Way::Recorder(_) => Ok(Acceptance::New),
        }
    }

    /// Records notifications where that is all, and gives them back where they are to be sent: none where nobody keeps them.
    pub(crate) fn unless_recorded(&self, noted: Vec<Noted>) -> Option<Vec<Noted>> {
        match &self.0.way {
            Way::Server(_) if !self.0.has_inbox => Some(Vec::new()),
            Way::Recorder(recorder) if !noted.is_empty() => {
                recorder.note(noted);
                None
            }
            _ => Some(noted),
        }
    }

    /// Makes an event ready, unless it does not want to be sent.
    fn prepare<E>(&self, event: E, options: JobOptions, key: Option<String>) -> Result<Option<Prepared>, PublishError>
    where
        E: BroadcastEvent + Send + Sync + 'static,
    {
        if !event.should_send() {
            return Ok(None);
        }
        let channels = event.channels()?.into_names();
        if channels.is_empty() {
            return Ok(None);
        }
        let name = event.name().into_owned();
        if !options.has_valid_queue() {
            return Err(PublishError::QueueName { event: name, queue: options.queue.into_owned() });
        }
        let mut data = match serde_json::to_string(&event) {
            Ok(data) => data,
            Err(source) => return Err(PublishError::Serialize { event: name, source }),
        };
        let key = key.map_or_else(random_key, Ok)?;
        if self.0.is_stamped {
            data = stamp(data, &key);
        }
        let options = options.scoped_to(&name);
        let publication = Publication { event: name, channels, data, socket_id: None };
        Ok(Some(Prepared { publication, options, event: Box::new(event), key }))
    }

    /// What is written down of events, or nothing where they are only recorded.
    fn jobs(&self, events: Vec<Prepared>) -> Result<Vec<NewJob>, PublishError> {
        let job = |prepared: &Prepared| {
            let plan = Plan::of_one(&prepared.publication, prepared.key.clone(), &self.0.signer)?;
            Ok(NewJob { plan, options: prepared.options.clone() })
        };
        let jobs = events.iter().map(job).collect::<Result<_, PublishError>>()?;
        match &self.0.way {
            Way::Server(_) => Ok(jobs),
            Way::Recorder(recorder) => {
                recorder.record(events);
                Ok(Vec::new())
            }
        }
    }

    /// Sends requests, and waits until the server has accepted them all.
    async fn now(&self, plan: Plan, events: Vec<Prepared>) -> Result<Published, PublishError> {
        if let Way::Recorder(recorder) = &self.0.way {
            recorder.record(events);
            return Ok(Published::Sent);
        }
        // That an event was known already makes no difference to whoever waits for it.
        self.deliver_now(&plan).await.map(|_| Published::Sent)
    }

    /// Sends requests past the outbox.
    pub(crate) async fn deliver_now(&self, plan: &Plan) -> Result<Published, PublishError> {
        match self.deliver(plan, 0, self.0.timeouts.now).await {
            Ok(Acceptance::New) => Ok(Published::Sent),
            Ok(Acceptance::Duplicate) => Ok(Published::Duplicate),
            Err(undelivered) => Err(plan.undelivered(undelivered)),
        }
    }

    /// Writes events down in a transaction of their own, or in memory.
    async fn send(&self, events: Vec<Prepared>) -> Result<Published, PublishError> {
        let Some(name) = first_name(&events) else { return Ok(Published::Suppressed) };
        let jobs = self.jobs(events)?;
        if jobs.is_empty() {
            return Ok(Published::Queued);
        }
        self.post(&name, jobs).await
    }

    /// Writes jobs down in a transaction of their own, or in memory.
    pub(crate) async fn post(&self, name: &str, jobs: Vec<NewJob>) -> Result<Published, PublishError> {
        if jobs.is_empty() {
            return Ok(Published::Suppressed);
        }
        let outbox = &self.0.outbox;
        // Boxed, or every future of the application that sends an event would be as large as a database's driver makes it.
        let posted = Box::pin(outbox.post_all(jobs)).await;
        let posted = posted.map_err(|source| PublishError::Outbox { event: name.to_owned(), source })?;
        if outbox.wants_courier() {
            self.courier().serve_memory();
        }
        Ok(together(&posted))
    }

    /// Writes events down in a transaction of the application.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    async fn within(
        &self,
        events: Vec<Prepared>,
        transaction: impl OutboxTransaction,
    ) -> Result<Published, PublishError> {
        let Some(name) = first_name(&events) else { return Ok(Published::Suppressed) };
        let jobs = self.jobs(events)?;
        if jobs.is_empty() {
            return Ok(Published::Queued);
        }
        self.post_within(&name, jobs, transaction).await
    }

    /// Writes jobs down in a transaction of the application.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) async fn post_within(
        &self,
        name: &str,
        jobs: Vec<NewJob>,
        mut transaction: impl OutboxTransaction,
    ) -> Result<Published, PublishError> {
        if jobs.is_empty() {
            return Ok(Published::Suppressed);
        }
        let mut connection = transaction.connection();
        // Boxed for the same reason as in `post`.
        let posted = Box::pin(self.0.outbox.post_within(&mut connection, &jobs)).await;
        let outbox = |source| PublishError::Outbox { event: name.to_owned(), source };
        posted.map(|posted| together(&posted)).map_err(outbox)
    }
}

fn first_name(events: &[Prepared]) -> Option<String> {
    events.first().map(|prepared| prepared.publication.event.clone())
}

/// What became of several events: that they wait, if one of them does.
fn together(posted: &[Posted]) -> Published {
    let queued = posted.iter().find(|posted| **posted == Posted::Queued);
    queued.or(posted.last()).copied().map_or(Published::Suppressed, Published::from)
}

/// Writes the key into the data, if that is an object.
fn stamp(data: String, key: &str) -> String {
    let Some(fields) = data.strip_prefix('{') else { return data };
    let comma = if fields.starts_with('}') { "" } else { "," };
    format!("{{\"{STAMP}\":{}{comma}{fields}", serde_json::json!(key))
}

/// An event that a verb sends: [`within`](Self::within) a transaction, [`send`](Self::send), [`now`](Self::now) or
/// [`rescue`](Self::rescue).
///
/// What is asked for its job, such as [`delay`](Self::delay), is for `within` and `send`; `now` and `rescue` do not ask.
#[derive(Debug)]
#[must_use = "nothing is sent without a verb: `.within(&mut tx)`, `.send()`, `.now()` or `.rescue()`"]
pub struct Broadcasting<'a, E> {
    campanile: &'a Campanile,
    event: E,
    options: JobOptions,
    socket_id: SocketId,
    idempotency_key: Option<String>,
}

impl<E: BroadcastEvent + Send + Sync + 'static> Broadcasting<'_, E> {
    /// To all but the browser that caused it.
    pub fn to_others(mut self, socket_id: impl Into<SocketId>) -> Self {
        self.socket_id = socket_id.into();
        self
    }

    /// Names the event, so that a server that knows `Idempotency-Key` publishes it once. Without a name it has a random
    /// one.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    fn job(mut self, change: impl FnOnce(JobOptions) -> JobOptions) -> Self {
        self.options = change(self.options);
        self
    }

    /// See [`JobOptions::queue`].
    pub fn on_queue(self, queue: impl Into<Cow<'static, str>>) -> Self {
        self.job(|job| job.queue(queue))
    }

    /// See [`JobOptions::priority`].
    pub fn priority(self, priority: i32) -> Self {
        self.job(|job| job.priority(priority))
    }

    /// See [`JobOptions::delay`].
    pub fn delay(self, delay: Duration) -> Self {
        self.job(|job| job.delay(delay))
    }

    /// See [`JobOptions::tries`].
    pub fn tries(self, tries: u32) -> Self {
        self.job(|job| job.tries(tries))
    }

    /// See [`JobOptions::backoff`].
    pub fn backoff(self, pauses: impl IntoIterator<Item = Duration>) -> Self {
        self.job(|job| job.backoff(pauses))
    }

    /// See [`JobOptions::ordered_by`].
    pub fn ordered_by(self, key: impl Display) -> Self {
        self.job(|job| job.ordered_by(key))
    }

    /// See [`JobOptions::unique_for`].
    pub fn unique_for(self, key: impl Display, window: Duration) -> Self {
        self.job(|job| job.unique_for(key, window))
    }

    /// See [`JobOptions::debounce`].
    pub fn debounce(self, key: impl Display, wait: Duration, max: Duration) -> Self {
        self.job(|job| job.debounce(key, wait, max))
    }

    /// See [`JobOptions::rate_limit`].
    pub fn rate_limit(self, key: impl Display, rate: Rate, on_exceed: OnExceed) -> Self {
        self.job(|job| job.rate_limit(key, rate, on_exceed))
    }

    /// Writes it down in the application's transaction: if that commits, the event is delivered, even if this process
    /// dies in between; if it does not, nobody hears of it.
    ///
    /// # Errors
    ///
    /// When something is wrong with the event, or the database fails.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub async fn within(self, transaction: impl OutboxTransaction) -> Result<Published, PublishError> {
        let (campanile, prepared) = self.prepare()?;
        campanile.within(prepared.into_iter().collect(), transaction).await
    }

    /// Writes it down in the outbox, from where it is delivered in the background.
    ///
    /// # Errors
    ///
    /// When something is wrong with the event, the outbox in memory is full, or the database fails.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub async fn send(self) -> Result<Published, PublishError> {
        let (campanile, prepared) = self.prepare()?;
        campanile.send(prepared.into_iter().collect()).await
    }

    /// Sends it past the outbox, and waits until the server has accepted it.
    ///
    /// # Errors
    ///
    /// When something is wrong with the event, or the server does not accept it in time.
    pub async fn now(self) -> Result<Published, PublishError> {
        let (campanile, prepared) = self.prepare()?;
        let Some(prepared) = prepared else { return Ok(Published::Suppressed) };
        let plan = Plan::of_one(&prepared.publication, prepared.key.clone(), &campanile.0.signer)?;
        campanile.now(plan, vec![prepared]).await
    }

    /// As [`now`](Self::now), where what was done must not fail for want of a push: an error is only logged.
    pub async fn rescue(self) {
        if let Err(error) = self.now().await {
            tracing::error!(%error, "an event was not published");
        }
    }
}

impl<'a, E: BroadcastEvent + Send + Sync + 'static> Broadcasting<'a, E> {
    fn prepare(self) -> Result<(&'a Campanile, Option<Prepared>), PublishError> {
        let mut prepared = self.campanile.prepare(self.event, self.options, self.idempotency_key)?;
        if let Some(prepared) = &mut prepared {
            prepared.publication.socket_id = self.socket_id.get();
        }
        Ok((self.campanile, prepared))
    }
}

/// Several events that a verb sends together.
#[derive(Debug)]
#[must_use = "nothing is sent without a verb: `.within(&mut tx)`, `.send()` or `.now()`"]
pub struct Batch<'a> {
    campanile: &'a Campanile,
    events: Vec<Prepared>,
    refused: Option<PublishError>,
    socket_id: SocketId,
    idempotency_key: Option<String>,
}

impl Batch<'_> {
    /// Adds an event. What is wrong with it is said by the verb.
    pub fn event<E: BroadcastEvent + Send + Sync + 'static>(mut self, event: E) -> Self {
        let options = event.job();
        match self.campanile.prepare(event, options, None) {
            Ok(prepared) => self.events.extend(prepared),
            Err(error) => {
                self.refused.get_or_insert(error);
            }
        }
        self
    }

    /// To all but the browser that caused them.
    pub fn to_others(mut self, socket_id: impl Into<SocketId>) -> Self {
        self.socket_id = socket_id.into();
        self
    }

    /// As [`Broadcasting::idempotency_key`], for [`now`](Self::now): in an outbox each event has a key of its own.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// As [`Broadcasting::within`]. All are written down, each as a job of its own.
    ///
    /// # Errors
    ///
    /// As for one event.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub async fn within(mut self, transaction: impl OutboxTransaction) -> Result<Published, PublishError> {
        self.check()?;
        self.campanile.within(self.events, transaction).await
    }

    /// As [`Broadcasting::send`]. All are written down, each as a job of its own, or none.
    ///
    /// # Errors
    ///
    /// As for one event.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub async fn send(mut self) -> Result<Published, PublishError> {
        self.check()?;
        self.campanile.send(self.events).await
    }

    /// As [`Broadcasting::now`]. Nothing is sent if anything is wrong with one of the events.
    ///
    /// # Errors
    ///
    /// As for one event.
    pub async fn now(mut self) -> Result<Published, PublishError> {
        self.check()?;
        if self.events.is_empty() {
            return Ok(Published::Suppressed);
        }
        let publications: Vec<&Publication> = self.events.iter().map(|prepared| &prepared.publication).collect();
        let key = self.idempotency_key.map_or_else(random_key, Ok)?;
        let plan = Plan::of_many(&publications, key, &self.campanile.0.signer)?;
        self.campanile.now(plan, self.events).await
    }

    fn check(&mut self) -> Result<(), PublishError> {
        if let Some(error) = self.refused.take() {
            return Err(error);
        }
        for prepared in &mut self.events {
            prepared.publication.socket_id = self.socket_id.get();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_objects_first_field_is_its_stamp_and_nothing_else_has_one() {
        assert_eq!(stamp(r#"{"a":1}"#.into(), "k\""), r#"{"_id":"k\"","a":1}"#);
        assert_eq!(stamp("{}".into(), "k"), r#"{"_id":"k"}"#);
        assert_eq!(stamp("[1]".into(), "k"), "[1]");
    }

    #[test]
    fn several_events_wait_if_one_does() {
        assert_eq!(together(&[Posted::Duplicate, Posted::Queued, Posted::Dropped]), Published::Queued);
        assert_eq!(together(&[Posted::Duplicate, Posted::Dropped]), Published::Dropped);
    }
}
