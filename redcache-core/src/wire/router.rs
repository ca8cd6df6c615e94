//! From a command to the connection that carries it, and from a lost connection to the next one.
//!
//! A server on its own is one node. A cluster has one for each primary, and a map that says which slot is whose
//! (`cluster`); the map is learned and kept up to date by asking (`discovery`), and by what nodes say instead of
//! executing a command (`redirects`).
//!
//! A command that the router has taken is answered exactly once, with a [`RouterEvent::Reply`] or a [`RouterEvent::Failed`], no later
//! than the command timeout. It is sent again only if the server has said that it did not execute it, or if executing
//! it twice is the same as once.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use slab::Slab;

use crate::api::config::{Address, Config, Servers};
use crate::api::error::{Error, ErrorKind};
use crate::api::key::Key;
use crate::protocol::command::{Command, Token};
use crate::protocol::lock::LockSettings;
use crate::protocol::reply::Reply;
use crate::protocol::slot::{Slot, SlotSet};
use crate::rng::Rng;
use crate::wire::inbound::{Inbound, Input};
use crate::wire::issued::Issued;

mod breaker;
mod cluster;
mod discovery;
mod node;
mod redirects;

use cluster::Cluster;
use node::{Disconnected, Node, Received, enqueue, is_lasting};

/// Names one connection attempt and, if it succeeds, the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnId {
    number: u64,
    node: NodeId,
}

/// Names a node as long as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct NodeId(u16);

impl NodeId {
    /// A server on its own.
    const ONLY: Self = Self(0);

    fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// What the router has to tell the engine.
#[derive(Debug)]
pub(crate) enum RouterEvent {
    /// A command was answered. Without a token its sender has given up, but the effect is there.
    Reply {
        token: Option<Token>,
        command: Command,
        slot: Slot,
        reply: Reply,
        sent_at: Instant,
        /// It may have been executed before, on a connection that was lost.
        interrupted: bool,
        /// The server will report the next change of what it has said here.
        is_tracked: bool,
    },
    /// A command got no answer.
    Failed {
        token: Token,
        command: Command,
        error: Error,
    },
    /// The sender of a command has waited long enough; its answer will come without a token.
    Overdue {
        token: Token,
        key: Key,
    },
    Invalidated(Vec<Key>),
    Flushed {
        slots: SlotSet,
    },
    /// These slots have another owner, and what the last one has reported is no longer all that happens.
    Moved {
        slots: SlotSet,
    },
    /// A connection is ready; `untracked` says why the server will not report changes.
    Up {
        untracked: Option<String>,
        slots: SlotSet,
    },
    /// A connection is gone, and with it all that was tracked.
    Down {
        reason: Error,
        slots: SlotSet,
    },
    /// An attempt to connect failed.
    NotUp {
        reason: Error,
    },
}

/// What the router wants of the outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Dial { conn: ConnId, address: Address },
    HangUp { conn: ConnId },
}

/// How often one command is sent before its failure is final.
const ATTEMPTS_MAX: u8 = 5;
/// How long a command waits after a refusal that passes by itself.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// What a step of the router may look at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) now: Instant,
    pub(crate) config: &'a Config,
    pub(crate) lock_settings: &'a LockSettings,
}

/// What the outside is still to be told.
#[derive(Debug, Default)]
struct Effects {
    events: VecDeque<RouterEvent>,
    actions: VecDeque<Action>,
}

impl Effects {
    /// Ends a command whose sender still waits.
    fn fail(&mut self, issued: Issued, error: Error) {
        if let Issued { token: Some(token), command, .. } = issued {
            self.events.push_back(RouterEvent::Failed { token, command, error });
        }
    }
}

#[derive(Debug)]
pub(crate) struct Router {
    nodes: Slab<Node>,
    /// `None` for a server on its own.
    cluster: Option<Box<Cluster>>,
    /// Commands whose slot nobody is known to own, oldest first.
    unrouted: VecDeque<Issued>,
    /// Commands that a server refused for the moment, and when to try them again.
    paused: VecDeque<(Instant, Issued)>,
    effects: Effects,
    rng: Rng,
    dialed: u64,
    closed: bool,
}

impl Router {
    pub(crate) fn new(now: Instant, config: &Config, rng: Rng) -> Self {
        let mut nodes = Slab::new();
        let cluster = match &config.servers {
            Servers::One(address) => {
                nodes.insert(Node::new(now, address.clone(), config));
                None
            }
            Servers::Cluster { seeds } => Some(Box::new(Cluster::new(now, seeds, config))),
        };
        Self {
            nodes,
            cluster,
            unrouted: VecDeque::new(),
            paused: VecDeque::new(),
            effects: Effects::default(),
            rng,
            dialed: 0,
            closed: false,
        }
    }

