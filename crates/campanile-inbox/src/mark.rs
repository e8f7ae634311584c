//! What a user does with a notification, and what it does to the counts.
//!
//! Owns the states of one notification, as plain values. Never touches the database. The invariant: for every mark, the
//! counts move by exactly what the notification's own standing has changed. Read on in `store/marks.rs`.

use uuid::Uuid;

use crate::clock::Timestamp;
use crate::notification::{Notification, State};

/// What a user does with a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mark {
    /// Reads it, which is seeing it as well.
    Read,
    /// Wants to come back to it. It stays seen, and archived if it was.
    Unread,
    /// Sees that it is there.
    Seen,
    /// Puts it away.
    Archive,
    /// Gets it back.
    Unarchive,
    /// Hides it until then; it comes back unread and unseen.
    Snooze(Timestamp),
}

/// A notification after a mark.
#[derive(Debug, Clone, PartialEq)]
pub struct Marked {
    /// How it is.
    pub notification: Notification,
    /// How the inbox is.
    pub state: State,
}

/// Which notifications a user has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// These.
    Ids(Vec<Uuid>),
    /// All up to this number, and all announcements up to that one.
    UpTo {
        /// The newest notification that the user was shown.
        seq: i64,
        /// The newest announcement.
        announced: Option<i64>,
    },
}

/// Where a notification is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Open,
    Archived,
    Snoozed,
}

impl Place {
    pub(crate) fn number(self) -> i64 {
        match self {
            Self::Open => 0,
            Self::Archived => 1,
            Self::Snoozed => 2,
        }
    }

    pub(crate) fn of(number: i64) -> Self {
        match number {
            1 => Self::Archived,
            2 => Self::Snoozed,
            _ => Self::Open,
        }
    }
}

/// Whether something still has to happen to a notification: to be read, or to be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Due {
    /// It has happened to this one.
    No,
    /// Unless the floor has risen past it.
    AboveFloor,
    /// Wherever the floor is.
    Kept,
}

impl Due {
    fn is_so(self, seq: i64, floor: i64) -> bool {
        self == Self::Kept || (self == Self::AboveFloor && seq > floor)
    }

    /// That it still has to happen.
    fn again(seq: i64, floor: i64) -> Self {
        if seq > floor { Self::AboveFloor } else { Self::Kept }
    }

    fn number(self) -> i64 {
        match self {
            Self::No => 0,
            Self::AboveFloor => 1,
            Self::Kept => 2,
        }
    }

    fn of(number: i64) -> Self {
        match number.abs() {
            0 => Self::No,
            1 => Self::AboveFloor,
            _ => Self::Kept,
        }
    }
}

/// Up to where a user has marked at a stroke, as far as one notification's category is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Floors {
    pub(crate) read: i64,
    pub(crate) read_at: i64,
    pub(crate) seen: i64,
    pub(crate) seen_at: i64,
}

impl Floors {
    /// When one that no mark of its own has made seen became so.
    fn seen_at(self, seq: i64) -> Timestamp {
        Timestamp::from_millis(if seq <= self.seen { self.seen_at } else { self.read_at })
    }
}

/// All that marks have to do with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) unread: Due,
    pub(crate) unseen: Due,
    pub(crate) place: Place,
    pub(crate) read_at: Option<Timestamp>,
    pub(crate) seen_at: Option<Timestamp>,
    pub(crate) archived_at: Option<Timestamp>,
    pub(crate) snoozed_until: Option<Timestamp>,
}

/// By how much the counts move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Delta {
    pub(crate) unread: i64,
    pub(crate) unseen: i64,
}

impl Standing {
    /// One that has just come.
    pub(crate) const NEW: Self = Self {
        unread: Due::AboveFloor,
        unseen: Due::AboveFloor,
        place: Place::Open,
        read_at: None,
        seen_at: None,
        archived_at: None,
        snoozed_until: None,
    };

