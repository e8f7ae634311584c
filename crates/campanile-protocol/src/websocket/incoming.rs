//! What one connection receives.
//!
//! Owns everything between a read and a message: frames cut by the end of a read, fragments, and
//! the order in which frames may come (RFC 6455, sections 5.4 and 5.5).
//!
//! Never keeps a read buffer: the caller reads every socket into one, and whole messages are
//! handed out from there, unmasked in place. Only what a read leaves unfinished is copied and kept.
//!
//! Keep in mind: between messages a connection owns no memory here, and within one it holds what
//! has come of it, never what was only announced: at most `message_max` bytes and a control frame.
//!
//! Read next: `assembly.rs` for a message in pieces, `frame.rs` for a header.

use std::ops::ControlFlow;

use super::assembly::Assembly;
use super::close::{Close, Violation};
use super::deflate::Inflater;
use super::frame::{Expected, HEADER_BYTES_MAX, Header, Opcode, Role, Step, apply_mask};

/// By which rules a connection is read. The same for all connections of one kind, so not kept in
/// each of them.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// Which end we are.
    pub role: Role,
    /// The most bytes that one message may carry, all its fragments together, both as it comes and inflated. Past
    /// it: 1009.
    pub message_max: usize,
}

/// How a connection is read now.
pub(super) struct Reading<'i> {
    pub(super) rules: Rules,
    /// There where messages may be compressed.
    pub(super) inflater: Option<&'i mut Inflater>,
}

impl Reading<'_> {
    /// The message that was compressed to this.
    pub(super) fn inflate(&mut self, opcode: Opcode, compressed: &[u8]) -> Result<Received<'_>, Violation> {
        let inflater = self.inflater.as_deref_mut().ok_or(Violation::ReservedBits)?;
        Received::alone(opcode, inflater.inflate(compressed, self.rules.message_max)?)
    }
}