    /// Sends a command, now or once there is a connection.
    pub(crate) fn send(&mut self, ctx: Context<'_>, token: Token, command: Command) {
        let slot = match &self.cluster {
            None => Slot::FIRST,
            Some(_) => Slot::of(command.key().as_bytes()),
        };
        if let Some(error) = self.refusal(ctx, slot, &command) {
            self.effects.events.push_back(RouterEvent::Failed { token, command, error });
            return;
        }
        self.route(ctx, Issued::new(ctx.now, token, command, slot));
    }

    fn refusal(&mut self, ctx: Context<'_>, slot: Slot, command: &Command) -> Option<Error> {
        let waiting = self.paused.len();
        let owner = self.owner(slot).and_then(|id| self.nodes.get_mut(id.index()));
        // What is released on the way out still finds an open connection.
        if self.closed && !owner.as_ref().is_some_and(|node| node.is_ready()) {
            return Some(Error::closed());
        }
        if let Some(node) = owner {
            return node.refusal(ctx.now, command, waiting, ctx.config);
        }
        if self.unrouted.len() + waiting >= ctx.config.inflight_max {
            return Some(Error::new(ErrorKind::Overloaded, "the limit is `inflight_max`"));
        }
        self.cluster.as_ref()?.lasting_fault()
    }

    /// Gives a command to the node that owns its slot.
    fn route(&mut self, ctx: Context<'_>, issued: Issued) {
        let owner = self.owner(issued.slot).and_then(|id| self.nodes.get_mut(id.index()));
        match owner {
            Some(node) => node.send(ctx.now, issued, ctx.lock_settings),
            None => enqueue(&mut self.unrouted, issued),
        }
    }

    fn owner(&self, slot: Slot) -> Option<NodeId> {
        match &self.cluster {
            None => Some(NodeId::ONLY),
            Some(cluster) => cluster.owner(slot),
        }
    }

    /// There is a connection that takes commands.
    pub(crate) fn is_ready(&self) -> bool {
        match &self.cluster {
            None => self.nodes.iter().any(|(_, node)| node.is_ready()),
            Some(_) => self.nodes.iter().any(|(_, node)| node.slots > 0 && node.is_ready()),
        }
    }

    /// There is a connection to every server that commands may go to.
    pub(crate) fn is_whole(&self) -> bool {
        let is_needed = |node: &Node| self.cluster.is_none() || node.slots > 0;
        self.nodes.iter().all(|(_, node)| node.is_ready() || !is_needed(node))
    }

    /// Whatever is read from the servers that are connected, its changes are reported.
    pub(crate) fn is_tracked(&self) -> bool {
        let mut announced = self.nodes.iter().filter(|(_, node)| node.is_announced).peekable();
        announced.peek().is_some() && announced.all(|(_, node)| node.is_tracked())
    }

    /// A call was dropped, and so is its place among the replies.
    #[cfg(redcache_mutants)]
    pub(crate) fn drop_slot(&mut self, token: Token) {
        self.nodes.iter_mut().for_each(|(_, node)| node.drop_slot(token));
    }

    /// How many commands wait for an answer.
    pub(crate) fn in_flight(&self) -> usize {
        let nodes = self.nodes.iter().map(|(_, node)| node.in_flight()).sum::<usize>();
        nodes + self.unrouted.len() + self.paused.len()
    }

    /// More than `limit` commands wait for an answer; found out by looking at no more nodes than it takes.
    pub(crate) fn is_busier_than(&self, limit: usize) -> bool {
        let mut count = self.unrouted.len() + self.paused.len();
        count > limit
            || self.nodes.iter().any(|(_, node)| {
                count += node.in_flight();
                count > limit
            })
    }

    pub(crate) fn handle_connected(&mut self, now: Instant, id: ConnId, config: &Config) {
        let node = self.nodes.get_mut(id.node.index());
        if !node.is_some_and(|node| node.handle_connected(now, id, config)) {
            // An attempt that has been given up succeeded after all.
            self.effects.actions.push_back(Action::HangUp { conn: id });
        }
    }

    /// The connection, or the attempt to make it, has failed.
    pub(crate) fn handle_disconnected(&mut self, ctx: Context<'_>, id: ConnId, reason: &str) {
        if let Some(node) = self.nodes.get(id.node.index())
            && node.has(id)
        {
            let text = format!("{}: {reason}", node.address);
            self.on_disconnect(ctx, id.node, &Error::new(ErrorKind::Unavailable, text));
        }
    }

