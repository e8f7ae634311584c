//! What of an inbox is shown.
//!
//! Owns the looking up of pages, of changes and of single notifications. Never writes. The invariant: a page, and the
//! state that is shown with it, are of one snapshot.

use uuid::Uuid;

use crate::error::{InboxError, Mistake, Thing};
use crate::mark::Place;
use crate::notification::Notification;
use crate::page::{ChangesPage, ChangesQuery, Cursor, Floor, Page, PageQuery, Status, Stroke};
use crate::settings::PAGE_MAX;
use crate::store::announcements::{self, announced, announced_to_a_stranger};
use crate::store::connection::{Failure, Value, values};
use crate::store::rows::{self, Stored, id_of, own};
use crate::store::sql::{Statement, sql};
use crate::store::tx::Tx;
use crate::store::users::{User, visible};

/// Notifications on a page, if nothing is said.
const PAGE_DEFAULT: usize = 20;

pub(crate) fn limit_of(limit: Option<usize>, most: usize) -> Result<usize, Mistake> {
    match limit {
        None => Ok(PAGE_DEFAULT.min(most)),
        Some(limit) if (1..=most).contains(&limit) => Ok(limit),
        Some(limit) => Err(Mistake::new("bad_limit", "/limit", format!("limit is {limit}: it can be 1 to {most}"))),
    }
}

pub(crate) async fn notification(tx: &mut Tx, app: &str, name: &str, id: Uuid) -> Result<Notification, Failure> {
    let user = User::look_up(tx, app, name).await?;
    let own = if user.id == 0 { None } else { rows::find(tx, &user, id).await? };
    let found = match own {
        Some(own) => Some(own),
        None => announcements::find(tx, &user, id).await?,
    };
    found.map(Stored::shown).ok_or_else(|| InboxError::Unknown(Thing::Notification).into())
}

macro_rules! own_page {
    ($($which:literal)?, $index:literal, $status:expr) => {
        sql!(
            "SELECT ", own!($index), " WHERE n.user_id = $1 AND n.seq < $2", $($which,)? $status,
            " ORDER BY n.seq DESC LIMIT $3"
        )
    };
}

macro_rules! of_each_status {
    ($status:expr, $($which:literal)?) => {
        match $status {
            Status::Open => own_page!($($which)?, "", " AND n.hidden = 0"),
            Status::Archived => own_page!($($which)?, "", " AND n.hidden = 1"),
            Status::Snoozed => own_page!($($which)?, "", " AND n.hidden = 2"),
            Status::All => own_page!($($which)?, "", ""),
            Status::Unread => own_page!(
                $($which)?,
                "{unread index}",
                " AND n.unread > 0 AND n.seq > $4 AND (n.unread = 2 OR n.seq > coalesce(f.read_floor, 0))"
            ),
        }
    };
}

/// The statement of a page of a user's own. For the tests, which prove that it scans nothing.
pub(crate) fn page_statement(status: Status, has_category: bool) -> &'static Statement {
    match (status, has_category) {
        (Status::Unread, true) => of_each_status!(status, " AND n.category = $5"),
        (status, true) => of_each_status!(status, " AND n.category = $4"),
        (status, false) => of_each_status!(status,),
    }
}

async fn own_rows(
    tx: &mut Tx,
    user: &User,
    below: i64,
    query: &PageQuery,
    limit: usize,
) -> Result<Vec<Stored>, Failure> {
    if user.id == 0 {
        return Ok(Vec::new());
    }
    let category = query.category.as_deref();
    let limit_value = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut given: Vec<Value<'_>> = vec![user.id.into(), below.into(), limit_value.into()];
    if query.status == Status::Unread {
        given.push(user.read.up_to.into());
    }
    if let Some(category) = category {
        given.push(category.into());
    }
    let mut found = tx.fetch(page_statement(query.status, category.is_some()), &given).await?;
    if query.status == Status::Unread && found.len() < limit {
        // Below the floor only what was marked as unread since.
        let kept = sql!(
            "SELECT ",
            own!(),
            " WHERE n.user_id = $1 AND n.kept = 1 AND n.unread = 2 AND n.seq < $2 AND n.seq <= $4 \
             AND (CAST($5 AS TEXT) IS NULL OR n.category = $5) ORDER BY n.seq DESC LIMIT $3"
        );
        let below_floor = values![user.id, below, limit_value, user.read.up_to, category];
        found.extend(tx.fetch(kept, below_floor).await?);
        found.truncate(limit);
    }
    found.iter().map(|row| rows::read(row, user)).collect()
}

