//! `[inbox.mail]`, `[inbox.web_push]` and their switches in apps: ways to users who are not there.
//!
//! Owns who sends mail as whom and through which relay, and which push services are talked to. Never connects to one. The
//! invariants: a password and a user's mail leave this machine encrypted, unless that was asked for by name; nobody is taken
//! for absent who may still answer a ping. Next: `limits.rs` for the bounds.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use lettre::message::Mailbox;
use reqwest::Url;

use super::apps::{self, AppConfig};
use super::file::{AppInboxTable, InboxTable, MailTable, WebPushTable};
use super::limits::{self, Numbers, TLS_FILE_BYTES_MAX, seconds};
use super::problem::Problems;
use super::secret::{REDACTED, REDACTED_REFUSAL, Secret};
use crate::beyond::attempt::Backoff;
use crate::beyond::mail::Security;
use crate::beyond::push_endpoint::Reach;
use crate::beyond::web_push::Urgency;

/// How to reach users who are not there.
#[derive(Clone, Debug, PartialEq)]
pub struct BeyondConfig {
    /// How long a notification waits to be taken on a socket.
    pub untaken_after: Duration,
    /// When to try again what certainly did not arrive.
    pub backoff: Backoff,
    /// Where browsers reach this server.
    pub public_url: Option<Url>,
    /// By mail.
    pub mail: Option<MailConfig>,
    /// By push.
    pub web_push: Option<WebPushConfig>,
}

/// The relay, and what is sent through it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailConfig {
    /// The relay's name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub security: Security,
    /// As whom we send.
    pub credentials: Option<(String, Secret)>,
    /// Certificates that are believed besides the system's, in PEM.
    pub roots: Option<Vec<u8>>,
    /// How we introduce ourselves.
    pub hello: Option<String>,
    /// Who writes, unless an app says otherwise.
    pub from: Mailbox,
    /// Who gets answers.
    pub reply_to: Option<Mailbox>,
    /// Where the templates are.
    pub templates: Option<PathBuf>,
    /// What signs the links that end mails, where that is not this server's own affair.
    pub unsubscribe_secret: Option<Secret>,
    /// For the relay to answer.
    pub timeout: Duration,
}

/// Push services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebPushConfig {
    /// Whom they may write to.
    pub contact: String,
    /// Our keys, where they are not made here.
    pub keys: Option<(String, Secret)>,
    /// How long they keep what they cannot deliver.
    pub ttl: Duration,
    /// How soon devices are woken.
    pub urgency: Urgency,
    /// Which addresses are talked to.
    pub reach: Reach,
    /// Certificates that are believed besides the system's, in PEM.
    pub roots: Option<Vec<u8>>,
    /// For a push service to answer.
    pub timeout: Duration,
}

/// What there is for apps to use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Provided {
    pub(super) store: bool,
    mail: bool,
    web_push: bool,
}

impl Provided {
    pub(super) fn by(table: Option<&InboxTable>) -> Self {
        Self {
            store: table.is_some(),
            mail: table.is_some_and(|table| table.mail.is_some()),
            web_push: table.is_some_and(|table| table.web_push.is_some()),
        }
    }
}

/// By which ways an app's users are reached.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct AppBeyond {
    /// By mail.
    pub mail: Option<AppMail>,
    /// By push.
    pub web_push: bool,
}

/// What an app's mails say of it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct AppMail {
    /// Who writes.
    pub from: Option<Mailbox>,
    /// Who gets answers.
    pub reply_to: Option<Mailbox>,
    /// What stands before links that are paths.
    pub link_base: Option<String>,
}

