//! What the application is asked, and what it asks the database.
//!
//! Owns two counters. Never counts what it only believes: requests are counted where they come in, statements where sqlx
//! has sent them. The invariant: nothing is taken off again, so a difference of two readings is what was in between. Read
//! on in [`crate::comparison`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// The counters. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Traffic(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    statements: AtomicU64,
}

/// What the counters have come to at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) requests: u64,
    pub(crate) statements: u64,
}

impl Reading {
    pub(crate) fn since(self, before: Self) -> Self {
        Self { requests: self.requests - before.requests, statements: self.statements - before.statements }
    }
}

impl Traffic {
    pub(crate) fn read(&self) -> Reading {
        Reading { requests: self.0.requests.load(Relaxed), statements: self.0.statements.load(Relaxed) }
    }

    /// Middleware for every route.
    pub(crate) async fn count_request(State(traffic): State<Self>, request: Request, next: Next) -> Response {
        traffic.0.requests.fetch_add(1, Relaxed);
        next.run(request).await
    }

    /// sqlx tells of every statement in an event; this counts them, those of the outbox among them.
    pub(crate) fn statements<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> impl Layer<S> + use<S> {
        let told_by_sqlx = Targets::new().with_target("sqlx::query", Level::DEBUG);
        StatementCount(self.clone()).with_filter(told_by_sqlx)
    }
}

struct StatementCount(Traffic);

impl<S: Subscriber> Layer<S> for StatementCount {
    fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
        self.0.0.statements.fetch_add(1, Relaxed);
    }
}
