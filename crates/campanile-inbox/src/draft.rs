//! A notification before it is stored.
//!
//! Owns what may be asked for and what is refused. Never looks at the database, nor at a clock of its own. The
//! invariant: a draft that was checked can be stored. Read on in `courier.rs` for what becomes of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::error::Mistake;
use crate::notification::{Action, Subject};
use crate::preferences::{Category, Channel, Switches};
use crate::settings::{Limits, PLANNED_MAX};

/// Who gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recipients {
    /// One user.
    User(String),
    /// These users; who is named twice gets one.
    Users(Vec<String>),
    /// Who is a member when it is stored.
    Audience(String),
    /// Everybody: `{"all": true}`.
    All(bool),
}

/// What an application asks for: the body of `POST /apps/{id}/notifications`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Draft {
    /// Who gets it.
    pub to: Recipients,
    /// As in `comment.added`.
    pub kind: String,
    /// What preferences are kept for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub category: Option<String>,
    /// One line.
    pub title: String,
    /// More lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Where a click leads: a path, or an address of http or https.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action_url: Option<String>,
    /// At most two buttons, the first being the main one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<Action>,
    /// Whatever the application wants to have with it: an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Map<String, serde_json::Value>>,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// However often it is sent under one key, it is one notification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How long it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_secs: Option<u64>,
    /// Until when it waits, instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliver_at: Option<Timestamp>,
    /// While one of this group is unread, the next one is gathered into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// When it is of no use any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// By which ways; inbox and broadcast if nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Vec<Channel>>,
}

impl Draft {
    /// The least that a notification needs.
    pub fn new(to: Recipients, kind: impl Into<String>, title: impl Into<String>) -> Self {
        Self {
            to,
            kind: kind.into(),
            category: None,
            title: title.into(),
            body: None,
            action_url: None,
            actions: Vec::new(),
            data: None,
            subject: None,
            key: None,
            delay_secs: None,
            deliver_at: None,
            digest: None,
            expires_at: None,
            via: None,
        }
    }

    /// By which ways.
    pub fn via(&self) -> &[Channel] {
        self.via.as_deref().unwrap_or(&[Channel::Inbox, Channel::Broadcast])
    }

    /// When it is due.
    pub(crate) fn due_at(&self, now: Timestamp) -> Timestamp {
        let delayed = self.delay_secs.map(|secs| now.plus(Duration::from_secs(secs)));
        self.deliver_at.or(delayed).unwrap_or(now).max(now)
    }

    /// What it says, whatever the key is.
    pub(crate) fn fingerprint(&self) -> String {
        let mut content = self.clone();
        content.key = None;
        let json = serde_json::to_vec(&content).expect("a draft can always be serialised");
        let mut hex = String::with_capacity(64);
        for byte in Sha256::digest(json) {
            use std::fmt::Write as _;
            let _ = write!(hex, "{byte:02x}");
        }
        hex
    }

