//! Users who are not there: what nobody has taken on a socket goes by mail, push or webhook, and what somebody has does not.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use campanile_protocol::SocketId;
use campanile_protocol::webhook::WebhookBody;
use serde_json::{Value, json};

use crate::common::{Answer, Client, Frame, KEY, TestServer, in_string, secret, start, within};

const CHANNEL: &str = "private-user.42";
const TOKEN: &str = "a-server-token-of-more-than-32-characters";
/// Longer than a notification waits here, and than the carrier takes to look.
const PATIENCE: Duration = Duration::from_secs(30);

const SETTINGS: &[(&str, &str)] = &[
    ("inbox.synchronous", "normal"),
    ("inbox.untaken_after_secs", "3"),
    ("inbox.public_url", "https://live.shop.example"),
    ("limits.pong_timeout_secs", "1"),
    ("apps.0.activity_timeout_secs", "1"),
    ("apps.0.server_tokens.0.token", TOKEN),
    ("apps.0.inbox.channels.0", "private-user.{user}"),
    ("apps.0.inbox.identity.0", "private-user.{user}"),
];

/// A relay that says this once it has had a mail, and what it was given. With nothing to say it hangs.
fn relay(verdict: &'static str) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let (tell, told) = channel();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let tell = tell.clone();
            thread::spawn(move || talk(stream, verdict, &tell));
        }
    });
    (port, told)
}

fn talk(mut stream: TcpStream, verdict: &str, tell: &Sender<String>) -> Option<()> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines();
    stream.write_all(b"220 relay\r\n").ok()?;
    while let Some(Ok(line)) = lines.next() {
        let answer = match line.split(' ').next().unwrap_or_default() {
            "EHLO" => "250 relay",
            "DATA" => {
                stream.write_all(b"354 tell me\r\n").ok()?;
                let text: Vec<String> = lines.by_ref().map_while(Result::ok).take_while(|line| line != ".").collect();
                let _ = tell.send(text.join("\n"));
                verdict
            }
            "QUIT" => "221 bye",
            _ => "250 fine",
        };
        if !answer.is_empty() {
            stream.write_all(format!("{answer}\r\n").as_bytes()).ok()?;
        }
    }
    Some(())
}

/// What a server is told of a relay on this port.
fn mail(port: &str) -> Vec<(&str, &str)> {
    let mail = [
        ("inbox.mail.host", "localhost"),
        ("inbox.mail.port", port),
        ("inbox.mail.security", "none"),
        ("inbox.mail.from", "The shop <hello@shop.example>"),
        ("apps.0.inbox.mail.link_base", "https://shop.example"),
    ];
    [SETTINGS, &mail].concat()
}

/// A server with mail for its app's user 42.
fn with_relay(port: &str) -> TestServer {
    let server = start(&mail(port));
    let contact = json!({ "email": "ada@example.com", "locale": "en" });
    assert_eq!(as_server(&server, "PUT", "/apps/app/users/42", &contact).status, 200);
    let category = json!({ "label": "Comments & more" });
    assert_eq!(as_server(&server, "PUT", "/apps/app/categories/comments", &category).status, 200);
    server
}

/// The same, and the relay's mails.
fn with_mail() -> (TestServer, Receiver<String>) {
    let (port, mails) = relay("250 mine");
    (with_relay(&port), mails)
}

fn call(server: &TestServer, method: &str, path: &str, headers: &str, body: &str) -> Answer {
    let length = body.len();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n{headers}Content-Length: {length}\r\n\r\n{body}");
    server.exchange(request.as_bytes())
}

fn as_server(server: &TestServer, method: &str, path: &str, body: &Value) -> Answer {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    call(server, method, path, &format!("Authorization: Bearer {TOKEN}\r\n"), &body)
}

/// Notifies user 42 by these ways.
fn notify(server: &TestServer, via: &[&str]) {
    let body = json!({
        "to": { "user": "42" }, "kind": "comment.added", "category": "comments", "title": "Ada commented",
        "action_url": "/documents/7", "via": via,
    });
    assert_eq!(as_server(server, "POST", "/apps/app/notifications", &body).status, 202);
}

/// Waits until the newest delivery is in this state.
fn newest_is(server: &TestServer, state: &str) -> Value {
    within(PATIENCE, || {
        let deliveries = as_server(server, "GET", "/apps/app/users/42/deliveries", &Value::Null).json();
        let newest = deliveries["deliveries"][0].clone();
        if newest["state"] == state { Ok(newest) } else { Err(deliveries.to_string()) }
    })
}

/// A page of user 42.
fn page(server: &TestServer) -> Client {
    let mut client = Client::connect(server);
    client.subscribe(CHANNEL);
    assert_eq!(client.event()["event"], "inbox.state");
    client
}

