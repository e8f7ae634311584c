//! RFC 6455 as a peer sees it: frames go in, an echoing server's frames come out.
//!
//! Our own suite, arranged by the case groups of Autobahn|Testsuite (1 to 7 and 10) so that a gap
//! is easy to see. Every conversation is held three times: all bytes in one read, one read for each
//! frame, and one for each byte. The answers must not differ.

use std::ops::ControlFlow;

use bytes::Bytes;
use campanile_protocol::websocket::{
    Close, Incoming, Opcode, Received, Role, Rules, accept_key, apply_mask, close, encode, encode_masked_into, header,
};

mod common;

use common::frame;

const MESSAGE_MAX: usize = 1 << 20;
const SERVER: Rules = Rules { role: Role::Server, message_max: MESSAGE_MAX };
const CLIENT: Rules = Rules { role: Role::Client, message_max: MESSAGE_MAX };

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// The last (or only) frame of a message.
fn last(opcode: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(0x80 | opcode, payload)
}

/// A frame that others continue.
fn more(opcode: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(opcode, payload)
}

/// A close frame's payload.
fn code(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_ref()].concat()
}

/// What the echoing server sends.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Answer {
    Text(String),
    Binary(Vec<u8>),
    Pong(Vec<u8>),
    /// The closing handshake, with the code that was sent.
    Closed(Option<u16>),
    /// A close of the server's own making.
    Failed(u16),
}

fn text(text: impl Into<String>) -> Answer {
    Answer::Text(text.into())
}

fn pong(payload: impl AsRef<[u8]>) -> Answer {
    Answer::Pong(payload.as_ref().to_vec())
}

/// An echo server without a socket, and the client that reads its answers.
#[derive(Default)]
struct Echo {
    server: Incoming,
    client: Incoming,
    answers: Vec<Answer>,
}

impl Echo {
    fn read(&mut self, read: &[u8]) {
        let mut sent: Vec<Bytes> = Vec::new();
        let ended = self.server.receive(&mut read.to_vec(), SERVER, |received| {
            sent.extend(match received {
                Received::Text(text) => Some(encode(Opcode::Text, text.as_bytes())),
                Received::Binary(bytes) => Some(encode(Opcode::Binary, bytes)),
                Received::Ping(payload) => Some(encode(Opcode::Pong, payload)),
                Received::Pong(_) => None,
                Received::Close(close) => Some(encode(Opcode::Close, &close.reply_payload())),
            });
            ControlFlow::Continue(())
        });
        let failed = ended.is_err();
        sent.extend(ended.err().map(|violation| violation.close()));

        let lawful = self.client.receive(&mut sent.concat(), CLIENT, |received| {
            self.answers.push(match received {
                Received::Text(echo) => text(echo),
                Received::Binary(bytes) => Answer::Binary(bytes.to_vec()),
                Received::Pong(payload) => pong(payload),
                Received::Close(Close { code: Some(code), .. }) if failed => Answer::Failed(code),
                Received::Close(close) => Answer::Closed(close.code),
                Received::Ping(_) => panic!("an echo server does not ping"),
            });
            ControlFlow::Continue(())
        });
        assert_eq!(lawful, Ok(()), "the server's own frames are lawful");
    }
}

fn answers<'a>(reads: impl IntoIterator<Item = &'a [u8]>) -> Vec<Answer> {
    let mut echo = Echo::default();
    reads.into_iter().for_each(|read| echo.read(read));
    echo.answers
}

/// Holds the conversation in each of the three ways.
#[track_caller]
fn check(frames: &[Vec<u8>], expected: &[Answer]) {
    let stream = frames.concat();
    assert_eq!(answers([&stream[..]]), expected, "all at once");
    assert_eq!(answers(frames.iter().map(|frame| &frame[..])), expected, "frame by frame");
    assert_eq!(answers(stream.chunks(1)), expected, "byte by byte");
}

