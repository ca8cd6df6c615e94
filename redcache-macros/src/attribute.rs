//! The arguments of the attribute.

use proc_macro2::Span;
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::token::Paren;
use syn::{Expr, Ident, LitStr, Path, Token};

use crate::duration;
use crate::key::{Part, Pattern};

/// The names of all arguments, for errors.
const NAMES: &str = "cache, key, ttl, not_found_ttl, jitter, codec, schema_version, clearable, skip \
                     and crate";

/// The arguments of the attribute.
pub(crate) struct Attribute {
    pub(crate) cache: Expr,
    pub(crate) key: LitStr,
    pub(crate) pattern: Pattern,
    /// The settings of the view, as method calls on its builder.
    pub(crate) settings: Vec<(Ident, Option<Expr>)>,
    pub(crate) codec: Option<Expr>,
    /// Arguments of the function that are not part of the key.
    pub(crate) skip: Vec<Ident>,
    /// The path of the crate `redcache`.
    pub(crate) redcache: Path,
}

impl Attribute {
    /// Return the name of a setting at its place in the source.
    pub(crate) fn setting(&self, name: &str) -> Option<&Ident> {
        self.settings.iter().map(|(it, _)| it).find(|it| *it == name)
    }

    /// Return whether a placeholder of the key names this argument or one of its fields.
    pub(crate) fn is_in_key(&self, name: &Ident) -> bool {
        self.pattern.parts.iter().any(|part| match part {
            Part::Argument(argument, _) => name.unraw() == argument,
            Part::Text(_) => false,
        })
    }
}

impl Parse for Attribute {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let (mut cache, mut key, mut codec, mut redcache) = (None, None, None, None);
        let (mut settings, mut skip, mut seen) = (Vec::new(), Vec::new(), Vec::<Ident>::new());
        while !input.is_empty() {
            let name = input.call(Ident::parse_any)?;
            if seen.contains(&name) {
                return Err(syn::Error::new(name.span(), format!("`{name}` is set twice")));
            }
            match &*name.to_string() {
                "cache" => cache = Some(value(&name, input)?),
                "key" => key = Some(value::<LitStr>(&name, input)?),
                "codec" => codec = Some(value(&name, input)?),
                "crate" => redcache = Some(value(&name, input)?),
                "ttl" | "not_found_ttl" => settings.push((name.clone(), Some(ttl(&name, input)?))),
                "jitter" | "schema_version" => {
                    settings.push((name.clone(), Some(value(&name, input)?)))
                }
                "clearable" if input.peek(Token![=]) => {
                    let error = "`clearable` has no value; write its name alone";
                    return Err(syn::Error::new(name.span(), error));
                }
                "clearable" => settings.push((name.clone(), None)),
                "skip" if !input.peek(Paren) => {
                    let error = "`skip` has names of arguments, as in `skip(db)`";
                    return Err(syn::Error::new(name.span(), error));
                }
                "skip" => {
                    let names;
                    syn::parenthesized!(names in input);
                    skip.extend(Punctuated::<Ident, Token![,]>::parse_terminated(&names)?);
                }
                _ => {
                    let error = format!("`{name}` is no argument of `cached`; it has {NAMES}");
                    return Err(syn::Error::new(name.span(), error));
                }
            }
            seen.push(name);
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        let missing = |what| syn::Error::new(Span::call_site(), what);
        let key =
            key.ok_or_else(|| missing("`cached` needs a key, such as `key = \"user:{id}\"`"))?;
        let pattern = Pattern::new(&key)?;
        let cache =
            cache.ok_or_else(|| missing("`cached` needs a cache, such as `cache = CACHE`"))?;
        let redcache = redcache.unwrap_or_else(|| syn::parse_quote!(::redcache));
        Ok(Self { cache, key, pattern, settings, codec, skip, redcache })
    }
}

/// Parse `= VALUE`.
fn value<T: Parse>(name: &Ident, input: ParseStream<'_>) -> syn::Result<T> {
    equals(name, input)?;
    input.parse()
}

/// Parse the `=` after a name.
fn equals(name: &Ident, input: ParseStream<'_>) -> syn::Result<()> {
    match input.parse::<Option<Token![=]>>()? {
        Some(_) if !input.is_empty() => Ok(()),
        Some(_) | None => {
            let error = format!("`{name}` needs a value, as in `{name} = …`");
            Err(syn::Error::new(name.span(), error))
        }
    }
}

/// Parse `= "60s"`, or `=` and an expression.
fn ttl(name: &Ident, input: ParseStream<'_>) -> syn::Result<Expr> {
    equals(name, input)?;
    if !input.peek(LitStr) {
        return input.parse();
    }
    let literal: LitStr = input.parse()?;
    // A day is 86,400,000 ms, so that each TTL of a literal fits.
    let ms = u64::try_from(duration::ttl(&literal)?.as_millis()).unwrap_or(u64::MAX);
    syn::parse2(quote!(::core::time::Duration::from_millis(#ms)))
}
