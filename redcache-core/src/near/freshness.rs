//! The freshness of entries: the instant at which each was still known to be current.
//!
//! Replies and invalidations share one stream. Once the reply to a command has been parsed, so has
//! every invalidation that the server sent before it executed the command. So every entry of that
//! connection was current when the command was sent: that instant is the connection's bound.
//!
//! A lookup must not combine an entry with a bound that was raised after the lookup found the
//! entry, because an invalidation may have come in between. Where there is one connection, the
//! bound is read before the entry. In a cluster the entry names the connection, so the lookup reads
//! a stamp before and after, and repeats itself if the stamp has changed.

use std::sync::atomic::Ordering;

#[cfg(not(test))]
use std::sync::atomic::{AtomicU16, AtomicU64};

use super::packed::Time;
#[cfg(test)]
use super::yielding::{AtomicU16, AtomicU64};
use crate::protocol::slot::Slot;
use crate::protocol::topology::PRIMARIES_MAX;

/// The largest number of nodes that the router knows at a time.
const NODES_MAX: usize = 2 * PRIMARIES_MAX;

/// The bound of each connection. Any thread reads it; only the engine writes it.
pub(super) struct Freshness {
    /// One bound per node in nanoseconds, as [`Time`]; zero if unknown.
    bounds: Box<[AtomicU64]>,
    /// The node of each slot in a cluster, or a number of none; empty elsewhere.
    nodes: Box<[AtomicU16]>,
    /// Changes before a bound or a node does. It stays the same outside of a cluster.
    stamp: AtomicU64,
}

/// The state before a lookup looks for its entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before {
    /// The only bound, or the stamp of a cluster.
    read: u64,
}

impl Freshness {
    pub(super) fn new(slots: usize) -> Self {
        let is_cluster = slots > 1;
        let nodes = if is_cluster { slots } else { 0 };
        let bounds = if is_cluster { NODES_MAX } else { 1 };
        Self {
            bounds: (0..bounds).map(|_| AtomicU64::new(0)).collect(),
            nodes: (0..nodes).map(|_| AtomicU16::new(u16::MAX)).collect(),
            stamp: AtomicU64::new(0),
        }
    }

    #[inline]
    fn is_cluster(&self) -> bool {
        !self.nodes.is_empty()
    }

    /// Begin a lookup, before the entry is looked for.
    #[inline]
    pub(super) fn begin(&self) -> Before {
        let read = if self.is_cluster() { &self.stamp } else { &self.bounds[0] };
        Before { read: read.load(Ordering::Acquire) }
    }

    /// Return the bound of a slot for an entry that was found after `before`; `None` if the lookup
    /// must be repeated with the bound [`current`](Self::current) before it.
    #[inline]
    pub(super) fn bound(&self, before: Before, slot: Slot) -> Option<Time> {
        if !self.is_cluster() {
            return Some(Time(before.read));
        }
        let bound = self.current(slot);
        (self.stamp.load(Ordering::Acquire) == before.read).then_some(bound)
    }

    /// Return the bound of a slot. It holds for an entry that is found after it was read, as long
    /// as the epoch of the entry is still current then.
    pub(super) fn current(&self, slot: Slot) -> Time {
        let node = match self.nodes.get(slot.index()) {
            Some(node) => usize::from(node.load(Ordering::Acquire)),
            None => 0,
        };
        if mutant!(BoundOfOtherNode) {
            let all = self.bounds.iter().map(|bound| bound.load(Ordering::Acquire));
            return Time(all.max().unwrap_or(0));
        }
        Time(self.bounds.get(node).map_or(0, |bound| bound.load(Ordering::Acquire)))
    }

    /// Set the bound of a node. The near cache has every invalidation that precedes it.
    pub(super) fn set_bound(&self, node: usize, bound: Time) {
        let Some(known) = self.bounds.get(node) else { return };
        if known.load(Ordering::Relaxed) != bound.0 {
            self.change();
            known.store(bound.0, Ordering::Release);
        }
    }

    /// Record that another node owns a slot. The epoch of the slot's entries has ended.
    pub(super) fn set_node(&self, slot: Slot, node: Option<u16>) {
        let Some(known) = self.nodes.get(slot.index()) else { return };
        self.change();
        known.store(node.unwrap_or(u16::MAX), Ordering::Release);
    }

    fn change(&self) {
        if self.is_cluster() {
            // The engine is the only writer.
            let next = self.stamp.load(Ordering::Relaxed) + 1;
            self.stamp.store(next, Ordering::Release);
        }
    }
}
