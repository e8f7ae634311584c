//! Events that become rows of an inbox on their way.
//!
//! Owns which of a request's events are captured, what is read of them, and what becomes of those that cannot be written.
//! Never changes an event: it is published byte for byte. The invariants: an app without rules pays for none of this; an
//! event is published only after its row's commit (I18), or its publisher is told that it left none. Read on in
//! `events.rs`, which calls this between the guard and the channels.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;
use campanile_hub::{App, Capture as Rule, OnStoreError};
use campanile_inbox::{Captured, InboxError, Uuid};
use campanile_protocol::json::Pointer;
use campanile_protocol::trigger::Trigger;
use serde_json::{Map, Value};

use super::super::error::ApiError;
use super::super::events::{join, targets};
use super::super::guard::Passage;
use crate::door::Visit;
use crate::inbox::{Fence, Store};

/// The word for publishers.
const UNCAPTURED: &str = "uncaptured";

/// What has become rows.
#[derive(Debug, Default)]
pub(in crate::api) struct Rows {
    /// Which targets left none though a rule names them.
    uncaptured: Vec<usize>,
    /// What their changes wait for: until this is dropped, which is when the events are on their way.
    _fences: Vec<Fence>,
}

/// An event on a channel that is to be a row.
struct Candidate<'t> {
    target: usize,
    rule: &'t Rule,
    captured: Option<Captured>,
}

/// One of a worker's requests that wait for the store.
#[derive(Debug)]
struct Turn(Rc<Cell<usize>>);

