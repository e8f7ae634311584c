//! Documents of a team, and what is said about them.

use campanile_broadcast::draft::RECIPIENTS_MAX;
use campanile_broadcast::{Campanile, SocketId};
use serde::Serialize;

use super::{Db, StoreError, either};
use crate::events::CommentAdded;
use crate::notifications::CommentNotification;
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
pub(crate) async fn is_visible(db: &Db, id: i64, user_id: i64) -> sqlx::Result<bool> {
    let sql =
        "SELECT EXISTS (SELECT 1 FROM documents JOIN team_members USING (team_id) WHERE id = $1 AND user_id = $2)";
    either!(db, |db| sqlx::query_scalar(sql).bind(id).bind(user_id).fetch_one(db).await)
}

/// The documents that a user may see.
pub(crate) async fn of_user(db: &Db, user_id: i64) -> sqlx::Result<Vec<Document>> {
    let sql = "SELECT documents.id, title, body, teams.name AS team FROM documents JOIN teams ON teams.id = team_id \
               JOIN team_members USING (team_id) WHERE user_id = $1 ORDER BY title";
    either!(db, |db| sqlx::query_as(sql).bind(user_id).fetch_all(db).await)
}

/// One document, if the user may see it.
pub(crate) async fn find(db: &Db, id: i64, user_id: i64) -> sqlx::Result<Option<Document>> {
    let sql = "SELECT documents.id, title, body, teams.name AS team FROM documents JOIN teams ON teams.id = team_id \
               JOIN team_members USING (team_id) WHERE documents.id = $1 AND user_id = $2";
    either!(db, |db| sqlx::query_as(sql).bind(id).bind(user_id).fetch_optional(db).await)
}

/// The latest comments after one that is known, in the order in which they were written.
pub(crate) async fn comments(db: &Db, document_id: i64, after: i64) -> sqlx::Result<Vec<Comment>> {
    let sql = "SELECT * FROM (SELECT comments.id AS comment_id, name AS author, body, written_at FROM comments \
               JOIN users ON users.id = user_id WHERE document_id = $1 AND comments.id > $2 \
               ORDER BY comments.id DESC LIMIT $3) AS latest ORDER BY comment_id";
    either!(db, |db| sqlx::query_as(sql).bind(document_id).bind(after).bind(COMMENTS_SHOWN).fetch_all(db).await)
}

/// Adds a comment, and tells everybody who has the document open but the browser that it came from; and the rest of the team,
/// when they look. Until they do, comments on one document are gathered into one notification.
pub(crate) async fn comment(
    db: &Db,
    campanile: &Campanile,
    document_id: i64,
    author: &CurrentUser,
    body: &str,
    socket: SocketId,
) -> Result<Comment, StoreError> {
    let mut tx = db.begin().await?;
    // Numbers are given before a commit. Whoever has seen the greater of two must not come to miss the smaller.
    tx.alone_at(&format!("the comments of document {document_id}")).await?;
    let sql = "INSERT INTO comments (document_id, user_id, body) VALUES ($1, $2, $3) RETURNING id, written_at";
    let (comment_id, written_at): (i64, String) = either!(&mut tx, |tx| {
        sqlx::query_as(sql).bind(document_id).bind(author.id).bind(body).fetch_one(&mut **tx).await?
    });
    let sql = "SELECT user_id FROM team_members JOIN documents USING (team_id) \
               WHERE documents.id = $1 AND user_id <> $2 ORDER BY user_id LIMIT $3";
    let most = i64::try_from(RECIPIENTS_MAX).unwrap_or(i64::MAX);
    let team: Vec<i64> = either!(&mut tx, |tx| {
        sqlx::query_scalar(sql).bind(document_id).bind(author.id).bind(most).fetch_all(&mut **tx).await?
    });
    let sql = "SELECT title FROM documents WHERE id = $1";
    let document: String =
        either!(&mut tx, |tx| sqlx::query_scalar(sql).bind(document_id).fetch_one(&mut **tx).await?);
    let comment = Comment { comment_id, author: author.name.clone(), body: body.to_owned(), written_at };
    let event = CommentAdded {
        comment_id,
        author: comment.author.clone(),
        body: comment.body.clone(),
        written_at: comment.written_at.clone(),
        document_id,
    };
    either!(&mut tx, |tx| campanile.broadcast(event).to_others(socket).within(&mut *tx).await?);
    let notification =
        CommentNotification { document_id, document, author: comment.author.clone(), body: comment.body.clone() };
    let notification = campanile
        .notify_each(team, notification)
        .about("document", document_id)
        .key(format!("comment:{comment_id}"))
        .digest_by(format!("document:{document_id}"));
    either!(&mut tx, |tx| notification.within(tx).await?);
    tx.commit().await?;
    Ok(comment)
}

#[cfg(test)]
mod tests {
    use campanile_broadcast::To;

    use super::*;
    use crate::store::tests::on_both;
    use crate::store::{seed, teams};

    on_both! {
        a_comment_is_told_of_and_found_by_who_has_missed_it
        a_document_is_its_teams_alone
    }

    async fn a_comment_is_told_of_and_found_by_who_has_missed_it(db: Db) {
        seed::fill(&db).await.unwrap();
        let ben = CurrentUser { id: 2, name: "Ben Okafor".to_owned(), is_operator: false };
        let fake = Campanile::fake();
        let say = async |body: &str| comment(&db, &fake.campanile(), 1, &ben, body, SocketId::NONE).await.unwrap();
        let (first, second) = (say("The cover?").await, say("Is right.").await);
        fake.assert_broadcast::<CommentAdded>(|event, channels| {
            event.body == "Is right." && event.written_at == second.written_at && channels == ["private-document.1"]
        });
        fake.assert_notified::<CommentNotification>(|notification, draft| {
            notification.document == "Autumn catalogue"
                && draft.title == "Ben Okafor has commented on Autumn catalogue"
                && draft.to == To::user(1)
                && draft.key == format!("comment:{}", second.comment_id)
        });
        fake.assert_notified_times::<CommentNotification>(2);
        let missed = comments(&db, 1, first.comment_id).await.unwrap();
        let told: Vec<_> = missed.iter().map(|missed| (missed.comment_id, missed.author.as_str())).collect();
        assert_eq!(told, [(second.comment_id, "Ben Okafor")]);
        // As a browser reads it: `new Date("2026-11-24T16:00:00Z")`.
        let shape: String = second.written_at.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(shape, "0000-00-00T00:00:00Z");
    }

    async fn a_document_is_its_teams_alone(db: Db) {
        seed::fill(&db).await.unwrap();
        let (ada, chloe) = (1, 3);
        assert!(is_visible(&db, 1, ada).await.unwrap() && !is_visible(&db, 1, chloe).await.unwrap());
        assert!(find(&db, 1, ada).await.unwrap().is_some() && find(&db, 1, chloe).await.unwrap().is_none());
        assert_eq!(of_user(&db, chloe).await.unwrap().len(), 1);
        teams::add_member(&db, &Campanile::fake().campanile(), 1, chloe).await.unwrap();
        assert!(is_visible(&db, 1, chloe).await.unwrap());
    }
}
