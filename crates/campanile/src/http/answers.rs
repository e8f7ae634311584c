//! The answers of one HTTP connection that its client has not taken yet.
//!
//! Owns how long each may be there. HTTP/2 lets a client hold back every answer with a window of nothing while its socket
//! takes whatever is written, so a socket that stalls does not tell. Never closes the connection: whoever drives it is told
//! by [`Answers::overdue`]. The invariant: an answer is in the count until the last of its bytes has been written, wherever
//! they wait. Read on in [`crate::http`].

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::config::limits::HTTP_ANSWER_BYTES_PER_TIMEOUT;

/// The answers of one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers(Arc<Mutex<Untaken>>);

#[derive(Debug, Default)]
struct Untaken {
    next: u64,
    /// Since when each has waited, for its next bytes to be asked for or its last to be written.
    since: BTreeMap<u64, Instant>,
}

/// An answer's body, given away a piece at a time.
#[derive(Debug)]
pub(super) struct Answer {
    rest: Bytes,
    place: Option<Place>,
}

/// Which answer it is.
#[derive(Clone, Debug)]
struct Place {
    number: u64,
    answers: Answers,
}

/// The whole body, in the count until its last piece is gone.
#[derive(Debug)]
struct Counted {
    body: Bytes,
    place: Place,
}

impl Answers {
    /// Begins an answer. One without a body has nothing that a client could leave.
    pub(super) fn begin(&self, body: Bytes) -> Answer {
        if body.is_empty() {
            return Answer { rest: body, place: None };
        }
        let number = {
            let mut untaken = self.0.lock();
            let number = untaken.next;
            untaken.next += 1;
            untaken.since.insert(number, Instant::now());
            number
        };
        let place = Place { number, answers: self.clone() };
        Answer { rest: Bytes::from_owner(Counted { body, place: place.clone() }), place: Some(place) }
    }

    /// Waits until one has been left where it is for as long as `timeout`.
    pub(super) async fn overdue(&self, timeout: Duration) {
        loop {
            let now = Instant::now();
            let due = self.due(now, timeout);
            if due <= now {
                return;
            }
            tokio::time::sleep_until(due).await;
        }
    }

    /// When the first is overdue. Whatever begins while nothing waits is not before what is returned then.
    fn due(&self, now: Instant, timeout: Duration) -> Instant {
        self.0.lock().since.values().min().map_or(now, |since| *since) + timeout
    }
}

impl Place {
    /// The client has made room.
    fn touch(&self) {
        if let Some(since) = self.answers.0.lock().since.get_mut(&self.number) {
            *since = Instant::now();
        }
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.place.answers.0.lock().since.remove(&self.place.number);
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        if this.rest.is_empty() {
            return Poll::Ready(None);
        }
        if let Some(place) = &this.place {
            place.touch();
        }
        let length = this.rest.len().min(HTTP_ANSWER_BYTES_PER_TIMEOUT);
        // A slice of what is left would keep all of it once the last is given away.
        let piece = if length == this.rest.len() { std::mem::take(&mut this.rest) } else { this.rest.split_to(length) };
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    /// So that the clock has gone on.
    async fn pass() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }

    async fn piece(answer: &mut Answer) -> Bytes {
        answer.frame().await.unwrap().unwrap().into_data().unwrap()
    }

    #[tokio::test]
    async fn an_answer_has_its_time_for_each_piece_and_its_last_counts_until_it_is_gone() {
        let answers = Answers::default();
        let began = Instant::now();
        let due = || answers.due(began, TIMEOUT);
        let mut answer = answers.begin(vec![b'x'; HTTP_ANSWER_BYTES_PER_TIMEOUT + 1].into());
        let first_due = due();
        assert!(first_due >= began + TIMEOUT);
        pass().await;
        assert_eq!(due(), first_due);
        let first = piece(&mut answer).await;
        assert_eq!(first.len(), HTTP_ANSWER_BYTES_PER_TIMEOUT);
        let second_due = due();
        assert!(second_due > first_due);
        // That the first piece has been written is no more than was asked for.
        drop(first);
        pass().await;
        assert_eq!(due(), second_due);
        let last = piece(&mut answer).await;
        assert_eq!(last.len(), 1);
        let last_due = due();
        assert!(last_due > second_due);
        assert!(answer.frame().await.is_none());
        drop(answer);
        pass().await;
        assert_eq!(due(), last_due);
        drop(last);
        assert_eq!(due(), began + TIMEOUT, "nothing waits");
    }

    #[tokio::test]
    async fn one_that_is_left_is_overdue_though_others_are_taken() {
        let answers = Answers::default();
        let left = answers.begin(Bytes::from_static(b"{}"));
        let now = Instant::now();
        let due = answers.due(now, TIMEOUT);
        for _ in 0..3 {
            pass().await;
            assert_eq!(answers.begin(Bytes::from_static(b"live\n")).collect().await.unwrap().to_bytes(), "live\n");
            assert_eq!(answers.due(Instant::now(), TIMEOUT), due);
        }
        tokio::time::timeout(TIMEOUT, answers.overdue(Duration::from_millis(1))).await.unwrap();
        drop(left);
        let _nothing = answers.begin(Bytes::new());
        assert!(answers.due(Instant::now(), TIMEOUT) > due, "nothing waits");
    }
}