async fn announced_rows(
    tx: &mut Tx,
    user: &User,
    below: i64,
    query: &PageQuery,
    limit: usize,
) -> Result<Vec<Stored>, Failure> {
    let now = tx.now;
    let category = query.category.as_deref();
    // They are few, by their limit, so what is asked for is picked out here.
    let found = if user.id == 0 {
        let below_it = sql!(
            "SELECT ",
            announced_to_a_stranger!(),
            " WHERE a.number < $4 AND (CAST($5 AS TEXT) IS NULL OR a.category = $5) AND ",
            visible!(),
            " ORDER BY a.number DESC"
        );
        tx.fetch(below_it, values![&user.app, &user.name, now, below, category]).await?
    } else {
        let below_it = sql!(
            "SELECT ",
            announced!(),
            " WHERE u.app = $1 AND u.name = $2 AND a.number < $4 AND (CAST($5 AS TEXT) IS NULL OR a.category = $5) AND ",
            visible!(),
            " ORDER BY a.number DESC"
        );
        tx.fetch(below_it, values![&user.app, &user.name, now, below, category]).await?
    };
    let mut picked = Vec::new();
    for row in &found {
        let stored = announcements::read(row, user)?;
        let place = stored.standing.place;
        let is_meant = match query.status {
            Status::Open => place == Place::Open,
            Status::Unread => place == Place::Open && stored.standing.is_unread(stored.seq, stored.floors),
            Status::Archived => place == Place::Archived,
            Status::Snoozed => place == Place::Snoozed,
            Status::All => true,
        };
        if is_meant {
            picked.push(stored);
            if picked.len() == limit {
                break;
            }
        }
    }
    Ok(picked)
}

pub(crate) async fn page(tx: &mut Tx, app: &str, name: &str, query: &PageQuery) -> Result<Page, Failure> {
    let limit = limit_of(query.limit, PAGE_MAX)?;
    let user = User::look_up(tx, app, name).await?;
    let mut cursor = query.before.unwrap_or(Cursor { seq: i64::MAX, announced: i64::MAX });
    // One more than is shown tells whether there is a next page.
    let own = own_rows(tx, &user, cursor.seq, query, limit + 1).await?;
    let announced = match user.announced {
        0 => Vec::new(),
        _ => announced_rows(tx, &user, cursor.announced, query, limit + 1).await?,
    };
    let has_more = own.len() + announced.len() > limit;
    let (mut own, mut announced) = (own.into_iter().peekable(), announced.into_iter().peekable());
    let mut notifications = Vec::with_capacity(limit);
    while notifications.len() < limit {
        let own_is_newer = match (own.peek(), announced.peek()) {
            (Some(own), Some(announced)) => own.created_at >= announced.created_at,
            (own, _) => own.is_some(),
        };
        let Some(stored) = (if own_is_newer { own.next() } else { announced.next() }) else { break };
        if stored.is_announcement {
            cursor.announced = stored.seq;
        } else {
            cursor.seq = stored.seq;
        }
        notifications.push(stored.shown());
    }
    Ok(Page { notifications, next: has_more.then_some(cursor), gone: Vec::new(), state: user.state() })
}

/// One change, for the order in which they are told.
enum Told {
    Notification(Box<Stored>),
    Gone(Uuid),
    Floor(Floor),
}

