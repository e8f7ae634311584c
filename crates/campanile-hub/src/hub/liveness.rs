//! Whether a client is still there.
//!
//! Owns the pings, and the time within which a connection must be authorized. Never closes one that has been heard of since
//! its ping. The invariant: a connection that is looked after has a moment at which to look again. The worker's
//! timers call [`super::Hub::check`].

use campanile_protocol::websocket::{self, Opcode};
use campanile_protocol::{CloseCode, ServerFrame};

use super::Hub;
use crate::fanout::ConnectionId;
use crate::timers::Moment;

impl Hub {
    /// Anything at all has come from the client.
    ///
    /// Returns whether it is awaited: then, if all that it was ever sent has been written whole, call [`Hub::taken`].
    pub fn heard(&mut self, id: ConnectionId, now: Moment) -> bool {
        let Some(session) = self.session(id) else { return false };
        (session.heard, session.pinged_at) = (now, None);
        session.awaited
    }

    /// Looks after one connection's liveness; returns when to look again.
    pub fn check(&mut self, id: ConnectionId, now: Moment) -> Option<Moment> {
        let app = self.app_of(id)?;
        let pong_timeout = self.settings.pong_timeout_secs;
        let session = self.session(id)?;
        let authorized_by = app
            .authorized_connections_timeout_secs
            .filter(|_| !session.authorized)
            .map(|secs| session.established.after_secs(secs.into()));
        if authorized_by.is_some_and(|by| by <= now) {
            self.end(id, CloseCode::Unauthorized, "the connection was not authorized in time");
            return None;
        }
        let next = match session.pinged_at {
            Some(pinged_at) => pinged_at.after_secs(pong_timeout),
            None => session.heard.after_secs(app.activity_timeout_secs.into()),
        };
        let next = if next > now {
            next
        } else if session.pinged_at.is_some() {
            self.end(id, CloseCode::PongTimeout, "no pong was received in time");
            return None;
        } else {
            session.pinged_at = Some(now);
            // Version 4 knows no `pusher:ping`; the WebSocket's own is answered by every client.
            let frame =
                if session.protocol < 5 { websocket::encode(Opcode::Ping, b"") } else { ServerFrame::Ping.encode() };
            self.fanout.direct(id, frame);
            now.after_secs(pong_timeout)
        };
        Some(authorized_by.map_or(next, |by| by.min(next)))
    }
}
