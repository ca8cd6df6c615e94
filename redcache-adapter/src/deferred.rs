//! Application code that must wait until its thread holds no lock.
//!
//! The engine owns values and errors of the application, whose `Drop` is application code, and it
//! drops them while a face holds the engine's lock. A thread may also hold a lock of a connection
//! while it passes received bytes to the engine. A face therefore enters a [`Scope`] before it
//! takes a lock. Within a scope, the `Drop` of a value and the calls of an observer are deferred
//! until the thread leaves its outermost scope.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;

thread_local! {
    /// The number of scopes that this thread is in.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    /// Whether [`WORK`] is not empty.
    static HAS_WORK: Cell<bool> = const { Cell::new(false) };
    static WORK: RefCell<Vec<Work>> = const { RefCell::new(Vec::new()) };
}

type Work = Box<dyn FnOnce()>;

/// Run `work` once this thread is in no scope: at once, if it is in none.
pub(crate) fn defer(work: impl FnOnce() + 'static) {
    if DEPTH.get() == 0 {
        return work();
    }
    let work: Work = Box::new(work);
    // A thread that is ending has dropped its list, and its locks before that.
    if WORK.try_with(|list| list.borrow_mut().push(work)).is_ok() {
        HAS_WORK.set(true);
    }
}

/// A section of a thread in which no application code runs.
#[derive(Debug)]
pub struct Scope {
    /// Keeps the scope on its thread.
    thread: PhantomData<*const ()>,
}

impl Scope {
    /// Enter a scope. It ends with the returned value.
    #[must_use]
    pub fn enter() -> Self {
        DEPTH.set(DEPTH.get() + 1);
        Self { thread: PhantomData }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
        if DEPTH.get() == 0 && HAS_WORK.get() {
            run_deferred();
        }
    }
}

#[cold]
fn run_deferred() {
    // The work may call the cache and so defer more work, which runs before that call returns.
    while HAS_WORK.replace(false) {
        for work in WORK.try_with(RefCell::take).unwrap_or_default() {
            // The application's panic hook has reported a panic.
            let _ = catch_unwind(AssertUnwindSafe(work));
        }
    }
}

/// A lock guard within a [`Scope`]. The scope ends after the lock is released.
#[derive(Debug)]
pub struct Deferring<G> {
    // Fields are dropped in this order.
    guard: G,
    scope: Scope,
}

impl<G> Deferring<G> {
    /// Enter a scope, and then take the lock.
    pub fn lock(lock: impl FnOnce() -> G) -> Self {
        let scope = Scope::enter();
        Self { guard: lock(), scope }
    }

    /// Pass the guard to a wait that releases the lock and takes it again.
    #[must_use]
    pub fn wait(self, wait: impl FnOnce(G) -> G) -> Self {
        let Self { guard, scope } = self;
        Self { guard: wait(guard), scope }
    }
}

impl<G: Deref> Deref for Deferring<G> {
    type Target = G::Target;

    fn deref(&self) -> &G::Target {
        &self.guard
    }
}

impl<G: DerefMut> DerefMut for Deferring<G> {
    fn deref_mut(&mut self) -> &mut G::Target {
        &mut self.guard
    }
}

/// A value of the application that is dropped outside of every scope.
pub(crate) struct Owned<T: 'static>(Option<T>);

impl<T> Owned<T> {
    pub(crate) fn new(owned: T) -> Self {
        Self(Some(owned))
    }

    /// Return the value, which is present until the drop.
    pub(crate) fn get(&self) -> Option<&T> {
        self.0.as_ref()
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if let Some(owned) = self.0.take() {
            defer(|| drop(owned));
        }
    }
}

impl AsRef<[u8]> for Owned<Bytes> {
    fn as_ref(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }
}

/// Wrap a value of the application for the engine, so that its drop is deferred.
pub(crate) fn owned(value: Bytes) -> Bytes {
    Bytes::from_owner(Owned::new(value))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Counts its drops, each of which takes the lock.
    struct Drops(Arc<Mutex<()>>, Arc<AtomicU32>);

    impl Drop for Drops {
        fn drop(&mut self) {
            let _lock = self.0.try_lock().expect("the lock is free");
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl AsRef<[u8]> for Drops {
        fn as_ref(&self) -> &[u8] {
            b"v"
        }
    }

    #[test]
    fn a_value_that_is_dropped_under_a_lock_is_dropped_after_it() {
        let (lock, count) = (Arc::new(Mutex::new(())), Arc::new(AtomicU32::new(0)));
        let value = || owned(Bytes::from_owner(Drops(Arc::clone(&lock), Arc::clone(&count))));
        drop(value());
        assert_eq!(count.load(Ordering::Relaxed), 1);
        let outer = Scope::enter();
        let guard = Deferring::lock(|| lock.lock().unwrap());
        drop((value(), value()));
        drop(guard);
        assert_eq!(count.load(Ordering::Relaxed), 1);
        drop(outer);
        assert_eq!(count.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn deferred_work_may_defer_more_and_may_panic() {
        let count = Arc::new(AtomicU32::new(0));
        let scope = Scope::enter();
        let counted = Arc::clone(&count);
        defer(|| panic!("as the test wants it"));
        defer(move || {
            let _scope = Scope::enter();
            defer(move || _ = counted.fetch_add(1, Ordering::Relaxed));
        });
        assert_eq!(count.load(Ordering::Relaxed), 0);
        drop(scope);
        assert_eq!(count.load(Ordering::Relaxed), 1);
    }
}
