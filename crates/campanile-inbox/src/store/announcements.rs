//! One row for many users, and what each has done with it.
//!
//! Owns the announcements and the states of those that were touched. Never copies an announcement into an inbox. The
//! invariant: a user who has touched nothing has no row here, however many announcements there are.

use uuid::Uuid;

use crate::changes::Change;
use crate::clock::Timestamp;
use crate::mark::{Due, Floors, Mark, Marked, Place, Standing};
use crate::preferences::{Category, Channel};
use crate::store::connection::{Failure, Row, values};
use crate::store::rows::{Content, Stored, id_of};
use crate::store::sql::sql;
use crate::store::tx::Tx;
use crate::store::users::{User, visible};

/// What is announced.
#[derive(Debug)]
pub(crate) struct Announcement<'a> {
    pub(crate) id: Uuid,
    pub(crate) audience: Option<&'a str>,
    pub(crate) kind: &'a str,
    pub(crate) category: &'a str,
    pub(crate) content: &'a Content,
    pub(crate) expires_at: Option<Timestamp>,
}

/// Of announcement `a`, joined with `s`, what the user has done with it.
macro_rules! announced {
    () => {
        "a.number, coalesce(s.rev, 0), a.id, a.kind, a.category, a.content, a.created_at, a.expires_at, s.read_at, \
         s.seen_at, s.archived_at, s.snoozed_until, s.unread, coalesce(s.unseen, 0), coalesce(s.hidden, 0) \
         FROM campanile_inbox_users u JOIN campanile_inbox_announcements a ON a.app = u.app \
         LEFT JOIN campanile_inbox_announcement_states s ON s.user_id = u.id AND s.number = a.number"
    };
}
pub(crate) use announced;

/// The same for a user of whom nothing is known. `$1` is the app, `$2` the user.
macro_rules! announced_to_a_stranger {
    () => {
        "a.number, CAST(0 AS BIGINT), a.id, a.kind, a.category, a.content, a.created_at, a.expires_at, \
         CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), \
         CAST(NULL AS BIGINT), CAST(0 AS BIGINT), CAST(0 AS BIGINT) \
         FROM (SELECT CAST(0 AS BIGINT) AS id, CAST($1 AS TEXT) AS app, CAST($2 AS TEXT) AS name) AS u \
         JOIN campanile_inbox_announcements a ON a.app = u.app"
    };
}
pub(crate) use announced_to_a_stranger;

/// Reads a row of `announced!`.
pub(crate) fn read(row: &Row, user: &User) -> Result<Stored, Failure> {
    let created_at = row.moment(6)?;
    // One that was touched is what its state says; the floors are for the others.
    let touched = row.maybe_int(12)?;
    let (unread, unseen) = match touched {
        Some(unread) => Standing::dues(unread, row.int(13)?),
        None => (Due::AboveFloor, Due::AboveFloor),
    };
    Ok(Stored {
        is_announcement: true,
        seq: row.int(0)?,
        rev: row.int(1)?,
        id: id_of(&row.text(2)?)?,
        kind: row.text(3)?,
        category: row.text(4)?,
        content: serde_json::from_str(&row.text(5)?)?,
        digest: None,
        gathers: false,
        group_count: 1,
        created_at,
        updated_at: created_at,
        expires_at: row.maybe_moment(7)?,
        standing: Standing {
            unread,
            unseen,
            place: Place::of(row.int(14)?),
            read_at: row.maybe_moment(8)?,
            seen_at: row.maybe_moment(9)?,
            archived_at: row.maybe_moment(10)?,
            snoozed_until: row.maybe_moment(11)?,
        },
        floors: Floors {
            read: user.announced_read.up_to,
            read_at: user.announced_read.at,
            seen: user.announced_seen.up_to,
            seen_at: user.announced_seen.at,
        },
    })
}

