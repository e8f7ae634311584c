//! Notifications as types: a kind, a category, ways, and what each recipient reads.
//!
//! Owns what a notification says of itself, and who can be told. Never sends it. The invariant: what a notification says is
//! asked once for each recipient, at the call; what is written down then is what is sent, however often. Read on in
//! [`crate::draft`] for what the server is asked, and in [`crate::notify`] for the verbs.
//!
//! A mail, a push to a browser and a webhook are written by the server from the same content and `data`, by its own
//! templates, and only if nobody has taken the notification meanwhile. Words of its own for a mail, and an address that
//! the server does not know, cannot be given here: its interface has no place for them.

use std::fmt::Display;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use crate::outbox::JobOptions;

/// A way by which a notification goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// Kept for the user, numbered and counted.
    Inbox,
    /// Pushed to the user's open pages; only what is kept is pushed.
    Broadcast,
    /// A mail, if nobody has taken it in a while.
    Mail,
    /// A push to the user's browsers, if nobody has taken it in a while.
    WebPush,
    /// A request to the application, if nobody has taken it in a while.
    Webhook,
}

/// What is the same of all notifications of a type. Derive it with [`Notification`](macro@crate::Notification).
///
/// The fields are the notification's `data`, as serde writes them: an object. `#[serde(skip)]` keeps one out of it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no notification",
    label = "this has no kind",
    note = "derive it: #[derive(Serialize, Notification)] #[notification(kind = \"comment.added\", title = ..)]"
)]
pub trait NotificationKind: Serialize {
    /// What pages and preferences know it by, as in `comment.added`.
    const KIND: &'static str;
    /// What users' preferences are about.
    const CATEGORY: Option<&'static str>;
    /// The ways that it goes by, unless [`Notification::via`] says otherwise.
    const VIA: &'static [Via];

    /// What is asked for it in an outbox; a verb may be told otherwise.
    fn job(&self) -> JobOptions {
        JobOptions::new()
    }
}

/// What a notification says to recipients of the type `R`.
///
/// The derive writes it, for all recipients, where its attribute has a `title`. Where recipients read different things,
/// write it yourself:
///
/// ```
/// use campanile_broadcast::{Campanile, Content, Notification, NotificationKind, Recipient, To, Via};
/// # use serde::Serialize;
///
/// #[derive(Clone)]
/// struct User { id: i64, is_german: bool, reads_mail: bool }
///
/// impl Recipient for User {
///     fn to(&self) -> To {
///         To::user(self.id)
///     }
/// }
///
/// #[derive(Serialize, Notification)]
/// #[notification(kind = "comment.added", category = "comments", via = [Inbox, Broadcast, Mail])]
/// struct CommentNotification { document_id: i64, author_id: i64, author: String, excerpt: String }
///
/// impl Notification<User> for CommentNotification {
///     fn to_inbox(&self, user: &User) -> Content {
///         let title = if user.is_german { "hat kommentiert" } else { "has commented" };
///         Content::new(format!("{} {title}", self.author))
///             .body(&self.excerpt)
///             .action_url(format!("/documents/{}", self.document_id))
///     }
///
///     fn via(&self, user: &User) -> Vec<Via> {
///         Self::VIA.iter().copied().filter(|via| user.reads_mail || *via != Via::Mail).collect()
///     }
///
///     fn should_send(&self, user: &User) -> bool {
///         user.id != self.author_id
///     }
/// }
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// # let campanile = Campanile::fake();
/// # let team = vec![
/// #     User { id: 1, is_german: false, reads_mail: true },
/// #     User { id: 2, is_german: true, reads_mail: false },
/// #     User { id: 3, is_german: false, reads_mail: true },
/// # ];
/// let comment = CommentNotification { document_id: 7, author_id: 1, author: "Ann".into(), excerpt: "I like it".into() };
/// campanile.notify_each(team, comment).about("document", 7).key("comment:9").send().await?;
/// # campanile.assert_notified::<CommentNotification>(|_, draft| draft.to == To::user(2) && draft.via.len() == 2);
/// # campanile.assert_notified_times::<CommentNotification>(2);
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say what `{R}` reads",
    label = "nothing is known of what it says to `{R}`",
    note = "give it a title, #[notification(kind = \"..\", title = format!(\"{{}} has commented\", self.author))], or write `impl Notification<{R}> for {Self}`"
)]
pub trait Notification<R: ?Sized>: NotificationKind {
    /// What the recipient reads, in the inbox and by every other way.
    fn to_inbox(&self, recipient: &R) -> Content;

