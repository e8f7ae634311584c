//! One user's numbers and counts, under the lock of their row.
//!
//! Owns the users' table. Never counts notifications: who changes one says by how much. The invariant: whoever changes an
//! inbox holds its user's row until the commit, so the order of the commits is that of `seq` and `rev`.

use crate::mark::Delta;
use crate::notification::State;
use crate::store::connection::{Failure, Row, values};
use crate::store::sql::{Statement, sql};
use crate::store::tx::Tx;

/// Up to where something was marked at a stroke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Stroked {
    pub(crate) up_to: i64,
    pub(crate) at: i64,
    pub(crate) rev: i64,
}

impl Stroked {
    fn of(row: &Row, at: usize) -> Result<Self, sqlx::Error> {
        Ok(Self { up_to: row.int(at)?, at: row.int(at + 1)?, rev: row.int(at + 2)? })
    }

    /// Rises, if that is a rise.
    pub(crate) fn rise(&mut self, up_to: i64, at: crate::Timestamp, rev: i64) -> bool {
        let rises = up_to > self.up_to;
        if rises {
            *self = Self { up_to, at: at.millis(), rev };
        }
        rises
    }
}

/// A user's row, and what the announcements add.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    /// 0 for one of whom nothing is known.
    pub(crate) id: i64,
    pub(crate) app: String,
    pub(crate) name: String,
    pub(crate) seq: i64,
    pub(crate) rev: i64,
    pub(crate) unread: i64,
    pub(crate) unseen: i64,
    pub(crate) read: Stroked,
    pub(crate) seen: Stroked,
    pub(crate) announced_read: Stroked,
    pub(crate) announced_seen: Stroked,
    pub(crate) forgotten_rev: i64,
    pub(crate) announced: i64,
    pub(crate) announced_forgotten: i64,
    announced_unread: i64,
    announced_unseen: i64,
}

/// Whether user `u` is shown announcement `a`. `$3` is now.
macro_rules! visible {
    () => {
        "a.app = u.app AND (a.expires_at IS NULL OR a.expires_at > $3) \
         AND (a.audience IS NULL OR EXISTS (SELECT 1 FROM campanile_inbox_members m WHERE m.app = a.app \
         AND m.audience = a.audience AND m.name = u.name AND m.joined < a.number)) \
         AND (a.wanted = 2 OR coalesce((SELECT p.is_on FROM campanile_inbox_preferences p WHERE p.user_id = u.id \
         AND p.category = a.category AND p.channel = 'inbox'), a.wanted) = 1)"
    };
}
pub(crate) use visible;

macro_rules! columns {
    () => {
        concat!(
            "u.id, u.app, u.name, u.seq, u.rev, u.unread, u.unseen, u.read_floor, u.read_floor_at, u.read_floor_rev, \
             u.seen_floor, u.seen_floor_at, u.seen_floor_rev, u.announced_read_floor, u.announced_read_floor_at, \
             u.announced_read_floor_rev, u.announced_seen_floor, u.announced_seen_floor_at, \
             u.announced_seen_floor_rev, u.forgotten_rev, \
             coalesce((SELECT announced FROM campanile_inbox_apps WHERE app = u.app), 0), \
             coalesce((SELECT forgotten FROM campanile_inbox_apps WHERE app = u.app), 0), \
             (SELECT count(*) FROM campanile_inbox_announcements a WHERE a.number > u.announced_read_floor AND ",
            visible!(),
            " AND NOT EXISTS (SELECT 1 FROM campanile_inbox_announcement_states s WHERE s.user_id = u.id \
             AND s.number = a.number)) + (SELECT count(*) FROM campanile_inbox_announcement_states s \
             JOIN campanile_inbox_announcements a ON a.number = s.number WHERE s.user_id = u.id AND s.unread > 0 AND ",
            visible!(),
            "), (SELECT count(*) FROM campanile_inbox_announcements a WHERE a.number > u.announced_seen_floor AND ",
            visible!(),
            " AND NOT EXISTS (SELECT 1 FROM campanile_inbox_announcement_states s WHERE s.user_id = u.id \
             AND s.number = a.number)) + (SELECT count(*) FROM campanile_inbox_announcement_states s \
             JOIN campanile_inbox_announcements a ON a.number = s.number WHERE s.user_id = u.id AND s.unseen > 0 AND ",
            visible!(),
            ")"
        )
    };
}

