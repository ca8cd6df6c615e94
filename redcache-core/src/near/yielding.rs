//! Atomics that let the interleaving tests switch threads before each access.

use std::sync::atomic::Ordering;

macro_rules! yielding {
    ($($name:ident: $number:ty;)*) => {$(
        /// `std`'s atomic with a scheduling point before each access.
        pub(super) struct $name(std::sync::atomic::$name);

        impl $name {
            pub(super) fn new(value: $number) -> Self {
                Self(value.into())
            }

            pub(super) fn load(&self, order: Ordering) -> $number {
                yield_to_others();
                self.0.load(order)
            }

            pub(super) fn store(&self, value: $number, order: Ordering) {
                yield_to_others();
                self.0.store(value, order);
            }
        }
    )*};
}

yielding! {
    AtomicU16: u16;
    AtomicU32: u32;
    AtomicU64: u64;
}

impl AtomicU32 {
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
