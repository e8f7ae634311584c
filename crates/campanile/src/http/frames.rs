//! How many frames an HTTP/2 client may send.
//!
//! Owns the count. Frames that ask for nothing (PING, SETTINGS, RST_STREAM, WINDOW_UPDATE, empty DATA) cost the server
//! work and their sender nothing, and h2 bounds what they hold, not how many they are. So every frame has a price, and what
//! is said to the client pays for what it may say. Never reads a payload. The invariant: a client that is answered pays for
//! its frames with its answers, so only one that asks for less than it sends can run out. Read on in [`super::metered`].

use tokio::time::Instant;

use crate::config::limits::{
    HTTP2_DATA_BYTES_FREE, HTTP2_FRAMES_BURST, HTTP2_FRAMES_PER_ANSWER_FRAME, HTTP2_FRAMES_PER_SEC,
};

const HEAD_BYTES: usize = 9;
/// Kinds of frames.
const DATA: u8 = 0;
const HEADERS: u8 = 1;

/// One connection's frames, in both directions.
#[derive(Debug)]
pub(super) struct Frames {
    heard: Walk,
    said: Walk,
    left: u32,
    counted_at: Instant,
    /// The greatest stream that a frame of headers has named.
    last_stream: u32,
}

/// More frames than the client may send.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooMany;

/// Where in a direction's bytes the frames begin.
#[derive(Debug, Default)]
struct Walk {
    head: [u8; HEAD_BYTES],
    head_length: usize,
    payload_left: usize,
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    kind: u8,
    length: usize,
    stream: u32,
}

impl Frames {
    /// Of a connection whose client will say `preface_bytes` before its first frame.
    pub(super) fn new(preface_bytes: usize, now: Instant) -> Self {
        let heard = Walk { payload_left: preface_bytes, ..Walk::default() };
        Self { heard, said: Walk::default(), left: HTTP2_FRAMES_BURST, counted_at: now, last_stream: 0 }
    }

    /// Counts what the client has said.
    pub(super) fn hear(&mut self, bytes: &[u8], now: Instant) -> Result<(), TooMany> {
        let since =
            now.saturating_duration_since(self.counted_at).as_millis() * u128::from(HTTP2_FRAMES_PER_SEC) / 1000;
        if since > 0 {
            self.counted_at = now;
            self.earn(u32::try_from(since).unwrap_or(u32::MAX));
        }
        let (mut cost, mut last_stream) = (0, self.last_stream);
        self.heard.walk(bytes, |head| {
            if head.kind != DATA || head.length < HTTP2_DATA_BYTES_FREE {
                cost += 1;
            }
            if head.kind == HEADERS {
                last_stream = last_stream.max(head.stream);
            }
        });
        self.left = self.left.checked_sub(cost).ok_or(TooMany)?;
        self.last_stream = last_stream;
        Ok(())
    }

    /// Counts what the client is told.
    pub(super) fn say(&mut self, bytes: &[u8]) {
        let mut answers = 0;
        self.said.walk(bytes, |head| answers += u32::from(matches!(head.kind, DATA | HEADERS)));
        self.earn(answers.saturating_mul(HTTP2_FRAMES_PER_ANSWER_FRAME));
    }

    /// GOAWAY with ENHANCE_YOUR_CALM, if what was said so far has ended where a frame does.
    pub(super) fn goodbye(&self) -> Option<[u8; HEAD_BYTES + 8]> {
        let mut frame = *b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0b";
        frame[HEAD_BYTES..HEAD_BYTES + 4].copy_from_slice(&self.last_stream.to_be_bytes());
        (self.said.head_length == 0 && self.said.payload_left == 0).then_some(frame)
    }

    fn earn(&mut self, frames: u32) {
        self.left = self.left.saturating_add(frames).min(HTTP2_FRAMES_BURST);
    }
}

