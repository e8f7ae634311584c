//! Deliveries beyond the socket, at rest.
//!
//! Owns their table. Never sends anything. The invariant: a delivery is written down as being tried before anybody gets
//! it to try, and whoever dies then leaves it unknown.

use std::collections::HashMap;

use uuid::Uuid;

use crate::clock::Timestamp;
use crate::delivery::{
    Contact, Delivery, DeliveryId, DeliveryRecord, DeliveryState, PushKeys, PushSubscription, Settlement, Taken,
};
use crate::draft::check_url;
use crate::error::{InboxError, Mistake, Thing};
use crate::mark::{Floors, Standing};
use crate::preferences::Channel;
use crate::settings::IDS_MAX;
use crate::store::connection::{Failure, Row, values};
use crate::store::rows::{self, Content, Stored, id_of, list};
use crate::store::sql::sql;
use crate::store::tx::Tx;
use crate::store::users::User;

/// What is to be sent.
#[derive(Debug)]
pub(crate) struct Order<'a> {
    pub(crate) id: Uuid,
    /// The row that is shown, which for a digest is another one's; none if the inbox has none.
    pub(crate) row: Option<(Uuid, i64)>,
    pub(crate) kind: &'a str,
    pub(crate) channel: Channel,
    pub(crate) content: &'a Content,
}

/// Writes down that something is to be sent to a user, once.
pub(crate) async fn order(tx: &mut Tx, user: &User, order: &Order<'_>) -> Result<(), Failure> {
    let delay = match order.channel {
        Channel::Mail => tx.settings.mail_delay,
        Channel::WebPush => tx.settings.web_push_delay,
        Channel::Webhook => tx.settings.webhook_delay,
        Channel::Inbox | Channel::Broadcast => std::time::Duration::ZERO,
    };
    // What is in no inbox cannot be taken there.
    let delay = if order.row.is_some() { delay } else { std::time::Duration::ZERO };
    let (id, now) = (order.id.to_string(), tx.now);
    let row_id = order.row.map(|(row, _)| row.to_string());
    let seq = order.row.map_or(0, |(_, seq)| seq);
    let channel = order.channel.name();
    if let Some(row_id) = &row_id {
        // A digest that waits to be sent is sent once, with all that was gathered by then.
        let waits = sql!(
            "SELECT count(*) FROM campanile_inbox_deliveries WHERE user_id = $1 AND seq = $2 AND row_id = $3 \
             AND channel = $4 AND state = 'waiting'"
        );
        if tx.number(waits, values![user.id, seq, row_id, channel]).await? > 0 {
            return Ok(());
        }
    }
    let content = if order.row.is_none() { Some(serde_json::to_string(order.content)?) } else { None };
    let insert = sql!(
        "INSERT INTO campanile_inbox_deliveries (user_id, id, row_id, seq, kind, channel, state, content, due_at, \
         created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, 'waiting', $7, $8, $9, $9) \
         ON CONFLICT (id, user_id, channel) DO NOTHING"
    );
    let due_at = now.plus(delay);
    let written = values![user.id, &id, row_id.as_deref(), seq, order.kind, channel, content.as_deref(), due_at, now];
    tx.execute(insert, written).await?;
    Ok(())
}

/// Writes down that something is not sent to a user, and why.
pub(crate) async fn suppress(
    tx: &mut Tx,
    user: &User,
    id: Uuid,
    kind: &str,
    channel: Channel,
    reason: &str,
) -> Result<(), Failure> {
    let (id, now) = (id.to_string(), tx.now);
    let insert = sql!(
        "INSERT INTO campanile_inbox_deliveries (user_id, id, seq, kind, channel, state, reason, due_at, created_at, \
         updated_at) VALUES ($1, $2, 0, $3, $4, 'suppressed', $5, $6, $6, $6) \
         ON CONFLICT (id, user_id, channel) DO NOTHING"
    );
    tx.execute(insert, values![user.id, &id, kind, channel.name(), reason, now]).await?;
    Ok(())
}

/// The user has one of them otherwise.
pub(crate) async fn take(tx: &mut Tx, user_id: i64, seq: i64) -> Result<u64, Failure> {
    let now = tx.now;
    let take = sql!(
        "UPDATE campanile_inbox_deliveries SET state = 'taken', updated_at = $3 \
         WHERE user_id = $1 AND seq = $2 AND state = 'waiting'"
    );
    Ok(tx.execute(take, values![user_id, seq, now]).await?)
}

/// The user has all of them otherwise, up to this one.
pub(crate) async fn take_up_to(tx: &mut Tx, user_id: i64, up_to: i64) -> Result<u64, Failure> {
    let now = tx.now;
    let take = sql!(
        "UPDATE campanile_inbox_deliveries SET state = 'taken', updated_at = $3 \
         WHERE user_id = $1 AND seq <= $2 AND seq > 0 AND state = 'waiting'"
    );
    Ok(tx.execute(take, values![user_id, up_to, now]).await?)
}

