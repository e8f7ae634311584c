//! A relay of the tests' own, over real sockets.

use std::sync::Arc;
use std::time::UNIX_EPOCH;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use super::*;

/// What a relay says.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    security: Security,
    /// What it offers after EHLO, besides STARTTLS.
    offers: &'static str,
    auth: &'static str,
    recipient: &'static str,
    /// To the mail itself; it hangs if that is empty, and hangs up if it is `-`.
    pub(crate) mail: &'static str,
}

pub(crate) const KIND: Script =
    Script { security: Security::None, offers: "", auth: "235 welcome", recipient: "250 fine", mail: "250 it is mine" };

/// What a relay was told: commands, and each mail as one.
type Heard = mpsc::UnboundedReceiver<String>;

/// A relay, and its certificate.
pub(crate) struct Relay {
    pub(crate) port: u16,
    roots: Option<Vec<u8>>,
    pub(crate) heard: Heard,
}

pub(crate) async fn relay(script: Script) -> Relay {
    crypto::install_provider();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, heard) = mpsc::unbounded_channel();
    let identity = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let roots = (script.security != Security::None).then(|| identity.cert.pem().into_bytes());
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(identity.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![identity.cert.der().clone()], key.into()).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (script, tell, acceptor) = (script.clone(), tell.clone(), acceptor.clone());
            tokio::spawn(async move {
                match script.security {
                    Security::Tls => {
                        let Ok(stream) = acceptor.accept(stream).await else { return };
                        talk(stream, &script, &tell, true).await;
                    }
                    Security::None => drop(talk(stream, &script, &tell, true).await),
                    Security::StartTls => {
                        let Some(stream) = talk(stream, &script, &tell, false).await else { return };
                        let Ok(stream) = acceptor.accept(stream).await else { return };
                        let _ = tell.send("(encrypted)".to_owned());
                        greetless(stream, &script, &tell).await;
                    }
                }
            });
        }
    });
    Relay { port, roots, heard }
}

async fn talk<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    script: &Script,
    tell: &mpsc::UnboundedSender<String>,
    is_final: bool,
) -> Option<S> {
    stream.write_all(b"220 relay.example\r\n").await.ok()?;
    converse(stream, script, tell, is_final).await
}

async fn greetless<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    script: &Script,
    tell: &mpsc::UnboundedSender<String>,
) {
    converse(stream, script, tell, true).await;
}

