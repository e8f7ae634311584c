//! Teams, who is in them, and the cards on their boards.

use campanile_broadcast::ts_rs::TS;
use campanile_broadcast::{Campanile, SocketId};
use serde::{Deserialize, Serialize};

use super::{Db, StoreError, either};
use crate::events::{CardPlaced, MembershipChanged};

/// Characters of a card's title.
pub(crate) const TITLE_LENGTH_MAX: usize = 120;
/// Cards of one board.
const CARDS_SHOWN: i64 = 200;

/// A column of a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, sqlx::Type)]
#[ts(crate = "campanile_broadcast::ts_rs")]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub(crate) enum Lane {
    Todo,
    Doing,
    Done,
}

impl Lane {
    pub(crate) const ALL: [Self; 3] = [Self::Todo, Self::Doing, Self::Done];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Todo => "To do",
            Self::Doing => "In progress",
            Self::Done => "Done",
        }
    }

    /// As serde writes it.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Todo => "todo",
            Self::Doing => "doing",
            Self::Done => "done",
        }
    }
}

/// A team as a user sees it.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Team {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) members: i64,
    pub(crate) is_mine: bool,
}

/// A card on a board.
#[derive(Debug, Serialize, sqlx::FromRow)]
pub(crate) struct Card {
    pub(crate) card_id: i64,
    pub(crate) title: String,
    pub(crate) lane: Lane,
}

/// Somebody who is in a team, or could be.
#[derive(Debug, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Person {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) is_member: bool,
}

/// Whether a user belongs to a team.
pub(crate) async fn has_member(db: &Db, id: i64, user_id: i64) -> sqlx::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM team_members WHERE team_id = $1 AND user_id = $2)";
    either!(db, |db| sqlx::query_scalar(sql).bind(id).bind(user_id).fetch_one(db).await)
}

/// All teams, the user's own first.
pub(crate) async fn all(db: &Db, user_id: i64) -> sqlx::Result<Vec<Team>> {
    let sql = "SELECT id, name, (SELECT count(*) FROM team_members WHERE team_id = id) AS members, \
               EXISTS (SELECT 1 FROM team_members WHERE team_id = id AND user_id = $1) AS is_mine FROM teams \
               ORDER BY is_mine DESC, name";
    either!(db, |db| sqlx::query_as(sql).bind(user_id).fetch_all(db).await)
}

/// Everybody who is not simulated, and whether they are in a team.
pub(crate) async fn people(db: &Db, id: i64) -> sqlx::Result<Vec<Person>> {
    let sql = "SELECT id, name, EXISTS (SELECT 1 FROM team_members WHERE team_id = $1 AND user_id = id) AS is_member \
               FROM users WHERE password_hash IS NOT NULL ORDER BY name";
    either!(db, |db| sqlx::query_as(sql).bind(id).fetch_all(db).await)
}

/// Takes somebody into a team, and tells them. False if they were in it, or one of the two does not exist.
pub(crate) async fn add_member(db: &Db, campanile: &Campanile, id: i64, user_id: i64) -> Result<bool, StoreError> {
    let sql = "INSERT INTO team_members (team_id, user_id) \
               SELECT teams.id, users.id FROM teams, users WHERE teams.id = $1 AND users.id = $2 \
               ON CONFLICT DO NOTHING";
    change_membership(db, campanile, sql, MembershipChanged { team_id: id, is_member: true, user_id }).await
}

/// Takes somebody out of a team, and tells them. False if they were not in it.
///
/// What was remembered of their authorizations is for the caller to forget, once this has returned.
pub(crate) async fn remove_member(db: &Db, campanile: &Campanile, id: i64, user_id: i64) -> Result<bool, StoreError> {
    let sql = "DELETE FROM team_members WHERE team_id = $1 AND user_id = $2";
    change_membership(db, campanile, sql, MembershipChanged { team_id: id, is_member: false, user_id }).await
}

async fn change_membership(
    db: &Db,
    campanile: &Campanile,
    sql: &'static str,
    event: MembershipChanged,
) -> Result<bool, StoreError> {
    let mut tx = db.begin().await?;
    let changed = either!(&mut tx, |tx| {
        sqlx::query(sql).bind(event.team_id).bind(event.user_id).execute(&mut **tx).await?.rows_affected()
    });
    if changed == 0 {
        return Ok(false);
    }
    either!(&mut tx, |tx| campanile.broadcast(event).within(tx).await?);
    tx.commit().await?;
    Ok(true)
}

/// The latest cards of a team, in the order in which they were written.
pub(crate) async fn cards(db: &Db, team_id: i64) -> sqlx::Result<Vec<Card>> {
    let sql = "SELECT * FROM (SELECT id AS card_id, title, lane FROM cards WHERE team_id = $1 \
               ORDER BY id DESC LIMIT $2) AS latest ORDER BY card_id";
    either!(db, |db| sqlx::query_as(sql).bind(team_id).bind(CARDS_SHOWN).fetch_all(db).await)
}

