//! `#[derive(Broadcast)]`.
//!
//! Owns the attribute's grammar and which names an event and its queue may have. Never says how an event is serialised:
//! serde does.
//! The invariant: an event's name is checked here, so that no call can fail for it.

use campanile_protocol::EventName;
use campanile_protocol::limits::DEFAULT_LIMITS;
use campanile_protocol::name::CLIENT_EVENT_PREFIX;
use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{DeriveInput, Error, Expr, ExprArray, Ident, LitStr, Result};

/// Characters of a queue's name, as in `campanile-broadcast`.
const QUEUE_NAME_LENGTH_MAX: usize = 64;

const UNKNOWN: &str = "unknown here; known are `name`, `on`, `when`, and for the outbox `queue`, `priority`, `delay`, \
                       `tries`, `backoff`, `order`, `unique` and `unique_for`";

/// What the attribute says.
#[derive(Default)]
struct Said {
    name: Option<LitStr>,
    on: Option<ExprArray>,
    when: Option<Expr>,
    queue: Option<LitStr>,
    unique: Option<Expr>,
    unique_for: Option<Expr>,
    /// What is passed on as it stands to the method of the same name.
    priority: Option<Expr>,
    delay: Option<Expr>,
    tries: Option<Expr>,
    backoff: Option<Expr>,
    order: Option<Expr>,
}

pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let said = said(input)?;
    let job = job(&said)?;
    let Some(channels) = said.on else {
        return Err(Error::new_spanned(
            &input.ident,
            "an event needs its channels: #[broadcast(on = [UserChannel { id: self.user_id }])]",
        ));
    };
    let (name, span) = match &said.name {
        Some(name) => (name.value(), name.span()),
        None => (input.ident.to_string(), input.ident.span()),
    };
    check_name(&name, span)?;

    let event = &input.ident;
    let channels = channels.elems.iter();
    let should_send = said.when.map(|when| {
        quote! {
            fn should_send(&self) -> bool {
                #when
            }
        }
    });
    let (impl_generics, type_generics, where_clause) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics ::campanile_broadcast::BroadcastEvent for #event #type_generics #where_clause {
            fn name(&self) -> ::std::borrow::Cow<'_, str> {
                ::std::borrow::Cow::Borrowed(#name)
            }

            fn channels(
                &self,
            ) -> ::std::result::Result<::campanile_broadcast::ChannelList, ::campanile_broadcast::InvalidChannel> {
                let mut channels = ::campanile_broadcast::ChannelList::new();
                #(channels.add(&#channels)?;)*
                ::std::result::Result::Ok(channels)
            }

            #should_send

            #job
        }

        #[automatically_derived]
        impl #impl_generics ::campanile_broadcast::NamedEvent for #event #type_generics #where_clause {
            const NAME: &'static str = #name;
        }
    })
}

/// What is asked for the event in an outbox.
fn job(said: &Said) -> Result<TokenStream> {
    let mut asked = TokenStream::new();
    if let Some(queue) = &said.queue {
        check_queue(queue)?;
        asked.extend(quote!(.queue(#queue)));
    }
    match (&said.unique, &said.unique_for) {
        (Some(key), Some(window)) => asked.extend(quote!(.unique_for(&#key, #window))),
        (Some(key), None) => {
            asked.extend(quote!(.unique_for(&#key, ::campanile_broadcast::outbox::job::UNIQUE_FOR_DEFAULT)));
        }
        (None, Some(window)) => {
            return Err(Error::new_spanned(
                window,
                "unique for how long is said, but not by which key: unique = self.id",
            ));
        }
        (None, None) => {}
    }
    for (name, value) in [("priority", &said.priority), ("delay", &said.delay), ("tries", &said.tries)] {
        if let Some(value) = value {
            let method = Ident::new(name, Span::call_site());
            asked.extend(quote!(.#method(#value)));
        }
    }
    if let Some(pauses) = &said.backoff {
        asked.extend(quote!(.backoff(#pauses)));
    }
    if let Some(key) = &said.order {
        asked.extend(quote!(.ordered_by(&#key)));
    }
    if asked.is_empty() {
        return Ok(TokenStream::new());
    }
    Ok(quote! {
        fn job(&self) -> ::campanile_broadcast::JobOptions {
            ::campanile_broadcast::JobOptions::new() #asked
        }
    })
}

pub(crate) fn check_queue(queue: &LitStr) -> Result<()> {
    let name = queue.value();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    match (1..=QUEUE_NAME_LENGTH_MAX).contains(&name.len()) && name.bytes().all(plain) {
        true => Ok(()),
        false => Err(Error::new(
            queue.span(),
            format!("a queue has a name of 1 to {QUEUE_NAME_LENGTH_MAX} letters, digits, `-`, `_` and `.`"),
        )),
    }
}

fn said(input: &DeriveInput) -> Result<Said> {
    let mut said = Said::default();
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("broadcast")) {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("name") {
                once(&mut said.name, meta.value()?.parse()?)
            } else if meta.path.is_ident("on") {
                let channels: Expr = meta.value()?.parse()?;
                match channels {
                    Expr::Array(channels) => once(&mut said.on, channels),
                    other => Err(Error::new_spanned(other, "channels stand in brackets: on = [UserChannel { .. }]")),
                }
            } else if meta.path.is_ident("when") {
                once(&mut said.when, meta.value()?.parse()?)
            } else if meta.path.is_ident("queue") {
                once(&mut said.queue, meta.value()?.parse()?)
            } else {
                let place = match meta.path.get_ident().map(Ident::to_string).as_deref() {
                    Some("unique") => &mut said.unique,
                    Some("unique_for") => &mut said.unique_for,
                    Some("priority") => &mut said.priority,
                    Some("delay") => &mut said.delay,
                    Some("tries") => &mut said.tries,
                    Some("backoff") => &mut said.backoff,
                    Some("order") => &mut said.order,
                    _ => return Err(meta.error(UNKNOWN)),
                };
                once(place, meta.value()?.parse()?)
            }
        })?;
    }
    Ok(said)
}

pub(crate) fn once<T: ToTokens>(place: &mut Option<T>, value: T) -> Result<()> {
    match place.is_some() {
        true => Err(Error::new_spanned(value, "said twice")),
        false => {
            *place = Some(value);
            Ok(())
        }
    }
}

fn check_name(name: &str, span: Span) -> Result<()> {
    if name.starts_with(CLIENT_EVENT_PREFIX) {
        return Err(Error::new(span, "names that begin with `client-` are those of events that browsers send"));
    }
    match EventName::parse(name, DEFAULT_LIMITS.event_name_length_max) {
        Ok(_) => Ok(()),
        Err(why) => Err(Error::new(span, why.to_string())),
    }
}
