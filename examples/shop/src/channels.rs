//! Who may listen where: what `routes/channels.php` is to Laravel.
//!
//! Owns every channel of the shop and the question that decides it. Never looks at what a page shows: the same queries
//! decide both. The invariant: a channel that is not here cannot be subscribed to. Read on in [`crate::events`].

use std::time::Duration;

use campanile_broadcast::{AuthorizationCache, Channel, Channels, Member};
use serde_json::json;

use crate::app::App;
use crate::session::CurrentUser;
use crate::store::{documents, teams};

/// For how long a team's yes is remembered, unless somebody leaves it.
pub(crate) const TEAM_REMEMBERED: Duration = Duration::from_secs(60);

/// What concerns one user alone.
#[derive(Channel)]
#[channel("private-user.{id}")]
pub(crate) struct UserChannel {
    pub(crate) id: i64,
}

/// The comments of a document, and who is typing.
#[derive(Channel)]
#[channel("private-document.{id}")]
pub(crate) struct DocumentChannel {
    pub(crate) id: i64,
}

/// Who has a document open.
#[derive(Channel)]
#[channel("presence-document.{id}")]
pub(crate) struct DocumentPresence {
    pub(crate) id: i64,
}

/// The board of a team.
#[derive(Channel)]
#[channel("private-team.{id}")]
pub(crate) struct TeamChannel {
    pub(crate) id: i64,
}

/// Who of a team is at its board.
#[derive(Channel)]
#[channel("presence-team.{id}")]
pub(crate) struct TeamPresence {
    pub(crate) id: i64,
}

/// How a comparison gets on.
#[derive(Channel)]
#[channel("private-operations")]
pub(crate) struct OperationsChannel {}

/// What is remembered for a while, so that a deploy, after which every browser asks again, asks the database once for each.
///
/// It is right for a team's board: membership seldom changes, and where it does, [`crate::pages`] forgets the user. The
/// others either ask nobody, or say who somebody is.
pub(crate) fn remembered() -> AuthorizationCache {
    AuthorizationCache::new(TEAM_REMEMBERED).of::<TeamChannel>()
}

/// The authorizations. A database that fails forbids, and is in the log.
pub(crate) fn channels(remembered: AuthorizationCache) -> Channels<CurrentUser, App> {
    Channels::new()
        .cached(remembered, |user: &CurrentUser| user.id)
        .private(|user: CurrentUser, ch: UserChannel, _: App| async move { user.id == ch.id })
        .private(|user: CurrentUser, ch: DocumentChannel, app: App| async move {
            documents::is_visible(&app.db, ch.id, user.id).await
        })
        .presence(|user: CurrentUser, ch: DocumentPresence, app: App| async move {
            documents::is_visible(&app.db, ch.id, user.id).await.map(|visible| visible.then(|| member(&user)))
        })
        .private(|user: CurrentUser, ch: TeamChannel, app: App| async move {
            teams::has_member(&app.db, ch.id, user.id).await
        })
        .presence(|user: CurrentUser, ch: TeamPresence, app: App| async move {
            teams::has_member(&app.db, ch.id, user.id).await.map(|belongs| belongs.then(|| member(&user)))
        })
        .private(|user: CurrentUser, _: OperationsChannel, _: App| async move { user.is_operator })
}

/// How the others see a user.
fn member(user: &CurrentUser) -> Member {
    Member::new(user.id, json!({ "name": user.name }))
}
