//! Live events for applications in Rust: what Laravel Broadcasting is to PHP, checked by the compiler.
//!
//! Owns typed channels, events and notifications, who may subscribe, and how events and notifications leave. Never links the server: any server that
//! speaks the Pusher Channels protocol will do. One invariant: an event or a channel that compiles has a name that the
//! server takes, as far as the compiler can know. Reading order: [`channel`] and [`event`], [`campanile`], [`authorize`],
//! [`notification`] and [`notify`], then [`settings`], [`publish`], [`encryption`], [`fake`] and [`timing`].
//!
//! ```no_run
//! use axum::{Router, extract::{FromRequestParts, State}, http::{StatusCode, request::Parts}, routing::post};
//! use campanile_broadcast::{Broadcast, Campanile, Channel, Channels, Member, Settings, SocketId};
//! use serde_json::json;
//!
//! #[derive(Channel)] #[channel("private-user.{id}")]  struct UserChannel { id: i64 }
//! #[derive(Channel)] #[channel("presence-team.{id}")] struct TeamChannel { id: i64 }
//!
//! fn channels() -> Channels<CurrentUser, App> {
//!     Channels::new()
//!         .private(|user: CurrentUser, ch: UserChannel, _: App| async move { user.id == ch.id })
//!         .presence(|user: CurrentUser, ch: TeamChannel, _: App| async move {
//!             (user.team == ch.id).then(|| Member::new(user.id, json!({ "name": user.name })))
//!         })
//! }
//!
//! #[derive(serde::Serialize, Broadcast)]
//! #[broadcast(name = "order.shipped", on = [UserChannel { id: self.user_id }])]
//! struct OrderShipped { order_id: i64, #[serde(skip)] user_id: i64 }
//!
//! async fn ship(State(app): State<App>, user: CurrentUser, socket: SocketId) -> StatusCode {
//!     app.campanile.broadcast(OrderShipped { order_id: 42, user_id: user.id }).to_others(socket).rescue().await;
//!     StatusCode::NO_CONTENT
//! }
//!
//! fn router(settings: Settings) -> Result<Router, Box<dyn std::error::Error>> {
//!     let app = App { campanile: Campanile::new(settings)? };
//!     let broadcasting = app.campanile.routes::<CurrentUser, App>(channels());
//!     Ok(Router::new().route("/ship", post(ship)).merge(broadcasting).with_state(app))
//! }
//! # #[derive(Clone)] struct App { campanile: Campanile }
//! # #[derive(Clone)] struct CurrentUser { id: i64, team: i64, name: String }
//! # impl FromRequestParts<App> for CurrentUser {
//! #     type Rejection = StatusCode;
//! #     async fn from_request_parts(_: &mut Parts, _: &App) -> Result<Self, StatusCode> { Err(StatusCode::UNAUTHORIZED) }
//! # }
//! ```

pub mod anonymous;
pub mod authorize;
pub mod cache;
pub mod campanile;
pub mod channel;
pub mod draft;
pub mod encryption;
pub mod event;
pub mod fake;
pub mod model;
pub mod notification;
pub mod notify;
pub mod outbox;
pub mod publish;
#[cfg(feature = "axum")]
pub mod routes;
pub mod settings;
pub mod socket_id;
pub mod timing;
#[cfg(feature = "typescript")]
pub mod typescript;

pub use anonymous::AnonymousEvent;
pub use authorize::{Authorizer, ChannelAuth, Channels, Denied, Identity, Member, UserAuth};
pub use cache::AuthorizationCache;
pub use campanile::{Campanile, Published};
pub use campanile_broadcast_macros::{Broadcast, Channel, Notification};
pub use campanile_protocol::{ChannelName, Limits};
pub use channel::{
    Channel, ChannelList, InvalidChannel, Listed, Parameter, Parameters, PresenceChannel, PrivateChannel, SignedInUser,
};
pub use draft::{Draft, InvalidNotification};
pub use encryption::MasterKey;
pub use event::{BroadcastEvent, NamedEvent};
pub use fake::Fake;
pub use model::{BroadcastModel, Change, ModelChanged};
pub use notification::{Audience, Content, Everyone, Notification, NotificationKind, Recipient, To, Via};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use outbox::OutboxTransaction;
pub use outbox::{Courier, JobOptions, OnExceed, Outbox, OutboxError, Rate, RunningCourier};
pub use publish::{DeliveryError, PublishError};
pub use settings::{Settings, SettingsError, Timeouts};
pub use socket_id::SocketId;
/// The version of sqlx whose transactions and pools are taken.
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use sqlx;
pub use timing::{Timing, Timings};
/// The derive that gives an event its type for the front end, and its crate.
#[cfg(feature = "typescript")]
pub use ts_rs;
#[cfg(feature = "typescript")]
pub use typescript::Typescript;
