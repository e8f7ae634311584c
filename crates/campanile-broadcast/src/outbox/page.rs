//! The outbox for people: a page, and the same figures for Prometheus.
//!
//! Owns HTML. Never changes anything, so it needs no protection against forged requests; who may see it is for the
//! application to say. The invariant: whatever comes from an event or an error is escaped.

use std::fmt::{Display, Formatter, Result as FmtResult, Write};
use std::time::Duration;

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::outbox::figures::{QueueFigures, prometheus};
use crate::outbox::job::DeadJob;
use crate::outbox::{Outbox, OutboxError};

/// Dead letters that the page shows.
pub(crate) const DEAD_SHOWN: usize = 50;

const STYLE: &str = "\
:root{color-scheme:light dark;--line:light-dark(#d9d9d4,#34393d);--soft:light-dark(#5b615e,#a3aaa6);\
font:15px/1.5 system-ui,sans-serif;background:light-dark(#f7f7f4,#15181a);color:light-dark(#1d2421,#e8eae6)}\
body{max-width:66rem;margin:0 auto;padding:2rem 1rem 3rem}h1{margin:0;font-size:1.5rem;line-height:1.2}\
h2{margin:2rem 0 .75rem;font-size:1.1rem}p{margin:.25rem 0 1.5rem;color:var(--soft)}\
div{overflow-x:auto;border:1px solid var(--line);border-radius:.6rem;background:light-dark(#fff,#1c2024)}\
div:focus-visible{outline:2px solid;outline-offset:2px}table{border-collapse:collapse;width:100%}\
th,td{text-align:start;padding:.6rem 1rem;border-bottom:1px solid var(--line);white-space:nowrap}\
tbody tr:last-child>*{border-bottom:0}thead th{color:var(--soft);font-size:.85rem;font-weight:500}tbody th{font-weight:600}\
.n{text-align:end;font-variant-numeric:tabular-nums}.zero{color:var(--soft)}\
.bad{color:light-dark(#b3261e,#ffb4ab);font-weight:600}td.error{min-width:18rem;white-space:normal;overflow-wrap:anywhere}\
.empty{padding:2rem 1rem;text-align:center;color:var(--soft)}";

impl Outbox {
    /// `GET /` with a page and `GET /metrics` with Prometheus' text, to be nested where only operators get:
    /// `.nest("/outbox", campanile.outbox().routes())`.
    pub fn routes<S: Clone + Send + Sync + 'static>(&self) -> Router<S> {
        let (page, metrics) = (self.clone(), self.clone());
        Router::new()
            .route("/", get(move || async move { answer("text/html; charset=utf-8", page.page().await) }))
            .route("/metrics", get(move || async move { answer("text/plain; version=0.0.4", metrics.metrics().await) }))
    }

    async fn metrics(&self) -> Result<String, OutboxError> {
        Ok(prometheus(&self.figures().await?))
    }

    async fn page(&self) -> Result<String, OutboxError> {
        let (queues, dead) = (self.figures().await?, self.dead(DEAD_SHOWN).await?);
        let mut page = String::from(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Outbox</title>\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><meta http-equiv=\"refresh\" \
             content=\"5\"><style>",
        );
        page.push_str(STYLE);
        page.push_str(
            "</style></head><body><main><h1>Outbox</h1><p>Events on their way to the server. This page looks again every \
             five seconds.</p>",
        );
        if queues.is_empty() {
            page.push_str("<div class=empty>Nothing waits, and nothing was delivered since this process began.</div>");
        } else {
            // What is wider than a phone scrolls by itself, by keyboard, too.
            page.push_str(
                "<div tabindex=0 role=region aria-label=Queues><table><thead><tr><th>Queue<th class=n>Ready\
                 <th class=n>Leased<th class=n>Waiting<th class=n>Retrying<th class=n>Oldest<th class=n>Delivered\
                 <th class=n>Failed<th class=n>Dead</tr></thead><tbody>",
            );
            for (queue, figures) in &queues {
                // Writing to a string cannot fail.
                let _ = write_queue(&mut page, queue, figures);
            }
            page.push_str("</tbody></table></div>");
        }
        if !dead.is_empty() {
            page.push_str(
                "<h2>Dead letters</h2><div tabindex=0 role=region aria-label=\"Dead letters\"><table><thead><tr>\
                 <th class=n>Number<th>Queue<th>Event<th class=n>Attempts<th>Given up<th>Error</tr></thead><tbody>",
            );
            for letter in &dead {
                let _ = write_dead(&mut page, letter);
            }
            page.push_str("</tbody></table></div>");
        }
        page.push_str("</main></body></html>");
        Ok(page)
    }
}

fn write_queue(page: &mut String, queue: &str, figures: &QueueFigures) -> FmtResult {
    let QueueFigures { ready, leased, waiting, retrying, delivered, failed, dead, .. } = figures;
    write!(page, "<tr><th scope=row>{}", Escaped(queue))?;
    for count in [ready, leased, waiting, retrying] {
        write_count(page, *count, "")?;
    }
    write!(page, "<td class=n>{}", figures.oldest.map(rounded).unwrap_or_default())?;
    for (count, class) in [(delivered, ""), (failed, ""), (dead, " bad")] {
        write_count(page, *count, class)?;
    }
    page.write_str("</tr>")
}

/// A number, which is not to be looked at when it is 0.
fn write_count(page: &mut String, count: u64, class: &str) -> FmtResult {
    let class = if count == 0 { " zero" } else { class };
    write!(page, "<td class=\"n{class}\">{count}")
}

fn write_dead(page: &mut String, letter: &DeadJob) -> FmtResult {
    write!(
        page,
        "<tr><td class=n>{}<td>{}<td>{}<td class=n>{}<td>{} ago<td class=error>{}</tr>",
        letter.number,
        Escaped(&letter.queue),
        Escaped(&letter.event),
        letter.attempts,
        rounded(letter.dead_for),
        Escaped(&letter.error),
    )
}

fn answer(content_type: &str, content: Result<String, OutboxError>) -> Response {
    // Nothing on the page runs, whatever an error says.
    let policy = (HeaderName::from_static("content-security-policy"), "default-src 'none'; style-src 'unsafe-inline'");
    match content {
        Ok(content) => ([(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-store"), policy], content).into_response(),
        Err(error) => {
            tracing::error!(%error, "the outbox's figures cannot be had");
            (StatusCode::SERVICE_UNAVAILABLE, "the outbox cannot be read; the log says why").into_response()
        }
    }
}

/// To the largest whole unit.
fn rounded(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        seconds @ 60..3600 => format!("{} min", seconds / 60),
        seconds @ 3600..86_400 => format!("{} h", seconds / 3600),
        seconds => format!("{} d", seconds / 86_400),
    }
}

struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> FmtResult {
        for character in self.0.chars() {
            match character {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                '"' => f.write_str("&quot;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_error_says_is_text() {
        assert_eq!(Escaped("<b a=\"1\">&</b>").to_string(), "&lt;b a=&quot;1&quot;&gt;&amp;&lt;/b&gt;");
    }

    #[test]
    fn a_time_is_told_in_its_largest_unit() {
        let told: Vec<String> =
            [59, 60, 3599, 3600, 86_399, 86_400].map(|seconds| rounded(Duration::from_secs(seconds))).into();
        assert_eq!(told, ["59 s", "1 min", "59 min", "1 h", "23 h", "1 d"]);
    }
}
