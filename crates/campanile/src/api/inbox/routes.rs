//! All routes of the inbox.
//!
//! Owns the paths, their methods and what each is for, in one table that the router and the OpenAPI document are made of.
//! Never reads a query, a header or a body. The invariant: a part of a path is decoded once, here, after the path was split.

use hyper::Method;

use super::super::router::decoded;
use super::bodies;
use super::shape::Shape;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum Call {
    Server(ServerCall),
    Browser(BrowserCall),
    OpenSession,
    Unsubscribe,
    Stream,
    Description,
}

/// For an application's servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum ServerCall {
    Notify,
    Cancel,
    PutUser,
    EraseUser,
    UserInbox,
    ExportUser,
    UserDeliveries,
    EditAudience,
    PutCategory,
    Categories,
    Jobs,
    RetryJob,
}

/// For a browser with a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum BrowserCall {
    State,
    List,
    Read,
    Unread,
    SeenOne,
    Archive,
    Unarchive,
    Snooze,
    Seen,
    ReadAll,
    ArchiveRead,
    Preferences,
    SetPreference,
    PushKey,
    AddPush,
    RemovePush,
}

/// One method on one path.
#[derive(Debug)]
pub(in crate::api) struct Endpoint {
    pub(super) method: Method,
    /// With `{name}` for a part of any text.
    pub(super) path: &'static str,
    pub(in crate::api) call: Call,
    pub(super) about: &'static str,
    pub(super) query: &'static [(&'static str, &'static str)],
    pub(super) body: Option<Shape>,
    /// The status and the schema of what is answered.
    pub(super) answer: (u16, &'static str),
}

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::api) struct Found {
    pub(super) path: &'static str,
    pub(super) parts: Vec<String>,
}

macro_rules! endpoints {
    ($($method:ident $path:literal $call:expr, $about:literal, $query:expr, $body:expr, $status:literal $answer:literal;)*) => {
        /// Each of them.
        pub(super) static ENDPOINTS: &[Endpoint] = &[$(Endpoint {
            method: Method::$method,
            path: $path,
            call: $call,
            about: $about,
            query: $query,
            body: $body,
            answer: ($status, $answer),
        }),*];
    };
}

use BrowserCall as B;
use Call::{Browser, Description, OpenSession, Server, Stream, Unsubscribe};
use ServerCall as S;

const PAGE: &[(&str, &str)] = &[
    ("before", "where the page before has ended: its next"),
    ("limit", "how many, 1 to 100; 20 if nothing is said"),
    ("status", "open (what is neither archived nor snoozed, the default), unread, archived, snoozed or all"),
    ("category", "of one category alone"),
];
const PAGE_OR_CHANGES: &[(&str, &str)] = &[
    (
        "since",
        "the last rev that is known: what has changed since, oldest change first; with neither before, status nor category",
    ),
    ("announced", "with since: the last announcement that is known"),
    ("before", "where the page before has ended: its next"),
    ("limit", "how many, 1 to 100; 20 if nothing is said"),
    ("status", "open (what is neither archived nor snoozed, the default), unread, archived, snoozed or all"),
    ("category", "of one category alone"),
];
const NUMBERED: &[(&str, &str)] =
    &[("before", "the last number of the page before"), ("limit", "how many, 1 to 100; 20 if nothing is said")];
const JOBS: &[(&str, &str)] = &[
    ("state", "dead or waiting"),
    ("before", "the last number of the page before"),
    ("limit", "how many, 1 to 100; 20 if nothing is said"),
];
const UNSUBSCRIBE: &[(&str, &str)] = &[("token", "from the link in a mail")];
const STREAM: &[(&str, &str)] = &[("app_key", "the app's key, which is public")];

