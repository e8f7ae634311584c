//! Categories and choices, at rest.
//!
//! Owns their tables. Never decides what they mean: [`crate::preferences`] does. The invariant: a choice against what the
//! application requires is refused, and would not be heeded if it were there.

use std::collections::BTreeMap;

use crate::error::{InboxError, Mistake, Thing};
use crate::preferences::{Category, Channel, NamedCategory, Preference, Preferences, Switches};
use crate::store::connection::{Failure, values};
use crate::store::sql::sql;
use crate::store::tx::Tx;
use crate::store::users::User;

/// What the application says of a category; nothing if it has never said anything.
pub(crate) async fn terms(tx: &mut Tx, app: &str, category: &str) -> Result<Category, Failure> {
    let terms = sql!("SELECT terms FROM campanile_inbox_categories WHERE app = $1 AND category = $2");
    match tx.row(terms, values![app, category]).await? {
        Some(row) => Ok(serde_json::from_str(&row.text(0)?)?),
        None => Ok(Category::default()),
    }
}

/// What a user has said of a category.
pub(crate) async fn choices(tx: &mut Tx, user_id: i64, category: &str) -> Result<Switches, Failure> {
    let chosen = sql!("SELECT channel, is_on FROM campanile_inbox_preferences WHERE user_id = $1 AND category = $2");
    let mut switches = Switches::new();
    for row in tx.fetch(chosen, values![user_id, category]).await? {
        if let Some(channel) = Channel::parse(&row.text(0)?) {
            switches.insert(channel, row.int(1)? != 0);
        }
    }
    Ok(switches)
}

/// What a user has said of each.
pub(crate) async fn all_choices(tx: &mut Tx, user_id: i64) -> Result<BTreeMap<String, Switches>, Failure> {
    let chosen = sql!("SELECT category, channel, is_on FROM campanile_inbox_preferences WHERE user_id = $1");
    let mut choices: BTreeMap<String, Switches> = BTreeMap::new();
    for row in tx.fetch(chosen, values![user_id]).await? {
        if let Some(channel) = Channel::parse(&row.text(1)?) {
            choices.entry(row.text(0)?).or_default().insert(channel, row.int(2)? != 0);
        }
    }
    Ok(choices)
}

pub(crate) async fn categories(tx: &mut Tx, app: &str) -> Result<Vec<NamedCategory>, Failure> {
    let all = sql!("SELECT category, terms FROM campanile_inbox_categories WHERE app = $1");
    let mut categories = Vec::new();
    for row in tx.fetch(all, values![app]).await? {
        categories.push(NamedCategory { category: row.text(0)?, terms: serde_json::from_str(&row.text(1)?)? });
    }
    // Databases differ in how they sort texts.
    categories.sort_by(|one, other| one.category.cmp(&other.category));
    Ok(categories)
}

pub(crate) async fn put_category(tx: &mut Tx, app: &str, name: &str, category: &Category) -> Result<(), Failure> {
    let max = tx.settings.limits.categories;
    let others = sql!("SELECT count(*) FROM campanile_inbox_categories WHERE app = $1 AND category <> $2");
    if tx.number(others, values![app, name]).await? >= i64::try_from(max).unwrap_or(i64::MAX) {
        return Err(Mistake::new("too_many", "/category", format!("{max} categories are the most: reuse one")).into());
    }
    let terms = serde_json::to_string(category)?;
    let put = sql!(
        "INSERT INTO campanile_inbox_categories (app, category, terms) VALUES ($1, $2, $3) \
         ON CONFLICT (app, category) DO UPDATE SET terms = excluded.terms"
    );
    tx.execute(put, values![app, name, &terms]).await?;
    Ok(())
}

pub(crate) async fn look_up(tx: &mut Tx, app: &str, name: &str) -> Result<Preferences, Failure> {
    let user = User::look_up(tx, app, name).await?;
    let mut choices = all_choices(tx, user.id).await?;
    let categories = categories(tx, app).await?;
    let preference = |NamedCategory { category, terms }: NamedCategory| {
        let choices = choices.remove(&category).unwrap_or_default();
        let channels = Channel::ALL.into_iter().map(|channel| (channel, terms.allows(channel, &choices))).collect();
        Preference { category, label: terms.label, channels, required: terms.required }
    };
    Ok(Preferences { categories: categories.into_iter().map(preference).collect(), state: user.state() })
}

pub(crate) async fn set(
    tx: &mut Tx,
    app: &str,
    name: &str,
    category: &str,
    channels: &Switches,
) -> Result<Preferences, Failure> {
    let there = sql!("SELECT terms FROM campanile_inbox_categories WHERE app = $1 AND category = $2");
    let Some(row) = tx.row(there, values![app, category]).await? else {
        return Err(InboxError::Unknown(Thing::Category).into());
    };
    let terms: Category = serde_json::from_str(&row.text(0)?)?;
    if let Some((channel, _)) = channels.iter().find(|(channel, on)| !**on && terms.required.contains(channel)) {
        return Err(InboxError::Required { category: category.to_owned(), channel: *channel }.into());
    }
    let user = User::lock(tx, app, name).await?;
    let choose = sql!(
        "INSERT INTO campanile_inbox_preferences (user_id, category, channel, is_on) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (user_id, category, channel) DO UPDATE SET is_on = excluded.is_on"
    );
    for (channel, on) in channels {
        tx.execute(choose, values![user.id, category, channel.name(), i64::from(*on)]).await?;
    }
    look_up(tx, app, name).await
}
