//! What the driver's threads and tasks meet on. In its own tests a checker has the say over each of
//! them.

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

/// Lets others run. The checker's own `yield_now` would wake the task besides, and hide that nobody
/// else does.
#[cfg(test)]
pub(crate) fn yield_now() {
    shuttle::thread::sleep(std::time::Duration::ZERO);
}
