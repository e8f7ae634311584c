use campanile_broadcast::sqlx::{PgPool, Postgres, Transaction};
use campanile_broadcast::{Broadcast, Campanile, Channel};
use serde::Serialize;

#[derive(Channel)]
#[channel("news")]
struct News;

#[derive(Serialize, Broadcast)]
#[broadcast(on = [News])]
struct Published;

async fn to_a_pool(campanile: Campanile, db: PgPool) {
    let _ = campanile.broadcast(Published).within(&db).await;
}

async fn without_the_reference(campanile: Campanile, db: PgPool) {
    let tx = db.begin().await.unwrap();
    let _ = campanile.broadcast(Published).within(tx).await;
}

async fn of_a_batch(campanile: Campanile, db: PgPool) {
    let _ = campanile.batch().event(Published).within(&db).await;
}

// A transaction, and one that was lent: nothing is said of these.
async fn right(campanile: Campanile, db: PgPool) {
    let mut tx = db.begin().await.unwrap();
    let _ = campanile.broadcast(Published).within(&mut tx).await;
    lent(campanile, &mut tx).await;
}

async fn lent(campanile: Campanile, tx: &mut Transaction<'_, Postgres>) {
    let _ = campanile.broadcast(Published).within(&mut *tx).await;
    let _ = campanile.broadcast(Published).within(tx).await;
}

fn main() {}
