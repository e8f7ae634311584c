//! What workers say to each other.
//!
//! Owns the vocabulary between a connection's or a request's worker and the home of a channel or a key. Never waits for an answer: a letter that
//! asks carries an id, and the answer is a letter too. The invariant: letters from one worker to another arrive in the
//! order in which they were sent.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use campanile_protocol::json::DataLiteral;
use campanile_protocol::{ChannelName, EventName, Fingerprint, Position, SocketId, UserId};

use crate::app::{AppIndex, Apps};
use crate::fanout::ConnectionId;
use crate::guard::{Claim, Fate, GuardKey, Verdict};
use crate::idempotency::{FirstAnswer, RequestKey, Unreserved};
use crate::meter::Told;
use crate::receipt::Receipt;
use crate::shared_frame::SharedFrame;

/// A worker's number in its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WorkerId(pub u16);

/// A channel of an app.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ChannelKey {
    /// The tenant.
    pub app: AppIndex,
    /// The channel.
    pub name: ChannelName,
}

/// One subscription as its worker knows it: the token tells an answer that is awaited from one that is stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subscriber {
    /// The worker that owns the connection.
    pub worker: WorkerId,
    /// The connection.
    pub connection: ConnectionId,
    /// The subscription's token.
    pub token: u64,
    /// The connection's public id.
    pub socket_id: SocketId,
}

/// A user in a presence channel.
#[derive(Debug, PartialEq, Eq)]
pub struct Member {
    /// The user.
    pub id: UserId,
    /// The JSON of `user_info`.
    pub info: Box<str>,
}

/// Why somebody subscribes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// To hear the channel's events.
    Subscribe,
    /// To be a signed-in user: the channel is the user's own.
    Signin,
    /// To hear whether the user of that channel comes and goes.
    Watch,
    /// To be known again to a home that has lost its mind; its client hears nothing of it, but for a gap where there is
    /// replay.
    Restore,
}

/// How a subscription ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// The client unsubscribed or closed: it is gone at once.
    Left,
    /// The peer vanished, or we closed: it may return within the grace.
    Vanished,
}

/// An event on its way to a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// What the event is called: it is counted by that name.
    pub event: EventName,
    /// The frame for every subscriber.
    pub frame: Bytes,
    /// The socket that does not get it.
    pub except: Option<SocketId>,
    /// What a cache channel remembers of it: the data, for the HTTP API.
    pub remember: Option<DataLiteral>,
    /// Whether those who come back are sent it, where the channel can: the application's events are, clients' are not.
    pub lasting: bool,
    /// What is to be said once a connection has taken it.
    pub receipt: Option<Arc<Receipt>>,
}

/// What concerns a delivery besides its frame. No event has both: a notification is told again by its inbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sequel {
    /// How far the channel has come with it, where events can be sent again.
    Position(Position),
    /// What is to be said once a connection has taken it.
    Receipt(Arc<Receipt>),
}

/// What is asked of the mind from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AskId {
    /// The worker that waits.
    pub worker: WorkerId,
    /// Its number for the question.
    pub number: u64,
}

/// A question to a home, or to each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// One channel's state.
    Channel(ChannelKey),
    /// The members of a presence channel.
    Members(ChannelKey),
    /// The app of the connection with this public id, which would be this worker's.
    Connection(SocketId),
    /// The occupied channels of an app whose names have this prefix, in order: as many as are wanted at once. Fewer are the
    /// last.
    Channels {
        /// The app.
        app: AppIndex,
        /// Empty for all.
        prefix: Box<str>,
        /// Only those that come after this one.
        after: Option<ChannelName>,
        /// At most so many.
        most: usize,
    },
}

/// What a channel's home says of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChannelInfo {
    /// Whether anybody subscribes.
    pub occupied: bool,
    /// Connections that are subscribed.
    pub subscription_count: usize,
    /// Users, on presence channels.
    pub user_count: usize,
    /// What a cache channel remembers: the data, and for how many more seconds.
    pub remembered: Option<(DataLiteral, u64)>,
}

