//! A whole application in one file: two authorization routes, and one route that ships an order.
//!
//! ```text
//! PUSHER_APP_ID=app PUSHER_APP_KEY=key PUSHER_APP_SECRET=secret PUSHER_HOST=127.0.0.1 PUSHER_PORT=6001 \
//! PUSHER_SCHEME=http ENCRYPTION_MASTER_KEY=$(openssl rand -base64 32) \
//!     cargo run -p campanile-broadcast --example application
//! ```
//!
//! It prints its address. Who asks is in the header `X-User`, as JSON: a real application would know it from a session.
//! The end-to-end tests put pusher-js and Laravel Echo in front of it.

use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::post;
use axum::{Json, Router};
use campanile_broadcast::{Broadcast, Campanile, Channel, Channels, Identity, MasterKey, Member, Settings, SocketId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Channel)]
#[channel("private-user.{id}")]
struct UserChannel {
    id: i64,
}

#[derive(Channel)]
#[channel("private-encrypted-salary.{id}")]
struct SalaryChannel {
    id: i64,
}

#[derive(Channel)]
#[channel("presence-team.{id}")]
struct TeamChannel {
    id: i64,
}

fn channels() -> Channels<CurrentUser, App> {
    Channels::new()
        .private(|user: CurrentUser, ch: UserChannel, _: App| async move { user.id == ch.id })
        .private(|user: CurrentUser, ch: SalaryChannel, _: App| async move { user.id == ch.id })
        .presence(|user: CurrentUser, ch: TeamChannel, _: App| async move {
            (user.team == Some(ch.id)).then(|| Member::new(user.id, json!({ "name": user.name })))
        })
        .user(|user: CurrentUser, _: App| async move { Identity::new(user.id) })
}

#[derive(Serialize, Broadcast)]
#[broadcast(name = "order.shipped", on = [UserChannel { id: self.owner }])]
struct OrderShipped {
    order: i64,
    #[serde(skip)]
    owner: i64,
}

#[derive(Serialize, Broadcast)]
#[broadcast(name = "salary.raised", on = [SalaryChannel { id: self.of }])]
struct SalaryRaised {
    amount: Value,
    #[serde(skip)]
    of: i64,
}

#[derive(Clone)]
struct App {
    campanile: Campanile,
}

#[derive(Clone, Deserialize)]
struct CurrentUser {
    id: i64,
    #[serde(default)]
    name: String,
    team: Option<i64>,
}

impl FromRequestParts<App> for CurrentUser {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, StatusCode> {
        let header = parts.headers.get("x-user").ok_or(StatusCode::UNAUTHORIZED)?;
        serde_json::from_slice(header.as_bytes()).map_err(|_| StatusCode::UNAUTHORIZED)
    }
}

async fn ship(State(app): State<App>, user: CurrentUser, socket: SocketId, Path(order): Path<i64>) -> StatusCode {
    app.campanile.broadcast(OrderShipped { order, owner: user.id }).to_others(socket).rescue().await;
    StatusCode::NO_CONTENT
}

async fn raise(State(app): State<App>, user: CurrentUser, Json(amount): Json<Value>) -> StatusCode {
    app.campanile.broadcast(SalaryRaised { amount, of: user.id }).rescue().await;
    StatusCode::NO_CONTENT
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "its address is what this program has to say")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let master_key = MasterKey::from_base64(&std::env::var("ENCRYPTION_MASTER_KEY")?)?;
    let settings = Settings::from_env()?.master_key(master_key);
    let app = App { campanile: Campanile::new(settings)? };
    let router = Router::new()
        .route("/orders/{order}/ship", post(ship))
        .route("/salary", post(raise))
        .merge(app.campanile.routes::<CurrentUser, App>(channels()))
        .with_state(app);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, router).await?)
}
