//! Stage B: what was accepted becomes rows, in the order in which it is due.
//!
//! Owns the jobs' way from due to stored. Never pushes: it says what arrived. The invariant: a job is deleted only after
//! its rows are committed and told, so whoever dies in between leaves it to be told once more, under the same numbers
//! (I18). Read on in [`crate::store::arrivals`].

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::watch;

use crate::changes::Change;
use crate::clock::Timestamp;
use crate::draft::{Draft, Recipients};
use crate::error::InboxError;
use crate::preferences::{Category, Channel, Switches};
use crate::settings::{CHUNK_ROWS, GROUP_COMMIT_MAX};
use crate::store::announcements::{self, Announcement};
use crate::store::arrivals::{self, Arrival, Stowed};
use crate::store::connection::{Failure, values};
use crate::store::deliveries::Order;
use crate::store::rows::{Content, id_of};
use crate::store::sql::sql;
use crate::store::tx::Tx;
use crate::store::users::User;
use crate::store::{Core, audiences, deliveries, jobs, preferences, sweeps};

/// For how long a job is one courier's, between its commit and its end.
const JOB_LEASE: Duration = Duration::from_secs(30);
/// How often is looked whether something is due of which nobody has told.
const POLL: Duration = Duration::from_millis(500);
/// How long the database is left alone when it is away.
const AWAY_PAUSE: Duration = Duration::from_millis(500);
/// Jobs that are tried one by one after a round has failed.
const ALONE_MAX: i64 = 64;

/// Stores, wakes and expires until it is told to stop.
pub(crate) async fn run(core: Rc<Core>, mut stop: watch::Receiver<bool>) {
    let mut stopping = stop.clone();
    tokio::join!(
        async {
            tokio::select! { biased; () = stopped(&mut stopping) => {} () = store(&core) => {} }
        },
        async {
            tokio::select! { biased; () = stopped(&mut stop) => {} () = sweep(&core) => {} }
        },
    );
}

