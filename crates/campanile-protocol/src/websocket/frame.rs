//! One frame: its header, and the mask over its payload.
//!
//! Owns the bit layout of RFC 6455, section 5.2, and every rule that a header alone can break.
//!
//! Never looks past the frame: fragments, text and close payloads are judged elsewhere.
//!
//! Keep in mind: a header is refused at the first byte that cannot be right, before the rest of it
//! has arrived, and always for the same reason. So no verdict depends on how reads were cut.
//!
//! Read next: `incoming.rs`, which feeds headers and payloads through here.

use super::Violation;

/// A control frame's payload may not be longer (RFC 6455, section 5.5).
pub const CONTROL_PAYLOAD_MAX: usize = 125;

/// The longest header: two bytes, a 64-bit length and a mask key.
pub(super) const HEADER_BYTES_MAX: usize = 14;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
/// RSV1: the message that begins here is compressed (RFC 7692, section 6).
pub(super) const COMPRESSED: u8 = 0x40;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;
const LENGTH: u8 = 0x7f;
const LENGTH_IS_16_BITS: u8 = 126;
const LENGTH_IS_64_BITS: u8 = 127;
const MASK_KEY_BYTES: usize = 4;

/// Which end of the connection we are. It decides whether the peer must mask its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We accepted the connection: the peer must mask, we must not.
    Server,
    /// We opened the connection: the peer must not mask, we must.
    Client,
}

/// What a frame is for (RFC 6455, section 11.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opcode {
    /// The next fragment of the message that is open.
    Continuation,
    /// A UTF-8 message, or its first fragment.
    Text,
    /// A message of any bytes, or its first fragment.
    Binary,
    /// The last frame of this direction.
    Close,
    /// Asks for a pong with the same payload.
    Ping,
    /// Answers a ping, or is a heartbeat of its own.
    Pong,
}

impl Opcode {
    /// The four bits on the wire.
    pub const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0x0,
            Self::Text => 0x1,
            Self::Binary => 0x2,
            Self::Close => 0x8,
            Self::Ping => 0x9,
            Self::Pong => 0xa,
        }
    }

    /// The opcode with these four bits, unless RFC 6455 keeps them in reserve.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0x0 => Self::Continuation,
            0x1 => Self::Text,
            0x2 => Self::Binary,
            0x8 => Self::Close,
            0x9 => Self::Ping,
            0xa => Self::Pong,
            _ => return None,
        })
    }

    /// Close, ping and pong: never fragmented, never long, welcome among the fragments of others.
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// What decides whether a frame may come now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected {
    /// Which end we are.
    pub(super) role: Role,
    /// Whether the fragments of a message are arriving.
    pub(super) is_open: bool,
    /// The most bytes that a data frame may carry.
    pub(super) payload_max: usize,
    /// Whether messages may be compressed.
    pub(super) compression: bool,
}

/// A frame's header. One that exists may come now and announces a payload that we take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Whether this is the last frame of its message.
    pub(super) fin: bool,
    /// What the frame is for.
    pub(super) opcode: Opcode,
    /// Whether the message that begins here is compressed.
    pub(super) compressed: bool,
    /// The key to apply to the payload, if the peer is a client.
    pub(super) mask: Option<[u8; 4]>,
    /// The bytes of payload that follow the header.
    pub(super) payload_len: usize,
    /// The bytes of the header itself.
    pub(super) size: usize,
}

/// How far the bytes at hand get us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing wrong yet, but the header needs at least this many bytes in all.
    Incomplete {
        /// Counted from the start of the frame; always more than were given.
        needed: usize,
    },
    /// The header is whole. The payload may still be on its way.
    Whole(Header),
}

