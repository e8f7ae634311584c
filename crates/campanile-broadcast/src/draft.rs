//! What the server is asked to notify of, and what it would refuse.
//!
//! Owns the body of `POST /apps/{id}/notifications`, and the limits of what may stand in it. Never sends it. The invariant:
//! what is wrong with a notification is the caller's error, at the call; a server with limits of its own may still refuse it,
//! which is a dead letter at once. Read on in [`crate::notify`].

use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::notification::{Action, To, Via};

/// Users that one call may name. More are an audience.
pub const RECIPIENTS_MAX: usize = 1000;
/// A title's bytes.
pub const TITLE_BYTES_MAX: usize = 512;
/// A body's bytes.
pub const BODY_BYTES_MAX: usize = 4096;
/// The bytes of a notification's fields, as JSON.
pub const DATA_BYTES_MAX: usize = 8192;
/// A link's bytes.
pub const URL_BYTES_MAX: usize = 2048;
/// The bytes of a user's id, a kind, a category, a key, an audience's name, a label, and what it is about.
pub const NAME_BYTES_MAX: usize = 200;
/// Buttons of a notification.
pub const ACTIONS_MAX: usize = 2;
/// How far ahead a notification may be put off; it may expire up to twice as far ahead.
pub const DELAY_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// What the server is asked: what a test sees of a notification beside itself.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Draft {
    /// Who gets it.
    pub to: To,
    /// As in `comment.added`.
    pub kind: &'static str,
    /// What users' preferences are about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<&'static str>,
    /// One line.
    pub title: String,
    /// More lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Where a click leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub action_url: Option<String>,
    /// Buttons.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<Action>,
    /// The notification's fields.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub data: Map<String, Value>,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// Under which it is one, however often it is sent.
    pub key: String,
    /// How long it waits at the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_secs: Option<u64>,
    /// While one of this group is unread, the next is gathered into it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// When it is of no use any more, as RFC 3339 writes it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
    /// By which ways it goes.
    pub via: Vec<Via>,
}

/// What a notification is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Subject {
    /// What kind of thing, as in `document`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Which of them.
    pub id: String,
}

/// What no server would take.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidNotification {
    /// Too many bytes.
    #[error("{field} has {size} bytes, at most {max} are allowed")]
    TooLong {
        /// Where.
        field: &'static str,
        /// How many it has.
        size: usize,
        /// The limit.
        max: usize,
    },
    /// Nothing to read.
    #[error("{field} is empty: it must say something, or be left out")]
    Empty {
        /// Where.
        field: &'static str,
    },
    /// A character that no name and no database takes.
    #[error("{field} has a control character in it")]
    ControlCharacter {
        /// Where.
        field: &'static str,
    },
    /// Nothing that a browser should follow.
    #[error("{field} is no link to follow: give a path that begins with `/`, or an address of http or https")]
    NotALink {
        /// Where.
        field: &'static str,
    },
    /// More buttons than are shown.
    #[error("{count} actions, at most {ACTIONS_MAX} are shown")]
    TooManyActions {
        /// How many there are.
        count: usize,
    },
    /// More users than one call may name.
    #[error("{count} users are named, at most {RECIPIENTS_MAX} at one call: make them an audience")]
    TooManyRecipients {
        /// How many there are.
        count: usize,
    },
    /// Fields without names.
    #[error("its fields are no object in JSON: a notification is a struct with named fields, or with none")]
    NotAnObject,
    /// Pushed, and not kept.
    #[error("it goes by Broadcast without Inbox: only what is kept is pushed; an event is for what is only pushed")]
    BroadcastAlone,
    /// A way to single users, for everybody.
    #[error("it goes by {via:?} to everyone, whom the server does not know one by one: name users, or an audience")]
    ViaForEveryone {
        /// The way.
        via: Via,
    },
    /// Everybody has one row, which gathers nothing.
    #[error("it is gathered by `digest_by`, and goes to everyone, in whose one row nothing is gathered")]
    DigestForEveryone,
    /// Further ahead than anything may be planned.
    #[error("{field} is further ahead than {} days", max.as_secs() / 86_400)]
    TooFarAhead {
        /// Which.
        field: &'static str,
        /// The limit.
        max: Duration,
    },
    /// Of no use before anybody has it.
    #[error("it expires before anybody gets it")]
    Expired,
}

impl Draft {
    /// Finds what is wrong.
    pub(crate) fn check(&self, expires_at: Option<SystemTime>, delay: Duration) -> Result<(), InvalidNotification> {
        match &self.to {
            To::User(user) => check_name("the recipient's id", user)?,
            To::Users(users) => users.iter().try_for_each(|user| check_name("a recipient's id", user))?,
            To::Audience(name) => check_name("the audience's name", name)?,
            To::Everyone => {}
        }
        check_name("kind", self.kind)?;
        self.category.map_or(Ok(()), |category| check_name("category", category))?;
        check_text("title", &self.title, TITLE_BYTES_MAX)?;
        if self.title.trim().is_empty() {
            return Err(InvalidNotification::Empty { field: "title" });
        }
        self.body.as_deref().map_or(Ok(()), |body| check_text("body", body, BODY_BYTES_MAX))?;
        self.action_url.as_deref().map_or(Ok(()), |url| check_link("action_url", url))?;
        if self.actions.len() > ACTIONS_MAX {
            return Err(InvalidNotification::TooManyActions { count: self.actions.len() });
        }
        for action in &self.actions {
            check_name("an action's label", &action.label)?;
            check_link("an action's url", &action.url)?;
        }
        self.check_data()?;
        if let Some(subject) = &self.subject {
            check_name("the type of what it is about", &subject.kind)?;
            check_name("the id of what it is about", &subject.id)?;
        }
        check_name("key", &self.key)?;
        self.digest.as_deref().map_or(Ok(()), |digest| check_name("digest", digest))?;
        check_times(expires_at, delay)?;
        self.check_ways()
    }