#[test]
fn a_user_who_is_not_there_gets_a_mail() {
    let (server, mails) = with_mail();
    notify(&server, &["inbox", "broadcast", "mail"]);
    newest_is(&server, "waiting");
    let mail = mails.recv_timeout(PATIENCE).unwrap();
    for line in ["To: ada@example.com", "Subject: Ada commented", "Open: https://shop.example/documents/7"] {
        assert!(mail.contains(line), "{line} is not in\n{mail}");
    }
    let sent = newest_is(&server, "sent");
    assert_eq!((&sent["channel"], &sent["attempts"]), (&"mail".into(), &1.into()));
}

#[test]
fn whoever_was_written_it_and_answered_a_ping_gets_no_mail() {
    let (server, mails) = with_mail();
    let mut client = page(&server);
    notify(&server, &["inbox", "broadcast", "mail"]);
    assert_eq!(in_string(&client.event()["data"])["title"], "Ada commented");
    assert_eq!(client.event()["event"], "inbox.updated");
    newest_is(&server, "waiting");
    // Nothing that an application's page says by itself: the answer to the server's own ping.
    let ping = client.next();
    let pong = json!({ "event": "pusher:pong", "data": {} });
    match ping {
        Frame::Ping(payload) => client.frame(0x8a, &payload),
        Frame::Text(text) if text.contains("pusher:ping") => client.send(&pong),
        other => panic!("{other:?}"),
    }
    newest_is(&server, "taken");
    assert!(mails.recv_timeout(Duration::from_secs(5)).is_err());
}

#[test]
fn whoever_was_written_it_and_has_said_nothing_since_gets_a_mail() {
    let (server, mails) = with_mail();
    let mut client = page(&server);
    notify(&server, &["inbox", "broadcast", "mail"]);
    assert_eq!(in_string(&client.event()["data"])["title"], "Ada commented");
    let mail = mails.recv_timeout(PATIENCE).unwrap();
    assert!(mail.contains("Subject: Ada commented"), "{mail}");
    newest_is(&server, "sent");
}

#[test]
fn what_was_being_sent_when_the_server_left_is_unknown_and_not_sent_again() {
    let (port, mails) = relay("");
    let server = with_relay(&port);
    notify(&server, &["inbox", "mail"]);
    mails.recv_timeout(PATIENCE).unwrap();
    newest_is(&server, "trying");
    // The relay has had all of it, and says nothing. The server waits a little, and leaves.
    let server = server.restart(&mail(&port));
    newest_is(&server, "unknown");
    assert!(mails.recv_timeout(Duration::from_secs(5)).is_err());
}

#[test]
fn a_mails_link_asks_and_its_button_ends_mails_of_the_category() {
    let (server, mails) = with_mail();
    notify(&server, &["inbox", "mail"]);
    let mail = mails.recv_timeout(PATIENCE).unwrap();
    assert!(mail.contains("List-Unsubscribe-Post: List-Unsubscribe=One-Click"), "{mail}");
    let (_, rest) = mail.split_once("List-Unsubscribe: <https://live.shop.example").unwrap();
    let (link, _) = rest.split_once('>').unwrap();
    assert!(link.starts_with("/inbox/unsubscribe?token="), "{link}");

    let asked = call(&server, "GET", link, "", "");
    assert_eq!(asked.status, 200);
    assert!(asked.head.contains("text/html") && asked.head.contains("frame-ancestors 'none'"), "{asked:?}");
    assert!(asked.body.contains("<strong>Comments &amp; more</strong>"), "{asked:?}");
    assert!(asked.body.contains("<form method=\"post\">"), "{asked:?}");
    // Whoever only follows links has changed nothing.
    notify(&server, &["inbox", "mail"]);
    newest_is(&server, "waiting");

    let forged = format!("{}x", link);
    assert_eq!(call(&server, "POST", &forged, "", "").status, 404);
    assert_eq!(call(&server, "POST", "/inbox/unsubscribe", "", "").status, 404);
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let ended = call(&server, "POST", link, form, "List-Unsubscribe=One-Click");
    assert!(ended.status == 200 && !ended.body.contains("<form"), "{ended:?}");
    notify(&server, &["inbox", "mail"]);
    assert_eq!(newest_is(&server, "suppressed")["reason"], "preference");

    let required = json!({ "label": "Comments", "required": ["mail"] });
    assert_eq!(as_server(&server, "PUT", "/apps/app/categories/comments", &required).status, 200);
    let refused = call(&server, "POST", link, form, "List-Unsubscribe=One-Click");
    assert_eq!(refused.status, 409, "{refused:?}");
}

