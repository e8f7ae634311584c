//! Messages compressed and inflated, each by itself (RFC 7692, section 7.2).
//!
//! Owns the two ends of DEFLATE and their scratch, and the bounds on both.
//!
//! Never keeps anything of one message for the next, so one of each serves all connections of a worker.
//!
//! Keep in mind: nobody inflates more than was allowed, however small it came; and nothing is sent compressed that would
//! not be smaller so.
//!
//! Read next: `incoming.rs`, which inflates; whoever shares frames compresses.

use std::fmt;

use bytes::Bytes;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::Violation;
use super::frame::{COMPRESSED, Opcode};
use super::outgoing::header;

/// Messages of fewer bytes are not compressed: it takes nearly as long as for one of twice the size, and saves little.
pub const DEFLATED_PAYLOAD_BYTES_MIN: usize = 512;

/// The window in which repetitions are looked for, as the logarithm of its bytes: 4 KiB. A larger one makes messages of
/// 10 KB smaller by one part in a hundred, and this one lets clients keep 4 KiB for it instead of 32.
pub const DEFLATE_WINDOW_BITS: u8 = 12;

/// The lowest that gives a message codes of its own. The one below takes a third of the time and leaves a quarter more
/// bytes; those above take longer and win a few parts in a hundred.
const LEVEL: Compression = Compression::new(2);

/// The window that a client may use.
const INFLATE_WINDOW_BITS: u8 = 15;

/// So many blocks of one message may be marked as its last; real senders write one, if that. For what follows each, the
/// window is copied, so the two bytes of an empty one cost what some hundred others do.
pub const LAST_BLOCKS_MAX: usize = 16;

/// How far back DEFLATE can refer.
const WINDOW_BYTES: usize = 1 << INFLATE_WINDOW_BITS;

/// What a sender has cut off the end of a message, and then a last, empty block. That is found only if all before it
/// were whole.
const TAIL: [u8; 6] = [0x00, 0x00, 0xff, 0xff, 0x03, 0x00];

/// What [`Deflater::frame`] cuts off.
const CUT: usize = 4;

/// The first room for a message, and the largest that is kept for the next one.
const SCRATCH_BYTES_MIN: usize = 4 * 1024;
const SCRATCH_BYTES_KEPT: usize = 64 * 1024;

/// Compresses frames for those who have agreed on it. Takes its memory, about 260 KiB, with the first.
#[derive(Default)]
pub struct Deflater {
    compress: Option<Compress>,
    scratch: Vec<u8>,
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater").finish_non_exhaustive()
    }
}

/// Nothing is kept between messages, so a new one is as good.
impl Clone for Deflater {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Deflater {
    /// The same message as in this plain frame of ours, compressed. `None`: it is too short, or would not be smaller, or
    /// is not a message.
    pub fn frame(&mut self, plain: &[u8]) -> Option<Bytes> {
        let (opcode, payload) = message(plain)?;
        if payload.len() < DEFLATED_PAYLOAD_BYTES_MIN {
            return None;
        }
        let scratch = cleared(&mut self.scratch);
        // What does not fit is not worth it.
        scratch.reserve_exact(payload.len());
        let compress =
            self.compress.get_or_insert_with(|| Compress::new_with_window_bits(LEVEL, false, DEFLATE_WINDOW_BITS));
        compress.reset();
        compress.compress_vec(payload, scratch, FlushCompress::Sync).ok()?;
        if compress.total_in() != payload.len() as u64 || scratch.len() == scratch.capacity() {
            return None;
        }
        let compressed = &scratch[..scratch.len().checked_sub(CUT)?];
        let (mut header, size) = header(opcode, compressed.len());
        header[0] |= COMPRESSED;
        (size + compressed.len() < plain.len()).then(|| [&header[..size], compressed].concat().into())
    }
}

/// What a plain, unmasked, final frame carries.
fn message(frame: &[u8]) -> Option<(Opcode, &[u8])> {
    let (&[first, length], _) = frame.split_first_chunk()?;
    let opcode = [Opcode::Text, Opcode::Binary].into_iter().find(|opcode| first == 0x80 | opcode.bits())?;
    let header = match length {
        0..=125 => 2,
        126 => 4,
        _ => 10,
    };
    Some((opcode, frame.get(header..)?))
}

/// Inflates what clients have compressed. Takes its memory with the first message: about 50 KiB, and room for as much as
/// a message may have.
#[derive(Default)]
pub struct Inflater {
    decompress: Option<Decompress>,
    scratch: Vec<u8>,
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater").finish_non_exhaustive()
    }
}

