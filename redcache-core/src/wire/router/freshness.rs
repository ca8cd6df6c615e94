//! The freshness of the connections: how current their near entries are, and how long the entries
//! may be trusted.

use std::time::Instant;

use super::context::Context;
use super::link::Link;
use super::node::Node;
use super::routing::Router;
use crate::api::config::Config;
use crate::protocol::slot::Slot;

impl Router {
    /// Return, for each announced connection, the index of its node and the instant at which its
    /// entries were known to be current.
    pub(crate) fn bounds(&self) -> impl Iterator<Item = (u16, Option<Instant>)> {
        let is_announced = |node: &Node| node.is_announced || mutant!(BoundOfNextConnection);
        let known = self.nodes.iter().filter(move |(_, node)| is_announced(node));
        known.filter_map(|(id, node)| {
            let ordinary = node.link.open()?.1.fresh_as_of();
            let large = node.large.as_ref().and_then(|large| large.fresh_as_of());
            // An absent bound of the ordinary link is the earliest.
            Some((id.0, ordinary.map(|at| large.map_or(at, |large| at.min(large)))))
        })
    }

    /// Return the index of the node that owns a slot.
    pub(crate) fn owner_index(&self, slot: Slot) -> Option<u16> {
        self.owner(slot).map(|id| id.0)
    }

    /// Return the earliest instant at which a connection counts as dead without a further sign of
    /// life. If the engine's timeouts are not handled, nothing closes the connection at that
    /// instant.
    pub(crate) fn dead_at(&self, config: &Config) -> Option<Instant> {
        let open = self.nodes.iter().flat_map(|(_, node)| node.links()).filter_map(Link::open);
        let ready = open.filter(|(_, conn)| conn.is_ready());
        ready.map(|(_, conn)| conn.dead_at(config.heartbeat_interval)).min()
    }

    /// Take the instant at which a request was sent, if the last bytes answered it and it took one
    /// round trip.
    pub(crate) fn take_trip(&mut self) -> Option<Instant> {
        self.trip.take()
    }

    /// Record the number of near hits so far.
    pub(crate) fn note_hits(&mut self, ctx: Context<'_>, hits: u64) {
        self.probing.on_hits(ctx.now, hits, ctx.config);
    }

    /// Return the instant at which the next connection is to be probed.
    pub(super) fn probe_at(&self, config: &Config) -> Option<Instant> {
        let links = self.nodes.iter().flat_map(|(_, node)| node.links());
        let idle = links.filter_map(Link::idle_since);
        idle.min().and_then(|since| self.probing.due_at(since, config))
    }
}
