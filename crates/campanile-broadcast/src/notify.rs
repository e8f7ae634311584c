//! The verbs that tell recipients of something: `campanile.notify(recipient, notification)`.
//!
//! Owns what is asked of each recipient, and how recipients who read the same share a request. Never keeps anything by itself:
//! what is not sent at once is in the outbox, as events are. The invariant: every request has a key, so the server stores what
//! it asks for once, however often it comes. Read on in [`crate::draft`].

use std::any::Any;
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::campanile::{Campanile, Published};
use crate::draft::{Draft, InvalidNotification, RECIPIENTS_MAX, Subject, rfc3339};
use crate::notification::{Content, Notification, NotificationKind, Recipient, To, Via};
use crate::outbox::JobOptions;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
use crate::outbox::OutboxTransaction;
use crate::outbox::job::NewJob;
use crate::publish::{Plan, PublishError, random_key};

/// Hexadecimal digits that tell the keys of one call's requests apart.
const KEY_SUFFIX_LENGTH: usize = 16;

/// A notification as it was asked for, with itself for whoever records it.
#[derive(Debug, Clone)]
pub(crate) struct Noted {
    pub(crate) notification: Arc<dyn Any + Send + Sync>,
    pub(crate) draft: Draft,
    pub(crate) options: JobOptions,
}

/// What is said to some recipients.
#[derive(Debug)]
struct Message {
    to: To,
    via: Vec<Via>,
    content: Content,
}

impl Campanile {
    /// Begins to notify a user, an [`Audience`](crate::Audience) or [`Everyone`](crate::Everyone); a verb sends it.
    ///
    /// ```
    /// use campanile_broadcast::{Campanile, Notification, To};
    /// use serde::Serialize;
    /// # use std::time::Duration;
    ///
    /// #[derive(Serialize, Notification)]
    /// #[notification(
    ///     kind = "comment.added",
    ///     category = "comments",
    ///     via = [Inbox, Broadcast, Mail],
    ///     title = format!("{} has commented", self.author),
    ///     body = self.excerpt,
    ///     action_url = format!("/documents/{}", self.document_id)
    /// )]
    /// struct CommentNotification { document_id: i64, author: String, excerpt: String }
    ///
    /// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    /// # runtime.block_on(async {
    /// # let campanile = Campanile::fake();
    /// # let (owner_id, comment_id) = (42, 9);
    /// let comment = CommentNotification { document_id: 7, author: "Ann".into(), excerpt: "I like it".into() };
    /// campanile.notify(owner_id, comment).about("document", 7).key(format!("comment:{comment_id}")).send().await?;
    /// # campanile.assert_notified::<CommentNotification>(|comment, draft| {
    /// #     comment.document_id == 7 && draft.to == To::user(42) && draft.title == "Ann has commented"
    /// # });
    /// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn notify<R, N>(&self, recipient: R, notification: N) -> Notifying<'_, N>
    where
        R: Recipient,
        N: Notification<R> + Send + Sync + 'static,
    {
        self.notify_each([recipient], notification)
    }

    /// Begins to notify several, at most [`RECIPIENTS_MAX`]. Whoever is named twice is told once; those who read the same
    /// share a request.
    pub fn notify_each<R, N>(&self, recipients: impl IntoIterator<Item = R>, notification: N) -> Notifying<'_, N>
    where
        R: Recipient,
        N: Notification<R> + Send + Sync + 'static,
    {
        let (mut messages, mut told, mut count) = (Vec::<Message>::new(), HashSet::new(), 0);
        for recipient in recipients {
            let to = recipient.to();
            if !told.insert(to.clone()) {
                continue;
            }
            count += if let To::Users(users) = &to { users.len() } else { 1 };
            if count > RECIPIENTS_MAX || !notification.should_send(&recipient) {
                continue;
            }
            let via = notification.via(&recipient);
            if !via.is_empty() {
                tell(&mut messages, Message { to, via, content: notification.to_inbox(&recipient) });
            }
        }
        let options = notification.job();
        Notifying {
            campanile: self,
            notification,
            messages,
            count,
            options,
            subject: None,
            key: None,
            digest: None,
            delay: Duration::ZERO,
            expires_at: None,
        }
    }
}