    /// Takes the next thing that the server said.
    pub(crate) fn receive(
        &mut self,
        ctx: Context<'_>,
        id: ConnId,
        input: &mut Input<'_>,
    ) -> Option<RouterEvent> {
        loop {
            let node = self.nodes.get_mut(id.node.index())?;
            let inbound = match node.receive(ctx.now, id, input, ctx.config, ctx.lock_settings) {
                Received::Nothing => return None,
                Received::Inbound(inbound) => inbound,
                Received::ProtocolError(error, culprit) => {
                    self.effects.actions.push_back(Action::HangUp { conn: id });
                    self.on_disconnect(ctx, id.node, &error);
                    // It is not tried again: one whose answer is too large would be so each time.
                    culprit.into_iter().for_each(|issued| self.effects.fail(issued, error.clone()));
                    return None;
                }
            };
            let event = match inbound {
                Inbound::Invalidated(keys) => Some(RouterEvent::Invalidated(keys)),
                Inbound::Flushed => Some(RouterEvent::Flushed { slots: self.slots_of(id.node) }),
                Inbound::Ready { untracked } => self.on_ready(ctx, id.node, untracked),
                Inbound::Reply { issued, reply } => self.on_reply(ctx, id.node, issued, reply),
                Inbound::Topology(answer) => {
                    self.on_topology(ctx, id.node, answer);
                    self.effects.events.pop_front()
                }
            };
            if event.is_some() {
                return event;
            }
        }
    }

    fn on_ready(
        &mut self,
        ctx: Context<'_>,
        id: NodeId,
        untracked: Option<String>,
    ) -> Option<RouterEvent> {
        let node = self.nodes.get_mut(id.index())?;
        node.on_ready(ctx.now, untracked, ctx.lock_settings);
        match &mut self.cluster {
            None => Some(node.announce(SlotSet::All)),
            Some(cluster) => {
                cluster.on_node_ready();
                (node.slots > 0).then(|| node.announce(cluster.slots_of(id)))
            }
        }
    }

    fn on_reply(
        &mut self,
        ctx: Context<'_>,
        from: NodeId,
        issued: Issued,
        reply: Reply,
    ) -> Option<RouterEvent> {
        let node = self.nodes.get_mut(from.index())?;
        node.on_answer(&reply);
        let is_tracked = node.is_tracked();
        let issued = match &reply {
            Reply::Refused(refusal) => match self.send_on(ctx, from, issued, refusal) {
                Some(issued) => issued,
                None => return self.effects.events.pop_front(),
            },
            Reply::Read(_) | Reply::Raw(_) | Reply::Effect(_) | Reply::WriteLock(_) => issued,
        };
        let is_tracked = is_tracked && !issued.asking && self.owner(issued.slot) == Some(from);
        let Issued { token, command, slot, sent_at, interrupted, .. } = issued;
        Some(RouterEvent::Reply { token, command, slot, reply, sent_at, interrupted, is_tracked })
    }

    /// The slots of a node.
    fn slots_of(&self, id: NodeId) -> SlotSet {
        match &self.cluster {
            None => SlotSet::All,
            Some(cluster) => cluster.slots_of(id),
        }
    }

    /// Gives a connection up. What may be sent again waits for the next one, or for another owner.
    fn on_disconnect(&mut self, ctx: Context<'_>, id: NodeId, reason: &Error) {
        let slots = self.slots_of(id);
        let Some(node) = self.nodes.get_mut(id.index()) else { return };
        let was_announced = node.is_announced;
        let Disconnected { was_ready, unanswered } =
            node.on_disconnect(ctx.now, reason, &mut self.rng);
        // Before the news of any single command: from here on nothing is tracked.
        if was_announced {
            self.effects.events.push_back(RouterEvent::Down { reason: reason.clone(), slots });
        } else if self.cluster.is_none() || node.slots > 0 {
            self.effects.events.push_back(RouterEvent::NotUp { reason: reason.clone() });
        }
        for issued in unanswered {
            self.requeue(ctx, issued);
        }
        if self.closed || (!was_ready && is_lasting(reason)) {
            self.fail_queue(id, reason);
            if self.cluster.is_none() {
                self.fail_paused(reason);
            }
        }
        self.on_node_lost(ctx, id, (was_ready, reason));
    }

    fn requeue(&mut self, ctx: Context<'_>, mut issued: Issued) {
        issued.interrupted = true;
        issued.asking = false;
        if issued.token.is_none() {
            return;
        }
        let is_repeatable = issued.command.is_repeatable() || mutant!(RetryOfAnything);
        if is_repeatable && issued.attempts < ATTEMPTS_MAX {
            self.route(ctx, issued);
        } else {
            self.effects.fail(issued, Error::new(ErrorKind::OutcomeUnknown, ""));
        }
    }

    fn fail_queue(&mut self, id: NodeId, error: &Error) {
        let Some(node) = self.nodes.get_mut(id.index()) else { return };
        for issued in node.take_queue() {
            self.effects.fail(issued, error.clone());
        }
    }

    fn fail_paused(&mut self, error: &Error) {
        for (_, issued) in self.paused.drain(..) {
            self.effects.fail(issued, error.clone());
        }
    }

