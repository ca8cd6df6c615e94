//! The builder of typed views.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use redcache_adapter::Namespace;
use redcache_core::Error;

use crate::codec::Codec;
use crate::face::Face;
use crate::key::{CacheKey, Style};
use crate::typed::TypedCacheOn;
use crate::view::View;
use crate::view::settings::Settings;
use crate::view::space::Space;

/// Creates typed views of a cache.
///
/// The async and the blocking cache implement it.
pub trait Typed: Sized {
    /// Return a builder of a view: typed keys of one namespace, with values in the form of `codec`.
    ///
    /// A value of the key `42` in the namespace `user` has the name `user:42` in Redis.
    fn typed<K: ?Sized, V, C>(
        &self,
        namespace: impl Into<String>,
        codec: C,
    ) -> TypedCacheBuilder<Self, K, V, C>;
}

#[cfg(feature = "async")]
impl Typed for redcache_driver::Cache {
    fn typed<K: ?Sized, V, C>(
        &self,
        namespace: impl Into<String>,
        codec: C,
    ) -> TypedCacheBuilder<Self, K, V, C> {
        TypedCacheBuilder::new(self.into(), namespace.into(), codec)
    }
}

#[cfg(feature = "blocking")]
impl Typed for redcache_blocking::Cache {
    fn typed<K: ?Sized, V, C>(
        &self,
        namespace: impl Into<String>,
        codec: C,
    ) -> TypedCacheBuilder<Self, K, V, C> {
        TypedCacheBuilder::new(self.into(), namespace.into(), codec)
    }
}

/// A builder of a typed view. [`Typed::typed`] returns it.
#[must_use]
pub struct TypedCacheBuilder<F, K: ?Sized, V, C> {
    face: Face,
    namespace: Option<String>,
    codec: C,
    settings: Settings,
    types: PhantomData<fn(F, &K) -> V>,
}

impl<F, K: ?Sized, V, C> fmt::Debug for TypedCacheBuilder<F, K, V, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedCacheBuilder")
            .field("namespace", &self.namespace)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl<F, K: ?Sized, V, C> TypedCacheBuilder<F, K, V, C> {
    #[cfg(any(feature = "async", feature = "blocking"))]
    fn new(face: Face, namespace: String, codec: C) -> Self {
        let (namespace, settings) = (Some(namespace), Settings::default());
        Self { face, namespace, codec, settings, types: PhantomData }
    }

    /// Set the TTL of values. Default: 60 seconds.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.settings.ttl = ttl;
        self
    }

    /// Set the TTL of "not found". Default: that of values.
    pub fn not_found_ttl(mut self, ttl: Duration) -> Self {
        self.settings.not_found_ttl = Some(ttl);
        self
    }

    /// Shorten each TTL by a random part of up to `part`, between 0 and 0.5, so that keys that are
    /// loaded together do not expire together. Default: 0.
    pub fn jitter(mut self, part: f64) -> Self {
        self.settings.jitter = part;
        self
    }

    /// Set a number that makes stored values unreadable for programs with another number. Change it
    /// if the meaning of a value changes, but not its fields. It has an effect for codecs with a
    /// [`schema`](Codec::schema). Default: 0.
    pub fn schema_version(mut self, version: u32) -> Self {
        self.settings.schema_version = version;
        self
    }

    /// Let [`clear`](crate::TypedCache::clear) remove all keys of the namespace in one write.
    ///
    /// Either all processes or none must use this setting, because it adds the generation of the
    /// namespace to the name of each key. The generation is a key of its own, which each process
    /// keeps in its near cache. If Redis evicts it, the namespace is empty.
    pub fn clearable(mut self) -> Self {
        self.settings.is_clearable = true;
        self
    }

    /// Write keys as they are, without a namespace and without escapes, to share them with other
    /// programs. Parts of a key are joined by `:`. The application must ensure that the keys of
    /// different views differ.
    pub fn plain_keys(mut self) -> Self {
        self.namespace = None;
        self
    }
}

impl<F, K, V, C> TypedCacheBuilder<F, K, V, C>
where
    K: CacheKey + ?Sized,
    V: Send + Sync + 'static,
    C: Codec<V>,
{
    /// Return the view.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if a TTL or the jitter is out of
    /// its range, if the name of the namespace is empty or has a lock's prefix in it, or if another
    /// view of this cache uses the namespace with another codec.
    pub fn build(self) -> Result<TypedCacheOn<F, K, V, C>, Error> {
        let Self { face, namespace, codec, settings, .. } = self;
        settings.check()?;
        let mut name = codec.name();
        if settings.schema_version != 0 {
            name = format!("{name} of version {}", settings.schema_version).into();
        }
        if settings.is_clearable {
            name = format!("{name}, clearable").into();
        }
        if settings.is_clearable && namespace.is_none() {
            return Err(Error::invalid_input("plain keys cannot be cleared; use a namespace"));
        }
        let (namespace, style) = match namespace {
            Some(namespace) => (face.near().namespaces().open(&namespace, &name)?, Style::Escaped),
            None => (Namespace::new("".into(), &name).into(), Style::Plain),
        };
        let space = Space::new(codec, namespace, settings, style);
        Ok(TypedCacheOn::new(View::new(face, space)))
    }
}
