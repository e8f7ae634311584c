//! `#[derive(Broadcast)]`.
//!
//! Owns the attribute's grammar and which names an event may have. Never says how an event is serialised: serde does.
//! The invariant: an event's name is checked here, so that no call can fail for it.

use campanile_protocol::EventName;
use campanile_protocol::limits::DEFAULT_LIMITS;
use campanile_protocol::name::CLIENT_EVENT_PREFIX;
use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::{DeriveInput, Error, Expr, ExprArray, LitStr, Result};

/// What the attribute says.
#[derive(Default)]
struct Said {
    name: Option<LitStr>,
    on: Option<ExprArray>,
    when: Option<Expr>,
}

pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let said = said(input)?;
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
        }
    })
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
            } else {
                Err(meta.error("unknown here; known are `name`, `on` and `when`"))
            }
        })?;
    }
    Ok(said)
}

fn once<T: ToTokens>(place: &mut Option<T>, value: T) -> Result<()> {
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
