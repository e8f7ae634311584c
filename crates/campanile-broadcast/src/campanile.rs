//! The application's door: what it calls when something has happened.
//!
//! Owns the verbs, and the events that are on their way in the background. Never keeps an event over a restart: an
//! event that must not be lost is written down with the change that it tells of. The invariant: whatever is wrong with
//! an event is the caller's error, at the call, before anything is sent. Read on in [`crate::publish`].

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use campanile_protocol::Secret;
use tokio::sync::Semaphore;

use crate::authorize::{Authorizer, AuthorizerError, Channels, Signer};
use crate::event::BroadcastEvent;
use crate::fake::{Fake, Recorder};
use crate::publish::{Plan, Publication, PublishError, Server};
use crate::settings::{BACKGROUND_EVENTS_MAX_DEFAULT, Settings, SettingsError, Timeouts};
use crate::socket_id::SocketId;

/// One app on one server. Cheap to clone; an application has one in its state.
#[derive(Debug, Clone)]
pub struct Campanile(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    way: Way,
    signer: Signer,
    timeouts: Timeouts,
    background: Arc<Semaphore>,
    background_max: usize,
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
    /// It is on its way in the background.
    Queued,
    /// It did not want to be sent, or has no channel.
    Suppressed,
}

/// An event that was made ready, with itself for whoever records it.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) publication: Publication,
    pub(crate) event: Box<dyn Any + Send + Sync>,
}

impl Campanile {
    /// Prepares the client. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// When the settings are refused.
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        let server = Server::new(&settings)?;
        let signer = Signer {
            secret: Secret::new(&settings.secret),
            key: settings.key,
            master_key: settings.master_key,
            limits: settings.limits,
        };
        let max = settings.background_events_max;
        Ok(Self::with(Way::Server(server), signer, settings.timeouts, max))
    }

    /// For tests: records events, sends nothing, and asserts.
    pub fn fake() -> Fake {
        Fake::new()
    }

    pub(crate) fn recording(recorder: Recorder, signer: Signer) -> Self {
        Self::with(Way::Recorder(recorder), signer, Timeouts::default(), BACKGROUND_EVENTS_MAX_DEFAULT)
    }

    fn with(way: Way, signer: Signer, timeouts: Timeouts, background_max: usize) -> Self {
        let background = Arc::new(Semaphore::new(background_max));
        Self(Arc::new(Inner { way, signer, timeouts, background, background_max }))
    }

    /// Begins to tell browsers of an event; a verb sends it.
    pub fn broadcast<E: BroadcastEvent + Send + Sync + 'static>(&self, event: E) -> Broadcasting<'_, E> {
        Broadcasting { campanile: self, event, socket_id: SocketId::NONE, idempotency_key: None }
    }

    /// Begins to tell browsers of several events with as few requests as there can be.
    pub fn batch(&self) -> Batch<'_> {
        Batch { campanile: self, events: Vec::new(), refused: None, socket_id: SocketId::NONE, idempotency_key: None }
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

    /// Waits until nothing is on its way in the background: for the end of an application.
    pub async fn flush(&self) {
        let all = u32::try_from(self.0.background_max).unwrap_or(u32::MAX);
        // The semaphore is never closed, so there is nothing to be told of.
        drop(self.0.background.acquire_many(all).await);
    }

    async fn deliver(&self, plan: &Plan, patience: Duration) -> Result<(), PublishError> {
        match &self.0.way {
            Way::Server(server) => server.deliver(plan, &self.0.signer, patience).await,
            Way::Recorder(_) => Ok(()),
        }
    }

    fn record(&self, events: impl IntoIterator<Item = Prepared>) {
        if let Way::Recorder(recorder) = &self.0.way {
            recorder.record(events);
        }
    }

    /// Delivers, and waits for it.
    async fn now(&self, plan: Option<Plan>) -> Result<Published, PublishError> {
        let Some(plan) = plan else { return Ok(Published::Suppressed) };
        self.deliver(&plan, self.0.timeouts.now).await?;
        Ok(Published::Sent)
    }

    /// Delivers in the background, which ends when the permit is given back: [`Campanile::flush`] waits for them all.
    fn send(&self, name: String, plan: Option<Plan>) -> Result<Published, PublishError> {
        let Some(plan) = plan else { return Ok(Published::Suppressed) };
        let permit = Arc::clone(&self.0.background).try_acquire_owned();
        let permit = permit.map_err(|_| PublishError::Full { event: name.clone(), max: self.0.background_max })?;
        let campanile = self.clone();
        tokio::spawn(async move {
            if let Err(error) = campanile.deliver(&plan, campanile.0.timeouts.background).await {
                tracing::error!(event = name, %error, "an event was lost on its way to the server");
            }
            drop(permit);
        });
        Ok(Published::Queued)
    }
}

