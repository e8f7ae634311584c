//! Who asks.
//!
//! Owns cookies, sessions and the tokens that forms carry. Never stores what a cookie holds, only its hash. The
//! invariant: a request that may change something goes on only with its session's own token, in the header
//! `X-CSRF-Token` or in the field `_token`. Read on in [`crate::pages`].

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher, PasswordVerifier};
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use sha2::{Digest, Sha256};

use crate::app::App;
use crate::pages::PageError;
use crate::store::{Db, Tx, either};

const COOKIE_NAME: &str = "shop_session";
/// Bytes of randomness in a cookie and in a token.
const RANDOM_BYTES: usize = 32;
/// How long a session lasts.
const SESSION_LASTS: Duration = Duration::from_secs(12 * 60 * 60);
/// Bytes of a form that may be read for its token.
const FORM_BYTES_MAX: usize = 64 * 1024;

/// One browser, signed in or not.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    id_hash: String,
    pub(crate) csrf_token: String,
    user: Option<CurrentUser>,
}

/// The user that a request comes from. Where nobody is signed in, pages lead to the sign-in page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CurrentUser {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) is_operator: bool,
}

/// A signed-in user with what their forms need.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    pub(crate) user: CurrentUser,
    pub(crate) csrf_token: String,
}

/// A visit of somebody who runs the shop.
#[derive(Debug, Clone)]
pub(crate) struct Operator(pub(crate) Visit);

impl<S: Sync> FromRequestParts<S> for Visit {
    type Rejection = Redirect;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Redirect> {
        let visit = parts
            .extensions
            .get::<Arc<Session>>()
            .and_then(|session| Some(Self { user: session.user.clone()?, csrf_token: session.csrf_token.clone() }));
        visit.ok_or_else(|| Redirect::to("/sign-in"))
    }
}

impl<S: Sync> FromRequestParts<S> for CurrentUser {
    type Rejection = Redirect;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Redirect> {
        Visit::from_request_parts(parts, state).await.map(|visit| visit.user)
    }
}

impl<S: Sync> FromRequestParts<S> for Operator {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let visit = Visit::from_request_parts(parts, state).await.map_err(IntoResponse::into_response)?;
        if visit.user.is_operator { Ok(Self(visit)) } else { Err(PageError::Forbidden.into_response()) }
    }
}

/// Middleware: finds the session, and refuses what a foreign page may have sent.
pub(crate) async fn guard(State(app): State<App>, mut request: Request, next: Next) -> Result<Response, PageError> {
    let session = match cookie(request.headers()) {
        Some(id) => find(&app.db, &hashed(id)).await?.map(Arc::new),
        None => None,
    };
    if !request.method().is_safe() {
        let token;
        (token, request) = taken_token(request).await?;
        let expected = session.as_ref().map(|session| session.csrf_token.as_str());
        if !expected.zip(token.as_deref()).is_some_and(|(expected, token)| is_same(expected, token)) {
            return Err(PageError::Forged);
        }
    }
    if let Some(session) = session {
        request.extensions_mut().insert(session);
    }
    Ok(next.run(request).await)
}

/// The token that a request carries, and the request as it was.
async fn taken_token(request: Request) -> Result<(Option<String>, Request), PageError> {
    if let Some(token) = request.headers().get("x-csrf-token") {
        return Ok((token.to_str().ok().map(str::to_owned), request));
    }
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if !content_type.is_some_and(|value| value.starts_with("application/x-www-form-urlencoded")) {
        return Ok((None, request));
    }
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, FORM_BYTES_MAX).await.map_err(|_| PageError::TooLong)?;
    let mut fields = form_urlencoded::parse(&body);
    let token = fields.find(|(name, _)| name == "_token").map(|(_, value)| value.into_owned());
    Ok((token, Request::from_parts(parts, Body::from(body))))
}

/// Compares hashes, so that the time tells nothing of the token.
fn is_same(expected: &str, given: &str) -> bool {
    Sha256::digest(expected) == Sha256::digest(given)
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    cookies.flat_map(|value| value.split(';')).find_map(|pair| pair.trim().strip_prefix(COOKIE_NAME)?.strip_prefix('='))
}

