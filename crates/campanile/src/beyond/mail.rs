//! One mail to one user, over SMTP.
//!
//! Owns the message's headers, the conversation with the relay, and the verdict. Never retries, and never falls back to a
//! connection without encryption. The invariant: a mail counts as not taken only while the relay has not had all of it, or has
//! said no; past that point silence means that nobody knows. Read on in [`super::templates`] and [`super::unsubscribe`].

use std::time::{Duration, SystemTime};

use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail, Quit, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{Error, client::TlsVersion};
use lettre::{Address, Message};
use tokio::time::{Instant, timeout, timeout_at};

use super::attempt::Attempt;
use super::templates::Words;
use crate::config::Secret;
use crate::crypto;

/// Characters of what a relay says that are told.
const SAID_CHARS_MAX: usize = 300;

/// How long a relay may take to say goodbye; the mail is its own by then.
const GOODBYE: Duration = Duration::from_secs(2);

/// How the connection to the relay is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Security {
    /// It begins in clear and is encrypted before anything is said: port 587.
    StartTls,
    /// It is encrypted from its beginning: port 465.
    Tls,
    /// It is not.
    None,
}

impl Security {
    /// Each of them.
    pub const ALL: [Self; 3] = [Self::StartTls, Self::Tls, Self::None];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::StartTls => "starttls",
            Self::Tls => "tls",
            Self::None => "none",
        }
    }

    /// The port that relays have for it.
    pub fn port(self) -> u16 {
        match self {
            Self::StartTls => 587,
            Self::Tls => 465,
            Self::None => 25,
        }
    }
}

/// Which relay takes our mails.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its name; the one in its certificate.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub security: Security,
    /// As whom we send.
    pub credentials: Option<(String, Secret)>,
    /// Certificates that are believed besides the system's, in PEM.
    pub roots: Option<Vec<u8>>,
    /// How we introduce ourselves; our address, if nothing is said.
    pub hello: Option<String>,
    /// For the conversation up to the mail, and again for the answer to it.
    pub timeout: Duration,
}

/// Whom a mail is from and for, besides its words.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// Who writes.
    pub from: &'a Mailbox,
    /// Who gets answers, if somebody else.
    pub reply_to: Option<&'a Mailbox>,
    /// Who reads.
    pub to: &'a str,
    /// The same for each attempt at one delivery, so that a second copy can be told.
    pub id: &'a str,
    /// When it is written.
    pub date: SystemTime,
    /// Where one click ends mails of its kind.
    pub unsubscribe_url: Option<&'a str>,
}

/// Writes a mail.
///
/// # Errors
///
/// When the address is none, in a sentence.
pub fn compose(envelope: &Envelope<'_>, words: Words) -> Result<Message, String> {
    let to: Address = envelope.to.parse().map_err(|error| format!("the user's e-mail address is none: {error}"))?;
    if !envelope.to.is_ascii() {
        return Err(
            "the user's e-mail address has characters that few relays take: write its domain in Punycode".into()
        );
    }
    let domain = envelope.from.email.domain();
    let mut builder = Message::builder()
        .from(envelope.from.clone())
        .to(Mailbox::new(None, to))
        .subject(words.subject)
        .date(envelope.date)
        .message_id(Some(format!("<{}@{domain}>", envelope.id)))
        .raw_header(raw("Auto-Submitted", "auto-generated".to_owned()));
    if let Some(reply_to) = envelope.reply_to {
        builder = builder.reply_to(reply_to.clone());
    }
    if let Some(url) = envelope.unsubscribe_url {
        builder = builder
            .raw_header(raw("List-Unsubscribe", format!("<{url}>")))
            .raw_header(raw("List-Unsubscribe-Post", "List-Unsubscribe=One-Click".to_owned()));
    }
    let message = match words.html {
        Some(html) => builder.multipart(MultiPart::alternative_plain_html(words.text, html)),
        None => builder.singlepart(SinglePart::plain(words.text)),
    };
    message.map_err(|error| error.to_string())
}

/// A header that is sent as it stands: an address that was encoded or broken would be another.
fn raw(name: &'static str, value: String) -> HeaderValue {
    let name = HeaderName::new_from_ascii_str(name);
    HeaderValue::dangerous_new_pre_encoded(name, value.clone(), value)
}

/// Sends mails to one relay.
#[derive(Clone)]
pub struct Mailer {
    settings: Settings,
    tls: Option<TlsParameters>,
    hello: ClientId,
}

