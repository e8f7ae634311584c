//! The routes for axum, and the extractor of `X-Socket-ID`.
//!
//! Owns the bodies and statuses that browsers' clients and Laravel Echo expect. Never decides: the
//! [`Authorizer`] does. The invariant: a success is 200 with a signature, and nothing else is 200.

use std::convert::Infallible;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde::{Deserialize, Serialize};

use crate::authorize::{Authorizer, Channels, Denied};
use crate::campanile::Campanile;
use crate::socket_id::SocketId;

/// Bytes of a request's body: a socket id and the name of a channel.
pub const AUTH_BODY_BYTES_MAX: usize = 4 * 1024;

/// Where browsers ask for a channel, unless they are told otherwise.
pub const CHANNEL_AUTH_PATH: &str = "/broadcasting/auth";
/// Where browsers ask to sign in.
pub const USER_AUTH_PATH: &str = "/broadcasting/user-auth";

impl Campanile {
    /// `POST /broadcasting/auth` and `POST /broadcasting/user-auth`, with forms or JSON.
    ///
    /// `U` is the extractor of the user that the application has already. Where it rejects, nobody is signed in and the
    /// answer is 403, except where it rejects with a server error: that is passed on.
    ///
    /// # Panics
    ///
    /// When an encrypted channel is authorized and the settings have no master key.
    #[track_caller]
    pub fn routes<U, S>(&self, channels: Channels<U, S>) -> Router<S>
    where
        U: FromRequestParts<S> + Clone + Send + Sync + 'static,
        S: Clone + Send + Sync + 'static,
    {
        let authorizer = match self.authorizer(channels) {
            Ok(authorizer) => Arc::new(authorizer),
            Err(error) => panic!("{error}"),
        };
        let users = Arc::clone(&authorizer);
        Router::new()
            .route(
                CHANNEL_AUTH_PATH,
                post(move |State(state): State<S>, request: Request| channel(authorizer, state, request)),
            )
            .route(USER_AUTH_PATH, post(move |State(state): State<S>, request: Request| user(users, state, request)))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for SocketId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let value = parts.headers.get(Self::HEADER).and_then(|value| value.to_str().ok());
        Ok(value.map_or(Self::NONE, Self::parse))
    }
}

/// What a browser asks for.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
struct Asked {
    #[serde(default)]
    socket_id: String,
    #[serde(default)]
    channel_name: String,
    #[serde(default)]
    since: String,
}

async fn channel<U, S>(authorizer: Arc<Authorizer<U, S>>, state: S, request: Request) -> Response
where
    U: FromRequestParts<S> + Clone + Send + Sync + 'static,
    S: Clone + Send + Sync + 'static,
{
    match read::<U, S>(request, &state).await {
        Ok((user, asked)) => {
            let Asked { socket_id, channel_name, since } = &asked;
            answer(authorizer.channel(user, state, socket_id, channel_name, since).await)
        }
        Err(refusal) => refusal,
    }
}

async fn user<U, S>(authorizer: Arc<Authorizer<U, S>>, state: S, request: Request) -> Response
where
    U: FromRequestParts<S> + Clone + Send + Sync + 'static,
    S: Clone + Send + Sync + 'static,
{
    match read::<U, S>(request, &state).await {
        Ok((user, asked)) => answer(authorizer.user(user, state, &asked.socket_id).await),
        Err(refusal) => refusal,
    }
}

/// Who asks, if anybody, and for what.
async fn read<U: FromRequestParts<S>, S: Sync>(request: Request, state: &S) -> Result<(Option<U>, Asked), Response> {
    let (mut parts, body) = request.into_parts();
    let user = match U::from_request_parts(&mut parts, state).await {
        Ok(user) => Some(user),
        Err(rejection) => match rejection.into_response() {
            response if response.status().is_server_error() => return Err(response),
            // A redirect to a login page would be followed by the browser, and taken for an answer.
            _ => None,
        },
    };
    Ok((user, asked(&parts.headers, body).await?))
}

async fn asked(headers: &HeaderMap, body: Body) -> Result<Asked, Response> {
    let body = to_bytes(body, AUTH_BODY_BYTES_MAX).await;
    let body = body.map_err(|_| refusal(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long, or broke off"))?;
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if media_type == "application/json" || media_type.ends_with("+json") {
        return serde_json::from_slice(&body).map_err(|_| refusal(StatusCode::BAD_REQUEST, "the body is not the JSON"));
    }
    let mut asked = Asked::default();
    for (name, value) in form_urlencoded::parse(&body) {
        match &*name {
            "socket_id" => asked.socket_id = value.into_owned(),
            "channel_name" => asked.channel_name = value.into_owned(),
            "since" => asked.since = value.into_owned(),
            _ => {}
        }
    }
    Ok(asked)
}

fn answer<T: Serialize>(decided: Result<T, Denied>) -> Response {
    match decided {
        Ok(auth) => json(StatusCode::OK, serde_json::to_string(&auth).expect("strings can always be serialised")),
        Err(denied) => {
            let status = StatusCode::from_u16(denied.status()).unwrap_or(StatusCode::FORBIDDEN);
            refusal(status, &denied.to_string())
        }
    }
}

/// The shape of Laravel's errors.
fn refusal(status: StatusCode, message: &str) -> Response {
    json(status, serde_json::json!({ "message": message }).to_string())
}

/// A signature is for one socket and one moment, and no cache's.
fn json(status: StatusCode, body: String) -> Response {
    (status, [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store, private")], body).into_response()
}
