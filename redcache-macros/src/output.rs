//! The result of a function, and the type of the values to cache.

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::{GenericArgument, Generics, PathArguments, ReturnType, Signature, Type, TypePath};

/// The form in which a function returns values.
pub(crate) struct Output<'a> {
    /// The whole type.
    pub(crate) result: &'a Type,
    /// The type of the values to cache.
    pub(crate) value: &'a Type,
    /// The function returns an `Option`.
    pub(crate) is_optional: bool,
    /// The function returns an `Arc`.
    pub(crate) is_shared: bool,
}

impl<'a> Output<'a> {
    pub(crate) fn new(signature: &'a Signature) -> syn::Result<Self> {
        const WANTED: &str = "a function with `cached` returns `Result<T, E>` or \
                              `Result<Option<T>, E>`, because the cache may fail";
        let ReturnType::Type(_, result) = &signature.output else {
            return Err(syn::Error::new(signature.ident.span(), WANTED));
        };
        let fail = |at: &Type, text: &str| Err(syn::Error::new(at.span(), text));
        let Some(inner) = argument_of(result, "Result") else {
            let hint = match last_segment(result).is_some_and(|it| it == "Result") {
                true => "; spell the type of the value out",
                false if last_segment(result).is_some_and(|it| it == "Pin") => {
                    "; with `async_trait`, put `cached` on an inherent method"
                }
                false => "",
            };
            return fail(result, &format!("{WANTED}{hint}"));
        };
        let optional = argument_of(inner, "Option");
        let inner = optional.unwrap_or(inner);
        let shared = argument_of(inner, "Arc");
        let value = shared.unwrap_or(inner);
        if matches!(value, Type::Tuple(tuple) if tuple.elems.is_empty()) {
            return fail(value, "a function that returns `()` has no value to cache");
        }
        check_value(value, &signature.generics)?;
        let (is_optional, is_shared) = (optional.is_some(), shared.is_some());
        Ok(Self { result, value, is_optional, is_shared })
    }
}

/// Reject values that a cache cannot own, or whose type the key does not determine.
fn check_value(value: &Type, generics: &Generics) -> syn::Result<()> {
    for token in flatten(value.to_token_stream()) {
        let error = match &token {
            TokenTree::Punct(punct) if matches!(punct.as_char(), '&' | '\'') => {
                "a cache owns its values; return an owned type, such as `String` for `&str`"
                    .to_owned()
            }
            TokenTree::Ident(name) if name == "impl" || name == "dyn" => {
                "the type of the value must be known to encode it; name a type".to_owned()
            }
            TokenTree::Ident(name) if generics.params.iter().any(|it| is_parameter(it, name)) => {
                format!(
                    "values of each `{name}` would share their keys; write one function per type"
                )
            }
            TokenTree::Ident(_)
            | TokenTree::Punct(_)
            | TokenTree::Group(_)
            | TokenTree::Literal(_) => continue,
        };
        return Err(syn::Error::new(token.span(), error));
    }
    Ok(())
}

fn is_parameter(parameter: &syn::GenericParam, name: &proc_macro2::Ident) -> bool {
    match parameter {
        syn::GenericParam::Type(it) => it.ident == *name,
        syn::GenericParam::Const(it) => it.ident == *name,
        syn::GenericParam::Lifetime(_) => false,
    }
}

/// Return the tokens in their order. Each group is replaced by its tokens.
pub(crate) fn flatten(tokens: TokenStream) -> Vec<TokenTree> {
    let mut flat = Vec::new();
    for token in tokens {
        match token {
            TokenTree::Group(group) => flat.extend(flatten(group.stream())),
            TokenTree::Ident(_) | TokenTree::Punct(_) | TokenTree::Literal(_) => flat.push(token),
        }
    }
    flat
}

fn path(ty: &Type) -> Option<&TypePath> {
    match ty {
        Type::Path(path) => Some(path),
        Type::Group(group) => path(&group.elem),
        Type::Paren(paren) => path(&paren.elem),
        _ => None,
    }
}

fn last_segment(ty: &Type) -> Option<&syn::Ident> {
    path(ty)?.path.segments.last().map(|segment| &segment.ident)
}

/// Return the first type argument of a type with this name.
fn argument_of<'a>(ty: &'a Type, name: &str) -> Option<&'a Type> {
    let segment = path(ty)?.path.segments.last().filter(|segment| segment.ident == name)?;
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return None };
    match arguments.args.first()? {
        GenericArgument::Type(first) => Some(first),
        _ => None,
    }
}
