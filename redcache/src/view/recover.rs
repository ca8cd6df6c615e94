//! Values that cannot be decoded, because another version of the program or another program has
//! written them.
//!
//! Two versions that run at the same time must not replace each other's values for ever, and must
//! not load more often than needed. A call that finds such a value takes three steps:
//!
//! 1. It reads the exact bytes of the key.
//! 2. It gets a value of its own version from a side key. The name of the side key contains the
//!    version and a hash of those bytes, so the side key is valid until the key is written: a
//!    `remove` or an `insert` of either version ends it. The first call loads, under the lock of
//!    the side key, and all others of its version share the load.
//! 3. If it ran the load, it replaces the value, provided that the key still has exactly those
//!    bytes and no program of its version has replaced the value within the TTL.
//!
//! The call also keeps its own value beside the near entry of the other version's value, and both
//! are dropped together.
//!
//! If only one version is running, the third step replaces each foreign value once. With two
//! versions, each replaces the other's value at most once per TTL, and loads at most once per write
//! of the other.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use redcache_adapter::{GetManyWith, LoadResult, NearObject, ReadRawMany, ReplaceMany};
use redcache_core::engine::{LoadOptions, RawValue, Replacement};
use redcache_core::{BoxError, CallOptions, Error, Key, LoadError, Loaded, Source};

use crate::answer::TypedAnswer;
use crate::codec::Codec;
use crate::view::View;
use crate::view::loads::{Load, LoadedMany, Loads};

/// The largest number of rounds. The keys may change between two rounds.
const ROUNDS_MAX: usize = 3;

/// The results by the names of their keys.
pub(crate) type Recovered<V, E> = BTreeMap<Key, Result<TypedAnswer<V>, LoadError<E>>>;

/// A value of another version.
struct Foreign {
    name: Key,
    side: Key,
    found: RawValue,
    /// The bytes of the near entry that could not be decoded.
    seen: Option<Bytes>,
}

