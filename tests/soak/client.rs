//! The cache of any adapter behind async calls; those of the blocking one block.

use std::future::{Future, ready};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redcache_driver::{Answer, BatchResult, Error, Key, LoadError, Loaded, RefreshOptions};

/// The time that values live.
pub(crate) const TTL: Duration = Duration::from_secs(8);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Adapter {
    Tokio,
    Smol,
    AsyncStd,
    Blocking,
}

impl Adapter {
    pub(crate) const ALL: [Self; 4] = [Self::Tokio, Self::Smol, Self::AsyncStd, Self::Blocking];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Tokio => "tokio",
            Self::Smol => "smol",
            Self::AsyncStd => "async-std",
            Self::Blocking => "blocking",
        }
    }

    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|adapter| adapter.name() == name);
        found.ok_or_else(|| format!("there is no adapter `{name}`"))
    }
}

/// A load of one key that has been begun.
pub(crate) type Load = Result<Loaded, String>;
/// A load of several keys that has been begun.
pub(crate) type LoadMany = Result<Vec<(Key, Loaded)>, String>;

/// The calls of every adapter.
pub(crate) trait Client: Clone + Send + Sync + 'static {
    /// Whether the future of a call can be dropped before it ends.
    const CANCELS: bool;

    fn get(&self, key: &str) -> impl Future<Output = Result<Answer, Error>> + Send;
    fn get_many(&self, keys: &[String]) -> impl Future<Output = BatchResult<Answer>> + Send;
    fn get_with(
        &self,
        key: &str,
        load: impl Future<Output = Load> + Send,
    ) -> impl Future<Output = Result<Answer, LoadError<String>>> + Send;
    fn get_many_with<F: Future<Output = LoadMany> + Send>(
        &self,
        keys: &[String],
        load: impl FnMut(Vec<Key>) -> F + Send,
    ) -> impl Future<Output = BatchResult<Answer, LoadError<String>>> + Send;
    fn get_refreshing(
        &self,
        key: &str,
    ) -> impl Future<Output = Result<Answer, LoadError<String>>> + Send;
    fn insert(&self, key: &str, value: Bytes) -> impl Future<Output = Result<(), Error>> + Send;
    fn insert_with(
        &self,
        key: &str,
        load: impl Future<Output = Load> + Send,
    ) -> impl Future<Output = Result<bool, LoadError<String>>> + Send;
    fn remove(&self, key: &str) -> impl Future<Output = Result<bool, Error>> + Send;
    fn touch(&self, key: &str) -> impl Future<Output = Result<bool, Error>> + Send;
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// The loader of values that are refreshed in the background.
pub(crate) type Refresher = Arc<dyn Fn(Vec<Key>) -> LoadMany + Send + Sync>;

#[derive(Clone)]
pub(crate) struct AsyncClient {
    cache: redcache_driver::Cache,
    refreshing: redcache_driver::RefreshingCache<String>,
}

impl AsyncClient {
    pub(crate) fn open(cache: redcache_driver::Cache, refresher: Refresher) -> Result<Self, Error> {
        let load = move |keys| ready(refresher(keys));
        let refreshing = cache.refreshing(options(), load)?;
        Ok(Self { cache, refreshing })
    }
}

#[derive(Clone)]
pub(crate) struct BlockingClient {
    cache: redcache_blocking::Cache,
    refreshing: redcache_blocking::RefreshingCache<String>,
}

impl BlockingClient {
    pub(crate) fn open(
        cache: redcache_blocking::Cache,
        refresher: Refresher,
    ) -> Result<Self, Error> {
        let refreshing = cache.refreshing(options(), move |keys| refresher(keys))?;
        Ok(Self { cache, refreshing })
    }
}

fn options() -> RefreshOptions {
    RefreshOptions::new(TTL).refresh_at_fraction(0.3)
}

impl Client for AsyncClient {
    const CANCELS: bool = true;

    async fn get(&self, key: &str) -> Result<Answer, Error> {
        self.cache.get(key).await
    }

    async fn get_many(&self, keys: &[String]) -> BatchResult<Answer> {
        self.cache.get_many(keys).await
    }

    async fn get_with(
        &self,
        key: &str,
        load: impl Future<Output = Load> + Send,
    ) -> Result<Answer, LoadError<String>> {
        self.cache.get_with(key, TTL, || load).await
    }

    async fn get_many_with<F: Future<Output = LoadMany> + Send>(
        &self,
        keys: &[String],
        load: impl FnMut(Vec<Key>) -> F + Send,
    ) -> BatchResult<Answer, LoadError<String>> {
        self.cache.get_many_with(keys, TTL, load).await
    }

    async fn get_refreshing(&self, key: &str) -> Result<Answer, LoadError<String>> {
        self.refreshing.get(key).await
    }

    async fn insert(&self, key: &str, value: Bytes) -> Result<(), Error> {
        self.cache.insert(key, value, TTL).await
    }

    async fn insert_with(
        &self,
        key: &str,
        load: impl Future<Output = Load> + Send,
    ) -> Result<bool, LoadError<String>> {
        self.cache.insert_with(key, TTL, || load).await
    }

    async fn remove(&self, key: &str) -> Result<bool, Error> {
        self.cache.remove(key).await
    }

    async fn touch(&self, key: &str) -> Result<bool, Error> {
        self.cache.touch(key, TTL).await
    }

    async fn close(&self) {
        self.cache.close().await;
    }
}

impl Client for BlockingClient {
    const CANCELS: bool = false;

    async fn get(&self, key: &str) -> Result<Answer, Error> {
        self.cache.get(key)
    }

    async fn get_many(&self, keys: &[String]) -> BatchResult<Answer> {
        self.cache.get_many(keys)
    }

    async fn get_with(
        &self,
        key: &str,
        load: impl Future<Output = Load> + Send,
    ) -> Result<Answer, LoadError<String>> {
        self.cache.get_with(key, TTL, || smol::block_on(load))
    }

    async fn get_many_with<F: Future<Output = LoadMany> + Send>(
        &self,
        keys: &[String],
        mut load: impl FnMut(Vec<Key>) -> F + Send,
    ) -> BatchResult<Answer, LoadError<String>> {
        self.cache.get_many_with(keys, TTL, |keys| smol::block_on(load(keys)))
    }

    async fn get_refreshing(&self, key: &str) -> Result<Answer, LoadError<String>> {
        self.refreshing.get(key)
    }

    async fn insert(&self, key: &str, value: Bytes) -> Result<(), Error> {
        self.cache.insert(key, value, TTL)
    }

    async fn insert_with(
        &self,
        key: &str,
        load: impl Future<Output = Load> + Send,
    ) -> Result<bool, LoadError<String>> {
        self.cache.insert_with(key, TTL, || smol::block_on(load))
    }

    async fn remove(&self, key: &str) -> Result<bool, Error> {
        self.cache.remove(key)
    }

    async fn touch(&self, key: &str) -> Result<bool, Error> {
        self.cache.touch(key, TTL)
    }

    async fn close(&self) {
        self.cache.close();
    }
}
