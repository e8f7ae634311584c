//! What users do with their notifications, as transactions.
//!
//! Owns single marks and marks at a stroke. Never decides what a mark does: [`crate::mark`] does. The invariant: each
//! change takes one `rev`, and what changes nothing takes none.

use uuid::Uuid;

use crate::clock::Timestamp;
use crate::error::{InboxError, Mistake, Thing};
use crate::mark::{Mark, Marked};
use crate::notification::State;
use crate::settings::{CHUNK_ROWS, PLANNED_MAX};
use crate::store::connection::{Failure, values};
use crate::store::rows::{self, own};
use crate::store::sql::sql;
use crate::store::tx::Tx;
use crate::store::users::User;
use crate::store::{announcements, arrivals, deliveries};

pub(crate) async fn mark(tx: &mut Tx, app: &str, name: &str, id: Uuid, mark: Mark) -> Result<Marked, Failure> {
    if let Mark::Snooze(until) = mark {
        let latest = tx.now.plus(PLANNED_MAX);
        if until <= tx.now || until > latest {
            let message = format!("it is {} now: snooze until later, and not beyond {latest}", tx.now);
            return Err(Mistake::new("bad_until", "/until", message).into());
        }
    }
    if let Some(mut user) = User::lock_known(tx, app, name).await?
        && let Some(mut stored) = rows::find(tx, &user, id).await?
    {
        let after = stored.standing.after(mark, stored.seq, stored.floors, tx.now);
        if after != stored.standing {
            let before = stored.standing.counts(stored.seq, stored.floors);
            stored.standing = after;
            stored.rev = user.next_rev();
            user.move_by(after.counts(stored.seq, stored.floors).from(before));
            rows::save(tx, &user, &stored).await?;
            user.save(tx).await?;
            if arrivals::is_taken(&stored) || mark == Mark::Archive {
                deliveries::take(tx, user.id, stored.seq).await?;
            }
            tx.updated(app, name, user.state(), vec![id], false);
        }
        return Ok(Marked { notification: stored.shown(), state: user.state() });
    }
    let marked = announcements::mark(tx, app, name, id, mark).await?;
    marked.ok_or_else(|| InboxError::Unknown(Thing::Notification).into())
}

pub(crate) async fn seen_ids(tx: &mut Tx, app: &str, name: &str, ids: &[Uuid]) -> Result<State, Failure> {
    let Some(mut user) = User::lock_known(tx, app, name).await? else {
        for id in ids {
            announcements::mark(tx, app, name, *id, Mark::Seen).await?;
        }
        return Ok(User::look_up(tx, app, name).await?.state());
    };
    let mut changed = Vec::new();
    let mut others = Vec::new();
    for id in ids {
        let Some(mut stored) = rows::find(tx, &user, *id).await? else {
            others.push(*id);
            continue;
        };
        let after = stored.standing.after(Mark::Seen, stored.seq, stored.floors, tx.now);
        if after == stored.standing {
            continue;
        }
        let before = stored.standing.counts(stored.seq, stored.floors);
        stored.standing = after;
        stored.rev = user.next_rev();
        user.move_by(after.counts(stored.seq, stored.floors).from(before));
        rows::save(tx, &user, &stored).await?;
        deliveries::take(tx, user.id, stored.seq).await?;
        changed.push(*id);
    }
    if !changed.is_empty() {
        user.save(tx).await?;
        tx.updated(app, name, user.state(), changed, false);
    }
    for id in others {
        announcements::mark(tx, app, name, id, Mark::Seen).await?;
    }
    Ok(User::look_up(tx, app, name).await?.state())
}

/// Which marks at a stroke.
#[derive(Debug, Clone)]
pub(crate) struct Stroke {
    pub(crate) is_read: bool,
    pub(crate) up_to_seq: i64,
    pub(crate) up_to_announced: Option<i64>,
    pub(crate) category: Option<String>,
}

pub(crate) async fn at_a_stroke(tx: &mut Tx, app: &str, name: &str, stroke: &Stroke) -> Result<State, Failure> {
    let mut user = match User::lock_known(tx, app, name).await? {
        Some(user) => user,
        // Announcements may be all there is.
        None if stroke.up_to_announced.is_some_and(|up_to| up_to > 0) => User::lock(tx, app, name).await?,
        None => return Ok(User::look_up(tx, app, name).await?.state()),
    };
    // What comes in meanwhile stays as it is, whatever number the client has made up.
    let up_to = stroke.up_to_seq.clamp(0, user.seq);
    let announced = stroke.up_to_announced.map(|up_to| up_to.clamp(0, user.announced));
    let mark = if stroke.is_read { Mark::Read } else { Mark::Seen };
    let mut has_changed = mark_kept(tx, &mut user, stroke.category.as_deref(), up_to, mark).await?;
    match (&stroke.category, announced) {
        (None, Some(announced)) => {
            has_changed |= announcements::touched_up_to(tx, &mut user, mark, announced).await?;
        }
        (Some(category), Some(announced)) => {
            has_changed |= announcements::read_of_category(tx, &mut user, category, announced).await?;
        }
        (_, None) => {}
    }
    // The floors come last: what has a lower rev, and is not above them, is covered.
    has_changed |= match &stroke.category {
        None => raise(&mut user, stroke.is_read, up_to, announced, tx.now),
        Some(category) => raise_of_category(tx, &mut user, category, up_to).await?,
    };
    if !has_changed {
        return Ok(user.state());
    }
    user.recount(tx).await?;
    user.save(tx).await?;
    match &stroke.category {
        None => deliveries::take_up_to(tx, user.id, up_to).await?,
        Some(category) => deliveries::take_category_up_to(tx, user.id, category, up_to).await?,
    };
    let state = User::look_up(tx, app, name).await?.state();
    tx.updated(app, name, state, Vec::new(), true);
    Ok(state)
}

