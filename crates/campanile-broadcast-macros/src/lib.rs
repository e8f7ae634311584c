//! The derives of `campanile-broadcast`: [`macro@Channel`] and [`macro@Broadcast`].
//!
//! Owns what can be known when the application is compiled: whether a pattern and the fields of its struct agree, who
//! may subscribe, whether an event's name is the application's to use. Never emits code that checks these again. The
//! invariant: a mistake is reported where it was written, in a sentence that says what to write instead. Read on in
//! `channel.rs` and `event.rs`; the traits that are implemented are in `campanile-broadcast`.

mod channel;
mod event;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Implements `campanile_broadcast::Channel`, and the marker of who may be authorized, from `#[channel("..")]`.
///
/// The pattern is a channel's name with its prefix; `{field}` stands for a field of the struct, reaches to the next dot
/// or the end, and is written with `Display` and read back with `FromStr`.
///
/// ```text
/// #[derive(Channel)]
/// #[channel("private-orders.{order}")]
/// struct OrderChannel { order: i64 }
/// ```
///
/// A pattern whose prefix is nearly `private-`, `presence-` or `private-encrypted-` is refused: the channel would be open to
/// all, or readable. `#[channel("presents-{id}", as_written)]` says that it is meant.
#[proc_macro_derive(Channel, attributes(channel))]
pub fn derive_channel(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    channel::derive(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}

/// Implements `campanile_broadcast::BroadcastEvent` from `#[broadcast(on = [..])]`.
///
/// * `on = [UserChannel { id: self.user_id }, ..]`: the channels; each may be an `Option` or a `Vec` of channels, too.
/// * `name = "order.shipped"`: the event's name; without it, the name of the type.
/// * `when = self.visible`: whether it is sent at all.
/// * For an event that goes by an outbox: `queue = "high"`, `priority = 5`, `delay = Duration::from_secs(10)`, `tries = 5`,
///   `backoff = [Duration::from_secs(1), ..]`, `order = self.order_id`, `unique = self.order_id`, and with the latter
///   `unique_for = Duration::from_secs(60)`. Each is what `JobOptions` says of it.
///
/// The payload is what serde makes of the type: `#[serde(skip)]` keeps a field out of it.
///
/// ```text
/// #[derive(Serialize, Broadcast)]
/// #[broadcast(name = "order.shipped", on = [UserChannel { id: self.user_id }])]
/// struct OrderShipped { order_id: i64, #[serde(skip)] user_id: i64 }
/// ```
#[proc_macro_derive(Broadcast, attributes(broadcast))]
pub fn derive_broadcast(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    event::derive(&input).unwrap_or_else(|error| error.to_compile_error()).into()
}
