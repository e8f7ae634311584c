//! What all pages have in common: the head, the navigation, the place for toasts, and what the scripts must know.

use axum::http::StatusCode;
use maud::{DOCTYPE, Markup, html};

use crate::app::App;
use crate::session::Visit;

/// The shop's mark as the browser's tab shows it: a leaf.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24'%3E%3Cpath \
                    fill='%23206a4f' d='M4 20C4 10 10 4 20 4c0 10-6 16-16 16z'/%3E%3C/svg%3E";
/// A door, and an arrow that leads out of it, where a phone has no room for the words.
const SIGN_OUT: &str = "M10 4H5v16h5M15 8l4 4-4 4M19 12H9";
/// Colours that avatars have.
const HUES: i64 = 6;

/// The parts of the navigation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    Orders,
    Documents,
    Teams,
    Operations,
}

impl Section {
    const ALL: [Self; 4] = [Self::Orders, Self::Documents, Self::Teams, Self::Operations];

    /// Its title, its path, and the outline of a 24-unit icon.
    fn parts(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Orders => ("Orders", "/orders", "M3 8l9-5 9 5v8l-9 5-9-5zM3 8l9 5 9-5M12 13v8"),
            Self::Documents => ("Documents", "/documents", "M6 3h8l5 5v13H6zM14 3v5h5M9 13h7M9 17h5"),
            Self::Teams => ("Teams", "/teams", "M4 4h4v16H4zM10 4h4v10h-4zM16 4h4v13h-4z"),
            Self::Operations => (
                "Operations",
                "/operations",
                "M2 6h11v10H2zM13 9h5l4 4v3h-9M7 16a2 2 0 1 0 0 4 2 2 0 0 0 0-4M17 16a2 2 0 1 0 0 4 2 2 0 0 0 0-4",
            ),
        }
    }
}

/// A page of a signed-in user.
pub(super) fn page(app: &App, visit: &Visit, section: Section, title: &str, content: Markup) -> Markup {
    let head = html! {
        meta name="csrf-token" content=(visit.csrf_token);
        meta name="user-id" content=(visit.user.id);
        meta name="live-key" content=(app.live.key);
        meta name="live-host" content=(app.live.host);
        meta name="live-port" content=(app.live.port);
        meta name="live-tls" content=(app.live.has_tls);
    };
    let sections = Section::ALL.into_iter().filter(|item| visit.user.is_operator || *item != Section::Operations);
    let body = html! {
        a.skip href="#content" { "Skip to content" }
        header.top {
            a.brand href="/" { (mark()) span { "Fernpost" } }
            nav.sections aria-label="Main" {
                @for item in sections {
                    @let (title, path, icon) = item.parts();
                    a href=(path) aria-current=[(item == section).then_some("page")] {
                        svg.icon viewBox="0 0 24 24" aria-hidden="true" { path d=(icon) {} }
                        span { (title) }
                    }
                }
            }
            div.who {
                p.connection #connection data-state="connecting" role="status" {
                    span.dot aria-hidden="true" {}
                    span.text { "Connecting" }
                }
                @if app.live.has_inbox { campanile-inbox #bell {} }
                (avatar(visit.user.id, &visit.user.name))
                form method="post" action="/sign-out" {
                    (token(visit))
                    button.quiet type="submit" {
                        svg.icon viewBox="0 0 24 24" aria-hidden="true" { path d=(SIGN_OUT) {} }
                        span { "Sign out" }
                    }
                }
            }
        }
        main #content tabindex="-1" {
            noscript { p.notice { "Without JavaScript this page is not live: reload it to see what is new." } }
            (content)
        }
        div.toasts #toasts role="status" aria-live="polite" {}
    };
    document(app, title, head, body)
}

/// Any page.
pub(super) fn document(app: &App, title: &str, head: Markup, body: Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover";
                meta name="color-scheme" content="light dark";
                title { (title) " · Fernpost" }
                link rel="icon" href=(ICON);
                @for style in &app.front_end.styles { link rel="stylesheet" href={ "/" (style) }; }
                script type="module" src={ "/" (app.front_end.script) } {}
                (head)
            }
            body { (body) }
        }
    }
}

/// Why there is no page.
pub(super) fn error(app: &App, status: StatusCode, sentence: &str) -> Markup {
    let title = status.canonical_reason().unwrap_or("Error");
    let body = html! {
        main.entrance.alone #content {
            section.card {
                p.brand { (mark()) span { "Fernpost" } }
                p.status { (status.as_u16()) }
                h1 { (title) }
                p.lead { (sentence) }
                a.button href="/" { "Back to the shop" }
            }
        }
    };
    document(app, title, html! {}, body)
}

/// The shop's mark: a leaf.
pub(super) fn mark() -> Markup {
    html! {
        svg.mark viewBox="0 0 24 24" aria-hidden="true" { path d="M4 20C4 10 10 4 20 4c0 10-6 16-16 16zM4 20L14 10" {} }
    }
}

/// The field that shows a form to be ours.
pub(super) fn token(visit: &Visit) -> Markup {
    html! { input type="hidden" name="_token" value=(visit.csrf_token); }
}

/// Initials on one of a few colours. The front end makes the same for others.
fn avatar(id: i64, name: &str) -> Markup {
    let initials: String = name.split_whitespace().filter_map(|word| word.chars().next()).take(2).collect();
    html! { span.avatar data-hue=(id.rem_euclid(HUES)) title=(name) { (initials) } }
}

/// The head of a page, with what stands beside it.
pub(super) fn heading(title: &str, lead: &str, aside: Markup) -> Markup {
    html! { div.heading { div { h1 { (title) } p.lead { (lead) } } (aside) } }
}
