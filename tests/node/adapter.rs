//! The caches of all adapters behind one trait.

use std::future::{Future, ready};
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use redcache_driver::{Answer, BatchResult, Error, Key, LoadError, Runtime, Stats};

use crate::commit::Commit;
use crate::load::Load;

/// The stack size of a thread that makes one call.
const STACK: usize = 512 << 10;

/// One outcome for each key of a batch.
pub(crate) type PerKey = BatchResult<Answer, LoadError<String>>;

/// A cache whose calls run as tasks of a runtime, or as threads.
pub(crate) trait Adapter: Clone + Send + Sync + 'static {
    /// The limit of calls in flight.
    const CALLS_MAX: usize;
    /// Whether the future of a call can be dropped.
    const CANCELS: bool;

    /// Start `call` without waiting for it.
    fn start(&self, call: impl Future<Output = ()> + Send + 'static) -> io::Result<()>;
    fn get(&self, key: &str) -> impl Future<Output = Result<Answer, Error>> + Send;
    fn get_with(
        &self,
        key: &str,
        ttl: Duration,
        load: &Load,
    ) -> impl Future<Output = Result<Answer, LoadError<String>>> + Send;
    fn get_many_with(
        &self,
        keys: &[String],
        ttl: Duration,
        load: &Load,
    ) -> impl Future<Output = PerKey> + Send;
    fn insert_with(
        &self,
        key: &str,
        ttl: Duration,
        load: &Load,
    ) -> impl Future<Output = Result<bool, LoadError<String>>> + Send;
    fn insert(
        &self,
        key: &str,
        value: Bytes,
        ttl: Duration,
    ) -> impl Future<Output = Result<(), Error>> + Send;
    fn remove(&self, key: &str) -> impl Future<Output = Result<bool, Error>> + Send;
    fn touch(&self, key: &str, ttl: Duration) -> impl Future<Output = Result<bool, Error>> + Send;
    fn change(
        &self,
        keys: &[String],
        commit: &Commit,
    ) -> impl Future<Output = Result<(), LoadError<String>>> + Send;
    fn stats(&self) -> Stats;
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// A cache with its runtime, for the tasks of calls and the sleep of loaders.
#[derive(Clone)]
pub(crate) struct Async<R> {
    pub(crate) cache: redcache_driver::Cache,
    pub(crate) runtime: R,
}

/// A cache whose calls each block their own thread.
#[derive(Clone)]
pub(crate) struct Blocking {
    pub(crate) cache: redcache_blocking::Cache,
}

/// Define the calls without a loader; `$end` turns a result into a future.
macro_rules! plain_calls {
    ($end:expr) => {
        fn get(&self, key: &str) -> impl Future<Output = Result<Answer, Error>> + Send {
            $end(self.cache.get(key))
        }

        fn insert(
            &self,
            key: &str,
            value: Bytes,
            ttl: Duration,
        ) -> impl Future<Output = Result<(), Error>> + Send {
            $end(self.cache.insert(key, value, ttl))
        }

        fn remove(&self, key: &str) -> impl Future<Output = Result<bool, Error>> + Send {
            $end(self.cache.remove(key))
        }

        fn touch(
            &self,
            key: &str,
            ttl: Duration,
        ) -> impl Future<Output = Result<bool, Error>> + Send {
            $end(self.cache.touch(key, ttl))
        }

        fn stats(&self) -> Stats {
            self.cache.stats()
        }

        fn close(&self) -> impl Future<Output = ()> + Send {
            $end(self.cache.close())
        }
    };
}

impl<R: Runtime + Clone> Adapter for Async<R> {
    const CALLS_MAX: usize = 100_000;
    const CANCELS: bool = true;

    fn start(&self, call: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        self.runtime.spawn(call);
        Ok(())
    }

    async fn get_with(
        &self,
        key: &str,
        ttl: Duration,
        load: &Load,
    ) -> Result<Answer, LoadError<String>> {
        let loader = || async {
            self.runtime.sleep_until(load.begin()).await;
            load.one()
        };
        self.cache.get_with(key, ttl, loader).await
    }

    async fn get_many_with(&self, keys: &[String], ttl: Duration, load: &Load) -> PerKey {
        let loader = |asked: Vec<Key>| async move {
            self.runtime.sleep_until(load.begin()).await;
            load.many(keys, &asked)
        };
        self.cache.get_many_with(keys, ttl, loader).await
    }

    async fn insert_with(
        &self,
        key: &str,
        ttl: Duration,
        load: &Load,
    ) -> Result<bool, LoadError<String>> {
        let loader = || async {
            self.runtime.sleep_until(load.begin()).await;
            load.one()
        };
        self.cache.insert_with(key, ttl, loader).await
    }

    async fn change(&self, keys: &[String], commit: &Commit) -> Result<(), LoadError<String>> {
        let pause = || self.runtime.sleep_until(Instant::now() + commit.pause);
        let commit = || async {
            pause().await;
            commit.write()?;
            pause().await;
            Ok(())
        };
        self.cache.change(keys, commit).await
    }

    plain_calls!(std::convert::identity);
}

impl Adapter for Blocking {
    const CALLS_MAX: usize = 2_000;
    const CANCELS: bool = false;

    fn start(&self, call: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        // The future is ready at its first poll, which blocks.
        thread::Builder::new().stack_size(STACK).spawn(|| smol::block_on(call)).map(|_| ())
    }

    fn get_with(
        &self,
        key: &str,
        ttl: Duration,
        load: &Load,
    ) -> impl Future<Output = Result<Answer, LoadError<String>>> + Send {
        ready(self.cache.get_with(key, ttl, || {
            sleep_until(load.begin());
            load.one()
        }))
    }

    fn get_many_with(
        &self,
        keys: &[String],
        ttl: Duration,
        load: &Load,
    ) -> impl Future<Output = PerKey> + Send {
        ready(self.cache.get_many_with(keys, ttl, |asked| {
            sleep_until(load.begin());
            load.many(keys, &asked)
        }))
    }

    fn insert_with(
        &self,
        key: &str,
        ttl: Duration,
        load: &Load,
    ) -> impl Future<Output = Result<bool, LoadError<String>>> + Send {
        ready(self.cache.insert_with(key, ttl, || {
            sleep_until(load.begin());
            load.one()
        }))
    }

    fn change(
        &self,
        keys: &[String],
        commit: &Commit,
    ) -> impl Future<Output = Result<(), LoadError<String>>> + Send {
        ready(self.cache.change(keys, || {
            thread::sleep(commit.pause);
            commit.write()?;
            thread::sleep(commit.pause);
            Ok(())
        }))
    }

    plain_calls!(ready);
}

fn sleep_until(at: Instant) {
    thread::sleep(at.saturating_duration_since(Instant::now()));
}
