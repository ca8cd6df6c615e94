//! Reads of the near cache by callers, without the engine's lock.

use std::sync::Arc;
use std::time::Instant;

use redcache_core::engine::{
    Batch, CallError, Engine, Near, NearHit, NearTime, Observation, SharedObserver,
};
use redcache_core::observer::{AnswerEvent, Observer};
use redcache_core::{CallOptions, OnRedisDown, Servers, Source};

use crate::clock::{NearClock, coarse_now};
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
        let is_limited = near.limits_staleness(&CallOptions::new());
        let clock = if is_limited { NearClock::exact(&near) } else { NearClock::coarse(&near) };
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

    /// Return the time of a lookup, by the exact clock if the staleness of entries is limited, for
    /// the cache or for the call, else as by [`coarse_now`](crate::coarse_now).
    #[inline]
    pub fn now(&self, is_call_limited: bool) -> NearTime {
        if is_call_limited { self.near.time_of(Instant::now()) } else { self.clock.now() }
    }

    /// Return the instant of a lookup of several keys, by the clock of [`now`](Self::now).
    pub fn instant(&self, options: &CallOptions) -> Instant {
        if self.near.limits_staleness(options) { Instant::now() } else { coarse_now() }
    }

    /// Return an instant as a time of the near cache.
    #[inline]
    pub fn time_of(&self, instant: Instant) -> NearTime {
        self.near.time_of(instant)
    }

    /// Look one key up, and return what `then` makes of the hit. Read the clock only if there is an
    /// entry; `now` receives `true` if the call limits the staleness. A hit allocates nothing.
    #[inline]
    pub fn get<T>(
        &self,
        key: &[u8],
        options: &CallOptions,
        now: impl FnOnce(bool) -> NearTime,
        then: impl FnOnce(NearHit) -> T,
    ) -> Option<T> {
        if !options.asks_near() {
            return None;
        }
        let then = |hit| {
            self.observer.notify(on_hit);
            self.trace.on_near_hit();
            then(hit)
        };
        match options.staleness_max() {
            None => self.near.get_and(key, None, || now(false), then),
            limit => self.near.get_and(key, limit, || now(true), then),
        }
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use redcache_core::Config;
    use redcache_core::engine::Seed;

    use super::*;

    #[test]
    fn a_lookup_under_a_limit_of_staleness_reads_the_exact_clock() {
        let (limit, call) = (Duration::from_millis(50), CallOptions::new());
        let reader = |near_staleness_max| {
            let config = Config::builder().server("localhost", 6379);
            let config = config.near_staleness_max(near_staleness_max).build().unwrap();
            NearReader::new(&Engine::new(Instant::now(), &Seed::new([7; 32], 0), config))
        };
        assert!(reader(limit).clock.is_exact());
        let near = reader(Duration::ZERO);
        assert!(!near.clock.is_exact());
        for _ in 0..10_000 {
            let before = Instant::now();
            let (time, instant) = (near.now(true), near.instant(&call.max_staleness(limit)));
            let after = Instant::now();
            assert!(near.time_of(before) <= time && time <= near.time_of(after));
            assert!(before <= instant && instant <= after);
        }
    }
}
