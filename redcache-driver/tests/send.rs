//! The futures of all calls can be spawned, with loaders that borrow.

use std::time::Duration;

use redcache_driver::{BoxError, Cache, Key, RefreshingCache};

const TTL: Duration = Duration::from_secs(60);

/// A repository of an application that reads through a cache.
#[derive(Clone)]
struct Repository {
    cache: Cache,
    users: RefreshingCache<BoxError>,
    prefix: String,
}

impl Repository {
    async fn query(&self, key: &str) -> Result<String, BoxError> {
        smol::future::yield_now().await;
        Ok(format!("{}{key}", self.prefix))
    }

    async fn query_many(&self, keys: Vec<Key>) -> Result<Vec<(Key, String)>, BoxError> {
        smol::future::yield_now().await;
        let value = |key: Key| (key, self.prefix.clone());
        Ok(keys.into_iter().map(value).collect())
    }

    async fn call_all(&self, key: &str, keys: &[String]) -> Result<(), redcache_driver::Error> {
        self.cache.get(key).await?;
        self.cache.get_many(keys).await?;
        self.cache.get_with(key, TTL, || self.query(key)).await?;
        self.cache.get_many_with(keys, TTL, |keys| self.query_many(keys)).await?;
        self.cache.insert(key, self.prefix.clone(), TTL).await?;
        self.cache.insert_many(keys.iter().map(|key| (key, key.clone())), TTL).await?;
        self.cache.insert_with(key, TTL, || self.query(key)).await?;
        self.cache.insert_many_with(keys, TTL, |keys| self.query_many(keys)).await?;
        self.cache.remove(key).await?;
        self.cache.remove_many(keys.iter().map(|key| key.as_str())).await?;
        self.cache.touch(key, TTL).await?;
        self.cache.touch_many(keys, TTL).await?;
        self.users.get(key).await?;
        self.users.get_many(keys).await?;
        self.cache.ready().await?;
        self.cache.close().await;
        Ok(())
    }
}

/// Compiles if every future may move between threads.
#[test]
fn every_call_with_a_loader_that_borrows_may_be_spawned() {
    fn spawn<T>(_: impl FnOnce(Repository) -> T)
    where
        T: Future + Send + 'static,
    {
    }
    spawn(
        |repository| async move { repository.call_all("a", &["b".to_owned()]).await.map_err(drop) },
    );
    spawn(|repository| async move {
        let load = || repository.query("a");
        repository.cache.get_with("a", TTL, load).await.map_err(drop)
    });
    spawn(|repository| async move {
        let load = async |keys: Vec<Key>| repository.query_many(keys).await;
        repository.cache.get_many_with(["a"], TTL, load).await.map(drop).map_err(drop)
    });
    spawn(|repository| async move {
        let load = async |keys: Vec<Key>| repository.query_many(keys).await;
        repository.cache.insert_many_with(["a"], TTL, load).await.map(drop).map_err(drop)
    });
}