/// Adds a message, to those who are told the same if there are any.
fn tell(messages: &mut Vec<Message>, new: Message) {
    let users = match new.to {
        To::User(user) => vec![user],
        To::Users(users) => users,
        To::Audience(_) | To::Everyone => return messages.push(new),
    };
    let same = messages.iter_mut().find_map(|known| match &mut known.to {
        To::Users(others) if known.via == new.via && known.content == new.content => Some(others),
        _ => None,
    });
    match same {
        Some(others) => others.extend(users),
        None => messages.push(Message { to: To::Users(users), ..new }),
    }
}

/// A notification that a verb sends: [`within`](Self::within) a transaction, [`send`](Self::send), [`now`](Self::now) or
/// [`rescue`](Self::rescue).
#[derive(Debug)]
#[must_use = "nobody is notified without a verb: `.within(&mut tx)`, `.send()`, `.now()` or `.rescue()`"]
pub struct Notifying<'a, N> {
    campanile: &'a Campanile,
    notification: N,
    messages: Vec<Message>,
    /// Recipients that were named, all of them.
    count: usize,
    options: JobOptions,
    subject: Option<Subject>,
    key: Option<String>,
    digest: Option<String>,
    delay: Duration,
    expires_at: Option<SystemTime>,
}

impl<N: NotificationKind + Send + Sync + 'static> Notifying<'_, N> {
    /// What it is about, as in `("document", 7)`.
    pub fn about(mut self, kind: impl Display, id: impl Display) -> Self {
        self.subject = Some(Subject { kind: kind.to_string(), id: id.to_string() });
        self
    }

    /// However often a notification is sent under one key, with the same words, the server stores it once, for as long as
    /// it remembers keys (a week, unless it is configured otherwise). The same key with other words is refused. Without a
    /// name it has a random key, which covers what this crate sends again.
    ///
    /// Where recipients are told different things, each request's key has a fingerprint of it behind.
    pub fn key(mut self, key: impl Display) -> Self {
        self.key = Some(key.to_string());
        self
    }

    /// While one of this group is unread, the next is gathered into it: one row, which counts.
    pub fn digest_by(mut self, group: impl Display) -> Self {
        self.digest = Some(group.to_string());
        self
    }

    /// Not before this time has passed since the server took it; it waits there, in whole seconds.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Of no use after this: it leaves the inbox then, and is not stored later.
    pub fn expires_at(mut self, moment: SystemTime) -> Self {
        self.expires_at = Some(moment);
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

    /// See [`JobOptions::tries`].
    pub fn tries(self, tries: u32) -> Self {
        self.job(|job| job.tries(tries))
    }

    /// See [`JobOptions::backoff`].
    pub fn backoff(self, pauses: impl IntoIterator<Item = Duration>) -> Self {
        self.job(|job| job.backoff(pauses))
    }

    /// Writes it down in the application's transaction: if that commits, it reaches the inboxes, even if this process dies
    /// in between; if it does not, nobody hears of it.
    ///
    /// # Errors
    ///
    /// When something is wrong with the notification, or the database fails.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub async fn within(self, transaction: impl OutboxTransaction) -> Result<Published, PublishError> {
        let (campanile, noted) = self.noted()?;
        let Some(noted) = campanile.unless_recorded(noted) else { return Ok(Published::Queued) };
        campanile.post_within(N::KIND, jobs(&noted), transaction).await
    }

    /// Writes it down in the outbox, from where it is sent in the background.
    ///
    /// # Errors
    ///
    /// When something is wrong with the notification, the outbox in memory is full, or the database fails.
    ///
    /// # Panics
    ///
    /// Outside a Tokio runtime.
    pub async fn send(self) -> Result<Published, PublishError> {
        let (campanile, noted) = self.noted()?;
        let Some(noted) = campanile.unless_recorded(noted) else { return Ok(Published::Queued) };
        campanile.post(N::KIND, jobs(&noted)).await
    }

