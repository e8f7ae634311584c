//! The inbox for a browser with a session.
//!
//! Owns how a session is proved at each request, and what a user may do with their own inbox. Never takes a user's id from
//! a request: the session says whose inbox it is. The invariants: a session ends with its connection, which the connection's
//! worker is asked for; a page of an origin that the app does not know is refused. Read on in `opening.rs`.

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use campanile_hub::App;
use campanile_inbox::{Mark, Mistake, PushSubscription, Seen, Switches, Timestamp, Uuid};
use campanile_protocol::SocketId;
use hyper::body::Body;
use hyper::http::request::Parts;
use serde_json::{Value, json};

use super::super::Reply;
use super::query::{Query, Wanted};
use super::refusal::{Code, Refused};
use super::routes::{BrowserCall, Endpoint};
use super::server::bearer;
use super::{ask, json, meant, origin, read_body, receive, store, store_of};
use crate::beyond::sealed::BrowserKeys;
use crate::beyond::ways::Ways;
use crate::door::{Door, Visit};
use crate::inbox::Store;
use crate::ledger;

/// A browser, proved to act for a user.
#[derive(Debug)]
pub(super) struct Proven {
    app: Arc<App>,
    user: String,
}

/// Proves a browser.
pub(super) async fn session(head: &Parts, visit: Visit<'_>) -> Result<Proven, Refused> {
    let door = visit.door();
    let Some(store) = store(door)? else { unreachable!("it is told what to configure") };
    let ended = || {
        Refused::new(
            Code::NoSession,
            "open a session with POST /inbox/session, and send its token as Authorization: Bearer",
        )
    };
    let session = bearer(head).and_then(|token| store.sessions.read(token, ledger::now_secs())).ok_or_else(ended)?;
    let app = door.apps().by_id(&session.app).filter(|app| app.enabled).cloned().ok_or_else(ended)?;
    store_of(door, &app)?;
    origin::check(&head.headers, &app, door.node())?;
    if let Some(socket_id) = session.socket
        && !lives(socket_id, &app, store, visit).await?
    {
        let message = "the connection that this session belongs to is gone: open one with the socket id of the new one";
        return Err(Refused::new(Code::SessionEnded, message));
    }
    Ok(Proven { app, user: session.user })
}

/// Whether a connection or a stream of the app has this socket id.
pub(super) async fn lives(socket_id: SocketId, app: &App, store: &Store, visit: Visit<'_>) -> Result<bool, Refused> {
    if let Some(index) = store.streams.app_of(socket_id) {
        return Ok(index == app.index);
    }
    Ok(visit.app_of_connection(socket_id).await? == Some(app.index))
}