/// Makes an event ready, unless it does not want to be sent.
fn prepare<E>(event: E, socket_id: SocketId) -> Result<Option<Prepared>, PublishError>
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
    let data = match serde_json::to_string(&event) {
        Ok(data) => data,
        Err(source) => return Err(PublishError::Serialize { event: name, source }),
    };
    let publication = Publication { event: name, channels, data, socket_id: socket_id.get() };
    Ok(Some(Prepared { publication, event: Box::new(event) }))
}

/// An event that a verb sends: [`now`](Self::now), [`send`](Self::send) or [`rescue`](Self::rescue).
#[derive(Debug)]
#[must_use = "nothing is sent without a verb: `.now()`, `.send()` or `.rescue()`"]
pub struct Broadcasting<'a, E> {
    campanile: &'a Campanile,
    event: E,
    socket_id: SocketId,
    idempotency_key: Option<String>,
}

impl<E: BroadcastEvent + Send + Sync + 'static> Broadcasting<'_, E> {
    /// To all but the browser that caused it.
    pub fn to_others(mut self, socket_id: impl Into<SocketId>) -> Self {
        self.socket_id = socket_id.into();
        self
    }

    /// Names the request, so that a server that knows `Idempotency-Key` publishes it once. Without a name it has a
    /// random one.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// Sends it, and waits until the server has accepted it.
    ///
    /// # Errors
    ///
    /// When something is wrong with the event, or the server does not accept it in time.
    pub async fn now(self) -> Result<Published, PublishError> {
        let (campanile, plan, _) = self.plan()?;
        campanile.now(plan).await
    }

    /// Sends it in the background. Events that are sent so may overtake each other; one that is lost is logged.
    ///
    /// # Errors
    ///
    /// When something is wrong with the event, or too many are on their way.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn send(self) -> Result<Published, PublishError> {
        let (campanile, plan, name) = self.plan()?;
        campanile.send(name, plan)
    }

    /// As [`now`](Self::now), where what was done must not fail for want of a push: an error is only logged.
    pub async fn rescue(self) {
        if let Err(error) = self.now().await {
            tracing::error!(%error, "an event was not published");
        }
    }
}

impl<'a, E: BroadcastEvent + Send + Sync + 'static> Broadcasting<'a, E> {
    fn plan(self) -> Result<(&'a Campanile, Option<Plan>, String), PublishError> {
        let campanile = self.campanile;
        let Some(prepared) = prepare(self.event, self.socket_id)? else { return Ok((campanile, None, String::new())) };
        let plan = Plan::of_one(&prepared.publication, self.idempotency_key.as_deref(), &campanile.0.signer)?;
        let name = prepared.publication.event.clone();
        campanile.record([prepared]);
        Ok((campanile, Some(plan), name))
    }
}

/// Several events that a verb sends together.
#[derive(Debug)]
#[must_use = "nothing is sent without a verb: `.now()` or `.send()`"]
pub struct Batch<'a> {
    campanile: &'a Campanile,
    events: Vec<Prepared>,
    refused: Option<PublishError>,
    socket_id: SocketId,
    idempotency_key: Option<String>,
}

impl<'a> Batch<'a> {
    /// Adds an event. What is wrong with it is said by the verb.
    pub fn event<E: BroadcastEvent + Send + Sync + 'static>(mut self, event: E) -> Self {
        match prepare(event, SocketId::NONE) {
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

    /// As [`Broadcasting::idempotency_key`].
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.idempotency_key = Some(key.into());
        self
    }

    /// As [`Broadcasting::now`]. Nothing is sent if anything is wrong with one of the events.
    ///
    /// # Errors
    ///
    /// As for one event.
    pub async fn now(self) -> Result<Published, PublishError> {
        let (campanile, plan, _) = self.plan()?;
        campanile.now(plan).await
    }

    /// As [`Broadcasting::send`]. Nothing is sent if anything is wrong with one of the events.
    ///
    /// # Errors
    ///
    /// As for one event.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub fn send(self) -> Result<Published, PublishError> {
        let (campanile, plan, name) = self.plan()?;
        campanile.send(name, plan)
    }

    fn plan(mut self) -> Result<(&'a Campanile, Option<Plan>, String), PublishError> {
        if let Some(error) = self.refused {
            return Err(error);
        }
        for prepared in &mut self.events {
            prepared.publication.socket_id = self.socket_id.get();
        }
        let publications: Vec<&Publication> = self.events.iter().map(|prepared| &prepared.publication).collect();
        let Some(first) = publications.first() else { return Ok((self.campanile, None, String::new())) };
        let name = first.event.clone();
        let plan = Plan::of_many(&publications, self.idempotency_key.as_deref(), &self.campanile.0.signer)?;
        self.campanile.record(self.events);
        Ok((self.campanile, Some(plan), name))
    }
}
