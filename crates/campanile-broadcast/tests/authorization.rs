//! The routes as a browser's client sees them: who gets a signature, and what everybody else is answered.

use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Request, StatusCode, header::CONTENT_TYPE};
use axum::response::{IntoResponse, Redirect, Response};
use campanile_broadcast::routes::AUTH_BODY_BYTES_MAX;
use campanile_broadcast::timing::Outcome;
use campanile_broadcast::{
    AuthorizationCache, Campanile, Channel, Channels, Identity, MasterKey, Member, Settings, SocketId, Timings,
};
use campanile_protocol::Secret;
use serde_json::{Value, json};
use tower::ServiceExt;

// Pusher's documentation, "Generating authentication signatures".
const KEY: &str = "278d425bdf160c739803";
const SECRET: &str = "7ad3773142a6692b25b8";
const SOCKET: &str = "1234.1234";
const MASTER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

#[derive(Clone)]
struct App;

#[derive(Clone)]
struct User {
    id: i64,
}

/// Who asks is in a header; a real application takes it from its session.
impl FromRequestParts<App> for User {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Response> {
        match parts.headers.get("x-user").and_then(|value| value.to_str().ok()) {
            Some("database-is-away") => Err(StatusCode::BAD_GATEWAY.into_response()),
            Some(id) => id.parse().map(|id| Self { id }).map_err(|_| StatusCode::BAD_REQUEST.into_response()),
            None => Err(Redirect::to("/login").into_response()),
        }
    }
}

macro_rules! channels {
    ($($name:ident($pattern:literal) { $($field:ident: $kind:ty),* };)*) => {
        $(#[derive(Channel)] #[channel($pattern)] struct $name { $($field: $kind),* })*
    };
}

channels! {
    Foobar("private-foobar") {};
    UserChannel("private-user.{id}") { id: i64 };
    Secretive("private-encrypted-orders.{order}") { order: i64 };
    Team("presence-team.{id}") { id: i64 };
    Hesitant("private-step.{name}") { name: String };
    Numbered("private-{kind}.{number}") { kind: String, number: i64 };
    Breaking("private-breaking.{how}") { how: String };
    Large("presence-large.{bytes}") { bytes: usize };
}

fn settings() -> Settings {
    Settings::new("http://127.0.0.1:1", "3", KEY, SECRET)
        .master_key(MasterKey::from_base64(MASTER_KEY).expect("a master key"))
}

fn channels() -> Channels<User, App> {
    Channels::new()
        .timeout(Duration::from_millis(200))
        .private(|_: User, _: Foobar, _: App| async { true })
        .private(|user: User, channel: UserChannel, _: App| async move { user.id == channel.id })
        .private(|_: User, channel: Secretive, _: App| async move { channel.order == 42 })
        .private(|_: User, channel: Hesitant, _: App| async move {
            match channel.name.as_str() {
                "on" => None,
                number => Some(number == "1"),
            }
        })
        .private(
            |_: User, channel: Numbered, _: App| async move { (channel.kind == "step").then_some(channel.number > 0) },
        )
        .private(|_: User, channel: Breaking, _: App| async move {
            match channel.how.as_str() {
                "panics" => panic!("planted"),
                "waits" => tokio::time::sleep(Duration::from_secs(60)).await,
                "fails" => return Err("no such row"),
                _ => {}
            }
            Ok(true)
        })
        .presence(|user: User, channel: Team, _: App| async move {
            (user.id == channel.id).then(|| Member::new(user.id, json!({ "name": "Ann" })))
        })
        .presence(|user: User, channel: Large, _: App| async move {
            let around = r#"{"user_id":"7","user_info":""}"#.len();
            Member::new(user.id, "x".repeat(channel.bytes - around).into())
        })
        .user(|user: User, _: App| async move { (user.id > 0).then(|| Identity::new(user.id)) })
}

fn router(channels: Channels<User, App>) -> Router {
    Campanile::new(settings()).expect("the settings are right").routes::<User, App>(channels).with_state(App)
}

struct Answer {
    status: u16,
    content_type: String,
    body: Value,
}

impl Answer {
    fn text(&self, field: &str) -> &str {
        self.body[field].as_str().unwrap_or_else(|| panic!("no {field} in {} {}", self.status, self.body))
    }
}

async fn post(router: &Router, path: &str, user: &str, content_type: &str, body: impl Into<Body>) -> Answer {
    let mut request = Request::post(path).header(CONTENT_TYPE, content_type);
    if !user.is_empty() {
        request = request.header("x-user", user);
    }
    let request = request.body(body.into()).expect("a request");
    let response = router.clone().oneshot(request).await.expect("a router answers");
    let content_type = response.headers().get(CONTENT_TYPE).map(|value| value.to_str().expect("text").to_owned());
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), 1 << 20).await.expect("a body");
    Answer {
        status,
        content_type: content_type.unwrap_or_default(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    }
}

