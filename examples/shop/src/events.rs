//! What browsers are told.
//!
//! Owns every event of the shop: its name, its payload and its channels. Never asks the database: whoever tells of a
//! change has it at hand. The invariant: a payload has what the page needs to show, and nothing that its listeners may
//! not see. Read on in [`crate::store`], where the events leave in the transaction that they tell of, and in
//! `front-end/src/events.d.ts`, which a test writes from these types.

use campanile_broadcast::Broadcast;
use campanile_broadcast::ts_rs::TS;
use serde::Serialize;

use crate::channels::{DocumentChannel, OperationsChannel, TeamChannel, UserChannel};
use crate::store::teams::Lane;

/// An order is on its way.
#[derive(Debug, Serialize, TS, Broadcast)]
#[ts(crate = "campanile_broadcast::ts_rs")]
#[broadcast(name = "order.shipped", on = [UserChannel { id: self.user_id }], queue = "orders")]
pub(crate) struct OrderShipped {
    pub(crate) order_id: i64,
    pub(crate) item: String,
    pub(crate) tracking_number: String,
    #[serde(skip)]
    pub(crate) user_id: i64,
}

/// Somebody has commented on a document.
#[derive(Debug, Serialize, TS, Broadcast)]
#[ts(crate = "campanile_broadcast::ts_rs")]
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
#[derive(Debug, Serialize, TS, Broadcast)]
#[ts(crate = "campanile_broadcast::ts_rs")]
#[broadcast(name = "card.placed", on = [TeamChannel { id: self.team_id }], order = self.card_id)]
pub(crate) struct CardPlaced {
    pub(crate) card_id: i64,
    pub(crate) title: String,
    pub(crate) lane: Lane,
    pub(crate) by: String,
    #[serde(skip)]
    pub(crate) team_id: i64,
}

/// Somebody has come into a team, or is out of it.
#[derive(Debug, Serialize, TS, Broadcast)]
#[ts(crate = "campanile_broadcast::ts_rs")]
#[broadcast(name = "membership.changed", on = [UserChannel { id: self.user_id }], order = self.user_id)]
pub(crate) struct MembershipChanged {
    pub(crate) team_id: i64,
    pub(crate) is_member: bool,
    #[serde(skip)]
    pub(crate) user_id: i64,
}

/// A comparison has gone on by a second, or has ended.
#[derive(Debug, Serialize, TS, Broadcast)]
#[ts(crate = "campanile_broadcast::ts_rs")]
#[broadcast(name = "comparison.progressed", on = [OperationsChannel {}])]
pub(crate) struct ComparisonProgressed {
    pub(crate) doing: &'static str,
    pub(crate) second: u64,
    pub(crate) of: u64,
    pub(crate) ended: bool,
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use campanile_broadcast::Typescript;

    use super::*;
    use crate::notifications::{CommentNotification, ShippedNotification};

    #[test]
    fn the_front_end_knows_the_events_as_they_are() {
        let events = Typescript::new()
            .event::<OrderShipped>()
            .event::<CommentAdded>()
            .event::<CardPlaced>()
            .event::<MembershipChanged>()
            .event::<ComparisonProgressed>()
            .notification::<CommentNotification>()
            .notification::<ShippedNotification>();
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("front-end/src/events.d.ts");
        let was_old = events.write(&file).unwrap();
        assert!(!was_old, "{} was not up to date. It is now: `npm run build` tells what it breaks", file.display());
    }
}
