//! Who may subscribe, and as whom.
//!
//! Owns the application's authorizations and the order in which they are asked, which is Laravel's: the prefix is
//! stripped, the first that matches and answers decides, and where none does the answer is no. Never trusts a name that
//! it has not parsed, and signs nothing else. The invariant: only a callback's own yes leads to a signature; an error, a
//! panic or a timeout never does, and costs one request. Read on in `routes.rs`.

use std::any::Any;
use std::error::Error;
use std::fmt::{self, Display};
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use campanile_protocol::limits::CHANNEL_NAME_LENGTH_HARD_MAX;
use campanile_protocol::position::SINCE_BYTES_MAX;
use campanile_protocol::{Access, ChannelName, Limits, Position, Secret, UserId};
use serde::Serialize;
use serde_json::Value;
use tokio::time::timeout;

use crate::cache::{AuthorizationCache, Yes};
use crate::channel::{self, Channel, PresenceChannel, PrivateChannel};
use crate::encryption::MasterKey;
use crate::socket_id;
use crate::timing::{Histogram, Outcome, Timings};

/// How long all callbacks of one request may take together, unless [`Channels::timeout`] says otherwise.
pub const AUTHORIZATION_TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// What the authentication of users is called in logs and figures: no channel has this name.
const USER: &str = "#user";

/// What a callback says of its error.
pub type Cause = Box<dyn Error + Send + Sync>;

/// A callback's answer, whatever it was written as.
#[derive(Debug)]
pub enum Verdict<T> {
    /// The user may.
    Yes(T),
    /// The user may not, and nobody else is asked.
    No,
    /// Somebody else is to answer.
    Pass,
    /// It cannot be said: for the browser a no, for the log an error.
    Failed(Cause),
}

impl<T> Verdict<T> {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Yes(_) => Outcome::Allowed,
            Self::No => Outcome::Denied,
            Self::Pass => Outcome::Passed,
            Self::Failed(_) => Outcome::Failed,
        }
    }

    fn map<R>(self, convert: impl FnOnce(T) -> R) -> Verdict<R> {
        match self {
            Self::Yes(value) => Verdict::Yes(convert(value)),
            Self::No => Verdict::No,
            Self::Pass => Verdict::Pass,
            Self::Failed(cause) => Verdict::Failed(cause),
        }
    }
}

/// What the callback of a private channel may return: `bool`, an `Option` of it whose `None` leaves the answer to the
/// next pattern, or a `Result` of either whose `Err` is a no that is logged.
#[diagnostic::on_unimplemented(
    message = "a private channel's callback says yes or no, not `{Self}`",
    label = "return `bool`, `Option<bool>` or a `Result` of these"
)]
pub trait PrivateAnswer {
    /// The answer.
    fn verdict(self) -> Verdict<()>;
}

impl PrivateAnswer for bool {
    fn verdict(self) -> Verdict<()> {
        if self { Verdict::Yes(()) } else { Verdict::No }
    }
}

impl PrivateAnswer for Option<bool> {
    fn verdict(self) -> Verdict<()> {
        self.map_or(Verdict::Pass, PrivateAnswer::verdict)
    }
}

impl<A: PrivateAnswer, E: Into<Cause>> PrivateAnswer for Result<A, E> {
    fn verdict(self) -> Verdict<()> {
        self.map_or_else(|error| Verdict::Failed(error.into()), PrivateAnswer::verdict)
    }
}

/// What the callback of a presence channel may return: a [`Member`], an `Option` of it whose `None` leaves the answer to
/// the next pattern, or a `Result` of either whose `Err` is a no that is logged.
#[diagnostic::on_unimplemented(
    message = "a presence channel's callback says who joins, not `{Self}`",
    label = "return `Member`, `Option<Member>` or a `Result` of these",
    note = "the others in the channel see the member: `allowed.then(|| Member::new(user.id, json!({{ \"name\": user.name }})))`"
)]
pub trait PresenceAnswer {
    /// The answer.
    fn verdict(self) -> Verdict<Member>;
}

