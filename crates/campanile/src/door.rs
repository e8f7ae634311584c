//! How requests reach the minds.
//!
//! Owns what an API request needs of the workers: publish, ask, terminate. Never decides: it finds the home, takes a
//! permit and waits for the answer. The invariant: when [`Door::publish`] returns, the event is in its home's mailbox
//! (I7). One per worker, shared by that worker's requests. Read on in [`crate::api`].

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use campanile_hub::letter::ChannelKey;
use campanile_hub::{Answer, App, Apps, Ask, AskId, ChannelInfo, Letter, Publication, WorkerId};
use campanile_protocol::{ChannelName, UserId};
use tokio::sync::oneshot;

use crate::mailbox::{Permit, Permits, Post};
use crate::node::Node;

/// The workers had no room for the request, or did not answer, in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Busy;

/// A request's way to the minds.
#[derive(Debug)]
pub(crate) struct Door {
    worker: WorkerId,
    node: Arc<Node>,
    post: Post,
    permits: Permits,
    deadline: Duration,
    next_ask: Cell<u64>,
    waiting: RefCell<HashMap<u64, oneshot::Sender<Answer>>>,
}

impl Door {
    pub(crate) fn new(worker: WorkerId, node: Arc<Node>, post: Post, permits: Permits, deadline: Duration) -> Rc<Self> {
        Rc::new(Self { worker, node, post, permits, deadline, next_ask: Cell::default(), waiting: RefCell::default() })
    }

    /// The apps as configured now.
    pub(crate) fn apps(&self) -> Arc<Apps> {
        self.node.apps()
    }

    /// The process.
    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Waits for room, up to the deadline.
    pub(crate) async fn enter(&self) -> Result<Permit, Busy> {
        let wait = async {
            loop {
                match self.permits.take() {
                    Some(permit) => return permit,
                    None => self.permits.returned().await,
                }
            }
        };
        tokio::time::timeout(self.deadline, wait).await.map_err(|_| Busy)
    }

    /// Hands an event to the channel's home.
    pub(crate) fn publish(&self, app: &App, channel: ChannelName, publication: Publication, permit: &Permit) {
        let key = ChannelKey { app: app.index, name: channel };
        self.send(key.clone(), Letter::Publish { key, publication, ask: None }, permit);
    }

    /// As [`Door::publish`], and returns the channel's state afterwards.
    pub(crate) async fn publish_and_ask(
        &self,
        app: &App,
        channel: ChannelName,
        publication: Publication,
        permit: &Permit,
    ) -> Result<ChannelInfo, Busy> {
        let key = ChannelKey { app: app.index, name: channel };
        let (id, answer) = self.expect();
        self.send(key.clone(), Letter::Publish { key, publication, ask: Some(id) }, permit);
        match self.wait(id, answer).await? {
            Answer::Channel(info) => Ok(info),
            Answer::Members(_) | Answer::Channels(_) => Err(Busy),
        }
    }

    /// One channel's state.
    pub(crate) async fn channel(&self, app: &App, channel: ChannelName) -> Result<ChannelInfo, Busy> {
        let key = ChannelKey { app: app.index, name: channel };
        match self.ask(self.node.homes().of(&key), Ask::Channel(key)).await? {
            Answer::Channel(info) => Ok(info),
            Answer::Members(_) | Answer::Channels(_) => Err(Busy),
        }
    }

    /// The members of a presence channel.
    pub(crate) async fn members(&self, app: &App, channel: ChannelName) -> Result<Vec<UserId>, Busy> {
        let key = ChannelKey { app: app.index, name: channel };
        match self.ask(self.node.homes().of(&key), Ask::Members(key)).await? {
            Answer::Members(members) => Ok(members),
            Answer::Channel(_) | Answer::Channels(_) => Err(Busy),
        }
    }

    /// Every occupied channel of the app whose name begins with `prefix`, sorted by name.
    pub(crate) async fn channels(&self, app: &App, prefix: &str) -> Result<Vec<(ChannelName, ChannelInfo)>, Busy> {
        let mut all = Vec::new();
        for worker in 0..self.post.workers() {
            let ask = Ask::Channels { app: app.index, prefix: prefix.into() };
            if let Answer::Channels(channels) = self.ask(WorkerId(worker), ask).await? {
                all.extend(channels);
            }
        }
        all.sort_by(|a, b| a.0.as_str().cmp(b.0.as_str()));
        Ok(all)
    }

    /// Closes every connection that is signed in as this user.
    pub(crate) async fn terminate(&self, app: &App, user: &UserId) -> Result<(), Busy> {
        let permit = self.enter().await?;
        let key = ChannelKey { app: app.index, name: ChannelName::of_user(user) };
        self.send(key.clone(), Letter::Terminate { key }, &permit);
        Ok(())
    }

    /// Hands an answer to the request that waits for it. One that has given up is no loss.
    pub(crate) fn answer(&self, id: AskId, answer: Answer) {
        if let Some(waiting) = self.waiting.borrow_mut().remove(&id.number) {
            let _ = waiting.send(answer);
        }
    }

    fn send(&self, key: ChannelKey, letter: Letter, permit: &Permit) {
        self.post.send(self.node.homes().of(&key), letter, Some(permit.clone()));
    }

    fn expect(&self) -> (AskId, oneshot::Receiver<Answer>) {
        let number = self.next_ask.get();
        self.next_ask.set(number + 1);
        let (sender, receiver) = oneshot::channel();
        self.waiting.borrow_mut().insert(number, sender);
        (AskId { worker: self.worker, number }, receiver)
    }

    async fn wait(&self, id: AskId, answer: oneshot::Receiver<Answer>) -> Result<Answer, Busy> {
        let answer = tokio::time::timeout(self.deadline, answer).await;
        self.waiting.borrow_mut().remove(&id.number);
        answer.map_err(|_| Busy)?.map_err(|_| Busy)
    }

    async fn ask(&self, home: WorkerId, ask: Ask) -> Result<Answer, Busy> {
        let permit = self.enter().await?;
        let (id, answer) = self.expect();
        self.post.send(home, Letter::Ask { ask, id }, Some(permit));
        self.wait(id, answer).await
    }
}
