//! Reads through a view.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use redcache_adapter::{Get, GetMany, GetManyWith, GetWith, LoadResult, NearObject};
use redcache_core::engine::CallError;
use redcache_core::{Answer, BatchResult, BoxError, Error, Key, LoadError};

use crate::answer::{TypedAnswer, TypedLoaded};
use crate::codec::Codec;
use crate::key::{CacheKey, Name};
use crate::view::View;
use crate::view::loads::{Loads, complete};

/// An answer, or the bytes that cannot be decoded.
type Opened<V> = Result<TypedAnswer<V>, Answer>;

impl<K, V, C> View<K, V, C>
where
    K: CacheKey + ?Sized,
    V: Send + Sync + 'static,
    C: Codec<V>,
{
    pub(crate) async fn get<Q>(&self, key: &Q) -> Result<TypedAnswer<V>, Error>
    where
        K: Borrow<Q>,
        Q: CacheKey + ?Sized,
    {
        let names = match self.fixed_names() {
            Some(names) => names,
            None => self.names().await?,
        };
        let mut name = Name::new();
        names.write(key, &mut name);
        let opened = match self.near(&name) {
            Some(opened) => opened,
            None => {
                self.open(&name, self.face().run(Get::new(&name, *self.face().options())).await?)
            }
        };
        opened.map_err(|_| self.undecodable(&Key::copy_from(&name)))
    }

    pub(crate) async fn get_many<Q: Borrow<K>>(
        &self,
        keys: impl IntoIterator<Item = Q>,
    ) -> BatchResult<TypedAnswer<V>> {
        let names = self.names().await?;
        let mut batch = Lookup::new(self, true, keys.into_iter().map(|key| names.of(key.borrow())));
        if !batch.far.is_empty() {
            let found =
                self.face().run(GetMany::new(batch.far_names(), *self.face().options())).await?;
            let names = batch.far_names();
            let found = names.iter().zip(found).map(|(name, result)| {
                result.map(|answer| self.open(name.as_bytes(), answer)).map_err(Error::from)
            });
            batch.fill(found);
        }
        let answers = batch.results.into_iter().zip(&batch.names);
        let answer = |(result, name): (Option<Result<Opened<V>, Error>>, &Key)| match result {
            Some(Ok(Ok(answer))) => Ok(answer),
            Some(Ok(Err(_))) => Err(self.undecodable(name)),
            Some(Err(error)) => Err(error),
            // Each gap has been filled.
            None => Err(Error::closed()),
        };
        Ok(answers.map(answer).collect())
    }

    pub(crate) async fn get_with<Q, L, Fut, T, E>(
        &self,
        key: &Q,
        loader: L,
    ) -> Result<TypedAnswer<V>, LoadError<E>>
    where
        K: Borrow<Q>,
        Q: CacheKey + ?Sized,
        L: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        T: Into<TypedLoaded<V>>,
        E: Into<BoxError> + 'static,
    {
        let names = match self.fixed_names() {
            Some(names) => names,
            None => self.names_to_load().await?,
        };
        let (name, mut seen) = {
            // It is large, and ends here, so that the future does not keep it.
            let mut name = Name::new();
            names.write(key, &mut name);
            let near = if names.is_direct() { None } else { self.near(&name) };
            match near {
                Some(Ok(answer)) => return Ok(answer),
                Some(Err(answer)) => (Key::copy_from(&name), Some(answer)),
                None => (Key::copy_from(&name), None),
            }
        };
        let mut loader = Some(loader);
        let mut load = |_: Vec<Key>| {
            let (loader, name) = (loader.take()?, name.clone());
            let loading = loader();
            Some(async move { Ok(vec![(name, loading.await?.into())]) })
        };
        if seen.is_none() {
            let loads = Loads::new(self.space());
            let options = names.load_options(*self.face().options());
            let run = |keys| {
                let (loading, name, loads) = (load(keys)?, &name, &loads);
                let same = |key: &Key| Some(key.clone());
                Some(async move {
                    let loaded: LoadResult = loads.admit(loading.await, same);
                    loaded.only(name.as_bytes())
                })
            };
            let request = GetWith::new(name.as_bytes(), options);
            let answer = self.face().run_with(request, run).await?;
            match self.open_loaded(&name, answer, &loads) {
                Ok(answer) => return Ok(answer),
                Err(answer) => seen = Some(answer),
            }
        }
        self.note_undecodable(&name);
        let seen = seen.and_then(|answer| answer.value).unwrap_or_default();
        let mut recovered = self.recover([(name.clone(), seen)].into(), &mut load).await;
        recovered.remove(&name).unwrap_or_else(|| Err(Error::closed().into()))
    }

    pub(crate) async fn get_many_with<Q, L, Fut, M, T, E>(
        &self,
        keys: impl IntoIterator<Item = Q>,
        mut loader: L,
    ) -> BatchResult<TypedAnswer<V>, LoadError<E>>
    where
        K: Clone + Sized,
        Q: Borrow<K>,
        L: FnMut(Vec<K>) -> Fut,
        Fut: Future<Output = Result<M, E>>,
        M: IntoIterator<Item = (K, T)>,
        T: Into<TypedLoaded<V>>,
        E: Into<BoxError> + 'static,
    {
        let of_view = &self.names_to_load().await?;
        let mut keys_by_name = BTreeMap::new();
        let names = keys.into_iter().map(|key| {
            let name = of_view.of(key.borrow());
            keys_by_name.insert(Key::copy_from(&name), key.borrow().clone());
            name
        });
        let mut batch = Lookup::new(self, !of_view.is_direct(), names);
        let mut load = |names: Vec<Key>| {
            let keys = names.iter().filter_map(|name| keys_by_name.get(name).cloned()).collect();
            let loading = loader(keys);
            Some(async move { Ok(complete(names, of_view.loaded(loading.await?))) })
        };
        if !batch.far.is_empty() {
            let loads = Loads::new(self.space());
            let options = of_view.load_options(*self.face().options());
            let run = |keys| {
                let (loading, loads) = (load(keys)?, &loads);
                let same = |key: &Key| Some(key.clone());
                Some(async move { loads.admit(loading.await, same) })
            };
            let names = batch.far_names();
            let request = GetManyWith::new(names.clone(), options);
            let found: Vec<Result<Answer, CallError>> = self.face().run_with(request, run).await?;
            let found = names.iter().zip(found).map(|(name, result)| match result {
                Ok(answer) => Ok(self.open_loaded(name, answer, &loads)),
                Err(error) => Err(LoadError::from(error)),
            });
            batch.fill(found);
        }
        let undecodable = batch.undecodable();
        undecodable.keys().for_each(|name| self.note_undecodable(name));
        let recovered = self.recover(undecodable, &mut load).await;
        Ok(batch.finish(|name| {
            let recovered = recovered.get(name).cloned();
            recovered.unwrap_or_else(|| Err(Error::closed().into()))
        }))
    }

    /// Look a key up in the near cache.
    fn near(&self, name: &[u8]) -> Option<Opened<V>> {
        let face = self.face();
        let opened = face.near().get(
            name,
            face.options(),
            |is_call_limited| face.near_now(is_call_limited),
            |hit| match NearObject::of_hit(&hit) {
                Some(object) => Ok(TypedAnswer::of_hit(&hit, Arc::clone(object))),
                None => Err(Answer::from(hit)),
            },
        )?;
        Some(opened.or_else(|answer| self.open(name, answer)))
    }

    fn undecodable(&self, name: &Key) -> Error {
        self.note_undecodable(name);
        Error::undecodable(name, self.space().namespace().codec())
    }

    pub(super) fn note_undecodable(&self, name: &Key) {
        let event = self.space().undecodable(name);
        self.face().near().observe(vec![event.into()]);
    }
}

