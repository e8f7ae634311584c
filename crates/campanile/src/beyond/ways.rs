//! The ways that are set up, and one attempt by each.
//!
//! Owns the relay, the push client and what an app says of its mails. Never claims, settles or repeats. The invariant: what
//! is missing (an address, a browser, a way) is told as such, and is not taken for a failure that may pass. Read on in
//! [`super::carrier`].

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use campanile_hub::{Notice, NoticeKind};
use campanile_inbox::{Channel, Delivery, Inbox, NamedCategory};
use reqwest::Url;
use tokio::task::JoinSet;

use super::attempt::{Attempt, Backoff};
use super::mail::{self, Mailer};
use super::push_message;
use super::sealed::BrowserKeys;
use super::templates::{Letter, TemplateError, Templates};
use super::unsubscribe::{KeyError, Tokens, Unsubscription};
use super::vapid::{Vapid, VapidError};
use super::web_push::{self, Push, Pushed, WebPush};
use crate::config::{AppBeyond, BeyondConfig, Config};
use crate::webhooks::{Deposit, Webhooks};

/// Why a way cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum WaysError {
    /// A template is wrong.
    #[error("[inbox.mail]: {0}")]
    Template(#[from] TemplateError),
    /// The relay's certificates are.
    #[error("[inbox.mail]: {0}")]
    Mail(String),
    /// What signs links is.
    #[error("[inbox.mail]: {0}")]
    Unsubscribe(#[from] KeyError),
    /// Our keys are.
    #[error("[inbox.web_push]: {0}")]
    Vapid(#[from] VapidError),
    /// The client is.
    #[error("[inbox.web_push]: {0}")]
    WebPush(String),
}

/// How a single attempt ended, or why none was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// One was made.
    Tried(Attempt),
    /// There is nobody to reach by this way.
    Suppressed {
        /// What is missing.
        reason: String,
    },
}

impl Outcome {
    fn suppressed(reason: &str) -> Self {
        Self::Suppressed { reason: reason.to_owned() }
    }
}

/// Mail, set up.
#[derive(Debug)]
struct MailWay {
    mailer: Mailer,
    templates: Templates,
    from: lettre::message::Mailbox,
    reply_to: Option<lettre::message::Mailbox>,
    public_url: Option<Url>,
}

/// Push, set up.
#[derive(Debug)]
struct PushWay {
    web_push: WebPush,
    ttl: Duration,
}

/// All of them, as configured now.
#[derive(Debug, Default)]
pub struct Ways {
    mail: Option<MailWay>,
    push: Option<PushWay>,
    tokens: Option<Tokens>,
    apps: HashMap<String, AppBeyond>,
    backoff: Option<Backoff>,
}

impl Ways {
    /// Reads templates, keys and certificates.
    ///
    /// # Errors
    ///
    /// When one of them cannot be used: the start, or the reload, is to stop there.
    pub fn set_up(config: &Config, state_dir: &Path) -> Result<Self, WaysError> {
        let apps = config.apps.iter().map(|app| (app.id.clone(), app.beyond.clone())).collect();
        let Some(beyond) = &config.beyond else {
            return Ok(Self { apps, ..Self::default() });
        };
        let secret = beyond.mail.as_ref().and_then(|mail| mail.unsubscribe_secret.as_ref());
        let tokens = match secret {
            Some(secret) => Tokens::of(secret.expose().as_bytes()),
            None => Tokens::keep_in(state_dir)?,
        };
        Ok(Self {
            mail: mail_way(beyond)?,
            push: push_way(beyond, state_dir)?,
            tokens: Some(tokens),
            apps,
            backoff: Some(beyond.backoff),
        })
    }

    /// What browsers subscribe to pushes with; nothing where no push is sent to an app's users.
    pub fn push_key(&self, app: &str) -> Option<&str> {
        let push = self.push.as_ref().filter(|_| self.of(app).web_push)?;
        Some(push.web_push.public_key())
    }

    /// Checks a browser's address before it is kept.
    ///
    /// # Errors
    ///
    /// What is wrong with it, in a sentence.
    pub fn check_endpoint(&self, endpoint: &str) -> Result<(), String> {
        let reach = self.push.as_ref().map(|push| push.web_push.reach()).unwrap_or_default();
        super::push_endpoint::check(endpoint, reach).map(drop)
    }

    /// When to try again.
    pub(super) fn backoff(&self) -> Backoff {
        self.backoff.unwrap_or(Backoff {
            first: Duration::from_secs(30),
            max: Duration::from_secs(3600),
            attempts_max: 1,
        })
    }

    /// What a token in a mail's link is for.
    pub fn unsubscription(&self, token: &str) -> Option<Unsubscription> {
        self.tokens.as_ref()?.read(token)
    }

    fn of(&self, app: &str) -> AppBeyond {
        self.apps.get(app).cloned().unwrap_or_default()
    }

    /// Tries once.
    pub(super) async fn try_once(&self, delivery: &Delivery, inbox: &Inbox, webhooks: &Webhooks) -> Outcome {
        match delivery.channel {
            Channel::Mail => self.mail(delivery, inbox).await,
            Channel::WebPush => self.push(delivery, inbox).await,
            Channel::Webhook => webhook(delivery, webhooks).await,
            Channel::Inbox | Channel::Broadcast => Outcome::suppressed("is no way beyond the socket"),
        }
    }

    async fn mail(&self, delivery: &Delivery, inbox: &Inbox) -> Outcome {
        let Some(way) = &self.mail else { return Outcome::suppressed("no mail is sent: there is no [inbox.mail]") };
        let Some(own) = self.of(&delivery.app).mail else {
            return Outcome::suppressed("no mail is sent for this app: it has no [apps.inbox.mail]");
        };
        let Some(to) = &delivery.contact.email else { return Outcome::suppressed("the user has no e-mail address") };
        let notification = &delivery.notification;
        let category = match &notification.category {
            Some(name) => match inbox.categories(&delivery.app).await {
                Ok(categories) => categories.into_iter().find(|category| category.category == *name),
                Err(error) => {
                    return Outcome::Tried(Attempt::Again { reason: error.to_string(), after: None });
                }
            },
            None => None,
        };
        let unsubscribe_url = category.as_ref().and_then(|category| self.unsubscribe_url(delivery, category, way));
        let action_url = notification.action_url.as_deref().and_then(|url| link(url, own.link_base.as_deref()));
        let letter = Letter {
            notification,
            category: category.as_ref().map(|category| category.terms.label.as_str()),
            action_url: action_url.as_deref(),
            user: &delivery.user,
            contact: &delivery.contact,
            app: &delivery.app,
            unsubscribe_url: unsubscribe_url.as_deref(),
        };
        let (words, failed) = way.templates.render(&letter);
        if let Some(reason) = failed {
            tracing::error!(app = delivery.app, reason, "the built-in mail template takes the place of one that fails");
        }
        let envelope = mail::Envelope {
            from: own.from.as_ref().unwrap_or(&way.from),
            reply_to: own.reply_to.as_ref().or(way.reply_to.as_ref()),
            to,
            id: &format!("{}.{}", notification.id, delivery.id.0),
            date: SystemTime::now(),
            unsubscribe_url: unsubscribe_url.as_deref(),
        };
        match mail::compose(&envelope, words) {
            Ok(message) => Outcome::Tried(way.mailer.send(&message).await),
            Err(reason) => Outcome::Tried(Attempt::Failed { reason }),
        }
    }

    /// No link for what cannot be ended.
    fn unsubscribe_url(&self, delivery: &Delivery, category: &NamedCategory, way: &MailWay) -> Option<String> {
        let (tokens, base) = (self.tokens.as_ref()?, way.public_url.as_ref()?);
        if category.terms.required.contains(&Channel::Mail) {
            return None;
        }
        let token = tokens.make(&Unsubscription {
            app: delivery.app.clone(),
            user: delivery.user.clone(),
            category: category.category.clone(),
        });
        Some(format!("{}/inbox/unsubscribe?token={token}", base.as_str().trim_end_matches('/')))
    }

    async fn push(&self, delivery: &Delivery, inbox: &Inbox) -> Outcome {
        let Some(way) = &self.push else {
            return Outcome::suppressed("nothing is pushed: there is no [inbox.web_push]");
        };
        if !self.of(&delivery.app).web_push {
            return Outcome::suppressed("nothing is pushed for this app: apps.inbox.web_push is off");
        }
        if delivery.push_subscriptions.is_empty() {
            return Outcome::suppressed("the user has no browser that takes pushes");
        }
        let now = inbox.now();
        let text: Arc<[u8]> = push_message::text(&delivery.notification).into();
        let topic: Arc<str> = push_message::topic(&delivery.app, &delivery.user, &delivery.notification).into();
        let ttl = push_message::ttl(&delivery.notification, way.ttl, now);
        let wall = SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(now.millis()).unwrap_or(0));
        let mut pushes = JoinSet::new();
        for subscription in delivery.push_subscriptions.clone() {
            let (web_push, text, topic) = (way.web_push.clone(), Arc::clone(&text), Arc::clone(&topic));
            pushes.spawn(async move {
                let pushed = match BrowserKeys::parse(&subscription.keys.p256dh, &subscription.keys.auth) {
                    Ok(keys) => {
                        let push = Push { text: &text, ttl, topic: &topic };
                        web_push.push(&subscription.endpoint, &keys, push, wall).await
                    }
                    Err(error) => Pushed::Gone { reason: error.to_string() },
                };
                (subscription.endpoint, pushed)
            });
        }
        let mut ended = Vec::new();
        while let Some(done) = pushes.join_next().await {
            let Ok((endpoint, pushed)) = done else { continue };
            ended.push(match pushed {
                Pushed::Attempt(attempt) => attempt,
                Pushed::Gone { reason } => {
                    let (app, user) = (&delivery.app, &delivery.user);
                    if let Err(error) = inbox.remove_push_subscription(app, user, &endpoint).await {
                        tracing::warn!(app, %error, "a browser that has gone could not be forgotten: the next push will");
                    }
                    Attempt::Failed { reason: format!("the browser has gone: {reason}") }
                }
            });
        }
        Outcome::Tried(together(ended))
    }
}