/// Answers until somebody hangs up; or until STARTTLS, which gives the stream back.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    script: &Script,
    tell: &mpsc::UnboundedSender<String>,
    is_final: bool,
) -> Option<S> {
    let mut bytes = Vec::new();
    let mut in_mail = false;
    loop {
        let end: &[u8] = if in_mail { b"\r\n.\r\n" } else { b"\r\n" };
        let Some(at) = bytes.windows(end.len()).position(|window| window == end) else {
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
            continue;
        };
        let line = String::from_utf8(bytes.drain(..at + end.len()).collect()).unwrap();
        let line = line.strip_suffix("\r\n").unwrap().to_owned();
        let _ = tell.send(line.clone());
        let verb = line.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
        let answer = match &*verb {
            _ if in_mail => {
                in_mail = false;
                match script.mail {
                    "" => std::future::pending().await,
                    "-" => return None,
                    answer => answer.to_owned(),
                }
            }
            "EHLO" if is_final => format!("250-relay.example\r\n{}250 8BITMIME", script.offers),
            "EHLO" => "250-relay.example\r\n250 STARTTLS".to_owned(),
            "STARTTLS" => {
                stream.write_all(b"220 go ahead\r\n").await.ok()?;
                return Some(stream);
            }
            "AUTH" => script.auth.to_owned(),
            "RCPT" => script.recipient.to_owned(),
            "DATA" => {
                in_mail = true;
                "354 tell me".to_owned()
            }
            "QUIT" => "221 bye".to_owned(),
            _ => "250 fine".to_owned(),
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await.ok()?;
    }
}

pub(crate) fn settings(port: u16) -> Settings {
    Settings {
        host: "localhost".to_owned(),
        port,
        security: Security::None,
        credentials: None,
        roots: None,
        hello: Some("shop.example".to_owned()),
        timeout: Duration::from_secs(2),
    }
}

fn message() -> Message {
    let from = "The shop <hello@shop.example>".parse().unwrap();
    let envelope = Envelope {
        from: &from,
        reply_to: None,
        to: "ada@example.com",
        id: "0192.7",
        date: UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        unsubscribe_url: Some("https://live.shop.example/inbox/unsubscribe?token=abc.def"),
    };
    let words = Words {
        subject: "Schöne Grüße".to_owned(),
        text: "Hello\n.\nworld".to_owned(),
        html: Some("<p>Hello</p>".into()),
    };
    compose(&envelope, words).unwrap()
}

async fn attempt(script: Script) -> Attempt {
    let relay = relay(script).await;
    Mailer::new(settings(relay.port)).unwrap().send(&message()).await
}

#[tokio::test]
async fn a_mail_reaches_the_relay_whole_and_with_its_way_out() {
    let mut relay = relay(KIND).await;
    let sent = Mailer::new(settings(relay.port)).unwrap().send(&message()).await;
    assert_eq!(sent, Attempt::Sent);
    for expected in ["EHLO shop.example", "MAIL FROM:<hello@shop.example>", "RCPT TO:<ada@example.com>", "DATA"] {
        assert_eq!(relay.heard.recv().await.unwrap(), expected);
    }
    let mail = relay.heard.recv().await.unwrap();
    for line in [
        "From: \"The shop\" <hello@shop.example>\r\n",
        "To: ada@example.com\r\n",
        "Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n",
        "Message-ID: <0192.7@shop.example>\r\n",
        "Auto-Submitted: auto-generated\r\n",
        "List-Unsubscribe: <https://live.shop.example/inbox/unsubscribe?token=abc.def>\r\n",
        "List-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n",
        "Content-Type: multipart/alternative;",
        "\r\nHello\r\n..\r\nworld\r\n",
        "<p>Hello</p>",
    ] {
        assert!(mail.contains(line), "{line:?} is not in\n{mail}");
    }
    assert!(mail.contains("Subject: =?utf-8?b?"), "{mail}");
    assert_eq!(relay.heard.recv().await.unwrap(), "QUIT");
}

#[tokio::test]
async fn with_starttls_nothing_is_said_before_the_connection_is_encrypted() {
    let mut relay = relay(Script { security: Security::StartTls, offers: "250-AUTH PLAIN\r\n", ..KIND }).await;
    let mailer = Mailer::new(Settings {
        security: Security::StartTls,
        credentials: Some(("shop".to_owned(), Secret::new("hush".to_owned()))),
        roots: relay.roots.clone(),
        ..settings(relay.port)
    });
    assert_eq!(mailer.unwrap().send(&message()).await, Attempt::Sent);
    let mut heard = Vec::new();
    while heard.last().is_none_or(|last| last != "DATA") {
        heard.push(relay.heard.recv().await.unwrap());
    }
    assert_eq!(heard[..3], ["EHLO shop.example", "STARTTLS", "(encrypted)"]);
    // NUL, shop, NUL, hush.
    assert!(heard.contains(&"AUTH PLAIN AHNob3AAaHVzaA==".to_owned()), "{heard:?}");
}

#[tokio::test]
async fn with_tls_the_connection_is_encrypted_from_its_beginning() {
    let relay = relay(Script { security: Security::Tls, ..KIND }).await;
    let own = Settings { security: Security::Tls, roots: relay.roots.clone(), ..settings(relay.port) };
    assert_eq!(Mailer::new(own.clone()).unwrap().send(&message()).await, Attempt::Sent);
    let nobodys = Mailer::new(Settings { roots: None, ..own }).unwrap().send(&message()).await;
    let Attempt::Again { reason, .. } = nobodys else { panic!("{nobodys:?}") };
    assert!(reason.starts_with("cannot reach the relay"), "{reason}");
}

#[tokio::test]
async fn a_relay_without_starttls_gets_neither_password_nor_mail() {
    let mut relay = relay(KIND).await;
    let mailer = Mailer::new(Settings {
        security: Security::StartTls,
        credentials: Some(("shop".to_owned(), Secret::new("hush".to_owned()))),
        ..settings(relay.port)
    });
    let Attempt::Again { reason, .. } = mailer.unwrap().send(&message()).await else { panic!() };
    assert!(reason.contains("offers no STARTTLS"), "{reason}");
    assert_eq!(relay.heard.recv().await.unwrap(), "EHLO shop.example");
    assert!(relay.heard.try_recv().is_err());
}

#[tokio::test]
async fn what_is_refused_for_now_is_tried_again_and_what_is_refused_for_good_is_not() {
    for (script, is_again) in [
        (Script { recipient: "450 greylisted", ..KIND }, true),
        (Script { recipient: "550 no such user", ..KIND }, false),
        (Script { mail: "451 later", ..KIND }, true),
        (Script { mail: "554 spam", ..KIND }, false),
        (Script { recipient: "530 authenticate first", ..KIND }, true),
    ] {
        let ended = attempt(script.clone()).await;
        match ended {
            Attempt::Again { .. } => assert!(is_again, "{script:?}"),
            Attempt::Failed { .. } => assert!(!is_again, "{script:?}"),
            _ => panic!("{script:?}: {ended:?}"),
        }
    }
    let Attempt::Failed { reason } = attempt(Script { mail: "554 5.7.1 smells like spam", ..KIND }).await else {
        panic!()
    };
    assert!(reason.contains("smells like spam"), "{reason}");
}

#[tokio::test]
async fn a_wrong_password_is_our_mistake_and_not_the_mails() {
    let relay = relay(Script { offers: "250-AUTH PLAIN\r\n", auth: "535 no", ..KIND }).await;
    let credentials = Some(("shop".to_owned(), Secret::new("wrong".to_owned())));
    let mailer = Mailer::new(Settings { credentials, ..settings(relay.port) }).unwrap();
    assert!(matches!(mailer.send(&message()).await, Attempt::Again { .. }));
}

#[tokio::test]
async fn nobody_knows_what_became_of_a_mail_whose_end_was_not_answered() {
    for mail in ["", "-"] {
        let ended = attempt(Script { mail, ..KIND }).await;
        assert!(matches!(ended, Attempt::Unknown { .. }), "{mail:?}: {ended:?}");
    }
}

#[tokio::test]
async fn a_relay_that_is_not_there_has_certainly_not_taken_it() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let ended = Mailer::new(settings(port)).unwrap().send(&message()).await;
    assert!(matches!(ended, Attempt::Again { .. }), "{ended:?}");
}

#[tokio::test]
async fn a_relay_that_says_nothing_has_certainly_not_taken_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = Settings { timeout: Duration::from_millis(100), ..settings(listener.local_addr().unwrap().port()) };
    let ended = Mailer::new(own).unwrap().send(&message()).await;
    let Attempt::Again { reason, .. } = ended else { panic!("{ended:?}") };
    assert_eq!(reason, "the relay has not answered");
}

#[test]
fn an_address_that_is_none_is_told() {
    let from = "hello@shop.example".parse().unwrap();
    for (to, why) in [("ada", "is none"), ("ada@exämple.com", "Punycode"), ("a@b.c\r\nRCPT TO:<x@y.z>", "is none")] {
        let (reply_to, unsubscribe_url) = (None, None);
        let envelope = Envelope { from: &from, reply_to, to, id: "1", date: UNIX_EPOCH, unsubscribe_url };
        let words = Words { subject: String::new(), text: String::new(), html: None };
        let refused = compose(&envelope, words).unwrap_err();
        assert!(refused.contains(why), "{to}: {refused}");
    }
}
