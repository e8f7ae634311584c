//! What is known of a user beside notifications, and all of it at once.
//!
//! Owns contacts, erasure and export. Never leaves anything of an erased user behind but the fact in the caller's audit.
//! The invariant: what is exported is what would be erased.

use crate::delivery::Contact;
use crate::draft::{Draft, Recipients};
use crate::reports::{Erased, Export};
use crate::store::connection::{Failure, values};
use crate::store::rows::{self, own};
use crate::store::sql::{Statement, sql};
use crate::store::tx::Tx;
use crate::store::users::User;
use crate::store::{deliveries, preferences};

pub(crate) async fn put(tx: &mut Tx, app: &str, name: &str, contact: &Contact) -> Result<(), Failure> {
    let put = sql!(
        "INSERT INTO campanile_inbox_users (app, name, email, locale, tz) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (app, name) DO UPDATE SET email = excluded.email, locale = excluded.locale, tz = excluded.tz"
    );
    let Contact { email, locale, tz } = contact;
    tx.execute(put, values![app, name, email.as_deref(), locale.as_deref(), tz.as_deref()]).await?;
    Ok(())
}

pub(crate) async fn erase(tx: &mut Tx, app: &str, name: &str) -> Result<Erased, Failure> {
    let mut erased = Erased::default();
    // First what waits, so that nobody stores it after the rest has gone: whoever is storing it holds the job's row.
    let waiting = sql!("SELECT number, draft FROM campanile_inbox_jobs WHERE app = $1 {for update}");
    for row in tx.fetch(waiting, values![app]).await? {
        let number = row.int(0)?;
        let Ok(mut draft) = serde_json::from_str::<Draft>(&row.text(1)?) else { continue };
        let is_theirs_alone = match &mut draft.to {
            Recipients::User(user) if user == name => true,
            Recipients::Users(users) if users.iter().any(|user| user == name) => {
                users.retain(|user| user != name);
                users.is_empty()
            }
            _ => continue,
        };
        if is_theirs_alone {
            tx.execute(sql!("DELETE FROM campanile_inbox_jobs WHERE number = $1"), values![number]).await?;
        } else {
            let json = serde_json::to_string(&draft)?;
            let keep = sql!("UPDATE campanile_inbox_jobs SET draft = $2 WHERE number = $1");
            tx.execute(keep, values![number, &json]).await?;
        }
        erased.waiting += 1;
    }
    let audiences = sql!("SELECT audience FROM campanile_inbox_members WHERE app = $1 AND name = $2 ORDER BY audience");
    for row in tx.fetch(audiences, values![app, name]).await? {
        let audience = row.text(0)?;
        let fewer = sql!("UPDATE campanile_inbox_audiences SET members = members - 1 WHERE app = $1 AND audience = $2");
        tx.execute(fewer, values![app, &audience]).await?;
        let leave = sql!("DELETE FROM campanile_inbox_members WHERE app = $1 AND audience = $2 AND name = $3");
        tx.execute(leave, values![app, &audience, name]).await?;
        erased.audiences += 1;
    }
    let user = User::lock_known(tx, app, name).await?;
    erased.known = user.is_some() || erased.waiting > 0 || erased.audiences > 0;
    let Some(user) = user else { return Ok(erased) };
    let tables: [(&Statement, Option<&mut u64>); 8] = [
        (sql!("DELETE FROM campanile_inbox_notifications WHERE user_id = $1"), Some(&mut erased.notifications)),
        (sql!("DELETE FROM campanile_inbox_deliveries WHERE user_id = $1"), Some(&mut erased.deliveries)),
        (
            sql!("DELETE FROM campanile_inbox_push_subscriptions WHERE user_id = $1"),
            Some(&mut erased.push_subscriptions),
        ),
        (sql!("DELETE FROM campanile_inbox_digested WHERE user_id = $1"), None),
        (sql!("DELETE FROM campanile_inbox_tombstones WHERE user_id = $1"), None),
        (sql!("DELETE FROM campanile_inbox_announcement_states WHERE user_id = $1"), None),
        (sql!("DELETE FROM campanile_inbox_preferences WHERE user_id = $1"), None),
        (sql!("DELETE FROM campanile_inbox_floors WHERE user_id = $1"), None),
    ];
    for (delete, counted) in tables {
        let deleted = tx.execute(delete, values![user.id]).await?;
        if let Some(counted) = counted {
            *counted = deleted;
        }
    }
    tx.execute(sql!("DELETE FROM campanile_inbox_users WHERE id = $1"), values![user.id]).await?;
    let state = User::look_up(tx, app, name).await?.state();
    tx.updated(app, name, state, Vec::new(), true);
    Ok(erased)
}

pub(crate) async fn export(tx: &mut Tx, app: &str, name: &str) -> Result<Export, Failure> {
    let user = User::look_up(tx, app, name).await?;
    let all = sql!("SELECT ", own!(), " WHERE n.user_id = $1 ORDER BY n.seq DESC");
    let mut notifications = Vec::new();
    for row in tx.fetch(all, values![user.id]).await? {
        notifications.push(rows::read(&row, &user)?.shown());
    }
    let audiences = sql!("SELECT audience FROM campanile_inbox_members WHERE app = $1 AND name = $2 ORDER BY audience");
    let audiences = tx.fetch(audiences, values![app, name]).await?;
    Ok(Export {
        app: app.to_owned(),
        user: name.to_owned(),
        exported_at: tx.now,
        contact: deliveries::contact(tx, user.id).await?,
        state: user.state(),
        notifications,
        preferences: preferences::all_choices(tx, user.id).await?,
        audiences: audiences.iter().map(|row| row.text(0)).collect::<Result<_, _>>()?,
        deliveries: deliveries::records(tx, app, name, None, usize::MAX).await?,
        push_subscriptions: deliveries::push_subscriptions(tx, user.id).await?,
    })
}
