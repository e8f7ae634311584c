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

/// What is remembered at one time; the oldest gives way.
pub const REMEMBERED_MAX: usize = 10_000;

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
pub struct AuthorizationCache(Arc<Mutex<Remembered>>);

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

#[derive(Debug)]
struct Allowed {
    member: Option<Member>,
    until: Instant,
    number: u64,
}

impl AuthorizationCache {
    /// Remembers each yes for so long. A right that is taken away and not forgotten lives on for that time.
    pub fn new(lifetime: Duration) -> Self {
        let (allowed, order) = (HashMap::new(), VecDeque::new());
        Self(Arc::new(Mutex::new(Remembered { lifetime, allowed, order, count: 0, generation: 0 })))
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
        let mut remembered = self.0.lock();
        remembered.generation += 1;
        remembered.allowed.retain(|asked, _| !is_meant(asked));
    }

    /// As whom, if this was allowed; else what [`AuthorizationCache::allow`] wants to be given.
    pub(crate) fn allowed(&self, user: &str, channel: &str, now: Instant) -> Result<Option<Member>, u64> {
        let remembered = self.0.lock();
        let allowed = remembered.allowed.get(&(user.to_owned(), channel.to_owned()));
        allowed.filter(|allowed| allowed.until > now).map(|allowed| allowed.member.clone()).ok_or(remembered.generation)
    }

    pub(crate) fn allow(&self, user: &str, channel: &str, member: Option<Member>, generation: u64, now: Instant) {
        let remembered = &mut *self.0.lock();
        if remembered.generation != generation {
            return;
        }
        remembered.count += 1;
        let (asked, number) = ((user.to_owned(), channel.to_owned()), remembered.count);
        remembered.order.push_back((asked.clone(), number));
        remembered.allowed.insert(asked, Allowed { member, until: now + remembered.lifetime, number });
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

    fn allow(cache: &AuthorizationCache, user: &str, channel: &str, now: Instant) {
        let generation = cache.allowed(user, channel, now).unwrap_err();
        cache.allow(user, channel, None, generation, now);
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
        cache.allow("1", "a", None, generation, now);
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
        let remembered = cache.0.lock();
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