impl Inflater {
    /// The message whose frames together carried these bytes. One of more than `message_max` is given up as soon as
    /// that is known.
    pub(super) fn inflate(&mut self, compressed: &[u8], message_max: usize) -> Result<&[u8], Violation> {
        let inflated = cleared(&mut self.scratch);
        let decompress =
            self.decompress.get_or_insert_with(|| Decompress::new_with_window_bits(false, INFLATE_WINDOW_BITS));
        decompress.reset(false);
        let (mut rest, mut tail, mut last_blocks) = (compressed, &TAIL[..], 0);
        loop {
            if rest.is_empty() {
                rest = std::mem::take(&mut tail);
            }
            if inflated.len() == inflated.capacity() {
                let room = inflated.len().max(SCRATCH_BYTES_MIN).min(message_max.saturating_add(1) - inflated.len());
                inflated.reserve_exact(room);
            }
            let (taken, given) = (decompress.total_in(), inflated.len());
            let status =
                decompress.decompress_vec(rest, inflated, FlushDecompress::None).map_err(|_| Violation::NotDeflated)?;
            if inflated.len() > message_max {
                return Err(Violation::TooBig);
            }
            let taken = usize::try_from(decompress.total_in() - taken).map_err(|_| Violation::NotDeflated)?;
            rest = &rest[taken..];
            match status {
                Status::StreamEnd if rest.is_empty() && tail.is_empty() => return Ok(inflated),
                // A sender may mark a block as its last and go on; what follows may refer to what came before.
                Status::StreamEnd => {
                    last_blocks += 1;
                    if last_blocks > LAST_BLOCKS_MAX {
                        return Err(Violation::NotDeflated);
                    }
                    decompress.reset(false);
                    let window = &inflated[inflated.len().saturating_sub(WINDOW_BYTES)..];
                    decompress.set_dictionary(window).map_err(|_| Violation::NotDeflated)?;
                }
                // All was there, and its end was not.
                _ if taken == 0 && inflated.len() == given => return Err(Violation::NotDeflated),
                Status::Ok | Status::BufError => {}
            }
        }
    }
}

