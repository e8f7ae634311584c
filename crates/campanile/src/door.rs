//! How requests reach the minds.
//!
//! Owns what an API request needs of the workers: publish, ask, terminate, reserve a key, have events weighed by the guard.
//! Never decides: it finds the home, takes a permit and waits for the answer. The invariants: when [`Visit::publish`]
//! returns, the event is in its home's mailbox (I8); a key that was reserved is committed or released, however its request
//! ends (I15), and so is what the guard has granted. One per worker, shared by that worker's requests. Read on in
//! [`crate::api`].

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::vec;

use campanile_hub::guard::{Claim, Fate, Verdict};
use campanile_hub::hub::{PLACE_INDEX_BITS, PLACE_WORKER_MAX};
use campanile_hub::letter::ChannelKey;
use campanile_hub::meter::API;
use campanile_hub::{
    Answer, App, AppIndex, Apps, Ask, AskId, ChannelInfo, FirstAnswer, Letter, Meter, Publication, Reading, RequestKey,
    Subject, Unit, Unreserved, WorkerId,
};
use campanile_protocol::trigger::Trigger;
use campanile_protocol::{Access, ChannelName, EventName, Fingerprint, IdempotencyKey, SocketId, UserId};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::budget::{Budget, Share};
use crate::config::limits::CHANNELS_AT_ONCE;
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
    next_ask: Cell<u64>,
    waiting: RefCell<HashMap<u64, oneshot::Sender<Answer>>>,
    meter: RefCell<Meter>,
    /// What the worker's requests and answers hold.
    budget: Budget,
    /// How many inboxes are fed over this worker's HTTP connections.
    streams: Rc<Cell<usize>>,
    /// How many requests hold a permit while the store writes the rows of their events.
    captures: Rc<Cell<usize>>,
}

impl Door {
    pub(crate) fn new(worker: WorkerId, node: Arc<Node>, post: Post, permits: Permits) -> Rc<Self> {
        let (next_ask, waiting) = (Cell::default(), RefCell::default());
        let (budget, streams, captures) = Default::default();
        let meter = RefCell::new(Meter::new(node.homes().seed));
        Rc::new(Self { worker, node, post, permits, next_ask, waiting, meter, budget, streams, captures })
    }

    /// The apps as configured now.
    pub(crate) fn apps(&self) -> Arc<Apps> {
        self.node.apps()
    }

    /// The process.
    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Begins to count a request of an app.
    pub(crate) fn call(&self, app: AppIndex) -> Call<'_> {
        Call { door: self, app, calls: Cell::new(1), of: OnceCell::new() }
    }

    /// Takes what has been counted since this was last called.
    pub(crate) fn take_readings(&self) -> Vec<Reading> {
        self.meter.borrow_mut().take()
    }

    /// How many inboxes are fed over this worker's HTTP connections.
    pub(crate) fn streams(&self) -> Rc<Cell<usize>> {
        Rc::clone(&self.streams)
    }

    /// How many requests hold a permit while the store writes the rows of their events.
    pub(crate) fn captures(&self) -> Rc<Cell<usize>> {
        Rc::clone(&self.captures)
    }

    /// For the bytes of a request or an answer.
    pub(crate) fn share(&self) -> Share {
        self.budget.share()
    }

    /// What all of them may hold.
    pub(crate) fn http_bytes_max(&self) -> usize {
        let config = self.node.config();
        config.limits.http_bytes_max / config.workers.max(1)
    }

    /// Begins a request, which must be done within the time of the last reload's settings.
    pub(crate) fn visit(&self) -> Visit<'_> {
        Visit { door: self, until: Instant::now() + self.node.config().limits.http_request_timeout }
    }

    /// Hands an answer to the request that waits for it. One that has given up is no loss.
    pub(crate) fn answer(&self, id: AskId, answer: Answer) {
        if let Some(waiting) = self.waiting.borrow_mut().remove(&id.number) {
            let _ = waiting.send(answer);
        }
    }
}

