//! Writes through a view.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::future::Future;

use redcache_adapter::{
    Change, Committed, Insert, InsertMany, InsertManyWith, InsertWith, Remove, RemoveMany, Touch,
    TouchMany,
};
use redcache_core::{BatchResult, BoxError, Error, Key, LoadError};

use crate::answer::TypedLoaded;
use crate::codec::Codec;
use crate::key::{CacheKey, Name};
use crate::view::View;
use crate::view::generation::first_error;
use crate::view::loads::Loads;

impl<K, V, C> View<K, V, C>
where
    K: CacheKey + ?Sized,
    V: Send + Sync + 'static,
    C: Codec<V>,
{
    pub(crate) async fn insert<Q>(&self, key: &Q, value: &V) -> Result<(), Error>
    where
        K: Borrow<Q>,
        Q: CacheKey + ?Sized,
    {
        let (names, mut write) = self.begin_write().await?;
        let name = names.of(key);
        let encoded = self.space().encode(&name, value)?;
        self.check_write(&mut write, &[&name]).await?;
        self.face().run(Insert::new(&name, encoded, self.space().settings.ttl())).await?;
        first_error(self.end_write(write, &[name]).await?)
    }

    pub(crate) async fn insert_many<Q: Borrow<K>, B: Borrow<V>>(
        &self,
        entries: impl IntoIterator<Item = (Q, B)>,
    ) -> BatchResult<()> {
        let (names, mut write) = self.begin_write().await?;
        let encode = |(key, value): (Q, B)| {
            let name = names.of(key.borrow());
            let encoded = self.space().encode(&name, value.borrow())?;
            Ok::<_, Error>((name, encoded))
        };
        let entries = entries.into_iter().map(encode).collect::<Result<Vec<_>, _>>()?;
        let names: Vec<_> = entries.iter().map(|(name, _)| name.clone()).collect();
        self.check_write(&mut write, &names).await?;
        let request = InsertMany::new(entries, self.space().settings.ttl());
        let written = self.face().run(request).await?;
        first_error(self.end_write(write, &names).await?)?;
        Ok(written)
    }

    pub(crate) async fn insert_with<Q, L, Fut, T, E>(
        &self,
        key: &Q,
        loader: L,
    ) -> Result<bool, LoadError<E>>
    where
        K: Borrow<Q>,
        Q: CacheKey + ?Sized,
        L: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        T: Into<TypedLoaded<V>>,
        E: Into<BoxError> + 'static,
    {
        let (names, mut write) = self.begin_write().await?;
        write.check()?;
        let name = Key::copy_from(&names.of(key));
        let loads = Loads::new(self.space());
        let mut loader = Some(loader);
        let run = |_| {
            let (loading, name, loads) = (loader.take()?(), &name, &loads);
            Some(async move {
                let loaded = loading.await.map(|loaded| vec![(name.clone(), loaded.into())]);
                loads.admit(loaded, |key| Some(key.clone())).only(name.as_bytes())
            })
        };
        let request = InsertWith::new(name.as_bytes(), self.space().settings.ttl);
        let is_stored = self.face().run_with(request, run).await?;
        first_error(self.end_write(write, &[name.as_bytes()]).await?)?;
        Ok(is_stored)
    }

    pub(crate) async fn insert_many_with<Q, L, Fut, M, T, E>(
        &self,
        keys: impl IntoIterator<Item = Q>,
        loader: L,
    ) -> BatchResult<bool, LoadError<E>>
    where
        K: Clone + Sized,
        Q: Borrow<K>,
        L: FnOnce(Vec<K>) -> Fut,
        Fut: Future<Output = Result<M, E>>,
        M: IntoIterator<Item = (K, T)>,
        T: Into<TypedLoaded<V>>,
        E: Into<BoxError> + 'static,
    {
        let (of_view, mut write) = self.begin_write().await?;
        write.check()?;
        let of_view = &of_view;
        let (mut names, mut keys_by_name) = (Vec::new(), BTreeMap::new());
        for key in keys {
            let name = Key::copy_from(&of_view.of(key.borrow()));
            keys_by_name.insert(name.clone(), key.borrow().clone());
            names.push(name);
        }
        let loads = Loads::new(self.space());
        let mut loader = Some(loader);
        let run = |asked: Vec<Key>| {
            let keys = asked.iter().filter_map(|name| keys_by_name.get(name).cloned()).collect();
            let (loading, loads) = (loader.take()?(keys), &loads);
            Some(async move {
                let loaded = loading.await.map(|loaded| of_view.loaded(loaded));
                loads.admit(loaded, |key| Some(key.clone()))
            })
        };
        let request = InsertManyWith::new(names.iter().cloned(), self.space().settings.ttl);
        let written = self.face().run_with(request, run).await?;
        let names: Vec<_> = names.iter().map(Key::as_bytes).collect();
        first_error(self.end_write(write, &names).await?)?;
        Ok(written.into_iter().map(|result| result.map_err(LoadError::from)).collect())
    }

    pub(crate) async fn remove<Q>(&self, key: &Q) -> Result<bool, Error>
    where
        K: Borrow<Q>,
        Q: CacheKey + ?Sized,
    {
        let (names, mut write) = self.begin_write().await?;
        let name = names.of(key);
        self.check_write(&mut write, &[&name]).await?;
        let removed = self.face().run(Remove::new(&name)).await?;
        let newer = self.end_write(write, &[name]).await?;
        newer.and_then(|mut newer| newer.pop()).unwrap_or(Ok(removed))
    }

    pub(crate) async fn remove_many<Q: Borrow<K>>(
        &self,
        keys: impl IntoIterator<Item = Q>,
    ) -> BatchResult<bool> {
        let (names, mut write) = self.begin_write().await?;
        let names: Vec<_> = keys.into_iter().map(|key| names.of(key.borrow())).collect();
        self.check_write(&mut write, &names).await?;
        let removed = self.face().run(RemoveMany::new(&names)).await?;
        Ok(self.end_write(write, &names).await?.unwrap_or(removed))
    }

    pub(crate) async fn change<Q, L, Fut, T, E>(
        &self,
        keys: impl IntoIterator<Item = Q>,
        commit: L,
    ) -> Result<T, LoadError<E>>
    where
        Q: Borrow<K>,
        L: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: Into<BoxError> + 'static,
    {
        let (committed, mut commit) = (Committed::new(), Some(commit));
        let run = |_| {
            let (committing, committed) = (commit.take()?(), &committed);
            Some(async move { committed.keep(committing.await) })
        };
        let (names, mut write) = self.begin_write().await?;
        write.check()?;
        let names: Vec<_> = keys.into_iter().map(|key| names.of(key.borrow())).collect();
        let mut ended = self.face().run_with(Change::new(&names), run).await;
        if ended.is_ok() {
            ended = self.end_write(write, &names).await.and_then(first_error).map_err(Into::into);
        }
        committed.finish(ended)
    }

    pub(crate) async fn touch<Q>(&self, key: &Q) -> Result<bool, Error>
    where
        K: Borrow<Q>,
        Q: CacheKey + ?Sized,
    {
        let ttl = self.space().settings.ttl();
        self.face().run(Touch::new(&self.names().await?.of(key), ttl)).await
    }

    pub(crate) async fn touch_many<Q: Borrow<K>>(
        &self,
        keys: impl IntoIterator<Item = Q>,
    ) -> BatchResult<bool> {
        let ttl = self.space().settings.ttl();
        self.face().run(TouchMany::new(self.names_of(keys).await?, ttl)).await
    }

    async fn names_of<Q: Borrow<K>>(
        &self,
        keys: impl IntoIterator<Item = Q>,
    ) -> Result<Vec<Name>, Error> {
        let names = self.names().await?;
        Ok(keys.into_iter().map(|key| names.of(key.borrow())).collect())
    }
}
