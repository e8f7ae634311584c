//! Documents of a team, and what is said about them.

use campanile_broadcast::{Campanile, SocketId};
use serde::Serialize;
use sqlx::SqlitePool;

use super::{StoreError, begin};
use crate::events::CommentAdded;
use crate::session::CurrentUser;

/// Characters of a comment.
pub(crate) const COMMENT_LENGTH_MAX: usize = 2000;
/// Comments that a page shows.
const COMMENTS_SHOWN: i64 = 200;

/// A document.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Document {
    pub(crate) id: i64,
    pub(crate) title: String,
    pub(crate) body: String,
    pub(crate) team: String,
}

/// A comment, with its author's name.
#[derive(Debug, Serialize, sqlx::FromRow)]
pub(crate) struct Comment {
    pub(crate) comment_id: i64,
    pub(crate) author: String,
    pub(crate) body: String,
    pub(crate) written_at: String,
}

/// Whether a user may see a document: whether its team is theirs.
pub(crate) async fn is_visible(db: &SqlitePool, id: i64, user_id: i64) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM documents JOIN team_members USING (team_id) WHERE id = ? AND user_id = ?)",
    )
    .bind(id)
    .bind(user_id)
    .fetch_one(db)
    .await
}

/// The documents that a user may see.
pub(crate) async fn of_user(db: &SqlitePool, user_id: i64) -> sqlx::Result<Vec<Document>> {
    sqlx::query_as(
        "SELECT documents.id, title, body, teams.name AS team FROM documents JOIN teams ON teams.id = team_id \
         JOIN team_members USING (team_id) WHERE user_id = ? ORDER BY title",
    )
    .bind(user_id)
    .fetch_all(db)
    .await
}

/// One document, if the user may see it.
pub(crate) async fn find(db: &SqlitePool, id: i64, user_id: i64) -> sqlx::Result<Option<Document>> {
    sqlx::query_as(
        "SELECT documents.id, title, body, teams.name AS team FROM documents JOIN teams ON teams.id = team_id \
         JOIN team_members USING (team_id) WHERE documents.id = ? AND user_id = ?",
    )
    .bind(id)
    .bind(user_id)
    .fetch_optional(db)
    .await
}

/// The latest comments after one that is known, in the order in which they were written.
pub(crate) async fn comments(db: &SqlitePool, document_id: i64, after: i64) -> sqlx::Result<Vec<Comment>> {
    sqlx::query_as(
        "SELECT * FROM (SELECT comments.id AS comment_id, name AS author, body, written_at FROM comments \
         JOIN users ON users.id = user_id WHERE document_id = ? AND comments.id > ? ORDER BY comments.id DESC LIMIT ?) \
         ORDER BY comment_id",
    )
    .bind(document_id)
    .bind(after)
    .bind(COMMENTS_SHOWN)
    .fetch_all(db)
    .await
}

/// Adds a comment, and tells everybody who has the document open but the browser that it came from.
pub(crate) async fn comment(
    db: &SqlitePool,
    campanile: &Campanile,
    document_id: i64,
    author: &CurrentUser,
    body: &str,
    socket: SocketId,
) -> Result<Comment, StoreError> {
    let mut tx = begin(db).await?;
    let (comment_id, written_at): (i64, String) =
        sqlx::query_as("INSERT INTO comments (document_id, user_id, body) VALUES (?, ?, ?) RETURNING id, written_at")
            .bind(document_id)
            .bind(author.id)
            .bind(body)
            .fetch_one(&mut *tx)
            .await?;
    let comment = Comment { comment_id, author: author.name.clone(), body: body.to_owned(), written_at };
    let event = CommentAdded {
        comment_id,
        author: comment.author.clone(),
        body: comment.body.clone(),
        written_at: comment.written_at.clone(),
        document_id,
    };
    campanile.broadcast(event).to_others(socket).within(&mut tx).await?;
    tx.commit().await?;
    Ok(comment)
}