/// An answer to an [`Ask`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To [`Ask::Channel`], and to a publication that asked.
    Channel(ChannelInfo),
    /// To [`Ask::Members`].
    Members(Vec<UserId>),
    /// To [`Ask::Channels`], of the channels that live at one home, without what they remember.
    Channels(Vec<(ChannelName, ChannelInfo)>),
    /// To [`Ask::Connection`]: nothing if there is no such connection, or it is about to be closed.
    Connection(Option<AppIndex>),
    /// To [`Letter::Reserve`].
    Reserved(Result<(), Unreserved>),
    /// To [`Letter::Weigh`]: one for each claim, in their order.
    Weighed(Vec<Verdict>),
}

/// What one worker says to another, or to itself.
#[derive(Debug, Clone)]
pub enum Letter {
    /// To a home: this connection wants in.
    Subscribe {
        /// The channel.
        key: ChannelKey,
        /// Who.
        subscriber: Subscriber,
        /// As which member, on presence channels.
        member: Option<Arc<Member>>,
        /// How far it has heard the channel before.
        since: Option<Position>,
        /// Why.
        purpose: Purpose,
    },
    /// To a home: a member subscribed again and wants the snapshot.
    Resubscribe {
        /// The channel.
        key: ChannelKey,
        /// Who.
        subscriber: Subscriber,
    },
    /// To a home: this subscription has ended.
    Unsubscribe {
        /// The channel.
        key: ChannelKey,
        /// Who.
        subscriber: Subscriber,
        /// As which member, on presence channels.
        user: Option<UserId>,
        /// Why it was.
        purpose: Purpose,
        /// How.
        departure: Departure,
    },
    /// To a home: an event for the channel.
    Publish {
        /// The channel.
        key: ChannelKey,
        /// The event.
        publication: Publication,
        /// Whom to tell the channel's state afterwards.
        ask: Option<AskId>,
    },
    /// To a home: a question.
    Ask {
        /// The question.
        ask: Ask,
        /// Who asks.
        id: AskId,
    },
    /// To the home of a user's channel: end all of the user's connections.
    Terminate {
        /// The user's own channel.
        key: ChannelKey,
    },
    /// To a key's home: a request comes with this key, and asks whether it may publish.
    Reserve {
        /// The key.
        key: RequestKey,
        /// What the request asks for.
        fingerprint: Fingerprint,
        /// Who asks; from here on, whose the key is.
        id: AskId,
    },
    /// To a key's home: the request has published.
    Commit {
        /// The key.
        key: RequestKey,
        /// Whose it is.
        id: AskId,
        /// What to answer to its repetitions.
        answer: FirstAnswer,
    },
    /// To a key's home: the request has ended without publishing.
    Release {
        /// The key.
        key: RequestKey,
        /// Whose it is.
        id: AskId,
    },
    /// To the home of guard keys: a request asks for what its events need there.
    Weigh {
        /// Whose events they are.
        app: AppIndex,
        /// What they need.
        claims: Vec<Claim>,
        /// Who asks; from here on, whose what is granted is.
        id: AskId,
    },
    /// To the home of guard keys: the request has ended.
    Settle {
        /// Whose it was.
        id: AskId,
        /// What has become of each claim, in their order.
        fates: Vec<Fate>,
    },
    /// To a subscriber's worker: it is in.
    Granted {
        /// The channel.
        key: ChannelKey,
        /// Who.
        subscriber: Subscriber,
        /// As which member.
        user: Option<UserId>,
        /// Why.
        purpose: Purpose,
        /// `subscription_succeeded`, and on cache channels and those with replay what follows it.
        frames: Vec<Bytes>,
        /// To [`Purpose::Watch`]: whether the user is there.
        online: bool,
    },
    /// To a subscriber's worker: here is the snapshot again, or how the inbox stands whose channel this is, or, from a home
    /// that has lost its mind, what it cannot send again.
    Restated {
        /// The channel.
        key: ChannelKey,
        /// Who.
        subscriber: Subscriber,
        /// `subscription_succeeded`, or `inbox.state`, or `replay.gap` and `replay.position`.
        frames: Vec<Bytes>,
    },
    /// To a subscriber's worker: the channel is full.
    Refused {
        /// The channel.
        key: ChannelKey,
        /// Who.
        subscriber: Subscriber,
        /// Why, for the client.
        reason: Box<str>,
    },
    /// To a worker with subscribers: this goes to all of them.
    Deliver {
        /// The channel.
        key: ChannelKey,
        /// The frame.
        frame: SharedFrame,
        /// But for this socket.
        except: Option<SocketId>,
        /// To those who subscribe, or those who watch.
        to: Audience,
        /// What else there is to it.
        sequel: Option<Sequel>,
        /// What it is, and as what each delivery counts.
        told: Told,
    },
    /// To a worker with sign-ins of that user: close their connections.
    Disconnect {
        /// The user's own channel.
        key: ChannelKey,
    },
    /// To whoever asked.
    Answer {
        /// The question's id.
        id: AskId,
        /// The answer.
        answer: Answer,
    },
    /// To every other worker: this one has lost its mind and with it all its connections.
    MindLost {
        /// Which.
        worker: WorkerId,
        /// The number of the mind that is there now.
        life: u64,
    },
    /// To a worker that had lost its mind: what this one has at channels whose home it is follows.
    Announcing {
        /// Who has.
        worker: WorkerId,
        /// To which of its minds this is said.
        life: u64,
    },
    /// To a worker that had lost its mind: what this one has at channels whose home it is has been said.
    Announced {
        /// Who has.
        worker: WorkerId,
        /// To which of its minds this was said.
        life: u64,
    },
    /// To every worker: apps and limits have changed.
    Reload {
        /// The new set.
        apps: Arc<Apps>,
    },
}

