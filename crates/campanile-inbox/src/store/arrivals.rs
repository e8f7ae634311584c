//! A notification comes into an inbox, and goes from it.
//!
//! Owns the insert, the gathering of digests, and the tombstones. Never decides whether a user wants it. The invariant: a
//! number is given only to a row that is there, so the numbers have no gaps (I19).

use uuid::Uuid;

use crate::clock::Timestamp;
use crate::draft::{Capture, Captured};
use crate::mark::{Delta, Due};
use crate::preferences::{Category, Channel};
use crate::store::connection::{Failure, values};
use crate::store::rows::{self, Content, Stored, id_of, own};
use crate::store::sql::sql;
use crate::store::tx::Tx;
use crate::store::users::User;
use crate::store::{deliveries, preferences};

/// What comes in.
#[derive(Debug)]
pub(crate) struct Arrival<'a> {
    pub(crate) id: Uuid,
    pub(crate) kind: &'a str,
    pub(crate) category: &'a str,
    pub(crate) content: &'a Content,
    pub(crate) digest: Option<&'a str>,
    pub(crate) expires_at: Option<Timestamp>,
}

/// What became of it.
#[derive(Debug)]
pub(crate) enum Stowed {
    /// It is a row of its own, or was gathered into one that is unread.
    New(Stored),
    /// It was there before.
    Known(Stored),
    /// It was gathered into a row that has gone since.
    Gone,
}

/// Puts it into the inbox of a user whose row is locked, and is still to be saved.
pub(crate) async fn stow(tx: &mut Tx, user: &mut User, arrival: &Arrival<'_>) -> Result<Stowed, Failure> {
    if let Some(digest) = arrival.digest
        && let Some(stowed) = gather(tx, user, arrival, digest).await?
    {
        return Ok(stowed);
    }
    let (seq, rev, now) = (user.seq + 1, user.rev + 1, tx.now);
    let (id, content) = (arrival.id.to_string(), serde_json::to_string(arrival.content)?);
    let insert = sql!(
        "INSERT INTO campanile_inbox_notifications (user_id, seq, rev, id, kind, category, content, digest, \
         open_digest, group_count, created_at, updated_at, expires_at, unread, unseen, hidden, kept) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8, 1, $9, $9, $10, 1, 1, 0, 0) ON CONFLICT (id, user_id) DO NOTHING"
    );
    let written = values![
        user.id,
        seq,
        rev,
        &id,
        arrival.kind,
        arrival.category,
        &content,
        arrival.digest,
        now,
        arrival.expires_at,
    ];
    if tx.execute(insert, written).await? == 0 {
        let known = rows::find(tx, user, arrival.id).await?;
        return Ok(known.map_or(Stowed::Gone, Stowed::Known));
    }
    (user.seq, user.rev) = (seq, rev);
    user.move_by(Delta { unread: 1, unseen: 1 });
    Ok(Stowed::New(Stored {
        is_announcement: false,
        seq,
        rev,
        id: arrival.id,
        kind: arrival.kind.to_owned(),
        category: arrival.category.to_owned(),
        content: arrival.content.clone(),
        digest: arrival.digest.map(ToOwned::to_owned),
        gathers: true,
        group_count: 1,
        created_at: now,
        updated_at: now,
        expires_at: arrival.expires_at,
        standing: crate::mark::Standing::NEW,
        floors: crate::mark::Floors::default(),
    }))
}

/// Gathers it into the unread one of its group, if there is one.
async fn gather(tx: &mut Tx, user: &mut User, arrival: &Arrival<'_>, digest: &str) -> Result<Option<Stowed>, Failure> {
    let id = arrival.id.to_string();
    let before = sql!("SELECT row_id FROM campanile_inbox_digested WHERE id = $1 AND user_id = $2");
    if let Some(row) = tx.row(before, values![&id, user.id]).await? {
        let gathered = rows::find(tx, user, id_of(&row.text(0)?)?).await?;
        return Ok(Some(gathered.map_or(Stowed::Gone, Stowed::Known)));
    }
    let open = sql!("SELECT ", own!(), " WHERE n.user_id = $1 AND n.open_digest = $2");
    let Some(row) = tx.row(open, values![user.id, digest]).await? else { return Ok(None) };
    let mut stored = rows::read(&row, user)?;
    if stored.id == arrival.id {
        return Ok(Some(Stowed::Known(stored)));
    }
    let before = stored.standing.counts(stored.seq, stored.floors);
    if before.unread == 0 {
        // It was read at a stroke, which told no row. From now on it gathers no more.
        let close = sql!("UPDATE campanile_inbox_notifications SET open_digest = NULL WHERE user_id = $1 AND seq = $2");
        tx.execute(close, values![user.id, stored.seq]).await?;
        return Ok(None);
    }
    stored.standing.unseen = stored.standing.anew(stored.seq, stored.floors).unseen;
    stored.standing.seen_at = None;
    user.move_by(stored.standing.counts(stored.seq, stored.floors).from(before));
    stored.rev = user.next_rev();
    stored.group_count += 1;
    stored.content = arrival.content.clone();
    stored.kind = arrival.kind.to_owned();
    stored.updated_at = tx.now;
    stored.expires_at = stored.expires_at.and_then(|expires_at| arrival.expires_at.map(|later| later.max(expires_at)));
    rows::save(tx, user, &stored).await?;
    let (row_id, content, now) = (stored.id.to_string(), serde_json::to_string(&stored.content)?, tx.now);
    let say = sql!(
        "UPDATE campanile_inbox_notifications SET content = $3, kind = $4, group_count = $5, updated_at = $6, \
         expires_at = $7 WHERE user_id = $1 AND seq = $2"
    );
    let said = values![user.id, stored.seq, &content, arrival.kind, stored.group_count, now, stored.expires_at];
    tx.execute(say, said).await?;
    let note = sql!("INSERT INTO campanile_inbox_digested (id, user_id, row_id) VALUES ($1, $2, $3)");
    tx.execute(note, values![&id, user.id, &row_id]).await?;
    Ok(Some(Stowed::New(stored)))
}