/// The results of a batch, with gaps for the keys that are not near.
struct Lookup<V, E> {
    names: Vec<Key>,
    results: Vec<Option<Result<Opened<V>, E>>>,
    /// The places of the gaps.
    far: Vec<usize>,
}

impl<V: Send + Sync + 'static, E> Lookup<V, E> {
    fn new<K: CacheKey + ?Sized, C: Codec<V>>(
        view: &View<K, V, C>,
        asks_near: bool,
        names: impl Iterator<Item = Name>,
    ) -> Self {
        let mut batch = Self { names: Vec::new(), results: Vec::new(), far: Vec::new() };
        for name in names {
            let near = if asks_near { view.near(&name) } else { None };
            if near.is_none() {
                batch.far.push(batch.names.len());
            }
            batch.results.push(near.map(Ok));
            batch.names.push(Key::copy_from(&name));
        }
        batch
    }

    fn far_names(&self) -> Vec<Key> {
        self.far.iter().map(|place| self.names[*place].clone()).collect()
    }

    /// Fill the gaps, in their order.
    fn fill(&mut self, found: impl Iterator<Item = Result<Opened<V>, E>>) {
        for (place, result) in self.far.iter().zip(found) {
            self.results[*place] = Some(result);
        }
    }

    /// Return the keys whose bytes cannot be decoded, with these bytes.
    fn undecodable(&self) -> BTreeMap<Key, Bytes> {
        let results = self.results.iter().zip(&self.names);
        let undecodable = results.filter_map(|(result, name)| match result {
            Some(Ok(Err(answer))) => Some((name.clone(), answer.value.clone()?)),
            Some(Ok(Ok(_)) | Err(_)) | None => None,
        });
        undecodable.collect()
    }

    /// Return the results. `rest` returns the results of the other keys.
    fn finish(
        self,
        rest: impl Fn(&Key) -> Result<TypedAnswer<V>, E>,
    ) -> Vec<Result<TypedAnswer<V>, E>> {
        let results = self.results.into_iter().zip(&self.names);
        let result = |(result, name): (Option<Result<Opened<V>, E>>, &Key)| match result {
            Some(Ok(Ok(answer))) => Ok(answer),
            Some(Ok(Err(_))) | None => rest(name),
            Some(Err(error)) => Err(error),
        };
        results.map(result).collect()
    }
}
