//! Channels as types: a name with parameters, and the way back.
//!
//! Owns how a [`Channel`]'s name is put together and how a name is taken apart. Never knows whether anybody may
//! subscribe. The invariant: a channel that was read from a name gives that very name again, so `private-user.042` is
//! not `private-user.42`, and what was authorized is what is subscribed to. Read on in [`crate::authorize`].

use std::fmt::Display;
use std::str::FromStr;

use campanile_protocol::limits::CHANNEL_NAME_LENGTH_HARD_MAX;
use campanile_protocol::name::InvalidName;
use campanile_protocol::{Access, ChannelKind, ChannelName, UserId, limits::DEFAULT_LIMITS};

/// A kind of channel: its name has parameters. Derive it.
///
/// ```
/// use campanile_broadcast::Channel;
///
/// #[derive(Channel)]
/// #[channel("private-orders.{order}")]
/// struct OrderChannel { order: i64 }
///
/// assert_eq!(OrderChannel { order: 42 }.name()?.as_str(), "private-orders.42");
/// # Ok::<(), campanile_broadcast::InvalidChannel>(())
/// ```
pub trait Channel: Sized {
    /// The name, with `{placeholder}` where a parameter stands.
    const PATTERN: &'static str;

    /// The parameters, in the order of the pattern.
    fn parameters(&self) -> Vec<String>;

    /// The channel with these parameters, if each is of its field's type.
    fn from_parameters(parameters: &Parameters<'_>) -> Option<Self>;

    /// The channel's name.
    ///
    /// # Errors
    ///
    /// A parameter that cannot stand in a name: an empty one, one with a dot, or one with other characters than a
    /// channel may have.
    fn name(&self) -> Result<ChannelName, InvalidChannel> {
        write(Self::PATTERN, &self.parameters())
    }
}

/// A channel to which a browser subscribes with the application's signature: `private-`, encrypted or not.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a private channel, so there is nothing to authorize",
    label = "its pattern does not begin with `private-`",
    note = "anybody may subscribe to a public channel; a presence channel is authorized with `.presence(..)`"
)]
pub trait PrivateChannel: Channel {}

/// A channel whose subscribers are known to each other: `presence-`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a presence channel, so it has no members",
    label = "its pattern does not begin with `presence-`",
    note = "a private channel is authorized with `.private(..)`"
)]
pub trait PresenceChannel: Channel {}

/// What may stand for a placeholder: whatever can be written into a name and read back from it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot stand in a channel's name",
    label = "it needs `Display`, to be written, and `FromStr`, to be read back"
)]
pub trait Parameter: Sized {
    /// As it stands in a name.
    fn write(&self) -> String;

    /// What a name says, if it is written just so.
    fn read(text: &str) -> Option<Self>;
}

impl<T: Display + FromStr> Parameter for T {
    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        text.parse().ok().filter(|value: &T| value.to_string() == text)
    }
}

/// Why a channel has no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidChannel {
    /// A parameter that could not be read back.
    #[error(
        "channel {pattern:?}: the parameter {parameter:?} {}, so it cannot stand in a name",
        if .parameter.is_empty() { "is empty" } else { "has a dot" }
    )]
    Parameter {
        /// The pattern.
        pattern: &'static str,
        /// The parameter.
        parameter: String,
    },
    /// A character that no name may have, or too long.
    #[error("channel {pattern:?}: {source}")]
    Name {
        /// The pattern.
        pattern: &'static str,
        /// What is wrong with the name.
        source: InvalidName,
    },
}

/// The parameters that were found in a name.
#[derive(Debug)]
pub struct Parameters<'a>(Vec<&'a str>);

impl Parameters<'_> {
    /// The parameter at this position, if it is of this type and is written as the type writes itself.
    pub fn read<T: Parameter>(&self, at: usize) -> Option<T> {
        T::read(self.0.get(at)?)
    }
}

/// The channel of the connections that have signed in as one user: `#server-to-user-<id>`.
///
/// It stands in a [`Broadcast`](macro@crate::Broadcast)'s `on` beside channels; browsers need not subscribe to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedInUser<T: Display>(pub T);

