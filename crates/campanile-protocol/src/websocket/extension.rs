//! The negotiation of permessage-deflate.
//!
//! Owns the reading of `Sec-WebSocket-Extensions` (RFC 6455, section 9.1) and which offer is taken (RFC 7692, section 5).
//!
//! Never compresses anything, and takes no offer that [`super::Deflater`] could not keep to.
//!
//! Keep in mind: neither end keeps anything from one message to the next, whatever the client offers. That is what lets
//! one compressed frame go to everybody, and one inflater read everybody's messages.
//!
//! Read next: `deflate.rs`.

use std::fmt;

use super::deflate::DEFLATE_WINDOW_BITS;
use super::handshake::UpgradeRefusal;

const HEADER: &str = "sec-websocket-extensions";
const NAME: &str = "permessage-deflate";

/// The windows that may be named at all, as the logarithm of their bytes.
const WINDOW_BITS: std::ops::RangeInclusive<u8> = 8..=15;

/// An offer of compression that we take. Its text is the value of the answer's `Sec-WebSocket-Extensions`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deflation {
    /// The client has bounded our window, to at least the one that we use.
    names_window: bool,
}

impl fmt::Display for Deflation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{NAME}; server_no_context_takeover; client_no_context_takeover")?;
        if self.names_window {
            write!(f, "; server_max_window_bits={DEFLATE_WINDOW_BITS}")?;
        }
        Ok(())
    }
}

impl Deflation {
    /// The first of the client's offers that can be kept to. `None`: there is no such offer, and nothing is compressed.
    /// A header that cannot be read at all ends the handshake, as RFC 6455 asks.
    pub fn agree<'a>(headers: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Option<Self>, UpgradeRefusal> {
        let mut agreed = None;
        for (name, value) in headers {
            if name.eq_ignore_ascii_case(HEADER) {
                for offer in (Reader { rest: value }).offers().ok_or(UpgradeRefusal::ExtensionsMalformed)? {
                    agreed = agreed.or_else(|| offer.accept());
                }
            }
        }
        Ok(agreed)
    }
}

/// An extension with its parameters, as a client has written them.
#[derive(Debug, PartialEq, Eq)]
struct Offer {
    name: String,
    parameters: Vec<(String, Option<String>)>,
}

impl Offer {
    /// Unless it is not ours, not understood, or asks for a smaller window than ours.
    fn accept(&self) -> Option<Deflation> {
        if self.name != NAME {
            return None;
        }
        let mut names_window = false;
        for (at, (name, value)) in self.parameters.iter().enumerate() {
            match (name.as_str(), value.as_deref()) {
                ("server_no_context_takeover" | "client_no_context_takeover" | "client_max_window_bits", None) => {}
                // Whatever window the client uses, what it compresses is inflated with the largest there is.
                ("client_max_window_bits", Some(bits)) => drop(window_bits(bits)?),
                ("server_max_window_bits", Some(bits)) if window_bits(bits)? >= DEFLATE_WINDOW_BITS => {
                    names_window = true;
                }
                _ => return None,
            }
            if self.parameters[..at].iter().any(|(other, _)| other == name) {
                return None;
            }
        }
        Some(Deflation { names_window })
    }
}

/// A decimal without leading zeros, within the range.
fn window_bits(text: &str) -> Option<u8> {
    WINDOW_BITS.into_iter().find(|bits| bits.to_string() == text)
}