/// How a user is found. For the tests, which prove that it scans nothing.
pub(crate) fn find_statement() -> &'static Statement {
    sql!("SELECT ", columns!(), " FROM campanile_inbox_users u WHERE u.app = $1 AND u.name = $2")
}

/// How rows are counted after a mark at a stroke: above the floor, and the few that are kept below it.
pub(crate) fn count_statement(is_unread: bool) -> &'static Statement {
    if is_unread {
        sql!(
            "SELECT (SELECT count(*) FROM campanile_inbox_notifications n {unread index} LEFT JOIN campanile_inbox_floors f \
             ON f.user_id = n.user_id AND f.category = n.category WHERE n.user_id = $1 AND n.unread > 0 AND n.seq > $2 \
             AND (n.unread = 2 OR n.seq > coalesce(f.read_floor, 0))) \
             + (SELECT count(*) FROM campanile_inbox_notifications n WHERE n.user_id = $1 AND n.kept = 1 \
             AND n.unread = 2 AND n.seq <= $2)"
        )
    } else {
        sql!(
            "SELECT (SELECT count(*) FROM campanile_inbox_notifications n {unseen index} LEFT JOIN campanile_inbox_floors f \
             ON f.user_id = n.user_id AND f.category = n.category WHERE n.user_id = $1 AND n.unseen > 0 AND n.seq > $2 \
             AND (n.unseen = 2 OR n.seq > coalesce(f.read_floor, 0))) \
             + (SELECT count(*) FROM campanile_inbox_notifications n WHERE n.user_id = $1 AND n.kept = 1 \
             AND n.unseen = 2 AND n.seq <= $2)"
        )
    }
}

fn user(row: &Row) -> Result<User, sqlx::Error> {
    Ok(User {
        id: row.int(0)?,
        app: row.text(1)?,
        name: row.text(2)?,
        seq: row.int(3)?,
        rev: row.int(4)?,
        unread: row.int(5)?,
        unseen: row.int(6)?,
        read: Stroked::of(row, 7)?,
        seen: Stroked::of(row, 10)?,
        announced_read: Stroked::of(row, 13)?,
        announced_seen: Stroked::of(row, 16)?,
        forgotten_rev: row.int(19)?,
        announced: row.int(20)?,
        announced_forgotten: row.int(21)?,
        announced_unread: row.int(22)?,
        announced_unseen: row.int(23)?,
    })
}

impl User {
    /// Looks a user up without locking; one of whom nothing is known has the announcements alone.
    pub(crate) async fn look_up(tx: &mut Tx, app: &str, name: &str) -> Result<Self, Failure> {
        let now = tx.now;
        if let Some(row) = tx.row(find_statement(), values![app, name, now]).await? {
            return Ok(user(&row)?);
        }
        let blank = sql!(
            "SELECT ",
            columns!(),
            " FROM (SELECT CAST(0 AS BIGINT) AS id, CAST($1 AS TEXT) AS app, CAST($2 AS TEXT) AS name, \
             CAST(0 AS BIGINT) AS seq, CAST(0 AS BIGINT) AS rev, CAST(0 AS BIGINT) AS unread, \
             CAST(0 AS BIGINT) AS unseen, \
             CAST(0 AS BIGINT) AS read_floor, CAST(0 AS BIGINT) AS read_floor_at, \
             CAST(0 AS BIGINT) AS read_floor_rev, CAST(0 AS BIGINT) AS seen_floor, \
             CAST(0 AS BIGINT) AS seen_floor_at, CAST(0 AS BIGINT) AS seen_floor_rev, \
             CAST(0 AS BIGINT) AS announced_read_floor, CAST(0 AS BIGINT) AS announced_read_floor_at, \
             CAST(0 AS BIGINT) AS announced_read_floor_rev, CAST(0 AS BIGINT) AS announced_seen_floor, \
             CAST(0 AS BIGINT) AS announced_seen_floor_at, CAST(0 AS BIGINT) AS announced_seen_floor_rev, \
             CAST(0 AS BIGINT) AS forgotten_rev) AS u"
        );
        let row = tx.row(blank, values![app, name, now]).await?;
        Ok(user(&row.ok_or_else(|| Failure::Broken("one row was asked for, and none came".to_owned()))?)?)
    }

