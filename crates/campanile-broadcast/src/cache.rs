//! Who was allowed what a moment ago, so that a deploy, after which every browser asks again, does not ask the database
//! for all of it.
//!
//! Owns what was allowed, for a stated time. Never remembers a no: whoever has just been let in must not wait. The
//! invariant: what began to be decided before something was forgotten is not remembered after it. Read on in
//! [`crate::authorize`].

use std::collections::{HashMap, VecDeque};
use std::fmt::Display;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::authorize::Member;
use crate::channel::Channel;
use crate::timing::Histogram;

/// What is remembered at one time; the oldest gives way.
pub const REMEMBERED_MAX: usize = 10_000;

/// No yes is remembered for longer.
pub const LIFETIME_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Remembers what was allowed to whom. Cheap to clone: the application keeps one, to forget when it takes a right away.
///
/// ```
/// # use campanile_broadcast::{AuthorizationCache, Channels};
/// # use std::time::Duration;
/// # #[derive(Clone)] struct CurrentUser { id: i64 }
/// # #[derive(Clone)] struct App { authorizations: AuthorizationCache }
/// # fn channels(app: &App) -> Channels<CurrentUser, App> {
/// let channels = Channels::new().cached(app.authorizations.clone(), |user: &CurrentUser| user.id);
/// # channels }
/// # let app = App { authorizations: AuthorizationCache::new(Duration::from_secs(60)) };
/// # channels(&app);
/// // where a member is removed from a team:
/// app.authorizations.forget_channel("private-team.7");
/// ```
#[derive(Debug, Clone)]
pub struct AuthorizationCache {
    /// The patterns that are remembered, or none for all.
    of: Vec<&'static str>,
    remembered: Arc<Mutex<Remembered>>,
}

#[derive(Debug)]
struct Remembered {
    lifetime: Duration,
    allowed: HashMap<Asked, Allowed>,
    /// In the order in which they will have been remembered for long enough; some may be forgotten already.
    order: VecDeque<(Asked, u64)>,
    /// Counts what is remembered, so that an old place in the order is told from a new one.
    count: u64,
    /// How often something was forgotten.
    generation: u64,
}

/// A user and a channel.
type Asked = (String, String);

/// A callback's yes, and whose it was.
#[derive(Debug, Clone)]
pub(crate) struct Yes {
    pub(crate) member: Option<Member>,
    pub(crate) histogram: Arc<Histogram>,
}

#[derive(Debug)]
struct Allowed {
    yes: Yes,
    until: Instant,
    number: u64,
}

impl AuthorizationCache {
    /// Remembers each yes for so long, at most [`LIFETIME_MAX`]. A right that is taken away and not forgotten lives on for
    /// that time.
    pub fn new(lifetime: Duration) -> Self {
        let (allowed, order, lifetime) = (HashMap::new(), VecDeque::new(), lifetime.min(LIFETIME_MAX));
        let remembered = Remembered { lifetime, allowed, order, count: 0, generation: 0 };
        Self { of: Vec::new(), remembered: Arc::new(Mutex::new(remembered)) }
    }

    /// Remembers what this authorization allows, and of the others only those that are named in the same way. Without it
    /// all are remembered, also those that ask nobody and are faster than the cache.
    ///
    /// ```
    /// # use campanile_broadcast::{AuthorizationCache, Channel};
    /// # use std::time::Duration;
    /// # #[derive(Channel)] #[channel("private-team.{id}")] struct TeamChannel { id: i64 }
    /// let authorizations = AuthorizationCache::new(Duration::from_secs(60)).of::<TeamChannel>();
    /// ```
    #[must_use]
    pub fn of<C: Channel>(mut self) -> Self {
        self.of.push(C::PATTERN);
        self
    }

    /// Forgets all that this user was allowed.
    pub fn forget_user(&self, id: impl Display) {
        let id = id.to_string();
        self.forget(|(user, _)| *user == id);
    }

    /// Forgets who was allowed to subscribe to this channel.
    pub fn forget_channel(&self, name: &str) {
        self.forget(|(_, channel)| channel == name);
    }

    /// Forgets everything.
    pub fn forget_all(&self) {
        self.forget(|_| true);
    }

    fn forget(&self, is_meant: impl Fn(&Asked) -> bool) {
        let mut remembered = self.remembered.lock();
        remembered.generation += 1;
        remembered.allowed.retain(|asked, _| !is_meant(asked));
    }

    /// Whether anything is remembered of this authorization.
    pub(crate) fn is_of(&self, pattern: &str) -> bool {
        self.of.is_empty() || self.of.contains(&pattern)
    }

    /// The yes, if this was allowed; else what [`AuthorizationCache::allow`] wants to be given.
    pub(crate) fn allowed(&self, user: &str, channel: &str, now: Instant) -> Result<Yes, u64> {
        let remembered = self.remembered.lock();
        let allowed = remembered.allowed.get(&(user.to_owned(), channel.to_owned()));
        allowed.filter(|allowed| allowed.until > now).map(|allowed| allowed.yes.clone()).ok_or(remembered.generation)
    }