impl Header {
    /// Reads the header at the start of `bytes`. A length that is too great is refused as soon as it
    /// is readable.
    pub(super) fn parse(bytes: &[u8], expected: Expected) -> Result<Step, Violation> {
        let Some(&first) = bytes.first() else {
            return Ok(Step::Incomplete { needed: 2 });
        };
        // One bit for a message, at its beginning: control frames and continuations never have it.
        let may_be_compressed =
            expected.compression && [Opcode::Text.bits(), Opcode::Binary.bits()].contains(&(first & OPCODE));
        let compressed = first & COMPRESSED != 0;
        if first & (RESERVED & !COMPRESSED) != 0 || (compressed && !may_be_compressed) {
            return Err(Violation::ReservedBits);
        }
        let opcode = Opcode::from_bits(first & OPCODE).ok_or(Violation::UnknownOpcode(first & OPCODE))?;
        let fin = first & FIN != 0;
        if opcode.is_control() && !fin {
            return Err(Violation::FragmentedControl);
        }
        match (opcode, expected.is_open) {
            (Opcode::Continuation, false) => return Err(Violation::NothingToContinue),
            (Opcode::Text | Opcode::Binary, true) => return Err(Violation::NotContinued),
            _ => {}
        }

        let Some(&second) = bytes.get(1) else {
            return Ok(Step::Incomplete { needed: 2 });
        };
        let masked = second & MASKED != 0;
        match (expected.role, masked) {
            (Role::Server, false) => return Err(Violation::Unmasked),
            (Role::Client, true) => return Err(Violation::Masked),
            (Role::Server, true) | (Role::Client, false) => {}
        }
        let short = second & LENGTH;
        if opcode.is_control() && usize::from(short) > CONTROL_PAYLOAD_MAX {
            return Err(Violation::LongControl);
        }

        let mask_at = match short {
            LENGTH_IS_16_BITS => 4,
            LENGTH_IS_64_BITS => 10,
            _ => 2,
        };
        let size = if masked { mask_at + MASK_KEY_BYTES } else { mask_at };
        let length = match short {
            LENGTH_IS_16_BITS => bytes[2..].first_chunk().map(|be| u64::from(u16::from_be_bytes(*be))),
            LENGTH_IS_64_BITS => bytes[2..].first_chunk().map(|be| u64::from_be_bytes(*be)),
            _ => Some(u64::from(short)),
        };
        let Some(length) = length else {
            return Ok(Step::Incomplete { needed: size });
        };
        let payload_len = checked_length(length, short, opcode, expected.payload_max)?;

        let mask = match bytes.get(mask_at..).and_then(<[u8]>::first_chunk) {
            _ if !masked => None,
            Some(key) => Some(*key),
            None => return Ok(Step::Incomplete { needed: size }),
        };
        Ok(Step::Whole(Self { fin, opcode, compressed, mask, payload_len, size }))
    }
}

fn checked_length(length: u64, short: u8, opcode: Opcode, payload_max: usize) -> Result<usize, Violation> {
    if length >> 63 != 0 {
        return Err(Violation::LengthTopBit);
    }
    let needless = match short {
        LENGTH_IS_16_BITS => length < u64::from(LENGTH_IS_16_BITS),
        LENGTH_IS_64_BITS => length <= u64::from(u16::MAX),
        _ => false,
    };
    if needless {
        return Err(Violation::LengthNotMinimal);
    }
    // Control frames have their own bound, and may come between fragments that fill the message.
    match usize::try_from(length) {
        Ok(length) if opcode.is_control() || length <= payload_max => Ok(length),
        _ => Err(Violation::TooBig),
    }
}

