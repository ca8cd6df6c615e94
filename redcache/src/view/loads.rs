//! The loads of one call. Its caller gets the loaded values without decoding them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use redcache_adapter::LoadResult;
use redcache_core::engine::LoadFailure;
use redcache_core::{BoxError, Error, Key};

use crate::answer::TypedLoaded;
use crate::codec::Codec;
use crate::view::space::{Space, stored};

/// The results of a typed loader, by the names of their keys.
pub(crate) type LoadedMany<V> = Vec<(Key, TypedLoaded<V>)>;

/// Add the keys that a loader has left out, as "not found".
pub(crate) fn complete<V>(asked: Vec<Key>, mut loaded: LoadedMany<V>) -> LoadedMany<V> {
    let there: BTreeSet<Key> = loaded.iter().map(|(name, _)| name.clone()).collect();
    let absent = asked.into_iter().filter(|name| !there.contains(name));
    loaded.extend(absent.map(|name| (name, TypedLoaded::not_found())));
    loaded
}

/// A loaded value with its stored form.
pub(crate) struct Load<V> {
    pub(crate) value: Option<Arc<V>>,
    pub(crate) encoded: Option<Bytes>,
    pub(crate) ttl: Duration,
    pub(crate) store: bool,
}

/// The loads of a call.
pub(crate) struct Loads<'s, V, C> {
    space: &'s Space<V, C>,
    loads: Mutex<BTreeMap<Key, Load<V>>>,
}

impl<'s, V: Send + Sync + 'static, C: Codec<V>> Loads<'s, V, C> {
    pub(crate) fn new(space: &'s Space<V, C>) -> Self {
        Self { space, loads: Mutex::default() }
    }

    /// Keep the results of a loader, and return them in stored form, under the key that `rename`
    /// returns.
    pub(crate) fn admit<E: Into<BoxError> + 'static>(
        &self,
        result: Result<LoadedMany<V>, E>,
        rename: impl Fn(&Key) -> Option<Key>,
    ) -> LoadResult {
        let loaded = match result {
            Ok(loaded) => loaded,
            Err(error) => return LoadResult::Many(Err(LoadFailure::new(error))),
        };
        let mut entries = Vec::with_capacity(loaded.len());
        for (name, loaded) in loaded {
            // A key that was not requested is ignored.
            let Some(key) = rename(&name) else { continue };
            match self.encode(&name, loaded) {
                Ok(load) => {
                    entries.push((key, stored(load.encoded.clone(), load.ttl, load.store)));
                    let mut loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
                    loads.insert(name, load);
                }
                Err(error) => return LoadResult::Many(Err(LoadFailure::new(error))),
            }
        }
        LoadResult::Many(Ok(entries))
    }

    fn encode(&self, name: &Key, loaded: TypedLoaded<V>) -> Result<Load<V>, Error> {
        let encode = |value: &Arc<V>| self.space.encode(name.as_bytes(), value);
        let encoded = loaded.value.as_ref().map(encode).transpose()?;
        let ttl = self.space.ttl_of(&loaded);
        Ok(Load { value: loaded.value, encoded, ttl, store: loaded.store })
    }

    /// Return the value that was loaded for the key `name`, and its stored form.
    pub(crate) fn get(&self, name: &Key) -> Option<(Option<Arc<V>>, Option<Bytes>)> {
        let loads = self.loads.lock().unwrap_or_else(PoisonError::into_inner);
        loads.get(name).map(|load| (load.value.clone(), load.encoded.clone()))
    }

    /// Take the load of a key.
    pub(crate) fn take(&self, name: &Key) -> Option<Load<V>> {
        self.loads.lock().unwrap_or_else(PoisonError::into_inner).remove(name)
    }
}