pub(crate) async fn changes_since(
    tx: &mut Tx,
    app: &str,
    name: &str,
    query: ChangesQuery,
) -> Result<ChangesPage, Failure> {
    let limit = limit_of(query.limit, PAGE_MAX)?;
    let most = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let user = User::look_up(tx, app, name).await?;
    let state = user.state();
    let announced_since = query.announced.unwrap_or(i64::MAX);
    // A number that was never given is of another life of this inbox, before it was erased or restored.
    let is_foreign = query.since > user.rev || query.announced.is_some_and(|number| number > user.announced);
    if query.since < user.forgotten_rev || is_foreign || announced_since < user.announced_forgotten {
        return Err(InboxError::TooOld { state }.into());
    }
    let mut told: Vec<(i64, Told)> = Vec::new();
    if user.id != 0 && query.since < user.rev {
        let own = sql!("SELECT ", own!(), " WHERE n.user_id = $1 AND n.rev > $2 ORDER BY n.rev LIMIT $3");
        for row in tx.fetch(own, values![user.id, query.since, most]).await? {
            let stored = rows::read(&row, &user)?;
            told.push((stored.rev, Told::Notification(Box::new(stored))));
        }
        let gone = sql!(
            "SELECT rev, id FROM campanile_inbox_tombstones WHERE user_id = $1 AND rev > $2 ORDER BY rev LIMIT $3"
        );
        for row in tx.fetch(gone, values![user.id, query.since, most]).await? {
            told.push((row.int(0)?, Told::Gone(id_of(&row.text(1)?)?)));
        }
        let now = tx.now;
        let touched = sql!(
            "SELECT ",
            announced!(),
            " WHERE u.app = $1 AND u.name = $2 AND s.rev > $4 AND ",
            visible!(),
            " ORDER BY s.rev LIMIT $5"
        );
        for row in tx.fetch(touched, values![app, name, now, query.since, most]).await? {
            let stored = announcements::read(&row, &user)?;
            told.push((stored.rev, Told::Notification(Box::new(stored))));
        }
        for (mark, announcements, stroked) in [
            (Stroke::Read, false, user.read),
            (Stroke::Seen, false, user.seen),
            (Stroke::Read, true, user.announced_read),
            (Stroke::Seen, true, user.announced_seen),
        ] {
            if stroked.rev > query.since {
                let at = crate::Timestamp::from_millis(stroked.at);
                let (category, up_to, rev) = (None, stroked.up_to, stroked.rev);
                told.push((rev, Told::Floor(Floor { mark, announcements, category, up_to, at, rev })));
            }
        }
        let floors = sql!(
            "SELECT category, read_floor, floor_at, rev FROM campanile_inbox_floors WHERE user_id = $1 AND rev > $2 \
             ORDER BY rev LIMIT $3"
        );
        for row in tx.fetch(floors, values![user.id, query.since, most]).await? {
            let floor = Floor {
                mark: Stroke::Read,
                announcements: false,
                category: Some(row.text(0)?),
                up_to: row.int(1)?,
                at: row.moment(2)?,
                rev: row.int(3)?,
            };
            told.push((floor.rev, Told::Floor(floor)));
        }
    }
    told.sort_by_key(|(rev, _)| *rev);
    // The floors that one change has raised are told together, if that is one or two more than was asked for.
    let mut end = limit.min(told.len());
    while end > 0 && end < told.len() && told[end].0 == told[end - 1].0 {
        end += 1;
    }
    let has_more = end < told.len();
    told.truncate(end);
    let next = if has_more { told.last().map(|(rev, _)| *rev) } else { None };
    let mut page = ChangesPage { notifications: Vec::new(), next, gone: Vec::new(), floors: Vec::new(), state };
    for (_, change) in told {
        match change {
            Told::Notification(stored) => page.notifications.push(stored.shown()),
            Told::Gone(id) => page.gone.push(id),
            Told::Floor(floor) => page.floors.push(floor),
        }
    }
    // Announcements come with the last page: they are few, and their order is another one.
    if !has_more && announced_since < user.announced {
        let all = PageQuery { status: Status::All, ..PageQuery::default() };
        let announced = announced_rows(tx, &user, i64::MAX, &all, usize::MAX).await?;
        let is_new = |stored: &Stored| stored.seq > announced_since && stored.rev <= query.since;
        let new: Vec<Stored> = announced.into_iter().rev().filter(is_new).collect();
        let gone = sql!("SELECT id FROM campanile_inbox_withdrawn WHERE app = $1 AND number > $2 ORDER BY number");
        let gone = tx.fetch(gone, values![app, announced_since]).await?;
        // Whoever has missed so many is better off with the newest page.
        if new.len() + gone.len() > PAGE_MAX {
            return Err(InboxError::TooOld { state }.into());
        }
        page.notifications.extend(new.into_iter().map(Stored::shown));
        for row in gone {
            page.gone.push(id_of(&row.text(0)?)?);
        }
    }
    Ok(page)
}