    /// Finds what is wrong.
    ///
    /// # Errors
    ///
    /// The first mistake, where it is and what to do.
    pub fn check(&self, limits: &Limits, now: Timestamp) -> Result<(), Mistake> {
        match &self.to {
            Recipients::User(user) => check_user(limits, "/to/user", user)?,
            Recipients::Users(users) => {
                if users.is_empty() {
                    return Err(Mistake::new("missing", "/to/users", "nobody is named: name at least one user"));
                }
                if users.len() > limits.recipients {
                    return Err(Mistake::new(
                        "too_many",
                        "/to/users",
                        format!(
                            "{} users are named, and {} is the most: make them an audience",
                            users.len(),
                            limits.recipients
                        ),
                    ));
                }
                for (at, user) in users.iter().enumerate() {
                    check_user(limits, &format!("/to/users/{at}"), user)?;
                }
            }
            Recipients::Audience(name) => check_name(limits, "/to/audience", name)?,
            Recipients::All(true) => {}
            Recipients::All(false) => {
                return Err(Mistake::new("not_all", "/to/all", "`all` can only be true: name a user instead"));
            }
        }
        check_content(
            limits,
            &Content {
                kind: &self.kind,
                category: self.category.as_deref(),
                title: &self.title,
                body: self.body.as_deref(),
                action_url: self.action_url.as_deref(),
                data: self.data.as_ref(),
            },
        )?;
        if self.actions.len() > ACTIONS_MAX {
            return Err(Mistake::new("too_many", "/actions", format!("at most {ACTIONS_MAX} actions are shown")));
        }
        for (at, action) in self.actions.iter().enumerate() {
            check_name(limits, &format!("/actions/{at}/label"), &action.label)?;
            check_url(limits, &format!("/actions/{at}/url"), &action.url)?;
        }
        if let Some(subject) = &self.subject {
            check_name(limits, "/subject/type", &subject.kind)?;
            check_name(limits, "/subject/id", &subject.id)?;
        }
        if let Some(key) = &self.key {
            check_name(limits, "/key", key)?;
        }
        if let Some(digest) = &self.digest {
            check_name(limits, "/digest", digest)?;
            if matches!(self.to, Recipients::All(_)) {
                let message =
                    "what everybody gets is one row, which gathers nothing: name users, or leave `digest` out";
                return Err(Mistake::new("digest_for_all", "/digest", message));
            }
        }
        if self.delay_secs.is_some() && self.deliver_at.is_some() {
            let message = "`delay_secs` and `deliver_at` say the same: give one of them";
            return Err(Mistake::new("two_times", "/deliver_at", message));
        }
        let latest = now.plus(PLANNED_MAX);
        let too_far = |path: &str| Mistake::new("too_far", path, format!("at the latest {latest}: a year from now"));
        if self.delay_secs.is_some_and(|secs| secs > PLANNED_MAX.as_secs()) {
            return Err(too_far("/delay_secs"));
        }
        if self.deliver_at.is_some_and(|at| at > latest) {
            return Err(too_far("/deliver_at"));
        }
        if let Some(expires_at) = self.expires_at {
            if expires_at > latest.plus(PLANNED_MAX) {
                return Err(Mistake::new("too_far", "/expires_at", "at the latest two years from now"));
            }
            if expires_at <= self.due_at(now) {
                let message = "it would have expired before anybody gets it: let it expire later, or leave it out";
                return Err(Mistake::new("expired", "/expires_at", message));
            }
        }
        if let Some(via) = &self.via {
            if via.is_empty() {
                return Err(Mistake::new("missing", "/via", "no way is named: name one, or leave `via` out"));
            }
            if via.contains(&Channel::Broadcast) && !via.contains(&Channel::Inbox) {
                let message = "`broadcast` pushes what is stored: name `inbox` as well, or trigger an event instead";
                return Err(Mistake::new("broadcast_alone", "/via", message));
            }
            if let Some(channel) = via.iter().find(|channel| !matches!(channel, Channel::Inbox | Channel::Broadcast))
                && matches!(self.to, Recipients::All(_))
            {
                let message = format!("{channel} goes to users, and who `all` are is not known here: name users");
                return Err(Mistake::new("via_for_all", "/via", message));
            }
        }
        Ok(())
    }
}

/// Buttons of a notification.
pub const ACTIONS_MAX: usize = 2;

/// A notification that another server's trigger brought, to be stored at once for one user.
#[derive(Debug, Clone, PartialEq)]
pub struct Captured {
    /// Whose it is.
    pub user: String,
    /// The application's own id.
    pub id: Uuid,
    /// As in `App\Notifications\InvoicePaid`.
    pub kind: String,
    /// What preferences are kept for.
    pub category: Option<String>,
    /// One line; where the event has none, its kind.
    pub title: String,
    /// More lines.
    pub body: Option<String>,
    /// Where a click leads.
    pub action_url: Option<String>,
    /// The event's own.
    pub data: serde_json::Map<String, serde_json::Value>,
}

impl Captured {
    pub(crate) fn check(&self, limits: &Limits) -> Result<(), Mistake> {
        check_user(limits, "/user", &self.user)?;
        check_content(
            limits,
            &Content {
                kind: &self.kind,
                category: self.category.as_deref(),
                title: &self.title,
                body: self.body.as_deref(),
                action_url: self.action_url.as_deref(),
                data: Some(&self.data),
            },
        )
    }
}

struct Content<'a> {
    kind: &'a str,
    category: Option<&'a str>,
    title: &'a str,
    body: Option<&'a str>,
    action_url: Option<&'a str>,
    data: Option<&'a serde_json::Map<String, serde_json::Value>>,
}