impl PresenceAnswer for Member {
    fn verdict(self) -> Verdict<Member> {
        Verdict::Yes(self)
    }
}

impl PresenceAnswer for Option<Member> {
    fn verdict(self) -> Verdict<Member> {
        self.map_or(Verdict::Pass, Verdict::Yes)
    }
}

impl<A: PresenceAnswer, E: Into<Cause>> PresenceAnswer for Result<A, E> {
    fn verdict(self) -> Verdict<Member> {
        self.map_or_else(|error| Verdict::Failed(error.into()), PresenceAnswer::verdict)
    }
}

/// What the callback of [`Channels::user`] may return: an [`Identity`], an `Option` of it, or a `Result` of either.
#[diagnostic::on_unimplemented(
    message = "the authentication of users says who signs in, not `{Self}`",
    label = "return `Identity`, `Option<Identity>` or a `Result` of these"
)]
pub trait UserAnswer {
    /// The answer.
    fn verdict(self) -> Verdict<Identity>;
}

impl UserAnswer for Identity {
    fn verdict(self) -> Verdict<Identity> {
        Verdict::Yes(self)
    }
}

impl UserAnswer for Option<Identity> {
    fn verdict(self) -> Verdict<Identity> {
        self.map_or(Verdict::No, Verdict::Yes)
    }
}

impl<A: UserAnswer, E: Into<Cause>> UserAnswer for Result<A, E> {
    fn verdict(self) -> Verdict<Identity> {
        self.map_or_else(|error| Verdict::Failed(error.into()), UserAnswer::verdict)
    }
}

/// A user in a presence channel, as the others see them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Member {
    user_id: String,
    #[serde(skip_serializing_if = "Value::is_null")]
    user_info: Value,
}

impl Member {
    /// A member with what the others are told of them, such as `json!({ "name": user.name })`.
    pub fn new(id: impl Display, info: Value) -> Self {
        Self { user_id: id.to_string(), user_info: info }
    }

    fn check(&self, limits: &Limits) -> Result<(), Cause> {
        Ok(UserId::parse(&self.user_id, limits.user_id_length_max).map(|_| ())?)
    }
}

/// What is signed with a subscription, beside its socket and channel.
#[derive(Serialize)]
struct ChannelData<'a> {
    #[serde(flatten)]
    member: Option<&'a Member>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
}

impl ChannelData<'_> {
    fn to_text(&self, limits: &Limits) -> Result<Option<String>, Cause> {
        if self.member.is_none() && self.since.is_none() {
            return Ok(None);
        }
        self.member.map_or(Ok(()), |member| member.check(limits))?;
        let text = serde_json::to_string(self)?;
        let max = limits.presence_member_bytes_max;
        // What the server takes, too: a position makes nobody too large.
        let room = self.since.as_ref().map_or(0, |_| SINCE_BYTES_MAX);
        match text.len() > max + room {
            true => {
                let whose = self.member.map_or("", |member| &member.user_id);
                Err(format!("the member {whose:?} has {} bytes, at most {max} are allowed", text.len()).into())
            }
            false => Ok(Some(text)),
        }
    }
}

/// A user who signs a connection in, so that events reach them by their id.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Identity {
    id: String,
    #[serde(skip_serializing_if = "Value::is_null")]
    user_info: Value,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    watchlist: Vec<String>,
}

impl Identity {
    /// A user with this id, which has the characters of a channel's name.
    pub fn new(id: impl Display) -> Self {
        Self { id: id.to_string(), user_info: Value::Null, watchlist: Vec::new() }
    }

    /// What is known of them: the identity of presence channels that are joined without one.
    #[must_use]
    pub fn info(mut self, info: Value) -> Self {
        self.user_info = info;
        self
    }