impl BeyondConfig {
    /// Reads what concerns all apps.
    pub(super) fn read(
        table: &mut InboxTable,
        apps: &[AppConfig],
        pong_timeout: Duration,
        problems: &mut Problems,
    ) -> Self {
        let with_inbox = apps.iter().filter(|app| app.inbox.is_some());
        let longest = with_inbox.map(|app| app.limits.activity_timeout).max().unwrap_or_default();
        let least = (longest + pong_timeout).as_secs();
        let mut numbers = Numbers { path: "inbox", problems };
        let default = least + pong_timeout.as_secs().max(1);
        let untaken_after =
            numbers.read_derived(&limits::INBOX_UNTAKEN_AFTER_SECS, &mut table.untaken_after_secs, default);
        let attempts_max = numbers.read(&limits::INBOX_ATTEMPTS_MAX, &mut table.attempts_max);
        if untaken_after <= least {
            let text = format!(
                "must be more than {least}: a client that is silent is asked after activity_timeout_secs ({}) and has \
                 limits.pong_timeout_secs ({}) to answer, and before that nobody knows whether it is there",
                longest.as_secs(),
                pong_timeout.as_secs()
            );
            problems.at("inbox.untaken_after_secs", text);
        }
        let public_url = table.public_url.as_ref().and_then(|text| web_address(text, "inbox.public_url", problems));
        Self {
            untaken_after: seconds(untaken_after),
            backoff: Backoff {
                first: Duration::from_secs(30),
                max: Duration::from_secs(60 * 60),
                attempts_max: u32::try_from(attempts_max).unwrap_or(u32::MAX),
            },
            public_url,
            mail: table.mail.as_mut().and_then(|table| MailConfig::read(table, problems)),
            web_push: table.web_push.as_mut().and_then(|table| WebPushConfig::read(table, problems)),
        }
    }

    /// What the operator should know though nothing is wrong.
    pub(super) fn notes(&self, apps: &[AppConfig]) -> Vec<String> {
        let mut notes = Vec::new();
        if let Some(mail) = &self.mail {
            if self.public_url.is_none() {
                notes.push(
                    "[inbox.mail] is there and inbox.public_url is not: mails have no link to end them, for which large \
                     mailbox providers refuse them"
                        .to_owned(),
                );
            }
            if mail.security == Security::None && !is_this_machine(&mail.host) {
                notes.push(format!(
                    "inbox.mail: mails go to {} in clear, to be read by whoever is on the way",
                    mail.host
                ));
            }
            if apps.iter().all(|app| app.beyond.mail.is_none()) {
                notes.push("[inbox.mail] is there, but no app has an [apps.inbox.mail]: nobody gets one".to_owned());
            }
        }
        if self.web_push.as_ref().is_some_and(|web_push| web_push.reach == Reach::Private) {
            notes.push(
                "inbox.web_push.private_endpoints is on: any browser can make this server send requests into its own network"
                    .to_owned(),
            );
        }
        notes
    }
}

fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// An address that browsers can follow, without a slash at its end.
fn web_address(text: &str, at: &str, problems: &mut Problems) -> Option<Url> {
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(reason) => {
            problems.at(at, format!("is no address ({reason}): write it as in https://example.com"));
            return None;
        }
    };
    let refused = if !matches!(url.scheme(), "http" | "https") {
        "must begin with https:// or http://"
    } else if url.query().is_some() || url.fragment().is_some() {
        "must end with its path: paths are put behind it"
    } else if !url.username().is_empty() || url.password().is_some() {
        "must not hold a user or password: it is sent in mails"
    } else {
        return Some(url);
    };
    problems.at(at, refused);
    None
}

fn mailbox(text: &str, at: &str, problems: &mut Problems) -> Option<Mailbox> {
    let mailbox: Result<Mailbox, _> = text.parse();
    if mailbox.is_err() {
        problems.at(at, "is no mail address: write it as in \"The shop <hello@shop.example>\"");
    }
    mailbox.ok()
}

/// One of a closed list; an unknown one is refused with the list.
fn one_of<T: Copy>(
    known: &[T],
    name: fn(T) -> &'static str,
    text: &str,
    at: &str,
    problems: &mut Problems,
) -> Option<T> {
    let found = known.iter().copied().find(|known| name(*known) == text);
    if found.is_none() {
        let names: Vec<_> = known.iter().map(|known| name(*known)).collect();
        problems.at(at, format!("{text:?} is not one of {}", names.join(", ")));
    }
    found
}

