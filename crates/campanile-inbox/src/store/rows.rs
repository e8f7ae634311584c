//! One stored notification, as a row and as its user sees it.
//!
//! Owns the reading and writing of that row. Never moves a count. The invariant: what a row says of itself is always seen
//! through its user's floors. Read on in [`super::arrivals`] and [`super::marks`].

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::draft::{Captured, Draft};
use crate::mark::{Floors, Place, Standing};
use crate::notification::{Action, Notification, Subject};
use crate::store::connection::{Failure, Row, values};
use crate::store::sql::sql;
use crate::store::tx::Tx;
use crate::store::users::User;

/// What a notification says, in one column: nobody looks for anything in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Content {
    pub(crate) title: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) action_url: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) actions: Vec<Action>,
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub(crate) data: serde_json::Map<String, serde_json::Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<Subject>,
}

impl Content {
    pub(crate) fn of(draft: &Draft) -> Self {
        Self {
            title: draft.title.clone(),
            body: draft.body.clone(),
            action_url: draft.action_url.clone(),
            actions: draft.actions.clone(),
            data: draft.data.clone().unwrap_or_default(),
            subject: draft.subject.clone(),
        }
    }

    pub(crate) fn captured(captured: &Captured) -> Self {
        Self {
            title: captured.title.clone(),
            body: captured.body.clone(),
            action_url: captured.action_url.clone(),
            actions: Vec::new(),
            data: captured.data.clone(),
            subject: None,
        }
    }
}

/// A row: a user's own, or an announcement as one user sees it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Stored {
    pub(crate) is_announcement: bool,
    pub(crate) seq: i64,
    pub(crate) rev: i64,
    pub(crate) id: Uuid,
    pub(crate) kind: String,
    /// Empty if it has none.
    pub(crate) category: String,
    pub(crate) content: Content,
    pub(crate) digest: Option<String>,
    /// Whether it was open and unread when it was looked up. Once it is not, it gathers no more.
    pub(crate) gathers: bool,
    pub(crate) group_count: i64,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) standing: Standing,
    pub(crate) floors: Floors,
}

impl Stored {
    /// As the user sees it.
    pub(crate) fn shown(self) -> Notification {
        let (standing, floors) = (self.standing, self.floors);
        Notification {
            id: self.id,
            seq: self.seq,
            rev: self.rev,
            announcement: self.is_announcement,
            kind: self.kind,
            category: (!self.category.is_empty()).then_some(self.category),
            title: self.content.title,
            body: self.content.body,
            action_url: self.content.action_url,
            actions: self.content.actions,
            data: self.content.data.into(),
            subject: self.content.subject,
            group: self.digest,
            group_count: self.group_count,
            created_at: self.created_at,
            updated_at: self.updated_at,
            read_at: standing.shown_read_at(self.seq, floors),
            seen_at: standing.shown_seen_at(self.seq, floors),
            archived_at: standing.archived_at,
            snoozed_until: standing.snoozed_until,
            expires_at: self.expires_at,
        }
    }
}

/// Of a user's own notification `n`, joined with `f`, its category's floor.
macro_rules! own {
    () => {
        own!("")
    };
    ($index:literal) => {
        concat!(
            "n.seq, n.rev, n.id, n.kind, n.category, n.content, n.digest, n.group_count, n.created_at, n.updated_at, \
             n.expires_at, n.read_at, n.seen_at, n.archived_at, n.snoozed_until, n.unread, n.unseen, n.hidden, \
             coalesce(f.read_floor, 0), coalesce(f.floor_at, 0) FROM campanile_inbox_notifications n ",
            $index,
            " LEFT JOIN campanile_inbox_floors f ON f.user_id = n.user_id AND f.category = n.category"
        )
    };
}
pub(crate) use own;

pub(crate) fn id_of(text: &str) -> Result<Uuid, Failure> {
    text.parse().map_err(|_| Failure::Broken(format!("a stored id is not one: {text:?}")))
}

/// Reads a row of `own!`.
pub(crate) fn read(row: &Row, user: &User) -> Result<Stored, Failure> {
    let (unread, unseen) = Standing::dues(row.int(15)?, row.int(16)?);
    let category_floor = row.int(18)?;
    let seq = row.int(0)?;
    let standing = Standing {
        unread,
        unseen,
        place: Place::of(row.int(17)?),
        read_at: row.maybe_moment(11)?,
        seen_at: row.maybe_moment(12)?,
        archived_at: row.maybe_moment(13)?,
        snoozed_until: row.maybe_moment(14)?,
    };
    let read_at = if category_floor > user.read.up_to { row.int(19)? } else { user.read.at };
    let floors =
        Floors { read: category_floor.max(user.read.up_to), read_at, seen: user.seen.up_to, seen_at: user.seen.at };
    Ok(Stored {
        is_announcement: false,
        seq,
        rev: row.int(1)?,
        id: id_of(&row.text(2)?)?,
        kind: row.text(3)?,
        category: row.text(4)?,
        content: serde_json::from_str(&row.text(5)?)?,
        digest: row.maybe_text(6)?,
        gathers: standing.counts(seq, floors).unread > 0,
        group_count: row.int(7)?,
        created_at: row.moment(8)?,
        updated_at: row.moment(9)?,
        expires_at: row.maybe_moment(10)?,
        standing,
        floors,
    })
}

/// A user's own notification.
pub(crate) async fn find(tx: &mut Tx, user: &User, id: Uuid) -> Result<Option<Stored>, Failure> {
    let find = sql!("SELECT ", own!(), " WHERE n.id = $2 AND n.user_id = $1");
    let id = id.to_string();
    tx.row(find, values![user.id, &id]).await?.map(|row| read(&row, user)).transpose()
}

/// Writes what marks have changed.
pub(crate) async fn save(tx: &mut Tx, user: &User, stored: &Stored) -> Result<(), Failure> {
    let save = sql!(
        "UPDATE campanile_inbox_notifications SET rev = $3, read_at = $4, seen_at = $5, archived_at = $6, \
         snoozed_until = $7, unread = $8, unseen = $9, hidden = $10, kept = $11, \
         open_digest = CASE WHEN $12 = 1 THEN open_digest END WHERE user_id = $1 AND seq = $2"
    );
    let standing = stored.standing;
    let (unread, unseen) = standing.written();
    let gathers = stored.gathers && standing.counts(stored.seq, stored.floors).unread > 0;
    let written = values![
        user.id,
        stored.seq,
        stored.rev,
        standing.read_at,
        standing.seen_at,
        standing.archived_at,
        standing.snoozed_until,
        unread,
        unseen,
        standing.place.number(),
        i64::from(standing.is_kept()),
        i64::from(gathers),
    ];
    tx.execute(save, written).await?;
    Ok(())
}

/// A list of texts, in one value.
pub(crate) fn list<T: Serialize>(texts: &[T]) -> String {
    serde_json::to_string(texts).expect("texts and numbers can always be serialised")
}
