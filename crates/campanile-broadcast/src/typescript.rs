//! The events' types for the front end.
//!
//! Owns `events.d.ts`. Never guesses what serde makes of a type: `ts-rs` reads serde's own attributes. The invariant: the
//! file follows from the types alone, so a test can tell whether it is up to date.

use std::collections::BTreeMap;
use std::fmt::{Display, Formatter, Result as FmtResult};
use std::io;
use std::path::Path;

use ts_rs::{Config, TS, TypeVisitor};

use crate::event::{BroadcastEvent, NamedEvent};
use crate::notification::NotificationKind;

const HEAD: &str = "// Written by campanile-broadcast from the events' types in Rust; changes are lost.\n";

/// Collects events, and writes `interface Events`, by name; and of notifications `interface Notifications`, by kind, with the
/// type of their `data`.
///
/// ```
/// use campanile_broadcast::{Broadcast, Channel, Typescript, ts_rs::TS};
/// use serde::Serialize;
///
/// # #[derive(Channel)] #[channel("private-user.{id}")] struct UserChannel { id: i64 }
/// #[derive(Serialize, TS, Broadcast)]
/// #[ts(crate = "campanile_broadcast::ts_rs")]
/// #[broadcast(name = "order.shipped", on = [UserChannel { id: self.user_id }])]
/// struct OrderShipped { order_id: i64, tracking_number: Option<String>, #[serde(skip)] user_id: i64 }
///
/// let events = Typescript::new().event::<OrderShipped>();
/// assert!(events.to_string().contains(r#""order.shipped": { order_id: number, tracking_number: string | null, }"#));
/// // In a test of the application, which fails once when an event has changed, and has written the file by then:
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("events.d.ts");
/// assert!(events.write(&path)?, "the first time it is new");
/// assert!(!events.write(&path)?, "{} was not up to date", path.display());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Typescript {
    events: BTreeMap<&'static str, String>,
    /// The notifications' `data`, by kind.
    notifications: BTreeMap<&'static str, String>,
    /// What the events' types mention, by name.
    declarations: BTreeMap<String, String>,
}

impl Typescript {
    /// No event.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an event, and all types that it mentions.
    #[must_use]
    pub fn event<E: BroadcastEvent + NamedEvent + TS + 'static>(mut self) -> Self {
        let config = config();
        self.events.insert(E::NAME, E::inline(&config));
        E::visit_dependencies(&mut Dependencies { config: &config, declarations: &mut self.declarations });
        self
    }

    /// Adds a notification, and all types that it mentions.
    #[must_use]
    pub fn notification<N: NotificationKind + TS + 'static>(mut self) -> Self {
        let config = config();
        self.notifications.insert(N::KIND, N::inline(&config));
        N::visit_dependencies(&mut Dependencies { config: &config, declarations: &mut self.declarations });
        self
    }

    /// Writes the file, if it is not up to date, and says whether it was not.
    ///
    /// # Errors
    ///
    /// When it cannot be read or written.
    pub fn write(&self, path: impl AsRef<Path>) -> io::Result<bool> {
        let (path, text) = (path.as_ref(), self.to_string());
        match std::fs::read_to_string(path) {
            Ok(known) if known == text => return Ok(false),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        std::fs::write(path, text)?;
        Ok(true)
    }
}

impl Display for Typescript {
    fn fmt(&self, f: &mut Formatter<'_>) -> FmtResult {
        f.write_str(HEAD)?;
        for declaration in self.declarations.values() {
            write!(f, "\nexport {declaration}\n")?;
        }
        interface(f, "Events", &self.events)?;
        if self.notifications.is_empty() { Ok(()) } else { interface(f, "Notifications", &self.notifications) }
    }
}

fn interface(f: &mut Formatter<'_>, name: &str, types: &BTreeMap<&'static str, String>) -> FmtResult {
    write!(f, "\nexport interface {name} {{\n")?;
    for (name, payload) in types {
        writeln!(f, "  {}: {payload};", serde_json::json!(name))?;
    }
    f.write_str("}\n")
}

/// What JSON.parse makes of a number is a `number`, whatever it was in Rust.
fn config() -> Config {
    Config::new().with_large_int("number")
}

struct Dependencies<'a> {
    config: &'a Config,
    declarations: &'a mut BTreeMap<String, String>,
}

impl TypeVisitor for Dependencies<'_> {
    fn visit<T: TS + 'static + ?Sized>(&mut self) {
        // Types of the language itself have no place of their own, and no declaration.
        if T::output_path().is_none() {
            return;
        }
        let name = T::ident(self.config);
        if !self.declarations.contains_key(&name) {
            self.declarations.insert(name, T::decl(self.config));
            T::visit_dependencies(self);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;
    use crate::channel::{ChannelList, InvalidChannel};

    #[derive(Serialize, TS)]
    struct Money {
        cents: u64,
        currency: Currency,
    }

    #[derive(Serialize, TS)]
    #[serde(rename_all = "lowercase")]
    #[expect(dead_code, reason = "only its type is looked at")]
    enum Currency {
        Eur,
        Usd,
    }

    macro_rules! event {
        ($event:ident, $name:literal) => {
            impl BroadcastEvent for $event {
                fn name(&self) -> std::borrow::Cow<'_, str> {
                    Self::NAME.into()
                }
                fn channels(&self) -> Result<ChannelList, InvalidChannel> {
                    Ok(ChannelList::new())
                }
            }
            impl NamedEvent for $event {
                const NAME: &'static str = $name;
            }
        };
    }

    #[derive(Serialize, TS)]
    #[serde(rename_all = "camelCase")]
    struct Paid {
        order_id: i64,
        total: Money,
        refunds: Vec<Money>,
        #[serde(skip)]
        #[expect(dead_code, reason = "it is there to be left out")]
        user_id: i64,
    }
    event!(Paid, "order.paid");

    #[derive(Serialize, TS)]
    struct Closed;
    event!(Closed, "till \"1\" closed");

    #[test]
    fn every_event_has_its_type_and_every_type_that_is_mentioned_is_declared_once() {
        let written = Typescript::new().event::<Paid>().event::<Closed>().to_string();
        let expected = [
            HEAD.trim_end(),
            "",
            r#"export type Currency = "eur" | "usd";"#,
            "",
            "export type Money = { cents: number, currency: Currency, };",
            "",
            "export interface Events {",
            r#"  "order.paid": { orderId: number, total: Money, refunds: Array<Money>, };"#,
            r#"  "till \"1\" closed": null;"#,
            "}",
            "",
        ];
        assert_eq!(written.lines().collect::<Vec<_>>().join("\n") + "\n", expected.join("\n"));
    }

    impl NotificationKind for Paid {
        const KIND: &'static str = "invoice.paid";
        const CATEGORY: Option<&'static str> = None;
        const VIA: &'static [crate::Via] = &[crate::Via::Inbox];
    }

    #[test]
    fn every_kind_of_notification_has_the_type_of_its_data() {
        let written = Typescript::new().event::<Closed>().notification::<Paid>().to_string();
        let expected = "export interface Notifications {\n  \"invoice.paid\": { orderId: number, total: Money, refunds: \
                        Array<Money>, };\n}\n";
        assert!(written.ends_with(expected) && written.contains("export type Money"), "{written}");
    }

    #[test]
    fn a_file_is_written_only_when_it_is_not_up_to_date() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.d.ts");
        let events = Typescript::new().event::<Closed>();
        assert!(events.write(&path).unwrap());
        assert!(!events.write(&path).unwrap());
        assert!(Typescript::new().event::<Paid>().write(&path).unwrap());
        assert!(events.write(directory.path()).is_err());
    }
}
