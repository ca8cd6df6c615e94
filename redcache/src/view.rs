//! A typed view of a cache: the calls of both faces, without their signatures.

mod generation;
pub(crate) mod loads;
mod read;
mod recover;
pub(crate) mod refresh;
pub(crate) mod settings;
pub(crate) mod space;
mod write;

use std::borrow::Cow;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use redcache_adapter::NearObject;
use redcache_core::{Answer, CallOptions, Key, Source};

use crate::answer::TypedAnswer;
use crate::codec::Codec;
use crate::face::Face;
use crate::view::loads::Loads;
use crate::view::space::{Space, retyped};

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

    /// Return a view on the cache of `face` in the form of another view.
    #[cfg(feature = "macros")]
    pub(crate) fn on(face: Face, space: Arc<Space<V, C>>) -> Self {
        Self { face, space, keys: PhantomData }
    }

    /// Return the form of the view, from which other views can be created.
    pub(crate) fn shared_space(&self) -> Arc<Space<V, C>> {
        Arc::clone(&self.space)
    }

    /// Return the same view on a handle of the cache whose calls use `options`.
    pub(crate) fn with_options(&self, options: CallOptions) -> Self {
        let (face, space) = (self.face.with_options(options), Arc::clone(&self.space));
        Self { face, space, keys: PhantomData }
    }

    /// Return the view for the steps of one call that begins now, which share its timeout.
    #[inline]
    pub(crate) fn begun(&self) -> Cow<'_, Self> {
        let options = self.face.options();
        match options.timeout_after() {
            Some(_) => Cow::Owned(self.with_options(options.begun_at(self.face.now()))),
            None => Cow::Borrowed(self),
        }
    }

    pub(crate) fn face(&self) -> &Face {
        &self.face
    }

    pub(crate) fn space(&self) -> &Space<V, C> {
        &self.space
    }
}

impl<K: ?Sized, V: Send + Sync + 'static, C: Codec<V>> View<K, V, C> {
    /// Decode an answer, once per near entry. Return it unchanged if it cannot be decoded.
    fn open(&self, name: &[u8], answer: Answer) -> Result<TypedAnswer<V>, Answer> {
        let Some(bytes) = &answer.value else { return Ok(retyped(&answer, None)) };
        if let Some(object) = self.face.near().object(name, bytes) {
            return Ok(retyped(&answer, Some(object)));
        }
        let Some(value) = self.space.decode(bytes) else { return Err(answer) };
        self.keep(name, bytes, &value);
        Ok(retyped(&answer, Some(value)))
    }

    /// Keep the object of a value beside its near entry.
    fn keep(&self, name: &[u8], encoded: &Bytes, value: &Arc<V>) {
        let weight = self.space.weight(value, encoded.len());
        let object = NearObject::derived(Arc::clone(value), weight);
        self.face.near().attach(name, encoded, object);
    }

    /// Convert the answer of a call with a loader. Return it unchanged if it cannot be decoded.
    fn open_loaded(
        &self,
        name: &Key,
        answer: Answer,
        loads: &Loads<'_, V, C>,
    ) -> Result<TypedAnswer<V>, Answer> {
        if answer.source == Source::Loaded
            && let Some((value, encoded)) = loads.get(name)
        {
            if let (Some(value), Some(encoded)) = (&value, &encoded) {
                self.keep(name.as_bytes(), encoded, value);
            }
            return Ok(retyped(&answer, value));
        }
        self.open(name.as_bytes(), answer)
    }
}