pub(crate) async fn take_category_up_to(tx: &mut Tx, user_id: i64, category: &str, up_to: i64) -> Result<u64, Failure> {
    let now = tx.now;
    let take = sql!(
        "UPDATE campanile_inbox_deliveries SET state = 'taken', updated_at = $3 \
         WHERE user_id = $1 AND seq <= $2 AND seq > 0 AND state = 'waiting' \
         AND seq IN (SELECT n.seq FROM campanile_inbox_notifications n WHERE n.user_id = $1 AND n.category = $4)"
    );
    Ok(tx.execute(take, values![user_id, up_to, now, category]).await?)
}

/// The row has gone, so what was to be sent of it is not sent.
pub(crate) async fn drop_waiting(tx: &mut Tx, user_id: i64, seq: i64) -> Result<(), Failure> {
    let now = tx.now;
    let drop_them = sql!(
        "UPDATE campanile_inbox_deliveries SET state = 'suppressed', reason = 'removed', updated_at = $3 \
         WHERE user_id = $1 AND seq = $2 AND state = 'waiting'"
    );
    tx.execute(drop_them, values![user_id, seq, now]).await?;
    Ok(())
}

/// The notification was taken back, and some deliveries of it have no row.
pub(crate) async fn drop_waiting_of(tx: &mut Tx, app: &str, id: Uuid) -> Result<(), Failure> {
    let (id, now) = (id.to_string(), tx.now);
    let drop_them = sql!(
        "UPDATE campanile_inbox_deliveries SET state = 'suppressed', reason = 'removed', updated_at = $3 \
         WHERE id = $2 AND state = 'waiting' AND row_id IS NULL \
         AND user_id IN (SELECT id FROM campanile_inbox_users WHERE app = $1)"
    );
    tx.execute(drop_them, values![app, &id, now]).await?;
    Ok(())
}

pub(crate) async fn taken(tx: &mut Tx, app: &str, name: &str, taken: &Taken) -> Result<u64, Failure> {
    let known = sql!("SELECT id FROM campanile_inbox_users WHERE app = $1 AND name = $2");
    let user_id = tx.number(known, values![app, name]).await?;
    if user_id == 0 {
        return Ok(0);
    }
    match taken {
        Taken::UpToSeq(up_to) => take_up_to(tx, user_id, *up_to).await,
        Taken::Ids(ids) => {
            let ids: Vec<String> = ids.iter().take(IDS_MAX).map(Uuid::to_string).collect();
            let (ids, now) = (list(&ids), tx.now);
            let take = sql!(
                "UPDATE campanile_inbox_deliveries SET state = 'taken', updated_at = $3 \
                 WHERE user_id = $1 AND state = 'waiting' AND (row_id IN {list $2} OR id IN {list $2})"
            );
            Ok(tx.execute(take, values![user_id, &ids, now]).await?)
        }
    }
}

/// Takes what is due, and writes down that it is being tried.
pub(crate) async fn claim(tx: &mut Tx, max: usize) -> Result<Vec<Delivery>, Failure> {
    let now = tx.now;
    let until = now.plus(tx.settings.delivery_lease);
    let claim = sql!(
        "UPDATE campanile_inbox_deliveries SET state = 'trying', attempts = attempts + 1, lease_until = $2, \
         updated_at = $1 WHERE number IN (SELECT number FROM campanile_inbox_deliveries WHERE state = 'waiting' \
         AND due_at <= $1 ORDER BY due_at, number LIMIT $3 {skip locked}) \
         RETURNING number, user_id, id, row_id, kind, channel, content, attempts, created_at"
    );
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    let mut claimed = tx.changing(claim, values![now, until, max]).await?;
    // What a statement returns has no order.
    claimed.sort_by_key(|row| row.int(0).unwrap_or(0));
    let mut deliveries = Vec::with_capacity(claimed.len());
    let mut users: HashMap<i64, Option<(User, Contact, Vec<PushSubscription>)>> = HashMap::new();
    for row in &claimed {
        let user_id = row.int(1)?;
        if let std::collections::hash_map::Entry::Vacant(vacant) = users.entry(user_id) {
            vacant.insert(reach(tx, user_id).await?);
        }
        let Some(Some((user, contact, browsers))) = users.get(&user_id) else { continue };
        if let Some(delivery) = delivery(tx, row, user, contact, browsers).await? {
            deliveries.push(delivery);
        } else {
            let number = row.int(0)?;
            let gone = sql!(
                "UPDATE campanile_inbox_deliveries SET state = 'suppressed', reason = 'removed', lease_until = NULL \
                 WHERE number = $1"
            );
            tx.execute(gone, values![number]).await?;
        }
    }
    Ok(deliveries)
}

