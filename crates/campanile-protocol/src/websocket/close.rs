//! How a connection ends: close codes, close payloads, and the violations that lead to them.
//!
//! Owns which code may travel (RFC 6455, section 7.4) and which code each violation earns.
//!
//! Never decides to close: it says with what.
//!
//! Keep in mind: a close frame that we accept carries a code that we may send back.
//!
//! Read next: `incoming.rs`, where violations are found.

use bytes::Bytes;

use super::outgoing;

/// The codes of RFC 6455, section 7.4.1, that framing itself uses. Those from 4000 up belong to the
/// Pusher protocol.
pub mod close_code {
    /// The purpose of the connection is fulfilled.
    pub const NORMAL: u16 = 1000;
    /// The endpoint is going away.
    pub const GOING_AWAY: u16 = 1001;
    /// The peer broke the framing rules.
    pub const PROTOCOL_ERROR: u16 = 1002;
    /// The peer sent what is not of its kind: text that is no UTF-8, compressed data that cannot be inflated.
    pub const INCONSISTENT_DATA: u16 = 1007;
    /// The peer sent more than we take.
    pub const TOO_BIG: u16 = 1009;
    /// We cannot go on, through no fault of the peer.
    pub const INTERNAL_ERROR: u16 = 1011;
}

/// The code of a close frame that may travel: not reserved, not for local use only.
pub(super) const fn may_travel(code: u16) -> bool {
    // 1012 to 1014 came after the RFC, through the registry that it founded.
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// A close frame's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Close<'a> {
    /// Why, if the peer said so. An empty close frame is lawful.
    pub code: Option<u16>,
    /// For people to read; often empty.
    pub reason: &'a str,
}

impl<'a> Close<'a> {
    pub(super) fn parse(payload: &'a [u8]) -> Result<Self, Violation> {
        let Some((code, reason)) = payload.split_first_chunk() else {
            return match payload {
                [] => Ok(Self { code: None, reason: "" }),
                _ => Err(Violation::CloseCodeCut),
            };
        };
        let code = u16::from_be_bytes(*code);
        if !may_travel(code) {
            return Err(Violation::CloseCode(code));
        }
        let reason = str::from_utf8(reason).map_err(|_| Violation::CloseReasonNotUtf8)?;
        Ok(Self { code: Some(code), reason })
    }

    /// The payload that answers this frame: the same code, or none if none was given.
    pub fn reply_payload(&self) -> Vec<u8> {
        outgoing::close_payload(self.code, "")
    }
}

/// What a peer did that ends the connection. Its text fits in a close frame's reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// RSV1, RSV2 or RSV3 is set where no negotiated extension gives it a meaning.
    #[error("reserved bits are set that no negotiated extension has given a meaning")]
    ReservedBits,
    /// One of the ten opcodes without a meaning.
    #[error("opcode {0:#x} is reserved")]
    UnknownOpcode(u8),
    /// A close, ping or pong without the FIN bit.
    #[error("a control frame may not be fragmented")]
    FragmentedControl,
    /// A close, ping or pong of over [`CONTROL_PAYLOAD_MAX`](super::CONTROL_PAYLOAD_MAX) bytes.
    #[error("a control frame may not carry over 125 bytes")]
    LongControl,
    /// A client sent a plain frame.
    #[error("a client must mask its frames")]
    Unmasked,
    /// A server sent a masked frame.
    #[error("a server may not mask its frames")]
    Masked,
    /// 16 or 64 bits of length where fewer would do.
    #[error("the payload length is not in its shortest form")]
    LengthNotMinimal,
    /// A 64-bit length that would be negative.
    #[error("the payload length has its top bit set")]
    LengthTopBit,
    /// Over `message_max`, in one frame or in fragments together.
    #[error("the message is too big")]
    TooBig,
    /// A continuation frame, and no message is open.
    #[error("there is no message to continue")]
    NothingToContinue,
    /// A new message while the fragments of another are arriving.
    #[error("a message began before the last one ended")]
    NotContinued,
    /// A compressed message that is not whole DEFLATE blocks.
    #[error("the compressed message cannot be inflated")]
    NotDeflated,
    /// A text message that is not UTF-8.
    #[error("the text is not UTF-8")]
    TextNotUtf8,
    /// A close payload of a single byte.
    #[error("a close code is two bytes")]
    CloseCodeCut,
    /// A close code that may not travel.
    #[error("close code {0} may not be sent")]
    CloseCode(u16),
    /// A close reason that is not UTF-8.
    #[error("the close reason is not UTF-8")]
    CloseReasonNotUtf8,
}

