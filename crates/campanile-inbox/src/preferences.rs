//! What users want to hear, and by which way.
//!
//! Owns the ways, the categories and the rule that decides between them. Never sends anything. The invariant: what the
//! application requires wins, then the user's own choice, then the category's default, then yes. Read on in
//! `courier.rs` for where it is asked.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::notification::State;

/// A way to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// The stored row. Without it nothing is pushed.
    Inbox,
    /// The push of the notification itself to open pages. Counts are always pushed.
    Broadcast,
    /// Mail.
    Mail,
    /// The browser's push service.
    WebPush,
    /// A request to the application.
    Webhook,
}

impl Channel {
    /// Each of them.
    pub const ALL: [Self; 5] = [Self::Inbox, Self::Broadcast, Self::Mail, Self::WebPush, Self::Webhook];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inbox => "inbox",
            Self::Broadcast => "broadcast",
            Self::Mail => "mail",
            Self::WebPush => "web_push",
            Self::Webhook => "webhook",
        }
    }

    /// The one that is written so.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|channel| channel.name() == name)
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Some ways, each on or off.
pub type Switches = BTreeMap<Channel, bool>;

/// What an application says of a category.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Category {
    /// For people.
    pub label: String,
    /// Which ways are on until the user says otherwise. One that is not named is on.
    #[serde(default)]
    pub default: Switches,
    /// Which ways the user cannot switch off.
    #[serde(default)]
    pub required: Vec<Channel>,
}

/// A category with its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NamedCategory {
    /// Its name.
    pub category: String,
    /// What the application says of it.
    #[serde(flatten)]
    pub terms: Category,
}

/// What one user wants of one category.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Preference {
    /// Its name.
    pub category: String,
    /// For people.
    pub label: String,
    /// Each way, on or off.
    pub channels: Switches,
    /// Which cannot be switched off.
    pub required: Vec<Channel>,
}

/// What one user wants, and how the inbox is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Preferences {
    /// By name.
    pub categories: Vec<Preference>,
    /// How the inbox is.
    #[serde(flatten)]
    pub state: State,
}

impl Category {
    /// Whether a user with these choices gets something that way.
    pub fn allows(&self, channel: Channel, choices: &Switches) -> bool {
        self.required.contains(&channel)
            || choices.get(&channel).or_else(|| self.default.get(&channel)).copied().unwrap_or(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_required_wins_then_the_users_choice_then_the_default_then_yes() {
        let off = Switches::from([(Channel::Mail, false)]);
        let on = Switches::from([(Channel::Mail, true)]);
        let nothing = Switches::new();
        let plain = Category::default();
        let quiet = Category { default: off.clone(), ..Category::default() };
        let strict = Category { default: off.clone(), required: vec![Channel::Mail], ..Category::default() };
        for (category, choices, allowed) in [
            (&plain, &nothing, true),
            (&plain, &off, false),
            (&quiet, &nothing, false),
            (&quiet, &on, true),
            (&strict, &nothing, true),
            (&strict, &off, true),
        ] {
            assert_eq!(category.allows(Channel::Mail, choices), allowed, "{category:?} {choices:?}");
        }
    }
}
