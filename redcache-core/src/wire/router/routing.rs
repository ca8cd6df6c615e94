//! The choice of a node for a command.

use std::time::Instant;

use super::cluster::{Cluster, IDLE_KEPT};
use super::context::Context;
use super::culprits::{Admission, Culprits};
use super::effects::{Effects, RouterEvent};
use super::id::NodeId;
use super::node::{Node, UNANSWERED_MAX};
use super::nodes::Nodes;
use super::peers::Peers;
use super::probing::Probing;
use super::queue::Queue;
use super::sentinel::Sentinels;
use crate::api::config::{Address, Config, Servers};
use crate::api::error::{Error, ErrorKind};
use crate::api::key::Key;
use crate::protocol::command::{Command, Token};
use crate::protocol::slot::{Slot, SlotSet};
use crate::rng::Rng;
use crate::wire::issued::Issued;

/// All servers of one cache, and every command that has no answer yet.
#[derive(Debug)]
pub(crate) struct Router {
    pub(super) nodes: Nodes,
    /// `None` for a standalone server.
    pub(super) cluster: Option<Box<Cluster>>,
    /// The sentinels that know the address of a standalone server; `None` if the settings contain
    /// it.
    pub(super) sentinels: Option<Box<Sentinels>>,
    /// Commands whose slot has no known owner.
    pub(super) unrouted: Queue,
    /// Commands that a server refused for the moment, by the time of their next try.
    pub(super) paused: Queue,
    pub(super) culprits: Culprits,
    pub(super) peers: Peers,
    pub(super) probing: Probing,
    pub(super) effects: Effects,
    pub(super) rng: Rng,
    /// The size of the unanswered commands of a node beyond which further commands wait.
    unanswered_max: usize,
    pub(super) dialed: u64,
    /// The instant at which a request was sent that was answered after a round trip.
    pub(super) trip: Option<Instant>,
    pub(super) is_closed: bool,
}

impl Router {
    /// Return whether a server gets no commands because too many went unanswered.
    pub(crate) fn is_resting(&self) -> bool {
        self.nodes.iter().any(|(_, node)| node.is_resting())
    }

    /// Return whether an attempt to connect is in progress.
    pub(crate) fn is_connecting(&self) -> bool {
        let mut nodes = self.nodes.iter().map(|(_, node)| node);
        nodes.any(|node| !node.is_ready() && node.link.conn().is_some())
    }

    pub(crate) fn new(now: Instant, config: &Config, rng: Rng) -> Self {
        let mut nodes = Nodes::default();
        let cluster = match &config.servers {
            Servers::None => None,
            Servers::One(address) => {
                nodes.insert(Node::new(now, address.clone(), config));
                None
            }
            Servers::Sentinel { sentinels, .. } => {
                // This address is not used before a sentinel has named the primary.
                let address = sentinels.first().cloned();
                let mut node =
                    Node::new(now, address.unwrap_or_else(|| Address::Unix(String::new())), config);
                node.is_located = false;
                nodes.insert(node);
                None
            }
            Servers::Cluster { seeds } => Some(Box::new(Cluster::new(now, seeds, config))),
        };
        Self {
            nodes,
            cluster,
            sentinels: Sentinels::of(now, config).map(Box::new),
            unrouted: Queue::default(),
            paused: Queue::default(),
            culprits: Culprits::default(),
            peers: Peers::default(),
            probing: Probing::default(),
            effects: Effects::default(),
            rng,
            unanswered_max: UNANSWERED_MAX,
            dialed: 0,
            trip: None,
            is_closed: false,
        }
    }

    /// Set the size of the unanswered commands of a node in bytes beyond which further commands
    /// wait.
    pub(crate) fn limit_unanswered(&mut self, bytes: usize) {
        self.unanswered_max = bytes;
        for id in self.nodes.ids() {
            if let Some(node) = self.nodes.get_mut(id) {
                node.unanswered_max = bytes;
            }
        }
    }

