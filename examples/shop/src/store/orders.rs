//! Orders: what was bought, and whether it is on its way.

use campanile_broadcast::Campanile;
use serde::Serialize;
use sqlx::SqlitePool;

use super::{StoreError, begin};
use crate::events::OrderShipped;

/// Orders of one customer that a page shows.
pub(crate) const ORDERS_SHOWN: i64 = 50;
/// Orders that are shipped at once.
pub(crate) const SHIP_AT_ONCE_MAX: i64 = 1000;

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, sqlx::Type)]
#[serde(rename_all = "lowercase")]
#[sqlx(rename_all = "lowercase")]
pub(crate) enum Status {
    Packing,
    Shipped,
}

/// An order as its owner sees it.
#[derive(Debug, Serialize, sqlx::FromRow)]
pub(crate) struct Order {
    pub(crate) id: i64,
    pub(crate) item: String,
    pub(crate) cents: i64,
    pub(crate) status: Status,
    pub(crate) tracking_number: Option<String>,
    pub(crate) placed_at: String,
}

/// An order as whoever ships it sees it.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Parcel {
    pub(crate) id: i64,
    pub(crate) item: String,
    pub(crate) customer: String,
}

/// The latest orders of a customer.
pub(crate) async fn of_user(db: &SqlitePool, user_id: i64) -> sqlx::Result<Vec<Order>> {
    sqlx::query_as(
        "SELECT id, item, cents, status, tracking_number, placed_at FROM orders WHERE user_id = ? \
         ORDER BY id DESC LIMIT ?",
    )
    .bind(user_id)
    .bind(ORDERS_SHOWN)
    .fetch_all(db)
    .await
}

/// What is to be shipped next: demo users' orders first, so that they are found among the simulated ones.
pub(crate) async fn to_ship(db: &SqlitePool, limit: i64) -> sqlx::Result<Vec<Parcel>> {
    sqlx::query_as(
        "SELECT orders.id, item, name AS customer FROM orders JOIN users ON users.id = user_id \
         WHERE status = 'packing' ORDER BY password_hash IS NULL, orders.id LIMIT ?",
    )
    .bind(limit)
    .fetch_all(db)
    .await
}

/// How many orders are being packed, and how many have left.
pub(crate) async fn counts(db: &SqlitePool) -> sqlx::Result<(i64, i64)> {
    sqlx::query_as(
        "SELECT count(*) FILTER (WHERE status = 'packing'), count(*) FILTER (WHERE status = 'shipped') FROM orders",
    )
    .fetch_one(db)
    .await
}

/// Ships one order and tells its owner: either both happen, or neither. False if it has left already.
pub(crate) async fn ship(db: &SqlitePool, campanile: &Campanile, id: i64) -> Result<bool, StoreError> {
    let mut tx = begin(db).await?;
    let shipped: Option<(i64, String)> = sqlx::query_as(
        "UPDATE orders SET status = 'shipped', tracking_number = ? WHERE id = ? AND status = 'packing' \
         RETURNING user_id, item",
    )
    .bind(tracking_number(id))
    .bind(id)
    .fetch_optional(&mut *tx)
    .await?;
    let Some((user_id, item)) = shipped else { return Ok(false) };
    let event = OrderShipped { order_id: id, item, tracking_number: tracking_number(id), user_id };
    campanile.broadcast(event).within(&mut tx).await?;
    tx.commit().await?;
    Ok(true)
}

/// Ships the next orders in one transaction, with an event for each of their owners. Says how many there were.
pub(crate) async fn ship_next(db: &SqlitePool, campanile: &Campanile, limit: i64) -> Result<usize, StoreError> {
    let mut tx = begin(db).await?;
    let shipped: Vec<(i64, i64, String)> = sqlx::query_as(
        "UPDATE orders SET status = 'shipped', tracking_number = 'FP' || printf('%08d', id) \
         WHERE id IN (SELECT id FROM orders WHERE status = 'packing' ORDER BY id LIMIT ?) RETURNING id, user_id, item",
    )
    .bind(limit.min(SHIP_AT_ONCE_MAX))
    .fetch_all(&mut *tx)
    .await?;
    let count = shipped.len();
    let events = shipped.into_iter().map(|(order_id, user_id, item)| OrderShipped {
        order_id,
        item,
        tracking_number: tracking_number(order_id),
        user_id,
    });
    events.fold(campanile.batch(), |batch, event| batch.event(event)).within(&mut tx).await?;
    tx.commit().await?;
    Ok(count)
}

/// Places one order for each of the first simulated customers, and says which: pairs of an order and its owner.
pub(crate) async fn place_for_simulated(db: &SqlitePool, users: i64) -> sqlx::Result<Vec<(i64, i64)>> {
    let mut tx = begin(db).await?;
    let placed = sqlx::query_as(
        "INSERT INTO orders (user_id, item, cents) SELECT id, 'Sampler box', 900 FROM users \
         WHERE password_hash IS NULL ORDER BY id LIMIT ? RETURNING id, user_id",
    )
    .bind(users)
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(placed)
}

/// Places an order.
pub(crate) async fn place(db: &SqlitePool, user_id: i64, item: &str, cents: i64) -> sqlx::Result<i64> {
    sqlx::query_scalar("INSERT INTO orders (user_id, item, cents) VALUES (?, ?, ?) RETURNING id")
        .bind(user_id)
        .bind(item)
        .bind(cents)
        .fetch_one(db)
        .await
}

fn tracking_number(order_id: i64) -> String {
    format!("FP{order_id:08}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::seed;
    use crate::store::tests::empty;

    #[tokio::test]
    async fn an_order_is_shipped_once_and_its_owner_is_told_once() {
        let db = empty().await;
        seed::user(&db, "Ada").await;
        let order = place(&db, 1, "Notebook", 1200).await.unwrap();
        let fake = Campanile::fake();
        assert!(ship(&db, &fake.campanile(), order).await.unwrap());
        assert!(!ship(&db, &fake.campanile(), order).await.unwrap());
        fake.assert_broadcast::<OrderShipped>(|event, channels| {
            event.order_id == order && channels == ["private-user.1"]
        });
        fake.assert_broadcast_times::<OrderShipped>(1);
    }

    #[tokio::test]
    async fn no_more_orders_leave_at_once_than_were_asked_for() {
        let db = empty().await;
        seed::user(&db, "Ada").await;
        for _ in 0..3 {
            place(&db, 1, "Notebook", 1200).await.unwrap();
        }
        let fake = Campanile::fake();
        assert_eq!(ship_next(&db, &fake.campanile(), 2).await.unwrap(), 2);
        assert_eq!(ship_next(&db, &fake.campanile(), 2).await.unwrap(), 1);
        fake.assert_broadcast_times::<OrderShipped>(3);
        assert_eq!(counts(&db).await.unwrap(), (0, 3));
    }
}
