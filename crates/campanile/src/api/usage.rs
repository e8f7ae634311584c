//! What an app has used: `GET /usage`.
//!
//! Owns that answer's way to the clerk and back. Never adds anything up. The invariant: no worker waits for the disk: where
//! too many wait for the clerk, the answer is 503. Read on in [`crate::journal::question`] for what can be asked, and in
//! [`crate::journal::report`] for the answer.

use hyper::StatusCode;

use super::error::ApiError;
use super::signed_request::SignedRequest;
use super::{Reply, text};
use crate::door::{Busy, Visit};
use crate::journal::question::{Format, Question};
use crate::ledger;

/// `GET /apps/{id}/usage`
pub(super) async fn show(request: &SignedRequest<'_>, visit: Visit<'_>) -> Result<Reply, ApiError> {
    let node = visit.door().node();
    let parameters: Vec<(&str, &str)> = request.query.own().collect();
    let question = Question::read(&request.app.id, parameters.iter().copied(), &node.config(), ledger::now_secs())?;
    let content_type = match question.format {
        Format::Json => "application/json",
        Format::Csv => "text/csv; charset=utf-8",
    };
    let answered = node.journal().ask(question)?;
    let answered = tokio::time::timeout_at(visit.until(), answered).await.map_err(|_| Busy)?;
    Ok(text(StatusCode::OK, content_type, answered.map_err(|_| Busy)??))
}
