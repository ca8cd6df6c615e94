//! Companions: objects of an upper layer beside the entries of the near cache, such as decoded
//! values.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

/// The bytes of a companion beyond the weight of its object.
pub(super) const OVERHEAD: u64 = 96;

/// An object that lives as long as one entry of the near cache: it is dropped when the entry is
/// replaced, invalidated or evicted. Its weight counts against the size limit.
///
/// The near cache may drop it under a lock. An object with application code in its `Drop` must
/// defer that code.
#[derive(Clone)]
pub struct Companion(Arc<Inner>);

struct Inner {
    object: Box<dyn Any + Send + Sync>,
    weight: u64,
    is_derived: bool,
}

impl Companion {
    /// Return a companion that derives from the value of its entry alone.
    pub fn derived(object: impl Any + Send + Sync, weight: usize) -> Self {
        Self::new(Box::new(object), weight, true)
    }

    /// Return a companion that belongs to one copy of a value: another copy of the same value may
    /// have another companion.
    pub fn of_copy(object: impl Any + Send + Sync, weight: usize) -> Self {
        Self::new(Box::new(object), weight, false)
    }

    fn new(object: Box<dyn Any + Send + Sync>, weight: usize, is_derived: bool) -> Self {
        let weight = (weight as u64).saturating_add(OVERHEAD);
        Self(Arc::new(Inner { object, weight, is_derived }))
    }

    /// Return the object, if it has the type `T`.
    pub fn object<T: 'static>(&self) -> Option<&T> {
        self.0.object.downcast_ref()
    }

    pub(super) fn weight(&self) -> u64 {
        self.0.weight
    }

    /// Return whether the companion belongs to an entry with the value `stored`, if it belongs to
    /// `value`.
    pub(super) fn fits(&self, stored: &Bytes, value: &Bytes) -> bool {
        is_same_copy(stored, value) || self.0.is_derived && stored == value
    }
}

impl PartialEq for Companion {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Companion {}

impl fmt::Debug for Companion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Companion").field("weight", &self.0.weight).finish_non_exhaustive()
    }
}

fn is_same_copy(one: &Bytes, other: &Bytes) -> bool {
    one.as_ptr() == other.as_ptr() && one.len() == other.len()
}