const FORM: &str = "application/x-www-form-urlencoded";

async fn ask(user: &str, channel: &str) -> Answer {
    let body = format!("socket_id={SOCKET}&channel_name={channel}");
    post(&router(channels()), "/broadcasting/auth", user, FORM, body).await
}

#[tokio::test]
async fn a_private_channel_is_signed_as_in_pushers_documentation() {
    let answer = ask("7", "private-foobar").await;
    assert_eq!((answer.status, answer.content_type.as_str()), (200, "application/json"));
    let auth = format!("{KEY}:58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4");
    assert_eq!(answer.body, json!({ "auth": auth }));
}

#[tokio::test]
async fn forms_and_json_are_read_alike() {
    let body = json!({ "socket_id": SOCKET, "channel_name": "private-foobar" }).to_string();
    let answer = post(&router(channels()), "/broadcasting/auth", "7", "application/json; charset=utf-8", body).await;
    assert_eq!(answer.body, ask("7", "private-foobar").await.body);
    let broken = post(&router(channels()), "/broadcasting/auth", "7", "application/json", "{").await;
    assert_eq!(broken.status, 400);
}

#[tokio::test]
async fn a_member_is_told_to_the_others_and_signed() {
    let answer = ask("7", "presence-team.7").await;
    let channel_data = answer.text("channel_data");
    assert_eq!(channel_data, r#"{"user_id":"7","user_info":{"name":"Ann"}}"#);
    let socket = campanile_protocol::SocketId::parse(SOCKET).expect("a socket id");
    let signature = Secret::new(SECRET).sign_channel(socket, "presence-team.7", Some(channel_data));
    assert_eq!(answer.text("auth"), format!("{KEY}:{signature}"));
}

#[tokio::test]
async fn how_far_a_browser_has_heard_is_signed_with_its_subscription() {
    let socket = campanile_protocol::SocketId::parse(SOCKET).expect("a socket id");
    for (channel, signed) in [
        ("private-foobar", r#"{"since":"9f2c-42"}"#),
        ("presence-team.7", r#"{"user_id":"7","user_info":{"name":"Ann"},"since":"9f2c-42"}"#),
    ] {
        let answer = ask("7", &format!("{channel}&since=9f2c-42")).await;
        assert_eq!(answer.text("channel_data"), signed);
        let signature = Secret::new(SECRET).sign_channel(socket, channel, Some(signed));
        assert_eq!(answer.text("auth"), format!("{KEY}:{signature}"));
    }
    // Whoever begins anew says nothing, and encrypted channels have no replay.
    assert_eq!(ask("7", "private-foobar&since=").await.body, ask("7", "private-foobar").await.body);
    assert!(ask("7", "private-encrypted-orders.42&since=9f2c-42").await.body["channel_data"].is_null());
    assert_eq!(ask("7", "private-foobar&since=yesterday").await.status, 400);
    assert_eq!(ask("7", "private-user.8&since=9f2c-42").await.status, 403);
}

#[tokio::test]
async fn an_encrypted_channel_comes_with_the_secret_that_pushers_libraries_give() {
    let answer = ask("7", "private-encrypted-orders.42").await;
    assert_eq!(answer.text("shared_secret"), "1p2xOYUKMFi7esECwtVrgbYWw5p/Jyo0M/uighBM4/Y=");
    assert_eq!(ask("7", "private-encrypted-orders.43").await.status, 403);
}

#[tokio::test]
async fn a_user_signs_in_as_in_pushers_documentation() {
    let body = format!("socket_id={SOCKET}");
    let answer = post(&router(channels()), "/broadcasting/user-auth", "12345", FORM, body.clone()).await;
    let auth = format!("{KEY}:4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba");
    assert_eq!((answer.status, answer.body), (200, json!({ "auth": auth, "user_data": r#"{"id":"12345"}"# })));
    for (user, channels) in [("-1", channels()), ("", channels()), ("7", Channels::new())] {
        assert_eq!(post(&router(channels), "/broadcasting/user-auth", user, FORM, body.clone()).await.status, 403);
    }
}

#[tokio::test]
async fn whatever_is_not_allowed_is_forbidden_and_says_no_more() {
    for (user, channel) in [
        ("7", "private-user.8"),
        ("7", "private-user.07"),
        ("7", "private-user.x"),
        ("7", "private-unknown"),
        ("7", "presence-user.7"),
        ("7", "presence-team.8"),
        ("7", "user.7"),
        ("7", "%23server-to-user-7"),
        ("7", "private-foobar%0a"),
        ("7", ""),
        ("", "private-foobar"),
        ("nobody", "private-foobar"),
    ] {
        let answer = ask(user, channel).await;
        let said = json!({ "message": "this is not allowed" });
        assert_eq!((answer.status, answer.body), (403, said), "{user:?} {channel:?}");
    }
}

#[tokio::test]
async fn the_prefix_is_stripped_so_one_pattern_serves_every_private_kind_and_a_member_may_listen() {
    for channel in ["private-cache-user.7", "private-encrypted-user.7", "private-team.7", "presence-cache-team.7"] {
        assert_eq!(ask("7", channel).await.status, 200, "{channel}");
    }
    assert!(ask("7", "private-team.7").await.body["channel_data"].is_null());
}

#[tokio::test]
async fn none_leaves_the_answer_to_the_next_pattern_and_a_no_does_not() {
    // `private-step.1` also matches `private-{kind}.{number}`, which would allow every one of these.
    assert_eq!(ask("7", "private-step.1").await.status, 200);
    assert_eq!(ask("7", "private-step.2").await.status, 403);
    assert_eq!(ask("7", "private-step.on").await.status, 403);
    let lenient = Channels::new()
        .private(|_: User, _: Hesitant, _: App| async { None })
        .private(|_: User, _: Numbered, _: App| async { true });
    let body = format!("socket_id={SOCKET}&channel_name=private-step.2");
    assert_eq!(post(&router(lenient), "/broadcasting/auth", "7", FORM, body).await.status, 200);
}

#[tokio::test]
async fn an_error_is_a_no_a_panic_500_and_a_timeout_503_and_the_next_request_is_served() {
    let channels = channels();
    let timings = channels.timings();
    let router = router(channels);
    for (how, status) in [("fails", 403), ("panics", 500), ("waits", 503), ("works", 200)] {
        let body = format!("socket_id={SOCKET}&channel_name=private-breaking.{how}");
        assert_eq!(post(&router, "/broadcasting/auth", "7", FORM, body).await.status, status, "{how}");
    }
    let timing = figures(&timings, "private-breaking.{how}");
    let ended = [Outcome::Failed, Outcome::Broken, Outcome::Allowed].map(|outcome| timing.ended(outcome));
    assert_eq!((ended, timing.count()), ([1, 2, 1], 4));
    assert!(timing.total >= Duration::from_millis(200), "{timing:?}");
    assert_eq!(figures(&timings, "private-foobar").count(), 0);
}

fn figures(timings: &Timings, pattern: &str) -> campanile_broadcast::Timing {
    timings.snapshot().into_iter().find(|timing| timing.pattern == pattern).expect("the pattern is registered")
}

#[tokio::test]
async fn a_member_may_be_as_large_as_the_server_takes_and_no_larger() {
    assert_eq!(ask("7", "presence-large.1024").await.status, 200);
    assert_eq!(ask("7", "presence-large.1025").await.status, 403);
}

#[tokio::test]
async fn a_request_without_a_socket_is_refused() {
    for socket in ["", "1", "1234.1234:private-other", "01234.1234"] {
        let body = format!("socket_id={socket}&channel_name=private-foobar");
        let answer = post(&router(channels()), "/broadcasting/auth", "7", FORM, body).await;
        assert_eq!(answer.status, 400, "{socket:?}");
    }
}

#[tokio::test]
async fn an_extractor_that_breaks_is_passed_on() {
    assert_eq!(ask("database-is-away", "private-foobar").await.status, 502);
}

#[tokio::test]
async fn a_body_may_have_so_many_bytes_and_one_more_is_too_many() {
    for (bytes, status) in [(AUTH_BODY_BYTES_MAX, 200), (AUTH_BODY_BYTES_MAX + 1, 413)] {
        let mut body = format!("socket_id={SOCKET}&channel_name=private-foobar&pad=");
        body.push_str(&"x".repeat(bytes - body.len()));
        assert_eq!(post(&router(channels()), "/broadcasting/auth", "7", FORM, body).await.status, status);
    }
}

#[test]
#[should_panic = "is authorized twice"]
fn a_pattern_is_authorized_once() {
    channels! { Other("private-encrypted-user.{user}") { user: i64 }; }
    let _ = channels().private(|_: User, channel: Other, _: App| async move { channel.user == 7 });
}

#[test]
#[should_panic = "no master key"]
fn an_encrypted_channel_without_a_master_key_stops_the_start() {
    let campanile = Campanile::new(Settings::new("http://127.0.0.1:1", "3", KEY, SECRET)).expect("settings");
    let _ = campanile.routes::<User, App>(channels());
}

#[tokio::test]
async fn the_socket_of_the_caller_is_extracted_and_never_rejected() {
    let junk = ["undefined", "", "012.34", "1.2, 3.4", "1.2:private-x", "-1.2", "\u{fc}"];
    let junk = junk.map(|junk| (Some(junk), ""));
    for (header, expected) in [(Some(SOCKET), SOCKET), (None, "")].into_iter().chain(junk) {
        let mut request = Request::get("/");
        if let Some(header) = header {
            request = request.header("X-Socket-ID", header);
        }
        let (mut parts, ()) = request.body(()).expect("a request").into_parts();
        let Ok(socket) = SocketId::from_request_parts(&mut parts, &()).await;
        assert_eq!(socket.get().map(|id| id.to_string()).unwrap_or_default(), expected);
    }
}

#[tokio::test]
async fn a_yes_is_remembered_until_it_is_forgotten_and_a_no_is_not() {
    let cache = AuthorizationCache::new(Duration::from_secs(3600));
    let channels = channels().cached(cache.clone(), |user: &User| user.id);
    let timings = channels.timings();
    let asked = || timings.snapshot().iter().map(|timing| timing.count()).sum::<u64>();
    let router = router(channels);
    let team = async |user: &str| {
        let form = format!("socket_id={SOCKET}&channel_name=presence-team.7");
        post(&router, "/broadcasting/auth", user, "application/x-www-form-urlencoded", form).await
    };
    let first = team("7").await;
    let again = team("7").await;
    assert_eq!((first.status, asked()), (200, 1));
    assert_eq!(figures(&timings, "presence-team.{id}").remembered, 1);
    assert_eq!(again.text("channel_data"), first.text("channel_data"));
    for _ in 0..2 {
        assert_eq!(team("8").await.status, 403);
    }
    assert_eq!(asked(), 3);
    cache.forget_user(7);
    assert_eq!((team("7").await.status, asked()), (200, 4));
}

#[tokio::test]
async fn only_the_authorizations_that_are_named_are_remembered() {
    let cache = AuthorizationCache::new(Duration::from_secs(3600)).of::<Team>();
    let channels = channels().cached(cache, |user: &User| user.id);
    let timings = channels.timings();
    let router = router(channels);
    for channel in ["presence-team.7", "private-user.7"] {
        for _ in 0..3 {
            let form = format!("socket_id={SOCKET}&channel_name={channel}");
            assert_eq!(post(&router, "/broadcasting/auth", "7", FORM, form).await.status, 200);
        }
    }
    let known = |pattern| {
        let timing = figures(&timings, pattern);
        (timing.count(), timing.remembered)
    };
    assert_eq!(known("presence-team.{id}"), (1, 2));
    assert_eq!(known("private-user.{id}"), (3, 0));
}
