//! Users' inboxes: what servers send, what pages hear, what browsers read and mark.

use std::io::{Read, Write};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use campanile_protocol::SocketId;
use serde_json::{Value, json};
use sqlx::{Connection, SqliteConnection};

use crate::common::{Answer, Client, KEY, TestServer, in_string, secret, start, until};

const CHANNEL: &str = "private-user.42";
const TOKEN: &str = "a-server-token-of-more-than-32-characters";
const LARAVEL: &str = r"Illuminate\Notifications\Events\BroadcastNotificationCreated";
const ID: &str = "7f0c1a52-3f0e-4f43-9d3a-0d1a8f6b2c11";

const SETTINGS: &[(&str, &str)] = &[
    ("inbox.synchronous", "normal"),
    ("apps.0.server_tokens.0.token", TOKEN),
    ("apps.0.inbox.channels.0", "private-user.{user}"),
    ("apps.0.inbox.identity.0", "private-user.{user}"),
    ("apps.0.inbox.capture.0.channel", "private-user.{user}"),
    ("apps.0.inbox.capture.0.title", "/title"),
];

fn with(more: &[(&str, &str)]) -> TestServer {
    start(&[SETTINGS, more].concat())
}

/// A request with these header lines, each with its line break.
fn call(server: &TestServer, method: &str, path: &str, headers: &str, body: &Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let length = body.len();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
    server.exchange(request.as_bytes())
}

/// As an application's server with a token.
fn as_server(server: &TestServer, method: &str, path: &str, body: &Value) -> Answer {
    call(server, method, path, &format!("Authorization: Bearer {TOKEN}\r\n"), body)
}

fn notify(server: &TestServer, body: &Value) -> Answer {
    as_server(server, "POST", "/apps/app/notifications", body)
}

/// A notification to user 42.
fn comment(key: &str) -> Value {
    json!({ "to": { "user": "42" }, "kind": "comment.added", "title": "New comment", "key": key, "data": { "document": 7 } })
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["error"].as_str().unwrap_or_default().to_owned())
}

/// A page of user 42 that has heard how the inbox stands.
fn page(server: &TestServer) -> (Client, Value) {
    let mut client = Client::connect(server);
    client.subscribe(CHANNEL);
    let state = client.event();
    assert_eq!((&state["event"], &state["channel"]), (&"inbox.state".into(), &CHANNEL.into()));
    (client, in_string(&state["data"]))
}

fn proof(client: &Client, channel: &str) -> Value {
    let socket_id = SocketId::parse(&client.socket_id).unwrap();
    let auth = format!("{KEY}:{}", secret().sign_channel(socket_id, channel, None));
    json!({ "socket_id": client.socket_id, "channel_name": channel, "auth": auth })
}

fn open_session(server: &TestServer, proof: &Value) -> Answer {
    call(server, "POST", "/inbox/session", "", proof)
}

fn token(server: &TestServer, client: &Client) -> String {
    let answer = open_session(server, &proof(client, CHANNEL));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["token"].as_str().unwrap().to_owned()
}

fn as_browser(server: &TestServer, token: &str, method: &str, path: &str, body: &Value) -> Answer {
    call(server, method, path, &format!("Authorization: Bearer {token}\r\n"), body)
}