/// A secret that stands in the file, or in one of its own.
fn secret(
    written: Option<&Secret>,
    file: Option<&String>,
    path: &str,
    name: &str,
    problems: &mut Problems,
) -> Option<Secret> {
    let found = match (written, file) {
        (Some(_), Some(_)) => Err(format!("stands there, and in {name}_file as well: remove one")),
        (Some(secret), None) if secret.expose() == REDACTED => Err(REDACTED_REFUSAL.to_owned()),
        (Some(secret), None) if secret.expose().is_empty() => Err("is empty: write it, or leave it out".to_owned()),
        (Some(secret), None) => Ok(Some(secret.clone())),
        (None, Some(file)) => apps::read_secret_file(file).map(Some),
        (None, None) => Ok(None),
    };
    let at = if written.is_some() { format!("{path}.{name}") } else { format!("{path}.{name}_file") };
    found.unwrap_or_else(|text| {
        problems.at(&at, text);
        None
    })
}

impl MailConfig {
    fn read(table: &mut MailTable, problems: &mut Problems) -> Option<Self> {
        const PATH: &str = "inbox.mail";
        let word = table.security.get_or_insert_with(|| Security::StartTls.name().to_owned());
        let security = one_of(&Security::ALL, Security::name, word, "inbox.mail.security", problems);
        let default_port = security.unwrap_or(Security::StartTls).port();
        let mut numbers = Numbers { path: PATH, problems };
        let port = numbers.read_derived(&limits::MAIL_PORT, &mut table.port, default_port.into());
        let timeout = seconds(numbers.read(&limits::MAIL_TIMEOUT_SECS, &mut table.timeout_secs));
        let in_clear = *table.unencrypted.get_or_insert(false);
        let host = table.host.clone().filter(|host| !host.is_empty());
        if host.is_none() {
            problems.missing(PATH, "host", "needs host, the relay's name, as in \"smtp.example.com\"");
        }
        if let Some(host) = &host
            && security == Some(Security::None)
            && !in_clear
            && !is_this_machine(host)
        {
            let text = "\"none\" is for a relay on this machine: mails and the password would go over the network in clear; \
                        take \"starttls\" or \"tls\", or set unencrypted = true if the network is all yours";
            problems.at("inbox.mail.security", text);
        }
        let from = match &table.from {
            Some(text) => mailbox(text, "inbox.mail.from", problems),
            None => {
                problems.missing(PATH, "from", "needs from, who writes, as in \"The shop <hello@shop.example>\"");
                None
            }
        };
        let reply_to = table.reply_to.as_ref().and_then(|text| mailbox(text, "inbox.mail.reply_to", problems));
        let password = secret(table.password.as_ref(), table.password_file.as_ref(), PATH, "password", problems);
        let credentials = match (table.username.clone(), password) {
            (Some(username), Some(password)) => Some((username, password)),
            (Some(_), None) => {
                // One that is there and cannot be used has been told already.
                if table.password.is_none() && table.password_file.is_none() {
                    problems.missing(PATH, "password", "has username and no password: set password or password_file");
                }
                None
            }
            (None, Some(_)) => {
                problems.missing(PATH, "username", "has a password and no username");
                None
            }
            (None, None) => None,
        };
        let roots = certificates(table.ca_file.as_ref(), PATH, problems);
        let (written, file) = (table.unsubscribe_secret.as_ref(), table.unsubscribe_secret_file.as_ref());
        let unsubscribe_secret = secret(written, file, PATH, "unsubscribe_secret", problems);
        if unsubscribe_secret.as_ref().is_some_and(|secret| secret.expose().len() < UNSUBSCRIBE_SECRET_LENGTH_MIN) {
            let text = format!(
                "is short: {UNSUBSCRIBE_SECRET_LENGTH_MIN} characters are the least, as from `openssl rand -hex 32`"
            );
            problems.at("inbox.mail.unsubscribe_secret", text);
        }
        Some(Self {
            host: host?,
            port: u16::try_from(port).unwrap_or(default_port),
            security: security?,
            credentials,
            roots,
            hello: table.hello.clone(),
            from: from?,
            reply_to,
            templates: table.templates.as_ref().map(PathBuf::from),
            unsubscribe_secret,
            timeout,
        })
    }
}

/// Characters of a secret that is given for links.
pub const UNSUBSCRIBE_SECRET_LENGTH_MIN: usize = 32;

