//! What users find when they come back.
//!
//! Owns every kind of notification of the shop: its words, its category and where it leads. Never says who is told: whoever
//! writes it down in its transaction does. The invariant: it is for those whom a live event may miss; what is only of use while
//! it is looked at is an event. Read on in [`crate::store`], and in `front-end/src/bell.ts` for where they are shown.

use campanile_broadcast::Notification;
use campanile_broadcast::ts_rs::TS;
use serde::Serialize;

/// Characters of a comment that its notification repeats.
const EXCERPT_LENGTH_MAX: usize = 140;

/// Somebody has commented on a document of the team.
#[derive(Debug, Serialize, TS, Notification)]
#[ts(crate = "campanile_broadcast::ts_rs")]
#[notification(
    kind = "comment.added",
    category = "comments",
    title = format!("{} has commented on {}", self.author, self.document),
    body = excerpt(&self.body),
    action_url = format!("/documents/{}", self.document_id)
)]
pub(crate) struct CommentNotification {
    pub(crate) document_id: i64,
    pub(crate) document: String,
    pub(crate) author: String,
    #[serde(skip)]
    pub(crate) body: String,
}

/// A customer's order is on its way.
#[derive(Debug, Serialize, TS, Notification)]
#[ts(crate = "campanile_broadcast::ts_rs")]
#[notification(
    kind = "order.shipped",
    category = "orders",
    title = format!("{} is on its way", self.item),
    body = format!("Order {}, tracking number {}", self.order_id, self.tracking_number),
    action_url = "/orders",
    queue = "orders"
)]
pub(crate) struct ShippedNotification {
    pub(crate) order_id: i64,
    pub(crate) item: String,
    pub(crate) tracking_number: String,
}

fn excerpt(body: &str) -> String {
    let mut words: String = body.chars().take(EXCERPT_LENGTH_MAX).collect();
    if words.len() < body.len() {
        words.push('…');
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_is_repeated_up_to_the_bound_and_cut_past_it() {
        let comment = "é".repeat(EXCERPT_LENGTH_MAX);
        assert_eq!(excerpt(&comment), comment);
        assert_eq!(excerpt(&format!("{comment}x")), format!("{comment}…"));
    }
}
