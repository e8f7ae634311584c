//! Orders: what was bought, and whether it is on its way.

use campanile_broadcast::Campanile;
use serde::Serialize;

use super::{Db, StoreError, Tx, either};
use crate::events::OrderShipped;
use crate::notifications::ShippedNotification;

/// Orders of one customer that a page shows.
pub(crate) const ORDERS_SHOWN: i64 = 50;
/// Orders that are shipped at once.
pub(crate) const SHIP_AT_ONCE_MAX: i64 = 1000;

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, sqlx::Type)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
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

/// An order that leaves.
#[derive(Debug, sqlx::FromRow)]
struct Leaving {
    order_id: i64,
    item: String,
    tracking_number: String,
    user_id: i64,
    /// Nobody is behind a simulated customer who would come back to an inbox.
    is_simulated: bool,
}

/// The latest orders of a customer.
pub(crate) async fn of_user(db: &Db, user_id: i64) -> sqlx::Result<Vec<Order>> {
    let sql = "SELECT id, item, cents, status, tracking_number, placed_at FROM orders WHERE user_id = $1 \
               ORDER BY id DESC LIMIT $2";
    either!(db, |db| sqlx::query_as(sql).bind(user_id).bind(ORDERS_SHOWN).fetch_all(db).await)
}

/// What is to be shipped next: demo users' orders first, so that they are found among the simulated ones.
pub(crate) async fn to_ship(db: &Db, limit: i64) -> sqlx::Result<Vec<Parcel>> {
    let sql = "SELECT orders.id, item, name AS customer FROM orders JOIN users ON users.id = user_id \
               WHERE status = 'packing' ORDER BY password_hash IS NULL, orders.id LIMIT $1";
    either!(db, |db| sqlx::query_as(sql).bind(limit).fetch_all(db).await)
}

/// How many orders are being packed, and how many have left.
pub(crate) async fn counts(db: &Db) -> sqlx::Result<(i64, i64)> {
    let sql =
        "SELECT count(*) FILTER (WHERE status = 'packing'), count(*) FILTER (WHERE status = 'shipped') FROM orders";
    either!(db, |db| sqlx::query_as(sql).fetch_one(db).await)
}

/// Ships one order and tells its owner: either both happen, or neither. False if it has left already.
pub(crate) async fn ship(db: &Db, campanile: &Campanile, id: i64) -> Result<bool, StoreError> {
    let mut tx = db.begin().await?;
    let sql = "UPDATE orders SET status = 'shipped', \
               tracking_number = 'FP' || substr('0000000', length(CAST(id AS TEXT))) || id \
               WHERE id = $1 AND status = 'packing' RETURNING id AS order_id, item, tracking_number, user_id, \
               (SELECT password_hash IS NULL FROM users WHERE users.id = user_id) AS is_simulated";
    let leaving: Option<Leaving> =
        either!(&mut tx, |tx| sqlx::query_as(sql).bind(id).fetch_optional(&mut **tx).await?);
    let Some(leaving) = leaving else { return Ok(false) };
    tell(&mut tx, campanile, vec![leaving]).await?;
    tx.commit().await?;
    Ok(true)
}

/// Tells owners that their orders leave: those who look by an event, and all when they look.
async fn tell(tx: &mut Tx, campanile: &Campanile, leaving: Vec<Leaving>) -> Result<(), StoreError> {
    for Leaving { order_id, item, tracking_number, user_id, .. } in leaving.iter().filter(|order| !order.is_simulated) {
        let notification =
            ShippedNotification { order_id: *order_id, item: item.clone(), tracking_number: tracking_number.clone() };
        let notification = campanile.notify(*user_id, notification).about("order", order_id);
        let notification = notification.key(format!("shipped:{order_id}"));
        either!(&mut *tx, |tx| notification.within(&mut *tx).await?);
    }
    let events = leaving.into_iter().map(|Leaving { order_id, item, tracking_number, user_id, .. }| OrderShipped {
        order_id,
        item,
        tracking_number,
        user_id,
    });
    let batch = events.fold(campanile.batch(), |batch, event| batch.event(event));
    either!(tx, |tx| batch.within(tx).await?);
    Ok(())
}

/// Ships the next orders in one transaction, with an event and a notification for each of their owners. Says how many there were.
pub(crate) async fn ship_next(db: &Db, campanile: &Campanile, limit: i64) -> Result<usize, StoreError> {
    let mut tx = db.begin().await?;
    // Two who take many rows in different orders would wait for each other.
    tx.alone_at("the packing bench").await?;
    // As they are listed. The status is asked for twice: whoever has waited for an order that another operator ships by itself looks at its row
    // again, but not at the list.
    let sql = "UPDATE orders SET status = 'shipped', \
               tracking_number = 'FP' || substr('0000000', length(CAST(id AS TEXT))) || id \
               WHERE id IN (SELECT orders.id FROM orders JOIN users ON users.id = user_id WHERE status = 'packing' \
               ORDER BY password_hash IS NULL, orders.id LIMIT $1) \
               AND status = 'packing' RETURNING id AS order_id, item, tracking_number, user_id, \
               (SELECT password_hash IS NULL FROM users WHERE users.id = user_id) AS is_simulated";
    let leaving: Vec<Leaving> =
        either!(&mut tx, |tx| sqlx::query_as(sql).bind(limit.min(SHIP_AT_ONCE_MAX)).fetch_all(&mut **tx).await?);
    let count = leaving.len();
    tell(&mut tx, campanile, leaving).await?;
    tx.commit().await?;
    Ok(count)
}

