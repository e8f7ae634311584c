//! How letters, and connections that another worker has accepted, reach workers.
//!
//! Owns the queues between workers and the permits that bound them. Never waits on a send: work enters only with a
//! [`Permit`], taken where a socket is read or a request arrives, and every letter that follows from that work carries
//! it along, so a mailbox holds at most what all permits together can cause. A tick of a worker that has begun with a
//! free permit may take a few more on credit for each connection that it reads. The invariant: letters from one worker to
//! another arrive in the order in which they were sent. Read on in [`crate::worker`].

use std::collections::VecDeque;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering};

use campanile_hub::{Letter, WorkerId};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::node::Descriptor;

/// A letter, and the permit of the work that it follows from.
#[derive(Debug)]
pub(crate) struct Envelope {
    pub(crate) letter: Letter,
    pub(crate) permit: Option<Permit>,
}

/// Connections that may wait for a worker; past that, whoever accepted them keeps them.
const CONNECTIONS_MAX: usize = 1024;

/// A connection on its way to the worker that will own it.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) stream: UnixStream,
    pub(crate) descriptor: Descriptor,
}

/// What one worker has been sent.
#[derive(Debug, Default)]
struct Inbox {
    letters: VecDeque<Envelope>,
    connections: Vec<Arrival>,
}

#[derive(Debug, Default)]
struct Mailbox {
    inbox: Mutex<Inbox>,
    arrived: Arc<Notify>,
}

/// All mailboxes of the process. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Post {
    mailboxes: Arc<[Mailbox]>,
}

impl Post {
    pub(crate) fn new(workers: u16) -> Self {
        Self { mailboxes: (0..workers).map(|_| Mailbox::default()).collect() }
    }

    /// Puts a letter into a worker's mailbox and wakes the worker if it may be asleep.
    pub(crate) fn send(&self, to: WorkerId, letter: Letter, permit: Option<Permit>) {
        let mailbox = &self.mailboxes[to.0 as usize];
        let mut inbox = mailbox.inbox.lock();
        let was_empty = inbox.letters.is_empty();
        inbox.letters.push_back(Envelope { letter, permit });
        drop(inbox);
        if was_empty {
            mailbox.arrived.notify_one();
        }
    }

    /// Gives a connection to a worker, or gives it back if too many wait for that worker already.
    pub(crate) fn hand_over(&self, to: WorkerId, connection: Arrival) -> Result<(), Arrival> {
        let mailbox = &self.mailboxes[to.0 as usize];
        let mut inbox = mailbox.inbox.lock();
        if inbox.connections.len() >= CONNECTIONS_MAX {
            return Err(connection);
        }
        inbox.connections.push(connection);
        drop(inbox);
        mailbox.arrived.notify_one();
        Ok(())
    }

    /// Sends a copy to every worker.
    pub(crate) fn broadcast(&self, letter: &Letter) {
        for worker in 0..self.mailboxes.len() {
            self.send(WorkerId(u16::try_from(worker).expect("workers are numbered in 16 bits")), letter.clone(), None);
        }
    }

    /// Takes all letters that have arrived, leaving the emptied queue's room behind for the next ones, and returns the
    /// connections that have.
    pub(crate) fn take(&self, worker: WorkerId, into: &mut VecDeque<Envelope>) -> Vec<Arrival> {
        debug_assert!(into.is_empty(), "letters are handled before more are taken");
        let mut inbox = self.mailboxes[worker.0 as usize].inbox.lock();
        std::mem::swap(&mut inbox.letters, into);
        std::mem::take(&mut inbox.connections)
    }

    /// What wakes this worker.
    pub(crate) fn arrived(&self, worker: WorkerId) -> Arc<Notify> {
        Arc::clone(&self.mailboxes[worker.0 as usize].arrived)
    }

    /// How many workers there are.
    pub(crate) fn workers(&self) -> u16 {
        u16::try_from(self.mailboxes.len()).expect("workers are numbered in 16 bits")
    }
}

/// How much work a worker may have under way.
#[derive(Debug, Clone)]
pub(crate) struct Permits {
    pool: Arc<Pool>,
}

#[derive(Debug)]
struct Pool {
    /// Below zero by as many as have been taken on credit.
    free: AtomicIsize,
    returned: Notify,
}

/// The right to have one piece of work under way. Clones belong to the same piece.
#[derive(Debug, Clone)]
pub(crate) struct Permit {
    _right: Arc<Right>,
}

#[derive(Debug)]
#[expect(dead_code, reason = "a right is had until it is dropped, and never looked at")]
enum Right {
    Own(Taken),
    OfAll(Vec<Permit>),
}

#[derive(Debug)]
struct Taken(Arc<Pool>);

/// The permits of letters that a mind keeps for later: their work is not done.
///
/// There is one for each letter that was kept, so no more than what all permits together can cause.
#[derive(Debug, Default)]
pub(crate) struct Kept(Vec<Permit>);

