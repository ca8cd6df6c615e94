//! The discovery of the slot map of a cluster, and its updates.

use std::time::Instant;

use super::context::Context;
use super::effects::RouterEvent;
use super::id::NodeId;
use super::node::Node;
use super::routing::Router;
use crate::api::error::{Error, ErrorKind, Transient};
use crate::protocol::slot::{Slot, SlotSet};
use crate::protocol::topology::{NoTopology, Question, Topology};

impl Router {
    /// Query the slot map, if that is due.
    pub(super) fn rediscover(&mut self, ctx: Context<'_>) {
        let is_due = self.cluster.as_mut().is_some_and(|cluster| cluster.is_due(ctx.now));
        if !is_due || self.is_closed {
            return;
        }
        let target = self.refresh_target();
        if let Some(cluster) = &mut self.cluster {
            cluster.seeds.is_needed = target.is_none();
            if target.is_none() || cluster.witness.is_in_doubt() {
                self.try_next_seed(ctx);
            }
        }
        if let Some(id) = target {
            self.ask(ctx, id);
        }
    }

    /// Return the instant at which the next [`rediscover`](Self::rediscover) is due.
    pub(super) fn rediscover_at(&self) -> Option<Instant> {
        let cluster = self.cluster.as_ref().filter(|_| !self.is_closed);
        cluster.and_then(|cluster| cluster.poll_timeout())
    }

    /// Return the node to query: the one that a redirect named, else each in turn.
    fn refresh_target(&self) -> Option<NodeId> {
        let cluster = self.cluster.as_ref()?;
        let is_able = |id: NodeId, node: &Node| {
            node.is_ready() && (node.slots > 0 || cluster.seeds.tried == Some(id))
        };
        let able = self.nodes.iter().filter(|(id, node)| is_able(*id, node));
        let able: Vec<NodeId> = able.map(|(id, _)| id).collect();
        let hinted = able.iter().find(|id| {
            let node = self.nodes.get(**id);
            node.is_some_and(|node| Some(&node.address) == cluster.hint.as_ref())
        });
        let next = || able.iter().find(|id| id.index() > cluster.turn).or_else(|| able.first());
        hinted.or_else(next).copied()
    }

    fn ask(&mut self, ctx: Context<'_>, id: NodeId) {
        let Some(cluster) = &mut self.cluster else { return };
        let Some(node) = self.nodes.get_mut(id) else { return };
        if let Some(conn) = node.link.ask_topology(node.question) {
            cluster.turn = id.index();
            cluster.on_asked(ctx.now, conn, ctx.config);
        }
    }

    /// Dial the next seed that is not yet a node.
    fn try_next_seed(&mut self, ctx: Context<'_>) {
        let Some(cluster) = &self.cluster else { return };
        // Each seed is tried at most once; further ones wait for the next call.
        for _ in 0..cluster.seeds.len() {
            let Some(cluster) = &mut self.cluster else { return };
            let Some(address) = cluster.seeds.next(ctx.now) else { return };
            if self.nodes.at(&address).is_none()
                && let Some(id) = self.node_at(ctx, address)
                && let Some(cluster) = &mut self.cluster
            {
                cluster.seeds.tried = Some(id);
                return;
            }
            // The seed is already a node, which is dialed elsewhere.
            let Some(cluster) = &mut self.cluster else { return };
            cluster.seeds.pass(ctx.now, None, &mut self.rng);
        }
    }

