//! The inbox at the rim: how what is stored is pushed, and whom it is shown.
//!
//! Owns the way from committed changes to the channels of their users, the streams that are fed over HTTP, and the tokens of
//! browsers. Never stores anything, which `campanile-inbox` does on a thread of its own, and never makes a worker wait: a
//! worker asks, and goes on with other work. The invariant: a row exists before anybody is told of it (I18). Reading order:
//! [`store`] (the two threads), [`pushes`] (changes to frames), [`announcements`], [`state_on_entry`], [`streams`], [`fences`],
//! [`session`] and [`jwt`] (who a browser is). The endpoints are in [`crate::api`].

mod announcements;
mod events;
mod fences;
pub(crate) mod jwt;
mod pushes;
mod session;
mod state_on_entry;
mod store;
mod streams;

pub(crate) use fences::Fence;
pub(crate) use session::Session;
pub(crate) use store::{Opened, Status, Store, StoreError, settings};
#[cfg(test)]
pub(crate) use streams::Streams;
pub(crate) use streams::{OpenStream, TooManyStreams};
