//! Asking about channels: `GET /channels`, `GET /channels/{name}`, its deprecated `stats`, and its users.
//!
//! Owns which attribute may be asked of which channel, and the replies. Never subscribes or remembers. The invariant:
//! a reply holds what was asked for and applies to the channel, and nothing else.

use campanile_hub::ChannelInfo;
use campanile_protocol::ChannelName;
use campanile_protocol::attributes::{Attribute, Attributes};
use campanile_protocol::refusal::{Reason, Refusal};
use campanile_protocol::replies::{CacheReply, ChannelReply, ChannelsText, UserReply, UsersReply};
use campanile_protocol::trigger::channel_name;
use hyper::StatusCode;

use super::error::ApiError;
use super::signed_request::SignedRequest;
use super::{Reply, json, text};
use crate::door::Visit;

const PRESENCE_PREFIX: &str = "presence-";

/// `GET /apps/{id}/channels`
pub(super) async fn list(request: &SignedRequest<'_>, visit: Visit<'_>) -> Result<Reply, ApiError> {
    let prefix = request.query.get("filter_by_prefix").unwrap_or_default();
    let asked = asked(request, Attribute::COUNTS)?;
    if asked.has(Attribute::UserCount) && !prefix.starts_with(PRESENCE_PREFIX) {
        return Err(Refusal::at("info", Reason::UserCountNeedsPresence).into());
    }
    let (mut told, mut share, max) = (ChannelsText::new(), visit.door().share(), visit.door().http_bytes_max());
    let tell = |channel: &ChannelName, state: &ChannelInfo| {
        told.push(channel, &counts(channel, state, asked));
        share.grow_to(told.length(), max).map_err(ApiError::from)
    };
    visit.channels(&request.app, prefix, tell).await?;
    // Held for as long as its reader takes, maybe: without room to grow.
    let told = told.finish().into_boxed_slice();
    Ok(text(StatusCode::OK, "application/json", share.keep(told)))
}

/// `GET /apps/{id}/channels/{name}`
pub(super) async fn show(channel: &str, request: &SignedRequest<'_>, visit: Visit<'_>) -> Result<Reply, ApiError> {
    let channel = channel_name(channel, &request.app.limits)?;
    let asked = asked(request, Attribute::ALL)?;
    asked.check(&channel)?;
    let state = visit.channel(&request.app, channel.clone()).await?;
    let reply = ChannelReply { occupied: Some(state.occupied), ..counts(&channel, &state, asked) };
    let cache = asked
        .has(Attribute::Cache)
        .then(|| state.remembered.as_ref().map(|(data, ttl)| CacheReply { data: data.decode(), ttl: *ttl }));
    Ok(json(StatusCode::OK, &ChannelReply { cache, ..reply }))
}

/// `GET /apps/{id}/channels/{name}/users`
pub(super) async fn users(channel: &str, request: &SignedRequest<'_>, visit: Visit<'_>) -> Result<Reply, ApiError> {
    let channel = channel_name(channel, &request.app.limits)?;
    if !channel.kind().is_presence() {
        let channel = channel.as_str().to_owned();
        return Err(Refusal::at("channel", Reason::NotPresence { channel }).into());
    }
    let members = visit.members(&request.app, channel).await?;
    let users = members.iter().map(|user| UserReply { id: user.as_str() }).collect();
    Ok(json(StatusCode::OK, &UsersReply { users }))
}

/// The counts that were asked for, as far as the channel has them.
pub(super) fn counts(channel: &ChannelName, state: &ChannelInfo, asked: Attributes) -> ChannelReply {
    let tells = |attribute: Attribute| asked.has(attribute) && attribute.applies_to(channel.kind());
    ChannelReply {
        user_count: tells(Attribute::UserCount).then_some(state.user_count),
        subscription_count: tells(Attribute::SubscriptionCount).then_some(state.subscription_count),
        ..ChannelReply::default()
    }
}

fn asked(request: &SignedRequest<'_>, offered: &'static [Attribute]) -> Result<Attributes, Refusal> {
    Attributes::parse(request.query.get("info").unwrap_or_default(), offered)
}
