//! (skeleton)
pub mod websocket;
