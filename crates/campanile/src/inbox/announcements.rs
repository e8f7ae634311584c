//! What is for everybody, on its way to whoever is there.
//!
//! Owns which announcements wait to be told, and the walk over the occupied channels of an app's inboxes. Never reads the
//! inboxes of those who are away: an announcement is one row, merged at read. The invariant: one walk at a time, and
//! whatever is announced meanwhile is told by the next, as one. Read on in [`crate::door`], which lists channels.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use campanile_hub::App;
use campanile_hub::guard::Pattern;
use campanile_inbox::{Notification, State};
use campanile_protocol::ChannelName;
use parking_lot::Mutex;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::{Notify, oneshot};

use super::events::Event;
use super::pushes::Pushes;
use super::store::Store;
use crate::config::limits::INBOX_ANNOUNCEMENTS_WAITING_MAX;
use crate::door::{Busy, Door};

/// Users whose membership is asked for at once.
const USERS_AT_ONCE: usize = 500;
/// How often a walk is tried whose worker has no room.
const TRIES: usize = 5;

/// The announcements of all apps.
#[derive(Debug, Default)]
pub(super) struct Announcements(pub(super) Arc<Waiting>);

/// What waits to be told.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    apps: Mutex<HashMap<String, Pending>>,
    arrived: Notify,
}

/// Of one app.
#[derive(Debug, Default)]
struct Pending {
    announced: Vec<(Option<String>, Notification)>,
    /// More than is known.
    reset: bool,
}

impl Waiting {
    /// Something was announced.
    pub(super) fn announce(&self, app: String, audience: Option<String>, notification: Notification) {
        let mut apps = self.apps.lock();
        let pending = apps.entry(app).or_default();
        if pending.announced.len() >= INBOX_ANNOUNCEMENTS_WAITING_MAX {
            pending.reset = true;
        } else {
            pending.announced.push((audience, notification));
        }
        drop(apps);
        self.arrived.notify_one();
    }

    /// Every inbox of the app may be otherwise than before.
    pub(super) fn reset(&self, app: String) {
        self.apps.lock().entry(app).or_default().reset = true;
        self.arrived.notify_one();
    }

    /// Tells whoever is there, one app after the other.
    pub(super) async fn run(self: Arc<Self>, store: Arc<Store>, pushes: Pushes) {
        loop {
            let next = self.apps.lock().keys().next().cloned();
            let Some(id) = next else {
                self.arrived.notified().await;
                continue;
            };
            let pending = self.apps.lock().remove(&id).unwrap_or_default();
            if let Some(app) = pushes.app(&id) {
                walk(&app, &pending, &store, &pushes).await;
            }
        }
    }
}

async fn walk(app: &Arc<App>, pending: &Pending, store: &Store, pushes: &Pushes) {
    let Some(inbox) = &app.inbox else { return };
    let channels = store.lister.occupied(app).await;
    let fed = store.streams.users(app.index);
    let named = channels.iter().filter_map(|channel| inbox.user(channel));
    let users: HashSet<String> = named.map(str::to_owned).chain(fed).collect();
    let mut by_user: HashMap<&str, Vec<&ChannelName>> = HashMap::new();
    for channel in &channels {
        if let Some(user) = inbox.user(channel) {
            by_user.entry(user).or_default().push(channel);
        }
    }
    let members = members(app, pending, &users, store).await;
    for user in &users {
        let concerns = |audience: &Option<String>| {
            audience.as_ref().is_none_or(|name| members.get(name).is_some_and(|members| members.contains(user)))
        };
        let mine: Vec<&Notification> =
            pending.announced.iter().filter(|(audience, _)| concerns(audience)).map(|(_, told)| told).collect();
        if mine.is_empty() && !pending.reset {
            continue;
        }
        // Whoever is not told now hears the state when they come back, or at the next change.
        let Ok(state) = store.note(store.inbox().state(&app.id, user).await) else { continue };
        let events = events(&mine, &state, pending.reset);
        for event in &events {
            for channel in by_user.get(user.as_str()).into_iter().flatten() {
                pushes.publish(app, (*channel).clone(), event).await;
            }
            store.streams.feed(app.index, user, &event.in_stream());
        }
    }
}