async fn reach(tx: &mut Tx, user_id: i64) -> Result<Option<(User, Contact, Vec<PushSubscription>)>, Failure> {
    let Some((app, name)) = User::name_of(tx, user_id).await? else { return Ok(None) };
    let user = User::look_up(tx, &app, &name).await?;
    let contact = contact(tx, user_id).await?;
    let browsers = push_subscriptions(tx, user_id).await?;
    Ok(Some((user, contact, browsers)))
}

async fn delivery(
    tx: &mut Tx,
    row: &Row,
    user: &User,
    contact: &Contact,
    browsers: &[PushSubscription],
) -> Result<Option<Delivery>, Failure> {
    let id = id_of(&row.text(2)?)?;
    let stored = match (row.maybe_text(3)?, row.maybe_text(6)?) {
        (Some(row_id), _) => rows::find(tx, user, id_of(&row_id)?).await?,
        (None, Some(content)) => Some(Stored {
            is_announcement: false,
            seq: 0,
            rev: 0,
            id,
            kind: row.text(4)?,
            category: String::new(),
            content: serde_json::from_str(&content)?,
            digest: None,
            gathers: false,
            group_count: 1,
            created_at: row.moment(8)?,
            updated_at: row.moment(8)?,
            expires_at: None,
            standing: Standing::NEW,
            floors: Floors::default(),
        }),
        (None, None) => None,
    };
    let Some(stored) = stored else { return Ok(None) };
    let channel = channel_of(&row.text(5)?)?;
    Ok(Some(Delivery {
        id: DeliveryId(row.int(0)?),
        attempt: row.int(7)?,
        app: user.app.clone(),
        user: user.name.clone(),
        channel,
        notification: stored.shown(),
        contact: contact.clone(),
        push_subscriptions: if channel == Channel::WebPush { browsers.to_vec() } else { Vec::new() },
    }))
}

fn channel_of(name: &str) -> Result<Channel, Failure> {
    Channel::parse(name).ok_or_else(|| Failure::Broken(format!("a stored channel is not one: {name:?}")))
}

pub(crate) async fn settle(tx: &mut Tx, id: DeliveryId, attempt: i64, settlement: &Settlement) -> Result<(), Failure> {
    let now = tx.now;
    let (state, reason, due_at) = match settlement {
        Settlement::Sent => (DeliveryState::Sent, None, None),
        Settlement::Again { after, reason } => (DeliveryState::Waiting, Some(reason), Some(now.plus(*after))),
        Settlement::Failed { reason } => (DeliveryState::Failed, Some(reason), None),
        Settlement::Unknown { reason } => (DeliveryState::Unknown, Some(reason), None),
        Settlement::Suppressed { reason } => (DeliveryState::Suppressed, Some(reason), None),
    };
    let settle = sql!(
        "UPDATE campanile_inbox_deliveries SET state = $3, reason = $4, due_at = coalesce($5, due_at), \
         lease_until = NULL, updated_at = $6 WHERE number = $1 AND attempts = $2 AND state = 'trying'"
    );
    let settled = values![id.0, attempt, state.name(), reason.map(String::as_str), due_at, now];
    if tx.execute(settle, settled).await? == 0 {
        return Err(InboxError::Unknown(Thing::Delivery).into());
    }
    Ok(())
}

pub(crate) async fn records(
    tx: &mut Tx,
    app: &str,
    name: &str,
    before: Option<DeliveryId>,
    limit: usize,
) -> Result<Vec<DeliveryRecord>, Failure> {
    let of_user = sql!(
        "SELECT d.number, d.id, d.kind, d.channel, d.state, d.reason, d.attempts, d.created_at, d.updated_at, d.due_at \
         FROM campanile_inbox_deliveries d JOIN campanile_inbox_users u ON u.id = d.user_id \
         WHERE u.app = $1 AND u.name = $2 AND d.number < $3 ORDER BY d.number DESC LIMIT $4"
    );
    let before = before.map_or(i64::MAX, |id| id.0);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut records = Vec::new();
    for row in tx.fetch(of_user, values![app, name, before, limit]).await? {
        let name = row.text(4)?;
        let state = DeliveryState::parse(&name)
            .ok_or_else(|| Failure::Broken(format!("a stored state is not one: {name:?}")))?;
        records.push(DeliveryRecord {
            id: DeliveryId(row.int(0)?),
            notification: id_of(&row.text(1)?)?,
            kind: row.text(2)?,
            channel: channel_of(&row.text(3)?)?,
            state,
            reason: row.maybe_text(5)?,
            attempts: row.int(6)?,
            created_at: row.moment(7)?,
            updated_at: row.moment(8)?,
            due_at: if state == DeliveryState::Waiting { Some(row.moment(9)?) } else { None },
        });
    }
    Ok(records)
}

