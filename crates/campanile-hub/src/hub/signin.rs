//! How a connection gets a user, and hears of the users that it watches.
//!
//! Owns the sign-in and the collecting of a watchlist's first state. Never verifies: [`crate::session`] does. The invariant: a
//! client is told of its success when its user's channel has it, and of a watched user's changes only after its first
//! state.

use campanile_protocol::{ChannelName, CloseCode, ServerFrame, UserId};

use super::Hub;
use super::client::contained;
use crate::app::App;
use crate::fanout::ConnectionId;
use crate::letter::{Audience, ChannelKey, Purpose};
use crate::session::{Admission, Passed, authenticate};

impl Hub {
    pub(super) fn signin(&mut self, id: ConnectionId, app: &App, auth: &str, user_data: &str) {
        let Some(session) = self.session(id) else { return };
        if !app.features.user_authentication {
            return self.error(id, None, "user authentication is not enabled for this app", None);
        }
        let socket_id = session.socket_id;
        let Ok(passed) = contained(|| authenticate(app, socket_id, auth, user_data)) else { return self.broken(id) };
        let Passed { user, cut } = match passed {
            Ok(passed) => passed,
            Err(message) => return self.end(id, CloseCode::Unauthorized, &message),
        };
        match &session.user {
            Some(known) if known.id == user.id => {
                let user_data = known.user_data.clone();
                let key = ChannelKey { app: app.index, name: ChannelName::of_user(&user.id) };
                // The answer that is on its way acknowledges both.
                if self.fanout.seat(id, &key, Audience::Subscribers).is_some_and(|seat| seat.joined) {
                    self.direct(id, &ServerFrame::SigninSuccess { user_data: &user_data });
                }
                return;
            }
            Some(known) => {
                let message = format!("the connection is signed in as {:?} already", known.id);
                return self.error(id, None, &message, None);
            }
            None => {}
        }
        session.authorized = true;
        let key = ChannelKey { app: app.index, name: ChannelName::of_user(&user.id) };
        session.user = Some(Box::new(user));
        if cut {
            let message =
                format!("the watchlist is too long: its first {} users are watched", app.limits.watchlist_max);
            self.error(id, Some(CloseCode::WatchlistTooLong), &message, None);
        }
        self.request(id, key, Audience::Subscribers, Admission::default(), Purpose::Signin);
    }

    pub(super) fn signed_in(&mut self, id: ConnectionId) {
        let Some(session) = self.session(id) else { return };
        let app = session.app;
        let Some(user) = session.user.as_mut() else { return };
        let user_data = user.user_data.clone();
        let own = ChannelKey { app, name: ChannelName::of_user(&user.id) };
        let wants_channel = user.wants_channel;
        let watchlist = std::mem::take(&mut user.watchlist);
        user.unanswered = watchlist.len();
        self.direct(id, &ServerFrame::SigninSuccess { user_data: &user_data });
        if wants_channel {
            self.acknowledge(id, &own);
        }
        for watched in watchlist {
            let key = ChannelKey { app, name: ChannelName::of_user(&watched) };
            self.request(id, key, Audience::Watchers, Admission::default(), Purpose::Watch);
        }
    }

    /// The state of one more watched user is known; with the last, the client is told of all.
    pub(super) fn watched(&mut self, id: ConnectionId, key: &ChannelKey, online: bool) {
        let Some(user) = self.session(id).and_then(|session| session.user.as_mut()) else { return };
        if let Some(Ok(watched)) = key.name.user().map(|watched| UserId::parse(watched, usize::MAX)) {
            if online { user.online.push(watched) } else { user.offline.push(watched) }
        }
        user.unanswered -= 1;
        if user.unanswered == 0 {
            self.tell_watched(id);
        }
    }

    pub(super) fn tell_watched(&mut self, id: ConnectionId) {
        let Some(user) = self.session(id).and_then(|session| session.user.as_mut()) else { return };
        let (online, offline) = (std::mem::take(&mut user.online), std::mem::take(&mut user.offline));
        if !online.is_empty() || !offline.is_empty() {
            let online: Vec<&str> = online.iter().map(UserId::as_str).collect();
            let offline: Vec<&str> = offline.iter().map(UserId::as_str).collect();
            self.direct(id, &ServerFrame::WatchlistEvents { online: &online, offline: &offline });
        }
    }
}
