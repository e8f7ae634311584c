//! A request that proved who sent it.
//!
//! Owns the order of the proof: the app of the path, a key of that same app, the signature over method, path and query,
//! then a body within its limit that is the one whose hash was signed. Never parses the body. The invariant: a [`SignedRequest`] exists only for an
//! enabled app whose secret signed exactly what is in it. Read on in [`campanile_protocol::signature`].

use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use campanile_hub::App;
use campanile_protocol::Fingerprint;
use campanile_protocol::signature::SignedQuery;
use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::Body;
use hyper::http::request::Parts;

use super::error::ApiError;
use crate::door::Door;

/// A request, proved.
#[derive(Debug)]
pub(super) struct SignedRequest<'a> {
    /// Whose it is.
    pub(super) app: Arc<App>,
    /// Its parameters.
    pub(super) query: SignedQuery<'a>,
    head: &'a Parts,
    body: Bytes,
}

impl<'a> SignedRequest<'a> {
    /// Reads the body and proves the request.
    pub(super) async fn receive<B>(
        head: &'a Parts,
        body: B,
        app_id: &str,
        door: &Door,
    ) -> Result<SignedRequest<'a>, ApiError>
    where
        B: Body<Data = Bytes>,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let app = door.apps().by_id(app_id).cloned().ok_or(ApiError::UnknownApp)?;
        let query = SignedQuery::parse(head.uri.query().unwrap_or_default());
        // A key of another app must not sign here. Whoever has no secret cannot make us hold a body.
        let secret = app.secret(query.key()?).ok_or(ApiError::UnknownKey)?;
        query.verify(secret, head.method.as_str(), head.uri.path(), now_secs())?;
        let body = read(body, door).await?;
        query.verify_body(&body)?;
        if !app.enabled {
            return Err(ApiError::Disabled);
        }
        Ok(Self { app: Arc::clone(&app), query, head, body })
    }

    /// Its headers, which nobody has signed.
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// What it asks for, whenever it was signed.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.head.uri.path(), &self.query, &self.body)
    }

    /// Whose it is, and what came with it.
    pub(super) fn into_app_and_body(self) -> (Arc<App>, Bytes) {
        (self.app, self.body)
    }

    /// The body's text.
    pub(super) fn text(&self) -> Result<&str, ApiError> {
        std::str::from_utf8(&self.body).map_err(|_| ApiError::NotUtf8)
    }
}

pub(super) async fn read<B>(body: B, door: &Door) -> Result<Bytes, ApiError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let max = door.node().config().limits.http_body_bytes_max;
    read_at_most(body, max, door).await
}

/// The same of somebody whose bodies are smaller.
pub(super) async fn read_at_most<B>(body: B, max: usize, door: &Door) -> Result<Bytes, ApiError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let timeout = door.node().config().limits.http_request_timeout;
    // A body that announces its length is refused before any of it is read.
    if body.size_hint().lower() > max as u64 {
        return Err(ApiError::BodyTooLarge { max });
    }
    let received = tokio::time::timeout(timeout, gather(body, max, door)).await;
    received.unwrap_or(Err(ApiError::BodyTooSlow { secs: timeout.as_secs() }))
}

/// Counts what is held as it comes, not as it is announced: nobody keeps others out by promising much.
async fn gather<B>(body: B, max: usize, door: &Door) -> Result<Bytes, ApiError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let (mut body, mut gathered, mut share) = (pin!(body), Vec::new(), door.share());
    while let Some(frame) = body.frame().await {
        // Trailers say nothing to us.
        let Ok(part) = frame.map_err(|_| ApiError::BodyBroken)?.into_data() else { continue };
        let length = gathered.len() + part.len();
        if length > max {
            return Err(ApiError::BodyTooLarge { max });
        }
        if length > gathered.capacity() {
            let room = length.max(2 * gathered.capacity()).min(max);
            share.grow_to(room, door.http_bytes_max())?;
            gathered.reserve_exact(room - gathered.len());
        }
        gathered.extend_from_slice(&part);
    }
    Ok(share.keep(gathered))
}

/// The wall clock, in seconds since 1970; a clock before that is as wrong as one that is off by the window.
fn now_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