/// Masks or unmasks in place: the operation is its own inverse.
pub fn apply_mask(bytes: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    // Eight at a time, in a shape that the compiler turns into vector instructions.
    let (words, tail) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in tail.iter_mut().zip(wide.to_ne_bytes()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    fn parse(bytes: &[u8], role: Role, payload_max: usize) -> Result<Step, Violation> {
        let is_open = false;
        Header::parse(bytes, Expected { role, is_open, payload_max, compression: false })
    }

    fn parse_plain(bytes: &[u8]) -> Result<Step, Violation> {
        parse(bytes, Role::Client, 100_000)
    }

    #[test]
    fn an_incomplete_header_says_how_long_it_will_be() {
        let needed = |bytes: &[u8]| match parse(bytes, Role::Server, 100_000) {
            Ok(Step::Incomplete { needed }) => needed,
            other => panic!("expected an incomplete header, got {other:?}"),
        };
        assert_eq!(needed(&[]), 2);
        assert_eq!(needed(&[0x81]), 2);
        assert_eq!(needed(&[0x81, 0x85]), 6);
        assert_eq!(needed(&[0x81, 0x85, 1, 2, 3]), 6);
        assert_eq!(needed(&[0x81, 0xfe, 1]), 8);
        assert_eq!(needed(&[0x81, 0xff, 0, 0, 0, 0, 0, 1, 0]), 14);
        assert_eq!(needed(&[0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 9, 9, 9]), 14);
    }

    #[test]
    fn a_length_is_read_at_each_width() {
        for (header, payload_len) in [
            (&[0x82, 0][..], 0),
            (&[0x82, 125], 125),
            (&[0x82, 126, 0, 126], 126),
            (&[0x82, 126, 0xff, 0xff], 65_535),
            (&[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0], 65_536),
        ] {
            let whole = Header {
                fin: true,
                opcode: Opcode::Binary,
                compressed: false,
                mask: None,
                payload_len,
                size: header.len(),
            };
            assert_eq!(parse_plain(header), Ok(Step::Whole(whole)));
        }
    }

    #[test]
    fn a_length_wider_than_it_need_be_is_refused() {
        let refused = Err(Violation::LengthNotMinimal);
        assert_eq!(parse_plain(&[0x82, 126, 0, 0]), refused);
        assert_eq!(parse_plain(&[0x82, 126, 0, 125]), refused);
        assert_eq!(parse_plain(&[0x82, 127, 0, 0, 0, 0, 0, 0, 0, 5]), refused);
        assert_eq!(parse_plain(&[0x82, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff]), refused);
    }

    #[test]
    fn a_length_with_its_top_bit_set_is_refused_as_malformed_not_as_too_big() {
        let header = [0x82, 127, 0x80, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(parse_plain(&header), Err(Violation::LengthTopBit));
    }

    #[test]
    fn a_payload_at_the_bound_is_taken_and_one_byte_more_is_refused_before_its_mask_arrives() {
        let parse = |bytes: &[u8], payload_max| parse(bytes, Role::Server, payload_max);
        for (header, len) in [
            (&[0x81, 0x80 | 100][..], 100),
            (&[0x81, 0xfe, 1, 0], 256),
            (&[0x81, 0xff, 0, 0, 0, 0, 0, 1, 0, 0], 65_536),
        ] {
            let needed = header.len() + MASK_KEY_BYTES;
            assert_eq!(parse(header, len), Ok(Step::Incomplete { needed }));
            assert_eq!(parse(header, len - 1), Err(Violation::TooBig));
        }
        let longest = [0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(parse(&longest, 65_536), Err(Violation::TooBig));
    }

    #[test]
    fn a_control_frame_is_bounded_by_its_own_limit_alone() {
        for opcode in [0x88, 0x89, 0x8a] {
            let whole = parse(&[opcode, 125], Role::Client, 0);
            assert!(matches!(whole, Ok(Step::Whole(Header { payload_len: 125, .. }))));
            assert_eq!(parse_plain(&[opcode, 126]), Err(Violation::LongControl));
            assert_eq!(parse_plain(&[opcode, 127]), Err(Violation::LongControl));
        }
    }

    #[test]
    fn the_first_byte_alone_is_enough_to_refuse_it() {
        for bit in [0x40, 0x20, 0x10] {
            assert_eq!(parse_plain(&[0x81 | bit]), Err(Violation::ReservedBits));
        }
        for opcode in (0x3..=0x7).chain(0xb..=0xf) {
            assert_eq!(parse_plain(&[0x80 | opcode]), Err(Violation::UnknownOpcode(opcode)));
        }
        for opcode in 0x8..=0xa {
            assert_eq!(parse_plain(&[opcode]), Err(Violation::FragmentedControl));
        }
    }

    #[test]
    fn where_compression_is_agreed_on_the_first_frame_of_a_message_may_say_that_it_is_used() {
        let first_byte = |byte, is_open, compression| {
            Header::parse(&[byte], Expected { role: Role::Client, is_open, payload_max: 0, compression })
        };
        let (lawful, refused) = (Ok(Step::Incomplete { needed: 2 }), Err(Violation::ReservedBits));
        for fin in [0, FIN] {
            for data in [0x1, 0x2] {
                assert_eq!(first_byte(fin | COMPRESSED | data, false, true), lawful);
                assert_eq!(first_byte(fin | COMPRESSED | data, false, false), refused);
                for other in [0x20, 0x10] {
                    assert_eq!(first_byte(fin | COMPRESSED | other | data, false, true), refused);
                }
            }
            assert_eq!(first_byte(fin | COMPRESSED, true, true), refused, "a continuation");
        }
        for control in 0x8..=0xa {
            assert_eq!(first_byte(FIN | COMPRESSED | control, false, true), refused);
        }
    }

    #[test]
    fn an_open_message_takes_only_its_continuation_and_control_frames() {
        let first_byte = |opcode: u8, is_open| {
            let expected = Expected { role: Role::Client, is_open, payload_max: 0, compression: false };
            Header::parse(&[0x80 | opcode], expected)
        };
        let lawful = Ok(Step::Incomplete { needed: 2 });
        assert_eq!(first_byte(0x0, true), lawful);
        assert_eq!(first_byte(0x0, false), Err(Violation::NothingToContinue));
        for data in 0x1..=0x2 {
            assert_eq!(first_byte(data, true), Err(Violation::NotContinued));
            assert_eq!(first_byte(data, false), lawful);
        }
        for control in 0x8..=0xa {
            assert_eq!(first_byte(control, true), lawful);
            assert_eq!(first_byte(control, false), lawful);
        }
    }

    #[test]
    fn a_server_takes_only_masked_frames_and_a_client_only_plain_ones() {
        assert_eq!(parse(&[0x81, 0], Role::Server, 9), Err(Violation::Unmasked));
        assert_eq!(parse(&[0x81, 0x80], Role::Client, 9), Err(Violation::Masked));
    }

    #[test]
    fn opcodes_survive_the_wire() {
        for bits in 0..=OPCODE {
            if let Some(opcode) = Opcode::from_bits(bits) {
                assert_eq!(opcode.bits(), bits);
            }
        }
    }

    proptest! {
        #[test]
        fn masking_is_the_xor_of_each_byte_with_its_key_byte(
            payload in proptest::collection::vec(any::<u8>(), 0..100),
            start in 0_usize..9,
            key: [u8; 4],
        ) {
            let start = start.min(payload.len());
            let expected: Vec<u8> = payload[start..].iter().zip(key.iter().cycle()).map(|(b, k)| b ^ k).collect();
            let mut masked = payload;
            apply_mask(&mut masked[start..], key);
            prop_assert_eq!(&masked[start..], expected);
        }

        #[test]
        fn masking_twice_gives_the_payload_back(payload: Vec<u8>, key: [u8; 4]) {
            let mut twice = payload.clone();
            apply_mask(&mut twice, key);
            apply_mask(&mut twice, key);
            prop_assert_eq!(twice, payload);
        }

        #[test]
        fn a_verdict_on_a_header_never_changes_as_more_of_it_arrives(
            bytes in proptest::collection::vec(any::<u8>(), HEADER_BYTES_MAX),
            server: bool,
            is_open: bool,
            compression: bool,
            payload_max in 0_usize..200_000,
        ) {
            let role = if server { Role::Server } else { Role::Client };
            let expected = Expected { role, is_open, payload_max, compression };
            let verdict = Header::parse(&bytes, expected);
            for cut in 0..bytes.len() {
                match Header::parse(&bytes[..cut], expected) {
                    Ok(Step::Incomplete { needed }) => prop_assert!(needed > cut && needed <= HEADER_BYTES_MAX),
                    decided => prop_assert_eq!(decided, verdict),
                }
            }
        }
    }

    #[test]
    fn the_mask_key_is_read_after_the_length() {
        let header = [&[0x81, 0x85][..], &KEY].concat();
        let Ok(Step::Whole(header)) = parse(&header, Role::Server, 5) else {
            panic!("the header is whole");
        };
        assert_eq!((header.mask, header.size), (Some(KEY), 6));
    }
}
