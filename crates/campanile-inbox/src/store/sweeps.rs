//! What happens when its time has come: snoozes end, notifications expire, what is too old goes.
//!
//! Owns the finding of what is due, by the times' indexes. Never scans an inbox. The invariant: each round is small, and
//! says whether there is more.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::mark::Place;
use crate::reports::Reconciled;
use crate::settings::CHUNK_ROWS;
use crate::store::connection::{Failure, Row, Value, values};
use crate::store::rows::{self, id_of, own};
use crate::store::sql::{Statement, sql};
use crate::store::tx::Tx;
use crate::store::users::User;
use crate::store::{announcements, arrivals, deliveries};

/// What the last process of this file held is nobody's any more.
pub(crate) async fn release(tx: &mut Tx) -> Result<(), Failure> {
    let now = tx.now;
    let jobs =
        sql!("UPDATE campanile_inbox_jobs SET leased = 0, available_at = $1 WHERE leased = 1 AND died_at IS NULL");
    tx.execute(jobs, values![now]).await?;
    deliveries::give_up_lost(tx, crate::Timestamp::from_millis(i64::MAX)).await?;
    Ok(())
}

fn limit() -> i64 {
    i64::try_from(CHUNK_ROWS).unwrap_or(i64::MAX)
}

/// By user, in the order in which everybody locks them.
async fn by_user(
    tx: &mut Tx,
    sql: &Statement,
    given: &[Value<'_>],
) -> Result<(BTreeMap<(String, String), Vec<Uuid>>, bool), Failure> {
    let found: Vec<Row> = tx.fetch(sql, given).await?;
    let mut users: BTreeMap<_, Vec<Uuid>> = BTreeMap::new();
    for row in &found {
        users.entry((row.text(0)?, row.text(1)?)).or_default().push(id_of(&row.text(2)?)?);
    }
    Ok((users, found.len() == CHUNK_ROWS))
}

/// Whether anything may be due. Asked without a lock, so that an idle store writes nothing.
pub(crate) async fn is_anything_due(tx: &mut Tx) -> Result<bool, Failure> {
    let (now, settings) = (tx.now, std::sync::Arc::clone(&tx.settings));
    let due: [(&Statement, crate::Timestamp); 11] = [
        (
            sql!(
                "SELECT count(*) FROM (SELECT 1 FROM campanile_inbox_notifications WHERE snoozed_until <= $1 LIMIT 1) AS d"
            ),
            now,
        ),
        (
            sql!(
                "SELECT count(*) FROM (SELECT 1 FROM campanile_inbox_announcement_states WHERE snoozed_until <= $1 \
                 LIMIT 1) AS d"
            ),
            now,
        ),
        (
            sql!(
                "SELECT count(*) FROM (SELECT 1 FROM campanile_inbox_notifications WHERE expires_at <= $1 LIMIT 1) AS d"
            ),
            now,
        ),
        (
            sql!(
                "SELECT count(*) FROM (SELECT 1 FROM campanile_inbox_notifications WHERE created_at <= $1 LIMIT 1) AS d"
            ),
            now.minus(settings.retention),
        ),
        (
            sql!(
                "SELECT count(*) FROM (SELECT 1 FROM campanile_inbox_announcements WHERE expires_at <= $1 LIMIT 1) AS d"
            ),
            now,
        ),
        (
            sql!(
                "SELECT count(*) FROM (SELECT 1 FROM campanile_inbox_announcements WHERE created_at <= $1 LIMIT 1) AS d"
            ),
            now.minus(settings.retention),
        ),
        (
            sql!("SELECT count(*) FROM (SELECT 1 FROM campanile_inbox_tombstones WHERE removed_at <= $1 LIMIT 1) AS d"),
            now.minus(settings.tombstones),
        ),
        (
            sql!("SELECT count(*) FROM (SELECT 1 FROM campanile_inbox_withdrawn WHERE removed_at <= $1 LIMIT 1) AS d"),
            now.minus(settings.tombstones),
        ),
        (sql!("SELECT count(*) FROM (SELECT 1 FROM campanile_inbox_keys WHERE until <= $1 LIMIT 1) AS d"), now),
        (
            sql!(
                "SELECT count(*) FROM (SELECT 1 FROM campanile_inbox_deliveries WHERE state = 'trying' \
                 AND lease_until <= $1 LIMIT 1) AS d"
            ),
            now,
        ),
        (
            sql!("SELECT count(*) FROM (SELECT 1 FROM campanile_inbox_jobs WHERE died_at <= $1 LIMIT 1) AS d"),
            now.minus(settings.dead_jobs),
        ),
    ];
    for (sql, before) in due {
        if tx.number(sql, values![before]).await? > 0 {
            return Ok(true);
        }
    }
    let old = now.minus(settings.deliveries);
    let sql =
        sql!("SELECT count(*) FROM (SELECT 1 FROM campanile_inbox_deliveries WHERE updated_at <= $1 LIMIT 1) AS d");
    Ok(tx.number(sql, values![old]).await? > 0)
}

/// Does what is due, and says whether there is more.
pub(crate) async fn sweep(tx: &mut Tx) -> Result<bool, Failure> {
    let mut has_more = wake(tx).await?;
    has_more |= expire(tx).await?;
    has_more |= forget(tx).await?;
    deliveries::give_up_lost(tx, tx.now).await?;
    Ok(has_more)
}

async fn wake(tx: &mut Tx) -> Result<bool, Failure> {
    let now = tx.now;
    let own = sql!(
        "SELECT u.app, u.name, n.id FROM campanile_inbox_notifications n JOIN campanile_inbox_users u \
         ON u.id = n.user_id WHERE n.snoozed_until <= $1 ORDER BY n.snoozed_until LIMIT $2"
    );
    let (users, mut has_more) = by_user(tx, own, values![now, limit()]).await?;
    for ((app, name), ids) in users {
        let Some(mut user) = User::lock_known(tx, &app, &name).await? else { continue };
        let mut changed = Vec::new();
        for id in ids {
            let Some(mut stored) = rows::find(tx, &user, id).await? else { continue };
            let standing = stored.standing;
            // Its user may have been quicker.
            if standing.place != Place::Snoozed || standing.snoozed_until.is_none_or(|until| until > now) {
                continue;
            }
            stored.standing = standing.anew(stored.seq, stored.floors);
            stored.rev = user.next_rev();
            user.move_by(stored.standing.counts(stored.seq, stored.floors));
            rows::save(tx, &user, &stored).await?;
            changed.push(id);
        }
        if !changed.is_empty() {
            user.save(tx).await?;
            tx.updated(&app, &name, user.state(), changed, false);
        }
    }
    let announced = sql!(
        "SELECT u.app, u.name, a.id FROM campanile_inbox_announcement_states s JOIN campanile_inbox_users u \
         ON u.id = s.user_id JOIN campanile_inbox_announcements a ON a.app = u.app AND a.number = s.number \
         WHERE s.snoozed_until <= $1 ORDER BY s.snoozed_until LIMIT $2"
    );
    let (users, more) = by_user(tx, announced, values![now, limit()]).await?;
    has_more |= more;
    for ((app, name), ids) in users {
        let Some(mut user) = User::lock_known(tx, &app, &name).await? else { continue };
        let mut changed = Vec::new();
        for id in ids {
            let found = announcements::find(tx, &user, id).await?;
            let Some(mut stored) = found.filter(|stored| stored.standing.place == Place::Snoozed) else { continue };
            stored.standing = stored.standing.anew(stored.seq, stored.floors);
            stored.rev = user.next_rev();
            user.move_announced_by(stored.standing.counts(stored.seq, stored.floors));
            announcements::save(tx, &user, &stored).await?;
            changed.push(id);
        }
        if !changed.is_empty() {
            user.save(tx).await?;
            tx.updated(&app, &name, user.state(), changed, false);
        }
    }
    // What is not shown to its user any more would be due for ever.
    let unseen = sql!("UPDATE campanile_inbox_announcement_states SET snoozed_until = NULL WHERE snoozed_until <= $1");
    if !more {
        tx.execute(unseen, values![now]).await?;
    }
    Ok(has_more)
}

async fn expire(tx: &mut Tx) -> Result<bool, Failure> {
    let (now, old) = (tx.now, tx.now.minus(tx.settings.retention));
    let expired = sql!(
        "SELECT u.app, u.name, n.id FROM campanile_inbox_notifications n JOIN campanile_inbox_users u \
         ON u.id = n.user_id WHERE n.expires_at <= $1 ORDER BY n.expires_at LIMIT $2"
    );
    let aged = sql!(
        "SELECT u.app, u.name, n.id FROM campanile_inbox_notifications n JOIN campanile_inbox_users u \
         ON u.id = n.user_id WHERE n.created_at <= $1 ORDER BY n.created_at LIMIT $2"
    );
    let mut has_more = false;
    for (sql, before) in [(expired, now), (aged, old)] {
        let (users, more) = by_user(tx, sql, values![before, limit()]).await?;
        has_more |= more;
        for ((app, name), ids) in users {
            let Some(mut user) = User::lock_known(tx, &app, &name).await? else { continue };
            let mut changed = Vec::new();
            for id in ids {
                let Some(stored) = rows::find(tx, &user, id).await? else { continue };
                // A digest that has gathered another one meanwhile expires later.
                if stored.expires_at.is_none_or(|at| at > now) && stored.created_at > old {
                    continue;
                }
                arrivals::remove(tx, &mut user, &stored).await?;
                changed.push(id);
            }
            if !changed.is_empty() {
                user.save(tx).await?;
                tx.updated(&app, &name, user.state(), changed, false);
            }
        }
    }
    let announced = sql!(
        "SELECT app, id FROM campanile_inbox_announcements WHERE expires_at <= $1 OR created_at <= $2 \
         ORDER BY app, number LIMIT $3"
    );
    for row in tx.fetch(announced, values![now, old, limit()]).await? {
        let (app, id) = (row.text(0)?, id_of(&row.text(1)?)?);
        announcements::withdraw(tx, &app, id).await?;
    }
    Ok(has_more)
}

/// Forgets what need not be known any more.
async fn forget(tx: &mut Tx) -> Result<bool, Failure> {
    let (now, settings) = (tx.now, std::sync::Arc::clone(&tx.settings));
    let old = now.minus(settings.tombstones);
    let tombstones = sql!(
        "SELECT u.app, u.name, t.id FROM campanile_inbox_tombstones t JOIN campanile_inbox_users u ON u.id = t.user_id \
         WHERE t.removed_at <= $1 ORDER BY t.removed_at LIMIT $2"
    );
    let (users, mut has_more) = by_user(tx, tombstones, values![old, limit()]).await?;
    for (app, name) in users.into_keys() {
        let Some(mut user) = User::lock_known(tx, &app, &name).await? else { continue };
        let last = sql!("SELECT max(rev) FROM campanile_inbox_tombstones WHERE user_id = $1 AND removed_at <= $2");
        let last = tx.number(last, values![user.id, old]).await?;
        let delete = sql!("DELETE FROM campanile_inbox_tombstones WHERE user_id = $1 AND removed_at <= $2");
        tx.execute(delete, values![user.id, old]).await?;
        user.forgotten_rev = user.forgotten_rev.max(last);
        user.save(tx).await?;
    }
    let withdrawn = sql!("SELECT app, max(number) FROM campanile_inbox_withdrawn WHERE removed_at <= $1 GROUP BY app");
    for row in tx.fetch(withdrawn, values![old]).await? {
        let (app, number) = (row.text(0)?, row.int(1)?);
        let forget = sql!("UPDATE campanile_inbox_apps SET forgotten = $2 WHERE app = $1 AND forgotten < $2");
        tx.execute(forget, values![&app, number]).await?;
        let delete = sql!("DELETE FROM campanile_inbox_withdrawn WHERE app = $1 AND number <= $2 AND removed_at <= $3");
        tx.execute(delete, values![&app, number, old]).await?;
    }
    let keys = sql!(
        "DELETE FROM campanile_inbox_keys WHERE until <= $1 AND key IN \
         (SELECT key FROM campanile_inbox_keys WHERE until <= $1 ORDER BY until LIMIT $2)"
    );
    has_more |= tx.execute(keys, values![now, limit()]).await? >= CHUNK_ROWS as u64;
    // One that has waited so long is of no use to anybody, either: nobody sends by that way.
    let records = sql!(
        "DELETE FROM campanile_inbox_deliveries WHERE number IN (SELECT number FROM campanile_inbox_deliveries \
         WHERE updated_at <= $1 AND due_at <= $1 AND state <> 'trying' ORDER BY updated_at LIMIT $2)"
    );
    has_more |= tx.execute(records, values![now.minus(settings.deliveries), limit()]).await? >= CHUNK_ROWS as u64;
    let dead = sql!(
        "DELETE FROM campanile_inbox_jobs WHERE number IN (SELECT number FROM campanile_inbox_jobs \
         WHERE died_at <= $1 ORDER BY died_at LIMIT $2)"
    );
    has_more |= tx.execute(dead, values![now.minus(settings.dead_jobs), limit()]).await? >= CHUNK_ROWS as u64;
    Ok(has_more)
}

/// Users whose numbers are above this one.
pub(crate) async fn users_after(tx: &mut Tx, after: i64) -> Result<Vec<(i64, String, String)>, Failure> {
    let next = sql!("SELECT id, app, name FROM campanile_inbox_users WHERE id > $1 ORDER BY id LIMIT $2");
    let rows = tx.fetch(next, values![after, limit()]).await?;
    Ok(rows.iter().map(|row| Ok((row.int(0)?, row.text(1)?, row.text(2)?))).collect::<Result<_, sqlx::Error>>()?)
}

/// Proves one user's counts by reading every row, and puts them right.
pub(crate) async fn reconcile(tx: &mut Tx, app: &str, name: &str, report: &mut Reconciled) -> Result<(), Failure> {
    let Some(mut user) = User::lock_known(tx, app, name).await? else { return Ok(()) };
    let all = sql!("SELECT ", own!(), " WHERE n.user_id = $1 ORDER BY n.seq");
    let (mut unread, mut unseen) = (0, 0);
    for row in tx.fetch(all, values![user.id]).await? {
        let stored = rows::read(&row, &user)?;
        let counted = stored.standing.counts(stored.seq, stored.floors);
        unread += counted.unread;
        unseen += counted.unseen;
    }
    report.users += 1;
    if (user.unread, user.unseen) != (unread, unseen) {
        report.wrong_count += 1;
        if report.wrong.len() < 100 {
            report.wrong.push(format!(
                "{app}/{name}: unread {} and is {unread}, unseen {} and is {unseen}",
                user.unread, user.unseen
            ));
        }
        user.unread = unread;
        user.unseen = unseen;
        user.next_rev();
        user.save(tx).await?;
        tx.updated(app, name, user.state(), Vec::new(), true);
    }
    Ok(())
}
