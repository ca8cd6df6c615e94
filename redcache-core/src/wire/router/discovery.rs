//! How a cluster is found and kept in sight: asking who owns what, and what follows from the answer.

use super::cluster::{IDLE_KEPT, NODES_MAX};
use super::node::is_lasting;
use super::{Action, Context, Node, NodeId, Router, RouterEvent};
use crate::api::config::Address;
use crate::api::error::{Error, ErrorKind, Transient};
use crate::protocol::slot::{Slot, SlotSet};
use crate::protocol::topology::{NoTopology, Question, Topology};

use std::time::Instant;

impl Router {
    /// Asks who owns what, if it is time.
    pub(super) fn rediscover(&mut self, ctx: Context<'_>) {
        let is_due = self.cluster.as_mut().is_some_and(|cluster| cluster.is_due(ctx.now));
        if !is_due || self.closed {
            return;
        }
        match self.refresh_target() {
            Some(id) => self.ask(ctx, id),
            None => self.try_next_seed(ctx),
        }
    }

    /// When there is something to ask next.
    pub(super) fn rediscover_at(&self) -> Option<Instant> {
        let cluster = self.cluster.as_ref().filter(|_| !self.closed);
        cluster.and_then(|cluster| cluster.poll_timeout())
    }

    /// The node that is asked: the one that was hinted at, else each in turn.
    fn refresh_target(&self) -> Option<NodeId> {
        let cluster = self.cluster.as_ref()?;
        let is_able = |id: NodeId, node: &Node| {
            node.is_ready() && (node.slots > 0 || cluster.seeds.tried == Some(id))
        };
        let able: Vec<NodeId> =
            self.ids().filter(|(id, node)| is_able(*id, node)).map(|(id, _)| id).collect();
        let hinted = able.iter().find(|id| {
            let node = self.nodes.get(id.index());
            node.is_some_and(|node| Some(&node.address) == cluster.hint.as_ref())
        });
        let next = || able.iter().find(|id| id.index() > cluster.turn).or_else(|| able.first());
        hinted.or_else(next).copied()
    }

    fn ids(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        // Never more than `NODES_MAX`.
        self.nodes.iter().map(|(index, node)| (NodeId(index as u16), node))
    }

    fn ask(&mut self, ctx: Context<'_>, id: NodeId) {
        let Some(cluster) = &mut self.cluster else { return };
        if let Some(conn) = self.nodes.get_mut(id.index()).and_then(Node::ask_topology) {
            cluster.turn = id.index();
            cluster.on_asked(ctx.now, conn, ctx.config);
        }
    }

    /// Tries the next seed.
    fn try_next_seed(&mut self, ctx: Context<'_>) {
        // Each seed at most once; more is left to the next time.
        let Some(cluster) = &self.cluster else { return };
        for _ in 0..cluster.seeds.addresses.len() {
            let Some(cluster) = &mut self.cluster else { return };
            let Some(address) = cluster.seeds.next(ctx.now) else { return };
            if self.node_of(&address).is_none()
                && let Some(id) = self.node_at(ctx, address)
                && let Some(cluster) = &mut self.cluster
            {
                cluster.seeds.tried = Some(id);
                return;
            }
            // It is a node that dials by itself.
            let Some(cluster) = &mut self.cluster else { return };
            cluster.seeds.pass(ctx.now, None, &mut self.rng);
        }
    }

    pub(super) fn node_of(&self, address: &Address) -> Option<NodeId> {
        self.ids().find(|(_, node)| node.address == *address).map(|(id, _)| id)
    }

    /// The node at an address, which is dialed if it is new. `None` when there are too many.
    pub(super) fn node_at(&mut self, ctx: Context<'_>, address: Address) -> Option<NodeId> {
        if let Some(id) = self.node_of(&address) {
            return Some(id);
        }
        if self.nodes.len() >= NODES_MAX {
            return None;
        }
        let mut node = Node::new(ctx.now, address, ctx.config);
        node.idle_until = ctx.now + IDLE_KEPT;
        // Less than `NODES_MAX`, which a `u16` holds.
        Some(NodeId(self.nodes.insert(node) as u16))
    }

