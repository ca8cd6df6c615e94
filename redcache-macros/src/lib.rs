//! The attribute `cached` of [redcache](https://docs.rs/redcache).
//!
//! Applications use it as `redcache::cached`, with the feature `macros` of that crate, which
//! documents it.

#![forbid(unsafe_code)]

mod attribute;
mod duration;
mod expansion;
mod function;
mod key;
mod output;

use proc_macro::TokenStream;

/// Read the results of a function through a cache.
#[proc_macro_attribute]
pub fn cached(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expansion::expand(attribute.into(), item.into())
        .unwrap_or_else(|error| error.into_compile_error())
        .into()
}
