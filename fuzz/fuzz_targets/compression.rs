//! Whatever is offered, compressed or said to be: no panic, no more than the bound, nothing of one message in the next.
//!
//! The input is taken for an offer, for a compressed message, and for a plain one. Its first byte chooses the bound.

#![no_main]

use std::ops::ControlFlow;

use campanile_protocol::websocket::{
    Deflater, Deflation, Incoming, Inflater, Opcode, Received, Role, Rules, Violation, encode, header,
};
use libfuzzer_sys::fuzz_target;

/// What a compressed frame carries, or why it is refused.
fn inflated(frame: &[u8], message_max: usize, inflater: &mut Inflater) -> Result<Vec<u8>, Violation> {
    let mut message = Vec::new();
    let rules = Rules { role: Role::Client, message_max };
    Incoming::default()
        .receive_compressed(&mut frame.to_vec(), rules, inflater, |received| {
            let Received::Binary(bytes) = received else { panic!("{received:?} is no binary message") };
            assert!(bytes.len() <= message_max);
            message.extend_from_slice(bytes);
            ControlFlow::Continue(())
        })
        .map(|()| message)
}

fuzz_target!(|input: &[u8]| {
    let extensions = |value| Deflation::agree([("sec-websocket-extensions", value)]);
    if let Ok(Some(agreed)) = extensions(input) {
        assert_eq!(extensions(agreed.to_string().as_bytes()), Ok(Some(agreed)));
    }

    let Some((&bound, payload)) = input.split_first() else { return };
    let message_max = payload.len() + usize::from(bound) * 64;
    let (mut first, size) = header(Opcode::Binary, payload.len());
    first[0] |= 0x40;
    let frame = [&first[..size], payload].concat();
    let mut inflater = Inflater::default();
    let verdict = inflated(&frame, message_max, &mut inflater);
    assert_eq!(inflated(&frame, message_max, &mut inflater), verdict, "the same again");
    if let Ok(message) = &verdict {
        let all = inflated(&frame, message_max + 1000, &mut inflater);
        assert_eq!(all.as_ref(), Ok(message), "under another bound");
    }

    // Long enough to be compressed, and with something to repeat.
    let plain = payload.repeat(1 + 600 / payload.len().max(1));
    let plain_frame = encode(Opcode::Binary, &plain);
    if let Some(compressed) = Deflater::default().frame(&plain_frame) {
        assert!(compressed.len() < plain_frame.len());
        assert_eq!(inflated(&compressed, plain.len(), &mut inflater), Ok(plain));
    }
});