impl std::fmt::Debug for Mailer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mailer").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// Why an attempt ended early.
enum Stop {
    /// The relay has said something, or the connection has broken.
    Smtp(Error),
    /// Nothing came in time.
    Late(&'static str),
    /// The relay cannot do what we insist on.
    Lacks(&'static str),
}

impl Mailer {
    /// Reads the certificates.
    ///
    /// # Errors
    ///
    /// When they cannot be used, in words for the operator.
    pub fn new(settings: Settings) -> Result<Self, String> {
        crypto::install_provider();
        let tls = (settings.security != Security::None).then(|| {
            let mut builder = TlsParameters::builder(settings.host.clone()).set_min_tls_version(TlsVersion::Tlsv12);
            if let Some(pem) = &settings.roots {
                builder = builder.add_root_certificate(Certificate::from_pem(pem)?);
            }
            builder.build_rustls()
        });
        let tls = tls.transpose().map_err(|error| error.to_string())?;
        let hello = settings.hello.clone().map_or_else(ClientId::default, ClientId::Domain);
        Ok(Self { settings, tls, hello })
    }

    /// Sends once.
    pub async fn send(&self, message: &Message) -> Attempt {
        let mut connection = match self.hand_over(message).await {
            Ok(connection) => connection,
            Err(stop) => return refused(&stop),
        };
        let body = message.formatted();
        let attempt = match timeout(self.settings.timeout, connection.message(&body)).await {
            Ok(Ok(_)) => Attempt::Sent,
            Ok(Err(error)) if error.is_transient() || error.is_permanent() => refused(&Stop::Smtp(error)),
            Ok(Err(error)) => Attempt::Unknown { reason: format!("the relay broke off at the end: {}", said(&error)) },
            Err(_) => Attempt::Unknown { reason: "the relay has not said whether it took the mail".to_owned() },
        };
        // Whether it says goodbye changes nothing.
        let _ = timeout(GOODBYE, connection.command(Quit)).await;
        attempt
    }

    /// Everything up to the mail itself: until then it has certainly not been taken.
    async fn hand_over(&self, message: &Message) -> Result<AsyncSmtpConnection, Stop> {
        let settings = &self.settings;
        let until = Instant::now() + settings.timeout;
        let server = (settings.host.as_str(), settings.port);
        let tls = self.tls.clone().filter(|_| settings.security == Security::Tls);
        let connect = AsyncSmtpConnection::connect_tokio1(server, Some(settings.timeout), &self.hello, tls, None);
        let mut connection = step(until, "the relay has not answered", connect).await?;
        if let Some(tls) = self.tls.clone().filter(|_| settings.security == Security::StartTls) {
            if !connection.can_starttls() {
                return Err(Stop::Lacks("the relay offers no STARTTLS: use another port, or security = \"tls\""));
            }
            step(until, "the relay has not begun to encrypt", connection.starttls(tls, &self.hello)).await?;
        }
        if let Some((user, password)) = &settings.credentials {
            let credentials = Credentials::new(user.clone(), password.expose().to_owned());
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            step(until, "the relay has not said who we are", connection.auth(&mechanisms, &credentials)).await?;
        }
        let envelope = message.envelope();
        let mail = Mail::new(envelope.from().cloned(), Vec::new());
        step(until, "the relay has not taken the sender", connection.command(mail)).await?;
        for to in envelope.to() {
            let recipient = Rcpt::new(to.clone(), Vec::new());
            step(until, "the relay has not taken the recipient", connection.command(recipient)).await?;
        }
        step(until, "the relay has not asked for the mail", connection.command(Data)).await?;
        Ok(connection)
    }
}

async fn step<T>(until: Instant, late: &'static str, step: impl Future<Output = Result<T, Error>>) -> Result<T, Stop> {
    match timeout_at(until, step).await {
        Ok(done) => done.map_err(Stop::Smtp),
        Err(_) => Err(Stop::Late(late)),
    }
}

/// The verdict on an attempt that the relay did not get the whole mail in, or refused.
fn refused(stop: &Stop) -> Attempt {
    match stop {
        Stop::Smtp(error) => match error.status() {
            // What it says of who we are is our mistake, and the mail's no more than another's.
            Some(code) if error.is_permanent() && !is_about_us(u16::from(code)) => {
                Attempt::Failed { reason: format!("the relay refused the mail: {}", said(error)) }
            }
            Some(_) => Attempt::Again { reason: format!("the relay refused the mail: {}", said(error)), after: None },
            None => Attempt::Again { reason: format!("cannot reach the relay: {}", said(error)), after: None },
        },
        Stop::Late(reason) | Stop::Lacks(reason) => Attempt::Again { reason: (*reason).to_owned(), after: None },
    }
}

/// Authentication is missing, too weak, or wrong; or encryption is.
fn is_about_us(code: u16) -> bool {
    matches!(code, 530 | 534 | 535 | 538)
}

fn said(error: &Error) -> String {
    let text = error.to_string();
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SAID_CHARS_MAX).collect();
    text.trim().to_owned()
}

#[cfg(test)]
pub(crate) mod tests;
