//! Committed changes, on their way to the channels of their users.
//!
//! Owns what is pushed for each change, and the room that pushes may take in the workers' mailboxes. Never pushes before
//! the commit: a change says that there was one (I18). The invariant: no more letters of ours are under way than
//! [`INBOX_PUSHES_MAX`], however fast the store commits; what waits beyond that is the store's to bound.

use std::sync::Arc;

use campanile_hub::letter::ChannelKey;
use campanile_hub::{App, AppIndex, Letter, Receipt, WorkerId};
use campanile_inbox::{Change, Changes, Uuid};
use campanile_protocol::ChannelName;

use super::announcements::Waiting;
use super::events::Event;
use super::store::Store;
use crate::config::limits::INBOX_PUSHES_MAX;
use crate::mailbox::{Permit, Permits, Post};
use crate::node::Node;

/// The way from the store to the workers.
#[derive(Debug, Clone)]
pub(super) struct Pushes {
    node: Arc<Node>,
    post: Post,
    permits: Permits,
}

impl Pushes {
    pub(super) fn new(node: Arc<Node>, post: Post) -> Self {
        Self { node, post, permits: Permits::new(INBOX_PUSHES_MAX) }
    }

    /// Tells of changes until the store is closed.
    pub(super) async fn run(self, mut changes: Changes, store: Arc<Store>, waiting: Arc<Waiting>) {
        while let Some(change) = changes.next().await {
            match change {
                Change::Arrived { app, user, notification, state, captured, broadcast, beyond } => {
                    if captured {
                        store.fences.pass(notification.id).await;
                    }
                    let updated = Event::updated(&state, &[notification.id], false);
                    if broadcast && !captured {
                        let mut event = Event::arrived(&notification, &state);
                        if beyond && let Some(app) = self.app(&app) {
                            let notification = notification.id.as_u128();
                            event = event.awaited(Receipt { app: app.index, user: user.as_str().into(), notification });
                        }
                        self.tell(&app, &user, &store, &[event, updated]).await;
                    } else if captured {
                        // The event itself is on its way on the channel that it was captured from, and only there.
                        let event = Event::arrived(&notification, &state);
                        self.feed(&app, &user, &store, &event);
                        self.tell(&app, &user, &store, &[updated]).await;
                    } else {
                        self.tell(&app, &user, &store, &[updated]).await;
                    }
                }
                Change::Updated { app, user, state, changed, reset } => {
                    for id in &changed {
                        store.fences.pass(*id).await;
                    }
                    self.tell(&app, &user, &store, &[Event::updated(&state, &changed, reset)]).await;
                }
                Change::Announced { app, audience, notification } => waiting.announce(app, audience, *notification),
                Change::Reset { app } => waiting.reset(app),
            }
        }
    }

    /// The app with this id, if it has inboxes now.
    pub(super) fn app(&self, id: &str) -> Option<Arc<App>> {
        self.node.apps().by_id(id).filter(|app| app.enabled && app.inbox.is_some()).cloned()
    }

    /// The app at this index, in the same way.
    pub(super) fn app_at(&self, index: AppIndex) -> Option<Arc<App>> {
        self.node.apps().get(index).filter(|app| app.enabled && app.inbox.is_some()).cloned()
    }

    /// Tells a user's pages, on every channel and stream.
    async fn tell(&self, app: &str, user: &str, store: &Store, events: &[Event]) {
        let Some(app) = self.app(app) else { return };
        let Some(inbox) = &app.inbox else { return };
        for channel in inbox.channels_of(user, app.limits.channel_name_length_max) {
            for event in events {
                self.publish(&app, channel.clone(), event).await;
            }
        }
        for event in events {
            store.streams.feed(app.index, user, &event.in_stream());
        }
    }

    /// Tells a user's streams alone.
    fn feed(&self, app: &str, user: &str, store: &Store, event: &Event) {
        if let Some(app) = self.app(app) {
            store.streams.feed(app.index, user, &event.in_stream());
        }
    }

    /// Hands an event to its channel's home.
    pub(super) async fn publish(&self, app: &App, channel: ChannelName, event: &Event) {
        let publication = event.publication(&channel);
        let key = ChannelKey { app: app.index, name: channel };
        let to = self.node.homes().of(&key);
        self.send(to, Letter::Publish { key, publication, ask: None }).await;
    }

    /// Sends a letter as soon as there is room for one of ours.
    pub(super) async fn send(&self, to: WorkerId, letter: Letter) {
        let permit = self.enter().await;
        self.post.send(to, letter, Some(permit));
    }

    async fn enter(&self) -> Permit {
        loop {
            match self.permits.take() {
                Some(permit) => return permit,
                None => self.permits.returned().await,
            }
        }
    }

    /// Ids that several changes name, as far as they fit into one event.
    pub(super) fn changed(ids: &[Uuid]) -> (&[Uuid], bool) {
        let most = campanile_inbox::settings::IDS_MAX;
        (&ids[..ids.len().min(most)], ids.len() > most)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::time::Duration;

    use campanile_hub::Apps;
    use campanile_hub::letter::Homes;

    use super::*;
    use crate::config::{Config, Machine};

    #[tokio::test]
    async fn as_many_letters_are_under_way_as_may_be_and_the_next_waits() {
        let machine = Machine { cores: 1, ..Machine::here() };
        let config = Config::load_explained(None, std::iter::empty(), &machine).unwrap().0;
        let node = Node::new(Arc::new(config), Arc::new(Apps::default()), Homes { seed: 1, workers: 1 });
        let post = Post::new(1);
        let pushes = Pushes::new(node, post.clone());
        let letter = || Letter::Reload { apps: Arc::new(Apps::default()) };
        for _ in 0..INBOX_PUSHES_MAX {
            pushes.send(WorkerId(0), letter()).await;
        }
        let next = tokio::spawn({
            let pushes = pushes.clone();
            async move { pushes.send(WorkerId(0), letter()).await }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!next.is_finished());
        let mut taken = VecDeque::new();
        post.take(WorkerId(0), &mut taken);
        assert_eq!(taken.len(), INBOX_PUSHES_MAX);
        taken.pop_front();
        next.await.unwrap();
    }
}
