//! The views of functions with the attribute `cached`.

use std::any::Any;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use redcache_adapter::Tag;
use redcache_core::Error;

use crate::builder::TypedCacheBuilder;
use crate::codec::Codec;
use crate::face::Face;
use crate::key::{CacheKey, KeyWriter, Name, Style};
use crate::typed::TypedCacheOn;
use crate::view::View;
use crate::view::space::Space;

/// The largest number of caches, besides the first, whose views one function keeps.
const OTHERS_MAX: usize = 64;

/// The views of one function, one per cache. They own no handle of a cache.
#[derive(Debug)]
pub struct Views {
    /// The path of the function.
    function: &'static str,
    /// The view on the first cache. Most functions have no other view, and this one needs no lock.
    first: OnceLock<Kept>,
    others: Mutex<Vec<Kept>>,
}

#[derive(Debug, Clone)]
struct Kept {
    tag: Tag,
    space: Arc<dyn Any + Send + Sync>,
}

impl Views {
    /// Return no views of the function with this path.
    pub const fn new(function: &'static str) -> Self {
        Self { function, first: OnceLock::new(), others: Mutex::new(Vec::new()) }
    }

    /// Return the view on the cache of `face`, which `make` makes at the first call.
    fn get<F, V, C>(
        &self,
        face: Face,
        make: impl FnOnce() -> TypedCacheBuilder<F, Parts, V, C>,
    ) -> Result<TypedCacheOn<F, Parts, V, C>, Error>
    where
        V: Send + Sync + 'static,
        C: Codec<V>,
    {
        let tag = face.near().namespaces().tag();
        let kept = match self.first.get() {
            Some(first) if first.tag == *tag => Some(Arc::clone(&first.space)),
            Some(_) | None => self.other(tag),
        };
        let Some(kept) = kept else {
            let view = make().build()?.view;
            self.keep(Kept { tag: tag.clone(), space: view.shared_space() as _ });
            return Ok(TypedCacheOn::new(view));
        };
        let Ok(space) = kept.downcast::<Space<V, C>>() else {
            return Err(Error::invalid_input(format!(
                "calls of `{}` have codecs of different types for the same keys; write one function \
                 with `cached` per codec, each with a namespace of its own",
                self.function
            )));
        };
        Ok(TypedCacheOn::new(View::on(face, space)))
    }

    fn other(&self, tag: &Tag) -> Option<Arc<dyn Any + Send + Sync>> {
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        others.iter().find(|kept| kept.tag == *tag).map(|kept| Arc::clone(&kept.space))
    }

    fn keep(&self, kept: Kept) {
        let Err(kept) = self.first.set(kept) else { return };
        let mut dropped = Vec::new();
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        dropped.extend(others.extract_if(.., |kept| kept.tag.is_dropped()));
        if others.len() == OTHERS_MAX {
            dropped.push(others.remove(0));
        }
        others.push(kept);
        drop(others);
        // A codec is application code, so it is not dropped under the lock.
        drop(dropped);
    }
}

/// A cache that async functions use.
#[cfg(feature = "async")]
pub trait AsyncCache {
    /// Return the view of a function.
    ///
    /// # Errors
    ///
    /// The errors of [`TypedCacheBuilder::build`].
    fn view_of_async_function<V: Send + Sync + 'static, C: Codec<V>>(
        &self,
        views: &Views,
        make: impl FnOnce(&Self) -> TypedCacheBuilder<Self, Parts, V, C>,
    ) -> Result<TypedCacheOn<Self, Parts, V, C>, Error>
    where
        Self: Sized;
}

#[cfg(feature = "async")]
impl AsyncCache for redcache_driver::Cache {
    fn view_of_async_function<V: Send + Sync + 'static, C: Codec<V>>(
        &self,
        views: &Views,
        make: impl FnOnce(&Self) -> TypedCacheBuilder<Self, Parts, V, C>,
    ) -> Result<TypedCacheOn<Self, Parts, V, C>, Error> {
        views.get(self.into(), || make(self))
    }
}

/// A cache that plain functions use.
#[cfg(feature = "blocking")]
pub trait BlockingCache {
    /// Return the view of a function.
    ///
    /// # Errors
    ///
    /// The errors of [`TypedCacheBuilder::build`].
    fn view_of_plain_function<V: Send + Sync + 'static, C: Codec<V>>(
        &self,
        views: &Views,
        make: impl FnOnce(&Self) -> TypedCacheBuilder<Self, Parts, V, C>,
    ) -> Result<TypedCacheOn<Self, Parts, V, C>, Error>
    where
        Self: Sized;
}

#[cfg(feature = "blocking")]
impl BlockingCache for redcache_blocking::Cache {
    fn view_of_plain_function<V: Send + Sync + 'static, C: Codec<V>>(
        &self,
        views: &Views,
        make: impl FnOnce(&Self) -> TypedCacheBuilder<Self, Parts, V, C>,
    ) -> Result<TypedCacheOn<Self, Parts, V, C>, Error> {
        views.get(self.into(), || make(self))
    }
}

/// The parts of a key, written before the body of the function takes its arguments.
#[derive(Debug)]
pub struct Parts(Name);

impl Parts {
    /// Return the parts that `write` writes.
    pub fn new(write: impl FnOnce(&mut KeyWriter<'_>)) -> Self {
        let mut parts = Name::new();
        write(&mut KeyWriter::new(&mut parts, Style::Escaped));
        Self(parts)
    }
}

impl CacheKey for Parts {
    fn write_to(&self, out: &mut KeyWriter<'_>) {
        out.escaped(&self.0);
    }
}
