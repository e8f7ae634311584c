//! How much longer the others may wait while somebody misbehaves.

/// So many times what it is without, or so much more: whichever is kinder, because a small time doubles easily.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tolerance {
    pub(super) times: f64,
    pub(super) us: f64,
}

impl Tolerance {
    pub(super) fn allows(self, ratio: f64, excess_us: f64) -> bool {
        ratio <= self.times || excess_us <= self.us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_others_are_unharmed_within_either_bound_and_harmed_past_both() {
        let tolerance = Tolerance { times: 1.2, us: 2000.0 };
        assert!(tolerance.allows(1.2, 2001.0));
        assert!(tolerance.allows(1.3, 2000.0));
        assert!(!tolerance.allows(1.3, 2001.0));
    }
}