    fn fail_unrouted(&mut self, error: &Error) {
        for issued in self.unrouted.drain(..) {
            self.effects.fail(issued, error.clone());
        }
    }

    /// Does what is due: dial, give up an attempt, probe, report commands that wait too long, try paused ones again.
    pub(crate) fn handle_timeout(&mut self, ctx: Context<'_>) {
        let limit = ctx.now.checked_sub(ctx.config.command_timeout);
        self.rediscover(ctx);
        for index in 0..self.nodes.capacity() {
            // As many as `cluster` allows.
            let id = NodeId(index as u16);
            self.dial(ctx, id);
            let Some(node) = self.nodes.get_mut(index) else { continue };
            if let Some((conn, why)) = node.overdue_link(ctx.now, ctx.config) {
                self.effects.actions.push_back(Action::HangUp { conn });
                self.handle_disconnected(ctx, conn, why);
            }
            if let (Some(limit), Some(node)) = (limit, self.nodes.get_mut(index)) {
                node.report_overdue(ctx.now, limit, &mut self.effects);
            }
            self.end_idle(ctx.now, id);
        }
        self.report_unrouted(limit);
        while self.paused.front().is_some_and(|(at, _)| *at <= ctx.now) {
            if let Some((_, issued)) = self.paused.pop_front() {
                self.route(ctx, issued);
            }
        }
    }

    fn dial(&mut self, ctx: Context<'_>, id: NodeId) {
        let conn = ConnId { number: self.dialed + 1, node: id };
        if !self.closed
            && let Some(node) = self.nodes.get_mut(id.index())
            && let Some(action) = node.dial(ctx.now, conn, ctx.config)
        {
            self.dialed += 1;
            self.effects.actions.push_back(action);
        }
    }

    fn report_unrouted(&mut self, limit: Option<Instant>) {
        let Some(limit) = limit else { return };
        while self.unrouted.front().is_some_and(|issued| issued.issued_at <= limit) {
            let Some(issued) = self.unrouted.pop_front() else { return };
            let error = match &self.cluster {
                Some(cluster) => cluster.why_unrouted(issued.slot),
                None => Error::new(ErrorKind::Unavailable, "no connection"),
            };
            self.effects.fail(issued, error);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do next.
    pub(crate) fn poll_timeout(&self, config: &Config) -> Option<Instant> {
        let nodes = self.nodes.iter();
        let nodes = nodes.filter_map(|(_, node)| node.poll_timeout(!self.closed, config)).min();
        let unrouted =
            self.unrouted.front().map(|issued| issued.issued_at + config.command_timeout);
        let paused = self.paused.front().map(|(at, _)| *at);
        let waiting = earliest(unrouted, paused);
        let cluster = earliest(self.rediscover_at(), self.end_idle_at());
        earliest(earliest(nodes, waiting), cluster)
    }

    /// Takes the next piece of news that did not come straight from the server.
    pub(crate) fn poll_event(&mut self) -> Option<RouterEvent> {
        self.effects.events.pop_front()
    }

    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.effects.actions.pop_front()
    }

    pub(crate) fn take_transmit(&mut self, id: ConnId, into: &mut Vec<u8>) -> bool {
        match self.nodes.get_mut(id.node.index()) {
            Some(node) => node.take_transmit(id, into),
            None => {
                into.clear();
                false
            }
        }
    }

    /// The connections that have bytes to write.
    pub(crate) fn transmits(&self) -> impl Iterator<Item = ConnId> {
        self.nodes.iter().filter_map(|(_, node)| node.transmits())
    }

    /// Whether this connection has bytes to write.
    pub(crate) fn has_transmit(&self, id: ConnId) -> bool {
        self.unwritten(id) > 0
    }

    /// How many bytes wait to be written on a connection.
    pub(crate) fn unwritten(&self, id: ConnId) -> usize {
        self.nodes.get(id.node.index()).map_or(0, |node| node.unwritten(id))
    }

    /// Makes no further connection; what is under way, and what is released, still gets through.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        let closed = Error::closed();
        self.end_nodes(|node| !node.is_ready());
        self.fail_unrouted(&closed);
        if !self.nodes.iter().any(|(_, node)| node.is_ready()) {
            self.fail_paused(&closed);
        }
    }

    /// Ends every connection, whatever is under way.
    pub(crate) fn hang_up(&mut self) {
        self.closed = true;
        let closed = Error::closed();
        self.end_nodes(|_| true);
        self.fail_unrouted(&closed);
        self.fail_paused(&closed);
    }

    fn end_nodes(&mut self, ends: impl Fn(&Node) -> bool) {
        for (_, node) in self.nodes.iter_mut().filter(|(_, node)| ends(node)) {
            node.hang_up(&mut self.effects);
            for issued in node.take_queue() {
                self.effects.fail(issued, Error::closed());
            }
        }
    }
}

fn earliest(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests;
