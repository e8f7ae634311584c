//! A browser's session with a user's inbox.
//!
//! Owns the token that a browser is given and what it says: which app, which user, until when, and which socket it dies
//! with. Never looks whether the socket lives: its worker is asked for that, at every request. The invariant: a token is
//! signed with a key that this process has drawn and that never leaves it, so a restart ends all sessions, as it ends all
//! sockets. Read on in `crate::api` for what a browser proves to get one.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use campanile_protocol::{Secret, SocketId};
use serde::{Deserialize, Serialize};

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Session {
    /// The app's id.
    pub(crate) app: String,
    /// Whose inbox.
    pub(crate) user: String,
    /// The socket that it dies with; nothing where a JWT has proved the user.
    pub(crate) socket: Option<SocketId>,
    /// In seconds since 1970.
    pub(crate) until: u64,
}

/// As it is signed.
#[derive(Serialize, Deserialize)]
struct Claims {
    a: String,
    u: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    s: Option<String>,
    e: u64,
}

/// Signs and reads tokens.
#[derive(Debug)]
pub(crate) struct Sessions(Secret);

impl Sessions {
    /// With a key of its own.
    pub(crate) fn new() -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(Self(Secret::new(&hex::encode(key))))
    }

    /// The token of a session.
    pub(crate) fn token(&self, session: &Session) -> String {
        let claims = Claims {
            a: session.app.clone(),
            u: session.user.clone(),
            s: session.socket.map(|socket| socket.to_string()),
            e: session.until,
        };
        let claims = serde_json::to_vec(&claims).expect("texts and a number are JSON");
        let claims = URL_SAFE_NO_PAD.encode(claims);
        let signature = self.0.sign(claims.as_bytes());
        format!("{claims}.{signature}")
    }

    /// What a token says, if it is ours and still good.
    pub(crate) fn read(&self, token: &str, now: u64) -> Option<Session> {
        let (claims, signature) = token.rsplit_once('.')?;
        if !self.0.verify(claims.as_bytes(), signature) {
            return None;
        }
        let Claims { a: app, u: user, s: socket, e: until } =
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
        let socket = socket.map(|socket| SocketId::parse(&socket)).transpose().ok()?;
        (until > now).then_some(Session { app, user, socket, until })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_what_it_was_given_until_it_is_over_and_only_here() {
        let sessions = Sessions::new().unwrap();
        for socket in [None, Some(SocketId { place: 7, secret: 9 })] {
            let session = Session { app: "shop".into(), user: "4\"2".into(), socket, until: 1600 };
            let token = sessions.token(&session);
            assert_eq!(sessions.read(&token, 1599), Some(session));
            assert_eq!(sessions.read(&token, 1600), None);
            assert_eq!(Sessions::new().unwrap().read(&token, 1000), None, "signed by another process");
            let changed = token.replacen('e', "f", 1);
            assert_eq!(sessions.read(&changed, 1000), None);
        }
        for nonsense in ["", ".", "a.b", "a"] {
            assert_eq!(sessions.read(nonsense, 0), None);
        }
    }
}
