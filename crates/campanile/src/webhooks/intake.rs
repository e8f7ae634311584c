//! What workers have handed to an endpoint and its task has not yet taken.
//!
//! Bounded in events and bytes: at a bound a notice is refused and counted, because a worker never waits for a disk.
//! What anybody can cause is refused at half of it ([`super::share`]).
//! Never filters and never encodes. The invariant: notices leave in the order in which they came. Filled by workers,
//! emptied by [`super::endpoint`] several times a second,
//! and as soon as it is half full.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use campanile_hub::{Notice, NoticeKind};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::share::Share;
use crate::config::limits::{INTAKE_BYTES_MAX, INTAKE_NOTICES_MAX};

/// What a notice counts for besides its data: more than its names and the rest of it.
const NOTICE_BYTES: usize = 512;

/// A notice and when it was made, in milliseconds since 1970.
#[derive(Debug, Clone)]
pub(super) struct Arrival {
    pub(super) time_ms: u64,
    pub(super) notice: Arc<Notice>,
}

#[derive(Debug, Default)]
struct Waiting {
    arrivals: Vec<Arrival>,
    bytes: usize,
}

impl Waiting {
    fn is_half_full(&self) -> bool {
        self.arrivals.len() >= INTAKE_NOTICES_MAX / 2 || self.bytes >= INTAKE_BYTES_MAX / 2
    }
}

/// One endpoint's intake.
#[derive(Debug, Default)]
pub(super) struct Intake {
    waiting: Mutex<Waiting>,
    filled: Notify,
    half_full: Notify,
    /// Since the last report.
    refused: AtomicU64,
    refused_ever: AtomicU64,
}

fn bytes_of(notice: &Notice) -> usize {
    match &notice.kind {
        NoticeKind::ClientEvent { data, .. } => NOTICE_BYTES + data.as_str().len(),
        _ => NOTICE_BYTES,
    }
}

impl Intake {
    /// Takes a notice, or refuses and counts it at the bound. Whether it has been taken.
    pub(super) fn push(&self, arrival: Arrival) -> bool {
        let bytes = bytes_of(&arrival.notice);
        let share = Share::of_notice(&arrival.notice.kind);
        let is_room = |waiting: &Waiting| {
            (waiting.arrivals.len() as u64) < share.part(INTAKE_NOTICES_MAX as u64)
                && (waiting.bytes + bytes) as u64 <= share.part(INTAKE_BYTES_MAX as u64)
        };
        {
            let mut waiting = self.waiting.lock();
            if !is_room(&waiting) {
                drop(waiting);
                self.refused_ever.fetch_add(1, Ordering::Relaxed);
                self.refused.fetch_add(1, Ordering::Relaxed);
                return false;
            }
            waiting.bytes += bytes;
            waiting.arrivals.push(arrival);
            if waiting.is_half_full() {
                self.half_full.notify_one();
            }
        }
        self.filled.notify_one();
        true
    }

    /// Waits until something has come since the last wait ended.
    pub(super) async fn filled(&self) {
        self.filled.notified().await;
    }

    /// Waits until half of what may wait does: then there is no time to wait for more.
    pub(super) async fn half_full(&self) {
        loop {
            // Told of an earlier half, which has been taken since, it looks again.
            if self.waiting.lock().is_half_full() {
                return;
            }
            self.half_full.notified().await;
        }
    }

    /// Everything that waits.
    pub(super) fn take(&self) -> Vec<Arrival> {
        std::mem::take(&mut *self.waiting.lock()).arrivals
    }

    /// How many were refused since this was last asked.
    pub(super) fn take_refused(&self) -> u64 {
        self.refused.swap(0, Ordering::Relaxed)
    }

    /// How many were ever refused.
    pub(super) fn refused_ever(&self) -> u64 {
        self.refused_ever.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use campanile_protocol::json::DataLiteral;
    use campanile_protocol::{ChannelName, SocketId};

    use super::*;

    fn arrival(kind: NoticeKind) -> Arrival {
        Arrival { time_ms: 0, notice: Arc::new(Notice { app: "a".into(), kind, edge: 0 }) }
    }

    fn small() -> Arrival {
        arrival(NoticeKind::CacheMiss { channel: ChannelName::parse("private-cache-a", 200).unwrap() })
    }

    fn anybodys() -> Arrival {
        arrival(NoticeKind::ConnectionOpened { socket_id: SocketId { place: 1, secret: 2 } })
    }

    fn counting(bytes: usize) -> Arrival {
        arrival(NoticeKind::ClientEvent {
            channel: ChannelName::parse("private-a", 200).unwrap(),
            event: "client-e".into(),
            data: DataLiteral::from_text(&"x".repeat(bytes - NOTICE_BYTES - 2)),
            socket_id: SocketId { place: 1, secret: 2 },
            user_id: None,
        })
    }

    #[test]
    fn as_many_notices_wait_as_the_bound_and_the_next_is_refused_and_counted() {
        let intake = Intake::default();
        for _ in 0..INTAKE_NOTICES_MAX {
            assert!(intake.push(small()));
        }
        assert!(!intake.push(small()) && !intake.push(small()));
        assert_eq!((intake.take_refused(), intake.take_refused(), intake.refused_ever()), (2, 0, 2));
        assert_eq!(intake.take().len(), INTAKE_NOTICES_MAX);
        assert!(intake.push(small()));
    }

    #[test]
    fn what_anybody_can_cause_waits_in_half_of_the_intake_and_no_more() {
        let intake = Intake::default();
        for _ in 0..INTAKE_NOTICES_MAX / 2 {
            assert!(intake.push(anybodys()));
        }
        assert!(!intake.push(anybodys()));
        for _ in 0..INTAKE_NOTICES_MAX / 2 {
            assert!(intake.push(small()));
        }
        assert!(!intake.push(small()));
        intake.take();
        assert!(intake.push(counting(INTAKE_BYTES_MAX / 2 - NOTICE_BYTES)));
        assert!(intake.push(anybodys()) && !intake.push(anybodys()) && intake.push(small()));
    }

    async fn is_half_full(intake: &Intake) -> bool {
        let soon = std::time::Duration::from_millis(1);
        tokio::time::timeout(soon, intake.half_full()).await.is_ok()
    }

    #[tokio::test]
    async fn half_of_either_bound_is_told_and_less_is_not_nor_what_has_been_taken() {
        let intake = Intake::default();
        for _ in 0..2 {
            for _ in 1..INTAKE_NOTICES_MAX / 2 {
                assert!(intake.push(small()));
            }
            assert!(!is_half_full(&intake).await);
            assert!(intake.push(small()));
            assert!(is_half_full(&intake).await);
            intake.take();
        }
        assert!(intake.push(counting(INTAKE_BYTES_MAX / 2 - 1)));
        assert!(!is_half_full(&intake).await);
        assert!(intake.push(small()));
        assert!(is_half_full(&intake).await);
    }

    #[test]
    fn as_many_bytes_wait_as_the_bound_and_the_next_notice_is_refused() {
        let intake = Intake::default();
        assert!(intake.push(counting(INTAKE_BYTES_MAX - NOTICE_BYTES)));
        assert!(intake.push(small()));
        assert!(!intake.push(small()));
        assert_eq!(intake.take().len(), 2);
        assert!(!intake.push(counting(INTAKE_BYTES_MAX + 1)));
        assert!(intake.push(counting(INTAKE_BYTES_MAX)));
    }
}