/// What is done to a board, and from where.
#[derive(Debug)]
pub(crate) struct Stroke<'a> {
    pub(crate) team_id: i64,
    pub(crate) by: &'a str,
    pub(crate) socket: SocketId,
}

/// Adds a card, and tells the team.
pub(crate) async fn add_card(
    db: &Db,
    campanile: &Campanile,
    stroke: Stroke<'_>,
    title: &str,
) -> Result<Card, StoreError> {
    let mut tx = db.begin().await?;
    let sql = "INSERT INTO cards (team_id, title) VALUES ($1, $2) RETURNING id AS card_id, title, lane";
    let card: Card =
        either!(&mut tx, |tx| sqlx::query_as(sql).bind(stroke.team_id).bind(title).fetch_one(&mut **tx).await?);
    let event = placed(&card, &stroke);
    either!(&mut tx, |tx| campanile.broadcast(event).to_others(stroke.socket).within(tx).await?);
    tx.commit().await?;
    Ok(card)
}

/// Moves a card, and tells the team. `None` if the team has no such card.
pub(crate) async fn move_card(
    db: &Db,
    campanile: &Campanile,
    stroke: Stroke<'_>,
    card_id: i64,
    lane: Lane,
) -> Result<Option<Card>, StoreError> {
    let mut tx = db.begin().await?;
    let sql = "UPDATE cards SET lane = $1 WHERE id = $2 AND team_id = $3 RETURNING id AS card_id, title, lane";
    let card: Option<Card> = either!(&mut tx, |tx| {
        sqlx::query_as(sql).bind(lane).bind(card_id).bind(stroke.team_id).fetch_optional(&mut **tx).await?
    });
    let Some(card) = card else { return Ok(None) };
    let event = placed(&card, &stroke);
    either!(&mut tx, |tx| campanile.broadcast(event).to_others(stroke.socket).within(tx).await?);
    tx.commit().await?;
    Ok(Some(card))
}

fn placed(card: &Card, stroke: &Stroke<'_>) -> CardPlaced {
    CardPlaced {
        card_id: card.card_id,
        title: card.title.clone(),
        lane: card.lane,
        by: stroke.by.to_owned(),
        team_id: stroke.team_id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::seed;
    use crate::store::tests::on_both;

    on_both! {
        a_card_is_added_moved_and_told_of_and_another_teams_card_is_not
        whoever_joins_or_leaves_a_team_is_told_once
    }

    async fn a_card_is_added_moved_and_told_of_and_another_teams_card_is_not(db: Db) {
        seed::fill(&db).await.unwrap();
        let fake = Campanile::fake();
        let campanile = fake.campanile();
        let stroke = |team_id| Stroke { team_id, by: "Ada Marsh", socket: SocketId::NONE };
        let card = add_card(&db, &campanile, stroke(1), "Proof").await.unwrap();
        assert_eq!(card.lane, Lane::Todo);
        let moved = move_card(&db, &campanile, stroke(1), card.card_id, Lane::Done).await.unwrap();
        assert_eq!(moved.unwrap().lane, Lane::Done);
        assert!(move_card(&db, &campanile, stroke(2), card.card_id, Lane::Doing).await.unwrap().is_none());
        assert_eq!(cards(&db, 1).await.unwrap().last().unwrap().lane, Lane::Done);
        fake.assert_broadcast_times::<CardPlaced>(2);
        fake.assert_broadcast::<CardPlaced>(|event, channels| {
            event.lane == Lane::Done && channels == ["private-team.1"]
        });
    }

    async fn whoever_joins_or_leaves_a_team_is_told_once(db: Db) {
        seed::fill(&db).await.unwrap();
        let fake = Campanile::fake();
        let campanile = fake.campanile();
        let ben = Person { id: 2, name: "Ben Okafor".to_owned(), is_member: true };
        assert!(people(&db, 1).await.unwrap().contains(&ben));
        for (is_member, changes) in [(true, false), (false, true), (false, false), (true, true)] {
            let changed = match is_member {
                true => add_member(&db, &campanile, 1, ben.id).await,
                false => remove_member(&db, &campanile, 1, ben.id).await,
            };
            assert_eq!((changed.unwrap(), has_member(&db, 1, ben.id).await.unwrap()), (changes, is_member));
        }
        assert!(!add_member(&db, &campanile, 99, ben.id).await.unwrap(), "there is no such team");
        assert!(!add_member(&db, &campanile, 1, 9999).await.unwrap(), "there is no such user");
        fake.assert_broadcast_times::<MembershipChanged>(2);
        fake.assert_broadcast::<MembershipChanged>(|event, channels| {
            !event.is_member && event.team_id == 1 && channels == ["private-user.2"]
        });
    }
}
