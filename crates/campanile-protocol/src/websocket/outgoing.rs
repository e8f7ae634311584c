//! Frames to send.
//!
//! Owns the encoding of whole messages: plain for a server, masked for a client. We never fragment.
//!
//! Never queues, and never draws a mask key: a client brings one that its peer cannot foresee.
//!
//! Keep in mind: a server's frame depends on nothing but opcode and payload, so one encoding is
//! shared by every subscriber.
//!
//! Read next: `frame.rs` for the layout.

use bytes::Bytes;

use super::close::may_travel;
use super::frame::{CONTROL_PAYLOAD_MAX, Opcode, apply_mask};

/// The longest header of a plain frame: two bytes and a 64-bit length.
pub const PLAIN_HEADER_BYTES_MAX: usize = 10;

/// What a close frame has left for its reason, after the code.
pub const CLOSE_REASON_BYTES_MAX: usize = CONTROL_PAYLOAD_MAX - 2;

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;

/// The header of a plain, final frame: the bytes, and how many of them count. For writing a payload
/// from where it lies, without copying it.
pub fn header(opcode: Opcode, payload_len: usize) -> ([u8; PLAIN_HEADER_BYTES_MAX], usize) {
    debug_assert!(
        !opcode.is_control() || payload_len <= CONTROL_PAYLOAD_MAX,
        "a control frame carries at most {CONTROL_PAYLOAD_MAX} bytes"
    );
    let mut header = [0; PLAIN_HEADER_BYTES_MAX];
    header[0] = FIN | opcode.bits();
    let size = match payload_len {
        0..=125 => {
            header[1] = payload_len as u8;
            2
        }
        126..=0xffff => {
            header[1] = 126;
            header[2..4].copy_from_slice(&(payload_len as u16).to_be_bytes());
            4
        }
        _ => {
            header[1] = 127;
            header[2..10].copy_from_slice(&(payload_len as u64).to_be_bytes());
            10
        }
    };
    (header, size)
}

/// A server's frame, in one allocation of its own.
pub fn encode(opcode: Opcode, payload: &[u8]) -> Bytes {
    let mut frame = Vec::new();
    encode_into(&mut frame, opcode, payload);
    frame.into()
}

/// Appends a server's frame: for joining what one connection gets in one write.
pub fn encode_into(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    let (header, size) = header(opcode, payload.len());
    // A lone frame gets exactly its size; a joined one must leave growth amortised.
    if out.capacity() == 0 {
        out.reserve_exact(size + payload.len());
    }
    out.extend_from_slice(&header[..size]);
    out.extend_from_slice(payload);
}

/// Appends a client's frame, masked with `key`, which must be fresh and unpredictable.
pub fn encode_masked_into(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], key: [u8; 4]) {
    let (mut header, size) = header(opcode, payload.len());
    header[1] |= MASKED;
    out.reserve(size + key.len() + payload.len());
    out.extend_from_slice(&header[..size]);
    out.extend_from_slice(&key);
    let payload_at = out.len();
    out.extend_from_slice(payload);
    apply_mask(&mut out[payload_at..], key);
}

/// A server's close frame. The reason is cut at a character so that it fits.
pub fn close(code: u16, reason: &str) -> Bytes {
    encode(Opcode::Close, &close_payload(Some(code), reason))
}

/// What a close frame carries: nothing without a code; else the code, and the reason cut at a
/// character so that it fits. For [`encode_masked_into`], and for answering a close.
pub fn close_payload(code: Option<u16>, reason: &str) -> Vec<u8> {
    let Some(code) = code else {
        return Vec::new();
    };
    debug_assert!(may_travel(code), "close code {code} may not be sent");
    let reason = &reason[..reason.floor_char_boundary(CLOSE_REASON_BYTES_MAX)];
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_uses_the_shortest_length_that_holds() {
        let encoded = |len| {
            let (header, size) = header(Opcode::Binary, len);
            header[..size].to_vec()
        };
        assert_eq!(encoded(0), [0x82, 0]);
        assert_eq!(encoded(125), [0x82, 125]);
        assert_eq!(encoded(126), [0x82, 126, 0, 126]);
        assert_eq!(encoded(65_535), [0x82, 126, 0xff, 0xff]);
        assert_eq!(encoded(65_536), [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn joined_frames_are_the_lone_frames_end_to_end() {
        let mut joined = Vec::new();
        encode_into(&mut joined, Opcode::Text, b"one");
        encode_into(&mut joined, Opcode::Ping, b"");
        let lone = [encode(Opcode::Text, b"one"), encode(Opcode::Ping, b"")].concat();
        assert_eq!(joined, lone);
    }

    #[test]
    fn a_masked_frame_is_appended_after_what_is_there() {
        let mut out = b"before".to_vec();
        encode_masked_into(&mut out, Opcode::Text, b"hi", [1, 2, 3, 4]);
        assert_eq!(out, [&b"before"[..], &[0x81, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2]].concat());
    }

    #[test]
    fn a_reason_at_the_bound_is_kept_and_one_past_it_is_cut_at_a_character() {
        let fits = "x".repeat(CLOSE_REASON_BYTES_MAX);
        assert_eq!(close(4100, &fits)[4..], *fits.as_bytes());
        assert_eq!(close(4100, &format!("{fits}y"))[4..], *fits.as_bytes());

        let straddles = format!("{}\u{20ac}", "x".repeat(CLOSE_REASON_BYTES_MAX - 1));
        let frame = close(4100, &straddles);
        assert_eq!(frame[4..], straddles.as_bytes()[..CLOSE_REASON_BYTES_MAX - 1]);
        assert_eq!(usize::from(frame[1]), frame.len() - 2);
    }

    #[test]
    fn a_close_without_a_code_carries_nothing() {
        assert!(close_payload(None, "unsaid").is_empty());
    }
}