/// One browser that was reached is enough: to try the others again would ring the first twice. Then, what nobody knows is
/// not tried again either.
fn together(attempts: Vec<Attempt>) -> Attempt {
    let rank = |attempt: &Attempt| match attempt {
        Attempt::Sent => 0,
        Attempt::Unknown { .. } => 1,
        Attempt::Again { .. } => 2,
        Attempt::Failed { .. } => 3,
    };
    let longest = attempts.iter().filter_map(|attempt| match attempt {
        Attempt::Again { after, .. } => *after,
        _ => None,
    });
    let longest = longest.max();
    match attempts.into_iter().min_by_key(rank) {
        Some(Attempt::Again { reason, .. }) => Attempt::Again { reason, after: longest },
        Some(attempt) => attempt,
        None => Attempt::Unknown { reason: "the attempt has panicked".to_owned() },
    }
}

async fn webhook(delivery: &Delivery, webhooks: &Webhooks) -> Outcome {
    let data = serde_json::to_string(&delivery.notification).expect("a notification is JSON");
    let kind = NoticeKind::Notification { user: delivery.user.as_str().into(), data: data.into() };
    let edge = u64::try_from(delivery.id.0).unwrap_or(0);
    match webhooks.deposit(Notice { app: delivery.app.as_str().into(), kind, edge }).await {
        Deposit::Taken => Outcome::Tried(Attempt::Sent),
        Deposit::Unwanted => Outcome::suppressed("no webhook of the app names the event notification"),
        Deposit::Refused(reason) => Outcome::Tried(Attempt::Again { reason, after: None }),
    }
}

