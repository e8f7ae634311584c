//! Whether a licence expression can be met.
//!
//! Owns the reading of SPDX expressions as `Cargo.toml` has them. Never knows which licences are welcome: it is given
//! a test for one. The invariant: what is not understood is refused. Read on in [`crate::dependencies`].

/// Whether licences that `is_allowed` can be chosen so that the expression holds.
pub(crate) fn is_met(expression: &str, is_allowed: impl Fn(&str) -> bool) -> bool {
    // Before SPDX, crates wrote a slash for "or".
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut reader = Reader { words: spaced.split_whitespace().collect(), at: 0, is_allowed };
    reader.any() == Some(true) && reader.at == reader.words.len()
}

struct Reader<'a, F> {
    words: Vec<&'a str>,
    at: usize,
    is_allowed: F,
}

impl<F: Fn(&str) -> bool> Reader<'_, F> {
    fn takes(&mut self, word: &str) -> bool {
        let next_is = self.words.get(self.at) == Some(&word);
        self.at += usize::from(next_is);
        next_is
    }

    fn any(&mut self) -> Option<bool> {
        let mut met = self.all()?;
        while self.takes("OR") {
            met |= self.all()?;
        }
        Some(met)
    }

    fn all(&mut self) -> Option<bool> {
        let mut met = self.one()?;
        while self.takes("AND") {
            met &= self.one()?;
        }
        Some(met)
    }

    fn one(&mut self) -> Option<bool> {
        if self.takes("(") {
            let met = self.any()?;
            return self.takes(")").then_some(met);
        }
        let licence = *self.words.get(self.at)?;
        if matches!(licence, "OR" | "AND" | "WITH" | ")") {
            return None;
        }
        self.at += 1;
        if !self.takes("WITH") {
            return Some((self.is_allowed)(licence));
        }
        let exception = *self.words.get(self.at)?;
        self.at += 1;
        Some((self.is_allowed)(&format!("{licence} WITH {exception}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_met_by_mit_or_isc(expression: &str) -> bool {
        is_met(expression, |licence| ["MIT", "ISC"].contains(&licence))
    }

    #[test]
    fn one_alternative_is_enough_and_a_conjunction_needs_all() {
        for met in
            ["MIT", "GPL-3.0 OR MIT", "GPL-3.0/MIT", "MIT AND ISC", "(GPL-3.0 OR MIT) AND ISC", "GPL-3.0 AND X OR MIT"]
        {
            assert!(is_met_by_mit_or_isc(met), "{met}");
        }
        for unmet in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND GPL-3.0", "MIT WITH some-exception", "mit"] {
            assert!(!is_met_by_mit_or_isc(unmet), "{unmet}");
        }
    }

    #[test]
    fn what_is_not_an_expression_is_refused() {
        for broken in ["", "MIT ISC", "MIT OR", "OR MIT", "(MIT", "MIT)", "()", "MIT AND", "MIT WITH"] {
            assert!(!is_met_by_mit_or_isc(broken), "{broken}");
        }
    }
}
