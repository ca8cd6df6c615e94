//! The freshness of entries: the latest instant at which each was known to be current.
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
    /// Outside of a cluster, the only bound, in nanoseconds as [`Time`]; zero if unknown. In a
    /// cluster, a stamp that changes before each change of a bound or a node.
    first: AtomicU64,
    cluster: Option<Box<OfCluster>>,
}

struct OfCluster {
    /// The bound of each node.
    bounds: Box<[AtomicU64]>,
    /// The node of each slot, or a number that belongs to no node.
    nodes: Box<[AtomicU16]>,
}

/// The state that a lookup reads before its entry.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before {
    first: u64,
}

impl Freshness {
    pub(super) fn new(slots: usize) -> Self {
        let cluster = (slots > 1).then(|| {
            let bounds = (0..NODES_MAX).map(|_| AtomicU64::new(0)).collect();
            let nodes = (0..slots).map(|_| AtomicU16::new(u16::MAX)).collect();
            Box::new(OfCluster { bounds, nodes })
        });
        Self { first: AtomicU64::new(0), cluster }
    }

    /// Begin a lookup, before its entry is read.
    #[inline]
    pub(super) fn begin(&self) -> Before {
        Before { first: self.first.load(Ordering::Acquire) }
    }

    /// Return the bound of a slot for an entry that was found after `before`; `None` if the lookup
    /// must be repeated with the bound [`current`](Self::current) before it.
    #[inline]
    pub(super) fn bound(&self, before: Before, slot: Slot) -> Option<Time> {
        match &self.cluster {
            None => Some(Time(before.first)),
            Some(cluster) => {
                let bound = cluster.bound(slot);
                (self.first.load(Ordering::Acquire) == before.first).then_some(bound)
            }
        }
    }

    /// Return the bound of a slot. It holds for an entry that is found after it was read, as long
    /// as the epoch of the entry is still current then.
    pub(super) fn current(&self, slot: Slot) -> Time {
        match &self.cluster {
            None => Time(self.first.load(Ordering::Acquire)),
            Some(cluster) => cluster.bound(slot),
        }
    }

    /// Set the bound of a node. The near cache has applied every invalidation that precedes the
    /// bound.
    pub(super) fn set_bound(&self, node: usize, bound: Time) {
        match &self.cluster {
            None => self.first.store(bound.0, Ordering::Release),
            Some(cluster) => {
                let Some(known) = cluster.bounds.get(node) else { return };
                if known.load(Ordering::Relaxed) != bound.0 {
                    self.change();
                    known.store(bound.0, Ordering::Release);
                }
            }
        }
    }

    /// Record that another node owns a slot. The epoch of the slot's entries has ended.
    pub(super) fn set_node(&self, slot: Slot, node: Option<u16>) {
        if let Some(known) =
            self.cluster.as_ref().and_then(|cluster| cluster.nodes.get(slot.index()))
        {
            self.change();
            known.store(node.unwrap_or(u16::MAX), Ordering::Release);
        }
    }

    /// Change the stamp of a cluster.
    fn change(&self) {
        // The engine is the only writer.
        let next = self.first.load(Ordering::Relaxed) + 1;
        self.first.store(next, Ordering::Release);
    }
}

impl OfCluster {
    fn bound(&self, slot: Slot) -> Time {
        if mutant!(BoundOfOtherNode) {
            let all = self.bounds.iter().map(|bound| bound.load(Ordering::Acquire));
            return Time(all.max().unwrap_or(0));
        }
        let node = self.nodes.get(slot.index()).map(|node| node.load(Ordering::Acquire));
        let bound = node.and_then(|node| self.bounds.get(usize::from(node)));
        Time(bound.map_or(0, |bound| bound.load(Ordering::Acquire)))
    }
}
