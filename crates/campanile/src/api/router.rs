//! All routes of the HTTP API.
//!
//! Owns the paths and their methods. Never reads a query, a header or a body. The invariant: ids and names are decoded
//! once, here, after the path was split, so `%2F` stays inside its segment; the signature is over the path as sent.

use std::borrow::Cow;

use hyper::Method;

use super::inbox::routes::{self, Found};

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// Unsigned questions about this node.
    Health(Health),
    /// Something of the inbox.
    Inbox(Found),
    /// Something of an app, for whoever can sign.
    App { id: String, resource: Resource },
}

/// What may be asked without a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    Name,
    Live,
    Ready,
    Status,
}

/// What an app has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Resource {
    Events,
    BatchEvents,
    Channels,
    /// Also under its deprecated name, `stats`.
    Channel(String),
    ChannelUsers(String),
    /// Deprecated: the body is the data.
    ChannelEvents(String),
    TerminateConnections(String),
    Connections,
    Guard,
    Usage,
}

/// Finds the route of a path, with or without the configured prefix.
pub(super) fn find(path: &str, prefix: &str) -> Option<Route> {
    let inner = path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/')).unwrap_or(path);
    let health = match inner {
        "" | "/" => Some(Health::Name),
        "/live" => Some(Health::Live),
        "/ready" => Some(Health::Ready),
        "/status" => Some(Health::Status),
        _ => None,
    };
    if let Some(health) = health {
        return Some(Route::Health(health));
    }
    // What is asked most often comes first.
    of_app(inner).or_else(|| routes::find(inner).map(Route::Inbox))
}

fn of_app(path: &str) -> Option<Route> {
    let mut segments = path.strip_prefix("/apps/")?.split('/');
    let id = decoded(segments.next()?)?;
    let rest = (segments.next()?, segments.next(), segments.next());
    if segments.next().is_some() {
        return None;
    }
    let resource = match rest {
        ("events", None, None) => Resource::Events,
        ("batch_events", None, None) => Resource::BatchEvents,
        ("channels", None, None) => Resource::Channels,
        ("channels", Some(name), None | Some("stats")) => Resource::Channel(decoded(name)?),
        ("channels", Some(name), Some("users")) => Resource::ChannelUsers(decoded(name)?),
        ("channels", Some(name), Some("events")) => Resource::ChannelEvents(decoded(name)?),
        ("users", Some(id), Some("terminate_connections")) => Resource::TerminateConnections(decoded(id)?),
        ("connections", None, None) => Resource::Connections,
        ("guard", None, None) => Resource::Guard,
        ("usage", None, None) => Resource::Usage,
        _ => return None,
    };
    Some(Route::App { id, resource })
}

impl Route {
    /// What it may be asked with.
    pub(super) fn methods(&self) -> Cow<'static, [Method]> {
        Cow::Borrowed(match self {
            Self::Inbox(found) => return Cow::Owned(found.methods()),
            Self::Health(_) => &[Method::GET, Method::HEAD],
            Self::App { resource, .. } => match resource {
                Resource::Events
                | Resource::BatchEvents
                | Resource::ChannelEvents(_)
                | Resource::TerminateConnections(_) => &[Method::POST],
                Resource::Channels
                | Resource::Channel(_)
                | Resource::ChannelUsers(_)
                | Resource::Connections
                | Resource::Guard
                | Resource::Usage => &[Method::GET],
            },
        })
    }
}

/// The methods as a header lists them.
pub(super) fn listed(methods: &[Method]) -> String {
    methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ")
}

