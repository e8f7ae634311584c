//! Opening a browser's session: what proves that it acts for a user.
//!
//! Owns the three proofs: a channel's signature, a sign-in's signature, a JWT. Never believes a user's id that nobody has
//! signed. The invariants: a signature counts only for a connection that lives now, of the same app, so that one which was
//! seen elsewhere is of no use; a channel's signature counts only on the channels that the app has named for it. Read on in
//! [`crate::inbox`] for the token.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use campanile_hub::App;
use campanile_protocol::SocketId;
use campanile_protocol::signature::{AuthToken, channel_string, user_string};
use hyper::body::Body;
use hyper::http::request::Parts;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::Reply;
use super::browser::{app_of_key, lives};
use super::query::Query;
use super::refusal::{Code, Refused};
use super::routes::Endpoint;
use super::{ask, json, origin, read_body, receive, store_of};
use crate::config::limits::{SESSION_SECS, SESSION_USER_LENGTH_MAX};
use crate::door::{Door, Visit};
use crate::inbox::Session;
use crate::inbox::jwt::Unverified;
use crate::ledger;

/// What a browser has proved.
struct Proof {
    app: Arc<App>,
    user: String,
    socket: Option<SocketId>,
    /// For so many seconds.
    secs: u64,
}

/// What an application says of a user who signs in.
#[derive(Deserialize)]
struct SignedUser {
    id: Value,
}

/// `POST /inbox/session`
pub(super) async fn open<B>(head: &Parts, body: B, endpoint: &Endpoint, visit: Visit<'_>) -> Result<Reply, Refused>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let door = visit.door();
    super::store(door)?;
    Query::read(head.uri.query(), endpoint)?;
    let shape = endpoint.body.expect("a session is asked for with a body");
    let body = read_body(&receive(body, visit).await?, shape)?;
    let proof = prove(&body, door)?;
    let store = store_of(door, &proof.app)?;
    origin::check(&head.headers, &proof.app, door.node())?;
    if let Some(socket_id) = proof.socket
        && !lives(socket_id, &proof.app, store, visit).await?
    {
        let message = "no connection with this socket id is here, or it is another app's: take the id of the one that is open now";
        return Err(Refused::new(Code::InvalidSocketId, message).at("/socket_id"));
    }
    let Proof { app, user, socket, secs } = proof;
    // A stream is fed from here on, so that nothing is between how the inbox stands and what comes.
    socket.into_iter().for_each(|socket_id| store.streams.bind(socket_id, &user));
    let state = ask(store, visit, store.inbox().state(&app.id, &user)).await?;
    socket.into_iter().for_each(|socket_id| store.greet(socket_id, &state));
    let until = ledger::now_secs() + secs;
    let token = store.sessions.token(&Session { app: (*app.id).to_owned(), user: user.clone(), socket, until });
    let inbox = app.inbox.as_ref().expect("the store's app has one");
    let channels = inbox.channels_of(&user, app.limits.channel_name_length_max);
    let channels: Vec<&str> = channels.iter().map(|channel| channel.as_str()).collect();
    let mut answer = serde_json::to_value(state).expect("numbers are JSON");
    answer["token"] = token.into();
    answer["expires_in"] = secs.into();
    answer["user"] = user.into();
    answer["app"] = (*app.id).into();
    answer["channels"] = json!(channels);
    Ok(json(&answer))
}

