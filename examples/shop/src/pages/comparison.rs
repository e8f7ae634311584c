//! Live or polling: what each costs, and how late its users are.

use std::time::Duration;

use axum::Form;
use axum::extract::State;
use axum::response::Redirect;
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::{Section, heading, page as layout, token};
use super::plot::{self, Line};
use super::{PageError, operations};
use crate::app::App;
use crate::comparison::{
    self, Comparison, Extent, Measured, POLL_EVERY, SECONDS_DEFAULT, SECONDS_MAX, SECONDS_MIN, USERS_MAX,
};
use crate::session::Operator;

pub(super) async fn page(State(app): State<App>, Operator(visit): Operator) -> Markup {
    let (is_running, refusal, last) = {
        let comparing = app.comparing.lock();
        (comparing.is_running, comparing.refusal.clone(), comparing.last.clone())
    };
    let content = html! {
        (heading("Operations", "The same customers and the same orders, kept up to date in two ways, measured here and now.", html! {}))
        (operations::tabs("/operations/comparison"))
        section.card #comparison data-running=(is_running) {
            form.inline method="post" action="/operations/comparison" {
                (token(&visit))
                label { "Customers" input type="number" name="users" min="1" max=(USERS_MAX) value=(USERS_MAX) required; }
                label { "Seconds each way" input type="number" name="seconds" min=(SECONDS_MIN) max=(SECONDS_MAX) value=(SECONDS_DEFAULT) required; }
                button.primary type="submit" disabled[is_running] { "Measure" }
            }
            div #progress role="status" hidden[!is_running] {
                p #progress-text { "Under way" }
                progress #progress-bar max="100" aria-label="Progress" {}
            }
            @if let Some(refusal) = refusal { p.refusal role="alert" { (refusal) } }
        }
        @match &last {
            Some(comparison) => (shown(comparison)),
            None => p.empty { "Nothing has been measured yet." },
        }
    };
    layout(&app, &visit, Section::Operations, "Live or polling", content)
}

#[derive(Deserialize)]
pub(super) struct Wanted {
    users: i64,
    seconds: u64,
}

pub(super) async fn start(
    State(app): State<App>,
    _: Operator,
    Form(wanted): Form<Wanted>,
) -> Result<Redirect, PageError> {
    if !(1..=USERS_MAX).contains(&wanted.users) || !(SECONDS_MIN..=SECONDS_MAX).contains(&wanted.seconds) {
        return Err(PageError::Refused("That many cannot be measured."));
    }
    // If one is under way already, the page shows it.
    comparison::begin(app, Extent { users: wanted.users, seconds: wanted.seconds });
    Ok(Redirect::to("/operations/comparison"))
}

fn shown(comparison: &Comparison) -> Markup {
    let Comparison { extent, polling, live, connecting, connecting_took } = comparison;
    let requests = |way: &Measured| way.seconds.iter().map(|second| second.requests).collect::<Vec<_>>();
    let statements = |way: &Measured| way.seconds.iter().map(|second| second.statements).collect::<Vec<_>>();
    html! {
        div.plots #plots {
            (figure("Requests per second", &requests(polling), &requests(live)))
            (figure("Database queries per second", &statements(polling), &statements(live)))
        }
        div.table-frame tabindex="0" role="region" aria-label="Measured" {
            table {
                thead { tr { th scope="col" { (extent.users) " customers, " (extent.seconds) " s each" } th.number scope="col" { "Polling" } th.number scope="col" { "Live" } } }
                tbody {
                    (row("Requests per second", &rate(polling.total().requests, extent), &rate(live.total().requests, extent)))
                    (row("Queries per second", &rate(polling.total().statements, extent), &rate(live.total().statements, extent)))
                    (row("Seen after, half of them", &time(polling.delay(50)), &time(live.delay(50))))
                    (row("Seen after, 99 of 100", &time(polling.delay(99)), &time(live.delay(99))))
                    (row("Orders shipped and seen", &polling.delays.len().to_string(), &live.delays.len().to_string()))
                    (row("Not seen in time", &polling.unseen.to_string(), &live.unseen.to_string()))
                    (row("Failures", &polling.failed.to_string(), &live.failed.to_string()))
                }
            }
        }
        p.note {
            "Polling asks every " (POLL_EVERY.as_secs()) " s. To connect all customers once took " (connecting.requests)
            " requests and " (connecting.statements) " queries in " (time(Some(*connecting_took)))
            "; live, what is left are the orders themselves, the outbox, and this page's own progress."
        }
    }
}

fn figure(title: &str, polling: &[u64], live: &[u64]) -> Markup {
    let lines = [Line { class: "polling", values: polling }, Line { class: "live", values: live }];
    html! {
        figure.card {
            figcaption {
                strong { (title) }
                span.legend { span.key.polling { "Polling" } span.key.live { "Live" } }
            }
            (plot::lines(&format!("{title}, polling and live; the table below has the means"), &lines))
        }
    }
}

fn row(name: &str, polling: &str, live: &str) -> Markup {
    html! { tr { th scope="row" { (name) } td.number { (polling) } td.number { (live) } } }
}

fn rate(count: u64, extent: &Extent) -> String {
    format!("{:.1}", count as f64 / extent.seconds as f64)
}

fn time(time: Option<Duration>) -> String {
    match time {
        None => "–".to_owned(),
        Some(time) if time < Duration::from_secs(1) => format!("{} ms", time.as_millis()),
        Some(time) => format!("{:.1} s", time.as_secs_f64()),
    }
}
