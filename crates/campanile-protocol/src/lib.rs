//! The words of the Pusher Channels protocol, version 4 to 7.
//!
//! Owns every shape on the wire: names, frames, signatures, API bodies, webhooks, close codes, limits.
//! Never does I/O, spawns, reads a clock or draws randomness: bytes and times go in, values come out.
//! One invariant: a value that exists is valid, so nobody checks it again.
//! Reading order: [`channel_kind`] and [`name`], [`frame`], [`signature`], [`trigger`],
//! [`refusal`], [`attributes`], [`replies`]; then [`close`], [`idempotency`], [`limits`], [`position`], [`webhook`],
//! [`websocket`].

pub mod attributes;
pub mod channel_kind;
pub mod close;
pub mod frame;
pub mod idempotency;
pub mod json;
pub mod limits;
pub mod name;
pub mod position;
pub mod refusal;
pub mod replies;
pub mod signature;
pub mod trigger;
pub mod webhook;
pub mod websocket;

pub use channel_kind::{Access, ChannelKind};
pub use close::CloseCode;
pub use frame::{ClientFrame, EncodedFrame, ServerFrame};
pub use idempotency::{Fingerprint, IdempotencyKey};
pub use limits::Limits;
pub use name::{ChannelName, EventName, SocketId, UserId};
pub use position::Position;
pub use signature::Secret;
