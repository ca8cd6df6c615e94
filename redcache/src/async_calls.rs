//! The async calls of typed views.

use std::borrow::Borrow;
use std::future::Future;

use redcache_core::{BatchResult, BoxError, Error, LoadError};
use redcache_driver::Cache;

use crate::answer::{TypedAnswer, TypedLoaded};
use crate::codec::Codec;
use crate::key::CacheKey;
use crate::typed::TypedCacheOn;

impl<K, V, C> TypedCacheOn<Cache, K, V, C>
where
    K: CacheKey + ?Sized,
    V: Send + Sync + 'static,
    C: Codec<V>,
{
    /// Read a key from the near cache, or else from Redis.
    ///
    /// The call loads nothing. A key that another caller is loading counts as missing.
    ///
    /// # Cancellation
    ///
    /// As for [`Cache::get`](crate::Cache::get).
    ///
    /// # Errors
    ///
    /// The errors of [`Cache::get`](crate::Cache::get), and
    /// [`ErrorKind::Undecodable`](crate::ErrorKind::Undecodable).
    pub async fn get<Q>(&self, key: &Q) -> Result<TypedAnswer<V>, Error>
    where
        K: Borrow<Q>,
        Q: CacheKey + ?Sized,
    {
        self.view.begun().get(key).await
    }

    /// Read several keys, in one pipeline.
    ///
    /// There is one result per key, in the order of the keys.
    ///
    /// # Cancellation
    ///
    /// As for [`Cache::get_many`](crate::Cache::get_many).
    ///
    /// # Errors
    ///
    /// The errors of [`Cache::get_many`](crate::Cache::get_many). An inner error may be
    /// [`ErrorKind::Undecodable`](crate::ErrorKind::Undecodable).
    pub async fn get_many<Q: Borrow<K>>(
        &self,
        keys: impl IntoIterator<Item = Q>,
    ) -> BatchResult<TypedAnswer<V>> {
        self.view.begun().get_many(keys).await
    }

    /// Read a key. On a miss, run `loader` and store its value for the TTL of the view.
    ///
    /// The loader runs once for all concurrent callers, in all processes. It may return a `V`, an
    /// `Option<V>` or a [`TypedLoaded`]. Its caller gets the loaded object itself, which is not
    /// decoded again.
    ///
    /// # Cancellation
    ///
    /// As for [`Cache::get_with`](crate::Cache::get_with).
    ///
    /// # Errors
    ///
    /// The errors of [`Cache::get_with`](crate::Cache::get_with), and
    /// [`ErrorKind::Unencodable`](crate::ErrorKind::Unencodable).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use redcache::{Json, Typed, TypedCache};
    ///
    /// # #[derive(serde::Serialize, serde::Deserialize)]
    /// # struct User { name: String }
    /// # async fn select_user(_: u64) -> std::io::Result<Option<User>> { Ok(None) }
    /// # async fn example(cache: redcache::Cache) -> Result<(), redcache::BoxError> {
    /// let users: TypedCache<u64, User> =
    ///     cache.typed("user", Json).ttl(Duration::from_secs(60)).build()?;
    /// if let Some(user) = users.get_with(&42, || select_user(42)).await?.value {
    ///     println!("{}", user.name);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_with<Q, L, Fut, T, E>(
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
        self.view.begun().get_with(key, loader).await
    }

    /// Read several keys. Run `loader` for the missing ones, and store its values for the TTL of
    /// the view.
    ///
    /// The loader gets keys, and returns keys with values. A key that it leaves out is stored as
    /// "not found". There is one result per key, in the order of the keys.
    ///
    /// # Cancellation
    ///
    /// As for [`Cache::get_many_with`](crate::Cache::get_many_with).
    ///
    /// # Errors
    ///
    /// The errors of [`Cache::get_many_with`](crate::Cache::get_many_with), and
    /// [`ErrorKind::Unencodable`](crate::ErrorKind::Unencodable).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use redcache::TypedCache;
    /// # async fn select_names(_: &[u64]) -> std::io::Result<Vec<(u64, String)>> { Ok(Vec::new()) }
    /// # async fn example(names: TypedCache<u64, String>) -> Result<(), redcache::BoxError> {
    /// let ids = [1, 2, 3];
    /// for answer in names.get_many_with(ids, async |ids| select_names(&ids).await).await? {
    ///     println!("{:?}", answer?.value);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn get_many_with<Q, L, Fut, M, T, E>(
        &self,
        keys: impl IntoIterator<Item = Q>,
        loader: L,
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
        self.view.begun().get_many_with(keys, loader).await
    }

    /// Write a value for the TTL of the view. It replaces any other content of the key.
    ///
    /// # Cancellation
    ///
    /// As for [`Cache::insert`](crate::Cache::insert).
    ///
    /// # Errors
    ///
    /// The errors of [`Cache::insert`](crate::Cache::insert), and
    /// [`ErrorKind::Unencodable`](crate::ErrorKind::Unencodable).
    pub async fn insert<Q>(&self, key: &Q, value: &V) -> Result<(), Error>
    where
        K: Borrow<Q>,
        Q: CacheKey + ?Sized,
    {
        self.view.begun().insert(key, value).await
    }

    /// Write several values in one pipeline.
    ///
    /// # Cancellation
    ///
    /// As for [`Cache::insert_many`](crate::Cache::insert_many).
    ///
    /// # Errors
    ///
    /// The errors of [`Cache::insert_many`](crate::Cache::insert_many). If a value cannot be
    /// encoded, nothing is written.
    pub async fn insert_many<Q: Borrow<K>, B: Borrow<V>>(
        &self,
        entries: impl IntoIterator<Item = (Q, B)>,
    ) -> BatchResult<()> {
        self.view.begun().insert_many(entries).await
    }

    /// Lock a key, run `loader`, and write its value. Return `true` if there was a value to write.
    ///
    /// # Cancellation
    ///
    /// As for [`Cache::insert_with`](crate::Cache::insert_with).
    ///
    /// # Errors
    ///
    /// The errors of [`Cache::insert_with`](crate::Cache::insert_with), and
    /// [`ErrorKind::Unencodable`](crate::ErrorKind::Unencodable).
    pub async fn insert_with<Q, L, Fut, T, E>(
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
        self.view.begun().insert_with(key, loader).await
    }

    /// Lock several keys, run `loader` once for all of them, and write its values.
    ///
    /// # Cancellation
    ///
    /// As for [`Cache::insert_many_with`](crate::Cache::insert_many_with).
    ///
    /// # Errors
    ///
    /// The errors of [`Cache::insert_many_with`](crate::Cache::insert_many_with), and
    /// [`ErrorKind::Unencodable`](crate::ErrorKind::Unencodable).
    pub async fn insert_many_with<Q, L, Fut, M, T, E>(
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
        self.view.begun().insert_many_with(keys, loader).await
    }

    /// Delete a key in Redis and in every near cache. Return `true` if Redis had it.
    ///
    /// # Cancellation
    ///
    /// As for [`Cache::remove`](crate::Cache::remove).
    ///
    /// # Errors
    ///
    /// The errors of [`Cache::remove`](crate::Cache::remove).
    pub async fn remove<Q>(&self, key: &Q) -> Result<bool, Error>
    where
        K: Borrow<Q>,
        Q: CacheKey + ?Sized,
    {
        self.view.begun().remove(key).await
    }

    /// Delete several keys in one pipeline.
    ///
    /// # Cancellation
    ///
    /// As for [`Cache::remove_many`](crate::Cache::remove_many).
    ///
    /// # Errors
    ///
    /// The errors of [`Cache::remove_many`](crate::Cache::remove_many).
    pub async fn remove_many<Q: Borrow<K>>(
        &self,
        keys: impl IntoIterator<Item = Q>,
    ) -> BatchResult<bool> {
        self.view.begun().remove_many(keys).await
    }

    /// Lock keys, run `commit`, which changes the data elsewhere, and remove the keys. Return the
    /// result of `commit`.
    ///
    /// # Cancellation
    ///
    /// As for [`Cache::change`](crate::Cache::change).
    ///
    /// # Errors
    ///
    /// The errors of [`Cache::change`](crate::Cache::change).
    pub async fn change<Q, L, Fut, T, E>(
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
        self.view.begun().change(keys, commit).await
    }

    /// Set the TTL of a value to that of the view. Return `true` if there was a value.
    ///
    /// # Cancellation
    ///
    /// As for [`Cache::touch`](crate::Cache::touch).
    ///
    /// # Errors
    ///
    /// The errors of [`Cache::touch`](crate::Cache::touch).
    pub async fn touch<Q>(&self, key: &Q) -> Result<bool, Error>
    where
        K: Borrow<Q>,
        Q: CacheKey + ?Sized,
    {
        self.view.begun().touch(key).await
    }

    /// Set the TTLs of several values to that of the view, in one pipeline.
    ///
    /// # Cancellation
    ///
    /// As for [`Cache::touch_many`](crate::Cache::touch_many).
    ///
    /// # Errors
    ///
    /// The errors of [`Cache::touch_many`](crate::Cache::touch_many).
    pub async fn touch_many<Q: Borrow<K>>(
        &self,
        keys: impl IntoIterator<Item = Q>,
    ) -> BatchResult<bool> {
        self.view.begun().touch_many(keys).await
    }

    /// Remove all keys of the namespace, in all processes, by one write.
    ///
    /// The view must be [`clearable`](crate::TypedCacheBuilder::clearable). When the call has
    /// returned, this process no longer returns an old value, and the others return it until
    /// Redis's invalidation reaches them. A load in progress is stored under an old name, which no
    /// later call reads. The old values stay in Redis until their TTL. A failover that loses the
    /// write brings them back, like the key of a lost `remove`.
    ///
    /// # Cancellation
    ///
    /// As for [`Cache::insert`](crate::Cache::insert).
    ///
    /// # Errors
    ///
    /// The errors of [`Cache::insert`](crate::Cache::insert), and
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the view is not clearable.
    pub async fn clear(&self) -> Result<(), Error> {
        self.view.begun().clear().await
    }
}