/// Places one order for each of the first simulated customers, and says which: pairs of an order and its owner.
pub(crate) async fn place_for_simulated(db: &Db, users: i64) -> sqlx::Result<Vec<(i64, i64)>> {
    let sql = "INSERT INTO orders (user_id, item, cents) SELECT id, 'Sampler box', 900 FROM users \
               WHERE password_hash IS NULL ORDER BY id LIMIT $1 RETURNING id, user_id";
    let mut tx = db.begin().await?;
    let placed = either!(&mut tx, |tx| sqlx::query_as(sql).bind(users).fetch_all(&mut **tx).await?);
    tx.commit().await?;
    Ok(placed)
}

/// Places an order.
pub(crate) async fn place(db: &Db, user_id: i64, item: &str, cents: i64) -> sqlx::Result<i64> {
    let sql = "INSERT INTO orders (user_id, item, cents) VALUES ($1, $2, $3) RETURNING id";
    either!(db, |db| sqlx::query_scalar(sql).bind(user_id).bind(item).bind(cents).fetch_one(db).await)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use campanile_broadcast::To;

    use super::*;
    use crate::store::seed;
    use crate::store::tests::on_both;

    on_both! {
        an_order_is_shipped_once_and_its_owner_is_told_once
        no_more_orders_leave_at_once_than_were_asked_for
        what_another_operator_is_shipping_is_not_shipped_again
        demo_users_orders_are_shipped_before_simulated_ones
        each_simulated_customer_has_an_order_placed
    }

    async fn three_orders(db: &Db) -> Vec<i64> {
        seed::user(db, "Ada").await;
        let mut orders = Vec::new();
        for _ in 0..3 {
            orders.push(place(db, 1, "Notebook", 1200).await.unwrap());
        }
        orders
    }

    async fn an_order_is_shipped_once_and_its_owner_is_told_once(db: Db) {
        let order = three_orders(&db).await[1];
        let fake = Campanile::fake();
        assert!(ship(&db, &fake.campanile(), order).await.unwrap());
        assert!(!ship(&db, &fake.campanile(), order).await.unwrap());
        fake.assert_broadcast::<OrderShipped>(|event, channels| {
            event.order_id == order && event.tracking_number == "FP00000002" && channels == ["private-user.1"]
        });
        fake.assert_broadcast_times::<OrderShipped>(1);
        fake.assert_notified::<ShippedNotification>(|_, draft| {
            draft.to == To::user(1)
                && draft.title == "Notebook is on its way"
                && draft.key == format!("shipped:{order}")
        });
        fake.assert_notified_times::<ShippedNotification>(1);
        let found = &of_user(&db, 1).await.unwrap()[1];
        assert_eq!((found.status, found.tracking_number.as_deref()), (Status::Shipped, Some("FP00000002")));
    }

    async fn no_more_orders_leave_at_once_than_were_asked_for(db: Db) {
        three_orders(&db).await;
        let fake = Campanile::fake();
        assert_eq!(ship_next(&db, &fake.campanile(), 2).await.unwrap(), 2);
        assert_eq!(ship_next(&db, &fake.campanile(), 2).await.unwrap(), 1);
        fake.assert_broadcast_times::<OrderShipped>(3);
        assert_eq!(counts(&db).await.unwrap(), (0, 3));
    }

    async fn what_another_operator_is_shipping_is_not_shipped_again(db: Db) {
        let order = three_orders(&db).await[1];
        let fake = Campanile::fake();
        let campanile = fake.campanile();
        let mut other = db.begin().await.unwrap();
        let sql = "UPDATE orders SET status = 'shipped' WHERE id = $1";
        either!(&mut other, |tx| drop(sqlx::query(sql).bind(order).execute(&mut **tx).await.unwrap()));
        let committed_while_we_wait = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            other.commit().await.unwrap();
        };
        let (shipped, ()) = tokio::join!(ship_next(&db, &campanile, 3), committed_while_we_wait);
        assert_eq!(shipped.unwrap(), 2);
        fake.assert_broadcast_times::<OrderShipped>(2);
    }

    async fn demo_users_orders_are_shipped_before_simulated_ones(db: Db) {
        seed::fill(&db).await.unwrap();
        let simulated = place_for_simulated(&db, 1).await.unwrap()[0].0;
        let own = place(&db, 1, "Brass ruler", 2400).await.unwrap();
        let next: Vec<_> = to_ship(&db, 50).await.unwrap().into_iter().map(|parcel| parcel.id).collect();
        assert!(simulated < own && next.contains(&own) && !next.contains(&simulated), "{next:?}");
        let fake = Campanile::fake();
        assert!(ship(&db, &fake.campanile(), simulated).await.unwrap());
        fake.assert_broadcast_times::<OrderShipped>(1);
        fake.assert_not_notified::<ShippedNotification>();
    }

    async fn each_simulated_customer_has_an_order_placed(db: Db) {
        seed::fill(&db).await.unwrap();
        let placed = place_for_simulated(&db, 3).await.unwrap();
        let demo_users = i64::try_from(crate::store::DEMO_USERS.len()).unwrap();
        let owners: Vec<_> = placed.iter().map(|(_, owner)| owner - demo_users).collect();
        assert_eq!(owners, [1, 2, 3]);
    }
}
