//! Who caused an event, so that they are not told what they know.
//!
//! Owns the header `X-Socket-ID`, which browsers' clients send along. Never proves who sent it: at worst somebody keeps
//! an event from one socket of their choosing. The invariant: anything but a socket id excludes nobody.

/// The connection of the browser that caused a request, if it has one.
///
/// With the feature `axum` it is an extractor, which reads `X-Socket-ID` and never rejects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SocketId(Option<campanile_protocol::SocketId>);

impl SocketId {
    /// The header that Laravel Echo and others send.
    pub const HEADER: &'static str = "x-socket-id";

    /// Nobody.
    pub const NONE: Self = Self(None);

    /// From a header's value. Text that is not a socket id is nobody's.
    pub fn parse(text: &str) -> Self {
        Self(exact(text))
    }

    /// The id.
    pub fn get(self) -> Option<campanile_protocol::SocketId> {
        self.0
    }
}

impl From<campanile_protocol::SocketId> for SocketId {
    fn from(id: campanile_protocol::SocketId) -> Self {
        Self(Some(id))
    }
}

/// Parses an id whose own text is the one that was given: that text is what the browser's server will sign and compare.
pub(crate) fn exact(text: &str) -> Option<campanile_protocol::SocketId> {
    campanile_protocol::SocketId::parse(text).ok().filter(|id| id.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_socket_id_in_its_own_words_is_one() {
        assert_eq!(SocketId::parse("12.34").get().map(|id| id.to_string()).as_deref(), Some("12.34"));
        for other in ["", "12", "012.34", "12.34 ", "undefined", "12.34:private-x", "99999999999999999999.1"] {
            assert_eq!(SocketId::parse(other), SocketId::NONE, "{other:?}");
        }
    }
}
