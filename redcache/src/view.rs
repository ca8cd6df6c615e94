//! A typed view of a cache: the calls of both faces, without their signatures.

pub(crate) mod loads;
mod read;
mod recover;
pub(crate) mod settings;
pub(crate) mod space;
mod write;

use std::marker::PhantomData;
use std::sync::Arc;

use redcache_core::CallOptions;

use crate::face::Face;
use space::Space;

/// A view of a cache, with keys of type `K` and values of type `V` in the form of `C`.
pub(crate) struct View<K: ?Sized, V, C> {
    face: Face,
    space: Arc<Space<V, C>>,
    keys: PhantomData<fn(&K)>,
}

impl<K: ?Sized, V, C> Clone for View<K, V, C> {
    fn clone(&self) -> Self {
        Self { face: self.face.clone(), space: Arc::clone(&self.space), keys: PhantomData }
    }
}

impl<K: ?Sized, V, C> View<K, V, C> {
    pub(crate) fn new(face: Face, space: Space<V, C>) -> Self {
        Self { face, space: Arc::new(space), keys: PhantomData }
    }

    /// Return the same view on a handle of the cache whose calls use `options`.
    pub(crate) fn with_options(&self, options: CallOptions) -> Self {
        let (face, space) = (self.face.with_options(options), Arc::clone(&self.space));
        Self { face, space, keys: PhantomData }
    }

    pub(crate) fn face(&self) -> &Face {
        &self.face
    }

    pub(crate) fn space(&self) -> &Space<V, C> {
        &self.space
    }
}