async fn find(db: &Db, id_hash: &str) -> sqlx::Result<Option<Session>> {
    #[derive(sqlx::FromRow)]
    struct Row {
        csrf_token: String,
        user_id: Option<i64>,
        name: Option<String>,
        is_operator: Option<bool>,
    }
    let sql = "SELECT csrf_token, user_id, name, is_operator FROM sessions LEFT JOIN users ON users.id = user_id \
               WHERE id_hash = $1 AND expires_at > $2";
    let row: Option<Row> = either!(db, |db| sqlx::query_as(sql).bind(id_hash).bind(now()).fetch_optional(db).await?);
    Ok(row.map(|row| Session {
        id_hash: id_hash.to_owned(),
        csrf_token: row.csrf_token,
        user: match (row.user_id, row.name) {
            (Some(id), Some(name)) => Some(CurrentUser { id, name, is_operator: row.is_operator.unwrap_or(false) }),
            _ => None,
        },
    }))
}

/// A session that was just begun, with what its browser is to keep.
#[derive(Debug)]
pub(crate) struct NewSession {
    id: String,
    pub(crate) csrf_token: String,
}

impl NewSession {
    /// Begins a session, of a user or of somebody who is yet to sign in.
    pub(crate) async fn begin(tx: &mut Tx, user_id: Option<i64>) -> Result<Self, PageError> {
        let new = Self { id: random()?, csrf_token: random()? };
        let sql = "INSERT INTO sessions (id_hash, csrf_token, user_id, expires_at) VALUES ($1, $2, $3, $4)";
        let (id_hash, expires_at) = (hashed(&new.id), now().saturating_add_unsigned(SESSION_LASTS.as_secs()));
        either!(tx, |tx| {
            let insert = sqlx::query(sql).bind(id_hash).bind(&new.csrf_token).bind(user_id).bind(expires_at);
            insert.execute(&mut **tx).await?;
        });
        Ok(new)
    }

    /// For the answer's headers. `Secure` is what an application behind TLS adds.
    pub(crate) fn set_cookie(&self) -> (HeaderName, HeaderValue) {
        let lasts = SESSION_LASTS.as_secs();
        let cookie = format!("{}; Path=/; HttpOnly; SameSite=Lax; Max-Age={lasts}", self.cookie());
        (SET_COOKIE, HeaderValue::try_from(cookie).expect("hexadecimal digits may stand in a header"))
    }

    /// What the browser sends back.
    pub(crate) fn cookie(&self) -> String {
        format!("{COOKIE_NAME}={}", self.id)
    }
}

/// Ends a session. A new one begins when somebody signs in, so that nobody knows its id from before.
pub(crate) async fn end(tx: &mut Tx, session: &Session) -> sqlx::Result<()> {
    let sql = "DELETE FROM sessions WHERE id_hash = $1 OR expires_at <= $2";
    either!(tx, |tx| sqlx::query(sql).bind(&session.id_hash).bind(now()).execute(&mut **tx).await.map(|_| ()))
}

/// The id of the user with this address and password.
pub(crate) async fn authenticate(db: &Db, email: &str, password: String) -> Result<Option<i64>, PageError> {
    let sql = "SELECT id, password_hash FROM users WHERE email = $1 AND password_hash IS NOT NULL";
    let found: Option<(i64, String)> = either!(db, |db| sqlx::query_as(sql).bind(email).fetch_optional(db).await?);
    // Slow on purpose, so not on a thread that answers requests.
    let checking = tokio::task::spawn_blocking(move || {
        // As slow where there is no such user, or the time would tell who has an account.
        let (id, hash) = found.map_or_else(|| (None, NOBODYS_HASH.clone()), |(id, hash)| (Some(id), hash));
        let hash = PasswordHash::new(&hash).map_err(PageError::internal)?;
        let is_right = Argon2::default().verify_password(password.as_bytes(), &hash).is_ok();
        Ok(id.filter(|_| is_right))
    });
    checking.await.map_err(PageError::internal)?
}

/// What a password is compared with that is nobody's.
static NOBODYS_HASH: LazyLock<String> = LazyLock::new(|| hash_password("").unwrap_or_default());

/// What is stored of a password.
pub(crate) fn hash_password(password: &str) -> Result<String, argon2::password_hash::Error> {
    Argon2::default().hash_password(password.as_bytes()).map(|hash| hash.to_string())
}

fn hashed(id: &str) -> String {
    hex::encode(Sha256::digest(id))
}

/// Seconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn random() -> Result<String, PageError> {
    let mut bytes = [0; RANDOM_BYTES];
    getrandom::fill(&mut bytes).map_err(PageError::internal)?;
    Ok(hex::encode(bytes))
}
