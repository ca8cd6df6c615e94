//! What an application may have counted and measured: one method for each kind of event, none of which has to be there.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::time::Duration;

use crate::api::answer::Source;
use crate::api::key::Key;

/// Is told what a cache does, as it does it. Every method has an empty body of its own.
///
/// Methods run on whichever thread or task has caused the event, at the same time on several, and after whatever has
/// happened: never under a lock of the cache. What different threads have to tell may come in another order than it happened. Methods must not block. One that panics harms nothing but itself.
pub trait Observer: Send + Sync {
    /// A key was answered; each key of each call once. A key that was not found counts by where that was learned.
    fn on_answer(&self, source: Source) {
        let _ = source;
    }

    /// A loader has ended that was asked for so many keys.
    fn on_load(&self, keys: usize, took: Duration, is_ok: bool) {
        let _ = (keys, took, is_ok);
    }

    /// A key has been waited for that others had locked.
    fn on_lock_wait(&self, took: Duration) {
        let _ = took;
    }

    /// Redis has answered a command.
    fn on_round_trip(&self, command: &'static str, took: Duration) {
        let _ = (command, took);
    }

    /// What was loaded for a key could not be stored, because its lock was gone.
    fn on_lock_lost(&self, key: &Key) {
        let _ = key;
    }

    /// Something has become of a key that was due for a refresh.
    fn on_refresh(&self, key: &Key, refresh: RefreshEvent) {
        let _ = (key, refresh);
    }

    /// Redis has reported so many keys as changed.
    fn on_invalidated(&self, keys: usize) {
        let _ = keys;
    }

    /// Redis has reported all keys as changed.
    fn on_flushed(&self) {}

    /// A connection is ready.
    fn on_connected(&self) {}

    /// A connection was lost.
    fn on_disconnected(&self) {}
}

/// What has become of a key that was due for a refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefreshEvent {
    /// It was queued.
    Triggered,
    /// Its value was refreshed.
    Refreshed,
    /// Somebody else refreshes or has changed it, or the loader rests after a failure.
    Skipped,
    /// The queue was full.
    Dropped,
    /// The loader failed, or Redis did.
    Failed,
    /// The loader panicked.
    Panicked,
}

impl RefreshEvent {
    /// Gives the event as one lower-case word, for logs and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Triggered => "triggered",
            Self::Refreshed => "refreshed",
            Self::Skipped => "skipped",
            Self::Dropped => "dropped",
            Self::Failed => "failed",
            Self::Panicked => "panicked",
        }
    }
}

/// One call of a method of [`Observer`], on its way from the engine to the adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation(Observed);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Observed {
    Answer(Source),
    Load { keys: usize, took: Duration, is_ok: bool },
    LockWait(Duration),
    RoundTrip(&'static str, Duration),
    LockLost(Key),
    Refresh(Key, RefreshEvent),
    Invalidated(usize),
    Flushed,
    Connected,
    Disconnected,
}

impl From<Observed> for Observation {
    fn from(observed: Observed) -> Self {
        Self(observed)
    }
}

impl Observation {
    /// Tells the observer.
    pub fn tell(&self, observer: &dyn Observer) {
        match &self.0 {
            Observed::Answer(source) => observer.on_answer(*source),
            Observed::Load { keys, took, is_ok } => observer.on_load(*keys, *took, *is_ok),
            Observed::LockWait(took) => observer.on_lock_wait(*took),
            Observed::RoundTrip(command, took) => observer.on_round_trip(command, *took),
            Observed::LockLost(key) => observer.on_lock_lost(key),
            Observed::Refresh(key, refresh) => observer.on_refresh(key, *refresh),
            Observed::Invalidated(keys) => observer.on_invalidated(*keys),
            Observed::Flushed => observer.on_flushed(),
            Observed::Connected => observer.on_connected(),
            Observed::Disconnected => observer.on_disconnected(),
        }
    }
}

/// The place for the one observer of a cache. As long as there is none, to look costs next to nothing.
#[derive(Default)]
pub struct ObserverSlot(OnceLock<Box<dyn Observer>>);

impl fmt::Debug for ObserverSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ObserverSlot").field(&self.0.get().is_some()).finish()
    }
}

impl ObserverSlot {
    /// Takes the observer unless there is one already; says whether it did.
    pub fn set(&self, observer: impl Observer + 'static) -> bool {
        self.0.set(Box::new(observer)).is_ok()
    }

    /// Tells the observer, if there is one. Its panics end here.
    pub fn tell(&self, tell: impl FnOnce(&dyn Observer)) {
        if let Some(observer) = self.0.get() {
            // The application's own hook has reported it.
            let _ = catch_unwind(AssertUnwindSafe(|| tell(&**observer)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    struct Counting(Arc<AtomicU32>);

    impl Observer for Counting {
        fn on_answer(&self, source: Source) {
            self.0.fetch_add(1, Ordering::Relaxed);
            assert_eq!(source, Source::Near, "as the test wants it");
        }
    }

    #[test]
    fn the_first_observer_stays_and_its_panics_harm_nobody() {
        let (slot, first, second) = (ObserverSlot::default(), Arc::default(), Arc::default());
        let answer = |source| move |observer: &dyn Observer| observer.on_answer(source);
        slot.tell(answer(Source::Near));
        assert!(slot.set(Counting(Arc::clone(&first))));
        assert!(!slot.set(Counting(Arc::clone(&second))));
        slot.tell(answer(Source::Redis));
        slot.tell(answer(Source::Near));
        assert_eq!((first.load(Ordering::Relaxed), second.load(Ordering::Relaxed)), (2, 0));
    }
}
