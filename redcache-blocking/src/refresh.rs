//! Registered loaders: calls through them have values refreshed in the background before they expire.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use redcache_core::{
    Answer, Batch, BatchResult, BoxError, CallOptions, Engine, Error, Key, LoadError, LoadOptions,
    Loaded, LoaderId, NearHit, Outcome, RefreshOptions, RefreshPolicy,
};

use crate::cache::Cache;
use crate::call;
use crate::shared::Shared;

type Load<E> = Result<Vec<(Key, Loaded)>, E>;
type Loader<E> = Arc<dyn Fn(Vec<Key>) -> Load<E> + Send + Sync>;
/// A loader whose error type is its own business.
pub(crate) type Refresher = Arc<dyn Fn(Vec<Key>) -> Load<BoxError> + Send + Sync>;

/// A cache together with a loader, which also refreshes values in the background before they expire. Made by
/// [`Cache::refreshing`].
///
/// Handles are cheap to clone. The loader is forgotten with the last of them, and with it what waits to be refreshed.
pub struct RefreshingCache<E> {
    cache: Cache,
    registered: Arc<Registered<E>>,
}

struct Registered<E> {
    shared: Arc<Shared>,
    policy: RefreshPolicy,
    loader: Loader<E>,
}

impl<E> Drop for Registered<E> {
    fn drop(&mut self) {
        let family = self.policy.loader();
        let forgotten = self.shared.step(|state, _| {
            state.engine.unregister_refresh(family);
            state.forget_refresher(family)
        });
        // It may own a handle of this very cache, so it is not dropped under the lock.
        drop(forgotten);
    }
}

impl<E> Clone for RefreshingCache<E> {
    fn clone(&self) -> Self {
        Self { cache: self.cache.clone(), registered: Arc::clone(&self.registered) }
    }
}

impl<E> fmt::Debug for RefreshingCache<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshingCache")
            .field("cache", &self.cache)
            .field("options", &self.registered.policy.options())
            .finish_non_exhaustive()
    }
}

impl<E: Into<BoxError> + 'static> RefreshingCache<E> {
    pub(crate) fn new<L, M, N, T>(
        cache: Cache,
        options: RefreshOptions,
        loader: L,
    ) -> Result<Self, Error>
    where
        L: Fn(Vec<Key>) -> Result<M, E> + Send + Sync + 'static,
        M: IntoIterator<Item = (N, T)>,
        N: Into<Key>,
        T: Into<Loaded>,
    {
        let loader: Loader<E> = Arc::new(move |keys| {
            let entry = |(key, value): (N, T)| (key.into(), value.into());
            loader(keys).map(|found| found.into_iter().map(entry).collect())
        });
        let untyped = Arc::clone(&loader);
        let refresher: Refresher = Arc::new(move |keys| untyped(keys).map_err(Into::into));
        let shared = Arc::clone(cache.shared_arc());
        let policy = shared.step(|state, now| {
            let policy = state.engine.register_refresh(now, options)?;
            state.keep_refresher(policy.loader(), refresher);
            Ok::<_, Error>(policy)
        })?;
        Ok(Self { cache, registered: Arc::new(Registered { shared, policy, loader }) })
    }

    /// Reads a key as [`Cache::get_with`] does, with the registered loader, and has it refreshed when that is due.
    ///
    /// # Errors
    ///
    /// As for [`Cache::get_with`]. What goes wrong with a refresh concerns no caller; the statistics count it.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Answer, LoadError<E>> {
        let key = key.as_ref();
        if let Some(hit) = self.cache.near(key) {
            self.note(key, &hit, Instant::now());
            return Ok(hit.into());
        }
        let mut answers = self.get_many([key])?;
        // There is one answer for each key.
        answers.pop().unwrap_or_else(|| Err(Error::closed().into()))
    }

    /// Reads several keys as [`Cache::get_many_with`] does, with the registered loader, and has those refreshed that
    /// are due.
    ///
    /// # Errors
    ///
    /// As for [`Cache::get_many_with`].
    pub fn get_many<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> BatchResult<Answer, LoadError<E>> {
        let Registered { shared, policy, loader } = &*self.registered;
        let (now, options) = (Instant::now(), self.cache.options());
        let note = |key: &[u8], hit: &NearHit| {
            self.cache.note_near();
            self.note(key, hit, now);
        };
        let mut batch = Batch::ask_and_note(&shared.near, keys, options, now, note);
        if batch.is_complete() {
            return Ok(batch.into_answers());
        }
        let far = batch.take_far();
        let ttl = policy.options().ttl();
        let load = LoadOptions::new(ttl, options).refreshed_by(policy.loader());
        let begin = |engine: &mut Engine, now| engine.get_many_with(now, far, load);
        match call::load_many(shared, options, begin, |keys| loader(keys))? {
            Outcome::Answers(found) => Ok(batch.fill(found)),
            other => unreachable!("`get_many_with` ended with {other:?}"),
        }
    }

    /// Gives the cache, for all other calls.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// Has the key of a hit refreshed if that is due.
    fn note(&self, key: &[u8], hit: &NearHit, now: Instant) {
        let Registered { shared, policy, .. } = &*self.registered;
        if policy.is_due(key, hit, now) {
            let (family, key, expires_at) = (policy.loader(), Key::copy_from(key), now + hit.ttl);
            shared.step(|state, now| state.engine.refresh(now, family, key, expires_at));
        }
    }
}

/// Runs a registered loader once, for all keys that wait for it.
pub(crate) fn work(shared: &Shared, family: LoaderId, refresher: &Refresher) {
    let over = Over { shared, family };
    let begin = |engine: &mut Engine, now| engine.begin_refresh(now, family);
    let run = || call::load_many(shared, CallOptions::new(), begin, |keys| refresher(keys));
    // A panic has been reported by the application's own hook; the engine hears of it when the call is dropped.
    let _ = catch_unwind(AssertUnwindSafe(run));
    drop(over);
}

/// Says that a worker is over, whatever has ended it.
struct Over<'a> {
    shared: &'a Shared,
    family: LoaderId,
}

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.shared.step(|state, now| state.engine.handle_refresh_over(now, self.family));
    }
}
