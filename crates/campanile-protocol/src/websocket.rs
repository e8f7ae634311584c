//! RFC 6455 framing: bytes to messages and back, for both ends of a connection.
//!
//! Owns the wire format: frame headers, masks, fragments, UTF-8, close codes and the words of the
//! opening handshake. The server receives masked frames and sends plain ones, a client the reverse.
//!
//! Never touches a socket, a clock or a source of randomness (a client brings its mask keys), and
//! knows nothing of what the messages mean. The one extension that it can speak is permessage-deflate;
//! where that was not agreed on, every reserved bit is a violation.
//!
//! Keep in mind: what a peer sent means the same however the network cut it. [`Incoming`] answers
//! one byte at a time as it does all at once, and refuses a header or a text at its first wrong byte.
//!
//! Read next: [`Incoming::receive`] for what arrives, [`encode`] for what leaves, [`upgrade`] for
//! how a connection begins, `deflate.rs` and `extension.rs` for compression.

mod assembly;
mod close;
mod deflate;
mod extension;
mod frame;
mod handshake;
mod incoming;
mod outgoing;

pub use close::{Close, Violation, close_code};
pub use deflate::{DEFLATE_WINDOW_BITS, DEFLATED_PAYLOAD_BYTES_MIN, Deflater, Inflater, LAST_BLOCKS_MAX};
pub use extension::Deflation;
pub use frame::{CONTROL_PAYLOAD_MAX, Opcode, Role, apply_mask};
pub use handshake::{SUPPORTED_VERSION, UpgradeRefusal, accept_key, upgrade};
pub use incoming::{Incoming, Received, Rules};
pub use outgoing::{
    CLOSE_REASON_BYTES_MAX, PLAIN_HEADER_BYTES_MAX, close, close_payload, encode, encode_into, encode_masked_into,
    header,
};