    /// Handle a node's answer to a topology query.
    pub(super) fn on_topology(
        &mut self,
        ctx: Context<'_>,
        from: NodeId,
        answer: Result<Topology, NoTopology>,
    ) {
        let Some(node) = self.nodes.get_mut(from) else { return };
        let is_whole = answer.as_ref().is_ok_and(|topology| !topology.is_partial());
        if node.question == Question::Shards && !is_whole && !mutant!(PartialShardsTrusted) {
            node.question = Question::Slots;
            return self.ask(ctx, from);
        }
        let error = match answer {
            Ok(topology) if !topology.primaries.is_empty() => {
                return self.learn(ctx, from, &topology);
            }
            Ok(_) => {
                let text = format!("{}: it knows of no slot that is owned", node.address);
                Error::new(ErrorKind::Unavailable, text)
            }
            Err(NoTopology::Refused(refusal)) if refusal.is_without_cluster() => {
                let address = &node.address;
                let text = format!("{address}: {}; configure `redis://{address}`", refusal.0);
                Error::new(ErrorKind::Config, text)
            }
            Err(NoTopology::Refused(refusal)) => {
                let is_passing = Transient::of(refusal.0.as_bytes()).is_some();
                let kind = if is_passing { ErrorKind::Unavailable } else { ErrorKind::Server };
                Error::new(kind, format!("{}: {}", node.address, refusal.0))
            }
            Err(NoTopology::Malformed(why)) => {
                let text = format!("{}: in what it says of its cluster, {why}", node.address);
                Error::new(ErrorKind::Protocol, text)
            }
        };
        self.plan_rediscovery(ctx);
        if self.cluster.as_ref().is_some_and(|cluster| cluster.seeds.tried == Some(from)) {
            self.hang_up_on(ctx, from, &error);
        }
    }

    fn learn(&mut self, ctx: Context<'_>, from: NodeId, topology: &Topology) {
        let (Some(cluster), Some(node)) = (&mut self.cluster, self.nodes.get(from)) else { return };
        let is_accepted =
            cluster.accepts_loss(&node.address, topology) && cluster.accepts(topology.info.epoch);
        if is_accepted {
            cluster.on_known();
        }
        if cluster.seeds.tried == Some(from) {
            if cluster.witness.is_in_doubt() {
                // Another seed may know more.
                cluster.seeds.pass(ctx.now, None, &mut self.rng);
            }
            cluster.seeds.tried = None;
        }
        if is_accepted {
            self.adopt(ctx, from, topology);
        }
        self.plan_rediscovery(ctx);
        if let Some(cluster) = self.cluster.as_mut().filter(|_| !is_accepted) {
            // Another node may know more.
            cluster.request_discovery_soon(ctx.now);
        }
    }

    fn plan_rediscovery(&mut self, ctx: Context<'_>) {
        let is_lost = |node: &Node| node.slots > 0 && node.is_in_trouble();
        let lost = self.nodes.iter().any(|(_, node)| is_lost(node)) || !self.unrouted.is_empty();
        if let Some(cluster) = &mut self.cluster {
            let interval = cluster.interval(lost, ctx.config);
            cluster.on_answered(ctx.now, interval, &mut self.rng);
        }
    }

    /// Adopt a node's answer as the slot map.
    fn adopt(&mut self, ctx: Context<'_>, from: NodeId, topology: &Topology) {
        let Some(asked) = self.nodes.get(from).map(|node| node.address.clone()) else { return };
        let mut owners = vec![None; usize::from(Slot::COUNT)];
        for primary in &topology.primaries {
            let id = self.node_at(ctx, primary.endpoint.address(&asked));
            for (first, last) in &primary.slots {
                owners[first.index()..=last.index()].fill(id);
            }
        }
        let mut changed = SlotSet::default();
        for (slot, owner) in Slot::all().zip(owners) {
            if self.owner(slot) != owner {
                self.assign(ctx, slot, owner);
                changed.insert(slot);
            }
        }
        if changed.is_empty() {
            return;
        }
        self.push_event(RouterEvent::Moved { slots: changed });
        self.announce_owners();
        self.reroute_queues(ctx);
    }

    /// Route the commands again that wait for a connection or for an owner.
    fn reroute_queues(&mut self, ctx: Context<'_>) {
        let mut waiting = std::mem::take(&mut self.unrouted);
        for (_, node) in self.nodes.iter_mut() {
            node.waiting.take().for_each(|issued| waiting.push(issued));
        }
        for mut issued in waiting.take() {
            // An `ASK` redirect is not replayed; the owner repeats it if it still applies.
            issued.asking = false;
            self.route(ctx, issued);
        }
    }
}