fn list(server: &TestServer, token: &str, query: &str) -> Value {
    let answer = as_browser(server, token, "GET", &format!("/inbox/notifications{query}"), &Value::Null);
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// Waits for a committed row.
fn wait_for_seq(server: &TestServer, seq: i64) {
    until(|| {
        let inbox = as_server(server, "GET", "/apps/app/users/42/inbox", &Value::Null).json();
        if inbox["seq"] == seq { Ok(()) } else { Err(inbox.to_string()) }
    });
}

#[test]
fn without_an_inbox_every_path_says_what_to_configure_and_nothing_is_stored() {
    let server = start(&[]);
    for (method, path) in [("GET", "/inbox/state"), ("POST", "/inbox/session"), ("GET", "/inbox/stream?app_key=key")] {
        let answer = call(&server, method, path, "", &Value::Null);
        assert_eq!(code(&answer), (404, "no_inbox".to_owned()), "{path}");
        assert!(answer.json()["message"].as_str().unwrap().contains("[inbox]"), "{answer:?}");
    }
    let answer = server.post("/apps/app/notifications", &comment("k"));
    assert_eq!(code(&answer), (404, "no_inbox".to_owned()));
    assert!(call(&server, "GET", "/status", "", &Value::Null).json()["inbox"].is_null());
    let mut client = Client::connect(&server);
    client.subscribe(CHANNEL);
    assert!(client.sync().is_empty());
}

#[test]
fn a_notification_is_heard_with_its_numbers_and_once_under_its_key() {
    let server = with(&[]);
    let (mut client, state) = page(&server);
    assert_eq!(state, json!({ "unread": 0, "unseen": 0, "seq": 0, "rev": 0, "announced": 0 }));
    let answer = notify(&server, &comment("c:1"));
    assert_eq!(answer.status, 202, "{answer:?}");
    let accepted = answer.json();
    assert_eq!(accepted["outcome"], "accepted");

    let arrived = client.event();
    assert_eq!((&arrived["event"], &arrived["channel"]), (&LARAVEL.into(), &CHANNEL.into()));
    let data = in_string(&arrived["data"]);
    assert_eq!((&data["id"], &data["type"]), (&accepted["id"], &"comment.added".into()));
    assert_eq!((&data["title"], &data["document"]), (&"New comment".into(), &7.into()));
    assert_eq!((&data["_campanile"]["seq"], &data["_campanile"]["unread"]), (&1.into(), &1.into()));
    let updated = client.event();
    assert_eq!(updated["event"], "inbox.updated");
    let data = in_string(&updated["data"]);
    assert_eq!(
        (&data["unread"], &data["changed"], &data["reset"]),
        (&1.into(), &json!([accepted["id"]]), &false.into())
    );

    let again = notify(&server, &comment("c:1"));
    assert_eq!((again.status, again.json()), (200, json!({ "outcome": "duplicate", "id": accepted["id"] })));
    let mut other = comment("c:1");
    other["title"] = "Other".into();
    let reused = notify(&server, &other);
    assert_eq!(code(&reused), (422, "key_reused".to_owned()));
    assert_eq!(reused.json()["path"], "/key");
    assert!(client.sync().is_empty(), "nothing is heard twice");
    assert_eq!(page(&server).1["unread"], 1);
}

#[test]
fn servers_prove_themselves_by_signature_or_token_and_nobody_else_does() {
    let server = with(&[("apps.1.id", "other"), ("apps.1.keys.0.key", "other-key"), ("apps.1.keys.0.secret", "s2")]);
    assert_eq!(server.post("/apps/app/notifications", &comment("a")).status, 202);
    assert_eq!(notify(&server, &comment("b")).status, 202);
    let path = "/apps/app/notifications";
    for (headers, status, word) in [
        ("", 401, "unsigned"),
        ("Authorization: Bearer \r\n", 401, "unsigned"),
        ("Authorization: Bearer a-server-token-of-more-than-32-characterz\r\n", 401, "unsigned"),
        ("Authorization: Basic YTpi\r\n", 401, "unsigned"),
    ] {
        let answer = call(&server, "POST", path, headers, &comment("c"));
        assert_eq!(code(&answer), (status, word.to_owned()), "{headers}");
    }
    let elsewhere = as_server(&server, "POST", "/apps/other/notifications", &comment("d"));
    assert_eq!(code(&elsewhere), (401, "unsigned".to_owned()), "a token is its app's alone");
    assert_eq!(
        code(&as_server(&server, "POST", "/apps/none/notifications", &comment("d"))),
        (404, "unknown_app".to_owned())
    );
    let answer = as_server(&server, "PUT", path, &Value::Null);
    assert_eq!(code(&answer), (405, "method_not_allowed".to_owned()));
    let bad = notify(&server, &json!({ "to": { "user": "42" }, "kind": "k", "title": "t", "actionurl": "/x" }));
    assert_eq!((code(&bad), bad.json()["path"].clone()), ((400, "unknown_field".to_owned()), "/actionurl".into()));
    let bad =
        notify(&server, &json!({ "to": { "user": "42" }, "kind": "k", "title": "t", "action_url": "javascript:x" }));
    assert_eq!((code(&bad), bad.json()["path"].clone()), ((400, "bad_url".to_owned()), "/action_url".into()));
}

#[test]
fn what_one_tab_marks_the_other_hears() {
    let server = with(&[]);
    let (mut first, _) = page(&server);
    let (mut second, _) = page(&server);
    let answer = open_session(&server, &proof(&first, CHANNEL));
    assert_eq!(answer.status, 200, "{answer:?}");
    let session = answer.json();
    assert_eq!((&session["user"], &session["app"]), (&"42".into(), &"app".into()));
    assert_eq!((&session["channels"], &session["expires_in"]), (&json!([CHANNEL]), &600.into()));
    let token = session["token"].as_str().unwrap();
    let id = notify(&server, &comment("c:1")).json()["id"].as_str().unwrap().to_owned();
    for client in [&mut first, &mut second] {
        assert_eq!(client.event()["event"], LARAVEL);
        assert_eq!(client.event()["event"], "inbox.updated");
    }
    let shown = list(&server, token, "");
    assert_eq!((&shown["notifications"][0]["id"], &shown["unread"]), (&id.as_str().into(), &1.into()));

    let marked = as_browser(&server, token, "POST", &format!("/inbox/notifications/{id}/read"), &Value::Null);
    assert_eq!(marked.status, 200, "{marked:?}");
    assert_eq!((&marked.json()["unread"], &marked.json()["rev"]), (&0.into(), &2.into()));
    assert!(marked.json()["notification"]["read_at"].is_string());
    for client in [&mut first, &mut second] {
        let event = client.event();
        assert_eq!(event["event"], "inbox.updated");
        let data = in_string(&event["data"]);
        assert_eq!((&data["unread"], &data["changed"]), (&0.into(), &json!([id])));
    }
    let changes = list(&server, token, "?since=1");
    assert_eq!((&changes["notifications"][0]["id"], &changes["rev"]), (&id.as_str().into(), &2.into()));
    for (path, body, status) in [
        ("/inbox/seen", json!({ "ids": [id] }), 200),
        ("/inbox/read-all", json!({ "up_to_seq": 1 }), 200),
        ("/inbox/archive-read", json!({ "up_to_seq": 1 }), 200),
        ("/inbox/seen", json!({}), 400),
        ("/inbox/notifications/nothing/read", Value::Null, 400),
        ("/inbox/notifications/00000000-0000-0000-0000-000000000000/read", Value::Null, 404),
    ] {
        assert_eq!(as_browser(&server, token, "POST", path, &body).status, status, "{path}");
    }
    assert_eq!(list(&server, token, "?status=archived")["notifications"][0]["id"], id);
}

#[test]
fn a_session_is_of_a_living_connection_and_ends_with_it() {
    let server = with(&[("workers", "2")]);
    // Connections of either worker, asked for by either.
    let clients: Vec<Client> = (0..6).map(|_| Client::connect(&server)).collect();
    let tokens: Vec<String> = clients.iter().map(|client| token(&server, client)).collect();
    for token in &tokens {
        assert_eq!(as_browser(&server, token, "GET", "/inbox/state", &Value::Null).status, 200);
    }
    let gone = proof(&clients[0], CHANNEL);
    drop(clients);
    server.wait_for_connections(0);
    for token in &tokens {
        let answer = as_browser(&server, token, "GET", "/inbox/state", &Value::Null);
        assert_eq!(code(&answer), (401, "session_ended".to_owned()));
    }
    assert_eq!(code(&open_session(&server, &gone)), (400, "invalid_socket_id".to_owned()));
    for token in ["", "nonsense", &format!("{}x", tokens[0])] {
        assert_eq!(
            code(&as_browser(&server, token, "GET", "/inbox/state", &Value::Null)),
            (401, "no_session".to_owned())
        );
    }
}

fn jwt(header: &str, claims: &Value) -> String {
    let [header, claims] = [header, &claims.to_string()].map(|part| URL_SAFE_NO_PAD.encode(part));
    let signed = format!("{header}.{claims}");
    let signature = hex::decode(secret().sign(signed.as_bytes())).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[test]
fn a_user_is_proved_by_a_channel_that_was_named_by_a_sign_in_or_by_a_jwt() {
    let server = with(&[("apps.0.inbox.channels.1", "private-inbox.{user}")]);
    let client = Client::connect(&server);
    let socket_id = SocketId::parse(&client.socket_id).unwrap();

    let user_data = json!({ "id": 42, "user_info": {} }).to_string();
    let auth = format!("{KEY}:{}", secret().sign_user(socket_id, &user_data));
    let signed_in =
        open_session(&server, &json!({ "socket_id": client.socket_id, "user_data": user_data, "auth": auth }));
    assert_eq!((signed_in.status, &signed_in.json()["user"]), (200, &"42".into()));
    assert_eq!(signed_in.json()["channels"], json!(["private-user.42", "private-inbox.42"]));

    let exp = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() + 60;
    let header = json!({ "alg": "HS256", "kid": KEY }).to_string();
    let good = open_session(&server, &json!({ "jwt": jwt(&header, &json!({ "sub": "42", "exp": exp })) }));
    assert_eq!(good.status, 200, "{good:?}");
    assert!(good.json()["expires_in"].as_u64().unwrap() <= 90, "no longer than the JWT: {good:?}");
    let token = good.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(as_browser(&server, &token, "GET", "/inbox/state", &Value::Null).status, 200);

    let none = jwt(&json!({ "alg": "none", "kid": KEY }).to_string(), &json!({ "sub": "42", "exp": exp }));
    let mut forged = proof(&client, CHANNEL);
    forged["auth"] = format!("{KEY}:{}", "0".repeat(64)).into();
    let mut other_user = proof(&client, CHANNEL);
    other_user["channel_name"] = "private-user.43".into();
    for (body, refused) in [
        (proof(&client, "private-inbox.42"), (403, "not_identity")),
        (proof(&client, "private-team.42"), (403, "not_identity")),
        (forged, (401, "invalid_auth")),
        (other_user, (401, "invalid_auth")),
        (json!({ "jwt": none }), (401, "invalid_auth")),
        (json!({ "jwt": jwt(&header, &json!({ "sub": "42" })) }), (401, "invalid_auth")),
        (json!({ "jwt": "a.b.c", "socket_id": "1.2" }), (400, "wrong_type")),
        (json!({ "socket_id": client.socket_id, "channel_name": CHANNEL }), (400, "missing")),
        (json!({ "socket_id": "x", "channel_name": CHANNEL, "auth": "a:b" }), (400, "invalid_socket_id")),
        (json!({ "socket_id": "1.2", "channel_name": CHANNEL, "auth": "unknown:b" }), (404, "unknown_app")),
        (json!({}), (400, "missing")),
    ] {
        let answer = open_session(&server, &body);
        assert_eq!(code(&answer), (refused.0, refused.1.to_owned()), "{body} {answer:?}");
    }
}

#[test]
fn pages_of_known_origins_may_call_and_others_may_not() {
    let server = with(&[("apps.0.allowed_origins.0", "https://shop.example.com")]);
    let known = "Origin: https://shop.example.com\r\n";
    let header = |answer: &Answer, name: &str| answer.head.to_lowercase().contains(&name.to_lowercase());
    let preflight = call(&server, "OPTIONS", "/inbox/notifications/x/read", known, &Value::Null);
    assert_eq!(preflight.status, 204);
    assert!(header(&preflight, "access-control-allow-origin: https://shop.example.com"), "{}", preflight.head);
    assert!(header(&preflight, "access-control-allow-headers: authorization, content-type"), "{}", preflight.head);
    let client = {
        let opening = crate::common::Opening { headers: known, ..crate::common::Opening::default() };
        let mut client = Client::open(&server, &opening);
        client.establish();
        client
    };
    let opened = call(&server, "POST", "/inbox/session", known, &proof(&client, CHANNEL));
    assert!(
        opened.status == 200 && header(&opened, "access-control-allow-origin: https://shop.example.com"),
        "{opened:?}"
    );
    assert!(header(&opened, "cache-control: no-store"), "{}", opened.head);
    let token = opened.json()["token"].as_str().unwrap().to_owned();
    let strange = format!("Origin: https://evil.test\r\nAuthorization: Bearer {token}\r\n");
    let refused = call(&server, "GET", "/inbox/state", &strange, &Value::Null);
    assert_eq!(code(&refused), (403, "origin_refused".to_owned()));
    assert!(!header(&refused, "access-control-allow-origin"), "{}", refused.head);
    assert_eq!(as_browser(&server, &token, "GET", "/inbox/state", &Value::Null).status, 200, "no page sends no origin");
    // What servers call has no such headers.
    let answer = call(
        &server,
        "GET",
        "/apps/app/categories",
        &format!("{known}Authorization: Bearer {TOKEN}\r\n"),
        &Value::Null,
    );
    assert!(answer.status == 200 && !header(&answer, "access-control"), "{answer:?}");
}

#[test]
fn laravels_event_is_a_row_before_it_is_heard_and_its_repetition_is_no_second() {
    let server = with(&[("apps.0.guard.laravel_notifications", "false")]);
    let (mut client, _) = page(&server);
    let data = json!({ "id": ID, "type": r"App\Notifications\InvoicePaid", "title": "Paid", "invoice": 9 }).to_string();
    let trigger = json!({ "name": LARAVEL, "channel": CHANNEL, "data": data });
    let answer = server.post("/apps/app/events", &trigger);
    assert_eq!((answer.status, answer.body.as_str()), (200, "{}"));
    let rows = as_server(&server, "GET", "/apps/app/users/42/inbox", &Value::Null).json();
    assert_eq!((&rows["notifications"][0]["id"], &rows["notifications"][0]["title"]), (&ID.into(), &"Paid".into()));
    assert_eq!(rows["notifications"][0]["kind"], r"App\Notifications\InvoicePaid");
    let event = client.event();
    assert_eq!((&event["event"], &event["data"]), (&LARAVEL.into(), &data.as_str().into()), "byte for byte");
    let updated = client.event();
    assert_eq!(updated["event"], "inbox.updated", "and the counts come after it");
    assert_eq!(in_string(&updated["data"])["unread"], 1);

    // The job is tried again: it is heard again, and is the same row.
    assert_eq!(server.post("/apps/app/events", &trigger).status, 200);
    assert_eq!(client.event()["event"], LARAVEL);
    assert!(client.sync().is_empty());
    assert_eq!(page(&server).1["seq"], 1);

    // What names no notification is heard, and its publisher told.
    let nameless = json!({ "name": LARAVEL, "channels": [CHANNEL, "orders"], "data": "{}" });
    let answer = server.post("/apps/app/events", &nameless);
    assert_eq!(answer.status, 200);
    assert!(answer.head.contains("x-campanile-outcome: uncaptured, published"), "{}", answer.head);
    assert_eq!(client.event()["event"], LARAVEL);
    let other = server.post("/apps/app/events", &json!({ "name": "other", "channel": CHANNEL, "data": "{}" }));
    assert!(!other.head.contains("outcome"), "{}", other.head);
}

/// Nobody else can write while this holds.
struct WriteLock {
    runtime: tokio::runtime::Runtime,
    connection: SqliteConnection,
}

impl WriteLock {
    fn take(server: &TestServer) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let file = server.state_dir().join("campanile.db");
        let connection = runtime.block_on(async {
            let mut connection = SqliteConnection::connect(&format!("sqlite://{}", file.display())).await.unwrap();
            sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
            connection
        });
        Self { runtime, connection }
    }

    fn release(mut self) {
        self.runtime.block_on(async { sqlx::query("ROLLBACK").execute(&mut self.connection).await.unwrap() });
    }
}

#[test]
fn while_the_store_is_away_only_what_needs_it_waits() {
    let server = with(&[
        ("limits.http_request_timeout_secs", "1"),
        ("apps.0.inbox.capture.1.channel", "private-pushed.{user}"),
        ("apps.0.inbox.capture.1.on_store_error", "push"),
    ]);
    let (mut client, _) = page(&server);
    client.subscribe("private-pushed.42");
    let data = json!({ "id": ID, "type": "t" }).to_string();
    let lock = WriteLock::take(&server);
    let captured = json!({ "name": LARAVEL, "channel": CHANNEL, "data": data });
    let answer = server.post("/apps/app/events", &captured);
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.head.to_lowercase().contains("retry-after: "), "{}", answer.head);
    assert!(client.sync().is_empty(), "what has no row is not heard");
    let pushed =
        server.post("/apps/app/events", &json!({ "name": LARAVEL, "channel": "private-pushed.42", "data": data }));
    assert_eq!(pushed.status, 200);
    assert!(pushed.head.contains("x-campanile-outcome: uncaptured"), "{}", pushed.head);
    assert_eq!(client.event()["channel"], "private-pushed.42");
    let answer = notify(&server, &comment("c"));
    assert_eq!(answer.status, 503, "{answer:?}");
    assert_eq!(call(&server, "GET", "/status", "", &Value::Null).json()["inbox"]["store"], "degraded");
    assert_eq!(call(&server, "GET", "/ready", "", &Value::Null).status, 200);
    server.serves_others();
    lock.release();
    until(|| {
        let answer = server.post("/apps/app/events", &captured);
        if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    assert_eq!(client.event()["event"], LARAVEL);
    assert_eq!(call(&server, "GET", "/status", "", &Value::Null).json()["inbox"]["store"], "ok");
}

/// An empty schema of the Postgres that these tests share.
async fn postgres_url() -> (sqlx::PgPool, String) {
    let pool = crate::postgres::pool().await;
    let schema: String = sqlx::query_scalar("SELECT current_schema()").fetch_one(&pool).await.unwrap();
    let socket = crate::postgres::socket_directory().display().to_string().replace('/', "%2F");
    (pool, format!("postgres://postgres@{socket}/postgres?options=-c%20search_path%3D{schema}"))
}

#[test]
fn on_postgres_it_is_the_same_and_a_database_that_hangs_costs_the_inbox_alone() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (pool, url) = runtime.block_on(postgres_url());
    // Everything but where it is kept.
    let settings = [&SETTINGS[1..], &[("inbox.url", url.as_str()), ("limits.http_request_timeout_secs", "2")]].concat();
    let server = start(&settings);
    let (mut client, _) = page(&server);
    let id = notify(&server, &comment("c:1")).json()["id"].clone();
    assert_eq!(in_string(&client.event()["data"])["id"], id);
    assert_eq!(client.event()["event"], "inbox.updated");
    let session = token(&server, &client);
    let read = format!("/inbox/notifications/{}/read", id.as_str().unwrap());
    assert_eq!(as_browser(&server, &session, "POST", &read, &Value::Null).json()["unread"], 0);
    assert_eq!(client.event()["event"], "inbox.updated");

    let lock = runtime.block_on(async {
        let mut lock = pool.begin().await.unwrap();
        let tables: Vec<String> =
            sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()")
                .fetch_all(&mut *lock)
                .await
                .unwrap();
        let sql = format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", tables.join(", "));
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut *lock).await.unwrap();
        lock
    });
    assert_eq!(notify(&server, &comment("c:2")).status, 503);
    let data = json!({ "id": ID, "type": "t" }).to_string();
    let captured = json!({ "name": LARAVEL, "channel": CHANNEL, "data": data });
    assert_eq!(server.post("/apps/app/events", &captured).status, 503);
    assert_eq!(call(&server, "GET", "/status", "", &Value::Null).json()["inbox"]["store"], "degraded");
    server.serves_others();
    let mut late = Client::connect(&server);
    late.subscribe(CHANNEL);
    assert!(late.sync().is_empty(), "how the inbox stands nobody knows, and the subscription does not wait for it");
    runtime.block_on(lock.rollback()).unwrap();
    until(|| {
        let answer = server.post("/apps/app/events", &captured);
        if answer.status == 200 { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    until(|| {
        let answer = notify(&server, &comment("c:2"));
        if answer.status < 300 { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    wait_for_seq(&server, 3);

    let backup = std::process::Command::new(env!("CARGO_BIN_EXE_campanile"))
        .args(["backup", "/nowhere/copy.db"])
        .env("CAMPANILE__STATE_DIR", server.state_dir())
        .env("CAMPANILE__INBOX__URL", &url)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&backup.stderr);
    assert!(!backup.status.success() && told.contains("pg_dump"), "{told}");
    drop(server);
}

#[test]
fn a_store_that_cannot_be_opened_stops_the_start() {
    let server = with(&[]);
    let refused = server.restart_on(SETTINGS, "campanile.db", "no database at all, but long enough to look like one");
    let refused = refused.expect_err("the start is refused").to_string();
    assert!(refused.starts_with("[inbox]: ") && refused.contains("campanile.db"), "{refused}");
}

#[test]
fn requests_that_wait_for_the_store_leave_a_worker_room_for_the_others() {
    let server =
        with(&[("workers", "1"), ("limits.permits_per_worker", "16"), ("limits.http_request_timeout_secs", "4")]);
    let lock = WriteLock::take(&server);
    let captured = |number: u128| {
        let data = json!({ "id": format!("{number:032x}"), "type": "t" }).to_string();
        json!({ "name": LARAVEL, "channel": CHANNEL, "data": data })
    };
    let began = std::time::Instant::now();
    let statuses: Vec<(u16, Duration)> = std::thread::scope(|scope| {
        // A quarter of the permits is four requests; the fifth is told at once.
        let requests: Vec<_> = (0..5)
            .map(|number| {
                let (server, captured) = (&server, captured(number));
                scope.spawn(move || (server.post("/apps/app/events", &captured).status, began.elapsed()))
            })
            .collect();
        server.serves_others();
        lock.release();
        requests.into_iter().map(|request| request.join().unwrap()).collect()
    });
    let refused = statuses.iter().filter(|(status, _)| *status == 503).count();
    assert!(refused >= 1 && statuses.iter().all(|(status, _)| matches!(status, 200 | 503)), "{statuses:?}");
    assert_eq!(statuses.len() - refused, 4, "{statuses:?}");
}

#[test]
fn what_is_for_everybody_is_heard_by_whoever_is_there_and_counts_for_the_others() {
    let server = with(&[]);
    let (mut client, _) = page(&server);
    let mut stranger = Client::connect(&server);
    stranger.subscribe("private-user.7");
    assert_eq!(stranger.event()["event"], "inbox.state");
    as_server(&server, "PUT", "/apps/app/audiences/beta/members", &json!({ "add": ["42", "9"] }));
    let to = |to: Value| json!({ "to": to, "kind": "news", "title": "News" });
    assert_eq!(notify(&server, &to(json!({ "all": true }))).status, 202);
    for client in [&mut client, &mut stranger] {
        let event = client.event();
        assert_eq!(event["event"], LARAVEL);
        assert_eq!(in_string(&event["data"])["_campanile"]["announcement"], true);
        let updated = client.event();
        assert_eq!(updated["event"], "inbox.updated");
        assert_eq!(
            (&in_string(&updated["data"])["unread"], &in_string(&updated["data"])["announced"]),
            (&1.into(), &1.into())
        );
    }
    assert_eq!(notify(&server, &to(json!({ "audience": "beta" }))).status, 202);
    assert_eq!(client.event()["event"], LARAVEL);
    assert_eq!(in_string(&client.event()["data"])["unread"], 2);
    assert!(stranger.sync().is_empty(), "whoever is not in the audience hears nothing");
    let late = as_server(&server, "GET", "/apps/app/users/9/inbox", &Value::Null).json();
    assert_eq!(late["unread"], 2);
}

/// Reads a stream of server-sent events.
struct Stream {
    socket: std::net::TcpStream,
    received: String,
}

impl Stream {
    fn open(server: &TestServer) -> Self {
        let mut socket = server.dial();
        let request = format!("GET /inbox/stream?app_key={KEY} HTTP/1.1\r\nHost: test\r\n\r\n");
        socket.write_all(request.as_bytes()).unwrap();
        let mut stream = Self { socket, received: String::new() };
        stream.until("\r\n\r\n");
        let (head, rest) = stream.received.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"), "{head}");
        stream.received = rest.to_owned();
        stream
    }

    fn until(&mut self, wanted: &str) {
        let mut buffer = [0; 4096];
        while !self.received.contains(wanted) {
            let length = self.socket.read(&mut buffer).unwrap();
            assert_ne!(length, 0, "the stream has ended: {:?}", self.received);
            self.received.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
        }
    }

    /// The next event's name and data; chunks' lengths stand on lines of their own.
    fn event(&mut self) -> (String, Value) {
        loop {
            self.until("\n\n");
            let (event, rest) = self.received.split_once("\n\n").unwrap();
            let line = |name: &str| event.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
            let told = line("event: ").map(|name| (name, serde_json::from_str(&line("data: ").unwrap()).unwrap()));
            self.received = rest.to_owned();
            if let Some(told) = told {
                return told;
            }
        }
    }
}

#[test]
fn without_a_websocket_an_inbox_is_fed_over_http() {
    let server = with(&[("apps.0.connections_max", "2")]);
    let mut stream = Stream::open(&server);
    let (name, connected) = stream.event();
    assert_eq!(name, "connected");
    let socket_id = connected["socket_id"].as_str().unwrap().to_owned();
    assert_eq!(server.connections(), 1, "it counts as a connection");
    let auth = secret().sign_channel(SocketId::parse(&socket_id).unwrap(), CHANNEL, None);
    let proof = json!({ "socket_id": socket_id, "channel_name": CHANNEL, "auth": format!("{KEY}:{auth}") });
    let opened = open_session(&server, &proof);
    assert_eq!(opened.status, 200, "{opened:?}");
    let token = opened.json()["token"].as_str().unwrap().to_owned();
    assert_eq!(stream.event().0, "inbox.state");
    let id = notify(&server, &comment("c")).json()["id"].clone();
    let (name, data) = stream.event();
    assert_eq!((name.as_str(), &data["id"]), (LARAVEL, &id));
    assert_eq!(stream.event().0, "inbox.updated");
    // What is captured is heard here, too.
    let data = json!({ "id": ID, "type": "t", "more": 1 }).to_string();
    server.publish(CHANNEL, LARAVEL, &data);
    let (name, data) = stream.event();
    assert_eq!((name.as_str(), &data["id"], &data["more"]), (LARAVEL, &ID.into(), &1.into()));
    assert_eq!(stream.event(), ("inbox.updated".to_owned(), in_state(2, ID)));

    let second = Client::connect(&server);
    let full = call(&server, "GET", &format!("/inbox/stream?app_key={KEY}"), "", &Value::Null);
    assert_eq!(code(&full), (503, "full".to_owned()));
    drop(second);
    let path = format!("/inbox/stream?app_key={KEY}x");
    assert_eq!(code(&call(&server, "GET", &path, "", &Value::Null)), (404, "unknown_app".to_owned()));
    assert_eq!(code(&call(&server, "GET", "/inbox/stream", "", &Value::Null)), (400, "missing".to_owned()));

    drop(stream);
    until(|| {
        let answer = as_browser(&server, &token, "GET", "/inbox/state", &Value::Null);
        if answer.status == 401 { Ok(()) } else { Err(format!("{answer:?}")) }
    });
    server.wait_for_connections(0);
}

fn in_state(number: i64, id: &str) -> Value {
    json!({ "unread": number, "unseen": number, "seq": number, "rev": number, "announced": 0, "changed": [id], "reset": false })
}

#[test]
fn as_many_streams_are_open_as_may_be_and_a_drain_ends_them() {
    let server = with(&[("inbox.streams_max", "2"), ("workers", "1")]);
    let mut streams = [Stream::open(&server), Stream::open(&server)];
    streams.iter_mut().for_each(|stream| assert_eq!(stream.event().0, "connected"));
    let refused = call(&server, "GET", &format!("/inbox/stream?app_key={KEY}"), "", &Value::Null);
    assert_eq!(code(&refused), (503, "too_many_streams".to_owned()));
    assert_eq!(server.connections(), 2, "whoever is refused has no place");
    assert!(server.drain() < Duration::from_secs(8), "nobody waits for a stream");
    for stream in &mut streams {
        let mut rest = String::new();
        let _ended = stream.socket.read_to_string(&mut rest);
    }
}

#[test]
fn a_workers_streams_leave_publishers_half_of_its_connections() {
    let server = with(&[("limits.http_connections_max", "4"), ("workers", "1")]);
    let streams = [Stream::open(&server), Stream::open(&server)];
    let path = format!("/inbox/stream?app_key={KEY}");
    assert_eq!(code(&call(&server, "GET", &path, "", &Value::Null)), (503, "too_many_streams".to_owned()));
    assert_eq!(notify(&server, &comment("c")).status, 202);
    drop(streams);
    server.wait_for_connections(0);
    drop(Stream::open(&server));
}

#[test]
fn a_users_id_may_be_as_long_as_the_bound_and_no_longer() {
    let server = with(&[]);
    let client = Client::connect(&server);
    let socket_id = SocketId::parse(&client.socket_id).unwrap();
    for (length, status) in [(200, 200), (201, 401), (0, 401)] {
        let user_data = json!({ "id": "u".repeat(length) }).to_string();
        let auth = format!("{KEY}:{}", secret().sign_user(socket_id, &user_data));
        let proof = json!({ "socket_id": client.socket_id, "user_data": user_data, "auth": auth });
        assert_eq!(open_session(&server, &proof).status, status, "{length}");
    }
}

#[test]
fn a_browsers_body_may_be_as_large_as_the_bound_and_no_larger() {
    let server = with(&[]);
    let padded = |length: usize| {
        let body = "{}";
        let request = format!(
            "POST /inbox/session HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{body}{}",
            " ".repeat(length - body.len())
        );
        server.exchange(request.as_bytes())
    };
    assert_eq!(code(&padded(16 * 1024)), (400, "missing".to_owned()));
    assert_eq!(code(&padded(16 * 1024 + 1)), (413, "body_too_large".to_owned()));
}

#[test]
fn rows_outlive_a_restart_and_sessions_do_not() {
    let server = with(&[]);
    let (client, _) = page(&server);
    let token = token(&server, &client);
    assert_eq!(notify(&server, &comment("c")).status, 202);
    wait_for_seq(&server, 1);
    drop(client);
    let server = server.restart(SETTINGS);
    let (client, state) = page(&server);
    assert_eq!((&state["unread"], &state["seq"]), (&1.into(), &1.into()));
    assert_eq!(code(&as_browser(&server, &token, "GET", "/inbox/state", &Value::Null)), (401, "no_session".to_owned()));
    assert_eq!(notify(&server, &comment("c")).json()["outcome"], "duplicate", "keys outlive it, too");
    drop(client);
}

#[test]
fn an_applications_servers_look_after_users_audiences_categories_and_jobs() {
    let server = with(&[("inbox.web_push.contact", "mailto:ops@shop.example")]);
    let ask = |method: &str, path: &str, body: Value| as_server(&server, method, &format!("/apps/app{path}"), &body);
    for (method, path, body, status) in [
        ("PUT", "/users/42", json!({ "email": "ann@example.com", "tz": "Europe/Vienna" }), 200),
        ("PUT", "/users/42", json!({ "mail": "ann@example.com" }), 400),
        (
            "PUT",
            "/categories/comments",
            json!({ "label": "Comments", "default": { "mail": false }, "required": ["inbox"] }),
            200,
        ),
        ("PUT", "/categories/comments", json!({ "default": {} }), 400),
        ("GET", "/categories", Value::Null, 200),
        ("PUT", "/audiences/beta/members", json!({ "add": ["1", "2"], "remove": ["3"] }), 200),
        ("GET", "/jobs?state=dead", Value::Null, 200),
        ("GET", "/jobs?state=waiting&limit=5", Value::Null, 200),
        ("GET", "/jobs", Value::Null, 400),
        ("GET", "/jobs?state=dead&stat=x", Value::Null, 400),
        ("POST", "/jobs/7/retry", Value::Null, 404),
        ("POST", "/jobs/x/retry", Value::Null, 400),
        ("DELETE", "/notifications/nothing", Value::Null, 404),
        ("GET", "/users/42/deliveries", Value::Null, 200),
        ("GET", "/users/42/export", Value::Null, 200),
    ] {
        let answer = ask(method, path, body.clone());
        assert_eq!(answer.status, status, "{method} {path} {body}: {answer:?}");
    }
    assert_eq!(ask("PUT", "/audiences/beta/members", json!({ "remove": ["2"] })).json(), json!({ "members": 1 }));

    let mut delayed = comment("later");
    delayed["delay_secs"] = 3600.into();
    delayed["category"] = "comments".into();
    assert_eq!(notify(&server, &delayed).status, 202);
    let waiting = ask("GET", "/jobs?state=waiting", Value::Null).json();
    assert_eq!(waiting["jobs"][0]["key"], "later");
    assert_eq!(ask("DELETE", "/notifications/later", Value::Null).json(), json!({ "cancelled": 1, "retracted": 0 }));

    let (mut client, _) = page(&server);
    let session = token(&server, &client);
    let preferences = as_browser(&server, &session, "GET", "/inbox/preferences", &Value::Null).json();
    assert_eq!(preferences["categories"][0]["channels"]["mail"], false);
    let change = |channels: Value| {
        as_browser(
            &server,
            &session,
            "PUT",
            "/inbox/preferences",
            &json!({ "category": "comments", "channels": channels }),
        )
    };
    assert_eq!(change(json!({ "mail": true })).json()["categories"][0]["channels"]["mail"], true);
    assert_eq!(code(&change(json!({ "inbox": false }))), (409, "required".to_owned()));
    let browser = json!({ "endpoint": "https://push.example.com/1", "keys": {
        "p256dh": "BNcRdreALRFXTkOOUHK1EtK2wtaz5Ry4YfYCA_0QTpQtUbVlUls0VJXg7A8u-Ts1XbjhazAkj7I99e8QcYP7DkM",
        "auth": "tBHItJI5svbpez7KI4CCXg" }, "expirationTime": null });
    let added = as_browser(&server, &session, "POST", "/inbox/push-subscriptions", &browser);
    assert_eq!(added.status, 200, "{added:?}");
    let removed = as_browser(
        &server,
        &session,
        "DELETE",
        "/inbox/push-subscriptions",
        &json!({ "endpoint": "https://push.example.com/1" }),
    );
    assert_eq!(removed.json(), json!({ "removed": true }));

    assert_eq!(notify(&server, &comment("now")).status, 202);
    assert_eq!(client.event()["event"], LARAVEL);
    assert_eq!(client.event()["event"], "inbox.updated");
    let export = ask("GET", "/users/42/export", Value::Null).json();
    assert_eq!(
        (&export["contact"]["email"], export["notifications"].as_array().map(Vec::len)),
        (&"ann@example.com".into(), Some(1))
    );
    let erased = ask("DELETE", "/users/42", Value::Null).json();
    assert_eq!((&erased["known"], &erased["notifications"]), (&true.into(), &1.into()));
    assert_eq!(ask("GET", "/users/42/inbox", Value::Null).json()["unread"], 0);
}

#[test]
fn an_app_sends_no_more_notifications_a_second_than_events() {
    let server = with(&[("apps.0.backend_events_per_sec", "1")]);
    let answers: Vec<Answer> = (0..4).map(|number| notify(&server, &comment(&number.to_string()))).collect();
    assert_eq!(answers[0].status, 202);
    let late = answers.iter().find(|answer| answer.status == 429).expect("faster than one a second");
    assert_eq!(code(late), (429, "too_many_requests".to_owned()));
    assert!(late.head.to_lowercase().contains("retry-after: "), "{}", late.head);
}

#[test]
fn what_a_reload_wants_captured_before_there_is_a_store_is_published_and_its_publisher_told() {
    let server = start(&[]);
    server.reload(SETTINGS);
    let mut client = Client::connect(&server);
    client.subscribe(CHANNEL);
    let data = json!({ "id": ID, "type": "t" }).to_string();
    let answer = server.post("/apps/app/events", &json!({ "name": LARAVEL, "channel": CHANNEL, "data": data }));
    assert!(answer.status == 200 && answer.head.contains("x-campanile-outcome: uncaptured"), "{answer:?}");
    assert_eq!(client.event()["event"], LARAVEL);
    assert_eq!(code(&notify(&server, &comment("c"))), (404, "no_inbox".to_owned()));
}

#[test]
fn a_reload_gives_and_takes_inboxes() {
    let server = with(&[]);
    let (mut client, _) = page(&server);
    let session = token(&server, &client);
    server.reload(&[("inbox.synchronous", "normal")]);
    assert_eq!(code(&as_browser(&server, &session, "GET", "/inbox/state", &Value::Null)), (404, "no_inbox".to_owned()));
    assert!(client.sync().is_empty());
    let mut late = Client::connect(&server);
    late.subscribe(CHANNEL);
    assert!(late.sync().is_empty(), "no inbox, no state");
    server.reload(SETTINGS);
    assert_eq!(as_browser(&server, &session, "GET", "/inbox/state", &Value::Null).status, 200);
}

#[test]
fn the_document_is_served_and_a_backup_is_a_whole_inbox() {
    let server = with(&[]);
    let document = call(&server, "GET", "/openapi.json", "", &Value::Null).json();
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["paths"]["/inbox/notifications/{notification}/read"]["post"].is_object());
    assert_eq!(notify(&server, &comment("c")).status, 202);
    wait_for_seq(&server, 1);

    // While the server runs, as an operator does it.
    let copies = tempfile::tempdir().unwrap();
    let copy = copies.path().join("copy.db");
    let command = |arguments: &[&str]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_campanile"))
            .args(arguments)
            .env("CAMPANILE__STATE_DIR", server.state_dir())
            .env("CAMPANILE__INBOX__SYNCHRONOUS", "normal")
            .output()
            .unwrap()
    };
    let copied = command(&["backup", copy.to_str().unwrap()]);
    assert!(copied.status.success(), "{copied:?}");
    let again = command(&["backup", copy.to_str().unwrap()]);
    assert!(!again.status.success(), "a file that is there is not written over: {again:?}");
    let migrated = command(&["migrate"]);
    assert!(!migrated.status.success(), "not beneath a server");
    assert!(String::from_utf8_lossy(&migrated.stderr).contains("is in use by another campanile"), "{migrated:?}");

    assert_eq!(notify(&server, &comment("after")).status, 202);
    wait_for_seq(&server, 2);
    let server = server.restart_with(SETTINGS, |state| {
        for file in ["campanile.db", "campanile.db-wal", "campanile.db-shm"] {
            let _absent = std::fs::remove_file(state.join(file));
        }
        std::fs::copy(&copy, state.join("campanile.db")).unwrap();
    });
    assert_eq!(page(&server).1["seq"], 1, "as it was when it was copied");
}