pub(crate) async fn contact(tx: &mut Tx, user_id: i64) -> Result<Contact, Failure> {
    let reach = sql!("SELECT email, locale, tz FROM campanile_inbox_users WHERE id = $1");
    let Some(row) = tx.row(reach, values![user_id]).await? else { return Ok(Contact::default()) };
    Ok(Contact { email: row.maybe_text(0)?, locale: row.maybe_text(1)?, tz: row.maybe_text(2)? })
}

pub(crate) async fn push_subscriptions(tx: &mut Tx, user_id: i64) -> Result<Vec<PushSubscription>, Failure> {
    let of_user = sql!(
        "SELECT endpoint, p256dh, auth FROM campanile_inbox_push_subscriptions WHERE user_id = $1 \
         ORDER BY added_at, endpoint"
    );
    let mut subscriptions = Vec::new();
    for row in tx.fetch(of_user, values![user_id]).await? {
        let keys = PushKeys { p256dh: row.text(1)?, auth: row.text(2)? };
        subscriptions.push(PushSubscription { endpoint: row.text(0)?, keys });
    }
    Ok(subscriptions)
}

pub(crate) async fn add_push_subscription(
    tx: &mut Tx,
    app: &str,
    name: &str,
    subscription: &PushSubscription,
) -> Result<(), Failure> {
    check_url(&tx.settings.limits, "/endpoint", &subscription.endpoint)?;
    if !subscription.endpoint.starts_with("https://") {
        let message = "a browser's push service is an address of https: pass on what the browser gave";
        return Err(Mistake::new("bad_endpoint", "/endpoint", message).into());
    }
    for (path, key) in [("/keys/p256dh", &subscription.keys.p256dh), ("/keys/auth", &subscription.keys.auth)] {
        let is_base64 = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_+/=".contains(&byte));
        if key.is_empty() || key.len() > 200 || !is_base64 {
            return Err(Mistake::new("bad_key", path, "not a key in base64: pass on what the browser gave").into());
        }
    }
    let user = User::lock(tx, app, name).await?;
    let now = tx.now;
    let add = sql!(
        "INSERT INTO campanile_inbox_push_subscriptions (app, endpoint, user_id, p256dh, auth, added_at) \
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (app, endpoint) DO UPDATE SET user_id = excluded.user_id, \
         p256dh = excluded.p256dh, auth = excluded.auth, added_at = excluded.added_at"
    );
    let keys = &subscription.keys;
    tx.execute(add, values![app, &subscription.endpoint, user.id, &keys.p256dh, &keys.auth, now]).await?;
    let max = i64::try_from(tx.settings.limits.push_subscriptions).unwrap_or(i64::MAX);
    let trim = sql!(
        "DELETE FROM campanile_inbox_push_subscriptions WHERE app = $1 AND endpoint IN (SELECT endpoint \
         FROM campanile_inbox_push_subscriptions WHERE user_id = $2 AND endpoint <> $4 \
         ORDER BY added_at DESC, endpoint LIMIT 1000 OFFSET $3)"
    );
    tx.execute(trim, values![app, user.id, max - 1, &subscription.endpoint]).await?;
    Ok(())
}

pub(crate) async fn remove_push_subscription(
    tx: &mut Tx,
    app: &str,
    name: &str,
    endpoint: &str,
) -> Result<bool, Failure> {
    let remove = sql!(
        "DELETE FROM campanile_inbox_push_subscriptions WHERE app = $1 AND endpoint = $3 \
         AND user_id IN (SELECT id FROM campanile_inbox_users WHERE app = $1 AND name = $2)"
    );
    Ok(tx.execute(remove, values![app, name, endpoint]).await? > 0)
}

/// How many wait, how many are being tried.
pub(crate) async fn depths(tx: &mut Tx) -> Result<(i64, i64), Failure> {
    let waiting = sql!("SELECT count(*) FROM campanile_inbox_deliveries WHERE state = 'waiting'");
    let trying = sql!("SELECT count(*) FROM campanile_inbox_deliveries WHERE state = 'trying'");
    Ok((tx.number(waiting, &[]).await?, tx.number(trying, &[]).await?))
}

/// Those whose process has died are unknown from now on.
pub(crate) async fn give_up_lost(tx: &mut Tx, before: Timestamp) -> Result<u64, Failure> {
    let now = tx.now;
    let lost = sql!(
        "UPDATE campanile_inbox_deliveries SET state = 'unknown', reason = 'the process ended while it was tried', \
         lease_until = NULL, updated_at = $2 WHERE state = 'trying' AND lease_until <= $1"
    );
    Ok(tx.execute(lost, values![before, now]).await?)
}