    /// A node has said what it knows.
    pub(super) fn on_topology(
        &mut self,
        ctx: Context<'_>,
        from: NodeId,
        answer: Result<Topology, NoTopology>,
    ) {
        let Some(node) = self.nodes.get_mut(from.index()) else { return };
        let error = match answer {
            Ok(topology) if !topology.primaries.is_empty() => {
                return self.learn(ctx, from, &topology);
            }
            Err(NoTopology::Refused(_)) if node.question == Question::Shards => {
                node.question = Question::Slots;
                return self.ask(ctx, from);
            }
            Ok(_) => {
                let text = format!("{}: it knows of no slot that is owned", node.address);
                Error::new(ErrorKind::Unavailable, text)
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
            self.drop_link(ctx, from, &error);
        }
    }

    fn learn(&mut self, ctx: Context<'_>, from: NodeId, topology: &Topology) {
        let Some(cluster) = &mut self.cluster else { return };
        if !cluster.accepts(topology.epoch) {
            self.plan_rediscovery(ctx);
            // Somebody else may know more.
            if let Some(cluster) = &mut self.cluster {
                cluster.request_discovery_soon(ctx.now);
            }
            return;
        }
        cluster.on_known();
        cluster.seeds.tried.take_if(|tried| *tried == from);
        self.adopt(ctx, from, topology);
        self.plan_rediscovery(ctx);
    }

    fn plan_rediscovery(&mut self, ctx: Context<'_>) {
        let is_lost = |node: &Node| node.slots > 0 && node.is_in_trouble();
        let lost = self.nodes.iter().any(|(_, node)| is_lost(node)) || !self.unrouted.is_empty();
        if let Some(cluster) = &mut self.cluster {
            let interval = cluster.interval(lost, ctx.config);
            cluster.on_answered(ctx.now, interval, &mut self.rng);
        }
    }

    /// Makes what a node says the map.
    fn adopt(&mut self, ctx: Context<'_>, from: NodeId, topology: &Topology) {
        let Some(asked) = self.nodes.get(from.index()).map(|node| node.address.clone()) else {
            return;
        };
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
        self.effects.events.push_back(RouterEvent::Moved { slots: changed });
        self.announce_owners();
        self.reroute_queues(ctx);
    }

    /// Gives a slot to a node. Its waiters and copies are still to be told.
    pub(super) fn assign(&mut self, ctx: Context<'_>, slot: Slot, owner: Option<NodeId>) {
        let Some(cluster) = &mut self.cluster else { return };
        let before = cluster.assign(slot, owner);
        if let Some(node) = before.and_then(|id| self.nodes.get_mut(id.index())) {
            node.slots -= 1;
            node.idle_until = ctx.now + IDLE_KEPT;
        }
        if let Some(node) = owner.and_then(|id| self.nodes.get_mut(id.index())) {
            node.slots += 1;
        }
    }

    /// A connection that was there before its node owned anything is told of now.
    pub(super) fn announce_owners(&mut self) {
        let Some(cluster) = &self.cluster else { return };
        for (index, node) in &mut self.nodes {
            if node.slots > 0 && node.is_ready() && !node.is_announced {
                let slots = cluster.slots_of(NodeId(index as u16));
                self.effects.events.push_back(node.announce(slots));
            }
        }
    }

    /// What waits for a connection to a node that does not own its slot any more goes to the one that does.
    fn reroute_queues(&mut self, ctx: Context<'_>) {
        let mut waiting = std::mem::take(&mut self.unrouted);
        for (_, node) in &mut self.nodes {
            waiting.extend(node.take_queue());
        }
        // Each queue is in order, and the order of issue is that of all.
        waiting.make_contiguous().sort_by_key(|issued| issued.issued_at);
        for mut issued in waiting {
            // Whoever asked to be asked is asked again if that still holds.
            issued.asking = false;
            self.route(ctx, issued);
        }
    }

    /// A connection is gone. Another node may own its slots by now.
    pub(super) fn on_node_lost(
        &mut self,
        ctx: Context<'_>,
        id: NodeId,
        (was_ready, reason): (bool, &Error),
    ) {
        let Some(cluster) = &mut self.cluster else { return };
        if cluster.is_asked(id) {
            cluster.on_answered(ctx.now, ctx.config.discovery_interval, &mut self.rng);
        }
        if was_ready {
            cluster.request_discovery(ctx.now, None);
        } else {
            cluster.request_discovery_soon(ctx.now);
        }
        if cluster.seeds.tried == Some(id) {
            let is_round = cluster.seeds.pass(ctx.now, Some(reason), &mut self.rng);
            if is_round && !cluster.is_known {
                self.effects.events.push_back(RouterEvent::NotUp { reason: reason.clone() });
                if is_lasting(reason) {
                    self.fail_unrouted(reason);
                }
            }
        }
        self.end_if_unused(ctx, id);
    }

    /// A node without slots is not dialed again. What was asked of it is asked of the owner.
    fn end_if_unused(&mut self, ctx: Context<'_>, id: NodeId) {
        let is_unused = |node: &Node| node.slots == 0 && node.is_down();
        if self.nodes.get(id.index()).is_some_and(is_unused) {
            let queue = self.nodes.remove(id.index()).take_queue();
            for mut issued in queue {
                issued.asking = false;
                self.route(ctx, issued);
            }
        }
    }

    /// Ends the connection to a node that owns no slot, once nothing is awaited of it.
    pub(super) fn end_idle(&mut self, now: Instant, id: NodeId) {
        let node = self.nodes.get(id.index());
        let idle_until = node.and_then(|node| self.idle_until(id, node));
        if idle_until.is_some_and(|until| until <= now) {
            self.nodes.remove(id.index()).hang_up(&mut self.effects);
        }
    }

    /// Up to when a node is kept that nobody needs; `None` for one that is needed.
    fn idle_until(&self, id: NodeId, node: &Node) -> Option<Instant> {
        let cluster = self.cluster.as_ref()?;
        let is_needed = node.slots > 0
            || node.in_flight() > 0
            || cluster.seeds.tried == Some(id)
            || cluster.is_asked(id);
        (!is_needed).then_some(node.idle_until)
    }

    /// When the next node is to end that nobody needs.
    pub(super) fn end_idle_at(&self) -> Option<Instant> {
        self.cluster.as_ref()?;
        self.ids().filter_map(|(id, node)| self.idle_until(id, node)).min()
    }

    /// Hangs up on a node.
    pub(super) fn drop_link(&mut self, ctx: Context<'_>, id: NodeId, reason: &Error) {
        if let Some(conn) = self.nodes.get(id.index()).and_then(Node::open_conn) {
            self.effects.actions.push_back(Action::HangUp { conn });
            self.on_disconnect(ctx, id, reason);
        }
    }
}
