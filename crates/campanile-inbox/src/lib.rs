//! Notifications at rest: numbered, counted, read and archived, in SQLite or Postgres.
//!
//! Owns what is stored and every change to it. Never pushes, sends, or serves anything: it says what was committed
//! ([`Changes`]) and what is to be sent ([`Inbox::claim_deliveries`]). The invariants: a user's notifications are
//! numbered without gaps in the order of their commits, and the counts equal the rows at every commit (I19); one key in
//! its window is one notification (I20); a row exists before anybody is told of it (I18). Reading order: [`notification`],
//! [`draft`], [`mark`], [`inbox`], then the rest.

pub mod changes;
pub mod clock;
mod courier;
pub mod delivery;
pub mod draft;
pub mod error;
pub mod inbox;
pub mod job;
pub mod mark;
pub mod notification;
pub mod page;
pub mod preferences;
pub mod reports;
pub mod settings;
mod store;

pub use changes::{Change, Changes};
pub use clock::{Clock, Timestamp};
pub use delivery::{
    Contact, Delivery, DeliveryId, DeliveryRecord, DeliveryState, PushKeys, PushSubscription, Settlement, Taken,
};
pub use draft::{Accepted, Cancelled, Capture, Captured, Draft, Recipients};
pub use error::{AcceptError, InboxError, Mistake, OpenError, Thing};
pub use inbox::Inbox;
pub use job::{JobRecord, JobState};
pub use mark::{Mark, Marked, Seen};
pub use notification::{Action, Notification, State, Subject};
pub use page::{ChangesPage, ChangesQuery, Cursor, Floor, Page, PageQuery, Status, Stroke};
pub use preferences::{Category, Channel, NamedCategory, Preference, Preferences, Switches};
pub use reports::{Depths, Erased, Export, Reconciled};
pub use settings::{Limits, Settings, StoreUrl, Synchronous};
pub use uuid::Uuid;
