//! Whatever a peer sends: no panic, and the same meaning however the network cuts it.
//!
//! The first bytes of the input choose our role, whether messages may be compressed, the bound on one and the cuts.

#![no_main]

use std::ops::ControlFlow;

use campanile_protocol::websocket::{Close, Incoming, Inflater, Received, Role, Rules, Violation};
use libfuzzer_sys::fuzz_target;

const CUTS: usize = 4;

#[derive(Debug, PartialEq)]
enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>, String),
    Violation(Violation),
}

fn receive<'a>(reads: impl IntoIterator<Item = &'a [u8]>, rules: Rules, compression: bool) -> Vec<Seen> {
    let (mut incoming, mut inflater) = (Incoming::default(), Inflater::default());
    let mut seen = Vec::new();
    for read in reads {
        let sink = |received: Received<'_>| {
            seen.push(match received {
                Received::Text(text) => Seen::Text(text.to_owned()),
                Received::Binary(bytes) => Seen::Binary(bytes.to_vec()),
                Received::Ping(payload) => Seen::Ping(payload.to_vec()),
                Received::Pong(payload) => Seen::Pong(payload.to_vec()),
                Received::Close(Close { code, reason }) => Seen::Close(code, reason.to_owned()),
            });
            ControlFlow::Continue(())
        };
        let ended = if compression {
            incoming.receive_compressed(&mut read.to_vec(), rules, &mut inflater, sink)
        } else {
            incoming.receive(&mut read.to_vec(), rules, sink)
        };
        seen.extend(ended.err().map(Seen::Violation));
    }
    for message in &seen {
        match message {
            Seen::Text(text) => assert!(text.len() <= rules.message_max),
            Seen::Binary(bytes) => assert!(bytes.len() <= rules.message_max),
            Seen::Ping(payload) | Seen::Pong(payload) => assert!(payload.len() <= 125),
            Seen::Close(..) | Seen::Violation(_) => assert!(incoming.is_closed()),
        }
    }
    assert!(!(incoming.is_closed() && incoming.is_unfinished()));
    seen
}

fuzz_target!(|input: &[u8]| {
    let Some((&[kind, message_max, ref cuts @ ..], stream)) = input.split_first_chunk::<{ 2 + CUTS }>() else {
        return;
    };
    let rules = Rules {
        role: if kind % 2 == 0 { Role::Server } else { Role::Client },
        message_max: usize::from(message_max) * 8,
    };
    let compression = kind & 2 != 0;
    let at_once = receive([stream], rules, compression);
    assert_eq!(receive(stream.chunks(1), rules, compression), at_once, "byte by byte");

    let mut reads = Vec::new();
    let mut rest = stream;
    for &cut in cuts.iter().cycle() {
        let (read, after) = rest.split_at(usize::from(cut).clamp(1, 64).min(rest.len()));
        reads.push(read);
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    assert_eq!(receive(reads, rules, compression), at_once, "in reads of {cuts:?}");
});
