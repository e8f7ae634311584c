//! Which web pages may connect, or call the HTTP API.
//!
//! Owns the patterns and their matching. Never decides what happens on a refusal. The invariant: an
//! origin matches by scheme, host and port as a browser compares them, never by substring. Next:
//! `apps.rs` and `cors.rs`, which hold such lists.

use super::problem::Problems;

/// A pattern that an `Origin` header is compared with.
///
/// `https://example.com` is that origin alone; without a scheme any scheme and, unless one is
/// written, any port will do. `*.` in front of the host stands for any subdomain, however deep, but
/// not for the host itself. `*` is every origin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OriginPattern {
    scheme: Option<String>,
    host: Host,
    port: Option<u16>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
enum Host {
    Any,
    Exactly(String),
    Under(String),
}

impl OriginPattern {
    /// Reads a pattern; the error says what is wrong with it.
    ///
    /// # Errors
    ///
    /// When it is not an origin: it has a path, a wildcard in the wrong place, or no host.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let lower = text.to_ascii_lowercase();
        if lower == "*" {
            return Ok(Self { scheme: None, host: Host::Any, port: None });
        }
        let (scheme, rest) = match lower.split_once("://") {
            Some((scheme, rest)) => (Some(scheme.to_owned()), rest),
            None => (None, lower.as_str()),
        };
        if scheme.as_deref().is_some_and(|scheme| {
            scheme.is_empty() || !scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
        }) {
            return Err("the scheme is not one: write it as in https://example.com");
        }
        if rest.contains(['/', '?', '#']) {
            return Err("an origin has no path: write it as in https://example.com");
        }
        let (host, port) = split_port(rest).ok_or("the port is not a number up to 65535")?;
        let host = match host.strip_prefix("*.") {
            Some(parent) => Host::Under(parent.to_owned()),
            None => Host::Exactly(host.to_owned()),
        };
        let (Host::Exactly(name) | Host::Under(name)) = &host else {
            return Err("the host is missing");
        };
        if name.is_empty() {
            return Err("the host is missing");
        }
        if name.contains('*') {
            return Err("a * may only stand for whole subdomains: write *.example.com");
        }
        if name.contains(|c: char| c.is_whitespace() || c == '@') {
            return Err("the host is not one: write it as in https://example.com");
        }
        Ok(Self { scheme, host, port })
    }

    /// Does an `Origin` header match?
    #[must_use]
    pub fn matches(&self, origin: &str) -> bool {
        if self.host == Host::Any {
            return true;
        }
        let origin = origin.to_ascii_lowercase();
        // "null", which a sandboxed page sends, has no scheme and matches only `*`.
        let Some((scheme, rest)) = origin.split_once("://") else {
            return false;
        };
        let Some((host, port)) = split_port(rest).filter(|(host, _)| is_host(host)) else {
            return false;
        };
        let host_matches = match &self.host {
            Host::Any => true,
            Host::Exactly(name) => host == name,
            Host::Under(parent) => host
                .strip_suffix(parent.as_str())
                .and_then(|front| front.strip_suffix('.'))
                .is_some_and(|subdomain| !subdomain.is_empty()),
        };
        let scheme_matches = self.scheme.as_ref().is_none_or(|known| known == scheme);
        let port_matches = match (self.port, &self.scheme) {
            (None, None) => true,
            (wanted, _) => wanted.or_else(|| default_port(scheme)) == port.or_else(|| default_port(scheme)),
        };
        host_matches && scheme_matches && port_matches
    }
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

/// A name or an IPv6 address in brackets, as browsers write them: nothing that another reader might take for a path, a
/// user or the end of the name.
fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)),
    }
}

/// Splits `host:port`, where the host may be an IPv6 address in brackets.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => {
            let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| Some((host, Some(port.parse().ok()?))))?
        }
        _ => Some((text, None)),
    }
}

/// A list of patterns.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct AllowedOrigins(Vec<OriginPattern>);

