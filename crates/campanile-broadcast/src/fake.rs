//! The test double: records events and notifications in place of sending them.
//!
//! Owns what was recorded and the assertions. Never lets an event pass that a server would not take: it is checked,
//! serialised and encrypted as always. The invariant: what an assertion sees is the event itself, skipped fields too.

use std::any::type_name;
use std::ops::Deref;
use std::sync::Arc;

use campanile_protocol::{ChannelName, Limits, Secret, SocketId};
use parking_lot::Mutex;

use crate::authorize::Signer;
use crate::campanile::{Campanile, Prepared};
use crate::draft::Draft;
use crate::encryption::{MASTER_KEY_BYTES, MasterKey};
use crate::event::BroadcastEvent;
use crate::notification::NotificationKind;
use crate::notify::Noted;
use crate::outbox::JobOptions;

#[derive(Debug, Clone, Default)]
pub(crate) struct Recorder(Arc<Recorded>);

#[derive(Debug, Default)]
struct Recorded {
    events: Mutex<Vec<Prepared>>,
    notifications: Mutex<Vec<Noted>>,
}

impl Recorder {
    pub(crate) fn record(&self, events: impl IntoIterator<Item = Prepared>) {
        self.0.events.lock().extend(events);
    }

    pub(crate) fn note(&self, notifications: Vec<Noted>) {
        self.0.notifications.lock().extend(notifications);
    }
}

/// A [`Campanile`] that sends nothing, and the assertions on what it was told.
///
/// ```
/// # use campanile_broadcast::{Broadcast, Campanile, Channel};
/// # #[derive(Channel)] #[channel("private-user.{id}")] struct UserChannel { id: i64 }
/// # #[derive(serde::Serialize, Broadcast)]
/// # #[broadcast(name = "order.shipped", on = [UserChannel { id: self.user_id }])]
/// # struct OrderShipped { order_id: i64, #[serde(skip)] user_id: i64 }
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
/// # runtime.block_on(async {
/// let fake = Campanile::fake();
/// let campanile = fake.campanile(); // what the application under test is given
/// campanile.broadcast(OrderShipped { order_id: 7, user_id: 1 }).now().await?;
///
/// fake.assert_broadcast::<OrderShipped>(|event, channels| event.order_id == 7 && channels == ["private-user.1"]);
/// # Ok::<(), Box<dyn std::error::Error>>(()) })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Fake {
    campanile: Campanile,
    recorder: Recorder,
}

impl Deref for Fake {
    type Target = Campanile;

    fn deref(&self) -> &Campanile {
        &self.campanile
    }
}

impl Fake {
    pub(crate) fn new() -> Self {
        let recorder = Recorder::default();
        let signer = Signer {
            key: "fake-key".to_owned(),
            secret: Secret::new("fake-secret"),
            master_key: Some(MasterKey::from_bytes([0; MASTER_KEY_BYTES])),
            limits: Limits::default(),
        };
        Self { campanile: Campanile::recording(recorder.clone(), signer), recorder }
    }

    /// What the application under test is given.
    pub fn campanile(&self) -> Campanile {
        self.campanile.clone()
    }

