//! How an inbox stands, for whoever has entered its channel.
//!
//! Owns who waits to be told. Never overtakes `subscription_succeeded`, and reaches nobody who has left: what is told is a
//! letter to the subscription itself, which its worker drops if that is over. The invariant: a store that is slow or away
//! costs those who come nothing but this event. Read on in [`campanile_hub::effect`].

use std::sync::Arc;

use campanile_hub::Letter;
use campanile_hub::letter::{ChannelKey, Subscriber};
use campanile_inbox::InboxError;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinSet;

use super::events::Event;
use super::pushes::Pushes;
use super::store::Store;
use crate::config::limits::{INBOX_ENTRIES_AT_ONCE, INBOX_ENTRIES_MAX};

/// Where those wait who have entered.
#[derive(Debug)]
pub(super) struct Entries(Sender<Entry>);

/// The other end.
#[derive(Debug)]
pub(super) struct Entered(Receiver<Entry>);

#[derive(Debug)]
struct Entry {
    key: ChannelKey,
    user: Box<str>,
    subscriber: Subscriber,
}

impl Entries {
    pub(super) fn new() -> (Self, Entered) {
        let (sender, receiver) = mpsc::channel(INBOX_ENTRIES_MAX);
        (Self(sender), Entered(receiver))
    }

    /// False: too many wait already.
    pub(super) fn push(&self, key: ChannelKey, user: Box<str>, subscriber: Subscriber) -> bool {
        self.0.try_send(Entry { key, user, subscriber }).is_ok()
    }
}

impl Entered {
    /// Tells them, several at a time, in the order in which they came as far as the store answers in it.
    pub(super) async fn run(mut self, store: Arc<Store>, pushes: Pushes) {
        let mut under_way = JoinSet::new();
        while let Some(entry) = self.0.recv().await {
            if under_way.len() >= INBOX_ENTRIES_AT_ONCE {
                under_way.join_next().await;
            }
            let (store, pushes) = (Arc::clone(&store), pushes.clone());
            under_way.spawn(async move { tell(entry, &store, &pushes).await });
        }
    }
}

async fn tell(Entry { key, user, subscriber }: Entry, store: &Store, pushes: &Pushes) {
    let Some(app) = pushes.app_at(key.app) else { return };
    let mut answer = store.note(store.inbox().state(&app.id, &user).await);
    if let Err(InboxError::Busy { retry_after }) = &answer {
        tokio::time::sleep(*retry_after).await;
        answer = store.note(store.inbox().state(&app.id, &user).await);
    }
    let Ok(state) = answer else { return store.count_unsent_state() };
    let frames = vec![Event::state(&state).frame(&key.name)];
    pushes.send(subscriber.worker, Letter::Restated { key, subscriber, frames }).await;
}

#[cfg(test)]
mod tests {
    use campanile_hub::{AppIndex, ConnectionId, WorkerId};
    use campanile_protocol::{ChannelName, SocketId};

    use super::*;

    #[test]
    fn as_many_wait_to_be_told_as_may_and_one_more_is_not() {
        let (entries, mut entered) = Entries::new();
        let key = ChannelKey { app: AppIndex(0), name: ChannelName::parse("private-user.42", 164).unwrap() };
        let connection = ConnectionId { index: 0, generation: 0 };
        let socket_id = SocketId { place: 0, secret: 0 };
        let subscriber = Subscriber { worker: WorkerId(0), connection, token: 1, socket_id };
        for _ in 0..INBOX_ENTRIES_MAX {
            assert!(entries.push(key.clone(), "42".into(), subscriber));
        }
        assert!(!entries.push(key.clone(), "42".into(), subscriber));
        entered.0.try_recv().unwrap();
        assert!(entries.push(key, "42".into(), subscriber));
    }
}