/// A link that can be followed from a mail. A path without a host leads nowhere there.
fn link(url: &str, base: Option<&str>) -> Option<String> {
    if url.starts_with('/') { base.map(|base| format!("{base}{url}")) } else { Some(url.to_owned()) }
}

fn mail_way(beyond: &BeyondConfig) -> Result<Option<MailWay>, WaysError> {
    let Some(config) = &beyond.mail else { return Ok(None) };
    let settings = mail::Settings {
        host: config.host.clone(),
        port: config.port,
        security: config.security,
        credentials: config.credentials.clone(),
        roots: config.roots.clone(),
        hello: config.hello.clone(),
        timeout: config.timeout,
    };
    Ok(Some(MailWay {
        mailer: Mailer::new(settings).map_err(WaysError::Mail)?,
        templates: config.templates.as_deref().map_or_else(|| Ok(Templates::built_in()), Templates::read)?,
        from: config.from.clone(),
        reply_to: config.reply_to.clone(),
        public_url: beyond.public_url.clone(),
    }))
}

fn push_way(beyond: &BeyondConfig, state_dir: &Path) -> Result<Option<PushWay>, WaysError> {
    let Some(config) = &beyond.web_push else { return Ok(None) };
    let vapid = match &config.keys {
        Some((public, private)) => Vapid::from_parts(public, private)?,
        None => Vapid::keep_in(state_dir)?,
    };
    let settings = web_push::Settings {
        contact: config.contact.clone(),
        reach: config.reach,
        roots: config.roots.clone(),
        urgency: config.urgency,
        timeout: config.timeout,
    };
    let web_push = WebPush::new(Arc::new(vapid), settings).map_err(WaysError::WebPush)?;
    Ok(Some(PushWay { web_push, ttl: config.ttl }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(secs: u64) -> Attempt {
        Attempt::Again { reason: "busy".to_owned(), after: Some(Duration::from_secs(secs)) }
    }

    #[test]
    fn one_browser_that_was_reached_is_enough_and_what_nobody_knows_is_not_tried_again() {
        let failed = || Attempt::Failed { reason: "gone".to_owned() };
        let unknown = || Attempt::Unknown { reason: "silence".to_owned() };
        assert_eq!(together(vec![again(1), unknown(), Attempt::Sent, failed()]), Attempt::Sent);
        assert_eq!(together(vec![again(1), unknown(), failed()]), unknown());
        assert_eq!(together(vec![failed(), again(1), again(7)]), again(7));
        assert_eq!(together(vec![failed()]), failed());
    }

    #[test]
    fn a_path_leads_somewhere_only_with_a_host_before_it() {
        assert_eq!(link("/a?b", Some("https://shop.example/x")).as_deref(), Some("https://shop.example/x/a?b"));
        assert_eq!(link("/a", None), None);
        assert_eq!(link("https://other.example/", None).as_deref(), Some("https://other.example/"));
    }
}