impl Letter {
    /// The channel, if the letter is to that channel's home.
    pub fn to_home_of(&self) -> Option<&ChannelKey> {
        match self {
            Self::Subscribe { key, .. }
            | Self::Resubscribe { key, .. }
            | Self::Unsubscribe { key, .. }
            | Self::Publish { key, .. }
            | Self::Terminate { key } => Some(key),
            Self::Ask { .. }
            | Self::Reserve { .. }
            | Self::Commit { .. }
            | Self::Release { .. }
            | Self::Weigh { .. }
            | Self::Settle { .. }
            | Self::Granted { .. }
            | Self::Restated { .. }
            | Self::Refused { .. }
            | Self::Deliver { .. }
            | Self::Disconnect { .. }
            | Self::Answer { .. }
            | Self::MindLost { .. }
            | Self::Announcing { .. }
            | Self::Announced { .. }
            | Self::Reload { .. } => None,
        }
    }

    /// The channel, if the letter is from that channel's home to a worker with subscribers.
    pub fn from_home_of(&self) -> Option<&ChannelKey> {
        match self {
            Self::Granted { key, .. }
            | Self::Restated { key, .. }
            | Self::Refused { key, .. }
            | Self::Deliver { key, .. }
            | Self::Disconnect { key } => Some(key),
            Self::Subscribe { .. }
            | Self::Resubscribe { .. }
            | Self::Unsubscribe { .. }
            | Self::Publish { .. }
            | Self::Ask { .. }
            | Self::Reserve { .. }
            | Self::Commit { .. }
            | Self::Release { .. }
            | Self::Weigh { .. }
            | Self::Settle { .. }
            | Self::Terminate { .. }
            | Self::Answer { .. }
            | Self::MindLost { .. }
            | Self::Announcing { .. }
            | Self::Announced { .. }
            | Self::Reload { .. } => None,
        }
    }
}

/// Which of a channel's local listeners a delivery is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Audience {
    /// Those who subscribe.
    Subscribers,
    /// Those who watch the channel's user.
    Watchers,
}

/// Which worker is the home of a channel, and of a key.
#[derive(Debug, Clone, Copy)]
pub struct Homes {
    /// Drawn at start, so that nobody outside can choose names that all live at one worker.
    pub seed: u64,
    /// How many workers there are.
    pub workers: u16,
}

impl Homes {
    /// The home of a channel.
    pub fn of(&self, key: &ChannelKey) -> WorkerId {
        self.home(key.app, key.name.as_str())
    }

    /// The home of a request's key.
    pub fn of_key(&self, key: &RequestKey) -> WorkerId {
        self.home(key.app, key.key.as_str())
    }

    /// The home of a guard key.
    pub fn of_guard_key(&self, key: &GuardKey) -> WorkerId {
        self.home(key.app, key.digest)
    }

    fn home(&self, app: AppIndex, name: impl Hash) -> WorkerId {
        if self.workers == 1 {
            return WorkerId(0);
        }
        let mut hasher = DefaultHasher::new();
        (self.seed, app, name).hash(&mut hasher);
        let home = hasher.finish() % u64::from(self.workers);
        WorkerId(u16::try_from(home).expect("a remainder of a 16-bit number"))
    }
}
