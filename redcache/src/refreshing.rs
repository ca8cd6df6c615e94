//! Typed views with a registered loader.

#[cfg(feature = "async")]
mod async_calls;
#[cfg(feature = "blocking")]
mod blocking_calls;

use std::fmt;
use std::marker::PhantomData;

use redcache_core::{BoxError, Error, RefreshOptions};

use crate::answer::TypedLoaded;
use crate::codec::Codec;
use crate::parsed_key::ParsedKey;
use crate::typed::TypedCacheOn;
use crate::view::refresh::{Loader, RefreshingView};

/// A typed view with a registered loader, which also refreshes values in the background before they
/// expire.
///
/// [`TypedCache::refreshing`](crate::TypedCache::refreshing) creates it. `E` is the loader's error.
/// Handles are cheap to clone. When the last handle is dropped, the loader is dropped, together
/// with the refreshes that wait for it. `F` is the cache below: leave it to the aliases
/// [`redcache::TypedRefreshingCache`](crate::TypedRefreshingCache) and
/// `redcache::blocking::TypedRefreshingCache`.
pub struct TypedRefreshingCacheOn<F, K, V, C, E> {
    refreshing: RefreshingView<K, V, C, E>,
    view: TypedCacheOn<F, K, V, C>,
    error: PhantomData<fn() -> E>,
}

impl<F, K, V, C, E> Clone for TypedRefreshingCacheOn<F, K, V, C, E> {
    fn clone(&self) -> Self {
        let (refreshing, view) = (self.refreshing.clone(), self.view.clone());
        Self { refreshing, view, error: PhantomData }
    }
}

impl<F, K, V, C, E> fmt::Debug for TypedRefreshingCacheOn<F, K, V, C, E>
where
    V: Send + Sync + 'static,
    C: Codec<V>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedRefreshingCache").field("view", &self.view).finish_non_exhaustive()
    }
}

impl<F, K, V, C, E> TypedRefreshingCacheOn<F, K, V, C, E> {
    /// Return the view, for all other calls.
    pub fn view(&self) -> &TypedCacheOn<F, K, V, C> {
        &self.view
    }
}

impl<F, K, V, C, E> TypedRefreshingCacheOn<F, K, V, C, E>
where
    K: ParsedKey + 'static,
    V: Send + Sync + 'static,
    C: Codec<V>,
    E: Into<BoxError> + 'static,
{
    fn new(
        view: &TypedCacheOn<F, K, V, C>,
        options: RefreshOptions,
        loader: Loader<K, V, E>,
    ) -> Result<Self, Error> {
        let refreshing = RefreshingView::new(&view.view, options, loader)?;
        Ok(Self { refreshing, view: view.clone(), error: PhantomData })
    }
}

fn typed<K, V, T: Into<TypedLoaded<V>>>(
    loaded: impl IntoIterator<Item = (K, T)>,
) -> Vec<(K, TypedLoaded<V>)> {
    loaded.into_iter().map(|(key, loaded)| (key, loaded.into())).collect()
}