    pub(crate) fn allow(&self, user: &str, channel: &str, yes: Yes, generation: u64, now: Instant) {
        let remembered = &mut *self.remembered.lock();
        if remembered.generation != generation {
            return;
        }
        remembered.count += 1;
        let (asked, number) = ((user.to_owned(), channel.to_owned()), remembered.count);
        remembered.order.push_back((asked.clone(), number));
        remembered.allowed.insert(asked, Allowed { yes, until: now + remembered.lifetime, number });
        while let Some((asked, number)) = remembered.order.front() {
            let is_current = |allowed: &&Allowed| allowed.number == *number;
            let current = remembered.allowed.get(asked).filter(is_current);
            let is_over = current.is_none_or(|allowed| allowed.until <= now);
            if !is_over && remembered.order.len() <= REMEMBERED_MAX {
                return;
            }
            if current.is_some() {
                remembered.allowed.remove(asked);
            }
            remembered.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(60);

    fn yes() -> Yes {
        Yes { member: None, histogram: Arc::default() }
    }

    fn allow(cache: &AuthorizationCache, user: &str, channel: &str, now: Instant) {
        let generation = cache.allowed(user, channel, now).unwrap_err();
        cache.allow(user, channel, yes(), generation, now);
    }

    #[test]
    fn a_yes_is_remembered_for_its_lifetime_for_this_user_and_channel_alone() {
        let (cache, now) = (AuthorizationCache::new(LIFETIME), Instant::now());
        allow(&cache, "1", "a", now);
        let just_before = now + LIFETIME - Duration::from_nanos(1);
        assert!(cache.allowed("1", "a", just_before).is_ok());
        assert!(cache.allowed("1", "a", now + LIFETIME).is_err());
        assert!(cache.allowed("2", "a", now).is_err() && cache.allowed("1", "b", now).is_err());
    }

    #[test]
    fn for_ever_is_a_year() {
        let (cache, now) = (AuthorizationCache::new(Duration::MAX), Instant::now());
        allow(&cache, "1", "a", now);
        assert!(cache.allowed("1", "a", now + LIFETIME_MAX - Duration::from_nanos(1)).is_ok());
        assert!(cache.allowed("1", "a", now + LIFETIME_MAX).is_err());
    }

    #[test]
    fn what_is_forgotten_is_asked_again_and_nothing_else() {
        let (cache, now) = (AuthorizationCache::new(LIFETIME), Instant::now());
        for user in ["1", "2"] {
            for channel in ["a", "b"] {
                allow(&cache, user, channel, now);
            }
        }
        let known = |cache: &AuthorizationCache| {
            [("1", "a"), ("1", "b"), ("2", "a"), ("2", "b")]
                .map(|(user, channel)| cache.allowed(user, channel, now).is_ok())
        };
        cache.forget_user(1);
        assert_eq!(known(&cache), [false, false, true, true]);
        cache.forget_channel("a");
        assert_eq!(known(&cache), [false, false, false, true]);
        cache.forget_all();
        assert_eq!(known(&cache), [false; 4]);
    }

    #[test]
    fn what_was_being_decided_while_something_was_forgotten_is_not_remembered() {
        let (cache, now) = (AuthorizationCache::new(LIFETIME), Instant::now());
        let generation = cache.allowed("1", "a", now).unwrap_err();
        cache.forget_user(1);
        cache.allow("1", "a", yes(), generation, now);
        assert!(cache.allowed("1", "a", now).is_err());
    }

    #[test]
    fn as_many_are_remembered_as_the_bound_and_past_it_the_oldest_gives_way() {
        let (cache, now) = (AuthorizationCache::new(LIFETIME), Instant::now());
        for user in 0..REMEMBERED_MAX {
            allow(&cache, &user.to_string(), "a", now);
        }
        assert!(cache.allowed("0", "a", now).is_ok());
        allow(&cache, "one more", "a", now);
        assert!(cache.allowed("0", "a", now).is_err() && cache.allowed("1", "a", now).is_ok());
        // What is over makes room by itself.
        allow(&cache, "later", "a", now + LIFETIME);
        let remembered = cache.remembered.lock();
        assert_eq!((remembered.allowed.len(), remembered.order.len()), (1, 1));
    }

    #[test]
    fn one_that_was_forgotten_and_allowed_again_is_not_taken_for_the_old_one() {
        let (cache, now) = (AuthorizationCache::new(LIFETIME), Instant::now());
        allow(&cache, "1", "a", now);
        cache.forget_all();
        let later = now + LIFETIME / 2;
        allow(&cache, "1", "a", later);
        allow(&cache, "2", "a", now + LIFETIME);
        assert!(cache.allowed("1", "a", now + LIFETIME).is_ok());
    }
}
