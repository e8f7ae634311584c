//! A place in a channel's events, so that a client can say how far it has heard.
//!
//! Owns the text `epoch-number`. Never knows what was published there. The invariant: two positions of one epoch are in
//! the order of their numbers, and nothing can be said of two epochs. Both are ours; the protocol has no such thing.

use std::fmt;
use std::str::FromStr;

/// The longest text of a position: two numbers of 64 bits, the first in hexadecimal.
pub const POSITION_LENGTH_MAX: usize = 16 + 1 + 20;

/// What `"since":"..",` takes beside a member in `channel_data`: whoever fitted the first time must fit when they come back.
pub const SINCE_BYTES_MAX: usize = r#""since":"","#.len() + POSITION_LENGTH_MAX;

/// How far a channel's events have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Position {
    /// Differs whenever what was published before is not known any more.
    pub epoch: u64,
    /// How many events there have been in this epoch.
    pub number: u64,
}

impl Position {
    /// Further than any channel has come, so whoever names it is told of a gap.
    pub const UNKNOWN: Self = Self { epoch: 0, number: u64::MAX };
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.epoch, self.number)
    }
}

/// A text that is no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a position is what replay.position said, such as 9f2c41d07be3a815-42")]
pub struct NoPosition;

impl FromStr for Position {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let (epoch, number) = text.split_once('-').ok_or(NoPosition)?;
        let position = Self {
            epoch: u64::from_str_radix(epoch, 16).map_err(|_| NoPosition)?,
            number: number.parse().map_err(|_| NoPosition)?,
        };
        // One position has one text: neither signs nor leading zeros.
        if position.to_string() == text { Ok(position) } else { Err(NoPosition) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_was_written() {
        for (epoch, number) in [(0, 0), (0x9f2c, 42), (u64::MAX, u64::MAX)] {
            let position = Position { epoch, number };
            assert_eq!(position.to_string().parse(), Ok(position));
            assert!(position.to_string().len() <= POSITION_LENGTH_MAX);
        }
    }

    #[test]
    fn one_position_has_one_text() {
        for text in
            ["", "-", "1", "1-", "-1", "g-1", "1-+1", "+1-1", "01-1", "1-01", "A-1", "1-1-1", "1-18446744073709551616"]
        {
            assert_eq!(text.parse::<Position>(), Err(NoPosition), "{text:?}");
        }
    }
}