impl Kept {
    /// Keeps a permit whose letters may be waiting in a mind.
    pub(crate) fn keep(&mut self, permit: Option<&Permit>) {
        self.0.extend(permit.cloned());
    }

    /// The permit of what follows from a letter that was not kept, and from all that were: now they have been handled.
    pub(crate) fn release(&mut self, permit: Option<&Permit>) -> Option<Permit> {
        if self.0.is_empty() {
            return permit.cloned();
        }
        self.keep(permit);
        Some(Permit { _right: Arc::new(Right::OfAll(std::mem::take(&mut self.0))) })
    }

    /// Forgets the permits of letters that are lost.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.0.free.fetch_add(1, Ordering::AcqRel) == 0 {
            self.0.returned.notify_waiters();
            self.0.returned.notify_one();
        }
    }
}

impl Permits {
    pub(crate) fn new(count: usize) -> Self {
        Self {
            pool: Arc::new(Pool {
                free: AtomicIsize::new(isize::try_from(count).unwrap_or(isize::MAX)),
                returned: Notify::new(),
            }),
        }
    }

    /// Takes a permit if one is free.
    pub(crate) fn take(&self) -> Option<Permit> {
        let one_less = |free| (free > 0).then_some(free - 1);
        let taken = self.pool.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less);
        taken.is_ok().then(|| self.taken())
    }

    /// Takes a permit for bytes that have been read and cannot be put back, even if none is free: then none is until as
    /// many more have returned.
    pub(crate) fn take_on_credit(&self) -> Permit {
        self.pool.free.fetch_sub(1, Ordering::AcqRel);
        self.taken()
    }

    fn taken(&self) -> Permit {
        Permit { _right: Arc::new(Right::Own(Taken(Arc::clone(&self.pool)))) }
    }

    /// Whether a permit could be taken now.
    pub(crate) fn is_free(&self) -> bool {
        self.pool.free.load(Ordering::Acquire) > 0
    }

    /// Waits until a permit may be free.
    pub(crate) async fn returned(&self) {
        let returned = self.pool.returned.notified();
        if !self.is_free() {
            returned.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use campanile_hub::Apps;

    use super::*;

    #[test]
    fn a_permit_is_free_again_only_when_the_last_letter_that_carries_it_is_gone() {
        let permits = Permits::new(1);
        let permit = permits.take().expect("one is free");
        assert!(permits.take().is_none());
        let post = Post::new(1);
        let letter = Letter::Reload { apps: Arc::new(Apps::default()) };
        post.send(WorkerId(0), letter.clone(), Some(permit.clone()));
        post.send(WorkerId(0), letter, Some(permit));
        let mut taken = VecDeque::new();
        post.take(WorkerId(0), &mut taken);
        taken.pop_front();
        assert!(!permits.is_free());
        taken.pop_front();
        assert!(permits.is_free());
    }

    #[test]
    fn a_permit_on_credit_is_paid_back_before_another_is_free() {
        let permits = Permits::new(1);
        let (first, second, third) = (permits.take_on_credit(), permits.take_on_credit(), permits.take_on_credit());
        for returned in [first, second] {
            assert!(!permits.is_free() && permits.take().is_none());
            drop(returned);
        }
        assert!(!permits.is_free());
        drop(third);
        let again = permits.take();
        assert!(again.is_some() && permits.take().is_none());
    }

    #[test]
    fn a_kept_letters_permit_is_free_again_only_when_what_follows_from_it_is_done() {
        let permits = Permits::new(2);
        let (mut kept, first, second) = (Kept::default(), permits.take(), permits.take());
        for _ in 0..3 {
            kept.keep(first.as_ref());
        }
        drop(first);
        assert!(!permits.is_free(), "its letters wait");
        let follows = kept.release(second.as_ref());
        drop(second);
        assert!(!permits.is_free(), "the letters that follow are under way");
        drop(follows);
        assert!(permits.take().is_some() && kept.release(None).is_none());
        kept.keep(permits.take().as_ref());
        kept.clear();
        assert!(permits.is_free());
    }

    #[test]
    fn as_many_connections_may_wait_for_a_worker_as_the_bound_says() {
        let post = Post::new(1);
        let (stream, _peer) = UnixStream::pair().unwrap();
        let arrival = || Arrival { stream: stream.try_clone().unwrap(), descriptor: Descriptor::default() };
        for _ in 0..CONNECTIONS_MAX {
            post.hand_over(WorkerId(0), arrival()).unwrap();
        }
        post.hand_over(WorkerId(0), arrival()).unwrap_err();
        assert_eq!(post.take(WorkerId(0), &mut VecDeque::new()).len(), CONNECTIONS_MAX);
        post.hand_over(WorkerId(0), arrival()).unwrap();
    }
}
