//! The observer trait.

use std::sync::Arc;

use super::events::{
    AnswerEvent, AuditDifferenceEvent, ConnectFailedEvent, ConnectedEvent, DisconnectedEvent,
    FailureEvent, FlushEvent, InvalidationEvent, LoadEvent, LockExtendedEvent, LockLostEvent,
    LockWaitEvent, NotStoredEvent, RefreshEvent, RemovalEvent, RoundTripEvent, UndecodableEvent,
    UntrackedEvent,
};

/// Define the trait, its implementations that forward, and the events as one type.
macro_rules! observer {
    ($($(#[$doc:meta])* $method:ident: $event:ident,)*) => {
        /// An observer of a cache: a method per kind of event, each with an empty default body.
        ///
        /// Pass it to [`ConfigBuilder::observer`](crate::ConfigBuilder::observer).
        /// `redcache-observe` has observers for the crates `tracing` and `metrics`. A pair of
        /// observers is an observer, and so is an `Arc` of one.
        ///
        /// Methods run on the thread or task that caused the event, possibly several at the same
        /// time, after the event and under no lock of the cache. Events of different threads may
        /// arrive out of order. A method must not block, so it must not wait for Redis; calls like
        /// `stats` are fine. A panic of a method is caught.
        ///
        /// # Examples
        ///
        /// ```
        /// use std::sync::Arc;
        /// use std::sync::atomic::{AtomicU64, Ordering};
        /// use redcache_core::observer::{AnswerEvent, Observer};
        /// use redcache_core::{Config, Source};
        ///
        /// #[derive(Default)]
        /// struct NearHits(AtomicU64);
        ///
        /// impl Observer for NearHits {
        ///     fn on_answer(&self, event: &AnswerEvent) {
        ///         if event.source == Source::Near {
        ///             self.0.fetch_add(1, Ordering::Relaxed);
        ///         }
        ///     }
        /// }
        ///
        /// let hits = Arc::new(NearHits::default());
        /// let config = Config::builder().observer(Arc::clone(&hits)).build()?;
        /// # Ok::<(), redcache_core::ConfigError>(())
        /// ```
        pub trait Observer: Send + Sync {
            /// Return the name that the observer gives the cache.
            fn cache_name(&self) -> Option<&str> {
                None
            }

            $($(#[$doc])* fn $method(&self, event: &$event) {
                let _ = event;
            })*
        }

        /// The observer that ignores every event.
        impl Observer for () {}

        /// Both observers see every event, the first one first.
        impl<A: Observer, B: Observer> Observer for (A, B) {
            fn cache_name(&self) -> Option<&str> {
                self.0.cache_name().or_else(|| self.1.cache_name())
            }

            $(fn $method(&self, event: &$event) {
                self.0.$method(event);
                self.1.$method(event);
            })*
        }

        impl<O: Observer + ?Sized> Observer for Arc<O> {
            fn cache_name(&self) -> Option<&str> {
                (**self).cache_name()
            }

            $(fn $method(&self, event: &$event) {
                (**self).$method(event);
            })*
        }

        impl<O: Observer + ?Sized> Observer for Box<O> {
            fn cache_name(&self) -> Option<&str> {
                (**self).cache_name()
            }

            $(fn $method(&self, event: &$event) {
                (**self).$method(event);
            })*
        }

        /// An event that the adapter passes from the engine to the observer.
        #[derive(Debug, Clone)]
        pub struct Observation(Observed);

        #[derive(Debug, Clone)]
        #[expect(clippy::enum_variant_names, reason = "each variant has the name of its event")]
        enum Observed {
            $($event($event),)*
        }

        $(impl From<$event> for Observation {
            fn from(event: $event) -> Self {
                Self(Observed::$event(event))
            }
        })*

        impl Observation {
            /// Call the observer's method for this event.
            pub fn notify(&self, observer: &dyn Observer) {
                match &self.0 {
                    $(Observed::$event(event) => observer.$method(event),)*
                }
            }
        }
    };
}

observer! {
    /// A key was answered.
    on_answer: AnswerEvent,
    /// A key was not answered, or not written, because of an error.
    on_failure: FailureEvent,
    /// A loader has ended.
    on_load: LoadEvent,
    /// A wait for a lock of another caller has ended.
    on_lock_wait: LockWaitEvent,
    /// Redis has replied to a command.
    on_round_trip: RoundTripEvent,
    /// A loaded value was not stored, because its lock was lost.
    on_lock_lost: LockLostEvent,
    /// Locks live longer than `lock_ttl`, because the round trip to Redis is long.
    on_lock_extended: LockExtendedEvent,
    /// The background refresh of a key has reached a stage.
    on_refresh: RefreshEvent,
    /// A removal that failed because Redis could not be reached has reached a stage.
    on_removal: RemovalEvent,
    /// Redis has invalidated keys.
    on_invalidation: InvalidationEvent,
    /// Redis has invalidated all keys.
    on_flush: FlushEvent,
    /// A connection is ready.
    on_connected: ConnectedEvent,
    /// The server does not report changes, so its keys are not kept in the near cache.
    on_untracked: UntrackedEvent,
    /// A connection was lost.
    on_disconnected: DisconnectedEvent,
    /// A connection attempt failed.
    on_connect_failed: ConnectFailedEvent,
    /// A loaded value cannot be stored.
    on_not_stored: NotStoredEvent,
    /// A checked near hit differs from Redis.
    on_audit_difference: AuditDifferenceEvent,
    /// A typed view cannot decode a stored value.
    on_undecodable: UndecodableEvent,
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;
    use crate::api::answer::Source;

    #[derive(Default)]
    struct Log(Mutex<Vec<String>>);

    impl Observer for Log {
        fn on_answer(&self, event: &AnswerEvent) {
            self.0.lock().unwrap().push(event.source.as_str().to_owned());
        }

        fn on_load(&self, event: &LoadEvent) {
            self.0.lock().unwrap().push(format!("{} keys in {:?}", event.keys, event.took));
        }
    }

    #[test]
    fn both_observers_of_a_pair_see_every_event() {
        let (first, second) = (Arc::new(Log::default()), Arc::new(Log::default()));
        let pair = (Arc::clone(&first), (Box::new(()), Arc::clone(&second)));
        Observation::from(AnswerEvent::new(Source::Near)).notify(&pair);
        Observation::from(LoadEvent::new(2, Duration::from_secs(1), true)).notify(&pair);
        for log in [first, second] {
            assert_eq!(*log.0.lock().unwrap(), ["near", "2 keys in 1s"]);
        }
    }
}