    /// Asserts that an event of this type was broadcast for which `expected` holds, given its channels.
    ///
    /// # Panics
    ///
    /// When there was none.
    #[track_caller]
    pub fn assert_broadcast<E: BroadcastEvent + 'static>(&self, expected: impl Fn(&E, &[&str]) -> bool) {
        let of_type = self.count::<E>(|_, _, _| true);
        let found = self.count::<E>(|event, channels, _| expected(event, channels));
        assert!(found > 0, "no {} was broadcast as expected, of {of_type} that were", type_name::<E>());
    }

    /// As [`Fake::assert_broadcast`], and to all but this socket.
    ///
    /// # Panics
    ///
    /// When there was none.
    #[track_caller]
    pub fn assert_broadcast_to_others<E: BroadcastEvent + 'static>(&self, socket_id: SocketId) {
        let found = self.count::<E>(|_, _, excluded| excluded == Some(socket_id));
        assert!(found > 0, "no {} was broadcast to all but {socket_id}", type_name::<E>());
    }

    /// Asserts that an event of this type was broadcast for which something was asked, such as a queue, that is to say with
    /// options for which `expected` holds.
    ///
    /// # Panics
    ///
    /// When there was none.
    #[track_caller]
    pub fn assert_options<E: BroadcastEvent + 'static>(&self, expected: impl Fn(&JobOptions) -> bool) {
        let recorded = self.recorder.0.events.lock();
        let of_type = recorded.iter().filter(|prepared| prepared.event.is::<E>());
        let options: Vec<&JobOptions> = of_type.map(|prepared| &prepared.options).collect();
        assert!(options.iter().any(|options| expected(options)), "{} was broadcast with {options:?}", type_name::<E>());
    }

    /// Asserts how many events of this type were broadcast.
    ///
    /// # Panics
    ///
    /// When there were more or fewer.
    #[track_caller]
    pub fn assert_broadcast_times<E: BroadcastEvent + 'static>(&self, times: usize) {
        let found = self.count::<E>(|_, _, _| true);
        assert!(found == times, "{} was broadcast {found} times, not {times}", type_name::<E>());
    }

    /// Asserts that no event of this type was broadcast.
    ///
    /// # Panics
    ///
    /// When there was one.
    #[track_caller]
    pub fn assert_not_broadcast<E: BroadcastEvent + 'static>(&self) {
        self.assert_broadcast_times::<E>(0);
    }

    /// Asserts that somebody was notified by this type for which `expected` holds, given what the server is asked.
    ///
    /// # Panics
    ///
    /// When nobody was.
    #[track_caller]
    pub fn assert_notified<N: NotificationKind + 'static>(&self, expected: impl Fn(&N, &Draft) -> bool) {
        let of_type = self.noted::<N>(|_, _| true);
        let found = self.noted::<N>(expected);
        assert!(found > 0, "no {} was sent as expected, of {of_type} that were", type_name::<N>());
    }

    /// Asserts how many notifications of this type were sent. Recipients who read the same share one.
    ///
    /// # Panics
    ///
    /// When there were more or fewer.
    #[track_caller]
    pub fn assert_notified_times<N: NotificationKind + 'static>(&self, times: usize) {
        let found = self.noted::<N>(|_, _| true);
        assert!(found == times, "{} was sent {found} times, not {times}", type_name::<N>());
    }

    /// Asserts that nobody was notified by this type.
    ///
    /// # Panics
    ///
    /// When somebody was.
    #[track_caller]
    pub fn assert_not_notified<N: NotificationKind + 'static>(&self) {
        self.assert_notified_times::<N>(0);
    }

    /// Asserts that nothing was broadcast at all, and nobody notified.
    ///
    /// # Panics
    ///
    /// When something was; the message names the events, and the notifications' kinds.
    #[track_caller]
    pub fn assert_nothing_sent(&self) {
        let events = self.recorder.0.events.lock();
        let names: Vec<&str> = events.iter().map(|prepared| prepared.publication.event.as_str()).collect();
        assert!(names.is_empty(), "these were broadcast: {names:?}");
        let notifications = self.recorder.0.notifications.lock();
        let kinds: Vec<&str> = notifications.iter().map(|noted| noted.draft.kind).collect();
        assert!(kinds.is_empty(), "these were notified of: {kinds:?}");
    }

    fn noted<N: 'static>(&self, matches: impl Fn(&N, &Draft) -> bool) -> usize {
        let recorded = self.recorder.0.notifications.lock();
        let of_type = recorded.iter().filter_map(|noted| Some((noted.notification.downcast_ref::<N>()?, &noted.draft)));
        of_type.filter(|(notification, draft)| matches(notification, draft)).count()
    }

    fn count<E: 'static>(&self, matches: impl Fn(&E, &[&str], Option<SocketId>) -> bool) -> usize {
        let recorded = self.recorder.0.events.lock();
        let of_type = recorded.iter().filter_map(|prepared| Some((prepared, prepared.event.downcast_ref::<E>()?)));
        of_type
            .filter(|(prepared, event)| {
                let publication = &prepared.publication;
                let channels: Vec<&str> = publication.channels.iter().map(ChannelName::as_str).collect();
                matches(event, &channels, publication.socket_id)
            })
            .count()
    }
}
