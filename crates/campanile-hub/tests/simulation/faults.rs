//! Mistakes that are planted between the minds, to show that the simulation sees them.
//!
//! Owns what a faulty mind or mailbox would do. Never touches what the model is told: it sees what was sent. The
//! invariant: at most one fault in a run, and none unless it was planted.

use std::collections::VecDeque;

use campanile_hub::letter::{Audience, Departure, Purpose};
use campanile_hub::{Letter, Notice, NoticeKind};

use crate::world::Envelope;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A stale grant is not undone.
    SkipUndo,
    /// The home forgets to count a subscriber down.
    SkipUnsubscribe,
    /// The home counts a subscriber twice.
    SubscribeTwice,
    /// A grant is lost on its way.
    LoseGrant,
    /// An event is lost on its way to a worker.
    LoseEvent,
    /// An event is delivered twice.
    EventTwice,
    /// A member is announced twice.
    MemberAddedTwice,
    /// The removal of a member is not announced.
    LoseMemberRemoved,
    /// A frame of the channel overtakes the grant.
    DeliverBeforeGrant,
    /// Two frames of a channel change places.
    SwapDeliveries,
    /// The sender of an event gets it.
    ForgetExcept,
    /// Those who vanished are taken to have left.
    ForgetGrace,
    /// A watcher is not told.
    LoseOnline,
    /// A user's connections are not ended.
    LoseDisconnect,
    /// Webhooks hear of an occupied channel twice.
    OccupiedTwice,
    /// Webhooks do not hear that a member is gone.
    LoseRemovedNotice,
    /// A reload does not reach a worker.
    LoseReload,
    /// A home that has lost its mind does not hear of a subscription.
    LoseRestore,
    /// A home that has lost its mind hears of a subscription twice.
    RestoreTwice,
    /// A home that has lost its mind never hears that a worker has said all.
    LoseAnnounced,
}

impl Fault {
    pub(crate) const ALL: [Self; 20] = [
        Self::SkipUndo,
        Self::SkipUnsubscribe,
        Self::SubscribeTwice,
        Self::LoseGrant,
        Self::LoseEvent,
        Self::EventTwice,
        Self::MemberAddedTwice,
        Self::LoseMemberRemoved,
        Self::DeliverBeforeGrant,
        Self::SwapDeliveries,
        Self::ForgetExcept,
        Self::ForgetGrace,
        Self::LoseOnline,
        Self::LoseDisconnect,
        Self::OccupiedTwice,
        Self::LoseRemovedNotice,
        Self::LoseReload,
        Self::LoseRestore,
        Self::RestoreTwice,
        Self::LoseAnnounced,
    ];
}

/// The fault of a run, if one was planted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults {
    planted: Option<Fault>,
    /// So many opportunities pass first.
    after: usize,
    /// It has happened.
    pub(crate) happened: bool,
}

fn says(letter: &Letter, event: &str) -> bool {
    let Letter::Deliver { frame, to: Audience::Subscribers, .. } = letter else { return false };
    String::from_utf8_lossy(frame).contains(event)
}

impl Faults {
    pub(crate) fn plant(&mut self, fault: Fault, after: usize) {
        (self.planted, self.after) = (Some(fault), after);
    }

    fn strikes(&mut self, fits: bool) -> bool {
        if !fits || self.happened {
            return false;
        }
        self.happened = self.after == 0;
        self.after = self.after.saturating_sub(1);
        self.happened
    }

    /// Does its mischief to the letter that has just been put into a mailbox.
    pub(crate) fn tamper(&mut self, queue: &mut VecDeque<Envelope>, undoing: bool) {
        let (Some(fault), Some(last)) = (self.planted, queue.back()) else { return };
        let letter = last.sent.clone();
        let subscribe = matches!(letter, Letter::Subscribe { .. });
        let restore = matches!(letter, Letter::Subscribe { purpose: Purpose::Restore, .. });
        let unsubscribe = matches!(letter, Letter::Unsubscribe { .. });
        let (fits, arrives) = match fault {
            Fault::SkipUndo => (unsubscribe && undoing, vec![]),
            Fault::SkipUnsubscribe => (unsubscribe && !undoing, vec![]),
            Fault::SubscribeTwice => (subscribe && !restore, vec![letter.clone(), letter]),
            Fault::LoseRestore => (restore, vec![]),
            Fault::RestoreTwice => (restore, vec![letter.clone(), letter]),
            Fault::LoseAnnounced => (matches!(letter, Letter::Announced { .. }), vec![]),
            Fault::LoseGrant => (matches!(letter, Letter::Granted { .. }), vec![]),
            Fault::LoseEvent => (says(&letter, r#""note""#), vec![]),
            Fault::EventTwice => (says(&letter, r#""note""#), vec![letter.clone(), letter]),
            Fault::MemberAddedTwice => (says(&letter, "member_added"), vec![letter.clone(), letter]),
            Fault::LoseMemberRemoved => (says(&letter, "member_removed"), vec![]),
            Fault::DeliverBeforeGrant | Fault::SwapDeliveries => return self.swap(queue, fault),
            Fault::ForgetExcept => match letter {
                Letter::Deliver { key, frame, except: Some(_), to, sequel, told } => {
                    (true, vec![Letter::Deliver { key, frame, except: None, to, sequel, told }])
                }
                _ => return,
            },
            Fault::ForgetGrace => match letter {
                Letter::Unsubscribe { key, subscriber, user: Some(user), purpose, departure: Departure::Vanished } => {
                    let (user, departure) = (Some(user), Departure::Left);
                    (true, vec![Letter::Unsubscribe { key, subscriber, user, purpose, departure }])
                }
                _ => return,
            },
            Fault::LoseOnline => (matches!(letter, Letter::Deliver { to: Audience::Watchers, .. }), vec![]),
            Fault::LoseDisconnect => (matches!(letter, Letter::Disconnect { .. }), vec![]),
            Fault::LoseReload => (matches!(letter, Letter::Reload { .. }), vec![]),
            Fault::OccupiedTwice | Fault::LoseRemovedNotice => return,
        };
        if self.strikes(fits)
            && let Some(last) = queue.back_mut()
        {
            last.arrives = arrives;
        }
    }

    fn swap(&mut self, queue: &mut VecDeque<Envelope>, fault: Fault) {
        let Some(last) = queue.len().checked_sub(1) else { return };
        let Letter::Deliver { key, frame, to: Audience::Subscribers, .. } = &queue[last].sent else { return };
        let before = queue.iter().take(last).rposition(|envelope| match &envelope.sent {
            Letter::Granted { key: granted, .. } => fault == Fault::DeliverBeforeGrant && granted == key,
            Letter::Deliver { key: delivered, frame: other, .. } => {
                fault == Fault::SwapDeliveries && delivered == key && other != frame
            }
            _ => false,
        });
        if let (true, Some(before)) = (self.strikes(before.is_some()), before) {
            let moved = std::mem::take(&mut queue[last].arrives);
            queue[last].arrives = std::mem::replace(&mut queue[before].arrives, moved);
        }
    }

    /// How often webhooks hear of this.
    pub(crate) fn notices(&mut self, notice: &Notice) -> usize {
        let (fits, times) = match (self.planted, &notice.kind) {
            (Some(Fault::OccupiedTwice), NoticeKind::ChannelOccupied { .. }) => (true, 2),
            (Some(Fault::LoseRemovedNotice), NoticeKind::MemberRemoved { .. }) => (true, 0),
            _ => (false, 1),
        };
        if self.strikes(fits) { times } else { 1 }
    }
}
