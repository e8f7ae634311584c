//! A tenant: its keys, switches and limits.
//!
//! Owns the lookup by key and by id. Never is logged, serialised or sent to another node. The invariant: an app keeps
//! its [`AppIndex`] for the life of the process, so a reload swaps the set under living sessions.

use std::collections::HashMap;
use std::sync::Arc;

use campanile_protocol::{Limits, Secret};

use crate::guard::Rules;
use crate::inbox::Inboxes;
use crate::notice::NoticeKind;
use crate::replay::Replay;

/// Where an app stands in [`Apps`]; the same id keeps the same index over reloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppIndex(pub u32);

/// One of an app's keys with its secret.
#[derive(Debug, Clone)]
pub struct Credential {
    /// The public key.
    pub key: Arc<str>,
    /// What signs.
    pub secret: Secret,
}

/// What an app has switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features {
    /// Subscribers may send `client-*` events.
    pub client_events: bool,
    /// `pusher:signin` is accepted.
    pub user_authentication: bool,
    /// Watchlists are honoured.
    pub watchlists: bool,
    /// `subscription_count` is announced.
    pub subscription_counts: bool,
}

/// Which kinds of notice at least one of the app's webhooks wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NoticeSet(u16);

impl NoticeSet {
    /// The same set with this kind in it. The kind's payload does not matter.
    #[must_use]
    pub fn with(self, bit: u8) -> Self {
        Self(self.0 | 1 << bit)
    }

    /// Whether the kind is wanted.
    pub fn has(self, kind: &NoticeKind) -> bool {
        self.0 & 1 << kind.bit() != 0
    }

    /// Whether somebody is told when channels are occupied or vacated.
    pub(crate) fn has_occupancy(&self) -> bool {
        self.0 & (1 << NoticeKind::OCCUPIED | 1 << NoticeKind::VACATED) != 0
    }
}

/// One tenant.
#[derive(Debug, Clone)]
pub struct App {
    /// Its id, as in the HTTP API's paths.
    pub id: Arc<str>,
    /// Where it stands in [`Apps`].
    pub index: AppIndex,
    /// Switched off: connections get 4003 and requests 403.
    pub enabled: bool,
    /// Its active keys.
    pub credentials: Vec<Credential>,
    /// Its switches.
    pub features: Features,
    /// Its limits.
    pub limits: Limits,
    /// What `connection_established` tells clients, in seconds.
    pub activity_timeout_secs: u32,
    /// Connections that have not been authorized by then are closed with 4009.
    pub authorized_connections_timeout_secs: Option<u32>,
    /// Which notices to make.
    pub notices: NoticeSet,
    /// What holds its publishers up when they go wrong.
    pub guard: Rules,
    /// Which channels can send events again to those who come back.
    pub replay: Replay,
    /// Which channels are users' inboxes; nothing where there are none.
    pub inbox: Option<Arc<Inboxes>>,
    /// Beginnings of channel names that are counted together, the longest first; see [`crate::meter::prefix`].
    pub usage_prefixes: Vec<Box<str>>,
}

impl App {
    /// An app with one key that keeps to Pusher's limits, has nothing switched on and wants no notices.
    pub fn new(id: &str, key: &str, secret: &str) -> Self {
        Self {
            id: id.into(),
            index: AppIndex(0),
            enabled: true,
            credentials: vec![Credential { key: key.into(), secret: Secret::new(secret) }],
            features: Features::default(),
            limits: Limits::default(),
            activity_timeout_secs: 120,
            authorized_connections_timeout_secs: None,
            notices: NoticeSet::default(),
            guard: Rules::default(),
            replay: Replay::default(),
            inbox: None,
            usage_prefixes: Vec::new(),
        }
    }

    /// The secret of an active key.
    pub fn secret(&self, key: &str) -> Option<&Secret> {
        self.credentials.iter().find(|credential| *credential.key == *key).map(|credential| &credential.secret)
    }
}

/// An app's place in the list.
#[derive(Debug, Clone)]
enum Place {
    Configured(Arc<App>),
    /// Removed by a reload. Until the last of its connections has gone, its channels still need its name and limits;
    /// it has no keys and makes no notices.
    Removed(Arc<App>),
}

impl Place {
    fn app(&self) -> &Arc<App> {
        match self {
            Self::Configured(app) | Self::Removed(app) => app,
        }
    }

    fn removed(&self) -> Self {
        match self {
            Self::Removed(app) => Self::Removed(Arc::clone(app)),
            Self::Configured(app) => Self::Removed(Arc::new(App {
                enabled: false,
                credentials: Vec::new(),
                notices: NoticeSet::default(),
                ..App::clone(app)
            })),
        }
    }
}

/// Every app of this process.
#[derive(Debug, Clone, Default)]
pub struct Apps {
    /// Later sets have greater numbers.
    generation: u64,
    list: Vec<Place>,
    by_key: HashMap<Arc<str>, AppIndex>,
    by_id: HashMap<Arc<str>, AppIndex>,
}

impl Apps {
    /// Builds the set, keeping the index of every id that `previous` knew. `App::index` is set here.
    pub fn new(apps: Vec<App>, previous: Option<&Apps>) -> Self {
        let mut set = previous.map_or_else(Self::default, |previous| Self {
            generation: previous.generation + 1,
            list: previous.list.iter().map(Place::removed).collect(),
            by_key: HashMap::new(),
            by_id: previous.by_id.clone(),
        });
        for mut app in apps {
            let next = AppIndex(u32::try_from(set.list.len()).expect("a process has fewer than four billion apps"));
            let index = *set.by_id.entry(app.id.clone()).or_insert(next);
            app.index = index;
            for credential in &app.credentials {
                set.by_key.insert(credential.key.clone(), index);
            }
            let place = Place::Configured(Arc::new(app));
            if index == next {
                set.list.push(place);
            } else {
                set.list[index.0 as usize] = place;
            }
        }
        set
    }

    /// How many sets this process had before.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The app at an index, unless it has been removed since.
    pub fn get(&self, index: AppIndex) -> Option<&Arc<App>> {
        match self.list.get(index.0 as usize)? {
            Place::Configured(app) => Some(app),
            Place::Removed(_) => None,
        }
    }

    /// The app at an index, as it is or as it was when it was removed. None: this set is older than the app.
    pub(crate) fn known(&self, index: AppIndex) -> Option<&Arc<App>> {
        self.list.get(index.0 as usize).map(Place::app)
    }

    /// The app with this active key.
    pub fn by_key(&self, key: &str) -> Option<&Arc<App>> {
        self.get(*self.by_key.get(key)?)
    }

    /// The app with this id.
    pub fn by_id(&self, id: &str) -> Option<&Arc<App>> {
        self.get(*self.by_id.get(id)?)
    }

    /// All apps.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<App>> {
        self.list.iter().filter_map(|place| match place {
            Place::Configured(app) => Some(app),
            Place::Removed(_) => None,
        })
    }
}
