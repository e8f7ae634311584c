//! Stage A: a notification is written down with its key, before anybody has it.
//!
//! Owns the keys' table and the jobs' beginning. Never touches an inbox. The invariant: one key in its window is one job
//! (I20). Read on in [`crate::courier`] for stage B.

use uuid::Uuid;

use crate::draft::{Accepted, Cancelled, Draft, Recipients};
use crate::error::{InboxError, Thing};
use crate::store::connection::{Failure, values};
use crate::store::rows::id_of;
use crate::store::sql::sql;
use crate::store::tx::Tx;
use crate::store::{announcements, arrivals};

/// A draft that was checked, ready to be written down.
#[derive(Debug)]
pub(crate) struct Proposal {
    pub(crate) app: String,
    pub(crate) id: Uuid,
    pub(crate) draft: Draft,
    pub(crate) json: String,
    pub(crate) fingerprint: String,
}

impl Proposal {
    pub(crate) fn new(app: &str, draft: Draft) -> Self {
        let json = serde_json::to_string(&draft).expect("a draft can always be serialised");
        let fingerprint = if draft.key.is_some() { draft.fingerprint() } else { String::new() };
        Self { app: app.to_owned(), id: Uuid::now_v7(), draft, json, fingerprint }
    }
}

pub(crate) async fn accept(tx: &mut Tx, proposal: &Proposal) -> Result<Accepted, Failure> {
    let Proposal { app, id, draft, json, fingerprint } = proposal;
    if let Recipients::Audience(audience) = &draft.to {
        let there = sql!("SELECT count(*) FROM campanile_inbox_audiences WHERE app = $1 AND audience = $2");
        if tx.number(there, values![app, audience]).await? == 0 {
            return Err(InboxError::Unknown(Thing::Audience).into());
        }
    }
    let (text, now) = (id.to_string(), tx.now);
    if let Some(key) = &draft.key {
        let until = now.plus(tx.settings.keys);
        let take = sql!(
            "INSERT INTO campanile_inbox_keys (app, key, id, fingerprint, until) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (app, key) DO UPDATE SET id = excluded.id, fingerprint = excluded.fingerprint, \
             until = excluded.until WHERE campanile_inbox_keys.until <= $6"
        );
        if tx.execute(take, values![app, key, &text, fingerprint, until, now]).await? == 0 {
            let first = sql!("SELECT id, fingerprint FROM campanile_inbox_keys WHERE app = $1 AND key = $2");
            let row = tx.row(first, values![app, key]).await?;
            let row = row.ok_or_else(|| Failure::Broken("a key is taken, and not there".to_owned()))?;
            let first = id_of(&row.text(0)?)?;
            if row.text(1)? == *fingerprint {
                return Ok(Accepted::Duplicate { id: first });
            }
            return Err(InboxError::KeyReused { id: first }.into());
        }
    }
    let post = sql!(
        "INSERT INTO campanile_inbox_jobs (app, id, draft, accepted_at, due_at, available_at) \
         VALUES ($1, $2, $3, $4, $5, $5)"
    );
    tx.execute(post, values![app, &text, json, now, draft.due_at(now)]).await?;
    tx.has_work = true;
    Ok(Accepted::Accepted { id: *id })
}

/// Takes back what was sent under a key, wherever it is by now. The key stays taken.
pub(crate) async fn cancel(tx: &mut Tx, app: &str, key: &str) -> Result<Cancelled, Failure> {
    let now = tx.now;
    let known = sql!("SELECT id FROM campanile_inbox_keys WHERE app = $1 AND key = $2 AND until > $3 {for update}");
    let Some(row) = tx.row(known, values![app, key, now]).await? else {
        return Err(InboxError::Unknown(Thing::Key).into());
    };
    let text = row.text(0)?;
    let mut cancelled = Cancelled::default();
    // Whoever is storing it now holds this row until what was stored can be seen below.
    let job = sql!("DELETE FROM campanile_inbox_jobs WHERE app = $1 AND id = $2 RETURNING draft, told_to, leased");
    if let Some(job) = tx.changing(job, values![app, &text]).await?.first() {
        let draft: Draft = serde_json::from_str(&job.text(0)?)?;
        let told_to = job.maybe_text(1)?;
        cancelled.cancelled = match draft.to {
            _ if job.int(2)? != 0 => 0,
            Recipients::Users(mut users) => {
                users.sort_unstable();
                users.dedup();
                users.iter().filter(|user| told_to.as_ref().is_none_or(|told| *user > told)).count() as u64
            }
            Recipients::User(_) | Recipients::Audience(_) | Recipients::All(_) => 1,
        };
    }
    let id = id_of(&text)?;
    cancelled.retracted = arrivals::retract(tx, app, id).await?;
    cancelled.retracted += u64::from(announcements::withdraw(tx, app, id).await?);
    Ok(cancelled)
}
