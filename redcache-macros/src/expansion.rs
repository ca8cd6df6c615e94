//! The function that reads through the cache.

use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;

use crate::attribute::Attribute;
use crate::function::Function;
use crate::key::{Part, member};
use crate::output::Output;

/// Return the function below the attribute as one that reads through the cache.
pub(crate) fn expand(attribute: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    let function: Function = syn::parse2(item)?;
    let attribute: Attribute = syn::parse2(attribute)?;
    function.check(&attribute)?;
    let output = Output::new(&function.signature)?;
    if let Some(setting) = attribute.setting("not_found_ttl").filter(|_| !output.is_optional) {
        let error = "the function always returns a value; `not_found_ttl` is for `Option`";
        return Err(syn::Error::new(setting.span(), error));
    }
    let (view, key) = (view(&attribute, &function, &output), key(&attribute, &function));
    let call = call(&attribute, &function, &output);
    let Function { attributes, visibility, signature, .. } = &function;
    let (view_name, key_name) = (local("view"), local("key"));
    Ok(quote! {
        #(#attributes)*
        #visibility #signature {
            let #view_name = #view;
            let #key_name = #key;
            #call
        }
    })
}

/// Return a name that the body of the function cannot see.
fn local(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

/// Return the tokens for errors at `span`. They are resolved as before.
fn located(tokens: impl ToTokens, span: Span) -> TokenStream {
    let tokens = tokens.into_token_stream().into_iter();
    tokens
        .map(|mut token: TokenTree| {
            token.set_span(token.span().located_at(span));
            token
        })
        .collect()
}

/// Return the expression that opens the view of the function.
fn view(attribute: &Attribute, function: &Function, output: &Output<'_>) -> TokenStream {
    let Attribute { cache, redcache, .. } = attribute;
    let namespace = &attribute.pattern.namespace;
    let (base, value) = (local("cache"), output.value);
    let codec =
        attribute.codec.as_ref().map_or_else(|| quote!(#redcache::Json), |codec| quote!(#codec));
    let settings = attribute.settings.iter().map(|(name, value)| quote!(.#name(#value)));
    let (face, method) = match function.signature.asyncness {
        Some(_) => (quote!(AsyncCache), "view_of_async_function"),
        None => (quote!(BlockingCache), "view_of_plain_function"),
    };
    let method = Ident::new(method, cache.span());
    let open = quote_spanned!(cache.span()=> (#cache).#method::<#value, _>);
    let name = function.signature.ident.unraw().to_string();
    let name = quote!(::core::concat!(::core::module_path!(), "::", #name));
    quote! {{
        // A length may not use the generic parameters of an `impl`, which the attribute cannot see.
        // All types of the `impl` share one function, and so its keys.
        let _: [(); { let _ = ::core::marker::PhantomData::<#value>; 0 }] = [];
        // Items have no hygiene, so the name is one that no application has.
        static __REDCACHE_VIEWS: #redcache::__cached::Views =
            #redcache::__cached::Views::new(#name);
        use #redcache::__cached::#face as _;
        #open(&__REDCACHE_VIEWS, |#base| #redcache::Typed::typed(#base, #namespace, #codec)#(#settings)*)
    }}
}

/// Return the expression of the key.
fn key(attribute: &Attribute, function: &Function) -> TokenStream {
    let (redcache, out) = (&attribute.redcache, local("out"));
    let span = attribute.key.span();
    let at_key = located(redcache, span);
    let parts = attribute.pattern.parts.iter().map(|part| match part {
        Part::Text(text) => quote!(#out.part(#text.as_bytes());),
        Part::Argument(name, fields) => {
            let argument = function.argument(name).map(|it| located(it, span));
            let fields = fields.iter().map(|field| {
                let field = member(field, span);
                quote!(.#field)
            });
            let part = quote_spanned!(span=> &#argument #(#fields)*);
            quote_spanned!(span=> #at_key::CacheKey::write_to(#part, #out);)
        }
    });
    quote!(#redcache::__cached::Parts::new(|#out| { #(#parts)* }))
}

/// Return the call with the body of the function as its loader.
fn call(attribute: &Attribute, function: &Function, output: &Output<'_>) -> TokenStream {
    let (redcache, body, result) = (&attribute.redcache, &function.body, output.result);
    let (view, key) = (local("view"), local("key"));
    let (value, error, typed) = (local("value"), local("error"), local("typed"));
    let calls = match function.signature.asyncness {
        Some(_) => quote!(#redcache::__cached),
        None => quote!(#redcache::__cached::blocking),
    };
    let read = match output.is_optional {
        true => quote!(#calls::optional),
        false => quote!(#calls::value),
    };
    let read = match function.signature.asyncness {
        // The first statement fixes the type of the result for each `return` and `?` of the body.
        Some(_) => quote! {
            #read(#view, #key, move || async move {
                if let ::core::option::Option::Some(#typed) = ::core::option::Option::None::<#result> {
                    return #typed;
                }
                #body
            })
            .await
        },
        None => quote!(#read(#view, #key, move || -> #result { #body })),
    };
    let at = result.span();
    let (at_result, value_at, error_at) =
        (located(redcache, at), located(&value, at), located(&error, at));
    let owned = match (output.is_optional, output.is_shared) {
        (_, true) => quote!(#value),
        (false, false) => quote_spanned!(at=> #at_result::__cached::owned(#value_at)),
        (true, false) => quote_spanned!(at=> #value_at.map(#at_result::__cached::owned)),
    };
    let converted = quote_spanned!(at=> #at_result::__cached::error(#error_at));
    quote! {
        match #read {
            ::core::result::Result::Ok(#value) => ::core::result::Result::Ok(#owned),
            ::core::result::Result::Err(#error) => ::core::result::Result::Err(#converted),
        }
    }
}

#[cfg(test)]
mod tests;
