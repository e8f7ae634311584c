//! My orders: live, or by polling to compare.

use axum::extract::State;
use axum::response::Redirect;
use axum::{Form, Json};
use maud::{Markup, html};
use serde::Deserialize;

use super::PageError;
use super::layout::{Section, heading, page as layout, token};
use crate::app::App;
use crate::session::{CurrentUser, Visit};
use crate::store::orders::{self, Order, Status};

/// What may be ordered, with its price in cents.
const CATALOGUE: [(&str, i64); 4] =
    [("Linen notebook, A5", 1800), ("Brass ruler", 2400), ("Fountain pen, medium", 6400), ("Sealing wax", 700)];

pub(super) async fn page(State(app): State<App>, visit: Visit) -> Result<Markup, PageError> {
    let orders = orders::of_user(&app.db, visit.user.id).await?;
    let switch = html! {
        fieldset.switch #way {
            legend.unseen { "How this page is kept up to date" }
            label { input type="radio" name="way" value="live" checked; span { "Live" } }
            label { input type="radio" name="way" value="polling"; span { "Poll every 5 s" } }
        }
    };
    let content = html! {
        (heading("My orders", "The status changes by itself when a parcel leaves.", switch))
        p.note #polling-note hidden {
            "Times that this page has asked: " strong #poll-count { "0" } ". Times that there was something new: "
            strong #poll-news { "0" } "."
        }
        @if orders.is_empty() { p.empty { "You have not ordered anything yet." } }
        ul.orders #orders { @for order in &orders { (row(order)) } }
        section.card {
            h2 { "Order again" }
            form.inline method="post" action="/orders" {
                (token(&visit))
                label {
                    span { "Item" }
                    select name="item" {
                        @for (item, cents) in CATALOGUE { option value=(item) { (item) ", " (price(cents)) } }
                    }
                }
                button.primary type="submit" { "Place order" }
            }
        }
    };
    Ok(layout(&app, &visit, Section::Orders, "My orders", content))
}

/// What polling asks for, and every page once it listens.
pub(super) async fn json(State(app): State<App>, user: CurrentUser) -> Result<Json<Vec<Order>>, PageError> {
    Ok(Json(orders::of_user(&app.db, user.id).await?))
}

#[derive(Deserialize)]
pub(super) struct Placing {
    item: String,
}

pub(super) async fn place(
    State(app): State<App>,
    user: CurrentUser,
    Form(placing): Form<Placing>,
) -> Result<Redirect, PageError> {
    let known = CATALOGUE.iter().find(|(item, _)| *item == placing.item);
    let (item, cents) = known.ok_or(PageError::Refused("We do not have that."))?;
    orders::place(&app.db, user.id, item, *cents).await?;
    Ok(Redirect::to("/orders"))
}

fn row(order: &Order) -> Markup {
    let (status, label) = match order.status {
        Status::Packing => ("packing", "Being packed"),
        Status::Shipped => ("shipped", "Shipped"),
    };
    let day = order.placed_at.split('T').next().unwrap_or_default();
    html! {
        li.order data-order=(order.id) data-status=(status) {
            div.what {
                strong { (order.item) }
                span { "Order " (order.id) " · " time datetime=(order.placed_at) { (day) } " · " (price(order.cents)) }
            }
            div.state {
                span.badge { (label) }
                span.tracking { (order.tracking_number.as_deref().unwrap_or_default()) }
            }
        }
    }
}

fn price(cents: i64) -> String {
    // The space does not break.
    format!("€\u{a0}{}.{:02}", cents / 100, cents % 100)
}
