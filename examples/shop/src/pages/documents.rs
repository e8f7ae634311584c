//! Documents: who is here, what is said, and who is typing.

use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::{Form, Json};
use campanile_broadcast::SocketId;
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::{Section, heading, page as layout, token};
use super::{PageError, value_or_page, written};
use crate::app::App;
use crate::session::{CurrentUser, Visit};
use crate::store::documents::{self, COMMENT_LENGTH_MAX, Comment};

pub(super) async fn list(State(app): State<App>, visit: Visit) -> Result<Markup, PageError> {
    let documents = documents::of_user(&app.db, visit.user.id).await?;
    let content = html! {
        (heading("Documents", "What your team is writing.", html! {}))
        ul.tiles {
            @for document in &documents {
                li {
                    a.card href={ "/documents/" (document.id) } {
                        span.eyebrow { (document.team) }
                        h2 { (document.title) }
                        p { (document.body.lines().next().unwrap_or_default()) }
                    }
                }
            }
        }
    };
    Ok(layout(&app, &visit, Section::Documents, "Documents", content))
}

pub(super) async fn page(State(app): State<App>, visit: Visit, Path(id): Path<i64>) -> Result<Markup, PageError> {
    let document = documents::find(&app.db, id, visit.user.id).await?.ok_or(PageError::NotFound)?;
    let comments = documents::comments(&app.db, id, 0).await?;
    let here = html! { ul.avatars #here aria-label="Here now" {} };
    let content = html! {
        (heading(&document.title, &document.team, here))
        div.document data-document=(id) {
            article.card.prose { @for paragraph in document.body.split("\n\n") { p { (paragraph) } } }
            section.card.talk aria-labelledby="comments-title" {
                h2 #comments-title { "Comments" }
                ol.comments #comments aria-live="polite" { @for comment in &comments { (row(Some(comment))) } }
                template #comment-template { (row(None)) }
                p.typing #typing aria-live="polite" {}
                form.stack #comment-form method="post" action={ "/documents/" (id) "/comments" } {
                    (token(&visit))
                    label {
                        span.unseen { "Your comment" }
                        textarea name="body" rows="3" maxlength=(COMMENT_LENGTH_MAX) required
                            placeholder="Write a comment" {}
                    }
                    button.primary type="submit" { "Comment" }
                }
            }
        }
    };
    Ok(layout(&app, &visit, Section::Documents, &document.title, content))
}

#[derive(Deserialize)]
pub(super) struct After {
    #[serde(default)]
    after: i64,
}

/// What a browser has missed.
pub(super) async fn comments(
    State(app): State<App>,
    user: CurrentUser,
    Path(id): Path<i64>,
    Query(After { after }): Query<After>,
) -> Result<Json<Vec<Comment>>, PageError> {
    if !documents::is_visible(&app.db, id, user.id).await? {
        return Err(PageError::NotFound);
    }
    Ok(Json(documents::comments(&app.db, id, after).await?))
}

#[derive(Deserialize)]
pub(super) struct Writing {
    body: String,
}

pub(super) async fn comment(
    State(app): State<App>,
    user: CurrentUser,
    socket: SocketId,
    Path(id): Path<i64>,
    headers: HeaderMap,
    Form(writing): Form<Writing>,
) -> Result<Response, PageError> {
    if !documents::is_visible(&app.db, id, user.id).await? {
        return Err(PageError::NotFound);
    }
    let body = written(&writing.body, COMMENT_LENGTH_MAX)?;
    let comment = documents::comment(&app.db, &app.campanile, id, &user, body, socket).await?;
    Ok(value_or_page(&headers, comment, &format!("/documents/{id}")))
}

/// A comment, or the template from which the front end makes more.
fn row(comment: Option<&Comment>) -> Markup {
    html! {
        li data-comment=[comment.map(|comment| comment.comment_id)] {
            p.by {
                strong.author { (comment.map(|comment| comment.author.as_str()).unwrap_or_default()) } " "
                time datetime=[comment.map(|comment| &comment.written_at)] {
                    (comment.map(|comment| comment.written_at.as_str()).unwrap_or_default())
                }
            }
            p.body { (comment.map(|comment| comment.body.as_str()).unwrap_or_default()) }
        }
    }
}
