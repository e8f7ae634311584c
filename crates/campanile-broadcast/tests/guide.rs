//! The guide's examples (`docs/rust.md`), as one application, so that they compile and do what the guide says.
//!
//! Owns the code; a test compares it with the guide. Never shows what the guide does not explain, but for the
//! tests of it at the end.

use axum::extract::{FromRequestParts, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::routing::post;
use axum::{Json, Router};
use campanile_broadcast::outbox::{Outbox, durable_sqlite};
use campanile_broadcast::sqlx::{self, SqlitePool};
use campanile_broadcast::{
    Broadcast, Campanile, Channel, Channels, Content, Member, Notification, NotificationKind, OnExceed, Rate,
    Recipient, Settings, SocketId, To, Typescript, Via, ts_rs::TS,
};
use serde::Serialize;
use serde_json::json;
use std::time::Duration;
use tokio::net::TcpListener;

#[derive(Channel)]
#[channel("private-user.{id}")]
struct UserChannel {
    id: i64,
}

#[derive(Channel)]
#[channel("private-document.{id}")]
struct DocumentChannel {
    id: i64,
}

#[derive(Channel)]
#[channel("private-team.{id}")]
struct TeamChannel {
    id: i64,
}

#[derive(Channel)]
#[channel("presence-team.{id}")]
struct TeamPresence {
    id: i64,
}

#[derive(Serialize, TS, Broadcast)]
#[ts(crate = "campanile_broadcast::ts_rs")]
#[broadcast(
    name = "order.shipped",
    on = [UserChannel { id: self.user_id }],
    when = self.visible,
    queue = "broadcasts",
    tries = 5
)]
struct OrderShipped {
    order_id: i64,
    tracking_number: String,
    #[serde(skip)]
    user_id: i64,
    #[serde(skip)]
    visible: bool,
}

#[derive(Serialize, TS, Broadcast)]
#[ts(crate = "campanile_broadcast::ts_rs")]
#[broadcast(name = "comment.added", on = [DocumentChannel { id: self.document_id }])]
struct CommentAdded {
    document_id: i64,
    author: String,
    body: String,
}

#[derive(Serialize, TS, Notification)]
#[ts(crate = "campanile_broadcast::ts_rs")]
#[notification(
    kind = "comment.added",
    category = "comments",
    via = [Inbox, Broadcast, Mail],
    title = format!("{} has commented", self.author),
    body = self.excerpt,
    action_url = format!("/documents/{}", self.document_id)
)]
struct CommentNotification {
    document_id: i64,
    author: String,
    excerpt: String,
}

async fn note(app: &App, owner_id: i64, comment_id: i64, notification: CommentNotification) -> Result<(), Failure> {
    let mut tx = app.db.begin_with("BEGIN IMMEDIATE").await?;
    let document_id = notification.document_id;
    app.campanile
        .notify(owner_id, notification)
        .about("document", document_id)
        .key(format!("comment:{comment_id}"))
        .within(&mut tx)
        .await?;
    tx.commit().await?;
    Ok(())
}

impl Recipient for CurrentUser {
    fn to(&self) -> To {
        To::user(self.id)
    }
}

#[derive(Serialize, Notification)]
#[notification(kind = "order.delayed", category = "orders", via = [Inbox, Broadcast, Mail])]
struct OrderDelayed {
    order_id: i64,
    days: u32,
}

impl Notification<CurrentUser> for OrderDelayed {
    fn to_inbox(&self, user: &CurrentUser) -> Content {
        Content::new(format!("{}, your order will be {} days late", user.name, self.days))
            .action("Wait", format!("/orders/{}/wait", self.order_id))
            .action("Cancel", format!("/orders/{}/cancel", self.order_id))
    }

    fn via(&self, _: &CurrentUser) -> Vec<Via> {
        if self.days > 7 { Self::VIA.to_vec() } else { vec![Via::Inbox, Via::Broadcast] }
    }

    fn should_send(&self, _: &CurrentUser) -> bool {
        self.days > 0
    }
}

fn channels() -> Channels<CurrentUser, App> {
    Channels::new()
        .private(|user: CurrentUser, channel: UserChannel, _: App| async move { user.id == channel.id })
        .private(|user: CurrentUser, channel: DocumentChannel, app: App| async move {
            app.can_view(user.id, channel.id).await
        })
        .private(
            |user: CurrentUser, channel: TeamChannel, app: App| async move { app.is_member(user.id, channel.id).await },
        )
        .presence(|user: CurrentUser, channel: TeamPresence, app: App| async move {
            let is_member = app.is_member(user.id, channel.id).await?;
            Ok::<_, sqlx::Error>(is_member.then(|| Member::new(user.id, json!({ "name": user.name }))))
        })
}