/// Undoes percent-encoding. A plus stays a plus: that it means a space is a query's custom. No segment is empty.
pub(super) fn decoded(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'%' {
            let mut decoded = [0];
            hex::decode_to_slice(tail.get(..2)?, &mut decoded).ok()?;
            bytes.push(decoded[0]);
            rest = &tail[2..];
        } else {
            bytes.push(byte);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(resource: Resource) -> Option<Route> {
        Some(Route::App { id: "3".to_owned(), resource })
    }

    #[test]
    fn every_path_leads_to_its_route_and_no_other() {
        let name = || "presence-a".to_owned();
        for (path, route) in [
            ("/", Some(Route::Health(Health::Name))),
            ("/live", Some(Route::Health(Health::Live))),
            ("/ready", Some(Route::Health(Health::Ready))),
            ("/status", Some(Route::Health(Health::Status))),
            ("/apps/3/events", app(Resource::Events)),
            ("/apps/3/batch_events", app(Resource::BatchEvents)),
            ("/apps/3/channels", app(Resource::Channels)),
            ("/apps/3/channels/presence-a", app(Resource::Channel(name()))),
            ("/apps/3/channels/presence-a/stats", app(Resource::Channel(name()))),
            ("/apps/3/channels/presence-a/users", app(Resource::ChannelUsers(name()))),
            ("/apps/3/channels/presence-a/events", app(Resource::ChannelEvents(name()))),
            ("/apps/3/users/u@x/terminate_connections", app(Resource::TerminateConnections("u@x".to_owned()))),
            ("/apps/3/connections", app(Resource::Connections)),
            ("/apps/3/guard", app(Resource::Guard)),
            ("/apps/3/usage", app(Resource::Usage)),
            ("/apps/3/channels/%23server-to-user-7", app(Resource::Channel("#server-to-user-7".to_owned()))),
            ("/apps/3/channels/a+b", app(Resource::Channel("a+b".to_owned()))),
            ("/apps/3/channels/a%2fusers", app(Resource::Channel("a/users".to_owned()))),
            ("/apps/%33/events", app(Resource::Events)),
            ("", Some(Route::Health(Health::Name))),
            ("/Live", None),
            ("/live/", None),
            ("/apps", None),
            ("/apps/3", None),
            ("/apps//events", None),
            ("/apps/3/events/", None),
            ("/apps/3/events/x", None),
            ("/apps/3/channels/", None),
            ("/apps/3/channels/a/members", None),
            ("/apps/3/channels/a/users/x", None),
            ("/apps/3/users/7/x", None),
            ("/apps/3/channels/%2", None),
            ("/apps/3/channels/%zz", None),
            ("/apps/3/channels/%ff", None),
            ("/app/key", None),
            ("//apps/3/events", None),
        ] {
            assert_eq!(find(path, ""), route, "{path}");
        }
    }

    #[test]
    fn a_prefix_may_stand_before_every_path() {
        assert_eq!(find("/ws/apps/3/events", "/ws"), app(Resource::Events));
        assert_eq!(find("/apps/3/events", "/ws"), app(Resource::Events));
        assert_eq!(find("/ws/live", "/ws"), Some(Route::Health(Health::Live)));
        assert_eq!(find("/ws", "/ws"), Some(Route::Health(Health::Name)));
        for path in ["/wsapps/3/events", "/ws2/apps/3/events", "/ws/ws/apps/3/events"] {
            assert_eq!(find(path, "/ws"), None, "{path}");
        }
    }

    #[test]
    fn what_changes_something_is_posted_and_all_else_is_got() {
        for (path, methods) in [
            ("/live", "GET, HEAD"),
            ("/apps/3/events", "POST"),
            ("/apps/3/batch_events", "POST"),
            ("/apps/3/channels/a/events", "POST"),
            ("/apps/3/users/7/terminate_connections", "POST"),
            ("/apps/3/channels", "GET"),
            ("/apps/3/channels/a", "GET"),
            ("/apps/3/channels/a/users", "GET"),
            ("/apps/3/connections", "GET"),
            ("/apps/3/usage", "GET"),
        ] {
            assert_eq!(find(path, "").map(|route| listed(&route.methods())).as_deref(), Some(methods), "{path}");
        }
    }
}