    /// Whose coming and going they are told of.
    #[must_use]
    pub fn watchlist<I: Display>(mut self, ids: impl IntoIterator<Item = I>) -> Self {
        self.watchlist = ids.into_iter().map(|id| id.to_string()).collect();
        self
    }

    fn user_data(&self, limits: &Limits) -> Result<String, Cause> {
        UserId::parse_signed_in(&self.id, limits.user_id_length_max)?;
        let (given, max) = (self.watchlist.len(), limits.watchlist_max);
        match given > max {
            true => Err(format!("the watchlist of {:?} has {given} users, at most {max} are allowed", self.id).into()),
            false => Ok(serde_json::to_string(self)?),
        }
    }
}

type Answering<T> = Pin<Box<dyn Future<Output = Verdict<T>> + Send>>;
type Ask<U, S> = dyn Fn(&str, &U, &S) -> Option<Answering<Option<Member>>> + Send + Sync;
type AskUser<U, S> = dyn Fn(U, S) -> Answering<Identity> + Send + Sync;

/// The application's authorizations: what `routes/channels.php` is to Laravel.
///
/// `U` is the user as the application knows them, `S` its state; both are handed to every callback.
///
/// A name is first put to the authorizations of its own kind, in the order in which they were registered. Private
/// names, encrypted ones among them, are then put to those of presence channels, too: whoever may be a member may listen.
pub struct Channels<U, S> {
    authorizations: Vec<Authorization<U, S>>,
    user: Option<Authentication<U, S>>,
    timings: Timings,
    timeout: Duration,
    cached: Option<Cached<U>>,
}

/// What was allowed a moment ago, and by which name a user is known there.
struct Cached<U> {
    cache: AuthorizationCache,
    user_id: Box<dyn Fn(&U) -> String + Send + Sync>,
}

struct Authentication<U, S> {
    ask: Box<AskUser<U, S>>,
    histogram: Arc<Histogram>,
}

struct Authorization<U, S> {
    pattern: &'static str,
    shape: String,
    presence: bool,
    ask: Box<Ask<U, S>>,
    histogram: Arc<Histogram>,
}

impl<U, S> fmt::Debug for Channels<U, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.authorizations.iter().map(|authorization| authorization.pattern)).finish()
    }
}

impl<U, S> Default for Channels<U, S> {
    fn default() -> Self {
        Self {
            authorizations: Vec::new(),
            user: None,
            timings: Timings::default(),
            timeout: AUTHORIZATION_TIMEOUT_DEFAULT,
            cached: None,
        }
    }
}

impl<U: Clone + Send + 'static, S: Clone + Send + 'static> Channels<U, S> {
    /// No authorization: every subscription that needs one is refused.
    pub fn new() -> Self {
        Self::default()
    }

    /// Who may subscribe to a private channel.
    ///
    /// # Panics
    ///
    /// When a private channel of the same pattern is registered already: the second would never be asked.
    #[must_use]
    #[track_caller]
    pub fn private<C, F, R>(self, authorize: F) -> Self
    where
        C: PrivateChannel + Send + 'static,
        F: Fn(U, C, S) -> R + Send + Sync + 'static,
        R: Future<Output: PrivateAnswer> + Send + 'static,
    {
        self.register::<C, _, _>(false, authorize, |answer| PrivateAnswer::verdict(answer).map(|()| None))
    }

    /// Who may join a presence channel, and as whom.
    ///
    /// # Panics
    ///
    /// When a presence channel of the same pattern is registered already: the second would never be asked.
    #[must_use]
    #[track_caller]
    pub fn presence<C, F, R>(self, authorize: F) -> Self
    where
        C: PresenceChannel + Send + 'static,
        F: Fn(U, C, S) -> R + Send + Sync + 'static,
        R: Future<Output: PresenceAnswer> + Send + 'static,
    {
        self.register::<C, _, _>(true, authorize, |answer| PresenceAnswer::verdict(answer).map(Some))
    }

