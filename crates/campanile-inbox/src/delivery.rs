//! Ways beyond the socket: what is to be sent, and what became of it.
//!
//! Owns the shapes. Never sends anything: the server does. The invariant: what was being tried when a process died is
//! unknown, and never sent again by itself. Read on in `store/deliveries.rs`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::notification::Notification;
use crate::preferences::Channel;

/// How to reach a user.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Contact {
    /// Where mail goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// As in `de-AT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// As in `Europe/Vienna`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tz: Option<String>,
}

/// A browser that takes pushes: what its `PushSubscription` says as JSON. More that is in there is ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushSubscription {
    /// Where pushes go. Names the browser.
    pub endpoint: String,
    /// What pushes are encrypted with.
    pub keys: PushKeys,
}

/// What pushes are encrypted with, in base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushKeys {
    /// The browser's public key.
    pub p256dh: String,
    /// The secret that it shares with us.
    pub auth: String,
}

/// A delivery's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeliveryId(pub i64);

/// Something to be sent now.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Its number.
    pub id: DeliveryId,
    /// How often it was claimed, this time included. A settlement that names another one changes nothing.
    pub attempt: i64,
    /// Whose app.
    pub app: String,
    /// To whom.
    pub user: String,
    /// By which way.
    pub channel: Channel,
    /// What.
    pub notification: Notification,
    /// How to reach the user.
    pub contact: Contact,
    /// The user's browsers, if that is the way.
    pub push_subscriptions: Vec<PushSubscription>,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// It was taken by whoever carries it on.
    Sent,
    /// It was certainly not sent, and is to be tried again.
    Again {
        /// How long to wait.
        after: Duration,
        /// What went wrong.
        reason: String,
    },
    /// It will not be sent.
    Failed {
        /// What went wrong.
        reason: String,
    },
    /// There is nobody to send it to by this way.
    Suppressed {
        /// What is missing.
        reason: String,
    },
    /// Nobody knows whether it was sent; it is not tried again.
    Unknown {
        /// What went wrong.
        reason: String,
    },
}

/// How a delivery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// It will be sent.
    Waiting,
    /// It is being sent.
    Trying,
    /// It was sent.
    Sent,
    /// It was not sent.
    Failed,
    /// The process died while it was being sent.
    Unknown,
    /// It is not sent, because of what the user wants, or lacks.
    Suppressed,
    /// It need not be sent: the user has seen it elsewhere.
    Taken,
}

impl DeliveryState {
    const ALL: [Self; 7] =
        [Self::Waiting, Self::Trying, Self::Sent, Self::Failed, Self::Unknown, Self::Suppressed, Self::Taken];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Trying => "trying",
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
            Self::Suppressed => "suppressed",
            Self::Taken => "taken",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// What became of one notification on one way: support's first question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeliveryRecord {
    /// Its number.
    pub id: DeliveryId,
    /// Which notification.
    pub notification: Uuid,
    /// As in `comment.added`.
    pub kind: String,
    /// By which way.
    pub channel: Channel,
    /// How it is.
    pub state: DeliveryState,
    /// Why, where that is not plain.
    pub reason: Option<String>,
    /// How often it was tried.
    pub attempts: i64,
    /// When it was decided on.
    pub created_at: Timestamp,
    /// When it became as it is.
    pub updated_at: Timestamp,
    /// When it is due, if it waits.
    pub due_at: Option<Timestamp>,
}

/// Which deliveries are not needed any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// Those of notifications up to this number.
    UpToSeq(i64),
    /// Those of these notifications.
    Ids(Vec<Uuid>),
}