endpoints! {
    POST "/apps/{app}/notifications" Server(S::Notify), "Sends a notification. It is accepted when its key and its work are stored.", &[], Some(bodies::NOTIFICATION), 202 "Accepted";
    DELETE "/apps/{app}/notifications/{key}" Server(S::Cancel), "Cancels a notification that waits, or removes it from the inboxes that it has reached.", &[], None, 200 "Cancelled";
    PUT "/apps/{app}/users/{user}" Server(S::PutUser), "Says how to reach a user: all of it, so what is not given is forgotten.", &[], Some(bodies::CONTACT), 200 "Nothing";
    DELETE "/apps/{app}/users/{user}" Server(S::EraseUser), "Removes everything about a user.", &[], None, 200 "Erased";
    GET "/apps/{app}/users/{user}/inbox" Server(S::UserInbox), "What a user sees, for support.", PAGE, None, 200 "Page";
    GET "/apps/{app}/users/{user}/export" Server(S::ExportUser), "Everything about a user.", &[], None, 200 "Export";
    GET "/apps/{app}/users/{user}/deliveries" Server(S::UserDeliveries), "What was sent to a user, suppressed and why, failed, or is unknown.", NUMBERED, None, 200 "Deliveries";
    PUT "/apps/{app}/audiences/{audience}/members" Server(S::EditAudience), "Adds members to an audience, then removes members. It is made where there is none.", &[], Some(bodies::MEMBERS), 200 "Members";
    PUT "/apps/{app}/categories/{category}" Server(S::PutCategory), "Makes a category, or changes it.", &[], Some(bodies::CATEGORY), 200 "Nothing";
    GET "/apps/{app}/categories" Server(S::Categories), "The app's categories.", &[], None, 200 "Categories";
    GET "/apps/{app}/jobs" Server(S::Jobs), "Accepted notifications that are not stored yet, or that could not be.", JOBS, None, 200 "Jobs";
    POST "/apps/{app}/jobs/{job}/retry" Server(S::RetryJob), "Lets a dead job be tried again.", &[], None, 200 "Nothing";
    POST "/inbox/session" OpenSession, "Opens a session: with the channel signature or the user-auth signature that the application gives anyway, or with a JWT.", &[], Some(bodies::SESSION), 200 "Session";
    GET "/inbox/state" Browser(B::State), "How the inbox stands.", &[], None, 200 "State";
    GET "/inbox/notifications" Browser(B::List), "A page of the inbox, newest first; or what has changed since a rev.", PAGE_OR_CHANGES, None, 200 "Page";
    POST "/inbox/notifications/{notification}/read" Browser(B::Read), "Reads it, which is seeing it as well.", &[], None, 200 "Marked";
    POST "/inbox/notifications/{notification}/unread" Browser(B::Unread), "Wants to come back to it.", &[], None, 200 "Marked";
    POST "/inbox/notifications/{notification}/seen" Browser(B::SeenOne), "Sees that it is there.", &[], None, 200 "Marked";
    POST "/inbox/notifications/{notification}/archive" Browser(B::Archive), "Puts it away.", &[], None, 200 "Marked";
    POST "/inbox/notifications/{notification}/unarchive" Browser(B::Unarchive), "Gets it back.", &[], None, 200 "Marked";
    POST "/inbox/notifications/{notification}/snooze" Browser(B::Snooze), "Hides it until then; it comes back unread and unseen.", &[], Some(bodies::SNOOZE), 200 "Marked";
    POST "/inbox/seen" Browser(B::Seen), "Marks several as seen.", &[], Some(bodies::SEEN), 200 "State";
    POST "/inbox/read-all" Browser(B::ReadAll), "Marks all as read that the user was shown.", &[], Some(bodies::READ_ALL), 200 "State";
    POST "/inbox/archive-read" Browser(B::ArchiveRead), "Archives what is read and not newer than that.", &[], Some(bodies::ARCHIVE_READ), 200 "State";
    GET "/inbox/preferences" Browser(B::Preferences), "What the user wants, of each category.", &[], None, 200 "Preferences";
    PUT "/inbox/preferences" Browser(B::SetPreference), "Changes what the user wants of one category.", &[], Some(bodies::PREFERENCE), 200 "Preferences";
    GET "/inbox/push-key" Browser(B::PushKey), "What the browser subscribes to pushes with: its applicationServerKey.", &[], None, 200 "PushKey";
    POST "/inbox/push-subscriptions" Browser(B::AddPush), "Adds a browser that takes pushes.", &[], Some(bodies::PUSH_SUBSCRIPTION), 200 "Nothing";
    DELETE "/inbox/push-subscriptions" Browser(B::RemovePush), "Forgets a browser.", &[], Some(bodies::PUSH_ENDPOINT), 200 "Removed";
    GET "/inbox/unsubscribe" Unsubscribe, "The page behind the link in a mail: it asks, and changes nothing.", UNSUBSCRIBE, None, 200 "WebPage";
    POST "/inbox/unsubscribe" Unsubscribe, "Ends mails of the link's category for its user: the page's button, or a mailbox provider's (RFC 8058). The body does not matter.", UNSUBSCRIBE, None, 200 "WebPage";
    GET "/inbox/stream" Stream, "Feeds a user's pages over HTTP where there is no WebSocket: server-sent events. The first is connected, with the socket id that a session must be opened with within 30 s.", STREAM, None, 200 "Events";
    GET "/openapi.json" Description, "This document.", &[], None, 200 "Description";
}