fn events(mine: &[&Notification], state: &State, reset: bool) -> Vec<Event> {
    let ids: Vec<_> = mine.iter().map(|notification| notification.id).collect();
    let (changed, more) = Pushes::changed(&ids);
    let arrived = mine.iter().map(|notification| Event::arrived(notification, state));
    arrived.chain([Event::updated(state, changed, reset || more)]).collect()
}

/// Who of these users is in each audience that is told something.
async fn members(
    app: &App,
    pending: &Pending,
    users: &HashSet<String>,
    store: &Store,
) -> HashMap<String, HashSet<String>> {
    let mut members: HashMap<String, HashSet<String>> = HashMap::new();
    let users: Vec<String> = users.iter().cloned().collect();
    for audience in pending.announced.iter().filter_map(|(audience, _)| audience.as_ref()) {
        if members.contains_key(audience) {
            continue;
        }
        let mut found = HashSet::new();
        for users in users.chunks(USERS_AT_ONCE) {
            let answer = store.inbox().members_among(&app.id, audience, users.to_vec()).await;
            found.extend(store.note(answer).unwrap_or_default());
        }
        members.insert(audience.clone(), found);
    }
    members
}

/// Who asks a worker for the channels that are occupied.
#[derive(Debug)]
pub(crate) struct Lister {
    ask: Sender<Question>,
    asked: Mutex<Option<Receiver<Question>>>,
}

#[derive(Debug)]
struct Question {
    app: Arc<App>,
    answer: oneshot::Sender<Vec<ChannelName>>,
}

impl Lister {
    pub(super) fn new() -> Self {
        let (ask, asked) = mpsc::channel(1);
        Self { ask, asked: Mutex::new(Some(asked)) }
    }

    /// Answers what is asked, beside a worker's other requests. The first worker to come does.
    pub(crate) fn serve(&self, door: Rc<Door>) {
        let Some(mut asked) = self.asked.lock().take() else { return };
        tokio::task::spawn_local(async move {
            while let Some(Question { app, answer }) = asked.recv().await {
                let _gone = answer.send(listed(&app, &door).await);
            }
        });
    }

    /// The occupied channels of an app's inboxes.
    async fn occupied(&self, app: &Arc<App>) -> Vec<ChannelName> {
        let (answer, answered) = oneshot::channel();
        if self.ask.send(Question { app: Arc::clone(app), answer }).await.is_err() {
            return Vec::new();
        }
        answered.await.unwrap_or_default()
    }
}

async fn listed(app: &App, door: &Door) -> Vec<ChannelName> {
    let Some(inbox) = &app.inbox else { return Vec::new() };
    let mut channels = Vec::new();
    for pattern in &inbox.channels {
        for _ in 0..TRIES {
            let mut found = Vec::new();
            let tell = |channel: &ChannelName, _: &_| {
                if pattern.matches(channel.as_str()) {
                    found.push(channel.clone());
                }
                Ok::<(), Busy>(())
            };
            if door.visit().channels(app, prefix(pattern), tell).await.is_ok() {
                channels.append(&mut found);
                break;
            }
        }
    }
    channels
}

/// What all names begin with that a pattern means.
fn prefix(pattern: &Pattern) -> &str {
    pattern.as_str().split(['{', '*']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::events::tests::notification;
    use super::*;

    #[test]
    fn as_many_announcements_wait_one_by_one_as_may_and_one_more_makes_them_one() {
        let waiting = Waiting::default();
        for _ in 0..INBOX_ANNOUNCEMENTS_WAITING_MAX {
            waiting.announce("app".into(), None, notification());
        }
        let look = |look: fn(&Pending) -> (usize, bool)| look(&waiting.apps.lock()["app"]);
        assert_eq!(look(|pending| (pending.announced.len(), pending.reset)), (INBOX_ANNOUNCEMENTS_WAITING_MAX, false));
        waiting.announce("app".into(), None, notification());
        assert_eq!(look(|pending| (pending.announced.len(), pending.reset)), (INBOX_ANNOUNCEMENTS_WAITING_MAX, true));
        // Another app's do not count.
        waiting.announce("other".into(), None, notification());
        assert!(!waiting.apps.lock()["other"].reset);
    }

    #[test]
    fn names_are_listed_by_what_they_all_begin_with() {
        for (pattern, wanted) in
            [("private-user.{user}", "private-user."), ("presence-{user}-x", "presence-"), ("private-a", "private-a")]
        {
            assert_eq!(prefix(&Pattern::parse(pattern).unwrap()), wanted);
        }
    }
}
