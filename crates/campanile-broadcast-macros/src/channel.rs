//! `#[derive(Channel)]`.
//!
//! Owns the grammar of patterns and its agreement with the struct. Never matches a name: the library does, by the same
//! grammar. The invariant: a placeholder is a field and a field is a placeholder, so that a name and its struct are one.

use campanile_protocol::limits::DEFAULT_LIMITS;
use campanile_protocol::{Access, ChannelKind, ChannelName};
use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Field, Fields, Ident, LitStr, Result};

pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let pattern = pattern(input)?;
    let fields = fields(input)?;
    let placeholders = placeholders(&pattern)?;
    agree(&pattern, &placeholders, &fields)?;

    let text = pattern.value();
    let name = &input.ident;
    let (impl_generics, type_generics, where_clause) = input.generics.split_for_impl();
    // What is wrong with a field's type is told where the type is written.
    let field_of = |placeholder: &String| {
        let field = fields.iter().find(|field| field.ident.as_ref().is_some_and(|name| name == placeholder));
        let kind = field.map(|field| &field.ty);
        (Ident::new(placeholder, pattern.span()), kind, kind.map_or_else(|| pattern.span(), Spanned::span))
    };
    let written = placeholders.iter().map(|placeholder| {
        let (field, kind, span) = field_of(placeholder);
        quote_spanned!(span=> <#kind as ::campanile_broadcast::Parameter>::write(&self.#field))
    });
    // Parameters come in the order of the pattern; each is read by the type of its field.
    let read = placeholders.iter().enumerate().map(|(at, placeholder)| {
        let (field, kind, span) = field_of(placeholder);
        quote_spanned!(span=> #field: parameters.read::<#kind>(#at)?)
    });
    let marker = match ChannelKind::of(&text).access {
        Access::Private | Access::Encrypted => quote! {
            #[automatically_derived]
            impl #impl_generics ::campanile_broadcast::PrivateChannel for #name #type_generics #where_clause {}
        },
        Access::Presence => quote! {
            #[automatically_derived]
            impl #impl_generics ::campanile_broadcast::PresenceChannel for #name #type_generics #where_clause {}
        },
        Access::Public | Access::User => TokenStream::new(),
    };
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics ::campanile_broadcast::Channel for #name #type_generics #where_clause {
            const PATTERN: &'static str = #text;

            fn parameters(&self) -> ::std::vec::Vec<::std::string::String> {
                ::std::vec![#(#written),*]
            }

            fn from_parameters(
                parameters: &::campanile_broadcast::Parameters<'_>,
            ) -> ::std::option::Option<Self> {
                let _ = parameters;
                ::std::option::Option::Some(Self { #(#read),* })
            }
        }

        #marker
    })
}

/// The string in `#[channel("..")]`.
fn pattern(input: &DeriveInput) -> Result<LitStr> {
    const EXPECTED: &str = "a channel needs its pattern: #[channel(\"private-orders.{order}\")]";
    let mut patterns = input.attrs.iter().filter(|attribute| attribute.path().is_ident("channel"));
    let Some(attribute) = patterns.next() else { return Err(Error::new_spanned(&input.ident, EXPECTED)) };
    if let Some(second) = patterns.next() {
        return Err(Error::new_spanned(second, "a channel has one pattern; make a second struct for another"));
    }
    attribute.parse_args().map_err(|error| Error::new(error.span(), EXPECTED))
}

/// The struct's fields, by name.
fn fields(input: &DeriveInput) -> Result<Vec<&Field>> {
    const EXPECTED: &str = "a channel is a struct with a named field for each placeholder";
    let Data::Struct(structure) = &input.data else { return Err(Error::new_spanned(&input.ident, EXPECTED)) };
    match &structure.fields {
        Fields::Named(named) => Ok(named.named.iter().collect()),
        Fields::Unit => Ok(Vec::new()),
        Fields::Unnamed(unnamed) => Err(Error::new_spanned(unnamed, EXPECTED)),
    }
}

/// Checks the pattern's grammar and returns what stands in its braces.
fn placeholders(pattern: &LitStr) -> Result<Vec<String>> {
    let refused = |message: String| Err(Error::new(pattern.span(), message));
    let text = pattern.value();
    let mut placeholders: Vec<String> = Vec::new();
    // What the name is with the shortest of parameters, to be judged by the protocol's own rules.
    let mut sample = String::new();
    let mut rest = text.as_str();
    while let Some((literal, after)) = rest.split_once('{') {
        let Some((placeholder, after)) = after.split_once('}') else {
            return refused("a `{` without its `}`".into());
        };
        if syn::parse_str::<Ident>(placeholder).is_err() {
            return refused(format!("`{{{placeholder}}}` is not the name of a field"));
        }
        if placeholders.iter().any(|known| known == placeholder) {
            return refused(format!("`{{{placeholder}}}` stands twice in the pattern"));
        }
        if !after.is_empty() && !after.starts_with('.') {
            return refused(format!(
                "a placeholder reaches to the next dot: `{{{placeholder}}}` must be followed by `.` or be the end"
            ));
        }
        placeholders.push(placeholder.to_owned());
        sample.push_str(literal);
        sample.push('x');
        rest = after;
    }
    sample.push_str(rest);
    if sample.starts_with('#') {
        return refused(
            "names that begin with # are the server's: send to a signed-in user with `SignedInUser`".into(),
        );
    }
    match ChannelName::parse(&sample, DEFAULT_LIMITS.channel_name_length_max) {
        Ok(name) if name.kind() != ChannelKind::of(&text) => {
            refused("the prefix, such as private-, must be spelled out in the pattern".into())
        }
        Ok(name) if name.as_str().ends_with('-') && ChannelKind::of(name.as_str()) != ChannelKind::of("") => {
            refused("nothing stands behind the prefix".into())
        }
        Ok(_) => Ok(placeholders),
        Err(why) => refused(why.to_string()),
    }
}

/// Every placeholder has its field and every field its placeholder.
fn agree(pattern: &LitStr, placeholders: &[String], fields: &[&Field]) -> Result<()> {
    let fields: Vec<&Ident> = fields.iter().filter_map(|field| field.ident.as_ref()).collect();
    let mut mistakes = Vec::new();
    for placeholder in placeholders {
        if !fields.iter().any(|field| *field == placeholder.as_str()) {
            let message =
                format!("the placeholder `{{{placeholder}}}` has no field: add `{placeholder}` to the struct");
            mistakes.push(Error::new(pattern.span(), message));
        }
    }
    for field in &fields {
        if !placeholders.iter().any(|placeholder| *field == placeholder.as_str()) {
            let message = format!("the field `{field}` is not in the pattern: it could not be read back from a name");
            mistakes.push(Error::new_spanned(field, message));
        }
    }
    match mistakes.into_iter().reduce(|mut all, next| {
        all.combine(next);
        all
    }) {
        Some(mistakes) => Err(mistakes),
        None => Ok(()),
    }
}
