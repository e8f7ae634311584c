//! `#[derive(Notification)]`.
//!
//! Owns the attribute's grammar, and which kinds and ways there can be. Never says how a notification is serialised: serde
//! does. The invariant: what the attribute says in so many words is checked here, so that no call can fail for it. Read on in
//! `campanile-broadcast`, in `notification.rs`, for the traits.

use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};
use syn::punctuated::Punctuated;
use syn::{DeriveInput, Error, Expr, ExprArray, GenericParam, Ident, LitStr, Path, Result};

use crate::event::{check_queue, once};

/// Bytes of a kind and of a category, as in `campanile-broadcast`.
const NAME_BYTES_MAX: usize = 200;

const WAYS: [&str; 5] = ["Inbox", "Broadcast", "Mail", "WebPush", "Webhook"];

const UNKNOWN: &str = "unknown here; known are `kind`, `category`, `via`, `title`, `body`, `action_url`, `when`, and for the \
                       outbox `queue`, `priority`, `tries` and `backoff`";

/// What the attribute says.
#[derive(Default)]
struct Said {
    kind: Option<LitStr>,
    category: Option<LitStr>,
    via: Option<ExprArray>,
    title: Option<Expr>,
    body: Option<Expr>,
    action_url: Option<Expr>,
    when: Option<Expr>,
    queue: Option<LitStr>,
    priority: Option<Expr>,
    tries: Option<Expr>,
    backoff: Option<Expr>,
}

pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let said = said(input)?;
    let Some(kind) = &said.kind else {
        return Err(Error::new_spanned(
            &input.ident,
            "a notification needs its kind, by which pages and preferences know it: #[notification(kind = \"comment.added\")]",
        ));
    };
    check_name("a kind", kind)?;
    let category = match &said.category {
        Some(category) => {
            check_name("a category", category)?;
            quote!(::std::option::Option::Some(#category))
        }
        None => quote!(::std::option::Option::None),
    };
    let via = ways(said.via.as_ref())?;
    let job = job(&said)?;
    let content = content(&said, input)?;

    let notification = &input.ident;
    let (impl_generics, type_generics, where_clause) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics ::campanile_broadcast::NotificationKind for #notification #type_generics #where_clause {
            const KIND: &'static str = #kind;
            const CATEGORY: ::std::option::Option<&'static str> = #category;
            const VIA: &'static [::campanile_broadcast::Via] = &[#(::campanile_broadcast::Via::#via),*];

            #job
        }

        #content
    })
}

