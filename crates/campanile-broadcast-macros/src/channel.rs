//! `#[derive(Channel)]`.
//!
//! Owns the grammar of patterns and its agreement with the struct. Never matches a name: the library does, by the same
//! grammar. The invariant: a placeholder is a field and a field is a placeholder, so that a name and its struct are one;
//! and no slip of a letter makes a channel public.

use campanile_protocol::limits::DEFAULT_LIMITS;
use campanile_protocol::{Access, ChannelKind, ChannelName};
use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Field, Fields, Ident, LitStr, Result, Token};

/// So many letters make a word another one. Two: one wrong, or two turned round, and one more.
const TYPOS_MAX: usize = 2;

pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let Attribute { pattern, is_as_written } = attribute(input)?;
    let fields = fields(input)?;
    let placeholders = placeholders(&pattern)?;
    if !is_as_written {
        check_prefix(&pattern)?;
    }
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

/// What stands in `#[channel(..)]`.
struct Attribute {
    pattern: LitStr,
    /// Whether the prefix is meant as it is, however much it looks like another.
    is_as_written: bool,
}

impl Parse for Attribute {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let pattern = input.parse()?;
        if input.is_empty() {
            return Ok(Self { pattern, is_as_written: false });
        }
        input.parse::<Token![,]>()?;
        let option: Ident = input.parse()?;
        if option != "as_written" {
            let message = "behind the pattern may stand `as_written`: the prefix is meant, though it looks misspelt";
            return Err(Error::new(option.span(), message));
        }
        input.parse::<Option<Token![,]>>()?;
        Ok(Self { pattern, is_as_written: true })
    }
}

/// The one `#[channel(..)]`.
fn attribute(input: &DeriveInput) -> Result<Attribute> {
    const EXPECTED: &str = "a channel needs its pattern: #[channel(\"private-orders.{order}\")]";
    let mut patterns = input.attrs.iter().filter(|attribute| attribute.path().is_ident("channel"));
    let Some(attribute) = patterns.next() else { return Err(Error::new_spanned(&input.ident, EXPECTED)) };
    if let Some(second) = patterns.next() {
        return Err(Error::new_spanned(second, "a channel has one pattern; make a second struct for another"));
    }
    // Where there is a pattern, what is wrong is behind it.
    attribute.parse_args().map_err(|error| match attribute.parse_args_with(starts_with_a_string) {
        Ok(()) => error,
        Err(_) => Error::new(error.span(), EXPECTED),
    })
}

fn starts_with_a_string(input: ParseStream<'_>) -> Result<()> {
    input.parse::<LitStr>()?;
    input.parse::<TokenStream>().map(drop)
}

/// Refuses a pattern that nearly begins as those of channels that not everybody may join, or nobody may read: a slip
/// there would make public what was to be private, and no test of the application's own pages would notice.
fn check_prefix(pattern: &LitStr) -> Result<()> {
    let text = pattern.value();
    let (known, written, rest) = match ChannelKind::of(&text).access {
        Access::Public => match nearly(&text, &["private", "presence"]) {
            Some((known, written, rest)) => (format!("{known}-"), written, rest),
            None => return Ok(()),
        },
        Access::Private => {
            let inner = text.strip_prefix("private-").unwrap_or_default();
            match nearly(inner, &["encrypted"]) {
                Some((known, written, rest)) => {
                    (format!("private-{known}-"), &text[.."private-".len() + written.len()], rest)
                }
                None => return Ok(()),
            }
        }
        Access::Encrypted | Access::Presence | Access::User => return Ok(()),
    };
    let access = if written.starts_with("private-") { "private and not encrypted" } else { "public" };
    Err(Error::new(
        pattern.span(),
        format!(
            "`{written}` is no prefix, so this channel is {access}: did you mean \"{known}{rest}\"? If it is meant as \
             it stands: #[channel(\"{text}\", as_written)]"
        ),
    ))
}

/// Which of these words, that a `-` would have to follow, a text begins with or seems to; what of it stands for the word
/// and for the `-`, and what follows.
fn nearly<'a>(text: &'a str, known: &[&'static str]) -> Option<(&'static str, &'a str, &'a str)> {
    let word_end = text.find(|character: char| !character.is_ascii_alphabetic()).unwrap_or(text.len());
    let (word, rest) = text.split_at(word_end);
    let lower = word.to_ascii_lowercase();
    let known = known.iter().find(|known| strsim::osa_distance(&lower, known) <= TYPOS_MAX)?;
    let is_separator = |character: char| matches!(character, '-' | '_' | '.' | ':' | '=' | '@' | ',' | ';');
    let behind = rest.strip_prefix(is_separator).unwrap_or(rest);
    Some((known, &text[..text.len() - behind.len()], behind))
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