/// What a peer has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// A whole text message.
    Text(&'a str),
    /// A whole binary message.
    Binary(&'a [u8]),
    /// To be answered with a pong of the same payload.
    Ping(&'a [u8]),
    /// Answers a ping of ours, or nothing at all.
    Pong(&'a [u8]),
    /// The last thing a peer says. To be answered with [`Close::reply_payload`], unless it answers
    /// a close of ours.
    Close(Close<'a>),
}

/// One connection's unfinished business, which is usually none.
#[derive(Debug, Default)]
pub struct Incoming {
    unfinished: Option<Box<Unfinished>>,
    closed: bool,
}

/// Tens of thousands of connections are idle, and each holds one.
const _: () = assert!(size_of::<Incoming>() <= 24);

#[derive(Debug, Default)]
struct Unfinished {
    header: HeaderSoFar,
    frame: Option<FrameSoFar>,
    message: Option<Assembly>,
}

/// The bytes of a header that the end of a read cut.
#[derive(Debug, Default)]
struct HeaderSoFar {
    bytes: [u8; HEADER_BYTES_MAX],
    len: u8,
}

/// A frame whose header is whole and whose payload is not.
#[derive(Debug)]
struct FrameSoFar {
    header: Header,
    /// Bytes of payload still to come.
    missing: usize,
    /// What has come, if the frame is a control frame. A data frame's goes to the message.
    control: Vec<u8>,
}

impl Incoming {
    /// Takes what was just read, and gives `sink` every message that it completes, in order.
    ///
    /// `bytes` is scratch afterwards. The reading ends for good with a violation, which is to be
    /// sent as the close frame; with the peer's close; or with a sink that breaks because its
    /// owner gives the connection up. Bytes that arrive after that are ignored.
    pub fn receive(
        &mut self,
        bytes: &mut [u8],
        rules: Rules,
        sink: impl FnMut(Received<'_>) -> ControlFlow<()>,
    ) -> Result<(), Violation> {
        self.receive_all(bytes, Reading { rules, inflater: None }, sink)
    }

    /// The same from a peer with whom [compression](super::Deflation) has been agreed on.
    pub fn receive_compressed(
        &mut self,
        bytes: &mut [u8],
        rules: Rules,
        inflater: &mut Inflater,
        sink: impl FnMut(Received<'_>) -> ControlFlow<()>,
    ) -> Result<(), Violation> {
        self.receive_all(bytes, Reading { rules, inflater: Some(inflater) }, sink)
    }

    fn receive_all(
        &mut self,
        bytes: &mut [u8],
        mut reading: Reading<'_>,
        mut sink: impl FnMut(Received<'_>) -> ControlFlow<()>,
    ) -> Result<(), Violation> {
        if self.closed {
            return Ok(());
        }
        let outcome = self.read_frames(bytes, &mut reading, &mut |received| {
            let flow = sink(received);
            match received {
                Received::Close(_) => ControlFlow::Break(()),
                _ => flow,
            }
        });
        self.closed = !matches!(outcome, Ok(ControlFlow::Continue(())));
        self.unfinished.take_if(|unfinished| self.closed || unfinished.is_empty());
        outcome.map(|_| ())
    }

    /// Whether the reading has ended: see [`receive`](Self::receive).
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether part of a message has come and the rest has not. False for an idle connection, which
    /// then owns no memory here.
    pub fn is_unfinished(&self) -> bool {
        self.unfinished.is_some()
    }

    fn read_frames(
        &mut self,
        bytes: &mut [u8],
        reading: &mut Reading<'_>,
        sink: &mut impl FnMut(Received<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Violation> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let flow = match self.unfinished.as_deref_mut() {
                Some(unfinished) if unfinished.frame.is_some() => unfinished.resume_frame(&mut rest, reading, sink)?,
                _ => {
                    let Some(header) = self.read_header(&mut rest, reading)? else {
                        break;
                    };
                    self.read_payload(header, &mut rest, reading, sink)?
                }
            };
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The next header, or none if `rest` ends within it; then it is kept.
    fn read_header(&mut self, rest: &mut &mut [u8], reading: &Reading<'_>) -> Result<Option<Header>, Violation> {
        let message = self.unfinished.as_ref().and_then(|unfinished| unfinished.message.as_ref());
        let held = message.map_or(0, Assembly::len);
        let expected = Expected {
            role: reading.rules.role,
            is_open: message.is_some(),
            payload_max: reading.rules.message_max.saturating_sub(held),
            compression: reading.inflater.is_some(),
        };

        let kept = self.unfinished.as_deref_mut().map(|unfinished| &mut unfinished.header);
        match kept {
            Some(kept) if kept.len > 0 => loop {
                match Header::parse(kept.bytes(), expected)? {
                    Step::Whole(header) => {
                        kept.len = 0;
                        return Ok(Some(header));
                    }
                    Step::Incomplete { .. } if rest.is_empty() => return Ok(None),
                    Step::Incomplete { needed } => kept.take_until(needed, rest),
                }
            },
            _ => match Header::parse(rest, expected)? {
                Step::Whole(header) => {
                    take(rest, header.size);
                    Ok(Some(header))
                }
                Step::Incomplete { needed } => {
                    let unfinished = self.unfinished.get_or_insert_default();
                    unfinished.header.take_until(needed, rest);
                    Ok(None)
                }
            },
        }
    }

    /// The payload after `header`: where it lies if all of it is here, else as much as there is.
    fn read_payload(
        &mut self,
        header: Header,
        rest: &mut &mut [u8],
        reading: &mut Reading<'_>,
        sink: &mut impl FnMut(Received<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Violation> {
        let is_alone = header.fin && header.opcode != Opcode::Continuation;
        if is_alone && header.payload_len <= rest.len() {
            let payload = take(rest, header.payload_len);
            unmask(payload, header.mask);
            let message = if header.compressed {
                reading.inflate(header.opcode, payload)?
            } else {
                Received::alone(header.opcode, payload)?
            };
            return Ok(sink(message));
        }
        let unfinished = self.unfinished.get_or_insert_default();
        let missing = header.payload_len;
        unfinished.frame = Some(FrameSoFar { header, missing, control: Vec::new() });
        unfinished.resume_frame(rest, reading, sink)
    }
}

impl Unfinished {
    fn is_empty(&self) -> bool {
        self.header.len == 0 && self.frame.is_none() && self.message.is_none()
    }

    /// Takes as much of the frame's payload as there is, and ends the frame if that was all.
    fn resume_frame(
        &mut self,
        rest: &mut &mut [u8],
        reading: &mut Reading<'_>,
        sink: &mut impl FnMut(Received<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, Violation> {
        let Some(frame) = &mut self.frame else {
            return Ok(ControlFlow::Continue(()));
        };
        let opcode = frame.header.opcode;
        let piece = take(rest, frame.missing.min(rest.len()));
        frame.missing -= piece.len();
        unmask(piece, frame.header.mask);
        if let Some(key) = &mut frame.header.mask {
            let turn = piece.len() % key.len();
            key.rotate_left(turn);
        }
        if opcode.is_control() {
            frame.control.extend_from_slice(piece);
        } else {
            // A continuation finds its message open; any other frame opens one.
            self.message.get_or_insert_with(|| Assembly::open(frame.header)).push(piece)?;
        }

        let Some(frame) = self.frame.take_if(|frame| frame.missing == 0) else {
            return Ok(ControlFlow::Continue(()));
        };
        if opcode.is_control() {
            return Ok(sink(Received::alone(opcode, &frame.control)?));
        }
        match self.message.take_if(|_| frame.header.fin) {
            Some(message) => Ok(sink(message.finish(reading)?)),
            None => Ok(ControlFlow::Continue(())),
        }
    }
}

impl HeaderSoFar {
    fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Moves bytes here from `rest`, until there are `needed`.
    fn take_until(&mut self, needed: usize, rest: &mut &mut [u8]) {
        let have = usize::from(self.len);
        let count = needed.min(HEADER_BYTES_MAX).saturating_sub(have).min(rest.len());
        self.bytes[have..have + count].copy_from_slice(take(rest, count));
        self.len += count as u8;
    }
}

impl<'a> Received<'a> {
    /// A control frame, or a message that is one frame (which a continuation never is).
    fn alone(opcode: Opcode, payload: &'a [u8]) -> Result<Self, Violation> {
        Ok(match opcode {
            Opcode::Text => Self::Text(str::from_utf8(payload).map_err(|_| Violation::TextNotUtf8)?),
            Opcode::Binary | Opcode::Continuation => Self::Binary(payload),
            Opcode::Ping => Self::Ping(payload),
            Opcode::Pong => Self::Pong(payload),
            Opcode::Close => Self::Close(Close::parse(payload)?),
        })
    }
}

fn unmask(payload: &mut [u8], key: Option<[u8; 4]>) {
    if let Some(key) = key {
        apply_mask(payload, key);
    }
}

/// Splits the first `count` bytes off `rest`.
fn take<'a>(rest: &mut &'a mut [u8], count: usize) -> &'a mut [u8] {
    let (taken, after) = std::mem::take(rest).split_at_mut(count);
    *rest = after;
    taken
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::websocket::{encode, encode_masked_into};

    const SERVER: Rules = Rules { role: Role::Server, message_max: 16 };
    const CLIENT: Rules = Rules { role: Role::Client, message_max: 16 };
    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    /// A plain frame, final or not.
    fn plain(fin: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
        let mut frame = encode(opcode, payload).to_vec();
        frame[0] &= if fin { 0xff } else { 0x7f };
        frame
    }

    /// Everything that happens, as text, when `reads` arrive.
    fn receive(incoming: &mut Incoming, rules: Rules, reads: &[&[u8]]) -> Vec<String> {
        let mut seen = Vec::new();
        for read in reads {
            let ended = incoming.receive(&mut read.to_vec(), rules, |received| {
                seen.push(format!("{received:?}"));
                ControlFlow::Continue(())
            });
            seen.extend(ended.err().map(|violation| format!("{violation:?}")));
        }
        seen
    }

    #[test]
    fn a_whole_message_is_read_where_it_lies_and_leaves_nothing_behind() {
        let mut buffer = Vec::new();
        encode_masked_into(&mut buffer, Opcode::Text, b"hello", KEY);
        encode_masked_into(&mut buffer, Opcode::Binary, b"bytes", KEY);
        let lies = buffer.as_ptr_range();
        let mut incoming = Incoming::default();
        let mut count = 0;
        let ended = incoming.receive(&mut buffer, SERVER, |received| {
            let payload = match received {
                Received::Text(text) => text.as_bytes(),
                Received::Binary(bytes) => bytes,
                other => panic!("unexpected {other:?}"),
            };
            assert!(lies.contains(&payload.as_ptr()));
            count += 1;
            ControlFlow::Continue(())
        });
        assert_eq!((ended, count), (Ok(()), 2));
        assert!(!incoming.is_unfinished());
    }

    #[test]
    fn what_a_read_leaves_unfinished_is_kept_only_until_it_is_finished() {
        let stream = [
            plain(false, Opcode::Text, b"ab"),
            plain(true, Opcode::Ping, b"p"),
            plain(true, Opcode::Continuation, b"c"),
        ]
        .concat();
        let mut incoming = Incoming::default();
        for (at, byte) in stream.iter().enumerate() {
            assert_eq!(incoming.is_unfinished(), at > 0);
            receive(&mut incoming, CLIENT, &[&[*byte]]);
        }
        assert!(!incoming.is_unfinished());
    }

    #[test]
    fn a_message_at_the_bound_is_taken_and_one_byte_more_is_refused_by_its_header() {
        let sixteen = [b'x'; 16];
        let taken = [format!("{:?}", Received::Binary(&sixteen))];
        let lone = |len| plain(true, Opcode::Binary, &[b'x'; 17][..len]);
        assert_eq!(receive(&mut Incoming::default(), CLIENT, &[&lone(16)]), taken);
        assert_eq!(receive(&mut Incoming::default(), CLIENT, &[&lone(17)[..2]]), ["TooBig"]);

        // Ten bytes are held, so six more fit; a control frame between them is not counted.
        let first = plain(false, Opcode::Binary, &sixteen[..10]);
        let ping = plain(true, Opcode::Ping, &sixteen);
        let fits = plain(true, Opcode::Continuation, &sixteen[10..]);
        let over = plain(true, Opcode::Continuation, &sixteen[9..]);
        let mut incoming = Incoming::default();
        let pinged = format!("{:?}", Received::Ping(&sixteen));
        assert_eq!(receive(&mut incoming, CLIENT, &[&first, &ping, &fits]), [&[pinged][..], &taken].concat());
        assert_eq!(receive(&mut incoming, CLIENT, &[&first, &over[..2]]), ["TooBig"]);
    }

    #[test]
    fn empty_fragments_hold_no_room_in_a_full_message() {
        let mut incoming = Incoming::default();
        let full = plain(false, Opcode::Binary, &[b'x'; 16]);
        let empty = plain(false, Opcode::Continuation, b"");
        let over = plain(true, Opcode::Continuation, b"y");
        assert!(receive(&mut incoming, CLIENT, &[&full, &empty, &empty]).is_empty());
        assert_eq!(receive(&mut incoming, CLIENT, &[&over]), ["TooBig"]);
    }

    #[test]
    fn nothing_is_read_after_a_close_a_violation_or_a_sink_that_breaks() {
        let ping = plain(true, Opcode::Ping, b"late");

        let mut closed = Incoming::default();
        let stream = [plain(true, Opcode::Close, b""), ping.clone()].concat();
        assert_eq!(receive(&mut closed, CLIENT, &[&stream, &ping]), ["Close(Close { code: None, reason: \"\" })"]);
        assert!(closed.is_closed());

        let mut violated = Incoming::default();
        let stream = [vec![0xf1, 0], ping.clone()].concat();
        assert_eq!(receive(&mut violated, CLIENT, &[&stream, &ping]), ["ReservedBits"]);
        assert!(violated.is_closed());

        let mut broken = Incoming::default();
        let mut count = 0;
        for mut read in [[ping.clone(), ping.clone()].concat(), ping.clone()] {
            let ended = broken.receive(&mut read, CLIENT, |_| {
                count += 1;
                ControlFlow::Break(())
            });
            assert_eq!(ended, Ok(()));
        }
        assert_eq!((count, broken.is_closed()), (1, true));
    }

    #[test]
    fn an_ending_frees_what_was_kept() {
        let mut incoming = Incoming::default();
        let open = plain(false, Opcode::Text, b"open");
        let close = plain(true, Opcode::Close, b"");
        receive(&mut incoming, CLIENT, &[&open]);
        assert!(incoming.is_unfinished());
        receive(&mut incoming, CLIENT, &[&close]);
        assert!(!incoming.is_unfinished());
    }

    #[test]
    fn text_within_one_frame_is_refused_before_the_frame_is_whole() {
        let mut incoming = Incoming::default();
        let mut frame = plain(true, Opcode::Text, b"ok\xffnever seen");
        frame.truncate(5);
        assert!(receive(&mut incoming, CLIENT, &[&frame[..4]]).is_empty());
        assert_eq!(receive(&mut incoming, CLIENT, &[&frame[4..]]), ["TextNotUtf8"]);
    }

    #[test]
    fn a_split_mask_is_applied_from_where_it_left_off() {
        let mut frame = Vec::new();
        encode_masked_into(&mut frame, Opcode::Text, b"0123456789", KEY);
        for cut in 1..frame.len() {
            let (head, tail) = frame.split_at(cut);
            for middle in 0..=tail.len() {
                let reads = [head, &tail[..middle], &tail[middle..]];
                let seen = receive(&mut Incoming::default(), SERVER, &reads);
                assert_eq!(seen, ["Text(\"0123456789\")"]);
            }
        }
    }

    /// A frame that is often lawful, and often wrong in one way.
    fn any_frame() -> impl Strategy<Value = Vec<u8>> {
        let opcode = prop_oneof![
            4 => Just(0x0_u8), 4 => Just(0x1), 2 => Just(0x2),
            1 => Just(0x8), 2 => Just(0x9), 1 => Just(0xa), 1 => 0x0..=0xf_u8,
        ];
        let payload = prop_oneof![
            4 => "[a\u{e9}\u{20ac}\u{1f514}]{0,6}".prop_map(String::into_bytes),
            1 => proptest::collection::vec(any::<u8>(), 0..8),
            1 => proptest::collection::vec(Just(b'x'), 120..140),
        ];
        let reserved = prop_oneof![20 => Just(0_u8), 1 => Just(0x40)];
        (any::<bool>(), opcode, reserved, payload, any::<[u8; 4]>()).prop_map(
            |(fin, opcode, reserved, payload, key)| {
                let mut frame = Vec::new();
                encode_masked_into(&mut frame, Opcode::Text, &payload, key);
                frame[0] = (u8::from(fin || opcode >= 0x8) << 7) | reserved | opcode;
                frame
            },
        )
    }

    proptest! {
        #[test]
        fn any_cut_of_a_stream_means_the_same(
            frames in proptest::collection::vec(any_frame(), 1..8),
            sizes in proptest::collection::vec(1_usize..20, 1..8),
            message_max in 0_usize..160,
        ) {
            let stream = frames.concat();
            let rules = Rules { role: Role::Server, message_max };
            let at_once = receive(&mut Incoming::default(), rules, &[&stream]);

            let mut reads = Vec::new();
            let mut rest = &stream[..];
            for size in sizes.iter().cycle() {
                let (read, after) = rest.split_at((*size).min(rest.len()));
                reads.push(read);
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(&receive(&mut Incoming::default(), rules, &reads), &at_once);

            let bytewise: Vec<&[u8]> = stream.chunks(1).collect();
            prop_assert_eq!(&receive(&mut Incoming::default(), rules, &bytewise), &at_once);
        }

        #[test]
        fn what_a_client_sends_a_server_reads_and_back(
            text: String,
            bytes in proptest::collection::vec(any::<u8>(), 0..70_000),
            key: [u8; 4],
        ) {
            let expected = [
                format!("{:?}", Received::Text(&text)),
                format!("{:?}", Received::Binary(&bytes)),
            ];
            let mut masked = Vec::new();
            encode_masked_into(&mut masked, Opcode::Text, text.as_bytes(), key);
            encode_masked_into(&mut masked, Opcode::Binary, &bytes, key);
            let rules = Rules { role: Role::Server, message_max: 70_000 };
            prop_assert_eq!(&receive(&mut Incoming::default(), rules, &[&masked]), &expected);

            let plain = [encode(Opcode::Text, text.as_bytes()), encode(Opcode::Binary, &bytes)].concat();
            let rules = Rules { role: Role::Client, ..rules };
            prop_assert_eq!(&receive(&mut Incoming::default(), rules, &[&plain]), &expected);
        }
    }
}
