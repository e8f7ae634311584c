//! A string that must not be seen.
//!
//! Owns the text of a secret. Never shows it through `Debug` or `Serialize`: whoever needs it asks
//! by name, with [`Secret::expose`]. The invariant is I7: no secret is printed. Next:
//! `apps.rs`, where secrets are read.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

/// What stands in a secret's place wherever it would be printed.
pub const REDACTED: &str = "[redacted]";

/// Why that text is refused where a secret is read: everybody knows it.
pub(super) const REDACTED_REFUSAL: &str =
    "is the mark that `campanile check` prints in a secret's place: write the secret itself";

/// A secret from the configuration.
#[derive(Clone, Default, Deserialize, Eq, PartialEq)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes the text over.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself: for computing a signature, never for printing.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_neither_printed_nor_serialised() {
        let secret = Secret::new("s3cr3t".to_owned());
        assert_eq!(format!("{secret:?}"), REDACTED);
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"[redacted]\"");
        assert_eq!(secret.expose(), "s3cr3t");
    }
}
