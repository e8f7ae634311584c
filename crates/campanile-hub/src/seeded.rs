//! Maps whose order nobody outside can know, and which are the same in every life with the same seed.
//!
//! Owns the hashing of all of a mind's maps. Never draws randomness, as the standard map does: a mind that is simulated
//! twice, or whose instructions are counted twice, must do the same twice. The invariant: the seed goes into every hash,
//! so that names cannot be chosen to collide.

use std::collections::HashMap;
use std::hash::{BuildHasher, DefaultHasher, Hasher};

/// A map of a mind's own.
pub(crate) type Map<K, V> = HashMap<K, V, Seed>;

/// What makes hashes differ between servers: drawn at the start, see [`crate::letter::Homes::seed`].
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seed(pub(crate) u64);

impl BuildHasher for Seed {
    type Hasher = DefaultHasher;

    fn build_hasher(&self) -> DefaultHasher {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.0);
        hasher
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_hash_and_another_seed_another() {
        let hash = |seed| Seed(seed).hash_one("private-user.7");
        assert_eq!(hash(1), hash(1));
        assert_ne!(hash(1), hash(2));
    }
}
