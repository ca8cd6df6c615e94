//! The router: it selects the connection for a command, and replaces lost connections.
//!
//! A standalone server is one node. A cluster has one node for each primary, and a slot map
//! (`cluster`). The router learns the map from queries (`discovery`) and from the redirects of
//! nodes (`redirects`).
//!
//! The router answers each accepted command exactly once, with a [`RouterEvent::Reply`] or a
//! [`RouterEvent::Failed`], no later than the command timeout. It sends a command again only if the
//! server has reported that the command was not executed, or if executing it twice has the same
//! effect as executing it once.

use std::time::Instant;

use crate::api::config::Config;
use crate::api::error::{Error, ErrorKind};
#[cfg(redcache_mutants)]
use crate::protocol::command::Token;
use crate::protocol::reply::Reply;
use crate::protocol::slot::SlotSet;
use crate::wire::inbound::Inbound;
use crate::wire::input::Input;
use crate::wire::issued::Issued;

mod advice;
mod breaker;
mod cluster;
mod consult;
mod context;
mod culprits;
mod dialing;
mod disconnect;
mod discovery;
mod effects;
mod freshness;
mod hello;
mod id;
mod large;
mod large_events;
mod large_keys;
mod link;
mod links;
mod logins;
mod node;
mod nodes;
mod peers;
mod probing;
mod queue;
mod redirects;
mod replica;
mod reply_window;
mod routing;
mod seeds;
mod sentinel;
mod waiting;
mod witness;

pub(crate) use context::Context;
use context::earliest;
pub(crate) use effects::{Action, RouterEvent};
use id::NodeId;
pub use id::{ConnId, LoginId, Transmit};
#[cfg(redcache_mutants)]
use link::Link;
use link::Received;
use links::Lane;
use node::Node;
pub(crate) use routing::Router;

impl Router {
    /// Return whether any connection accepts commands.
    pub(crate) fn is_ready(&self) -> bool {
        let is_needed = |node: &Node| self.cluster.is_none() || node.slots > 0;
        self.nodes.iter().any(|(_, node)| is_needed(node) && node.is_ready())
    }

    /// Return whether every server that commands may go to is connected.
    pub(crate) fn is_whole(&self) -> bool {
        let is_needed = |node: &Node| self.cluster.is_none() || node.slots > 0;
        self.nodes.iter().all(|(_, node)| node.is_ready() || !is_needed(node))
    }

    /// Return whether every connected server tracks the keys that it sends.
    pub(crate) fn is_tracked(&self) -> bool {
        let mut announced = self.nodes.iter().filter(|(_, node)| node.is_announced).peekable();
        announced.peek().is_some() && announced.all(|(_, node)| node.is_tracked())
    }

    /// Drop the entry of a command in the queue of replies.
    #[cfg(redcache_mutants)]
    pub(crate) fn drop_slot(&mut self, token: Token) {
        for (_, node) in self.nodes.iter_mut() {
            let open = node.links_mut().filter_map(Link::open_mut);
            open.for_each(|(_, conn)| conn.drop_slot(token));
        }
    }

    /// Return the number of commands that wait for an answer.
    pub(crate) fn in_flight(&self) -> usize {
        let nodes = self.nodes.iter().map(|(_, node)| node.in_flight()).sum::<usize>();
        nodes + self.unrouted.len() + self.paused.len()
    }

    /// Return whether more than `limit` commands wait for an answer. It visits no more nodes than
    /// necessary.
    pub(crate) fn is_busier_than(&self, limit: usize) -> bool {
        let mut count = self.unrouted.len() + self.paused.len();
        count > limit
            || self.nodes.iter().any(|(_, node)| {
                count += node.in_flight();
                count > limit
            })
    }

    pub(crate) fn handle_connected(&mut self, ctx: Context<'_>, id: ConnId) {
        if id.node == NodeId::SENTINEL {
            return self.on_sentinel_connected(ctx, id);
        }
        let others = self.peers.others(id);
        let node = self.nodes.get_mut(id.node);
        if !node.is_some_and(|node| node.on_connected(ctx, id, others)) {
            // An abandoned attempt has succeeded.
            self.effects.actions.push_back(Action::HangUp { conn: id });
            return;
        }
        self.ask_credentials(ctx, id.node);
    }

