//! What a new shop has in it: users to sign in as, their teams, documents and orders, and a crowd of customers.

use super::{Db, Either, StoreError, either};
use crate::session::hash_password;

/// The password of every demo user.
pub(crate) const DEMO_PASSWORD: &str = "campanile";
/// Customers that nobody signs in as: the crowd of the comparison, and of a thousand orders at once.
pub(crate) const SIMULATED_USERS: i64 = 1000;

/// Somebody to sign in as.
#[derive(Debug)]
pub(crate) struct DemoUser {
    pub(crate) name: &'static str,
    pub(crate) email: &'static str,
    pub(crate) about: &'static str,
    is_operator: bool,
    team: i64,
    items: &'static [(&'static str, i64)],
}

pub(crate) const DEMO_USERS: [DemoUser; 5] = [
    DemoUser {
        name: "Ada Marsh",
        email: "ada@shop.test",
        about: "Customer, in the design team",
        is_operator: false,
        team: 1,
        items: &[("Linen notebook, A5", 1800), ("Brass ruler", 2400), ("Ink, forest green", 1250)],
    },
    DemoUser {
        name: "Ben Okafor",
        email: "ben@shop.test",
        about: "Customer, in the design team",
        is_operator: false,
        team: 1,
        items: &[("Drawing pencils, set of 12", 2100), ("Desk lamp", 8900)],
    },
    DemoUser {
        name: "Chloé Laurent",
        email: "chloe@shop.test",
        about: "Customer, in the logistics team",
        is_operator: false,
        team: 2,
        items: &[("Letter paper, cream", 1600), ("Sealing wax", 700)],
    },
    DemoUser {
        name: "Dara Novak",
        email: "dara@shop.test",
        about: "Customer, in the logistics team",
        is_operator: false,
        team: 2,
        items: &[("Pocket atlas", 2900)],
    },
    DemoUser {
        name: "Olive Stone",
        email: "olive@shop.test",
        about: "Runs the shop, in the logistics team",
        is_operator: true,
        team: 2,
        items: &[("Fountain pen, medium", 6400)],
    },
];

const TEAMS: [&str; 2] = ["Design", "Logistics"];

const DOCUMENTS: [(i64, &str, &str); 3] = [
    (
        1,
        "Autumn catalogue",
        "The catalogue opens with the linen notebooks, three spreads, photographed by a window in the morning.\n\n\
         Prices stay off the pictures. Each spread has one sentence, and that sentence says what the thing is for.\n\n\
         Open question: does the forest green ink lead, or does it follow the paper it was made for?",
    ),
    (
        1,
        "Packaging guidelines",
        "One box, one sheet of tissue, no plastic. The card inside is signed by whoever packed the order.\n\n\
         Breakables travel in the moulded tray; if it does not fit the tray, it does not fit the box.",
    ),
    (
        2,
        "Carrier contract 2027",
        "Collection moves to 17:30, so orders placed before four leave the same day.\n\n\
         Tracking numbers are issued when a parcel is labelled, not when it is collected. Customers are told at once.",
    ),
];

const CARDS: [(i64, &str, &str); 7] = [
    (1, "Photograph the linen notebooks", "doing"),
    (1, "Write the line for the brass ruler", "todo"),
    (1, "Proof of the cover", "todo"),
    (1, "Choose the paper", "done"),
    (2, "New labels for the carrier", "doing"),
    (2, "Count the desk lamps", "todo"),
    (2, "Move the packing bench", "done"),
];

const COMMENTS: [(i64, i64, &str); 3] = [
    (1, 2, "The paper should lead. The ink is a surprise on page nine."),
    (1, 1, "Agreed. I will move the window picture to the front."),
    (3, 5, "Signed copy is in the drawer of the packing bench."),
];

