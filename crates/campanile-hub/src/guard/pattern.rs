//! Which names a rule means.
//!
//! Owns the one form that there is: a name, in which one `*` stands for any text, or one `{user}` for a user's id. Never
//! knows what it names. The invariant: matching takes no longer than comparing two texts.

use std::fmt;
use std::sync::Arc;

const ANY: &str = "*";
const USER: &str = "{user}";

/// Why a text is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidPattern {
    /// It is empty.
    Empty,
    /// It has more than one `*` or `{user}`.
    Several,
    /// It has another brace.
    Brace,
}

impl fmt::Display for InvalidPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "must not be empty: leave it out where it should mean all",
            Self::Several => "may have one * or one {user}, and no more",
            Self::Brace => "may have no braces but those of {user}",
        })
    }
}

impl std::error::Error for InvalidPattern {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wild {
    Any,
    User,
}

/// A name, or many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: Arc<str>,
    /// Where the one is that stands for something else.
    wild: Option<(Wild, usize)>,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    ///
    /// Says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        if text.is_empty() {
            return Err(InvalidPattern::Empty);
        }
        let any = text.match_indices(ANY).map(|(at, _)| (Wild::Any, at));
        let user = text.match_indices(USER).map(|(at, _)| (Wild::User, at));
        let mut found = any.chain(user);
        let (wild, more) = (found.next(), found.next());
        if more.is_some() {
            return Err(InvalidPattern::Several);
        }
        if text.replacen(USER, "", 1).contains(['{', '}']) {
            return Err(InvalidPattern::Brace);
        }
        Ok(Self { text: text.into(), wild })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it names a user.
    pub fn has_user(&self) -> bool {
        matches!(self.wild, Some((Wild::User, _)))
    }

    /// Whether it means this name.
    pub fn matches(&self, name: &str) -> bool {
        match self.wild {
            None => *self.text == *name,
            Some((wild, _)) => self.middle(name).is_some_and(|middle| wild == Wild::Any || !middle.is_empty()),
        }
    }

    /// The user whom this name is about.
    pub fn user<'n>(&self, name: &'n str) -> Option<&'n str> {
        if !self.has_user() {
            return None;
        }
        self.middle(name).filter(|user| !user.is_empty())
    }

    /// The name that is about this user. `None`: the pattern names none.
    pub fn with_user(&self, user: &str) -> Option<String> {
        let (wild, at) = self.wild.filter(|_| !user.is_empty())?;
        (wild == Wild::User).then(|| format!("{}{user}{}", &self.text[..at], &self.text[at + USER.len()..]))
    }

    fn middle<'n>(&self, name: &'n str) -> Option<&'n str> {
        let (wild, at) = self.wild?;
        let length = if wild == Wild::User { USER.len() } else { ANY.len() };
        name.strip_prefix(&self.text[..at])?.strip_suffix(&self.text[at + length..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_means_a_name_or_what_begins_and_ends_as_it_does() {
        for (pattern, yes, no) in [
            ("order.shipped", &["order.shipped"][..], &["order.shippe", "order.shipped2", "Order.shipped"][..]),
            ("order.*", &["order.", "order.shipped", "order.*"], &["order", "my.order.x"]),
            ("*.shipped", &[".shipped", "order.shipped"], &["shipped", "order.shipped.x"]),
            ("a*a", &["aa", "aba"], &["a", "ab"]),
            ("*", &["", "x"], &[]),
            ("private-user.{user}", &["private-user.7", "private-user.7.8"], &["private-user.", "user.7"]),
            (r"App\Events\*", &[r"App\Events\Sent"], &[r"App\Event"]),
        ] {
            let parsed = Pattern::parse(pattern).unwrap();
            assert_eq!(parsed.as_str(), pattern);
            assert!(yes.iter().all(|name| parsed.matches(name)), "{pattern}");
            assert!(!no.iter().any(|name| parsed.matches(name)), "{pattern}");
        }
    }

    #[test]
    fn a_user_is_what_stands_in_their_place() {
        let pattern = Pattern::parse("private-App.Models.User.{user}").unwrap();
        assert_eq!(pattern.user("private-App.Models.User.42"), Some("42"));
        assert_eq!(pattern.user("private-App.Models.User."), None);
        assert_eq!(pattern.user("private-App.Models.Team.42"), None);
        assert_eq!(Pattern::parse("private-*").unwrap().user("private-42"), None);
        assert_eq!(pattern.with_user("42").as_deref(), Some("private-App.Models.User.42"));
        assert_eq!(pattern.with_user(""), None);
        assert_eq!(Pattern::parse("private-*").unwrap().with_user("42"), None);
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_a_reason() {
        for (text, why) in [
            ("", InvalidPattern::Empty),
            ("a*b*", InvalidPattern::Several),
            ("*.{user}", InvalidPattern::Several),
            ("{user}{user}", InvalidPattern::Several),
            ("{id}", InvalidPattern::Brace),
            ("{user}}", InvalidPattern::Brace),
            ("{use", InvalidPattern::Brace),
        ] {
            assert_eq!(Pattern::parse(text), Err(why), "{text:?}");
        }
    }
}