/// As above, where the last frame breaks the rules.
#[track_caller]
fn check_failure(frames: &[Vec<u8>], before: &[Answer], code: u16) {
    check(frames, &[before, &[Answer::Failed(code)]].concat());
    // And nothing is answered once the connection has failed.
    check(&[frames, &[last(PING, "late")]].concat(), &[before, &[Answer::Failed(code)]].concat());
}

mod vectors_of_the_rfc {
    use super::*;

    /// Section 5.7: a plain frame and what it means to a client.
    #[track_caller]
    fn to_a_client(stream: &[u8], expected: &str) {
        let mut seen = String::new();
        let ended = Incoming::default().receive(&mut stream.to_vec(), CLIENT, |received| {
            seen = format!("{received:?}");
            ControlFlow::Continue(())
        });
        assert_eq!((ended, seen.as_str()), (Ok(()), expected));
    }

    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    #[test]
    fn section_1_3_the_accept_key() {
        let accept = accept_key("dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn section_5_7_a_single_plain_text_frame() {
        let hello = [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
        assert_eq!(encode(Opcode::Text, b"Hello"), &hello[..]);
        to_a_client(&hello, r#"Text("Hello")"#);
    }

    #[test]
    fn section_5_7_a_single_masked_text_frame() {
        let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        let mut masked = Vec::new();
        encode_masked_into(&mut masked, Opcode::Text, b"Hello", MASK);
        assert_eq!(masked, hello);
        check(&[hello.to_vec()], &[text("Hello")]);

        let mut payload = *hello.last_chunk::<5>().expect("the frame ends with five bytes");
        apply_mask(&mut payload, MASK);
        assert_eq!(&payload, b"Hello");
    }

    #[test]
    fn section_5_7_a_fragmented_plain_text_message() {
        let fragments = [0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f];
        to_a_client(&fragments, r#"Text("Hello")"#);
    }

    #[test]
    fn section_5_7_a_plain_ping_and_its_masked_pong() {
        let ping = [0x89, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f];
        assert_eq!(encode(Opcode::Ping, b"Hello"), &ping[..]);
        to_a_client(&ping, &format!("Ping({:?})", b"Hello"));

        let mut masked = Vec::new();
        encode_masked_into(&mut masked, Opcode::Pong, b"Hello", MASK);
        assert_eq!(masked, [0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58]);
    }

    #[test]
    fn section_5_7_lengths_of_16_and_64_bits() {
        let (bytes, size) = header(Opcode::Binary, 256);
        assert_eq!(bytes[..size], [0x82, 0x7e, 0x01, 0x00]);
        let (bytes, size) = header(Opcode::Binary, 65_536);
        assert_eq!(bytes[..size], [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
    }
}

mod group_1_framing {
    use super::*;

    const LENGTHS: [usize; 7] = [0, 125, 126, 127, 128, 65_535, 65_536];

    #[test]
    fn text_of_every_length_is_echoed() {
        for len in LENGTHS {
            let payload = "*".repeat(len);
            check(&[last(TEXT, &payload)], &[text(payload)]);
        }
    }

    #[test]
    fn binary_of_every_length_is_echoed() {
        for len in LENGTHS {
            let payload = vec![0xfe; len];
            check(&[last(BINARY, &payload)], &[Answer::Binary(payload)]);
        }
    }

    #[test]
    fn a_frame_cut_into_odd_reads_is_echoed() {
        let frame = last(TEXT, "*".repeat(65_536));
        assert_eq!(answers(frame.chunks(997)), [text("*".repeat(65_536))]);
    }

    #[test]
    fn messages_in_one_read_are_echoed_in_order() {
        let frames = [last(TEXT, "one"), last(BINARY, b"two"), last(TEXT, "three")];
        check(&frames, &[text("one"), Answer::Binary(b"two".to_vec()), text("three")]);
    }

    #[test]
    fn a_plain_frame_from_a_client_fails() {
        check_failure(&[last(TEXT, "hi"), encode(Opcode::Text, b"hi").to_vec()], &[text("hi")], 1002);
    }

    #[test]
    fn a_masked_frame_from_a_server_fails() {
        let mut masked = last(TEXT, "hi");
        let ended = Incoming::default().receive(&mut masked, CLIENT, |_| ControlFlow::Continue(()));
        assert_eq!(ended.map_err(|violation| violation.close_code()), Err(1002));
    }

    #[test]
    fn a_length_in_a_needlessly_wide_form_fails() {
        for wide in [
            vec![0x81, 0xfe, 0, 125],
            vec![0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
            vec![0x81, 0xff, 0x80, 0, 0, 0, 0, 1, 0, 0],
        ] {
            check_failure(&[last(TEXT, "ok"), wide], &[text("ok")], 1002);
        }
    }

    #[test]
    fn a_message_at_the_bound_is_echoed_and_one_byte_more_fails_before_it_comes() {
        let full = vec![7; MESSAGE_MAX];
        check(&[last(BINARY, &full)], &[Answer::Binary(full)]);
        let over = last(BINARY, vec![7; MESSAGE_MAX + 1]);
        check_failure(&[over[..10].to_vec()], &[], 1009);
    }
}

mod group_2_pings {
    use super::*;

    #[test]
    fn a_ping_gets_its_payload_back() {
        for payload in [&b""[..], b"Hello, world!", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", &[0xfe; 125]] {
            check(&[last(PING, payload)], &[pong(payload)]);
        }
    }

    #[test]
    fn a_ping_of_126_bytes_fails() {
        check_failure(&[last(PING, [0xfe; 126])], &[], 1002);
    }

    #[test]
    fn a_pong_that_nobody_asked_for_gets_no_answer() {
        check(&[last(PONG, "")], &[]);
        check(&[last(PONG, "unsolicited")], &[]);
        check(&[last(PONG, "unsolicited"), last(PING, "asked")], &[pong("asked")]);
    }

    #[test]
    fn ten_pings_get_ten_pongs_in_order() {
        let payloads: Vec<String> = (0..10).map(|n| format!("payload-{n}")).collect();
        let pings: Vec<_> = payloads.iter().map(|payload| last(PING, payload)).collect();
        let pongs: Vec<_> = payloads.iter().map(pong).collect();
        check(&pings, &pongs);
    }
}

mod group_3_reserved_bits {
    use super::*;

    #[test]
    fn each_combination_fails_on_each_kind_of_frame() {
        for reserved in 1..=7_u8 {
            for opcode in [TEXT, BINARY, CLOSE, PING, PONG] {
                let first = 0x80 | (reserved << 4) | opcode;
                check_failure(&[frame(first, "payload")], &[], 1002);
            }
        }
    }

    #[test]
    fn what_came_before_is_answered_and_what_comes_after_is_not() {
        let frames = [last(TEXT, "before"), frame(0x80 | 0x20 | TEXT, "reserved"), last(PING, "")];
        check(&frames, &[text("before"), Answer::Failed(1002)]);
    }

    #[test]
    fn they_fail_on_a_continuation_too() {
        let frames = [more(TEXT, "begun"), frame(0x80 | 0x40, "reserved")];
        check_failure(&frames, &[], 1002);
    }
}

mod group_4_opcodes {
    use super::*;

    #[test]
    fn a_reserved_opcode_fails_with_and_without_a_payload() {
        for opcode in (0x3..=0x7).chain(0xb..=0xf) {
            check_failure(&[last(opcode, "")], &[], 1002);
            check_failure(&[last(TEXT, "before"), last(opcode, "payload")], &[text("before")], 1002);
        }
    }
}

mod group_5_fragmentation {
    use super::*;

    #[test]
    fn a_control_frame_in_fragments_fails() {
        for opcode in [PING, PONG, CLOSE] {
            check_failure(&[more(opcode, "frag"), last(CONTINUATION, "ment")], &[], 1002);
        }
    }

    #[test]
    fn fragments_become_one_message() {
        let frames = [more(TEXT, "frag"), more(CONTINUATION, "men"), last(CONTINUATION, "t")];
        check(&frames, &[text("fragment")]);
        let frames = [more(BINARY, [1, 2]), last(CONTINUATION, [3])];
        check(&frames, &[Answer::Binary(vec![1, 2, 3])]);
    }

    #[test]
    fn control_frames_among_the_fragments_are_answered_at_once() {
        let frames = [
            more(TEXT, "one, "),
            last(PING, "first"),
            more(CONTINUATION, "two, "),
            last(PONG, "ignored"),
            more(CONTINUATION, "three"),
            last(PING, "second"),
            last(CONTINUATION, ""),
        ];
        check(&frames, &[pong("first"), pong("second"), text("one, two, three")]);
        check(&frames[..2], &[pong("first")]);
    }

    #[test]
    fn a_close_among_the_fragments_ends_the_connection() {
        let frames = [more(TEXT, "begun"), last(CLOSE, code(1000, "")), last(CONTINUATION, "late")];
        check(&frames, &[Answer::Closed(Some(1000))]);
    }

    #[test]
    fn a_continuation_of_nothing_fails() {
        for first in [CONTINUATION, 0x80 | CONTINUATION] {
            check_failure(&[frame(first, "of nothing"), last(TEXT, "next")], &[], 1002);
            check_failure(&[last(TEXT, "whole"), frame(first, "of nothing")], &[text("whole")], 1002);
        }
        let twice = [more(TEXT, "a"), last(CONTINUATION, "b"), last(CONTINUATION, "c")];
        check_failure(&twice, &[text("ab")], 1002);
    }

    #[test]
    fn a_message_within_a_message_fails() {
        for opcode in [TEXT, BINARY] {
            check_failure(&[more(TEXT, "begun"), last(opcode, "another")], &[], 1002);
            check_failure(&[more(BINARY, "begun"), more(opcode, "another")], &[], 1002);
        }
    }

    #[test]
    fn empty_fragments_are_lawful() {
        let empty = [more(TEXT, ""), more(CONTINUATION, ""), last(CONTINUATION, "")];
        check(&empty, &[text("")]);
        let middle = [more(TEXT, ""), more(CONTINUATION, "middle"), last(CONTINUATION, "")];
        check(&middle, &[text("middle")]);
    }

    #[test]
    fn fragments_that_fill_the_bound_are_echoed_and_one_byte_more_fails() {
        let half = vec![b'h'; MESSAGE_MAX / 2];
        let whole = Answer::Binary(vec![b'h'; MESSAGE_MAX]);
        check(&[more(BINARY, &half), last(CONTINUATION, &half)], &[whole]);
        let over = last(CONTINUATION, vec![b'h'; MESSAGE_MAX / 2 + 1]);
        check_failure(&[more(BINARY, &half), over[..10].to_vec()], &[], 1009);
    }
}

mod group_6_utf8 {
    use super::*;

    const GREEK: &str =
        "Hello-\u{b5}@\u{df}\u{f6}\u{e4}\u{fc}\u{e0}\u{e1}-UTF-8!! \u{3ba}\u{1f79}\u{3c3}\u{3bc}\u{3b5}";

    /// Boundaries of each encoded length, the edges of the surrogates, non-characters (which are
    /// lawful), and the last character.
    const VALID: [&str; 22] = [
        "",
        "\0",
        "\u{7f}",
        "\u{80}",
        "\u{7ff}",
        "\u{800}",
        "\u{d7ff}",
        "\u{e000}",
        "\u{fffd}",
        "\u{fffe}",
        "\u{ffff}",
        "\u{fdd0}",
        "\u{10000}",
        "\u{1fffe}",
        "\u{1ffff}",
        "\u{8ffff}",
        "\u{fffff}",
        "\u{10fffe}",
        "\u{10ffff}",
        "\u{feff}byte order mark",
        "\u{3ba}\u{1f79}\u{3c3}\u{3bc}\u{3b5}",
        GREEK,
    ];

    /// Byte sequences that no later byte can save.
    const INVALID: [&[u8]; 28] = [
        b"\x80", // a continuation alone
        b"\xbf",
        b"\x80\xbf\x80",
        b"\xc2 ", // a start alone
        b"\xe0\xa0 ",
        b"\xf0\x90\x80 ",
        b"\xc3\xc3",
        b"\xe2\x82\xc3",
        b"\xfe", // never lawful
        b"\xff",
        b"\xfe\xfe\xff\xff",
        b"\xc0\xaf", // longer than need be
        b"\xe0\x80\xaf",
        b"\xf0\x80\x80\xaf",
        b"\xf8\x80\x80\x80\xaf",
        b"\xfc\x80\x80\x80\x80\xaf",
        b"\xc1\xbf",
        b"\xe0\x9f\xbf",
        b"\xf0\x8f\xbf\xbf",
        b"\xc0\x80",
        b"\xe0\x80\x80",
        b"\xed\xa0\x80", // surrogates, alone and paired
        b"\xed\xaf\xbf",
        b"\xed\xbf\xbf",
        b"\xed\xa0\x80\xed\xb0\x80",
        b"\xf4\x90\x80\x80", // past the last character
        b"\xf7\xbf\xbf\xbf",
        b"\xfb\xbf\xbf\xbf\xbf",
    ];

    /// `payload` as a first frame and continuations, cut every `size` bytes.
    fn fragments(payload: &[u8], size: usize) -> Vec<Vec<u8>> {
        let mut frames = vec![more(TEXT, "")];
        frames.extend(payload.chunks(size).map(|piece| more(CONTINUATION, piece)));
        frames.push(last(CONTINUATION, ""));
        frames
    }

    #[test]
    fn lawful_text_is_echoed_however_it_is_cut() {
        for valid in VALID {
            check(&[last(TEXT, valid)], &[text(valid)]);
            for size in 1..=5 {
                check(&fragments(valid.as_bytes(), size), &[text(valid)]);
            }
        }
    }

    #[test]
    fn unlawful_text_fails_however_it_is_cut() {
        for invalid in INVALID {
            for payload in [invalid.to_vec(), [GREEK.as_bytes(), invalid, b"edited"].concat()] {
                check_failure(&[last(TEXT, &payload)], &[], 1007);
                for size in 1..=5 {
                    check_failure(&fragments(&payload, size), &[], 1007);
                }
            }
        }
    }

    #[test]
    fn text_that_ends_within_a_character_fails_at_its_end_and_not_before() {
        for cut in [&b"\xc2"[..], b"\xe1\xbd", b"\xf0", b"\xf0\x9f", b"\xf0\x9f\x94"] {
            check_failure(&[last(TEXT, cut)], &[], 1007);
            check(&[more(TEXT, cut), last(PING, "")], &[pong("")]);
            check_failure(&[more(TEXT, cut), last(CONTINUATION, "")], &[], 1007);
        }
    }

    #[test]
    fn unlawful_text_fails_before_its_message_ends() {
        for invalid in INVALID {
            let first = [GREEK.as_bytes(), invalid].concat();
            check_failure(&[more(TEXT, &first)], &[], 1007);
            check_failure(&[more(TEXT, GREEK), more(CONTINUATION, invalid)], &[], 1007);
        }
    }

    #[test]
    fn unlawful_text_fails_before_its_frame_ends() {
        // The last character there is begins with f4; the byte that follows may be at most 8f.
        let frame = last(TEXT, [GREEK.as_bytes(), b"\xf4\x90\x80\x80edited"].concat());
        let wrong_at = frame.len() - b"\x90\x80\x80edited".len();
        check(&[frame[..wrong_at].to_vec()], &[]);
        check(&[frame[..=wrong_at].to_vec()], &[Answer::Failed(1007)]);
    }

    #[test]
    fn binary_need_not_be_utf8() {
        for invalid in INVALID {
            check(&[more(BINARY, invalid), last(CONTINUATION, "")], &[Answer::Binary(invalid.to_vec())]);
        }
    }
}

mod group_7_close {
    use super::*;

    #[test]
    fn a_close_is_answered_once_and_nothing_after_it() {
        for late in [last(CLOSE, code(1000, "")), last(PING, "late"), last(TEXT, "late"), vec![0xff; 40]] {
            let frames = [last(TEXT, "hi"), last(CLOSE, code(1000, "")), late];
            check(&frames, &[text("hi"), Answer::Closed(Some(1000))]);
        }
    }

    #[test]
    fn a_close_after_a_large_message_is_answered_after_it() {
        let large = "l".repeat(256 * 1024);
        let frames = [last(TEXT, &large), last(CLOSE, code(1001, "bye"))];
        check(&frames, &[text(large), Answer::Closed(Some(1001))]);
    }

    #[test]
    fn a_close_carries_nothing_or_a_code_or_a_code_and_a_reason() {
        check(&[last(CLOSE, "")], &[Answer::Closed(None)]);
        check(&[last(CLOSE, code(1000, ""))], &[Answer::Closed(Some(1000))]);
        check(&[last(CLOSE, code(1000, "Hello World!"))], &[Answer::Closed(Some(1000))]);
        check(&[last(CLOSE, code(1000, "*".repeat(123)))], &[Answer::Closed(Some(1000))]);
    }

    #[test]
    fn a_close_of_one_byte_or_of_126_fails() {
        check_failure(&[last(CLOSE, [0x03])], &[], 1002);
        check_failure(&[last(CLOSE, code(1000, "*".repeat(124)))], &[], 1002);
    }

    #[test]
    fn a_close_reason_that_is_not_utf8_fails() {
        check_failure(&[last(CLOSE, code(1000, b"\xce\xba\xed\xa0\x80edited"))], &[], 1007);
        check_failure(&[last(CLOSE, code(1000, b"cut \xe2\x82"))], &[], 1007);
    }

    #[test]
    fn a_code_that_may_travel_is_echoed() {
        for lawful in (1000..=1003).chain(1007..=1014).chain([3000, 3999, 4000, 4100, 4200, 4999]) {
            check(&[last(CLOSE, code(lawful, ""))], &[Answer::Closed(Some(lawful))]);
        }
    }

    #[test]
    fn a_code_that_may_not_travel_fails() {
        for unlawful in [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
            check_failure(&[last(CLOSE, code(unlawful, ""))], &[], 1002);
            check_failure(&[last(CLOSE, code(unlawful, "reason"))], &[], 1002);
        }
    }

    #[test]
    fn our_own_close_carries_its_code_and_as_much_of_the_reason_as_fits() {
        let long = "\u{20ac}".repeat(50);
        let mut told = None;
        let ended = Incoming::default().receive(&mut close(4009, &long).to_vec(), CLIENT, |received| {
            if let Received::Close(Close { code, reason }) = received {
                told = Some((code, reason.to_owned()));
            }
            ControlFlow::Continue(())
        });
        assert_eq!(ended, Ok(()));
        assert_eq!(told, Some((Some(4009), "\u{20ac}".repeat(41))));
    }
}

mod group_10_many_pieces {
    use super::*;

    #[test]
    fn a_large_message_in_many_fragments_is_echoed() {
        let payload = "*".repeat(65_536);
        for size in [1_300, 125, 7] {
            let mut frames = vec![more(TEXT, "")];
            frames.extend(payload.as_bytes().chunks(size).map(|piece| more(CONTINUATION, piece)));
            frames.push(last(CONTINUATION, ""));
            check(&frames, &[text(&payload)]);
        }
    }

    #[test]
    fn a_large_message_in_reads_of_any_size_is_echoed() {
        let payload: Vec<u8> = (0..=u8::MAX).cycle().take(300_000).collect();
        let stream = [last(BINARY, &payload), last(PING, "after")].concat();
        let expected = [Answer::Binary(payload), pong("after")];
        for size in [1, 2, 3, 5, 13, 64, 997, 4_096, 65_535, 65_536, 65_537] {
            assert_eq!(answers(stream.chunks(size)), expected, "reads of {size}");
        }
    }
}
