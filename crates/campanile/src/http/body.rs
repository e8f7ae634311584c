//! What an HTTP answer has in it: all of it, or what will come.
//!
//! Owns that a stream keeps its connection's slot until it is over. Never looks into either. The invariant: a connection
//! with a stream is never idle. Read on in [`super::answers`] and in [`crate::api`].

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body as HyperBody, Frame, SizeHint};

use super::answers::Answer;
use super::slots::Busy;
use crate::api::Feed;

/// An answer's body.
#[derive(Debug)]
pub(super) enum Body {
    Whole(Answer),
    Feed { feed: Box<Feed>, _busy: Busy },
}

impl Body {
    /// What will come.
    pub(super) fn feed(feed: Box<Feed>, busy: Busy) -> Self {
        Self::Feed { feed, _busy: busy }
    }
}

impl HyperBody for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(answer) => Pin::new(answer).poll_frame(context),
            Self::Feed { feed, .. } => feed.poll_next(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(answer) => answer.is_end_stream(),
            Self::Feed { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(answer) => answer.size_hint(),
            Self::Feed { .. } => SizeHint::default(),
        }
    }
}