/// Announces something, once. Says why not, if there are too many.
pub(crate) async fn announce(
    tx: &mut Tx,
    app: &str,
    announcement: &Announcement<'_>,
    terms: &Category,
) -> Result<Result<(), String>, Failure> {
    let (id, now) = (announcement.id.to_string(), tx.now);
    let make = sql!("INSERT INTO campanile_inbox_apps (app) VALUES ($1) ON CONFLICT (app) DO NOTHING");
    tx.execute(make, values![app]).await?;
    // The app's row is locked until the commit, so that the numbers are in the order of the commits.
    let next = sql!("UPDATE campanile_inbox_apps SET announced = announced + 1 WHERE app = $1 RETURNING announced");
    let there = sql!("SELECT number, created_at FROM campanile_inbox_announcements WHERE app = $1 AND id = $2");
    if let Some(row) = tx.row(there, values![app, &id]).await? {
        tell(tx, app, announcement, row.int(0)?, row.moment(1)?);
        return Ok(Ok(()));
    }
    let shown = sql!(
        "SELECT count(*) FROM campanile_inbox_announcements WHERE app = $1 AND (expires_at IS NULL OR expires_at > $2)"
    );
    let max = tx.settings.limits.announcements;
    if tx.number(shown, values![app, now]).await? >= i64::try_from(max).unwrap_or(i64::MAX) {
        return Ok(Err(format!(
            "{max} announcements are shown already, and no more may be: let some expire, then retry"
        )));
    }
    let number = tx.changing(next, values![app]).await?.first().map_or(Ok(0), |row| row.int(0))?;
    let wanted = match announcement.category {
        "" => 2,
        _ if terms.required.contains(&Channel::Inbox) => 2,
        _ => i64::from(terms.default.get(&Channel::Inbox).copied().unwrap_or(true)),
    };
    let content = serde_json::to_string(announcement.content)?;
    let insert = sql!(
        "INSERT INTO campanile_inbox_announcements (app, number, id, audience, kind, category, content, wanted, \
         created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
    );
    let written = values![
        app,
        number,
        &id,
        announcement.audience,
        announcement.kind,
        announcement.category,
        &content,
        wanted,
        now,
        announcement.expires_at,
    ];
    tx.execute(insert, written).await?;
    tell(tx, app, announcement, number, now);
    Ok(Ok(()))
}

fn tell(tx: &mut Tx, app: &str, announcement: &Announcement<'_>, number: i64, created_at: Timestamp) {
    let stored = Stored {
        is_announcement: true,
        seq: number,
        rev: 0,
        id: announcement.id,
        kind: announcement.kind.to_owned(),
        category: announcement.category.to_owned(),
        content: announcement.content.clone(),
        digest: None,
        gathers: false,
        group_count: 1,
        created_at,
        updated_at: created_at,
        expires_at: announcement.expires_at,
        standing: Standing::NEW,
        floors: Floors::default(),
    };
    tx.changes.push(Change::Announced {
        app: app.to_owned(),
        audience: announcement.audience.map(ToOwned::to_owned),
        notification: Box::new(stored.shown()),
    });
}

/// Takes an announcement back. That takes a number as well, so that whoever comes back learns of it.
pub(crate) async fn withdraw(tx: &mut Tx, app: &str, id: Uuid) -> Result<bool, Failure> {
    let text = id.to_string();
    let remove = sql!("DELETE FROM campanile_inbox_announcements WHERE app = $1 AND id = $2 RETURNING number");
    let removed = tx.changing(remove, values![app, &text]).await?;
    let Some(row) = removed.first() else { return Ok(false) };
    let (number, now) = (row.int(0)?, tx.now);
    let states = sql!(
        "DELETE FROM campanile_inbox_announcement_states WHERE number = $2 \
         AND user_id IN (SELECT id FROM campanile_inbox_users WHERE app = $1)"
    );
    tx.execute(states, values![app, number]).await?;
    let next = sql!("UPDATE campanile_inbox_apps SET announced = announced + 1 WHERE app = $1 RETURNING announced");
    let number = tx.changing(next, values![app]).await?.first().map_or(Ok(0), |row| row.int(0))?;
    let remember = sql!("INSERT INTO campanile_inbox_withdrawn (app, number, id, removed_at) VALUES ($1, $2, $3, $4)");
    tx.execute(remember, values![app, number, &text, now]).await?;
    tx.changes.push(Change::Reset { app: app.to_owned() });
    Ok(true)
}

/// An announcement that this user is shown.
pub(crate) async fn find(tx: &mut Tx, user: &User, id: Uuid) -> Result<Option<Stored>, Failure> {
    let (id, now) = (id.to_string(), tx.now);
    let row = if user.id == 0 {
        let find = sql!("SELECT ", announced_to_a_stranger!(), " WHERE a.id = $4 AND ", visible!());
        tx.row(find, values![&user.app, &user.name, now, &id]).await?
    } else {
        let find = sql!("SELECT ", announced!(), " WHERE u.app = $1 AND u.name = $2 AND a.id = $4 AND ", visible!());
        tx.row(find, values![&user.app, &user.name, now, &id]).await?
    };
    row.map(|row| read(&row, user)).transpose()
}