    /// As whom a browser signs in. Without it nobody can.
    #[must_use]
    pub fn user<F, R>(mut self, authenticate: F) -> Self
    where
        F: Fn(U, S) -> R + Send + Sync + 'static,
        R: Future<Output: UserAnswer> + Send + 'static,
    {
        let authenticate = Arc::new(authenticate);
        let ask = move |user, state| {
            let authenticate = Arc::clone(&authenticate);
            let answering: Answering<Identity> = Box::pin(async move { authenticate(user, state).await.verdict() });
            answering
        };
        self.user = Some(Authentication { ask: Box::new(ask), histogram: self.timings.add(USER) });
        self
    }

    /// How long all callbacks of one request may take together.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Remembers what was allowed to a user of this id, and does not ask again for a while: not even a callback that would
    /// now say no, so forget what is taken away. [`Timing::remembered`](crate::Timing::remembered) says how often that was.
    ///
    /// A cache serves one kind of user: where customers and staff have ids of their own, each has a cache of its own, or one
    /// would get the other's yes.
    #[must_use]
    pub fn cached<I: Display>(
        mut self,
        cache: AuthorizationCache,
        user_id: impl Fn(&U) -> I + Send + Sync + 'static,
    ) -> Self {
        self.cached = Some(Cached { cache, user_id: Box::new(move |user| user_id(user).to_string()) });
        self
    }

    /// How long each authorization takes and how it ends. The figures go on being kept.
    pub fn timings(&self) -> Timings {
        self.timings.clone()
    }

    #[track_caller]
    fn register<C, F, R>(
        mut self,
        presence: bool,
        authorize: F,
        verdict: fn(R::Output) -> Verdict<Option<Member>>,
    ) -> Self
    where
        C: Channel + Send + 'static,
        F: Fn(U, C, S) -> R + Send + Sync + 'static,
        R: Future + Send + 'static,
    {
        let shape = channel::shape(C::PATTERN);
        let twin = self.authorizations.iter().find(|known| known.presence == presence && known.shape == shape);
        if let Some(twin) = twin {
            panic!("the channel {:?} is authorized twice: {:?} has the same names", C::PATTERN, twin.pattern);
        }
        let authorize = Arc::new(authorize);
        let ask = move |name: &str, user: &U, state: &S| {
            let parameters = channel::matched(channel::stripped(C::PATTERN), name)?;
            let channel = C::from_parameters(&parameters)?;
            let (authorize, user, state) = (Arc::clone(&authorize), user.clone(), state.clone());
            let answering: Answering<Option<Member>> =
                Box::pin(async move { verdict(authorize(user, channel, state).await) });
            Some(answering)
        };
        let histogram = self.timings.add(C::PATTERN);
        self.authorizations.push(Authorization { pattern: C::PATTERN, shape, presence, ask: Box::new(ask), histogram });
        self
    }

    /// What is remembered, or else decided, and then remembered if it is a yes.
    async fn answer(&self, name: &ChannelName, user: &U, state: &S) -> Verdict<Option<Member>> {
        let Some(Cached { cache, user_id }) = &self.cached else { return self.decide(name, user, state).await.0 };
        let id = user_id(user);
        let generation = match cache.allowed(&id, name.as_str(), Instant::now()) {
            Ok(Yes { member, histogram }) => {
                histogram.remembered();
                return Verdict::Yes(member);
            }
            Err(generation) => generation,
        };
        let (verdict, decider) = self.decide(name, user, state).await;
        if let (Verdict::Yes(member), Some(decider)) = (&verdict, decider)
            && cache.is_of(decider.pattern)
        {
            let yes = Yes { member: member.clone(), histogram: Arc::clone(&decider.histogram) };
            cache.allow(&id, name.as_str(), yes, generation, Instant::now());
        }
        verdict
    }