/// What is left of a header's value.
struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    /// All of the value, a list of offers; `None` if it is anything else.
    fn offers(mut self) -> Option<Vec<Offer>> {
        let mut offers = Vec::new();
        loop {
            // Lists may have empty elements (RFC 9110, section 5.6.1.2).
            while self.takes(b',') {}
            if self.rest.is_empty() {
                return Some(offers);
            }
            let name = self.token()?;
            let mut parameters = Vec::new();
            while self.takes(b';') {
                let name = self.token()?;
                let value = if self.takes(b'=') { Some(self.value()?) } else { None };
                parameters.push((name, value));
            }
            offers.push(Offer { name, parameters });
            if !self.rest.is_empty() && !self.takes(b',') {
                return None;
            }
        }
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    fn takes(&mut self, byte: u8) -> bool {
        self.skip_space();
        let rest = self.rest.strip_prefix(&[byte]);
        self.rest = rest.unwrap_or(self.rest);
        self.skip_space();
        rest.is_some()
    }

    fn token(&mut self) -> Option<String> {
        let length = self.rest.iter().position(|byte| !is_token(*byte)).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(length);
        self.rest = rest;
        self.skip_space();
        (length > 0).then(|| token.iter().copied().map(char::from).collect())
    }

    /// A token, or one in quotes, where a backslash stands before any character that is meant as it is.
    fn value(&mut self) -> Option<String> {
        if !self.takes(b'"') {
            return self.token();
        }
        let mut value = String::new();
        loop {
            let (&first, rest) = self.rest.split_first()?;
            let (meant, rest) = match first {
                b'"' => {
                    self.rest = rest;
                    self.skip_space();
                    return (!value.is_empty()).then_some(value);
                }
                b'\\' => rest.split_first().map(|(&byte, rest)| (byte, rest))?,
                byte => (byte, rest),
            };
            if !is_token(meant) {
                return None;
            }
            value.push(char::from(meant));
            self.rest = rest;
        }
    }
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AGREED: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

    fn agree(values: &[&str]) -> Result<Option<String>, UpgradeRefusal> {
        let headers = values.iter().map(|value| ("Sec-WebSocket-Extensions", value.as_bytes()));
        Deflation::agree(headers).map(|agreed| agreed.map(|deflation| deflation.to_string()))
    }

    #[test]
    fn what_browsers_and_libraries_offer_is_taken_without_context_takeover() {
        for offer in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate;client_max_window_bits=8",
            "permessage-deflate ; client_max_window_bits = \"15\"",
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            "x-webkit-deflate-frame, permessage-deflate",
            " ,, permessage-deflate ,",
        ] {
            assert_eq!(agree(&[offer]), Ok(Some(AGREED.to_owned())), "{offer}");
        }
        let named = format!("{AGREED}; server_max_window_bits=12");
        assert_eq!(
            agree(&["permessage-deflate; server_max_window_bits=12; client_max_window_bits=12"]),
            Ok(Some(named))
        );
    }

    #[test]
    fn a_window_at_ours_is_honoured_and_a_smaller_one_declines_the_offer() {
        let asked = |bits: u8| agree(&[&format!("permessage-deflate; server_max_window_bits={bits}")]).unwrap();
        assert_eq!(asked(DEFLATE_WINDOW_BITS - 1), None);
        for bits in DEFLATE_WINDOW_BITS..=15 {
            assert_eq!(asked(bits), Some(format!("{AGREED}; server_max_window_bits={DEFLATE_WINDOW_BITS}")));
        }
        assert_eq!(asked(16), None);
    }

    #[test]
    fn an_offer_that_is_not_understood_is_declined() {
        for offer in [
            "",
            "permessage-bzip2",
            "Permessage-Deflate",
            "permessage-deflate; unknown",
            "permessage-deflate; server_no_context_takeover=true",
            "permessage-deflate; client_no_context_takeover=\"1\"",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; client_max_window_bits=16",
            "permessage-deflate; client_max_window_bits=08",
            "permessage-deflate; client_max_window_bits=+9",
            "permessage-deflate; client_max_window_bits; client_max_window_bits",
            "permessage-deflate; client_max_window_bits=9; client_max_window_bits=9",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; server_max_window_bits=15; server_max_window_bits=14",
        ] {
            assert_eq!(agree(&[offer]), Ok(None), "{offer}");
        }
        assert_eq!(agree(&[]), Ok(None));
        assert_eq!(Deflation::agree([("Sec-WebSocket-Protocol", &b"permessage-deflate"[..])]), Ok(None));
    }

    #[test]
    fn of_several_offers_the_first_that_can_be_kept_to_is_taken_in_one_header_or_several() {
        let (small, ours) =
            ("permessage-deflate; server_max_window_bits=9", "permessage-deflate; server_max_window_bits=13");
        let named = format!("{AGREED}; server_max_window_bits=12");
        assert_eq!(agree(&[&format!("{small}, {ours}, permessage-deflate")]), Ok(Some(named.clone())));
        assert_eq!(agree(&[small, "other", ours, "permessage-deflate"]), Ok(Some(named)));
        assert_eq!(agree(&[&format!("{small}, permessage-deflate, {ours}")]), Ok(Some(AGREED.to_owned())));
    }

    #[test]
    fn what_is_no_list_of_extensions_is_refused_wherever_it_stands() {
        for broken in [
            ";",
            "=",
            "permessage-deflate permessage-deflate",
            "permessage-deflate;",
            "permessage-deflate; ;",
            "permessage-deflate; client_max_window_bits=",
            "permessage-deflate; client_max_window_bits=\"",
            "permessage-deflate; client_max_window_bits=\"\"",
            "permessage-deflate; client_max_window_bits=\"9",
            "permessage-deflate; client_max_window_bits=\"9\\",
            "permessage-deflate; client_max_window_bits=\"1 5\"",
            "permessage-deflate; client_max_window_bits=\"9\"9",
            "permessage-deflate=9",
            "permessage-deflate/1",
            "permessage-d\u{e9}flate",
        ] {
            assert_eq!(agree(&[broken]), Err(UpgradeRefusal::ExtensionsMalformed), "{broken}");
            assert_eq!(agree(&["permessage-deflate", broken]), Err(UpgradeRefusal::ExtensionsMalformed), "{broken}");
        }
        assert_eq!(UpgradeRefusal::ExtensionsMalformed.status(), 400);
    }

    #[test]
    fn quotes_and_backslashes_are_no_part_of_a_value() {
        assert_eq!(agree(&["permessage-deflate; client_max_window_bits=\"\\1\\5\""]), Ok(Some(AGREED.to_owned())));
    }

    proptest! {
        #[test]
        fn any_value_is_judged(value: Vec<u8>) {
            let _verdict = Deflation::agree([("Sec-WebSocket-Extensions", &value[..])]);
        }

        #[test]
        fn what_is_agreed_on_is_what_a_client_would_offer(offer in "(permessage-deflate|[;=, \"\\\\]|[a-z_]*_(window_bits|takeover)|1?[0-9]){0,12}") {
            if let Ok(Some(agreed)) = agree(&[&offer]) {
                prop_assert_eq!(agree(&[&agreed]), Ok(Some(agreed)));
            }
        }
    }
}
