//! Teams, who is in them, and the cards on their boards.

use campanile_broadcast::{Campanile, SocketId};
use serde::{Deserialize, Serialize};
use sqlx::SqlitePool;

use super::{StoreError, begin};
use crate::events::CardPlaced;

/// Characters of a card's title.
pub(crate) const TITLE_LENGTH_MAX: usize = 120;
/// Cards of one board.
const CARDS_SHOWN: i64 = 200;

/// A column of a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "lowercase")]
#[sqlx(rename_all = "lowercase")]
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

/// Whether a user belongs to a team.
pub(crate) async fn has_member(db: &SqlitePool, id: i64, user_id: i64) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM team_members WHERE team_id = ? AND user_id = ?)")
        .bind(id)
        .bind(user_id)
        .fetch_one(db)
        .await
}

/// All teams, the user's own first.
pub(crate) async fn all(db: &SqlitePool, user_id: i64) -> sqlx::Result<Vec<Team>> {
    sqlx::query_as(
        "SELECT id, name, (SELECT count(*) FROM team_members WHERE team_id = id) AS members, \
         EXISTS (SELECT 1 FROM team_members WHERE team_id = id AND user_id = ?) AS is_mine FROM teams \
         ORDER BY is_mine DESC, name",
    )
    .bind(user_id)
    .fetch_all(db)
    .await
}

/// The cards of a team, in the order in which they were written.
pub(crate) async fn cards(db: &SqlitePool, team_id: i64) -> sqlx::Result<Vec<Card>> {
    sqlx::query_as("SELECT id AS card_id, title, lane FROM cards WHERE team_id = ? ORDER BY id LIMIT ?")
        .bind(team_id)
        .bind(CARDS_SHOWN)
        .fetch_all(db)
        .await
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
    db: &SqlitePool,
    campanile: &Campanile,
    stroke: Stroke<'_>,
    title: &str,
) -> Result<Card, StoreError> {
    let mut tx = begin(db).await?;
    let card: Card =
        sqlx::query_as("INSERT INTO cards (team_id, title) VALUES (?, ?) RETURNING id AS card_id, title, lane")
            .bind(stroke.team_id)
            .bind(title)
            .fetch_one(&mut *tx)
            .await?;
    campanile.broadcast(placed(&card, &stroke)).to_others(stroke.socket).within(&mut tx).await?;
    tx.commit().await?;
    Ok(card)
}

/// Moves a card, and tells the team. `None` if the team has no such card.
pub(crate) async fn move_card(
    db: &SqlitePool,
    campanile: &Campanile,
    stroke: Stroke<'_>,
    card_id: i64,
    lane: Lane,
) -> Result<Option<Card>, StoreError> {
    let mut tx = begin(db).await?;
    let card: Option<Card> =
        sqlx::query_as("UPDATE cards SET lane = ? WHERE id = ? AND team_id = ? RETURNING id AS card_id, title, lane")
            .bind(lane)
            .bind(card_id)
            .bind(stroke.team_id)
            .fetch_optional(&mut *tx)
            .await?;
    if let Some(card) = &card {
        campanile.broadcast(placed(card, &stroke)).to_others(stroke.socket).within(&mut tx).await?;
    }
    tx.commit().await?;
    Ok(card)
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
