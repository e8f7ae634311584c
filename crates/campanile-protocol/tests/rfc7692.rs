//! RFC 7692 as a peer sees it: compressed frames go in, an echoing server's answers come out.
//!
//! Our own suite beside `rfc6455.rs`, arranged as Autobahn|Testsuite's groups 12 and 13: messages of many sizes, in one
//! frame and in several, and what the negotiated parameters allow. Every conversation is held twice: all bytes in one
//! read, and one read for each byte. The answers must not differ.

use std::ops::ControlFlow;

use campanile_protocol::websocket::{
    DEFLATED_PAYLOAD_BYTES_MIN, Deflater, Incoming, Inflater, Opcode, Received, Role, Rules, encode,
};
use flate2::{Compress, Compression, FlushCompress};

mod common;

use common::frame;

const MESSAGE_MAX: usize = 1 << 20;
const RULES: Rules = Rules { role: Role::Server, message_max: MESSAGE_MAX };

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// "Hello" as RFC 7692, section 7.2.3.1, has it.
const HELLO: &[u8] = b"\xf2\x48\xcd\xc9\xc9\x07\x00";

/// A whole message, in one frame.
fn compressed(opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame(FIN | RSV1 | opcode, payload)
}

/// As a client compresses it, by other means than ours.
fn deflate(message: &[u8], level: u32, window_bits: u8) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() * 2 + 100);
    let mut compress = Compress::new_with_window_bits(Compression::new(level), false, window_bits);
    compress.compress_vec(message, &mut out, FlushCompress::Sync).unwrap();
    assert_eq!(compress.total_in(), message.len() as u64);
    out.strip_suffix(b"\0\0\xff\xff").unwrap().to_vec()
}

fn received(reads: impl IntoIterator<Item = Vec<u8>>) -> Vec<String> {
    let (mut incoming, mut inflater, mut seen) = (Incoming::default(), Inflater::default(), Vec::new());
    for mut read in reads {
        let ended = incoming.receive_compressed(&mut read, RULES, &mut inflater, |message| {
            seen.push(format!("{message:?}"));
            ControlFlow::Continue(())
        });
        seen.extend(ended.err().map(|violation| violation.close_code().to_string()));
    }
    assert!(!(incoming.is_closed() && incoming.is_unfinished()));
    seen
}

#[track_caller]
fn hears(frames: &[Vec<u8>], expected: &[&str]) {
    let stream = frames.concat();
    assert_eq!(received([stream.clone()]), expected, "in one read");
    assert_eq!(received(stream.iter().map(|byte| vec![*byte])), expected, "byte by byte");
}