/// Marks, each by itself, the few that a floor has not covered: those that were marked as unread below one, or came back.
async fn mark_kept(
    tx: &mut Tx,
    user: &mut User,
    category: Option<&str>,
    up_to: i64,
    mark: Mark,
) -> Result<bool, Failure> {
    let kept = sql!(
        "SELECT ",
        own!(),
        " WHERE n.user_id = $1 AND n.kept = 1 AND n.seq <= $2 AND (CAST($3 AS TEXT) IS NULL OR n.category = $3) \
         ORDER BY n.seq"
    );
    let mut has_changed = false;
    for row in tx.fetch(kept, values![user.id, up_to, category]).await? {
        let mut stored = rows::read(&row, user)?;
        let after = stored.standing.after(mark, stored.seq, stored.floors, tx.now);
        if after != stored.standing {
            stored.standing = after;
            stored.rev = user.next_rev();
            rows::save(tx, user, &stored).await?;
            has_changed = true;
        }
    }
    Ok(has_changed)
}

/// Raises the user's own floors, all by one change. Says whether one has risen.
fn raise(user: &mut User, is_read: bool, up_to: i64, announced: Option<i64>, now: Timestamp) -> bool {
    let rev = user.rev + 1;
    let mut has_risen = user.seen.rise(up_to, now, rev);
    if is_read {
        has_risen |= user.read.rise(up_to, now, rev);
    }
    if let Some(announced) = announced {
        has_risen |= user.announced_seen.rise(announced, now, rev);
        if is_read {
            has_risen |= user.announced_read.rise(announced, now, rev);
        }
    }
    if has_risen {
        user.rev = rev;
    }
    has_risen
}

async fn raise_of_category(tx: &mut Tx, user: &mut User, category: &str, up_to: i64) -> Result<bool, Failure> {
    let floor = sql!("SELECT read_floor FROM campanile_inbox_floors WHERE user_id = $1 AND category = $2");
    let floor = tx.number(floor, values![user.id, category]).await?.max(user.read.up_to);
    if up_to <= floor {
        return Ok(false);
    }
    let (rev, now) = (user.next_rev(), tx.now);
    let raise = sql!(
        "INSERT INTO campanile_inbox_floors (user_id, category, read_floor, floor_at, rev) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (user_id, category) DO UPDATE SET read_floor = excluded.read_floor, \
         floor_at = excluded.floor_at, rev = excluded.rev"
    );
    tx.execute(raise, values![user.id, category, up_to, now, rev]).await?;
    Ok(true)
}

/// Archives what is read, and says whether there is more of it.
pub(crate) async fn archive_read(tx: &mut Tx, app: &str, name: &str, up_to_seq: i64) -> Result<(State, bool), Failure> {
    let Some(mut user) = User::lock_known(tx, app, name).await? else {
        return Ok((User::look_up(tx, app, name).await?.state(), false));
    };
    let limit = i64::try_from(CHUNK_ROWS).unwrap_or(i64::MAX);
    let read = sql!(
        "SELECT ",
        own!(),
        " WHERE n.user_id = $1 AND n.hidden = 0 AND n.seq <= $2 AND (n.unread = 0 OR (n.unread = 1 \
         AND (n.seq <= $3 OR n.seq <= coalesce(f.read_floor, 0)))) ORDER BY n.seq LIMIT $4"
    );
    let found = tx.fetch(read, values![user.id, up_to_seq, user.read.up_to, limit]).await?;
    let mut changed = Vec::new();
    for row in &found {
        let mut stored = rows::read(row, &user)?;
        let before = stored.standing.counts(stored.seq, stored.floors);
        stored.standing = stored.standing.after(Mark::Archive, stored.seq, stored.floors, tx.now);
        stored.rev = user.next_rev();
        user.move_by(stored.standing.counts(stored.seq, stored.floors).from(before));
        rows::save(tx, &user, &stored).await?;
        changed.push(stored.id);
    }
    if !changed.is_empty() {
        user.save(tx).await?;
        tx.updated(app, name, user.state(), changed, false);
    }
    Ok((user.state(), found.len() == CHUNK_ROWS))
}
