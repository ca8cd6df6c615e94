//! The locks and atomics of the driver. In its tests, a checker controls each of them.

#[cfg(not(test))]
pub(crate) use std::sync::atomic::AtomicBool;
#[cfg(not(test))]
pub(crate) use std::sync::{Mutex, MutexGuard};
#[cfg(not(test))]
pub(crate) use std::thread::yield_now;

#[cfg(test)]
pub(crate) use shuttle::sync::atomic::AtomicBool;
#[cfg(test)]
pub(crate) use shuttle::sync::{Mutex, MutexGuard};

/// Let other tasks run. The checker's own `yield_now` would also wake the task, and so hide a
/// missing wake-up.
#[cfg(test)]
pub(crate) fn yield_now() {
    shuttle::thread::sleep(std::time::Duration::ZERO);
}
