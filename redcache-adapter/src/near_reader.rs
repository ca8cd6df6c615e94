//! Reads of the near cache by callers, without the engine's lock.

use std::sync::Arc;
use std::time::Instant;

use redcache_core::engine::{
    Batch, CallError, Engine, Near, NearHit, NearTime, Observation, SharedObserver,
};
use redcache_core::observer::{AnswerEvent, Observer};
use redcache_core::{CallOptions, OnRedisDown, Servers, Source};

use crate::clock::NearClock;
use crate::deferred::defer;
use crate::namespaces::Namespaces;
use crate::trace::CacheTrace;

/// The near cache as the callers of one cache read it. Hits are reported to the observer.
#[derive(Debug)]
pub struct NearReader {
    near: Arc<Near>,
    clock: NearClock,
    observer: SharedObserver,
    namespaces: Namespaces,
    trace: CacheTrace,
    is_disabled: bool,
    loads_direct: bool,
}

impl NearReader {
    /// Create a reader of the engine's near cache.
    pub fn new(engine: &Engine) -> Self {
        let config = engine.config();
        let namespaces = Namespaces::new(config.lock_prefixes().map(str::to_owned).to_vec());
        let (near, observer) = (Arc::clone(engine.near()), config.observer().clone());
        let is_disabled = *config.servers() == Servers::None;
        let loads_direct = config.on_redis_down() == OnRedisDown::LoadDirect;
        let clock = NearClock::new(&near);
        let trace = CacheTrace::new(&observer);
        Self { near, clock, observer, namespaces, trace, is_disabled, loads_direct }
    }

    /// Return `true` if calls with a loader run it while Redis cannot be reached.
    pub fn loads_direct(&self) -> bool {
        self.loads_direct
    }

    /// Return `true` if the cache has no server, so that nothing is stored.
    pub fn is_disabled(&self) -> bool {
        self.is_disabled
    }

    pub(crate) fn near(&self) -> &Near {
        &self.near
    }

    /// Return the namespaces of typed views.
    pub fn namespaces(&self) -> &Namespaces {
        &self.namespaces
    }

    /// Return the name of the cache in its spans.
    pub fn trace(&self) -> &CacheTrace {
        &self.trace
    }

    /// Report events of the engine to the observer, once this thread is in no scope.
    pub fn observe(&self, observations: Vec<Observation>) {
        if observations.is_empty() {
            return;
        }
        let observer = self.observer.clone();
        defer(move || {
            for observation in observations {
                observer.notify(|observer| observation.notify(observer));
            }
        });
    }

    /// Return the time by the system's coarse clock, as by [`coarse_now`](crate::coarse_now).
    #[inline]
    pub fn coarse_now(&self) -> NearTime {
        self.clock.now()
    }

    /// Return an instant as a time of the near cache.
    #[inline]
    pub fn time_of(&self, instant: Instant) -> NearTime {
        self.near.time_of(instant)
    }

    /// Look one key up, and return what `then` makes of the hit. Read the clock only if there is an
    /// entry. A hit allocates nothing.
    #[inline]
    pub fn get<T>(
        &self,
        key: &[u8],
        options: &CallOptions,
        now: impl FnOnce() -> NearTime,
        then: impl FnOnce(NearHit) -> T,
    ) -> Option<T> {
        if !options.asks_near() {
            return None;
        }
        self.near.get_and(key, options.staleness_max(), now, |hit| {
            self.observer.notify(on_hit);
            self.trace.on_near_hit();
            then(hit)
        })
    }

    /// Look several keys up, all at the time `now`.
    pub fn get_many<K: AsRef<[u8]>, E: From<CallError>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        options: CallOptions,
        now: Instant,
    ) -> Batch<E> {
        self.get_many_and(keys, options, now, |_, _| {})
    }

    /// Look several keys up, all at the time `now`, and pass each hit to `on_each`.
    pub fn get_many_and<K: AsRef<[u8]>, E: From<CallError>>(
        &self,
        keys: impl IntoIterator<Item = K>,
        options: CallOptions,
        now: Instant,
        mut on_each: impl FnMut(&[u8], &NearHit),
    ) -> Batch<E> {
        Batch::ask_and_note(&self.near, keys, options, now, |key, hit| {
            self.observer.notify(on_hit);
            self.trace.on_near_hit();
            on_each(key, hit);
        })
    }
}

fn on_hit(observer: &dyn Observer) {
    observer.on_answer(&AnswerEvent::new(Source::Near));
}