fn check_content(limits: &Limits, content: &Content<'_>) -> Result<(), Mistake> {
    check_name(limits, "/kind", content.kind)?;
    if let Some(category) = content.category {
        check_name(limits, "/category", category)?;
    }
    check_text("/title", content.title, limits.title_bytes)?;
    if content.title.trim().is_empty() {
        return Err(Mistake::new("missing", "/title", "the title is empty: it is what the user reads first"));
    }
    if let Some(body) = content.body {
        check_text("/body", body, limits.body_bytes)?;
    }
    if let Some(url) = content.action_url {
        check_url(limits, "/action_url", url)?;
    }
    if let Some(data) = content.data {
        let length = serde_json::to_string(data).map_or(usize::MAX, |json| json.len());
        if length > limits.data_bytes {
            let message = format!(
                "data is {length} bytes of JSON, and {} is the most: store it with you, and send where it is",
                limits.data_bytes
            );
            return Err(Mistake::new("too_long", "/data", message));
        }
        // Postgres' texts have no zero, however it is written; found here, it is the caller's mistake.
        if serde_json::to_string(data).is_ok_and(|json| json.contains("\\u0000")) {
            return Err(Mistake::new("control_character", "/data", "a text in data has the character U+0000 in it"));
        }
    }
    Ok(())
}

fn check_text(path: &str, text: &str, bytes_max: usize) -> Result<(), Mistake> {
    if text.len() > bytes_max {
        let message = format!("{} bytes long, and {bytes_max} is the most: shorten it", text.len());
        return Err(Mistake::new("too_long", path, message));
    }
    if text.contains('\0') {
        return Err(Mistake::new("control_character", path, "the character U+0000 is in it: remove it"));
    }
    Ok(())
}

/// An id, a kind, a category, a key, a label: short, and with something in it.
pub(crate) fn check_name(limits: &Limits, path: &str, name: &str) -> Result<(), Mistake> {
    check_text(path, name, limits.name_bytes)?;
    if name.trim().is_empty() {
        return Err(Mistake::new("missing", path, "it is empty: name it, or leave it out"));
    }
    if name.chars().any(char::is_control) {
        return Err(Mistake::new("control_character", path, "a control character is in it: remove it"));
    }
    Ok(())
}

pub(crate) fn check_user(limits: &Limits, path: &str, user: &str) -> Result<(), Mistake> {
    check_name(limits, path, user)
}

/// What a browser may follow: a link of `javascript:` in a title would be a script of whoever wrote it.
pub(crate) fn check_url(limits: &Limits, path: &str, url: &str) -> Result<(), Mistake> {
    check_text(path, url, limits.url_bytes)?;
    let lower = url.to_ascii_lowercase();
    let is_path = url.starts_with('/') && !url.starts_with("//") && !url.starts_with("/\\");
    if !(is_path || lower.starts_with("https://") || lower.starts_with("http://"))
        || url.chars().any(|c| c.is_control() || c.is_whitespace())
    {
        let message = "not a link to follow: give a path that begins with /, or an address of http or https";
        return Err(Mistake::new("bad_url", path, message));
    }
    Ok(())
}

pub(crate) fn check_category(limits: &Limits, name: &str, category: &Category) -> Result<(), Mistake> {
    check_name(limits, "/category", name)?;
    check_name(limits, "/label", &category.label)?;
    let off: Switches = category.default.iter().filter(|(_, on)| !**on).map(|(c, on)| (*c, *on)).collect();
    if let Some(channel) = category.required.iter().find(|channel| off.contains_key(channel)) {
        let message = format!("{channel} is required and off by default: it can be one of the two");
        return Err(Mistake::new("required_and_off", format!("/default/{channel}"), message));
    }
    Ok(())
}

/// What became of a draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Accepted {
    /// It will be stored.
    Accepted {
        /// The id of each recipient's notification.
        id: Uuid,
    },
    /// It was sent before under this key.
    Duplicate {
        /// The first one's.
        id: Uuid,
    },
}

impl Accepted {
    /// The notification's id, the first one's if it is a duplicate.
    pub fn id(self) -> Uuid {
        match self {
            Self::Accepted { id } | Self::Duplicate { id } => id,
        }
    }
}

/// What became of a captured notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capture {
    /// It is stored.
    Stored {
        /// Its number.
        seq: i64,
        /// How the inbox is since.
        state: crate::notification::State,
    },
    /// It was stored before.
    Duplicate,
    /// The user does not want this category in the inbox.
    Suppressed,
}

/// What became of a notification that was taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Cancelled {
    /// Recipients who will not get it; one for an audience or everybody.
    pub cancelled: u64,
    /// Inboxes from which it was removed; one for an announcement.
    pub retracted: u64,
}