/// Marks an announcement, if this user is shown it.
pub(crate) async fn mark(tx: &mut Tx, app: &str, name: &str, id: Uuid, mark: Mark) -> Result<Option<Marked>, Failure> {
    let user = User::look_up(tx, app, name).await?;
    if find(tx, &user, id).await?.is_none() {
        return Ok(None);
    }
    let mut user = User::lock(tx, app, name).await?;
    let Some(mut stored) = find(tx, &user, id).await? else { return Ok(None) };
    let after = stored.standing.after(mark, stored.seq, stored.floors, tx.now);
    if after != stored.standing {
        let before = stored.standing.counts(stored.seq, stored.floors);
        user.move_announced_by(after.counts(stored.seq, stored.floors).from(before));
        stored.standing = after;
        stored.rev = user.next_rev();
        save(tx, &user, &stored).await?;
        user.save(tx).await?;
        tx.updated(app, name, user.state(), vec![id], false);
    }
    Ok(Some(Marked { notification: stored.shown(), state: user.state() }))
}

/// Writes what a user has done with an announcement. From now on no floor is asked about it.
pub(crate) async fn save(tx: &mut Tx, user: &User, stored: &Stored) -> Result<(), Failure> {
    let mut standing = stored.standing;
    let kept = |is_due: bool| if is_due { Due::Kept } else { Due::No };
    // What a floor said is written down with it.
    let read_at = standing.shown_read_at(stored.seq, stored.floors);
    let seen_at = standing.shown_seen_at(stored.seq, stored.floors);
    standing.unread = kept(standing.is_unread(stored.seq, stored.floors));
    standing.unseen = kept(standing.is_unseen(stored.seq, stored.floors));
    let (unread, unseen) = standing.written();
    let save = sql!(
        "INSERT INTO campanile_inbox_announcement_states (user_id, number, rev, read_at, seen_at, archived_at, \
         snoozed_until, unread, unseen, hidden) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
         ON CONFLICT (user_id, number) DO UPDATE SET rev = excluded.rev, read_at = excluded.read_at, \
         seen_at = excluded.seen_at, archived_at = excluded.archived_at, snoozed_until = excluded.snoozed_until, \
         unread = excluded.unread, unseen = excluded.unseen, hidden = excluded.hidden"
    );
    let written = values![
        user.id,
        stored.seq,
        stored.rev,
        read_at,
        seen_at,
        standing.archived_at,
        standing.snoozed_until,
        unread,
        unseen,
        standing.place.number(),
    ];
    tx.execute(save, written).await?;
    Ok(())
}

/// Marks those that were touched before, each by itself: the floor is for the others.
pub(crate) async fn touched_up_to(tx: &mut Tx, user: &mut User, mark: Mark, up_to: i64) -> Result<bool, Failure> {
    let touched = sql!(
        "SELECT ",
        announced!(),
        " WHERE u.app = $1 AND u.name = $2 AND s.number <= $3 AND (s.unread <> 0 OR s.unseen <> 0) ORDER BY a.number"
    );
    let found = tx.fetch(touched, values![&user.app, &user.name, up_to]).await?;
    mark_each(tx, user, &found, mark).await
}

async fn mark_each(tx: &mut Tx, user: &mut User, found: &[Row], mark: Mark) -> Result<bool, Failure> {
    let mut has_changed = false;
    for row in found {
        let mut stored = read(row, user)?;
        let after = stored.standing.after(mark, stored.seq, stored.floors, tx.now);
        if after == stored.standing {
            continue;
        }
        stored.standing = after;
        stored.rev = user.next_rev();
        save(tx, user, &stored).await?;
        has_changed = true;
    }
    Ok(has_changed)
}

/// Marks the announcements of one category as read, each by itself.
pub(crate) async fn read_of_category(
    tx: &mut Tx,
    user: &mut User,
    category: &str,
    up_to: i64,
) -> Result<bool, Failure> {
    let now = tx.now;
    let unread = sql!(
        "SELECT ",
        announced!(),
        " WHERE u.app = $1 AND u.name = $2 AND a.number <= $4 AND a.category = $5 AND ",
        visible!(),
        " ORDER BY a.number"
    );
    let found = tx.fetch(unread, values![&user.app, &user.name, now, up_to, category]).await?;
    mark_each(tx, user, &found, Mark::Read).await
}