    /// Asks one after the other until one answers, and says which.
    async fn decide(
        &self,
        name: &ChannelName,
        user: &U,
        state: &S,
    ) -> (Verdict<Option<Member>>, Option<&Authorization<U, S>>) {
        let stripped = channel::stripped(name.as_str());
        let is_presence = name.kind().is_presence();
        let own = self.authorizations.iter().filter(|known| known.presence == is_presence);
        let lent = self.authorizations.iter().filter(|known| known.presence && !is_presence);
        for authorization in own.chain(lent) {
            let Some(answering) = (authorization.ask)(stripped, user, state) else { continue };
            let measurement = authorization.histogram.begin();
            let verdict = answering.await;
            measurement.end(verdict.outcome());
            match verdict {
                Verdict::Pass => {}
                decided => return (decided, Some(authorization)),
            }
        }
        (Verdict::No, None)
    }
}

/// What the application's endpoint answers to a subscription: the JSON that browsers' clients expect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChannelAuth {
    /// `KEY:SIGNATURE`.
    pub auth: String,
    /// The member, as JSON, for presence channels; and how far the browser has heard the channel, if it said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel_data: Option<String>,
    /// What decrypts the channel's events, for encrypted channels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shared_secret: Option<String>,
}

/// What the application's endpoint answers to a sign-in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UserAuth {
    /// `KEY:SIGNATURE`.
    pub auth: String,
    /// The user, as JSON.
    pub user_data: String,
}

/// Why there is no signature. The text is for the browser, and tells nothing of the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The request does not name a socket.
    #[error("socket_id is missing or is not one")]
    SocketId,
    /// The request names a position that is none.
    #[error("since is not a position: send what replay.position said, or nothing")]
    Since,
    /// Nobody is signed in to the application, nothing matches, or a callback said no or failed.
    #[error("this is not allowed")]
    Forbidden,
    /// A callback panicked.
    #[error("the authorization broke")]
    Panicked,
    /// The callbacks took too long.
    #[error("the authorization took too long")]
    TimedOut,
}

impl Denied {
    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Self::SocketId | Self::Since => 400,
            Self::Forbidden => 403,
            Self::Panicked => 500,
            Self::TimedOut => 503,
        }
    }
}

/// Why the authorizations cannot be used as they are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorizerError {
    /// Browsers could subscribe but not read.
    #[error("the channel {pattern:?} is encrypted, and the settings have no master key")]
    NoMasterKey {
        /// The pattern.
        pattern: &'static str,
    },
}

/// An app's keys, as far as they sign for browsers.
#[derive(Debug, Clone)]
pub(crate) struct Signer {
    pub(crate) key: String,
    pub(crate) secret: Secret,
    pub(crate) master_key: Option<MasterKey>,
    pub(crate) limits: Limits,
}

/// Authorizations with the keys to sign what they allow. What the routes call; for frameworks other than axum.
#[derive(Debug)]
pub struct Authorizer<U, S> {
    channels: Channels<U, S>,
    signer: Signer,
}

impl<U: Clone + Send + 'static, S: Clone + Send + 'static> Authorizer<U, S> {
    pub(crate) fn new(channels: Channels<U, S>, signer: Signer) -> Result<Self, AuthorizerError> {
        let is_encrypted = |pattern| campanile_protocol::ChannelKind::of(pattern).access == Access::Encrypted;
        match channels.authorizations.iter().find(|known| is_encrypted(known.pattern)) {
            Some(known) if signer.master_key.is_none() => Err(AuthorizerError::NoMasterKey { pattern: known.pattern }),
            _ => Ok(Self { channels, signer }),
        }
    }