/// A request to the HTTP API as it is billed. It is counted once, when it ends, however it does: for the first event that it
/// publishes, or for none.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    door: &'a Door,
    app: AppIndex,
    calls: Cell<u64>,
    /// For which event on which channel.
    of: OnceCell<(Box<str>, EventName)>,
}

impl Call<'_> {
    /// It publishes these, as far as the guard lets them pass.
    pub(crate) fn publishes(&self, triggers: &[Trigger], app: &App) {
        let mut meter = self.door.meter.borrow_mut();
        for trigger in triggers {
            let Some(channel) = trigger.channels.first() else { continue };
            let subject = Subject::of(app, channel, trigger.event.as_str());
            self.of.get_or_init(|| (subject.prefix.into(), trigger.event.clone()));
            // What is encrypted is nothing to be looked into.
            let may_look = trigger.channels.iter().all(|channel| channel.kind().access != Access::Encrypted);
            meter.size(subject, &trigger.data, app.limits.event_data_bytes_max, may_look);
        }
    }

    /// It asks for counts as well: that is another.
    pub(crate) fn asks_too(&self) {
        self.calls.set(self.calls.get() + 1);
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let subject = match self.of.get() {
            Some((prefix, event)) => Subject { app: self.app, prefix, event: event.as_str() },
            None => Subject::of_none(self.app, API),
        };
        self.door.meter.borrow_mut().count(subject, Unit::ApiCall, self.calls.get());
    }
}

/// One request at the door: its body, its room and its answers have one deadline together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Visit<'a> {
    door: &'a Door,
    until: Instant,
}

