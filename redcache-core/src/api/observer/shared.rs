//! The observer in the settings.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::observe::Observer;

/// The observer of a cache, or none. Two are equal if one is a clone of the other.
#[derive(Clone, Default)]
pub struct SharedObserver(Option<Arc<dyn Observer>>);

impl SharedObserver {
    pub(crate) fn new(observer: impl Observer + 'static) -> Self {
        Self(Some(Arc::new(observer)))
    }

    /// Return `true` if there is an observer.
    pub fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// Call the observer, if there is one, and catch its panic. Hold no lock.
    #[inline]
    pub fn notify(&self, call: impl FnOnce(&dyn Observer)) {
        if let Some(observer) = &self.0 {
            // The application's panic hook has reported the panic.
            let _ = catch_unwind(AssertUnwindSafe(|| call(&**observer)));
        }
    }
}

impl PartialEq for SharedObserver {
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }
}

impl Eq for SharedObserver {}

impl fmt::Debug for SharedObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Observer" } else { "none" })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::super::events::AnswerEvent;
    use super::*;
    use crate::api::answer::Source;

    #[derive(Default)]
    struct Panicking(AtomicU32);

    impl Observer for Panicking {
        fn on_answer(&self, _: &AnswerEvent) {
            self.0.fetch_add(1, Ordering::Relaxed);
            panic!("as the test wants it");
        }
    }

    #[test]
    fn a_panic_of_the_observer_is_caught() {
        let panicking = Arc::new(Panicking::default());
        let observer = SharedObserver::new(Arc::clone(&panicking));
        for _ in 0..2 {
            observer.notify(|observer| observer.on_answer(&AnswerEvent::new(Source::Near)));
        }
        assert_eq!(panicking.0.load(Ordering::Relaxed), 2);
        SharedObserver::default().notify(|_| unreachable!("there is no observer"));
    }

    #[test]
    fn equal_observers_are_clones() {
        let observer = SharedObserver::new(());
        assert_eq!(observer, observer.clone());
        assert_ne!(observer, SharedObserver::new(()));
        assert_ne!(observer, SharedObserver::default());
    }
}