/// Finds where a path leads, whatever the method.
pub(in crate::api) fn find(path: &str) -> Option<Found> {
    let mut known: Option<&'static str> = None;
    for endpoint in ENDPOINTS {
        if known == Some(endpoint.path) {
            continue;
        }
        known = Some(endpoint.path);
        if let Some(parts) = parts(endpoint.path, path) {
            return Some(Found { path: endpoint.path, parts });
        }
    }
    None
}

fn parts(template: &str, path: &str) -> Option<Vec<String>> {
    let (mut parts, mut given) = (Vec::new(), path.split('/'));
    for wanted in template.split('/') {
        let segment = given.next()?;
        if wanted.starts_with('{') {
            parts.push(decoded(segment)?);
        } else if wanted != segment {
            return None;
        }
    }
    given.next().is_none().then_some(parts)
}

impl Found {
    /// What the path may be asked with.
    pub(in crate::api) fn methods(&self) -> Vec<Method> {
        ENDPOINTS.iter().filter(|endpoint| endpoint.path == self.path).map(|endpoint| endpoint.method.clone()).collect()
    }

    /// What is done there with this method.
    pub(super) fn endpoint(&self, method: &Method) -> Option<&'static Endpoint> {
        ENDPOINTS.iter().find(|endpoint| endpoint.path == self.path && endpoint.method == *method)
    }

    /// Whether browsers are meant.
    pub(in crate::api) fn is_for_browsers(&self) -> bool {
        self.path.starts_with("/inbox/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_is_found_by_its_own_path_and_method_and_by_no_other() {
        for endpoint in ENDPOINTS {
            let parts: Vec<String> =
                endpoint.path.split('/').filter(|part| part.starts_with('{')).map(|_| "a b/c".to_owned()).collect();
            let path: Vec<&str> =
                endpoint.path.split('/').map(|part| if part.starts_with('{') { "a%20b%2Fc" } else { part }).collect();
            let found = find(&path.join("/")).unwrap();
            assert_eq!((found.path, &found.parts), (endpoint.path, &parts));
            assert_eq!(found.endpoint(&endpoint.method).unwrap().call, endpoint.call);
            assert!(found.endpoint(&Method::PATCH).is_none());
            for wrong in
                [format!("{}/", path.join("/")), format!("{}/x/y/z", path.join("/")), format!("/{}", path.join("/"))]
            {
                assert_eq!(find(&wrong), None, "{wrong}");
            }
        }
        assert_eq!(find("/apps//notifications"), None, "no part is empty");
    }

    #[test]
    fn a_path_has_each_method_once() {
        for endpoint in ENDPOINTS {
            let methods = find(&endpoint.path.replace(['{', '}'], "x")).unwrap().methods();
            let times = methods.iter().filter(|method| **method == endpoint.method).count();
            assert_eq!(times, 1, "{} {}", endpoint.method, endpoint.path);
        }
    }
}
