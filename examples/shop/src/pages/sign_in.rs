//! Signing in and out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use axum::response::{AppendHeaders, IntoResponse, Redirect, Response};
use axum::{Extension, Form};
use maud::{Markup, html};
use serde::Deserialize;

use super::PageError;
use super::layout::{document, mark};
use crate::app::App;
use crate::session::{self, NewSession, Session};
use crate::store::{DEMO_PASSWORD, DEMO_USERS};

#[derive(Deserialize)]
pub(super) struct Credentials {
    email: String,
    password: String,
}

/// The form. Its visitor has a session from now on, so that nobody can be signed in by a foreign page.
pub(super) async fn page(
    State(app): State<App>,
    session: Option<Extension<Arc<Session>>>,
) -> Result<Response, PageError> {
    if let Some(Extension(session)) = session {
        return Ok(form(&app, &session.csrf_token, "", None).into_response());
    }
    let mut tx = app.db.begin().await?;
    let session = NewSession::begin(&mut tx, None).await?;
    tx.commit().await?;
    Ok((AppendHeaders([session.set_cookie()]), form(&app, &session.csrf_token, "", None)).into_response())
}

pub(super) async fn sign_in(
    State(app): State<App>,
    Extension(session): Extension<Arc<Session>>,
    // Behind a proxy this would be the proxy's, and the header that it adds the browser's.
    ConnectInfo(address): ConnectInfo<SocketAddr>,
    Form(given): Form<Credentials>,
) -> Result<Response, PageError> {
    let email = given.email.trim();
    let again = |status, refusal: &str| (status, form(&app, &session.csrf_token, email, Some(refusal))).into_response();
    let attempt = match app.attempts.take(email, address.ip(), Instant::now()) {
        Ok(attempt) => attempt,
        Err(wait) => {
            let seconds = wait.as_secs() + 1;
            let refusal = format!("Too many attempts to sign in. Please try again in {seconds} s.");
            let mut response = again(StatusCode::TOO_MANY_REQUESTS, &refusal);
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
            return Ok(response);
        }
    };
    let authenticated = session::authenticate(&app.db, email, given.password).await;
    // A database that is away is no guess.
    let Some(user_id) = authenticated.inspect_err(|_| app.attempts.give_back(&attempt))? else {
        let refusal = "There is no user with this address and password.";
        return Ok(again(StatusCode::UNPROCESSABLE_ENTITY, refusal));
    };
    app.attempts.give_back(&attempt);
    let mut tx = app.db.begin().await?;
    session::end(&mut tx, &session).await?;
    let session = NewSession::begin(&mut tx, Some(user_id)).await?;
    tx.commit().await?;
    Ok((AppendHeaders([session.set_cookie()]), Redirect::to("/orders")).into_response())
}

pub(super) async fn sign_out(
    State(app): State<App>,
    Extension(session): Extension<Arc<Session>>,
) -> Result<Redirect, PageError> {
    let mut tx = app.db.begin().await?;
    session::end(&mut tx, &session).await?;
    tx.commit().await?;
    Ok(Redirect::to("/sign-in"))
}

fn form(app: &App, csrf_token: &str, email: &str, refusal: Option<&str>) -> Markup {
    let token = html! { input type="hidden" name="_token" value=(csrf_token); };
    let body = html! {
        main.entrance #content {
            section.card {
                p.brand { (mark()) span { "Fernpost" } }
                h1 { "Sign in" }
                form.stack method="post" action="/sign-in" {
                    (token)
                    @if let Some(refusal) = refusal { p.refusal role="alert" { (refusal) } }
                    label { "E-mail" input name="email" type="email" autocomplete="username" required value=(email); }
                    label { "Password" input name="password" type="password" autocomplete="current-password" required; }
                    button.primary type="submit" { "Sign in" }
                }
            }
            section.demo {
                h2 { "Demo users" }
                p.lead {
                    "The password of all of them is " code { (DEMO_PASSWORD) }
                    ". A private window makes you a second person."
                }
                ul.people {
                    @for user in &DEMO_USERS {
                        li {
                            form method="post" action="/sign-in" {
                                (token)
                                input type="hidden" name="email" value=(user.email);
                                input type="hidden" name="password" value=(DEMO_PASSWORD);
                                button.person type="submit" {
                                    strong { (user.name) }
                                    span { (user.about) }
                                    code { (user.email) }
                                }
                            }
                        }
                    }
                }
            }
        }
    };
    document(app, "Sign in", html! {}, body)
}