impl<'a> Visit<'a> {
    /// Where it is.
    pub(crate) fn door(self) -> &'a Door {
        self.door
    }

    /// By when it must be done.
    pub(crate) fn until(self) -> Instant {
        self.until
    }

    /// Waits for room, up to the deadline.
    pub(crate) async fn enter(&self) -> Result<Permit, Busy> {
        let wait = async {
            loop {
                match self.door.permits.take() {
                    Some(permit) => return permit,
                    None => self.door.permits.returned().await,
                }
            }
        };
        tokio::time::timeout_at(self.until, wait).await.map_err(|_| Busy)
    }

    /// Hands an event to the channel's home.
    pub(crate) fn publish(&self, app: &App, channel: ChannelName, publication: Publication, permit: &Permit) {
        let key = ChannelKey { app: app.index, name: channel };
        self.send(key.clone(), Letter::Publish { key, publication, ask: None }, permit);
    }

    /// As [`Visit::publish`], and returns the channel's state afterwards.
    pub(crate) async fn publish_and_ask(
        &self,
        app: &App,
        channel: ChannelName,
        publication: Publication,
        permit: &Permit,
    ) -> Result<ChannelInfo, Busy> {
        let key = ChannelKey { app: app.index, name: channel };
        let asked = self.expect();
        self.send(key.clone(), Letter::Publish { key, publication, ask: Some(asked.id) }, permit);
        match asked.answer().await? {
            Answer::Channel(info) => Ok(info),
            _ => Err(Busy),
        }
    }

    /// One channel's state.
    pub(crate) async fn channel(&self, app: &App, channel: ChannelName) -> Result<ChannelInfo, Busy> {
        let key = ChannelKey { app: app.index, name: channel };
        match self.ask(self.door.node.homes().of(&key), Ask::Channel(key)).await? {
            Answer::Channel(info) => Ok(info),
            _ => Err(Busy),
        }
    }

    /// The same, as a part of work that has a permit already.
    pub(crate) async fn ask_with(&self, app: &App, channel: ChannelName, permit: &Permit) -> Result<ChannelInfo, Busy> {
        let key = ChannelKey { app: app.index, name: channel };
        let (home, asked) = (self.door.node.homes().of(&key), self.expect());
        self.door.post.send(home, Letter::Ask { ask: Ask::Channel(key), id: asked.id }, Some(permit.clone()));
        match asked.answer().await? {
            Answer::Channel(info) => Ok(info),
            _ => Err(Busy),
        }
    }

    /// The app of the connection with this socket id, which its worker is asked for: nothing if there is none.
    pub(crate) async fn app_of_connection(&self, socket_id: SocketId) -> Result<Option<AppIndex>, Busy> {
        let worker = u16::try_from(socket_id.place >> PLACE_INDEX_BITS & u64::from(PLACE_WORKER_MAX));
        let Some(worker) = worker.ok().filter(|worker| *worker < self.door.post.workers()) else { return Ok(None) };
        match self.ask(WorkerId(worker), Ask::Connection(socket_id)).await? {
            Answer::Connection(app) => Ok(app),
            _ => Err(Busy),
        }
    }

    /// The members of a presence channel.
    pub(crate) async fn members(&self, app: &App, channel: ChannelName) -> Result<Vec<UserId>, Busy> {
        let key = ChannelKey { app: app.index, name: channel };
        match self.ask(self.door.node.homes().of(&key), Ask::Members(key)).await? {
            Answer::Members(members) => Ok(members),
            _ => Err(Busy),
        }
    }

    /// Tells every occupied channel of the app whose name begins with `prefix`, in the order of their names.
    ///
    /// A slice at a time: whoever is asked and whoever asks have time for other work between any two. So it is no picture of
    /// one moment; but a channel that is occupied all the while is told, and none is told twice.
    pub(crate) async fn channels<E: From<Busy>>(
        &self,
        app: &App,
        prefix: &str,
        mut tell: impl FnMut(&ChannelName, &ChannelInfo) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut lists: Vec<List> = (0..self.door.post.workers()).map(|home| List::of(WorkerId(home))).collect();
        let mut told = 0_usize;
        loop {
            let permit = self.enter().await?;
            let asked = lists.iter_mut().filter(|list| list.is_short()).map(|list| {
                let (app, prefix, after) = (app.index, prefix.into(), list.last.take());
                let asked = self.expect();
                let letter =
                    Letter::Ask { ask: Ask::Channels { app, prefix, after, most: CHANNELS_AT_ONCE }, id: asked.id };
                self.door.post.send(list.home, letter, Some(permit.clone()));
                (list, asked)
            });
            // All are asked before any is waited for; the permit goes with the questions.
            let asked: Vec<_> = asked.collect();
            drop(permit);
            for (list, asked) in asked {
                let Answer::Channels(slice) = asked.answer().await? else { return Err(Busy.into()) };
                list.take(slice);
            }
            while let Some((channel, state)) = next(&mut lists) {
                tell(&channel, &state)?;
                told += 1;
                if told.is_multiple_of(CHANNELS_AT_ONCE) {
                    tokio::task::yield_now().await;
                }
                if lists.iter().any(List::is_short) {
                    break;
                }
            }
            if lists.iter().all(List::is_done) {
                return Ok(());
            }
        }
    }

    /// Closes every connection that is signed in as this user.
    pub(crate) async fn terminate(&self, app: &App, user: &UserId) -> Result<(), Busy> {
        let permit = self.enter().await?;
        let key = ChannelKey { app: app.index, name: ChannelName::of_user(user) };
        self.send(key.clone(), Letter::Terminate { key }, &permit);
        Ok(())
    }

    /// Reserves a key for a request, or tells why that must not publish.
    pub(crate) async fn reserve(
        &self,
        app: &App,
        key: IdempotencyKey,
        fingerprint: Fingerprint,
        permit: &Permit,
    ) -> Result<Result<Reservation<'a>, Unreserved>, Busy> {
        let key = RequestKey { app: app.index, key };
        let asked = self.expect();
        // It is there before the answer is, so that a request which ends while it waits leaves no key reserved.
        let mut reservation =
            Reservation { door: self.door, key: key.clone(), id: asked.id, permit: permit.clone(), end: End::Release };
        let letter = Letter::Reserve { key, fingerprint, id: asked.id };
        self.door.post.send(reservation.home(), letter, Some(permit.clone()));
        match asked.answer().await? {
            Answer::Reserved(Ok(())) => Ok(Ok(reservation)),
            Answer::Reserved(Err(unreserved)) => {
                reservation.end = End::NotOurs;
                Ok(Err(unreserved))
            }
            _ => Err(Busy),
        }
    }

    /// Asks the homes of what an app's events need, all of them before any is waited for.
    pub(crate) async fn weigh(&self, app: &App, claims: &[Claim], permit: &Permit) -> Result<Weighed<'a>, Busy> {
        let mut by_home: BTreeMap<WorkerId, Vec<usize>> = BTreeMap::new();
        for (index, claim) in claims.iter().enumerate() {
            by_home.entry(self.door.node.homes().of_guard_key(&claim.key)).or_default().push(index);
        }
        // They are there before the answers are, so that a request which ends while it waits leaves nothing reserved.
        let (mut holds, mut asked) = (Vec::with_capacity(by_home.len()), Vec::with_capacity(by_home.len()));
        for (home, indices) in by_home {
            let question = self.expect();
            let claims: Vec<Claim> = indices.iter().map(|index| claims[*index].clone()).collect();
            let fates = vec![Fate::Release; claims.len()];
            let (id, permit) = (question.id, permit.clone());
            self.door.post.send(home, Letter::Weigh { app: app.index, claims, id }, Some(permit.clone()));
            holds.push(Hold { door: self.door, home, id, permit, indices, fates, has_any: true });
            asked.push(question);
        }
        let mut verdicts = vec![Verdict::InFlight; claims.len()];
        for (hold, question) in holds.iter_mut().zip(asked) {
            let Answer::Weighed(answered) = question.answer().await? else { return Err(Busy) };
            hold.has_any = answered.iter().any(|verdict| verdict.is_held());
            for (index, verdict) in hold.indices.iter().zip(answered) {
                verdicts[*index] = verdict;
            }
        }
        Ok(Weighed { verdicts, holds })
    }

    fn send(&self, key: ChannelKey, letter: Letter, permit: &Permit) {
        self.door.post.send(self.door.node.homes().of(&key), letter, Some(permit.clone()));
    }

    fn expect(&self) -> Asked<'a> {
        let number = self.door.next_ask.get();
        self.door.next_ask.set(number + 1);
        let (sender, answer) = oneshot::channel();
        self.door.waiting.borrow_mut().insert(number, sender);
        Asked { door: self.door, id: AskId { worker: self.door.worker, number }, answer, until: self.until }
    }

    async fn ask(&self, home: WorkerId, ask: Ask) -> Result<Answer, Busy> {
        let permit = self.enter().await?;
        let asked = self.expect();
        self.door.post.send(home, Letter::Ask { ask, id: asked.id }, Some(permit));
        asked.answer().await
    }
}