    /// Read the next message of the server from `input`; `None` if more bytes are needed.
    pub(crate) fn receive(
        &mut self,
        ctx: Context<'_>,
        id: ConnId,
        input: &mut Input<'_>,
    ) -> Option<RouterEvent> {
        if id.node == NodeId::SENTINEL {
            self.on_sentinel_bytes(ctx, id, input);
            return self.effects.events.pop_front();
        }
        loop {
            let node = self.nodes.get_mut(id.node)?;
            let lane = node.lane(id)?;
            let inbound = match node.link_of(lane)?.receive(ctx, id, input) {
                Received::Nothing => {
                    self.trip = node.open_mut(id).and_then(|conn| conn.take_trip());
                    self.leave_questionable(ctx, id.node);
                    self.send_waiting(ctx, id.node);
                    return None;
                }
                Received::Inbound(inbound) => inbound,
                Received::ProtocolError(error, culprit) => {
                    self.leave(ctx, id, &error);
                    // The command is not repeated: the same reply would break the next connection.
                    self.effects.fail_all(culprit, &error);
                    return None;
                }
            };
            let event = match inbound {
                Inbound::Invalidated(keys) => Some(RouterEvent::Invalidated(keys)),
                Inbound::Flushed if lane == Lane::Large => Some(self.on_large_flushed(id.node)),
                Inbound::Flushed => Some(RouterEvent::Flushed { slots: self.slots_of(id.node) }),
                Inbound::Ready { untracked } if lane == Lane::Large => {
                    self.on_large_ready(ctx, id.node, untracked.is_none());
                    None
                }
                Inbound::Ready { untracked } => {
                    self.peers.on_ready(id);
                    self.on_ready(ctx, id.node, untracked)
                }
                Inbound::LoginRefused => {
                    self.on_logged_in(ctx, id, false);
                    None
                }
                Inbound::LoggedIn { is_accepted } => {
                    self.on_logged_in(ctx, id, is_accepted);
                    None
                }
                Inbound::Pong => {
                    node.on_pong(ctx.now, lane);
                    None
                }
                Inbound::Reply { issued, reply } => self.on_reply(ctx, (id, lane), issued, reply),
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
        let node = self.nodes.get_mut(id)?;
        node.on_ready(ctx, untracked, &mut self.rng);
        if let Some(sentinels) = &mut self.sentinels {
            sentinels.on_found();
        }
        self.send_waiting(ctx, id);
        let event = self.announce_ready(id);
        self.resume(ctx, id);
        event
    }

    fn announce_ready(&mut self, id: NodeId) -> Option<RouterEvent> {
        let node = self.nodes.get_mut(id)?;
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
        (conn, lane): (ConnId, Lane),
        issued: Issued,
        reply: Reply,
    ) -> Option<RouterEvent> {
        let from = conn.node;
        let node = self.nodes.get_mut(from)?;
        node.on_answer(ctx.now, &reply, issued.hang_ups);
        let is_tracked = node.on_lane_reply(ctx.now, lane, (issued.command.key(), &reply));
        self.send_waiting(ctx, from);
        self.culprits.on_answer(&issued.command);
        let issued = match &reply {
            Reply::Refused(refusal) => match self.redirect(ctx, from, issued, refusal) {
                Some(issued) => issued,
                None => {
                    self.leave_questionable(ctx, from);
                    return self.effects.events.pop_front();
                }
            },
            Reply::Read(_) | Reply::Raw(_) | Reply::Effect(_) | Reply::WriteLock(_) => issued,
        };
        let is_tracked = is_tracked && !issued.asking && self.owner(issued.slot) == Some(from);
        if matches!(&reply, Reply::Refused(refusal) if refusal.ends_connection()) {
            self.leave_unread(ctx, conn);
        }
        self.leave_questionable(ctx, from);
        Some(RouterEvent::Reply { issued, reply, is_tracked })
    }

    /// Handle all deadlines that are due: dial, abandon an attempt, probe, report overdue commands,
    /// send paused ones again.
    pub(crate) fn handle_timeout(&mut self, ctx: Context<'_>) {
        let limit = ctx.now.checked_sub(ctx.config.command_timeout);
        self.rediscover(ctx);
        self.consult(ctx);
        let probed_after = self.probing.interval(ctx.config);
        for id in self.nodes.ids() {
            self.dial(ctx, id);
            let Some(node) = self.nodes.get_mut(id) else { continue };
            if let Some((conn, why)) = node.link.check(ctx.now, ctx.config) {
                let advice = match ctx.config.tls() {
                    _ if !node.link.is_unanswered() => "",
                    Some(_) => advice::OTHER_THAN_TLS,
                    None => advice::TLS,
                };
                self.effects.actions.push_back(Action::HangUp { conn });
                self.lose(ctx, conn, why, advice);
            }
            self.check_large(ctx, id);
            self.ask_credentials(ctx, id);
            if let Some(node) = self.nodes.get_mut(id) {
                node.verify_hello(ctx.now);
                node.links_mut().for_each(|link| link.probe(ctx.now, probed_after));
            }
            self.leave_questionable(ctx, id);
            if let (Some(limit), Some(node)) = (limit, self.nodes.get_mut(id)) {
                node.report_overdue(ctx.now, limit, &mut self.effects);
            }
            self.end_idle(ctx.now, id);
        }
        self.report_unrouted(limit);
        while let Some(issued) = self.paused.pop_until(ctx.now) {
            self.route(ctx, issued);
        }
    }

    fn report_unrouted(&mut self, limit: Option<Instant>) {
        let Some(limit) = limit else { return };
        while let Some(issued) = self.unrouted.pop_until(limit) {
            let error = match &self.cluster {
                Some(cluster) => cluster.why_unrouted(issued.slot),
                None => Error::new(ErrorKind::Unavailable, "no connection"),
            };
            self.effects.fail(issued, error);
        }
    }

    /// Return the instant at which the next [`handle_timeout`](Self::handle_timeout) is due.
    pub(crate) fn poll_timeout(&self, config: &Config) -> Option<Instant> {
        let nodes = self.nodes.iter();
        let nodes = nodes.filter_map(|(_, node)| node.poll_timeout(!self.is_closed, config)).min();
        let unrouted = self.unrouted.first_at().map(|issued_at| issued_at + config.command_timeout);
        let waiting = earliest(unrouted, self.paused.first_at());
        let cluster = earliest(self.rediscover_at(), self.end_idle_at());
        let discovery = earliest(cluster, self.consult_at(config));
        earliest(earliest(nodes, waiting), earliest(discovery, self.probe_at(config)))
    }

    /// Return the next event that [`receive`](Self::receive) did not return.
    pub(crate) fn poll_event(&mut self) -> Option<RouterEvent> {
        self.effects.events.pop_front()
    }

    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        let action = self.effects.actions.pop_front();
        if let Some(Action::HangUp { conn }) = &action {
            self.peers.on_ended(*conn, true);
        }
        action
    }

    /// Swap the bytes to write on a connection with the buffer. Return `false` if there are none.
    pub(crate) fn take_transmit(&mut self, id: ConnId, into: &mut Vec<u8>) -> bool {
        if let Some(sentinels) = &mut self.sentinels
            && id.node == NodeId::SENTINEL
        {
            return sentinels.take_transmit(id, into);
        }
        into.clear();
        let open = self.nodes.get_mut(id.node).and_then(|node| node.open_mut(id));
        open.is_some_and(|conn| conn.take_transmit(into))
    }

    /// Record that the server accepts the bytes that are written on a connection.
    pub(crate) fn handle_written(&mut self, now: Instant, id: ConnId) {
        if let Some(conn) = self.nodes.get_mut(id.node).and_then(|node| node.open_mut(id)) {
            conn.on_written(now);
        }
    }

    /// Return the connections that have bytes to write.
    pub(crate) fn transmits(&self) -> impl Iterator<Item = Transmit> {
        let sentinel = self.sentinels.as_ref().and_then(|sentinels| sentinels.transmit());
        self.nodes.iter().flat_map(|(_, node)| node.transmits()).chain(sentinel)
    }

    /// Stop connecting. Commands in flight, and commands that release locks, are still served.
    pub(crate) fn close(&mut self) {
        self.is_closed = true;
        let closed = Error::closed();
        self.hang_up_on_sentinel();
        self.end_nodes(|node| !node.is_ready());
        self.fail_unrouted(&closed);
        if !self.nodes.iter().any(|(_, node)| node.is_ready()) {
            self.fail_paused(&closed);
        }
    }

    /// End every connection, and fail every command.
    pub(crate) fn hang_up(&mut self) {
        self.is_closed = true;
        let closed = Error::closed();
        self.hang_up_on_sentinel();
        self.end_nodes(|_| true);
        self.fail_unrouted(&closed);
        self.fail_paused(&closed);
    }

    fn end_nodes(&mut self, ends: impl Fn(&Node) -> bool) {
        for (_, node) in self.nodes.iter_mut().filter(|(_, node)| ends(node)) {
            node.hang_up(&mut self.effects);
            self.effects.fail_all(node.waiting.take(), &Error::closed());
        }
    }
}

#[cfg(test)]
mod tests;
