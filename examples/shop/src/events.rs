//! What browsers are told.
//!
//! Owns every event of the shop: its name, its payload and its channels. Never asks the database: whoever tells of a
//! change has it at hand. The invariant: a payload has what the page needs to show, and nothing that its listeners may
//! not see. Read on in [`crate::store`], where the events leave in the transaction that they tell of.

use campanile_broadcast::Broadcast;
use serde::Serialize;

use crate::channels::{DocumentChannel, OperationsChannel, TeamChannel, UserChannel};
use crate::store::teams::Lane;

/// An order is on its way.
#[derive(Debug, Serialize, Broadcast)]
#[broadcast(name = "order.shipped", on = [UserChannel { id: self.user_id }], queue = "orders")]
pub(crate) struct OrderShipped {
    pub(crate) order_id: i64,
    pub(crate) item: String,
    pub(crate) tracking_number: String,
    #[serde(skip)]
    pub(crate) user_id: i64,
}

/// Somebody has commented on a document.
#[derive(Debug, Serialize, Broadcast)]
#[broadcast(name = "comment.added", on = [DocumentChannel { id: self.document_id }], order = self.document_id)]
pub(crate) struct CommentAdded {
    pub(crate) comment_id: i64,
    pub(crate) author: String,
    pub(crate) body: String,
    pub(crate) written_at: String,
    #[serde(skip)]
    pub(crate) document_id: i64,
}

/// A card is new on a board, or has another place there.
#[derive(Debug, Serialize, Broadcast)]
#[broadcast(name = "card.placed", on = [TeamChannel { id: self.team_id }], order = self.card_id)]
pub(crate) struct CardPlaced {
    pub(crate) card_id: i64,
    pub(crate) title: String,
    pub(crate) lane: Lane,
    pub(crate) by: String,
    #[serde(skip)]
    pub(crate) team_id: i64,
}

/// A comparison has gone on by a second, or has ended.
#[derive(Debug, Serialize, Broadcast)]
#[broadcast(name = "comparison.progressed", on = [OperationsChannel {}])]
pub(crate) struct ComparisonProgressed {
    pub(crate) doing: &'static str,
    pub(crate) second: u64,
    pub(crate) of: u64,
    pub(crate) ended: bool,
}