/// What one home has told of its channels and has not been passed on.
struct List {
    home: WorkerId,
    slice: vec::IntoIter<(ChannelName, ChannelInfo)>,
    /// Where the next slice begins.
    last: Option<ChannelName>,
    is_last: bool,
}

impl List {
    fn of(home: WorkerId) -> Self {
        Self { home, slice: Vec::new().into_iter(), last: None, is_last: false }
    }

    fn take(&mut self, slice: Vec<(ChannelName, ChannelInfo)>) {
        self.is_last = slice.len() < CHANNELS_AT_ONCE;
        self.last = slice.last().map(|(channel, _)| channel.clone());
        self.slice = slice.into_iter();
    }

    /// The first of what is waiting.
    fn name(&self) -> Option<&str> {
        self.slice.as_slice().first().map(|(channel, _)| channel.as_str())
    }

    /// Whether its home may have more before anything else can be told.
    fn is_short(&self) -> bool {
        !self.is_last && self.slice.len() == 0
    }

    fn is_done(&self) -> bool {
        self.is_last && self.slice.len() == 0
    }
}

/// The first of all lists, none of which is short.
fn next(lists: &mut [List]) -> Option<(ChannelName, ChannelInfo)> {
    let waiting = lists.iter_mut().filter(|list| list.slice.len() > 0);
    waiting.min_by(|one, other| one.name().cmp(&other.name()))?.slice.next()
}

