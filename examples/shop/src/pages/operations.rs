//! For whoever runs the shop: what is to be shipped, and how long authorizations take.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::{Redirect, Response};
use campanile_broadcast::Timing;
use campanile_broadcast::timing::{BUCKETS, Outcome};
use maud::{Markup, html};
use serde_json::json;

use super::layout::{Section, heading, page as layout, token};
use super::{PageError, plot, value_or_page};
use crate::app::App;
use crate::channels::TEAM_REMEMBERED;
use crate::session::Operator;
use crate::store::SIMULATED_USERS;
use crate::store::orders::{self, SHIP_AT_ONCE_MAX};

/// Orders that the page lists.
const LISTED: i64 = 12;

/// The pages of the section.
pub(super) fn tabs(current: &str) -> Markup {
    let tabs = [
        ("/operations", "Shipping"),
        ("/operations/authorizations", "Authorizations"),
        ("/operations/comparison", "Live or polling"),
    ];
    html! {
        nav.tabs aria-label="Operations" {
            @for (path, title) in tabs { a href=(path) aria-current=[(path == current).then_some("page")] { (title) } }
            // A page of campanile-broadcast's own, so it has its own tab of the browser.
            a href="/operations/outbox" target="_blank" { "Outbox" span aria-hidden="true" { " ↗" } }
        }
    }
}

pub(super) async fn page(State(app): State<App>, Operator(visit): Operator) -> Result<Markup, PageError> {
    let parcels = orders::to_ship(&app.db, LISTED).await?;
    let (packing, shipped) = orders::counts(&app.db).await?;
    let content = html! {
        (heading("Operations", "What is waiting on the packing bench.", html! {}))
        (tabs("/operations"))
        div.bench {
            dl.figures {
                div { dt { "To ship" } dd #to-ship { (packing) } }
                div { dt { "Shipped" } dd #shipped { (shipped) } }
            }
            div.actions {
                form method="post" action="/operations/ship-next" {
                    (token(&visit))
                    button.primary type="submit" disabled[packing == 0] {
                        "Ship " (packing.min(SHIP_AT_ONCE_MAX)) " at once"
                    }
                }
                form method="post" action="/operations/restock" {
                    (token(&visit))
                    button type="submit" { "Place " (SIMULATED_USERS) " orders" }
                }
            }
        }
        @if parcels.is_empty() { p.empty { "Everything has left." } }
        ul.orders {
            @for parcel in &parcels {
                li.order data-parcel=(parcel.id) {
                    div.what {
                        strong { (parcel.item) }
                        span { "Order " (parcel.id) " for " (parcel.customer) }
                    }
                    form.ship method="post" action={ "/operations/ship/" (parcel.id) } {
                        (token(&visit))
                        button type="submit" aria-label={ "Ship order " (parcel.id) } { "Ship" }
                    }
                }
            }
        }
        @if packing > LISTED { p.note { "And " (packing - LISTED) " more." } }
    };
    Ok(layout(&app, &visit, Section::Operations, "Operations", content))
}

pub(super) async fn ship(
    State(app): State<App>,
    _: Operator,
    Path(id): Path<i64>,
    headers: HeaderMap,
) -> Result<Response, PageError> {
    orders::ship(&app.db, &app.campanile, id).await?;
    let (packing, shipped) = orders::counts(&app.db).await?;
    Ok(value_or_page(&headers, json!({ "packing": packing, "shipped": shipped }), "/operations"))
}

pub(super) async fn ship_next(State(app): State<App>, _: Operator) -> Result<Redirect, PageError> {
    orders::ship_next(&app.db, &app.campanile, SHIP_AT_ONCE_MAX).await?;
    Ok(Redirect::to("/operations"))
}

pub(super) async fn restock(State(app): State<App>, _: Operator) -> Result<Redirect, PageError> {
    orders::place_for_simulated(&app.db, SIMULATED_USERS).await?;
    Ok(Redirect::to("/operations"))
}

pub(super) async fn authorizations(State(app): State<App>, Operator(visit): Operator) -> Markup {
    let timings = app.timings.snapshot();
    let lead = "After a deploy every browser asks again for every channel. This is what that costs.";
    let content = html! {
        (heading("Operations", lead, html! {}))
        (tabs("/operations/authorizations"))
        div.table-frame tabindex="0" role="region" aria-label="Authorizations" {
            table {
                thead {
                    tr {
                        th scope="col" { "Channel" }
                        @for column in ["Remembered", "Asked", "Allowed", "Not allowed", "Failed", "Mean", "95 % within"] {
                            th.number scope="col" { (column) }
                        }
                        th scope="col" { "1 ms to 5 s" }
                    }
                }
                tbody { @for timing in &timings { (timing_row(timing)) } }
            }
        }
        p.note {
            "What a team's board answers with yes is remembered for " (TEAM_REMEMBERED.as_secs())
            " s, and asks no database meanwhile. It is forgotten as soon as its user is taken out of a team."
        }
    };
    layout(&app, &visit, Section::Operations, "Authorizations", content)
}

fn timing_row(timing: &Timing) -> Markup {
    let mean = timing.total.checked_div(u32::try_from(timing.count()).unwrap_or(u32::MAX));
    html! {
        tr {
            th scope="row" { code { (timing.pattern) } }
            td.number { (timing.remembered) }
            td.number { (timing.count()) }
            td.number { (timing.ended(Outcome::Allowed)) }
            // A presence callback's `None` passes the question on, and nobody else here answers it.
            td.number { (timing.ended(Outcome::Denied) + timing.ended(Outcome::Passed)) }
            td.number { (timing.ended(Outcome::Failed) + timing.ended(Outcome::Broken)) }
            td.number { (mean.map_or_else(|| "–".to_owned(), milliseconds)) }
            td.number { (within(timing, 95)) }
            td { (plot::bars(&timing.buckets)) }
        }
    }
}

/// The bound below which so many of a hundred ended.
fn within(timing: &Timing, percent: u64) -> String {
    let count = timing.count();
    if count == 0 {
        return "–".to_owned();
    }
    let wanted = (count * percent).div_ceil(100);
    let mut ended = 0;
    let found = timing.buckets.iter().position(|bucket| {
        ended += bucket;
        ended >= wanted
    });
    match found.and_then(|bucket| BUCKETS.get(bucket)) {
        Some(bound) => milliseconds(*bound),
        None => format!("over {}", milliseconds(BUCKETS[BUCKETS.len() - 1])),
    }
}

fn milliseconds(time: Duration) -> String {
    let milliseconds = time.as_secs_f64() * 1000.0;
    match milliseconds {
        ..0.1 => "under 0.1 ms".to_owned(),
        ..10.0 => format!("{milliseconds:.1} ms"),
        _ => format!("{milliseconds:.0} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(buckets: &[(usize, u64)]) -> Timing {
        let mut counts = [0; BUCKETS.len() + 1];
        for (bucket, count) in buckets {
            counts[*bucket] = *count;
        }
        let outcomes = [0; Outcome::ALL.len()];
        Timing { pattern: "p", buckets: counts, total: Duration::ZERO, outcomes, remembered: 0 }
    }

    #[test]
    fn a_share_is_within_the_first_bound_that_holds_it() {
        assert_eq!(within(&timing(&[]), 95), "–");
        assert_eq!(within(&timing(&[(0, 95), (3, 5)]), 95), "1.0 ms");
        assert_eq!(within(&timing(&[(0, 94), (3, 6)]), 95), "10 ms");
        assert_eq!(within(&timing(&[(BUCKETS.len(), 1)]), 95), "over 5000 ms");
    }
}