/// Does what was asked.
pub(super) async fn answer<B>(
    browser: &Proven,
    head: &Parts,
    body: B,
    call: BrowserCall,
    endpoint: &Endpoint,
    parts: &[String],
    visit: Visit<'_>,
) -> Result<Reply, Refused>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let query = Query::read(head.uri.query(), endpoint)?;
    let body = match endpoint.body {
        Some(shape) => read_body(&receive(body, visit).await?, shape)?,
        None => Value::Null,
    };
    let (app, user) = (&*browser.app.id, browser.user.as_str());
    let store = store_of(visit.door(), &browser.app)?;
    let inbox = store.inbox();
    let mark = match call {
        BrowserCall::Read => Some(Mark::Read),
        BrowserCall::Unread => Some(Mark::Unread),
        BrowserCall::SeenOne => Some(Mark::Seen),
        BrowserCall::Archive => Some(Mark::Archive),
        BrowserCall::Unarchive => Some(Mark::Unarchive),
        BrowserCall::Snooze => Some(Mark::Snooze(moment(&body["until"], "/until")?)),
        _ => None,
    };
    if let Some(mark) = mark {
        let id = parts.first().and_then(|id| Uuid::try_parse(id).ok());
        let id =
            id.ok_or_else(|| Refused::new(Code::InvalidParameter, "a notification's id is a UUID").at("notification"))?;
        let marked = ask(store, visit, inbox.mark(app, user, id, mark)).await?;
        let mut answer = serde_json::to_value(marked.state).expect("numbers are JSON");
        answer["notification"] = serde_json::to_value(marked.notification).expect("a notification is JSON");
        return Ok(json(&answer));
    }
    let number = |field: &str| body[field].as_i64();
    match call {
        BrowserCall::State => Ok(json(&ask(store, visit, inbox.state(app, user)).await?)),
        BrowserCall::List => match query.wanted()? {
            Wanted::Page(page) => Ok(json(&ask(store, visit, inbox.page(app, user, page)).await?)),
            Wanted::Changes(changes) => Ok(json(&ask(store, visit, inbox.changes_since(app, user, changes)).await?)),
        },
        BrowserCall::Seen => Ok(json(&ask(store, visit, inbox.seen(app, user, seen(&body)?)).await?)),
        BrowserCall::ReadAll => {
            let up_to_seq = number("up_to_seq").unwrap_or_default();
            let category = body["category"].as_str();
            let read = inbox.read_all(app, user, up_to_seq, number("up_to_announced"), category);
            Ok(json(&ask(store, visit, read).await?))
        }
        BrowserCall::ArchiveRead => {
            let up_to_seq = number("up_to_seq").unwrap_or_default();
            Ok(json(&ask(store, visit, inbox.archive_read(app, user, up_to_seq)).await?))
        }
        BrowserCall::Preferences => Ok(json(&ask(store, visit, inbox.preferences(app, user)).await?)),
        BrowserCall::SetPreference => {
            let channels: Switches = meant(body["channels"].clone())?;
            let category = body["category"].as_str().unwrap_or_default();
            Ok(json(&ask(store, visit, inbox.set_preference(app, user, category, channels)).await?))
        }
        BrowserCall::PushKey => Ok(json(&json!({ "public_key": push_key(&visit.door().node().ways(), app)? }))),
        BrowserCall::AddPush => {
            let ways = visit.door().node().ways();
            push_key(&ways, app)?;
            let subscription: PushSubscription = meant(body)?;
            let refused = |code, path: &str, message| Mistake { code, path: path.to_owned(), message };
            ways.check_endpoint(&subscription.endpoint).map_err(|reason| {
                refused("bad_endpoint", "/endpoint", format!("the endpoint {reason}: pass on what the browser gave"))
            })?;
            BrowserKeys::parse(&subscription.keys.p256dh, &subscription.keys.auth)
                .map_err(|error| refused("bad_key", "/keys", error.to_string()))?;
            ask(store, visit, inbox.add_push_subscription(app, user, subscription)).await?;
            Ok(json(&json!({})))
        }
        BrowserCall::RemovePush => {
            let endpoint = body["endpoint"].as_str().unwrap_or_default();
            let removed = ask(store, visit, inbox.remove_push_subscription(app, user, endpoint)).await?;
            Ok(json(&json!({ "removed": removed })))
        }
        BrowserCall::Read
        | BrowserCall::Unread
        | BrowserCall::SeenOne
        | BrowserCall::Archive
        | BrowserCall::Unarchive
        | BrowserCall::Snooze => unreachable!("marks are answered above"),
    }
}

/// What browsers subscribe with, or what to configure.
fn push_key(ways: &Ways, app: &str) -> Result<String, Refused> {
    let message = "nothing is pushed to browsers: write [inbox.web_push] with a contact in the server's configuration, and \
                   leave web_push on in [apps.inbox]";
    ways.push_key(app).map(str::to_owned).ok_or_else(|| Refused::new(Code::NoWebPush, message))
}

fn moment(value: &Value, path: &str) -> Result<Timestamp, Refused> {
    let text = value.as_str().unwrap_or_default();
    Timestamp::parse(text).map_err(|error| Refused::new(Code::WrongType, error.to_string()).at(path))
}

fn seen(body: &Value) -> Result<Seen, Refused> {
    match (&body["ids"], body["up_to_seq"].as_i64()) {
        (Value::Array(ids), None) => {
            let id = |(at, id): (usize, &Value)| {
                let wrong = || Refused::new(Code::WrongType, "a notification's id is a UUID").at(format!("/ids/{at}"));
                Uuid::try_parse(id.as_str().unwrap_or_default()).map_err(|_| wrong())
            };
            Ok(Seen::Ids(ids.iter().enumerate().map(id).collect::<Result<_, _>>()?))
        }
        (Value::Null, Some(seq)) => Ok(Seen::UpTo { seq, announced: body["up_to_announced"].as_i64() }),
        (Value::Null, None) => Err(Refused::new(Code::Missing, "say which: ids, or up_to_seq").at("/ids")),
        _ => Err(Refused::new(Code::WrongType, "ids and up_to_seq say the same: give one of them").at("/up_to_seq")),
    }
}

/// The door of a request's worker.
pub(super) fn app_of_key(key: &str, door: &Door) -> Result<Arc<App>, Refused> {
    let unknown = || {
        Refused::new(Code::UnknownApp, "there is no app with this key: look at the key, and whether it is switched on")
    };
    let app = door.apps().by_key(key).cloned().ok_or_else(unknown)?;
    if !app.enabled {
        return Err(Refused::new(Code::AppDisabled, "this app is disabled"));
    }
    Ok(app)
}