    /// Fail a command that is not to be sent.
    pub(crate) fn fail_unsent(&mut self, token: Token, command: Command, error: Error) {
        self.push_event(RouterEvent::Failed { token, command, error });
    }

    /// Send a command, now or once there is a connection.
    pub(crate) fn send(&mut self, ctx: Context<'_>, token: Token, command: Command) {
        let slot = match &self.cluster {
            None => Slot::FIRST,
            Some(_) => Slot::of(command.key().as_bytes()),
        };
        if let Some(error) = self.refusal(ctx, slot, &command) {
            return self.push_event(RouterEvent::Failed { token, command, error });
        }
        self.probing.on_command(ctx.now, ctx.config);
        let mut issued = Issued::new(ctx.now, token, command, slot);
        match self.culprits.admit(ctx.now, &issued.command) {
            Admission::Free => {}
            Admission::Alone => issued.isolate(),
            Admission::Refused(error) => return self.effects.fail(issued, error),
        }
        self.route(ctx, issued);
    }

    /// Return whether no script is sent, because the server hangs up at each.
    pub(crate) fn forbids_scripts(&self, now: Instant) -> bool {
        self.culprits.forbid_scripts(now)
    }

    /// Return the node that owns a slot.
    pub(super) fn owner(&self, slot: Slot) -> Option<NodeId> {
        match &self.cluster {
            None => Some(NodeId::ONLY),
            Some(cluster) => cluster.owner(slot),
        }
    }

    /// Return the address of the server that gets the commands of a key; `None` while it is
    /// unknown.
    pub(crate) fn server_of(&self, key: &Key) -> Option<&Address> {
        let slot = match &self.cluster {
            None => Slot::FIRST,
            Some(_) => Slot::of(key.as_bytes()),
        };
        let node = self.nodes.get(self.owner(slot)?)?;
        node.is_located.then_some(&node.address)
    }

    pub(super) fn owner_mut(&mut self, slot: Slot) -> Option<&mut Node> {
        let id = self.owner(slot)?;
        self.nodes.get_mut(id)
    }

    pub(super) fn slots_of(&self, id: NodeId) -> SlotSet {
        match &self.cluster {
            None => SlotSet::All,
            Some(cluster) => cluster.slots_of(id),
        }
    }

    /// Return the reason why a command cannot be sent now.
    pub(super) fn refusal(
        &mut self,
        ctx: Context<'_>,
        slot: Slot,
        command: &Command,
    ) -> Option<Error> {
        let (waiting, is_closed) = (self.paused.len(), self.is_closed);
        let owner = self.owner_mut(slot);
        // A command that releases a lock while the cache closes still finds an open connection.
        if is_closed && !owner.as_ref().is_some_and(|node| node.is_ready()) {
            return Some(Error::closed());
        }
        if let Some(node) = owner {
            return node.refusal(ctx.now, command, waiting, ctx.config);
        }
        if self.unrouted.len() + waiting >= ctx.config.inflight_max {
            return Some(Error::new(ErrorKind::Overloaded, "the limit is `inflight_max`"));
        }
        self.cluster.as_ref()?.outage(ctx.now, ctx.config)
    }

    /// Pass a command to the node that owns its slot.
    pub(super) fn route(&mut self, ctx: Context<'_>, issued: Issued) {
        match self.owner(issued.slot) {
            Some(id) => self.send_to(ctx, id, issued),
            None => self.unrouted.push(issued),
        }
    }

    /// Pass a command to a node.
    pub(super) fn send_to(&mut self, ctx: Context<'_>, id: NodeId, issued: Issued) {
        let Some(node) = self.nodes.get_mut(id) else { return self.unrouted.push(issued) };
        node.send(ctx.now, issued, ctx.lock_settings);
        if !node.is_at_rest() {
            self.send_waiting(ctx, id);
        }
    }