#[test]
fn the_samples_of_the_rfc_are_understood() {
    let hello = ["Text(\"Hello\")"];
    // 7.2.3.1: one frame, and two fragments.
    hears(&[compressed(TEXT, HELLO)], &hello);
    hears(&[frame(RSV1 | TEXT, &HELLO[..3]), frame(FIN | CONTINUATION, &HELLO[3..])], &hello);
    // 7.2.3.3: a block without compression.
    hears(&[compressed(TEXT, b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00")], &hello);
    // 7.2.3.4: a block marked as the last.
    hears(&[compressed(TEXT, b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00")], &hello);
    // 7.2.3.5: two blocks.
    hears(&[compressed(TEXT, b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00")], &hello);
    // 7.2.3.6: nothing at all.
    hears(&[compressed(TEXT, b"\x00")], &["Text(\"\")"]);
}

#[test]
fn the_sample_that_shares_a_window_is_refused_because_that_was_not_agreed_on() {
    // 7.2.3.2: the second "Hello" refers to the first.
    let first = compressed(TEXT, HELLO);
    hears(&[first.clone(), compressed(TEXT, b"\xf2\x00\x11\x00\x00")], &["Text(\"Hello\")", "1007"]);
    hears(&[first.clone(), first], &["Text(\"Hello\")", "Text(\"Hello\")"]);
}

#[test]
fn messages_of_every_size_level_and_window_are_echoed() {
    for size in [0, 1, 15, 16, 125, 126, 1000, 32_767, 32_768, 32_769, 65_535, 131_072, MESSAGE_MAX] {
        let message: String =
            (0_u32..).flat_map(|n| format!("{{\"n\":{n}}},").into_bytes()).map(char::from).take(size).collect();
        for (level, window_bits) in [(0, 15), (1, 9), (6, 15), (9, 12)] {
            let small = deflate(message.as_bytes(), level, window_bits);
            if small.len() > MESSAGE_MAX {
                continue;
            }
            let seen = received([compressed(TEXT, &small)]);
            assert_eq!(seen, [format!("Text({message:?})")], "{size} {level} {window_bits}");
            let mut pieces: Vec<_> = small.chunks(1000).map(|piece| frame(CONTINUATION, piece)).collect();
            pieces[0] = frame(RSV1 | TEXT, &small[..small.len().min(1000)]);
            pieces.push(frame(FIN | CONTINUATION, b""));
            assert_eq!(received(pieces), seen, "{size} {level} {window_bits} in fragments");
        }
    }
}

#[test]
fn a_message_may_come_plain_where_others_are_compressed_and_control_frames_between_its_fragments() {
    hears(
        &[
            frame(FIN | TEXT, b"plain"),
            frame(RSV1 | BINARY, &HELLO[..2]),
            frame(FIN | PING, b"?"),
            frame(CONTINUATION, &HELLO[2..4]),
            frame(FIN | PONG, b"!"),
            frame(FIN | CONTINUATION, &HELLO[4..]),
            frame(TEXT, b"pla"),
            frame(FIN | CONTINUATION, b"in"),
            frame(FIN | CLOSE, 1000_u16.to_be_bytes()),
        ],
        &[
            "Text(\"plain\")",
            "Ping([63])",
            "Pong([33])",
            "Binary([72, 101, 108, 108, 111])",
            "Text(\"plain\")",
            "Close(Close { code: Some(1000), reason: \"\" })",
        ],
    );
}

#[test]
fn only_the_first_frame_of_a_message_says_that_it_is_compressed() {
    for opcode in [PING, PONG, CLOSE] {
        hears(&[compressed(opcode, b"\x00")], &["1002"]);
    }
    for fin in [0, FIN] {
        hears(&[frame(RSV1 | TEXT, &HELLO[..3]), frame(fin | RSV1 | CONTINUATION, &HELLO[3..])], &["1002"]);
        hears(&[frame(TEXT, b"x"), frame(fin | RSV1 | CONTINUATION, b"y")], &["1002"]);
    }
    for others in [0x20, 0x10, 0x30] {
        hears(&[frame(FIN | RSV1 | others | TEXT, HELLO)], &["1002"]);
        hears(&[frame(FIN | others | TEXT, b"Hello")], &["1002"]);
    }
}

#[test]
fn without_an_agreement_a_compressed_message_is_a_violation() {
    let mut read = compressed(TEXT, HELLO);
    let ended = Incoming::default().receive(&mut read, RULES, |message| panic!("{message:?} was heard"));
    assert_eq!(ended.unwrap_err().close_code(), 1002);
}

#[test]
fn what_cannot_be_inflated_and_what_is_no_text_then_is_1007() {
    for garbage in [
        &b""[..],
        b"\x07",                         // a kind of block that does not exist
        b"\x00\x05\x00\xfa\xfe",         // lengths that do not agree
        b"\xf2\x48\xcd\xc9\xc9",         // cut within a block
        b"\xf2\x48\xcd\xc9\xc9\x07",     // without the rest of its empty block
        b"\xf3\x48\xcd\xc9\xc9\x07\x00", // the same behind a last block
        b"Hello",
    ] {
        hears(&[compressed(TEXT, garbage)], &["1007"]);
        hears(&[compressed(BINARY, garbage)], &["1007"]);
    }
    hears(&[compressed(TEXT, &deflate(b"\xce\xba\xff", 6, 15))], &["1007"]);
    hears(&[compressed(BINARY, &deflate(b"\xce\xba\xff", 6, 15))], &["Binary([206, 186, 255])"]);
}

#[test]
fn a_message_is_bounded_as_it_comes_and_inflated() {
    let inflates_to = |size: usize| compressed(BINARY, &deflate(&vec![0; size], 9, 15));
    let seen = received([inflates_to(MESSAGE_MAX)]);
    assert_eq!(seen.len(), 1);
    assert!(seen[0].starts_with("Binary(["));
    assert_eq!(received([inflates_to(MESSAGE_MAX + 1)]), ["1009"]);
    assert_eq!(received([inflates_to(100 << 20)]), ["1009"], "a bomb");
    // In fragments it is no smaller.
    let bomb = deflate(&vec![0; 100 << 20], 9, 15);
    let mut pieces: Vec<_> = bomb.chunks(60_000).map(|piece| frame(CONTINUATION, piece)).collect();
    pieces[0] = frame(RSV1 | BINARY, &bomb[..60_000.min(bomb.len())]);
    pieces.push(frame(FIN | CONTINUATION, b""));
    assert_eq!(received(pieces), ["1009"]);
    // What is announced is refused before it has come.
    let announced = frame(RSV1 | BINARY, vec![0; MESSAGE_MAX + 1]);
    assert_eq!(received([announced[..14].to_vec()]), ["1009"]);
}

#[test]
fn what_the_server_compresses_its_peer_reads() {
    let text = "news, ".repeat(DEFLATED_PAYLOAD_BYTES_MIN);
    let mut frame = Deflater::default().frame(&encode(Opcode::Text, text.as_bytes())).unwrap().to_vec();
    assert!(frame.len() < text.len() / 10);
    let (mut incoming, mut heard) = (Incoming::default(), 0);
    let rules = Rules { role: Role::Client, message_max: text.len() };
    let ended = incoming.receive_compressed(&mut frame, rules, &mut Inflater::default(), |message| {
        assert_eq!(message, Received::Text(&text));
        heard += 1;
        ControlFlow::Continue(())
    });
    assert_eq!((ended, heard), (Ok(()), 1));
}