fn prove(body: &Value, door: &Door) -> Result<Proof, Refused> {
    let field = |name: &str| body[name].as_str();
    if let Some(token) = field("jwt") {
        if let Some(name) = ["socket_id", "channel_name", "channel_data", "user_data", "auth"]
            .into_iter()
            .find(|name| field(name).is_some())
        {
            let message =
                format!("{name} does not go with jwt, which proves the user by itself: send one or the other");
            return Err(Refused::new(Code::WrongType, message).at(format!("/{name}")));
        }
        return of_jwt(token, door);
    }
    let needed = |name: &'static str| {
        let message =
            format!("{name} is missing: a session takes socket_id, auth and channel_name or user_data, or jwt");
        field(name).ok_or_else(|| Refused::new(Code::Missing, message).at(format!("/{name}")))
    };
    let socket_id = SocketId::parse(needed("socket_id")?)
        .map_err(|error| Refused::new(Code::InvalidSocketId, error.to_string()).at("/socket_id"))?;
    let auth = needed("auth")?;
    let auth = AuthToken::parse(auth).ok_or_else(|| {
        Refused::new(Code::InvalidAuth, "auth must be KEY:SIGNATURE, as the application's endpoint answers").at("/auth")
    })?;
    let app = app_of_key(auth.key, door)?;
    let secret =
        app.secret(auth.key).ok_or_else(|| Refused::new(Code::InvalidAuth, "auth is of no active key").at("/auth"))?;
    let (signed, user) = match (field("channel_name"), field("user_data")) {
        (Some(channel), None) => {
            let signed = channel_string(socket_id, channel, field("channel_data"));
            (signed, of_channel(channel, &app)?)
        }
        (None, Some(user_data)) => (user_string(socket_id, user_data), of_user_data(user_data)?),
        (Some(_), Some(_)) => {
            let message = "channel_name and user_data are two proofs: send one";
            return Err(Refused::new(Code::WrongType, message).at("/user_data"));
        }
        (None, None) => {
            needed("channel_name")?;
            unreachable!("it has just been found missing")
        }
    };
    if !secret.verify(signed.as_bytes(), auth.signature) {
        let message = format!("auth is not the signature of {signed:?} with the secret of this key");
        return Err(Refused::new(Code::InvalidAuth, message).at("/auth"));
    }
    Ok(Proof { user: checked(user)?, app, socket: Some(socket_id), secs: SESSION_SECS })
}

/// The user of a channel whose signature opens an inbox. Told before the signature is looked at: it is public which do.
fn of_channel(channel: &str, app: &App) -> Result<String, Refused> {
    let user = app.inbox.as_ref().and_then(|inbox| inbox.identified(channel));
    user.map(str::to_owned).ok_or_else(|| {
        let message = "the signature of this channel opens no inbox: name its pattern in identity of the app's [apps.inbox], or send user_data";
        Refused::new(Code::NotIdentity, message).at("/channel_name")
    })
}

fn of_user_data(user_data: &str) -> Result<String, Refused> {
    let user = serde_json::from_str::<SignedUser>(user_data).ok().map(|user| user.id);
    match user {
        Some(Value::String(id)) => Ok(id),
        Some(Value::Number(id)) => Ok(id.to_string()),
        _ => Err(Refused::new(Code::InvalidAuth, "user_data must be JSON with the user's id").at("/user_data")),
    }
}

fn of_jwt(token: &str, door: &Door) -> Result<Proof, Refused> {
    let refused = |error: crate::inbox::jwt::InvalidJwt| Refused::new(Code::InvalidAuth, error.to_string()).at("/jwt");
    let token = Unverified::parse(token).map_err(refused)?;
    let app = app_of_key(&token.key, door)?;
    let secret =
        app.secret(&token.key).ok_or_else(|| Refused::new(Code::InvalidAuth, "kid is no active key").at("/jwt"))?;
    let now = ledger::now_secs();
    let subject = token.verify(secret, &app.id, now).map_err(refused)?;
    let secs = subject.until.saturating_sub(now).min(SESSION_SECS);
    Ok(Proof { user: checked(subject.user)?, app, socket: None, secs })
}

fn checked(user: String) -> Result<String, Refused> {
    if user.is_empty() || user.chars().count() > SESSION_USER_LENGTH_MAX || user.chars().any(char::is_control) {
        let message = format!(
            "the user's id must have 1 to {SESSION_USER_LENGTH_MAX} characters, none of them a control character"
        );
        return Err(Refused::new(Code::InvalidAuth, message));
    }
    Ok(user)
}