    /// Send the commands that wait for a node, as far as its connection has room for them. Commands
    /// whose slot has moved meanwhile are sent to the new owner.
    pub(super) fn send_waiting(&mut self, ctx: Context<'_>, id: NodeId) {
        if self.nodes.get(id).is_none_or(Node::is_at_rest) {
            return;
        }
        let mut owners = Vec::new();
        while let Some(node) = self.nodes.get_mut(id)
            && let Some((lane, issued)) = node.next_waiting()
        {
            let owner = if issued.asking { Some(id) } else { self.owner(issued.slot) };
            match owner.and_then(|owner| Some((owner, self.nodes.get_mut(owner)?))) {
                Some((owner, node)) if owner == id => {
                    node.send_waited(ctx.now, lane, issued, ctx.lock_settings);
                }
                Some((owner, node)) => {
                    node.send(ctx.now, issued, ctx.lock_settings);
                    owners.push(owner);
                }
                None => self.unrouted.push(issued),
            }
        }
        self.report_untracked(id);
        for owner in owners {
            self.send_waiting(ctx, owner);
        }
    }

    /// Report the keys that have left the large link of a node.
    fn report_untracked(&mut self, id: NodeId) {
        if let Some(large) = self.nodes.get_mut(id).and_then(|node| node.large.as_mut()) {
            let keys = large.take_untracked();
            if !keys.is_empty() {
                self.push_event(RouterEvent::Untracked { keys });
            }
        }
    }

    /// Return the node at an address, which is dialed if it is new; `None` if there are too many.
    pub(super) fn node_at(&mut self, ctx: Context<'_>, address: Address) -> Option<NodeId> {
        if let Some(id) = self.nodes.at(&address) {
            return Some(id);
        }
        let mut node = Node::new(ctx.now, address, ctx.config);
        node.unanswered_max = self.unanswered_max;
        node.idle_until = ctx.now + IDLE_KEPT;
        self.nodes.insert(node)
    }

    /// Assign a slot to a node. The caller reports the move.
    pub(super) fn assign(&mut self, ctx: Context<'_>, slot: Slot, owner: Option<NodeId>) {
        let Some(cluster) = &mut self.cluster else { return };
        let before = cluster.assign(slot, owner);
        if let Some(node) = before.and_then(|id| self.nodes.get_mut(id)) {
            node.slots -= 1;
            node.idle_until = ctx.now + IDLE_KEPT;
        }
        if let Some(node) = owner.and_then(|id| self.nodes.get_mut(id)) {
            node.slots += 1;
        }
    }

    /// Announce the connections that were ready before their nodes owned a slot.
    pub(super) fn announce_owners(&mut self) {
        let Some(cluster) = &self.cluster else { return };
        for (id, node) in self.nodes.iter_mut() {
            if node.slots > 0 && node.is_ready() && !node.is_announced {
                self.effects.events.push_back(node.announce(cluster.slots_of(id)));
            }
        }
    }

    /// Query the slot map soon; the node at `hint` may know a newer one.
    pub(super) fn request_discovery(&mut self, ctx: Context<'_>, hint: Option<Address>) {
        if let Some(cluster) = &mut self.cluster {
            cluster.request_discovery(ctx.now, hint);
        }
    }

    pub(super) fn fail_queue(&mut self, id: NodeId, error: &Error) {
        if let Some(node) = self.nodes.get_mut(id) {
            self.effects.fail_all(node.waiting.take(), error);
        }
    }

    pub(super) fn fail_paused(&mut self, error: &Error) {
        self.effects.fail_all(self.paused.take(), error);
    }

    pub(super) fn fail_unrouted(&mut self, error: &Error) {
        self.effects.fail_all(self.unrouted.take(), error);
    }

    pub(super) fn push_event(&mut self, event: RouterEvent) {
        self.effects.events.push_back(event);
    }
}
