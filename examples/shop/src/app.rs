//! What every part of the shop can reach.
//!
//! Owns the application's state and its routes. Never decides anything. The invariant: every route but the built files
//! of the front end is behind [`session::guard`]. Read on in [`crate::session`] and [`crate::pages`].

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::{Next, from_extractor_with_state, from_fn_with_state, map_response};
use axum::response::Response;
use campanile_broadcast::{AuthorizationCache, Campanile, Timings};
use parking_lot::Mutex;
use tower_http::services::ServeDir;

use crate::attempts::Attempts;
use crate::channels::channels;
use crate::comparison::Comparing;
use crate::front_end::FrontEnd;
use crate::live_server::LiveServer;
use crate::pages;
use crate::session::{self, CurrentUser, Operator};
use crate::store::Db;
use crate::traffic::Traffic;

/// The application's state. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) db: Db,
    pub(crate) campanile: Campanile,
    /// To be told when somebody loses a right.
    pub(crate) authorizations: AuthorizationCache,
    pub(crate) attempts: Arc<Attempts>,
    /// What browsers must know to connect.
    pub(crate) live: Arc<LiveServer>,
    pub(crate) front_end: Arc<FrontEnd>,
    pub(crate) timings: Timings,
    pub(crate) traffic: Traffic,
    pub(crate) comparing: Arc<Mutex<Comparing>>,
    /// Where this application listens.
    pub(crate) address: SocketAddr,
}

/// Everything that the application answers.
pub(crate) fn router(mut app: App) -> Router {
    let channels = channels(app.authorizations.clone());
    app.timings = channels.timings();
    let broadcasting = app.campanile.routes::<CurrentUser, App>(channels);
    // The outbox's page asks nobody who they are: the layer in front of it does.
    let outbox = app.campanile.outbox().routes().layer(from_extractor_with_state::<Operator, App>(app.clone()));
    let assets = Router::new()
        .nest_service("/assets", ServeDir::new(app.front_end.directory.join("assets")))
        .layer(map_response(cached_for_ever));
    Router::new()
        .merge(pages::routes())
        .merge(broadcasting)
        .nest("/operations/outbox", outbox)
        .fallback(pages::not_found)
        .layer(from_fn_with_state(app.clone(), session::guard))
        .layer(from_fn_with_state(app.clone(), pages::errors_as_pages))
        .layer(from_fn_with_state(app.clone(), secured))
        .merge(assets)
        .layer(from_fn_with_state(app.traffic.clone(), Traffic::count_request))
        .with_state(app)
}

/// The names of built files change with what is in them.
async fn cached_for_ever(mut response: Response) -> Response {
    if response.status().is_success() {
        let forever = HeaderValue::from_static("public, max-age=31536000, immutable");
        response.headers_mut().insert(header::CACHE_CONTROL, forever);
    }
    response
}

/// Scripts and styles are the application's own files, and sockets go to the one server.
async fn secured(State(app): State<App>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    // The outbox's page brings a style of its own, and no script.
    if !headers.contains_key(header::CONTENT_SECURITY_POLICY) {
        headers.insert(header::CONTENT_SECURITY_POLICY, app.live.content_security_policy.clone());
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
