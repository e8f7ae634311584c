//! What the shop shows.
//!
//! Owns the routes that people and their browsers use, and how an error looks. Never asks the database but through
//! [`crate::store`]. The invariant: whatever comes from a user is escaped, because all HTML comes from maud. Each module
//! is one page; `layout.rs` is what they have in common.

mod comparison;
mod documents;
mod layout;
mod operations;
mod orders;
mod plot;
mod sign_in;
mod teams;

use std::error::Error;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use serde::Serialize;

use crate::app::App;
use crate::store::StoreError;

/// Every page.
pub(crate) fn routes() -> Router<App> {
    Router::new()
        .route("/", get(async || Redirect::to("/orders")))
        .route("/sign-in", get(sign_in::page).post(sign_in::sign_in))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/orders", get(orders::page).post(orders::place))
        .route("/orders.json", get(orders::json))
        .route("/documents", get(documents::list))
        .route("/documents/{id}", get(documents::page))
        .route("/documents/{id}/comments", get(documents::comments).post(documents::comment))
        .route("/teams", get(teams::list))
        .route("/teams/{id}", get(teams::page))
        .route("/teams/{id}/cards", get(teams::cards).post(teams::add))
        .route("/teams/{id}/cards/{card}", post(teams::place))
        .route("/teams/{id}/members", post(teams::add_member))
        .route("/teams/{id}/members/remove", post(teams::remove_member))
        .route("/operations", get(operations::page))
        .route("/operations/ship/{id}", post(operations::ship))
        .route("/operations/ship-next", post(operations::ship_next))
        .route("/operations/restock", post(operations::restock))
        .route("/operations/authorizations", get(operations::authorizations))
        .route("/operations/comparison", get(comparison::page).post(comparison::start))
}

/// Why a page is not shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PageError {
    #[error("There is nothing here.")]
    NotFound,
    #[error("This is not yours to see.")]
    Forbidden,
    #[error("This form is out of date. Go back, reload the page and send it again.")]
    Forged,
    #[error("That was too long.")]
    TooLong,
    #[error("{0}")]
    Refused(&'static str),
    #[error("Something went wrong on our side.")]
    Internal(#[source] Box<dyn Error + Send + Sync>),
}

impl PageError {
    pub(crate) fn internal(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Internal(error.into())
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Forbidden | Self::Forged => StatusCode::FORBIDDEN,
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Refused(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<sqlx::Error> for PageError {
    fn from(error: sqlx::Error) -> Self {
        Self::internal(error)
    }
}

impl From<StoreError> for PageError {
    fn from(error: StoreError) -> Self {
        Self::internal(error)
    }
}

/// The sentence that a response is to be shown with.
#[derive(Debug, Clone)]
struct Sentence(String);

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        if let Self::Internal(cause) = &self {
            tracing::error!(%cause, "a request failed");
        }
        let mut response = (self.status(), self.to_string()).into_response();
        response.extensions_mut().insert(Sentence(self.to_string()));
        response
    }
}

/// Middleware: whoever reads pages is shown an error as one, also where axum has refused the request. Scripts are told its
/// sentence alone.
pub(crate) async fn errors_as_pages(State(app): State<App>, request: Request, next: Next) -> Response {
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let reads_pages = accept.is_some_and(|accept| accept.contains("text/html"));
    let response = next.run(request).await;
    let status = response.status();
    let is_page =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    if !reads_pages || is_page || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let sentence = match response.extensions().get::<Sentence>() {
        Some(Sentence(sentence)) => sentence.clone(),
        None if status == StatusCode::NOT_FOUND => PageError::NotFound.to_string(),
        None if status.is_client_error() => "The shop does not understand this request.".to_owned(),
        None => "Something went wrong on our side.".to_owned(),
    };
    (status, layout::error(&app, status, &sentence)).into_response()
}

/// For every path that has no page.
pub(crate) async fn not_found() -> PageError {
    PageError::NotFound
}

/// A script is given the value; a form that was sent without one is led back to its page.
fn value_or_page(headers: &HeaderMap, value: impl Serialize, page: &str) -> Response {
    let wants_json = headers.get(header::ACCEPT).is_some_and(|accept| accept == "application/json");
    if wants_json { axum::Json(value).into_response() } else { Redirect::to(page).into_response() }
}

/// What somebody has written, without the space around it.
fn written(text: &str, length_max: usize) -> Result<&str, PageError> {
    let text = text.trim();
    match text.chars().count() {
        0 => Err(PageError::Refused("There is nothing in it.")),
        length if length > length_max => Err(PageError::Refused("That is too long.")),
        _ => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_may_be_as_long_as_the_bound_and_no_longer() {
        assert_eq!(written("  abc\n", 3).unwrap(), "abc");
        assert!(written("abcd", 3).is_err());
        assert!(written("  \n", 3).is_err());
    }
}