    /// The ways that it goes by to this recipient; with none, it is not sent.
    fn via(&self, recipient: &R) -> Vec<Via> {
        let _ = recipient;
        Self::VIA.to_vec()
    }

    /// Whether this recipient is told at all.
    fn should_send(&self, recipient: &R) -> bool {
        let _ = recipient;
        true
    }
}

/// What a recipient reads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[must_use]
pub struct Content {
    pub(crate) title: String,
    pub(crate) body: Option<String>,
    pub(crate) action_url: Option<String>,
    pub(crate) actions: Vec<Action>,
}

/// A button.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Action {
    /// What stands on it.
    pub label: String,
    /// Where it leads.
    pub url: String,
}

impl Content {
    /// One line, which is all that a notification needs.
    pub fn new(title: impl Display) -> Self {
        Self { title: title.to_string(), body: None, action_url: None, actions: Vec::new() }
    }

    /// More lines.
    pub fn body(mut self, body: impl Display) -> Self {
        self.body = Some(body.to_string());
        self
    }

    /// Where a click leads: a path, or an address of http or https.
    pub fn action_url(mut self, url: impl Display) -> Self {
        self.action_url = Some(url.to_string());
        self
    }

    /// A button, at most [`ACTIONS_MAX`](crate::draft::ACTIONS_MAX); the first is the main one.
    pub fn action(mut self, label: impl Display, url: impl Display) -> Self {
        self.actions.push(Action { label: label.to_string(), url: url.to_string() });
        self
    }
}

/// Who gets a notification, in the server's words.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum To {
    /// One user.
    User(String),
    /// These users.
    Users(Vec<String>),
    /// Who is a member when it is stored.
    Audience(String),
    /// Everybody.
    Everyone,
}

impl To {
    /// One user, by the id that the application has for it.
    pub fn user(id: impl Display) -> Self {
        Self::User(id.to_string())
    }
}

impl Serialize for To {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        match self {
            Self::User(user) => map.serialize_entry("user", user)?,
            Self::Users(users) => map.serialize_entry("users", users)?,
            Self::Audience(name) => map.serialize_entry("audience", name)?,
            Self::Everyone => map.serialize_entry("all", &true)?,
        }
        map.end()
    }
}

/// Who can be told: a user's id, an [`Audience`], [`Everyone`], or a type of the application that says who it is.
#[diagnostic::on_unimplemented(
    message = "nobody can be told from `{Self}` who is to be notified",
    label = "expected a user's id, an `Audience`, `Everyone`, or a type that implements `Recipient`",
    note = "several recipients are for `notify_each`; a type of your own needs `impl Recipient for {Self}`, with `To::user(self.id)`"
)]
pub trait Recipient {
    /// Who that is.
    fn to(&self) -> To;
}

macro_rules! ids {
    ($($id:ty)*) => {
        $(impl Recipient for $id {
            fn to(&self) -> To {
                To::user(self)
            }
        })*
    };
}

ids! { i32 i64 u32 u64 String str }

impl<R: Recipient + ?Sized> Recipient for &R {
    fn to(&self) -> To {
        (**self).to()
    }
}

/// Everybody, in one row that each inbox shows; also those who come later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Everyone;

impl Recipient for Everyone {
    fn to(&self) -> To {
        To::Everyone
    }
}

/// The members of an audience, by its name, as they are when the notification is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audience<N = &'static str>(pub N);

impl<N: Display> Recipient for Audience<N> {
    fn to(&self) -> To {
        To::Audience(self.0.to_string())
    }
}
