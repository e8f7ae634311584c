//! Ways to a user beyond the socket: mail, Web Push, and a webhook to the application.
//!
//! Owns what leaves the server for somebody who has not taken a notification where it was pushed. Never decides who wants
//! what: the store does. The invariant: what is tried has been recorded as being tried, and what may have arrived is never
//! sent a second time. Reading order: [`carrier`] (the round), [`takings`], [`ways`] (one attempt by each), [`attempt`] (how it
//! ends); [`mail`] with [`templates`] and [`unsubscribe`]; [`web_push`] with [`push_message`], [`vapid`], [`sealed`] and
//! [`push_endpoint`]. The webhook is in [`crate::webhooks`].

pub mod attempt;
pub(crate) mod carrier;
pub mod mail;
pub mod push_endpoint;
pub mod push_message;
pub mod sealed;
mod secret_file;
pub mod takings;
pub mod templates;
pub mod unsubscribe;
pub mod vapid;
pub mod ways;
pub mod web_push;