    fn check_data(&self) -> Result<(), InvalidNotification> {
        let json = serde_json::to_string(&self.data).expect("an object of JSON can always be serialised");
        if json.len() > DATA_BYTES_MAX {
            return Err(InvalidNotification::TooLong { field: "data", size: json.len(), max: DATA_BYTES_MAX });
        }
        // As the server looks for it, however it is written.
        if json.contains("\\u0000") {
            return Err(InvalidNotification::ControlCharacter { field: "data" });
        }
        Ok(())
    }

    fn check_ways(&self) -> Result<(), InvalidNotification> {
        if self.via.contains(&Via::Broadcast) && !self.via.contains(&Via::Inbox) {
            return Err(InvalidNotification::BroadcastAlone);
        }
        if self.to != To::Everyone {
            return Ok(());
        }
        if self.digest.is_some() {
            return Err(InvalidNotification::DigestForEveryone);
        }
        match self.via.iter().find(|via| !matches!(via, Via::Inbox | Via::Broadcast)) {
            Some(via) => Err(InvalidNotification::ViaForEveryone { via: *via }),
            None => Ok(()),
        }
    }
}

fn check_times(expires_at: Option<SystemTime>, delay: Duration) -> Result<(), InvalidNotification> {
    if delay > DELAY_MAX {
        return Err(InvalidNotification::TooFarAhead { field: "delay", max: DELAY_MAX });
    }
    let Some(expires_at) = expires_at else { return Ok(()) };
    match expires_at.duration_since(SystemTime::now()) {
        Ok(left) if left > DELAY_MAX * 2 => {
            Err(InvalidNotification::TooFarAhead { field: "expires_at", max: DELAY_MAX * 2 })
        }
        Ok(left) if left > delay => Ok(()),
        _ => Err(InvalidNotification::Expired),
    }
}

fn check_text(field: &'static str, text: &str, max: usize) -> Result<(), InvalidNotification> {
    match () {
        () if text.len() > max => Err(InvalidNotification::TooLong { field, size: text.len(), max }),
        () if text.contains('\0') => Err(InvalidNotification::ControlCharacter { field }),
        () => Ok(()),
    }
}

fn check_name(field: &'static str, name: &str) -> Result<(), InvalidNotification> {
    check_text(field, name, NAME_BYTES_MAX)?;
    match () {
        () if name.trim().is_empty() => Err(InvalidNotification::Empty { field }),
        () if name.chars().any(char::is_control) => Err(InvalidNotification::ControlCharacter { field }),
        () => Ok(()),
    }
}

/// A link of `javascript:` would be a script of whoever wrote it.
fn check_link(field: &'static str, url: &str) -> Result<(), InvalidNotification> {
    check_text(field, url, URL_BYTES_MAX)?;
    let lower = url.to_ascii_lowercase();
    let is_path = url.starts_with('/') && !url.starts_with("//") && !url.starts_with("/\\");
    let is_address = lower.starts_with("https://") || lower.starts_with("http://");
    let is_whole = !url.chars().any(|char| char.is_control() || char.is_whitespace());
    if (is_path || is_address) && is_whole { Ok(()) } else { Err(InvalidNotification::NotALink { field }) }
}

/// A moment as RFC 3339 writes it; none that lies beyond the years that it can write.
pub(crate) fn rfc3339(moment: SystemTime) -> Option<String> {
    let since = moment.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let at = OffsetDateTime::from_unix_timestamp(i64::try_from(since.as_secs()).ok()?).ok()?;
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    let (hour, minute, second, millis) = (at.hour(), at.minute(), at.second(), since.subsec_millis());
    Some(format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_rfc_3339_has_it() {
        let moment = SystemTime::UNIX_EPOCH + Duration::from_millis(1_767_323_045_678);
        assert_eq!(rfc3339(moment).as_deref(), Some("2026-01-02T03:04:05.678Z"));
        assert_eq!(rfc3339(SystemTime::UNIX_EPOCH).as_deref(), Some("1970-01-01T00:00:00.000Z"));
        assert_eq!(rfc3339(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), None);
    }

    #[test]
    fn whoever_gets_it_is_named_as_the_server_reads_it() {
        let json = |to: To| serde_json::to_string(&to).unwrap();
        assert_eq!(json(To::user(7)), r#"{"user":"7"}"#);
        assert_eq!(json(To::Users(vec!["7".into(), "8".into()])), r#"{"users":["7","8"]}"#);
        assert_eq!(json(To::Audience("beta".into())), r#"{"audience":"beta"}"#);
        assert_eq!(json(To::Everyone), r#"{"all":true}"#);
    }

    #[test]
    fn a_delay_at_the_bound_is_taken_and_a_second_more_is_not() {
        let second = Duration::from_secs(1);
        assert_eq!(check_times(None, DELAY_MAX), Ok(()));
        assert!(matches!(
            check_times(None, DELAY_MAX + second),
            Err(InvalidNotification::TooFarAhead { field: "delay", .. })
        ));
        let hence = |ahead| Some(SystemTime::now() + ahead);
        assert_eq!(check_times(hence(DELAY_MAX * 2), Duration::ZERO), Ok(()));
        assert!(matches!(
            check_times(hence(DELAY_MAX * 2 + 10 * second), Duration::ZERO),
            Err(InvalidNotification::TooFarAhead { field: "expires_at", .. })
        ));
        assert_eq!(check_times(hence(60 * second), 61 * second), Err(InvalidNotification::Expired));
        assert_eq!(check_times(Some(SystemTime::now() - second), Duration::ZERO), Err(InvalidNotification::Expired));
    }
}