impl Violation {
    /// The code to close with.
    pub const fn close_code(self) -> u16 {
        match self {
            Self::TooBig => close_code::TOO_BIG,
            Self::TextNotUtf8 | Self::CloseReasonNotUtf8 | Self::NotDeflated => close_code::INCONSISTENT_DATA,
            Self::ReservedBits
            | Self::UnknownOpcode(_)
            | Self::FragmentedControl
            | Self::LongControl
            | Self::Unmasked
            | Self::Masked
            | Self::LengthNotMinimal
            | Self::LengthTopBit
            | Self::NothingToContinue
            | Self::NotContinued
            | Self::CloseCodeCut
            | Self::CloseCode(_) => close_code::PROTOCOL_ERROR,
        }
    }

    /// The plain close frame that tells the peer.
    pub fn close(self) -> Bytes {
        outgoing::close(self.close_code(), &self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_that_may_travel_is_taken_and_no_other() {
        for code in 0..=u16::MAX {
            let lawful = match code {
                0..=999 => false,
                // For local use: no code (1005), no close frame (1006), TLS failed (1015).
                1004 | 1005 | 1006 | 1015 => false,
                1000..=1014 => true,
                1016..=2999 => false,
                3000..=4999 => true,
                5000..=u16::MAX => false,
            };
            let close = Close::parse(&code.to_be_bytes()).map(|close| close.code);
            let expected = if lawful { Ok(Some(code)) } else { Err(Violation::CloseCode(code)) };
            assert_eq!(close, expected);
        }
    }

    #[test]
    fn a_close_payload_is_nothing_or_a_code_and_a_utf8_reason() {
        assert_eq!(Close::parse(&[]), Ok(Close { code: None, reason: "" }));
        assert_eq!(Close::parse(&[3]), Err(Violation::CloseCodeCut));
        assert_eq!(
            Close::parse(b"\x03\xe8going, caf\xc3\xa9"),
            Ok(Close { code: Some(1000), reason: "going, caf\u{e9}" })
        );
        assert_eq!(Close::parse(b"\x03\xe8caf\xc3"), Err(Violation::CloseReasonNotUtf8));
    }

    #[test]
    fn a_reply_echoes_the_code_and_not_the_reason() {
        let code = Close { code: Some(4100), reason: "over capacity" };
        assert_eq!(code.reply_payload(), 4100_u16.to_be_bytes());
        let silent = Close { code: None, reason: "" };
        assert!(silent.reply_payload().is_empty());
    }

    #[test]
    fn a_violation_is_told_with_its_code_and_its_whole_sentence() {
        for violation in [
            Violation::ReservedBits,
            Violation::UnknownOpcode(0xf),
            Violation::FragmentedControl,
            Violation::LongControl,
            Violation::Unmasked,
            Violation::Masked,
            Violation::LengthNotMinimal,
            Violation::LengthTopBit,
            Violation::TooBig,
            Violation::NothingToContinue,
            Violation::NotContinued,
            Violation::TextNotUtf8,
            Violation::CloseCodeCut,
            Violation::CloseCode(u16::MAX),
            Violation::CloseReasonNotUtf8,
        ] {
            let frame = violation.close();
            let told = Close::parse(&frame[2..]).expect("our own close frame is lawful");
            assert_eq!(told.code, Some(violation.close_code()));
            assert_eq!(told.reason, violation.to_string());
        }
    }
}
