//! Companions: objects of an upper layer beside the entries of the near cache, such as decoded
//! values.

use std::any::Any;
use std::fmt;

use bytes::Bytes;

/// The bytes of a companion beyond the weight of its object.
pub(super) const OVERHEAD: u64 = 96;

/// An object that lives as long as one entry of the near cache: it is dropped when the entry is
/// replaced, invalidated or evicted. Its weight counts against the size limit.
///
/// The near cache may drop it under a lock. An object with application code in its `Drop` must
/// defer that code.
pub struct Companion<T: ?Sized = dyn Any + Send + Sync> {
    weight: u64,
    is_derived: bool,
    object: T,
}

impl<T: Any + Send + Sync> Companion<T> {
    /// Return a companion that derives from the value of its entry alone.
    pub fn derived(object: T, weight: usize) -> Self {
        Self { weight: full(weight), is_derived: true, object }
    }

    /// Return a companion that belongs to one copy of a value: another copy of the same value may
    /// have another companion.
    pub fn of_copy(object: T, weight: usize) -> Self {
        Self { weight: full(weight), is_derived: false, object }
    }
}

impl Companion {
    /// Return the object, if it has the type `T`.
    #[inline]
    pub fn object<T: 'static>(&self) -> Option<&T> {
        self.object.downcast_ref()
    }
}

impl<T: ?Sized> Companion<T> {
    pub(super) fn weight(&self) -> u64 {
        self.weight
    }

    /// Return whether the companion belongs to an entry with the value `stored`, if it belongs to
    /// `value`.
    pub(super) fn fits(&self, stored: &Bytes, value: &Bytes) -> bool {
        is_same_copy(stored, value) || self.is_derived && stored == value
    }
}

impl<T: ?Sized> fmt::Debug for Companion<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Companion").field("weight", &self.weight).finish_non_exhaustive()
    }
}

fn full(weight: usize) -> u64 {
    (weight as u64).saturating_add(OVERHEAD)
}

fn is_same_copy(one: &Bytes, other: &Bytes) -> bool {
    one.as_ptr() == other.as_ptr() && one.len() == other.len()
}