    /// Decides on a subscription, and signs it. `since` is how far the browser has heard the channel, from
    /// `replay.position`; empty if it begins anew.
    ///
    /// # Errors
    ///
    /// When the user may not, or it cannot be said. The log tells more than the error.
    pub async fn channel(
        &self,
        user: Option<U>,
        state: S,
        socket_id: &str,
        channel_name: &str,
        since: &str,
    ) -> Result<ChannelAuth, Denied> {
        let name = ChannelName::parse(channel_name, CHANNEL_NAME_LENGTH_HARD_MAX).map_err(|_| Denied::Forbidden)?;
        let user = user.filter(|_| name.kind().is_signed()).ok_or(Denied::Forbidden)?;
        let socket = socket_id::exact(socket_id).ok_or(Denied::SocketId)?;
        let since = if since.is_empty() { None } else { Some(since.parse::<Position>().map_err(|_| Denied::Since)?) };

        let member = self.verdict(name.as_str(), self.channels.answer(&name, &user, &state)).await?;
        // A presence channel's callback may have let somebody listen to a private one, which has no members.
        let member = member.filter(|_| name.kind().is_presence());
        // On encrypted channels there is no replay.
        let since = since.filter(|_| name.kind().access != Access::Encrypted).map(|position| position.to_string());
        let channel_data = ChannelData { member: member.as_ref(), since }.to_text(&self.signer.limits);
        let channel_data = channel_data.map_err(|cause| failed(name.as_str(), &*cause))?;
        let shared_secret = match (name.kind().access, &self.signer.master_key) {
            (Access::Encrypted, Some(master_key)) => Some(master_key.shared_secret(name.as_str())),
            (Access::Encrypted, None) => return Err(failed(name.as_str(), &"the settings have no master key")),
            _ => None,
        };
        let signature = self.signer.secret.sign_channel(socket, name.as_str(), channel_data.as_deref());
        Ok(ChannelAuth { auth: format!("{}:{signature}", self.signer.key), channel_data, shared_secret })
    }

    /// Decides as whom a browser signs in, and signs it.
    ///
    /// # Errors
    ///
    /// When there is nobody to sign in as, or it cannot be said. The log tells more than the error.
    pub async fn user(&self, user: Option<U>, state: S, socket_id: &str) -> Result<UserAuth, Denied> {
        let Authentication { ask, histogram } = self.channels.user.as_ref().ok_or(Denied::Forbidden)?;
        let user = user.ok_or(Denied::Forbidden)?;
        let socket = socket_id::exact(socket_id).ok_or(Denied::SocketId)?;

        let answering = async {
            let measurement = histogram.begin();
            let verdict = ask(user, state).await;
            measurement.end(verdict.outcome());
            verdict
        };
        let identity = self.verdict(USER, answering).await?;
        let user_data = identity.user_data(&self.signer.limits).map_err(|cause| failed(USER, &*cause))?;
        let signature = self.signer.secret.sign_user(socket, &user_data);
        Ok(UserAuth { auth: format!("{}:{signature}", self.signer.key), user_data })
    }

    /// Waits for an answer, but not for ever, and not for one that breaks.
    async fn verdict<T>(&self, asked: &str, answering: impl Future<Output = Verdict<T>>) -> Result<T, Denied> {
        match timeout(self.channels.timeout, contained(answering)).await {
            Ok(Ok(Verdict::Yes(value))) => Ok(value),
            Ok(Ok(Verdict::No | Verdict::Pass)) => Err(Denied::Forbidden),
            Ok(Ok(Verdict::Failed(cause))) => Err(failed(asked, &*cause)),
            Ok(Err(panic)) => {
                tracing::error!(channel = asked, panic = words(&*panic), "an authorization panicked");
                Err(Denied::Panicked)
            }
            Err(_) => {
                tracing::error!(channel = asked, timeout = ?self.channels.timeout, "an authorization took too long");
                Err(Denied::TimedOut)
            }
        }
    }
}

/// Logs what the browser is not told.
fn failed(asked: &str, cause: &(impl Display + ?Sized)) -> Denied {
    tracing::warn!(channel = asked, %cause, "an authorization failed, which is a no");
    Denied::Forbidden
}

/// Polls a future so that its panic is a value. What it had borrowed is only dropped afterwards.
async fn contained<T>(future: impl Future<Output = T>) -> Result<T, Box<dyn Any + Send>> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => std::task::Poll::Ready(Err(panic)),
    })
    .await
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without words")
}
