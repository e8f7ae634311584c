//! What a client does once its connection has ended.
//!
//! Owns the meaning of close codes to clients, as pusher-js acts on them. Never sleeps. The invariant:
//! a code that says "never" is never tried again, whoever asks. Next: `connection.rs` for how
//! a connection ends.

use std::time::Duration;

/// How long pusher-js waits before it connects again, unless the code says at once.
const BACKOFF: Duration = Duration::from_secs(1);

/// What comes after a close.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Next {
    /// The same request would be refused again.
    GiveUp,
    /// Connect again after this long.
    ConnectAfter(Duration),
}

/// What a client does after this close code, or after an end without one.
///
/// `was_established` tells whether the protocol's greeting had come. Without one, even "at once" waits, so that
/// a server that turns everybody away is not asked in a loop.
pub(crate) fn after_close(code: Option<u16>, was_established: bool) -> Next {
    match code {
        Some(4000..=4099) => Next::GiveUp,
        Some(4200..=4299) if was_established => Next::ConnectAfter(Duration::ZERO),
        // pusher-js takes every other code of its range for a refusal, too.
        Some(4300..=4999) => Next::GiveUp,
        _ => Next::ConnectAfter(BACKOFF),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_final_and_every_other_code_says_when_to_come_back() {
        let at_once = Next::ConnectAfter(Duration::ZERO);
        let later = Next::ConnectAfter(BACKOFF);
        for (code, next) in [
            (3999, later),
            (4000, Next::GiveUp),
            (4099, Next::GiveUp),
            (4100, later),
            (4199, later),
            (4200, at_once),
            (4299, at_once),
            (4300, Next::GiveUp),
            (4999, Next::GiveUp),
            (1000, later),
            (1001, later),
            (1006, later),
        ] {
            assert_eq!(after_close(Some(code), true), next, "{code}");
        }
        assert_eq!(after_close(None, true), later);
    }

    #[test]
    fn a_connection_that_never_was_is_not_tried_again_at_once() {
        assert_eq!(after_close(Some(4200), false), Next::ConnectAfter(BACKOFF));
        assert_eq!(after_close(Some(4001), false), Next::GiveUp);
    }
}
