//! The blocking calls of typed views.

use std::borrow::Borrow;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use redcache_blocking::Cache;
use redcache_core::{BatchResult, BoxError, Error, LoadError};

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
    /// # Errors
    ///
    /// The errors of [`Cache::get`](crate::blocking::Cache::get), and
    /// [`ErrorKind::Undecodable`](crate::ErrorKind::Undecodable).
    pub fn get<Q>(&self, key: &Q) -> Result<TypedAnswer<V>, Error>
    where
        K: Borrow<Q>,
        Q: CacheKey + ?Sized,
    {
        ready(self.view.begun().get(key))
    }

    /// Read several keys, in one pipeline.
    ///
    /// There is one result per key, in the order of the keys.
    ///
    /// # Errors
    ///
    /// The errors of [`Cache::get_many`](crate::blocking::Cache::get_many). An inner error may be
    /// [`ErrorKind::Undecodable`](crate::ErrorKind::Undecodable).
    pub fn get_many<Q: Borrow<K>>(
        &self,
        keys: impl IntoIterator<Item = Q>,
    ) -> BatchResult<TypedAnswer<V>> {
        ready(self.view.begun().get_many(keys))
    }

    /// Read a key. On a miss, run `loader` and store its value for the TTL of the view.
    ///
    /// The loader runs once for all concurrent callers, in all processes. It may return a `V`, an
    /// `Option<V>` or a [`TypedLoaded`]. Its caller gets the loaded object itself, which is not
    /// decoded again.
    ///
    /// # Errors
    ///
    /// The errors of [`Cache::get_with`](crate::blocking::Cache::get_with), and
    /// [`ErrorKind::Unencodable`](crate::ErrorKind::Unencodable).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use redcache::blocking::TypedCache;
    /// use redcache::{Json, Typed};
    ///
    /// # #[derive(serde::Serialize, serde::Deserialize)]
    /// # struct User { name: String }
    /// # fn select_user(_: u64) -> std::io::Result<Option<User>> { Ok(None) }
    /// # fn example(cache: redcache::blocking::Cache) -> Result<(), redcache::BoxError> {
    /// let users: TypedCache<u64, User> =
    ///     cache.typed("user", Json).ttl(Duration::from_secs(60)).build()?;
    /// if let Some(user) = users.get_with(&42, || select_user(42))?.value {
    ///     println!("{}", user.name);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_with<Q, T, E>(
        &self,
        key: &Q,
        loader: impl FnOnce() -> Result<T, E>,
    ) -> Result<TypedAnswer<V>, LoadError<E>>
    where
        K: Borrow<Q>,
        Q: CacheKey + ?Sized,
        T: Into<TypedLoaded<V>>,
        E: Into<BoxError> + 'static,
    {
        ready(self.view.begun().get_with(key, || std::future::ready(loader())))
    }

    /// Read several keys. Run `loader` for the missing ones, and store its values for the TTL of
    /// the view.
    ///
    /// The loader gets keys, and returns keys with values. A key that it leaves out is stored as
    /// "not found". There is one result per key, in the order of the keys.
    ///
    /// # Errors
    ///
    /// The errors of [`Cache::get_many_with`](crate::blocking::Cache::get_many_with), and
    /// [`ErrorKind::Unencodable`](crate::ErrorKind::Unencodable).
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use redcache::blocking::TypedCache;
    /// # fn select_names(_: &[u64]) -> std::io::Result<Vec<(u64, String)>> { Ok(Vec::new()) }
    /// # fn example(names: TypedCache<u64, String>) -> Result<(), redcache::BoxError> {
    /// let ids = [1, 2, 3];
    /// for answer in names.get_many_with(ids, |ids| select_names(&ids))? {
    ///     println!("{:?}", answer?.value);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn get_many_with<Q, M, T, E>(
        &self,
        keys: impl IntoIterator<Item = Q>,
        mut loader: impl FnMut(Vec<K>) -> Result<M, E>,
    ) -> BatchResult<TypedAnswer<V>, LoadError<E>>
    where
        K: Clone + Sized,
        Q: Borrow<K>,
        M: IntoIterator<Item = (K, T)>,
        T: Into<TypedLoaded<V>>,
        E: Into<BoxError> + 'static,
    {
        ready(self.view.begun().get_many_with(keys, |keys| std::future::ready(loader(keys))))
    }

    /// Write a value for the TTL of the view. It replaces any other content of the key.
    ///
    /// # Errors
    ///
    /// The errors of [`Cache::insert`](crate::blocking::Cache::insert), and
    /// [`ErrorKind::Unencodable`](crate::ErrorKind::Unencodable).
    pub fn insert<Q>(&self, key: &Q, value: &V) -> Result<(), Error>
    where
        K: Borrow<Q>,
        Q: CacheKey + ?Sized,
    {
        ready(self.view.begun().insert(key, value))
    }

    /// Write several values in one pipeline.
    ///
    /// # Errors
    ///
    /// The errors of [`Cache::insert_many`](crate::blocking::Cache::insert_many). If a value cannot
    /// be encoded, nothing is written.
    pub fn insert_many<Q: Borrow<K>, B: Borrow<V>>(
        &self,
        entries: impl IntoIterator<Item = (Q, B)>,
    ) -> BatchResult<()> {
        ready(self.view.begun().insert_many(entries))
    }

    /// Lock a key, run `loader`, and write its value. Return `true` if there was a value to write.
    ///
    /// # Errors
    ///
    /// The errors of [`Cache::insert_with`](crate::blocking::Cache::insert_with), and
    /// [`ErrorKind::Unencodable`](crate::ErrorKind::Unencodable).
    pub fn insert_with<Q, T, E>(
        &self,
        key: &Q,
        loader: impl FnOnce() -> Result<T, E>,
    ) -> Result<bool, LoadError<E>>
    where
        K: Borrow<Q>,
        Q: CacheKey + ?Sized,
        T: Into<TypedLoaded<V>>,
        E: Into<BoxError> + 'static,
    {
        ready(self.view.begun().insert_with(key, || std::future::ready(loader())))
    }

    /// Lock several keys, run `loader` once for all of them, and write its values.
    ///
    /// # Errors
    ///
    /// The errors of [`Cache::insert_many_with`](crate::blocking::Cache::insert_many_with), and
    /// [`ErrorKind::Unencodable`](crate::ErrorKind::Unencodable).
    pub fn insert_many_with<Q, M, T, E>(
        &self,
        keys: impl IntoIterator<Item = Q>,
        loader: impl FnOnce(Vec<K>) -> Result<M, E>,
    ) -> BatchResult<bool, LoadError<E>>
    where
        K: Clone + Sized,
        Q: Borrow<K>,
        M: IntoIterator<Item = (K, T)>,
        T: Into<TypedLoaded<V>>,
        E: Into<BoxError> + 'static,
    {
        ready(self.view.begun().insert_many_with(keys, |keys| std::future::ready(loader(keys))))
    }

    /// Delete a key in Redis and in every near cache. Return `true` if Redis had it.
    ///
    /// # Errors
    ///
    /// The errors of [`Cache::remove`](crate::blocking::Cache::remove).
    pub fn remove<Q>(&self, key: &Q) -> Result<bool, Error>
    where
        K: Borrow<Q>,
        Q: CacheKey + ?Sized,
    {
        ready(self.view.begun().remove(key))
    }

    /// Delete several keys in one pipeline.
    ///
    /// # Errors
    ///
    /// The errors of [`Cache::remove_many`](crate::blocking::Cache::remove_many).
    pub fn remove_many<Q: Borrow<K>>(
        &self,
        keys: impl IntoIterator<Item = Q>,
    ) -> BatchResult<bool> {
        ready(self.view.begun().remove_many(keys))
    }

    /// Lock keys, run `commit`, which changes the data elsewhere, and remove the keys. Return the
    /// result of `commit`.
    ///
    /// # Errors
    ///
    /// The errors of [`Cache::change`](crate::blocking::Cache::change).
    pub fn change<Q: Borrow<K>, T, E: Into<BoxError> + 'static>(
        &self,
        keys: impl IntoIterator<Item = Q>,
        commit: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, LoadError<E>> {
        ready(self.view.begun().change(keys, || std::future::ready(commit())))
    }

    /// Set the TTL of a value to that of the view. Return `true` if there was a value.
    ///
    /// # Errors
    ///
    /// The errors of [`Cache::touch`](crate::blocking::Cache::touch).
    pub fn touch<Q>(&self, key: &Q) -> Result<bool, Error>
    where
        K: Borrow<Q>,
        Q: CacheKey + ?Sized,
    {
        ready(self.view.begun().touch(key))
    }

    /// Set the TTLs of several values to that of the view, in one pipeline.
    ///
    /// # Errors
    ///
    /// The errors of [`Cache::touch_many`](crate::blocking::Cache::touch_many).
    pub fn touch_many<Q: Borrow<K>>(&self, keys: impl IntoIterator<Item = Q>) -> BatchResult<bool> {
        ready(self.view.begun().touch_many(keys))
    }

    /// Remove all keys of the namespace, in all processes, by one write.
    ///
    /// The view must be [`clearable`](crate::TypedCacheBuilder::clearable). When the call has
    /// returned, this process no longer returns an old value, and the others return it until
    /// Redis's invalidation reaches them. A load in progress is stored under an old name, which no
    /// later call reads. The old values stay in Redis until their TTL. A failover that loses the
    /// write brings them back, like the key of a lost `remove`.
    ///
    /// # Errors
    ///
    /// The errors of [`Cache::insert`](crate::blocking::Cache::insert), and
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the view is not clearable.
    pub fn clear(&self) -> Result<(), Error> {
        ready(self.view.begun().clear())
    }
}

/// Return the output of a call of the blocking face. Its future is ready at the first poll.
pub(crate) fn ready<F: Future>(call: F) -> F::Output {
    match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("the blocking face returns when its call is over"),
    }
}