    /// What is written down: negative where it does not count, so that the indexes of what counts need not hold it.
    pub(crate) fn written(self) -> (i64, i64) {
        let sign = if self.place == Place::Open { 1 } else { -1 };
        (sign * self.unread.number(), sign * self.unseen.number())
    }

    pub(crate) fn dues(unread: i64, unseen: i64) -> (Due, Due) {
        (Due::of(unread), Due::of(unseen))
    }

    /// Whether a rising floor has to change the row itself.
    pub(crate) fn is_kept(self) -> bool {
        self.unread == Due::Kept || self.unseen == Due::Kept
    }

    pub(crate) fn is_unread(self, seq: i64, floors: Floors) -> bool {
        self.unread.is_so(seq, floors.read)
    }

    pub(crate) fn is_unseen(self, seq: i64, floors: Floors) -> bool {
        self.unseen.is_so(seq, floors.seen.max(floors.read))
    }

    /// What it adds to the counts.
    pub(crate) fn counts(self, seq: i64, floors: Floors) -> Delta {
        if self.place != Place::Open {
            return Delta::default();
        }
        Delta { unread: self.is_unread(seq, floors).into(), unseen: self.is_unseen(seq, floors).into() }
    }

    /// How it is after a mark; the same if the mark changes nothing.
    pub(crate) fn after(self, mark: Mark, seq: i64, floors: Floors, now: Timestamp) -> Self {
        let mut after = self;
        match mark {
            Mark::Read if self.is_unread(seq, floors) => {
                after.unread = Due::No;
                after.read_at = Some(now);
                if self.is_unseen(seq, floors) {
                    after.unseen = Due::No;
                    after.seen_at = Some(now);
                }
            }
            Mark::Unread if !self.is_unread(seq, floors) => {
                after.unread = Due::again(seq, floors.read);
                after.read_at = None;
                // It was seen because it was read. That it is unread again does not undo it.
                if !self.is_unseen(seq, floors) && self.seen_at.is_none() {
                    after.unseen = Due::No;
                    after.seen_at = Some(floors.seen_at(seq));
                }
            }
            Mark::Seen if self.is_unseen(seq, floors) => {
                after.unseen = Due::No;
                after.seen_at = Some(now);
            }
            Mark::Archive if self.place != Place::Archived => {
                after.place = Place::Archived;
                after.archived_at = Some(now);
                after.snoozed_until = None;
            }
            Mark::Unarchive if self.place == Place::Archived => {
                after.place = Place::Open;
                after.archived_at = None;
            }
            Mark::Snooze(until) => {
                after.place = Place::Snoozed;
                after.archived_at = None;
                after.snoozed_until = Some(until);
            }
            _ => {}
        }
        after
    }

    /// How it is when its snooze has ended, or another one was gathered into it.
    pub(crate) fn anew(self, seq: i64, floors: Floors) -> Self {
        Self {
            unread: Due::again(seq, floors.read),
            unseen: Due::again(seq, floors.seen.max(floors.read)),
            place: Place::Open,
            read_at: None,
            seen_at: None,
            archived_at: None,
            snoozed_until: None,
        }
    }

    /// When it was read, if it was.
    pub(crate) fn shown_read_at(self, seq: i64, floors: Floors) -> Option<Timestamp> {
        (!self.is_unread(seq, floors)).then(|| self.read_at.unwrap_or(Timestamp::from_millis(floors.read_at)))
    }

    /// When it was seen, if it was.
    pub(crate) fn shown_seen_at(self, seq: i64, floors: Floors) -> Option<Timestamp> {
        (!self.is_unseen(seq, floors)).then(|| self.seen_at.unwrap_or(floors.seen_at(seq)))
    }
}

impl Delta {
    pub(crate) fn from(self, before: Self) -> Self {
        Self { unread: self.unread - before.unread, unseen: self.unseen - before.unseen }
    }
}