fn certificates(file: Option<&String>, path: &str, problems: &mut Problems) -> Option<Vec<u8>> {
    let file = file?;
    let mut pem = Vec::new();
    let read = fs::File::open(file).and_then(|file| file.take(TLS_FILE_BYTES_MAX + 1).read_to_end(&mut pem));
    let refused = match read {
        Err(error) => format!("cannot read {file}: {error}"),
        Ok(_) if pem.len() as u64 > TLS_FILE_BYTES_MAX => {
            format!("has more than {TLS_FILE_BYTES_MAX} bytes: is it the right file?")
        }
        Ok(_) => return Some(pem),
    };
    problems.at(&format!("{path}.ca_file"), refused);
    None
}

/// Whom a push service may write to.
fn is_contact(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("mailto:") && text.contains('@')
}

impl WebPushConfig {
    fn read(table: &mut WebPushTable, problems: &mut Problems) -> Option<Self> {
        const PATH: &str = "inbox.web_push";
        let mut numbers = Numbers { path: PATH, problems };
        let ttl = seconds(numbers.read(&limits::WEB_PUSH_TTL_SECS, &mut table.ttl_secs));
        let timeout = seconds(numbers.read(&limits::WEB_PUSH_TIMEOUT_SECS, &mut table.timeout_secs));
        let word = table.urgency.get_or_insert_with(|| Urgency::default().name().to_owned());
        let urgency = one_of(&Urgency::ALL, Urgency::name, word, "inbox.web_push.urgency", problems);
        let contact = table.contact.clone();
        match &contact {
            None => problems.missing(
                PATH,
                "contact",
                "needs contact, whom push services may write to, as in \"mailto:ops@example.com\"",
            ),
            Some(contact) if !is_contact(contact) => {
                problems.at(
                    "inbox.web_push.contact",
                    "must begin with mailto: or https://: some push services refuse others",
                );
            }
            Some(_) => {}
        }
        let private =
            secret(table.private_key.as_ref(), table.private_key_file.as_ref(), PATH, "private_key", problems);
        let keys = match (table.public_key.clone(), private) {
            (Some(public), Some(private)) => {
                if let Err(error) = crate::beyond::vapid::Vapid::from_parts(&public, &private) {
                    problems.at("inbox.web_push.public_key", error.to_string());
                }
                Some((public, private))
            }
            (Some(_), None) => {
                let text = "has public_key and no private_key: set private_key or private_key_file, or leave both out to \
                            have a pair made in state_dir";
                if table.private_key.is_none() && table.private_key_file.is_none() {
                    problems.missing(PATH, "private_key", text);
                }
                None
            }
            (None, Some(_)) => {
                problems.missing(PATH, "public_key", "has a private key and no public_key: they come in pairs");
                None
            }
            (None, None) => None,
        };
        let is_private = *table.private_endpoints.get_or_insert(false);
        let reach = if is_private { Reach::Private } else { Reach::Public };
        let roots = certificates(table.ca_file.as_ref(), PATH, problems);
        Some(Self { contact: contact?, keys, ttl, urgency: urgency?, reach, roots, timeout })
    }
}

impl AppBeyond {
    /// Reads an app's switches.
    pub(super) fn read(table: Option<&AppInboxTable>, path: &str, provided: Provided, problems: &mut Problems) -> Self {
        let Some(table) = table.filter(|_| provided.store) else { return Self::default() };
        let path = format!("{path}.inbox");
        if table.mail.is_some() && !provided.mail {
            problems.at(&format!("{path}.mail"), "needs a relay: write [inbox.mail] with its host, before the apps");
        }
        if table.web_push == Some(true) && !provided.web_push {
            problems.at(&format!("{path}.web_push"), "needs [inbox.web_push] with its contact, before the apps");
        }
        let mail = table.mail.as_ref().map(|table| AppMail {
            from: table.from.as_ref().and_then(|text| mailbox(text, &format!("{path}.mail.from"), problems)),
            reply_to: table
                .reply_to
                .as_ref()
                .and_then(|text| mailbox(text, &format!("{path}.mail.reply_to"), problems)),
            link_base: table.link_base.as_ref().and_then(|text| {
                let url = web_address(text, &format!("{path}.mail.link_base"), problems)?;
                Some(url.as_str().trim_end_matches('/').to_owned())
            }),
        });
        Self { mail, web_push: table.web_push.unwrap_or(provided.web_push) }
    }
}
