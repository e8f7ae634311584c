//! The link in a mail that ends mails of its category (RFC 8058).
//!
//! Owns the token, and the pages behind the link. Never changes a preference: whoever serves the pages does, and only for a
//! POST, because scanners follow every link that they find. The invariant: a token names one user and one category, and nobody
//! can make one who does not have our key.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

use super::secret_file::{self, SecretFileError};

/// The key's file in `state_dir`.
pub const KEY_FILE: &str = "unsubscribe.key";

/// The longest token that is looked at; the longest that is made has some 1,100 characters.
pub const TOKEN_LENGTH_MAX: usize = 2048;

const KEY_BYTES: usize = 32;

/// Whose mails of which kind are to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsubscription {
    /// Whose app.
    pub app: String,
    /// Whose mails.
    pub user: String,
    /// Of which category.
    pub category: String,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be had.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// It holds something else.
    #[error(
        "{0} holds no key of {KEY_BYTES} bytes in base64url: restore it, or remove it, which ends every link that was sent"
    )]
    Damaged(String),
}

/// Makes and reads tokens.
#[derive(Debug, Clone)]
pub struct Tokens(hmac::Key);

impl Tokens {
    /// With the key that is kept in this directory, made at the first time.
    ///
    /// # Errors
    ///
    /// When it cannot be read or written, or is damaged.
    pub fn keep_in(state_dir: &Path) -> Result<Self, KeyError> {
        let path = state_dir.join(KEY_FILE);
        let text = secret_file::read_or_make(&path, || {
            let mut key = [0; KEY_BYTES];
            let drawn = SystemRandom::new().fill(&mut key);
            drawn.map_err(|_| std::io::Error::other("the system gives no randomness"))?;
            Ok(URL_SAFE_NO_PAD.encode(key) + "\n")
        })?;
        let key = URL_SAFE_NO_PAD.decode(text.trim()).ok().filter(|key| key.len() == KEY_BYTES);
        Ok(Self::of(&key.ok_or_else(|| KeyError::Damaged(path.display().to_string()))?))
    }