async fn ship(State(app): State<App>, Path(order_id): Path<i64>) -> Result<StatusCode, Failure> {
    let mut tx = app.db.begin_with("BEGIN IMMEDIATE").await?;
    let (user_id, tracking_number) =
        sqlx::query_as("UPDATE orders SET status = 'shipped' WHERE id = ? RETURNING user_id, tracking_number")
            .bind(order_id)
            .fetch_one(&mut *tx)
            .await?;
    let event = OrderShipped { order_id, tracking_number, user_id, visible: true };
    app.campanile.broadcast(event).within(&mut tx).await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn comment(
    State(app): State<App>,
    user: CurrentUser,
    socket: SocketId,
    Path(document_id): Path<i64>,
    Json(body): Json<String>,
) -> Result<StatusCode, Failure> {
    let event = CommentAdded { document_id, author: user.name, body };
    app.campanile.broadcast(event).to_others(socket).send().await?;
    Ok(StatusCode::NO_CONTENT)
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    let end = Box::pin(async { drop(tokio::signal::ctrl_c().await) });
    serve(Settings::from_env()?, "app.sqlite", listener, end).await
}

async fn serve(settings: Settings, file: &str, listener: TcpListener, end: Ending) -> Result<(), Failure> {
    let db = SqlitePool::connect_with(durable_sqlite(file)).await?;
    sqlx::raw_sql(TABLES).execute(&db).await?;
    let campanile = Campanile::with_outbox(settings, Outbox::sqlite(db.clone()).await?)?;
    let courier = campanile.courier().start();
    axum::serve(listener, router(App { db, campanile })).with_graceful_shutdown(end).await?;
    courier.stop(Duration::from_secs(10)).await;
    Ok(())
}

fn router(app: App) -> Router {
    Router::new()
        .route("/orders/{order}/ship", post(ship))
        .route("/documents/{document}/comments", post(comment))
        .merge(app.campanile.routes::<CurrentUser, App>(channels()))
        .with_state(app)
}

async fn options(campanile: &Campanile, event: OrderShipped) -> Result<(), Failure> {
    let minute = Duration::from_secs(60);
    let order = event.order_id;
    campanile
        .broadcast(event)
        .on_queue("high")
        .priority(10)
        .delay(minute)
        .tries(3)
        .backoff([Duration::from_secs(1), minute])
        .ordered_by(order)
        .unique_for(order, minute)
        .rate_limit(format!("order-{order}"), Rate::per_minute(10), OnExceed::Defer)
        .send()
        .await?;
    Ok(())
}

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY, user_id INTEGER, tracking_number TEXT, status TEXT);
    CREATE TABLE IF NOT EXISTS viewers (user_id INTEGER, document_id INTEGER);
    CREATE TABLE IF NOT EXISTS members (user_id INTEGER, team_id INTEGER);
    INSERT OR IGNORE INTO orders VALUES (42, 1, 'TRACK', 'new');
";

/// When the application is told to end, such as by Ctrl-C.
type Ending = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Debug, Clone)]
struct App {
    db: SqlitePool,
    campanile: Campanile,
}

impl App {
    async fn can_view(&self, user: i64, document: i64) -> Result<bool, sqlx::Error> {
        self.holds("SELECT count(*) FROM viewers WHERE user_id = ? AND document_id = ?", user, document).await
    }

    async fn is_member(&self, user: i64, team: i64) -> Result<bool, sqlx::Error> {
        self.holds("SELECT count(*) FROM members WHERE user_id = ? AND team_id = ?", user, team).await
    }

    async fn holds(&self, sql: &'static str, user: i64, other: i64) -> Result<bool, sqlx::Error> {
        let count: i64 = sqlx::query_scalar(sql).bind(user).bind(other).fetch_one(&self.db).await?;
        Ok(count > 0)
    }
}

#[derive(Debug, Clone)]
struct CurrentUser {
    id: i64,
    name: String,
}

impl FromRequestParts<App> for CurrentUser {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, StatusCode> {
        let id = parts.headers.get("x-user").and_then(|value| value.to_str().ok()?.parse().ok());
        id.map(|id| Self { id, name: "Ann".to_owned() }).ok_or(StatusCode::UNAUTHORIZED)
    }
}

/// Whatever went wrong is the server's fault.
#[derive(Debug)]
struct Failure(Box<dyn std::error::Error + Send + Sync>);

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl axum::response::IntoResponse for Failure {
    fn into_response(self) -> axum::response::Response {
        (StatusCode::INTERNAL_SERVER_ERROR, self.0.to_string()).into_response()
    }
}

mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use axum::http::header::CONTENT_TYPE;
    use campanile_broadcast::Fake;
    use tower::ServiceExt;

    use super::*;

    async fn database() -> SqlitePool {
        // Every connection to `:memory:` is a database of its own.
        let db = sqlx::sqlite::SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap();
        sqlx::raw_sql(TABLES).execute(&db).await.unwrap();
        let seeds = "INSERT INTO members VALUES (1, 5); INSERT INTO viewers VALUES (1, 9);";
        sqlx::raw_sql(seeds).execute(&db).await.unwrap();
        db
    }

    #[tokio::test]
    async fn shipping_an_order_tells_its_owner() {
        let fake = Campanile::fake();
        let app = router(App { db: database().await, campanile: fake.campanile() });

        let answer = app.oneshot(Request::post("/orders/42/ship").body(Body::empty()).unwrap()).await.unwrap();

        assert_eq!(answer.status(), StatusCode::NO_CONTENT);

        fake.assert_broadcast::<OrderShipped>(|event, channels| {
            event.tracking_number == "TRACK" && channels == ["private-user.1"]
        });
        fake.assert_broadcast_times::<OrderShipped>(1);
        fake.assert_not_broadcast::<CommentAdded>();
    }

    #[tokio::test]
    async fn the_application_serves_until_it_is_told_to_end_and_stops_its_courier() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("shop.sqlite");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, (tell, told)) = (listener.local_addr().unwrap(), tokio::sync::oneshot::channel::<()>());
        let settings = Settings::new("http://127.0.0.1:1", "id", "key", "secret");
        let serving = tokio::spawn(async move {
            let end = Box::pin(async move { drop(told.await) });
            serve(settings, file.to_str().unwrap(), listener, end).await
        });
        let body = "socket_id=1.2&channel_name=private-user.1";
        let asked = format!(
            "POST /broadcasting/auth HTTP/1.1\r\nHost: h\r\nX-User: 1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let mut answer = String::new();
        tokio::io::AsyncWriteExt::write_all(&mut stream, asked.as_bytes()).await.unwrap();
        tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        tell.send(()).unwrap();
        serving.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_comment_is_not_told_to_who_wrote_it() {
        let fake: Fake = Campanile::fake();
        let app = router(App { db: database().await, campanile: fake.campanile() });
        let request = Request::post("/documents/9/comments").header("x-user", "1").header("x-socket-id", "1.2");
        let request = request.header(CONTENT_TYPE, "application/json").body(Body::from("\"fine\"")).unwrap();
        assert_eq!(app.oneshot(request).await.unwrap().status(), StatusCode::NO_CONTENT);
        fake.assert_broadcast_to_others::<CommentAdded>(campanile_protocol::SocketId::parse("1.2").unwrap());
        options(&fake, OrderShipped { order_id: 1, tracking_number: String::new(), user_id: 1, visible: true })
            .await
            .unwrap();
        fake.assert_options::<OrderShipped>(|options| format!("{options:?}").contains("high"));
    }

    #[tokio::test]
    async fn each_channel_has_its_own_answer() {
        let app = router(App { db: database().await, campanile: Campanile::fake().campanile() });
        for (user, channel, status) in [
            ("1", "private-user.1", 200),
            ("2", "private-user.1", 403),
            ("1", "private-document.9", 200),
            ("2", "private-document.9", 403),
            ("1", "private-team.5", 200),
            ("1", "presence-team.5", 200),
            ("2", "presence-team.5", 403),
        ] {
            let body = format!("socket_id=1.2&channel_name={channel}");
            let request = Request::post("/broadcasting/auth").header("x-user", user).body(Body::from(body)).unwrap();
            let answer = app.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.status().as_u16(), status, "{user} at {channel}");
        }
    }

    #[tokio::test]
    async fn a_comment_is_noted_for_the_owner_of_the_document() {
        let fake = Campanile::fake();
        let app = App { db: database().await, campanile: fake.campanile() };
        let comment = CommentNotification { document_id: 9, author: "Ann".into(), excerpt: "Fine".into() };

        note(&app, 1, 9, comment).await.unwrap();

        fake.assert_notified::<CommentNotification>(|notification, draft| {
            notification.author == "Ann" && draft.to == To::user(1) && draft.key == "comment:9"
        });
    }

    #[tokio::test]
    async fn each_recipient_is_asked_what_they_read() {
        let fake = Campanile::fake();
        let users = ["Ann", "Ben"].into_iter().zip(1..).map(|(name, id)| CurrentUser { id, name: name.to_owned() });
        fake.notify_each(users, OrderDelayed { order_id: 42, days: 3 }).rescue().await;
        fake.assert_notified_times::<OrderDelayed>(2);
        fake.assert_notified::<OrderDelayed>(|delayed, draft| {
            delayed.order_id == 42 && draft.title == "Ben, your order will be 3 days late" && draft.via.len() == 2
        });
    }

    #[test]
    fn the_front_end_has_the_events_types() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.d.ts");
        let events = Typescript::new().event::<OrderShipped>().event::<CommentAdded>();
        let events = events.notification::<CommentNotification>();
        assert!(events.write(&path).unwrap());

        assert!(!events.write(&path).unwrap(), "events.d.ts was not up to date");
    }

    #[test]
    fn every_example_of_the_guide_is_here() {
        let unindented = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("\n");
        let here = unindented(include_str!("guide.rs"));
        let guide = include_str!("../../../docs/rust.md");
        let examples: Vec<String> =
            guide.split("```rust\n").skip(1).filter_map(|rest| rest.split("```").next()).map(unindented).collect();
        assert!(examples.len() > 5, "the guide has examples");
        for example in examples {
            // Blank lines set off what is apart here.
            for part in example.split("\n\n").map(str::trim) {
                assert!(here.contains(part), "the guide has, and guide.rs has not:\n{part}");
            }
        }
    }
}
