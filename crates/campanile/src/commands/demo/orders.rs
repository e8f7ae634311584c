//! What the demo ships: an `order.shipped` as a shop would publish it, about 1.2 KB.
//!
//! Owns the order's JSON and the bodies that publish it. Never sends. The invariant: an order carries its number,
//! its user and when it was sent, so its arrival alone tells who should have it and how long it took.
//! Next: `ledger.rs`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

/// The event's name.
pub(super) const EVENT: &str = "order.shipped";

/// One order on its way to one user.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
pub(super) struct Order {
    /// Its number, counted from 0 without a gap.
    pub(super) seq: u64,
    /// Whose it is.
    pub(super) user: u32,
    /// When its request was begun, in microseconds since the demo was.
    pub(super) sent_us: u64,
}

/// A user's own channel, by the name that Laravel gives it.
pub(super) fn channel(user: u32) -> String {
    format!("private-user.{user}")
}

#[derive(Serialize)]
struct Event {
    name: &'static str,
    channel: String,
    data: String,
}

impl Order {
    /// An order that is sent now.
    pub(super) fn new(seq: u64, user: u32, since_start: Duration) -> Self {
        Self { seq, user, sent_us: u64::try_from(since_start.as_micros()).unwrap_or(u64::MAX) }
    }

    /// Reads an arrival; none if it is not of the demo's making.
    pub(super) fn read(data: &str) -> Option<Self> {
        serde_json::from_str(data).ok()
    }

    /// What the user's browser gets.
    pub(super) fn to_json(self) -> String {
        const GOODS: [(&str, &str, u32); 5] = [
            ("Brass bell, 12 cm, polished, with leather strap", "BEL-12-BR", 3450),
            ("Cotton rope, natural, 10 m, hand spliced eye", "ROP-10-NA", 1890),
            ("Oak headstock, oiled, for bells up to 15 kg", "HDS-15-OK", 12_900),
            ("Wall bracket, wrought iron, black, 4 screws", "BRK-04-BK", 2275),
            ("Clapper, cast iron, with spare leather baldric", "CLP-02-CI", 1640),
        ];
        let items: Vec<_> = (GOODS.iter().cycle().skip(self.seq as usize % GOODS.len()).take(4).zip(1_u32..))
            .map(|((name, sku, cents), quantity)| {
                json!({ "sku": sku, "name": name, "quantity": quantity, "unit_price_cents": cents, "currency": "EUR" })
            })
            .collect();
        json!({
            "seq": self.seq,
            "user": self.user,
            "sent_us": self.sent_us,
            "order": {
                "id": format!("ORD-{:010}", self.seq),
                "status": "shipped",
                "previous_status": "packed",
                "items": items,
                "ship_to": {
                    "name": format!("Customer {}", self.user),
                    "street": "Glockengasse 4711",
                    "postal_code": "50667",
                    "city": "Köln",
                    "country": "DE",
                },
            },
            "shipment": {
                "carrier": "Bell Post",
                "service": "Next day, signed for",
                "tracking_number": format!("BP{:012}DE", self.seq * 7919),
                "tracking_url": format!("https://tracking.example/parcels/BP{:012}DE", self.seq * 7919),
                "parcels": 1,
                "weight_grams": 2350,
            },
            "links": {
                "order": format!("https://shop.example/orders/ORD-{:010}", self.seq),
                "invoice": format!("https://shop.example/orders/ORD-{:010}/invoice.pdf", self.seq),
            },
            "message": "Your order has left our warehouse and will be with you tomorrow.",
        })
        .to_string()
    }

    fn to_event(self) -> Event {
        Event { name: EVENT, channel: channel(self.user), data: self.to_json() }
    }
}

/// Path and body that publish these orders: one as a trigger, several as a batch.
pub(super) fn request(orders: &[Order]) -> (&'static str, String) {
    match orders {
        [order] => ("/events", json!(order.to_event()).to_string()),
        orders => {
            let batch: Vec<_> = orders.iter().map(|order| order.to_event()).collect();
            ("/batch_events", json!({ "batch": batch }).to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_as_large_as_real_ones_and_is_read_back() {
        for seq in [0, 4, 1_000_000] {
            let order = Order::new(seq, 300, Duration::from_micros(77));
            let written = order.to_json();
            assert!((1100..1300).contains(&written.len()), "{} bytes", written.len());
            assert_eq!(Order::read(&written), Some(order));
        }
    }

    #[test]
    fn what_others_publish_on_a_users_channel_is_no_order() {
        for data in ["", "hello", "{}", r#"{"id":7}"#] {
            assert_eq!(Order::read(data), None, "{data}");
        }
    }

    #[test]
    fn one_order_is_a_trigger_and_several_are_a_batch() {
        let orders = [0, 1].map(|seq| Order::new(seq, 7, Duration::ZERO));
        let (path, body) = request(&orders[..1]);
        assert_eq!(path, "/events");
        assert!(body.contains(r#""channel":"private-user.7""#), "{body}");
        let (path, body) = request(&orders);
        assert_eq!(path, "/batch_events");
        assert_eq!(body.matches(EVENT).count(), 2);
    }
}
