//! An atomic that lets the interleaving tests switch threads before each access.

use std::sync::atomic::Ordering;

/// `std`'s `AtomicU32` with a scheduling point before each access.
pub(super) struct AtomicU32(std::sync::atomic::AtomicU32);

impl AtomicU32 {
    pub(super) fn new(value: u32) -> Self {
        Self(value.into())
    }

    pub(super) fn load(&self, order: Ordering) -> u32 {
        yield_to_others();
        self.0.load(order)
    }

    pub(super) fn store(&self, value: u32, order: Ordering) {
        yield_to_others();
        self.0.store(value, order);
    }

    pub(super) fn fetch_or(&self, value: u32, order: Ordering) -> u32 {
        yield_to_others();
        self.0.fetch_or(value, order)
    }
}

/// Let the checker switch threads. Outside of a check this does nothing.
pub(super) fn yield_to_others() {
    if shuttle::current::try_get_current_task().is_some() {
        shuttle::thread::yield_now();
    }
}