impl Turn {
    /// So many permits may be held by requests that wait for the store that the others are not kept from theirs.
    fn take(visit: Visit<'_>) -> Option<Self> {
        let captures = visit.door().captures();
        let most = visit.door().node().config().limits.permits_per_worker / 4;
        (captures.get() < most).then(|| {
            captures.set(captures.get() + 1);
            Self(captures)
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// Writes the rows of a request's events.
pub(in crate::api) async fn write(
    triggers: &[Trigger],
    passage: &Passage<'_>,
    app: &App,
    visit: Visit<'_>,
) -> Result<Rows, ApiError> {
    let Some(inbox) = app.inbox.as_ref().filter(|inbox| !inbox.captures.is_empty()) else { return Ok(Rows::default()) };
    let mut candidates = Vec::new();
    for (target, (trigger, channel)) in targets(triggers).enumerate() {
        if let Some((rule, user)) = inbox.capture(trigger.event.as_str(), channel)
            && passage.keeps(target)
        {
            candidates.push(Candidate { target, rule, captured: read(rule, user, trigger) });
        }
    }
    if candidates.is_empty() {
        return Ok(Rows::default());
    }
    // A reload may have brought the rules before the restart that brings the store.
    let Some(store) = visit.door().node().store() else {
        let uncaptured = candidates.into_iter().map(|candidate| candidate.target).collect();
        return Ok(Rows { uncaptured, _fences: Vec::new() });
    };
    let turn = Turn::take(visit);
    let fences = candidates.iter().filter_map(|candidate| Some(store.fences.raise(candidate.captured.as_ref()?.id)));
    let fences: Vec<Fence> = fences.collect();
    let has_turn = turn.is_some();
    let writes = candidates.into_iter().map(|Candidate { target, rule, captured }| {
        let write = async move {
            let stored = match captured {
                // It names no notification: there is nothing that could be tried again.
                None => return Ok(Some(target)),
                Some(_) if !has_turn => Err(1),
                Some(captured) => store_one(captured, app, store, visit).await,
            };
            match (stored, rule.on_store_error) {
                (Ok(true), _) => Ok(None),
                (Ok(false), _) | (Err(_), OnStoreError::Push) => Ok(Some(target)),
                (Err(retry_after_secs), OnStoreError::Refuse) => Err(retry_after_secs),
            }
        };
        Box::pin(write) as Pin<Box<dyn Future<Output = Result<Option<usize>, u64>>>>
    });
    let written = join(writes.collect(), || {}).await;
    let mut uncaptured = Vec::new();
    for result in written {
        uncaptured.extend(result.map_err(|retry_after_secs| ApiError::NotStored { retry_after_secs })?);
    }
    uncaptured.iter().for_each(|_| store.count_uncaptured());
    Ok(Rows { uncaptured, _fences: fences })
}

/// Whether there is a row now, or after how many seconds to try again.
async fn store_one(captured: Captured, app: &App, store: &Store, visit: Visit<'_>) -> Result<bool, u64> {
    let mut captured = captured;
    loop {
        let capture = store.inbox().capture(&app.id, captured.clone());
        let Ok(answer) = tokio::time::timeout_at(visit.until(), capture).await else {
            store.note_late();
            return Err(1);
        };
        match store.note(answer) {
            Ok(_) => return Ok(true),
            // The application shows the event as it likes; a row leads somewhere or nowhere.
            Err(InboxError::Invalid(mistake)) if mistake.path == "/action_url" && captured.action_url.is_some() => {
                captured.action_url = None;
            }
            Err(InboxError::Busy { retry_after }) => return Err(retry_after.as_secs().max(1)),
            Err(InboxError::Unavailable { .. } | InboxError::Broken { .. }) => return Err(1),
            Err(error) => {
                tracing::debug!(app = &*app.id, %error, "a captured event is no notification: it leaves no row");
                return Ok(false);
            }
        }
    }
}

/// What a row has of an event; nothing if it has no id or its data is no object.
fn read(rule: &Rule, user: &str, trigger: &Trigger) -> Option<Captured> {
    let data: Map<String, Value> = serde_json::from_str(&trigger.data.decode()).ok()?;
    let data = Value::Object(data);
    let text = |pointer: &Option<Pointer>| {
        let found = data.pointer(pointer.as_ref()?.as_str())?.as_str()?;
        (!found.trim().is_empty()).then(|| found.to_owned())
    };
    let id = Uuid::try_parse(data.pointer(rule.id.as_str())?.as_str()?).ok()?;
    let kind = text(&rule.kind).unwrap_or_else(|| trigger.event.as_str().to_owned());
    let limits = campanile_inbox::Limits::default();
    // What nobody has written for a line of an inbox is cut to one, rather than left out of it.
    let title = text(&rule.title).map_or_else(|| kind.clone(), |title| shortened(&title, limits.title_bytes));
    let body = text(&rule.body).map(|body| shortened(&body, limits.body_bytes));
    let (category, action_url) = (text(&rule.category), text(&rule.action_url));
    let Value::Object(data) = data else { return None };
    Some(Captured { user: user.to_owned(), id, kind, category, title, body, action_url, data })
}

/// At most so many bytes, with a mark where something was cut off.
fn shortened(text: &str, bytes_max: usize) -> String {
    const MARK: &str = "\u{2026}";
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let mut end = bytes_max - MARK.len();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{MARK}", &text[..end])
}

impl Rows {
    /// What the header says of the guard's and the store's outcomes together.
    pub(in crate::api) fn told(&self, passage: &Passage<'_>, triggers: &[Trigger]) -> Bytes {
        if self.uncaptured.is_empty() {
            return passage.told();
        }
        let word = |target: usize| {
            if self.uncaptured.contains(&target) { UNCAPTURED } else { passage.outcome(target).word() }
        };
        let words: Vec<&str> = (0..targets(triggers).count()).map(word).collect();
        match words.split_first() {
            Some((first, rest)) if rest.iter().all(|word| word == first) => Bytes::copy_from_slice(first.as_bytes()),
            _ => words.join(", ").into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_a_character_and_keeps_to_the_bound() {
        assert_eq!(shortened("short", 5), "short");
        assert_eq!(shortened("longer", 5), "lo\u{2026}");
        assert_eq!(shortened("\u{e4}\u{e4}\u{e4}", 5), "\u{e4}\u{2026}");
        assert_eq!(shortened(&"\u{e4}".repeat(100), 20).len(), 19);
    }
}