/// Empty, and without the room that only a large message has needed.
fn cleared(scratch: &mut Vec<u8>) -> &mut Vec<u8> {
    scratch.clear();
    scratch.shrink_to(SCRATCH_BYTES_KEPT);
    scratch
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::websocket::encode;

    /// What a compressed frame of ours carries.
    fn payload(frame: &[u8]) -> &[u8] {
        let plain = [&[frame[0] & !COMPRESSED], &frame[1..]].concat();
        let (_, compressed) = message(&plain).unwrap();
        &frame[frame.len() - compressed.len()..]
    }

    fn inflated(compressed: &[u8], message_max: usize) -> Result<Vec<u8>, Violation> {
        Inflater::default().inflate(compressed, message_max).map(<[u8]>::to_vec)
    }

    /// Hard to compress, however it is looked at.
    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn a_message_at_the_bound_is_compressed_and_a_shorter_one_is_not() {
        let mut deflater = Deflater::default();
        let frame = |length| encode(Opcode::Text, "x".repeat(length).as_bytes());
        assert_eq!(deflater.frame(&frame(DEFLATED_PAYLOAD_BYTES_MIN - 1)), None);
        let compressed = deflater.frame(&frame(DEFLATED_PAYLOAD_BYTES_MIN)).unwrap();
        assert_eq!(compressed[0], 0xc1);
        assert_eq!(inflated(payload(&compressed), 1000), Ok(vec![b'x'; DEFLATED_PAYLOAD_BYTES_MIN]));
    }

    #[test]
    fn what_would_not_be_smaller_and_what_is_no_message_stays_as_it_is() {
        let mut deflater = Deflater::default();
        for length in [512, 1000, 70_000] {
            assert_eq!(deflater.frame(&encode(Opcode::Binary, &noise(length))), None);
        }
        let text = [b'x'; 600];
        for first in [0x01, 0x00, 0x80, 0x88, 0x89, 0x8a, 0xc1] {
            let mut frame = encode(Opcode::Text, &text).to_vec();
            frame[0] = first;
            assert_eq!(deflater.frame(&frame), None, "{first:x}");
        }
        for cut in [&[][..], &[0x81], &[0x81, 126], &[0x81, 127, 0]] {
            assert_eq!(deflater.frame(cut), None);
        }
    }

    #[test]
    fn messages_know_nothing_of_each_other_and_need_no_larger_window_than_was_said() {
        let (mut deflater, long) = (Deflater::default(), noise(5000));
        let twice = [&long[..], &long].concat();
        let mut distances_within_the_window = [&long[..2000], &long[..2000]].concat();
        distances_within_the_window.extend_from_slice(&long[..2000]);
        assert_eq!(deflater.frame(&encode(Opcode::Binary, &twice)), None, "it repeats itself too far back");
        let once = deflater.frame(&encode(Opcode::Binary, &distances_within_the_window)).unwrap();
        let again = deflater.frame(&encode(Opcode::Binary, &distances_within_the_window));
        assert_eq!(again, Some(once.clone()));
        assert_eq!(deflater.clone().frame(&encode(Opcode::Binary, &distances_within_the_window)), Some(once));
    }

    #[test]
    fn a_message_of_the_most_bytes_is_inflated_and_one_byte_more_is_given_up() {
        for length in [600, SCRATCH_BYTES_MIN, SCRATCH_BYTES_KEPT + 1, 1_000_000] {
            let frame = Deflater::default().frame(&encode(Opcode::Text, &vec![b'x'; length])).unwrap();
            assert_eq!(inflated(payload(&frame), length).map(|text| text.len()), Ok(length));
            assert_eq!(inflated(payload(&frame), length - 1), Err(Violation::TooBig));
        }
    }

    #[test]
    fn a_bomb_takes_no_more_room_than_a_message_may_and_leaves_little() {
        const MESSAGE_MAX: usize = 300_000;
        let bomb = Deflater::default().frame(&encode(Opcode::Binary, &vec![0; 64 << 20])).unwrap();
        let mut inflater = Inflater::default();
        assert_eq!(inflater.inflate(payload(&bomb), MESSAGE_MAX), Err(Violation::TooBig));
        assert_eq!(inflater.scratch.capacity(), MESSAGE_MAX + 1);
        assert_eq!(inflater.inflate(b"\xf2\x48\xcd\xc9\xc9\x07\x00", MESSAGE_MAX), Ok(&b"Hello"[..]));
        assert!(inflater.scratch.capacity() <= SCRATCH_BYTES_KEPT);
    }

    #[test]
    fn a_large_message_leaves_the_deflater_no_larger() {
        let mut deflater = Deflater::default();
        assert!(deflater.frame(&encode(Opcode::Text, &vec![b'x'; 1_000_000])).is_some());
        assert_eq!(deflater.frame(&encode(Opcode::Text, &noise(600))), None);
        assert!(deflater.scratch.capacity() <= SCRATCH_BYTES_KEPT);
    }

    #[test]
    fn what_follows_a_last_block_may_refer_to_what_came_before_it() {
        // "Hello" in a block marked as the last, then a reference to it in another, as in RFC 7692, section 7.2.3.
        let both = [&b"\xf3\x48\xcd\xc9\xc9\x07\x00"[..], b"\xf2\x00\x11\x00\x00"].concat();
        assert_eq!(inflated(&both, 100), Ok(b"HelloHello".to_vec()));
        // Without it, there is nothing to refer to.
        assert_eq!(inflated(b"\xf2\x00\x11\x00\x00", 100), Err(Violation::NotDeflated));
    }

    #[test]
    fn as_many_blocks_as_the_bound_may_be_marked_as_the_last_and_one_more_is_refused() {
        // Empty blocks, each marked as the last; then the empty one whose tail the sender has cut off.
        let message = |last_blocks| [&b"\x03\x00".repeat(last_blocks)[..], b"\x00"].concat();
        assert_eq!(inflated(&message(LAST_BLOCKS_MAX), 100), Ok(Vec::new()));
        assert_eq!(inflated(&message(LAST_BLOCKS_MAX + 1), 100), Err(Violation::NotDeflated));
    }

    #[test]
    fn a_message_that_is_cut_short_is_refused_wherever_it_is_cut() {
        let text: Vec<u8> = (0..2000).flat_map(|number: u32| number.to_string().into_bytes()).collect();
        let frame = Deflater::default().frame(&encode(Opcode::Text, &text)).unwrap();
        let whole = payload(&frame);
        assert_eq!(inflated(whole, 10_000), Ok(text));
        for cut in 0..whole.len() {
            assert_eq!(inflated(&whole[..cut], 10_000), Err(Violation::NotDeflated), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_compressed_comes_back(
            repeated in proptest::collection::vec(any::<u8>(), 1..300),
            times in 1_usize..40,
        ) {
            let plain = repeated.repeat(times);
            if let Some(frame) = Deflater::default().frame(&encode(Opcode::Binary, &plain)) {
                prop_assert!(frame.len() < plain.len());
                prop_assert_eq!(inflated(payload(&frame), plain.len()), Ok(plain));
            }
        }

        #[test]
        fn any_bytes_are_inflated_or_refused_and_one_does_not_change_the_next(bytes: Vec<u8>, message_max in 0_usize..300) {
            let mut inflater = Inflater::default();
            let first = inflater.inflate(&bytes, message_max).map(<[u8]>::to_vec);
            prop_assert!(first.as_ref().is_ok_and(|inflated| inflated.len() <= message_max) || first.is_err());
            prop_assert_eq!(inflater.inflate(&bytes, message_max).map(<[u8]>::to_vec), first);
        }
    }
}
