//! A message that arrives in pieces: fragments, or one frame over several reads.
//!
//! Owns the pieces so far and, for text, the proof that they are UTF-8.
//!
//! Never bounds itself: the caller refuses a frame that would not fit before any of it gets here.
//!
//! Keep in mind: text is proved as it comes. A piece is refused at the first byte that no
//! continuation can make right. What is compressed is only collected, and proved when it is whole.
//!
//! Read next: `incoming.rs`, which opens, feeds and finishes a message.

use super::frame::{Header, Opcode};
use super::incoming::Reading;
use super::{Received, Violation};

#[derive(Debug)]
pub(super) enum Assembly {
    Text(TextSoFar),
    Binary(Vec<u8>),
    /// To be inflated when it is whole.
    Compressed(Opcode, Vec<u8>),
}

impl Assembly {
    /// An empty message that begins with this frame.
    pub(super) fn open(first: Header) -> Self {
        match first.opcode {
            opcode if first.compressed => Self::Compressed(opcode, Vec::new()),
            Opcode::Text => Self::Text(TextSoFar::default()),
            _ => Self::Binary(Vec::new()),
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.whole.len() + text.cut.len(),
            Self::Binary(bytes) | Self::Compressed(_, bytes) => bytes.len(),
        }
    }

    pub(super) fn push(&mut self, piece: &[u8]) -> Result<(), Violation> {
        match self {
            Self::Text(text) => text.push(piece),
            Self::Binary(bytes) | Self::Compressed(_, bytes) => {
                bytes.extend_from_slice(piece);
                Ok(())
            }
        }
    }

    /// The whole message, unless its text ends within a character or it cannot be inflated.
    pub(super) fn finish<'a>(&'a self, reading: &'a mut Reading<'_>) -> Result<Received<'a>, Violation> {
        match self {
            Self::Text(text) if text.cut.is_empty() => Ok(Received::Text(&text.whole)),
            Self::Text(_) => Err(Violation::TextNotUtf8),
            Self::Binary(bytes) => Ok(Received::Binary(bytes)),
            Self::Compressed(opcode, bytes) => reading.inflate(*opcode, bytes),
        }
    }
}

/// Text up to its last whole character, and the start of a character that a piece's end cut.
#[derive(Debug, Default)]
pub(super) struct TextSoFar {
    whole: String,
    cut: CutCharacter,
}

impl TextSoFar {
    fn push(&mut self, mut piece: &[u8]) -> Result<(), Violation> {
        while !self.cut.is_empty() {
            let Some((&byte, rest)) = piece.split_first() else {
                return Ok(());
            };
            piece = rest;
            self.cut.push(byte);
            match str::from_utf8(self.cut.bytes()) {
                Ok(character) => {
                    self.whole.push_str(character);
                    self.cut = CutCharacter::default();
                }
                Err(error) if error.error_len().is_none() => {}
                Err(_) => return Err(Violation::TextNotUtf8),
            }
        }

        let (whole, rest) = match str::from_utf8(piece) {
            Ok(whole) => (whole, &[][..]),
            // No length of error: the piece ends within a character, which may yet come right.
            Err(error) if error.error_len().is_none() => {
                let (whole, cut) = piece.split_at(error.valid_up_to());
                (str::from_utf8(whole).map_err(|_| Violation::TextNotUtf8)?, cut)
            }
            Err(_) => return Err(Violation::TextNotUtf8),
        };
        self.whole.push_str(whole);
        for &byte in rest {
            self.cut.push(byte);
        }
        Ok(())
    }
}

/// The first bytes of one character: at most three, or four while it is being completed.
#[derive(Debug, Default)]
struct CutCharacter {
    bytes: [u8; char::MAX_LEN_UTF8],
    len: u8,
}

impl CutCharacter {
    fn push(&mut self, byte: u8) {
        // In bounds: four bytes are a whole character or wrong, and either way end the cut.
        self.bytes[usize::from(self.len)] = byte;
        self.len += 1;
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len()]
    }

    fn len(&self) -> usize {
        usize::from(self.len)
    }

    fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::websocket::{Role, Rules};

    const RULES: Rules = Rules { role: Role::Client, message_max: 100 };

    fn open() -> Assembly {
        let (fin, opcode, compressed, mask, payload_len, size) = (false, Opcode::Text, false, None, 0, 2);
        Assembly::open(Header { fin, opcode, compressed, mask, payload_len, size })
    }

    fn finish(text: &Assembly) -> Result<String, Violation> {
        text.finish(&mut Reading { rules: RULES, inflater: None }).map(|received| format!("{received:?}"))
    }

    /// How many bytes, given one at a time, are taken before one is refused.
    fn taken(bytes: &[u8]) -> usize {
        let mut text = open();
        bytes.iter().take_while(|byte| text.push(std::slice::from_ref(byte)).is_ok()).count()
    }

    #[test]
    fn text_is_refused_at_the_first_byte_that_cannot_come_right() {
        for (bytes, good) in [
            (&b"\xce\xba\xe1\xbd\xb9"[..], 5),
            (b"a\x80", 1),            // a continuation byte that continues nothing
            (b"\xc0\xaf", 0),         // two bytes for what one can say
            (b"\xe0\x9f\xbf", 1),     // three bytes for what two can say
            (b"\xf0\x8f\xbf\xbf", 1), // four bytes for what three can say
            (b"\xed\x9f\xbf", 3),     // the last before the surrogates
            (b"\xed\xa0\x80", 1),     // a surrogate
            (b"\xee\x80\x80", 3),     // the first after them
            (b"\xf4\x8f\xbf\xbf", 4), // the last character there is
            (b"\xf4\x90\x80\x80", 1), // one past it
            (b"\xf5", 0),
            (b"\xff", 0),
            (b"\xe2\x82a", 2), // a character left unfinished
        ] {
            assert_eq!(taken(bytes), good, "{bytes:x?}");
        }
    }

    #[test]
    fn text_that_ends_within_a_character_is_refused_at_the_end() {
        let mut text = open();
        assert_eq!(text.push("\u{20ac}".as_bytes().split_at(2).0), Ok(()));
        assert_eq!(text.len(), 2);
        assert_eq!(finish(&text), Err(Violation::TextNotUtf8));
        assert_eq!(text.push(b"\xac"), Ok(()));
        assert_eq!(finish(&text), Ok("Text(\"\u{20ac}\")".to_owned()));
    }

    proptest! {
        #[test]
        fn any_pieces_of_any_bytes_agree_with_the_whole(
            bytes in prop_oneof![
                any::<String>().prop_map(String::into_bytes),
                proptest::collection::vec(prop_oneof![Just(0xf0), Just(0x9f), Just(0x80), Just(0xe2), any::<u8>()], 0..12),
            ],
            size in 1_usize..6,
        ) {
            let mut text = open();
            let pushed = bytes.chunks(size).try_for_each(|piece| text.push(piece));
            let assembled = pushed.and_then(|()| finish(&text));
            match str::from_utf8(&bytes) {
                Ok(whole) => prop_assert_eq!(assembled, Ok(format!("{:?}", Received::Text(whole)))),
                Err(_) => prop_assert_eq!(assembled, Err(Violation::TextNotUtf8)),
            }
        }
    }
}
