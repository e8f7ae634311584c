//! Team boards: cards that move for everybody, and who is at the board.

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{Redirect, Response};
use axum::{Form, Json};
use campanile_broadcast::SocketId;
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::{Section, heading, page as layout, token};
use super::{PageError, value_or_page, written};
use crate::app::App;
use crate::session::{CurrentUser, Operator, Visit};
use crate::store::teams::{self, Card, Lane, Person, Stroke, TITLE_LENGTH_MAX};

pub(super) async fn list(State(app): State<App>, visit: Visit) -> Result<Markup, PageError> {
    let teams = teams::all(&app.db, visit.user.id).await?;
    let content = html! {
        (heading("Teams", "A board for each.", html! {}))
        ul.tiles {
            @for team in &teams {
                li {
                    a.card href={ "/teams/" (team.id) } {
                        span.eyebrow { @if team.is_mine { "Your team" } @else { "For its members" } }
                        h2 { (team.name) }
                        p { (team.members) " members" }
                    }
                }
            }
        }
    };
    Ok(layout(&app, &visit, Section::Teams, "Teams", content))
}

/// The board. Others see that it is there, and what its channel answers them.
pub(super) async fn page(State(app): State<App>, visit: Visit, Path(id): Path<i64>) -> Result<Markup, PageError> {
    let teams = teams::all(&app.db, visit.user.id).await?;
    let team = teams.iter().find(|team| team.id == id).ok_or(PageError::NotFound)?;
    let cards = if team.is_mine { teams::cards(&app.db, id).await? } else { Vec::new() };
    let people = if visit.user.is_operator { teams::people(&app.db, id).await? } else { Vec::new() };
    let here = html! { ul.avatars #here aria-label="At the board now" {} };
    let content = html! {
        (heading(&team.name, &format!("{} members", team.members), here))
        p.refusal #board-refusal role="alert" hidden {}
        div data-team=(id) {
            @if team.is_mine {
                div.board {
                    @for lane in Lane::ALL {
                        @let own = cards.iter().filter(|card| card.lane == lane);
                        section.lane data-lane=(lane.key()) aria-labelledby={ "lane-" (lane.key()) } {
                            h2 #{ "lane-" (lane.key()) } { (lane.title()) }
                            ul { @for card in own { (card_row(&visit, id, Some(card))) } }
                            @if lane == Lane::Todo { (card_form(&visit, id)) }
                        }
                    }
                }
                template #card-template { (card_row(&visit, id, None)) }
            }
        }
        @if !people.is_empty() { (membership(&visit, id, &people)) }
    };
    Ok(layout(&app, &visit, Section::Teams, &team.name, content))
}

/// What a browser has missed.
pub(super) async fn cards(
    State(app): State<App>,
    user: CurrentUser,
    Path(id): Path<i64>,
) -> Result<Json<Vec<Card>>, PageError> {
    of_member(&app, id, &user).await?;
    Ok(Json(teams::cards(&app.db, id).await?))
}

#[derive(Deserialize)]
pub(super) struct NewCard {
    title: String,
}

pub(super) async fn add(
    State(app): State<App>,
    user: CurrentUser,
    socket: SocketId,
    Path(team_id): Path<i64>,
    headers: HeaderMap,
    Form(new): Form<NewCard>,
) -> Result<Response, PageError> {
    of_member(&app, team_id, &user).await?;
    let title = written(&new.title, TITLE_LENGTH_MAX)?;
    let stroke = Stroke { team_id, by: &user.name, socket };
    let card = teams::add_card(&app.db, &app.campanile, stroke, title).await?;
    Ok(value_or_page(&headers, card, &format!("/teams/{team_id}")))
}

#[derive(Deserialize)]
pub(super) struct Place {
    lane: Lane,
}

pub(super) async fn place(
    State(app): State<App>,
    user: CurrentUser,
    socket: SocketId,
    Path((team_id, card_id)): Path<(i64, i64)>,
    headers: HeaderMap,
    Form(Place { lane }): Form<Place>,
) -> Result<Response, PageError> {
    of_member(&app, team_id, &user).await?;
    let stroke = Stroke { team_id, by: &user.name, socket };
    let card = teams::move_card(&app.db, &app.campanile, stroke, card_id, lane).await?.ok_or(PageError::NotFound)?;
    Ok(value_or_page(&headers, card, &format!("/teams/{team_id}")))
}

#[derive(Deserialize)]
pub(super) struct Somebody {
    user_id: i64,
}

pub(super) async fn add_member(
    State(app): State<App>,
    _: Operator,
    Path(team_id): Path<i64>,
    Form(Somebody { user_id }): Form<Somebody>,
) -> Result<Redirect, PageError> {
    // Only a yes is remembered, so there is nothing to forget.
    teams::add_member(&app.db, &app.campanile, team_id, user_id).await?;
    Ok(Redirect::to(&format!("/teams/{team_id}")))
}

pub(super) async fn remove_member(
    State(app): State<App>,
    _: Operator,
    Path(team_id): Path<i64>,
    Form(Somebody { user_id }): Form<Somebody>,
) -> Result<Redirect, PageError> {
    teams::remove_member(&app.db, &app.campanile, team_id, user_id).await?;
    // After the commit: what was decided on the old rows must not be remembered.
    app.authorizations.forget_user(user_id);
    Ok(Redirect::to(&format!("/teams/{team_id}")))
}

async fn of_member(app: &App, team_id: i64, user: &CurrentUser) -> Result<(), PageError> {
    if teams::has_member(&app.db, team_id, user.id).await? { Ok(()) } else { Err(PageError::Forbidden) }
}

/// Who is in the team, for whoever may change that.
fn membership(visit: &Visit, team_id: i64, people: &[Person]) -> Markup {
    let (members, others): (Vec<_>, Vec<_>) = people.iter().partition(|person| person.is_member);
    html! {
        section.card #membership aria-labelledby="membership-title" {
            h2 #membership-title { "Members" }
            ul.members {
                @for member in members {
                    li {
                        span { (member.name) }
                        form method="post" action={ "/teams/" (team_id) "/members/remove" } {
                            (token(visit))
                            input type="hidden" name="user_id" value=(member.id);
                            button type="submit" aria-label={ "Remove " (member.name) } { "Remove" }
                        }
                    }
                }
            }
            @if !others.is_empty() {
                form.inline method="post" action={ "/teams/" (team_id) "/members" } {
                    (token(visit))
                    label {
                        span { "Somebody else" }
                        select name="user_id" {
                            @for other in others { option value=(other.id) { (other.name) } }
                        }
                    }
                    button type="submit" { "Add" }
                }
            }
        }
    }
}

fn card_form(visit: &Visit, team_id: i64) -> Markup {
    html! {
        form.add #card-form method="post" action={ "/teams/" (team_id) "/cards" } {
            (token(visit))
            label {
                span.unseen { "New card" }
                input name="title" required maxlength=(TITLE_LENGTH_MAX) placeholder="Add a card" autocomplete="off";
            }
            button type="submit" { "Add" }
        }
    }
}

/// A card, or the template from which the front end makes more.
fn card_row(visit: &Visit, team_id: i64, card: Option<&Card>) -> Markup {
    html! {
        li.board-card data-card=[card.map(|card| card.card_id)] {
            p.title { (card.map(|card| card.title.as_str()).unwrap_or_default()) }
            form.move method="post"
                action={ "/teams/" (team_id) "/cards/" (card.map(|card| card.card_id).unwrap_or_default()) } {
                (token(visit))
                @for lane in Lane::ALL {
                    button type="submit" name="lane" value=(lane.key())
                        disabled[card.is_some_and(|card| card.lane == lane)] { (lane.title()) }
                }
            }
        }
    }
}