    /// Sends it past the outbox, and waits until the server has taken it. [`Published::Duplicate`] says that the server had
    /// it already.
    ///
    /// # Errors
    ///
    /// When something is wrong with the notification, or the server does not take it in time.
    pub async fn now(self) -> Result<Published, PublishError> {
        let (campanile, noted) = self.noted()?;
        let Some(noted) = campanile.unless_recorded(noted) else { return Ok(Published::Sent) };
        let drafts: Vec<&Draft> = noted.iter().map(|noted| &noted.draft).collect();
        let Some(first) = drafts.first() else { return Ok(Published::Suppressed) };
        campanile.deliver_now(&Plan::of_drafts(N::KIND, first.key.clone(), &drafts)).await
    }

    /// As [`now`](Self::now), where what was done must not fail for want of a notification: an error is only logged.
    pub async fn rescue(self) {
        if let Err(error) = self.now().await {
            tracing::error!(%error, "nobody was notified");
        }
    }
}

impl<'a, N: NotificationKind + Send + Sync + 'static> Notifying<'a, N> {
    /// Makes ready what is asked of the server, or says what is wrong.
    fn noted(self) -> Result<(&'a Campanile, Vec<Noted>), PublishError> {
        let invalid = |source| PublishError::Notification { kind: N::KIND, source };
        if !self.options.has_valid_queue() {
            return Err(PublishError::QueueName { event: N::KIND.to_owned(), queue: self.options.queue.into_owned() });
        }
        if self.count > RECIPIENTS_MAX {
            return Err(invalid(InvalidNotification::TooManyRecipients { count: self.count }));
        }
        if self.messages.is_empty() {
            return Ok((self.campanile, Vec::new()));
        }
        let data = match serde_json::to_value(&self.notification) {
            Ok(Value::Object(fields)) => fields,
            Ok(Value::Null) => Map::new(),
            Ok(_) => return Err(invalid(InvalidNotification::NotAnObject)),
            Err(source) => return Err(PublishError::Serialize { event: N::KIND.to_owned(), source }),
        };
        let expires_at = match self.expires_at.map(rfc3339) {
            Some(None) => return Err(invalid(InvalidNotification::Expired)),
            Some(written) => written,
            None => None,
        };
        let key = self.key.map_or_else(random_key, Ok)?;
        let is_one = self.messages.len() == 1;
        let notification: Arc<dyn Any + Send + Sync> = Arc::new(self.notification);
        let mut noted = Vec::with_capacity(self.messages.len());
        for Message { to, via, content } in self.messages {
            let Content { title, body, action_url, actions } = content;
            let to = match to {
                To::Users(mut users) if users.len() == 1 => To::User(users.remove(0)),
                to => to,
            };
            let mut draft = Draft {
                to,
                kind: N::KIND,
                category: N::CATEGORY,
                title,
                body,
                action_url,
                actions,
                data: data.clone(),
                subject: self.subject.clone(),
                key: key.clone(),
                delay_secs: whole_seconds(self.delay),
                digest: self.digest.clone(),
                expires_at: expires_at.clone(),
                via,
            };
            if !is_one {
                draft.key = format!("{key}:{}", fingerprint(&draft));
            }
            draft.check(self.expires_at, self.delay).map_err(invalid)?;
            let (notification, options) = (Arc::clone(&notification), self.options.clone());
            noted.push(Noted { notification, draft, options });
        }
        Ok((self.campanile, noted))
    }
}

/// Each request is a job of its own: one that no server takes holds no other up.
fn jobs(noted: &[Noted]) -> Vec<NewJob> {
    let job = |noted: &Noted| NewJob {
        plan: Plan::of_drafts(noted.draft.kind, noted.draft.key.clone(), &[&noted.draft]),
        options: noted.options.clone(),
    };
    noted.iter().map(job).collect()
}

/// None for no delay; a part of a second is a whole one.
fn whole_seconds(delay: Duration) -> Option<u64> {
    (!delay.is_zero()).then(|| delay.as_secs() + u64::from(delay.subsec_nanos() > 0))
}

fn fingerprint(draft: &Draft) -> String {
    let json = serde_json::to_vec(draft).expect("a draft can always be serialised");
    let mut fingerprint = hex::encode(Sha256::digest(json));
    fingerprint.truncate(KEY_SUFFIX_LENGTH);
    fingerprint
}
