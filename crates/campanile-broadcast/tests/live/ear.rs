//! A server that takes events as it is told to, and remembers every request.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::net::TcpListener;

use crate::stage::within;

/// One request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Heard {
    pub(crate) key: String,
    pub(crate) body: Value,
}

impl Heard {
    /// The number in the event, which must be [`Said`](crate::stage::Said).
    pub(crate) fn number(&self) -> u64 {
        let data: Value = serde_json::from_str(self.body["data"].as_str().unwrap()).unwrap();
        data["number"].as_u64().unwrap()
    }
}

/// What is answered to the next requests, and after how long; with nothing left, 200 at once.
type Answers = VecDeque<(u16, Duration)>;

#[derive(Debug, Clone, Default)]
pub(crate) struct Ear(Arc<Mutex<(Answers, Vec<Heard>)>>);

impl Ear {
    /// Listens, and says where.
    pub(crate) async fn listen() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        (Self::at(listener), origin)
    }

    pub(crate) fn at(listener: TcpListener) -> Self {
        let ear = Self::default();
        let router = Router::new().fallback(hear).with_state(ear.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        ear
    }

    /// Answers the next request so, after the ones that are planned already.
    pub(crate) fn answer(&self, status: u16) {
        self.answer_after(status, Duration::ZERO);
    }

    pub(crate) fn answer_after(&self, status: u16, delay: Duration) {
        self.0.lock().0.push_back((status, delay));
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.0.lock().1.clone()
    }

    /// Waits until there were so many requests, and returns them.
    pub(crate) async fn hears(&self, count: usize) -> Vec<Heard> {
        let hearing = async {
            while self.heard().len() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        within(hearing).await;
        self.heard()
    }
}

async fn hear(State(ear): State<Ear>, request: Request) -> (StatusCode, &'static str) {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    // A notification has its key in its body.
    let key = match parts.headers.get("idempotency-key") {
        Some(key) => key.to_str().unwrap().to_owned(),
        None => body["key"].as_str().unwrap().to_owned(),
    };
    let (status, delay) = {
        let (answers, heard) = &mut *ear.0.lock();
        heard.push(Heard { key, body });
        answers.pop_front().unwrap_or((200, Duration::ZERO))
    };
    tokio::time::sleep(delay).await;
    (StatusCode::from_u16(status).unwrap(), "{}")
}
