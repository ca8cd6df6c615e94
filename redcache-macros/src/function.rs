//! The function below the attribute.

use proc_macro2::{Group, Span, TokenStream, TokenTree};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::{FnArg, GenericParam, Ident, Pat, Safety, Signature, Token, Visibility};

use crate::attribute::Attribute;
use crate::key::Part;
use crate::output::flatten;

/// A function with a body.
pub(crate) struct Function {
    pub(crate) attributes: Vec<syn::Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
    pub(crate) body: Group,
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
        let mut body: Group = input.parse()?;
        // The compiler warns of braces around one expression, except for those of a macro.
        body.set_span(Span::mixed_site().located_at(body.span()));
        Ok(Self { attributes, visibility, signature, body })
    }
}

impl Function {
    /// Reject a function that the cache cannot serve.
    pub(crate) fn check(&self, attribute: &Attribute) -> syn::Result<()> {
        let fail = |at: Span, text: &str| Err(syn::Error::new(at, text));
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
        let names = self.names()?;
        self.check_placeholders(attribute, &names)?;
        for name in &attribute.skip {
            if !names.contains(&name) && !self.generics().any(|it| it == name) {
                let error = format!("the function has no argument `{name}` to skip");
                return Err(syn::Error::new(name.span(), error));
            }
            if attribute.is_in_key(name) {
                let error = format!("`{name}` is part of the key, so it cannot be skipped");
                return Err(syn::Error::new(name.span(), error));
            }
        }
        let is_left_out =
            |name: &Ident| !attribute.is_in_key(name) && !attribute.skip.contains(name);
        if let Some(name) = names.into_iter().find(|name| is_left_out(name)) {
            let error = format!(
                "calls with different values of `{name}` would share one key; write it into the \
                 key, or add `skip({name})` if the result does not depend on it"
            );
            return Err(syn::Error::new(name.span(), error));
        }
        let types = flatten(self.signature.inputs.to_token_stream());
        let is_in_types =
            |name: &Ident| types.iter().any(|it| matches!(it, TokenTree::Ident(it) if it == name));
        match self.generics().find(|name| is_left_out(name) && !is_in_types(name)) {
            Some(name) => Err(syn::Error::new(
                name.span(),
                format!(
                    "calls with a different `{name}` would share one key; write a constant into \
                     the key, write one function per type, or add `skip({name})` if the result \
                     does not depend on it"
                ),
            )),
            None => Ok(()),
        }
    }

    /// Return the names of the arguments.
    fn names(&self) -> syn::Result<Vec<&Ident>> {
        let mut names = Vec::new();
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
        Ok(names)
    }

    /// Return the names of the type and const parameters.
    fn generics(&self) -> impl Iterator<Item = &Ident> {
        self.signature.generics.params.iter().filter_map(|parameter| match parameter {
            GenericParam::Type(it) => Some(&it.ident),
            GenericParam::Const(it) => Some(&it.ident),
            GenericParam::Lifetime(_) => None,
        })
    }

    /// Reject a placeholder that names no argument.
    fn check_placeholders(&self, attribute: &Attribute, names: &[&Ident]) -> syn::Result<()> {
        for part in &attribute.pattern.parts {
            let Part::Argument(argument, _) = part else { continue };
            let is_self = argument == "self" && self.signature.receiver().is_some();
            let is_argument = names.iter().any(|name| name.unraw() == argument);
            let is_constant = self.signature.generics.const_params().any(|it| it.ident == argument);
            if !is_self && !is_argument && !is_constant {
                let error = format!("the function has no argument `{argument}`");
                return Err(syn::Error::new(attribute.key.span(), error));
            }
        }
        Ok(())
    }

    /// Return the argument or the constant of a placeholder, as the function names it.
    pub(crate) fn argument(&self, name: &str) -> Option<TokenStream> {
        let argument = self.signature.inputs.iter().find_map(|argument| match argument {
            FnArg::Receiver(receiver) => {
                (name == "self").then(|| receiver.self_token.to_token_stream())
            }
            FnArg::Typed(argument) => match &*argument.pat {
                Pat::Ident(pattern) if pattern.ident.unraw() == name => {
                    Some(pattern.ident.to_token_stream())
                }
                _ => None,
            },
        });
        argument.or_else(|| {
            let constant = self.generics().find(|it| *it == name)?;
            Some(constant.to_token_stream())
        })
    }
}