async fn stopped(stop: &mut watch::Receiver<bool>) {
    // The sender that has gone is a stop as well.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn sweep(core: &Rc<Core>) {
    loop {
        let due = core.read(async |tx: &mut Tx| sweeps::is_anything_due(tx).await).await;
        let swept = match due {
            Ok(false) => Ok(false),
            Ok(true) => core.write(async |tx: &mut Tx| sweeps::sweep(tx).await).await,
            Err(error) => Err(error),
        };
        match swept {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "the inbox was not swept; it is tried again"),
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn store(core: &Rc<Core>) {
    let mut told = Vec::new();
    loop {
        let before = std::mem::take(&mut told);
        let given = before.clone();
        match core.write(async move |tx: &mut Tx| round(tx, &given, None).await).await {
            Ok(done) => {
                let is_idle = done.told.is_empty() && !done.has_more;
                told = done.told;
                if is_idle {
                    // Whoever has told of work meanwhile has left a permit.
                    let _ = tokio::time::timeout(POLL, core.work.notified()).await;
                }
            }
            Err(error) => {
                told = before;
                tracing::warn!(%error, "the inbox's jobs were not stored; each is tried alone");
                if matches!(error, InboxError::Broken { .. }) {
                    one_by_one(core).await;
                } else {
                    tokio::time::sleep(AWAY_PAUSE).await;
                }
            }
        }
    }
}

/// Finds the job that fails a round, and lets it count.
async fn one_by_one(core: &Rc<Core>) {
    let due = core.read(async |tx: &mut Tx| due_numbers(tx).await).await;
    for number in due.unwrap_or_default() {
        let stored = core.write(async move |tx: &mut Tx| round(tx, &[], Some(number)).await).await;
        let failed = match stored {
            Ok(done) => {
                let told = done.told;
                core.write(async move |tx: &mut Tx| end(tx, &told).await).await
            }
            Err(InboxError::Broken { reason }) => {
                core.write(async move |tx: &mut Tx| jobs::fail(tx, number, &reason).await).await
            }
            Err(error) => Err(error),
        };
        if failed.is_err() {
            tokio::time::sleep(AWAY_PAUSE).await;
            return;
        }
    }
}

async fn due_numbers(tx: &mut Tx) -> Result<Vec<i64>, Failure> {
    let now = tx.now;
    let due = sql!(
        "SELECT number FROM campanile_inbox_jobs WHERE died_at IS NULL AND available_at <= $1 \
         ORDER BY available_at, number LIMIT $2"
    );
    let rows = tx.fetch(due, values![now, ALONE_MAX]).await?;
    Ok(rows.iter().map(|row| row.int(0)).collect::<Result<_, _>>()?)
}

/// How far a job's rows are committed and told.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    number: i64,
    /// The last recipient; none if that was all.
    up_to: Option<String>,
}

/// What a round has done.
#[derive(Debug)]
pub(crate) struct Done {
    told: Vec<Told>,
    has_more: bool,
}

/// A job that is being stored.
struct Job {
    id: uuid::Uuid,
    app: String,
    draft: Draft,
    content: Content,
    terms: Category,
}

/// Ends the jobs that were told.
async fn end(tx: &mut Tx, told: &[Told]) -> Result<(), Failure> {
    let now = tx.now;
    let done: Vec<i64> = told.iter().filter(|told| told.up_to.is_none()).map(|told| told.number).collect();
    if !done.is_empty() {
        let delete = sql!("DELETE FROM campanile_inbox_jobs WHERE number IN {numbers $1}");
        tx.execute(delete, values![&crate::store::rows::list(&done)]).await?;
    }
    for told in told {
        if let Some(up_to) = &told.up_to {
            let go_on =
                sql!("UPDATE campanile_inbox_jobs SET told_to = $2, available_at = $3, leased = 0 WHERE number = $1");
            tx.execute(go_on, values![told.number, up_to, now]).await?;
        }
    }
    Ok(())
}

/// Ends what was told, and stores what is due.
async fn round(tx: &mut Tx, told: &[Told], only: Option<i64>) -> Result<Done, Failure> {
    end(tx, told).await?;
    let now = tx.now;
    let due = sql!(
        "SELECT number, app, id, draft, told_to FROM campanile_inbox_jobs WHERE died_at IS NULL AND available_at <= $1 \
         AND ($2 = 0 OR number = $2) ORDER BY available_at, number LIMIT $3 {skip locked}"
    );
    let most = i64::try_from(GROUP_COMMIT_MAX).unwrap_or(i64::MAX);
    let found = tx.fetch(due, values![now, only.unwrap_or(0), most]).await?;
    let mut budget = CHUNK_ROWS;
    let mut jobs_of_round: Vec<Job> = Vec::new();
    let mut told = Vec::new();
    // For each user in the order of their locks, which jobs are for them, oldest first.
    let mut recipients: BTreeMap<(String, String), Vec<usize>> = BTreeMap::new();
    let mut terms: HashMap<(String, String), Category> = HashMap::new();
    let mut seen = 0;
    for row in &found {
        if budget == 0 {
            break;
        }
        seen += 1;
        let (number, app) = (row.int(0)?, row.text(1)?);
        let draft: Draft = match serde_json::from_str(&row.text(3)?) {
            Ok(draft) => draft,
            Err(error) => {
                jobs::bury(tx, number, &format!("the job cannot be read: {error}")).await?;
                continue;
            }
        };
        let category = (app.clone(), draft.category.clone().unwrap_or_default());
        if !terms.contains_key(&category) {
            let found = match category.1.as_str() {
                "" => Category::default(),
                name => preferences::terms(tx, &app, name).await?,
            };
            terms.insert(category.clone(), found);
        }
        let job = Job {
            id: id_of(&row.text(2)?)?,
            app,
            content: Content::of(&draft),
            terms: terms[&category].clone(),
            draft,
        };
        match to_whom(tx, &job, row.maybe_text(4)?.as_deref(), budget).await? {
            ToWhom::Users { names, has_more } => {
                budget -= names.len().min(budget);
                let up_to = if has_more { names.last().cloned() } else { None };
                told.push(Told { number, up_to });
                for name in names {
                    recipients.entry((job.app.clone(), name)).or_default().push(jobs_of_round.len());
                }
                jobs_of_round.push(job);
            }
            ToWhom::Announcement { audience } => {
                budget -= 1;
                if job.draft.expires_at.is_none_or(|at| at > now) {
                    let announcement = Announcement {
                        id: job.id,
                        audience: audience.as_deref(),
                        kind: &job.draft.kind,
                        category: job.draft.category.as_deref().unwrap_or(""),
                        content: &job.content,
                        expires_at: job.draft.expires_at,
                    };
                    let announced = announcements::announce(tx, &job.app, &announcement, &job.terms).await?;
                    if let Err(reason) = announced {
                        jobs::bury(tx, number, &reason).await?;
                        continue;
                    }
                }
                told.push(Told { number, up_to: None });
            }
        }
    }
    for ((app, name), indexes) in recipients {
        let jobs = indexes.iter().map(|index| &jobs_of_round[*index]);
        for_user(tx, &app, &name, jobs).await?;
    }
    let numbers: Vec<i64> = told.iter().map(|told: &Told| told.number).collect();
    if !numbers.is_empty() {
        let lease = sql!("UPDATE campanile_inbox_jobs SET leased = 1, available_at = $2 WHERE number IN {numbers $1}");
        tx.execute(lease, values![&crate::store::rows::list(&numbers), now.plus(JOB_LEASE)]).await?;
    }
    Ok(Done { has_more: seen < found.len() || found.len() == GROUP_COMMIT_MAX, told })
}

enum ToWhom {
    Users { names: Vec<String>, has_more: bool },
    Announcement { audience: Option<String> },
}

async fn to_whom(tx: &mut Tx, job: &Job, told_to: Option<&str>, budget: usize) -> Result<ToWhom, Failure> {
    Ok(match &job.draft.to {
        Recipients::User(user) => ToWhom::Users { names: vec![user.clone()], has_more: false },
        Recipients::Users(users) => {
            let mut names = users.clone();
            names.sort_unstable();
            names.dedup();
            names.retain(|name| told_to.is_none_or(|told| name.as_str() > told));
            let has_more = names.len() > budget;
            names.truncate(budget);
            ToWhom::Users { names, has_more }
        }
        Recipients::Audience(audience) => {
            let members = sql!("SELECT members FROM campanile_inbox_audiences WHERE app = $1 AND audience = $2");
            let members = tx.number(members, values![&job.app, audience]).await?;
            let is_large = members > i64::try_from(tx.settings.limits.recipients).unwrap_or(i64::MAX);
            let is_of_the_socket =
                job.draft.via().iter().all(|channel| matches!(channel, Channel::Inbox | Channel::Broadcast));
            // One that has begun as rows goes on so. One that gathers is each user's own.
            if is_large && is_of_the_socket && told_to.is_none() && job.draft.digest.is_none() {
                return Ok(ToWhom::Announcement { audience: Some(audience.clone()) });
            }
            let mut names = audiences::members(tx, &job.app, audience, told_to, budget + 1).await?;
            let has_more = names.len() > budget;
            names.truncate(budget);
            ToWhom::Users { names, has_more }
        }
        Recipients::All(_) => ToWhom::Announcement { audience: None },
    })
}

/// Stores for one user what is theirs of a round.
async fn for_user<'j>(tx: &mut Tx, app: &str, name: &str, jobs: impl Iterator<Item = &'j Job>) -> Result<(), Failure> {
    let mut user = User::lock(tx, app, name).await?;
    let before = user.clone();
    let mut choices: Option<BTreeMap<String, Switches>> = None;
    let mut arrived = Vec::new();
    let nothing = Switches::new();
    for job in jobs {
        let category = job.draft.category.as_deref().unwrap_or("");
        let is_too_late = job.draft.expires_at.is_some_and(|at: Timestamp| at <= tx.now);
        if !category.is_empty() && choices.is_none() {
            choices = Some(preferences::all_choices(tx, user.id).await?);
        }
        let chosen = choices.as_ref().and_then(|choices| choices.get(category)).unwrap_or(&nothing);
        let via = job.draft.via();
        let allowed = |channel| category.is_empty() || job.terms.allows(channel, chosen);
        let reason = |channel| match () {
            () if is_too_late => Some("expired"),
            () if !allowed(channel) => Some("preference"),
            () => None,
        };
        let mut row = None;
        let mut stowed = None;
        let mut beyond = false;
        if via.contains(&Channel::Inbox) {
            if let Some(reason) = reason(Channel::Inbox) {
                deliveries::suppress(tx, &user, job.id, &job.draft.kind, Channel::Inbox, reason).await?;
            } else {
                let arrival = Arrival {
                    id: job.id,
                    kind: &job.draft.kind,
                    category,
                    content: &job.content,
                    digest: job.draft.digest.as_deref(),
                    expires_at: job.draft.expires_at,
                };
                match arrivals::stow(tx, &mut user, &arrival).await? {
                    Stowed::New(stored) | Stowed::Known(stored) => {
                        row = Some((stored.id, stored.seq));
                        let broadcast = via.contains(&Channel::Broadcast) && allowed(Channel::Broadcast);
                        stowed = Some((stored, broadcast));
                    }
                    Stowed::Gone => {}
                }
            }
        }
        for channel in via.iter().copied().filter(|channel| *channel != Channel::Inbox) {
            if let Some(reason) = reason(channel).or(match channel {
                Channel::Broadcast if row.is_none() => Some("not_in_inbox"),
                _ => None,
            }) {
                deliveries::suppress(tx, &user, job.id, &job.draft.kind, channel, reason).await?;
                continue;
            }
            let lacks = match channel {
                Channel::Broadcast => continue,
                Channel::Mail => deliveries::contact(tx, user.id).await?.email.is_none().then_some("no_address"),
                Channel::WebPush => {
                    deliveries::push_subscriptions(tx, user.id).await?.is_empty().then_some("no_subscription")
                }
                Channel::Webhook | Channel::Inbox => None,
            };
            if let Some(reason) = lacks {
                deliveries::suppress(tx, &user, job.id, &job.draft.kind, channel, reason).await?;
                continue;
            }
            let order = Order { id: job.id, row, kind: &job.draft.kind, channel, content: &job.content };
            deliveries::order(tx, &user, &order).await?;
            beyond = true;
        }
        arrived.extend(stowed.map(|(stored, broadcast)| (stored, broadcast, beyond)));
    }
    if user != before {
        user.save(tx).await?;
    }
    let state = user.state();
    for (stored, broadcast, beyond) in arrived {
        tx.changes.push(Change::Arrived {
            app: app.to_owned(),
            user: name.to_owned(),
            notification: Box::new(stored.shown()),
            state,
            captured: false,
            broadcast,
            beyond,
        });
    }
    Ok(())
}
