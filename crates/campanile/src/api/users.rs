//! Users and connections: `POST /users/{id}/terminate_connections` and `GET /connections`.
//!
//! Owns those two answers. Never closes a socket itself: the user's home tells each worker. The invariant: an id that
//! could not have signed in is refused, not silently matched with nobody.

use campanile_protocol::UserId;
use campanile_protocol::refusal::Refusal;
use campanile_protocol::replies::ConnectionsReply;
use hyper::StatusCode;

use super::error::ApiError;
use super::signed_request::SignedRequest;
use super::{Reply, json, nothing};
use crate::door::Visit;

/// `POST /apps/{id}/users/{user_id}/terminate_connections`
pub(super) async fn terminate_connections(
    user: &str,
    request: &SignedRequest<'_>,
    visit: Visit<'_>,
) -> Result<Reply, ApiError> {
    let parsed = UserId::parse_signed_in(user, request.app.limits.user_id_length_max);
    let user = parsed.map_err(|why| Refusal::name("user_id", user, why))?;
    visit.terminate(&request.app, &user).await?;
    Ok(nothing())
}

/// `GET /apps/{id}/connections`
pub(super) fn connections(request: &SignedRequest<'_>, visit: Visit<'_>) -> Result<Reply, ApiError> {
    let connections = visit.door().node().connections_of(&request.app);
    Ok(json(StatusCode::OK, &ConnectionsReply { connections }))
}
