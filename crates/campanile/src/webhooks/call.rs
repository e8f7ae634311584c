//! One request to an endpoint.
//!
//! Owns the client, the headers and the verdict. Never retries, never follows a redirect (the signature is for the
//! configured endpoint, and so are its events) and never reads more of an answer than it takes to use the connection
//! again. The invariant: what is signed is exactly what is sent. Read on in [`super::endpoint`].

use std::error::Error as _;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, redirect};

use super::Error;
use super::settings::Settings;
use crate::crypto;

const KEY: HeaderName = HeaderName::from_static("x-pusher-key");
const SIGNATURE: HeaderName = HeaderName::from_static("x-pusher-signature");
const USER_AGENT: &str = concat!("campanile/", env!("CARGO_PKG_VERSION"));

/// Bytes of an answer that are read so that the connection can be used again; past them it is closed.
const ANSWER_BYTES_MAX: usize = 16 * 1024;

/// Connections kept open to one host; more come and go.
const IDLE_CONNECTIONS_PER_HOST: usize = 2;

/// The client of all endpoints.
pub(super) fn client() -> Result<Client, Error> {
    crypto::install_provider();
    Client::builder()
        .user_agent(USER_AGENT)
        .redirect(redirect::Policy::none())
        .pool_max_idle_per_host(IDLE_CONNECTIONS_PER_HOST)
        // The configured endpoint gets the events, not what HTTP_PROXY in the environment names.
        .no_proxy()
        .build()
        .map_err(|error| Error::Client(reason(&error)))
}

/// Sends a body once. An error is in words for the operator, without the address.
pub(super) async fn call(client: &Client, settings: &Settings, body: Vec<u8>) -> Result<(), String> {
    let signature = settings.secret.sign(&body);
    let signature = HeaderValue::from_str(&signature).expect("hexadecimal digits are legal in headers");
    let mut headers: HeaderMap = settings.webhook.headers.iter().cloned().collect();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(KEY, settings.key.clone());
    headers.insert(SIGNATURE, signature);
    let timeout = settings.webhook.timeout;
    let request = client.post(settings.webhook.url.clone()).headers(headers).timeout(timeout).body(body);
    let mut answer = request.send().await.map_err(|error| {
        if error.is_timeout() {
            format!("no answer within {} s", timeout.as_secs_f32())
        } else {
            reason(&error.without_url())
        }
    })?;
    let status = answer.status();
    let mut read = 0;
    // The verdict is the status; an answer that breaks off later changes nothing.
    while let Ok(Some(chunk)) = answer.chunk().await {
        read += chunk.len();
        if read > ANSWER_BYTES_MAX {
            break;
        }
    }
    if status.is_success() { Ok(()) } else { Err(format!("answered {}", status.as_u16())) }
}

/// An error with its causes, which the client's own text leaves out.
fn reason(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
