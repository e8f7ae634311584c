//! Where choices come from: a seed, or every path in turn.
//!
//! Owns no clock and no entropy. The invariant: the same seed, or the same path, makes the same choices.

/// Random numbers from a seed (SplitMix64).
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`, which is not 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    /// True so many times in a hundred.
    pub(crate) fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// Every sequence of choices, one run after the other, the last choice changing fastest.
#[derive(Debug, Default)]
pub(crate) struct Path {
    choices: Vec<(usize, usize)>,
    at: usize,
}

impl Path {
    /// This run's choice among `n`, which is not 0.
    pub(crate) fn choose(&mut self, n: usize) -> usize {
        if self.at == self.choices.len() {
            self.choices.push((0, n));
        }
        let (taken, of) = self.choices[self.at];
        assert_eq!(of, n, "the same choices lead to the same place");
        self.at += 1;
        taken
    }

    /// Goes on to the next path. False: there is none.
    pub(crate) fn advance(&mut self) -> bool {
        self.at = 0;
        while let Some((taken, of)) = self.choices.last_mut() {
            *taken += 1;
            if taken < of {
                return true;
            }
            self.choices.pop();
        }
        false
    }
}