/// A question that is under way. Nobody waits for its answer once this is dropped, as it is with a request whose client
/// has gone.
struct Asked<'a> {
    door: &'a Door,
    id: AskId,
    answer: oneshot::Receiver<Answer>,
    until: Instant,
}

impl Asked<'_> {
    async fn answer(mut self) -> Result<Answer, Busy> {
        let answer = tokio::time::timeout_at(self.until, &mut self.answer).await;
        answer.map_err(|_| Busy)?.map_err(|_| Busy)
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.door.waiting.borrow_mut().remove(&self.id.number);
    }
}

/// A request's hold on its key. Dropped, it releases the key, so that the request may be repeated; or, if the request has
/// published, leaves there what its repetitions are answered.
#[derive(Debug)]
pub(crate) struct Reservation<'a> {
    door: &'a Door,
    key: RequestKey,
    id: AskId,
    /// Its last letter is part of the same work.
    permit: Permit,
    end: End,
}

/// What the key's home hears when the request ends.
#[derive(Debug)]
enum End {
    Release,
    Commit(FirstAnswer),
    /// Nothing: the key is another request's.
    NotOurs,
}

impl Reservation<'_> {
    /// The request publishes, and whatever becomes of it, its repetitions are answered this, or what is said here later.
    pub(crate) fn publishes(&mut self, answer: FirstAnswer) {
        self.end = End::Commit(answer);
    }

    fn home(&self) -> WorkerId {
        self.door.node.homes().of_key(&self.key)
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let (key, id) = (self.key.clone(), self.id);
        let letter = match std::mem::replace(&mut self.end, End::NotOurs) {
            End::Release => Letter::Release { key, id },
            End::Commit(answer) => Letter::Commit { key, id, answer },
            End::NotOurs => return,
        };
        self.door.post.send(self.home(), letter, Some(self.permit.clone()));
    }
}

/// What the guard says to a request's claims, and what the homes keep for it. Dropped, it settles: what nothing else was
/// said of is released.
#[derive(Debug)]
pub(crate) struct Weighed<'a> {
    verdicts: Vec<Verdict>,
    holds: Vec<Hold<'a>>,
}

impl Weighed<'_> {
    /// One for each claim.
    pub(crate) fn verdicts(&self) -> &[Verdict] {
        &self.verdicts
    }

    /// What becomes of a claim.
    pub(crate) fn fate(&mut self, claim: usize, fate: Fate) {
        for hold in &mut self.holds {
            if let Ok(at) = hold.indices.binary_search(&claim) {
                hold.fates[at] = fate;
                return;
            }
        }
    }
}

/// What one home keeps for a request.
#[derive(Debug)]
struct Hold<'a> {
    door: &'a Door,
    home: WorkerId,
    id: AskId,
    /// Its last letter is part of the same work.
    permit: Permit,
    /// Which of the request's claims live there, in order.
    indices: Vec<usize>,
    fates: Vec<Fate>,
    /// Whether there is anything to settle.
    has_any: bool,
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        if self.has_any {
            let letter = Letter::Settle { id: self.id, fates: std::mem::take(&mut self.fates) };
            self.door.post.send(self.home, letter, Some(self.permit.clone()));
        }
    }
}

#[cfg(test)]
impl Door {
    /// How many questions wait for their answers.
    pub(crate) fn asks_waiting(&self) -> usize {
        self.waiting.borrow().len()
    }
}