impl<K, V, C> View<K, V, C>
where
    K: ?Sized,
    V: Send + Sync + 'static,
    C: Codec<V>,
{
    /// Return values for keys that hold bytes of another version. `load` loads keys by their names;
    /// it returns `None` if it cannot run again.
    pub(crate) async fn recover<E, Fut>(
        &self,
        seen: BTreeMap<Key, Bytes>,
        load: &mut impl FnMut(Vec<Key>) -> Option<Fut>,
    ) -> Recovered<V, E>
    where
        Fut: Future<Output = Result<LoadedMany<V>, E>>,
        E: Into<BoxError> + 'static,
    {
        let (mut recovered, mut pending) =
            (BTreeMap::new(), seen.keys().cloned().collect::<Vec<_>>());
        for _ in 0..ROUNDS_MAX {
            if pending.is_empty() {
                return recovered;
            }
            let found = match self.face().run(ReadRawMany::new(pending.clone())).await {
                Ok(found) => found,
                Err(error) => {
                    fail(&mut recovered, pending, &LoadError::from(error));
                    return recovered;
                }
            };
            let (mut foreign, mut changed) = (Vec::new(), Vec::new());
            for (name, found) in pending.into_iter().zip(found) {
                match found.map(|found| found.map(|raw| (self.space().open_raw(&raw), raw))) {
                    Err(error) => drop(recovered.insert(name, Err(error.into()))),
                    Ok(Some((Some(answer), _))) => drop(recovered.insert(name, Ok(answer))),
                    Ok(None) => changed.push(name),
                    Ok(Some((None, found))) => {
                        let side = self.space().side(&name, &found.raw);
                        let seen = seen.get(&name).cloned();
                        foreign.push(Foreign { name, side, found, seen });
                    }
                }
            }
            pending = self.fetch(changed, load, &mut recovered).await;
            pending.extend(self.fetch_beside(foreign, load, &mut recovered).await);
        }
        self.load_only(pending, load, &mut recovered).await;
        recovered
    }

    /// Read and load the keys whose values have been removed. Return the keys with another
    /// version's value.
    async fn fetch<E, Fut>(
        &self,
        names: Vec<Key>,
        load: &mut impl FnMut(Vec<Key>) -> Option<Fut>,
        recovered: &mut Recovered<V, E>,
    ) -> Vec<Key>
    where
        Fut: Future<Output = Result<LoadedMany<V>, E>>,
        E: Into<BoxError> + 'static,
    {
        let places = names.iter().map(|name| (name.clone(), name.clone())).collect();
        self.fetch_at(&places, load, recovered, |_, _| {}).await
    }

    /// Get values from the side keys, and replace the foreign ones. Return the keys whose side keys
    /// cannot be decoded either.
    async fn fetch_beside<E, Fut>(
        &self,
        foreign: Vec<Foreign>,
        load: &mut impl FnMut(Vec<Key>) -> Option<Fut>,
        recovered: &mut Recovered<V, E>,
    ) -> Vec<Key>
    where
        Fut: Future<Output = Result<LoadedMany<V>, E>>,
        E: Into<BoxError> + 'static,
    {
        let places = foreign.iter().map(|it| (it.name.clone(), it.side.clone())).collect();
        let mut loaded = BTreeMap::new();
        let on_loaded = |name: &Key, load| drop(loaded.insert(name.clone(), load));
        let pending = self.fetch_at(&places, load, recovered, on_loaded).await;
        for Foreign { name, seen, .. } in &foreign {
            if let Some(Ok(TypedAnswer { value: Some(value), .. })) = recovered.get(name)
                && let Some(seen) = seen
            {
                self.keep_beside(name, seen, value);
            }
        }
        let replacement = |Foreign { name, found, .. }: Foreign| {
            let Load { encoded: value, ttl, store, .. } = loaded.remove(&name)?;
            store.then_some(Replacement { key: name, expected: found.raw, value, ttl })
        };
        self.replace(foreign.into_iter().filter_map(replacement).collect()).await;
        pending
    }

    /// Keep a value of this version beside the near entry `seen` of another version's value. If
    /// that entry still exists, the key has not been written since before its exact bytes were
    /// read.
    fn keep_beside(&self, name: &Key, seen: &Bytes, value: &Arc<V>) {
        let weight = self.space().weight(value, seen.len());
        let object = NearObject::of_copy(Arc::clone(value), weight);
        self.face().near().attach(name.as_bytes(), seen, object);
    }

    /// Get the values of keys from the names in Redis that `places` lists. Return the keys whose
    /// values cannot be decoded.
    async fn fetch_at<E, Fut>(
        &self,
        places: &BTreeMap<Key, Key>,
        load: &mut impl FnMut(Vec<Key>) -> Option<Fut>,
        recovered: &mut Recovered<V, E>,
        mut on_loaded: impl FnMut(&Key, Load<V>),
    ) -> Vec<Key>
    where
        Fut: Future<Output = Result<LoadedMany<V>, E>>,
        E: Into<BoxError> + 'static,
    {
        if places.is_empty() {
            return Vec::new();
        }
        let names: BTreeMap<_, _> = places.iter().map(|(name, place)| (place, name)).collect();
        let loads = Loads::new(self.space());
        let run = |asked: Vec<Key>| {
            let asked = asked.iter().filter_map(|place| names.get(place).copied().cloned());
            let (loading, loads) = (load(asked.collect())?, &loads);
            Some(async move {
                let loaded: LoadResult =
                    loads.admit(loading.await, |name| places.get(name).cloned());
                loaded
            })
        };
        let options = LoadOptions::new(self.space().settings.ttl, CallOptions::new());
        let request = GetManyWith::new(places.values().cloned().collect(), options);
        let found = match self.face().run_with(request, run).await {
            Ok(found) => found,
            Err(error) => {
                fail(recovered, places.keys().cloned().collect(), &LoadError::from(error));
                return Vec::new();
            }
        };
        let mut pending = Vec::new();
        for (name, result) in places.keys().zip(found) {
            let result = match result {
                Ok(answer) => self.open_loaded(name, answer, &loads),
                Err(error) => {
                    recovered.insert(name.clone(), Err(error.into()));
                    continue;
                }
            };
            match result {
                Ok(answer) => {
                    if answer.source == Source::Loaded
                        && let Some(load) = loads.take(name)
                    {
                        on_loaded(name, load);
                    }
                    recovered.insert(name.clone(), Ok(answer));
                }
                Err(_) => pending.push(name.clone()),
            }
        }
        pending
    }

    /// Replace values of other versions, if this version has not done so within the TTL. An error
    /// leaves the old value, which the next caller finds.
    async fn replace(&self, replacements: Vec<Replacement>) {
        if replacements.is_empty() {
            return;
        }
        let marks: Vec<_> =
            replacements.iter().map(|it| self.space().replaced_mark(&it.key)).collect();
        let options = LoadOptions::new(self.space().settings.ttl, CallOptions::new());
        let mark = |marks: Vec<Key>| {
            let marks =
                marks.into_iter().map(|mark| (mark, Loaded::value(Bytes::from_static(b"1"))));
            Some(std::future::ready(LoadResult::many(Ok::<_, Error>(marks))))
        };
        let request = GetManyWith::new(marks, options);
        let Ok(marked) = self.face().run_with(request, mark).await else { return };
        let is_first = marked
            .into_iter()
            .map(|result| result.is_ok_and(|answer| answer.source == Source::Loaded));
        let replacements = replacements.into_iter().zip(is_first);
        let replacements: Vec<_> =
            replacements.filter_map(|(it, is_first)| is_first.then_some(it)).collect();
        let replaced = self.face().run(ReplaceMany::new(replacements)).await;
        let replaced = replaced.into_iter().flatten().filter(|result| matches!(result, Ok(true)));
        self.space().namespace().count_replaced(replaced.count() as u64);
    }

    /// Load keys without storing them.
    async fn load_only<E, Fut>(
        &self,
        names: Vec<Key>,
        load: &mut impl FnMut(Vec<Key>) -> Option<Fut>,
        recovered: &mut Recovered<V, E>,
    ) where
        Fut: Future<Output = Result<LoadedMany<V>, E>>,
        E: Into<BoxError> + 'static,
    {
        if names.is_empty() {
            return;
        }
        let Some(loading) = load(names.clone()) else {
            for name in names {
                let error = Error::undecodable(&name, self.space().namespace().codec());
                recovered.insert(name, Err(error.into()));
            }
            return;
        };
        match loading.await {
            Ok(loaded) => {
                let mut loaded: BTreeMap<_, _> = loaded.into_iter().collect();
                for name in names {
                    let value = loaded.remove(&name).and_then(|loaded| loaded.value);
                    let (source, age) = (Source::Loaded, Some(std::time::Duration::ZERO));
                    let answer = TypedAnswer { value, source, ttl: None, age, fresh_as_of: None };
                    recovered.insert(name, Ok(answer));
                }
            }
            Err(error) => {
                let failure = redcache_core::engine::LoadFailure::new(error);
                let error = redcache_core::engine::CallError::Load(failure);
                fail(recovered, names, &LoadError::from(error));
            }
        }
    }
}

fn fail<V, E>(recovered: &mut Recovered<V, E>, names: Vec<Key>, error: &LoadError<E>) {
    for name in names {
        recovered.insert(name, Err(error.clone()));
    }
}
