//! Who belongs to an audience.
//!
//! Owns its members and how many they are. Never sends anything. The invariant: whoever joins is shown what is announced
//! from then on, not what was announced before.

use crate::store::connection::{Failure, values};
use crate::store::rows::list;
use crate::store::sql::sql;
use crate::store::tx::Tx;

pub(crate) async fn edit(
    tx: &mut Tx,
    app: &str,
    audience: &str,
    add: &[String],
    remove: &[String],
) -> Result<u64, Failure> {
    let make = sql!(
        "INSERT INTO campanile_inbox_audiences (app, audience, members) VALUES ($1, $2, 0) \
         ON CONFLICT (app, audience) DO NOTHING"
    );
    tx.execute(make, values![app, audience]).await?;
    let lock = sql!("SELECT members FROM campanile_inbox_audiences WHERE app = $1 AND audience = $2 {for update}");
    let members = tx.number(lock, values![app, audience]).await?;
    let announced = sql!("SELECT announced FROM campanile_inbox_apps WHERE app = $1");
    let announced = tx.number(announced, values![app]).await?;
    let join = sql!(
        "INSERT INTO campanile_inbox_members (app, audience, name, joined) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (app, audience, name) DO NOTHING"
    );
    let mut joined = 0;
    for name in add {
        joined += tx.execute(join, values![app, audience, name, announced]).await?;
    }
    let leave = sql!("DELETE FROM campanile_inbox_members WHERE app = $1 AND audience = $2 AND name IN {list $3}");
    let left = tx.execute(leave, values![app, audience, &list(remove)]).await?;
    let members = u64::try_from(members).unwrap_or(0) + joined - left;
    let count = sql!("UPDATE campanile_inbox_audiences SET members = $3 WHERE app = $1 AND audience = $2");
    tx.execute(count, values![app, audience, i64::try_from(members).unwrap_or(i64::MAX)]).await?;
    Ok(members)
}

/// Members after this one, in the database's own order.
pub(crate) async fn members(
    tx: &mut Tx,
    app: &str,
    audience: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<String>, Failure> {
    let members = sql!(
        "SELECT name FROM campanile_inbox_members WHERE app = $1 AND audience = $2 \
         AND (CAST($3 AS TEXT) IS NULL OR name > $3) ORDER BY name LIMIT $4"
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = tx.fetch(members, values![app, audience, after, limit]).await?;
    Ok(rows.iter().map(|row| row.text(0)).collect::<Result<_, _>>()?)
}

pub(crate) async fn among(tx: &mut Tx, app: &str, audience: &str, users: &[String]) -> Result<Vec<String>, Failure> {
    let among = sql!(
        "SELECT name FROM campanile_inbox_members WHERE app = $1 AND audience = $2 AND name IN {list $3} ORDER BY name"
    );
    let rows = tx.fetch(among, values![app, audience, &list(users)]).await?;
    Ok(rows.iter().map(|row| row.text(0)).collect::<Result<_, _>>()?)
}