#[diagnostic::on_unimplemented(
    message = "`{Self}` is no channel",
    label = "an event goes to channels: `#[derive(Channel)]`, an `Option` or a `Vec` of them, or `SignedInUser(id)`"
)]
/// Something that stands for channels in `#[broadcast(on = [..])]`: a channel, or an `Option` or `Vec` of them.
pub trait Listed {
    /// Adds the names to the list.
    ///
    /// # Errors
    ///
    /// When a channel has no name.
    fn add_to(&self, list: &mut ChannelList) -> Result<(), InvalidChannel>;
}

impl<C: Channel> Listed for C {
    fn add_to(&self, list: &mut ChannelList) -> Result<(), InvalidChannel> {
        list.push(self.name()?);
        Ok(())
    }
}

impl<T: Display> Listed for SignedInUser<T> {
    fn add_to(&self, list: &mut ChannelList) -> Result<(), InvalidChannel> {
        let user = UserId::parse_signed_in(&self.0.to_string(), DEFAULT_LIMITS.user_id_length_max)
            .map_err(|source| InvalidChannel::Name { pattern: "#server-to-user-{id}", source })?;
        list.push(ChannelName::of_user(&user));
        Ok(())
    }
}

impl<L: Listed> Listed for Option<L> {
    fn add_to(&self, list: &mut ChannelList) -> Result<(), InvalidChannel> {
        self.iter().try_for_each(|channel| channel.add_to(list))
    }
}

impl<L: Listed> Listed for Vec<L> {
    fn add_to(&self, list: &mut ChannelList) -> Result<(), InvalidChannel> {
        self.iter().try_for_each(|channel| channel.add_to(list))
    }
}

/// Where an event goes: each channel once, in the order in which they were added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChannelList(Vec<ChannelName>);

impl ChannelList {
    /// No channel.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a channel, or several.
    ///
    /// # Errors
    ///
    /// When a channel has no name.
    pub fn add(&mut self, channels: &impl Listed) -> Result<&mut Self, InvalidChannel> {
        channels.add_to(self)?;
        Ok(self)
    }

    /// Adds a name, unless it is there already.
    pub fn push(&mut self, name: ChannelName) {
        if !self.0.contains(&name) {
            self.0.push(name);
        }
    }

    /// The names.
    pub fn names(&self) -> &[ChannelName] {
        &self.0
    }

    /// The names, given away.
    pub fn into_names(self) -> Vec<ChannelName> {
        self.0
    }
}

/// Puts a name together.
fn write(pattern: &'static str, parameters: &[String]) -> Result<ChannelName, InvalidChannel> {
    let mut name = String::with_capacity(pattern.len() + 16);
    let mut parameters = parameters.iter();
    let mut rest = pattern;
    while let Some((literal, after)) = rest.split_once('{') {
        let parameter = parameters.next().map_or("", String::as_str);
        if parameter.is_empty() || parameter.contains('.') {
            return Err(InvalidChannel::Parameter { pattern, parameter: parameter.to_owned() });
        }
        name.push_str(literal);
        name.push_str(parameter);
        rest = after.split_once('}').map_or("", |(_, after)| after);
    }
    name.push_str(rest);
    // The server knows its own limit, which may be above Pusher's.
    ChannelName::parse(&name, CHANNEL_NAME_LENGTH_HARD_MAX).map_err(|source| InvalidChannel::Name { pattern, source })
}

/// What stands in a name before the part that is matched.
fn prefix(kind: ChannelKind) -> &'static str {
    match (kind.access, kind.cached) {
        (Access::Public, false) => "",
        (Access::Public, true) => "cache-",
        (Access::Private, false) => "private-",
        (Access::Private, true) => "private-cache-",
        (Access::Encrypted, false) => "private-encrypted-",
        (Access::Encrypted, true) => "private-encrypted-cache-",
        (Access::Presence, false) => "presence-",
        (Access::Presence, true) => "presence-cache-",
        (Access::User, _) => campanile_protocol::name::USER_CHANNEL_PREFIX,
    }
}

/// A name or a pattern without its prefix.
pub(crate) fn stripped(name: &str) -> &str {
    name.strip_prefix(prefix(ChannelKind::of(name))).unwrap_or(name)
}

/// The parameters of `name` by `pattern`, both without prefix: `{x}` is one or more characters that are not dots,
/// everything else is literal, and the whole name must match.
pub(crate) fn matched<'a>(pattern: &str, name: &'a str) -> Option<Parameters<'a>> {
    let mut parameters = Vec::new();
    let mut parts = name.split('.');
    for expected in pattern.split('.') {
        let part = parts.next()?;
        match expected.split_once('{') {
            None if part == expected => {}
            None => return None,
            Some((literal, _)) => parameters.push(part.strip_prefix(literal).filter(|rest| !rest.is_empty())?),
        }
    }
    parts.next().is_none().then_some(Parameters(parameters))
}

