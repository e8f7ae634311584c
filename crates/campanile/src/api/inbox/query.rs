//! What a query of the inbox's endpoints asks for.
//!
//! Owns the parameters and their refusals. Never looks at those that sign. The invariant: a parameter that means nothing
//! here is refused with those that there are, so that a misspelt one is not passed over.

use std::borrow::Cow;

use campanile_inbox::{ChangesQuery, Cursor, PageQuery, Status};

use super::refusal::{Code, Refused};
use super::routes::Endpoint;

/// The parameters of one request.
#[derive(Debug)]
pub(super) struct Query<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

/// A page, or what has changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Page(PageQuery),
    Changes(ChangesQuery),
}

impl<'a> Query<'a> {
    /// Reads a query whose parameters are the endpoint's, or those of a signature.
    pub(super) fn read(query: Option<&'a str>, endpoint: &Endpoint) -> Result<Self, Refused> {
        let mut found: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()).take(64) {
            if name.starts_with("auth_") || name == "body_md5" {
                continue;
            }
            if !endpoint.query.iter().any(|(known, _)| *known == name) {
                let known: Vec<&str> = endpoint.query.iter().map(|(known, _)| *known).collect();
                let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                let name: String = name.chars().take(64).collect();
                let text = format!("{name:?} is no parameter of this path. Known: {known}");
                return Err(Refused::new(Code::InvalidParameter, text).at(name));
            }
            if found.iter().any(|(before, _)| *before == name) {
                return Err(
                    Refused::new(Code::InvalidParameter, format!("{name} is there twice")).at(name.into_owned())
                );
            }
            found.push((name, value));
        }
        Ok(Self(found))
    }

    /// The value of a parameter that is there and not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_ref())
            .filter(|value| !value.is_empty())
    }

    /// A whole number that is not negative.
    pub(super) fn number(&self, name: &str) -> Result<Option<i64>, Refused> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let number = text.parse().ok().filter(|number: &i64| *number >= 0);
        let wrong =
            || Refused::new(Code::InvalidParameter, format!("{name} must be a whole number that is not negative"));
        number.map(Some).ok_or_else(|| wrong().at(name))
    }

    /// How many are wanted. The store judges it.
    pub(super) fn limit(&self) -> Result<Option<usize>, Refused> {
        Ok(self.number("limit")?.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)))
    }

    /// A page of an inbox.
    pub(super) fn page(&self) -> Result<PageQuery, Refused> {
        let status = match self.get("status") {
            None => Status::default(),
            Some(word) => Status::parse(word).ok_or_else(|| {
                let text = "status must be open, unread, archived, snoozed or all";
                Refused::new(Code::InvalidParameter, text).at("status")
            })?,
        };
        let before = self.get("before").map(Cursor::parse).transpose()?;
        Ok(PageQuery { before, status, category: self.get("category").map(str::to_owned), limit: self.limit()? })
    }

    /// A page, or what has changed.
    pub(super) fn wanted(&self) -> Result<Wanted, Refused> {
        let Some(since) = self.number("since")? else {
            if self.get("announced").is_some() {
                let text = "announced goes with since, which is not there";
                return Err(Refused::new(Code::InvalidParameter, text).at("announced"));
            }
            return self.page().map(Wanted::Page);
        };
        if let Some(name) = ["before", "status", "category"].into_iter().find(|name| self.get(name).is_some()) {
            let text = format!("{name} does not go with since, which tells every change: ask for one or the other");
            return Err(Refused::new(Code::InvalidParameter, text).at(name));
        }
        Ok(Wanted::Changes(ChangesQuery { since, announced: self.number("announced")?, limit: self.limit()? }))
    }
}