impl AllowedOrigins {
    /// Reads the list, telling each pattern that is none.
    pub(super) fn read(written: &[String], path: &str, problems: &mut Problems) -> Self {
        let mut patterns = Vec::new();
        for (index, text) in written.iter().enumerate() {
            match OriginPattern::parse(text) {
                Ok(pattern) => patterns.push(pattern),
                Err(reason) => {
                    problems.at(&format!("{path}[{index}]"), format!("{text:?}: {reason}"));
                }
            }
        }
        Self(patterns)
    }

    /// Is nothing listed?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Does any pattern match?
    #[must_use]
    pub fn contains(&self, origin: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(origin))
    }

    /// May a client with this `Origin` header connect?
    ///
    /// An empty list allows all. So does a missing header: it is sent by every browser, which is
    /// whom the list binds, and by no native SDK; whoever is not a browser can write any origin.
    #[must_use]
    pub fn allow(&self, origin: Option<&str>) -> bool {
        self.is_empty() || origin.is_none_or(|origin| self.contains(origin))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_matches_by_scheme_host_and_port() {
        for (pattern, origin, matches) in [
            ("https://example.com", "https://example.com", true),
            ("https://example.com", "HTTPS://Example.COM", true),
            ("https://example.com", "https://example.com:443", true),
            ("https://example.com:443", "https://example.com", true),
            ("https://example.com", "https://example.com:8443", false),
            ("https://example.com", "http://example.com", false),
            ("https://example.com", "https://example.com.evil.net", false),
            ("https://example.com", "https://evilexample.com", false),
            ("https://example.com", "https://www.example.com", false),
            ("https://*.example.com", "https://www.example.com", true),
            ("https://*.example.com", "https://a.b.example.com", true),
            ("https://*.example.com", "https://example.com", false),
            ("https://*.example.com", "https://.example.com", false),
            ("https://*.example.com", "https://evilexample.com", false),
            ("https://*.example.com", "http://www.example.com", false),
            ("example.com", "http://example.com:3000", true),
            ("example.com", "https://example.com", true),
            ("example.com", "https://www.example.com", false),
            ("example.com:3000", "http://example.com:3000", true),
            ("example.com:3000", "http://example.com", false),
            ("example.com:80", "http://example.com", true),
            ("*.example.com", "http://a.example.com:8080", true),
            ("https://*.example.com", "https://evil.com/.example.com", false),
            ("https://*.example.com", "https://evil.com#.example.com", false),
            ("https://*.example.com", "https://evil.com\\.example.com", false),
            ("https://*.example.com", "https://evil@a.example.com", false),
            ("https://*.example.com", "https://[::1].example.com", false),
            ("https://*.example.com", "https://a.example.com, https://evil.com", false),
            ("localhost", "http://localhost:+80", false),
            ("http://[::1]:3000", "http://[::1]:3000", true),
            ("[::1]", "http://[::1]:3000", true),
            ("*", "https://anything.test", true),
            ("*", "null", true),
            ("example.com", "null", false),
            ("example.com", "example.com", false),
            ("example.com", "", false),
        ] {
            let parsed = OriginPattern::parse(pattern).unwrap();
            assert_eq!(parsed.matches(origin), matches, "{pattern} against {origin}");
        }
    }

    #[test]
    fn what_is_not_an_origin_is_refused() {
        for text in [
            "",
            "https://",
            "https://*.",
            "https://example.com/",
            "example.com/path",
            "https://ex*mple.com",
            "*example.com",
            "**",
            "https://a.*.com",
            "://a",
            "a b",
            "https://user@example.com",
            "example.com:99999",
            "example.com:port",
        ] {
            assert!(OriginPattern::parse(text).is_err(), "{text:?} is accepted");
        }
    }

    #[test]
    fn an_empty_list_and_a_missing_header_are_allowed() {
        let none = AllowedOrigins::default();
        let one = AllowedOrigins(vec![OriginPattern::parse("example.com").unwrap()]);
        assert!(none.allow(Some("https://anything.test")));
        assert!(one.allow(None));
        assert!(one.allow(Some("https://example.com")));
        assert!(!one.allow(Some("https://other.test")));
    }
}
