//! The public type of typed views. Its calls are in `async_calls` and `blocking_calls`.

use std::fmt;
use std::marker::PhantomData;

use redcache_core::CallOptions;

use crate::codec::Codec;
use crate::view::View;

/// A view of a cache with keys of type `K` and values of type `V`, which the codec `C` encodes.
///
/// [`Typed::typed`](crate::Typed::typed) creates one. Handles are cheap to clone. `F` is the cache
/// below: leave it to the aliases [`redcache::TypedCache`](crate::TypedCache) and
/// `redcache::blocking::TypedCache`.
///
/// # Values of other versions
///
/// A stored value that does not decode was written by another version of your program, or by
/// another program. A call with a loader treats it as a miss: it loads, and replaces the value
/// unless another caller has written the key. Only a call without a loader fails, with
/// [`ErrorKind::Undecodable`](crate::ErrorKind::Undecodable). While two versions run side by side,
/// each replaces the other's value at most once per TTL. Otherwise it keeps its own value under a
/// second key, which is valid until the shared key is written. So a `remove` of one version also
/// reaches the other, and no key is loaded more than once per version and write.
///
/// [`undecodable`](Self::undecodable) counts such values, and the observer gets an
/// [`UndecodableEvent`](crate::observer::UndecodableEvent) for each.
pub struct TypedCacheOn<F, K: ?Sized, V, C> {
    pub(crate) view: View<K, V, C>,
    cache: PhantomData<fn() -> F>,
}

impl<F, K: ?Sized, V, C> TypedCacheOn<F, K, V, C> {
    pub(crate) fn new(view: View<K, V, C>) -> Self {
        Self { view, cache: PhantomData }
    }
}

impl<F, K: ?Sized, V, C> Clone for TypedCacheOn<F, K, V, C> {
    fn clone(&self) -> Self {
        Self::new(self.view.clone())
    }
}

impl<F, K: ?Sized, V: Send + Sync + 'static, C: Codec<V>> fmt::Debug for TypedCacheOn<F, K, V, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedCache")
            .field("namespace", self.view.space().namespace().name())
            .field("codec", self.view.space().namespace().codec())
            .finish_non_exhaustive()
    }
}

impl<F, K: ?Sized, V: Send + Sync + 'static, C: Codec<V>> TypedCacheOn<F, K, V, C> {
    /// Return a handle of the same view whose calls use `options`.
    #[must_use]
    pub fn with_options(&self, options: CallOptions) -> Self {
        Self::new(self.view.with_options(options))
    }

    /// Return the number of stored values that could not be decoded, in all views of the namespace.
    pub fn undecodable(&self) -> u64 {
        self.view.space().namespace().undecodable()
    }

    /// Return the number of values that were replaced because they could not be decoded, in all
    /// views of the namespace.
    pub fn replaced(&self) -> u64 {
        self.view.space().namespace().replaced()
    }
}