#[test]
fn an_application_hears_by_webhook_of_what_nobody_has_taken() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/live", listener.local_addr().unwrap());
    let (tell, told) = channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|read| read > 0) {}
            let header = |name: &str| {
                let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(name));
                line.and_then(|line| line.split_once(": ")).map(|(_, value)| value.to_owned()).unwrap_or_default()
            };
            let mut body = vec![0; header("content-length").parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").unwrap();
            let _ = tell.send((header("x-pusher-signature"), body));
        }
    });
    let webhook = [("apps.0.webhooks.0.url", &*url), ("apps.0.webhooks.0.events.0", "notification")];
    let server = start(&[SETTINGS, &webhook].concat());
    let category = json!({ "label": "Comments" });
    assert_eq!(as_server(&server, "PUT", "/apps/app/categories/comments", &category).status, 200);
    notify(&server, &["inbox", "webhook"]);
    let (signature, body) = told.recv_timeout(PATIENCE).unwrap();
    assert!(secret().verify(&body, &signature));
    let body: WebhookBody = serde_json::from_slice(&body).unwrap();
    let event = &body.events[0];
    assert_eq!((&*event.name, event.user_id.as_deref()), ("notification", Some("42")));
    let data: Value = serde_json::from_str(event.data.as_deref().unwrap()).unwrap();
    assert_eq!((&data["title"], &data["seq"]), (&"Ada commented".into(), &1.into()));
    newest_is(&server, "sent");
}

/// A browser's session.
fn session(server: &TestServer, client: &Client) -> String {
    let socket_id = SocketId::parse(&client.socket_id).unwrap();
    let auth = format!("{KEY}:{}", secret().sign_channel(socket_id, CHANNEL, None));
    let proof = json!({ "socket_id": client.socket_id, "channel_name": CHANNEL, "auth": auth });
    let answer = call(server, "POST", "/inbox/session", "", &proof.to_string());
    assert_eq!(answer.status, 200, "{answer:?}");
    format!("Authorization: Bearer {}\r\n", answer.json()["token"].as_str().unwrap())
}

#[test]
fn a_browser_is_told_the_key_and_may_not_lead_the_server_into_its_own_network() {
    let server = start(SETTINGS);
    let client = page(&server);
    let headers = session(&server, &client);
    let refused = call(&server, "GET", "/inbox/push-key", &headers, "");
    assert_eq!((refused.status, &refused.json()["error"]), (404, &"no_web_push".into()));
    drop(client);
    drop(server);

    let server = start(&[SETTINGS, &[("inbox.web_push.contact", "mailto:ops@shop.example")]].concat());
    let client = page(&server);
    let headers = session(&server, &client);
    let key = call(&server, "GET", "/inbox/push-key", &headers, "").json();
    assert_eq!(key["public_key"].as_str().unwrap().len(), 87, "65 bytes in base64url");
    let p256dh = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
    let subscribe = |endpoint: &str, auth: &str| {
        let body = json!({ "endpoint": endpoint, "expirationTime": null, "keys": { "p256dh": p256dh, "auth": auth } });
        call(&server, "POST", "/inbox/push-subscriptions", &headers, &body.to_string())
    };
    let auth = "BTBZMqHH6r4Tts7J_aSIgg";
    for endpoint in ["http://push.example.com/1", "https://127.0.0.1/1", "https://169.254.169.254/1", "https://[::1]/1"]
    {
        let refused = subscribe(endpoint, auth);
        let code = refused.json()["error"].as_str().unwrap().to_owned();
        assert_eq!(
            (refused.status, &*code, &refused.json()["path"]),
            (400, "bad_endpoint", &"/endpoint".into()),
            "{endpoint}"
        );
    }
    assert_eq!(subscribe("https://push.example.com/1", "AAAA").json()["error"], "bad_key");
    assert_eq!(subscribe("https://push.example.com/1", auth).status, 200);
}

#[test]
fn the_key_that_browsers_subscribe_with_outlives_the_server() {
    let settings = [SETTINGS, &[("inbox.web_push.contact", "mailto:ops@shop.example")]].concat();
    let key = |server: &TestServer| {
        let client = page(server);
        let headers = session(server, &client);
        call(server, "GET", "/inbox/push-key", &headers, "").json()["public_key"].clone()
    };
    let server = start(&settings);
    let first = key(&server);
    let server = server.restart(&settings);
    assert_eq!(key(&server), first);
}

#[test]
fn a_reload_with_a_template_that_is_wrong_is_refused_and_everything_is_as_it_was() {
    let (server, mails) = with_mail();
    let templates = server.state_dir().join("mail");
    std::fs::create_dir(&templates).unwrap();
    std::fs::write(templates.join("default.txt"), "{% if %}").unwrap();
    let path = templates.display().to_string();
    let settings = [
        SETTINGS,
        &[
            ("inbox.mail.host", "localhost"),
            ("inbox.mail.from", "hello@shop.example"),
            ("inbox.mail.templates", &*path),
            ("apps.0.inbox.mail.link_base", "https://shop.example"),
        ],
    ]
    .concat();
    let refused = server.reload_refused(&settings);
    assert!(refused.contains("default.txt cannot be used: line 1"), "{refused}");
    notify(&server, &["inbox", "mail"]);
    assert!(mails.recv_timeout(PATIENCE).unwrap().contains("Subject: Ada commented"));
}