    /// With this key: for several servers that send mails of one store.
    pub fn of(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The token for this. It does not expire: mails are kept for years.
    pub fn make(&self, unsubscription: &Unsubscription) -> String {
        let claims = serde_json::to_vec(unsubscription).expect("three texts are JSON");
        let claims = URL_SAFE_NO_PAD.encode(claims);
        let tag = hmac::sign(&self.0, claims.as_bytes());
        format!("{claims}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    /// What a token is for; nothing if it is not one of ours.
    pub fn read(&self, token: &str) -> Option<Unsubscription> {
        if token.len() > TOKEN_LENGTH_MAX {
            return None;
        }
        let (claims, tag) = token.split_once('.')?;
        hmac::verify(&self.0, claims.as_bytes(), &URL_SAFE_NO_PAD.decode(tag).ok()?).ok()?;
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
    }
}

/// What the browser may do with a page: show it, and send its form back.
pub const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// A page behind the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page<'a> {
    /// Shall the mails of this category, as people call it, end?
    Ask(&'a str),
    /// They have.
    Done(&'a str),
    /// They cannot: the application requires them.
    Required(&'a str),
    /// The link is not one of ours.
    Invalid,
    /// The store is away.
    Later,
}

impl Page<'_> {
    /// Its status.
    pub fn status(self) -> u16 {
        match self {
            Self::Ask(_) | Self::Done(_) => 200,
            Self::Required(_) => 409,
            Self::Invalid => 404,
            Self::Later => 503,
        }
    }

    /// The page. Its form goes back to the address it came from, so that it knows no path.
    pub fn html(self) -> String {
        let (heading, text, form) = match self {
            Self::Ask(category) => (
                "Stop these e-mails?",
                format!("You will get no more e-mails about <strong>{}</strong>.", escaped(category)),
                "<form method=\"post\"><button name=\"confirm\" value=\"1\">Stop these e-mails</button></form>",
            ),
            Self::Done(category) => {
                ("Done", format!("You will get no more e-mails about <strong>{}</strong>.", escaped(category)), "")
            }
            Self::Required(category) => (
                "These e-mails cannot be stopped",
                format!("Whoever sends them has to write to you about <strong>{}</strong>.", escaped(category)),
                "",
            ),
            Self::Invalid => (
                "This link does not work",
                "It may have been cut off on its way: copy it whole from the e-mail.".to_owned(),
                "",
            ),
            Self::Later => ("That did not work", "Nothing has changed. Please try again in a minute.".to_owned(), ""),
        };
        format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\"><meta name=\"robots\" content=\"noindex\">\
             <title>{heading}</title><style>:root{{color-scheme:light dark}}body{{font:1.1rem/1.5 system-ui,sans-serif;\
             max-width:32rem;margin:15vh auto;padding:0 1rem}}button{{font:inherit;padding:.5rem 1rem}}</style></head>\
             <body><main><h1>{heading}</h1><p>{text}</p>{form}</main></body></html>"
        )
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn comments_of(user: &str) -> Unsubscription {
        Unsubscription { app: "shop".to_owned(), user: user.to_owned(), category: "comments".to_owned() }
    }

    #[test]
    fn a_token_is_read_by_whoever_made_it_and_by_nobody_else() {
        let (tokens, others) = (Tokens::of(&[1; 32]), Tokens::of(&[2; 32]));
        let token = tokens.make(&comments_of("42"));
        assert_eq!(tokens.read(&token), Some(comments_of("42")));
        assert_eq!(others.read(&token), None);
        let (claims, tag) = token.split_once('.').unwrap();
        let forged = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&comments_of("43")).unwrap());
        for bad in [format!("{forged}.{tag}"), format!("{claims}."), claims.to_owned(), String::new(), "é.é".to_owned()]
        {
            assert_eq!(tokens.read(&bad), None, "{bad}");
        }
    }

    #[test]
    fn the_longest_names_make_a_token_that_is_read_and_a_longer_one_is_not_looked_at() {
        let tokens = Tokens::of(&[1; 32]);
        let long = |length| {
            let user = "u".repeat(length);
            Unsubscription { app: "a".repeat(200), category: "c".repeat(200), user }
        };
        let token = tokens.make(&long(200));
        assert!(token.len() < 1_100, "{}", token.len());
        assert_eq!(tokens.read(&token), Some(long(200)));
        let length = |user: usize| tokens.make(&long(user)).len();
        let fits = (200..3000).take_while(|user| length(*user) <= TOKEN_LENGTH_MAX).last().unwrap();
        assert_eq!(tokens.read(&tokens.make(&long(fits))), Some(long(fits)));
        assert_eq!(tokens.read(&tokens.make(&long(fits + 1))), None);
    }

    #[test]
    fn the_key_outlives_the_server_and_a_damaged_one_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let token = Tokens::keep_in(directory.path()).unwrap().make(&comments_of("42"));
        assert_eq!(Tokens::keep_in(directory.path()).unwrap().read(&token), Some(comments_of("42")));
        fs::write(directory.path().join(KEY_FILE), "c2hvcnQ").unwrap();
        let refused = Tokens::keep_in(directory.path()).unwrap_err().to_string();
        assert!(refused.contains("holds no key of 32 bytes"), "{refused}");
    }

    #[test]
    fn the_page_asks_with_a_button_and_shows_a_name_as_text() {
        let asks = Page::Ask("<script>alert(1)</script> & \"you\"").html();
        assert!(asks.contains("<form method=\"post\"><button"), "{asks}");
        assert!(asks.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;you&quot;"), "{asks}");
        for page in [Page::Done("comments"), Page::Required("comments"), Page::Invalid, Page::Later] {
            assert!(!page.html().contains("<form"), "{page:?}");
        }
        let statuses = [Page::Ask("x"), Page::Done("x"), Page::Required("x"), Page::Invalid, Page::Later];
        assert_eq!(statuses.map(Page::status), [200, 200, 409, 404, 503]);
    }
}