/// The pattern without the names of its placeholders: two patterns of one shape match the same names.
pub(crate) fn shape(pattern: &str) -> String {
    let literals = stripped(pattern).split('.').map(|part| match part.split_once('{') {
        Some((literal, _)) => format!("{literal}{{}}"),
        None => part.to_owned(),
    });
    literals.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(pattern: &str, name: &str) -> Option<Vec<String>> {
        matched(pattern, name).map(|found| found.0.into_iter().map(str::to_owned).collect())
    }

    #[test]
    fn every_prefix_is_stripped_whole() {
        for name in [
            "x",
            "cache-x",
            "private-x",
            "private-cache-x",
            "private-encrypted-x",
            "private-encrypted-cache-x",
            "presence-x",
            "presence-cache-x",
        ] {
            assert_eq!(stripped(name), "x", "{name}");
        }
        assert_eq!(stripped("presenceful"), "presenceful");
    }

    #[test]
    fn a_placeholder_is_everything_up_to_the_next_dot_and_never_nothing() {
        let found = |values: &[&str]| Some(values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>());
        assert_eq!(parameters("orders.{order}", "orders.42"), found(&["42"]));
        assert_eq!(parameters("orders.{order}.items.{item}", "orders.a-b.items.c"), found(&["a-b", "c"]));
        assert_eq!(parameters("room-{id}", "room-7"), found(&["7"]));
        assert_eq!(parameters("{id}", "7"), found(&["7"]));
        assert_eq!(parameters("lobby", "lobby"), found(&[]));
        for name in ["orders.", "orders", "orders.1.2", "xorders.1", "ordersx1", "orders.1.", ".orders.1", ""] {
            assert_eq!(parameters("orders.{order}", name), None, "{name}");
        }
        assert_eq!(parameters("room-{id}", "room-"), None);
    }

    #[test]
    fn a_parameter_is_read_only_as_its_type_writes_it() {
        let found = matched("user.{id}", "user.42").unwrap();
        assert_eq!(found.read::<i64>(0), Some(42));
        assert_eq!(found.read::<String>(0).as_deref(), Some("42"));
        assert_eq!(found.read::<i64>(1), None);
        for other in ["user.042", "user.+42", "user.4x", "user.99999999999999999999"] {
            assert_eq!(matched("user.{id}", other).unwrap().read::<i64>(0), None, "{other}");
        }
    }

    #[test]
    fn a_parameter_that_could_not_be_read_back_is_refused() {
        let name = |parameter: &str| write("private-user.{id}", &[parameter.to_owned()]);
        assert_eq!(name("42").unwrap().as_str(), "private-user.42");
        assert!(matches!(name(""), Err(InvalidChannel::Parameter { .. })));
        assert!(matches!(name("a.b"), Err(InvalidChannel::Parameter { .. })));
        assert!(matches!(name("a b"), Err(InvalidChannel::Name { .. })));
        let longest = CHANNEL_NAME_LENGTH_HARD_MAX - "private-user.".len();
        assert!(name(&"u".repeat(longest)).is_ok());
        assert!(matches!(name(&"u".repeat(longest + 1)), Err(InvalidChannel::Name { .. })));
    }

    #[test]
    fn patterns_of_one_shape_differ_at_most_in_prefix_and_names() {
        assert_eq!(shape("private-team.{id}"), shape("presence-team.{team}"));
        assert_ne!(shape("private-team.{id}"), shape("private-teams.{id}"));
        assert_ne!(shape("private-team.{id}"), shape("private-team.id"));
    }

    #[test]
    fn a_list_has_each_channel_once_and_a_user_has_one() {
        let mut list = ChannelList::new();
        list.add(&SignedInUser(7)).unwrap().add(&Some(SignedInUser(8))).unwrap();
        list.add(&vec![SignedInUser(7)]).unwrap().add(&None::<SignedInUser<i64>>).unwrap();
        let names: Vec<&str> = list.names().iter().map(ChannelName::as_str).collect();
        assert_eq!(names, ["#server-to-user-7", "#server-to-user-8"]);
        assert!(ChannelList::new().add(&SignedInUser("a b")).is_err());
    }
}
