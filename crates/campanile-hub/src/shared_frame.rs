//! A frame for everybody in a channel.
//!
//! Owns its bytes, and those of the same message compressed. Never decides who gets which. The invariant: a message is
//! compressed when the first needs it so, however many workers share it, and never for nobody. Read on in
//! [`crate::fanout`].

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use campanile_protocol::websocket::{DEFLATED_PAYLOAD_BYTES_MIN, Deflater};

/// A frame as it is and, for those who have agreed on that, compressed. Copies share both.
#[derive(Debug, Clone)]
pub struct SharedFrame {
    plain: Bytes,
    /// Empty until somebody needs it; `None` where nobody ever will.
    compressed: Option<Arc<OnceLock<Bytes>>>,
}

impl SharedFrame {
    /// One that may be asked for compressed.
    pub fn compressible(plain: Bytes) -> Self {
        let compressed = (plain.len() > DEFLATED_PAYLOAD_BYTES_MIN).then(Arc::default);
        Self { plain, compressed }
    }

    /// For those who have agreed on compression: the plain bytes where there is nothing to gain.
    pub fn compressed(&self, deflater: &mut Deflater) -> &Bytes {
        let Some(compressed) = &self.compressed else { return &self.plain };
        if compressed.get().is_none() {
            let bytes = deflater.frame(&self.plain).unwrap_or_else(|| self.plain.clone());
            // Another worker may have been quicker. Nobody waits for anybody: at worst, two have done the same.
            let _ = compressed.set(bytes);
        }
        compressed.get().unwrap_or(&self.plain)
    }
}

/// One that goes out as it is.
impl From<Bytes> for SharedFrame {
    fn from(plain: Bytes) -> Self {
        Self { plain, compressed: None }
    }
}

/// As it is.
impl Deref for SharedFrame {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.plain
    }
}

/// The same message, in whatever form.
impl PartialEq for SharedFrame {
    fn eq(&self, other: &Self) -> bool {
        self.plain == other.plain
    }
}

impl Eq for SharedFrame {}

#[cfg(test)]
mod tests {
    use campanile_protocol::websocket::{Opcode, encode};

    use super::*;

    #[test]
    fn copies_share_what_the_first_has_compressed() {
        let plain = encode(Opcode::Text, &[b'x'; 2000]);
        let frame = SharedFrame::compressible(plain.clone());
        let first = frame.compressed(&mut Deflater::default()).clone();
        let copy = frame.clone();
        let second = copy.compressed(&mut Deflater::default());
        assert_eq!((first.as_ptr(), first.len()), (second.as_ptr(), second.len()));
        assert!(first.len() < 100);
        assert_eq!(*frame, plain);
    }

    #[test]
    fn where_nothing_is_gained_the_plain_bytes_are_shared() {
        let short = encode(Opcode::Text, &[b'x'; DEFLATED_PAYLOAD_BYTES_MIN - 1]);
        let ping = encode(Opcode::Ping, b"");
        for frame in [SharedFrame::compressible(short.clone()), SharedFrame::compressible(ping), short.into()] {
            assert_eq!(frame.compressed(&mut Deflater::default()).as_ptr(), frame.as_ptr());
        }
        let unwanted: SharedFrame = encode(Opcode::Text, &[b'x'; 2000]).into();
        assert_eq!(unwanted.compressed(&mut Deflater::default()).as_ptr(), unwanted.as_ptr());
    }
}