/// Fills a database that has no users.
pub(super) async fn fill(db: &Db) -> Result<(), StoreError> {
    let mut tx = db.begin().await?;
    tx.alone_at("the demo users").await?;
    // The one thing here that the two databases say differently is how long ago something was.
    let long_ago = match &tx {
        Either::Sqlite(_) => {
            "UPDATE orders SET placed_at = strftime('%Y-%m-%dT%H:%M:%SZ', 'now', '-9 days') WHERE status = 'shipped'"
        }
        Either::Postgres(_) => {
            "UPDATE orders SET placed_at = to_char(now() AT TIME ZONE 'UTC' - INTERVAL '9 days', \
             'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') WHERE status = 'shipped'"
        }
    };
    either!(&mut tx, |tx| {
        if sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM users)").fetch_one(&mut **tx).await? {
            return Ok(());
        }
        for team in TEAMS {
            sqlx::query("INSERT INTO teams (name) VALUES ($1)").bind(team).execute(&mut **tx).await?;
        }
        for user in &DEMO_USERS {
            let insert = sqlx::query_scalar(
                "INSERT INTO users (name, email, password_hash, is_operator) VALUES ($1, $2, $3, $4) RETURNING id",
            );
            let insert = insert.bind(user.name).bind(user.email).bind(hash_password(DEMO_PASSWORD)?);
            let id: i64 = insert.bind(user.is_operator).fetch_one(&mut **tx).await?;
            let insert = sqlx::query("INSERT INTO team_members (team_id, user_id) VALUES ($1, $2)");
            insert.bind(user.team).bind(id).execute(&mut **tx).await?;
            for (item, cents) in user.items {
                let insert = sqlx::query("INSERT INTO orders (user_id, item, cents) VALUES ($1, $2, $3)");
                insert.bind(id).bind(item).bind(cents).execute(&mut **tx).await?;
            }
        }
        // The first order of whoever has several is an old one.
        let shipped = sqlx::query(
            "UPDATE orders SET status = 'shipped', \
             tracking_number = 'FP' || substr('0000000', length(CAST(id AS TEXT))) || id \
             WHERE id IN (SELECT min(id) FROM orders GROUP BY user_id HAVING count(*) > 1)",
        );
        shipped.execute(&mut **tx).await?;
        sqlx::query(long_ago).execute(&mut **tx).await?;
        for (team, title, body) in DOCUMENTS {
            let insert = sqlx::query("INSERT INTO documents (team_id, title, body) VALUES ($1, $2, $3)");
            insert.bind(team).bind(title).bind(body).execute(&mut **tx).await?;
        }
        for (team, title, lane) in CARDS {
            let insert = sqlx::query("INSERT INTO cards (team_id, title, lane) VALUES ($1, $2, $3)");
            insert.bind(team).bind(title).bind(lane).execute(&mut **tx).await?;
        }
        for (document, user, body) in COMMENTS {
            let insert = sqlx::query("INSERT INTO comments (document_id, user_id, body) VALUES ($1, $2, $3)");
            insert.bind(document).bind(user).bind(body).execute(&mut **tx).await?;
        }
        let crowd = sqlx::query(
            "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < $1) \
             INSERT INTO users (name, email) \
             SELECT 'Customer ' || n, 'customer-' || n || '@shop.test' FROM numbers ORDER BY n",
        );
        crowd.bind(SIMULATED_USERS).execute(&mut **tx).await?;
        let orders = sqlx::query(
            "INSERT INTO orders (user_id, item, cents) \
             SELECT id, 'Sampler box', 900 FROM users WHERE password_hash IS NULL ORDER BY id",
        );
        orders.execute(&mut **tx).await?;
    });
    tx.commit().await?;
    Ok(())
}

/// A user for a test.
#[cfg(test)]
pub(super) async fn user(db: &Db, name: &str) {
    let sql = "INSERT INTO users (name, email, password_hash) VALUES ($1, $1, 'none that a password has')";
    either!(db, |db| sqlx::query(sql).bind(name).execute(db).await.map(|_| ())).unwrap();
}
