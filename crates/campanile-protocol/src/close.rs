//! The codes that end a connection or explain an error, and what a client does on each.
//!
//! Source: Pusher's documentation of the protocol, and what pusher-js does in `getCloseAction`. Never invents a code:
//! pusher-js treats unknown ones as final. The invariant: 4000 is not here, because it sends clients to TLS.

/// A code of the Pusher protocol or of RFC 6455, as sent in a close frame or an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum CloseCode {
    /// The peer closed, or asked us to. Clients reconnect after a second.
    Normal = 1000,
    /// A violation of RFC 6455.
    ProtocolError = 1002,
    /// Text that is not UTF-8.
    InvalidPayload = 1007,
    /// A frame or message over the limit. Clients reconnect after a second.
    TooBig = 1009,
    /// A fault of ours that cost this connection. Clients reconnect after a second.
    InternalError = 1011,
    /// No app has this key. Clients never reconnect (as for all of 4001 to 4099).
    UnknownApp = 4001,
    /// The app is switched off.
    AppDisabled = 4003,
    /// The app has as many connections as it may.
    OverQuota = 4004,
    /// No such path.
    PathNotFound = 4005,
    /// `version` does not begin with a digit.
    InvalidVersion = 4006,
    /// `protocol` is not one that this server speaks.
    UnsupportedProtocol = 4007,
    /// `protocol` is missing.
    NoProtocol = 4008,
    /// The connection is not authorized: origin, sign-in, time limit, or terminated by the application.
    Unauthorized = 4009,
    /// Over capacity: this node, or this client's own queue. Clients reconnect after a second.
    OverCapacity = 4100,
    /// Reconnect at once; sent while draining, in waves.
    Reconnect = 4200,
    /// No answer to a ping.
    PongTimeout = 4201,
    /// Nothing heard for a day from a client that cannot answer pings.
    Inactive = 4202,
    /// A client event was rejected. Only ever an error, never a close.
    ClientEventRejected = 4301,
    /// A watchlist was too long. Only ever an error, never a close.
    WatchlistTooLong = 4302,
}

impl CloseCode {
    /// The number on the wire.
    pub const fn number(self) -> u16 {
        self as u16
    }
}
