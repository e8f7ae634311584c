//! Who came to a stage first.
//!
//! Owns the order alone: whether a socket is still at the stage, its worker knows. Never closes one. The invariant: a line
//! is never longer than twice those who were still in it when it was last looked through. Read on in `accept.rs`, which
//! takes from its front when there is no room for a newcomer.

use std::collections::VecDeque;

use campanile_hub::ConnectionId;

/// A line this short is not looked through.
const LENGTH_MIN: usize = 64;

/// Sockets in the order in which they came to a stage, and some that have left it since.
#[derive(Debug, Default)]
pub(super) struct Line {
    sockets: VecDeque<ConnectionId>,
    look_through_at: usize,
}

impl Line {
    /// One more. `is_in` says who is still there.
    pub(super) fn join(&mut self, id: ConnectionId, is_in: impl Fn(ConnectionId) -> bool) {
        if self.sockets.len() >= self.look_through_at.max(LENGTH_MIN) {
            self.sockets.retain(|id| is_in(*id));
            self.look_through_at = 2 * self.sockets.len();
        }
        self.sockets.push_back(id);
    }

    /// Takes out the first who is still there.
    pub(super) fn first(&mut self, is_in: impl Fn(ConnectionId) -> bool) -> Option<ConnectionId> {
        while let Some(id) = self.sockets.pop_front() {
            if is_in(id) {
                return Some(id);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(index: u32) -> ConnectionId {
        ConnectionId { index, generation: 0 }
    }

    #[test]
    fn the_first_is_the_one_who_came_first_of_those_who_are_still_there() {
        let mut line = Line::default();
        for index in 0..10 {
            line.join(id(index), |_| true);
        }
        assert_eq!(line.first(|id| id.index > 3), Some(id(4)));
        assert_eq!(line.first(|_| true), Some(id(5)));
        assert_eq!(line.first(|id| id.index == 9), Some(id(9)));
        assert_eq!(line.first(|_| true), None);
    }

    #[test]
    fn a_line_is_as_long_as_twice_those_in_it_and_no_longer() {
        let mut line = Line::default();
        // Each leaves when a hundred more have come.
        for index in 0..100_000 {
            line.join(id(index), |id| id.index + 100 > index);
            assert!(line.sockets.len() <= 200, "{}", line.sockets.len());
        }
        for index in 100_000..100_000 + u32::try_from(LENGTH_MIN).unwrap() + 200 {
            line.join(id(index), |_| false);
        }
        assert!(line.sockets.len() <= LENGTH_MIN);
    }
}