/// Takes a row out of the inbox of a user whose row is locked, and is still to be saved.
pub(crate) async fn remove(tx: &mut Tx, user: &mut User, stored: &Stored) -> Result<(), Failure> {
    let counted = stored.standing.counts(stored.seq, stored.floors);
    let remove = sql!("DELETE FROM campanile_inbox_notifications WHERE user_id = $1 AND seq = $2");
    tx.execute(remove, values![user.id, stored.seq]).await?;
    user.move_by(Delta::default().from(counted));
    let (rev, id, now) = (user.next_rev(), stored.id.to_string(), tx.now);
    let remember =
        sql!("INSERT INTO campanile_inbox_tombstones (user_id, rev, id, removed_at) VALUES ($1, $2, $3, $4)");
    tx.execute(remember, values![user.id, rev, &id, now]).await?;
    let forget = sql!("DELETE FROM campanile_inbox_digested WHERE user_id = $1 AND row_id = $2");
    tx.execute(forget, values![user.id, &id]).await?;
    deliveries::drop_waiting(tx, user.id, stored.seq).await
}

/// Takes a notification out of every inbox that it has reached, and says of how many.
pub(crate) async fn retract(tx: &mut Tx, app: &str, id: Uuid) -> Result<u64, Failure> {
    let text = id.to_string();
    let reached = sql!(
        "SELECT u.name, r.row_id FROM (SELECT user_id, id AS row_id FROM campanile_inbox_notifications WHERE id = $2 \
         UNION ALL SELECT user_id, row_id FROM campanile_inbox_digested WHERE id = $2) AS r \
         JOIN campanile_inbox_users u ON u.id = r.user_id WHERE u.app = $1"
    );
    let mut names = Vec::new();
    for row in tx.fetch(reached, values![app, &text]).await? {
        names.push((row.text(0)?, id_of(&row.text(1)?)?));
    }
    // Everybody who locks several users locks them in this order.
    names.sort_unstable();
    let mut retracted = 0;
    for (name, row_id) in names {
        let Some(mut user) = User::lock_known(tx, app, &name).await? else { continue };
        let Some(mut stored) = rows::find(tx, &user, row_id).await? else { continue };
        if stored.group_count > 1 {
            // The others that were gathered stay. What it said last stays as well: no older text is kept.
            stored.group_count -= 1;
            stored.rev = user.next_rev();
            let fewer = sql!(
                "UPDATE campanile_inbox_notifications SET group_count = $3, rev = $4 WHERE user_id = $1 AND seq = $2"
            );
            tx.execute(fewer, values![user.id, stored.seq, stored.group_count, stored.rev]).await?;
            let forget = sql!("DELETE FROM campanile_inbox_digested WHERE id = $1 AND user_id = $2");
            tx.execute(forget, values![&text, user.id]).await?;
        } else {
            remove(tx, &mut user, &stored).await?;
        }
        user.save(tx).await?;
        tx.updated(app, &name, user.state(), vec![row_id], false);
        retracted += 1;
    }
    deliveries::drop_waiting_of(tx, app, id).await?;
    Ok(retracted)
}

/// Stages A and B at once, for one user. The notification's id is its key.
pub(crate) async fn capture(tx: &mut Tx, app: &str, captured: &Captured) -> Result<Capture, Failure> {
    let terms = match &captured.category {
        Some(category) => preferences::terms(tx, app, category).await?,
        None => Category::default(),
    };
    let mut user = User::lock(tx, app, &captured.user).await?;
    if let Some(category) = &captured.category
        && !terms.allows(Channel::Inbox, &preferences::choices(tx, user.id, category).await?)
    {
        deliveries::suppress(tx, &user, captured.id, &captured.kind, Channel::Inbox, "preference").await?;
        return Ok(Capture::Suppressed);
    }
    let content = Content::captured(captured);
    let arrival = Arrival {
        id: captured.id,
        kind: &captured.kind,
        category: captured.category.as_deref().unwrap_or(""),
        content: &content,
        digest: None,
        expires_at: None,
    };
    let stored = match stow(tx, &mut user, &arrival).await? {
        Stowed::New(stored) => stored,
        Stowed::Known(_) | Stowed::Gone => return Ok(Capture::Duplicate),
    };
    user.save(tx).await?;
    let (seq, state) = (stored.seq, user.state());
    tx.changes.push(crate::changes::Change::Arrived {
        app: app.to_owned(),
        user: captured.user.clone(),
        notification: Box::new(stored.shown()),
        state,
        captured: true,
        broadcast: true,
        beyond: false,
    });
    Ok(Capture::Stored { seq, state })
}

/// Whether a mark has to be followed by more than its own row: what was waiting to be sent is not needed any more.
pub(crate) fn is_taken(stored: &Stored) -> bool {
    stored.standing.unseen == Due::No || !stored.standing.is_unseen(stored.seq, stored.floors)
}