    /// Locks a user's row, if there is one.
    pub(crate) async fn lock_known(tx: &mut Tx, app: &str, name: &str) -> Result<Option<Self>, Failure> {
        let now = tx.now;
        let lock =
            sql!("SELECT ", columns!(), " FROM campanile_inbox_users u WHERE u.app = $1 AND u.name = $2 {for update}");
        Ok(tx.row(lock, values![app, name, now]).await?.map(|row| user(&row)).transpose()?)
    }

    /// Locks a user's row, which is made where there is none.
    pub(crate) async fn lock(tx: &mut Tx, app: &str, name: &str) -> Result<Self, Failure> {
        if let Some(user) = Self::lock_known(tx, app, name).await? {
            return Ok(user);
        }
        let make =
            sql!("INSERT INTO campanile_inbox_users (app, name) VALUES ($1, $2) ON CONFLICT (app, name) DO NOTHING");
        tx.execute(make, values![app, name]).await?;
        let user = Self::lock_known(tx, app, name).await?;
        user.ok_or_else(|| Failure::Broken("a user was made, and is not there".to_owned()))
    }

    /// The names of a user whose number is known.
    pub(crate) async fn name_of(tx: &mut Tx, id: i64) -> Result<Option<(String, String)>, Failure> {
        let row = tx.row(sql!("SELECT app, name FROM campanile_inbox_users WHERE id = $1"), values![id]).await?;
        Ok(row.map(|row| Ok::<_, sqlx::Error>((row.text(0)?, row.text(1)?))).transpose()?)
    }

    pub(crate) fn state(&self) -> State {
        State {
            unread: self.unread + self.announced_unread,
            unseen: self.unseen + self.announced_unseen,
            seq: self.seq,
            rev: self.rev,
            announced: self.announced,
        }
    }

    pub(crate) fn next_rev(&mut self) -> i64 {
        self.rev += 1;
        self.rev
    }

    pub(crate) fn move_by(&mut self, delta: Delta) {
        self.unread += delta.unread;
        self.unseen += delta.unseen;
    }

    pub(crate) fn move_announced_by(&mut self, delta: Delta) {
        self.announced_unread += delta.unread;
        self.announced_unseen += delta.unseen;
    }

    /// Writes the row, whose lock is ours.
    pub(crate) async fn save(&self, tx: &mut Tx) -> Result<(), Failure> {
        let save = sql!(
            "UPDATE campanile_inbox_users SET seq = $2, rev = $3, unread = $4, unseen = $5, forgotten_rev = $6, \
             read_floor = $7, read_floor_at = $8, read_floor_rev = $9, seen_floor = $10, seen_floor_at = $11, \
             seen_floor_rev = $12, announced_read_floor = $13, announced_read_floor_at = $14, \
             announced_read_floor_rev = $15, announced_seen_floor = $16, announced_seen_floor_at = $17, \
             announced_seen_floor_rev = $18 WHERE id = $1"
        );
        let (read, seen) = (self.read, self.seen);
        let (announced_read, announced_seen) = (self.announced_read, self.announced_seen);
        let written = values![
            self.id,
            self.seq,
            self.rev,
            self.unread,
            self.unseen,
            self.forgotten_rev,
            read.up_to,
            read.at,
            read.rev,
            seen.up_to,
            seen.at,
            seen.rev,
            announced_read.up_to,
            announced_read.at,
            announced_read.rev,
            announced_seen.up_to,
            announced_seen.at,
            announced_seen.rev,
        ];
        tx.execute(save, written).await?;
        Ok(())
    }

    /// Counts the rows that count, above the floors and kept below them.
    pub(crate) async fn recount(&mut self, tx: &mut Tx) -> Result<(), Failure> {
        let (unread, unseen) = (count_statement(true), count_statement(false));
        self.unread = tx.number(unread, values![self.id, self.read.up_to]).await?;
        self.unseen = tx.number(unseen, values![self.id, self.seen.up_to.max(self.read.up_to)]).await?;
        Ok(())
    }
}