impl Walk {
    fn walk(&mut self, mut bytes: &[u8], mut each: impl FnMut(Head)) {
        while !bytes.is_empty() {
            let payload = self.payload_left.min(bytes.len());
            self.payload_left -= payload;
            bytes = &bytes[payload..];
            let part = (HEAD_BYTES - self.head_length).min(bytes.len());
            self.head[self.head_length..self.head_length + part].copy_from_slice(&bytes[..part]);
            self.head_length += part;
            bytes = &bytes[part..];
            if self.head_length == HEAD_BYTES {
                let [a, b, c, kind, _, stream @ ..] = self.head;
                let length = u32::from_be_bytes([0, a, b, c]) as usize;
                (self.head_length, self.payload_left) = (0, length);
                each(Head { kind, length, stream: u32::from_be_bytes(stream) & (u32::MAX >> 1) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const PING: u8 = 6;

    fn frame(kind: u8, length: usize, stream: u32) -> Vec<u8> {
        let size = u32::try_from(length).unwrap().to_be_bytes();
        let mut frame = [&size[1..], &[kind, 0], &stream.to_be_bytes()].concat();
        frame.resize(HEAD_BYTES + length, b'x');
        frame
    }

    #[test]
    fn however_the_bytes_are_cut_the_same_frames_are_found() {
        let bytes = [b"PRI".to_vec(), frame(HEADERS, 5, 1), frame(DATA, 0, 1), frame(DATA, 70_000, 1)].concat();
        let expected = [(HEADERS, 5, 1), (DATA, 0, 1), (DATA, 70_000, 1)];
        for size in [1, 2, 8, 9, 10, 1000, bytes.len()] {
            let (mut walk, mut found) = (Walk { payload_left: 3, ..Walk::default() }, Vec::new());
            for part in bytes.chunks(size) {
                walk.walk(part, |head| found.push((head.kind, head.length, head.stream)));
            }
            assert_eq!(found, expected, "{size}");
            assert_eq!((walk.head_length, walk.payload_left), (0, 0));
        }
    }

    #[test]
    fn as_many_frames_as_the_bound_and_one_more_is_too_many() {
        let now = Instant::now();
        for kind in [DATA, HEADERS, 2, 3, 4, PING, 7, 8, 9, 200] {
            let mut frames = Frames::new(0, now);
            let many = frame(kind, 8, 1).repeat(HTTP2_FRAMES_BURST as usize);
            assert_eq!(frames.hear(&many, now), Ok(()));
            assert_eq!(frames.hear(&frame(kind, 8, 1), now), Err(TooMany), "{kind}");
        }
    }

    #[test]
    fn time_and_answers_give_room_for_more_up_to_the_bound() {
        let now = Instant::now();
        let mut frames = Frames::new(0, now);
        let pings = |count: u32| frame(PING, 8, 0).repeat(count as usize);
        frames.hear(&pings(HTTP2_FRAMES_BURST), now).unwrap();
        let later = now + Duration::from_secs(1);
        frames.hear(&pings(HTTP2_FRAMES_PER_SEC), later).unwrap();
        frames.say(&[frame(HEADERS, 30, 1), frame(DATA, 2, 1), frame(PING, 8, 0)].concat());
        frames.hear(&pings(2 * HTTP2_FRAMES_PER_ANSWER_FRAME), later).unwrap();
        assert_eq!(frames.hear(&pings(1), later), Err(TooMany));
        // Silence saves up no more than the bound.
        let much_later = later + Duration::from_secs(3600);
        frames.hear(&pings(HTTP2_FRAMES_BURST), much_later).unwrap();
        assert_eq!(frames.hear(&pings(1), much_later), Err(TooMany));
    }

    #[test]
    fn a_large_body_costs_nothing_and_a_chopped_one_does() {
        let now = Instant::now();
        let mut frames = Frames::new(0, now);
        for _ in 0..=HTTP2_FRAMES_BURST {
            frames.hear(&frame(DATA, HTTP2_DATA_BYTES_FREE, 1), now).unwrap();
        }
        let chopped = frame(DATA, HTTP2_DATA_BYTES_FREE - 1, 1);
        for _ in 0..HTTP2_FRAMES_BURST {
            frames.hear(&chopped, now).unwrap();
        }
        assert_eq!(frames.hear(&chopped, now), Err(TooMany));
    }

    #[test]
    fn the_goodbye_names_the_last_stream_and_interrupts_no_frame() {
        let now = Instant::now();
        let mut frames = Frames::new(0, now);
        frames.hear(&[frame(HEADERS, 3, 7), frame(DATA, 3, 9)].concat(), now).unwrap();
        assert_eq!(frames.goodbye().as_ref(), Some(b"\0\0\x08\x07\0\0\0\0\0\0\0\0\x07\0\0\0\x0b"));
        let answer = frame(HEADERS, 30, 7);
        frames.say(&answer[..20]);
        assert_eq!(frames.goodbye(), None);
        frames.say(&answer[20..]);
        assert!(frames.goodbye().is_some());
    }
}