/// What every recipient reads, where the attribute says it.
fn content(said: &Said, input: &DeriveInput) -> Result<Option<TokenStream>> {
    let Some(title) = &said.title else {
        let lost = [("body", &said.body), ("action_url", &said.action_url), ("when", &said.when)];
        return match lost.into_iter().find_map(|(name, value)| Some((name, value.as_ref()?))) {
            Some((name, value)) => Err(Error::new_spanned(
                value,
                format!(
                    "`{name}` goes with a `title`; without one, `impl Notification<..>` says what each recipient reads"
                ),
            )),
            None => Ok(None),
        };
    };
    let body = said.body.as_ref().map(|body| quote!(.body(&#body)));
    let action_url = said.action_url.as_ref().map(|url| quote!(.action_url(&#url)));
    let should_send = said.when.as_ref().map(|when| {
        quote! {
            fn should_send(&self, _: &__Recipient) -> bool {
                #when
            }
        }
    });
    let notification = &input.ident;
    let (_, type_generics, where_clause) = input.generics.split_for_impl();
    let mut generics = input.generics.clone();
    let recipient: GenericParam = syn::parse_quote!(__Recipient: ?::std::marker::Sized);
    generics.params.push(recipient);
    let (impl_generics, _, _) = generics.split_for_impl();
    Ok(Some(quote! {
        #[automatically_derived]
        impl #impl_generics ::campanile_broadcast::Notification<__Recipient> for #notification #type_generics
        #where_clause
        {
            fn to_inbox(&self, _: &__Recipient) -> ::campanile_broadcast::Content {
                ::campanile_broadcast::Content::new(&#title) #body #action_url
            }

            #should_send
        }
    }))
}

/// The ways that are named, or those that are meant where none is.
fn ways(said: Option<&ExprArray>) -> Result<Vec<Ident>> {
    let Some(said) = said else { return Ok(vec![format_ident!("Inbox"), format_ident!("Broadcast")]) };
    let mut ways = Vec::new();
    for element in &said.elems {
        let name = match element {
            Expr::Path(path) => path.path.get_ident().cloned().or_else(|| last(&path.path)),
            _ => None,
        };
        let Some(name) = name else {
            return Err(Error::new_spanned(element, "ways are named as they are: via = [Inbox, Broadcast, Mail]"));
        };
        let written = name.to_string();
        if !WAYS.contains(&&*written) {
            let near = WAYS.iter().min_by_key(|way| strsim::levenshtein(&written.to_lowercase(), &way.to_lowercase()));
            let near = near.filter(|way| strsim::levenshtein(&written.to_lowercase(), &way.to_lowercase()) <= 3);
            let hint = near.map_or_else(String::new, |near| format!("; is `{near}` meant?"));
            return Err(Error::new(name.span(), format!("no way has this name; there are {}{hint}", WAYS.join(", "))));
        }
        if ways.contains(&name) {
            return Err(Error::new(name.span(), "said twice"));
        }
        ways.push(name);
    }
    if ways.is_empty() {
        return Err(Error::new_spanned(
            said,
            "it goes by no way: name one, or leave `via` out for Inbox and Broadcast",
        ));
    }
    if let Some(broadcast) = ways.iter().find(|way| *way == "Broadcast")
        && !ways.iter().any(|way| way == "Inbox")
    {
        let message = "only what is kept is pushed: add Inbox; what is only pushed is an event, #[derive(Broadcast)]";
        return Err(Error::new(broadcast.span(), message));
    }
    Ok(ways)
}

/// `Via::Mail` is as good as `Mail`.
fn last(path: &Path) -> Option<Ident> {
    let segments: &Punctuated<_, _> = &path.segments;
    let is_via = segments.iter().rev().nth(1).is_some_and(|segment| segment.ident == "Via");
    is_via.then(|| segments.last().map(|segment| segment.ident.clone()))?
}

/// What is asked for it in an outbox.
fn job(said: &Said) -> Result<Option<TokenStream>> {
    let mut asked = TokenStream::new();
    if let Some(queue) = &said.queue {
        check_queue(queue)?;
        asked.extend(quote!(.queue(#queue)));
    }
    for (name, value) in [("priority", &said.priority), ("tries", &said.tries), ("backoff", &said.backoff)] {
        if let Some(value) = value {
            let method = Ident::new(name, Span::call_site());
            asked.extend(quote!(.#method(#value)));
        }
    }
    if asked.is_empty() {
        return Ok(None);
    }
    Ok(Some(quote! {
        fn job(&self) -> ::campanile_broadcast::JobOptions {
            ::campanile_broadcast::JobOptions::new() #asked
        }
    }))
}

fn said(input: &DeriveInput) -> Result<Said> {
    let mut said = Said::default();
    for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("notification")) {
        attribute.parse_nested_meta(|meta| {
            let name = meta.path.get_ident().map(Ident::to_string);
            match name.as_deref() {
                Some("kind") => once(&mut said.kind, meta.value()?.parse()?),
                Some("category") => once(&mut said.category, meta.value()?.parse()?),
                Some("queue") => once(&mut said.queue, meta.value()?.parse()?),
                Some("via") => match meta.value()?.parse()? {
                    Expr::Array(ways) => once(&mut said.via, ways),
                    other => Err(Error::new_spanned(other, "ways stand in brackets: via = [Inbox, Broadcast, Mail]")),
                },
                other => {
                    let place = match other {
                        Some("title") => &mut said.title,
                        Some("body") => &mut said.body,
                        Some("action_url") => &mut said.action_url,
                        Some("when") => &mut said.when,
                        Some("priority") => &mut said.priority,
                        Some("tries") => &mut said.tries,
                        Some("backoff") => &mut said.backoff,
                        _ => return Err(meta.error(UNKNOWN)),
                    };
                    once(place, meta.value()?.parse()?)
                }
            }
        })?;
    }
    Ok(said)
}

fn check_name(what: &str, said: &LitStr) -> Result<()> {
    let name = said.value();
    let is_name = !name.trim().is_empty() && name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control);
    match is_name {
        true => Ok(()),
        false => Err(Error::new(
            said.span(),
            format!("{what} has 1 to {NAME_BYTES_MAX} bytes, without control characters, as in \"comment.added\""),
        )),
    }
}
