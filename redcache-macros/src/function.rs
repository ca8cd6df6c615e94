//! The function below the attribute.

use proc_macro2::TokenStream;
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{FnArg, Ident, Pat, Safety, Signature, Token, Visibility};

use crate::attribute::Attribute;
use crate::key::Part;

/// A function with a body.
pub(crate) struct Function {
    pub(crate) attributes: Vec<syn::Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
    pub(crate) body: TokenStream,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attributes = input.call(syn::Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let at = input.span();
        let Ok(signature) = input.parse::<Signature>() else {
            return Err(syn::Error::new(at, "`cached` belongs on a function"));
        };
        if let Some(semicolon) = input.parse::<Option<Token![;]>>()? {
            let error = "the function has no body; put `cached` on its implementation";
            return Err(syn::Error::new(semicolon.span(), error));
        }
        Ok(Self { attributes, visibility, signature, body: input.parse()? })
    }
}

impl Function {
    /// Reject a function that the cache cannot serve.
    pub(crate) fn check(&self, attribute: &Attribute) -> syn::Result<()> {
        let fail = |at: proc_macro2::Span, text: &str| Err(syn::Error::new(at, text));
        let signature = &self.signature;
        if let Some(keyword) = &signature.constness {
            return fail(keyword.span(), "a `const` function cannot ask a cache");
        }
        if let Safety::Unsafe(keyword) = &signature.safety {
            let error = "the body would run in a safe closure; put the unsafe part into a safe \
                         function";
            return fail(keyword.span(), error);
        }
        if let Some(variadic) = &signature.variadic {
            return fail(variadic.span(), "the arguments of a variadic function have no names");
        }
        self.check_arguments(attribute)
    }

    /// Reject arguments that are neither in the key nor left out on purpose, and the reverse.
    fn check_arguments(&self, attribute: &Attribute) -> syn::Result<()> {
        let mut names: Vec<&Ident> = Vec::new();
        for argument in &self.signature.inputs {
            let FnArg::Typed(argument) = argument else { continue };
            match &*argument.pat {
                Pat::Ident(pattern) if pattern.subpat.is_none() => names.push(&pattern.ident),
                Pat::Wild(_) => {}
                pattern => {
                    let error = "give the argument a name, and take it apart in the body";
                    return Err(syn::Error::new(pattern.span(), error));
                }
            }
        }
        let has = |wanted: &str| names.iter().any(|name| *name == wanted);
        let in_key = |name: &Ident| {
            attribute.pattern.parts.iter().any(|part| match part {
                Part::Argument(argument, _) => name == argument,
                Part::Text(_) => false,
            })
        };
        for part in &attribute.pattern.parts {
            let Part::Argument(argument, _) = part else { continue };
            let is_self = argument == "self" && self.signature.receiver().is_some();
            if !is_self && !has(argument) {
                let error = format!("the function has no argument `{argument}`");
                return Err(syn::Error::new(attribute.key.span(), error));
            }
        }
        for name in &attribute.skip {
            if !has(&name.to_string()) {
                let error = format!("the function has no argument `{name}` to skip");
                return Err(syn::Error::new(name.span(), error));
            }
            if in_key(name) {
                let error = format!("`{name}` is part of the key, so it cannot be skipped");
                return Err(syn::Error::new(name.span(), error));
            }
        }
        match names.into_iter().find(|name| !in_key(name) && !attribute.skip.contains(name)) {
            Some(name) => Err(syn::Error::new(
                name.span(),
                format!(
                    "calls with different values of `{name}` would share one key; write it into the \
                     key, or add `skip({name})` if the result does not depend on it"
                ),
            )),
            None => Ok(()),
        }
    }

    /// Return the argument of a placeholder, as the function names it.
    pub(crate) fn argument(&self, name: &str) -> Option<TokenStream> {
        use quote::ToTokens;
        self.signature.inputs.iter().find_map(|argument| match argument {
            FnArg::Receiver(receiver) => {
                (name == "self").then(|| receiver.self_token.to_token_stream())
            }
            FnArg::Typed(argument) => match &*argument.pat {
                Pat::Ident(pattern) if pattern.ident == name => {
                    Some(pattern.ident.to_token_stream())
                }
                _ => None,
            },
        })
    }
}
