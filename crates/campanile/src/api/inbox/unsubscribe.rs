//! The page behind a mail's link.
//!
//! Owns the endpoint for both who come there: people, who are asked and press a button, and mailbox providers, who post at
//! once (RFC 8058). Never asks for a session: the token in the link says whose mails of which category are meant, and only we
//! can make one. The invariant: a GET changes nothing, because scanners follow every link that they find. Read on in
//! [`crate::beyond::unsubscribe`].

use std::error::Error;

use bytes::Bytes;
use campanile_inbox::{Channel, InboxError, Switches};
use hyper::body::Body;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use tokio::time::timeout_at;

use super::super::{Reply, text};
use super::{receive, store};
use crate::beyond::unsubscribe::{self, Page, Unsubscription};
use crate::door::Visit;
use crate::inbox::Store;

/// Answers both.
pub(super) async fn answer<B>(head: &Parts, body: B, visit: Visit<'_>) -> Reply
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let node = visit.door().node();
    let parameters = form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes());
    let token = parameters.take(64).find(|(name, _)| name == "token").map(|(_, value)| value);
    let (Ok(Some(store)), Some(meant)) =
        (store(visit.door()), token.and_then(|token| node.ways().unsubscription(&token)))
    else {
        return page(Page::Invalid);
    };
    // What is in it does not matter, but it must not be taken for the next request.
    if receive(body, visit).await.is_err() {
        return page(Page::Later);
    }
    let ask = async {
        let categories = store.note(store.inbox().categories(&meant.app).await)?;
        let category = categories.into_iter().find(|known| known.category == meant.category);
        let Some(category) = category else { return Ok(page(Page::Invalid)) };
        let label = category.terms.label.as_str();
        if category.terms.required.contains(&Channel::Mail) {
            return Ok(page(Page::Required(label)));
        }
        if head.method == Method::POST {
            return end(store, &meant, label).await;
        }
        Ok(page(Page::Ask(label)))
    };
    match timeout_at(visit.until(), ask).await {
        Ok(Ok(reply)) => reply,
        Ok(Err::<_, InboxError>(_)) | Err(_) => page(Page::Later),
    }
}

async fn end(store: &Store, meant: &Unsubscription, label: &str) -> Result<Reply, InboxError> {
    let Unsubscription { app, user, category } = meant;
    let no_mail = Switches::from([(Channel::Mail, false)]);
    match store.note(store.inbox().set_preference(app, user, category, no_mail).await) {
        Ok(_) => Ok(page(Page::Done(label))),
        // It has become so since it was looked at.
        Err(InboxError::Required { .. }) => Ok(page(Page::Required(label))),
        Err(InboxError::Unknown(_)) => Ok(page(Page::Invalid)),
        Err(error) => Err(error),
    }
}

fn page(page: Page<'_>) -> Reply {
    let status = StatusCode::from_u16(page.status()).expect("pages have statuses of HTTP");
    let mut reply = text(status, "text/html; charset=utf-8", page.html());
    let headers = reply.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(unsubscribe::CONTENT_SECURITY_POLICY));
    // The link is a right, and nobody else's to know.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    reply
}
