//! Objects that live as long as a near entry.

use std::sync::Arc;

use bytes::Bytes;
use redcache_core::engine::{Companion, NearHit};

use crate::deferred::{Owned, Scope};
use crate::near_reader::NearReader;

/// An object for one entry of the near cache. It is dropped when the entry is replaced, invalidated
/// or evicted, outside of every lock.
#[derive(Debug)]
pub struct NearObject<T: 'static>(Companion<Owned<Arc<T>>>);

impl<T: Send + Sync + 'static> NearObject<T> {
    /// Return an object that derives from the value of its entry alone, such as a decoded value.
    pub fn derived(object: Arc<T>, weight: usize) -> Self {
        Self(Companion::derived(Owned::new(object), weight))
    }

    /// Return an object that belongs to one copy of a value.
    pub fn of_copy(object: Arc<T>, weight: usize) -> Self {
        Self(Companion::of_copy(Owned::new(object), weight))
    }

    /// Return the object of a hit, if it has the type `T`.
    #[inline]
    pub fn of_hit(hit: &NearHit) -> Option<&Arc<T>> {
        object(hit.companion()?)
    }
}

impl NearReader {
    /// Return the object of the entry of `key`, if the entry has the value `value`.
    pub fn object<T: Send + Sync + 'static>(&self, key: &[u8], value: &Bytes) -> Option<Arc<T>> {
        self.near().companion(key, value, |companion| object(companion).cloned())
    }

    /// Attach an object to the entry of `key`, if the entry has the value `value` and no object.
    pub fn attach<T: Send + Sync + 'static>(
        &self,
        key: &[u8],
        value: &Bytes,
        object: NearObject<T>,
    ) {
        // Attaching may evict entries with objects.
        let _scope = Scope::enter();
        self.near().attach(key, value, object.0);
    }
}

#[inline]
fn object<T: Send + Sync + 'static>(companion: &Companion) -> Option<&Arc<T>> {
    companion.object::<Owned<Arc<T>>>()?.get()
}
